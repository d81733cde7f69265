"""Colours and letters of every picture: one palette with a light and a dark side.

Pictures are drawn in the light colours; where they stand in a page that can be dark, each colour is replaced by a
variable of the page (``svg.py``). No line is told apart by colour alone: each has a dash of its own too.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Colour:
    """A role in a picture. Contrast on paper (#ffffff) and on the dark page (#14181d) is 4.5 : 1 or more for lines."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1b1f24", "#e8eaed")
MUTED = Colour("muted", "#57606b", "#a3adb8")
GRID = Colour("grid", "#dde2e8", "#333b44")
PAPER = Colour("paper", "#ffffff", "#14181d")
PROGRAMMED = Colour("programmed", "#57606c", "#a3adb9")
COUNTED = Colour("counted", "#0b5cad", "#6cb2ff")
TRUE = Colour("true", "#b8430a", "#ff9e64")
CRITICAL = Colour("critical", "#b3261e", "#ff6b63")
WARNING = Colour("warning", "#8a6100", "#f2c14e")
ILLUSTRATION = Colour("illustration", "#6d3bbf", "#c4a7ff")
GOOD = Colour("good", "#1a6b3c", "#6fd39b")
COLOURS = (INK, MUTED, GRID, PAPER, PROGRAMMED, COUNTED, TRUE, CRITICAL, WARNING, ILLUSTRATION, GOOD)

DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1.2, 1.6)), "dash-dot": (0, (6, 2, 1, 2))}


@contextmanager
def letters(points: float = 9, *, salt: str = "telemetry") -> Iterator[None]:
    """Everything drawn inside is drawn in our letters and lines; ``salt`` makes names inside SVG repeatable."""
    import matplotlib as mpl  # noqa: PLC0415 - only who draws pays for it

    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": points,
        "axes.titlesize": points + 1,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": points,
        "axes.edgecolor": MUTED.light,
        "axes.labelcolor": INK.light,
        "axes.titlecolor": INK.light,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "grid.color": GRID.light,
        "grid.linewidth": 0.7,
        "legend.fontsize": points - 1,
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "lines.linewidth": 1.4,
        "text.color": INK.light,
        "xtick.color": MUTED.light,
        "ytick.color": MUTED.light,
        "xtick.labelcolor": INK.light,
        "ytick.labelcolor": INK.light,
        "xtick.labelsize": points - 1,
        "ytick.labelsize": points - 1,
        "text.parse_math": False,  # a dollar sign in a title is a dollar sign
        "path.simplify": True,
        "path.simplify_threshold": 0.3,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "agg.path.chunksize": 20_000,
    }
    with mpl.rc_context(settings):
        yield

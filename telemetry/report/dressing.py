"""What the axes of every picture have in common: legends above, room at the top, marks, and the stamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry.report import theme
from telemetry.report.theme import DASHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_PEAK = 2.5
"""A peak so many times higher than what lasts is cut off."""


def stamp(axes: Axes) -> None:
    """Say inside the picture that it is an illustration: at the top, where headroom was left."""
    axes.text(
        0.5,
        0.985,
        "ILLUSTRATIVE",
        transform=axes.transAxes,
        ha="center",
        va="top",
        color=theme.ILLUSTRATION.light,
        fontsize="small",
        fontweight="bold",
        bbox={"facecolor": theme.PAPER.light, "edgecolor": "none", "pad": 1},
    )


def legend(axes: Axes) -> None:
    """Above the axes on the right, where no line runs."""
    known = axes.get_legend_handles_labels()[1]
    columns = len(known) if len(known) <= 3 else 2
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def from_zero(axes: Axes, at: Numbers | None = None) -> None:
    """From nothing to a little above the highest line.

    With the instants ``at`` of the rows a peak that fills next to nothing of the run (a prime within years) does not
    flatten the rest: it is cut off, and its height written beside it.
    """
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    highest = max((float(values.max()) for values in lines), default=0.0)
    top = highest
    if at is not None and len(at) > 1:
        lasting = max(_lasting(values, at) for values in lines if len(values) == len(at))
        if highest > _PEAK * lasting > 0:
            top = lasting
            axes.text(
                0.005,
                0.985,
                f"short peaks up to {highest:,.0f} are cut off",
                transform=axes.transAxes,
                va="top",
                color=theme.MUTED.light,
                fontsize="x-small",
                bbox={"facecolor": theme.PAPER.light, "edgecolor": "none", "pad": 0.5},
            )
    axes.set_ylim(0, 1.14 * top if top > 0 else 1)


def _lasting(values: Numbers, at: Numbers) -> float:
    """The highest value that is reached or passed for at least a two-hundredth of the time."""
    order = np.argsort(values[:-1])[::-1]
    lasts = np.cumsum(np.diff(at)[order])
    return float(values[:-1][order][np.searchsorted(lasts, lasts[-1] / 200)])


def mark(axes: Axes, at: float, text: str, colour: str, *, down: int = 0) -> None:
    """A line and its name, ``down`` steps below the top, so that neighbours do not cover each other."""
    axes.axvline(at, color=colour, linestyle=DASHES["dashed"], linewidth=1)
    late = at > 0.5 * (axes.get_xlim()[1] or 1)
    axes.annotate(
        text,
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if late else 3, -3 - 11 * down),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        color=colour,
        fontweight="bold",
    )

"""Panels as figures, and figures as SVG, PNG or one overview page."""

from __future__ import annotations

import io
import re
import textwrap
from typing import TYPE_CHECKING

from telemetry.report import theme, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from telemetry.report.panels import Panel
    from telemetry.report.series import Series

WIDE_INCHES = 7.4
NARROW_INCHES = 3.35
"""Of a page 320 px wide: shown there instead of the wide picture, so that its letters keep their size."""
_OVERVIEW = ("rates", "reservoir", "battery", "alarms", "tip-dose", "trumpet", "csf", "signs", "tip-concentration")
_MOST = 8
_STAMP = theme.CRITICAL.light
_FONT = re.compile(r"font: ((?:bold |italic |\d+ )*[\d.]+px) '[^;]*?(?=[;\"])")


def figure(panel: Panel, *, width_inches: float = WIDE_INCHES, height: float = 1.0) -> Figure:
    """One panel by itself, stamped, without title (the text around it has that); ``height``: 1 is usual."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who draws pays for it

    narrow = width_inches < 5
    made = Figure(figsize=(width_inches, (1.15 + 1.45 * panel.height) * height), layout="constrained")
    axes = made.add_subplot()
    panel.draw(axes)
    # On the right beside the name of the axis; where there is no room for both, under the names of the rows.
    where, side = (0.005, "left") if narrow else (0.995, "right")
    made.text(where, 0.01, panel.mark, ha=side, va="bottom", fontsize="x-small", weight="bold", color=_STAMP)
    if narrow:
        _squeeze(made)
    return made


def _squeeze(made: Figure) -> None:
    from matplotlib.ticker import AutoLocator, MaxNLocator  # noqa: PLC0415 - as above

    for axes in made.axes:
        legend = axes.get_legend()
        if legend is not None:
            known = axes.get_legend_handles_labels()
            axes.legend(
                *known, loc="lower left", bbox_to_anchor=(-0.08, 1), ncols=2, borderaxespad=0.2, handlelength=1.8
            )
        if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
            axes.xaxis.set_major_locator(MaxNLocator(4))


def svg(panel: Panel, *, narrow: bool = False) -> str:
    """The panel as inline SVG whose colours are the page's variables and whose letters are the page's."""
    salt = f"{panel.name}-{'narrow' if narrow else 'wide'}"
    out = io.StringIO()
    with theme.letters(8 if narrow else 9, salt=salt):
        made = figure(panel, width_inches=NARROW_INCHES if narrow else WIDE_INCHES)
        made.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return themed(out.getvalue(), salt, panel.title)


def themed(text: str, prefix: str, title: str) -> str:
    """An SVG document as a part of a page: own names, colours by variable, the page's letters, a name for readers."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = _FONT.sub(r"font: \1 var(--letters)", body)
    for colour in theme.COLOURS:
        body = re.sub(re.escape(colour.light), f"var(--{colour.name})", body, flags=re.IGNORECASE)
    return body.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def overview(series: Series, shown: Sequence[Panel], *, names: Sequence[str] = _OVERVIEW, columns: int = 2) -> Figure:
    """The main panels on one page, stamped."""
    run = series.run
    facts = (
        f"{run.pump.profile}, serial {run.pump.serial}, {words.span(series.to_ms - series.from_ms)} "
        f"from {words.date(series.from_ms, run.pump.epoch_utc_s)}"
    )
    chosen = [panel for name in names for panel in shown if panel.name == name][:_MOST]
    return placard(run.title, facts, chosen, columns=columns)


def placard(
    title: str, facts: str, chosen: Sequence[Panel], *, columns: int = 1, stamp: str = words.SIMULATED
) -> Figure:
    """Panels on one page under a title, the stamp and a line of facts."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - as above

    rows = -(-len(chosen) // columns)
    heading = [*textwrap.wrap(title, 62 * columns + 8), stamp]
    height = 2.75 * rows + 0.9
    below = 0.12 + 0.22 * len(heading)
    made = Figure(
        figsize=(6.6 * columns if columns > 1 else 8.0, height),
        layout=ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - (below + 0.3) / height)),
        facecolor=theme.PAPER.light,
    )
    grid = made.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, chosen, strict=False):
        axes.set_facecolor(theme.PAPER.light)
        panel.draw(axes)
        axes.set_title(panel.title, pad=18 if axes.get_legend() else 6)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for line, text in enumerate(heading):
        colour = theme.INK if line < len(heading) - 1 else theme.CRITICAL
        top = 1 - (0.12 + 0.22 * line) / height
        made.text(0.01, top, text, va="top", fontsize=12, weight="bold", color=colour.light)
    made.text(0.01, 1 - below / height, facts, va="top", fontsize=9, color=theme.MUTED.light)
    return made


def png(made: Figure, *, dots_per_inch: int = 130) -> bytes:
    """A figure as PNG."""
    out = io.BytesIO()
    made.savefig(out, format="png", dpi=dots_per_inch, facecolor=theme.PAPER.light, metadata={"Software": None})
    return out.getvalue()

"""Pictures of a conformance run: steps by group, when each ran, and what was measured against its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from telemetry.conform.paper.building import WORDS
from telemetry.conform.results import Verdict
from telemetry.report import theme

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from telemetry.conform.results import Measurement, Run, StepResult

_LOOKS = {
    Verdict.PASS: (theme.GOOD, ""),
    Verdict.FAIL: (theme.CRITICAL, "xxx"),
    Verdict.INCONCLUSIVE: (theme.WARNING, "///"),
    Verdict.BLOCKED: (theme.ILLUSTRATION, "..."),
    Verdict.NOT_CLAIMED: (theme.GRID, ""),
}
"""Colour and hatch (where a file can show one); the word stands in the bar or beside it as well."""
_ROW_INCHES = 0.24
_ROOM = 7
"""A verdict's word has room in a bar that is at least this part of the longest."""
_MOST_MEASURED = 24
_FULL_PERCENT = 100
_SCALE_PERCENT = 200
"""Measured values beyond twice their limit stand at the edge, with their number beside them."""


class Picture:
    """One picture: its name, heading, caption, its height in inches, and what draws it on axes."""

    def __init__(self, name: str, title: str, caption: str, height: float, draw: Callable[[Axes], None]) -> None:
        self.name = name
        self.title = title
        self.caption = caption
        self._height = height
        self._draw = draw

    def figure(self, width_inches: float) -> Figure:
        """The picture at this width; drawn within ``theme.letters``."""
        made = Figure(figsize=(width_inches, self._height), layout="constrained")
        self._draw(made.add_subplot())
        return made


def pictures(run: Run) -> list[Picture]:
    """Those that this run has something for."""
    groups = list(dict.fromkeys(step.group for step in run.steps))
    found = [
        Picture(
            "groups",
            "Verdicts by group",
            "How many steps of each group ended how.",
            0.9 + _ROW_INCHES * len(groups),
            lambda axes: _draw_groups(axes, run.steps, groups),
        )
    ]
    tried = [step for step in run.steps if step.ended_ms > step.started_ms]
    if tried:
        found.append(
            Picture(
                "timeline",
                "When each step ran",
                "Link time since the run began. A bar is a step; those that did not pass are named.",
                1.0 + _ROW_INCHES * len(groups),
                lambda axes: _draw_timeline(axes, tried, groups),
            )
        )
    measured = [
        (step, one) for step in run.steps for one in step.measurements if one.limit and one.at_most and one.values
    ]
    if measured:
        shown = measured[:_MOST_MEASURED]
        left = len(measured) - len(shown)
        found.append(
            Picture(
                "measured",
                "Measured against its limit",
                "Each mark is a value as a share of its upper limit; what lies right of the line does not keep it."
                + (f" {left} more are in the tables." if left else ""),
                0.9 + _ROW_INCHES * len(shown),
                lambda axes: _draw_measured(axes, shown),
            )
        )
    return found


def _draw_groups(axes: Axes, steps: Sequence[StepResult], groups: list[str]) -> None:
    left = [0] * len(groups)
    most = max(sum(step.group == group for step in steps) for group in groups)
    for verdict, (colour, _) in _LOOKS.items():
        counts = [sum(step.group == group and step.verdict is verdict for step in steps) for group in groups]
        if not any(counts):
            continue
        axes.barh(
            groups, counts, left=left, color=colour.light, edgecolor=theme.PAPER.light, linewidth=0.5,
            height=0.62, label=WORDS[verdict],
        )  # fmt: skip
        for row, (at, count) in enumerate(zip(left, counts, strict=True)):
            if count:
                ink = theme.INK if verdict is Verdict.NOT_CLAIMED else theme.PAPER
                text = WORDS[verdict] if count * _ROOM >= most else ""
                axes.text(
                    at + count / 2, row, f"{count} {text}".rstrip(), ha="center", va="center", color=ink.light,
                    fontsize="small",
                )  # fmt: skip
        left = [at + count for at, count in zip(left, counts, strict=True)]
    for row, total in enumerate(left):
        axes.annotate(str(total), (total, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, max(left) * 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("steps")
    _legend(axes)


def _draw_timeline(axes: Axes, steps: Sequence[StepResult], groups: list[str]) -> None:
    last_ms = max(step.ended_ms for step in steps)
    size, unit = _unit(last_ms)
    least = last_ms / size / 250
    for step in steps:
        colour, hatch = _LOOKS[step.verdict]
        row, start = groups.index(step.group), step.started_ms / size
        length = max(least, (step.ended_ms - step.started_ms) / size)
        axes.barh(
            row, length, left=start, height=0.62, color=colour.light, hatch=hatch, edgecolor=theme.PAPER.light,
            linewidth=0.4,
        )  # fmt: skip
        if step.verdict is not Verdict.PASS:
            late = start > last_ms / size / 2
            axes.annotate(
                step.number,
                (start if late else start + length, row),
                xytext=(-3 if late else 3, 0),
                textcoords="offset points",
                ha="right" if late else "left",
                va="center",
                fontweight="bold",
                color=theme.INK.light if step.verdict is not Verdict.FAIL else theme.CRITICAL.light,
            )
    axes.set_yticks(range(len(groups)), groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0, last_ms / size * 1.02)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"link time since the run began, {unit}")
    kinds = [verdict for verdict in _LOOKS if any(step.verdict is verdict for step in steps)]
    patches = [
        Patch(facecolor=_LOOKS[kind][0].light, hatch=_LOOKS[kind][1], edgecolor=theme.PAPER.light) for kind in kinds
    ]
    axes.legend(
        patches, [WORDS[kind] for kind in kinds], loc="lower right", bbox_to_anchor=(1, 1), ncols=len(kinds),
        borderaxespad=0.2,
    )  # fmt: skip


def _draw_measured(axes: Axes, measured: Sequence[tuple[StepResult, Measurement]]) -> None:
    labels = []
    for row, (step, one) in enumerate(measured):
        limit = one.limit or 1
        labels.append(f"{step.number} {one.name}")
        for value in one.values:
            share = value * _FULL_PERCENT / limit
            held = value <= limit
            axes.plot(
                min(share, _SCALE_PERCENT), row, marker="o" if held else "X", markersize=4.5, linestyle="none",
                color=(theme.COUNTED if held else theme.CRITICAL).light, alpha=0.75,
            )  # fmt: skip
            if share > _SCALE_PERCENT:
                axes.annotate(
                    f"{value} {one.unit}", (_SCALE_PERCENT, row), xytext=(-6, 0), textcoords="offset points",
                    ha="right", va="center", color=theme.CRITICAL.light,
                )  # fmt: skip
    axes.axvline(_FULL_PERCENT, color=theme.CRITICAL.light, linestyle=theme.DASHES["dashed"], linewidth=1.2)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, _SCALE_PERCENT if axes.get_xlim()[1] > 1.2 * _FULL_PERCENT else 1.2 * _FULL_PERCENT)
    axes.set_xlabel("share of the limit, %")


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, borderaxespad=0.2, columnspacing=1.2)


def _unit(ms: int) -> tuple[int, str]:
    """A unit in which the whole run is some tens or hundreds."""
    for size, name in ((3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= 3 * size:
            return size, name
    return 1, "ms"

"""The pictures of a measurement: start-up and trumpet curve with the pump's truth beside them, masses, boluses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry.flow.closed_form import envelope_percent
from telemetry.report import dressing, theme, words
from telemetry.report.panels import Panel
from telemetry.report.theme import DASHES
from telemetry.units import MS_PER_HOUR, MS_PER_MINUTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from telemetry.flow.analysis import Analysis, Boluses
    from telemetry.flow.document import FlowRun
    from telemetry.report.flow import StartUp, Trumpet

    Numbers = NDArray[np.float64]

MEASURED_MARK = "MEASURED"
_POINTS = 200


def panels(run: FlowRun, found: Analysis) -> list[Panel]:
    """Every picture that the measurement has something for, in the order of a report."""
    mark = words.SIMULATED_MARK if run.simulated else MEASURED_MARK
    made: list[Panel] = []
    if found.measured is not None:
        made.append(
            Panel(
                "trumpet",
                "Trumpet curve",
                f"Worst windows of each length over {words.span(found.measured.analysed_ms)} after "
                f"{words.span(run.stabilise_ms)} of stabilising, a reading every {words.span(run.every_ms)}. Shaded: "
                "uncertainty of the measured curve."
                + (" Thin line: closed form of the known error." if run.known is not None else ""),
                lambda axes: draw_trumpet(axes, run, found),
                height=1.35,
                mark=mark,
            )
        )
    if found.start_up is not None:
        made.append(
            Panel(
                "start-up",
                "Start-up curve",
                f"Flow of each {words.span(run.every_ms)} from the beginning on.",
                lambda axes: draw_start_up(axes, found),
                mark=mark,
            )
        )
    if found.boluses is not None:
        boluses = found.boluses
        made.append(
            Panel(
                "boluses",
                "Boluses",
                f"Error of each bolus of {boluses.set_nl / 1e3:g} µl; the set rate is taken off. Bars: uncertainty.",
                lambda axes: draw_boluses(axes, boluses),
                mark=mark,
            )
        )
    made.append(
        Panel(
            "mass",
            "What the balance said",
            "Mass since the start, as read. Marked: gaps, and where the balance was tared or touched.",
            lambda axes: draw_mass(axes, run),
            mark=mark,
        )
    )
    if found.volumes.has_truth and run.kind != "blank":
        made.append(
            Panel(
                "difference",
                "Measured less true volume",
                "Since the start, loss corrected. Shaded: one last digit and what the loss correction leaves open.",
                lambda axes: draw_difference(axes, run, found),
                height=0.8,
                mark=mark,
            )
        )
    return made


def draw_trumpet(axes: Axes, run: FlowRun, found: Analysis) -> None:
    """Ep(max) and Ep(min) in percent against the window, measured and true; A dashed."""
    measured = found.measured
    if measured is None:
        return
    at = [window.window_ms / MS_PER_HOUR for window in measured.windows]
    unsure = [found.budgets[window.window_ms].total for window in measured.windows]
    # Drawn first, so that the lines lie upon them.
    for values in (_highs(measured), _lows(measured)):
        low = [value - share for value, share in zip(values, unsure, strict=True)]
        high = [value + share for value, share in zip(values, unsure, strict=True)]
        axes.fill_between(at, low, high, color=theme.COUNTED.light, alpha=0.15, linewidth=0)
    if run.known is not None:
        known, lengths = run.known, np.geomspace(at[0], at[-1], _POINTS) if len(at) > 1 else np.asarray(at)
        curves = np.asarray([envelope_percent(known, round(hours * MS_PER_HOUR)) for hours in lengths])
        for side, label in ((0, "closed form"), (1, None)):
            axes.plot(lengths, curves[:, side], color=theme.MUTED.light, linewidth=0.8, label=label)
    for values, marker, dash, label in (
        (_highs(measured), "v", "solid", "measured Ep(max)"),
        (_lows(measured), "^", "dashed", "measured Ep(min)"),
    ):
        axes.plot(
            at, values, color=theme.COUNTED.light, marker=marker, markersize=4, linestyle=DASHES[dash], label=label
        )
    if found.truth is not None:
        ends = [window.window_ms / MS_PER_HOUR for window in found.truth.windows]
        for values, label in ((_highs(found.truth), "pump's truth"), (_lows(found.truth), None)):
            axes.plot(
                ends,
                values,
                color=theme.TRUE.light,
                marker="o",
                markersize=6,
                fillstyle="none",
                linestyle="none",
                label=label,
            )
    overall = measured.overall_percent
    axes.axhline(
        overall, color=theme.PROGRAMMED.light, linestyle=DASHES["dash-dot"], label=f"A {words.percent(overall)}"
    )
    axes.axhline(0, color=theme.MUTED.light, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(at, [_window_text(window.window_ms) for window in measured.windows])
    axes.minorticks_off()
    edges = [*_lows(measured), *_highs(measured), 0.0]
    reach = max(max(edges) - min(edges), 1.0)
    # Room for the uncertainty, but not so much that it flattens what was measured.
    room = min(max(unsure), reach / 2)
    edges += [max(edges) + room, min(edges) - room]
    axes.set_ylim(min(edges) - 0.12 * reach, max(edges) + 0.12 * reach)
    axes.set_xlabel("observation window P")
    axes.set_ylabel("error of flow, %")
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2, columnspacing=1.2)


def _window_text(window_ms: int) -> str:
    hours = window_ms / MS_PER_HOUR
    return f"{hours:g} h" if window_ms >= MS_PER_HOUR else f"{window_ms / MS_PER_MINUTE:g} min"


def _highs(curve: Trumpet) -> list[float]:
    return [window.max_percent for window in curve.windows]


def _lows(curve: Trumpet) -> list[float]:
    return [window.min_percent for window in curve.windows]


def draw_start_up(axes: Axes, found: Analysis) -> None:
    """Flow per interval in ml/day against hours from the start; the set rate dashed."""
    measured = found.start_up
    if measured is None:
        return
    for curve, colour, dash, label in (
        (found.start_up_truth, theme.TRUE, "solid", "pump's truth"),
        (measured, theme.COUNTED, "solid", "measured"),
    ):
        if curve is not None:
            _steps(axes, curve, colour.light, dash, label)
    rate = measured.rate_nl_per_day / 1e6
    axes.axhline(rate, color=theme.PROGRAMMED.light, linestyle=DASHES["dashed"], label=f"set: {rate:g} ml/day")
    axes.set_xlim(0, float(measured.at_ms[-1]) / MS_PER_HOUR)
    axes.set_xlabel("hours since the start")
    axes.set_ylabel("ml/day")
    flow = np.append(measured.flow_nl_per_day, measured.rate_nl_per_day) / 1e6
    low, high = float(np.nanmin(flow)), float(np.nanmax(flow))
    # From nothing where the flow comes near it; else only as much as there is to see.
    bottom = min(0.0, 1.14 * low) if low < rate / 2 else low - 0.15 * max(high - low, 0.02 * rate)
    axes.set_ylim(bottom, high + 0.15 * (high - bottom))
    dressing.legend(axes)


def _steps(axes: Axes, curve: StartUp, colour: str, dash: str, label: str) -> None:
    ends, flow = curve.at_ms / MS_PER_HOUR, curve.flow_nl_per_day / 1e6
    axes.plot(
        np.insert(ends, 0, 0),
        np.insert(flow, 0, flow[0]),
        drawstyle="steps-pre",
        color=colour,
        linestyle=DASHES[dash],
        linewidth=1.1,
        label=label,
    )


def draw_mass(axes: Axes, run: FlowRun) -> None:
    """Mass in mg against hours, with what befell the balance."""
    hours = np.asarray(run.readings.at_ms, dtype=np.float64) / MS_PER_HOUR
    mass = np.asarray([math.nan if one is None else one for one in run.readings.mass_ng], dtype=np.float64) / 1e6
    first = next((one for one in mass if math.isfinite(one)), 0.0)
    axes.plot(hours, mass - first, color=theme.COUNTED.light, label="balance")
    for number, mark in enumerate(one for one in run.marks if one.kind in {"gap", "tared", "jump", "ended"}):
        colour = theme.CRITICAL if mark.kind in {"gap", "ended"} else theme.WARNING
        dressing.mark(axes, mark.at_ms / MS_PER_HOUR, mark.kind, colour.light, down=number % 3)
    axes.set_xlim(0, max(float(hours[-1]), 1e-3) * 1.005)
    axes.set_xlabel("hours since the start")
    axes.set_ylabel("mg")


def draw_difference(axes: Axes, run: FlowRun, found: Analysis) -> None:
    """Measured less true volume in µl, each piece from its own beginning."""
    volumes = found.volumes
    hours = volumes.due_ms / MS_PER_HOUR
    apart = (volumes.measured_nl - volumes.truth_nl) / 1e3
    for piece in np.unique(volumes.pieces):
        rows = volumes.pieces == piece
        values = apart[rows]
        finite = values[np.isfinite(values)]
        if len(finite):
            axes.plot(hours[rows], values - finite[0], color=theme.COUNTED.light)
    loss = run.corrections.loss_uncertainty_ng_per_h * hours
    unsure = (run.equipment.step_ng + loss) / run.corrections.density_ug_per_ml
    axes.fill_between(hours, -unsure, unsure, color=theme.COUNTED.light, alpha=0.15, linewidth=0)
    axes.axhline(0, color=theme.TRUE.light, linewidth=0.9)
    axes.set_xlim(0, max(float(hours[-1]), 1e-3) * 1.005)
    axes.set_xlabel("hours since the start")
    axes.set_ylabel("µl")


def draw_boluses(axes: Axes, boluses: Boluses) -> None:
    """Error of each bolus in percent."""
    numbers = np.arange(1, len(boluses.given_nl) + 1)
    axes.errorbar(
        numbers,
        boluses.errors_percent,
        yerr=boluses.budget.total,
        color=theme.COUNTED.light,
        marker="s",
        markersize=3.5,
        linestyle="none",
        linewidth=0.8,
        label="measured",
    )
    if np.isfinite(boluses.truth_nl).any():
        axes.plot(numbers, boluses.truth_percent, "o", color=theme.TRUE.light, markersize=3.5, label="pump's truth")
    axes.axhline(0, color=theme.MUTED.light, linewidth=0.8)
    axes.set_xlim(0.3, len(numbers) + 0.7)
    axes.set_xlabel("bolus")
    axes.set_ylabel("error, %")
    axes.margins(y=0.2)
    dressing.legend(axes)

"""The pictures of a report, one function each: a panel draws itself on axes that somebody else placed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry.report import dressing, theme, words
from telemetry.report.series import Accuracy, Series
from telemetry.report.theme import DASHES
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from telemetry.report.flow import StartUp, Trumpet
    from telemetry.report.series import Band, Illustration

    Numbers = NDArray[np.float64]

TOLERANCE_PERCENT = 14.5
"""The labelled accuracy of the motor pump (domain.md 2.1, A)."""
_MARKED = {"refilled": "refill", "pump_replaced": "pump replaced"}
_MOST_MARKS = 24


@dataclass(frozen=True)
class Panel:
    """One picture: its name in files, title, what it shows in words, how tall it is (1 is usual), whose it is."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]
    height: float = 1.0
    illustrative: bool = False
    mark: str = words.SIMULATED_MARK


class Timeline:
    """The axis of time of a run, in the unit that fits its length."""

    def __init__(self, series: Series) -> None:
        length_ms = series.to_ms - series.from_ms
        if length_ms <= 3 * MS_PER_HOUR:
            self.unit, self.size = "minutes", MS_PER_MINUTE
        elif length_ms <= 5 * MS_PER_DAY:
            self.unit, self.size = "hours", MS_PER_HOUR
        elif length_ms <= 800 * MS_PER_DAY:
            self.unit, self.size = "days", MS_PER_DAY
        else:
            self.unit, self.size = "years", round(365.25 * MS_PER_DAY)
        self.from_ms, self.to_ms = series.from_ms, series.to_ms
        self._start = words.date(series.from_ms, series.run.pump.epoch_utc_s)

    def at(self, ms: Numbers | float) -> Numbers:
        """Instants on the axis: since the start of the run."""
        return np.asarray((np.asarray(ms, dtype=np.float64) - self.from_ms) / self.size)

    def dress(self, axes: Axes) -> None:
        """Label the axis and keep it to the run."""
        axes.set_xlim(0, 1.005 * max(float(self.at(self.to_ms)), 1e-9))
        axes.set_xlabel(f"{self.unit} since {self._start}")
        axes.margins(y=0.08)


def panels(series: Series) -> list[Panel]:
    """Every picture that this run has something for, in the order of a report."""
    time = Timeline(series)
    accuracy = series.accuracy()
    illustration = series.illustration()
    found = [
        Panel(
            "rates",
            "Flow: programmed, counted, true",
            "What the program asks for, what the pump counts as given, and what truly leaves it.",
            lambda axes: draw_rates(axes, series, time),
        ),
        Panel(
            "reservoir",
            "Reservoir: calculated and true volume",
            "The pump has no sensor: alarms follow the calculated volume. Where the lines part, the true one counts.",
            lambda axes: draw_reservoir(axes, series, time),
        ),
        Panel(
            "battery",
            "Battery to replacement",
            "Charge left; dashed: replacement due (ERI), end of service (EOS), as far as the run reached them.",
            lambda axes: draw_battery(axes, series, time),
            height=0.8,
        ),
        Panel(
            "alarms",
            "Alarms: raised to cleared",
            "One row a kind. Red: drug is not flowing, or may not be.",
            lambda axes: draw_alarms(axes, series.bands(), time),
            height=0.35 + 0.16 * max(1, len({band.kind for band in series.bands()})),
        ),
        Panel(
            "tip-concentration",
            "Concentration at the catheter's tip",
            "Sharp: slugs without mixing, exact. Blurred: Taylor–Aris dispersion, a read-out.",
            lambda axes: draw_tip(axes, series, time),
            height=0.8,
        ),
        Panel(
            "tip-dose",
            "Dose at the tip",
            "Drug that leaves the catheter per day: the rate now, and what the 24 hours before gave.",
            lambda axes: draw_dose(axes, series, time),
        ),
        Panel(
            "csf",
            "Drug in the CSF",
            "Bulk lumbar level of a one-compartment model (domain.md 3.3). Beside the tip it reads several times more.",
            lambda axes: draw_csf(axes, series, illustration, time),
            illustrative=True,
        ),
        Panel(
            "effect",
            "Effect",
            "In percent of the greatest effect; the level behind it lags the CSF by hours.",
            lambda axes: draw_effect(axes, series, illustration, time),
            height=0.8,
            illustrative=True,
        ),
        Panel(
            "signs",
            "Grade of signs",
            "0: none, 1 to 4: graded against what this patient is used to; overdose above, withdrawal below.",
            lambda axes: draw_signs(axes, series, illustration, time),
            height=0.8,
            illustrative=True,
        ),
    ]
    if isinstance(accuracy, Accuracy):
        found += [
            Panel(
                "start-up",
                "Start-up curve",
                f"Flow in each {words.span(accuracy.scheme.every_ms)} of the first "
                f"{words.span(accuracy.scheme.stabilise_ms)} at this rate.",
                lambda axes: draw_start_up(axes, accuracy.start_up),
            ),
            Panel(
                "trumpet",
                "Trumpet curve",
                f"Worst windows of each length over {words.span(accuracy.trumpet.analysed_ms)}, sampled every "
                f"{words.span(accuracy.scheme.every_ms)} ({accuracy.scheme.name}; {accuracy.scheme.source}).",
                lambda axes: draw_trumpet(axes, accuracy.trumpet),
            ),
        ]
    return found


def draw_rates(axes: Axes, series: Series, time: Timeline) -> None:
    """Flow in ml/day: three steps."""
    at = time.at(series.at_ms)
    for values, label, colour, dash, width in (
        (series.programmed_ml_per_day, "programmed", theme.PROGRAMMED, "dotted", 1.6),
        (series.true_ml_per_day, "true", theme.TRUE, "solid", 1.3),
        (series.commanded_ml_per_day, "counted", theme.COUNTED, "dashed", 1.3),
    ):
        axes.plot(
            at, values, drawstyle="steps-post", color=colour.light, linestyle=DASHES[dash], linewidth=width, label=label
        )
    axes.set_ylabel("ml/day")
    dressing.from_zero(axes, at)
    dressing.legend(axes)
    time.dress(axes)


def draw_reservoir(axes: Axes, series: Series, time: Timeline) -> None:
    """Volumes in ml, the level of the alarm, and when it was filled."""
    at_ms, calculated_ml, true_ml = series.emptied()
    at = time.at(at_ms)
    axes.plot(at, true_ml, color=theme.TRUE.light, label="true")
    axes.plot(at, calculated_ml, color=theme.COUNTED.light, linestyle=DASHES["dashed"], label="calculated")
    level = series.run.pump.low_reservoir_alarm_nl / 1e6
    axes.axhline(level, color=theme.WARNING.light, linestyle=DASHES["dotted"], label=f"low alarm, {level:g} ml")
    _mark_events(axes, series, time)
    axes.set_ylabel("ml")
    dressing.from_zero(axes)
    dressing.legend(axes)
    time.dress(axes)


def draw_battery(axes: Axes, series: Series, time: Timeline) -> None:
    """Percent of charge, and the two milestones."""
    axes.plot(time.at(series.at_ms), series.battery_percent, color=theme.COUNTED.light, drawstyle="steps-post")
    marks = 0
    for event in series.run.events:
        text = {"elective_replacement": "ERI", "end_of_service": "EOS"}.get(event.detail)
        if event.kind == "alarm_raised" and text:
            colour = theme.WARNING if text == "ERI" else theme.CRITICAL
            dressing.mark(axes, float(time.at(event.at_ms)), text, colour.light, down=marks % 3)
            marks += 1
    axes.set_ylabel("% of charge")
    axes.set_ylim(0, 105)
    time.dress(axes)


def draw_alarms(axes: Axes, bands: list[Band], time: Timeline) -> None:
    """A row a kind, in the order in which they came, the first on top."""
    kinds = list(dict.fromkeys(band.kind for band in bands))
    least = float(time.at(time.to_ms)) / 250
    for band in bands:
        end = float(time.at(band.to_ms))
        start = min(float(time.at(band.from_ms)), float(time.at(time.to_ms)) - least)
        colour = theme.CRITICAL if band.critical else theme.WARNING
        axes.barh(kinds.index(band.kind), max(end - start, least), left=start, height=0.6, color=colour.light)
    axes.set_yticks(range(len(kinds)), [words.name(kind) for kind in kinds])
    axes.set_ylim(max(len(kinds), 1) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    if not kinds:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no alarm", ha="center", va="center", color=theme.MUTED.light, transform=axes.transAxes)
    time.dress(axes)
    axes.set_ylim(max(len(kinds), 1) - 0.4, -0.6)


def draw_tip(axes: Axes, series: Series, time: Timeline) -> None:
    """Concentration in µg/ml, sharp and blurred."""
    at = time.at(series.at_ms)
    axes.plot(at, series.mixed_tip_ug_per_ml, color=theme.TRUE.light, label="blurred by mixing")
    axes.plot(
        at,
        series.tip_ug_per_ml,
        drawstyle="steps-post",
        color=theme.COUNTED.light,
        linestyle=DASHES["dashed"],
        label="sharp (mixing off)",
    )
    axes.set_ylabel("µg/ml")
    dressing.from_zero(axes)
    dressing.legend(axes)
    time.dress(axes)


def draw_dose(axes: Axes, series: Series, time: Timeline) -> None:
    """Dose at the tip in µg/day: as a rate, and over the last 24 hours."""
    axes.plot(
        time.at(series.at_ms),
        series.tip_dose_ug_per_day,
        drawstyle="steps-post",
        color=theme.TRUE.light,
        label="rate at the tip",
    )
    if series.to_ms - series.from_ms > MS_PER_DAY:
        ends, dose = series.sliding_ug(MS_PER_DAY)
        axes.plot(
            time.at(ends), dose, color=theme.COUNTED.light, linestyle=DASHES["dashed"], label="in the 24 h before"
        )
    axes.set_ylabel("µg/day")
    dressing.from_zero(axes, time.at(series.at_ms))
    dressing.legend(axes)
    time.dress(axes)


def draw_csf(axes: Axes, series: Series, illustration: Illustration, time: Timeline) -> None:
    """Level in ng/ml."""
    axes.plot(time.at(series.at_ms), illustration.csf_ng_per_ml, color=theme.ILLUSTRATION.light, label="bulk CSF")
    axes.set_ylabel("ng/ml")
    dressing.from_zero(axes, time.at(series.at_ms))
    time.dress(axes)
    dressing.stamp(axes)


def draw_effect(axes: Axes, series: Series, illustration: Illustration, time: Timeline) -> None:
    """Effect in percent of the greatest possible."""
    axes.plot(time.at(series.at_ms), illustration.effect_percent, color=theme.ILLUSTRATION.light)
    axes.set_ylabel("% of Emax")
    time.dress(axes)
    axes.set_ylim(0, 119)
    axes.set_yticks(range(0, 101, 20))
    dressing.stamp(axes)


def draw_signs(axes: Axes, series: Series, illustration: Illustration, time: Timeline) -> None:
    """Grades 1 to 4: overdose above the line, withdrawal below it."""
    at = time.at(series.at_ms)
    for grade, sign, colour, label in (
        (illustration.overdose_grade, 1, theme.CRITICAL, "overdose"),
        (illustration.withdrawal_grade, -1, theme.WARNING, "withdrawal"),
    ):
        # A bar for as long as a grade lasts: one shape each, not one for each row.
        edges = np.concatenate([[0], np.flatnonzero(np.diff(grade)) + 1, [len(grade) - 1]])
        starts, ends = at[edges[:-1]], at[edges[1:]]
        axes.bar(
            starts, sign * grade[edges[:-1]], ends - starts, align="edge", color=colour.light, alpha=0.55, label=label
        )
    axes.axhline(0, color=theme.MUTED.light, linewidth=0.8)
    if not illustration.overdose_grade.any() and not illustration.withdrawal_grade.any():
        axes.text(0.5, 0.7, "none", ha="center", va="center", color=theme.MUTED.light, transform=axes.transAxes)
    axes.set_ylabel("grade")
    dressing.legend(axes)
    time.dress(axes)
    axes.set_ylim(-4.4, 5.6)
    axes.set_yticks(range(-4, 5, 2), [str(abs(grade)) for grade in range(-4, 5, 2)])
    dressing.stamp(axes)


def draw_start_up(axes: Axes, curve: StartUp) -> None:
    """Flow per interval in ml/day against hours from the start; the set rate dashed."""
    ends, flow = curve.at_ms / MS_PER_HOUR, curve.flow_nl_per_day / 1e6
    axes.plot(
        np.insert(ends, 0, 0), np.insert(flow, 0, flow[0]), drawstyle="steps-pre", color=theme.TRUE.light, label="flow"
    )
    rate = curve.rate_nl_per_day / 1e6
    axes.axhline(rate, color=theme.COUNTED.light, linestyle=DASHES["dashed"], label=f"set: {rate:g} ml/day")
    axes.set_xlim(0, float(curve.at_ms[-1]) / MS_PER_HOUR)
    axes.set_xlabel("hours since the start of this rate")
    axes.set_ylabel("ml/day")
    axes.margins(y=0.1)
    dressing.from_zero(axes)
    dressing.legend(axes)


def draw_trumpet(axes: Axes, found: Trumpet) -> None:
    """Ep(max) and Ep(min) against the window, A dashed; the windows are evenly spaced by their logarithm."""
    windows = [window.window_ms / MS_PER_HOUR for window in found.windows]
    highs = [window.max_percent for window in found.windows]
    lows = [window.min_percent for window in found.windows]
    axes.fill_between(windows, lows, highs, color=theme.TRUE.light, alpha=0.12, linewidth=0)
    axes.plot(windows, highs, color=theme.TRUE.light, marker="v", markersize=4, label="Ep(max)")
    axes.plot(
        windows, lows, color=theme.TRUE.light, marker="^", markersize=4, linestyle=DASHES["dashed"], label="Ep(min)"
    )
    overall = found.overall_percent
    axes.axhline(
        overall, color=theme.COUNTED.light, linestyle=DASHES["dash-dot"], label=f"overall A {words.percent(overall)}"
    )
    reach = max(*highs, -min(lows), 1.0)
    if reach > TOLERANCE_PERCENT / 3:
        for sign in (1, -1):
            label = f"label ±{TOLERANCE_PERCENT} %" if sign > 0 else None
            axes.axhline(sign * TOLERANCE_PERCENT, color=theme.MUTED.light, linestyle=DASHES["dotted"], label=label)
        reach = max(reach, TOLERANCE_PERCENT)
    axes.set_xscale("log")
    axes.set_xticks(windows, [f"{window:.3g}" for window in windows])
    axes.minorticks_off()
    axes.set_ylim(-1.2 * reach, 1.2 * reach)
    axes.set_xlabel("observation window P, hours")
    axes.set_ylabel("error of flow, %")
    dressing.legend(axes)


def _mark_events(axes: Axes, series: Series, time: Timeline) -> None:
    marks = [event for event in series.run.events if event.kind in _MARKED]
    for event in marks[:_MOST_MARKS]:
        axes.axvline(float(time.at(event.at_ms)), color=theme.MUTED.light, linewidth=0.8, linestyle=DASHES["dotted"])
    for event in marks:
        if event.kind == "pump_replaced":
            dressing.mark(axes, float(time.at(event.at_ms)), _MARKED[event.kind], theme.MUTED.light)

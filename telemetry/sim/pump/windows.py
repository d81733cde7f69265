"""What a therapy would put into any 24 hours, worked out before it is allowed (domain.md 2.3, last rule).

Deliveries are laid out as segments that may overlap and add up; the sum in a sliding window is piecewise linear in
time, so its maximum lies where an edge of the window meets an edge of a segment, and is exact. The admission check has
this code for itself: the governor, which watches the delivery afterwards, shares none of it. A bolus counts up to the
whole millisecond in which it is given, as it does for the governor: what is admitted never trips it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.sim.pump.plan import WEEK_MS, Plan, bolus_flow, span_ms
from telemetry.sim.pump.quantities import ceil_div
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.sim.pump.rtc import WallClock
    from telemetry.therapy import Program, ProgramPatientBolus

Segment = tuple[int, int, int, int]
"""From ms, to ms, nl/day, ng/day."""

_CLOSE_MS = MS_PER_MINUTE
"""Periodic boluses closer than this are laid out as one flow, bounded from above."""


@dataclass(frozen=True, slots=True)
class WindowPeak:
    """The most in any window: dose in ng / 86 400 000, volume in nl / 86 400 000."""

    dose: int
    volume: int

    @property
    def dose_ng(self) -> int:
        """The dose, rounded up."""
        return ceil_div(self.dose, MS_PER_DAY)

    @property
    def volume_nl(self) -> int:
        """The volume, rounded up."""
        return ceil_div(self.volume, MS_PER_DAY)

    def or_more(self, other: WindowPeak) -> WindowPeak:
        """The larger of both, dose and volume each for itself."""
        return WindowPeak(max(self.dose, other.dose), max(self.volume, other.volume))


def largest_window(segments: Iterable[Segment], window_ms: int = MS_PER_DAY) -> WindowPeak:
    """The largest sums of dose and of volume over any window of this length."""
    steps: dict[int, tuple[int, int]] = {}
    for from_ms, to_ms, rate, dose in segments:
        for at_ms, sign in ((from_ms, 1), (to_ms, -1)):
            volume_step, dose_step = steps.get(at_ms, (0, 0))
            steps[at_ms] = (volume_step + sign * rate, dose_step + sign * dose)
    edges = sorted(steps)
    volumes = _Sum(edges, [steps[edge][0] for edge in edges])
    doses = _Sum(edges, [steps[edge][1] for edge in edges])
    ends = {*edges, *(edge + window_ms for edge in edges)}
    return WindowPeak(
        dose=max((doses.until(end) - doses.until(end - window_ms) for end in ends), default=0),
        volume=max((volumes.until(end) - volumes.until(end - window_ms) for end in ends), default=0),
    )


class _Sum:
    """The integral of a step function given by its edges and its steps there."""

    def __init__(self, edges: list[int], steps: list[int]) -> None:
        self._edges, self._slopes, self._sums = edges, [0] * len(edges), [0] * len(edges)
        slope = total = 0
        for index, edge in enumerate(edges):
            total += slope * (edge - edges[index - 1]) if index else 0
            slope += steps[index]
            self._slopes[index], self._sums[index] = slope, total

    def until(self, at_ms: int) -> int:
        index = bisect_right(self._edges, at_ms) - 1
        return 0 if index < 0 else self._sums[index] + self._slopes[index] * (at_ms - self._edges[index])


# --- laying out ------------------------------------------------------------------------------------------------------


def coming(plan: Plan, clock: WallClock, from_ms: int, to_ms: int) -> list[Segment]:
    """What a plan commands from ... to ...: the base rate, and each periodic bolus that begins in between."""
    segments: list[Segment] = []
    at_ms = from_ms
    while at_ms < to_ms:
        rate, dose, change_ms = plan.segment(at_ms, clock)
        end_ms = to_ms if change_ms is None else min(change_ms, to_ms)
        segments.append((at_ms, end_ms, rate, dose))
        at_ms = end_ms
    return segments + _periodic(plan, from_ms, to_ms)


def _periodic(plan: Plan, from_ms: int, to_ms: int) -> list[Segment]:
    bolus = plan.program.bolus
    due_ms = plan.next_bolus_ms(from_ms - 1)
    if bolus is None or due_ms is None or due_ms >= to_ms:
        return []
    concentration = plan.program.concentration_ng_per_ml
    one = bolus_segment(due_ms, bolus.volume_nl, concentration, bolus.duration_s * MS_PER_SECOND)
    interval_ms = plan.bolus_interval_ms
    if interval_ms < _CLOSE_MS:
        # One whole bolus at once, and the mean from then on, is never less than the boluses one by one.
        volume = ceil_div(bolus.volume_nl * MS_PER_DAY, interval_ms)
        return [one, (due_ms, to_ms, volume, ceil_div(bolus.dose_ng * MS_PER_DAY, interval_ms) + 1)]
    length_ms, rate, dose = one[1] - one[0], one[2], one[3]
    return [(at_ms, at_ms + length_ms, rate, dose) for at_ms in range(due_ms, to_ms, interval_ms)]


def bolus_segment(start_ms: int, volume_nl: int, concentration_ng_per_ml: int, duration_ms: int) -> Segment:
    """A bolus from its start until its volume is given."""
    rate, dose = bolus_flow(volume_nl, concentration_ng_per_ml, duration_ms)
    return start_ms, start_ms + span_ms(volume_nl, rate), rate, dose


def steady_peak(plan: Plan, window_ms: int = MS_PER_DAY) -> WindowPeak:
    """The largest window of a program by itself, wherever it lies, periodic boluses included; a day's at most."""
    program = plan.program
    week = plan.week()
    if week:
        again = [(start + WEEK_MS, end + WEEK_MS, rate, dose) for start, end, rate, dose in week if start < MS_PER_DAY]
        return largest_window(week + again, window_ms)
    dose, volume = plan.peak_dose_ng_per_day * window_ms, plan.peak_nl_per_day * window_ms
    if program.bolus is not None:
        whole, rest_ms = divmod(window_ms, plan.bolus_interval_ms)
        bolus_ms = whole * plan.bolus_span_ms + min(rest_ms, plan.bolus_span_ms)
        dose += plan.bolus_dose_ng_per_day * bolus_ms
        volume += plan.bolus_nl_per_day * bolus_ms
    return WindowPeak(dose, volume)


def patient_most(rule: ProgramPatientBolus, window_ms: int = MS_PER_DAY) -> int:
    """How many boluses a patient can begin in any window of a day at most, by count and by lock-out.

    Each is as long as the others, so no such window holds the drug of more than that many.
    """
    apart_ms = (rule.duration_s + rule.lockout_s) * MS_PER_SECOND
    return min(rule.max_per_24h, ceil_div(window_ms, apart_ms))


def with_patient(peak: WindowPeak, program: Program, window_ms: int = MS_PER_DAY) -> WindowPeak:
    """The peak with every bolus that the patient may take."""
    rule = program.patient_bolus
    if rule is None:
        return peak
    length_ms = rule.duration_s * MS_PER_SECOND
    _, taken_ms, rate, dose = bolus_segment(0, rule.volume_nl, program.concentration_ng_per_ml, length_ms)
    all_ms = patient_most(rule, window_ms) * min(taken_ms, window_ms)
    return WindowPeak(peak.dose + dose * all_ms, peak.volume + rate * all_ms)

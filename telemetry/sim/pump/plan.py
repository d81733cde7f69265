"""What a program commands by itself at any instant: the base rate, its next change, its periodic boluses.

A plan is worked out once and asked often: a schedule becomes one table of the week. Ramps and periodic boluses count
from ``started_ms`` in pump time, schedules follow the wall clock (INV-45, INV-46). Pure: it remembers nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import PumpMode
from telemetry.sim.pump.quantities import daily_dose_ng
from telemetry.therapy import DAYS
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.rtc import WallClock
    from telemetry.therapy import Program, ProgramRampStep, ProgramStep

WEEK_MS = len(DAYS) * MS_PER_DAY
SCHEDULED = frozenset({PumpMode.FLEX, PumpMode.WEEKDAY})
"""The modes that follow the time of day."""


def bolus_flow(volume_nl: int, concentration_ng_per_ml: int, duration_ms: int) -> tuple[int, int]:
    """Rate in nl/day and dose in ng/day at which a bolus is added to the basal; the rate is at least 1 nl/day."""
    rate = max(1, volume_nl * MS_PER_DAY // duration_ms)
    return rate, daily_dose_ng(rate, concentration_ng_per_ml)


def span_ms(volume_nl: int, rate_nl_per_day: int) -> int:
    """How long this volume takes at this rate, up to the first whole ms at which it is all given."""
    return -(-volume_nl * MS_PER_DAY // rate_nl_per_day)


class Plan:
    """The base rate of one program over time. Raises ``UsageError`` for a schedule or ramp without any step."""

    def __init__(self, program: Program, *, started_ms: int) -> None:
        self.program = program
        self.started_ms = started_ms
        self._week: list[tuple[int, int, int, int]] = []
        self._starts: list[int] = []
        self._flows: list[tuple[int, int]] = []
        self._in_week = program.mode in SCHEDULED
        if self._in_week:
            self._week = week_table(program.steps)
            self._starts, self._flows = _merged(self._week)
        elif program.mode is PumpMode.TITRATION:
            self._starts, self._flows = _ramp_table(program.ramp, started_ms)
        else:
            self._flows = [(program.rate_nl_per_day, program.dose_ng_per_day)]
        bolus = program.bolus
        self.bolus_interval_ms = bolus.interval_s * MS_PER_SECOND if bolus else 0
        self.bolus_volume_nl = bolus.volume_nl if bolus else 0
        self.bolus_nl_per_day, self.bolus_dose_ng_per_day = (
            bolus_flow(bolus.volume_nl, program.concentration_ng_per_ml, bolus.duration_s * MS_PER_SECOND)
            if bolus
            else (0, 0)
        )
        self.bolus_span_ms = span_ms(self.bolus_volume_nl, self.bolus_nl_per_day) if bolus else 0
        self._first_bolus_ms = started_ms + bolus.first_in_s * MS_PER_SECOND if bolus else 0
        self.peak_nl_per_day = max(rate for rate, _ in self._flows)
        """The highest base rate it ever commands; boluses come on top."""
        self.peak_dose_ng_per_day = max(dose for _, dose in self._flows)
        self.lowest_nl_per_day = min(rate for rate, _ in self._flows)

    # --- the base rate -----------------------------------------------------------------------------------------------

    def segment(self, now_ms: int, clock: WallClock) -> tuple[int, int, int | None]:
        """Rate, dose and the next change in one: the core's fast path."""
        starts, flows = self._starts, self._flows
        if len(flows) == 1:
            rate, dose = flows[0]
            return rate, dose, None
        if self._in_week:
            position_ms = clock.schedule_local_ms(now_ms)
            into_ms = position_ms % WEEK_MS
            index = bisect_right(starts, into_ms)
            # Before the first entry the last one of the week before goes on: index 0 reads flows[-1].
            rate, dose = flows[index - 1]
            start_ms = starts[index] if index < len(starts) else starts[0] + WEEK_MS
            return rate, dose, clock.pump_ms_at_local(position_ms - into_ms + start_ms)
        index = bisect_right(starts, now_ms)
        rate, dose = flows[max(index - 1, 0)]
        later = max(index, 1)
        return rate, dose, starts[later] if later < len(starts) else None

    def basal(self, now_ms: int, clock: WallClock) -> tuple[int, int]:
        """The base rate in nl/day and its dose in ng/day at this instant."""
        rate, dose, _ = self.segment(now_ms, clock)
        return rate, dose

    def next_change_ms(self, now_ms: int, clock: WallClock) -> int | None:
        """The first instant after now at which the base rate or its dose differs; None when it never does.

        Valid until the clock is set.
        """
        return self.segment(now_ms, clock)[2]

    def ramp_step(self, now_ms: int) -> int | None:
        """Which step of a ramp runs, from 0; None without a ramp. Steps of equal rates count each."""
        if self.program.mode is not PumpMode.TITRATION:
            return None
        ends_ms, last = self.started_ms, len(self.program.ramp) - 1
        for index, step in enumerate(self.program.ramp):
            ends_ms += step.days * MS_PER_DAY
            if now_ms < ends_ms:
                return index
        return last

    def step_id(self, now_ms: int, clock: WallClock) -> tuple[int, int] | None:
        """Which step of a schedule runs: local day number and place in ``program.steps``; each runs once (INV-46).

        None without a schedule.
        """
        if not self._in_week:
            return None
        position_ms = clock.schedule_local_ms(now_ms)
        into_ms = position_ms % WEEK_MS
        index = bisect_right(self._week, into_ms, key=lambda entry: entry[0]) - 1
        start_ms, _, _, step = self._week[index]
        week_ms = position_ms - into_ms - (WEEK_MS if index < 0 else 0)
        return (week_ms + start_ms) // MS_PER_DAY, step

    # --- periodic boluses --------------------------------------------------------------------------------------------

    def next_bolus_ms(self, after_ms: int) -> int | None:
        """When the first periodic bolus after this instant is due; None without one."""
        if not self.bolus_interval_ms:
            return None
        if after_ms < self._first_bolus_ms:
            return self._first_bolus_ms
        gone = (after_ms - self._first_bolus_ms) // self.bolus_interval_ms
        return self._first_bolus_ms + (gone + 1) * self.bolus_interval_ms

    def bolus_due(self, now_ms: int) -> bool:
        """Whether a periodic bolus is due at exactly this instant."""
        since_ms = now_ms - self._first_bolus_ms
        return self.bolus_interval_ms > 0 and since_ms >= 0 and since_ms % self.bolus_interval_ms == 0

    # --- for predictions ---------------------------------------------------------------------------------------------

    @property
    def mean_nl_per_day(self) -> int:
        """The mean rate in the long run, rounded up: of the week, of a ramp's last step, periodic boluses included."""
        return self._mean(0, self.bolus_volume_nl)

    @property
    def mean_dose_ng_per_day(self) -> int:
        """The mean dose per day in the long run, rounded up."""
        return self._mean(1, self.program.bolus.dose_ng if self.program.bolus else 0)

    def week(self) -> list[tuple[int, int, int, int]]:
        """A schedule's (from, to, rate, dose) over one local week, in ms since Monday 00:00; empty without."""
        if not self._in_week:
            return []
        ends = [entry[0] for entry in self._week[1:]] + [WEEK_MS]
        return [(entry[0], end, entry[1], entry[2]) for entry, end in zip(self._week, ends, strict=True)]

    def reference_dose_ng(self, now_ms: int) -> int:
        """What the next change of therapy is measured against: the dose per day of the program as it stands now.

        A ramp's is that of the step it has come to, any other program's its day total with its boluses.
        """
        step = self.ramp_step(now_ms)
        return day_dose_ng(self.program) if step is None else self.program.ramp[step].dose_ng_per_day

    def _mean(self, which: int, bolus: int) -> int:
        if self._in_week:
            ends = [*self._starts[1:], self._starts[0] + WEEK_MS]
            spans = zip(self._starts, ends, self._flows, strict=True)
            total, length = sum((end - start) * flow[which] for start, end, flow in spans), WEEK_MS
        else:
            total, length = self._flows[-1][which] * MS_PER_DAY, MS_PER_DAY
        mean = -(-total // length)
        return mean + -(-bolus * MS_PER_DAY // self.bolus_interval_ms) if self.bolus_interval_ms else mean


def boluses_per_day(amount: int, duration_ms: int, interval_ms: int) -> int:
    """The most that periodic boluses put into any 24 hours, rounded up (volume or dose, as ``amount``)."""
    whole, rest_ms = divmod(MS_PER_DAY, interval_ms)
    return whole * amount - (-amount * min(duration_ms, rest_ms) // duration_ms)


def day_dose_ng(program: Program) -> int:
    """The dose of the day with the most: what the program states, and the periodic boluses of 24 hours."""
    return program.dose_ng_per_day + _bolus_part(program, program.bolus.dose_ng if program.bolus else 0)


def day_volume_nl(program: Program) -> int:
    """The volume of the day with the most: what the program states, and the periodic boluses of 24 hours."""
    return program.rate_nl_per_day + _bolus_part(program, program.bolus.volume_nl if program.bolus else 0)


def _bolus_part(program: Program, amount: int) -> int:
    bolus = program.bolus
    if bolus is None:
        return 0
    return boluses_per_day(amount, bolus.duration_s * MS_PER_SECOND, bolus.interval_s * MS_PER_SECOND)


def week_table(steps: tuple[ProgramStep, ...]) -> list[tuple[int, int, int, int]]:
    """(ms of the week, rate, dose, place in ``steps``) of every start of a step, in order."""
    table = [
        (day * MS_PER_DAY + step.start_minute * MS_PER_MINUTE, step.rate_nl_per_day, step.dose_ng_per_day, index)
        for day in range(len(DAYS))
        for index, step in enumerate(steps)
        if step.days >> day & 1
    ]
    if not table:
        raise UsageError("program steps: none, or on no day; a schedule needs at least one")
    return sorted(table)


def _merged(week: list[tuple[int, int, int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """The week without the starts that change nothing; at least one entry is left."""
    flows = [(rate, dose) for _, rate, dose, _ in week]
    changes = [index for index in range(len(week)) if flows[index] != flows[index - 1]] or [0]
    return [week[index][0] for index in changes], [flows[index] for index in changes]


def _ramp_table(ramp: tuple[ProgramRampStep, ...], started_ms: int) -> tuple[list[int], list[tuple[int, int]]]:
    if not ramp:
        raise UsageError("program ramp: no step; a titration needs at least one")
    starts: list[int] = []
    flows: list[tuple[int, int]] = []
    at_ms = started_ms
    for step in ramp:
        flow = (step.rate_nl_per_day, step.dose_ng_per_day)
        if not flows or flows[-1] != flow:
            starts.append(at_ms)
            flows.append(flow)
        at_ms += step.days * MS_PER_DAY
    return starts, flows

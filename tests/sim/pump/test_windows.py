"""The largest 24 hours of a therapy, against sums taken minute by minute; and how long a volume lasts."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from telemetry.model import PumpMode
from telemetry.sim.pump.forecast import lasts_ms, ms_until
from telemetry.sim.pump.plan import Plan, boluses_per_day
from telemetry.sim.pump.rtc import WallClock
from telemetry.sim.pump.windows import (
    bolus_segment,
    coming,
    largest_window,
    patient_most,
    steady_peak,
    with_patient,
)
from telemetry.therapy import EVERY_DAY, ProgramBolus, ProgramPatientBolus, ProgramRampStep, ProgramStep
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE
from tests.sim.pump.test_plan import MONDAY_UTC_S, program, schedules

HOUR = MS_PER_HOUR
SEGMENTS = st.lists(
    st.tuples(st.integers(0, 80), st.integers(1, 40), st.integers(0, 50), st.integers(0, 50)).map(
        lambda s: (s[0] * HOUR, (s[0] + s[1]) * HOUR, s[2], s[3])
    ),
    max_size=12,
)


@given(segments=SEGMENTS, window=st.integers(1, 48))
def test_the_largest_window_is_the_largest_of_all(segments: list[tuple[int, int, int, int]], window: int) -> None:
    found = largest_window(segments, window * HOUR)
    hours = range(-window, 200)
    for which, most in ((2, found.volume), (3, found.dose)):
        each = [sum(s[which] for s in segments if s[0] <= hour * HOUR < s[1]) * HOUR for hour in hours]
        sums = [0, *accumulate(each)]
        # Edges lie on whole hours here, and between edges the sum is linear: whole hours show the maximum.
        assert most == max(sums[index + window] - sums[index] for index in range(len(each) - window))


def test_rounding_is_upwards_and_sums_add_up() -> None:
    peak = largest_window([(0, 1, 5, 7)])
    assert (peak.volume_nl, peak.dose_ng) == (1, 1)
    assert peak.or_more(largest_window([(0, 2, 1, 9)])) == largest_window([(0, 1, 5, 0), (0, 2, 0, 9)])
    assert largest_window([]).dose_ng == 0


@given(steps=schedules(), start_h=st.integers(0, 200), drift=st.integers(-500, 500))
def test_no_stretch_of_a_schedule_exceeds_its_steady_peak(
    steps: tuple[ProgramStep, ...], start_h: int, drift: int
) -> None:
    plan, clock = Plan(program(PumpMode.WEEKDAY, steps=steps), started_ms=0), WallClock(MONDAY_UTC_S, drift, 75)
    laid_out = coming(plan, clock, start_h * HOUR, start_h * HOUR + 3 * MS_PER_DAY)
    assert laid_out[0][0] == start_h * HOUR
    assert laid_out[-1][1] == start_h * HOUR + 3 * MS_PER_DAY
    assert all(before[1] == after[0] for before, after in pairwise(laid_out))
    steady, here = steady_peak(plan), largest_window(laid_out)
    slack = plan.peak_nl_per_day * (MS_PER_DAY // 1_000 + 10)  # what a drifting day can be longer by
    assert here.volume <= steady.volume + slack * abs(drift) // 1_000 + 10 * plan.peak_nl_per_day


def test_a_week_meets_itself_at_its_end() -> None:
    # Sunday 12:00 to Monday 12:00 is the worst day: neither calendar day shows it.
    steps = tuple(
        ProgramStep(1 << day, minute, rate, 2 * rate)
        for day in range(7)
        for minute, rate in (
            ((0, 300_000), (720, 50_000)) if day == 0 else ((0, 50_000), (720, 300_000 if day == 6 else 50_000))
        )
    )
    plan = Plan(program(PumpMode.WEEKDAY, steps=steps), started_ms=0)
    assert steady_peak(plan).volume_nl == 300_000
    assert steady_peak(plan).dose_ng == 600_000


@given(
    volume=st.integers(1, 50_000),
    duration_s=st.integers(60, 7_200),
    rest_s=st.integers(60, 100_000),
    first_s=st.integers(0, 100_000),
)
def test_periodic_boluses_laid_out_never_exceed_the_steady_peak(
    volume: int, duration_s: int, rest_s: int, first_s: int
) -> None:
    bolus = ProgramBolus(volume, 2 * volume, duration_s, duration_s + rest_s, first_s)
    plan = Plan(program(PumpMode.PERIODIC_BOLUS, bolus=bolus), started_ms=0)
    assume(plan.bolus_span_ms <= plan.bolus_interval_ms)  # the check of a program refuses any other
    here = largest_window(coming(plan, WallClock(0, 0), 0, 3 * MS_PER_DAY))
    assert here == steady_peak(plan)
    # The last millisecond of each bolus counts whole; that is all there is beyond what is prescribed.
    more = here.volume - MS_PER_DAY * (150_000 + boluses_per_day(volume, plan.bolus_span_ms, plan.bolus_interval_ms))
    assert -MS_PER_DAY <= more <= plan.bolus_nl_per_day * (MS_PER_DAY // plan.bolus_interval_ms + 1)


def test_boluses_close_together_are_bounded_from_above() -> None:
    bolus = ProgramBolus(100, 200, 5, 10, 30)
    plan = Plan(program(PumpMode.PERIODIC_BOLUS, bolus=bolus), started_ms=0)
    laid_out = coming(plan, WallClock(0, 0), 0, MS_PER_DAY)
    assert len(laid_out) == 3
    assert largest_window(laid_out).volume_nl >= 150_000 + 8_637 * 100


@given(
    count=st.sampled_from([1, 2, 5, 30]),
    duration_s=st.integers(60, 20_000),
    lockout_s=st.integers(0, 50_000),
    waits=st.lists(st.sampled_from([0, 0, 1, 5_000, 30_000]), min_size=8, max_size=40),
)
def test_a_patient_never_gets_more_than_is_counted_with(
    count: int, duration_s: int, lockout_s: int, waits: list[int]
) -> None:
    rule = ProgramPatientBolus(864_000, 1_728_000, duration_s, lockout_s, count)
    starts: list[int] = []
    now_ms = 0
    for wait_s in waits:
        now_ms = max(now_ms + wait_s * 1_000, starts[-1] + (duration_s + lockout_s) * 1_000 if starts else 0)
        if sum(now_ms - start < MS_PER_DAY for start in starts) < count:
            starts.append(now_ms)
    boluses = [(start, start + duration_s * 1_000, 1_000, 2_000) for start in starts]
    assert largest_window(boluses).volume <= patient_most(rule) * duration_s * 1_000 * 1_000
    peak = with_patient(largest_window([]), program(patient_bolus=rule))
    assert 0 <= peak.dose_ng - patient_most(rule) * rule.dose_ng <= patient_most(rule) * 30
    assert with_patient(peak, program()) is peak


def test_a_ramp_peaks_at_its_highest_step() -> None:
    ramp = (
        ProgramRampStep(1, 50_000, 100_000),
        ProgramRampStep(1, 90_000, 180_000),
        ProgramRampStep(9, 70_000, 140_000),
    )
    plan = Plan(program(PumpMode.TITRATION, ramp=ramp), started_ms=0)
    assert steady_peak(plan) == largest_window(coming(plan, WallClock(0, 0), 0, 9 * MS_PER_DAY))


def test_a_bolus_ends_when_it_is_given() -> None:
    start, end, rate, dose = bolus_segment(500, 7_000, 2_000_000, 3_600_000)
    assert (start, rate, dose) == (500, 168_000, 336_000)
    assert end == 500 + 3_600_000


# --- how long a volume lasts -----------------------------------------------------------------------------------------


def commanded(plan: Plan, clock: WallClock, from_ms: int, to_ms: int, extra: int = 0) -> int:
    """What the plan commands, segment by segment, a bolus given whole or as far as it came."""
    total = extra * (to_ms - from_ms)
    for start, end, rate, _ in coming(plan, clock, from_ms, to_ms):
        bolus = start >= from_ms and plan.bolus_volume_nl and rate == plan.bolus_nl_per_day and plan.bolus_due(start)
        given = rate * (min(end, to_ms) - start)
        total += min(given, plan.bolus_volume_nl * MS_PER_DAY) if bolus and rate != plan.peak_nl_per_day else given
    return total


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    kind = draw(st.sampled_from(["constant", "schedule", "ramp", "bolus"]))
    if kind == "schedule":
        return Plan(program(PumpMode.WEEKDAY, steps=draw(schedules())), started_ms=0)
    if kind == "ramp":
        days = draw(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([48_000, 90_000])), min_size=1, max_size=4))
        return Plan(
            program(PumpMode.TITRATION, ramp=tuple(ProgramRampStep(n, r, 2 * r) for n, r in days)), started_ms=0
        )
    if kind == "bolus":
        interval_s = draw(st.integers(3_600, 200_000))
        bolus = ProgramBolus(draw(st.integers(1, 49_999)), 1, 3_600, interval_s + 1, draw(st.integers(0, 200_000)))
        return Plan(program(PumpMode.PERIODIC_BOLUS, draw(st.sampled_from([0, 48_000])), bolus=bolus), started_ms=0)
    return Plan(program(rate=draw(st.integers(1, 10**6))), started_ms=0)


@given(
    plan=plans(),
    drift=st.sampled_from([0, 0, -300, 300]),
    now_h=st.integers(0, 300),
    volume_nl=st.integers(1, 1_000_000) | st.integers(1, 6_000_000),
    part=st.integers(0, MS_PER_DAY - 1),
    extra=st.sampled_from([0, 0, 10_000]),
    back_h=st.sampled_from([0, 0, 5, 150]),
)
def test_a_volume_lasts_until_the_millisecond_that_uses_it_up(
    plan: Plan, drift: int, now_h: int, volume_nl: int, part: int, extra: int, back_h: int
) -> None:
    clock, now_ms = WallClock(MONDAY_UTC_S, drift), now_h * HOUR
    clock.set(clock.utc_s(now_ms) - back_h * 3_600, 0, now_ms)
    volume = volume_nl * MS_PER_DAY - part
    lasts = ms_until(plan, now_ms, clock, volume, extra_nl_per_day=extra, due_now=True)
    assert lasts is not None
    assume(lasts < 400 * MS_PER_DAY)
    assert commanded(plan, clock, now_ms, now_ms + lasts, extra) >= volume
    assert commanded(plan, clock, now_ms, now_ms + lasts - 1, extra) < volume
    exactly = commanded(plan, clock, now_ms, now_ms + lasts, extra) == volume
    assert lasts_ms(plan, now_ms, clock, volume, extra_nl_per_day=extra) == (lasts if exactly else lasts - 1)


def test_a_bolus_that_began_at_this_instant_is_its_callers() -> None:
    bolus = ProgramBolus(10_000, 20_000, 3_600, 86_400, 0)
    plan, clock = Plan(program(PumpMode.PERIODIC_BOLUS, 0, bolus=bolus), started_ms=0), WallClock(0, 0)
    volume = 10_000 * MS_PER_DAY
    assert ms_until(plan, 0, clock, volume, due_now=True) == 3_600_000
    assert ms_until(plan, 0, clock, volume) == MS_PER_DAY + 3_600_000
    assert ms_until(plan, 0, clock, 0) == 0


@pytest.mark.parametrize("drift", [0, 7])
def test_what_delivers_nothing_lasts_for_ever(drift: int) -> None:
    clock = WallClock(MONDAY_UTC_S, drift)
    steps = (ProgramStep(EVERY_DAY, 0, 0, 0), ProgramStep(EVERY_DAY, 60, 0, 1))
    for plan in (Plan(program(rate=0), started_ms=0), Plan(program(PumpMode.FLEX, 0, steps=steps), started_ms=0)):
        assert ms_until(plan, 0, clock, 1) is None
        assert lasts_ms(plan, 0, clock, 1) is None
        assert ms_until(plan, 0, clock, MS_PER_MINUTE, extra_nl_per_day=1) == MS_PER_MINUTE


def test_a_schedule_that_waits_lasts_otherwise_than_one_that_goes_on() -> None:
    steps = (ProgramStep(EVERY_DAY, 0, 48_000, 96_000), ProgramStep(EVERY_DAY, 720, 150_000, 300_000))
    plan, clock = Plan(program(PumpMode.FLEX, steps=steps), started_ms=0), WallClock(MONDAY_UTC_S, 0)
    clock.set(clock.utc_s(13 * HOUR) - 150 * 3_600, 0, 13 * HOUR)
    volume = (7 * 99_000 + 450_000) * MS_PER_DAY  # a week's and three days' of the step that waits
    # 150 h of waiting and 11 h to midnight at 150 000; then a night, a day and a night, and the rest by day.
    left = volume - (150_000 * 161 + 48_000 * 12 + 150_000 * 12 + 48_000 * 12) * HOUR
    assert 0 < left < 150_000 * 12 * HOUR
    assert ms_until(plan, 13 * HOUR, clock, volume) == (161 + 36) * HOUR + -(-left // 150_000)

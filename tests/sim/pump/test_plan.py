"""What a program commands by itself: schedules against a plain reading of them, ramps, periodic boluses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import Drug, PumpMode
from telemetry.sim.pump.plan import WEEK_MS, Plan, bolus_flow, boluses_per_day, span_ms
from telemetry.sim.pump.rtc import WallClock
from telemetry.therapy import EVERY_DAY, Program, ProgramBolus, ProgramRampStep, ProgramStep
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

MONDAY_UTC_S = 1_767_571_200
MINUTE_S = 60


def program(mode: PumpMode = PumpMode.SIMPLE_CONTINUOUS, rate: int = 150_000, **parts: object) -> Program:
    return Program(mode, rate, 2 * rate, 2_000_000, Drug.BACLOFEN, 1, **parts)  # type: ignore[arg-type]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[ProgramStep, ...]:
    """Well-formed schedules: groups of days, each beginning at minute 0, few rates so that some repeat."""
    groups = draw(st.sampled_from([(EVERY_DAY,), (0x1F, 0x60), (1, 2, 4, 8, 16, 32, 64), (0x55, 0x2A)]))
    steps: list[ProgramStep] = []
    for days in groups:
        minutes = [0, *sorted(draw(st.sets(st.integers(1, 1_439), max_size=6)))]
        for minute in minutes:
            rate = draw(st.sampled_from([48_000, 100_000, 150_000]))
            steps.append(ProgramStep(days, minute, rate, 2 * rate))
    return tuple(steps)


def plain_reading(steps: tuple[ProgramStep, ...], local_ms: int) -> tuple[int, int, int]:
    """Rate, day number and step at a local time, as a person reads a schedule."""
    day, in_day_ms = divmod(local_ms, MS_PER_DAY)
    today = [(step.start_minute, index) for index, step in enumerate(steps) if step.days >> day % 7 & 1]
    _, index = max(entry for entry in today if entry[0] * MS_PER_MINUTE <= in_day_ms)
    return steps[index].rate_nl_per_day, day, index


CLOCKS = st.builds(WallClock, st.just(MONDAY_UTC_S), st.integers(-500, 500), st.integers(-720, 840))


@given(steps=schedules(), clock=CLOCKS, now_ms=st.integers(0, 3 * WEEK_MS))
def test_a_schedule_is_read_as_it_stands(steps: tuple[ProgramStep, ...], clock: WallClock, now_ms: int) -> None:
    plan = Plan(program(PumpMode.WEEKDAY, steps=steps), started_ms=0)
    rate, day, index = plain_reading(steps, clock.local_ms(now_ms))
    assert plan.basal(now_ms, clock) == (rate, 2 * rate)
    assert plan.step_id(now_ms, clock) == (day, index)
    change_ms = plan.next_change_ms(now_ms, clock)
    if change_ms is None:
        assert plan.peak_nl_per_day == plan.lowest_nl_per_day == rate
        return
    assert change_ms > now_ms
    assert plan.basal(change_ms, clock) != (rate, 2 * rate)
    assert plan.basal(change_ms - 1, clock) == (rate, 2 * rate)
    assert plan.basal((now_ms + change_ms) // 2, clock) == (rate, 2 * rate)


@given(steps=schedules(), clock=CLOCKS)
def test_mean_and_extremes_are_those_of_the_week(steps: tuple[ProgramStep, ...], clock: WallClock) -> None:
    plan = Plan(program(PumpMode.WEEKDAY, steps=steps), started_ms=0)
    minutes: list[int] = []
    for day in range(7):
        today = [step for step in steps if step.days >> day & 1]
        ends = [*(step.start_minute for step in today[1:]), 1_440]
        for step, end in zip(today, ends, strict=True):
            minutes += [step.rate_nl_per_day] * (end - step.start_minute)
    assert plan.mean_nl_per_day == -(-sum(minutes) // len(minutes))
    assert plan.mean_dose_ng_per_day == -(-2 * sum(minutes) // len(minutes))
    assert (plan.lowest_nl_per_day, plan.peak_nl_per_day) == (min(minutes), max(minutes))
    assert sum(end - start for start, end, _, _ in plan.week()) == WEEK_MS


@pytest.mark.inv(46)
@given(
    steps=schedules(),
    drift=st.integers(-500, 500),
    jumps=st.lists(
        st.tuples(
            st.integers(0, 30 * MS_PER_HOUR),
            st.sampled_from([-90_000, -86_400, -7_200, -60, -1, 1, 3_600, 86_400, 200_000]),
            st.sampled_from([-720, -60, 0, 0, 60, 840]),
        ),
        max_size=6,
    ),
)
def test_inv_46_each_step_runs_at_most_once_a_day_under_any_jumps(
    steps: tuple[ProgramStep, ...], drift: int, jumps: list[tuple[int, int, int]]
) -> None:
    plan, clock = Plan(program(PumpMode.WEEKDAY, steps=steps), started_ms=0), WallClock(MONDAY_UTC_S, drift)
    begun: list[tuple[int, int]] = []
    now_ms = 0

    def live_until(end_ms: int) -> None:
        # A step shorter than the stride may go unseen; one that came back would still show.
        for at_ms in (*range(now_ms, end_ms, 20 * MS_PER_MINUTE), end_ms):
            step = plan.step_id(at_ms, clock)
            assert step is not None
            if not begun or begun[-1] != step:
                begun.append(step)

    for wait_ms, jump_s, zone in jumps:
        live_until(now_ms + wait_ms)
        now_ms += wait_ms
        clock.set(clock.utc_s(now_ms) + jump_s, zone, now_ms)
    live_until(now_ms + 30 * MS_PER_HOUR)
    assert len(begun) == len(set(begun))
    assert begun == sorted(begun, key=lambda step: (step[0], steps[step[1]].start_minute))


def test_set_back_the_running_step_goes_on_and_set_forward_none_is_caught_up() -> None:
    steps = tuple(ProgramStep(EVERY_DAY, 60 * hour, 100_000 + hour, 200_000 + 2 * hour) for hour in range(24))
    plan, clock = Plan(program(PumpMode.FLEX, steps=steps), started_ms=0), WallClock(MONDAY_UTC_S, 0)
    now_ms = 10 * MS_PER_HOUR + 30 * MS_PER_MINUTE
    clock.set_utc_s(MONDAY_UTC_S + 8 * 3_600, now_ms)
    assert plan.basal(now_ms, clock)[0] == 100_010
    assert plan.next_change_ms(now_ms, clock) == now_ms + 3 * MS_PER_HOUR  # 08:00 until 11:00 by the clock
    clock.set_utc_s(MONDAY_UTC_S + 15 * 3_600, now_ms)
    assert plan.basal(now_ms, clock)[0] == 100_015
    assert plan.next_change_ms(now_ms, clock) == now_ms + MS_PER_HOUR


def test_steps_that_repeat_the_rate_are_no_change() -> None:
    steps = tuple(ProgramStep(EVERY_DAY, minute, 100_000, 200_000) for minute in (0, 300, 600))
    plan, clock = Plan(program(PumpMode.FLEX, steps=steps), started_ms=0), WallClock(MONDAY_UTC_S, 0)
    assert plan.next_change_ms(5, clock) is None
    night = (ProgramStep(EVERY_DAY, 0, 48_000, 96_000), *steps[1:])
    plan = Plan(program(PumpMode.FLEX, steps=night), started_ms=0)
    assert plan.next_change_ms(400 * MS_PER_MINUTE, clock) == MS_PER_DAY
    assert plan.step_id(601 * MS_PER_MINUTE, clock) == (clock.local_ms(0) // MS_PER_DAY, 2)


def test_a_ramp_counts_its_days_from_its_start_and_keeps_its_last_rate() -> None:
    ramp = tuple(
        ProgramRampStep(days, rate, 2 * rate) for days, rate in ((7, 50_000), (3, 50_000), (1, 70_000), (9, 90_000))
    )
    plan, clock = (
        Plan(program(PumpMode.TITRATION, 50_000, ramp=ramp), started_ms=1_000),
        WallClock(MONDAY_UTC_S, 300, 60),
    )
    assert plan.segment(1_000, clock) == (50_000, 100_000, 1_000 + 10 * MS_PER_DAY)
    assert plan.segment(1_000 + 10 * MS_PER_DAY, clock) == (70_000, 140_000, 1_000 + 11 * MS_PER_DAY)
    assert plan.segment(1_000 + 11 * MS_PER_DAY, clock) == (90_000, 180_000, None)
    assert [plan.ramp_step(1_000 + day * MS_PER_DAY) for day in (0, 6, 7, 9, 10, 11, 5_000)] == [0, 0, 1, 1, 2, 3, 3]
    assert plan.reference_dose_ng(1_000 + 10 * MS_PER_DAY) == 140_000
    assert (plan.mean_nl_per_day, plan.peak_nl_per_day, plan.lowest_nl_per_day) == (90_000, 90_000, 50_000)


@pytest.mark.inv(45)
@given(
    jumps=st.lists(st.tuples(st.integers(0, 2**33), st.integers(-720, 840)), max_size=4),
    now_ms=st.integers(0, 30 * MS_PER_DAY),
)
def test_inv_45_ramps_and_periodic_boluses_ignore_the_wall_clock(jumps: list[tuple[int, int]], now_ms: int) -> None:
    ramp = tuple(ProgramRampStep(days, rate, 2 * rate) for days, rate in ((3, 50_000), (4, 70_000)))
    bolus = ProgramBolus(10_000, 20_000, 600, 3_600, 60)
    clock, untouched = WallClock(MONDAY_UTC_S, 0), WallClock(MONDAY_UTC_S, 0)
    for utc_s, zone in jumps:
        clock.set(utc_s, zone, 0)
    for wanted in (program(PumpMode.TITRATION, ramp=ramp), program(PumpMode.PERIODIC_BOLUS, bolus=bolus)):
        plan = Plan(wanted, started_ms=5_000)
        assert plan.segment(now_ms, clock) == plan.segment(now_ms, untouched)
        assert plan.ramp_step(now_ms) == Plan(wanted, started_ms=5_000).ramp_step(now_ms)


@given(now_ms=st.integers(0, 10**9), first_s=st.integers(0, 10**5), interval_s=st.integers(1, 10**5))
def test_periodic_boluses_are_due_at_whole_intervals(now_ms: int, first_s: int, interval_s: int) -> None:
    bolus = ProgramBolus(10_000, 20_000, 1, interval_s, first_s)
    plan = Plan(program(PumpMode.PERIODIC_BOLUS, bolus=bolus), started_ms=777)
    due_ms = plan.next_bolus_ms(now_ms)
    assert due_ms is not None
    assert due_ms > now_ms
    assert plan.bolus_due(due_ms)
    assert (due_ms - 777 - first_s * 1_000) % (interval_s * 1_000) == 0
    assert due_ms - now_ms <= max(interval_s * 1_000, 777 + first_s * 1_000 - now_ms)
    assert plan.bolus_due(now_ms) == (plan.next_bolus_ms(now_ms - 1) == now_ms)


def test_without_periodic_boluses_none_is_due() -> None:
    plan = Plan(program(), started_ms=0)
    assert plan.next_bolus_ms(0) is None
    assert not plan.bolus_due(0)
    assert plan.segment(0, WallClock(0, 0)) == (150_000, 300_000, None)


@given(volume=st.integers(1, 10**6), duration_ms=st.integers(1_000, MS_PER_DAY))
def test_a_bolus_takes_its_time_to_within_one_step_of_the_rate(volume: int, duration_ms: int) -> None:
    rate, _ = bolus_flow(volume, 2_000_000, duration_ms)
    took_ms = span_ms(volume, rate)
    assert rate * took_ms >= volume * MS_PER_DAY > rate * (took_ms - 1)
    if volume * MS_PER_DAY >= duration_ms:
        assert took_ms >= duration_ms
        assert span_ms(volume, rate + 1) <= duration_ms


def test_the_most_boluses_in_a_day() -> None:
    hour = MS_PER_HOUR
    assert boluses_per_day(100, hour, 24 * hour) == 100
    assert boluses_per_day(100, hour, 10 * hour) == 300
    assert boluses_per_day(100, 2 * hour, 23 * hour) == 150
    assert boluses_per_day(100, hour, 48 * hour) == 100


def test_a_plan_without_steps_is_no_plan() -> None:
    for wanted in (program(PumpMode.FLEX), program(PumpMode.TITRATION)):
        with pytest.raises(UsageError):
            Plan(wanted, started_ms=0)
    off = program(PumpMode.WEEKDAY, steps=(ProgramStep(0, 0, 1, 1),))
    with pytest.raises(UsageError):
        Plan(off, started_ms=0)
    assert Plan(replace(off, steps=(ProgramStep(1, 0, 5, 5),)), started_ms=0).peak_nl_per_day == 5

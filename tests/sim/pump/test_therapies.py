"""Schedules, ramps, refills, limits, clocks and alarms as the device carries them out; governor, shelf, upsets."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, LogCode, OperationKind, PumpMode, Warn
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.prescribing import Bridge
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.therapy import AlarmSettings, ClockSetting, RefillOrder, Therapy
from telemetry.units import Concentration, DailyDose, Duration, FlowRate, Volume
from tests.campaigns.ledger_programmes import a_therapy
from tests.sim.pump.rig import (
    DAY_MS,
    EPOCH_UTC_S,
    EVERY_WARNING,
    HOUR_MS,
    ML,
    PROFILE,
    commit,
    device,
    digest,
    op,
    program,
    restart,
)

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

MINUTE_MS = 60_000


def commanded(pump: PumpDevice, before: int) -> int:
    """What was commanded since the book stood so, in nl / 86 400 000."""
    return before - pump.core.reservoir.calculated


# --- schedules -------------------------------------------------------------------------------------------------------

rates = st.integers(48_000, 400_000)
days = st.dictionaries(st.integers(1, 1_439), rates, max_size=6)


@given(first=rates, later=days, start_ms=st.integers(0, 3 * DAY_MS), span_ms=st.integers(0, 3 * DAY_MS))
def test_a_flex_schedule_commands_what_a_walk_through_its_minutes_does(
    first: int, later: dict[int, int], start_ms: int, span_ms: int
) -> None:
    pump = device(replace(PROFILE, daily_dose_hard_max_ng=10**9))
    pump.advance_to(start_ms)
    steps = {0: first} | later
    wanted = Therapy.flex({f"{minute // 60:02d}:{minute % 60:02d}": FlowRate(rate) for minute, rate in steps.items()})
    pump.program(wanted)
    before = pump.core.reservoir.calculated
    pump.advance_to(start_ms + span_ms)
    starts = sorted(steps)
    due = 0
    at_ms = start_ms
    while at_ms < start_ms + span_ms:
        minute = at_ms // MINUTE_MS % 1_440
        rate = steps[max(start for start in starts if start <= minute)]
        end_ms = min((at_ms // MINUTE_MS + 1) * MINUTE_MS, start_ms + span_ms)
        due += rate * (end_ms - at_ms)
        at_ms = end_ms
    assert commanded(pump, before) == min(due, before)


def test_weekdays_follow_the_pumps_calendar() -> None:
    pump = device()
    week = {"mon-fri": {"00:00": FlowRate(100_000)}, "sat,sun": {"00:00": FlowRate(120_000), "10:00": FlowRate(90_000)}}
    pump.program(Therapy.weekday(week))
    # The rig's epoch is a Thursday: that and Friday, then the weekend.
    seen = {}
    for hour in (0, 30, 48, 57, 58, 71, 72, 82, 95, 96):
        pump.advance_to(hour * HOUR_MS)
        seen[hour] = pump.status().rate_nl_per_day
    assert seen == {
        0: 100_000,
        30: 100_000,
        48: 120_000,
        57: 120_000,
        58: 90_000,
        71: 90_000,
        72: 120_000,
        82: 90_000,
        95: 90_000,
        96: 100_000,
    }
    assert pump.program_report().program.rate_nl_per_day == (120_000 * 10 + 90_000 * 14) // 24


def test_low_and_empty_of_a_schedule_come_when_its_steps_have_used_the_volume() -> None:
    pump = device(fill_nl=2_000_000 + 150_000)
    pump.program(Therapy.flex({"00:00": FlowRate(200_000), "12:00": FlowRate(100_000)}))
    # 150 µl is exactly the first day.
    assert pump.status().low_reservoir_at_ms == DAY_MS
    raised = [(event.at_ms, event.detail) for event in pump.advance_to(30 * DAY_MS) if event.kind == "alarm_raised"]
    # 2 ml are 13 days (1.95 ml) and 50 µl of the next: six hours at 200 µl a day.
    assert raised[:2] == [(DAY_MS, "low_reservoir"), (14 * DAY_MS + 6 * HOUR_MS, "empty_reservoir")]


@given(seed=st.integers(0, 2**32))
def test_the_low_reservoir_comes_when_it_was_foretold(seed: int) -> None:
    rng = random.Random(seed)
    pump = device(fill_nl=rng.randint(2_100_000, 9_000_000))
    pump.advance_to(rng.randrange(10**9))
    with suppress(Refused, UsageError):
        pump.program(a_therapy(pump, rng))
    pump.advance_to(pump.now_ms + rng.randrange(2 * DAY_MS))
    with suppress(Refused, UsageError):
        if rng.randrange(2):
            pump.bolus(Volume(rng.randint(1, 80_000)), Duration(rng.randint(1, 50_000) * 1_000))
        else:
            pump.refill(
                Volume(rng.randint(2_100_000, 9_000_000)), Concentration(1_000_000), a_therapy(pump, rng), bridge=True
            )
    foretold_ms = pump.status().low_reservoir_at_ms
    assume(foretold_ms is not None and AlarmKind.LOW_RESERVOIR not in pump.status().alarms)
    assert foretold_ms is not None
    pump.core.take_events()
    came = [event.at_ms for event in pump.advance_to(foretold_ms + DAY_MS) if event.detail == "low_reservoir"]
    assert [at_ms - at_ms % 1_000 for at_ms in came] == [foretold_ms]


@pytest.mark.inv(46)
@given(
    jumps=st.lists(
        st.tuples(st.integers(0, 20), st.integers(-30 * 3_600, 30 * 3_600), st.sampled_from([0, 60, -300])), max_size=6
    )
)
def test_inv_46_whatever_the_clock_does_no_step_runs_twice_on_its_day(jumps: list[tuple[int, int, int]]) -> None:
    pump = device()
    pump.program(Therapy.flex({f"{hour:02d}:00": FlowRate(100_000 + hour) for hour in range(24)}))
    began: list[tuple[int, int]] = []

    def watch(until_ms: int) -> None:
        while pump.now_ms < until_ms:
            step = pump.core.plan.step_id(pump.now_ms, pump.core.clock) if pump.core.plan else None
            assert step is not None
            assert pump.status().rate_nl_per_day == 100_000 + step[1]
            if not began or began[-1] != step:
                began.append(step)
            pump.advance_to(min(until_ms, pump.next_event_ms() or until_ms))

    for hours, shift_s, zone in jumps:
        watch(pump.now_ms + hours * HOUR_MS)
        pump.set_clock(max(EPOCH_UTC_S, pump.core.clock.utc_s(pump.now_ms) + shift_s), zone)
    watch(pump.now_ms + DAY_MS)
    assert began == sorted(set(began))


def test_setting_the_clock_shows_the_shift_first() -> None:
    pump = device()
    pump.program(Therapy.flex({"00:00": FlowRate(100_000), "06:00": FlowRate(150_000)}))
    pump.advance_to(5 * HOUR_MS)
    setting = ClockSetting(EPOCH_UTC_S + 5 * 3_600, 120)
    derived = pump.check(setting)
    assert (derived.shift_minutes, derived.warnings) == (120, (Warn.SCHEDULE_SHIFTS,))
    assert pump.check(ClockSetting(EPOCH_UTC_S + 5 * 3_600, -60)).shift_minutes == -60
    operation = op(1, OperationKind.CLOCK, setting)
    pump.stage(setting, operation.digest)
    with pytest.raises(Refused, match="schedule_shifts"):
        pump.commit(operation, ())
    pump.commit(operation, EVERY_WARNING)
    assert (pump.status().rate_nl_per_day, pump.delivery().zone_minutes) == (150_000, 120)
    line = pump.log(0, 99).records[-1]
    assert (line.code, line.detail, line.value) == (LogCode.CLOCK_SET, 120, EPOCH_UTC_S + 5 * 3_600)
    restart(pump)
    assert (pump.status().rate_nl_per_day, pump.delivery().zone_minutes) == (150_000, 120)
    assert device().check(setting).warnings == ()


# --- ramps -----------------------------------------------------------------------------------------------------------


def test_a_ramp_counts_days_of_delivery() -> None:
    pump = device()
    pump.program(Therapy.titration([(2, FlowRate(100_000)), (2, FlowRate(120_000)), (1, FlowRate(140_000))]))
    first = [(event.at_ms, event.detail) for event in pump.advance_to(3 * DAY_MS) if event.kind == "titration_step"]
    assert first == [(2 * DAY_MS, "2")]
    assert (pump.status().rate_nl_per_day, pump.status().mode) == (120_000, PumpMode.TITRATION)
    pump.stop_at_bench()
    pump.advance_to(8 * DAY_MS)
    restart(pump)
    pump.resume_at_bench()
    steps = [(event.at_ms, event.detail) for event in pump.advance_to(30 * DAY_MS) if event.kind == "titration_step"]
    assert steps == [(9 * DAY_MS, "3")]
    assert pump.status().rate_nl_per_day == 140_000


def test_a_refill_with_the_same_ramp_goes_on_where_it_stood() -> None:
    pump = device()
    therapy = Therapy.titration([(2, FlowRate(100_000)), (2, FlowRate(120_000)), (1, FlowRate(140_000))])
    pump.program(therapy)
    pump.advance_to(3 * DAY_MS)
    pump.refill()
    assert pump.status().rate_nl_per_day == 120_000
    pump.advance_to(4 * DAY_MS)
    pump.refill(None, None, therapy)
    assert pump.status().rate_nl_per_day == 140_000
    pump.program(therapy)
    assert pump.status().rate_nl_per_day == 100_000


def test_a_change_is_measured_against_the_step_that_runs() -> None:
    pump = device()
    pump.program(Therapy.titration([(2, FlowRate(100_000)), (2, FlowRate(150_000))]))
    pump.advance_to(DAY_MS)
    assert pump.check(program(pump, 150_000)).change_ppm == 500_000
    pump.advance_to(3 * DAY_MS)
    assert pump.check(program(pump, 150_000)).change_ppm == 0


# --- refill as one order ---------------------------------------------------------------------------------------------


def test_a_refill_over_the_wire_is_one_prescription() -> None:
    pump = device(concentration_ng_per_ml=500_000)
    pump.advance_to(100 * DAY_MS)
    pump.withdraw()
    pump.fill(Volume(40 * ML), Concentration(2_000_000))
    new = program(pump, 60_000, concentration_ng_per_ml=2_000_000, dose_ng_per_day=120_000, reservoir_generation=2)
    refused = RefillOrder(40 * ML, 23 * ML, new)
    with pytest.raises(Refused) as wrong:
        pump.check(RefillOrder(40 * ML + 1, 23 * ML, new))
    assert wrong.value.reason == "reservoir_overfilled"
    assert Warn.BRIDGE_OMITTED in pump.check(refused).warnings
    operation = op(1, OperationKind.REFILL, refused)
    pump.stage(refused, operation.digest)
    pump.commit(operation, EVERY_WARNING)
    status = pump.status()
    assert (status.concentration_ng_per_ml, status.reservoir_generation, status.reservoir_nl) == (2_000_000, 2, 40 * ML)
    assert pump.program_report().program == new
    codes = [line.code for line in pump.log(0, 99).records][-2:]
    assert codes == [LogCode.REFILLED, LogCode.PROGRAM_COMMITTED]


def test_what_came_out_is_held_against_the_book() -> None:
    pump = device()
    pump.advance_to(100 * DAY_MS)
    new = program(pump, reservoir_generation=2)
    assert Warn.WITHDRAWN_DIFFERS not in pump.check(RefillOrder(40 * ML, 21 * ML, new)).warnings
    assert Warn.WITHDRAWN_DIFFERS in pump.check(RefillOrder(40 * ML, 20 * ML, new)).warnings
    restart(pump)
    assert Warn.WITHDRAWN_DIFFERS in pump.check(RefillOrder(40 * ML, 20 * ML, new)).warnings


def test_a_bridge_must_be_of_the_old_drug() -> None:
    pump = device(concentration_ng_per_ml=500_000)
    therapy = Therapy.simple_continuous(DailyDose(120_000))
    with pytest.raises(Refused) as refused:
        pump.refill(None, Concentration(2_000_000), therapy, bridge=Bridge(concentration=Concentration(1_000_000)))
    assert refused.value.reason == "bridge_mismatch"
    assert pump.truth().tip_concentration_ng_per_ml == 500_000
    bridge = Bridge(Volume(200_000), FlowRate(170_000))
    pump.refill(None, Concentration(2_000_000), Therapy.simple_continuous(FlowRate(60_000)), bridge=bridge)
    assert (pump.status().rate_nl_per_day, pump.core.bridge_to_give) == (170_000, 200_000 * COMMANDED_PER_NL)


def test_the_needle_alone_tells_the_pump_nothing() -> None:
    pump = device()
    pump.advance_to(10 * DAY_MS)
    book = pump.status().reservoir_nl
    assert pump.withdraw(Volume(5 * ML)) == Volume(5 * ML)
    assert pump.fill(Volume(2 * ML), Concentration(500_000)) == Volume(2 * ML)
    pump.fill(Volume(3 * ML), Concentration(2_000_000), into="pocket")
    assert (pump.status().reservoir_nl, pump.truth().lost_nl) == (book, 3 * ML)
    assert pump.ledger().balance_nl == 0
    with pytest.raises(UsageError, match="into: 'arm' is none of reservoir, pocket, side_port"):
        pump.fill(Volume(1), Concentration(1), into="arm")
    pump.tell_refill(Volume(30 * ML))
    assert pump.status().reservoir_nl == 30 * ML
    assert pump.truth().reservoir_nl < 37 * ML


# --- limits and alarms -----------------------------------------------------------------------------------------------


def test_limits_are_an_order_and_outlive_a_reboot() -> None:
    pump = device()
    tighter = replace(pump.limits(), daily_dose_hard_max_ng=1_000_000, max_rate_nl_per_day=10_000_000)
    pump.set_limits(tighter)
    assert pump.limits() == tighter
    with pytest.raises(Refused) as refused:
        pump.check(program(pump, 600_000))
    assert refused.value.reason == "daily_dose_above_hard_limit"
    restart(pump)
    assert pump.limits() == tighter
    with pytest.raises(Refused) as refused:
        pump.set_limits(replace(tighter, max_rate_nl_per_day=25_000_000))
    assert refused.value.reason == "limit_outside_device"
    with pytest.raises(Refused) as refused:
        pump.set_limits(replace(tighter, daily_dose_hard_max_ng=300_000, daily_dose_soft_max_ng=300_000))
    assert refused.value.reason == "window_dose_above_hard_limit"
    assert LogCode.LIMITS_CHANGED in [line.code for line in pump.log(0, 99).records]


def test_alarm_settings_are_an_order_and_outlive_a_reboot() -> None:
    pump = device(fill_nl=2_500_000)
    settings = AlarmSettings(3 * ML, low_reservoir_enabled=False, elective_replacement_enabled=True)
    pump.configure_alarms(settings)
    assert pump.alarm_settings() == settings
    alarm = pump.alarms()[0]
    assert (alarm.kind, alarm.enabled, alarm.signal) == (AlarmKind.LOW_RESERVOIR, False, "off")
    restart(pump)
    assert (pump.alarm_settings(), pump.alarms()[0].enabled) == (settings, False)
    with pytest.raises(Refused) as refused:
        pump.configure_alarms(replace(settings, low_reservoir_alarm_nl=ML - 1))
    assert refused.value.reason == "limit_outside_device"
    pump.configure_alarms(AlarmSettings(2 * ML, low_reservoir_enabled=True, elective_replacement_enabled=True))
    assert pump.alarms() == ()


def test_a_quieted_low_reservoir_sounds_again_three_days_before_it_is_empty() -> None:
    pump = device(fill_nl=2 * ML)
    pump.advance_to(HOUR_MS)
    pump.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)
    empty_ms = -(-2 * ML * DAY_MS // 170_000)
    events = [(event.at_ms, event.kind, event.detail) for event in pump.advance_to(empty_ms - 1)]
    assert events[-1] == (empty_ms - 3 * DAY_MS, "alarm_rearmed", "low_reservoir")
    assert pump.alarms()[0].signal == "on"
    pump.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)
    assert next(event.kind for event in pump.advance_to(empty_ms)) == "alarm_acknowledged"
    assert pump.alarms()[0].signal == "acknowledged"


# --- the governor ----------------------------------------------------------------------------------------------------


def test_a_program_that_was_never_admitted_is_withheld_at_its_limit() -> None:
    pump = device()
    pump.advance_to(DAY_MS)
    core = pump.core
    # A silent corruption of RAM: ten times the rate, 3.4 mg a day.
    core.set_program(replace(core.program, rate_nl_per_day=1_700_000, dose_ng_per_day=3_400_000))
    core.start_plan(core.plan_started_ms, fresh=False)
    trips_ms = core.governor.trips_at_ms(core.now_ms, 1_700_000, 3_400_000)
    assert trips_ms is not None
    # 340 µg/day leave the window while 3400 come in: 1660 µg at a net 3060 µg/day.
    assert trips_ms == DAY_MS + int(Fraction(1_660_000 * DAY_MS, 3_060_000))
    events = [(event.at_ms, event.kind) for event in pump.advance_to(2 * DAY_MS)]
    assert (trips_ms, "delivery_withheld") in events
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.STOPPED, 0)
    assert {AlarmKind.DOSE_LIMIT, AlarmKind.THERAPY_STOPPED} <= set(status.alarms)
    assert pump.ledger_sequence == 2
    assert LogCode.DELIVERY_WITHHELD in [line.code for line in pump.log(0, 99).records]
    restart(pump)
    assert AlarmKind.DOSE_LIMIT in pump.status().alarms
    pump.advance_to(4 * DAY_MS)
    commit(pump, 2, program(pump, 150_000))
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS
    assert next(a for a in pump.alarms() if a.kind is AlarmKind.DOSE_LIMIT).signal == "latched"


def test_resuming_into_a_full_window_is_refused() -> None:
    pump = device()
    pump.advance_to(DAY_MS)
    core = pump.core
    core.governor.record(core.now_ms, core.now_ms + HOUR_MS, 24_000_000, 48_000_000)
    pump.core.now_ms += HOUR_MS
    pump.core.evaluate()
    assert AlarmKind.DOSE_LIMIT in pump.status().alarms
    for act in (pump.resume_at_bench, lambda: pump.check(program(pump, 150_000))):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.reason == "window_dose_above_hard_limit"


# --- states that faults bring ----------------------------------------------------------------------------------------


def test_telemetry_mode_ends_by_an_interrogation_or_its_time() -> None:
    pump = device()
    upsets = pump.core.upsets
    upsets.telemetry_since_ms = 0
    pump.core.evaluate()
    assert (pump.status().mode, pump.status().rate_nl_per_day) == (PumpMode.TELEMETRY, 0)
    pump.advance_to(DAY_MS)
    assert pump.truth().delivered_nl == 0
    pump.interrogated()
    assert (pump.status().mode, pump.status().rate_nl_per_day) == (PumpMode.SIMPLE_CONTINUOUS, 170_000)
    upsets.telemetry_since_ms, upsets.telemetry_until_ms = pump.now_ms, pump.now_ms + 5
    pump.core.evaluate()
    pump.core.take_events()
    assert next((e.at_ms, e.kind) for e in pump.advance_to(2 * DAY_MS)) == (DAY_MS + 5, "telemetry_mode_left")


def test_a_stored_error_blocks_every_order_until_the_memory_is_reset() -> None:
    pump = device()
    pump.core.upsets.stored_error = True
    for order in (program(pump), ClockSetting(0, 0), pump.limits()):
        with pytest.raises(Refused) as refused:
            pump.check(order)
        assert refused.value.reason == "stored_error"
    assert pump.status().rate_nl_per_day == 170_000
    pump.stop_at_bench()
    pump.reset_memory()
    pump.check(program(pump))


def test_a_pump_that_halts_while_it_is_programmed_stays_halted_when_that_is_abandoned() -> None:
    pump = device()
    pump.core.upsets.stops_while_updating = True
    wanted = program(pump, 150_000)
    pump.stage(wanted, digest(wanted))
    pump.drop_staged()
    assert (pump.status().mode, pump.status().rate_nl_per_day) == (PumpMode.STOPPED, 0)
    assert AlarmKind.THERAPY_STOPPED in pump.status().alarms
    commit(pump, 1, wanted)
    assert pump.status().rate_nl_per_day == 150_000


def test_a_stall_is_found_out_late_and_its_end_later_still() -> None:
    profile = replace(PROFILE, stall_detection_latency_ms=3 * HOUR_MS, stall_recovery_interrogations=2)
    pump = device(profile)
    pump.core.reservoir.rotor.stall(0)
    events = [(event.at_ms, event.kind, event.detail) for event in pump.advance_to(DAY_MS)]
    assert events == [(3 * HOUR_MS, "stall_detected", ""), (3 * HOUR_MS, "alarm_raised", "motor_stall")]
    assert (pump.truth().delivered_nl, pump.truth().stalled) == (0, True)
    pump.core.reservoir.rotor.free(pump.now_ms)
    pump.interrogated()
    assert next(a for a in pump.alarms() if a.kind is AlarmKind.MOTOR_STALL).condition_present
    pump.interrogated()
    alarm = next(a for a in pump.alarms() if a.kind is AlarmKind.MOTOR_STALL)
    assert (alarm.condition_present, alarm.signal) == (False, "latched")
    assert LogCode.STALL_RECOVERED in [line.code for line in pump.log(0, 99).records]


def test_a_dead_beeper_is_not_heard() -> None:
    pump = device(fill_nl=2 * ML)
    pump.advance_to(5 * HOUR_MS + 1)
    assert pump.tones(AlarmKind.LOW_RESERVOIR) == 6
    pump.core.alarms.set_beeper(pump.now_ms, works=False)
    pump.advance_to(DAY_MS)
    assert (pump.tones(AlarmKind.LOW_RESERVOIR), pump.next_tone_ms()) == (6, None)
    assert (pump.alarms()[0].signal, pump.truth().beeper_works) == ("on", False)
    restart(pump)
    assert not pump.truth().beeper_works
    pump.core.alarms.set_beeper(pump.now_ms, works=True)
    assert pump.next_tone_ms() == (DAY_MS, AlarmKind.LOW_RESERVOIR)


def test_a_wrong_replace_by_date() -> None:
    pump = device()
    right = pump.status().replace_by_ms
    pump.core.upsets.replace_by_shift_ms = 30 * DAY_MS
    assert pump.status().replace_by_ms == right + 30 * DAY_MS
    pump.core.upsets.replace_by_invalid = True
    assert pump.status().replace_by_ms == 0


# --- shelf -----------------------------------------------------------------------------------------------------------


def test_a_pump_on_the_shelf_waits_without_alarm_and_is_activated_by_its_first_filling() -> None:
    pump = device(shelf_ms=0)
    events = pump.advance_to(400 * DAY_MS)
    assert events == []
    status = pump.status()
    assert (status.mode, status.reservoir_nl, status.alarms, status.battery_percent) == (PumpMode.SHELF, 0, (), 98)
    for act in (pump.resume_at_bench, pump.prime, lambda: pump.check(program(pump))):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.reason == "pump_on_shelf"
    restart(pump)
    assert pump.status().mode is PumpMode.SHELF
    pump.fill(Volume(18 * ML), Concentration(500_000))
    pump.tell_refill(Volume(18 * ML), Concentration(500_000), Therapy.simple_continuous(FlowRate(200_000)))
    pump.prime()
    assert pump.status().activity == "prime"
    assert pump.identity().activated_ms == 400 * DAY_MS
    assert pump.truth().tip_concentration_ng_per_ml == 0
    assert LogCode.ACTIVATED in [line.code for line in pump.log(0, 99).records]
    with pytest.raises(UsageError, match="on the shelf"):
        device(shelf_ms=0, fill_nl=1)


def test_a_sensor_pump_goes_by_its_level() -> None:
    profile = load_profile("sensor-40")
    pump = device(replace(profile, sensor_offset_nl=500_000), fill_nl=4 * ML)
    assert pump.status().reservoir_nl == 4_500_000
    raised = [(event.kind, event.detail) for event in pump.advance_to(60 * DAY_MS) if event.kind == "alarm_raised"]
    assert raised[0] == ("alarm_raised", "low_reservoir")
    # It reads half a millilitre too much: truly empty, it never says so.
    assert (pump.truth().reservoir_nl, pump.status().reservoir_nl) == (0, 500_000)
    assert "empty_reservoir" not in {detail for _, detail in raised}


def test_a_sensor_pump_that_under_delivers_says_so_late() -> None:
    profile = load_profile("sensor-40")
    pump = device(profile, fill_nl=4 * ML, rate_error_ppm=-200_000)
    low = next(event for event in pump.advance_to(90 * DAY_MS) if event.detail == "low_reservoir")
    rate = profile.start_rate_nl_per_day
    by_book = (4 * ML - profile.low_reservoir_alarm_nl) * DAY_MS // rate
    assert low.at_ms > by_book
    assert pump.ledger().balance_nl == 0


def test_a_duration_in_broken_seconds_is_refused() -> None:
    with pytest.raises(UsageError, match="whole number of seconds"):
        device().bolus(Volume(1_000), Duration(1_500))

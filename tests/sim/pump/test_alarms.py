"""Condition, signal and system; latch, silence, acknowledgement; tones in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, AlarmSignal, LogCode, OperationKind, StopReason
from telemetry.sim.pump.alarms import ALARM_NUMBERS, bursts_between, next_burst_ms
from telemetry.therapy import Therapy
from telemetry.units import FlowRate
from tests.sim.pump.rig import DAY_MS, HOUR_MS, ML, PROFILE, device, op

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice


def signal(pump: PumpDevice, kind: AlarmKind) -> AlarmSignal:
    return next((alarm.signal for alarm in pump.alarms() if alarm.kind is kind), AlarmSignal.OFF)


def low_pump() -> PumpDevice:
    """Reaches the low-reservoir alarm at t = 1 h exactly."""
    pump = device(replace(PROFILE, start_rate_nl_per_day=240_000), fill_nl=2 * ML + 10_000)
    pump.advance_to(HOUR_MS)
    return pump


def test_a_silenced_alarm_sounds_again_and_a_new_one_sounds_at_once() -> None:
    pump = low_pump()
    pump.silence_alarms(HOUR_MS)
    alarm = pump.alarms()[0]
    assert (alarm.signal, alarm.silenced_until_ms, alarm.condition_present) == (
        AlarmSignal.SILENCED,
        2 * HOUR_MS,
        True,
    )
    pump.stop_at_bench()
    assert signal(pump, AlarmKind.THERAPY_STOPPED) is AlarmSignal.ON
    assert signal(pump, AlarmKind.LOW_RESERVOIR) is AlarmSignal.SILENCED
    events = pump.advance_to(3 * HOUR_MS)
    assert [(e.at_ms, e.kind, e.detail) for e in events][-1] == (2 * HOUR_MS, "alarm_rearmed", "low_reservoir")
    assert signal(pump, AlarmKind.LOW_RESERVOIR) is AlarmSignal.ON


def test_silence_has_a_limit() -> None:
    pump = low_pump()
    with pytest.raises(Refused) as refused:
        pump.silence_alarms(PROFILE.max_silence_ms + 1)
    assert (refused.value.reason, refused.value.limit) == ("silence_too_long", PROFILE.max_silence_ms)
    with pytest.raises(UsageError, match="below 1"):
        pump.silence_alarms(0)
    assert signal(pump, AlarmKind.LOW_RESERVOIR) is AlarmSignal.ON


def test_silence_with_nothing_sounding_changes_nothing() -> None:
    pump = device()
    pump.silence_alarms(HOUR_MS)
    assert (pump.alarm_sequence, pump.alarms()) == (0, ())


def test_acknowledging_a_present_non_critical_alarm_lasts_as_long_as_its_condition() -> None:
    pump = low_pump()
    pump.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)
    alarm = pump.alarms()[0]
    assert (alarm.signal, alarm.silenced_until_ms) == (AlarmSignal.ACKNOWLEDGED, None)
    pump.advance_to(5 * DAY_MS)
    assert signal(pump, AlarmKind.LOW_RESERVOIR) is AlarmSignal.ACKNOWLEDGED
    pump.refill()
    assert pump.alarms() == ()
    pump.advance_to(200 * DAY_MS)
    assert pump.alarms()[0].count == 2


def test_acknowledging_what_is_not_there_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        device().acknowledge_alarm(AlarmKind.MEMORY_ERROR)
    assert refused.value.reason == "no_such_alarm"


def test_an_acknowledged_latching_alarm_ends_with_its_condition() -> None:
    pump = device()
    pump.stop_at_bench()
    pump.acknowledge_alarm(AlarmKind.THERAPY_STOPPED)
    assert signal(pump, AlarmKind.THERAPY_STOPPED) is AlarmSignal.ACKNOWLEDGED
    pump.resume_at_bench()
    assert pump.alarms() == ()


def test_only_some_alarms_can_be_switched_off() -> None:
    pump = low_pump()
    pump.set_alarm_enabled(AlarmKind.LOW_RESERVOIR, enabled=False)
    alarm = pump.alarms()[0]
    assert (alarm.condition_present, alarm.enabled, alarm.signal) == (True, False, AlarmSignal.OFF)
    assert pump.next_tone_ms() is None
    sequence = pump.alarm_sequence
    pump.set_alarm_enabled(AlarmKind.LOW_RESERVOIR, enabled=False)
    assert pump.alarm_sequence == sequence
    pump.set_alarm_enabled(AlarmKind.LOW_RESERVOIR, enabled=True)
    assert signal(pump, AlarmKind.LOW_RESERVOIR) is AlarmSignal.ON
    with pytest.raises(UsageError, match="low_reservoir, elective_replacement"):
        pump.set_alarm_enabled(AlarmKind.EMPTY_RESERVOIR, enabled=False)


def test_every_change_moves_the_sequence_and_writes_its_line() -> None:
    pump = low_pump()
    seen = [pump.alarm_sequence]
    pump.silence_alarms(HOUR_MS)
    seen.append(pump.alarm_sequence)
    pump.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)
    seen.append(pump.alarm_sequence)
    pump.refill()
    seen.append(pump.alarm_sequence)
    assert seen == [1, 2, 3, 4]
    number = ALARM_NUMBERS[AlarmKind.LOW_RESERVOIR]
    lines = [line.code for line in pump.log(0, 100).records if line.detail == number]
    assert [code for code in lines if code.startswith("alarm_")] == [
        LogCode.ALARM_RAISED,
        LogCode.ALARM_SILENCED,
        LogCode.ALARM_ACKNOWLEDGED,
        LogCode.ALARM_CLEARED,
    ]


def test_the_sequence_wraps_at_16_bits() -> None:
    pump = low_pump()
    pump.core.alarms.sequence = 0xFFFF
    pump.silence_alarms(HOUR_MS)
    assert pump.alarm_sequence == 0


def test_tones_of_ninety_days_are_counted_without_an_event_each() -> None:
    pump = device()
    pump.advance_to(1_500)
    pump.stop(op(1, OperationKind.STOP), StopReason.CLINICAL)
    pump.advance_to(1_500 + 40 * HOUR_MS)
    assert pump.tones(AlarmKind.THERAPY_STOPPED) == 240
    assert pump.next_tone_ms() == (1_500 + 40 * HOUR_MS, AlarmKind.THERAPY_STOPPED)
    pump.silence_alarms(HOUR_MS)
    assert pump.next_tone_ms() is None
    pump.advance_to(1_500 + 42 * HOUR_MS)
    assert pump.tones(AlarmKind.THERAPY_STOPPED) == 246


@given(
    since=st.integers(0, 1000),
    repeat=st.integers(1, 50),
    instants=st.lists(st.integers(0, 2000), min_size=3, max_size=3),
)
def test_closed_form_counts_what_a_loop_counts(since: int, repeat: int, instants: list[int]) -> None:
    start, middle, end = sorted(instants)
    ticks = range(since, 2100, repeat)
    counted = sum(start <= tick < end for tick in ticks)
    assert bursts_between(since, repeat, start, end) == counted
    parts = bursts_between(since, repeat, start, middle) + bursts_between(since, repeat, middle, end)
    assert parts == counted
    assert next_burst_ms(since, repeat, start) == next(tick for tick in range(since, 4000, repeat) if tick >= start)


def test_log_pages_and_overwriting() -> None:
    pump = device()
    for number in range(1100):
        pump.log_event(LogCode.SESSION_OPENED, slot=3, detail=7, value=number)
    everything = pump.log(0, 5_000)
    assert (everything.newest_sequence, everything.oldest_sequence, everything.overwritten) == (1101, 78, 77)
    assert len(everything.records) == PROFILE.log_capacity
    page = pump.log(500, 3)
    assert [line.sequence for line in page.records] == [500, 501, 502]
    assert (page.records[0].slot, page.records[0].detail, page.records[0].value) == (3, 7, 498)
    assert pump.log(1102, 5).records == ()
    head = pump.log_head()
    pump.power_cut()
    pump.boot()
    assert pump.log(0, 5_000).records[:-1] == everything.records[1:]
    assert pump.log_head()[0] == head[0] + 1


def test_a_program_ends_the_stop_alarms() -> None:
    pump = device()
    pump.stop_at_bench()
    pump.advance_to(3 * DAY_MS)
    assert pump.status().alarms == (AlarmKind.THERAPY_STOPPED, AlarmKind.STOPPED_PUMP)
    pump.program(Therapy.simple_continuous(FlowRate(160_000)))
    assert pump.status().alarms == ()
    cleared = {event.detail for event in pump.advance_to(3 * DAY_MS) if event.kind == "alarm_cleared"}
    assert cleared == {"therapy_stopped", "stopped_pump"}

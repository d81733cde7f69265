"""Condition, signal and system apart: what of an alarm changes what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import VirtualPump
from telemetry.alarm_table import PUMP_ROWS, TABLE
from telemetry.hospital.alerts import Activation, Presence, Signal, priority_now, system_activation, view
from telemetry.model import Alarm, AlarmClass, AlarmKind, AlarmPriority, AlarmSignal

SOUNDING = Alarm(
    AlarmKind.LOW_RESERVOIR,
    AlarmClass.NON_CRITICAL,
    AlarmPriority.LOW,
    condition_present=True,
    signal=AlarmSignal.ON,
    enabled=True,
    since_ms=0,
    count=1,
)


@pytest.mark.parametrize(
    ("signal", "present", "audible", "visible"),
    [
        (AlarmSignal.ON, True, Signal(Activation.ON, Presence.ON), Presence.ON),
        (AlarmSignal.SILENCED, True, Signal(Activation.PAUSED, Presence.OFF), Presence.ON),
        (AlarmSignal.ACKNOWLEDGED, True, Signal(Activation.ON, Presence.ACKNOWLEDGED), Presence.ON),
        (AlarmSignal.LATCHED, False, Signal(Activation.ON, Presence.LATCHED), Presence.LATCHED),
        (AlarmSignal.SILENCED, False, Signal(Activation.PAUSED, Presence.OFF), Presence.LATCHED),
        (AlarmSignal.OFF, False, Signal(Activation.ON, Presence.OFF), Presence.OFF),
    ],
)
def test_a_signal_changes_and_the_condition_stays(
    signal: AlarmSignal, present: bool, audible: Signal, visible: Presence
) -> None:
    found = view(replace(SOUNDING, signal=signal, condition_present=present), AlarmPriority.LOW)
    assert found.present is present
    assert found.activation is Activation.ON
    assert found.audible == audible
    assert found.visible == Signal(Activation.ON, visible)


def test_an_alarm_that_is_switched_off_gives_no_signal_and_keeps_its_condition() -> None:
    found = view(replace(SOUNDING, enabled=False, signal=AlarmSignal.OFF), AlarmPriority.LOW)
    assert found.present
    assert found.activation is Activation.OFF
    assert found.audible == found.visible == Signal(Activation.OFF, Presence.OFF)


def test_an_alarm_that_the_pump_does_not_mention_is_absent_and_watched() -> None:
    for row in PUMP_ROWS:
        found = view(None, row.priority)
        assert not found.present
        assert found.activation is Activation.ON
        assert found.priority is TABLE[row.kind].priority


def test_the_priority_is_that_of_the_moment() -> None:
    assert view(SOUNDING, AlarmPriority.MEDIUM).priority is AlarmPriority.MEDIUM


@pytest.mark.parametrize(
    ("reservoir_nl", "rate", "priority"),
    [
        (2_000_000, 170_000, AlarmPriority.LOW),
        (2_000_000, 900_000, AlarmPriority.MEDIUM),
        (3_000_000, 1_000_000, AlarmPriority.MEDIUM),  # 72 hours to the millisecond
        (3_000_001, 1_000_000, AlarmPriority.LOW),
        (2_000_000, 0, AlarmPriority.LOW),
    ],
)
def test_a_low_reservoir_ranks_higher_in_its_last_72_hours(
    reservoir_nl: int, rate: int, priority: AlarmPriority
) -> None:
    status = replace(VirtualPump(seed=3).status, reservoir_nl=reservoir_nl, rate_nl_per_day=rate)
    assert priority_now(AlarmKind.LOW_RESERVOIR, status) is priority
    assert priority_now(AlarmKind.MOTOR_STALL, status) is AlarmPriority.HIGH


@given(st.lists(st.sampled_from(Activation)))
def test_the_system_says_what_biceps_makes_of_its_signals(activations: list[Activation]) -> None:
    found = system_activation(Signal(activation, Presence.OFF) for activation in activations)
    # The rules stand so in the schema's text on SystemSignalActivation.
    if Activation.ON in activations or not activations:
        assert found is Activation.ON
    elif all(activation is Activation.OFF for activation in activations):
        assert found is Activation.OFF
    else:
        assert found is Activation.PAUSED

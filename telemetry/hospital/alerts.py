"""Alarms of the pump in the words of BICEPS: condition, signal and system apart (domain.md 5.7).

Values of the enumerations are those of the schema, so that neither view translates a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.alarm_table import TABLE
from telemetry.model import AlarmKind, AlarmPriority, AlarmSignal
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.model import Alarm, PumpStatus


class Activation(StrEnum):
    """Whether an element of the alert system works; ``PAUSED`` is for a time."""

    ON = "On"
    PAUSED = "Psd"
    OFF = "Off"


class Presence(StrEnum):
    """Whether a signal is given."""

    ON = "On"
    OFF = "Off"
    LATCHED = "Latch"
    ACKNOWLEDGED = "Ack"


PRIORITIES = {AlarmPriority.LOW: "Lo", AlarmPriority.MEDIUM: "Me", AlarmPriority.HIGH: "Hi"}
TECHNICAL = "Tec"
"""The kind of every condition: a pump of this sort senses nothing of the patient, so that none is physiological."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: whether it may be given, and whether it is."""

    activation: Activation
    presence: Presence


@dataclass(frozen=True, slots=True)
class AlertView:
    """One kind of alarm as it stands: its condition, its sound at the pump, its sign on whoever reads it."""

    present: bool
    activation: Activation
    priority: AlarmPriority
    audible: Signal
    visible: Signal


_SOUND = {
    AlarmSignal.ON: Signal(Activation.ON, Presence.ON),
    AlarmSignal.OFF: Signal(Activation.ON, Presence.OFF),
    AlarmSignal.SILENCED: Signal(Activation.PAUSED, Presence.OFF),
    AlarmSignal.LATCHED: Signal(Activation.ON, Presence.LATCHED),
    AlarmSignal.ACKNOWLEDGED: Signal(Activation.ON, Presence.ACKNOWLEDGED),
}
_SWITCHED_OFF = Signal(Activation.OFF, Presence.OFF)


def priority_now(kind: AlarmKind, status: PumpStatus) -> AlarmPriority:
    """How a tablet ranks it at this reading: a low reservoir more, the sooner it will be empty (domain.md 5.4)."""
    rate = status.rate_nl_per_day
    empties_in_ms = status.reservoir_nl * MS_PER_DAY // rate if rate > 0 else None
    return TABLE[kind].priority_at(empties_in_ms)


def view(alarm: Alarm | None, priority: AlarmPriority) -> AlertView:
    """How an alarm stands; None is one of which the pump said nothing: its condition is neither present nor latched.

    ``priority`` is that of the moment. Silencing takes the sound for a time and acknowledging
    until the condition ends; neither touches the condition or the visible sign (IEC 60601-1-8, domain.md 5.4).
    """
    if alarm is None:
        quiet = Signal(Activation.ON, Presence.OFF)
        return AlertView(present=False, activation=Activation.ON, priority=priority, audible=quiet, visible=quiet)
    if not alarm.enabled:
        return AlertView(alarm.condition_present, Activation.OFF, priority, _SWITCHED_OFF, _SWITCHED_OFF)
    shown = Presence.ON if alarm.condition_present else Presence.LATCHED
    if alarm.signal is AlarmSignal.OFF and not alarm.condition_present:
        shown = Presence.OFF
    visible = Signal(Activation.ON, shown)
    return AlertView(alarm.condition_present, Activation.ON, priority, _SOUND[alarm.signal], visible)


def system_activation(signals: Iterable[Signal]) -> Activation:
    """What the whole alert system says of the signals of one manifestation (BICEPS, SystemSignalActivation).

    On when any is on; off when all are; paused otherwise.
    """
    found = {signal.activation for signal in signals}
    if Activation.ON in found or not found:
        return Activation.ON
    return Activation.OFF if found == {Activation.OFF} else Activation.PAUSED


def by_kind(alarms: Iterable[Alarm]) -> dict[AlarmKind, Alarm]:
    """The records by their kind."""
    return {alarm.kind: alarm for alarm in alarms}

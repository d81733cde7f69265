"""What the two numbers of a log record mean: a name and a unit, for the command line and for messages.

The numbers count from 1 in the order of the vocabulary (``telemetry.sim.pump`` writes them, docs/pump-model.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import Activity, AlarmKind, LogCode, RefusalReason, StopReason

if TYPE_CHECKING:
    from enum import StrEnum

    from telemetry.model import LogRecord

_ALARMS: tuple[StrEnum, ...] = tuple(AlarmKind)
_REFUSALS: tuple[StrEnum, ...] = tuple(RefusalReason)
_ACTIVITIES: tuple[StrEnum, ...] = tuple(Activity)[1:]  # none is 0
_NAMES: dict[LogCode, tuple[StrEnum, ...]] = {
    LogCode.ALARM_RAISED: _ALARMS,
    LogCode.ALARM_CLEARED: _ALARMS,
    LogCode.ALARM_SILENCED: _ALARMS,
    LogCode.ALARM_ACKNOWLEDGED: _ALARMS,
    LogCode.COMMIT_REFUSED: _REFUSALS,
    LogCode.PATIENT_BOLUS_DENIED: _REFUSALS,
    LogCode.STOPPED: tuple(StopReason),
    LogCode.BOLUS_STARTED: _ACTIVITIES,
    LogCode.BOLUS_ENDED: _ACTIVITIES,
    LogCode.BOLUS_CANCELLED: _ACTIVITIES,
    LogCode.BOLUS_WITHHELD: _ACTIVITIES,
}
_UNITS: dict[LogCode, str] = {
    LogCode.PROGRAM_COMMITTED: "nl_per_day",
    LogCode.RESUMED: "nl_per_day",
    LogCode.SAFE_STATE_ENTERED: "nl_per_day",
    LogCode.TITRATION_STEP: "nl_per_day",
    LogCode.STOPPED: "nl",
    LogCode.REFILLED: "nl",
    LogCode.ALARMS_CONFIGURED: "nl",
    LogCode.BOLUS_STARTED: "nl",
    LogCode.BOLUS_ENDED: "nl",
    LogCode.BOLUS_CANCELLED: "nl",
    LogCode.BOLUS_WITHHELD: "nl",
    LogCode.PRIME_STARTED: "nl",
    LogCode.PRIME_ENDED: "nl",
    LogCode.BRIDGE_STARTED: "nl",
    LogCode.BRIDGE_ENDED: "nl",
    LogCode.DELIVERY_WITHHELD: "ng",
    LogCode.LIMITS_CHANGED: "ng_per_day",
    LogCode.CLOCK_SET: "utc_s",
    LogCode.STALL_DETECTED: "strokes",
    LogCode.STALL_RECOVERED: "strokes",
}
NAMED = frozenset(_NAMES)
"""The codes whose ``detail`` stands for a name."""
VALUE_UNITS = tuple(dict.fromkeys(_UNITS.values()))


def subject(record: LogRecord) -> str | None:
    """The name behind ``detail``: an alarm, a reason, an activity; None where it is no name, or none that is known."""
    names = _NAMES.get(record.code, ())
    return names[record.detail - 1].value if 1 <= record.detail <= len(names) else None


def value_unit(record: LogRecord) -> str | None:
    """The unit of ``value``; None where the code gives it none."""
    return _UNITS.get(record.code)

"""The pump's event log in words: what the two numbers of each record mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli import words
from telemetry.model import Activity, AlarmKind, LogCode, RefusalReason, StopReason

if TYPE_CHECKING:
    from telemetry.model import LogRecord

_ALARMS = tuple(AlarmKind)
_ACTIVITIES = tuple(Activity)[1:]  # none is 0
_DETAILS: dict[
    LogCode, tuple[AlarmKind, ...] | tuple[RefusalReason, ...] | tuple[StopReason, ...] | tuple[Activity, ...]
] = {
    LogCode.ALARM_RAISED: _ALARMS,
    LogCode.ALARM_CLEARED: _ALARMS,
    LogCode.ALARM_SILENCED: _ALARMS,
    LogCode.ALARM_ACKNOWLEDGED: _ALARMS,
    LogCode.COMMIT_REFUSED: tuple(RefusalReason),
    LogCode.STOPPED: tuple(StopReason),
    LogCode.PATIENT_BOLUS_DENIED: tuple(RefusalReason),
    LogCode.BOLUS_STARTED: _ACTIVITIES,
    LogCode.BOLUS_ENDED: _ACTIVITIES,
    LogCode.BOLUS_CANCELLED: _ACTIVITIES,
    LogCode.BOLUS_WITHHELD: _ACTIVITIES,
    LogCode.PRIME_STARTED: (),
    LogCode.PRIME_ENDED: (),
    LogCode.BRIDGE_STARTED: (),
    LogCode.BRIDGE_ENDED: (),
    LogCode.ALARMS_CONFIGURED: (),
}
_NUMBERED = {
    LogCode.PROGRAM_COMMITTED: "program number {}",
    LogCode.RESUMED: "program number {}",
    LogCode.REFILLED: "fill number {}",
    LogCode.TITRATION_STEP: "step {}",
}
_RATES = frozenset({LogCode.PROGRAM_COMMITTED, LogCode.RESUMED, LogCode.SAFE_STATE_ENTERED, LogCode.TITRATION_STEP})
_VOLUMES = frozenset({LogCode.STOPPED, LogCode.REFILLED, LogCode.ALARMS_CONFIGURED})
_ZONE_WRAP = 1 << 16
"""A zone to the west of UTC stands as its complement in 16 bits."""
_EXACT_VOLUMES = frozenset(
    {
        LogCode.BOLUS_STARTED,
        LogCode.BOLUS_ENDED,
        LogCode.BOLUS_CANCELLED,
        LogCode.BOLUS_WITHHELD,
        LogCode.PRIME_STARTED,
        LogCode.PRIME_ENDED,
        LogCode.BRIDGE_STARTED,
        LogCode.BRIDGE_ENDED,
    }
)


def detail(record: LogRecord) -> str:
    """The name behind a record's number, which counts from 1 in the order of the vocabulary."""
    if record.code in _NUMBERED:
        return _NUMBERED[record.code].format(record.detail)
    if record.code is LogCode.CLOCK_SET:
        return words.zone(record.detail - _ZONE_WRAP if record.detail >= _ZONE_WRAP >> 1 else record.detail)
    names = _DETAILS.get(record.code)
    if names is None:
        return str(record.detail) if record.detail else ""
    return names[record.detail - 1].value.replace("_", " ") if 1 <= record.detail <= len(names) else ""


def value(record: LogRecord) -> str:
    """What a record counts, in its unit."""
    if record.code in _RATES:
        return words.flow(record.value)
    if record.code in _VOLUMES:
        return words.volume(record.value)
    if record.code is LogCode.CLOCK_SET:
        return words.clock(record.value, 0)
    if record.code is LogCode.DELIVERY_WITHHELD:
        return f"{words.bolus_dose(record.value)} in 24 h"
    if record.code is LogCode.LIMITS_CHANGED:
        return f"at most {words.dose(record.value)}"
    if record.code in {LogCode.STALL_DETECTED, LogCode.STALL_RECOVERED}:
        return f"{record.value} strokes missed"
    if record.code in _EXACT_VOLUMES:
        return words.exact_volume(record.value)
    return str(record.value) if record.value else ""

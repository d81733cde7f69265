"""The pump's event log in words: what the two numbers of each record mean (``telemetry.log_meaning``), spelt out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry import log_meaning
from telemetry.cli import words
from telemetry.model import LogCode

if TYPE_CHECKING:
    from telemetry.model import LogRecord

_NUMBERED = {
    LogCode.PROGRAM_COMMITTED: "program number {}",
    LogCode.RESUMED: "program number {}",
    LogCode.REFILLED: "fill number {}",
    LogCode.TITRATION_STEP: "step {}",
}
_ZONE_WRAP = 1 << 16
"""A zone to the west of UTC stands as its complement in 16 bits."""
_WITHOUT_DETAIL = frozenset(
    {
        LogCode.PRIME_STARTED,
        LogCode.PRIME_ENDED,
        LogCode.BRIDGE_STARTED,
        LogCode.BRIDGE_ENDED,
        LogCode.ALARMS_CONFIGURED,
    }
)
_OF_THE_RESERVOIR = frozenset({LogCode.STOPPED, LogCode.REFILLED, LogCode.ALARMS_CONFIGURED})
"""Volumes of millilitres; those of boluses are told to the nanolitre."""


def detail(record: LogRecord) -> str:
    """The name behind a record's number, which counts from 1 in the order of the vocabulary."""
    if record.code in _NUMBERED:
        return _NUMBERED[record.code].format(record.detail)
    if record.code is LogCode.CLOCK_SET:
        return words.zone(record.detail - _ZONE_WRAP if record.detail >= _ZONE_WRAP >> 1 else record.detail)
    if record.code in log_meaning.NAMED:
        return (log_meaning.subject(record) or "").replace("_", " ")
    return str(record.detail) if record.detail and record.code not in _WITHOUT_DETAIL else ""


def value(record: LogRecord) -> str:
    """What a record counts, in its unit."""
    match log_meaning.value_unit(record):
        case "nl_per_day":
            return words.flow(record.value)
        case "nl" if record.code in _OF_THE_RESERVOIR:
            return words.volume(record.value)
        case "nl":
            return words.exact_volume(record.value)
        case "utc_s":
            return words.clock(record.value, 0)
        case "ng":
            return f"{words.bolus_dose(record.value)} in 24 h"
        case "ng_per_day":
            return f"at most {words.dose(record.value)}"
        case "strokes":
            return f"{record.value} strokes missed"
        case _:
            return str(record.value) if record.value else ""

"""What an integer of the wire means to a person: 150000 of ``nl/day`` is ``0.150 ml/day``.

The form of a field follows from the unit that the wire table states for it, so that a new field is readable by itself;
the dissector is generated with the same forms, and a test holds the texts of both equal.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from telemetry.protocol.wire import Kind
from telemetry.therapy import DAYS, EVERY_DAY
from telemetry.units import MS_PER_SECOND, Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.wire import Field

EXACT = 1 << 53
"""Integers from here on are shown as they are: the scripting language of the dissector counts no further exactly."""
LAST_DATE_S = 253_402_300_799
"""Last second of the year 9999, where calendars of four digits end."""

_S_PER_DAY, _S_PER_HOUR, _S_PER_MINUTE = 86_400, 3_600, 60
_PPM_PER_PERCENT = 10_000


class Form(StrEnum):
    """How an integer is written for people."""

    PLAIN = "plain"
    FLOW = "flow"
    VOLUME = "volume"
    DAILY_DOSE = "daily_dose"
    DOSE = "dose"
    CONCENTRATION = "concentration"
    SHARE = "share"
    UTC = "utc"
    PUMP_TIME = "pump_time"
    SPAN = "span"
    SHIFT = "shift"
    ZONE = "zone"
    MINUTE = "minute"
    DAYS = "days"
    FLAGS = "flags"


_BY_UNIT = (
    (re.compile(r"nl/day\b"), Form.FLOW),
    (re.compile(r"nl\b"), Form.VOLUME),
    (re.compile(r"ng/day\b"), Form.DAILY_DOSE),
    (re.compile(r"ng/ml\b"), Form.CONCENTRATION),
    (re.compile(r"ng\b"), Form.DOSE),
    (re.compile(r"ppm\b"), Form.SHARE),
    (re.compile(r"s since 1970-01-01 UTC"), Form.UTC),
    (re.compile(r"s of pump time"), Form.PUMP_TIME),
    (re.compile(r"s\b"), Form.SPAN),
    (re.compile(r"min east of UTC"), Form.ZONE),
    (re.compile(r"min that a schedule moves"), Form.SHIFT),
    (re.compile(r"minutes after the pump's midnight"), Form.MINUTE),
    (re.compile(r"bitmap, Monday is bit 0"), Form.DAYS),
    (re.compile(r"bit 0 "), Form.FLAGS),
)


def form_of(field: Field) -> Form:
    """The form of a UINT field, by the beginning of its unit; ``PLAIN`` for every other field."""
    if field.kind is Kind.UINT:
        for pattern, form in _BY_UNIT:
            if pattern.match(field.unit):
                return form
    return Form.PLAIN


@cache
def word_for_ones(unit: str) -> str:
    """What all ones stand for, where the unit says so (``s; all ones: longer``); else nothing."""
    return unit.partition("all ones: ")[2]


@cache
def flag_names(unit: str) -> tuple[tuple[int, str], ...]:
    """Bit and name of each flag of a unit such as ``bit 0 test device, 1 throttled``."""
    return tuple((int(bit), name) for bit, name in re.findall(r"(\d) ([a-z ]+)", unit))


def meaning(field: Field, value: int) -> str:
    """The value for people, or nothing where the number says it all. Total for every integer."""
    form = form_of(field)
    if value == (1 << 8 * field.size) - 1 - field.bias and word_for_ones(field.unit):
        return word_for_ones(field.unit)
    if form is Form.FLAGS:
        return ", ".join(name for bit, name in flag_names(field.unit) if value >> bit & 1)
    if form is Form.PLAIN or not -EXACT < value < EXACT:
        return ""
    return _WRITERS[form](value)


def _share(ppm: int) -> str:
    whole, rest = divmod(ppm, _PPM_PER_PERCENT)
    return f"{whole}.{f'{rest:04d}'.rstrip('0') or '0'} %"


def _utc(seconds: int) -> str:
    if seconds > LAST_DATE_S:
        return ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _pump_time(seconds: int) -> str:
    days, rest = divmod(seconds, _S_PER_DAY)
    return f"day {days} {rest // _S_PER_HOUR:02d}:{rest // _S_PER_MINUTE % 60:02d}:{rest % 60:02d}"


def _span(seconds: int) -> str:
    return str(Duration(seconds * MS_PER_SECOND))


def _shift(minutes: int) -> str:
    if not minutes:
        return ""
    return f"{_span(abs(minutes) * _S_PER_MINUTE)} {'earlier' if minutes > 0 else 'later'}"


def _zone(minutes: int) -> str:
    return f"UTC{'-' if minutes < 0 else '+'}{_minute(abs(minutes))}"


def _minute(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _days(mask: int) -> str:
    return "every day" if mask == EVERY_DAY else ", ".join(name for bit, name in enumerate(DAYS) if mask >> bit & 1)


_WRITERS: dict[Form, Callable[[int], str]] = {
    Form.FLOW: lambda value: str(FlowRate(value)),
    Form.VOLUME: lambda value: str(Volume(value)),
    Form.DAILY_DOSE: lambda value: str(DailyDose(value)),
    Form.DOSE: lambda value: str(Dose(value)),
    Form.CONCENTRATION: lambda value: str(Concentration(value)),
    Form.SHARE: _share,
    Form.UTC: _utc,
    Form.PUMP_TIME: _pump_time,
    Form.SPAN: _span,
    Form.SHIFT: _shift,
    Form.ZONE: _zone,
    Form.MINUTE: _minute,
    Form.DAYS: _days,
}

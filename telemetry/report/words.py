"""How a report writes quantities, instants and names for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_PER_YEAR = 365.25
SIMULATED = "SIMULATED – not a medical device, not for clinical use"
SIMULATED_MARK = "SIMULATED"
ILLUSTRATIVE = "ILLUSTRATIVE MODEL – not measured, not a prediction"


def name(text: str) -> str:
    """``low_reservoir`` as people read it."""
    return text.replace("_", " ")


_COUNTED = {"program_committed": "program", "refilled": "fill", "power_on": "start", "titration_step": "step"}
"""Events whose detail is a bare number, and of what."""
_STEP = re.compile(r"\btimeline\[(\d+)\]")


def detail(kind: str, text: str) -> str:
    """What an event says besides its kind: ``3`` of a committed program is ``program 3``."""
    return f"{_COUNTED[kind]} {text}" if kind in _COUNTED and text.isdecimal() else name(text)


def steps(text: str) -> str:
    """``timeline[3] (refill)`` as people count: ``step 4 (refill)``."""
    return name(_STEP.sub(lambda found: f"step {int(found[1]) + 1}", text))


def span(ms: float) -> str:
    """A span in its largest fitting unit, as short as it can be: ``24 h``, ``30 s``, ``7 d``, ``1.5 d``."""
    for unit, size, most in (
        ("ms", 1, MS_PER_SECOND),
        ("s", MS_PER_SECOND, MS_PER_MINUTE),
        ("min", MS_PER_MINUTE, MS_PER_HOUR),
        ("h", MS_PER_HOUR, 2 * MS_PER_DAY),
    ):
        if ms < most:
            return f"{ms / size:.3g} {unit}"
    days = ms / MS_PER_DAY
    return f"{days:.4g} d" if days < 2 * _DAYS_PER_YEAR else f"{days / _DAYS_PER_YEAR:.2f} y"


def pump_time(ms: float) -> str:
    """Pump time: ``day 253 08:00:00``, with milliseconds where there are any."""
    days, rest = divmod(round(ms), MS_PER_DAY)
    hours, rest = divmod(rest, MS_PER_HOUR)
    minutes, rest = divmod(rest, MS_PER_MINUTE)
    seconds, left = divmod(rest, MS_PER_SECOND)
    fraction = f".{left:03d}" if left else ""
    return f"day {days} {hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


def date(ms: float, epoch_utc_s: int) -> str:
    """The calendar day at an instant of pump time."""
    return _moment(ms, epoch_utc_s).strftime("%Y-%m-%d")


def moment(ms: float, epoch_utc_s: int) -> str:
    """The calendar at an instant of pump time, to the minute."""
    return _moment(ms, epoch_utc_s).strftime("%Y-%m-%d %H:%M UTC")


def ml(nl: float) -> str:
    """Nanolitres as millilitres."""
    return f"{nl / 1e6:.3f} ml"


def ug(ng: float) -> str:
    """Nanograms as micrograms, or as milligrams from ten thousand of those on."""
    return f"{ng / 1e3:.1f} µg" if ng < 1e7 else f"{ng / 1e6:.2f} mg"


def percent(value: float) -> str:
    """A signed percentage with two decimals."""
    return f"{value:+.2f} %".replace("-", "−")


def _moment(ms: float, epoch_utc_s: int) -> datetime:
    return _EPOCH + timedelta(seconds=epoch_utc_s, milliseconds=round(ms))

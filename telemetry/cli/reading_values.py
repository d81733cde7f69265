"""What a person types, as quantities: amounts, shares, dates, zones. Raises ``UsageError`` that shows the form."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from telemetry.errors import UsageError
from telemetry.units import Dose, Volume

if TYPE_CHECKING:
    from telemetry.therapy import Amount

_Quantity = TypeVar("_Quantity")
_Quantity_co = TypeVar("_Quantity_co", covariant=True)

_SHARE = re.compile(r"(?P<sign>[+\-−]?)(?P<whole>\d+)(?:\.(?P<fraction>\d{1,4}))?\s*%")
_ZONE = re.compile(r"(?:UTC)?(?P<sign>[+\-−])(?P<hours>\d{1,2})(?::(?P<minutes>[0-5]\d))?|UTC|Z", re.IGNORECASE)
_FACTOR = re.compile(r"(?P<whole>\d)(?:\.(?P<fraction>\d{1,6}))?")
_PPM_PER_PERCENT = 10_000
_MOST_ZONE_MINUTES = 14 * 60


def amount(text: str) -> Amount:
    """A bolus as volume (``0.025 ml``) or dose (``50 ug``)."""
    try:
        return Dose.parse(text)
    except UsageError as no_dose:
        try:
            return Volume.parse(text)
        except UsageError:
            raise UsageError(f"amount: {no_dose}; or a volume, as in 0.025 ml") from None


def share_ppm(text: str) -> int:
    """``+15%``, ``-7.5 %`` in parts per million."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"step: {text!r} is no share; write +15% or -7.5%")
    fraction = (match["fraction"] or "").ljust(4, "0")
    ppm = int(match["whole"]) * _PPM_PER_PERCENT + int(fraction)
    return -ppm if match["sign"] in {"-", "−"} else ppm


def factor_ppm(text: str | None) -> int | None:
    """A calibration constant as on the package, ``1.000000`` or ``0.998``, in ppm; None stays None."""
    if text is None:
        return None
    match = _FACTOR.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--calibration: {text!r} is no constant; write it as on the package, such as 1.000000")
    return int(match["whole"]) * 1_000_000 + int((match["fraction"] or "").ljust(6, "0"))


def day(text: str | None) -> date | None:
    """``2027-06-30``; None stays None."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"date: {text!r} is no date; write 2027-06-30") from None


def utc_s(text: str | None) -> int | Literal["now"] | None:
    """``now``, or an instant with its zone, ``2027-03-01T08:00:00Z``, in seconds since 1970; None stays None."""
    if text is None:
        return None
    if text == "now":
        return "now"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"time: {text!r} is neither 'now' nor an instant such as 2027-03-01T08:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"time: {text!r} says no zone; write 2027-03-01T08:00:00Z or …+01:00")
    return int(moment.astimezone(UTC).timestamp())


def zone_minutes(text: str | None) -> int | None:
    """``+01:00``, ``-5``, ``UTC`` in minutes east of UTC; None stays None."""
    if text is None:
        return None
    match = _ZONE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"zone: {text!r} is no offset from UTC; write +01:00, -05:00 or UTC")
    minutes = int(match["hours"] or 0) * 60 + int(match["minutes"] or 0)
    if minutes > _MOST_ZONE_MINUTES:
        raise UsageError(f"zone: {text!r} is further than 14 hours from UTC")
    return -minutes if match["sign"] in {"-", "−"} else minutes


class _Kind(Protocol[_Quantity_co]):
    """A quantity's type: it reads a number with its unit."""

    def parse(self, text: str, /) -> _Quantity_co:
        """The quantity; raises ``UsageError``."""
        ...


def quantity(name: str, kind: _Kind[_Quantity], text: str) -> _Quantity:
    """What was given to the option or argument ``name``; the error begins with that name."""
    try:
        return kind.parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def optional(name: str, kind: _Kind[_Quantity], text: str | None) -> _Quantity | None:
    """As ``quantity``; None stays None."""
    return None if text is None else quantity(name, kind, text)

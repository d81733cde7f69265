"""The kinds of value that a scenario writes and holds against a pump: how each is read, shown and compared.

Every number has its unit in the file; inside, all are whole numbers of the base unit. ``V ± T`` (also ``+-``) means
within ``T`` of ``V``, ``T`` in the same unit or in percent of ``V``, both exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.units import (
    MS_PER_DAY,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    MS_PER_SECOND,
    Charge,
    Concentration,
    DailyDose,
    Dose,
    Duration,
    FlowRate,
    Quantity,
    Volume,
    parse_delivery,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PPM_PER_PERCENT = 10_000
_TOLERANCE = re.compile(r"(?P<value>.+?)\s*(?:±|\+-|\+/-)\s*(?P<by>.+)")
_SHARE = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d+)(?:\.(?P<fraction>\d{1,6}))?\s*(?P<unit>%|ppm)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?Z?")
NOTHING = "none"
"""How a file writes that a field has no value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value: ``read`` turns what stands in the file into whole numbers (or names), ``show`` back."""

    name: str
    about: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str]
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant as written: ``ms`` after the start, or a date (``utc_s``), which needs the pump's epoch."""

    ms: int | None = None
    utc_s: int | None = None

    def at_ms(self, epoch_utc_s: int) -> int:
        """Pump time in ms."""
        if self.ms is not None:
            return self.ms
        return ((self.utc_s or 0) - epoch_utc_s) * MS_PER_SECOND


def read_instant(raw: object) -> Instant:
    """``5 d 3 h`` after the start (``-2 d`` before it), ``0``, or a date such as ``2026-03-01 08:00`` (UTC)."""
    text = str(raw).strip()
    if text in {"0", "start"}:
        return Instant(ms=0)
    if _DATE.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.replace("Z", ""))
        except ValueError as error:
            raise UsageError(f"{text!r} is no date: {error}") from error
        return Instant(utc_s=int(moment.replace(tzinfo=UTC).timestamp()))
    if isinstance(raw, int):
        raise UsageError(f"{raw} has no unit; write an instant such as 5 d 3 h, or a date such as 2026-03-01 08:00")
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    return Instant(ms=sign * Duration.parse(rest).ms)


def show_instant(ms: int) -> str:
    """``5 d 03:00:00`` and what is finer than a second."""
    sign, left = ("-", -ms) if ms < 0 else ("", ms)
    days, left = divmod(left, MS_PER_DAY)
    hours, left = divmod(left, MS_PER_HOUR)
    minutes, left = divmod(left, MS_PER_MINUTE)
    seconds, left = divmod(left, MS_PER_SECOND)
    fine = f".{left:03}" if left else ""
    return f"{sign}{days} d {hours:02}:{minutes:02}:{seconds:02}{fine}"


def read_share_ppm(raw: object) -> int:
    """``3 %``, ``-14.5 %`` or ``145000 ppm`` in parts per million."""
    match = _SHARE.fullmatch(str(raw).strip())
    if match is None or (match["unit"] is None and str(raw).strip() != "0"):
        raise UsageError(f"{raw!r} is no share; write it with its unit, such as 3 %, -14.5 % or 145000 ppm")
    fraction = match["fraction"] or ""
    scale = _PPM_PER_PERCENT if match["unit"] == "%" else 1
    scaled = int(match["whole"] + fraction) * scale
    one = int("1" + "0" * len(fraction))
    if scaled % one:
        raise UsageError(f"{raw!r} is finer than 1 ppm, the smallest step; it is not rounded")
    return -(scaled // one) if match["sign"] == "-" else scaled // one


def show_ppm(ppm: int) -> str:
    """Parts per million as percent, exactly."""
    whole, rest = divmod(abs(ppm), _PPM_PER_PERCENT)
    fraction = f".{rest:04}".rstrip("0") if rest else ""
    return f"{'-' if ppm < 0 else ''}{whole}{fraction} %"


def _read_date(raw: object) -> int:
    instant = read_instant(raw)
    if instant.utc_s is None:
        raise UsageError(f"{raw!r} is no date; write one such as 2026-03-01 08:00 (UTC)")
    return instant.utc_s


def show_date(utc_s: int) -> str:
    """Date and time of day, UTC."""
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%d %H:%M:%S}Z"


def _read_rate(raw: object) -> Quantity:
    return parse_delivery(str(raw))


def _read_amount(raw: object) -> Quantity:
    """A bolus, as volume or as dose."""
    text = str(raw)
    try:
        return Volume.parse(text)
    except UsageError:
        try:
            return Dose.parse(text)
        except UsageError as error:
            units = ", ".join((*Volume.SCALES, *Dose.SCALES))
            raise UsageError(f"{text!r} is neither a volume nor a dose with its unit ({units})") from error


def _read_percent(raw: object) -> int:
    text = str(raw).strip()
    if not text.endswith("%") or not text[:-1].strip().isdigit():
        raise UsageError(f"{raw!r} is no whole percentage; write it with its unit, such as 85 %")
    return int(text[:-1])


def _read_whole(raw: object) -> int:
    if type(raw) is not int:
        raise UsageError(f"{raw!r} is no whole number")
    return raw


def _read_bool(raw: object) -> bool:
    if type(raw) is not bool:
        raise UsageError(f"{raw!r} is neither true nor false")
    return raw


def _read_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise UsageError(f"{raw!r} is no text")
    return raw


def _read_names(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise UsageError(f"{raw!r} is no list of names")
    return tuple(raw)


def _show_names(names: object) -> str:
    return (
        ", ".join(map(str, names)) if isinstance(names, tuple) and names else "nothing" if names == () else str(names)
    )


def _quantity(kind: type[Quantity]) -> Kind:
    def read(raw: object) -> int:
        text = str(raw).strip()
        if text == "0":
            return 0
        sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
        return sign * kind.parse(rest)._count  # noqa: SLF001 - the count is what is compared

    def show(count: int) -> str:
        return f"-{kind(-count)}" if count < 0 else str(kind(count))

    return Kind(kind.WHAT.replace(" ", "_"), f"a {kind.WHAT} ({', '.join(kind.SCALES)})", read, show)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(_quantity(kind) for kind in (Volume, FlowRate, Concentration, Dose, DailyDose, Duration, Charge)),
        Kind("instant", "an instant (5 d 3 h after the start, or 2026-03-01 08:00)", read_instant, show_instant),
        Kind("date", "a date (2026-03-01 08:00, UTC)", _read_date, show_date),
        Kind(
            "rate",
            "a rate: flow, dose per day or dose per hour (0.150 ml/day, 300 ug/day)",
            _read_rate,
            str,
            ordered=False,
        ),
        Kind("amount", "an amount: volume or dose (0.1 ml, 50 ug)", _read_amount, str, ordered=False),
        Kind("share", "a share (3 %, -14.5 %, 145000 ppm)", read_share_ppm, show_ppm),
        Kind("percent", "a whole percentage (85 %)", _read_percent, lambda value: f"{value} %"),
        Kind("whole", "a whole number", _read_whole, str),
        Kind("boolean", "true or false", _read_bool, lambda value: str(value).lower(), ordered=False),
        Kind("text", "a text", _read_text, str, ordered=False),
        Kind("names", "a list of names", _read_names, _show_names, ordered=False),
    )
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition on one value. ``operator`` is a key of ``OPERATORS``; ``wanted`` is of the kind, or a pair."""

    kind: Kind
    operator: str
    wanted: Any
    tolerance: int = 0

    def holds(self, found: Any, epoch_utc_s: int) -> bool:  # noqa: ANN401 - of the kind
        """Whether the value fulfils it."""
        if found is None:
            return (self.wanted is None) is (self.operator == "equals")
        if self.wanted is None:
            return self.operator == "not"
        return _HOLDS[self.operator](found, self._wanted(epoch_utc_s), self.tolerance)

    def show(self, epoch_utc_s: int) -> str:
        """The condition in words."""
        if self.wanted is None:
            return f"{_WORDS[self.operator]}{NOTHING}"
        wanted = self._wanted(epoch_utc_s)
        if self.operator == "one_of":
            return f"one of {', '.join(self.kind.show(item) for item in wanted)}"
        near = f" ± {self._show_span(self.tolerance)}" if self.operator == "within" else ""
        return f"{_WORDS[self.operator]}{self.kind.show(wanted)}{near}"

    def _show_span(self, span: int) -> str:
        return str(Duration(span)) if self.kind.name == "instant" else self.kind.show(span)

    def _wanted(self, epoch_utc_s: int) -> Any:  # noqa: ANN401 - of the kind
        if isinstance(self.wanted, tuple) and self.operator == "one_of":
            return tuple(_resolved(item, epoch_utc_s) for item in self.wanted)
        return _resolved(self.wanted, epoch_utc_s)


def _resolved(value: Any, epoch_utc_s: int) -> Any:  # noqa: ANN401 - of the kind
    return value.at_ms(epoch_utc_s) if isinstance(value, Instant) else value


_WORDS = {
    "equals": "",
    "within": "",
    "not": "not ",
    "at_least": "at least ",
    "at_most": "at most ",
    "above": "above ",
    "below": "below ",
    "one_of": "",
    "contains": "containing ",
    "lacks": "without ",
}
_HOLDS: dict[str, Callable[[Any, Any, int], bool]] = {
    "equals": lambda found, wanted, _: found == wanted,
    "within": lambda found, wanted, by: abs(found - wanted) <= by,
    "not": lambda found, wanted, _: found != wanted,
    "at_least": lambda found, wanted, _: found >= wanted,
    "at_most": lambda found, wanted, _: found <= wanted,
    "above": lambda found, wanted, _: found > wanted,
    "below": lambda found, wanted, _: found < wanted,
    "one_of": lambda found, wanted, _: found in wanted,
    "contains": lambda found, wanted, _: wanted in found if isinstance(found, str) else set(wanted) <= set(found),
    "lacks": lambda found, wanted, _: wanted not in found if isinstance(found, str) else not set(wanted) & set(found),
}
ORDERED_OPERATORS = ("at_least", "at_most", "above", "below")
OPERATORS = ("equals", "not", *ORDERED_OPERATORS, "one_of", "contains", "lacks")


def read_value(kind: Kind, raw: object) -> Any:  # noqa: ANN401 - of the kind
    """A value as written; ``none`` is None. Raises ``UsageError`` saying the form."""
    if raw is None or raw == NOTHING:
        return None
    return kind.read(raw)


def read_plain(kind: Kind, raw: object) -> Comparison:
    """A condition written as a bare value, or as ``V ± T``; raises ``UsageError`` saying the form."""
    match = _TOLERANCE.fullmatch(str(raw).strip()) if kind.ordered else None
    if match is None:
        return Comparison(kind, "equals", read_value(kind, raw))
    wanted = kind.read(_number(match["value"]))
    return Comparison(kind, "within", wanted, _tolerance(kind, wanted, match["by"]))


def _number(text: str) -> int | str:
    """Digits alone are a number, as they are where YAML reads them."""
    return int(text) if text.lstrip("-").isdigit() else text


def _tolerance(kind: Kind, wanted: object, text: str) -> int:
    if text.endswith("%") and kind.name not in {"share", "percent"}:
        if not isinstance(wanted, int):
            raise UsageError(f"± {text}: a percentage of an instant means nothing; write a duration")
        return abs(wanted) * read_share_ppm(text) // 1_000_000
    span = Duration.parse(text).ms if kind.name == "instant" else kind.read(_number(text))
    if span < 0:
        raise UsageError(f"± {text}: a tolerance is not negative")
    return int(span)


def read_comparisons(kind: Kind, raw: object) -> tuple[Comparison, ...]:
    """Every condition of a part: one for a bare value, one a key for a table. Raises ``UsageError``."""
    if not isinstance(raw, dict):
        return (read_plain(kind, raw),)
    return tuple(
        Comparison(kind, key, tuple(kind.read(item) for item in value) if key == "one_of" else read_value(kind, value))
        for key, value in raw.items()
    )

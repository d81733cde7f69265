"""Exact integer quantities with their unit in the type; text needs an explicit unit, no float anywhere.

=================  ===============  =====================================
type               counts           text it accepts
=================  ===============  =====================================
``Volume``         nl               ``40 ml``, ``250 ul``, ``1000 nl``
``FlowRate``       nl/day           ``0.150 ml/day``, ``0.00625 ml/h``
``Concentration``  ng/ml            ``2000 ug/ml``, ``2 mg/ml``
``Dose``           ng               ``50 ug``, ``0.05 mg``
``DailyDose``      ng/day           ``300 ug/day``
``HourlyDose``     ng/h             ``12.5 ug/h``
``Duration``       ms               ``48 h``, ``253 d 8 h``, ``500 ms``
``Charge``         pC               ``1000 mAh``, ``10 uC``
=================  ===============  =====================================

A dose per hour and a dose per day are different types: a field error took one for the other, ×24
(trust.md 5.8). Micro may be written ``u``, ``µ``, ``μ`` or ``mc``. A number finer than the base unit is
refused, never rounded.
"""

from __future__ import annotations

import re
from typing import ClassVar, Self

from telemetry.errors import UsageError

NL_PER_ML = 1_000_000
NG_PER_UG = 1_000
MS_PER_SECOND = 1_000
MS_PER_MINUTE = 60_000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000
MS_PER_MONTH = 2_629_800_000
"""The month of every service-life rule: a twelfth of 365.25 days (protocol.md, Decided 15)."""
HOURS_PER_DAY = 24
MONTHS_PER_YEAR = 12

_NUMBER = re.compile(r"(?P<whole>0|[1-9]\d*)(?:\.(?P<fraction>\d+))?(?=\s|[^\d.,]|$)(?![eE][+-]?\d)")
_MAX_DIGITS = 30
_PER = {"hour": "h", "hr": "h", "d": "day", "24h": "day"}


def _fold_unit(text: str) -> str:
    """One spelling for each unit: both micro signs and ``mc`` become ``u``, ``L`` becomes ``l``."""
    folded = text.strip().replace("\u00b5", "u").replace("\u03bc", "u").replace("L", "l").replace(" ", "")
    if folded.startswith("mcg"):
        folded = "ug" + folded[3:]
    amount, slash, per = folded.partition("/")
    return f"{amount}/{_PER.get(per, per)}" if slash else amount


def _split_number(text: str, what: str, units: str) -> tuple[int, int, str]:
    """Split ``0.150 ml/day`` into (150, 3, ``ml/day``): digits, decimals, the rest."""
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if match is None:
        raise UsageError(
            f"{what} {text!r} does not start with a plain decimal number (write 0.150, not .150, 1e-3, 1,5 or -1), "
            f"followed by a unit: {units}"
        )
    whole, fraction = match["whole"], match["fraction"] or ""
    if len(whole) + len(fraction) > _MAX_DIGITS:
        raise UsageError(f"{what} {text!r} has more than {_MAX_DIGITS} digits")
    return int(whole + fraction), len(fraction), stripped[match.end() :].strip()


class Quantity:
    """An exact count of one base unit. Immutable, ordered and hashable within its own type.

    Raises ``UsageError`` for a negative count or a value that is no integer.
    """

    __slots__ = ("_count",)

    WHAT: ClassVar[str]
    BASE: ClassVar[str]
    SCALES: ClassVar[dict[str, int]]
    """Accepted unit text to how many base units it is."""
    SHOWN: ClassVar[str]
    """The unit people read."""
    SHOWN_DECIMALS: ClassVar[int] = 3
    _count: int

    def __init__(self, count: int) -> None:
        if type(count) is not int:
            raise UsageError(f"{self.WHAT} is counted in whole {self.BASE}, not {type(count).__name__} {count!r}")
        if count < 0:
            raise UsageError(f"{self.WHAT} cannot be negative: {count} {self.BASE}")
        object.__setattr__(self, "_count", count)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self._count,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a decimal number and its unit, exactly.

        Raises ``UsageError`` when the unit is missing, unknown or of another kind, and when the number is
        finer than the base unit (it would have to be rounded).
        """
        digits, decimals, rest = _split_number(text, cls.WHAT, cls._units())
        unit = _fold_unit(rest)
        scale = cls.SCALES.get(unit)
        if scale is None:
            raise UsageError(cls._unit_error(text, rest, unit))
        count, remainder = divmod(digits * scale, 10**decimals)
        if remainder:
            raise UsageError(f"{cls.WHAT} {text!r} is finer than 1 {cls.BASE}, the smallest step; it is not rounded")
        return cls(count)

    @classmethod
    def _units(cls) -> str:
        return ", ".join(cls.SCALES)

    @classmethod
    def _unit_error(cls, text: str, shown: str, unit: str) -> str:
        if not unit:
            return f"{cls.WHAT} {text!r} has no unit; write one of: {cls._units()}"
        other = next((kind for kind in _KINDS if unit in kind.SCALES), None)
        if other is not None:
            return f"{text!r} is a {other.WHAT}, not a {cls.WHAT}; units of a {cls.WHAT}: {cls._units()}"
        return f"{cls.WHAT} {text!r} has the unknown unit {shown!r}; write one of: {cls._units()}"

    def __str__(self) -> str:
        return self.in_unit(self.SHOWN, self.SHOWN_DECIMALS)

    def in_unit(self, unit: str, min_decimals: int = 0) -> str:
        """Exact decimal text in ``unit`` (one of ``SCALES``), with at least ``min_decimals`` decimals."""
        scale = self.SCALES[_fold_unit(unit)]
        whole, rest = divmod(self._count, scale)
        if 10 ** len(str(scale)) % scale:  # not a power of ten: no finite decimal in general
            return f"{self._count} {self.BASE}" if rest else f"{whole} {unit}"
        places = len(str(scale)) - 1
        fraction = f"{rest:0{places}d}".rstrip("0") if places else ""
        fraction = fraction.ljust(min_decimals, "0")
        return f"{whole}.{fraction} {unit}" if fraction else f"{whole} {unit}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._count})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._count == self._count

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._count))

    def __lt__(self, other: Self) -> bool:
        self._same(other)
        return self._count < other._count

    def __le__(self, other: Self) -> bool:
        self._same(other)
        return self._count <= other._count

    def __gt__(self, other: Self) -> bool:
        return other < self

    def __ge__(self, other: Self) -> bool:
        return other <= self

    def _same(self, other: object) -> None:
        if type(other) is not type(self):
            raise TypeError(f"cannot compare {type(self).__name__} with {type(other).__name__}")


class Volume(Quantity):
    """A volume, counted in nanolitres."""

    __slots__ = ()
    WHAT = "volume"
    BASE = "nl"
    SCALES: ClassVar = {"ml": NL_PER_ML, "ul": 1_000, "nl": 1}
    SHOWN = "ml"

    @property
    def nl(self) -> int:
        """Nanolitres."""
        return self._count


class FlowRate(Quantity):
    """A volumetric rate, counted in nanolitres per day (1 ml/day = 1 000 000 nl/day exactly; domain.md 2.2)."""

    __slots__ = ()
    WHAT = "flow rate"
    BASE = "nl/day"
    SCALES: ClassVar = {
        "ml/day": NL_PER_ML,
        "ul/day": 1_000,
        "nl/day": 1,
        "ml/h": NL_PER_ML * HOURS_PER_DAY,
        "ul/h": 1_000 * HOURS_PER_DAY,
        "nl/h": HOURS_PER_DAY,
    }
    SHOWN = "ml/day"

    @property
    def nl_per_day(self) -> int:
        """Nanolitres per day."""
        return self._count

    def daily_dose(self, concentration: Concentration) -> DailyDose:
        """The drug per day that this rate carries, rounded towards less drug by under 1 ng/day."""
        return DailyDose(self._count * concentration.ng_per_ml // NL_PER_ML)


class Concentration(Quantity):
    """A drug concentration, counted in nanograms per millilitre."""

    __slots__ = ()
    WHAT = "concentration"
    BASE = "ng/ml"
    SCALES: ClassVar = {"mg/ml": 1_000_000, "ug/ml": NG_PER_UG, "ng/ml": 1}
    SHOWN = "µg/ml"
    SHOWN_DECIMALS = 0

    @property
    def ng_per_ml(self) -> int:
        """Nanograms per millilitre."""
        return self._count


class Dose(Quantity):
    """A mass of drug given at once (a bolus), counted in nanograms."""

    __slots__ = ()
    WHAT = "dose"
    BASE = "ng"
    SCALES: ClassVar = {"mg": 1_000_000, "ug": NG_PER_UG, "ng": 1}
    SHOWN = "µg"
    SHOWN_DECIMALS = 0

    @property
    def ng(self) -> int:
        """Nanograms."""
        return self._count


class DailyDose(Quantity):
    """A mass of drug per day, counted in nanograms per day."""

    __slots__ = ()
    WHAT = "dose per day"
    BASE = "ng/day"
    SCALES: ClassVar = {"mg/day": 1_000_000, "ug/day": NG_PER_UG, "ng/day": 1}
    SHOWN = "µg/day"
    SHOWN_DECIMALS = 0

    @property
    def ng_per_day(self) -> int:
        """Nanograms per day."""
        return self._count

    def flow_rate(self, concentration: Concentration) -> FlowRate:
        """The rate that delivers this dose, rounded towards less drug by under 1 nl/day."""
        if concentration.ng_per_ml == 0:
            raise UsageError("a dose cannot be delivered from a reservoir without drug (concentration 0)")
        return FlowRate(self._count * NL_PER_ML // concentration.ng_per_ml)


class HourlyDose(Quantity):
    """A mass of drug per hour, counted in nanograms per hour; another type than ``DailyDose`` on purpose."""

    __slots__ = ()
    WHAT = "dose per hour"
    BASE = "ng/h"
    SCALES: ClassVar = {"mg/h": 1_000_000, "ug/h": NG_PER_UG, "ng/h": 1}
    SHOWN = "µg/h"
    SHOWN_DECIMALS = 0

    @property
    def ng_per_hour(self) -> int:
        """Nanograms per hour."""
        return self._count

    def per_day(self) -> DailyDose:
        """The same dose per day (×24, exact)."""
        return DailyDose(self._count * HOURS_PER_DAY)


class Charge(Quantity):
    """An electric charge, counted in picocoulombs."""

    __slots__ = ()
    WHAT = "charge"
    BASE = "pC"
    SCALES: ClassVar = {"mAh": 3_600_000_000_000, "mC": 1_000_000_000, "uC": 1_000_000, "nC": 1_000, "pC": 1}
    SHOWN = "mAh"
    SHOWN_DECIMALS = 0

    @property
    def pc(self) -> int:
        """Picocoulombs."""
        return self._count


class Duration(Quantity):
    """A span of time, counted in milliseconds. Text may have several terms: ``253 d 8 h``."""

    __slots__ = ()
    WHAT = "duration"
    BASE = "ms"
    SCALES: ClassVar = {
        "ms": 1,
        "s": MS_PER_SECOND,
        "min": MS_PER_MINUTE,
        "h": MS_PER_HOUR,
        "d": MS_PER_DAY,
        "month": MS_PER_MONTH,
        "y": MS_PER_MONTH * MONTHS_PER_YEAR,
    }
    SHOWN = "s"
    _WORDS: ClassVar = {
        "second": "s",
        "sec": "s",
        "minute": "min",
        "hour": "h",
        "hr": "h",
        "day": "d",
        "mo": "month",
        "year": "y",
        "yr": "y",
    }

    @property
    def ms(self) -> int:
        """Milliseconds."""
        return self._count

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one or more terms (``90 d``, ``253 d 8 h``), exactly; raises ``UsageError`` like its siblings."""
        total, rest = 0, text.strip()
        while True:
            digits, decimals, rest = _split_number(rest, cls.WHAT, cls._units())
            term = re.match(r"[A-Za-z]+", rest)
            word = term[0] if term else ""
            singular = word[:-1] if word.endswith("s") and word not in cls.SCALES else word
            scale = cls.SCALES.get(cls._WORDS.get(singular, singular))
            if scale is None:
                raise UsageError(cls._unit_error(text, word, word))
            count, remainder = divmod(digits * scale, 10**decimals)
            if remainder:
                raise UsageError(f"{cls.WHAT} {text!r} is finer than 1 ms, the smallest step; it is not rounded")
            total += count
            rest = rest[len(word) :].strip()
            if not rest:
                return cls(total)

    def __str__(self) -> str:
        parts: list[str] = []
        rest = self._count
        for unit, size in (("d", MS_PER_DAY), ("h", MS_PER_HOUR), ("min", MS_PER_MINUTE)):
            amount, rest = divmod(rest, size)
            if amount:
                parts.append(f"{amount} {unit}")
        seconds, ms = divmod(rest, MS_PER_SECOND)
        if ms:
            parts.append(f"{seconds}.{ms:03d} s")
        elif seconds or not parts:
            parts.append(f"{seconds} s")
        return " ".join(parts)


_KINDS: tuple[type[Quantity], ...] = (Volume, FlowRate, Concentration, Dose, DailyDose, HourlyDose, Charge, Duration)


def parse_delivery(text: str) -> FlowRate | DailyDose | HourlyDose:
    """Read what a clinician may type as a rate: a flow (``0.150 ml/day``) or a dose (``300 ug/day``, ``12.5 ug/h``).

    Raises ``UsageError`` naming the units of all three when the unit fits none.
    """
    _, _, rest = _split_number(text, "rate", "ml/day, ug/day or ug/h")
    unit = _fold_unit(rest)
    for kind in (FlowRate, DailyDose, HourlyDose):
        if unit in kind.SCALES:
            return kind.parse(text)
    every = ", ".join((*FlowRate.SCALES, *DailyDose.SCALES, *HourlyDose.SCALES))
    problem = f"has the unknown unit {rest!r}" if rest else "has no unit"
    raise UsageError(f"rate {text!r} {problem}; a rate needs one of: {every}")

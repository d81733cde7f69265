"""Reading what stands on a screen: numbers with their units, exactly, and how far they may be from what is so.

A screen is judged by its letters. ``340 µg/day``, ``340.0 mcg/d`` and ``0.34 mg/day`` are one dose; ``340`` is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


class Kind(StrEnum):
    """What a number with its unit is about; each is counted in the base unit of ``units.py``."""

    FLOW = "flow"
    DAILY_DOSE = "dose per day"
    HOURLY_DOSE = "dose per hour"
    DOSE = "dose"
    VOLUME = "volume"
    CONCENTRATION = "concentration"
    PERCENT = "percent"


_DAY, _HOUR = 1, 24
_VOLUMES = {"ml": 1_000_000, "ul": 1_000, "nl": 1}
_MASSES = {"mg": 1_000_000, "ug": 1_000, "ng": 1}
_PER_DAY = {"day", "days", "d", "24h", "24hr", "24hrs", "24hours"}
_PER_HOUR = {"h", "hr", "hour", "hours", "hrs"}
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<whole>[0-9]{1,3}(?:[\u00a0\u2009\u202f][0-9]{3})+|[0-9]+)(?:[.,](?P<fraction>[0-9]+))?"
    r"\s*(?P<unit>%|(?:ml|ul|nl|mg|ug|ng)(?:\s*/\s*|\s+per\s+)?(?:24\s*(?:hours?|hrs?|h)|days?|d\b|hours?|hrs?|hr|h\b|ml)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A number as it stands there. ``count`` is in the base unit, ``last`` what one of its last digit is worth."""

    text: str
    kind: Kind | None
    count: Fraction
    last: Fraction

    def is_exactly(self, count: int) -> bool:
        """Whether it says this count and nothing else."""
        return self.count == count

    def is_about(self, count: int) -> bool:
        """Whether it says this count as far as its digits go, cut or rounded, and is off by no more than 1 %."""
        off = abs(self.count - count)
        return off < self.last and off * 100 <= max(count, 1) if off else True


def fold(text: str) -> str:
    """The text with one spelling of micro, slash and space, so that units can be compared."""
    plain = text.replace("\u00b5", "u").replace("\u03bc", "u").replace("\u2044", "/").replace("\u2215", "/")
    return re.sub(r"\bmcg\b|(?<=\d)mcg\b", "ug", plain, flags=re.IGNORECASE)


def numbers(text: str) -> list[Shown]:
    """Every number in a text, in order, those without a unit with ``kind`` None."""
    found: list[Shown] = []
    for match in _NUMBER.finditer(fold(text)):
        digits = re.sub(r"[^0-9]", "", match["whole"])
        fraction = match["fraction"] or ""
        scale = Fraction(1, 10 ** len(fraction))
        value = int(digits + fraction) * scale
        kind, worth = _unit(match["unit"] or "")
        found.append(Shown(match[0].strip(), kind, value * worth, scale * worth))
    return found


def quantities(text: str, kind: Kind) -> list[Shown]:
    """Those numbers in a text that are of one kind."""
    return [one for one in numbers(text) if one.kind is kind]


def _unit(text: str) -> tuple[Kind | None, Fraction]:
    """Kind and worth, in the base unit, of a unit as it stands there."""
    if text == "%":
        return Kind.PERCENT, Fraction(1)
    folded = re.sub(r"\s+", "", re.sub(r"\s+per\s+", "/", text.lower()))
    amount, _, per = folded.partition("/")
    if per == "ml" and amount in _MASSES:
        return Kind.CONCENTRATION, Fraction(_MASSES[amount])
    if per in _PER_DAY and amount in _VOLUMES:
        return Kind.FLOW, Fraction(_VOLUMES[amount])
    if per in _PER_HOUR and amount in _VOLUMES:
        return Kind.FLOW, Fraction(_VOLUMES[amount] * _HOUR)
    if per in _PER_DAY and amount in _MASSES:
        return Kind.DAILY_DOSE, Fraction(_MASSES[amount])
    if per in _PER_HOUR and amount in _MASSES:
        return Kind.HOURLY_DOSE, Fraction(_MASSES[amount])
    if not per and amount in _VOLUMES:
        return Kind.VOLUME, Fraction(_VOLUMES[amount])
    if not per and amount in _MASSES:
        return Kind.DOSE, Fraction(_MASSES[amount])
    return None, Fraction(1)


def says(text: str, *words: str) -> bool:
    """Whether one of these words stands there, as a word, whatever its case."""
    folded = f" {re.sub(r'[^a-z0-9]+', ' ', text.lower())} "
    return any(f" {re.sub(r'[^a-z0-9]+', ' ', word.lower()).strip()} " in folded for word in words)


__all__ = ["Kind", "Shown", "fold", "numbers", "quantities", "says"]

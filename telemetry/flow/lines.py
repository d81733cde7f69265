"""What a balance's line can be, and bytes cut into lines. Total: any bytes give lines, and any line has an outcome.

Masses are whole nanograms: what a balance prints is exact in them, or is no reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

NG_PER_UNIT = {"ug": 1_000, "mg": 1_000_000, "g": 1_000_000_000, "kg": 1_000_000_000_000}
"""Units of mass that are read; ``µg`` does not exist in the characters that balances print."""
LONGEST_LINE = 80
"""Bytes; the longest line of any dialect here, an identity, has fewer than 64."""
_NUMBER = re.compile(r"(?P<sign>[+-]?) *(?P<whole>\d{1,9})(?:\.(?P<fraction>\d{0,9}))?")


class Outcome(Enum):
    """What came of asking for a mass, or of one line."""

    STABLE = "stable"
    DYNAMIC = "dynamic"
    """A mass, but it still moves."""
    OVERLOAD = "overload"
    UNDERLOAD = "underload"
    BUSY = "busy"
    """The balance cannot answer now: it tares, adjusts itself, or does not come to rest."""
    NOT_UNDERSTOOD = "not_understood"
    """It says that it does not know the command."""
    UNITLESS = "unitless"
    """A number without a unit; SBI leaves the unit out while the mass moves."""
    FOREIGN_UNIT = "foreign_unit"
    """A number in a unit that is no metric mass: ``lb``, ``pcs``, ``%``."""
    DONE = "done"
    TEXT = "text"
    GARBAGE = "garbage"
    SILENT = "silent"
    """Nothing came within the time allowed."""
    LOST = "lost"
    """The link is gone."""


MASSES = frozenset({Outcome.STABLE, Outcome.DYNAMIC})


@dataclass(frozen=True, slots=True)
class Line:
    """One line, understood: a mass in ng, its last digit's worth and (``text``) its unit, or what else it says."""

    outcome: Outcome
    mass_ng: int | None = None
    step_ng: int | None = None
    text: str = ""


def parse_mass(number: str, unit: str) -> tuple[int, int] | None:
    """Mass and worth of the last digit, both ng, of a printed number; None when it is none or finer than 1 ng."""
    found = _NUMBER.fullmatch(number.strip())
    scale = NG_PER_UNIT.get(unit)
    if found is None or scale is None:
        return None
    fraction = found["fraction"] or ""
    step, rest = divmod(scale, 10 ** len(fraction))
    if rest:
        return None
    mass = int(found["whole"] + fraction) * step
    return (-mass if found["sign"] == "-" else mass), step


def is_number(text: str) -> bool:
    """Whether it is a number as balances print it."""
    return _NUMBER.fullmatch(text.strip()) is not None


def mass_text(mass_ng: int, step_ng: int, unit: str = "g") -> str:
    """The number that a balance prints, of a mass that is a multiple of ``step_ng`` (a power of ten up to 1 unit)."""
    scale = NG_PER_UNIT[unit]
    decimals = len(str(scale // step_ng)) - 1
    whole, rest = divmod(abs(mass_ng), scale)
    sign = "-" if mass_ng < 0 else ""
    return f"{sign}{whole}.{rest // step_ng:0{decimals}d}" if decimals else f"{sign}{whole}"


class LineCutter:
    """Cuts a stream into lines at CR and LF; blank lines are nothing. An overlong line is cut once and dropped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Every line that these bytes end; what is left over waits, never more than ``LONGEST_LINE`` bytes."""
        found: list[bytes] = []
        for byte in data:
            if byte in {10, 13}:
                if self._rest:
                    found.append(bytes(self._rest))
                    self._rest.clear()
                self._dropping = False
            elif not self._dropping:
                self._rest.append(byte)
                if len(self._rest) > LONGEST_LINE:
                    found.append(bytes(self._rest))
                    self._rest.clear()
                    self._dropping = True
        return found

    def clear(self) -> bytes:
        """Forget what waits for its end; returns it."""
        rest = bytes(self._rest)
        self._rest.clear()
        self._dropping = False
        return rest

"""Quantities of the bench that are no quantities of a therapy: masses, losses, densities, shares, lengths. Exact."""

from __future__ import annotations

import re

from telemetry.errors import UsageError

_AMOUNT = re.compile(r"(?P<whole>\d{1,12})(?:\.(?P<fraction>\d{1,9}))? ?(?P<unit>[^\d\s.].{0,7})", re.ASCII)
MASS = {"ng": 1, "ug": 1_000, "mg": 1_000_000, "g": 1_000_000_000}
LOSS = {f"{unit}/h": scale for unit, scale in MASS.items()}
DENSITY = {"ug/ml": 1, "mg/ml": 1_000, "g/ml": 1_000_000, "kg/m3": 1_000}
SHARE = {"ppm": 1, "%": 10_000}
WARMTH = {"mK": 1, "K": 1_000}
LENGTH = {"um": 1, "mm": 1_000}


def parse_amount(option: str, text: str, units: dict[str, int], *, least: int = 0, most: int = 10**15) -> int:
    """A whole number of the smallest unit; ``UsageError`` names the option, the text, and the units or limits."""
    found = _AMOUNT.fullmatch(text.strip().replace("µ", "u").replace("μ", "u"))
    scale = units.get(found["unit"].strip()) if found is not None else None
    if found is None or scale is None:
        example = f"1 {next(iter(reversed(units)))}"
        raise UsageError(f"{option}: {text!r} is no number with one of the units {', '.join(units)}; write {example!r}")
    fraction = found["fraction"] or ""
    count, rest = divmod(int(found["whole"] + fraction) * scale, int(10 ** len(fraction)))
    smallest: str = next(unit for unit, worth in units.items() if worth == min(units.values()))
    if rest:
        raise UsageError(f"{option}: {text!r} is finer than 1 {smallest}, the smallest step; it is not rounded")
    if not least <= count <= most:
        raise UsageError(f"{option}: {text!r} is outside {least} to {most} {smallest}")
    return count


def parse_share_ppm(option: str, text: str) -> int:
    """``6 %``, ``-2.5 %``, ``1500 ppm`` as parts per million."""
    stripped = text.strip()
    negative = stripped.startswith(("-", "−"))
    count = parse_amount(option, stripped[1:] if stripped[:1] in {"+", "-", "−"} else stripped, SHARE)
    if count > 999_999:
        raise UsageError(f"{option}: {text!r} is outside −99.9999 to 99.9999 %")
    return -count if negative else count

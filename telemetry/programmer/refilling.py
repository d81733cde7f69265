"""What a refill tells of the time before it, and when the next one is due (domain.md 2.9). Pure integers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.programmer.records import Applied
from telemetry.programmer.therapy import lasting_ms
from telemetry.units import MS_PER_DAY, Duration, Volume

if TYPE_CHECKING:
    from telemetry.therapy import Program, ProgramBridge

TOLERANCE_PERMILLE = 145
"""Labelled tolerance of delivery, ±14.5 % (A)."""
FIRST_PERCENT = 20
"""At the first emptying after implant the withdrawn volume is within 20 % of the predicted one (B [S62])."""
SYRINGE_FLOOR_NL = 2_000_000
"""Below this difference the reading error of a syringe dominates (domain.md 2.9)."""
LONGEST_MS = 180 * MS_PER_DAY
"""Never more than 6 months between refills (the leaflet of domain.md 1)."""
MARGIN_MS = 7 * MS_PER_DAY
"""Days before the last moment; clinics say 3 to 10 (B [S63])."""
_PPM = 1_000_000


class Finding(StrEnum):
    """What the withdrawn volume says."""

    AS_EXPECTED = "as_expected"
    LESS_THAN_EXPECTED = "less_than_expected"
    MORE_THAN_EXPECTED = "more_than_expected"


SUSPICIONS = {
    Finding.AS_EXPECTED: "within the tolerance",
    Finding.LESS_THAN_EXPECTED: (
        "less came out than the pump calculated: over-infusion, a leak, or a pocket fill at the refill before"
    ),
    Finding.MORE_THAN_EXPECTED: (
        "more came out than the pump calculated: a stall, an occlusion, under-infusion, or a wrong volume programmed "
        "at the refill before"
    ),
}
"""What to think of (domain.md 2.9, *Sign*)."""


class RefillBound(StrEnum):
    """Which of the three sets the refill date."""

    VOLUME = "volume"
    SIX_MONTHS = "six_months"
    EXPIRY = "expiry"


@dataclass(frozen=True, slots=True)
class WithdrawnCheck:
    """The withdrawn volume against the calculated one.

    ``error_ppm`` is true delivery over calculated delivery, minus one, cut off towards 0; it and the delivered
    volumes are None while the volume of the filling before is not known, or nothing was delivered by calculation.
    """

    expected_nl: int
    withdrawn_nl: int
    previous_fill_nl: int | None
    delivered_true_nl: int | None
    delivered_calculated_nl: int | None
    error_ppm: int | None
    first: bool
    finding: Finding

    @property
    def flagged(self) -> bool:
        """Whether somebody must look into it."""
        return self.finding is not Finding.AS_EXPECTED


def check_withdrawn(
    *, expected_nl: int, withdrawn_nl: int, previous_fill_nl: int | None, first: bool = False
) -> WithdrawnCheck:
    """Hold what came out against what the pump calculated.

    Flagged is a difference above 2 ml that is also above 14.5 % of the calculated delivery or, at the ``first``
    emptying after implant (and wherever the filling before is unknown), above 20 % of the predicted volume.
    """
    if withdrawn_nl < 0:
        raise UsageError(f"withdrawn: {withdrawn_nl} nl is negative; say what came out, 0 ml included")
    apart = abs(withdrawn_nl - expected_nl)
    delivered_true = delivered_calculated = error = None
    beyond = apart * 100 > FIRST_PERCENT * expected_nl if first or previous_fill_nl is None else False
    if previous_fill_nl is not None:
        delivered_true, delivered_calculated = previous_fill_nl - withdrawn_nl, previous_fill_nl - expected_nl
        beyond = beyond or apart * 1_000 > TOLERANCE_PERMILLE * delivered_calculated
        if delivered_calculated > 0:
            difference = delivered_true - delivered_calculated
            size = abs(difference) * _PPM // delivered_calculated
            error = size if difference >= 0 else -size
    finding = Finding.AS_EXPECTED
    if beyond and apart > SYRINGE_FLOOR_NL:
        finding = Finding.LESS_THAN_EXPECTED if withdrawn_nl < expected_nl else Finding.MORE_THAN_EXPECTED
    return WithdrawnCheck(
        expected_nl, withdrawn_nl, previous_fill_nl, delivered_true, delivered_calculated, error, first, finding
    )


@dataclass(frozen=True, slots=True)
class RefillDate:
    """When to refill at the latest, and what sets it. Pump time; it may lie in the past: then it is due now."""

    at_ms: int
    bound: RefillBound


def refill_by(
    program: Program,
    *,
    now_ms: int,
    volume_nl: int,
    alarm_nl: int,
    expires_ms: int | None = None,
    margin_ms: int = MARGIN_MS,
) -> RefillDate:
    """The earliest of alarm volume, six months after the filling now, and the drug's expiry; less the margin."""
    if margin_ms < 0:
        raise UsageError(f"margin: {Duration(margin_ms)} is negative")
    ends = [(now_ms + LONGEST_MS, RefillBound.SIX_MONTHS)]
    lasts = lasting_ms(program, max(0, volume_nl - alarm_nl))
    if lasts is not None:
        ends.append((now_ms + lasts, RefillBound.VOLUME))
    if expires_ms is not None:
        ends.append((expires_ms, RefillBound.EXPIRY))
    at_ms, bound = min(ends, key=lambda end: end[0])
    return RefillDate(at_ms - margin_ms, bound)


def replace_by(elective_replacement_ms: int, activated_ms: int, *, service_life_ms: int, reserve_ms: int) -> int:
    """The date by which a pump is to be replaced: its reserve after ERI, and never beyond its service life."""
    return min(elective_replacement_ms + reserve_ms, activated_ms + service_life_ms)


def check_volume(volume: Volume, capacity_nl: int) -> None:
    """Raise ``UsageError`` for what no reservoir of this capacity can hold."""
    if not 0 < volume.nl <= capacity_nl:
        raise UsageError(
            f"volume: {volume} is outside 0.000001 ml to the reservoir's {Volume(capacity_nl)}; a reservoir is never "
            "overfilled"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillResult(Applied):
    """A refill that the pump confirmed, and what a clinic writes down about it.

    ``battery_percent`` and ``replace_by_ms`` are the pump's, read after the refill, or before it where the reading
    afterwards failed (``read_after`` says which). ``bridge`` is the bridge bolus that runs first; None without one.
    """

    volume_nl: int
    withdrawn: WithdrawnCheck
    refill_by_ms: int
    refill_by_bound: RefillBound
    battery_percent: int
    replace_by_ms: int
    read_after: bool
    bridge: ProgramBridge | None = None

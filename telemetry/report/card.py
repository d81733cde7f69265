"""The patient's identity card, printable: what a stranger who finds the patient unwell has to know (domain.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.report import words

if TYPE_CHECKING:
    from telemetry.sim.run import Run

WIDTH_MM = 85.6
HEIGHT_MM = 53.98
"""Of a credit card (ISO/IEC 7810 ID-1)."""
EMERGENCY = (
    "Too little drug (itch, goosebumps, more spasm, fever, confusion) or too much (drowsy, dizzy, weak, slow "
    "breathing): emergency department at once. Sudden loss of intrathecal baclofen can kill within days. The pump can "
    "be read and turned down with its programmer only; do not aspirate or inject without the pump team."
)
EMERGENCY_OTHER = (
    "Too little drug (withdrawal, pain) or too much (drowsy, slow breathing): emergency department at once. The pump "
    "can be read and turned down with its programmer only; do not aspirate or inject without the pump team."
)
TRAVEL = "May set off metal detectors. MRI only after asking the pump team; interrogate the pump afterwards."
SAMPLE = "SIMULATED – SAMPLE – THIS CARD NAMES NO REAL PATIENT AND NO REAL DEVICE"


@dataclass(frozen=True, slots=True)
class Card:
    """What stands on the two sides of the card, line by line."""

    front: tuple[tuple[str, str], ...]
    emergency: str
    travel: str
    sample: str = SAMPLE
    simulated: bool = True


def refill_by_ms(run: Run) -> int:
    """When it must be refilled at the latest: the low alarm, or the longest a fill may stay (domain.md 2.9)."""
    capped_ms = run.final.last_refill_ms + run.pump.refill_cap_ms
    low_ms = run.final.low_reservoir_at_ms
    return capped_ms if low_ms is None else min(capped_ms, low_ms)


def card_of(run: Run) -> Card:
    """The card of the pump at the end of the run."""
    pump, final = run.pump, run.final
    epoch = pump.epoch_utc_s
    rate = f"{final.rate_nl_per_day / 1e6:.3f} ml/day = {final.dose_ng_per_day / 1e3:.1f} µg/day"
    path_ml = f"tubing {pump.tubing_volume_nl / 1e6:.3f} ml, catheter {pump.catheter_volume_nl / 1e6:.3f} ml"
    return Card(
        front=(
            ("Intrathecal pump", f"{pump.model} ({pump.reservoir_capacity_nl / 1e6:g} ml)"),
            ("Serial", pump.serial),
            ("Drug", f"{pump.drug} {final.concentration_ng_per_ml / 1e3:g} µg/ml"),
            ("Rate", rate if final.rate_nl_per_day else f"none: {words.name(final.mode)}"),
            ("Catheter", path_ml),
            ("Implanted", words.date(pump.activated_ms, epoch)),
            ("Refill by", words.date(refill_by_ms(run), epoch)),
            ("Replace by", words.date(final.replace_by_ms, epoch)),
            ("As of", words.date(final.at_ms, epoch)),
        ),
        emergency=EMERGENCY if pump.drug == "baclofen" else EMERGENCY_OTHER,
        travel=TRAVEL,
    )

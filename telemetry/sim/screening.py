"""The screening trial, ILLUSTRATIVE: a bolus a day by lumbar puncture until one works (domain.md 1, 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.patient import ILLUSTRATIVE, Patient, PatientParameters
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, DailyDose, Dose

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_DOSE = Dose.parse("25 ug")
LARGEST_DOSE = Dose.parse("100 ug")
STOCK_DOSES = (Dose.parse("50 ug"), Dose.parse("75 ug"), LARGEST_DOSE)
LONG_EFFECT_MS = 8 * MS_PER_HOUR
"""An effect that lasts longer starts therapy at one, not two, times the screening dose per day (domain.md 3.1, A)."""
_LOOK_EVERY_MS = 5 * MS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class ScreeningStep:
    """One bolus and what came of it within a day."""

    dose: Dose
    peak_percent: float
    peak_after_ms: int
    effect_lasted_ms: int
    responded: bool
    illustrative: bool = True
    label: str = ILLUSTRATIVE


@dataclass(frozen=True, slots=True)
class ScreeningReport:
    """The whole trial. Without a response at 100 µg the therapy is unsuitable and there is no start dose."""

    steps: tuple[ScreeningStep, ...]
    suitable: bool
    start_dose: DailyDose | None
    verdict: str
    illustrative: bool = True
    label: str = ILLUSTRATIVE


def screen(
    parameters: PatientParameters | None = None, doses: Sequence[Dose] = STOCK_DOSES, *, patient: Patient | None = None
) -> ScreeningReport:
    """Give one dose each 24 h until one responds; ``patient``, if given, lives through it, else a new one does.

    Raises ``UsageError`` for a dose outside 25 to 100 µg and doses that do not rise.
    """
    if not doses:
        raise UsageError("screening doses: none given; 50, 75 and 100 ug are usual")
    for before, dose in zip((Dose(0), *doses), doses, strict=False):
        if not SMALLEST_DOSE <= dose <= LARGEST_DOSE:
            raise UsageError(f"screening dose: {dose} is outside {SMALLEST_DOSE} to {LARGEST_DOSE}")
        if dose <= before:
            raise UsageError(f"screening dose: {dose} does not rise above the {before} before it")
    who = Patient(parameters) if patient is None else patient
    steps: list[ScreeningStep] = []
    for dose in doses:
        steps.append(_one_day(who, dose))
        if steps[-1].responded:
            return _report(steps)
    return _report(steps)


def _one_day(patient: Patient, dose: Dose) -> ScreeningStep:
    given_ms, tip_ng = patient.now_ms, patient.tip_ng_cumulated
    threshold = patient.parameters.response_percent
    patient.bolus(dose)
    peak = patient.signs()
    lasted_ms = 0
    for at_ms in range(given_ms + _LOOK_EVERY_MS, given_ms + MS_PER_DAY + 1, _LOOK_EVERY_MS):
        patient.advance(at_ms, tip_ng)
        signs = patient.signs()
        lasted_ms += _LOOK_EVERY_MS if signs.effect_percent >= threshold else 0
        if signs.effect_percent > peak.effect_percent:
            peak = signs
    return ScreeningStep(
        dose, peak.effect_percent, peak.at_ms - given_ms, lasted_ms, responded=peak.effect_percent >= threshold
    )


def _report(steps: list[ScreeningStep]) -> ScreeningReport:
    last = steps[-1]
    if not last.responded:
        end = "the trial ends, the therapy is unsuitable" if last.dose == LARGEST_DOSE else "no larger dose was tried"
        return ScreeningReport(tuple(steps), False, None, f"no response at {last.dose}: {end}")  # noqa: FBT003 - a field
    times = 1 if last.effect_lasted_ms > LONG_EFFECT_MS else 2
    start = DailyDose(last.dose.ng * times)
    verdict = f"response at {last.dose}: start at {start} ({times} x the screening dose)"
    return ScreeningReport(tuple(steps), True, start, verdict)  # noqa: FBT003 - a field

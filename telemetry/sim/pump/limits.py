"""What the pump itself enforces on a program, and what it derives from one for the read-back (trust.md 5.2, 5.7).

Order of the checks: mode, binding, rate, agreement of dose and volume, hard daily dose, hard change; then the soft
limits as warnings. The first hard rule broken is the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.errors import Refused
from telemetry.model import Drug, Program, PumpLimits, PumpMode, RefusalReason, Warn
from telemetry.sim.pump.quantities import PPM, ceil_div, daily_dose_ng
from telemetry.units import MS_PER_SECOND, NL_PER_ML, Concentration, DailyDose, FlowRate


@dataclass(frozen=True, slots=True)
class Derived:
    """What the pump worked out of a program, for a person to compare with the intent.

    ``change_ppm`` is the size of the change of the daily dose against the last committed therapy, rounded up;
    ``empty_in_s`` how long the pump believes its reservoir lasts at this rate, in whole seconds, rounded down.
    """

    dose_24h_ng: int
    volume_24h_nl: int
    peak_nl_per_day: int
    lowest_nl_per_day: int
    change_ppm: int
    empty_in_s: int
    warnings: tuple[Warn, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What of the pump's state a check depends on. ``calculated`` is in nl / 86 400 000."""

    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    reference_dose_ng: int
    calculated: int
    stroking: bool
    stopped_over_48_h: bool


def check_program(program: Program, limits: PumpLimits, situation: Situation, *, at_bench: bool = False) -> Derived:
    """Derive the numbers of a program and its warnings; raises ``Refused`` naming the rule it breaks.

    ``at_bench``: commissioning a therapy, with no previous one to measure a change against.
    """
    _check_binding(program, situation)
    _check_rate(program, limits)
    _check_agreement(program)
    _check_dose(program, limits)
    reference = situation.reference_dose_ng
    change = abs(program.dose_ng_per_day - reference)
    if not at_bench and _is_therapy(program):
        _check_change(program.dose_ng_per_day, reference, limits)
    warnings: list[Warn] = []
    if change * PPM > limits.change_soft_ppm * reference:
        warnings.append(Warn.DAILY_DOSE_CHANGE)
    if program.dose_ng_per_day > limits.daily_dose_soft_max_ng:
        warnings.append(Warn.DAILY_DOSE_HIGH)
    if program.dose_ng_per_day < limits.daily_dose_soft_min_ng:
        warnings.append(Warn.DAILY_DOSE_LOW)
    if not situation.stroking:
        warnings.append(Warn.STARTS_DELIVERY)
    if situation.stopped_over_48_h:
        warnings.append(Warn.STOPPED_OVER_48_H)
    rate = program.rate_nl_per_day
    return Derived(
        dose_24h_ng=program.dose_ng_per_day,
        volume_24h_nl=rate,
        peak_nl_per_day=rate,
        lowest_nl_per_day=rate,
        change_ppm=ceil_div(change * PPM, reference) if reference else 0,
        empty_in_s=situation.calculated // (rate * MS_PER_SECOND),
        warnings=tuple(warnings),
    )


def _is_therapy(program: Program) -> bool:
    return program.mode is PumpMode.SIMPLE_CONTINUOUS


def _refuse(reason: RefusalReason, message: str, field: str, value: int, limit: int) -> None:
    raise Refused(reason, message, field=field, value=value, limit=limit)


def _check_binding(program: Program, situation: Situation) -> None:
    if program.drug is not situation.drug:
        raise Refused(
            RefusalReason.DRUG_MISMATCH,
            f"drug: {program.drug} is not what the reservoir holds ({situation.drug})",
            field="drug",
        )
    if program.concentration_ng_per_ml != situation.concentration_ng_per_ml:
        _refuse(
            RefusalReason.CONCENTRATION_MISMATCH,
            f"concentration_ng_per_ml: {program.concentration_ng_per_ml} "
            f"({Concentration(program.concentration_ng_per_ml)}) is not what the reservoir holds "
            f"({Concentration(situation.concentration_ng_per_ml)})",
            "concentration_ng_per_ml",
            program.concentration_ng_per_ml,
            situation.concentration_ng_per_ml,
        )
    if program.reservoir_generation != situation.reservoir_generation:
        _refuse(
            RefusalReason.RESERVOIR_GENERATION_MISMATCH,
            f"reservoir_generation: {program.reservoir_generation} is not the filling in the pump "
            f"({situation.reservoir_generation}); interrogate the pump again",
            "reservoir_generation",
            program.reservoir_generation,
            situation.reservoir_generation,
        )


def _check_rate(program: Program, limits: PumpLimits) -> None:
    rate, concentration = program.rate_nl_per_day, program.concentration_ng_per_ml
    if program.mode is PumpMode.MINIMUM_RATE:
        low = high = limits.keep_alive_rate_nl_per_day
    elif _is_therapy(program):
        low, high = limits.min_rate_nl_per_day, limits.max_rate_nl_per_day
    else:
        raise Refused(
            RefusalReason.MODE_UNSUPPORTED,
            f"mode: {program.mode} is a state of the pump, not something to program; "
            f"program {PumpMode.SIMPLE_CONTINUOUS} or {PumpMode.MINIMUM_RATE}",
            field="mode",
        )
    if not low <= rate <= high:
        below = rate < low
        limit = low if below else high
        wanted = f"{DailyDose(program.dose_ng_per_day)} at {Concentration(concentration)} is {FlowRate(rate)}"
        word = "below" if below else "above"
        bound = "minimum" if below else "maximum"
        _refuse(
            RefusalReason.RATE_BELOW_MINIMUM if below else RefusalReason.RATE_ABOVE_MAXIMUM,
            f"rate_nl_per_day: {wanted}, {word} the pump's {bound} of {FlowRate(limit)}, "
            f"which is {DailyDose(daily_dose_ng(limit, concentration))} at this concentration",
            "rate_nl_per_day",
            rate,
            limit,
        )


def _check_agreement(program: Program) -> None:
    concentration = program.concentration_ng_per_ml
    apart = abs(program.dose_ng_per_day * NL_PER_ML - program.rate_nl_per_day * concentration)
    if apart > max(concentration, NL_PER_ML):
        carried = daily_dose_ng(program.rate_nl_per_day, concentration)
        _refuse(
            RefusalReason.DOSE_VOLUME_MISMATCH,
            f"dose_ng_per_day: {program.dose_ng_per_day} is not what {program.rate_nl_per_day} nl/day carries at "
            f"{concentration} ng/ml ({carried} ng/day); one of the two is wrong",
            "dose_ng_per_day",
            program.dose_ng_per_day,
            carried,
        )


def _check_dose(program: Program, limits: PumpLimits) -> None:
    dose = program.dose_ng_per_day
    low, high = limits.daily_dose_hard_min_ng, limits.daily_dose_hard_max_ng
    if dose > high:
        _refuse(
            RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT,
            f"dose_ng_per_day: {DailyDose(dose)} is above the hard limit of {DailyDose(high)}",
            "dose_ng_per_day",
            dose,
            high,
        )
    if dose < low and _is_therapy(program):
        _refuse(
            RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT,
            f"dose_ng_per_day: {DailyDose(dose)} is below the hard limit of {DailyDose(low)}",
            "dose_ng_per_day",
            dose,
            low,
        )


def _check_change(dose_ng: int, reference_ng: int, limits: PumpLimits) -> None:
    change = abs(dose_ng - reference_ng)
    if reference_ng and change * PPM > limits.change_hard_ppm * reference_ng:
        allowed = reference_ng + limits.change_hard_ppm * reference_ng // PPM
        _refuse(
            RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT,
            f"dose_ng_per_day: {DailyDose(dose_ng)} changes the last committed {DailyDose(reference_ng)} by more than "
            f"{limits.change_hard_ppm // 10_000} %; up to {DailyDose(allowed)} in one step",
            "dose_ng_per_day",
            dose_ng,
            allowed,
        )

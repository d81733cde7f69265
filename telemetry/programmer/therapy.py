"""What a clinician wants, worked out against what a pump holds: programs, bridges, primes, ramps. Pure integers.

Flows are nl/day, doses ng or ng/day, concentrations ng/ml, spans ms. Every rounding goes towards less drug. Formulae
and golden vectors: domain.md 2.2, 2.7, 2.9 and 3.1. Raises ``UsageError`` for what cannot be meant, and ``Refused``
where a dose is asked of a reservoir without drug.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import Drug, PumpMode
from telemetry.therapy import (
    DAYS,
    MINUTES_PER_DAY,
    PatientBolusRule,
    PeriodicBolus,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramPatientBolus,
    ProgramRampStep,
    ProgramStep,
    ScheduleStep,
    Therapy,
    TitrationStep,
)
from telemetry.units import (
    MS_PER_DAY,
    MS_PER_SECOND,
    NL_PER_ML,
    DailyDose,
    Dose,
    Duration,
    FlowRate,
    HourlyDose,
    Volume,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telemetry.therapy import Amount, Rate

SECONDS_PER_DAY = MS_PER_DAY // MS_PER_SECOND
_PPM = 1_000_000
_MOST_RAMP_STEPS = 255
"""What a ramp's count can say; a pump may take fewer and refuses the rest (``too_many_steps``)."""


def rate_in_force(rate: Rate, concentration_ng_per_ml: int) -> tuple[int, int]:
    """(nl/day, ng/day) of what was asked for, against the drug in the reservoir.

    A dose keeps its own number and the flow is derived; a flow keeps its number and the dose is derived.
    """
    if isinstance(rate, HourlyDose):
        rate = rate.per_day()
    if isinstance(rate, FlowRate):
        return rate.nl_per_day, rate.nl_per_day * concentration_ng_per_ml // NL_PER_ML
    return _volume_for(rate.ng_per_day, concentration_ng_per_ml), rate.ng_per_day


def amount_in_force(amount: Amount, concentration_ng_per_ml: int) -> tuple[int, int]:
    """(nl, ng) of a bolus, by the same rule."""
    if isinstance(amount, Volume):
        return amount.nl, amount.nl * concentration_ng_per_ml // NL_PER_ML
    return _volume_for(amount.ng, concentration_ng_per_ml), amount.ng


def _volume_for(ng: int, concentration_ng_per_ml: int) -> int:
    if ng and not concentration_ng_per_ml:
        raise Refused("concentration_mismatch", "a dose was asked for, but the reservoir holds no drug")
    return ng * NL_PER_ML // concentration_ng_per_ml if ng else 0


# --- a therapy as a program -----------------------------------------------------------------------------------------


def program_from(
    therapy: Therapy,
    *,
    drug: Drug,
    concentration_ng_per_ml: int,
    reservoir_generation: int,
    keep_alive_rate_nl_per_day: int,
    bridge: ProgramBridge | None = None,
) -> Program:
    """The program that carries this therapy out with this drug.

    ``keep_alive_rate_nl_per_day`` is the pump's own minimum rate, for the mode of that name. A schedule states the
    total of its day with the highest dose.
    """
    strength = concentration_ng_per_ml
    steps = tuple(
        ProgramStep(step.days, step.start_minute, *rate_in_force(step.rate, strength)) for step in therapy.steps
    )
    ramp = tuple(ProgramRampStep(step.days, *rate_in_force(step.rate, strength)) for step in therapy.ramp)
    if therapy.mode is PumpMode.MINIMUM_RATE:
        rate, dose = rate_in_force(FlowRate(keep_alive_rate_nl_per_day), strength)
    elif therapy.rate is not None:
        rate, dose = rate_in_force(therapy.rate, strength)
    elif ramp:
        rate, dose = ramp[0].rate_nl_per_day, ramp[0].dose_ng_per_day
    else:
        rate, dose = largest_day(steps)
    return Program(
        mode=therapy.mode,
        rate_nl_per_day=rate,
        dose_ng_per_day=dose,
        concentration_ng_per_ml=strength,
        drug=drug,
        reservoir_generation=reservoir_generation,
        steps=steps,
        bolus=_bolus(therapy.bolus, strength),
        ramp=ramp,
        patient_bolus=_patient_bolus(therapy.patient_bolus, strength),
        bridge=bridge,
    )


def _bolus(bolus: PeriodicBolus | None, strength: int) -> ProgramBolus | None:
    if bolus is None:
        return None
    volume, dose = amount_in_force(bolus.amount, strength)
    spans = (bolus.duration, bolus.interval, bolus.first_in)
    return ProgramBolus(volume, dose, *(span.ms // MS_PER_SECOND for span in spans))


def _patient_bolus(rule: PatientBolusRule | None, strength: int) -> ProgramPatientBolus | None:
    if rule is None:
        return None
    volume, dose = amount_in_force(rule.amount, strength)
    return ProgramPatientBolus(
        volume, dose, rule.duration.ms // MS_PER_SECOND, rule.lockout.ms // MS_PER_SECOND, rule.max_per_24h
    )


def therapy_of(program: Program) -> Therapy:
    """The therapy that a program carries out, in doses where there is drug: what to prescribe at another concentration.

    A bridge is no part of a therapy and is left out.
    """
    drug = program.concentration_ng_per_ml > 0

    def rate(nl_per_day: int, ng_per_day: int) -> Rate:
        return DailyDose(ng_per_day) if drug else FlowRate(nl_per_day)

    def amount(nl: int, ng: int) -> Amount:
        return Dose(ng) if drug else Volume(nl)

    bolus, patient = program.bolus, program.patient_bolus
    has_rate = program.mode in {PumpMode.SIMPLE_CONTINUOUS, PumpMode.PERIODIC_BOLUS}
    return Therapy(
        program.mode,
        rate(program.rate_nl_per_day, program.dose_ng_per_day) if has_rate else None,
        steps=tuple(
            ScheduleStep(step.start_minute, rate(step.rate_nl_per_day, step.dose_ng_per_day), step.days)
            for step in program.steps
        ),
        bolus=None
        if bolus is None
        else PeriodicBolus(
            amount(bolus.volume_nl, bolus.dose_ng),
            _seconds(bolus.duration_s),
            _seconds(bolus.interval_s),
            _seconds(bolus.first_in_s),
        ),
        ramp=tuple(TitrationStep(step.days, rate(step.rate_nl_per_day, step.dose_ng_per_day)) for step in program.ramp),
        patient_bolus=None
        if patient is None
        else PatientBolusRule(
            amount(patient.volume_nl, patient.dose_ng),
            _seconds(patient.duration_s),
            _seconds(patient.lockout_s),
            patient.max_per_24h,
        ),
    )


def _seconds(seconds: int) -> Duration:
    return Duration(seconds * MS_PER_SECOND)


def rebound(program: Program, *, concentration_ng_per_ml: int, reservoir_generation: int) -> Program:
    """The same prescription for another filling: the same integers at the same concentration, else the same doses."""
    if concentration_ng_per_ml == program.concentration_ng_per_ml:
        return replace(program, reservoir_generation=reservoir_generation, bridge=None)
    return program_from(
        therapy_of(program),
        drug=program.drug,
        concentration_ng_per_ml=concentration_ng_per_ml,
        reservoir_generation=reservoir_generation,
        keep_alive_rate_nl_per_day=program.rate_nl_per_day if program.mode is PumpMode.MINIMUM_RATE else 0,
    )


# --- what a schedule gives in a day ---------------------------------------------------------------------------------


def spans_of_day(steps: Iterable[ProgramStep], day: int) -> list[tuple[int, int, ProgramStep]]:
    """(start minute, end minute, step) of one day of the week (Monday is 0), in order."""
    today = sorted((step for step in steps if step.days >> day & 1), key=lambda step: step.start_minute)
    ends = [*(step.start_minute for step in today[1:]), MINUTES_PER_DAY]
    return [(step.start_minute, end, step) for step, end in zip(today, ends, strict=False)]


def _day_totals(steps: Sequence[ProgramStep]) -> list[tuple[int, int]]:
    """(dose, volume) of each day of the week, times 1440."""
    return [
        (
            sum((end - start) * step.dose_ng_per_day for start, end, step in spans_of_day(steps, day)),
            sum((end - start) * step.rate_nl_per_day for start, end, step in spans_of_day(steps, day)),
        )
        for day in range(len(DAYS))
    ]


def largest_day(steps: Sequence[ProgramStep]) -> tuple[int, int]:
    """(nl, ng) of the day with the highest dose: the total a schedule states."""
    dose, volume = max(_day_totals(steps))
    return volume // MINUTES_PER_DAY, dose // MINUTES_PER_DAY


def mean_flow(program: Program, *, patient_boluses: bool = True) -> Fraction:
    """nl/day in the long run, after bridge and ramp.

    Every patient bolus that is allotted counts as taken, as a refill date must assume (domain.md 2.8).
    """
    if program.steps:
        mean = Fraction(sum(volume for _, volume in _day_totals(program.steps)), MINUTES_PER_DAY * len(DAYS))
    elif program.ramp:
        mean = Fraction(program.ramp[-1].rate_nl_per_day)
    else:
        mean = Fraction(program.rate_nl_per_day)
    if program.bolus is not None:
        mean += Fraction(program.bolus.volume_nl * SECONDS_PER_DAY, program.bolus.interval_s)
    return mean + (_patients_share(program) if patient_boluses else 0)


def daily_total_ng(program: Program) -> int:
    """The daily dose in ng that the program states, its periodic boluses included: what a bridge must keep up."""
    bolus = program.bolus
    periodic = 0 if bolus is None else bolus.dose_ng * SECONDS_PER_DAY // bolus.interval_s
    return program.dose_ng_per_day + periodic


def _patients_share(program: Program) -> int:
    patient = program.patient_bolus
    return 0 if patient is None else patient.max_per_24h * patient.volume_nl


def lasting_ms(program: Program, volume_nl: int) -> int | None:
    """How long this volume lasts: the bridge first, then the ramp, then the mean flow; None when nothing flows."""
    left, past = Fraction(volume_nl), Fraction(0)
    stages = [] if program.bridge is None else [(program.bridge.rate_nl_per_day, bridge_ms(program.bridge))]
    stages += [(step.rate_nl_per_day + _patients_share(program), step.days * MS_PER_DAY) for step in program.ramp[:-1]]
    for rate, span_ms in stages:
        given = Fraction(rate * span_ms, MS_PER_DAY)
        if given >= left:
            return int(past + left * MS_PER_DAY / rate)
        left, past = left - given, past + span_ms
    mean = mean_flow(program)
    return None if not mean else int(past + left * MS_PER_DAY / mean)


# --- bridge and prime (domain.md 2.7) -------------------------------------------------------------------------------


def bridge_for(dose_ng_per_day: int, *, old_ng_per_ml: int, volume_nl: int) -> ProgramBridge:
    """The bridge that keeps this daily dose up while ``volume_nl`` of the old drug leaves the tip."""
    if not old_ng_per_ml:
        raise UsageError("bridge: the path holds no drug, so there is nothing to bridge; leave it out (bridge=False)")
    rate = _volume_for(dose_ng_per_day, old_ng_per_ml)
    if not rate or volume_nl < 1:
        raise UsageError(
            f"bridge: {Volume(volume_nl)} at {DailyDose(dose_ng_per_day)} is no flow; bridge a therapy that delivers"
        )
    return ProgramBridge(volume_nl, rate, dose_ng_per_day, old_ng_per_ml)


def bridge_ms(bridge: ProgramBridge) -> int:
    """How long a bridge takes, to the first whole ms at which its volume is given."""
    return span_ms(bridge.volume_nl, bridge.rate_nl_per_day)


def unbridged(rate_nl_per_day: int, *, old_ng_per_ml: int, volume_nl: int) -> tuple[int, int]:
    """(ng/day, ms): what the patient gets instead, and for how long, when the new rate runs on the old drug."""
    return rate_nl_per_day * old_ng_per_ml // NL_PER_ML, span_ms(volume_nl, rate_nl_per_day)


def prime_volume(where: str, *, tubing_volume_nl: int, catheter_volume_nl: int, already_drug_nl: int = 0) -> int:
    """The nl that fill a part of the path: ``path``, ``catheter`` (pump primed already) or ``tubing`` (old catheter).

    ``already_drug_nl`` of it holds drug: *where is the drug?* is what a revision must ask.
    """
    parts = {
        "path": tubing_volume_nl + catheter_volume_nl,
        "catheter": catheter_volume_nl,
        "tubing": tubing_volume_nl,
    }
    if where not in parts:
        raise UsageError(f"prime where: {where!r} is none of {', '.join(parts)}")
    left = parts[where] - already_drug_nl
    if left < 1:
        raise UsageError(
            f"prime volume: {Volume(already_drug_nl)} of the {where}'s {Volume(parts[where])} hold drug already; "
            "there is nothing to prime"
        )
    return left


def span_ms(volume_nl: int, rate_nl_per_day: int) -> int:
    """The first whole ms at which this rate has given this volume."""
    if rate_nl_per_day < 1:
        raise UsageError(f"rate: {FlowRate(rate_nl_per_day)} never delivers {Volume(volume_nl)}")
    return -(-volume_nl * MS_PER_DAY // rate_nl_per_day)


# --- titration (domain.md 3.1) --------------------------------------------------------------------------------------

TITRATION_PPM = {
    "adult-spinal": (100_000, 300_000),
    "adult-cerebral": (50_000, 150_000),
    "child": (50_000, 150_000),
}
"""Usual step once per 24 h, from and to, by the origin of the spasticity (A [S31]); advice, no limit of the pump."""


def titrated(dose_ng_per_day: int, step_ppm: int) -> int:
    """A daily dose changed by a share (150_000 is +15 %), rounded towards less drug."""
    if step_ppm <= -_PPM:
        raise UsageError(f"step: {step_ppm // 10_000} % leaves no dose; stop the pump if that is meant")
    return dose_ng_per_day * (_PPM + step_ppm) // _PPM


def titrated_therapy(program: Program, step_ppm: int) -> Therapy:
    """The program's therapy with every rate and periodic bolus changed by a share; a patient's bolus stays."""
    therapy = therapy_of(program)
    if program.mode in {PumpMode.MINIMUM_RATE, PumpMode.TITRATION}:
        hint = "give it a rate first" if program.mode is PumpMode.MINIMUM_RATE else "its ramp changes it already"
        raise UsageError(f"titrate: a program of {program.mode.value} is not titrated by a share; {hint}")

    def scaled(rate: Rate) -> Rate:
        if isinstance(rate, FlowRate):
            return FlowRate(titrated(rate.nl_per_day, step_ppm))
        return DailyDose(titrated((rate.per_day() if isinstance(rate, HourlyDose) else rate).ng_per_day, step_ppm))

    bolus = therapy.bolus
    if bolus is not None:
        amount = bolus.amount
        scaled_amount: Amount = (
            Dose(titrated(amount.ng, step_ppm)) if isinstance(amount, Dose) else Volume(titrated(amount.nl, step_ppm))
        )
        bolus = replace(bolus, amount=scaled_amount)
    return replace(
        therapy,
        rate=None if therapy.rate is None else scaled(therapy.rate),
        steps=tuple(replace(step, rate=scaled(step.rate)) for step in therapy.steps),
        bolus=bolus,
    )


def ramp(start_ng_per_day: int, target_ng_per_day: int, *, step_ppm: int, days: int) -> Therapy:
    """A step-dose titration from a dose to a target: a step of so many percent every ``days`` days, the last clipped.

    The first step is one step away from the start. Raises ``UsageError`` when the steps do not lead to the target.
    """
    up = target_ng_per_day > start_ng_per_day
    if not step_ppm or up != (step_ppm > 0) or target_ng_per_day == start_ng_per_day:
        raise UsageError(
            f"ramp: steps of {step_ppm // 10_000} % do not lead from {DailyDose(start_ng_per_day)} to "
            f"{DailyDose(target_ng_per_day)}"
        )
    dose, doses = start_ng_per_day, list[int]()
    while dose != target_ng_per_day:
        following = titrated(dose, step_ppm)
        if following == dose or len(doses) == _MOST_RAMP_STEPS:
            raise UsageError(
                f"ramp: {len(doses)} steps lead from {DailyDose(start_ng_per_day)} to {DailyDose(dose)} only, not to "
                f"{DailyDose(target_ng_per_day)}; take larger steps"
            )
        dose = min(following, target_ng_per_day) if up else max(following, target_ng_per_day)
        doses.append(dose)
    return Therapy.titration((days, DailyDose(one)) for one in doses)

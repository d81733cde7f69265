"""From what people write (a ``Therapy``, a dose, a flow) to what the pump carries out, rounded towards less drug.

The bench's own way; a programmer over the wire works its programs out by itself (trust.md 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump.plan import SCHEDULED
from telemetry.sim.pump.quantities import daily_dose_ng
from telemetry.therapy import (
    DAYS,
    MINUTES_PER_DAY,
    BolusOrder,
    PrimeOrder,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramPatientBolus,
    ProgramRampStep,
    ProgramStep,
)
from telemetry.units import MS_PER_SECOND, NL_PER_ML, Concentration, Dose, FlowRate, HourlyDose, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.therapy import Amount, PatientBolusRule, PeriodicBolus, Rate, Therapy
    from telemetry.units import Duration


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge bolus as people write it; what is left out is what the pump was told.

    ``volume``: the labelled path. ``rate``: what gives the new program's daily dose at the old ``concentration``,
    which is the one before the refill (domain.md 2.7).
    """

    volume: Volume | None = None
    rate: Rate | None = None
    concentration: Concentration | None = None


def flow(rate: Rate, concentration_ng_per_ml: int) -> tuple[int, int]:
    """A rate as nl/day and ng/day at this concentration."""
    if isinstance(rate, FlowRate):
        return rate.nl_per_day, daily_dose_ng(rate.nl_per_day, concentration_ng_per_ml)
    daily = rate.per_day() if isinstance(rate, HourlyDose) else rate
    return daily.flow_rate(Concentration(concentration_ng_per_ml)).nl_per_day, daily.ng_per_day


def amount(wanted: Amount, concentration_ng_per_ml: int) -> tuple[int, int]:
    """An amount as nl and ng at this concentration."""
    if isinstance(wanted, Volume):
        return wanted.nl, wanted.nl * concentration_ng_per_ml // NL_PER_ML
    return wanted.ng * NL_PER_ML // concentration_ng_per_ml, wanted.ng


def program_for(core: PumpCore, therapy: Therapy, concentration_ng_per_ml: int, generation: int) -> Program:
    """The program that carries out a therapy from a reservoir of this concentration."""
    strength = concentration_ng_per_ml
    steps = tuple(ProgramStep(step.days, step.start_minute, *flow(step.rate, strength)) for step in therapy.steps)
    ramp = tuple(ProgramRampStep(step.days, *flow(step.rate, strength)) for step in therapy.ramp)
    if therapy.mode in SCHEDULED:
        rate, dose = _largest_day(steps)
    elif ramp:
        rate, dose = ramp[0].rate_nl_per_day, ramp[0].dose_ng_per_day
    elif therapy.rate is None:
        limits = core.limits
        rate = core.profile.keep_alive_rate_nl_per_day if limits is None else limits.keep_alive_rate_nl_per_day
        dose = daily_dose_ng(rate, strength)
    else:
        rate, dose = flow(therapy.rate, strength)
    return Program(
        mode=therapy.mode,
        rate_nl_per_day=rate,
        dose_ng_per_day=dose,
        concentration_ng_per_ml=strength,
        drug=core.profile.drug,
        reservoir_generation=generation,
        steps=steps,
        bolus=None if therapy.bolus is None else _periodic(therapy.bolus, strength),
        ramp=ramp,
        patient_bolus=None if therapy.patient_bolus is None else _patient(therapy.patient_bolus, strength),
    )


def _largest_day(steps: tuple[ProgramStep, ...]) -> tuple[int, int]:
    """Volume and dose of the day with the most of each, rounded down."""
    rates, doses = [0], [0]
    for day in range(len(DAYS)):
        todays = [step for step in steps if step.days >> day & 1]
        ends = [*(step.start_minute for step in todays[1:]), MINUTES_PER_DAY]
        spans = [(step, end - step.start_minute) for step, end in zip(todays, ends, strict=False)]
        rates.append(sum(step.rate_nl_per_day * minutes for step, minutes in spans) // MINUTES_PER_DAY)
        doses.append(sum(step.dose_ng_per_day * minutes for step, minutes in spans) // MINUTES_PER_DAY)
    return max(rates), max(doses)


def _periodic(bolus: PeriodicBolus, strength: int) -> ProgramBolus:
    volume_nl, dose_ng = amount(bolus.amount, strength)
    duration_s, interval_s, first_in_s = (
        span.ms // MS_PER_SECOND for span in (bolus.duration, bolus.interval, bolus.first_in)
    )
    return ProgramBolus(volume_nl, dose_ng, duration_s, interval_s, first_in_s)


def _patient(rule: PatientBolusRule, strength: int) -> ProgramPatientBolus:
    volume_nl, dose_ng = amount(rule.amount, strength)
    duration_s, lockout_s = rule.duration.ms // MS_PER_SECOND, rule.lockout.ms // MS_PER_SECOND
    return ProgramPatientBolus(volume_nl, dose_ng, duration_s, lockout_s, rule.max_per_24h)


def with_bridge(
    core: PumpCore,
    program: Program,
    bridge: Bridge | bool,  # noqa: FBT001 - a bridge, or whether there is one
) -> Program:
    """The program with a bridge before it, or without one."""
    if bridge is False:
        return program
    asked = Bridge() if bridge is True else bridge
    given = asked.concentration
    strength = core.concentration_ng_per_ml if given is None else given.ng_per_ml
    if asked.rate is None:
        rate = program.dose_ng_per_day * NL_PER_ML // strength
        dose = daily_dose_ng(rate, strength)
    else:
        rate, dose = flow(asked.rate, strength)
    volume_nl = core.profile.labelled_path_volume_nl if asked.volume is None else asked.volume.nl
    return replace(program, bridge=ProgramBridge(volume_nl, rate, dose, strength))


def bolus_order(core: PumpCore, wanted: Amount, duration: Duration) -> BolusOrder:
    """A single bolus from what the pump was told it holds; raises ``UsageError`` for a broken second."""
    if not isinstance(wanted, Volume | Dose):
        raise UsageError(f"amount: {wanted!r} is no Volume or Dose; a bare number has no unit")
    if duration.ms % MS_PER_SECOND:
        raise UsageError(f"duration: {duration} is no whole number of seconds")
    strength = core.concentration_ng_per_ml
    return BolusOrder(*amount(wanted, strength), duration.ms // MS_PER_SECOND, strength, core.reservoir_generation)


def prime_order(core: PumpCore, volume: Volume | None, rate: FlowRate | None) -> PrimeOrder:
    """A prime: of the labelled path and at the pump's own priming rate unless said otherwise."""
    profile = core.profile
    return PrimeOrder(
        volume_nl=profile.labelled_path_volume_nl if volume is None else volume.nl,
        rate_nl_per_day=profile.prime_rate_nl_per_day if rate is None else rate.nl_per_day,
        concentration_ng_per_ml=core.concentration_ng_per_ml,
        reservoir_generation=core.reservoir_generation,
    )

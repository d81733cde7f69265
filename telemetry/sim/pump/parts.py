"""The rules that each part of a program or order must keep by itself (domain.md 2.3).

Every function returns nothing or raises ``Refused`` naming field, value and limit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from telemetry.errors import Refused
from telemetry.model import Drug, PumpLimits, PumpMode, RefusalReason
from telemetry.sim.pump.plan import SCHEDULED, bolus_flow, span_ms
from telemetry.sim.pump.quantities import daily_dose_ng
from telemetry.therapy import DAYS, EVERY_DAY, MINUTES_PER_DAY, ProgramStep
from telemetry.units import MS_PER_SECOND, NL_PER_ML, Concentration, DailyDose, Dose, FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.limits import DeviceRules
    from telemetry.therapy import Program

LONGEST_BOLUS_S = 86_400
"""A single bolus is counted in windows of 24 hours; what lasts longer is a therapy, and programmed as one."""
_LONGEST_RAMP_STEP_DAYS = 0xFFFF


def refuse(
    reason: RefusalReason, message: str, field: str, value: int | None = None, limit: int | None = None
) -> NoReturn:
    """Raise the refusal."""
    raise Refused(reason, message, field=field, value=value, limit=limit)


def check_rate(name: str, rate: int, dose_ng: int, concentration: int, low: int, high: int) -> None:
    """A rate within the pump's range."""
    if low <= rate <= high:
        return
    below = rate < low
    limit = low if below else high
    wanted = f"{DailyDose(dose_ng)} at {Concentration(concentration)} is {FlowRate(rate)}"
    word, bound = ("below", "minimum") if below else ("above", "maximum")
    refuse(
        RefusalReason.RATE_BELOW_MINIMUM if below else RefusalReason.RATE_ABOVE_MAXIMUM,
        f"{name}: {wanted}, {word} the pump's {bound} of {FlowRate(limit)}, "
        f"which is {DailyDose(daily_dose_ng(limit, concentration))} at this concentration",
        name,
        rate,
        limit,
    )


def check_agreement(name: str, dose: int, volume: int, concentration: int, per: str = "") -> None:
    """Dose and volume say the same at this concentration, within 1 nl or 1 ng (decision 0011)."""
    if abs(dose * NL_PER_ML - volume * concentration) > max(concentration, NL_PER_ML):
        carried = daily_dose_ng(volume, concentration)
        refuse(
            RefusalReason.DOSE_VOLUME_MISMATCH,
            f"{name}: {dose} is not what {volume} nl{per} carries at {concentration} ng/ml ({carried} ng{per}); "
            "one of the two is wrong",
            name,
            dose,
            carried,
        )


# --- which parts there are -------------------------------------------------------------------------------------------


def check_parts(program: Program, rules: DeviceRules) -> None:
    """Each mode has its parts and no other, and they hang together; rates and doses are looked at afterwards."""
    for name, belongs in (
        ("steps", program.mode in SCHEDULED),
        ("ramp", program.mode is PumpMode.TITRATION),
        ("bolus", program.mode is PumpMode.PERIODIC_BOLUS),
    ):
        if bool(getattr(program, name)) is not belongs:
            what = "missing from" if belongs else "does not belong to"
            refuse(RefusalReason.SCHEDULE_MALFORMED, f"{name}: {what} {program.mode}", name)
    if program.mode in SCHEDULED:
        _check_schedule(program, rules)
    if program.mode is PumpMode.TITRATION:
        _check_ramp(program, rules)
    for name, part in (("bolus", program.bolus), ("patient_bolus", program.patient_bolus)):
        if part is not None:
            check_amount(name, part.volume_nl, part.duration_s)
    if program.bolus is not None and program.bolus.interval_s < 1:
        refuse(RefusalReason.SCHEDULE_MALFORMED, "bolus.interval_s: 0, needs at least 1", "bolus.interval_s", 0, 1)
    if program.patient_bolus is not None and program.mode is PumpMode.MINIMUM_RATE:
        refuse(RefusalReason.SCHEDULE_MALFORMED, f"patient_bolus: does not belong to {program.mode}", "patient_bolus")


def check_amount(name: str, volume_nl: int, duration_s: int) -> None:
    """A bolus is of something and takes time."""
    for field, value in ((f"{name}.volume_nl", volume_nl), (f"{name}.duration_s", duration_s)):
        if value < 1:
            refuse(RefusalReason.SCHEDULE_MALFORMED, f"{field}: {value}, needs at least 1", field, value, 1)


def check_patient_allowed(rules: DeviceRules) -> None:
    """Whether this pump lets its patient give boluses at all, whoever asks (domain.md 2.8)."""
    if not rules.patient_bolus_allowed:
        because = (
            "an intrathecal baclofen overdose comes on hours later, with drowsiness, respiratory depression and coma, "
            "so patients give themselves none"
            if rules.drug is Drug.BACLOFEN
            else "its profile switches them off"
        )
        refuse(
            RefusalReason.PATIENT_BOLUS_FORBIDDEN,
            f"patient_bolus: forbidden on a pump for {rules.drug}, in every role: {because}; program it without",
            "patient_bolus",
        )


def _check_schedule(program: Program, rules: DeviceRules) -> None:
    most = rules.max_schedule_steps
    if len(program.steps) > most * len(DAYS):
        _too_many("steps", len(program.steps), most * len(DAYS))
    for index, step in enumerate(program.steps):
        _check_place(index, step, program.mode)
    for bit, day in enumerate(DAYS):
        minutes = [step.start_minute for step in program.steps if step.days >> bit & 1]
        if len(minutes) > most:
            _too_many(f"steps of {day}", len(minutes), most)
        if not minutes or minutes[0] != 0:
            refuse(
                RefusalReason.SCHEDULE_MALFORMED,
                f"steps: {day} has no step at 00:00; every day begins with one",
                "steps",
                minutes[0] if minutes else None,
                0,
            )
        for before, after in pairwise(minutes):
            if after <= before:
                refuse(
                    RefusalReason.SCHEDULE_MALFORMED,
                    f"steps: on {day} a start at minute {after} follows one at minute {before}; starts must rise",
                    "steps",
                    after,
                    before + 1,
                )


def _check_place(index: int, step: ProgramStep, mode: PumpMode) -> None:
    if not 0 < step.days <= EVERY_DAY or (mode is PumpMode.FLEX and step.days != EVERY_DAY):
        refuse(
            RefusalReason.SCHEDULE_MALFORMED,
            f"steps[{index}].days: {step.days} is no mask of days for {mode} (Monday is bit 0, every day {EVERY_DAY})",
            f"steps[{index}].days",
            step.days,
            EVERY_DAY,
        )
    if not 0 <= step.start_minute < MINUTES_PER_DAY:
        refuse(
            RefusalReason.SCHEDULE_MALFORMED,
            f"steps[{index}].start_minute: {step.start_minute} is outside 0 to {MINUTES_PER_DAY - 1}",
            f"steps[{index}].start_minute",
            step.start_minute,
            MINUTES_PER_DAY - 1,
        )


def _check_ramp(program: Program, rules: DeviceRules) -> None:
    if len(program.ramp) > rules.max_ramp_steps:
        _too_many("ramp", len(program.ramp), rules.max_ramp_steps)
    for index, step in enumerate(program.ramp):
        if not 0 < step.days <= _LONGEST_RAMP_STEP_DAYS:
            refuse(
                RefusalReason.SCHEDULE_MALFORMED,
                f"ramp[{index}].days: {step.days} is outside 1 to {_LONGEST_RAMP_STEP_DAYS}",
                f"ramp[{index}].days",
                step.days,
                _LONGEST_RAMP_STEP_DAYS,
            )
    first = program.ramp[0]
    for name in ("rate_nl_per_day", "dose_ng_per_day"):
        stated, held = getattr(program, name), getattr(first, name)
        if stated != held:
            refuse(
                RefusalReason.SCHEDULE_MALFORMED, f"{name}: {stated} is not the first step's {held}", name, stated, held
            )


def _too_many(name: str, count: int, most: int) -> NoReturn:
    field = name.partition(" ")[0]
    refuse(RefusalReason.TOO_MANY_STEPS, f"{name}: {count} steps, this pump holds {most}", field, count, most)


# --- what they command -----------------------------------------------------------------------------------------------


def check_rates(program: Program, limits: PumpLimits, rules: DeviceRules) -> None:
    """Every rate of the program within the pump's range, boluses on top of the highest basal included."""
    concentration = program.concentration_ng_per_ml
    low, high = limits.min_rate_nl_per_day, limits.max_rate_nl_per_day
    if program.mode is PumpMode.MINIMUM_RATE:
        low = high = limits.keep_alive_rate_nl_per_day
    rates = [
        (f"{name}rate_nl_per_day", rate, dose)
        for name, rate, dose in _flows(program)
        if rate or not (rules.zero_rate_allowed and program.mode in {*SCHEDULED, PumpMode.PERIODIC_BOLUS})
    ]
    for name, rate, dose in rates:
        check_rate(name, rate, dose, concentration, low, high)
    peak = max(rate for _, rate, _ in _flows(program))
    for name, part in (("bolus", program.bolus), ("patient_bolus", program.patient_bolus)):
        if part is not None:
            check_peak(name, part.volume_nl, part.duration_s, peak, concentration, high)


def check_peak(
    name: str, volume_nl: int, duration_s: int, basal_nl_per_day: int, concentration: int, high: int
) -> None:
    """A bolus on top of the basal stays within the pump's highest rate."""
    rate, _ = bolus_flow(volume_nl, concentration, duration_s * MS_PER_SECOND)
    if rate + basal_nl_per_day > high:
        refuse(
            RefusalReason.RATE_ABOVE_MAXIMUM,
            f"{name}.duration_s: {Volume(volume_nl)} in {duration_s} s on top of {FlowRate(basal_nl_per_day)} is "
            f"{FlowRate(rate + basal_nl_per_day)}, above the pump's maximum of {FlowRate(high)}; give it more slowly",
            f"{name}.duration_s",
            rate + basal_nl_per_day,
            high,
        )


def check_agreements(program: Program) -> None:
    """Dose and volume of every part say the same, and the steps add up to the day that is stated."""
    concentration = program.concentration_ng_per_ml
    for name, rate, dose in _flows(program):
        check_agreement(f"{name}dose_ng_per_day", dose, rate, concentration, "/day")
    for name, part in (("bolus", program.bolus), ("patient_bolus", program.patient_bolus)):
        if part is not None:
            check_agreement(f"{name}.dose_ng", part.dose_ng, part.volume_nl, concentration)
    if program.mode in SCHEDULED:
        _check_sum(program, "dose_ng_per_day", "ng")
        _check_sum(program, "rate_nl_per_day", "nl")


def _flows(program: Program) -> list[tuple[str, int, int]]:
    if program.mode in SCHEDULED:
        return [(f"steps[{i}].", s.rate_nl_per_day, s.dose_ng_per_day) for i, s in enumerate(program.steps)]
    if program.mode is PumpMode.TITRATION:
        return [(f"ramp[{i}].", s.rate_nl_per_day, s.dose_ng_per_day) for i, s in enumerate(program.ramp)]
    return [("", program.rate_nl_per_day, program.dose_ng_per_day)]


def day_sums(program: Program, name: str) -> list[tuple[int, int]]:
    """For each weekday of a schedule: the sum of rate x minutes of its steps, and how many steps there are."""
    sums: list[tuple[int, int]] = []
    for bit in range(len(DAYS)):
        steps = [step for step in program.steps if step.days >> bit & 1]
        ends = [*(step.start_minute for step in steps[1:]), MINUTES_PER_DAY]
        total = sum(getattr(s, name) * (end - s.start_minute) for s, end in zip(steps, ends, strict=True))
        sums.append((total, len(steps)))
    return sums


def _check_sum(program: Program, name: str, unit: str) -> None:
    """The stated total is that of the largest day, within one unit of rounding for each of its steps."""
    total, count = max(day_sums(program, name))
    stated = getattr(program, name)
    if abs(stated * MINUTES_PER_DAY - total) > count * MINUTES_PER_DAY:
        found = total // MINUTES_PER_DAY
        refuse(
            RefusalReason.SCHEDULE_MALFORMED,
            f"{name}: {stated} is stated, but the largest day's steps add up to {found} {unit}; correct one of them",
            name,
            stated,
            found,
        )


# --- boluses and the bridge ------------------------------------------------------------------------------------------


def check_bolus_parts(program: Program, limits: PumpLimits) -> None:
    """A periodic bolus ends before the next begins; no bolus is above the hard limit of a bolus."""
    bolus, patient = program.bolus, program.patient_bolus
    if bolus is not None:
        rate, _ = bolus_flow(bolus.volume_nl, program.concentration_ng_per_ml, bolus.duration_s * MS_PER_SECOND)
        # At a whole number of nl/day it may take a few milliseconds longer than asked.
        if max(bolus.duration_s * MS_PER_SECOND, span_ms(bolus.volume_nl, rate)) > bolus.interval_s * MS_PER_SECOND:
            refuse(
                RefusalReason.BOLUS_LONGER_THAN_INTERVAL,
                f"bolus.duration_s: {bolus.duration_s} s for one bolus does not fit into the interval of "
                f"{bolus.interval_s} s; look at the units of both",
                "bolus.duration_s",
                bolus.duration_s,
                bolus.interval_s,
            )
        check_bolus_dose("bolus.dose_ng", bolus.dose_ng, limits)
    if patient is not None:
        check_bolus_length("patient_bolus.duration_s", patient.duration_s)
        if patient.max_per_24h < 1:
            name = "patient_bolus.max_per_24h"
            refuse(RefusalReason.SCHEDULE_MALFORMED, f"{name}: 0, needs at least 1", name, 0, 1)
        check_bolus_dose("patient_bolus.dose_ng", patient.dose_ng, limits)


def check_bolus_dose(name: str, dose_ng: int, limits: PumpLimits) -> None:
    """A single bolus within the hard limit."""
    most = limits.bolus_dose_hard_max_ng
    if dose_ng > most:
        refuse(
            RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT,
            f"{name}: {Dose(dose_ng)} is above the hard limit of {Dose(most)} for one bolus",
            name,
            dose_ng,
            most,
        )


def check_bolus_length(name: str, duration_s: int) -> None:
    """A bolus takes a day at most."""
    if duration_s > LONGEST_BOLUS_S:
        refuse(
            RefusalReason.BOLUS_LONGER_THAN_INTERVAL,
            f"{name}: {duration_s} s is longer than a day; program a rate instead",
            name,
            duration_s,
            LONGEST_BOLUS_S,
        )


def check_bridge(program: Program, limits: PumpLimits, rules: DeviceRules, old_ng_per_ml: int | None) -> None:
    """A bridge is of the old drug, at a rate the pump has, and no longer than the path needs (domain.md 2.7)."""
    bridge = program.bridge
    if bridge is None:
        return
    name = "bridge.concentration_ng_per_ml"
    if old_ng_per_ml is None:
        refuse(RefusalReason.BRIDGE_MISMATCH, "bridge: there is no older drug in the path to be bridged", name)
    if bridge.concentration_ng_per_ml != old_ng_per_ml:
        refuse(
            RefusalReason.BRIDGE_MISMATCH,
            f"{name}: {Concentration(bridge.concentration_ng_per_ml)} is not what the path holds "
            f"({Concentration(old_ng_per_ml)})",
            name,
            bridge.concentration_ng_per_ml,
            old_ng_per_ml,
        )
    most = 2 * rules.labelled_path_nl
    if not 0 < bridge.volume_nl <= most:
        refuse(
            RefusalReason.BRIDGE_MISMATCH,
            f"bridge.volume_nl: {Volume(bridge.volume_nl)} is outside 0 to {Volume(most)}, twice the path; beyond the "
            "path the new drug would leave at the old drug's rate",
            "bridge.volume_nl",
            bridge.volume_nl,
            most,
        )
    rate, dose = bridge.rate_nl_per_day, bridge.dose_ng_per_day
    low, high = limits.min_rate_nl_per_day, limits.max_rate_nl_per_day
    check_rate("bridge.rate_nl_per_day", rate, dose, old_ng_per_ml, low, high)
    check_agreement("bridge.dose_ng_per_day", dose, rate, old_ng_per_ml, "/day")

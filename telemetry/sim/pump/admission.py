"""What the pump itself enforces on a program, and what it derives from one for the read-back (trust.md 5.2, 5.7).

Order of the checks: mode, binding, parts, rates, agreement of dose and volume, boluses and bridge, hard daily dose,
hard change, 24-hour window; then the soft limits as warnings. The first hard rule broken is the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telemetry.model import Activity, Drug, PumpLimits, PumpMode, RefusalReason, Warn
from telemetry.sim.pump import parts
from telemetry.sim.pump.forecast import lasts_ms
from telemetry.sim.pump.parts import refuse
from telemetry.sim.pump.plan import SCHEDULED, Plan, bolus_flow, day_dose_ng, day_volume_nl, span_ms
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, PPM, ceil_div
from telemetry.sim.pump.windows import WindowPeak, coming, largest_window, patient_most, steady_peak, with_patient
from telemetry.therapy import MINUTES_PER_DAY, Program
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, Concentration, DailyDose, Dose, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.rtc import WallClock
    from telemetry.sim.pump.windows import Segment
    from telemetry.therapy import BolusOrder, PrimeOrder

NEVER_S = (1 << 32) - 1
"""``empty_in_s`` of what never empties the reservoir: the most that the wire carries."""
THERAPIES = frozenset({PumpMode.SIMPLE_CONTINUOUS, *SCHEDULED, PumpMode.PERIODIC_BOLUS, PumpMode.TITRATION})
"""The modes that are a therapy; the minimum rate is none (decision 0022)."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What the pump worked out of a program or order, for a person to compare with the intent.

    ``dose_24h_ng`` and ``volume_24h_nl``: the day with the most, periodic boluses included; of a bolus or prime the
    largest 24 hours with it. ``change_ppm``: the size of the largest change of the daily dose, against the last
    committed therapy and within a ramp, rounded up. ``empty_in_s``: how long the pump believes its reservoir lasts,
    every allotted patient bolus taken, in whole seconds, rounded down. ``shift_minutes``: by how much a clock setting
    moves the schedule, signed.
    """

    dose_24h_ng: int
    volume_24h_nl: int
    peak_nl_per_day: int
    lowest_nl_per_day: int
    change_ppm: int
    empty_in_s: int
    warnings: tuple[Warn, ...]
    shift_minutes: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """What the checks take from the pump's profile; nothing a clinician can change."""

    max_schedule_steps: int
    max_ramp_steps: int
    zero_rate_allowed: bool
    patient_bolus_allowed: bool
    drug: Drug
    concentrations_ng_per_ml: tuple[int, ...]
    labelled_path_nl: int
    reservoir_capacity_nl: int
    low_reservoir_alarm_floor_nl: int
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int


@dataclass(frozen=True, slots=True)
class Situation:
    """What of the pump's state a check depends on. ``calculated`` is in nl / 86 400 000.

    ``plan`` is what is in force, None when nothing is; ``history`` what was commanded in the last 24 hours, ``running``
    what the activity under way will still command. ``filled_nl``: the book's volume just after the last filling.
    ``old_concentration_ng_per_ml``: the drug before this one, where it may still be in the path. ``shelf``: never
    filled; what a catheter taken over from another pump holds is for the clinician to say. ``delivering``: the program
    runs, neither stopped, empty, withheld nor ended.
    """

    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    reference_dose_ng: int
    calculated: int
    stroking: bool
    stopped_over_48_h: bool
    now_ms: int
    clock: WallClock
    rules: DeviceRules
    plan: Plan | None = None
    history: tuple[Segment, ...] = ()
    running: tuple[Segment, ...] = ()
    activity: Activity = Activity.NONE
    delivering: bool = True
    shelf: bool = False
    filled_nl: int = 0
    old_concentration_ng_per_ml: int | None = None


def check_program(program: Program, limits: PumpLimits, situation: Situation, *, at_bench: bool = False) -> Derived:
    """Derive the numbers of a program and its warnings; raises ``Refused`` naming the rule it breaks.

    ``at_bench``: commissioning a therapy, with no previous one to measure a change against.
    """
    rules = situation.rules
    _check_mode(program, rules)
    check_binding(program, situation)
    if program.patient_bolus is not None:
        parts.check_patient_allowed(rules)
    parts.check_parts(program, rules)
    parts.check_rates(program, limits, rules)
    parts.check_agreements(program)
    parts.check_bolus_parts(program, limits)
    parts.check_bridge(program, limits, rules, _in_the_path(program, situation))
    _check_doses(program, limits)
    # A pump off the shelf never gave anybody a dose that this one could be a change of.
    changes = _changes(program, program.dose_ng_per_day if situation.shelf else situation.reference_dose_ng)
    if not at_bench and program.mode in THERAPIES:
        _check_changes(program, changes, limits)
    plan = _plan_from_now(program, situation)
    _check_windows(plan, limits, situation)
    return replace(derive(plan, situation, changes), warnings=_warnings(program, limits, situation, changes))


def _plan_from_now(program: Program, situation: Situation) -> Plan:
    bridge = program.bridge
    bridge_ms = span_ms(bridge.volume_nl, bridge.rate_nl_per_day) if bridge else 0
    return Plan(program, started_ms=situation.now_ms + bridge_ms)


def derive(plan: Plan, situation: Situation, changes: list[tuple[int, int]]) -> Derived:
    """The numbers of a plan with the changes of the daily dose that it brings; no warnings."""
    return Derived(
        dose_24h_ng=largest_day_ng(plan.program),
        volume_24h_nl=_largest_day_nl(plan.program),
        peak_nl_per_day=_peak(plan),
        lowest_nl_per_day=plan.lowest_nl_per_day,
        change_ppm=max(ceil_div(abs(after - before) * PPM, before) if before else 0 for before, after in changes),
        empty_in_s=empty_in_s(plan, situation),
        warnings=(),
    )


def _warnings(
    program: Program, limits: PumpLimits, situation: Situation, changes: list[tuple[int, int]]
) -> tuple[Warn, ...]:
    boluses = [part.dose_ng for part in (program.bolus, program.patient_bolus) if part is not None]
    bridge = program.bridge
    conditions = {
        Warn.DAILY_DOSE_CHANGE: any(abs(new - old) * PPM > limits.change_soft_ppm * old for old, new in changes),
        Warn.DAILY_DOSE_HIGH: largest_day_ng(program) > limits.daily_dose_soft_max_ng,
        Warn.DAILY_DOSE_LOW: _smallest_day_ng(program) < limits.daily_dose_soft_min_ng,
        Warn.STARTS_DELIVERY: not situation.stroking,
        Warn.STOPPED_OVER_48_H: situation.stopped_over_48_h,
        Warn.BOLUS_DOSE_HIGH: any(dose > limits.bolus_dose_soft_max_ng for dose in boluses),
        Warn.CONCENTRATION_UNLISTED: program.concentration_ng_per_ml not in situation.rules.concentrations_ng_per_ml,
        Warn.BRIDGE_OMITTED: situation.activity is Activity.BRIDGE and bridge is None,
        Warn.PRIME_BEYOND_PATH: bridge is not None and bridge.volume_nl > situation.rules.labelled_path_nl,
    }
    return tuple(warning for warning, so in conditions.items() if so)


def _in_the_path(program: Program, situation: Situation) -> int | None:
    """The concentration that a bridge must name; a pump off the shelf takes the clinician's word for it."""
    if situation.shelf and program.bridge is not None:
        return program.bridge.concentration_ng_per_ml
    return situation.old_concentration_ng_per_ml


# --- what it is and what it is for -----------------------------------------------------------------------------------


def _check_mode(program: Program, rules: DeviceRules) -> None:
    known = [PumpMode.SIMPLE_CONTINUOUS, PumpMode.MINIMUM_RATE, PumpMode.PERIODIC_BOLUS]
    known += [PumpMode.FLEX, PumpMode.WEEKDAY] if rules.max_schedule_steps else []
    known += [PumpMode.TITRATION] if rules.max_ramp_steps else []
    if program.mode not in known:
        refuse(
            RefusalReason.MODE_UNSUPPORTED,
            f"mode: {program.mode} is nothing to program on this pump; program one of {', '.join(known)}",
            "mode",
        )


def check_binding(program: Program | BolusOrder | PrimeOrder, situation: Situation) -> None:
    """Meant for what the reservoir holds: drug, concentration and this very filling (INV-43)."""
    if isinstance(program, Program) and program.drug is not situation.drug:
        refuse(
            RefusalReason.DRUG_MISMATCH,
            f"drug: {program.drug} is not what the reservoir holds ({situation.drug})",
            "drug",
        )
    if program.concentration_ng_per_ml != situation.concentration_ng_per_ml:
        refuse(
            RefusalReason.CONCENTRATION_MISMATCH,
            f"concentration_ng_per_ml: {program.concentration_ng_per_ml} "
            f"({Concentration(program.concentration_ng_per_ml)}) is not what the reservoir holds "
            f"({Concentration(situation.concentration_ng_per_ml)})",
            "concentration_ng_per_ml",
            program.concentration_ng_per_ml,
            situation.concentration_ng_per_ml,
        )
    if program.reservoir_generation != situation.reservoir_generation:
        refuse(
            RefusalReason.RESERVOIR_GENERATION_MISMATCH,
            f"reservoir_generation: {program.reservoir_generation} is not the filling in the pump "
            f"({situation.reservoir_generation}); interrogate the pump again",
            "reservoir_generation",
            program.reservoir_generation,
            situation.reservoir_generation,
        )


# --- the day's dose --------------------------------------------------------------------------------------------------


def largest_day_ng(program: Program) -> int:
    """The dose of the day with the most, periodic boluses included; a ramp's highest step."""
    if program.mode is PumpMode.TITRATION:
        return max(step.dose_ng_per_day for step in program.ramp)
    return day_dose_ng(program)


def _largest_day_nl(program: Program) -> int:
    if program.mode is PumpMode.TITRATION:
        return max(step.rate_nl_per_day for step in program.ramp)
    return day_volume_nl(program)


def _smallest_day_ng(program: Program) -> int:
    if program.mode is PumpMode.TITRATION:
        return min(step.dose_ng_per_day for step in program.ramp)
    if program.mode in SCHEDULED:
        smallest = min(total for total, _ in parts.day_sums(program, "dose_ng_per_day")) // MINUTES_PER_DAY
        return min(smallest, program.dose_ng_per_day)
    return day_dose_ng(program)


def _check_doses(program: Program, limits: PumpLimits) -> None:
    largest, smallest = largest_day_ng(program), _smallest_day_ng(program)
    low, high = limits.daily_dose_hard_min_ng, limits.daily_dose_hard_max_ng
    with_boluses = ", its boluses included," if program.bolus else ""
    if largest > high:
        refuse(
            RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT,
            f"dose_ng_per_day: {DailyDose(largest)}{with_boluses} is above the hard limit of {DailyDose(high)}",
            "dose_ng_per_day",
            largest,
            high,
        )
    if smallest < low and program.mode in THERAPIES:
        refuse(
            RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT,
            f"dose_ng_per_day: {DailyDose(smallest)}{with_boluses} is below the hard limit of {DailyDose(low)}",
            "dose_ng_per_day",
            smallest,
            low,
        )


def _changes(program: Program, reference_ng: int) -> list[tuple[int, int]]:
    """Every change of the daily dose that the program brings: from the last therapy, then within a ramp."""
    if program.mode is not PumpMode.TITRATION:
        return [(reference_ng, day_dose_ng(program))]
    doses = [step.dose_ng_per_day for step in program.ramp]
    return list(zip([reference_ng, *doses], doses, strict=False))


def _check_changes(program: Program, changes: list[tuple[int, int]], limits: PumpLimits) -> None:
    for index, (before, after) in enumerate(changes):
        if not before or abs(after - before) * PPM <= limits.change_hard_ppm * before:
            continue
        allowed = before + limits.change_hard_ppm * before // PPM
        name, before_it = "dose_ng_per_day", "last committed"
        if program.mode is PumpMode.TITRATION and index > 0:
            name, before_it = f"ramp[{index}].dose_ng_per_day", "step before,"
        refuse(
            RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT,
            f"{name}: {DailyDose(after)} changes the {before_it} {DailyDose(before)} by more than "
            f"{limits.change_hard_ppm // 10_000} %; up to {DailyDose(allowed)} in one step",
            name,
            after,
            allowed,
        )


# --- the window ------------------------------------------------------------------------------------------------------


def _check_windows(plan: Plan, limits: PumpLimits, situation: Situation) -> None:
    """No 24 hours hold more than the hard daily dose: what was given, the bridge, the program from its start on."""
    bridge = plan.program.bridge
    layout = [*situation.history]
    if bridge is not None:
        layout.append((situation.now_ms, plan.started_ms, bridge.rate_nl_per_day, bridge.dose_ng_per_day))
    layout += coming(plan, situation.clock, plan.started_ms, plan.started_ms + MS_PER_DAY)
    check_windows("dose_ng_per_day", layout, plan, limits, situation.rules)


def check_windows(
    name: str, layout: list[Segment], standing: Plan | None, limits: PumpLimits, rules: DeviceRules
) -> WindowPeak:
    """Hold every window to the hard daily dose and the pump's volumes; returns the largest 24 hours.

    ``layout`` is what was and will be given around now; ``standing`` the program that may go on for ever, with every
    bolus its patient may take. Raises ``Refused`` naming what is asked, what comes of it, and the limit.
    """
    day = _peak_of(layout, standing, MS_PER_DAY)
    most = limits.daily_dose_hard_max_ng
    if day.dose > most * MS_PER_DAY:
        refuse(
            RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT,
            f"{name}: with it {Dose(day.dose_ng)} would be given within 24 hours, counting what was given before and "
            f"every bolus allowed; the hard limit is {Dose(most)}. Wait, or give less",
            name,
            day.dose_ng,
            most,
        )
    for hours, most in ((1, rules.window_1h_nl), (4, rules.window_4h_nl), (24, rules.window_24h_nl)):
        window_ms = hours * MS_PER_HOUR
        if limits.max_rate_nl_per_day * window_ms <= most * MS_PER_DAY:
            continue  # no rate that the pump has can exceed it
        peak = _peak_of(layout, standing, window_ms)
        if peak.volume > most * MS_PER_DAY:
            refuse(
                RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT,
                f"{name}: with it {Volume(peak.volume_nl)} would be given within {hours} h, counting what was given "
                f"before and every bolus allowed; the pump's limit is {Volume(most)}. Wait, or give less",
                name,
                peak.volume_nl,
                most,
            )
    return day


def _peak_of(layout: list[Segment], standing: Plan | None, window_ms: int) -> WindowPeak:
    peak = largest_window(layout, window_ms)
    if standing is None:
        return peak
    return with_patient(peak.or_more(steady_peak(standing, window_ms)), standing.program, window_ms)


# --- what comes of it ------------------------------------------------------------------------------------------------


def _peak(plan: Plan) -> int:
    program = plan.program
    patient = program.patient_bolus
    boluses = [plan.bolus_nl_per_day]
    if patient is not None:
        boluses.append(
            bolus_flow(patient.volume_nl, program.concentration_ng_per_ml, patient.duration_s * MS_PER_SECOND)[0]
        )
    return max(plan.peak_nl_per_day + max(boluses), program.bridge.rate_nl_per_day if program.bridge else 0)


def empty_in_s(plan: Plan, situation: Situation, *, given: int = 0) -> int:
    """How long the book's volume, less ``given``, lasts at a plan with its bridge before it, in whole seconds."""
    program, volume = plan.program, situation.calculated - given
    bridge, before_ms = program.bridge, max(0, plan.started_ms - situation.now_ms)
    if bridge is not None and before_ms:
        needed = bridge.volume_nl * COMMANDED_PER_NL
        if volume <= needed:
            return max(0, volume) // (bridge.rate_nl_per_day * MS_PER_SECOND)
        volume -= needed
    patient = program.patient_bolus
    extra = patient.volume_nl * patient_most(patient) if patient else 0
    start_ms = max(plan.started_ms, situation.now_ms)
    lasts = lasts_ms(plan, start_ms, situation.clock, max(0, volume), extra_nl_per_day=extra)
    return NEVER_S if lasts is None else (before_ms + lasts) // MS_PER_SECOND

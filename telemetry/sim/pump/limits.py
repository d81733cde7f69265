"""What the pump enforces on every order but a program: bolus, patient's bolus, prime, refill, limits, alarm volume.

Programs are checked in ``admission.py``; both are imported from here.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from telemetry.model import Activity, PumpLimits, RefusalReason, Warn
from telemetry.sim.pump import parts
from telemetry.sim.pump.admission import (
    NEVER_S,
    Derived,
    DeviceRules,
    Situation,
    check_binding,
    check_program,
    check_windows,
    derive,
    empty_in_s,
)
from telemetry.sim.pump.parts import refuse
from telemetry.sim.pump.plan import Plan, span_ms
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, PPM, daily_dose_ng
from telemetry.sim.pump.windows import bolus_segment, coming
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.windows import Segment
    from telemetry.therapy import BolusOrder, PrimeOrder, Program, RefillOrder

__all__ = [
    "NEVER_S",
    "Derived",
    "DeviceRules",
    "Situation",
    "check_bolus",
    "check_limits",
    "check_patient_bolus",
    "check_prime",
    "check_program",
    "check_refill",
    "derive_standing",
]

DELIVERY_TOLERANCE_PPM = 145_000
"""14.5 % of what was given: the labelled tolerance (domain.md 2.9)."""
READING_TOLERANCE_NL = 2_000_000
"""2 ml: below this the error of reading a syringe dominates (domain.md 2.9)."""


# --- boluses ---------------------------------------------------------------------------------------------------------


def check_bolus(order: BolusOrder, limits: PumpLimits, situation: Situation) -> Derived:
    """Derive the numbers of a single bolus on top of what runs; raises ``Refused`` naming the rule it breaks."""
    plan = _need_plan(situation)
    check_binding(order, situation)
    concentration = order.concentration_ng_per_ml
    parts.check_amount("bolus", order.volume_nl, order.duration_s)
    parts.check_bolus_length("bolus.duration_s", order.duration_s)
    length_ms = order.duration_s * MS_PER_SECOND
    segment = bolus_segment(situation.now_ms, order.volume_nl, concentration, length_ms)
    basal = _basal_peak(plan, situation, segment[1])
    parts.check_peak("bolus", order.volume_nl, order.duration_s, basal, concentration, limits.max_rate_nl_per_day)
    parts.check_agreement("bolus.dose_ng", order.dose_ng, order.volume_nl, concentration)
    parts.check_bolus_dose("bolus.dose_ng", order.dose_ng, limits)
    layout = _laid_out(plan, situation, [segment])
    peak = check_windows("bolus.dose_ng", layout, plan, limits, situation.rules)
    high = order.dose_ng > limits.bolus_dose_soft_max_ng
    return Derived(
        dose_24h_ng=peak.dose_ng,
        volume_24h_nl=peak.volume_nl,
        peak_nl_per_day=basal + segment[2],
        lowest_nl_per_day=plan.lowest_nl_per_day,
        change_ppm=0,
        empty_in_s=empty_in_s(plan, situation, given=order.volume_nl * COMMANDED_PER_NL),
        warnings=(Warn.BOLUS_DOSE_HIGH,) if high else (),
    )


def check_patient_bolus(
    program: Program,
    limits: PumpLimits,
    situation: Situation,
    *,
    locked_until_ms: int | None,
    begun_24h: int,
    critical_alarm: bool,
) -> None:
    """The grant rule (domain.md 2.8): allowed at all, prescribed, lock-out over, count left, no critical alarm, window.

    ``locked_until_ms`` and ``begun_24h`` are in pump time, whatever the wall clock shows (INV-45).
    """
    parts.check_patient_allowed(situation.rules)
    rule = program.patient_bolus
    if rule is None:
        refuse(
            RefusalReason.PATIENT_BOLUS_NOT_PRESCRIBED,
            "patient_bolus: the program in force prescribes none; program one first",
            "patient_bolus",
        )
    if locked_until_ms is not None and situation.now_ms < locked_until_ms:
        left_s = -((situation.now_ms - locked_until_ms) // MS_PER_SECOND)
        refuse(
            RefusalReason.LOCKED_OUT,
            f"patient_bolus.lockout_s: {left_s} s of {rule.lockout_s} s are left; wait",
            "patient_bolus.lockout_s",
            left_s,
            rule.lockout_s,
        )
    if begun_24h >= rule.max_per_24h:
        refuse(
            RefusalReason.BOLUS_COUNT_REACHED,
            f"patient_bolus.max_per_24h: {begun_24h} were given in the last 24 hours, {rule.max_per_24h} are allowed; "
            "wait until the first of them is 24 hours ago",
            "patient_bolus.max_per_24h",
            begun_24h,
            rule.max_per_24h,
        )
    if critical_alarm:
        refuse(
            RefusalReason.CRITICAL_ALARM_PRESENT,
            "patient_bolus: a critical alarm is present; none is given until its cause is dealt with",
            "patient_bolus",
        )
    plan = _need_plan(situation)
    length_ms = rule.duration_s * MS_PER_SECOND
    segment = bolus_segment(situation.now_ms, rule.volume_nl, program.concentration_ng_per_ml, length_ms)
    # This one is laid out; the others that the patient may take later are asked for, and checked, later.
    check_windows("patient_bolus.dose_ng", _laid_out(plan, situation, [segment]), None, limits, situation.rules)


def check_prime(order: PrimeOrder, limits: PumpLimits, situation: Situation) -> Derived:
    """Derive the numbers of a prime, during which the basal waits; raises ``Refused`` naming the rule it breaks."""
    plan = _need_plan(situation)
    check_binding(order, situation)
    path_nl, rate, concentration = (
        situation.rules.labelled_path_nl,
        order.rate_nl_per_day,
        order.concentration_ng_per_ml,
    )
    if not 0 < order.volume_nl <= 2 * path_nl:
        refuse(
            RefusalReason.PRIME_TOO_LARGE,
            f"prime.volume_nl: {Volume(order.volume_nl)} is outside 0 to {Volume(2 * path_nl)}, twice what tubing and "
            f"catheter hold ({Volume(path_nl)}); beyond it drug goes to the patient",
            "prime.volume_nl",
            order.volume_nl,
            2 * path_nl,
        )
    dose = daily_dose_ng(rate, concentration)
    low, high = limits.min_rate_nl_per_day, limits.max_rate_nl_per_day
    parts.check_rate("prime.rate_nl_per_day", rate, dose, concentration, low, high)
    ends_ms = situation.now_ms + span_ms(order.volume_nl, rate)
    layout = _laid_out(plan, situation, [(situation.now_ms, ends_ms, rate, dose)], from_ms=ends_ms)
    peak = check_windows("prime.volume_nl", layout, plan, limits, situation.rules)
    return Derived(
        dose_24h_ng=peak.dose_ng,
        volume_24h_nl=peak.volume_nl,
        peak_nl_per_day=rate,
        lowest_nl_per_day=min(rate, plan.lowest_nl_per_day),
        change_ppm=0,
        empty_in_s=empty_in_s(plan, situation, given=order.volume_nl * COMMANDED_PER_NL),
        warnings=(Warn.PRIME_BEYOND_PATH,) if order.volume_nl > path_nl else (),
    )


# --- refill ----------------------------------------------------------------------------------------------------------


def check_refill(order: RefillOrder, limits: PumpLimits, situation: Situation, *, at_bench: bool = False) -> Derived:
    """Derive the numbers of a refill and its program, checked as one; raises ``Refused`` naming the rule it breaks.

    ``situation`` is the pump as it is: the old binding, and what its book says is left. A bridge under way is over.
    """
    capacity = situation.rules.reservoir_capacity_nl
    if order.volume_nl > capacity:
        refuse(
            RefusalReason.RESERVOIR_OVERFILLED,
            f"volume_nl: {Volume(order.volume_nl)} is more than the reservoir holds ({Volume(capacity)})",
            "volume_nl",
            order.volume_nl,
            capacity,
        )
    if order.volume_nl == 0:
        refuse(RefusalReason.RESERVOIR_EMPTY, "volume_nl: 0; a refill leaves drug in the reservoir", "volume_nl", 0, 1)
    program = order.program
    derived = check_program(program, limits, after_refill(order, situation), at_bench=at_bench)
    old, new = situation.concentration_ng_per_ml, program.concentration_ng_per_ml
    warnings = set(derived.warnings)
    if old != new and program.bridge is None and not situation.shelf:
        warnings.add(Warn.BRIDGE_OMITTED)
    if _withdrawn_differs(order, situation):
        warnings.add(Warn.WITHDRAWN_DIFFERS)
    return replace(derived, warnings=tuple(warning for warning in Warn if warning in warnings))


def after_refill(order: RefillOrder, situation: Situation) -> Situation:
    """The situation that the refill's program is checked in: the next filling, of a concentration of its own."""
    return replace(
        situation,
        drug=situation.rules.drug,
        concentration_ng_per_ml=order.program.concentration_ng_per_ml,
        reservoir_generation=situation.reservoir_generation + 1,
        calculated=order.volume_nl * COMMANDED_PER_NL,
        filled_nl=order.volume_nl,
        activity=Activity.NONE,
        old_concentration_ng_per_ml=situation.concentration_ng_per_ml,
    )


def _withdrawn_differs(order: RefillOrder, situation: Situation) -> bool:
    """Whether more or less came out than the book says, beyond both tolerances of domain.md 2.9."""
    apart = abs(order.withdrawn_nl * COMMANDED_PER_NL - situation.calculated)
    given = max(0, situation.filled_nl * COMMANDED_PER_NL - situation.calculated)
    return apart > READING_TOLERANCE_NL * COMMANDED_PER_NL and apart * PPM > DELIVERY_TOLERANCE_PPM * given


# --- settings --------------------------------------------------------------------------------------------------------

_WITHIN = (
    ("min_rate_nl_per_day", "max_rate_nl_per_day"),
    ("daily_dose_hard_min_ng", "daily_dose_soft_min_ng"),
    ("daily_dose_soft_min_ng", "daily_dose_soft_max_ng"),
    ("daily_dose_soft_max_ng", "daily_dose_hard_max_ng"),
    ("change_soft_ppm", "change_hard_ppm"),
    ("bolus_dose_soft_max_ng", "bolus_dose_hard_max_ng"),
)
"""The first is never more than the second."""
_NOT_BELOW = frozenset({"min_rate_nl_per_day", "daily_dose_hard_min_ng"})
_NOT_ABOVE = frozenset({"max_rate_nl_per_day", "daily_dose_hard_max_ng", "change_hard_ppm", "bolus_dose_hard_max_ng"})
_FIXED = frozenset({"keep_alive_rate_nl_per_day"})
"""The pump's own flow, which no clinician sets."""


def check_limits(
    wanted: PumpLimits,
    factory: PumpLimits,
    low_alarm_floor_nl: int,
    capacity_nl: int | None = None,
    situation: Situation | None = None,
) -> None:
    """A clinician's limits lie inside the device's (trust.md 5.7); raises ``Refused`` naming the one that does not.

    With a ``situation`` the therapy in force must fit them as well: the governor would stop it otherwise.
    """
    for name in (field.name for field in fields(PumpLimits)):
        value, made = getattr(wanted, name), getattr(factory, name)
        if (name in _FIXED and value != made) or (name in _NOT_BELOW and value < made):
            _outside(name, value, made, "is not the device's" if name in _FIXED else "is below the device's")
        if name in _NOT_ABOVE and value > made:
            _outside(name, value, made, "is above the device's")
    alarm_nl = wanted.low_reservoir_alarm_nl
    if alarm_nl < low_alarm_floor_nl:
        _outside("low_reservoir_alarm_nl", alarm_nl, low_alarm_floor_nl, "is below the device's floor of")
    if capacity_nl is not None and alarm_nl > capacity_nl:
        _outside("low_reservoir_alarm_nl", alarm_nl, capacity_nl, "is more than the reservoir holds,")
    for smaller, larger in _WITHIN:
        low, high = getattr(wanted, smaller), getattr(wanted, larger)
        if low > high:
            _outside(smaller, low, high, f"is above {larger}")
    if situation is not None and situation.plan is not None:
        layout = _laid_out(situation.plan, situation, [])
        check_windows("daily_dose_hard_max_ng", layout, situation.plan, wanted, situation.rules)


def _outside(name: str, value: int, limit: int, how: str) -> None:
    refuse(RefusalReason.LIMIT_OUTSIDE_DEVICE, f"{name}: {value} {how} {limit}", name, value, limit)


def derive_standing(situation: Situation, *, shift_minutes: int = 0, warnings: tuple[Warn, ...] = ()) -> Derived:
    """The numbers of the therapy in force, for an order that leaves it as it is; all 0 when none is."""
    plan = situation.plan
    if plan is None:
        return Derived(0, 0, 0, 0, 0, NEVER_S, warnings, shift_minutes)
    return replace(derive(plan, situation, [(0, 0)]), warnings=warnings, shift_minutes=shift_minutes)


# --- within ----------------------------------------------------------------------------------------------------------


def _need_plan(situation: Situation) -> Plan:
    if situation.plan is None or not situation.delivering:
        refuse(RefusalReason.NOT_DELIVERING, "mode: no program runs; a bolus or a prime goes with one", "mode")
    return situation.plan


def _basal_peak(plan: Plan, situation: Situation, until_ms: int) -> int:
    """The highest base rate from now until then."""
    rates = [0]
    at_ms: int | None = situation.now_ms
    while at_ms is not None and at_ms < until_ms:
        rate, _, at_ms = plan.segment(at_ms, situation.clock)
        rates.append(rate)
    return max(rates)


def _laid_out(plan: Plan, situation: Situation, extra: list[Segment], from_ms: int | None = None) -> list[Segment]:
    """What was given, what runs, what is asked, and the plan from then on until a day after all of it."""
    start_ms = situation.now_ms if from_ms is None else from_ms
    ends_ms = max([start_ms, *(segment[1] for segment in (*extra, *situation.running))]) + MS_PER_DAY
    return [*situation.history, *situation.running, *extra, *coming(plan, situation.clock, start_ms, ends_ms)]

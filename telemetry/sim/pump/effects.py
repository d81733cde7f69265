"""What a decided order does: the prescription taken, an activity begun, a setting written, each after its record.

Settings are written after the record that decides them; ``redo`` repeats that after a power cut in between, as long as
the order page still holds what the record names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.errors import Refused
from telemetry.model import Activity, AlarmKind, LogCode, PumpLimits, PumpMode, RefusalReason, Warn
from telemetry.sim.pump import activity, situations
from telemetry.sim.pump.decisions import InForce, need_active
from telemetry.sim.pump.limits import derive_standing
from telemetry.sim.pump.plan import SCHEDULED
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, RefillOrder
from telemetry.units import MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.ledger import CommitRecord
    from telemetry.sim.pump.limits import Derived, Situation
    from telemetry.sim.pump.orders import Order

_SWITCHED = (
    (AlarmKind.LOW_RESERVOIR, "low_reservoir_enabled"),
    (AlarmKind.ELECTIVE_REPLACEMENT, "elective_replacement_enabled"),
)


# --- prescriptions ---------------------------------------------------------------------------------------------------


def force_of(core: PumpCore, order: Order, program: Program, derived: Derived, *, running: bool) -> InForce:
    """What will be in force with this prescription; its digests are its caller's."""
    active = need_active(core)
    therapy = program.mode is not PumpMode.MINIMUM_RATE
    refill = order.volume_nl * COMMANDED_PER_NL if isinstance(order, RefillOrder) else None
    kept = is_kept(core, order)
    return InForce(
        bank=1 - active.bank,
        program_sequence=active.program_sequence + 1,
        image_digest=active.image_digest,
        bank_digest=active.bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=derived.dose_24h_ng if therapy else active.reference_dose_ng,
        calculated=core.reservoir.calculated if refill is None else refill,
        running=running,
        plan_started_ms=_goes_on_from_ms(core) if kept else core.now_ms,
        bridge_left=0 if program.bridge is None else program.bridge.volume_nl * COMMANDED_PER_NL,
        halted_ms=None if running else core.now_ms,
    )


def is_kept(core: PumpCore, order: Order) -> bool:
    """Whether the program's own time goes on although it is decided anew."""
    return isinstance(order, RefillOrder) and situations.goes_on(core, order)


def _goes_on_from_ms(core: PumpCore) -> int:
    return core.plan_started_ms + (0 if core.halted_ms is None else core.now_ms - core.halted_ms)


def take_prescription(
    core: PumpCore, order: Order, program: Program, record: CommitRecord, *, fresh: bool, activates: bool
) -> None:
    """Run the program that was just decided; a refill sets the book.

    RAM goes first: what is written afterwards may be cut off, and book-keeping then stands by this record.
    """
    slot, rebound = record.slot, program.reservoir_generation != core.reservoir_generation
    ended = core.activity or activity.waiting_bridge(core)
    core.activity = None
    take_program(core, record, program)
    core.reservoir.calculated = record.calculated
    if isinstance(order, RefillOrder):
        core.filled_nl = order.volume_nl
    if fresh:
        core.clock.release()
    if rebound:
        write_binding(core, program)
    if ended is not None:
        activity.tell_cancelled(core, ended)
    if isinstance(order, RefillOrder):
        core.note(LogCode.REFILLED, program.reservoir_generation, order.volume_nl, slot=slot)
        core.emit("refilled", str(program.reservoir_generation))
    if activates:
        core.battery.activate(core.now_ms)
        core.note(LogCode.ACTIVATED, slot=slot)
        core.emit(LogCode.ACTIVATED)
    core.note(LogCode.PROGRAM_COMMITTED, record.program_sequence, program.rate_nl_per_day, slot=slot)
    core.emit("program_committed", str(record.program_sequence))
    begin(core, slot=slot, fresh=fresh)
    dealt_with(core)


def write_binding(core: PumpCore, program: Program) -> None:
    """Write what the reservoir holds, as the program says, and how much it was filled to."""
    filling = program.concentration_ng_per_ml, program.reservoir_generation, core.filled_nl
    core.memory.write_binding(program.drug, *filling)


def take_program(core: PumpCore, record: CommitRecord, program: Program) -> None:
    """Let a program that stands in its bank be the one in force."""
    core.set_program(program)
    core.drug = program.drug
    core.concentration_ng_per_ml = program.concentration_ng_per_ml
    core.reservoir_generation = program.reservoir_generation
    take_state(core, record)
    core.staged = None


def take_state(core: PumpCore, record: CommitRecord) -> None:
    """Take over the state of delivery that a record left."""
    core.running, core.safe, core.shelf, core.tripped = record.running, record.safe, record.shelf, record.tripped
    core.halted_ms = record.halted_ms
    core.plan_started_ms, core.bridge_left = record.plan_started_ms, record.bridge_left


def begin(core: PumpCore, *, slot: int = 0, fresh: bool = False) -> None:
    """Deliver: what is left of the bridge first, then the program; ``fresh`` when the program's time begins now."""
    if not core.running:
        return
    if core.bridge_left:
        activity.start_bridge(core, slot=slot)
    else:
        core.start_plan(core.plan_started_ms, fresh=fresh)


def dealt_with(core: PumpCore) -> None:
    """Somebody has decided on therapy: end the alarms that asked for it, then look at the state anew."""
    core.evaluate_flow()
    if core.running:
        for kind in (AlarmKind.THERAPY_STOPPED, AlarmKind.STOPPED_PUMP):
            core.alarms.release(kind, core.now_ms)
    if core.limits is not None and core.safe_basal_nl_per_day is not None:
        core.alarms.set_condition(AlarmKind.MEMORY_ERROR, present=False, now_ms=core.now_ms)
    core.evaluate()


# --- everything else -------------------------------------------------------------------------------------------------


def carry_out(core: PumpCore, order: Order, record: CommitRecord) -> None:
    """Begin the activity, or write the setting, that was just decided."""
    slot = record.slot
    if isinstance(order, BolusOrder):
        span_ms = order.duration_s * MS_PER_SECOND
        activity.start_bolus(core, Activity.BOLUS, order.volume_nl, span_ms, slot=slot)
    elif isinstance(order, PrimeOrder):
        activity.start_prime(core, order.volume_nl, order.rate_nl_per_day, slot=slot)
    elif isinstance(order, PumpLimits | AlarmSettings | ClockSetting):
        _set(core, order, record)
        code, detail, value = _line(order)
        core.note(code, detail, value, slot=slot)
        core.emit(code)
    core.evaluate_flow()
    core.evaluate()


def redo(core: PumpCore, order: Order, record: CommitRecord) -> bool:
    """Write a decided setting (again) after a power cut; False for an order that is no setting."""
    if not isinstance(order, PumpLimits | AlarmSettings | ClockSetting):
        return False
    _set(core, order, record)
    return True


def _set(core: PumpCore, order: PumpLimits | AlarmSettings | ClockSetting, record: CommitRecord) -> None:
    if isinstance(order, ClockSetting):
        core.clock.set(order.utc_s, order.zone_minutes, record.mono_ms)
        core.read_plan()
        return
    if isinstance(order, PumpLimits):
        limits = order
    elif core.limits is not None:
        limits = with_low_alarm(order, core.limits)
    else:
        return
    core.memory.write_limits(limits)
    core.set_limits(limits)
    if isinstance(order, AlarmSettings):
        for kind, name in _SWITCHED:
            core.alarms.set_enabled(kind, enabled=getattr(order, name), now_ms=core.now_ms)
        core.memory.write_settings(core.alarms.disabled_bits)


def _line(order: PumpLimits | AlarmSettings | ClockSetting) -> tuple[LogCode, int, int]:
    if isinstance(order, ClockSetting):
        return LogCode.CLOCK_SET, order.zone_minutes, order.utc_s
    if isinstance(order, PumpLimits):
        return LogCode.LIMITS_CHANGED, 0, order.daily_dose_hard_max_ng
    bits = sum(getattr(order, name) << bit for bit, (_, name) in enumerate(_SWITCHED))
    return LogCode.ALARMS_CONFIGURED, bits, order.low_reservoir_alarm_nl


# --- settings --------------------------------------------------------------------------------------------------------


def with_low_alarm(settings: AlarmSettings, limits: PumpLimits) -> PumpLimits:
    """The limits with the low-reservoir volume that alarm settings ask for."""
    return replace(limits, low_reservoir_alarm_nl=settings.low_reservoir_alarm_nl)


def alarm_settings(core: PumpCore) -> AlarmSettings:
    """What is set of the alarms now."""
    enabled = {name: core.alarms.enabled(kind) for kind, name in _SWITCHED}
    return AlarmSettings(low_reservoir_alarm_nl=core.low_reservoir_alarm_nl, **enabled)


def check_alarm_settings(core: PumpCore, settings: AlarmSettings) -> None:
    """Raises ``Refused`` (``limit_outside_device``) for an alarm that must not be switched off."""
    for kind, name in _SWITCHED:
        if not getattr(settings, name) and not core.profile.alarm(kind).can_disable:
            raise Refused(
                RefusalReason.LIMIT_OUTSIDE_DEVICE, f"{name}: {kind} cannot be switched off on this pump", field=name
            )


def derive_clock(core: PumpCore, setting: ClockSetting, situation: Situation) -> Derived:
    """What setting the clock so would do: by how many minutes the schedule's time jumps, to the nearest.

    Whole seconds are what a clock is set in, so that a shift of less than half a minute is none to be warned of.
    """
    shift_ms = core.clock.shift_ms(setting.utc_s, setting.zone_minutes, core.now_ms)
    size = (abs(shift_ms) + MS_PER_MINUTE // 2) // MS_PER_MINUTE
    minutes = size if shift_ms > 0 else -size
    warnings = (Warn.SCHEDULE_SHIFTS,) if core.program.mode in SCHEDULED and minutes else ()
    return derive_standing(situation, shift_minutes=minutes, warnings=warnings)

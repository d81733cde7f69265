"""Commands on the pump that change therapy: check, stage, commit, resume, stop; each once, each with one record.

Everything here raises before anything is written, or writes exactly one commit record and then acts on it. A
``PowerCut`` out of a write leaves the RAM side worthless: boot the device, the record decides. What a committed order
does is in ``effects.py``, the ledger's side in ``decisions.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import Activity, LogCode, OperationKind, PumpLimits, RefusalReason, StopReason, Warn
from telemetry.sim.pump import activity, effects, situations
from telemetry.sim.pump.decisions import admit, decide, halted, in_force, need_active, pump_operation, view
from telemetry.sim.pump.ledger import DIGEST_SIZE, SHORT_DIGEST_SIZE, SYSTEM_SLOT, Operation, OperationRecord
from telemetry.sim.pump.limits import (
    Derived,
    Situation,
    check_bolus,
    check_limits,
    check_prime,
    check_program,
    check_refill,
    derive_standing,
)
from telemetry.sim.pump.orders import Order, order_type
from telemetry.sim.pump.records import program_in
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, RefillOrder

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

STOP_NUMBERS = {reason: number for number, reason in enumerate(StopReason, start=1)}


# --- check -----------------------------------------------------------------------------------------------------------


def check(core: PumpCore, order: Order, *, at_bench: bool = False) -> Derived:
    """Derived numbers and warnings of an order; raises ``Refused`` naming the rule it breaks."""
    limits = _ready(core, order)
    situation = situations.of(core)
    if isinstance(order, Program):
        derived = check_program(order, limits, situation, at_bench=at_bench)
        _refuse_if_busy(core, _OF_THE_PROGRAM)
        _refuse_if_empty(core)
        return _with_bridge_warning(core, order, derived)
    if isinstance(order, RefillOrder):
        derived = check_refill(order, limits, situations.before_refill(core, order), at_bench=at_bench)
        _refuse_if_busy(core, _OF_THE_PROGRAM)
        return derived
    if isinstance(order, BolusOrder | PrimeOrder):
        _refuse_if_not_delivering(core)
        _refuse_if_busy(core)
        if isinstance(order, BolusOrder):
            return check_bolus(order, limits, situation)
        return check_prime(order, limits, situation)
    return _check_setting(core, order, limits, situation)


def _check_setting(
    core: PumpCore, order: PumpLimits | ClockSetting | AlarmSettings, limits: PumpLimits, situation: Situation
) -> Derived:
    if isinstance(order, ClockSetting):
        return effects.derive_clock(core, order, situation)
    wanted = order if isinstance(order, PumpLimits) else effects.with_low_alarm(order, limits)
    rules = situation.rules
    capacity_nl = rules.reservoir_capacity_nl
    check_limits(wanted, situations.limits_of(core.profile), rules.low_reservoir_alarm_floor_nl, capacity_nl, situation)
    if isinstance(order, AlarmSettings):
        effects.check_alarm_settings(core, order)
    return derive_standing(situation)


def _ready(core: PumpCore, order: Order) -> PumpLimits:
    """The limits to check against; raises ``Refused`` when the pump takes no order, or not this one, as it is."""
    _refuse_if_ended(core)
    if core.upsets.stored_error:
        raise Refused(
            RefusalReason.STORED_ERROR,
            "the pump holds a stored error code and takes no order; reset its memory (it goes on delivering as it is)",
        )
    if core.limits is None:
        raise Refused(
            RefusalReason.MEMORY_UNRELIABLE,
            "limits: both copies of the limits record are damaged; the pump accepts no new program",
        )
    if core.shelf and isinstance(order, Program | BolusOrder | PrimeOrder):
        raise Refused(
            RefusalReason.PUMP_ON_SHELF,
            "mode: the pump lies on the shelf, empty and not activated; fill it and tell it the refill first",
        )
    return core.limits


def _refuse_if_ended(core: PumpCore) -> None:
    if core.ended:
        raise Refused(RefusalReason.END_OF_SERVICE, "the pump has reached its end of service and never delivers again")


def _refuse_if_empty(core: PumpCore) -> None:
    if core.empty:
        raise Refused(
            RefusalReason.RESERVOIR_EMPTY,
            "reservoir_nl: 0 by the pump's own books; refill it first",
            field="reservoir_nl",
            value=0,
            limit=1,
        )


def _refuse_if_not_delivering(core: PumpCore) -> None:
    if not core.delivering or core.safe:
        _refuse_if_empty(core)
        raise Refused(
            RefusalReason.NOT_DELIVERING,
            f"mode: {core.mode}; a bolus or a prime needs a pump that delivers its program",
        )


_OF_THE_PROGRAM = frozenset({Activity.PERIODIC_BOLUS, Activity.BRIDGE})
"""Activities that belong to the program in force, and end with it."""


def _refuse_if_busy(core: PumpCore, allowed: frozenset[Activity] = frozenset()) -> None:
    running = core.activity
    if running is not None and running.kind not in allowed:
        raise Refused(
            RefusalReason.ACTIVITY_RUNNING,
            f"activity: a {running.kind} is running ({running.given_nl} of {running.volume_nl} nl given); wait for its "
            "end, or stop the pump",
            field="activity",
        )


def _with_bridge_warning(core: PumpCore, program: Program, derived: Derived) -> Derived:
    """A program during a bridge ends the bridge unless it brings one of its own."""
    if core.bridge_to_give and program.bridge is None and Warn.BRIDGE_OMITTED not in derived.warnings:
        return replace(derived, warnings=(*derived.warnings, Warn.BRIDGE_OMITTED))
    return derived


# --- stage -----------------------------------------------------------------------------------------------------------


def stage(core: PumpCore, order: Order, digest: bytes) -> Order:
    """Write an order to the inactive bank, or to the order page, read it back and return what stands there.

    Raises ``UsageError`` for a digest that is no SHA-256 or a number too wide for its place, ``Refused``
    (``memory_unreliable``) when the read-back differs.
    """
    if len(digest) != DIGEST_SIZE:
        raise UsageError(f"digest: {len(digest)} bytes, needs {DIGEST_SIZE}")
    if core.upsets.stops_while_updating and core.running:
        system_stop(core)
    core.staged = None
    if program_in(order) is None:
        written = core.memory.write_order(order, digest)
    else:
        written = core.memory.write_bank(1 - need_active(core).bank, order, digest)
    core.staged = (order, digest, written)
    return staged_order(core, digest)[0]


def staged_order(core: PumpCore, digest: bytes) -> tuple[Order, bytes]:
    """What is staged as it reads back now, and the digest of its page; raises ``Refused``."""
    if core.staged is None:
        raise Refused(RefusalReason.NO_PROPOSAL, "no program is staged; stage it and read it back first")
    order, staged_digest, written = core.staged
    if staged_digest != digest:
        raise Refused(RefusalReason.IMAGE_DIGEST_MISMATCH, "digest: the staged program is another one; stage it again")
    if program_in(order) is None:
        stands = core.memory.read_order(written)
    else:
        stands = core.memory.read_bank(1 - need_active(core).bank, written)
    if stands is None or stands != (order, digest):
        core.staged = None
        raise Refused(
            RefusalReason.MEMORY_UNRELIABLE, "program bank: what was written does not read back; stage it again"
        )
    return stands[0], written


def refuse_unaccepted(warnings: tuple[Warn, ...], accepted: tuple[Warn, ...]) -> None:
    """Raises ``Refused`` (``warnings_not_accepted``) naming every warning that nobody accepted."""
    missing = tuple(warning for warning in warnings if warning not in accepted)
    if missing:
        raise Refused(
            RefusalReason.WARNINGS_NOT_ACCEPTED,
            f"warnings: {', '.join(missing)} must be accepted by name",
            warnings=tuple(warning.value for warning in missing),
            field="accepted_warnings",
        )


# --- commit ----------------------------------------------------------------------------------------------------------


def commit(core: PumpCore, operation: Operation, accepted: tuple[Warn, ...]) -> OperationRecord:
    """Make what is staged the truth, once; evaluates limits, binding and warnings again."""
    known = admit(core, operation)
    if known is not None:
        return known
    wanted = order_type(operation.kind)
    if wanted is None:
        raise UsageError(f"kind: {operation.kind} is not committed; call resume, stop or patient_bolus")
    order, _ = staged_order(core, operation.digest)
    if not isinstance(order, wanted):
        raise UsageError(f"kind: {operation.kind} is no {type(order).__name__}, which is what is staged")
    derived = check(core, order)
    refuse_unaccepted(derived.warnings, accepted)
    return apply(core, operation, derived)


def apply(core: PumpCore, operation: Operation, derived: Derived, *, running: bool = True) -> OperationRecord:
    """Decide what is staged by one record, then act on it (INV-32); the check was its caller's."""
    order, written = staged_order(core, operation.digest)
    program = program_in(order)
    if program is None:
        record = decide(core, operation, in_force(core, order_digest=written))
        core.staged = None
        effects.carry_out(core, order, record)
        core.memory.forget_order()
        return view(core, record)
    force = effects.force_of(core, order, program, derived, running=running)
    force = replace(force, image_digest=operation.digest, bank_digest=written)
    activates, fresh = core.shelf, not effects.is_kept(core, order)
    record = decide(core, operation, force)
    effects.take_prescription(core, order, program, record, fresh=fresh, activates=activates)
    return view(core, record)


# --- resume and stop -------------------------------------------------------------------------------------------------


def check_resume(core: PumpCore, program_sequence: int, program_digest: bytes) -> Derived:
    """What resuming would do; raises ``Refused`` when it cannot, or when the program is not the one that was seen."""
    active = need_active(core)
    _refuse_if_ended(core)
    if core.safe:
        raise Refused(RefusalReason.SAFE_STATE, "the pump is in its safe state; it must be programmed, not resumed")
    if program_sequence != active.program_sequence or program_digest != active.image_digest[:SHORT_DIGEST_SIZE]:
        raise Refused(
            RefusalReason.BASE_CHANGED,
            f"program_sequence: {program_sequence} is not the program in force ({active.program_sequence}); read again",
            field="program_sequence",
            value=program_sequence,
            limit=active.program_sequence,
        )
    if core.running:
        raise Refused(RefusalReason.NOT_STOPPED, f"mode: {core.mode}; only a stopped pump can be resumed")
    program = situations.left_of_program(core)
    derived = check_program(program, _ready(core, program), situations.of(core))
    _refuse_if_empty(core)
    return derived


def resume(
    core: PumpCore,
    operation: Operation,
    program_sequence: int,
    program_digest: bytes,
    accepted: tuple[Warn, ...],
) -> OperationRecord:
    """Deliver the committed program again, once; its own time goes on where it stood."""
    known = admit(core, operation)
    if known is not None:
        return known
    if operation.kind is not OperationKind.RESUME:
        raise UsageError(f"kind: {operation.kind} does not resume")
    derived = check_resume(core, program_sequence, program_digest)
    refuse_unaccepted(derived.warnings, accepted)
    core.staged = None
    waited_ms = 0 if core.halted_ms is None else core.now_ms - core.halted_ms
    started_ms = core.plan_started_ms + waited_ms
    force = replace(in_force(core), running=True, tripped=False, halted_ms=None, plan_started_ms=started_ms)
    record = decide(core, operation, force)
    effects.take_state(core, record)
    core.note(LogCode.RESUMED, record.program_sequence, core.program.rate_nl_per_day, slot=operation.slot)
    core.emit("resumed")
    effects.begin(core, slot=operation.slot)
    effects.dealt_with(core)
    return view(core, record)


def stop(core: PumpCore, operation: Operation, reason: StopReason) -> OperationRecord:
    """Stop delivery now; applied also when it is stopped already and when the ledger is full."""
    known = admit(core, operation, even_when_full=True)
    if known is not None:
        return known
    if operation.kind is not OperationKind.STOP:
        raise UsageError(f"kind: {operation.kind} does not stop")
    core.staged = None
    record = decide(core, operation, halted(core))
    effects.take_state(core, record)
    activity.interrupt(core)
    core.note(LogCode.STOPPED, STOP_NUMBERS[reason], core.reservoir.calculated_nl, slot=operation.slot)
    core.emit("stopped", reason)
    core.evaluate()
    return view(core, record)


def system_stop(core: PumpCore, *, tripped: bool = False) -> None:
    """The pump halts itself: by its dose governor, or because an update is being written (domain.md 4, F12)."""
    operation = pump_operation(core, SYSTEM_SLOT, OperationKind.STOP, bytes(DIGEST_SIZE))
    record = decide(core, operation, halted(core, tripped=tripped))
    effects.take_state(core, record)
    activity.interrupt(core)
    if tripped:
        core.note(LogCode.DELIVERY_WITHHELD, 0, core.governor.windows(core.now_ms).dose_24h_ng, slot=SYSTEM_SLOT)
        core.emit(LogCode.DELIVERY_WITHHELD)
    else:
        core.note(LogCode.STOPPED, 0, core.reservoir.calculated_nl, slot=SYSTEM_SLOT)
        core.emit("stopped", "updating")
        core.evaluate()

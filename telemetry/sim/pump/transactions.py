"""Commands on the pump that change therapy: check, stage, commit, resume, stop; each once, each with one record.

Everything here raises before anything is written, or writes exactly one commit record and then acts on it. A
``PowerCut`` out of a write leaves the RAM side worthless: boot the device, the record decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import (
    AlarmKind,
    LogCode,
    OperationKind,
    Program,
    PumpMode,
    RefusalReason,
    StopReason,
    Verdict,
    Warn,
)
from telemetry.sim.pump import records
from telemetry.sim.pump.ledger import (
    DIGEST_SIZE,
    SHORT_DIGEST_SIZE,
    Classification,
    CommitRecord,
    Operation,
    OperationRecord,
    Standing,
    check_slot,
    operation_counter,
)
from telemetry.sim.pump.limits import Derived, check_program

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

REASON_NUMBERS = {reason: number for number, reason in enumerate(RefusalReason, start=1)}
STOP_NUMBERS = {reason: number for number, reason in enumerate(StopReason, start=1)}
_PREVIOUS_SIZE = 8
_WORD = (1 << 32) - 1
_LONG = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class InForce:
    """The program side of a commit record."""

    bank: int
    program_sequence: int
    image_digest: bytes
    bank_digest: bytes
    reservoir_generation: int
    reference_dose_ng: int
    calculated: int
    running: bool
    safe: bool = False


def in_force(core: PumpCore, *, running: bool | None = None) -> InForce:
    """What is in force now, with delivery commanded or not."""
    active = need_active(core)
    return InForce(
        bank=active.bank,
        program_sequence=active.program_sequence,
        image_digest=active.image_digest,
        bank_digest=active.bank_digest,
        reservoir_generation=active.reservoir_generation,
        reference_dose_ng=active.reference_dose_ng,
        calculated=core.reservoir.calculated,
        running=core.running if running is None else running,
        safe=core.safe,
    )


def need_active(core: PumpCore) -> CommitRecord:
    """The record in force; the pump always has one once it was made."""
    if core.active is None:
        raise UsageError("the pump was never programmed; make it with PumpDevice(...)")
    return core.active


# --- the ledger ------------------------------------------------------------------------------------------------------


def view(core: PumpCore, record: CommitRecord) -> OperationRecord:
    """A commit record as the ledger's answer."""
    return OperationRecord(
        slot=record.slot,
        op_id=record.op_id,
        kind=record.kind,
        verdict=record.verdict,
        reason=record.reason,
        program_sequence=record.program_sequence,
        program_digest=record.image_digest[:SHORT_DIGEST_SIZE],
        effective_ms=record.mono_ms,
        record_sequence=record.sequence,
        last_operation_counter=core.ledger.last_counter(record.slot),
    )


def query(core: PumpCore, slot: int, op_id: bytes) -> OperationRecord:
    """The verdict on one operation: APPLIED, REFUSED, NEVER (certain) or FORGOTTEN (nobody can know).

    Drops what is staged: an operation reported as never applied can no longer happen (INV-23).
    """
    check_slot(slot)
    core.staged = None
    counter = operation_counter(op_id)
    record = core.ledger.find(slot, counter)
    if record is not None and record.op_id == op_id:
        return view(core, record)
    last = core.ledger.last_counter(slot)
    # A counter whose record names another operation was decided for that one: this one never was.
    never = record is not None or counter > last
    active = need_active(core)
    return OperationRecord(
        slot=slot,
        op_id=op_id,
        kind=None,
        verdict=Verdict.NEVER if never else Verdict.FORGOTTEN,
        reason=None,
        program_sequence=active.program_sequence,
        program_digest=active.image_digest[:SHORT_DIGEST_SIZE],
        effective_ms=core.now_ms,
        record_sequence=0,
        last_operation_counter=last,
    )


def classify(core: PumpCore, operation: Operation) -> Classification:
    """What an arriving operation is to the ledger."""
    standing, record = core.ledger.standing(operation)
    return Classification(standing, None if record is None else view(core, record))


def admit(core: PumpCore, operation: Operation, *, even_when_full: bool = False) -> OperationRecord | None:
    """The stored verdict of a known operation, None for a new one that may proceed.

    Raises ``Refused``: ``operation_conflict``, ``operation_forgotten``, ``ledger_full``.
    """
    found = classify(core, operation)
    if found.standing is Standing.KNOWN:
        return found.record
    if found.standing is Standing.CONFLICT:
        raise Refused(
            RefusalReason.OPERATION_CONFLICT,
            f"operation {operation.op_id.hex()}: its counter {operation.counter} was decided for another content; "
            "take a new counter",
            field="counter",
            value=operation.counter,
        )
    if found.standing is Standing.FORGOTTEN:
        raise Refused(
            RefusalReason.OPERATION_FORGOTTEN,
            f"operation {operation.op_id.hex()}: counter {operation.counter} is not above the last one "
            f"({core.ledger.last_counter(operation.slot)}) and no longer in the ledger; read the log",
            field="counter",
            value=operation.counter,
            limit=core.ledger.last_counter(operation.slot),
        )
    if core.ledger.full and not even_when_full:
        raise Refused(
            RefusalReason.LEDGER_FULL,
            f"ledger: full of {core.ledger.unacknowledged} operations whose owners have not acknowledged the verdict",
            field="unacknowledged",
            value=core.ledger.unacknowledged,
        )
    return None


def decide(
    core: PumpCore,
    operation: Operation,
    force: InForce,
    *,
    verdict: Verdict = Verdict.APPLIED,
    reason: RefusalReason | None = None,
) -> CommitRecord:
    """Write the one record that is the decision; raises ``PowerCut`` where power goes."""
    newest = core.ledger.newest()
    if (newest and newest.sequence >= _WORD) or force.program_sequence > _WORD:
        raise Refused(RefusalReason.LEDGER_FULL, "the pump's commit counter is at its end; the pump must be replaced")
    stroking = force.running and force.calculated > 0 and not core.ended
    record = CommitRecord(
        sequence=newest.sequence + 1 if newest else 1,
        kind=operation.kind,
        slot=operation.slot,
        op_id=operation.op_id,
        operation_digest=operation.digest,
        verdict=verdict,
        reason=reason,
        bank=force.bank,
        program_sequence=force.program_sequence,
        image_digest=force.image_digest,
        bank_digest=force.bank_digest,
        reservoir_generation=force.reservoir_generation,
        running=force.running,
        safe=force.safe,
        still_since_ms=None if stroking else core.now_ms if core.still_since_ms is None else core.still_since_ms,
        reference_dose_ng=force.reference_dose_ng,
        calculated=force.calculated,
        acknowledged_through=core.ledger.acknowledged_through(operation.slot),
        previous=records.digest_of(records.pack_commit(newest))[:_PREVIOUS_SIZE] if newest else bytes(_PREVIOUS_SIZE),
        boot_epoch=core.boot_epoch,
        mono_ms=core.now_ms,
    )
    page = core.ledger.page_for_next()
    core.memory.write_commit(page, record)
    core.ledger.records[page] = record
    core.active = record
    return record


def record_refusal(core: PumpCore, operation: Operation, reason: RefusalReason) -> OperationRecord:
    """Book that this operation was refused, so that it can never be applied; a known one keeps its verdict.

    Raises ``Refused`` when it cannot be booked (``ledger_full``, ``operation_conflict``, ``operation_forgotten``);
    a QUERY then still answers truly.
    """
    known = admit(core, operation)
    if known is not None:
        return known
    core.staged = None
    record = decide(core, operation, in_force(core), verdict=Verdict.REFUSED, reason=reason)
    core.note(LogCode.COMMIT_REFUSED, REASON_NUMBERS[reason], operation.counter, slot=operation.slot)
    return view(core, record)


# --- program ---------------------------------------------------------------------------------------------------------


def check(core: PumpCore, program: Program, *, at_bench: bool = False) -> Derived:
    """Derived numbers and warnings of a program; raises ``Refused`` naming the rule it breaks."""
    _refuse_if_ended(core)
    if core.limits is None:
        raise Refused(
            RefusalReason.MEMORY_UNRELIABLE,
            "limits: both copies of the limits record are damaged; the pump accepts no new program",
        )
    derived = check_program(program, core.limits, core.situation(), at_bench=at_bench)
    _refuse_if_empty(core)
    return derived


def _refuse_if_ended(core: PumpCore) -> None:
    if core.ended:
        raise Refused(RefusalReason.END_OF_SERVICE, "the pump has reached its end of service and never delivers again")


def _refuse_if_empty(core: PumpCore) -> None:
    if core.reservoir.calculated == 0:
        raise Refused(
            RefusalReason.RESERVOIR_EMPTY,
            "reservoir_nl: 0 by the pump's own books; refill it first",
            field="reservoir_nl",
            value=0,
            limit=1,
        )


def stage(core: PumpCore, program: Program, digest: bytes) -> Program:
    """Write the inactive bank, read it back from the medium and return what stands there.

    Raises ``UsageError`` for a digest that is no SHA-256 or a number too wide for the bank, ``Refused``
    (``memory_unreliable``) when the read-back differs.
    """
    if len(digest) != DIGEST_SIZE:
        raise UsageError(f"digest: {len(digest)} bytes, needs {DIGEST_SIZE}")
    for name, most in (
        ("rate_nl_per_day", _WORD),
        ("concentration_ng_per_ml", _WORD),
        ("reservoir_generation", _WORD),
        ("dose_ng_per_day", _LONG),
    ):
        value = getattr(program, name)
        if not 0 <= value <= most:
            raise UsageError(f"{name}: {value} is outside 0 to {most}")
    core.staged = None
    bank = 1 - need_active(core).bank
    bank_digest = core.memory.write_bank(bank, program, digest)
    core.staged = (program, digest, bank_digest)
    return _staged_program(core, digest)[0]


def _staged_program(core: PumpCore, digest: bytes) -> tuple[Program, bytes]:
    if core.staged is None:
        raise Refused(RefusalReason.NO_PROPOSAL, "no program is staged; stage it and read it back first")
    program, staged_digest, bank_digest = core.staged
    if staged_digest != digest:
        raise Refused(RefusalReason.IMAGE_DIGEST_MISMATCH, "digest: the staged program is another one; stage it again")
    stands = core.memory.read_bank(1 - need_active(core).bank, bank_digest)
    if stands is None or stands != (program, digest):
        core.staged = None
        raise Refused(
            RefusalReason.MEMORY_UNRELIABLE, "program bank: what was written does not read back; stage it again"
        )
    return stands[0], bank_digest


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


def commit(core: PumpCore, operation: Operation, accepted: tuple[Warn, ...]) -> OperationRecord:
    """Make the staged program the truth, once; evaluates limits, binding and warnings again."""
    known = admit(core, operation)
    if known is not None:
        return known
    if operation.kind is not OperationKind.PROGRAM:
        raise UsageError(f"kind: {operation.kind} is not committed; call resume or stop")
    program, _ = _staged_program(core, operation.digest)
    derived = check(core, program)
    refuse_unaccepted(derived.warnings, accepted)
    return apply_program(core, operation)


def apply_program(
    core: PumpCore, operation: Operation, *, calculated: int | None = None, running: bool = True
) -> OperationRecord:
    """Switch to the staged bank by one record, then run what that bank holds (INV-32).

    ``calculated`` sets the pump's own volume in the same record (a refill).
    """
    program, bank_digest = _staged_program(core, operation.digest)
    active = need_active(core)
    therapy = program.mode is PumpMode.SIMPLE_CONTINUOUS
    force = InForce(
        bank=1 - active.bank,
        program_sequence=active.program_sequence + 1,
        image_digest=operation.digest,
        bank_digest=bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=program.dose_ng_per_day if therapy else active.reference_dose_ng,
        calculated=core.reservoir.calculated if calculated is None else calculated,
        running=running,
    )
    record = decide(core, operation, force)
    if program.reservoir_generation != core.reservoir_generation:
        core.memory.write_binding(program.drug, program.concentration_ng_per_ml, program.reservoir_generation)
    take_program(core, record, program)
    core.reservoir.calculated = force.calculated
    core.note(LogCode.PROGRAM_COMMITTED, record.program_sequence, program.rate_nl_per_day, slot=operation.slot)
    core.emit("program_committed", str(record.program_sequence))
    dealt_with(core)
    return view(core, record)


def take_program(core: PumpCore, record: CommitRecord, program: Program) -> None:
    """Run a program that stands in its bank."""
    core.program = program
    core.drug = program.drug
    core.concentration_ng_per_ml = program.concentration_ng_per_ml
    core.reservoir_generation = program.reservoir_generation
    core.running, core.safe, core.staged = record.running, record.safe, None


def dealt_with(core: PumpCore) -> None:
    """Somebody has decided on therapy: end the alarms that asked for it, then look at the state anew."""
    core.evaluate_flow()
    if core.running:
        core.alarms.release(AlarmKind.THERAPY_STOPPED, core.now_ms)
        core.alarms.release(AlarmKind.STOPPED_PUMP, core.now_ms)
    if core.limits is not None and core.safe_basal_nl_per_day is not None:
        core.alarms.set_condition(AlarmKind.MEMORY_ERROR, present=False, now_ms=core.now_ms)
    core.evaluate()


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
    return check(core, core.program)


def resume(
    core: PumpCore,
    operation: Operation,
    program_sequence: int,
    program_digest: bytes,
    accepted: tuple[Warn, ...],
) -> OperationRecord:
    """Deliver the committed program again, once."""
    known = admit(core, operation)
    if known is not None:
        return known
    if operation.kind is not OperationKind.RESUME:
        raise UsageError(f"kind: {operation.kind} does not resume")
    derived = check_resume(core, program_sequence, program_digest)
    refuse_unaccepted(derived.warnings, accepted)
    core.staged = None
    record = decide(core, operation, in_force(core, running=True))
    core.running = True
    core.note(LogCode.RESUMED, record.program_sequence, core.program.rate_nl_per_day, slot=operation.slot)
    core.emit("resumed")
    dealt_with(core)
    return view(core, record)


def stop(core: PumpCore, operation: Operation, reason: StopReason) -> OperationRecord:
    """Stop delivery now; applied also when it is stopped already and when the ledger is full."""
    known = admit(core, operation, even_when_full=True)
    if known is not None:
        return known
    if operation.kind is not OperationKind.STOP:
        raise UsageError(f"kind: {operation.kind} does not stop")
    core.staged = None
    record = decide(core, operation, in_force(core, running=False))
    core.running = False
    core.note(LogCode.STOPPED, STOP_NUMBERS[reason], core.reservoir.calculated_nl, slot=operation.slot)
    core.emit("stopped", reason)
    core.evaluate()
    return view(core, record)

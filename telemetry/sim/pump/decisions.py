"""The ledger's side of every command: is it known, may it proceed, and the one record that decides it.

A ``PowerCut`` out of ``decide`` leaves the RAM side worthless: boot the device, the record decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import LogCode, RefusalReason, Verdict
from telemetry.sim.pump import records
from telemetry.sim.pump.ledger import (
    COUNTER_SIZE,
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

if TYPE_CHECKING:
    from telemetry.model import OperationKind
    from telemetry.sim.pump.core import PumpCore

REASON_NUMBERS = {reason: number for number, reason in enumerate(RefusalReason, start=1)}
_PREVIOUS_SIZE = 8
_WORD = (1 << 32) - 1
NO_ORDER = bytes(DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class InForce:
    """The program side of a commit record, and the state of delivery after it."""

    bank: int
    program_sequence: int
    image_digest: bytes
    bank_digest: bytes
    reservoir_generation: int
    reference_dose_ng: int
    calculated: int
    running: bool
    plan_started_ms: int
    bridge_left: int
    safe: bool = False
    shelf: bool = False
    tripped: bool = False
    halted_ms: int | None = None
    order_digest: bytes = NO_ORDER


def in_force(core: PumpCore, *, order_digest: bytes = NO_ORDER) -> InForce:
    """What is in force now, unchanged."""
    active = need_active(core)
    return InForce(
        bank=active.bank,
        program_sequence=active.program_sequence,
        image_digest=active.image_digest,
        bank_digest=active.bank_digest,
        reservoir_generation=active.reservoir_generation,
        reference_dose_ng=active.reference_dose_ng,
        calculated=core.reservoir.calculated,
        running=core.running,
        plan_started_ms=core.plan_started_ms,
        bridge_left=core.bridge_to_give,
        safe=core.safe,
        shelf=core.shelf,
        tripped=core.tripped,
        halted_ms=core.halted_ms,
        order_digest=order_digest,
    )


def halted(core: PumpCore, *, tripped: bool = False) -> InForce:
    """What is in force now, with delivery halted since now or, when it was already, since then."""
    since_ms = core.now_ms if core.halted_ms is None else core.halted_ms
    return replace(in_force(core), running=False, halted_ms=since_ms, tripped=tripped or core.tripped)


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
        order_digest=force.order_digest,
        reservoir_generation=force.reservoir_generation,
        running=force.running,
        safe=force.safe,
        shelf=force.shelf,
        tripped=force.tripped,
        halted_ms=force.halted_ms,
        plan_started_ms=force.plan_started_ms,
        bridge_left=force.bridge_left,
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


def pump_operation(core: PumpCore, slot: int, kind: OperationKind, digest: bytes) -> Operation:
    """An operation of the pump's own or of the bench; its id is its counter, there is nobody to confuse it with."""
    counter = core.ledger.last_counter(slot) + 1
    op_id = counter.to_bytes(COUNTER_SIZE, "little") + bytes(COUNTER_SIZE)
    return Operation(slot=slot, counter=counter, op_id=op_id, kind=kind, digest=digest)

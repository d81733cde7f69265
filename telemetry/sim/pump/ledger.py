"""The operation ledger: what became of every operation, so that each happens once or is honestly unknown.

A decided operation is one commit record on the medium, which is program switch and ledger entry in one
(trust.md 5.3, 5.5). This module says what an operation is and what may be forgotten; ``memory.py`` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telemetry.model import OperationKind, RefusalReason, Verdict

OP_ID_SIZE = 16
COUNTER_SIZE = 8
DIGEST_SIZE = 32
SHORT_DIGEST_SIZE = 8
BENCH_SLOT = 255
"""The slot under which the bench (no wire) books; programmers see its commits as a changed base."""
SYSTEM_SLOT = 254
"""The slot under which the pump itself books what it had to decide after a memory fault."""
LARGEST_SLOT = 16
LEDGER_CAPACITY = 64
"""Decided operations kept until acknowledged (trust.md 5.3: at least 64)."""
SPARE_RECORDS = 48
"""Room beyond the capacity: a STOP is booked even when the ledger is full, and pinned records stay."""
RECORD_PAGES = LEDGER_CAPACITY + SPARE_RECORDS


def operation_counter(op_id: bytes) -> int:
    """The counter in an operation id: its first 8 bytes, little-endian (trust.md 5.3: ``op_ctr 8 | random 8``)."""
    return int.from_bytes(op_id[:COUNTER_SIZE], "little")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its owner names it. ``digest``: SHA-256 of what it would apply.

    Raises ``UsageError`` for a slot that does not exist, and an id, counter or digest that do not fit.
    """

    slot: int
    counter: int
    op_id: bytes
    kind: OperationKind
    digest: bytes

    def __post_init__(self) -> None:
        check_slot(self.slot)
        if len(self.op_id) != OP_ID_SIZE:
            raise UsageError(f"op_id: {len(self.op_id)} bytes, needs {OP_ID_SIZE}")
        if len(self.digest) != DIGEST_SIZE:
            raise UsageError(f"digest: {len(self.digest)} bytes, needs {DIGEST_SIZE}")
        if self.counter != operation_counter(self.op_id):
            raise UsageError(
                f"counter: {self.counter} is not the one in op_id ({operation_counter(self.op_id)}, its first "
                f"{COUNTER_SIZE} bytes, little-endian)"
            )


def check_slot(slot: int) -> None:
    """Raises ``UsageError`` for a slot that does not exist."""
    if not 0 <= slot <= LARGEST_SLOT and slot not in {BENCH_SLOT, SYSTEM_SLOT}:
        raise UsageError(f"slot: {slot} is none of 0 to {LARGEST_SLOT}, {SYSTEM_SLOT} (pump), {BENCH_SLOT} (bench)")


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """What the ledger says of one operation; ``kind`` is None and ``record_sequence`` 0 when it has no record.

    ``program_sequence`` and ``program_digest`` (8 bytes) name the program in force after it; ``effective_ms`` is
    pump time. ``last_operation_counter`` is its slot's at the time of asking.
    """

    slot: int
    op_id: bytes
    kind: OperationKind | None
    verdict: Verdict
    reason: RefusalReason | None
    program_sequence: int
    program_digest: bytes
    effective_ms: int
    record_sequence: int
    last_operation_counter: int


class Standing(StrEnum):
    """What an arriving operation is to the ledger (trust.md 5.3)."""

    NEW = "new"
    KNOWN = "known"
    CONFLICT = "conflict"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Classification:
    """The standing of an operation, with its record when it is KNOWN."""

    standing: Standing
    record: OperationRecord | None = None


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """One record of the commit ring: decision, program in force and delivery state after it.

    ``running`` says whether delivery was commanded afterwards, ``halted_ms`` since when it was not, and
    ``still_since_ms`` since when no stroke was made; ``tripped``: the dose governor stopped it. ``plan_started_ms``
    is what the program's own time counts from, ``bridge_left`` what of its bridge is still to be given.
    ``calculated`` and ``bridge_left`` are volumes in nl / 86 400 000; ``reference_dose_ng`` is the dose per day that
    the next change is measured against. ``order_digest`` names the order page of what is no program (zeros: none).
    """

    sequence: int
    kind: OperationKind
    slot: int
    op_id: bytes
    operation_digest: bytes
    verdict: Verdict
    reason: RefusalReason | None
    bank: int
    program_sequence: int
    image_digest: bytes
    bank_digest: bytes
    order_digest: bytes
    reservoir_generation: int
    running: bool
    safe: bool
    shelf: bool
    tripped: bool
    still_since_ms: int | None
    halted_ms: int | None
    plan_started_ms: int
    bridge_left: int
    reference_dose_ng: int
    calculated: int
    acknowledged_through: int
    previous: bytes
    boot_epoch: int
    mono_ms: int

    @property
    def counter(self) -> int:
        """The operation's counter within its slot."""
        return operation_counter(self.op_id)


class Ledger:
    """The commit records that the pump still has, by page; decides what an operation is and which page is next."""

    def __init__(self, records: dict[int, CommitRecord] | None = None) -> None:
        self.records: dict[int, CommitRecord] = dict(records or {})
        self._acknowledged: dict[int, int] = {}
        for record in self.records.values():
            self.acknowledge_through(record.slot, record.acknowledged_through)

    def __iter__(self) -> Iterator[CommitRecord]:
        return iter(self.records.values())

    def newest(self, records: Iterable[CommitRecord] | None = None) -> CommitRecord | None:
        """The record with the highest sequence number."""
        return max(self.records.values() if records is None else records, default=None, key=lambda r: r.sequence)

    def find(self, slot: int, counter: int) -> CommitRecord | None:
        """The record of one slot's counter."""
        return next((r for r in self if r.slot == slot and r.counter == counter), None)

    def last_counter(self, slot: int) -> int:
        """The highest operation counter this slot ever had decided; 0 before the first."""
        return max((record.counter for record in self if record.slot == slot), default=0)

    def acknowledge_through(self, slot: int, counter: int) -> None:
        """The owner has seen every verdict up to this counter; never goes back."""
        self._acknowledged[slot] = max(counter, self._acknowledged.get(slot, 0))

    def acknowledged_through(self, slot: int) -> int:
        """Up to which counter this slot's owner has seen the verdicts."""
        return self._acknowledged.get(slot, 0)

    def acknowledged(self, record: CommitRecord) -> bool:
        """Whether its owner has seen this verdict (bench and pump see their own at once)."""
        return record.slot > LARGEST_SLOT or record.counter <= self.acknowledged_through(record.slot)

    @property
    def unacknowledged(self) -> int:
        """Decided operations whose owner has not yet acknowledged them."""
        return sum(not self.acknowledged(record) for record in self)

    @property
    def full(self) -> bool:
        """Whether new work must wait for acknowledgements."""
        return self.unacknowledged >= LEDGER_CAPACITY

    def standing(self, operation: Operation) -> tuple[Standing, CommitRecord | None]:
        """Whether it is new, decided already, in conflict with a decided one, or forgotten."""
        record = self.find(operation.slot, operation.counter)
        if record is None:
            known = operation.counter <= self.last_counter(operation.slot)
            return (Standing.FORGOTTEN if known else Standing.NEW), None
        same = record.op_id == operation.op_id and record.operation_digest == operation.digest
        if same and record.kind is operation.kind:
            return Standing.KNOWN, record
        return Standing.CONFLICT, None

    def page_for_next(self) -> int:
        """Where the next record goes: an empty page, else the oldest acknowledged one, else the oldest.

        Never the newest of a slot (its counter would be lost, and a forgotten operation reported as never seen) or of
        a bank (the record in force is one of them).
        """
        for page in range(RECORD_PAGES):
            if page not in self.records:
                return page
        pinned = self._pinned()
        loose = [(page, record) for page, record in self.records.items() if record.sequence not in pinned]
        page, _ = min(loose, key=lambda pair: (not self.acknowledged(pair[1]), pair[1].sequence))
        return page

    def _pinned(self) -> set[int]:
        banks: dict[int, int] = {}
        slots: dict[int, int] = {}
        for record in sorted(self, key=lambda r: r.sequence):
            banks[record.bank] = slots[record.slot] = record.sequence  # counters of a slot rise with the sequence
        return {*banks.values(), *slots.values()}

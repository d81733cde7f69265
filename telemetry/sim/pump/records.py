"""How the pump's records lie on its own medium: fixed layouts, each closed by a check value.

Nothing of the wire: an image arrives as an order and a digest (``orders.py``). Integers are little-endian. The check is
CRC-32 (any single-bit flip shows); a bank is named by the SHA-256 of its bytes besides.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from telemetry.model import Drug, LogCode, LogRecord, OperationKind, PumpLimits, RefusalReason, Verdict
from telemetry.sim.pump import orders
from telemetry.sim.pump.ledger import CommitRecord
from telemetry.sim.pump.orders import Order, member_of, number_of, pack_order, parse_order
from telemetry.therapy import Program, RefillOrder

NONE_64 = (1 << 64) - 1
CHECK = struct.Struct("<I")


def sealed(body: bytes) -> bytes:
    """The body with its check value."""
    return body + CHECK.pack(zlib.crc32(body))


def opened(data: bytes, size: int) -> bytes | None:
    """The body of a record of that size whose check holds, else None: torn, flipped or never written."""
    if len(data) != size + CHECK.size:
        return None
    body = data[:size]
    return body if CHECK.unpack(data[size:])[0] == zlib.crc32(body) else None


def _instant(instant_ms: int | None) -> int:
    return NONE_64 if instant_ms is None else instant_ms


def _opt(number: int) -> int | None:
    return None if number == NONE_64 else number


def digest_of(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


DIGEST_SIZE = 32


def pack_bank(order: Order, image_digest: bytes) -> bytes:
    """One bank: an order and the digest of the image it came from."""
    return sealed(pack_order(order) + image_digest)


def parse_bank(data: bytes) -> tuple[Order, bytes] | None:
    """What a bank holds, or None when its check fails."""
    body = opened(data, len(data) - CHECK.size) if len(data) > DIGEST_SIZE + CHECK.size else None
    return None if body is None else (parse_order(body[:-DIGEST_SIZE]), body[-DIGEST_SIZE:])


def program_in(order: Order) -> Program | None:
    """The program that an order brings: itself, or the one that goes with a refill."""
    if isinstance(order, RefillOrder):
        return order.program
    return order if isinstance(order, Program) else None


_COMMIT = struct.Struct("<IBB16s32sBHBI32s32s32sIBBBBQQQQQQQ8sIQ")


def pack_commit(record: CommitRecord) -> bytes:
    """One commit record."""
    return sealed(
        _COMMIT.pack(
            record.sequence,
            number_of(record.kind),
            record.slot,
            record.op_id,
            record.operation_digest,
            number_of(record.verdict),
            0 if record.reason is None else number_of(record.reason),
            record.bank,
            record.program_sequence,
            record.image_digest,
            record.bank_digest,
            record.order_digest,
            record.reservoir_generation,
            record.running,
            record.safe,
            record.shelf,
            record.tripped,
            _instant(record.still_since_ms),
            _instant(record.halted_ms),
            record.plan_started_ms,
            record.bridge_left,
            record.reference_dose_ng,
            record.calculated,
            record.acknowledged_through,
            record.previous,
            record.boot_epoch,
            record.mono_ms,
        )
    )


def parse_commit(data: bytes) -> CommitRecord | None:
    """A commit record, or None when its check fails."""
    body = opened(data, _COMMIT.size)
    if body is None:
        return None
    (
        sequence,
        kind,
        slot,
        op_id,
        operation_digest,
        verdict,
        reason,
        bank,
        program_sequence,
        image_digest,
        bank_digest,
        order_digest,
        generation,
        running,
        safe,
        shelf,
        tripped,
        still_since,
        halted,
        plan_started,
        bridge_left,
        reference,
        calculated,
        acknowledged,
        previous,
        boot_epoch,
        mono,
    ) = _COMMIT.unpack(body)
    return CommitRecord(
        sequence=sequence,
        kind=member_of(OperationKind, kind),
        slot=slot,
        op_id=op_id,
        operation_digest=operation_digest,
        verdict=member_of(Verdict, verdict),
        reason=member_of(RefusalReason, reason) if reason else None,
        bank=bank,
        program_sequence=program_sequence,
        image_digest=image_digest,
        bank_digest=bank_digest,
        order_digest=order_digest,
        reservoir_generation=generation,
        running=bool(running),
        safe=bool(safe),
        shelf=bool(shelf),
        tripped=bool(tripped),
        still_since_ms=_opt(still_since),
        halted_ms=_opt(halted),
        plan_started_ms=plan_started,
        bridge_left=bridge_left,
        reference_dose_ng=reference,
        calculated=calculated,
        acknowledged_through=acknowledged,
        previous=previous,
        boot_epoch=boot_epoch,
        mono_ms=mono,
    )


def pack_limits(limits: PumpLimits) -> bytes:
    """The limits record."""
    return sealed(orders.pack_limits(limits))


def parse_limits(data: bytes) -> PumpLimits | None:
    """The limits, or None when the check fails."""
    body = opened(data, orders.LIMITS_SIZE)
    return None if body is None else orders.parse_limits(body)


_SAFE = struct.Struct("<4sI")
_SAFE_MAGIC = b"SAFE"


def pack_safe_basal(rate_nl_per_day: int) -> bytes:
    """The safe-basal record."""
    return sealed(_SAFE.pack(_SAFE_MAGIC, rate_nl_per_day))


def parse_safe_basal(data: bytes) -> int | None:
    """The safe basal rate in nl/day, or None when the check fails."""
    body = opened(data, _SAFE.size)
    return None if body is None else int(_SAFE.unpack(body)[1])


_BINDING = struct.Struct("<HIII")
Binding = tuple[Drug, int, int, int]


def pack_binding(drug: Drug, concentration_ng_per_ml: int, generation: int, filled_nl: int) -> bytes:
    """The reservoir binding: what is in it, the how-manieth filling, and how much it was filled to."""
    return sealed(_BINDING.pack(number_of(drug), concentration_ng_per_ml, generation, filled_nl))


def parse_binding(data: bytes) -> Binding | None:
    """Drug, concentration, generation and volume filled, or None when the check fails."""
    body = opened(data, _BINDING.size)
    if body is None:
        return None
    drug, concentration, generation, filled_nl = _BINDING.unpack(body)
    return member_of(Drug, drug), concentration, generation, filled_nl


_SETTINGS = struct.Struct("<4sI")
_SETTINGS_MAGIC = b"ALRM"


def pack_settings(disabled_bits: int) -> bytes:
    """Which alarms somebody has switched off, one bit each."""
    return sealed(_SETTINGS.pack(_SETTINGS_MAGIC, disabled_bits))


def parse_settings(data: bytes) -> int | None:
    """The alarms that are switched off, or None when the check fails."""
    body = opened(data, _SETTINGS.size)
    return None if body is None else int(_SETTINGS.unpack(body)[1])


_COUNTER = struct.Struct("<4sI")
_BOOT_MAGIC = b"BOOT"


def pack_boot(epoch: int) -> bytes:
    """The boot epoch."""
    return sealed(_COUNTER.pack(_BOOT_MAGIC, epoch))


def parse_boot(data: bytes) -> int | None:
    """The boot epoch, or None when the check fails."""
    body = opened(data, _COUNTER.size)
    return None if body is None else int(_COUNTER.unpack(body)[1])


_LOG = struct.Struct("<IIIHBHQ8s")
MS = 1_000


def pack_log(record: LogRecord, head: bytes) -> bytes:
    """One log record with the chain value after it."""
    return sealed(
        _LOG.pack(
            record.sequence,
            record.boot_epoch,
            record.at_ms // MS,
            number_of(record.code),
            record.slot,
            record.detail,
            record.value,
            head,
        )
    )


def parse_log(data: bytes) -> tuple[LogRecord, bytes] | None:
    """A log record and the chain value after it, or None when the check fails."""
    body = opened(data, _LOG.size)
    if body is None:
        return None
    sequence, epoch, at_s, code, slot, detail, value, head = _LOG.unpack(body)
    return LogRecord(sequence, epoch, at_s * MS, member_of(LogCode, code), slot, detail, value), head

"""How the pump's records lie on its own medium: fixed layouts, each closed by a check value.

Nothing of the wire: a program image arrives as a ``Program`` and a digest. Integers are little-endian. The check is
CRC-32 (any single-bit flip shows); a bank is named by the SHA-256 of its bytes besides.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import Enum
from typing import TypeVar

from telemetry.model import (
    Drug,
    LogCode,
    LogRecord,
    OperationKind,
    Program,
    PumpLimits,
    PumpMode,
    RefusalReason,
    Verdict,
)
from telemetry.sim.pump.ledger import CommitRecord

NONE_64 = (1 << 64) - 1
CHECK = struct.Struct("<I")
Member = TypeVar("Member", bound=Enum)


def sealed(body: bytes) -> bytes:
    """The body with its check value."""
    return body + CHECK.pack(zlib.crc32(body))


def opened(data: bytes, size: int) -> bytes | None:
    """The body of a record of that size whose check holds, else None: torn, flipped or never written."""
    if len(data) != size + CHECK.size:
        return None
    body = data[:size]
    return body if CHECK.unpack(data[size:])[0] == zlib.crc32(body) else None


def digest_of(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def _number(member: Enum) -> int:
    return list(type(member)).index(member) + 1


def _member(kind: type[Member], number: int) -> Member:
    return list(kind)[number - 1]


_PROGRAM = struct.Struct("<4sBHIIIQ")
_PROGRAM_MAGIC = b"PRG1"
DIGEST_SIZE = 32


def pack_program(program: Program) -> bytes:
    """A program in the pump's own encoding (what the bench's digest is taken over)."""
    return _PROGRAM.pack(
        _PROGRAM_MAGIC,
        _number(program.mode),
        _number(program.drug),
        program.concentration_ng_per_ml,
        program.reservoir_generation,
        program.rate_nl_per_day,
        program.dose_ng_per_day,
    )


def pack_bank(program: Program, image_digest: bytes) -> bytes:
    """One program bank: the program and the digest of the image it came from."""
    return sealed(pack_program(program) + image_digest)


def parse_bank(data: bytes) -> tuple[Program, bytes] | None:
    """What a bank holds, or None when its check fails."""
    body = opened(data, _PROGRAM.size + DIGEST_SIZE)
    if body is None:
        return None
    _, mode, drug, concentration, generation, rate, dose = _PROGRAM.unpack(body[: _PROGRAM.size])
    program = Program(
        mode=_member(PumpMode, mode),
        rate_nl_per_day=rate,
        dose_ng_per_day=dose,
        concentration_ng_per_ml=concentration,
        drug=_member(Drug, drug),
        reservoir_generation=generation,
    )
    return program, body[_PROGRAM.size :]


_COMMIT = struct.Struct("<IBB16s32sBHBI32s32sIBBQQQQ8sIQ")


def pack_commit(record: CommitRecord) -> bytes:
    """One commit record."""
    return sealed(
        _COMMIT.pack(
            record.sequence,
            _number(record.kind),
            record.slot,
            record.op_id,
            record.operation_digest,
            _number(record.verdict),
            0 if record.reason is None else _number(record.reason),
            record.bank,
            record.program_sequence,
            record.image_digest,
            record.bank_digest,
            record.reservoir_generation,
            record.running,
            record.safe,
            NONE_64 if record.still_since_ms is None else record.still_since_ms,
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
        generation,
        running,
        safe,
        still_since,
        reference,
        calculated,
        acknowledged,
        previous,
        boot_epoch,
        mono,
    ) = _COMMIT.unpack(body)
    return CommitRecord(
        sequence=sequence,
        kind=_member(OperationKind, kind),
        slot=slot,
        op_id=op_id,
        operation_digest=operation_digest,
        verdict=_member(Verdict, verdict),
        reason=_member(RefusalReason, reason) if reason else None,
        bank=bank,
        program_sequence=program_sequence,
        image_digest=image_digest,
        bank_digest=bank_digest,
        reservoir_generation=generation,
        running=bool(running),
        safe=bool(safe),
        still_since_ms=None if still_since == NONE_64 else still_since,
        reference_dose_ng=reference,
        calculated=calculated,
        acknowledged_through=acknowledged,
        previous=previous,
        boot_epoch=boot_epoch,
        mono_ms=mono,
    )


_LIMITS = struct.Struct("<IIIIQQQQII")


def pack_limits(limits: PumpLimits) -> bytes:
    """The limits record."""
    return sealed(
        _LIMITS.pack(
            limits.min_rate_nl_per_day,
            limits.max_rate_nl_per_day,
            limits.keep_alive_rate_nl_per_day,
            limits.low_reservoir_alarm_nl,
            limits.daily_dose_hard_min_ng,
            limits.daily_dose_hard_max_ng,
            limits.daily_dose_soft_min_ng,
            limits.daily_dose_soft_max_ng,
            limits.change_soft_ppm,
            limits.change_hard_ppm,
        )
    )


def parse_limits(data: bytes) -> PumpLimits | None:
    """The limits, or None when the check fails."""
    body = opened(data, _LIMITS.size)
    return None if body is None else PumpLimits(*_LIMITS.unpack(body))


_SAFE = struct.Struct("<4sI")
_SAFE_MAGIC = b"SAFE"


def pack_safe_basal(rate_nl_per_day: int) -> bytes:
    """The safe-basal record."""
    return sealed(_SAFE.pack(_SAFE_MAGIC, rate_nl_per_day))


def parse_safe_basal(data: bytes) -> int | None:
    """The safe basal rate in nl/day, or None when the check fails."""
    body = opened(data, _SAFE.size)
    return None if body is None else int(_SAFE.unpack(body)[1])


_BINDING = struct.Struct("<HII")


def pack_binding(drug: Drug, concentration_ng_per_ml: int, generation: int) -> bytes:
    """The reservoir binding: what is in it, and the how-manieth filling."""
    return sealed(_BINDING.pack(_number(drug), concentration_ng_per_ml, generation))


def parse_binding(data: bytes) -> tuple[Drug, int, int] | None:
    """Drug, concentration and generation, or None when the check fails."""
    body = opened(data, _BINDING.size)
    if body is None:
        return None
    drug, concentration, generation = _BINDING.unpack(body)
    return _member(Drug, drug), concentration, generation


_CHECKPOINT = struct.Struct("<IIQQII")


def pack_checkpoint(
    serial: int,
    commit_sequence: int,
    calculated: int,
    still_since_ms: int | None,
    latched_bits: int,
    alarm_sequence: int,
) -> bytes:
    """What continuous book-keeping had left on the medium when power went."""
    still = NONE_64 if still_since_ms is None else still_since_ms
    return sealed(_CHECKPOINT.pack(serial, commit_sequence, calculated, still, latched_bits, alarm_sequence))


def parse_checkpoint(data: bytes) -> tuple[int, int, int, int | None, int, int] | None:
    """Serial, commit sequence, calculated volume, still since, latched bits, alarm sequence; None: check fails."""
    body = opened(data, _CHECKPOINT.size)
    if body is None:
        return None
    serial, commit_sequence, calculated, still, bits, alarm_sequence = _CHECKPOINT.unpack(body)
    return serial, commit_sequence, calculated, None if still == NONE_64 else still, bits, alarm_sequence


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
            _number(record.code),
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
    return LogRecord(sequence, epoch, at_s * MS, _member(LogCode, code), slot, detail, value), head

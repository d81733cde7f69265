"""Write fixtures/vectors/ and fixtures/hostile/: the wire of ITP/1 as JSON that any language can run.

    python -m tools.vectors            write the files
    python -m tools.vectors --check    exit 1 when a committed file differs from what would be written

The Noise and handshake transcripts (noise.json, handshake.json) come from elsewhere and are left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from telemetry.model import (
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    Drug,
    LogCode,
    PumpMode,
    RefusalReason,
    Verdict,
    Warn,
)
from telemetry.protocol import codec, messages
from telemetry.protocol.fields import uint_limits
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import (
    BITMAPS,
    BY_NAME,
    CODES,
    HANDSHAKE,
    IMAGES,
    MAX_BODY,
    MESSAGES,
    RECORDS,
    FrameType,
    Kind,
    Plane,
    Status,
)
from tools import hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.protocol.wire import Field

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORD_FIELDS = {**RECORDS, **IMAGES, **HANDSHAKE}
Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


def record_class(name: str) -> type:
    """The dataclass of a record, image or handshake body."""
    return cast("type", getattr(messages, "".join(part.capitalize() for part in name.split("_"))))


def to_json(value: object) -> Json:
    """A field's value as the vectors write it: integers, hex for bytes, names for codes, lists for the rest."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return {name: to_json(getattr(value, name)) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


@dataclass
class Counting:
    """Bytes that count up, so that a field read from a wrong place or at a wrong width shows."""

    next_byte: int = 0x11

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, skipping 0x00 and 0xff."""
        taken = bytearray()
        while len(taken) < size:
            taken.append(self.next_byte)
            self.next_byte = self.next_byte % 0xFE + 1
        return bytes(taken)


def counting_value(field: Field, counting: Counting) -> object:
    """A value whose bytes count up, pressed into what the field allows."""
    if field.kind is Kind.UINT:
        low, high = uint_limits(field)
        value = int.from_bytes(counting.take(field.size), "little")
        return value if low <= value <= high else low + value % (high - low + 1)
    if field.kind is Kind.BOOL:
        return counting.take(1)[0] % 2 == 1
    if field.kind is Kind.CODE:
        members = list(CODES[field.table].values())
        return members[counting.take(1)[0] % len(members)]
    if field.kind is Kind.BITMAP:
        return tuple(BITMAPS[field.table].values())[::2]
    if field.kind is Kind.TEXT:
        return "".join(chr(0x41 + byte % 26) for byte in counting.take(field.size - 3))
    if field.kind is Kind.RECORDS:
        return tuple(
            record_class(field.table)(*(counting_value(inner, counting) for inner in RECORDS[field.table]))
            for _ in range(2)
        )
    return counting.take(field.size if field.kind is Kind.BYTES else 5)


def lowest_value(field: Field) -> object:
    """The least that the field can hold; ``None`` where that exists."""
    if field.kind is Kind.UINT:
        return None if field.none is not None else field.low
    if field.kind is Kind.CODE:
        return next(iter(CODES[field.table].values()))
    if field.kind in (Kind.BITMAP, Kind.RECORDS):
        return ()
    if field.kind is Kind.BYTES:
        return bytes(field.size)
    return {Kind.BOOL: False, Kind.TEXT: "", Kind.BLOB: b""}[field.kind]


def highest_value(field: Field) -> object:
    """The most that the field can hold."""
    if field.kind is Kind.UINT:
        return uint_limits(field)[1]
    if field.kind is Kind.BOOL:
        return True
    if field.kind is Kind.CODE:
        return list(CODES[field.table].values())[-1]
    if field.kind is Kind.BITMAP:
        return tuple(BITMAPS[field.table].values())
    if field.kind is Kind.TEXT:
        return "~" * field.size
    if field.kind is Kind.RECORDS:
        record = record_class(field.table)(*map(highest_value, RECORDS[field.table]))
        return (record,) * (field.high or 0)
    return b"\xff" * (field.size if field.kind is Kind.BYTES else field.high or 0)


WHY = {
    "counting": "every byte of the body is another one, as far as its field allows: shows a wrong offset or width",
    "lowest": "every field at its least; what may be absent is absent",
    "highest": "every field at its most; lists full, all bits set",
}


def samples(fields: tuple[Field, ...]) -> dict[str, list[object]]:
    """Values of every field, for each of the three kinds of vector."""
    counting = Counting()
    return {
        "counting": [counting_value(field, counting) for field in fields],
        "lowest": [lowest_value(field) for field in fields],
        "highest": [highest_value(field) for field in fields],
    }


_DIGEST8 = bytes.fromhex("0123456789abcdef")
_DIGEST32 = bytes(range(0x80, 0xA0))
_OP_ID = (41).to_bytes(8, "little") + bytes.fromhex("a1a2a3a4a5a6a7a8")

TYPICAL: tuple[tuple[messages.Message, str], ...] = (
    (
        messages.Status(
            mode=PumpMode.SIMPLE_CONTINUOUS,
            rate_nl_per_day=170_000,
            dose_ng_per_day=340_000,
            concentration_ng_per_ml=2_000_000,
            drug=Drug.BACLOFEN,
            reservoir_nl=40_000_000,
            reservoir_generation=1,
            battery_percent=100,
            replace_by_s=218_000_000,
            low_reservoir_at_s=19_313_000,
            alarms=(),
            program_sequence=1,
            program_digest=_DIGEST8,
            boot_epoch=1,
            now_s=86_400,
            clock_utc_s=1_795_305_600,
            stopped_since_s=None,
            alarm_sequence=3,
        ),
        "a stock pump: 40 ml of baclofen 2000 ug/ml at 0.170 ml/day, 340 ug/day",
    ),
    (
        messages.Status(
            mode=PumpMode.STOPPED,
            rate_nl_per_day=0,
            dose_ng_per_day=0,
            concentration_ng_per_ml=500_000,
            drug=Drug.BACLOFEN,
            reservoir_nl=1_999_999,
            reservoir_generation=7,
            battery_percent=9,
            replace_by_s=220_838_400,
            low_reservoir_at_s=None,
            alarms=(AlarmKind.LOW_RESERVOIR, AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.STOPPED_PUMP),
            program_sequence=12,
            program_digest=_DIGEST8,
            boot_epoch=4,
            now_s=200_000_000,
            clock_utc_s=1_995_305_600,
            stopped_since_s=199_800_000,
            alarm_sequence=65_535,
        ),
        "a stopped pump with three alarms; the alarm sequence is about to wrap to 0",
    ),
    (
        messages.SetRate(
            op_id=_OP_ID,
            acked_through=40,
            base_sequence=1,
            base_digest=_DIGEST8,
            drug=Drug.BACLOFEN,
            concentration_ng_per_ml=2_000_000,
            reservoir_generation=1,
            rate_nl_per_day=150_000,
            dose_ng_per_day=300_000,
        ),
        "0.150 ml/day of 2000 ug/ml is 300 ug/day; operation counter 41, everything up to 40 is resolved",
    ),
    (
        messages.Commit(_OP_ID, bytes(range(16)), _DIGEST32, (Warn.DAILY_DOSE_CHANGE, Warn.STARTS_DELIVERY)),
        "two warnings accepted by name: bits 0 and 3, 0x00000009",
    ),
    (
        messages.Staged(
            part=0,
            parts=1,
            image=codec.encode_record(
                "program_image",
                messages.ProgramImage(1, PumpMode.SIMPLE_CONTINUOUS, Drug.BACLOFEN, 2_000_000, 1, 150_000, 300_000),
            ),
            dose_24h_ng=300_000,
            volume_24h_nl=150_000,
            peak_nl_per_day=150_000,
            lowest_nl_per_day=150_000,
            change_ppm=117_648,
            empty_in_s=23_040_000,
            warnings=(),
            image_digest=_DIGEST32,
            token=bytes(range(16)),
            ttl_s=60,
            alarm_sequence=3,
        ),
        "read-back of 0.150 ml/day after 0.170: the daily dose moves by 40000/340000, rounded up to 117648 ppm",
    ),
    (
        messages.VerdictReport(_OP_ID, Verdict.APPLIED, None, 2, _DIGEST8, 90_000, 41, 3),
        "the operation of counter 41 is applied; reason 0 is none",
    ),
    (
        messages.VerdictReport(_OP_ID, Verdict.NEVER, None, 1, _DIGEST8, 0, 40, 3),
        "never seen and, from now on, fenced",
    ),
    (
        messages.Refusal(Status.LIMIT_HARD, 0x10, RefusalReason.RATE_BELOW_MINIMUM, 44_000, 48_000, (), 3),
        "22 ug/day at 500 ug/ml is 0.044 ml/day, under the pump's 0.048",
    ),
    (
        messages.Refusal(Status.UNSUPPORTED, 0x3F, RefusalReason.UNKNOWN_MESSAGE, 0, 0, (), 0),
        "answer to an opcode that the pump does not know",
    ),
    (
        messages.AlarmReport(
            (
                messages.AlarmRecord(
                    AlarmKind.LOW_RESERVOIR,
                    AlarmClass.NON_CRITICAL,
                    AlarmPriority.MEDIUM,
                    condition_present=True,
                    signal=AlarmSignal.SILENCED,
                    enabled=True,
                    since_s=21_888_000,
                    count=1,
                    silenced_until_s=21_974_400,
                ),
            ),
            4,
        ),
        "low reservoir since 253 d 8 h, silenced for a day",
    ),
    (
        messages.LogPage(1, 2, 0, (messages.LogEntry(2, 1, 90_000, LogCode.PROGRAM_COMMITTED, 2, 0, 150_000),), 3),
        "one record of two; nothing overwritten",
    ),
)


def _message_vector(name: str, message: messages.Message, why: str) -> Json:
    spec = BY_NAME[type(message).__name__]
    payload = codec.encode(message)
    fields: dict[str, Json] = {}
    for field in spec.fields:
        fields[field.name] = to_json(getattr(message, field.name))
    header: dict[str, Json] = {"opcode": spec.opcode, "version": spec.version}
    if spec.plane is Plane.ANSWER:
        header["status"] = to_json(getattr(message, "status", Status.OK))
        header["alarm_sequence"] = cast("int", getattr(message, "alarm_sequence"))  # noqa: B009 - answers have it
    return {
        "name": name,
        "why": why,
        "message": spec.name,
        "plane": str(spec.plane.value),
        "header": header,
        "fields": fields,
        "hex": payload.hex(),
        "padded_hex": None if spec.plane is Plane.TELEMETER else codec.pad(payload).hex(),
    }


def message_vectors() -> Iterator[Json]:
    """At least three vectors of every message."""
    for spec in MESSAGES:
        kind = getattr(messages, spec.name)
        for sample, values in samples(spec.fields).items():
            if not spec.fields and spec.plane is not Plane.ANSWER and sample == "highest":
                continue  # without field or alarm sequence it would repeat the one before
            extra: dict[str, object] = {}
            if spec.plane is Plane.ANSWER:
                extra["alarm_sequence"] = {"counting": 0x0201, "lowest": 0, "highest": 0xFFFF}[sample]
            if spec.name == "Refusal":
                extra["status"] = {"counting": Status.STATE, "lowest": Status.UNSUPPORTED, "highest": Status.MEMORY}[
                    sample
                ]
            named = dict(zip((field.name for field in spec.fields), values, strict=True))
            yield _message_vector(f"{spec.name}/{sample}", kind(**named, **extra), WHY[sample])
    for index, (message, why) in enumerate(TYPICAL):
        yield _message_vector(f"{type(message).__name__}/typical-{index}", message, why)


def record_vectors() -> Iterator[Json]:
    """Three vectors of every handshake body, image and record."""
    for name, fields in RECORD_FIELDS.items():
        for sample, values in samples(fields).items():
            obj = record_class(name)(*values)
            yield {
                "name": f"{name}/{sample}",
                "why": WHY[sample],
                "record": name,
                "fields": to_json(obj),
                "hex": codec.encode_record(cast("codec.RecordName", name), obj).hex(),
            }


def frame_vectors() -> Iterator[Json]:
    """A frame of each type, and bodies that try COBS: empty, zeros, no zero at all, runs around 254 bytes."""
    bodies = [
        (f"{kind.name.lower()}", kind, bytes(range(1, 9)), "each frame type with a body of eight bytes")
        for kind in FrameType
    ]
    bodies += [
        ("empty", FrameType.REQ, b"", "the shortest frame: 8 bytes"),
        ("zeros", FrameType.RSP, bytes(16), "COBS turns each zero into 01"),
        ("longest", FrameType.RSP, bytes(range(MAX_BODY)), "the longest frame: 256 bytes"),
        ("longest-ones", FrameType.RSP, b"\xff" * MAX_BODY, "the longest frame with the longest COBS form"),
        ("run", FrameType.RSP, b"\x01" * 247, "a run without zero of nearly one COBS block"),
    ]
    for name, kind, body, why in bodies:
        frame = encode_frame(Frame(kind, 0, body))
        yield {
            "name": name,
            "why": why,
            "type": kind.name,
            "type_code": int(kind),
            "body": body.hex(),
            "datagram": frame.hex(),
            "stream": encode_stream(frame).hex(),
        }


def files() -> dict[Path, str]:
    """Path to text of every file that this tool owns."""
    found = {
        FIXTURES / "vectors" / "messages.json": list(message_vectors()),
        FIXTURES / "vectors" / "records.json": list(record_vectors()),
        FIXTURES / "vectors" / "frames.json": list(frame_vectors()),
        FIXTURES / "hostile" / "frames.json": hostile.frames(),
        FIXTURES / "hostile" / "streams.json": hostile.streams(),
        FIXTURES / "hostile" / "payloads.json": hostile.payloads(),
        FIXTURES / "hostile" / "records.json": hostile.records(),
        FIXTURES / "hostile" / "padding.json": hostile.paddings(),
    }
    return {path: json.dumps(vectors, indent=1) + "\n" for path, vectors in found.items()}


def main() -> int:
    """Write the files or compare them; the exit status is 1 when a comparison fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(FIXTURES.parent)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

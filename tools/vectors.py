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
from tools.typical import TYPICAL, TYPICAL_RECORDS

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
            for _ in range(min(2, field.high or 0))
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
    """Three vectors of every handshake body, image and record, and images as a clinic would stage them."""
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
    for record, obj, name, why in TYPICAL_RECORDS:
        yield {
            "name": f"{record}/{name.replace(' ', '-')}",
            "why": why,
            "record": record,
            "fields": to_json(obj),
            "hex": codec.encode_record(record, obj).hex(),
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

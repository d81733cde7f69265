"""Bytes explained: offset, field, value, unit, meaning and what is wrong, for frames, messages, records and images.

The strict decoders say *whether* something is right; this says what stands where, beyond the first fault as well. Its
verdict is theirs: an explanation has a fault exactly where they refuse. Total: any bytes have an explanation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING
from zlib import crc32

from telemetry.errors import BadFrame, BadPayload
from telemetry.protocol.codec import decode, unpad
from telemetry.protocol.frame import FrameFault, decode_frame, decode_segment
from telemetry.protocol.messages import Staged
from telemetry.protocol.records import decode_record
from telemetry.protocol.session import counter_of
from telemetry.protocol.wire import (
    ANSWER_HEADER,
    BY_OPCODE,
    CODES,
    COUNTER,
    FRAME_CRC,
    FRAME_HEADER,
    HANDSHAKE,
    IMAGES,
    PROTOCOL_MAJOR,
    RECORDS,
    REQUEST_HEADER,
    TAG_SIZE,
    FrameType,
    Plane,
)
from telemetry.traffic.explaining_advice import FRAME_ADVICE, FRAME_TYPES, PAYLOAD_ADVICE
from telemetry.traffic.explaining_orders import Orders
from telemetry.traffic.explaining_rows import Part, Row, in_bulk, trailing, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.protocol.messages import Message
    from telemetry.traffic.explaining_orders import WholeImage

_LAYOUTS = {**RECORDS, **IMAGES, **HANDSHAKE}
_BODIES = {
    FrameType.PROBE: "probe",
    FrameType.BEACON: "beacon",
    FrameType.HELLO: "hello",
    FrameType.ACCEPT: "accept",
}
_PLANES = {FrameType.REQ: Plane.REQUEST, FrameType.RSP: Plane.ANSWER}
_OVERHEAD = FRAME_HEADER.size + FRAME_CRC.size


@dataclass(frozen=True, slots=True)
class Explanation:
    """What bytes are. ``faults`` as the strict decoders name them, none where all is right; ``advice``: what to do."""

    kind: str
    name: str
    parts: tuple[Part, ...]
    faults: tuple[str, ...]
    verdict: str
    advice: tuple[str, ...] = ()
    message: Message | None = field(default=None, compare=False)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def as_json(self) -> dict[str, object]:
        """As one object."""
        return {
            "kind": self.kind,
            "name": self.name,
            "whole": self.whole,
            "faults": list(self.faults),
            "verdict": self.verdict,
            "advice": list(self.advice),
            "parts": [part.as_json() for part in self.parts],
        }


def explain_bytes(data: bytes) -> Explanation:
    """Bytes that are neither frame nor message, as what they look most like."""
    looks_framed = len(data) >= FRAME_HEADER.size and data[0] >> 4 == PROTOCOL_MAJOR
    fits = looks_framed and FRAME_HEADER.unpack_from(data)[2] == len(data) - _OVERHEAD
    spec = BY_OPCODE.get(data[0]) if data else None
    if spec is not None and not fits and len(data) > 1 and data[1] == spec.version:
        return explain_message(data)
    return explain_frame(data)


def explain_segment(data: bytes) -> Explanation:
    """What stands between two zeros of a byte stream."""
    try:
        frame = decode_segment(data)
    except BadFrame:
        rows = (in_bulk(0, data, "segment", "cobs: the bytes between two zeros are no COBS"),)
        part = Part("segment", "between two zeros of a byte stream", data, rows)
        return Explanation("frame", "no frame", (part,), ("cobs",), "no frame: cobs", (FRAME_ADVICE[FrameFault.COBS],))
    return explain_frame(frame)


def explain_frame(data: bytes, plaintext: bytes | None = None, image: WholeImage | None = None) -> Explanation:
    """A frame as a datagram, and what was sealed in it where ``plaintext`` (padded) is known.

    ``image`` is that of the order which the message makes whole, where earlier messages say which it is.
    """
    try:
        frame = decode_frame(data)
    except BadFrame as error:
        fault = str(error).partition(":")[0]
        advice = FRAME_ADVICE[FrameFault(fault)]
        parts = (Part("frame", "", data, tuple(_frame_rows(data, fault))),)
        return Explanation("frame", "no frame", parts, (fault,), f"no frame: {_why_no_frame(data, fault)}", (advice,))
    about = FRAME_TYPES[frame.type]
    outer = Part(f"frame {frame.type.name}", about, data, tuple(_frame_rows(data, "")))
    if frame.type in _BODIES:
        inner = explain_record(_BODIES[frame.type], frame.body)
        return _joined("frame", frame.type.name, outer, inner)
    if frame.type not in _PLANES:
        return _joined("frame", frame.type.name, outer, explain_message(frame.body, Plane.TELEMETER, image=image))
    sealed = Part("sealed body", "counter, ciphertext, tag", frame.body, tuple(_sealed_rows(frame.body)))
    if counter_of(frame.body) is None:
        detail = f"a sealed body of {len(frame.body)} bytes; right are 36 to 244, in steps of 16"
        advice = PAYLOAD_ADVICE["sealed"]
        return Explanation("frame", frame.type.name, (outer, sealed), ("sealed",), f"sealed: {detail}", (advice,))
    if plaintext is None:
        said = (
            "the frame is whole, its CRC is right; what is sealed in it only the holders of the session's keys can tell"
        )
        return Explanation("frame", frame.type.name, (outer, sealed), (), said, (PAYLOAD_ADVICE["shut"],))
    inner = explain_message(plaintext, _PLANES[frame.type], padded=True, image=image)
    return _joined("frame", frame.type.name, outer, inner, sealed)


def _joined(kind: str, name: str, outer: Part, inner: Explanation, *between: Part) -> Explanation:
    said = f"the frame is whole, its CRC is right; {inner.verdict}"
    parts = (outer, *between, *inner.parts)
    return Explanation(kind, name, parts, inner.faults, said, inner.advice, inner.message)


def _why_no_frame(data: bytes, fault: str) -> str:
    details = {
        FrameFault.TOO_SHORT: f"{len(data)} bytes, a frame has at least {_OVERHEAD}",
        FrameFault.TOO_LONG: f"{len(data)} bytes, a frame has at most 256",
        FrameFault.CRC: "its CRC is wrong",
    }
    return f"{fault}: {details[FrameFault(fault)]}" if FrameFault(fault) in details else fault


def _frame_rows(data: bytes, fault: str) -> Iterator[Row]:
    if len(data) < _OVERHEAD:
        yield Row(0, data, "bytes", data.hex(), fault=_why_no_frame(data, fault))
        return
    first, flags, length = FRAME_HEADER.unpack_from(data)
    known = {kind.value: kind.name for kind in FrameType}
    name = known.get(first & 15, f"type {first & 15}")
    first_fault = {
        "version": f"version: protocol major {first >> 4}, known is {PROTOCOL_MAJOR}",
        "type": f"type: {first & 15} is no frame type",
    }
    yield Row(0, data[:1], "version_type", f"{first >> 4}, {name}", fault=first_fault.get(fault, ""))
    yield Row(1, data[1:2], "flags", f"0x{flags:02x}", fault="flags: none is known" if fault == "flags" else "")
    body = data[FRAME_HEADER.size : -FRAME_CRC.size]
    wrong = f"length: the body has {len(body)} bytes" if length != len(body) and fault in {"length", "crc"} else ""
    yield Row(2, data[2:4], "length", str(length), "bytes of body", fault=wrong)
    if body:
        yield in_bulk(FRAME_HEADER.size, body, "body")
    stated = FRAME_CRC.unpack_from(data, len(data) - FRAME_CRC.size)[0]
    right = crc32(data[: -FRAME_CRC.size])
    crc_fault = "" if stated == right else f"crc: 0x{stated:08x}; right would be 0x{right:08x}"
    at = len(data) - FRAME_CRC.size
    yield Row(at, data[at:], "crc", f"0x{stated:08x}", meaning="" if crc_fault else "right", fault=crc_fault)


def _sealed_rows(body: bytes) -> Iterator[Row]:
    if len(body) >= COUNTER.size:
        yield Row(0, body[: COUNTER.size], "counter", str(COUNTER.unpack_from(body)[0]))
    if counter_of(body) is not None:
        inner = body[COUNTER.size : -TAG_SIZE]
        yield in_bulk(COUNTER.size, inner, "ciphertext")
        yield Row(len(body) - TAG_SIZE, body[-TAG_SIZE:], "tag", body[-TAG_SIZE:].hex())


def explain_record(name: str, data: bytes) -> Explanation:
    """A handshake body, image or record of the wire table by its name."""
    rows: list[Row] = []
    end = walk(_LAYOUTS[name], data, 0, len(data), rows)
    if end is not None and end < len(data):
        rows.append(trailing(data, end, len(data)))
    try:
        decode_record(name, data)
    except BadPayload as error:
        return _refused("record", name, (Part(name, "", data, tuple(rows)),), error)
    part = Part(name, "", data, tuple(rows))
    return Explanation("record", name, (part,), (), f"{name} is right in every field")


def explain_message(
    data: bytes, plane: Plane | None = None, *, padded: bool = False, image: WholeImage | None = None
) -> Explanation:
    """A message with its header, and with its padding when ``padded``; the image of an order where it is whole."""
    spec = BY_OPCODE.get(data[0]) if data else None
    title = "message" if spec is None else f"message {spec.name}"
    rows: list[Row] = []
    _message_rows(data, plane, padded, rows)
    part = Part(title, spec.about if spec is not None else "", data, tuple(rows))
    name = spec.name if spec is not None else "no message"
    try:
        message = decode(unpad(data) if padded else data, plane=plane)
    except BadPayload as error:
        return _refused("message", name, (part,), error)
    whole = image or Orders().follow(message)
    said, parts = f"{name} is right in every field", [part]
    if whole is None or whole.name is None:
        return Explanation("message", name, (part,), (), said, message=message)
    order = explain_record(whole.name, whole.data)
    parts += [Part(one.title, "the image of the order", one.data, one.rows) for one in order.parts]
    if isinstance(message, Staged) and sha256(whole.data).digest() != message.image_digest:
        said += ", but its digest is not that of the image"
    if not order.whole:
        said += f"; its image is not: {order.verdict}"
    return Explanation("message", name, tuple(parts), (), said, order.advice, message)


def _refused(kind: str, name: str, parts: tuple[Part, ...], error: BadPayload) -> Explanation:
    fault = error.reason.partition(":")[0]
    told = tuple(
        dict.fromkeys([fault, *(row.fault.partition(":")[0] for part in parts for row in part.rows if row.fault)])
    )
    where = f" ({error.field})" if error.field else ""
    advice = tuple(PAYLOAD_ADVICE[one] for one in told if one in PAYLOAD_ADVICE)
    return Explanation(kind, name, parts, told, f"{name} is refused{where}: {error.reason}", advice)


def _message_rows(data: bytes, plane: Plane | None, padded: bool, rows: list[Row]) -> None:  # noqa: FBT001 - internal
    if not data:
        rows.append(Row(0, b"", "opcode", "", fault=f"{'padding' if padded else 'empty'}: no byte at all"))
        return
    spec = BY_OPCODE.get(data[0])
    opcode_fault = ""
    if spec is None:
        opcode_fault = f"unknown_opcode: 0x{data[0]:02x} is no message of ITP/1"
    elif plane is not None and spec.plane is not plane:
        opcode_fault = f"wrong_plane: not a message of the {plane.value} plane"
    rows.append(Row(0, data[:1], "opcode", f"0x{data[0]:02x}", meaning=spec.name if spec else "", fault=opcode_fault))
    answer = spec.plane is Plane.ANSWER if spec is not None else padded and data[0] >= 0x80
    size = ANSWER_HEADER.size if answer else REQUEST_HEADER.size
    if len(data) < size:
        fault = f"{'padding' if padded else 'truncated'}: {len(data)} bytes, the header has {size}"
        rows.append(Row(1, data[1:], "header", data[1:].hex(), fault=fault))
        return
    version_fault = f"version: known is {spec.version}" if spec is not None and data[1] != spec.version else ""
    rows.append(Row(1, data[1:2], "version", str(data[1]), fault=version_fault))
    if answer:
        rows.append(_status_row(data, spec.name if spec is not None else ""))
        rows.append(Row(3, data[3:5], "alarm_sequence", str(int.from_bytes(data[3:5], "little"))))
    declared = int.from_bytes(data[size - 2 : size], "little")
    stated = size + declared
    rows.append(
        Row(size - 2, data[size - 2 : size], "length", str(declared), "bytes", fault=_length(data, stated, padded))
    )
    stop = min(stated, len(data))
    if spec is not None:
        end = walk(spec.fields, data, size, stop, rows)
        if end is not None and end < stop:
            rows.append(trailing(data, end, stop))
    if stop < len(data) and padded:
        rest = data[stop:]
        fault = "padding: it holds a byte other than zero" if any(rest) else ""
        rows.append(Row(stop, rest, "padding", f"{len(rest)} bytes", fault=fault))
    elif stop < len(data):
        rows.append(Row(stop, data[stop:], "behind", data[stop:].hex()))


def _length(data: bytes, stated: int, padded: bool) -> str:  # noqa: FBT001 - internal
    if not padded:
        return "" if stated == len(data) else f"length: {len(data) - stated:+d} bytes are there"
    try:
        unpad(data)
    except BadPayload as error:
        return str(error.reason) if not any(data[stated:]) or stated > len(data) else ""
    return ""


def _status_row(data: bytes, name: str) -> Row:
    status = CODES["status"].get(data[2])
    value = f"0x{data[2]:02x}" if status is None else str(status.value)
    fault = ""
    if name == "Refusal" and status is None:
        fault = f"unknown_code: 0x{data[2]:02x} is no code of the table 'status'"
    elif name and (value == "ok") == (name == "Refusal"):
        fault = (
            "status: a Refusal is never OK" if name == "Refusal" else "status: not OK, and only a Refusal may say so"
        )
    return Row(2, data[2:3], "status", value, fault=fault, table="status")

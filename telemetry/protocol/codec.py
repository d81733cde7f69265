"""Message to bytes and back: strict, total, canonical, fast.

``decode`` takes any bytes and gives a message or raises ``BadPayload``; ``encode`` gives the one byte string that a
message has. Layouts of fixed length pass through one ``struct.Struct`` made from the wire table; those with a BLOB
or RECORDS field through construct (``layouts.py``, loaded then and only then).

Payloads here are unpadded; ``pad`` and ``unpad`` stand between them and the secure channel.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, NoReturn, cast

from telemetry.errors import BadPayload, UsageError
from telemetry.protocol import messages
from telemetry.protocol.fields import PayloadFault
from telemetry.protocol.records import Layout, RecordName, decode_record, encode_record
from telemetry.protocol.wire import (
    ANSWER_HEADER,
    BY_NAME,
    BY_OPCODE,
    CODES,
    MAX_PLAINTEXT,
    PADDING_BLOCK,
    REQUEST_HEADER,
    Plane,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.messages import Message
    from telemetry.protocol.wire import MessageSpec

__all__ = ["RecordName", "decode", "decode_record", "encode", "encode_record", "pad", "unpad"]

_STATUSES = {code: cast("Status", member) for code, member in CODES["status"].items()}
_STATUS_CODES = {member: code for code, member in _STATUSES.items()}
_ANSWER_BIT = 0x80
"""Opcodes with this bit are answers (docs/protocol.md, Messages); ``unpad`` needs no table to find the length."""


class _Plain(Layout):
    """A message under a request's header: opcode, version, length."""

    HEADER = REQUEST_HEADER

    def __init__(self, spec: MessageSpec) -> None:
        kind = cast("Callable[..., object]", getattr(messages, spec.name))
        super().__init__(spec.name, kind, spec.fields, self.HEADER.format, checked=False)
        self.spec = spec
        self.head = (spec.opcode, spec.version)
        self.size = -1 if self.fixed is None else self.fixed.size
        self.length = self.size - self.header_size
        self._start = REQUEST_HEADER.pack(*self.head, self.length) if self.fixed else b""

    def decode(self, payload: bytes) -> Message:
        if self.fixed is None:
            return cast("Message", self.kind(*self._parse(payload)))
        if len(payload) != self.size or not payload.startswith(self._start):
            self.refuse_shape(payload)
        _, _, _, *raw = self.fixed.unpack(payload)
        return cast("Message", self.kind(*self.read_or_refuse(raw, self.offsets)))

    def encode(self, message: Message) -> bytes:
        raw = self.write_or_refuse(message)
        if self.fixed is None:
            body = self._build(raw)
            return REQUEST_HEADER.pack(*self.head, len(body)) + body
        try:
            return self.fixed.pack(*self.head, self.length, *raw)
        except struct.error:
            self.refuse_width(message)

    def _parse(self, payload: bytes) -> list[object]:
        from telemetry.protocol import layouts  # noqa: PLC0415 - construct is loaded only when it is needed

        self.check_header(payload)
        offsets = self.measure(payload)
        raw = layouts.body_layout(self.name).parse(payload[self.header_size :])
        return self.read_or_refuse([raw[name] for name in self.names], offsets)

    def _build(self, raw: list[object]) -> bytes:
        from telemetry.protocol import layouts  # noqa: PLC0415 - as above

        return layouts.body_layout(self.name).build(dict(zip(self.names, raw, strict=True)))

    def check_header(self, payload: bytes) -> None:
        """Raise ``BadPayload`` for the first thing wrong with the header."""
        if len(payload) < self.header_size:
            raise self.bad(
                PayloadFault.TRUNCATED, f"{len(payload)} bytes, the header has {self.header_size}", "header", 0
            )
        if payload[1] != self.spec.version:
            raise self.bad(
                PayloadFault.VERSION, f"message version {payload[1]}, known is {self.spec.version}", "version", 1
            )
        at = self.header_size - 2
        declared, present = int.from_bytes(payload[at : at + 2], "little"), len(payload) - self.header_size
        if declared != present:
            raise self.bad(PayloadFault.LENGTH, f"{declared} bytes declared, {present} after the header", "length", at)

    def refuse_shape(self, payload: bytes) -> NoReturn:
        """Name what is wrong with a payload that has not the size or the header of this layout."""
        self.check_header(payload)
        self.measure(payload)
        raise AssertionError(f"{self.name}: nothing is wrong with the payload")  # pragma: no cover - unreachable


class _Answer(_Plain):
    """A message under an answer's header: opcode, version, status, alarm sequence, length.

    Only ``Refusal`` has a status that is not OK, and then as its first attribute.
    """

    HEADER = ANSWER_HEADER

    def __init__(self, spec: MessageSpec) -> None:
        super().__init__(spec)
        self._refusal = spec.name == "Refusal"

    def decode(self, payload: bytes) -> Message:
        if self.fixed is None:
            raw = self._parse(payload)
            _, _, status, alarm_sequence, _ = ANSWER_HEADER.unpack_from(payload)
        else:
            if len(payload) != self.size:
                self.refuse_shape(payload)
            opcode, version, status, alarm_sequence, length, *values = self.fixed.unpack(payload)
            if (opcode, version) != self.head or length != self.length:
                self.refuse_shape(payload)
            raw = self.read_or_refuse(values, self.offsets)
        if self._refusal:
            return cast("Message", self.kind(self._refusal_status(status), *raw, alarm_sequence))
        if status != _STATUS_CODES[Status.OK]:
            raise self.bad(PayloadFault.STATUS, f"0x{status:02x} is not OK, and only a Refusal may say so", "status", 2)
        return cast("Message", self.kind(*raw, alarm_sequence))

    def _refusal_status(self, code: int) -> Status:
        status = _STATUSES.get(code)
        if status is None:
            raise self.bad(PayloadFault.UNKNOWN_CODE, f"0x{code:02x} is no code of the table 'status'", "status", 2)
        if status is Status.OK:
            raise self.bad(PayloadFault.STATUS, "a Refusal is never OK", "status", 2)
        return status

    def encode(self, message: Message) -> bytes:
        raw = self.write_or_refuse(message)
        alarm_sequence: object = getattr(message, "alarm_sequence")  # noqa: B009 - not every Message has it, answers do
        if type(alarm_sequence) is not int or not 0 <= alarm_sequence <= 0xFFFF:
            raise UsageError(f"{self.name}.alarm_sequence: {alarm_sequence!r} is no integer of 0 to 65535")
        status = _STATUS_CODES[Status.OK] if not self._refusal else self._status_code(message)
        if self.fixed is None:
            body = self._build(raw)
            return ANSWER_HEADER.pack(*self.head, status, alarm_sequence, len(body)) + body
        try:
            return self.fixed.pack(*self.head, status, alarm_sequence, self.length, *raw)
        except struct.error:
            self.refuse_width(message)

    def _status_code(self, message: Message) -> int:
        status = cast("messages.Refusal", message).status
        if type(status) is not Status or status is Status.OK:
            raise UsageError(f"{self.name}.status: {status!r} is no Status other than OK")
        return _STATUS_CODES[status]


@cache
def _by_opcode(opcode: int) -> _Plain:
    spec = BY_OPCODE.get(opcode)
    if spec is None:
        raise BadPayload(
            f"{PayloadFault.UNKNOWN_OPCODE.value}: 0x{opcode:02x} is no message of ITP/1",
            field="opcode",
            offset=0,
            opcode=opcode,
        )
    return _Answer(spec) if spec.plane is Plane.ANSWER else _Plain(spec)


_BY_CLASS: dict[type, _Plain] = {}


def _find(kind: type) -> _Plain:
    spec = BY_NAME.get(kind.__name__)
    if spec is None or getattr(messages, spec.name) is not kind:
        raise UsageError(f"message: {kind.__name__} is no message of ITP/1; messages are in telemetry.protocol")
    layout = _BY_CLASS[kind] = _by_opcode(spec.opcode)
    return layout


def encode(message: Message) -> bytes:
    """The unpadded payload of one message: header and body, at most ``MAX_PLAINTEXT`` bytes.

    Raises ``UsageError`` naming message, field, value and limit for anything that does not fit its field.
    """
    return (_BY_CLASS.get(type(message)) or _find(type(message))).encode(message)


def decode(payload: bytes, *, plane: Plane | None = None) -> Message:
    """The message that is exactly ``payload`` (unpadded); of ``plane`` when given.

    Total: raises ``BadPayload`` (message, field, offset, reason) for every other byte string, and nothing else.
    """
    if not payload:
        raise BadPayload(f"{PayloadFault.EMPTY.value}: a payload has at least its header", offset=0)
    layout = _by_opcode(payload[0])
    if plane is not None and layout.spec.plane is not plane:
        raise layout.bad(PayloadFault.WRONG_PLANE, f"not a message of the {plane.value} plane", "opcode", 0)
    return layout.decode(payload)


def pad(plaintext: bytes) -> bytes:
    """Zero-pad an encoded message to a multiple of 16 bytes, so that its size tells less (trust.md 4.3).

    Raises ``UsageError`` for an empty plaintext or one over ``MAX_PLAINTEXT``.
    """
    if not 0 < len(plaintext) <= MAX_PLAINTEXT:
        raise UsageError(f"plaintext: {len(plaintext)} bytes are outside 1 to {MAX_PLAINTEXT}")
    return plaintext + bytes(-len(plaintext) % PADDING_BLOCK)


def unpad(padded: bytes) -> bytes:
    """The payload inside ``padded``, whose length its own header states; the rest must be the fewest zeros.

    Raises ``BadPayload``. Needs no message table, so that an unknown opcode can still be answered.
    """
    if not padded or len(padded) % PADDING_BLOCK or len(padded) > MAX_PLAINTEXT:
        raise _bad_padding(
            f"{len(padded)} bytes are no multiple of {PADDING_BLOCK} from {PADDING_BLOCK} to {MAX_PLAINTEXT}", 0
        )
    header_size = ANSWER_HEADER.size if padded[0] & _ANSWER_BIT else REQUEST_HEADER.size
    end = header_size + int.from_bytes(padded[header_size - 2 : header_size], "little")
    if not end <= len(padded) < end + PADDING_BLOCK:
        raise _bad_padding(f"a message of {end} bytes is not padded to {len(padded)}", header_size - 2)
    if padded.count(0, end) != len(padded) - end:
        raise _bad_padding("the padding holds a byte other than zero", end)
    return padded[:end]


def _bad_padding(detail: str, offset: int) -> BadPayload:
    return BadPayload(f"{PayloadFault.PADDING.value}: {detail}", field="padding", offset=offset)

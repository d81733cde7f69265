"""The sealed session: frame bodies to plaintext and back, one key per direction, each counter sealed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, SecurityError
from telemetry.protocol.codec import decode, encode, pad, unpad
from telemetry.protocol.primitives import Aead
from telemetry.protocol.wire import COUNTER, MAX_PLAINTEXT, PADDING_BLOCK, TAG_SIZE, FrameType, Plane

if TYPE_CHECKING:
    from telemetry.protocol.frame import Frame
    from telemetry.protocol.messages import Message
    from telemetry.protocol.noise import TransportKeys

_HEAD = COUNTER.size
_SHORTEST = _HEAD + PADDING_BLOCK + TAG_SIZE
_LONGEST = _HEAD + MAX_PLAINTEXT + TAG_SIZE
_UNPACK_COUNTER = COUNTER.unpack_from


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of one session of a test device, for a capture that others can open (protocol.md, Decided 10)."""

    handshake_hash: bytes
    to_pump: bytes
    from_pump: bytes


class SealedSession:
    """The cipher of one session at one end. ``pump`` says which end this is.

    ``seal`` raises ``SecurityError`` for a counter that was sealed before: one plaintext per key and counter, ever
    (trust.md 4.5, INV-11).
    """

    __slots__ = ("_from_pump", "_next", "_receive", "_send", "_to_pump", "handshake_hash")

    def __init__(self, keys: TransportKeys, *, pump: bool) -> None:
        self._to_pump = Aead(keys.initiator_to_responder)
        self._from_pump = Aead(keys.responder_to_initiator)
        self._send, self._receive = (self._from_pump, self._to_pump) if pump else (self._to_pump, self._from_pump)
        self._next = 0
        self.handshake_hash = keys.handshake_hash

    def seal(self, counter: int, message: Message) -> bytes:
        """The frame body of one message: counter, then the sealed and padded payload.

        Raises ``UsageError`` for a message that cannot be encoded; the counter is then still free.
        """
        if counter < self._next:
            raise SecurityError(f"counter {counter} was sealed before in this session; the next is {self._next}")
        plaintext = pad(encode(message))
        self._next = counter + 1
        return COUNTER.pack(counter) + self._send.seal(counter, plaintext)

    def open(self, counter: int, body: bytes) -> bytes | None:
        """The padded plaintext of a received frame body, or None when its tag does not fit."""
        return self._receive.open(counter, body[_HEAD:])

    def peek(self, frame: Frame) -> Message | None:
        """Open a REQ or RSP of this session on trial, whichever end sent it; changes nothing, raises nothing."""
        cipher = {FrameType.REQ: self._to_pump, FrameType.RSP: self._from_pump}.get(frame.type)
        counter = counter_of(frame.body)
        if cipher is None or counter is None:
            return None
        padded = cipher.open(counter, frame.body[_HEAD:])
        if padded is None:
            return None
        message = read_message(padded, Plane.REQUEST if frame.type is FrameType.REQ else Plane.ANSWER)
        return None if isinstance(message, BadPayload) else message

    def export(self) -> SessionKeys:
        """The keys in the clear; only the channels call it, and only for a test device."""
        return SessionKeys(self.handshake_hash, self._to_pump.key.reveal(), self._from_pump.key.reveal())


def counter_of(body: bytes) -> int | None:
    """The counter of a REQ or RSP body, or None when the body has not the shape of one."""
    size = len(body)
    if not _SHORTEST <= size <= _LONGEST or (size - _HEAD) % PADDING_BLOCK:
        return None
    counter: int = _UNPACK_COUNTER(body)[0]
    return counter


def read_message(padded: bytes, plane: Plane) -> Message | BadPayload:
    """The message in an authentic plaintext, or the ``BadPayload`` that says why there is none."""
    try:
        return decode(unpad(padded), plane=plane)
    except BadPayload as error:
        return error

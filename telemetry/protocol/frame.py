"""Frames, and frames out of a stream of bytes: bounded, counting, back in step at the next zero.

A frame is ``version and type 1 | flags 1 | length 2 | body | CRC-32 4`` (trust.md 4.2). On datagram links one
datagram is one frame. On byte streams a frame is COBS-encoded between two zeros: the one before it ends whatever
noise came before, so that a damaged delimiter costs no frame but the damaged one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from zlib import crc32

import corncobs

from telemetry.errors import BadFrame, UsageError
from telemetry.protocol.wire import FRAME_CRC, FRAME_HEADER, MAX_BODY, MAX_FRAME, PROTOCOL_MAJOR, FrameType

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SEGMENT = MAX_FRAME + 2
"""Longest COBS form of a frame: one byte more for every 254 begun (docs/protocol.md, Framing)."""
GARBAGE_SAMPLE = 64
"""Bytes of garbage that are kept to be looked at."""

_OVERHEAD = FRAME_HEADER.size + FRAME_CRC.size
_FIRST_BYTES = {PROTOCOL_MAJOR << 4 | kind: kind for kind in FrameType}


class FrameFault(StrEnum):
    """Why bytes are no frame; tested in this order, so that noise (up to CRC) is told apart from strangers."""

    COBS = "cobs"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CRC = "crc"
    VERSION = "version"
    TYPE = "type"
    FLAGS = "flags"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``body`` at most 248 bytes, sealed as it came."""

    type: FrameType
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes between two delimiters that are no frame: ``length`` of them, the first of them in ``data``."""

    reason: FrameFault
    data: bytes
    length: int


def encode_frame(frame: Frame) -> bytes:
    """One frame as a datagram; raises ``UsageError`` for flags other than 0, no known type or a body over 248 bytes."""
    if type(frame.type) is not FrameType:
        raise UsageError(f"frame type: {frame.type!r} is no FrameType")
    if frame.flags != 0:
        raise UsageError(f"frame flags: {frame.flags} is not 0, the only value that ITP/1 defines")
    if len(frame.body) > MAX_BODY:
        raise UsageError(f"frame body: {len(frame.body)} bytes, at most {MAX_BODY} fit")
    data = FRAME_HEADER.pack(PROTOCOL_MAJOR << 4 | frame.type, 0, len(frame.body)) + frame.body
    return data + FRAME_CRC.pack(crc32(data))


def _parse(data: bytes) -> Frame | FrameFault:
    size = len(data)
    if size < _OVERHEAD:
        return FrameFault.TOO_SHORT
    if size > MAX_FRAME:
        return FrameFault.TOO_LONG
    content = data[: -FRAME_CRC.size]
    if FRAME_CRC.unpack_from(data, len(content))[0] != crc32(content):
        return FrameFault.CRC
    first, flags, length = FRAME_HEADER.unpack_from(content)
    kind = _FIRST_BYTES.get(first)
    if kind is None:
        return FrameFault.VERSION if first >> 4 != PROTOCOL_MAJOR else FrameFault.TYPE
    if flags:
        return FrameFault.FLAGS
    if length != size - _OVERHEAD:
        return FrameFault.LENGTH
    return Frame(kind, flags, content[FRAME_HEADER.size :])


def decode_frame(data: bytes) -> Frame:
    """The frame that is exactly this datagram; raises ``BadFrame`` naming the fault for any other bytes."""
    found = _parse(data)
    if isinstance(found, Frame):
        return found
    raise BadFrame(f"{found.value}: {len(data)} bytes beginning {data[:8].hex() or 'nowhere'} are no frame of ITP/1")


def encode_stream(frame_bytes: bytes) -> bytes:
    """A frame's bytes as they go into a stream: zero, COBS, zero.

    Raises ``UsageError`` for more bytes than a frame has.
    """
    if not 0 < len(frame_bytes) <= MAX_FRAME:
        raise UsageError(f"frame: {len(frame_bytes)} bytes are outside 1 to {MAX_FRAME}")
    return b"\0%b\0" % corncobs.encode(frame_bytes)


def decode_segment(segment: bytes) -> bytes:
    """The bytes that stand COBS-encoded between two zeros of a stream; raises ``BadFrame`` for what is no COBS."""
    try:
        decoded: bytes = corncobs.decode(segment)
    except corncobs.DecodeError:
        raise BadFrame(f"{FrameFault.COBS.value}: {len(segment)} bytes are no COBS") from None
    return decoded


class StreamDecoder:
    """Bytes in, in chunks of any size; frames and typed garbage out, the same for every chunking.

    Holds at most ``MAX_SEGMENT`` bytes between calls. What lies between two zeros is a frame or garbage; nothing
    lies between adjacent zeros. Never raises.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames given out."""
        self.discarded_bytes = 0
        """Bytes given out as garbage, delimiters not counted."""
        self._faults: Counter[FrameFault] = Counter()
        self._held = b""
        self._lost = 0

    @property
    def garbage(self) -> Mapping[FrameFault, int]:
        """How many times each fault was met."""
        return dict(self._faults)

    @property
    def pending_bytes(self) -> int:
        """Bytes since the last delimiter, which are neither frame nor garbage yet."""
        return len(self._held) + self._lost

    def feed(self, data: bytes) -> list[Frame | Garbage]:
        """What the bytes complete, in order."""
        first, *others = data.split(b"\0")
        if not others:
            self._hold(first)
            return []
        found = [self._end_of_held(first)] if first or self.pending_bytes else []
        self._hold(others.pop())
        found += [self._judge(segment) for segment in others if segment]
        return found

    def _hold(self, part: bytes) -> None:
        room = MAX_SEGMENT - len(self._held)
        self._held += part[:room]
        self._lost += max(0, len(part) - room)

    def _end_of_held(self, part: bytes) -> Frame | Garbage:
        segment, lost = self._held + part, self._lost
        self._held, self._lost = b"", 0
        return self._judge(segment) if not lost else self._discard(FrameFault.TOO_LONG, segment, len(segment) + lost)

    def _judge(self, segment: bytes) -> Frame | Garbage:
        if len(segment) > MAX_SEGMENT:
            return self._discard(FrameFault.TOO_LONG, segment, len(segment))
        try:
            found = _parse(corncobs.decode(segment))
        except corncobs.DecodeError:
            found = FrameFault.COBS
        if isinstance(found, Frame):
            self.frames += 1
            return found
        return self._discard(found, segment, len(segment))

    def _discard(self, fault: FrameFault, segment: bytes, length: int) -> Garbage:
        self._faults[fault] += 1
        self.discarded_bytes += length
        return Garbage(fault, segment[:GARBAGE_SAMPLE], length)

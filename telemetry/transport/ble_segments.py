"""Frames in segments, as GATT values carry them: sans-IO, bounded, back in step at the next first segment.

A segment is ``header 1 | content 1..``. Header: bit 7 first, bit 6 last, bits 5 to 0 a sequence number modulo 64 that
runs on from frame to frame, in each direction of a connection from 0. All segments of a frame but its last are of
one length. Normative: docs/protocol.md, Bluetooth LE.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.transport.ble_gatt import ATT_OVERHEAD, MAX_MTU, MIN_MTU

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 0x80
LAST = 0x40
SEQUENCES = 64
"""A frame has at most 14 segments (256 bytes at 19 a segment), so that a number never stands for two of one frame."""
LONGEST_FRAME = 256
"""Bytes of the longest frame that is cut or put together; equal to the wire table's by test."""


class SegmentFault(StrEnum):
    """Why a segment, or the frame that it belongs to, is of no use."""

    TRUNCATED = "truncated"
    """Shorter than a segment can be, or of another length than the segments of its frame before it."""
    INTERLEAVED = "interleaved"
    """A frame began before the last segment of the one before: its end was lost, or two frames are mixed."""
    REPEATED = "repeated"
    """The very segment that came before; it is ignored and its frame goes on."""
    MISSING = "missing"
    """One or more segments before this one did not come."""
    OUT_OF_ORDER = "out_of_order"
    """The segment belongs before one that has come."""
    NO_FIRST = "no_first"
    """No frame has begun: its first segment did not come."""
    TOO_LONG = "too_long"
    """The frame would have more than 256 bytes."""


@dataclass(frozen=True, slots=True)
class BadSegment:
    """A fault, the segment that showed it, and what there was of the frame lost by it (``b""`` if none was begun)."""

    reason: SegmentFault
    segment: bytes
    lost: bytes


class Segmenter:
    """Cuts the frames of one direction of one connection; keeps the sequence number between them.

    ``mtu`` is the ATT MTU in bytes, 23 to 517 (``UsageError`` outside); it may be set anew between frames.
    """

    def __init__(self, mtu: int) -> None:
        self._sequence = 0
        self.mtu = mtu

    @property
    def mtu(self) -> int:
        """ATT MTU in bytes; a segment has at most 3 less."""
        return self._mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise UsageError(f"ATT MTU: {mtu} bytes are outside {MIN_MTU} to {MAX_MTU}")
        self._mtu = mtu

    def cut(self, frame: bytes) -> list[bytes]:
        """The frame's segments in order; ``UsageError`` unless the frame has 1 to 256 bytes."""
        if not 1 <= len(frame) <= LONGEST_FRAME:
            raise UsageError(f"frame: {len(frame)} bytes are outside 1 to {LONGEST_FRAME}")
        room = self._mtu - ATT_OVERHEAD - 1
        segments = []
        for start in range(0, len(frame), room):
            end = start + room
            header = self._sequence | (0 if start else FIRST) | (LAST if end >= len(frame) else 0)
            segments.append(bytes((header,)) + frame[start:end])
            self._sequence = (self._sequence + 1) % SEQUENCES
        return segments


class Reassembler:
    """Segments in, frames and typed faults out, for one direction of one connection.

    Holds at most 256 bytes of a frame and one segment. After a fault the rest of the damaged frame is skipped,
    counted in ``skipped``, until the next first segment. Never raises for any bytes. A frame put together is not yet
    a valid one: its CRC is its user's to check.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames given out."""
        self.skipped = 0
        """Segments passed over on the way to the next first one, those that showed a fault not counted."""
        self._faults: Counter[SegmentFault] = Counter()
        self._held = b""
        self._before = b""
        self._length = 0
        self._in_step = True

    @property
    def faults(self) -> Mapping[SegmentFault, int]:
        """How many times each fault was met."""
        return dict(self._faults)

    @property
    def pending_bytes(self) -> int:
        """Bytes held of a frame whose last segment has not come."""
        return len(self._held)

    def feed(self, segment: bytes) -> list[bytes | BadSegment]:
        """What a segment brings: nothing, a frame, a fault, or the fault of the frame before and then a frame."""
        before, self._before = self._before, bytes(segment)
        if len(segment) < 2:
            return [self._fault(SegmentFault.TRUNCATED, segment)]
        if segment == before:
            self._faults[SegmentFault.REPEATED] += 1
            return [BadSegment(SegmentFault.REPEATED, segment, b"")]
        if segment[0] & FIRST:
            found: list[bytes | BadSegment] = []
            if self._held:
                found.append(self._fault(SegmentFault.INTERLEAVED, segment))
            self._in_step = True
            self._length = len(segment)
        elif not self._held:
            if not self._in_step:
                self.skipped += 1
                return []
            return [self._fault(SegmentFault.NO_FIRST, segment)]
        else:
            fault = self._misfit(segment, before)
            if fault is not None:
                return [self._fault(fault, segment)]
            found = []
        if len(self._held) + len(segment) - 1 > LONGEST_FRAME:
            return [*found, self._fault(SegmentFault.TOO_LONG, segment)]
        self._held += segment[1:]
        if segment[0] & LAST:
            found.append(self._held)
            self._held = b""
            self.frames += 1
        return found

    def _misfit(self, segment: bytes, before: bytes) -> SegmentFault | None:
        """Why a segment cannot go on with the frame that is held; None when it can."""
        ahead = (segment[0] - before[0] - 1) % SEQUENCES
        if ahead:
            return SegmentFault.MISSING if ahead < SEQUENCES // 2 else SegmentFault.OUT_OF_ORDER
        last = segment[0] & LAST
        if len(segment) > self._length or (not last and len(segment) < self._length):
            return SegmentFault.TRUNCATED
        return None

    def _fault(self, reason: SegmentFault, segment: bytes) -> BadSegment:
        self._faults[reason] += 1
        lost, self._held = self._held, b""
        self._in_step = False
        return BadSegment(reason, bytes(segment), lost)

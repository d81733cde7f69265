"""Frames over a transport: the one place where a pipe and the framing of ITP/1 meet, for driver and simulator alike.

Transports see bytes only; an ``Inspector`` tells recorders and fault rules what travels, with the session's own keys
and without effect on it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from telemetry.errors import BadFrame, BadPayload, LinkClosedError, UsageError
from telemetry.protocol.codec import decode
from telemetry.protocol.frame import Frame, Garbage, StreamDecoder, decode_frame, encode_stream
from telemetry.protocol.plain import describe
from telemetry.protocol.wire import LAYOUT_FINGERPRINT, MAX_FRAME, FrameType
from telemetry.transport.capture import Annotation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from telemetry.protocol.channel import SessionKeys
    from telemetry.protocol.messages import AcceptPayload, Message
    from telemetry.transport.base import Transport, TransportInfo
    from telemetry.transport.faults import Direction

EARLY_LIMIT_BYTES = 16 * MAX_FRAME
"""What is kept of data that comes before ``attach``; an ITP/1 peer speaks only when spoken to."""
LAYOUT = f"{LAYOUT_FINGERPRINT:08x}"
"""Fingerprint of our wire table, as the header of a capture has it."""
_TELEMETER_PLANE = (FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT)


class FrameLink:
    """Framing around a transport: a receiver to it, frames to its user.

    ``on_frame`` gets every frame, sealed as it came; ``on_lost`` is called once with the reason (None when we closed
    it ourselves); ``on_garbage`` gets a word for the fault and the first bytes of what was no frame. On streams a
    frame is COBS-encoded between zeros, on datagram links it goes as it is. No bytes make ``data_received`` raise.
    """

    def __init__(
        self,
        *,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[LinkClosedError | None], None],
        on_garbage: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.frames_in = 0
        self.frames_out = 0
        self.garbage_bytes = 0
        """Bytes received that belonged to no frame, delimiters not counted."""
        self._garbage: Counter[str] = Counter()
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_garbage = on_garbage
        self._transport: Transport | None = None
        self._decoder: StreamDecoder | None = None
        self._early: list[bytes] = []
        self._early_bytes = 0

    @property
    def info(self) -> TransportInfo:
        """What the transport may be relied on for; raises ``LinkClosedError`` before ``attach``."""
        return self._attached().info

    @property
    def garbage(self) -> Mapping[str, int]:
        """How many times each fault was met: the names of ``FrameFault``, and ``early``."""
        return dict(self._garbage)

    def attach(self, transport: Transport) -> None:
        """Say what carries the frames; what it brought before is dealt with now.

        Raises ``UsageError`` for a datagram link too narrow for the longest frame (``MAX_FRAME`` bytes).
        """
        info = transport.info
        if info.datagrams and info.mtu is not None and info.mtu < MAX_FRAME:
            raise UsageError(
                f"{info.url}: its datagrams hold {info.mtu} bytes, a frame of ITP/1 has up to {MAX_FRAME}; "
                f"use a wider link or a stream"
            )
        self._transport = transport
        self._decoder = None if info.datagrams else StreamDecoder()
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def send(self, frame_bytes: bytes) -> None:
        """Send one encoded frame; raises ``LinkClosedError`` with the reason once the link is gone."""
        transport = self._attached()
        transport.write(frame_bytes if self._decoder is None else encode_stream(frame_bytes))
        self.frames_out += 1

    async def close(self) -> None:
        """Close the transport, if there is one; idempotent, bounded in time, never raises."""
        if self._transport is not None:
            await self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes, or one datagram, from the transport."""
        if self._decoder is not None:
            for item in self._decoder.feed(data):
                if isinstance(item, Frame):
                    self.frames_in += 1
                    self._on_frame(item)
                else:
                    self._discard(item)
        elif self._transport is None:
            self._keep_early(data)
        else:
            self._datagram(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """The transport is gone and released."""
        self._on_lost(reason)

    def _attached(self) -> Transport:
        if self._transport is None:
            raise LinkClosedError("the link is not open yet")
        return self._transport

    def _datagram(self, data: bytes) -> None:
        try:
            frame = decode_frame(data)
        except BadFrame as error:
            self._count(str(error).partition(":")[0], data, len(data))
            return
        self.frames_in += 1
        self._on_frame(frame)

    def _discard(self, garbage: Garbage) -> None:
        self._count(garbage.reason.value, garbage.data, garbage.length)

    def _count(self, fault: str, sample: bytes, length: int) -> None:
        self._garbage[fault] += 1
        self.garbage_bytes += length
        if self._on_garbage is not None:
            self._on_garbage(fault, sample)

    def _keep_early(self, data: bytes) -> None:
        self._early_bytes += len(data)
        if self._early_bytes > EARLY_LIMIT_BYTES:
            self._count("early", data, len(data))
        else:
            self._early.append(data)


def frame_in(data: bytes) -> Frame | None:
    """Give the one frame that recorded bytes hold, a datagram or a piece of a stream; None for anything else."""
    try:
        return decode_frame(data)
    except BadFrame:
        found = StreamDecoder().feed(data + b"\0")
    return found[0] if len(found) == 1 and isinstance(found[0], Frame) else None


def frame_type(direction: Direction, data: bytes) -> str | None:
    """Classify for fault rules by the outer type of a frame (``PROBE``, ``REQ`` …): all that can be told unopened."""
    del direction
    frame = frame_in(data)
    return None if frame is None else frame.type.name


class Inspector:
    """Names frames and opens their messages with what the holder of the session lends it."""

    def __init__(self) -> None:
        self._peek: Callable[[Frame], Message | None] = lambda _frame: None
        self._keys: Callable[[], SessionKeys | None] = lambda: None
        self._accepted: Callable[[], AcceptPayload | None] = lambda: None
        self._noted: SessionKeys | None = None

    def look_into(
        self,
        peek: Callable[[Frame], Message | None],
        keys: Callable[[], SessionKeys | None],
        accepted: Callable[[], AcceptPayload | None],
    ) -> None:
        """Lend the means: a trial opening of a frame, the session's keys where they may be shown, ACCEPT opened."""
        self._peek = peek
        self._keys = keys
        self._accepted = accepted

    def classify(self, _direction: str, data: bytes) -> str | None:
        """The message's name, the frame's type where nothing can be opened, None for what is no frame."""
        frame = frame_in(data)
        if frame is None:
            return None
        message = self._open(frame)
        return type(message).__name__ if message is not None else frame.type.name

    def annotate(self, _direction: str, data: bytes) -> Annotation | None:
        """The opened message as plain values for a capture, and the keys of a session when it first shows."""
        frame = frame_in(data)
        message: object = self._open(frame) if frame is not None else None
        keys = self._new_keys()
        if keys is not None and frame is not None and frame.type is FrameType.ACCEPT:
            message = self._accepted()
        if message is None and keys is None:
            return None
        return Annotation(message=None if message is None else describe(message), keys=keys)

    def _new_keys(self) -> dict[str, str] | None:
        keys = self._keys()
        if keys is None or keys == self._noted:
            return None
        self._noted = keys
        return {
            "handshake_hash": keys.handshake_hash.hex(),
            "to_pump": keys.to_pump.hex(),
            "from_pump": keys.from_pump.hex(),
        }

    def _open(self, frame: Frame) -> Message | None:
        if frame.type in _TELEMETER_PLANE:
            try:
                return decode(frame.body)
            except BadPayload:
                return None
        return self._peek(frame)

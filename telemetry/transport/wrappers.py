"""Transports around a transport: record, fault, chunk, mtu. Each changes one thing and knows no frames.

A wrapper is a transport to whoever uses it and a receiver to what it wraps. ``bind`` says who receives, ``attach``
what is wrapped; an unsupported combination is refused there. Where frames matter on a stream, a *cutter* divides it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from telemetry.clock import ManualClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.base import Transport, TransportInfo
from telemetry.transport.capture import Annotation, CapturedFrame, CaptureWriter
from telemetry.transport.faults import Classifier, Direction, FaultPlan, Passage

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.transport.base import Receiver

LONGEST_PIECE_BYTES = 4_096
"""What is held back of a stream in wait for a delimiter; sixteen of the longest ITP/1 frames."""

Annotate = Callable[[Direction, bytes], "Annotation | None"]
"""Asked once a frame (bytes as on the wire): before it is written, and after it was received and dealt with."""


class Cutter(Protocol):
    """Divides a stream into frames without understanding them."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, give the frames that are now complete, delimiter included."""
        ...

    def rest(self) -> bytes:
        """Give up and forget what is not complete."""
        ...


_PIECE = re.compile(rb"\x00*[^\x00]+\x00")


class ZeroCutter:
    """Cuts after each zero that ends something, as COBS delimits; zeros in front belong to what follows them.

    Garbage without any zero is cut at ``LONGEST_PIECE_BYTES``.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, give complete pieces."""
        self._held += data
        pieces = _PIECE.findall(self._held)
        if pieces:
            self._held = self._held[sum(map(len, pieces)) :]
        while len(self._held) >= LONGEST_PIECE_BYTES:
            pieces.append(self._held[:LONGEST_PIECE_BYTES])
            self._held = self._held[LONGEST_PIECE_BYTES:]
        return pieces

    def rest(self) -> bytes:
        """Give up and forget what is not complete."""
        held, self._held = self._held, b""
        return held


class Wrapper(Transport):
    """Passes everything on, both ways; the kinds change one thing each."""

    def __init__(self) -> None:
        self._up: Receiver | None = None
        self._down: Transport | None = None
        self._failure: LinkClosedError | None = None
        self._closing: asyncio.Task[None] | None = None

    def bind(self, receiver: Receiver | None) -> None:
        """Say who receives; None for nobody (an opening that is given up)."""
        self._up = receiver

    def attach(self, down: Transport) -> None:
        """Say what is wrapped, which is open; raises ``UsageError`` when this wrapper cannot go around it."""
        self.info = down.info
        self._down = down

    def write(self, data: bytes) -> None:
        """Pass on."""
        self._below().write(data)

    async def close(self) -> None:
        """Close what is wrapped; the loss is passed on from there."""
        self._before_close()
        if self._down is not None:
            await self._down.close()

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived."""
        if self._up is not None:
            self._up.data_received(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """Release, then pass on."""
        reason = self._failure or reason
        self._ended(reason)
        self.release()
        if self._up is not None:
            self._up.connection_lost(reason)

    def release(self) -> None:
        """Let go of what this wrapper holds (called when the link is gone or was never opened); idempotent."""

    def _before_close(self) -> None:
        """Stop what would still write to the link; idempotent."""

    def _ended(self, reason: LinkClosedError | None) -> None:
        """Take note of the loss, with everything still in hand."""
        del reason

    def _below(self) -> Transport:
        if self._failure is not None:
            raise LinkClosedError(str(self._failure)) from self._failure
        if self._down is None:
            raise LinkClosedError("the link is not open yet")
        return self._down

    def _fail(self, reason: LinkClosedError) -> None:
        """End the link for a reason of the wrapper's own."""
        if self._failure is None and self._down is not None:
            self._failure = reason
            self._closing = asyncio.get_running_loop().create_task(self._down.close())


class Record(Wrapper):
    """Writes every frame that passes to a capture, what is sent before it is sent.

    (An answer given from inside ``data_received`` stands behind what it answers, and so is written just after it was
    sent.) ``writer`` may be shared by several links; whoever made it closes it, unless ``owns`` is true. A capture
    that can no longer be written ends the link with that reason: a recording with an unknown hole proves nothing.
    """

    def __init__(
        self,
        writer: CaptureWriter,
        clock: Clock,
        *,
        annotate: Annotate | None = None,
        cutter: Callable[[], Cutter] = ZeroCutter,
        owns: bool = True,
    ) -> None:
        super().__init__()
        self._writer = writer
        self._clock = clock
        self._annotate = annotate
        self._cutters = {direction: cutter() for direction in Direction}
        self._owns = owns
        self._link = 0
        self._receiving = False
        self._answers: list[tuple[CapturedFrame, Annotation | None]] = []

    def attach(self, down: Transport) -> None:
        """Note in the capture that the link began."""
        super().attach(down)
        self._put(partial(self._open_link, down.info))

    def _open_link(self, info: TransportInfo) -> None:
        self._link = self._writer.opened(info.url, datagrams=info.datagrams)

    def write(self, data: bytes) -> None:
        """Record, then pass on."""
        below = self._below()
        cutter = self._cutters[Direction.TX]
        pieces = [data] if self.info.datagrams else [*cutter.feed(data), cutter.rest()]
        frames = [self._annotated(self._frame(Direction.TX, piece)) for piece in pieces if piece]
        if self._receiving:
            self._answers += frames
        else:
            self._put(partial(self._record, frames))
            below = self._below()
        below.write(data)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived, then record it together with what it turned out to hold."""
        pieces = [data] if self.info.datagrams else self._cutters[Direction.RX].feed(data)
        frames = [self._frame(Direction.RX, piece) for piece in pieces]
        self._receiving = True
        try:
            super().data_received(data)
        finally:
            self._receiving = False
            answers, self._answers = self._answers, []
            self._put(partial(self._record, [self._annotated(frame) for frame in frames] + answers))

    def release(self) -> None:
        """Give up the capture."""
        if self._owns:
            self._writer.close()

    def _ended(self, reason: LinkClosedError | None) -> None:
        rest = self._cutters[Direction.RX].rest()
        frames = [self._annotated(self._frame(Direction.RX, rest))] if rest else []
        self._put(partial(self._record, frames))
        self._put(partial(self._writer.lost, self._link, None if reason is None else str(reason)))

    def _frame(self, direction: Direction, data: bytes) -> CapturedFrame:
        return CapturedFrame(self._link, self._clock.link_ms(), direction, bytes(data))

    def _annotated(self, frame: CapturedFrame) -> tuple[CapturedFrame, Annotation | None]:
        known = self._annotate(frame.direction, frame.data) if self._annotate is not None else None
        return (replace(frame, message=known.message), known) if known is not None else (frame, None)

    def _record(self, frames: list[tuple[CapturedFrame, Annotation | None]]) -> None:
        for frame, known in frames:
            if known is not None and known.keys:
                self._writer.keys(known.keys)
            self._writer.frame(frame)
            if known is not None and known.note:
                self._writer.note(known.note)

    def _put(self, record: Callable[[], None]) -> None:
        if self._failure is not None:
            return  # the one failure has been told already and is ending the link
        try:
            record()
        except OSError as error:
            reason = LinkClosedError(f"{self.info.url}: the capture cannot be written: {error.strerror or error}")
            reason.__cause__ = error
            self._fail(reason)


class Fault(Wrapper):
    """Damages, loses, multiplies, delays and reorders frames by a ``FaultPlan``; a clean pipe while it has no rules.

    Delays count in link time of ``clock``. Rules with a frame type need a ``classifier`` (``UsageError`` without).
    Streams are divided by ``cutter``; while a rule could meet a direction, its bytes move in whole pieces. What is
    still delayed when the link ends is lost with it, and counted in ``undelivered``.
    """

    def __init__(
        self,
        plan: FaultPlan,
        clock: Clock,
        *,
        classifier: Classifier | None = None,
        cutter: Callable[[], Cutter] = ZeroCutter,
    ) -> None:
        super().__init__()
        self.plan = plan
        self._clock = clock
        self._classifier = classifier
        self._cutters = {direction: cutter() for direction in Direction}
        self._lanes = {
            Direction.TX: _Lane(clock, self._send),
            Direction.RX: _Lane(clock, super().data_received),
        }
        self._forget: Callable[[], None] | None = None

    @property
    def undelivered(self) -> int:
        """Frames that were still under way when the link ended."""
        return sum(lane.undelivered for lane in self._lanes.values())

    def attach(self, down: Transport) -> None:
        """Refuse rules by frame type where nobody can tell types (``UsageError``)."""
        self.plan.attach(classified=self._classifier is not None)
        super().attach(down)
        if down.info.in_process and isinstance(self._clock, ManualClock):
            self._forget = self._clock.add_activity(self._in_flight)

    def write(self, data: bytes) -> None:
        """Let what is sent meet the rules."""
        below = self._below()
        lane = self._lanes[Direction.TX]
        if lane.idle and not self.plan.touches(Direction.TX):
            below.write(data)
            return
        cutter = self._cutters[Direction.TX]
        pieces = [bytes(data)] if self.info.datagrams else [*cutter.feed(data), cutter.rest()]
        self._meet(Direction.TX, [piece for piece in pieces if piece or self.info.datagrams])

    def data_received(self, data: bytes) -> None:
        """Let what arrived meet the rules."""
        lane = self._lanes[Direction.RX]
        if self.info.datagrams:
            pieces = [data]
        elif lane.idle and not self.plan.touches(Direction.RX):
            pieces = [self._cutters[Direction.RX].rest() + data]
        else:
            pieces = self._cutters[Direction.RX].feed(data)
        self._meet(Direction.RX, pieces)

    def release(self) -> None:
        """Drop what waits."""
        self._before_close()
        if self._forget is not None:
            self._forget()
            self._forget = None

    def _before_close(self) -> None:
        for lane in self._lanes.values():
            lane.stop()

    def _ended(self, reason: LinkClosedError | None) -> None:
        del reason
        rest = self._cutters[Direction.RX].rest()
        if rest and self._lanes[Direction.RX].idle:
            super().data_received(rest)

    def _in_flight(self) -> bool:
        return any(lane.in_flight for lane in self._lanes.values())

    def _meet(self, direction: Direction, frames: list[bytes]) -> None:
        lane = self._lanes[direction]
        for frame in frames:
            frame_type = self._classifier(direction, frame) if self._classifier is not None else None
            leaving = self.plan.apply(direction, frame, frame_type, self._clock.link_ms())
            for passage in leaving:
                lane.put(passage)

    def _send(self, data: bytes) -> None:
        self._below().write(data)


class _Lane:
    """One direction of a faulty link: a queue in link time that keeps order, but for what is held to be overtaken."""

    def __init__(self, clock: Clock, emit: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._emit = emit
        self._queue: deque[bytes] = deque()
        self._last_due_ms = 0
        self._held: dict[int, bytes] = {}
        self._held_count = 0
        self._timers: dict[int, Callable[[], None]] = {}
        self._timer_count = 0
        self._due = 0
        self._stopped = False
        self.undelivered = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits here."""
        return not self._queue and not self._held

    @property
    def in_flight(self) -> bool:
        """Whether something is due and about to go."""
        return self._due > 0

    def put(self, passage: Passage) -> None:
        if passage.hold_ms:
            self._held_count += 1
            number = self._held_count
            self._held[number] = passage.data
            self._at(self._clock.link_ms() + passage.hold_ms, partial(self._let_go, number))
            return
        self._line_up(passage.data, passage.delay_ms)
        held, self._held = self._held, {}
        for data in held.values():
            self._line_up(data, 0)

    def stop(self) -> None:
        """Drop what waits."""
        if not self._stopped:
            self._stopped = True
            self.undelivered += len(self._queue) + len(self._held)
            self._queue.clear()
            self._held.clear()
            for cancel in self._timers.values():
                cancel()
            self._timers.clear()

    def _line_up(self, data: bytes, delay_ms: int) -> None:
        now_ms = self._clock.link_ms()
        due_ms = max(now_ms + delay_ms, self._last_due_ms)
        if not self._queue and due_ms <= now_ms:
            self._emit(data)
            return
        self._last_due_ms = due_ms
        self._queue.append(data)
        self._at(due_ms, self._emit_first)

    def _let_go(self, number: int) -> None:
        """Nobody overtook it in time."""
        if number in self._held:
            self._line_up(self._held.pop(number), 0)

    def _emit_first(self) -> None:
        self._emit(self._queue.popleft())

    def _at(self, due_ms: int, action: Callable[[], None]) -> None:
        self._timer_count += 1
        number = self._timer_count
        self._timers[number] = self._clock.call_at(due_ms, partial(self._fire, number, action))

    def _fire(self, number: int, action: Callable[[], None]) -> None:
        # Through the loop, for a clock that is moved by hand fires its timers from inside whoever moves it.
        del self._timers[number]
        self._due += 1
        asyncio.get_running_loop().call_soon(self._run, action)

    def _run(self, action: Callable[[], None]) -> None:
        try:
            if not self._stopped:
                action()
        except LinkClosedError:
            self.undelivered += 1  # the link ended under it; whoever uses the link is told by connection_lost
        finally:
            self._due -= 1


class Chunk(Wrapper):
    """Delivers a stream in pieces of at most ``size`` bytes; refused around datagrams (``UsageError``)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def attach(self, down: Transport) -> None:
        """Refuse datagrams (``UsageError``)."""
        if down.info.datagrams:
            raise UsageError(f"{down.info.url}: chunk={self._size} needs a byte stream, and this link has datagrams")
        super().attach(down)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived, piece by piece."""
        for start in range(0, len(data), self._size):
            super().data_received(data[start : start + self._size])


class Mtu(Wrapper):
    """Lets through at most ``size`` bytes at once: a longer datagram is refused, a stream is cut, both ways."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def attach(self, down: Transport) -> None:
        """Lower what the link calls its mtu."""
        super().attach(down)
        if down.info.datagrams:
            self.info = replace(down.info, mtu=min(self._size, down.info.mtu or self._size))

    def write(self, data: bytes) -> None:
        """Pass on, in pieces or not at all."""
        below = self._below()
        if not self.info.datagrams:
            for start in range(0, len(data), self._size):
                below.write(data[start : start + self._size])
            return
        if len(data) > self._size:
            raise UsageError(f"{self.info.url}: a datagram of {len(data)} bytes is longer than mtu={self._size}")
        below.write(data)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived; a stream in pieces."""
        if self.info.datagrams:
            super().data_received(data)
            return
        for start in range(0, len(data), self._size):
            super().data_received(data[start : start + self._size])

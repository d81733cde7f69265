"""A link slowed down to the pace of a serial line: ``?baud=1200`` around any transport, on either side.

Ten bits a byte (8N1), each direction for itself, in link time of the clock. What is written takes its turn behind what
was written before it. Nothing is changed, lost or reordered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.errors import LinkClosedError
from telemetry.transport.base import BITS_PER_BYTE_ON_A_LINE
from telemetry.transport.pipe import FLUSH_S, UNSENT_LIMIT_BYTES
from telemetry.transport.wrappers import Wrapper
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Transport

SLICE_BYTES = 16
"""What a stream is handed over in: the depth of the FIFO of the usual UART (16550)."""


class Throttle(Wrapper):
    """Passes ``baud`` / 10 bytes a second of link time, each way.

    A datagram arrives whole, with its last byte. A stream arrives in slices of ``SLICE_BYTES``; around another
    wrapper, which reads frames by write, a write stays whole. More than ``UNSENT_LIMIT_BYTES`` waiting in one
    direction ends the link. ``close`` lets up to a second of what is waiting leave; when the other end goes, what is
    on its way to us is handed over at once, and then the loss.
    """

    def __init__(self, baud: int, clock: Clock) -> None:
        super().__init__()
        self._baud = baud
        self._clock = clock
        self._out = _Line(baud, clock, self._send)
        self._in = _Line(baud, clock, self._deliver)
        self._slice_bytes = SLICE_BYTES
        self._slice_out_bytes = SLICE_BYTES
        self._close_by_ms: int | None = None
        self._gone = False
        self._forget: Callable[[], None] | None = None

    def attach(self, down: Transport) -> None:
        """Say what is wrapped, and how slow it is from now on."""
        super().attach(down)
        slower = min(self._baud, down.info.bits_per_s or self._baud)
        self.info = replace(down.info, bits_per_s=slower)
        self._slice_bytes = UNSENT_LIMIT_BYTES if down.info.datagrams else SLICE_BYTES
        self._slice_out_bytes = UNSENT_LIMIT_BYTES if isinstance(down, Wrapper) else self._slice_bytes
        if down.info.in_process and isinstance(self._clock, ManualClock):
            self._forget = self._clock.add_activity(self._in_flight)

    def write(self, data: bytes) -> None:
        """Put on the line; raises ``LinkClosedError`` when the link is gone or too much is waiting."""
        below = self._below()
        if self._gone:
            below.write(data)  # which raises, with the reason
        if self._close_by_ms is not None:
            raise LinkClosedError(f"{self.info.url} is closed: we closed it")
        if self._out.waiting_bytes + len(data) > UNSENT_LIMIT_BYTES:
            self._fail(self._too_much("written"))
            raise LinkClosedError(str(self._failure)) from self._failure
        self._out.put(data, self._slice_out_bytes)

    def data_received(self, data: bytes) -> None:
        """Put on the line to us."""
        if self._in.waiting_bytes + len(data) > UNSENT_LIMIT_BYTES:
            self._fail(self._too_much("received"))
        else:
            self._in.put(data, self._slice_bytes)

    async def close(self) -> None:
        """Let what is waiting leave, within a second of link time, then close what is wrapped."""
        if self._close_by_ms is None:
            self._close_by_ms = self._clock.link_ms() + int(FLUSH_S * MS_PER_SECOND)
        try:
            await self._out.drained(self._close_by_ms)
        finally:
            await super().close()

    def release(self) -> None:
        """Drop what waits."""
        self._gone = True
        self._out.stop()
        self._in.stop()
        if self._forget is not None:
            self._forget()
            self._forget = None

    def _before_close(self) -> None:
        self._out.stop()

    def _ended(self, reason: LinkClosedError | None) -> None:
        if reason is not None and self._failure is None:
            self._in.hand_over()

    def _too_much(self, done: str) -> LinkClosedError:
        return LinkClosedError(
            f"{self.info.url}: a line of {self._baud} baud is too slow for what is {done}; more than "
            f"{UNSENT_LIMIT_BYTES} bytes would be waiting"
        )

    def _in_flight(self) -> bool:
        return self._out.in_flight or self._in.in_flight

    def _send(self, data: bytes) -> None:
        self._below().write(data)

    def _deliver(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - any fault of the receiver ends the link, as in a pipe
            said = f"{self.info.url}: the receiver of its data failed"
            asyncio.get_running_loop().call_exception_handler({"message": said, "exception": error})
            reason = LinkClosedError(f"{said}: {error!r}")
            reason.__cause__ = error
            self._in.stop()
            self._fail(reason)


class _Line:
    """One direction: pieces with the instant at which their last byte is through."""

    def __init__(self, baud: int, clock: Clock, emit: Callable[[bytes], None]) -> None:
        self._baud = baud
        self._clock = clock
        self._emit = emit
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._free_at = 0
        """When the line is free, in parts of a millisecond of which there are ``baud``: no rounding adds up."""
        self._cancel: Callable[[], None] | None = None
        self._due = 0
        self._stopped = False
        self._empty: asyncio.Future[None] | None = None
        self.waiting_bytes = 0

    @property
    def in_flight(self) -> bool:
        """Whether something is through and about to be handed over."""
        return self._due > 0

    def put(self, data: bytes, slice_bytes: int) -> None:
        if self._stopped:
            return
        self._free_at = max(self._free_at, self._clock.link_ms() * self._baud)
        for start in range(0, len(data), slice_bytes) or (0,):  # an empty datagram is one, too
            piece = bytes(data[start : start + slice_bytes])
            self._free_at += len(piece) * BITS_PER_BYTE_ON_A_LINE * MS_PER_SECOND
            self._pieces.append((-(-self._free_at // self._baud), piece))
        self.waiting_bytes += len(data)
        self._set_timer()

    async def drained(self, deadline_ms: int) -> None:
        """Wait until nothing waits or link time reaches the deadline."""
        if self._pieces and not self._stopped:
            if self._empty is None:
                self._empty = asyncio.get_running_loop().create_future()
            await self._clock.wait(self._empty, deadline_ms)

    def hand_over(self) -> None:
        """Everything at once: the line has ended."""
        while self._pieces and not self._stopped:
            self._next()

    def stop(self) -> None:
        """Drop what waits."""
        self._stopped = True
        self._pieces.clear()
        self.waiting_bytes = 0
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._tell_empty()

    def _set_timer(self) -> None:
        if self._cancel is None and self._pieces and not self._due:
            self._cancel = self._clock.call_at(self._pieces[0][0], self._fire)

    def _fire(self) -> None:
        # Through the loop, for a clock that is moved by hand fires its timers from inside whoever moves it.
        self._cancel = None
        self._due += 1
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        try:
            while self._pieces and self._pieces[0][0] <= self._clock.link_ms():
                self._next()
        except LinkClosedError:
            self.stop()  # the link ended under it; whoever uses the link is told by connection_lost
        finally:
            self._due -= 1
        self._set_timer()
        if not self._pieces:
            self._tell_empty()

    def _next(self) -> None:
        _, piece = self._pieces.popleft()
        self.waiting_bytes -= len(piece)
        self._emit(piece)

    def _tell_empty(self) -> None:
        if self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

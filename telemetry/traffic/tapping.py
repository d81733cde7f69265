"""Between a programmer and a telemeter, on any two links: bytes pass both ways unchanged and are written to a capture.

The programmer opens the place that is offered, the tap opens the telemeter for it. Nothing is decoded on the way and
nothing can be opened: session keys come of a fresh Diffie-Hellman that a tap has no part in. Only where one side is a
stream and the other carries datagrams must frames be cut out and put in again, and what is no frame is then lost.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from telemetry.errors import BadFrame, LinkClosedError, LinkError, UsageError
from telemetry.link import LAYOUT
from telemetry.protocol.frame import Frame, StreamDecoder, decode_frame, encode_frame, encode_stream
from telemetry.transport.capture import CapturedFrame, CaptureWriter
from telemetry.transport.faults import Direction
from telemetry.transport.registry import listen, open_transport
from telemetry.transport.wrappers import ZeroCutter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from telemetry.clock import Clock
    from telemetry.transport.base import Listener, Receiver, Transport

WAITING_BYTES = 65_536
"""What a programmer may send before the telemeter's link is open; more ends its link."""
MOST_CLIENTS = 16
"""Programmers at once; further ones are closed at the door."""


class Tap:
    """An asynchronous context manager that offers one place and opens another for each client.

    ``on_event`` is told in one line what comes and goes. Entering raises ``UsageError`` (URL, capture) or
    ``LinkOpenError``; a telemeter that cannot be opened is told, and the client's link closed. ``clients`` counts those
    that came, ``frames`` what was written.
    """

    def __init__(
        self, device_url: str, listen_url: str, path: Path, clock: Clock, *, on_event: Callable[[str], None]
    ) -> None:
        self.clients = 0
        self.frames = 0
        self.url = ""
        """Where a programmer can reach it."""
        self._device_url = device_url
        self._listen_url = listen_url
        self._path = path
        self._clock = clock
        self._on_event = on_event
        self._pairs: set[_Pair] = set()
        self._writer: CaptureWriter
        self._listener: Listener
        self.failure: LinkError | None = None
        """Why nothing can be recorded any more; every link is closed then."""
        self.failed = asyncio.Event()
        """Set with ``failure``."""

    async def __aenter__(self) -> Self:
        self._writer = CaptureWriter(self._path, self._clock, simulated=None, layout=LAYOUT)
        try:
            self._writer.note(f"tapped between {self._listen_url} and {self._device_url}: sealed frames stay sealed")
            self._listener = await listen(self._listen_url, self._accept, clock=self._clock)
        except BaseException:
            self._writer.close()
            raise
        self.url = self._listener.url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.close()
        for pair in tuple(self._pairs):
            await pair.close("the tap was closed")
        self._writer.close()

    def _accept(self, transport: Transport) -> Receiver:
        self.clients += 1
        pair = _Pair(self, transport, self.clients)
        self._pairs.add(pair)
        if len(self._pairs) > MOST_CLIENTS:
            pair.end(f"{MOST_CLIENTS} programmers are connected already")
        else:
            pair.start(lambda receiver: open_transport(self._device_url, receiver, clock=self._clock))
        return pair.client

    def told(self, text: str) -> None:
        """Tell one line."""
        self._on_event(text)

    def forget(self, pair: _Pair) -> None:
        """A pair is gone."""
        self._pairs.discard(pair)

    def opened(self, url: str, *, datagrams: bool) -> int:
        """Note a link in the capture; returns its number."""
        number = 0
        with suppress(LinkError):  # the failure is kept, and ends every pair
            number = self._write(lambda: self._writer.opened(url, datagrams=datagrams)) or 0
        return number

    def frame(self, link: int, direction: Direction, data: bytes) -> None:
        """Write one frame; raises ``LinkError`` when the capture cannot be written any more."""
        frame = CapturedFrame(link, self._clock.link_ms(), direction, data)
        self._write(lambda: self._writer.frame(frame))
        self.frames += 1

    def lost(self, link: int, reason: str) -> None:
        """Note the end of a link."""
        with suppress(LinkError):
            self._write(lambda: self._writer.lost(link, reason))

    def _write(self, act: Callable[[], int | None]) -> int | None:
        """A recording with a hole in it proves nothing: a capture that cannot be written ends everything."""
        if self.failure is not None:
            raise self.failure
        try:
            return act()
        except OSError as error:
            self.failure = LinkClosedError(f"capture {self._path}: it cannot be written: {error.strerror or error}")
            self.failure.__cause__ = error
            self.failed.set()
            self.told(str(self.failure))
            for pair in tuple(self._pairs):
                pair.end("the capture cannot be written")
            raise self.failure from error


class _Pair:
    """One programmer's link and the telemeter's link that was opened for it."""

    def __init__(self, tap: Tap, client: Transport, number: int) -> None:
        self._tap = tap
        self._number = number
        self._transports: dict[Direction, Transport] = {Direction.TX: client}
        self.client = _Side(self, Direction.TX, datagrams=client.info.datagrams)
        self._device = _Side(self, Direction.RX, datagrams=client.info.datagrams)
        self._early: list[bytes] = []
        self._link = 0
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended = ""
        tap.told(f"programmer {number} came over {client.info.url}")

    def start(self, opener: Callable[[Receiver], Awaitable[Transport]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._open(opener))

    async def _open(self, opener: Callable[[Receiver], Awaitable[Transport]]) -> None:
        try:
            device = await opener(self._device)
        except (LinkError, UsageError) as error:
            self._tap.told(f"programmer {self._number}: the telemeter cannot be opened: {error}")
            self.end(f"the telemeter cannot be opened: {error}")
            return
        if self._ended:
            await device.close()
            return
        self._transports[Direction.RX] = device
        self._device.datagrams = device.info.datagrams
        self._link = self._tap.opened(device.info.url, datagrams=device.info.datagrams)
        early, self._early = self._early, []
        for data in early:
            self.passed(Direction.TX, data)

    def passed(self, source: Direction, data: bytes) -> None:
        """Data from one side: recorded as the telemeter's link has it, and passed to the other."""
        if self._ended:
            return
        if Direction.RX not in self._transports:
            self._early.append(data)
            if sum(map(len, self._early)) > WAITING_BYTES:
                self.end(f"more than {WAITING_BYTES} bytes came before the telemeter was open")
            return
        target = Direction.RX if source is Direction.TX else Direction.TX
        here, there = (self.client, self._device) if source is Direction.TX else (self._device, self.client)
        try:
            pieces, passed = here.divided(data, other_datagrams=there.datagrams)
            for piece in pieces:
                self._tap.frame(self._link, source, piece)
            for piece in passed:
                self._transports[target].write(piece)
        except (LinkError, UsageError) as error:
            self.end(str(error))

    def lost(self, side: Direction, reason: LinkClosedError | None) -> None:
        """One side is gone: so must be the other."""
        self._transports.pop(side, None)
        who = "programmer" if side is Direction.TX else "telemeter"
        self.end(f"the {who}'s link ended: {reason}" if reason is not None else f"the {who}'s link was closed")

    def end(self, reason: str) -> None:
        """Close both sides, once."""
        if not self._ended:
            self._ended = reason
            self._tap.told(f"programmer {self._number}: {reason}")
            self._ending = asyncio.get_running_loop().create_task(self._close())

    async def close(self, reason: str) -> None:
        """Close both sides and return when they are."""
        self.end(reason)
        if self._ending is not None:
            await self._ending

    async def _close(self) -> None:
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._link:
            with suppress(LinkError):
                for source, side in ((Direction.TX, self.client), (Direction.RX, self._device)):
                    if rest := side.rest():
                        self._tap.frame(self._link, source, rest)
            self._tap.lost(self._link, self._ended)
        for transport in tuple(self._transports.values()):
            await transport.close()
        self._tap.forget(self)


class _Side:
    """What one side brings, cut for the capture and turned into what the other side carries."""

    def __init__(self, pair: _Pair, direction: Direction, *, datagrams: bool) -> None:
        self.datagrams = datagrams
        self._pair = pair
        self._direction = direction
        self._cutter = ZeroCutter()
        self._decoder = StreamDecoder()

    def data_received(self, data: bytes) -> None:
        self._pair.passed(self._direction, bytes(data))

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self._pair.lost(self._direction, reason)

    def divided(self, data: bytes, *, other_datagrams: bool) -> tuple[list[bytes], list[bytes]]:
        """What is written of it, as on the telemeter's link, and what is passed on: the same bytes if it can be."""
        same = self.datagrams == other_datagrams
        passed = [data] if same else self._turned(data)
        if not same and self._direction is Direction.TX:
            return passed, passed
        return ([data] if self.datagrams else self._cutter.feed(data)), passed

    def rest(self) -> bytes:
        """Bytes of a stream that no delimiter ended."""
        return self._cutter.rest()

    def _turned(self, data: bytes) -> list[bytes]:
        """Frames out of a stream as datagrams, or a datagram as a piece of a stream; what is no frame is left out."""
        if not self.datagrams:
            return [encode_frame(found) for found in self._decoder.feed(data) if isinstance(found, Frame)]
        try:
            return [encode_stream(encode_frame(decode_frame(data)))]
        except BadFrame:
            return []

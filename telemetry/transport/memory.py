"""An in-process link: two transports that hand datagrams (or chunks of a stream) to each other.

Delivery goes through the event loop and is never re-entrant: nothing arrives from inside a ``write``. A link belongs
to whoever made it; there is no table of names, so two tests can never meet.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver


class MemoryTransport(Pipe):
    """One end of a ``MemoryLink``; made by it."""

    def __init__(self, link: MemoryLink, info: TransportInfo) -> None:
        super().__init__(info)
        self._link = link
        self.peer: MemoryTransport = self

    def write(self, data: bytes) -> None:
        """Send one datagram; ``UsageError`` when it is longer than the link's mtu."""
        if self._closing:
            raise self._gone()
        if self.info.mtu is not None and len(data) > self.info.mtu:
            raise UsageError(
                f"{self.info.url}: a datagram of {len(data)} bytes is longer than this link carries ({self.info.mtu})"
            )
        self._link.send(partial(self.peer._deliver, bytes(data)))  # noqa: SLF001 - both ends are one link

    def _release(self) -> None:
        self._link.send(self.peer._peer_closed)  # noqa: SLF001 - after what was written before it, as on any pipe
        self._released()

    def _peer_closed(self) -> None:
        self._lose(LinkClosedError(f"{self.info.url}: the other end closed"))


class MemoryLink:
    """Two connected transports, ``left`` and ``right``; start both with their receivers before anything is written.

    ``delay_ms`` is the way there, in link time of ``clock``; order is kept. ``mtu`` bounds one datagram in bytes
    (``UsageError`` from ``write`` above it). With ``datagrams`` false the ends call themselves streams, for testing
    framing without the operating system. With ``lockstep`` nothing moves until ``step`` is called.

    A ``ManualClock`` is told of what is in flight: it is, until the receiver's ``data_received`` has returned; what
    merely waits for its ``delay_ms`` is a timer of the clock and not in flight.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        delay_ms: int = 0,
        mtu: int | None = None,
        datagrams: bool = True,
        lockstep: bool = False,
        url: str = "memory:",
    ) -> None:
        if delay_ms < 0:
            raise UsageError(f"delay_ms: {delay_ms} is negative")
        self._clock = clock
        self._delay_ms = delay_ms
        self._lockstep = lockstep
        self._under_way: deque[Callable[[], None]] = deque()
        self._ends_open = 2
        info = TransportInfo(url, datagrams=datagrams, mtu=mtu, in_process=True)
        self.left = MemoryTransport(self, info)
        self.right = MemoryTransport(self, info)
        self.left.peer, self.right.peer = self.right, self.left
        self._loop = self.left._loop  # noqa: SLF001 - both ends are one link
        self._forget = clock.add_activity(self.in_flight) if isinstance(clock, ManualClock) else None
        self.left.when_lost(self._end_lost)
        self.right.when_lost(self._end_lost)

    def in_flight(self) -> bool:
        """Whether something is on its way that needs no time to arrive."""
        return bool(self._under_way)

    def step(self) -> bool:
        """Hand over one datagram (or the news of a close) of a lock-step link; False when there was none."""
        if not self._lockstep:
            raise UsageError("this link delivers by itself; make it with lockstep=True to step it")
        if not self._under_way:
            return False
        self._arrive()
        return True

    def cut(self, reason: str) -> None:
        """Cut the link: what is under way is gone, and both ends are lost with ``reason``."""
        for end in (self.left, self.right):
            end._lose(LinkClosedError(f"{end.info.url}: {reason}"))  # noqa: SLF001 - both ends are one link

    def send(self, arrive: Callable[[], None]) -> None:
        """Put something on its way (called by the two ends)."""
        if self._delay_ms:
            self._clock.call_at(self._clock.link_ms() + self._delay_ms, partial(self._near, arrive))
        else:
            self._near(arrive)

    def _near(self, arrive: Callable[[], None]) -> None:
        self._under_way.append(arrive)
        if not self._lockstep:
            self._loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        # Counted as under way until it has been dealt with: an answer written meanwhile is under way in its turn.
        try:
            self._under_way[0]()
        finally:
            self._under_way.popleft()

    def _end_lost(self) -> None:
        self._ends_open -= 1
        if not self._ends_open and self._forget is not None:
            self._forget()


def open_memory(
    receiver: Receiver,
    accept: Acceptor,
    *,
    clock: Clock,
    delay_ms: int = 0,
    mtu: int | None = None,
    datagrams: bool = True,
    url: str = "memory:",
) -> MemoryTransport:
    """Connect a receiver to whom ``accept`` names, in this process; returns the caller's end, open.

    Closing it closes the other end too. Parameters as of ``MemoryLink``.
    """
    link = MemoryLink(clock=clock, delay_ms=delay_ms, mtu=mtu, datagrams=datagrams, url=url)
    link.left.start(receiver)
    link.right.start(accept(link.right))
    return link.left

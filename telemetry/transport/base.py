"""What a transport is: a pipe of bytes or of datagrams that knows no frames.

A transport hands what arrives to a *receiver* and is written to without waiting. The life of every transport:
opened once, data any number of times, lost exactly once, and lost only after whatever it held is released, so
that a reconnect from inside ``connection_lost`` can succeed. The conformance suite holds every kind to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from telemetry.errors import LinkClosedError


BITS_PER_BYTE_ON_A_LINE = 10
"""A start bit, eight of data, a stop bit: 8N1, which is all that a serial line is used with here."""


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """What its user may rely on.

    ``datagrams``: one ``write`` is one ``data_received``; otherwise bytes arrive in chunks of any size.
    ``mtu``: longest datagram in bytes, None when unlimited. ``in_process``: both ends live in this event loop.
    ``bits_per_s``: pace of a serial line, ten bits a byte, each direction for itself; None when no line sets the pace.
    """

    url: str
    datagrams: bool
    mtu: int | None = None
    in_process: bool = False
    bits_per_s: int | None = None


class Receiver(Protocol):
    """Whoever gets what a transport brings. Called from the event loop, never from inside ``write``."""

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; for datagram transports exactly one datagram."""
        ...

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """The transport is gone and released; called once. ``reason`` is None when we closed it ourselves."""
        ...


class Transport(ABC):
    """An open pipe."""

    info: TransportInfo

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes (or one datagram) in order; buffers, never blocks.

        Raises ``LinkClosedError`` with the reason once the pipe is gone.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything and return when it is released. Idempotent and bounded in time; never raises."""


class Listener(ABC):
    """A place where the virtual device is offered; ``url`` is where a client can really reach it."""

    url: str

    @abstractmethod
    async def close(self) -> None:
        """Stop accepting, close what was accepted, release the place. Idempotent; never raises."""


Acceptor = Callable[[Transport], Receiver]
"""Called with each newly accepted transport; returns who receives what it brings."""

"""One end of a link through a broker: what it sends and takes, its signs of life and its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkError
from telemetry.transport.base import TransportInfo
from telemetry.transport.mqtt_tunnel import Arrival, Book, Fault, Kind, Message, decode
from telemetry.transport.pipe import FLUSH_S, UNSENT_LIMIT_BYTES, Pipe

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from telemetry.transport.mqtt_access import BrokerMessage

SILENCES = 2.5
"""An end that has said nothing for that many of the client's ``keepalive`` is gone."""


class TunnelPipe(Pipe):
    """One end of a link through a broker.

    ``send`` publishes a message of it; ``let_go`` releases what it stands on and then calls back. ``ignored`` counts
    the messages that were for this link and broke its rules.
    """

    def __init__(
        self,
        url: str,
        link: tuple[bytes, bytes],
        *,
        is_client: bool,
        alive_s: float,
        send: Callable[[Message], asyncio.Future[None]],
        let_go: Callable[[Callable[[], None]], None],
        ignored: Counter[Fault],
    ) -> None:
        super().__init__(TransportInfo(url, datagrams=False))
        self.link = link
        self._other = "the telemeter" if is_client else "the client"
        self._alive_s = alive_s
        self._send = send
        self._let_go = let_go
        self._ignored = ignored
        self._book = Book()
        self._drained = asyncio.Event()
        self._peer_closed = False
        self._spoke = self._heard = self._loop.time()
        self._timer = self._loop.call_later(alive_s, self._look)

    def write(self, data: bytes) -> None:
        """Send what the window lets through, the rest as the other end acknowledges."""
        if self._closing:
            raise self._gone()
        if self._book.unsent_bytes + len(data) > UNSENT_LIMIT_BYTES:
            self._lose(
                LinkClosedError(
                    f"{self.info.url}: {self._other} does not read; {self._book.unsent_bytes + len(data)} bytes would "
                    f"be waiting unsent, the limit is {UNSENT_LIMIT_BYTES}"
                )
            )
            raise self._gone()
        self._book.write(data)
        self._push()
        if self._lost:
            raise self._gone()

    def greet(self) -> None:
        """Say that we are there; a device makes the link when it hears it."""
        self._say(Kind.ALIVE)

    def arrived(self, message: Message) -> None:
        """Take a message of this link."""
        if self._lost:
            return
        self._heard = self._loop.time()
        if not self._book.heard(message.acknowledged):
            self._ignored[Fault.ACKNOWLEDGED] += 1
            return
        if message.kind is Kind.DATA:
            self._take(message)
        elif message.kind is Kind.CLOSE:
            self._peer_closed = True
            missing = message.sequence - self._book.received
            words = "" if missing <= 0 else f"; {missing} messages that it had sent before were lost by the broker"
            self._lose(LinkClosedError(f"{self.info.url}: {self._other} closed the link{words}"))
        elif message.kind is not Kind.ALIVE:
            self._ignored[Fault.OUT_OF_TURN] += 1
        if not self._lost:
            self._push()
            if self._book.owes_word:
                self._say(Kind.ALIVE)

    def lose(self, why: str) -> None:
        """End it because of what happened around it."""
        self._lose(LinkClosedError(f"{self.info.url}: {why}"))

    def vanished(self) -> None:
        """The other end's will was read."""
        self._peer_closed = True
        self.lose(f"{self._other} vanished from the broker without closing the link")

    def _take(self, message: Message) -> None:
        match self._book.arrived(message.sequence):
            case Arrival.NEXT:
                self._deliver(message.payload)
            case Arrival.AGAIN:
                self._ignored[Fault.DUPLICATE] += 1
            case Arrival.AHEAD:
                self.lose(
                    f"message {self._book.received} of {self._other} is missing and {message.sequence} came: the "
                    f"broker lost some, or somebody else wrote on this topic; connect again"
                )

    def _push(self) -> None:
        for sequence, payload in self._book.due():
            self._say(Kind.DATA, sequence, payload)
        if not self._book.unsent_bytes:
            self._drained.set()

    def _say(self, kind: Kind, sequence: int = 0, payload: bytes = b"") -> None:
        client, device = self.link
        self._spoke = self._loop.time()
        try:
            told = self._send(Message(kind, client, device, sequence, self._book.tell(), payload))
        except LinkError as error:
            self._lose(LinkClosedError(f"{self.info.url}: {error}"))
        else:
            told.add_done_callback(self._told)

    def _told(self, told: asyncio.Future[None]) -> None:
        if not told.cancelled() and (error := told.exception()) is not None:
            self._lose(LinkClosedError(f"{self.info.url}: {error}"))

    def _look(self) -> None:
        """Give a sign of life where none was given for a while, and miss the other end's."""
        now = self._loop.time()
        if now - self._heard >= SILENCES * self._alive_s:
            self.lose(f"{self._other} has been silent for {SILENCES * self._alive_s:g} s and is taken for gone")
            return
        if now - self._spoke >= self._alive_s / 2:
            self._say(Kind.ALIVE)
        if not self._lost:
            self._timer = self._loop.call_later(self._alive_s / 2, self._look)

    async def _flush(self) -> None:
        if self._book.unsent_bytes:
            self._drained.clear()
            with suppress(TimeoutError):  # the other end had its chance; what is left goes with the link
                await asyncio.wait_for(self._drained.wait(), FLUSH_S)

    def _release(self) -> None:
        self._timer.cancel()
        if not self._peer_closed:  # where the broker has gone, the other end learns it from there
            self._say(Kind.CLOSE, self._book.sent)
        self._let_go(self._released)


def read(got: BrokerMessage, ignored: Counter[Fault]) -> Message | None:
    """Give the message of the tunnel that one of the broker's holds; None, counted, when it holds none."""
    found = Fault.RETAINED if got.retain else decode(got.payload)
    if isinstance(found, Fault):
        ignored[found] += 1
        return None
    return found

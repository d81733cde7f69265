"""From the spool to the broker: in order, each until it is acknowledged, over any number of connections."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from telemetry.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from telemetry.clock import Clock
    from telemetry.publish.messages import Message
    from telemetry.publish.spool import Spool

WINDOW = 10
"""Messages under way at once: half of what mosquitto takes of one client where it says nothing else (20)."""
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 30_000
RECALL_MS = 10_000
MOST_RECALLED = 2_000
"""A broker that is killed loses what it acknowledged and had not yet written or passed on. So events acknowledged in
the last ten seconds before a connection was lost are sent once more; their ids let subscribers drop them."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker is to say when the gateway is gone without a word; always retained, QoS 1."""

    topic: str
    payload: str


class Broker(Protocol):
    """An open connection to a broker."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1; returns when the broker has acknowledged it. Raises ``LinkError``, within a bound."""
        ...

    async def lost(self) -> None:
        """Wait for the connection to end, and raise the ``LinkError`` that says why. Never returns."""
        ...


class Deliverer:
    """Sends what waits in the spool.

    ``will`` is asked at each connection, ``on_connect`` called when one stands, ``on_change`` when it comes or goes.
    ``draw(n)`` gives a number in 0 … n-1. ``fatal`` says which error of the *first* connection ends ``run``: a broker
    that refuses us will go on doing so until a person changes something.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        clock: Clock,
        connect: Callable[[Will], AbstractAsyncContextManager[Broker]],
        will: Callable[[], Will],
        on_connect: Callable[[], None],
        on_change: Callable[[], None],
        draw: Callable[[int], int],
        fatal: Callable[[LinkError], bool],
    ) -> None:
        self.connected = False
        self.problem = ""
        """Why there is no connection; empty while there is."""
        self.connections = 0
        self.sent = 0
        self.acknowledged = 0
        self._spool = spool
        self._clock = clock
        self._connect = connect
        self._will = will
        self._on_connect = on_connect
        self._on_change = on_change
        self._draw = draw
        self._fatal = fatal
        self._broker: Broker | None = None
        self._woken = asyncio.Event()
        self._empty = asyncio.Event()
        self._away = asyncio.Event()
        self._renewing = False
        self._told = 0
        self._recall: deque[tuple[int, Message]] = deque(maxlen=MOST_RECALLED)
        self._lost_ms: int | None = None
        """When a connection was lost whose last events have not been sent again since."""

    def wake(self) -> None:
        """Say that something may wait."""
        self._empty.clear()
        self._woken.set()

    def renew(self) -> None:
        """Open the connection anew, with a will of its own, as soon as nothing is under way."""
        if self._broker is not None:
            self._renewing = True
            self.wake()

    async def run(self) -> None:
        """Deliver until cancelled; raises ``LinkError`` when the broker refuses the first connection for good."""
        failures = 0
        while True:
            acknowledged = self.acknowledged
            try:
                async with self._connect(self._will()) as broker:
                    self._open(broker)
                    await self._recall_lost()
                    await self._send()
                failures = 0
                self._close("")
                continue
            except LinkError as error:
                if not self.connections and self._fatal(error):
                    raise
                self._close(" ".join(str(error).split()))
            finally:
                self._broker, self.connected = None, False
            failures = 0 if self.acknowledged > acknowledged else failures + 1
            await self._clock.sleep_until(self._clock.link_ms() + self._pause_ms(failures))

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        while len(self._spool):
            await self._empty.wait()

    async def away(self) -> None:
        """Wait until a connection is lost or cannot be had; returns at once while that is so."""
        await self._away.wait()

    async def say_now(self, message: Message) -> None:
        """Publish one state ahead of all that waits, where there is a connection; raises nothing of the link."""
        if self._broker is not None:
            try:
                await self._publish(self._broker, message)
            except LinkError as error:
                self.problem = " ".join(str(error).split())

    def _pause_ms(self, failures: int) -> int:
        longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(failures, 16))
        # The other half is drawn, so that the gateways of a clinic do not all come back in the same moment.
        return longest // 2 + self._draw(longest // 2 + 1)

    def _open(self, broker: Broker) -> None:
        self._broker, self.connected, self.problem, self._renewing = broker, True, "", False
        self._away.clear()
        self.connections += 1
        self._on_connect()
        self._on_change()

    def _close(self, problem: str) -> None:
        if self.connected and problem:
            self._lost_ms = self._clock.link_ms()
        self._broker, self.connected, self.problem = None, False, problem
        if problem:
            self._away.set()
        self._on_change()

    async def _recall_lost(self) -> None:
        assert self._broker is not None  # noqa: S101 - opened just now
        if self._lost_ms is None:
            return
        last = [message for at_ms, message in self._recall if at_ms >= self._lost_ms - RECALL_MS]
        for message in last:
            await self._publish(self._broker, message)
        # A broker that is killed once more loses them once more.
        self._recall.clear()
        self._recall.extend((self._clock.link_ms(), message) for message in last)
        self._lost_ms = None

    async def _send(self) -> None:
        """Keep up to ``WINDOW`` messages under way; returns when the connection is to be renewed."""
        assert self._broker is not None  # noqa: S101 - as above
        under_way: deque[tuple[Message, asyncio.Task[None]]] = deque()
        losing = asyncio.create_task(self._broker.lost())
        sent_through = 0
        try:
            while True:
                while len(under_way) < WINDOW and not self._renewing:
                    message = self._spool.next_after(sent_through, WINDOW)
                    if message is None:
                        break
                    sent_through = message.sequence
                    under_way.append((message, asyncio.create_task(self._publish(self._broker, message))))
                if not under_way:
                    if self._renewing:
                        return
                    self._empty.set()
                    self._tell_drained()
                    await self._idle(losing)
                    continue
                message, sending = under_way[0]
                await sending
                under_way.popleft()
                self._acknowledge(message)
        finally:
            left = [losing, *(task for _, task in under_way)]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _tell_drained(self) -> None:
        if self._told != self.acknowledged:
            self._told = self.acknowledged
            self._on_change()

    async def _idle(self, losing: asyncio.Task[None]) -> None:
        """Wait for something to send; raises ``LinkError`` when the connection ends meanwhile."""
        waking = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait((waking, losing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        self._woken.clear()
        if losing.done():
            losing.result()

    def _acknowledge(self, message: Message) -> None:
        self.acknowledged += 1
        self._spool.acknowledge(message.sequence)
        if message.event:
            self._recall.append((self._clock.link_ms(), message))

    async def _publish(self, broker: Broker, message: Message) -> None:
        self.sent += 1
        await broker.publish(message.topic, message.payload.encode(), retain=message.retain)

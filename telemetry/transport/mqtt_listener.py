"""The device's side of the byte tunnel: offered at two topics of a broker."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkError
from telemetry.transport.mqtt_access import LONGEST_KEEPALIVE_S, BrokerAccess, BrokerMessage, Will
from telemetry.transport.mqtt_broker import BrokerClient
from telemetry.transport.mqtt_pipe import TunnelPipe, read
from telemetry.transport.mqtt_tunnel import MOST_LINKS, NOBODY, Fault, Kind, Message, Refusal, new_half
from telemetry.transport.pipe import PipeListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.transport.base import Acceptor

_LOGGER = logging.getLogger(__name__)
MOST_KNOCKING = 64
"""Clients that were let in and have not come yet; the oldest makes room for a newer one."""
_RETRY_S = (0.5, 30.0)
"""First and longest pause before a device looks for its broker again."""


class MqttListener(PipeListener):
    """Offers the device at two topics of a broker; a broker that goes is looked for until it is there again.

    ``ignored`` counts, by ``Fault``, the messages that were none of a link.
    """

    def __init__(self, access: BrokerAccess, accept: Acceptor) -> None:
        super().__init__(f"{access}/{access.path}", accept)
        self.ignored: Counter[Fault] = Counter()
        self._access = access
        self._instance = new_half()
        self._knocking: dict[bytes, tuple[bytes, float]] = {}
        self._links: dict[bytes, TunnelPipe] = {}
        self._broker: BrokerClient | None = None
        self._searching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Come to the broker and read the topic; raises ``LinkOpenError`` when either is not to be had."""
        broker = BrokerClient(
            self._access,
            will=Will(f"{self._access.path}/from", Message(Kind.GONE, NOBODY, self._instance).encode()),
            on_message=self._on_message,
            on_lost=self._on_lost,
        )
        try:
            await broker.open()
            self._broker = broker
            await broker.subscribe(f"{self._access.path}/to")
        except BaseException:
            self._broker = None
            await broker.close()
            raise

    async def close(self) -> None:
        """Close every link, then leave the broker."""
        await super().close()
        if self._searching is not None:
            self._searching.cancel()
            await asyncio.gather(self._searching, return_exceptions=True)
        if self._broker is not None:
            await self._broker.close()

    def _stop_accepting(self) -> None:
        self._knocking.clear()

    def _on_lost(self, reason: LinkClosedError) -> None:
        broker, self._broker = self._broker, None
        self._knocking.clear()
        for pipe in tuple(self._links.values()):
            pipe.lose(str(reason))
        if not self._closed and broker is not None:
            _LOGGER.warning("%s: %s; nobody reaches the device, and the broker is looked for again", self.url, reason)
            self._searching = self._loop.create_task(self._search(broker))

    async def _search(self, gone: BrokerClient) -> None:
        await gone.close()
        pause_s, longest_s = _RETRY_S
        while not self._closed:
            # Not all the clients of a broker that comes back at the same moment.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, keeps no secret
            try:
                await self.start()
            except LinkError:
                pause_s = min(2 * pause_s, longest_s)
            else:
                if self._broker is not None:
                    _LOGGER.warning("%s: the broker is there again, and the device to be reached", self.url)
                    return

    def _on_message(self, got: BrokerMessage) -> None:
        message = read(got, self.ignored)
        if message is None or self._closed:
            return
        if message.kind is Kind.OPEN:
            self._knock(message)
            return
        link = self._links.get(message.client)
        if message.kind is Kind.GONE:
            self._knocking.pop(message.client, None)
            if link is not None:
                link.vanished()
        elif link is not None and message.device == link.link[1]:
            link.arrived(message)
        elif message.kind in {Kind.ALIVE, Kind.DATA} and self._may_enter(message):
            self._enter(message)
        else:
            self.ignored[Fault.UNKNOWN_LINK] += 1

    def _knock(self, message: Message) -> None:
        beat_s = int.from_bytes(message.payload)
        if message.client == NOBODY or not beat_s:
            self.ignored[Fault.PAYLOAD] += 1
        elif message.client in self._links:
            self.ignored[Fault.DUPLICATE] += 1
        elif len(self._links) >= MOST_LINKS:
            self._answer(Message(Kind.REFUSE, message.client, payload=bytes([Refusal.TOO_MANY])))
        else:
            if message.client not in self._knocking and len(self._knocking) >= MOST_KNOCKING:
                del self._knocking[next(iter(self._knocking))]
            device, _ = self._knocking.setdefault(message.client, (new_half(), float(min(beat_s, LONGEST_KEEPALIVE_S))))
            self._answer(Message(Kind.ACCEPT, message.client, device, payload=self._instance))

    def _may_enter(self, message: Message) -> bool:
        knocked = self._knocking.get(message.client)
        return knocked is not None and knocked[0] == message.device

    def _enter(self, message: Message) -> None:
        device, beat_s = self._knocking.pop(message.client)
        if len(self._links) >= MOST_LINKS:
            self._answer(Message(Kind.CLOSE, message.client, device))
            return
        pipe = TunnelPipe(
            f"{self.url}#{message.client.hex()}",
            (message.client, device),
            is_client=False,
            alive_s=beat_s,
            send=self._publish,
            let_go=partial(self._forget, message.client),
            ignored=self.ignored,
        )
        self._links[message.client] = pipe
        self._adopt(pipe)
        pipe.arrived(message)

    def _forget(self, client: bytes, released: Callable[[], None]) -> None:
        self._links.pop(client, None)
        released()

    def _answer(self, message: Message) -> None:
        with suppress(LinkError):  # the loss of the broker is told by itself
            self._publish(message).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _publish(self, message: Message) -> asyncio.Future[None]:
        if self._broker is None:
            raise LinkClosedError(f"{self.url}: the broker is gone")
        return self._broker.publish_soon(f"{self._access.path}/from", message.encode())

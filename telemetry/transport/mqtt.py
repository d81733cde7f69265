"""A byte tunnel through an MQTT broker: ``mqtt://host:1883/site/telemeter-0001``, driver's side and device's side.

Two topics below that name: clients publish on ``…/to`` and read ``…/from``, the device the other way round; QoS 1,
nothing retained. Several clients are several links, told apart by numbers in every message (``mqtt_tunnel``). The
broker and all who are on it are untrusted: what is no message of a link is ignored and counted, what breaks the order
of a stream ends its link, and what the bytes mean is protected end to end by the protocol, not here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.transport.mqtt_access import BrokerAccess, BrokerMessage, Will
from telemetry.transport.mqtt_broker import BrokerClient
from telemetry.transport.mqtt_listener import MqttListener
from telemetry.transport.mqtt_pipe import TunnelPipe, read
from telemetry.transport.mqtt_tunnel import MOST_LINKS, NOBODY, Fault, Kind, Message, new_half

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver, Transport
    from telemetry.transport.url import TransportURL

OPEN_MS = 5_000
"""How long a telemeter may take to answer through its broker. Host time: it bounds real I/O."""
KNOCK_MS = 1_000
"""Between two knocks. Host time, as above."""
_LONGEST_OPEN_MS = 60_000


def _access(url: TransportURL) -> BrokerAccess:
    access = BrokerAccess.from_url(url, also=("open-ms",))
    if not access.path:
        raise UsageError(
            f"{url}: the topic is missing; right would be {url.scheme}://{access.host}:{access.port}/site/telemeter-0001"
        )
    return access


class _Client:
    """The driver's end: one connection to the broker for one link."""

    def __init__(self, url: TransportURL, access: BrokerAccess) -> None:
        self._url = url
        self._access = access
        self._half = new_half()
        self._instance = NOBODY
        self._rival = False
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Message] = self._loop.create_future()
        self._pipe: TunnelPipe | None = None
        self._ending: asyncio.Task[None] | None = None
        self.ignored: Counter[Fault] = Counter()
        self._broker = BrokerClient(
            access,
            will=Will(f"{access.path}/to", Message(Kind.GONE, self._half).encode()),
            on_message=self._on_message,
            on_lost=self._on_lost,
        )

    async def open(self, receiver: Receiver, limit_ms: int) -> TunnelPipe:
        """Knock, and wait until the telemeter lets us in; everything or nothing."""
        await self._broker.open()
        try:
            await self._broker.subscribe(f"{self._access.path}/from")
            beat = self._access.keepalive_s.to_bytes(2)
            await self._knock(Message(Kind.OPEN, self._half, payload=beat).encode(), limit_ms)
            if not self._answer.done():
                raise LinkOpenError(  # noqa: TRY301 - one way out for every failure: the broker is left
                    f"{self._url}: the broker is there, but no telemeter answered at {self._access.path} within "
                    f"{limit_ms} ms; is it running (telemetry sim --listen {self._url.scheme}://{self._url.address}), "
                    f"and may this user write {self._access.path}/to and read {self._access.path}/from?"
                )
            return self._begin(self._answer.result(), receiver)
        except LinkClosedError as error:
            await self._broker.close()
            raise LinkOpenError(f"{self._url}: {error}") from error
        except BaseException:
            self._answer.cancel()
            await self._broker.close()
            raise

    async def _knock(self, message: bytes, limit_ms: int) -> None:
        """Knock until somebody answers: a telemeter that looks for its broker just then hears nothing meanwhile."""
        for waited_ms in range(0, limit_ms, KNOCK_MS):
            await self._broker.publish(f"{self._access.path}/to", message)
            await asyncio.wait({self._answer}, timeout=min(KNOCK_MS, limit_ms - waited_ms) / 1000)
            if self._answer.done():
                return

    def _begin(self, answer: Message, receiver: Receiver) -> TunnelPipe:
        if answer.kind is Kind.REFUSE:
            raise LinkOpenError(
                f"{self._url}: the telemeter has {MOST_LINKS} links already and takes no more; close one, or wait"
            )
        if self._rival:
            raise LinkOpenError(f"{self._url}: {self._two_telemeters()}")
        self._instance = answer.payload
        self._pipe = pipe = TunnelPipe(
            self._url.text,
            (self._half, answer.device),
            is_client=True,
            alive_s=self._access.keepalive_s,
            send=self._send,
            let_go=self._let_go,
            ignored=self.ignored,
        )
        pipe.start(receiver)
        pipe.greet()
        return pipe

    def _accepted_by_another(self, message: Message) -> bool:
        answer = self._answer
        return not answer.cancelled() and answer.exception() is None and answer.result().device != message.device

    def _two_telemeters(self) -> str:
        return (
            f"a second telemeter answers at {self._access.path}; give each its own topic, and look who may write there"
        )

    def _send(self, message: Message) -> asyncio.Future[None]:
        return self._broker.publish_soon(f"{self._access.path}/to", message.encode())

    def _let_go(self, released: Callable[[], None]) -> None:
        self._ending = self._loop.create_task(self._broker.close())
        self._ending.add_done_callback(lambda _done: released())

    def _on_lost(self, reason: LinkClosedError) -> None:
        if not self._answer.done():
            self._answer.set_exception(reason)
            self._answer.exception()  # looked at: nobody may be waiting yet
        if self._pipe is not None:
            self._pipe.lose(str(reason))

    def _on_message(self, got: BrokerMessage) -> None:
        message = read(got, self.ignored)
        if message is None:
            return
        if message.kind is Kind.GONE:
            if self._pipe is not None and message.device == self._instance:
                self._pipe.vanished()
        elif message.client != self._half:
            return  # another client's: all of a device's clients read the same topic
        elif self._pipe is None:
            if message.kind in {Kind.ACCEPT, Kind.REFUSE} and not self._answer.done():
                self._answer.set_result(message)
            elif message.kind is Kind.ACCEPT and self._accepted_by_another(message):
                self._rival = True
            else:
                self.ignored[Fault.OUT_OF_TURN] += 1
        elif message.device == self._pipe.link[1]:
            self._pipe.arrived(message)
        elif message.kind is Kind.ACCEPT:
            self._pipe.lose(self._two_telemeters())
        else:
            self.ignored[Fault.UNKNOWN_LINK] += 1


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open a link to the telemeter that is offered at ``mqtt://host[:port]/topic``; everything or nothing.

    ``open-ms`` bounds the telemeter's answer, ``connect-ms`` the broker's; the other parameters are the broker's
    (``mqtt_access``). Raises ``LinkOpenError`` with what to try, ``UsageError`` for a bad URL.
    """
    del clock  # the broker's time-outs are real I/O, whatever clock the conversation runs on
    access = _access(url)
    limit_ms = url.integer("open-ms", OPEN_MS, low=1, high=_LONGEST_OPEN_MS)
    return await _Client(url, access).open(receiver, limit_ms)


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> MqttListener:
    """Offer the device at ``mqtt://host[:port]/topic`` of a broker that runs.

    Parameters are the broker's (``mqtt_access``). Raises ``LinkOpenError`` when the broker is not to be had now.
    """
    del clock
    listener = MqttListener(_access(url.without(("open-ms",))), accept)
    await listener.start()
    return listener

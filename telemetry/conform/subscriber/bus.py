"""Where the kit publishes and a subscriber listens: a real broker, or one in this process with the same promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from telemetry.conform.steps import Blocked
from telemetry.errors import LinkError
from telemetry.transport.mqtt_access import BrokerAccess, BrokerMessage, Will
from telemetry.transport.mqtt_broker import BrokerClient

if TYPE_CHECKING:
    from collections.abc import Callable

    Arrived = Callable[[str, bytes], None]
    Lost = Callable[[], None]


class Outlet(Protocol):
    """The publisher's side. Every call raises ``Blocked`` when the broker cannot be had."""

    async def open(self, will_topic: str, will: bytes) -> None:
        """Connect, and leave the will (retained) with the broker."""
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1; an empty retained payload takes away what was retained."""
        ...

    async def vanish(self) -> None:
        """Be gone without a goodbye, so that the will is published."""
        ...

    async def close(self) -> None:
        """Say goodbye; never raises."""
        ...


class Feed(Protocol):
    """The subscriber's side."""

    async def open(self, topic: str, arrived: Arrived, lost: Lost) -> None:
        """Connect and subscribe; raises ``LinkError``."""
        ...

    async def close(self) -> None:
        """Let go; never raises."""
        ...


class MemoryBus:
    """A broker in this process: retained messages, wills, filters with ``+`` and ``#``; delivery at once, in order."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self._listening: dict[int, tuple[str, Arrived]] = {}
        self._next = 0

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Take a message and hand it to whoever listens."""
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for wanted, arrived in tuple(self._listening.values()):
            if matches(wanted, topic):
                arrived(topic, payload)

    def listen(self, wanted: str, arrived: Arrived) -> Callable[[], None]:
        """Hand out what is retained, then what comes; returns what ends it."""
        self._next += 1
        number = self._next
        self._listening[number] = (wanted, arrived)
        for topic, payload in tuple(self.retained.items()):
            if matches(wanted, topic):
                arrived(topic, payload)
        return lambda: self._listening.pop(number, None) and None


def matches(wanted: str, topic: str) -> bool:
    """Whether a topic fits a filter (MQTT 3.1.1, 4.7)."""
    levels, names = wanted.split("/"), topic.split("/")
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= len(names) or level not in {"+", names[index]}:
            return False
    return len(levels) == len(names)


class MemoryOutlet:
    """The publisher on a ``MemoryBus``."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._will: tuple[str, bytes] | None = None

    async def open(self, will_topic: str, will: bytes) -> None:
        """Connect."""
        self._will = (will_topic, will)

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish."""
        self._bus.publish(topic, payload, retain=retain)

    async def vanish(self) -> None:
        """The broker publishes the will."""
        if self._will is not None:
            self._bus.publish(*self._will, retain=True)
        self._will = None

    async def close(self) -> None:
        """No will is left."""
        self._will = None


class MemoryFeed:
    """A subscriber on a ``MemoryBus``."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._end: Callable[[], None] | None = None

    async def open(self, topic: str, arrived: Arrived, lost: Lost) -> None:
        """Subscribe."""
        del lost
        await self.close()
        self._end = self._bus.listen(topic, arrived)

    async def close(self) -> None:
        """End it."""
        if self._end is not None:
            self._end()
            self._end = None


class BrokerOutlet:
    """The publisher on a real broker."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._client: BrokerClient | None = None

    async def open(self, will_topic: str, will: bytes) -> None:
        """Connect."""
        await self.close()
        client = BrokerClient(self._access, will=Will(will_topic, will, retain=True))
        try:
            await client.open()
        except LinkError as error:
            raise Blocked(str(error)) from error
        self._client = client

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish, and wait for the broker's acknowledgement."""
        if self._client is None:
            raise Blocked("the kit's publisher is not connected")
        try:
            await self._client.publish(topic, payload, retain=retain)
        except LinkError as error:
            raise Blocked(str(error)) from error

    async def vanish(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            client.give_up("the kit hung up, so that the will is published")
            await client.close()

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


class BrokerFeed:
    """A subscriber on a real broker."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._client: BrokerClient | None = None

    async def open(self, topic: str, arrived: Arrived, lost: Lost) -> None:
        """Connect and subscribe."""
        await self.close()

        def message(found: BrokerMessage) -> None:
            arrived(found.topic, found.payload)

        client = BrokerClient(self._access, on_message=message, on_lost=lambda _reason: lost())
        await client.open()
        self._client = client
        await client.subscribe(topic)

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

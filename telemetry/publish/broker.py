"""The broker as the gateway needs it: one that can be published to, and no more.

Nothing here subscribes, and what a broker sends all the same is dropped as it comes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from telemetry.errors import LinkError
from telemetry.transport.mqtt_broker import BrokerAccess, BrokerClient, BrokerMessage, BrokerOpenError
from telemetry.transport.mqtt_broker import Will as BrokerWill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from telemetry.publish.delivering import Broker, Will
    from telemetry.publish.topics import Destination


class _Published:
    """An open connection, seen through the hole that the gateway looks through."""

    def __init__(self, client: BrokerClient) -> None:
        self._client = client

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1; returns when the broker has acknowledged it. Raises ``LinkError``, within a bound."""
        await self._client.publish(topic, payload, qos=1, retain=retain)

    async def lost(self) -> None:
        """Wait for the connection to end, and raise the ``LinkError`` that says why."""
        raise await self._client.wait_lost()


def opener(destination: Destination) -> Callable[[Will], AbstractAsyncContextManager[Broker]]:
    """What opens a connection to the destination's broker, with a will.

    Raises ``UsageError`` at once for a URL or a file of it that cannot be.
    """
    access = BrokerAccess.from_url(destination.broker)
    access.tls_context()

    @asynccontextmanager
    async def connect(will: Will) -> AsyncIterator[Broker]:
        last_words = BrokerWill(will.topic, will.payload.encode(), qos=1, retain=True)
        async with BrokerClient(access, will=last_words, on_message=_unread) as client:
            try:
                yield _Published(client)
            except LinkError as error:
                # Without a goodbye, so that the will is published: nobody must take what is retained for the present.
                client.give_up(str(error))
                raise

    return connect


def refused(error: LinkError) -> bool:
    """Whether it would go on like that until a person changes something: credentials, version, TLS, the extra."""
    return isinstance(error, BrokerOpenError) and error.reason.lasts


def _unread(_message: BrokerMessage) -> None:
    """Whatever anybody sends us: it is not looked at."""

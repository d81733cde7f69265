"""A client of an MQTT broker: thin over aiomqtt, with every wait bounded and every failure a sentence.

What is added to aiomqtt: a publish that waits for its acknowledgement ends at once when the connection does; a refusal
by reason code is told; what comes in is bounded in count, in bytes and in the size of one packet; a failure in opening
keeps its cause (TLS, name, credentials). MQTT 3.1.1 and 5.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from telemetry.errors import LinkClosedError, LinkOpenError
from telemetry.transport.mqtt_access import (
    FIRST_FAILURE,
    BrokerAccess,
    BrokerMessage,
    BrokerOpenError,
    NotOpened,
    Will,
    who,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.transport.mqtt_wire import Wire

__all__ = ["BrokerAccess", "BrokerClient", "BrokerMessage", "BrokerOpenError", "NotOpened", "Will"]

PUBLISH_MS = 10_000
"""A broker that has not acknowledged by then is given up: several times what a busy one needs. Host time."""
MOST_WAITING = 1_000
MOST_WAITING_BYTES = 1 << 20
"""What waits to be read at most; what comes on top is dropped and counted."""


class BrokerClient:
    """One connection to a broker, from ``open`` (or ``async with``) to its loss; it never reconnects by itself.

    ``on_message`` is called with each message from the event loop; without it they wait for ``messages``, at most
    ``most_waiting`` of them and ``MOST_WAITING_BYTES``: newer ones are then dropped and counted in ``dropped``.
    ``on_lost`` is called once when an open connection ends otherwise than by ``close``; ``lost`` is why.
    """

    def __init__(
        self,
        access: BrokerAccess,
        *,
        will: Will | None = None,
        on_message: Callable[[BrokerMessage], None] | None = None,
        on_lost: Callable[[LinkClosedError], None] | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.access = access
        self.lost: LinkClosedError | None = None
        self.dropped = 0
        self._on_message = on_message
        self._on_lost = on_lost
        self._most_waiting = most_waiting
        self._waiting: deque[BrokerMessage] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._will = will
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect, within ``access.connect_ms``; everything or nothing. Raises ``BrokerOpenError``, ``UsageError``."""
        try:
            from telemetry.transport.mqtt_wire import Wire  # noqa: PLC0415 - loads aiomqtt, which is an extra
        except ImportError as error:
            raise BrokerOpenError(
                f"{self.access}: an MQTT broker needs aiomqtt, which cannot be loaded ({error}); "
                f"install the extra: pip install 'itb-telemetry[mqtt]'",
                reason=NotOpened.NO_EXTRA,
            ) from error
        wire = Wire(self.access, self._will, arrived=self._arrived, over=self._end)
        await wire.open()
        self._wire = wire

    async def close(self) -> None:
        """Say goodbye, so that no will is published, and release everything. Idempotent, bounded, never raises."""
        if self._wire is not None:
            await self._wire.close()
        self._end(LinkClosedError(f"{self.access} is closed: we closed it"), tell=False)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, timeout_ms: int = PUBLISH_MS
    ) -> None:
        """Publish, and return when the broker has acknowledged (QoS 0: when it is on its way).

        Raises ``LinkError`` when the broker refuses the message, ``LinkClosedError`` when the connection is or gets
        lost, or is given up because no acknowledgement came within ``timeout_ms`` of host time: then the message may
        or may not have been published.
        """
        acknowledged = self.publish_soon(topic, payload, qos=qos, retain=retain)
        await asyncio.wait({acknowledged}, timeout=timeout_ms / 1000)
        if not acknowledged.done():
            acknowledged.cancel()
            self.give_up(f"the broker did not acknowledge a message within {timeout_ms} ms; we hung up")
            raise self._gone()
        acknowledged.result()

    def publish_soon(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> asyncio.Future[None]:
        """Publish without waiting, in order; the future ends as ``publish`` does, but for its time-out.

        Raises ``LinkClosedError`` once the connection is lost, ``LinkError`` when too many already wait.
        """
        if self._wire is None or self.lost is not None:
            raise self._gone()
        return self._wire.send(topic, payload, qos, retain=retain)

    async def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Subscribe to topic filters, and return when the broker has granted them.

        Raises ``LinkOpenError`` when it refuses one, ``LinkClosedError`` as ``publish`` does.
        """
        if self._wire is None or self.lost is not None:
            raise self._gone()
        granted = self._wire.subscribe_soon(filters, qos)
        await asyncio.wait({granted}, timeout=PUBLISH_MS / 1000)
        if not granted.done():
            granted.cancel()
            self.give_up(f"the broker did not answer a subscription within {PUBLISH_MS} ms; we hung up")
            raise self._gone()
        for topic, code in zip(filters, granted.result(), strict=False):
            if code >= FIRST_FAILURE:
                raise LinkOpenError(
                    f"{self.access}: the broker does not let {who(self.access)} read {topic} (reason code {code}); "
                    f"whoever runs it must allow that"
                )

    async def messages(self) -> AsyncIterator[BrokerMessage]:
        """Give what arrives, in order; raises ``LinkClosedError`` when the connection is lost, and ends on a close."""
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message.payload)
                yield message
            if self.lost is not None:
                if self._wire is not None and self._wire.closing:
                    return
                raise self._gone()
            self._news.clear()
            await self._news.wait()

    async def wait_lost(self) -> LinkClosedError:
        """Wait until the connection is over; gives why."""
        await self._over.wait()
        return self._gone()

    def give_up(self, why: str) -> None:
        """Hang up without a goodbye, so that the will is published; ``lost`` says ``why``."""
        if self._wire is not None:
            self._wire.drop()
        self._end(LinkClosedError(f"{self.access}: {why}"))

    def _gone(self) -> LinkClosedError:
        error = LinkClosedError(str(self.lost) if self.lost else f"{self.access} is not open")
        error.__cause__ = self.lost
        return error

    def _end(self, reason: LinkClosedError, *, tell: bool = True) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        if self._wire is not None:
            self._wire.fail_pending(reason)
        self._news.set()
        self._over.set()
        if tell and self._on_lost is not None:
            self._on_lost(reason)

    def _arrived(self, message: BrokerMessage) -> None:
        if self.lost is not None:
            return
        if self._on_message is not None:
            self._on_message(message)
        elif (
            len(self._waiting) >= self._most_waiting or self._waiting_bytes + len(message.payload) > MOST_WAITING_BYTES
        ):
            self.dropped += 1
        else:
            self._waiting.append(message)
            self._waiting_bytes += len(message.payload)
            self._news.set()

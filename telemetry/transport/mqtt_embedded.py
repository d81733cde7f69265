"""A broker in this process, for benches and tests that have none: amqtt, MQTT 3.1.1, nothing kept on disk.

No broker for a hospital: it knows no users, no rights and no TLS, and forgets everything when it ends.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.mqtt_access import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

CLOSE_S = 5.0
"""How long the clients may take to be told that the broker ends. Host time: it bounds real I/O."""


class EmbeddedBroker:
    """``async with EmbeddedBroker() as broker``: a broker at ``broker.url``, on loopback unless told otherwise.

    Port 0 lets the system choose. Raises ``LinkOpenError`` when the place cannot be had or amqtt is missing,
    ``UsageError`` for a host that other machines reach without ``public``: anybody could then publish here.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, public: bool = False) -> None:
        if not public and not is_loopback(host):
            raise UsageError(
                f"mqtt://{host}:{port}: this broker knows no users, and other machines would reach it at {host}; "
                f"listen on 127.0.0.1, or say public=yes"
            )
        self.host = host
        self.port = port
        self._broker: Any = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Where clients reach it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        try:
            from amqtt.broker import Broker  # noqa: PLC0415 - a heavy library, and an extra
            from amqtt.errors import AMQTTError, BrokerError  # noqa: PLC0415 - likewise
        except ImportError as error:
            raise LinkOpenError(
                f"a broker in this process needs amqtt, which cannot be loaded ({error}); "
                f"install the extra: pip install 'itb-telemetry[mqtt]'"
            ) from error
        # It tells of every client at length, and of every one that ends without a word as an error of its own.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

        broker = Broker(
            {
                # Without brackets around IPv6: amqtt hands them on to the resolver.
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        serve = broker.stream_connected
        broker.stream_connected = partial(self._serve_one, serve)
        try:
            await broker.start()
        except (AMQTTError, BrokerError, OSError) as error:
            cause = error.__cause__ or error
            raise LinkOpenError(
                f"{self.url}: cannot listen there: {getattr(cause, 'strerror', None) or cause}; choose another port, "
                f"or 0 to let the system choose"
            ) from error
        self._broker = broker
        (server,) = broker._servers.values()  # noqa: SLF001 - amqtt does not say which port the system chose
        self.port = server.instance.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Tell the clients and release the port. Idempotent; bounded."""
        broker, self._broker = self._broker, None
        if broker is not None:
            ending = asyncio.ensure_future(broker.shutdown())
            await asyncio.wait({ending}, timeout=CLOSE_S)
            if not ending.done():
                ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            for task, writer in tuple(self._connections.items()):
                task.cancel()
                writer.transport.abort()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve_one(
        self,
        serve: Callable[..., Awaitable[None]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        **listener: object,
    ) -> None:
        """One connection. amqtt forgets those that never said who they are: here they end with the broker."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio makes one for each connection
        self._connections[task] = writer
        try:
            with suppress(asyncio.CancelledError):  # asyncio would print it as a defect
                await serve(reader, writer, **listener)
        finally:
            del self._connections[task]

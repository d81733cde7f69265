"""aiomqtt's glue between paho and the event loop, with bookkeeping of what is under way.

Of aiomqtt's own calls none is used that would wait on when the connection has gone, or lose the cause of a failure.
Loads aiomqtt; ``mqtt_broker`` is what others use.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import aiomqtt

from telemetry.errors import LinkClosedError, LinkError
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
    from collections.abc import Callable

CLOSE_S = 2.0
"""How long a close waits for what was published to be acknowledged. Host time."""
MOST_PACKET_BYTES = 1 << 18
"""A longer packet ends the connection: nothing that is exchanged here comes near it, and MQTT allows 256 MiB."""
_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
MOST_UNSENT = 5_000
"""Messages that may wait for their acknowledgement; more are refused."""
_LOGGER = logging.getLogger("telemetry.mqtt")
_LOGGER.addHandler(logging.NullHandler())  # what paho says is for whoever asks; what matters is raised
_ADVICE = {
    0x84: "the broker does not speak this version; try version=3.1.1 (or version=5)",
    0x85: "the broker does not like the client id; give another with client-id=",
    0x86: "user or password is wrong; look at user=, at password-file= or the environment, and at the broker's list",
    0x87: "this user may not do that; look at user=, password-file= or the environment, and at what the broker allows",
    0x88: "the broker is not available; try later",
    0x89: "the broker is busy; try later",
    0x8A: "the broker has banned this client; ask whoever runs it",
    0x8E: "another client came with the same client id; give each its own with client-id=, or none",
    0x95: "a message was longer than the broker takes",
    0x97: "the broker's quota for this client is used up",
}
"""By reason code (MQTT 5.0, 2.4); paho turns the five codes of 3.1.1 into these."""
_NOT_AUTHORIZED = 0x87
_BUSY = frozenset({0x88, 0x89})
"""Server unavailable, server busy: refusals that pass."""


class Wire(aiomqtt.Client):
    """aiomqtt's glue between paho and the event loop, with our own bookkeeping of what is under way."""

    def __init__(
        self,
        access: BrokerAccess,
        will: Will | None,
        *,
        arrived: Callable[[BrokerMessage], None],
        over: Callable[[LinkClosedError], None],
    ) -> None:
        five = access.version == "5"
        super().__init__(
            access.host,
            access.port,
            username=access.user,
            password=access.password,
            logger=_LOGGER,
            identifier=access.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            clean_session=None if five else True,
            keepalive=access.keepalive_s,
            max_queued_outgoing_messages=MOST_UNSENT,
            tls_context=access.tls_context(),
        )
        self.closing = False
        self._access = access
        self._arrived = arrived
        self._over = over
        self._client.connect_timeout = access.connect_ms / 1000
        self._answer: asyncio.Future[None] = self._loop.create_future()
        self._published: dict[int, tuple[asyncio.Future[None], str]] = {}
        """What waits for its acknowledgement, with its topic."""
        self._granted: dict[int, asyncio.Future[list[int]]] = {}
        self._idle = asyncio.Event()
        self._closed = asyncio.Event()
        self._dropped = False

    # --- opening and closing ---

    async def open(self) -> None:
        """Connect in a thread, as paho's opening blocks, and wait for the broker's answer."""
        access = self._access
        connecting = self._loop.run_in_executor(None, self._client_connect)
        deadline = self._loop.time() + access.connect_ms / 1000
        try:
            await asyncio.wait({connecting}, timeout=access.connect_ms / 1000)
            if not connecting.done():
                raise _silent(access)  # noqa: TRY301 - one way out for every failure: the socket is dropped
            connecting.result()
            await asyncio.wait({self._answer}, timeout=max(0.0, deadline - self._loop.time()))
            if not self._answer.done():
                raise _silent(access)  # noqa: TRY301
            self._answer.result()
        except BaseException as error:
            self._answer.cancel()
            connecting.add_done_callback(self._abandon)  # the thread may still be at it; a done one is called at once
            if isinstance(error, OSError) and not isinstance(error, LinkError):
                raise _worded(access, error) from error
            raise

    def _abandon(self, connecting: asyncio.Future[None]) -> None:
        if not connecting.cancelled():
            connecting.exception()  # looked at: it has been told, or nobody waits for it any more
        # The thread's own last words to the loop (add this reader, start that task) are said before this is called.
        self.drop()

    async def close(self) -> None:
        """Let what was published be acknowledged, within a bound; then disconnect."""
        if self.closing:
            return
        self.closing = True
        try:
            if self._published and not self._dropped:
                self._idle.clear()
                await _within(CLOSE_S, self._idle)
            if not self._dropped:
                self._client.disconnect()
                self._client.loop_write()  # at once where the system takes it, and the socket is closed behind it
                if self._client.socket() is not None:
                    await _within(CLOSE_S, self._closed)
        finally:
            self.drop()

    def drop(self) -> None:
        """Release the socket, whatever state it is in."""
        self._dropped = True
        self._idle.set()
        self._closed.set()
        sock = self._client.socket()
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            self._client.on_disconnect = None
            self._client._sock_close()  # noqa: SLF001 - paho has no other way that does not wait for the broker
        if self._misc_task is not None:
            self._misc_task.cancel()

    def fail_pending(self, reason: LinkClosedError) -> None:
        """Nobody will be acknowledged any more."""
        pending: list[asyncio.Future[Any]] = [*(one for one, _ in self._published.values()), *self._granted.values()]
        for future in pending:
            if not future.done():
                future.set_exception(reason)
                future.exception()  # looked at: publish_soon's caller need not wait for it
        self._published.clear()
        self._granted.clear()
        self._idle.set()

    # --- going out ---

    def send(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> asyncio.Future[None]:
        """Hand a message to paho; the future is done when the broker has it."""
        future: asyncio.Future[None] = self._loop.create_future()
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc == _QUEUE_FULL:
            raise LinkError(
                f"{self._access}: {MOST_UNSENT} messages wait for the broker's acknowledgement already; it is too slow"
            )
        if info.rc != _SUCCESS:
            raise self._gone_unseen()
        if qos == 0 or info.is_published():
            future.set_result(None)
        else:
            self._published[info.mid] = (future, topic)
        return future

    def subscribe_soon(self, filters: tuple[str, ...], qos: int) -> asyncio.Future[list[int]]:
        """Ask for topics; the future gives the reason code of each."""
        future: asyncio.Future[list[int]] = self._loop.create_future()
        code, mid = self._client.subscribe([(topic, qos) for topic in filters])
        if code != _SUCCESS or mid is None:
            raise self._gone_unseen()
        self._granted[mid] = future
        return future

    def _gone_unseen(self) -> LinkClosedError:
        reason = LinkClosedError(f"{self._access}: the connection to the broker is gone")
        self._over(reason)
        return reason

    # --- coming in: called by paho ---

    def _on_connect(self, *args: Any) -> None:  # noqa: ANN401 - paho's callback, by position
        code = args[3].value
        if self._answer.done():
            return
        if code == 0:
            self._answer.set_result(None)
        else:
            why = f"the broker refused {who(self._access)}: {args[3]} (reason code {code})"
            # mosquitto says "not authorized" to a wrong password, too.
            advice = _ADVICE[0x86] if code == _NOT_AUTHORIZED else _ADVICE.get(code, _ASK)
            reason = NotOpened.BUSY if code in _BUSY else NotOpened.REFUSED
            self._answer.set_exception(BrokerOpenError(f"{self._access}: {why}; {advice}", reason=reason))

    def _on_disconnect(self, *args: Any) -> None:  # noqa: ANN401
        if not self.closing:
            code = args[3].value
            self._hung_up("" if code == FIRST_FAILURE else f"{args[3]} (reason code {code})", code)

    def _hung_up(self, why: str, code: int = 0) -> None:
        if not self._answer.done():
            wants = "" if self._access.tls else ", and does it want TLS (mqtts://)"
            self._answer.set_exception(
                BrokerOpenError(
                    f"{self._access}: it hung up without an answer{f' ({why})' if why else ''}; is it an MQTT broker, "
                    f"does it speak version {self._access.version} (version=){wants}?",
                    reason=NotOpened.HUNG_UP,
                )
            )
        elif not self._answer.cancelled() and self._answer.exception() is None:
            advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
            self._over(
                LinkClosedError(f"{self._access}: the connection to the broker ended: {why or 'it hung up'}{advice}")
            )

    def _on_message(self, *args: Any) -> None:  # noqa: ANN401
        message = args[2]
        if len(message.payload) > MOST_PACKET_BYTES:
            self._loop.call_soon(self._too_long, len(message.payload))  # paho is in the middle of its reading
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours is that; MQTT wants UTF-8 (5.0, 1.5.4)
        self._arrived(BrokerMessage(topic, bytes(message.payload), message.qos, bool(message.retain)))

    def _on_publish(self, *args: Any) -> None:  # noqa: ANN401
        future, topic = self._published.pop(args[2], (None, ""))
        if not self._published:
            self._idle.set()
        if future is None or future.done():
            return
        code = args[3].value
        if code < FIRST_FAILURE:
            future.set_result(None)
            return
        future.set_exception(
            LinkError(
                f"{self._access}: the broker refused a message of {who(self._access)} to {topic}: {args[3]} "
                f"(reason code {code}); {_ADVICE.get(code, _ASK)}"
            )
        )
        future.exception()  # looked at: publish_soon's caller need not wait for it

    def _on_subscribe(self, *args: Any) -> None:  # noqa: ANN401
        future = self._granted.pop(args[2], None)
        if future is not None and not future.done():
            future.set_result([code.value for code in args[3]])

    # --- the socket ---

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401
        super()._on_socket_close(client, userdata, sock)
        self._closed.set()

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401
        """Begin to read; called in the thread that connects."""
        del client, userdata
        self._loop.call_soon_threadsafe(self._begin, sock)

    def _begin(self, sock: Any) -> None:  # noqa: ANN401
        if self._dropped or sock.fileno() < 0:
            return
        # An acknowledgement and a message behind it would wait for one another's TCP acknowledgements, 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(sock.fileno(), partial(self._readable, sock))
        self._misc_task = self._loop.create_task(self._misc_loop())

    def _readable(self, sock: Any) -> None:  # noqa: ANN401
        try:
            if _QUICK_ACK is not None:
                # As configured by default, mosquitto holds a small message back until what went before it has been
                # acknowledged by TCP, which a silent reader does after 40 ms. The option lasts for one acknowledgement.
                sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            self._client.loop_read()
            # A TLS socket may hold whole packets that no selector knows of.
            while isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending():
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - paho raises whatever comes of bytes that it does not expect
            self.drop()
            self._hung_up(f"what it sent is no MQTT ({error!r})")
            return
        length = self._client._in_packet["remaining_length"]  # noqa: SLF001 - the only place where it is known in time
        if length > MOST_PACKET_BYTES:
            self._too_long(length)

    def _too_long(self, length: int) -> None:
        self.drop()
        self._hung_up(f"it sent a packet of {length} bytes, the limit is {MOST_PACKET_BYTES}")

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401
        del client, userdata
        self._loop.call_soon_threadsafe(self._want_to_write, sock)

    def _want_to_write(self, sock: Any) -> None:  # noqa: ANN401
        if not self._dropped and sock.fileno() >= 0 and self._client.want_write():
            self._loop.add_writer(sock.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as in _readable
            self.drop()
            self._hung_up(f"it could not be written to ({error!r})")

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401
        del client, userdata
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock.fileno())


async def _within(limit_s: float, event: asyncio.Event) -> None:
    """Wait for an event, but not for longer than that."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=limit_s)
    finally:
        waiting.cancel()


_SUCCESS = 0
_QUEUE_FULL = 15
"""MQTT_ERR_SUCCESS and MQTT_ERR_QUEUE_SIZE of paho."""
_ASK = "ask whoever runs the broker"


def _silent(access: BrokerAccess) -> BrokerOpenError:
    five = ", does it speak MQTT 5 (else leave version=5 out)" if access.version == "5" else ""
    return BrokerOpenError(
        f"{access}: no broker answered within {access.connect_ms} ms; is the address right, does a firewall stand "
        f"between{five}, and is TLS wanted or not (mqtts://, mqtt://)?",
        reason=NotOpened.SILENT,
    )


def _worded(access: BrokerAccess, error: OSError) -> BrokerOpenError:
    """Say what to do about a failure of the socket or of TLS."""
    reason = NotOpened.UNTRUSTED if isinstance(error, ssl.SSLError) else NotOpened.UNREACHABLE
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH
            why = f"its certificate is not for {access.host!r}; use the name that stands in the certificate"
        else:
            trusted = f"cafile={access.ca_file}" if access.ca_file else "the authorities that this machine trusts"
            why = (
                f"its certificate is not to be trusted by {trusted} ({error.verify_message}); give the authority's "
                f"certificate with cafile="
            )
    elif isinstance(error, ssl.SSLEOFError) or (access.tls and isinstance(error, ConnectionResetError)):
        # A broker that is just starting or ending does so, too.
        reason = NotOpened.HUNG_UP
        why = "it hung up in the middle of TLS; does it speak TLS on this port (or mqtt://), and want a certfile=?"
    elif isinstance(error, ssl.SSLError):
        why = f"TLS failed ({error.reason or error}); does it speak TLS on this port, and does it want a certfile=?"
    elif isinstance(error, socket.gaierror):
        why = f"no host is known as {access.host!r} ({error.strerror}); try its address"
    elif isinstance(error, ConnectionRefusedError):
        why = (
            f"nothing listens at {access.host} port {access.port}; is the broker running? One for the bench would be "
            f"started with: telemetry broker --listen mqtt://127.0.0.1:{access.port}"
        )
    elif isinstance(error, TimeoutError):
        return _silent(access)
    else:
        why = f"it cannot be reached: {error.strerror or error}"
    return BrokerOpenError(f"{access}: {why}", reason=reason)

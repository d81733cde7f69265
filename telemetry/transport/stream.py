"""TCP, client and server, on non-blocking sockets and the event loop.

Not asyncio's streams: a coroutine switch for each read would cost more than the whole rest of a round trip.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from abc import abstractmethod
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.pipe import READ_SIZE, DescriptorPipe, PipeListener

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver, Transport
    from telemetry.transport.url import TransportURL

CONNECT_MS = 5_000
"""A connection that takes longer is given up; a SYN and its first two repeats (1 s and 3 s, RFC 6298) fit in."""
_LONGEST_CONNECT_MS = 60_000
_BACKLOG = 64
_PAUSE_S = 1.0
ENDED = "the other end closed the connection"


def close_gracefully(sock: socket.socket) -> None:
    """Close so that what was sent still arrives: unread input would turn the close into a reset (RFC 1122 4.2.2.13)."""
    with suppress(OSError):  # the peer may be gone already; then there is nothing to be graceful to
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(READ_SIZE):
            pass
    sock.close()


def _pipe(sock: socket.socket, url: str) -> DescriptorPipe:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return DescriptorPipe(
        sock.fileno(),
        TransportInfo(url, datagrams=False),
        release=partial(close_gracefully, sock),
        ended=ENDED,
        receive=sock.recv,
        send=sock.send,
    )


async def _addresses(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]]:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found if isinstance(address[0], str)]
    return [(family, (host, port))]


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open ``tcp://host:port[?connect-ms=5000]``; everything or nothing, within ``connect-ms`` of host time.

    Raises ``LinkOpenError`` naming host, port, reason and what to try, ``UsageError`` for a bad URL.
    """
    del clock  # opening a socket is real I/O, whatever clock the conversation over it runs on
    url.allow("connect-ms")
    host, port = url.host_port()
    limit_ms = url.integer("connect-ms", CONNECT_MS, low=1, high=_LONGEST_CONNECT_MS)
    try:
        async with asyncio.timeout(limit_ms / 1000):
            sock = await _connect_socket(host, port)
    except TimeoutError:
        raise LinkOpenError(
            f"{url}: {host} did not answer on port {port} within {limit_ms} ms; is the address right, "
            f"and does a firewall stand between?"
        ) from None
    except socket.gaierror as error:
        raise LinkOpenError(f"{url}: no host is known as {host!r} ({error.strerror}); try its address") from error
    except ConnectionRefusedError as error:
        raise LinkOpenError(
            f"{url}: nothing listens at {host} port {port}; is the simulator running? "
            f"It would be started with: telemetry sim --listen {url.scheme}://{url.address}"
        ) from error
    except OSError as error:
        raise LinkOpenError(f"{url}: {host} port {port} cannot be reached: {error.strerror or error}") from error
    pipe = _pipe(sock, url.text)
    pipe.start(receiver)
    return pipe


async def _connect_socket(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for family, address in await _addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


class SocketListener(PipeListener):
    """Accepts connections at one address; a kind says in ``_entered`` what becomes of each."""

    def __init__(self, scheme: str, sock: socket.socket, accept: Acceptor) -> None:
        host, port = sock.getsockname()[:2]
        super().__init__(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}", accept)
        self._sock = sock
        self._resume: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock.fileno(), self._acceptable)

    @abstractmethod
    def _entered(self, sock: socket.socket, url: str) -> None:
        """Take over a connection; ``url`` names it."""

    def _acceptable(self) -> None:
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client changed its mind between knocking and entering
        except OSError as error:
            # Left readable, an unacceptable connection would spin the loop: say so and look again later.
            self._loop.call_exception_handler({"message": f"{self.url}: cannot accept", "exception": error})
            self._loop.remove_reader(self._sock.fileno())
            self._resume = self._loop.call_later(_PAUSE_S, self._loop.add_reader, self._sock.fileno(), self._acceptable)
            return
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._entered(sock, f"{self.url} (client {address[0]}:{address[1]})")

    def _stop_accepting(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


class TcpListener(SocketListener):
    """Accepts any number of connections at one address."""

    def _entered(self, sock: socket.socket, url: str) -> None:
        self._adopt(_pipe(sock, url))


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> TcpListener:
    """Listen at ``tcp://host:port``; port 0 lets the system choose, ``url`` of the result says what it chose.

    Parameters and errors as of ``listening_socket``.
    """
    del clock
    return TcpListener("tcp", await listening_socket(url), accept)


async def listening_socket(url: TransportURL) -> socket.socket:
    """A non-blocking socket that listens at the ``host:port`` of a URL; port 0 lets the system choose.

    An address other than loopback is refused unless ``?public=yes`` asks for it (``UsageError``): whoever reaches the
    port reaches the device. Raises ``LinkOpenError`` when the address cannot be had.
    """
    url.allow("public")
    host, port = url.host_port(lowest_port=0)
    if not url.switch("public", default=False) and not _is_loopback(host):
        raise UsageError(
            f"{url}: {host} can be reached from other machines; use 127.0.0.1, or add ?public=yes if that is meant"
        )
    try:
        (family, address), *_ = await _addresses(host, port)
    except socket.gaierror as error:
        raise LinkOpenError(f"{url}: no host is known as {host!r} ({error.strerror}); try its address") from error
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        advice = "choose another port, or 0 to let the system choose" if error.errno == errno.EADDRINUSE else "check it"
        raise LinkOpenError(f"{url}: cannot listen there: {error.strerror or error}; {advice}") from error
    return sock


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

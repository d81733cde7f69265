"""Opening Bluetooth controllers for bumble, and offering one to another program: errors say what to do."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bumble.transport import open_transport as open_bumble_transport
from bumble.transport.common import StreamPacketSource

from telemetry.errors import LinkOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bumble.transport.common import Transport

OPEN_S = 10.0
"""A controller that is not open within this time of the host's is given up; a USB adapter may load its firmware."""
CLOSE_S = 2.0
"""How long closing a controller may take."""

_CURES = {
    errno.EACCES: "add yourself to the group that owns it, or write a udev rule",
    errno.EPERM: "opening it needs CAP_NET_ADMIN, or a udev rule for USB",
    errno.EBUSY: "stop the Bluetooth service (systemctl stop bluetooth) or whatever else holds it",
    errno.EADDRINUSE: "choose another address, or stop what listens there",
    errno.ENOENT: "is the path right, and the device plugged in?",
    errno.ENODEV: "is the adapter plugged in, and its number right?",
    errno.EAFNOSUPPORT: "this kernel has no Bluetooth; a USB adapter works without it, as ble+usb:0",
    errno.ECONNREFUSED: "start the program that offers the controller first",
}


class HciPort:
    """An open controller: bumble's two halves, a word when it vanishes, and a close that is bounded."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.source: Any = transport.source
        self.sink: Any = transport.sink
        self._closing = False

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Call back when the controller vanishes of itself (unplugged, connection closed), not when we close it."""
        terminated: asyncio.Future[None] | None = getattr(self.source, "terminated", None)

        def ended(future: asyncio.Future[None]) -> None:
            if not future.cancelled():
                future.exception()  # that it ended is what counts; unasked, the loop would complain about it
            if not self._closing:
                callback()

        if terminated is not None:
            terminated.add_done_callback(ended)

    async def close(self) -> None:
        """Release it within ``CLOSE_S`` of host time; idempotent, never raises."""
        if self._closing:
            return
        self._closing = True
        with suppress(Exception):  # what vanished cannot be closed properly, and nothing follows from that
            async with asyncio.timeout(CLOSE_S):
                await self._transport.close()
        await asyncio.sleep(0)  # asyncio closes its sockets one turn later


async def open_hci(spec: str, what: str) -> HciPort:
    """Open a controller that bumble calls ``spec``, within ``OPEN_S`` of host time; ``what`` names it in errors.

    Raises ``LinkOpenError`` with the reason and the cure.
    """
    try:
        async with asyncio.timeout(OPEN_S):
            return HciPort(await open_bumble_transport(spec))
    except TimeoutError:
        raise LinkOpenError(f"{what}: the controller did not open within {OPEN_S:.0f} s; replug or reset it") from None
    except ImportError as error:
        package = "bumble[android]" if spec.startswith("android") else "itb-telemetry[ble]"
        raise LinkOpenError(
            f"{what}: the library {error.name} is missing; install it with: pip install '{package}'"
        ) from error
    except OSError as error:
        why = f"{_reason(error)}; {_hint(spec)}" if spec.startswith("vhci") else _why(error)
        raise LinkOpenError(f"{what}: {why}") from error
    except Exception as error:  # each of bumble's transports fails with the errors of the library under it
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise LinkOpenError(f"{what}: the controller cannot be opened ({words}); {_hint(spec)}") from error


class HciServer:
    """A socket at which one other program at a time gets the far side of an HCI; a further one is turned away.

    It has the two halves that bumble asks of a transport: ``set_packet_sink`` and ``on_packet``. ``on_gone`` is
    called each time the other program has hung up.
    """

    def __init__(self, on_gone: Callable[[], None]) -> None:
        self.terminated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.called = asyncio.Event()
        self.address = ""
        """Where it listens, as bumble writes it: ``host:port`` or a path."""
        self._on_gone = on_gone
        self._receiver: Any = None
        self._caller: _Caller | None = None
        self._server: asyncio.Server | None = None

    @property
    def source(self) -> HciServer:
        """Where packets of the other program come from: itself, as bumble's transports name it."""
        return self

    @property
    def sink(self) -> HciServer:
        """Where packets for the other program go."""
        return self

    async def listen(self, *, host: str = "", port: int = 0, path: str = "") -> None:
        """Listen at a TCP address, or at a path; raises ``LinkOpenError`` when it cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            if path:
                self._server = await loop.create_unix_server(lambda: _Caller(self), path)
                self.address = path
            else:
                self._server = await loop.create_server(lambda: _Caller(self), host, port)
                self.address = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        except OSError as error:
            raise LinkOpenError(f"HCI server at {path or f'{host}:{port}'}: {_why(error)}") from error

    def set_packet_sink(self, sink: Any) -> None:  # noqa: ANN401 - a protocol of bumble's, untyped there
        """Say who gets the packets of the other program."""
        self._receiver = sink
        if self._caller is not None:
            self._caller.set_packet_sink(sink)

    def on_packet(self, packet: bytes) -> None:
        """Send a packet to the other program; without one it goes nowhere, as in a controller nobody drives."""
        if self._caller is not None:
            self._caller.send(packet)

    async def close(self) -> None:
        """Stop listening and hang up; idempotent."""
        if self._caller is not None:
            self._caller.abort()
            self._caller = None
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.sleep(0)

    def came(self, caller: _Caller) -> bool:
        """A program calls; False turns it away."""
        if self._caller is not None:
            return False
        self._caller = caller
        if self._receiver is not None:
            caller.set_packet_sink(self._receiver)
        self.called.set()
        return True

    def went(self, caller: _Caller) -> None:
        """A program hung up."""
        if caller is self._caller:
            self._caller = None
            self.called.clear()
            self._on_gone()


class _Caller(StreamPacketSource):
    """One connection of another program."""

    def __init__(self, server: HciServer) -> None:
        super().__init__()
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            if not self._server.came(self):
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # hung up or broken, the program is gone
        self._server.went(self)

    def send(self, packet: bytes) -> None:
        if self._transport is not None:
            self._transport.write(packet)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _why(error: OSError) -> str:
    return f"{_reason(error)}; {_CURES.get(_number(error), 'is it plugged in, free, and yours to open?')}"


def _reason(error: OSError) -> str:
    number = _number(error)
    return os.strerror(number) if number else str(error) or type(error).__name__


def _number(error: OSError) -> int:
    number = error.errno
    if number is None and error.args and isinstance(error.args[0], int):
        number = error.args[0]
    return number or 0


def _hint(spec: str) -> str:
    if spec.startswith("usb"):
        return "is an adapter plugged in (lsusb), yours to open (udev rule), and the Bluetooth service stopped?"
    if spec.startswith("hci-socket"):
        return "is there a controller hci0 (hciconfig), is it down, and has this program CAP_NET_ADMIN?"
    if spec.startswith("vhci"):
        return "the kernel's virtual adapter /dev/vhci is wanted: modprobe hci_vhci, and open it as root"
    return "is it plugged in, free, and yours to open?"

"""Serial ports through pyserial: terminals by their descriptor, pyserial's URL handlers by threads.

A terminal (and ``socket://``, which is one socket underneath) is read by the event
loop itself; handlers without a descriptor that can be waited for (``loop://``, ``rfc2217://``, ``spy://``, third
parties') get a reader and a writer thread, which are over when the loss is announced.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import queue
import re
import socket
import struct
import sys
import termios
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import quote

import serial
from serial.tools import list_ports

from telemetry.errors import LinkClosedError, LinkOpenError, UnknownScheme, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.pipe import FLUSH_S, UNSENT_LIMIT_BYTES, DescriptorPipe, Pipe, PipeListener
from telemetry.transport.rfc2217 import open_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver, Transport
    from telemetry.transport.url import TransportURL

DEFAULT_BAUDRATE = 115_200
_BAUDRATES = (50, 4_000_000)
OPEN_MS = 10_000
"""A handler that takes longer to open is given up; pyserial's own RFC 2217 negotiation gives up after 3 s a step."""
_LONGEST_OPEN_MS = 60_000
_POLL_S = 0.05
"""How long a reader thread waits for a byte before it looks whether it should stop."""
JOIN_S = 2.0
"""How long a closing port waits for its writer before it is closed under it."""
_DRAIN_STEP_S = 0.005
_OWN_PARAMETERS = ("baudrate", "rtscts", "open-ms")
_HANDLERS = {
    "alt": ("class",),
    "loop": ("logging",),
    "rfc2217": ("logging", "ign_set_control", "poll_modem", "timeout"),
    "socket": ("logging",),
    "spy": ("file", "color", "raw", "all"),
}
_ON_THE_NETWORK = frozenset({"rfc2217", "socket"})
_ENDED = "the port vanished; was it unplugged, or the simulator behind it stopped?"


class SerialPipe(DescriptorPipe):
    """A terminal, by its descriptor."""

    async def _flush(self) -> None:
        await super()._flush()
        # Closing a terminal blocks until the line has taken everything (closing_wait, 30 s): wait for it here instead.
        steps = int(FLUSH_S / _DRAIN_STEP_S)
        while self._waiting_in_kernel() and steps:
            steps -= 1
            await asyncio.sleep(_DRAIN_STEP_S)
        if self._waiting_in_kernel():
            termios.tcflush(self._descriptor, termios.TCOFLUSH)

    def _waiting_in_kernel(self) -> int:
        if self._lost:
            return 0
        try:
            answer = fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, struct.pack("I", 0))
        except OSError:
            return 0  # the port is gone, and with it what it held
        return int(struct.unpack("I", answer)[0])


class HandlerPipe(Pipe):
    """A port of a pyserial URL handler, served by two threads that end, and are waited for, with it."""

    def __init__(self, port: Any, info: TransportInfo) -> None:  # noqa: ANN401 - pyserial publishes no types
        super().__init__(info)
        self._port = port
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._unsent_bytes = 0
        self._stop = threading.Event()
        self._writer = threading.Thread(target=self._write_loop, name=f"writer of {info.url}", daemon=True)
        self._reader = threading.Thread(target=self._read_loop, name=f"reader of {info.url}", daemon=True)

    def start(self, receiver: Receiver) -> None:
        """Begin to read and write."""
        super().start(receiver)
        self._writer.start()
        self._reader.start()

    def write(self, data: bytes) -> None:
        """Hand over to the writer thread."""
        if self._closing:
            raise self._gone()
        if self._unsent_bytes + len(data) > UNSENT_LIMIT_BYTES:
            self._lose(
                LinkClosedError(
                    f"{self.info.url}: the port does not take what is written; more than {UNSENT_LIMIT_BYTES} bytes "
                    f"would be waiting unsent"
                )
            )
            raise self._gone()
        self._unsent_bytes += len(data)
        self._outbox.put(bytes(data))

    def _release(self) -> None:
        self._outbox.put(None)
        self._stop.set()
        if not self._reader.is_alive():
            _close_port(self._port)
            self._released()

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed under us: nobody is left to be told
            self._loop.call_soon_threadsafe(function, *args)

    def _read_loop(self) -> None:
        try:
            while not self._stop.is_set():
                data = self._port.read(1)
                if data:
                    data += self._port.read(self._port.in_waiting)
                    self._call(self._deliver, data)
        except Exception as error:  # noqa: BLE001 - handlers raise whatever they like; it is why the port ended
            self._call(self._failed, error)
        # The last of the two threads closes the port: only then is nobody inside it.
        self._stop.wait()
        self._writer.join(JOIN_S)
        with suppress(Exception):
            _close_port(self._port)
        self._writer.join(JOIN_S)
        self._call(self._released)

    def _write_loop(self) -> None:
        try:
            while (data := self._outbox.get()) is not None:
                self._port.write(data)
                self._call(self._sent, len(data))
        except Exception as error:  # noqa: BLE001 - as above
            self._call(self._failed, error)

    def _sent(self, count: int) -> None:
        self._unsent_bytes -= count

    def _failed(self, error: Exception) -> None:
        reason = LinkClosedError(f"{self.info.url}: {_ENDED} ({error})")
        reason.__cause__ = error
        self._lose(reason)


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open ``serial:///dev/…`` or ``serial+HANDLER://…`` at 8N1; everything or nothing.

    Parameters: ``baudrate`` (115200), ``rtscts`` (no), ``open-ms`` (handlers; 10000 ms of host time), and a handler's
    own. The port is locked against a second opener that asks for the same. Raises ``LinkOpenError`` saying whether it
    is missing, forbidden or in use and what to do, ``UnknownScheme`` for a handler that pyserial does not have,
    ``UsageError`` for a bad parameter.
    """
    del clock  # a port is real I/O, whatever clock the conversation over it runs on
    pipe = await _open(url)
    pipe.start(receiver)
    return pipe


async def _open(url: TransportURL) -> Pipe:
    handler = url.scheme.partition("+")[2]
    if not handler:
        url.allow("baudrate", "rtscts")
        return _open_terminal(url)
    if handler in _HANDLERS:
        url.allow(*_OWN_PARAMETERS, *_HANDLERS[handler])
    limit_ms = url.integer("open-ms", OPEN_MS, low=1, high=_LONGEST_OPEN_MS)
    if handler in _ON_THE_NETWORK:
        url.host_port()
    settings = _settings(url)
    port_url = _handler_url(url, handler)
    opening = asyncio.get_running_loop().run_in_executor(None, partial(_open_handler, url, port_url, settings))
    try:
        done, _ = await asyncio.wait((opening,), timeout=limit_ms / 1000)
    except BaseException:
        opening.add_done_callback(_close_late)
        raise
    if not done:
        opening.add_done_callback(_close_late)
        raise LinkOpenError(f"{url}: {port_url} did not open within {limit_ms} ms; is the other end there?")
    port = opening.result()
    if handler == "socket":
        return _socket_pipe(port, TransportInfo(url.text, datagrams=False))
    paced = handler not in {"loop", "alt"}
    info = TransportInfo(url.text, datagrams=False, bits_per_s=settings["baudrate"] if paced else None)
    return HandlerPipe(port, info)


def _close_late(opening: asyncio.Future[Any]) -> None:
    """An opening that nobody waits for any more came to its end."""
    if not opening.cancelled() and opening.exception() is None:
        _close_port(opening.result())


class _Settings(TypedDict):
    baudrate: int
    rtscts: bool


def _settings(url: TransportURL) -> _Settings:
    low, high = _BAUDRATES
    return {
        "baudrate": url.integer("baudrate", DEFAULT_BAUDRATE, low=low, high=high),
        "rtscts": url.switch("rtscts", default=False),
    }


def _open_terminal(url: TransportURL) -> Pipe:
    path = url.address
    if not path.startswith("/"):
        raise UsageError(f"{url}: the port must be an absolute path, as in serial:///dev/ttyUSB0; {_ports_here()}")
    settings = _settings(url)
    try:
        port = serial.Serial(path, timeout=0, write_timeout=0, exclusive=True, **settings)
    except (serial.SerialException, OSError, ValueError) as error:
        raise _open_error(url, path, error) from error
    try:
        descriptor = cast("int", port.fileno())
        # pyserial sets VMIN to 0, under which an empty line and a vanished one read alike.
        attributes = termios.tcgetattr(descriptor)
        attributes[6][termios.VMIN] = 1
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        info = TransportInfo(url.text, datagrams=False, bits_per_s=settings["baudrate"])
        return SerialPipe(descriptor, info, release=port.close, ended=_ENDED)
    except BaseException:
        port.close()
        raise


def _open_error(url: TransportURL, path: str, error: Exception) -> LinkOpenError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        why = f"{_absent(path)}; {_ports_here()}"
    elif number == errno.EIO:
        why = "the device behind it does not answer (Input/output error); unplug it and plug it in again"
    elif number in (errno.EACCES, errno.EPERM):
        why = f"permission denied; add yourself to its group: sudo usermod -aG {_group(path)} $USER, then log in again"
    elif number in (errno.EBUSY, errno.EAGAIN):
        why = f"it is in use by another program; find it with: fuser -v {path}"
    elif number in (errno.EISDIR, errno.ENOTTY) or "Could not configure port" in str(error):
        why = f"it is no serial port; {_ports_here()}"
    else:
        why = str(error)
    return LinkOpenError(f"{url}: {path} cannot be opened: {why}")


def _absent(path: str) -> str:
    name = Path(path)
    try:
        if name.is_symlink() and not name.exists():
            return f"it is a name for {name.readlink()}, which is not there now; is the cable plugged in?"
    except OSError:
        pass  # the name has gone between two looks at it
    return "there is no such port; is the cable plugged in?"


def _group(path: str) -> str:
    try:
        return Path(path).group()
    except (OSError, KeyError):
        return "dialout"


def _ports_here() -> str:
    found = sorted(port.device for port in list_ports.comports())
    return f"ports here: {', '.join(found)}" if found else "this machine shows no serial ports"


def _handler_url(url: TransportURL, handler: str) -> str:
    own = [f"{name}={quote(value)}" for name, value in url.params.items() if name not in _OWN_PARAMETERS]
    return f"{handler}://{url.address}{'?' if own else ''}{'&'.join(own)}"


def _open_handler(url: TransportURL, port_url: str, settings: _Settings) -> Any:  # noqa: ANN401 - as above
    """Open a handler's port (in a worker thread, for it blocks)."""
    try:
        if port_url.startswith("rfc2217:"):
            return open_client(port_url, timeout=_POLL_S, **settings)
        return serial.serial_for_url(port_url, timeout=_POLL_S, **settings)
    except serial.SerialException as error:
        if error.errno is not None:
            raise _open_error(url, url.address, error) from error
        if "expected a string in the form" in str(error):
            raise UsageError(f"{url}: pyserial refuses {port_url}: {error}") from error
        why = re.sub(r"^Could not open port [^:]*://[^:]*(:\d+)?: ", "", str(error))
        raise LinkOpenError(f"{url}: {port_url} cannot be opened: {why}; is the other end running?") from error
    except (KeyError, ValueError) as error:
        if "not known" in str(error):
            known = ", ".join(f"serial+{name}" for name in _HANDLERS)
            raise UnknownScheme(f"{url}: pyserial has no handler {url.scheme!r}; it brings {known}") from error
        raise UsageError(f"{url}: pyserial refuses {port_url}: {error}") from error
    except Exception as error:  # handlers raise whatever they like, and none of it may cross our boundary
        raise LinkOpenError(f"{url}: {port_url} cannot be opened: {error}") from error


def _close_port(port: Any) -> None:  # noqa: ANN401 - as above
    """Close a port, and the log that spy:// leaves open behind it."""
    try:
        port.close()
    finally:
        log = getattr(getattr(port, "formatter", None), "output", None)
        if log is not None and log is not sys.stderr:
            log.close()


def _socket_pipe(port: Any, info: TransportInfo) -> Pipe:  # noqa: ANN401 - as above
    """Take the socket over: the handler's own reads move a byte at a time, and its close sleeps 0.3 s in the loop."""
    sock: socket.socket = port._socket  # noqa: SLF001 - pyserial 3.5 offers no other way
    port._socket, port.is_open = None, False  # noqa: SLF001 - as above
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return DescriptorPipe(
        sock.fileno(), info, release=sock.close, ended="the other end closed", receive=sock.recv, send=sock.send
    )


class SerialListener(PipeListener):
    """The device behind a real port: the one link begins at once and ends with the port."""

    def __init__(self, pipe: Pipe, url: str, accept: Acceptor) -> None:
        super().__init__(url, accept)
        self._adopt(pipe)

    def _stop_accepting(self) -> None:
        """The port is the one pipe, which is closed with the rest."""


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> SerialListener:
    """Offer the device at ``serial:///dev/ttyS1``, parameters and errors as of ``connect``.

    A serial line has no callers: the one transport is accepted at once. Where a client can reach it is at the other
    end of the cable; ``url`` names this end.
    """
    del clock
    return SerialListener(await _open(url), url.text, accept)

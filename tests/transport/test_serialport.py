from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest
import serial
import serial.rfc2217
from serial.tools import list_ports

from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UnknownScheme, UsageError
from telemetry.transport import pipe, serialport
from telemetry.transport.registry import listen, open_transport
from telemetry.transport.url import parse_url
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from telemetry.transport.base import Transport

pytestmark = pytest.mark.real
CLOCK = SystemClock()


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.001)


async def open_serial(url: str) -> tuple[Transport, RecordingReceiver]:
    receiver = RecordingReceiver()
    return await open_transport(url, receiver, clock=CLOCK), receiver


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A bare pseudo-terminal: the master, and the name of the slave."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


async def test_a_port_that_is_not_there_lists_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Port:
        def __init__(self, device: str) -> None:
            self.device = device

    monkeypatch.setattr(list_ports, "comports", lambda: [Port("/dev/ttyUSB1"), Port("/dev/ttyACM0")])
    told = r"no such port; is the cable plugged in\?; ports here: /dev/ttyACM0, /dev/ttyUSB1"
    with pytest.raises(LinkOpenError, match=told):
        await open_serial("serial:///dev/ttyNOPE")
    monkeypatch.setattr(list_ports, "comports", list)
    told = r"no such port; is the cable plugged in\?; this machine shows no serial ports"
    with pytest.raises(LinkOpenError, match=told):
        await open_serial("serial:///dev/ttyNOPE")


@pytest.mark.parametrize("path", ["/dev/null", "/"])
async def test_what_is_no_serial_port_is_said_to_be_none(path: str) -> None:
    with pytest.raises(LinkOpenError, match="it is no serial port"):
        await open_serial(f"serial://{path}")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, r"usermod -aG \w+ \$USER"),
        (errno.EBUSY, "fuser -v"),
        (errno.EIO, "unplug it and plug it in again"),
    ],
)
async def test_what_the_system_refuses_is_put_in_words(monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(LinkOpenError, match=said):
        await open_serial("serial:///dev/null")


async def test_a_port_without_a_known_group_is_dialouts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serialport._group("/no/such/port") == "dialout"


async def test_a_port_in_use_is_named(terminal: tuple[int, str]) -> None:
    first, receiver = await open_serial(f"serial://{terminal[1]}")
    with pytest.raises(LinkOpenError, match=f"in use by another program; find it with: fuser -v {terminal[1]}"):
        await open_serial(f"serial://{terminal[1]}")
    await first.close()
    assert receiver.lost
    again, _ = await open_serial(f"serial://{terminal[1]}")
    await again.close()


@pytest.mark.parametrize(
    "url",
    [
        "serial:",
        "serial:ttyUSB0",
        "serial:///dev/null?baudrate=fast",
        "serial:///dev/null?baudrate=49",
        "serial:///dev/null?parity=even",
        "serial:///dev/null?rtscts=on",
        "serial+loop://?colour=red",
        "serial+loop://?open-ms=0",
        "serial+loop://?logging=loud",
    ],
)
async def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        await open_serial(url)


async def test_an_unknown_handler_lists_pyserials_own() -> None:
    with pytest.raises(UnknownScheme, match=r"no handler 'serial\+nope'; it brings .*serial\+rfc2217"):
        await open_serial("serial+nope://x")


async def test_the_port_is_set_as_asked(terminal: tuple[int, str]) -> None:
    transport, _ = await open_serial(f"serial://{terminal[1]}?baudrate=9600&rtscts=no")
    attributes = termios.tcgetattr(transport._descriptor)  # type: ignore[attr-defined]
    assert attributes[4] == attributes[5] == termios.B9600
    assert not attributes[3] & (termios.ICANON | termios.ECHO)
    await transport.close()


async def test_a_port_that_cannot_be_set_up_is_closed_again(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise TypeError("of ours")

    monkeypatch.setattr(serialport, "SerialPipe", refuse)
    with pytest.raises(TypeError):
        await open_serial(f"serial://{terminal[1]}")


async def test_a_port_that_vanishes_in_mid_command_is_lost_once_with_its_reason_and_reopened_at_once() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    transport, receiver = await open_serial(f"serial://{name}")
    again: list[asyncio.Task[tuple[Transport, RecordingReceiver]]] = []
    other_master, other_slave = os.openpty()
    receiver.when_lost = lambda: again.append(asyncio.ensure_future(open_serial(f"serial://{os.ttyname(other_slave)}")))
    transport.write(b"\0a command")
    os.close(master)
    await until(lambda: receiver.lost)
    assert "the port vanished" in str(receiver.reason)
    with pytest.raises(LinkClosedError, match="vanished"):
        transport.write(b"late")
    await until(lambda: bool(again) and again[0].done())
    reopened, _ = again[0].result()
    await reopened.close()
    await transport.close()
    os.close(other_slave)
    os.close(other_master)
    assert receiver.breaches == []


async def test_an_empty_line_is_not_taken_for_a_vanished_one(terminal: tuple[int, str]) -> None:
    transport, receiver = await open_serial(f"serial://{terminal[1]}")
    transport._readable()  # type: ignore[attr-defined]  # as on a spurious wake-up
    os.write(terminal[0], b"x")
    await until(lambda: receiver.data == b"x")
    await transport.close()


async def test_closing_waits_for_the_line_and_no_longer_than_its_bound(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    waiting = [3, 2, 0]
    monkeypatch.setattr(fcntl, "ioctl", lambda *_args: struct.pack("I", waiting.pop(0) if waiting else 0))
    monkeypatch.setattr(termios, "tcflush", lambda _descriptor, queue: flushed.append(queue))
    transport, _ = await open_serial(f"serial://{terminal[1]}")
    monkeypatch.undo()
    monkeypatch.setattr(fcntl, "ioctl", lambda *_args: struct.pack("I", waiting.pop(0) if waiting else 0))
    await transport.close()
    assert waiting == []
    monkeypatch.undo()
    transport, _ = await open_serial(f"serial://{terminal[1]}")
    monkeypatch.setattr(serialport, "FLUSH_S", 0.02)
    monkeypatch.setattr(fcntl, "ioctl", lambda *_args: struct.pack("I", 9))
    monkeypatch.setattr(termios, "tcflush", lambda _descriptor, queue: flushed.append(queue))
    await transport.close()
    assert flushed[-1] == termios.TCOFLUSH
    monkeypatch.undo()


async def test_a_line_that_is_gone_has_nothing_waiting(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, _ = await open_serial(f"serial://{terminal[1]}")

    def gone(*_args: object) -> bytes:
        raise OSError(errno.EIO, "unplug it and plug it in again")

    monkeypatch.setattr(fcntl, "ioctl", gone)
    await transport.close()
    assert transport._waiting_in_kernel() == 0  # type: ignore[attr-defined]


async def test_the_device_can_be_offered_at_a_real_port(terminal: tuple[int, str]) -> None:
    receiver = RecordingReceiver()
    ends: list[Transport] = []

    def accept(transport: Transport) -> RecordingReceiver:
        ends.append(transport)
        return receiver

    listener = await listen(f"serial://{terminal[1]}?baudrate=19200", accept, clock=CLOCK)
    os.write(terminal[0], b"ask")
    await until(lambda: receiver.data == b"ask")
    ends[0].write(b"answer")
    assert os.read(terminal[0], 99) == b"answer"
    await listener.close()
    assert receiver.lost
    assert receiver.reason is None


# --- pyserial's handlers


async def test_loop_echoes_every_byte_in_order() -> None:
    transport, receiver = await open_serial("serial+loop://")
    sent = bytes(range(256)) * 8
    for start in range(0, len(sent), 100):
        transport.write(sent[start : start + 100])
    await until(lambda: receiver.data == sent)
    await transport.close()
    await transport.close()
    assert receiver.lost
    assert receiver.reason is None
    with pytest.raises(LinkClosedError, match="we closed it"):
        transport.write(b"late")
    assert receiver.breaches == []


async def test_spy_writes_down_what_it_sees(terminal: tuple[int, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    transport, receiver = await open_serial(f"serial+spy://{terminal[1]}?file={log}")
    transport.write(b"there")
    got = bytearray()

    def arrived() -> bool:
        try:
            got.extend(os.read(terminal[0], 99))
        except BlockingIOError:
            return False
        return got == b"there"

    await until(arrived)
    os.write(terminal[0], b"back")
    await until(lambda: receiver.data == b"back")
    await transport.close()
    assert "there" in log.read_text()


async def test_rfc2217_end_to_end() -> None:
    """Against pyserial's own server side, in front of a loop:// port."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        port = serial.serial_for_url("loop://", timeout=0.01)
        connection, _ = server.accept()
        connection.settimeout(0.02)

        class Out:
            write = staticmethod(connection.sendall)

        manager = serial.rfc2217.PortManager(port, Out())
        while not over.is_set():
            try:
                data = connection.recv(1_024)
                if not data:
                    break
                port.write(b"".join(manager.filter(data)))
            except TimeoutError:
                continue  # nothing came; look at the other direction
            finally:
                echoed = port.read(port.in_waiting)
                if echoed:
                    connection.sendall(b"".join(manager.escape(echoed)))
        connection.close()
        port.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        transport, receiver = await open_serial(f"serial+rfc2217://127.0.0.1:{server.getsockname()[1]}")
        transport.write(b"ping\xff\x00")
        await until(lambda: receiver.data == b"ping\xff\x00")
        await transport.close()
        assert receiver.reason is None
    finally:
        over.set()
        await asyncio.to_thread(thread.join)
        server.close()


class FakePort:
    """A port of a handler, to fail as asked."""

    in_waiting = 0

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.read_error: Exception | None = None
        self.write_error: Exception | None = None
        self.close_error: Exception | None = None
        self.stuck = threading.Event()
        self.stuck.set()

    def read(self, _size: int) -> bytes:
        if self.read_error is not None:
            raise self.read_error
        time.sleep(0.001)
        return b""

    def write(self, _data: bytes) -> None:
        self.stuck.wait()
        if self.write_error is not None:
            raise self.write_error

    def close(self) -> None:
        self.closed.set()
        self.stuck.set()
        if self.close_error is not None:
            raise self.close_error


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> FakePort:
    port = FakePort()
    monkeypatch.setattr(serial, "serial_for_url", lambda *_args, **_kwargs: port)
    return port


@pytest.mark.parametrize("close_error", [None, OSError("again")])
async def test_a_handler_that_fails_to_read_is_lost_after_it_was_closed(
    port: FakePort, close_error: OSError | None
) -> None:
    port.close_error = close_error
    transport, receiver = await open_serial("serial+third-party://x?any=thing")
    receiver.when_lost = lambda: receiver.breaches.extend([] if port.closed.is_set() else ["lost before release"])
    port.read_error = TypeError("as pyserial raises on a port closed under it")
    await until(lambda: receiver.lost)
    assert "as pyserial raises" in str(receiver.reason)
    assert receiver.breaches == []
    await transport.close()


async def test_a_handler_that_fails_to_write_is_lost(port: FakePort) -> None:
    port.write_error = serial.SerialTimeoutException("Write timeout")
    transport, receiver = await open_serial("serial+third-party://x")
    transport.write(b"x")
    await until(lambda: receiver.lost)
    assert "Write timeout" in str(receiver.reason)
    assert port.closed.is_set()
    await transport.close()


async def test_a_handler_stuck_in_a_write_is_closed_within_the_bound(
    port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialport, "JOIN_S", 0.05)
    port.stuck.clear()
    transport, receiver = await open_serial("serial+third-party://x")
    transport.write(b"x")
    async with asyncio.timeout(5):
        await transport.close()
    assert receiver.lost
    assert port.closed.is_set()


async def test_a_handler_that_takes_nothing_is_dropped_at_the_limit(port: FakePort) -> None:
    port.stuck.clear()
    transport, receiver = await open_serial("serial+third-party://x")
    with pytest.raises(LinkClosedError, match=f"more than {pipe.UNSENT_LIMIT_BYTES} bytes"):  # noqa: PT012 - a loop
        for _ in range(17):
            transport.write(b"x" * 65_536)
    port.stuck.set()
    await until(lambda: receiver.lost)
    await transport.close()


async def test_a_handler_that_never_opens_is_given_up_and_closed_when_it_does(
    port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(*_args: object, **_kwargs: object) -> FakePort:
        go.wait()
        return port

    monkeypatch.setattr(serial, "serial_for_url", slow)
    with pytest.raises(LinkOpenError, match="did not open within 20 ms"):
        await open_serial("serial+third-party://x?open-ms=20")
    go.set()
    await until(port.closed.is_set)


async def test_a_handler_that_fails_too_late_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    failed = threading.Event()

    def slow(*_args: object, **_kwargs: object) -> None:
        go.wait()
        failed.set()
        raise OSError(errno.EIO, "unplug it and plug it in again")

    monkeypatch.setattr(serial, "serial_for_url", slow)
    with pytest.raises(LinkOpenError, match="did not open within 20 ms"):
        await open_serial("serial+third-party://x?open-ms=20")
    go.set()
    await until(failed.is_set)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (serial.SerialException(errno.EACCES, "could not open port"), "permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (RuntimeError("of a third party"), "of a third party"),
    ],
)
async def test_whatever_a_handler_raises_is_put_in_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(LinkOpenError, match=said):
        await open_serial("serial+spy:///dev/ttyNOPE")


async def test_a_socket_that_nobody_serves_is_named() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(LinkOpenError, match=f"socket://127.0.0.1:{port} cannot be opened: .*refused"):
        await open_serial(f"serial+socket://127.0.0.1:{port}")


async def test_an_acceptor_that_fails_closes_a_handlers_port(port: FakePort) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    started = await serialport._open(parse_url("serial+third-party://x"))

    def refuse(_transport: Transport) -> RecordingReceiver:
        raise RuntimeError("no room")

    listener = serialport.SerialListener(started, "serial+third-party://x", refuse)
    assert port.closed.is_set()
    await listener.close()


async def test_threads_outlive_a_loop_that_was_closed_under_them_without_noise(port: FakePort) -> None:
    transport, receiver = await open_serial("serial+third-party://x")

    class Closed:
        def call_soon_threadsafe(self, *_args: object) -> None:
            raise RuntimeError("Event loop is closed")

    loop = transport._loop  # type: ignore[attr-defined]
    transport._loop = Closed()  # type: ignore[attr-defined]
    port.read_error = OSError("gone")
    await asyncio.sleep(0.02)
    transport._loop = loop  # type: ignore[attr-defined]
    await transport.close()
    assert receiver.lost

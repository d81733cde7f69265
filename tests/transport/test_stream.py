from __future__ import annotations

import asyncio
import errno
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.transport import pipe, stream
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.transport.base import Listener, Transport

pytestmark = pytest.mark.real
CLOCK = SystemClock()


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.001)


class Place:
    """A listener with everything that it accepted."""

    def __init__(self) -> None:
        self.ends: list[tuple[Transport, RecordingReceiver]] = []
        self.listener: Listener
        self.address: tuple[str, int]

    def accept(self, transport: Transport) -> RecordingReceiver:
        self.ends.append((transport, RecordingReceiver()))
        return self.ends[-1][1]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    place.listener = await listen("tcp://127.0.0.1:0", place.accept, clock=CLOCK)
    place.address = ("127.0.0.1", int(place.listener.url.rpartition(":")[2]))
    yield place
    await place.listener.close()
    for _, receiver in place.ends:
        assert receiver.breaches == []
        assert receiver.lost


def start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code])


async def test_where_nothing_listens_the_error_says_what_to_start() -> None:
    port = free_port()
    with pytest.raises(LinkOpenError, match=f"127.0.0.1 port {port}.*telemetry sim --listen tcp://127.0.0.1:{port}"):
        await open_transport(f"tcp://127.0.0.1:{port}", RecordingReceiver(), clock=CLOCK)


async def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # A full backlog swallows further attempts, as a firewall does.
        knocking = [socket.socket() for _ in range(4)]
        try:
            for sock in knocking:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            with pytest.raises(LinkOpenError, match=f"did not answer on port {port} within 50 ms"):
                await open_transport(f"tcp://127.0.0.1:{port}?connect-ms=50", RecordingReceiver(), clock=CLOCK)
        finally:
            for sock in knocking:
                sock.close()


async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    with pytest.raises(LinkOpenError, match=r"no host is known as 'no\.such\.host'"):
        await open_transport("tcp://no.such.host:1", RecordingReceiver(), clock=CLOCK)
    with pytest.raises(LinkOpenError, match=r"no host is known as 'no\.such\.host'"):
        await listen("tcp://no.such.host:1?public=yes", Place().accept, clock=CLOCK)


async def test_an_unreachable_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_args: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    with pytest.raises(LinkOpenError, match="cannot be reached: Network is unreachable"):
        await open_transport("tcp://127.0.0.1:1", RecordingReceiver(), clock=CLOCK)


async def test_a_name_with_no_address_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_args: object, **_kwargs: object) -> list[object]:
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
    with pytest.raises(LinkOpenError, match="cannot be reached"):
        await open_transport("tcp://empty.example:1", RecordingReceiver(), clock=CLOCK)


async def test_localhost_is_reached_by_name(place: Place) -> None:
    transport = await open_transport(f"tcp://localhost:{place.address[1]}", RecordingReceiver(), clock=CLOCK)
    transport.write(b"x")
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"x")
    await transport.close()
    await until(lambda: place.ends[0][1].lost)


async def test_it_listens_at_localhost_by_name() -> None:
    listener = await listen("tcp://localhost:0", Place().accept, clock=CLOCK)
    assert listener.url.startswith(("tcp://127.0.0.1:", "tcp://[::1]:"))
    await listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "example.org"])  # noqa: S104 - to be refused
async def test_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match=r"other machines; use 127\.0\.0\.1, or add \?public=yes"):
        await listen(f"tcp://{host}:0", Place().accept, clock=CLOCK)


async def test_a_public_address_is_had_by_asking() -> None:
    listener = await listen("tcp://0.0.0.0:0?public=yes", Place().accept, clock=CLOCK)
    assert listener.url.startswith("tcp://0.0.0.0:")
    await listener.close()


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0?public=perhaps", "tcp://127.0.0.1:0?connect-ms=5", "tcp://:0"])
async def test_a_bad_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        await listen(text, Place().accept, clock=CLOCK)


@pytest.mark.parametrize(
    "text", ["tcp://127.0.0.1:1?public=yes", "tcp://127.0.0.1:1?connect-ms=0", "tcp://127.0.0.1:0"]
)
async def test_a_bad_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        await open_transport(text, RecordingReceiver(), clock=CLOCK)


async def test_a_port_in_use_is_named(place: Place) -> None:
    with pytest.raises(LinkOpenError, match="in use; choose another port, or 0"):
        await listen(place.listener.url, place.accept, clock=CLOCK)


async def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(LinkOpenError, match="cannot listen there"):
        await listen("tcp://192.0.2.1:0?public=yes", Place().accept, clock=CLOCK)


async def test_ipv6() -> None:
    place = Place()
    listener = await listen("tcp://[::1]:0", place.accept, clock=CLOCK)
    assert listener.url.startswith("tcp://[::1]:")
    transport = await open_transport(listener.url, RecordingReceiver(), clock=CLOCK)
    transport.write(b"x")
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"x")
    await transport.close()
    await listener.close()


async def test_a_reset_is_a_loss_with_its_reason(place: Place) -> None:
    peer = socket.create_connection(place.address)
    await until(lambda: bool(place.ends))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await until(lambda: place.ends[0][1].lost)
    assert "reset" in str(place.ends[0][1].reason)


async def test_a_half_closed_peer_is_lost_after_its_last_byte(place: Place) -> None:
    with socket.create_connection(place.address) as peer:
        peer.sendall(b"last")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: bool(place.ends) and place.ends[0][1].lost)
        assert place.ends[0][1].data == b"last"
        assert "the other end closed" in str(place.ends[0][1].reason)


async def test_a_killed_peer_is_lost_and_the_next_is_served(place: Place) -> None:
    code = f"import socket,time; s=socket.create_connection({place.address!r}); s.sendall(b'half'); time.sleep(60)"
    process = start(code)
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"half")
    process.kill()
    process.wait()
    await until(lambda: place.ends[0][1].lost)
    transport = await open_transport(place.listener.url, RecordingReceiver(), clock=CLOCK)
    transport.write(b"next")
    await until(lambda: len(place.ends) == 2 and place.ends[1][1].data == b"next")
    await transport.close()
    await until(lambda: place.ends[1][1].lost)


async def test_a_write_to_a_reset_link_raises_and_the_loss_is_told_once(place: Place) -> None:
    peer = socket.create_connection(place.address)
    await until(lambda: bool(place.ends))
    transport, receiver = place.ends[0]
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(LinkClosedError, match="closed"):  # noqa: PT012 - the first write may find the reset or meet it
        for _ in range(100):
            transport.write(b"x")
    assert not receiver.lost  # told by the loop, not from inside the write
    await until(lambda: receiver.lost)


async def test_a_peer_that_does_not_read_is_dropped_at_the_limit(place: Place) -> None:
    with socket.create_connection(place.address):
        await until(lambda: bool(place.ends))
        transport, receiver = place.ends[0]
        written = 0
        with pytest.raises(LinkClosedError, match="does not read"):  # noqa: PT012 - how much the kernel takes varies
            while True:
                transport.write(b"x" * 65_536)
                written += 65_536
        assert written >= pipe.UNSENT_LIMIT_BYTES
        await until(lambda: receiver.lost)
        assert "does not read" in str(receiver.reason)


async def test_closing_on_a_peer_that_does_not_read_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "FLUSH_S", 0.05)
    with socket.create_connection(place.address):
        await until(lambda: bool(place.ends))
        transport, receiver = place.ends[0]
        while not transport._unsent:  # type: ignore[attr-defined]
            transport.write(b"x" * 65_536)
        async with asyncio.timeout(5):
            await transport.close()
        assert receiver.reason is None


async def test_what_waits_unsent_leaves_when_the_peer_reads_at_last(place: Place) -> None:
    with socket.create_connection(place.address) as peer:
        peer.setblocking(False)
        await until(lambda: bool(place.ends))
        transport, receiver = place.ends[0]
        written = 0
        while not transport._unsent:  # type: ignore[attr-defined]
            transport.write(bytes([written % 251]) * 65_536)
            written += 1
        transport.write(b"tail")
        closing = asyncio.ensure_future(transport.close())
        got = bytearray()

        def drained() -> bool:
            try:
                got.extend(peer.recv(1 << 20))
            except BlockingIOError:
                return False
            return got.endswith(b"tail")

        await until(drained)
        await closing
        assert len(got) == written * 65_536 + 4
        assert receiver.reason is None


async def test_a_peer_lost_while_data_waits_unsent_is_lost_once(place: Place) -> None:
    peer = socket.create_connection(place.address)
    await until(lambda: bool(place.ends))
    transport, receiver = place.ends[0]
    while not transport._unsent:  # type: ignore[attr-defined]
        transport.write(b"x" * 65_536)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await until(lambda: receiver.lost)
    await transport.close()


async def test_an_interrupted_call_is_no_loss(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(place.address) as peer:
        await until(lambda: bool(place.ends))
        transport, receiver = place.ends[0]
        send, receive = transport._send, transport._receive  # type: ignore[attr-defined]
        answers: list[BaseException] = [InterruptedError(), BlockingIOError()]

        def interrupted(argument: object) -> object:
            if answers:
                raise answers.pop()
            return (send if isinstance(argument, bytes) else receive)(argument)

        monkeypatch.setattr(transport, "_send", interrupted)
        transport.write(b"there")
        await until(lambda: not transport._unsent)  # type: ignore[attr-defined]
        assert peer.recv(10) == b"there"
        answers[:] = [InterruptedError(), BlockingIOError()]
        monkeypatch.setattr(transport, "_receive", interrupted)
        peer.sendall(b"back")
        await until(lambda: receiver.data == b"back")
        await transport.close()


async def test_a_send_that_fails_later_is_a_loss(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(place.address):
        await until(lambda: bool(place.ends))
        transport, receiver = place.ends[0]
        answers: list[BaseException] = [OSError(errno.EPIPE, "Broken pipe"), BlockingIOError()]

        def failing(_data: bytes) -> int:
            raise answers.pop()

        monkeypatch.setattr(transport, "_send", failing)
        transport.write(b"x")
        await until(lambda: receiver.lost)
        assert "Broken pipe" in str(receiver.reason)


async def test_an_acceptor_that_fails_costs_its_own_client_only() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    place = Place()
    failing = [True]

    def accept(transport: Transport) -> RecordingReceiver:
        if failing.pop():
            raise RuntimeError("no room")
        return place.accept(transport)

    failing.insert(0, False)
    listener = await listen("tcp://127.0.0.1:0", accept, clock=CLOCK)
    refused = RecordingReceiver()
    first = await open_transport(listener.url, refused, clock=CLOCK)
    await until(lambda: refused.lost)
    assert "no room" in str(reported[0]["exception"])
    second = await open_transport(listener.url, RecordingReceiver(), clock=CLOCK)
    await until(lambda: bool(place.ends))
    await first.close()
    await second.close()
    await listener.close()


async def test_a_link_that_ends_while_it_is_accepted_is_told_to_its_receiver() -> None:
    receiver = RecordingReceiver()

    def accept(transport: Transport) -> RecordingReceiver:
        with pytest.raises(LinkClosedError, match="does not read"):
            transport.write(b"x" * 8 * pipe.UNSENT_LIMIT_BYTES)
        return receiver

    listener = await listen("tcp://127.0.0.1:0", accept, clock=CLOCK)
    client = await open_transport(listener.url, RecordingReceiver(), clock=CLOCK)
    await until(lambda: receiver.lost)
    assert "does not read" in str(receiver.reason)
    await client.close()
    await listener.close()


async def test_out_of_descriptors_it_says_so_and_looks_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    monkeypatch.setattr(stream, "_PAUSE_S", 0.05)

    class Full:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock
            self.failures: list[OSError] = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                raise self.failures.pop()
            return self.sock.accept()

        def fileno(self) -> int:
            return self.sock.fileno()

        def close(self) -> None:
            self.sock.close()

    monkeypatch.setattr(place.listener, "_sock", Full(place.listener._sock))  # type: ignore[attr-defined]
    transport = await open_transport(place.listener.url, RecordingReceiver(), clock=CLOCK)
    transport.write(b"x")
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"x")
    assert [str(context["exception"]) for context in reported] == ["[Errno 24] Too many open files"]
    await transport.close()
    await until(lambda: place.ends[0][1].lost)


async def test_a_listener_that_pauses_can_be_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    def full() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    listener = place.listener
    monkeypatch.setattr(listener, "_sock", _Failing(listener._sock, full))  # type: ignore[attr-defined]
    transport = await open_transport(listener.url, RecordingReceiver(), clock=CLOCK)
    await until(lambda: listener._resume is not None)  # type: ignore[attr-defined]
    await listener.close()
    await transport.close()


class _Failing:
    def __init__(self, sock: socket.socket, accept: Callable[[], None]) -> None:
        self.accept = accept
        self.fileno = sock.fileno
        self.close = sock.close

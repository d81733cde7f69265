from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.transport import pipe, pty
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from telemetry.transport.base import Listener, Transport

pytestmark = pytest.mark.real
CLOCK = SystemClock()


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.001)


class Place:
    def __init__(self) -> None:
        self.ends: list[tuple[Transport, RecordingReceiver]] = []
        self.listener: Listener
        self.port = ""

    def accept(self, transport: Transport) -> RecordingReceiver:
        self.ends.append((transport, RecordingReceiver()))
        return self.ends[-1][1]

    async def start(self, url: str = "pty:") -> None:
        self.listener = await listen(url, self.accept, clock=CLOCK)
        self.port = self.listener.url.removeprefix("serial://")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.start()
    yield place
    await place.listener.close()
    for _, receiver in place.ends:
        assert receiver.breaches == []
        assert receiver.lost


def plain_open(port: str) -> int:
    """Open as a terminal program would that flushes nothing."""
    return os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


def read_all(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except BlockingIOError:
        return b""


class Reader:
    """Collects what a client gets until it is what it should be."""

    def __init__(self, client: int, expected: bytes) -> None:
        self.client, self.expected, self.got = client, expected, b""

    def complete(self) -> bool:
        self.got += read_all(self.client)
        return self.got == self.expected


def exists(link: Path) -> bool:
    return os.path.lexists(link)


def start_killable(port: str) -> subprocess.Popen[bytes]:
    code = f"import os, time; os.write(os.open({port!r}, os.O_RDWR | os.O_NOCTTY), b'\\0half a fra'); time.sleep(60)"
    return subprocess.Popen([sys.executable, "-c", code])


async def test_every_byte_value_passes_untouched_both_ways(place: Place) -> None:
    everything = bytes(range(256))
    client = plain_open(place.port)
    os.write(client, everything)
    await until(lambda: bool(place.ends) and place.ends[0][1].data == everything)
    place.ends[0][0].write(everything)
    await until(Reader(client, everything).complete)
    os.close(client)
    await until(lambda: place.ends[0][1].lost)


async def test_the_link_gives_a_stable_name_and_goes_with_the_listener(tmp_path: Path) -> None:
    link = tmp_path / "pump"
    place = Place()
    await place.start(f"pty://{link}")
    assert place.listener.url == f"serial://{link}"
    assert exists(link)
    client = await open_transport(place.listener.url, RecordingReceiver(), clock=CLOCK)
    client.write(b"x")
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"x")
    await place.listener.close()
    assert not exists(link)
    await client.close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are enough


async def test_a_link_left_by_a_killed_simulator_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "pump"
    link.symlink_to("/dev/pts/gone")
    listener = await listen(f"pty://{link}", Place().accept, clock=CLOCK)
    assert link.exists()
    await listener.close()
    assert not exists(link)


async def test_a_link_that_names_another_port_by_now_is_left_alone(tmp_path: Path) -> None:
    link = tmp_path / "pump"
    first = await listen(f"pty://{link}", Place().accept, clock=CLOCK)
    second = await listen(f"pty://{link}", Place().accept, clock=CLOCK)
    await first.close()
    assert link.exists()
    link.unlink()
    await second.close()


async def test_nothing_but_a_symbolic_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(LinkOpenError, match="is no symbolic link; remove it or choose another path"):
        await listen(f"pty://{tmp_path}/letters", Place().accept, clock=CLOCK)
    assert (tmp_path / "letters").read_text() == "mine"


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkOpenError, match="missing/pump: no symbolic link can be made there: No such file"):
        await listen(f"pty://{tmp_path}/missing/pump", Place().accept, clock=CLOCK)


@pytest.mark.parametrize("url", ["pty:pump", "pty:?baudrate=9600"])
async def test_a_bad_place_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        await listen(url, Place().accept, clock=CLOCK)


async def test_a_machine_without_terminals_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "openpty", none_left)
    with pytest.raises(LinkOpenError, match="no pseudo-terminal: No space left"):
        await listen("pty:", Place().accept, clock=CLOCK)


async def test_a_client_killed_in_the_middle_of_a_frame_leaves_nothing_to_the_next(place: Place) -> None:
    process = start_killable(place.port)
    await until(lambda: bool(place.ends) and place.ends[0][1].data == b"\0half a fra")
    place.ends[0][0].write(b"an answer that nobody reads")
    process.kill()
    process.wait()
    await until(lambda: place.ends[0][1].lost)
    assert "the client closed the port" in str(place.ends[0][1].reason)
    with pytest.raises(LinkClosedError):
        place.ends[0][0].write(b"into the void")
    client = plain_open(place.port)
    assert read_all(client) == b""
    os.write(client, b"next")
    await until(lambda: len(place.ends) == 2 and place.ends[1][1].data == b"next")
    place.ends[1][0].write(b"answer")
    await until(Reader(client, b"answer").complete)
    os.close(client)
    await until(lambda: place.ends[1][1].lost)


async def test_a_client_that_never_spoke_leaves_no_trace(place: Place) -> None:
    for _ in range(3):
        os.close(plain_open(place.port))
        await asyncio.sleep(0)
    assert place.ends == []


async def test_a_client_that_spoke_and_left_at_once_is_a_session_all_the_same(place: Place) -> None:
    client = plain_open(place.port)
    os.write(client, b"bye")
    os.close(client)
    await until(lambda: bool(place.ends) and place.ends[0][1].lost)
    assert place.ends[0][1].data == b"bye"


async def test_a_client_that_does_not_read_neither_blocks_nor_fills_memory(place: Place) -> None:
    client = plain_open(place.port)
    os.write(client, b"hello")
    await until(lambda: bool(place.ends))
    transport, receiver = place.ends[0]
    written = 0
    with pytest.raises(LinkClosedError, match="does not read"):  # noqa: PT012 - how much the kernel takes varies
        while True:
            transport.write(b"x" * 4_096)
            written += 4_096
    assert written < pipe.UNSENT_LIMIT_BYTES * 2
    await until(lambda: receiver.lost)
    assert read_all(client) == b""  # what it had not read went with the session
    assert receiver.data in (b"", b"hello")  # and so did what had not been read of its own
    os.write(client, b"still here")
    await until(lambda: len(place.ends) == 2 and place.ends[1][1].data == b"still here")
    os.close(client)
    await until(lambda: place.ends[1][1].lost)


async def test_unplugging_is_felt_by_the_client_at_once(place: Place) -> None:
    receiver = RecordingReceiver()
    client = await open_transport(place.listener.url, receiver, clock=CLOCK)
    client.write(b"x")
    await until(lambda: bool(place.ends))
    await place.listener.close()
    await until(lambda: receiver.lost)
    assert "the port vanished" in str(receiver.reason)
    assert place.ends[0][1].reason is None


async def test_an_acceptor_that_fails_costs_its_own_client_only() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    place = Place()
    failing = [True]

    def accept(transport: Transport) -> RecordingReceiver:
        if failing:
            failing.clear()
            raise RuntimeError("no room")
        return place.accept(transport)

    listener = await listen("pty:", accept, clock=CLOCK)
    client = plain_open(listener.url.removeprefix("serial://"))
    os.write(client, b"one")
    await until(lambda: bool(reported))
    os.write(client, b"two")
    await until(lambda: bool(place.ends) and place.ends[0][1].data.endswith(b"two"))
    assert len(reported) == 1
    os.close(client)
    await until(lambda: place.ends[0][1].lost)
    await listener.close()


async def test_a_next_client_that_holds_the_port_exclusively_is_served(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = plain_open(place.port)
    os.write(client, b"one")
    await until(lambda: bool(place.ends))
    real_open = os.open

    def busy(path: str, flags: int, mode: int = 0o777) -> int:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "open", busy)
    await place.ends[0][0].close()
    monkeypatch.setattr(os, "open", real_open)
    os.write(client, b"two")
    await until(lambda: len(place.ends) == 2 and place.ends[1][1].data == b"two")
    os.close(client)
    await until(lambda: place.ends[1][1].lost)


@pytest.mark.parametrize("closed_meanwhile", [False, True])
async def test_a_port_that_cannot_be_held_is_said_and_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, closed_meanwhile: bool
) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    monkeypatch.setattr(pty, "_PAUSE_S", 0.02)
    client = plain_open(place.port)
    os.write(client, b"one")
    await until(lambda: bool(place.ends))
    real_open = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", full)
    await place.ends[0][0].close()
    monkeypatch.setattr(os, "open", real_open)
    assert "Too many open files" in str(reported[0]["exception"])
    if closed_meanwhile:
        await place.listener.close()
    else:
        os.write(client, b"two")
        await until(lambda: len(place.ends) == 2)
    os.close(client)
    await until(lambda: all(receiver.lost for _, receiver in place.ends))

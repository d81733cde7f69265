"""A tap between a programmer and a telemeter: bytes unchanged, everything recorded, half-lost links told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.clock import SystemClock
from telemetry.errors import LinkError, UsageError
from telemetry.link import LAYOUT
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import FrameType
from telemetry.sim.connector import station_of
from telemetry.sim.serving import Simulator, SimulatorSettings
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.traffic import tapping
from telemetry.traffic.opening import How, Shut, open_capture
from telemetry.traffic.replaying_script import script_of
from telemetry.traffic.tapping import Tap
from telemetry.transport.capture import LinkLost, read_capture
from telemetry.transport.faults import Direction
from telemetry.transport.registry import listen, open_transport
from telemetry.units import DailyDose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telemetry.errors import LinkClosedError
    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.real


class Kept:
    """Keeps what arrives, and says when there is enough of it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.Event()
        self.reason: LinkClosedError | None = None
        self._enough: tuple[int, asyncio.Event] | None = None

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self._enough is not None and len(self.data) >= self._enough[0]:
            self._enough[1].set()

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self.reason = reason
        self.lost.set()

    async def has(self, count: int) -> bytes:
        """Wait until so many bytes have come."""
        if len(self.data) < count:
            self._enough = (count, asyncio.Event())
            async with asyncio.timeout(20):
                await self._enough[1].wait()
        return self.data


@pytest.mark.parametrize(
    ("here", "there"), [("tcp://127.0.0.1:0", "tcp"), ("pty:", "tcp"), ("tcp://127.0.0.1:0", "sim")]
)
async def test_a_driver_does_not_notice_and_the_frames_stay_sealed(tmp_path: Path, here: str, there: str) -> None:
    clock = SystemClock()
    pump = VirtualPump("itb-40", seed=7, clock=clock)
    station = station_of(pump)
    listener = await listen("tcp://127.0.0.1:0", station.accept, clock=clock)
    told: list[str] = []
    try:
        target = listener.url if there == "tcp" else "sim:?seed=7"
        async with Tap(target, here, tmp_path / "f", clock, on_event=told.append) as tap:
            async with telemetry.connect(tap.url, journal=MemoryJournalStore()) as programmer:
                change = await programmer.set_rate(DailyDose.parse("360 ug/day"))
            assert change.after.dose_ng_per_day == 360_000
    finally:
        await listener.close()
        await station.close()
    frames = list(open_capture(read_capture(tmp_path / "f")))
    assert len(frames) == tap.frames
    assert {frame.type for frame in frames} == {
        FrameType.PROBE,
        FrameType.BEACON,
        FrameType.HELLO,
        FrameType.ACCEPT,
        FrameType.REQ,
        FrameType.RSP,
        FrameType.TELEMETER_REQ,
        FrameType.TELEMETER_RSP,
    }
    assert {frame.shut for frame in frames if frame.counter is not None} == {Shut.NO_KEYS}
    assert told[0].startswith("programmer 1 came over")


async def _bare(
    tmp_path: Path, work: Callable[[Tap, list[Kept], list[Transport], list[str]], object], *, device: str = ""
) -> list[str]:
    """A tap before a device that only keeps what it gets."""
    clock = SystemClock()
    devices: list[Kept] = []
    transports: list[Transport] = []
    told: list[str] = []

    def accept(transport: Transport) -> Receiver:
        transports.append(transport)
        devices.append(Kept())
        return devices[-1]

    listener = await listen("tcp://127.0.0.1:0", accept, clock=clock)
    try:
        async with Tap(device or listener.url, "tcp://127.0.0.1:0", tmp_path / "f", clock, on_event=told.append) as tap:
            await work(tap, devices, transports, told)  # type: ignore[misc]
    finally:
        await listener.close()
    return told


async def test_any_bytes_pass_unchanged_both_ways(tmp_path: Path) -> None:
    noise = bytes(range(256)) * 3 + b"no delimiter at the end"

    async def work(tap: Tap, devices: list[Kept], transports: list[Transport], _told: list[str]) -> None:
        client = Kept()
        transport = await open_transport(tap.url, client, clock=SystemClock())
        transport.write(noise)
        while not devices:  # noqa: ASYNC110 - the tap's own opening
            await asyncio.sleep(0.001)
        assert await devices[0].has(len(noise)) == noise
        transports[0].write(noise[::-1])
        assert await client.has(len(noise)) == noise[::-1]
        await transport.close()
        async with asyncio.timeout(20):
            await devices[0].lost.wait()

    await _bare(tmp_path, work)
    entries = read_capture(tmp_path / "f")
    for name, sent in (("tx", noise), ("rx", noise[::-1])):
        assert b"".join(frame.data for frame in entries.frames() if frame.direction.value == name) == sent
    lost = [entry for entry in entries.entries if isinstance(entry, LinkLost)]
    assert [one.reason is not None and "programmer" in one.reason for one in lost] == [True]


async def test_a_telemeter_that_goes_takes_the_programmers_link_with_it(tmp_path: Path) -> None:
    async def work(tap: Tap, _devices: list[Kept], transports: list[Transport], told: list[str]) -> None:
        client = Kept()
        transport = await open_transport(tap.url, client, clock=SystemClock())
        transport.write(b"\0x\0")
        while not transports:  # noqa: ASYNC110 - the tap's own opening
            await asyncio.sleep(0.001)
        await transports[0].close()
        async with asyncio.timeout(20):
            await client.lost.wait()
        assert "telemeter's link" in told[-1]

    await _bare(tmp_path, work)


async def test_a_telemeter_that_cannot_be_opened_is_told_and_the_next_one_may_try(tmp_path: Path) -> None:
    async def work(tap: Tap, _devices: list[Kept], _transports: list[Transport], told: list[str]) -> None:
        for number in (1, 2):
            client = Kept()
            await open_transport(tap.url, client, clock=SystemClock())
            async with asyncio.timeout(20):
                await client.lost.wait()
            assert f"programmer {number}: the telemeter cannot be opened: " in "".join(told)

    closed = await listen("tcp://127.0.0.1:0", lambda _transport: Kept(), clock=SystemClock())
    await closed.close()
    await _bare(tmp_path, work, device=closed.url)


async def test_what_comes_before_the_telemeter_is_open_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapping, "WAITING_BYTES", 100)
    opening = asyncio.Event()

    async def slow(*_arguments: object, **_more: object) -> Transport:
        await opening.wait()
        raise AssertionError

    monkeypatch.setattr(tapping, "open_transport", slow)

    async def work(tap: Tap, _devices: list[Kept], _transports: list[Transport], told: list[str]) -> None:
        client = Kept()
        transport = await open_transport(tap.url, client, clock=SystemClock())
        transport.write(bytes(101))
        async with asyncio.timeout(20):
            await client.lost.wait()
        assert "more than 100 bytes came before" in told[-1]

    await _bare(tmp_path, work)


async def test_more_programmers_than_may_be_are_closed_at_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapping, "MOST_CLIENTS", 1)

    async def work(tap: Tap, _devices: list[Kept], _transports: list[Transport], told: list[str]) -> None:
        first, second = Kept(), Kept()
        kept = await open_transport(tap.url, first, clock=SystemClock())
        await open_transport(tap.url, second, clock=SystemClock())
        async with asyncio.timeout(20):
            await second.lost.wait()
        assert any("connected already" in one for one in told)
        assert not first.lost.is_set()
        await kept.close()

    await _bare(tmp_path, work)


async def test_a_capture_that_cannot_be_written_ends_every_link(tmp_path: Path) -> None:
    async def work(tap: Tap, devices: list[Kept], _transports: list[Transport], _told: list[str]) -> None:
        client = Kept()
        transport = await open_transport(tap.url, client, clock=SystemClock())
        transport.write(b"\0x\0")
        while not devices:  # noqa: ASYNC110 - the tap's own opening
            await asyncio.sleep(0.001)
        await devices[0].has(3)
        tap._writer.close()
        transport.write(b"\0y\0")
        async with asyncio.timeout(20):
            await client.lost.wait()
            await tap.failed.wait()
        assert isinstance(tap.failure, LinkError)
        assert devices[0].data == b"\0x\0"

    await _bare(tmp_path, work)


async def test_a_wrong_place_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        async with Tap("sim:", "nowhere:", tmp_path / "f", SystemClock(), on_event=print):
            raise AssertionError
    async with Tap("sim:", "tcp://127.0.0.1:0", tmp_path / "f", SystemClock(), on_event=print):
        pass  # the file is free again


def test_frames_are_turned_from_datagrams_to_a_stream_and_back() -> None:
    frame = encode_frame(Frame(FrameType.PROBE, 0, b"\0body\0"))
    stream = encode_stream(frame)
    datagrams = tapping._Side(None, Direction.TX, datagrams=True)  # type: ignore[arg-type]
    assert datagrams.divided(frame, other_datagrams=False) == ([stream], [stream])
    assert datagrams.divided(b"noise", other_datagrams=False) == ([], [])
    device = tapping._Side(None, Direction.RX, datagrams=True)  # type: ignore[arg-type]
    assert device.divided(frame, other_datagrams=False) == ([frame], [stream])
    streams = tapping._Side(None, Direction.RX, datagrams=False)  # type: ignore[arg-type]
    assert streams.divided(stream[:5], other_datagrams=True) == ([], [])
    assert streams.divided(stream[5:], other_datagrams=True) == ([stream], [frame])


async def test_a_recording_at_the_simulators_end_is_opened_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = f"tcp://127.0.0.1:0?record={tmp_path / 'f'}"
    settings = SimulatorSettings(listen=(place,), seed=7, control=None)
    async with (
        Simulator(settings, on_event=lambda _event: None, on_problem=lambda _text: None) as simulator,
        telemetry.connect(simulator.urls[0], journal=MemoryJournalStore()) as programmer,
    ):
        await programmer.set_rate(DailyDose.parse("360 ug/day"))
        await programmer.release()
        await programmer.read_status()
    capture = read_capture(tmp_path / "f")
    frames = list(open_capture(capture))
    sealed = [frame for frame in frames if frame.counter is not None]
    assert len(sealed) == 12
    assert all(frame.how is How.KEYS and not frame.disagrees for frame in sealed)
    script = script_of(capture, "f")
    assert [session.accept is not None for session in script.sessions] == [True, True]
    assert capture.layout == LAYOUT

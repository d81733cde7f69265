"""Ports whose names vanish and come back, as USB serial ports do: what the driver says, and how it finds back."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from random import Random
from typing import TYPE_CHECKING

import pytest
import serial

import telemetry
from telemetry import FlowRate, LinkError, OutcomeUnknown
from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError
from telemetry.model import PumpMode, Role, Verdict
from telemetry.programmer.journal import MemoryJournalStore, Stage
from telemetry.protocol.credentials import test_credential
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.faults import FaultPlan
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from telemetry.programmer.opening import Connecting
    from telemetry.transport.base import Listener

pytestmark = pytest.mark.real
RATE = FlowRate.parse("0.150 ml/day")
PROMPTLY_S = 5
"""Far above what a vanished port takes and below the four tries with their pauses that a silent one would."""


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.001)


class Adapter:
    """A telemeter on a USB serial adapter: it has a name while it is plugged in."""

    def __init__(self, name: Path, seed: int) -> None:
        self.name = name
        self.clock = SystemClock()
        self.pump = VirtualPump(seed=seed, clock=self.clock)
        self.station = Station(self.pump, entropy=Random(seed).randbytes)
        self.listener: Listener | None = None

    async def plug(self, name: Path | None = None) -> None:
        """Appear, under a new number."""
        self.listener = await listen(f"pty://{name or self.name}", self.station.accept, clock=self.clock)

    async def unplug(self) -> None:
        """Vanish, with the name."""
        if self.listener is not None:
            await self.listener.close()
            self.listener = None

    @property
    def port(self) -> str:
        """What the name stands for now."""
        return str(self.name.readlink())


@pytest.fixture
def name(tmp_path: Path) -> Path:
    """A name as udev makes them."""
    folder = tmp_path / "serial" / "by-id"
    folder.mkdir(parents=True)
    return folder / "usb-ITB_Telemeter_SIM-T-0001-if00-port0"


@pytest.fixture
async def adapter(name: Path) -> AsyncIterator[Adapter]:
    adapter = Adapter(name, seed=3)
    await adapter.plug()
    yield adapter
    await adapter.unplug()
    await adapter.station.close()


@pytest.fixture
async def other(name: Path) -> AsyncIterator[Adapter]:
    """Another pump's telemeter, not plugged in yet."""
    other = Adapter(name, seed=4)
    yield other
    await other.unplug()
    await other.station.close()


def connect(name: Path, faults: str = "", journal: MemoryJournalStore | None = None) -> Connecting:
    plan = FaultPlan.parse(faults) if faults else None
    return telemetry.connect(f"serial://{name}", faults=plan, journal=journal or MemoryJournalStore())


async def test_a_name_by_id_is_as_good_as_the_port(adapter: Adapter) -> None:
    async with connect(adapter.name) as programmer:
        assert (await programmer.set_rate(RATE)).after.rate_nl_per_day == 150_000


async def test_unplugged_while_nobody_asks_then_plugged_in_again(adapter: Adapter) -> None:
    async with connect(adapter.name) as programmer:
        await programmer.read_status()
        before = adapter.port
        await adapter.unplug()
        async with asyncio.timeout(PROMPTLY_S):
            for _ in range(2):
                with pytest.raises(LinkOpenError, match="no such port; is the cable plugged in"):
                    await programmer.read_status()
        spare = os.openpty()  # the number is somebody else's by now
        await adapter.plug()
        assert adapter.port != before
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        assert (await programmer.set_rate(RATE)).after.rate_nl_per_day == 150_000
        for descriptor in spare:
            os.close(descriptor)


async def test_unplugged_in_mid_reading(adapter: Adapter) -> None:
    async with connect(adapter.name, "drop@rx/Identity*1") as programmer:
        await programmer.read_status()
        reading = asyncio.ensure_future(programmer.read_identity())
        seen = adapter.station.telemeter.frames_to_pump
        await until(lambda: adapter.station.telemeter.frames_to_pump > seen)
        await adapter.unplug()
        async with asyncio.timeout(PROMPTLY_S):
            with pytest.raises(LinkError):  # the session was a used one: the driver tries a new link before it says so
                await reading
        await adapter.plug()
        assert (await programmer.read_identity()).simulated


@pytest.mark.inv(20)
@pytest.mark.inv(21)
@pytest.mark.parametrize(
    ("lost", "verdict", "rate"),
    [("drop@rx/VerdictReport*1", Verdict.APPLIED, 150_000), ("drop@tx/Commit*1", Verdict.NEVER, 170_000)],
)
async def test_unplugged_in_mid_commit_is_unknown_until_it_is_plugged_in_again(
    adapter: Adapter, lost: str, verdict: Verdict, rate: int
) -> None:
    store = MemoryJournalStore()
    async with connect(adapter.name, lost, store) as programmer:
        changing = asyncio.ensure_future(programmer.set_rate(RATE))
        journal = store.journal(adapter.pump.device.pump_id, test_credential(Role.CLINICIAN).slot)
        await until(lambda: any(entry.stage is Stage.SENT for entry in journal.entries()))
        if verdict is Verdict.APPLIED:
            await until(lambda: adapter.pump.status.rate_nl_per_day == 150_000)
        await adapter.unplug()
        async with asyncio.timeout(PROMPTLY_S):
            with pytest.raises(OutcomeUnknown) as unknown:
                await changing
        with pytest.raises(LinkOpenError):
            await programmer.read_status()
        assert not programmer.resolved
        await adapter.plug()
        assert (await programmer.read_status()).rate_nl_per_day == rate
        (outcome,) = programmer.resolved
        assert (outcome.transaction, outcome.verdict) == (unknown.value.transaction, verdict)
        assert (await programmer.read_status()).mode is PumpMode.SIMPLE_CONTINUOUS


async def test_a_name_that_comes_to_mean_another_pump_settles_nothing_of_the_first(
    adapter: Adapter, other: Adapter
) -> None:
    store = MemoryJournalStore()
    async with connect(adapter.name, "drop@rx/VerdictReport*1", store) as programmer:
        changing = asyncio.ensure_future(programmer.set_rate(RATE))
        await until(lambda: adapter.pump.status.rate_nl_per_day == 150_000)
        await adapter.unplug()
        with pytest.raises(OutcomeUnknown) as unknown:
            await changing
        await other.plug()
        identity = await programmer.read_identity()
        assert identity.pump_id == other.pump.device.pump_id
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        assert not programmer.resolved
        await other.unplug()
        await adapter.plug()
        await programmer.read_status()
        assert [outcome.transaction for outcome in programmer.resolved] == [unknown.value.transaction]


async def test_an_open_port_does_not_mind_what_becomes_of_its_name(adapter: Adapter, other: Adapter) -> None:
    async with connect(adapter.name) as programmer:
        await programmer.read_status()
        mine = adapter.name.readlink()
        adapter.name.unlink()
        assert (await programmer.set_rate(RATE)).after.rate_nl_per_day == 150_000
        # udev gives the name to another device: who has the port open goes on with the first one ...
        elsewhere = adapter.name.with_name("other")
        await other.plug(elsewhere)
        adapter.name.symlink_to(elsewhere.readlink())
        assert (await programmer.read_identity()).pump_id == adapter.pump.device.pump_id
    async with connect(adapter.name) as programmer:  # ... and who opens it now has the second
        assert (await programmer.read_identity()).pump_id == other.pump.device.pump_id
    adapter.name.unlink()
    async with connect(adapter.name) as programmer:
        with pytest.raises(LinkOpenError, match="no such port"):
            await programmer.read_identity()
        adapter.name.symlink_to(mine)
        assert (await programmer.read_identity()).pump_id == adapter.pump.device.pump_id


@pytest.fixture
def dangling(name: Path) -> Path:
    name.symlink_to("../../ttyUSB9")
    return name


async def test_a_name_whose_port_is_gone_says_what_it_stood_for(dangling: Path) -> None:
    with pytest.raises(LinkOpenError, match=r"is a name for \.\./\.\./ttyUSB9, which is not there now; is the cable"):
        await open_transport(f"serial://{dangling}", RecordingReceiver(), clock=SystemClock())


async def test_somebody_else_is_quicker_at_a_port_that_comes_back(adapter: Adapter) -> None:
    async with connect(adapter.name) as programmer:
        await programmer.read_status()
        await adapter.unplug()
        await until(lambda: programmer._connection._link is None)
        await adapter.plug()
        thief = os.open(adapter.name, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(thief, fcntl.LOCK_EX)
        async with asyncio.timeout(PROMPTLY_S):
            with pytest.raises(LinkOpenError, match="in use by another program"):
                await programmer.read_status()
        os.close(thief)
        assert (await programmer.read_status()).rate_nl_per_day == 170_000


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV, errno.ENXIO])
@pytest.mark.parametrize("doing", ["reading", "writing"])
async def test_whatever_the_system_says_of_a_vanished_device_is_a_loss(
    adapter: Adapter, doing: str, number: int
) -> None:
    receiver = RecordingReceiver()
    transport = await open_transport(f"serial://{adapter.name}", receiver, clock=adapter.clock)

    def gone(*_args: object) -> bytes:
        raise OSError(number, os.strerror(number))

    if doing == "reading":
        transport._receive = gone  # type: ignore[attr-defined]
        transport._readable()  # type: ignore[attr-defined]
    else:
        transport._send = gone  # type: ignore[attr-defined]
        with pytest.raises(LinkClosedError, match=os.strerror(number)):
            transport.write(b"x")
    await until(lambda: receiver.lost)
    assert os.strerror(number) in str(receiver.reason)
    assert "was it unplugged" in str(receiver.reason)
    await transport.close()
    assert receiver.breaches == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENODEV, "no such port"),
        (errno.ENXIO, "no such port"),
        (errno.EIO, "unplug it and plug it in again"),
        (errno.EBUSY, "in use by another program"),
    ],
)
async def test_a_driver_says_what_the_system_says_of_a_port_and_opens_it_when_it_can(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    really = serial.Serial
    refusals = [number, number]

    def moody(*args: object, **settings: object) -> object:
        if refusals:
            raise serial.SerialException(refusals.pop(), "could not open port")
        return really(*args, **settings)

    monkeypatch.setattr(serial, "Serial", moody)
    async with connect(adapter.name) as programmer:
        for _ in range(2):
            with pytest.raises(LinkOpenError, match=words):
                await programmer.read_status()
        assert (await programmer.read_status()).rate_nl_per_day == 170_000


async def test_a_hundred_times_unplugged_leaves_nothing_behind(adapter: Adapter) -> None:
    for _ in range(100):
        receiver = RecordingReceiver()
        transport = await open_transport(f"serial://{adapter.name}", receiver, clock=adapter.clock)
        transport.write(b"\0half a frame")
        await adapter.unplug()
        await until(lambda receiver=receiver: receiver.lost)  # type: ignore[misc]
        assert isinstance(receiver.reason, LinkClosedError)
        await transport.close()
        await adapter.plug()
    assert adapter.station._links == set()


async def test_a_name_that_goes_while_it_is_looked_at_is_no_such_port(
    dangling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_path: Path) -> Path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(type(dangling), "readlink", gone)
    with pytest.raises(LinkOpenError, match="there is no such port; is the cable plugged in"):
        await open_transport(f"serial://{dangling}", RecordingReceiver(), clock=SystemClock())

"""The station: any bytes in, no dose changed; state durable before a verdict leaves; jumps and resets end sessions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telemetry
from telemetry import FlowRate, OutcomeUnknown, VirtualPump
from telemetry.clock import ScaledClock
from telemetry.errors import LinkClosedError, TelemetryError
from telemetry.model import AlarmKind
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import FrameType
from telemetry.sim.connector import entropy_of, station_of
from telemetry.sim.nearfield import NearFieldSettings
from telemetry.sim.station import Station
from telemetry.transport.memory import MemoryLink
from telemetry.units import MS_PER_DAY
from tests.support.turns import until

if TYPE_CHECKING:
    from telemetry.model import PumpEvent
    from telemetry.transport.base import Receiver, Transport

RATE = FlowRate.parse("0.150 ml/day")


class Deaf:
    """Receives and forgets; keeps the reason of the loss."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: list[LinkClosedError | None] = []

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self.lost.append(reason)


class OnStation:
    """A station as ``connect(pump=…)`` wants one."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.clock = station.clock

    async def open_link(self, receiver: Receiver) -> Transport:
        link = MemoryLink(clock=self.clock)
        link.left.start(receiver)
        link.right.start(self.station.accept(link.right))
        return link.left


def hostile(random: Random) -> bytes:
    """Noise, true frames with false contents, and true frames damaged."""
    kind = random.choice(list(FrameType))
    frame = encode_frame(Frame(kind, 0, random.randbytes(random.choice((0, 8, 32, 92, 128, 244, 248)))))
    choice = random.randrange(4)
    if choice == 0:
        return random.randbytes(random.randrange(400))
    if choice == 1:
        return encode_stream(frame)
    damaged = bytearray(encode_stream(frame))
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged) if choice == 2 else bytes(damaged[: random.randrange(len(damaged))])


def books(pump: VirtualPump) -> tuple[object, ...]:
    """Everything but charge, which listening costs."""
    status = replace(pump.status, battery_percent=0, replace_by_ms=0)
    return status, pump.ledger, pump.device.log(0, 2_000), pump.device.ledger_sequence


@pytest.mark.inv(2)
@pytest.mark.inv(59)
@pytest.mark.parametrize("datagrams", [True, False])
async def test_inv_59_any_bytes_are_counted_and_no_dose_is_changed(datagrams: bool) -> None:
    pump = VirtualPump(seed=4)
    station = Station(pump, entropy=entropy_of(1))
    link = MemoryLink(clock=pump.clock, datagrams=datagrams)
    receiver = Deaf()
    link.left.start(receiver)
    framed = station.accept(link.right)
    link.right.start(framed)
    before = books(pump)
    random = Random(17)
    for _ in range(4_000):
        link.left.write(hostile(random))
        if random.randrange(50) == 0:
            await asyncio.sleep(0)
    await until(lambda: not link.in_flight())
    assert receiver.lost == []
    assert books(pump) == before
    assert sum(framed.garbage.values()) > 1_000  # type: ignore[attr-defined]
    assert station.firmware.channel.session is None
    async with telemetry.connect(pump=OnStation(station)) as programmer:  # and it still works for the rightful
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
    await link.left.close()
    await station.close()


@pytest.mark.inv(1)
@given(st.binary(max_size=300))
def test_inv_01_an_idle_pump_is_silent_to_anything_but_a_probe(body: bytes) -> None:
    station = Station(VirtualPump(seed=4), entropy=entropy_of(1))
    for kind in FrameType:
        answers = station.receive(Frame(kind, 0, body[:248]))
        assert kind is FrameType.PROBE or answers == []
        assert len(answers) <= 1


async def test_the_state_is_saved_before_the_verdict_leaves_and_not_at_a_read() -> None:
    saved: list[int] = []

    def save(pump: VirtualPump) -> None:
        saved.append(pump.device.ledger_sequence)

    pump = VirtualPump(seed=4)
    station = Station(pump, entropy=entropy_of(1), save=save)
    async with telemetry.connect(pump=OnStation(station)) as programmer:
        await programmer.read_status()
        assert saved == []
        await programmer.set_rate(RATE)
        assert saved == [pump.device.ledger_sequence]
        await programmer.stop()
        assert saved[-1] == pump.device.ledger_sequence
    await station.close()


async def test_what_cannot_be_saved_is_not_confirmed() -> None:
    failures: list[TelemetryError] = []

    def full(_pump: VirtualPump) -> None:
        raise telemetry.UsageError("state file: no space left on the medium")

    pump = VirtualPump(seed=4)
    station = Station(pump, entropy=entropy_of(1), save=full, on_failure=failures.append)
    async with telemetry.connect(pump=OnStation(station)) as programmer:
        with pytest.raises(OutcomeUnknown):
            await programmer.set_rate(RATE)
    assert str(failures[0]) == "state file: no space left on the medium"
    assert station.failure is failures[-1]
    await station.close()


async def test_a_jump_of_time_ends_the_session_with_that_reason() -> None:
    reasons: list[str] = []
    pump = VirtualPump(seed=4)
    station = station_of(pump)
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.read_status()
        session = station.firmware.channel.session
        assert session is not None
        closed = station.firmware.channel._on_closed
        assert closed is not None
        station.firmware.channel._on_closed = lambda _info, reason: reasons.append(reason)
        pump.advance(ms=1)
        assert station.firmware.channel.session is None
        assert (await programmer.read_status()).now_ms == 0
    assert reasons[0] == "clock_jump"


async def test_a_reset_pump_has_new_challenges_and_no_session() -> None:
    pump = VirtualPump(seed=4)
    station = station_of(pump)
    async with telemetry.connect(pump=pump) as programmer:
        first = await programmer.read_status()
        old = station.firmware
        pump.inject("power_cut")
        second = await programmer.read_status()
    assert station.firmware is not old
    assert second.boot_epoch > first.boot_epoch
    assert (second.program_sequence, second.program_digest) == (first.program_sequence, first.program_digest)


async def test_a_loaded_near_field_still_tells_the_truth() -> None:
    pump = VirtualPump(seed=4)
    station = Station(pump, entropy=entropy_of(1), near_field=NearFieldSettings(loss_ppm=150_000, delay_ms=5), seed=3)
    done = 0
    async with telemetry.connect(pump=OnStation(station), entropy=Random(3).randbytes) as programmer:
        for turn in range(30):
            try:
                await programmer.set_rate(FlowRate(150_000 + turn % 2 * 10_000))
            except (OutcomeUnknown, telemetry.Refused, telemetry.LinkError):
                continue
            done += 1
            assert pump.status.rate_nl_per_day == 150_000 + turn % 2 * 10_000
    assert done > 20
    assert station.telemeter.frames_lost > 0
    await station.close()


@pytest.mark.real
async def test_a_served_pump_lives_at_the_hosts_pace_and_tells_its_events() -> None:
    clock = ScaledClock(speed=0)  # time stands but for jumps
    events: list[PumpEvent] = []
    pump = VirtualPump(seed=4, clock=clock)
    station = Station(pump, entropy=entropy_of(1), on_event=events.append)
    running = asyncio.ensure_future(station.run(clock))
    clock.jump(230 * MS_PER_DAY)
    while not any(event.detail == AlarmKind.LOW_RESERVOIR for event in events):  # noqa: ASYNC110 - host time passes
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (low,) = (event for event in events if event.detail == AlarmKind.LOW_RESERVOIR)
    assert low.at_ms == -(-38_000_000 * 86_400_000 // 170_000)
    await station.close()


async def test_a_closed_station_lets_its_hosts_go() -> None:
    pump = VirtualPump(seed=4)
    station = Station(pump, entropy=entropy_of(1))
    receiver = Deaf()
    link = await OnStation(station).open_link(receiver)
    await station.close()
    await until(lambda: bool(receiver.lost))
    (reason,) = receiver.lost
    assert "closed" in str(reason)
    with pytest.raises(LinkClosedError):
        link.write(b"late")
    station.telemeter.lift()
    pump.advance(minutes=1)

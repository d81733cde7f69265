"""The central against a whole Bluetooth LE stack in this process: bleak over bumble, a telemeter, a virtual pump."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import FlowRate, VirtualPump
from telemetry.clock import SystemClock
from telemetry.errors import LinkError
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.transport.ble import BlePipe, scan, use_backend
from telemetry.transport.ble_errors import BleOpenError, BleReason
from telemetry.transport.ble_gatt import InformationFlag
from telemetry.transport.bleak_bumble import BumbleAdapter, PairingAgent
from telemetry.transport.bumble_link import LinkModel
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver
from tests.support.ble import Bench, bench, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.real

MTUS = (23, 24, 185, 517)
PIN = 123_456


@pytest.fixture
async def air() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


async def opened(url: str = "ble://?name=SIM-0001") -> tuple[BlePipe, RecordingReceiver]:
    receiver = RecordingReceiver()
    transport = await open_transport(url, receiver, clock=SystemClock())
    assert isinstance(transport, BlePipe)
    return transport, receiver


@pytest.mark.parametrize("mtu", [23, 517])
@pytest.mark.parametrize("pairing", ["none", "just-works"])
async def test_connect_interrogate_and_set_the_rate(mtu: int, pairing: str) -> None:
    async with bench() as air:
        station = Station(VirtualPump("itb-40", 7, air.clock), entropy=Random(7).randbytes, seed=7)
        air.stack.push_async_callback(station.close)
        url = f"ble+radio:?name=SIM-0042&interval_ms=20&mtu={mtu}&pairing={pairing}"
        listener = await listen(url, station.accept, clock=air.clock)
        air.stack.push_async_callback(listener.close)
        adapter = await air.central()
        pair = "" if pairing == "none" else "&pair=yes"
        with use_backend(client=adapter.client, scanner=adapter.scanner):
            async with telemetry.connect(f"ble://?name=SIM-0042{pair}", journal=MemoryJournalStore()) as programmer:
                status = await programmer.read_status()
                change = await programmer.set_rate(FlowRate.parse("0.150 ml/day"), accept=("daily_dose_change",))
                after = await programmer.read_status()
    assert status.rate_nl_per_day == 170_000
    assert change.after.rate_nl_per_day == after.rate_nl_per_day == 150_000


@pytest.mark.parametrize("mtu", MTUS)
@pytest.mark.parametrize("side", ["central", "telemeter"])
async def test_frames_of_every_length_cross_both_ways(air: Bench, mtu: int, side: str) -> None:
    listener = await air.listen("name=SIM-0001" if side == "central" else f"name=SIM-0001&mtu={mtu}")
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        transport, receiver = await opened(f"{listener.url}?mtu={mtu}" if side == "central" else "ble://?name=SIM-0001")
    assert transport.att_mtu == mtu
    assert transport.information is not None
    assert transport.information.flags == InformationFlag.SIMULATED
    frames = [bytes((length & 0xFF,)) * length for length in (1, mtu - 4, mtu - 3, 200, 256) if length <= 256]
    served = air.served[0]
    for frame in frames:
        transport.write(frame)
        served.transport.write(frame)
    await until(lambda: len(receiver.chunks) == len(served.receiver.chunks) == len(frames))
    assert receiver.chunks == served.receiver.chunks == frames
    await transport.close()
    await until(lambda: served.receiver.lost)
    assert receiver.reason is None
    assert receiver.breaches == served.receiver.breaches == []


async def test_a_burst_is_borne_by_back_pressure(air: Bench) -> None:
    await air.listen("name=SIM-0001&mtu=23")
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        transport, _ = await opened()
    served = air.served[0]
    frames = [bytes((index,)) * 256 for index in range(200)]
    for frame in frames:
        transport.write(frame)
        await until(lambda: len(transport._queue) < 60)
    await until(lambda: len(served.receiver.chunks) == len(frames))
    assert served.receiver.chunks == frames
    await transport.close()


async def test_the_telemeter_that_closes_is_lost_with_its_word(air: Bench) -> None:
    listener = await air.listen()
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        _, receiver = await opened()
    await listener.close()
    await until(lambda: receiver.lost)
    assert getattr(receiver.reason, "reason", None) is BleReason.CLOSED_BY_TELEMETER
    assert receiver.breaches == []


async def test_a_telemeter_out_of_range_is_lost_and_found_again() -> None:
    async with bench(LinkModel(supervision_ms=200)) as air:
        await air.listen()
        adapter = await air.central()
        with use_backend(client=adapter.client, scanner=adapter.scanner):
            transport, receiver = await opened()
            air.radio.move_out_of_range("SIM-0001")
            await until(lambda: receiver.lost)
            assert getattr(receiver.reason, "reason", None) is BleReason.VANISHED
            assert (await refused(adapter, "ble://?name=SIM-0001&timeout_ms=100")).reason is BleReason.NOT_FOUND
            air.radio.move_into_range("SIM-0001")
            again, second = await opened()
            await again.close()
            assert second.breaches == []
            await transport.close()


async def test_a_peer_that_vanishes_in_pairing_is_told_in_time() -> None:
    async with bench(LinkModel(supervision_ms=200)) as air:
        await air.listen("name=SIM-0001&pairing=passkey")
        adapter = await air.central(agent=PairingAgent(passkey=lambda: air.radio.cut("SIM-0001")))
        error = await refused(adapter, "ble://?name=SIM-0001&pair=yes&timeout_ms=5000")
    assert error.reason is BleReason.VANISHED


async def test_an_adapter_that_is_off_is_told_apart(air: Bench) -> None:
    await air.listen()
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        _, receiver = await opened()
        await adapter.power_off()
        await until(lambda: receiver.lost)
        with pytest.raises(BleOpenError) as caught:
            await opened()
    assert caught.value.reason is BleReason.ADAPTER_OFF


async def refused(adapter: BumbleAdapter, url: str) -> BleOpenError:
    with use_backend(client=adapter.client, scanner=adapter.scanner), pytest.raises(BleOpenError) as caught:
        await opened(url)
    assert not adapter.connected
    return caught.value


@pytest.mark.parametrize("pairing", ["just-works", "passkey", "numeric"])
async def test_a_telemeter_that_asks_for_pairing_says_so(air: Bench, pairing: str) -> None:
    await air.listen(f"name=SIM-0001&pairing={pairing}")
    error = await refused(await air.central(), "ble://?name=SIM-0001")
    assert error.reason is BleReason.PAIRING_NEEDED
    assert "pair=yes" in str(error)


@pytest.mark.parametrize(
    ("query", "agent"),
    [
        ("pairing=just-works", PairingAgent()),
        (f"pairing=passkey&passkey={PIN}", PairingAgent(passkey=PIN)),
        ("pairing=numeric", PairingAgent(confirm=lambda _number: True)),
    ],
)
async def test_pairing_opens_it(air: Bench, query: str, agent: PairingAgent) -> None:
    await air.listen(f"name=SIM-0001&{query}")
    adapter = await air.central(agent=agent)
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        transport, _ = await opened("ble://?name=SIM-0001&pair=yes&timeout_ms=5000")
    transport.write(b"paired")
    await until(lambda: air.served[0].receiver.data == b"paired")
    await transport.close()


@pytest.mark.parametrize(
    ("query", "agent"),
    [
        (f"pairing=passkey&passkey={PIN}", PairingAgent(passkey=PIN + 1)),
        ("pairing=numeric", PairingAgent(confirm=lambda _number: False)),
    ],
)
async def test_pairing_that_fails_is_refused(air: Bench, query: str, agent: PairingAgent) -> None:
    await air.listen(f"name=SIM-0001&{query}")
    error = await refused(await air.central(agent=agent), "ble://?name=SIM-0001&pair=yes&timeout_ms=5000")
    assert error.reason is BleReason.PAIRING_REFUSED


async def test_several_telemeters_in_one_scan(air: Bench) -> None:
    for number in (1, 2, 3):
        await air.listen(f"name=SIM-000{number}")
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        found = await scan(0.2)
    assert sorted(str(one.name) for one in found) == ["SIM-0001", "SIM-0002", "SIM-0003"]
    assert all(one.simulated and one.service_version == 1 for one in found)


async def test_two_centrals_at_once(air: Bench) -> None:
    await air.listen()
    pipes = []
    for name in ("tablet", "laptop"):
        adapter = await air.central(name)
        with use_backend(client=adapter.client, scanner=adapter.scanner):
            pipes.append((await opened())[0])
    for index, pipe in enumerate(pipes):
        pipe.write(bytes((index,)))
    await until(lambda: sorted(served.receiver.data for served in air.served) == [b"\0", b"\1"])
    for pipe in pipes:
        await pipe.close()


async def test_abrupt_drops_leave_nothing_and_reconnect_every_time(air: Bench) -> None:
    await air.listen()
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        for index in range(10):
            transport, receiver = await opened()
            transport.write(bytes((index,)))
            served = air.served[-1]
            await until(partial(getattr, served.receiver, "data"))
            assert served.receiver.data == bytes((index,))
            await served.pipe.connection.disconnect()
            await until(partial(getattr, receiver, "lost"))
            await transport.close()
            assert not adapter.connected


async def test_a_driver_told_of_the_loss_comes_back(air: Bench) -> None:
    station = Station(VirtualPump("itb-40", 7, air.clock), entropy=Random(7).randbytes, seed=7)
    air.stack.push_async_callback(station.close)
    links: list[Transport] = []

    def accept(transport: Transport) -> Receiver:
        links.append(transport)
        return station.accept(transport)

    listener = await listen("ble+radio:?name=SIM-0001&interval_ms=20", accept, clock=air.clock)
    air.stack.push_async_callback(listener.close)
    adapter = await air.central()
    with use_backend(client=adapter.client, scanner=adapter.scanner):
        async with telemetry.connect("ble://?name=SIM-0001", journal=MemoryJournalStore()) as programmer:
            before = await programmer.read_status()
            await links[0].close()
            await asyncio.sleep(0.05)
            try:
                after = await programmer.read_status()
            except LinkError:
                after = await programmer.read_status()  # the loss itself was told first
            assert after.rate_nl_per_day == before.rate_nl_per_day
    assert len(links) == 2

"""The air: what is lost comes late and whole, contact that stays away ends, and the same seed loses the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from bleak import BleakClient, BleakScanner
from bumble.device import Connection, Device

from telemetry.clock import SystemClock
from telemetry.errors import UsageError
from telemetry.transport.ble_gatt import COMMAND_UUID
from telemetry.transport.bumble_link import LinkModel
from telemetry.transport.bumble_radio import BumbleRadio, radio_of
from tests.support.ble import Bench, bench, until

if TYPE_CHECKING:
    from telemetry.transport.bleak_bumble import BumbleAdapter

pytestmark = pytest.mark.real


async def linked(air: Bench) -> tuple[BumbleAdapter, BleakClient]:
    await air.listen()
    adapter = await air.central()
    device = await BleakScanner.find_device_by_name("SIM-0001", timeout=5, backend=adapter.scanner)
    assert device is not None
    client = BleakClient(device, timeout=5, backend=adapter.client)
    await client.connect()
    await until(lambda: air.served)
    return adapter, client


async def send(client: BleakClient, count: int) -> list[bytes]:
    frames = [bytes([number]) * 20 for number in range(count)]
    for number, frame in enumerate(frames):
        await client.write_gatt_char(COMMAND_UUID, bytes([0xC0 | number % 64]) + frame, response=False)
    return frames


async def test_lost_packets_come_late_whole_and_in_order() -> None:
    async with bench() as air:
        _, client = await linked(air)
        air.radio.link.model = LinkModel(loss_ppm=300_000, interval_ms=7)
        frames = await send(client, 60)
        await until(lambda: len(air.served[0].receiver.chunks) == 60)
        assert air.served[0].receiver.chunks == frames
        assert air.radio.link.repeats > 0


async def losses(seed: int) -> list[bool]:
    """Which of sixty advertisements one listener got: drawn in the order of sending, whatever the time."""
    async with bench(LinkModel(loss_ppm=500_000, seed=seed)) as air:
        link = air.radio.link
        return [link._lost() for _ in range(60)]


async def test_the_same_seed_loses_the_same() -> None:
    assert await losses(1) == await losses(1)
    assert await losses(1) != await losses(2)


async def test_delay_and_order() -> None:
    async with bench() as air:
        _, client = await linked(air)
        loop = asyncio.get_running_loop()
        air.radio.link.model = LinkModel(delay_ms=50)
        arrived: list[float] = []
        air.served[0].receiver.when_data = lambda _data: arrived.append(loop.time())
        began = loop.time()
        frames = await send(client, 5)
        air.radio.link.model = LinkModel()  # what is sent now must not overtake
        await client.write_gatt_char(COMMAND_UUID, b"\xc5last", response=False)
        await until(lambda: len(arrived) == 6)
        assert arrived[0] - began >= 0.045
        assert air.served[0].receiver.chunks == [*frames, b"last"]


async def test_throughput_is_bounded() -> None:
    async with bench() as air:
        _, client = await linked(air)
        loop = asyncio.get_running_loop()
        air.radio.link.model = LinkModel(bits_per_s=100_000)
        began = loop.time()
        await send(client, 50)
        await until(lambda: len(air.served[0].receiver.chunks) == 50)
        # 28 bytes each: 21 of the segment, 3 of ATT, 4 of L2CAP.
        assert loop.time() - began >= 50 * 28 * 8 / 100_000 * 0.9


async def test_out_of_range_for_a_while_loses_nothing() -> None:
    async with bench(LinkModel(supervision_ms=3_000)) as air:
        _, client = await linked(air)
        air.radio.move_out_of_range("SIM-0001")
        frames = await send(client, 5)
        await asyncio.sleep(0.05)
        assert air.served[0].receiver.chunks == []
        air.radio.move_into_range("SIM-0001")
        await until(lambda: len(air.served[0].receiver.chunks) == 5)
        assert air.served[0].receiver.chunks == frames
        assert client.is_connected


async def test_out_of_range_for_too_long_ends_it_at_both_ends() -> None:
    async with bench(LinkModel(supervision_ms=100)) as air:
        adapter, client = await linked(air)
        air.radio.move_out_of_range("SIM-0001")
        await until(lambda: not client.is_connected and air.served[0].receiver.lost)
        assert air.radio.link.contacts_lost == 1
        assert await BleakScanner.discover(0.1, backend=adapter.scanner) == []
        air.radio.move_into_range("SIM-0001")
        assert await BleakScanner.find_device_by_name("SIM-0001", timeout=5, backend=adapter.scanner) is not None


async def test_back_and_away_again_begins_a_new_supervision_time() -> None:
    async with bench(LinkModel(supervision_ms=300)) as air:
        _, client = await linked(air)
        air.radio.move_out_of_range("SIM-0001")
        await asyncio.sleep(0.2)
        air.radio.move_into_range("SIM-0001")
        air.radio.move_out_of_range("SIM-0001")
        await asyncio.sleep(0.2)
        assert client.is_connected
        await until(lambda: not client.is_connected)


async def test_an_air_that_loses_everything_ends_a_link_that_is_used() -> None:
    async with bench(LinkModel(supervision_ms=100, interval_ms=7)) as air:
        _, client = await linked(air)
        air.radio.link.model = LinkModel(loss_ppm=1_000_000, supervision_ms=100, interval_ms=7)
        await send(client, 1)
        await until(lambda: not client.is_connected and air.served[0].receiver.lost)


async def test_a_cut_is_immediate() -> None:
    async with bench() as air:
        _, client = await linked(air)
        air.radio.cut("SIM-0001")
        await until(lambda: not client.is_connected and air.served[0].receiver.lost)


async def test_a_lost_request_to_connect_is_a_connection_never_established() -> None:
    async with bench(LinkModel(interval_ms=7)) as air:
        await air.listen()
        adapter = await air.central()
        device = await BleakScanner.find_device_by_name("SIM-0001", timeout=5, backend=adapter.scanner)
        assert device is not None
        link = air.radio.link
        lucky, send_connect = link._lost, link._send_connect

        def send_in_vain(*request: Any) -> None:  # noqa: ANN401 - handed through
            link._lost = lambda: True  # type: ignore[method-assign]
            send_connect(*request)
            link._lost = lucky  # type: ignore[method-assign]

        link._send_connect = send_in_vain  # type: ignore[method-assign, assignment]
        reasons: list[int] = []

        def note(connection: Connection) -> None:
            connection.on(connection.EVENT_DISCONNECTION, reasons.append)

        adapter.device.on(Device.EVENT_CONNECTION, note)
        await adapter.connect(device.details, 5.0)
        await until(lambda: reasons)
        assert [hex(reason) for reason in reasons] == ["0x3e"]


async def test_adverts_carry_the_signal_strength_of_the_model() -> None:
    async with bench(LinkModel(rssi_dbm=-77)) as air:
        await air.listen()
        adapter = await air.central()
        found = await BleakScanner.discover(0.1, return_adv=True, backend=adapter.scanner)
        assert [data.rssi for _, data in found.values()] == [-77]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss_ppm", 1_000_001),
        ("loss_ppm", 0.5),
        ("delay_ms", -1),
        ("interval_ms", 6),
        ("supervision_ms", 99),
        ("bits_per_s", -1),
        ("rssi_dbm", 21),
    ],
)
def test_a_model_outside_its_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{field}: {value}"):
        LinkModel(**{field: value})  # type: ignore[arg-type]


async def test_a_clock_knows_one_radio_and_forgets_it_when_that_closes() -> None:
    clock = SystemClock()
    async with BumbleRadio() as radio, BumbleRadio() as other:
        assert radio.join(clock) is radio.join(clock)
        assert radio_of(clock) is radio
        with pytest.raises(UsageError, match="has a radio already"):
            other.join(clock)
    with pytest.raises(UsageError, match="has no radio"):
        radio_of(clock)


async def test_adapters_have_names_of_their_own() -> None:
    async with BumbleRadio() as radio:
        radio.device("a")
        with pytest.raises(UsageError, match="'a' is taken"):
            radio.device("a")
        with pytest.raises(UsageError, match=r"called 'b'; there are: a"):
            radio.cut("b")

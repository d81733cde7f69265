"""Stock bleak's BlueZ code path, and our central on top of it, against bluezoo on a private D-Bus."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bleak import BleakClient, BleakScanner

from telemetry import FlowRate, VirtualPump, connect
from telemetry.clock import ScaledClock, SystemClock
from telemetry.link import FrameLink
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, decode_frame, encode_frame
from telemetry.protocol.messages import ReadTelemeter, TelemeterReport
from telemetry.protocol.wire import FrameType
from telemetry.sim.connector import entropy_of
from telemetry.sim.station import TELEMETER_SERIAL, Station
from telemetry.transport import ble_gatt
from telemetry.transport.ble_errors import BleClosedError, BleOpenError, BleReason
from telemetry.transport.ble_segments import Reassembler, Segmenter
from telemetry.transport.registry import open_transport
from tests.support.bluez_application import INFORMATION, Application
from tests.support.bluezoo import PERIPHERAL, bluezoo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice

    from telemetry.errors import LinkClosedError
    from telemetry.programmer.opening import Connecting

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]
LIMIT_S = 10


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    # In a folder of its own: pytest's are too deep for the name of a socket.
    with tempfile.TemporaryDirectory(prefix="bluezoo-") as place:
        async with bluezoo(Path(place)) as address:
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            yield address


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    station = Station(VirtualPump("itb-40", 7, ScaledClock()), entropy=entropy_of(7), seed=7)
    yield station
    await station.close()


@pytest.fixture(params=[ble_gatt.MIN_MTU, ble_gatt.MAX_MTU], ids="MTU {}".format)
def mtu(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture
async def application(address: str, station: Station, mtu: int) -> AsyncIterator[Application]:
    async with Application(address, station.accept, mtu=mtu) as application:
        yield application


async def find() -> BLEDevice:
    # Not `find_device_by_name`: bluezoo announces a device once, sooner than that one begins to look.
    seen = await BleakScanner.discover(timeout=1, return_adv=True, bluez={"adapter": "hci0"})
    (found,) = (device for device, advertised in seen.values() if advertised.local_name == "SIM-0001")
    return found


async def test_stock_bleak_finds_the_telemeter_and_sees_the_service_as_it_is_written(application: Application) -> None:
    device = await find()
    assert device.address == PERIPHERAL
    async with BleakClient(device, timeout=LIMIT_S) as client:
        service = client.services.get_service(ble_gatt.SERVICE_UUID)
        assert service is not None
        shown = {one.uuid: frozenset(one.properties) for one in service.characteristics}
        assert shown == ble_gatt.PROPERTIES
        value = await client.read_gatt_char(ble_gatt.INFORMATION_UUID)
        assert ble_gatt.decode_information(bytes(value)) == INFORMATION


async def test_stock_bleak_talks_to_the_telemeter_in_segments(application: Application, mtu: int) -> None:
    frames: asyncio.Queue[Frame] = asyncio.Queue()
    together = Reassembler()

    def notified(_: BleakGATTCharacteristic, value: bytearray) -> None:
        for item in together.feed(bytes(value)):
            assert isinstance(item, bytes)
            frames.put_nowait(decode_frame(item))

    async with BleakClient(await find(), timeout=LIMIT_S) as client:
        await client.start_notify(ble_gatt.REPLY_UUID, notified)
        segmenter = Segmenter(mtu)
        for tag, response in enumerate([True, False] * 5):
            question = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag))))
            for segment in segmenter.cut(question):
                await client.write_gatt_char(ble_gatt.COMMAND_UUID, segment, response=response)
            async with asyncio.timeout(LIMIT_S):
                answer = decode((await frames.get()).body)
            assert isinstance(answer, TelemeterReport)
            assert (answer.tag, answer.serial) == (tag, TELEMETER_SERIAL)
    assert together.faults == {}
    assert max(map(len, application.writes)) <= mtu - ble_gatt.ATT_OVERHEAD


async def test_stock_bleak_sees_the_peripheral_vanish(application: Application) -> None:
    gone = asyncio.Event()
    async with BleakClient(await find(), lambda _: gone.set(), timeout=LIMIT_S) as client:
        await application.drop()
        async with asyncio.timeout(LIMIT_S):
            await gone.wait()
        assert not client.is_connected


# --- our central -----------------------------------------------------------------------------------------------------


def programmer_at(place: Path, parameters: str = "") -> Connecting:
    return connect(f"ble://?name=SIM-0001&adapter=hci0{parameters}", journal=place)


async def test_a_rate_is_changed_through_bluez(application: Application, mtu: int, tmp_path: Path) -> None:
    async with programmer_at(tmp_path, f"&mtu={mtu}") as programmer:
        assert (await programmer.read_telemeter()).serial == TELEMETER_SERIAL
        before = await programmer.read_status()
        change = await programmer.set_rate(FlowRate.parse("0.150 ml/day"))
        after = await programmer.read_status()
    assert before.rate_nl_per_day == 170_000
    assert after.rate_nl_per_day == change.after.rate_nl_per_day == 150_000
    assert max(map(len, application.writes)) <= mtu - ble_gatt.ATT_OVERHEAD


@pytest.mark.parametrize("mtu", [ble_gatt.MAX_MTU], indirect=True)
async def test_by_address_too(application: Application, tmp_path: Path) -> None:
    async with connect(f"ble://{PERIPHERAL}?adapter=hci0", journal=tmp_path) as programmer:
        assert (await programmer.read_telemeter()).serial == TELEMETER_SERIAL


@pytest.mark.parametrize("mtu", [ble_gatt.MAX_MTU], indirect=True)
async def test_a_drop_is_seen_and_the_next_call_connects_again(application: Application, tmp_path: Path) -> None:
    async with programmer_at(tmp_path) as programmer:
        await programmer.read_status()
        await application.drop()
        await application.reappear()
        assert (await programmer.read_status()).rate_nl_per_day == 170_000


async def test_the_end_of_the_bluetooth_service_ends_the_link(station: Station, tmp_path: Path) -> None:
    lost: asyncio.Queue[LinkClosedError | None] = asyncio.Queue()
    with tempfile.TemporaryDirectory(prefix="bluezoo-") as place, pytest.MonkeyPatch.context() as patch:
        async with bluezoo(Path(place)) as address:
            patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            async with Application(address, station.accept):
                link = FrameLink(on_frame=lambda _: None, on_lost=lost.put_nowait)
                link.attach(await open_transport("ble://?name=SIM-0001&adapter=hci0", link, clock=SystemClock()))
                assert lost.empty()
        async with asyncio.timeout(LIMIT_S):
            reason = await lost.get()
        await link.close()
    assert isinstance(reason, BleClosedError)
    assert reason.reason is BleReason.VANISHED


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [("?name=SIM-9999&adapter=hci0&timeout_ms=1500", BleReason.NOT_FOUND)],
)
async def test_who_is_not_there_is_not_found_in_time(
    address: str, parameters: str, reason: BleReason, tmp_path: Path
) -> None:
    async with connect(f"ble://{parameters}", journal=tmp_path) as programmer:
        with pytest.raises(BleOpenError) as caught:
            await programmer.read_telemeter()
    assert caught.value.reason is reason


async def test_an_adapter_that_is_not_there_is_named(address: str, tmp_path: Path) -> None:
    async with connect("ble://?name=SIM-0001&adapter=hci7&timeout_ms=5000", journal=tmp_path) as programmer:
        with pytest.raises(BleOpenError) as caught:
            await programmer.read_telemeter()
    assert caught.value.reason is BleReason.NO_ADAPTER


async def test_without_a_bluetooth_service_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'nobody'}")
    async with connect("ble://?name=SIM-0001&timeout_ms=5000", journal=tmp_path) as programmer:
        with pytest.raises(BleOpenError, match="bluez") as caught:
            await programmer.read_telemeter()
    assert caught.value.reason is BleReason.NO_SERVICE


async def test_a_telemeter_of_another_version_is_told_from_a_stranger(
    address: str, station: Station, tmp_path: Path
) -> None:
    async with Application(address, station.accept, version=9), programmer_at(tmp_path) as programmer:
        with pytest.raises(BleOpenError, match="version 9") as caught:
            await programmer.read_telemeter()
    assert caught.value.reason is BleReason.OTHER_VERSION

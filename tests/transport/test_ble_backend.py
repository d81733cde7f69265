"""The bleak backend over bumble, met only through bleak: as a user's program meets it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import bleak
import pytest
from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)
from bumble import att, gatt
from bumble.core import UUID, AdvertisingData

from telemetry.transport.ble_gatt import SERVICE_UUID
from telemetry.transport.bleak_bumble import BumbleAdapter, PairingAgent
from telemetry.transport.bumble_radio import static_address
from tests.support.ble import Bench, bench, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bleak.backends.device import BLEDevice
    from bumble.device import Connection, Device

pytestmark = pytest.mark.real

HEART_RATE = "0000180d-0000-1000-8000-00805f9b34fb"
MEASUREMENT = "00002a37-0000-1000-8000-00805f9b34fb"
CONTROL = "00002a39-0000-1000-8000-00805f9b34fb"
VENDOR = "12345678-1234-5678-1234-56789abcdef0"
CLOSED = "12345678-1234-5678-1234-56789abcdef1"
SILENT = "12345678-1234-5678-1234-56789abcdef2"
CUSTOM = 0x1234
DESCRIPTION = "00002901-0000-1000-8000-00805f9b34fb"


class Strap:
    """A heart rate strap: somebody else's device, for somebody else's bleak program."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.written: list[bytes] = []
        properties, permissions = gatt.Characteristic.Properties, gatt.Characteristic.Permissions
        self.measurement: gatt.Characteristic[bytes] = gatt.Characteristic(
            MEASUREMENT,
            properties.NOTIFY | properties.READ,
            permissions.READABLE,
            gatt.CharacteristicValue(read=lambda _connection: b"\x00\x48"),
            [gatt.Descriptor(gatt.GATT_CHARACTERISTIC_USER_DESCRIPTION_DESCRIPTOR, "READABLE,WRITEABLE", b"pulse")],
        )
        self.control: gatt.Characteristic[bytes] = gatt.Characteristic(
            CONTROL,
            properties.WRITE | properties.WRITE_WITHOUT_RESPONSE | properties.INDICATE,
            permissions.WRITEABLE,
            gatt.CharacteristicValue(write=self._write),
        )
        secret = gatt.Characteristic(
            CLOSED, properties.READ, permissions.READABLE | permissions.READ_REQUIRES_ENCRYPTION, b"known to friends"
        )
        silent: gatt.Characteristic[bytes] = gatt.Characteristic(
            SILENT, properties.READ, permissions.READABLE, gatt.CharacteristicValue(read=self._hang)
        )
        device.add_service(gatt.Service(HEART_RATE, [self.measurement, self.control]))
        device.add_service(gatt.Service(VENDOR, [secret, silent]))
        self.hanging = asyncio.Event()

    async def start(self) -> None:
        await self.device.power_on()
        await self.device.start_advertising(
            auto_restart=True,
            advertising_interval_min=20,
            advertising_interval_max=20,
            advertising_data=bytes(
                AdvertisingData(
                    [
                        (AdvertisingData.Type.FLAGS, bytes([6])),
                        (AdvertisingData.Type.COMPLETE_LOCAL_NAME, b"Strap"),
                        (AdvertisingData.Type.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, bytes(UUID("180D"))),
                        (AdvertisingData.Type.TX_POWER_LEVEL, b"\xfc"),
                        (AdvertisingData.Type.MANUFACTURER_SPECIFIC_DATA, CUSTOM.to_bytes(2, "little") + b"maker"),
                    ]
                )
            ),
            scan_response_data=bytes(
                AdvertisingData(
                    [
                        (AdvertisingData.Type.SERVICE_DATA_16_BIT_UUID, bytes(UUID("180D")) + b"data"),
                        (AdvertisingData.Type.SERVICE_DATA_128_BIT_UUID, bytes(UUID(VENDOR))),
                    ]
                )
            ),
        )

    async def stop(self) -> None:
        self.hanging.set()
        await self.device.stop_advertising()

    @property
    def connection(self) -> Connection:
        (connection,) = self.device.connections.values()
        return connection

    def _write(self, _connection: Connection, value: bytes) -> None:
        if value == b"refuse":
            raise att.ATT_Error(error_code=att.ErrorCode.VALUE_NOT_ALLOWED)
        self.written.append(bytes(value))

    async def _hang(self, _connection: Connection) -> bytes:
        await self.hanging.wait()
        return b""


async def strapped(air: Bench, *, agent: PairingAgent | None = None, att_s: float = 5.0) -> tuple[Strap, BumbleAdapter]:
    strap = Strap(air.radio.device("Strap"))
    await strap.start()
    air.stack.push_async_callback(strap.stop)
    return strap, await air.central(agent=agent, att_s=att_s)


async def find(adapter: BumbleAdapter) -> BLEDevice:
    device = await BleakScanner.find_device_by_name("Strap", timeout=5, backend=adapter.scanner)
    assert device is not None
    return device


async def open_client(adapter: BumbleAdapter, on_end: Callable[[BleakClient], None] | None = None) -> BleakClient:
    client = BleakClient(await find(adapter), on_end, timeout=5, backend=adapter.client)
    await client.connect()
    return client


@asynccontextmanager
async def connected(adapter: BumbleAdapter) -> AsyncIterator[BleakClient]:
    async with BleakClient(await find(adapter), timeout=5, backend=adapter.client) as client:
        yield client


# --- scanning ---


async def test_a_scan_tells_all_that_is_advertised() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        found = await BleakScanner.discover(0.2, return_adv=True, backend=adapter.scanner)
        ((device, data),) = found.values()
        assert device.name == data.local_name == "Strap"
        assert device.address == static_address("Strap")
        assert data.service_uuids == [HEART_RATE]
        assert data.manufacturer_data == {CUSTOM: b"maker"}
        assert data.service_data == {HEART_RATE: b"data", VENDOR: b""}
        assert data.tx_power == -4
        assert data.rssi == -50


async def test_a_passive_scan_asks_for_no_scan_response() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        found = await BleakScanner.discover(0.2, return_adv=True, scanning_mode="passive", backend=adapter.scanner)
        ((_, data),) = found.values()
        assert data.service_data == {}


async def test_a_scan_for_services_is_told_of_those_only() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        told: list[str | None] = []
        for uuids in ([VENDOR], [HEART_RATE]):
            async with BleakScanner(
                lambda device, _data: told.append(device.name), service_uuids=uuids, backend=adapter.scanner
            ):
                await asyncio.sleep(0.1)
            assert bool(told) == (uuids == [HEART_RATE])


async def test_two_scans_at_once_and_the_end_of_one() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        counts = [0, 0]

        def count(which: int) -> Callable[[object, object], None]:
            def heard(_device: object, _data: object) -> None:
                counts[which] += 1

            return heard

        async with BleakScanner(count(0), backend=adapter.scanner):
            async with BleakScanner(count(1), backend=adapter.scanner):
                await until(lambda: all(counts))
            after = list(counts)
            await until(lambda: counts[0] > after[0] + 2)
            assert counts[1] == after[1]
        assert not adapter.device.is_scanning


async def test_stopping_a_scan_twice_is_harmless() -> None:
    async with bench() as air:
        scanner = BleakScanner(backend=(await air.central()).scanner)
        await scanner.start()
        await scanner.stop()
        await scanner.stop()


# --- connecting ---


async def test_services_characteristics_descriptors_and_mtu() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        client = BleakClient(await find(adapter), backend=adapter.client)
        assert (client.is_connected, client.mtu_size, client.name) == (False, 23, "Strap")
        async with client:
            assert (client.is_connected, client.mtu_size) == (True, 517)
            assert client.backend_id == "BumbleClient"
            measurement = client.services.get_characteristic(MEASUREMENT)
            control = client.services.get_characteristic(CONTROL)
            assert measurement is not None
            assert control is not None
            assert set(measurement.properties) == {"read", "notify"}
            assert set(control.properties) == {"write", "write-without-response", "indicate"}
            assert control.max_write_without_response_size == 514
            assert measurement.service_uuid == HEART_RATE
            assert DESCRIPTION in [descriptor.uuid for descriptor in measurement.descriptors]
        assert not client.is_connected


async def test_only_the_services_asked_for() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with BleakClient(await find(adapter), services=["180d"], backend=adapter.client) as client:
            assert [service.uuid for service in client.services] == [HEART_RATE]


async def test_connecting_by_address_looks_for_it_first() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with BleakClient(static_address("Strap").lower(), timeout=5, backend=adapter.client) as client:
            assert await client.read_gatt_char(MEASUREMENT) == b"\x00\x48"


@pytest.mark.parametrize("address", ["F0:11:22:33:44:55", "Strap"])
async def test_an_address_that_nobody_has_is_not_found(address: str) -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        with pytest.raises(BleakDeviceNotFoundError):
            await BleakClient(address, timeout=0.2, backend=adapter.client).connect()
        async with connected(adapter) as client:  # nothing is left of the attempt
            assert client.is_connected


async def test_a_device_that_went_away_is_a_time_out_and_leaves_nothing_pending() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        device = await find(adapter)
        await strap.device.stop_advertising()
        with pytest.raises(TimeoutError):
            await BleakClient(device, timeout=0.2, backend=adapter.client).connect()
        await strap.start()
        async with connected(adapter) as client:
            assert client.is_connected


async def test_a_connection_attempt_that_is_cancelled_leaves_nothing_pending() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        device = await find(adapter)
        await strap.device.stop_advertising()
        attempt = asyncio.ensure_future(BleakClient(device, timeout=5, backend=adapter.client).connect())
        await asyncio.sleep(0.05)
        attempt.cancel()
        await asyncio.wait({attempt})
        assert attempt.cancelled()
        await strap.start()
        async with connected(adapter) as client:
            assert client.is_connected


async def test_two_devices_connected_at_once_in_parallel() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        await air.listen()
        strap = await find(adapter)
        telemeter = await BleakScanner.find_device_by_name("SIM-0001", timeout=5, backend=adapter.scanner)
        assert telemeter is not None
        clients = [BleakClient(device, timeout=5, backend=adapter.client) for device in (strap, telemeter)]
        await asyncio.gather(*(client.connect() for client in clients))
        chosen = await BleakAdapter.get(backend=adapter.adapter)
        assert {device.name for device in await chosen.get_connected_devices([HEART_RATE, SERVICE_UUID])} == {
            "Strap",
            "SIM-0001",
        }
        assert [device.name for device in await chosen.get_connected_devices([HEART_RATE])] == ["Strap"]
        await asyncio.gather(*(client.disconnect() for client in clients))
        assert await chosen.get_connected_devices([HEART_RATE, SERVICE_UUID]) == []


async def test_connecting_twice_is_refused_and_reconnecting_is_not() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        client = await open_client(adapter)
        with pytest.raises(BleakError, match="Already connected"):
            await client.connect()
        for _ in range(3):
            await client.disconnect()
            await client.disconnect()
            await client.connect()
            assert await client.read_gatt_char(MEASUREMENT) == b"\x00\x48"


async def test_the_callback_hears_of_every_end() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        ends: list[BleakClient] = []
        client = await open_client(adapter, ends.append)
        await strap.connection.disconnect()
        await until(lambda: ends == [client])
        assert not client.is_connected
        await client.connect()
        await client.disconnect()
        assert ends == [client, client]


# --- values ---


async def test_values_are_read_written_and_described() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        async with connected(adapter) as client:
            assert await client.read_gatt_char(MEASUREMENT) == bytearray(b"\x00\x48")
            await client.write_gatt_char(CONTROL, b"one", response=True)
            await client.write_gatt_char(CONTROL, bytearray(b"two"), response=False)
            await client.write_gatt_char(CONTROL, b"long" * 128, response=True)
            await until(lambda: strap.written == [b"one", b"two", b"long" * 128])
            measurement = client.services.get_characteristic(MEASUREMENT)
            assert measurement is not None
            (described,) = [one for one in measurement.descriptors if one.uuid == DESCRIPTION]
            assert await client.read_gatt_descriptor(described) == b"pulse"
            await client.write_gatt_descriptor(described, b"rate")
            assert await client.read_gatt_descriptor(described) == b"rate"


async def test_a_write_without_response_that_is_too_long_is_refused() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with connected(adapter) as client:
            with pytest.raises(BleakError, match=r"515 bytes.*514"):
                await client.write_gatt_char(CONTROL, bytes(515), response=False)


async def test_many_writes_without_response_all_arrive_in_order() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        async with connected(adapter) as client:
            sent = [number.to_bytes(2, "big") * 100 for number in range(300)]
            for value in sent:
                await client.write_gatt_char(CONTROL, value, response=False)
            await until(lambda: len(strap.written) == len(sent))
            assert strap.written == sent


async def test_a_refusal_has_its_code() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with connected(adapter) as client:
            with pytest.raises(BleakGATTProtocolError) as refused:
                await client.write_gatt_char(CONTROL, b"refuse", response=True)
            assert refused.value.code is BleakGATTProtocolErrorCode.VALUE_NOT_ALLOWED


async def test_notifications_and_indications_come_and_end() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air)
        async with connected(adapter) as client:
            heard: list[bytes] = []
            for uuid in (MEASUREMENT, CONTROL):
                await client.start_notify(uuid, lambda _characteristic, value: heard.append(bytes(value)))
            await strap.device.notify_subscribers(strap.measurement, b"notified")
            await strap.device.indicate_subscribers(strap.control, b"indicated")
            await until(lambda: heard == [b"notified", b"indicated"])
            await client.stop_notify(MEASUREMENT)
            await strap.device.notify_subscribers(strap.measurement, b"unheard")
            await client.read_gatt_char(MEASUREMENT)
            assert heard == [b"notified", b"indicated"]
            with pytest.raises(BleakError, match="not subscribed"):
                await client.stop_notify(MEASUREMENT)


async def test_what_is_not_subscribable_is_refused() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with connected(adapter) as client:
            with pytest.raises(BleakError, match="no descriptor"):
                await client.start_notify(SILENT, lambda _characteristic, _value: None)


async def test_a_device_that_does_not_answer_is_given_up_in_time() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air, att_s=0.2)
        async with connected(adapter) as client:
            with pytest.raises(BleakError, match=r"did not answer within 0\.2 s"):
                await client.read_gatt_char(SILENT)
            strap.hanging.set()


async def test_a_disconnection_ends_what_is_under_way_at_once() -> None:
    async with bench() as air:
        strap, adapter = await strapped(air, att_s=30)
        client = await open_client(adapter)
        reading = asyncio.ensure_future(client.read_gatt_char(SILENT))
        await asyncio.sleep(0.02)
        await strap.connection.disconnect()
        with pytest.raises(BleakError, match="disconnected"):
            await asyncio.wait_for(reading, 2)
        with pytest.raises(BleakError, match=r"[Nn]ot connected|not been performed"):
            await client.read_gatt_char(MEASUREMENT)


# --- pairing ---


async def test_pairing_opens_what_was_closed_and_unpairing_closes_it() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        client = await open_client(adapter)
        with pytest.raises(BleakGATTProtocolError) as refused:
            await client.read_gatt_char(CLOSED)
        assert refused.value.code is BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION
        await client.pair()
        await client.pair()
        assert await client.read_gatt_char(CLOSED) == b"known to friends"
        await client.disconnect()
        await client.connect()
        assert await client.read_gatt_char(CLOSED) == b"known to friends"  # encrypted with the bond, as systems do
        await client.unpair()
        assert not client.is_connected
        await client.connect()
        with pytest.raises(BleakGATTProtocolError):
            await client.read_gatt_char(CLOSED)
        await client.disconnect()


async def test_pairing_while_connecting() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with BleakClient(await find(adapter), pair=True, timeout=5, backend=adapter.client) as client:
            assert await client.read_gatt_char(CLOSED) == b"known to friends"


# --- the adapter ---


async def test_bluetooth_that_is_off_says_so() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        device = await find(adapter)
        client = await open_client(adapter)
        await adapter.power_off()
        assert not client.is_connected
        with pytest.raises(BleakBluetoothNotAvailableError, match="off"):
            await BleakScanner.discover(0.1, backend=adapter.scanner)
        with pytest.raises(BleakBluetoothNotAvailableError, match="off"):
            await BleakClient(device, backend=adapter.client).connect()
        with pytest.raises(BleakBluetoothNotAvailableError, match="off"):
            await BleakAdapter.get(backend=adapter.adapter)
        await adapter.power_on()
        async with connected(adapter) as again:
            assert again.is_connected


async def test_a_program_that_names_no_backend_finds_the_installed_one() -> None:
    former = bleak.get_platform_client_backend_type  # type: ignore[attr-defined]
    async with bench() as air:
        _, adapter = await strapped(air)
        with adapter.installed():
            device = await BleakScanner.find_device_by_name("Strap", timeout=5)
            assert device is not None
            async with BleakClient(device) as client:
                assert client.backend_id == "BumbleClient"
                assert await client.read_gatt_char(MEASUREMENT) == b"\x00\x48"
            await BleakAdapter.get()
    assert bleak.get_platform_client_backend_type is former  # type: ignore[attr-defined]


async def test_two_adapters_share_nothing() -> None:
    async with bench() as air:
        _, adapter = await strapped(air)
        async with bench() as other_air:
            other = await other_air.central()
            assert adapter.client is not other.client
            assert await BleakScanner.discover(0.1, backend=other.scanner) == []
            assert len(await BleakScanner.discover(0.1, backend=adapter.scanner)) == 1


async def test_an_adapter_on_a_controller_of_another_program() -> None:
    async with bench() as air:
        _, _ = await strapped(air)
        address = await air.radio.serve_hci("remote")
        async with await BumbleAdapter.on_controller(f"tcp-client:{address}") as adapter, connected(adapter) as client:
            assert await client.read_gatt_char(MEASUREMENT) == b"\x00\x48"

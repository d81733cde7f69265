"""What bumble gets wrong, as it is: each test fails once bumble has mended it, and says which workaround can go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from bleak import BleakScanner
from bumble import core, gatt, hci, ll
from bumble.controller import Controller
from bumble.core import AdvertisingData, PhysicalTransport
from bumble.device import Advertisement, Device, Peer
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink

from telemetry.transport.bumble_link import ACL_BUFFER_BYTES, RadioController, RadioLink
from tests.support.ble import bench, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.real

ABSENT = "F0:11:22:33:44:55"


def stock(name: str, link: LocalLink, address: str) -> Controller:
    return Controller(name, link=link, public_address=address)


def mended(name: str, link: LocalLink, address: str) -> Controller:
    assert isinstance(link, RadioLink)
    return RadioController(name, link, address)


def device_on(make: Callable[[str, LocalLink, str], Controller], link: LocalLink, number: int) -> Device:
    address = f"F0:00:00:00:00:{number:02X}"
    host = Host()
    host.controller = make(f"C{number}", link, address)
    return Device(name=f"D{number}", address=Address(address), host=host)


def stock_link() -> LocalLink:
    return LocalLink()  # type: ignore[no-untyped-call]


async def connect_absent(device: Device) -> type[BaseException] | None:
    """How a connect that is given 0.1 s ends within a second: None when it does not."""
    attempt = asyncio.ensure_future(device.connect(ABSENT, timeout=0.1))
    await asyncio.wait({attempt}, timeout=1.0)
    if not attempt.done():
        attempt.cancel()
        await asyncio.wait({attempt})
        return None
    error = attempt.exception()
    return None if error is None else type(error)


async def test_quirk_1_bumble_only_acknowledges_the_cancelling_of_a_connection() -> None:
    device = device_on(stock, stock_link(), 1)
    await device.power_on()
    assert await connect_absent(device) is None, (
        "mended upstream: drop RadioController.on_hci_le_create_connection_cancel_command"
    )


async def test_quirk_1_is_worked_around() -> None:
    link = RadioLink()
    device = device_on(mended, link, 1)
    await device.power_on()
    assert await connect_absent(device) is core.TimeoutError
    link.close()


class RecordingController(Controller):
    """Notes from whom data came."""

    def __init__(self, link: LocalLink, address: str) -> None:
        super().__init__("recording", link=link, public_address=address)
        self.senders: list[str] = []

    def on_link_acl_data(self, sender_address: hci.Address, transport: PhysicalTransport, data: bytes) -> None:
        del transport, data
        self.senders.append(sender_address.to_string(False))


async def send_over_public_address(link: LocalLink, central: Controller) -> list[str]:
    """Data of a connection that a central made under its public address, while its random one is another."""
    peripheral = RecordingController(link, "F0:00:00:00:00:02")
    peripheral.random_address = Address("F0:00:00:00:00:02")
    central.random_address = Address("F0:AA:AA:AA:AA:AA")
    central.pending_le_connection = hci.HCI_LE_Create_Connection_Command(
        le_scan_interval=16,
        le_scan_window=16,
        initiator_filter_policy=0,
        peer_address_type=hci.AddressType.RANDOM_DEVICE,
        peer_address=Address("F0:00:00:00:00:02"),
        own_address_type=hci.OwnAddressType.PUBLIC,
        connection_interval_min=24,
        connection_interval_max=24,
        max_latency=0,
        supervision_timeout=100,
        min_ce_length=0,
        max_ce_length=0,
    )
    peripheral.le_legacy_advertiser.own_address_type = hci.OwnAddressType.RANDOM
    peripheral.le_legacy_advertiser.enabled = True
    central.create_le_connection(Address("F0:00:00:00:00:02"))
    await asyncio.sleep(0.01)
    link.send_acl_data(central, Address("F0:00:00:00:00:02"), PhysicalTransport.LE, b"data")
    await asyncio.sleep(0.01)
    return peripheral.senders


async def test_quirk_2_bumble_sends_data_under_the_random_address_whatever_the_connection_has() -> None:
    link = stock_link()
    central = stock("central", link, "F0:00:00:00:00:01")
    assert await send_over_public_address(link, central) == ["F0:AA:AA:AA:AA:AA"], (
        "mended upstream: drop RadioLink.send_acl_data's choice of address"
    )


async def test_quirk_2_is_worked_around() -> None:
    link = RadioLink()
    central = mended("central", link, "F0:00:00:00:00:01")
    assert await send_over_public_address(link, central) == ["F0:00:00:00:00:01"]
    link.close()


def structures(*entries: tuple[int, bytes]) -> bytes:
    return bytes(AdvertisingData([(AdvertisingData.Type(kind), value) for kind, value in entries]))


async def what_is_heard(
    make: Callable[[str, LocalLink, str], Controller], link: LocalLink, *, active: bool
) -> list[tuple[int, bytes]]:
    advertiser, scanner = device_on(make, link, 1), device_on(make, link, 2)
    heard: list[Advertisement] = []
    scanner.on(Device.EVENT_ADVERTISEMENT, heard.append)
    await advertiser.power_on()
    await scanner.power_on()
    await scanner.start_scanning(active=active)
    await advertiser.start_advertising(
        advertising_data=structures((AdvertisingData.COMPLETE_LOCAL_NAME, b"advert")),
        scan_response_data=structures((AdvertisingData.TX_POWER_LEVEL, b"\x04")),
        advertising_interval_min=20,
        advertising_interval_max=20,
    )
    await until(lambda: len(heard) >= 2)
    await advertiser.stop_advertising()
    await scanner.stop_scanning()
    # The first report is the advertisement alone; an active scanner's second has the scan response added to it.
    return [(int(kind), bytes(value)) for kind, value in heard[1].data.ad_structures]


NAME_HEARD = (int(AdvertisingData.COMPLETE_LOCAL_NAME), b"advert")
POWER_HEARD = (int(AdvertisingData.TX_POWER_LEVEL), b"\x04")


async def test_quirk_3_bumble_repeats_the_advertisement_as_its_scan_response() -> None:
    assert await what_is_heard(stock, stock_link(), active=True) == [NAME_HEARD, NAME_HEARD], (
        "mended upstream: drop RadioController.hear and _mend, and RadioLink's scan responses"
    )


@pytest.mark.parametrize(("active", "expected"), [(True, [NAME_HEARD, POWER_HEARD]), (False, [NAME_HEARD])])
async def test_quirk_3_is_worked_around(active: bool, expected: list[tuple[int, bytes]]) -> None:
    link = RadioLink()
    assert await what_is_heard(mended, link, active=active) == expected
    link.close()


def test_quirk_4_bumbles_buffers_hold_27_bytes() -> None:
    assert Controller.le_acl_data_packet_length == 27, "mended upstream: drop RadioController's buffer length"


async def test_quirk_4_is_worked_around() -> None:
    link = RadioLink()
    assert mended("C", link, "F0:00:00:00:00:01").le_acl_data_packet_length == ACL_BUFFER_BYTES
    link.close()


async def test_quirk_5_a_readable_value_without_a_reader_is_never_answered() -> None:
    uuid = "00001234-0000-1000-8000-00805f9b34fb"
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # the task that bumble lets fail
    async with bench() as air:
        server, client = air.radio.device("server"), air.radio.device("client")
        permissions, properties = gatt.Characteristic.Permissions, gatt.Characteristic.Properties
        value = gatt.CharacteristicValue(write=lambda _connection, _value: None)
        server.add_service(
            gatt.Service(uuid, [gatt.Characteristic(uuid, properties.READ, permissions.READABLE, value)])
        )
        await server.power_on()
        await client.power_on()
        await server.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
        connection = await client.connect(server.random_address, timeout=2.0)
        peer = Peer(connection)
        await peer.discover_services()
        (characteristic,) = await peer.discover_characteristics([uuid])
        reading = asyncio.ensure_future(characteristic.read_value())
        await asyncio.wait({reading}, timeout=0.5)
        answered = reading.done()
        reading.cancel()
        await asyncio.wait({reading})
        await connection.disconnect()
        assert not answered, "mended upstream: the remark at the reader of TelemeterService's information can go"


async def test_every_readable_value_of_ours_has_a_reader() -> None:
    async with bench() as air:
        listener = await air.listen()
        for attribute in listener._device.gatt_server.attributes:
            if isinstance(attribute, gatt.Characteristic) and attribute.properties & attribute.properties.READ:
                assert not isinstance(attribute.value, gatt.CharacteristicValue) or attribute.value._read is not None


async def test_quirk_6_bumble_calls_every_encrypted_link_authenticated() -> None:
    # Hence TelemeterService._trusted, which looks at the bond itself.
    async with bench() as air:
        await air.listen("name=SIM-0001&pairing=just-works")
        adapter = await air.central()
        device = await BleakScanner.find_device_by_name("SIM-0001", timeout=5, backend=adapter.scanner)
        assert device is not None
        connection = await adapter.connect(device.details, 5.0)
        await connection.pair()
        assert connection.authenticated, "mended upstream: TelemeterService can ask for authentication by permissions"
        keystore = adapter.device.keystore
        assert keystore is not None
        keys = await keystore.get(str(connection.peer_address))
        assert keys is not None
        assert keys.ltk is not None
        assert not keys.ltk.authenticated
        await connection.disconnect()


async def forms_of_completion(make: Callable[[str, LocalLink, str], Controller], link: LocalLink) -> list[type[object]]:
    """In which form a central that unmasked both is told that its connection is complete."""
    central, peripheral = device_on(make, link, 1), device_on(make, link, 2)
    forms: list[type[object]] = []
    deliver = central.host.on_hci_le_connection_complete_event

    def note(
        event: hci.HCI_LE_Connection_Complete_Event
        | hci.HCI_LE_Enhanced_Connection_Complete_Event
        | hci.HCI_LE_Enhanced_Connection_Complete_V2_Event,
    ) -> None:
        forms.append(type(event))
        deliver(event)

    central.host.on_hci_le_connection_complete_event = note  # type: ignore[method-assign]
    await central.power_on()
    await peripheral.power_on()
    await peripheral.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
    connection = await central.connect(peripheral.random_address, timeout=5)
    await connection.disconnect()
    await central.power_off()
    await peripheral.power_off()
    return forms


async def test_quirk_7_bumble_completes_connections_in_the_form_that_linux_does_not_wait_for() -> None:
    # Linux expects the enhanced form of whoever claims extended advertising, as bumble does; without it the kernel
    # gives the attempt up after four seconds, and with it the connection that is in use.
    assert await forms_of_completion(stock, stock_link()) == [hci.HCI_LE_Connection_Complete_Event], (
        "mended upstream: drop RadioController._completed"
    )


async def test_quirk_7_is_worked_around() -> None:
    link = RadioLink()
    assert await forms_of_completion(mended, link) == [hci.HCI_LE_Enhanced_Connection_Complete_Event]
    link.close()


def test_an_advertisement_is_what_its_sender_set() -> None:
    """The base of quirk 3's workaround: bumble's PDU has no room for a scan response."""
    assert not hasattr(ll.AdvInd(Address.ANY, b""), "scan_response_data"), "mended upstream: see quirk 3"

"""A bleak backend over bumble: any bleak program against a radio in this process, or on any controller of bumble's.

``BumbleAdapter`` is one Bluetooth adapter. Its ``client`` and ``scanner`` are what bleak calls backend classes::

    async with BumbleRadio() as radio, BumbleAdapter.in_radio(radio) as adapter:
        device = await BleakScanner.find_device_by_name("SIM-0001", backend=adapter.scanner)
        async with BleakClient(device, backend=adapter.client) as client: ...

A program that names no backend finds this one inside ``with adapter.installed():``. docs/ble-backend.md has a worked
example. What fails, fails as it does on Linux: ``BleakDeviceNotFoundError`` for an address that nobody has,
``TimeoutError`` for a device that no longer answers, ``BleakGATTProtocolError`` with its code for a refusal.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import bleak
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDeviceNotFoundError,
    BleakError,
)
from bumble import hci
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device
from bumble.pairing import PairingConfig, PairingDelegate

from telemetry.transport.bleak_bumble_client import CLEAN_UP_S, BumbleClient, uuid_text
from telemetry.transport.bumble_hci import OPEN_S, open_hci

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from types import TracebackType

    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementDataCallback

    from telemetry.transport.bumble_radio import BumbleRadio

ATT_S = 30.0
"""An ATT request unanswered for this long fails (Bluetooth Core Specification, Vol 3, Part F, 3.3.3)."""
_ADDRESS = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_IO = PairingDelegate.IoCapability
_UUID_LISTS = {
    AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.Type.COMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_32_BIT_SERVICE_CLASS_UUIDS: 4,
    AdvertisingData.Type.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
}
_SERVICE_DATA = {
    AdvertisingData.Type.SERVICE_DATA_16_BIT_UUID: 2,
    AdvertisingData.Type.SERVICE_DATA_32_BIT_UUID: 4,
    AdvertisingData.Type.SERVICE_DATA_128_BIT_UUID: 16,
}


@dataclass(frozen=True, slots=True)
class PairingAgent:
    """The person at the central when it pairs, LE Secure Connections only.

    Without answers it is *just works*. ``passkey`` is typed in: a number, or who knows it when it is asked for (None to
    refuse; a coroutine may wait until the device shows it). ``confirm`` is asked whether a number is the one that the
    other side shows.
    """

    passkey: int | Callable[[], int | Awaitable[int | None] | None] | None = None
    confirm: Callable[[int], bool] | None = None

    def delegate(self) -> PairingDelegate:
        """The agent as bumble asks it."""
        return _Answers(self)


class _Answers(PairingDelegate):
    def __init__(self, agent: PairingAgent) -> None:
        if agent.passkey is not None:
            ability = _IO.KEYBOARD_INPUT_ONLY
        elif agent.confirm is not None:
            ability = _IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT
        else:
            ability = _IO.NO_OUTPUT_NO_INPUT
        super().__init__(io_capability=ability)
        self._agent = agent

    async def get_number(self) -> int | None:
        passkey = self._agent.passkey
        typed = passkey() if callable(passkey) else passkey
        return await typed if isawaitable(typed) else typed

    async def compare_numbers(self, number: int, digits: int) -> bool:
        del digits
        return self._agent.confirm is None or self._agent.confirm(number)


class BumbleAdapter:
    """One Bluetooth adapter for bleak. ``async with`` it, or ``open`` and ``close``.

    ``client``, ``scanner`` and ``adapter`` are classes of its own, for bleak's ``backend=``: two adapters share
    nothing. ``att_s`` bounds every request to a device, in host seconds. On ``power_off`` everything fails as it does
    when Bluetooth is switched off, until ``power_on``.
    """

    def __init__(self, device: Device, *, agent: PairingAgent | None = None, att_s: float = ATT_S) -> None:
        self.device = device
        self.att_s = att_s
        self.agent = agent or PairingAgent()
        namespace = {"radio": self}
        self.client = cast("type[BumbleClient]", type("BumbleClient", (BumbleClient,), namespace))
        self.scanner = cast("type[BumbleScanner]", type("BumbleScanner", (BumbleScanner,), namespace))
        self.adapter = cast("type[BumbleAdapterQuery]", type("BumbleAdapterQuery", (BumbleAdapterQuery,), namespace))
        self.connected: dict[str, tuple[BLEDevice, frozenset[str]]] = {}
        """Devices that clients of this adapter are connected to, by address, each with its services."""
        self._scanners = 0
        self._connecting = asyncio.Lock()
        self._release: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._powered = False
        device.pairing_config_factory = lambda _connection: PairingConfig(
            sc=True,
            mitm=self.agent.passkey is not None or self.agent.confirm is not None,
            bonding=True,
            delegate=self.agent.delegate(),
            identity_address_type=PairingConfig.AddressType.RANDOM,  # the static one that it connects with
        )

    @classmethod
    def in_radio(
        cls, radio: BumbleRadio, name: str = "central", *, agent: PairingAgent | None = None, att_s: float = ATT_S
    ) -> Self:
        """Put an adapter into a radio of this process, called ``name`` there; taken out again when it closes."""
        adapter = cls(radio.device(name), agent=agent, att_s=att_s)

        async def leave() -> None:
            radio.remove(name)
            await asyncio.sleep(0)

        adapter._release = leave
        return adapter

    @classmethod
    async def on_controller(cls, spec: str, *, agent: PairingAgent | None = None, att_s: float = ATT_S) -> Self:
        """Use a controller that bumble calls ``spec``: ``usb:0``, ``tcp-client:127.0.0.1:6402`` and the like.

        Raises ``LinkOpenError`` with the cure when it cannot be opened.
        """
        port = await open_hci(spec, spec)
        address = hci.Address.generate_static_address()
        adapter = cls(Device.with_hci("central", address, port.source, port.sink), agent=agent, att_s=att_s)
        adapter._release = port.close
        return adapter

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Switch on; ``BleakError`` when the controller does not answer within ``OPEN_S`` of host time."""
        try:
            async with asyncio.timeout(OPEN_S):
                await self.device.power_on()
        except (TimeoutError, BaseBumbleError) as error:
            raise BleakError(f"the Bluetooth controller does not come up: {error!r}") from error
        self._powered = True

    async def close(self) -> None:
        """End every connection and give the controller back; bounded, idempotent, never raises."""
        await self.power_off()
        release, self._release = self._release, None
        if release is not None:
            await release()

    async def power_off(self) -> None:
        """Switch Bluetooth off: connections end, scans see nothing, whatever is tried is refused."""
        if not self._powered:
            return
        self._powered = False
        with suppress(BaseBumbleError, TimeoutError, asyncio.CancelledError):  # off it is, whether it says so or not
            async with asyncio.timeout(CLEAN_UP_S):
                for connection in tuple(self.device.connections.values()):
                    await connection.disconnect()
                if self.device.is_scanning:
                    await self.device.stop_scanning()
                await self.device.power_off()

    async def power_on(self) -> None:
        """Switch Bluetooth on again."""
        await self.open()

    @contextmanager
    def installed(self) -> Iterator[Self]:
        """Make this the backend of every bleak object that is made inside and names no other.

        It stands in for the choice that bleak makes by operating system, in this process, until the block is left:
        for programs that cannot be handed a ``backend=``.
        """
        ours = {
            "get_platform_client_backend_type": lambda: (self.client, self.client.__name__),
            "get_platform_scanner_backend_type": lambda: (self.scanner, self.scanner.__name__),
            "get_platform_adapter_backend_type": lambda: (self.adapter, self.adapter.__name__),
        }
        former = {name: getattr(bleak, name) for name in ours}
        for name, choose in ours.items():
            setattr(bleak, name, choose)
        try:
            yield self
        finally:
            for name, choose in former.items():
                setattr(bleak, name, choose)

    def require_power(self) -> None:
        """Raise what bleak raises while Bluetooth is off."""
        if not self._powered:
            raise BleakBluetoothNotAvailableError(
                "Bluetooth is off: this adapter is not open, or was switched off",
                BleakBluetoothNotAvailableReason.POWERED_OFF,
            )

    async def begin_scan(self, listener: Callable[[Advertisement], None], *, active: bool) -> None:
        """Have every advertisement told; several scans may be under way, the first one's kind holds for all."""
        self.require_power()
        self.device.on(Device.EVENT_ADVERTISEMENT, listener)
        self._scanners += 1
        if self._scanners == 1:
            try:
                await self.device.start_scanning(active=active)
            except BaseException as error:
                await self.end_scan(listener)
                if isinstance(error, BaseBumbleError):
                    raise BleakError(f"the controller refuses to scan: {error!r}") from error
                raise

    async def end_scan(self, listener: Callable[[Advertisement], None]) -> None:
        """Stop telling."""
        self.device.remove_listener(Device.EVENT_ADVERTISEMENT, listener)
        self._scanners -= 1
        if not self._scanners and self._powered and self.device.is_scanning:
            await self.device.stop_scanning()

    async def find(self, address: str, timeout_s: float) -> hci.Address:
        """The address of a device, with its type, from its next advertisement; ``BleakDeviceNotFoundError``."""
        if not _ADDRESS.fullmatch(address):
            raise BleakDeviceNotFoundError(address, f"{address!r} is no Bluetooth address, as in F0:00:00:00:00:01")
        found: asyncio.Future[hci.Address] = asyncio.get_running_loop().create_future()

        def look(advertisement: Advertisement) -> None:
            if _text(advertisement.address) == address.upper() and not found.done():
                found.set_result(advertisement.address)

        await self.begin_scan(look, active=False)
        try:
            async with asyncio.timeout(timeout_s):
                return await found
        except TimeoutError:
            raise BleakDeviceNotFoundError(
                address, f"device with address {address} was not found within {timeout_s:g} s"
            ) from None
        finally:
            await self.end_scan(look)

    async def connect(self, address: hci.Address, timeout_s: float) -> Connection:
        """Connect, one attempt at a time; ``TimeoutError`` when nobody answers. Cancelled, it leaves no connection."""
        async with asyncio.timeout(timeout_s), self._connecting:
            attempt = asyncio.ensure_future(self.device.connect(address, timeout=None))
            try:
                return await asyncio.shield(attempt)
            except BaseException:
                await self._call_off(attempt)
                raise

    async def _call_off(self, attempt: asyncio.Future[Connection]) -> None:
        """Make sure that nothing comes of an attempt: bumble forgets it, the controller must be told."""
        with suppress(BaseBumbleError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(CLEAN_UP_S):
                if not attempt.done():
                    await self.device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
                connection = await asyncio.shield(attempt)
                await connection.disconnect()
        attempt.cancel()


class BumbleScanner(BaseBleakScanner):
    """bleak's scanner; use ``BumbleAdapter.scanner``, which knows its adapter."""

    radio: ClassVar[BumbleAdapter]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_platform_options: Any,  # noqa: ANN401 - bluez=, cb= and what else bleak hands to every backend
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"
        self._scanning = False

    async def start(self) -> None:
        """Begin to scan."""
        self.seen_devices = {}
        await self.radio.begin_scan(self._heard, active=self._active)
        self._scanning = True

    async def stop(self) -> None:
        """End the scan; nothing happens if there is none."""
        if self._scanning:
            self._scanning = False
            await self.radio.end_scan(self._heard)

    def _heard(self, advertisement: Advertisement) -> None:
        data = _advertisement_data(advertisement)
        address = _text(advertisement.address)
        known = self.seen_devices.get(address)
        name = data.local_name or (known[0].name if known is not None else None)
        device = self.create_or_update_device(address, address, name, advertisement.address, data)
        if self.is_allowed_uuid(data.service_uuids):
            self.call_detection_callbacks(device, data)


class BumbleAdapterQuery(BaseBleakAdapter):
    """bleak's view of an adapter; use ``BumbleAdapter.adapter``."""

    radio: ClassVar[BumbleAdapter]

    @classmethod
    async def get(cls, **_platform_options: Any) -> Self:  # noqa: ANN401 - bluez= and the like
        """Give the adapter; ``BleakBluetoothNotAvailableError`` while it is off."""
        cls.radio.require_power()
        return cls()

    async def get_connected_devices(self, service_uuids: frozenset[str]) -> list[BLEDevice]:
        """Give the devices that clients of this adapter are connected to and that have one of the services."""
        return [device for device, services in self.radio.connected.values() if services & service_uuids]


def _text(address: hci.Address) -> str:
    return address.to_string(False).upper()  # noqa: FBT003 - bumble's signature


def _advertisement_data(advertisement: Advertisement) -> AdvertisementData:
    """What bleak says of an advertisement, from its data structures (Core Specification Supplement, Part A)."""
    name: str | None = None
    manufacturer: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    uuids: dict[str, None] = {}
    power: int | None = None
    for kind, raw in advertisement.data.ad_structures:
        if kind in (AdvertisingData.COMPLETE_LOCAL_NAME, AdvertisingData.SHORTENED_LOCAL_NAME):
            name = raw.decode(errors="replace")
        elif kind == AdvertisingData.MANUFACTURER_SPECIFIC_DATA and len(raw) >= 2:
            manufacturer[int.from_bytes(raw[:2], "little")] = bytes(raw[2:])
        elif kind == AdvertisingData.TX_POWER_LEVEL and raw:
            power = int.from_bytes(raw[:1], "little", signed=True)
        elif (size := _UUID_LISTS.get(kind)) is not None:
            for place in range(0, len(raw) - size + 1, size):
                uuids[uuid_text(UUID.from_bytes(raw[place : place + size]))] = None
        elif (size := _SERVICE_DATA.get(kind)) is not None and len(raw) >= size:
            service_data[uuid_text(UUID.from_bytes(raw[:size]))] = bytes(raw[size:])
    return AdvertisementData(name, manufacturer, service_data, list(uuids), power, advertisement.rssi, (advertisement,))

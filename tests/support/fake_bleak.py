"""A bleak backend with no radio: telemeters that do as a script says, for everything that goes wrong on a real one."""

# ruff: noqa: ANN401 - the signatures are bleak's

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection

from telemetry.transport.ble_gatt import (
    PROPERTIES,
    SERVICE_VERSION,
    Attribute,
    InformationFlag,
    LinkStatus,
    TelemeterInformation,
    encode_information,
    telemeter_uuid,
)
from telemetry.transport.ble_segments import Reassembler, Segmenter

if TYPE_CHECKING:
    from bleak.backends.client import NotifyCallback
    from bleak.backends.descriptor import BleakGATTDescriptor
    from bleak.backends.device import BLEDevice

HANG = "hang"
STUBBORN = "hang, and again when cancelled"
VANISH = "disconnect, and hang"
Script = BaseException | str | Callable[[], None]


@dataclass
class Telemeter:
    """One device in range. ``script`` says what a step does instead of succeeding."""

    address: str = "AA:BB:CC:DD:EE:01"
    name: str | None = "SIM-0001"
    version: int | None = SERVICE_VERSION
    advertises: bool = True
    mtu: int = 517
    information: bytes = encode_information(TelemeterInformation(1, InformationFlag.SIMULATED, 256, "SIM-0001"))
    properties: dict[Attribute, list[str]] = field(default_factory=dict)
    script: dict[str, Script] = field(default_factory=dict)
    echo: bool = True
    status_on_subscription: bytes = bytes((LinkStatus.READY,))
    client: FakeClient | None = None
    writes: list[tuple[bytes, bool]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    paired: bool = False
    """What BlueZ says of it."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets go of what is stubborn."""
    stepped: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(self, name: str) -> None:
        self.steps.append(name)
        self.stepped.set()
        does = self.script.get(name)
        if isinstance(does, BaseException):
            raise does
        if does == VANISH:
            self.drop()
        if does in (HANG, VANISH):
            await asyncio.Event().wait()
        if does == STUBBORN:
            while not self.release.is_set():
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    continue
        if callable(does):
            does()
        await asyncio.sleep(0)

    def drop(self) -> None:
        """End the connection from this side."""
        assert self.client is not None
        self.client.dropped()

    def notify(self, attribute: Attribute, value: bytes) -> None:
        assert self.client is not None
        self.client.notified[telemeter_uuid(attribute)](bytearray(value))

    def services(self) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        other = BleakGATTService(None, 1, "0000180a-0000-1000-8000-00805f9b34fb")
        found.add_service(other)
        if self.version is None:
            return found
        service = BleakGATTService(None, 10, telemeter_uuid(Attribute.SERVICE, self.version))
        found.add_service(service)
        for attribute in list(Attribute)[1:]:
            properties: Any = self.properties.get(attribute, sorted(PROPERTIES[telemeter_uuid(attribute)]))
            found.add_characteristic(
                BleakGATTCharacteristic(
                    None,
                    10 + 2 * attribute,
                    telemeter_uuid(attribute, self.version),
                    properties,
                    lambda: self.mtu - 3,
                    service,
                )
            )
        return found


class FakeClient(BaseBleakClient):
    """A client of the telemeter that the scanner showed."""

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any) -> None:
        super().__init__(
            address_or_ble_device,
            disconnected_callback=options["disconnected_callback"],
            timeout=options["timeout"],
        )
        assert not isinstance(address_or_ble_device, str)
        self.telemeter: Telemeter = address_or_ble_device.details["telemeter"]
        self.options = options
        self.notified: dict[str, NotifyCallback] = {}
        self.up = False
        self._incoming = Reassembler()
        self._segmenter = Segmenter(23)

    @property
    def name(self) -> str:
        return self.telemeter.name or ""

    @property
    def mtu_size(self) -> int:
        return self.telemeter.mtu

    @property
    def is_connected(self) -> bool:
        return self.up

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        self.telemeter.client = self
        await self.telemeter.step("connect")
        self.services = self.telemeter.services()
        self.up = True

    def dropped(self) -> None:
        self.up = False
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        await self.telemeter.step("disconnect")
        if self.up:
            self.dropped()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        await self.telemeter.step("pair")

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        await self.telemeter.step("read")
        return bytearray(self.telemeter.information)

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        raise NotImplementedError

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        await self.telemeter.step("write")
        self.telemeter.writes.append((bytes(data), response))
        for frame in self._incoming.feed(bytes(data)):
            if isinstance(frame, bytes) and self.telemeter.echo:
                self._segmenter.mtu = self.telemeter.mtu
                for segment in self._segmenter.cut(frame):
                    asyncio.get_running_loop().call_soon(self._notify_reply, bytearray(segment))

    def _notify_reply(self, segment: bytearray) -> None:
        if self.up:
            self.notified[telemeter_uuid(Attribute.REPLY)](segment)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: Any) -> None:
        raise NotImplementedError

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        status = characteristic.uuid == telemeter_uuid(Attribute.LINK_STATUS)
        self.notified[characteristic.uuid] = callback
        await self.telemeter.step("notify status" if status else "notify reply")
        if status:
            callback(bytearray(self.telemeter.status_on_subscription))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self.notified.pop(characteristic.uuid, None)


class FakeScanner(BaseBleakScanner):
    """Shows every telemeter of its radio once, at once."""

    radio: FakeRadio

    def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: Any, **options: Any) -> None:
        super().__init__(detection_callback, service_uuids)
        self.radio.scanner_options.append(options)

    async def start(self) -> None:
        self.radio.scans += 1
        if self.radio.start_error is not None:
            raise self.radio.start_error
        if self.radio.hangs:
            await asyncio.Event().wait()
        self.radio.scanning += 1
        for telemeter in self.radio.telemeters:
            asyncio.get_running_loop().call_soon(self._show, telemeter)

    async def stop(self) -> None:
        if self.radio.scanning:
            self.radio.scanning -= 1
        if self.radio.stop_error is not None:
            raise self.radio.stop_error

    def _show(self, telemeter: Telemeter) -> None:
        uuids = ["0000180a-0000-1000-8000-00805f9b34fb"]
        if telemeter.advertises and telemeter.version is not None:
            uuids.append(telemeter_uuid(Attribute.SERVICE, telemeter.version))
        advertised = AdvertisementData(telemeter.name, {}, {}, uuids, None, -50, ())
        details = {"telemeter": telemeter, "props": {"Paired": telemeter.paired}}
        device = self.create_or_update_device(telemeter.address, telemeter.address, telemeter.name, details, advertised)
        self.call_detection_callbacks(device, advertised)


@dataclass
class FakeRadio:
    """What is in range, and what the adapter does."""

    telemeters: list[Telemeter] = field(default_factory=list)
    start_error: BaseException | None = None
    stop_error: BaseException | None = None
    hangs: bool = False
    scans: int = 0
    scanning: int = 0
    scanner_options: list[dict[str, Any]] = field(default_factory=list)

    def scanner(self) -> type[FakeScanner]:
        return type("RadioScanner", (FakeScanner,), {"radio": self})

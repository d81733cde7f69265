"""A virtual telemeter offered through BlueZ's own D-Bus interface: our GATT service as an application at ``org.bluez``.

For tests of stock bleak's BlueZ code path against a BlueZ (or a stand-in for it) that has a second adapter. Knows one
central at a time: what comes in between its connection and its end is one link of the station.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Self

from dbus_fast import BusType, Message, MessageType, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusBytes, DBusDict, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from telemetry.errors import LinkClosedError, PeerError
from telemetry.transport import ble_gatt
from telemetry.transport.base import Listener, TransportInfo
from telemetry.transport.ble_segments import LONGEST_FRAME, Reassembler, Segmenter
from telemetry.transport.pipe import Pipe

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from telemetry.transport.base import Acceptor

Strings = Annotated[list[str], DBusSignature("as")]
Nothing = Annotated[None, DBusSignature("")]  # dbus-fast cannot read a plain None where annotations are text
READ = PropertyAccess.READ
ROOT, SERVICE, ADVERTISEMENT = "/telemeter", "/telemeter/service0", "/telemeter/advertisement0"
INFORMATION = ble_gatt.TelemeterInformation(
    ble_gatt.SERVICE_VERSION, ble_gatt.InformationFlag.SIMULATED, LONGEST_FRAME, "SIM-0001"
)


class _Root(ServiceInterface):
    """Something to hang the object manager on."""

    def __init__(self) -> None:
        super().__init__("telemeter.Application")


class _Service(ServiceInterface):
    def __init__(self, uuid: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid = uuid

    @dbus_property(READ, name="UUID")
    def uuid(self) -> DBusStr:
        return self._uuid

    @dbus_property(READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class _Characteristic(ServiceInterface):
    def __init__(
        self,
        uuid: str,
        *,
        value: bytes = b"",
        written: Callable[[bytes], None] | None = None,
        subscribed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._uuid = uuid
        self._value = value
        self._written = written
        self._subscribed = subscribed
        self.notifying = False

    def notify(self, value: bytes) -> None:
        """Send a value to whoever subscribed."""
        self._value = value
        self.emit_properties_changed({"Value": value})

    @dbus_property(READ, name="UUID")
    def uuid(self) -> DBusStr:
        return self._uuid

    @dbus_property(READ, name="Service")
    def service(self) -> DBusObjectPath:
        return SERVICE

    @dbus_property(READ, name="Flags")
    def flags(self) -> Strings:
        return sorted(ble_gatt.PROPERTIES[self._uuid])

    @dbus_property(READ, name="Value")
    def value(self) -> DBusBytes:
        return self._value

    @dbus_property(READ, name="Notifying")
    def is_notifying(self) -> DBusBool:
        return self.notifying

    @dbus_method("ReadValue")
    def read_value(self, options: DBusDict) -> DBusBytes:
        return self._value

    @dbus_method("WriteValue")
    def write_value(self, value: DBusBytes, options: DBusDict) -> Nothing:
        if self._written is not None:
            self._written(bytes(value))

    @dbus_method("StartNotify")
    def start_notify(self) -> Nothing:
        self.notifying = True
        if self._subscribed is not None:
            self._subscribed()

    @dbus_method("StopNotify")
    def stop_notify(self) -> Nothing:
        self.notifying = False

    @dbus_method("Confirm")
    def confirm(self) -> Nothing:
        """Be told that a notification was taken; nothing hangs on it."""


class _Advertisement(ServiceInterface):
    def __init__(self, name: str, uuid: str) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._name = name
        self._uuid = uuid

    @dbus_property(READ, name="Type")
    def type(self) -> DBusStr:
        return "peripheral"

    @dbus_property(READ, name="ServiceUUIDs")
    def service_uuids(self) -> Strings:
        return [self._uuid]

    @dbus_property(READ, name="LocalName")
    def local_name(self) -> DBusStr:
        return self._name

    @dbus_property(READ, name="Discoverable")
    def discoverable(self) -> DBusBool:
        return True

    @dbus_method("Release")
    def release(self) -> Nothing:
        """Be told that the advertisement is over."""


class _Link(Pipe):
    """One central's connection, a datagram link for whoever the application is offered for."""

    def __init__(self, application: Application) -> None:
        super().__init__(TransportInfo(f"bluez:{application.adapter}", datagrams=True, mtu=LONGEST_FRAME))
        self._application = application
        self._connected = True
        self._leaving: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        if self._closing:
            raise self._gone()
        self._application.send(data)

    def received(self, frame: bytes) -> None:
        """The central wrote a frame."""
        self._deliver(frame)

    def disconnected(self) -> None:
        """The central is gone."""
        self._connected = False
        self._lose(LinkClosedError(f"{self.info.url}: the central closed the connection"))

    def _release(self) -> None:
        if self._connected:
            self._leaving = self._loop.create_task(self._leave(), name=f"disconnect {self.info.url}")
        else:
            self._released()

    async def _leave(self) -> None:
        try:
            await self._application.drop()
        except (PeerError, LinkClosedError, EOFError):
            pass  # the service is gone, and every connection with it
        finally:
            self._released()


class Application(Listener):
    """Our service on one adapter of the BlueZ at ``address`` (a D-Bus address); ``mtu`` in bytes for notifications.

    ``accept`` is called with a link when a central subscribes to replies. ``writes`` keeps every value written to the
    command characteristic, as it came.
    """

    def __init__(
        self,
        address: str,
        accept: Acceptor,
        *,
        adapter: str = "/org/bluez/hci1",
        name: str = INFORMATION.name,
        mtu: int = ble_gatt.MAX_MTU,
        version: int = ble_gatt.SERVICE_VERSION,
    ) -> None:
        self.url = f"bluez:{adapter}"
        self.adapter = adapter
        self.writes: list[bytes] = []
        self._accept = accept
        self._address = address
        self._mtu = mtu
        self._link: _Link | None = None
        self._segmenter = Segmenter(mtu)
        self._reassembler = Reassembler()
        self._bus: MessageBus | None = None
        self._service_uuid = ble_gatt.telemeter_uuid(ble_gatt.Attribute.SERVICE, version)
        self._advertisement = _Advertisement(name, self._service_uuid)
        self._reply = _Characteristic(ble_gatt.REPLY_UUID, subscribed=self._subscribed)
        self._status = _Characteristic(ble_gatt.LINK_STATUS_UUID, subscribed=self._status_subscribed)
        self._characteristics = (
            _Characteristic(ble_gatt.COMMAND_UUID, written=self._written),
            self._reply,
            _Characteristic(ble_gatt.INFORMATION_UUID, value=ble_gatt.encode_information(INFORMATION)),
            self._status,
        )

    async def __aenter__(self) -> Self:
        """Register service and advertisement; raises ``PeerError`` with BlueZ's words when it refuses."""
        bus = self._bus = await MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM).connect()
        bus.export(ROOT, _Root())
        bus.export(SERVICE, _Service(self._service_uuid))
        for index, characteristic in enumerate(self._characteristics):
            bus.export(f"{SERVICE}/char{index}", characteristic)
        bus.export(ADVERTISEMENT, self._advertisement)
        bus.add_message_handler(self._message)
        rule = "type='signal',interface='org.freedesktop.DBus.Properties',sender='org.bluez'"
        await self._call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", rule)
        await self._register()
        await self._bluez(
            self.adapter, "org.bluez.LEAdvertisingManager1", "RegisterAdvertisement", "oa{sv}", ADVERTISEMENT, {}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up on who is connected, and leave the bus; idempotent."""
        bus = self._bus
        if bus is None:
            return
        if self._link is not None:
            await self._link.close()
        self._bus = None
        if bus.connected:
            bus.disconnect()
        with contextlib.suppress(EOFError):  # how dbus-fast says that the other side closed first
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    def send(self, frame: bytes) -> None:
        """Notify a frame in segments."""
        for segment in self._segmenter.cut(frame):
            self._reply.notify(segment)

    async def drop(self) -> None:
        """Break every connection; the central learns of it as it learns from BlueZ that a peer went out of range.

        At every adapter, since bluezoo passes the peripheral's own disconnection on to nobody.
        """
        for path, device in await self._devices():
            if device["Connected"].value:
                await self._bluez(path, "org.bluez.Device1", "Disconnect", "")

    async def reappear(self) -> None:
        """Be seen and connected to once more: bluezoo does neither to a device that it knows.

        It announces a device to one scan only, since its signal strength never changes, and cannot export the
        services of one twice; so every adapter forgets it, and the service comes back with handles of its own.
        Whoever is still connected is not any more.
        """
        self._disconnected()
        for path, _ in await self._devices():
            await self._bluez(path.rpartition("/")[0], "org.bluez.Adapter1", "RemoveDevice", "o", path)
        await self._bluez(self.adapter, "org.bluez.GattManager1", "UnregisterApplication", "o", ROOT)
        await self._register()

    async def _register(self) -> None:
        await self._bluez(self.adapter, "org.bluez.GattManager1", "RegisterApplication", "oa{sv}", ROOT, {})

    async def _devices(self) -> list[tuple[str, dict[str, Variant]]]:
        tree = await self._bluez("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "")
        return sorted(
            (path, shown["org.bluez.Device1"]) for path, shown in tree[0].items() if "org.bluez.Device1" in shown
        )

    # --- what BlueZ tells --------------------------------------------------------------------------------------------

    def _subscribed(self) -> None:
        if self._link is None:
            self._segmenter, self._reassembler = Segmenter(self._mtu), Reassembler()
            link = self._link = _Link(self)
            link.start(self._accept(link))

    def _status_subscribed(self) -> None:
        self._status.notify(bytes((ble_gatt.LinkStatus.READY,)))

    def _written(self, value: bytes) -> None:
        self.writes.append(value)
        link = self._link
        for item in self._reassembler.feed(value):
            if isinstance(item, bytes) and link is not None:
                link.received(item)

    def _message(self, message: Message) -> None:
        if (
            message.message_type is MessageType.SIGNAL
            and message.member == "PropertiesChanged"
            and (message.path or "").startswith(f"{self.adapter}/dev_")
            and message.body[0] == "org.bluez.Device1"
            and message.body[1].get("Connected") == Variant("b", False)
        ):
            self._disconnected()

    def _disconnected(self) -> None:
        link, self._link = self._link, None
        self._reply.notifying = self._status.notifying = False
        if link is not None:
            link.disconnected()

    async def _bluez(self, path: str, interface: str, member: str, signature: str, *body: object) -> list[Any]:
        return await self._call("org.bluez", path, interface, member, signature, *body)

    async def _call(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: object
    ) -> list[Any]:
        if self._bus is None:
            raise LinkClosedError(f"{self.adapter}: the application is not registered")
        reply = await self._bus.call(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise PeerError(f"{member} of {path}: {reply.error_name} {reply.body}")
        return reply.body

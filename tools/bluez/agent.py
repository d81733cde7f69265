"""BlueZ over its own D-Bus interface, for what bleak has no call for: adapters, power, and an agent that pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

if TYPE_CHECKING:
    from typing import Self

Nothing = Annotated[None, DBusSignature("")]  # dbus-fast cannot read a plain None where annotations are text
AGENT = "/itb/agent"


class Agent(ServiceInterface):
    """Says yes to everything, and keeps what it was asked. ``passkey`` is what it types in."""

    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")
        self.asked: list[str] = []
        self.passkey: int | None = None

    @dbus_method("Release")
    def release(self) -> Nothing:
        """The agent is no longer needed."""
        self.asked.append("Release")

    @dbus_method("RequestPasskey")
    def request_passkey(self, _device: DBusObjectPath) -> DBusUInt32:
        """Type in what the peer shows."""
        self.asked.append("RequestPasskey")
        if self.passkey is None:
            raise DBusError("org.bluez.Error.Rejected", "no passkey is known")
        return self.passkey

    @dbus_method("DisplayPasskey")
    def display_passkey(self, _device: DBusObjectPath, _passkey: DBusUInt32, _entered: DBusUInt16) -> Nothing:
        """Show what is to be typed in at the peer."""
        self.asked.append("DisplayPasskey")

    @dbus_method("RequestConfirmation")
    def request_confirmation(self, _device: DBusObjectPath, passkey: DBusUInt32) -> Nothing:
        """Compare this number with the one that the peer shows."""
        self.asked.append("RequestConfirmation")
        self.passkey = passkey

    @dbus_method("RequestAuthorization")
    def request_authorization(self, _device: DBusObjectPath) -> Nothing:
        """May this device pair without a number?"""
        self.asked.append("RequestAuthorization")

    @dbus_method("AuthorizeService")
    def authorize_service(self, _device: DBusObjectPath, _uuid: DBusStr) -> Nothing:
        """May this device use a service?"""
        self.asked.append("AuthorizeService")

    @dbus_method("Cancel")
    def cancel(self) -> Nothing:
        """BlueZ gave up what it asked last."""
        self.asked.append("Cancel")


class Bluez:
    """A connection to bluetoothd; ``async with`` it. Calls raise ``DBusError`` with BlueZ's words."""

    def __init__(self) -> None:
        self.agent = Agent()
        self._bus: MessageBus | None = None

    async def __aenter__(self) -> Self:
        self._bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    async def objects(self, interface: str) -> dict[str, dict[str, Variant]]:
        """Path to properties of every object that has this interface."""
        (tree,) = await self._call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "")
        return {path: shown[interface] for path, shown in tree.items() if interface in shown}

    async def power_on(self, adapter: str) -> None:
        """Switch an adapter on."""
        body = ("org.bluez.Adapter1", "Powered", Variant("b", True))  # noqa: FBT003 - a D-Bus boolean
        await self._call(adapter, "org.freedesktop.DBus.Properties", "Set", "ssv", *body)

    async def forget_all(self) -> None:
        """Remove every device, bonds included, as a person does in the system's settings."""
        for path in await self.objects("org.bluez.Device1"):
            await self._call(path.rpartition("/")[0], "org.bluez.Adapter1", "RemoveDevice", "o", path)

    async def register_agent(self, capability: str) -> None:
        """Be the one whom BlueZ asks in pairing, with this capability (``DisplayYesNo``, ``KeyboardDisplay`` …)."""
        assert self._bus is not None  # noqa: S101 - a call outside of the context manager is a defect of the caller
        self._bus.export(AGENT, self.agent)
        await self._call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", AGENT, capability)
        await self._call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", AGENT)

    async def _call(self, path: str, interface: str, member: str, signature: str, *body: object) -> list[Any]:
        assert self._bus is not None  # noqa: S101 - as above
        reply = await self._bus.call(
            Message(
                destination="org.bluez",
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or "unknown", f"{member} of {path}: {reply.body}")
        return reply.body

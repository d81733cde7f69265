"""bleak's client over bumble; what its users meet is ``BumbleAdapter`` in ``bleak_bumble``."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError
from bumble import att, gatt, hci
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection, Peer

from telemetry.transport.ble_errors import BleReason
from telemetry.transport.ble_gatt import MAX_MTU, MIN_MTU

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bleak.args import SizedBuffer

    from telemetry.transport.bleak_bumble import BumbleAdapter

CLEAN_UP_S = 2.0
"""How long giving a connection up may take, in host seconds."""
ENCRYPT_S = 5.0
"""Longest wait for encryption with a bond: some connection events, each tens of milliseconds as a rule."""
_IN_FLIGHT = 64
"""Packets on their way to the controller above which a write without response waits, as an operating system's does."""
_UNPAIRED: frozenset[int] = frozenset({0x05, 0x0F})
"""ATT errors that a link encrypted with the bond may not give: insufficient authentication, or encryption."""

_KEY_REFUSED: frozenset[int] = frozenset(
    {
        hci.HCI_ErrorCode.AUTHENTICATION_FAILURE_ERROR,
        hci.HCI_ErrorCode.PIN_OR_KEY_MISSING_ERROR,
        hci.HCI_ErrorCode.CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR,
    }
)
"""How a device without the key, or with another one, answers or ends the connection."""

_Result = TypeVar("_Result")


class StaleBondError(BleakError):
    """The device does not know the key of the bond that this adapter has for its address; ``unpair`` forgets it."""

    reason = BleReason.STALE_BOND


class BumbleClient(BaseBleakClient):
    """bleak's client; use ``BumbleAdapter.client``, which knows its adapter."""

    radio: ClassVar[BumbleAdapter]

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None = None,
        timeout: float = 30.0,
        services: set[str] | None = None,
        **_platform_options: Any,  # noqa: ANN401 - bluez=, winrt= and what else bleak hands to every backend
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._device = address_or_ble_device if isinstance(address_or_ble_device, BLEDevice) else None
        self._wanted = services
        self._connection: Connection | None = None
        self._gone: asyncio.Future[None] | None = None
        self._ended_by = 0
        self._subscribers: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        """The device's name as advertised, or its address with dashes."""
        return (self._device.name if self._device is not None else None) or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        """ATT MTU in bytes; 23 while it is not connected."""
        return MIN_MTU if self._connection is None else self._connection.att_mtu

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def connect(self, pair: bool, **_options: Any) -> None:  # noqa: ANN401, FBT001 - bleak's signature
        """Connect, agree on the MTU, pair if asked, discover; within the client's timeout, all or nothing."""
        if self._connection is not None:
            raise BleakError("Already connected")
        self.radio.require_power()
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout
        target = self._device.details if self._device is not None else None
        if not isinstance(target, hci.Address):
            target = await self.radio.find(self.address, self._timeout)
        try:
            connection = await self.radio.connect(target, max(deadline_s - loop.time(), 0.001))
        except BaseBumbleError as error:
            raise BleakError(f"could not connect to {self.address}: {error!r}") from error
        self._connection = connection
        self._gone = loop.create_future()
        self._ended_by = 0
        connection.on(connection.EVENT_DISCONNECTION, partial(self._disconnected, connection))
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._discover(connection, pair=pair)
        except BaseException:
            await self._give_up(connection)
            raise

    async def disconnect(self) -> None:
        """Disconnect; nothing happens if there is no connection. Bounded: the connection is forgotten in any case."""
        if self._connection is not None:
            await self._give_up(self._connection)

    async def pair(self, *_arguments: Any, **_options: Any) -> None:  # noqa: ANN401 - bleak's signature
        """Pair with LE Secure Connections, or encrypt with the bond there is; ``BleakError`` when it is refused."""
        connection = self._connected()
        if connection.is_encrypted:
            return
        if await self._bonded(connection):
            await self._encrypt(connection)
        else:
            await self._request("pairing", connection.pair())

    async def unpair(self) -> None:
        """Forget the bond, and disconnect, as bleak's backends do."""
        keystore = self.radio.device.keystore
        if keystore is not None:
            for address in {self.address, str(self._connection.peer_address) if self._connection else self.address}:
                with suppress(KeyError):  # there was no bond
                    await keystore.delete(address)
        await self.disconnect()

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        *,
        use_cached: bool = False,
        **_options: Any,  # noqa: ANN401 - bleak's signature
    ) -> bytearray:
        """Read a value; ``use_cached`` makes no difference."""
        del use_cached
        return bytearray(await self._answered("reading", characteristic.obj.read_value))

    async def read_gatt_descriptor(
        self,
        descriptor: BleakGATTDescriptor,
        *,
        use_cached: bool = False,
        **_options: Any,  # noqa: ANN401 - bleak's signature
    ) -> bytearray:
        """Read a descriptor's value; ``use_cached`` makes no difference."""
        del use_cached
        return bytearray(await self._answered("reading", descriptor.obj.read_value))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: SizedBuffer,
        response: bool,  # noqa: FBT001 - bleak's signature
    ) -> None:
        """Write a value; without response it returns when the controller is not too far behind."""
        value = bytes(data)
        if response:
            await self._answered("writing", partial(characteristic.obj.write_value, value, with_response=True))
            return
        connection = self._connected()
        if len(value) > connection.att_mtu - 3:
            raise BleakError(
                f"{len(value)} bytes are too long for a write without response; the limit is {connection.att_mtu - 3}"
            )
        while (queue := connection.data_packet_queue) is not None and queue.pending >= _IN_FLIGHT:
            await self._flow(queue)
            connection = self._connected()
        await characteristic.obj.write_value(value, with_response=False)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        """Write a descriptor's value."""
        await self._answered("writing", partial(descriptor.obj.write_value, bytes(data), with_response=True))

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: Callable[[bytearray], None],
        **_options: Any,  # noqa: ANN401 - bleak's signature
    ) -> None:
        """Subscribe, to notifications where there is a choice."""
        proxy = characteristic.obj
        if proxy.get_descriptor(gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR) is None:
            raise BleakError(f"characteristic {characteristic.uuid} has no descriptor to subscribe with")

        def changed(value: bytes) -> None:
            callback(bytearray(value))

        self._subscribers[characteristic.handle] = changed
        try:
            await self._answered("subscribing", partial(proxy.subscribe, changed))
        except BaseException:
            self._subscribers.pop(characteristic.handle, None)
            proxy.subscribers.pop(changed, None)
            for subscribers in (proxy.client.notification_subscribers, proxy.client.indication_subscribers):
                subscribers.pop(proxy.handle, None)
            raise

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """Take the subscription back; ``BleakError`` if there is none."""
        changed = self._subscribers.pop(characteristic.handle, None)
        if changed is None:
            raise BleakError(f"characteristic {characteristic.uuid} is not subscribed to")
        await self._answered("unsubscribing", partial(characteristic.obj.unsubscribe, changed))

    async def _discover(self, connection: Connection, *, pair: bool) -> None:
        peer = Peer(connection)
        await self._request("agreeing on the MTU", peer.request_mtu(MAX_MTU))
        if pair:
            await self.pair()
        await self._request("discovery", peer.discover_all())  # type: ignore[no-untyped-call]
        self.services = self._collection(peer)
        device = self._device or BLEDevice(self.address, None, connection.peer_address)
        self.radio.connected[self.address] = (device, frozenset(uuid_text(service.uuid) for service in peer.services))

    def _collection(self, peer: Peer) -> BleakGATTServiceCollection:
        collection = BleakGATTServiceCollection()
        for service in peer.services:
            if self._wanted is not None and uuid_text(service.uuid) not in self._wanted:
                continue
            our_service = BleakGATTService(service, service.handle, uuid_text(service.uuid))
            collection.add_service(our_service)
            for characteristic in service.characteristics:
                ours = BleakGATTCharacteristic(
                    characteristic,
                    characteristic.handle,
                    uuid_text(characteristic.uuid),
                    cast("Any", _properties(characteristic.properties)),
                    lambda: self.mtu_size - 3,
                    our_service,
                )
                collection.add_characteristic(ours)
                for descriptor in characteristic.descriptors:
                    collection.add_descriptor(
                        BleakGATTDescriptor(descriptor, descriptor.handle, uuid_text(descriptor.type), ours)
                    )
        return collection

    def _connected(self) -> Connection:
        if self._connection is None:
            raise BleakError("Not connected")
        return self._connection

    def _disconnected(self, connection: Connection, reason: int) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        self._ended_by = reason
        self.services = None
        self._subscribers.clear()
        self.radio.connected.pop(self.address, None)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def _give_up(self, connection: Connection) -> None:
        if connection.handle in self.radio.device.connections:
            with suppress(BaseBumbleError, TimeoutError):  # gone it is in any case
                async with asyncio.timeout(CLEAN_UP_S):
                    await connection.disconnect()
        self._disconnected(connection, 0)

    async def _bonded(self, connection: Connection) -> bool:
        keystore = self.radio.device.keystore
        return keystore is not None and await keystore.get(str(connection.peer_address)) is not None

    async def _answered(self, what: str, request: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Ask; refused for want of encryption, encrypt with the bond there is and ask again, as systems do."""
        try:
            return await self._request(what, request())
        except BleakGATTProtocolError as error:
            connection = self._connected()
            if error.code not in _UNPAIRED or connection.is_encrypted or not await self._bonded(connection):
                raise
        await self._encrypt(connection)
        return await self._request(what, request())

    async def _encrypt(self, connection: Connection) -> None:
        """Encrypt with the bond there is; ``StaleBondError`` when the device has no part in it."""
        limit_s = min(ENCRYPT_S, self._timeout / 2)  # before the caller's own deadline, which could not say why
        try:
            async with asyncio.timeout(limit_s):
                await self._request("encryption", connection.encrypt())
        except (BleakError, TimeoutError) as error:
            refused = getattr(error.__cause__, "error_code", self._ended_by)
            if refused not in _KEY_REFUSED and not isinstance(error, TimeoutError):
                raise
            how = f"no answer within {limit_s:.1f} s" if isinstance(error, TimeoutError) else _words(refused)
            raise StaleBondError(
                f"encryption: {self.address} does not take the key it is bonded with ({how}); "
                f"unpair it, then pair again"
            ) from error

    async def _request(self, what: str, request: Coroutine[Any, Any, _Result]) -> _Result:
        """Await an answer of the device, its disappearance or the time-out, whichever comes first."""
        if self._connection is None or self._gone is None:
            request.close()
            raise BleakError("Not connected")
        task = asyncio.ensure_future(request)
        either: set[asyncio.Future[Any]] = {task, self._gone}
        try:
            await asyncio.wait(either, timeout=self.radio.att_s, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            if self._gone.done():
                raise BleakError(f"{what}: the device disconnected")
            raise BleakError(f"{what}: the device did not answer within {self.radio.att_s:g} s")
        try:
            return task.result()
        except att.ATT_Error as error:
            raise BleakGATTProtocolError(int(error.error_code)) from error
        except asyncio.CancelledError:  # bumble cancels what a disconnection overtakes
            raise BleakError(f"{what}: the device disconnected") from None
        except BaseBumbleError as error:
            raise BleakError(f"{what} failed: {error!r}") from error

    async def _flow(self, queue: Any) -> None:  # noqa: ANN401 - bumble's queue of packets
        flowing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def flow() -> None:
            if not flowing.done():
                flowing.set_result(None)

        queue.on("flow", flow)
        try:
            gone = self._gone
            if gone is not None:
                await asyncio.wait({flowing, gone}, timeout=self.radio.att_s, return_when=asyncio.FIRST_COMPLETED)
                if not flowing.done() and not gone.done():
                    raise BleakError(f"writing: the controller took nothing for {self.radio.att_s:g} s")
        finally:
            queue.remove_listener("flow", flow)


def uuid_text(value: UUID) -> str:
    """Write a UUID as bleak does: 128 bits, lower case, with dashes."""
    return str(uuid.UUID(bytes=bytes(value.to_bytes(force_128=True))[::-1]))


def _words(code: int) -> str:
    return hci.HCI_ErrorCode(code).name.removesuffix("_ERROR").lower().replace("_", " ")


def _properties(properties: gatt.Characteristic.Properties) -> list[str]:
    return [
        one.name.lower().replace("_", "-") for one in gatt.Characteristic.Properties if one & properties and one.name
    ]

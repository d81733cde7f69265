"""A virtual telemeter's GATT service on a bumble device, and the transport that each connected central becomes.

Rules, normative in docs/protocol.md: a frame written before the central has subscribed to the replies waits, in order,
until it has; a frame is cut when it is sent, to the MTU of then; the link status says READY on subscription, BUSY
while more than ``BUSY_FRAMES`` wait, CLOSING before a tidy end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bumble import att, gatt, hci

from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.ble_gatt import (
    COMMAND_UUID,
    INFORMATION_UUID,
    LINK_STATUS_UUID,
    MAX_MTU,
    MIN_MTU,
    REPLY_UUID,
    SERVICE_UUID,
    SERVICE_VERSION,
    InformationFlag,
    LinkStatus,
    Pairing,
    TelemeterInformation,
    encode_information,
)
from telemetry.transport.ble_segments import LONGEST_FRAME, BadSegment, Reassembler, Segmenter
from telemetry.transport.pipe import FLUSH_S, UNSENT_LIMIT_BYTES, Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from bumble.device import Connection, Device

BUSY_FRAMES = 32
"""The link status turns BUSY with more frames waiting, and READY again with half as many: 8 KiB of the longest."""
_IN_FLIGHT = 16
"""Packets given to the controller and not yet on the air; what waits behind them waits here, where it is bounded."""
_DISCONNECT_S = 2.0
_NOTIFICATION = bytes((att.Opcode.ATT_HANDLE_VALUE_NOTIFICATION,))
_ENDS = {
    hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR: "the central closed the connection",
    hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR: "the connection was closed here",
    hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR: "the central was switched off",
    hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR: "the central went out of range or was switched off",
    hci.HCI_ErrorCode.CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR: "the two ends hold different keys",
    hci.HCI_ErrorCode.AUTHENTICATION_FAILURE_ERROR: "pairing failed",
}


def end_in_words(reason: int) -> str:
    """Why a connection ended, from its HCI error code (Core Specification, Vol 1, Part F, 1.3)."""
    try:
        code = hci.HCI_ErrorCode(reason)
    except ValueError:
        return f"the connection ended (unknown code 0x{reason:02X})"
    name = code.name.removesuffix("_ERROR").lower().replace("_", " ")
    return f"{_ENDS.get(code, 'the connection ended')} ({name}, 0x{reason:02X})"


class CentralPipe(Pipe):
    """The link to one connected central: datagrams of one frame each, up to 256 bytes.

    ``write`` never waits; more than ``UNSENT_LIMIT_BYTES`` waiting, for want of a subscription or of reading, ends the
    link. Bad segments cost their frame, are counted in ``reassembler.faults`` and end nothing.
    """

    def __init__(self, service: TelemeterService, connection: Connection, url: str) -> None:
        super().__init__(TransportInfo(url, datagrams=True, mtu=LONGEST_FRAME))
        self.reassembler = Reassembler()
        self.connection = connection
        self._service = service
        self._segmenter = Segmenter(MIN_MTU)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._segments: deque[bytes] = deque()
        self._status: LinkStatus | None = None
        self._drained = asyncio.Event()
        self._connected = True
        self._leaving: asyncio.Task[None] | None = None
        self._queue = connection.data_packet_queue
        if self._queue is not None:
            self._queue.on("flow", self._pump)

    def write(self, data: bytes) -> None:
        """Send one frame; ``UsageError`` unless it has 1 to 256 bytes."""
        if self._closing:
            raise self._gone()
        if not 1 <= len(data) <= LONGEST_FRAME:
            raise UsageError(
                f"{self.info.url}: a datagram of {len(data)} bytes; this link carries 1 to {LONGEST_FRAME}"
            )
        if self._waiting_bytes + len(data) > UNSENT_LIMIT_BYTES:
            why = "does not take replies" if self._service.takes_replies(self) else "never subscribed to replies"
            self._lose(
                LinkClosedError(
                    f"{self.info.url}: the central {why}; {self._waiting_bytes + len(data)} bytes would be waiting "
                    f"unsent, the limit is {UNSENT_LIMIT_BYTES}"
                )
            )
            raise self._gone()
        self._waiting.append(bytes(data))
        self._waiting_bytes += len(data)
        self._pump()

    def received(self, segment: bytes) -> None:
        """The central wrote a segment."""
        if self._lost:
            return
        for found in self.reassembler.feed(segment):
            if isinstance(found, BadSegment):
                self._service.faults[found.reason.value] = self._service.faults.get(found.reason.value, 0) + 1
            else:
                self._deliver(found)

    def subscribed(self, *, to_status: bool) -> None:
        """The central subscribed, or took a subscription back: to the link status or to the replies."""
        if to_status:
            self._say(self._status or LinkStatus.READY, again=True)
        self._pump()

    def disconnected(self, reason: int) -> None:
        """The connection is gone."""
        self._connected = False
        self._lose(LinkClosedError(f"{self.info.url}: {end_in_words(reason)}"))

    def refuse(self, why: str) -> None:
        """Have no more to do with this central."""
        self._lose(LinkClosedError(f"{self.info.url}: {why}"))

    def adapter_gone(self, reason: LinkClosedError) -> None:
        """The adapter is gone, and the connection with it."""
        self._connected = False
        self._lose(reason)

    def _pump(self) -> None:
        queue = self._queue
        while not self._lost and (self._segments or self._waiting):
            if not self._service.takes_replies(self) or (queue is not None and queue.pending >= _IN_FLIGHT):
                break
            if not self._segments:
                frame = self._waiting.popleft()
                self._waiting_bytes -= len(frame)
                self._segmenter.mtu = min(max(self.connection.att_mtu, MIN_MTU), MAX_MTU)
                self._segments.extend(self._segmenter.cut(frame))
            self._service.notify(self.connection, self._service.reply, self._segments.popleft())
        waiting = len(self._waiting)
        if self._status is LinkStatus.BUSY and waiting <= BUSY_FRAMES // 2:
            self._say(LinkStatus.READY)
        elif waiting > BUSY_FRAMES:
            self._say(LinkStatus.BUSY)
        if not waiting and not self._segments and (queue is None or not queue.pending):
            self._drained.set()

    def _say(self, status: LinkStatus, *, again: bool = False) -> None:
        if (again or status is not self._status) and self._connected:
            self._status = status
            self._service.say(self, status)

    async def _flush(self) -> None:
        if not self._connected:
            return
        self._say(LinkStatus.CLOSING)
        self._drained.clear()
        self._pump()
        if (self._waiting or self._segments) and not self._service.takes_replies(self):
            return  # nobody asked for it, and nobody will now
        try:
            await asyncio.wait_for(self._drained.wait(), FLUSH_S)
        except TimeoutError:
            return  # the central had its chance; what is left goes with the connection

    def _release(self) -> None:
        if self._queue is not None:
            self._queue.remove_listener("flow", self._pump)
        self._waiting.clear()
        self._segments.clear()
        self._waiting_bytes = 0
        self._drained.set()
        if self._connected:
            self._leaving = self._loop.create_task(self._leave(), name=f"disconnect {self.info.url}")
        else:
            self._service.forget(self)
            self._released()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_DISCONNECT_S):
                await self.connection.disconnect()
        except (Exception, asyncio.CancelledError):  # noqa: BLE001, S110 - bumble cancels its callers when an adapter goes
            pass  # whichever it was: we are done with this connection, and the controller forgets it by itself
        finally:
            self._connected = False
            self._service.forget(self)
            self._released()


@dataclass(frozen=True, slots=True)
class TelemeterSettings:
    """How a virtual telemeter offers itself.

    ``name`` as advertised; ``pairing`` asked for; ``interval_ms`` from one advertisement to the next; ``mtu`` the
    largest ATT MTU it agrees to, in bytes; ``passkey`` what it shows, six digits, None for a new one each time.
    """

    name: str
    pairing: Pairing = Pairing.NONE
    interval_ms: int = 100
    mtu: int = MAX_MTU
    passkey: int | None = None


class TelemeterService:
    """The service's attributes on one device, and who of the connected centrals may use them.

    Bumble calls every encrypted link authenticated; what is demanded of pairing is therefore checked here.
    """

    def __init__(self, device: Device, settings: TelemeterSettings) -> None:
        self.settings = settings
        self.faults: dict[str, int] = {}
        """Bad segments of all centrals so far, by the name of their fault."""
        self._server = device.gatt_server
        self._server.max_mtu = settings.mtu
        self._pipes: dict[Connection, CentralPipe] = {}
        self._subscriptions: set[tuple[Connection, int]] = set()
        self._bonds: dict[str, bool] = {}
        """Addresses that have paired with LE Secure Connections, and whether against a man in the middle."""
        self.reply = self._notifying(REPLY_UUID)
        self.status = self._notifying(LINK_STATUS_UUID)
        properties, permissions = gatt.Characteristic.Properties, gatt.Characteristic.Permissions
        command: gatt.Characteristic[bytes] = gatt.Characteristic(
            COMMAND_UUID,
            properties.WRITE | properties.WRITE_WITHOUT_RESPONSE,
            permissions.WRITEABLE | self._protection(write=True),
            gatt.CharacteristicValue(write=self._written),
        )
        information: gatt.Characteristic[bytes] = gatt.Characteristic(
            INFORMATION_UUID,
            properties.READ,
            permissions.READABLE,
            # A readable value without a reader is never answered by bumble, and its client waits for 30 s.
            gatt.CharacteristicValue(read=self._information),
        )
        device.add_service(gatt.Service(SERVICE_UUID, [command, self.reply, information, self.status]))

    def admit(self, pipe: CentralPipe) -> None:
        """A central is connected."""
        self._pipes[pipe.connection] = pipe

    def forget(self, pipe: CentralPipe) -> None:
        """A central is gone."""
        self._pipes.pop(pipe.connection, None)
        self._subscriptions = {entry for entry in self._subscriptions if entry[0] is not pipe.connection}

    def paired(self, connection: Connection, *, against_middleman: bool) -> bool:
        """A central has paired; False when that is less than this telemeter asks for."""
        if connection.sc:
            self._bonds[str(connection.peer_address)] = against_middleman
        return self._trusted(connection)

    def takes_replies(self, pipe: CentralPipe) -> bool:
        """Whether a central has subscribed to the replies."""
        return (pipe.connection, self.reply.handle) in self._subscriptions

    def say(self, pipe: CentralPipe, status: LinkStatus) -> None:
        """Notify the link status, to a central that wants to know."""
        if (pipe.connection, self.status.handle) in self._subscriptions:
            self.notify(pipe.connection, self.status, bytes((status,)))

    def notify(self, connection: Connection, characteristic: gatt.Characteristic[bytes], value: bytes) -> None:
        """Notify at once: bumble's own way costs a task for each, and cuts what is too long without a word."""
        self._server.send_gatt_pdu(connection, _NOTIFICATION + characteristic.handle.to_bytes(2, "little") + value)

    def _protection(self, *, write: bool) -> gatt.Characteristic.Permissions:
        permissions = gatt.Characteristic.Permissions
        if self.settings.pairing is Pairing.NONE:
            return permissions(0)
        return permissions.WRITE_REQUIRES_ENCRYPTION if write else permissions.READ_REQUIRES_ENCRYPTION

    def _notifying(self, uuid: str) -> gatt.Characteristic[bytes]:
        permissions = gatt.Characteristic.Permissions
        characteristic: gatt.Characteristic[bytes] = gatt.Characteristic(
            uuid, gatt.Characteristic.Properties.NOTIFY, permissions(0), b""
        )

        def read(bearer: Any) -> bytes:  # noqa: ANN401 - bumble's bearer, a connection here
            return self._server.read_cccd(bearer, characteristic)

        def write(bearer: Any, value: bytes) -> None:  # noqa: ANN401 - as above
            self._demand_trust(bearer)
            self._server.write_cccd(bearer, characteristic, value)

        # Bumble would add a descriptor that anybody may write.
        characteristic.descriptors = [
            gatt.Descriptor(
                gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
                permissions.READABLE | permissions.WRITEABLE | self._protection(write=True),
                att.AttributeValueV2(read, write),
            )
        ]
        characteristic.on(characteristic.EVENT_SUBSCRIPTION, self._subscribe_to(characteristic))
        return characteristic

    def _subscribe_to(self, characteristic: gatt.Characteristic[bytes]) -> Callable[[Connection, bool, bool], None]:
        def subscription(connection: Connection, notifications: bool, _indications: bool) -> None:  # noqa: FBT001 - bumble's own
            entry = (connection, characteristic.handle)
            pipe = self._pipes.get(connection)
            if pipe is None:
                return
            if notifications:
                self._subscriptions.add(entry)
            else:
                self._subscriptions.discard(entry)
            pipe.subscribed(to_status=characteristic is self.status)

        return subscription

    def _written(self, connection: Connection, value: bytes) -> None:
        self._demand_trust(connection)
        pipe = self._pipes.get(connection)
        if pipe is None:  # we are closing this connection already
            raise att.ATT_Error(error_code=att.ErrorCode.UNLIKELY_ERROR)
        pipe.received(bytes(value))

    def _demand_trust(self, connection: Connection) -> None:
        if not self._trusted(connection):
            raise att.ATT_Error(error_code=att.ErrorCode.INSUFFICIENT_AUTHENTICATION)

    def _trusted(self, connection: Connection) -> bool:
        if self.settings.pairing is Pairing.NONE:
            return True
        against_middleman = self._bonds.get(str(connection.peer_address))
        if against_middleman is None or not connection.encryption:
            return False
        return against_middleman or self.settings.pairing is Pairing.JUST_WORKS

    def _information(self, _connection: Connection) -> bytes:
        flags = InformationFlag.SIMULATED
        if self.settings.pairing is not Pairing.NONE:
            flags |= InformationFlag.PAIRING
        return encode_information(TelemeterInformation(SERVICE_VERSION, flags, LONGEST_FRAME, self.settings.name))

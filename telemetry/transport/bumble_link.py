"""The air between bumble's software controllers: what it loses, delays and holds back, and what bumble gets wrong.

Bumble's ``LocalLink`` is perfect and knows no distance. Here data behave as on a radio: a packet that is lost is sent
again at the next connection event, so it comes late and never damaged, and contact that stays away for the supervision
timeout ends the connection at both ends. Advertisements are sent once and may be gone for good.

Five faults of bumble's controller are mended; tests/transport/test_ble_quirks.py fails when bumble has mended one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bumble.controller import Connection

PPM = 1_000_000
ACL_BUFFER_BYTES = 251
"""Longest link-layer payload with data length extension (Bluetooth Core Specification, Vol 6, Part B, 2.4)."""
_EVENTS_TO_ESTABLISH = 6
"""A connection unanswered for six connection events was never established (Core Specification, Vol 6, B, 4.5.2)."""
_MS_PER_S = 1000
_Report = hci.HCI_LE_Extended_Advertising_Report_Event.Report
_SCAN_RESPONSE = hci.HCI_LE_Extended_Advertising_Report_Event.EventType.SCAN_RESPONSE
_ENHANCED_COMPLETE = 1 << hci.HCI_LE_ENHANCED_CONNECTION_COMPLETE_EVENT - 1
"""Its bit of the LE event mask (Core Specification, Vol 4, Part E, 7.8.1)."""
_TIMED_OUT = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
_NOT_ESTABLISHED = hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What the air does to what is sent. ``UsageError`` names the field that is out of its range.

    ``loss_ppm``: packets lost of a million. ``delay_ms``: the way there. ``interval_ms``: from one connection event to
    the next, hence what a repeat costs (30 ms is usual; 7 to 4000, Core Specification, Vol 6, Part B, 4.5.1).
    ``supervision_ms``: how long contact may stay away (100 to 32 000, ibid. 4.5.2). ``bits_per_s``: what the air
    carries each way, 0 for as much as the host can. ``rssi_dbm``: signal strength that scanners report. ``seed``
    makes the losses repeatable. The default loses nothing and takes no time.
    """

    loss_ppm: int = 0
    delay_ms: int = 0
    interval_ms: int = 30
    supervision_ms: int = 2_000
    bits_per_s: int = 0
    rssi_dbm: int = -50
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "loss_ppm": (0, PPM),
            "delay_ms": (0, 60_000),
            "interval_ms": (7, 4_000),
            "supervision_ms": (100, 32_000),
            "bits_per_s": (0, 100_000_000),
            "rssi_dbm": (-127, 20),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UsageError(f"{name}: {value!r} is no whole number from {low} to {high}")


class _Path:
    """What is under way from one controller to one other, in order."""

    def __init__(self) -> None:
        self.under_way: deque[Callable[[], None]] = deque()
        self.timers: deque[asyncio.TimerHandle] = deque()
        self.last_arrival_s = 0.0
        self.air_free_s = 0.0
        self.held: deque[tuple[int, Callable[[], None]]] = deque()

    def arrive(self) -> None:
        """Deliver the oldest: timers of one instant fire in no certain order, what they carry has one."""
        self.timers.popleft()
        self.under_way.popleft()()

    def clear(self) -> None:
        """Forget what is under way."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.under_way.clear()
        self.held.clear()


class RadioLink(LocalLink):
    """Air with a ``LinkModel``, which may be replaced at any time and holds for what is sent from then on.

    Also mends ``LocalLink``: LE data carry the address that their connection was made with, where bumble puts the
    sender's random one, which a central that scans with another address (as BlueZ does) is then not known by.
    Times are host time. Needs a running loop.
    """

    def __init__(self, model: LinkModel | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model or LinkModel()
        self.adverts_lost = 0
        self.repeats = 0
        """Data packets that had to be sent again; each time counts."""
        self.contacts_lost = 0
        """Connections that ended since contact stayed away."""
        self._loop = asyncio.get_running_loop()
        self._random = Random(self.model.seed)  # noqa: S311 - repeatable on purpose
        self._members: list[Controller] = []  # in the order of joining, where bumble's set has none: draws must repeat
        self._paths: dict[tuple[Controller, Controller], _Path] = {}
        self._away: dict[Controller, object] = {}
        """Who is out of range, with a token of its own for each absence."""
        self._timers: set[asyncio.TimerHandle] = set()

    def add_controller(self, controller: Controller) -> None:
        """A controller comes to be in the air."""
        super().add_controller(controller)
        self._members.append(controller)

    def remove_controller(self, controller: Controller) -> None:
        """A controller is gone: its connections end at the other end with a connection timeout, at once."""
        self.cut(controller)
        if controller in self._members:
            self._members.remove(controller)
            super().remove_controller(controller)
        self._away.pop(controller, None)
        for pair in [pair for pair in self._paths if controller in pair]:
            self._paths.pop(pair).clear()

    def close(self) -> None:
        """Forget all that is under way, and every timer."""
        for controller in tuple(self._members):
            self.remove_controller(controller)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def set_range(self, controller: Controller, *, reachable: bool) -> None:
        """Carry a controller out of range, or back. Back within the supervision time, its connections go on."""
        if reachable:
            self._away.pop(controller, None)
            for (sender, receiver), path in self._paths.items():
                if controller in (sender, receiver) and not self._apart(sender, receiver):
                    held, path.held = path.held, deque()
                    for size, deliver in held:
                        self._carry(sender, receiver, size, deliver)
        elif controller not in self._away:
            absence = self._away[controller] = object()
            for connection in tuple(controller.le_connections.values()):
                self._after(self.model.supervision_ms, partial(self._supervise, controller, connection, absence))

    def cut(self, controller: Controller, reason: int = _TIMED_OUT) -> None:
        """End every connection of a controller at both ends at once, without a word over the air.

        ``reason`` is an HCI error code (Core Specification, Vol 1, Part F, 1.3).
        """
        for connection in tuple(controller.le_connections.values()):
            self._sever(controller, connection, reason)

    def air_free_s(self, sender: Controller, peer_address: hci.Address) -> float:
        """Loop time at which the air has taken what a controller sends to a peer; 0 when it has."""
        receiver = self.find_le_controller(peer_address)
        path = None if receiver is None else self._paths.get((sender, receiver))
        return 0.0 if path is None else path.air_free_s

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        """Send an advertisement to everybody in reach, or a request to connect to the one it is meant for."""
        if isinstance(packet, ll.ConnectInd):
            self._send_connect(sender_controller, packet)
            return
        response = _scan_response_of(sender_controller, packet)
        for receiver in tuple(self._members):
            if receiver is sender_controller:
                continue
            if self._apart(sender_controller, receiver) or self._lost():
                self.adverts_lost += 1
            else:
                self._after(self.model.delay_ms, partial(self._advertise, receiver, packet, response))

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """Send data of a connection."""
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if transport is not PhysicalTransport.LE or connection is None:
            super().send_acl_data(sender_controller, destination_address, transport, data)
        elif receiver is not None:
            address = connection.self_address
            self._carry(
                sender_controller,
                receiver,
                len(data),
                # It may have been disconnected meanwhile; a real radio would not hear it either.
                lambda: (
                    receiver.on_link_acl_data(address, transport, data) if address in receiver.le_connections else None
                ),
            )

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        """Send a word of the link layer, in order with the data."""
        sender = self.find_le_controller(sender_address)
        receiver = self.find_le_controller(receiver_address)
        if sender is None or receiver is None:
            return  # gone, and with it the connection: the supervision of whoever is left says so
        self._carry(
            sender,
            receiver,
            len(getattr(packet, "data", b"")),
            lambda: (
                receiver.on_ll_control_pdu(sender_address, packet)
                if sender_address in receiver.le_connections
                else None
            ),
        )

    def _send_connect(self, sender: Controller, packet: ll.ConnectInd) -> None:
        receiver = next(
            (c for c in self._members if c is not sender and packet.advertiser_address in _advertised(c)), None
        )
        if receiver is None or self._apart(sender, receiver) or self._lost():
            # The initiator holds the connection for made until six connection events have gone unanswered.
            connection = sender.le_connections.get(packet.advertiser_address)
            if connection is not None:
                self._after(
                    _EVENTS_TO_ESTABLISH * self.model.interval_ms,
                    partial(self._end, sender, connection, _NOT_ESTABLISHED),
                )
            return
        self._carry(sender, receiver, 0, partial(receiver.on_ll_advertising_pdu, packet))

    def _carry(self, sender: Controller, receiver: Controller, size: int, deliver: Callable[[], None]) -> None:
        path = self._paths.setdefault((sender, receiver), _Path())
        if path.held or self._apart(sender, receiver):
            path.held.append((size, deliver))
            return
        model, now_s = self.model, self._loop.time()
        repeats_ms = 0
        while self._lost():
            self.repeats += 1
            repeats_ms += model.interval_ms
            if repeats_ms >= model.supervision_ms:
                path.held.append((size, deliver))
                self._after(model.supervision_ms, partial(self._lose_contact, sender, receiver))
                return
        if model.bits_per_s:
            path.air_free_s = max(path.air_free_s, now_s) + size * 8 / model.bits_per_s
        arrival_s = max(path.air_free_s, now_s) + (model.delay_ms + repeats_ms) / _MS_PER_S
        arrival_s = max(arrival_s, path.last_arrival_s)
        if arrival_s <= now_s and not path.under_way:
            self._loop.call_soon(deliver)
            return
        path.last_arrival_s = arrival_s
        path.under_way.append(deliver)
        path.timers.append(self._loop.call_at(arrival_s, path.arrive))

    def _advertise(self, receiver: Controller, packet: ll.AdvertisingPdu, response: bytes) -> None:
        if isinstance(receiver, RadioController):
            receiver.hear(packet, response)
        else:
            receiver.on_ll_advertising_pdu(packet)

    def _lost(self) -> bool:
        return bool(self.model.loss_ppm) and self._random.randrange(PPM) < self.model.loss_ppm

    def _apart(self, sender: Controller, receiver: Controller) -> bool:
        return sender in self._away or receiver in self._away

    def _after(self, delay_ms: int, callback: Callable[[], None]) -> None:
        if not delay_ms:
            self._loop.call_soon(callback)
            return

        def fire() -> None:
            self._timers.discard(timer)
            callback()

        timer = self._loop.call_later(delay_ms / _MS_PER_S, fire)
        self._timers.add(timer)

    def _supervise(self, controller: Controller, connection: Connection, absence: object) -> None:
        if self._away.get(controller) is absence and connection in controller.le_connections.values():
            self.contacts_lost += 1
            self._sever(controller, connection, _TIMED_OUT)

    def _lose_contact(self, sender: Controller, receiver: Controller) -> None:
        for connection in tuple(sender.le_connections.values()):
            if self.find_le_controller(connection.peer_address) is receiver:
                self.contacts_lost += 1
                self._sever(sender, connection, _TIMED_OUT)

    def _sever(self, controller: Controller, connection: Connection, reason: int) -> None:
        peer = self.find_le_controller(connection.peer_address)
        if peer is not None:
            for pair in ((controller, peer), (peer, controller)):
                if pair in self._paths:
                    self._paths[pair].clear()
            other_end = peer.le_connections.get(connection.self_address)
            if other_end is not None:
                self._end(peer, other_end, reason)
        self._end(controller, connection, reason)

    def _end(self, controller: Controller, connection: Connection, reason: int) -> None:
        if controller.le_connections.get(connection.peer_address) is connection:
            controller.on_le_disconnected(connection, reason)


class RadioController(Controller):
    """Bumble's software controller as a bench needs it.

    Mended: a connection attempt can be cancelled (bumble only acknowledges the command, so that a connect to an
    absent peer never ends); scan responses arrive as they were set, and to active scanners only (bumble repeats the
    advertisement in their place); buffers hold 251 bytes, not 27; a host that asked for the enhanced form of
    *connection complete* gets that one (Linux does, and ends a connection whose event it does not see). Beyond bumble:
    signal strength is the link's, a buffer comes free only when the air has taken what was in it, and a reset forgets
    connections and advertising.
    """

    def __init__(self, name: str, link: RadioLink, address: str, **ports: Any) -> None:  # noqa: ANN401 - bumble's own
        super().__init__(name, link=link, public_address=address, **ports)
        self.le_acl_data_packet_length = ACL_BUFFER_BYTES
        self.radio = link
        self._scan_response = b""
        self._scans_actively = True

    def hear(self, packet: ll.AdvertisingPdu, scan_response: bytes) -> None:
        """Receive an advertisement and what its sender answers to a scan request."""
        self._scan_response = scan_response
        self.on_ll_advertising_pdu(packet)

    def power_down(self) -> None:
        """Stop advertising, scanning and connecting, and end every connection at the other end too."""
        self.le_scan_enable = False
        self.pending_le_connection = None
        self.le_legacy_advertiser.stop()
        for advertising_set in self.advertising_sets.values():
            advertising_set.stop()
        self.advertising_sets.clear()
        self.radio.cut(self, hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR)

    def on_hci_reset_command(self, _command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        """Forget everything, as Core Specification, Vol 4, Part E, 7.3.2 asks."""
        self.power_down()
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Give an attempt up: it completes, without a connection (ibid. 7.8.13)."""
        if pending := self.pending_le_connection:
            self.pending_le_connection = None
            cancelled = hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
            # After the command's own completion, which is sent when this returns.
            asyncio.get_running_loop().call_soon(self.send_hci_packet, cancelled)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_set_extended_scan_parameters_command(
        self, command: hci.HCI_LE_Set_Extended_Scan_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Note whether scan requests are sent, besides what bumble notes."""
        self._scans_actively = any(command.scan_types)
        return super().on_hci_le_set_extended_scan_parameters_command(command)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """Send a packet to the host, put right where bumble is wrong."""
        if isinstance(packet, hci.HCI_LE_Extended_Advertising_Report_Event):
            reports = [mended for report in packet.reports if (mended := self._mend(report)) is not None]
            if not reports:
                return
            packet = hci.HCI_LE_Extended_Advertising_Report_Event(reports=reports)
        elif isinstance(packet, hci.HCI_LE_Connection_Complete_Event):
            packet = self._completed(packet)
        elif isinstance(packet, hci.HCI_Number_Of_Completed_Packets_Event) and self.radio.model.bits_per_s:
            self._free_buffers_later(packet)
            return
        super().send_hci_packet(packet)

    def _completed(self, event: hci.HCI_LE_Connection_Complete_Event) -> hci.HCI_Packet:
        """The one of the two forms that the host unmasked, the enhanced one first (Core, Vol 4, Part E, 7.7.65.10)."""
        if not self.le_event_mask & _ENHANCED_COMPLETE:
            return event
        return hci.HCI_LE_Enhanced_Connection_Complete_Event(
            status=event.status,
            connection_handle=event.connection_handle,
            role=event.role,
            peer_address_type=event.peer_address_type,
            peer_address=event.peer_address,
            local_resolvable_private_address=hci.Address.ANY_RANDOM,
            peer_resolvable_private_address=hci.Address.ANY_RANDOM,
            connection_interval=event.connection_interval,
            peripheral_latency=event.peripheral_latency,
            supervision_timeout=event.supervision_timeout,
            central_clock_accuracy=event.central_clock_accuracy,
        )

    def _mend(self, report: _Report) -> _Report | None:
        if not report.event_type & _SCAN_RESPONSE:
            return replace(report, rssi=self.radio.model.rssi_dbm)
        if not self._scans_actively:
            return None
        return replace(report, rssi=self.radio.model.rssi_dbm, data=self._scan_response)

    def _free_buffers_later(self, packet: hci.HCI_Number_Of_Completed_Packets_Event) -> None:
        connection = self.find_le_connection_by_handle(packet.connection_handles[0])
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        free_s = self.radio.air_free_s(self, connection.peer_address)

        def free() -> None:
            if self.le_connections.get(connection.peer_address) is connection:
                Controller.send_hci_packet(self, packet)

        loop.call_at(max(free_s, loop.time()), free)


def _advertised(controller: Controller) -> list[hci.Address]:
    """Every address under which a controller advertises."""
    legacy = controller.le_legacy_advertiser
    found = [legacy.address] if legacy.enabled else []
    return found + [s.address for s in controller.advertising_sets.values() if s.enabled and s.address is not None]


def _scan_response_of(controller: Controller, packet: ll.AdvertisingPdu) -> bytes:
    """What a controller answers to scan requests under the address of one of its advertisements."""
    address = getattr(packet, "advertiser_address", None)
    for advertising_set in controller.advertising_sets.values():
        if advertising_set.enabled and advertising_set.address == address:
            return bytes(advertising_set.scan_response_data)
    return bytes(controller.le_legacy_advertiser.scan_response_data)

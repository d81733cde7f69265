"""The handheld telemeter: a relay with a battery of its own that lies over the pump, or does not.

It holds no key. Sealed frames pass through it unread; it answers for itself only, never retries, and tells the
pump when contact has been gone for five seconds (trust.md 4.7), whereupon the pump ends the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from telemetry.errors import BadPayload, UsageError
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import ContactEvent, ReadTelemeter, Subscribe, Subscribed, TelemeterReport
from telemetry.protocol.wire import FRAME_CRC, FRAME_HEADER, FrameType
from telemetry.sim.nearfield import FULL_COUPLING_BARS, NearField

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.protocol.messages import Message

CONTACT_CLOSES_AFTER_MS = 5_000
FIRMWARE = 0x0001_0000
_TO_PUMP = frozenset({FrameType.PROBE, FrameType.HELLO, FrameType.REQ})
_CAPACITY_UNITS = 3_600_000 * 100
"""Battery, in ms of being switched on: a hundred hours (mark C: a design assumption)."""
_UNITS_PER_BYTE = 40
"""Relaying a 250-byte frame costs as much as ten seconds of being on (mark C)."""
_SWITCHES_OFF_AFTER_MS = 300_000
"""Five minutes without a host's word and it sleeps, at no cost, until the next (mark C)."""


class PumpUnderneath(Protocol):
    """What the telemeter needs of the pump's radio."""

    def receive(self, frame: Frame) -> list[bytes]:
        """A frame arrived over the near field; returns the frames the pump sends back."""
        ...

    def contact_lost(self) -> None:
        """The field has been gone for too long."""
        ...


class HostPort:
    """One host link of the telemeter, as the telemeter sees it."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send
        self.wants_events = False
        self.gone = False


class Telemeter:
    """Relays between host links and the pump under it. Times are link milliseconds of the clock."""

    def __init__(self, pump: PumpUnderneath, near_field: NearField, clock: Clock, *, serial: str) -> None:
        self._pump = pump
        self.near_field = near_field
        self._bars = near_field.coupling_bars
        self._clock = clock
        self.serial = serial
        self._hosts: list[HostPort] = []
        self._cancel_close: Callable[[], None] | None = None
        self._used_units = 0
        self._awake_since_ms = clock.link_ms()
        self.frames_to_pump = 0
        self.frames_from_pump = 0
        self.frames_lost = 0

    def connect(self, send: Callable[[bytes], None]) -> HostPort:
        """A host link opened; ``send`` takes frames towards it."""
        host = HostPort(send)
        self._hosts.append(host)
        return host

    def disconnect(self, host: HostPort) -> None:
        """A host link ended; frames still crossing towards it are dropped."""
        host.gone = True
        if host in self._hosts:
            self._hosts.remove(host)

    def host_frame(self, host: HostPort, frame: Frame) -> None:
        """A frame arrived from a host."""
        self._wake()
        if self.battery_percent == 0:
            return
        if frame.type is FrameType.TELEMETER_REQ:
            self._answer_for_itself(host, frame)
        elif frame.type in _TO_PUMP:
            size = FRAME_HEADER.size + len(frame.body) + FRAME_CRC.size
            self._used_units += size * _UNITS_PER_BYTE
            self.frames_to_pump += 1
            self._cross(size, lambda: self._reach_pump(host, frame))

    def place(self, coupling_bars: int = FULL_COUPLING_BARS) -> None:
        """Put the telemeter over the pump, with 1–5 bars of coupling, or lift it with 0.

        Raises ``UsageError`` outside 0–5.
        """
        if not 0 <= coupling_bars <= FULL_COUPLING_BARS:
            raise UsageError(f"coupling_bars: {coupling_bars} is outside 0 (lifted) to {FULL_COUPLING_BARS}")
        self.near_field.placed_bars = coupling_bars
        self.look()

    def look(self) -> None:
        """Notice what has become of the contact since it last looked."""
        bars, before = self.near_field.coupling_bars, self._bars
        if bars == before:
            return
        self._bars = bars
        if self._cancel_close is not None and bars:
            self._cancel_close()
            self._cancel_close = None
        if before and not bars:
            self._cancel_close = self._clock.call_at(
                self._clock.link_ms() + CONTACT_CLOSES_AFTER_MS, self._contact_is_gone
            )
        self._tell_hosts()

    def lift(self) -> None:
        """Take the telemeter off the skin."""
        self.place(0)

    def close(self) -> None:
        """Drop timers and hosts."""
        if self._cancel_close is not None:
            self._cancel_close()
            self._cancel_close = None
        self._hosts.clear()

    @property
    def battery_percent(self) -> int:
        """What its own battery has left, 0–100."""
        return max(0, 100 - (self._used_units + self._awake_ms()) * 100 // _CAPACITY_UNITS)

    def _awake_ms(self) -> int:
        """How long it has been awake since a host last spoke to it."""
        return min(self._clock.link_ms() - self._awake_since_ms, _SWITCHES_OFF_AFTER_MS)

    def _wake(self) -> None:
        self._used_units += self._awake_ms()
        self._awake_since_ms = self._clock.link_ms()

    def recharge(self) -> None:
        """Charge the telemeter's battery."""
        self._used_units = 0
        self._awake_since_ms = self._clock.link_ms()

    def _contact_is_gone(self) -> None:
        self._cancel_close = None
        self._pump.contact_lost()

    def _cross(self, size_bytes: int, arrive: Callable[[], None]) -> None:
        crossing_ms = self.near_field.crossing_ms(size_bytes)
        if crossing_ms is None:
            self.frames_lost += 1
        elif crossing_ms == 0:
            arrive()
        else:
            self._clock.call_at(self._clock.link_ms() + crossing_ms, arrive)

    def _reach_pump(self, host: HostPort, frame: Frame) -> None:
        if not self.near_field.contact:
            self.frames_lost += 1
            return
        for answer in self._pump.receive(frame):
            self.frames_from_pump += 1
            self._cross(len(answer), lambda answer=answer: self._reach_host(host, answer))  # type: ignore[misc]

    def _reach_host(self, host: HostPort, data: bytes) -> None:
        if not host.gone:
            self._used_units += len(data) * _UNITS_PER_BYTE
            host.send(data)

    def _answer_for_itself(self, host: HostPort, frame: Frame) -> None:
        try:
            request = decode(frame.body)
        except BadPayload:
            return  # noise with a good check sum: the host will repeat what it meant
        if isinstance(request, ReadTelemeter):
            self._send(host, FrameType.TELEMETER_RSP, self._report(request.tag))
        elif isinstance(request, Subscribe):
            host.wants_events = request.events
            self._send(host, FrameType.TELEMETER_RSP, Subscribed(tag=request.tag, events=request.events))

    def _report(self, tag: int) -> TelemeterReport:
        settings = self.near_field.settings
        return TelemeterReport(
            tag=tag,
            serial=self.serial,
            firmware=FIRMWARE,
            battery_percent=self.battery_percent,
            coupling_bars=self.near_field.coupling_bars,
            contact=self.near_field.contact,
            air_bits_per_s=settings.bits_per_s,
            air_delay_ms=settings.delay_ms,
            frames_to_pump=self.frames_to_pump & 0xFFFF_FFFF,
            frames_from_pump=self.frames_from_pump & 0xFFFF_FFFF,
            frames_lost=self.frames_lost & 0xFFFF_FFFF,
            simulated=True,
        )

    def _tell_hosts(self) -> None:
        event = ContactEvent(contact=self.near_field.contact, coupling_bars=self.near_field.coupling_bars)
        for host in tuple(self._hosts):
            if host.wants_events:
                self._send(host, FrameType.TELEMETER_EVENT, event)

    def _send(self, host: HostPort, kind: FrameType, message: Message) -> None:
        host.send(encode_frame(Frame(kind, 0, encode(message))))

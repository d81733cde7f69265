"""A virtual telemeter lying over a virtual pump: what listeners offer and ``sim:`` opens.

The one place where clock, device, firmware, telemeter and links meet. Before a frame reaches the firmware the device
is brought to the clock's therapy time; before an answer that rests on something newly written leaves, the state is
made durable.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, TelemetryError
from telemetry.link import FrameLink
from telemetry.protocol.credentials import test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame
from telemetry.protocol.handshake import PROBE_ID_SIZE
from telemetry.protocol.messages import Probe
from telemetry.protocol.records import encode_record
from telemetry.protocol.wire import PROTOCOL_MAJOR, SUITE_NOISE_KKPSK0, FrameType
from telemetry.sim.firmware import PumpFirmware
from telemetry.sim.nearfield import NearField, NearFieldSettings
from telemetry.sim.telemeter import Telemeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock, ScaledClock
    from telemetry.model import PumpEvent
    from telemetry.protocol.messages import Message
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.telemeter import HostPort
    from telemetry.sim.virtual_pump import VirtualPump
    from telemetry.transport.base import Receiver, Transport

TELEMETER_SERIAL = "SIM-T-0001"
HEARD_FRAMES = 256
"""How many frames to the pump somebody who listens has kept."""
_LONGEST_NAP_S = 0.5
"""A jump of therapy time or a new event is noticed within this host time."""


class Station:
    """One virtual telemeter over one virtual pump, open to any number of host links.

    ``save`` makes the pump's state durable and may raise ``TelemetryError``: then no verdict leaves, and
    ``on_failure`` is told. ``entropy`` feeds the pump's side of the handshake.
    """

    def __init__(  # noqa: PLR0913 - each is injected on purpose
        self,
        pump: VirtualPump,
        *,
        entropy: Callable[[int], bytes],
        near_field: NearFieldSettings | None = None,
        seed: int = 0,
        telemeter_serial: str = TELEMETER_SERIAL,
        save: Callable[[VirtualPump], None] | None = None,
        on_event: Callable[[PumpEvent], None] | None = None,
        on_failure: Callable[[TelemetryError], None] | None = None,
        tap: Callable[[str, Frame, Message | None], None] | None = None,
    ) -> None:
        self.pump = pump
        self.clock: Clock = pump.clock
        self._entropy = entropy
        self._save = save
        self._on_event = on_event
        self._on_failure = on_failure
        self._tap = tap
        self._links: set[FrameLink] = set()
        self.failure: TelemetryError | None = None
        self.firmware = self._new_firmware()
        air = NearField(near_field or NearFieldSettings(), seed, pump.radio)
        self.telemeter = Telemeter(self, air, self.clock, serial=telemeter_serial)
        self._heard: deque[Frame] = deque(maxlen=HEARD_FRAMES)
        self._probes = 0
        pump.radio.stations.add(self)
        self._stop_listening = self.clock.on_jump(self._jumped)

    def accept(self, transport: Transport) -> Receiver:
        """Take a new host link; returns who receives what it brings."""

        def frame_arrived(frame: Frame) -> None:
            self.telemeter.host_frame(host, frame)

        def lost(_reason: LinkClosedError | None) -> None:
            self.telemeter.disconnect(host)
            self._links.discard(link)

        link = FrameLink(on_frame=frame_arrived, on_lost=lost)
        link.attach(transport)
        host: HostPort = self.telemeter.connect(lambda frame: _send(link, frame))
        self._links.add(link)
        return link

    def receive(self, frame: Frame) -> list[bytes]:
        """A frame reached the pump; returns what it sends back (the telemeter's side of ``PumpUnderneath``)."""
        self._heard.append(frame)
        return self._give(frame)

    def _give(self, frame: Frame) -> list[bytes]:
        device = self.sync()
        firmware = self._firmware_of(device)
        answers = firmware.receive(frame, self.clock.link_ms())
        device.spend_telemetry(len(frame.body) + sum(len(answer) for answer in answers))
        if firmware.verdict_pending:
            if not self.save():
                return []
            firmware.verdict_pending = False
        return answers

    # --- what strangers do with it (domain.md 4, F30) ----------------------------------------------------------------

    @property
    def heard(self) -> int:
        """How many frames to the pump could be sent again."""
        return len(self._heard)

    def replay(self, frames: int) -> int:
        """Send the pump so many of the last frames that it got, again and in their order; returns how many."""
        kept = tuple(self._heard)[-frames:]
        for frame in kept:
            self._give(frame)
        return len(kept)

    def wake(self, probes: int) -> None:
        """Wake the pump so many times, each time as somebody else, and never go on."""
        for _ in range(probes):
            self._probes += 1
            probe_id = self._probes.to_bytes(PROBE_ID_SIZE, "little")
            probe = Probe(
                max_version=PROTOCOL_MAJOR,
                min_version=PROTOCOL_MAJOR,
                intent=0,
                suites=1 << SUITE_NOISE_KKPSK0,
                probe_id=probe_id,
            )
            self._give(Frame(FrameType.PROBE, 0, encode_record("probe", probe)))

    def contact_changed(self) -> None:
        """The telemeter was lifted by the hand that holds it, or laid back."""
        self.telemeter.look()

    # --- contact and time --------------------------------------------------------------------------------------------

    def contact_lost(self) -> None:
        """The telemeter has been off the skin for five seconds."""
        self.firmware.contact_lost()

    def sync(self) -> PumpDevice:
        """Bring the device to the clock's therapy time and report what happened on the way."""
        device = self.pump.device
        if self._on_event is not None:
            for event in self.pump.take_events():
                self._on_event(event)
        return device

    def save(self) -> bool:
        """Make the state durable; False (and ``on_failure`` told) when it cannot be."""
        if self._save is None:
            return True
        try:
            self._save(self.pump)
        except TelemetryError as error:
            self.failure = error
            if self._on_failure is not None:
                self._on_failure(error)
            return False
        return True

    async def run(self, clock: ScaledClock) -> None:
        """Let the pump live at the host's pace until cancelled: events come out at their instant, timers act."""
        while True:
            self._firmware_of(self.sync()).tick(clock.link_ms())
            next_ms = self.pump.next_event_ms()
            delay_s = None if next_ms is None else clock.host_delay_s(next_ms)
            await asyncio.sleep(_LONGEST_NAP_S if delay_s is None else min(_LONGEST_NAP_S, delay_s))

    async def close(self) -> None:
        """Close every host link and drop every timer."""
        self._stop_listening()
        self.telemeter.close()
        for link in tuple(self._links):
            await link.close()
        self._links.clear()

    def _new_firmware(self) -> PumpFirmware:
        device = self.pump.device
        return PumpFirmware(
            device,
            secrets=test_pump_secrets(device.identity().pump_id),
            slots=test_slots(),
            entropy=self._entropy,
            tap=self._tap,
        )

    def _firmware_of(self, device: PumpDevice) -> PumpFirmware:
        """The firmware of the device's present boot: a reset loses sessions, tokens and counters with the RAM."""
        if self.firmware.device is not device or self.firmware.boot_epoch != device.boot_epoch:
            self.firmware = self._new_firmware()
        return self.firmware

    def _jumped(self) -> None:
        self._firmware_of(self.pump.device).time_jumped()


def _send(link: FrameLink, frame: bytes) -> None:
    with contextlib.suppress(LinkClosedError):  # the host is gone; it will ask again when it is back
        link.send(frame)

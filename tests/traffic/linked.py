"""A replayed pump in this process, as ``connect(pump=…)`` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.transport.memory import open_memory

if TYPE_CHECKING:
    from telemetry.clock import ManualClock
    from telemetry.traffic.replaying_device import ReplayedPump
    from telemetry.transport.base import Receiver, Transport


class Linked:
    """What ``connect`` needs of a pump: its clock, and a link to a telemeter over it."""

    def __init__(self, device: ReplayedPump, clock: ManualClock) -> None:
        self.device = device
        self.clock = clock

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to the device."""
        return open_memory(receiver, self.device.accept, clock=self.clock)

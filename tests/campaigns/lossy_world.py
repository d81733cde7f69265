"""A pump, a telemeter over it, and a link that loses contact, cable and the pump's power at chosen frames."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.sim.pump.medium import PowerCut
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.memory import MemoryLink
from telemetry.transport.wrappers import Wrapper
from tests.campaigns.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Verdict
    from telemetry.protocol.frame import Frame
    from telemetry.transport.base import Receiver, Transport

TORN_WITHIN_BYTES = 1_200
"""Among so many bytes written for one request power goes: a commit with its log lines writes about a thousand."""


class World:
    """A pump, a telemeter over it, a mirror beside it, and a link (of datagrams or a stream) that can be cut."""

    def __init__(
        self,
        seed: int,
        *,
        profile: str = "itb-20",
        stream: bool = False,
        differ: Callable[[str], None] = lambda case: None,
    ) -> None:
        self._stream = stream
        self.clock = ManualClock()
        self.pump = VirtualPump(profile, seed=seed, clock=self.clock)
        self.mirror = Mirror(self.pump, differ)
        self.station = _FragileStation(self, Random(f"{seed}/pump").randbytes, seed)
        self.frames = 0
        self.contact_cuts = self.cable_cuts = self.power_cuts = self.torn_writes = 0
        self.torn = False
        """Whether power went within a write since this was last set."""
        self._cut_at: int | None = None
        self._cut: Callable[[MemoryLink], None] = self._never

    async def open_link(self, receiver: Receiver) -> Transport:
        """A memory link whose frames are counted (what ``telemetry.connect(pump=...)`` calls)."""
        link = MemoryLink(clock=self.clock, datagrams=not self._stream)
        counted = _Counted(lambda: self._frame(link))
        counted.bind(receiver)
        link.left.start(counted)
        counted.attach(link.left)
        link.right.start(self.station.accept(link.right))
        return counted

    def cut_contact(self, after_frames: int, for_ms: int) -> None:
        """Lift the telemeter when so many more frames have passed, and put it back later (link time)."""

        def lift(_link: MemoryLink) -> None:
            self.contact_cuts += 1
            self.station.telemeter.lift()
            self.clock.call_at(self.clock.link_ms() + for_ms, self.station.telemeter.place)

        self._cut_at, self._cut = self.frames + after_frames, lift

    def cut_cable(self, after_frames: int) -> None:
        """Lose the link when so many more frames have passed."""

        def pull(link: MemoryLink) -> None:
            self.cable_cuts += 1
            asyncio.get_running_loop().call_soon(link.cut, "the cable was pulled")

        self._cut_at, self._cut = self.frames + after_frames, pull

    def cut_power(self, after_frames: int) -> None:
        """Let the pump lose its power, and have it again, when so many more frames have passed."""

        def cut(_link: MemoryLink) -> None:
            self.power_cuts += 1
            asyncio.get_running_loop().call_soon(self.mirror.cut_power)

        self._cut_at, self._cut = self.frames + after_frames, cut

    def tear(self, after_frames: int, after_bytes: int) -> None:
        """Let the pump lose its power within what it writes, from so many more frames on, and have it again."""

        def tear(_link: MemoryLink) -> None:
            self.station.tear_after_bytes = after_bytes

        self._cut_at, self._cut = self.frames + after_frames, tear

    def calm(self) -> None:
        """No cut is due any more."""
        self._cut_at = self.station.tear_after_bytes = None

    def ledger_says(self, transaction: str) -> Verdict | None:
        """The verdict in the pump's commit records, None without a record; looking changes nothing."""
        op_id = bytes.fromhex(transaction)
        return next((record.verdict for record in self.pump.device.core.ledger if record.op_id == op_id), None)

    async def close(self) -> None:
        """Give everything back."""
        self.mirror.close()
        await self.station.close()

    def _frame(self, link: MemoryLink) -> None:
        self.frames += 1
        if self._cut_at is not None and self.frames >= self._cut_at:
            self._cut_at = None
            self._cut(link)

    def _never(self, _link: MemoryLink) -> None:
        raise AssertionError("a cut without a cut")


class _FragileStation(Station):
    """A pump that may lose its power within what it writes for one frame, and is started again at once."""

    def __init__(self, world: World, entropy: Callable[[int], bytes], seed: int) -> None:
        super().__init__(world.pump, entropy=entropy, seed=seed)
        self._world = world
        self.tear_after_bytes: int | None = None

    def receive(self, frame: Frame) -> list[bytes]:
        after_bytes = self.tear_after_bytes
        if after_bytes is None:
            return super().receive(frame)
        device = self.sync()
        written = device.medium.bytes_written
        device.medium.arm_cut(after_bytes)
        try:
            answers = super().receive(frame)
        except PowerCut:
            self.tear_after_bytes = None
            self._world.torn, self._world.torn_writes = True, self._world.torn_writes + 1
            self._world.mirror.torn()
            return []
        device.medium.disarm()
        self.tear_after_bytes = after_bytes - (device.medium.bytes_written - written)
        return answers


class _Counted(Wrapper):
    """Tells of every frame that passes, either way."""

    def __init__(self, passed: Callable[[], None]) -> None:
        super().__init__()
        self._passed = passed

    def write(self, data: bytes) -> None:
        super().write(data)
        self._passed()

    def data_received(self, data: bytes) -> None:
        self._passed()
        super().data_received(data)

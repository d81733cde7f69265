"""The patient's side of a step: one virtual pump under one telemeter, and all that may go wrong on the way to it.

It is the same in process and behind a listener: every link of the equipment comes in by ``accept``. Faults act on this
side of it, and every frame is seen here, opened with the pump's own keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from telemetry.clock import ManualClock, ScaledClock
from telemetry.conform.results import EvidenceKind, FrameSeen
from telemetry.errors import BadPayload
from telemetry.link import frame_in
from telemetry.programmer import connect
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.protocol.codec import decode
from telemetry.protocol.credentials import test_pump_secrets, test_slots
from telemetry.protocol.plain import describe
from telemetry.protocol.wire import FrameType
from telemetry.sim.firmware import PumpFirmware
from telemetry.sim.pump.ledger import BENCH_SLOT, SYSTEM_SLOT
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.faults import Direction, FaultPlan, FaultRule
from telemetry.transport.memory import open_memory
from telemetry.transport.wrappers import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.clock import Clock
    from telemetry.conform.recorder import Recorder
    from telemetry.model import Role
    from telemetry.programmer import Programmer
    from telemetry.protocol.channel import SessionInfo
    from telemetry.protocol.frame import Frame
    from telemetry.protocol.messages import Message
    from telemetry.protocol.orders import Order
    from telemetry.sim.pump.ledger import CommitRecord
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.faults import Passage

_TO_PUMP, _FROM_PUMP = "to_pump", "from_pump"
_DIRECTIONS = {Direction.RX: _TO_PUMP, Direction.TX: _FROM_PUMP}
_TELEMETER = (FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT)
_LONG_FIELD = 80


class Tap(FaultPlan):
    """The faults of the links, which sees every frame on its way and tells what became of it."""

    def __init__(self, *, seed: int, seen: Callable[[Direction, bytes, str | None, int, str], None]) -> None:
        super().__init__(seed=seed)
        self._seen = seen

    def touches(self, direction: Direction) -> bool:  # noqa: ARG002 - the rules of none matter: all are looked at
        """Every frame is looked at."""
        return True

    def apply(self, direction: Direction, frame: bytes, frame_type: str | None, now_ms: int) -> list[Passage]:
        """Say what leaves for one frame, and tell of it."""
        leaving = super().apply(direction, frame, frame_type, now_ms)
        if not leaving:
            fate = "lost by the kit"
        elif len(leaving) > 1:
            fate = f"sent {len(leaving)} times or in pieces by the kit"
        elif leaving[0].data != frame:
            fate = "damaged by the kit"
        elif leaving[0].delay_ms or leaving[0].hold_ms:
            fate = "delayed by the kit"
        else:
            fate = ""
        self._seen(direction, frame, frame_type, now_ms, fate)
        return leaving


class _Misreading:
    """A device that understands another order than it was sent, and honestly reads back what it understood."""

    def __init__(self, device: Any, misread: Callable[[Order], Order]) -> None:  # noqa: ANN401 - all of a device
        self._device = device
        self._misread = misread

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._device, name)

    def check(self, order: Order) -> Any:  # noqa: ANN401 - the device's own record
        return self._device.check(self._misread(order))

    def stage(self, order: Order, digest: bytes) -> Any:  # noqa: ANN401 - as above
        return self._device.stage(self._misread(order), digest)


class KitFirmware(PumpFirmware):
    """The pump's firmware, for which every session may have less to say than its credential gave it."""

    as_role: Role | None = None

    def _dispatch(self, session: SessionInfo, request: Message | BadPayload) -> Message:
        if self.as_role is not None:
            session = replace(session, role=self.as_role)
        return super()._dispatch(session, request)


class KitStation(Station):
    """A station whose pump may misread orders, treat everybody as another role, or be changed for another pump."""

    misread: Callable[[Order], Order] | None = None
    as_role: Role | None = None
    lies_over: Station | None = None
    """The pump that the telemeter lies over now, where it is not this one."""

    def receive(self, frame: Frame) -> list[bytes]:
        """A frame reached the pump that the telemeter lies over."""
        return super().receive(frame) if self.lies_over is None else self.lies_over.receive(frame)

    def reboot(self) -> None:
        """Take ``misread`` and ``as_role`` into force: sessions are gone, as after a reset."""
        self.firmware = self._new_firmware()

    def _new_firmware(self) -> PumpFirmware:
        device = self.pump.device
        firmware = KitFirmware(
            device,
            secrets=test_pump_secrets(device.identity().pump_id),
            slots=test_slots(),
            entropy=self._entropy,
            tap=self._tap,
        )
        firmware.as_role = self.as_role
        if self.misread is not None:
            # The seam is the device, which parses nothing: what it is handed is what the firmware understood.
            firmware._transactions.device = _Misreading(device, self.misread)  # type: ignore[assignment]  # noqa: SLF001
        return firmware


class Bedside:
    """One pump, its telemeter, the links to it and what the kit does to them. ``close`` when the step is over."""

    def __init__(self, clock: Clock, record: Recorder, *, seed: int, serial: str, **pump: Any) -> None:  # noqa: ANN401 - settings of a VirtualPump
        self.clock = clock
        self._record = record
        self._seed = seed
        self._others: list[Station] = []
        self._transports: set[Transport] = set()
        self._listeners: list[Callable[[FrameSeen], None]] = []
        self._rivals = 0
        self._cutting: set[asyncio.Task[None]] = set()
        self.counted: Counter[tuple[str, str]] = Counter()
        """Frames seen so far, by direction and name."""
        self.began_ms = clock.link_ms()
        self.pump = VirtualPump(seed=seed, clock=clock, serial=serial, **pump)
        self.pump.take_events()
        self.station = KitStation(self.pump, entropy=Random(f"pump {serial} {seed}").randbytes, seed=seed)  # noqa: S311 - repeatable on purpose
        self.tap = Tap(seed=seed, seen=self._seen)
        self._life = (
            asyncio.create_task(self.station.run(clock), name=f"pump {serial}")
            if isinstance(clock, ScaledClock)
            else None
        )

    # --- links -------------------------------------------------------------------------------------------------------

    def accept(self, transport: Transport) -> Receiver:
        """Take a link of the equipment under test; every frame on it is seen, and meets the faults in force."""
        faulty = Fault(self.tap, self.clock, classifier=self._name)
        faulty.attach(transport)
        faulty.bind(self.station.accept(faulty))
        self._transports.add(transport)
        return faulty

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link in process, as ``telemetry.connect(pump=…)`` opens one."""
        return open_memory(receiver, self.accept, clock=self.clock, url="conform:")

    def opened(self, data: bytes) -> Message | None:
        """The message in these bytes as they are on the wire, None for what cannot be opened."""
        frame = frame_in(data)
        return None if frame is None else self._peek(frame)

    def _name(self, _direction: Direction, data: bytes) -> str | None:
        """What a frame is called: its message's name, else its type; None for what is no frame."""
        frame = frame_in(data)
        if frame is None:
            return None
        message = self._peek(frame)
        return frame.type.name if message is None else type(message).__name__

    def _peek(self, frame: Frame) -> Message | None:
        if frame.type in _TELEMETER:
            try:
                return decode(frame.body)
            except BadPayload:
                return None
        over = self.station.lies_over or self.station
        return over.firmware.channel.peek(frame)

    def _seen(self, direction: Direction, data: bytes, frame_type: str | None, now_ms: int, fate: str) -> None:
        frame = frame_in(data)
        opened = None if frame is None else self._peek(frame)
        seen = FrameSeen(
            at_ms=now_ms - self.began_ms + self._record.began_ms,
            direction=_DIRECTIONS[direction],
            message=frame_type or "no frame",
            size=len(data),
            fields={} if opened is None else _fields(opened),
            fate=fate,
        )
        self.counted[seen.direction, seen.message] += 1
        self._record.frame(seen)
        for listener in self._listeners:
            listener(seen)

    def on_frame(self, listener: Callable[[FrameSeen], None]) -> None:
        """Tell of every frame from now on."""
        self._listeners.append(listener)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def disturb(self, rule: str, words: str) -> FaultRule:
        """Put a fault rule in force, ``tx`` being the way *from* the pump; ``words`` tell it in the report."""
        self._record.tell(EvidenceKind.DISTURBANCE, words, rule)
        return self.tap.add(FaultRule.parse(rule))

    def dead_link(self) -> None:
        """From now on nothing passes, either way, and no end is told."""
        self.disturb("drop", "the link goes dead: no frame passes, either way")

    def calm(self) -> None:
        """No fault is in force any more."""
        self._record.tell(EvidenceKind.DISTURBANCE, "the link is sound again")
        self.tap.clear()

    async def cut(self) -> None:
        """Cut every link: both ends are told that it is gone."""
        self._record.tell(EvidenceKind.DISTURBANCE, "the link is cut")
        transports, self._transports = self._transports, set()
        for transport in transports:
            await transport.close()

    def cut_at_verdict(self) -> None:
        """The next verdict of the pump is lost, and every link is cut with it; once."""
        self.disturb("drop@tx/VerdictReport*1", "the link is cut as soon as the pump has decided")

        def cut(frame: FrameSeen) -> None:
            if frame.message == "VerdictReport" and frame.fate and not self._cutting:
                self._cutting.add(asyncio.create_task(self.cut(), name="cut"))

        self.on_frame(cut)

    def lift(self) -> None:
        """Take the telemeter off the skin."""
        self._record.tell(EvidenceKind.DISTURBANCE, "the telemeter is lifted off the skin")
        self.station.telemeter.lift()

    def place(self) -> None:
        """Lay it back."""
        self._record.tell(EvidenceKind.DISTURBANCE, "the telemeter is laid over the pump")
        self.station.telemeter.place()

    def misread(self, misread: Callable[[Order], Order], words: str) -> None:
        """From now on the pump understands another order than it is sent, and reads back what it understood."""
        self._record.tell(EvidenceKind.DISTURBANCE, words)
        self.station.misread = misread
        self.station.reboot()

    def treat_as(self, role: Role) -> None:
        """From now on the pump grants every session no more than this role may."""
        self._record.tell(EvidenceKind.DISTURBANCE, f"the pump grants every session no more than the role {role} may")
        self.station.as_role = role
        self.station.reboot()

    def put_other_pump(self, serial: str, **pump: Any) -> VirtualPump:  # noqa: ANN401 - settings of a VirtualPump
        """Lay the telemeter over another pump; the link stays up."""
        self._record.tell(EvidenceKind.DISTURBANCE, f"the telemeter is laid over another pump, serial {serial}")
        other = VirtualPump(seed=self._seed + 1, clock=self.clock, serial=serial, **pump)
        station = Station(other, entropy=Random(f"pump {serial} {self._seed}").randbytes, seed=self._seed)  # noqa: S311 - repeatable on purpose
        self._others.append(station)
        self.station.firmware.contact_lost()
        self.station.lies_over = station
        return other

    # --- time --------------------------------------------------------------------------------------------------------

    async def pass_ms(self, ms: int) -> None:
        """Let so much link time pass while nobody acts; therapy time goes along."""
        await pass_until(self.clock, self.clock.link_ms() + ms)

    def leap(self, ms: int) -> None:
        """Let so much therapy time pass at once (days, between two visits); open sessions end by it."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance(ms=ms)
        elif isinstance(self.clock, ScaledClock):
            self.clock.jump(ms)
        self.station.sync()

    # --- what is so --------------------------------------------------------------------------------------------------

    def decided(self, pump: VirtualPump | None = None) -> list[CommitRecord]:
        """Every operation that somebody on the wire had decided by the pump, oldest first."""
        ledger = (pump or self.pump).device.core.ledger
        records = [record for record in ledger if record.slot not in {BENCH_SLOT, SYSTEM_SLOT}]
        return sorted(records, key=lambda record: record.sequence)

    @contextlib.asynccontextmanager
    async def rival(self, role: Role | str = "clinician") -> AsyncIterator[Programmer]:
        """Another programmer at the same telemeter, on a clean link of its own that is not in the record."""
        self._rivals += 1
        entropy = Random(f"rival {self._rivals} {self._seed}").randbytes  # noqa: S311 - repeatable on purpose
        place = _Rival(self)
        async with connect(pump=place, role=role, journal=MemoryJournalStore(), entropy=entropy) as programmer:
            yield programmer

    async def close(self) -> None:
        """End everything."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait((self._life,))
        if self._cutting:
            await asyncio.wait(self._cutting)
        for transport in self._transports:
            await transport.close()
        for station in (self.station, *self._others):
            await station.close()


class _Rival:
    """The same telemeter for somebody else."""

    def __init__(self, bedside: Bedside) -> None:
        self.clock = bedside.clock
        self._station = bedside.station

    async def open_link(self, receiver: Receiver) -> Transport:
        return open_memory(receiver, self._station.accept, clock=self.clock, url="rival:")


async def pass_until(clock: Clock, link_ms: int) -> None:
    """Wait until link time reaches an instant; a ``ManualClock`` is moved there, step by step and without a jump."""
    if isinstance(clock, ManualClock):
        quiet = clock.add_activity(lambda: False)  # so that it may be moved although no link is open
        try:
            await clock.wait(asyncio.get_running_loop().create_future(), link_ms)
        finally:
            quiet()
    else:
        await clock.sleep_until(link_ms)


def _fields(message: Message) -> dict[str, str]:
    shown = {name: str(value) for name, value in describe(message).items() if name != "name"}
    shown.pop("token", None)  # of this session alone, and nobody's business in a report
    return {name: text if len(text) <= _LONG_FIELD else f"{text[:_LONG_FIELD]}…" for name, text in shown.items()}


__all__ = ["Bedside", "KitStation", "Tap", "pass_until"]

"""Set-rate commands over a bad link: does the driver's word always equal the pump's ledger?

The link drops, duplicates and corrupts each its share of the frames, both ways; the telemeter is lifted, and the cable
pulled, at random frames; the programmer is restarted now and then. Everything is drawn from one seed and nothing
waits for real time. The pump's side is read after the driver has given its word, never before.

Used by the suite (a slice) and by ``benchmarks/lossy_campaign.py`` (a thousand commands).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields
from random import Random
from typing import TYPE_CHECKING

import telemetry
from telemetry.clock import ManualClock
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused
from telemetry.model import Verdict, Warn
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.faults import FaultKind, FaultPlan, FaultRule
from telemetry.transport.memory import MemoryLink
from telemetry.transport.wrappers import Wrapper
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import PumpEvent
    from telemetry.programmer import Programmer
    from telemetry.transport.base import Receiver, Transport

FAULTY_PERCENT = 20
"""Each of drop, duplicate and corrupt strikes this share of all frames (issue 2)."""
CUT_PERCENT = 25
"""Attempts in which contact or cable is lost, should they last long enough."""
_CABLE_PERCENT = 30
"""Cuts that are the cable's."""
_RESTART_PERCENT = 5
_LAST_FRAME_BEFORE_CUT = 24
_LONGEST_LIFT_MS = 8_000
"""Beyond the five seconds after which the pump ends the session (trust.md 4.7)."""
_PATIENCE = 200
"""Tries to get one answer through; at these loss rates running out of them means that nothing gets through."""
_NORMAL_NL_PER_DAY = (150_000, 190_000)
_TOO_SLOW_NL_PER_DAY = 10_000
_TOO_FAST_NL_PER_DAY = 10_000_000
_FAR_NL_PER_DAY = 280_000


@dataclass(frozen=True, slots=True)
class Command:
    """A rate to set, and whether a sound pump applies it."""

    rate_nl_per_day: int
    accept: tuple[Warn, ...]
    allowed: bool


@dataclass(slots=True)
class Tally:
    """What happened. ``disagreements`` must be empty: each names a case in which driver and pump differ."""

    commands: int = 0
    applied: int = 0
    refused: int = 0
    attempts: int = 0
    nothing_sent: int = 0
    unknown: int = 0
    unknown_then: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    other_exceptions: Counter[str] = field(default_factory=Counter)
    contact_cuts: int = 0
    cable_cuts: int = 0
    restarts: int = 0
    frames: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    link_ms: int = 0
    disagreements: list[str] = field(default_factory=list)

    def as_figures(self) -> dict[str, object]:
        """Everything counted, as plain numbers by name."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values}


class World:
    """A pump, a telemeter over it, and a link (of datagrams or a stream) that can be cut at a chosen frame."""

    def __init__(self, seed: int, *, stream: bool = False) -> None:
        self._stream = stream
        self.clock = ManualClock()
        self.pump = VirtualPump(seed=seed, clock=self.clock)
        self.station = Station(self.pump, entropy=Random(f"{seed}/pump").randbytes, seed=seed)
        self.frames = 0
        self.contact_cuts = 0
        self.cable_cuts = 0
        self.committed: list[str] = []
        """What the pump's own event stream says was committed, by program sequence number."""
        self._cut_at: int | None = None
        self._cut: Callable[[MemoryLink], None] = self._never
        self._forget = self.pump.device.subscribe(self._event)

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

    def calm(self) -> None:
        """No cut is due any more."""
        self._cut_at = None

    def ledger_says(self, transaction: str) -> Verdict | None:
        """The verdict in the pump's commit records, None without a record; looking changes nothing."""
        op_id = bytes.fromhex(transaction)
        return next((record.verdict for record in self.pump.device.core.ledger if record.op_id == op_id), None)

    async def close(self) -> None:
        """Give everything back."""
        self._forget()
        await self.station.close()

    def _event(self, event: PumpEvent) -> None:
        if event.kind == "program_committed":
            self.committed.append(event.detail)

    def _frame(self, link: MemoryLink) -> None:
        self.frames += 1
        if self._cut_at is not None and self.frames >= self._cut_at:
            self._cut_at = None
            self._cut(link)

    def _never(self, _link: MemoryLink) -> None:
        raise AssertionError("a cut without a cut")


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


class Campaign:
    """Commands one after the other, each until it is applied or refused; ``tally`` grows as it goes."""

    def __init__(
        self,
        seed: int,
        *,
        stream: bool = False,
        faulty_percent: int = FAULTY_PERCENT,
        cut_percent: int = CUT_PERCENT,
    ) -> None:
        self.tally = Tally()
        self._seed = seed
        self._cut_percent = cut_percent
        self._draw = Random(f"{seed}/commands")
        self._world = World(seed, stream=stream)
        kinds = (FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.CORRUPT)
        self._faults = FaultPlan([FaultRule(kind, probability=faulty_percent / 100) for kind in kinds], seed=seed)
        self._journals = MemoryJournalStore()
        self._entropy = Random(f"{seed}/programmer").randbytes
        self._held = AsyncExitStack()
        self._applied_words = 0

    async def run(self, commands: int) -> Tally:
        """Carry out so many commands and compare; then one quiet look at the whole."""
        programmer = await self._connect()
        try:
            for _ in range(commands):
                if self._chance(_RESTART_PERCENT):
                    self.tally.restarts += 1
                    programmer = await self._connect()
                await self._carry_through(programmer, self._command())
                self.tally.commands += 1
        finally:
            self._world.calm()
            await self._held.aclose()
            await self._world.close()
        self._book()
        return self.tally

    async def _connect(self) -> Programmer:
        await self._held.aclose()
        return await self._held.enter_async_context(
            telemetry.connect(pump=self._world, journal=self._journals, faults=self._faults, entropy=self._entropy)
        )

    def _command(self) -> Command:
        kind = self._draw.randrange(100)
        everything = tuple(Warn)
        if kind < 4:
            return Command(_TOO_SLOW_NL_PER_DAY, everything, allowed=False)
        if kind < 8:
            return Command(_TOO_FAST_NL_PER_DAY, everything, allowed=False)
        if kind < 14:
            return Command(_FAR_NL_PER_DAY, (), allowed=False)
        return Command(self._draw.randint(*_NORMAL_NL_PER_DAY), everything, allowed=True)

    async def _carry_through(self, programmer: Programmer, command: Command) -> None:
        for _ in range(_PATIENCE):
            self._maybe_cut()
            settled = await self._attempt(programmer, command)
            self._compare(command)
            if settled:
                return
            if self._chance(50):
                self._world.station.telemeter.place()
        self._disagree(f"{command}: not settled in {_PATIENCE} attempts")

    async def _attempt(self, programmer: Programmer, command: Command) -> bool:
        """Try once; True when the command is over, by the driver's word."""
        self.tally.attempts += 1
        try:
            change = await programmer.set_rate(FlowRate(command.rate_nl_per_day), accept=command.accept)
        except Refused as refused:
            self._refused(command, refused.reason, refused.transaction)
            return True
        except OutcomeUnknown as unknown:
            self.tally.unknown += 1
            return await self._find_out(programmer, command, unknown.transaction)
        except LinkError:
            self.tally.nothing_sent += 1
            return False
        except Exception as error:  # noqa: BLE001 - that there is no fifth way is what is being measured
            self.tally.other_exceptions[type(error).__name__] += 1
            self._disagree(f"{command}: {type(error).__name__}: {error}")
            return True
        self._applied(command, change.transaction)
        return True

    async def _find_out(self, programmer: Programmer, command: Command, transaction: str) -> bool:
        """Bring the telemeter back and interrogate, until the driver has told what became of the operation."""
        for _ in range(_PATIENCE):
            self._world.station.telemeter.place()
            try:
                await programmer.read_status()
            except (LinkError, PeerError, Refused):
                continue
            outcome = next((each for each in programmer.resolved if each.transaction == transaction), None)
            if outcome is None:
                break
            self.tally.unknown_then[outcome.verdict.value] += 1
            if outcome.verdict is Verdict.APPLIED:
                self._applied(command, transaction)
            else:
                self._refused(command, outcome.verdict.value, transaction)
            return True
        self._disagree(f"{command}: {transaction} was never resolved")
        return True

    def _applied(self, command: Command, transaction: str) -> None:
        self.tally.applied += 1
        self._applied_words += 1
        if self._world.ledger_says(transaction) is not Verdict.APPLIED:
            self._disagree(f"{command}: the driver says applied, the ledger {self._world.ledger_says(transaction)}")
        if self._world.pump.truth.rate_nl_per_day != command.rate_nl_per_day:
            self._disagree(f"{command}: applied, and the pump runs {self._world.pump.truth.rate_nl_per_day} nl/day")
        if not command.allowed:
            self._disagree(f"{command}: applied against the pump's limits")

    def _refused(self, command: Command, reason: str, transaction: str) -> None:
        self.tally.refused += 1
        self.tally.refusals[reason] += 1
        if transaction and self._world.ledger_says(transaction) is Verdict.APPLIED:
            self._disagree(f"{command}: the driver says refused ({reason}), the ledger applied")
        if command.allowed and reason != Verdict.NEVER.value:
            self._disagree(f"{command}: within all limits, and refused ({reason})")

    def _compare(self, command: Command) -> None:
        """What the pump committed is what the driver said was applied, each once, and nothing else."""
        committed = self._world.committed
        if len(committed) != self._applied_words:
            self._disagree(f"{command}: {self._applied_words} words of applied, {len(committed)} commits in the pump")
            self._applied_words = len(committed)
        if len(set(committed)) != len(committed):
            self._disagree(f"{command}: a program sequence number was given twice")

    def _maybe_cut(self) -> None:
        if not self._chance(self._cut_percent):
            self._world.calm()
            return
        after = self._draw.randint(1, _LAST_FRAME_BEFORE_CUT)
        if self._chance(_CABLE_PERCENT):
            self._world.cut_cable(after)
        else:
            self._world.cut_contact(after, self._draw.randint(0, _LONGEST_LIFT_MS))

    def _chance(self, percent: int) -> bool:
        return self._draw.randrange(100) < percent

    def _disagree(self, case: str) -> None:
        self.tally.disagreements.append(f"seed {self._seed}, command {self.tally.commands}: {case}")

    def _book(self) -> None:
        self.tally.frames = self._world.frames
        self.tally.contact_cuts, self.tally.cable_cuts = self._world.contact_cuts, self._world.cable_cuts
        self.tally.link_ms = self._world.clock.link_ms()
        for rule in self._faults.rules:
            self.tally.faults[rule.kind.value] = rule.hits

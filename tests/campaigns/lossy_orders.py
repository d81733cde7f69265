"""Changes of every kind over a bad link: does the driver's word always equal what the pump did, exactly once?

The link drops, duplicates and corrupts each its share of the frames, both ways; the telemeter is lifted, the cable
pulled and the pump's power cut at random frames, or within a write; the programmer is restarted now and then.
Everything is drawn from one seed and nothing waits for real time. The pump's side is read after the driver has given
its word, never before; what it did is held against a second pump that got the same once (``mirror.py``).

Used by the suite (a slice) and by ``benchmarks/lossy_campaign.py`` (three times a thousand commands).
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields
from random import Random
from typing import TYPE_CHECKING

import telemetry
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused
from telemetry.model import Activity, OperationKind, Role, Verdict
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.transport.faults import FaultKind, FaultPlan, FaultRule
from telemetry.units import MS_PER_HOUR
from tests.campaigns import commands
from tests.campaigns.lossy_world import TORN_WITHIN_BYTES, World
from tests.campaigns.mirror import EFFECTS

if TYPE_CHECKING:
    from telemetry.programmer import Programmer
    from tests.campaigns.commands import Command

FAULTY_PERCENT = 20
"""Each of drop, duplicate and corrupt strikes this share of all frames (issue 2)."""
CUT_PERCENT = 30
"""Attempts in which contact, cable or power is lost, should they last long enough."""
_CABLE_PERCENT, _POWER_PERCENT, _TORN_PERCENT = 25, 10, 15
"""Cuts that are the cable's, and the power's: between two frames, or within a write."""
_RESTART_PERCENT = 5
_LAST_FRAME_BEFORE_CUT = 40
_LONGEST_LIFT_MS = 8_000
"""Beyond the five seconds after which the pump ends the session (trust.md 4.7)."""
_PATIENCE = 200
"""Tries to get one answer through; at these loss rates running out of them means that nothing gets through."""
_LONGEST_PAUSE_MS = 12 * MS_PER_HOUR


@dataclass(slots=True)
class Tally:
    """What happened. ``disagreements`` must be empty: each names a case in which driver and pump differ."""

    commands: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    applied: int = 0
    applied_kinds: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    attempts: int = 0
    nothing_sent: int = 0
    unknown: int = 0
    unknown_then: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    other_exceptions: Counter[str] = field(default_factory=Counter)
    contact_cuts: int = 0
    cable_cuts: int = 0
    power_cuts: int = 0
    torn_writes: int = 0
    restarts: int = 0
    frames: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    link_ms: int = 0
    disagreements: list[str] = field(default_factory=list)

    def as_figures(self) -> dict[str, object]:
        """Everything counted, as plain numbers by name."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: dict(sorted(value.items())) if isinstance(value, Counter) else value for name, value in values}


class Campaign:
    """Commands one after the other, each until it is applied or refused; ``tally`` grows as it goes.

    ``only``: draw no other kind than this.
    """

    def __init__(
        self,
        seed: int,
        *,
        profile: str = "itb-20",
        stream: bool = False,
        faulty_percent: int = FAULTY_PERCENT,
        cut_percent: int = CUT_PERCENT,
        only: OperationKind | None = None,
    ) -> None:
        self.tally = Tally()
        self._seed = seed
        self._cut_percent = cut_percent
        self._only = only
        self._draw = Random(f"{seed}/commands")
        self._world = World(seed, profile=profile, stream=stream, differ=self._disagree)
        kinds = (FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.CORRUPT)
        self._faults = FaultPlan([FaultRule(kind, probability=faulty_percent / 100) for kind in kinds], seed=seed)
        self._journals = MemoryJournalStore()
        self._entropy = Random(f"{seed}/programmer").randbytes
        self._held = AsyncExitStack()
        self._role = Role.CLINICIAN

    async def run(self, count: int) -> Tally:
        """Carry out so many commands and compare; then one quiet look at the whole."""
        programmer = await self._connect(self._role)
        try:
            for _ in range(count):
                self._let_time_pass()
                command = self._next()
                if command.role is not self._role or self._chance(_RESTART_PERCENT):
                    self.tally.restarts += 1
                    programmer = await self._connect(command.role)
                await self._carry_through(programmer, command)
                self.tally.commands += 1
                self.tally.kinds[command.kind.value] += 1
        finally:
            self._world.calm()
            await self._held.aclose()
            await self._world.close()
        self._book()
        return self.tally

    def _next(self) -> Command:
        device = self._world.pump.device
        if self._only is None:
            return commands.draw(device, self._draw)
        return commands.of_kind(self._only, device, self._draw)

    def _let_time_pass(self) -> None:
        """Nothing at all, some hours, or until the end of what runs on top of the program."""
        world, kind = self._world, self._draw.randrange(4)
        if kind == 0:
            return
        ends_ms = world.pump.status.activity_ends_ms
        if ends_ms is not None and kind < 3:
            world.pump.advance_to(ends_ms + 1_000)
        elif commands.busy_with(world.pump.device) is not Activity.BRIDGE:
            world.pump.advance(ms=self._draw.randrange(_LONGEST_PAUSE_MS))

    async def _connect(self, role: Role) -> Programmer:
        await self._held.aclose()
        self._role = role
        return await self._held.enter_async_context(
            telemetry.connect(
                pump=self._world, role=role, journal=self._journals, faults=self._faults, entropy=self._entropy
            )
        )

    async def _carry_through(self, programmer: Programmer, command: Command) -> None:
        self._world.torn = False
        self._world.mirror.take(command)
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
            change = await command.send(programmer)
        except Refused as refused:
            self._refused(command, refused.reason, refused.transaction)
            return True
        except OutcomeUnknown as unknown:
            self.tally.unknown += 1
            return await self._find_out(programmer, command, unknown.transaction)
        except LinkError:
            self.tally.nothing_sent += 1
            if self._world.mirror.acted:
                self._disagree(f"{command}: the driver says that nothing was sent, and the pump acted")
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
        self.tally.applied_kinds[command.kind.value] += 1
        if self._world.ledger_says(transaction) is not Verdict.APPLIED:
            self._disagree(f"{command}: the driver says applied, the ledger {self._world.ledger_says(transaction)}")
        if self._world.mirror.acted != 1:
            self._disagree(f"{command}: the driver says applied, and the pump acted {self._world.mirror.acted} times")
        seen = self._world.mirror.seen
        if not self._world.torn and any(seen[mark] != 1 for mark in EFFECTS[command.kind]):
            self._disagree(f"{command}: applied, and not whole: {dict(seen)}")

    def _refused(self, command: Command, reason: str, transaction: str) -> None:
        self.tally.refused += 1
        self.tally.refusals[reason] += 1
        if transaction and self._world.ledger_says(transaction) is Verdict.APPLIED:
            self._disagree(f"{command}: the driver says refused ({reason}), the ledger applied")
        if self._world.mirror.acted:
            self._disagree(f"{command}: the driver says refused ({reason}), and the pump acted")
        if reason == Verdict.NEVER.value or reason in command.wire_only:
            return
        other = self._world.mirror.refuses(command)
        if reason not in {other, Verdict.REFUSED.value} or not other:
            self._disagree(f"{command}: refused ({reason}), and a pump at the bench says {other or 'yes'}")

    def _compare(self, command: Command) -> None:
        """What the pump is, is what the pump beside it is that got each change once; no operation has two records."""
        if self._world.mirror.acted > 1:
            self._disagree(f"{command}: the pump acted {self._world.mirror.acted} times")
        self._world.mirror.compare()
        applied = [
            r.op_id for r in self._world.pump.device.core.ledger if r.verdict is Verdict.APPLIED and r.slot < 254
        ]
        if len(applied) != len(set(applied)):
            self._disagree(f"{command}: an operation has two records")

    def _maybe_cut(self) -> None:
        self._world.calm()
        if not self._chance(self._cut_percent):
            return
        after, kind = self._draw.randint(1, _LAST_FRAME_BEFORE_CUT), self._draw.randrange(100)
        if kind < _CABLE_PERCENT:
            self._world.cut_cable(after)
        elif kind < _CABLE_PERCENT + _POWER_PERCENT:
            self._world.cut_power(after)
        elif kind < _CABLE_PERCENT + _POWER_PERCENT + _TORN_PERCENT:
            self._world.tear(1, self._draw.randrange(TORN_WITHIN_BYTES))
        else:
            self._world.cut_contact(after, self._draw.randint(0, _LONGEST_LIFT_MS))

    def _chance(self, percent: int) -> bool:
        return self._draw.randrange(100) < percent

    def _disagree(self, case: str) -> None:
        self.tally.disagreements.append(f"seed {self._seed}, command {self.tally.commands}: {case}")

    def _book(self) -> None:
        world = self._world
        self.tally.frames, self.tally.link_ms = world.frames, world.clock.link_ms()
        self.tally.contact_cuts, self.tally.cable_cuts = world.contact_cuts, world.cable_cuts
        self.tally.power_cuts, self.tally.torn_writes = world.power_cuts, world.torn_writes
        for rule in self._faults.rules:
            self.tally.faults[rule.kind.value] = rule.hits

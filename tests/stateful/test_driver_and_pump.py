"""A driver, a damaged link, a pump that loses power and a person who walks away, in any order, for changes of any kind.

The model knows no frames: it knows what the driver said of each operation, how often the pump acted for it, and a
second pump that was given each change once (``tests/campaigns/mirror.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import telemetry
from telemetry import LinkError, OutcomeUnknown, Refused
from telemetry.model import OperationKind, Role, Verdict
from telemetry.programmer.journal import MemoryJournalStore, Stage
from telemetry.protocol.credentials import test_credential
from telemetry.sim.pump.ledger import LARGEST_SLOT
from telemetry.transport.faults import FaultPlan
from tests.campaigns import commands
from tests.campaigns.lossy_world import TORN_WITHIN_BYTES, World
from tests.support.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from telemetry.programmer import Programmer
    from telemetry.programmer.journal import JournalEntry
    from tests.campaigns.commands import Command

Result = TypeVar("Result")

SLOTS = {role: test_credential(role).slot for role in (Role.CLINICIAN, Role.PATIENT)}
FAULTS = (
    "",
    "drop:0.3",
    "corrupt:0.3",
    "duplicate:0.5",
    "drop:1@rx/VerdictReport",
    "drop:1@tx/Commit",
    "drop:1@rx/VerdictReport*4",
    "drop:1@rx/Staged",
    "duplicate:1@tx/Commit",
    "drop:1@tx/PatientBolus",
    "truncate:0.2,drop:0.1",
    "drop:1",
)
KINDS = st.sampled_from(list(OperationKind))
SEEDS = st.integers(0, 2**32)


class DriverAndPump(RuleBasedStateMachine):
    """Rules act; after each, driver's word, journal, ledger and both pumps must tell one story."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.store = MemoryJournalStore()
        self.seed = 0
        self.cases: list[str] = []
        self.acted: dict[str, int] = {}
        """How often the pump acted for each operation."""

    @initialize(profile=st.sampled_from(("itb-20", "valve-20")))
    def make(self, profile: str) -> None:
        self.world = World(2, profile=profile, differ=self.cases.append)

    def teardown(self) -> None:
        self.loop.close()

    def entries(self) -> list[JournalEntry]:
        pump_id = self.world.pump.device.pump_id
        return [entry for slot in SLOTS.values() for entry in self.store.journal(pump_id, slot).entries()]

    @property
    def unknown(self) -> list[str]:
        return [entry.op_id for entry in self.entries() if entry.stage is Stage.SENT]

    def run(
        self,
        use: Callable[[Programmer], Coroutine[object, object, Result]],
        faults: str = "",
        role: Role = Role.CLINICIAN,
    ) -> Result:
        async def session() -> Result:
            self.seed += 1
            plan = FaultPlan.parse(faults, seed=self.seed) if faults else None
            async with telemetry.connect(
                pump=self.world, journal=self.store, faults=plan, role=role, entropy=Random(self.seed).randbytes
            ) as programmer:
                return await use(programmer)

        return self.loop.run_until_complete(session())

    def attempt(
        self,
        command: Command,
        faults: str,
        use: Callable[[Programmer], Coroutine[object, object, telemetry.Change]],
    ) -> None:
        """One change; anything but the four outcomes fails the test, as does a word that is not what the pump did."""
        before, said, unknown = {entry.op_id for entry in self.entries()}, "cancelled", ""
        self.world.torn = False
        self.world.mirror.take(command)
        try:
            change = self.run(use, faults, command.role)
        except Refused as refusal:
            said = f"refused: {refusal}"
        except OutcomeUnknown as error:
            said, unknown = "unknown", error.transaction
        except LinkError as error:
            said = f"nothing sent: {error}"
        else:
            said = "applied"
            assert self.world.ledger_says(change.transaction) is Verdict.APPLIED
        finally:
            self.world.calm()
            taken = [entry for entry in self.entries() if entry.op_id not in before]
            self.acted |= {entry.op_id: self.world.mirror.acted for entry in taken}
        hypothesis.event(f"{command.kind} {said.partition(':')[0]}")
        assert len(taken) <= 1
        if said == "applied":
            assert self.world.mirror.acted == 1
            assert taken[0].stage is Stage.APPLIED
        elif said == "unknown":
            assert unknown in self.unknown
        else:
            assert not self.world.mirror.acted, said

    # --- what the driver is asked for --------------------------------------------------------------------------------

    @rule(kind=KINDS, seed=SEEDS, faults=st.sampled_from(FAULTS))
    def change(self, kind: OperationKind, seed: int, faults: str) -> None:
        command = commands.of_kind(kind, self.world.pump.device, Random(seed))
        self.attempt(command, faults, _sending(command))

    @rule(kind=KINDS, seed=SEEDS, frames=st.integers(1, 40), trouble=st.sampled_from(("contact", "cable", "power")))
    def change_with_a_cut(self, kind: OperationKind, seed: int, frames: int, trouble: str) -> None:
        command = commands.of_kind(kind, self.world.pump.device, Random(seed))
        if trouble == "contact":
            self.world.cut_contact(frames, for_ms=seed % 8_000)
        elif trouble == "cable":
            self.world.cut_cable(frames)
        else:
            self.world.cut_power(frames)
        self.attempt(command, "", _sending(command))

    @rule(kind=KINDS, seed=SEEDS, written=st.integers(0, TORN_WITHIN_BYTES))
    def change_with_a_torn_write(self, kind: OperationKind, seed: int, written: int) -> None:
        command = commands.of_kind(kind, self.world.pump.device, Random(seed))
        self.world.tear(1, written)
        self.attempt(command, "", _sending(command))

    @rule(kind=KINDS, seed=SEEDS, turns=st.integers(0, 200))
    def walk_away(self, kind: OperationKind, seed: int, turns: int) -> None:
        """The caller is cancelled somewhere in the middle."""
        command = commands.of_kind(kind, self.world.pump.device, Random(seed))

        async def use(programmer: Programmer) -> telemetry.Change:
            asking = asyncio.ensure_future(_sending(command)(programmer))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            return await asking

        with contextlib.suppress(asyncio.CancelledError):  # the journal says what may have gone out
            self.attempt(command, "", use)

    @rule()
    def interrogate(self) -> None:
        """One clean contact of each role settles everything that was unknown, once nobody else has the pump."""
        self.world.station.telemeter.place()
        self.world.pump.advance(minutes=1)
        self.run(lambda programmer: programmer.read_status())
        self.run(lambda programmer: programmer.read_status(), role=Role.PATIENT)
        assert not self.unknown

    # --- what happens besides ----------------------------------------------------------------------------------------

    @rule(seed=SEEDS)
    def somebody_refills_at_the_bench(self, seed: int) -> None:
        command = commands.refill(self.world.pump.device, Random(seed))
        self.world.mirror.take(command)
        try:
            command.act(self.world.pump.device)
        except Refused:
            assert self.world.mirror.acted == 0
        else:
            assert self.world.mirror.acted == 1

    def _busy(self) -> bool:
        return commands.busy_with(self.world.pump.device) in {"bolus", "patient_bolus", "prime"}

    @rule(bars=st.sampled_from((0, 1, 5)))
    def move_the_telemeter(self, bars: int) -> None:
        self.world.station.telemeter.place(bars)

    @rule(hours=st.integers(0, 120))
    def let_time_pass(self, hours: int) -> None:
        self.world.pump.advance(hours=hours)

    @precondition(lambda self: self._busy())
    @rule()
    def wait_for_the_end(self) -> None:
        ends_ms = self.world.pump.status.activity_ends_ms
        assert ends_ms is not None
        self.world.pump.advance_to(ends_ms + 1_000)

    @rule()
    def cut_the_power(self) -> None:
        self.world.mirror.cut_power()

    # --- what must be so ---------------------------------------------------------------------------------------------

    @invariant()
    def inv_19_both_pumps_are_the_same(self) -> None:
        self.world.mirror.compare()
        assert self.cases == []

    @invariant()
    def inv_20_and_21_the_journal_is_what_the_pump_did(self) -> None:
        wanted = {Stage.APPLIED: 1, Stage.REFUSED: 0, Stage.ABANDONED: 0}
        for entry in self.entries():
            if entry.stage in wanted:
                assert self.acted[entry.op_id] == wanted[entry.stage], entry
                applied = self.world.ledger_says(entry.op_id) is Verdict.APPLIED
                assert applied is (entry.stage is Stage.APPLIED), entry

    @invariant()
    def inv_19_every_effect_has_one_record(self) -> None:
        kept = [record for record in self.world.pump.device.core.ledger if record.slot <= LARGEST_SLOT]
        applied = [record.op_id.hex() for record in kept if record.verdict is Verdict.APPLIED]
        assert len(applied) == len(set(applied))
        assert all(self.acted.get(op_id) == 1 for op_id in applied), "the pump applied what nobody was told about"

    @invariant()
    def inv_35_no_drop_is_lost(self) -> None:
        assert self.world.pump.ledger.balance_nl == 0


def _sending(command: Command) -> Callable[[Programmer], Coroutine[object, object, telemetry.Change]]:
    async def use(programmer: Programmer) -> telemetry.Change:
        return await command.send(programmer)

    return use


@pytest.mark.inv(19)
@pytest.mark.inv(20)
@pytest.mark.inv(21)
@pytest.mark.inv(22)
@pytest.mark.inv(35)
@pytest.mark.timeout(240)
def test_inv_19_to_22_driver_journal_and_ledger_tell_one_story() -> None:
    run_state_machine_as_test(
        DriverAndPump,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            report_multiple_bugs=False,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )

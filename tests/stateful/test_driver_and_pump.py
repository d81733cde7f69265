"""A driver, a damaged link, a pump that loses power and a person who walks away, in any order.

The model knows no frames: it knows which operations the driver called applied, refused or unknown, and asks the
pump's own ledger about each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import telemetry
from telemetry import FlowRate, LinkError, OutcomeUnknown, Refused, VirtualPump
from telemetry.model import PumpMode, Role, Verdict, Warn
from telemetry.programmer.journal import MemoryJournalStore, Stage
from telemetry.protocol.credentials import test_credential
from telemetry.sim.connector import station_of
from telemetry.transport.faults import FaultPlan
from tests.support.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from telemetry.programmer import Programmer

Result = TypeVar("Result")

SLOT = test_credential(Role.CLINICIAN).slot
FAULTS = (
    "",
    "drop:0.3",
    "corrupt:0.3",
    "duplicate:0.5",
    "drop:1@rx/VerdictReport",
    "drop:1@tx/Commit",
    "drop:1@rx/VerdictReport*4",
    "drop:1@rx/Staged",
    "truncate:0.2,drop:0.1",
    "drop:1",
)
RATES = (150_000, 160_000, 170_000, 180_000)


class DriverAndPump(RuleBasedStateMachine):
    """Rules act; after each, driver's word, journal and ledger must tell one story."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.pump = VirtualPump(seed=2)
        self.store = MemoryJournalStore()
        self.seed = 0
        self.applied: dict[str, int] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()

    def teardown(self) -> None:
        self.loop.close()

    def run(self, use: Callable[[Programmer], Coroutine[object, object, Result]], faults: str) -> Result:
        async def session() -> Result:
            self.seed += 1
            plan = FaultPlan.parse(faults, seed=self.seed) if faults else None
            async with telemetry.connect(pump=self.pump, journal=self.store, faults=plan) as programmer:
                return await use(programmer)

        return self.loop.run_until_complete(session())

    def attempt(self, use: Callable[[Programmer], Coroutine[object, object, telemetry.Change]], faults: str) -> None:
        """One therapy change; books the driver's word. Anything but the four outcomes fails the test."""
        was_unknown = bool(self.unknown)
        before = self.pump.device.ledger_sequence
        try:
            change = self.run(use, faults)
        except Refused as refusal:
            if refusal.transaction:
                self.refused.add(refusal.transaction)
        except OutcomeUnknown as unknown:
            self.unknown.add(unknown.transaction)
        except LinkError:
            # Nothing therapy-related happened; the memory of a refused COMMIT may have been written before.
            assert was_unknown or self.pump.device.ledger_sequence == before
        else:
            self.applied[change.transaction] = change.after.rate_nl_per_day
        self.follow_up()

    def follow_up(self) -> None:
        """What the journal has found out since about operations that were unknown."""
        for entry in self.store.journal(self.pump.device.pump_id, SLOT).entries():
            if entry.op_id in self.unknown and entry.stage is not Stage.SENT:
                self.unknown.discard(entry.op_id)
                if entry.stage is Stage.APPLIED:
                    self.applied[entry.op_id] = -1
                else:
                    self.refused.add(entry.op_id)

    @rule(rate=st.sampled_from(RATES), faults=st.sampled_from(FAULTS))
    def set_rate(self, rate: int, faults: str) -> None:
        self.attempt(lambda programmer: programmer.set_rate(FlowRate(rate), accept=tuple(Warn)), faults)

    @rule(faults=st.sampled_from(FAULTS))
    def stop(self, faults: str) -> None:
        self.attempt(lambda programmer: programmer.stop(), faults)

    @rule(faults=st.sampled_from(FAULTS))
    def resume(self, faults: str) -> None:
        self.attempt(lambda programmer: programmer.resume(accept=tuple(Warn)), faults)

    @rule(turns=st.integers(0, 60))
    def walk_away(self, turns: int) -> None:
        """The caller is cancelled somewhere in the middle."""

        async def use(programmer: Programmer) -> telemetry.Change:
            setting = asyncio.ensure_future(programmer.set_rate(FlowRate(RATES[turns % 4]), accept=tuple(Warn)))
            for _ in range(turns):
                await asyncio.sleep(0)
            setting.cancel()
            return await setting

        try:
            self.attempt(use, "")
        except asyncio.CancelledError:
            journal = self.store.journal(self.pump.device.pump_id, SLOT)
            self.unknown |= {entry.op_id for entry in journal.entries() if entry.stage is Stage.SENT}

    @rule(bars=st.sampled_from((0, 1, 5)))
    def move_the_telemeter(self, bars: int) -> None:
        station_of(self.pump).telemeter.place(bars)

    @rule(hours=st.integers(0, 200))
    def let_time_pass(self, hours: int) -> None:
        self.pump.advance(hours=hours)

    @rule()
    def cut_the_power(self) -> None:
        self.pump.inject("power_cut")

    @precondition(lambda self: self.pump.status.mode is not PumpMode.END_OF_SERVICE)
    @rule()
    def refill(self) -> None:
        self.pump.refill()

    @rule()
    def interrogate(self) -> None:
        """A clean contact settles everything that was unknown."""
        station_of(self.pump).telemeter.place()
        self.run(lambda programmer: programmer.read_status(), "")
        self.follow_up()
        assert not self.unknown

    @invariant()
    def inv_20_applied_means_applied(self) -> None:
        for transaction in self.applied:
            record = self.pump.device.query(SLOT, bytes.fromhex(transaction))
            assert record.verdict in {Verdict.APPLIED, Verdict.FORGOTTEN}, transaction

    @invariant()
    def inv_21_refused_means_never(self) -> None:
        for transaction in self.refused:
            record = self.pump.device.query(SLOT, bytes.fromhex(transaction))
            assert record.verdict is not Verdict.APPLIED, transaction

    @invariant()
    def inv_19_every_effect_has_one_record(self) -> None:
        kept = [record for record in self.pump.device.core.ledger if record.slot == SLOT]
        applied = [record.op_id for record in kept if record.verdict is Verdict.APPLIED]
        assert len(applied) == len(set(applied))
        claimed = {bytes.fromhex(transaction) for transaction in (*self.applied, *self.unknown)}
        assert set(applied) <= claimed, "the pump applied something that nobody was told about"

    @invariant()
    def inv_35_no_drop_is_lost(self) -> None:
        assert self.pump.ledger.balance_nl == 0


@pytest.mark.inv(19)
@pytest.mark.inv(20)
@pytest.mark.inv(21)
@pytest.mark.inv(22)
@pytest.mark.inv(35)
@pytest.mark.timeout(120)
def test_inv_19_to_22_driver_journal_and_ledger_tell_one_story() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(DriverAndPump, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))

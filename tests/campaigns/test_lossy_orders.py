from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from telemetry.model import Activity, OperationKind, Verdict
from telemetry.sim.pump import activity
from telemetry.sim.pump.ledger import BENCH_SLOT
from tests.campaigns import commands
from tests.campaigns.lossy_orders import Campaign
from tests.campaigns.lossy_world import World
from tests.campaigns.mirror import Mirror

if TYPE_CHECKING:
    from telemetry.model import PumpEvent
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.device import PumpDevice

COMMANDS = 60


@pytest.mark.inv(19)
@pytest.mark.inv(20)
@pytest.mark.inv(21)
@pytest.mark.parametrize(
    ("seed", "profile", "stream"),
    [(1, "itb-20", False), (20_261_122, "valve-20", False), (2, "itb-40", True), (3, "sensor-40", False)],
)
async def test_inv_19_20_21_the_drivers_word_is_what_the_pump_did_once_however_bad_the_link(
    seed: int, profile: str, *, stream: bool
) -> None:
    tally = await Campaign(seed, profile=profile, stream=stream).run(COMMANDS)
    assert tally.disagreements == []
    assert tally.commands == tally.applied + tally.refused == COMMANDS
    assert not tally.other_exceptions
    assert tally.unknown == tally.unknown_then.total()


@pytest.mark.inv(19)
@pytest.mark.inv(20)
@pytest.mark.parametrize("kind", list(OperationKind))
async def test_inv_19_20_every_kind_is_applied_over_the_bad_link_exactly_once(kind: OperationKind) -> None:
    seed, profile = 7, "valve-20"
    tally = await Campaign(seed, profile=profile, only=kind).run(25)
    assert tally.disagreements == []
    if kind not in {OperationKind.RESUME, OperationKind.PATIENT_BOLUS}:  # nothing is stopped, nothing prescribed
        assert tally.applied_kinds[kind.value] > 5


async def test_the_link_really_is_bad() -> None:
    for stream in (False, True):
        tally = await Campaign(2, stream=stream, cut_percent=60).run(COMMANDS)
        assert set(tally.faults) == {"drop", "duplicate", "corrupt"}
        assert min(tally.faults.values()) > tally.frames // 10
        assert min(tally.contact_cuts, tally.cable_cuts, tally.power_cuts, tally.torn_writes) > 0
        assert min(tally.unknown, tally.nothing_sent) > 0
        assert tally.disagreements == []


async def test_the_same_seed_is_the_same_campaign() -> None:
    assert await Campaign(3).run(15) == await Campaign(3).run(15)


async def test_a_clean_link_needs_one_attempt_a_command() -> None:
    tally = await Campaign(4, faulty_percent=0, cut_percent=0).run(120)
    assert tally.attempts == 120
    assert tally.unknown == tally.nothing_sent == 0
    assert tally.disagreements == []
    assert set(tally.kinds) == set(OperationKind)
    assert set(tally.applied_kinds) == set(OperationKind) - {OperationKind.PATIENT_BOLUS}


async def test_most_of_what_is_drawn_is_applied() -> None:
    tally = await Campaign(5, profile="valve-20").run(120)
    assert tally.applied > 80
    assert tally.applied_kinds["patient_bolus"] > 0


# --- the campaign finds what it is there to find ---------------------------------------------------------------------


async def test_a_ledger_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "ledger_says", lambda _world, _transaction: Verdict.REFUSED)
    tally = await Campaign(5, faulty_percent=0, cut_percent=0).run(5)
    assert len(tally.disagreements) >= tally.applied > 0


async def test_a_change_that_acts_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Mirror._event

    def twice(mirror: Mirror, event: PumpEvent) -> None:
        once(mirror, event)
        once(mirror, event)

    monkeypatch.setattr(Mirror, "_event", twice)
    tally = await Campaign(5, faulty_percent=0, cut_percent=0).run(5)
    assert any("acted 2 times" in case for case in tally.disagreements)


async def test_a_bolus_of_another_volume_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    start = activity.start_bolus

    def more(core: PumpCore, kind: Activity, volume_nl: int, duration_ms: int, *, slot: int = 0) -> None:
        start(core, kind, volume_nl, duration_ms, slot=slot)
        if slot != BENCH_SLOT and core.activity is not None:
            core.activity.left += 1

    monkeypatch.setattr("telemetry.sim.pump.activity.start_bolus", more)
    tally = await Campaign(5, faulty_percent=0, cut_percent=0, only=OperationKind.BOLUS).run(5)
    assert any("running: " in case for case in tally.disagreements)


async def test_half_a_refill_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    start = activity.start_bridge

    def without(core: PumpCore, *, slot: int = 0) -> None:
        if slot == BENCH_SLOT:
            start(core, slot=slot)

    monkeypatch.setattr("telemetry.sim.pump.activity.start_bridge", without)
    tally = await Campaign(5, only=OperationKind.REFILL, faulty_percent=0, cut_percent=0).run(10)
    assert any("activity: " in case for case in tally.disagreements)


async def test_a_fifth_way_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object, *_args: object, **_kwargs: object) -> None:
        raise ArithmeticError("a defect")

    monkeypatch.setattr("telemetry.programmer.client.Programmer.set_limits", broken)
    tally = await Campaign(6, only=OperationKind.LIMITS).run(3)
    assert tally.other_exceptions == {"ArithmeticError": 3}
    assert len(tally.disagreements) == 3


def test_what_the_pump_does_unasked_is_noticed() -> None:
    cases: list[str] = []
    world = World(1, differ=cases.append)
    command = commands.of_kind(OperationKind.BOLUS, world.pump.device, Random(1))
    world.mirror.take(command)
    world.pump.stop()
    assert "otherwise: stopped" in cases[0]
    asyncio.run(world.close())


def test_a_needle_moves_in_both() -> None:
    cases: list[str] = []
    world = World(1, differ=cases.append)
    device: PumpDevice = world.pump.device
    world.mirror.take(commands.of_kind(OperationKind.REFILL, device, Random(1)))
    assert world.pump.truth.reservoir_nl != 20_000_000
    world.mirror.compare()
    assert cases == []
    world.pump.withdraw()
    world.mirror.compare()
    assert any("drug: " in case for case in cases)
    asyncio.run(world.close())

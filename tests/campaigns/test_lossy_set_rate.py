from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.model import Verdict
from tests.campaigns.lossy_set_rate import Campaign, World

if TYPE_CHECKING:
    from telemetry.model import PumpEvent

COMMANDS = 60


@pytest.mark.inv(19)
@pytest.mark.inv(20)
@pytest.mark.inv(21)
@pytest.mark.parametrize(("seed", "stream"), [(1, False), (20_261_122, False), (2, True)])
async def test_inv_19_20_21_the_drivers_word_is_the_pumps_ledger_however_bad_the_link(
    seed: int, *, stream: bool
) -> None:
    tally = await Campaign(seed, stream=stream).run(COMMANDS)
    assert tally.disagreements == []
    assert tally.commands == tally.applied + tally.refused == COMMANDS
    assert not tally.other_exceptions
    assert tally.unknown == tally.unknown_then.total()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_link_really_is_bad(*, stream: bool) -> None:
    tally = await Campaign(2, stream=stream).run(COMMANDS)
    assert set(tally.faults) == {"drop", "duplicate", "corrupt"}
    assert min(tally.faults.values()) > tally.frames // 10
    assert tally.contact_cuts > 0
    assert tally.cable_cuts > 0
    assert tally.unknown > 0
    assert tally.nothing_sent > 0


async def test_the_same_seed_is_the_same_campaign() -> None:
    assert await Campaign(3).run(15) == await Campaign(3).run(15)


async def test_a_clean_link_needs_one_attempt_a_command() -> None:
    tally = await Campaign(4, faulty_percent=0, cut_percent=0).run(30)
    assert tally.attempts == 30
    assert tally.unknown == tally.nothing_sent == 0
    assert tally.disagreements == []


async def test_a_ledger_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "ledger_says", lambda _world, _transaction: Verdict.REFUSED)
    tally = await Campaign(5, faulty_percent=0, cut_percent=0).run(5)
    assert len(tally.disagreements) >= tally.applied > 0


async def test_a_dose_applied_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    once = World._event

    def twice(world: World, event: PumpEvent) -> None:
        once(world, event)
        once(world, event)

    monkeypatch.setattr(World, "_event", twice)
    tally = await Campaign(5, faulty_percent=0, cut_percent=0).run(5)
    assert any("2 commits" in case for case in tally.disagreements)
    assert any("given twice" in case for case in tally.disagreements)


async def test_a_fifth_way_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object, *_args: object, **_kwargs: object) -> None:
        raise ArithmeticError("a defect")

    monkeypatch.setattr("telemetry.programmer.client.Programmer.set_rate", broken)
    tally = await Campaign(6).run(3)
    assert tally.other_exceptions == {"ArithmeticError": 3}
    assert len(tally.disagreements) == 3

"""The kit is qualified: each bad programmer is caught by the step that names its fault; nothing is found in ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from telemetry.cli import qualifying
from telemetry.conform import self_test
from telemetry.conform.bad import Bad
from telemetry.conform.bad.programmers import BAD_PROGRAMMERS
from telemetry.conform.own import Tablet
from telemetry.conform.programmer.catalogue import programmer_steps
from telemetry.conform.results import Subject
from telemetry.conform.self_test import qualify

# ruff: noqa: ANN401 - a maker of equipment and a set of numbers, handed through

if TYPE_CHECKING:
    from collections.abc import Iterable


async def test_nothing_is_found_against_our_own_and_it_is_said_so() -> None:
    done = await qualify(subjects=[Subject.PROGRAMMER], names=[], seed=5)
    (ours,) = done.results
    assert (ours.name, ours.others, ours.right) == ("our own", (), True)
    assert done.passed


@pytest.mark.parametrize("bad", BAD_PROGRAMMERS, ids=lambda bad: bad.name)
async def test_a_bad_programmer_is_caught_by_the_step_that_names_its_fault(
    bad: Bad[Tablet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(self_test._KINDS, Subject.PROGRAMMER, (_only_bad, lambda: BAD_PROGRAMMERS))
    done = await qualify(subjects=[Subject.PROGRAMMER], names=[bad.name], thorough=False, seed=5)
    _, found = done.results
    assert (found.name, found.step, found.caught) == (bad.name, bad.step, True), found
    assert found.finding.startswith("expected ")
    assert done.passed


async def _only_bad(make: Any, seed: int, numbers: Any) -> Any:
    """Our own is tried once, above, and not beside each bad one."""
    return await self_test._programmer(make, seed, frozenset(["P-01"]) if make is None else numbers)


def test_there_are_twenty_faults_and_more_each_with_a_step_that_exists() -> None:
    assert len(BAD_PROGRAMMERS) >= 40
    assert (
        len({bad.name for bad in BAD_PROGRAMMERS})
        == len({bad.fault for bad in BAD_PROGRAMMERS})
        == len(BAD_PROGRAMMERS)
    )
    assert len({bad.make for bad in BAD_PROGRAMMERS}) == len(BAD_PROGRAMMERS)
    assert {bad.step for bad in BAD_PROGRAMMERS} <= {step.number for step in programmer_steps()}
    assert len({bad.step for bad in BAD_PROGRAMMERS}) >= 40


async def test_a_fault_that_no_step_finds_is_told_and_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Bad("harmless", "does nothing wrong", "P-01", Tablet)
    monkeypatch.setitem(self_test._KINDS, Subject.PROGRAMMER, (_only_bad, lambda: [harmless]))
    told: list[str] = []
    done = await qualify(
        subjects=[Subject.PROGRAMMER], thorough=False, on_result=lambda result: told.append(result.name)
    )
    assert told == ["our own", "harmless"]
    assert not done.passed
    assert [result.right for result in done.results] == [True, False]
    assert done.plain()["caught"] == 0


async def test_a_finding_against_our_own_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = next(one for one in BAD_PROGRAMMERS if one.name == "full reservoir")

    async def swapped(make: Any, seed: int, numbers: Any) -> Any:
        return await self_test._programmer(make or bad.make, seed, numbers or frozenset([bad.step]))

    monkeypatch.setitem(self_test._KINDS, Subject.PROGRAMMER, (swapped, lambda: [bad]))
    done = await qualify(subjects=[Subject.PROGRAMMER])
    ours, found = done.results
    assert ours.others == (bad.step,)
    assert "reservoir" in ours.finding
    assert found.caught
    assert not done.passed


@pytest.mark.real
def test_the_command_says_it_as_a_table_and_as_json_and_by_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [bad for bad in BAD_PROGRAMMERS if bad.name in {"polls too slowly", "drops units"}]

    def kinds() -> Iterable[Bad[Any]]:
        return chosen

    monkeypatch.setattr(self_test, "_KINDS", {Subject.PROGRAMMER: (_only_bad, kinds)})
    assert qualifying.run_self_test(seed=1, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "SIMULATED" in shown
    assert "QUALIFIED" in shown
    assert "2 of 2 caught" in shown
    assert qualifying.run_self_test(seed=1, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["simulated"], told["passed"], told["bad"], told["caught"]) == (True, True, 2, 2)
    chosen.append(Bad("harmless", "does nothing wrong", "P-01", Tablet))
    assert qualifying.run_self_test(seed=1, as_json=True) == 1
    again = capsys.readouterr()
    assert not json.loads(again.out)["passed"]
    assert "not caught" in again.err

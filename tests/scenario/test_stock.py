"""Every stock scenario passes, cut anyhow; all of them in one command in under 30 s, the journey in under one."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import SystemClock
from telemetry.scenario import load, play, stock_files, text_of
from telemetry.scenario.vocabulary import EVENTS

if TYPE_CHECKING:
    from pathlib import Path

STOCK = list(stock_files().values())
FAULTS = {f"F{number}" for number in range(1, 31)}
LEAFLET = {
    "pump-20",
    "pump-40",
    "reservoir",
    "catheter",
    "screening",
    "telemeter",
    "titration",
    "refill",
    "alarm",
    "battery",
    "withdrawal",
    "overdose",
    "replacement",
    "travel",
}
"""One or two for each row of the leaflet's table in product.md."""


@pytest.mark.parametrize("path", STOCK, ids=[path.stem for path in STOCK])
def test_it_passes_however_time_is_cut(path: Path) -> None:
    scenario = load(path)
    result = play(scenario)
    assert result.passed, text_of(result)
    draw = Random(path.stem)
    again = play(scenario, cuts=[draw.randrange(result.lived_ms) for _ in range(40)])
    assert again.passed, text_of(again)
    assert (again.events, again.actions, again.lived_ms) == (result.events, result.actions, result.lived_ms)


def test_there_is_one_for_every_fault_and_every_row_of_the_leaflet() -> None:
    tags = {tag for path in STOCK for tag in load(path).tags}
    assert tags >= FAULTS
    assert {path.stem for path in STOCK if path.parent.name == "leaflet"} == LEAFLET


def test_the_journey_takes_less_than_a_second() -> None:
    scenario = load(stock_files()["journey"])
    fastest_ms = min(play(scenario).host_ms for _ in range(3))
    assert fastest_ms < 1_000
    assert len(EVENTS) == len(set(EVENTS))


@pytest.mark.real
def test_all_of_them_take_less_than_30_seconds() -> None:
    clock = SystemClock()
    results = [play(load(path)) for path in STOCK]
    assert clock.link_ms() < 30_000
    assert all(result.passed for result in results), [result.name for result in results if not result.passed]

"""The file of a measurement, and amounts as people write them: read strictly, whatever is in them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.flow.amounts import DENSITY, LENGTH, LOSS, MASS, WARMTH, parse_amount, parse_share_ppm
from telemetry.flow.analysis import analyse
from telemetry.flow.document import parse_flow, read_flow
from telemetry.flow.scale import ScaleSettings
from telemetry.flow.simulating import PumpSettings, simulate
from tests.flow.conftest import RATE, plan

if TYPE_CHECKING:
    from pathlib import Path

RUN = asyncio.run(simulate(plan(6), PumpSettings("itb-40", RATE, 3), ScaleSettings(seed=3)))
TEXT = RUN.to_json()


def changed(**parts: object) -> bytes:
    content = json.loads(TEXT)
    for path, value in parts.items():
        place = content
        *way, last = path.split("__")
        for name in way:
            place = place[name]
        place[last] = value
    return json.dumps(content).encode()


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.flow.json"
    RUN.write(path)
    assert read_flow(path) == RUN
    assert [one.name for one in tmp_path.iterdir()] == ["a.flow.json"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"format": "itb-run"}, 'has no "format": "itb-flow-run"'),
        ({"version": 2}, "is version 2; this program reads version 1"),
        ({"kind": "trumpet"}, "kind 'trumpet' is none of flow, bolus, blank"),
        ({"every_ms": 0}, "every_ms: 0 is outside 1"),
        ({"rate_nl_per_day": 0}, "rate_nl_per_day: 0 is outside 1"),
        ({"kind": "bolus"}, "bolus_nl: 0 is outside 1"),
        ({"corrections__density_ug_per_ml": 0}, "density_ug_per_ml: 0 is outside 0.5 to 2 g/ml"),
        ({"corrections__air_ug_per_ml": 10_000}, "air_ug_per_ml: 10000"),
        ({"equipment__step_ng": 0}, "equipment.step_ng: 0"),
        ({"windows_ms": [0]}, "holds what is no window"),
        ({"known__cyclic_error_ppm": 5}, "known.cycle_ms: 0 is no length of a cycle"),
        ({"readings__due_ms": [0, 1, 2, 3, 4, 5, 6]}, "row 1 is 1; one every 3600000 ms is 3600000"),
        ({"readings__truth_nl": [0]}, "readings.truth_nl has 1 rows"),
        ({"readings__at_ms": [0, 0, 2, 3, 4, 5, 6]}, "row 1, 0, is not after 0"),
        ({"readings__mass_ng": [None] * 7}, "outcome 'stable' does not go with mass_ng None"),
        ({"readings__outcome": ["guessed"] * 7}, "outcome 'guessed'"),
        ({"readings__mass_ng": [1 << 62] * 7}, "has a number beyond"),
        ({"surprise": 1}, "surprise"),
        ({"title": None}, "title"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_with_it_is_named(parts: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_flow(changed(**parts), "x.flow.json")
    assert str(error.value).startswith("x.flow.json: ")
    assert words in str(error.value)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse_flow(data)


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=6))
def test_a_damaged_file_is_read_or_refused(at: int, instead: bytes) -> None:
    try:
        found = parse_flow(TEXT[:at] + instead + TEXT[at + len(instead) :])
        analyse(found)
    except UsageError:
        return
    assert found.format == RUN.format


def test_a_deep_file_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_flow(b"[" * 100_000)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.flow\.json: cannot be read: No such file"):
        read_flow(tmp_path / "none.flow.json")
    with pytest.raises(UsageError, match=r"cannot be written"):
        RUN.write(tmp_path / "nowhere" / "a.flow.json")


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "units", "count"),
    [
        ("0.1 mg", MASS, 100_000),
        ("12 µg", MASS, 12_000),
        ("0.25 mg/h", LOSS, 250_000),
        ("0.9982 g/ml", DENSITY, 998_200),
        ("998.2 kg/m3", DENSITY, 998_200),
        ("1.4 mm", LENGTH, 1_400),
        ("0.5 K", WARMTH, 500),
    ],
)
def test_an_amount_is_exact(text: str, units: dict[str, int], count: int) -> None:
    assert parse_amount("--x", text, units) == count


@pytest.mark.parametrize(("text", "ppm"), [("6 %", 60_000), ("-2.5%", -25_000), ("1500 ppm", 1_500), ("0 %", 0)])
def test_a_share_is_exact(text: str, ppm: int) -> None:
    assert parse_share_ppm("--x", text) == ppm


@pytest.mark.parametrize("text", ["", "1", "mg", "1 lb", "1e3 mg", "0.0000001 mg", "-1 mg", "1 mg mg", "९ mg"])
def test_an_amount_that_is_none_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--x: "):
        parse_amount("--x", text, MASS)


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        found = parse_amount("--x", text, MASS)
    except UsageError:
        return
    assert found >= 0

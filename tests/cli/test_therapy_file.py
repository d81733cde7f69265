"""Therapy files: the published schema, every template, every mistake with its line and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from telemetry.cli import therapy_file
from telemetry.errors import UsageError
from telemetry.model import PumpMode
from telemetry.therapy import Therapy
from telemetry.units import DailyDose, Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

PUBLISHED = Path(__file__).resolve().parent.parent.parent / "fixtures" / "schemas" / "therapy.schema.json"
MODES = {
    "simple": PumpMode.SIMPLE_CONTINUOUS,
    "minimum": PumpMode.MINIMUM_RATE,
    "flex": PumpMode.FLEX,
    "weekday": PumpMode.WEEKDAY,
    "periodic": PumpMode.PERIODIC_BOLUS,
    "titration": PumpMode.TITRATION,
    "patient": PumpMode.SIMPLE_CONTINUOUS,
}


@pytest.mark.parametrize("name", therapy_file.TEMPLATES)
def test_every_template_is_a_therapy_of_its_kind_and_fits_the_published_schema(name: str) -> None:
    text = therapy_file.TEMPLATES[name]
    therapy = therapy_file.parse_therapy(text, f"{name}.yaml")
    assert therapy.mode is MODES[name]
    assert (therapy.patient_bolus is not None) is (name == "patient")
    from telemetry.scenario.document import parse

    Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8"))).validate(parse(text).data)


def test_the_published_schema_is_the_one_that_is_used(telemetry: Callable[..., Done]) -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == therapy_file.schema_text()
    assert telemetry("program", "--schema").out == therapy_file.schema_text()
    Draft202012Validator.check_schema(json.loads(therapy_file.schema_text()))


def test_json_is_read_as_well() -> None:
    therapy = therapy_file.parse_therapy('{"steps": {"00:00": "280 ug/day", "06:30": "340 ug/day"}}', "t.json")
    assert therapy == Therapy.flex({"00:00": DailyDose(280_000), "06:30": DailyDose(340_000)})


def test_the_first_periodic_bolus_comes_after_one_interval_unless_said() -> None:
    text = "rate: 250 ug/day\nperiodic_bolus: {amount: 20 ug, over: 5 min, every: 6 h}\n"
    bolus = therapy_file.parse_therapy(text, "t.yaml").bolus
    assert bolus is not None
    assert bolus.first_in == Duration.parse("6 h")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("rate: 300\n", "1:7", "unit"),
        ("rate: 300 ug\n", "1:7", "300 ug"),
        ("steps:\n  00:00: 280 ug/day\n  25:00: 300 ug/day\n", "3:3", "25:00"),
        ("steps:\n  00:00: 280 ug/day\n  06:00: 300 mcg\n", "3:10", "300 mcg"),
        ("days:\n  mon-fry:\n    00:00: 280 ug/day\n", "2:3", "fry"),
        ("rat: 300 ug/day\n", "1:1", "did you mean 'rate'"),
        ("rate: 300 ug/day\nrate: 400 ug/day\n", "2:1", "second time"),
        ("ramp:\n  - {days: 7, rate: 300 ug/day}\n  - {days: seven, rate: 320 ug/day}\n", "3:12", "seven"),
        ("ramp:\n  - {days: 7}\n", "2:5", "'rate' is missing"),
        ("rate: 250 ug/day\nperiodic_bolus: {amount: 20 ug, over: 5, every: 6 h}\n", "2:39", "unit"),
        ("rate: [300 ug/day\n", "2:1", "no YAML"),
        ("- rate\n", "1:1", "a therapy is a table"),
        ("", "1:1", "a therapy is a table"),
    ],
)
def test_a_mistake_is_told_with_line_and_column(text: str, place: str, words: str) -> None:
    with pytest.raises(UsageError) as wrong:
        therapy_file.parse_therapy(text, "night.yaml")
    first = str(wrong.value).splitlines()[0]
    assert first.startswith(f"night.yaml:{place}:"), str(wrong.value)
    assert words in str(wrong.value)
    assert "pump.therapy" not in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate: 300 ug/day\nsteps: {00:00: 280 ug/day}\n", "stand together"),
        ("patient_bolus: {amount: 5 ug, over: 1 min, lockout: 4 h, max_per_24h: 2}\n", "no rate"),
        ("steps: {00:00: 1 ug/day}\nperiodic_bolus: {amount: 20 ug, over: 5 min, every: 6 h}\n", "goes with a rate"),
    ],
)
def test_parts_that_do_not_go_together_are_told_with_the_file(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as wrong:
        therapy_file.parse_therapy(text, "night.yaml")
    assert str(wrong.value).startswith("night.yaml: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        therapy_file.read_therapy(tmp_path / "none.yaml")
    (tmp_path / "latin").write_bytes(b"rate: 300 \xb5g/day\n")
    with pytest.raises(UsageError, match="cannot be read"):
        therapy_file.read_therapy(tmp_path / "latin")
    with pytest.raises(UsageError, match="give one of them"):
        therapy_file.therapy_given("300 ug/day", "x.yaml")
    assert therapy_file.therapy_given(None, None) is None

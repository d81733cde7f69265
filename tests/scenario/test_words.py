"""The words of a scenario: each has a function, each is in the documentation, and events are those the pump emits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import telemetry.sim
from telemetry.model import LogCode
from telemetry.scenario import load, loads, play, text_of
from telemetry.scenario.acting_bench import BENCH_ACTS
from telemetry.scenario.acting_wire import WIRE_ACTS
from telemetry.scenario.checks import Occurrence
from telemetry.scenario.vocabulary import BENCH_ACTIONS, EVENTS, WIRE_ACTIONS
from telemetry.scenario.wording import told

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
OF_THE_PLAYER = {"new_pump"}
"""It changes whom everything else acts on."""


def test_every_word_has_a_function_and_every_function_a_word() -> None:
    assert set(WIRE_ACTS) == set(WIRE_ACTIONS)
    assert set(BENCH_ACTS) | OF_THE_PLAYER == set(BENCH_ACTIONS)


def words_of(section: str) -> set[str]:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| ", text, flags=re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def test_the_page_names_every_action() -> None:
    assert words_of("Through the wire") == set(WIRE_ACTIONS)
    assert words_of("At the bench") == set(BENCH_ACTIONS)


def test_the_example_of_the_page_passes() -> None:
    example = next(block for block in re.findall(r"```yaml\n(.+?)```", PAGE, flags=re.DOTALL) if "title:" in block)
    result = play(loads(example, "docs/scenarios.md"))
    assert result.passed, text_of(result)


def test_the_python_of_the_page_runs() -> None:
    (example,) = re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)
    exec(compile(example, "docs/scenarios.md", "exec"), {})  # noqa: S102 - our own page


def test_every_kind_of_event_that_the_pump_emits_can_be_named() -> None:
    """A kind that is missing from the list could not be waited for; one that nobody emits would never come."""
    rooms = Path(telemetry.sim.__file__).parent  # the installed ones, where the suite runs on the wheel
    source = "\n".join(path.read_text(encoding="utf-8") for path in rooms.rglob("*.py"))
    emitted = set(re.findall(r"emit\(\s*\"(\w+)\"", source))
    emitted |= {LogCode[name].value for name in re.findall(r"emit\(\s*LogCode\.(\w+)", source)}
    assert emitted <= set(EVENTS)
    quoted = set(re.findall(r"\"(\w+)\"", source)) | {
        LogCode[name].value for name in re.findall(r"LogCode\.(\w+)", source)
    }
    assert set(EVENTS) <= quoted


def test_an_occurrence_reads_as_it_is_written() -> None:
    assert str(Occurrence(0, "stopped")) == "stopped"
    assert str(Occurrence(0, "alarm_raised", "motor_stall")) == "alarm_raised motor_stall"


@pytest.mark.parametrize("folder", ["leaflet", "bridge", "faults", "journey", "therapy"])
def test_every_stock_scenario_says_where_it_is_from(folder: str) -> None:
    for path in (ROOT / "telemetry" / "scenario" / "stock" / folder).glob("*.yaml"):
        scenario = load(path)
        assert scenario.source, path
        assert scenario.tags, path
        assert len(scenario.title) <= 140, path


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("interrogate", None, "interrogate"),
        ("titrate", "8 %", "titrate 8 %"),
        ("stop", "before_procedure", "stop before procedure"),
        ("replace_catheter", {}, "replace catheter"),
        ("refill", {"volume": "40 ml", "needle": False}, "refill: volume 40 ml, needle no"),
        (
            "implant",
            {"concentration": "500 ug/ml", "therapy": {"rate": "150 ug/day"}},
            "implant: concentration 500 µg/ml, therapy (rate 150 µg/day)",
        ),
        ("link", ["drop:1@rx/VerdictReport*1"], "link drop:1@rx/VerdictReport*1"),
        ("link", [], "link none"),
        ("catheter_failure", {"mode": "tip_displaced", "count": 1}, "catheter failure: mode tip displaced, count 1"),
    ],
)
def test_what_was_done_is_told_without_brackets_and_quotes(name: str, arguments: object, said: str) -> None:
    assert told(name, arguments) == said

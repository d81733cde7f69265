"""telemetry scenario: run, list, check, schema; what is printed, and the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from telemetry.scenario import schema, stock_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real

GOOD = "title: Fine\ntags: [quick]\npump: {fill: 10 ml}\nends: 1 d\nfinally: {alarms: []}\n"
BAD = "title: Wrong\npump: {fill: 10 ml}\nends: 1 d\nfinally: {alarms: [motor_stall]}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    return tmp_path


def test_a_scenario_that_passes_ends_with_0(telemetry: Callable[..., Done], files: Path) -> None:
    done = telemetry("scenario", "run", str(files / "good.yaml"))
    assert done.status == 0
    assert "PASSED good: Fine" in done.out
    assert "SIMULATED" in done.out
    assert "1 of 1 scenarios passed" in done.out


def test_a_failing_expectation_ends_with_1_and_says_wanted_found_and_when(
    telemetry: Callable[..., Done], files: Path
) -> None:
    done = telemetry("scenario", "run", str(files), "--jobs", "1")
    assert done.status == 1
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert "1/2 FAILED bad: Wrong" in lines
    assert f"  {files}/bad.yaml:4: finally: alarms" in lines
    assert "    wanted  exactly motor_stall" in lines
    assert "    found   none" in lines
    assert "    when    1 d 00:00:00 (2026-01-02 00:00:00Z)" in lines
    assert "PASSED good: Fine" in done.out
    assert "1 of 2 scenarios passed" in done.out


def test_json_is_one_object_and_nothing_else(telemetry: Callable[..., Done], files: Path) -> None:
    done = telemetry("scenario", "run", str(files), "--jobs", "1", "--json")
    assert done.status == 1
    assert done.json["simulated"] is True
    assert (done.json["scenarios"], done.json["passed"]) == (2, 1)
    bad, good = done.json["results"]
    assert (bad["verdict"], good["verdict"]) == ("failed", "passed")
    assert {key: bad["failures"][0][key] for key in ("what", "wanted", "found", "at_ms", "line")} == {
        "what": "alarms",
        "wanted": "exactly motor_stall",
        "found": "none",
        "at_ms": 86_400_000,
        "line": 4,
    }


def test_some_are_chosen_by_a_word(telemetry: Callable[..., Done], files: Path) -> None:
    done = telemetry("scenario", "run", str(files), "-k", "QUICK")
    assert (done.status, "1 of 1" in done.out) == (0, True)
    done = telemetry("scenario", "run", str(files), "-k", "slow")
    assert done.status == 2
    assert "-k slow: none of 2 scenarios has it" in done.err


def test_junit_and_runs_are_written(telemetry: Callable[..., Done], files: Path) -> None:
    junit, runs = files / "report.xml", files / "runs"
    done = telemetry("scenario", "run", str(files / "good.yaml"), "--junit", str(junit), "--record", str(runs))
    assert done.status == 0
    assert ET.fromstring(junit.read_text(encoding="utf-8")).get("tests") == "1"  # noqa: S314 - our own text
    assert (runs / "good.run.json").is_file()
    done = telemetry("scenario", "run", str(files / "good.yaml"), "--junit", str(files / "none" / "report.xml"))
    assert done.status == 2
    assert "cannot be written" in done.err


def test_what_is_nothing_is_a_wrong_use(telemetry: Callable[..., Done]) -> None:
    done = telemetry("scenario", "run", "jurney")
    assert done.status == 2
    assert "jurney: is no file, no folder and no stock scenario; did you mean 'journey'?" in done.err


def test_the_stock_is_listed_with_its_sources(telemetry: Callable[..., Done]) -> None:
    done = telemetry("scenario", "list", "--json")
    assert done.status == 0
    listed = {item["name"]: item for item in done.json["scenarios"]}
    assert set(listed) == set(stock_files())
    assert all(item["source"] and item["tags"] for item in listed.values())
    shown = telemetry("scenario", "list")
    assert shown.status == 0
    assert "journey" in shown.out
    assert max(len(line) for line in shown.out.splitlines()) <= 80


def test_a_file_is_checked_without_being_played(telemetry: Callable[..., Done], files: Path) -> None:
    done = telemetry("scenario", "check", str(files))
    assert (done.status, done.out.strip()) == (0, "2 scenarios, no mistake in the form")
    wrong = files / "wrong.yaml"
    wrong.write_text("titel: x\n", encoding="utf-8")
    done = telemetry("scenario", "check", str(wrong))
    assert done.status == 2
    assert ":1:1: titel: is unknown here; did you mean 'title'?" in "".join(done.err.split("\n"))
    done = telemetry("scenario", "check", str(wrong), "--json")
    assert done.json["files"][0]["problems"][0] == {
        "line": 1,
        "column": 1,
        "path": "",
        "message": "'title' is missing; needed: title",
    }


def test_the_schema_is_printed(telemetry: Callable[..., Done]) -> None:
    done = telemetry("scenario", "schema")
    assert (done.status, done.out) == (0, schema.text())


def test_a_part_of_a_name_leads_to_the_whole(telemetry: Callable[..., Done]) -> None:
    done = telemetry("scenario", "run", "f07")
    assert done.status == 2
    assert "stock ones with that: f07-catheter-kink, f07-catheter-leak, f07-catheter-positional" in done.err

"""``telemetry read`` and what every command does alike: URL, role, JSON, errors, statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.cli.app import _COMMANDS, _LATER
from telemetry.cli.read import WHAT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real  # on the command line sim: runs on the host's clock


@pytest.mark.parametrize("what", WHAT)
def test_every_reading_is_one_object_that_says_simulated(telemetry: Callable[..., Done], what: str) -> None:
    done = telemetry("read", "sim:", what, "--json")
    assert done.status == 0
    assert done.json["simulated"] is True
    assert done.json["resolved"] == []
    assert done.err == ""


@pytest.mark.parametrize("what", WHAT)
def test_every_reading_says_simulated_to_people_and_fits_80_columns(telemetry: Callable[..., Done], what: str) -> None:
    done = telemetry("read", "sim:", what)
    assert done.status == 0
    assert "SIMULATED" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "\x1b" not in done.out


def test_status_is_the_stock_pump(telemetry: Callable[..., Done]) -> None:
    status = telemetry("read", "sim:", "--json").json
    assert status["mode"] == "simple_continuous"
    assert status["rate_nl_per_day"] == 170_000
    assert status["dose_ng_per_day"] == 340_000
    assert status["concentration_ng_per_ml"] == 2_000_000
    shown = telemetry("read", "sim:", "status").out
    assert "0.170 ml/day = 340 µg/day" in shown
    assert "2000 µg/ml" in shown


def test_limits_are_shown_as_flow_and_as_dose_at_this_concentration(telemetry: Callable[..., Done]) -> None:
    shown = telemetry("read", "sim:?concentration=500ug/ml", "limits").out
    assert "0.048 ml/day" in shown
    assert "24 µg/day" in shown
    assert "500 µg/ml" in shown


def test_log_begins_where_it_is_told_to(telemetry: Callable[..., Done]) -> None:
    everything = telemetry("read", "sim:?age=3y", "log", "--json").json["records"]
    rest = telemetry("read", "sim:?age=3y", "log", "--since", str(everything[-1]["sequence"]), "--json").json["records"]
    assert [record["sequence"] for record in rest] == [everything[-1]["sequence"]]


def test_the_log_names_what_its_numbers_mean(telemetry: Callable[..., Done]) -> None:
    lines = telemetry("read", "sim:?fill=1ml", "log").out.splitlines()
    (raised,) = [line for line in lines if "alarm raised" in line]
    assert "low reservoir" in raised


def test_alarms_have_condition_signal_and_distance(telemetry: Callable[..., Done]) -> None:
    done = telemetry("read", "sim:?fill=1ml", "alarms", "--json")
    (alarm,) = done.json["alarms"]
    assert alarm["kind"] == "low_reservoir"
    assert alarm["condition_present"] is True
    shown = telemetry("read", "sim:?fill=1ml", "alarms").out
    assert "low_reservoir" in shown
    assert "SOUNDING" in shown
    assert "low_reservoir" in telemetry("read", "sim:?fill=1ml").out


def test_a_stopped_or_empty_pump_is_seen_at_once(telemetry: Callable[..., Done]) -> None:
    shown = telemetry("read", "sim:?fill=0ml").out
    assert "EMPTY" in shown


def test_recorded_visits_decode_with_their_opened_messages(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    capture = tmp_path / "visit.telcap"
    assert telemetry("read", f"sim:?record={capture}", "alarms", "--json").status == 0
    found = telemetry("decode", str(capture), "--json").json
    assert found["simulated"] is True
    assert found["garbage"] == 0
    opened = [item["fields"]["opened"]["name"] for item in found["items"] if "opened" in item["fields"]]
    assert {"ReadAlarms", "AlarmReport", "Closed"} <= set(opened)
    shown = telemetry("decode", str(capture)).out
    assert "AlarmReport" in shown
    assert "SIMULATED" in shown


def test_as_observer_one_may_look(telemetry: Callable[..., Done]) -> None:
    assert telemetry("read", "sim:", "--role", "observer", "--json").status == 0


def test_a_forbidden_role_is_told_which_would_do(telemetry: Callable[..., Done]) -> None:
    done = telemetry("set-rate", "sim:", "0.2 ml/day", "--yes", "--role", "observer")
    assert done.status == 1
    assert "--role clinician" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["read"], 2, "URL is missing"),
        (["read"], 2, "sim:"),
        (["read", "nonsense"], 2, "no URL"),
        (["read", "foo://x"], 2, "tcp"),
        (["read", "sim:?profile=itb-99"], 2, "itb-40"),
        (["read", "sim:?colour=red"], 2, "colour"),
        (["read", "sim:", "everything"], 2, "status"),
        (["read", "sim:", "status", "--since", "3"], 2, "--since"),
        (["read", "sim:", "--arm"], 2, "test credential"),
        (["read", "tcp://127.0.0.1:1"], 3, "nothing listens"),
        (["read", "serial:///dev/does-not-exist"], 3, "does-not-exist"),
        (["read", "sim:?contact=no"], 3, "not over the pump"),
        (["raed", "sim:"], 2, "did you mean 'read'"),
        (["zzz"], 2, "the commands are"),
        (["cohort", "sim:"], 2, "later release"),
        (["read", "--colour"], 2, "colour"),
        (["decode"], 2, "SOURCE is missing"),
        (["profile", "show"], 2, "itb-20"),
        (["profile", "show", "itb-1"], 2, "itb-20"),
        (["set-rate", "sim:"], 2, "RATE is missing"),
        (["set-rate", "sim:", "0.2", "--yes"], 2, "ml/day"),
        (["set-rate", "sim:", "0.2 ml", "--yes"], 2, "ml/day"),
        (["set-rate", "sim:", "nan ml/day", "--yes"], 2, "plain decimal number"),
        (["acknowledge", "sim:", "tea", "--yes"], 2, "low_reservoir"),
        (["silence", "sim:", "--minutes", "0", "--yes"], 2, "minutes"),
        (["stop", "sim:", "--reason", "fun", "--yes"], 2, "clinical"),
    ],
)
def test_what_a_person_can_do_wrong_is_one_line_that_says_what_would_be_right(
    telemetry: Callable[..., Done], arguments: list[str], status: int, words: str
) -> None:
    done = telemetry(*arguments)
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("telemetry: ")
    assert done.err.count("\n") == 1
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "kind"),
    [
        (["read", "--json"], 2, "usage"),
        (["read", "foo://x", "--json"], 2, "usage"),
        (["read", "sim:", "nothing", "--json"], 2, "usage"),
        (["read", "tcp://127.0.0.1:1", "--json"], 3, "link"),
        (["set-rate", "sim:", "0.04 ml/day", "--yes", "--json"], 1, "refused"),
    ],
)
def test_an_error_is_one_object_too(
    telemetry: Callable[..., Done], arguments: list[str], status: int, kind: str
) -> None:
    done = telemetry(*arguments)
    assert done.status == status
    assert done.json["exit_status"] == status
    assert done.json["error"]["kind"] == kind
    assert done.json["error"]["message"]
    assert done.err.startswith("telemetry: ")


@pytest.mark.parametrize("name", [*_COMMANDS])
def test_help_of_every_command_has_examples(telemetry: Callable[..., Done], name: str) -> None:
    done = telemetry(name, "--help")
    assert done.status == 0
    assert "Examples:" in done.out
    assert f"telemetry {name}" in done.out


@pytest.mark.parametrize("name", ["advance", "inspect", "contact", "snapshot"])
def test_help_of_the_back_door(telemetry: Callable[..., Done], name: str) -> None:
    assert telemetry("control", name, "--help").status == 0


def test_help_and_version(telemetry: Callable[..., Done]) -> None:
    shown = telemetry("--help").out
    for name in _COMMANDS:
        assert name in shown
    assert "Exit status" in shown
    assert not set(_COMMANDS) & set(_LATER)
    assert "SIMULATED" in telemetry("--version").out


def test_colour_is_left_out_where_it_is_not_wanted(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in telemetry("read", "sim:").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in telemetry("read", "sim:").out

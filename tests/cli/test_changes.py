"""The commands that change something: before and after, confirmation, refusals in readable units."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real  # on the command line sim: runs on the host's clock


class Terminal(io.StringIO):
    """A keyboard with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[str]]:
    """Answer the question that is asked: with True, False, or an exception."""

    def prepare(reply: object) -> list[str]:
        asked: list[str] = []

        def confirm(question: str, **_options: object) -> bool:
            asked.append(question)
            if isinstance(reply, BaseException):
                raise reply
            return bool(reply)

        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(click, "confirm", confirm)
        return asked

    return prepare


def test_before_and_after_stand_side_by_side_in_flow_and_dose(telemetry: Callable[..., Done]) -> None:
    done = telemetry("set-rate", "sim:", "0.200 ml/day", "--yes")
    assert done.status == 0
    for words in (
        "0.170 ml/day",
        "0.200 ml/day",
        "340 µg/day",
        "400 µg/day",
        "+17.6 %",
        "400 µg in 0.200 ml",
        "low-reservoir alarm",
        "in 223 d 12 h",
        "Applied",
    ):
        assert words in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_the_result_for_a_program_is_one_object(telemetry: Callable[..., Done]) -> None:
    done = telemetry("set-rate", "sim:", "0.150 ml/day", "--yes", "--json")
    found = done.json
    assert found["simulated"] is True
    assert found["outcome"] == "applied"
    assert found["before"]["rate_nl_per_day"] == 170_000
    assert found["after"] == {
        "mode": "simple_continuous",
        "rate_nl_per_day": 150_000,
        "dose_ng_per_day": 300_000,
        "concentration_ng_per_ml": 2_000_000,
    }
    assert found["proposal"]["dose_24h_ng"] == 300_000
    # 38 ml above the alarm at 0.150 ml/day: 253 d 8 h from the change on.
    assert 0 <= found["low_reservoir_at_ms"] - (253 * 24 + 8) * 3_600_000 <= 20_000
    assert len(bytes.fromhex(found["transaction"])) == 16


def test_a_dose_per_hour_is_echoed_per_day(telemetry: Callable[..., Done]) -> None:
    done = telemetry("set-rate", "sim:", "12.5 ug/h", "--yes", "--json")
    assert "300 µg/day" in done.err
    assert done.json["after"]["dose_ng_per_day"] == 300_000


def test_nothing_changes_where_nobody_can_be_asked(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for arguments in (
        ("set-rate", "sim:", "0.2 ml/day"),
        ("stop", "sim:"),
        ("resume", "sim:"),
        ("silence", "sim:"),
        ("acknowledge", "sim:", "low_reservoir"),
    ):
        done = telemetry(*arguments)
        assert done.status == 2
        assert "--yes" in done.err
        changed = "what sounds" if arguments[0] in {"silence", "acknowledge"} else "the therapy"
        assert f"this changes {changed}" in " ".join(done.err.split())


def test_yes_at_the_prompt_applies(telemetry: Callable[..., Done], answer: Callable[[object], list[str]]) -> None:
    asked = answer(True)
    assert telemetry("set-rate", "sim:", "0.2 ml/day").status == 0
    assert len(asked) == 1


@pytest.mark.parametrize("reply", [False, click.Abort(), KeyboardInterrupt()])
def test_no_ctrl_c_and_the_end_of_input_are_a_no(
    telemetry: Callable[..., Done], answer: Callable[[object], list[str]], reply: object
) -> None:
    answer(reply)
    done = telemetry("set-rate", "sim:", "0.2 ml/day", "--json")
    assert done.status == 1
    assert done.json["error"]["reason"] == "declined"
    assert "0.200 ml/day" in done.err  # what was asked about was shown, and not on standard output


def test_a_stop_that_is_not_confirmed_is_none(
    telemetry: Callable[..., Done], answer: Callable[[object], list[str]]
) -> None:
    answer(False)
    done = telemetry("stop", "sim:")
    assert done.status == 1
    assert "WARNING" in done.err


def test_stop_shows_the_warning_and_the_time_first(telemetry: Callable[..., Done]) -> None:
    done = telemetry("stop", "sim:", "--yes", "--reason", "before_procedure", "--json")
    assert done.status == 0
    assert "baclofen" in done.err
    assert "stand still from now on" in " ".join(done.err.split())
    assert done.json["after"]["mode"] == "stopped"
    assert done.json["proposal"] is None


@pytest.mark.parametrize(
    ("url", "rate", "words"),
    [
        ("sim:?concentration=500ug/ml", "22 ug/day", ("500 µg/ml", "22 µg/day", "24 µg/day", "0.048 ml/day")),
        ("sim:", "0.040 ml/day", ("0.040 ml/day", "80 µg/day", "96 µg/day")),
        ("sim:", "25 ml/day", ("25.000 ml/day", "24.000 ml/day")),
        ("sim:", "2001 ug/day", ("2001 µg/day", "2000 µg/day")),
        ("sim:", "700 ug/day", ("700 µg/day", "680 µg/day", "smaller steps")),
    ],
)
def test_a_refusal_names_value_rule_and_what_would_be_right(
    telemetry: Callable[..., Done], url: str, rate: str, words: tuple[str, ...]
) -> None:
    done = telemetry("set-rate", url, rate, "--yes")
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    for word in words:
        assert word in done.err


def test_a_soft_limit_is_passed_by_its_name_only(telemetry: Callable[..., Done]) -> None:
    refused = telemetry("set-rate", "sim:", "0.250 ml/day", "--yes", "--json")
    assert refused.status == 1
    assert refused.json["error"]["warnings"] == ["daily_dose_change"]
    assert "--accept-warning daily_dose_change" in refused.err
    assert "+20.0 %" in refused.err
    done = telemetry("set-rate", "sim:", "0.250 ml/day", "--yes", "--accept-warning", "daily_dose_change")
    assert done.status == 0
    assert "beyond the soft" in " ".join(done.out.split())
    wrong = telemetry("set-rate", "sim:", "0.250 ml/day", "--yes", "--accept-warning", "everything")
    assert wrong.status == 2


def test_resume_of_a_running_pump_is_refused(telemetry: Callable[..., Done]) -> None:
    done = telemetry("resume", "sim:", "--yes")
    assert done.status == 1
    assert "not stopped" in done.err


def test_silence_and_acknowledge(telemetry: Callable[..., Done], answer: Callable[[object], list[str]]) -> None:
    done = telemetry("silence", "sim:?fill=1ml", "--yes", "--json")
    assert done.status == 0
    assert done.json["alarms"][0]["signal"] == "silenced"
    done = telemetry("acknowledge", "sim:?fill=1ml", "low_reservoir", "--yes", "--json")
    assert done.json["alarms"][0]["signal"] == "acknowledged"
    asked = answer(True)
    done = telemetry("silence", "sim:?fill=1ml", "--minutes", "5")
    assert done.status == 0
    assert asked == ["Silence for 5 minutes?"]
    assert "silenced until" in " ".join(done.out.split())
    answer(False)
    assert telemetry("silence", "sim:?fill=1ml").status == 1


def test_what_is_not_there_cannot_be_acknowledged(telemetry: Callable[..., Done]) -> None:
    done = telemetry("acknowledge", "sim:", "end_of_service", "--yes")
    assert done.status == 1
    assert "no such alarm" in done.err

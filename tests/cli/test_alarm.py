"""``telemetry alarm``: the table, the sounds, the check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import wavfile

from telemetry.alarm_table import ROWS, Hearer
from telemetry.model import AlarmKind
from telemetry.sounds.patterns import stock_burst
from telemetry.sounds.requirements import parse_priority
from telemetry.sounds.synthesis import burst_train
from telemetry.sounds.wav import read_wav, write_wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real
PRIORITIES = ["low", "medium", "high"]


@pytest.mark.parametrize("hearer", ["patient", "carer", "clinician"])
def test_the_list_has_every_alarm_with_the_advice_of_its_hearer(
    telemetry: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, hearer: str
) -> None:
    assert max(len(line) for line in telemetry("alarm", "list", "--for", hearer).out.splitlines()) <= 80
    monkeypatch.setenv("COLUMNS", "400")
    done = telemetry("alarm", "list", "--for", hearer)
    assert done.status == 0
    assert "SIMULATED" in done.out
    for row in ROWS:
        assert row.kind in done.out
        assert row.advice.to(Hearer(hearer)) in done.out


def test_the_list_is_data_for_a_program(telemetry: Callable[..., Done]) -> None:
    alarms = telemetry("alarm", "list", "--json").json["alarms"]
    assert [alarm["kind"] for alarm in alarms] == [row.kind for row in ROWS]
    [stall] = [alarm for alarm in alarms if alarm["kind"] == AlarmKind.MOTOR_STALL]
    assert (stall["class"], stall["tone"], stall["repeat_ms"], stall["priority"]) == (
        "critical",
        "two_tone",
        600_000,
        "high",
    )
    assert set(stall["advice"]) == {"patient", "carer", "clinician"}


def test_one_alarm_is_shown_whole(telemetry: Callable[..., Done]) -> None:
    done = telemetry("alarm", "show", "low-reservoir")
    assert done.status == 0
    for text in ("one tone, 1 s, every 60 min", "medium when empty within 72 h", "carer", "domain.md 2.5", "(A)"):
        assert text in done.out
    assert "nothing" in telemetry("alarm", "show", "telemetry_latch").out
    shown = telemetry("alarm", "show", "end_of_service", "--json").json
    assert (shown["latching"], shown["confidence"]) == (True, "A")


def test_an_unknown_alarm_is_refused_with_those_that_are_known(telemetry: Callable[..., Done]) -> None:
    done = telemetry("alarm", "show", "beep")
    assert done.status == 2
    assert "'beep' is no kind of alarm; one of: low_reservoir" in done.err
    assert "KIND is missing; one of: low_reservoir" in telemetry("alarm", "show").err


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_signal_that_it_makes_is_one_that_it_passes(
    telemetry: Callable[..., Done], tmp_path: Path, priority: str
) -> None:
    path = tmp_path / "made.wav"
    made = telemetry("alarm", "sound", priority, "-o", str(path))
    assert made.status == 0
    assert "SIMULATED" in made.out
    assert "unverified" in made.out
    done = telemetry("alarm", "check", str(path))
    assert done.status == 0
    assert "PASSED" in done.out
    assert "unverified" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert f"all of the {priority} pattern" in " ".join(done.out.split())
    assert telemetry("alarm", "check", str(path), "--expect", priority).status == 0


def test_a_wrong_priority_fails_and_says_what_is_wrong(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "low.wav"
    telemetry("alarm", "sound", "low", "--one-pitch", "-o", str(path))
    done = telemetry("alarm", "check", str(path), "--expect", "high")
    assert done.status == 1
    assert "NOT MET" in done.out
    assert "FAILED as high, the pattern expected: pulses" in done.out
    assert "no melody" in done.out
    report = telemetry("alarm", "check", str(path), "--expect", "high", "--json")
    assert report.status == 1
    assert (report.json["outcome"], report.json["priority"], report.json["expected"]) == ("failed", "high", "high")
    assert "pulses" in report.json["failed"]
    assert "bought standard" in report.json["unverified"]
    [pulses] = [one for one in report.json["findings"] if one["name"] == "pulses"]
    assert pulses == {
        "name": "pulses",
        "what": "number of pulses in a burst",
        "verdict": "failed",
        "least": 2,
        "most": 2,
        "allowed": {"least": 10, "most": 10, "unit": "", "mark": "C"},
        "note": "",
    }


def test_a_recording_that_cannot_show_everything_does_not_pass(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "once.wav"
    write_wav(path, burst_train(stock_burst(parse_priority("high")), 4_000, 16_000), 16_000)
    done = telemetry("alarm", "check", str(path))
    assert done.status == 1
    assert "INCOMPLETE as high" in done.out
    assert "one burst only: record at least two" in done.out


def test_a_pump_sounds_as_long_as_is_asked(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    done = telemetry(
        "alarm", "sound", "empty_reservoir", "-o", str(path), "--minutes", "25", "--rate", "8000", "--json"
    )
    assert done.json == {
        "simulated": True,
        "file": str(path),
        "sound": "empty_reservoir",
        "bursts": 3,
        "seconds": 1_500,
        "rate_hz": 8_000,
    }
    rate_hz, sound = wavfile.read(path)
    seconds = np.abs(sound.astype(np.int64).reshape(-1, rate_hz)).max(axis=1) > 0
    assert list(np.flatnonzero(seconds)) == [0, 1, 2, 600, 601, 602, 1_200, 1_201, 1_202]


def test_a_dead_beeper_is_heard_as_nothing(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "dead.wav"
    done = telemetry("alarm", "sound", "motor_stall", "-o", str(path), "--dead-beeper")
    assert done.status == 0
    assert "0 bursts" in done.out
    assert not read_wav(path)[0].any()
    silent = telemetry("alarm", "check", str(path))
    assert silent.status == 2
    assert "silent throughout" in silent.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sound", "high"], "say what and where"),
        (["sound", "-o", "x.wav"], "say what and where"),
        (["sound", "telemetry_latch", "-o", "x.wav"], "announced by the tablet alone; the pump sounds: low_reservoir"),
        (["sound", "high", "-o", "x.wav", "--dead-beeper"], "a fault of the pump"),
        (["sound", "high", "-o", "x.wav", "--rate", "96000"], "rate_hz: 96000 lies outside 8000 to 48000"),
        (["sound", "high", "-o", "none/x.wav"], "cannot be written"),
        (["check"], "FILE is missing"),
        (["check", "none.wav"], "none.wav: cannot be read: No such file"),
    ],
)
def test_wrong_use_is_refused_with_what_would_be_right(
    telemetry: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = telemetry("alarm", *arguments)
    assert done.status == 2
    assert says in done.err


def test_a_failure_is_an_object_for_a_program(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no sound", encoding="utf-8")
    done = telemetry("alarm", "check", str(path), "--json")
    assert done.status == 2
    assert "no WAV file" in json.loads(done.out)["error"]["message"]

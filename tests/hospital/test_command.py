"""``telemetry hospital`` as its user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("sdc11073", reason="the extra 'hospital' is not installed")

from telemetry.cli.app import run
from telemetry.hospital.fhir.checking import check
from tests.hospital.consuming import consumer, state, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real
COMMAND = Path(sys.prefix) / "bin" / "telemetry"
PATIENCE_S = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "FORCE_COLOR", "TELEMETRY_CONTROL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_fhir_writes_a_valid_bundle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home / "bundle.json"
    assert run(["hospital", "fhir", "sim:", "-o", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["simulated"]
    assert told["resources"]["Observation"] == 13
    check(target.read_text(encoding="utf-8"))
    assert [path.name for path in home.glob("*.part")] == []
    assert run(["hospital", "fhir", "sim:"]) == 0
    check(capsys.readouterr().out)


def test_fhir_of_a_pump_out_of_reach_says_so_in_the_bundle_and_fails(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = home / "bundle.json"
    assert run(["hospital", "fhir", "tcp://127.0.0.1:1", "-o", str(target)]) == 3
    (entry,) = json.loads(target.read_text(encoding="utf-8"))["entry"]
    assert entry["resource"]["resourceType"] == "OperationOutcome"
    assert "could not be read" in capsys.readouterr().err
    assert run(["hospital", "fhir", "tcp://127.0.0.1:1", "-o", str(target), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["exit_status"] == 3


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["fhir", "sim:", "--json"], 2, "the bundle itself is what is printed"),
        (["fhir", "sim:", "-o", "/nowhere/bundle.json"], 2, "name a file in a folder"),
        (["fhir", "sim:", "--since", "0"], 2, "--since"),
        (["fhir"], 2, "URL is missing"),
        (["sdc", "sim:", "--epr", "seven"], 2, "'seven' is no UUID"),
        (["sdc", "sim:", "--location", "bench"], 2, "facility/point of care/bed"),
        (["sdc", "sim:", "--interval", "60"], 2, "every reading would be invalid"),
        (["sdc", "sim:", "--bind", "here"], 2, "'here' is no IP address"),
        (["sdc", "sim:", "--arm"], 2, "--arm"),
        (["sdc", "tcp://127.0.0.1:1"], 3, "nothing to show of it"),
    ],
)
def test_wrong_use_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    assert run(["hospital", *arguments]) == status
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_missing_extra_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.hospital.find_spec", lambda _name: None)
    for command in (["sdc", "sim:"], ["fhir", "sim:"]):
        assert run(["hospital", *command]) == 2
        assert "pip install 'itb-telemetry[hospital]'" in capsys.readouterr().err


@pytest.fixture
def served(home: Path) -> Iterator[tuple[str, str]]:
    """A simulator and a provider that follows it, in two processes: (URL of the pump, address of the provider)."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> dict[str, object]:
        process = subprocess.Popen([COMMAND, *arguments, "--json"], stdout=subprocess.PIPE, text=True, env=os.environ)
        started.append(process)
        assert process.stdout is not None
        line: dict[str, object] = json.loads(process.stdout.readline())
        return line

    try:
        urls = start("sim", "--listen", "tcp://127.0.0.1:0")["urls"]
        assert isinstance(urls, list)
        address = start("hospital", "sdc", urls[0], "--interval", "1", "--stale", "60")["address"]
        yield urls[0], str(address)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
    assert [process.returncode for process in started] == [0, 0]


def test_a_consumer_follows_a_served_pump_through_an_alarm_and_a_lost_contact(served: tuple[str, str]) -> None:
    url, address = served

    def telemetry(*arguments: str) -> None:
        subprocess.run([COMMAND, *arguments], check=True, capture_output=True, timeout=PATIENCE_S)

    with consumer(address) as (_, mdib):
        telemetry("control", url, "advance", "--days", "225")
        wait_until(mdib, lambda: state(mdib, "condition.low_reservoir").Presence)
        wait_until(mdib, lambda: state(mdib, "sound.low_reservoir").Presence.value == "On")
        telemetry("silence", url, "--minutes", "30", "--yes")
        wait_until(mdib, lambda: state(mdib, "sound.low_reservoir").ActivationState.value == "Psd")
        assert state(mdib, "condition.low_reservoir").Presence
        telemetry("control", url, "contact", "0")
        wait_until(mdib, lambda: state(mdib, "flow-rate").MetricValue.MetricQuality.Validity.value in {"Qst", "Inv"})
        wait_until(mdib, lambda: state(mdib, "condition.not-read").Presence)
        telemetry("control", url, "contact", "5")
        wait_until(mdib, lambda: state(mdib, "flow-rate").MetricValue.MetricQuality.Validity.value == "Vld")

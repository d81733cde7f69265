"""``telemetry flow`` as it is typed: the virtual bench in this process, and a walk of three shells."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from telemetry.flow.document import read_flow
from tests.cli.conftest import Done, home, telemetry
from tests.integration.conftest import COMMAND, PATIENCE_S, Place, place
from tests.support.letters import open_letters

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["home", "place", "telemetry"]
pytestmark = pytest.mark.real
SIX_AND_TWO = ("--rate-error", "6 %", "--cyclic-error", "2 %", "--cycle", "12 h", "--seed", "7")


@pytest.fixture(scope="module", autouse=True)
def _letters() -> None:
    open_letters()


def test_the_virtual_bench_shows_six_and_two_percent(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "run.flow.json"
    done = telemetry("flow", "sim", *SIX_AND_TWO, "-o", str(path), "--json")
    assert done.status == 0
    found = done.json
    assert found["simulated"]
    assert found["truth"]["overall_percent"] == pytest.approx(6, abs=1e-6)
    for shown, true in zip(found["measured"]["windows"], found["truth"]["windows"], strict=True):
        unsure = found["uncertainty_percent"][str(shown["window_ms"])]
        assert abs(shown["max_percent"] - true["max_percent"]) <= unsure
    assert read_flow(path).pump is not None
    picture = tmp_path / "t.png"
    assert telemetry("flow", "report", str(path), "-o", str(picture), "--panel", "trumpet").status == 0
    assert picture.stat().st_size > 5_000
    told = telemetry("flow", "report", str(path))
    assert "SIMULATED" in told.out
    assert "Overall A = +6.00 %" in told.out


def test_the_same_command_makes_the_same_file(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.flow.json", "b.flow.json")]
    for file in files:
        telemetry("flow", "sim", *SIX_AND_TWO, "--noise", "0.1 mg", "--slams", "6", "--hours", "60", "-o", str(file))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_blank_run_is_measured_and_used(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    blank = tmp_path / "blank.flow.json"
    evaporating = ("--evaporates", "0.4 mg/h", "--noise", "0.05 mg")
    first = telemetry("flow", "sim", "--no-flow", *evaporating, "-o", str(blank), "--json").json
    assert first["loss_ng_per_h"] == pytest.approx(399_580, abs=first["loss_uncertainty_ng_per_h"])
    used = telemetry("flow", "sim", *evaporating, "--hours", "200", "--blank", str(blank), "--json").json
    plain = telemetry("flow", "sim", *evaporating, "--hours", "200", "--json").json
    at_once = telemetry("flow", "sim", *evaporating, "--hours", "200", "--blank-run", "24 h", "--json").json
    assert plain["measured"]["overall_percent"] == pytest.approx(-2.0, abs=0.1)
    for found in (used, at_once):
        assert abs(found["measured"]["overall_percent"]) < found["uncertainty_percent"]["259200000"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sim", "--rate", "0.5"), "has no unit"),
        (("sim", "--cyclic-error", "2 %"), "--cycle: a cyclic error has a height and a length"),
        (("sim", "--resolution", "0.3 mg"), "--resolution: a last digit of 300000 ng is no power of ten"),
        (("sim", "--evaporates", "1 mg"), "--evaporates: '1 mg' is no number with one of the units"),
        (("sim", "--mishap", "flood@3h"), "write KIND@TIME"),
        (("sim", "--drops", "20 ul", "--tip", "1 mm"), "leave one out"),
        (("sim", "--hours", "5000"), "reservoir holds 40.0 ml"),
        (("sim", "--interval", "1 ms"), "below 100 ms"),
        (("sim", "--hours", "0.5"), "--hours, --interval: 0 readings, one every 1 h, is outside 1 to 100000"),
        (("sim", "--hours", "nan"), "--hours: nan is no number"),
        (("sim", "--rate-error", "-150 %"), "--rate-error: '-150 %' is outside −99.9999 to 99.9999 %"),
        (("sim", "--stroke", "0 nl"), "--stroke: 0 nl is no stroke"),
        (("sim", "--hours", "60", "--mishap", "tare@61h"), "'tare@61h' comes after the last reading, at 60 h"),
        (("sim", "--bolus", "20 ul", "--no-flow"), "a blank run has no boluses"),
        (("sim", "-o", "x.doc", "--hours", "60"), "the ending .doc is unknown"),
        (("report", "nowhere.flow.json"), "cannot be read"),
        (("measure", "tcp://127.0.0.1:1", "-o", "r.flow.json"), "--rate: say what the pump is set to"),
        (("measure", "tcp://127.0.0.1:1", "--rate", "1 ml/day"), "-o FILE is missing"),
        (("measure", "tcp://127.0.0.1:1", "--rate", "1 ml/day", "-o", "r.json"), "must end in .flow.json"),
        (("measure", "tcp://127.0.0.1:1", "--rate", "1 ml/day", "-o", "r.flow.json", "--drive"), "--drive: only"),
        (("measure", "tcp://127.0.0.1:1", "--pump", "auto", "-o", "r.flow.json"), "no simulator is running"),
        (("weigh", "nothing"), "nothing"),
        (("balance", "--pump", "auto", "--rate", "1 ml/day"), "the pump is the simulator's"),
        (("sim", "--blank-run", "24 h", "--evaporation", "1 mg/h"), "leave --blank and --evaporation out"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused(telemetry: Callable[..., Done], arguments: tuple[str, ...], words: str) -> None:
    done = telemetry("flow", *arguments)
    assert done.status == 2
    assert words in done.err
    assert done.out == ""


def test_a_balance_that_is_not_there_is_a_failed_link(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    done = telemetry("flow", "weigh", f"serial://{tmp_path}/none")
    assert done.status == 3
    assert "there is no such port; is the cable plugged in?" in done.err


# --- three shells ----------------------------------------------------------------------------------------------------


def started(place: Place, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A command that goes on until it is told to end, and the line that says where it is."""
    process = subprocess.Popen(
        [COMMAND, *arguments],
        env=place.environment,
        cwd=place.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate(timeout=PATIENCE_S)[1])
    return process, json.loads(line)


@pytest.mark.timeout(180)
def test_a_walk_of_three_shells(place: Place) -> None:
    pump = place.serve("--listen", "tcp://127.0.0.1:0", "--seed", "7")
    port = place.home / "balance"
    balance, hello = started(
        place, "flow", "balance", "--listen", f"pty://{port}", "--pump", "auto", "--protocol", "sbi", "--json"
    )
    try:
        assert hello["simulated"]
        (url,) = hello["urls"]
        weighed = place.json("flow", "weigh", url)
        assert (weighed["protocol"], weighed["outcome"], weighed["simulated"]) == ("sbi", "stable", True)
        wrong = place.run(
            "flow", "measure", url, "--pump", "auto", "--rate", "0.5 ml/day", "-o", "x.flow.json", check=False
        )
        assert wrong.returncode == 2
        assert "but the pump is set to 0.17 ml/day; set it with 'telemetry set-rate'" in " ".join(wrong.stderr.split())
        other = place.run("flow", "weigh", url, "--protocol", "sics", check=False)
        assert other.returncode == 3
        assert "it may speak another protocol than sics: say --protocol auto" in " ".join(other.stdout.split())
        measured = place.json(
            *("flow", "measure", url, "--pump", pump.urls[0], "--drive", "--hours", "9", "--stabilise", "2 h"),
            *("-o", "run.flow.json"),
        )
        assert measured["simulated"]
        assert measured["readings"] == 10
        assert abs(measured["measured"]["overall_percent"]) < 1
        run = read_flow(place.home / "run.flow.json")
        assert run.readings.truth_nl[-1] is not None
        # What it weighed is what the pump's own books say that it gave.
        truth = place.json("control", "inspect")["truth"]["delivered_nl"]
        assert truth >= run.readings.truth_nl[-1] == pytest.approx(170_000 * 9 / 24, abs=500)
        place.run("flow", "report", "run.flow.json", "-o", "run.pdf")
        assert (place.home / "run.pdf").read_bytes().startswith(b"%PDF")
    finally:
        balance.send_signal(signal.SIGINT)
        _, errors = balance.communicate(timeout=PATIENCE_S)
    assert balance.returncode == 0, errors
    assert not port.is_symlink()
    assert pump.end() == 0


@pytest.mark.timeout(120)
def test_an_interrupted_measurement_is_kept(place: Place) -> None:
    balance, hello = started(place, "flow", "balance", "--listen", "tcp://127.0.0.1:0", "--speed", "1000", "--json")
    path = place.home / "run.flow.json"
    measuring = subprocess.Popen(
        [
            *(COMMAND, "flow", "measure", hello["urls"][0], "--rate", "0.48 ml/day", "--scheme", "volumetric"),
            *("--interval", "100 ms", "--hours", "1", "-o", str(path), "--json"),
        ],
        env=place.environment,
        cwd=place.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert measuring.stderr is not None
        assert "sample 1 of" in measuring.stderr.readline()
    finally:
        measuring.send_signal(signal.SIGINT)
        out, errors = measuring.communicate(timeout=PATIENCE_S)
        balance.send_signal(signal.SIGINT)
        balance.communicate(timeout=PATIENCE_S)
    assert measuring.returncode == 0, errors
    assert json.loads(out)["ended"] == "interrupted"
    run = read_flow(path)
    assert run.ended == "interrupted"
    assert run.started_utc_ms is not None
    assert len(run.readings) >= 1


@pytest.mark.timeout(120)
def test_a_balance_that_never_comes_back_ends_the_measurement(place: Place) -> None:
    balance, hello = started(place, "flow", "balance", "--listen", "tcp://127.0.0.1:0", "--protocol", "and", "--json")
    measuring = subprocess.Popen(
        [
            *(COMMAND, "flow", "measure", hello["urls"][0], "--rate", "0.48 ml/day", "--interval", "100 ms"),
            *("--hours", "1", "--stabilise", "0 s", "--patience", "100 ms", "-o", "run.flow.json"),
        ],
        env=place.environment,
        cwd=place.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert measuring.stderr is not None
        assert "sample 1 of" in measuring.stderr.readline()
    finally:
        balance.send_signal(signal.SIGINT)
        balance.communicate(timeout=PATIENCE_S)
    out, errors = measuring.communicate(timeout=PATIENCE_S)
    assert measuring.returncode == 3, errors
    said = " ".join(errors.split())
    assert "gap: the link to the balance is gone" in said
    assert "the measurement ended early: no reading for more than" in said
    assert "kept in run.flow.json" in " ".join(out.split())
    run = read_flow(place.home / "run.flow.json")
    assert run.ended.startswith("no reading for more than")
    assert run.readings.mass_ng[0] is not None
    assert run.readings.mass_ng[-1] is None


def test_a_served_balance_says_what_to_type(place: Place) -> None:
    process = subprocess.Popen(
        [COMMAND, "flow", "balance", "--listen", "tcp://127.0.0.1:0"],
        env=place.environment,
        cwd=place.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "SIMULATED" in said[0]
    assert any("tcp://127.0.0.1:" in line for line in said)


def test_the_command_is_where_the_others_are() -> None:
    assert Path(sys.prefix) / "bin" / "telemetry" == COMMAND

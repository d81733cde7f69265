"""``telemetry report``: what it makes of a pump left alone, a run file and a scenario, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.sim.run import read_run
from telemetry.units import MS_PER_DAY, MS_PER_HOUR
from tests.support.letters import open_letters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def _letters() -> None:
    open_letters()


@pytest.fixture
def recorded(telemetry: Callable[..., Done], tmp_path: Path) -> Path:
    path = tmp_path / "pump.run.json"
    assert telemetry("report", "sim:?seed=3&rate_error_ppm=60000", "--days", "10", "-o", str(path)).status == 0
    return path


def test_a_pump_left_alone_is_recorded_and_reported(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    done = telemetry("report", "sim:?profile=itb-20&rate_error_ppm=60000", "--days", "5", "-o", str(path))
    assert done.status == 0
    assert "SIMULATED" in done.out
    assert f"written: {path}" in done.out.replace("\n", "")
    text = path.read_text(encoding="utf-8")
    assert "profile itb-20" in text
    assert "+6.00 %" in text


def test_a_run_file_is_reported_as_often_as_one_likes(
    telemetry: Callable[..., Done], recorded: Path, tmp_path: Path
) -> None:
    for name in ("a.pdf", "a.png", "a.csv", "a.zip", "a.parquet"):
        done = telemetry("report", str(recorded), "-o", str(tmp_path / name), "--json")
        assert done.status == 0
        assert done.json["simulated"] is True
        assert done.json["files"] == [str(tmp_path / name)]
        assert done.json["delivered_ng"] == pytest.approx(3_604_000, rel=1e-3)
        assert (done.json["from_ms"], done.json["to_ms"]) == (0, 10 * MS_PER_DAY)
        assert (tmp_path / name).stat().st_size > 1000


def test_a_folder_gets_every_table(telemetry: Callable[..., Done], recorded: Path, tmp_path: Path) -> None:
    done = telemetry("report", str(recorded), "-o", str(tmp_path / "tables"), "--json")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == sorted(
        file.rsplit("/", 1)[1] for file in done.json["files"]
    )
    assert (tmp_path / "tables" / "samples.csv").exists()


def test_the_dose_of_a_window_is_told(telemetry: Callable[..., Done], recorded: Path, tmp_path: Path) -> None:
    asked = ("--window", "24 h", "--from", "2 d", "--to", "8 d")
    done = telemetry("report", str(recorded), "-o", str(tmp_path / "a.html"), *asked, "--json")
    window = done.json["dose_window"]
    assert window["max_ng"] == pytest.approx(360_400, rel=2e-3)
    assert (window["window_ms"], window["from_ms"], window["to_ms"]) == (MS_PER_DAY, 2 * MS_PER_DAY, 8 * MS_PER_DAY)
    assert "any 24 h from day 2 00:00:00 to day 8 00:00:00" in (tmp_path / "a.html").read_text(encoding="utf-8")
    done = telemetry("report", str(recorded), "-o", str(tmp_path / "a.csv"), "--from", "9 d", "--json")
    assert done.json["dose_window"]["window_ms"] == MS_PER_DAY


def test_a_long_run_is_refilled_on_request(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "long.run.json"
    done = telemetry("report", "sim:", "--days", "700", "--refill-every", "180 d", "-o", str(path))
    assert done.status == 0
    run = read_run(path)
    assert [event.at_ms // MS_PER_DAY for event in run.events if event.kind == "refilled"] == [180, 360, 540]
    assert len(run.actions) == 3
    assert run.patient.accustomed_to_ng_per_day == 340_000


def test_the_grid_is_taken_as_asked(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "fine.run.json"
    assert telemetry("report", "sim:", "--days", "1", "--every", "10 min", "-o", str(path)).status == 0
    assert len(read_run(path).samples) == 145


def test_a_scenario_is_played_for_its_report(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "bridge.run.json"
    done = telemetry("report", "bridge-500-2000", "-o", str(path), "--json")
    assert done.status == 0
    assert done.json["expectations_failed"] == 0
    run = read_run(path)
    rates = dict(zip(run.samples.at_ms, run.samples.commanded_nl_per_day, strict=True))
    assert rates[30 * MS_PER_HOUR] == 600_000
    assert rates[run.samples.at_ms[-1]] == 150_000


def test_a_failing_scenario_is_reported_all_the_same(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.yaml"
    scenario.write_text(
        "title: never so\npump: {}\ntimeline:\n  - at: 2 d\n    expect: {status: {rate: 0.999 ml/day}}\n",
        encoding="utf-8",
    )
    done = telemetry("report", str(scenario), "-o", str(tmp_path / "wrong.html"), "--json")
    assert done.status == 0
    assert done.json["expectations_failed"] == 1
    assert "1 expectation(s) failed" in done.err.replace("\n", " ")
    assert "FAILED" in (tmp_path / "wrong.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "RUN is missing: a .run.json file, a scenario, or sim:"),
        (("sim:",), "-o FILE is missing"),
        (("sim:", "-o", "a.docx"), "the ending .docx is unknown; known: .html"),
        (("sim:?rate=1", "-o", "a.csv"), "rate"),
        (("sim:", "--refill-every", "0 s", "-o", "a.csv"), "--refill-every: 0 s is no interval"),
        (("sim:", "--every", "soon", "-o", "a.csv"), "soon"),
        (("none.run.json", "-o", "a.csv"), "none.run.json: cannot be read"),
        (("no-such-scenario", "-o", "a.csv"), "is no file, no folder and no stock scenario"),
        (("stock", "-o", "a.csv"), "scenarios; a report is of one"),
        (("a.run.json", "--days", "3", "-o", "a.csv"), "--days: says how a pump is recorded and goes with sim: only"),
        (("sim:", "--days", "2", "--window", "9 d", "-o", "a.html"), "does not fit into the 2 d"),
        (("sim:", "--days", "2", "--from", "3 d", "-o", "a.html"), "is outside the run"),
        (("sim:", "--days", "2", "--panel", "x", "-o", "a.png"), "this run has no 'x'; it has: rates"),
        (("sim:", "--days", "2", "--panel", "rates", "-o", "a.pdf"), "single pictures are written as .png"),
    ],
)
def test_what_cannot_be_is_refused(
    telemetry: Callable[..., Done],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = telemetry("report", *arguments)
    assert done.status == 2
    assert message in " ".join(done.err.split())
    assert list(tmp_path.glob("a.*")) == []


def test_a_scenario_that_cannot_be_played_says_where(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("title: x\ntimelime: []\n", encoding="utf-8")
    done = telemetry("report", str(tmp_path / "bad.yaml"), "-o", str(tmp_path / "a.csv"))
    assert done.status == 2
    assert "bad.yaml:2:1" in "".join(done.err.split())
    assert "did you mean 'timeline'?" in " ".join(done.err.split())

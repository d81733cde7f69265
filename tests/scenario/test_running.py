"""Many scenarios side by side, and their report as JUnit XML."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from telemetry.errors import UsageError
from telemetry.scenario import Result, Verdict, find_all, junit_xml, run_file, run_files, running, stock_files
from telemetry.sim.run import read_run

GOOD = "title: Fine\npump: {fill: 10 ml}\nends: 1 d\nfinally: {alarms: []}\n"
BAD = "title: Wrong <&>\npump: {fill: 10 ml}\nends: 1 d\nfinally: {alarms: [motor_stall]}\n"
NO_SCENARIO = "titel: x\n"


def written(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [folder / f"{name}.yaml" for name in texts]


def test_one_file_gives_a_result_whatever_is_wrong(tmp_path: Path) -> None:
    good, bad, none = written(tmp_path, good=GOOD, bad=BAD, none=NO_SCENARIO)
    assert run_file(good).verdict is Verdict.PASSED
    assert run_file(str(bad)).verdict is Verdict.FAILED
    result = run_file(none)
    assert result.verdict is Verdict.ERROR
    assert f"{none}:1:1: titel: is unknown here; did you mean 'title'?" in result.error


def test_a_defect_while_playing_is_a_result_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_arguments: object, **_options: object) -> Result:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(running, "play", break_down)
    (path,) = written(tmp_path, good=GOOD)
    result = run_file(path)
    assert result.verdict is Verdict.ERROR
    assert result.error.startswith("a defect of this program: ZeroDivisionError('oh')")


def side_by_side(paths: list[Path], *options: str) -> list[dict[str, Any]]:
    """By the command, in a process of its own: what Python keeps for its workers stays until that one ends."""
    command = [sys.executable, "-m", "telemetry", "scenario", "run", "--jobs", "2", "--json", *options]
    done = subprocess.run([*command, *map(str, paths)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return results


@pytest.mark.real
def test_side_by_side_gives_the_results_of_one_after_the_other(tmp_path: Path) -> None:
    paths = written(tmp_path, a=GOOD, b=BAD, c=NO_SCENARIO, d=GOOD)
    alone = [json.loads(json.dumps(result.plain())) for result in run_files(paths)]
    together = side_by_side(paths)
    assert [result["verdict"] for result in together] == ["passed", "failed", "error", "passed"]
    for result in (*alone, *together):
        del result["host_ms"]
    assert together == alone


@pytest.mark.real
def test_a_scenario_that_never_comes_back_takes_nobody_with_it(tmp_path: Path) -> None:
    # A profile file that is a pipe: reading it blocks outside the player, which cannot look at the time.
    pipe = tmp_path / "blocks.toml"
    os.mkfifo(pipe)
    stuck = f"title: x\npump: {{profile: {pipe}}}\nends: 1 d\nfinally: {{alarms: []}}\n"
    results = side_by_side(written(tmp_path, a=GOOD, b=stuck, c=GOOD), "--limit", "1")
    assert [result["verdict"] for result in results] == ["passed", "error", "passed"]
    assert results[1]["error"] == "did not come back within 1 s and was ended"


@pytest.mark.real
def test_a_worker_that_dies_takes_nobody_with_it(tmp_path: Path) -> None:
    pipe = tmp_path / "blocks.toml"
    os.mkfifo(pipe)
    deadly = f"title: x\npump: {{profile: {pipe}}}\nends: 1 d\nfinally: {{alarms: []}}\n"
    paths = written(tmp_path, a=GOOD, b=deadly, c=GOOD)
    command = [sys.executable, "-m", "telemetry", "scenario", "run", "--jobs", "2", "--json", *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for _ in range(2):  # once side by side with the others, once by itself
            kill_who_reads(pipe, process.pid)
        out, _ = process.communicate(timeout=60)
    results = json.loads(out)["results"]
    assert [result["verdict"] for result in results] == ["passed", "error", "passed"]
    assert results[1]["error"] == "its process died (out of memory, or killed)"


def kill_who_reads(pipe: Path, parent: int) -> None:
    """Kill the worker that waits for the pipe: opening it for writing succeeds as soon as somebody reads."""
    descriptor = os.open(pipe, os.O_WRONLY)
    try:
        while not (readers := [worker for worker in children_of(parent) if pipe_is_open_in(worker, pipe)]):
            time.sleep(0.01)
        for worker in readers:
            os.kill(worker, signal.SIGKILL)
            while pipe_is_open_in(worker, pipe):
                time.sleep(0.01)
    finally:
        os.close(descriptor)


def children_of(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()]


def pipe_is_open_in(process: int, pipe: Path) -> bool:
    try:
        return any(os.path.realpath(link) == str(pipe) for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False  # it is gone


def test_records_of_one_name_stand_side_by_side(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, same=GOOD)
    paths = find_all([str(tmp_path)])
    results = run_files(paths, record=tmp_path / "runs")
    assert [result.record for result in results] == [
        str(tmp_path / "runs" / "x" / "same.run.json"),
        str(tmp_path / "runs" / "y" / "same.run.json"),
    ]
    run = read_run(Path(results[0].record))
    assert (run.title, run.simulated) == ("Fine", True)
    assert [verdict.passed for verdict in run.verdicts] == [True]


def test_junit_says_what_build_servers_read(tmp_path: Path) -> None:
    results = run_files(written(tmp_path, good=GOOD, bad=BAD, none=NO_SCENARIO))
    suite = ET.fromstring(junit_xml(results)).find("testsuite")  # noqa: S314 - our own text
    assert suite is not None
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    cases = {case.get("name"): case for case in suite}
    failure = cases["bad"].find("failure")
    assert failure is not None
    assert failure.get("message") == "alarms: wanted exactly motor_stall, found none, at 1 d 00:00:00"
    assert "wanted  exactly motor_stall" in str(failure.text)
    error = cases["none"].find("error")
    assert error is not None
    assert "titel: is unknown here" in str(error.text)
    assert cases["good"].find("failure") is None


def test_what_is_meant_is_found_once_and_in_order(tmp_path: Path) -> None:
    paths = written(tmp_path, b=GOOD, a=BAD)
    assert find_all([str(tmp_path)]) == sorted(paths)
    assert find_all([str(paths[0]), str(tmp_path)]) == [paths[0], paths[1]]
    stock = stock_files()
    assert find_all(["bridge-500-2000"]) == [stock["bridge-500-2000"]]
    assert find_all([]) == list(stock.values())
    with pytest.raises(UsageError, match="stock ones with that: bridge-500-2000"):
        find_all(["bridge-500-200"])
    with pytest.raises(UsageError, match="did you mean 'journey'"):
        find_all(["jurney"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no scenario"):
        find_all([str(tmp_path / "empty")])


def test_the_alarm_clock_of_a_worker_is_taken_down(tmp_path: Path) -> None:
    (path,) = written(tmp_path, good=GOOD)
    before = signal.getsignal(signal.SIGALRM)
    try:
        running._play_one(running._Job(path, None, 5_000))
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)

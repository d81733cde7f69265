"""telemetry conform: what is run, printed and written, and the exit status."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from telemetry.conform import paper
from telemetry.conform.manifest import schema_text as manifest_schema
from telemetry.conform.results import Verdict, read_run
from telemetry.conform.results import schema_text as run_schema
from telemetry.transport.capture import read_capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real

OPERATOR = f"{sys.executable} -m telemetry.conform.own_program"
SLOW = "equipment: [{name: Slow tablet}]\nlimits: {give_up_ms: 1}\n"
MODEST = "equipment: [{name: Reader, version: '1'}]\nclaims: [read]\n"


def test_our_own_programmer_passes_and_leaves_what_was_asked_for(
    telemetry: Callable[..., Done], tmp_path: Path
) -> None:
    files = {name: tmp_path / f"run.{ending}" for name, ending in (("--output", "conform.json"), ("--junit", "xml"))}
    options = [word for name, path in files.items() for word in (name, str(path))]
    done = telemetry("conform", "--own", "--steps", "P-0*,P-41", "--steps", "refusals", "--seed", "3", *options)
    assert done.status == 0
    assert "PASS" in done.out
    assert "P-41  Never repeats a bolus" in done.out
    assert "SIMULATED" in done.out
    run = read_run(files["--output"])
    assert run.seed == 3
    assert {step.group for step in run.steps} == {"reading", "doses", "refusals"}
    suite = ET.fromstring(files["--junit"].read_text()).find("testsuite")  # noqa: S314 - our own text
    assert suite is not None
    assert suite.get("tests") == str(len(run.steps))


def test_json_is_one_object(telemetry: Callable[..., Done]) -> None:
    done = telemetry("conform", "--own", "--steps", "P-80", "--json")
    assert done.status == 0
    assert done.json["counts"]["passed"] == 1
    assert done.json["simulated"] is True
    assert "P-80" in done.err


def test_a_finding_ends_with_1_and_says_expected_observed_and_the_frames_around(
    telemetry: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text(SLOW, encoding="utf-8")
    done = telemetry("conform", "--own", "--steps", "P-80", "--manifest", str(tmp_path / "slow.yaml"))
    assert done.status == 1
    assert "FAIL         P-80" in done.out
    assert "expected: gave up after (nothing passes): at most 1 ms" in done.out
    assert "-> ReadTelemeter  (lost by the kit)" in done.out
    assert "1 failed" in done.out


def test_what_is_not_claimed_is_told_and_not_passed(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "modest.yaml").write_text(MODEST, encoding="utf-8")
    done = telemetry("conform", "--own", "--manifest", str(tmp_path / "modest.yaml"), "--json")
    assert done.status == 0
    assert done.json["counts"]["not_claimed"] > 40
    assert done.json["counts"]["passed"] > 10


def test_a_programmer_behind_a_listener_and_its_capture(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "a b.telcap"
    done = telemetry(
        "conform", "--listen", "tcp://127.0.0.1:0", "--operator", OPERATOR, "--steps", "P-27", "--capture", str(path)
    )
    assert done.status == 0, done.err
    assert "SIMULATED pump at tcp://127.0.0.1:" in done.err
    names = {frame.message["name"] for frame in read_capture(path).frames() if frame.message}
    assert {"SetRate", "Staged", "Commit", "VerdictReport"} <= names


def test_a_device_in_this_process(telemetry: Callable[..., Done]) -> None:
    done = telemetry("conform", "sim:", "--steps", "D-01")
    assert done.status == 0, done.err
    assert "D-01" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Commands:"),
        (("--seed", "1"), "nothing is given"),
        (("sim:", "--own"), "URL and --own are given"),
        (("--own", "--operator", "x"), "only a programmer or a subscriber has an operator"),
        (("--own", "--arm"), "--arm: it is for a device"),
        (("--own", "--steps", "Q-1"), "no programmer step fits 'Q-1'"),
        (("--own", "--manifest", "none.yaml"), "none.yaml: cannot be read"),
        (("--own", "--capture", "x.telcap"), "has no link of its own to record"),
        (("--subscriber", "mqtt://127.0.0.1:1/a"), "nobody can be asked here"),
        (("lists",), "lists: neither a URL nor a command; the commands are"),
        (("--subscriber", "http://127.0.0.1:1/a", "--operator", "true"), "--subscriber: 'http://127.0.0.1:1/a' is no"),
        (("--own", "--pdf", "report.html"), "give a name that ends in .pdf"),
        (("--own", "-o", "own.pdf"), "own.pdf: give a name that ends in .json"),
        (("--own", "--junit", "own.json"), "own.json: give a name that ends in .xml"),
        (("--own", "--junit", "no/folder/x.xml"), "there is no folder"),
        (("--listen", "tcp://127.0.0.1:0"), "nobody can be asked here"),
        (("--listen", "tcp://127.0.0.1:0", "--operator", "/no/such"), "/no/such: cannot be started"),
        (("--listen", "carrier:pigeon", "--operator", "true"), "carrier"),
        (("list", "X-1"), "no step fits X-1"),
        (("render", "none.json", "-o", "x.pdf"), "none.json: cannot be read"),
        (("render", "none.json"), "--output"),
    ],
)
def test_misuse_ends_with_2_and_says_what_would_be_right(
    telemetry: Callable[..., Done], home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(home)
    done = telemetry("conform", *arguments)
    assert done.status == 2
    assert words in " ".join((done.err + done.out).split())
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(("option", "ending"), [("-o", "json"), ("--junit", "xml"), ("--pdf", "pdf")])
def test_what_cannot_be_written_is_told_before_the_first_step(
    telemetry: Callable[..., Done], tmp_path: Path, option: str, ending: str
) -> None:
    (tmp_path / f"run.{ending}").symlink_to(tmp_path / "gone" / "run")
    done = telemetry("conform", "--own", "--steps", "P-01", option, str(tmp_path / f"run.{ending}"))
    assert done.status == 2
    assert f"run.{ending}: cannot be written: No such file" in done.err
    assert "P-01" not in done.out


def test_what_was_there_stays_until_the_run_is_written(telemetry: Callable[..., Done], tmp_path: Path) -> None:
    run, cases = tmp_path / "x.conform.json", tmp_path / "x.xml"
    run.write_text("older", encoding="utf-8")
    done = telemetry("conform", "tcp://127.0.0.1:1", "-o", str(run), "--junit", str(cases))
    assert done.status == 3
    assert run.read_text(encoding="utf-8") == "older"
    assert not cases.exists()


def test_a_broker_that_is_not_there_ends_with_3_before_any_step(telemetry: Callable[..., Done]) -> None:
    done = telemetry("conform", "--subscriber", "mqtt://127.0.0.1:1/a", "--operator", "true")
    assert done.status == 3
    assert "is the broker running?" in done.err
    assert "S-01" not in done.out


def test_the_list_has_every_step_with_who_asks_for_it(telemetry: Callable[..., Done]) -> None:
    done = telemetry("conform", "list", "P-4*", "links", "--json")
    steps = [step for subject in done.json["subjects"] for step in subject["steps"]]
    assert {"P-41", "P-80"} <= {step["number"] for step in steps}
    assert all(step["sources"] for step in steps)
    shown = telemetry("conform", "list", "P-41")
    assert "trust.md 5.12" in " ".join(shown.out.split())


def test_a_run_is_rendered_again(
    telemetry: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, str]] = []
    monkeypatch.setattr(paper, "write", lambda run, path: made.append((len(run.steps), path.name)))
    run, cases = tmp_path / "x.conform.json", tmp_path / "x.xml"
    done = telemetry("conform", "--own", "--steps", "P-01", "--output", str(run), "--pdf", str(tmp_path / "y.pdf"))
    assert done.status == 0
    for name in ("x.xml", "x.html"):
        assert telemetry("conform", "render", str(run), "-o", str(tmp_path / name)).status == 0
    assert made == [(1, "y.pdf"), (1, "x.html")]
    assert "P-01" in cases.read_text(encoding="utf-8")
    assert {step.verdict for step in read_run(run).steps} == {Verdict.PASS}


def test_the_schemas_are_printed(telemetry: Callable[..., Done]) -> None:
    assert telemetry("conform", "schema").out == manifest_schema()
    assert json.loads(telemetry("conform", "schema", "run").out) == json.loads(run_schema())

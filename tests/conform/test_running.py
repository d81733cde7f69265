"""The runner: how a step's end becomes a verdict, and what it never swallows. And what a catalogue takes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from telemetry.conform.junit import junit_xml
from telemetry.conform.manifest import Manifest
from telemetry.conform.operator import OperatorGone, OperatorSilent
from telemetry.conform.programmer.catalogue import programmer_steps
from telemetry.conform.recorder import KEPT_FRAMES, LONGEST_TEXT, Recorder
from telemetry.conform.results import EvidenceKind, FrameSeen, Subject, Verdict
from telemetry.conform.running import Plan, run_steps
from telemetry.conform.steps import Blocked, Catalogue, Inconclusive, Source, Step, StopRun
from telemetry.errors import UsageError
from tests.support.turns import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.virtual

TEXTS = {"title": "t", "purpose": "p", "stimulus": "s", "expected": "e", "sources": (Source("domain.md", "1"),)}


class Stage:
    def __init__(self, record: Recorder) -> None:
        self.record = record


class Kit:
    link = "nowhere"

    def __init__(self) -> None:
        self.closed: list[str] = []
        self._now_ms = 0

    def now_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms

    @contextlib.asynccontextmanager
    async def stage(self, step: Step[Stage], record: Recorder) -> AsyncIterator[Stage]:
        try:
            yield Stage(record)
        finally:
            self.closed.append(step.number)


def catalogue(*acts: Callable[[Stage], Awaitable[None]]) -> Catalogue[Stage]:
    made: Catalogue[Stage] = Catalogue(Subject.PROGRAMMER, {"read": "reads", "bolus": "gives boluses"})
    for number, act in enumerate(acts, start=1):
        made.step(f"P-{number:02}", group="g", **TEXTS)(act)  # type: ignore[arg-type]
    return made


async def passes(stage: Stage) -> None:
    stage.record.expect(True, "a", "b")


async def fails(stage: Stage) -> None:
    stage.record.expect(False, "one \x07 thing", "another")
    stage.record.demand(False, "a third", "a fourth")
    raise AssertionError("demand ends the step")


def raising(error: Exception, *, found: bool = False) -> Callable[[Stage], Awaitable[None]]:
    async def act(stage: Stage) -> None:
        if found:
            stage.record.expect(False, "a", "b")
        raise error

    return act


async def test_each_end_of_a_step_is_a_verdict_of_its_own() -> None:
    kit = Kit()
    made = catalogue(
        passes,
        fails,
        raising(Inconclusive("dark")),
        raising(Blocked("no link")),
        raising(OperatorSilent("asleep")),
        raising(Inconclusive("dark"), found=True),
        raising(OperatorGone("ended")),
        passes,
    )
    told: list[str] = []
    run = await run_steps(made, kit, Plan(seed=4), on_result=lambda result: told.append(result.number))
    verdicts = [step.verdict for step in run.steps]
    assert verdicts == [
        Verdict.PASS,
        Verdict.FAIL,
        Verdict.INCONCLUSIVE,
        Verdict.BLOCKED,
        Verdict.INCONCLUSIVE,
        Verdict.FAIL,
        Verdict.BLOCKED,
        Verdict.BLOCKED,
    ]
    assert run.steps[-1].reason == "ended"
    assert told == [f"P-0{number}" for number in range(1, 9)]
    assert kit.closed == told[:-1]
    assert [one.expected for one in run.steps[1].findings] == ["one � thing", "a third"]
    assert not run.passed
    assert run.steps[0].ended_ms > run.steps[0].started_ms
    assert [deviation.step for deviation in run.deviations] == ["", "P-03", "P-04", "P-05", "P-07", "P-08"]


async def test_stop_run_blocks_what_comes_after() -> None:
    run = await run_steps(catalogue(raising(StopRun("unplugged")), passes), Kit(), Plan())
    assert [step.verdict for step in run.steps] == [Verdict.BLOCKED, Verdict.BLOCKED]


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_run_that_is_interrupted_is_kept_where_that_is_wanted(keeps: bool) -> None:
    async def waits(_stage: Stage) -> None:
        await asyncio.get_running_loop().create_future()

    kit = Kit()
    plan = Plan(keeps_interrupted=keeps)
    task = asyncio.create_task(run_steps(catalogue(passes, waits, passes), kit, plan))
    await turns(5)
    task.cancel()
    if not keeps:
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    run = await task
    assert [step.verdict for step in run.steps] == [Verdict.PASS, Verdict.BLOCKED, Verdict.BLOCKED]
    assert run.steps[2].reason == "interrupted"
    assert kit.closed == ["P-01", "P-02"]


async def test_a_defect_of_the_kit_is_no_verdict() -> None:
    kit = Kit()
    with pytest.raises(ZeroDivisionError):
        await run_steps(catalogue(raising(ZeroDivisionError())), kit, Plan())
    assert kit.closed == ["P-01"]


async def test_junit_counts_and_names_what_was_found() -> None:
    made = catalogue(passes, fails, raising(Inconclusive("dark \x00")), raising(Blocked("no link")), passes)
    plan = Plan(manifest=Manifest(left_out={"P-05": "never"}))
    root = ET.fromstring(junit_xml(await run_steps(made, Kit(), plan)))  # noqa: S314 - our own text
    suite = root.find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "2",
        "skipped": "1",
    }
    assert "SIMULATED" in (suite.get("name") or "")
    cases = suite.findall("testcase")
    assert [[child.tag for child in case][:-1] for case in cases] == [
        [],
        ["failure"] * 2,
        ["error"],
        ["error"],
        ["skipped"],
    ]
    assert "observed: another" in (cases[1].find("failure").text or "")  # type: ignore[union-attr]
    assert all("asked for by: domain.md 1" in (case.findtext("system-out") or "") for case in cases)


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        ("D-01", {}, "not of the form P-07"),
        ("P-1", {}, "not of the form"),
        ("P-01", {}, "taken by 't'"),
        ("P-02", {"purpose": " "}, "P-02: purpose is empty"),
        ("P-02", {"sources": ()}, "say who asks"),
        ("P-02", {"claims": ("fly",)}, "'fly' is none of read, bolus"),
    ],
)
def test_a_step_is_declared_whole_or_not_at_all(number: str, change: dict[str, object], words: str) -> None:
    made = catalogue(passes)
    with pytest.raises(UsageError, match=words):
        made.step(number, group="g", **{**TEXTS, **change})(passes)  # type: ignore[arg-type]
    assert len(made) == 1


def test_steps_are_chosen_by_number_pattern_and_group() -> None:
    steps = programmer_steps()
    assert [step.number for step in steps.select(["P-03", " p-41 "])] == ["P-03", "P-41"]
    assert {step.number[:3] for step in steps.select(["P-1*"])} == {"P-1"}
    assert {step.group for step in steps.select(["alarms"])} == {"alarms"}
    assert steps.select([]) == tuple(steps)
    assert steps["P-03"].number == "P-03"
    with pytest.raises(UsageError, match="no step P-99"):
        steps["P-99"]


def test_every_step_of_a_programmer_is_told_in_sentences_and_cites_somebody() -> None:
    for step in programmer_steps():
        for text in (step.purpose, step.stimulus, step.expected):
            assert not text[0].islower(), (step.number, text)
            assert text[-1] in ".?", (step.number, text)
        assert not step.title.endswith("."), step.number
        assert step.sources
        assert step.claims


async def test_a_record_is_bounded_and_fit_for_print() -> None:
    record = Recorder(lambda: 5)
    record.tell(EvidenceKind.NOTE, "x" * (LONGEST_TEXT + 1), "a\x1b[31mb\nc")
    assert len(record.evidence[0].what) == LONGEST_TEXT
    assert record.evidence[0].found == "a�[31mb\nc"
    for number in range(KEPT_FRAMES + 3):
        record.frame(FrameSeen(at_ms=number, direction="to_pump", message="x", size=1))
    assert len(record.frames) == KEPT_FRAMES
    assert record.frames_left_out == 3
    assert record.frames[0].at_ms == 3
    record.measure("late", "ms", [4, 6], limit=5)
    assert [finding.observed for finding in record.findings] == ["4, 6 ms"]

"""Operators behind a pipe and at a terminal: what they answer is taken, what they do wrong ends in words."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from telemetry.conform.asking import HELP, Person
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, OperatorGone, OperatorSilent
from telemetry.conform.piping import Program
from telemetry.conform.programmer.running import run_served
from telemetry.conform.results import Verdict
from telemetry.errors import LinkError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.real

SHOW = Act(ActKind.SHOW, field="dose", words="Tell the dose.", limit_ms=20_000)
ALARMS = Act(ActKind.SHOW, field="alarms", words="Tell the alarms.", limit_ms=20_000)
ANSWERS = """
import json, sys
said = [{replies}]
for line in sys.stdin:
    told = json.loads(line)
    if "act" in told:
        sys.stdout.write(said.pop(0) + "\\n" if said else "")
        sys.stdout.flush()
        if not said and {ends}:
            break
"""


async def program(tmp_path: Path, *replies: str, ends: bool = False) -> Program:
    path = tmp_path / "answering.py"
    path.write_text(ANSWERS.format(replies=", ".join(repr(one) for one in replies), ends=ends), encoding="utf-8")
    return await Program.start(f"{sys.executable} {path}")


async def test_answers_are_taken_in_turn_and_late_ones_dropped(tmp_path: Path) -> None:
    late = json.dumps({"number": 1, "answer": "done"}) + "\\n" + json.dumps({"number": 2, "answer": "nothing"})
    made = await program(tmp_path, '{"number": 1, "answer": "shown", "text": "340 µg/day"}', late.replace("\\n", "\n"))
    try:
        await made.greet("tcp://127.0.0.1:1")
        await made.begin("P-01", "x")
        assert await made.do(SHOW) == Answer(AnswerKind.SHOWN, "340 µg/day")
        assert await made.do(SHOW) == Answer(AnswerKind.NOTHING)
        await made.end("P-01", "pass")
    finally:
        await made.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("340", "an answer is"),
        ("hello", "no JSON line: 'hello'"),
        ('{"number": 2, "answer": "done"}', "the present one is 1"),
        ('{"number": 1, "answer": "maybe"}', "one of done, shown"),
        ('{"number": 1, "answer": "shown", "text": 7}', "with a text"),
        ('{"number": true, "answer": "done"}', "answered act True"),
        ('{"number": 1, "answer": "done", "more": 1}', "an answer is"),
        ("x" * 70_000, "more than 65536 bytes"),
        ("[" * 5_000, "no JSON line"),
    ],
)
async def test_what_is_no_answer_ends_the_run_with_the_line(tmp_path: Path, reply: str, words: str) -> None:
    made = await program(tmp_path, reply)
    try:
        with pytest.raises(OperatorGone, match=words):
            await made.do(SHOW)
    finally:
        await made.close()


async def test_a_program_that_ends_or_says_nothing_is_told_as_such(tmp_path: Path) -> None:
    made = await program(tmp_path, '{"number": 1, "answer": "done"}', ends=True)
    try:
        await made.do(SHOW)
        with pytest.raises(OperatorGone, match="has ended"):
            await made.do(SHOW)
    finally:
        await made.close()
    made = await program(tmp_path)
    try:
        with pytest.raises(OperatorSilent, match="no answer within 0 s: Tell the dose"):
            await made.do(Act(ActKind.SHOW, field="dose", words="Tell the dose.", limit_ms=50))
    finally:
        await made.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [("/no/such/program", "cannot be started"), ("", "names no program"), ("a 'b", "as a command")],
)
async def test_a_program_that_cannot_be_started_is_misuse(command: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        await Program.start(command)


# --- at the terminal --------------------------------------------------------------------------------------------------


@pytest.fixture
async def typed() -> AsyncIterator[tuple[Person, int, io.StringIO]]:
    """A person, what is typed for him, and what he is told."""
    reading, writing = os.pipe()
    out = io.StringIO()
    person = Person(reading, out)
    try:
        yield person, writing, out
    finally:
        await person.close()
        os.close(reading)
        with contextlib.suppress(OSError):
            os.close(writing)


@pytest.mark.parametrize(
    ("act", "text", "answer"),
    [
        (SHOW, "340 µg/day\n", Answer(AnswerKind.SHOWN, "340 µg/day")),
        (SHOW, "\n", Answer(AnswerKind.NOTHING)),
        (SHOW, "skip\n", Answer(AnswerKind.SKIPPED)),
        (SHOW, "cannot\n", Answer(AnswerKind.UNABLE)),
        (Act(ActKind.CONFIRM, words="Confirm."), "Done.\n", Answer(AnswerKind.DONE, "Done.")),
        (Act(ActKind.CONFIRM, words="Confirm."), "refused too late\n", Answer(AnswerKind.REFUSED, "too late")),
        (ALARMS, "HIGH stall\nLOW res\n\n", Answer(AnswerKind.SHOWN, "HIGH stall\nLOW res")),
        (Act(ActKind.WAIT, words="Wait.", ms=1), "", Answer(AnswerKind.DONE)),
    ],
)
async def test_a_person_types_what_the_screen_says(
    typed: tuple[Person, int, io.StringIO], act: Act, text: str, answer: Answer
) -> None:
    person, writing, out = typed
    await person.begin("P-01", "Interrogates the pump")
    os.write(writing, text.encode())
    assert await person.do(act) == answer
    await person.end("P-01", "pass")
    for words in (HELP.splitlines()[0], "P-01: Interrogates the pump", act.words, "P-01: pass"):
        assert words in out.getvalue()


async def test_a_person_who_has_gone_or_is_asleep_is_told_as_such(typed: tuple[Person, int, io.StringIO]) -> None:
    person, writing, _ = typed
    with pytest.raises(OperatorSilent, match="no answer within 0 s"):
        await person.do(Act(ActKind.CONFIRM, words="Confirm.", limit_ms=20))
    os.write(writing, b"x" * 10_000)
    with pytest.raises(OperatorSilent, match="longer than"):
        await person.do(SHOW)
    os.close(writing)
    with pytest.raises(OperatorGone, match="ended"):
        await person.do(SHOW)


async def test_a_file_is_no_person(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(UsageError, match="give --operator"):
        Person(file.fileno(), io.StringIO())


# --- the whole way ----------------------------------------------------------------------------------------------------


async def test_our_tablet_as_a_program_passes_over_tcp() -> None:
    links: list[str] = []
    run = await run_served(
        "tcp://127.0.0.1:0",
        f"{sys.executable} -m telemetry.conform.own_program",
        patterns=["P-01", "P-14", "P-23", "P-27", "P-34", "P-35", "P-55", "P-87"],
        on_link=links.append,
    )
    assert [(step.number, one.observed) for step, one in run.findings()] == []
    assert {step.verdict for step in run.steps} == {Verdict.PASS}
    assert links == [run.link]
    assert run.link.startswith("tcp://127.0.0.1:")


async def test_a_program_that_ends_blocks_the_rest_of_the_run() -> None:
    run = await run_served("tcp://127.0.0.1:0", f"{sys.executable} -c pass", patterns=["P-0*"])
    assert {step.verdict for step in run.steps} == {Verdict.BLOCKED}
    assert "has ended" in run.steps[-1].reason
    assert not run.passed


async def test_a_program_that_has_ended_before_it_is_greeted_blocks_and_is_no_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Program.start

    async def ended(command: str) -> Program:
        made = await start(command)
        assert await made._process.wait() == 0
        return made

    monkeypatch.setattr(Program, "start", ended)
    run = await run_served("tcp://127.0.0.1:0", f"{sys.executable} -c pass", patterns=["P-01"])
    assert [(step.verdict, "ended with status 0" in step.reason) for step in run.steps] == [(Verdict.BLOCKED, True)]


async def test_a_program_that_floods_blocks_and_leaves_nothing_behind() -> None:
    run = await run_served("tcp://127.0.0.1:0", "yes", patterns=["P-01"])
    assert [step.verdict for step in run.steps] == [Verdict.BLOCKED]
    assert "no JSON line: 'y'" in run.steps[0].reason


def test_a_flood_outlives_no_loop() -> None:
    """The transport of a pipe that is still full is closed with the program, not when it is collected."""
    code = (
        "import asyncio\n"
        "from telemetry.conform.programmer.running import run_served\n"
        "asyncio.run(run_served('tcp://127.0.0.1:0', 'yes', patterns=['P-01']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_listener_that_cannot_be_had_is_a_link_error_and_leaves_no_program() -> None:
    held = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = held.sockets[0].getsockname()[1]
    try:
        with pytest.raises(LinkError):
            await run_served(f"tcp://127.0.0.1:{port}", f"{sys.executable} -m telemetry.conform.own_program")
    finally:
        held.close()
        await held.wait_closed()

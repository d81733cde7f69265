"""Every command of the pages is run, page by page, in the order in which it stands, by someone who has nothing else."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from telemetry.cli.app import commands
from tests.integration.conftest import PATIENCE_S
from tests.support.documented import Block, Step, blocks, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.prefix) / "bin"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PORT = "tcp://127.0.0.1:7410"
MINE = """\
title: The low-reservoir alarm comes at its instant
tags: [refill]
pump: {fill: 10 ml, therapy: {rate: 0.5 ml/day}}
timeline:
  - when: {event: alarm_raised, detail: low_reservoir}
    expect: {status: {reservoir: 2 ml}}
"""


def of_commands(page: Path) -> list[Block]:
    """Blocks of our own commands; the walk of the README has a test of its own (``test_readme.py``)."""
    kinds = {"", "sh"} if page.name == "README.md" else {"", "sh", "console"}
    found = [block for block in blocks(page) if block.kind in kinds and block.steps()]
    return [block for block in found if any(step.command.startswith("telemetry ") for step in block.steps())]


WITH_COMMANDS = [page for page in PAGES if of_commands(page)]


class Reader:
    """A shell in a folder of its own. ``telemetry sim`` stays in the background, on a port that is free."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.urls: dict[str, str] = {}
        self.served: list[subprocess.Popen[str]] = []
        path = f"{BIN}:/usr/bin:/bin"
        self.environment = {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "COLUMNS": "100"}

    def play(self, step: Step) -> None:
        if step.command.startswith("telemetry sim"):
            self.serve(shlex.split(step.command)[2:])
            return
        command = step.command
        for said, real in self.urls.items():
            command = command.replace(said, real)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0, f"{step.command}: {done.returncode}: {done.stderr}{done.stdout}"
        got = [words_of(line) for line in (done.stdout + done.stderr).splitlines()]
        for line in step.expected:
            assert words_of(line) in got, f"{step.command}\n{line}\n" + "\n".join(got)

    def serve(self, options: list[str]) -> None:
        said = PORT
        if "--listen" in options:
            at = options.index("--listen")
            said = options[at + 1]
            del options[at : at + 2]
        process = subprocess.Popen(
            [BIN / "telemetry", "sim", *options, "--listen", "tcp://127.0.0.1:0", "--json"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.served.append(process)
        assert process.stdout is not None
        (self.urls[said],) = json.loads(process.stdout.readline())["urls"]

    def end(self) -> None:
        for process in self.served:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Has what a reader of the pages has: the repository's examples, a folder for pictures, a scenario of one's own."""
    shutil.copytree(ROOT / "examples" / "reports", tmp_path / "examples" / "reports")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "my-scenarios").mkdir()
    for name in ("mine.yaml", "my-scenarios/mine.yaml"):
        (tmp_path / name).write_text(MINE, encoding="utf-8")
    made = Reader(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, reader: Reader) -> None:
    if page.stem == "reports":  # its second half reads what its example in Python writes
        (code,) = [block.text for block in blocks(page) if block.kind == "python"]
        subprocess.run([BIN / "python", "-c", code], cwd=reader.home, env=reader.environment, check=True, timeout=60)
    if page.stem == "faults":  # its commands are for "the running simulator"
        reader.serve([])
    for block in of_commands(page):
        if not block.why_not:
            for step in block.steps():
                reader.play(step)


def test_pages_with_commands_are_found() -> None:
    assert {page.stem for page in WITH_COMMANDS} >= {"README", "tour", "reports", "scenarios", "ble"}
    assert sum(len(block.steps()) for page in WITH_COMMANDS for block in of_commands(page)) >= 50


def test_a_block_that_is_not_run_says_why_not() -> None:
    reasons = {block.why_not for page in WITH_COMMANDS for block in of_commands(page) if block.why_not}
    assert all(len(reason.split()) >= 3 for reason in reasons), reasons


# Examples of other pages are fragments, or have tests of their own: README, testing, reports, patient-model, …
CODE = [
    pytest.param(block.text, id=f"{name}-{number}")
    for name in ("alarms", "driver", "faults", "scenarios")
    for number, block in enumerate(blocks(ROOT / "docs" / f"{name}.md"))
    if block.kind == "python"
]


@pytest.mark.parametrize("code", CODE)
def test_the_python_of_a_page_runs(code: str, reader: Reader) -> None:
    done = subprocess.run(
        [BIN / "python", "-W", "error", "-c", code],
        cwd=reader.home,
        env=reader.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- commands within the text: what they name must be there ----------------------------------------------------------

SPANS = sorted(
    {span for page in PAGES for span in re.findall(r"`(telemetry [^`]+)`", page.read_text(encoding="utf-8"))}
)


@pytest.mark.parametrize("span", SPANS)
def test_a_command_in_the_text_is_one(span: str) -> None:
    words = shlex.split(span.replace("…", "").replace("\\|", "|"))[1:]
    command: click.Command = commands
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name.startswith("[") or name in {"URL", "COMMAND"} or "://" in name:
            continue
        named = [command.get_command(click.Context(command), one) for one in name.split("|")]
        assert None not in named, f"{name}: no command of '{command.name}'"
        command = named[0] or command
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.fullmatch(r"--[a-z-]+|-[a-z]", word):
            assert word in known | {"--help"}, f"{word}: no option of '{command.name}'"

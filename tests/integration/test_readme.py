"""Everything in the README is executed, in a bare environment, as a newcomer would type it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import PATIENCE_S
from tests.support.documented import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
ENVIRONMENT = Path(sys.prefix)


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def bare(home: Path) -> dict[str, str]:
    measuring = {name: value for name, value in os.environ.items() if name.startswith("COV")}
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", **measuring}


class Running:
    """``make run`` as the README has it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        # The environment is the one that runs this test: it must not be built anew under its feet.
        self.process = subprocess.Popen(
            ["make", "run", "PORT=0", f"VENV={ENVIRONMENT}", "-o", f"{ENVIRONMENT}/.run-ready"],
            cwd=ROOT,
            env=bare(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.shown = ""
        while "Ctrl-C ends it" not in self.shown:
            line = self.process.stdout.readline()
            assert line, f"make run ended: {self.shown}"
            self.shown += line
        self.terminal = re.search(r"serial://\S+", self.shown)
        self.tcp = re.search(r"tcp://\S+", self.shown)

    def type(self, command: str) -> str:
        assert self.terminal is not None
        assert self.tcp is not None
        mine = (
            command.replace("serial:///dev/pts/3", self.terminal[0])
            .replace("tcp://127.0.0.1:7410", self.tcp[0])
            .replace(".venv/bin/", f"{ENVIRONMENT}/bin/")
        )
        done = subprocess.run(
            ["bash", "-c", mine],
            cwd=ROOT,
            env=bare(self.home),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def interrupt(self) -> str:
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C: to make and to its child
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        return rest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme") / "home"


@pytest.fixture
def running(home: Path) -> Iterator[Running]:
    made = Running(home)
    yield made
    if made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)
        made.process.communicate(timeout=PATIENCE_S)


def test_the_first_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    typed = [line.split("#")[0].split() for line in blocks("")[0].splitlines()]
    assert [command[:2] for command in typed] == [["make", "run"], ["make", "test"]]
    for _, target in typed:
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)


def test_the_walk_is_as_it_is_written(running: Running) -> None:
    steps = [step for block in blocks("console") for step in block.split("$ ")[1:]]
    assert len(steps) >= 6
    for step in steps:
        command, *expected = step.splitlines()
        got = [words_of(line) for line in running.type(command).splitlines()]
        for line in expected:
            assert words_of(line) in got, f"{command}\n{line}\n" + "\n".join(got)
    rest = running.interrupt()
    assert "Traceback" not in rest
    assert "ALARM low_reservoir" in rest
    assert "Ended at day 190" in rest


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[-1].strip()[:40])
def test_the_python_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "python", "-W", "error", "-c", code],
        cwd=tmp_path,
        env=bare(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_every_command_in_the_table_is_one(tmp_path: Path) -> None:
    named = set(re.findall(r"`telemetry ([a-z-]+)", README)) - {"sim"}
    assert {"read", "set-rate", "watch", "control", "decode", "profile", "doctor"} <= named
    for name in sorted({*named, "sim", "stop", "resume", "silence", "acknowledge"}):
        subprocess.run(
            [ENVIRONMENT / "bin" / "telemetry", name, "--help"],
            env=bare(tmp_path),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )


def test_every_page_it_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target

"""Simulators in processes of their own, and commands that talk to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.prefix) / "bin" / "telemetry"
PATIENCE_S = 60
"""Host time that a busy machine may take over anything; no test waits for it unless something is broken."""


@dataclass
class Served:
    """A simulator that runs."""

    process: subprocess.Popen[str]
    hello: dict[str, Any]

    @property
    def urls(self) -> list[str]:
        return list(self.hello["urls"])

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        self.rest, self.errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    rest: str = field(default="", init=False)
    errors: str = field(default="", init=False)


@dataclass
class Place:
    """A home of its own in which commands run."""

    home: Path
    served: list[Served] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith("COV")}
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "LC_ALL": "C.UTF-8", **kept}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return found

    def serve(self, *arguments: str) -> Served:
        process = subprocess.Popen(
            [COMMAND, "sim", "--json", *arguments],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, errors = process.communicate(timeout=PATIENCE_S)
            pytest.fail(f"the simulator ended with {process.returncode}: {errors}")
        served = Served(process, json.loads(line))
        self.served.append(served)
        return served


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for served in made.served:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate(timeout=PATIENCE_S)

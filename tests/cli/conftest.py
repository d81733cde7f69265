"""Runs the command in this process, and says what it printed and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from telemetry.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        # Exactly one object and nothing else, or this fails.
        found: dict[str, Any] = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for journals and runtime files, and a terminal that is always alike."""
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "NO_COLOR", "FORCE_COLOR", "TELEMETRY_CONTROL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def telemetry(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def command(*arguments: str) -> Done:
        capfd.readouterr()
        status = run(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Done(int(status), out, err)

    return command

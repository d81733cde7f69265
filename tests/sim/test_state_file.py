"""The state file: whole or not at all, private, one owner."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import UsageError
from telemetry.sim.state_file import StateFile
from telemetry.sim.virtual_pump import VirtualPump

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_saved_is_loaded_and_private(tmp_path: Path) -> None:
    path = tmp_path / "pump.state"
    with StateFile(path) as state:
        assert state.load() is None
        state.save({"a": 1})
        state.save({"a": 2})
        assert state.load() == {"a": 2}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["pump.state", "pump.state.lock"]  # noqa: PTH208 - names only


def test_a_pump_goes_through_the_file(tmp_path: Path) -> None:
    pump = VirtualPump()
    pump.advance(days=10)
    with StateFile(tmp_path / "s") as state:
        state.save(pump.snapshot())
        assert VirtualPump.restore(state.load()).truth == pump.truth


def test_a_left_over_of_a_crash_is_replaced_and_made_private(tmp_path: Path) -> None:
    left = tmp_path / "s.new"
    left.write_text("half a sta")
    left.chmod(0o644)
    with StateFile(tmp_path / "s") as state:
        assert state.load() is None
        state.save({"a": 1})
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_two_owners_are_refused(tmp_path: Path) -> None:
    with StateFile(tmp_path / "s"), pytest.raises(UsageError, match="another simulator uses it"):
        StateFile(tmp_path / "s")
    StateFile(tmp_path / "s").close()


@pytest.mark.real
def test_another_process_is_refused_and_a_dead_one_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = f"import os; from telemetry.sim.state_file import StateFile; StateFile({str(path)!r}); os._exit(0)"
    with StateFile(path):
        held = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "another simulator uses it" in held.stderr
    subprocess.run([sys.executable, "-c", script], check=True)
    StateFile(path).close()


def test_a_closed_file_saves_nothing(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "s")
    state.close()
    state.close()
    with pytest.raises(UsageError, match="is closed"):
        state.save({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no state file of this program"),
        (json.dumps({"format": "x", "version": 1, "state": {}}), "'x' version 1; this program reads"),
        (json.dumps({"format": "itb-telemetry-state", "version": 2, "state": {}}), "version 2; this program reads"),
        (json.dumps({"format": "itb-telemetry-state", "version": 1, "state": []}), "state is no table"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s"
    path.write_text(text)
    with StateFile(path) as state, pytest.raises(UsageError) as wrong:
        state.load()
    assert message in str(wrong.value)
    assert str(path) in str(wrong.value)


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its lock cannot be made"):
        StateFile(tmp_path / "none" / "s")
    (tmp_path / "s").mkdir()
    with StateFile(tmp_path / "s") as state:
        with pytest.raises(UsageError, match="cannot be read"):
            state.load()
        with pytest.raises(UsageError, match="cannot be written"):
            state.save({})


def test_durability_is_asked_for_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source: str, target: str) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    with StateFile(tmp_path / "s") as state:
        state.save({"a": 1})
    assert steps == ["file", "rename", "folder"]

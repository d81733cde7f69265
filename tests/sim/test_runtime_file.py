"""The runtime file: for its own user only, gone with its simulator, and never believed after it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import UsageError
from telemetry.sim.runtime import LiveSimulator, RuntimeFile, live_simulators, runtime_folder

if TYPE_CHECKING:
    from pathlib import Path

ONE = LiveSimulator(4711, ("tcp://127.0.0.1:7410",), "http://127.0.0.1:1", "secret", "SIMULATED 40 ml", "SIM-0001")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_what_is_published_is_found_and_is_private(folder: Path) -> None:
    published = RuntimeFile(ONE, folder)
    assert live_simulators(folder) == (ONE,)
    assert stat.S_IMODE(published.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    published.close()
    published.close()
    assert live_simulators(folder) == ()
    assert list(folder.iterdir()) == []


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(ONE)


def test_the_file_of_a_dead_process_is_removed(folder: Path) -> None:
    published = RuntimeFile(ONE, folder)
    os.close(published._descriptor)  # what the system does when the process dies
    assert published.path.exists()
    assert live_simulators(folder) == ()
    assert not published.path.exists()
    published._descriptor = -1


def test_no_folder_means_no_simulator(folder: Path) -> None:
    assert live_simulators(folder) == ()


def test_a_file_that_others_may_read_is_refused(folder: Path) -> None:
    published = RuntimeFile(ONE, folder)
    published.path.chmod(0o644)
    with pytest.raises(UsageError, match="other users have access"):
        live_simulators(folder)
    published.close()


def test_a_link_in_place_of_the_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_text("{}", encoding="utf-8")
    (folder / "sim-1.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be read"):
        live_simulators(folder)


def test_a_live_file_that_is_not_understood_is_named(folder: Path) -> None:
    published = RuntimeFile(ONE, folder)
    published.path.write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match="not understood"):
        live_simulators(folder)
    published.close()


def test_a_folder_open_to_others_is_closed(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    RuntimeFile(ONE, folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="XDG_RUNTIME_DIR"):
        RuntimeFile(ONE, tmp_path / "file" / "run")


def test_what_a_killed_predecessor_left_half_made_is_no_hindrance(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "sim-4711.new").write_text("", encoding="utf-8")
    RuntimeFile(ONE, folder).close()


def test_the_folder_follows_the_xdg_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder() == tmp_path / "itb-telemetry"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert runtime_folder() == tmp_path / "state" / "itb-telemetry" / "run"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime_folder() == tmp_path / ".local" / "state" / "itb-telemetry" / "run"

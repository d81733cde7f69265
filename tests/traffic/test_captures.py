"""The committed captures: recorded again byte for byte, every message of the wire table among them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from telemetry.protocol.wire import MESSAGES, FrameType
from telemetry.traffic.opening import How, OpenedFrame, Shut, open_file
from telemetry.transport.capture import read_capture
from tools import captures

if TYPE_CHECKING:
    from pathlib import Path


def _frames(name: str) -> list[OpenedFrame]:
    return list(open_file(captures.FOLDER / f"{name}.telcap"))


@pytest.mark.parametrize("name", captures.PLANS)
def test_a_capture_is_recorded_again_line_for_line(name: str, tmp_path: Path) -> None:
    assert captures.comparable(captures.record(name, tmp_path)) == captures.comparable(
        captures.FOLDER / f"{name}.telcap"
    )


def test_every_committed_capture_has_its_plan() -> None:
    assert {path.stem for path in captures.FOLDER.glob("*.telcap")} == set(captures.PLANS)


def test_one_capture_holds_every_message_and_every_frame_type() -> None:
    frames = _frames("every-message")
    assert {spec.name for spec in MESSAGES} - {frame.name for frame in frames} == set()
    assert {frame.type for frame in frames} == set(FrameType)


@pytest.mark.parametrize("name", captures.PLANS)
def test_keys_open_what_the_recorder_saw(name: str) -> None:
    frames = _frames(name)
    sealed = [frame for frame in frames if frame.type in (FrameType.REQ, FrameType.RSP)]
    assert sealed
    assert all(frame.how is How.KEYS and frame.recorded is not None and not frame.disagrees for frame in sealed)
    assert Counter(frame.shut for frame in frames if frame.message is None) == {
        Shut.HANDSHAKE: sum(frame.message is None for frame in frames)
    }


def test_the_tool_compares_and_says_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(captures, "PLANS", {"interrogation": captures.PLANS["interrogation"]})
    monkeypatch.setattr(captures, "FOLDER", tmp_path / "fixtures" / "captures")
    assert captures.main(["--check"]) == 1
    assert "interrogation.telcap: not what is recorded now" in capsys.readouterr().out
    captures.FOLDER.mkdir(parents=True)
    assert captures.main([]) == 0
    assert captures.main(["--check"]) == 0
    assert read_capture(captures.FOLDER / "interrogation.telcap").simulated is True

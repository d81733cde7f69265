"""Captures that are cut, mixed, foreign or broken: played, scrubbed and opened, or refused with a sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry.clock import ManualClock
from telemetry.errors import SecurityError, UsageError
from telemetry.traffic.opening import KEYS_TRIED, How, Shut, open_capture
from telemetry.traffic.replaying_script import script_of
from telemetry.traffic.scrubbing import scrub_file
from telemetry.transport.capture import CaptureWriter, read_capture
from telemetry.transport.capture_lines import LONGEST_LINE_BYTES
from tools import captures

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = (captures.FOLDER / "set-rate.telcap").read_bytes()
LINES = SOURCE.splitlines(keepends=True)


def _use(path: Path, data: bytes) -> None:
    """Do with a file what commands do; only ``UsageError`` may come of it, and it names the file."""
    path.write_bytes(data)
    target = path.with_name("scrubbed")
    problems: list[UsageError] = []
    for act in (
        lambda: list(open_capture(read_capture(path))),
        lambda: script_of(read_capture(path), str(path)),
        lambda: scrub_file(path, target),
    ):
        try:
            act()
        except UsageError as error:
            problems.append(error)
    assert not any(isinstance(problem, SecurityError) for problem in problems)
    assert all(str(path) in str(problem) for problem in problems)
    assert not path.with_name("scrubbed.part").exists()
    target.unlink(missing_ok=True)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A true capture with lines lost, doubled, exchanged, cut, and bytes changed."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "bytes", "json", "hex"])):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(other, lines[at])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "bytes":
                changed = bytearray(lines[at])
                for _ in range(draw(st.integers(1, 3))):
                    changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
                lines[at] = bytes(changed)
            case "json":
                lines[at] = _with(draw, lines[at])
            case _:
                lines[at] = lines[at].replace(b"00", draw(st.sampled_from([b"01", b"ff", b""])), 2)
        if not lines:
            return b""
    data = b"".join(lines)
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def _with(draw: st.DrawFn, line: bytes) -> bytes:
    """The line with one value, of a message inside it if there is one, replaced."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    if not isinstance(found, dict):
        return line
    place = found["message"] if isinstance(found.get("message"), dict) else found
    if not place:
        return line
    place[draw(st.sampled_from(sorted(place)))] = draw(
        st.none()
        | st.booleans()
        | st.integers(-5, 1 << 70)
        | st.text(max_size=8)
        | st.just([])
        | st.just({"name": "Status"})
    )
    return json.dumps(found).encode() + b"\n"


@given(_mutated())
@example(b"")
@example(LINES[0])
@example(SOURCE[:-1])
@example(b"\xff\xfe" + SOURCE)
@example(LINES[0] + b'{"note":"' + b"x" * LONGEST_LINE_BYTES + b'"}\n')
@example(SOURCE.replace(b'"link":1', b'"link":2', 1))
def test_a_damaged_capture_is_used_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    _use(tmp_path_factory.mktemp("captures") / "f", data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"\xff\xfe\n", "line 1: it is no capture, for it is no JSON"),
        (LINES[0].replace(b'"version":1', b'"version":2') + LINES[1], "version 2 cannot be read, only 1"),
        (LINES[0] + b'{"note":"' + b"x" * LONGEST_LINE_BYTES + b'"}\n', "bytes long, the limit is"),
        (LINES[0].replace(b'"layout":"', b'"layout":7,"x":"'), "line 1"),
        (b"\x0a\x0d\x0d\x0a" * 8, "line 1"),
    ],
)
def test_a_file_that_is_no_capture_of_ours_is_refused_by_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(UsageError, match=said):
        read_capture(tmp_path / "f")


def test_a_recording_is_not_continued_with_another_wire_table(tmp_path: Path) -> None:
    CaptureWriter(tmp_path / "f", ManualClock(), simulated=True, layout="00000001").close()
    with pytest.raises(UsageError, match="wire table 00000001, ours is 00000002; record to another file"):
        CaptureWriter(tmp_path / "f", ManualClock(), simulated=True, layout="00000002")
    CaptureWriter(tmp_path / "f", ManualClock(), simulated=True).close()  # who says none may go on
    assert read_capture(tmp_path / "f").layout == "00000001"


def test_another_wire_tables_messages_are_opened_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(SOURCE.replace(b'"layout":"', b'"layout":"0', 1))
    frames = [frame for frame in open_capture(read_capture(tmp_path / "f")) if frame.shut is not Shut.HANDSHAKE]
    assert {frame.shut for frame in frames} == {Shut.OTHER_LAYOUT}
    assert all(frame.payload and frame.message is None for frame in frames)


def test_altered_frames_are_told_from_unopened_ones(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in LINES]
    sealed = [line for line in lines if isinstance(line.get("message"), dict) and line["message"]["name"] == "Commit"]
    lines.append({**{key: sealed[0][key] for key in ("link", "dir")}, "at_ms": 9, "hex": _altered(sealed[0]["hex"])})
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in lines))
    last = list(open_capture(read_capture(tmp_path / "f")))[-1]
    assert last.shut is Shut.NO_FRAME
    assert last.detail == "crc"


def _altered(text: str) -> str:
    return text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}"


def test_what_the_recorder_says_and_the_keys_do_not_is_marked(tmp_path: Path) -> None:
    text = SOURCE.replace(b'"rate_nl_per_day":170000', b'"rate_nl_per_day":170001')
    (tmp_path / "f").write_bytes(text)
    frames = [frame for frame in open_capture(read_capture(tmp_path / "f")) if frame.disagrees]
    assert {frame.name for frame in frames} == {"Status"}
    assert all(frame.how is How.KEYS and getattr(frame.message, "rate_nl_per_day") == 170_000 for frame in frames)  # noqa: B009


def test_no_more_keys_are_tried_than_the_limit(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in LINES]
    keys = next(line for line in lines if "keys" in line)
    others = [{"keys": dict.fromkeys(keys["keys"], f"{number:064x}")} for number in range(KEYS_TRIED + 40)]
    bare = [{key: line[key] for key in line if key != "message"} for line in lines if "keys" not in line]
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in [*bare[:1], keys, *others, *bare[1:]]))
    sealed = [frame for frame in open_capture(read_capture(tmp_path / "f")) if frame.counter is not None]
    assert {frame.shut for frame in sealed} == {Shut.WRONG_KEYS}

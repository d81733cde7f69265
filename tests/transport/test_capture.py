from __future__ import annotations

import contextlib
import os
import stat
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import UsageError
from telemetry.transport import capture as module
from telemetry.transport.capture import (
    Capture,
    CapturedFrame,
    CaptureWriter,
    LinkLost,
    LinkOpened,
    Note,
    SessionKeys,
    read_capture,
)
from telemetry.transport.capture_lines import LONGEST_LINE_BYTES
from telemetry.transport.faults import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = '{"format":"telcap","version":1,"simulated":true,"tool":"t 1","started":null}'
OPENED = '{"link":1,"at_ms":0,"opened":"sim:","datagrams":true}'
FRAME = '{"link":1,"at_ms":0,"dir":"tx","hex":"00ff"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.telcap"


@pytest.fixture
def writer(path: Path) -> Iterator[CaptureWriter]:
    writer = CaptureWriter(path, ManualClock(), simulated=True)
    yield writer
    writer.close()
    writer.close()


def test_what_is_written_is_read(path: Path, writer: CaptureWriter) -> None:
    link = writer.opened("sim:?a=ü", datagrams=False)
    frames = [
        CapturedFrame(link, 3, Direction.TX, b"\x00\xff"),
        CapturedFrame(link, 4, Direction.RX, b"", {"name": "Status", "rate_nl_per_day": 170_000, "ok": None}),
    ]
    for frame in frames:
        writer.frame(frame)
    writer.keys({"request": "00"})
    writer.note("a remark")
    writer.lost(link, "unplugged")
    found = read_capture(path)
    assert found.entries == (
        LinkOpened(1, 0, "sim:?a=ü", datagrams=False),
        *frames,
        SessionKeys({"request": "00"}),
        Note("a remark"),
        LinkLost(1, 0, "unplugged"),
    )
    assert found.frames() == frames
    assert (found.simulated, found.torn, found.started) == (True, None, None)
    assert found.tool.startswith("itb-telemetry")


@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=40), st.integers(0, 1 << 40))))
def test_any_frames_survive(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[Direction, bytes, int]]
) -> None:
    path = tmp_path_factory.mktemp("captures") / "f"
    writer = CaptureWriter(path, ManualClock(), simulated=None)
    link = writer.opened("sim:", datagrams=True)
    written = [CapturedFrame(link, at_ms, direction, data) for direction, data, at_ms in frames]
    for frame in written:
        writer.frame(frame)
    writer.close()
    assert read_capture(path).frames() == written
    path.unlink()


@given(st.binary(max_size=200))
def test_any_file_is_a_capture_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("captures") / "f"
    for beginning in (b"", HEADER.encode() + b"\n", f"{HEADER}\n{OPENED}\n".encode()):
        path.write_bytes(beginning + data)
        with contextlib.suppress(UsageError):
            assert isinstance(read_capture(path), Capture)
    path.unlink()


def test_on_the_hosts_clock_the_capture_says_when(path: Path) -> None:
    CaptureWriter(path, SystemClock(), simulated=None).close()
    found = read_capture(path)
    assert found.started is not None
    assert found.started.endswith("+00:00")
    assert found.simulated is None


def test_a_capture_is_for_its_owner_only(path: Path, writer: CaptureWriter) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_recording_goes_behind_the_first_and_counts_links_on(path: Path) -> None:
    for _ in range(2):
        writer = CaptureWriter(path, ManualClock(), simulated=True)
        link = writer.opened("sim:", datagrams=True)
        writer.frame(CapturedFrame(link, 0, Direction.TX, b"x"))
        writer.close()
    assert [frame.link for frame in read_capture(path).frames()] == [1, 2]


def test_a_torn_last_line_is_reported_and_cut_off_by_the_next_recording(path: Path) -> None:
    path.write_text(f"{HEADER}\n{OPENED}\n{FRAME[:20]}")
    found = read_capture(path)
    assert found.torn == 3
    assert found.frames() == []
    writer = CaptureWriter(path, ManualClock(), simulated=True)
    writer.opened("sim:", datagrams=True)
    writer.close()
    found = read_capture(path)
    assert found.torn is None
    assert Note("an unfinished last line of 20 bytes was cut off") in found.entries


def test_a_whole_last_line_without_its_newline_counts(path: Path) -> None:
    path.write_text(f"{HEADER}\n{OPENED}\n{FRAME}")
    assert len(read_capture(path).frames()) == 1
    CaptureWriter(path, ManualClock(), simulated=True).close()
    assert len(read_capture(path).frames()) == 1
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("lines", "number", "part"),
    [
        (["hello"], 1, "no JSON"),
        (["[]"], 1, "no JSON object"),
        (['{"format":"pcap"}'], 1, 'must hold "format":"telcap"'),
        ([HEADER.replace(":1,", ":2,")], 1, "version 2 cannot be read"),
        ([HEADER.replace(',"tool":"t 1"', "")], 1, "tool is missing"),
        ([HEADER.replace('"t 1"', "7")], 1, "tool is 7"),
        ([HEADER.replace("true", '"yes"')], 1, "simulated is 'yes'"),
        ([HEADER, OPENED, FRAME[:-1]], 3, "no JSON"),
        ([HEADER, OPENED, "", FRAME], 3, "no JSON"),
        ([HEADER, OPENED, FRAME.replace("00ff", "00FF")], 3, "lower-case hex"),
        ([HEADER, OPENED, FRAME.replace("00ff", "0")], 3, "pairs of"),
        ([HEADER, OPENED, FRAME.replace("tx", "up")], 3, "dir is 'up'"),
        ([HEADER, OPENED, FRAME.replace('"tx"', "1")], 3, "dir is 1, not text"),
        ([HEADER, OPENED, FRAME.replace('"at_ms":0', '"at_ms":-1')], 3, "at_ms is -1"),
        ([HEADER, OPENED, FRAME.replace('"at_ms":0', '"at_ms":1.5')], 3, "at_ms is 1.5"),
        ([HEADER, OPENED, FRAME.replace('"at_ms":0', '"at_ms":true')], 3, "at_ms is True"),
        ([HEADER, OPENED, FRAME.replace('"at_ms":0', '"at_ms":NaN')], 3, "NaN"),
        ([HEADER, OPENED, FRAME.replace("}", ',"more":1}')], 3, "more is unknown"),
        ([HEADER, OPENED, FRAME.replace("}", ',"message":1}')], 3, "message is 1, not an object"),
        ([HEADER, OPENED, FRAME.replace("}", ',"dir":"tx"}')], 3, "twice"),
        ([HEADER, OPENED.replace("true", "1")], 2, "datagrams is 1"),
        ([HEADER, OPENED, '{"link":1,"at_ms":0,"lost":5}'], 3, "lost is 5"),
        ([HEADER, '{"keys":{"a":1}}'], 2, "a is 1, not text"),
        ([HEADER, '{"note":1}'], 2, "note is 1"),
        ([HEADER, FRAME], 2, "link 1 was never opened"),
        ([HEADER, OPENED, '{"note":"' + "x" * LONGEST_LINE_BYTES + '"}'], 3, "the limit is 1048576"),
        ([HEADER, "[" * 100_000], 2, "no JSON"),
        ([HEADER.replace('"version":1', '"version":true')], 1, "version True cannot be read"),
        (
            [HEADER, OPENED, FRAME.replace('"at_ms":0', f'"at_ms":{1 << 53}')],
            3,
            "at_ms is of 54 bits, not a whole number",
        ),
        ([HEADER, OPENED.replace('"link":1', f'"link":{10**4000}')], 2, "link is of 13288 bits"),
        (["# Notes"], 1, "it is no capture, for it is no JSON"),
    ],
    ids=range(31),
)
def test_a_bad_line_is_named(path: Path, lines: list[str], number: int, part: str) -> None:
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError) as caught:
        read_capture(path)
    assert f"{path}, line {number}: " in str(caught.value)
    assert part in str(caught.value)


def test_a_last_line_that_is_json_but_wrong_is_not_taken_for_torn(path: Path) -> None:
    path.write_text(f'{HEADER}\n{OPENED}\n{{"link":1}}')
    with pytest.raises(UsageError, match="line 3"):
        read_capture(path)


def test_an_empty_or_missing_file_is_no_capture(path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_capture(path)
    path.touch()
    with pytest.raises(UsageError, match="empty"):
        read_capture(path)


def test_nothing_else_is_overwritten(path: Path) -> None:
    path.write_text("my letters\n")
    with pytest.raises(UsageError, match="line 1"):
        CaptureWriter(path, ManualClock(), simulated=True)
    assert path.read_text() == "my letters\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing/f: it cannot be written: No such file"):
        CaptureWriter(tmp_path / "missing" / "f", ManualClock(), simulated=True)


def test_two_recordings_at_once_are_refused(path: Path, writer: CaptureWriter) -> None:
    with pytest.raises(UsageError, match="somebody is recording to it"):
        CaptureWriter(path, ManualClock(), simulated=True)


def test_a_line_that_the_system_takes_in_parts_is_written_whole(
    path: Path, writer: CaptureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole_write(descriptor, data[:7]))
    writer.note("in pieces")
    monkeypatch.undo()
    assert read_capture(path).entries == (Note("in pieces"),)


def test_the_version_of_an_uninstalled_tool_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert module.tool_version() == "itb-telemetry, not installed"


def test_only_an_ordinary_file_is_recorded_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/null")):
        with pytest.raises(UsageError, match="it is no ordinary file; a capture is continued and read again"):
            CaptureWriter(place, ManualClock(), simulated=True)


def test_what_never_ends_is_not_read_to_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f"{HEADER}\n{OPENED}\n")
    monkeypatch.setattr(module, "LARGEST_FILE_BYTES", len(HEADER))
    with pytest.raises(UsageError, match=rf"has more than {len(HEADER)} bytes; cut it into parts"):
        read_capture(path)
    with pytest.raises(UsageError, match="has more than"):
        read_capture(Path("/dev/zero"))

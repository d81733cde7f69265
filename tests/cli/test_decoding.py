"""``telemetry decode`` is total: any text and any bytes give findings or one clear line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.cli import decoding
from telemetry.errors import UsageError
from telemetry.protocol import Frame, FrameType, ReadStatus, ReadTelemeter, encode, encode_frame, encode_stream, pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done

ASK = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=7))))


def items(data: bytes) -> list[decoding.Item]:
    return list(decoding.find_in(data))


def test_a_bare_frame() -> None:
    (item,) = items(ASK)
    assert (item.kind, item.name) == ("frame", "TELEMETER_REQ")
    assert item.fields == {"message": "ReadTelemeter", "tag": 7}


def test_a_stream_with_noise() -> None:
    damaged = bytearray(encode_stream(ASK))
    damaged[3] ^= 0x10
    found = items(encode_stream(ASK) + b"noise" + bytes(damaged) + encode_stream(ASK))
    assert [item.kind for item in found] == ["frame", "garbage", "garbage", "frame"]
    assert all(item.fields["length_bytes"] for item in found if item.kind == "garbage")


def test_a_stream_whose_last_delimiter_is_missing() -> None:
    (item,) = items(encode_stream(ASK)[:-1])
    assert item.name == "TELEMETER_REQ"


@pytest.mark.parametrize("payload", [encode(ReadStatus()), pad(encode(ReadStatus()))])
def test_a_message_padded_or_not(payload: bytes) -> None:
    (item,) = items(payload)
    assert (item.kind, item.name) == ("message", "ReadStatus")


def test_a_sealed_frame_says_that_it_is_sealed() -> None:
    (item,) = items(encode_frame(Frame(FrameType.REQ, 0, (5).to_bytes(4, "little") + bytes(32))))
    assert item.sealed
    assert item.fields["counter"] == 5
    (short,) = items(encode_frame(Frame(FrameType.RSP, 0, b"x")))
    assert short.fields["counter"] is None


def test_a_frame_whose_body_breaks_its_layout_is_shown_with_the_reason() -> None:
    (item,) = items(encode_frame(Frame(FrameType.PROBE, 0, b"\x01")))
    assert item.kind == "frame"
    assert "unreadable" in item.fields


@given(st.binary(max_size=600))
def test_any_bytes_are_found_to_be_something(data: bytes) -> None:
    found = items(data)
    assert found
    json.dumps([item.as_json() for item in found])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".telcap", ".bin", ""]))
def test_any_file_gives_findings_or_one_clear_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    try:
        found = decoding.find(str(path))
    except UsageError as refused:
        said = str(refused)
    else:
        said = f"{path}: " + json.dumps([item.as_json() for item in found.items])
    assert str(path) in said


@given(st.text(max_size=80))
def test_any_text_gives_findings_or_one_clear_line(text: str) -> None:
    try:
        found = decoding.find(text)
    except UsageError as refused:
        said = str(refused)
    else:
        assert found.items
        said = "hexadecimal"
    assert "hexadecimal" in said


@pytest.mark.parametrize("text", ["0x" + ASK.hex(), ASK.hex(" "), ASK.hex(":").upper()])
def test_hexadecimal_text_in_every_hand(text: str) -> None:
    assert decoding.find(text).items[0].name == "TELEMETER_REQ"


def test_a_file_of_hexadecimal_text(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text(ASK.hex(" ") + "\n", encoding="ascii")
    assert decoding.find(str(path)).items[0].name == "TELEMETER_REQ"


def test_a_capture_with_all_that_can_be_in_one(tmp_path: Path) -> None:
    path = tmp_path / "x.telcap"
    stream = encode_stream(ASK)
    lines: list[dict[str, object]] = [
        {"format": "telcap", "version": 1, "simulated": None, "tool": "t", "started": None},
        {"link": 1, "at_ms": 0, "opened": "tcp://x:1", "datagrams": False},
        {"link": 2, "at_ms": 0, "opened": "sim:", "datagrams": True},
        {"link": 1, "at_ms": 1, "dir": "tx", "hex": stream.hex()},
        {"link": 2, "at_ms": 2, "dir": "rx", "hex": ASK.hex()},
        {"link": 2, "at_ms": 3, "dir": "rx", "hex": "0102"},
        {"link": 1, "at_ms": 3, "dir": "rx", "hex": "00"},
        {"note": "a remark"},
        {"keys": {"a": "00"}},
        {"link": 1, "at_ms": 4, "lost": "cable"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"link":1', encoding="utf-8")
    found = decoding.find(str(path))
    kinds = [item.kind for item in found.items]
    assert kinds == [
        "link",
        "link",
        "frame",
        "frame",
        "garbage",
        "garbage",
        "note",
        "note",
        "link",
        "garbage",
    ]
    assert found.simulated is None


def test_a_file_that_is_too_long_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(bytes(20))
    monkeypatch.setattr(decoding, "_LARGEST_FILE_BYTES", 10)
    with pytest.raises(UsageError, match="20 bytes are more than 10"):
        decoding.find(str(path))


@pytest.mark.real
def test_the_command_shows_garbage_with_its_reason(telemetry: Callable[..., Done]) -> None:
    done = telemetry("decode", "01020304")
    assert done.status == 0
    assert "garbage" in done.out
    assert "too_short" in done.out
    found = telemetry("decode", "01020304", "--json").json
    assert (found["frames"], found["garbage"], found["simulated"]) == (0, 1, None)

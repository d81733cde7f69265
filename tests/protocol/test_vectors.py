"""The committed fixtures: up to date, complete, and met by codec and framing to the letter."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from telemetry.errors import BadFrame, BadPayload
from telemetry.protocol import codec
from telemetry.protocol.fields import PayloadFault
from telemetry.protocol.frame import Frame, Garbage, StreamDecoder, decode_frame, encode_frame, encode_stream
from telemetry.protocol.wire import MESSAGES, FrameType
from tests.protocol import strategies
from tools import vectors

FIXTURES = Path(__file__).parents[2] / "fixtures"


def entries(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FIXTURES / name).read_text())
    assert found
    return found


def by_name(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries(name), ids=lambda entry: entry["name"])


@pytest.mark.parametrize("path", vectors.files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_committed_vectors_equal_regenerated_ones(path: Path) -> None:
    assert path.read_text() == vectors.files()[path], "run: python -m tools.vectors"


def test_every_message_and_record_has_vectors() -> None:
    messages = [entry["message"] for entry in entries("vectors/messages.json")]
    records = [entry["record"] for entry in entries("vectors/records.json")]
    assert all(messages.count(spec.name) >= 2 for spec in MESSAGES)
    assert all(records.count(name) >= 2 for name in strategies.RECORD_FIELDS)
    assert set(messages) == {spec.name for spec in MESSAGES}
    assert set(records) == set(strategies.RECORD_FIELDS)
    assert {entry["type"] for entry in entries("vectors/frames.json")} == {kind.name for kind in FrameType}


@by_name("vectors/messages.json")
def test_message_vectors(entry: dict[str, Any]) -> None:
    payload = bytes.fromhex(entry["hex"])
    message = codec.decode(payload)
    assert type(message).__name__ == entry["message"]
    assert {name: vectors.to_json(getattr(message, name)) for name in entry["fields"]} == entry["fields"]
    assert getattr(message, "alarm_sequence", None) == entry["header"].get("alarm_sequence")
    assert codec.encode(message) == payload
    if entry["padded_hex"] is not None:
        assert codec.unpad(bytes.fromhex(entry["padded_hex"])) == payload
        assert codec.pad(payload).hex() == entry["padded_hex"]


@by_name("vectors/records.json")
def test_record_vectors(entry: dict[str, Any]) -> None:
    obj = codec.decode_record(entry["record"], bytes.fromhex(entry["hex"]))
    assert vectors.to_json(obj) == entry["fields"]
    assert codec.encode_record(entry["record"], obj).hex() == entry["hex"]


@by_name("vectors/frames.json")
def test_frame_vectors(entry: dict[str, Any]) -> None:
    frame = Frame(FrameType[entry["type"]], 0, bytes.fromhex(entry["body"]))
    assert encode_frame(frame).hex() == entry["datagram"]
    assert encode_stream(bytes.fromhex(entry["datagram"])).hex() == entry["stream"]
    assert decode_frame(bytes.fromhex(entry["datagram"])) == frame
    assert StreamDecoder().feed(bytes.fromhex(entry["stream"])) == [frame]


@by_name("hostile/frames.json")
def test_hostile_frames(entry: dict[str, Any]) -> None:
    with pytest.raises(BadFrame, match=f"^{entry['reason']}: "):
        decode_frame(bytes.fromhex(entry["hex"]))


@by_name("hostile/streams.json")
@pytest.mark.parametrize("chunking", ["whole", "bytes", "random"])
def test_hostile_streams(entry: dict[str, Any], chunking: str) -> None:
    data, decoder, found, at = bytes.fromhex(entry["hex"]), StreamDecoder(), [], 0
    rng = random.Random(entry["name"])
    while at < len(data):
        size = {"whole": len(data), "bytes": 1, "random": rng.randint(1, 40)}[chunking]
        found += decoder.feed(data[at : at + size])
        at += size
    assert [
        {"garbage": item.reason.value, "length": item.length}
        if isinstance(item, Garbage)
        else {"frame": encode_frame(item).hex()}
        for item in found
    ] == entry["items"]


@by_name("hostile/payloads.json")
def test_hostile_payloads(entry: dict[str, Any]) -> None:
    with pytest.raises(BadPayload) as caught:
        codec.decode(bytes.fromhex(entry["hex"]))
    error = caught.value
    assert (error.reason.split(":")[0], error.message, error.field) == (
        entry["reason"],
        entry["message"],
        entry["field"],
    )
    assert error.offset is not None


@by_name("hostile/records.json")
def test_hostile_records(entry: dict[str, Any]) -> None:
    with pytest.raises(BadPayload) as caught:
        codec.decode_record(entry["record"], bytes.fromhex(entry["hex"]))
    assert (caught.value.reason.split(":")[0], caught.value.field) == (entry["reason"], entry["field"])


@by_name("hostile/padding.json")
def test_hostile_paddings(entry: dict[str, Any]) -> None:
    with pytest.raises(BadPayload, match=r"^padding at byte \d+: padding: "):
        codec.unpad(bytes.fromhex(entry["hex"]))


def test_hostile_payloads_show_every_fault() -> None:
    shown = {entry["reason"] for entry in entries("hostile/payloads.json")}
    # A wrong plane depends on who is listening and bad padding has a file of its own besides the text fields.
    assert shown | {"wrong_plane"} == {fault.value for fault in PayloadFault}


def test_hostile_frames_and_streams_show_every_fault() -> None:
    shown = {entry["reason"] for entry in entries("hostile/frames.json")}
    shown |= {
        item["garbage"] for entry in entries("hostile/streams.json") for item in entry["items"] if "garbage" in item
    }
    assert shown == {"cobs", "too_short", "too_long", "crc", "version", "type", "flags", "length"}


def test_the_check_notices_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vectors, "FIXTURES", tmp_path / "fixtures")
    monkeypatch.setattr("sys.argv", ["vectors"])
    assert vectors.main() == 0
    monkeypatch.setattr("sys.argv", ["vectors", "--check"])
    assert vectors.main() == 0
    (tmp_path / "fixtures" / "vectors" / "frames.json").write_text("[]")
    assert vectors.main() == 1
    assert "differs: fixtures/vectors/frames.json" in capsys.readouterr().out

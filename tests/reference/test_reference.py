"""The decoder written by hand from the specification agrees with the codec, and the vectors find a wrong table."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.protocol import codec
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import BY_NAME, MESSAGES, Plane
from tests.protocol import strategies
from tests.reference import decoder
from tools.vectors import to_json

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = dict[str, Any]
FIXTURES = Path(__file__).parents[2] / "fixtures"
DIALECT = decoder.Dialect()


def vectors(name: str) -> list[Entry]:
    """The entries of one fixture file; a file that is empty fails here and not silently."""
    found: list[Entry] = json.loads((FIXTURES / name).read_text())
    assert found
    return found


MESSAGES_JSON = vectors("vectors/messages.json")
RECORDS_JSON = vectors("vectors/records.json")


def test_the_reference_is_independent() -> None:
    tree = ast.parse((Path(__file__).parent / "decoder.py").read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {"__future__", "struct", "zlib", "typing", "collections.abc"}


@pytest.mark.parametrize("vector", MESSAGES_JSON, ids=lambda vector: vector["name"])
def test_reference_decodes_every_message_vector(vector: Entry) -> None:
    payload = bytes.fromhex(vector["hex"])
    expected = {key: vector[key] for key in ("message", "header", "fields")}
    assert DIALECT.message(payload) == expected
    if vector["padded_hex"]:
        assert decoder.unpad(bytes.fromhex(vector["padded_hex"])) == payload


@pytest.mark.parametrize("vector", RECORDS_JSON, ids=lambda vector: vector["name"])
def test_reference_decodes_every_record_vector(vector: Entry) -> None:
    assert DIALECT.record(vector["record"], bytes.fromhex(vector["hex"])) == vector["fields"]


@pytest.mark.parametrize("vector", vectors("vectors/frames.json"), ids=lambda vector: vector["name"])
def test_reference_decodes_every_frame_vector(vector: Entry) -> None:
    expected = (vector["type"], bytes.fromhex(vector["body"]))
    assert decoder.frame(bytes.fromhex(vector["datagram"])) == expected
    assert decoder.stream(bytes.fromhex(vector["stream"])) == [expected]


@pytest.mark.parametrize("vector", vectors("hostile/streams.json"), ids=lambda vector: vector["name"])
def test_reference_finds_the_frames_in_every_hostile_stream(vector: Entry) -> None:
    items: list[Entry] = vector["items"]
    expected = [decoder.frame(bytes.fromhex(item["frame"])) for item in items if "frame" in item]
    assert decoder.stream(bytes.fromhex(vector["hex"])) == expected


@pytest.mark.parametrize("vector", vectors("hostile/frames.json"), ids=lambda vector: vector["name"])
def test_reference_refuses_every_hostile_frame(vector: Entry) -> None:
    with pytest.raises(decoder.Malformed):
        decoder.frame(bytes.fromhex(vector["hex"]))


# It knows no ranges, no text padding and no list limits: those are the strict codec's, not the layout's.
LAYOUT_FAULTS = {"unknown_opcode", "version", "length", "status", "truncated", "trailing", "unknown_code"}
LAYOUT_FAULTS |= {"unknown_bits", "not_boolean", "not_text", "padding", "empty"}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in vectors("hostile/payloads.json") if vector["reason"] in LAYOUT_FAULTS],
    ids=lambda vector: vector["name"],
)
def test_reference_refuses_every_hostile_payload(vector: Entry) -> None:
    with pytest.raises(decoder.Malformed):
        DIALECT.message(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("vector", vectors("hostile/padding.json"), ids=lambda vector: vector["name"])
def test_reference_refuses_every_hostile_padding(vector: Entry) -> None:
    with pytest.raises(decoder.Malformed):
        decoder.unpad(bytes.fromhex(vector["hex"]))


@given(strategies.message())
def test_reference_agrees_with_the_codec_on_any_message(message: Message) -> None:
    found = DIALECT.message(codec.encode(message))
    spec = BY_NAME[type(message).__name__]
    assert found["message"] == spec.name
    assert found["fields"] == {field.name: to_json(getattr(message, field.name)) for field in spec.fields}


@pytest.mark.parametrize("name", strategies.RECORD_FIELDS)
@given(data=st.data())
def test_reference_agrees_with_the_codec_on_any_record(name: str, data: st.DataObject) -> None:
    obj = data.draw(strategies.record(name))
    assert DIALECT.record(name, codec.encode_record(name, obj)) == to_json(obj)  # type: ignore[arg-type]


@given(st.lists(strategies.frame(), max_size=8))
def test_reference_agrees_with_the_framing_on_any_stream(frames: list[Frame]) -> None:
    data = b"".join(encode_stream(encode_frame(frame)) for frame in frames)
    assert decoder.stream(data) == [(frame.type.name, frame.body) for frame in frames]


def test_reference_knows_every_message_and_plane() -> None:
    assert {opcode: name for opcode, (name, _, _) in DIALECT.messages.items()} == {
        spec.opcode: spec.name for spec in MESSAGES
    }
    assert {name for name, _, answer in DIALECT.messages.values() if answer} == {
        spec.name for spec in MESSAGES if spec.plane is Plane.ANSWER
    }
    assert set(DIALECT.records) == set(strategies.RECORD_FIELDS)


def wrong(notation: str) -> str:
    """Another way to read a field."""
    changed = {
        "u1": "u2",
        "u2": "u1",
        "u3": "u4",
        "u4": "u3",
        "u8": "u4",
        "i8": "i4",
        "i4": "i8",
        "blob": "b4",
        "?": "u1",
    }
    if notation in changed:
        return changed[notation]
    if notation[0] == "@":
        return "u2" if notation.startswith("@@") else "u1"
    if notation[0] == "*":
        return "blob"
    if notation[0] == "s":
        return f"{notation}1"
    return "u4" if notation[0] == "#" else f"b{int(notation[1:]) - 1}"


def layout_mutants(layout: str) -> Iterator[str]:
    """Each field read otherwise or left out, each pair of neighbours swapped."""
    fields = layout.split()
    for index, field in enumerate(fields):
        name, notation = field.split(":")
        yield " ".join([*fields[:index], f"{name}:{wrong(notation)}", *fields[index + 1 :]])
        yield " ".join([*fields[:index], *fields[index + 1 :]])
        if index:
            yield " ".join([*fields[: index - 1], field, fields[index - 1], *fields[index + 1 :]])


def passes(dialect: decoder.Dialect) -> bool:
    """Whether a dialect reads every vector as the vectors say."""
    try:
        return all(
            dialect.message(bytes.fromhex(vector["hex"]))["fields"] == vector["fields"] for vector in MESSAGES_JSON
        ) and all(
            dialect.record(vector["record"], bytes.fromhex(vector["hex"])) == vector["fields"]
            for vector in RECORDS_JSON
        )
    except decoder.Malformed:
        return False


def layout_dialects() -> Iterator[tuple[str, decoder.Dialect]]:
    """Dialects with one message or record laid out wrongly."""
    for opcode, (name, layout, answer) in DIALECT.messages.items():
        for mutant in layout_mutants(layout):
            dialect = decoder.Dialect()
            dialect.messages[opcode] = (name, mutant, answer)
            yield f"{name}: {mutant}", dialect
    for name, layout in DIALECT.records.items():
        for mutant in layout_mutants(layout):
            dialect = decoder.Dialect()
            dialect.records[name] = mutant
            yield f"{name}: {mutant}", dialect


def test_vectors_bite_when_a_layout_is_wrong() -> None:
    assert passes(DIALECT)
    mutants = list(layout_dialects())
    assert len(mutants) > 500
    assert [what for what, dialect in mutants if passes(dialect)] == []


def test_vectors_bite_when_an_opcode_is_wrong() -> None:
    for opcode, message in DIALECT.messages.items():
        dialect = decoder.Dialect()
        del dialect.messages[opcode]
        dialect.messages[opcode ^ 0x20] = message
        assert not passes(dialect), message

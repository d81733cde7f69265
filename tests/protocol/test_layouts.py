"""construct declarations, dataclasses and the wire table state one thing."""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest

from telemetry.protocol import layouts
from telemetry.protocol.fields import conversion, struct_format
from telemetry.protocol.wire import (
    ANSWER_HEADER,
    CODES,
    MESSAGES,
    REQUEST_HEADER,
    Field,
    Kind,
    MessageSpec,
    Plane,
)
from tests.protocol import strategies

HEADER_ATTRIBUTES = {Plane.REQUEST: (), Plane.TELEMETER: (), Plane.ANSWER: ("alarm_sequence",)}


def python_names(spec: MessageSpec) -> tuple[str, ...]:
    first = ("status",) if spec.name == "Refusal" else ()
    return (*first, *(field.name for field in spec.fields), *HEADER_ATTRIBUTES[spec.plane])


@pytest.mark.parametrize("spec", MESSAGES, ids=lambda spec: spec.name)
def test_dataclass_of_a_message_has_the_fields_of_the_table_in_order(spec: MessageSpec) -> None:
    kind = strategies.class_of(spec.name)
    assert dataclasses.is_dataclass(kind)
    assert tuple(field.name for field in dataclasses.fields(kind)) == python_names(spec)
    check_types(kind, spec.fields)


@pytest.mark.parametrize("name", strategies.RECORD_FIELDS)
def test_dataclass_of_a_record_has_the_fields_of_the_table_in_order(name: str) -> None:
    kind = strategies.class_of(name)
    assert dataclasses.is_dataclass(kind)
    fields = strategies.RECORD_FIELDS[name]
    assert tuple(field.name for field in dataclasses.fields(kind)) == tuple(field.name for field in fields)
    check_types(kind, fields)


def check_types(kind: object, fields: tuple[Field, ...]) -> None:
    hints = get_type_hints(kind)
    for field in fields:
        hint = hints[field.name]
        union = get_origin(hint) in (Union, UnionType)
        found = set(get_args(hint)) if union else {get_origin(hint) or hint}
        expected = {tuple} if field.kind is Kind.RECORDS else set(conversion(field).types)
        assert found == expected, field.name


@pytest.mark.parametrize(
    ("plane", "size"),
    [
        (Plane.REQUEST, REQUEST_HEADER.size),
        (Plane.TELEMETER, REQUEST_HEADER.size),
        (Plane.ANSWER, ANSWER_HEADER.size),
    ],
)
def test_header_layouts_have_the_size_of_the_headers(plane: Plane, size: int) -> None:
    names = ["opcode", "version", "length"]
    if plane is Plane.ANSWER:
        names[2:2] = ["status", "alarm_sequence"]
    raw = layouts.header_layout(plane).build(dict.fromkeys(names, 1))
    assert len(raw) == size
    assert [name for name in layouts.header_layout(plane).parse(raw) if not name.startswith("_")] == names


@pytest.mark.parametrize("layout", [layouts.body_layout, layouts.record_layout])
def test_an_unknown_layout_is_a_key_error(layout: object) -> None:
    assert callable(layout)
    with pytest.raises(KeyError):
        layout("Nonsense")


def test_construct_passes_what_the_codec_must_refuse() -> None:
    body = layouts.body_layout("Write")
    assert body.parse(b"\x00\x00\x01a and what follows it")["data"] == b"a"
    assert layouts.body_layout("Stop").parse(bytes(25))["reason"] == 0
    assert 0 not in CODES["stop_reason"]


@pytest.mark.parametrize("kind", [Kind.BLOB, Kind.RECORDS])
def test_variable_fields_have_no_struct_format(kind: Kind) -> None:
    assert struct_format(Field("x", kind, 1)) is None

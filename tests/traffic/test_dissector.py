"""The dissector as text: whole, made of the wire table, and written so that Lua reads what was meant."""

from __future__ import annotations

import re

import pytest

from telemetry.protocol.fields import PayloadFault
from telemetry.protocol.frame import FrameFault
from telemetry.protocol.wire import CODES, LAYOUT_FINGERPRINT, MESSAGES
from telemetry.traffic import dissector as made
from telemetry.traffic.dissector import FAULTS, FRAME_FAULTS, dissector, layouts


def test_it_says_what_it_is_and_for_which_dialect() -> None:
    text = dissector()
    head = text[: text.index("local ")]
    assert "SIMULATED devices only; not for clinical use" in head
    assert f"0x{LAYOUT_FINGERPRINT:08x}" in head
    assert dissector() == text


def test_every_message_code_and_field_of_the_table_stands_in_it() -> None:
    text = dissector()
    for spec in MESSAGES:
        assert re.search(rf'\[0x{spec.opcode:02x}\] = \{{ name = "{spec.name}", plane = "{spec.plane.value}"', text)
    for codes in CODES.values():
        for code, member in codes.items():
            assert f'[0x{code:02x}] = "{"none" if member is None else member}"' in text
    text = re.sub(r"\s+", " ", text)
    for fields in layouts().values():
        for field in fields:
            assert f'name = "{field.name}", kind = "{field.kind.value}", size = {field.size}' in text


def test_no_fault_has_the_name_of_another() -> None:
    assert len(set(FAULTS)) == len(FAULTS) == len(FrameFault) + len(PayloadFault)
    assert FRAME_FAULTS["version"] == "frame_version"
    assert FRAME_FAULTS["crc"] == "crc"


@pytest.mark.parametrize(
    ("value", "lua"),
    [
        (None, "nil"),
        (True, "true"),
        (7, "7"),
        ('a "b"\\\n', '"a \\"b\\"\\\\\\n"'),
        ([], "{}"),
        ([1, "x"], '{ 1, "x" }'),
        ({"a": 1, "end": 2, "b c": 3}, '{ a = 1, ["end"] = 2, ["b c"] = 3 }'),
        ({1: "x"}, '{ [0x01] = "x" }'),
    ],
)
def test_values_are_written_as_lua(value: made.Lua, lua: str) -> None:
    assert made._lua(value) == lua


def test_every_line_can_be_read() -> None:
    assert max(map(len, dissector().splitlines())) <= 240

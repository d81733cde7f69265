"""Explanations: an explanation has a fault exactly where the strict decoders refuse, and its rows are the bytes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import BadFrame, BadPayload
from telemetry.model import OperationKind
from telemetry.protocol import codec
from telemetry.protocol.fields import PayloadFault
from telemetry.protocol.frame import Frame, FrameFault, decode_frame, encode_frame, encode_stream
from telemetry.protocol.messages import Begin, ProgramReport, ReadBack, SetRate, Staged, Write
from telemetry.protocol.records import decode_record
from telemetry.protocol.wire import BY_NAME, HANDSHAKE, IMAGES, MESSAGES, Field, FrameType, Kind, Plane
from telemetry.traffic.explaining import explain_bytes, explain_frame, explain_message, explain_record, explain_segment
from telemetry.traffic.explaining_advice import FRAME_ADVICE, FRAME_TYPES, PAYLOAD_ADVICE
from telemetry.traffic.explaining_orders import Orders, WholeImage, guess, image_of
from telemetry.traffic.explaining_units import EXACT, LAST_DATE_S, meaning
from tests.protocol import strategies
from tests.support import random_messages

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message
    from telemetry.protocol.records import RecordName
    from telemetry.traffic.explaining import Explanation
    from telemetry.traffic.explaining_rows import Part

FIXTURES = Path(__file__).parents[2] / "fixtures"
STAGES = {image_of(kind): kind for kind in OperationKind if image_of(kind)}


def vectors(name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((FIXTURES / name).read_text(encoding="utf-8"))
    return found


def assert_rows_are_the_bytes(part: Part) -> None:
    """Every byte stands in one row, at its place."""
    at = 0
    for row in part.rows:
        assert row.offset == at, (part.title, row)
        at += len(row.data)
        assert part.data[row.offset : at] == row.data
    assert at == len(part.data)


def row_faults(explanation: Explanation) -> set[str]:
    return {row.fault.partition(":")[0] for part in explanation.parts for row in part.rows if row.fault}


@given(strategies.message())
def test_any_message_is_right_in_every_field_and_every_byte_is_told(message: Message) -> None:
    payload = codec.encode(message)
    explanation = explain_message(payload)
    assert explanation.whole
    assert explanation.message == message
    assert explanation.verdict.startswith(f"{type(message).__name__} is right in every field")
    assert_rows_are_the_bytes(explanation.parts[0])
    json.dumps(explanation.as_json())


@pytest.mark.parametrize("vector", vectors("vectors/messages.json"), ids=lambda vector: vector["name"])
def test_the_values_are_those_of_the_vectors(vector: dict[str, object]) -> None:
    data = bytes.fromhex(str(vector["padded_hex"] or vector["hex"]))
    explanation = explain_message(data, Plane(str(vector["plane"])), padded=vector["padded_hex"] is not None)
    assert explanation.whole
    told = {row.field: row.value for row in explanation.parts[0].rows}
    bitmaps = {one.name for one in BY_NAME[str(vector["message"])].fields if one.kind is Kind.BITMAP}
    for name, value in flat(cast("dict[str, object]", vector["fields"]), bitmaps).items():
        assert told[name] == value, name
    assert_rows_are_the_bytes(explanation.parts[0])


def flat(fields: dict[str, object], bitmaps: set[str], path: str = "") -> dict[str, str]:
    """Fields of a vector as rows have them."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, list) and name in bitmaps:
            found[path + name] = ", ".join(value) or "none"
        elif isinstance(value, list):
            found[path + name] = str(len(value))
            for index, one in enumerate(value):
                found |= flat(cast("dict[str, object]", one), bitmaps, f"{path}{name}[{index}].")
        elif isinstance(value, bool):
            found[path + name] = "yes" if value else "no"
        else:
            found[path + name] = "none" if value is None else str(value)
    return found


@pytest.mark.parametrize("name", ["payloads", "records", "padding"])
def test_every_hostile_vector_gets_its_verdict(name: str) -> None:
    for vector in vectors(f"hostile/{name}.json"):
        data = bytes.fromhex(str(vector["hex"]))
        if name == "records":
            explanation = explain_record(str(vector["record"]), data)
        else:
            explanation = explain_message(data, padded=name == "padding")
        assert explanation.faults[0] == vector["reason"], vector
        assert vector["reason"] in row_faults(explanation) or not data, vector
        assert explanation.advice
        assert f"{vector['reason']}: " in explanation.verdict


@given(st.data())
def test_a_mutated_message_is_explained_as_it_is_refused(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(MESSAGES))
    padded = data.draw(st.booleans())
    payload = codec.encode(data.draw(strategies.message_of(spec)))
    payload = payload + bytes(-len(payload) % 16) if padded else payload
    changed = mutated(data, payload)
    explanation = explain_message(changed, spec.plane, padded=padded)
    try:
        codec.decode(codec.unpad(changed) if padded else changed, plane=spec.plane)
    except BadPayload as error:
        fault = error.reason.partition(":")[0]
        assert explanation.faults[0] == fault
        assert fault in row_faults(explanation)
        assert PAYLOAD_ADVICE[fault] in explanation.advice
        assert not explanation.whole
    else:
        assert explanation.whole
        assert row_faults(explanation) <= (row_faults_of_image(explanation))


def row_faults_of_image(explanation: Explanation) -> set[str]:
    return {row.fault.partition(":")[0] for part in explanation.parts[1:] for row in part.rows if row.fault}


def mutated(data: st.DataObject, payload: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        act = data.draw(st.sampled_from(["set", "cut", "drop", "add"]))
        if act == "set" and changed:
            changed[at] = data.draw(st.integers(0, 255))
        elif act == "cut":
            del changed[at:]
        elif act == "drop":
            del changed[at : at + 1]
        else:
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    return bytes(changed)


def refusal(name: str, data: bytes) -> str | None:
    """The fault that the strict decoder names first."""
    try:
        decode_record(name, data)
    except BadPayload as error:
        return error.reason.partition(":")[0]
    return None


@given(st.data(), st.sampled_from([*IMAGES, *HANDSHAKE]))
def test_a_mutated_record_is_explained_as_it_is_refused(data: st.DataObject, name: str) -> None:
    whole = codec.encode_record(cast("RecordName", name), data.draw(strategies.record(name)))
    for changed in (whole, mutated(data, whole)):
        explanation = explain_record(name, changed)
        fault = refusal(name, changed)
        assert explanation.faults[:1] == ((fault,) if fault else ())
        assert fault in row_faults(explanation) if fault else not row_faults(explanation)
        if fault is None:
            assert_rows_are_the_bytes(explanation.parts[0])


@given(strategies.frame(), st.data())
def test_any_frame_and_any_damage_to_it(frame: Frame, data: st.DataObject) -> None:
    whole = encode_frame(frame)
    explanation = explain_frame(whole)
    assert explanation.name == frame.type.name
    assert_rows_are_the_bytes(explanation.parts[0])
    assert explanation.parts[0].rows[-1].meaning == "right"
    changed = mutated(data, whole)
    told = explain_frame(changed)
    try:
        decode_frame(changed)
    except BadFrame as error:
        fault = str(error).partition(":")[0]
        assert told.faults == (fault,)
        assert fault in row_faults(told) or fault == "too_long"
        assert told.advice == (FRAME_ADVICE[FrameFault(fault)],)
    else:
        assert told.name != "no frame"
    assert_rows_are_the_bytes(told.parts[0])


@given(st.binary(max_size=300))
def test_any_bytes_have_an_explanation(data: bytes) -> None:
    for explanation in (explain_bytes(data), explain_segment(data), explain_frame(data, data)):
        assert explanation.verdict
        assert explanation.parts
        json.dumps(explanation.as_json())


@pytest.mark.parametrize("vector", vectors("hostile/frames.json"), ids=lambda vector: vector["name"])
def test_every_hostile_frame_gets_its_verdict(vector: dict[str, object]) -> None:
    explanation = explain_frame(bytes.fromhex(str(vector["hex"])))
    assert explanation.faults == (vector["reason"],)
    assert not explanation.whole


def test_what_bytes_look_most_like() -> None:
    ask = codec.encode(codec.decode(bytes.fromhex("02010000")))
    assert explain_bytes(ask[:3]).name == "ReadStatus"
    damaged = bytearray(encode_frame(Frame(FrameType.PROBE, 0, bytes(8))))
    damaged[6] ^= 1
    assert explain_bytes(bytes(damaged)).faults == ("crc",)
    stream = encode_stream(bytes(damaged)).strip(b"\0")
    assert explain_segment(stream).faults == ("crc",)
    assert explain_segment(b"\5\1").faults == ("cobs",)


def test_a_sealed_frame_says_what_it_would_take_to_open_it() -> None:
    explanation = explain_frame(encode_frame(Frame(FrameType.REQ, 0, (9).to_bytes(4, "little") + bytes(32))))
    assert explanation.whole
    assert [row.field for row in explanation.parts[1].rows] == ["counter", "ciphertext", "tag"]
    assert "?record=" in explanation.advice[0]
    assert explain_frame(encode_frame(Frame(FrameType.RSP, 0, bytes(5)))).faults == ("sealed",)


@given(st.sampled_from([*STAGES]), st.integers(0, 1 << 32), st.booleans())
def test_an_order_in_parts_is_put_together(name: str, seed: int, read_back: bool) -> None:
    rng = Random(seed)
    image = codec.encode_record(cast("RecordName", name), random_messages.record(rng, name))
    begin = Begin(bytes(16), 0, 0, bytes(8), STAGES[name], 1, len(image), sha256(image).digest())
    orders = Orders()
    assert orders.follow(begin) is None
    if read_back:
        parts = [image[at : at + 30] for at in range(0, len(image), 30)]
        given_back: list[Message] = [ReadBack(number, len(parts), part, 0) for number, part in enumerate(parts[:-1])]
        given_back.append(staged(len(parts) - 1, len(parts), parts[-1], sha256(image).digest()))
    else:
        given_back = [Write(at, image[at : at + 50]) for at in range(0, len(image), 50)]
    *first, last = given_back
    assert [orders.follow(one) for one in first] == [None] * len(first)
    assert orders.follow(last) == WholeImage(name, image)
    if first:
        torn = Orders()
        torn.follow(begin)
        assert [torn.follow(one) for one in given_back[1:]] == [None] * len(first)


def staged(part: int, parts: int, image: bytes, digest: bytes) -> Staged:
    return Staged(part, parts, image, 0, 0, 0, 0, 0, 0, 0, (), digest, bytes(16), 60, 0)


def test_the_image_of_an_order_is_explained_with_its_message() -> None:
    image = codec.encode_record("program_image", random_messages.record(Random(4), "program_image"))
    right = explain_message(codec.encode(staged(0, 1, image[:120], sha256(image[:120]).digest())))
    assert right.verdict.startswith("Staged is right in every field")
    clock = codec.encode_record("clock_image", random_messages.record(Random(4), "clock_image"))
    lone = explain_message(codec.encode(staged(0, 1, clock, sha256(clock).digest())))
    assert [part.title for part in lone.parts] == ["message Staged", "clock_image"]
    other = explain_message(codec.encode(staged(0, 1, clock, bytes(32))))
    assert other.verdict == "Staged is right in every field, but its digest is not that of the image"
    report = ProgramReport(1, bytes(8), stopped=False, part=0, parts=1, image=b"\1\2", alarm_sequence=0)
    assert "its image is not: program_image is refused (" in explain_message(codec.encode(report)).verdict


def test_a_rate_alone_is_a_program() -> None:
    orders = Orders()
    orders.follow(cast("SetRate", random_messages.message(Random(1), next(s for s in MESSAGES if s.name == "SetRate"))))
    assert orders.follow(staged(0, 1, b"what", bytes(32))) == WholeImage("program_image", b"what")
    assert Orders().follow(staged(0, 1, b"what", bytes(32))) == WholeImage(None, b"what")
    assert guess(b"") is None


def test_there_is_advice_for_every_fault_and_a_word_for_every_frame() -> None:
    assert set(FRAME_ADVICE) == set(FrameFault)
    assert set(PAYLOAD_ADVICE) >= {fault.value for fault in PayloadFault}
    assert set(FRAME_TYPES) == set(FrameType)


@pytest.mark.parametrize(
    ("unit", "size", "value", "said"),
    [
        ("nl/day", 4, 150_000, "0.150 ml/day"),
        ("nl in the last hour", 4, 1, "0.000001 ml"),
        ("ng/day of the old drug", 8, 300_500, "300.5 µg/day"),
        ("ng/ml", 4, 2_000_000, "2000 µg/ml"),
        ("ng", 8, EXACT - 1, "9007199254740.991 µg"),
        ("ng", 8, EXACT, ""),
        ("ppm of nominal; 1000000: exact", 4, 1_000_000, "100.0 %"),
        ("ppm", 4, 117_648, "11.7648 %"),
        ("s since 1970-01-01 UTC", 8, 951_782_400, "2000-02-29 00:00:00 UTC"),
        ("s since 1970-01-01 UTC", 8, LAST_DATE_S, "9999-12-31 23:59:59 UTC"),
        ("s since 1970-01-01 UTC", 8, LAST_DATE_S + 1, ""),
        ("s of pump time; all ones: none", 8, 21_888_000, "day 253 08:00:00"),
        ("s; all ones: longer", 4, (1 << 32) - 1, "longer"),
        ("s", 4, 90_061, "1 d 1 h 1 min 1 s"),
        ("min east of UTC", 2, -90, "UTC-01:30"),
        ("min that a schedule moves against the patient's day", 4, 125, "2 h 5 min earlier"),
        ("min that a schedule moves against the patient's day", 4, -1, "1 min later"),
        ("minutes after the pump's midnight", 2, 1439, "23:59"),
        ("bitmap, Monday is bit 0", 1, 0x41, "mon, sun"),
        ("bitmap, Monday is bit 0", 1, 0x7F, "every day"),
        ("bit 0 test device, 1 throttled, 2 busy", 1, 5, "test device, busy"),
        ("operations", 2, 5, ""),
    ],
)
def test_a_quantity_is_written_for_people(unit: str, size: int, value: int, said: str) -> None:
    assert meaning(Field("x", Kind.UINT, size, unit), value) == said


def test_parts_of_another_order_or_of_an_earlier_attempt_are_left_out() -> None:
    begin = Begin(bytes(16), 0, 0, bytes(8), OperationKind.PROGRAM, 1, 5, bytes(32))
    orders = Orders()
    orders.follow(begin)
    assert orders.follow(Write(3, b"de")) is None
    assert orders.follow(Write(0, b"abc")) is None  # the first part begins anew
    assert orders.follow(Write(3, b"fg")) == WholeImage("program_image", b"abcfg")
    assert orders.follow(ReadBack(0, 2, b"abc", 0)) is None
    orders.follow(begin)
    assert orders.follow(staged(1, 2, b"de", bytes(32))) is None
    assert (
        orders.follow(ProgramReport(1, bytes(8), stopped=False, part=1, parts=2, image=b"x", alarm_sequence=0)) is None
    )

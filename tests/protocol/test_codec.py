"""The codec: total, canonical, strict, and its fast path equal to construct."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from enum import Enum
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import BadPayload, UsageError
from telemetry.model import Activity, AlarmKind, Drug, PumpMode, StopReason
from telemetry.protocol import layouts, messages
from telemetry.protocol.codec import decode, decode_record, encode, encode_record, pad, unpad
from telemetry.protocol.fields import PayloadFault, uint_limits
from telemetry.protocol.wire import (
    ANSWER_HEADER,
    BITMAPS,
    BOOL_FALSE,
    BOOL_TRUE,
    BY_NAME,
    CODES,
    MAX_PLAINTEXT,
    MESSAGES,
    REQUEST_HEADER,
    Field,
    Kind,
    MessageSpec,
    Plane,
    Status,
    longest,
)
from tests.protocol import strategies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OP_ID = bytes(range(16))
STATUS = messages.Status(
    mode=PumpMode.SIMPLE_CONTINUOUS,
    rate_nl_per_day=170_000,
    dose_ng_per_day=340_000,
    concentration_ng_per_ml=2_000_000,
    drug=Drug.BACLOFEN,
    reservoir_nl=40_000_000,
    reservoir_generation=1,
    battery_percent=100,
    replace_by_s=218_000_000,
    low_reservoir_at_s=None,
    alarms=(AlarmKind.LOW_RESERVOIR, AlarmKind.SAFE_STATE),
    program_sequence=1,
    program_digest=bytes(8),
    boot_epoch=1,
    now_s=86_400,
    clock_utc_s=1_795_305_600,
    stopped_since_s=7,
    activity=Activity.NONE,
    activity_ends_s=8,
    alarm_sequence=3,
)


def names(specs: list[MessageSpec]) -> list[str]:
    return [spec.name for spec in specs]


@pytest.mark.inv(40)
@given(strategies.message())
def test_inv_40_decode_undoes_encode(message: messages.Message) -> None:
    payload = encode(message)
    assert decode(payload) == message
    assert len(payload) <= MAX_PLAINTEXT
    if BY_NAME[type(message).__name__].plane is not Plane.TELEMETER:
        assert unpad(pad(payload)) == payload


@pytest.mark.inv(40)
@pytest.mark.parametrize("name", strategies.RECORD_FIELDS)
@given(data=st.data())
def test_inv_40_decode_record_undoes_encode_record(name: str, data: st.DataObject) -> None:
    obj = data.draw(strategies.record(name))
    encoded = encode_record(name, obj)  # type: ignore[arg-type]
    assert decode_record(name, encoded) == obj


def verdict(again: Callable[[], bytes]) -> bytes | BadPayload:
    """What decoding and encoding again gives; only ``BadPayload`` may stop it."""
    try:
        return again()
    except BadPayload as error:
        return error


def is_named(found: object) -> bool:
    """Whether it is a ``BadPayload`` whose reason begins with one of the names of the specification."""
    if not isinstance(found, BadPayload):
        return False
    fault, _, detail = found.reason.partition(": ")
    return fault in list(PayloadFault) and bool(detail)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good payload with a few bytes replaced, cut off or put on; small damage gets deep into the decoder."""
    payload = bytearray(encode(draw(strategies.message())))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(payload)))
        action = draw(st.sampled_from(["replace", "cut", "insert", "flip"]))
        if action == "insert":
            payload[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif action == "cut":
            del payload[at : at + draw(st.integers(1, 3))]
        elif at < len(payload):
            payload[at] = (
                draw(st.integers(0, 255)) if action == "replace" else payload[at] ^ 1 << draw(st.integers(0, 7))
            )
    return bytes(payload)


@pytest.mark.inv(40)
@pytest.mark.inv(59)
@given(st.binary(max_size=300) | damaged())
def test_inv_40_and_59_any_payload_decodes_canonically_or_is_a_bad_payload(payload: bytes) -> None:
    found = verdict(lambda: encode(decode(payload)))
    assert found == payload or is_named(found)


@pytest.mark.inv(59)
@pytest.mark.parametrize("name", strategies.RECORD_FIELDS)
@given(data=st.data())
def test_inv_59_any_bytes_are_a_record_or_a_bad_payload(name: str, data: st.DataObject) -> None:
    size = len(encode_record(name, data.draw(strategies.record(name))))  # type: ignore[arg-type]
    encoded = data.draw(st.binary(min_size=size, max_size=size) | st.binary(max_size=size + 2))
    found = verdict(lambda: encode_record(name, decode_record(name, encoded)))  # type: ignore[arg-type]
    assert found == encoded or (isinstance(found, BadPayload) and found.message == name)


def raw_of(field: Field, value: object) -> object:
    """What construct takes for a value; written anew here so that the codec's own conversions are not their judge."""
    if field.kind is Kind.UINT:
        return field.none if value is None else cast("int", value) + field.bias
    if field.kind is Kind.RECORDS:
        inner = strategies.RECORD_FIELDS[field.table]
        return [{f.name: raw_of(f, getattr(row, f.name)) for f in inner} for row in cast("tuple[object, ...]", value)]
    if field.kind is Kind.BOOL:
        return BOOL_TRUE if value else BOOL_FALSE
    if field.kind is Kind.CODE:
        return next(code for code, member in CODES[field.table].items() if member is value)
    if field.kind is Kind.BITMAP:
        assert isinstance(value, tuple)
        return sum(bit for bit, member in BITMAPS[field.table].items() if member in value)
    if field.kind is Kind.TEXT:
        assert isinstance(value, str)
        return value.encode().ljust(field.size, b"\0")
    return value


def raw_header(spec: MessageSpec, message: messages.Message, length: int) -> Mapping[str, object]:
    header: dict[str, object] = {"opcode": spec.opcode, "version": spec.version, "length": length}
    if spec.plane is Plane.ANSWER:
        status = getattr(message, "status", Status.OK)
        header["status"] = next(code for code, member in CODES["status"].items() if member is status)
        header["alarm_sequence"] = getattr(message, "alarm_sequence", None)
    return header


@pytest.mark.parametrize("spec", strategies.FIXED, ids=names(strategies.FIXED))
@given(data=st.data())
def test_fast_path_equals_construct(spec: MessageSpec, data: st.DataObject) -> None:
    message = data.draw(strategies.message_of(spec))
    raw = {field.name: raw_of(field, getattr(message, field.name)) for field in spec.fields}
    body = layouts.body_layout(spec.name).build(raw)
    header = layouts.header_layout(spec.plane).build(raw_header(spec, message, len(body)))
    assert encode(message) == header + body
    parsed = layouts.body_layout(spec.name).parse(body)
    assert {name: parsed[name] for name in raw} == raw


@pytest.mark.parametrize("name", strategies.RECORD_FIELDS)
@given(data=st.data())
def test_fast_path_of_records_equals_construct(name: str, data: st.DataObject) -> None:
    obj = data.draw(strategies.record(name))
    raw = {field.name: raw_of(field, getattr(obj, field.name)) for field in strategies.RECORD_FIELDS[name]}
    assert layouts.record_layout(name).build(raw) == encode_record(name, obj)  # type: ignore[arg-type]


def minimal(spec: MessageSpec) -> messages.Message:
    """The message with every field at its least."""
    values: dict[str, object] = {}
    for field in spec.fields:
        if field.kind is Kind.UINT:
            values[field.name] = field.low
        elif field.kind is Kind.CODE:
            values[field.name] = next(iter(CODES[field.table].values()))
        elif field.kind is Kind.BYTES:
            values[field.name] = bytes(field.size)
        else:
            values[field.name] = {
                Kind.BOOL: False,
                Kind.BITMAP: (),
                Kind.TEXT: "",
                Kind.BLOB: b"",
                Kind.RECORDS: (),
            }[field.kind]
    if spec.name == "Refusal":
        values["status"] = Status.STATE
    message = strategies.class_of(spec.name)(**values)
    assert isinstance(message, messages.Message)
    return message


UINTS = [(spec, field) for spec in MESSAGES for field in spec.fields if field.kind is Kind.UINT]


@pytest.mark.inv(42)
@pytest.mark.parametrize(("spec", "field"), UINTS, ids=[f"{spec.name}.{field.name}" for spec, field in UINTS])
def test_inv_42_integers_at_the_edges_of_their_field_pass_and_beyond_refuse(spec: MessageSpec, field: Field) -> None:
    low, high = uint_limits(field)
    for inside in (low, high):
        message = dataclasses.replace(minimal(spec), **{field.name: inside})  # type: ignore[type-var]
        assert decode(encode(message)) == message
    for outside in (low - 1, high + 1, high + 1 + (1 << 8 * field.size), -(1 << 64)):
        message = dataclasses.replace(minimal(spec), **{field.name: outside})  # type: ignore[type-var]
        with pytest.raises(UsageError, match=rf"{spec.name}\.{field.name}: {outside} is outside {low} to {high}"):
            encode(message)


def minimal_record(name: str) -> object:
    """The record with every field at its least."""
    values: list[object] = []
    for field in strategies.RECORD_FIELDS[name]:
        if field.kind is Kind.UINT:
            values.append(field.low)
        elif field.kind is Kind.CODE:
            values.append(next(iter(CODES[field.table].values())))
        elif field.kind is Kind.RECORDS:
            values.append(())
        else:
            values.append(False if field.kind is Kind.BOOL else bytes(field.size))
    return strategies.class_of(name)(*values)


RECORD_UINTS = [
    (name, field) for name, fields in strategies.RECORD_FIELDS.items() for field in fields if field.kind is Kind.UINT
]


@pytest.mark.inv(42)
@pytest.mark.parametrize(("name", "field"), RECORD_UINTS, ids=[f"{name}.{field.name}" for name, field in RECORD_UINTS])
def test_inv_42_integers_of_records_do_not_wrap(name: str, field: Field) -> None:
    low, high = uint_limits(field)
    for inside in (low, high):
        obj = dataclasses.replace(minimal_record(name), **{field.name: inside})  # type: ignore[type-var]
        assert decode_record(name, encode_record(name, obj)) == obj  # type: ignore[arg-type]
    for outside in (low - 1, high + 1, high + 1 + (1 << 8 * field.size)):
        obj = dataclasses.replace(minimal_record(name), **{field.name: outside})  # type: ignore[type-var]
        with pytest.raises(UsageError, match=rf"{name}\.{field.name}: {outside} is outside {low} to {high}"):
            encode_record(name, obj)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", [bytearray(b"secret" * 3), b"secret" * 3])
def test_bytes_do_not_appear_in_an_error(token: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        encode(messages.Commit(OP_ID, token, bytes(32), ()))
    assert "secret" not in str(caught.value)
    assert "18 bytes" in str(caught.value)


@pytest.mark.inv(42)
@pytest.mark.parametrize("sequence", [-1, 65_536, True, None])
def test_inv_42_alarm_sequence_does_not_wrap(sequence: object) -> None:
    with pytest.raises(UsageError, match=r"Status\.alarm_sequence: .* is no integer of 0 to 65535"):
        encode(dataclasses.replace(STATUS, alarm_sequence=sequence))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rate_nl_per_day": 1.5}, r"Status\.rate_nl_per_day: 1\.5 of type float, not int"),
        ({"rate_nl_per_day": True}, r"Status\.rate_nl_per_day: True of type bool, not int"),
        ({"mode": "stopped"}, r"Status\.mode: 'stopped' of type str, not PumpMode"),
        ({"mode": AlarmKind.SAFE_STATE}, r"Status\.mode: .* of type AlarmKind, not PumpMode"),
        ({"low_reservoir_at_s": "soon"}, r"Status\.low_reservoir_at_s: 'soon' of type str, not int or None"),
        ({"low_reservoir_at_s": 2**64 - 1}, r"Status\.low_reservoir_at_s: 18446744073709551615 is outside 0 to"),
        ({"program_digest": b"short"}, r"Status\.program_digest: 5 bytes, not 8"),
        ({"program_digest": bytearray(8)}, r"Status\.program_digest: 8 bytes of type bytearray, not bytes"),
        ({"alarms": (AlarmKind.SAFE_STATE, AlarmKind.LOW_RESERVOIR)}, r"Status\.alarms: .* in this order"),
        ({"alarms": (AlarmKind.SAFE_STATE, AlarmKind.SAFE_STATE)}, r"Status\.alarms: .* in this order"),
        ({"alarms": (PumpMode.SAFE_STATE,)}, r"Status\.alarms: .* is no tuple of AlarmKind"),
        ({"battery_percent": 101}, r"Status\.battery_percent: 101 is outside 0 to 100 %"),
    ],
)
def test_encode_names_message_field_value_and_limit(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        encode(dataclasses.replace(STATUS, **change))  # type: ignore[arg-type]


RECORD = messages.LogEntry(1, 1, 1, next(iter(CODES["log_code"].values())), 1, 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (messages.Write(0, bytes(201)), r"Write\.data: 201 bytes, at most 200 fit"),
        (messages.LogPage(0, 0, 0, (RECORD,) * 9), r"LogPage\.records: 9 records, at most 8 fit"),
        (messages.LogPage(0, 0, 0, (RECORD, STATUS)), r"LogPage\.records\[1\]: .* is no LogEntry"),  # type: ignore[arg-type]
        (
            messages.LogPage(0, 0, 0, (RECORD, dataclasses.replace(RECORD, slot=256))),
            r"LogPage\.records\[1\]\.slot: 256 is outside 0 to 255",
        ),
        (messages.LogPage(0, 0, 2**32, ()), r"LogPage\.overwritten: 4294967296 is outside 0 to 4294967295 records"),
        (
            messages.TelemeterReport(0, "caf\u00e9", 0, 0, 0, True, 0, 0, 0, 0, 0, True),
            r"TelemeterReport\.serial: 'caf\u00e9' is no printable ASCII text of at most 16 characters",
        ),
        (
            messages.TelemeterReport(0, "x" * 17, 0, 0, 0, True, 0, 0, 0, 0, 0, True),
            r"TelemeterReport\.serial: 'x{17}' is no printable ASCII text of at most 16 characters",
        ),
        (messages.Refusal(Status.OK, 0, None, 0, 0, ()), r"Refusal\.status: .* is no Status other than OK"),
        (messages.Refusal("state", 0, None, 0, 0, ()), r"Refusal\.status: 'state' is no Status"),  # type: ignore[arg-type]
        (messages.Message(), "Message is no message of ITP/1"),
        (RECORD, "LogEntry is no message of ITP/1"),
    ],
)
def test_encode_refuses_what_cannot_be_sent(message: messages.Message, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        encode(message)


def test_a_class_that_only_bears_a_message_name_is_refused() -> None:
    class ReadStatus(messages.Message):
        pass

    with pytest.raises(UsageError, match="ReadStatus is no message"):
        encode(ReadStatus())


def test_a_member_that_its_table_lost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import MappingProxyType

    from telemetry.protocol import fields, wire

    class Choice(Enum):
        KEPT = 1
        LOST = 2

    monkeypatch.setattr(fields, "CODES", MappingProxyType({"choice": MappingProxyType({1: Choice.KEPT})}))
    conversion = fields.conversion(wire.Field("choice", Kind.CODE, 1, table="choice"))
    assert conversion.write is not None
    with pytest.raises(fields.FieldError, match="is not in the table 'choice'"):
        conversion.write(Choice.LOST)


def test_encode_record_refuses_another_class_and_an_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"beacon: .* is no Beacon"):
        encode_record("beacon", RECORD)
    with pytest.raises(UsageError, match=r"resume_image\.reserved: 1 is outside 0 to 0"):
        encode_record("resume_image", messages.ResumeImage(1, 1, 1, bytes(8)))
    with pytest.raises(UsageError, match=r"record: 'beakon' is none of alarm_record, .*beacon"):
        decode_record("beakon", b"")


def test_decode_says_where() -> None:
    payload = bytearray(encode(messages.Stop(OP_ID, 0, StopReason.CLINICAL)))
    payload[28] = 0xFF
    with pytest.raises(BadPayload) as caught:
        decode(bytes(payload))
    assert (caught.value.message, caught.value.field, caught.value.offset) == ("Stop", "reason", 28)
    assert str(caught.value) == "Stop.reason at byte 28: unknown_code: 0xff is no code of the table 'stop_reason'"


def test_decode_says_where_inside_a_list() -> None:
    page = messages.LogPage(1, 2, 0, (RECORD, RECORD))
    payload = bytearray(encode(page))
    at = ANSWER_HEADER.size + 12 + 1 + 25 + 12  # header, three words, count, first record, to the code of the second
    payload[at : at + 2] = b"\xff\xff"
    with pytest.raises(BadPayload) as caught:
        decode(bytes(payload))
    assert (caught.value.field, caught.value.offset) == ("records[1].code", at)


def test_decode_keeps_to_the_plane_asked_for() -> None:
    payload = encode(messages.ReadStatus())
    assert decode(payload, plane=Plane.REQUEST) == messages.ReadStatus()
    with pytest.raises(BadPayload, match="wrong_plane: not a message of the answer plane"):
        decode(payload, plane=Plane.ANSWER)


@pytest.mark.parametrize("size", [0, MAX_PLAINTEXT + 1])
def test_pad_refuses_what_does_not_fit(size: int) -> None:
    with pytest.raises(UsageError, match=f"plaintext: {size} bytes are outside 1 to 224"):
        pad(bytes(size))


@given(st.binary(max_size=256) | st.integers(0, 14).flatmap(lambda n: st.binary(min_size=16 * n, max_size=16 * n)))
def test_unpad_is_total_and_canonical(padded: bytes) -> None:
    found = verdict(lambda: pad(unpad(padded)))
    assert found == padded or (isinstance(found, BadPayload) and found.reason.startswith("padding: "))


def test_unpad_passes_an_unknown_opcode_on_so_that_it_can_be_answered() -> None:
    payload = REQUEST_HEADER.pack(0x3E, 9, 3) + b"new"
    assert unpad(pad(payload)) == payload
    with pytest.raises(BadPayload) as caught:
        decode(payload)
    assert caught.value.reason.startswith("unknown_opcode")


def test_unpad_knows_the_header_from_the_opcode_alone() -> None:
    for spec in MESSAGES:
        if spec.plane is not Plane.TELEMETER:
            assert bool(spec.opcode & 0x80) == (spec.plane is Plane.ANSWER)


def test_every_message_fits_a_sealed_frame() -> None:
    biggest = {
        "AlarmReport": 7 + 1 + 13 * 16,
        "LogPage": 7 + 12 + 1 + 8 * 25,
        "Write": 4 + 2 + 1 + 200,
        "ReadBack": 7 + 2 + 1 + 200,
        "Staged": 7 + 2 + 1 + 120 + 86,
        "ProgramReport": 7 + 4 + 8 + 1 + 2 + 1 + 200,
        "Limits": 7 + 72 + 4 + 4 * 4 + 2 + 1 + 8 * 4,
    }
    assert {spec.name for spec in strategies.VARIABLE} == set(biggest)
    for spec in strategies.VARIABLE:
        header = 7 if spec.plane is Plane.ANSWER else 4
        assert header + longest(spec.fields) == biggest[spec.name], spec.name
    assert max(biggest.values()) <= MAX_PLAINTEXT


def test_fixed_messages_need_no_construct() -> None:
    code = (
        "import sys, telemetry.protocol as p\n"
        "assert not {'construct', 'cobs', 'asyncio', 'cryptography'} & set(sys.modules), 'package import'\n"
        "p.decode(p.encode(p.ReadStatus())); p.decode(p.encode(p.LedgerHead(1, 1, 1, 1)))\n"
        "try: p.decode(b'\\x82\\x01')\n"
        "except ValueError: raise\n"
        "except Exception as error: assert type(error).__name__ == 'BadPayload'\n"
        "assert 'construct' not in sys.modules, 'fixed messages'\n"
        "p.decode(p.encode(p.AlarmReport(())))\n"
        "assert 'construct' in sys.modules, 'variable messages'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_message_has_its_own_vector_of_round_trip() -> None:
    for spec in MESSAGES:
        message = minimal(spec)
        assert decode(encode(message)) == message
        assert BY_NAME[type(message).__name__] is spec

"""What must hold of the wire table whatever it says."""

from __future__ import annotations

from enum import Enum
from itertools import combinations, pairwise
from typing import cast

import pytest

from telemetry.model import RefusalReason
from telemetry.protocol import wire
from telemetry.protocol.roles import STAGED
from telemetry.protocol.wire import BY_NAME, CODES, MESSAGES, REASON_STATUS, Kind, MessageSpec, Plane, Status
from tests.protocol import strategies

SPACED = (
    "status",
    "verdict",
    "mode",
    "activity",
    "drive",
    "alarm",
    "alarm_class",
    "alarm_priority",
    "alarm_signal",
    "role",
)


@pytest.mark.parametrize("table", [*SPACED, "operation", "stop_reason"])
def test_codes_keep_their_distance(table: str) -> None:
    codes = list(CODES[table])
    assert all((a ^ b).bit_count() >= 3 for a, b in combinations(codes, 2))
    assert not {0x00, 0xFF} & set(codes)


@pytest.mark.parametrize("table", CODES)
def test_every_member_has_one_code(table: str) -> None:
    members: list[Enum | None] = list(CODES[table].values())
    assert len(set(members)) == len(members)
    kinds = {type(member) for member in members if member is not None}
    assert len(kinds) == 1
    assert set(members) - {None} == set(kinds.pop())


@pytest.mark.parametrize("table", wire.BITMAPS)
def test_bitmaps_give_each_member_one_bit_from_the_lowest_up(table: str) -> None:
    bits = list(wire.BITMAPS[table])
    assert bits == [1 << index for index in range(len(bits))]
    assert len(bits) <= 32


def test_booleans_are_far_apart() -> None:
    assert (wire.BOOL_FALSE ^ wire.BOOL_TRUE).bit_count() == 8


def test_every_reason_has_a_status_that_is_no_ok() -> None:
    assert set(REASON_STATUS) == set(RefusalReason)
    assert Status.OK not in REASON_STATUS.values()


def test_opcodes_are_single_and_lie_where_their_plane_does() -> None:
    assert len({spec.opcode for spec in MESSAGES}) == len(MESSAGES) == len(BY_NAME)
    assert all(first.opcode < second.opcode for first, second in pairwise(MESSAGES) if first.plane is second.plane)
    for spec in MESSAGES:
        telemeter = spec.opcode & 0xC0 == 0x40 or spec.opcode & 0xE0 == 0xC0
        assert telemeter == (spec.plane is Plane.TELEMETER), spec.name
        assert bool(spec.opcode & 0x80) == (not spec.replies), spec.name


@pytest.mark.parametrize("spec", [spec for spec in MESSAGES if spec.replies], ids=lambda spec: spec.name)
def test_replies_exist_on_the_answering_plane(spec: MessageSpec) -> None:
    answering = {Plane.REQUEST: Plane.ANSWER, Plane.TELEMETER: Plane.TELEMETER}[spec.plane]
    assert {BY_NAME[name].plane for name in spec.replies} == {answering}


def test_only_commit_stop_and_the_patients_bolus_change_therapy() -> None:
    assert {spec.name for spec in MESSAGES if spec.changes_therapy} == {"Commit", "Stop", "PatientBolus"}


def test_every_reading_request_is_idempotent() -> None:
    assert all(spec.idempotent for spec in MESSAGES if spec.operation.startswith("read_"))


def test_every_field_can_hold_its_range() -> None:
    layouts = {spec.name: spec.fields for spec in MESSAGES} | strategies.RECORD_FIELDS
    for name, fields in layouts.items():
        for field in fields:
            if field.kind is Kind.UINT:
                assert field.high is not None
                low, high = field.low + field.bias, field.high + field.bias
                assert 0 <= low <= high < 1 << 8 * field.size, f"{name}.{field.name}"
            if field.kind in (Kind.BLOB, Kind.RECORDS):
                assert field.high is not None
                assert field.high <= 0xFF


def test_more_members_than_spaced_codes_are_refused_at_once() -> None:
    def of_size(size: int) -> type[Enum]:
        return cast("type[Enum]", Enum("Crowd", [f"member_{number}" for number in range(size)]))

    assert len(wire._spaced(of_size(16))) == 16
    with pytest.raises(ValueError, match="Crowd: 17 members, the spaced codes are 16"):
        wire._spaced(of_size(17))


def test_the_longest_messages_fit_a_plaintext_and_the_longest_images_a_transaction() -> None:
    for spec in MESSAGES:
        header = wire.ANSWER_HEADER if spec.plane is Plane.ANSWER else wire.REQUEST_HEADER
        assert header.size + wire.longest(spec.fields) <= wire.MAX_PLAINTEXT, spec.name
    assert {name for name, fields in wire.IMAGES.items() if wire.longest(fields) > wire.MAX_IMAGE} == set()
    parts = -(-wire.MAX_IMAGE // wire.MAX_READ_BACK_PART) + 1
    assert parts <= BY_NAME["ReadBack"].fields[1].high == 0xFF  # type: ignore[operator]


def test_every_staged_kind_has_an_image_of_its_own() -> None:
    assert set(wire.IMAGES) == {f"{kind}_image" for kind in STAGED}


def test_records_inside_messages_are_of_fixed_size_and_a_log_entry_is_compact() -> None:
    for fields in (*wire.RECORDS.values(), *wire.HANDSHAKE.values()):
        assert all(field.kind not in (Kind.BLOB, Kind.RECORDS) for field in fields)
    assert sum(field.size for field in wire.RECORDS["log_entry"]) <= 32


def test_handshake_bodies_fit_a_frame_and_their_payloads_the_noise_messages() -> None:
    sizes = {name: sum(field.size for field in fields) for name, fields in wire.HANDSHAKE.items()}
    assert sizes["probe"] == 8
    assert sizes["beacon"] == 32
    assert sizes["hello"] == 20 + 32 + sizes["hello_payload"] + 16
    assert sizes["accept"] == 32 + sizes["accept_payload"] + 16
    assert max(sizes.values()) <= wire.MAX_BODY


def test_fingerprint_tells_layouts_apart() -> None:
    found = {spec.name: wire.fingerprint(spec.name, spec.version, spec.fields) for spec in MESSAGES}
    assert len(set(found.values())) == len(found)
    first, *rest = BY_NAME["Status"].fields
    assert wire.fingerprint("Status", 1, (*rest, first)) != found["Status"]
    assert wire.fingerprint("Status", 2, (first, *rest)) != found["Status"]


def test_dialect_fingerprint_covers_layouts_and_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire._dialect_fingerprint() == wire.LAYOUT_FINGERPRINT
    monkeypatch.setattr(wire, "MESSAGES", MESSAGES[:-1])
    assert wire._dialect_fingerprint() != wire.LAYOUT_FINGERPRINT
    monkeypatch.undo()
    codes = dict(CODES["drug"])
    monkeypatch.setattr(wire, "CODES", {**CODES, "drug": {code + 1: member for code, member in codes.items()}})
    assert wire._dialect_fingerprint() != wire.LAYOUT_FINGERPRINT

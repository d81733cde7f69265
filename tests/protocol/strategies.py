"""Hypothesis strategies made from the wire table: any value of any field, any message, any record."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import strategies as st

from telemetry.protocol import messages
from telemetry.protocol.fields import uint_limits
from telemetry.protocol.wire import (
    BITMAPS,
    CODES,
    HANDSHAKE,
    IMAGES,
    MESSAGES,
    RECORDS,
    Field,
    FrameType,
    Kind,
    MessageSpec,
    Plane,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.frame import Frame

RECORD_FIELDS = {**RECORDS, **IMAGES, **HANDSHAKE}
FIXED = [spec for spec in MESSAGES if all(field.kind not in (Kind.BLOB, Kind.RECORDS) for field in spec.fields)]
LONGEST_LIST = 13
"""Of what is drawn; full lists of a hundred records and more are in the vectors."""
VARIABLE = [spec for spec in MESSAGES if spec not in FIXED]


def class_of(name: str) -> Callable[..., object]:
    """The dataclass of a message (``ReadStatus``) or of a record (``alarm_record``)."""
    camel = name if name[0].isupper() else "".join(part.capitalize() for part in name.split("_"))
    return cast("Callable[..., object]", getattr(messages, camel))


def value(field: Field) -> st.SearchStrategy[object]:
    """Any value that the field can hold."""
    if field.kind is Kind.UINT:
        low, high = uint_limits(field)
        integers = st.integers(low, high) | st.sampled_from([low, high])
        return integers if field.none is None else st.none() | integers
    if field.kind is Kind.BOOL:
        return st.booleans()
    if field.kind is Kind.CODE:
        return st.sampled_from(list(CODES[field.table].values()))
    if field.kind is Kind.BITMAP:
        members = list(BITMAPS[field.table].values())
        return st.sets(st.sampled_from(members)).map(lambda chosen: tuple(m for m in members if m in chosen))
    if field.kind is Kind.TEXT:
        return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=field.size)
    if field.kind is Kind.RECORDS:
        return st.lists(record(field.table), max_size=min(field.high or 0, LONGEST_LIST)).map(tuple)
    if field.kind is Kind.BLOB:
        return st.binary(max_size=field.high)
    return st.binary(min_size=field.size, max_size=field.size)


def record(name: str) -> st.SearchStrategy[object]:
    """Any record, image or handshake body of that name."""
    return st.builds(class_of(name), *(value(field) for field in RECORD_FIELDS[name]))


def message_of(spec: MessageSpec) -> st.SearchStrategy[messages.Message]:
    """Any message of one row of the table."""
    fields = {field.name: value(field) for field in spec.fields}
    if spec.plane is Plane.ANSWER:
        fields["alarm_sequence"] = st.integers(0, 0xFFFF)
    if spec.name == "Refusal":
        fields["status"] = st.sampled_from([status for status in Status if status is not Status.OK])
    return cast("st.SearchStrategy[messages.Message]", st.builds(class_of(spec.name), **fields))


def message() -> st.SearchStrategy[messages.Message]:
    """Any message."""
    return st.sampled_from(MESSAGES).flatmap(message_of)


def frame() -> st.SearchStrategy[Frame]:
    """Any frame, zeros and long runs in its body included."""
    from telemetry.protocol.frame import Frame

    bodies = st.binary(max_size=248) | st.lists(st.sampled_from([0, 1, 255]), max_size=248).map(bytes)
    return st.builds(Frame, st.sampled_from(FrameType), st.just(0), bodies)

"""Seeded messages and records made from the wire table: every kind of field at its edges and in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from telemetry.protocol.fields import uint_limits
from telemetry.protocol.wire import BITMAPS, CODES, HANDSHAKE, IMAGES, RECORDS, Field, Kind, MessageSpec, Plane, Status
from tests.protocol.strategies import class_of

if TYPE_CHECKING:
    from random import Random

    from telemetry.protocol.messages import Message

LONGEST_LIST = 4
LAYOUTS = {**RECORDS, **IMAGES, **HANDSHAKE}


def value(rng: Random, field: Field) -> object:
    """Any value of a field; edges come often."""
    if field.kind is Kind.UINT:
        low, high = uint_limits(field)
        chosen = rng.choice([low, high, rng.randint(low, high), rng.randint(low, min(high, low + 1_000_000))])
        return None if field.none is not None and rng.random() < 0.25 else chosen
    if field.kind is Kind.BOOL:
        return rng.random() < 0.5
    if field.kind is Kind.CODE:
        return rng.choice(list(CODES[field.table].values()))
    if field.kind is Kind.BITMAP:
        return tuple(member for member in BITMAPS[field.table].values() if rng.random() < 0.3)
    if field.kind is Kind.TEXT:
        return "".join(chr(rng.randint(0x20, 0x7E)) for _ in range(rng.randint(0, field.size)))
    if field.kind is Kind.RECORDS:
        count = rng.randint(0, min(field.high or 0, LONGEST_LIST))
        return tuple(record(rng, field.table) for _ in range(count))
    return rng.randbytes(rng.randint(0, field.high or 0) if field.kind is Kind.BLOB else field.size)


def record(rng: Random, name: str) -> object:
    """Any record, image or handshake body of that name."""
    return class_of(name)(*(value(rng, field) for field in LAYOUTS[name]))


def message(rng: Random, spec: MessageSpec) -> Message:
    """Any message of one row of the table."""
    fields = {field.name: value(rng, field) for field in spec.fields}
    if spec.plane is Plane.ANSWER:
        fields["alarm_sequence"] = rng.randint(0, 0xFFFF)
    if spec.name == "Refusal":
        fields["status"] = rng.choice([status for status in Status if status is not Status.OK])
    return cast("Message", class_of(spec.name)(**fields))

"""construct declarations of every header, message body and record, made from the wire table.

The only importer of construct, itself imported only when a layout of variable length is met (``codec.py``): the
declaration in the words of a parsing library, the codec of variable layouts and the reference that the fast path of
the fixed ones is tested against. What construct lets pass (trailing bytes, unknown codes, undefined bits, non-zero
padding, lists longer than allowed) is checked around it by the codec.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

import construct

from telemetry.protocol.wire import BY_NAME, HANDSHAKE, IMAGES, RECORDS, Field, Kind, Plane

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGERS = {1: construct.Int8ul, 2: construct.Int16ul, 4: construct.Int32ul, 8: construct.Int64ul}


class Layout(Protocol):
    """What is used of a construct ``Struct``: raw integers and bytes by field name, nothing converted."""

    def parse(self, data: bytes) -> Mapping[str, object]:
        """Raw values by field name."""
        ...

    def build(self, obj: Mapping[str, object]) -> bytes:
        """Bytes of raw values."""
        ...


def _construct(field: Field) -> object:
    if field.kind in (Kind.BYTES, Kind.TEXT):
        return construct.Bytes(field.size)
    if field.kind is Kind.BLOB:
        return construct.Prefixed(_INTEGERS[field.size], construct.GreedyBytes)
    if field.kind is Kind.RECORDS:
        return construct.PrefixedArray(_INTEGERS[field.size], _struct(RECORDS[field.table]))
    return _INTEGERS.get(field.size) or construct.BytesInteger(field.size, swapped=True)


def _struct(fields: tuple[Field, ...]) -> object:
    return construct.Struct(*(construct.Renamed(_construct(field), newname=field.name) for field in fields))


@cache
def body_layout(name: str) -> Layout:
    """The body of a message of the table, without its header; raises ``KeyError`` for a name not in the table."""
    return cast("Layout", _struct(BY_NAME[name].fields))


@cache
def record_layout(name: str) -> Layout:
    """A record, image or handshake body; raises ``KeyError`` for a name not in the table."""
    return cast("Layout", _struct({**RECORDS, **IMAGES, **HANDSHAKE}[name]))


@cache
def header_layout(plane: Plane) -> Layout:
    """The header of a message on one plane (``wire.REQUEST_HEADER``, ``wire.ANSWER_HEADER``)."""
    answer = (("status", 1), ("alarm_sequence", 2)) if plane is Plane.ANSWER else ()
    sizes = (("opcode", 1), ("version", 1), *answer, ("length", 2))
    return cast("Layout", _struct(tuple(Field(name, Kind.UINT, size) for name, size in sizes)))

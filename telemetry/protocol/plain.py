"""Messages as plain values for JSON, and back: names for codes, hexadecimal for bytes, ``name`` for the layout.

What captures hold beside the bytes, and what reports and screens show. ``restore(describe(message)) == message``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, cast

from telemetry.errors import UsageError
from telemetry.protocol import messages
from telemetry.protocol.codec import encode
from telemetry.protocol.records import encode_record
from telemetry.protocol.wire import BITMAPS, BY_NAME, CODES, HANDSHAKE, IMAGES, RECORDS, Kind, Plane, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.messages import Message
    from telemetry.protocol.records import RecordName
    from telemetry.protocol.wire import Field

_SHOWN_CHARACTERS = 60


def describe(message: object) -> dict[str, object]:
    """A message or record as plain values for JSON: names for codes, hexadecimal for bytes."""
    return {"name": type(message).__name__} | {
        field.name: _plain(getattr(message, field.name))
        for field in fields(message)  # type: ignore[arg-type] # every message and record is a dataclass
    }


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) if not hasattr(item, "__dataclass_fields__") else describe(item) for item in value]
    return value


def restore(plain: Mapping[str, object]) -> Message:
    """The message that ``describe`` made ``plain`` of.

    Raises ``UsageError`` naming message, field and value for anything else; never anything but that.
    """
    message = cast("Message", _restore(plain, _message_fields))
    encode(message)  # the codec is the one that knows what fits a field
    return message


def restore_record(name: RecordName, plain: Mapping[str, object]) -> object:
    """The record, image or handshake body ``name`` of the wire table; errors as of ``restore``."""
    found = _restore(plain, _record_fields)
    encode_record(name, found)
    return found


def _restore(plain: object, fields_of: Callable[[str], tuple[Field, ...] | None]) -> object:
    if not isinstance(plain, Mapping):
        raise UsageError(f"message: {_short(plain)} is no object with a name")
    name = plain.get("name")
    layout = fields_of(name) if isinstance(name, str) else None
    if layout is None:
        raise UsageError(f"message: {_short(name)} is no name of ITP/1")
    name = cast("str", name)
    by_name = {field.name: field for field in layout}
    known = by_name.keys() | _in_header(name)
    missing, extra = known - plain.keys(), plain.keys() - known - {"name"}
    if missing or extra:
        parts = [f"{one} is missing" for one in sorted(missing)]
        parts += [f"{_short(one)} is unknown" for one in sorted(extra, key=str)]
        raise UsageError(f"{name}: {', '.join(parts)}")
    values = {one: _value(name, one, by_name.get(one), plain[one]) for one in known}
    return getattr(messages, name)(**values)


def _in_header(name: str) -> frozenset[str]:
    """What the dataclass of an answer takes from its header."""
    spec = BY_NAME.get(name)
    if spec is None or spec.plane is not Plane.ANSWER:
        return frozenset()
    return frozenset({"alarm_sequence", "status"} if name == "Refusal" else {"alarm_sequence"})


def _value(name: str, attribute: str, field: Field | None, value: object) -> object:
    where = f"{name}.{attribute}"
    if field is None:
        return _member(where, tuple(Status), value) if attribute == "status" else value
    match field.kind:
        case Kind.BYTES | Kind.BLOB:
            return _bytes(where, value)
        case Kind.CODE:
            return _member(where, tuple(CODES[field.table].values()), value)
        case Kind.BITMAP:
            return tuple(_member(where, tuple(BITMAPS[field.table].values()), one) for one in _list(where, value))
        case Kind.RECORDS:
            return tuple(_restore(one, _record_fields) for one in _list(where, value))
        case _:
            return value


def _bytes(where: str, value: object) -> bytes:
    try:
        return bytes.fromhex(cast("str", value))
    except (TypeError, ValueError):
        raise UsageError(f"{where}: {_short(value)} is no hexadecimal text") from None


def _member(where: str, members: tuple[Enum | None, ...], value: object) -> Enum | None:
    for member in members:
        plain = None if member is None else member.value
        if type(plain) is type(value) and plain == value:
            return member
    raise UsageError(f"{where}: {_short(value)} is no name of its table")


def _list(where: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: {_short(value)} is no list")
    return value


def _message_fields(name: str) -> tuple[Field, ...] | None:
    spec = BY_NAME.get(name)
    return None if spec is None else spec.fields


@cache
def _record_fields(name: str) -> tuple[Field, ...] | None:
    for group in (RECORDS, IMAGES, HANDSHAKE):
        for layout, found in group.items():
            if "".join(part.capitalize() for part in layout.split("_")) == name:
                return found
    return None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

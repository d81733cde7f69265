"""One field, both ways: what lies on the wire to what Python holds, and back.

Everything that neither ``struct`` nor construct checks is checked here: ranges narrower than the width, unknown
codes, undefined bits, booleans that are neither of the two, text that is not text. A reader or writer exists only
where there is something to convert or check, so that a field that needs neither costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.protocol.wire import BITMAPS, BOOL_FALSE, BOOL_TRUE, CODES, Kind

if TYPE_CHECKING:
    from enum import Enum

    from telemetry.protocol.wire import Field

Reader = Callable[..., object]
Writer = Callable[..., object]

_STRUCT_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class PayloadFault(StrEnum):
    """What can be wrong with a payload; stands before the colon of ``BadPayload.reason`` (docs/protocol.md, Errors)."""

    EMPTY = "empty"
    UNKNOWN_OPCODE = "unknown_opcode"
    WRONG_PLANE = "wrong_plane"
    VERSION = "version"
    LENGTH = "length"
    STATUS = "status"
    TRUNCATED = "truncated"
    TRAILING = "trailing"
    UNKNOWN_CODE = "unknown_code"
    UNKNOWN_BITS = "unknown_bits"
    OUT_OF_RANGE = "out_of_range"
    NOT_BOOLEAN = "not_boolean"
    NOT_TEXT = "not_text"
    TOO_MANY = "too_many"
    PADDING = "padding"


class FieldError(Exception):
    """A value that its field does not allow; the codec turns it into ``BadPayload`` or ``UsageError``.

    ``path`` and ``offset`` say where; each layer that it passes adds its own.
    """

    def __init__(self, fault: PayloadFault, detail: str, *, path: str = "", offset: int = 0) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.path = path
        self.offset = offset

    def within(self, path: str, offset: int = 0) -> FieldError:
        """The same error seen from one layer further out."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return FieldError(self.fault, self.detail, path=path + joint + self.path, offset=offset + self.offset)


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one field passes between wire and Python; ``types`` are the exact types of the Python value."""

    types: tuple[type, ...]
    read: Reader | None
    write: Writer | None


def struct_format(field: Field) -> str | None:
    """The ``struct`` code of a field of fixed size, None for one of variable size."""
    if field.kind in (Kind.BLOB, Kind.RECORDS):
        return None
    if field.kind in (Kind.BYTES, Kind.TEXT):
        return f"{field.size}s"
    # struct knows no integer of three bytes; such a field is read as bytes and converted.
    return _STRUCT_CODES.get(field.size, f"{field.size}s")


def uint_limits(field: Field) -> tuple[int, int]:
    """Lowest and highest integer that a UINT field takes from Python; the stand-in for ``None`` is not one of them."""
    ones = (1 << 8 * field.size) - 1
    high = ones if field.high is None else min(field.high, ones)
    return field.low, high - 1 if field.none == high else high


def _outside(value: int, low: int, high: int, unit: str) -> FieldError:
    tail = f" {unit}" if unit else ""
    return FieldError(PayloadFault.OUT_OF_RANGE, f"{value} is outside {low} to {high}{tail}")


def _uint(field: Field, *, checked: bool) -> Conversion:
    low, high = uint_limits(field)
    ones = (1 << 8 * field.size) - 1
    none, size, unit, bias = field.none, field.size, field.unit, field.bias

    def check(value: int) -> int:
        if not low <= value <= high:
            raise _outside(value, low, high, unit)
        return value

    if size not in _STRUCT_CODES:
        return Conversion(
            (int,),
            lambda raw: check(int.from_bytes(raw, "little")),
            lambda value: check(value).to_bytes(size, "little"),
        )
    if bias:
        return Conversion((int,), lambda raw: check(raw - bias), lambda value: check(value) + bias)
    if none is not None:
        return Conversion(
            (int, type(None)),
            lambda raw: None if raw == none else raw,
            lambda value: none if value is None else check(value),
        )
    narrow = low > 0 or high < ones
    return Conversion((int,), check if narrow else None, check if narrow or checked else None)


def _bool(_field: Field) -> Conversion:
    meaning = {BOOL_FALSE: False, BOOL_TRUE: True}

    def read(raw: int) -> bool:
        if raw not in meaning:
            raise FieldError(
                PayloadFault.NOT_BOOLEAN,
                f"0x{raw:02x} is neither 0x{BOOL_FALSE:02x} (false) nor 0x{BOOL_TRUE:02x} (true)",
            )
        return meaning[raw]

    return Conversion((bool,), read, lambda value: BOOL_TRUE if value else BOOL_FALSE)


def _code(field: Field) -> Conversion:
    members = dict(CODES[field.table])
    codes = {member: code for code, member in members.items()}
    table = field.table

    def read(raw: int) -> Enum | None:
        if raw not in members:
            raise FieldError(PayloadFault.UNKNOWN_CODE, f"0x{raw:0{2 * field.size}x} is no code of the table {table!r}")
        return members[raw]

    def write(value: Enum) -> int:
        if value not in codes:  # a table may be shorter than its enumeration once a code is withdrawn
            raise FieldError(PayloadFault.UNKNOWN_CODE, f"{value!r} is not in the table {table!r}")
        return codes[value]

    return Conversion(tuple({type(member): None for member in codes}), read, write)


def _bitmap(field: Field) -> Conversion:
    bits = dict(BITMAPS[field.table])
    defined = sum(bits)
    of_member = {member: bit for bit, member in bits.items()}
    kind = type(next(iter(of_member)))

    def read(raw: int) -> tuple[Enum, ...]:
        if raw & ~defined:
            raise FieldError(
                PayloadFault.UNKNOWN_BITS, f"0x{raw & ~defined:08x} are no bits of the bitmap {field.table!r}"
            )
        return tuple(member for bit, member in bits.items() if raw & bit) if raw else ()

    def write(value: tuple[Enum, ...]) -> int:
        raw = 0
        for member in value:
            bit = of_member[member] if type(member) is kind else 0
            if bit <= raw:  # equal or below what is already there: a stranger, a repetition or out of order
                raise FieldError(
                    PayloadFault.UNKNOWN_BITS,
                    f"{value!r} is no tuple of {kind.__name__} in this order: {', '.join(map(str, of_member))}",
                )
            raw |= bit
        return raw

    return Conversion((tuple,), read, write)


def _bytes(field: Field) -> Conversion:
    size = field.size

    def write(value: bytes) -> bytes:
        if len(value) != size:
            raise FieldError(PayloadFault.LENGTH, f"{len(value)} bytes, not {size}")
        return value

    return Conversion((bytes,), None, write)


def _text(field: Field) -> Conversion:
    size = field.size

    def read(raw: bytes) -> str:
        text, _, rest = raw.partition(b"\0")
        if rest.strip(b"\0"):
            raise FieldError(PayloadFault.PADDING, "there are bytes other than zero after the end of the text")
        if not (text.isascii() and text.decode("ascii").isprintable()):
            raise FieldError(PayloadFault.NOT_TEXT, "the text holds a byte outside 0x20 to 0x7e")
        return text.decode("ascii")

    def write(value: str) -> bytes:
        if not (value.isascii() and value.isprintable() and len(value) <= size):
            raise FieldError(
                PayloadFault.NOT_TEXT, f"{value!r} is no printable ASCII text of at most {size} characters"
            )
        return value.encode("ascii").ljust(size, b"\0")

    return Conversion((str,), read, write)


def _blob(field: Field) -> Conversion:
    high = field.high

    def write(value: bytes) -> bytes:
        if high is not None and len(value) > high:
            raise FieldError(PayloadFault.TOO_MANY, f"{len(value)} bytes, at most {high} fit")
        return value

    return Conversion((bytes,), None, write)


def conversion(field: Field, *, checked: bool = False) -> Conversion:
    """The conversion of any field but one of kind RECORDS, whose records the codec converts field by field.

    With ``checked`` every integer is held to its width in Python; without, that is left to ``struct``.
    """
    if field.kind is Kind.UINT:
        return _uint(field, checked=checked)
    return _BY_KIND[field.kind](field)


_BY_KIND: dict[Kind, Callable[[Field], Conversion]] = {
    Kind.BOOL: _bool,
    Kind.CODE: _code,
    Kind.BITMAP: _bitmap,
    Kind.BYTES: _bytes,
    Kind.TEXT: _text,
    Kind.BLOB: _blob,
}

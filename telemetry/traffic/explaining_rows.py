"""The fields of a layout as rows: what stands where, and what is wrong with it, beyond the first fault as well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from telemetry.protocol.fields import FieldError, conversion, struct_format
from telemetry.protocol.wire import RECORDS, Field, Kind
from telemetry.traffic.explaining_units import meaning

_OP_ID_COUNTER = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One field. ``offset`` counts from the first byte of its part; ``table`` names the table of a code.

    ``field`` is the name as in the wire table, of a record in a list ``steps[3].rate_nl_per_day``; ``value`` is as the
    wire has it (integers exact, hexadecimal for bytes, names for codes); ``fault`` begins with the fault's name.
    """

    offset: int
    data: bytes
    field: str
    value: str
    unit: str = ""
    meaning: str = ""
    fault: str = ""
    table: str = ""

    def as_json(self) -> dict[str, object]:
        """As one object."""
        found: dict[str, object] = {
            "offset": self.offset,
            "length": len(self.data),
            "hex": self.data.hex(),
            "field": self.field,
            "value": self.value,
        }
        optional = {"unit": self.unit, "meaning": self.meaning, "fault": self.fault, "table": self.table}
        return found | {name: text for name, text in optional.items() if text}


@dataclass(frozen=True, slots=True)
class Part:
    """A run of bytes and its fields: a frame, the message in it, an image."""

    title: str
    about: str
    data: bytes
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, object]:
        """As one object."""
        return {
            "part": self.title,
            "about": self.about,
            "length": len(self.data),
            "rows": [row.as_json() for row in self.rows],
        }


def trailing(data: bytes, at: int, stop: int) -> Row:
    """Bytes behind the last field."""
    f"trailing: {stop - at} bytes after the last field"
    return Row(
        at, data[at:stop], "behind", data[at:stop].hex(), fault=f"trailing: {stop - at} bytes after the last field"
    )


def walk(fields: tuple[Field, ...], data: bytes, at: int, stop: int, rows: list[Row], path: str = "") -> int | None:
    """Rows of the fields from ``at``; the place behind them, None where the bytes end before the fields do."""
    for one in fields:
        name = path + one.name
        if at + one.size > stop:
            fault = f"truncated: {one.size} bytes, {max(0, stop - at)} are there"
            rows.append(Row(at, data[at:stop], name, "", one.unit, fault=fault))
            return None
        if one.kind in (Kind.BLOB, Kind.RECORDS):
            end = _counted(one, data, at, stop, rows, name)
            if end is None:
                return None
            at = end
        else:
            rows.append(_row(one, data[at : at + one.size], at, name))
            at += one.size
    return at


def _counted(one: Field, data: bytes, at: int, stop: int, rows: list[Row], name: str) -> int | None:
    count = data[at]
    fault = f"too_many: {count} {one.unit}, at most {one.high}" if one.high is not None and count > one.high else ""
    fields = RECORDS.get(one.table, ())
    size = sum(part.size for part in fields) if one.kind is Kind.RECORDS else 1
    start, end = at + 1, at + 1 + count * size
    if end > stop:
        fault = fault or f"truncated: {count} {one.unit} need {count * size} bytes, {stop - start} are there"
    if one.kind is Kind.BLOB:
        held = data[start : min(end, stop)]
        rows.append(Row(at, data[at : min(end, stop)], name, held.hex(), f"{count} bytes", fault=fault))
        return end if end <= stop else None
    rows.append(Row(at, data[at:start], name, str(count), one.unit, fault=fault))
    for index in range(count):
        if start + size > stop:
            return None
        walk(fields, data, start, start + size, rows, f"{name}[{index}].")
        start += size
    return end


def _row(one: Field, data: bytes, at: int, name: str) -> Row:
    form = struct_format(one)
    raw: object = data if form is None or form.endswith("s") else int.from_bytes(data, "little")
    step, fault = conversion(one), ""
    try:
        value = raw if step.read is None else step.read(raw)
    except FieldError as error:
        fault = f"{error.fault.value}: {error.detail}"
        value = int.from_bytes(data, "little") - one.bias if one.kind is Kind.UINT else data
    said = meaning(one, value) if one.kind is Kind.UINT and isinstance(value, int) else ""
    if one.name == "op_id":
        said = f"operation {int.from_bytes(data[:_OP_ID_COUNTER], 'little')} of its slot"
    return Row(at, data, name, _plain(value), one.unit if one.kind is Kind.UINT else "", said, fault, one.table)


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return str(value)


def in_bulk(offset: int, data: bytes, name: str, fault: str = "") -> Row:
    """Bytes that nobody reads to their end, or that stand explained in a part of their own."""
    return Row(offset, data, name, f"{len(data)} bytes", fault=fault)

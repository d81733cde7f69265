"""What was decoded, for people: a line each, or each byte explained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from rich.text import Text

from telemetry.cli import words
from telemetry.cli.output import table
from telemetry.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from enum import StrEnum

    from rich.console import RenderableType

    from telemetry.cli.decoding import Item
    from telemetry.traffic.explaining import Explanation
    from telemetry.traffic.explaining_rows import Part, Row

_WIDE = 110
"""Columns of a terminal from which on sixteen bytes stand in a line, else eight."""
_LONG_BYTES = 8
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it or turns text round: all but the line feed."""
_RECORD = re.compile(r"(?P<record>\w+\[\d+\])\.(?P<field>\w+)")
_UNIT_SUFFIX = re.compile(r"_(nl_per_day|ng_per_day|ng_per_ml|nl|ng|ppm|s|minutes)$")
_HEADER = frozenset({"opcode", "version", "status", "alarm_sequence", "length", "padding"})
_BULK = frozenset({"body", "ciphertext", "segment"})
_SIGNS = frozenset(
    {"nl", "nl/day", "ng", "ng/day", "ng/ml", "ppm", "s", "ms", "min", "bit/s", "bitmap", "minutes", "days"}
)
_VERDICTS = {
    Verdict.APPLIED: "it was done",
    Verdict.REFUSED: "it was not done, and never will be",
    Verdict.NEVER: "it was not done, and never will be",
    Verdict.FORGOTTEN: "the pump cannot tell any more",
}
_TOLD: dict[str, Mapping[StrEnum, str]] = {
    "mode": cast("Mapping[StrEnum, str]", words.MODES),
    "activity": cast("Mapping[StrEnum, str]", words.ACTIVITIES),
    "alarm": cast("Mapping[StrEnum, str]", words.ALARMS),
    "alarm_signal": cast("Mapping[StrEnum, str]", words.SIGNALS),
    "drive": cast("Mapping[StrEnum, str]", words.DRIVES),
    "log_code": cast("Mapping[StrEnum, str]", words.LOG),
    "warnings": cast("Mapping[StrEnum, str]", words.WARNINGS),
    "verdict": cast("Mapping[StrEnum, str]", _VERDICTS),
}
_WORDS = {name: {member.value: text for member, text in told.items()} for name, told in _TOLD.items()}
"""What codes mean to people, by table."""


def listing(item: Item) -> tuple[Text, Text]:
    """What it is, and its fields: those of records and orders on lines of their own."""
    style = {"garbage": "bold red", "frame": "cyan", "message": "cyan"}.get(item.kind, "dim")
    what = Text({"garbage": f"garbage: {item.name}", "note": "note"}.get(item.kind, item.name), style=style)
    if item.kind == "note" and item.name != "note":
        return what, Text(_harmless(item.name))
    explanation = item.explain() if item.explain is not None and item.kind in {"frame", "message"} else None
    if explanation is None or "unreadable" in item.fields or "shut" in item.fields:
        return what, Text(_harmless("  ".join(f"{name}={_short(value)}" for name, value in item.fields.items())))
    text = Text()
    if item.message:
        text.append(item.message, style="bold green" if item.sealed else "bold")
        text.append(f" #{item.fields['counter']} " if item.sealed else " ", style="dim")
    if item.fields.get("opened_by") == "recorded":
        text.append("(as recorded) ", style="yellow")
    if "recorded_otherwise" in item.fields:
        text.append("(recorded otherwise!) ", style="bold red")
    for number, part in enumerate(_inner(explanation)):
        if number:
            text.append(f"\n{part.title}: ", style="bold")
        text.append("; ".join(_told(part)))
        for name, rows in _records(part.rows):
            text.append(f"\n  {name}: ", style="dim")
            text.append("; ".join(_pair(row) for row in rows))
    return what, text


def _inner(explanation: Explanation) -> list[Part]:
    """The parts that hold fields of messages, records and images: not the frame around them."""
    return [part for part in explanation.parts if not part.title.startswith(("frame", "sealed"))]


def _told(part: Part) -> list[str]:
    header = _HEADER if part.title.startswith("message") else frozenset()
    shown = [row for row in part.rows if row.field not in header and "[" not in row.field]
    return [_pair(row) for row in shown if not (row.unit == "records" and row.value == "0")]


def _pair(row: Row) -> str:
    name = row.field.rpartition(".")[2]
    if row.unit and (row.meaning or row.value == "none"):
        return f"{_UNIT_SUFFIX.sub('', name)} {row.meaning or row.value}"
    if _is_blob(row):
        return f"{name} {row.unit}"
    value = row.value if len(row.data) <= _LONG_BYTES or row.value != row.data.hex() else f"{row.value[:16]}…"
    return f"{name} {value}"


def _is_blob(row: Row) -> bool:
    """Whether it is bytes behind their length, whose bytes are shown as such."""
    return row.unit.endswith(" bytes") and row.data[1:].hex() == row.value


def _records(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The records of lists, each with its rows."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        match = _RECORD.fullmatch(row.field)
        if match is not None:
            found.setdefault(match["record"], []).append(row)
    yield from found.items()


def _harmless(text: str) -> str:
    """Text that somebody else wrote, with what a terminal would obey spelled out."""
    return _CONTROL.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 0x100 else f"\\u{ord(found[0]):04x}", text
    )


def _short(value: object) -> str:
    return "none" if value is None else str(value)


def pages(item: Item, width: int) -> Iterator[RenderableType]:
    """Each byte: where, which, whose field, its value; and the verdict. What has no bytes is a line."""
    if item.explain is None:
        yield Text(
            _harmless(f"{item.kind}: {item.name} " + "  ".join(f"{k}={_short(v)}" for k, v in item.fields.items()))
        )
        return
    explanation = item.explain()
    if item.at_ms is not None:
        yield Text(f"{item.at_ms} ms, link {item.link}, {item.direction}: {explanation.name}", style="bold")
    # Sixteen bytes a line need the room of a wide terminal.
    a_line = 16 if width >= _WIDE else 8
    for part in explanation.parts:
        yield _page(part, a_line)
    if explanation.whole:
        yield Text.assemble(("✓ ", "bold green"), explanation.verdict)
    else:
        yield Text.assemble(("✗ ", "bold red"), (explanation.verdict, "bold"))
    for advice in explanation.advice:
        yield Text.assemble(("  → ", "yellow"), advice)


def _page(part: Part, a_line: int) -> RenderableType:
    title = f"{part.title}, {len(part.data)} bytes" + (f": {part.about}" if part.about else "")
    shown = table("", "at", "bytes", "field", "value")
    # The title stands above as text of its own: in the table it would be markup, and could widen it.
    shown.title = Text(title, style="bold cyan")
    shown.columns[1].no_wrap = True
    told: set[str] = set()
    records = dict(_records(part.rows))
    for row in part.rows:
        match = _RECORD.fullmatch(row.field)
        if match is None:
            told_elsewhere = row.field in _BULK and len(row.data) > a_line
            data = f"{_hex(row.data[:a_line], a_line)} …" if told_elsewhere else _hex(row.data, a_line)
            shown.add_row(str(row.offset), data, row.field, _value(row))
        elif match["record"] not in told:
            told.add(match["record"])
            rows = records[match["record"]]
            whole = b"".join(one.data for one in rows)
            shown.add_row(str(row.offset), _hex(whole, a_line), match["record"], _lines(rows))
    return shown


def _hex(data: bytes, a_line: int) -> str:
    return "\n".join(data[at : at + a_line].hex(" ", -4) for at in range(0, len(data), a_line))


def _lines(rows: list[Row]) -> Text:
    return Text("\n").join(Text.assemble((f"{row.field.rpartition('.')[2]} ", "dim"), _value(row)) for row in rows)


def _value(row: Row) -> Text:
    text = Text()
    if _is_blob(row):
        text.append(row.unit, style="dim")
    elif row.value != row.data.hex() or len(row.data) < 2:  # else the bytes stand beside it already
        text.append(row.value)
        unit = _unit(row.unit)
        if unit and row.value != "none":
            text.append(f" {unit}", style="dim")
    elif not row.meaning:
        text.append(f"{len(row.data)} bytes", style="dim")
    said = row.meaning or _WORDS.get(row.table, {}).get(row.value, "")
    if said.startswith(f"{row.value}: "):
        said = said.removeprefix(f"{row.value}: ")
    if said and said.replace(" ", "_") != row.value:
        between = "" if not text else " = " if row.unit else ": " if row.meaning else " – "
        text.append(f"{between}{said}", style="green")
    if row.fault:
        text.append(f"\n✗ {row.fault}", style="bold red")
    return text


def _unit(unit: str) -> str:
    """The sign of a unit without what is said of it besides: ``s`` of ``s of pump time; all ones: none``."""
    first = unit.partition(" ")[0].rstrip(",;")
    return first if first in _SIGNS else unit

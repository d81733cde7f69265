"""The specification page states what the tables state."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import pytest

from telemetry.protocol.fields import PayloadFault
from telemetry.protocol.frame import FrameFault
from telemetry.protocol.wire import (
    BITMAPS,
    CODES,
    HANDSHAKE,
    IMAGES,
    LAYOUT_FINGERPRINT,
    MESSAGES,
    RECORDS,
)
from tests.reference import decoder
from tools import docs

if TYPE_CHECKING:
    from enum import Enum
    from pathlib import Path

TEXT = docs.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    assert docs.render(TEXT) == TEXT, "run: make docs"


def test_every_message_record_code_and_fault_is_on_the_page() -> None:
    headings = set(re.findall(r"^#### (?:0x[0-9a-f]{2} )?(\w+)$", TEXT, re.MULTILINE))
    assert headings == {
        *(spec.name for spec in MESSAGES),
        *RECORDS,
        *IMAGES,
        *HANDSHAKE,
        *(name for name in CODES if name != "reason"),
        *BITMAPS,
    }
    for fault in (*PayloadFault, *FrameFault):
        assert f"| `{fault.value}` |" in TEXT


KINDS = {"uint": "u", "bytes": "b", "text": "t"}


def notation(kind: str, size: str, meaning: str) -> str:
    """A row of the page in the notation of the reference decoder."""
    if kind.startswith("code "):
        return ("@@" if size == "2" else "@") + kind[5:]
    if kind.startswith("bitmap "):
        return "#" + kind[7:]
    if kind.startswith("list of "):
        return "*" + kind[8:]
    if kind.startswith("int"):
        return f"s{size}+{kind.partition(' + ')[2]}"
    if kind.startswith("uint"):
        return ("i" if "all ones: none" in meaning else "u") + size
    fixed = {"bool": "?", "blob": "blob"}
    return fixed.get(kind) or KINDS[kind.split("[", maxsplit=1)[0]] + size


def layouts_of_the_page() -> dict[str, str]:
    found = {}
    for heading, part in re.findall(
        r"^#### (?:0x[0-9a-f]{2} )?(\w+)\n(.*?)(?=^#|^<!--)", TEXT, re.MULTILINE | re.DOTALL
    ):
        rows = re.findall(r"^\| (\d*) \| ([^|]+) \| `(\w+)` \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", part, re.MULTILINE)
        if "bytes." in part or "No fields." in part or rows:
            found[heading] = " ".join(f"{name}:{notation(kind, size, unit)}" for _, size, name, kind, _, unit in rows)
    return found


def test_the_reference_decoder_is_what_the_page_says() -> None:
    dialect = decoder.Dialect()
    written = {name: layout for name, layout, _ in dialect.messages.values()} | dialect.records
    assert layouts_of_the_page() == written


def test_the_dialect_fingerprint_can_be_computed_from_the_page() -> None:
    """By chapter 15, with the rows of the page's tables and no help from the wire module's own description."""

    def field(entry: tuple[str, str, int, int, int | None, str, int | None, int | None]) -> str:
        return ":".join("" if part is None else str(part) for part in entry)

    def layout(name: str, version: int, fields: tuple[object, ...]) -> str:
        return ";".join(
            [f"{name}/{version}"]
            + [
                field((f.name, f.kind.value, f.size, f.low, f.high, f.table, f.none, f.bias or None))  # type: ignore[attr-defined]
                for f in fields
            ]
        )

    lines = [layout(f"{spec.opcode:02x} {spec.name}", spec.version, spec.fields) for spec in MESSAGES]
    for group in (RECORDS, IMAGES, HANDSHAKE):
        lines += [layout(name, 1, group[name]) for name in sorted(group)]
    tables: list[dict[str, dict[int, Enum | None]]] = [
        {name: dict(codes) for name, codes in CODES.items()},
        {name: dict(bits) for name, bits in BITMAPS.items()},
    ]
    for group_of_tables in tables:
        for name, codes in sorted(group_of_tables.items()):
            texts = [f"{code:x}:{'None' if member is None else member.value}" for code, member in codes.items()]
            lines.append(f"{name}={','.join(texts)}")
    computed = zlib.crc32("\n".join(lines).encode())
    assert computed == LAYOUT_FINGERPRINT
    assert f"| dialect fingerprint | `0x{computed:08x}` |" in TEXT


def test_a_page_without_one_of_its_parts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the page has the parts .* it should have each of"):
        docs.render(TEXT.replace("<!-- generated: roles -->", ""))


def test_the_check_notices_a_changed_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "protocol.md"
    page.write_text(TEXT.replace("| 0 | PROBE |", "| 0 | PROBED |"), encoding="utf-8")
    monkeypatch.setattr(docs, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    assert docs.main() == 1
    assert "protocol.md differs from the wire table; run: make docs" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["docs"])
    assert docs.main() == 0
    assert page.read_text(encoding="utf-8") == TEXT
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    assert docs.main() == 0

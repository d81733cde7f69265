"""Rewrite the tables of docs/protocol.md from the wire table and the role table.

    python -m tools.docs            rewrite what stands between the markers
    python -m tools.docs --check    exit 1 when the page differs from what would be written

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``; everything else is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.model import RefusalReason, Role
from telemetry.protocol.frame import MAX_SEGMENT
from telemetry.protocol.roles import OPERATIONS
from telemetry.protocol.wire import (
    BITMAPS,
    CODES,
    HANDSHAKE,
    IMAGES,
    LAYOUT_FINGERPRINT,
    MAX_BODY,
    MAX_COUNTER,
    MAX_FRAME,
    MAX_PLAINTEXT,
    MESSAGES,
    PADDING_BLOCK,
    PROTOCOL_MAJOR,
    REASON_STATUS,
    RECORDS,
    SUITE_NOISE_KKPSK0,
    Field,
    FrameType,
    Kind,
    MessageSpec,
    Plane,
    fingerprint,
    longest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parents[1] / "docs" / "protocol.md"
MARKER = re.compile(r"<!-- generated: (?P<name>[a-z-]+) -->\n.*?<!-- end: (?P=name) -->", re.DOTALL)
LARGE = 1 << 16


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _notation(field: Field) -> str:
    size = field.size
    return {
        Kind.UINT: f"int{8 * size} + {field.bias}" if field.bias else f"uint{8 * size}",
        Kind.BOOL: "bool",
        Kind.CODE: f"code {field.table}",
        Kind.BITMAP: f"bitmap {field.table}",
        Kind.BYTES: f"bytes[{size}]",
        Kind.TEXT: f"text[{size}]",
        Kind.BLOB: "blob",
        Kind.RECORDS: f"list of {field.table}",
    }[field.kind]


def _size(field: Field) -> str:
    if field.kind is Kind.BLOB:
        return f"1 + 0…{field.high}"
    if field.kind is Kind.RECORDS:
        return f"1 + {record_size(field.table)} × 0…{field.high}"
    return str(field.size)


def record_size(name: str) -> int:
    """Bytes of one record."""
    return sum(field.size for field in RECORDS[name])


def _range(field: Field) -> str:
    if field.kind is not Kind.UINT or field.high is None or field.none is not None:
        return ""
    ones = (1 << 8 * field.size) - 1
    if (field.low, field.high) == (0, ones):
        return ""
    return str(field.low) if field.low == field.high else f"{field.low}…{field.high}"


def layout_table(fields: tuple[Field, ...]) -> str:
    """The fields of one layout with offsets from the first byte of the body."""
    rows, at = [], 0
    fixed = True
    for field in fields:
        rows.append(
            [str(at) if fixed else "", _size(field), f"`{field.name}`", _notation(field), _range(field), field.unit]
        )
        fixed = fixed and field.kind not in (Kind.BLOB, Kind.RECORDS)
        at += field.size
    return table(("at", "bytes", "field", "type", "range", "unit or meaning"), rows)


def _body_size(fields: tuple[Field, ...]) -> str:
    least, most = sum(field.size for field in fields), longest(fields)
    return str(least) if least == most else f"{least}…{most}"


def _yes(flag: bool) -> str:  # noqa: FBT001 - a cell
    return "yes" if flag else "–"


def _overview(specs: list[MessageSpec]) -> str:
    return table(
        ("opcode", "message", "body", "operation (role table)", "answered by", "changes therapy", "repeatable"),
        (
            [
                f"0x{spec.opcode:02x}",
                f"`{spec.name}`",
                _body_size(spec.fields),
                f"`{spec.operation}`" if spec.operation else "–",
                ", ".join(f"`{name}`" for name in spec.replies) or "–",
                _yes(spec.changes_therapy),
                _yes(spec.idempotent),
            ]
            for spec in specs
        ),
    )  # fmt: skip


def _messages(plane: Plane) -> str:
    parts = []
    for spec in (spec for spec in MESSAGES if spec.plane is plane):
        print_ = fingerprint(spec.name, spec.version, spec.fields)
        parts.append(
            f"#### 0x{spec.opcode:02x} {spec.name}\n\n{spec.about}\n\n"
            f"Message version {spec.version}, since protocol version {spec.since}; body of {_body_size(spec.fields)} "
            f"bytes; layout fingerprint `{print_:08x}`."
        )
        parts.append(layout_table(spec.fields) if spec.fields else "No fields.")
    return "\n\n".join(parts)


def _layouts(group: dict[str, tuple[Field, ...]]) -> str:
    return "\n\n".join(
        f"#### {name}\n\n{_body_size(fields)} bytes.\n\n{layout_table(fields)}" for name, fields in group.items()
    )


def _codes() -> str:
    parts = []
    for name, codes in CODES.items():
        if name == "reason":
            continue
        width = 4 if name in ("drug", "log_code") else 2
        rows = ([f"0x{code:0{width}x}", f"`{member.value}`"] for code, member in codes.items() if member is not None)
        parts.append(f"#### {name}\n\n{table(('code', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _reasons() -> str:
    rows = [["0x0000", "none", "–"]]
    rows += [
        [f"0x{code:04x}", f"`{member.value}`", f"`{REASON_STATUS[member].value}`"]
        for code, member in CODES["reason"].items()
        if isinstance(member, RefusalReason)
    ]
    return table(("code", "reason", "status of its Refusal"), rows)


def _bitmaps() -> str:
    parts = []
    for name, bits in BITMAPS.items():
        rows = ([str(bit.bit_length() - 1), f"0x{bit:08x}", f"`{member.value}`"] for bit, member in bits.items())
        parts.append(f"#### {name}\n\n{table(('bit', 'value', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _roles() -> str:
    return table(
        ("operation", *(role.value for role in Role), "by commit flow", "what"),
        (
            [f"`{row.name}`", *(_yes(role in row.roles) for role in Role), _yes(row.commit), row.about]
            for row in OPERATIONS.values()
        ),
    )


def _numbers() -> str:
    return table(
        ("number", "value"),
        (
            ["protocol major version", str(PROTOCOL_MAJOR)],
            ["cipher suite", f"{SUITE_NOISE_KKPSK0} (`Noise_KKpsk0_25519_ChaChaPoly_SHA256`)"],
            ["longest frame body", f"{MAX_BODY} bytes"],
            ["longest frame", f"{MAX_FRAME} bytes"],
            ["longest COBS form of a frame", f"{MAX_SEGMENT} bytes"],
            ["longest padded plaintext", f"{MAX_PLAINTEXT} bytes"],
            ["padding block", f"{PADDING_BLOCK} bytes"],
            ["last request counter of a session", str(MAX_COUNTER)],
            ["dialect fingerprint", f"`0x{LAYOUT_FINGERPRINT:08x}`"],
        ),
    )


def sections() -> dict[str, str]:
    """Name to text of every generated part."""
    return {
        "numbers": _numbers(),
        "frame-types": table(("type", "name"), ([str(int(kind)), kind.name] for kind in FrameType)),
        "overview-requests": _overview([spec for spec in MESSAGES if spec.plane is Plane.REQUEST]),
        "requests": _messages(Plane.REQUEST),
        "answers": _messages(Plane.ANSWER),
        "telemeter": _messages(Plane.TELEMETER),
        "records": _layouts(dict(RECORDS)),
        "images": _layouts(dict(IMAGES)),
        "handshake": _layouts(dict(HANDSHAKE)),
        "codes": _codes(),
        "reasons": _reasons(),
        "bitmaps": _bitmaps(),
        "roles": _roles(),
    }


def render(page: str) -> str:
    """The page with its generated parts anew; raises ``ValueError`` for a part that is missing, twice or unknown."""
    parts = sections()
    found = [match["name"] for match in MARKER.finditer(page)]
    if sorted(found) != sorted(parts):
        raise ValueError(f"the page has the parts {sorted(found)}, it should have each of {sorted(parts)} once")
    return MARKER.sub(
        lambda match: f"<!-- generated: {match['name']} -->\n\n{parts[match['name']]}\n\n<!-- end: {match['name']} -->",
        page,
    )


def main() -> int:
    """Rewrite the page or compare it; the exit status is 1 when a comparison fails."""
    parser = argparse.ArgumentParser(description="Regenerate the tables of docs/protocol.md.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    rendered = render(page)
    if rendered == page:
        return 0
    if check:
        print(f"{PAGE.name} differs from the wire table; run: make docs")
        return 1
    PAGE.write_text(rendered, encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One line of a capture: JSON read strictly, its members taken one by one. ``BadLineError`` says what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from telemetry.transport.faults import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_LINE_BYTES = 1 << 20
_LARGEST_NUMBER = (1 << 53) - 1
"""Of times and links: JSON carries whole numbers exactly up to there (RFC 8259, section 6)."""


class BadLineError(Exception):
    """Why it is none."""


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadLineError("a name stands in it twice")
    return found


def _refuse_constant(name: str) -> object:
    raise BadLineError(f"{name} is no JSON")


def parse_line(line: bytes) -> dict[str, object]:
    """The JSON object in one line; raises ``BadLineError``."""
    if len(line) > LONGEST_LINE_BYTES:
        raise BadLineError(f"it is {len(line)} bytes long, the limit is {LONGEST_LINE_BYTES}")
    try:
        found = json.loads(line.decode(), object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"it is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise BadLineError("it is no JSON object")
    return found


def take(line: Mapping[str, object], names: Iterable[str], optional: str = "") -> None:
    """Hold a line to exactly these members; ``optional`` may stand there. Raises ``BadLineError``."""
    wanted = set(names)
    missing, extra = wanted - set(line), set(line) - wanted - {optional}
    if missing or extra:
        what = ", ".join([f"{name} is missing" for name in sorted(missing)] + [f"{name} is unknown" for name in extra])
        raise BadLineError(what)


def whole(line: Mapping[str, object], name: str, low: int) -> int:
    """A whole number from ``low`` on; raises ``BadLineError``."""
    value = line[name]
    if type(value) is not int or not low <= value <= _LARGEST_NUMBER:
        shown = (
            f"{value!r:.40}"
            if type(value) is not int or abs(value) <= _LARGEST_NUMBER
            else f"of {value.bit_length()} bits"
        )
        raise BadLineError(f"{name} is {shown}, not a whole number from {low} to {_LARGEST_NUMBER}")
    return value


def text_of(line: Mapping[str, object], name: str) -> str:
    """A text; raises ``BadLineError``."""
    value = line[name]
    if not isinstance(value, str):
        raise BadLineError(f"{name} is {value!r}, not text")
    return value


def mapping(line: Mapping[str, object], name: str) -> dict[str, object]:
    """An object; raises ``BadLineError``."""
    value = line[name]
    if not isinstance(value, dict):
        raise BadLineError(f"{name} is {value!r}, not an object")
    return value


def direction(line: Mapping[str, object]) -> Direction:
    """Which way a frame went; raises ``BadLineError``."""
    try:
        return Direction(text_of(line, "dir"))
    except ValueError:
        raise BadLineError(f"dir is {line['dir']!r}, neither tx nor rx") from None


def bytes_of(line: Mapping[str, object]) -> bytes:
    """Bytes as lower-case hexadecimal; raises ``BadLineError``."""
    text = text_of(line, "hex")
    if len(text) % 2 or not set(text) <= set("0123456789abcdef"):
        raise BadLineError(f"hex is {text[:40]!r}, not pairs of lower-case hex digits")
    return bytes.fromhex(text)

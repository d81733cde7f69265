"""What differs between a recorded message and one of now, field by field, and what may differ without being told.

Free in every comparison are what a conversation draws afresh: operation ids, tokens, tags, and how far operations are
acknowledged. Free unless ``exact`` is asked for are instants (by their unit in the wire table: pump time, UTC) and the
device's own counts (sequence numbers, the boot), since the same therapy on another day has others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.protocol.plain import describe
from telemetry.protocol.wire import MESSAGES, RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.protocol.messages import Message

FREE = frozenset({"op_id", "token", "tag", "acked_through"})
"""Field names that are drawn afresh in every conversation."""
_INSTANT_UNITS = ("s of pump time", "s since 1970", "s before now")
_COUNTS = frozenset(
    {
        "alarm_sequence",
        "boot_epoch",
        "last_operation_counter",
        "ledger_sequence",
        "newest_sequence",
        "oldest_sequence",
        "program_sequence",
        "sequence",
        "unacknowledged",
    }
)
INSTANTS = frozenset(
    field.name
    for fields in (*(spec.fields for spec in MESSAGES), *RECORDS.values())
    for field in fields
    if field.unit.startswith(_INSTANT_UNITS)
)
"""Field names that are instants, by their unit in the wire table."""
_SHOWN_CHARACTERS = 80


class What(StrEnum):
    """Which side of a conversation differs, and how."""

    REQUEST = "request"
    """A field of a request is not as recorded."""
    ANSWER = "answer"
    """A field of an answer is not as recorded, or another message came."""
    SESSION = "session"
    """A session was opened otherwise."""
    MISSING = "missing"
    """Recorded, and it did not happen."""
    EXTRA = "extra"
    """It happened, and is not recorded."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. ``line`` is that of the recorded frame in the capture, None where there is none."""

    what: What
    message: str
    field: str = ""
    recorded: object = None
    now: object = None
    line: int | None = None
    note: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        name = f"{self.message}.{self.field}" if self.field else self.message
        if self.what in (What.MISSING, What.EXTRA):
            text = f"{name} is {'recorded and did not come' if self.what is What.MISSING else 'not recorded here'}"
        else:
            text = f"{name} is {_short(self.now)}, recorded {_short(self.recorded)}"
        return f"{where}{text}{f' ({self.note})' if self.note else ''}"

    def as_json(self) -> dict[str, object]:
        """As one object."""
        return {
            "what": self.what.value,
            "line": self.line,
            "message": self.message,
            "field": self.field or None,
            "recorded": self.recorded,
            "now": self.now,
            "note": self.note or None,
        }


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def free_fields(*, exact: bool) -> frozenset[str]:
    """Names of the fields that are not compared."""
    return FREE if exact else FREE | INSTANTS | _COUNTS


def differences(
    what: What, recorded: Message, now: Message, free: frozenset[str], *, line: int | None = None
) -> list[Difference]:
    """Every field of ``now`` that is not as recorded; another kind of message is one difference of its own."""
    was, came = describe(recorded), describe(now)
    if was["name"] != came["name"]:
        return [Difference(what, str(was["name"]), "", was, came, line, f"another message: {came['name']}")]
    name = str(was["name"])
    return [Difference(what, name, path, one, two, line) for path, one, two in _unlike(was, came, free)]


def _unlike(was: object, came: object, free: frozenset[str], path: str = "") -> Iterator[tuple[str, object, object]]:
    if isinstance(was, dict) and isinstance(came, dict):
        for key in was:
            if key not in free:
                yield from _unlike(was[key], came.get(key), free, f"{path}.{key}" if path else str(key))
    elif isinstance(was, list) and isinstance(came, list):
        if len(was) != len(came):
            yield f"{path}.length", len(was), len(came)
        for index, (one, two) in enumerate(zip(was, came, strict=False)):
            yield from _unlike(one, two, free, f"{path}[{index}]")
    elif was != came:
        yield path, was, came

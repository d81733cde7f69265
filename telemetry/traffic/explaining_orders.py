"""Images that travel in parts, put together again: which order a BEGIN, its WRITEs and the read-back are about.

One of these per link, fed with each opened message in order, as the dissector does it. Total: parts that do not fit
together give no image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload
from telemetry.protocol.messages import Begin, ProgramReport, ReadBack, SetRate, Staged, Write
from telemetry.protocol.records import decode_record
from telemetry.protocol.wire import IMAGES

if TYPE_CHECKING:
    from telemetry.model import OperationKind
    from telemetry.protocol.messages import Message

PROGRAM_IMAGE = "program_image"


@dataclass(frozen=True, slots=True)
class WholeImage:
    """All bytes of an image; ``name`` is that of its layout, None where several or none fit."""

    name: str | None
    data: bytes


def image_of(kind: OperationKind) -> str | None:
    """The image that an operation of this kind brings, None for one that brings none."""
    name = f"{kind.value}_image"
    return name if name in IMAGES else None


class Orders:
    """What is known of the orders on one link while its messages go by."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._total: int | None = None
        self._written: dict[int, bytes] = {}
        self._parts: dict[bool, dict[int, bytes]] = {}

    def follow(self, message: Message) -> WholeImage | None:
        """The image that this message makes whole, if it does."""
        match message:
            case SetRate():
                self._name, self._total, self._parts[False] = PROGRAM_IMAGE, None, {}
            case Begin():
                self._name, self._total = image_of(message.kind), message.total_length
                self._written, self._parts[False] = {}, {}
            case Write() if self._total is not None:
                return self._write(message, self._total)
            case ReadBack() | Staged() | ProgramReport():
                return self._part(message)
            case _:
                pass
        return None

    def _write(self, message: Write, total: int) -> WholeImage | None:
        if message.offset == 0:
            self._written = {}
        self._written[message.offset] = message.data
        whole = b""
        while part := self._written.get(len(whole)):
            whole += part
        return WholeImage(self._name, whole) if len(whole) == total else None

    def _part(self, message: ReadBack | Staged | ProgramReport) -> WholeImage | None:
        committed = isinstance(message, ProgramReport)
        parts = self._parts.setdefault(committed, {})
        if message.part == 0:
            parts.clear()
        parts[message.part] = message.image
        if message.part != message.parts - 1 or set(range(message.parts)) - set(parts):
            return None
        whole = b"".join(parts[part] for part in range(message.parts))
        return WholeImage(PROGRAM_IMAGE if committed else self._name or guess(whole), whole)


def guess(data: bytes) -> str | None:
    """The one image that these bytes can be; None where several or none fit."""
    found = [name for name in IMAGES if _fits(name, data)]
    return found[0] if len(found) == 1 else None


def _fits(name: str, data: bytes) -> bool:
    try:
        decode_record(name, data)
    except BadPayload:
        return False
    return True

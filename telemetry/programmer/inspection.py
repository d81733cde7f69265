"""What travels on a link, by name: for recorders and for faults that pick a message by its type.

Transports see bytes only; this looks into sealed frames with the session's own keys, without effect on it.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING

from telemetry.errors import BadFrame, BadPayload
from telemetry.protocol.codec import decode
from telemetry.protocol.frame import Frame, StreamDecoder, decode_frame
from telemetry.protocol.wire import FrameType

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.messages import Message

_DELIMITER = b"\0"
_TELEMETER = (FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT)


class Inspector:
    """Names frames and opens their messages; ``peek`` is lent by whoever holds the session."""

    def __init__(self) -> None:
        self.peek: Callable[[Frame], Message | None] = lambda _frame: None

    def classify(self, _direction: str, data: bytes) -> str | None:
        """The message's name, the frame's type where nothing can be opened, None for what is no frame."""
        frame = _frame(data)
        if frame is None:
            return None
        message = self._open(frame)
        return type(message).__name__ if message is not None else frame.type.name

    def annotate(self, _direction: str, data: bytes) -> dict[str, object] | None:
        """The opened message as plain values, None where there is none."""
        frame = _frame(data)
        message = self._open(frame) if frame is not None else None
        return describe(message) if message is not None else None

    def _open(self, frame: Frame) -> Message | None:
        if frame.type in _TELEMETER:
            try:
                return decode(frame.body)
            except BadPayload:
                return None
        return self.peek(frame)


def describe(message: object) -> dict[str, object]:
    """A message as plain values for JSON: names for codes, hexadecimal for bytes."""
    return {"name": type(message).__name__} | {
        field.name: _plain(getattr(message, field.name))
        for field in fields(message)  # type: ignore[arg-type]
    }


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) if not hasattr(item, "__dataclass_fields__") else describe(item) for item in value]
    return value


def _frame(data: bytes) -> Frame | None:
    """The frame in one unit of a link: bare on datagrams, between zero bytes on streams."""
    if data[-1:] == _DELIMITER:
        return next((item for item in StreamDecoder().feed(data) if isinstance(item, Frame)), None)
    try:
        return decode_frame(data)
    except BadFrame:
        return None

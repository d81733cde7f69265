"""What travels on a link, by name: for recorders and for faults that pick a message by its type.

Transports see bytes only; this looks into sealed frames with the session's own keys, without effect on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import BadPayload
from telemetry.link import frame_in
from telemetry.protocol.codec import decode
from telemetry.protocol.plain import describe
from telemetry.protocol.wire import FrameType
from telemetry.transport.capture import Annotation

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol.channel import SessionKeys
    from telemetry.protocol.frame import Frame
    from telemetry.protocol.messages import Message

_TELEMETER = (FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT)


class Inspector:
    """Names frames and opens their messages with what the holder of the session lends it."""

    def __init__(self) -> None:
        self._peek: Callable[[Frame], Message | None] = lambda _frame: None
        self._keys: Callable[[], SessionKeys | None] = lambda: None
        self._noted: SessionKeys | None = None

    def look_into(self, peek: Callable[[Frame], Message | None], keys: Callable[[], SessionKeys | None]) -> None:
        """Lend the means: a trial opening of a frame, and the session's keys where they may be shown."""
        self._peek = peek
        self._keys = keys

    def classify(self, _direction: str, data: bytes) -> str | None:
        """The message's name, the frame's type where nothing can be opened, None for what is no frame."""
        frame = frame_in(data)
        if frame is None:
            return None
        message = self._open(frame)
        return type(message).__name__ if message is not None else frame.type.name

    def annotate(self, _direction: str, data: bytes) -> Annotation | None:
        """The opened message as plain values for a capture, and the keys of a session when it first shows."""
        frame = frame_in(data)
        message = self._open(frame) if frame is not None else None
        keys = self._new_keys()
        if message is None and keys is None:
            return None
        return Annotation(message=None if message is None else describe(message), keys=keys)

    def _new_keys(self) -> dict[str, str] | None:
        keys = self._keys()
        if keys is None or keys == self._noted:
            return None
        self._noted = keys
        return {
            "handshake_hash": keys.handshake_hash.hex(),
            "to_pump": keys.to_pump.hex(),
            "from_pump": keys.from_pump.hex(),
        }

    def _open(self, frame: Frame) -> Message | None:
        if frame.type in _TELEMETER:
            try:
                return decode(frame.body)
            except BadPayload:
                return None
        return self._peek(frame)

"""What of a recorded conversation stands for what in today's, where the recording is played as the device."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload
from telemetry.model import OperationKind
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message

COUNTER_BYTES = 8
"""An operation id begins with the counter of its slot, little-endian (protocol.md, Operations)."""


class Carried:
    """What stands for what: operation ids drawn afresh, and the image of a clock that was set to another moment."""

    def __init__(self) -> None:
        self._now: dict[bytes, bytes] = {}
        self._recorded: dict[bytes, bytes] = {}
        self._images: dict[bytes, bytes] = {}
        self._setting_clock = False

    def fits(self, recorded: Message, now: Message) -> bool:
        """Whether the operation of the one stands for that of the other, or neither stands for any yet."""
        was, came = op_id_of(recorded), op_id_of(now)
        if not was:
            return True
        return self._now.get(was, came) == came and self._recorded.get(came, was) == was

    def expected(self, recorded: Message, now: Message) -> Message:
        """The recorded request as it would be today, where the moment that a clock is set to may be another."""
        if isinstance(recorded, wire.Begin) and isinstance(now, wire.Begin):
            if recorded.kind is now.kind is OperationKind.CLOCK:
                return replace(recorded, image_digest=now.image_digest)
        elif isinstance(recorded, wire.Write) and isinstance(now, wire.Write):
            if self._setting_clock and _same_but_for_the_moment(recorded.data, now.data):
                return replace(recorded, data=now.data)
        elif isinstance(recorded, wire.Commit) and recorded.image_digest in self._images:
            return replace(recorded, image_digest=self._images[recorded.image_digest])
        return recorded

    def bind(self, recorded: Message, now: Message) -> None:
        """Take note that the one is answered for the other."""
        was, came = op_id_of(recorded), op_id_of(now)
        if was:
            self._now.setdefault(was, came)
            self._recorded.setdefault(came, was)
        if isinstance(now, wire.Begin):
            self._setting_clock = now.kind is OperationKind.CLOCK
        if (
            isinstance(recorded, wire.Write)
            and isinstance(now, wire.Write)
            and self._setting_clock
            and _same_but_for_the_moment(recorded.data, now.data)
        ):
            self._images[recorded.data] = now.data
            self._images[hashlib.sha256(recorded.data).digest()] = hashlib.sha256(now.data).digest()

    def to_now(self, answer: Message) -> Message:
        """A recorded answer with today's names in it."""
        if isinstance(answer, wire.VerdictReport):
            op_id = self._now.get(answer.op_id, answer.op_id)
            return replace(answer, op_id=op_id, last_operation_counter=self._counter(answer.last_operation_counter))
        if isinstance(answer, wire.LedgerHead):
            return replace(answer, last_operation_counter=self._counter(answer.last_operation_counter))
        if isinstance(answer, wire.Staged):
            return replace(
                answer,
                image=self._images.get(answer.image, answer.image),
                image_digest=self._images.get(answer.image_digest, answer.image_digest),
            )
        return answer

    def _counter(self, recorded: int) -> int:
        """An operation counter: that of the operation which stands for the recorded one, if one does."""
        head = recorded.to_bytes(COUNTER_BYTES, "little")
        came = next((now for was, now in self._now.items() if was.startswith(head)), None)
        return recorded if came is None else int.from_bytes(came[:COUNTER_BYTES], "little")


def op_id_of(message: Message) -> bytes:
    """The operation that a request is of; empty for one that is of none."""
    found: object = getattr(message, "op_id", b"")
    return found if isinstance(found, bytes) else b""


def _same_but_for_the_moment(was: bytes, came: bytes) -> bool:
    try:
        one, two = decode_record("clock_image", was), decode_record("clock_image", came)
    except BadPayload:
        return False
    return replace(one, utc_s=two.utc_s) == two

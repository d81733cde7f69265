"""What a scrubbed capture says instead: consistent stand-ins for names, times and secrets, and what is gone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, cast

from telemetry.errors import BadPayload
from telemetry.model import LogCode, OperationKind
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.wire import MAX_ZONE_MINUTES
from telemetry.traffic.replaying_carried import COUNTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.protocol.messages import Message

FIRST_DAY_UTC_S = 946_684_800
"""2000-01-01: the local day on which a scrubbed capture begins."""
_S_PER_DAY = 86_400
_S_PER_MINUTE = 60
_UTC = frozenset({"epoch_utc_s", "clock_utc_s"})
_SHORTEST_NEEDLE = 4
"""Bytes or characters; shorter values are compared as fields, since they would be found by chance."""


@dataclass(slots=True)
class Values:
    """Stand-ins, drawn with a key of 32 bytes that is thrown away afterwards; equal values get equal ones.

    Local time of day is kept, so that schedules still fit; the date and the zone are not.
    """

    key: bytes
    texts: dict[str, str] = field(default_factory=dict)
    """Serial numbers that are gone, with what stands for them."""
    secrets: dict[bytes, bytes] = field(default_factory=dict)
    """Identifiers, numbers drawn and digests that are gone, with what stands for them."""
    moments: set[int] = field(default_factory=set)
    """Seconds of UTC that are gone."""
    zone_minutes: int = 0
    shift_s: int = 0
    _images: dict[bytes, bytes] = field(default_factory=dict)

    def measure(self, messages: Iterable[Message]) -> None:
        """Find out where and when the capture was made: its first zone and its first reading of a clock."""
        first_s: int | None = None
        zone: int | None = None
        for message in messages:
            for name in _UTC:
                found = getattr(message, name, None)
                if isinstance(found, int) and first_s is None and name == "clock_utc_s":
                    first_s = found
            found = getattr(message, "zone_minutes", None)
            if isinstance(found, int) and zone is None:
                zone = found
        self.zone_minutes = zone or 0
        local_s = (first_s or 0) + self.zone_minutes * _S_PER_MINUTE
        self.shift_s = FIRST_DAY_UTC_S - local_s // _S_PER_DAY * _S_PER_DAY + self.zone_minutes * _S_PER_MINUTE

    # --- single values -----------------------------------------------------------------------------------------------

    def draw(self, label: str, size: int, value: bytes = b"") -> bytes:
        """Bytes that depend on the key, the label and the value only."""
        found = b""
        while len(found) < size:
            found += hmac.digest(self.key, f"{label} {len(found)} ".encode() + value, "sha256")
        return found[:size]

    def secret(self, label: str, value: bytes) -> bytes:
        """A stand-in of the same length; all zeros stay, since they name nobody."""
        if not any(value):
            return value
        if value not in self.secrets:
            self.secrets[value] = self.draw(label, len(value), value)
        return self.secrets[value]

    def op_id(self, value: bytes) -> bytes:
        """An operation's id: its counter stays, which replay needs, and what was drawn is drawn anew."""
        nonce = value[COUNTER_BYTES:]
        return value[:COUNTER_BYTES] + self.secret("operation", nonce)

    def serial(self, kind: str, value: str) -> str:
        """A serial number by the order in which it came."""
        if not value:
            return value
        if value not in self.texts:
            self.texts[value] = f"{kind}-{len(self.texts) + 1:04d}"
        return self.texts[value]

    def utc_s(self, value: int) -> int:
        """A moment on the scrubbed capture's calendar."""
        self.moments.add(value)
        return max(0, value + self.shift_s)

    def zone(self, value: int) -> int:
        """Minutes east of the zone in which the capture begins."""
        return max(-MAX_ZONE_MINUTES, min(MAX_ZONE_MINUTES, value - self.zone_minutes))

    # --- messages ----------------------------------------------------------------------------------------------------

    def begin(self, kind: OperationKind, digest: bytes, image: bytes) -> None:
        """A transaction with this image begins: that of a clock holds a date, and is another one here."""
        if kind is OperationKind.CLOCK and hashlib.sha256(image).digest() == digest:
            self._replace_clock(image)

    def message(self, message: Message) -> Message:
        """The same message with stand-ins."""
        changed: dict[str, object] = {}
        for one in fields(message):  # type: ignore[arg-type] # every message is a dataclass
            value = getattr(message, one.name)
            stand_in = self._field(message, one.name, value)
            if stand_in != value:
                changed[one.name] = stand_in
        return replace(message, **changed) if changed else message  # type: ignore[type-var] # as above

    def _field(self, message: Message, name: str, value: object) -> object:
        match value:
            case bytes() if name == "op_id":
                return self.op_id(value)
            case bytes() if name in ("token", "pump_id"):
                return self.secret(name, value)
            case bytes() if name in ("image", "data", "image_digest"):
                return self._images.get(value, value)
            case str() if name == "serial":
                return self.serial("TELEM" if isinstance(message, wire.TelemeterReport) else "PUMP", value)
            case int() if name in _UTC:
                return self.utc_s(value)
            case int() if name == "zone_minutes":
                return self.zone(value)
            case tuple() if name == "records":
                return tuple(self._log(one) for one in cast("tuple[wire.LogEntry, ...]", value))
        return value

    def _log(self, entry: wire.LogEntry) -> wire.LogEntry:
        if entry.code is not LogCode.CLOCK_SET:
            return entry
        return replace(entry, detail=0, value=self.utc_s(entry.value))

    def _replace_clock(self, image: bytes) -> None:
        try:
            clock = decode_record("clock_image", image)
        except BadPayload:
            return
        new = encode_record(
            "clock_image", replace(clock, utc_s=self.utc_s(clock.utc_s), zone_minutes=self.zone(clock.zone_minutes))
        )
        self._images[image] = new
        self._images[hashlib.sha256(image).digest()] = hashlib.sha256(new).digest()
        self.secrets.setdefault(hashlib.sha256(image).digest(), hashlib.sha256(new).digest())

    def accept(self, payload: wire.AcceptPayload) -> wire.AcceptPayload:
        """What the pump said of itself, with stand-ins."""
        return replace(
            payload,
            pump_id=self.secret("pump_id", payload.pump_id),
            log_head=self.secret("log_head", payload.log_head),
        )

    # --- the proof ---------------------------------------------------------------------------------------------------

    def left_in(self, text: str, plaintexts: Iterable[tuple[bytes, Message | None]]) -> list[str]:
        """Everything removed that is still somewhere in the text of a file, or in what its frames hold."""
        lower = text.lower()
        shown = {value: f"serial number {value!r}" for value in self.texts if len(value) >= _SHORTEST_NEEDLE}
        found = [what for value, what in shown.items() if value.lower() in lower]
        needles = {value: f"secret of {len(value)} bytes" for value in self.secrets if len(value) >= _SHORTEST_NEEDLE}
        needles |= {value.encode(): what for value, what in shown.items()}
        found += [what for value, what in needles.items() if value.hex() in lower]
        moments = self.moments - {self.utc_s_again(one) for one in self.moments}
        for plain, message in plaintexts:
            found += [what for value, what in needles.items() if value in plain]
            found += [f"moment {one}" for one in _moments(message) & moments]
            if getattr(message, "serial", None) in self.texts:
                found.append("serial number as a field")
        return sorted(set(found))

    def utc_s_again(self, value: int) -> int:
        """The stand-in of a moment, without taking note of it: one that is a removed moment too is no leak."""
        return max(0, value + self.shift_s)


def _moments(message: Message | None) -> set[int]:
    found = {getattr(message, name, None) for name in _UTC}
    for entry in getattr(message, "records", ()):
        if isinstance(entry, wire.LogEntry) and entry.code is LogCode.CLOCK_SET:
            found.add(entry.value)
    return {one for one in found if isinstance(one, int)}

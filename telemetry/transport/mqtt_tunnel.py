"""The messages of the byte tunnel through a broker, and the book that each end keeps: no I/O, no time.

A message is a head of 36 bytes and a payload (big-endian)::

    2  magic "IT"     1  version     1  kind     8  client's half of the link     8  device's half
    8  sequence       8  acknowledged            0 … 4096  payload

The halves are drawn by chance, by each end its own, for every link anew: whatever is replayed belongs to no link that
there is. Both count DATA messages, each direction from 0; ``acknowledged`` is how many arrived in order so far.
Nothing here authenticates anybody: that is done end to end, by the protocol that the bytes belong to.
"""

from __future__ import annotations

import enum
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"IT"
VERSION = 1
HALF_BYTES = 8
NOBODY = bytes(HALF_BYTES)
"""The half that is not known yet, or not meant."""
MOST_PAYLOAD_BYTES = 4_096
WINDOW = 64
"""DATA messages on their way at most: well below the thousand that a mosquitto keeps for a slow client before it drops
some (its ``max_queued_messages``)."""
MOST_LINKS = 16
"""Links of one device at a time; a pump serves one session, the others wait or look."""
ACKNOWLEDGE_EVERY = 16
"""Messages after which an end that has nothing to say acknowledges: four times in a window."""
_HEAD = struct.Struct(">2sBB8s8sQQ")
HEAD_BYTES = _HEAD.size


class Kind(enum.IntEnum):
    """What a message says."""

    OPEN = 1
    """Client: I want a link. The device's half is still zero; payload: seconds between my signs of life (2 bytes)."""
    ACCEPT = 2
    """Device: you have it. Payload: the half that its GONE would carry."""
    REFUSE = 3
    """Device: you do not get it; payload: why, see ``Refusal`` (1 byte)."""
    DATA = 4
    """Bytes of the stream."""
    ALIVE = 5
    """Nothing but what the head says: how much has arrived, and that there is somebody. The first one, after ACCEPT,
    makes the link: only one who reads the device's topic can send it."""
    CLOSE = 6
    """I close; ``sequence`` is how many DATA messages there were."""
    GONE = 7
    """The will of an end that vanished: a client's with its own half, a device's with the half that ACCEPT told."""


class Refusal(enum.IntEnum):
    """Why a device gives no link."""

    TOO_MANY = 1


class Fault(enum.StrEnum):
    """Why a message is ignored; each is counted."""

    RETAINED = "retained"
    LENGTH = "length"
    NOT_OURS = "not_ours"
    VERSION = "version"
    KIND = "kind"
    PAYLOAD = "payload"
    UNKNOWN_LINK = "unknown_link"
    OUT_OF_TURN = "out_of_turn"
    DUPLICATE = "duplicate"
    ACKNOWLEDGED = "acknowledged_too_much"


_PAYLOADS = {Kind.OPEN: 2, Kind.ACCEPT: HALF_BYTES, Kind.REFUSE: 1, Kind.ALIVE: 0, Kind.CLOSE: 0, Kind.GONE: 0}
"""Bytes of payload, where they are fixed."""


def new_half() -> bytes:
    """Draw an end's half of a link."""
    return secrets.token_bytes(HALF_BYTES)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the tunnel."""

    kind: Kind
    client: bytes
    device: bytes = NOBODY
    sequence: int = 0
    acknowledged: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """As it travels."""
        return (
            _HEAD.pack(MAGIC, VERSION, self.kind, self.client, self.device, self.sequence, self.acknowledged)
            + self.payload
        )


def decode(data: bytes) -> Message | Fault:
    """Read any bytes: a message, or what is wrong with them. Total."""
    if not HEAD_BYTES <= len(data) <= HEAD_BYTES + MOST_PAYLOAD_BYTES:
        return Fault.LENGTH
    magic, version, number, client, device, sequence, acknowledged = _HEAD.unpack_from(data)
    if magic != MAGIC:
        return Fault.NOT_OURS
    if version != VERSION:
        return Fault.VERSION
    try:
        kind = Kind(number)
    except ValueError:
        return Fault.KIND
    payload = data[HEAD_BYTES:]
    if (kind is Kind.DATA and not payload) or len(payload) != _PAYLOADS.get(kind, len(payload)):
        return Fault.PAYLOAD
    return Message(kind, client, device, sequence, acknowledged, payload)


class Arrival(enum.Enum):
    """What a DATA message is to the end that got it."""

    NEXT = enum.auto()
    AGAIN = enum.auto()
    """It was here before, as QoS 1 allows."""
    AHEAD = enum.auto()
    """Others before it are missing: a broker keeps the order (MQTT 3.1.1, 4.6), so they are lost."""


class Book:
    """What one end of a link has sent and received."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.received = 0
        self._told = 0
        self._unsent = bytearray()

    @property
    def unsent_bytes(self) -> int:
        """What waits for room in the window."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Put bytes at the end of the stream."""
        self._unsent += data

    def due(self) -> Iterator[tuple[int, bytes]]:
        """Take what may leave now: sequence and payload of each message."""
        while self._unsent and self.sent - self.acknowledged < WINDOW:
            payload = bytes(self._unsent[:MOST_PAYLOAD_BYTES])
            del self._unsent[:MOST_PAYLOAD_BYTES]
            self.sent += 1
            yield self.sent - 1, payload

    def arrived(self, sequence: int) -> Arrival:
        """Enter a DATA message that came."""
        if sequence != self.received:
            return Arrival.AGAIN if sequence < self.received else Arrival.AHEAD
        self.received += 1
        return Arrival.NEXT

    def heard(self, acknowledged: int) -> bool:
        """Enter what the other end says has arrived; False when it says more than was sent."""
        if acknowledged > self.sent:
            return False
        self.acknowledged = max(self.acknowledged, acknowledged)
        return True

    def tell(self) -> int:
        """How much has arrived, for the head of a message that leaves now."""
        self._told = self.received
        return self.received

    @property
    def owes_word(self) -> bool:
        """Whether the other end waits to hear how much has arrived."""
        return self.received - self._told >= ACKNOWLEDGE_EVERY

"""A secure session by hand: every frame of handshake and session made here, so that a step can spoil one thing of it.

The derivations are those of ``protocol/`` (handshake, noise, codec); the states and checks of a channel are left out on
purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, PeerError
from telemetry.protocol.codec import decode_record, encode, encode_record, pad
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.handshake import PROBE_ID_SIZE, ProgrammerHandshake
from telemetry.protocol.messages import AcceptPayload, Beacon, HelloPayload, Message, Probe
from telemetry.protocol.primitives import Aead
from telemetry.protocol.session import counter_of, read_message
from telemetry.protocol.wire import (
    COUNTER,
    LAYOUT_FINGERPRINT,
    PROTOCOL_MAJOR,
    SUITE_NOISE_KKPSK0,
    BeaconFlag,
    FrameType,
    Plane,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.device.line import Line
    from telemetry.model import Role
    from telemetry.protocol.credentials import Credential
    from telemetry.protocol.noise import TransportKeys

TRIES = 4
"""Identical frames before a step says that nothing answers, as a programmer's (protocol.md 13)."""
BUILD = 1
OPERATOR_REF = b"conform\0"


@dataclass(frozen=True, slots=True)
class Offer:
    """A PROBE and the BEACON that answered it, as bodies."""

    probe: bytes
    body: bytes
    beacon: Beacon

    @property
    def test_device(self) -> bool:
        """Whether the test flag is set."""
        return bool(self.beacon.flags & BeaconFlag.TEST_DEVICE)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the RSP's body, and what it says (a ``BadPayload`` where it cannot be read, None where not opened)."""

    body: bytes
    message: Message | BadPayload | None


def probe_body(
    probe_id: bytes, *, low: int = PROTOCOL_MAJOR, high: int = PROTOCOL_MAJOR, suites: int | None = None
) -> bytes:
    """The body of a PROBE."""
    offered = 1 << SUITE_NOISE_KKPSK0 if suites is None else suites
    return encode_record("probe", Probe(max_version=high, min_version=low, intent=0, suites=offered, probe_id=probe_id))


async def ask_beacon(line: Line, probe: bytes, *, tries: int = TRIES) -> Offer | None:
    """Send a PROBE and give its BEACON, repeated like a programmer's; None when none comes."""
    for _ in range(tries):
        line.send(encode_frame(Frame(FrameType.PROBE, 0, probe)))
        frame = await line.frame(lambda frame: _beacon_of(frame, probe) is not None, line.patience_ms)
        if frame is not None:
            beacon = _beacon_of(frame, probe)
            assert beacon is not None  # noqa: S101 - the frame was chosen by it
            return Offer(probe, frame.body, beacon)
    return None


def _beacon_of(frame: Frame, probe: bytes) -> Beacon | None:
    if frame.type is not FrameType.BEACON:
        return None
    try:
        beacon = decode_record("beacon", frame.body)
    except BadPayload:
        return None
    return beacon if beacon.probe_id == probe[-PROBE_ID_SIZE:] else None


class Greeting:
    """A HELLO for an offer: ``frame`` to send, ``open`` for what comes back."""

    def __init__(
        self,
        offer: Offer,
        credential: Credential,
        role: Role,
        entropy: Callable[[int], bytes],
        *,
        utc_s: int,
        fingerprint: int = LAYOUT_FINGERPRINT,
    ) -> None:
        self.offer = offer
        self.credential = credential
        self.role = role
        payload = HelloPayload(OPERATOR_REF, utc_s, fingerprint, BUILD, 0)
        self._handshake = ProgrammerHandshake(credential, role, offer.probe, offer.body, payload, entropy)
        self.body = self._handshake.hello
        self._opened: tuple[bytes, tuple[AcceptPayload, TransportKeys]] | None = None

    @property
    def frame(self) -> bytes:
        """The encoded frame."""
        return encode_frame(Frame(FrameType.HELLO, 0, self.body))

    def open(self, frame: Frame) -> tuple[AcceptPayload, TransportKeys] | None:
        """What an ACCEPT says and the keys; None when it is not the true answer to this HELLO."""
        if frame.type is not FrameType.ACCEPT:
            return None
        if self._opened is not None:  # a handshake opens one ACCEPT, and that one as often as it is asked
            return self._opened[1] if frame.body == self._opened[0] else None
        try:
            self._opened = frame.body, self._handshake.accept(frame.body)
        except PeerError:
            return None
        return self._opened[1]


class RawSession:
    """A session whose counters, bytes and repeats are the step's to choose."""

    def __init__(self, line: Line, greeting: Greeting, accept: AcceptPayload, keys: TransportKeys) -> None:
        self.line = line
        self.greeting = greeting
        self.accept = accept
        self.role = greeting.role
        self._to_pump, self._from_pump = Aead(keys.initiator_to_responder), Aead(keys.responder_to_initiator)
        self.n = 0
        """The counter of the next request."""
        self.counter = accept.last_operation_counter
        """The last operation counter used."""
        self.alarm_sequence = accept.alarm_sequence
        line.peek = self.peek

    def __repr__(self) -> str:
        return f"a session as {self.role.value}"

    # --- bytes -------------------------------------------------------------------------------------------------------

    def seal(self, message: Message | bytes, n: int) -> bytes:
        """The encoded REQ frame of a message, or of a padded plaintext as it is, under this counter."""
        padded = message if isinstance(message, bytes) else pad(encode(message))
        return encode_frame(Frame(FrameType.REQ, 0, COUNTER.pack(n) + self._to_pump.seal(n, padded)))

    def peek(self, frame: Frame) -> Message | None:
        """Open a frame of this session for the record."""
        found = self._read(frame)
        return found if isinstance(found, Message) else None

    def _read(self, frame: Frame) -> Message | BadPayload | None:
        cipher = {FrameType.REQ: self._to_pump, FrameType.RSP: self._from_pump}.get(frame.type)
        n = counter_of(frame.body)
        if cipher is None or n is None:
            return None
        padded = cipher.open(n, frame.body[COUNTER.size :])
        if padded is None:
            return None
        return read_message(padded, Plane.REQUEST if frame.type is FrameType.REQ else Plane.ANSWER)

    # --- asking ------------------------------------------------------------------------------------------------------

    def next_frame(self, message: Message | bytes) -> tuple[int, bytes]:
        """Take the next counter: it and the frame."""
        n = self.n
        self.n += 1
        return n, self.seal(message, n)

    async def reply(self, n: int, within_ms: int | None = None) -> Reply | None:
        """The answer with this counter, or None."""
        frame = await self.line.frame(
            lambda frame: frame.type is FrameType.RSP and counter_of(frame.body) == n,
            self.line.patience_ms if within_ms is None else within_ms,
        )
        return None if frame is None else Reply(frame.body, self._read(frame))

    async def ask(self, message: Message | bytes, *, tries: int = TRIES) -> Message | None:
        """Ask as a programmer does, the identical frame repeated; None when nothing readable answers."""
        n, frame = self.next_frame(message)
        for _ in range(tries):
            self.line.send(frame)
            reply = await self.reply(n)
            if reply is not None and isinstance(reply.message, Message):
                sequence = getattr(reply.message, "alarm_sequence", None)
                if isinstance(sequence, int):
                    self.alarm_sequence = sequence
                return reply.message
        return None

    def new_op_id(self) -> bytes:
        """A fresh operation id above every earlier one of this slot."""
        self.counter += 1
        return op_id_of(self.counter)


def op_id_of(counter: int, tail: int = 0) -> bytes:
    """An operation id: counter and eight bytes that tell two of one counter apart."""
    return counter.to_bytes(8, "little") + b"conform" + bytes([tail & 0xFF])


async def greet(line: Line, greeting: Greeting, *, tries: int = TRIES) -> RawSession | Beacon | None:
    """Send a HELLO; the session, the BEACON that says *busy* or *throttled*, or None for silence."""
    for _ in range(tries):
        line.send(greeting.frame)
        frame = await line.frame(
            lambda frame: greeting.open(frame) is not None or _held_off(frame, greeting.offer) is not None,
            line.patience_ms,
        )
        if frame is None:
            continue
        held = _held_off(frame, greeting.offer)
        if held is not None:
            return held
        opened = greeting.open(frame)
        if opened is not None:
            return RawSession(line, greeting, *opened)
    return None


def _held_off(frame: Frame, offer: Offer) -> Beacon | None:
    beacon = _beacon_of(frame, offer.probe)
    return beacon if beacon is not None and beacon.flags & (BeaconFlag.BUSY | BeaconFlag.THROTTLED) else None


__all__ = [
    "Greeting",
    "Offer",
    "RawSession",
    "Reply",
    "ask_beacon",
    "greet",
    "op_id_of",
    "probe_body",
]

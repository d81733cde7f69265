"""A capture opened: every frame with its link, time and direction, and what was in it or why that cannot be told.

Sealed frames are opened with the session keys that the capture holds (those of test devices, ``protocol.session``).
Where it holds none that fit, the message that the recorder wrote beside the frame is taken, and ``how`` says so.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from telemetry.errors import BadFrame, BadPayload, UsageError
from telemetry.link import LAYOUT
from telemetry.protocol.channel import Direction as Way
from telemetry.protocol.codec import decode, encode, unpad
from telemetry.protocol.frame import GARBAGE_SAMPLE, Frame, FrameFault, Garbage, StreamDecoder, decode_frame
from telemetry.protocol.plain import describe, restore
from telemetry.protocol.primitives import KEY_SIZE, Aead, Secret
from telemetry.protocol.session import counter_of
from telemetry.protocol.wire import COUNTER, FrameType, Plane
from telemetry.transport.capture import CapturedFrame, LinkLost, LinkOpened, SessionKeys, read_capture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from telemetry.protocol.messages import Message
    from telemetry.transport.capture import Capture
    from telemetry.transport.faults import Direction

KEYS_TRIED = 64
"""Sessions whose keys are tried on one frame, the nearest first: a hostile file cannot make opening quadratic."""
_TO_PUMP = frozenset({FrameType.PROBE, FrameType.HELLO, FrameType.REQ, FrameType.TELEMETER_REQ})
_TELEMETER = frozenset({FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT})
_SEALED = frozenset({FrameType.REQ, FrameType.RSP})


class How(StrEnum):
    """Where an opened message comes from."""

    PLAIN = "plain"
    """It travelled in the clear (the telemeter's own messages)."""
    KEYS = "keys"
    """Opened with session keys of the capture; its tag was right."""
    RECORDED = "recorded"
    """Taken from what the recorder wrote beside the frame; nothing proves that it was in it."""


class Shut(StrEnum):
    """Why a frame has no message."""

    NO_FRAME = "no_frame"
    """The bytes are no frame of ITP/1."""
    HANDSHAKE = "handshake"
    """PROBE, BEACON, HELLO and ACCEPT carry records, not messages."""
    NO_KEYS = "no_keys"
    """Sealed, and the capture holds neither keys nor the message."""
    WRONG_KEYS = "wrong_keys"
    """Sealed, the capture holds keys, and none fits: another session, or altered bytes."""
    BAD_SHAPE = "bad_shape"
    """Of a sealed type, but of no size that a sealed body has."""
    BAD_MESSAGE = "bad_message"
    """Opened, but no message of this wire table is in it."""
    OTHER_LAYOUT = "other_layout"
    """Opened, but the capture's messages are laid out by another wire table than ours (its header says so)."""


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """One frame of a capture, or one piece of garbage (``frame`` is then None and ``shut`` is ``no_frame``).

    ``entry`` counts the entries of the capture from 0; its line is ``entry + 2``. ``direction`` is as recorded (seen
    from whoever recorded), ``way`` as the frame's type says. ``session`` counts the capture's keys from 0. ``payload``
    is the unpadded plaintext, header included. ``recorded`` is what the recorder wrote beside the frame;
    ``disagrees`` says that it is not what the keys open.
    """

    entry: int
    link: int
    at_ms: int
    direction: Direction
    data: bytes
    datagram: bool
    frame: Frame | None = None
    way: Way | None = None
    counter: int | None = None
    session: int | None = None
    payload: bytes | None = None
    message: Message | None = None
    how: How | None = None
    shut: Shut | None = None
    detail: str = ""
    recorded: Mapping[str, object] | None = None
    disagrees: bool = False

    @property
    def type(self) -> FrameType | None:
        """The outer type, None for garbage."""
        return None if self.frame is None else self.frame.type

    @property
    def name(self) -> str:
        """The message's name where there is one, else the frame's type, else ``garbage``."""
        if self.message is not None:
            return type(self.message).__name__
        return "garbage" if self.frame is None else self.frame.type.name


@dataclass(frozen=True, slots=True)
class _Session:
    """Keys of one session, in the order of the capture."""

    number: int
    entry: int
    to_pump: Aead
    from_pump: Aead

    def open(self, frame: Frame, counter: int) -> bytes | None:
        cipher = self.to_pump if frame.type is FrameType.REQ else self.from_pump
        return cipher.open(counter, frame.body[COUNTER.size :])


@dataclass(slots=True)
class _Link:
    """What is known of one link while its frames go by."""

    datagrams: bool
    decoders: dict[Direction, StreamDecoder] = field(default_factory=dict)
    session: _Session | None = None


def open_file(path: Path) -> Iterator[OpenedFrame]:
    """Every frame of a capture file, in order; raises ``UsageError`` for a file that is no capture."""
    return open_capture(read_capture(path))


def open_capture(capture: Capture) -> Iterator[OpenedFrame]:
    """Every frame of a capture, in order, and every piece of garbage. Raises nothing, whatever the frames hold."""
    return _Opening(capture).frames()


class _Opening:
    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._sessions = list(_sessions(capture))
        self._noted_at = [session.entry for session in self._sessions]
        self._links: dict[int, _Link] = {}
        self._other = "" if capture.layout in (None, LAYOUT) else f"laid out by {capture.layout}, ours is {LAYOUT}"

    def frames(self) -> Iterator[OpenedFrame]:
        last: dict[tuple[int, Direction], tuple[int, CapturedFrame]] = {}
        for number, entry in enumerate(self._capture.entries):
            match entry:
                case LinkOpened():
                    self._links[entry.link] = _Link(entry.datagrams)
                case CapturedFrame():
                    last[entry.link, entry.direction] = (number, entry)
                    yield from self._entry(number, entry)
                case LinkLost():
                    yield from self._rest(entry.link, last)
        for link in list(self._links):
            yield from self._rest(link, last)

    def _rest(self, link: int, last: dict[tuple[int, Direction], tuple[int, CapturedFrame]]) -> Iterator[OpenedFrame]:
        """What the streams of a link that is over still held: a frame without its delimiter, or garbage."""
        for direction, decoder in self._links[link].decoders.items():
            if decoder.pending_bytes:
                number, entry = last[link, direction]
                for found in decoder.feed(b"\0"):
                    yield self._found(number, entry, found, recorded=True)

    def _entry(self, number: int, entry: CapturedFrame) -> Iterator[OpenedFrame]:
        link = self._links[entry.link]
        if link.datagrams:
            yield self._found(number, entry, _datagram(entry.data), recorded=True)
            return
        decoder = link.decoders.setdefault(entry.direction, StreamDecoder())
        found = decoder.feed(entry.data)
        frames = [one for one in found if isinstance(one, Frame)]
        for one in found:
            # Recorders write one frame a line; what came glued together has one message, that of its last frame.
            yield self._found(number, entry, one, recorded=bool(frames) and one is frames[-1])

    def _found(self, number: int, entry: CapturedFrame, found: Frame | Garbage, *, recorded: bool) -> OpenedFrame:
        base = OpenedFrame(
            entry=number,
            link=entry.link,
            at_ms=entry.at_ms,
            direction=entry.direction,
            data=entry.data,
            datagram=self._links[entry.link].datagrams,
            recorded=entry.message if recorded else None,
        )
        if isinstance(found, Garbage):
            return replace(base, shut=Shut.NO_FRAME, detail=found.reason.value)
        way = Way.TO_PUMP if found.type in _TO_PUMP else Way.FROM_PUMP
        base = replace(base, frame=found, way=way)
        if found.type in _TELEMETER:
            return self._read(base, found.body, Plane.TELEMETER, How.PLAIN)
        if found.type not in _SEALED:
            return replace(base, shut=Shut.HANDSHAKE)
        return self._sealed(base, found)

    def _sealed(self, base: OpenedFrame, frame: Frame) -> OpenedFrame:
        counter = counter_of(frame.body)
        if counter is None:
            return replace(base, shut=Shut.BAD_SHAPE, detail=f"a body of {len(frame.body)} bytes")
        base = replace(base, counter=counter)
        plane = Plane.REQUEST if frame.type is FrameType.REQ else Plane.ANSWER
        for session in self._candidates(base):
            padded = session.open(frame, counter)
            if padded is None:
                continue
            self._links[base.link].session = session
            base = replace(base, session=session.number)
            try:
                payload = unpad(padded)
            except BadPayload as error:
                return replace(base, payload=padded, how=How.KEYS, shut=Shut.BAD_MESSAGE, detail=str(error))
            return self._read(base, payload, plane, How.KEYS)
        if base.recorded is not None and self._other:
            return replace(base, how=How.RECORDED, shut=Shut.OTHER_LAYOUT, detail=self._other)
        if base.recorded is not None:
            return _believed(base, base.recorded, plane)
        if not self._sessions:
            return replace(base, shut=Shut.NO_KEYS, detail="the capture holds neither its session's keys nor a message")
        return replace(base, shut=Shut.WRONG_KEYS, detail=f"none of the keys of {len(self._sessions)} sessions fits")

    def _read(self, base: OpenedFrame, payload: bytes, plane: Plane, how: How) -> OpenedFrame:
        base = replace(base, payload=payload, how=how)
        if self._other:
            return replace(base, shut=Shut.OTHER_LAYOUT, detail=self._other)
        try:
            message = decode(payload, plane=plane)
        except BadPayload as error:
            return replace(base, shut=Shut.BAD_MESSAGE, detail=str(error))
        said = base.recorded
        return replace(base, message=message, disagrees=said is not None and dict(said) != describe(message))

    def _candidates(self, frame: OpenedFrame) -> Iterator[_Session]:
        """The session that fitted last on this link, then all others, the nearest in the file first."""
        last = self._links[frame.link].session
        if last is not None:
            yield last
        after = bisect_right(self._noted_at, frame.entry)
        before, later = reversed(self._sessions[:after]), self._sessions[after:]
        others = (one for pair in zip_longest(before, later) for one in pair if one is not None and one is not last)
        yield from islice(others, KEYS_TRIED)


def says_simulated(capture: Capture) -> bool | None:
    """Whether the devices of a capture are simulated ones, by its recorder or else by their own first word for it.

    A recorder begins before anybody has said so; a telemeter's report is never sealed. None where nobody says.
    """
    if capture.simulated is not None:
        return capture.simulated
    said = (getattr(one.message, "simulated", None) for one in open_capture(capture))
    return next((word for word in said if isinstance(word, bool)), None)


def _datagram(data: bytes) -> Frame | Garbage:
    try:
        return decode_frame(data)
    except BadFrame as error:
        return Garbage(FrameFault(str(error).partition(":")[0]), data[:GARBAGE_SAMPLE], len(data))


def _sessions(capture: Capture) -> Iterator[_Session]:
    """Every session whose keys stand in the capture; a set of keys with other names is left alone."""
    numbered = ((entry, one) for entry, one in enumerate(capture.entries) if isinstance(one, SessionKeys))
    for number, (entry, noted) in enumerate(numbered):
        keys = [_key(noted.keys.get(name, "")) for name in ("to_pump", "from_pump")]
        if all(keys):
            yield _Session(number, entry, *(Aead(Secret(key)) for key in keys))


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return b""
    return key if len(key) == KEY_SIZE else b""


def _believed(base: OpenedFrame, said: Mapping[str, object], plane: Plane) -> OpenedFrame:
    """A frame that nobody can open any more, by what the recorder saw in it."""
    try:
        message = restore(said)
        payload = encode(message)
        decode(payload, plane=plane)
    except (UsageError, BadPayload) as error:
        return replace(base, how=How.RECORDED, shut=Shut.BAD_MESSAGE, detail=f"as recorded: {error}")
    return replace(base, message=message, payload=payload, how=How.RECORDED)

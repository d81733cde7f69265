"""A virtual pump that remembers what travelled to and from it, opened and named."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload
from telemetry.link import frame_in
from telemetry.protocol.codec import decode
from telemetry.protocol.records import decode_record
from telemetry.protocol.wire import FrameType
from telemetry.sim.connector import station_of
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.faults import Direction
from telemetry.transport.wrappers import Wrapper

if TYPE_CHECKING:
    from telemetry.errors import LinkClosedError
    from telemetry.protocol.frame import Frame
    from telemetry.sim.telemeter import Telemeter
    from telemetry.transport.base import Receiver, Transport

KEPT_FRAMES = 1_000
_TELEMETER = frozenset({FrameType.TELEMETER_REQ, FrameType.TELEMETER_RSP, FrameType.TELEMETER_EVENT})


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """One frame on a link to the pump's telemeter, or one that a fault kept off it.

    ``at_ms`` is link time; ``direction`` is ``tx`` from the programmer, ``rx`` to it, None where a link begins or
    ends; ``name`` the message's, or the frame's where nothing could be opened; ``message`` the opened message or
    handshake record. ``link`` counts the links to this pump from 1, 0 where a fault struck; ``note`` says what a
    fault did, or what became of a link.
    """

    at_ms: int
    link: int
    direction: Direction | None
    name: str
    message: object | None = None
    note: str = ""


class WatchedPump(VirtualPump):
    """A ``VirtualPump`` that keeps the newest ``KEPT_FRAMES`` frames of every link to its telemeter."""

    _seen: deque[SeenFrame]
    _links: int

    @property
    def frames(self) -> tuple[SeenFrame, ...]:
        """What travelled so far, oldest first, by whichever programmer; sealed frames opened."""
        return tuple(self._log())

    @property
    def telemeter(self) -> Telemeter:
        """The telemeter over this pump: ``lift()`` takes it away, ``place(bars)`` puts it back."""
        return station_of(self).telemeter

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to the telemeter lying over this pump, watched."""
        self._log()
        self._links += 1
        watch = _Watch(self, self._links)
        watch.bind(receiver)
        watch.attach(await super().open_link(watch))
        return watch

    def note(self, frame: SeenFrame) -> None:
        """Remember a frame, or what happened to one."""
        self._log().append(frame)

    def look_into(self, link: int, direction: Direction, data: bytes, note: str = "") -> SeenFrame:
        """Name and open the bytes of one datagram, without effect on any session."""
        at_ms = self.clock.link_ms()
        frame = frame_in(data)
        if frame is None:
            return SeenFrame(at_ms, link, direction, f"{len(data)} bytes that are no frame", None, note)
        message = self._open(frame)
        name = frame.type.name if message is None else type(message).__name__
        return SeenFrame(at_ms, link, direction, name, message, note)

    def _log(self) -> deque[SeenFrame]:
        # Made when first needed: a restored pump comes to be without __init__.
        try:
            return self._seen
        except AttributeError:
            self._seen = deque(maxlen=KEPT_FRAMES)
            self._links = 0
            return self._seen

    def _open(self, frame: Frame) -> object | None:
        try:
            if frame.type in _TELEMETER:
                return decode(frame.body)
            if frame.type in {FrameType.REQ, FrameType.RSP}:
                return station_of(self).firmware.channel.peek(frame)
            return _handshake(frame)
        except BadPayload:
            return None


def _handshake(frame: Frame) -> object:
    if frame.type is FrameType.PROBE:
        return decode_record("probe", frame.body)
    if frame.type is FrameType.BEACON:
        return decode_record("beacon", frame.body)
    if frame.type is FrameType.HELLO:
        return decode_record("hello", frame.body)
    return decode_record("accept", frame.body)


class _Watch(Wrapper):
    """Shows the pump everything that passes, both ways, and changes nothing."""

    def __init__(self, pump: WatchedPump, link: int) -> None:
        super().__init__()
        self._pump = pump
        self._link = link

    def attach(self, down: Transport) -> None:
        """Note that the link is open."""
        super().attach(down)
        self._event("opened")

    def write(self, data: bytes) -> None:
        """Note, then pass on."""
        below = self._below()
        self._pump.note(self._pump.look_into(self._link, Direction.TX, data))
        below.write(data)

    def data_received(self, data: bytes) -> None:
        """Note, then pass on."""
        self._pump.note(self._pump.look_into(self._link, Direction.RX, data))
        super().data_received(data)

    def _ended(self, reason: LinkClosedError | None) -> None:
        self._event("closed" if reason is None else str(reason))

    def _event(self, what: str) -> None:
        self._pump.note(SeenFrame(self._pump.clock.link_ms(), self._link, None, "link", None, what))

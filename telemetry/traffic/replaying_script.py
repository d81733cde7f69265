"""A capture as a script: sessions, and in each the requests with their answers, retransmissions folded into one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, UsageError
from telemetry.link import LAYOUT
from telemetry.model import Role
from telemetry.protocol.channel import Direction as Way
from telemetry.protocol.codec import decode_record
from telemetry.protocol.credentials import PUMP_ID_SIZE
from telemetry.protocol.messages import AcceptPayload, ContactEvent, Identity, TelemeterReport
from telemetry.protocol.plain import restore_record
from telemetry.protocol.wire import BY_NAME, FrameType
from telemetry.traffic.opening import Shut, open_capture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.protocol.messages import Message
    from telemetry.traffic.opening import OpenedFrame
    from telemetry.transport.capture import Capture

NO_PUMP = b"REPLAYED"
"""Identifier of a pump whose capture says none."""
_SEALED = (FrameType.REQ, FrameType.RSP)


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``lost`` counts the times it was sent and the answer did not arrive.

    ``answer`` is None when none was recorded; ``took_ms`` is from the last sending to the answer. Lines are the
    capture's.
    """

    number: int
    session: int
    line: int
    at_ms: int
    request: Message
    answer: Message | None = None
    answer_line: int | None = None
    took_ms: int = 0
    lost: int = 0

    @property
    def name(self) -> str:
        """The request's name."""
        return type(self.request).__name__

    @property
    def harmless(self) -> bool:
        """Whether asking again changes nothing and stands in no transaction."""
        spec = BY_NAME[self.name]
        return spec.idempotent and not spec.changes_therapy and spec.name.startswith("Read")


@dataclass(slots=True)
class Session:
    """One session: whose it was and what the pump said of itself, where the recorder knew."""

    number: int
    link: int
    role: Role = Role.CLINICIAN
    accept: AcceptPayload | None = None
    keys: int | None = None


@dataclass(slots=True)
class Script:
    """What is played. ``events`` come after the exchange whose number they carry (-1: before any)."""

    source: str
    simulated: bool | None
    sessions: list[Session] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    telemeter: list[TelemeterReport] = field(default_factory=list)
    events: list[tuple[int, ContactEvent]] = field(default_factory=list)
    unopened: Counter[Shut] = field(default_factory=Counter)
    torn: int | None = None

    @property
    def pump_id(self) -> bytes:
        """Identifier of the recorded pump."""
        return next(iter(self._pump_ids()), NO_PUMP)

    @property
    def changes(self) -> list[Exchange]:
        """The requests that change therapy."""
        return [one for one in self.exchanges if BY_NAME[one.name].changes_therapy]

    def _pump_ids(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for session in self.sessions:
            if session.accept is not None:
                found.setdefault(session.accept.pump_id, session.link)
        for exchange in self.exchanges:
            if isinstance(exchange.answer, Identity):
                found.setdefault(exchange.answer.pump_id, self.sessions[exchange.session].link)
        return found


def script_of(capture: Capture, source: str, *, link: int | None = None) -> Script:
    """Make the script of a capture, or of one of its links.

    Raises ``UsageError`` when there is nothing to play: another wire table, no such link, sealed frames that nothing
    opens, no request at all, or the traffic of several pumps.
    """
    refuse_other_layout(capture, source)
    script = Script(source, capture.simulated, torn=capture.torn)
    reader = _Reader(script)
    links = set()
    for frame in open_capture(capture):
        links.add(frame.link)
        if link is None or frame.link == link:
            reader.take(frame)
    if link is not None and link not in links:
        known = ", ".join(map(str, sorted(links))) or "none"
        raise UsageError(f"{source}: there is no link {link} with a frame on it; the capture has {known}")
    if not script.exchanges:
        sealed = sum(script.unopened[one] for one in (Shut.NO_KEYS, Shut.WRONG_KEYS))
        raise UsageError(
            f"{source}: none of its {sealed} sealed frames can be opened; record at the driver or at the simulator "
            "(?record=FILE in its URL), where the session's keys are known"
            if sealed
            else f"{source}: it holds no request to a pump, so there is nothing to play"
        )
    pumps = script._pump_ids()  # noqa: SLF001 - one module
    if len(pumps) > 1:
        where = ", ".join(f"{one.hex()} on link {number}" for one, number in pumps.items())
        raise UsageError(f"{source}: it holds the traffic of {len(pumps)} pumps ({where}); choose a link")
    return script


def refuse_other_layout(capture: Capture, source: str) -> None:
    """Raise ``UsageError`` for a capture whose messages are laid out by another wire table."""
    if capture.layout not in (None, LAYOUT):
        raise UsageError(
            f"{source}: its messages are laid out by the wire table {capture.layout}, ours is {LAYOUT}; use the "
            f"release that recorded it ({capture.tool})"
        )


class _Reader:
    """Takes frames in their order and adds what they mean to the script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._session: dict[int, Session] = {}
        self._last: dict[int, tuple[int, Exchange]] = {}
        self._role: dict[int, Role] = {}
        self._accepts: dict[int, bytes] = {}
        self._sent_ms: dict[int, int] = {}

    def take(self, frame: OpenedFrame) -> None:
        if frame.frame is None:
            self._script.unopened[Shut.NO_FRAME] += 1
        elif frame.type is FrameType.HELLO:
            self._hello(frame)
        elif frame.type is FrameType.ACCEPT:
            self._accept(frame)
        elif frame.type in _SEALED:
            self._sealed(frame)
        elif isinstance(frame.message, TelemeterReport):
            self._script.telemeter.append(frame.message)
        elif isinstance(frame.message, ContactEvent):
            self._script.events.append((len(self._script.exchanges) - 1, frame.message))

    def _hello(self, frame: OpenedFrame) -> None:
        try:
            self._role[frame.link] = decode_record("hello", frame.frame.body if frame.frame else b"").want_role
        except BadPayload:
            self._script.unopened[Shut.BAD_MESSAGE] += 1

    def _accept(self, frame: OpenedFrame) -> None:
        body = frame.frame.body if frame.frame is not None else b""
        if self._accepts.get(frame.link) == body:
            return  # the pump's answer to a repeated HELLO
        self._accepts[frame.link] = body
        session = self._begin(frame)
        session.accept = accept_recorded(frame.recorded)

    def _begin(self, frame: OpenedFrame) -> Session:
        script = self._script
        session = Session(len(script.sessions), frame.link, self._role.get(frame.link, Role.CLINICIAN))
        script.sessions.append(session)
        self._session[frame.link] = session
        self._last.pop(frame.link, None)
        return session

    def _sealed(self, frame: OpenedFrame) -> None:
        if frame.message is None or frame.counter is None:
            self._script.unopened[frame.shut or Shut.NO_KEYS] += 1
            return
        session = self._session.get(frame.link)
        if session is None or (frame.session is not None and session.keys not in (None, frame.session)):
            session = self._begin(frame)  # the capture begins in the midst of one, or its ACCEPT was lost
        if frame.session is not None:
            session.keys = frame.session
        last = self._last.get(frame.link)
        if frame.way is Way.TO_PUMP:
            self._request(frame, session, last, frame.message)
        elif last is not None and last[0] == frame.counter:
            self._answer(frame, last[1], frame.message)

    def _request(
        self, frame: OpenedFrame, session: Session, last: tuple[int, Exchange] | None, message: Message
    ) -> None:
        self._sent_ms[frame.link] = frame.at_ms
        if last is not None and last[0] == frame.counter and last[1].request == message:
            last[1].lost += 1
            return
        exchanges = self._script.exchanges
        exchange = Exchange(len(exchanges), session.number, frame.entry + 2, frame.at_ms, message)
        exchanges.append(exchange)
        self._last[frame.link] = (frame.counter or 0, exchange)

    def _answer(self, frame: OpenedFrame, exchange: Exchange, message: Message) -> None:
        if exchange.answer is None:
            exchange.answer, exchange.answer_line = message, frame.entry + 2
            exchange.took_ms = max(0, frame.at_ms - self._sent_ms.get(frame.link, frame.at_ms))


def accept_recorded(recorded: Mapping[str, object] | None) -> AcceptPayload | None:
    """What an ACCEPT said, as its recorder wrote it beside the frame; None where it did not, or not readably."""
    if recorded is None:
        return None
    try:
        found = restore_record("accept_payload", recorded)
    except UsageError:
        return None
    return found if isinstance(found, AcceptPayload) and len(found.pump_id) == PUMP_ID_SIZE else None

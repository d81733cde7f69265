"""The programmer's end of the secure channel: one session attempt, from PROBE to CLOSE.

Every step is the same stop-and-wait exchange: PROBE/BEACON, HELLO/ACCEPT, REQ/RSP. What arrives and does not fit is
ignored and counted; only time, or an answer that opens, ends a step.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from telemetry.errors import (
    BadPayload,
    LinkClosedError,
    LinkError,
    LinkTimeout,
    NotAccepted,
    OutOfTurn,
    PeerError,
    SecurityError,
    TelemetryError,
    UsageError,
    WrongDialect,
)
from telemetry.protocol.channel_types import (
    Answered,
    ChannelEvent,
    Closed,
    CloseReason,
    Direction,
    Failed,
    Monotonic,
    Opened,
    draw,
)
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.credentials import role_within
from telemetry.protocol.exchange import MS_PER_SECOND, Action, Exchange, LinkPolicy
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.handshake import PROBE_ID_SIZE, ProgrammerHandshake, wake_tag
from telemetry.protocol.messages import Close, HelloPayload, Message, Probe
from telemetry.protocol.messages import Closed as CloseAnswer
from telemetry.protocol.primitives import same
from telemetry.protocol.session import SealedSession, SessionKeys, counter_of, read_message
from telemetry.protocol.wire import (
    BY_NAME,
    FRAME_CRC,
    FRAME_HEADER,
    HANDSHAKE,
    LAYOUT_FINGERPRINT,
    MAX_COUNTER,
    PROTOCOL_MAJOR,
    SUITE_NOISE_KKPSK0,
    BeaconFlag,
    FrameType,
    Intent,
    Plane,
)

if TYPE_CHECKING:
    from telemetry.model import Role
    from telemetry.protocol.channel_types import Entropy, Tap
    from telemetry.protocol.credentials import Credential
    from telemetry.protocol.messages import AcceptPayload, Beacon
    from telemetry.protocol.noise import TransportKeys

OPERATOR_REF_SIZE = 8
BUILD = 1
"""Number of this driver's build in HELLO; the pump logs it and never acts on it."""
_FRAME_OVERHEAD = FRAME_HEADER.size + FRAME_CRC.size
_BEACON_FRAME = _FRAME_OVERHEAD + sum(field.size for field in HANDSHAKE["beacon"])
_ACCEPT_FRAME = _FRAME_OVERHEAD + sum(field.size for field in HANDSHAKE["accept"])


class _Phase(Enum):
    NEW = "not opened"
    PROBING = "waiting for a BEACON"
    GREETING = "waiting for ACCEPT"
    OPEN = "open"
    OVER = "over"


class ProgrammerChannel:
    """One session of one credential, sans-IO.

    After ``open`` or ``request``: send what ``take_frames`` gives, hand in what arrives with ``receive``, call
    ``tick`` by ``next_deadline_ms``, and look at ``take_events`` after each. ``operator_ref`` is 8 opaque bytes for
    the pump's log, ``utc_s`` the programmer's clock, which the pump logs and does not trust. Raises ``UsageError``
    for a wanted role beyond the credential's, a reference that is not 8 bytes or a time outside 64 bits.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        want_role: Role,
        entropy: Entropy,
        utc_s: int,
        operator_ref: bytes = bytes(OPERATOR_REF_SIZE),
        emergency: bool = False,
        policy: LinkPolicy | None = None,
        tap: Tap | None = None,
    ) -> None:
        if not role_within(want_role, credential.role):
            raise UsageError(
                f"want_role: {want_role.value} is more than the credential's role {credential.role.value}; "
                f"a session may ask for less, never for more"
            )
        self._credential = credential
        self._want_role = want_role
        self._entropy = entropy
        self._hello_payload = HelloPayload(operator_ref, utc_s, LAYOUT_FINGERPRINT, BUILD, 0)
        encode_record("hello_payload", self._hello_payload)  # refuses a bad reference or time now, not mid-handshake
        self._intent = Intent.EMERGENCY if emergency else Intent.NORMAL
        self._tap = tap
        self._time = Monotonic()
        self._phase = _Phase.NEW
        self._exchange = Exchange(policy)
        self._frames: list[bytes] = []
        self._events: list[ChannelEvent] = []
        self._probe = b""
        self._beacon: Beacon | None = None
        self._strangers = 0
        self._handshake: ProgrammerHandshake | None = None
        self._sealed: SealedSession | None = None
        self.accepted: AcceptPayload | None = None
        """What the pump said of itself when the session opened."""
        self._counter = 0
        self._request: Message | None = None
        self._request_taken = False
        self._hello_at_ms = self._active_ms = 0
        self._idle_ms = self._limit_ms = 0
        self.ignored = 0
        """Frames that did not fit where they arrived: noise, repeats, forgeries, other people's."""

    # --- what the driver does ----------------------------------------------------------------------------------------

    def open(self, now_ms: int) -> None:
        """Send PROBE and go on to the session by itself. Raises ``OutOfTurn`` the second time."""
        self._time.advance(now_ms)
        if self._phase is not _Phase.NEW:
            raise OutOfTurn("the channel was opened before; one channel is one session attempt, make a new one")
        probe = Probe(
            max_version=PROTOCOL_MAJOR,
            min_version=PROTOCOL_MAJOR,
            intent=int(self._intent),
            suites=1 << SUITE_NOISE_KKPSK0,
            probe_id=draw(self._entropy, PROBE_ID_SIZE),
        )
        self._probe = encode_record("probe", probe)
        self._phase = _Phase.PROBING
        self._ask(FrameType.PROBE, self._probe, now_ms, _BEACON_FRAME)

    def request(self, message: Message, now_ms: int) -> None:
        """Seal and send one request; its answer comes as ``Answered`` or ``Failed``.

        Raises ``OutOfTurn`` while no session is open or another request is outstanding, ``UsageError`` for a
        message that is no request or does not fit its layout; nothing is sent then. A session that has run out by
        the pump's timers gives ``Failed`` with ``sent=False``.
        """
        self.tick(now_ms)
        if self._ran_out():
            self._events.append(
                Failed(LinkClosedError("the session ran out before the request; open a new one (nothing was sent)"))
            )
            return
        sealed = self._sealed
        if self._phase is not _Phase.OPEN or sealed is None:
            raise OutOfTurn(f"no session is open (the channel is {self._phase.value})")
        if self._request is not None:
            raise OutOfTurn(f"{type(self._request).__name__} is outstanding; one request at a time")
        spec = BY_NAME.get(type(message).__name__)
        if spec is None or spec.plane is not Plane.REQUEST:
            raise UsageError(f"{type(message).__name__} is no request to a pump")
        body = sealed.seal(self._counter, message)
        self._request, self._request_taken = message, False
        self._active_ms = now_ms
        self._ask(FrameType.REQ, body, now_ms, message=message)

    def link_lost(self, error: LinkError) -> None:
        """The link under the channel is gone: ends it with ``Failed(error)``, or does nothing when it is over."""
        if self._phase is not _Phase.OVER:
            self._fail(error)

    def take_frames(self) -> list[bytes]:
        """Encoded frames to send now, in order. What was taken counts as sent."""
        frames, self._frames = self._frames, []
        if frames and self._request is not None:
            self._request_taken = True
        return frames

    def take_events(self) -> list[ChannelEvent]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def next_deadline_ms(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        if self._phase is _Phase.OPEN and self._request is None:
            return self._expiry()[0]
        return self._exchange.due_ms

    def peek(self, frame: Frame) -> Message | None:
        """Open a REQ or RSP of the session on trial, either direction; changes nothing. For fault classifiers."""
        return self._sealed.peek(frame) if self._sealed is not None else None

    def export_keys(self) -> SessionKeys | None:
        """The session's keys for a capture, None without one; raises ``SecurityError`` without the test bit."""
        if self._sealed is None or self._beacon is None:
            return None
        if not self._beacon.flags & BeaconFlag.TEST_DEVICE:
            raise SecurityError("session keys are exported from test devices only, and this pump has no test bit")
        return self._sealed.export()

    # --- time --------------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Let time pass: repeats what is unanswered, gives up, ends a session that the pump has let go by now.

        Raises ``UsageError`` when ``now_ms`` lies before the last one.
        """
        self._time.advance(now_ms)
        action = self._exchange.tick(now_ms)
        if action is Action.RESEND:
            held = self._exchange.held
            if self._tap is not None:
                frame = Frame(FrameType(held[0] & 0x0F), 0, held[FRAME_HEADER.size : -FRAME_CRC.size])
                self._tap(Direction.TO_PUMP, frame, self._request)
            self._frames.append(held)
        elif action is Action.FAIL:
            self._fail(self._silence())
        elif self._phase is _Phase.OPEN and self._request is None:
            expiry_ms, reason = self._expiry()
            if now_ms >= expiry_ms:
                self._close(reason)

    def _expiry(self) -> tuple[int, CloseReason]:
        """When the pump lets the session go, by our count, which starts before the pump's and so never ends after."""
        idle_ms, limit_ms = self._active_ms + self._idle_ms, self._hello_at_ms + self._limit_ms
        return (idle_ms, CloseReason.IDLE) if idle_ms <= limit_ms else (limit_ms, CloseReason.SESSION_LIMIT)

    def _ran_out(self) -> bool:
        """Whether an open session was ended by its timers or its counter, and not by a failure or CLOSE."""
        return self._phase is _Phase.OVER and self._ended_by in (
            CloseReason.IDLE,
            CloseReason.SESSION_LIMIT,
            CloseReason.COUNTER,
        )

    _ended_by: CloseReason | None = None

    def _silence(self) -> TelemetryError:
        if self._phase is _Phase.GREETING:
            return NotAccepted(
                f"the pump answered but did not accept the credential of slot {self._credential.slot} "
                f"({self._credential.role.value}); it gives no reason"
            )
        if self._phase is _Phase.PROBING and self._strangers:
            return NotAccepted("a pump answered, but not the one of this credential (its wake tag does not resolve)")
        if self._phase is _Phase.PROBING:
            return LinkTimeout(f"no pump answered ({self._exchange.attempts} tries): is the telemeter over the pump?")
        return LinkTimeout(
            f"no answer to {type(self._request).__name__} ({self._exchange.attempts} tries, identical frames)"
        )

    # --- frames ------------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now_ms: int) -> None:
        """Take one decoded frame. Raises ``UsageError`` when ``now_ms`` lies before the last one, else nothing."""
        self._time.advance(now_ms)
        if frame.type is FrameType.RSP:
            self._rsp(frame, now_ms)
            return
        if self._tap is not None:
            self._tap(Direction.FROM_PUMP, frame, None)
        if frame.type is FrameType.BEACON and self._phase is _Phase.PROBING:
            self._first_beacon(frame.body, now_ms)
        elif frame.type is FrameType.BEACON and self._phase is _Phase.GREETING:
            self._second_beacon(frame.body)
        elif frame.type is FrameType.ACCEPT and self._phase is _Phase.GREETING:
            self._accept(frame.body, now_ms)
        else:
            self.ignored += 1

    def _read_beacon(self, body: bytes) -> Beacon | None:
        """A BEACON that answers our PROBE, or None."""
        try:
            beacon = decode_record("beacon", body)
        except BadPayload:
            return None
        return beacon if beacon.probe_id == self._probe[-PROBE_ID_SIZE:] else None

    def _first_beacon(self, body: bytes, now_ms: int) -> None:
        beacon = self._read_beacon(body)
        if beacon is None:
            self.ignored += 1
            return
        refusal = self._refusal_of(beacon)
        if refusal is not None:
            self._fail(refusal)
            return
        if not same(wake_tag(self._credential.find_key, beacon.challenge), beacon.wake_tag):
            self._strangers += 1  # another pump, or altered bytes: ours may still answer
            self.ignored += 1
            return
        self._beacon = beacon
        self._handshake = ProgrammerHandshake(
            self._credential, self._want_role, self._probe, body, self._hello_payload, self._entropy
        )
        self._exchange.answered()
        self._phase = _Phase.GREETING
        self._hello_at_ms = now_ms
        self._ask(FrameType.HELLO, self._handshake.hello, now_ms, _ACCEPT_FRAME)

    def _refusal_of(self, beacon: Beacon) -> TelemetryError | None:
        """Why we cannot go on with this BEACON, if so."""
        test_device = bool(beacon.flags & BeaconFlag.TEST_DEVICE)
        if beacon.version != PROTOCOL_MAJOR or beacon.suite != SUITE_NOISE_KKPSK0:
            spoken = beacon.suite if beacon.version == 0 else beacon.version
            age = "old" if spoken > PROTOCOL_MAJOR else "new"
            return WrongDialect(
                f"no common version: the pump speaks ITP/{spoken}, this programmer ITP/{PROTOCOL_MAJOR} with suite "
                f"{SUITE_NOISE_KKPSK0}; the programmer is too {age} for it"
            )
        if beacon.flags & BeaconFlag.BUSY:
            return _in_use(beacon)
        if beacon.flags & BeaconFlag.THROTTLED:
            return LinkError(f"the pump is saving its battery; try again in about {beacon.wait_s} s")
        if test_device and not self._credential.test:
            return SecurityError("the pump is a test device, and this is no test credential")
        if self._credential.test and not test_device:
            return SecurityError("the pump is no test device, and this is the published test credential")
        return None

    def _second_beacon(self, body: bytes) -> None:
        """While waiting for ACCEPT only one BEACON means something: the pump saying that another slot has it."""
        beacon = self._read_beacon(body)
        ours = beacon is not None and self._beacon is not None and beacon.challenge == self._beacon.challenge
        if beacon is not None and ours and beacon.flags & BeaconFlag.BUSY:
            self._fail(_in_use(beacon))
        else:
            self.ignored += 1

    def _accept(self, body: bytes, now_ms: int) -> None:
        if self._handshake is None:  # pragma: no cover - a mistake of ours
            raise AssertionError("waiting for ACCEPT without a handshake")
        try:
            payload, keys = self._handshake.accept(body)
        except BadPayload as error:
            self._fail(WrongDialect(f"the pump's ACCEPT is laid out otherwise than ours: {error}"))
        except PeerError:
            self.ignored += 1  # forged or damaged: the true one may still come
        else:
            refusal = self._disagreement(payload)
            if refusal is not None:
                self._fail(refusal)
            else:
                self._opened(payload, keys, now_ms)

    def _disagreement(self, payload: AcceptPayload) -> TelemetryError | None:
        if payload.layout_fingerprint != LAYOUT_FINGERPRINT:
            return WrongDialect(
                f"layout fingerprint: the pump's is {payload.layout_fingerprint:08x}, ours {LAYOUT_FINGERPRINT:08x}; "
                f"both ends must be built from the same wire table"
            )
        known = self._credential.pump_id
        if known is not None and payload.pump_id != known:
            return PeerError("the pump answers with the keys of this credential and another pump_id; re-issue the card")
        if payload.role is not self._want_role:
            return PeerError(f"role in force: {payload.role.value}, asked for {self._want_role.value}")
        return None

    def _opened(self, payload: AcceptPayload, keys: TransportKeys, now_ms: int) -> None:
        self._exchange.answered()
        self._sealed = SealedSession(keys, pump=False)
        self.accepted = payload
        self._phase = _Phase.OPEN
        self._active_ms = self._hello_at_ms
        self._idle_ms, self._limit_ms = payload.idle_s * MS_PER_SECOND, payload.session_s * MS_PER_SECOND
        self._events.append(Opened(payload))
        self.tick(now_ms)

    def _rsp(self, frame: Frame, now_ms: int) -> None:
        sealed, request = self._sealed, self._request
        padded = None
        if sealed is not None and request is not None and counter_of(frame.body) == self._counter:
            padded = sealed.open(self._counter, frame.body)
        if padded is None or request is None:
            self.ignored += 1
            if self._tap is not None:
                self._tap(Direction.FROM_PUMP, frame, self.peek(frame))
            return
        message = read_message(padded, Plane.ANSWER)
        if self._tap is not None:
            self._tap(Direction.FROM_PUMP, frame, None if isinstance(message, BadPayload) else message)
        self._answered(request, message, now_ms)

    def _answered(self, request: Message, message: Message | BadPayload, now_ms: int) -> None:
        if isinstance(message, BadPayload):
            self._fail(message)
            return
        name = type(message).__name__
        if name != "Refusal" and name not in BY_NAME[type(request).__name__].replies:
            self._fail(OutOfTurn(f"the pump answered {name} to {type(request).__name__}"))
            return
        self._exchange.answered()
        self._request = None
        self._counter += 1
        self._events.append(Answered(message))
        if isinstance(request, Close) and isinstance(message, CloseAnswer):
            self._close(CloseReason.CLOSED)
        elif self._counter > MAX_COUNTER:
            self._close(CloseReason.COUNTER)
        else:
            self.tick(now_ms)

    # --- common ------------------------------------------------------------------------------------------------------

    def _ask(
        self, kind: FrameType, body: bytes, now_ms: int, answer_bytes: int | None = None, message: Message | None = None
    ) -> None:
        frame = Frame(kind, 0, body)
        if self._tap is not None:
            self._tap(Direction.TO_PUMP, frame, message)
        data = encode_frame(frame)
        if answer_bytes is None:
            self._exchange.ask(data, now_ms)
        else:
            self._exchange.ask(data, now_ms, answer_bytes)
        self._frames.append(data)

    def _fail(self, error: TelemetryError) -> None:
        sent = self._request is not None and self._request_taken
        self._over()
        self._events.append(Failed(error, sent=sent))

    def _close(self, reason: CloseReason) -> None:
        self._over()
        self._ended_by = reason
        self._events.append(Closed(reason))

    def _over(self) -> None:
        self._phase = _Phase.OVER
        self._exchange.end()
        self._request = None
        self._frames.clear()


def _in_use(beacon: Beacon) -> LinkError:
    return LinkError(f"the pump is in use by another programmer; it is free again in at most {beacon.wait_s} s")

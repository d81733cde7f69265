"""The pump's end of the secure channel (trust.md 4.3 to 4.8, protocol.md Decided 9 to 12).

An idle pump answers PROBE and nothing else. Behind a PROBE stands one challenge, good for one HELLO within 5 s;
behind a right gate MAC stands one Diffie-Hellman; behind that one session. Whatever does not fit is dropped and
counted, without a sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, PeerError, SecurityError, UsageError
from telemetry.model import Role
from telemetry.protocol.channel_types import CloseReason, Counters, Direction, Monotonic, SessionInfo, draw
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.credentials import SLOTS, Slot, is_test_slot, role_within
from telemetry.protocol.exchange import MS_PER_SECOND, Action, Exchange
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.handshake import (
    CHALLENGE_ENTROPY,
    CHALLENGE_SIZE,
    WAKE_TAG_SIZE,
    PumpHandshake,
    challenge,
    hedged_ephemeral,
    token_secret,
    wake_tag,
)
from telemetry.protocol.messages import AcceptPayload, Beacon, Close, Closed, Hello, HelloPayload, Message, Probe
from telemetry.protocol.primitives import KEY_SIZE, Secret
from telemetry.protocol.session import SealedSession, SessionKeys, counter_of, read_message
from telemetry.protocol.wire import (
    FRAME_CRC,
    FRAME_HEADER,
    LAYOUT_FINGERPRINT,
    MAX_COUNTER,
    PROTOCOL_MAJOR,
    SUITE_NOISE_KKPSK0,
    BeaconFlag,
    FrameType,
    Plane,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry.protocol.channel_types import AcceptFacts, Entropy, Tap
    from telemetry.protocol.credentials import PumpSecrets

CHALLENGE_MS = 5_000
IDLE_S = 30
SESSION_S = 600
"""trust.md 4.7."""
MAX_BAD_TAGS = 16
"""The 16th frame with a wrong tag closes the session (trust.md 4.6)."""
_SUITE_BIT = 1 << SUITE_NOISE_KKPSK0
_LONGEST_WAIT_S = 255
_NOBODY = Slot(SLOTS, Role.OBSERVER, bytes(KEY_SIZE), Secret(bytes(KEY_SIZE)), Secret(bytes(KEY_SIZE)))
"""Stands in for a slot that does not exist, so that an unknown slot costs what a wrong gate MAC costs."""


@dataclass(slots=True)
class _Offer:
    """One challenge: what was asked, what was answered, when, and what a HELLO got for it."""

    probe: bytes
    beacon: Beacon
    body: bytes
    frame: bytes
    issued_ms: int
    wake_ctr: int
    hello: bytes = b""
    answer: bytes = b""


class _Session:
    """A session in force, or one that ended by CLOSE or counter and still answers the identical repeat."""

    __slots__ = ("bad_tags", "confirmed", "exchange", "expected", "info", "offer", "sealed")

    def __init__(self, info: SessionInfo, sealed: SealedSession, offer: _Offer) -> None:
        self.info = info
        self.offer = offer
        self.sealed = sealed
        self.exchange = Exchange()
        self.expected = 0
        self.bad_tags = 0
        self.confirmed = False


class PumpChannel:
    """One pump's channel; ``receive`` takes a decoded frame and returns the encoded frames to send, at most one.

    ``facts(slot number)`` gives what ACCEPT reports; ``serve(session, request)`` does a request and returns its
    answer (for a ``BadPayload`` a ``Refusal``). ``boot_epoch`` must rise with every restart, or challenges would
    repeat (INV-9). ``on_session_opened`` is called at the first authentic request, which proves that the programmer
    has the keys; ``on_session_closed`` with the reason for every such session; ``on_authentication_failed`` with
    the slot number when a gate was right and Noise was not. Raises ``SecurityError`` when the published test card
    is among the slots and ``test_device`` is False, ``UsageError`` for two slots of one number.
    """

    def __init__(  # noqa: PLR0913 - each is injected on purpose
        self,
        secrets: PumpSecrets,
        slots: Iterable[Slot],
        entropy: Entropy,
        *,
        facts: Callable[[int], AcceptFacts],
        serve: Callable[[SessionInfo, Message | BadPayload], Message],
        boot_epoch: int = 0,
        test_device: bool = True,
        on_session_opened: Callable[[SessionInfo], None] | None = None,
        on_session_closed: Callable[[SessionInfo, str], None] | None = None,
        on_authentication_failed: Callable[[int], None] | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._secrets = secrets
        self._slots = _by_number(slots, test_device=test_device)
        self._entropy = entropy
        self._facts = facts
        self._serve = serve
        self._boot_epoch = boot_epoch
        self._flags = BeaconFlag.TEST_DEVICE if test_device else BeaconFlag.NONE
        self._on_opened = on_session_opened
        self._on_closed = on_session_closed
        self._on_authentication_failed = on_authentication_failed
        self._tap = tap
        self._time = Monotonic()
        self._wake_ctr = 0
        self._offer: _Offer | None = None
        self._session: _Session | None = None
        self._ended: _Session | None = None
        self.accepted: AcceptPayload | None = None
        """What we said of ourselves in the ACCEPT sent last."""
        self.counters = Counters()

    # --- what the firmware sees --------------------------------------------------------------------------------------

    @property
    def session(self) -> SessionInfo | None:
        """The session in force."""
        return self._session.info if self._session is not None else None

    def end_session(self, reason: str) -> None:
        """End session, handshake and cached answers at once (contact lost, jump of therapy time, reset)."""
        self._offer = None
        self._close(reason)
        self._ended = None

    def next_deadline_ms(self) -> int | None:
        """When ``tick`` has something to do, or None."""
        return self._expiry(self._session.info)[0] if self._session is not None else None

    def tick(self, now_ms: int) -> None:
        """Let time pass: ends a session that was idle for 30 s or open for 10 min."""
        self._time.advance(now_ms)
        if self._session is not None:
            expiry_ms, reason = self._expiry(self._session.info)
            if now_ms >= expiry_ms:
                self._close(reason)
        if self._ended is not None and now_ms >= self._ended.info.last_activity_ms + IDLE_S * MS_PER_SECOND:
            self._ended = None

    def peek(self, frame: Frame) -> Message | None:
        """Open a REQ or RSP of the session on trial, either direction; changes nothing. For fault classifiers."""
        session = self._session or self._ended
        return session.sealed.peek(frame) if session is not None else None

    def export_keys(self) -> SessionKeys | None:
        """The session's keys for a capture, None without one; raises ``SecurityError`` without the test bit."""
        if not self._flags & BeaconFlag.TEST_DEVICE:
            raise SecurityError("session keys are exported from test devices only, and this pump has no test bit")
        session = self._session or self._ended
        return session.sealed.export() if session is not None else None

    # --- frames ------------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now_ms: int) -> list[bytes]:
        """Take one frame; returns what to send back, already encoded: one frame or none.

        Raises ``UsageError`` when ``now_ms`` lies before the last one; never anything for what a frame holds.
        """
        self.tick(now_ms)
        if frame.type is FrameType.REQ:
            answer = self._request(frame, now_ms)
        else:
            self._show(Direction.TO_PUMP, frame, None)
            if frame.type is FrameType.PROBE:
                answer = self._probe(frame.body, now_ms)
            elif frame.type is FrameType.HELLO:
                answer = self._hello(frame.body, now_ms)
            else:
                self.counters.garbage += 1
                answer = None
        return [] if answer is None else [answer]

    def _show(self, direction: Direction, frame: Frame, message: Message | None) -> None:
        if self._tap is not None:
            self._tap(direction, frame, message)

    def _send(self, kind: FrameType, body: bytes, message: Message | None = None) -> bytes:
        frame = Frame(kind, 0, body)
        self._show(Direction.FROM_PUMP, frame, message)
        return encode_frame(frame)

    # --- PROBE -------------------------------------------------------------------------------------------------------

    def _probe(self, body: bytes, now_ms: int) -> bytes | None:
        try:
            probe = decode_record("probe", body)
        except BadPayload:
            self.counters.garbage += 1
            return None
        self.counters.probes += 1
        offer = self._offer
        if offer is not None and offer.probe == body and now_ms - offer.issued_ms <= CHALLENGE_MS:
            return self._send(FrameType.BEACON, offer.body)
        if not probe.min_version <= PROTOCOL_MAJOR <= probe.max_version or not probe.suites & _SUITE_BIT:
            return self._send(FrameType.BEACON, self._no_common_version(probe))
        offer = self._offer = self._new_offer(probe, body, now_ms)
        return self._send(FrameType.BEACON, offer.body)

    def _no_common_version(self, probe: Probe) -> bytes:
        beacon = Beacon(
            version=0,
            suite=PROTOCOL_MAJOR,
            flags=int(self._flags),
            wait_s=0,
            challenge=bytes(CHALLENGE_SIZE),
            wake_tag=bytes(WAKE_TAG_SIZE),
            probe_id=probe.probe_id,
        )
        return encode_record("beacon", beacon)

    def _new_offer(self, probe: Probe, body: bytes, now_ms: int) -> _Offer:
        self._wake_ctr += 1
        fresh = challenge(
            self._secrets.rng_key, self._boot_epoch, self._wake_ctr, draw(self._entropy, CHALLENGE_ENTROPY)
        )
        beacon = Beacon(
            version=PROTOCOL_MAJOR,
            suite=SUITE_NOISE_KKPSK0,
            flags=int(self._flags),
            wait_s=0,
            challenge=fresh,
            wake_tag=wake_tag(self._secrets.find_key, fresh),
            probe_id=probe.probe_id,
        )
        return _Offer(body, beacon, encode_record("beacon", beacon), b"", now_ms, self._wake_ctr)

    # --- HELLO -------------------------------------------------------------------------------------------------------

    def _hello(self, body: bytes, now_ms: int) -> bytes | None:
        try:
            hello = decode_record("hello", body)
        except BadPayload:
            self.counters.garbage += 1
            return None
        offer = self._offer
        if offer is None or now_ms - offer.issued_ms > CHALLENGE_MS or offer.hello not in (b"", body):
            self.counters.stale_challenges += 1
            return None
        if offer.hello:
            return self._again(offer)
        slot = self._slots.get(hello.slot)
        handshake = PumpHandshake(slot or _NOBODY, offer.probe, offer.body, hello, body)
        if not handshake.gate_opens() or slot is None:
            self.counters.gate_failures += 1
            return None
        offer.hello = body  # from here on the challenge is used, whatever comes of it
        if not role_within(hello.want_role, slot.role):
            self.counters.role_claims += 1
            return None
        if self._session is not None and self._session.info.slot != slot.number:
            self.counters.busy += 1
            offer.answer = self._busy(offer, self._session.info, now_ms)
            return offer.answer
        try:
            payload = handshake.read(self._secrets)
        except PeerError:
            self.counters.noise_failures += 1
            if self._on_authentication_failed is not None:
                self._on_authentication_failed(slot.number)
            return None
        offer.answer = self._accept(slot, hello, handshake, payload, offer, now_ms)
        return offer.answer

    def _again(self, offer: _Offer) -> bytes | None:
        """The identical HELLO once more: the cached answer, executed nothing."""
        self.counters.duplicates += 1
        return offer.answer or None

    def _busy(self, offer: _Offer, info: SessionInfo, now_ms: int) -> bytes:
        """Tell a true credential of another slot that the pump is in use, and for how long at most."""
        wait_s = min(-((now_ms - self._expiry(info)[0]) // MS_PER_SECOND), _LONGEST_WAIT_S)
        beacon = Beacon(
            version=offer.beacon.version,
            suite=offer.beacon.suite,
            flags=int(self._flags | BeaconFlag.BUSY),
            wait_s=wait_s,
            challenge=offer.beacon.challenge,
            wake_tag=offer.beacon.wake_tag,
            probe_id=offer.beacon.probe_id,
        )
        return self._send(FrameType.BEACON, encode_record("beacon", beacon))

    def _accept(
        self, slot: Slot, hello: Hello, handshake: PumpHandshake, payload: HelloPayload, offer: _Offer, now_ms: int
    ) -> bytes:
        ephemeral = hedged_ephemeral(
            self._secrets.rng_key, self._boot_epoch, offer.wake_ctr, draw(self._entropy, KEY_SIZE)
        )
        self.accepted = self._accept_payload(slot, hello)
        body, keys = handshake.accept(self.accepted, ephemeral)
        if payload.layout_fingerprint != LAYOUT_FINGERPRINT:
            # ACCEPT lets the programmer see our fingerprint and say WrongDialect; a session there is none.
            self.counters.dialects += 1
            return self._send(FrameType.ACCEPT, body)
        self._close(CloseReason.REPLACED)
        self._ended = None
        self.counters.sessions += 1
        info = SessionInfo(
            slot=slot.number,
            role=hello.want_role,
            opened_at_ms=now_ms,
            last_activity_ms=now_ms,
            handshake_hash=keys.handshake_hash,
            token_secret=token_secret(self._secrets.rng_key, keys.handshake_hash, draw(self._entropy, KEY_SIZE)),
            operator_ref=payload.operator_ref,
            programmer_utc_s=payload.programmer_utc_s,
        )
        self._session = _Session(info, SealedSession(keys, pump=True), offer)
        return self._send(FrameType.ACCEPT, body)

    def _accept_payload(self, slot: Slot, hello: Hello) -> AcceptPayload:
        facts = self._facts(slot.number)
        return AcceptPayload(
            pump_id=self._secrets.pump_id,
            firmware=facts.firmware,
            role=hello.want_role,
            flags=int(BeaconFlag.TEST_DEVICE in self._flags),
            idle_s=IDLE_S,
            session_s=SESSION_S,
            boot_epoch=self._boot_epoch,
            now_s=facts.now_s,
            program_sequence=facts.program_sequence,
            program_digest=facts.program_digest,
            ledger_sequence=facts.ledger_sequence,
            last_operation_counter=facts.last_operation_counter,
            log_sequence=facts.log_sequence,
            log_head=facts.log_head,
            alarm_sequence=facts.alarm_sequence,
            active_alarms=facts.active_alarms,
            failed_attempts=facts.failed_attempts,
            layout_fingerprint=LAYOUT_FINGERPRINT,
            reserved=0,
        )

    # --- REQ ---------------------------------------------------------------------------------------------------------

    def _request(self, frame: Frame, now_ms: int) -> bytes | None:
        body = frame.body
        counter = counter_of(body)
        session = self._session or self._ended
        if counter is None or session is None:
            self._show(Direction.TO_PUMP, frame, None)
            if counter is None:
                self.counters.garbage += 1
            else:
                self.counters.no_session += 1
            return None
        if counter != session.expected or session is self._ended:
            return self._repeat(frame, session, counter)
        padded = session.sealed.open(counter, body)
        if padded is None:
            self._show(Direction.TO_PUMP, frame, None)
            self._bad_tag(session)
            return None
        message = read_message(padded, Plane.REQUEST)
        self._show(Direction.TO_PUMP, frame, None if isinstance(message, BadPayload) else message)
        return self._do(session, counter, body, message, now_ms)

    def _repeat(self, frame: Frame, session: _Session, counter: int) -> bytes | None:
        """A counter that is not expected: the cached answer for the identical repeat of the last request, or nothing.

        The whole body is compared, not its tag alone, so that no altered frame gets an answer (INV-8).
        """
        resend = counter == session.expected - 1 and session.exchange.repeated(frame.body) is Action.RESEND
        if not resend:
            self._show(Direction.TO_PUMP, frame, None)
            self.counters.replays += 1
            return None
        self.counters.duplicates += 1
        if self._tap is not None:
            self._show(Direction.TO_PUMP, frame, session.sealed.peek(frame))
        answer = session.exchange.held
        if self._tap is not None:
            again = Frame(FrameType.RSP, 0, answer[FRAME_HEADER.size : -FRAME_CRC.size])
            self._show(Direction.FROM_PUMP, again, session.sealed.peek(again))
        return answer

    def _bad_tag(self, session: _Session) -> None:
        self.counters.bad_tags += 1
        session.bad_tags += 1
        if session.bad_tags >= MAX_BAD_TAGS:
            self._close(CloseReason.BAD_TAGS)

    def _do(self, session: _Session, counter: int, body: bytes, message: Message | BadPayload, now_ms: int) -> bytes:
        info = session.info
        session.expected = counter + 1  # before it is served: an error in serving must not let it run twice
        session.exchange.serve(body)
        info.last_activity_ms = now_ms
        self.counters.requests += 1
        if not session.confirmed:
            session.confirmed = True
            if self._on_opened is not None:
                self._on_opened(info)
        try:
            answer = self._serve(info, message)
            frame = self._send(FrameType.RSP, session.sealed.seal(counter, answer), answer)
        except BaseException:
            self._close(CloseReason.FAULT)  # what was done is unknown here; the programmer asks in a new session
            raise
        session.exchange.served(frame)
        if isinstance(message, Close) and isinstance(answer, Closed):
            self._close(CloseReason.CLOSED, keep=True)
        elif counter >= MAX_COUNTER:
            self._close(CloseReason.COUNTER, keep=True)
        return frame

    # --- the end -----------------------------------------------------------------------------------------------------

    def _expiry(self, info: SessionInfo) -> tuple[int, CloseReason]:
        idle_ms = info.last_activity_ms + IDLE_S * MS_PER_SECOND
        limit_ms = info.opened_at_ms + SESSION_S * MS_PER_SECOND
        return (idle_ms, CloseReason.IDLE) if idle_ms <= limit_ms else (limit_ms, CloseReason.SESSION_LIMIT)

    def _close(self, reason: str, *, keep: bool = False) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if session.offer is self._offer:
            self._offer = None  # an ACCEPT repeated now would lead nowhere
        if keep:
            self._ended = session
        if session.confirmed and self._on_closed is not None:
            self._on_closed(session.info, reason)


def _by_number(slots: Iterable[Slot], *, test_device: bool) -> dict[int, Slot]:
    found: dict[int, Slot] = {}
    for slot in slots:
        if slot.number in found:
            raise UsageError(f"slot: number {slot.number} is given twice; each slot has its own")
        if not test_device and is_test_slot(slot):
            raise SecurityError(
                f"slot {slot.number} is of the published test card: only a pump with the test bit may accept it"
            )
        found[slot.number] = slot
    return found

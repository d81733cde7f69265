"""A capture without names, dates and keys, which still decodes and replays.

Every message is opened, its names are replaced consistently (``scrubbing_values``), and it is sealed again in a session
of its own: the handshakes are carried out anew with the published test card, so that nothing of the recorded keys is in
the result. What cannot be opened is left out and counted. At the end the result is opened again and searched for every
value that was removed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.errors import PeerError, SecurityError, UsageError
from telemetry.link import LAYOUT
from telemetry.model import Role
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import decode_record, encode, encode_record, pad
from telemetry.protocol.credentials import test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.handshake import ProgrammerHandshake, PumpHandshake, wake_tag
from telemetry.protocol.plain import describe
from telemetry.protocol.primitives import KEY_SIZE, Aead, Ephemeral, Secret
from telemetry.protocol.session import SessionKeys
from telemetry.protocol.wire import COUNTER, LAYOUT_FINGERPRINT, BeaconFlag, FrameType
from telemetry.traffic.opening import open_capture
from telemetry.traffic.replaying_script import NO_PUMP, accept_recorded, refuse_other_layout
from telemetry.traffic.scrubbing_values import Values
from telemetry.transport.capture import CapturedFrame, CaptureWriter, LinkLost, LinkOpened, Note, read_capture
from telemetry.transport.capture import SessionKeys as KeysNoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telemetry.traffic.opening import OpenedFrame
    from telemetry.transport.capture import Capture

_IDLE_S, _SESSION_S = 30, 600
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}")


@dataclass(slots=True)
class Scrubbed:
    """What came of it: frames kept, what was left out and why, how many values of each kind were replaced."""

    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    torn: int | None = None
    """The number of an unfinished last line that was left out."""


class _Moment(ManualClock):
    """The clock of a file that is written from another one."""

    at_ms = 0

    def link_ms(self) -> int:
        return self.at_ms


def scrub_file(
    source: Path, target: Path, *, keep_keys: bool = False, entropy: Callable[[int], bytes] = os.urandom
) -> Scrubbed:
    """Write a scrubbed copy of a capture; ``keep_keys`` adds the keys of the new sessions, which open nothing else.

    Raises ``UsageError`` for a source that is no capture, or of another wire table, for a target that exists, and
    ``SecurityError``, with nothing written, when a removed value is still in the result.
    """
    capture = read_capture(source)
    refuse_other_layout(capture, str(source))
    if target.exists():
        raise UsageError(f"{target}: it exists already; choose another name, nothing is overwritten")
    half = target.with_name(f"{target.name}.part")
    if half.exists():
        raise UsageError(f"{half}: it is left from an earlier try; remove it")
    try:
        scrubber = _Scrubber(capture, half, keep_keys=keep_keys, entropy=entropy)
        done = scrubber.run()
        _prove(scrubber.values, half, capture)
        half.rename(target)
    except OSError as error:
        raise UsageError(f"{target}: it cannot be written: {error.strerror or error}") from error
    finally:
        half.unlink(missing_ok=True)
    return done


def _prove(values: Values, path: Path, original: Capture) -> None:
    text = path.read_text(encoding="utf-8")
    opened = [
        (frame.payload or (frame.frame.body if frame.frame else frame.data), frame.message)
        for frame in open_capture(read_capture(path))
    ]
    for one in original.entries:
        if isinstance(one, KeysNoted):
            for name, key in one.keys.items():
                with suppress(ValueError):
                    values.secrets.setdefault(bytes.fromhex(key), name.encode())
    left = values.left_in(text, opened)
    if left:
        raise SecurityError(
            f"the scrubbed capture still holds what was to be removed ({', '.join(left[:4])}); nothing was written"
        )


@dataclass(slots=True)
class _Link:
    """One link: its number and kind in the result, and the handshake that is under way on it."""

    number: int
    datagrams: bool
    probe: bytes = b""
    beacon: bytes = b""
    hello: bytes = b""
    role: Role = Role.CLINICIAN
    programmer: ProgrammerHandshake | None = None
    ciphers: tuple[Aead, Aead] | None = None
    session: int | None = None
    done: dict[tuple[FrameType, bytes], bytes] = field(default_factory=dict)
    told: dict[bytes, wire.AcceptPayload] = field(default_factory=dict)


class _Scrubber:
    def __init__(self, capture: Capture, path: Path, *, keep_keys: bool, entropy: Callable[[int], bytes]) -> None:
        self.values = Values(entropy(KEY_SIZE))
        self._capture = capture
        self._keep_keys = keep_keys
        self._frames = list(open_capture(capture))
        self._clock = _Moment()
        self._writer = CaptureWriter(path, self._clock, simulated=capture.simulated, layout=LAYOUT)
        self._links: dict[int, _Link] = {}
        self._done = Scrubbed(torn=capture.torn)
        self._drawn = 0
        self._start_ms = min(
            (one.at_ms for one in capture.entries if isinstance(one, LinkOpened | CapturedFrame | LinkLost)), default=0
        )

    def run(self) -> Scrubbed:
        try:
            self._measure()
            by_entry: dict[int, list[OpenedFrame]] = {}
            for frame in self._frames:
                by_entry.setdefault(frame.entry, []).append(frame)
            for number, entry in enumerate(self._capture.entries):
                self._entry(number, entry, by_entry)
        finally:
            self._writer.close()
        values = self.values
        self._done.replaced.update(
            {"serial numbers": len(values.texts), "identifiers": len(values.secrets), "moments": len(values.moments)}
        )
        return self._done

    def _measure(self) -> None:
        self.values.measure(frame.message for frame in self._frames if frame.message is not None)
        begun: dict[int, tuple[wire.Begin, bytes]] = {}
        for frame in self._frames:
            if isinstance(frame.message, wire.Begin):
                begun[frame.link] = (frame.message, b"")
            elif isinstance(frame.message, wire.Write) and frame.link in begun:
                begin, image = begun[frame.link]
                if frame.message.offset == len(image):
                    begun[frame.link] = (begin, image + frame.message.data)
                self.values.begin(begin.kind, begin.image_digest, begun[frame.link][1])

    def _entry(self, number: int, entry: object, by_entry: dict[int, list[OpenedFrame]]) -> None:
        match entry:
            case LinkOpened():
                self._clock.at_ms = entry.at_ms - self._start_ms
                scheme = entry.url.partition(":")[0]
                place = f"{scheme}:scrubbed" if _SCHEME.fullmatch(scheme) else "scrubbed:"
                self._links[entry.link] = _Link(self._writer.opened(place, datagrams=entry.datagrams), entry.datagrams)
            case LinkLost():
                self._clock.at_ms = entry.at_ms - self._start_ms
                reason = None if entry.reason is None else "the link ended (why was scrubbed)"
                self._writer.lost(self._links[entry.link].number, reason)
            case Note():
                self._done.left_out["notes"] += 1
            case KeysNoted():
                self._done.replaced["session keys"] += 1
        for frame in by_entry.get(number, ()):
            self._frame(frame)

    def _frame(self, frame: OpenedFrame) -> None:
        link = self._links[frame.link]
        if frame.frame is None:
            self._done.left_out["garbage"] += 1
            return
        body, said = self._body(link, frame, frame.frame)
        if body is None:
            return
        data = encode_frame(Frame(frame.frame.type, 0, body))
        self._writer.frame(
            CapturedFrame(
                link.number,
                frame.at_ms - self._start_ms,
                frame.direction,
                data if link.datagrams else encode_stream(data),
                None if said is None else describe(said),
            )
        )
        self._done.kept += 1

    def _body(self, link: _Link, frame: OpenedFrame, old: Frame) -> tuple[bytes | None, object]:
        """The new body of a frame and what is in it; None, counted, when it has to be left out."""
        if old.type in (FrameType.REQ, FrameType.RSP):
            return self._sealed(link, frame)
        if old.type in (FrameType.PROBE, FrameType.BEACON, FrameType.HELLO, FrameType.ACCEPT):
            return self._handshake(link, frame, old)
        if frame.message is None:
            return self._without(frame, old)
        return encode(self.values.message(frame.message)), None

    def _without(self, frame: OpenedFrame, old: Frame) -> tuple[None, None]:
        self._done.left_out[f"{old.type.name}, {frame.shut.value if frame.shut else 'unreadable'}"] += 1
        return None, None

    # --- sealed frames -----------------------------------------------------------------------------------------------

    def _sealed(self, link: _Link, frame: OpenedFrame) -> tuple[bytes | None, object]:
        if frame.message is None or frame.counter is None or frame.frame is None:
            return self._without(frame, frame.frame or Frame(FrameType.REQ, 0, b""))
        if frame.session is not None and link.session not in (None, frame.session):
            link.ciphers = None  # another session, whose ACCEPT is not in the capture
        if frame.session is not None:
            link.session = frame.session
        if link.ciphers is None:
            link.ciphers = self._without_handshake()
        message = self.values.message(frame.message)
        cipher = link.ciphers[0 if frame.type is FrameType.REQ else 1]
        return COUNTER.pack(frame.counter) + cipher.seal(frame.counter, pad(encode(message))), message

    def _without_handshake(self) -> tuple[Aead, Aead]:
        """Keys of a session whose beginning is not in the capture."""
        to_pump, from_pump = self._fresh(), self._fresh()
        self._note_keys(SessionKeys(bytes(KEY_SIZE), to_pump, from_pump))
        return Aead(Secret(to_pump)), Aead(Secret(from_pump))

    def _fresh(self, size: int = KEY_SIZE) -> bytes:
        self._drawn += 1
        return self.values.draw(f"fresh {self._drawn}", size)

    def _note_keys(self, keys: SessionKeys) -> None:
        if self._keep_keys:
            self._writer.keys(
                {
                    "handshake_hash": keys.handshake_hash.hex(),
                    "to_pump": keys.to_pump.hex(),
                    "from_pump": keys.from_pump.hex(),
                }
            )

    # --- handshakes --------------------------------------------------------------------------------------------------

    def _handshake(self, link: _Link, frame: OpenedFrame, old: Frame) -> tuple[bytes | None, object]:
        key = (old.type, old.body)
        said = link.told.get(old.body)
        if key not in link.done:
            make = {
                FrameType.PROBE: self._probe,
                FrameType.BEACON: self._beacon,
                FrameType.HELLO: self._hello,
                FrameType.ACCEPT: self._accept,
            }[old.type]
            try:
                link.done[key] = make(link, frame, old.body)
            except PeerError:
                self._done.left_out[f"{old.type.name}, unreadable or without what it answers"] += 1
                return None, None
            said = link.told.get(old.body)
        return link.done[key], said

    def _probe(self, link: _Link, _frame: OpenedFrame, body: bytes) -> bytes:
        probe = decode_record("probe", body)
        link.probe = encode_record("probe", replace(probe, probe_id=self.values.draw("probe", 4, probe.probe_id)))
        link.beacon = link.hello = b""
        return link.probe

    def _beacon(self, link: _Link, _frame: OpenedFrame, body: bytes) -> bytes:
        beacon = decode_record("beacon", body)
        fresh = self.values.secret("challenge", beacon.challenge)
        find_key = test_credential(Role.CLINICIAN).find_key
        made = encode_record(
            "beacon",
            replace(
                beacon,
                flags=int(beacon.flags | BeaconFlag.TEST_DEVICE),
                challenge=fresh,
                wake_tag=wake_tag(find_key, fresh) if any(beacon.wake_tag) else beacon.wake_tag,
                probe_id=self.values.draw("probe", 4, beacon.probe_id),
            ),
        )
        if not beacon.flags & BeaconFlag.BUSY:
            link.beacon = made
        return made

    def _hello(self, link: _Link, _frame: OpenedFrame, body: bytes) -> bytes:
        hello = decode_record("hello", body)
        if not link.probe or not link.beacon:
            raise PeerError("a HELLO without the BEACON that it answers")
        link.role = next((role for role in Role if test_credential(role).slot == hello.slot), hello.want_role)
        payload = wire.HelloPayload(bytes(8), 0, LAYOUT_FINGERPRINT, 1, 0)
        link.programmer = ProgrammerHandshake(
            test_credential(link.role), hello.want_role, link.probe, link.beacon, payload, self._fresh
        )
        link.hello = link.programmer.hello
        return link.hello

    def _accept(self, link: _Link, frame: OpenedFrame, body: bytes) -> bytes:
        if link.programmer is None or not link.hello:
            raise PeerError("an ACCEPT without the HELLO that it answers")
        recorded = accept_recorded(frame.recorded)
        hello = decode_record("hello", link.hello)
        payload = self.values.accept(recorded or _said_nothing(hello.want_role))
        slot = next(slot for slot in test_slots() if slot.number == hello.slot)
        secrets = test_pump_secrets(payload.pump_id)
        pump = PumpHandshake(slot, link.probe, link.beacon, hello, link.hello)
        pump.read(secrets)
        made, keys = pump.accept(replace(payload, role=hello.want_role, flags=1), Ephemeral(Secret(self._fresh())))
        link.ciphers = (Aead(keys.initiator_to_responder), Aead(keys.responder_to_initiator))
        link.session = None
        if recorded is not None:
            link.told[body] = payload
        self._note_keys(
            SessionKeys(keys.handshake_hash, keys.initiator_to_responder.reveal(), keys.responder_to_initiator.reveal())
        )
        return made


def _said_nothing(role: Role) -> wire.AcceptPayload:
    """An ACCEPT of which nobody knows what it said."""
    return wire.AcceptPayload(
        pump_id=NO_PUMP,
        firmware=0,
        role=role,
        flags=1,
        idle_s=_IDLE_S,
        session_s=_SESSION_S,
        boot_epoch=0,
        now_s=0,
        program_sequence=0,
        program_digest=bytes(8),
        ledger_sequence=0,
        last_operation_counter=0,
        log_sequence=0,
        log_head=bytes(8),
        alarm_sequence=0,
        active_alarms=0,
        failed_attempts=0,
        layout_fingerprint=LAYOUT_FINGERPRINT,
        reserved=0,
    )

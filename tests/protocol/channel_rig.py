"""Both ends of the secure channel on a bench: seeded entropy, a pump that counts what it does, a link of lists."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import telemetry.protocol.messages as m
from telemetry.errors import BadPayload
from telemetry.model import RefusalReason, Role
from telemetry.protocol.channel import AcceptFacts, Answered, Opened, ProgrammerChannel, PumpChannel, SessionInfo
from telemetry.protocol.credentials import test_credential, test_pump_secrets, test_slots
from telemetry.protocol.exchange import LinkPolicy
from telemetry.protocol.frame import Frame, decode_frame
from telemetry.protocol.primitives import KeyPair, Secret
from telemetry.protocol.wire import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry.protocol.channel import ChannelEvent
    from telemetry.protocol.credentials import Credential, Slot

PUMP_ID = b"SIM-0001"
OPERATOR_REF = b"operator"
UTC_S = 1_795_348_800


def seeded(seed: str) -> Callable[[int], bytes]:
    """Deterministic bytes: SHA-256 over the seed and a running number."""
    calls = 0

    def draw(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"{seed}/{calls}".encode()).digest(size)

    return draw


def stuck(size: int) -> bytes:
    """A random source that broke."""
    return bytes(size)


@dataclass
class Pump:
    """A pump's channel with a firmware that only remembers what it was asked."""

    seed: str = "pump"
    entropy: Callable[[int], bytes] | None = None
    slots: Iterable[Slot] = field(default_factory=test_slots)
    boot_epoch: int = 7
    test_device: bool = True
    pump_id: bytes = PUMP_ID

    def __post_init__(self) -> None:
        self.executed: list[m.Message | BadPayload] = []
        self.happened: list[str] = []
        self.tapped: list[tuple[str, Frame, m.Message | None]] = []
        self.channel = PumpChannel(
            test_pump_secrets(self.pump_id),
            self.slots,
            self.entropy or seeded(self.seed),
            facts=self.facts,
            serve=self.serve,
            boot_epoch=self.boot_epoch,
            test_device=self.test_device,
            on_session_opened=lambda info: self.happened.append(f"opened {info.slot}"),
            on_session_closed=lambda info, reason: self.happened.append(f"closed {info.slot} {reason}"),
            on_authentication_failed=lambda slot: self.happened.append(f"failed {slot}"),
            tap=lambda direction, frame, message: self.tapped.append((direction, frame, message)),
        )

    def facts(self, slot: int) -> AcceptFacts:
        return AcceptFacts(
            firmware=0x0102_0304,
            now_s=1_000,
            program_sequence=5,
            program_digest=b"program!",
            ledger_sequence=9,
            last_operation_counter=slot,
            log_sequence=11,
            log_head=b"log-head",
            alarm_sequence=3,
            active_alarms=1,
            failed_attempts=2,
        )

    def serve(self, info: SessionInfo, request: m.Message | BadPayload) -> m.Message:
        self.executed.append(request)
        if isinstance(request, BadPayload):
            return m.Refusal(Status.FORMAT, 0, RefusalReason.BAD_LAYOUT, 0, 0, ())
        if isinstance(request, m.Close):
            return m.Closed()
        # The answer differs with every execution: a repeat that were executed would show.
        if isinstance(request, m.ReadLedger):
            return m.LedgerHead(len(self.executed), info.slot, 0, 64)
        return m.Refusal(Status.STATE, 0, None, len(self.executed), 0, ())

    def receive(self, data: bytes, now_ms: int = 0) -> list[bytes]:
        return self.channel.receive(decode_frame(data), now_ms)


def programmer(
    role: Role = Role.CLINICIAN,
    *,
    seed: str = "programmer",
    credential: Credential | None = None,
    policy: LinkPolicy | None = None,
    entropy: Callable[[int], bytes] | None = None,
    emergency: bool = False,
    want_role: Role | None = None,
) -> ProgrammerChannel:
    """A programmer's channel with the test credential of a role."""
    return ProgrammerChannel(
        credential or test_credential(role),
        want_role=want_role or role,
        entropy=entropy or seeded(seed),
        operator_ref=OPERATOR_REF,
        utc_s=UTC_S,
        emergency=emergency,
        policy=policy or LinkPolicy(),
    )


class StolenPump(KeyPair):
    """A thief's stand-in for a programmer's static key, made of what a pump stores: its own key and the public half.

    With them he knows DH(s, s) and so can write Noise message 1 (key-compromise impersonation). DH(s of the
    programmer, e of the pump), which message 2 and every session key rest on, he can only guess.
    """

    def __init__(self, pump: KeyPair, public: bytes) -> None:
        super().__init__(Secret(b"\x66" * 32))
        self._pump, self.public = pump, public

    __slots__ = ("_pump",)

    def exchange(self, public: bytes) -> bytes:
        return self._pump.exchange(self.public if public == self._pump.public else public)


def settle(side: ProgrammerChannel, pump: Pump, now_ms: int = 0) -> list[bytes]:
    """Carry frames both ways without loss until nobody has any; returns all of them in order."""
    carried: list[bytes] = []
    while frames := side.take_frames():
        for data in frames:
            carried.append(data)
            for answer in pump.receive(data, now_ms):
                carried.append(answer)
                side.receive(decode_frame(answer), now_ms)
    return carried


def opened(
    pump: Pump, role: Role = Role.CLINICIAN, now_ms: int = 0, *, seed: str = "programmer", want_role: Role | None = None
) -> ProgrammerChannel:
    """A programmer with an open session."""
    side = programmer(role, seed=seed, want_role=want_role)
    side.open(now_ms)
    settle(side, pump, now_ms)
    (event,) = side.take_events()
    assert isinstance(event, Opened)
    return side


def ask(side: ProgrammerChannel, pump: Pump, message: m.Message, now_ms: int = 0) -> m.Message:
    """One request and its answer over a perfect link."""
    side.request(message, now_ms)
    settle(side, pump, now_ms)
    event: ChannelEvent = side.take_events()[0]
    assert isinstance(event, Answered)
    return event.message

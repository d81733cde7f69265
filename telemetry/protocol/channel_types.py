"""What both ends of the secure channel share: events, reasons, counters, what the pump says in ACCEPT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.protocol.frame import Frame
from telemetry.protocol.messages import AcceptPayload, Message

if TYPE_CHECKING:
    from telemetry.errors import TelemetryError
    from telemetry.model import Role
    from telemetry.protocol.primitives import Secret


class Direction(StrEnum):
    """Which way a frame goes."""

    TO_PUMP = "to_pump"
    FROM_PUMP = "from_pump"


Tap = Callable[[str, Frame, Message | None], None]
"""Called with direction, frame and the opened message (None for a handshake frame or one that was dropped)."""

Entropy = Callable[[int], bytes]
"""A source of random bytes: called with how many."""


class CloseReason(StrEnum):
    """Why a session ended. Whoever calls ``PumpChannel.end_session`` may give a word of its own."""

    CLOSED = "closed"
    REPLACED = "replaced"
    IDLE = "idle"
    SESSION_LIMIT = "session_limit"
    COUNTER = "counter"
    BAD_TAGS = "bad_tags"
    CONTACT_LOST = "contact_lost"
    CLOCK_JUMP = "clock_jump"
    RESET = "reset"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is open; this is what the pump said of itself."""

    accept: AcceptPayload


@dataclass(frozen=True, slots=True)
class Answered:
    """The outstanding request has its answer."""

    message: Message


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work; the channel is of no further use.

    ``sent`` is True when a *request* was handed over for sending and got no answer, so that the pump may have
    done it. It is False for everything before that: nothing can have happened.
    """

    error: TelemetryError
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The session ended in order; ``reason`` is one of ``CloseReason``."""

    reason: str = CloseReason.CLOSED


ChannelEvent = Opened | Answered | Failed | Closed


@dataclass(frozen=True, slots=True)
class AcceptFacts:
    """What the firmware contributes to ACCEPT; fields and units are those of ``AcceptPayload``.

    ``last_operation_counter`` is that of the slot for which the facts were asked.
    """

    firmware: int
    now_s: int
    program_sequence: int
    program_digest: bytes
    ledger_sequence: int
    last_operation_counter: int
    log_sequence: int
    log_head: bytes
    alarm_sequence: int
    active_alarms: int
    failed_attempts: int


@dataclass(slots=True, eq=False)
class SessionInfo:
    """The pump's view of the session in force. ``role`` is the role in force, never more than the slot's.

    ``token_secret`` makes commit tokens and lives as long as the session (trust.md 5.2). ``operator_ref`` is
    opaque and for the pump's log only. Times are link time, ms.
    """

    slot: int
    role: Role
    opened_at_ms: int
    last_activity_ms: int
    handshake_hash: bytes = field(repr=False)
    token_secret: Secret = field(repr=False)
    operator_ref: bytes = field(repr=False)
    programmer_utc_s: int = field(repr=False)


@dataclass(slots=True)
class Counters:
    """What the pump's channel has seen and did not act on, and what it has done. Never reset, never acted upon."""

    probes: int = 0
    sessions: int = 0
    requests: int = 0
    garbage: int = 0
    """Frames of a type, size or layout that the pump does not take."""
    stale_challenges: int = 0
    """HELLO without a live challenge: none, too old, or already used."""
    gate_failures: int = 0
    """HELLO with a wrong gate MAC or an unknown slot."""
    role_claims: int = 0
    """HELLO of a true credential that asked for more than its role."""
    noise_failures: int = 0
    """HELLO behind an open gate whose Noise message did not open."""
    busy: int = 0
    """HELLO of a true credential while another slot's session was in force."""
    dialects: int = 0
    """HELLO of a true credential built from another wire table."""
    no_session: int = 0
    """REQ while no session was in force."""
    bad_tags: int = 0
    replays: int = 0
    """REQ with a counter that is neither the expected one nor an identical repeat of the last."""
    duplicates: int = 0
    """Identical repeats that got the cached answer."""


def draw(entropy: Entropy, size: int) -> bytes:
    """Random bytes from the injected source; raises ``UsageError`` when it gives another number of bytes."""
    data = entropy(size)
    if len(data) != size:
        raise UsageError(f"entropy: asked for {size} bytes, got {len(data)}")
    return data


class Monotonic:
    """Holds a caller to a time that never runs backwards (INV-47)."""

    __slots__ = ("now_ms",)

    def __init__(self) -> None:
        self.now_ms = 0

    def advance(self, now_ms: int) -> None:
        """Accept the present; raises ``UsageError`` when it lies before the last one."""
        if now_ms < self.now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before {self.now_ms}, and link time never runs backwards")
        self.now_ms = now_ms

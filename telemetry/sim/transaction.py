"""Stage, verify, commit: the one transaction a session may have open (trust.md 5.2).

Held in RAM only. Everything that voids it — another BEGIN, SET_RATE, QUERY, ABORT or STOP, contact loss, the
session's end, a jump of time, sixty seconds — leaves the old therapy running.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.errors import Refused
from telemetry.model import RefusalReason, Warn
from telemetry.protocol.messages import ReadBack, Staged
from telemetry.protocol.wire import (
    MAX_READ_BACK_LAST_PART,
    MAX_READ_BACK_PART,
    TOKEN_SIZE,
    WARNING_BITS,
)

if TYPE_CHECKING:
    from telemetry.protocol.channel import SessionInfo
    from telemetry.sim.pump.ledger import Operation
    from telemetry.sim.pump.limits import Derived

PROPOSAL_LIVES_MS = 60_000
PROPOSAL_LIVES_S = 60
_ALL_ONES_32 = 0xFFFF_FFFF


@dataclass(slots=True)
class Transaction:
    """One open transaction; ``proposal`` exists once the whole image was parsed, staged and read back."""

    operation: Operation
    base_sequence: int
    base_digest: bytes
    total_length: int
    opened_link_ms: int
    image: bytearray = field(default_factory=bytearray)
    proposal: ReadyProposal | None = None

    @property
    def expired_at_ms(self) -> int:
        """Link time at which it is void."""
        return self.opened_link_ms + PROPOSAL_LIVES_MS

    def write(self, offset: int, data: bytes) -> int:
        """Append a part of the image; returns the next offset. Raises ``Refused`` for a gap or too much."""
        if offset != len(self.image) or offset + len(data) > self.total_length or self.proposal is not None:
            raise Refused(
                RefusalReason.IMAGE_OUT_OF_BOUNDS,
                f"part at byte {offset} of {len(data)} bytes; expected at {len(self.image)} of {self.total_length}",
                value=offset,
                limit=len(self.image),
            )
        self.image += data
        return len(self.image)

    def whole_image(self) -> bytes:
        """The image; raises ``Refused`` when bytes are missing or are not those that were announced."""
        image = bytes(self.image)
        if len(image) != self.total_length:
            raise Refused(
                RefusalReason.IMAGE_INCOMPLETE,
                f"image: {len(image)} of {self.total_length} bytes; write the rest first",
                value=len(image),
                limit=self.total_length,
            )
        if hashlib.sha256(image).digest() != self.operation.digest:
            raise Refused(RefusalReason.IMAGE_DIGEST_MISMATCH, "image: its SHA-256 is not the one announced")
        return image

    @property
    def ready(self) -> ReadyProposal:
        """The proposal; raises ``Refused`` while there is none."""
        if self.proposal is None:
            raise Refused(RefusalReason.IMAGE_INCOMPLETE, "nothing was verified yet; read it back first")
        return self.proposal


@dataclass(frozen=True, slots=True)
class ReadyProposal:
    """What the pump parsed, what follows from it, and the token that commits exactly this."""

    read_back: bytes
    derived: Derived
    digest: bytes
    token: bytes

    def parts(self) -> list[bytes]:
        """The read-back cut for VERIFY: full parts, then a last one that leaves room for the derived block."""
        parts, rest = [], self.read_back
        while len(rest) > MAX_READ_BACK_LAST_PART:
            size = min(MAX_READ_BACK_PART, len(rest) - 1)
            parts.append(rest[:size])
            rest = rest[size:]
        return [*parts, rest]

    def part(self, number: int) -> ReadBack | Staged:
        """One part; raises ``Refused`` for a number that does not exist."""
        parts = self.parts()
        refuse_missing_part(number, len(parts))
        if number < len(parts) - 1:
            return ReadBack(part=number, parts=len(parts), image=parts[number])
        derived = self.derived
        return Staged(
            part=number,
            parts=len(parts),
            image=parts[number],
            dose_24h_ng=derived.dose_24h_ng,
            volume_24h_nl=derived.volume_24h_nl,
            peak_nl_per_day=derived.peak_nl_per_day,
            lowest_nl_per_day=derived.lowest_nl_per_day,
            change_ppm=min(derived.change_ppm, _ALL_ONES_32),
            empty_in_s=min(derived.empty_in_s, _ALL_ONES_32),
            shift_minutes=derived.shift_minutes,
            warnings=derived.warnings,
            image_digest=self.digest,
            token=self.token,
            ttl_s=PROPOSAL_LIVES_S,
        )


def refuse_missing_part(number: int, parts: int) -> None:
    """Raise ``Refused`` for a part that does not exist."""
    if number >= parts:
        raise Refused(
            RefusalReason.IMAGE_OUT_OF_BOUNDS,
            f"part: {number} of {parts}, counted from 0",
            value=number,
            limit=parts - 1,
        )


def commit_token(session: SessionInfo, op_id: bytes, digest: bytes, warnings: tuple[Warn, ...]) -> bytes:
    """A token good for this session, operation, image and set of warnings only (trust.md 5.2)."""
    bits = sum(bit for bit, warning in WARNING_BITS.items() if warning in warnings)
    bound = session.handshake_hash + op_id + digest + bits.to_bytes(4, "little")
    return hmac.digest(session.token_secret.reveal(), bound, hashlib.sha256)[:TOKEN_SIZE]

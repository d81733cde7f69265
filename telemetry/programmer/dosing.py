"""Therapy changes with three outcomes: applied, refused, unknown — never a fourth (trust.md 5).

Stage → read back and compare every field with the intent → show a person the pump's own numbers → COMMIT. The
journal is on the disk before each frame that matters. After a lost verdict the driver asks the pump at once, in a
new session, what became of the operation; when it cannot, nothing more is dosed until it can.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, LinkError, OutcomeUnknown, PeerError, Refused, SecurityError
from telemetry.model import Change, OperationKind, Verdict
from telemetry.programmer.connection import Lost
from telemetry.programmer.contact import outcome_in
from telemetry.programmer.intents import differing_fields
from telemetry.programmer.journal import JournalEntry, Stage, acked_through, moved_to, next_counter
from telemetry.programmer.records import Applied, Proposal, explain_refusal, stopped_state, therapy_state
from telemetry.protocol.messages import (
    Abort,
    Begin,
    Begun,
    Commit,
    PatientBolus,
    ProgramImage,
    Query,
    ReadBack,
    ReadStatus,
    Refusal,
    SetRate,
    Staged,
    Stop,
    VerdictReport,
    Verify,
    Write,
    Written,
)
from telemetry.protocol.messages import Status as StatusMessage
from telemetry.protocol.orders import decode_order
from telemetry.protocol.wire import IMAGE_SCHEMA, MAX_IMAGE, MAX_READ_BACK_PART, MAX_WRITE
from telemetry.therapy import ClockSetting
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from telemetry.clock import Clock
    from telemetry.model import StopReason, Warn
    from telemetry.programmer.contact import Contact
    from telemetry.programmer.intents import Intent
    from telemetry.programmer.journal import Journal
    from telemetry.programmer.records import Outcome
    from telemetry.protocol.messages import AcceptPayload, Message
    from telemetry.protocol.orders import Order

    Confirm = Callable[[Proposal], Awaitable[bool]]
    IntentMaker = Callable[[StatusMessage], Awaitable[Intent]]
    """Makes the intent against what the pump says now; may read more of it."""

_COUNTER_BYTES = 8
_NONCE_BYTES = 8
_TOKEN_MARGIN_MS = 2_000
_ALL_ONES_32 = 0xFFFF_FFFF
_MOST_PARTS = 1 + -(-MAX_IMAGE // MAX_READ_BACK_PART)


class Dosing:
    """The one place from which therapy-changing requests leave."""

    def __init__(self, contact: Contact, *, clock: Clock, entropy: Callable[[int], bytes]) -> None:
        self._contact = contact
        self._connection = contact.connection
        self._clock = clock
        self._entropy = entropy

    async def change(self, make: IntentMaker, accept: Collection[Warn], confirm: Confirm | None) -> Applied:
        """Carry one change through; returns what was applied or raises one of the other three outcomes."""
        try:
            status = await self._read_status()
            journal = await self._contact.dosing_journal()
            approved: Proposal | None = None
            while True:
                intent = await make(status)
                entry, staged, order = await self._stage(journal, status, intent)
                staged_at_ms = self._clock.link_ms()
                proposal = _proposal(status, intent, staged, order)
                await self._check_warnings(journal, entry, staged, accept)
                if confirm is None or (approved is not None and _alike(proposal, approved, intent)):
                    break
                if not await confirm(proposal):
                    await self._abandon(journal, entry, "declined")
                    raise Refused("declined", "not confirmed; nothing was changed", transaction=entry.op_id)
                if self._still_open(staged, staged_at_ms, intent):
                    break
                await self._abandon(journal, entry, "the proposal expired while it was being read")
                approved = proposal
                status = await self._read_status()
        except PeerError as error:
            raise LinkError(f"{error}; nothing was changed") from error
        return await self._commit(journal, entry, staged, intent, proposal)

    async def patient_bolus(self) -> Change:
        """Ask for the bolus that was prescribed for the patient's own use: one step, the pump decides.

        It doses, so that nothing may be unknown before it, and a lost answer is asked for, never repeated.
        """
        try:
            status = await self._read_status()
            before = therapy_state(status)
            journal = await self._contact.dosing_journal()
            accept = await self._contact.open()
        except PeerError as error:
            raise LinkError(f"{error}; no bolus was asked for") from error
        entry, acked = await self._take_number(
            journal, accept, OperationKind.PATIENT_BOLUS, "patient bolus", b"", Stage.SENT
        )
        op_id = bytes.fromhex(entry.op_id)
        answer = await self._connection.exchange(PatientBolus(op_id=op_id, acked_through=acked))
        answer = await self._found_out(journal, entry, answer)
        outcome = self._book(journal, entry, answer)
        return Change(entry.op_id, OperationKind.PATIENT_BOLUS, before, before, _applied_at(outcome))

    async def stop(self, reason: StopReason) -> Change:
        """Stop delivery in one step; allowed whatever is unknown, and repeated with the same identity if need be."""
        try:
            before = therapy_state(await self._read_status(resolve=False))
            accept = await self._contact.open(resolve=False)
        except PeerError as error:
            raise LinkError(f"{error}; the pump was not stopped") from error
        journal = self._contact.journal(accept)
        entry, acked = await self._take_number(
            journal, accept, OperationKind.STOP, f"stop ({reason.value})", b"", Stage.SENT
        )
        message = Stop(op_id=bytes.fromhex(entry.op_id), acked_through=acked, reason=reason)
        answer = await self._connection.exchange(message)
        if isinstance(answer, Lost):
            answer = await self._again(message)
        outcome = self._book(journal, entry, answer)
        return Change(entry.op_id, OperationKind.STOP, before, stopped_state(before), _applied_at(outcome), warnings=())

    async def _read_status(self, *, resolve: bool = True) -> StatusMessage:
        status = await self._contact.read(ReadStatus(), StatusMessage, resolve=resolve)
        self._contact.concentration_ng_per_ml = status.concentration_ng_per_ml
        return status

    async def _take_number(
        self,
        journal: Journal,
        accept: AcceptPayload,
        kind: OperationKind,
        words: str,
        digest: bytes,
        stage: Stage,
    ) -> tuple[JournalEntry, int]:
        """Give the operation its identity and write it down; returns the line and ``acked_through``."""
        async with journal.locked():
            counter = next_counter(journal, accept.last_operation_counter)
            op_id = counter.to_bytes(_COUNTER_BYTES, "little") + self._entropy(_NONCE_BYTES)
            entry = JournalEntry(op_id.hex(), counter, kind.value, words, digest.hex(), stage)
            acked = acked_through(journal, counter)
            journal.record(entry)
        return entry, acked

    async def _stage(
        self, journal: Journal, status: StatusMessage, intent: Intent
    ) -> tuple[JournalEntry, Staged, Order | None]:
        """Send the image and hold what the pump read back against the intent; returns that too."""
        accept = await self._contact.open()
        digest = hashlib.sha256(intent.image).digest()
        entry, acked = await self._take_number(journal, accept, intent.kind, intent.words, digest, Stage.PENDING)
        op_id = bytes.fromhex(entry.op_id)
        try:
            if intent.short is not None:
                staged = await self._contact.ask(_set_rate(op_id, acked, status, intent.short), Staged)
                image = staged.image
            else:
                await self._send_image(op_id, acked, status, intent, digest)
                staged, image = await self._read_back()
        except (LinkError, PeerError, Refused) as error:
            journal.record(moved_to(entry, Stage.ABANDONED, str(error)))
            raise
        order, differing = _held_against(intent, image)
        if differing or staged.image_digest != digest:
            await self._abandon(journal, entry, "the read-back differs from what was sent")
            raise Refused(
                "image_digest_mismatch",
                f"the pump read back another {intent.kind.value.replace('_', ' ')} than was sent "
                f"({', '.join(differing) or 'its digest differs'}); nothing was changed",
                field=differing[0] if differing else "",
                transaction=entry.op_id,
            )
        return entry, staged, order

    async def _send_image(self, op_id: bytes, acked: int, status: StatusMessage, intent: Intent, digest: bytes) -> None:
        begin = Begin(
            op_id=op_id,
            acked_through=acked,
            base_sequence=status.program_sequence,
            base_digest=status.program_digest,
            kind=intent.kind,
            schema=IMAGE_SCHEMA,
            total_length=len(intent.image),
            image_digest=digest,
        )
        await self._contact.ask(begin, Begun)
        for offset in range(0, len(intent.image), MAX_WRITE):
            await self._contact.ask(Write(offset=offset, data=intent.image[offset : offset + MAX_WRITE]), Written)

    async def _read_back(self) -> tuple[Staged, bytes]:
        """The last part, and the whole image as the pump parsed it."""
        image = b""
        for part in range(_MOST_PARTS):
            answer: ReadBack | Staged = await self._contact.ask(Verify(part=part), ReadBack, Staged)
            image += answer.image
            if isinstance(answer, Staged):
                return answer, image
        raise LinkError(f"the pump's read-back does not end after {_MOST_PARTS} parts")

    async def _check_warnings(
        self, journal: Journal, entry: JournalEntry, staged: Staged, accept: Collection[Warn]
    ) -> None:
        missing = tuple(warning.value for warning in staged.warnings if warning not in accept)
        if not missing:
            return
        await self._abandon(journal, entry, "warnings not accepted")
        raise Refused(
            "warnings_not_accepted",
            f"the change is beyond soft limits ({', '.join(missing)}); accept each by name if it is meant",
            warnings=missing,
            status="limit_soft",
            transaction=entry.op_id,
        )

    def _still_open(self, staged: Staged, staged_at_ms: int, intent: Intent) -> bool:
        age_ms = self._clock.link_ms() - staged_at_ms
        if intent.fresh_ms and age_ms >= intent.fresh_ms:
            return False
        return self._connection.session_open and age_ms < staged.ttl_s * MS_PER_SECOND - _TOKEN_MARGIN_MS

    async def _abandon(self, journal: Journal, entry: JournalEntry, note: str) -> None:
        """Let go of a proposal. A lost ABORT is harmless: COMMIT was not sent, and the token dies by itself."""
        journal.record(moved_to(entry, Stage.ABANDONED, note))
        if self._connection.session_open:
            await self._connection.exchange(Abort(op_id=bytes.fromhex(entry.op_id)))

    async def _commit(
        self, journal: Journal, entry: JournalEntry, staged: Staged, intent: Intent, proposal: Proposal
    ) -> Applied:
        entry = moved_to(entry, Stage.SENT)
        journal.record(entry)
        answer = await self._connection.exchange(
            Commit(
                op_id=bytes.fromhex(entry.op_id),
                token=staged.token,
                image_digest=staged.image_digest,
                accepted_warnings=staged.warnings,
            )
        )
        outcome = self._book(journal, entry, await self._found_out(journal, entry, answer))
        return Applied(
            entry.op_id,
            intent.kind,
            proposal.before,
            intent.after,
            _applied_at(outcome),
            staged.warnings,
            order=proposal.order,
        )

    async def _found_out(self, journal: Journal, entry: JournalEntry, answer: Message | Lost) -> Message | Lost:
        """The answer to what doses; a lost one is asked for in a new session. Raises ``LinkError`` if never sent."""
        if isinstance(answer, Lost) and not answer.sent:
            journal.record(moved_to(entry, Stage.ABANDONED, "it was never sent"))
            raise LinkError(f"{answer.error}; nothing was changed") from answer.error
        if isinstance(answer, Lost):
            return await self._again(Query(op_id=bytes.fromhex(entry.op_id)))
        return answer

    async def _again(self, message: Message) -> Message | Lost:
        """One more try in a new session, with a message that is safe to repeat."""
        try:
            await self._connection.open()
        except (LinkError, PeerError, SecurityError) as error:
            return Lost(error, sent=True)
        return await self._connection.exchange(message)

    def _book(self, journal: Journal, entry: JournalEntry, answer: Message | Lost) -> Outcome:
        """Write the verdict down; raises ``Refused`` or ``OutcomeUnknown`` unless it is *applied*."""
        if isinstance(answer, Lost):
            raise OutcomeUnknown(entry.op_id) from answer.error
        if isinstance(answer, Refusal):
            journal.record(moved_to(entry, Stage.REFUSED, answer.status.value))
            raise explain_refusal(answer, entry.op_id)
        if not isinstance(answer, VerdictReport) or answer.op_id.hex() != entry.op_id:
            raise OutcomeUnknown(entry.op_id)
        outcome = outcome_in(answer)
        if outcome.verdict is Verdict.FORGOTTEN:
            raise OutcomeUnknown(entry.op_id)
        if outcome.verdict is not Verdict.APPLIED:
            reason = outcome.reason.value if outcome.reason is not None else outcome.verdict.value
            journal.record(moved_to(entry, Stage.REFUSED, reason))
            raise Refused(reason, f"not applied: {reason.replace('_', ' ')}", transaction=entry.op_id)
        journal.record(moved_to(entry, Stage.APPLIED))
        return outcome


def _set_rate(op_id: bytes, acked: int, status: StatusMessage, image: ProgramImage) -> SetRate:
    return SetRate(
        op_id=op_id,
        acked_through=acked,
        base_sequence=status.program_sequence,
        base_digest=status.program_digest,
        drug=image.drug,
        concentration_ng_per_ml=image.concentration_ng_per_ml,
        reservoir_generation=image.reservoir_generation,
        rate_nl_per_day=image.rate_nl_per_day,
        dose_ng_per_day=image.dose_ng_per_day,
    )


def _held_against(intent: Intent, read_back: bytes) -> tuple[Order | None, list[str]]:
    """Decode the read-back on our own and compare it with the intent, field by field (trust.md 5.2).

    Returns what the pump read and the names of the fields that differ.
    """
    if intent.order is None:
        return None, [] if read_back == intent.image else ["image"]
    try:
        order = decode_order(intent.kind, read_back)
    except BadPayload as error:
        return None, [error.field or "image"]
    return order, differing_fields(intent.order, order)


def _alike(proposal: Proposal, approved: Proposal, intent: Intent) -> bool:
    """Whether a person who approved the one has seen the other.

    A clock that goes on is the same clock, and what it shows has no part in how long the reservoir lasts.
    """
    if intent.fresh_ms and isinstance(proposal.order, ClockSetting) and isinstance(approved.order, ClockSetting):
        same_time = replace(proposal.order, utc_s=approved.order.utc_s)
        proposal = replace(proposal, order=same_time, empty_in_s=approved.empty_in_s)
    return proposal == approved


def _proposal(status: StatusMessage, intent: Intent, staged: Staged, order: Order | None) -> Proposal:
    return Proposal(
        operation=intent.kind,
        before=therapy_state(status),
        after=intent.after,
        dose_24h_ng=staged.dose_24h_ng,
        volume_24h_nl=staged.volume_24h_nl,
        peak_nl_per_day=staged.peak_nl_per_day,
        lowest_nl_per_day=staged.lowest_nl_per_day,
        change_ppm=staged.change_ppm,
        empty_in_s=None if staged.empty_in_s == _ALL_ONES_32 else staged.empty_in_s,
        warnings=staged.warnings,
        order=order,
        shift_minutes=staged.shift_minutes,
    )


def _applied_at(outcome: Outcome) -> int:
    if outcome.applied_at_ms is None:
        raise OutcomeUnknown(outcome.transaction)
    return outcome.applied_at_ms

"""Being in contact with a pump: the session, the journal of this pump and slot, and what is still unknown in it.

Whoever talks to the pump does so through here, so that the first request of every new contact asks what became of the
operations whose outcome is unknown (trust.md 5.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import LinkError, OutcomeUnknown, UsageError
from telemetry.model import Verdict
from telemetry.programmer.connection import Lost
from telemetry.programmer.journal import JournalEntry, Stage, moved_to, unresolved
from telemetry.programmer.records import Outcome, explain_refusal
from telemetry.protocol.messages import Message, Query, Refusal, VerdictReport
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.programmer.connection import PumpConnection
    from telemetry.programmer.journal import Journal, JournalStore
    from telemetry.protocol.messages import AcceptPayload

Answer = TypeVar("Answer", bound=Message)
OP_ID_BYTES = 16


class Contact:
    """One programmer's contact with the pump under its telemeter; opens and reopens the session as needed."""

    def __init__(self, connection: PumpConnection, journals: JournalStore) -> None:
        self.connection = connection
        self._journals = journals
        self._asked_in: AcceptPayload | None = None
        """The session in which every unknown outcome has been asked for."""
        self.concentration_ng_per_ml: int | None = None
        """Of the reservoir, once it has been read: refusals are explained with it."""
        self.resolved: list[Outcome] = []
        """Outcomes of earlier operations that this programmer has found out, oldest first."""

    async def open(self, *, resolve: bool = True) -> AcceptPayload:
        """Open link and session; the first request of a new session asks for every outcome still unknown.

        Only a stop does without (``resolve=False``): nothing may keep it from going out.
        """
        accept = await self.connection.open()
        if resolve and accept is not self._asked_in:
            journal = self.journal(accept)
            for entry in unresolved(journal):
                await self.outcome_of(journal, entry.op_id)
            self._asked_in = accept
        return accept

    def journal(self, accept: AcceptPayload) -> Journal:
        """The journal of the pump that answered, for our slot."""
        return self._journals.journal(accept.pump_id, self.connection.slot)

    async def read(self, message: Message, kind: type[Answer], *, resolve: bool = True) -> Answer:
        """Send a request that changes nothing; opens a new session once when an old one turns out to be gone.

        Raises ``LinkError``, ``PeerError`` or ``Refused``.
        """
        reused = self.connection.session_open
        await self.open(resolve=resolve)
        answer = await self.connection.exchange(message)
        if isinstance(answer, Lost) and reused:
            await self.open(resolve=resolve)
            answer = await self.connection.exchange(message)
        return self._expect(answer, kind)

    async def ask(self, message: Message, *kinds: type[Answer]) -> Answer:
        """Send a request in the open session and no other; raises as ``read`` does."""
        return self._expect(await self.connection.exchange(message), *kinds)

    async def outcome_of(self, journal: Journal, transaction: str) -> Outcome:
        """What the pump's ledger says of an operation; booked when it settles an open one."""
        report = await self.ask(Query(op_id=op_id_of(transaction)), VerdictReport)
        outcome = outcome_in(report)
        entry = next((entry for entry in unresolved(journal) if entry.op_id == transaction), None)
        if entry is not None and outcome.certain:
            applied = outcome.verdict is Verdict.APPLIED
            journal.record(moved_to(entry, Stage.APPLIED if applied else Stage.REFUSED, outcome.verdict.value))
            self.resolved.append(outcome)
        return outcome

    async def outcome(self, transaction: str) -> Outcome:
        """Ask the pump what became of an operation. Raises ``UsageError`` for what is no operation id."""
        op_id_of(transaction)
        return await self.outcome_of(self.journal(await self.open()), transaction)

    async def settle(self, transaction: str, note: str) -> None:
        """Close an operation that the pump has forgotten, by a person's decision with its reason.

        Raises ``UsageError`` when the operation is not open in the journal or no reason is given.
        """
        if not note.strip():
            raise UsageError("note: say what was decided and by whom; both hypotheses stay in the journal")
        journal = self.journal(await self.open())
        entry = next((entry for entry in unresolved(journal) if entry.op_id == transaction), None)
        if entry is None:
            raise UsageError(f"transaction: {transaction!r} is not an operation whose outcome is unknown")
        journal.record(moved_to(entry, Stage.SETTLED, note))

    async def dosing_journal(self) -> Journal:
        """The journal, once nothing in it is unknown: no new dose leaves before (INV-22)."""
        journal = self.journal(await self.open())
        for entry in unresolved(journal):
            raise OutcomeUnknown(entry.op_id, _forgotten(entry))
        return journal

    def _expect(self, answer: Message | Lost, *kinds: type[Answer]) -> Answer:
        if isinstance(answer, Lost):
            raise answer.error
        if isinstance(answer, Refusal):
            raise explain_refusal(answer, concentration_ng_per_ml=self.concentration_ng_per_ml)
        if isinstance(answer, kinds):
            return answer
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise LinkError(f"the pump answered {type(answer).__name__} where {expected} was due")


def outcome_in(report: VerdictReport) -> Outcome:
    """The outcome that a verdict tells; wire seconds become milliseconds."""
    applied = report.verdict is Verdict.APPLIED
    at_ms = report.effective_s * MS_PER_SECOND if applied else None
    return Outcome(report.op_id.hex(), report.verdict, report.reason, at_ms)


def op_id_of(transaction: str) -> bytes:
    """The bytes of an operation id; raises ``UsageError`` for any other text."""
    try:
        op_id = bytes.fromhex(transaction)
    except ValueError:
        op_id = b""
    if len(op_id) != OP_ID_BYTES:
        raise UsageError(f"transaction: {transaction!r} is no operation id (32 hexadecimal digits)")
    return op_id


def _forgotten(entry: JournalEntry) -> str:
    return (
        f"operation {entry.op_id} ({entry.intent}) was sent and the pump has no record of its outcome any more: "
        f"read the pump's log, decide, and settle it before any new change"
    )

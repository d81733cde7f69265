"""``Programmer``: everything a tablet can ask of a telemeter and the pump under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import LinkError, PeerError, UsageError
from telemetry.model import LogReport, OperationKind, PumpMode, Role, StopReason, Therapy, TherapyState, Warn
from telemetry.programmer import records
from telemetry.programmer.contact import Contact
from telemetry.programmer.dosing import Dosing, Intent, program_intent
from telemetry.protocol import messages as wire
from telemetry.protocol.codec import encode_record
from telemetry.protocol.wire import IMAGE_SCHEMA, MAX_LOG_RECORDS
from telemetry.units import MS_PER_SECOND, DailyDose, FlowRate, HourlyDose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from telemetry.clock import Clock
    from telemetry.model import (
        Alarm,
        AlarmKind,
        Change,
        Identity,
        LogRecord,
        ProgramReport,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
    )
    from telemetry.programmer.connection import PumpConnection
    from telemetry.programmer.journal import JournalStore
    from telemetry.programmer.records import Outcome, Proposal

_Answer = TypeVar("_Answer", bound=wire.Message)
_DEFAULT_SILENCE_MS = 600_000
"""Ten minutes: the audio pause of the Open PCA requirements (domain.md 5.3), for want of a pump's own figure."""
_DEFAULT_POLL_MS = 2_000


class Programmer:
    """The driver. Opens link and session when first needed and again when they are gone; close it when done.

    Reads raise ``LinkError``, ``PeerError`` or ``Refused``. Every therapy-changing call returns a ``Change`` or
    raises ``Refused``, ``OutcomeUnknown``, or ``LinkError``/``UsageError``, which prove that nothing was changed.
    """

    def __init__(
        self,
        connection: PumpConnection,
        *,
        clock: Clock,
        journals: JournalStore,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._contact = Contact(connection, journals)
        self._dosing = Dosing(self._contact, clock=clock, entropy=entropy)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close session and link. Idempotent; never raises for a link that is already gone."""
        await self._connection.close()

    async def release(self) -> None:
        """Close the session only, so that another programmer may have the pump; the next call opens it again."""
        await self._connection.close_session()

    @property
    def resolved(self) -> tuple[Outcome, ...]:
        """Outcomes of earlier operations that were unknown and that the pump has told since."""
        return tuple(self._contact.resolved)

    async def read_telemeter(self) -> TelemeterInfo:
        """Ask the telemeter about itself; works without contact to a pump."""
        return records.read_telemeter(await self._connection.read_telemeter())

    async def watch_contact(self, on_contact: Callable[[wire.ContactEvent], None]) -> None:
        """Have the telemeter report contact and coupling (bars 0–5) from now on."""
        await self._connection.subscribe(on_contact)

    async def read_identity(self) -> Identity:
        """Who the pump is."""
        return records.read_identity(await self._read(wire.ReadIdentity(), wire.Identity))

    async def read_status(self) -> PumpStatus:
        """What the pump says of itself: its own books, not the truth."""
        return records.read_status(await self._read(wire.ReadStatus(), wire.Status))

    async def read_program(self) -> ProgramReport:
        """The committed program, whether or not it runs."""
        return records.read_program(await self._read(wire.ReadProgram(), wire.ProgramReport))

    async def read_limits(self) -> PumpLimits:
        """The limits the pump enforces by itself."""
        return records.read_limits(await self._read(wire.ReadLimits(), wire.Limits))

    async def read_alarms(self) -> tuple[Alarm, ...]:
        """Every alarm that is present, latched or silenced."""
        return records.read_alarms(await self._read(wire.ReadAlarms(), wire.AlarmReport))

    async def read_log(self, since: int = 0, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """The pump's event log from sequence number ``since`` on, all pages; ``progress(done, total)`` as it goes."""
        collected: list[LogRecord] = []
        while True:
            start = collected[-1].sequence + 1 if collected else since
            page = await self._read(wire.ReadLog(from_sequence=start, max_records=MAX_LOG_RECORDS), wire.LogPage)
            collected += [records.read_log_entry(entry) for entry in page.records]
            if progress is not None:
                first = max(since, page.oldest_sequence)
                progress(len(collected), max(0, page.newest_sequence - first + 1))
            if not page.records or collected[-1].sequence >= page.newest_sequence:
                return LogReport(tuple(collected), page.oldest_sequence, page.newest_sequence, page.overwritten)

    async def set_rate(
        self,
        rate: FlowRate | DailyDose | HourlyDose,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Callable[[Proposal], Awaitable[bool]] | None = None,
    ) -> Change:
        """Change to a simple continuous therapy at this flow or dose: stage, read back, commit.

        ``accept`` names the soft limits that may be passed; ``confirm`` is shown the pump's own numbers and says
        whether to go on.
        """
        if not isinstance(rate, FlowRate | DailyDose | HourlyDose):
            raise UsageError(f"rate: {rate!r} is no FlowRate, DailyDose or HourlyDose; a bare number has no unit")
        return await self.program(Therapy.simple_continuous(rate), accept=accept, confirm=confirm)

    async def program(
        self,
        therapy: Therapy,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Callable[[Proposal], Awaitable[bool]] | None = None,
    ) -> Change:
        """Change to this therapy: stage, read back, commit."""
        accepted = _warnings(accept)
        keep_alive = 0
        if therapy.mode is PumpMode.MINIMUM_RATE:
            keep_alive = (await self._before_change(wire.ReadLimits(), wire.Limits)).keep_alive_rate_nl_per_day

        def make(status: wire.Status) -> Intent:
            rate = therapy.rate if therapy.rate is not None else FlowRate(keep_alive)
            rate_nl_per_day, dose_ng_per_day = records.rate_in_force(rate, status.concentration_ng_per_ml)
            image = wire.ProgramImage(
                schema=IMAGE_SCHEMA,
                mode=therapy.mode,
                drug=status.drug,
                concentration_ng_per_ml=status.concentration_ng_per_ml,
                reservoir_generation=status.reservoir_generation,
                rate_nl_per_day=rate_nl_per_day,
                dose_ng_per_day=dose_ng_per_day,
            )
            return program_intent(image, f"{therapy.mode.value} at {rate}")

        return await self._dosing.change(make, accepted, confirm)

    async def resume(
        self,
        *,
        accept: Iterable[Warn | str] = (),
        confirm: Callable[[Proposal], Awaitable[bool]] | None = None,
    ) -> Change:
        """Start the committed program of a stopped pump again: staged and committed like any other change.

        The pump warns (``starts_delivery``); resuming is what the caller asked for, so that one is accepted.
        """
        accepted = _warnings((*accept, Warn.STARTS_DELIVERY))
        report = records.read_program(await self._before_change(wire.ReadProgram(), wire.ProgramReport))

        def make(status: wire.Status) -> Intent:
            image = encode_record(
                "resume_image",
                wire.ResumeImage(
                    schema=IMAGE_SCHEMA,
                    reserved=0,
                    program_sequence=report.program_sequence,
                    program_digest=report.program_digest,
                ),
            )
            program = report.program
            after = TherapyState(
                program.mode, program.rate_nl_per_day, program.dose_ng_per_day, status.concentration_ng_per_ml
            )
            return Intent(OperationKind.RESUME, image, after, "resume")

        return await self._dosing.change(make, accepted, confirm)

    async def stop(self, reason: StopReason = StopReason.CLINICAL) -> Change:
        """Stop delivery at once. Abrupt loss of intrathecal baclofen can kill: have a plan before you do."""
        return await self._dosing.stop(reason)

    async def silence_alarm(self, duration_ms: int = _DEFAULT_SILENCE_MS) -> tuple[Alarm, ...]:
        """Silence what sounds now for a time; returns the alarms as they are then. Causes stay, and stay logged."""
        if duration_ms < MS_PER_SECOND or duration_ms % MS_PER_SECOND:
            raise UsageError(f"duration_ms: {duration_ms} is no whole number of seconds of at least one")
        message = wire.SilenceAlarms(duration_s=duration_ms // MS_PER_SECOND)
        return records.read_alarms(await self._read(message, wire.AlarmReport))

    async def acknowledge_alarm(self, kind: AlarmKind) -> tuple[Alarm, ...]:
        """Acknowledge an alarm: releases it when it is only latched, quiets it while its condition is present."""
        return records.read_alarms(await self._read(wire.AcknowledgeAlarm(kind=kind), wire.AlarmReport))

    async def outcome(self, transaction: str) -> Outcome:
        """What became of an operation, by the pump's ledger."""
        return await self._contact.outcome(transaction)

    async def settle(self, transaction: str, note: str) -> None:
        """Close, by a person's decision, an operation whose outcome the pump has forgotten."""
        await self._contact.settle(transaction, note)

    async def alarms(self, poll_ms: int = _DEFAULT_POLL_MS) -> AsyncIterator[Alarm]:
        """Alarms as they come: those present now first, then each new one. Never ends by itself.

        Opens, reads and closes at each poll, so that it never holds the pump.
        """
        seen: set[tuple[AlarmKind, int, int]] = set()
        while True:
            present = await self.read_alarms()
            await self.release()
            keys = {(alarm.kind, alarm.since_ms, alarm.count) for alarm in present}
            for alarm in present:
                if (alarm.kind, alarm.since_ms, alarm.count) not in seen:
                    yield alarm
            seen = keys
            await self._clock.sleep_until(self._clock.link_ms() + poll_ms)

    async def _read(self, message: wire.Message, expected: type[_Answer]) -> _Answer:
        return await self._contact.read(message, expected)

    async def _before_change(self, message: wire.Message, expected: type[_Answer]) -> _Answer:
        """A reading that a change rests on: whatever fails here, nothing was changed."""
        try:
            return await self._read(message, expected)
        except PeerError as error:
            raise LinkError(f"{error}; nothing was changed") from error


def _warnings(names: Iterable[Warn | str]) -> frozenset[Warn]:
    try:
        return frozenset(Warn(name) for name in names)
    except ValueError as error:
        known = ", ".join(warning.value for warning in Warn)
        raise UsageError(f"accept: {error}; the warnings are: {known}") from error


__all__ = ["Programmer", "Role"]

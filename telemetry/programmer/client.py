"""``Programmer``: everything a tablet can ask of a telemeter and the pump under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.clock import host_utc_ms
from telemetry.errors import UsageError
from telemetry.model import Role
from telemetry.programmer import records
from telemetry.programmer.contact import Contact
from telemetry.programmer.dosing import Dosing
from telemetry.programmer.following import Follower
from telemetry.programmer.workflows import Workflows
from telemetry.protocol import messages as wire
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Self

    from telemetry.clock import Clock
    from telemetry.interrogation import Sighting
    from telemetry.model import Alarm, AlarmKind
    from telemetry.programmer.connection import PumpConnection
    from telemetry.programmer.journal import JournalStore
    from telemetry.programmer.records import Outcome

_DEFAULT_SILENCE_MS = 600_000
"""Ten minutes: the audio pause of the Open PCA requirements (domain.md 5.3), for want of a pump's own figure."""
_DEFAULT_POLL_MS = 2_000


class Programmer(Workflows):
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
        utc_s: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._utc_s = utc_s
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

    async def follow(
        self, poll_ms: int = _DEFAULT_POLL_MS, *, since: int = 0, utc_ms: Callable[[], int] = host_utc_ms
    ) -> AsyncIterator[Sighting]:
        """Everything the pump says, read every ``poll_ms`` of link time; never ends by itself.

        Each look is a session of its own, so that it never holds the pump; what changes seldom is read again only when
        the pump says that it changed. A look that fails is told as ``NotRead`` and tried again at the next. Log records
        come once each, from sequence number ``since`` on.
        """
        follower = Follower(self, since=since, utc_ms=utc_ms)
        while True:
            due_ms = self._clock.link_ms() + poll_ms
            yield await follower.look()
            await self._clock.sleep_until(due_ms)


__all__ = ["Programmer", "Role"]

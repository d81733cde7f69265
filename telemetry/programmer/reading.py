"""Everything that can be read of a telemeter and the pump under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import LinkError, Refused
from telemetry.model import LogCode, LogReport, RefusalReason
from telemetry.programmer import records
from telemetry.programmer.prescription import Prescription
from telemetry.protocol import messages as wire
from telemetry.protocol.wire import MAX_IMAGE, MAX_LOG_RECORDS, MAX_READ_BACK_PART

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Alarm, DeliveryReport, Identity, LogRecord, PumpLimits, PumpStatus, TelemeterInfo
    from telemetry.programmer.connection import PumpConnection
    from telemetry.programmer.contact import Contact
    from telemetry.programmer.records import PumpRules
    from telemetry.therapy import AlarmSettings, ProgramReport


@dataclass(frozen=True, slots=True)
class LastFill:
    """What the pump was told at its last refill, and whether that was the first one after it was implanted."""

    volume_nl: int
    first: bool


_Answer = TypeVar("_Answer", bound=wire.Message)
_MOST_PARTS = 1 + -(-MAX_IMAGE // MAX_READ_BACK_PART)
_PROGRAM_TRIES = 3


class Reader:
    """The reading half of a ``Programmer``. Raises ``LinkError``, ``PeerError`` or ``Refused``."""

    _connection: PumpConnection
    _contact: Contact

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
        """The committed program with all its parts, whether or not it runs.

        Read anew when it was changed between two parts; raises ``LinkError`` when that does not end.
        """
        for _ in range(_PROGRAM_TRIES):
            first: wire.ProgramReport | None = None
            image = b""
            for part in range(_MOST_PARTS):
                try:
                    report = await self._read(wire.ReadProgram(part=part), wire.ProgramReport)
                except Refused as refused:
                    if part and refused.reason == RefusalReason.IMAGE_OUT_OF_BOUNDS:
                        break  # a shorter program came into force meanwhile
                    raise
                if first is None:
                    first = report
                if (report.program_sequence, report.program_digest) != (first.program_sequence, first.program_digest):
                    break
                image += report.image
                if part + 1 >= report.parts:
                    return records.read_program(report, image)
        raise LinkError("the pump's program changes while it is read, or does not end; interrogate the pump again")

    async def read_limits(self) -> PumpLimits:
        """The limits the pump enforces by itself."""
        return records.read_limits(await self._read(wire.ReadLimits(), wire.Limits))

    async def read_rules(self) -> PumpRules:
        """What the pump allows besides its limits: steps, patient boluses, prime rate, concentrations."""
        return records.read_rules(await self._read(wire.ReadLimits(), wire.Limits))

    async def read_delivery(self) -> DeliveryReport:
        """What runs on top of the program now, and what the pump counted as given in the last hours."""
        return records.read_delivery(await self._read(wire.ReadDelivery(), wire.Delivery))

    async def read_alarms(self) -> tuple[Alarm, ...]:
        """Every alarm that is present, latched or silenced."""
        return records.read_alarms(await self._read(wire.ReadAlarms(), wire.AlarmReport))

    async def read_alarm_settings(self) -> AlarmSettings:
        """What a clinician may set of the alarms, as it is."""
        return records.read_alarm_settings(await self._read(wire.ReadAlarmSettings(), wire.AlarmSettingsReport))

    async def read_log(self, since: int = 0, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """The pump's event log from sequence number ``since`` on, all pages; ``progress(done, total)`` as it goes."""
        collected: list[LogRecord] = []
        while True:
            start = collected[-1].sequence + 1 if collected else since
            page = await self._read_page(start)
            collected += [records.read_log_entry(entry) for entry in page.records]
            if progress is not None:
                first = max(since, page.oldest_sequence)
                progress(len(collected), max(0, page.newest_sequence - first + 1))
            if not page.records or collected[-1].sequence >= page.newest_sequence:
                return LogReport(tuple(collected), page.oldest_sequence, page.newest_sequence, page.overwritten)

    async def read_prescription(self) -> Prescription:
        """Everything of this pump that its successor on the same catheter is to carry on."""
        report, delivery = await self.read_program(), await self.read_delivery()
        return Prescription(
            await self.read_identity(),
            report.program,
            await self.read_limits(),
            await self.read_alarm_settings(),
            delivery.zone_minutes,
        )

    async def last_fill(self, generation: int) -> LastFill | None:
        """What the pump was told at its last refill, by its log; None where the log does not say so (any more).

        Reads from the newest page backwards, since a log may be long and a link slow.
        """
        page = await self._read_page(0)
        start, later = page.newest_sequence + 1, list[wire.LogEntry]()
        while page.records and start > page.oldest_sequence:
            start = max(page.oldest_sequence, start - MAX_LOG_RECORDS)
            page = await self._read_page(start)
            found = [entry for entry in page.records if entry.code is LogCode.REFILLED]
            if found:
                refill = found[-1]
                around = [*page.records, *later]
                if start > page.oldest_sequence:
                    around += (await self._read_page(max(page.oldest_sequence, start - MAX_LOG_RECORDS))).records
                first = any(entry.code is LogCode.ACTIVATED and entry.at_s == refill.at_s for entry in around)
                return LastFill(refill.value, first) if refill.detail == generation else None
            later = list(page.records)
        return None

    async def _read_page(self, start: int) -> wire.LogPage:
        return await self._read(wire.ReadLog(from_sequence=start, max_records=MAX_LOG_RECORDS), wire.LogPage)

    async def _read(self, message: wire.Message, expected: type[_Answer]) -> _Answer:
        return await self._contact.read(message, expected)

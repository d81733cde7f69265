"""Following a pump: one look after the other, each a session of its own, and nothing read twice without need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from telemetry.errors import LinkError, PeerError, Refused
from telemetry.interrogation import Interrogation, NotRead

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.interrogation import Sighting
    from telemetry.model import Alarm, DeliveryReport, Identity, LogReport, PumpLimits, PumpStatus, TelemeterInfo
    from telemetry.therapy import ProgramReport


_FIRST_RECORD = 1
"""Sequence number of the first record of a pump's log."""


class Readable(Protocol):
    """What a look asks of a ``Programmer``."""

    async def read_telemeter(self) -> TelemeterInfo: ...  # noqa: D102 - as in Programmer
    async def read_identity(self) -> Identity: ...  # noqa: D102 - as in Programmer
    async def read_status(self) -> PumpStatus: ...  # noqa: D102 - as in Programmer
    async def read_alarms(self) -> tuple[Alarm, ...]: ...  # noqa: D102 - as in Programmer
    async def read_program(self) -> ProgramReport: ...  # noqa: D102 - as in Programmer
    async def read_delivery(self) -> DeliveryReport: ...  # noqa: D102 - as in Programmer
    async def read_limits(self) -> PumpLimits: ...  # noqa: D102 - as in Programmer
    async def read_log(self, since: int = 0) -> LogReport: ...  # noqa: D102 - as in Programmer
    async def release(self) -> None: ...  # noqa: D102 - as in Programmer


class Follower:
    """Looks at one pump again and again; remembers what need not be read again."""

    def __init__(self, programmer: Readable, *, since: int, utc_ms: Callable[[], int]) -> None:
        self._programmer = programmer
        self._utc_ms = utc_ms
        self._since = since
        self._last: Interrogation | None = None

    async def look(self) -> Sighting:
        """Read the pump once and let it go; ``NotRead`` when that fails. Raises nothing of the link."""
        try:
            found = await self._read()
            await self._programmer.release()
        except (LinkError, PeerError, Refused) as error:
            return NotRead(self._utc_ms(), type(error).__name__, " ".join(str(error).split()))
        self._last = found
        if found.log:
            self._since = found.log[-1].sequence + 1
        return found

    async def _read(self) -> Interrogation:
        # The status first: alarms are to be known as soon as can be.
        programmer, last = self._programmer, self._last
        status = await programmer.read_status()
        alarms = await programmer.read_alarms()
        read_utc_ms = self._utc_ms()
        identity = await programmer.read_identity()
        if last is not None and last.identity.pump_id != identity.pump_id:
            last, self._since = None, 0
        log = await programmer.read_log(since=self._since)
        same = (
            last is not None
            and not log.records
            and (status.program_sequence, status.program_digest, status.boot_epoch)
            == (last.status.program_sequence, last.status.program_digest, last.status.boot_epoch)
        )
        program = last.program if same and last is not None else await programmer.read_program()
        limits = last.limits if same and last is not None else await programmer.read_limits()
        return Interrogation(
            read_utc_ms=read_utc_ms,
            identity=identity,
            telemeter=await programmer.read_telemeter(),
            status=status,
            alarms=alarms,
            program=program,
            delivery=await programmer.read_delivery(),
            limits=limits,
            log=log.records,
            log_overwritten=max(0, log.oldest_sequence - max(self._since, _FIRST_RECORD)),
        )

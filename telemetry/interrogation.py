"""What following a pump brings: one reading of everything it says, or the news that it cannot be read.

Whatever shows a pump to others (broker, hospital, reports) is made from these records and holds no driver, so that it
cannot command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.model import (
        Alarm,
        DeliveryReport,
        Identity,
        LogRecord,
        PumpLimits,
        PumpStatus,
        TelemeterInfo,
    )
    from telemetry.therapy import ProgramReport


@dataclass(frozen=True, slots=True)
class Interrogation:
    """One reading of a pump, all of it from one session.

    ``read_utc_ms`` is the host's time at which the last answer was in. ``log`` holds the records that are new since
    the reading before (all of them in the first), oldest first; ``log_overwritten`` counts records of the pump's log
    that were gone before anyone read them.
    """

    read_utc_ms: int
    identity: Identity
    telemeter: TelemeterInfo
    status: PumpStatus
    alarms: tuple[Alarm, ...]
    program: ProgramReport
    delivery: DeliveryReport
    limits: PumpLimits
    log: tuple[LogRecord, ...]
    log_overwritten: int = 0


@dataclass(frozen=True, slots=True)
class NotRead:
    """The pump could not be read; ``kind`` is the name of the error, ``reason`` its sentence, what to do included."""

    at_utc_ms: int
    kind: str
    reason: str


Sighting = Interrogation | NotRead
"""What one look at a pump gives."""

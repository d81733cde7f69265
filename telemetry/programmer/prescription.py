"""What is carried from one pump to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.model import Identity, PumpLimits
    from telemetry.therapy import AlarmSettings, Program


@dataclass(frozen=True, slots=True)
class Prescription:
    """All that a replacement pump on the same catheter needs of the pump before it; ``zone_minutes`` east of UTC.

    The catheter goes on: its volume is the old pump's, and it holds drug of the old program's concentration.
    """

    identity: Identity
    program: Program
    limits: PumpLimits
    alarm_settings: AlarmSettings
    zone_minutes: int

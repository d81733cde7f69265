"""What a row of the alarm table is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from telemetry.model import AlarmClass, AlarmKind, AlarmPriority


class TabletCondition(StrEnum):
    """What a tablet must announce although the pump raises no alarm of it (domain.md 5.4, trust.md 5.11)."""

    TELEMETRY_LATCH = "telemetry_latch"
    DOSE_MISMATCH = "dose_mismatch"
    OUTCOME_UNKNOWN = "outcome_unknown"
    TABLET_BATTERY_LOW = "tablet_battery_low"
    LOG_NEARLY_FULL = "log_nearly_full"


Condition = AlarmKind | TabletCondition


class Tone(StrEnum):
    """What the pump's beeper makes of it (domain.md 2.5)."""

    NONE = "none"
    SINGLE = "single"
    TWO_TONE = "two_tone"


class Hearer(StrEnum):
    """Who has to do something about it."""

    PATIENT = "patient"
    CARER = "carer"
    CLINICIAN = "clinician"


@dataclass(frozen=True, slots=True)
class Advice:
    """What each hearer is told, in the imperative."""

    patient: str
    carer: str
    clinician: str

    def to(self, hearer: Hearer) -> str:
        """The words for one hearer."""
        return {Hearer.PATIENT: self.patient, Hearer.CARER: self.carer, Hearer.CLINICIAN: self.clinician}[hearer]


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One row. ``near_priority`` replaces ``priority`` when the reservoir will be empty within ``near_ms``.

    ``alarm_class``, ``burst_ms`` and ``repeat_ms`` are None for what only the tablet announces.
    """

    kind: Condition
    condition: str
    alarm_class: AlarmClass | None
    tone: Tone
    burst_ms: int | None
    repeat_ms: int | None
    latching: bool
    heard_by: tuple[Hearer, ...]
    advice: Advice
    priority: AlarmPriority
    source: str
    confidence: str
    near_ms: int | None = None
    near_priority: AlarmPriority | None = None

    def priority_at(self, empties_in_ms: int | None = None) -> AlarmPriority:
        """How a tablet ranks it, with the reservoir running empty in so many milliseconds (None: unknown or never)."""
        if self.near_ms is None or self.near_priority is None or empties_in_ms is None:
            return self.priority
        return self.near_priority if empties_in_ms <= self.near_ms else self.priority

"""The rows: what of domain.md 2.5 and 5.4 (and trust.md, where it adds) is known of each alarm."""

from __future__ import annotations

from telemetry.alarm_table.advice import ADVICE
from telemetry.alarm_table.kinds import AlarmRow, Condition, Hearer, TabletCondition, Tone
from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority
from telemetry.units import MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND

LOW_RESERVOIR_NEAR_MS = 72 * MS_PER_HOUR
"""Below this a low reservoir ranks medium (domain.md 5.4)."""
SINGLE_TONE_MS = MS_PER_SECOND
"""Length of a single tone; domain.md 2.5 gives none (C)."""
TWO_TONE_MS = 3 * MS_PER_SECOND
"""Length of a two-tone burst (domain.md 2.5, A)."""
NON_CRITICAL_REPEAT_MS = 60 * MS_PER_MINUTE
"""About hourly (domain.md 2.5, A)."""
CRITICAL_REPEAT_MS = 10 * MS_PER_MINUTE
"""domain.md 2.5 (C)."""

_EVERYBODY = (Hearer.PATIENT, Hearer.CARER, Hearer.CLINICIAN)


def _pump(
    kind: AlarmKind,
    condition: str,
    priority: AlarmPriority,
    source: str,
    confidence: str,
    *,
    critical: bool,
    latching: bool,
    near_priority: AlarmPriority | None = None,
) -> AlarmRow:
    return AlarmRow(
        kind=kind,
        condition=condition,
        alarm_class=AlarmClass.CRITICAL if critical else AlarmClass.NON_CRITICAL,
        tone=Tone.TWO_TONE if critical else Tone.SINGLE,
        burst_ms=TWO_TONE_MS if critical else SINGLE_TONE_MS,
        repeat_ms=CRITICAL_REPEAT_MS if critical else NON_CRITICAL_REPEAT_MS,
        latching=latching,
        heard_by=_EVERYBODY,
        advice=ADVICE[kind],
        priority=priority,
        source=source,
        confidence=confidence,
        near_ms=None if near_priority is None else LOW_RESERVOIR_NEAR_MS,
        near_priority=near_priority,
    )


def _tablet(
    kind: TabletCondition,
    condition: str,
    priority: AlarmPriority,
    source: str,
    heard_by: tuple[Hearer, ...] = (Hearer.CLINICIAN,),
) -> AlarmRow:
    return AlarmRow(
        kind=kind,
        condition=condition,
        alarm_class=None,
        tone=Tone.NONE,
        burst_ms=None,
        repeat_ms=None,
        latching=False,
        heard_by=heard_by,
        advice=ADVICE[kind],
        priority=priority,
        source=source,
        confidence="design",
    )


ROWS: tuple[AlarmRow, ...] = (
    _pump(
        AlarmKind.LOW_RESERVOIR,
        "the calculated volume has come down to the alarm volume; drug is still flowing",
        AlarmPriority.LOW,
        "domain.md 2.5; priority and its 72 h domain.md 5.4",
        "A",
        critical=False,
        latching=False,
        near_priority=AlarmPriority.MEDIUM,
    ),
    _pump(
        AlarmKind.EMPTY_RESERVOIR,
        "the calculated volume is used up; no drug is flowing",
        AlarmPriority.HIGH,
        "domain.md 2.5; priority domain.md 5.4",
        "A",
        critical=True,
        latching=False,
    ),
    _pump(
        AlarmKind.ELECTIVE_REPLACEMENT,
        "the battery has reached elective replacement (ERI): 90 days of service are left at most",
        AlarmPriority.MEDIUM,
        "domain.md 2.4 and 2.5; priority domain.md 5.4",
        "A",
        critical=False,
        latching=False,
    ),
    _pump(
        AlarmKind.END_OF_SERVICE,
        "the battery has reached the end of service (EOS); the pump has stopped for good",
        AlarmPriority.HIGH,
        "domain.md 2.4 and 2.5; priority domain.md 5.4",
        "A",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.THERAPY_STOPPED,
        "somebody has stopped the pump; no drug is flowing",
        AlarmPriority.HIGH,
        "trust.md 4.13: a stop raises a high-priority, latched alarm",
        "design",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.STOPPED_PUMP,
        "no stroke for more than 48 h: the pump tube may have taken a set",
        AlarmPriority.HIGH,
        "domain.md 2.5 and 2.6; priority domain.md 5.4",
        "B",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.MEMORY_ERROR,
        "the pump has lost something it remembered and could not repair it",
        AlarmPriority.HIGH,
        "domain.md 2.5; priority domain.md 5.4 (safe state)",
        "B",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.SAFE_STATE,
        "after an error the pump gives no more than its safe rate, and takes no resume until it is programmed in full",
        AlarmPriority.HIGH,
        "domain.md 2.5 (safe state); priority domain.md 5.4",
        "A",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.MOTOR_STALL,
        "the rotor does not turn although it is driven; no drug is flowing",
        AlarmPriority.HIGH,
        "domain.md 2.5 and 2.6; priority domain.md 5.4",
        "A",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.LOW_BATTERY_RESET,
        "the supply fell too low for a moment and the pump started anew",
        AlarmPriority.HIGH,
        "domain.md 2.4 and 2.5; priority as safe state, domain.md 5.4",
        "A",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.MEMORY_WARNING,
        "the pump found something it remembered damaged, and repaired it from its copy",
        AlarmPriority.MEDIUM,
        "domain.md 2.5 (non-critical memory error); priority domain.md 5.4",
        "B",
        critical=False,
        latching=False,
    ),
    _pump(
        AlarmKind.DOSE_LIMIT,
        "the pump has withheld delivery: its own count of the last hours would have passed a limit",
        AlarmPriority.HIGH,
        "domain.md 2.3 (sliding window); priority domain.md 5.4 (dose mismatch)",
        "design",
        critical=True,
        latching=True,
    ),
    _pump(
        AlarmKind.BOLUS_INTERRUPTED,
        "power failed while a bolus or a prime ran; it was not taken up again",
        AlarmPriority.MEDIUM,
        "trust.md 5.6: a bolus interrupted by a reset ends as partial, with an alarm; the basal flows on",
        "design",
        critical=False,
        latching=True,
    ),
    _tablet(
        TabletCondition.TELEMETRY_LATCH,
        "the pump reports telemetry mode although no session is open: it gives no drug until it is interrogated",
        AlarmPriority.HIGH,
        "domain.md 2.6 and 5.4",
        heard_by=_EVERYBODY,
    ),
    _tablet(
        TabletCondition.DOSE_MISMATCH,
        "what the pump reads back is not what was meant",
        AlarmPriority.HIGH,
        "domain.md 5.4",
    ),
    _tablet(
        TabletCondition.OUTCOME_UNKNOWN,
        "a change was sent and no verdict has come back",
        AlarmPriority.MEDIUM,
        "trust.md 5.11",
    ),
    _tablet(
        TabletCondition.TABLET_BATTERY_LOW,
        "the battery of the tablet is nearly empty",
        AlarmPriority.LOW,
        "domain.md 5.4",
    ),
    _tablet(
        TabletCondition.LOG_NEARLY_FULL,
        "the pump's log will soon overwrite its oldest lines",
        AlarmPriority.LOW,
        "domain.md 5.4",
    ),
)
TABLE: dict[Condition, AlarmRow] = {row.kind: row for row in ROWS}
PUMP_ROWS: tuple[AlarmRow, ...] = tuple(row for row in ROWS if isinstance(row.kind, AlarmKind))


def parse_condition(text: str) -> Condition:
    """A kind by its name, with ``-`` for ``_`` if you like; raises ``UsageError`` listing the names."""
    name = text.strip().lower().replace("-", "_")
    for row in ROWS:
        if row.kind.value == name:
            return row.kind
    raise UsageError(f"alarm: {text!r} is no kind of alarm; one of: {', '.join(row.kind for row in ROWS)}")

"""Alarms as DetectedIssue: those that stand now, and those that the log tells of.

Present: ``final``. Over: ``mitigated``, with its period. Silencing and acknowledging are mitigations of a standing
issue and do not end it. Severity follows the priority: high, moderate (medium), low; of the moment
for one that stands, of the alarm table for one that is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.alarm_table import TABLE
from telemetry.hospital.alerts import priority_now
from telemetry.hospital.fhir.devices import pump_id
from telemetry.hospital.fhir.parts import Resource, identity_of, own, pump_instant, reference, resource
from telemetry.model import AlarmKind, AlarmPriority, AlarmSignal, LogCode
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.interrogation import Interrogation
    from telemetry.model import Alarm, Identity, LogRecord

_KINDS = tuple(AlarmKind)
SEVERITIES = {AlarmPriority.HIGH: "high", AlarmPriority.MEDIUM: "moderate", AlarmPriority.LOW: "low"}
_ACTIONS = {LogCode.ALARM_SILENCED: "silenced for a time", LogCode.ALARM_ACKNOWLEDGED: "acknowledged"}
_OF_ALARMS = frozenset({LogCode.ALARM_RAISED, LogCode.ALARM_CLEARED, *_ACTIONS})


@dataclass(slots=True)
class Issue:
    """One alarm from where it was raised to where it ended; what is not known is None. Pump time, whole seconds.

    ``count`` says how many times the pump has raised this kind; ``sequence`` is the first record of it.
    """

    kind: AlarmKind
    since_ms: int | None
    count: int | None = None
    sequence: int | None = None
    standing: Alarm | None = None
    over_ms: int | None = None
    actions: list[tuple[str, int]] = field(default_factory=list)


def issues(seen: Interrogation) -> list[Resource]:
    """Every alarm that the reading tells of, in the order of the records, those that stand without one last."""
    return [_issue(seen, issue) for issue in told_issues(seen)]


def told_issues(seen: Interrogation) -> list[Issue]:
    """What the records and the standing alarms make together; an alarm is known by its kind and its beginning."""
    found: list[Issue] = []
    open_: dict[AlarmKind, Issue] = {}
    for record in seen.log:
        kind = _kind(record)
        if kind is None:
            continue
        if record.code is LogCode.ALARM_RAISED:
            open_[kind] = Issue(kind, record.at_ms, record.value, record.sequence)
            found.append(open_[kind])
            continue
        issue = open_.get(kind)
        if issue is None:
            issue = open_[kind] = Issue(kind, None, sequence=record.sequence)
            found.append(issue)
        if record.code is LogCode.ALARM_CLEARED:
            issue.over_ms = record.at_ms
            del open_[kind]
        else:
            issue.actions.append((_ACTIONS[record.code], record.at_ms))
    for alarm in seen.alarms:
        since_ms = alarm.since_ms - alarm.since_ms % MS_PER_SECOND
        issue = open_.get(alarm.kind)
        if issue is None or issue.since_ms not in {None, since_ms}:
            issue = Issue(alarm.kind, since_ms)
            found.append(issue)
        issue.since_ms, issue.count, issue.standing = since_ms, alarm.count, alarm
    return found


def unknown_alarms(seen: Interrogation) -> tuple[int, ...]:
    """Sequence numbers of records about alarms that nobody here knows."""
    return tuple(record.sequence for record in seen.log if record.code in _OF_ALARMS and _kind(record) is None)


def _kind(record: LogRecord) -> AlarmKind | None:
    known = record.code in _OF_ALARMS and 1 <= record.detail <= len(_KINDS)
    return _KINDS[record.detail - 1] if known else None


def _issue(seen: Interrogation, issue: Issue) -> Resource:
    who, row, alarm = seen.identity, TABLE[issue.kind], issue.standing
    code = own(f"alarm.{issue.kind.value}", row.condition)
    return resource(
        "DetectedIssue",
        identity_of(who, "alarm", issue.kind.value, *_mark(issue)),
        status="final" if issue.over_ms is None else "mitigated",
        category=[own("alarm", "alarm of the pump, SIMULATED")],
        code=code,
        severity=SEVERITIES[row.priority if alarm is None else priority_now(issue.kind, seen.status)],
        subject=reference(pump_id(who), f"SIMULATED pump {who.serial}"),
        author=reference(pump_id(who)),
        implicated=[reference(pump_id(who))],
        **_when(who, issue),
        detail=" ".join([f"SIMULATED. {row.condition[:1].upper()}{row.condition[1:]}.", *_state_words(issue)]),
        mitigation=[
            {"action": own(f"alarm-{action.split()[0]}", action), "date": pump_instant(who, at_ms)}
            for action, at_ms in issue.actions
        ]
        or None,
        evidence=[{"code": [code], "detail": [reference(pump_id(who))]}],
    )


def _mark(issue: Issue) -> tuple[object, ...]:
    """What tells this alarm from others of its kind: its beginning and number, else the first record of it."""
    return ("record", issue.sequence) if issue.since_ms is None else ("since", issue.since_ms, issue.count)


def _when(who: Identity, issue: Issue) -> dict[str, object]:
    if issue.over_ms is None and issue.since_ms is not None:
        return {"identifiedDateTime": pump_instant(who, issue.since_ms)}
    period = {
        name: pump_instant(who, at_ms)
        for name, at_ms in (("start", issue.since_ms), ("end", issue.over_ms))
        if at_ms is not None
    }
    return {"identifiedPeriod": period} if period else {}


def _state_words(issue: Issue) -> list[str]:
    alarm = issue.standing
    words: list[str] = []
    if alarm is not None:
        if not alarm.condition_present:
            words.append("Its condition is over; it is latched until somebody acknowledges it.")
        if alarm.signal is AlarmSignal.SILENCED:
            words.append("Silenced for a time; it stands all the same.")
        if alarm.signal is AlarmSignal.ACKNOWLEDGED:
            words.append("Acknowledged; it stands all the same.")
        if not alarm.enabled:
            words.append("Its signal is switched off.")
    elif issue.over_ms is None:
        words.append("Its end is not in the records that were read, and the pump does not report it now.")
    if issue.since_ms is None:
        words.append("Its beginning is not in the records that were read.")
    return words


__all__ = ["SEVERITIES", "Issue", "issues", "told_issues", "unknown_alarms"]

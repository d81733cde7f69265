"""The role table: who may do what over telemetry. Default deny.

Complete from the start (trust.md 4.9), operations that no message asks for yet included, so that a new message
finds its row. ``own_operation`` (protocol.md, Decided 7) and ``acknowledge`` (a clinician's, because it ends the
latch of a high-priority alarm) are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from telemetry.model import OperationKind, Role

_EVERYBODY = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row: the roles that may, and whether it takes effect by stage, verify and commit only."""

    name: str
    roles: frozenset[Role]
    about: str
    commit: bool = False


def _row(name: str, about: str, *roles: Role, commit: bool = False) -> Operation:
    return Operation(name, frozenset(roles), about, commit)


_ROWS = (
    Operation("read_status", _EVERYBODY, "identity, status, alarms, head of the ledger"),
    _row(
        "read_program",
        "the program in force and the limits the pump enforces",
        Role.OBSERVER,
        Role.CLINICIAN,
        Role.EMERGENCY,
    ),
    _row("read_history", "the event log", Role.OBSERVER, Role.CLINICIAN, Role.EMERGENCY),
    _row(
        "export_log",
        "the audit log with its checkpoints",
        Role.CLINICIAN,
        Role.SERVICE,
        Role.COMMISSION,
        Role.EMERGENCY,
    ),
    _row("patient_bolus", "a bolus that was prescribed for the patient's own use; the pump decides", Role.PATIENT),
    _row("silence", "silence alarms for a time", Role.PATIENT, Role.CLINICIAN, Role.EMERGENCY),
    _row("acknowledge", "release or quiet a latched alarm", Role.CLINICIAN),
    _row("program", "new program, bolus, prime, refill, concentration, resume", Role.CLINICIAN, commit=True),
    _row("therapy_limits", "therapy limits inside the device limits", Role.CLINICIAN, commit=True),
    _row("stop", "stop delivery", Role.CLINICIAN, Role.EMERGENCY),
    _row("set_clock", "the offset of the pump's wall clock", Role.CLINICIAN, commit=True),
    _row("alarm_settings", "low-reservoir volume, which alarms are switched on", Role.CLINICIAN, commit=True),
    _row("diagnostics", "diagnostics, self-test, firmware; not while a bolus runs", Role.SERVICE),
    _row("rotate_own", "a new generation of the session's own credential", Role.CLINICIAN),
    _row("enrol", "enrol, rotate and revoke credentials", Role.COMMISSION, commit=True),
    Operation("own_operation", _EVERYBODY, "ask after, abort or close what one's own slot began"),
    _row("device_limits", "factory limits and calibration: never over telemetry"),
)

OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType({row.name: row for row in _ROWS})
"""Operation name (``MessageSpec.operation``) to its row."""


STAGED: MappingProxyType[OperationKind, str] = MappingProxyType(
    {
        OperationKind.PROGRAM: "program",
        OperationKind.RESUME: "program",
        OperationKind.BOLUS: "program",
        OperationKind.PRIME: "program",
        OperationKind.REFILL: "program",
        OperationKind.LIMITS: "therapy_limits",
        OperationKind.CLOCK: "set_clock",
        OperationKind.ALARM_SETTINGS: "alarm_settings",
    }
)
"""What BEGIN may open, and the row that must allow it besides BEGIN's own.

A stop and a patient's bolus take effect in one step and are not staged.
"""


def allows(role: Role, operation: str) -> bool:
    """Whether ``role`` may do ``operation``; an operation without a row is allowed to nobody."""
    row = OPERATIONS.get(operation)
    return row is not None and role in row.roles

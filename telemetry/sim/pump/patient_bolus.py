"""The patient's bolus: the pump decides by its own rule, once for each operation (domain.md 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import Activity, AlarmClass, LogCode, OperationKind, RefusalReason
from telemetry.sim.pump import activity, situations
from telemetry.sim.pump.decisions import REASON_NUMBERS, admit, decide, in_force, view
from telemetry.sim.pump.limits import check_patient_bolus
from telemetry.sim.pump.parts import check_patient_allowed
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.ledger import Operation, OperationRecord
    from telemetry.therapy import ProgramPatientBolus


def patient_bolus(core: PumpCore, operation: Operation) -> OperationRecord:
    """Begin the prescribed bolus, or raise ``Refused`` naming the rule that stands against it; a denial is logged.

    Order of the rules: the drug, the prescription, delivery, another activity, the lock-out, the count, a critical
    alarm, the window of 24 hours.
    """
    known = admit(core, operation)
    if known is not None:
        return known
    if operation.kind is not OperationKind.PATIENT_BOLUS:
        raise UsageError(f"kind: {operation.kind} is no patient bolus")
    try:
        rule = _granted(core)
    except Refused as refusal:
        core.note(LogCode.PATIENT_BOLUS_DENIED, REASON_NUMBERS[RefusalReason(refusal.reason)], slot=operation.slot)
        core.emit(LogCode.PATIENT_BOLUS_DENIED, refusal.reason)
        raise
    core.staged = None
    record = decide(core, operation, in_force(core))
    span_ms = rule.duration_s * MS_PER_SECOND
    activity.start_bolus(core, Activity.PATIENT_BOLUS, rule.volume_nl, span_ms, slot=operation.slot)
    core.evaluate()
    return view(core, record)


def _granted(core: PumpCore) -> ProgramPatientBolus:
    """The rule that grants a bolus now; raises ``Refused``."""
    situation, rule, now_ms = situations.of(core), core.program.patient_bolus, core.now_ms
    check_patient_allowed(situation.rules)
    if rule is not None and (not core.delivering or core.safe):
        raise Refused(RefusalReason.NOT_DELIVERING, f"mode: {core.mode}; the pump does not deliver its program now")
    if rule is not None and core.activity is not None:
        raise Refused(RefusalReason.ACTIVITY_RUNNING, f"activity: a {core.activity.kind} is running; wait for its end")
    if core.limits is None:
        raise Refused(RefusalReason.MEMORY_UNRELIABLE, "limits: their record is damaged; no bolus is given")
    lockout_ms = 0 if rule is None else rule.lockout_s * MS_PER_SECOND
    check_patient_bolus(
        core.program,
        core.limits,
        situation,
        locked_until_ms=core.patient.locked_until_ms(lockout_ms, now_ms),
        begun_24h=core.patient.in_24_h(now_ms),
        critical_alarm=any(
            alarm.condition_present and alarm.alarm_class is AlarmClass.CRITICAL for alarm in core.alarms.report()
        ),
    )
    assert rule is not None  # noqa: S101 - what was just checked; a program without one is refused there
    return rule

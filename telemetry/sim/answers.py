"""What the device says, as messages of the wire: pure translation, no decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.model import RefusalReason, Warn
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import encode_order
from telemetry.protocol.wire import MAX_ALARM_RECORDS, MAX_READ_BACK_PART, REASON_STATUS
from telemetry.sim.transaction import refuse_missing_part
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.errors import Refused
    from telemetry.model import Alarm, DeliveryReport, Identity, LogReport, PumpLimits, PumpStatus
    from telemetry.sim.pump.ledger import OperationRecord
    from telemetry.sim.pump.profile import PumpProfile
    from telemetry.therapy import AlarmSettings, ProgramReport


def identity(who: Identity, now_ms: int) -> wire.Identity:
    """Who the pump is; ``now_ms`` is pump time."""
    return wire.Identity(
        model=who.model,
        serial=who.serial,
        pump_id=who.pump_id,
        firmware=who.firmware,
        reservoir_capacity_nl=who.reservoir_capacity_nl,
        tubing_volume_nl=who.tubing_volume_nl,
        catheter_volume_nl=who.catheter_volume_nl,
        drug=who.drug,
        drive=who.drive,
        level_sensor=who.level_sensor,
        calibration_ppm=who.calibration_ppm,
        activated_ago_s=(now_ms - who.activated_ms) // MS_PER_SECOND,
        now_s=now_ms // MS_PER_SECOND,
        epoch_utc_s=who.epoch_utc_s,
        simulated=who.simulated,
    )


def status(now: PumpStatus) -> wire.Status:
    """What the pump believes."""
    return wire.Status(
        mode=now.mode,
        rate_nl_per_day=now.rate_nl_per_day,
        dose_ng_per_day=now.dose_ng_per_day,
        concentration_ng_per_ml=now.concentration_ng_per_ml,
        drug=now.drug,
        reservoir_nl=now.reservoir_nl,
        reservoir_generation=now.reservoir_generation,
        battery_percent=now.battery_percent,
        replace_by_s=now.replace_by_ms // MS_PER_SECOND,
        low_reservoir_at_s=_seconds(now.low_reservoir_at_ms),
        alarms=now.alarms,
        program_sequence=now.program_sequence,
        program_digest=now.program_digest,
        boot_epoch=now.boot_epoch,
        now_s=now.now_ms // MS_PER_SECOND,
        clock_utc_s=now.clock_utc_s,
        stopped_since_s=_seconds(now.stopped_since_ms),
        activity=now.activity,
        activity_ends_s=_seconds(now.activity_ends_ms),
        alarm_sequence=now.alarm_sequence,
    )


def program(report: ProgramReport, part: int) -> wire.ProgramReport:
    """One part of the committed program; raises ``Refused`` for a part that does not exist."""
    image = encode_order(report.program)
    parts = -(-len(image) // MAX_READ_BACK_PART)
    refuse_missing_part(part, parts)
    return wire.ProgramReport(
        program_sequence=report.program_sequence,
        program_digest=report.program_digest,
        stopped=report.stopped,
        part=part,
        parts=parts,
        image=image[part * MAX_READ_BACK_PART : (part + 1) * MAX_READ_BACK_PART],
    )


def delivery(now: DeliveryReport) -> wire.Delivery:
    """What the pump counts of its own delivery; the end of a lock-out is rounded up, so that it is over by then."""
    locked_ms = now.locked_out_until_ms
    return wire.Delivery(
        activity=now.activity,
        activity_volume_nl=now.activity_volume_nl,
        activity_delivered_nl=now.activity_delivered_nl,
        activity_ends_s=_seconds(now.activity_ends_ms),
        window_1h_nl=now.window_1h_nl,
        window_4h_nl=now.window_4h_nl,
        window_24h_nl=now.window_24h_nl,
        window_24h_ng=now.window_24h_ng,
        patient_boluses_24h=now.patient_boluses_24h,
        locked_out_until_s=None if locked_ms is None else -(-locked_ms // MS_PER_SECOND),
        next_change_s=_seconds(now.next_change_ms),
        zone_minutes=now.zone_minutes,
        clock_utc_s=now.clock_utc_s,
        now_s=now.now_ms // MS_PER_SECOND,
    )


def alarm_settings(settings: AlarmSettings) -> wire.AlarmSettingsReport:
    """How the alarms are configured."""
    return wire.AlarmSettingsReport(
        low_reservoir_alarm_nl=settings.low_reservoir_alarm_nl,
        low_reservoir_enabled=settings.low_reservoir_enabled,
        elective_replacement_enabled=settings.elective_replacement_enabled,
    )


def alarms(present: tuple[Alarm, ...]) -> wire.AlarmReport:
    """The alarms, at most as many as a report holds; the device gives the most important first."""
    return wire.AlarmReport(
        alarms=tuple(
            wire.AlarmRecord(
                kind=alarm.kind,
                alarm_class=alarm.alarm_class,
                priority=alarm.priority,
                condition_present=alarm.condition_present,
                signal=alarm.signal,
                enabled=alarm.enabled,
                since_s=alarm.since_ms // MS_PER_SECOND,
                count=alarm.count,
                silenced_until_s=_seconds(alarm.silenced_until_ms),
            )
            for alarm in present[:MAX_ALARM_RECORDS]
        )
    )


def limits(enforced: PumpLimits, profile: PumpProfile) -> wire.Limits:
    """The limits the pump enforces, and the rules of its family that explain a refusal beforehand."""
    return wire.Limits(
        min_rate_nl_per_day=enforced.min_rate_nl_per_day,
        max_rate_nl_per_day=enforced.max_rate_nl_per_day,
        keep_alive_rate_nl_per_day=enforced.keep_alive_rate_nl_per_day,
        low_reservoir_alarm_nl=enforced.low_reservoir_alarm_nl,
        daily_dose_hard_min_ng=enforced.daily_dose_hard_min_ng,
        daily_dose_hard_max_ng=enforced.daily_dose_hard_max_ng,
        daily_dose_soft_min_ng=enforced.daily_dose_soft_min_ng,
        daily_dose_soft_max_ng=enforced.daily_dose_soft_max_ng,
        change_soft_ppm=enforced.change_soft_ppm,
        change_hard_ppm=enforced.change_hard_ppm,
        bolus_dose_soft_max_ng=enforced.bolus_dose_soft_max_ng,
        bolus_dose_hard_max_ng=enforced.bolus_dose_hard_max_ng,
        max_schedule_steps=profile.max_schedule_steps,
        max_ramp_steps=profile.max_ramp_steps,
        zero_rate_allowed=profile.zero_rate_allowed,
        patient_bolus_allowed=profile.patient_bolus_allowed,
        prime_rate_nl_per_day=profile.prime_rate_nl_per_day,
        window_1h_nl=profile.window_1h_nl,
        window_4h_nl=profile.window_4h_nl,
        window_24h_nl=profile.window_24h_nl,
        max_silence_s=profile.max_silence_ms // MS_PER_SECOND,
        concentrations=tuple(map(wire.ListedConcentration, profile.concentrations_ng_per_ml)),
    )


def log_page(report: LogReport) -> wire.LogPage:
    """A page of the event log."""
    return wire.LogPage(
        oldest_sequence=report.oldest_sequence,
        newest_sequence=report.newest_sequence,
        overwritten=report.overwritten,
        records=tuple(
            wire.LogEntry(
                sequence=record.sequence,
                boot_epoch=record.boot_epoch,
                at_s=record.at_ms // MS_PER_SECOND,
                code=record.code,
                slot=record.slot,
                detail=record.detail,
                value=record.value,
            )
            for record in report.records
        ),
    )


def verdict(record: OperationRecord) -> wire.VerdictReport:
    """What the ledger says of one operation."""
    return wire.VerdictReport(
        op_id=record.op_id,
        verdict=record.verdict,
        reason=record.reason,
        program_sequence=record.program_sequence,
        program_digest=record.program_digest,
        effective_s=record.effective_ms // MS_PER_SECOND,
        last_operation_counter=record.last_operation_counter,
    )


def refusal(
    opcode: int,
    reason: RefusalReason,
    *,
    value: int = 0,
    limit: int = 0,
    warnings: tuple[Warn, ...] = (),
) -> wire.Refusal:
    """No, and why."""
    return wire.Refusal(
        status=REASON_STATUS[reason],
        refused_opcode=opcode,
        reason=reason,
        value=value,
        limit=limit,
        warnings=warnings,
    )


def refusal_of(opcode: int, refused: Refused) -> wire.Refusal:
    """The device's refusal as a message."""
    return refusal(
        opcode,
        RefusalReason(refused.reason),
        value=refused.value or 0,
        limit=refused.limit or 0,
        warnings=tuple(Warn(name) for name in refused.warnings),
    )


def with_alarm_sequence(answer: wire.Message, alarm_sequence: int) -> wire.Message:
    """The answer with the alarm sequence number in its header."""
    if answer.alarm_sequence == alarm_sequence:  # type: ignore[attr-defined]
        return answer
    return replace(answer, alarm_sequence=alarm_sequence)  # type: ignore[type-var]


def _seconds(instant_ms: int | None) -> int | None:
    return None if instant_ms is None else instant_ms // MS_PER_SECOND

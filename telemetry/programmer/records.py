"""What the driver tells its caller besides the shared vocabulary, and how it reads the pump's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import BadPayload, LinkError, Refused
from telemetry.model import (
    Alarm,
    Change,
    DeliveryReport,
    Identity,
    LogRecord,
    OperationKind,
    PumpLimits,
    PumpMode,
    PumpStatus,
    RefusalReason,
    TelemeterInfo,
    TherapyState,
    Verdict,
    Warn,
)
from telemetry.programmer.texts import PATIENT_BOLUS_WHY
from telemetry.protocol.orders import decode_order
from telemetry.therapy import AlarmSettings, Program, ProgramReport
from telemetry.units import MS_PER_SECOND, Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.protocol import messages as wire_messages
    from telemetry.protocol.orders import Order

_PPM_PER_PERCENT = 10_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change as the *pump* understood it, for a person to confirm; every number is the pump's own.

    ``change_ppm`` is the distance from the present daily dose; ``empty_in_s`` is None when that lies beyond the
    wire's range. ``dose_24h_ng`` and ``volume_24h_nl`` are of the largest day or, for a bolus, of the largest sliding
    24 h. ``order`` is what is to be committed as the pump read it back, None for a resume. ``shift_minutes`` is how
    far a clock setting moves the schedule against the patient's day.
    """

    operation: OperationKind
    before: TherapyState
    after: TherapyState
    dose_24h_ng: int
    volume_24h_nl: int
    peak_nl_per_day: int
    lowest_nl_per_day: int
    change_ppm: int
    empty_in_s: int | None
    warnings: tuple[Warn, ...]
    order: Order | None = None
    shift_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Change):
    """A staged change that the pump confirmed, with what was committed: the order as the pump read it back.

    A bolus or a prime leaves the therapy as it is: ``before`` and ``after`` are alike then.
    """

    order: Order | None


@dataclass(frozen=True, slots=True)
class PumpRules:
    """What a pump allows besides its limits: for saying beforehand what it would refuse.

    ``concentrations_ng_per_ml`` are taken without a warning. ``max_schedule_steps`` is per day.
    """

    max_schedule_steps: int
    max_ramp_steps: int
    zero_rate_allowed: bool
    patient_bolus_allowed: bool
    prime_rate_nl_per_day: int
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int
    max_silence_ms: int
    concentrations_ng_per_ml: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the pump's ledger says of one operation. ``applied_at_ms`` is pump time; None unless applied."""

    transaction: str
    verdict: Verdict
    reason: RefusalReason | None
    applied_at_ms: int | None

    @property
    def certain(self) -> bool:
        """Whether the question is settled; a pump that has forgotten leaves it open."""
        return self.verdict in {Verdict.APPLIED, Verdict.REFUSED, Verdict.NEVER}


_RATES = frozenset({RefusalReason.RATE_BELOW_MINIMUM, RefusalReason.RATE_ABOVE_MAXIMUM})
_DOSES = frozenset({RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT, RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT})

_UNITS: dict[RefusalReason, Callable[[int], object]] = {
    RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT: Dose,
    RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT: Dose,
    RefusalReason.RESERVOIR_OVERFILLED: Volume,
    RefusalReason.PRIME_TOO_LARGE: Volume,
    RefusalReason.LOCKED_OUT: lambda seconds: Duration(seconds * MS_PER_SECOND),
    RefusalReason.BOLUS_LONGER_THAN_INTERVAL: lambda seconds: Duration(seconds * MS_PER_SECOND),
    RefusalReason.TOO_MANY_STEPS: int,
    RefusalReason.BOLUS_COUNT_REACHED: int,
}
"""What the value and the limit of a refusal count, besides rates and daily doses."""


def explain_refusal(
    refusal: wire_messages.Refusal, transaction: str = "", concentration_ng_per_ml: int | None = None
) -> Refused:
    """A ``Refusal`` as the exception a caller can act on.

    With the reservoir's concentration a rate is explained as the dose that it is there.
    """
    reason = refusal.reason.value if refusal.reason is not None else refusal.status.value
    text = f"the pump refused: {reason.replace('_', ' ')}"
    drug = None if concentration_ng_per_ml is None else Concentration(concentration_ng_per_ml)
    if refusal.reason in _RATES:
        text += f": asked for {_rate_text(refusal.value, drug)}, its limit is {_rate_text(refusal.limit, drug)}"
        text += f", at {drug}" if drug is not None else ""
    elif refusal.reason in _DOSES:
        text += f": asked for {DailyDose(refusal.value)}, its limit is {DailyDose(refusal.limit)}"
    elif refusal.reason is RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT:
        text += f": by {percent_text(refusal.value)}, at most {percent_text(refusal.limit)} in one step"
    elif refusal.reason is RefusalReason.SILENCE_TOO_LONG:
        text += f": at most {Duration(refusal.limit)} at a time"
    elif refusal.reason is RefusalReason.PATIENT_BOLUS_FORBIDDEN:
        text += f": {PATIENT_BOLUS_WHY}"
    elif refusal.reason in _UNITS:
        unit = _UNITS[refusal.reason]
        text += f": {unit(refusal.value)}, its limit is {unit(refusal.limit)}"
    if refusal.warnings:
        names = ", ".join(warning.value for warning in refusal.warnings)
        text += f"; warnings to accept by name: {names}"
    return Refused(
        reason,
        text,
        warnings=tuple(warning.value for warning in refusal.warnings),
        value=refusal.value,
        limit=refusal.limit,
        status=refusal.status.value,
        transaction=transaction,
    )


def _rate_text(nl_per_day: int, drug: Concentration | None) -> str:
    rate = FlowRate(nl_per_day)
    return f"{rate}" if drug is None else f"{rate} ({rate.daily_dose(drug)})"


def therapy_state(status: wire_messages.Status) -> TherapyState:
    """The side of a before/after comparison that this status is."""
    return TherapyState(status.mode, status.rate_nl_per_day, status.dose_ng_per_day, status.concentration_ng_per_ml)


def stopped_state(before: TherapyState) -> TherapyState:
    """What a stop makes of a therapy."""
    return TherapyState(PumpMode.STOPPED, 0, 0, before.concentration_ng_per_ml)


def read_status(message: wire_messages.Status) -> PumpStatus:
    """A status as the shared vocabulary knows it (wire seconds become milliseconds)."""
    return PumpStatus(
        mode=message.mode,
        rate_nl_per_day=message.rate_nl_per_day,
        dose_ng_per_day=message.dose_ng_per_day,
        concentration_ng_per_ml=message.concentration_ng_per_ml,
        drug=message.drug,
        reservoir_nl=message.reservoir_nl,
        reservoir_generation=message.reservoir_generation,
        battery_percent=message.battery_percent,
        replace_by_ms=message.replace_by_s * MS_PER_SECOND,
        low_reservoir_at_ms=_instant_ms(message.low_reservoir_at_s),
        alarms=message.alarms,
        program_sequence=message.program_sequence,
        program_digest=message.program_digest,
        boot_epoch=message.boot_epoch,
        now_ms=message.now_s * MS_PER_SECOND,
        clock_utc_s=message.clock_utc_s,
        stopped_since_ms=_instant_ms(message.stopped_since_s),
        activity=message.activity,
        activity_ends_ms=_instant_ms(message.activity_ends_s),
        alarm_sequence=message.alarm_sequence,
    )


def read_identity(message: wire_messages.Identity) -> Identity:
    """An identity; the age on the wire becomes an instant of pump time."""
    return Identity(
        model=message.model,
        serial=message.serial,
        pump_id=message.pump_id,
        firmware=message.firmware,
        reservoir_capacity_nl=message.reservoir_capacity_nl,
        tubing_volume_nl=message.tubing_volume_nl,
        catheter_volume_nl=message.catheter_volume_nl,
        drug=message.drug,
        drive=message.drive,
        level_sensor=message.level_sensor,
        calibration_ppm=message.calibration_ppm,
        activated_ms=(message.now_s - message.activated_ago_s) * MS_PER_SECOND,
        epoch_utc_s=message.epoch_utc_s,
        simulated=message.simulated,
    )


def read_program(report: wire_messages.ProgramReport, image: bytes) -> ProgramReport:
    """The committed program from its last part and the whole image; raises ``LinkError`` for bytes that are none."""
    try:
        program = decode_order(OperationKind.PROGRAM, image)
    except BadPayload as error:
        raise LinkError(f"the pump's program cannot be read: {error}") from error
    if not isinstance(program, Program):
        raise LinkError(f"the pump's program is a {type(program).__name__}")
    return ProgramReport(program, report.program_sequence, report.program_digest, report.stopped)


def read_limits(message: wire_messages.Limits) -> PumpLimits:
    """The limits the pump enforces."""
    return PumpLimits(
        min_rate_nl_per_day=message.min_rate_nl_per_day,
        max_rate_nl_per_day=message.max_rate_nl_per_day,
        keep_alive_rate_nl_per_day=message.keep_alive_rate_nl_per_day,
        low_reservoir_alarm_nl=message.low_reservoir_alarm_nl,
        daily_dose_hard_min_ng=message.daily_dose_hard_min_ng,
        daily_dose_hard_max_ng=message.daily_dose_hard_max_ng,
        daily_dose_soft_min_ng=message.daily_dose_soft_min_ng,
        daily_dose_soft_max_ng=message.daily_dose_soft_max_ng,
        change_soft_ppm=message.change_soft_ppm,
        change_hard_ppm=message.change_hard_ppm,
        bolus_dose_soft_max_ng=message.bolus_dose_soft_max_ng,
        bolus_dose_hard_max_ng=message.bolus_dose_hard_max_ng,
    )


def read_rules(message: wire_messages.Limits) -> PumpRules:
    """What the pump allows besides its limits."""
    return PumpRules(
        max_schedule_steps=message.max_schedule_steps,
        max_ramp_steps=message.max_ramp_steps,
        zero_rate_allowed=message.zero_rate_allowed,
        patient_bolus_allowed=message.patient_bolus_allowed,
        prime_rate_nl_per_day=message.prime_rate_nl_per_day,
        window_1h_nl=message.window_1h_nl,
        window_4h_nl=message.window_4h_nl,
        window_24h_nl=message.window_24h_nl,
        max_silence_ms=message.max_silence_s * MS_PER_SECOND,
        concentrations_ng_per_ml=tuple(one.concentration_ng_per_ml for one in message.concentrations),
    )


def read_delivery(message: wire_messages.Delivery) -> DeliveryReport:
    """What the pump counts of its own delivery (wire seconds become milliseconds)."""
    return DeliveryReport(
        activity=message.activity,
        activity_volume_nl=message.activity_volume_nl,
        activity_delivered_nl=message.activity_delivered_nl,
        activity_ends_ms=_instant_ms(message.activity_ends_s),
        window_1h_nl=message.window_1h_nl,
        window_4h_nl=message.window_4h_nl,
        window_24h_nl=message.window_24h_nl,
        window_24h_ng=message.window_24h_ng,
        patient_boluses_24h=message.patient_boluses_24h,
        locked_out_until_ms=_instant_ms(message.locked_out_until_s),
        next_change_ms=_instant_ms(message.next_change_s),
        zone_minutes=message.zone_minutes,
        clock_utc_s=message.clock_utc_s,
        now_ms=message.now_s * MS_PER_SECOND,
    )


def read_alarm_settings(message: wire_messages.AlarmSettingsReport) -> AlarmSettings:
    """How the alarms are configured."""
    return AlarmSettings(
        low_reservoir_alarm_nl=message.low_reservoir_alarm_nl,
        low_reservoir_enabled=message.low_reservoir_enabled,
        elective_replacement_enabled=message.elective_replacement_enabled,
    )


def read_alarms(message: wire_messages.AlarmReport) -> tuple[Alarm, ...]:
    """Every alarm of the report."""
    return tuple(
        Alarm(
            kind=record.kind,
            alarm_class=record.alarm_class,
            priority=record.priority,
            condition_present=record.condition_present,
            signal=record.signal,
            enabled=record.enabled,
            since_ms=record.since_s * MS_PER_SECOND,
            count=record.count,
            silenced_until_ms=_instant_ms(record.silenced_until_s),
        )
        for record in message.alarms
    )


def read_log_entry(entry: wire_messages.LogEntry) -> LogRecord:
    """One line of the pump's log."""
    return LogRecord(
        sequence=entry.sequence,
        boot_epoch=entry.boot_epoch,
        at_ms=entry.at_s * MS_PER_SECOND,
        code=entry.code,
        slot=entry.slot,
        detail=entry.detail,
        value=entry.value,
    )


def read_telemeter(message: wire_messages.TelemeterReport) -> TelemeterInfo:
    """What the telemeter says of itself."""
    return TelemeterInfo(
        serial=message.serial,
        firmware=message.firmware,
        battery_percent=message.battery_percent,
        coupling_bars=message.coupling_bars,
        contact=message.contact,
        air_bits_per_s=message.air_bits_per_s,
        air_delay_ms=message.air_delay_ms,
        frames_to_pump=message.frames_to_pump,
        frames_from_pump=message.frames_from_pump,
        frames_lost=message.frames_lost,
        simulated=message.simulated,
    )


def percent_text(ppm: int) -> str:
    """Parts per million as percent with one decimal, for people."""
    whole, rest = divmod(ppm, _PPM_PER_PERCENT)
    return f"{whole}.{rest // (_PPM_PER_PERCENT // 10)} %"


def _instant_ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * MS_PER_SECOND

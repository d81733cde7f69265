"""What the driver tells its caller besides the shared vocabulary, and how it reads the pump's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import Refused
from telemetry.model import (
    Alarm,
    Identity,
    LogRecord,
    OperationKind,
    Program,
    ProgramReport,
    PumpLimits,
    PumpMode,
    PumpStatus,
    RefusalReason,
    TelemeterInfo,
    TherapyState,
    Verdict,
    Warn,
)
from telemetry.units import MS_PER_SECOND, NL_PER_ML, Concentration, DailyDose, Duration, FlowRate, HourlyDose

if TYPE_CHECKING:
    from telemetry.protocol import messages as wire_messages

_PPM_PER_PERCENT = 10_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change as the *pump* understood it, for a person to confirm; every number is the pump's own.

    ``change_ppm`` is the distance from the present daily dose; ``empty_in_s`` is None when that lies beyond the
    wire's range.
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


def rate_in_force(rate: FlowRate | DailyDose | HourlyDose, concentration_ng_per_ml: int) -> tuple[int, int]:
    """(nl/day, ng/day) of what was asked for, against the drug in the reservoir; rounded towards less drug.

    A dose keeps its own number and the flow is derived; a flow keeps its number and the dose is derived.
    Raises ``Refused`` when a dose is asked of a reservoir that holds no drug.
    """
    if isinstance(rate, HourlyDose):
        rate = rate.per_day()
    if isinstance(rate, FlowRate):
        return rate.nl_per_day, rate.nl_per_day * concentration_ng_per_ml // NL_PER_ML
    if concentration_ng_per_ml == 0:
        raise Refused("concentration_mismatch", "a dose was asked for, but the reservoir holds no drug")
    return rate.ng_per_day * NL_PER_ML // concentration_ng_per_ml, rate.ng_per_day


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
        path_volume_nl=message.path_volume_nl,
        drug=message.drug,
        activated_ms=(message.now_s - message.activated_ago_s) * MS_PER_SECOND,
        epoch_utc_s=message.epoch_utc_s,
        simulated=message.simulated,
    )


def read_program(message: wire_messages.ProgramReport) -> ProgramReport:
    """The committed program."""
    program = Program(
        mode=message.mode,
        rate_nl_per_day=message.rate_nl_per_day,
        dose_ng_per_day=message.dose_ng_per_day,
        concentration_ng_per_ml=message.concentration_ng_per_ml,
        drug=message.drug,
        reservoir_generation=message.reservoir_generation,
    )
    return ProgramReport(program, message.program_sequence, message.program_digest, message.stopped)


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

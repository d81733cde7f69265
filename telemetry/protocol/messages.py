"""One frozen dataclass per message, record, image and handshake body of the wire table.

Field names, order and meaning are those of ``wire.py`` (a test holds the two equal); integers count the unit in
their name. Answers carry ``alarm_sequence`` from their header: when it moves, read the alarms again.
"""

# ruff: noqa: TC001 - whoever reads the annotations at run time (typing.get_type_hints) must find the types

from __future__ import annotations

from dataclasses import dataclass

from telemetry.model import (
    Activity,
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    Drive,
    Drug,
    LogCode,
    OperationKind,
    PumpMode,
    RefusalReason,
    Role,
    StopReason,
    Verdict,
    Warn,
)
from telemetry.protocol.wire import Status as StatusCode
from telemetry.therapy import ProgramBolus, ProgramBridge, ProgramPatientBolus, ProgramRampStep, ProgramStep


class Message:
    """Root of everything that ``encode`` takes and ``decode`` gives."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One alarm inside an ``AlarmReport``."""

    kind: AlarmKind
    alarm_class: AlarmClass
    priority: AlarmPriority
    condition_present: bool
    signal: AlarmSignal
    enabled: bool
    since_s: int
    count: int
    silenced_until_s: int | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log inside a ``LogPage``."""

    sequence: int
    boot_epoch: int
    at_s: int
    code: LogCode
    slot: int
    detail: int
    value: int


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """What a program transaction stages. Parts that may be absent are tuples of none or one."""

    schema: int
    mode: PumpMode
    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    rate_nl_per_day: int
    dose_ng_per_day: int
    steps: tuple[ProgramStep, ...] = ()
    bolus: tuple[ProgramBolus, ...] = ()
    ramp: tuple[ProgramRampStep, ...] = ()
    patient_bolus: tuple[ProgramPatientBolus, ...] = ()
    bridge: tuple[ProgramBridge, ...] = ()


@dataclass(frozen=True, slots=True)
class ResumeImage:
    """What a resume transaction stages: exactly the program the operator saw."""

    schema: int
    reserved: int
    program_sequence: int
    program_digest: bytes


@dataclass(frozen=True, slots=True)
class BolusImage:
    """What a bolus transaction stages: one bolus, to begin at the commit."""

    schema: int
    volume_nl: int
    dose_ng: int
    duration_s: int
    concentration_ng_per_ml: int
    reservoir_generation: int


@dataclass(frozen=True, slots=True)
class PrimeImage:
    """What a prime transaction stages: a volume at a rate, the basal waiting meanwhile."""

    schema: int
    volume_nl: int
    rate_nl_per_day: int
    concentration_ng_per_ml: int
    reservoir_generation: int


@dataclass(frozen=True, slots=True)
class RefillImage:
    """What a refill transaction stages: the reservoir's new content and the program for it, as one prescription."""

    schema: int
    volume_nl: int
    withdrawn_nl: int
    mode: PumpMode
    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    rate_nl_per_day: int
    dose_ng_per_day: int
    steps: tuple[ProgramStep, ...] = ()
    bolus: tuple[ProgramBolus, ...] = ()
    ramp: tuple[ProgramRampStep, ...] = ()
    patient_bolus: tuple[ProgramPatientBolus, ...] = ()
    bridge: tuple[ProgramBridge, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitsImage:
    """What a limits transaction stages: all of them."""

    schema: int
    min_rate_nl_per_day: int
    max_rate_nl_per_day: int
    keep_alive_rate_nl_per_day: int
    low_reservoir_alarm_nl: int
    daily_dose_hard_min_ng: int
    daily_dose_hard_max_ng: int
    daily_dose_soft_min_ng: int
    daily_dose_soft_max_ng: int
    change_soft_ppm: int
    change_hard_ppm: int
    bolus_dose_soft_max_ng: int
    bolus_dose_hard_max_ng: int


@dataclass(frozen=True, slots=True)
class ClockImage:
    """What a clock transaction stages; ``zone_minutes`` east of UTC, negative to the west."""

    schema: int
    utc_s: int
    zone_minutes: int


@dataclass(frozen=True, slots=True)
class AlarmSettingsImage:
    """What a transaction of the alarms' settings stages."""

    schema: int
    low_reservoir_alarm_nl: int
    low_reservoir_enabled: bool
    elective_replacement_enabled: bool


@dataclass(frozen=True, slots=True)
class ListedConcentration:
    """One concentration that the pump takes without a warning."""

    concentration_ng_per_ml: int


@dataclass(frozen=True, slots=True)
class Probe:
    """First frame of a programmer: who is there?"""

    max_version: int
    min_version: int
    intent: int
    suites: int
    probe_id: bytes


@dataclass(frozen=True, slots=True)
class Beacon:
    """The pump's answer to a PROBE: a fresh challenge."""

    version: int
    suite: int
    flags: int
    wait_s: int
    challenge: bytes
    wake_tag: bytes
    probe_id: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """A programmer's claim: slot, gate MAC and Noise message 1."""

    slot: int
    want_role: Role
    reserved: int
    gate_mac: bytes
    noise1: bytes


@dataclass(frozen=True, slots=True)
class HelloPayload:
    """Sealed inside Noise message 1."""

    operator_ref: bytes
    programmer_utc_s: int
    layout_fingerprint: int
    build: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Noise message 2."""

    noise2: bytes


@dataclass(frozen=True, slots=True)
class AcceptPayload:
    """Sealed inside Noise message 2: who the pump is and where its books stand."""

    pump_id: bytes
    firmware: int
    role: Role
    flags: int
    idle_s: int
    session_s: int
    boot_epoch: int
    now_s: int
    program_sequence: int
    program_digest: bytes
    ledger_sequence: int
    last_operation_counter: int
    log_sequence: int
    log_head: bytes
    alarm_sequence: int
    active_alarms: int
    failed_attempts: int
    layout_fingerprint: int
    reserved: int


@dataclass(frozen=True, slots=True)
class ReadIdentity(Message):
    """Who are you?"""


@dataclass(frozen=True, slots=True)
class ReadStatus(Message):
    """What are you doing?"""


@dataclass(frozen=True, slots=True)
class ReadProgram(Message):
    """Which program is in force? One part of its image, counted from 0."""

    part: int = 0


@dataclass(frozen=True, slots=True)
class ReadAlarms(Message):
    """Which alarms are there?"""


@dataclass(frozen=True, slots=True)
class ReadLog(Message):
    """Log records from a sequence number on, one page."""

    from_sequence: int
    max_records: int


@dataclass(frozen=True, slots=True)
class ReadLimits(Message):
    """Which limits do you enforce?"""


@dataclass(frozen=True, slots=True)
class ReadLedger(Message):
    """Where is your ledger, and this slot in it?"""


@dataclass(frozen=True, slots=True)
class ReadDelivery(Message):
    """What are you giving on top, and how much in 24 h?"""


@dataclass(frozen=True, slots=True)
class ReadAlarmSettings(Message):
    """How are your alarms configured?"""


@dataclass(frozen=True, slots=True)
class SetRate(Message):
    """The short program: stage a simple continuous rate in one message."""

    op_id: bytes
    acked_through: int
    base_sequence: int
    base_digest: bytes
    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    rate_nl_per_day: int
    dose_ng_per_day: int


@dataclass(frozen=True, slots=True)
class Begin(Message):
    """Open a transaction whose image follows in WRITEs."""

    op_id: bytes
    acked_through: int
    base_sequence: int
    base_digest: bytes
    kind: OperationKind
    schema: int
    total_length: int
    image_digest: bytes


@dataclass(frozen=True, slots=True)
class Write(Message):
    """A part of the image."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Verify(Message):
    """Read back what the pump parsed, part by part."""

    part: int


@dataclass(frozen=True, slots=True)
class Commit(Message):
    """Make the staged image the truth, once."""

    op_id: bytes
    token: bytes
    image_digest: bytes
    accepted_warnings: tuple[Warn, ...]


@dataclass(frozen=True, slots=True)
class Query(Message):
    """What became of an operation? Fences: what it reports as not applied can no longer happen."""

    op_id: bytes


@dataclass(frozen=True, slots=True)
class Abort(Message):
    """Drop the open transaction."""

    op_id: bytes


@dataclass(frozen=True, slots=True)
class Stop(Message):
    """Stop delivery, in one step."""

    op_id: bytes
    acked_through: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class SilenceAlarms(Message):
    """Silence what sounds now, for a time; a new condition sounds all the same."""

    duration_s: int


@dataclass(frozen=True, slots=True)
class AcknowledgeAlarm(Message):
    """Release a latched alarm whose condition is over; quiet one that is present."""

    kind: AlarmKind


@dataclass(frozen=True, slots=True)
class PatientBolus(Message):
    """Give the bolus that was prescribed for the patient's own use, in one step; the pump decides."""

    op_id: bytes
    acked_through: int


@dataclass(frozen=True, slots=True)
class Close(Message):
    """End the session so that truncation would show."""


@dataclass(frozen=True, slots=True)
class Identity(Message):
    """Who the pump is."""

    model: str
    serial: str
    pump_id: bytes
    firmware: int
    reservoir_capacity_nl: int
    tubing_volume_nl: int
    catheter_volume_nl: int
    drug: Drug
    drive: Drive
    level_sensor: bool
    calibration_ppm: int
    activated_ago_s: int
    now_s: int
    epoch_utc_s: int
    simulated: bool
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Status(Message):
    """What the pump believes: its own books."""

    mode: PumpMode
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int
    drug: Drug
    reservoir_nl: int
    reservoir_generation: int
    battery_percent: int
    replace_by_s: int
    low_reservoir_at_s: int | None
    alarms: tuple[AlarmKind, ...]
    program_sequence: int
    program_digest: bytes
    boot_epoch: int
    now_s: int
    clock_utc_s: int
    stopped_since_s: int | None
    activity: Activity
    activity_ends_s: int | None
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class ProgramReport(Message):
    """A part of the committed program's image (``ProgramImage``), whether or not it runs."""

    program_sequence: int
    program_digest: bytes
    stopped: bool
    part: int
    parts: int
    image: bytes
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class AlarmReport(Message):
    """Every alarm that is present, latched or silenced."""

    alarms: tuple[AlarmRecord, ...]
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class LogPage(Message):
    """A page of the event log, oldest first."""

    oldest_sequence: int
    newest_sequence: int
    overwritten: int
    records: tuple[LogEntry, ...]
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Limits(Message):
    """Limits the pump enforces by itself, and what of its rules explains a refusal beforehand."""

    min_rate_nl_per_day: int
    max_rate_nl_per_day: int
    keep_alive_rate_nl_per_day: int
    low_reservoir_alarm_nl: int
    daily_dose_hard_min_ng: int
    daily_dose_hard_max_ng: int
    daily_dose_soft_min_ng: int
    daily_dose_soft_max_ng: int
    change_soft_ppm: int
    change_hard_ppm: int
    bolus_dose_soft_max_ng: int
    bolus_dose_hard_max_ng: int
    max_schedule_steps: int
    max_ramp_steps: int
    zero_rate_allowed: bool
    patient_bolus_allowed: bool
    prime_rate_nl_per_day: int
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int
    max_silence_s: int
    concentrations: tuple[ListedConcentration, ...]
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class LedgerHead(Message):
    """The ledger's head and this slot's last operation counter."""

    ledger_sequence: int
    last_operation_counter: int
    unacknowledged: int
    capacity: int
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Delivery(Message):
    """What the pump counts of its own commanded delivery."""

    activity: Activity
    activity_volume_nl: int
    activity_delivered_nl: int
    activity_ends_s: int | None
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int
    window_24h_ng: int
    patient_boluses_24h: int
    locked_out_until_s: int | None
    next_change_s: int | None
    zone_minutes: int
    clock_utc_s: int
    now_s: int
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class AlarmSettingsReport(Message):
    """What a clinician may set of the alarms, as it is."""

    low_reservoir_alarm_nl: int
    low_reservoir_enabled: bool
    elective_replacement_enabled: bool
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Staged(Message):
    """Last part of the read-back, what the pump derived from it, and the token that commits it."""

    part: int
    parts: int
    image: bytes
    dose_24h_ng: int
    volume_24h_nl: int
    peak_nl_per_day: int
    lowest_nl_per_day: int
    change_ppm: int
    empty_in_s: int
    shift_minutes: int
    warnings: tuple[Warn, ...]
    image_digest: bytes
    token: bytes
    ttl_s: int
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Begun(Message):
    """The transaction is open."""

    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Written(Message):
    """How far the image has come."""

    next_offset: int
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class ReadBack(Message):
    """A part of the read-back that is not the last."""

    part: int
    parts: int
    image: bytes
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class VerdictReport(Message):
    """What the ledger says of one operation."""

    op_id: bytes
    verdict: Verdict
    reason: RefusalReason | None
    program_sequence: int
    program_digest: bytes
    effective_s: int
    last_operation_counter: int
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Aborted(Message):
    """No transaction is open."""

    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Closed(Message):
    """The session is over."""

    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Refusal(Message):
    """No, and why: certain not to have happened. The only answer whose status is not OK."""

    status: StatusCode
    refused_opcode: int
    reason: RefusalReason | None
    value: int
    limit: int
    warnings: tuple[Warn, ...]
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class ReadTelemeter(Message):
    """How are you placed?"""

    tag: int


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """Send contact and coupling events from now on, or no longer."""

    tag: int
    events: bool


@dataclass(frozen=True, slots=True)
class TelemeterReport(Message):
    """What the handheld relay says of itself; never trusted for therapy."""

    tag: int
    serial: str
    firmware: int
    battery_percent: int
    coupling_bars: int
    contact: bool
    air_bits_per_s: int
    air_delay_ms: int
    frames_to_pump: int
    frames_from_pump: int
    frames_lost: int
    simulated: bool


@dataclass(frozen=True, slots=True)
class Subscribed(Message):
    """The subscription as it is now."""

    tag: int
    events: bool


@dataclass(frozen=True, slots=True)
class ContactEvent(Message):
    """Contact gained or lost, or the coupling moved by a bar."""

    contact: bool
    coupling_bars: int

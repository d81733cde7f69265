"""One frozen dataclass per message, record, image and handshake body of the wire table.

Field names, order and meaning are those of ``wire.py`` (a test holds the two equal); integers count the unit in
their name. Answers carry ``alarm_sequence`` from their header: when it moves, read the alarms again.
"""

# ruff: noqa: TC001 - whoever reads the annotations at run time (typing.get_type_hints) must find the types

from __future__ import annotations

from dataclasses import dataclass

from telemetry.model import (
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
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
    """What a program transaction stages."""

    schema: int
    mode: PumpMode
    drug: Drug
    concentration_ng_per_ml: int
    reservoir_generation: int
    rate_nl_per_day: int
    dose_ng_per_day: int


@dataclass(frozen=True, slots=True)
class ResumeImage:
    """What a resume transaction stages: exactly the program the operator saw."""

    schema: int
    reserved: int
    program_sequence: int
    program_digest: bytes


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
    """Which program is in force?"""


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
    path_volume_nl: int
    drug: Drug
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
    alarm_sequence: int = 0


@dataclass(frozen=True, slots=True)
class ProgramReport(Message):
    """The committed program, whether or not it runs."""

    mode: PumpMode
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int
    drug: Drug
    reservoir_generation: int
    program_sequence: int
    program_digest: bytes
    stopped: bool
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
    """Limits the pump enforces by itself."""

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
    max_silence_s: int
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

"""The vocabulary that every layer shares: frozen records and enumerations of pump, telemeter and driver.

Units stand in the names (``_nl``, ``_nl_per_day``, ``_ng_per_day``, ``_ng_per_ml``, ``_ms``). Pump time
(``…_ms``) counts milliseconds since the pump's epoch; ``Identity.epoch_utc_s`` says which instant that was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class PumpMode(StrEnum):
    """What the pump is doing now (domain.md 2.3 and 7)."""

    STOPPED = "stopped"
    SIMPLE_CONTINUOUS = "simple_continuous"
    MINIMUM_RATE = "minimum_rate"
    EMPTY = "empty"
    SAFE_STATE = "safe_state"
    END_OF_SERVICE = "end_of_service"
    FLEX = "flex"
    WEEKDAY = "weekday"
    PERIODIC_BOLUS = "periodic_bolus"
    TITRATION = "titration"
    TELEMETRY = "telemetry"
    SHELF = "shelf"


class Activity(StrEnum):
    """What runs on top of, or instead of, the program now (domain.md 2.3); at most one at a time."""

    NONE = "none"
    BOLUS = "bolus"
    PATIENT_BOLUS = "patient_bolus"
    PERIODIC_BOLUS = "periodic_bolus"
    PRIME = "prime"
    BRIDGE = "bridge"


class Drug(StrEnum):
    """What the reservoir holds."""

    BACLOFEN = "baclofen"
    MORPHINE = "morphine"


class Drive(StrEnum):
    """What moves the drug (domain.md 2.1)."""

    MOTOR = "motor"
    VALVE_GATED = "valve_gated"
    PIEZO_VALVE = "piezo_valve"


class AlarmKind(StrEnum):
    """What an alarm is about (domain.md 2.5)."""

    LOW_RESERVOIR = "low_reservoir"
    EMPTY_RESERVOIR = "empty_reservoir"
    ELECTIVE_REPLACEMENT = "elective_replacement"
    END_OF_SERVICE = "end_of_service"
    THERAPY_STOPPED = "therapy_stopped"
    STOPPED_PUMP = "stopped_pump"
    MEMORY_ERROR = "memory_error"
    SAFE_STATE = "safe_state"
    MOTOR_STALL = "motor_stall"
    LOW_BATTERY_RESET = "low_battery_reset"
    MEMORY_WARNING = "memory_warning"
    DOSE_LIMIT = "dose_limit"
    BOLUS_INTERRUPTED = "bolus_interrupted"


class AlarmClass(StrEnum):
    """How the pump sounds it: one tone, or two for *drug is not flowing* (domain.md 2.5)."""

    NON_CRITICAL = "non_critical"
    CRITICAL = "critical"


class AlarmPriority(StrEnum):
    """How a tablet must rank it (IEC 60601-1-8 words; domain.md 5.4)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AlarmSignal(StrEnum):
    """Whether it sounds; another question than whether its condition is present (domain.md 5.7)."""

    OFF = "off"
    ON = "on"
    SILENCED = "silenced"
    LATCHED = "latched"
    ACKNOWLEDGED = "acknowledged"


class Role(StrEnum):
    """Whose credential opened the session; it belongs to the slot on the pump, not to the programmer (trust.md 4.9)."""

    OBSERVER = "observer"
    PATIENT = "patient"
    CLINICIAN = "clinician"
    SERVICE = "service"
    COMMISSION = "commission"
    EMERGENCY = "emergency"


class Warn(StrEnum):
    """Soft limits that the pump reports at read-back; a person must accept each by name."""

    DAILY_DOSE_CHANGE = "daily_dose_change"
    DAILY_DOSE_HIGH = "daily_dose_high"
    DAILY_DOSE_LOW = "daily_dose_low"
    STARTS_DELIVERY = "starts_delivery"
    STOPPED_OVER_48_H = "stopped_over_48_h"
    BOLUS_DOSE_HIGH = "bolus_dose_high"
    CONCENTRATION_UNLISTED = "concentration_unlisted"
    BRIDGE_OMITTED = "bridge_omitted"
    SCHEDULE_SHIFTS = "schedule_shifts"
    PRIME_BEYOND_PATH = "prime_beyond_path"
    WITHDRAWN_DIFFERS = "withdrawn_differs"


class LogCode(StrEnum):
    """What a line of the pump's event log records (domain.md 2.10)."""

    POWER_ON = "power_on"
    PROGRAM_COMMITTED = "program_committed"
    COMMIT_REFUSED = "commit_refused"
    STOPPED = "stopped"
    RESUMED = "resumed"
    REFILLED = "refilled"
    ALARM_RAISED = "alarm_raised"
    ALARM_CLEARED = "alarm_cleared"
    ALARM_SILENCED = "alarm_silenced"
    ALARM_ACKNOWLEDGED = "alarm_acknowledged"
    RESERVOIR_EMPTY = "reservoir_empty"
    END_OF_SERVICE = "end_of_service"
    MEMORY_ERROR = "memory_error"
    SAFE_STATE_ENTERED = "safe_state_entered"
    SESSION_OPENED = "session_opened"
    SESSION_CLOSED = "session_closed"
    AUTHENTICATION_FAILED = "authentication_failed"
    CLOCK_SET = "clock_set"
    TIME_UNKNOWN = "time_unknown"
    BOLUS_STARTED = "bolus_started"
    BOLUS_ENDED = "bolus_ended"
    BOLUS_CANCELLED = "bolus_cancelled"
    BOLUS_WITHHELD = "bolus_withheld"
    PATIENT_BOLUS_DENIED = "patient_bolus_denied"
    PRIME_STARTED = "prime_started"
    PRIME_ENDED = "prime_ended"
    BRIDGE_STARTED = "bridge_started"
    BRIDGE_ENDED = "bridge_ended"
    TITRATION_STEP = "titration_step"
    LIMITS_CHANGED = "limits_changed"
    ALARMS_CONFIGURED = "alarms_configured"
    STALL_DETECTED = "stall_detected"
    STALL_RECOVERED = "stall_recovered"
    LOW_BATTERY_RESET = "low_battery_reset"
    DELIVERY_WITHHELD = "delivery_withheld"
    TELEMETRY_MODE_ENTERED = "telemetry_mode_entered"
    TELEMETRY_MODE_LEFT = "telemetry_mode_left"
    ACTIVATED = "activated"


class Verdict(StrEnum):
    """What the pump's ledger says of one operation. It never says *uncertain*; only a driver can be (trust.md 4.6)."""

    APPLIED = "applied"
    REFUSED = "refused"
    NEVER = "never"
    FORGOTTEN = "forgotten"


class OperationKind(StrEnum):
    """What an operation of the ledger changes."""

    PROGRAM = "program"
    RESUME = "resume"
    STOP = "stop"
    BOLUS = "bolus"
    PATIENT_BOLUS = "patient_bolus"
    PRIME = "prime"
    REFILL = "refill"
    LIMITS = "limits"
    CLOCK = "clock"
    ALARM_SETTINGS = "alarm_settings"


class RefusalReason(StrEnum):
    """Why the pump said no, in detail; stable names that a program can act on."""

    UNKNOWN_MESSAGE = "unknown_message"
    BAD_LAYOUT = "bad_layout"
    ROLE_FORBIDS = "role_forbids"
    NO_CONTACT = "no_contact"
    RATE_BELOW_MINIMUM = "rate_below_minimum"
    RATE_ABOVE_MAXIMUM = "rate_above_maximum"
    MODE_UNSUPPORTED = "mode_unsupported"
    DOSE_VOLUME_MISMATCH = "dose_volume_mismatch"
    DAILY_DOSE_BELOW_HARD_LIMIT = "daily_dose_below_hard_limit"
    DAILY_DOSE_ABOVE_HARD_LIMIT = "daily_dose_above_hard_limit"
    DOSE_CHANGE_ABOVE_HARD_LIMIT = "dose_change_above_hard_limit"
    WARNINGS_NOT_ACCEPTED = "warnings_not_accepted"
    DRUG_MISMATCH = "drug_mismatch"
    CONCENTRATION_MISMATCH = "concentration_mismatch"
    RESERVOIR_GENERATION_MISMATCH = "reservoir_generation_mismatch"
    BASE_CHANGED = "base_changed"
    TOKEN_WRONG = "token_wrong"  # noqa: S105 - a name, no secret
    PROPOSAL_EXPIRED = "proposal_expired"
    PROPOSAL_VOIDED = "proposal_voided"
    NO_PROPOSAL = "no_proposal"
    IMAGE_INCOMPLETE = "image_incomplete"
    IMAGE_DIGEST_MISMATCH = "image_digest_mismatch"
    IMAGE_OUT_OF_BOUNDS = "image_out_of_bounds"
    OPERATION_CONFLICT = "operation_conflict"
    OPERATION_FORGOTTEN = "operation_forgotten"
    LEDGER_FULL = "ledger_full"
    NOT_STOPPED = "not_stopped"
    RESERVOIR_EMPTY = "reservoir_empty"
    SAFE_STATE = "safe_state"
    END_OF_SERVICE = "end_of_service"
    MEMORY_UNRELIABLE = "memory_unreliable"
    NO_SUCH_ALARM = "no_such_alarm"
    SILENCE_TOO_LONG = "silence_too_long"
    SCHEDULE_MALFORMED = "schedule_malformed"
    TOO_MANY_STEPS = "too_many_steps"
    BOLUS_DOSE_ABOVE_HARD_LIMIT = "bolus_dose_above_hard_limit"
    BOLUS_LONGER_THAN_INTERVAL = "bolus_longer_than_interval"
    WINDOW_DOSE_ABOVE_HARD_LIMIT = "window_dose_above_hard_limit"
    ACTIVITY_RUNNING = "activity_running"
    NOT_DELIVERING = "not_delivering"
    PATIENT_BOLUS_FORBIDDEN = "patient_bolus_forbidden"
    PATIENT_BOLUS_NOT_PRESCRIBED = "patient_bolus_not_prescribed"
    LOCKED_OUT = "locked_out"
    BOLUS_COUNT_REACHED = "bolus_count_reached"
    CRITICAL_ALARM_PRESENT = "critical_alarm_present"
    RESERVOIR_OVERFILLED = "reservoir_overfilled"
    BRIDGE_MISMATCH = "bridge_mismatch"
    PRIME_TOO_LARGE = "prime_too_large"
    LIMIT_OUTSIDE_DEVICE = "limit_outside_device"
    STORED_ERROR = "stored_error"
    DOSE_LIMIT_TRIPPED = "dose_limit_tripped"
    PUMP_ON_SHELF = "pump_on_shelf"


class StopReason(StrEnum):
    """Why somebody stops the pump."""

    CLINICAL = "clinical"
    OVERDOSE = "overdose"
    BEFORE_PROCEDURE = "before_procedure"
    BENCH = "bench"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: condition, signal and system apart (domain.md 5.7)."""

    kind: AlarmKind
    alarm_class: AlarmClass
    priority: AlarmPriority
    condition_present: bool
    signal: AlarmSignal
    enabled: bool
    since_ms: int
    count: int
    silenced_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of the pump's event log. ``at_ms`` is pump time, whole seconds; ``value`` depends on the code."""

    sequence: int
    boot_epoch: int
    at_ms: int
    code: LogCode
    slot: int
    detail: int
    value: int


@dataclass(frozen=True, slots=True)
class LogReport:
    """Records read from the log, and what the ring has lost by overwriting."""

    records: tuple[LogRecord, ...]
    oldest_sequence: int
    newest_sequence: int
    overwritten: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the pump is, by its own account: volumes and calibration are those it was told, not the true ones.

    ``calibration_ppm`` must equal the constant on the package (domain.md 2.10). ``simulated`` is true of every pump in
    this project and shown wherever a person looks.
    """

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
    activated_ms: int
    epoch_utc_s: int
    simulated: bool


@dataclass(frozen=True, slots=True)
class PumpLimits:
    """What the pump itself enforces; ``hard`` refuses, ``soft`` warns (domain.md 2.1, 3.1)."""

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
class PumpStatus:
    """What telemetry says of the pump: its own books, which may differ from what is so (domain.md 0, fact 1)."""

    mode: PumpMode
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int
    drug: Drug
    reservoir_nl: int
    reservoir_generation: int
    battery_percent: int
    replace_by_ms: int
    low_reservoir_at_ms: int | None
    alarms: tuple[AlarmKind, ...]
    program_sequence: int
    program_digest: bytes
    boot_epoch: int
    now_ms: int
    clock_utc_s: int
    stopped_since_ms: int | None
    activity: Activity = Activity.NONE
    activity_ends_ms: int | None = None
    alarm_sequence: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What the pump counts of its own delivery: the activity, the sliding windows, the patient's boluses.

    ``activity_volume_nl`` and ``activity_delivered_nl`` are the activity's own (0 without one); windows are of
    *commanded* delivery up to now, from all sources (domain.md 2.3). Instants are pump time.
    """

    activity: Activity
    activity_volume_nl: int
    activity_delivered_nl: int
    activity_ends_ms: int | None
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int
    window_24h_ng: int
    patient_boluses_24h: int
    locked_out_until_ms: int | None
    next_change_ms: int | None
    zone_minutes: int
    clock_utc_s: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What is so, which no programmer can see: the bench's side channel."""

    now_ms: int
    reservoir_nl: int
    rate_nl_per_day: int
    tip_dose_ng_per_day: int
    tip_concentration_ng_per_ml: int
    battery_percent: int
    battery_pc: int
    delivered_nl: int
    delivered_ng: int
    strokes: int = 0
    rotor_moving: bool = True
    stalled: bool = False
    lost_nl: int = 0
    lost_ng: int = 0
    flow_error_ppm: int = 0
    catheter: str = "patent"
    beeper_works: bool = True


@dataclass(frozen=True, slots=True)
class DrugLedger:
    """Where every nanolitre went. ``filled`` is everything ever put in, the path's first content included."""

    filled_nl: int
    remaining_nl: int
    in_path_nl: int
    delivered_nl: int
    withdrawn_nl: int
    lost_nl: int

    @property
    def balance_nl(self) -> int:
        """Filled minus all that is accounted for; not 0 is a defect (INV-35)."""
        return self.filled_nl - (
            self.remaining_nl + self.in_path_nl + self.delivered_nl + self.withdrawn_nl + self.lost_nl
        )


@dataclass(frozen=True, slots=True)
class PumpEvent:
    """Something that happened in the pump at its exact instant (``at_ms``, pump time)."""

    at_ms: int
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TelemeterInfo:
    """What the handheld relay says of itself; never trusted for therapy."""

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
class TherapyState:
    """The side of a before/after comparison that a person reads."""

    mode: PumpMode
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int


@dataclass(frozen=True, slots=True)
class Change:
    """A therapy change that the pump confirmed; ``applied_at_ms`` is pump time."""

    transaction: str
    operation: OperationKind
    before: TherapyState
    after: TherapyState
    applied_at_ms: int
    warnings: tuple[Warn, ...] = ()

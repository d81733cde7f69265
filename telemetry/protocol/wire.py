"""THE wire table of ITP/1: every record and message, each field with width, unit and range, stated once.

construct layouts, the struct fast path, the tables of ``docs/protocol.md``, the fuzz corpus and the coverage
report are all made from this module. Integers are unsigned and little-endian. Sizes are bytes.

Three kinds of header precede a message body inside a (sealed or telemeter-plane) payload:

=============  ======================================================================  =====
plane          header                                                                  bytes
=============  ======================================================================  =====
``REQUEST``    opcode 1, message version 1, body length 2                              4
``ANSWER``     opcode 1, message version 1, status 1, alarm sequence 2, body length 2  7
``TELEMETER``  opcode 1, message version 1, body length 2                              4
=============  ======================================================================  =====
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag, StrEnum
from types import MappingProxyType

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
from telemetry.therapy import EVERY_DAY, MINUTES_PER_DAY

PROTOCOL_MAJOR = 1
SUITE_NOISE_KKPSK0 = 1
"""The one cipher suite; there is no negotiation beyond its number (trust.md 4.15)."""

MAX_BODY = 248
FRAME_HEADER = struct.Struct("<BBH")
FRAME_CRC = struct.Struct("<I")
MAX_FRAME = FRAME_HEADER.size + MAX_BODY + FRAME_CRC.size
MAX_PLAINTEXT = 224
"""Longest padded plaintext: 4 (counter) + 224 + 16 (tag) fits a frame body (trust.md 4.3)."""
PADDING_BLOCK = 16
TAG_SIZE = 16
COUNTER = struct.Struct("<I")
MAX_COUNTER = 65_535
"""A session ends at this request counter; there is no rekey (trust.md 4.5)."""

REQUEST_HEADER = struct.Struct("<BBH")
ANSWER_HEADER = struct.Struct("<BBBHH")


class FrameType(IntEnum):
    """Low nibble of a frame's first byte."""

    PROBE = 0
    BEACON = 1
    HELLO = 2
    ACCEPT = 3
    REQ = 4
    RSP = 5
    TELEMETER_REQ = 8
    TELEMETER_RSP = 9
    TELEMETER_EVENT = 10


class BeaconFlag(IntFlag):
    """Flags of a BEACON."""

    NONE = 0
    TEST_DEVICE = 1
    THROTTLED = 2
    BUSY = 4


class Intent(IntEnum):
    """Why a programmer probes."""

    NORMAL = 0
    EMERGENCY = 1


class Status(StrEnum):
    """Verdict of one answer. Everything but ``OK`` is a definite *not applied* (trust.md 4.6)."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    FORMAT = "format"
    ROLE = "role"
    STATE = "state"
    CONTACT = "contact"
    LIMIT_HARD = "limit_hard"
    LIMIT_SOFT = "limit_soft"
    STALE_BASE = "stale_base"
    TOKEN = "token"  # noqa: S105 - a name, no secret
    EXPIRED = "expired"
    CONFLICT = "conflict"
    FORGOTTEN = "forgotten"
    LEDGER_FULL = "ledger_full"
    BINDING = "binding"
    MEMORY = "memory"


REASON_STATUS: MappingProxyType[RefusalReason, Status] = MappingProxyType(
    {
        RefusalReason.UNKNOWN_MESSAGE: Status.UNSUPPORTED,
        RefusalReason.MODE_UNSUPPORTED: Status.UNSUPPORTED,
        RefusalReason.BAD_LAYOUT: Status.FORMAT,
        RefusalReason.IMAGE_INCOMPLETE: Status.FORMAT,
        RefusalReason.IMAGE_DIGEST_MISMATCH: Status.FORMAT,
        RefusalReason.IMAGE_OUT_OF_BOUNDS: Status.FORMAT,
        RefusalReason.DOSE_VOLUME_MISMATCH: Status.FORMAT,
        RefusalReason.ROLE_FORBIDS: Status.ROLE,
        RefusalReason.NO_CONTACT: Status.CONTACT,
        RefusalReason.RATE_BELOW_MINIMUM: Status.LIMIT_HARD,
        RefusalReason.RATE_ABOVE_MAXIMUM: Status.LIMIT_HARD,
        RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT: Status.LIMIT_HARD,
        RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT: Status.LIMIT_HARD,
        RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT: Status.LIMIT_HARD,
        RefusalReason.SILENCE_TOO_LONG: Status.LIMIT_HARD,
        RefusalReason.WARNINGS_NOT_ACCEPTED: Status.LIMIT_SOFT,
        RefusalReason.DRUG_MISMATCH: Status.BINDING,
        RefusalReason.CONCENTRATION_MISMATCH: Status.BINDING,
        RefusalReason.RESERVOIR_GENERATION_MISMATCH: Status.BINDING,
        RefusalReason.BASE_CHANGED: Status.STALE_BASE,
        RefusalReason.TOKEN_WRONG: Status.TOKEN,
        RefusalReason.PROPOSAL_EXPIRED: Status.EXPIRED,
        RefusalReason.PROPOSAL_VOIDED: Status.EXPIRED,
        RefusalReason.OPERATION_CONFLICT: Status.CONFLICT,
        RefusalReason.OPERATION_FORGOTTEN: Status.FORGOTTEN,
        RefusalReason.LEDGER_FULL: Status.LEDGER_FULL,
        RefusalReason.NO_PROPOSAL: Status.STATE,
        RefusalReason.NOT_STOPPED: Status.STATE,
        RefusalReason.RESERVOIR_EMPTY: Status.STATE,
        RefusalReason.SAFE_STATE: Status.STATE,
        RefusalReason.END_OF_SERVICE: Status.STATE,
        RefusalReason.NO_SUCH_ALARM: Status.STATE,
        RefusalReason.MEMORY_UNRELIABLE: Status.MEMORY,
        RefusalReason.SCHEDULE_MALFORMED: Status.FORMAT,
        RefusalReason.TOO_MANY_STEPS: Status.LIMIT_HARD,
        RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT: Status.LIMIT_HARD,
        RefusalReason.BOLUS_LONGER_THAN_INTERVAL: Status.LIMIT_HARD,
        RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT: Status.LIMIT_HARD,
        RefusalReason.BOLUS_COUNT_REACHED: Status.LIMIT_HARD,
        RefusalReason.RESERVOIR_OVERFILLED: Status.LIMIT_HARD,
        RefusalReason.PRIME_TOO_LARGE: Status.LIMIT_HARD,
        RefusalReason.LIMIT_OUTSIDE_DEVICE: Status.LIMIT_HARD,
        RefusalReason.PATIENT_BOLUS_FORBIDDEN: Status.UNSUPPORTED,
        RefusalReason.BRIDGE_MISMATCH: Status.BINDING,
        RefusalReason.ACTIVITY_RUNNING: Status.STATE,
        RefusalReason.NOT_DELIVERING: Status.STATE,
        RefusalReason.PATIENT_BOLUS_NOT_PRESCRIBED: Status.STATE,
        RefusalReason.LOCKED_OUT: Status.STATE,
        RefusalReason.CRITICAL_ALARM_PRESENT: Status.STATE,
        RefusalReason.DOSE_LIMIT_TRIPPED: Status.STATE,
        RefusalReason.PUMP_ON_SHELF: Status.STATE,
        RefusalReason.STORED_ERROR: Status.MEMORY,
    }
)
"""The status class of each detailed reason: what a ``Refusal`` of that reason carries in its header."""

_SPACED = (0x01, 0x0E, 0x32, 0x3D, 0x54, 0x5B, 0x67, 0x68, 0x97, 0x98, 0xA4, 0xAB, 0xC2, 0xCD, 0xF1, 0xFE)
"""The extended Hamming [8,4,4] code moved by 1: sixteen bytes, pairwise distance 4, none of them 0x00 or 0xFF.

``protocol.md``, Decided 5 asks for a distance of at least 3; a stuck-at byte is no code at all.
"""


_CodeTable = MappingProxyType[int, Enum | None]


def _spaced(kind: type[Enum]) -> _CodeTable:
    """Give each member, in order of definition, a code from the spaced set.

    Raises ``ValueError`` on import when there are more members than codes: none would be left out silently.
    """
    if len(kind) > len(_SPACED):
        raise ValueError(f"{kind.__name__}: {len(kind)} members, the spaced codes are {len(_SPACED)}")
    return MappingProxyType(dict(zip(_SPACED, kind, strict=False)))


def _counted(kind: type[Enum], first: int = 1) -> _CodeTable:
    """Number the members in order of definition."""
    return MappingProxyType(dict(enumerate(kind, start=first)))


CODES: MappingProxyType[str, _CodeTable] = MappingProxyType(
    {
        "status": _spaced(Status),
        "verdict": _spaced(Verdict),
        "mode": _spaced(PumpMode),
        "activity": _spaced(Activity),
        "alarm": _spaced(AlarmKind),
        "alarm_class": _spaced(AlarmClass),
        "alarm_priority": _spaced(AlarmPriority),
        "alarm_signal": _spaced(AlarmSignal),
        "role": _spaced(Role),
        "operation": _spaced(OperationKind),
        "stop_reason": _spaced(StopReason),
        "drive": _spaced(Drive),
        "drug": _counted(Drug),
        "log_code": _counted(LogCode),
        "reason": MappingProxyType({0: None, **_counted(RefusalReason)}),
    }
)
"""Every code table: byte (or word) on the wire to its meaning. ``reason`` 0 means *none*."""

WARNING_BITS: MappingProxyType[int, Warn] = MappingProxyType({1 << bit: warn for bit, warn in enumerate(Warn)})
ALARM_BITS: MappingProxyType[int, AlarmKind] = MappingProxyType({1 << bit: kind for bit, kind in enumerate(AlarmKind)})
BITMAPS: MappingProxyType[str, MappingProxyType[int, Enum]] = MappingProxyType(
    {"warnings": WARNING_BITS, "alarms": ALARM_BITS}
)
"""Bitmaps of 32 bits; on the Python side a tuple of members in bit order. An undefined bit is refused."""


class Kind(StrEnum):
    """How a field lies on the wire and what it is in Python."""

    UINT = "uint"
    """Unsigned integer of ``size`` bytes."""
    BOOL = "bool"
    """One byte: 0x33 false, 0xCC true (distance 8); anything else is refused."""
    CODE = "code"
    """Unsigned integer of ``size`` bytes; its table is ``CODES[table]``."""
    BITMAP = "bitmap"
    """Unsigned integer of ``size`` bytes; its table is ``BITMAPS[table]``."""
    BYTES = "bytes"
    """Exactly ``size`` bytes."""
    TEXT = "text"
    """Printable ASCII, zero-padded to ``size`` bytes."""
    BLOB = "blob"
    """One length byte, then that many bytes, at most ``high``."""
    RECORDS = "records"
    """One count byte, then that many records of the layout ``RECORDS[table]``, at most ``high``."""


BOOL_FALSE, BOOL_TRUE = 0x33, 0xCC


@dataclass(frozen=True, slots=True)
class Field:
    """One field: name, kind, bytes, unit for people, and the range that decoders enforce.

    ``none`` is the integer that stands for Python's ``None`` (an instant that does not exist). ``bias`` is added to a
    signed number to make it the unsigned one on the wire; ``low`` and ``high`` are of the number itself.
    """

    name: str
    kind: Kind
    size: int
    unit: str = ""
    low: int = 0
    high: int | None = None
    table: str = ""
    none: int | None = None
    bias: int = 0


def _uint(name: str, size: int, unit: str = "", *, low: int = 0, high: int | None = None) -> Field:
    return Field(name, Kind.UINT, size, unit, low, (1 << 8 * size) - 1 if high is None else high)


def _instant(name: str, size: int = 8) -> Field:
    """An instant in pump seconds that may not exist (all ones)."""
    ones = (1 << 8 * size) - 1
    return Field(name, Kind.UINT, size, "s of pump time; all ones: none", 0, ones, none=ones)


def _signed(name: str, size: int, unit: str, *, bias: int, low: int, high: int) -> Field:
    """A number that may be negative; the wire carries it plus ``bias``."""
    return Field(name, Kind.UINT, size, unit, low, high, bias=bias)


def _bool(name: str) -> Field:
    return Field(name, Kind.BOOL, 1)


def _code(name: str, table: str, size: int = 1) -> Field:
    return Field(name, Kind.CODE, size, "code", table=table)


def _bitmap(name: str, table: str) -> Field:
    return Field(name, Kind.BITMAP, 4, "bitmap", table=table)


def _bytes(name: str, size: int) -> Field:
    return Field(name, Kind.BYTES, size)


def _text(name: str, size: int) -> Field:
    return Field(name, Kind.TEXT, size, "ASCII")


def _blob(name: str, high: int) -> Field:
    return Field(name, Kind.BLOB, 1, "bytes", high=high)


def _records(name: str, table: str, high: int) -> Field:
    return Field(name, Kind.RECORDS, 1, "records", high=high, table=table)


OP_ID_SIZE = 16
DIGEST_SIZE = 32
SHORT_DIGEST_SIZE = 8
TOKEN_SIZE = 16

MAX_ALARM_RECORDS = 13
MAX_LOG_RECORDS = 8
MAX_WRITE = 200
MAX_IMAGE = 4096
"""Longest image a pump accepts in parts; a refill with the longest schedule fits (checked below)."""
MAX_STEPS = 7 * 24
"""Steps of a schedule on the wire: each day of the week with a step every hour; a pump may allow fewer."""
MAX_RAMP_STEPS = 64
MAX_CONCENTRATIONS = 8
MAX_READ_BACK_PART = 200
MAX_READ_BACK_LAST_PART = 120

RECORDS: MappingProxyType[str, tuple[Field, ...]] = MappingProxyType(
    {
        "alarm_record": (
            _code("kind", "alarm"),
            _code("alarm_class", "alarm_class"),
            _code("priority", "alarm_priority"),
            _bool("condition_present"),
            _code("signal", "alarm_signal"),
            _bool("enabled"),
            _uint("since_s", 4, "s of pump time"),
            _uint("count", 2),
            _instant("silenced_until_s", 4),
        ),
        "log_entry": (
            _uint("sequence", 4),
            _uint("boot_epoch", 4),
            _uint("at_s", 4, "s of pump time"),
            _code("code", "log_code", 2),
            _uint("slot", 1),
            _uint("detail", 2),
            _uint("value", 8),
        ),
        "program_step": (
            _uint("days", 1, "bitmap, Monday is bit 0", low=1, high=EVERY_DAY),
            _uint("start_minute", 2, "minutes after the pump's midnight", high=MINUTES_PER_DAY - 1),
            _uint("rate_nl_per_day", 4, "nl/day"),
            _uint("dose_ng_per_day", 8, "ng/day at this rate"),
        ),
        "program_bolus": (
            _uint("volume_nl", 4, "nl"),
            _uint("dose_ng", 8, "ng"),
            _uint("duration_s", 4, "s", low=1),
            _uint("interval_s", 4, "s from start to start", low=1),
            _uint("first_in_s", 4, "s after the program begins"),
        ),
        "program_ramp_step": (
            _uint("days", 2, "days of delivery", low=1),
            _uint("rate_nl_per_day", 4, "nl/day"),
            _uint("dose_ng_per_day", 8, "ng/day"),
        ),
        "program_patient_bolus": (
            _uint("volume_nl", 4, "nl"),
            _uint("dose_ng", 8, "ng"),
            _uint("duration_s", 4, "s", low=1),
            _uint("lockout_s", 4, "s from end to start"),
            _uint("max_per_24h", 1, "boluses in any 24 h", low=1),
        ),
        "program_bridge": (
            _uint("volume_nl", 4, "nl of the old drug"),
            _uint("rate_nl_per_day", 4, "nl/day"),
            _uint("dose_ng_per_day", 8, "ng/day of the old drug"),
            _uint("concentration_ng_per_ml", 4, "ng/ml of the old drug"),
        ),
        "listed_concentration": (_uint("concentration_ng_per_ml", 4, "ng/ml"),),
    }
)
"""Records that repeat inside a message or image. Their dataclasses are names of ``messages.py``."""

IMAGE_SCHEMA = 1
_SHIFT_BIAS = 1 << 31
LAST_UTC_S = (1 << 32) - 1
"""A clock may be set up to the year 2106: beyond the life of any pump, and any shift fits ``Staged``."""
MAX_ZONE_MINUTES = MINUTES_PER_DAY
_SCHEMA = _uint("schema", 1, low=IMAGE_SCHEMA, high=IMAGE_SCHEMA)
_ZONE = _signed(
    "zone_minutes",
    2,
    "min east of UTC",
    bias=MAX_ZONE_MINUTES,
    low=-MAX_ZONE_MINUTES,
    high=MAX_ZONE_MINUTES,
)
_BINDING = (_uint("concentration_ng_per_ml", 4, "ng/ml"), _uint("reservoir_generation", 4))
_PROGRAM = (
    _code("mode", "mode"),
    _code("drug", "drug", 2),
    *_BINDING,
    _uint("rate_nl_per_day", 4, "nl/day"),
    _uint("dose_ng_per_day", 8, "ng/day"),
    _records("steps", "program_step", MAX_STEPS),
    _records("bolus", "program_bolus", 1),
    _records("ramp", "program_ramp_step", MAX_RAMP_STEPS),
    _records("patient_bolus", "program_patient_bolus", 1),
    _records("bridge", "program_bridge", 1),
)
_LIMITS = (
    _uint("min_rate_nl_per_day", 4, "nl/day"),
    _uint("max_rate_nl_per_day", 4, "nl/day"),
    _uint("keep_alive_rate_nl_per_day", 4, "nl/day"),
    _uint("low_reservoir_alarm_nl", 4, "nl"),
    _uint("daily_dose_hard_min_ng", 8, "ng/day"),
    _uint("daily_dose_hard_max_ng", 8, "ng/day"),
    _uint("daily_dose_soft_min_ng", 8, "ng/day"),
    _uint("daily_dose_soft_max_ng", 8, "ng/day"),
    _uint("change_soft_ppm", 4, "ppm"),
    _uint("change_hard_ppm", 4, "ppm"),
    _uint("bolus_dose_soft_max_ng", 8, "ng"),
    _uint("bolus_dose_hard_max_ng", 8, "ng"),
)
_ALARM_SETTINGS = (
    _uint("low_reservoir_alarm_nl", 4, "nl"),
    _bool("low_reservoir_enabled"),
    _bool("elective_replacement_enabled"),
)

IMAGES: MappingProxyType[str, tuple[Field, ...]] = MappingProxyType(
    {
        "program_image": (_SCHEMA, *_PROGRAM),
        "resume_image": (
            _SCHEMA,
            _uint("reserved", 3, high=0),
            _uint("program_sequence", 4),
            _bytes("program_digest", SHORT_DIGEST_SIZE),
        ),
        "bolus_image": (
            _SCHEMA,
            _uint("volume_nl", 4, "nl"),
            _uint("dose_ng", 8, "ng"),
            _uint("duration_s", 4, "s", low=1),
            *_BINDING,
        ),
        "prime_image": (
            _SCHEMA,
            _uint("volume_nl", 4, "nl"),
            _uint("rate_nl_per_day", 4, "nl/day"),
            *_BINDING,
        ),
        "refill_image": (
            _SCHEMA,
            _uint("volume_nl", 4, "nl in the reservoir now"),
            _uint("withdrawn_nl", 4, "nl taken out before"),
            *_PROGRAM,
        ),
        "limits_image": (_SCHEMA, *_LIMITS),
        "clock_image": (_SCHEMA, _uint("utc_s", 8, "s since 1970-01-01 UTC", high=LAST_UTC_S), _ZONE),
        "alarm_settings_image": (_SCHEMA, *_ALARM_SETTINGS),
    }
)
"""What a transaction stages, per operation kind. The image digest is SHA-256 over these bytes."""


def longest(fields: tuple[Field, ...]) -> int:
    """The most bytes that these fields can take: every blob and list full."""
    return sum(
        field.size
        + (field.high or 0)
        * {Kind.BLOB: 1, Kind.RECORDS: sum(f.size for f in RECORDS.get(field.table, ()))}.get(field.kind, 0)
        for field in fields
    )


_TOO_LONG = [name for name, fields in IMAGES.items() if longest(fields) > MAX_IMAGE]
if _TOO_LONG:  # pragma: no cover - a broken table
    raise ValueError(f"{', '.join(_TOO_LONG)}: longer than MAX_IMAGE {MAX_IMAGE}")

HANDSHAKE: MappingProxyType[str, tuple[Field, ...]] = MappingProxyType(
    {
        "probe": (
            _uint("max_version", 1),
            _uint("min_version", 1),
            _uint("intent", 1, high=1),
            _uint("suites", 1, "bitmap, bit n is suite n"),
            _bytes("probe_id", 4),
        ),
        "beacon": (
            _uint("version", 1),
            _uint("suite", 1),
            _uint("flags", 1, "bit 0 test device, 1 throttled, 2 busy", high=7),
            _uint("wait_s", 1, "s"),
            _bytes("challenge", 16),
            _bytes("wake_tag", 8),
            _bytes("probe_id", 4),
        ),
        "hello": (
            _uint("slot", 1),
            _code("want_role", "role"),
            _uint("reserved", 2, high=0),
            _bytes("gate_mac", 16),
            _bytes("noise1", 72),
        ),
        "hello_payload": (
            _bytes("operator_ref", 8),
            _uint("programmer_utc_s", 8, "s since 1970-01-01 UTC"),
            _uint("layout_fingerprint", 4),
            _uint("build", 2),
            _uint("reserved", 2, high=0),
        ),
        "accept": (_bytes("noise2", 128),),
        "accept_payload": (
            _bytes("pump_id", 8),
            _uint("firmware", 4),
            _code("role", "role"),
            _uint("flags", 1, "bit 0 test device", high=1),
            _uint("idle_s", 2, "s"),
            _uint("session_s", 2, "s"),
            _uint("boot_epoch", 4),
            _uint("now_s", 8, "s of pump time"),
            _uint("program_sequence", 4),
            _bytes("program_digest", SHORT_DIGEST_SIZE),
            _uint("ledger_sequence", 4),
            _uint("last_operation_counter", 8),
            _uint("log_sequence", 4),
            _bytes("log_head", 8),
            _uint("alarm_sequence", 2),
            _uint("active_alarms", 2),
            _uint("failed_attempts", 2),
            _uint("layout_fingerprint", 4),
            _uint("reserved", 4, high=0),
        ),
    }
)
"""Bodies of the handshake frames and the payloads sealed inside them (trust.md 4.3, resized: docs/protocol.md)."""


class Plane(StrEnum):
    """Which header a message has and who reads it."""

    REQUEST = "request"
    ANSWER = "answer"
    TELEMETER = "telemeter"


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """One row of the table.

    ``operation`` names the row of the role table (``roles.py``) that must allow it; ``replies`` the messages that
    may answer it besides ``Refusal``; ``changes_therapy`` says that a lost answer leaves an unknown outcome;
    ``idempotent`` that sending it again in a new session is harmless.
    """

    opcode: int
    name: str
    plane: Plane
    fields: tuple[Field, ...]
    operation: str = ""
    replies: tuple[str, ...] = ()
    changes_therapy: bool = False
    idempotent: bool = True
    version: int = 1
    since: int = 1
    about: str = ""


def _request(
    opcode: int,
    name: str,
    operation: str,
    fields: tuple[Field, ...],
    replies: tuple[str, ...],
    about: str,
    *,
    changes_therapy: bool = False,
    idempotent: bool = True,
) -> MessageSpec:
    return MessageSpec(
        opcode, name, Plane.REQUEST, fields, operation, replies, changes_therapy, idempotent, about=about
    )


def _answer(opcode: int, name: str, fields: tuple[Field, ...], about: str) -> MessageSpec:
    return MessageSpec(opcode, name, Plane.ANSWER, fields, about=about)


def _telemeter(
    opcode: int, name: str, fields: tuple[Field, ...], about: str, replies: tuple[str, ...] = ()
) -> MessageSpec:
    return MessageSpec(opcode, name, Plane.TELEMETER, fields, replies=replies, about=about)


_BASE = (
    _bytes("op_id", OP_ID_SIZE),
    _uint("acked_through", 8, "operation counter"),
    _uint("base_sequence", 4),
    _bytes("base_digest", SHORT_DIGEST_SIZE),
)

MESSAGES: tuple[MessageSpec, ...] = (
    _request(0x01, "ReadIdentity", "read_status", (), ("Identity",), "Who are you?"),
    _request(0x02, "ReadStatus", "read_status", (), ("Status",), "What are you doing?"),
    _request(
        0x03,
        "ReadProgram",
        "read_program",
        (_uint("part", 1),),
        ("ProgramReport",),
        "Which program is in force? One part of its image.",
    ),
    _request(0x04, "ReadAlarms", "read_status", (), ("AlarmReport",), "Which alarms are there?"),
    _request(
        0x05,
        "ReadLog",
        "read_history",
        (_uint("from_sequence", 4), _uint("max_records", 1, low=1, high=MAX_LOG_RECORDS)),
        ("LogPage",),
        "Log records from a sequence number on, one page.",
    ),
    _request(0x06, "ReadLimits", "read_program", (), ("Limits",), "Which limits do you enforce?"),
    _request(0x07, "ReadLedger", "read_status", (), ("LedgerHead",), "Where is your ledger, and this slot in it?"),
    _request(
        0x08, "ReadDelivery", "read_status", (), ("Delivery",), "What are you giving on top, and how much in 24 h?"
    ),
    _request(
        0x09, "ReadAlarmSettings", "read_program", (), ("AlarmSettingsReport",), "How are your alarms configured?"
    ),
    _request(
        0x10,
        "SetRate",
        "program",
        (
            *_BASE,
            _code("drug", "drug", 2),
            _uint("concentration_ng_per_ml", 4, "ng/ml"),
            _uint("reservoir_generation", 4),
            _uint("rate_nl_per_day", 4, "nl/day"),
            _uint("dose_ng_per_day", 8, "ng/day"),
        ),
        ("Staged", "VerdictReport"),
        "The short program: stage a simple continuous rate in one message.",
        idempotent=False,
    ),
    _request(
        0x11,
        "Begin",
        "program",
        (
            *_BASE,
            _code("kind", "operation"),
            _uint("schema", 1, low=IMAGE_SCHEMA, high=IMAGE_SCHEMA),
            _uint("total_length", 2, "bytes", low=1, high=MAX_IMAGE),
            _bytes("image_digest", DIGEST_SIZE),
        ),
        ("Begun", "VerdictReport"),
        "Open a transaction whose image follows in WRITEs; its kind has a row of the role table of its own.",
        idempotent=False,
    ),
    _request(
        0x12,
        "Write",
        "program",
        (_uint("offset", 2, "bytes", high=MAX_IMAGE), _blob("data", MAX_WRITE)),
        ("Written",),
        "A part of the image.",
        idempotent=False,
    ),
    _request(
        0x13,
        "Verify",
        "program",
        (_uint("part", 1),),
        ("ReadBack", "Staged"),
        "Read back what the pump parsed, part by part.",
    ),
    _request(
        0x14,
        "Commit",
        "program",
        (
            _bytes("op_id", OP_ID_SIZE),
            _bytes("token", TOKEN_SIZE),
            _bytes("image_digest", DIGEST_SIZE),
            _bitmap("accepted_warnings", "warnings"),
        ),
        ("VerdictReport",),
        "Make the staged image the truth, once.",
        changes_therapy=True,
        idempotent=False,
    ),
    _request(
        0x15,
        "Query",
        "own_operation",
        (_bytes("op_id", OP_ID_SIZE),),
        ("VerdictReport",),
        "What became of an operation? Fences: what it reports as not applied can no longer happen.",
    ),
    _request(
        0x16, "Abort", "own_operation", (_bytes("op_id", OP_ID_SIZE),), ("Aborted",), "Drop the open transaction."
    ),
    _request(
        0x17,
        "Stop",
        "stop",
        (
            _bytes("op_id", OP_ID_SIZE),
            _uint("acked_through", 8, "operation counter"),
            _code("reason", "stop_reason"),
        ),
        ("VerdictReport",),
        "Stop delivery, in one step.",
        changes_therapy=True,
    ),
    _request(
        0x18,
        "SilenceAlarms",
        "silence",
        (_uint("duration_s", 2, "s", low=1),),
        ("AlarmReport",),
        "Silence what sounds now, for a time; a new condition sounds all the same.",
    ),
    _request(
        0x19,
        "AcknowledgeAlarm",
        "acknowledge",
        (_code("kind", "alarm"),),
        ("AlarmReport",),
        "Release a latched alarm whose condition is over; quiet one that is present.",
    ),
    _request(
        0x1A,
        "PatientBolus",
        "patient_bolus",
        (
            _bytes("op_id", OP_ID_SIZE),
            _uint("acked_through", 8, "operation counter"),
        ),
        ("VerdictReport",),
        "Give the bolus that was prescribed for the patient's own use, in one step; the pump decides.",
        changes_therapy=True,
    ),
    _request(0x1F, "Close", "own_operation", (), ("Closed",), "End the session so that truncation would show."),
    _answer(
        0x81,
        "Identity",
        (
            _text("model", 16),
            _text("serial", 16),
            _bytes("pump_id", 8),
            _uint("firmware", 4),
            _uint("reservoir_capacity_nl", 4, "nl"),
            _uint("tubing_volume_nl", 4, "nl, as the pump was told"),
            _uint("catheter_volume_nl", 4, "nl, as the pump was told"),
            _code("drug", "drug", 2),
            _code("drive", "drive"),
            _bool("level_sensor"),
            _uint("calibration_ppm", 4, "ppm of nominal; 1000000: exact", low=1),
            _uint("activated_ago_s", 8, "s before now"),
            _uint("now_s", 8, "s of pump time"),
            _uint("epoch_utc_s", 8, "s since 1970-01-01 UTC"),
            _bool("simulated"),
        ),
        "Who the pump is.",
    ),
    _answer(
        0x82,
        "Status",
        (
            _code("mode", "mode"),
            _uint("rate_nl_per_day", 4, "nl/day"),
            _uint("dose_ng_per_day", 8, "ng/day"),
            _uint("concentration_ng_per_ml", 4, "ng/ml"),
            _code("drug", "drug", 2),
            _uint("reservoir_nl", 4, "nl"),
            _uint("reservoir_generation", 4),
            _uint("battery_percent", 1, "%", high=100),
            _uint("replace_by_s", 8, "s of pump time"),
            _instant("low_reservoir_at_s"),
            _bitmap("alarms", "alarms"),
            _uint("program_sequence", 4),
            _bytes("program_digest", SHORT_DIGEST_SIZE),
            _uint("boot_epoch", 4),
            _uint("now_s", 8, "s of pump time"),
            _uint("clock_utc_s", 8, "s since 1970-01-01 UTC, by the pump's clock"),
            _instant("stopped_since_s"),
            _code("activity", "activity"),
            _instant("activity_ends_s"),
        ),
        "What the pump believes: its own books.",
    ),
    _answer(
        0x83,
        "ProgramReport",
        (
            _uint("program_sequence", 4),
            _bytes("program_digest", SHORT_DIGEST_SIZE),
            _bool("stopped"),
            _uint("part", 1),
            _uint("parts", 1, low=1),
            _blob("image", MAX_READ_BACK_PART),
        ),
        "A part of the committed program's image (program_image), whether or not it runs.",
    ),
    _answer(
        0x84,
        "AlarmReport",
        (_records("alarms", "alarm_record", MAX_ALARM_RECORDS),),
        "Every alarm that is present, latched or silenced.",
    ),
    _answer(
        0x85,
        "LogPage",
        (
            _uint("oldest_sequence", 4),
            _uint("newest_sequence", 4),
            _uint("overwritten", 4, "records"),
            _records("records", "log_entry", MAX_LOG_RECORDS),
        ),
        "A page of the event log, oldest first.",
    ),
    _answer(
        0x86,
        "Limits",
        (
            *_LIMITS,
            _uint("max_schedule_steps", 1, "steps a day"),
            _uint("max_ramp_steps", 1),
            _bool("zero_rate_allowed"),
            _bool("patient_bolus_allowed"),
            _uint("prime_rate_nl_per_day", 4, "nl/day"),
            _uint("window_1h_nl", 4, "nl, at most in any hour"),
            _uint("window_4h_nl", 4, "nl, at most in any 4 h"),
            _uint("window_24h_nl", 4, "nl, at most in any 24 h"),
            _uint("max_silence_s", 2, "s"),
            _records("concentrations", "listed_concentration", MAX_CONCENTRATIONS),
        ),
        "Limits the pump enforces by itself, and what of its rules explains a refusal beforehand.",
    ),
    _answer(
        0x87,
        "LedgerHead",
        (
            _uint("ledger_sequence", 4),
            _uint("last_operation_counter", 8),
            _uint("unacknowledged", 2, "operations"),
            _uint("capacity", 2, "operations"),
        ),
        "The ledger's head and this slot's last operation counter.",
    ),
    _answer(
        0x88,
        "Delivery",
        (
            _code("activity", "activity"),
            _uint("activity_volume_nl", 4, "nl"),
            _uint("activity_delivered_nl", 4, "nl"),
            _instant("activity_ends_s"),
            _uint("window_1h_nl", 4, "nl in the last hour"),
            _uint("window_4h_nl", 4, "nl in the last 4 h"),
            _uint("window_24h_nl", 4, "nl in the last 24 h"),
            _uint("window_24h_ng", 8, "ng in the last 24 h"),
            _uint("patient_boluses_24h", 1),
            _instant("locked_out_until_s"),
            _instant("next_change_s"),
            _ZONE,
            _uint("clock_utc_s", 8, "s since 1970-01-01 UTC, by the pump's clock"),
            _uint("now_s", 8, "s of pump time"),
        ),
        "What the pump counts of its own commanded delivery.",
    ),
    _answer(0x89, "AlarmSettingsReport", _ALARM_SETTINGS, "What a clinician may set of the alarms, as it is."),
    _answer(
        0x90,
        "Staged",
        (
            _uint("part", 1),
            _uint("parts", 1, low=1),
            _blob("image", MAX_READ_BACK_LAST_PART),
            _uint("dose_24h_ng", 8, "ng"),
            _uint("volume_24h_nl", 4, "nl"),
            _uint("peak_nl_per_day", 4, "nl/day"),
            _uint("lowest_nl_per_day", 4, "nl/day"),
            _uint("change_ppm", 4, "ppm of the present daily dose, as distance"),
            _uint("empty_in_s", 4, "s; all ones: longer"),
            _signed(
                "shift_minutes",
                4,
                "min that a schedule moves against the patient's day; 0 but for a clock",
                bias=_SHIFT_BIAS,
                low=-_SHIFT_BIAS,
                high=_SHIFT_BIAS - 1,
            ),
            _bitmap("warnings", "warnings"),
            _bytes("image_digest", DIGEST_SIZE),
            _bytes("token", TOKEN_SIZE),
            _uint("ttl_s", 2, "s"),
        ),
        "Last part of the read-back, what the pump derived from it, and the token that commits it.",
    ),
    _answer(0x91, "Begun", (), "The transaction is open."),
    _answer(0x92, "Written", (_uint("next_offset", 2, "bytes"),), "How far the image has come."),
    _answer(
        0x93,
        "ReadBack",
        (_uint("part", 1), _uint("parts", 1, low=1), _blob("image", MAX_READ_BACK_PART)),
        "A part of the read-back that is not the last.",
    ),
    _answer(
        0x95,
        "VerdictReport",
        (
            _bytes("op_id", OP_ID_SIZE),
            _code("verdict", "verdict"),
            _code("reason", "reason", 2),
            _uint("program_sequence", 4),
            _bytes("program_digest", SHORT_DIGEST_SIZE),
            _uint("effective_s", 8, "s of pump time"),
            _uint("last_operation_counter", 8),
        ),
        "What the ledger says of one operation.",
    ),
    _answer(0x96, "Aborted", (), "No transaction is open."),
    _answer(0x9F, "Closed", (), "The session is over."),
    _answer(
        0xFE,
        "Refusal",
        (
            _uint("refused_opcode", 1),
            _code("reason", "reason", 2),
            _uint("value", 8),
            _uint("limit", 8),
            _bitmap("warnings", "warnings"),
        ),
        "No, and why: certain not to have happened. The only answer whose status is not OK.",
    ),
    _telemeter(0x41, "ReadTelemeter", (_uint("tag", 2),), "How are you placed?", ("TelemeterReport",)),
    _telemeter(
        0x42,
        "Subscribe",
        (_uint("tag", 2), _bool("events")),
        "Send contact and coupling events from now on, or no longer.",
        ("Subscribed",),
    ),
    _telemeter(
        0xC1,
        "TelemeterReport",
        (
            _uint("tag", 2),
            _text("serial", 16),
            _uint("firmware", 4),
            _uint("battery_percent", 1, "%", high=100),
            _uint("coupling_bars", 1, high=5),
            _bool("contact"),
            _uint("air_bits_per_s", 4, "bit/s; 0: not limited"),
            _uint("air_delay_ms", 2, "ms"),
            _uint("frames_to_pump", 4),
            _uint("frames_from_pump", 4),
            _uint("frames_lost", 4),
            _bool("simulated"),
        ),
        "What the handheld relay says of itself; never trusted for therapy.",
    ),
    _telemeter(0xC2, "Subscribed", (_uint("tag", 2), _bool("events")), "The subscription as it is now."),
    _telemeter(
        0xC8,
        "ContactEvent",
        (_bool("contact"), _uint("coupling_bars", 1, high=5)),
        "Contact gained or lost, or the coupling moved by a bar.",
    ),
)

BY_NAME: MappingProxyType[str, MessageSpec] = MappingProxyType({spec.name: spec for spec in MESSAGES})
BY_OPCODE: MappingProxyType[int, MessageSpec] = MappingProxyType({spec.opcode: spec for spec in MESSAGES})


def describe_layout(name: str, version: int, fields: tuple[Field, ...]) -> str:
    """The canonical text a fingerprint is taken over: name, version, then each field's name, kind, size, range."""
    parts = [f"{name}/{version}"]
    parts += [
        f"{f.name}:{f.kind}:{f.size}:{f.low}:{'' if f.high is None else f.high}:{f.table}"
        f":{'' if f.none is None else f.none}:{f.bias or ''}"
        for f in fields
    ]
    return ";".join(parts)


def fingerprint(name: str, version: int, fields: tuple[Field, ...]) -> int:
    """CRC-32 of the canonical text of one layout: differs when two ends lay a message out differently."""
    return zlib.crc32(describe_layout(name, version, fields).encode())


def _dialect_fingerprint() -> int:
    """CRC-32 over every layout and code table, in order of opcode and name; travels in HELLO and ACCEPT."""
    lines = [describe_layout(f"{s.opcode:02x} {s.name}", s.version, s.fields) for s in MESSAGES]
    for group in (RECORDS, IMAGES, HANDSHAKE):
        lines += [describe_layout(name, 1, fields) for name, fields in sorted(group.items())]
    for table, codes in sorted(CODES.items()):
        lines.append(
            f"{table}="
            + ",".join(f"{code:x}:{member.value if member is not None else None}" for code, member in codes.items())
        )
    for table, bits in sorted(BITMAPS.items()):
        lines.append(f"{table}=" + ",".join(f"{bit:x}:{member.value}" for bit, member in bits.items()))
    return zlib.crc32("\n".join(lines).encode())


LAYOUT_FINGERPRINT = _dialect_fingerprint()

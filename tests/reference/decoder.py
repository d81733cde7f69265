"""A second decoder of ITP/1, written by hand from docs/protocol.md; needs the standard library's struct only.

It imports nothing of ``telemetry``: what the two agree on, they agree on by the specification. It gives fields as the
vectors write them: integers, hex for bytes, names for codes, null for what is absent.

Field notation: ``u1 u2 u3 u4 u8`` unsigned little-endian; ``i8 i4`` an instant, all ones is null; ``s2+1440`` a signed
number in two bytes, sent with 1440 added; ``b16`` bytes; ``t16`` text; ``?`` boolean; ``@table`` code of one byte,
``@@table`` of two; ``#map`` bitmap; ``blob``; ``*record``.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = None | bool | int | str | list["Value"] | dict[str, "Value"]

REQUESTS = {
    0x01: ("ReadIdentity", ""),
    0x02: ("ReadStatus", ""),
    0x03: ("ReadProgram", "part:u1"),
    0x04: ("ReadAlarms", ""),
    0x05: ("ReadLog", "from_sequence:u4 max_records:u1"),
    0x06: ("ReadLimits", ""),
    0x07: ("ReadLedger", ""),
    0x08: ("ReadDelivery", ""),
    0x09: ("ReadAlarmSettings", ""),
    0x10: (
        "SetRate",
        (
            "op_id:b16 acked_through:u8 base_sequence:u4 base_digest:b8 drug:@@drug concentration_ng_per_ml:u4 "
            "reservoir_generation:u4 rate_nl_per_day:u4 dose_ng_per_day:u8"
        ),
    ),
    0x11: (
        "Begin",
        (
            "op_id:b16 acked_through:u8 base_sequence:u4 base_digest:b8 kind:@operation schema:u1 total_length:u2 "
            "image_digest:b32"
        ),
    ),
    0x12: ("Write", "offset:u2 data:blob"),
    0x13: ("Verify", "part:u1"),
    0x14: ("Commit", "op_id:b16 token:b16 image_digest:b32 accepted_warnings:#warnings"),
    0x15: ("Query", "op_id:b16"),
    0x16: ("Abort", "op_id:b16"),
    0x17: ("Stop", "op_id:b16 acked_through:u8 reason:@stop_reason"),
    0x18: ("SilenceAlarms", "duration_s:u2"),
    0x19: ("AcknowledgeAlarm", "kind:@alarm"),
    0x1A: ("PatientBolus", "op_id:b16 acked_through:u8"),
    0x1F: ("Close", ""),
}
ANSWERS = {
    0x81: (
        "Identity",
        (
            "model:t16 serial:t16 pump_id:b8 firmware:u4 reservoir_capacity_nl:u4 tubing_volume_nl:u4 "
            "catheter_volume_nl:u4 drug:@@drug drive:@drive level_sensor:? calibration_ppm:u4 "
            "activated_ago_s:u8 now_s:u8 epoch_utc_s:u8 simulated:?"
        ),
    ),
    0x82: (
        "Status",
        (
            "mode:@mode rate_nl_per_day:u4 dose_ng_per_day:u8 concentration_ng_per_ml:u4 drug:@@drug reservoir_nl:u4 "
            "reservoir_generation:u4 battery_percent:u1 replace_by_s:u8 low_reservoir_at_s:i8 alarms:#alarms "
            "program_sequence:u4 program_digest:b8 boot_epoch:u4 now_s:u8 clock_utc_s:u8 stopped_since_s:i8 "
            "activity:@activity activity_ends_s:i8"
        ),
    ),
    0x83: ("ProgramReport", "program_sequence:u4 program_digest:b8 stopped:? part:u1 parts:u1 image:blob"),
    0x84: ("AlarmReport", "alarms:*alarm_record"),
    0x85: ("LogPage", "oldest_sequence:u4 newest_sequence:u4 overwritten:u4 records:*log_entry"),
    0x86: (
        "Limits",
        (
            "min_rate_nl_per_day:u4 max_rate_nl_per_day:u4 keep_alive_rate_nl_per_day:u4 low_reservoir_alarm_nl:u4 "
            "daily_dose_hard_min_ng:u8 daily_dose_hard_max_ng:u8 daily_dose_soft_min_ng:u8 daily_dose_soft_max_ng:u8 "
            "change_soft_ppm:u4 change_hard_ppm:u4 bolus_dose_soft_max_ng:u8 bolus_dose_hard_max_ng:u8 "
            "max_schedule_steps:u1 max_ramp_steps:u1 zero_rate_allowed:? patient_bolus_allowed:? "
            "prime_rate_nl_per_day:u4 window_1h_nl:u4 window_4h_nl:u4 window_24h_nl:u4 max_silence_s:u2 "
            "concentrations:*listed_concentration"
        ),
    ),
    0x87: ("LedgerHead", "ledger_sequence:u4 last_operation_counter:u8 unacknowledged:u2 capacity:u2"),
    0x88: (
        "Delivery",
        (
            "activity:@activity activity_volume_nl:u4 activity_delivered_nl:u4 activity_ends_s:i8 window_1h_nl:u4 "
            "window_4h_nl:u4 window_24h_nl:u4 window_24h_ng:u8 patient_boluses_24h:u1 locked_out_until_s:i8 "
            "next_change_s:i8 zone_minutes:s2+1440 clock_utc_s:u8 now_s:u8"
        ),
    ),
    0x89: (
        "AlarmSettingsReport",
        "low_reservoir_alarm_nl:u4 low_reservoir_enabled:? elective_replacement_enabled:?",
    ),
    0x90: (
        "Staged",
        (
            "part:u1 parts:u1 image:blob dose_24h_ng:u8 volume_24h_nl:u4 peak_nl_per_day:u4 lowest_nl_per_day:u4 "
            "change_ppm:u4 empty_in_s:u4 shift_minutes:s4+2147483648 warnings:#warnings "
            "image_digest:b32 token:b16 ttl_s:u2"
        ),
    ),
    0x91: ("Begun", ""),
    0x92: ("Written", "next_offset:u2"),
    0x93: ("ReadBack", "part:u1 parts:u1 image:blob"),
    0x95: (
        "VerdictReport",
        (
            "op_id:b16 verdict:@verdict reason:@@reason program_sequence:u4 program_digest:b8 effective_s:u8 "
            "last_operation_counter:u8"
        ),
    ),
    0x96: ("Aborted", ""),
    0x9F: ("Closed", ""),
    0xFE: ("Refusal", "refused_opcode:u1 reason:@@reason value:u8 limit:u8 warnings:#warnings"),
}
TELEMETER = {
    0x41: ("ReadTelemeter", "tag:u2"),
    0x42: ("Subscribe", "tag:u2 events:?"),
    0xC1: (
        "TelemeterReport",
        (
            "tag:u2 serial:t16 firmware:u4 battery_percent:u1 coupling_bars:u1 contact:? air_bits_per_s:u4 "
            "air_delay_ms:u2 frames_to_pump:u4 frames_from_pump:u4 frames_lost:u4 simulated:?"
        ),
    ),
    0xC2: ("Subscribed", "tag:u2 events:?"),
    0xC8: ("ContactEvent", "contact:? coupling_bars:u1"),
}
RECORDS = {
    "alarm_record": "kind:@alarm alarm_class:@alarm_class priority:@alarm_priority condition_present:? "
    "signal:@alarm_signal enabled:? since_s:u4 count:u2 silenced_until_s:i4",
    "log_entry": "sequence:u4 boot_epoch:u4 at_s:u4 code:@@log_code slot:u1 detail:u2 value:u8",
    "program_step": "days:u1 start_minute:u2 rate_nl_per_day:u4 dose_ng_per_day:u8",
    "program_bolus": "volume_nl:u4 dose_ng:u8 duration_s:u4 interval_s:u4 first_in_s:u4",
    "program_ramp_step": "days:u2 rate_nl_per_day:u4 dose_ng_per_day:u8",
    "program_patient_bolus": "volume_nl:u4 dose_ng:u8 duration_s:u4 lockout_s:u4 max_per_24h:u1",
    "program_bridge": "volume_nl:u4 rate_nl_per_day:u4 dose_ng_per_day:u8 concentration_ng_per_ml:u4",
    "listed_concentration": "concentration_ng_per_ml:u4",
    "program_image": "schema:u1 mode:@mode drug:@@drug concentration_ng_per_ml:u4 reservoir_generation:u4 "
    "rate_nl_per_day:u4 dose_ng_per_day:u8 steps:*program_step bolus:*program_bolus ramp:*program_ramp_step "
    "patient_bolus:*program_patient_bolus bridge:*program_bridge",
    "bolus_image": "schema:u1 volume_nl:u4 dose_ng:u8 duration_s:u4 concentration_ng_per_ml:u4 reservoir_generation:u4",
    "prime_image": "schema:u1 volume_nl:u4 rate_nl_per_day:u4 concentration_ng_per_ml:u4 reservoir_generation:u4",
    "refill_image": "schema:u1 volume_nl:u4 withdrawn_nl:u4 mode:@mode drug:@@drug concentration_ng_per_ml:u4 "
    "reservoir_generation:u4 rate_nl_per_day:u4 dose_ng_per_day:u8 steps:*program_step bolus:*program_bolus "
    "ramp:*program_ramp_step patient_bolus:*program_patient_bolus bridge:*program_bridge",
    "limits_image": "schema:u1 min_rate_nl_per_day:u4 max_rate_nl_per_day:u4 keep_alive_rate_nl_per_day:u4 "
    "low_reservoir_alarm_nl:u4 daily_dose_hard_min_ng:u8 daily_dose_hard_max_ng:u8 daily_dose_soft_min_ng:u8 "
    "daily_dose_soft_max_ng:u8 change_soft_ppm:u4 change_hard_ppm:u4 bolus_dose_soft_max_ng:u8 "
    "bolus_dose_hard_max_ng:u8",
    "clock_image": "schema:u1 utc_s:u8 zone_minutes:s2+1440",
    "alarm_settings_image": "schema:u1 low_reservoir_alarm_nl:u4 low_reservoir_enabled:? "
    "elective_replacement_enabled:?",
    "resume_image": "schema:u1 reserved:u3 program_sequence:u4 program_digest:b8",
    "probe": "max_version:u1 min_version:u1 intent:u1 suites:u1 probe_id:b4",
    "beacon": "version:u1 suite:u1 flags:u1 wait_s:u1 challenge:b16 wake_tag:b8 probe_id:b4",
    "hello": "slot:u1 want_role:@role reserved:u2 gate_mac:b16 noise1:b72",
    "hello_payload": "operator_ref:b8 programmer_utc_s:u8 layout_fingerprint:u4 build:u2 reserved:u2",
    "accept": "noise2:b128",
    "accept_payload": "pump_id:b8 firmware:u4 role:@role flags:u1 idle_s:u2 session_s:u2 boot_epoch:u4 now_s:u8 "
    "program_sequence:u4 program_digest:b8 ledger_sequence:u4 last_operation_counter:u8 log_sequence:u4 log_head:b8 "
    "alarm_sequence:u2 active_alarms:u2 failed_attempts:u2 layout_fingerprint:u4 reserved:u4",
}
SPACED = "01 0e 32 3d 54 5b 67 68 97 98 a4 ab c2 cd f1 fe"
SPACED_TABLES = {
    "status": "ok unsupported format role state contact limit_hard limit_soft stale_base token expired conflict "
    "forgotten ledger_full binding memory",
    "verdict": "applied refused never forgotten",
    "mode": "stopped simple_continuous minimum_rate empty safe_state end_of_service flex weekday periodic_bolus "
    "titration telemetry shelf",
    "activity": "none bolus patient_bolus periodic_bolus prime bridge",
    "alarm": "low_reservoir empty_reservoir elective_replacement end_of_service therapy_stopped stopped_pump "
    "memory_error safe_state motor_stall low_battery_reset memory_warning dose_limit bolus_interrupted",
    "alarm_class": "non_critical critical",
    "alarm_priority": "low medium high",
    "alarm_signal": "off on silenced latched acknowledged",
    "role": "observer patient clinician service commission emergency",
    "operation": "program resume stop bolus patient_bolus prime refill limits clock alarm_settings",
    "stop_reason": "clinical overdose before_procedure bench",
    "drive": "motor valve_gated piezo_valve",
}
COUNTED_TABLES = {
    "drug": "baclofen morphine",
    "log_code": "power_on program_committed commit_refused stopped resumed refilled alarm_raised alarm_cleared "
    "alarm_silenced alarm_acknowledged reservoir_empty end_of_service memory_error safe_state_entered session_opened "
    "session_closed authentication_failed clock_set time_unknown bolus_started bolus_ended bolus_cancelled "
    "bolus_withheld patient_bolus_denied prime_started prime_ended bridge_started bridge_ended titration_step "
    "limits_changed alarms_configured stall_detected stall_recovered low_battery_reset delivery_withheld "
    "telemetry_mode_entered telemetry_mode_left activated",
    "reason": "unknown_message bad_layout role_forbids no_contact rate_below_minimum rate_above_maximum "
    "mode_unsupported dose_volume_mismatch daily_dose_below_hard_limit daily_dose_above_hard_limit "
    "dose_change_above_hard_limit warnings_not_accepted drug_mismatch concentration_mismatch "
    "reservoir_generation_mismatch base_changed token_wrong proposal_expired proposal_voided no_proposal "
    "image_incomplete image_digest_mismatch image_out_of_bounds operation_conflict operation_forgotten ledger_full "
    "not_stopped reservoir_empty safe_state end_of_service memory_unreliable no_such_alarm silence_too_long "
    "schedule_malformed too_many_steps bolus_dose_above_hard_limit bolus_longer_than_interval "
    "window_dose_above_hard_limit activity_running not_delivering patient_bolus_forbidden "
    "patient_bolus_not_prescribed locked_out bolus_count_reached critical_alarm_present reservoir_overfilled "
    "bridge_mismatch prime_too_large limit_outside_device stored_error dose_limit_tripped pump_on_shelf",
}
BITMAPS = {
    "warnings": "daily_dose_change daily_dose_high daily_dose_low starts_delivery stopped_over_48_h "
    "bolus_dose_high concentration_unlisted bridge_omitted schedule_shifts prime_beyond_path withdrawn_differs",
    "alarms": SPACED_TABLES["alarm"],
}
FRAME_TYPES = {0: "PROBE", 1: "BEACON", 2: "HELLO", 3: "ACCEPT", 4: "REQ", 5: "RSP"}
FRAME_TYPES |= {8: "TELEMETER_REQ", 9: "TELEMETER_RSP", 10: "TELEMETER_EVENT"}


class Malformed(Exception):
    """The bytes are not what they should be."""


def code_tables() -> dict[str, dict[int, str | None]]:
    """Every code table: integer to name."""
    spaced = bytes.fromhex(SPACED)
    tables: dict[str, dict[int, str | None]] = {
        table: dict(zip(spaced, names.split(), strict=False)) for table, names in SPACED_TABLES.items()
    }
    tables |= {table: dict(enumerate(names.split(), 1)) for table, names in COUNTED_TABLES.items()}
    tables["reason"][0] = None
    return tables


class Reader:
    """Takes fields off the front of bytes."""

    def __init__(self, data: bytes, records: dict[str, str], codes: dict[str, dict[int, str | None]]) -> None:
        self.data, self.at, self.records, self.codes = data, 0, records, codes

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Malformed(f"ends at {len(self.data)}, needs {self.at + size}")
        self.at += size
        return self.data[self.at - size : self.at]

    def integer(self, size: int) -> int:
        if size == 3:
            low, high = struct.unpack("<HB", self.take(3))
            return int(low | high << 16)
        return int(struct.unpack("<" + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], self.take(size))[0])

    def value(self, notation: str) -> Value:
        kind, rest = notation[0], notation[1:]
        if notation == "?":
            return bool(self.lookup({0x33: 0, 0xCC: 1}, self.integer(1)))
        if notation == "blob":
            return self.take(self.integer(1)).hex()
        if kind == "*":
            return [self.fields(self.records[rest]) for _ in range(self.integer(1))]
        if kind == "@":
            size = 2 if rest.startswith("@") else 1
            return self.lookup(self.codes[rest.lstrip("@")], self.integer(size))
        if kind == "#":
            return self.bitmap(BITMAPS[rest].split())
        if kind == "s":
            width, _, added = rest.partition("+")
            return self.integer(int(width)) - int(added)
        size = int(rest)
        if kind == "u":
            return self.integer(size)
        if kind == "i":
            count = self.integer(size)
            return None if count == 256**size - 1 else count
        return self.take(size).hex() if kind == "b" else self.text(size)

    def lookup(self, table: Mapping[int, Value], code: int) -> Value:
        if code not in table:
            raise Malformed(f"{code:#x} is no code")
        return table[code]

    def bitmap(self, names: list[str]) -> Value:
        bits = self.integer(4)
        if bits >> len(names):
            raise Malformed(f"{bits:#x} has undefined bits")
        return [name for bit, name in enumerate(names) if bits >> bit & 1]

    def text(self, size: int) -> Value:
        raw = self.take(size)
        text = raw.rstrip(b"\0")
        if any(not 0x20 <= byte <= 0x7E for byte in text):
            raise Malformed(f"{raw!r} is no text")
        return text.decode("ascii")

    def fields(self, layout: str) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for field in layout.split():
            name, notation = field.split(":")
            found[name] = self.value(notation)
        return found

    def end(self) -> None:
        if self.at != len(self.data):
            raise Malformed(f"{len(self.data) - self.at} bytes too many")


class Dialect:
    """The tables, changeable so that a test can show that a wrong table is found out."""

    def __init__(self) -> None:
        self.messages = {
            **{opcode: (name, layout, False) for opcode, (name, layout) in (REQUESTS | TELEMETER).items()},
            **{opcode: (name, layout, True) for opcode, (name, layout) in ANSWERS.items()},
        }
        self.records = dict(RECORDS)
        self.codes = code_tables()

    def reader(self, data: bytes) -> Reader:
        return Reader(data, self.records, self.codes)

    def message(self, payload: bytes) -> dict[str, Value]:
        """One unpadded payload: message, header, fields; raises ``Malformed``."""
        reader = self.reader(payload)
        opcode = reader.integer(1)
        if opcode not in self.messages:
            raise Malformed(f"{opcode:#x} is no opcode")
        name, layout, answer = self.messages[opcode]
        header: dict[str, Value] = {"opcode": opcode, "version": reader.integer(1)}
        if header["version"] != 1:
            raise Malformed("unknown message version")
        if answer:
            header["status"] = reader.value("@status")
            header["alarm_sequence"] = reader.integer(2)
            if (header["status"] == "ok") == (name == "Refusal"):
                raise Malformed("a Refusal, and nothing else, has a status other than ok")
        if reader.integer(2) != len(payload) - reader.at:
            raise Malformed("wrong length")
        fields = reader.fields(layout)
        reader.end()
        return {"message": name, "header": header, "fields": fields}

    def record(self, name: str, data: bytes) -> dict[str, Value]:
        """One handshake body, image or record; raises ``Malformed``."""
        reader = self.reader(data)
        fields = reader.fields(self.records[name])
        reader.end()
        return fields


def frame(datagram: bytes) -> tuple[str, bytes]:
    """Type and body of one frame; raises ``Malformed``."""
    if not 8 <= len(datagram) <= 256:
        raise Malformed("wrong size")
    first, flags, length = struct.unpack_from("<BBH", datagram)
    (crc,) = struct.unpack_from("<I", datagram, len(datagram) - 4)
    if crc != zlib.crc32(datagram[:-4]):
        raise Malformed("wrong CRC")
    if first >> 4 != 1 or first & 15 not in FRAME_TYPES or flags or length != len(datagram) - 8:
        raise Malformed("wrong header")
    return FRAME_TYPES[first & 15], datagram[4:-4]


def uncobs(segment: bytes) -> bytes:
    """Undo COBS; raises ``Malformed``."""
    out, at = b"", 0
    while at < len(segment):
        code = segment[at]
        block = segment[at + 1 : at + code]
        if code == 0 or 0 in block or len(block) != code - 1:
            raise Malformed("no COBS")
        at += code
        out += block + (b"\0" if code < 255 and at < len(segment) else b"")
    return out


def stream(data: bytes) -> list[tuple[str, bytes]]:
    """The frames of a stream; what is no frame is left out."""
    found = []
    for segment in data.split(b"\0")[:-1]:
        try:
            found.append(frame(uncobs(segment)))
        except Malformed:
            continue
    return found


def unpad(padded: bytes) -> bytes:
    """The payload inside a padded plaintext; raises ``Malformed``."""
    at = 5 if padded and padded[0] & 0x80 else 2
    if len(padded) not in range(16, 225, 16):
        raise Malformed("wrong size")
    (length,) = struct.unpack_from("<H", padded, at)
    end = at + 2 + length
    if end > len(padded) or len(padded) - end > 15 or padded[end:].strip(b"\0"):
        raise Malformed("wrong padding")
    return padded[:end]

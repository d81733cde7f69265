"""Malformed frames, streams, payloads, records and paddings, each with the verdict it must get.

The verdicts are written here by hand from docs/protocol.md, chapter Errors; a test holds the decoders to them.
"""

from __future__ import annotations

import zlib

from cobs import cobs

from telemetry.model import (
    Activity,
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    Drug,
    PumpMode,
    Role,
    StopReason,
)
from telemetry.protocol import codec, messages
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.wire import FrameType, Status
from telemetry.therapy import ProgramStep

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

_REQUEST = encode_frame(Frame(FrameType.REQ, 0, bytes(range(32))))
_OTHER = encode_frame(Frame(FrameType.RSP, 0, b"answer"))


def _sealed(content: bytes) -> bytes:
    """Content with a right CRC, so that what else is wrong with it is what counts."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def frames() -> list[Json]:
    """Datagrams that are no frame: name, hex, reason, why."""
    header = _REQUEST[:4]
    cases = [
        ("empty", b"", "too_short", "nothing at all"),
        ("seven-bytes", _REQUEST[:7], "too_short", "one byte less than the shortest frame"),
        ("257-bytes", _sealed(b"\x14\x00\xf9\x00" + bytes(249)), "too_long", "a body of 249 bytes, right in all else"),
        ("crc-zero", _REQUEST[:-4] + bytes(4), "crc", "the CRC is zero"),
        ("crc-big-endian", _REQUEST[:-4] + _REQUEST[:-5:-1], "crc", "the CRC is in the wrong byte order"),
        ("crc-over-body", _REQUEST[:-4] + zlib.crc32(_REQUEST[4:-4]).to_bytes(4, "little"), "crc", "header left out"),
        ("bit-flip", _patched(_REQUEST, 9, bytes([_REQUEST[9] ^ 0x40])), "crc", "one bit of the body flipped"),
        ("truncated", _REQUEST[:-1], "crc", "the last byte is missing"),
        ("version-0", _sealed(b"\x04" + _REQUEST[1:-4]), "version", "protocol major 0"),
        ("version-2", _sealed(b"\x24" + _REQUEST[1:-4]), "version", "protocol major 2"),
        ("version-15", _sealed(b"\xf4" + _REQUEST[1:-4]), "version", "protocol major 15"),
        *(
            (f"type-{kind}", _sealed(bytes([0x10 | kind]) + _REQUEST[1:-4]), "type", "a type without meaning")
            for kind in (6, 7, 11, 12, 13, 14, 15)
        ),
        *(
            (f"flag-{bit}", _sealed(header[:1] + bytes([1 << bit]) + _REQUEST[2:-4]), "flags", "an undefined flag")
            for bit in range(8)
        ),
        ("length-less", _sealed(header[:2] + b"\x1f\x00" + _REQUEST[4:-4]), "length", "says 31, has 32"),
        ("length-more", _sealed(header[:2] + b"\x21\x00" + _REQUEST[4:-4]), "length", "says 33, has 32"),
        ("length-big-endian", _sealed(header[:2] + b"\x00\x20" + _REQUEST[4:-4]), "length", "wrong byte order"),
        ("length-huge", _sealed(header[:2] + b"\xff\xff" + _REQUEST[4:-4]), "length", "says 65535"),
        ("version-before-flags", _sealed(b"\x24\xff" + _REQUEST[2:-4]), "version", "the first fault in order counts"),
    ]
    return [{"name": name, "hex": data.hex(), "reason": reason, "why": why} for name, data, reason, why in cases]


def _frame_item(data: bytes) -> Json:
    return {"frame": data.hex()}


def _garbage_item(reason: str, length: int) -> Json:
    return {"garbage": reason, "length": length}


def streams() -> list[Json]:
    """Byte streams with noise in them and, in order, what must come out whatever the chunking."""
    one, other = encode_stream(_REQUEST), encode_stream(_OTHER)
    inner = cobs.encode(_REQUEST)
    bad_crc = _patched(_REQUEST, 10, b"\xaa")
    long_noise = b"\x55" * 300
    flood = b"\x55" * 5000
    ones = b"\x01\x01\x01"
    good: list[Json] = [_frame_item(_REQUEST), _frame_item(_OTHER)]
    cases: list[tuple[str, bytes, list[Json], str]] = [
        ("two-frames", one + other, good, "two undamaged frames"),
        ("one-zero-between", one + other[1:], good, "adjacent frames may share a delimiter"),
        ("many-zeros", bytes(100) + one + bytes(50) + other, good, "nothing lies between adjacent zeros"),
        ("noise-before", b"noise" + one, [_garbage_item("cobs", 5), good[0]], "the leading zero ends the noise"),
        ("noise-between", one + ones + other, [good[0], _garbage_item("too_short", 3), good[1]], "decodes, too short"),
        (
            "lost-trailing-zero",
            one[:-1] + other,
            good,
            "the next frame's leading zero stands in for a lost trailing one",
        ),
        (
            "damaged-trailing-zero",
            one[:-1] + b"\x2a" + other,
            [_garbage_item("cobs", len(inner) + 1), good[1]],
            "costs only the frame whose delimiter it is",
        ),
        (
            "damaged-leading-zero",
            one + b"\x2a" + other[1:],
            [good[0], _garbage_item("cobs", len(other) - 1)],
            "costs only the frame whose delimiter it is",
        ),
        (
            "zero-in-frame",
            b"\0" + inner[:20] + b"\0" + inner[21:] + b"\0" + other,
            [_garbage_item("cobs", 20), _garbage_item("cobs", len(inner) - 21), good[1]],
            "a byte that became zero cuts a frame into two pieces of garbage",
        ),
        (
            "bad-crc",
            encode_stream(bad_crc) + other,
            [_garbage_item("crc", len(encode_stream(bad_crc)) - 2), good[1]],
            "COBS is right, the CRC is not",
        ),
        (
            "version",
            encode_stream(_sealed(b"\x24" + _REQUEST[1:-4])) + other,
            [_garbage_item("version", len(inner)), good[1]],
            "a stranger's frame, undamaged",
        ),
        ("over-long", long_noise + b"\0" + other, [_garbage_item("too_long", 300), good[1]], "over 258 bytes"),
        ("flood", flood + one, [_garbage_item("too_long", 5000), good[0]], "bounded memory, one report"),
        ("unfinished", other + inner, [good[1]], "no delimiter yet: neither frame nor garbage"),
    ]
    return [{"name": name, "hex": data.hex(), "items": items, "why": why} for name, data, items, why in cases]


_OP_ID = bytes(range(16))
_ALARM = messages.AlarmRecord(
    AlarmKind.LOW_RESERVOIR,
    AlarmClass.NON_CRITICAL,
    AlarmPriority.LOW,
    condition_present=True,
    signal=AlarmSignal.ON,
    enabled=True,
    since_s=1,
    count=1,
    silenced_until_s=None,
)
_STATUS = codec.encode(
    messages.Status(
        PumpMode.SIMPLE_CONTINUOUS, 170_000, 340_000, 2_000_000, Drug.BACLOFEN, 40_000_000, 1, 99, 1, None, (), 1,
        bytes(8), 1, 1, 1, None, Activity.NONE, None,
    )
)  # fmt: skip
_READ = codec.encode(messages.ReadStatus())
_STOP = codec.encode(messages.Stop(_OP_ID, 0, StopReason.CLINICAL))
_WRITE = codec.encode(messages.Write(0, b"abcd"))
_ALARMS = codec.encode(messages.AlarmReport((_ALARM, _ALARM)))
_COMMIT = codec.encode(messages.Commit(_OP_ID, bytes(16), bytes(32), ()))
_TELEMETER = codec.encode(messages.TelemeterReport(1, "T-1", 1, 50, 5, True, 0, 0, 0, 0, 0, True))  # noqa: FBT003 - fields
_REFUSED = codec.encode(messages.Refusal(Status.STATE, 2, None, 0, 0, ()))
_LOG = codec.encode(messages.ReadLog(0, 1))


def payloads() -> list[Json]:
    """Payloads that are no message: name, hex, reason, message, field, why."""
    cases: list[tuple[str, bytes, str, str, str, str]] = [
        ("empty", b"", "empty", "", "", "nothing at all"),
        ("opcode-0", b"\x00\x01\x00\x00", "unknown_opcode", "", "opcode", "an opcode without meaning"),
        ("opcode-3f", b"\x3f\x01\x00\x00", "unknown_opcode", "", "opcode", "an opcode without meaning"),
        ("opcode-ff", b"\xff" * 32, "unknown_opcode", "", "opcode", "all ones"),
        ("header-cut", _READ[:3], "truncated", "ReadStatus", "header", "the header is cut"),
        ("answer-header-cut", _STATUS[:6], "truncated", "Status", "header", "the header is cut"),
        ("message-version-0", _patched(_READ, 1, b"\x00"), "version", "ReadStatus", "version", "message version 0"),
        ("message-version-2", _patched(_STATUS, 1, b"\x02"), "version", "Status", "version", "message version 2"),
        ("trailing-zero", _READ + b"\x00", "length", "ReadStatus", "length", "a byte more than the header says"),
        ("trailing-status", _STATUS + b"\x00", "length", "Status", "length", "a byte more than the header says"),
        ("cut", _STOP[:-1], "length", "Stop", "length", "a byte less than the header says"),
        ("length-big-endian", _patched(_STOP, 2, b"\x00\x19"), "length", "Stop", "length", "wrong byte order"),
        ("short-body", b"\x17\x01\x18\x00" + _STOP[4:-1], "truncated", "Stop", "reason", "the layout needs one more"),
        ("long-body", b"\x17\x01\x1a\x00" + _STOP[4:] + b"\x00", "trailing", "Stop", "", "the layout ends before"),
        ("body-on-empty", b"\x02\x01\x01\x00\x00", "trailing", "ReadStatus", "", "a body where none belongs"),
        ("status-not-ok", _patched(_STATUS, 2, b"\x54"), "status", "Status", "status", "only a Refusal is not OK"),
        ("status-undefined", _patched(_STATUS, 2, b"\x00"), "status", "Status", "status", "only a Refusal is not OK"),
        ("refusal-ok", _patched(_REFUSED, 2, b"\x01"), "status", "Refusal", "status", "a Refusal is never OK"),
        ("refusal-status", _patched(_REFUSED, 2, b"\x02"), "unknown_code", "Refusal", "status", "no status code"),
        ("mode-0", _patched(_STATUS, 7, b"\x00"), "unknown_code", "Status", "mode", "a stuck byte is no code"),
        ("mode-ff", _patched(_STATUS, 7, b"\xff"), "unknown_code", "Status", "mode", "a stuck byte is no code"),
        ("mode-flip", _patched(_STATUS, 7, b"\x0f"), "unknown_code", "Status", "mode", "one bit off a code"),
        ("drug-0", _patched(_STATUS, 24, b"\x00\x00"), "unknown_code", "Status", "drug", "no drug"),
        ("drug-high-byte", _patched(_STATUS, 24, b"\x01\x01"), "unknown_code", "Status", "drug", "both bytes count"),
        ("battery-101", _patched(_STATUS, 34, b"\x65"), "out_of_range", "Status", "battery_percent", "101 %"),
        ("alarm-bit-31", _patched(_STATUS, 51, b"\x00\x00\x00\x80"), "unknown_bits", "Status", "alarms", "bit 31"),
        ("bit-11", _patched(_COMMIT, 68, b"\x00\x08\x00\x00"), "unknown_bits", "Commit", "accepted_warnings", "no bit"),
        ("reason-undefined", _patched(_REFUSED, 8, b"\xff\xff"), "unknown_code", "Refusal", "reason", "65535"),
        ("stop-reason", _patched(_STOP, 28, b"\x03"), "unknown_code", "Stop", "reason", "between two codes"),
        ("records-0", _patched(_LOG, 8, b"\x00"), "out_of_range", "ReadLog", "max_records", "at least 1"),
        ("records-9", _patched(_LOG, 8, b"\x09"), "out_of_range", "ReadLog", "max_records", "at most 8"),
        ("boolean-1", _patched(_TELEMETER, 28, b"\x01"), "not_boolean", "TelemeterReport", "contact", "true is cc"),
        ("boolean-0", _patched(_TELEMETER, 28, b"\x00"), "not_boolean", "TelemeterReport", "contact", "false is 33"),
        ("bars-6", _patched(_TELEMETER, 27, b"\x06"), "out_of_range", "TelemeterReport", "coupling_bars", "0 to 5"),
        ("text-del", _patched(_TELEMETER, 6, b"\x7f"), "not_text", "TelemeterReport", "serial", "a control character"),
        ("text-utf8", _patched(_TELEMETER, 6, b"\xc3\xa9"), "not_text", "TelemeterReport", "serial", "not ASCII"),
        ("text-padding", _patched(_TELEMETER, 21, b"x"), "padding", "TelemeterReport", "serial", "text after the end"),
        ("blob-past-end", _patched(_WRITE, 6, b"\x05"), "truncated", "Write", "data", "says 5 bytes, has 4"),
        ("blob-before-end", _patched(_WRITE, 6, b"\x03"), "trailing", "Write", "", "says 3 bytes, has 4"),
        ("blob-too-long", b"\x12\x01\xcc\x00\x00\x00\xc9" + bytes(201), "too_many", "Write", "data", "201 of 200"),
        ("blob-no-count", b"\x12\x01\x02\x00\x00\x00", "truncated", "Write", "data", "the count itself is missing"),
        ("offset-4097", _patched(_WRITE, 4, b"\x01\x10"), "out_of_range", "Write", "offset", "past the longest image"),
        ("list-past-end", _patched(_ALARMS, 7, b"\x03"), "truncated", "AlarmReport", "alarms", "says 3, has 2"),
        ("list-before-end", _patched(_ALARMS, 7, b"\x01"), "trailing", "AlarmReport", "", "says 1, has 2"),
        ("list-too-long", _patched(_ALARMS, 7, b"\x0e"), "too_many", "AlarmReport", "alarms", "14 of 13"),
        ("list-bad-code", _patched(_ALARMS, 24, b"\x00"), "unknown_code", "AlarmReport", "alarms[1].kind", "2nd"),
        ("list-bad-bool", _patched(_ALARMS, 13, b"\xff"), "not_boolean", "AlarmReport", "alarms[0].enabled", "1st"),
    ]  # fmt: skip
    return [
        {"name": name, "hex": data.hex(), "reason": reason, "message": message, "field": field, "why": why}
        for name, data, reason, message, field, why in cases
    ]


def records() -> list[Json]:
    """Bytes that are no record of the name given: name, record, hex, reason, field, why."""
    probe = codec.encode_record("probe", messages.Probe(1, 1, 0, 2, b"abcd"))
    beacon = codec.encode_record("beacon", messages.Beacon(1, 1, 1, 0, bytes(16), bytes(8), b"abcd"))
    hello = codec.encode_record("hello", messages.Hello(2, Role.CLINICIAN, 0, bytes(16), bytes(72)))
    image = codec.encode_record(
        "program_image", messages.ProgramImage(1, PumpMode.SIMPLE_CONTINUOUS, Drug.BACLOFEN, 1, 1, 1, 1)
    )
    step = codec.encode_record("program_step", ProgramStep(127, 0, 1, 1))
    bolus = codec.encode_record("bolus_image", messages.BolusImage(1, 1, 1, 1, 1, 1))
    clock = codec.encode_record("clock_image", messages.ClockImage(1, 1, 0))
    resume = codec.encode_record("resume_image", messages.ResumeImage(1, 0, 1, bytes(8)))
    cases = [
        ("probe-empty", "probe", b"", "truncated", "max_version", "nothing at all"),
        ("probe-short", "probe", probe[:-1], "truncated", "probe_id", "a byte is missing"),
        ("probe-long", "probe", probe + b"\0", "trailing", "", "a byte too many"),
        ("probe-intent-2", "probe", _patched(probe, 2, b"\x02"), "out_of_range", "intent", "an undefined intent"),
        ("beacon-flag-3", "beacon", _patched(beacon, 2, b"\x08"), "out_of_range", "flags", "an undefined flag"),
        ("hello-role", "hello", _patched(hello, 1, b"\x00"), "unknown_code", "want_role", "no role"),
        ("hello-reserved", "hello", _patched(hello, 2, b"\x01"), "out_of_range", "reserved", "reserved is 0"),
        ("accept-short", "accept", bytes(127), "truncated", "noise2", "a byte is missing"),
        ("image-schema-2", "program_image", _patched(image, 0, b"\x02"), "out_of_range", "schema", "schema 2"),
        ("image-mode", "program_image", _patched(image, 1, b"\x00"), "unknown_code", "mode", "no mode"),
        ("image-long", "program_image", image + b"\0", "trailing", "", "a byte too many"),
        ("image-no-counts", "program_image", image[:24], "truncated", "steps", "the layout without its lists"),
        ("image-step-missing", "program_image", _patched(image, 24, b"\x01"), "truncated", "steps", "says 1, has 0"),
        (
            "image-169-steps",
            "program_image",
            image[:24] + b"\xa9" + step * 169 + bytes(4),
            "too_many",
            "steps",
            "of 168",
        ),
        ("image-two-bridges", "program_image", image[:28] + b"\x02" + bytes(40), "too_many", "bridge", "at most one"),
        ("step-no-day", "program_step", b"\x00" + step[1:], "out_of_range", "days", "a step of no day"),
        ("step-eighth-day", "program_step", b"\x80" + step[1:], "out_of_range", "days", "bit 7 is no day"),
        ("step-24-00", "program_step", _patched(step, 1, b"\xa0\x05"), "out_of_range", "start_minute", "1440"),
        (
            "image-step-24-00",
            "program_image",
            image[:24] + b"\x01" + _patched(step, 1, b"\xa0\x05") + bytes(4),
            "out_of_range",
            "steps[0].start_minute",
            "inside an image",
        ),
        ("bolus-no-time", "bolus_image", _patched(bolus, 13, bytes(4)), "out_of_range", "duration_s", "at least 1 s"),
        ("refill-short", "refill_image", b"\x01" + bytes(8), "truncated", "mode", "no program"),
        ("clock-zone", "clock_image", _patched(clock, 9, b"\x41\x0b"), "out_of_range", "zone_minutes", "1441 min east"),
        (
            "settings-bool",
            "alarm_settings_image",
            b"\x01" + bytes(4) + b"\x01\x33",
            "not_boolean",
            "low_reservoir_enabled",
            "true is cc",
        ),
        ("resume-reserved", "resume_image", _patched(resume, 3, b"\x01"), "out_of_range", "reserved", "three bytes"),
    ]
    return [
        {"name": name, "record": record, "hex": data.hex(), "reason": reason, "field": field, "why": why}
        for name, record, data, reason, field, why in cases
    ]


def paddings() -> list[Json]:
    """Plaintexts as they come out of the secure channel whose padding is wrong: name, hex, why."""
    good = codec.pad(_STOP)
    cases = [
        ("empty", b"", "nothing at all"),
        ("unpadded", _STOP, "no multiple of 16"),
        ("block-too-many", good + bytes(16), "more zeros than needed: one message would have two forms"),
        ("not-zero", good[:-1] + b"\x01", "the last byte of the padding is not zero"),
        ("not-zero-first", _patched(good, len(_STOP), b"\x80"), "the first byte of the padding is not zero"),
        ("cut-block", good[:-16], "the header says more than there is"),
        ("all-ones", b"\xff" * 32, "a length of 65535"),
        ("240-bytes", codec.pad(_READ) + bytes(224), "longer than the longest plaintext"),
    ]
    return [{"name": name, "hex": data.hex(), "reason": "padding", "why": why} for name, data, why in cases]

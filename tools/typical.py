"""Messages and images as they really occur, for the vectors: each with a sentence that says what it shows."""

from __future__ import annotations

from dataclasses import replace

from telemetry.model import (
    Activity,
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    Drug,
    LogCode,
    PumpMode,
    RefusalReason,
    Verdict,
    Warn,
)
from telemetry.protocol import codec, messages
from telemetry.protocol.wire import Status
from telemetry.therapy import ProgramBolus, ProgramBridge, ProgramRampStep, ProgramStep

_DIGEST8 = bytes.fromhex("0123456789abcdef")
_DIGEST32 = bytes(range(0x80, 0xA0))
_OP_ID = (41).to_bytes(8, "little") + bytes.fromhex("a1a2a3a4a5a6a7a8")

_SIMPLE = messages.ProgramImage(
    schema=1,
    mode=PumpMode.SIMPLE_CONTINUOUS,
    drug=Drug.BACLOFEN,
    concentration_ng_per_ml=2_000_000,
    reservoir_generation=2,
    rate_nl_per_day=150_000,
    dose_ng_per_day=300_000,
)
_BRIDGE = ProgramBridge(
    volume_nl=335_800, rate_nl_per_day=600_000, dose_ng_per_day=300_000, concentration_ng_per_ml=500_000
)
_NIGHT = tuple(
    ProgramStep(0x7F, minute, rate, 2 * rate) for minute, rate in ((0, 100_000), (6 * 60, 170_000), (22 * 60, 100_000))
)
_WEEK = (
    *(ProgramStep(0x1F, minute, rate, 2 * rate) for minute, rate in ((0, 120_000), (7 * 60 + 30, 180_000))),
    ProgramStep(0x60, 0, 150_000, 300_000),
)
TYPICAL_RECORDS: tuple[tuple[codec.RecordName, object, str, str], ...] = (
    ("program_image", replace(_SIMPLE, bridge=(_BRIDGE,)), "a bridged program", "0.3358 ml of the old 500 ug/ml first"),
    (
        "program_image",
        replace(_SIMPLE, mode=PumpMode.FLEX, rate_nl_per_day=146_666, dose_ng_per_day=293_333, steps=_NIGHT),
        "less at night",
        "three steps, the same every day (days 0x7f); rate and dose of the header are the day's total",
    ),
    (
        "program_image",
        replace(_SIMPLE, mode=PumpMode.WEEKDAY, rate_nl_per_day=161_250, dose_ng_per_day=322_500, steps=_WEEK),
        "a working week",
        "Monday to Friday (0x1f) two steps, Saturday and Sunday (0x60) one; the header is the largest day's total",
    ),
    (
        "program_image",
        replace(
            _SIMPLE, mode=PumpMode.PERIODIC_BOLUS, bolus=(ProgramBolus(12_500, 25_000, 600, 6 * 3_600, 6 * 3_600),)
        ),
        "a bolus every six hours",
        "25 ug in 10 min, the first after 6 h; the header is the basal",
    ),
    (
        "program_image",
        replace(
            _SIMPLE,
            mode=PumpMode.TITRATION,
            ramp=(ProgramRampStep(7, 150_000, 300_000), ProgramRampStep(7, 165_000, 330_000)),
        ),
        "a ramp",
        "a week of 300 ug/day, then 330 ug/day for good; the header is the first step",
    ),
    (
        "refill_image",
        messages.RefillImage(
            schema=1,
            volume_nl=38_000_000,
            withdrawn_nl=3_100_000,
            mode=_SIMPLE.mode,
            drug=_SIMPLE.drug,
            concentration_ng_per_ml=_SIMPLE.concentration_ng_per_ml,
            reservoir_generation=3,
            rate_nl_per_day=_SIMPLE.rate_nl_per_day,
            dose_ng_per_day=_SIMPLE.dose_ng_per_day,
            bridge=(_BRIDGE,),
        ),
        "a refill with bridge",
        "3.1 ml withdrawn, 38 ml of 2000 ug/ml in, bridge and new rate: one prescription",
    ),
    (
        "clock_image",
        messages.ClockImage(1, 1_795_305_600, -300),
        "west",
        "5 h west of UTC: 1440 - 300 = 1140 on the wire",
    ),
    ("clock_image", messages.ClockImage(1, 1_795_305_600, 120), "east", "2 h east of UTC: 1560 on the wire"),
)
_IMAGES = {name: codec.encode_record(record, obj) for record, obj, name, _ in TYPICAL_RECORDS}

TYPICAL: tuple[tuple[messages.Message, str], ...] = (
    (
        messages.Status(
            mode=PumpMode.SIMPLE_CONTINUOUS,
            rate_nl_per_day=170_000,
            dose_ng_per_day=340_000,
            concentration_ng_per_ml=2_000_000,
            drug=Drug.BACLOFEN,
            reservoir_nl=40_000_000,
            reservoir_generation=1,
            battery_percent=100,
            replace_by_s=218_000_000,
            low_reservoir_at_s=19_313_000,
            alarms=(),
            program_sequence=1,
            program_digest=_DIGEST8,
            boot_epoch=1,
            now_s=86_400,
            clock_utc_s=1_795_305_600,
            stopped_since_s=None,
            activity=Activity.NONE,
            activity_ends_s=None,
            alarm_sequence=3,
        ),
        "a stock pump: 40 ml of baclofen 2000 ug/ml at 0.170 ml/day, 340 ug/day",
    ),
    (
        messages.Status(
            mode=PumpMode.STOPPED,
            rate_nl_per_day=0,
            dose_ng_per_day=0,
            concentration_ng_per_ml=500_000,
            drug=Drug.BACLOFEN,
            reservoir_nl=1_999_999,
            reservoir_generation=7,
            battery_percent=9,
            replace_by_s=220_838_400,
            low_reservoir_at_s=None,
            alarms=(AlarmKind.LOW_RESERVOIR, AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.STOPPED_PUMP),
            program_sequence=12,
            program_digest=_DIGEST8,
            boot_epoch=4,
            now_s=200_000_000,
            clock_utc_s=1_995_305_600,
            stopped_since_s=199_800_000,
            activity=Activity.NONE,
            activity_ends_s=None,
            alarm_sequence=65_535,
        ),
        "a stopped pump with three alarms; the alarm sequence is about to wrap to 0",
    ),
    (
        messages.SetRate(
            op_id=_OP_ID,
            acked_through=40,
            base_sequence=1,
            base_digest=_DIGEST8,
            drug=Drug.BACLOFEN,
            concentration_ng_per_ml=2_000_000,
            reservoir_generation=1,
            rate_nl_per_day=150_000,
            dose_ng_per_day=300_000,
        ),
        "0.150 ml/day of 2000 ug/ml is 300 ug/day; operation counter 41, everything up to 40 is resolved",
    ),
    (
        messages.Commit(_OP_ID, bytes(range(16)), _DIGEST32, (Warn.DAILY_DOSE_CHANGE, Warn.STARTS_DELIVERY)),
        "two warnings accepted by name: bits 0 and 3, 0x00000009",
    ),
    (
        messages.Staged(
            part=0,
            parts=1,
            image=codec.encode_record(
                "program_image",
                replace(_SIMPLE, reservoir_generation=1),
            ),
            dose_24h_ng=300_000,
            volume_24h_nl=150_000,
            peak_nl_per_day=150_000,
            lowest_nl_per_day=150_000,
            change_ppm=117_648,
            empty_in_s=23_040_000,
            shift_minutes=0,
            warnings=(),
            image_digest=_DIGEST32,
            token=bytes(range(16)),
            ttl_s=60,
            alarm_sequence=3,
        ),
        "read-back of 0.150 ml/day after 0.170: the daily dose moves by 40000/340000, rounded up to 117648 ppm",
    ),
    (
        messages.VerdictReport(_OP_ID, Verdict.APPLIED, None, 2, _DIGEST8, 90_000, 41, 3),
        "the operation of counter 41 is applied; reason 0 is none",
    ),
    (
        messages.VerdictReport(_OP_ID, Verdict.NEVER, None, 1, _DIGEST8, 0, 40, 3),
        "never seen and, from now on, fenced",
    ),
    (
        messages.Refusal(Status.LIMIT_HARD, 0x10, RefusalReason.RATE_BELOW_MINIMUM, 44_000, 48_000, (), 3),
        "22 ug/day at 500 ug/ml is 0.044 ml/day, under the pump's 0.048",
    ),
    (
        messages.Refusal(Status.UNSUPPORTED, 0x3F, RefusalReason.UNKNOWN_MESSAGE, 0, 0, (), 0),
        "answer to an opcode that the pump does not know",
    ),
    (
        messages.AlarmReport(
            (
                messages.AlarmRecord(
                    AlarmKind.LOW_RESERVOIR,
                    AlarmClass.NON_CRITICAL,
                    AlarmPriority.MEDIUM,
                    condition_present=True,
                    signal=AlarmSignal.SILENCED,
                    enabled=True,
                    since_s=21_888_000,
                    count=1,
                    silenced_until_s=21_974_400,
                ),
            ),
            4,
        ),
        "low reservoir since 253 d 8 h, silenced for a day",
    ),
    (
        messages.LogPage(1, 2, 0, (messages.LogEntry(2, 1, 90_000, LogCode.PROGRAM_COMMITTED, 2, 0, 150_000),), 3),
        "one record of two; nothing overwritten",
    ),
    (
        messages.Status(
            mode=PumpMode.SIMPLE_CONTINUOUS,
            rate_nl_per_day=600_000,
            dose_ng_per_day=300_000,
            concentration_ng_per_ml=2_000_000,
            drug=Drug.BACLOFEN,
            reservoir_nl=38_000_000,
            reservoir_generation=2,
            battery_percent=81,
            replace_by_s=218_000_000,
            low_reservoir_at_s=21_000_000,
            alarms=(),
            program_sequence=5,
            program_digest=_DIGEST8,
            boot_epoch=1,
            now_s=1_000_000,
            clock_utc_s=1_796_305_600,
            stopped_since_s=None,
            activity=Activity.BRIDGE,
            activity_ends_s=1_048_355,
            alarm_sequence=3,
        ),
        "a bridge from 500 to 2000 ug/ml at 300 ug/day: 0.600 ml/day of the old drug for 13.43 h",
    ),
    (
        messages.ProgramReport(5, _DIGEST8, stopped=False, part=0, parts=1, image=_IMAGES["a bridged program"]),
        "a whole program in one part; its image is the record vector of the same name",
    ),
    (
        messages.Delivery(
            activity=Activity.BOLUS,
            activity_volume_nl=25_000,
            activity_delivered_nl=10_000,
            activity_ends_s=90_180,
            window_1h_nl=16_250,
            window_4h_nl=35_000,
            window_24h_nl=160_000,
            window_24h_ng=320_000,
            patient_boluses_24h=0,
            locked_out_until_s=None,
            next_change_s=100_800,
            zone_minutes=-300,
            clock_utc_s=1_795_395_600,
            now_s=90_000,
        ),
        "0.010 of 0.025 ml of a bolus given; the pump's midnight is that of 5 h west: 1440 - 300 on the wire",
    ),
    (
        messages.PatientBolus(_OP_ID, 40),
        "operation counter 41 of the patient's slot",
    ),
    (
        messages.Refusal(Status.UNSUPPORTED, 0x1A, RefusalReason.PATIENT_BOLUS_FORBIDDEN, 0, 0, (), 3),
        "a baclofen pump gives no patient bolus, whoever asks",
    ),
)

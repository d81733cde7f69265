"""One status message as a stock pump gives it, for every benchmark that needs one."""

from __future__ import annotations

from telemetry.model import Activity, AlarmKind, Drug, PumpMode
from telemetry.protocol.messages import Status

STATUS = Status(
    mode=PumpMode.SIMPLE_CONTINUOUS,
    rate_nl_per_day=170_000,
    dose_ng_per_day=340_000,
    concentration_ng_per_ml=2_000_000,
    drug=Drug.BACLOFEN,
    reservoir_nl=31_500_000,
    reservoir_generation=3,
    battery_percent=87,
    replace_by_s=215_000_000,
    low_reservoir_at_s=19_000_000,
    alarms=(AlarmKind.LOW_RESERVOIR,),
    program_sequence=12,
    program_digest=bytes(range(8)),
    boot_epoch=2,
    now_s=4_320_000,
    clock_utc_s=1_795_000_000,
    stopped_since_s=None,
    activity=Activity.NONE,
    activity_ends_s=None,
    alarm_sequence=5,
)

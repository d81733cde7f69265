"""How quantities, instants and names are written for people. Integers in, text out; nothing is rounded up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telemetry.model import AlarmKind, AlarmSignal, PumpMode, Warn
from telemetry.units import (
    MS_PER_DAY,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    MS_PER_SECOND,
    Concentration,
    DailyDose,
    Duration,
    FlowRate,
    Volume,
)

if TYPE_CHECKING:
    from telemetry.model import PumpEvent, PumpStatus, TherapyState

_NL_PER_UL = 1_000
_PPM_PER_TENTH_PERCENT = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NONE = "–"

MODES = {
    PumpMode.STOPPED: "STOPPED",
    PumpMode.SIMPLE_CONTINUOUS: "simple continuous",
    PumpMode.MINIMUM_RATE: "minimum rate",
    PumpMode.EMPTY: "EMPTY",
    PumpMode.SAFE_STATE: "SAFE STATE",
    PumpMode.END_OF_SERVICE: "END OF SERVICE",
}
ALARMS = {
    AlarmKind.LOW_RESERVOIR: "plan the refill now",
    AlarmKind.EMPTY_RESERVOIR: "no drug is delivered",
    AlarmKind.ELECTIVE_REPLACEMENT: "plan the replacement of the pump",
    AlarmKind.END_OF_SERVICE: "no drug is delivered any more",
    AlarmKind.THERAPY_STOPPED: "no drug is delivered",
    AlarmKind.STOPPED_PUMP: "no stroke for more than 48 h: the tube may have taken a set",
    AlarmKind.MEMORY_ERROR: "a memory page failed its check",
    AlarmKind.SAFE_STATE: "the pump fell back to its safe rate",
}
SIGNALS = {
    AlarmSignal.OFF: "silent",
    AlarmSignal.ON: "SOUNDING",
    AlarmSignal.SILENCED: "silenced",
    AlarmSignal.LATCHED: "SOUNDING (latched)",
    AlarmSignal.ACKNOWLEDGED: "acknowledged",
}
WARNINGS = {
    Warn.DAILY_DOSE_CHANGE: "the change of dose is beyond the soft limit",
    Warn.DAILY_DOSE_HIGH: "the daily dose is above the soft limit",
    Warn.DAILY_DOSE_LOW: "the daily dose is below the soft limit",
    Warn.STARTS_DELIVERY: "delivery starts",
    Warn.STOPPED_OVER_48_H: "it stood still for more than 48 h: the tube may have taken a set",
}
WITHDRAWAL = (
    "Abrupt loss of intrathecal baclofen can cause high fever, altered mental state, rebound spasticity, "
    "rhabdomyolysis, organ failure and death. Have a plan (oral or intrathecal replacement, observation) before you "
    "stop."
)
"""Sense of the boxed warning of intrathecal baclofen (domain.md 3.1)."""


def volume(nl: int) -> str:
    """Millilitres with three decimals, cut off."""
    return str(Volume(nl - nl % _NL_PER_UL))


def flow(nl_per_day: int) -> str:
    """Millilitres per day, exact."""
    return str(FlowRate(nl_per_day))


def dose(ng_per_day: int) -> str:
    """Micrograms per day, exact."""
    return str(DailyDose(ng_per_day))


def concentration(ng_per_ml: int) -> str:
    """Micrograms per millilitre, exact."""
    return str(Concentration(ng_per_ml))


def percent(ppm: int) -> str:
    """Parts per million as percent with one decimal and its sign."""
    sign = "−" if ppm < 0 else "+"
    tenths = (abs(ppm) + _PPM_PER_TENTH_PERCENT // 2) // _PPM_PER_TENTH_PERCENT
    return f"{sign}{tenths // 10}.{tenths % 10} %"


def span(ms: int) -> str:
    """About how long: the two largest parts."""
    days, rest = divmod(ms, MS_PER_DAY)
    hours, rest = divmod(rest, MS_PER_HOUR)
    if days:
        return f"{days} d {hours} h"
    minutes, rest = divmod(rest, MS_PER_MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest // MS_PER_SECOND} s"


def pump_time(ms: int) -> str:
    """Pump time exactly: ``day 253 08:00:00.000``."""
    days, rest = divmod(ms, MS_PER_DAY)
    hours, rest = divmod(rest, MS_PER_HOUR)
    minutes, rest = divmod(rest, MS_PER_MINUTE)
    seconds, milliseconds = divmod(rest, MS_PER_SECOND)
    return f"day {days} {hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def date(ms: int, epoch_utc_s: int, *, zone: str = " UTC") -> str:
    """The calendar at an instant of pump time, to the minute; ``zone`` is empty where a heading says it."""
    return _moment(ms, epoch_utc_s).strftime("%Y-%m-%d %H:%M") + zone


def iso(ms: int, epoch_utc_s: int) -> str:
    """The calendar at an instant of pump time, to the millisecond, for machines."""
    return _moment(ms, epoch_utc_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(ms: int | None, now_ms: int, epoch_utc_s: int, *, between: str = " ", zone: str = " UTC") -> str:
    """Date and distance: ``2027-08-02 16:00 UTC (in 253 d 8 h)``."""
    if ms is None:
        return NONE
    distance = f"in {span(ms - now_ms)}" if ms > now_ms else f"{span(now_ms - ms)} ago"
    return f"{date(ms, epoch_utc_s, zone=zone)}{between}({distance})"


def duration(ms: int) -> str:
    """A span of time, exactly."""
    return str(Duration(ms))


def therapy(state: TherapyState) -> str:
    """A therapy in one line."""
    if not state.rate_nl_per_day:
        return MODES[state.mode]
    return f"{flow(state.rate_nl_per_day)} = {dose(state.dose_ng_per_day)}"


def therapy_now(status: PumpStatus) -> str:
    """What a status says of the therapy, in one line."""
    if not status.rate_nl_per_day:
        return f"nothing ({MODES[status.mode]})"
    return f"{flow(status.rate_nl_per_day)} = {dose(status.dose_ng_per_day)}"


def event(one: PumpEvent) -> str:
    """What happened, alarms marked."""
    if one.kind == "alarm_raised":
        return f"[bold red]ALARM {one.detail}[/]: {ALARMS[AlarmKind(one.detail)]}"
    if one.kind == "alarm_cleared":
        return f"[green]alarm over: {one.detail}[/]"
    return f"{one.kind.replace('_', ' ')} {one.detail.replace('_', ' ')}".rstrip()


def host_moment(utc_s: int) -> str:
    """The host's calendar, as a person at this machine reads its clock."""
    return datetime.fromtimestamp(utc_s, UTC).astimezone().strftime("%H:%M:%S")


def _moment(ms: int, epoch_utc_s: int) -> datetime:
    return _EPOCH + timedelta(seconds=epoch_utc_s, milliseconds=ms)

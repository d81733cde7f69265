"""How quantities, instants and names are written for people. Integers in, text out; nothing is rounded up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telemetry.model import Activity, AlarmKind, AlarmSignal, Drive, LogCode, PumpMode, Warn
from telemetry.therapy import DAYS, EVERY_DAY
from telemetry.units import (
    MS_PER_DAY,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    MS_PER_SECOND,
    Concentration,
    DailyDose,
    Dose,
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
    PumpMode.FLEX: "flex (one schedule every day)",
    PumpMode.WEEKDAY: "weekday schedules",
    PumpMode.PERIODIC_BOLUS: "basal with periodic bolus",
    PumpMode.TITRATION: "step-dose titration",
    PumpMode.TELEMETRY: "TELEMETRY MODE, NO DELIVERY",
    PumpMode.SHELF: "ON THE SHELF",
}
FLOWING = frozenset(
    {
        PumpMode.SIMPLE_CONTINUOUS,
        PumpMode.MINIMUM_RATE,
        PumpMode.FLEX,
        PumpMode.WEEKDAY,
        PumpMode.PERIODIC_BOLUS,
        PumpMode.TITRATION,
    }
)
"""Modes in which the pump delivers as it was programmed."""
ACTIVITIES = {
    Activity.NONE: "none",
    Activity.BOLUS: "bolus, on top of the basal",
    Activity.PATIENT_BOLUS: "the patient's own bolus",
    Activity.PERIODIC_BOLUS: "periodic bolus",
    Activity.PRIME: "PRIME: the basal waits",
    Activity.BRIDGE: "bridge: the old drug leaves the catheter",
}
DRIVES = {
    Drive.MOTOR: "motor",
    Drive.VALVE_GATED: "valves, driven by gas",
    Drive.PIEZO_VALVE: "piezo valve, driven by gas",
}
ALARMS = {
    AlarmKind.LOW_RESERVOIR: "plan the refill now",
    AlarmKind.EMPTY_RESERVOIR: "the reservoir is empty: no drug is delivered",
    AlarmKind.ELECTIVE_REPLACEMENT: "plan the replacement of the pump",
    AlarmKind.END_OF_SERVICE: "no drug is delivered any more",
    AlarmKind.THERAPY_STOPPED: "the therapy was stopped: no drug is delivered",
    AlarmKind.STOPPED_PUMP: "no stroke for more than 48 h: the tube may have taken a set",
    AlarmKind.MEMORY_ERROR: "a memory page failed its check",
    AlarmKind.SAFE_STATE: "the pump fell back to its safe rate",
    AlarmKind.MOTOR_STALL: "the rotor stands still: no drug is delivered",
    AlarmKind.LOW_BATTERY_RESET: "the battery gave way and the pump started anew",
    AlarmKind.MEMORY_WARNING: "a memory page was repaired from its copy; nothing was lost",
    AlarmKind.DOSE_LIMIT: "delivery was withheld: the dose of the last hours reached its limit",
    AlarmKind.BOLUS_INTERRUPTED: "a bolus or prime was cut short and is not resumed",
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
    Warn.BOLUS_DOSE_HIGH: "the bolus is above the soft limit",
    Warn.CONCENTRATION_UNLISTED: "the concentration is none of those listed for this pump",
    Warn.BRIDGE_OMITTED: "the old drug in the path would run at the new rate: no bridge",
    Warn.SCHEDULE_SHIFTS: "the schedule moves against the patient's day",
    Warn.PRIME_BEYOND_PATH: "the prime is larger than tubing and catheter: drug leaves the tip",
    Warn.WITHDRAWN_DIFFERS: "what was withdrawn is far from what the pump calculated",
}
LOG = {
    LogCode.POWER_ON: "power on",
    LogCode.PROGRAM_COMMITTED: "program committed",
    LogCode.COMMIT_REFUSED: "commit refused",
    LogCode.STOPPED: "stopped",
    LogCode.RESUMED: "resumed",
    LogCode.REFILLED: "refilled",
    LogCode.ALARM_RAISED: "alarm raised",
    LogCode.ALARM_CLEARED: "alarm cleared",
    LogCode.ALARM_SILENCED: "alarm silenced",
    LogCode.ALARM_ACKNOWLEDGED: "alarm acknowledged",
    LogCode.RESERVOIR_EMPTY: "reservoir empty",
    LogCode.END_OF_SERVICE: "end of service",
    LogCode.MEMORY_ERROR: "memory error",
    LogCode.SAFE_STATE_ENTERED: "safe state entered",
    LogCode.SESSION_OPENED: "session opened",
    LogCode.SESSION_CLOSED: "session closed",
    LogCode.AUTHENTICATION_FAILED: "authentication failed",
    LogCode.CLOCK_SET: "clock set",
    LogCode.TIME_UNKNOWN: "time unknown",
    LogCode.BOLUS_STARTED: "bolus started",
    LogCode.BOLUS_ENDED: "bolus ended",
    LogCode.BOLUS_CANCELLED: "bolus or prime cancelled",
    LogCode.BOLUS_WITHHELD: "periodic bolus withheld",
    LogCode.PATIENT_BOLUS_DENIED: "patient bolus denied",
    LogCode.PRIME_STARTED: "prime started",
    LogCode.PRIME_ENDED: "prime ended",
    LogCode.BRIDGE_STARTED: "bridge started",
    LogCode.BRIDGE_ENDED: "bridge ended",
    LogCode.TITRATION_STEP: "titration step",
    LogCode.LIMITS_CHANGED: "limits changed",
    LogCode.ALARMS_CONFIGURED: "alarms configured",
    LogCode.STALL_DETECTED: "rotor stall detected",
    LogCode.STALL_RECOVERED: "rotor runs again",
    LogCode.LOW_BATTERY_RESET: "low-battery reset",
    LogCode.DELIVERY_WITHHELD: "delivery withheld: dose limit",
    LogCode.TELEMETRY_MODE_ENTERED: "telemetry mode entered",
    LogCode.TELEMETRY_MODE_LEFT: "telemetry mode left",
    LogCode.ACTIVATED: "activated",
}


def volume(nl: int) -> str:
    """Millilitres with three decimals, cut off."""
    return str(Volume(nl - nl % _NL_PER_UL))


def exact_volume(nl: int) -> str:
    """Millilitres, exact: for tubing, primes and boluses."""
    return str(Volume(nl))


def bolus_dose(ng: int) -> str:
    """Micrograms at once, exact."""
    return str(Dose(ng))


def flow(nl_per_day: int) -> str:
    """Millilitres per day, exact."""
    return str(FlowRate(nl_per_day))


def dose(ng_per_day: int) -> str:
    """Micrograms per day, exact."""
    return str(DailyDose(ng_per_day))


def amount(nl: int, ng: int) -> str:
    """A bolus as dose and volume, exact."""
    return f"{Dose(ng)} = {Volume(nl)}"


def rate(nl_per_day: int, ng_per_day: int) -> str:
    """A rate as dose and flow, exact."""
    return f"{dose(ng_per_day)} = {flow(nl_per_day)}"


def days(mask: int) -> str:
    """``mon–fri``, ``sat, sun``, ``every day``."""
    if mask == EVERY_DAY:
        return "every day"
    runs: list[list[str]] = []
    for day, name in enumerate(DAYS):
        if mask >> day & 1:
            if day and mask >> (day - 1) & 1:
                runs[-1].append(name)
            else:
                runs.append([name])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def minute(minutes: int) -> str:
    """``06:30``; the end of the day is ``24:00``."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def zone(minutes: int) -> str:
    """``UTC+01:00``."""
    return f"UTC{'−' if minutes < 0 else '+'}{minute(abs(minutes))}"


def hours(ms: int) -> str:
    """Hours to the nearest hundredth: how bridges are compared (domain.md 2.7 writes them so)."""
    hundredths = (ms * 100 + MS_PER_HOUR // 2) // MS_PER_HOUR
    return f"{hundredths // 100}.{hundredths % 100:02d} h"


def clock(utc_s: int, zone_minutes: int) -> str:
    """A wall clock as somebody standing in its zone reads it."""
    moment = _EPOCH + timedelta(seconds=utc_s, minutes=zone_minutes)
    return f"{moment.strftime('%Y-%m-%d %H:%M:%S')} {zone(zone_minutes)}"


def factor(ppm: int) -> str:
    """A calibration constant: ``1.000000``."""
    return f"{ppm // 1_000_000}.{ppm % 1_000_000:06d}"


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
    kind, detail = one.kind.replace("_", " "), one.detail.replace("_", " ")
    return kind if detail in kind.split() else f"{kind} {detail}".rstrip()


def host_moment(utc_s: int) -> str:
    """The host's calendar, as a person at this machine reads its clock."""
    return datetime.fromtimestamp(utc_s, UTC).astimezone().strftime("%H:%M:%S")


def _moment(ms: int, epoch_utc_s: int) -> datetime:
    return _EPOCH + timedelta(seconds=epoch_utc_s, milliseconds=ms)

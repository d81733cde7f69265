"""Pump families as TOML data: every number with its unit, its source and its confidence mark.

``load_profile`` reads one, strictly: every key known, none missing, every entry of its shape, every value with its
unit. ``profile_table`` gives what ``telemetry profile show`` prints.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority, Drug
from telemetry.sim.pump.profile import AlarmSpec, PumpProfile
from telemetry.units import Charge, Concentration, DailyDose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_PROFILE = "itb-40"
Value = TypeVar("Value")
Confidence = Literal["A", "B", "C", "calc", "design"]


class Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One value of a profile: text with its unit, where it comes from, how sure we are."""

    value: str
    source: str
    confidence: Confidence


class _Identity(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    model: str
    serial: str
    firmware: int
    drug: Drug


class _Reservoir(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    capacity: Entry
    low_alarm: Entry
    low_alarm_floor: Entry
    start_concentration: Entry


class _Path(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    tubing: Entry
    catheter: Entry


class _Delivery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    stroke: Entry
    min_rate: Entry
    max_rate: Entry
    keep_alive_rate: Entry
    safe_basal_rate: Entry
    start_rate: Entry
    rate_error: Entry


class _Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    daily_dose_hard_min: Entry
    daily_dose_hard_max: Entry
    daily_dose_soft_min: Entry
    daily_dose_soft_max: Entry
    change_soft: Entry
    change_hard: Entry


class _Battery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    capacity: Entry
    idle_drain: Entry
    flow_charge: Entry
    telemetry_charge: Entry
    replacement_reserve: Entry
    service_life: Entry


class _Timing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    stopped_alarm_after: Entry
    max_silence: Entry
    memory_check_every: Entry
    clock_drift: Entry
    log_capacity: Entry


class _Alarm(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"alarm_class": "class"}):
    alarm_class: Entry
    priority: Entry
    tones_per_burst: Entry
    burst: Entry
    repeat: Entry
    burst_charge: Entry
    latching: Entry
    can_disable: Entry
    acknowledged_for: Entry


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    identity: _Identity
    reservoir: _Reservoir
    path: _Path
    delivery: _Delivery
    limits: _Limits
    battery: _Battery
    timing: _Timing
    alarms: dict[AlarmKind, _Alarm]


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One line of ``telemetry profile show``: ``reservoir.capacity``, ``40``, ``ml``, source, confidence."""

    key: str
    value: str
    unit: str
    source: str
    confidence: str


def _counted(unit: str) -> Callable[[str], int]:
    """A parser of whole numbers (a sign is allowed) with exactly this unit."""

    def parse(text: str) -> int:
        number, _, written = text.partition(" ")
        if written != unit or not number.removeprefix("-").isdecimal():
            raise UsageError(f"{text!r} is no whole number of {unit}")
        return int(number)

    return parse


def _charge_per(unit: str) -> Callable[[str], int]:
    """A parser of a charge per something (``2 uC/byte``), in pC per that."""

    def parse(text: str) -> int:
        charge, _, written = text.rpartition("/")
        if written != unit:
            raise UsageError(f"{text!r} is no charge per {unit} (write it like 2 uC/{unit})")
        return Charge.parse(charge).pc

    return parse


def _choice(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise UsageError(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


def _volume_nl(text: str) -> int:
    return Volume.parse(text).nl


def _rate_nl_per_day(text: str) -> int:
    return FlowRate.parse(text).nl_per_day


def _dose_ng(text: str) -> int:
    return DailyDose.parse(text).ng_per_day


def _span_ms(text: str) -> int:
    return Duration.parse(text).ms


def _concentration(text: str) -> int:
    return Concentration.parse(text).ng_per_ml


def _charge_pc(text: str) -> int:
    return Charge.parse(text).pc


_ppm = _counted("ppm")

NUMBERS: dict[str, tuple[str, Callable[[str], int]]] = {
    "reservoir.capacity": ("reservoir_capacity_nl", _volume_nl),
    "reservoir.low_alarm": ("low_reservoir_alarm_nl", _volume_nl),
    "reservoir.low_alarm_floor": ("low_reservoir_alarm_floor_nl", _volume_nl),
    "reservoir.start_concentration": ("start_concentration_ng_per_ml", _concentration),
    "path.tubing": ("tubing_volume_nl", _volume_nl),
    "path.catheter": ("catheter_volume_nl", _volume_nl),
    "delivery.stroke": ("stroke_volume_nl", _volume_nl),
    "delivery.min_rate": ("min_rate_nl_per_day", _rate_nl_per_day),
    "delivery.max_rate": ("max_rate_nl_per_day", _rate_nl_per_day),
    "delivery.keep_alive_rate": ("keep_alive_rate_nl_per_day", _rate_nl_per_day),
    "delivery.safe_basal_rate": ("safe_basal_rate_nl_per_day", _rate_nl_per_day),
    "delivery.start_rate": ("start_rate_nl_per_day", _rate_nl_per_day),
    "delivery.rate_error": ("rate_error_ppm", _ppm),
    "limits.daily_dose_hard_min": ("daily_dose_hard_min_ng", _dose_ng),
    "limits.daily_dose_hard_max": ("daily_dose_hard_max_ng", _dose_ng),
    "limits.daily_dose_soft_min": ("daily_dose_soft_min_ng", _dose_ng),
    "limits.daily_dose_soft_max": ("daily_dose_soft_max_ng", _dose_ng),
    "limits.change_soft": ("change_soft_ppm", _ppm),
    "limits.change_hard": ("change_hard_ppm", _ppm),
    "battery.capacity": ("battery_capacity_pc", _charge_pc),
    "battery.idle_drain": ("idle_drain_pc_per_day", _charge_per("day")),
    "battery.flow_charge": ("flow_charge_pc_per_nl", _charge_per("nl")),
    "battery.telemetry_charge": ("telemetry_charge_pc_per_byte", _charge_per("byte")),
    "battery.replacement_reserve": ("replacement_reserve_ms", _span_ms),
    "battery.service_life": ("service_life_ms", _span_ms),
    "timing.stopped_alarm_after": ("stopped_alarm_after_ms", _span_ms),
    "timing.max_silence": ("max_silence_ms", _span_ms),
    "timing.memory_check_every": ("memory_check_every_ms", _span_ms),
    "timing.clock_drift": ("clock_drift_ppm", _ppm),
    "timing.log_capacity": ("log_capacity", _counted("records")),
}
"""Key in the file to the field of ``PumpProfile`` and how its text is read."""


def list_profiles() -> tuple[str, ...]:
    """Names of the families that come with the package."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_profile(name_or_path: str | Path) -> PumpProfile:
    """The family of that name, or of that TOML file (anything that ends in ``.toml``).

    Raises ``UsageError`` naming file, key, value and rule; an unknown name lists the known ones.
    """
    return _load(name_or_path)[0]


def profile_table(name_or_path: str | Path) -> tuple[ProfileRow, ...]:
    """Every value of a family with its unit, source and confidence; raises ``UsageError`` like ``load_profile``."""
    parsed = _load(name_or_path)[1]
    return tuple(
        ProfileRow(key, *_split(entry.value), entry.source, entry.confidence) for key, entry in _entries(parsed)
    )


def _split(text: str) -> tuple[str, str]:
    value, _, unit = text.partition(" ")
    return value, unit


def _load(name_or_path: str | Path) -> tuple[PumpProfile, _File]:
    text = str(name_or_path)
    if text.endswith(".toml"):
        try:
            return _parse(Path(text).read_text(encoding="utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"profile file {text}: cannot be read ({error})") from error
    if text not in list_profiles():
        raise UsageError(
            f"profile: {text!r} is unknown; known: {', '.join(list_profiles())}, or the path of a file ending in .toml"
        )
    return _shipped(text)


@functools.cache
def _shipped(name: str) -> tuple[PumpProfile, _File]:
    file = f"{name}.toml"
    return _parse(resources.files(__name__).joinpath(file).read_text(encoding="utf-8"), file)


def _parse(text: str, where: str) -> tuple[PumpProfile, _File]:
    try:
        parsed = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"profile {where}: {error}") from error
    missing = [kind for kind in AlarmKind if kind not in parsed.alarms]
    if missing:
        raise UsageError(f"profile {where}: alarms: missing {', '.join(missing)}")
    entries = dict(_entries(parsed))
    numbers = {field: _read(where, key, entries[key].value, parse) for key, (field, parse) in NUMBERS.items()}
    alarms = tuple(_alarm(where, kind, parsed.alarms[kind]) for kind in AlarmKind)
    identity = parsed.identity
    try:
        profile = PumpProfile(
            name=identity.name,
            model=identity.model,
            serial=identity.serial,
            firmware=identity.firmware,
            drug=identity.drug,
            alarms=alarms,
            **numbers,
        )
    except UsageError as error:
        raise UsageError(f"profile {where}: {error}") from error
    return profile, parsed


def _read(where: str, key: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"profile {where}: {key}: {error}") from error


def _alarm(where: str, kind: AlarmKind, alarm: _Alarm) -> AlarmSpec:
    def read(name: str, entry: Entry, parse: Callable[[str], int]) -> int:
        return _read(where, f"alarms.{kind}.{name}", entry.value, parse)

    def choose(name: str, entry: Entry, *names: str) -> str:
        return _read(where, f"alarms.{kind}.{name}", entry.value, _choice(*names))

    try:
        return AlarmSpec(
            kind=kind,
            alarm_class=AlarmClass(choose("class", alarm.alarm_class, *AlarmClass)),
            priority=AlarmPriority(choose("priority", alarm.priority, *AlarmPriority)),
            tones_per_burst=read("tones_per_burst", alarm.tones_per_burst, _counted("tones")),
            burst_ms=read("burst", alarm.burst, _span_ms),
            repeat_ms=read("repeat", alarm.repeat, _span_ms),
            burst_charge_pc=read("burst_charge", alarm.burst_charge, _charge_pc),
            latching=choose("latching", alarm.latching, "yes", "no") == "yes",
            can_disable=choose("can_disable", alarm.can_disable, "yes", "no") == "yes",
            acknowledged_for_ms=read("acknowledged_for", alarm.acknowledged_for, _span_ms),
        )
    except UsageError as error:
        if str(error).startswith("profile "):
            raise
        raise UsageError(f"profile {where}: {error}") from error


def _entries(parsed: _File) -> Iterator[tuple[str, Entry]]:
    for section in ("reservoir", "path", "delivery", "limits", "battery", "timing"):
        group = getattr(parsed, section)
        for name in group.__struct_fields__:
            yield f"{section}.{name}", getattr(group, name)
    for kind in AlarmKind:
        alarm = parsed.alarms[kind]
        for name, written in zip(alarm.__struct_fields__, alarm.__struct_encode_fields__, strict=True):
            yield f"alarms.{kind}.{written}", getattr(alarm, name)

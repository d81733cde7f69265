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
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import msgspec

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority, Drive, Drug
from telemetry.sim.profiles import keys
from telemetry.sim.pump.profile import AlarmSpec, PumpProfile

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
    drive: Drive


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


def _section(name: str) -> type[msgspec.Struct]:
    """The shape of one table of a file: every key of ``keys`` once, none else."""
    shape = [(key, Entry) for key in keys.keys_of(name)]
    return msgspec.defstruct(f"_{name.title()}", shape, forbid_unknown_fields=True, frozen=True)


class _Tables(msgspec.Struct, frozen=True):
    """What of a file's shape does not come from ``keys``."""

    identity: _Identity
    alarms: dict[AlarmKind, _Alarm]


_File: type[msgspec.Struct] = msgspec.defstruct(
    "_File",
    [(name, _section(name)) for name in keys.SECTIONS],
    bases=(_Tables,),
    forbid_unknown_fields=True,
    frozen=True,
)


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One line of ``telemetry profile show``: ``reservoir.capacity``, ``40``, ``ml``, source, confidence."""

    key: str
    value: str
    unit: str
    source: str
    confidence: str


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
    entries = _load(name_or_path)[1]
    return tuple(
        ProfileRow(key, *_split(entry.value), entry.source, entry.confidence) for key, entry in entries.items()
    )


def _split(text: str) -> tuple[str, str]:
    value, _, unit = text.partition(" ")
    return value, unit


def _load(name_or_path: str | Path) -> tuple[PumpProfile, dict[str, Entry]]:
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
def _shipped(name: str) -> tuple[PumpProfile, dict[str, Entry]]:
    file = f"{name}.toml"
    return _parse(resources.files(__name__).joinpath(file).read_text(encoding="utf-8"), file)


def _parse(text: str, where: str) -> tuple[PumpProfile, dict[str, Entry]]:
    try:
        parsed = cast("_Tables", msgspec.convert(tomllib.loads(text), _File))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"profile {where}: {error}") from error
    missing = [kind for kind in AlarmKind if kind not in parsed.alarms]
    if missing:
        raise UsageError(f"profile {where}: alarms: missing {', '.join(missing)}")
    entries = dict(_entries(parsed))

    def read(key: str, parse: Callable[[str], Value]) -> Value:
        return _read(where, key, entries[key].value, parse)

    values: dict[str, object] = {field: read(key, parse) for key, (field, parse) in keys.NUMBERS.items()}
    values |= {field: read(key, parse) for key, (field, parse) in keys.LISTS.items()}
    values |= {field: read(key, keys.yes_or_no) for key, field in keys.FLAGS.items()}
    alarms = tuple(_alarm(where, kind, parsed.alarms[kind]) for kind in AlarmKind)
    identity = parsed.identity
    try:
        profile = PumpProfile(**msgspec.structs.asdict(identity), alarms=alarms, **values)  # type: ignore[arg-type] # each read by its kind
    except UsageError as error:
        raise UsageError(f"profile {where}: {error}") from error
    return profile, entries


def _read(where: str, key: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"profile {where}: {key}: {error}") from error


def _alarm(where: str, kind: AlarmKind, alarm: _Alarm) -> AlarmSpec:
    def read(name: str, entry: Entry, parse: Callable[[str], Value]) -> Value:
        return _read(where, f"alarms.{kind}.{name}", entry.value, parse)

    def choose(name: str, entry: Entry, *names: str) -> str:
        return _read(where, f"alarms.{kind}.{name}", entry.value, keys.choice(*names))

    try:
        return AlarmSpec(
            kind=kind,
            alarm_class=AlarmClass(choose("class", alarm.alarm_class, *AlarmClass)),
            priority=AlarmPriority(choose("priority", alarm.priority, *AlarmPriority)),
            tones_per_burst=read("tones_per_burst", alarm.tones_per_burst, keys.counted("tones")),
            burst_ms=read("burst", alarm.burst, keys.span_ms),
            repeat_ms=read("repeat", alarm.repeat, keys.span_ms),
            burst_charge_pc=read("burst_charge", alarm.burst_charge, keys.charge_pc),
            latching=read("latching", alarm.latching, keys.yes_or_no),
            can_disable=read("can_disable", alarm.can_disable, keys.yes_or_no),
            acknowledged_for_ms=read("acknowledged_for", alarm.acknowledged_for, keys.span_ms),
        )
    except UsageError as error:
        if str(error).startswith("profile "):
            raise
        raise UsageError(f"profile {where}: {error}") from error


def _entries(parsed: _Tables) -> Iterator[tuple[str, Entry]]:
    for section in keys.SECTIONS:
        group = getattr(parsed, section)
        for name in group.__struct_fields__:
            yield f"{section}.{name}", getattr(group, name)
    for kind in AlarmKind:
        alarm = parsed.alarms[kind]
        for name, written in zip(alarm.__struct_fields__, alarm.__struct_encode_fields__, strict=True):
            yield f"alarms.{kind}.{written}", getattr(alarm, name)

"""A profile as a JSON-able table, as a snapshot holds it, and back."""

from __future__ import annotations

from dataclasses import fields

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority
from telemetry.sim.pump import state as st
from telemetry.sim.pump.profile import (
    CHOICE_FIELDS,
    FLAG_FIELDS,
    LIST_FIELDS,
    NUMBER_FIELDS,
    TEXT_FIELDS,
    AlarmSpec,
    PumpProfile,
)

_WHERE = "profile"
_ALARM_INTS = ("tones_per_burst", "burst_ms", "repeat_ms", "burst_charge_pc", "acknowledged_for_ms")


def profile_to_table(profile: PumpProfile) -> dict[str, object]:
    """A profile, JSON-able."""
    table: dict[str, object] = {field.name: getattr(profile, field.name) for field in fields(profile)}
    table |= {name: table[name].value for name in CHOICE_FIELDS}  # type: ignore[attr-defined] # an enumeration
    table |= {name: list(getattr(profile, name)) for name in LIST_FIELDS}
    table["alarms"] = [{field.name: getattr(spec, field.name) for field in fields(spec)} for spec in profile.alarms]
    return table


def profile_from_table(value: object) -> PumpProfile:
    """A profile back from its table; raises ``UsageError`` naming what is wrong with it."""
    state = st.table(value, _WHERE, [field.name for field in fields(PumpProfile)])
    found: dict[str, object] = {name: st.text(state, name, _WHERE) for name in TEXT_FIELDS}
    found |= {name: st.integer(state, name, _WHERE, least=None) for name in NUMBER_FIELDS}
    found |= {name: st.flag(state, name, _WHERE) for name in FLAG_FIELDS}
    found |= {name: st.member(state, name, _WHERE, kind) for name, kind in CHOICE_FIELDS.items()}
    found |= {name: _numbers(state, name) for name in LIST_FIELDS}
    alarms = tuple(_alarm(item) for item in st.items(state, "alarms", _WHERE))
    return PumpProfile(**found, alarms=alarms)  # type: ignore[arg-type] # each read by its kind above


def _numbers(state: st.State, name: str) -> tuple[int, ...]:
    listed = st.items(state, name, _WHERE)
    numbers = tuple(item for item in listed if type(item) is int)
    if len(numbers) != len(listed):
        raise UsageError(f"snapshot {_WHERE}.{name}: {listed!r} are not all whole numbers")
    return numbers


def _alarm(item: object) -> AlarmSpec:
    at = f"{_WHERE}.alarms"
    one = st.table(item, at, [field.name for field in fields(AlarmSpec)])
    return AlarmSpec(
        kind=st.member(one, "kind", at, AlarmKind),
        alarm_class=st.member(one, "alarm_class", at, AlarmClass),
        priority=st.member(one, "priority", at, AlarmPriority),
        latching=st.flag(one, "latching", at),
        can_disable=st.flag(one, "can_disable", at),
        **{key: st.integer(one, key, at) for key in _ALARM_INTS},
    )

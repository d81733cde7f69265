"""Orders in the pump's own encoding: whatever can be staged, as bytes of variable length, and back.

One table of fields says how each part lies; integers are little-endian, enumerations go by their place, lists are
preceded by their count. A number too wide for its place is refused by name, never cut off (INV-42).
"""

from __future__ import annotations

import struct
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import UsageError
from telemetry.model import Drug, PumpLimits, PumpMode
from telemetry.therapy import (
    AlarmSettings,
    BolusOrder,
    ClockSetting,
    PrimeOrder,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramPatientBolus,
    ProgramRampStep,
    ProgramStep,
    RefillOrder,
)

if TYPE_CHECKING:
    from telemetry.model import OperationKind

Order = Program | BolusOrder | PrimeOrder | RefillOrder | PumpLimits | ClockSetting | AlarmSettings
"""Whatever goes through check, stage and commit."""
Member = TypeVar("Member", bound=Enum)

_KINDS: tuple[type, ...] = (Program, BolusOrder, PrimeOrder, RefillOrder, PumpLimits, ClockSetting, AlarmSettings)
_OF_OPERATION: dict[str, type] = {
    "program": Program,
    "bolus": BolusOrder,
    "prime": PrimeOrder,
    "refill": RefillOrder,
    "limits": PumpLimits,
    "clock": ClockSetting,
    "alarm_settings": AlarmSettings,
}
_LONG = frozenset(
    {
        "dose_ng_per_day",
        "dose_ng",
        "utc_s",
        "daily_dose_hard_min_ng",
        "daily_dose_hard_max_ng",
        "daily_dose_soft_min_ng",
        "daily_dose_soft_max_ng",
        "bolus_dose_soft_max_ng",
        "bolus_dose_hard_max_ng",
    }
)
"""Fields of 64 bits; whatever is not named here or below has 32."""
_SHORT = frozenset({"days", "start_minute", "max_per_24h"})
_SIGNED = frozenset({"zone_minutes"})
_FLAGS = frozenset({"low_reservoir_enabled", "elective_replacement_enabled"})
_HEAD = (
    "mode",
    "drug",
    "concentration_ng_per_ml",
    "reservoir_generation",
    "rate_nl_per_day",
    "dose_ng_per_day",
)
_LISTS: tuple[tuple[str, type], ...] = (
    ("steps", ProgramStep),
    ("bolus", ProgramBolus),
    ("ramp", ProgramRampStep),
    ("patient_bolus", ProgramPatientBolus),
    ("bridge", ProgramBridge),
)
"""Parts of a program; those that are there once at most are lists of none or one."""
_ENUMS: dict[str, type[Enum]] = {"mode": PumpMode, "drug": Drug}


def number_of(member: Enum) -> int:
    """An enumeration's member by its place, from 1."""
    return _places(type(member))[member]


@cache
def _places(kind: type[Enum]) -> dict[Enum, int]:
    return {member: number for number, member in enumerate(kind, start=1)}


def member_of(kind: type[Member], number: int) -> Member:
    """The member at a place, from 1."""
    return list(kind)[number - 1]


def order_type(kind: OperationKind) -> type | None:
    """What an operation of this kind carries out; None for one that stages nothing."""
    return _OF_OPERATION.get(kind.value)


def pack_program(program: Program) -> bytes:
    """A program in the pump's own encoding (what the bench's digest is taken over)."""
    parts = [_pack(program, name) for name in _HEAD]
    for name, _ in _LISTS:
        value = getattr(program, name)
        items = value if isinstance(value, tuple) else () if value is None else (value,)
        parts.append(_number(f"number of {name}", len(items), "<H"))
        parts += [_pack_all(item) for item in items]
    return b"".join(parts)


def pack_order(order: Order) -> bytes:
    """Any order; raises ``UsageError`` naming the number that is too wide for its place."""
    kind = _KINDS.index(type(order))
    if isinstance(order, Program):
        body = pack_program(order)
    elif isinstance(order, RefillOrder):
        body = _pack(order, "volume_nl") + _pack(order, "withdrawn_nl") + pack_program(order.program)
    else:
        body = _pack_all(order)
    return bytes([kind]) + body


def parse_order(data: bytes) -> Order:
    """The order in bytes whose check value held."""
    reader = _Reader(data)
    kind = _KINDS[reader.number("<B")]
    if kind is Program:
        return reader.program()
    if kind is RefillOrder:
        volume_nl, withdrawn_nl = reader.number("<I"), reader.number("<I")
        return RefillOrder(volume_nl=volume_nl, withdrawn_nl=withdrawn_nl, program=reader.program())
    return reader.record(kind)  # type: ignore[return-value] # one of _KINDS


def pack_limits(limits: PumpLimits) -> bytes:
    """The limits alone, as their own record holds them."""
    return _pack_all(limits)


def parse_limits(data: bytes) -> PumpLimits:
    """The limits in bytes whose check value held."""
    return _Reader(data).record(PumpLimits)  # type: ignore[return-value] # what it was asked for


LIMITS_SIZE = sum(struct.calcsize("<Q" if field.name in _LONG else "<I") for field in fields(PumpLimits))


def _code(name: str) -> str:
    if name in _LONG:
        return "<Q"
    if name in _SHORT or name in _ENUMS:
        return "<H"
    if name in _SIGNED:
        return "<h"
    return "<?" if name in _FLAGS else "<I"


def _pack(item: object, name: str) -> bytes:
    value = getattr(item, name)
    if isinstance(value, Enum):
        value = number_of(value)
    return _number(name, value, _code(name))


def _pack_all(item: object) -> bytes:
    return b"".join(_pack(item, field.name) for field in fields(item))  # type: ignore[arg-type]


def _number(name: str, value: object, code: str) -> bytes:
    try:
        return struct.pack(code, value)
    except struct.error:
        bits = 8 * struct.calcsize(code)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if code == "<h" else (0, (1 << bits) - 1)
        raise UsageError(f"{name}: {value} is outside {low} to {high}") from None


class _Reader:
    """Takes numbers off the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, code: str) -> int:
        value: int = struct.unpack_from(code, self._data, self._at)[0]
        self._at += struct.calcsize(code)
        return value

    def field(self, name: str) -> object:
        value = self.number(_code(name))
        kind = _ENUMS.get(name)
        return value if kind is None else member_of(kind, value)

    def record(self, kind: type) -> object:
        return kind(**{field.name: self.field(field.name) for field in fields(kind)})

    def program(self) -> Program:
        values = {name: self.field(name) for name in _HEAD}
        for name, kind in _LISTS:
            items = tuple(self.record(kind) for _ in range(self.number("<H")))
            single = name not in {"steps", "ramp"}
            values[name] = (items[0] if items else None) if single else items
        return Program(**values)  # type: ignore[arg-type]

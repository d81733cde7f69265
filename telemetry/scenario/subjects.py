"""What a scenario can look at: every field of the shared records by a name without its unit, with its kind of value.

The names are those of ``telemetry.model`` less the unit (``rate_nl_per_day`` is ``rate``); where two fields would get
one name, the kind is added (``delivered_volume``, ``delivered_dose``). The list therefore grows with the vocabulary.
"""

from __future__ import annotations

import builtins
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from telemetry import model, therapy
from telemetry.model import (
    Alarm,
    Change,
    DeliveryReport,
    DrugLedger,
    GroundTruth,
    Identity,
    PumpLimits,
    PumpStatus,
    TelemeterInfo,
    TherapyState,
)
from telemetry.programmer.records import Outcome
from telemetry.programmer.refilling import RefillResult, WithdrawnCheck
from telemetry.scenario.values import KINDS, Kind
from telemetry.therapy import AlarmSettings, ProgramBridge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SUFFIXES = (
    ("_nl_per_day", "flow_rate", ""),
    ("_ng_per_day", "dose_per_day", ""),
    ("_ng_per_ml", "concentration", ""),
    ("_utc_s", "date", "date"),
    ("_nl", "volume", "volume"),
    ("_ng", "dose", "dose"),
    ("_ms", "instant", "at"),
    ("_pc", "charge", "charge"),
    ("_percent", "percent", "percent"),
    ("_ppm", "share", "share"),
)
_UNLIKE_THEIR_SUFFIX = {
    "air_delay_ms": "duration",
    "daily_dose_hard_min_ng": "dose_per_day",
    "daily_dose_hard_max_ng": "dose_per_day",
    "daily_dose_soft_min_ng": "dose_per_day",
    "daily_dose_soft_max_ng": "dose_per_day",
}
"""Fields whose suffix alone would tell another kind."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to look at: its name in a file, the attribute behind it, the kind of its value, its allowed names."""

    name: str
    attribute: str
    kind: Kind
    choices: tuple[str, ...] = ()
    optional: bool = False

    def of(self, record: object) -> Any:  # noqa: ANN401 - of the kind
        """The value in a record, as its kind compares it; raises ``AttributeError`` where the record has none."""
        for part in self.attribute.split("."):
            record = getattr(record, part)
        return plain(record)


def plain(value: Any) -> Any:  # noqa: ANN401 - any field of a record
    """A field's value as kinds compare it: names for codes, hexadecimal for bytes."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return value


class _Names(dict[str, Any]):
    """Names for annotations: some records name a type that their module imports for type checkers only.

    What is known nowhere is an ``object``, which no file can look at.
    """

    def __init__(self, module: str) -> None:
        super().__init__({**vars(builtins), **vars(model), **vars(therapy), **vars(sys.modules[module])})

    def __missing__(self, name: str) -> type:
        return object


def fields_of(record: type, properties: Iterable[tuple[str, str]] = ()) -> dict[str, Field]:
    """Every comparable field of a record type, by its name in a file; ``properties`` adds (attribute, kind) pairs."""
    hints = get_type_hints(record, localns=_Names(record.__module__))
    assert is_dataclass(record)  # noqa: S101 - for the type checker
    made = [_field(item.name, hints[item.name]) for item in fields(record)]
    found = [item for item in made if item is not None]
    found += [Field(_short(name)[0], name, KINDS[kind]) for name, kind in properties]
    counts = [item.name for item in found]
    named: dict[str, Field] = {}
    for item in found:
        name = item.name
        if counts.count(name) > 1:
            name = f"{name}_{_short(item.attribute)[2]}"
        named[name] = Field(name, item.attribute, item.kind, item.choices, item.optional)
    return named


def _within(prefix: str, known: Mapping[str, Field], *, named: bool = True) -> dict[str, Field]:
    """The same fields in a record that is a field itself."""
    return {
        f"{prefix}_{name}" if named else name: replace(
            field, name=f"{prefix}_{name}" if named else name, attribute=f"{prefix}.{field.attribute}"
        )
        for name, field in known.items()
    }


def _merged(*parts: Mapping[str, Field]) -> dict[str, Field]:
    """All of them; of two fields with one name the first, as long as both are of one kind."""
    found: dict[str, Field] = {}
    for part in parts:
        for name, field in part.items():
            known = found.setdefault(name, field)
            if known.kind is not field.kind:
                raise TypeError(f"{name} is a {known.kind.name} and a {field.kind.name}")
            if known.choices != field.choices:
                found[name] = replace(known, choices=())
    return found


def kind_of(attribute: str) -> str:
    """The kind of an integer by the unit that its name ends in; empty where it has none."""
    return _short(attribute)[1]


def _short(attribute: str) -> tuple[str, str, str]:
    """The name without its unit, the kind, and the word for the kind."""
    for suffix, kind, word in _SUFFIXES:
        if attribute.endswith(suffix):
            return attribute.removesuffix(suffix), _UNLIKE_THEIR_SUFFIX.get(attribute, kind), word
    return attribute, "", ""


def _field(attribute: str, hint: Any) -> Field | None:  # noqa: ANN401 - a type
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    optional = NoneType in options
    kinds = [option for option in options if option is not NoneType]
    if len(kinds) != 1:
        return None
    (of,) = kinds
    name, kind, _ = _short(attribute)
    if get_origin(of) is tuple:
        item = get_args(of)[0]
        choices = tuple(item) if isinstance(item, type) and issubclass(item, StrEnum) else ()
        return Field(name, attribute, KINDS["names"], tuple(map(str, choices)), optional) if choices else None
    if not isinstance(of, type):
        return None
    if issubclass(of, StrEnum):
        return Field(name, attribute, KINDS["text"], tuple(item.value for item in of), optional)
    if of is bool:
        return Field(attribute, attribute, KINDS["boolean"], optional=optional)
    if of is int:
        return Field(name, attribute, KINDS[kind or "whole"], optional=optional)
    if of in {str, bytes}:
        return Field(attribute, attribute, KINDS["text"], optional=optional)
    return None


STATUS = fields_of(PumpStatus)
TRUTH = fields_of(GroundTruth)
LEDGER = fields_of(DrugLedger, [("balance_nl", "volume")])
DELIVERY = fields_of(DeliveryReport)
IDENTITY = fields_of(Identity)
LIMITS = fields_of(PumpLimits)
TELEMETER = fields_of(TelemeterInfo)
ALARM = {name: field for name, field in fields_of(Alarm).items() if name != "kind"}
ANSWER = _merged(
    fields_of(RefillResult),
    fields_of(Change),
    _within("before", fields_of(TherapyState)),
    _within("after", fields_of(TherapyState)),
    _within("withdrawn", fields_of(WithdrawnCheck), named=False),
    {"flagged": Field("flagged", "withdrawn.flagged", KINDS["boolean"])},
    _within("bridge", fields_of(ProgramBridge)),
    fields_of(Outcome),
    fields_of(AlarmSettings),
    STATUS,
    IDENTITY,
    LIMITS,
    DELIVERY,
    TELEMETER,
)
"""What a call of the programmer may return, each field under the first record that has it."""
WINDOW = {
    field.name: field
    for field in (
        Field("tip_volume", "tip_volume_nl", KINDS["volume"]),
        Field("tip_dose", "tip_dose_ng", KINDS["dose"]),
        Field("tip_rate", "tip_rate_ng_per_day", KINDS["dose_per_day"]),
        Field("tip_flow", "tip_flow_nl_per_day", KINDS["flow_rate"]),
        Field("lost_volume", "lost_volume_nl", KINDS["volume"]),
        Field("lost_dose", "lost_dose_ng", KINDS["dose"]),
        Field("strokes", "strokes", KINDS["whole"]),
    )
}
"""What passed between two instants: through the tip, beside it, and by how many strokes."""
PATIENT = {
    field.name: field
    for field in (
        Field("csf", "csf_ng_per_ml", KINDS["concentration"]),
        Field("near_tip", "near_tip_ng_per_ml", KINDS["concentration"]),
        Field("effect", "effect_percent", KINDS["percent"]),
        Field("accustomed", "accustomed_ng_per_ml", KINDS["concentration"]),
        Field("overdose", "overdose_grade", KINDS["whole"]),
        Field("withdrawal", "withdrawal_grade", KINDS["whole"]),
        Field("overdose_signs", "overdose_signs", KINDS["names"]),
        Field("withdrawal_signs", "withdrawal_signs", KINDS["names"]),
    )
}
"""How the patient model is (illustrative); levels and effect are rounded to whole units before they are compared."""

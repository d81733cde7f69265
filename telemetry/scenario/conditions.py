"""The part of the schema that says what a condition looks like: one definition a kind of value or set of names."""

from __future__ import annotations

from enum import StrEnum

from telemetry import model
from telemetry.programmer import refilling
from telemetry.scenario import subjects
from telemetry.scenario.subjects import Field
from telemetry.scenario.values import KINDS, ORDERED_OPERATORS
from telemetry.scenario.vocabulary import TEXT, Schema, table


def _shown(kind: str) -> Schema:
    """What a bare value of a kind looks like to any validator."""
    if kind == "boolean":
        return {"type": "boolean"}
    if kind == "whole":
        return {"type": ["integer", "string", "null"], "x-plain": kind}
    return {"type": ["string", "integer", "null"], "x-plain": kind}


def condition(field: Field) -> Schema:
    """A condition on one field, by reference: one definition a kind, or a set of names."""
    return {"$ref": f"#/$defs/{_condition_name(field)}"}


def _condition_name(field: Field) -> str:
    if not field.choices:
        return f"is_{field.kind.name}"
    many = "s" if field.kind.name == "names" else ""
    return f"is_{_names_of(field.choices)}{many}{'_or_none' if field.optional and not many else ''}"


_ENUMERATIONS: dict[tuple[str, ...], str] = {
    tuple(member.value for member in of): "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in of.__name__
    ).strip("_")
    for of in (*vars(model).values(), *vars(refilling).values())
    if isinstance(of, type) and issubclass(of, StrEnum) and of is not StrEnum
}


def _names_of(choices: tuple[str, ...]) -> str:
    return _ENUMERATIONS.get(choices) or "_or_".join(choices[:3])


def _condition_schema(field: Field) -> Schema:
    """A bare value (also with ±), or a table of operators."""
    kind = field.kind.name
    item: Schema = {"enum": list(field.choices)} if field.choices and kind == "text" else _operand(kind)
    operators: dict[str, Schema] = {"equals": item, "not": item}
    if kind == "names":
        names: Schema = {"type": "array", "items": {"enum": list(field.choices)} if field.choices else TEXT}
        operators = {"equals": names, "contains": names, "lacks": names}
        return {"anyOf": [names, {**table(operators), "minProperties": 1}]}
    if field.kind.ordered:
        operators |= dict.fromkeys(ORDERED_OPERATORS, item)
        bare = _shown(kind)
    elif kind == "text":
        operators |= {"contains": TEXT, "lacks": TEXT} if not field.choices else {}
        bare = {"enum": [*field.choices, "none"] if field.optional else list(field.choices)} if field.choices else TEXT
    else:
        bare = _shown(kind)
    operators["one_of"] = {"type": "array", "minItems": 1, "items": item}
    return {"anyOf": [bare, {**table(operators), "minProperties": 1}]}


def conditions() -> dict[str, Schema]:
    """Every condition that a check refers to."""
    groups = (
        subjects.STATUS,
        subjects.TRUTH,
        subjects.LEDGER,
        subjects.DELIVERY,
        subjects.IDENTITY,
        subjects.LIMITS,
        subjects.WINDOW,
        subjects.PATIENT,
        subjects.ANSWER,
        subjects.ALARM,
        {"count": COUNT, "at": AT},
    )
    return {_condition_name(field): _condition_schema(field) for group in groups for field in group.values()}


COUNT = Field("count", "", KINDS["whole"])
AT = Field("at", "", KINDS["instant"])


def _operand(kind: str) -> Schema:
    if kind == "boolean":
        return {"type": "boolean"}
    if kind == "text":
        return TEXT
    return {"type": ["string", "integer"], "x-value": kind}

"""A scenario held against the published schema; every mistake with its place and what would be right."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.model import LogCode
from telemetry.scenario import schema
from telemetry.scenario.problems import Problem, ScenarioError, suggestion
from telemetry.scenario.values import KINDS, read_plain, read_value
from telemetry.scenario.vocabulary import EVENTS
from telemetry.therapy import parse_days, parse_minute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

    from telemetry.scenario.document import Document

_NAMES = {"event": EVENTS, "code": tuple(code.value for code in LogCode)}
_TYPE_WORDS = {
    "object": "a table",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def validate(document: Document) -> None:
    """Raise ``ScenarioError`` with every mistake in the form of a scenario file."""
    if not isinstance(document.data, dict):
        raise document.error((), "a scenario is a table with at least a title")
    problems: set[Problem] = set()
    for error in _validator().iter_errors(document.data):
        problems.update(_problems(document, error))
    if problems:
        raise ScenarioError(document.file, sorted(problems))


@lru_cache(maxsize=1)
def _validator() -> Validator:
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - only who plays scenarios pays for it

    made = validators.extend(  # type: ignore[no-untyped-call]  # its stubs have no types for it
        Draft202012Validator,
        {
            "x-value": _keyword(_check_value),
            "x-plain": _keyword(lambda raw, kind, _: read_plain(KINDS[kind], raw)),
            "x-one-of": _exactly_one,
            "x-at-most-one-of": _at_most_one,
        },
    )
    validator: Validator = made(schema.published())
    return validator


def _keyword(check: Callable[[Any, str, Mapping[str, Any]], object]) -> Callable[..., Iterator[ValidationError]]:
    """A keyword that reads the value as a person wrote it and says what is wrong with it."""

    def apply(
        _validator: Validator, argument: str, instance: object, around: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - as above

        if isinstance(instance, dict | list | bool) or (instance is None and argument not in KINDS):
            return  # the type is wrong, which is said by another keyword
        try:
            check(instance, argument, around)
        except UsageError as error:
            yield ValidationError(str(error))

    return apply


def _check_value(raw: object, argument: str, around: Mapping[str, Any]) -> None:
    if argument in KINDS:
        read_value(KINDS[argument], raw)
    elif argument == "occurrence":
        known = _NAMES[around["x-names"]]
        word = str(raw).split(" ", 1)[0]
        if word not in known:
            raise UsageError(f"{word!r} is no {around['x-names']}; {suggestion(word, known)}")
    else:
        _CHECKS[argument](str(raw))


def _check_profile(text: str) -> None:
    from telemetry.sim.profiles import list_profiles  # noqa: PLC0415 - reads files

    if not text.endswith(".toml") and text not in list_profiles():
        raise UsageError(f"{text!r} is no pump family; {suggestion(text, list_profiles())}, or a path ending in .toml")


def _check_link_rule(text: str) -> None:
    from telemetry.transport.faults import FaultRule  # noqa: PLC0415 - seldom needed

    FaultRule.parse(text)


def _check_fault(text: str) -> None:
    from telemetry.sim.faults.catalogue import find_fault  # noqa: PLC0415 - the catalogue is not small

    find_fault(text)


_CHECKS: dict[str, Callable[[str], object]] = {
    "minute": parse_minute,
    "days": parse_days,
    "profile": _check_profile,
    "link_rule": _check_link_rule,
    "fault": _check_fault,
}


def _exactly_one(
    _validator: Validator, groups: list[list[str]], instance: object, _schema: object
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - as above

    for names in groups if isinstance(instance, dict) else ():
        given = [name for name in names if isinstance(instance, dict) and name in instance]
        if len(given) != 1:
            said = f"{' and '.join(given)} stand together" if given else "it says no time"
            yield ValidationError(f"{said}; a step has exactly one of: {', '.join(names)}")


def _at_most_one(
    _validator: Validator, groups: list[list[str]], instance: object, _schema: object
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - as above

    for names in groups if isinstance(instance, dict) else ():
        given = [name for name in names if isinstance(instance, dict) and name in instance]
        if len(given) > 1:
            yield ValidationError(f"{' and '.join(given)} stand together; a step does one thing: make two steps of it")


def _problems(document: Document, error: ValidationError) -> Iterator[Problem]:
    """One error of the library as problems that a person can act on."""
    path = tuple(error.absolute_path)
    rule: Any = error.schema
    said: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "anyOf":
        yield from _of_branches(document, error)
    elif error.validator == "additionalProperties":
        known = list(rule.get("properties", ()))
        for key in said:
            if key not in known:
                yield document.problem(path, f"is unknown here; {suggestion(key, known)}", key=str(key))
    elif error.validator in {"enum", "const"}:
        known = [wanted] if error.validator == "const" else wanted
        yield document.problem(path, f"{_shown(said)} is not taken; {suggestion(said, known)}")
    elif error.validator == "type":
        words = " or ".join(_TYPE_WORDS[name] for name in ([wanted] if isinstance(wanted, str) else wanted))
        yield document.problem(path, f"{_shown(said)} is not {words}{_kind_hint(rule)}")
    elif error.validator == "required":
        for name in wanted:
            if name not in said:
                yield document.problem(path, f"{name!r} is missing; needed: {', '.join(wanted)}")
    elif "propertyNames" in error.schema_path and isinstance(said, str):
        yield document.problem(path, error.message, key=said)
    else:
        yield document.problem(path, _WORDS.get(str(error.validator), error.message))


def _of_branches(document: Document, error: ValidationError) -> Iterator[Problem]:
    """What is wrong by the alternative that the value looks like; the types that are taken when it looks like none."""
    alternatives: Any = error.validator_value
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.schema_path[0]), []).append(inner)
    fitting = [
        errors for number, errors in sorted(branches.items()) if _looks_like(error.instance, alternatives[number])
    ]
    if fitting:
        for inner in min(fitting, key=lambda errors: -max(len(item.absolute_path) for item in errors)):
            yield from _problems(document, inner)
        return
    wanted = sorted({_TYPE_WORDS[name] for branch in alternatives for name in _types_of(branch)})
    yield document.problem(
        tuple(error.absolute_path), f"{_shown(error.instance)} is not {' or '.join(wanted)}{_kind_hint(error.schema)}"
    )


def _types_of(branch: Mapping[str, Any]) -> list[str]:
    if "enum" in branch:
        return ["string"]
    found = branch.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def _looks_like(instance: object, branch: Mapping[str, Any]) -> bool:
    for name in _types_of(branch):
        if name == "integer":
            if type(instance) is int:
                return True
        elif isinstance(instance, _TYPES[name]) and not (name != "boolean" and isinstance(instance, bool)):
            return True
    return False


def _kind_hint(rule: Any) -> str:  # noqa: ANN401 - any part of a schema
    kind = rule.get("x-value") or rule.get("x-plain")
    for branch in rule.get("anyOf", ()):
        kind = kind or branch.get("x-value") or branch.get("x-plain")
    return f"; write {KINDS[kind].about}" if kind in KINDS else ""


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"a table with {', '.join(map(str, value)) or 'nothing in it'}"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


_WORDS = {
    "minProperties": "is empty; say at least one thing",
    "maxProperties": "says several things; one at a time",
    "minItems": "has too few entries",
    "maxItems": "has too many entries",
}

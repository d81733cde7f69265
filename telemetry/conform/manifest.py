"""The manifest of the equipment under test: what it is, what it claims, its limits, and what its fields are called.

YAML or JSON, held against a published schema, every mistake told with its line and column. Without one, everything is
claimed with the limits below.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from telemetry.conform.operator import Field
from telemetry.conform.results import Equipment, Subject
from telemetry.errors import UsageError
from telemetry.scenario.document import parse
from telemetry.scenario.problems import Problem, ScenarioError, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from telemetry.conform.steps import AnyCatalogue
    from telemetry.scenario.document import Document

SCHEMA_FILE = "manifest.schema.json"
_LARGEST_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the equipment claims of its own speed, ms.

    ``poll_interval_ms``: how often it looks at the pump while nobody touches it. ``alarm_shown_ms``: a condition that
    comes up at the pump is on the screen within that. ``give_up_ms``: an act on a dead link has ended, and says so.
    ``stale_after_ms``: without contact for so long, what stands on the screen is marked. The defaults are the reference
    tablet's; they come from no standard (design), but for the marking: contact counts as lost after 5 s (trust.md 4.7).
    """

    poll_interval_ms: int = 2_000
    alarm_shown_ms: int = 4_000
    give_up_ms: int = 10_000
    stale_after_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Words:
    """The equipment's own words, any of which may stand there (compared without case)."""

    applied: tuple[str, ...] = ("applied",)
    not_applied: tuple[str, ...] = ("not applied", "refused")
    unknown: tuple[str, ...] = ("unknown", "uncertain")
    high: tuple[str, ...] = ("high",)
    medium: tuple[str, ...] = ("medium",)
    low: tuple[str, ...] = ("low",)
    stale: tuple[str, ...] = ("out of date", "not current", "stale", "no contact", "lost")
    simulated: tuple[str, ...] = ("simulated", "simulation")
    stopped: tuple[str, ...] = ("stopped", "no delivery")
    over: tuple[str, ...] = ("over", "latched", "no longer present")
    silenced: tuple[str, ...] = ("silenced", "audio paused", "muted")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is claimed of the equipment. ``claims`` None: every feature of the catalogue.

    ``left_out``: steps that are not claimed although their features are, each with its reason. ``fields``: what a field
    is called on the equipment's own screen. ``text``: the manifest as it was read.
    """

    equipment: tuple[Equipment, ...] = ()
    claims: tuple[str, ...] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    words: Words = Words()
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    def claimed(self, catalogue: AnyCatalogue) -> tuple[str, ...]:
        """The features claimed, in the catalogue's order."""
        return tuple(name for name in catalogue.features if self.claims is None or name in self.claims)


def schema() -> dict[str, Any]:
    """The JSON schema of manifests."""
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    machine = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {**text, "description": "what it is called in the report"},
            "maker": text,
            "model": text,
            "version": {**text, "description": "of its software, as its screen tells it"},
            "serial": text,
            "role": {"enum": ["under_test", "test_equipment"], "description": "under_test unless given"},
            "simulated": {"type": "boolean"},
            "note": text,
        },
    }
    span = {"type": "integer", "minimum": 1, "maximum": _LARGEST_MS}
    limits = dict.fromkeys(Limits.__dataclass_fields__, span)
    several = {"type": "array", "items": text, "minItems": 1, "uniqueItems": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What is claimed of equipment under conformance test",
        "type": "object",
        "additionalProperties": False,
        "required": ["equipment"],
        "properties": {
            "equipment": {"type": "array", "items": machine, "minItems": 1},
            "claims": {**several, "description": "features by name ('telemetry conform list'); all unless given"},
            "left_out": {
                "type": "object",
                "additionalProperties": text,
                "description": "steps by number that are not claimed, each with its reason",
            },
            "limits": {"type": "object", "additionalProperties": False, "properties": limits},
            "words": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(Words.__dataclass_fields__, several),
            },
            "fields": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name.value: text for name in Field},
                "description": "what a field is called on the equipment's own screen",
            },
        },
    }


def schema_text() -> str:
    """The schema as the published file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


@lru_cache(maxsize=1)
def published_schema() -> str:
    """The schema that came with this package."""
    return files("telemetry.conform").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")


def read_manifest(path: Path, catalogue: AnyCatalogue) -> Manifest:
    """The manifest in a file; raises ``UsageError`` with file, line, column, and what would be right."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_manifest(text, catalogue, str(path))


def parse_manifest(text: str, catalogue: AnyCatalogue, where: str = "manifest") -> Manifest:
    """The manifest in this text; raises ``UsageError`` as ``read_manifest`` does."""
    document = parse(text, where)
    problems = _against_schema(document) or _against_catalogue(document, catalogue)
    if problems:
        raise ScenarioError(where, problems)
    said: dict[str, Any] = document.data
    equipment = tuple(Equipment(**{"role": "under_test", **one}) for one in said["equipment"])
    return Manifest(
        equipment=equipment,
        claims=tuple(said["claims"]) if "claims" in said else None,
        left_out=dict(said.get("left_out", {})),
        limits=Limits(**said.get("limits", {})),
        words=Words(**{name: tuple(words) for name, words in said.get("words", {}).items()}),
        fields=dict(said.get("fields", {})),
        text=text,
    )


def _against_schema(document: Document) -> list[Problem]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - only who has a manifest pays for it

    problems: list[Problem] = []
    for error in Draft202012Validator(schema()).iter_errors(document.data):
        path = list(error.absolute_path)
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            known = list(error.schema.get("properties", {}))
            problems += [
                document.problem(path, f"{name!r} is unknown here; {suggestion(name, known)}", key=name)
                for name in error.instance
                if name not in known
            ]
        else:
            problems.append(document.problem(path, error.message))
    return problems


def _against_catalogue(document: Document, catalogue: AnyCatalogue) -> list[Problem]:
    said: dict[str, Any] = document.data
    problems = [
        document.problem(["claims", index], f"{name!r} is no feature; {suggestion(name, catalogue.features)}")
        for index, name in enumerate(said.get("claims", []))
        if name not in catalogue.features
    ]
    numbers = [step.number for step in catalogue]
    problems += [
        document.problem(["left_out"], f"there is no step {number!r}; {suggestion(number, numbers)}", key=number)
        for number in said.get("left_out", {})
        if number not in numbers
    ]
    if not any(one.get("role", "under_test") == "under_test" for one in said["equipment"]):
        problems.append(document.problem(["equipment"], "none of it is under test; leave role: out of one"))
    return problems


def own_equipment(subject: Subject, version: str) -> tuple[Equipment, ...]:
    """Our own driver as the equipment under test."""
    name = {
        Subject.PROGRAMMER: "reference tablet",
        Subject.DEVICE: "virtual pump",
        Subject.SUBSCRIBER: "reference subscriber",
    }[subject]
    return (
        Equipment(role="under_test", name=name, maker="itb-telemetry", model=name, version=version, simulated=True),
    )


__all__ = ["Limits", "Manifest", "Words", "parse_manifest", "read_manifest", "schema_text"]

"""The JSON schema of a scenario file, made from the tables of this package; the published file is this, written out.

``x-value`` names the kind of a text (``values.KINDS``); validators that do not know it see a text. Ours reads it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from telemetry.model import AlarmKind, LogCode, RefusalReason, Role, Warn
from telemetry.scenario import subjects
from telemetry.scenario.conditions import AT, COUNT, condition, conditions
from telemetry.scenario.vocabulary import (
    BENCH,
    EVENTS,
    PUMP,
    TEXT,
    THERAPY,
    THERAPY_SCHEMA,
    WHOLE,
    WIRE,
    YES_NO,
    Action,
    Schema,
    one_of,
    table,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.scenario.subjects import Field

SCHEMA_FILE = "scenario.schema.json"
SCHEMA_ID = "https://itb-telemetry.example/schemas/scenario-1.json"
_LOG = tuple(code.value for code in LogCode)
STEP_TIMES = ("at", "after", "when", "every", "between")
STEP_ACTIONS = ("wire", "bench", "fault", "clear")


def _fields(known: Mapping[str, Field], about: str) -> Schema:
    return {
        **table({name: condition(field) for name, field in known.items()}, about=about),
        "minProperties": 1,
    }


def _occurrences(items: Schema, names: tuple[str, ...], word: str, about: str) -> Schema:
    listed: Schema = {"type": "array", "minItems": 1, "items": items}
    counts: Schema = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"x-value": "occurrence", "x-names": word},
        "additionalProperties": condition(COUNT),
    }
    return {
        **table(
            {
                "contains": {**listed, "description": "each of these, in any order"},
                "in_order": {**listed, "description": "these one after another, others in between allowed"},
                "lacks": {**listed, "description": "none of these"},
                "only": {
                    "type": "array",
                    "items": items,
                    "description": "nothing but these, of the kinds named by `of`, exactly so and in this order",
                },
                "of": {"type": "array", "minItems": 1, "items": one_of(names), "description": "see `only`"},
                "count": {**counts, "description": "how many of each"},
            },
            about=about,
        ),
        "minProperties": 1,
    }


def _item(names: tuple[str, ...], word: str) -> Schema:
    return {
        "anyOf": [
            {"type": "string", "x-value": "occurrence", "x-names": word},
            table(
                {
                    word: one_of(names),
                    "detail": {"type": ["string", "integer"]},
                    "at": condition(AT),
                },
                (word,),
            ),
        ]
    }


def _checks() -> Schema:
    kinds = [kind.value for kind in AlarmKind]
    names = {"type": "array", "items": one_of(AlarmKind)}
    counts = condition(COUNT)
    return {
        **table(
            {
                "status": _fields(subjects.STATUS, "what telemetry would say of the pump: its own books"),
                "truth": _fields(subjects.TRUTH, "what is so, which no programmer sees"),
                "ledger": _fields(subjects.LEDGER, "where every nanolitre went"),
                "delivery": _fields(subjects.DELIVERY, "the pump's account of its delivery: activity, windows"),
                "identity": _fields(subjects.IDENTITY, "who the pump says it is"),
                "limits": _fields(subjects.LIMITS, "what the pump enforces"),
                "passed": _fields(subjects.WINDOW, "with `between`: what passed in it, or in each slice of it"),
                "patient": _fields(subjects.PATIENT, "the patient model (illustrative)"),
                "answer": _fields(subjects.ANSWER, "what the last action through the wire returned"),
                "alarms": {
                    "anyOf": [
                        {**names, "description": "exactly these"},
                        {**table({"present": names, "absent": names}), "minProperties": 1},
                    ]
                },
                "alarm": {
                    **table(
                        {kind: {"$ref": "#/$defs/alarm"} for kind in kinds},
                        about="an alarm that is present, latched or silenced",
                    ),
                    "minProperties": 1,
                },
                "tones": {
                    **table(dict.fromkeys(kinds, counts), about="bursts of each alarm begun since the last boot"),
                    "minProperties": 1,
                },
                "events": {"$ref": "#/$defs/events"},
                "log": {"$ref": "#/$defs/log"},
            }
        ),
        "minProperties": 1,
    }


def _outcome() -> Schema:
    return {
        "anyOf": [
            {"type": "string", "enum": ["applied", "unknown", "link_error", "usage_error"]},
            table(
                {
                    "refused": one_of((*RefusalReason, "never", "any"), "never: it did not come, and never will"),
                    "warnings": {"type": "array", "items": one_of(Warn), "description": "exactly these were open"},
                    "says": {"type": "string", "description": "words that its message contains"},
                },
                ("refused",),
            ),
        ],
        "description": "what becomes of the action; applied unless said otherwise",
    }


def _actions(known: tuple[Action, ...]) -> Schema:
    bare = [action.name for action in known if action.bare]
    listed = {action.name: {**action.arguments, "description": action.about} for action in known}
    return {
        "anyOf": [
            {"type": "string", "enum": bare},
            {**table(listed), "minProperties": 1, "maxProperties": 1},
        ]
    }


def _event_of(*, with_repeat: bool) -> Schema:
    extra: dict[str, Schema] = {
        "after": value("duration", "so much later"),
        "from": value("instant", "earlier ones do not count"),
    }
    if with_repeat:
        extra["each_time"] = {**YES_NO, "description": "whenever it happens, not only the first time"}
        extra["optional"] = {**YES_NO, "description": "true: it need not happen"}
        extra["nth"] = {"type": "integer", "minimum": 1}
    return table(
        {"event": one_of(EVENTS), "detail": {"type": ["string", "integer"]}, **extra},
        ("event",),
        about="an event of the pump",
    )


def _step() -> Schema:
    return {
        **table(
            {
                "at": value("instant", "after the start, or a date"),
                "after": value("duration", "after the step before this one"),
                "when": {"$ref": "#/$defs/when"},
                "every": table(
                    {
                        "each": value("duration"),
                        "from": value("instant", "the first time; one `each` after the start unless given"),
                        "until": value("instant"),
                        "times": {"type": "integer", "minimum": 1},
                        "jitter": value("duration", "up to so much later, drawn from the seed"),
                    },
                    ("each",),
                ),
                "between": {
                    "type": "array",
                    "minItems": 2,
                    "maxItems": 2,
                    "items": value("instant"),
                    "description": "a window of time, for expectations only",
                },
                "each": value("duration", "with `between`: check every slice of this length"),
                "wire": _actions(WIRE),
                "bench": _actions(BENCH),
                "fault": {"$ref": "#/$defs/fault"},
                "clear": {"type": "string", "description": "the fault of this name, or `all`"},
                "as": one_of(Role, "whose credential opens the session; the scenario's role unless given"),
                "accept": {"type": "array", "items": one_of(Warn), "description": "soft limits to pass"},
                "outcome": {"$ref": "#/$defs/outcome"},
                "note": TEXT,
                "expect": {"$ref": "#/$defs/checks"},
                "always": {"$ref": "#/$defs/checks", "description": "with `between`: holds throughout"},
                "never": {"$ref": "#/$defs/checks", "description": "with `between`: at no instant all of it"},
            }
        ),
        "x-one-of": [list(STEP_TIMES)],
        "x-at-most-one-of": [list(STEP_ACTIONS)],
    }


def _pump() -> Schema:
    return table(
        {
            "profile": value("profile", "a pump family (telemetry profile list)"),
            "age": {"type": "string", "description": "shelf, day 1, mid-life, ERI-1d, ERI+89d, EOS, 3 y"},
            "fill": value("volume", "the full reservoir unless given"),
            "concentration": value("concentration"),
            "serial": {"type": "string", "maxLength": 16},
            "therapy": {**THERAPY, "description": "programmed at the bench before the start"},
            "set": {
                "type": "object",
                "additionalProperties": {"type": ["string", "integer", "boolean"]},
                "description": "fields of the profile, with unit (rate_error_ppm: 60000, low_reservoir_alarm_nl: 3 ml)",
            },
        },
        about="the pump at the start",
    )


def build() -> Schema:
    """The whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "A scenario for a SIMULATED intrathecal pump (not for clinical use)",
        **table(
            {
                "title": {"type": "string", "minLength": 1, "description": "what it shows, in a line"},
                "about": {"type": "string", "description": "why, for a reader"},
                "source": {"type": "string", "description": "the design document's section, or the report"},
                "tags": {"type": "array", "items": TEXT},
                "seed": {**WHOLE, "minimum": 0, "description": "of everything random; 0 unless given"},
                "role": one_of(Role, "clinician unless given"),
                "pump": PUMP,
                "patient": table(
                    {
                        "parameters": {
                            "type": "object",
                            "additionalProperties": {"type": ["string", "integer"]},
                            "description": "of the patient model, by name",
                        },
                        "accustomed_to": value("dose_per_day", "what the patient has been on for long"),
                        "every": value(
                            "duration",
                            "how often the model is told what left the tip (an hour unless given); in between it "
                            "counts as even",
                        ),
                    },
                    about="play the patient model too (illustrative)",
                ),
                "near_field": table(
                    {
                        "loss": value("share", "chance of each frame to be lost"),
                        "delay": value("duration"),
                        "bits_per_s": {**WHOLE, "minimum": 0},
                    },
                    about="how the few centimetres between telemeter and pump behave",
                ),
                "faults": {"type": "array", "items": {"$ref": "#/$defs/fault"}, "description": "armed from the start"},
                "record_every": value("duration", "the grid of samples with --record"),
                "ends": value("instant", "when it ends; with the last step unless given"),
                "timeline": {"type": "array", "items": {"$ref": "#/$defs/step"}},
                "always": {"type": "array", "items": {"$ref": "#/$defs/checks"}, "description": "at every event"},
                "never": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/checks"},
                    "description": "at no event all of one of these",
                },
                "finally": {"$ref": "#/$defs/checks", "description": "when it has ended"},
            },
            ("title",),
        ),
        "$defs": {
            "therapy": THERAPY_SCHEMA,
            "pump": _pump(),
            "step": _step(),
            "when": _event_of(with_repeat=True),
            "outcome": _outcome(),
            "checks": _checks(),
            "alarm": _fields(subjects.ALARM, "one alarm: condition, signal and system apart"),
            "events": _occurrences(_item(EVENTS, "event"), EVENTS, "event", "what happened since the start"),
            "log": _occurrences(_item(_LOG, "code"), _LOG, "code", "the pump's own log since the start"),
            **conditions(),
            "fault": {
                "anyOf": [
                    {"type": "string", "x-value": "fault"},
                    {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "propertyNames": {"x-value": "fault"},
                        "additionalProperties": {"type": "object"},
                    },
                ],
                "description": "a device fault by name (telemetry fault list), with its parameters and trigger",
            },
        },
    }


def text() -> str:
    """The schema as the published file holds it."""
    return json.dumps(build(), indent=2, ensure_ascii=False) + "\n"


@lru_cache(maxsize=1)
def published() -> Schema:
    """The schema that came with this package."""
    found: Any = json.loads(published_text())
    made: Schema = found
    return made


def published_text() -> str:
    """The file that came with this package."""
    return files("telemetry.scenario").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")

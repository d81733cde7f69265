"""The words of a scenario file: what can be done through the wire and at the bench, with the arguments of each.

Each action is a JSON schema of its arguments (``docs/scenarios.md`` is checked against this table, the published
schema is made from it, and ``acting_wire``/``acting_bench`` have a function for each name).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telemetry.model import AlarmKind, StopReason
from telemetry.therapy import DAYS

if TYPE_CHECKING:
    from enum import StrEnum

Schema = dict[str, Any]

EVENTS = (
    "activated",
    "alarm_acknowledged",
    "alarm_cleared",
    "alarm_raised",
    "alarm_silenced",
    "alarms_configured",
    "battery_exhausted",
    "bolus_cancelled",
    "bolus_ended",
    "bolus_started",
    "bolus_withheld",
    "bridge_ended",
    "bridge_started",
    "catheter_replaced",
    "clock_set",
    "delivery_started",
    "delivery_stopped",
    "delivery_withheld",
    "end_of_service",
    "fault_ended",
    "fault_missed",
    "fault_struck",
    "limits_changed",
    "low_battery_reset",
    "memory_reset",
    "patient_bolus_denied",
    "power_on",
    "prime_ended",
    "prime_started",
    "program_committed",
    "refilled",
    "reservoir_dry",
    "reservoir_empty",
    "resumed",
    "safe_state_entered",
    "stall_detected",
    "stall_recovered",
    "stopped",
    "telemetry_mode_entered",
    "telemetry_mode_left",
    "titration_step",
)
"""Every kind of event a pump emits: a misspelt one in *lacks* would otherwise never be noticed."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done. ``bare``: it may be written by its name alone, without arguments."""

    name: str
    about: str
    arguments: Schema
    bare: bool = False


def value(kind: str, about: str = "") -> Schema:
    """A value of a kind of ``values.KINDS``; other validators see a text or a number."""
    made: Schema = {"type": ["string", "integer"], "x-value": kind}
    return {**made, "description": about} if about else made


def table(properties: dict[str, Schema], required: tuple[str, ...] = (), *, about: str = "") -> Schema:
    """A table with these keys and no others."""
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        made["required"] = list(required)
    if about:
        made["description"] = about
    return made


def one_of(names: type[StrEnum] | tuple[str, ...], about: str = "") -> Schema:
    """One of these names."""
    made: Schema = {"type": "string", "enum": [str(name) for name in names]}
    return {**made, "description": about} if about else made


NONE: Schema = {"type": ["null", "object"], "maxProperties": 0}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
YES_NO: Schema = {"type": "boolean"}
THERAPY: Schema = {"$ref": "#/$defs/therapy"}
PUMP: Schema = {"$ref": "#/$defs/pump"}

_DAY: Schema = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"x-value": "minute"},
    "additionalProperties": value("rate"),
}
THERAPY_SCHEMA: Schema = {
    **table(
        {
            "rate": value("rate", "a constant rate, or the basal under a periodic bolus"),
            "minimum_rate": {"const": True, "description": "the pump's keep-alive flow"},
            "steps": {**_DAY, "description": "the same day every day: time of day to rate, the first at 00:00"},
            "days": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"x-value": "days"},
                "additionalProperties": _DAY,
                "description": f"a day for each group of days ({', '.join(DAYS)}): mon-fri, sat,sun",
            },
            "ramp": {
                "type": "array",
                "minItems": 1,
                "items": table({"days": {"type": "integer", "minimum": 1}, "rate": value("rate")}, ("days", "rate")),
                "description": "a titration ramp; its last rate stays",
            },
            "periodic_bolus": table(
                {
                    "amount": value("amount"),
                    "over": value("duration"),
                    "every": value("duration"),
                    "first_in": value("duration", "after the commit; one interval unless given"),
                },
                ("amount", "over", "every"),
                about="a bolus every interval on top of the rate",
            ),
            "patient_bolus": table(
                {
                    "amount": value("amount"),
                    "over": value("duration"),
                    "lockout": value("duration"),
                    "max_per_24h": {"type": "integer", "minimum": 1, "maximum": 255},
                },
                ("amount", "over", "lockout", "max_per_24h"),
                about="what a patient may give (refused for baclofen)",
            ),
        },
        about="exactly one of rate, minimum_rate, steps, days, ramp; periodic_bolus goes with rate",
    ),
    "minProperties": 1,
}

_BOLUS = table({"amount": value("amount"), "over": value("duration")}, ("amount", "over"))
_PRIME: Schema = {
    **table(
        {
            "volume": value("volume"),
            "where": one_of(("catheter", "tubing", "path"), "what is to be filled, by the volumes the pump was told"),
            "rate": value("flow_rate"),
        }
    ),
    "type": ["object", "null"],
}
_BRIDGE: Schema = {
    "anyOf": [
        {"type": "boolean", "description": "true: by the pump's volumes and its present dose; false: none"},
        table({"volume": value("volume"), "rate": value("rate")}, ("volume", "rate")),
    ]
}
_REFILL: dict[str, Schema] = {
    "volume": value("volume", "what is filled; the full reservoir unless given"),
    "concentration": value("concentration"),
    "therapy": {**THERAPY, "description": "the present one unless given"},
    "bridge": _BRIDGE,
}
_CLOCK = table(
    {
        "utc": value("date", "the pump's wall clock; by default it is left as it is"),
        "ahead": value("duration", "set it ahead of what is true by so much"),
        "behind": value("duration", "set it behind what is true by so much"),
        "zone": {"type": "string", "pattern": r"^[+-]\d\d:\d\d$", "description": "hours and minutes east of UTC"},
    }
)

_LIMITS = {
    "daily_dose_hard_min": "dose_per_day",
    "daily_dose_hard_max": "dose_per_day",
    "daily_dose_soft_min": "dose_per_day",
    "daily_dose_soft_max": "dose_per_day",
    "change_soft": "share",
    "change_hard": "share",
    "bolus_dose_soft_max": "dose",
    "bolus_dose_hard_max": "dose",
    "low_reservoir_alarm": "volume",
    "min_rate": "flow_rate",
    "max_rate": "flow_rate",
    "keep_alive_rate": "flow_rate",
}

WIRE = (
    Action("interrogate", "read status, alarms and log in one session", NONE, bare=True),
    Action(
        "read",
        "read one report; `answer` looks at it",
        one_of(
            (
                "status",
                "identity",
                "program",
                "limits",
                "alarms",
                "log",
                "delivery",
                "telemeter",
                "alarm_settings",
                "prescription",
            ),
            "prescription: what `replace` carries to the next pump",
        ),
    ),
    Action("set_rate", "a constant rate: flow, dose per day or dose per hour", value("rate")),
    Action("titrate", "the present daily dose changed by a share", value("share")),
    Action("program", "any therapy", THERAPY),
    Action("bolus", "one bolus on top of the basal", _BOLUS),
    Action("patient_bolus", "the patient's own bolus, by the rule of the program", NONE, bare=True),
    Action("prime", "fill tubing or catheter fast", _PRIME, bare=True),
    Action(
        "refill",
        "needle and books: withdraw what is left, fill, tell the pump volume, drug, therapy and bridge at once",
        {
            **table(
                {
                    **_REFILL,
                    "withdrawn": value(
                        "volume", "what the pump is told came out; what the needle took out last unless given"
                    ),
                    "needle": {**YES_NO, "description": "false: only the books; the reservoir is left as it is"},
                }
            ),
            "type": ["object", "null"],
        },
        bare=True,
    ),
    Action(
        "implant",
        "a new pump: fill it, tell it its first filling and therapy, prime",
        table(
            {
                "volume": value("volume"),
                "concentration": value("concentration"),
                "therapy": THERAPY,
                "where": one_of(("catheter", "tubing", "path"), "what is still to be primed; the path unless given"),
                "calibration": value("share", "the constant on the package, as it is off from 1; compared before"),
                "needle": {**YES_NO, "description": "false: only the books"},
            },
            ("volume", "concentration", "therapy"),
        ),
    ),
    Action(
        "replace",
        "carry the prescription that was read last to this new pump on the old catheter: settings, filling, prime",
        table(
            {
                "volume": value("volume"),
                "concentration": value("concentration"),
                "bridge": YES_NO,
                "needle": {**YES_NO, "description": "false: only the books"},
            },
            ("volume",),
        ),
    ),
    Action("stop", "stop delivery at once", one_of(StopReason, "why; clinical unless given"), bare=True),
    Action("resume", "start the committed program again", NONE, bare=True),
    Action("silence", "silence what sounds now", value("duration", "10 min unless given"), bare=True),
    Action("acknowledge", "acknowledge an alarm", one_of(AlarmKind)),
    Action(
        "configure_alarms",
        "alarm volume, and which of the two may be off",
        table(
            {
                "low_reservoir_alarm": value("volume"),
                "low_reservoir_enabled": YES_NO,
                "elective_replacement_enabled": YES_NO,
            }
        ),
    ),
    Action(
        "set_limits",
        "the limits of the pump's own, those not named staying",
        {**table({name: value(kind) for name, kind in _LIMITS.items()}), "minProperties": 1},
    ),
    Action("set_clock", "the pump's wall clock and zone", _CLOCK),
    Action("outcome", "ask what became of the last operation", NONE, bare=True),
)
BENCH = (
    Action("program", "any therapy, warnings counting as accepted", THERAPY),
    Action("bolus", "one bolus on top of the basal", _BOLUS),
    Action("patient_bolus", "the patient's button", NONE, bare=True),
    Action("prime", "fill tubing or catheter fast", _PRIME, bare=True),
    Action(
        "refill",
        "needle and books in one, nothing else changed",
        {**table(_REFILL), "type": ["object", "null"]},
        bare=True,
    ),
    Action("stop", "stop delivery", NONE, bare=True),
    Action("resume", "start the committed program again", NONE, bare=True),
    Action("withdraw", "the needle takes out so much", value("volume", "all unless given"), bare=True),
    Action(
        "fill",
        "the needle puts in so much; the pump is not told",
        table(
            {
                "volume": value("volume"),
                "concentration": value("concentration"),
                "into": one_of(("reservoir", "pocket", "side_port")),
            },
            ("volume",),
        ),
    ),
    Action("tell_refill", "the books without the needle", table(_REFILL)),
    Action("replace_catheter", "a new catheter, filled with nothing but fluid", NONE, bare=True),
    Action("set_clock", "the pump's wall clock and zone", _CLOCK),
    Action("telemeter", "coupling bars, 0 (lifted) to 5", {"type": "integer", "minimum": 0, "maximum": 5}),
    Action(
        "link",
        "faults of the programmer's link from now on, as rules such as drop:1@rx/VerdictReport*1; none for a clean one",
        {"type": "array", "items": {"type": "string", "x-value": "link_rule"}},
    ),
    Action("power_cut", "power is lost and comes back", NONE, bare=True),
    Action("reset_memory", "clear a stored error code, so that the pump takes orders again", NONE, bare=True),
    Action("screening", "a trial dose by lumbar puncture, into the patient model only", value("dose")),
    Action(
        "new_pump",
        "the old pump is taken out and another implanted on the same catheter; this is the pump from now on",
        PUMP,
    ),
)
WIRE_ACTIONS = {action.name: action for action in WIRE}
BENCH_ACTIONS = {action.name: action for action in BENCH}

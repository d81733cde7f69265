"""Every published message as a table: its keys, their types, units and meaning; the JSON Schemas are made from it.

A message is one JSON object. Keys carry units; numbers are whole. Every key is always there (null where there is
nothing to say) and no other is: a key that is added, renamed or taken away raises ``VERSION``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.log_meaning import VALUE_UNITS
from telemetry.model import Activity, AlarmClass, AlarmKind, AlarmPriority, AlarmSignal, Drive, Drug, LogCode, PumpMode
from telemetry.publish.topics import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

VERSION = 1
PREFIX = "itb-telemetry/"
LINK_STATES = ("online", "pump_not_read", "offline")
LINK_REASONS = ("read", "pump_not_read", "gateway_lost", "gateway_stopped", "other_pump")
CHANGES = ("raised", "changed", "cleared")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps exactly (RFC 8259, section 6)."""

Fragment = dict[str, Any]


def _count(says: str) -> Fragment:
    return {"type": "integer", "minimum": 0, "maximum": _LARGEST, "description": says}


def _signed(says: str) -> Fragment:
    return {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST, "description": says}


def _percent(says: str) -> Fragment:
    return {"type": "integer", "minimum": 0, "maximum": 100, "description": says}


def _text(says: str, *, pattern: str = "", shortest: int = 0) -> Fragment:
    found: Fragment = {"type": "string", "description": says}
    if pattern:
        found["pattern"] = pattern
    if shortest:
        found["minLength"] = shortest
    return found


def _yes(says: str) -> Fragment:
    return {"type": "boolean", "description": says}


def _one_of(values: Iterable[StrEnum | str], says: str) -> Fragment:
    return {"type": "string", "enum": [str(value) for value in values], "description": says}


def _or_null(fragment: Fragment) -> Fragment:
    found = dict(fragment)
    found["type"] = [found["type"], "null"]
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def _object(says: str, keys: Fragment) -> Fragment:
    return {
        "type": "object",
        "description": says,
        "properties": keys,
        "required": list(keys),
        "additionalProperties": False,
    }


def _list(says: str, items: Fragment) -> Fragment:
    return {"type": "array", "description": says, "items": items}


def _instant(name: str, says: str, *, null: bool = False) -> Fragment:
    wrap = _or_null if null else dict
    return {
        f"{name}_ms": wrap(_count(f"{says}: pump time, ms since the pump's epoch")),
        f"{name}_utc_ms": wrap(_count(f"{says}: ms since 1970-01-01 UTC, by the pump's own time")),
    }


_SOURCE: Fragment = {
    "simulated": _yes("true of every device of this project: not a real pump, not for clinical use"),
    "gateway_id": _text("who published it: drawn when its spool was made", pattern="^[0-9a-f]{16}$"),
    "pump": _object(
        "whose reading it is", {"model": _text("model", shortest=1), "serial": _text("serial", shortest=1)}
    ),
}
_ALARM: Fragment = _object(
    "one alarm: condition, signal and rank apart",
    {
        "kind": _one_of(AlarmKind, "what it is about"),
        "condition": _text("the condition in words", shortest=1),
        "alarm_class": _one_of(AlarmClass, "how the pump sounds it"),
        "priority": _one_of(AlarmPriority, "its rank by the pump"),
        "tablet_priority": _one_of(AlarmPriority, "its rank on a tablet now (IEC 60601-1-8 words)"),
        "condition_present": _yes("whether the condition is present; false: only its signal is kept"),
        "signal": _one_of(AlarmSignal, "whether it sounds"),
        "enabled": _yes("whether it is switched on"),
        "count": _count("how often it has been raised"),
        **_instant("since", "since when"),
        **_instant("silenced_until", "until when it is silenced", null=True),
        "advice": _object(
            "what each hearer is to do",
            {name: _text(f"to the {name}", shortest=1) for name in ("patient", "carer", "clinician")},
        ),
    },
)
_READ: Fragment = {"read_utc_ms": _count("the host's time at which it was read of the pump, ms since 1970-01-01 UTC")}

_BODIES: dict[Kind, tuple[str, Fragment]] = {
    Kind.IDENTITY: (
        "Who the pump is, by its own account.",
        {
            **_READ,
            "firmware": _text("major.minor", pattern=r"^[0-9]+\.[0-9]+$"),
            "reservoir_capacity_nl": _count("capacity of the reservoir"),
            "tubing_volume_nl": _count("volume of the pump's tubing"),
            "catheter_volume_nl": _count("volume of the catheter, as the pump was told"),
            "drug": _one_of(Drug, "what the pump is for"),
            "drive": _one_of(Drive, "what moves the drug"),
            "level_sensor": _yes("whether it measures its level"),
            "calibration_ppm": _count("calibration constant; must be the package's"),
            **_instant("activated", "when it was activated"),
            "epoch_utc_s": _count("the instant that pump time counts from, s since 1970-01-01 UTC"),
        },
    ),
    Kind.STATUS: (
        "What the pump says of itself: its own books, not the truth. Old after valid_until.",
        {
            **_READ,
            "valid_until_utc_ms": _count("after this it is old: another was due before, by the host's time"),
            **_instant("pump_now", "the pump's time when it was read"),
            "pump_clock_utc_s": _count("the pump's wall clock, s since 1970-01-01 UTC"),
            "pump_clock_zone_minutes": _signed("zone of the pump's wall clock, minutes east of UTC"),
            "mode": _one_of(PumpMode, "what it is doing"),
            "activity": _one_of(Activity, "what runs on top of, or instead of, the program"),
            **_instant("activity_ends", "when that ends", null=True),
            "rate_nl_per_day": _count("flow now"),
            "dose_ng_per_day": _count("dose at that flow"),
            "drug": _one_of(Drug, "what the reservoir holds"),
            "concentration_ng_per_ml": _count("concentration in the reservoir"),
            "reservoir_nl": _count("what is left, calculated"),
            "reservoir_generation": _count("number of the filling"),
            **_instant("low_reservoir", "when the low-reservoir alarm is due", null=True),
            **_instant("stopped_since", "since when it is stopped", null=True),
            "battery_percent": _percent("charge left"),
            **_instant("replace_by", "by when it must be replaced"),
            "alarms": _list("kinds that are present, latched or silenced", _one_of(AlarmKind, "kind")),
            "program_sequence": _count("number of the program in force"),
            "program_digest": _text("its digest", pattern="^([0-9a-f]{2})+$"),
            "boot_epoch": _count("how often the pump has started"),
            "delivery": _object(
                "what the pump counted as commanded, from all sources",
                {
                    "activity_volume_nl": _count("volume of the activity"),
                    "activity_delivered_nl": _count("of it, given"),
                    "window_1h_nl": _count("in the last hour"),
                    "window_4h_nl": _count("in the last four hours"),
                    "window_24h_nl": _count("in the last 24 hours"),
                    "window_24h_ng": _count("dose in the last 24 hours"),
                    "patient_boluses_24h": _count("the patient's own boluses in the last 24 hours"),
                },
            ),
            "telemeter": _object(
                "the relay it was read through",
                {
                    "serial": _text("serial"),
                    "battery_percent": _percent("charge left"),
                    "coupling_bars": _count("strength of contact, 0 to 5") | {"maximum": 5},
                },
            ),
        },
    ),
    Kind.ALARMS: (
        "Every alarm that is present, latched or silenced, as it stood when it was read.",
        {
            **_READ,
            "valid_until_utc_ms": _count("as in status"),
            **_instant("pump_now", "the pump's time when it was read"),
            "highest_tablet_priority": _or_null(_one_of(AlarmPriority, "the highest rank among them")),
            "present": _list("the alarms", _ALARM),
        },
    ),
    Kind.ALARM: (
        "One alarm was raised, has changed or is gone. Not retained: an event.",
        {
            **_READ,
            "event_sequence": _count("counts alarm and log messages of this gateway without a gap: a gap is a loss"),
            "change": _one_of(CHANGES, "what happened to it since the reading before"),
            "changed": _list("which keys of it differ (empty unless changed)", _text("key")),
            "alarm": _ALARM,
            **_instant("pump_now", "the pump's time when it was read"),
        },
    ),
    Kind.LOG: (
        "One record of the pump's event log. Not retained: an event.",
        {
            **_READ,
            "event_sequence": _count("as in alarm"),
            "log_sequence": _count("the record's own number, in the pump"),
            "boot_epoch": _count("how often the pump had started"),
            **_instant("at", "when it happened"),
            "code": _one_of(LogCode, "what happened"),
            "slot": _count("slot of the credential that did it"),
            "subject": _or_null(_text("which alarm, activity or reason it is about", pattern="^[a-z0-9_]+$")),
            "detail": _count("the number behind subject; elsewhere which program, filling, step or zone"),
            "value": _count("what it counts, in value_unit"),
            "value_unit": _or_null(_one_of(VALUE_UNITS, "unit of value; null: a plain number")),
        },
    ),
    Kind.LINK: (
        "Whether what is retained may be taken for the present; the broker says offline when the gateway is gone.",
        {
            "read_utc_ms": _or_null(_count("when the pump was read last; null: not by this gateway")),
            "said_utc_ms": _count("when this was said; of gateway_lost: when the connection began that has ended"),
            "state": _one_of(LINK_STATES, "online: the gateway reads the pump, and all before it is delivered"),
            "reason": _one_of(LINK_REASONS, "why"),
            "problem": _or_null(
                _object(
                    "why the pump cannot be read",
                    {"kind": _text("name of the error", shortest=1), "text": _text("what happened and what to do")},
                )
            ),
            "waiting_messages": _count("messages that waited in the spool when this was said"),
            "log_held_back": _yes("whether log records wait in the pump because the spool is full"),
            "lost_alarm_events": _count("alarm events that a full spool had to drop, ever; 0 is right"),
            "lost_log_records": _count("log records that the pump overwrote before they could be read, ever"),
            "spool_problem": _or_null(_text("why the spool cannot be written; what waits would not survive a crash")),
        },
    ),
}
NAMES: tuple[Kind, ...] = tuple(_BODIES)


def schema(kind: Kind) -> Fragment:
    """The JSON Schema (draft 2020-12) of one kind of message."""
    says, body = _BODIES[kind]
    keys: Fragment = {
        "schema": {"const": f"{PREFIX}{kind.value}", "description": "which schema"},
        "schema_version": {"const": VERSION, "description": "its version"},
        "message_id": _text(
            "the same for the same message however often it comes: filter doubles by it", pattern="^[ -~]{8,160}$"
        ),
        "sequence": _count("order of the messages of this gateway; a gap is a state that a newer one replaced"),
        **_SOURCE,
        **body,
    }
    return {
        "$schema": _DIALECT,
        "$id": f"urn:itb-telemetry:publish:{kind.value}:{VERSION}",
        "title": f"{PREFIX}{kind.value} version {VERSION}",
        **_object(says, keys),
    }


def schema_text(name: str) -> str:
    """One schema as the file has it; raises ``UsageError`` listing the names."""
    wanted = name.strip().lower()
    if wanted not in NAMES:
        raise UsageError(f"--schema: {name!r} is no message; one of: {', '.join(NAMES)}")
    return json.dumps(schema(Kind(wanted)), indent=2, ensure_ascii=False) + "\n"

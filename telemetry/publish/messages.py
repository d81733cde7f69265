"""Readings as messages: the keys of ``schema_table``, filled from the shared vocabulary. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telemetry.alarm_table import TABLE
from telemetry.log_meaning import subject, value_unit
from telemetry.model import AlarmPriority
from telemetry.publish.schema_table import PREFIX, VERSION
from telemetry.publish.topics import EVENTS, STATES, Kind
from telemetry.units import MS_PER_DAY, MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.interrogation import Interrogation
    from telemetry.model import Alarm, Identity, LogRecord, PumpStatus

_RANKS = (AlarmPriority.LOW, AlarmPriority.MEDIUM, AlarmPriority.HIGH)
_DIGEST_HEX = 16
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """What is to stand on a topic. ``sequence`` counts the messages of one gateway."""

    sequence: int
    kind: Kind
    topic: str
    payload: str

    @property
    def retain(self) -> bool:
        """Whether the broker is to keep it for those who come later."""
        return self.kind in STATES

    @property
    def event(self) -> bool:
        """Whether it happened once and is to arrive whatever comes after it."""
        return self.kind in EVENTS

    @property
    def size_bytes(self) -> int:
        """What it takes of the spool."""
        return len(self.payload.encode()) + len(self.topic)


@dataclass(frozen=True, slots=True)
class Source:
    """Whose message it is: the part that all messages share."""

    gateway_id: str
    model: str
    serial: str
    simulated: bool


def pump_key(who: Identity) -> str:
    """Which life of which pump: a name that tells nothing of the pump's id, and changes when its time begins anew."""
    return _digest(who.pump_id.hex(), who.serial, who.epoch_utc_s)


def log_message_id(key: str, record: LogRecord) -> str:
    """The id of a log record's message: of the record itself, so that whoever reads it makes the same."""
    content = _digest(key, *(str(part) for part in _record_parts(record)))
    return f"{key}.log.{record.sequence}.{content}"


def message_id(key: str, kind: Kind, gateway_id: str, sequence: int) -> str:
    """The id of any other message; its gateway made it once and keeps it until it is acknowledged."""
    return f"{key}.{kind.value}.{gateway_id}.{sequence}"


def render(kind: Kind, source: Source, identifier: str, sequence: int, body: Body) -> str:
    """The whole message as JSON text."""
    whole = {
        "schema": f"{PREFIX}{kind.value}",
        "schema_version": VERSION,
        "message_id": identifier,
        "sequence": sequence,
        "simulated": source.simulated,
        "gateway_id": source.gateway_id,
        "pump": {"model": source.model, "serial": source.serial},
        **body,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def identity_body(found: Interrogation) -> Body:
    """Who the pump is. Its id is a secret of the radio and is not told."""
    who = found.identity
    return {
        "read_utc_ms": found.read_utc_ms,
        "firmware": f"{who.firmware >> 16}.{who.firmware & 0xFFFF}",
        "reservoir_capacity_nl": who.reservoir_capacity_nl,
        "tubing_volume_nl": who.tubing_volume_nl,
        "catheter_volume_nl": who.catheter_volume_nl,
        "drug": who.drug.value,
        "drive": who.drive.value,
        "level_sensor": who.level_sensor,
        "calibration_ppm": who.calibration_ppm,
        **_instant("activated", who.activated_ms, who),
        "epoch_utc_s": who.epoch_utc_s,
    }


def status_body(found: Interrogation, valid_ms: int) -> Body:
    """What the pump says of itself; ``valid_ms`` after it was read it is old."""
    who, what, given = found.identity, found.status, found.delivery
    return {
        "read_utc_ms": found.read_utc_ms,
        "valid_until_utc_ms": found.read_utc_ms + valid_ms,
        **_instant("pump_now", what.now_ms, who),
        "pump_clock_utc_s": what.clock_utc_s,
        "pump_clock_zone_minutes": given.zone_minutes,
        "mode": what.mode.value,
        "activity": what.activity.value,
        **_instant("activity_ends", what.activity_ends_ms, who),
        "rate_nl_per_day": what.rate_nl_per_day,
        "dose_ng_per_day": what.dose_ng_per_day,
        "drug": what.drug.value,
        "concentration_ng_per_ml": what.concentration_ng_per_ml,
        "reservoir_nl": what.reservoir_nl,
        "reservoir_generation": what.reservoir_generation,
        **_instant("low_reservoir", what.low_reservoir_at_ms, who),
        **_instant("stopped_since", what.stopped_since_ms, who),
        "battery_percent": what.battery_percent,
        **_instant("replace_by", what.replace_by_ms, who),
        "alarms": [kind.value for kind in what.alarms],
        "program_sequence": what.program_sequence,
        "program_digest": what.program_digest.hex(),
        "boot_epoch": what.boot_epoch,
        "delivery": {
            "activity_volume_nl": given.activity_volume_nl,
            "activity_delivered_nl": given.activity_delivered_nl,
            "window_1h_nl": given.window_1h_nl,
            "window_4h_nl": given.window_4h_nl,
            "window_24h_nl": given.window_24h_nl,
            "window_24h_ng": given.window_24h_ng,
            "patient_boluses_24h": given.patient_boluses_24h,
        },
        "telemeter": {
            "serial": found.telemeter.serial,
            "battery_percent": found.telemeter.battery_percent,
            "coupling_bars": found.telemeter.coupling_bars,
        },
    }


def empties_in_ms(what: PumpStatus) -> int | None:
    """When the reservoir will be empty at the present rate; None while nothing flows."""
    return what.reservoir_nl * MS_PER_DAY // what.rate_nl_per_day if what.rate_nl_per_day > 0 else None


def alarm_body(alarm: Alarm, who: Identity, what: PumpStatus) -> Body:
    """One alarm with its rank and what each hearer is to do."""
    row = TABLE[alarm.kind]
    return {
        "kind": alarm.kind.value,
        "condition": row.condition,
        "alarm_class": alarm.alarm_class.value,
        "priority": alarm.priority.value,
        "tablet_priority": row.priority_at(empties_in_ms(what)).value,
        "condition_present": alarm.condition_present,
        "signal": alarm.signal.value,
        "enabled": alarm.enabled,
        "count": alarm.count,
        **_instant("since", alarm.since_ms, who),
        **_instant("silenced_until", alarm.silenced_until_ms, who),
        "advice": {
            "patient": row.advice.patient,
            "carer": row.advice.carer,
            "clinician": row.advice.clinician,
        },
    }


def alarms_body(found: Interrogation, present: Sequence[Body], valid_ms: int) -> Body:
    """All of them, as they stand."""
    ranks = [one["tablet_priority"] for one in present if one["condition_present"]]
    return {
        "read_utc_ms": found.read_utc_ms,
        "valid_until_utc_ms": found.read_utc_ms + valid_ms,
        **_instant("pump_now", found.status.now_ms, found.identity),
        "highest_tablet_priority": max(ranks, key=_RANKS.index, default=None),
        "present": list(present),
    }


def event_body(found: Interrogation, alarm: Body, change: str, changed: Sequence[str], event_sequence: int) -> Body:
    """One alarm was raised, has changed or is gone."""
    return {
        "read_utc_ms": found.read_utc_ms,
        "event_sequence": event_sequence,
        "change": change,
        "changed": list(changed),
        "alarm": alarm,
        **_instant("pump_now", found.status.now_ms, found.identity),
    }


def log_body(found: Interrogation, record: LogRecord, event_sequence: int) -> Body:
    """One record of the pump's log."""
    return {
        "read_utc_ms": found.read_utc_ms,
        "event_sequence": event_sequence,
        "log_sequence": record.sequence,
        "boot_epoch": record.boot_epoch,
        **_instant("at", record.at_ms, found.identity),
        "code": record.code.value,
        "slot": record.slot,
        "subject": subject(record),
        "detail": record.detail,
        "value": record.value,
        "value_unit": value_unit(record),
    }


def _instant(name: str, at_ms: int | None, who: Identity) -> Body:
    utc_ms = None if at_ms is None else who.epoch_utc_s * MS_PER_SECOND + at_ms
    return {f"{name}_ms": at_ms, f"{name}_utc_ms": utc_ms}


def _record_parts(record: LogRecord) -> tuple[object, ...]:
    return (
        record.sequence,
        record.boot_epoch,
        record.at_ms,
        record.code.value,
        record.slot,
        record.detail,
        record.value,
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:_DIGEST_HEX]

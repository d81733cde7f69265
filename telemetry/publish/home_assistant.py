"""Home Assistant's MQTT discovery of a pump: one retained message a pump, in the form that describes a whole device.

Keys and their meaning: Home Assistant's MQTT integration (``homeassistant/components/mqtt/schemas.py``: device, origin,
components; known since its release 2024.11). Everything is a sensor or a binary sensor: nothing of it can command.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from telemetry.alarm_table import PUMP_ROWS
from telemetry.model import Activity, AlarmPriority, PumpMode
from telemetry.publish.topics import Kind

if TYPE_CHECKING:
    from telemetry.publish.memory import Current
    from telemetry.publish.topics import Topics

PREFIX = "homeassistant"
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
"""What a discovery topic may not hold in the place of the device (its documentation)."""
_UTC = "| timestamp_custom('%Y-%m-%dT%H:%M:%S+00:00', false)"
_NONE = "none"
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Sensor:
    """A number or word of a state. ``template`` finds it in the message."""

    name: str
    label: str
    kind: Kind
    template: str
    unit: str = ""
    device_class: str = ""
    state_class: str = ""
    options: tuple[str, ...] = ()
    category: str = ""
    icon: str = ""


def _instant(key: str) -> str:
    return f"{{{{ (value_json.{key} / 1000) {_UTC} if value_json.{key} is not none else 'None' }}}}"


_SENSORS = (
    _Sensor("mode", "Mode", Kind.STATUS, "{{ value_json.mode }}", device_class="enum", options=tuple(PumpMode)),
    _Sensor(
        "activity", "Activity", Kind.STATUS, "{{ value_json.activity }}", device_class="enum", options=tuple(Activity)
    ),
    _Sensor(
        "reservoir",
        "Reservoir",
        Kind.STATUS,
        "{{ value_json.reservoir_nl / 1000000 }}",
        unit="mL",
        device_class="volume_storage",
        state_class="measurement",
    ),
    _Sensor(
        "rate",
        "Rate",
        Kind.STATUS,
        "{{ value_json.rate_nl_per_day / 1000000 }}",
        unit="mL/d",
        state_class="measurement",
        icon="mdi:water-pump",
    ),
    _Sensor(
        "dose",
        "Dose",
        Kind.STATUS,
        "{{ value_json.dose_ng_per_day / 1000 }}",
        unit="µg/d",
        state_class="measurement",
        icon="mdi:needle",
    ),
    _Sensor(
        "dose_24h",
        "Dose in the last 24 hours",
        Kind.STATUS,
        "{{ value_json.delivery.window_24h_ng / 1000 }}",
        unit="µg",
        state_class="measurement",
        icon="mdi:needle",
    ),
    _Sensor(
        "battery",
        "Battery",
        Kind.STATUS,
        "{{ value_json.battery_percent }}",
        unit="%",
        device_class="battery",
        state_class="measurement",
    ),
    _Sensor("replace_by", "Replace by", Kind.STATUS, _instant("replace_by_utc_ms"), device_class="timestamp"),
    _Sensor(
        "low_reservoir_at",
        "Low reservoir expected",
        Kind.STATUS,
        _instant("low_reservoir_utc_ms"),
        device_class="timestamp",
    ),
    _Sensor(
        "read_at", "Read at", Kind.STATUS, _instant("read_utc_ms"), device_class="timestamp", category="diagnostic"
    ),
    _Sensor(
        "highest_alarm",
        "Highest alarm",
        Kind.ALARMS,
        f"{{{{ value_json.highest_tablet_priority or '{_NONE}' }}}}",
        device_class="enum",
        options=(_NONE, *AlarmPriority),
    ),
)


def discovery_topic(topics: Topics) -> str:
    """Where the device is announced; one a place."""
    return f"{PREFIX}/device/{_identifier(topics)}/config"


def discovery(current: Current, topics: Topics, *, valid_ms: int) -> str:
    """The announcement as JSON text; states are unavailable while the link is not online, and after ``valid_ms``."""
    identifier = _identifier(topics)
    expires_s = max(1, valid_ms // 1000)
    components: dict[str, Component] = {one.name: _sensor(one, identifier, topics, expires_s) for one in _SENSORS}
    for row in PUMP_ROWS:
        components[f"alarm_{row.kind.value}"] = _alarm(row.kind.value, identifier, topics, expires_s)
    components["link"] = _link(identifier, topics)
    simulated = "SIMULATED " if current.simulated else ""
    whole = {
        "device": {
            "identifiers": [identifier],
            "name": f"{simulated}pump {topics.place}",
            "manufacturer": f"{simulated}itb-telemetry",
            "model": current.model,
            "serial_number": current.serial,
        },
        "origin": {"name": "itb-telemetry", "sw_version": metadata.version("itb-telemetry")},
        "components": components,
        "qos": 1,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _sensor(one: _Sensor, identifier: str, topics: Topics, expires_s: int) -> Component:
    found = {
        **_common("sensor", one.name, one.label, identifier),
        **_availability(topics),
        "state_topic": topics.of(one.kind),
        "value_template": one.template,
        "expire_after": expires_s,
    }
    named = {
        "unit_of_measurement": one.unit,
        "device_class": one.device_class,
        "state_class": one.state_class,
        "entity_category": one.category,
        "icon": one.icon,
    }
    found |= {key: value for key, value in named.items() if value}
    if one.options:
        found["options"] = [str(option) for option in one.options]
    return found


def _alarm(kind: str, identifier: str, topics: Topics, expires_s: int) -> Component:
    holds = f"value_json.present | selectattr('kind', 'eq', '{kind}') | list"
    return {
        **_common("binary_sensor", f"alarm_{kind}", f"Alarm: {kind.replace('_', ' ')}", identifier),
        **_availability(topics),
        "state_topic": topics.of(Kind.ALARMS),
        "value_template": f"{{{{ 'ON' if {holds} else 'OFF' }}}}",
        "device_class": "problem",
        "expire_after": expires_s,
    }


def _link(identifier: str, topics: Topics) -> Component:
    """Always available: what it says is whether the others are."""
    return {
        **_common("binary_sensor", "link", "Link", identifier),
        "state_topic": topics.of(Kind.LINK),
        "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "json_attributes_topic": topics.of(Kind.LINK),
    }


def _common(platform: str, name: str, label: str, identifier: str) -> Component:
    return {"platform": platform, "unique_id": f"{identifier}_{name}", "name": label}


def _availability(topics: Topics) -> Component:
    return {
        "availability": [
            {
                "topic": topics.of(Kind.LINK),
                "value_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
            }
        ]
    }


def _identifier(topics: Topics) -> str:
    """A name for the device that a discovery topic may hold; different places stay different."""

    def code(match: re.Match[str]) -> str:
        return f"_{ord(match[0]):x}_"

    return "itb_" + "-".join(_UNSAFE.sub(code, part) for part in (topics.site, topics.place))

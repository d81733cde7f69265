"""Home Assistant's discovery: keys that it documents, templates that find what the messages say, nothing to command."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jinja2
import pytest

from telemetry.alarm_table import PUMP_ROWS
from telemetry.publish import home_assistant
from telemetry.publish.memory import Current
from telemetry.publish.topics import Topics

if TYPE_CHECKING:
    from tests.publish.conftest import Ward

# From Home Assistant's own code (homeassistant/components/mqtt: schemas.py, sensor.py, binary_sensor.py, const.py).
DEVICE_KEYS = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
WHOLE_KEYS = {
    "availability", "availability_mode", "availability_template", "availability_topic", "components", "device",
    "encoding", "origin", "payload_available", "payload_not_available", "qos", "state_topic",
}  # fmt: skip
COMMON_KEYS = {
    "availability", "availability_mode", "device_class", "enabled_by_default", "encoding", "entity_category",
    "entity_picture", "expire_after", "force_update", "icon", "json_attributes_template", "json_attributes_topic",
    "name", "platform", "qos", "state_topic", "unique_id", "value_template",
}  # fmt: skip
SENSOR_KEYS = COMMON_KEYS | {
    "last_reset_value_template", "options", "state_class", "suggested_display_precision", "unit_of_measurement",
}  # fmt: skip
BINARY_KEYS = COMMON_KEYS | {"off_delay", "payload_off", "payload_on"}
UNITS: dict[str, set[str | None]] = {
    "volume_storage": {"mL", "L", "m³"},
    "battery": {"%"},
    "timestamp": {None},
    "enum": {None},
}
BINARY_CLASSES = {"problem", "connectivity"}
CURRENT = Current("key", "SIMULATED ITB-40", "SIM-0001", simulated=True, read_utc_ms=0)
TOPICS = Topics("ward-7", "SIM-0001")


def announced() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home_assistant.discovery(CURRENT, TOPICS, valid_ms=10_000))
    return found


def rendered(template: str, message: dict[str, Any]) -> str:
    """As Home Assistant renders it; its filter for instants stands beside Jinja's own."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - no page
    environment.filters["timestamp_custom"] = lambda s, form, _local: datetime.fromtimestamp(s, UTC).strftime(form)
    return environment.from_string(template).render(value_json=message)


def test_only_documented_keys_are_used() -> None:
    found = announced()
    assert set(found) <= WHOLE_KEYS
    assert set(found["device"]) <= DEVICE_KEYS
    assert set(found["origin"]) <= ORIGIN_KEYS
    for one in found["components"].values():
        assert one["platform"] in {"sensor", "binary_sensor"}
        assert set(one) <= (SENSOR_KEYS if one["platform"] == "sensor" else BINARY_KEYS)
        assert {"unique_id", "state_topic", "value_template"} <= set(one)
        if one["platform"] == "sensor" and "device_class" in one:
            assert one.get("unit_of_measurement") in UNITS[one["device_class"]]
        if one["platform"] == "binary_sensor":
            assert one["device_class"] in BINARY_CLASSES
        assert ("options" in one) == (one.get("device_class") == "enum")
        assert "state_class" not in one or "options" not in one


def test_every_component_is_told_apart_and_every_alarm_has_one() -> None:
    components = announced()["components"]
    assert len({one["unique_id"] for one in components.values()}) == len(components)
    assert {f"alarm_{row.kind.value}" for row in PUMP_ROWS} <= set(components)


def test_nothing_of_it_can_command() -> None:
    assert "command" not in json.dumps(announced())


def test_a_person_sees_that_it_is_simulated() -> None:
    assert announced()["device"]["name"].startswith("SIMULATED")


def test_the_topic_holds_only_what_may_stand_there() -> None:
    odd = Topics("ward.7", "a=20b")
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", home_assistant.discovery_topic(odd))
    places = [Topics("a", "b.c"), Topics("a", "b_c"), Topics("a.b", "c"), Topics("a", "b-c"), Topics("a-b", "c")]
    assert len({home_assistant.discovery_topic(one) for one in places[:3]}) == 3


@pytest.mark.virtual
async def test_the_templates_find_what_the_messages_say(ward: Ward) -> None:
    ward.options["extras"] = lambda current, topics: [
        (home_assistant.discovery_topic(topics), home_assistant.discovery(current, topics, valid_ms=10_000))
    ]
    ward.start()
    ward.bedside.pump.inject("motor_stall")
    ward.bedside.pump.advance(hours=1)
    await ward.look()
    found = json.loads(ward.broker.retained["homeassistant/device/itb_ward-7-SIM-0001/config"])
    seen: dict[str, str] = {}
    for name, one in found["components"].items():
        message = json.loads(ward.broker.retained[one["state_topic"]])
        seen[name] = rendered(one["value_template"], message)
        for source in one.get("availability", ()):
            link = json.loads(ward.broker.retained[source["topic"]])
            assert rendered(source["value_template"], link) == "online"
        if "options" in one:
            assert seen[name] in one["options"]
    status = ward.broker.state("status")
    assert float(seen["reservoir"]) * 1_000_000 == pytest.approx(status["reservoir_nl"])
    assert float(seen["dose"]) * 1_000 == pytest.approx(status["dose_ng_per_day"])
    assert seen["alarm_motor_stall"] == seen["link"] == "ON"
    assert seen["alarm_memory_error"] == "OFF"
    assert seen["highest_alarm"] == "high"
    read_at = datetime.fromisoformat(seen["read_at"])
    assert int(read_at.timestamp()) == status["read_utc_ms"] // 1000
    await ward.stop()
    link = ward.broker.state("link")
    assert rendered(found["components"]["link"]["value_template"], link) == "OFF"
    (source,) = found["components"]["mode"]["availability"]
    assert rendered(source["value_template"], link) == "offline"

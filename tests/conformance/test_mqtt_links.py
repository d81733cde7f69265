"""The byte tunnel holds to the suite, through mosquitto and through the embedded broker."""

from __future__ import annotations

import pytest

from tests.conformance.links import MQTT_EMBEDDED, MQTT_MOSQUITTO
from tests.conformance.suite import conforming

pytestmark = pytest.mark.real

TestThroughMosquitto = conforming(MQTT_MOSQUITTO)
TestThroughTheEmbeddedBroker = conforming(MQTT_EMBEDDED)

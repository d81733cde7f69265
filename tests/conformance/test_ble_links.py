"""Bluetooth LE over the in-process radio holds to the suite, at the smallest and the largest MTU."""

from __future__ import annotations

import pytest

from tests.conformance.links import BLE_23, BLE_517
from tests.conformance.suite import conforming

pytestmark = pytest.mark.real

TestBleMtu23 = conforming(BLE_23)
TestBleMtu517 = conforming(BLE_517)

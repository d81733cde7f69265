"""All bad devices, in the order of the steps that must find them."""

from __future__ import annotations

from telemetry.conform.bad.devices import BAD_INSIDE
from telemetry.conform.bad.wire_devices import BAD_ON_THE_WIRE

BAD_DEVICES = tuple(sorted((*BAD_INSIDE, *BAD_ON_THE_WIRE), key=lambda bad: (int(bad.step[2:]), bad.name)))
"""Every bad device, with the step that must find it."""

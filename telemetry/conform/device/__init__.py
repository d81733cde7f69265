"""Conformance of a device: numbered steps D-nn for whatever speaks ITP/1, driven frame by frame and by our driver."""

from __future__ import annotations

from telemetry.conform.device import (
    changes,
    conversation,
    driven,
    framing,
    handshake,
    operations,
    ranges,
    rights,
    telling,
)
from telemetry.conform.device.bench import Bench
from telemetry.conform.device.catalogue import CATALOGUE, FEATURES
from telemetry.conform.device.kit import DeviceKit, Found, StationTarget, UrlTarget, own_device
from telemetry.conform.device.running import run_device

_MODULES = (framing, handshake, conversation, rights, telling, ranges, changes, operations, driven)
"""Importing them declares their steps."""

__all__ = [
    "CATALOGUE",
    "FEATURES",
    "Bench",
    "DeviceKit",
    "Found",
    "StationTarget",
    "UrlTarget",
    "own_device",
    "run_device",
]

"""Conformance of a subscriber to the broker: numbered steps S-nn for whatever shows what is published there."""

from __future__ import annotations

from telemetry.conform.subscriber import steps
from telemetry.conform.subscriber.catalogue import CATALOGUE, FEATURES
from telemetry.conform.subscriber.dashboard import Dashboard
from telemetry.conform.subscriber.kit import run_own_subscriber, run_subscriber

_MODULES = (steps,)
"""Importing it declares its steps."""

__all__ = ["CATALOGUE", "FEATURES", "Dashboard", "run_own_subscriber", "run_subscriber"]

"""The driver layer: ``connect`` gives a ``Programmer``."""

from __future__ import annotations

from telemetry.programmer.blocking import BlockingProgrammer, connect_sync
from telemetry.programmer.client import Programmer
from telemetry.programmer.opening import Connecting, connect
from telemetry.programmer.records import Outcome, Proposal

__all__ = ["BlockingProgrammer", "Connecting", "Outcome", "Programmer", "Proposal", "connect", "connect_sync"]

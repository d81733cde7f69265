"""The secure channel, both ends: from PROBE to CLOSE, sans-IO. Frames and *now* go in; frames and events come out.

Time is link time in whole milliseconds and never runs backwards; entropy is a function from a number of bytes to
that many. Neither end does I/O, reads a clock or draws randomness by itself.
"""

from __future__ import annotations

from telemetry.protocol.channel_types import (
    AcceptFacts,
    Answered,
    ChannelEvent,
    Closed,
    CloseReason,
    Counters,
    Direction,
    Failed,
    Opened,
    SessionInfo,
    Tap,
)
from telemetry.protocol.exchange import LinkPolicy
from telemetry.protocol.programmer_channel import ProgrammerChannel
from telemetry.protocol.pump_channel import PumpChannel
from telemetry.protocol.session import SessionKeys

__all__ = [
    "AcceptFacts",
    "Answered",
    "ChannelEvent",
    "CloseReason",
    "Closed",
    "Counters",
    "Direction",
    "Failed",
    "LinkPolicy",
    "Opened",
    "ProgrammerChannel",
    "PumpChannel",
    "SessionInfo",
    "SessionKeys",
    "Tap",
]

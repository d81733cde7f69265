"""The numbered steps of a device: who holds them, what a device may claim, and the sources they cite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.results import Subject
from telemetry.conform.steps import Catalogue, Source

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench

FEATURES = {
    "itp/1": "It speaks ITP/1: frames, handshake, session, reading.",
    "stream": "The link carries bytes, not datagrams; found out by the kit.",
    "roles": "Credentials of every role are at hand, as they are for a test device.",
    "changes": "Its therapy may be changed: a test device, or any other with --arm.",
    "bolus": "It gives boluses.",
    "schedule": "It takes a schedule of the day (mode flex).",
    "long": "Steps of ten minutes of link time are wanted; on the host's clock only if said.",
}
"""What a device may claim, and what steps need."""

CATALOGUE: Catalogue[Bench] = Catalogue(Subject.DEVICE, FEATURES)
"""All steps of a device, D-01 on; importing ``telemetry.conform.device`` fills it."""


def itp(section: str) -> Source:
    """A chapter of docs/protocol.md."""
    return Source("protocol.md", section)


def trust(section: str) -> Source:
    """A section of the design study on trust."""
    return Source("trust.md", section)


def domain(section: str) -> Source:
    """A section of the design study of the domain."""
    return Source("domain.md", section)


BASE = ("itp/1",)
CHANGING = ("itp/1", "changes")
STREAMED = ("itp/1", "stream")

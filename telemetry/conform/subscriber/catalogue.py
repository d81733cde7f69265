"""The numbered steps of a subscriber: what it may claim, and every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.results import Subject
from telemetry.conform.steps import Catalogue, Source

if TYPE_CHECKING:
    from telemetry.conform.subscriber.bench import SubscriberBench

FEATURES = {
    "values": "shows rate, dose and reservoir of a pump",
    "alarms": "shows the pump's alarms with their priority",
    "log": "shows the pump's log",
    "connection": "shows whether what it shows is the present",
}

CATALOGUE: Catalogue[SubscriberBench] = Catalogue(Subject.SUBSCRIBER, FEATURES)
"""All steps of a subscriber; importing ``telemetry.conform.subscriber`` fills it."""


def told(section: str) -> Source:
    """A chapter of docs/publish.md."""
    return Source("docs/publish.md", section)


def domain(section: str) -> Source:
    """A section of the design study of the domain."""
    return Source("domain.md", section)

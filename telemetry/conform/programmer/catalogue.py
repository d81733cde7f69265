"""The catalogue of a programmer's steps: its features, its sources, and every step of the modules below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.results import Subject
from telemetry.conform.steps import Catalogue, Source

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

FEATURES = {
    "read": "interrogates a pump and shows what it says",
    "clock_shown": "shows the pump's clock",
    "activity_shown": "shows what runs on top of the program",
    "log": "reads the pump's log",
    "change": "changes the rate or the daily dose",
    "soft_limits": "lets a person accept a pump's warning",
    "bolus": "gives a bolus",
    "prime": "primes",
    "refill": "tells the pump of a refill",
    "patient_bolus": "can ask for the patient's own bolus",
    "set_clock": "sets the pump's clock",
    "stop": "stops the pump",
    "resume": "lets a stopped pump go on",
    "restart": "can be switched off and on in the middle of a change",
    "alarms": "shows the pump's alarms with their priority",
    "silence": "silences alarms",
    "acknowledge": "acknowledges alarms",
    "follow": "looks at the pump by itself while nobody touches it",
}

PROGRAMMER: Catalogue[Bench] = Catalogue(Subject.PROGRAMMER, FEATURES)


def domain(section: str) -> Source:
    """A section of the domain facts."""
    return Source("domain.md", section)


def trust(section: str) -> Source:
    """A section of the trust study."""
    return Source("trust.md", section)


def itp(section: str) -> Source:
    """A section of the protocol."""
    return Source("docs/protocol.md", section)


def iec(section: str) -> Source:
    """A standard, by way of the domain facts that quote it."""
    return Source("IEC 60601-1-8 (by domain.md)", section)


def programmer_steps() -> Catalogue[Bench]:
    """The whole catalogue."""
    from telemetry.conform.programmer import (  # noqa: F401, PLC0415 - importing them declares their steps
        alarms,
        doses,
        links,
        outcomes,
        reading,
        refusals,
        reviewing,
        units,
    )

    return PROGRAMMER


__all__ = ["FEATURES", "PROGRAMMER", "domain", "iec", "itp", "programmer_steps", "trust"]

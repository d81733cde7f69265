"""Where on a broker a pump stands: ``SITE/pump/PLACE/…``, and how ``--to`` names it.

``--to mqtt://host[:port]/SITE[/PLACE][?…]``; without PLACE the pump's own serial stands there. What follows the ``?``
is the broker's (``telemetry.transport.mqtt_broker``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from telemetry.errors import UsageError

_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_SCHEMES = ("mqtt", "mqtts")
EXAMPLE = "mqtt://127.0.0.1:1883/ward-7 or mqtts://broker.example/ward-7/bed-12"


class Kind(StrEnum):
    """What a message is about; also the last part of its topic, but for an alarm's (``alarm/motor_stall``)."""

    IDENTITY = "identity"
    STATUS = "status"
    ALARMS = "alarms"
    ALARM = "alarm"
    LOG = "log"
    LINK = "link"
    DISCOVERY = "discovery"


STATES = frozenset({Kind.IDENTITY, Kind.STATUS, Kind.ALARMS, Kind.LINK, Kind.DISCOVERY})
"""Told as they are now: retained, and a newer one takes the place of an older one that still waits."""
EVENTS = frozenset({Kind.ALARM, Kind.LOG})
"""Happened once: never retained, and each is to arrive."""


@dataclass(frozen=True, slots=True)
class Destination:
    """``--to`` taken apart. ``broker`` is the same URL without the site; without ``place`` the serial stands there."""

    broker: str
    site: str
    place: str

    def topics(self, serial: str) -> Topics:
        """The topics of a pump."""
        return Topics(self.site, self.place or level(serial))


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one pump at one site."""

    site: str
    place: str

    @property
    def root(self) -> str:
        """What all of them begin with."""
        return f"{self.site}/pump/{self.place}"

    def of(self, kind: Kind, name: str = "") -> str:
        """The topic of one kind of message; ``name`` is the alarm's."""
        return f"{self.root}/{kind.value}/{name}" if name else f"{self.root}/{kind.value}"


def parse_destination(text: str, *, option: str = "--to") -> Destination:
    """Read ``option``, the URL of a broker and a site; raises ``UsageError`` that names the part which cannot be."""
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in _SCHEMES:
        raise UsageError(f"{option}: {text!r} is no broker; right would be {EXAMPLE}")
    before, question, query = rest.partition("?")
    host, *levels = before.split("/")
    if not host:
        raise UsageError(f"{option}: {text!r} names no host; right would be {EXAMPLE}")
    if not levels or levels == [""]:
        raise UsageError(f"{option}: {text!r} names no site, the first part of every topic; right would be {EXAMPLE}")
    if len(levels) > 2:
        raise UsageError(
            f"{option}: {text!r} has {len(levels)} parts behind the host; at most SITE/PLACE, as in {EXAMPLE}"
        )
    for what, part in zip(("site", "place"), levels, strict=False):
        if not _LEVEL.fullmatch(part):
            raise UsageError(
                f"{option}: {what} {part!r} cannot stand in a topic here; 1 to 64 letters, digits, '.', '_' and '-', "
                "the first a letter or digit"
            )
    site, place = [*levels, ""][:2]
    return Destination(f"{scheme.lower()}://{host}{question}{query}", site, place)


def level(text: str) -> str:
    """Any text as one part of a topic: what a topic cannot hold becomes ``=`` and its bytes in hexadecimal; total."""
    made = "".join(one if one in _KEPT else "".join(f"={byte:02X}" for byte in one.encode()) for one in text)
    return made or "="

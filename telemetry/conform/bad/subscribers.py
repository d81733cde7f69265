"""Bad subscribers: the reference dashboard but for one thing each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from telemetry.conform.bad.declaring import Bad
from telemetry.conform.subscriber.dashboard import Dashboard
from telemetry.model import AlarmKind
from telemetry.units import DailyDose

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.operator import Answer

    Body = dict[str, Any]

# Each class says what its methods do wrong.
# ruff: noqa: D102


class NoUnits(Dashboard):
    """Shows bare numbers."""

    def value(self, key: str, unit: Callable[[int], object]) -> str:
        return super().value(key, unit).split(" ", 1)[0]


class NotMarked(Dashboard):
    """Does not say that the pump is simulated."""

    def show_simulated(self) -> str:
        return ""


class FirstStatusOnly(Dashboard):
    """Takes the retained status and no other."""

    def newer(self, kind: str, body: Body) -> bool:
        return kind not in self.state if kind == "status" else super().newer(kind, body)


class AnyStatus(Dashboard):
    """Takes whatever status came last for the newest."""

    def newer(self, kind: str, body: Body) -> bool:
        return True if kind == "status" else super().newer(kind, body)


class NeverOld(Dashboard):
    """Does not look at valid_until."""

    def stale(self, body: Body) -> str:
        return super().stale(body) if self.offline() else ""


class NoWill(Dashboard):
    """Takes no notice of the publisher's will."""

    def take(self, kind: str, body: Body) -> None:
        if body.get("reason") != "gateway_lost":
            super().take(kind, body)


class NoProblem(Dashboard):
    """Takes a gateway that is there for a pump that is read."""

    def take(self, kind: str, body: Body) -> None:
        if body.get("state") != "pump_not_read":
            super().take(kind, body)


class LowForHigh(Dashboard):
    """Shows every alarm with the same, low, rank."""

    def alarm_line(self, alarm: Body) -> str:
        return super().alarm_line(alarm | {"tablet_priority": "low"})


class EventsOnly(Dashboard):
    """Knows alarms from their events alone, and so not those that were there before."""

    def take(self, kind: str, body: Body) -> None:
        before = dict(self.alarms)
        super().take(kind, body)
        if kind == "alarms":
            self.alarms = before


class NothingClears(Dashboard):
    """Lets cleared alarms stand."""

    def take_alarm(self, body: Body) -> None:
        super().take_alarm(body | {"change": "raised"})


class SilencedIsGone(Dashboard):
    """Leaves silenced alarms out."""

    def alarm_line(self, alarm: Body) -> str:
        return "" if alarm["signal"] == "silenced" else super().alarm_line(alarm)


class KnownKindsOnly(Dashboard):
    """Leaves alarms out that it does not know."""

    def alarm_line(self, alarm: Body) -> str:
        return super().alarm_line(alarm) if alarm["kind"] in set(AlarmKind) else ""


class Doubles(Dashboard):
    """Shows a message as often as it comes."""

    def arrived(self, topic: str, payload: bytes) -> None:
        self.seen.clear()
        super().arrived(topic, payload)


class NoGap(Dashboard):
    """Does not notice that an event is missing."""

    def count(self, body: Body) -> None:
        pass


class AnyVersion(Dashboard):
    """Reads every version as its own."""

    def read(self, topic: str, payload: bytes) -> Body | None:
        try:
            return super().read(topic, json.dumps(json.loads(payload) | {"schema_version": 1}).encode())
        except (ValueError, TypeError, RecursionError):
            return None


class GivesUpOnGarbage(Dashboard):
    """Stops listening at the first thing that it does not understand."""

    broken = False

    async def connect(self) -> Answer:
        self.broken = False
        return await super().connect()

    def arrived(self, topic: str, payload: bytes) -> None:
        if not self.broken:
            super().arrived(topic, payload)
            self.broken = bool(self.unread)


class MixesPumps(Dashboard):
    """Shows values under the name that it read first."""

    def other_pump(self, body: Body) -> None:
        pass


class MicroAsMilli(Dashboard):
    """Shows micrograms as milligrams."""

    def value(self, key: str, unit: Callable[[int], object]) -> str:
        text = super().value(key, unit)
        return text.replace("µg", "mg") if unit is DailyDose else text


BAD_SUBSCRIBERS: tuple[Bad[Dashboard], ...] = (
    Bad("bare numbers", "shows numbers without units", "S-01", NoUnits),
    Bad("µg as mg", "shows micrograms as milligrams", "S-01", MicroAsMilli),
    Bad("not marked", "does not say that the pump is simulated", "S-02", NotMarked),
    Bad("first status only", "takes the retained status and no other", "S-03", FirstStatusOnly),
    Bad("any status", "takes an older status for the newest", "S-04", AnyStatus),
    Bad("never old", "does not mark what is out of date", "S-05", NeverOld),
    Bad("no will", "does not see that the publisher is gone", "S-06", NoWill),
    Bad("no problem", "does not see that the pump is not read", "S-07", NoProblem),
    Bad("low for high", "ranks every alarm low", "S-08", LowForHigh),
    Bad("events only", "misses alarms that were there before it", "S-09", EventsOnly),
    Bad("nothing clears", "lets cleared alarms stand", "S-10", NothingClears),
    Bad("silenced is gone", "leaves silenced alarms out", "S-11", SilencedIsGone),
    Bad("known kinds only", "hides alarms that it does not know", "S-12", KnownKindsOnly),
    Bad("doubles", "shows a message as often as it comes", "S-13", Doubles),
    Bad("no gap", "does not tell that an event is missing", "S-14", NoGap),
    Bad("any version", "reads every version as its own", "S-15", AnyVersion),
    Bad("gives up on garbage", "stops at what it does not understand", "S-16", GivesUpOnGarbage),
    Bad("mixes pumps", "shows values under another pump's name", "S-17", MixesPumps),
)
"""Every bad subscriber, with the step that must find it."""

"""The reference subscriber: a dashboard of one pump, small, and right about what it does not know.

An ``Operator``: the kit asks it what it shows. Small methods, so that a bad one differs in one of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.errors import LinkError
from telemetry.model import AlarmPriority
from telemetry.publish.schema_table import PREFIX, VERSION, schema
from telemetry.publish.topics import Kind
from telemetry.units import MS_PER_SECOND, Concentration, DailyDose, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.subscriber.bus import Feed

    Body = dict[str, Any]

OUT_OF_DATE, OFFLINE, NOT_READ = "OUT OF DATE", "OFFLINE", "PUMP NOT READ"
_KINDS = ("identity", "status", "alarms", "alarm", "log", "link")
_TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_RANKS = {priority.value: rank for rank, priority in enumerate((*reversed(AlarmPriority),))}


_IN_SIGHT = (
    Field.SIMULATED,
    Field.IDENTITY,
    Field.CONNECTION,
    Field.FRESHNESS,
    Field.MODE,
    Field.DOSE,
    Field.RATE,
    Field.RESERVOIR,
    Field.ALARMS,
    Field.LOG,
)


def fits(value: object, wanted: Body) -> bool:
    """Whether a value has the types and the keys of a schema; a name that no table has is let through, to be shown."""
    types = wanted.get("type", [])
    names = [types] if isinstance(types, str) else types
    if names and not any(_is(value, name) for name in names):
        return False
    if isinstance(value, dict):
        keys: Body = wanted.get("properties", {})
        return all(key in value for key in wanted.get("required", ())) and all(
            fits(value[key], one) for key, one in keys.items() if key in value
        )
    return not isinstance(value, list) or all(fits(one, wanted.get("items", {})) for one in value)


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


class Dashboard:
    """Shows one pump. ``topic`` is its root (``SITE/pump/PLACE``); ``utc_ms`` tells the host's time."""

    def __init__(self, feed: Feed, topic: str, utc_ms: Callable[[], int]) -> None:
        self._feed = feed
        self._topic = topic
        self._utc_ms = utc_ms
        self.problem = ""
        self.state: dict[str, Body] = {}
        """The newest message of each kind that is a state."""
        self.alarms: dict[str, Body] = {}
        self.log: list[str] = []
        self.seen: set[str] = set()
        self.next_event: int | None = None
        self.lost_events = 0
        self.unread = 0

    # --- operator ----------------------------------------------------------------------------------------------------

    async def begin(self, number: str, title: str) -> None:
        """A working day begins: switched off, nothing on the screen."""
        del number, title
        await self._feed.close()
        self._clear()

    async def do(self, act: Act) -> Answer:
        """Do one act."""
        if act.kind is ActKind.RESTART:
            return await self.connect()
        if act.kind is ActKind.SHOW:
            text = self.show(act.field)
            return Answer(AnswerKind.SHOWN, text) if text else Answer(AnswerKind.NOTHING)
        if act.kind is ActKind.LEAVE:
            await self._feed.close()
            return Answer(AnswerKind.DONE)
        return Answer(AnswerKind.UNABLE)

    async def end(self, number: str, verdict: str) -> None:
        """The day ends."""
        del number, verdict
        await self._feed.close()

    async def close(self) -> None:
        """Switch it off."""
        await self._feed.close()

    async def connect(self) -> Answer:
        """Off and on again: connect, and begin with what the broker retains."""
        await self._feed.close()
        self._clear()
        try:
            await self._feed.open(f"{self._topic}/#", self.arrived, self.lost)
        except LinkError as error:
            self.problem = str(error)
        return Answer(AnswerKind.DONE, self.problem)

    def _clear(self) -> None:
        self.problem = ""
        self.state, self.alarms, self.log, self.seen = {}, {}, [], set()
        self.next_event, self.lost_events, self.unread = None, 0, 0

    # --- what comes --------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The broker is gone."""
        self.problem = "no connection to the broker"

    def arrived(self, topic: str, payload: bytes) -> None:
        """Take a message; what cannot be understood is counted and told, and nothing else."""
        if not payload:
            return  # somebody took a retained message away
        body = self.read(topic, payload)
        if body is None:
            self.unread += 1
            return
        if body["message_id"] in self.seen:
            return
        self.seen.add(body["message_id"])
        self.take(body["schema"].removeprefix(PREFIX), body)

    def read(self, topic: str, payload: bytes) -> Body | None:
        """The message, or None for one that this dashboard does not understand."""
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict) or body.get("schema_version") != VERSION:
            return None
        kind = str(body.get("schema", "")).removeprefix(PREFIX)
        within = topic.removeprefix(f"{self._topic}/").split("/")[0]
        if kind not in _KINDS or kind != within or not fits(body, schema(Kind(kind))):
            return None
        return body

    def take(self, kind: str, body: Body) -> None:
        """Put a new message where it belongs; an older state never takes the place of a newer one."""
        if kind in {"alarm", "log"}:
            self.count(body)
        if kind == "alarm":
            self.take_alarm(body)
        elif kind == "log":
            self.log.append(f"{body['log_sequence']} {body['code'].replace('_', ' ')}")
        elif self.newer(kind, body):
            if kind != "link":
                self.other_pump(body)
            self.state[kind] = body
            if kind == "alarms":
                self.alarms = {one["kind"]: one for one in body["present"]}

    def other_pump(self, body: Body) -> None:
        """What stands there of another pump goes: names and values of two are never mixed."""
        for kind, before in tuple(self.state.items()):
            if kind != "link" and before["pump"] != body["pump"]:
                del self.state[kind]
                self.alarms = {}

    def newer(self, kind: str, body: Body) -> bool:
        """Whether a state is newer than the one that stands there; another gateway or pump begins anew.

        A link message counts as it comes: a will was written before everything that it ends.
        """
        before = self.state.get(kind)
        return (
            before is None
            or kind == "link"
            or before["pump"] != body["pump"]
            or before["gateway_id"] != body["gateway_id"]
            or body["sequence"] > before["sequence"]
        )

    def take_alarm(self, body: Body) -> None:
        """An alarm was raised, has changed or is gone."""
        alarm = body["alarm"]
        if body["change"] == "cleared":
            self.alarms.pop(alarm["kind"], None)
        else:
            self.alarms[alarm["kind"]] = alarm

    def count(self, body: Body) -> None:
        """Notice a gap in what is numbered without one."""
        number = body["event_sequence"]
        if self.next_event is not None and number > self.next_event:
            self.lost_events += number - self.next_event
        self.next_event = max(number + 1, self.next_event or 0)

    # --- what is shown -----------------------------------------------------------------------------------------------

    def show(self, field: str) -> str:
        """What stands at a field."""
        write = {
            Field.SIMULATED: self.show_simulated,
            Field.IDENTITY: self.show_identity,
            Field.RATE: lambda: self.value("rate_nl_per_day", FlowRate),
            Field.DOSE: lambda: self.value("dose_ng_per_day", DailyDose),
            Field.CONCENTRATION: lambda: self.value("concentration_ng_per_ml", Concentration),
            Field.RESERVOIR: lambda: self.value("reservoir_nl", Volume),
            Field.MODE: self.show_mode,
            Field.FRESHNESS: self.freshness,
            Field.CONNECTION: self.show_connection,
            Field.ALARMS: self.show_alarms,
            Field.LOG: lambda: "\n".join(self.log),
            Field.SCREEN: self.show_screen,
        }.get(Field(field))
        return "" if write is None else write()

    def show_screen(self) -> str:
        """Everything that is in sight."""
        fields = (
            Field.SIMULATED,
            Field.IDENTITY,
            Field.CONNECTION,
            Field.FRESHNESS,
            Field.MODE,
            Field.DOSE,
            Field.RATE,
        )
        parts = [f"{field.value}: {self.show(field)}" for field in (*fields, Field.RESERVOIR, Field.ALARMS, Field.LOG)]
        return "\n".join(part for part in parts if not part.endswith(": "))

    def show_simulated(self) -> str:
        """The mark of the newest message that says so."""
        return "SIMULATED" if any(body["simulated"] for body in self.state.values()) else ""

    def show_identity(self) -> str:
        """Model and serial number."""
        body = self.state.get("identity") or self.state.get("status")
        return "" if body is None else f"{body['pump']['model']}, serial {body['pump']['serial']}"

    def value(self, key: str, unit: Callable[[int], object]) -> str:
        """A number of the status with its unit, and a mark when it is old."""
        body = self.state.get("status")
        if body is None:
            return ""
        mark = self.stale(body)
        return f"{unit(body[key])}{f' ({mark})' if mark else ''}"

    def show_mode(self) -> str:
        """What the pump does."""
        body = self.state.get("status")
        return "" if body is None else str(body["mode"]).replace("_", " ")

    def stale(self, body: Body) -> str:
        """The mark of what is not the present any more: too old, or its gateway says that it is not."""
        late_ms = self._utc_ms() - body["valid_until_utc_ms"]
        if late_ms > 0 or self.offline():
            age_s = max(0, self._utc_ms() - body["read_utc_ms"]) // MS_PER_SECOND
            return f"{OUT_OF_DATE}: read {age_s} s ago"
        return ""

    def freshness(self) -> str:
        """From when what is shown is."""
        body = self.state.get("status")
        return "nothing was received yet" if body is None else self.stale(body) or "up to date"

    def offline(self) -> bool:
        """Whether the gateway is gone or does not read the pump."""
        link = self.state.get("link")
        return bool(self.problem) or (link is not None and link["state"] != "online")

    def show_connection(self) -> str:
        """Whether the publisher is there and reads the pump, and what was lost or not understood."""
        link = self.state.get("link")
        parts = [self.problem] if self.problem else []
        if link is not None and link["state"] == "offline":
            parts.append(f"{OFFLINE}: {link['reason'].replace('_', ' ')}")
        elif link is not None and link["state"] != "online":
            parts.append(f"{NOT_READ}: {(link['problem'] or {}).get('text', link['reason'])}")
        elif link is not None:
            parts.append("online")
        if self.lost_events:
            parts.append(f"{self.lost_events} events LOST")
        if self.unread:
            parts.append(f"{self.unread} messages NOT UNDERSTOOD")
        return "; ".join(parts)

    def show_alarms(self) -> str:
        """One alarm a line, the highest first."""
        body = self.state.get("alarms")
        if body is None and not self.alarms:
            return ""
        ordered = sorted(self.alarms.values(), key=lambda one: _RANKS.get(str(one["tablet_priority"]), 0))
        lines = [line for line in map(self.alarm_line, ordered) if line]
        mark = "" if body is None else self.stale(body)
        return "\n".join([*(lines or ["none"]), *([f"({mark})"] if mark else [])])

    def alarm_line(self, alarm: Body) -> str:
        """Priority, name, condition, and whether it is present and sounds; also of a kind that nobody here knows."""
        name = str(alarm["kind"]).replace("_", " ")
        present = "present" if alarm["condition_present"] else "over, latched"
        return f"{str(alarm['tablet_priority']).upper()} {name}: {alarm['condition']} – {present}, {alarm['signal']}"

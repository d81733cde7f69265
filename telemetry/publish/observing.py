"""From one reading and what is remembered to the messages that are new, and to what is to be remembered. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from telemetry.model import AlarmSignal
from telemetry.publish import messages
from telemetry.publish.memory import Current, Memory, PumpMemory
from telemetry.publish.messages import Body, Message, Source
from telemetry.publish.topics import Kind, Topics

if TYPE_CHECKING:
    from telemetry.interrogation import Interrogation
    from telemetry.model import Identity, LogRecord

_TIMELESS = frozenset({"read_utc_ms"})
"""Keys of an identity that differ with every reading and say nothing new."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one reading brings. ``log_left`` says that records were left in the pump, for want of room."""

    messages: tuple[Message, ...]
    memory: Memory
    log_left: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be taken."""

    messages: int
    size_bytes: int


class Writer:
    """Gives messages their numbers; keeps them in order."""

    def __init__(self, memory: Memory, topics: Topics, source: Source, key: str) -> None:
        self.memory = memory
        self.made: list[Message] = []
        self._topics = topics
        self._source = source
        self._key = key

    def add(self, kind: Kind, body: Body, *, name: str = "", identifier: str = "") -> Message:
        """One more message."""
        sequence = self.memory.sequence
        self.memory = replace(self.memory, sequence=sequence + 1)
        identifier = identifier or messages.message_id(self._key, kind, self._source.gateway_id, sequence)
        payload = messages.render(kind, self._source, identifier, sequence, body)
        message = Message(sequence, kind, self._topics.of(kind, name), payload)
        self.made.append(message)
        return message

    def add_extra(self, topic: str, text: str) -> None:
        """One more retained text that is no message of ours: what another system wants to find."""
        sequence = self.memory.sequence
        self.memory = replace(self.memory, sequence=sequence + 1)
        self.made.append(Message(sequence, Kind.DISCOVERY, topic, text))

    def next_event(self) -> int:
        """The next number of those that are counted without a gap."""
        number = self.memory.event_sequence
        self.memory = replace(self.memory, event_sequence=number + 1)
        return number


def source_of(memory: Memory, who: Identity) -> Source:
    """Whose messages follow from a reading of this pump."""
    return Source(memory.gateway_id, who.model, who.serial, who.simulated)


def observe(
    memory: Memory,
    found: Interrogation,
    topics: Topics,
    *,
    valid_ms: int,
    log_room: Room,
    take_log: bool = True,
    identity_anew: bool = False,
) -> Batch:
    """The messages that a reading brings, in their order: events first, then the states that result from them.

    ``log_room``: how much of the log may be taken; the rest stays in the pump. ``take_log`` False leaves all of
    it there, because the reading did not begin where the last one ended. ``identity_anew`` tells the identity though
    it has not changed: what is retained may be somebody else's.
    """
    key = messages.pump_key(found.identity)
    known = memory.pumps.get(key, PumpMemory())
    if found.status.now_ms < known.now_ms:
        # An older state of the same pump was put back: what it logs from here on is new, whatever its numbers.
        known = replace(known, log_next=0)
    writer = Writer(memory, topics, source_of(memory, found.identity), key)
    alarms = _alarms(writer, found, known)
    log_next, lost, left = _log(writer, found, known, key, log_room if take_log else None)
    identity = messages.identity_body(found)
    if identity_anew or known.identity is None or _content(identity) != _content(known.identity):
        writer.add(Kind.IDENTITY, identity)
    _states(writer, found, tuple(alarms.values()), valid_ms)
    pump = PumpMemory(
        log_next=log_next,
        now_ms=found.status.now_ms,
        alarms=alarms,
        identity=identity,
        lost_log_records=known.lost_log_records + lost,
    )
    current = Current(key, found.identity.model, found.identity.serial, found.identity.simulated, found.read_utc_ms)
    after = replace(writer.memory.with_pump(key, pump), current=current)
    return Batch(tuple(writer.made), after, left)


def tell_again(writer: Writer, found: Interrogation, *, valid_ms: int) -> None:
    """Every state of a reading once more: a broker may have forgotten what it was to retain."""
    writer.add(Kind.IDENTITY, messages.identity_body(found))
    _states(writer, found, tuple(_present(found).values()), valid_ms)


def _states(writer: Writer, found: Interrogation, alarms: tuple[Body, ...], valid_ms: int) -> None:
    writer.add(Kind.ALARMS, messages.alarms_body(found, alarms, valid_ms))
    writer.add(Kind.STATUS, messages.status_body(found, valid_ms))


def _present(found: Interrogation) -> dict[str, Body]:
    return {
        alarm.kind.value: messages.alarm_body(alarm, found.identity, found.status)
        for alarm in found.alarms
        if alarm.condition_present or alarm.signal is not AlarmSignal.OFF
    }


def _alarms(writer: Writer, found: Interrogation, known: PumpMemory) -> dict[str, Body]:
    """Tell what was raised, has changed or is gone; returns the alarms as they are, in the order of the pump."""
    now = _present(found)
    for kind, before in known.alarms.items():
        if kind not in now:
            _event(writer, found, before, "cleared")
    for kind, alarm in now.items():
        before = known.alarms.get(kind, {})
        if not before or alarm["count"] != before.get("count") or alarm["since_ms"] != before.get("since_ms"):
            _event(writer, found, alarm, "raised")
        elif changed := [name for name in alarm if alarm[name] != before.get(name)]:
            _event(writer, found, alarm, "changed", changed)
    return now


def _event(writer: Writer, found: Interrogation, alarm: Body, change: str, changed: list[str] | None = None) -> None:
    body = messages.event_body(found, alarm, change, changed or (), writer.next_event())
    writer.add(Kind.ALARM, body, name=alarm["kind"])


def _log(writer: Writer, found: Interrogation, known: PumpMemory, key: str, room: Room | None) -> tuple[int, int, bool]:
    """Take each record once, in order, while there is room; returns the next number, how many are lost, any left."""
    if room is None:
        return known.log_next, 0, False
    new: list[LogRecord] = [record for record in found.log if record.sequence >= known.log_next]
    lost = new[0].sequence - known.log_next if new and known.log_next else 0
    log_next = known.log_next
    taken = size_bytes = 0
    for record in new:
        body = messages.log_body(found, record, writer.memory.event_sequence)
        made = writer.add(Kind.LOG, body, identifier=messages.log_message_id(key, record))
        taken, size_bytes = taken + 1, size_bytes + made.size_bytes
        if taken > room.messages or size_bytes > room.size_bytes:
            writer.made.pop()
            writer.memory = replace(writer.memory, sequence=made.sequence)
            return log_next, lost if log_next != known.log_next else 0, True
        writer.next_event()
        log_next = record.sequence + 1
    return log_next, lost, False


def _content(identity: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name not in _TIMELESS}

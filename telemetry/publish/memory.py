"""What a gateway knows from one start to the next: its numbers, and of each pump what it has published already.

It is kept in the spool, in the same line as the messages that follow from it: either both are on the disk or neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Plain = dict[str, Any]
_MOST_PUMPS = 64
"""Pumps that are remembered; the one not seen for longest is forgotten first, and its log is then read anew."""


@dataclass(frozen=True, slots=True)
class PumpMemory:
    """One pump as published: next log record, its time, its alarms (bodies by kind), its identity (body)."""

    log_next: int = 0
    now_ms: int = 0
    alarms: dict[str, Plain] = field(default_factory=dict)
    identity: Plain | None = None
    lost_log_records: int = 0

    def plain(self) -> Plain:
        """As JSON has it."""
        return {
            "log_next": self.log_next,
            "now_ms": self.now_ms,
            "alarms": self.alarms,
            "identity": self.identity,
            "lost_log_records": self.lost_log_records,
        }


@dataclass(frozen=True, slots=True)
class Current:
    """The pump that is published now: enough to say that it is offline before it was read again."""

    key: str
    model: str
    serial: str
    simulated: bool
    read_utc_ms: int

    def plain(self) -> Plain:
        """As JSON has it."""
        return {
            "key": self.key,
            "model": self.model,
            "serial": self.serial,
            "simulated": self.simulated,
            "read_utc_ms": self.read_utc_ms,
        }


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it. ``sequence`` and ``event_sequence`` are the next numbers to give."""

    gateway_id: str
    sequence: int = 1
    event_sequence: int = 1
    lost_alarm_events: int = 0
    current: Current | None = None
    pumps: dict[str, PumpMemory] = field(default_factory=dict)

    def with_pump(self, key: str, pump: PumpMemory) -> Memory:
        """The same with this pump as it is now, as the one seen last."""
        kept = {name: one for name, one in self.pumps.items() if name != key}
        while len(kept) >= _MOST_PUMPS:
            del kept[next(iter(kept))]
        return replace(self, pumps={**kept, key: pump})

    def plain(self) -> Plain:
        """As JSON has it."""
        return {
            "gateway_id": self.gateway_id,
            "sequence": self.sequence,
            "event_sequence": self.event_sequence,
            "lost_alarm_events": self.lost_alarm_events,
            "current": None if self.current is None else self.current.plain(),
            "pumps": {key: pump.plain() for key, pump in self.pumps.items()},
        }


def read_memory(found: object) -> Memory:
    """A memory from JSON; raises ``ValueError`` for anything that ``plain`` did not write."""
    table = _table(found, "memory")
    current = table.get("current")
    return Memory(
        gateway_id=_text(table, "gateway_id"),
        sequence=_count(table, "sequence"),
        event_sequence=_count(table, "event_sequence"),
        lost_alarm_events=_count(table, "lost_alarm_events"),
        current=None if current is None else _current(_table(current, "current")),
        pumps={key: _pump(_table(one, "pump")) for key, one in _table(table.get("pumps"), "pumps").items()},
    )


def _current(table: Plain) -> Current:
    simulated = table.get("simulated")
    if not isinstance(simulated, bool):
        raise ValueError(f"simulated is {simulated!r}")  # noqa: TRY004 - a broken file is a ValueError throughout
    return Current(
        _text(table, "key"), _text(table, "model"), _text(table, "serial"), simulated, _count(table, "read_utc_ms")
    )


def _pump(table: Plain) -> PumpMemory:
    identity = table.get("identity")
    alarms = _table(table.get("alarms"), "alarms")
    return PumpMemory(
        log_next=_count(table, "log_next"),
        now_ms=_count(table, "now_ms"),
        alarms={kind: _table(one, "alarm") for kind, one in alarms.items()},
        identity=None if identity is None else _table(identity, "identity"),
        lost_log_records=_count(table, "lost_log_records"),
    )


def _table(found: object, what: str) -> Plain:
    if not isinstance(found, dict):
        raise ValueError(f"{what} is {type(found).__name__}, no object")  # noqa: TRY004 - as above
    return found


def _count(table: Plain, name: str) -> int:
    found = table.get(name)
    if type(found) is not int or found < 0:
        raise ValueError(f"{name} is {found!r}, no count")
    return found


def _text(table: Plain, name: str) -> str:
    found = table.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{name} is {found!r}, no text")
    return found

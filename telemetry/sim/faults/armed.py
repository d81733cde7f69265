"""One order for a fault, and how far it has come: hits, what is in force, what is due; kept in snapshots whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.faults.injection import Injection, Trigger, TriggerKind
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from telemetry.model import PumpEvent

_INJECTION_KEYS = ("name", "mode", "values", "trigger", "count", "lasts_ms", "seed")
_TRIGGER_KEYS = ("kind", "instant_ms", "event", "detail", "nth", "per_year_ppm", "until_ms")
_COUNTS = ("armed_ms", "hits", "misses", "matches", "steps")
_INSTANTS = ("next_ms", "grows_ms", "ends_ms", "struck_ms", "last_ms")
_FLAGS = ("over", "struck")
_KEYS = ("id", "injection", *_COUNTS, *_INSTANTS, *_FLAGS)


@dataclass(slots=True)
class Armed:
    """An order with its counters. Instants are pump time, None where there is none.

    ``next_ms``: when it strikes next by the clock; ``ends_ms``: when the strike in force ends; ``grows_ms``: when it
    grows (``steps``: how often it has, the strike included). ``struck``: a strike is in force now, or waits for the
    act that it will spoil; since ``struck_ms``. ``last_ms``: when it last struck or missed. ``over``: it strikes no
    more. ``matches``: events of its kind seen; ``misses``: strikes that could not be.
    """

    id: int
    injection: Injection
    armed_ms: int
    hits: int = 0
    misses: int = 0
    matches: int = 0
    steps: int = 0
    next_ms: int | None = None
    grows_ms: int | None = None
    ends_ms: int | None = None
    struck_ms: int | None = None
    last_ms: int | None = None
    over: bool = False
    struck: bool = False

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.injection.name

    def waits_for(self, event: PumpEvent) -> bool:
        """Whether this is an event that it counts."""
        trigger = self.injection.trigger
        if self.over or trigger.kind is not TriggerKind.EVENT or trigger.event != event.kind:
            return False
        return trigger.detail is None or trigger.detail == event.detail

    @property
    def waits_until_ms(self) -> int | None:
        """When it gives up waiting; None when it is over already, or waits for ever."""
        return None if self.over else self.injection.trigger.until_ms

    def rest(self) -> None:
        """Be in force no longer."""
        self.struck = False
        self.ends_ms = self.grows_ms = self.struck_ms = None
        self.steps = 0

    def to_table(self) -> st.State:
        """JSON-able, whole."""
        order = self.injection
        return {key: getattr(self, key) for key in _KEYS if key != "injection"} | {
            "injection": {
                "name": order.name,
                "mode": order.mode,
                "values": dict(order.values),
                "trigger": {key: getattr(order.trigger, key) for key in _TRIGGER_KEYS},
                "count": order.count,
                "lasts_ms": order.lasts_ms,
                "seed": order.seed,
            }
        }

    @classmethod
    def from_table(cls, value: object, where: str) -> Armed:
        """As a snapshot keeps it; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, _KEYS)
        armed = cls(st.integer(state, "id", where, least=1), _injection(state["injection"], f"{where}.injection"), 0)
        for key in _COUNTS:
            setattr(armed, key, st.integer(state, key, where))
        for key in _INSTANTS:
            setattr(armed, key, st.instant(state, key, where))
        for key in _FLAGS:
            setattr(armed, key, st.flag(state, key, where))
        return armed


def _injection(value: object, where: str) -> Injection:
    state = st.table(value, where, _INJECTION_KEYS)
    trigger = st.table(state["trigger"], f"{where}.trigger", _TRIGGER_KEYS)
    values = state["values"]
    if not isinstance(values, dict):
        raise UsageError(f"snapshot {where}.values: {type(values).__name__} is no table")
    return Injection(
        name=st.text(state, "name", where),
        mode=st.text(state, "mode", where),
        values={str(name): st.integer(values, name, where, least=None) for name in values},
        trigger=Trigger(
            kind=st.member(trigger, "kind", where, TriggerKind),
            instant_ms=st.instant(trigger, "instant_ms", where),
            event=st.text(trigger, "event", where),
            detail=None if trigger["detail"] is None else st.text(trigger, "detail", where),
            nth=st.integer(trigger, "nth", where),
            per_year_ppm=st.integer(trigger, "per_year_ppm", where),
            until_ms=st.instant(trigger, "until_ms", where),
        ),
        count=st.instant(state, "count", where),
        lasts_ms=st.instant(state, "lasts_ms", where),
        seed=st.integer(state, "seed", where),
    )

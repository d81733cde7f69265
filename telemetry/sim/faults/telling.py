"""Faults and orders in words and as JSON: what the control plane answers and the command line shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.sim.faults.catalogue import EVERY
from telemetry.sim.faults.injection import TriggerKind
from telemetry.sim.faults.reading import QUANTITIES
from telemetry.units import Duration

if TYPE_CHECKING:
    from telemetry.sim.faults.armed import Armed
    from telemetry.sim.faults.catalogue import Fault
    from telemetry.sim.faults.injection import Injection

_PPM_PER_PERCENT = 10_000


def fault_record(fault: Fault) -> dict[str, object]:
    """An entry of the catalogue, JSON-able."""
    return {
        "number": fault.number,
        "name": fault.name,
        "target": fault.target.value,
        "modes": dict(fault.modes),
        "happens": fault.happens,
        "shows": fault.shows,
        "alarms": [alarm.value for alarm in fault.alarms],
        "drives": [drive.value for drive in fault.drives],
        "needs_sensor": fault.needs_sensor,
        "acts_on_next": fault.acts_on_next,
        "ends": ends_in_words(fault),
        "parameters": [
            {
                "name": parameter.name,
                "default": parameter.default,
                "least": parameter.least,
                "most": parameter.most,
                "about": parameter.about,
                "source": parameter.source,
            }
            for parameter in fault.parameters
        ],
        "source": fault.source,
        "confidence": fault.confidence,
    }


def catalogue_record() -> list[dict[str, object]]:
    """The whole catalogue."""
    return [fault_record(fault) for fault in EVERY]


def in_units(parameter: str, count: int) -> str:
    """The count of a parameter as people write it, in the unit that its name ends in."""
    if parameter.endswith("_ppm"):
        whole, part = divmod(abs(count), _PPM_PER_PERCENT)
        digits = f"{whole}.{part:04}".rstrip("0").rstrip(".")
        return f"{'-' if count < 0 else ''}{digits} %"
    for ending, kind in QUANTITIES:
        if parameter.endswith(ending):
            return str(kind(count))
    return str(count)


def ends_in_words(fault: Fault) -> str:
    """How it ends."""
    if fault.once:
        return "over as soon as it has struck"
    if fault.acts_on_next:
        return f"with the next {fault.acts_on_next}, which it spoils"
    if fault.stays:
        return "never: what it did stays"
    own = any(parameter.name == "lasts_ms" for parameter in fault.parameters)
    after = "by itself after its time, or when it is cleared" if own else "when its duration is over, or it is cleared"
    return after + (f"; at once in the modes {', '.join(fault.once_modes)}" if fault.once_modes else "")


def armed_record(armed: Armed) -> dict[str, object]:
    """An order with its counters, JSON-able."""
    order = armed.injection
    return {
        "id": armed.id,
        "number": order.fault.number,
        "name": order.name,
        "mode": order.mode_in_force,
        "values": order.every_value(),
        "trigger": trigger_in_words(order),
        "state": state_in_words(armed),
        "hits": armed.hits,
        "misses": armed.misses,
        "in_force": armed.struck,
        "over": armed.over,
        "next_ms": armed.next_ms,
        "ends_ms": armed.ends_ms,
    }


def trigger_in_words(order: Injection) -> str:
    """When it strikes."""
    trigger = order.trigger
    if trigger.kind is TriggerKind.AT:
        return f"at {Duration(trigger.instant_ms or 0)}"
    if trigger.kind is TriggerKind.EVENT:
        event = f"{trigger.event} {trigger.detail or ''}".strip()
        return f"when {event}" if trigger.nth == 1 else f"at one {event} of every {trigger.nth}"
    if trigger.kind is TriggerKind.HAZARD:
        return f"at random, {in_units('hazard_ppm', trigger.per_year_ppm)} a year"
    return "at once"


def state_in_words(armed: Armed) -> str:
    """How far it has come."""
    if armed.struck:
        fault = armed.injection.fault
        return f"waits for the next {fault.acts_on_next}" if fault.acts_on_next else "in force"
    if armed.over:
        return "over" if armed.hits else "missed"
    return "waiting"

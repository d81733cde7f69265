"""A device fault as a scenario writes it, as the ``Injection`` that the pump's fault engine takes.

``{over_infusion: {error: 20 %, mode: jump, after: 30 d}}``: the fault's name (or number, F5), its mode and parameters
(their names with or without the unit they end in), and when it strikes: now, ``at``, ``after``, ``when`` an event
happens, or at a ``hazard`` (``5 %/y``); ``for`` how long, ``count`` how often, ``seed`` of the hazard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.scenario.problems import suggestion
from telemetry.scenario.values import read_instant
from telemetry.scenario.vocabulary import EVENTS
from telemetry.sim.faults.catalogue import find_fault
from telemetry.sim.faults.reading import read_injection, short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.sim.faults.injection import Injection

BESIDES = ("mode", "at", "after", "when", "hazard", "for", "count", "seed")
"""What may stand beside a fault's own parameters."""


def check_fault(name: str, said: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for what no pump could take, whatever its state."""
    injection_of(name, said, now_ms=0, epoch_utc_s=0, seed=0)


def injection_of(name: str, said: Mapping[str, Any], *, now_ms: int, epoch_utc_s: int, seed: int) -> Injection:
    """The order for this fault; raises ``UsageError`` naming what is unknown or out of range, and what there is."""
    fault = find_fault(name)
    own = {parameter.name for parameter in fault.parameters}
    allowed = (*(short_name(parameter.name) for parameter in fault.parameters), *BESIDES)
    for key in said:
        if key not in own and key not in allowed:
            raise UsageError(f"fault {fault.name}: {key!r} is unknown; {suggestion(key, allowed)}")
    for key in ("count", "seed"):
        if key in said and type(said[key]) is not int:
            raise UsageError(f"fault {fault.name} {key}: {said[key]!r} is no whole number")
    event, nth = _event(fault.name, said.get("when"))
    return read_injection(
        fault.name,
        str(said.get("mode", "")),
        now_ms=now_ms,
        epoch_utc_s=epoch_utc_s,
        at=max(0, read_instant(said["at"]).at_ms(epoch_utc_s)) if "at" in said else None,
        after=None if "after" not in said else str(said["after"]),
        when=event,
        nth=nth,
        hazard=None if "hazard" not in said else str(said["hazard"]),
        duration=None if "for" not in said else str(said["for"]),
        count=said.get("count"),
        seed=said.get("seed", seed),
        values={key: value for key, value in said.items() if key not in BESIDES},
    )


def _event(fault: str, raw: object) -> tuple[str, int]:
    """An event as written: ``bolus_started``, ``alarm_raised low_reservoir``, or its event, detail and nth."""
    if raw is None:
        return "", 1
    if isinstance(raw, str):
        words, nth = raw, 1
    elif isinstance(raw, dict) and set(raw) <= {"event", "detail", "nth"} and "event" in raw:
        words, nth = f"{raw['event']} {raw.get('detail', '')}".strip(), raw.get("nth", 1)
    else:
        raise UsageError(f"fault {fault} when: write an event, such as bolus_started, or its event, detail and nth")
    event = words.split(" ", 1)[0]
    if event not in EVENTS:
        raise UsageError(f"fault {fault} when: {event!r} is no event; {suggestion(event, EVENTS)}")
    if type(nth) is not int:
        raise UsageError(f"fault {fault} when nth: {nth!r} is no whole number")
    return words, nth

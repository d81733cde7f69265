"""Every fault on record as data: F1 to F30 of domain.md 4, what each does and what a listener hears of it; and more.

Nothing here acts: ``engine.py`` says when, ``telemetry/sim/pump/mishaps.py`` does it.
"""

from __future__ import annotations

from types import MappingProxyType

from telemetry.errors import UsageError
from telemetry.sim.faults import on_record_1_15, on_record_16_30
from telemetry.sim.faults.besides import BESIDES
from telemetry.sim.faults.entry import Fault, Parameter, Target

FAULTS: tuple[Fault, ...] = (*on_record_1_15.FAULTS, *on_record_16_30.FAULTS)
EVERY = (*FAULTS, *BESIDES)
BY_NAME: MappingProxyType[str, Fault] = MappingProxyType({fault.name: fault for fault in EVERY})
BY_NUMBER: MappingProxyType[str, Fault] = MappingProxyType({fault.number: fault for fault in EVERY})


def find_fault(name: str) -> Fault:
    """The fault of that name or number (``F7``); raises ``UsageError`` with the nearest names."""
    import difflib  # noqa: PLC0415 - only a mistake pays for it

    fault = BY_NAME.get(name) or BY_NUMBER.get(name.upper())
    if fault is not None:
        return fault
    near = difflib.get_close_matches(name, BY_NAME, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "'telemetry fault list' shows them all"
    raise UsageError(f"fault: {name!r} is unknown; {hint}")


__all__ = ["BESIDES", "BY_NAME", "BY_NUMBER", "EVERY", "FAULTS", "Fault", "Parameter", "Target", "find_fault"]

"""The driver layer: ``connect`` gives a ``Programmer``. Names load on first use, so that arithmetic needs no link."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.programmer.blocking import BlockingProgrammer, connect_sync
    from telemetry.programmer.client import Programmer
    from telemetry.programmer.opening import Connecting, connect
    from telemetry.programmer.prescription import Prescription
    from telemetry.programmer.records import Applied, Outcome, Proposal, PumpRules
    from telemetry.programmer.refilling import RefillResult
    from telemetry.programmer.workflows import ImplantResult, ReplacementResult

__all__ = [
    "Applied",
    "BlockingProgrammer",
    "Connecting",
    "ImplantResult",
    "Outcome",
    "Prescription",
    "Programmer",
    "Proposal",
    "PumpRules",
    "RefillResult",
    "ReplacementResult",
    "connect",
    "connect_sync",
]

_HOMES = {
    "Applied": "records",
    "BlockingProgrammer": "blocking",
    "Connecting": "opening",
    "ImplantResult": "workflows",
    "Outcome": "records",
    "Prescription": "prescription",
    "Programmer": "client",
    "Proposal": "records",
    "PumpRules": "records",
    "RefillResult": "refilling",
    "ReplacementResult": "workflows",
    "connect": "opening",
    "connect_sync": "blocking",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]

"""The pytest plug-in: a pump, a programmer connected to it, its clock and its bad luck, for the tests of others.

Loaded by pytest itself (entry point ``telemetry`` of the group ``pytest11``); ``docs/testing.md`` shows its use. The
names below are for type annotations and load on first use, so that a run without a pump pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.testing.faults import LinkFaults
    from telemetry.testing.watching import SeenFrame, WatchedPump

_HOME_OF = {
    "LinkFaults": "telemetry.testing.faults",
    "SeenFrame": "telemetry.testing.watching",
    "WatchedPump": "telemetry.testing.watching",
}

__all__ = ["LinkFaults", "SeenFrame", "WatchedPump"]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

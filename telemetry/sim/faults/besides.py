"""Faults that are not in the list of events on record, and yet wanted at a bench."""

from __future__ import annotations

from telemetry.model import AlarmKind
from telemetry.sim.faults.entry import (
    ONLY,
    ROTOR,
    Fault,
    Parameter,
    Target,
    modes,
    span,
)
from telemetry.units import MS_PER_MINUTE

_PAGES = (
    "bank_a",
    "bank_b",
    "binding_a",
    "binding_b",
    "boot_a",
    "boot_b",
    "limits_a",
    "limits_b",
    "log_0000",
    "safe_basal_a",
    "safe_basal_b",
    "safe_basal_c",
    "settings_a",
    "settings_b",
)

BESIDES: tuple[Fault, ...] = (
    Fault(
        "X1",
        "power_cut",
        Target.BATTERY,
        ONLY,
        "Power goes for a moment, and the pump boots.",
        "No alarm of its own: the program goes on, an interrupted bolus is not resumed and raises its alarm.",
        "trust.md 5.5, 5.6",
        "design",
        once=True,
    ),
    Fault(
        "X2",
        "memory_error",
        Target.MEMORY,
        modes(**{page: f"a bit of the page {page}" for page in _PAGES}),
        "One bit of one page of the memory flips.",
        "What trust.md 5.10 says of that page: with a good copy it is repaired (memory warning), else a memory error.",
        "trust.md 5.10",
        "design",
        (Parameter("bit", 0, 0, 1 << 20, "which bit of the page", "ours"),),
        alarms=(AlarmKind.MEMORY_ERROR, AlarmKind.MEMORY_WARNING),
        once=True,
    ),
    Fault(
        "X3",
        "magnet",
        Target.ENVIRONMENT,
        ONLY,
        "A strong magnet lies over the pump and holds its rotor.",
        "No delivery while it lies there; a stall alarm when that is longer than the detection latency.",
        "domain.md 2.1 (a magnet on the rotor), 10 item 9",
        "C",
        (span("lasts_ms", MS_PER_MINUTE, "how long it lies there", "ours"),),
        alarms=(AlarmKind.MOTOR_STALL,),
        drives=ROTOR,
    ),
)

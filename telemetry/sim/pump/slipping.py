"""The mistakes that wait (``slips.py``), made by whoever acts at the bench next (domain.md 4: F9–F11, F18, F20)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.sim.pump import slips
from telemetry.sim.pump.prescribing import Bridge
from telemetry.sim.pump.quantities import PPM, TRUE_PER_NL
from telemetry.units import HOURS_PER_DAY, Concentration

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.slips import Slip
    from telemetry.therapy import Program

_MINUTES_PER_HOUR = 60


def _make(core: PumpCore, name: str) -> Slip | None:
    """The slip of that name, made now; None when none waits."""
    made = core.upsets.slips.take(name)
    if made is not None:
        core.emit(slips.MADE, name)
    return made


def empty_syringe(core: PumpCore, volume_nl: int, concentration_ng_per_ml: int) -> int:
    """Fill from a syringe that is meant to hold so much of this; returns the nl that left it, wherever they went.

    The drug may be another, the volume too much, and the needle beside the port.
    """
    reservoir = core.reservoir
    if not volume_nl:
        return 0
    other, excess, missed = (_make(core, name) for name in slips.AT_NEEDLE)
    strength = concentration_ng_per_ml if other is None else other.values["true_ng_per_ml"]
    pressing = excess is not None and excess.mode == "over_pressure"
    if excess is not None:
        volume_nl += excess.values["excess_nl"]
    beside_nl = 0 if missed is None else volume_nl * missed.values["missed_ppm"] // PPM
    reservoir.pocket(beside_nl, strength)
    into_nl = volume_nl - beside_nl
    if excess is not None and not pressing:
        into_nl = max(0, min(into_nl, reservoir.capacity_nl - reservoir.true_nl))
    filled_nl = reservoir.fill(into_nl, strength)
    if excess is not None and pressing and reservoir.true_volume > reservoir.capacity_nl * TRUE_PER_NL:
        reservoir.over_pressure_ppm = excess.values["error_ppm"]
    return beside_nl + filled_nl


def misread_bridge(core: PumpCore, bridge: Bridge | bool) -> Bridge | bool:  # noqa: FBT001 - a bridge, or whether
    """The bridge as it is really asked for: left out, or worked out for another drug in the path."""
    if bridge is False:
        return False
    made = _make(core, slips.AT_REFILL)
    if made is None:
        return bridge
    if made.mode == "omitted":
        return False
    asked = Bridge() if bridge is True else bridge
    return replace(asked, concentration=Concentration(made.values["believed_ng_per_ml"]))


def misread_units(core: PumpCore, program: Program) -> Program:
    """The program as it is really typed in: minutes for hours, or a dose per hour where one per day was meant.

    Minutes for hours needs a periodic bolus; until a program has one, that slip goes on waiting.
    """
    waiting = core.upsets.slips.look(slips.AT_PROGRAM)
    if waiting is None or (waiting.mode == "minutes_for_hours" and program.bolus is None):
        return program
    _make(core, slips.AT_PROGRAM)
    if waiting.mode == "minutes_for_hours" and program.bolus is not None:
        interval_s = max(1, program.bolus.interval_s // _MINUTES_PER_HOUR)
        return replace(program, bolus=replace(program.bolus, interval_s=interval_s))
    return replace(
        program,
        rate_nl_per_day=program.rate_nl_per_day * HOURS_PER_DAY,
        dose_ng_per_day=program.dose_ng_per_day * HOURS_PER_DAY,
        steps=tuple(
            replace(
                step,
                rate_nl_per_day=step.rate_nl_per_day * HOURS_PER_DAY,
                dose_ng_per_day=step.dose_ng_per_day * HOURS_PER_DAY,
            )
            for step in program.steps
        ),
        ramp=tuple(
            replace(
                step,
                rate_nl_per_day=step.rate_nl_per_day * HOURS_PER_DAY,
                dose_ng_per_day=step.dose_ng_per_day * HOURS_PER_DAY,
            )
            for step in program.ramp
        ),
    )

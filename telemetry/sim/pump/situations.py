"""What of the pump's state a check depends on, gathered for it; and the limits and rules that its profile gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.model import Activity, PumpLimits, PumpMode
from telemetry.sim.pump.limits import DeviceRules, Situation
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, ceil_div

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.profile import PumpProfile
    from telemetry.therapy import Program, ProgramBridge, RefillOrder


def limits_of(profile: PumpProfile) -> PumpLimits:
    """The limits that a family of pumps leaves the factory with."""
    return PumpLimits(
        min_rate_nl_per_day=profile.min_rate_nl_per_day,
        max_rate_nl_per_day=profile.max_rate_nl_per_day,
        keep_alive_rate_nl_per_day=profile.keep_alive_rate_nl_per_day,
        low_reservoir_alarm_nl=profile.low_reservoir_alarm_nl,
        daily_dose_hard_min_ng=profile.daily_dose_hard_min_ng,
        daily_dose_hard_max_ng=profile.daily_dose_hard_max_ng,
        daily_dose_soft_min_ng=profile.daily_dose_soft_min_ng,
        daily_dose_soft_max_ng=profile.daily_dose_soft_max_ng,
        change_soft_ppm=profile.change_soft_ppm,
        change_hard_ppm=profile.change_hard_ppm,
        bolus_dose_soft_max_ng=profile.bolus_dose_soft_max_ng,
        bolus_dose_hard_max_ng=profile.bolus_dose_hard_max_ng,
    )


def rules_of(core: PumpCore) -> DeviceRules:
    """What the checks take from the profile."""
    profile = core.profile
    return DeviceRules(
        max_schedule_steps=profile.max_schedule_steps,
        max_ramp_steps=profile.max_ramp_steps,
        zero_rate_allowed=profile.zero_rate_allowed,
        patient_bolus_allowed=profile.patient_bolus_allowed,
        drug=profile.drug,
        concentrations_ng_per_ml=profile.concentrations_ng_per_ml,
        labelled_path_nl=profile.labelled_path_volume_nl,
        reservoir_capacity_nl=profile.reservoir_capacity_nl,
        low_reservoir_alarm_floor_nl=profile.low_reservoir_alarm_floor_nl,
        window_1h_nl=profile.window_1h_nl,
        window_4h_nl=profile.window_4h_nl,
        window_24h_nl=profile.window_24h_nl,
    )


def of(core: PumpCore) -> Situation:
    """The pump as it is."""
    now_ms, running, bridge = core.now_ms, core.activity, _bridge_left(core)
    flow = () if running is None else (running.rate_nl_per_day, running.dose_ng_per_day)
    return Situation(
        drug=core.drug,
        concentration_ng_per_ml=core.concentration_ng_per_ml,
        reservoir_generation=core.reservoir_generation,
        reference_dose_ng=_reference_dose_ng(core),
        calculated=core.reservoir.calculated,
        stroking=core.rate_nl_per_day > 0,
        stopped_over_48_h=core.stopped_too_long,
        now_ms=now_ms,
        clock=core.clock,
        rules=rules_of(core),
        plan=core.plan if core.running else None,
        history=core.governor.history(now_ms),
        running=() if running is None else ((now_ms, running.ends_ms(now_ms), *flow),),
        activity=Activity.BRIDGE if bridge else Activity.NONE if running is None else running.kind,
        delivering=core.delivering,
        shelf=core.shelf,
        filled_nl=core.filled_nl,
        old_concentration_ng_per_ml=None if bridge is None else bridge.concentration_ng_per_ml,
    )


def _bridge_left(core: PumpCore) -> ProgramBridge | None:
    """What of the program's bridge is still to be given."""
    bridge, left = core.program.bridge, core.bridge_to_give
    if bridge is None or not left:
        return None
    return replace(bridge, volume_nl=ceil_div(left, COMMANDED_PER_NL))


def _reference_dose_ng(core: PumpCore) -> int:
    """The dose that a change is measured against: of a ramp the step it has come to, else the last therapy's."""
    if core.plan is not None and core.program.mode is PumpMode.TITRATION:
        return core.plan.reference_dose_ng(_plan_ms(core))
    return core.active.reference_dose_ng if core.active else 0


def _plan_ms(core: PumpCore) -> int:
    """The instant at which the program's own time stands."""
    return core.now_ms if core.halted_ms is None else core.halted_ms


def before_refill(core: PumpCore, order: RefillOrder) -> Situation:
    """The pump as it is, for the check of a refill.

    One that brings the program in force again is no change, whichever step of its ramp it stands at; a pump from the
    shelf has no older drug in its path but what a clinician says that a catheter taken over holds.
    """
    situation = of(core)
    program = order.program
    if core.shelf:
        situation = replace(situation, shelf=True, concentration_ng_per_ml=program.concentration_ng_per_ml)
    if goes_on(core, order) and program.ramp:
        situation = replace(situation, reference_dose_ng=program.ramp[0].dose_ng_per_day)
    return situation


def goes_on(core: PumpCore, order: RefillOrder) -> bool:
    """Whether a refill brings the program in force again: ramps and periodic boluses then go on where they stood."""
    program = order.program
    if core.plan is None or core.bridge_to_give or program.bridge is not None:
        return False
    return replace(program, reservoir_generation=0) == replace(core.program, reservoir_generation=0, bridge=None)


def left_of_program(core: PumpCore) -> Program:
    """The program in force without what is behind it: of its bridge what is left, of its ramp from this step on."""
    program = replace(core.program, bridge=_bridge_left(core))
    step = None if core.plan is None else core.plan.ramp_step(_plan_ms(core))
    if not step:
        return program
    ramp = program.ramp[step:]
    return replace(program, ramp=ramp, rate_nl_per_day=ramp[0].rate_nl_per_day, dose_ng_per_day=ramp[0].dose_ng_per_day)

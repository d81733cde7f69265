"""What is so at an instant, and when that changes next: alarms, modes and activities follow from the state alone.

``next_event_ms`` names every instant at which ``evaluate`` would find something new, if nobody acts until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import Activity, AlarmKind, LogCode, PumpMode
from telemetry.sim.pump import activity, effects
from telemetry.sim.pump.battery import running_drain_pc_per_day
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.plan import Plan


REMIND_BEFORE_EMPTY_DAYS = 3
"""A low reservoir that somebody has quieted sounds again when it will be empty in this time (domain.md 5.7: the span
inside which a low reservoir ranks higher)."""


# --- when ------------------------------------------------------------------------------------------------------------


def next_event_ms(core: PumpCore) -> int | None:
    """When something happens next if nobody acts; None when nothing ever will."""
    now_ms, rate, alarms = core.now_ms, core.rate_nl_per_day, core.alarms
    instants: list[int | None] = [
        alarms.next_rearm_ms(),
        core.memory_check_due_ms,
        core.upsets.telemetry_until_ms,
        core.upsets.brownout_ms,
        *_parts_ms(core),
    ]
    if rate:
        instants += _volumes_ms(core, rate)
        instants.append(core.governor.trips_at_ms(now_ms, rate, core.dose_ng_per_day))
        if core.activity is not None:
            instants.append(core.activity.ends_ms(now_ms))
    elif core.still_since_ms is not None and not core.ended and not core.shelf:
        instants.append(core.still_since_ms + core.profile.stopped_alarm_after_ms)
        if alarms.present(AlarmKind.STOPPED_PUMP):
            instants.pop()
    if core.halted_ms is None and not core.ended and not core.bridge_to_give:
        instants += [core.plan_due_ms, core.bolus_due_ms]
    if not core.exhausted:
        instants.append(_battery_ms(core, core.drain_at(rate)))
    known = [at_ms for at_ms in instants if at_ms is not None]
    return max(now_ms, min(known)) if known else None


def _volumes_ms(core: PumpCore, rate: int) -> list[int | None]:
    """Low, soon empty, empty and dry at this commanded rate."""
    now_ms, reservoir = core.now_ms, core.reservoir
    levels = [0]
    if not core.alarms.present(AlarmKind.LOW_RESERVOIR):
        levels.append(core.low_reservoir_alarm_nl)
    elif not core.reminded:
        levels.append(_reminder_nl(core))
    until = reservoir.ms_until_sensed if core.profile.level_sensor else reservoir.ms_until_calculated
    spans: list[int | None] = [until(rate, level) for level in levels]
    if not core.dry_told:
        spans.append(reservoir.ms_until_dry(rate))
    if reservoir.over_pressure_ppm:
        spans.append(reservoir.ms_until_relaxed(rate))
    return [None if span is None else now_ms + span for span in spans]


def _at_or_below(core: PumpCore, level_nl: int) -> bool:
    """Whether the pump's own volume, its book or what its sensor reads, has come down to this."""
    if core.profile.level_sensor:
        return core.reservoir.sensed_nl <= level_nl
    return core.reservoir.calculated <= level_nl * COMMANDED_PER_NL


def _reminder_nl(core: PumpCore) -> int:
    """What the program takes in the time before which a quiet low-reservoir alarm sounds again."""
    return core.mean_nl_per_day * REMIND_BEFORE_EMPTY_DAYS


def _parts_ms(core: PumpCore) -> list[int | None]:
    """Instants of the mechanism itself."""
    return [core.reservoir.next_event_ms(core.now_ms)]


def _battery_ms(core: PumpCore, drain: int) -> int | None:
    """When the battery reaches its next state at this drain: replacement due, end of service, empty."""
    if core.ended:
        return core.battery.empty_ms(core.now_ms, drain) if drain else None
    ends_ms = core.battery.service_ends_ms(core.now_ms, drain)
    return (
        core.battery.replacement_due_ms(core.now_ms, drain, core.mean_drain_pc_per_day) if ends_ms is None else ends_ms
    )


def battery_is_due(core: PumpCore) -> bool:
    """Whether the battery has reached its next state now."""
    if core.exhausted:
        return False
    due_ms = _battery_ms(core, core.drain_pc_per_day)
    return due_ms is not None and due_ms <= core.now_ms


def quiet_until_ms(core: PumpCore, plan: Plan) -> int:
    """An instant before which nothing but steps of this schedule can happen: all solved at its peak, so never late."""
    now_ms, peak = core.now_ms, plan.peak_nl_per_day
    drain = running_drain_pc_per_day(core.profile, peak) + core.alarms.drain_pc_per_day
    instants = [
        core.alarms.next_rearm_ms(),
        core.memory_check_due_ms,
        core.governor.trips_at_ms(now_ms, peak, plan.peak_dose_ng_per_day),
        None if core.exhausted else _battery_ms(core, drain),
        *_parts_ms(core),
        *_volumes_ms(core, peak),
    ]
    return min(at_ms for at_ms in instants if at_ms is not None)


# --- what ------------------------------------------------------------------------------------------------------------


def evaluate(core: PumpCore) -> None:
    """Bring activities, alarms and modes in step with the state at this instant."""
    upsets = core.upsets
    if upsets.brownout_ms is not None and upsets.brownout_ms <= core.now_ms:
        upsets.brownout_ms = None
        core.give_way()
    now_ms, alarms = core.now_ms, core.alarms  # a boot makes the alarms anew
    if core.memory_check_due_ms is not None and core.memory_check_due_ms <= now_ms:
        core.memory_check_due_ms = None
        core.check_memory()
    alarms.rearm(now_ms)
    activity.finish_if_given(core)
    _evaluate_telemetry(core)
    _evaluate_reservoir(core)
    _hold_program(core)
    _evaluate_battery(core)
    _evaluate_program(core)
    _evaluate_governor(core)
    _evaluate_mechanism(core)
    evaluate_flow(core)
    alarms.set_condition(
        AlarmKind.THERAPY_STOPPED, present=not (core.running or core.ended or core.shelf), now_ms=now_ms
    )
    alarms.set_condition(AlarmKind.STOPPED_PUMP, present=core.stopped_too_long and not core.ended, now_ms=now_ms)
    alarms.set_condition(AlarmKind.SAFE_STATE, present=core.safe, now_ms=now_ms)
    alarms.set_condition(AlarmKind.DOSE_LIMIT, present=core.tripped, now_ms=now_ms)
    if core.battery.film_mohm:
        upsets.brownout_ms = core.next_peak_ms()


def _evaluate_telemetry(core: PumpCore) -> None:
    until_ms = core.upsets.telemetry_until_ms
    if until_ms is not None and until_ms <= core.now_ms:
        leave_telemetry_mode(core)


def leave_telemetry_mode(core: PumpCore) -> None:
    """Deliver again; does nothing when the pump is not in telemetry mode."""
    if core.upsets.telemetry_mode:
        core.upsets.telemetry_since_ms = core.upsets.telemetry_until_ms = None
        core.note(LogCode.TELEMETRY_MODE_LEFT)
        core.emit(LogCode.TELEMETRY_MODE_LEFT)


def _evaluate_program(core: PumpCore) -> None:
    """Steps of the program that are due, and periodic boluses."""
    if core.halted_ms is not None or core.ended or core.bridge_to_give or core.plan is None:
        return
    now_ms = core.now_ms
    if core.plan_due_ms is not None and core.plan_due_ms <= now_ms:
        before = core.base_nl_per_day
        core.read_plan()
        if core.program.mode is PumpMode.TITRATION and core.base_nl_per_day != before:
            core.note(LogCode.TITRATION_STEP, (core.plan.ramp_step(now_ms) or 0) + 1, core.base_nl_per_day)
            core.emit(LogCode.TITRATION_STEP, str((core.plan.ramp_step(now_ms) or 0) + 1))
    bolus = core.program.bolus
    if bolus is not None and core.bolus_due_ms is not None and core.bolus_due_ms <= now_ms:
        core.bolus_due_ms = core.plan.next_bolus_ms(now_ms)
        if core.delivering and core.activity is None:
            activity.start_bolus(core, Activity.PERIODIC_BOLUS, bolus.volume_nl, bolus.duration_s * MS_PER_SECOND)
        else:
            activity.withhold(core, bolus.volume_nl)


def _evaluate_governor(core: PumpCore) -> None:
    rate = core.rate_nl_per_day
    if not rate:
        return
    at_ms = core.governor.trips_at_ms(core.now_ms, rate, core.dose_ng_per_day)
    if at_ms is not None and at_ms <= core.now_ms:
        core.withhold_delivery()


def _evaluate_mechanism(core: PumpCore) -> None:
    """The catheter as this instant has it, and stalls as far as the pump has noticed them (domain.md 2.6)."""
    found = core.reservoir.evaluate(core.now_ms)
    if found is not None:
        tell_of_rotor(core, found)
    core.alarms.set_condition(AlarmKind.MOTOR_STALL, present=core.reservoir.rotor.detected, now_ms=core.now_ms)


def tell_of_rotor(core: PumpCore, found: str) -> None:
    """Log and tell what the pump has found out of its rotor."""
    code = LogCode(found)
    core.note(code, 0, core.reservoir.rotor.strokes_missed)
    core.emit(code)


def _evaluate_reservoir(core: PumpCore) -> None:
    reservoir, now_ms, empty = core.reservoir, core.now_ms, core.empty
    low = _at_or_below(core, core.low_reservoir_alarm_nl)
    told = not (core.shelf or core.ended)  # where no drug flows any more a reservoir is nobody's alarm
    core.alarms.set_condition(AlarmKind.LOW_RESERVOIR, present=low and told, now_ms=now_ms)
    if low and core.delivering and not core.reminded and _at_or_below(core, _reminder_nl(core)):
        core.reminded = True
        core.alarms.remind(AlarmKind.LOW_RESERVOIR, now_ms)
    core.reminded = core.reminded and low
    if empty and not core.empty_told and told:
        core.note(LogCode.RESERVOIR_EMPTY)
        core.emit("reservoir_empty")
        activity.interrupt(core)
    core.empty_told = empty
    core.alarms.set_condition(AlarmKind.EMPTY_RESERVOIR, present=empty and told, now_ms=now_ms)
    if reservoir.true_volume == 0 and not core.dry_told:
        core.dry_told = True
        if not empty:
            core.emit("reservoir_dry", "truth")


def _hold_program(core: PumpCore) -> None:
    """The program's own time stands still while an empty pump gives nothing, as it does while one is stopped."""
    if not core.running or core.shelf:
        return
    if core.empty and core.halted_ms is None:
        core.halted_ms = core.now_ms
    elif core.halted_ms is not None and not core.empty:  # a level sensor sees what no refill told
        core.plan_started_ms, core.halted_ms = core.plan_started_ms + core.now_ms - core.halted_ms, None
        effects.begin(core)


def _evaluate_battery(core: PumpCore) -> None:
    now_ms, battery, drain = core.now_ms, core.battery, core.drain_pc_per_day
    if battery.replacement_ms is None:
        due_ms = battery.replacement_due_ms(now_ms, drain, core.mean_drain_pc_per_day)
        if due_ms <= now_ms:
            battery.replacement_ms = now_ms
    replaced = battery.replacement_ms is not None
    core.alarms.set_condition(AlarmKind.ELECTIVE_REPLACEMENT, present=replaced, now_ms=now_ms)
    ends_ms = battery.service_ends_ms(now_ms, drain)
    if not core.ended and ends_ms is not None and ends_ms <= now_ms:
        activity.abandon(core)
        core.ended = True
        core.note(LogCode.END_OF_SERVICE)
        core.emit("end_of_service")
        _evaluate_reservoir(core)
    core.alarms.set_condition(AlarmKind.END_OF_SERVICE, present=core.ended, now_ms=now_ms)
    if battery.charge == 0 and not core.exhausted:
        core.exhausted = True
        core.alarms.power_off(now_ms)
        core.emit("battery_exhausted")


def evaluate_flow(core: PumpCore) -> None:
    """Note the instant at which strokes stop or start."""
    stroking = core.rate_nl_per_day > 0
    core.reservoir.rotor.command(core.now_ms, moving=stroking)
    if stroking and core.still_since_ms is not None:
        core.still_since_ms = None
        core.emit("delivery_started", core.mode)
    elif not stroking and core.still_since_ms is None:
        core.still_since_ms = core.now_ms
        core.emit("delivery_stopped", core.mode)

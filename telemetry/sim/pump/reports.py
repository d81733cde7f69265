"""What a pump says of itself, and what is so: plain looks, which change nothing (INV-39)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import (
    Activity,
    AlarmKind,
    DeliveryReport,
    DrugLedger,
    GroundTruth,
    Identity,
    PumpStatus,
)
from telemetry.sim.pump.decisions import need_active
from telemetry.sim.pump.forecast import ms_until
from telemetry.sim.pump.ledger import SHORT_DIGEST_SIZE
from telemetry.sim.pump.plan import Plan
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, ceil_div
from telemetry.therapy import ProgramReport
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore


def to_seconds(instant_ms: int) -> int:
    """An instant as telemetry says it: whole seconds, rounded down, still in ms."""
    return instant_ms - instant_ms % MS_PER_SECOND


def _seconds(instant_ms: int | None) -> int | None:
    return None if instant_ms is None else to_seconds(instant_ms)


def status(core: PumpCore) -> PumpStatus:
    """The pump's own books, with instants in whole seconds as telemetry says them."""
    active = need_active(core)
    return PumpStatus(
        mode=core.mode,
        rate_nl_per_day=core.rate_nl_per_day,
        dose_ng_per_day=core.dose_ng_per_day,
        concentration_ng_per_ml=core.concentration_ng_per_ml,
        drug=core.drug,
        reservoir_nl=reservoir_nl(core),
        reservoir_generation=core.reservoir_generation,
        battery_percent=core.battery.percent,
        replace_by_ms=_replace_by_ms(core),
        low_reservoir_at_ms=_low_reservoir_at_ms(core),
        alarms=core.alarms.active(),
        program_sequence=active.program_sequence,
        program_digest=active.image_digest[:SHORT_DIGEST_SIZE],
        boot_epoch=core.boot_epoch,
        now_ms=to_seconds(core.now_ms),
        clock_utc_s=core.clock.utc_s(core.now_ms),
        stopped_since_ms=_seconds(core.still_since_ms),
        activity=Activity.NONE if core.activity is None else core.activity.kind,
        activity_ends_ms=_seconds(_activity_ends_ms(core)),
        alarm_sequence=core.alarms.sequence,
    )


def reservoir_nl(core: PumpCore) -> int:
    """What the pump says it holds: its book, or what its sensor reads."""
    return core.reservoir.sensed_nl if core.profile.level_sensor else core.reservoir.calculated_nl


def _replace_by_ms(core: PumpCore) -> int:
    """When it must be replaced; 0 from a pump whose date is broken (domain.md 4, F13)."""
    if core.upsets.replace_by_invalid:
        return 0
    by_ms = core.battery.replace_by_ms(core.now_ms, core.mean_drain_pc_per_day)
    return max(0, to_seconds(by_ms + core.upsets.replace_by_shift_ms))


def _activity_ends_ms(core: PumpCore) -> int | None:
    """When the activity will end; None without one, and while nothing is delivered."""
    running = core.activity
    return None if running is None or not core.delivering else running.ends_ms(core.now_ms)


def _low_reservoir_at_ms(core: PumpCore) -> int | None:
    """Since when the low-reservoir alarm is there, else when it will come; None: never as things are."""
    since_ms = core.alarms.active_since_ms(AlarmKind.LOW_RESERVOIR)
    if since_ms is not None:
        return since_ms
    if not core.delivering:
        return None
    there = core.reservoir.sensed_nl * COMMANDED_PER_NL if core.profile.level_sensor else core.reservoir.calculated
    return _seconds(_used_up_ms(core, there - core.low_reservoir_alarm_nl * COMMANDED_PER_NL))


def _used_up_ms(core: PumpCore, volume: int) -> int | None:
    """When so much will have been commanded: the activity to its end, then the plan with its periodic boluses."""
    now_ms, running, plan = core.now_ms, core.activity, core.plan
    if running is None:
        if plan is None:
            return None if not core.base_nl_per_day else now_ms + max(0, ceil_div(volume, core.base_nl_per_day))
        in_ms = ms_until(plan, now_ms, core.clock, volume)
        return None if in_ms is None else now_ms + in_ms
    ends_ms, at_ms, used = running.ends_ms(now_ms), now_ms, 0
    while at_ms < ends_ms:
        rate, end_ms = running.rate_nl_per_day, ends_ms
        if plan is not None and not running.instead_of_basal:
            basal, _, change_ms = plan.segment(at_ms, core.clock)
            rate, end_ms = rate + basal, min(ends_ms, change_ms or ends_ms)
        if used + rate * (end_ms - at_ms) >= volume and (reached := at_ms + ceil_div(volume - used, rate)) < ends_ms:
            return reached
        used += rate * (end_ms - at_ms)
        at_ms = end_ms
    # Its last millisecond is clipped to what is left of its volume.
    used -= running.rate_nl_per_day * (ends_ms - now_ms) - running.left
    if volume <= used:
        return ends_ms
    after = Plan(core.program, started_ms=ends_ms) if plan is None else plan
    in_ms = ms_until(after, ends_ms, core.clock, volume - used, due_now=True)
    return None if in_ms is None else ends_ms + in_ms


def truth(core: PumpCore) -> GroundTruth:
    """What is so."""
    reservoir, path, rotor = core.reservoir, core.reservoir.path, core.reservoir.rotor
    rate = reservoir.true_rate_nl_per_day(core.rate_nl_per_day)
    return GroundTruth(
        now_ms=core.now_ms,
        reservoir_nl=reservoir.true_nl,
        rate_nl_per_day=rate,
        tip_dose_ng_per_day=reservoir.tip_dose_ng_per_day(core.rate_nl_per_day),
        tip_concentration_ng_per_ml=path.tip_concentration_ng_per_ml,
        battery_percent=core.battery.percent,
        battery_pc=core.battery.remaining_pc,
        delivered_nl=path.delivered_nl,
        delivered_ng=path.delivered_ng,
        strokes=rotor.strokes_made,
        rotor_moving=core.rate_nl_per_day > 0 and not rotor.stalled,
        stalled=rotor.stalled,
        lost_nl=reservoir.lost_nl,
        lost_ng=reservoir.lost_ng,
        flow_error_ppm=reservoir.flow_error_ppm,
        catheter=path.state.value,
        beeper_works=core.alarms.beeper_works,
    )


def ledger(core: PumpCore) -> DrugLedger:
    """Where every nanolitre went."""
    reservoir = core.reservoir
    return DrugLedger(
        filled_nl=reservoir.filled_nl,
        remaining_nl=reservoir.true_nl,
        in_path_nl=reservoir.path.volume_nl,
        delivered_nl=reservoir.path.delivered_nl,
        withdrawn_nl=reservoir.withdrawn_nl,
        lost_nl=reservoir.lost_nl,
    )


def identity(core: PumpCore, serial: str, pump_id: bytes) -> Identity:
    """Who the pump is, by its own account."""
    profile, upsets = core.profile, core.upsets
    return Identity(
        model=profile.model,
        serial=serial,
        pump_id=pump_id,
        firmware=profile.firmware,
        reservoir_capacity_nl=profile.reservoir_capacity_nl,
        tubing_volume_nl=profile.labelled_tubing_volume_nl if upsets.tubing_told_nl is None else upsets.tubing_told_nl,
        catheter_volume_nl=profile.labelled_catheter_volume_nl,
        drug=core.drug,
        drive=profile.drive,
        level_sensor=profile.level_sensor,
        calibration_ppm=(
            profile.calibration_ppm if upsets.calibration_told_ppm is None else upsets.calibration_told_ppm
        ),
        activated_ms=to_seconds(core.battery.activated_ms),
        epoch_utc_s=core.clock.epoch_utc_s,
        simulated=True,
    )


def program_report(core: PumpCore) -> ProgramReport:
    """The committed program, whether or not it runs."""
    active = need_active(core)
    return ProgramReport(
        program=core.program,
        program_sequence=active.program_sequence,
        program_digest=active.image_digest[:SHORT_DIGEST_SIZE],
        stopped=not core.running,
    )


def delivery(core: PumpCore) -> DeliveryReport:
    """What the pump counts of its own delivery."""
    now_ms, running = core.now_ms, core.activity
    windows = core.governor.windows(now_ms)
    rule = core.program.patient_bolus
    locked_ms = None if rule is None else core.patient.locked_until_ms(rule.lockout_s * MS_PER_SECOND, now_ms)
    changes = [core.plan_due_ms, core.bolus_due_ms] if core.running and not core.bridge_to_give else []
    return DeliveryReport(
        activity=Activity.NONE if running is None else running.kind,
        activity_volume_nl=0 if running is None else running.volume_nl,
        activity_delivered_nl=0 if running is None else running.given_nl,
        activity_ends_ms=_seconds(_activity_ends_ms(core)),
        window_1h_nl=windows.volume_1h_nl,
        window_4h_nl=windows.volume_4h_nl,
        window_24h_nl=windows.volume_24h_nl,
        window_24h_ng=windows.dose_24h_ng,
        patient_boluses_24h=core.patient.in_24_h(now_ms),
        locked_out_until_ms=_seconds(locked_ms),
        next_change_ms=_seconds(min((at_ms for at_ms in changes if at_ms is not None), default=None)),
        zone_minutes=core.clock.zone_minutes,
        clock_utc_s=core.clock.utc_s(now_ms),
        now_ms=to_seconds(now_ms),
    )

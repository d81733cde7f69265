"""What a fault does to the pump: one function a fault, named as in the catalogue, and one that ends it.

Every function takes the core and the fault's values (integers by name) and acts at the core's instant; each ends in a
look at the pump (``evaluate``), so that whatever follows at once is seen at once. What cannot be on this pump raises
``UsageError``. Faults of the catheter and of the flow may stand beside each other: shares and errors are those of all
that are in force, so a fault that ends takes only its own part away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, AlarmSignal, LogCode
from telemetry.sim.pump import conditions, recovery
from telemetry.sim.pump.catheter import Junction
from telemetry.sim.pump.environment import (
    BODY_DECIDEGREES,
    SEA_LEVEL_HPA,
    pressure_at_altitude_hpa,
    pressure_at_depth_hpa,
)
from telemetry.sim.pump.memory import BANKS
from telemetry.sim.pump.quantities import PPM
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry.sim.pump.core import PumpCore

    Values = Mapping[str, int]

_DAYS_TOO_LATE = 30
_SOUNDING = frozenset({AlarmSignal.ON, AlarmSignal.LATCHED})


# --- rotor and flow --------------------------------------------------------------------------------------------------


def stall(core: PumpCore) -> None:
    """The rotor stands from now on (F1, F2, F15, F24)."""
    core.reservoir.rotor.stall(core.now_ms)
    core.evaluate()


def free(core: PumpCore) -> None:
    """The rotor turns again; the pump finds out later."""
    core.reservoir.rotor.free(core.now_ms)
    core.evaluate()


def check_rate_error(core: PumpCore, name: str, ppm: int) -> None:
    """Raises ``UsageError`` when so much on top would be no rate any more."""
    error_ppm = core.reservoir.rate_error_ppm + ppm
    if not -PPM < error_ppm <= PPM:
        raise UsageError(
            f"fault {name}: with {ppm} ppm on top the rate error would be {error_ppm} ppm, outside {1 - PPM} to {PPM}"
        )


def add_rate_error(core: PumpCore, ppm: int, name: str) -> None:
    """Deliver so much more (or less) than commanded from the next stroke on (F5, F29 silent)."""
    check_rate_error(core, name, ppm)
    core.reservoir.rate_error_ppm += ppm
    core.evaluate()


def tube_set(core: PumpCore, error_ppm: int) -> None:
    """The tube has taken a set and gives so much more ever after (F21); raises ``UsageError`` without a tube."""
    rotor = core.reservoir.rotor
    rotor.take_set()
    if not rotor.tube_set:
        raise UsageError(f"tube_set: a {core.profile.drive} drive has no tube that could take a set")
    rotor.tube_set_error_ppm = error_ppm
    core.evaluate()


def set_calibration(core: PumpCore, told_ppm: int) -> None:
    """Let the constant in the pump be off by so much from the one on its package (F28)."""
    core.reservoir.calibration_error_ppm = PPM * PPM // (PPM + told_ppm) - PPM
    core.upsets.calibration_told_ppm = core.profile.package_calibration_ppm * (PPM + told_ppm) // PPM
    core.evaluate()


def right_calibration(core: PumpCore) -> None:
    """Let it be what the profile says again."""
    core.reservoir.calibration_error_ppm = core.profile.calibration_error_ppm
    core.upsets.calibration_told_ppm = None
    core.evaluate()


# --- catheter --------------------------------------------------------------------------------------------------------


def set_catheter(core: PumpCore, faults: Iterable[tuple[str, Values]]) -> None:
    """Let exactly these things be wrong with the catheter: (mode, values) each (F6, F7, F23); none: patent.

    Shares lost at one place do not add up, the largest counts; of several obstructions the tightest.
    """
    path, now_ms = core.reservoir.path, core.now_ms
    path.mend()
    passes, leaks, displaced = PPM, 0, False
    for mode, values in faults:
        if mode == "disconnected":
            path.lose(Junction.CONNECTOR, PPM)
        elif mode == "leaking":
            leaks = max(leaks, values["lost_ppm"])
        elif mode == "tip_displaced":
            displaced = True
        elif mode in {"kinked", "full"}:
            passes = 0
        elif mode == "partial":
            passes = min(passes, values["passes_ppm"])
        elif mode == "positional":
            since_ms = values["since_ms"]
            path.bend(now_ms, values["period_ms"], values["kinked_ms"], (now_ms - since_ms) % values["period_ms"])
        else:
            raise UsageError(f"catheter: {mode!r} is no state of a catheter")
    if leaks:
        path.leak(leaks)
    if displaced:
        path.lose(Junction.TIP, PPM)
    path.occlude(passes)
    core.evaluate()


# --- battery ---------------------------------------------------------------------------------------------------------


def feedthrough_short(core: PumpCore, charge_lost_ppm: int, *, safe_state: bool) -> None:
    """A short pulls the supply down: charge is lost and the pump resets (F3)."""
    core.battery.spend(core.battery.capacity_pc * charge_lost_ppm // PPM)
    recovery.low_battery_reset(core, safe_state=safe_state)
    core.evaluate()


def grow_film(core: PumpCore, film_mohm: int, capacity_lost_ppm: int) -> None:
    """A film grows in the battery: more resistance, less charge within reach (F4)."""
    core.battery.grow_film(film_mohm, capacity_lost_ppm)
    core.evaluate()


def battery_gives_out(core: PumpCore) -> None:
    """The charge is gone at once (F4, sudden end)."""
    core.battery.spend(core.battery.remaining_pc + 1)
    core.evaluate()


def would_brown_out(core: PumpCore, film_mohm: int) -> bool:
    """Whether so much more film brings the battery down under a stroke before it is empty (F4)."""
    return core.battery.browns_out_when_empty(core.profile.stroke_peak_ua, film_mohm)


# --- firmware, memory, clock, sensor, beeper -------------------------------------------------------------------------


def stop_while_updating(core: PumpCore, *, present: bool) -> None:
    """Behave like a pump of the old kind, which halts while it is programmed (F12)."""
    core.upsets.stops_while_updating = present


def break_replace_by(core: PumpCore, mode: str) -> None:
    """Tell a wrong replace-by date: none at all (``invalid``), or one too far away (F13)."""
    core.upsets.replace_by_invalid = mode == "invalid"
    core.upsets.replace_by_shift_ms = (
        core.profile.replacement_reserve_ms + _DAYS_TOO_LATE * MS_PER_DAY if mode == "too_late" else 0
    )


def mend_replace_by(core: PumpCore) -> None:
    """Tell the right date again."""
    core.upsets.replace_by_invalid, core.upsets.replace_by_shift_ms = False, 0


def block_updates(core: PumpCore, *, present: bool) -> None:
    """Store an error code that blocks every update, or clear it by resetting the memory (F14)."""
    core.upsets.stored_error = present


def can_latch(core: PumpCore) -> bool:
    """Whether interference could latch it: it sounds an alarm, and is not latched already (domain.md 4, F16)."""
    sounds_one = any(alarm.signal in _SOUNDING for alarm in core.alarms.report())
    return sounds_one and not core.upsets.telemetry_mode


def telemetry_latch(core: PumpCore) -> None:
    """Interference puts a pump that sounds an alarm into telemetry mode (F16); does nothing to a quiet one."""
    if not can_latch(core):
        return
    core.upsets.telemetry_since_ms = core.now_ms
    timeout_ms = core.profile.telemetry_mode_timeout_ms
    core.upsets.telemetry_until_ms = core.now_ms + timeout_ms if timeout_ms else None
    core.note(LogCode.TELEMETRY_MODE_ENTERED)
    core.emit(LogCode.TELEMETRY_MODE_ENTERED)
    core.evaluate()


def leave_telemetry(core: PumpCore) -> None:
    """Leave telemetry mode, as if its time-out had come."""
    conditions.leave_telemetry_mode(core)
    core.evaluate()


def cut_power(core: PumpCore) -> None:
    """Power goes and comes back at once."""
    recovery.power_cut(core)
    recovery.boot(core, core.now_ms)


def check_page(core: PumpCore, page: str, bit: int) -> None:
    """Raises ``UsageError`` for a page that was never written, or is shorter than that."""
    medium = core.memory.medium
    if page not in medium.pages():
        raise UsageError(f"fault memory_error: {page} was never written; written pages: {', '.join(medium.pages())}")
    bits = 8 * len(medium.read(page))
    if not 0 <= bit < bits:
        raise UsageError(f"fault memory_error bit: {bit} is outside page {page} (0 to {bits - 1})")


def flip_bit_of(core: PumpCore, page: str, bit: int) -> None:
    """Flip that bit of that page; found at the next memory check."""
    check_page(core, page, bit)
    core.memory.medium.flip_bit(page, bit)
    _look_soon(core)


def _look_soon(core: PumpCore) -> None:
    """Something in the memory has changed: the next check of it is an instant of the pump."""
    every_ms = core.profile.memory_check_every_ms
    if core.memory_check_due_ms is None:
        core.memory_check_due_ms = (core.now_ms // every_ms + 1) * every_ms


def flip_bit(core: PumpCore, bit: int, *, every_copy: bool) -> None:
    """Flip a bit of the bank in force, or of one copy of its commit record (F29); found at the next memory check.

    ``bit`` counts modulo the page's size.
    """
    medium = core.memory.medium
    page = BANKS[0 if core.active is None else core.active.bank] if every_copy else "limits_a"
    medium.flip_bit(page, bit % (8 * len(medium.read(page))))
    _look_soon(core)


def fail_writes(core: PumpCore, writes: int) -> None:
    """Let the next writes of a program bank, whichever, not get through (F29)."""
    core.memory.medium.fail_writes(writes, "bank_")


def heal_writes(core: PumpCore) -> None:
    """Let writes get through again."""
    core.memory.medium.heal_writes()


def check_wear(core: PumpCore) -> int:
    """How often a page can be written; raises ``UsageError`` for a memory that lasts for ever."""
    endurance = core.memory.medium.endurance_writes
    if endurance is None:
        raise UsageError(
            "fault memory_corruption: this pump's memory lasts for ever; give its profile a memory_endurance_writes"
        )
    return endurance


def wear_memory(core: PumpCore) -> None:
    """Wear the program banks out: beyond their endurance bits stick (F29)."""
    endurance = check_wear(core)
    for bank in BANKS:
        core.memory.medium.wear(bank, endurance)


def shift_clock(core: PumpCore, minutes: int) -> None:
    """Let the pump's clock be so many minutes behind the patient's: its schedule comes that much later (F27).

    Whoever shifted it did not go through the pump: nothing is logged, and the pump knows nothing of it.
    """
    clock = core.clock
    clock.set(clock.utc_s(core.now_ms) - minutes * (MS_PER_MINUTE // 1_000), clock.zone_minutes, core.now_ms)
    core.read_plan()
    core.evaluate()


def drift_clock(core: PumpCore, drift_ppm: int) -> None:
    """Let the pump's clock run so much too fast from now on (F27)."""
    core.clock.set_drift_ppm(drift_ppm, core.now_ms)
    core.read_plan()
    core.evaluate()


def shift_sensor(core: PumpCore, offset_nl: int) -> None:
    """Let the level sensor read so much more, or less (F22); raises ``UsageError`` without a sensor."""
    if not core.profile.level_sensor:
        raise UsageError("level_sensor_drift: this pump has no level sensor")
    core.reservoir.sensor_offset_nl += offset_nl
    core.evaluate()


def set_beeper(core: PumpCore, *, works: bool) -> None:
    """Break or mend the transducer (F26)."""
    core.alarms.set_beeper(core.now_ms, works=works)
    core.evaluate()


# --- environment and needle ------------------------------------------------------------------------------------------


def dump_reservoir(core: PumpCore, valve_passes_nl: int) -> int:
    """The field opens the valves: all of it goes through the catheter at once (F17); returns the nl that went.

    A flow-activated valve lets ``valve_passes_nl`` through. Raises ``UsageError`` for a pump without such valves.
    """
    if not core.profile.mri_valve_dump:
        raise UsageError(f"mri_reservoir_dump: a {core.profile.drive} pump has no valves that a field could open")
    gone_nl = core.reservoir.dump(valve_passes_nl if core.profile.has_flow_activated_valve else None)
    core.evaluate()
    return gone_nl


def surround(core: PumpCore, mode: str, values: Values) -> None:
    """Up a mountain, under water, or in a fever (F25)."""
    environment = core.reservoir.environment
    if mode == "fever":
        environment.set_temperature(values["decidegrees"])
    elif mode == "altitude":
        environment.set_pressure(pressure_at_altitude_hpa(values["metres"]))
    else:
        environment.set_pressure(pressure_at_depth_hpa(values["depth_dm"]))
    core.evaluate()


def at_sea_level(core: PumpCore, mode: str) -> None:
    """Back to sea level, or to 37.0 degrees C; a bent reservoir stays bent."""
    environment = core.reservoir.environment
    if mode == "fever":
        environment.set_temperature(BODY_DECIDEGREES)
    else:
        environment.set_pressure(SEA_LEVEL_HPA)
    core.evaluate()


def inject_at_side_port(core: PumpCore, volume_nl: int, concentration_ng_per_ml: int) -> None:
    """A syringe empties itself into the catheter instead of the reservoir (F19)."""
    core.reservoir.inject(volume_nl, concentration_ng_per_ml)
    core.evaluate()


def tell_tubing(core: PumpCore, told_nl: int | None) -> None:
    """Tell the pump a tubing volume that is not its own (F8), or with None the one of its profile again."""
    core.upsets.tubing_told_nl = told_nl


def slip(core: PumpCore, name: str, mode: str, values: Values) -> None:
    """Let a person's mistake wait for the next act that it spoils (F9, F10, F11, F18, F20)."""
    core.upsets.slips.put(name, mode, values)


def sounds(core: PumpCore, kind: AlarmKind) -> bool:
    """Whether this alarm can be heard now."""
    return core.alarms.beeper_works and any(
        alarm.kind is kind and alarm.signal in _SOUNDING for alarm in core.alarms.report()
    )

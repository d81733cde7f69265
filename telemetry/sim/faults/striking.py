"""What each fault of the catalogue does to a virtual pump, and how it ends: names to effects, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.faults.catalogue import Target
from telemetry.sim.pump import mishaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from telemetry.sim.faults.armed import Armed
    from telemetry.sim.faults.injection import Injection
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.radio import RadioTrouble

    Effect = Callable[[PumpCore, "Armed"], object]


class PumpPatient:
    """A virtual pump as the fault engine strikes it: its device as it is at this instant, and the radio around it."""

    def __init__(self, device: PumpDevice, radio: RadioTrouble) -> None:
        self._core = device.core
        self._radio = radio

    def refuse(self, injection: Injection) -> None:
        """Raises ``UsageError`` when a pump of this kind can never have that fault."""
        fault, profile = injection.fault, self._core.profile
        if profile.drive not in fault.drives:
            drives = ", ".join(fault.drives)
            raise UsageError(
                f"fault {fault.name}: needs a pump with the drive {drives}; {profile.name} is {profile.drive}"
            )
        if fault.needs_sensor and not profile.level_sensor:
            raise UsageError(f"fault {fault.name}: needs a pump with a level sensor; {profile.name} has none")
        if fault.name == "mri_reservoir_dump" and not profile.mri_valve_dump:
            raise UsageError(f"fault {fault.name}: the valves of {profile.name} stay shut in a field (mri_valve_dump)")

    def hinder(self, armed: Armed) -> None:
        """Raises ``UsageError`` when it cannot have it now, as it is."""
        if armed.injection.fault.target is Target.RADIO:
            self._radio.hinder(self._core, armed.injection.mode_in_force)
            return
        check = _CHECKS.get(armed.name)
        if check is not None:
            check(self._core, armed)

    def strike(self, armed: Armed, others: Iterable[Armed]) -> None:
        """Let the fault happen now; ``others`` are in force beside it."""
        target = armed.injection.fault.target
        if target is Target.CATHETER:
            _catheter(self._core, (*others, armed))
        elif target is Target.RADIO:
            self._radio.strike(self._core, armed.id, armed.injection)
        else:
            _STRIKES[armed.name](self._core, armed)

    def step(self, armed: Armed) -> None:
        """Let the fault in force grow: a rate that jumps once more, a motor that an unapproved drug has eaten up."""
        if armed.name == "over_infusion":
            _over_infuse(self._core, armed)
        else:
            mishaps.stall(self._core)

    def relieve(self, armed: Armed, others: Iterable[Armed]) -> None:
        """End what the fault began; ``others`` stay in force."""
        target = armed.injection.fault.target
        if target is Target.CATHETER:
            _catheter(self._core, others)
        elif target is Target.RADIO:
            self._radio.relieve(armed.id)
        elif armed.name in _STALLS:
            if not any(other.name in _STALLS and _stalls(other) for other in others):
                mishaps.free(self._core)
        elif armed.name in _ENDS:
            _ENDS[armed.name](self._core, armed)
            for other in others:
                if other.name == armed.name and armed.name in _SETTINGS:
                    _STRIKES[other.name](self._core, other)

    def tell(self, kind: str, detail: str) -> None:
        """Let everybody who listens to the pump know."""
        self._core.emit(kind, detail)


def _catheter(core: PumpCore, struck: Iterable[Armed]) -> None:
    """All that is wrong with the catheter, together."""
    found = []
    for armed in struck:
        injection = armed.injection
        if injection.fault.target is Target.CATHETER:
            mode = "disconnected" if injection.name == "connector_defect" else injection.mode_in_force
            since_ms = core.now_ms if armed.struck_ms is None else armed.struck_ms
            found.append((mode, injection.every_value() | {"since_ms": since_ms}))
    mishaps.set_catheter(core, found)


_STALLS = frozenset({"motor_stall", "intermittent_stall", "mri_stall", "magnet", "unapproved_drug"})


_SETTINGS = frozenset(
    {
        "wrong_tubing_volume",
        "incomplete_programming",
        "wrong_replace_by",
        "update_blocked",
        "pressure",
        "dead_beeper",
        "wrong_calibration",
    }
)
"""They set something instead of adding to it: where one of two ends, the other's setting holds again."""


def _stalls(armed: Armed) -> bool:
    """Whether this one holds the rotor now; an unapproved drug does once it has eaten the motor up."""
    return armed.name != "unapproved_drug" or armed.steps > 1


# --- what stands against it ------------------------------------------------------------------------------------------


def _check_rate_error(core: PumpCore, armed: Armed) -> None:
    ppm = armed.injection.value("error_ppm" if armed.name == "over_infusion" else "rate_ppm")
    mishaps.check_rate_error(core, armed.name, ppm)


def _check_film(core: PumpCore, armed: Armed) -> None:
    injection = armed.injection
    if injection.mode_in_force == "brown_out" and not mishaps.would_brown_out(core, injection.value("film_mohm")):
        raise UsageError(
            f"fault battery_film film_mohm: {injection.value('film_mohm')} never brings this battery down, empty as it "
            "may get; give more"
        )


def _check_memory(core: PumpCore, armed: Armed) -> None:
    mode = armed.injection.mode_in_force
    if mode == "silent":
        _check_rate_error(core, armed)
    elif mode == "wear":
        mishaps.check_wear(core)


def _check_slip(core: PumpCore, armed: Armed) -> None:
    if core.upsets.slips.has(armed.name):
        fault = armed.injection.fault
        raise UsageError(
            f"fault {armed.name}: it waits for the next {fault.acts_on_next} already; clear that one first"
        )


def _check_latch(core: PumpCore, _armed: Armed) -> None:
    if not mishaps.can_latch(core):
        raise UsageError(
            "fault mri_telemetry_latch: interference latches only a pump that is sounding an alarm and is not in "
            "telemetry mode already; let it wait for one (--when alarm_raised)"
        )


def _check_side_port(core: PumpCore, _armed: Armed) -> None:
    if not core.reservoir.path.pass_ppm:
        raise UsageError("fault side_port_injection: the catheter is occluded and takes nothing; clear that first")


_CHECKS: dict[str, Effect] = {
    "over_infusion": _check_rate_error,
    "battery_film": _check_film,
    "memory_corruption": _check_memory,
    "memory_error": lambda core, armed: mishaps.check_page(
        core, armed.injection.mode_in_force, armed.injection.value("bit")
    ),
    "mri_telemetry_latch": _check_latch,
    "side_port_injection": _check_side_port,
    "bridge_omitted": _check_slip,
    "wrong_concentration": _check_slip,
    "unit_mix_up": _check_slip,
    "pocket_fill": _check_slip,
    "overfill": _check_slip,
}


# --- what it does ----------------------------------------------------------------------------------------------------


def _over_infuse(core: PumpCore, armed: Armed) -> None:
    mishaps.add_rate_error(core, armed.injection.value("error_ppm"), armed.name)


def _film(core: PumpCore, armed: Armed) -> None:
    injection, mode = armed.injection, armed.injection.mode_in_force
    if mode == "early_replacement":
        mishaps.grow_film(core, 0, injection.value("capacity_lost_ppm"))
    elif mode == "sudden_end":
        mishaps.battery_gives_out(core)
    else:
        mishaps.grow_film(core, injection.value("film_mohm"), 0)


def _memory(core: PumpCore, armed: Armed) -> None:
    injection, mode = armed.injection, armed.injection.mode_in_force
    if mode in {"detected", "repaired"}:
        mishaps.flip_bit(core, injection.value("bit"), every_copy=mode == "detected")
    elif mode == "silent":
        mishaps.add_rate_error(core, injection.value("rate_ppm"), armed.name)
    elif mode == "write_failure":
        mishaps.fail_writes(core, injection.value("writes"))
    else:
        mishaps.wear_memory(core)


def _heal_memory(core: PumpCore, armed: Armed) -> None:
    mode = armed.injection.mode_in_force
    if mode == "silent":
        mishaps.add_rate_error(core, -armed.injection.value("rate_ppm"), armed.name)
    elif mode == "write_failure":
        mishaps.heal_writes(core)


def _clock(core: PumpCore, armed: Armed) -> None:
    if armed.injection.mode_in_force == "drift":
        mishaps.drift_clock(core, core.clock.drift_ppm + armed.injection.value("drift_ppm"))
    else:
        mishaps.shift_clock(core, armed.injection.value("minutes"))


def _right_clock(core: PumpCore, armed: Armed) -> None:
    if armed.injection.mode_in_force == "drift":
        mishaps.drift_clock(core, core.clock.drift_ppm - armed.injection.value("drift_ppm"))
    else:
        mishaps.shift_clock(core, -armed.injection.value("minutes"))


def _offset(armed: Armed) -> int:
    sign = 1 if armed.injection.mode_in_force == "reads_high" else -1
    return sign * armed.injection.value("offset_nl")


def _slip(core: PumpCore, armed: Armed) -> None:
    mishaps.slip(core, armed.name, armed.injection.mode_in_force, armed.injection.every_value())


def _unslip(core: PumpCore, armed: Armed) -> None:
    core.upsets.slips.take(armed.name)


def _nothing_yet(_core: PumpCore, _armed: Armed) -> None:
    """An unapproved drug is in the pump; it grows to a stall when its time has come."""


_STRIKES: Mapping[str, Effect] = {
    "motor_stall": lambda core, _: mishaps.stall(core),
    "intermittent_stall": lambda core, _: mishaps.stall(core),
    "mri_stall": lambda core, _: mishaps.stall(core),
    "magnet": lambda core, _: mishaps.stall(core),
    "power_cut": lambda core, _: mishaps.cut_power(core),
    "memory_error": lambda core, armed: mishaps.flip_bit_of(
        core, armed.injection.mode_in_force, armed.injection.value("bit")
    ),
    "unapproved_drug": _nothing_yet,
    "feedthrough_short": lambda core, armed: mishaps.feedthrough_short(
        core,
        armed.injection.value("charge_lost_ppm"),
        safe_state=armed.injection.mode_in_force == "safe_state",
    ),
    "battery_film": _film,
    "over_infusion": _over_infuse,
    "wrong_tubing_volume": lambda core, armed: mishaps.tell_tubing(core, armed.injection.value("told_nl")),
    "bridge_omitted": _slip,
    "wrong_concentration": _slip,
    "unit_mix_up": _slip,
    "pocket_fill": _slip,
    "overfill": _slip,
    "incomplete_programming": lambda core, _: mishaps.stop_while_updating(core, present=True),
    "wrong_replace_by": lambda core, armed: mishaps.break_replace_by(core, armed.injection.mode_in_force),
    "update_blocked": lambda core, _: mishaps.block_updates(core, present=True),
    "mri_telemetry_latch": lambda core, _: mishaps.telemetry_latch(core),
    "mri_reservoir_dump": lambda core, armed: mishaps.dump_reservoir(core, armed.injection.value("valve_passes_nl")),
    "side_port_injection": lambda core, armed: mishaps.inject_at_side_port(
        core, armed.injection.value("volume_nl"), armed.injection.value("concentration_ng_per_ml")
    ),
    "tube_set": lambda core, armed: mishaps.tube_set(core, armed.injection.value("error_ppm")),
    "level_sensor_drift": lambda core, armed: mishaps.shift_sensor(core, _offset(armed)),
    "pressure": lambda core, armed: mishaps.surround(
        core, armed.injection.mode_in_force, armed.injection.every_value()
    ),
    "dead_beeper": lambda core, _: mishaps.set_beeper(core, works=False),
    "clock_error": _clock,
    "wrong_calibration": lambda core, armed: mishaps.set_calibration(core, armed.injection.value("told_ppm")),
    "memory_corruption": _memory,
}
"""What happens; the catheter's own faults are worked out together, those of the radio by the radio."""

_ENDS: Mapping[str, Effect] = {
    "over_infusion": lambda core, armed: mishaps.add_rate_error(
        core, -armed.injection.value("error_ppm") * armed.steps, armed.name
    ),
    "wrong_tubing_volume": lambda core, _: mishaps.tell_tubing(core, None),
    "bridge_omitted": _unslip,
    "wrong_concentration": _unslip,
    "unit_mix_up": _unslip,
    "pocket_fill": _unslip,
    "overfill": _unslip,
    "incomplete_programming": lambda core, _: mishaps.stop_while_updating(core, present=False),
    "wrong_replace_by": lambda core, _: mishaps.mend_replace_by(core),
    "update_blocked": lambda core, _: mishaps.block_updates(core, present=False),
    "mri_telemetry_latch": lambda core, _: mishaps.leave_telemetry(core),
    "level_sensor_drift": lambda core, armed: mishaps.shift_sensor(core, -_offset(armed)),
    "pressure": lambda core, armed: mishaps.at_sea_level(core, armed.injection.mode_in_force),
    "dead_beeper": lambda core, _: mishaps.set_beeper(core, works=True),
    "clock_error": _right_clock,
    "wrong_calibration": lambda core, _: mishaps.right_calibration(core),
    "memory_corruption": _heal_memory,
}
"""What ends again; a fault that is not here leaves for good what it did (a film, a tube that took a set)."""

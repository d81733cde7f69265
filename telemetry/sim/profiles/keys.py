"""Which keys a profile file has, which field of ``PumpProfile`` each fills, and how its text is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.units import Charge, Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = "none"


def counted(unit: str) -> Callable[[str], int]:
    """A parser of whole numbers (a sign is allowed) with exactly this unit."""

    def parse(text: str) -> int:
        number, _, written = text.partition(" ")
        if written != unit or not number.removeprefix("-").isdecimal():
            raise UsageError(f"{text!r} is no whole number of {unit}")
        return int(number)

    return parse


def charge_per(unit: str) -> Callable[[str], int]:
    """A parser of a charge per something (``2 uC/byte``), in pC per that."""

    def parse(text: str) -> int:
        charge, _, written = text.rpartition("/")
        if written != unit:
            raise UsageError(f"{text!r} is no charge per {unit} (write it like 2 uC/{unit})")
        return Charge.parse(charge).pc

    return parse


def choice(*names: str) -> Callable[[str], str]:
    """A parser of one of these words."""

    def parse(text: str) -> str:
        if text not in names:
            raise UsageError(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


def yes_or_no(text: str) -> bool:
    """``yes`` or ``no``."""
    return choice("yes", "no")(text) == "yes"


def listed(parse: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    """A parser of several numbers with one unit after the last (``500,1000 ug/ml``), or ``none``."""

    def read(text: str) -> tuple[int, ...]:
        if text == NOTHING:
            return ()
        numbers, _, unit = text.partition(" ")
        return tuple(parse(f"{number} {unit}") for number in numbers.split(","))

    return read


def volume_nl(text: str) -> int:
    """A volume, in nl."""
    return Volume.parse(text).nl


def _signed_volume_nl(text: str) -> int:
    return -volume_nl(text[1:]) if text.startswith("-") else volume_nl(text)


def _rate_nl_per_day(text: str) -> int:
    return FlowRate.parse(text).nl_per_day


def _daily_dose_ng(text: str) -> int:
    return DailyDose.parse(text).ng_per_day


def _dose_ng(text: str) -> int:
    return Dose.parse(text).ng


def span_ms(text: str) -> int:
    """A span of time, in ms."""
    return Duration.parse(text).ms


def _concentration(text: str) -> int:
    return Concentration.parse(text).ng_per_ml


def charge_pc(text: str) -> int:
    """A charge, in pC."""
    return Charge.parse(text).pc


_ppm = counted("ppm")

NUMBERS: dict[str, tuple[str, Callable[[str], int]]] = {
    "reservoir.capacity": ("reservoir_capacity_nl", volume_nl),
    "reservoir.overfill_margin": ("overfill_margin_nl", volume_nl),
    "reservoir.low_alarm": ("low_reservoir_alarm_nl", volume_nl),
    "reservoir.low_alarm_floor": ("low_reservoir_alarm_floor_nl", volume_nl),
    "reservoir.sensor_offset": ("sensor_offset_nl", _signed_volume_nl),
    "reservoir.start_concentration": ("start_concentration_ng_per_ml", _concentration),
    "reservoir.refill_interval_max": ("refill_interval_max_ms", span_ms),
    "path.tubing": ("tubing_volume_nl", volume_nl),
    "path.catheter": ("catheter_volume_nl", volume_nl),
    "path.labelled_tubing": ("labelled_tubing_volume_nl", volume_nl),
    "path.labelled_catheter": ("labelled_catheter_volume_nl", volume_nl),
    "delivery.stroke": ("stroke_volume_nl", volume_nl),
    "delivery.strokes_per_revolution": ("strokes_per_revolution", counted("strokes")),
    "delivery.min_rate": ("min_rate_nl_per_day", _rate_nl_per_day),
    "delivery.max_rate": ("max_rate_nl_per_day", _rate_nl_per_day),
    "delivery.keep_alive_rate": ("keep_alive_rate_nl_per_day", _rate_nl_per_day),
    "delivery.safe_basal_rate": ("safe_basal_rate_nl_per_day", _rate_nl_per_day),
    "delivery.start_rate": ("start_rate_nl_per_day", _rate_nl_per_day),
    "delivery.prime_rate": ("prime_rate_nl_per_day", _rate_nl_per_day),
    "delivery.max_schedule_steps": ("max_schedule_steps", counted("steps")),
    "delivery.max_ramp_steps": ("max_ramp_steps", counted("steps")),
    "delivery.rate_error": ("rate_error_ppm", _ppm),
    "delivery.calibration": ("calibration_ppm", _ppm),
    "delivery.package_calibration": ("package_calibration_ppm", _ppm),
    "rotor.stall_detection_latency": ("stall_detection_latency_ms", span_ms),
    "rotor.stall_recovery_interrogations": ("stall_recovery_interrogations", counted("interrogations")),
    "rotor.tube_set_after": ("tube_set_after_ms", span_ms),
    "rotor.tube_set_error": ("tube_set_error_ppm", _ppm),
    "rotor.mri_restart": ("mri_restart_ms", span_ms),
    "environment.temperature": ("temperature_ppm_per_decidegree", counted("ppm/decidegree")),
    "environment.pressure": ("pressure_ppm_per_hpa", counted("ppm/hPa")),
    "environment.bend_pressure": ("bend_pressure_hpa", counted("hPa")),
    "environment.bend_error": ("bend_error_ppm", _ppm),
    "limits.daily_dose_hard_min": ("daily_dose_hard_min_ng", _daily_dose_ng),
    "limits.daily_dose_hard_max": ("daily_dose_hard_max_ng", _daily_dose_ng),
    "limits.daily_dose_soft_min": ("daily_dose_soft_min_ng", _daily_dose_ng),
    "limits.daily_dose_soft_max": ("daily_dose_soft_max_ng", _daily_dose_ng),
    "limits.change_soft": ("change_soft_ppm", _ppm),
    "limits.change_hard": ("change_hard_ppm", _ppm),
    "limits.bolus_dose_soft_max": ("bolus_dose_soft_max_ng", _dose_ng),
    "limits.bolus_dose_hard_max": ("bolus_dose_hard_max_ng", _dose_ng),
    "limits.window_1h": ("window_1h_nl", volume_nl),
    "limits.window_4h": ("window_4h_nl", volume_nl),
    "limits.window_24h": ("window_24h_nl", volume_nl),
    "battery.capacity": ("battery_capacity_pc", charge_pc),
    "battery.idle_drain": ("idle_drain_pc_per_day", charge_per("day")),
    "battery.shelf_drain": ("shelf_drain_pc_per_day", charge_per("day")),
    "battery.flow_charge": ("flow_charge_pc_per_nl", charge_per("nl")),
    "battery.telemetry_charge": ("telemetry_charge_pc_per_byte", charge_per("byte")),
    "battery.replacement_reserve": ("replacement_reserve_ms", span_ms),
    "battery.service_life": ("service_life_ms", span_ms),
    "battery.open_circuit_full": ("open_circuit_full_mv", counted("mV")),
    "battery.open_circuit_empty": ("open_circuit_empty_mv", counted("mV")),
    "battery.internal_resistance": ("internal_resistance_mohm", counted("mohm")),
    "battery.stroke_peak": ("stroke_peak_ua", counted("uA")),
    "battery.tone_peak": ("tone_peak_ua", counted("uA")),
    "battery.telemetry_peak": ("telemetry_peak_ua", counted("uA")),
    "battery.brownout": ("brownout_mv", counted("mV")),
    "timing.stopped_alarm_after": ("stopped_alarm_after_ms", span_ms),
    "timing.max_silence": ("max_silence_ms", span_ms),
    "timing.telemetry_mode_timeout": ("telemetry_mode_timeout_ms", span_ms),
    "timing.memory_check_every": ("memory_check_every_ms", span_ms),
    "timing.memory_endurance": ("memory_endurance_writes", counted("writes")),
    "timing.clock_drift": ("clock_drift_ppm", _ppm),
    "timing.log_capacity": ("log_capacity", counted("records")),
}
"""Key in the file to the field of ``PumpProfile`` and how its text is read."""

FLAGS = {
    "reservoir.level_sensor": "level_sensor",
    "delivery.zero_rate_allowed": "zero_rate_allowed",
    "delivery.patient_bolus_allowed": "patient_bolus_allowed",
    "rotor.mri_valve_dump": "mri_valve_dump",
    "rotor.flow_activated_valve": "has_flow_activated_valve",
}
"""Keys whose value is ``yes`` or ``no``, to the field."""

LISTS: dict[str, tuple[str, Callable[[str], tuple[int, ...]]]] = {
    "reservoir.concentrations": ("concentrations_ng_per_ml", listed(_concentration)),
    "delivery.stroke_cycle": ("stroke_cycle_ppm", listed(_ppm)),
}
"""Keys whose value is several numbers, to the field and how its text is read."""

SECTIONS = ("reservoir", "path", "delivery", "rotor", "environment", "limits", "battery", "timing")
"""The tables of a file that hold such keys, in the order in which they are shown."""


def keys_of(section: str) -> tuple[str, ...]:
    """The keys of one table, without its name."""
    every = (*NUMBERS, *LISTS, *FLAGS)
    return tuple(key.partition(".")[2] for key in every if key.startswith(f"{section}."))

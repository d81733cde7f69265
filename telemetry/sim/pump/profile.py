"""What a family of pumps is made of: one frozen record of integers, each with its unit in its name.

The numbers, their sources and their confidence marks live in ``telemetry/sim/profiles/*.toml``; this module knows
only their shape and the rules that hold between them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority, Drive, Drug
from telemetry.units import MS_PER_DAY

PPM = 1_000_000
MODEL_LENGTH = 16
SMALLEST_LOG = 1024


@dataclass(frozen=True, slots=True)
class AlarmSpec:
    """How one kind of alarm behaves.

    A burst of ``tones_per_burst`` tones lasting ``burst_ms`` sounds every ``repeat_ms`` and costs
    ``burst_charge_pc``. ``latching``: it sounds on after its condition is over, until acknowledged.
    ``acknowledged_for_ms``: how long an acknowledgement keeps a *present* condition quiet; 0: as long as the
    condition lasts.
    """

    kind: AlarmKind
    alarm_class: AlarmClass
    priority: AlarmPriority
    tones_per_burst: int
    burst_ms: int
    repeat_ms: int
    burst_charge_pc: int
    latching: bool
    can_disable: bool
    acknowledged_for_ms: int

    def __post_init__(self) -> None:
        for name in ("tones_per_burst", "burst_ms", "repeat_ms"):
            _need_int(f"alarms.{self.kind}.{name}", getattr(self, name), least=1)
        for name in ("burst_charge_pc", "acknowledged_for_ms"):
            _need_int(f"alarms.{self.kind}.{name}", getattr(self, name), least=0)
        if self.burst_ms > self.repeat_ms:
            raise UsageError(
                f"alarms.{self.kind}.burst_ms: {self.burst_ms} is longer than repeat_ms {self.repeat_ms}; "
                "one burst must end before the next begins"
            )

    @property
    def sounding_drain_pc_per_day(self) -> int:
        """Average drain while it sounds, in whole pC/day: one burst every ``repeat_ms``."""
        return self.burst_charge_pc * MS_PER_DAY // self.repeat_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpProfile:
    """A family of pumps. Raises ``UsageError`` naming field, value and rule when its numbers contradict each other.

    ``labelled_…``: what the pump was told of its path. ``calibration_ppm`` is the constant it was told,
    ``package_calibration_ppm`` the one on its package, which is the true one (domain.md 2.10). ``stroke_cycle_ppm``:
    the error of each stroke of a revolution, none or summing to 0. ``…_ppm_per_…``: change of the true flow with the
    body's temperature and with ambient pressure. ``window_…``: most volume commanded in that span.
    ``telemetry_mode_timeout_ms`` 0: only an interrogation ends that mode.
    """

    name: str
    model: str
    serial: str
    firmware: int
    drug: Drug
    drive: Drive
    reservoir_capacity_nl: int
    overfill_margin_nl: int
    low_reservoir_alarm_nl: int
    low_reservoir_alarm_floor_nl: int
    level_sensor: bool
    sensor_offset_nl: int
    start_concentration_ng_per_ml: int
    concentrations_ng_per_ml: tuple[int, ...]
    refill_interval_max_ms: int
    tubing_volume_nl: int
    catheter_volume_nl: int
    labelled_tubing_volume_nl: int
    labelled_catheter_volume_nl: int
    stroke_volume_nl: int
    strokes_per_revolution: int
    stroke_cycle_ppm: tuple[int, ...]
    min_rate_nl_per_day: int
    max_rate_nl_per_day: int
    keep_alive_rate_nl_per_day: int
    safe_basal_rate_nl_per_day: int
    start_rate_nl_per_day: int
    prime_rate_nl_per_day: int
    zero_rate_allowed: bool
    patient_bolus_allowed: bool
    max_schedule_steps: int
    max_ramp_steps: int
    rate_error_ppm: int
    calibration_ppm: int
    package_calibration_ppm: int
    stall_detection_latency_ms: int
    stall_recovery_interrogations: int
    tube_set_after_ms: int
    tube_set_error_ppm: int
    temperature_ppm_per_decidegree: int
    pressure_ppm_per_hpa: int
    bend_pressure_hpa: int
    bend_error_ppm: int
    mri_restart_ms: int
    mri_valve_dump: bool
    has_flow_activated_valve: bool
    daily_dose_hard_min_ng: int
    daily_dose_hard_max_ng: int
    daily_dose_soft_min_ng: int
    daily_dose_soft_max_ng: int
    change_soft_ppm: int
    change_hard_ppm: int
    bolus_dose_soft_max_ng: int
    bolus_dose_hard_max_ng: int
    window_1h_nl: int
    window_4h_nl: int
    window_24h_nl: int
    battery_capacity_pc: int
    idle_drain_pc_per_day: int
    shelf_drain_pc_per_day: int
    flow_charge_pc_per_nl: int
    telemetry_charge_pc_per_byte: int
    replacement_reserve_ms: int
    service_life_ms: int
    open_circuit_full_mv: int
    open_circuit_empty_mv: int
    internal_resistance_mohm: int
    stroke_peak_ua: int
    tone_peak_ua: int
    telemetry_peak_ua: int
    brownout_mv: int
    stopped_alarm_after_ms: int
    max_silence_ms: int
    telemetry_mode_timeout_ms: int
    memory_check_every_ms: int
    memory_endurance_writes: int
    clock_drift_ppm: int
    log_capacity: int
    alarms: tuple[AlarmSpec, ...]

    def __post_init__(self) -> None:
        for name in NUMBER_FIELDS:
            _need_int(name, getattr(self, name), least=_LEAST.get(name, 1))
        for name in TEXT_FIELDS:
            _need_text(name, getattr(self, name))
        for name in FLAG_FIELDS:
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name}: {getattr(self, name)!r} is neither True nor False")
        for name, kind in CHOICE_FIELDS.items():
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name}: {getattr(self, name)!r} is none of {', '.join(kind)}")
        self._check_lists()
        self._check_order()
        kinds = [spec.kind for spec in self.alarms]
        if kinds != list(AlarmKind):
            raise UsageError(
                f"alarms: need each kind once, in the order {', '.join(AlarmKind)}; got {', '.join(kinds) or 'none'}"
            )

    def _check_lists(self) -> None:
        for name in LIST_FIELDS:
            value = getattr(self, name)
            if not isinstance(value, tuple):
                raise UsageError(f"{name}: {value!r} is no tuple of whole numbers")
            for entry in value:
                _need_int(name, entry, least=_LEAST.get(name, 1))
        strengths, cycle = self.concentrations_ng_per_ml, self.stroke_cycle_ppm
        if not strengths or list(strengths) != sorted(set(strengths)):
            raise UsageError(f"concentrations_ng_per_ml: {strengths} must be one or more, rising, none twice")
        if cycle and (len(cycle) != self.strokes_per_revolution or sum(cycle)):
            raise UsageError(
                f"stroke_cycle_ppm: {len(cycle)} errors summing to {sum(cycle)} ppm; give none, or "
                f"strokes_per_revolution ({self.strokes_per_revolution}) of them that sum to 0 "
                "(a mean error belongs to rate_error_ppm)"
            )

    def _check_order(self) -> None:
        for smaller, larger in _ORDER:
            low, high = getattr(self, smaller), getattr(self, larger)
            if low > high:
                raise UsageError(f"{smaller}: {low} is more than {larger} {high}; it must not be")

    @property
    def path_volume_nl(self) -> int:
        """From the reservoir's outlet to the tip: pump tubing and catheter (domain.md 2.7)."""
        return self.tubing_volume_nl + self.catheter_volume_nl

    @property
    def labelled_path_volume_nl(self) -> int:
        """The same as the pump was told."""
        return self.labelled_tubing_volume_nl + self.labelled_catheter_volume_nl

    @property
    def calibration_error_ppm(self) -> int:
        """What a wrong calibration constant does to the true flow: package over told, less 1 (domain.md 2.10)."""
        return self.package_calibration_ppm * PPM // self.calibration_ppm - PPM

    def alarm(self, kind: AlarmKind) -> AlarmSpec:
        """How this kind of alarm behaves."""
        return next(spec for spec in self.alarms if spec.kind is kind)


TEXT_FIELDS = ("name", "model", "serial")
CHOICE_FIELDS: dict[str, type[Drug | Drive]] = {"drug": Drug, "drive": Drive}
LIST_FIELDS = ("concentrations_ng_per_ml", "stroke_cycle_ppm")
FLAG_FIELDS = (
    "level_sensor",
    "zero_rate_allowed",
    "patient_bolus_allowed",
    "mri_valve_dump",
    "has_flow_activated_valve",
)
NUMBER_FIELDS = tuple(
    field.name
    for field in fields(PumpProfile)
    if field.name not in {*TEXT_FIELDS, *CHOICE_FIELDS, *LIST_FIELDS, *FLAG_FIELDS, "alarms"}
)
_WORD = (1 << 32) - 1
_LONG = (1 << 63) - 1
_LEAST = {
    "firmware": 0,
    "overfill_margin_nl": 0,
    "sensor_offset_nl": -_WORD,
    "stroke_cycle_ppm": 1 - PPM,
    "rate_error_ppm": 1 - PPM,
    "clock_drift_ppm": 1 - PPM,
    "stall_detection_latency_ms": 0,
    "stall_recovery_interrogations": 0,
    "tube_set_error_ppm": 1 - PPM,
    "temperature_ppm_per_decidegree": -PPM,
    "pressure_ppm_per_hpa": -PPM,
    "bend_error_ppm": 1 - PPM,
    "mri_restart_ms": 0,
    "low_reservoir_alarm_floor_nl": 0,
    "safe_basal_rate_nl_per_day": 0,
    "daily_dose_hard_min_ng": 0,
    "daily_dose_soft_min_ng": 0,
    "idle_drain_pc_per_day": 1,
    "flow_charge_pc_per_nl": 0,
    "telemetry_charge_pc_per_byte": 0,
    "internal_resistance_mohm": 0,
    "stroke_peak_ua": 0,
    "tone_peak_ua": 0,
    "telemetry_peak_ua": 0,
    "brownout_mv": 0,
    "telemetry_mode_timeout_ms": 0,
    "log_capacity": SMALLEST_LOG,
}
_ORDER = (
    ("keep_alive_rate_nl_per_day", "min_rate_nl_per_day"),
    ("min_rate_nl_per_day", "start_rate_nl_per_day"),
    ("start_rate_nl_per_day", "max_rate_nl_per_day"),
    ("min_rate_nl_per_day", "prime_rate_nl_per_day"),
    ("prime_rate_nl_per_day", "max_rate_nl_per_day"),
    ("safe_basal_rate_nl_per_day", "max_rate_nl_per_day"),
    ("low_reservoir_alarm_floor_nl", "low_reservoir_alarm_nl"),
    ("low_reservoir_alarm_nl", "reservoir_capacity_nl"),
    ("daily_dose_hard_min_ng", "daily_dose_soft_min_ng"),
    ("daily_dose_soft_min_ng", "daily_dose_soft_max_ng"),
    ("daily_dose_soft_max_ng", "daily_dose_hard_max_ng"),
    ("bolus_dose_soft_max_ng", "bolus_dose_hard_max_ng"),
    ("change_soft_ppm", "change_hard_ppm"),
    ("window_1h_nl", "window_4h_nl"),
    ("window_4h_nl", "window_24h_nl"),
    ("replacement_reserve_ms", "service_life_ms"),
    ("open_circuit_empty_mv", "open_circuit_full_mv"),
    ("brownout_mv", "open_circuit_empty_mv"),
)
_WIDTHS = {
    "rate_error_ppm": PPM,
    "clock_drift_ppm": PPM,
    "stroke_cycle_ppm": PPM,
    "tube_set_error_ppm": PPM,
    "temperature_ppm_per_decidegree": PPM,
    "pressure_ppm_per_hpa": PPM,
    "bend_error_ppm": PPM,
}
"""Upper bounds; whatever is not named here must fit the 32 or 64 bits its unit has on a wire."""


def _need_int(name: str, value: object, *, least: int) -> None:
    if type(value) is not int:
        raise UsageError(f"{name}: {value!r} is no whole number")
    most = _WIDTHS.get(name, _LONG if name.endswith(("_pc", "_ms", "_ng", "_day")) and "rate" not in name else _WORD)
    if not least <= value <= most:
        raise UsageError(f"{name}: {value} is outside {least} to {most}")


def _need_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value or len(value) > MODEL_LENGTH or not value.isascii():
        raise UsageError(f"{name}: {value!r} is no text of 1 to {MODEL_LENGTH} ASCII characters")

"""What a family of pumps is made of: one frozen record of integers, each with its unit in its name.

The numbers, their sources and their confidence marks live in ``telemetry/sim/profiles/*.toml``; this module knows
only their shape and the rules that hold between them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority, Drug
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
    """A family of pumps. Raises ``UsageError`` naming field, value and rule when its numbers contradict each other."""

    name: str
    model: str
    serial: str
    firmware: int
    drug: Drug
    reservoir_capacity_nl: int
    tubing_volume_nl: int
    catheter_volume_nl: int
    stroke_volume_nl: int
    min_rate_nl_per_day: int
    max_rate_nl_per_day: int
    keep_alive_rate_nl_per_day: int
    safe_basal_rate_nl_per_day: int
    start_rate_nl_per_day: int
    start_concentration_ng_per_ml: int
    rate_error_ppm: int
    low_reservoir_alarm_nl: int
    low_reservoir_alarm_floor_nl: int
    daily_dose_hard_min_ng: int
    daily_dose_hard_max_ng: int
    daily_dose_soft_min_ng: int
    daily_dose_soft_max_ng: int
    change_soft_ppm: int
    change_hard_ppm: int
    battery_capacity_pc: int
    idle_drain_pc_per_day: int
    flow_charge_pc_per_nl: int
    telemetry_charge_pc_per_byte: int
    replacement_reserve_ms: int
    service_life_ms: int
    stopped_alarm_after_ms: int
    max_silence_ms: int
    memory_check_every_ms: int
    clock_drift_ppm: int
    log_capacity: int
    alarms: tuple[AlarmSpec, ...]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _TEXTS:
                _need_text(field.name, value)
            elif field.name not in _OTHERS:
                _need_int(field.name, value, least=_LEAST.get(field.name, 1))
        if not isinstance(self.drug, Drug):
            raise UsageError(f"drug: {self.drug!r} is none of {', '.join(Drug)}")
        self._check_order()
        kinds = [spec.kind for spec in self.alarms]
        if kinds != list(AlarmKind):
            raise UsageError(
                f"alarms: need each kind once, in the order {', '.join(AlarmKind)}; got {', '.join(kinds) or 'none'}"
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

    def alarm(self, kind: AlarmKind) -> AlarmSpec:
        """How this kind of alarm behaves."""
        return next(spec for spec in self.alarms if spec.kind is kind)


_TEXTS = frozenset({"name", "model", "serial"})
_OTHERS = frozenset({"drug", "alarms"})
_LEAST = {
    "firmware": 0,
    "rate_error_ppm": 1 - PPM,
    "clock_drift_ppm": 1 - PPM,
    "low_reservoir_alarm_floor_nl": 0,
    "safe_basal_rate_nl_per_day": 0,
    "daily_dose_hard_min_ng": 0,
    "daily_dose_soft_min_ng": 0,
    "idle_drain_pc_per_day": 1,
    "flow_charge_pc_per_nl": 0,
    "telemetry_charge_pc_per_byte": 0,
    "log_capacity": SMALLEST_LOG,
}
_ORDER = (
    ("keep_alive_rate_nl_per_day", "min_rate_nl_per_day"),
    ("min_rate_nl_per_day", "start_rate_nl_per_day"),
    ("start_rate_nl_per_day", "max_rate_nl_per_day"),
    ("safe_basal_rate_nl_per_day", "max_rate_nl_per_day"),
    ("low_reservoir_alarm_floor_nl", "low_reservoir_alarm_nl"),
    ("low_reservoir_alarm_nl", "reservoir_capacity_nl"),
    ("daily_dose_hard_min_ng", "daily_dose_soft_min_ng"),
    ("daily_dose_soft_min_ng", "daily_dose_soft_max_ng"),
    ("daily_dose_soft_max_ng", "daily_dose_hard_max_ng"),
    ("change_soft_ppm", "change_hard_ppm"),
    ("replacement_reserve_ms", "service_life_ms"),
)
_WIDTHS = {"rate_error_ppm": PPM, "clock_drift_ppm": PPM}
"""Upper bounds; whatever is not named here must fit the 32 or 64 bits its unit has on a wire."""
_WORD = (1 << 32) - 1
_LONG = (1 << 63) - 1


def _need_int(name: str, value: object, *, least: int) -> None:
    if type(value) is not int:
        raise UsageError(f"{name}: {value!r} is no whole number")
    most = _WIDTHS.get(name, _LONG if name.endswith(("_pc", "_ms", "_ng", "_day")) and "rate" not in name else _WORD)
    if not least <= value <= most:
        raise UsageError(f"{name}: {value} is outside {least} to {most}")


def _need_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value or len(value) > MODEL_LENGTH or not value.isascii():
        raise UsageError(f"{name}: {value!r} is no text of 1 to {MODEL_LENGTH} ASCII characters")

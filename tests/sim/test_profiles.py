"""Pump families as data: complete, sourced, strict."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from telemetry.errors import UsageError
from telemetry.model import AlarmKind
from telemetry.sim import profiles
from telemetry.sim.profiles import keys, list_profiles, load_profile, profile_table
from telemetry.sim.pump.profile import PumpProfile
from telemetry.sim.pump.profile_table import profile_from_table, profile_to_table
from telemetry.units import MS_PER_MONTH

SHIPPED = Path(profiles.__file__).parent


def test_four_families_ship_and_two_differ_in_their_reservoir_alone() -> None:
    assert list_profiles() == ("itb-20", "itb-40", "sensor-40", "valve-20")
    large, small = load_profile("itb-40"), load_profile("itb-20")
    different = {
        field.name for field in fields(PumpProfile) if getattr(large, field.name) != getattr(small, field.name)
    }
    assert different == {"name", "model", "reservoir_capacity_nl"}
    assert (large.reservoir_capacity_nl, small.reservoir_capacity_nl) == (40_000_000, 20_000_000)


def test_the_drives_and_what_goes_with_them() -> None:
    """domain.md 2.1, 2.8: sensor and its 3 ml; zero and the patient's bolus of the valve pump; MRI dump."""
    motor, valve, sensor = (load_profile(name) for name in ("itb-40", "valve-20", "sensor-40"))
    assert [pump.drive for pump in (motor, valve, sensor)] == ["motor", "valve_gated", "piezo_valve"]
    assert [pump.level_sensor for pump in (motor, valve, sensor)] == [False, False, True]
    assert [pump.low_reservoir_alarm_nl for pump in (motor, valve, sensor)] == [2_000_000, 3_000_000, 3_000_000]
    assert [pump.zero_rate_allowed for pump in (motor, valve, sensor)] == [False, True, False]
    assert (valve.drug, valve.mri_valve_dump, valve.has_flow_activated_valve) == ("morphine", True, False)
    assert (sensor.drug, sensor.mri_valve_dump, sensor.max_rate_nl_per_day) == ("baclofen", False, 4_000_000)


@pytest.mark.parametrize("name", list_profiles())
def test_what_holds_for_every_family(name: str) -> None:
    pump = load_profile(name)
    assert pump.patient_bolus_allowed is (pump.drug != "baclofen")
    assert pump.labelled_path_volume_nl == pump.path_volume_nl
    assert (pump.rate_error_ppm, pump.calibration_error_ppm, sum(pump.stroke_cycle_ppm)) == (0, 0, 0)
    assert pump.start_concentration_ng_per_ml in pump.concentrations_ng_per_ml
    for hours, most_nl in ((1, pump.window_1h_nl), (4, pump.window_4h_nl), (24, pump.window_24h_nl)):
        assert most_nl == -(-pump.max_rate_nl_per_day * hours // 24)
    assert pump.refill_interval_max_ms == 180 * 86_400_000
    start_ng = pump.start_rate_nl_per_day * pump.start_concentration_ng_per_ml // 1_000_000
    assert pump.daily_dose_soft_min_ng <= start_ng <= pump.daily_dose_soft_max_ng
    critical = {kind for kind in AlarmKind if pump.alarm(kind).alarm_class == "critical"}
    assert set(AlarmKind) - critical == {
        AlarmKind.LOW_RESERVOIR,
        AlarmKind.ELECTIVE_REPLACEMENT,
        AlarmKind.MEMORY_WARNING,
        AlarmKind.BOLUS_INTERRUPTED,
    }
    assert all(pump.alarm(kind).tones_per_burst == (2 if kind in critical else 1) for kind in AlarmKind)
    momentary = (AlarmKind.DOSE_LIMIT, AlarmKind.BOLUS_INTERRUPTED, AlarmKind.LOW_BATTERY_RESET, AlarmKind.MOTOR_STALL)
    assert all(pump.alarm(kind).latching for kind in momentary)
    assert "SIMULATED" in pump.model


@pytest.mark.parametrize("name", list_profiles())
def test_a_profile_survives_its_snapshot_table(name: str) -> None:
    pump = replace(load_profile(name), strokes_per_revolution=3, stroke_cycle_ppm=(-5, 0, 5))
    assert profile_from_table(json.loads(json.dumps(profile_to_table(pump)))) == pump


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drive": "steam"}, "profile.drive: 'steam' is none of motor"),
        ({"level_sensor": 1}, "profile.level_sensor: 1 is neither true nor false"),
        ({"concentrations_ng_per_ml": ["x"]}, "profile.concentrations_ng_per_ml: ['x'] are not all whole numbers"),
        ({"stroke_cycle_ppm": [1, 2]}, "stroke_cycle_ppm: 2 errors summing to 3 ppm"),
    ],
)
def test_a_wrong_snapshot_table_names_the_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        profile_from_table(profile_to_table(load_profile("itb-40")) | changes)
    assert message in str(wrong.value)


def test_a_wrong_calibration_constant_scales_the_flow() -> None:
    """domain.md 2.10: true over requested is package over told."""
    pump = replace(load_profile("itb-40"), calibration_ppm=1_250_000, package_calibration_ppm=1_000_000)
    assert pump.calibration_error_ppm == -200_000


def test_stock_numbers() -> None:
    """interfaces.md, start state; domain.md 2.1, 2.3, 2.5, 2.7, 3.1."""
    stock = load_profile("itb-40")
    assert (stock.start_rate_nl_per_day, stock.start_concentration_ng_per_ml) == (170_000, 2_000_000)
    assert (stock.min_rate_nl_per_day, stock.max_rate_nl_per_day, stock.keep_alive_rate_nl_per_day) == (
        48_000,
        24_000_000,
        6_000,
    )
    assert (stock.low_reservoir_alarm_nl, stock.low_reservoir_alarm_floor_nl) == (2_000_000, 1_000_000)
    assert (stock.tubing_volume_nl, stock.path_volume_nl) == (140_000, 335_800)
    assert stock.service_life_ms == 84 * MS_PER_MONTH
    assert (stock.change_soft_ppm, stock.change_hard_ppm) == (200_000, 1_000_000)
    assert "SIMULATED" in stock.model


def test_every_number_stands_in_the_table_with_source_and_confidence() -> None:
    rows = profile_table("itb-40")
    shown = [row.key for row in rows]
    assert len(shown) == len(set(shown)) == len({*keys.NUMBERS, *keys.LISTS, *keys.FLAGS}) + 9 * len(AlarmKind)
    assert all(row.source and row.confidence and row.value for row in rows)
    capacity = next(row for row in rows if row.key == "reservoir.capacity")
    assert (capacity.value, capacity.unit, capacity.confidence) == ("40", "ml", "A")
    assert "alarms.low_reservoir.class" in shown


def test_the_table_fills_every_field_of_a_profile() -> None:
    filled = {field for field, _ in [*keys.NUMBERS.values(), *keys.LISTS.values()]} | set(keys.FLAGS.values())
    identity = {"name", "model", "serial", "firmware", "drug", "drive"}
    assert filled | identity | {"alarms"} == {f.name for f in fields(PumpProfile)}


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    text = (SHIPPED / "itb-40.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "itb-40"', 'name = "mine"').replace('"40 ml"', '"18 ml"'), encoding="utf-8")
    mine = load_profile(path)
    assert (mine.name, mine.reservoir_capacity_nl) == ("mine", 18_000_000)
    assert profile_table(str(path))[0].value == "18"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"0.140 ml"', '"0.140"', "path.tubing: volume '0.140' has no unit"),
        ('"0.140 ml"', '"0.140 h"', "path.tubing"),
        ('"0 ppm"', '"0.5 ppm"', "delivery.rate_error: '0.5 ppm' is no whole number of ppm"),
        ('"0 ppm"', '"-15 ppm"', ""),
        ('"0 ml"', '"-0.5 l"', "reservoir.sensor_offset: volume '0.5 l' has the unknown unit 'l'"),
        ('"500,1000,2000 ug/ml"', '"500,x ug/ml"', "reservoir.concentrations: concentration 'x ug/ml' does not start"),
        ('"500,1000,2000 ug/ml"', '"500,500 ug/ml"', "must be one or more, rising, none twice"),
        ('"500,1000,2000 ug/ml"', '"none"', "concentrations_ng_per_ml: () must be one or more"),
        ('stroke_cycle = { value = "none"', 'stroke_cycle = { value = "1,2 ppm"', "2 errors summing to 3 ppm"),
        ('"2200 mV"', '"3100 mV"', "brownout_mv: 3100 is more than open_circuit_empty_mv 3000"),
        ('level_sensor = { value = "no"', 'level_sensor = { value = "0"', "reservoir.level_sensor: '0' is none of yes"),
        ('"1024 records"', '"1024"', "timing.log_capacity: '1024' is no whole number of records"),
        ('"2 uC/byte"', '"2 uC"', "battery.telemetry_charge: '2 uC' is no charge per byte"),
        ('"0.048 ml/day"', '"0.2 ml/day"', "min_rate_nl_per_day: 200000 is more than start_rate_nl_per_day 170000"),
        ('"domain.md 2.3", confidence = "C"', '"domain.md 2.3", confidence = "Z"', "Invalid enum value 'Z'"),
        ("[path]\n", "[path]\nextra = 1\n", "unknown field `extra`"),
        ('drug = "baclofen"', 'drug = "tea"', "Invalid enum value 'tea'"),
        ("[path]", "[path", "profile"),
        ("[alarms.safe_state]", "[alarms.other]", "Invalid enum value 'other'"),
        ('class = { value = "critical"', 'class = { value = "loud"', "alarms.empty_reservoir.class: 'loud' is none of"),
        ('repeat = { value = "60 min"', 'repeat = { value = "0 s"', "alarms.low_reservoir.repeat_ms: 0 is outside"),
        ('latching = { value = "no"', 'latching = { value = "maybe"', "'maybe' is none of yes, no"),
    ],
)
def test_a_wrong_file_names_file_key_value_and_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (SHIPPED / "itb-40.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    if not message:
        assert load_profile(path).rate_error_ppm == -15
        return
    with pytest.raises(UsageError) as wrong:
        load_profile(path)
    assert message in str(wrong.value)
    assert "wrong.toml" in str(wrong.value)


def test_a_missing_alarm_is_named(tmp_path: Path) -> None:
    text = (SHIPPED / "itb-40.toml").read_text(encoding="utf-8")
    path = tmp_path / "short.toml"
    path.write_text(text[: text.index("[alarms.safe_state]")], encoding="utf-8")
    with pytest.raises(UsageError, match="alarms: missing safe_state"):
        load_profile(path)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'itb-50' is unknown; known: itb-20, itb-40, sensor-40, valve-20"):
        load_profile("itb-50")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(tmp_path / "binary.toml")

"""Pump families as data: complete, sourced, strict."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from telemetry.errors import UsageError
from telemetry.model import AlarmKind
from telemetry.sim import profiles
from telemetry.sim.profiles import list_profiles, load_profile, profile_table
from telemetry.sim.pump.profile import PumpProfile
from telemetry.units import MS_PER_MONTH

SHIPPED = Path(profiles.__file__).parent


def test_two_families_ship_and_differ_in_their_reservoir() -> None:
    assert list_profiles() == ("itb-20", "itb-40")
    large, small = load_profile("itb-40"), load_profile("itb-20")
    different = {
        field.name for field in fields(PumpProfile) if getattr(large, field.name) != getattr(small, field.name)
    }
    assert different == {"name", "model", "reservoir_capacity_nl"}
    assert (large.reservoir_capacity_nl, small.reservoir_capacity_nl) == (40_000_000, 20_000_000)


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
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys)) == len(profiles.NUMBERS) + 9 * len(AlarmKind)
    assert all(row.source and row.confidence and row.value for row in rows)
    capacity = next(row for row in rows if row.key == "reservoir.capacity")
    assert (capacity.value, capacity.unit, capacity.confidence) == ("40", "ml", "A")
    assert "alarms.low_reservoir.class" in keys


def test_the_table_fills_every_field_of_a_profile() -> None:
    filled = {field for field, _ in profiles.NUMBERS.values()}
    assert filled | {"name", "model", "serial", "firmware", "drug", "alarms"} == {f.name for f in fields(PumpProfile)}


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
    with pytest.raises(UsageError, match=r"'itb-50' is unknown; known: itb-20, itb-40"):
        load_profile("itb-50")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(tmp_path / "binary.toml")

"""Temperature and pressure: what they do to the flow, and when they bend a reservoir."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.environment import (
    ALTITUDES,
    Environment,
    pressure_at_altitude_hpa,
    pressure_at_depth_hpa,
)

SENSOR, MOTOR = load_profile("sensor-40"), load_profile("itb-40")


def standard_atmosphere_hpa(altitude_m: int) -> float:
    """ISO 2533: 1013.25 hPa and 288.15 K at sea level, 6.5 K less per km up to 11 km, isothermal above."""
    troposphere = min(altitude_m, 11_000)
    hpa = 1013.25 * (1 - 0.0065 * troposphere / 288.15) ** 5.255877
    return float(hpa * 2.718281828 ** (-(altitude_m - troposphere) / 6341.62))


@given(altitude_m=st.integers(0, 12_000))
def test_the_table_of_altitudes_follows_the_standard_atmosphere(altitude_m: int) -> None:
    slack = 1 if altitude_m in dict(ALTITUDES) else 6
    assert abs(pressure_at_altitude_hpa(altitude_m) - standard_atmosphere_hpa(altitude_m)) < slack


def test_ten_metres_of_water_double_the_pressure() -> None:
    assert [pressure_at_depth_hpa(dm) for dm in (0, 1, 10, 40, 100)] == [1013, 1022, 1111, 1405, 1993]


@pytest.mark.parametrize("outside", [-1, 1_001])
def test_depths_and_altitudes_that_are_not_known_are_refused(outside: int) -> None:
    with pytest.raises(UsageError, match="depth_dm"):
        pressure_at_depth_hpa(outside)
    with pytest.raises(UsageError, match="altitude_m"):
        pressure_at_altitude_hpa(outside * 13)


def test_a_restrictor_feels_both_and_a_rotor_neither() -> None:
    sensor, motor = Environment(SENSOR), Environment(MOTOR)
    for one in (sensor, motor):
        assert one.flow_error_ppm == 0
        one.set_temperature(390)
        one.set_pressure(pressure_at_altitude_hpa(2_500))
    assert sensor.flow_error_ppm == 20 * 2_000 + (747 - 1013) * -3_606
    assert motor.flow_error_ppm == 0


def test_four_metres_of_water_stop_a_restrictor() -> None:
    """domain.md 4, F25: one insulin pump's limits are 4 m down and 2500 m up."""
    sensor = Environment(SENSOR)
    sensor.set_pressure(pressure_at_depth_hpa(40))
    assert sensor.flow_error_ppm < -1_000_000
    sensor.set_pressure(pressure_at_depth_hpa(10))
    assert -400_000 < sensor.flow_error_ppm < -300_000


def test_below_ten_metres_a_reservoir_is_bent_for_good() -> None:
    motor = Environment(MOTOR)
    motor.set_pressure(pressure_at_depth_hpa(99))
    assert not motor.bent
    motor.set_pressure(pressure_at_depth_hpa(100))
    motor.set_pressure(1_013)
    assert (motor.bent, motor.flow_error_ppm) == (True, -100_000)
    other = Environment(MOTOR)
    other.restore(json.loads(json.dumps(motor.snapshot())), "environment")
    assert (other.snapshot(), other.flow_error_ppm) == (motor.snapshot(), -100_000)


@given(temperatures=st.lists(st.integers(100, 450), min_size=1), pressures=st.lists(st.integers(100, 1_990)))
def test_the_way_there_does_not_matter(temperatures: list[int], pressures: list[int]) -> None:
    wandered, straight = Environment(SENSOR), Environment(SENSOR)
    for hpa in pressures:
        wandered.set_pressure(hpa)
    for decidegrees in temperatures:
        wandered.set_temperature(decidegrees)
    straight.set_temperature(temperatures[-1])
    straight.set_pressure(pressures[-1] if pressures else 1_013)
    assert wandered.flow_error_ppm == straight.flow_error_ppm
    assert wandered.snapshot() == straight.snapshot()


def test_what_no_body_has_is_refused() -> None:
    one = Environment(replace(MOTOR, temperature_ppm_per_decidegree=5))
    with pytest.raises(UsageError, match="temperature_decidegrees: 37 is outside 100 to 450"):
        one.set_temperature(37)
    with pytest.raises(UsageError, match="pressure_hpa: 0 is outside"):
        one.set_pressure(0)
    assert one.flow_error_ppm == 0

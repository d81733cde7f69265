"""The small parts by themselves: wall clock, division, profile rules."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, LogCode, PumpEvent
from telemetry.sim.pump import situations
from telemetry.sim.pump.core import PumpCore
from telemetry.sim.pump.decisions import need_active
from telemetry.sim.pump.device import PumpDevice
from telemetry.sim.pump.medium import Medium
from telemetry.sim.pump.quantities import ceil_div
from telemetry.sim.pump.rtc import WallClock
from tests.sim.pump.rig import DAY_MS, EPOCH_UTC_S, PROFILE, device

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.sim.pump.profile import AlarmSpec, PumpProfile


def test_wall_clock_drifts_and_can_be_set() -> None:
    clock = WallClock(EPOCH_UTC_S, 50)
    assert clock.utc_s(20_000 * 1_000_000) == EPOCH_UTC_S + 20_000_000 // 1_000 * 1_000 + 1_000
    clock.set_utc_s(5, 10_000)
    assert clock.utc_s(10_000) == 5
    assert WallClock(0, -50).utc_s(0) == 0
    assert WallClock(EPOCH_UTC_S, 0).utc_s(999) == EPOCH_UTC_S


def test_the_wall_clock_moves_nothing_else() -> None:
    pump, other = device(), device()
    pump.core.clock.set_utc_s(0, 0)
    assert pump.advance_to(300 * DAY_MS) == other.advance_to(300 * DAY_MS)
    assert pump.truth() == other.truth()


@given(amount=st.integers(-(10**20), 10**20), divisor=st.integers(1, 10**9))
def test_ceil_div(amount: int, divisor: int) -> None:
    assert ceil_div(amount, divisor) == Fraction(amount, divisor).__ceil__()


SPEC = PROFILE.alarms[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(PROFILE, min_rate_nl_per_day=0), "min_rate_nl_per_day: 0 is outside 1"),
        (lambda: replace(PROFILE, reservoir_capacity_nl=2**32), "reservoir_capacity_nl"),
        (lambda: replace(PROFILE, battery_capacity_pc=True), "battery_capacity_pc: True is no whole number"),
        (lambda: replace(PROFILE, model="longer than sixteen"), "model: 'longer than sixteen' is no text of 1 to 16"),
        (lambda: replace(PROFILE, model="µ"), "model"),
        (lambda: replace(PROFILE, drug="tea"), "drug: 'tea' is none of baclofen"),  # type: ignore[arg-type]
        (lambda: replace(PROFILE, low_reservoir_alarm_nl=999_999), "low_reservoir_alarm_floor_nl: 1000000 is more"),
        (lambda: replace(PROFILE, max_rate_nl_per_day=47_999), "is more than"),
        (lambda: replace(PROFILE, rate_error_ppm=1_000_001), "rate_error_ppm: 1000001 is outside"),
        (lambda: replace(PROFILE, log_capacity=1023), "log_capacity: 1023 is outside 1024"),
        (lambda: replace(PROFILE, drive="steam"), "drive: 'steam' is none of motor"),  # type: ignore[arg-type]
        (lambda: replace(PROFILE, level_sensor=0), "level_sensor: 0 is neither True"),  # type: ignore[arg-type]
        (lambda: replace(PROFILE, stroke_cycle_ppm=[1]), "stroke_cycle_ppm: [1] is no tuple"),  # type: ignore[arg-type]
        (lambda: replace(PROFILE, stroke_cycle_ppm=(0,) * 7 + (8,)), "8 errors summing to 8 ppm; give none"),
        (lambda: replace(PROFILE, stroke_cycle_ppm=(1_000_001, -1_000_001)), "stroke_cycle_ppm: 1000001 is outside"),
        (lambda: replace(PROFILE, window_4h_nl=999_999), "window_1h_nl: 1000000 is more than window_4h_nl 999999"),
        (lambda: replace(PROFILE, prime_rate_nl_per_day=47_999), "is more than prime_rate_nl_per_day 47999"),
        (lambda: replace(PROFILE, calibration_ppm=0), "calibration_ppm: 0 is outside 1"),
        (lambda: replace(PROFILE, alarms=PROFILE.alarms[1:]), "alarms: need each kind once"),
        (lambda: replace(PROFILE, alarms=()), "got none"),
        (lambda: replace(SPEC, burst_ms=0), "alarms.low_reservoir.burst_ms: 0 is outside"),
        (lambda: replace(SPEC, burst_charge_pc=-1), "burst_charge_pc"),
        (lambda: replace(SPEC, burst_ms=SPEC.repeat_ms + 1), "one burst must end before the next begins"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(
    make: Callable[[], PumpProfile | AlarmSpec], message: str
) -> None:
    with pytest.raises(UsageError) as wrong:
        make()
    assert message in str(wrong.value)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"fill_nl": 40_000_001}, "fill: 40000001 nl"),
        ({"concentration_ng_per_ml": 0}, "concentration: 0"),
        ({"rate_error_ppm": -1_000_000}, "rate_error_ppm: -1000000"),
        ({"concentration_ng_per_ml": 20_000}, "start_rate_nl_per_day: this pump cannot start as asked"),
    ],
)
def test_a_pump_that_cannot_be_is_refused(facts: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        device(PROFILE, None, **facts)
    assert message in str(wrong.value)


def test_identity_and_subscription() -> None:
    pump = device()
    identity = pump.identity()
    assert (identity.model, identity.serial, identity.simulated) == ("SIMULATED 40 ml", "SIM-0001", True)
    assert (identity.tubing_volume_nl, identity.catheter_volume_nl) == (140_000, 195_800)
    assert (identity.drive, identity.level_sensor, identity.calibration_ppm) == ("motor", False, 1_000_000)
    seen: list[PumpEvent] = []
    leave = pump.subscribe(seen.append)
    pump.stop_at_bench()
    leave()
    pump.resume_at_bench()
    assert [event.kind for event in seen] == ["stopped", "delivery_stopped", "alarm_raised"]
    assert pump.medium.pages("limits") == ("limits_a", "limits_b")


def test_a_core_without_a_program_says_so() -> None:
    with pytest.raises(UsageError, match="pump_id"):
        PumpDevice(PROFILE, Medium(), epoch_utc_s=0, pump_id=b"short")
    with pytest.raises(UsageError, match="serial"):
        PumpDevice(PROFILE, Medium(), epoch_utc_s=0, pump_id=bytes(8), serial="")
    pump = device()
    core = PumpCore(
        PROFILE,
        pump.medium,
        now_ms=0,
        reservoir=pump.core.reservoir,
        battery=pump.core.battery,
        clock=pump.core.clock,
    )
    with pytest.raises(UsageError, match="never programmed"):
        need_active(core)
    core.memory_check_due_ms = 0
    core.evaluate()
    assert situations.of(core).reference_dose_ng == 0
    assert core.alarms.present(AlarmKind.THERAPY_STOPPED)
    assert LogCode.ALARM_RAISED in {line.code for line in core.log.report(0, 10).records}

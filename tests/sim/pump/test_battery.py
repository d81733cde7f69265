"""Charge, ERI, end of service: the life table of domain.md 2.4 and the 81/84-month rules; voltage, film, the box."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, OperationKind, PumpMode, StopReason
from telemetry.sim.pump.battery import Battery, running_drain_pc_per_day, service_ages_ms
from telemetry.units import MS_PER_MONTH
from tests.sim.pump.rig import DAY_MS, PROFILE, device, op, program

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

YEAR_MS = 12 * MS_PER_MONTH
UNCAPPED = replace(PROFILE, service_life_ms=100 * YEAR_MS)


def run_to(pump: PumpDevice, kind: str, detail: str = "") -> int:
    """Refill whenever the reservoir is low, until that event; its instant."""
    while True:
        at_ms = pump.next_event_ms()
        assert at_ms is not None
        for event in pump.advance_to(at_ms):
            if event.kind == kind and event.detail.startswith(detail):
                return event.at_ms
        if AlarmKind.LOW_RESERVOIR in pump.status().alarms:
            pump.refill()


@pytest.mark.parametrize(
    ("rate_nl_per_day", "tenths_of_a_year"), [(250_000, 79), (500_000, 71), (900_000, 61), (1_500_000, 50)]
)
def test_life_table_uncapped(rate_nl_per_day: int, tenths_of_a_year: int) -> None:
    """domain.md 2.4: 7.9, 7.1, 6.1 and 5.0 years; lived, with refills, alarms silent by low cost."""
    profile = replace(UNCAPPED, start_rate_nl_per_day=rate_nl_per_day)
    pump = device(replace(profile, daily_dose_hard_max_ng=10_000_000), concentration_ng_per_ml=500_000)
    lived = run_to(pump, "end_of_service")
    assert (lived * 10 + YEAR_MS // 2) // YEAR_MS == tenths_of_a_year


def test_life_at_4_ml_a_day() -> None:
    """domain.md 2.4: 2.9 years."""
    _, end_ms = service_ages_ms(UNCAPPED, 4_000_000)
    assert (end_ms * 10 + YEAR_MS // 2) // YEAR_MS == 29


def test_the_cap_is_84_months_and_eri_three_months_before() -> None:
    pump = device()
    assert pump.status().replace_by_ms == 84 * MS_PER_MONTH
    eri_ms = run_to(pump, "alarm_raised", "elective_replacement")
    assert eri_ms == 84 * MS_PER_MONTH - 90 * DAY_MS
    assert pump.status().replace_by_ms == 84 * MS_PER_MONTH
    end_ms = run_to(pump, "end_of_service")
    assert end_ms == 84 * MS_PER_MONTH
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.END_OF_SERVICE, 0)


def test_end_of_service_is_terminal_until_the_charge_ends() -> None:
    pump = device(age_ms=84 * MS_PER_MONTH - 1)
    pump.advance_to(1)
    with pytest.raises(Refused) as refused:
        pump.check(program(pump))
    assert refused.value.reason == "end_of_service"
    with pytest.raises(Refused):
        pump.refill()
    stopped = pump.stop(op(1, OperationKind.STOP), StopReason.CLINICAL)
    assert stopped.verdict == "applied"
    assert pump.status().mode is PumpMode.END_OF_SERVICE
    assert pump.tones(AlarmKind.END_OF_SERVICE) == 0
    dead_ms = run_to(pump, "battery_exhausted")
    tones = pump.tones(AlarmKind.END_OF_SERVICE)
    assert tones > 1000
    assert pump.next_event_ms() is None
    pump.advance_to(dead_ms + 1000 * DAY_MS)
    assert (pump.truth().battery_pc, pump.tones(AlarmKind.END_OF_SERVICE), pump.next_tone_ms()) == (0, tones, None)


def test_eri_is_latched_when_the_drain_falls() -> None:
    heavy = replace(UNCAPPED, start_rate_nl_per_day=1_000_000)
    eri_age, _ = service_ages_ms(heavy, 1_000_000)
    pump = device(heavy, age_ms=eri_age - 1)
    assert pump.status().alarms == ()
    pump.advance_to(1)
    replace_by = pump.status().replace_by_ms
    pump.stop_at_bench()
    pump.advance_to(DAY_MS)
    assert AlarmKind.ELECTIVE_REPLACEMENT in pump.status().alarms
    assert pump.status().replace_by_ms == replace_by == 90 * DAY_MS


def test_an_aged_pump_past_eri_keeps_its_instant() -> None:
    pump = device(age_ms=84 * MS_PER_MONTH - 10 * DAY_MS)
    assert pump.status().alarms == (AlarmKind.ELECTIVE_REPLACEMENT,)
    assert pump.status().replace_by_ms == 10 * DAY_MS
    assert pump.identity().activated_ms == 10 * DAY_MS - 84 * MS_PER_MONTH


def test_an_age_beyond_the_end_is_refused() -> None:
    with pytest.raises(UsageError, match="age_ms"):
        device(age_ms=84 * MS_PER_MONTH)
    with pytest.raises(UsageError, match="age_ms"):
        device(age_ms=-1)


def test_telemetry_costs_charge_and_nothing_else() -> None:
    pump, quiet = device(), device()
    pump.spend_telemetry(10_000)
    cost = quiet.truth().battery_pc - pump.truth().battery_pc
    assert cost == 10_000 * PROFILE.telemetry_charge_pc_per_byte
    assert pump.status() == quiet.status() or pump.truth().battery_percent == 99
    with pytest.raises(UsageError, match="negative"):
        pump.spend_telemetry(-1)


def test_a_spent_battery_reaches_eri_and_the_end_at_once() -> None:
    pump = device()
    pump.spend_telemetry(PROFILE.battery_capacity_pc)
    kinds = [event.kind for event in pump.advance_to(0)]
    assert kinds[:3] == ["alarm_raised", "end_of_service", "alarm_raised"]
    assert pump.truth().battery_percent == 0
    assert pump.status().replace_by_ms >= 0


def test_sounding_alarms_drain() -> None:
    silent, loud = device(fill_nl=5_000_000), device(fill_nl=1_900_000)
    assert loud.next_tone_ms() == (0, AlarmKind.LOW_RESERVOIR)
    for pump in (silent, loud):
        pump.advance_to(10 * DAY_MS)
    cost = silent.truth().battery_pc - loud.truth().battery_pc
    assert cost == 10 * 24 * PROFILE.alarm(AlarmKind.LOW_RESERVOIR).burst_charge_pc
    assert loud.tones(AlarmKind.LOW_RESERVOIR) == 240


def test_the_present_drain_decides_eri() -> None:
    battery = Battery(UNCAPPED, now_ms=0, age_ms=0, rate_nl_per_day=170_000)
    slow, fast = 10**12, 10**13
    assert battery.replacement_due_ms(0, slow) > battery.replacement_due_ms(0, fast)
    assert battery.service_ends_ms(0, slow) is None


# --- schedules, the box, the film -----------------------------------------------------------------------------------


def stock() -> Battery:
    return Battery(PROFILE, now_ms=0, age_ms=0, rate_nl_per_day=170_000)


@given(rates=st.lists(st.tuples(st.integers(0, 24_000_000), st.integers(0, 10 * DAY_MS)), max_size=12))
def test_a_schedule_drains_by_its_volume_and_its_time(rates: list[tuple[int, int]]) -> None:
    battery = stock()
    for rate, span_ms in rates:
        battery.drain(running_drain_pc_per_day(PROFILE, rate), span_ms)
    volume_nl_ms = sum(rate * span_ms for rate, span_ms in rates)
    idle = PROFILE.idle_drain_pc_per_day * sum(span_ms for _, span_ms in rates)
    used = idle + volume_nl_ms * PROFILE.flow_charge_pc_per_nl
    assert battery.charge == max(0, battery.capacity_pc * DAY_MS - used)


def test_eri_goes_by_the_mean_drain_and_its_instant_by_the_present_one() -> None:
    battery = Battery(UNCAPPED, now_ms=0, age_ms=0, rate_nl_per_day=170_000)
    mean, night, day = 4 * 10**12, 10**12, 7 * 10**12
    due_ms = battery.replacement_due_ms(0, night, mean)
    assert due_ms > battery.replacement_due_ms(0, day, mean)
    battery.drain(night, due_ms - 1)
    assert battery.charge > UNCAPPED.replacement_reserve_ms * mean
    battery.drain(night, 1)
    assert battery.charge <= UNCAPPED.replacement_reserve_ms * mean
    for present in (night, day):
        assert battery.replacement_due_ms(due_ms, present, mean) == due_ms


def test_in_its_box_a_pump_has_no_age() -> None:
    battery = Battery(PROFILE, now_ms=5, age_ms=0, rate_nl_per_day=170_000, shelf_ms=400 * DAY_MS)
    assert battery.capacity_pc - battery.remaining_pc == 400 * PROFILE.shelf_drain_pc_per_day
    far_ms = battery.replacement_due_ms(5, PROFILE.shelf_drain_pc_per_day)
    assert far_ms > PROFILE.service_life_ms
    assert battery.replace_by_ms(5, PROFILE.shelf_drain_pc_per_day) == far_ms + PROFILE.replacement_reserve_ms
    battery.activate(DAY_MS)
    battery.activate(2 * DAY_MS)
    assert (battery.on_shelf, battery.activated_ms) == (False, DAY_MS)
    assert battery.replace_by_ms(DAY_MS, PROFILE.idle_drain_pc_per_day) == DAY_MS + PROFILE.service_life_ms
    with pytest.raises(UsageError, match="shelf_ms: 1 with age_ms 2"):
        Battery(PROFILE, now_ms=0, age_ms=2, rate_nl_per_day=170_000, shelf_ms=1)


def test_voltage_falls_with_the_charge_and_under_a_load() -> None:
    battery = stock()
    full_mv, empty_mv = PROFILE.open_circuit_full_mv, PROFILE.open_circuit_empty_mv
    assert (battery.voltage_mv(), battery.voltage_mv(PROFILE.stroke_peak_ua)) == (full_mv, full_mv - 500)
    battery.spend(battery.capacity_pc // 2)
    assert battery.voltage_mv() == (full_mv + empty_mv) // 2
    battery.spend(battery.capacity_pc)
    assert (battery.voltage_mv(), battery.browns_out(PROFILE.stroke_peak_ua)) == (empty_mv, False)
    assert battery.brownout_ms(0, 1, PROFILE.stroke_peak_ua) is None
    assert (battery.voltage_mv(100_000), battery.browns_out(100_000)) == (0, True)


@given(
    film_mohm=st.integers(40_000, 250_000),
    used=st.integers(0, 100),
    drain=st.integers(10**11, 10**13),
    peak_ua=st.sampled_from([PROFILE.stroke_peak_ua, PROFILE.tone_peak_ua, PROFILE.telemetry_peak_ua]),
)
def test_the_instant_of_a_brown_out_is_the_first_one(film_mohm: int, used: int, drain: int, peak_ua: int) -> None:
    battery = stock()
    battery.grow_film(film_mohm, 0)
    battery.spend(battery.capacity_pc * used // 100)
    at_ms = battery.brownout_ms(7, drain, peak_ua)
    if at_ms is None:
        battery.spend(battery.capacity_pc)
        assert not battery.browns_out(peak_ua)
        return
    if at_ms > 7:
        battery.drain(drain, at_ms - 7 - 1)
        assert not battery.browns_out(peak_ua)
        battery.drain(drain, 1)
    assert battery.browns_out(peak_ua)


def test_a_film_brings_eri_forward_and_the_end_closer_than_90_days() -> None:
    """domain.md 2.4 and 4, F4: premature ERI and end of service, fewer than 90 days apart."""
    drain = running_drain_pc_per_day(PROFILE, 170_000)
    healthy, filmed = stock(), stock()
    filmed.grow_film(50_000, 400_000)
    assert filmed.percent == 60
    assert filmed.replacement_due_ms(0, drain) < healthy.replacement_due_ms(0, drain)
    filmed.grow_film(0, 590_000)
    assert filmed.replacement_due_ms(0, drain) == 0
    filmed.replacement_ms = 0
    end_ms = filmed.service_ends_ms(0, drain)
    assert end_ms is not None
    assert 0 < end_ms < PROFILE.replacement_reserve_ms
    assert end_ms == filmed.empty_ms(0, drain)


def test_a_film_of_100_ohm_browns_out_a_stroke_at_a_third_of_the_charge() -> None:
    """3600 to 3000 mV open, 5 mA through 200 ohm: 2200 mV are reached at 3200 mV, a third of the way up."""
    battery = stock()
    battery.grow_film(100_000, 0)
    at_ms = battery.brownout_ms(0, 10**12, PROFILE.stroke_peak_ua)
    assert at_ms == battery.capacity_pc * DAY_MS * 2 // 3 // 10**12 + 1


@pytest.mark.parametrize(
    ("film", "message"),
    [((-1, 0), "resistance_mohm: -1 is negative"), ((0, 1_000_001), "loss_ppm: 1000001 is outside 0 to 1000000")],
)
def test_a_film_that_cannot_be_is_refused(film: tuple[int, int], message: str) -> None:
    battery = stock()
    with pytest.raises(UsageError, match=message):
        battery.grow_film(*film)
    assert battery.snapshot() == stock().snapshot()


def test_a_battery_goes_on_from_its_snapshot() -> None:
    battery = Battery(PROFILE, now_ms=0, age_ms=0, rate_nl_per_day=170_000, shelf_ms=DAY_MS)
    battery.grow_film(1_234, 5)
    other = stock()
    other.restore(json.loads(json.dumps(battery.snapshot())), "battery")
    assert other.snapshot() == battery.snapshot()
    assert (other.on_shelf, other.voltage_mv(5_000)) == (True, battery.voltage_mv(5_000))

"""Charge, ERI, end of service: the life table of domain.md 2.4 and the 81/84-month rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, OperationKind, PumpMode, StopReason
from telemetry.sim.pump.battery import Battery, service_ages_ms
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

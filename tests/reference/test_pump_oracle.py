"""``VirtualPump`` does what the documents say, by a second pump written from them alone (``pump_oracle.py``).

Beside random lives: the closed forms of domain.md 2.2, 2.4 and 2.7, and by hand what the comparison found.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings

from telemetry.errors import Refused
from telemetry.model import AlarmKind
from telemetry.sim.pump.prescribing import Bridge, program_for
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Therapy
from telemetry.units import MS_PER_MONTH, Concentration, DailyDose, Duration, FlowRate, Volume
from tests.reference.oracle_play import Differs, Player, Start
from tests.reference.oracle_rows import MS_PER_DAY, MS_PER_HOUR, Row, play, rows

RAMP = Therapy.titration([(1, DailyDose(100_000)), (2, DailyDose(150_000)), (3, DailyDose(200_000))])


@pytest.mark.inv(35)
@pytest.mark.timeout(180)  # its steps are many and traced; the campaign plays thousands
@pytest.mark.inv(45)
@pytest.mark.inv(46)
@given(rows())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_random_life_is_that_of_the_pump_by_hand(row: Row) -> None:
    play(row)


def test_the_comparison_sees_a_nanolitre() -> None:
    player = Player(Start())
    player.oracle.catheter.delivered += 1
    with pytest.raises(Differs, match="delivered: the pump 0, the reference 1"):
        player.compare()


@pytest.mark.parametrize(
    ("old", "new", "bridge_rate", "rate", "bridge_h", "error_ng", "error_h"),
    [
        (500, 2000, 600_000, 150_000, Fraction("13.432"), 75_000, Fraction("53.728")),
        (2000, 500, 150_000, 600_000, Fraction("53.728"), 1_200_000, Fraction("13.432")),
    ],
)
def test_a_change_of_concentration_is_that_of_the_table(
    old: int, new: int, bridge_rate: int, rate: int, bridge_h: Fraction, error_ng: int, error_h: Fraction
) -> None:
    """domain.md 2.7: V_old 0.3358 ml, 300 µg/day; without a bridge the old drug leaves at the new drug's rate."""
    dose = Therapy.simple_continuous(DailyDose(300_000))
    stroke_ms = 250 * MS_PER_DAY
    for bridge in (True, False):
        pump = VirtualPump("itb-40", start_concentration_ng_per_ml=old * 1_000)
        pump.refill(None, Concentration(new * 1_000), dose, bridge=bridge)
        assert pump.status.rate_nl_per_day == (bridge_rate if bridge else rate)
        hours = bridge_h if bridge else error_h
        front_ms = hours * MS_PER_HOUR
        # The new drug leaves with the stroke after the last old one.
        pump.advance(ms=int(front_ms) - stroke_ms // rate)
        assert pump.truth.tip_dose_ng_per_day == (300_000 if bridge else error_ng)
        assert pump.truth.tip_concentration_ng_per_ml == old * 1_000
        pump.advance(ms=3 * stroke_ms // rate)
        assert pump.truth.tip_concentration_ng_per_ml == new * 1_000
        assert pump.truth.tip_dose_ng_per_day == 300_000
        assert pump.status.rate_nl_per_day == rate


@pytest.mark.parametrize(("ml_per_day", "years"), [("0.25", 84), ("0.5", 84), ("0.9", 73), ("1.5", 60), ("4.0", 34)])
def test_a_battery_lasts_as_long_as_the_table_says(ml_per_day: str, years: int) -> None:
    """domain.md 2.4, in months: 7.0, 7.0, 6.1, 5.0 and 2.9 years."""
    pump = VirtualPump("itb-40", low_reservoir_alarm_nl=1_000_000, daily_dose_hard_max_ng=20_000_000)
    therapy = Therapy.simple_continuous(FlowRate.parse(f"{ml_per_day} ml/day"))
    pump.refill(None, None, therapy)
    whole_ms = 84 * MS_PER_MONTH
    every_days = int(Fraction(36) / Fraction(ml_per_day))
    while not pump.advance(days=min(every_days, 180)) or AlarmKind.END_OF_SERVICE not in pump.status.alarms:
        if pump.status.mode == "end_of_service":
            break
        pump.refill(None, None, None)
    ended = next(alarm for alarm in pump.device.alarms() if alarm.kind is AlarmKind.END_OF_SERVICE).since_ms
    assert ended <= whole_ms
    assert abs(Fraction(ended, MS_PER_MONTH) - years) < Fraction(7, 10)


@pytest.mark.parametrize(("strength", "least", "most"), [(500, 24, 12_000), (1000, 48, 24_000), (2000, 96, 48_000)])
def test_the_least_and_the_most_dose_are_those_of_the_table(strength: int, least: int, most: int) -> None:
    """domain.md 2.2: D = Q·C at 0.048 and 24 ml/day; one µg/day less or more is refused."""
    pump = VirtualPump("itb-40", start_concentration_ng_per_ml=strength * 1_000, daily_dose_hard_max_ng=60_000_000)
    for dose, other in ((least, least - 1), (most, most + 1)):
        pump.program(Therapy.simple_continuous(DailyDose(dose * 1_000)))
        assert pump.status.dose_ng_per_day == dose * 1_000
        with pytest.raises(Refused, match="rate"):
            pump.program(Therapy.simple_continuous(DailyDose(other * 1_000)))


# --- what the comparison found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["stopped", "empty"])
def test_a_bridge_that_waits_is_told_of_when_another_program_takes_its_place(what: str) -> None:
    """docs/pump-model.md, log: ``bolus_cancelled`` is a superseded bridge's too, whether it runs or waits."""
    pump = VirtualPump("itb-40")
    bridge = Bridge(Volume(100_000), FlowRate(600_000))
    filling = Volume(10_000) if what == "empty" else Volume(20_000_000)
    pump.tell_refill(filling, None, Therapy.simple_continuous(DailyDose(300_000)), bridge=bridge)
    pump.advance(hours=1)
    if what == "stopped":
        pump.stop()
    pump.take_events()
    pump.tell_refill()
    found = [(event.kind, event.detail) for event in pump.take_events()]
    assert found.count(("bolus_cancelled", "bridge")) == 1
    cancelled = [line for line in pump.device.log(0, 100).records if line.code == "bolus_cancelled"]
    assert [line.value for line in cancelled] == [10_000 if what == "empty" else 25_000]


def test_at_the_end_of_service_no_reservoir_alarm_remains() -> None:
    """docs/decisions/0025: after the end of service only its own alarm and ERI remain, and what latches."""
    pump = VirtualPump("itb-40", age="EOS", fill=Volume(1_000_000))
    assert set(pump.status.alarms) == {AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.END_OF_SERVICE}
    pump = VirtualPump("itb-40", age=Duration(84 * MS_PER_MONTH - 10 * MS_PER_DAY), fill=Volume(500_000))
    pump.advance(days=9)
    assert {AlarmKind.LOW_RESERVOIR, AlarmKind.EMPTY_RESERVOIR} <= set(pump.status.alarms)
    pump.advance(days=2)
    remain = {AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.END_OF_SERVICE, AlarmKind.STOPPED_PUMP}
    assert set(pump.status.alarms) == remain


@pytest.mark.parametrize("cut", [False, True])
def test_a_ramp_stands_still_while_the_pump_is_empty(*, cut: bool) -> None:
    """telemetry/therapy.py: a step is so many days *of delivery*, and an empty pump delivers none."""
    pump = VirtualPump("itb-20", fill=Volume(100_000))
    pump.program(RAMP)
    pump.advance(days=3)
    if cut:
        device = pump.device
        device.power_cut()
        device.boot()
    pump.advance(days=2)
    pump.refill()
    assert pump.status.dose_ng_per_day == 150_000
    given_ms = MS_PER_DAY + 50_000 * MS_PER_DAY // 75_000
    events = pump.advance(days=4)
    steps = [event.at_ms for event in events if event.kind == "titration_step"]
    assert steps == [5 * MS_PER_DAY + 3 * MS_PER_DAY - given_ms]


def test_a_stopped_ramp_counts_with_the_step_it_had_come_to() -> None:
    """docs/decisions/0081: the next change is measured against that step, not against one it never reached."""
    pump = VirtualPump("itb-20")
    pump.program(RAMP)
    pump.advance(hours=12)
    pump.stop()
    pump.advance(days=5)
    therapy = Therapy.simple_continuous(DailyDose(190_000))
    wanted = program_for(pump.device.core, therapy, 2_000_000, pump.status.reservoir_generation)
    assert pump.device.check(wanted).change_ppm == 900_000


def test_a_refused_refill_moves_nothing_on_the_bench_either() -> None:
    pump = VirtualPump("itb-20")
    pump.withdraw()
    pump.bolus(Volume(50), Duration(1_000))
    pump.take_events()
    with pytest.raises(Refused):
        pump.tell_refill()
    assert pump.take_events() == []

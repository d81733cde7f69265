"""The facade: a pump on a clock, as interfaces.md promises it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import ManualClock, ScaledClock
from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, PumpMode, Warn
from telemetry.sim.ages import StartState, parse_age
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.prescribing import program_for
from telemetry.sim.virtual_pump import KEPT_EVENTS, VirtualPump, pump_id_of
from telemetry.therapy import AlarmSettings, RefillOrder, Therapy
from telemetry.units import MS_PER_DAY, Concentration, DailyDose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = Therapy.simple_continuous(FlowRate.parse("0.150 ml/day"))
DAILY = Therapy.simple_continuous(DailyDose.parse("300 ug/day"))
LOW_AT_MS = 253 * MS_PER_DAY + 8 * 3_600_000


def test_stock_start() -> None:
    pump = VirtualPump()
    status = pump.status
    assert (status.mode, status.rate_nl_per_day, status.dose_ng_per_day) == (
        PumpMode.SIMPLE_CONTINUOUS,
        170_000,
        340_000,
    )
    assert (status.reservoir_nl, status.concentration_ng_per_ml, status.alarms) == (40_000_000, 2_000_000, ())
    assert (pump.now_ms, status.clock_utc_s) == (0, 1_767_225_600)
    assert pump.truth.reservoir_nl == 40_000_000
    assert pump.ledger.filled_nl == 40_335_800


def test_the_example_of_the_readme() -> None:
    pump = VirtualPump(profile="itb-40", seed=7)
    pump.program(RATE)
    assert pump.advance(days=90)[0].kind == "program_committed"
    events = pump.advance_until("alarm_raised", "low_reservoir")
    assert (events[-1].at_ms, events[-1].detail, pump.now_ms) == (LOW_AT_MS, "low_reservoir", LOW_AT_MS)
    pump.refill()
    assert [event.kind for event in pump.advance(hours=1)] == [
        "refilled",
        "program_committed",
        "alarm_cleared",
    ]


def test_runs_dry_silently() -> None:
    pump = VirtualPump(rate_error_ppm=60_000)
    pump.program(RATE)
    events = pump.advance_until("reservoir_dry")
    assert not [event for event in events if event.kind == "alarm_raised"]
    assert (pump.truth.reservoir_nl, pump.status.alarms) == (0, ())
    assert pump.status.reservoir_nl > 2_000_000


def test_stop_and_resume_at_the_bench() -> None:
    pump = VirtualPump()
    pump.stop()
    stopped = pump.status
    assert (stopped.mode, stopped.rate_nl_per_day) == (PumpMode.STOPPED, 0)
    pump.resume()
    running = pump.status
    assert (running.mode, running.rate_nl_per_day) == (PumpMode.SIMPLE_CONTINUOUS, 170_000)
    with pytest.raises(Refused, match="only a stopped pump"):
        pump.resume()


def test_looking_brings_the_pump_to_a_clock_moved_from_outside() -> None:
    clock = ManualClock()
    pump = VirtualPump(clock=clock)
    pump.program(RATE)
    clock.advance(days=260)
    assert pump.status.alarms == (AlarmKind.LOW_RESERVOIR,)
    kept = pump.take_events()
    assert [(event.at_ms, event.kind) for event in kept] == [(0, "program_committed"), (LOW_AT_MS, "alarm_raised")]
    assert pump.take_events() == []
    assert pump.clock is clock


def test_kept_events_are_bounded() -> None:
    pump = VirtualPump()
    for _ in range(KEPT_EVENTS + 5):
        pump.device.core.emit("made_up")
    assert len(pump.take_events()) == KEPT_EVENTS


def test_a_pump_on_the_hosts_clock_is_not_ours_to_move() -> None:
    pump = VirtualPump(clock=ScaledClock(speed=0, start_ms=5_000))
    assert (pump.now_ms, pump.device.now_ms) == (5_000, 5_000)
    with pytest.raises(UsageError, match="ScaledClock is moved by its owner"):
        pump.advance(days=1)
    with pytest.raises(UsageError, match="needs a ManualClock"):
        pump.advance_until("alarm_raised")


def test_advance_until_says_what_came_instead() -> None:
    pump = VirtualPump()
    with pytest.raises(UsageError) as wrong:
        pump.advance_until("alarm_raised", "safe_state", limit_days=250)
    assert "alarm_raised low_reservoir" in str(wrong.value)
    assert "within 250 days" in str(wrong.value)
    assert pump.now_ms == 250 * MS_PER_DAY
    with pytest.raises(UsageError, match="what came: nothing"):
        VirtualPump().advance_until("made_up", limit_days=1)


def test_advance_refuses_what_is_no_span() -> None:
    with pytest.raises(UsageError, match="hours"):
        VirtualPump().advance(hours=-1)


@pytest.mark.parametrize("age", ["ERI-1d", "ERI - 24 h"])
def test_an_age_before_eri(age: str) -> None:
    pump = VirtualPump(age=age)
    events = pump.advance_until("alarm_raised")
    assert (events[-1].at_ms, events[-1].detail) == (MS_PER_DAY, "elective_replacement")


def test_other_ages() -> None:
    assert VirtualPump(age="3 y").device.identity().activated_ms == -Duration.parse("3 y").ms
    assert VirtualPump(age=Duration(5_000)).device.identity().activated_ms == -5_000
    ended = VirtualPump(age="EOS-2 h").advance_until("end_of_service")
    assert ended[-1].at_ms == 7_200_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VirtualPump("itb-50"), "known: itb-20, itb-40"),
        (lambda: VirtualPump(age="XYZ-1d"), "names no milestone"),
        (lambda: VirtualPump(age="ERI-90 y"), "lies before activation"),
        (lambda: VirtualPump(age="90 y"), "age_ms"),
        (lambda: VirtualPump(age="soon"), "age: 'soon' names no milestone; write an age (3 y)"),
        (lambda: VirtualPump(age="3 moons"), "age: duration '3 moons'"),
        (lambda: VirtualPump(seed=-1), "seed: -1"),
        (lambda: VirtualPump(seed=None), "pump_id"),
        (lambda: VirtualPump(fill=40), "fill: 40 is no Volume"),  # type: ignore[arg-type]
        (lambda: VirtualPump(fill=Volume.parse("41 ml")), "fill: 41000000 nl"),
        (lambda: VirtualPump(concentration=2000), "concentration: 2000 is no Concentration"),  # type: ignore[arg-type]
        (lambda: VirtualPump(colour=1), "colour: is no field of a profile; those that can be overridden: model"),
        (lambda: VirtualPump(start_rate_nl_per_day=Volume(1)), "is not a FlowRate"),
        (lambda: VirtualPump(firmware=Volume(1)), "is not a whole number"),
        (lambda: VirtualPump(start_rate_nl_per_day=1), "min_rate_nl_per_day: 48000 is more than"),
        (lambda: VirtualPump(serial=""), "serial"),
        (lambda: VirtualPump().refill(40), "volume: 40 is no Volume"),  # type: ignore[arg-type]
        (lambda: VirtualPump().inject("gremlin"), "'gremlin' is unknown; 'telemetry fault list' shows them all"),
        (lambda: VirtualPump().inject("memory_error", "attic"), "modes: bank_a, bank_b"),
        (lambda: VirtualPump.restore({}), "exactly the keys"),
        (lambda: VirtualPump.restore(VirtualPump().snapshot() | {"version": 9}), "version 9"),
        (lambda: VirtualPump.restore(VirtualPump().snapshot() | {"seed": "x"}), "snapshot seed"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        make()
    assert message in str(wrong.value)


def test_overrides_take_quantities_and_integers() -> None:
    pump = VirtualPump(
        load_profile("itb-20"),
        low_reservoir_alarm_nl=Volume.parse("3 ml"),
        start_rate_nl_per_day=FlowRate.parse("0.500 ml/day"),
        daily_dose_hard_max_ng=DailyDose.parse("3000 ug/day"),
        max_silence_ms=Duration.parse("1 h"),
        clock_drift_ppm=20,
        model="SIM 20 special",
        fill=Volume.parse("10 ml"),
        concentration=Concentration.parse("500 ug/ml"),
        serial="SIM-0042",
    )
    assert pump.advance_until("alarm_raised")[-1].at_ms == 14 * MS_PER_DAY
    assert pump.status.clock_utc_s == 1_767_225_600 + 14 * 86_400 + 24
    assert (pump.device.identity().model, pump.device.identity().serial) == ("SIM 20 special", "SIM-0042")
    assert pump.device.limits().daily_dose_hard_max_ng == 3_000_000


def test_pump_id_comes_from_seed_and_serial() -> None:
    assert pump_id_of(0, "SIM-0001") == VirtualPump().device.identity().pump_id
    assert len({pump_id_of(0, "a"), pump_id_of(1, "a"), pump_id_of(0, "b")}) == 3
    given = VirtualPump(seed=None, pump_id=b"12345678")
    assert (given.seed, given.device.identity().pump_id) == (None, b"12345678")


def test_faults() -> None:
    pump = VirtualPump()
    pump.inject("memory_error", "bank_a", bit=33)
    assert pump.advance_until("alarm_raised", "memory_error")[-1].at_ms == 60_000
    pump.inject("power_cut")
    assert pump.status.boot_epoch == 2
    assert [event.kind for event in pump.take_events()[:2]] == ["fault_struck", "power_on"]


def test_a_snapshot_goes_through_json_and_on() -> None:
    pump = VirtualPump(seed=3, rate_error_ppm=1_000)
    pump.program(RATE)
    pump.advance(days=100)
    restored = VirtualPump.restore(json.loads(json.dumps(pump.snapshot())))
    assert (restored.seed, restored.now_ms, restored.status.boot_epoch) == (3, pump.now_ms, 2)
    assert restored.advance(days=400) == pump.advance(days=400)
    assert (restored.truth, restored.ledger) == (pump.truth, pump.ledger)


def test_a_snapshot_on_a_given_clock() -> None:
    pump = VirtualPump()
    pump.advance(days=1)
    snapshot = pump.snapshot()
    later = VirtualPump.restore(snapshot, ManualClock(2 * MS_PER_DAY))
    assert later.status.now_ms == 2 * MS_PER_DAY
    with pytest.raises(UsageError, match="before the snapshot's"):
        VirtualPump.restore(snapshot, ManualClock())


def test_two_pumps_of_one_seed_live_the_same_life() -> None:
    lives = []
    for _ in range(2):
        pump = VirtualPump(seed=11, rate_error_ppm=-20_000)
        events = []
        for _ in range(15):
            events += pump.advance(days=170)
            if pump.status.mode is not PumpMode.END_OF_SERVICE:
                pump.refill()
        lives.append((events, pump.snapshot()))
    assert lives[0] == lives[1]


def test_age_text_is_read_against_the_profile() -> None:
    profile = load_profile("itb-40")
    eri, eos = profile.service_life_ms - profile.replacement_reserve_ms, profile.service_life_ms
    assert [parse_age(text, profile) for text in (None, "3 d", "day 2", "mid-life", "ERI + 89 d", "eos", "Shelf")] == [
        StartState(),
        StartState(3 * MS_PER_DAY),
        StartState(2 * MS_PER_DAY),
        StartState(eos // 2),
        StartState(eri + 89 * MS_PER_DAY),
        StartState(eos, ended=True),
        StartState(shelf=True),
    ]
    assert parse_age("EOS-0 s", profile) == StartState(eos, ended=True)
    with pytest.raises(UsageError, match="lies beyond the end of service"):
        parse_age("ERI+91d", profile)


def test_every_start_state_is_what_its_name_says() -> None:
    seen = {age: VirtualPump(age=age).status for age in ("shelf", "day 1", "mid-life", "ERI-1d", "ERI+89d", "EOS")}
    assert {age: status.mode for age, status in seen.items()} == {
        "shelf": PumpMode.SHELF,
        "day 1": PumpMode.SIMPLE_CONTINUOUS,
        "mid-life": PumpMode.SIMPLE_CONTINUOUS,
        "ERI-1d": PumpMode.SIMPLE_CONTINUOUS,
        "ERI+89d": PumpMode.SIMPLE_CONTINUOUS,
        "EOS": PumpMode.END_OF_SERVICE,
    }
    assert seen["ERI+89d"].alarms == (AlarmKind.ELECTIVE_REPLACEMENT,)
    assert AlarmKind.END_OF_SERVICE in seen["EOS"].alarms
    ended = VirtualPump(age="ERI+89d").advance_until("end_of_service")
    assert ended[-1].at_ms == MS_PER_DAY


# --- therapies at the bench ------------------------------------------------------------------------------------------


def test_an_implant_at_the_bench() -> None:
    pump = VirtualPump(age="shelf")
    pump.advance(days=100)
    assert pump.fill(Volume.parse("18 ml"), Concentration.parse("500 ug/ml")) == Volume.parse("18 ml")
    pump.tell_refill(
        Volume.parse("18 ml"),
        Concentration.parse("500 ug/ml"),
        Therapy.simple_continuous(DailyDose.parse("100 ug/day")),
        withdrawn=Volume(0),
    )
    pump.prime()
    assert pump.advance_until("prime_ended")[-1].at_ms == 100 * MS_PER_DAY + 1_208_880
    assert pump.truth.tip_concentration_ng_per_ml == 0, "the last of its 1343.2 strokes is still to come"
    pump.advance(minutes=2)
    assert (pump.status.dose_ng_per_day, pump.truth.tip_concentration_ng_per_ml) == (100_000, 500_000)
    assert (pump.ledger.balance_nl, pump.ledger.in_path_nl) == (0, 335_800)


def test_bolus_clock_limits_and_alarms_at_the_bench() -> None:
    pump = VirtualPump()
    pump.bolus(Volume.parse("0.010 ml"), Duration.parse("10 min"))
    assert pump.delivery.activity == "bolus"
    pump.advance(minutes=10)
    pump.set_clock(1_800_000_000, 60)
    assert (pump.delivery.clock_utc_s, pump.delivery.zone_minutes) == (1_800_000_000, 60)
    pump.set_limits(replace(pump.device.limits(), daily_dose_hard_max_ng=1_000_000))
    with pytest.raises(Refused, match="hard limit"):
        pump.program(Therapy.simple_continuous(DailyDose.parse("1100 ug/day")))
    pump.configure_alarms(AlarmSettings(3_000_000, low_reservoir_enabled=False, elective_replacement_enabled=True))
    assert pump.device.alarm_settings().low_reservoir_alarm_nl == 3_000_000
    with pytest.raises(Refused, match="baclofen"):
        pump.patient_bolus()
    with pytest.raises(UsageError, match="duration: 5 is no Duration"):
        pump.bolus(Volume(1), 5)  # type: ignore[arg-type] # what a person may write


def test_a_needle_and_a_new_catheter() -> None:
    pump = VirtualPump()
    assert pump.withdraw(Volume.parse("10 ml")) == Volume.parse("10 ml")
    assert (pump.truth.reservoir_nl, pump.status.reservoir_nl) == (30_000_000, 40_000_000)
    pump.fill(Volume.parse("2 ml"), Concentration.parse("2000 ug/ml"), into="side_port")
    pump.replace_catheter(Volume.parse("0.250 ml"))
    assert (pump.truth.tip_concentration_ng_per_ml, pump.ledger.in_path_nl) == (0, 390_000)
    assert pump.ledger.balance_nl == 0
    with pytest.raises(UsageError, match="volume: 3 is no Volume"):
        pump.withdraw(3)  # type: ignore[arg-type] # what a person may write


# --- forks -----------------------------------------------------------------------------------------------------------


def test_a_fork_goes_its_own_way() -> None:
    pump = VirtualPump()
    pump.advance(days=30)
    other = pump.fork()
    assert other.now_ms == pump.now_ms
    other.stop()
    other.advance(days=60)
    assert (pump.now_ms, pump.status.rate_nl_per_day) == (30 * MS_PER_DAY, 170_000)
    assert other.status.mode is PumpMode.STOPPED
    again = pump.fork()
    again.advance(days=20)
    pump.advance(days=20)
    assert (again.truth, again.ledger) == (pump.truth, pump.ledger)


def test_a_pump_can_be_rewound() -> None:
    pump = VirtualPump()
    pump.advance(days=10)
    kept, truth = pump.snapshot(), pump.truth
    pump.stop()
    pump.advance(days=5)
    pump.rewind(kept)
    assert (pump.now_ms, pump.truth, pump.status.rate_nl_per_day) == (10 * MS_PER_DAY, truth, 170_000)
    assert pump.device.boot_epoch == 2
    with pytest.raises(UsageError, match="is of another pump"):
        pump.rewind(VirtualPump(seed=99).snapshot())
    with pytest.raises(UsageError, match="moved by its owner"):
        VirtualPump(clock=ScaledClock(speed=0, start_ms=0)).rewind(kept)


def test_a_new_pump_on_an_old_catheter_has_its_drug_and_its_leak() -> None:
    old = VirtualPump(concentration=Concentration.parse("500 ug/ml"))
    old.device.core.reservoir.path.leak(250_000, at_ppm=300_000)
    old.refill(concentration=Concentration.parse("2000 ug/ml"), therapy=DAILY)
    old.advance(hours=30)
    new = VirtualPump(age="shelf")
    new.advance(days=2)
    new.adopt_catheter(old)
    theirs, ours = old.device.core.reservoir.path, new.device.core.reservoir.path
    tubing_nl = ours.tubing_nl
    assert ours.fronts()[:1] == theirs.fronts()[:1]
    assert new.truth.tip_concentration_ng_per_ml == old.truth.tip_concentration_ng_per_ml
    assert new.truth.catheter == "leaking"
    assert ours.volume_nl == tubing_nl + theirs.catheter_nl
    assert new.ledger.balance_nl == 0
    before = theirs.snapshot()
    new.refill(therapy=DAILY)
    new.advance(days=3)
    assert new.ledger.balance_nl == 0
    assert new.truth.lost_nl > 0
    assert theirs.snapshot() == before


def test_a_pump_off_the_shelf_has_no_dose_to_be_changed() -> None:
    pump = VirtualPump(age="shelf")
    core = pump.device.core
    order = RefillOrder(40_000_000, 0, program_for(core, DAILY, 2_000_000, core.reservoir_generation + 1))
    derived = pump.device.check(order)
    assert Warn.DAILY_DOSE_CHANGE not in derived.warnings
    assert derived.change_ppm == 0


def test_a_reservoir_that_the_needle_empties_was_not_run_dry() -> None:
    pump = VirtualPump()
    pump.advance(days=10)
    pump.withdraw()
    pump.fill(Volume.parse("5 ml"), Concentration.parse("2000 ug/ml"))
    assert not [event for event in pump.take_events() if event.kind == "reservoir_dry"]
    assert "reservoir_dry" in {event.kind for event in pump.advance(days=60)}

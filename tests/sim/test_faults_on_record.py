"""Each of F1 to F30 shows what domain.md section 4 records, with the alarm it records or none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from telemetry.errors import Refused
from telemetry.model import Activity, AlarmKind, LogCode, PumpEvent, PumpMode, RefusalReason, Verdict
from telemetry.sim.faults.catalogue import BESIDES, EVERY, FAULTS
from telemetry.sim.pump.ledger import BENCH_SLOT
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import PeriodicBolus, ScheduleStep, Therapy
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, Concentration, DailyDose, Duration, FlowRate, Volume

ML = 1_000_000
RATE = 170_000
"""The stock pump's start rate, nl/day."""
Check = Callable[[], None]
SHOWN: dict[tuple[str, str], Check] = {}


def shows(name: str, *modes: str) -> Callable[[Check], Check]:
    def note(check: Check) -> Check:
        for mode in modes or ("always",):
            SHOWN[name, mode] = check
        return check

    return note


def alarms(events: list[PumpEvent]) -> list[tuple[int, str]]:
    return [(event.at_ms, event.detail) for event in events if event.kind == "alarm_raised"]


def kinds(events: list[PumpEvent]) -> set[str]:
    return {event.kind for event in events}


def codes(pump: VirtualPump) -> list[LogCode]:
    return [record.code for record in pump.device.log(1, 500).records]


def mode_of(pump: VirtualPump) -> PumpMode:
    return pump.status.mode


def stands(pump: VirtualPump) -> bool:
    return pump.truth.stalled


def known(pump: VirtualPump) -> bool:
    """Whether the pump believes that its rotor stands."""
    return pump.device.core.reservoir.rotor.detected


def reason_of(act: Callable[[], object]) -> RefusalReason | None:
    """Why the pump refuses it; None when it does not."""
    try:
        act()
    except Refused as refused:
        return RefusalReason(refused.reason)
    return None


def therapy(rate: str) -> Therapy:
    return Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate.parse(rate))


def silent(pump: VirtualPump, days: int) -> None:
    """Nothing is raised for so long."""
    assert alarms(pump.advance(days=days)) == []
    assert pump.status.alarms == ()


# --- rotor and flow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["shaft_wear", "gear_corrosion", "particle"])
def test_f1_stalls_for_good(mode: str) -> None:
    pump = VirtualPump()
    pump.inject("motor_stall", mode, after="1 d")
    events = pump.advance(days=400)
    assert alarms(events)[0] == (MS_PER_DAY + 20 * MS_PER_MINUTE, "motor_stall")
    assert LogCode.STALL_DETECTED in codes(pump)
    assert LogCode.STALL_RECOVERED not in codes(pump)
    # The book went on as commanded, so its own alarms came at their instants; nothing flowed after the first day.
    assert next(at for at, kind in alarms(events) if kind == "empty_reservoir") == -(-40 * ML * MS_PER_DAY // RATE)
    assert pump.truth.reservoir_nl == 40 * ML - RATE
    assert pump.truth.stalled


shows("motor_stall", "shaft_wear", "gear_corrosion", "particle")(lambda: test_f1_stalls_for_good("particle"))


@shows("intermittent_stall", "corrosion", "feedthrough")
def test_f2_comes_and_goes() -> None:
    pump = VirtualPump()
    pump.inject("intermittent_stall", lasts="2 h", hazard="10000 %/y", count=0, seed=1)
    events = pump.advance(days=100)
    struck = [e.at_ms for e in events if e.kind == "fault_struck"]
    ended = [e.at_ms for e in events if e.kind == "fault_ended"]
    assert 15 < len(struck) < 45  # a hundred a year
    assert [b - a for a, b in zip(struck, ended, strict=False)] == [2 * MS_PER_HOUR] * len(ended)
    assert codes(pump).count(LogCode.STALL_DETECTED) == len(struck)
    assert codes(pump).count(LogCode.STALL_RECOVERED) == len(ended)
    short = VirtualPump()
    short.inject("intermittent_stall", "feedthrough", lasts="19 min", hazard="10000 %/y", count=0)
    assert alarms(short.advance(days=100)) == []  # shorter than the pump looks for
    assert short.truth.reservoir_nl > short.status.reservoir_nl


@shows("over_infusion", "constant")
def test_f5_runs_dry_without_an_alarm() -> None:
    pump = VirtualPump(rate_error_ppm=0)
    pump.inject("over_infusion", error="20 %")
    events = pump.advance_until("reservoir_dry")
    assert alarms(events) == []
    assert pump.now_ms // MS_PER_DAY == 40 * ML * 10 // (RATE * 12)
    low = next(at for at, kind in alarms(pump.advance(days=60)) if kind == "low_reservoir")
    assert low == -(-(40 * ML - 2 * ML) * MS_PER_DAY // RATE)  # by the book, to the millisecond
    assert pump.truth.reservoir_nl == 0


@shows("over_infusion", "jump")
def test_f5_may_jump_again() -> None:
    pump = VirtualPump(rate_error_ppm=0)
    order = pump.inject("over_infusion", "jump", error="15 %", jumps_after="10 d")
    assert pump.truth.flow_error_ppm == 150_000
    assert [e.at_ms for e in pump.advance(days=30)] == [0, 10 * MS_PER_DAY]
    assert pump.truth.flow_error_ppm == 300_000
    pump.clear(order.id)
    assert pump.truth.flow_error_ppm == 0


@shows("tube_set")
def test_f21_delivers_too_much_ever_after() -> None:
    pump = VirtualPump()
    pump.stop()
    pump.advance(hours=47)
    pump.resume()
    assert pump.truth.flow_error_ppm == 0
    pump.inject("tube_set", error="5 %", when="alarm_raised stopped_pump")
    pump.stop()
    assert "stopped_pump" in [kind for _, kind in alarms(pump.advance(hours=49))]
    pump.resume()
    assert pump.truth.flow_error_ppm == 50_000
    silent(pump, 100)
    pump.clear("tube_set")
    assert pump.truth.flow_error_ppm == 50_000  # nobody takes a set out of a tube


@shows("unapproved_drug")
def test_f24_eats_the_motor_up() -> None:
    failed = 0
    for seed in range(400):
        pump = VirtualPump()
        order = pump.inject("unapproved_drug", seed=seed)
        assert order.grows_ms is not None
        failed += order.grows_ms < 78 * 30.4375 * MS_PER_DAY
    assert 14 < failed < 44  # 7 % of 400 at 78 months, three deviations either way
    pump = VirtualPump()
    pump.inject("unapproved_drug", failed_at_78_months="99.9 %", seed=3)
    found = [(e.kind, e.detail) for e in pump.advance(days=2_000)]
    assert found.index(("fault_struck", "unapproved_drug")) == 0
    assert ("alarm_raised", "motor_stall") in found
    assert ("stall_recovered", "") not in found


@shows("wrong_calibration")
def test_f28_scales_every_volume() -> None:
    pump = VirtualPump()
    pump.inject("wrong_calibration", told="-5 %")
    assert pump.device.identity().calibration_ppm == 950_000 != pump.device.profile.package_calibration_ppm
    silent(pump, 200)
    book, true = 40 * ML - pump.status.reservoir_nl, 40 * ML - pump.truth.reservoir_nl
    assert abs(true * 95 - book * 100) < 100_000  # it gives 1/0.95 of what it counts
    pump.clear()
    assert pump.device.identity().calibration_ppm == pump.device.profile.calibration_ppm


# --- battery ---------------------------------------------------------------------------------------------------------


@shows("feedthrough_short", "reset", "safe_state")
def test_f3_resets() -> None:
    plain = VirtualPump()
    pump = VirtualPump()
    pump.inject("feedthrough_short")
    assert [kind for _, kind in alarms(pump.take_events())] == ["low_battery_reset"]
    assert pump.status.boot_epoch == 2
    assert mode_of(pump) is PumpMode.SIMPLE_CONTINUOUS
    assert pump.truth.battery_pc < plain.truth.battery_pc - 50_000_000_000
    assert pump.status.replace_by_ms <= plain.status.replace_by_ms
    safe = VirtualPump()
    safe.inject("feedthrough_short", "safe_state")
    assert {kind for _, kind in alarms(safe.take_events())} == {"low_battery_reset", "safe_state"}
    assert mode_of(safe) is PumpMode.SAFE_STATE


def test_f3_three_times_an_hour_is_the_safe_state() -> None:
    pump = VirtualPump()
    for _ in range(2):
        pump.inject("feedthrough_short")
        pump.advance(minutes=29)
    assert mode_of(pump) is PumpMode.SIMPLE_CONTINUOUS
    pump.advance(minutes=2)  # the first is an hour ago
    pump.inject("feedthrough_short")
    assert mode_of(pump) is PumpMode.SIMPLE_CONTINUOUS
    pump.inject("feedthrough_short")
    assert mode_of(pump) is PumpMode.SAFE_STATE


@shows("battery_film", "early_replacement")
def test_f4_brings_replacement_early() -> None:
    plain, pump = VirtualPump(age="3 y"), VirtualPump(age="3 y")
    pump.inject("battery_film", capacity_lost="40 %")
    due = plain.advance_until("alarm_raised", "elective_replacement", limit_days=2000)[-1].at_ms
    early = pump.advance_until("alarm_raised", "elective_replacement", limit_days=2000)[-1].at_ms
    assert early < due - 300 * MS_PER_DAY
    pump = VirtualPump(age="ERI+1d")
    eri_ms = pump.device.core.battery.replacement_ms
    pump.inject("battery_film", capacity_lost="17 %")
    ends_ms = pump.advance_until("end_of_service")[-1].at_ms
    assert eri_ms is not None
    assert 2 * MS_PER_DAY < ends_ms - eri_ms < 60 * MS_PER_DAY  # instead of ninety


@shows("battery_film", "brown_out")
def test_f4_gives_way_under_a_stroke() -> None:
    pump = VirtualPump()
    pump.inject("battery_film", "brown_out")
    events = pump.advance(hours=1)
    resets = [e.at_ms for e in events if e.kind == "low_battery_reset"]
    stroke = pump.device.core.reservoir.rotor.stroke
    assert resets == [-(-strokes * stroke // RATE) for strokes in (1, 2, 3)]  # each at a stroke, to the millisecond
    assert {"safe_state", "low_battery_reset", "end_of_service"} <= {kind for _, kind in alarms(events)}
    assert mode_of(pump) is PumpMode.END_OF_SERVICE  # it gave way in the safe state, too


@shows("battery_film", "sudden_end")
def test_f4_ends_without_ninety_days() -> None:
    pump = VirtualPump(age="2 y")
    pump.inject("battery_film", "sudden_end", after="30 d")
    events = pump.advance(days=31)
    assert [(at, kind) for at, kind in alarms(events) if kind != "low_reservoir"] == [
        (30 * MS_PER_DAY, "elective_replacement"),
        (30 * MS_PER_DAY, "end_of_service"),
    ]
    assert mode_of(pump) is PumpMode.END_OF_SERVICE


# --- catheter --------------------------------------------------------------------------------------------------------


@shows("under_infusion", "partial", "full")
def test_f6_leaves_drug_in_the_reservoir() -> None:
    for mode, given in (("partial", 500), ("full", 0)):
        pump = VirtualPump()
        pump.inject("under_infusion", mode)
        silent(pump, 100)
        out = 40 * ML - pump.truth.reservoir_nl
        book = 40 * ML - pump.status.reservoir_nl
        assert abs(out * 1000 - book * given) < 2_000_000
        assert pump.withdraw().nl > pump.status.reservoir_nl  # more than expected comes at the refill


@shows("catheter_failure", "disconnected", "leaking", "tip_displaced")
def test_f7_loses_drug_and_leaves_a_normal_residual() -> None:
    for mode, lost in (("disconnected", 1000), ("leaking", 400), ("tip_displaced", 1000)):
        pump = VirtualPump()
        pump.inject("catheter_failure", mode, lost="40 %")
        silent(pump, 100)
        truth = pump.truth
        out = 40 * ML - truth.reservoir_nl
        assert abs(pump.status.reservoir_nl - truth.reservoir_nl) <= 1_000
        assert abs(truth.lost_nl * 1000 - out * lost) < 2_000_000
        assert pump.ledger.balance_nl == 0


@shows("catheter_failure", "kinked")
def test_f7_kinked() -> None:
    pump = VirtualPump()
    pump.inject("catheter_failure", "kinked")
    silent(pump, 100)
    assert pump.truth.delivered_nl == 0
    assert pump.truth.reservoir_nl == 40 * ML
    pump.replace_catheter()
    assert [e.kind for e in pump.take_events()][-2:] == ["catheter_replaced", "fault_ended"]
    assert pump.truth.catheter == "patent"
    pump.inject("catheter_failure", "leaking")
    assert pump.truth.catheter == "leaking"  # and not kinked any more


@shows("catheter_failure", "positional")
def test_f7_positional() -> None:
    pump = VirtualPump()
    pump.inject("catheter_failure", "positional", period="1 d", kinked="8 h")
    silent(pump, 90)
    share = (40 * ML - pump.truth.reservoir_nl) * 1000 // (40 * ML - pump.status.reservoir_nl)
    assert 664 <= share <= 668  # sixteen hours of twenty-four


@shows("connector_defect")
def test_f23_comes_off() -> None:
    pump = VirtualPump()
    pump.inject("connector_defect")
    silent(pump, 50)
    assert pump.truth.catheter == "disconnected"
    assert pump.truth.lost_nl == 40 * ML - pump.truth.reservoir_nl


def test_two_catheter_faults_are_both_there_until_each_ends() -> None:
    pump = VirtualPump()
    leak = pump.inject("catheter_failure", "leaking", lost="30 %")
    block = pump.inject("under_infusion", passes="50 %")
    assert pump.truth.rate_nl_per_day == RATE // 2
    pump.clear(block.id)
    assert (pump.truth.rate_nl_per_day, pump.truth.catheter) == (RATE, "leaking")
    pump.clear(leak.id)
    assert pump.truth.catheter == "patent"


# --- tablet and needle -----------------------------------------------------------------------------------------------


@shows("wrong_tubing_volume")
def test_f8_primes_too_much() -> None:
    for strength, too_much_ng in ((500, 29_500), (1000, 59_000), (2000, 118_000)):
        pump = VirtualPump(concentration=Concentration.parse(f"{strength} ug/ml"))
        pump.inject("wrong_tubing_volume")
        who = pump.device.identity()
        assert who.tubing_volume_nl == 199_000
        assert (who.tubing_volume_nl - pump.device.profile.tubing_volume_nl) * strength == too_much_ng * 1_000
        given_before = pump.truth.delivered_ng
        pump.prime(Volume(who.tubing_volume_nl + who.catheter_volume_nl))
        assert alarms(pump.advance_until("prime_ended")) == []
        over = pump.truth.delivered_ng - given_before - pump.device.profile.path_volume_nl * strength // 1_000
        assert abs(over - too_much_ng) <= 1_000 * strength // 1_000


@shows("bridge_omitted", "omitted")
def test_f9_without_a_bridge_the_old_drug_comes_at_the_new_rate() -> None:
    wanted = Therapy(PumpMode.SIMPLE_CONTINUOUS, DailyDose.parse("300 ug/day"))
    doses = []
    for slip in (False, True):
        pump = VirtualPump(concentration=Concentration.parse("500 ug/ml"))
        if slip:
            pump.inject("bridge_omitted")
        pump.refill(None, Concentration.parse("2000 ug/ml"), wanted, bridge=True)
        assert alarms(pump.take_events()) == []
        doses.append(pump.truth.tip_dose_ng_per_day)
        assert pump.status.activity is (Activity.NONE if slip else Activity.BRIDGE)
    assert doses == [300_000, 75_000]


@shows("bridge_omitted", "wrong_concentration")
def test_f9_the_pump_refuses_a_bridge_of_another_drug() -> None:
    pump = VirtualPump(concentration=Concentration.parse("500 ug/ml"))
    pump.inject("bridge_omitted", "wrong_concentration", believed="1000 ug/ml")
    wanted = Therapy(PumpMode.SIMPLE_CONTINUOUS, DailyDose.parse("300 ug/day"))
    with pytest.raises(Refused) as refused:
        pump.refill(None, Concentration.parse("2000 ug/ml"), wanted, bridge=True)
    assert refused.value.reason is RefusalReason.BRIDGE_MISMATCH
    assert pump.truth.reservoir_nl == 40 * ML  # the needle did not move either
    assert pump.refill(None, Concentration.parse("2000 ug/ml"), wanted, bridge=True).record.verdict is Verdict.APPLIED


@shows("wrong_concentration")
def test_f10_gives_true_over_told() -> None:
    pump = VirtualPump(concentration=Concentration.parse("500 ug/ml"))
    pump.inject("wrong_concentration", true="2000 ug/ml")
    pump.refill()
    silent(pump, 20)
    assert pump.truth.tip_dose_ng_per_day == 4 * pump.status.dose_ng_per_day
    pump.refill()
    pump.advance(days=20)
    assert pump.truth.tip_dose_ng_per_day == pump.status.dose_ng_per_day  # until the next refill


@shows("unit_mix_up", "minutes_for_hours", "hour_for_day")
def test_f11_is_refused_by_the_pump() -> None:
    bolus = PeriodicBolus(Volume.parse("0.010 ml"), Duration.parse("10 min"), Duration.parse("6 h"), Duration(0))
    planned = Therapy(PumpMode.PERIODIC_BOLUS, FlowRate.parse("0.050 ml/day"), bolus=bolus)
    pump = VirtualPump()
    pump.inject("unit_mix_up")
    pump.program(therapy("0.100 ml/day"))  # no interval to be mixed up in this one: the slip waits
    with pytest.raises(Refused) as refused:
        pump.program(planned)
    assert refused.value.reason is RefusalReason.BOLUS_LONGER_THAN_INTERVAL
    assert pump.program(planned).verdict is Verdict.APPLIED
    pump = VirtualPump()
    pump.inject("unit_mix_up", "hour_for_day")
    with pytest.raises(Refused) as refused:
        pump.program(Therapy(PumpMode.SIMPLE_CONTINUOUS, DailyDose.parse("150 ug/day")))
    assert refused.value.reason is RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT
    wide = VirtualPump(concentration=Concentration.parse("500 ug/ml"))
    wide.inject("unit_mix_up", "hour_for_day")
    wide.program(Therapy(PumpMode.SIMPLE_CONTINUOUS, DailyDose.parse("30 ug/day")))
    assert wide.status.dose_ng_per_day == 24 * 30_000
    silent(wide, 10)


@shows("pocket_fill")
def test_f18_fills_the_pocket_and_tells_nobody() -> None:
    pump = VirtualPump()
    pump.inject("pocket_fill", missed="75 %")
    pump.refill()
    assert alarms(pump.take_events()) == []
    assert (pump.status.reservoir_nl, pump.truth.reservoir_nl) == (40 * ML, 10 * ML)
    assert pump.truth.lost_ng == 30 * 2_000_000  # overdose now
    dry = pump.advance_until("reservoir_dry")
    assert alarms(dry) == []  # a dry pump later, and no alarm before it
    assert pump.ledger.balance_nl == 0


@shows("side_port_injection")
def test_f19_goes_straight_into_the_catheter() -> None:
    pump = VirtualPump()
    pump.inject("side_port_injection", volume="1 ml", concentration="2000 ug/ml")
    assert pump.truth.delivered_ng == 2_000_000
    assert pump.ledger.balance_nl == 0
    silent(pump, 100)


@shows("overfill", "valve_shuts")
def test_f20_the_valve_shuts() -> None:
    pump = VirtualPump()
    pump.inject("overfill")
    assert pump.refill().filled_nl == 40 * ML
    assert pump.truth.reservoir_nl == pump.status.reservoir_nl == 40 * ML
    silent(pump, 100)
    assert pump.truth.flow_error_ppm == 0


@shows("overfill", "over_pressure")
def test_f20_presses_until_the_excess_is_gone() -> None:
    pump = VirtualPump()
    pump.inject("overfill", "over_pressure", excess="1 ml", error="15 %")
    assert pump.refill().filled_nl == 41 * ML
    assert (pump.truth.reservoir_nl, pump.status.reservoir_nl) == (41 * ML, 40 * ML)
    assert pump.truth.flow_error_ppm == 150_000
    relaxed_ms = 1 * ML * 100 * MS_PER_DAY // (RATE * 115)
    pump.advance_to(relaxed_ms - MS_PER_HOUR)
    assert pump.truth.flow_error_ppm == 150_000
    pump.advance_to(relaxed_ms + MS_PER_HOUR)
    assert pump.truth.flow_error_ppm == 0
    silent(pump, 100)


# --- firmware, memory, clock, sensor, beeper -------------------------------------------------------------------------


@shows("incomplete_programming")
def test_f12_is_left_stopped() -> None:
    pump = VirtualPump()
    pump.inject("incomplete_programming")
    device = pump.device
    program = device.program_report().program
    device.stage(program, bytes(32))
    assert ("stopped", "updating") in [(e.kind, e.detail) for e in pump.take_events()]
    assert AlarmKind.THERAPY_STOPPED in pump.status.alarms
    pump.advance(hours=3)
    assert mode_of(pump) is PumpMode.STOPPED
    pump.resume()
    assert mode_of(pump) is PumpMode.SIMPLE_CONTINUOUS


@shows("wrong_replace_by", "invalid", "too_late")
def test_f13_tells_a_wrong_date() -> None:
    right = VirtualPump(age="ERI+10d").status.replace_by_ms
    pump = VirtualPump(age="ERI+10d")
    order = pump.inject("wrong_replace_by", "too_late")
    eri_ms = pump.device.core.battery.replacement_ms
    assert eri_ms is not None
    assert pump.status.replace_by_ms - eri_ms > 90 * MS_PER_DAY
    pump.inject("wrong_replace_by", "invalid")
    assert pump.status.replace_by_ms == 0
    pump.clear(order.id)
    assert pump.status.replace_by_ms == 0  # the other one is still in force
    pump.clear()
    assert pump.status.replace_by_ms == right
    assert "alarm_raised" not in kinds(pump.take_events())


@shows("update_blocked")
def test_f14_reads_runs_and_refuses() -> None:
    pump = VirtualPump()
    pump.inject("update_blocked")
    silent(pump, 10)
    assert pump.status.rate_nl_per_day == pump.truth.rate_nl_per_day == RATE
    with pytest.raises(Refused) as refused:
        pump.program(therapy("0.100 ml/day"))
    assert refused.value.reason is RefusalReason.STORED_ERROR
    pump.device.reset_memory()
    assert [e.kind for e in pump.take_events()] == ["memory_reset", "fault_ended"]
    assert pump.faults.in_force == ()
    pump.program(therapy("0.100 ml/day"))


@shows("level_sensor_drift", "reads_high", "reads_low")
def test_f22_moves_the_low_alarm() -> None:
    found = {}
    for mode in ("", "reads_high", "reads_low"):
        pump = VirtualPump("sensor-40")
        if mode:
            pump.inject("level_sensor_drift", mode, offset="1.5 ml")
        found[mode] = pump.advance_until("alarm_raised", "low_reservoir")[-1].at_ms
        assert (pump.status.reservoir_nl == pump.truth.reservoir_nl) is not bool(mode)
    assert found["reads_low"] < found[""] < found["reads_high"]


@shows("dead_beeper", "dead")
def test_f26_the_condition_is_there_and_no_sound() -> None:
    heard, pump = VirtualPump(), VirtualPump()
    pump.inject("dead_beeper")
    for one in (heard, pump):
        one.stop()
        one.advance(days=3)
    assert pump.status.alarms == heard.status.alarms
    assert AlarmKind.STOPPED_PUMP in pump.status.alarms
    assert heard.device.tones(AlarmKind.STOPPED_PUMP) > 0
    assert pump.device.tones(AlarmKind.STOPPED_PUMP) == 0
    pump.clear()
    pump.advance(days=1)
    assert pump.device.tones(AlarmKind.STOPPED_PUMP) > 0


@shows("clock_error", "daylight_saving", "travel")
def test_f27_steps_come_later() -> None:
    steps = (ScheduleStep(0, FlowRate(100_000)), ScheduleStep(720, FlowRate(200_000)))
    for mode, minutes in (("daylight_saving", 60), ("travel", 360)):
        pump = VirtualPump()
        pump.program(Therapy(PumpMode.FLEX, steps=steps))
        pump.inject("clock_error", mode, minutes=minutes, after="1 d 6 h")
        pump.advance(hours=36)
        assert pump.status.rate_nl_per_day == 100_000  # noon by the patient's clock
        pump.advance(minutes=minutes)
        assert pump.status.rate_nl_per_day == 200_000
        assert alarms(pump.take_events()) == []


@shows("clock_error", "drift")
def test_f27_drifts() -> None:
    pump = VirtualPump()
    pump.inject("clock_error", "drift", drift_ppm=100)
    start = pump.status.clock_utc_s
    silent(pump, 100)
    assert pump.status.clock_utc_s - start == 100 * 86_400 + 864


@shows("memory_corruption", "detected")
def test_f29_detected() -> None:
    pump = VirtualPump()
    pump.inject("memory_corruption", after="1 h")
    found = alarms(pump.advance(hours=2))
    assert set(found) == {(61 * MS_PER_MINUTE, "memory_error"), (61 * MS_PER_MINUTE, "safe_state")}
    assert mode_of(pump) is PumpMode.SAFE_STATE


@shows("memory_corruption", "repaired")
def test_f29_repaired() -> None:
    pump = VirtualPump()
    pump.inject("memory_corruption", "repaired")
    assert alarms(pump.advance(hours=2)) == [(MS_PER_MINUTE, "memory_warning")]
    assert pump.status.rate_nl_per_day == RATE


@shows("memory_corruption", "silent")
def test_f29_silent() -> None:
    pump = VirtualPump()
    pump.inject("memory_corruption", "silent", rate="50 %")
    silent(pump, 100)
    assert pump.status.rate_nl_per_day == RATE
    assert pump.truth.rate_nl_per_day == RATE * 3 // 2


@shows("memory_corruption", "write_failure", "wear")
def test_f29_a_write_that_fails_changes_nothing() -> None:
    for mode in ("write_failure", "wear"):
        pump = VirtualPump()
        pump.inject("memory_corruption", mode)
        before = pump.status
        reasons = []
        for hundredths in range(10, 20):
            wanted = therapy(f"0.{hundredths} ml/day")
            reasons.append(reason_of(lambda: pump.program(wanted)))  # noqa: B023 - called at once
            if reasons == [RefusalReason.MEMORY_UNRELIABLE]:
                assert pump.status == before
        if mode == "write_failure":
            assert reasons == [RefusalReason.MEMORY_UNRELIABLE] + 9 * [None]
        else:
            assert RefusalReason.MEMORY_UNRELIABLE in reasons
        assert pump.status.rate_nl_per_day == pump.truth.rate_nl_per_day > 0


# --- environment -----------------------------------------------------------------------------------------------------


@shows("mri_stall")
def test_f15_stands_for_the_scan_and_the_binding() -> None:
    pump = VirtualPump()
    pump.inject("mri_stall", lasts="30 min", binds="15 min", at="1 h")
    events = pump.advance(hours=24)
    assert alarms(events) == [(MS_PER_HOUR + 20 * MS_PER_MINUTE, "motor_stall")]
    assert [e.at_ms for e in events if e.kind == "fault_ended"] == [MS_PER_HOUR + 45 * MS_PER_MINUTE]
    late = VirtualPump()
    late.inject("mri_stall", lasts="30 min", binds="4 h")
    late.advance(hours=4)
    assert stands(late)
    late.advance(minutes=31)
    assert not stands(late)
    assert known(late)  # the pump does not know yet
    late.device.interrogated()
    assert known(late)
    late.device.interrogated()
    assert not known(late)  # at the second interrogation (domain.md 0, fact 5)


@shows("mri_telemetry_latch")
def test_f16_latches_a_pump_that_sounds() -> None:
    pump = VirtualPump()
    pump.inject("mri_telemetry_latch", when="alarm_raised")
    silent(pump, 200)
    low = pump.advance_until("alarm_raised", "low_reservoir")[-1].at_ms
    assert mode_of(pump) is PumpMode.TELEMETRY
    assert pump.status.rate_nl_per_day == pump.truth.rate_nl_per_day == 0
    assert pump.faults.list()[0].last_ms == low == pump.now_ms
    pump.advance(days=5)
    assert mode_of(pump) is PumpMode.TELEMETRY
    pump.device.interrogated()
    assert mode_of(pump) is PumpMode.SIMPLE_CONTINUOUS
    assert pump.faults.in_force == ()
    timed = VirtualPump("valve-20")
    timed.inject("mri_telemetry_latch", when="alarm_raised")
    entered = timed.advance_until("telemetry_mode_entered")[-1].at_ms
    assert timed.advance_until("telemetry_mode_left")[-1].at_ms - entered == 10 * MS_PER_MINUTE


@shows("mri_reservoir_dump")
def test_f17_empties_itself() -> None:
    pump = VirtualPump("valve-20")
    pump.inject("mri_reservoir_dump")
    assert alarms(pump.take_events()) == []
    assert (pump.truth.reservoir_nl, pump.status.reservoir_nl) == (0, 20 * ML)
    assert pump.truth.delivered_nl == 20 * ML
    guarded = VirtualPump("valve-20", has_flow_activated_valve=True)
    guarded.inject("mri_reservoir_dump", valve_passes="0.05 ml")
    assert guarded.truth.reservoir_nl == 20 * ML - 50_000
    emptied = VirtualPump("valve-20")
    emptied.withdraw()
    emptied.inject("mri_reservoir_dump")
    assert emptied.truth.delivered_nl == 0


@shows("pressure", "altitude", "depth", "fever")
def test_f25_changes_the_flow() -> None:
    for mode in ("altitude", "depth", "fever"):
        pump = VirtualPump("valve-20", pressure_ppm_per_hpa=-100, temperature_ppm_per_decidegree=500)
        order = pump.inject("pressure", mode)
        changed = pump.truth.flow_error_ppm
        assert changed != 0
        silent(pump, 5)
        pump.clear(order.id)
        bent = pump.device.core.reservoir.environment.bent
        assert bent is (mode == "depth")
        assert (pump.truth.flow_error_ppm != 0) is bent  # bent for good below about ten metres
    shallow = VirtualPump("valve-20")
    shallow.inject("pressure", "depth", depth_dm=40)
    assert not shallow.device.core.reservoir.environment.bent


@shows("power_cut")
def test_x1_boots() -> None:
    pump = VirtualPump()
    pump.bolus(Volume.parse("0.020 ml"), Duration.parse("1 h"))
    pump.inject("power_cut", after="30 min")
    assert alarms(pump.advance(hours=2)) == [(30 * MS_PER_MINUTE, "bolus_interrupted")]
    assert pump.status.boot_epoch == 2


@shows("magnet")
def test_x3_holds_the_rotor() -> None:
    pump = VirtualPump()
    pump.inject("magnet", lasts="10 min")
    before = pump.truth.strokes
    assert alarms(pump.advance(minutes=10)) == []
    assert pump.truth.strokes == before
    pump.advance(hours=1)
    assert pump.truth.strokes > before


# --- radio: nothing of it reaches the therapy ------------------------------------------------------------------------


@shows("radio", "second_tablet")
def test_f30_somebody_else_changes_the_program_in_between() -> None:
    pump = VirtualPump()
    seen = pump.status
    pump.inject("radio", "second_tablet")
    now = pump.status
    assert (now.program_sequence, now.rate_nl_per_day) == (seen.program_sequence + 1, seen.rate_nl_per_day)
    assert pump.device.last_operation_counter(BENCH_SLOT) == 1


for _mode in ("loss", "tremor", "lifted", "replay", "drain"):
    shows("radio", _mode)(lambda: None)  # tests/sim/test_radio.py
for _mode in BESIDES[1].modes:
    shows("memory_error", _mode)(lambda: None)  # tests/sim/pump/test_memory.py: every page, every bit


def test_every_fault_in_every_mode_is_shown() -> None:
    assert {(fault.name, mode) for fault in EVERY for mode in fault.modes} == set(SHOWN)
    assert [fault.number for fault in FAULTS] == [f"F{number}" for number in range(1, 31)]

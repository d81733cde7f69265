"""Boluses, primes and bridges: exact volumes, what ends them, what a power cut leaves of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import Activity, AlarmKind, LogCode, OperationKind, PumpMode, StopReason, Warn
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.activity import ACTIVITY_NUMBERS
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.therapy import BolusOrder, PatientBolusRule, Therapy
from telemetry.units import Concentration, Dose, Duration, FlowRate, Volume
from tests.sim.pump.rig import DAY_MS, EVERY_WARNING, HOUR_MS, ML, PROFILE, commit, device, op, program, restart

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

MINUTE_MS = 60_000
BASAL = 170_000
VALVE = load_profile("valve-20")


def kinds(pump: PumpDevice, now_ms: int) -> list[tuple[int, str, str]]:
    return [(event.at_ms, event.kind, event.detail) for event in pump.advance_to(now_ms)]


def refusal(pump: PumpDevice, order: BolusOrder) -> str:
    with pytest.raises(Refused) as refused:
        pump.check(order)
    return refused.value.reason


def bolus_order(pump: PumpDevice, volume_nl: int = 10_000, duration_s: int = 600) -> BolusOrder:
    status = pump.status()
    dose = volume_nl * status.concentration_ng_per_ml // ML
    return BolusOrder(volume_nl, dose, duration_s, status.concentration_ng_per_ml, status.reservoir_generation)


# --- a single bolus --------------------------------------------------------------------------------------------------


@given(volume=st.integers(1, 90_000), duration_s=st.integers(1, 86_400), looks=st.lists(st.integers(0, 10**8)))
def test_a_bolus_gives_its_volume_to_the_last_unit_and_the_basal_flows_on(
    volume: int, duration_s: int, looks: list[int]
) -> None:
    assume(volume * DAY_MS // (duration_s * 1_000) + BASAL <= PROFILE.max_rate_nl_per_day)
    pump = device(replace(PROFILE, bolus_dose_hard_max_ng=10**9))
    core, before = pump.core, pump.core.reservoir.calculated
    pump.bolus(Volume(volume), Duration(duration_s * 1_000))
    ends_ms = pump.next_event_ms()
    assert ends_ms is not None
    rate = max(1, volume * DAY_MS // (duration_s * 1_000))
    assert pump.status().rate_nl_per_day == BASAL + rate
    assert ends_ms == -(-volume * DAY_MS // rate) >= duration_s * 1_000
    for look in sorted(looks):
        if look < ends_ms:
            pump.advance_to(look)
            pump.delivery()
    pump.advance_to(ends_ms)
    assert before - core.reservoir.calculated == volume * COMMANDED_PER_NL + BASAL * ends_ms
    assert (pump.status().rate_nl_per_day, pump.status().activity) == (BASAL, Activity.NONE)
    assert pump.ledger().balance_nl == 0


def test_a_bolus_tells_what_it_is_doing() -> None:
    pump = device()
    pump.bolus(Dose.parse("20 ug"), Duration.parse("10 min"))
    status, report = pump.status(), pump.delivery()
    assert (status.activity, status.activity_ends_ms, status.dose_ng_per_day) == (Activity.BOLUS, 600_000, 3_220_000)
    assert (status.mode, report.activity_volume_nl, report.activity_delivered_nl) == (
        PumpMode.SIMPLE_CONTINUOUS,
        10_000,
        0,
    )
    pump.advance_to(300_000)
    assert pump.delivery().activity_delivered_nl == 5_000
    assert kinds(pump, HOUR_MS) == [(600_000, "bolus_ended", "bolus")]
    report = pump.delivery()
    # 170 µl/day for an hour, and 10 µl.
    assert (report.window_1h_nl, report.window_24h_ng) == (17_083, 34_166)
    lines = [(line.code, line.detail, line.value) for line in pump.log(0, 99).records[-2:]]
    number = ACTIVITY_NUMBERS[Activity.BOLUS]
    assert lines == [(LogCode.BOLUS_STARTED, number, 10_000), (LogCode.BOLUS_ENDED, number, 10_000)]


def test_a_bolus_goes_through_stage_and_commit_once() -> None:
    pump = device()
    order = bolus_order(pump)
    operation = op(1, OperationKind.BOLUS, order)
    assert pump.check(order).peak_nl_per_day == BASAL + 1_440_000
    assert pump.stage(order, operation.digest) == order
    record = pump.commit(operation, ())
    assert (record.program_sequence, pump.status().activity) == (1, Activity.BOLUS)
    pump.advance_to(HOUR_MS)
    assert pump.commit(operation, ()) == replace(record)
    assert pump.status().activity is Activity.NONE
    with pytest.raises(UsageError, match="is not committed"):
        pump.commit(op(2, OperationKind.STOP), ())
    wrong = op(3, OperationKind.PRIME, order)
    pump.stage(order, wrong.digest)
    with pytest.raises(UsageError, match="prime is no BolusOrder"):
        pump.commit(wrong, ())


def test_what_stands_against_a_bolus() -> None:
    pump = device()
    assert pump.check(bolus_order(pump, 60_000)).warnings == (Warn.BOLUS_DOSE_HIGH,)
    assert refusal(pump, bolus_order(pump, 100_001)) == "bolus_dose_above_hard_limit"
    assert refusal(pump, bolus_order(pump, 90_000, 1)) == "rate_above_maximum"
    assert refusal(pump, replace(bolus_order(pump), dose_ng=1)) == "dose_volume_mismatch"
    assert refusal(pump, replace(bolus_order(pump), reservoir_generation=2)) == "reservoir_generation_mismatch"
    pump.bolus(Volume(10_000), Duration(600_000))
    assert refusal(pump, bolus_order(pump)) == "activity_running"
    with pytest.raises(Refused) as refused:
        pump.check(program(pump))
    assert refused.value.reason == "activity_running"
    pump.stop_at_bench()
    assert refusal(pump, bolus_order(pump)) == "not_delivering"
    assert refusal(device(fill_nl=0), bolus_order(device())) == "reservoir_empty"
    assert refusal(device(shelf_ms=0), bolus_order(device())) == "pump_on_shelf"


def test_a_stop_cancels_a_bolus_for_good() -> None:
    pump = device()
    pump.bolus(Volume(10_000), Duration(600_000))
    pump.advance_to(150_000)
    pump.core.take_events()
    pump.stop(op(1, OperationKind.STOP), StopReason.CLINICAL)
    assert [event.kind for event in pump.core.take_events()][:2] == ["bolus_cancelled", "stopped"]
    cancelled = next(line for line in pump.log(0, 99).records if line.code is LogCode.BOLUS_CANCELLED)
    assert (cancelled.detail, cancelled.value) == (ACTIVITY_NUMBERS[Activity.BOLUS], 2_500)
    pump.resume_at_bench()
    assert pump.status().rate_nl_per_day == BASAL


def test_a_reservoir_that_empties_ends_a_bolus() -> None:
    pump = device(fill_nl=5_000)
    pump.bolus(Volume(10_000), Duration(600_000))
    pump.core.take_events()
    seen = [kind for _, kind, _ in kinds(pump, HOUR_MS)]
    assert seen == ["reservoir_empty", "bolus_cancelled", "alarm_raised", "delivery_stopped"]
    assert (pump.status().activity, pump.status().mode) == (Activity.NONE, PumpMode.EMPTY)


# --- prime -----------------------------------------------------------------------------------------------------------


def test_a_prime_runs_instead_of_the_basal() -> None:
    pump = device()
    before = pump.core.reservoir.calculated
    pump.prime()
    assert (pump.status().rate_nl_per_day, pump.status().activity) == (24_000_000, Activity.PRIME)
    pump.core.take_events()
    # 0.3358 ml at 1 ml/h take 20 min 8.88 s (domain.md 2.7).
    assert kinds(pump, HOUR_MS) == [(1_208_880, "prime_ended", "prime")]
    basal = BASAL * (HOUR_MS - 1_208_880)
    assert before - pump.core.reservoir.calculated == 335_800 * COMMANDED_PER_NL + basal


def test_a_prime_beyond_the_path_warns_and_beyond_twice_of_it_is_refused() -> None:
    pump = device()
    with pytest.raises(Refused) as refused:
        pump.prime(Volume(2 * 335_800 + 1))
    assert refused.value.reason == "prime_too_large"
    pump.prime(Volume(335_801), FlowRate(12_000_000))
    assert pump.status().rate_nl_per_day == 12_000_000


# --- bridge ----------------------------------------------------------------------------------------------------------


def bridging() -> PumpDevice:
    """domain.md 2.7: 500 to 2000 µg/ml at 300 µg/day."""
    pump = device(replace(PROFILE, start_rate_nl_per_day=600_000), concentration_ng_per_ml=500_000)
    pump.advance_to(DAY_MS)
    pump.core.take_events()
    pump.refill(None, Concentration.parse("2000 ug/ml"), Therapy.simple_continuous(FlowRate(150_000)), bridge=True)
    return pump


def test_a_bridge_keeps_the_dose_at_the_tip_within_one_percent() -> None:
    pump = bridging()
    status = pump.status()
    assert (status.rate_nl_per_day, status.dose_ng_per_day, status.activity) == (600_000, 300_000, Activity.BRIDGE)
    assert (status.mode, status.concentration_ng_per_ml) == (PumpMode.SIMPLE_CONTINUOUS, 2_000_000)
    ends_ms = DAY_MS + 335_800 * DAY_MS // 600_000
    assert status.activity_ends_ms == ends_ms - ends_ms % 1_000
    assert (ends_ms - DAY_MS) * 100 // HOUR_MS == 1_343
    delivered = pump.truth().delivered_ng
    for hour in range(1, 72):
        pump.advance_to(DAY_MS + hour * HOUR_MS)
        given, due = pump.truth().delivered_ng - delivered, hour * 12_500
        # One stroke of 250 nl may be due; it carries at most 500 ng.
        assert abs(given - due) <= max(500, due // 100)
    assert (pump.status().rate_nl_per_day, pump.status().activity) == (150_000, Activity.NONE)


def test_a_bridge_waits_through_a_stop_and_a_power_cut() -> None:
    pump = bridging()
    pump.advance_to(DAY_MS + 3 * HOUR_MS)
    pump.stop_at_bench()
    assert (pump.status().activity, pump.status().rate_nl_per_day) == (Activity.NONE, 0)
    pump.advance_to(2 * DAY_MS)
    restart(pump)
    left = pump.core.bridge_to_give
    assert 0 <= 335_800 * COMMANDED_PER_NL - 600_000 * 3 * HOUR_MS - left < 250 * COMMANDED_PER_NL
    pump.resume_at_bench()
    assert (pump.status().activity, pump.status().rate_nl_per_day) == (Activity.BRIDGE, 600_000)
    pump.advance_to(2 * DAY_MS + HOUR_MS)
    restart(pump)
    assert pump.status().activity is Activity.BRIDGE
    assert AlarmKind.BOLUS_INTERRUPTED not in pump.status().alarms
    pump.advance_to(3 * DAY_MS)
    assert (pump.status().activity, pump.status().rate_nl_per_day) == (Activity.NONE, 150_000)


def test_a_program_ends_a_bridge_only_when_that_is_accepted() -> None:
    pump = bridging()
    wanted = program(pump, 160_000)
    assert Warn.BRIDGE_OMITTED in pump.check(wanted).warnings
    pump.stage(wanted, op(1, what=wanted).digest)
    with pytest.raises(Refused) as refused:
        pump.commit(op(1, what=wanted), tuple(set(Warn) - {Warn.BRIDGE_OMITTED}))
    assert "bridge_omitted" in refused.value.warnings
    commit(pump, 2, wanted)
    assert (pump.status().activity, pump.status().rate_nl_per_day) == (Activity.NONE, 160_000)


def test_periodic_boluses_and_ramps_count_from_the_end_of_the_bridge() -> None:
    pump = device(concentration_ng_per_ml=500_000)
    ramp = Therapy.titration([(2, FlowRate(85_000)), (2, FlowRate(90_000))])
    pump.refill(None, Concentration(1_000_000), ramp, bridge=True)
    ended = next(event.at_ms for event in pump.advance_to(20 * DAY_MS) if event.kind == "bridge_ended")
    step = next(line for line in pump.log(0, 99).records if line.code is LogCode.TITRATION_STEP)
    assert step.at_ms == (ended + 2 * DAY_MS) // 1_000 * 1_000
    assert pump.status().rate_nl_per_day == 90_000


# --- periodic boluses ------------------------------------------------------------------------------------------------


def periodic(pump: PumpDevice, first_in: int = HOUR_MS) -> None:
    pump.program(
        Therapy.periodic_bolus(
            FlowRate(100_000), Volume(5_000), Duration(300_000), Duration(6 * HOUR_MS), Duration(first_in)
        )
    )


def test_periodic_boluses_come_at_their_instants() -> None:
    pump = device()
    periodic(pump, 0)
    started = [at for at, kind, _ in kinds(pump, DAY_MS) if kind == "bolus_started"]
    assert started == [0, 6 * HOUR_MS, 12 * HOUR_MS, 18 * HOUR_MS, 24 * HOUR_MS]
    assert pump.status().mode is PumpMode.PERIODIC_BOLUS


def test_one_that_is_due_meanwhile_is_withheld_and_never_caught_up() -> None:
    pump = device()
    periodic(pump)
    pump.advance_to(30 * MINUTE_MS)
    pump.bolus(Volume(9_000), Duration(HOUR_MS))
    pump.core.take_events()
    seen = [(at, kind) for at, kind, detail in kinds(pump, 8 * HOUR_MS) if detail == "periodic_bolus"]
    assert seen == [(HOUR_MS, "bolus_withheld"), (7 * HOUR_MS, "bolus_started"), (7 * HOUR_MS + 300_000, "bolus_ended")]
    withheld = next(line for line in pump.log(0, 99).records if line.code is LogCode.BOLUS_WITHHELD)
    assert withheld.value == 5_000


def test_stopped_time_does_not_count() -> None:
    pump = device()
    periodic(pump)
    pump.advance_to(HOUR_MS)
    pump.stop_at_bench()
    pump.advance_to(11 * HOUR_MS)
    pump.resume_at_bench()
    pump.core.take_events()
    started = [at for at, kind, _ in kinds(pump, 18 * HOUR_MS) if kind == "bolus_started"]
    # The one that began at the very instant of the stop is over; the next is due 6 h of delivery later.
    assert started == [17 * HOUR_MS]


def test_a_new_program_ends_the_old_ones_bolus() -> None:
    pump = device()
    periodic(pump, 0)
    assert pump.status().activity is Activity.PERIODIC_BOLUS
    commit(pump, 1, program(pump, 150_000))
    assert (pump.status().activity, pump.status().rate_nl_per_day) == (Activity.NONE, 150_000)
    assert [line.code for line in pump.log(0, 99).records][-2:] == [LogCode.BOLUS_CANCELLED, LogCode.PROGRAM_COMMITTED]


# --- power -----------------------------------------------------------------------------------------------------------


def test_a_bolus_is_not_resumed_after_a_power_cut() -> None:
    pump = device()
    pump.bolus(Volume(10_000), Duration(600_000))
    pump.advance_to(300_000)
    restart(pump)
    status = pump.status()
    assert (status.activity, status.rate_nl_per_day) == (Activity.NONE, BASAL)
    assert status.alarms == (AlarmKind.BOLUS_INTERRUPTED,)
    cancelled = next(line for line in pump.log(0, 99).records if line.code is LogCode.BOLUS_CANCELLED)
    # At most so much was given: up to the end of the strokes that were reserved.
    assert 5_000 <= cancelled.value < 5_000 + 671
    pump.acknowledge_alarm(AlarmKind.BOLUS_INTERRUPTED)
    assert pump.status().alarms == ()
    assert pump.ledger().balance_nl == 0


def test_a_low_battery_reset_is_a_power_cut_with_an_alarm() -> None:
    pump = device()
    pump.advance_to(HOUR_MS)
    pump.low_battery_reset()
    assert (pump.boot_epoch, pump.status().alarms) == (2, (AlarmKind.LOW_BATTERY_RESET,))
    assert pump.status().rate_nl_per_day == BASAL
    pump.low_battery_reset(safe_state=True)
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.SAFE_STATE, PROFILE.safe_basal_rate_nl_per_day)
    assert set(status.alarms) == {AlarmKind.SAFE_STATE, AlarmKind.LOW_BATTERY_RESET}
    commit(pump, 1, program(pump, 150_000))
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS


# --- the patient's bolus ---------------------------------------------------------------------------------------------


def with_rule(lockout_s: int = 7_200, most: int = 3) -> PumpDevice:
    pump = device(VALVE)
    rule = PatientBolusRule(Volume(5_000), Duration(300_000), Duration(lockout_s * 1_000), most)
    pump.program(replace(Therapy.simple_continuous(FlowRate(100_000)), patient_bolus=rule))
    return pump


def ask(pump: PumpDevice) -> str:
    try:
        pump.patient_bolus_at_bench()
    except Refused as refused:
        return refused.reason
    return "given"


def test_the_pump_grants_by_its_own_rule() -> None:
    pump = with_rule()
    assert ask(pump) == "given"
    assert ask(pump) == "activity_running"
    pump.advance_to(300_000)
    assert (ask(pump), pump.delivery().locked_out_until_ms) == ("locked_out", 7_500_000)
    pump.advance_to(7_499_999)
    assert ask(pump) == "locked_out"
    pump.advance_to(7_500_000)
    assert (ask(pump), pump.delivery().patient_boluses_24h) == ("given", 2)
    pump.advance_to(4 * HOUR_MS)
    pump.stop_at_bench()
    pump.advance_to(5 * HOUR_MS)
    assert ask(pump) == "not_delivering"
    pump.resume_at_bench()
    assert ask(pump) == "given"
    pump.advance_to(12 * HOUR_MS)
    assert ask(pump) == "bolus_count_reached"
    pump.advance_to(DAY_MS)
    assert ask(pump) == "given"
    denied = [line for line in pump.log(0, 99).records if line.code is LogCode.PATIENT_BOLUS_DENIED]
    assert len(denied) == 5


def test_a_critical_alarm_stands_against_it() -> None:
    pump = with_rule()
    pump.core.reservoir.rotor.stall(0)
    pump.advance_to(VALVE.stall_detection_latency_ms)
    assert AlarmKind.MOTOR_STALL in pump.status().alarms
    assert ask(pump) == "critical_alarm_present"
    assert ask(device(VALVE)) == "patient_bolus_not_prescribed"


@pytest.mark.inv(45)
def test_inv_45_neither_clock_nor_power_shortens_a_lock_out() -> None:
    pump = with_rule()
    ask(pump)
    pump.advance_to(HOUR_MS)
    pump.set_clock(pump.core.clock.utc_s(pump.now_ms) + 3 * 86_400, 60)
    assert ask(pump) == "locked_out"
    locked_ms = pump.delivery().locked_out_until_ms
    pump.power_cut()
    pump.boot(5 * HOUR_MS)
    assert locked_ms == 7_500_000
    # Time without power counts as none.
    assert pump.delivery().locked_out_until_ms == 7_500_000 + 4 * HOUR_MS
    assert ask(pump) == "locked_out"
    pump.advance_to(7_500_000 + 4 * HOUR_MS)
    assert ask(pump) == "given"
    assert pump.delivery().patient_boluses_24h == 2


def test_one_that_a_power_cut_ended_locks_out_all_the_same() -> None:
    pump = with_rule()
    ask(pump)
    pump.advance_to(100_000)
    restart(pump)
    assert (ask(pump), pump.delivery().locked_out_until_ms) == ("locked_out", 7_300_000)
    assert pump.delivery().patient_boluses_24h == 1


@pytest.mark.parametrize("name", ["itb-20", "itb-40", "sensor-40"])
def test_no_patient_gives_baclofen(name: str) -> None:
    pump = device(load_profile(name))
    for act in (
        pump.patient_bolus_at_bench,
        lambda: pump.program(
            replace(
                Therapy.simple_continuous(FlowRate(200_000)),
                patient_bolus=PatientBolusRule(Volume(10), Duration(1_000), Duration(0), 1),
            )
        ),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.reason == "patient_bolus_forbidden"
        assert "baclofen" in str(refused.value)


def test_a_patients_bolus_is_one_operation() -> None:
    pump = with_rule()
    operation = op(1, OperationKind.PATIENT_BOLUS)
    record = pump.patient_bolus(operation)
    pump.advance_to(HOUR_MS)
    assert pump.patient_bolus(operation) == record
    assert pump.delivery().patient_boluses_24h == 1
    assert pump.query(1, operation.op_id).kind is OperationKind.PATIENT_BOLUS
    with pytest.raises(UsageError, match="is no patient bolus"):
        pump.patient_bolus(op(2, OperationKind.STOP))


def test_warnings_of_a_bolus_are_accepted_by_name() -> None:
    pump = device()
    order = bolus_order(pump, 60_000, 3_600)
    operation = op(1, OperationKind.BOLUS, order)
    pump.stage(order, operation.digest)
    with pytest.raises(Refused) as refused:
        pump.commit(operation, ())
    assert refused.value.warnings == ("bolus_dose_high",)
    pump.commit(operation, EVERY_WARNING)
    assert pump.status().activity is Activity.BOLUS

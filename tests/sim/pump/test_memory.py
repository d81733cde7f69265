"""Non-volatile memory: power cut at every byte, every bit flipped, and what the pump does then."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, LogCode, OperationKind, PumpMode, StopReason, Verdict
from telemetry.sim.pump.books import parse_checkpoint
from telemetry.sim.pump.ledger import LEDGER_CAPACITY
from telemetry.sim.pump.medium import Medium, PowerCut
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, RefillOrder, Therapy
from telemetry.units import Concentration, Duration, FlowRate, Volume
from tests.sim.pump.rig import (
    DAY_MS,
    EPOCH_UTC_S,
    EVERY_WARNING,
    HOUR_MS,
    ML,
    PROFILE,
    commit,
    device,
    digest,
    op,
    program,
    restart,
)

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.pump.orders import Order

MINUTE_MS = 60_000


def bytes_of(act_on: PumpDevice, counter: int = 2) -> int:
    before = act_on.medium.bytes_written
    commit(act_on, counter, program(act_on, 200_000))
    return act_on.medium.bytes_written - before


def prepared() -> PumpDevice:
    pump = device()
    commit(pump, 1, program(pump, 150_000))
    return pump


@pytest.mark.inv(29)
@pytest.mark.inv(30)
@pytest.mark.parametrize("keep_old", [False, True])
def test_inv_29_30_power_cut_at_every_byte_of_a_commit(keep_old: bool) -> None:
    total = bytes_of(prepared())
    assert total > 400
    seen = set()
    for cut in range(total):
        pump = prepared()
        old = pump.program_report()
        wanted = program(pump, 200_000)
        operation = op(2, what=wanted)
        pump.medium.arm_cut(cut, keep_old=keep_old)
        with pytest.raises(PowerCut):
            commit(pump, 2, wanted)
        restart(pump)
        now = pump.program_report()
        verdict = pump.query(1, operation.op_id).verdict
        if verdict is Verdict.APPLIED:
            assert (now.program, now.program_sequence) == (wanted, old.program_sequence + 1)
        else:
            assert (verdict, now) == (Verdict.NEVER, old)
        assert pump.status().alarms == ()
        seen.add(verdict)
        assert commit(pump, 3, program(pump, 180_000)).verdict is Verdict.APPLIED
    assert seen == {Verdict.APPLIED, Verdict.NEVER}


@pytest.mark.inv(29)
@pytest.mark.parametrize("what", ["stop", "refill", "boot"])
def test_inv_29_power_cut_at_every_byte_of_stop_refill_and_boot(what: str) -> None:
    def do(pump: PumpDevice) -> None:
        if what == "stop":
            pump.stop(op(2, OperationKind.STOP), StopReason.CLINICAL)
        elif what == "refill":
            pump.refill(None, Concentration(500_000), Therapy.simple_continuous(FlowRate(160_000)))
        else:
            pump.power_cut()
            pump.boot()

    whole = prepared()
    before = whole.medium.bytes_written
    do(whole)
    total = whole.medium.bytes_written - before
    outcomes = set()
    for cut in range(total):
        pump = prepared()
        old = pump.program_report().program
        pump.medium.arm_cut(cut)
        try:
            do(pump)
        except PowerCut:
            pump.medium.disarm()
        if pump.core.powered:
            pump.power_cut()
        pump.boot()
        program_now = pump.program_report().program
        assert program_now in {old, whole.program_report().program}
        assert pump.ledger().balance_nl == 0
        stopped = pump.query(1, op(2, OperationKind.STOP).op_id).verdict is Verdict.APPLIED
        assert pump.program_report().stopped is stopped
        generation = pump.status().reservoir_generation
        assert (generation, pump.status().concentration_ng_per_ml) == (
            program_now.reservoir_generation,
            program_now.concentration_ng_per_ml,
        )
        outcomes.add((program_now == old, stopped))
    assert len(outcomes) == (1 if what == "boot" else 2)


ORDERS = ("bolus", "prime", "bridge", "clock", "limits", "alarm_settings", "flex")


def act(pump: PumpDevice, what: str) -> None:
    """One order of each kind, at the bench: check, stage, commit, carried out."""
    if what == "bolus":
        pump.bolus(Volume(10_000), Duration(600_000))
    elif what == "prime":
        pump.prime(Volume(50_000))
    elif what == "bridge":
        therapy = Therapy.simple_continuous(FlowRate(300_000))
        pump.refill(None, Concentration(1_000_000), therapy, bridge=True)
    elif what == "clock":
        pump.set_clock(1_800_000_000, 120)
    elif what == "limits":
        pump.set_limits(replace(pump.limits(), daily_dose_hard_max_ng=1_500_000))
    elif what == "alarm_settings":
        pump.configure_alarms(AlarmSettings(3 * ML, low_reservoir_enabled=False, elective_replacement_enabled=True))
    else:
        pump.program(Therapy.flex({"00:00": FlowRate(150_000), "06:00": FlowRate(160_000)}))


def settled(pump: PumpDevice) -> tuple[object, ...]:
    """What the order decides, apart from how far delivery has come."""
    core = pump.core
    return (
        pump.program_report().program,
        pump.limits(),
        pump.alarm_settings(),
        core.clock.utc_s(pump.now_ms),
        core.clock.zone_minutes,
        core.bridge_to_give,
        core.filled_nl,
        core.reservoir.calculated_nl,
    )


@pytest.mark.inv(29)
@pytest.mark.inv(30)
@pytest.mark.parametrize("what", ORDERS)
def test_inv_29_30_power_cut_at_every_byte_of_any_order(what: str) -> None:
    whole = prepared()
    sequence, before = whole.ledger_sequence, whole.medium.bytes_written
    act(whole, what)
    total = whole.medium.bytes_written - before
    new, seen = settled(whole), set()
    for cut in range(0, total, 3 if what == "bridge" else 1):
        pump = prepared()
        old, given = settled(pump), pump.log_head()[0]
        pump.medium.arm_cut(cut)
        with pytest.raises(PowerCut):
            act(pump, what)
        restart(pump)
        applied = pump.ledger_sequence > sequence
        lines = [line.code for line in pump.log(given, 99).records]
        assert settled(pump) == (new if applied else old)
        assert pump.core.activity is None or pump.core.activity.kind == "bridge"
        assert (pump.status().activity == "bridge") is (what == "bridge" and applied)
        # An activity that a record had decided and the cut ended is told of, whatever was given of it.
        lost = applied and what in {"bolus", "prime"}
        assert (AlarmKind.BOLUS_INTERRUPTED in pump.status().alarms) is lost
        assert (LogCode.BOLUS_CANCELLED in lines) is lost
        assert set(pump.status().alarms) <= {AlarmKind.BOLUS_INTERRUPTED}
        assert pump.medium.read("order") == b"" or not applied
        restart(pump)
        assert settled(pump) == (new if applied else old)
        assert pump.ledger().balance_nl == 0
        seen.add(applied)
        act(pump, "flex")
        assert pump.status().mode is PumpMode.FLEX or what == "bridge"
    assert seen == {True, False}


@pytest.mark.inv(29)
@pytest.mark.inv(46)
@pytest.mark.parametrize("what", ["flex", "bridge"])
def test_inv_29_46_a_clock_that_holds_one_schedule_does_not_hold_the_next_wherever_power_goes(what: str) -> None:
    seen = set()
    for cut in itertools.count(0, 7):
        pump = device()
        pump.program(Therapy.flex({"00:00": FlowRate(150_000), "12:00": FlowRate(170_000)}))
        pump.advance_to(20 * HOUR_MS)
        pump.set_clock(EPOCH_UTC_S, 0)
        assert pump.core.clock.holds(pump.now_ms)
        sequence = pump.ledger_sequence
        pump.medium.arm_cut(cut)
        try:
            act(pump, what)
        except PowerCut:
            restart(pump)
        else:
            break
        applied = pump.ledger_sequence > sequence
        assert pump.core.clock.holds(pump.now_ms) is not applied
        seen.add(applied)
    assert seen == {True, False}


@pytest.mark.inv(32)
@pytest.mark.inv(34)
@pytest.mark.parametrize("what", ["bolus", "prime", "clock", "limits", "alarm_settings", "refill"])
def test_inv_32_34_any_bit_of_a_staged_order_flipped_is_refused(what: str) -> None:
    pump = prepared()
    status = pump.status()
    binding = (status.concentration_ng_per_ml, status.reservoir_generation)
    orders: dict[str, tuple[OperationKind, Order]] = {
        "bolus": (OperationKind.BOLUS, BolusOrder(10_000, 20_000, 600, *binding)),
        "prime": (OperationKind.PRIME, PrimeOrder(50_000, 24_000_000, *binding)),
        "clock": (OperationKind.CLOCK, ClockSetting(1_800_000_000, 60)),
        "limits": (OperationKind.LIMITS, replace(pump.limits(), daily_dose_hard_max_ng=1_500_000)),
        "alarm_settings": (OperationKind.ALARM_SETTINGS, AlarmSettings(3 * ML, False, True)),
        "refill": (
            OperationKind.REFILL,
            RefillOrder(30 * ML, 1 * ML, program(pump, 150_000, reservoir_generation=2)),
        ),
    }
    kind, order = orders[what]
    operation = op(2, kind, order)
    assert pump.stage(order, operation.digest) == order
    page = "bank_a" if what == "refill" else "order"
    before = settled(pump)
    for bit in range(8 * len(pump.medium.read(page))):
        pump.stage(order, operation.digest)
        pump.medium.flip_bit(page, bit)
        with pytest.raises(Refused) as refused:
            pump.commit(operation, EVERY_WARNING)
        assert refused.value.reason == "memory_unreliable"
        assert settled(pump) == before
    pump.stage(order, operation.digest)
    assert pump.commit(operation, EVERY_WARNING).verdict is Verdict.APPLIED
    assert pump.query(1, operation.op_id).kind is kind


@pytest.mark.inv(34)
@pytest.mark.parametrize(
    "prefix",
    [
        "bank",
        "binding",
        "boot",
        "checkpoint",
        "commit_000",
        "commit_001",
        "commit_002",
        "limits",
        "log",
        "safe_basal",
        "settings",
    ],
)
def test_inv_34_any_single_bit_flipped_in_any_record(prefix: str) -> None:
    reference = prepared()
    reference.stop(op(2, OperationKind.STOP, slot=2), StopReason.CLINICAL)
    reference.power_cut()
    reference.boot()
    limits = reference.limits()
    first = device().program_report().program
    current = reference.program_report().program
    for page in reference.medium.pages(prefix):
        data = reference.medium.read(page)
        # Every bit of what decides; of the log, which decides nothing, one bit in each byte.
        step = 8 if page.startswith("log_") else 1
        for bit in range(0, 8 * len(data), step):
            pump = prepared()
            pump.stop(op(2, OperationKind.STOP, slot=2), StopReason.CLINICAL)
            restart(pump)
            pump.medium.flip_bit(page, bit)
            restart(pump)
            report = pump.program_report()
            assert pump.limits() == limits
            assert pump.core.limits is not None
            assert pump.status().rate_nl_per_day == 0
            assert pump.query(1, op(1, what=current).op_id).verdict is Verdict.APPLIED
            assert pump.query(2, op(2, OperationKind.STOP).op_id).verdict is Verdict.APPLIED
            if page == "bank_b":
                assert report.program == first
                assert AlarmKind.MEMORY_ERROR in pump.status().alarms
            else:
                assert report.program == current
    assert reference.medium.pages(prefix)


def test_every_page_belongs_to_a_kind_whose_bits_are_flipped() -> None:
    pump = prepared()
    restart(pump)
    assert {page[:10] for page in pump.medium.pages("commit")} == {"commit_000", "commit_001"}
    kinds = {page.split("_")[0] for page in pump.medium.pages()}
    assert kinds == {"bank", "binding", "boot", "checkpoint", "commit", "limits", "log", "safe", "settings"}


def test_a_damaged_bank_falls_back_to_the_other_at_the_next_memory_check() -> None:
    pump = prepared()
    old_rate = 170_000
    pump.advance_to(90_001)
    pump.flip_bit("bank_b", 100)
    events = pump.advance_to(DAY_MS)
    raised = [event for event in events if event.kind == "alarm_raised"]
    assert [(event.at_ms, event.detail) for event in raised] == [(2 * MINUTE_MS, "memory_error")]
    status = pump.status()
    assert (status.rate_nl_per_day, status.program_sequence) == (old_rate, 3)
    restart(pump)
    assert pump.status().rate_nl_per_day == old_rate
    assert commit(pump, 9, program(pump, 150_000)).verdict is Verdict.APPLIED
    memory_error = pump.alarms()[0]
    assert (memory_error.kind, memory_error.signal) == (AlarmKind.MEMORY_ERROR, "latched")


def test_two_flips_before_one_check_share_it() -> None:
    pump = prepared()
    pump.flip_bit("bank_b", 100)
    pump.flip_bit("bank_a", 100)
    assert pump.next_event_ms() == MINUTE_MS
    kinds = [event.kind for event in pump.advance_to(MINUTE_MS)]
    assert "safe_state_entered" in kinds
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.SAFE_STATE, PROFILE.safe_basal_rate_nl_per_day)
    assert {AlarmKind.MEMORY_ERROR, AlarmKind.SAFE_STATE} <= set(status.alarms)
    with pytest.raises(Refused) as refused:
        pump.check_resume(status.program_sequence, status.program_digest)
    assert refused.value.reason == "safe_state"
    with pytest.raises(UsageError, match="safe state"):
        pump.refill()
    restart(pump)
    assert pump.status().mode is PumpMode.SAFE_STATE
    pump.advance_to(2 * DAY_MS)
    commit(pump, 9, program(pump, 150_000))
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS
    assert {alarm.signal for alarm in pump.alarms()} == {"latched"}
    for alarm in pump.alarms():
        pump.acknowledge_alarm(alarm.kind)
    assert pump.alarms() == ()


def test_the_other_bank_is_not_run_on_another_concentration() -> None:
    pump = device()
    pump.refill(None, Concentration(500_000), Therapy.simple_continuous(FlowRate(160_000)))
    pump.flip_bit("bank_b", 100)
    pump.advance_to(MINUTE_MS)
    assert pump.status().mode is PumpMode.SAFE_STATE
    assert pump.status().concentration_ng_per_ml == 500_000


def test_the_other_bank_runs_on_after_a_refill_of_the_same_drug() -> None:
    pump = device()
    pump.refill()
    pump.flip_bit("bank_b", 100)
    pump.advance_to(MINUTE_MS)
    status = pump.status()
    assert (status.mode, status.reservoir_generation) == (PumpMode.SIMPLE_CONTINUOUS, 2)
    restart(pump)
    assert pump.status().reservoir_generation == 2
    assert commit(pump, 1, program(pump, 150_000)).verdict is Verdict.APPLIED


def test_without_safe_basal_a_pump_without_program_stands_still() -> None:
    pump = device()
    for page in ("safe_basal_a", "safe_basal_b"):
        pump.flip_bit(page, 40)
    pump.advance_to(MINUTE_MS)
    status = pump.status()
    assert status.mode is PumpMode.SIMPLE_CONTINUOUS
    assert status.alarms == (AlarmKind.MEMORY_ERROR,)
    commit(pump, 1, program(pump, 160_000))
    assert next(alarm for alarm in pump.alarms()).condition_present
    for page in ("bank_a", "bank_b"):
        pump.flip_bit(page, 100)
    pump.advance_to(2 * MINUTE_MS)
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.SAFE_STATE, 0)
    restart(pump)
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms


def test_lost_limits_stop_programming_and_leave_therapy() -> None:
    pump = device()
    for page in ("limits_a", "limits_b"):
        pump.flip_bit(page, 40)
    pump.advance_to(MINUTE_MS)
    assert pump.status().rate_nl_per_day == 170_000
    with pytest.raises(Refused) as refused:
        pump.check(program(pump))
    assert refused.value.reason == "memory_unreliable"
    assert pump.limits().min_rate_nl_per_day == 48_000
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms
    pump.stop_at_bench()
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms
    with pytest.raises(Refused):
        pump.program(Therapy.minimum_rate())
    restart(pump)
    assert pump.core.limits is None


def test_with_every_commit_record_lost_the_pump_is_in_its_safe_state() -> None:
    pump = prepared()
    for page in pump.medium.pages():
        if page.startswith(("commit_", "binding_")):
            pump.medium.flip_bit(page, 9)
    restart(pump)
    assert pump.status().mode is PumpMode.SAFE_STATE
    assert pump.status().rate_nl_per_day == PROFILE.safe_basal_rate_nl_per_day
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms


def test_with_every_book_lost_the_safe_basal_flows_and_the_low_alarm_sounds() -> None:
    pump = device()
    pump.power_cut()
    for page in pump.medium.pages():
        if page.startswith(("commit_", "checkpoint_")):
            pump.medium.flip_bit(page, 9)
    pump.boot()
    status = pump.status()
    assert (status.mode, status.rate_nl_per_day) == (PumpMode.SAFE_STATE, PROFILE.safe_basal_rate_nl_per_day)
    assert (status.reservoir_nl, AlarmKind.LOW_RESERVOIR in status.alarms) == (2 * ML, True)


def test_without_a_checkpoint_the_commit_record_holds() -> None:
    pump = prepared()
    pump.advance_to(DAY_MS)
    pump.power_cut()
    for page in pump.medium.pages("checkpoint_"):
        pump.medium.flip_bit(page, 9)
    pump.boot()
    assert pump.status().reservoir_nl == 40 * ML
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms


def test_an_all_lost_log_starts_again_at_1() -> None:
    pump = device()
    for page in pump.medium.pages("log_"):
        pump.medium.flip_bit(page, 9)
    restart(pump)
    assert pump.log(0, 9).records[0].code is LogCode.POWER_ON


def test_a_damaged_log_page_leaves_a_gap_and_an_alarm() -> None:
    pump = prepared()
    for _ in range(3):
        restart(pump)
    whole = pump.log(0, 100)
    pump.flip_bit("log_0001", 100)
    pump.advance_to(MINUTE_MS)
    sequences = [line.sequence for line in pump.log(0, 100).records]
    assert 2 not in sequences
    assert set(range(1, whole.newest_sequence + 1)) - set(sequences) == {2}
    assert AlarmKind.MEMORY_ERROR in pump.status().alarms


def test_a_repair_is_logged_and_warned_of_until_somebody_has_seen_it() -> None:
    pump = device()
    pump.flip_bit("limits_b", 3)
    events = pump.advance_to(MINUTE_MS)
    assert [(event.kind, event.detail) for event in events] == [("alarm_raised", "memory_warning")]
    repaired = pump.log(0, 100).records[-2]
    assert (repaired.code, repaired.detail, repaired.value) == (LogCode.MEMORY_ERROR, 0, 1)
    assert pump.medium.read("limits_a") == pump.medium.read("limits_b")
    warning = pump.alarms()[0]
    assert (warning.kind, warning.condition_present, warning.signal) == (AlarmKind.MEMORY_WARNING, False, "latched")
    restart(pump)
    assert pump.status().alarms == (AlarmKind.MEMORY_WARNING,)
    pump.acknowledge_alarm(AlarmKind.MEMORY_WARNING)
    assert pump.status().alarms == ()


def test_a_flip_found_at_a_boot_is_warned_of_and_the_cut_itself_is_not() -> None:
    pump = device()
    pump.medium.flip_bit("limits_b", 3)
    restart(pump)
    assert pump.status().alarms == (AlarmKind.MEMORY_WARNING,)
    torn = device()
    torn.medium.arm_cut(9)
    with pytest.raises(PowerCut):
        torn.set_limits(replace(torn.limits(), low_reservoir_alarm_nl=3 * ML))
    restart(torn)
    assert torn.status().alarms == ()


def test_memory_check_keeps_acknowledgements() -> None:
    pump = prepared()
    pump.acknowledge_through(1, 1)
    pump.flip_bit("limits_b", 3)
    pump.advance_to(MINUTE_MS)
    assert pump.unacknowledged == 0


def test_latched_alarms_and_their_sequence_outlive_a_reboot() -> None:
    pump = device()
    pump.stop_at_bench()
    pump.advance_to(3 * DAY_MS)
    pump.refill(None, None, Therapy.simple_continuous(FlowRate(170_000)))
    two_flips = ("bank_a", "bank_b")
    for page in two_flips:
        pump.flip_bit(page, 50)
    pump.advance_to(3 * DAY_MS + MINUTE_MS)
    commit(pump, 1, program(pump, 170_000))
    latched = {alarm.kind for alarm in pump.alarms() if alarm.signal == "latched"}
    assert latched == {AlarmKind.MEMORY_ERROR, AlarmKind.SAFE_STATE}
    sequence = pump.alarm_sequence
    restart(pump)
    assert {alarm.kind for alarm in pump.alarms() if alarm.signal == "latched"} == latched
    assert pump.alarm_sequence > sequence


def test_a_stopped_pump_boots_stopped_since_it_was() -> None:
    pump = device()
    pump.advance_to(DAY_MS)
    pump.stop_at_bench()
    pump.advance_to(2 * DAY_MS)
    pump.power_cut()
    pump.boot(3 * DAY_MS)
    status = pump.status()
    assert (status.mode, status.stopped_since_ms, status.boot_epoch) == (PumpMode.STOPPED, DAY_MS, 2)
    assert status.alarms == (AlarmKind.THERAPY_STOPPED, AlarmKind.STOPPED_PUMP)


def test_the_checkpoint_of_before_a_commit_is_not_used_after_it() -> None:
    pump = prepared()
    restart(pump)
    pump.advance_to(DAY_MS)
    pump.refill(Volume(20 * ML))
    for page in ("checkpoint_a", "checkpoint_b"):
        assert parse_checkpoint(pump.medium.read(page)) is not None
    restart(pump)
    assert pump.status().reservoir_nl == 20 * ML


def test_records_fill_the_ring_without_losing_the_program() -> None:
    pump = prepared()
    wanted = pump.program_report()
    for counter in range(2, 400):
        pump.stop(op(counter, OperationKind.STOP, slot=2), StopReason.CLINICAL)
    assert pump.unacknowledged >= LEDGER_CAPACITY
    restart(pump)
    assert replace(pump.program_report(), stopped=False) == wanted
    assert pump.query(1, op(1, what=wanted.program).op_id).verdict is Verdict.APPLIED


def test_the_medium_says_what_it_has() -> None:
    medium = Medium({"page": b"\x00"})
    with pytest.raises(UsageError, match="written pages: page"):
        medium.flip_bit("other", 0)
    with pytest.raises(UsageError, match="bit: 8 is outside"):
        medium.flip_bit("page", 8)
    with pytest.raises(UsageError, match="after_bytes"):
        medium.arm_cut(-1)
    copy = medium.copy()
    medium.arm_cut(1)
    medium.write("page", b"\x01")
    with pytest.raises(PowerCut):
        medium.write("page", b"\x01")
    assert (copy.read("page"), medium.read("page"), medium.read("none")) == (b"\x00", b"\xff", b"")


def test_a_used_medium_is_refused() -> None:
    with pytest.raises(UsageError, match="holds a pump already"):
        device(PROFILE, device().medium)


def test_staged_bank_survives_nothing() -> None:
    pump = prepared()
    wanted = program(pump, 200_000)
    pump.stage(wanted, digest(wanted))
    restart(pump)
    with pytest.raises(Refused) as refused:
        pump.commit(op(2, what=wanted), EVERY_WARNING)
    assert refused.value.reason == "no_proposal"

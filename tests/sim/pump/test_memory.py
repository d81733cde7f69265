"""Non-volatile memory: power cut at every byte, every bit flipped, and what the pump does then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, LogCode, OperationKind, PumpMode, StopReason, Therapy, Verdict
from telemetry.sim.pump import records
from telemetry.sim.pump.ledger import LEDGER_CAPACITY
from telemetry.sim.pump.medium import Medium, PowerCut
from telemetry.units import Concentration, FlowRate, Volume
from tests.sim.pump.rig import DAY_MS, EVERY_WARNING, ML, PROFILE, commit, device, digest, op, program, restart

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

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
    def act(pump: PumpDevice) -> None:
        if what == "stop":
            pump.stop(op(2, OperationKind.STOP), StopReason.CLINICAL)
        elif what == "refill":
            pump.refill(None, Concentration(500_000), Therapy.simple_continuous(FlowRate(160_000)))
        else:
            pump.power_cut()
            pump.boot()

    whole = prepared()
    before = whole.medium.bytes_written
    act(whole)
    total = whole.medium.bytes_written - before
    outcomes = set()
    for cut in range(total):
        pump = prepared()
        old = pump.program_report().program
        pump.medium.arm_cut(cut)
        try:
            act(pump)
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


@pytest.mark.inv(34)
@pytest.mark.parametrize(
    "prefix",
    ["bank", "binding", "boot", "checkpoint", "commit_000", "commit_001", "commit_002", "limits", "log", "safe_basal"],
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
    assert kinds == {"bank", "binding", "boot", "checkpoint", "commit", "limits", "log", "safe"}


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


def test_repairs_are_logged_without_an_alarm() -> None:
    pump = device()
    pump.flip_bit("limits_b", 3)
    pump.advance_to(MINUTE_MS)
    last = pump.log(0, 100).records[-1]
    assert (last.code, last.detail, last.value) == (LogCode.MEMORY_ERROR, 0, 1)
    assert pump.status().alarms == ()
    assert pump.medium.read("limits_a") == pump.medium.read("limits_b")


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
        assert records.parse_checkpoint(pump.medium.read(page)) is not None
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

"""Check, stage, commit, resume, stop and the ledger: each operation once, or honestly unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, LogCode, OperationKind, PumpMode, RefusalReason, StopReason, Verdict, Warn
from telemetry.sim.pump import records
from telemetry.sim.pump.ledger import (
    BENCH_SLOT,
    LEDGER_CAPACITY,
    RECORD_PAGES,
    Operation,
    Standing,
    operation_counter,
)
from telemetry.therapy import Therapy
from telemetry.units import Concentration, DailyDose, FlowRate, HourlyDose, Volume
from tests.sim.pump.rig import DAY_MS, EVERY_WARNING, HOUR_MS, ML, PROFILE, commit, device, digest, op, program, restart

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.therapy import Program


def refusal(pump: PumpDevice, wanted: Program) -> Refused:
    with pytest.raises(Refused) as refused:
        pump.check(wanted)
    return refused.value


# --- what the pump enforces ------------------------------------------------------------------------------------------


def test_derived_numbers_and_warnings() -> None:
    pump = device()
    derived = pump.check(program(pump, 150_000))
    assert (derived.dose_24h_ng, derived.volume_24h_nl) == (300_000, 150_000)
    assert (derived.peak_nl_per_day, derived.lowest_nl_per_day) == (150_000, 150_000)
    # 340 to 300 µg/day is 11.7647 %, rounded up to the ppm; 40 ml last 266 2/3 days.
    assert (derived.change_ppm, derived.empty_in_s) == (117_648, 40 * ML * 86_400 // 150_000)
    assert derived.warnings == ()


@pytest.mark.parametrize(
    ("rate", "warnings"),
    [
        (136_000, ()),  # 20 % down exactly is still inside the soft limit (domain.md 3.1)
        (135_999, (Warn.DAILY_DOSE_CHANGE,)),
        (204_000, ()),
        (204_001, (Warn.DAILY_DOSE_CHANGE,)),
        (340_000, (Warn.DAILY_DOSE_CHANGE,)),
    ],
)
def test_soft_change_limit(rate: int, warnings: tuple[Warn, ...]) -> None:
    pump = device()
    assert pump.check(program(pump, rate)).warnings == warnings


def test_hard_change_limit_names_what_one_step_allows() -> None:
    pump = device()
    refused = refusal(pump, program(pump, 340_001))
    assert refused.reason == RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT
    assert (refused.value, refused.limit) == (680_002, 680_000)
    assert "680 µg/day" in str(refused)


def test_low_and_high_daily_dose_warn() -> None:
    weak = device(replace(PROFILE, start_rate_nl_per_day=48_000), concentration_ng_per_ml=500_000)
    weak.refill(None, Concentration(400_000), Therapy.simple_continuous(FlowRate(50_000)))
    assert Warn.DAILY_DOSE_LOW in weak.check(program(weak, 48_000)).warnings
    strong = device(replace(PROFILE, start_rate_nl_per_day=400_000))
    assert strong.check(program(strong, 500_001)).warnings == (Warn.DAILY_DOSE_CHANGE, Warn.DAILY_DOSE_HIGH)


def test_rate_below_the_minimum_names_rule_and_what_would_be_right() -> None:
    """Issue, What bad input gets: at 500 µg/ml, 22 µg/day is below the pump's 24."""
    pump = device(concentration_ng_per_ml=500_000)
    refused = refusal(pump, program(pump, 44_000, dose_ng_per_day=22_000))
    assert refused.reason == RefusalReason.RATE_BELOW_MINIMUM
    assert (refused.field, refused.value, refused.limit) == ("rate_nl_per_day", 44_000, 48_000)
    message = str(refused)
    assert "22 µg/day at 500 µg/ml" in message
    assert "minimum of 0.048 ml/day" in message
    assert "24 µg/day at this concentration" in message


def test_rate_above_the_maximum() -> None:
    pump = device()
    assert refusal(pump, program(pump, 24_000_001)).reason == RefusalReason.RATE_ABOVE_MAXIMUM


@pytest.mark.parametrize(
    ("rate", "reason"),
    [(1_000_001, RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT), (49_999, RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT)],
)
def test_hard_daily_dose(rate: int, reason: RefusalReason) -> None:
    profile = replace(PROFILE, daily_dose_hard_min_ng=100_000, daily_dose_soft_min_ng=100_000)
    pump = device(profile)
    assert refusal(pump, program(pump, rate)).reason == reason


PROGRAMMED = {PumpMode.SIMPLE_CONTINUOUS, PumpMode.MINIMUM_RATE, PumpMode.PERIODIC_BOLUS}
OF_STEPS = {PumpMode.FLEX, PumpMode.WEEKDAY, PumpMode.TITRATION}


@pytest.mark.parametrize("mode", [mode for mode in PumpMode if mode not in PROGRAMMED | OF_STEPS])
def test_a_state_is_no_program(mode: PumpMode) -> None:
    pump = device()
    wanted = replace(program(pump), mode=mode)
    assert refusal(pump, wanted).reason == RefusalReason.MODE_UNSUPPORTED


@pytest.mark.parametrize("mode", [*sorted(OF_STEPS), PumpMode.PERIODIC_BOLUS])
def test_a_mode_without_its_parts_is_malformed(mode: PumpMode) -> None:
    pump = device()
    assert refusal(pump, replace(program(pump), mode=mode)).reason == RefusalReason.SCHEDULE_MALFORMED


def test_minimum_rate_is_one_rate_and_does_not_lock_the_next_change() -> None:
    pump = device()
    keep_alive = replace(program(pump, 6_000), mode=PumpMode.MINIMUM_RATE)
    assert refusal(pump, replace(keep_alive, rate_nl_per_day=6_001)).reason == RefusalReason.RATE_ABOVE_MAXIMUM
    commit(pump, 1, keep_alive)
    # Measured against the last therapy (340 µg/day), not against 12 µg/day, which would refuse every therapy.
    assert pump.check(program(pump, 170_000)).change_ppm == 0


@pytest.mark.inv(41)
@given(
    rate=st.integers(48_000, 1_000_000),
    concentration=st.sampled_from([50_000, 500_000, 1_000_000, 2_000_000, 2_000_001]),
    off=st.integers(-5_000, 5_000),
)
def test_inv_41_dose_and_volume_must_agree(rate: int, concentration: int, off: int) -> None:
    wide = replace(
        PROFILE,
        daily_dose_hard_min_ng=0,
        daily_dose_hard_max_ng=10**12,
        change_hard_ppm=4_000_000_000,
        start_rate_nl_per_day=48_000,
    )
    pump = device(wide, concentration_ng_per_ml=concentration)
    exact = rate * concentration
    dose = exact // ML + off
    wanted = program(pump, rate, dose_ng_per_day=max(0, dose))
    agrees = abs(wanted.dose_ng_per_day * ML - exact) <= max(concentration, ML)
    if agrees:
        assert pump.check(wanted).dose_24h_ng == wanted.dose_ng_per_day
    else:
        refused = refusal(pump, wanted)
        assert (refused.reason, refused.limit) == (RefusalReason.DOSE_VOLUME_MISMATCH, exact // ML)


@pytest.mark.inv(43)
@given(generation=st.integers(0, 2**32 - 1), concentration=st.integers(1, 2**32 - 1))
def test_inv_43_binding_to_another_reservoir_is_refused(generation: int, concentration: int) -> None:
    pump = device()
    other = program(pump, reservoir_generation=generation)
    if generation != 1:
        assert refusal(pump, other).reason == RefusalReason.RESERVOIR_GENERATION_MISMATCH
    other = program(pump, concentration_ng_per_ml=concentration)
    if concentration != 2_000_000:
        assert refusal(pump, other).reason == RefusalReason.CONCENTRATION_MISMATCH
    assert pump.program_report().program_sequence == 1


@pytest.mark.inv(43)
def test_inv_43_binding_to_another_drug_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = device()
    wanted = program(pump)
    monkeypatch.setattr(pump.core, "drug", "another")  # there is one drug so far
    assert refusal(pump, wanted).reason == RefusalReason.DRUG_MISMATCH


@pytest.mark.inv(42)
@given(
    rate=st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**64]), dose=st.sampled_from([0, 1, 2**63, 2**64 - 1, 2**64, 2**80])
)
def test_inv_42_extreme_numbers_refuse_and_never_wrap(rate: int, dose: int) -> None:
    pump = device()
    wanted = program(pump, rate, dose_ng_per_day=dose)
    with pytest.raises(Refused):
        pump.check(wanted)
    if rate < 2**32 and dose < 2**64:
        assert pump.stage(wanted, digest(wanted)) == wanted
    else:
        with pytest.raises(UsageError, match="is outside 0 to"):
            pump.stage(wanted, digest(wanted))
    assert pump.program_report().program_sequence == 1


# --- stage and commit ------------------------------------------------------------------------------------------------


def test_commit_switches_once_and_says_so_again() -> None:
    pump = device()
    wanted = program(pump, 200_000)
    pump.advance_to(5_500)
    record = commit(pump, 7, wanted)
    assert (record.verdict, record.program_sequence, record.effective_ms) == (Verdict.APPLIED, 2, 5_500)
    assert record.program_digest == digest(wanted)[:8] == pump.status().program_digest
    assert pump.program_report().program == wanted
    log_end = pump.log_head()
    again = pump.commit(op(7, what=wanted), ())
    assert again == record
    assert pump.log_head() == log_end
    assert (pump.last_operation_counter(1), pump.ledger_sequence) == (7, record.record_sequence)


@pytest.mark.inv(32)
def test_inv_32_the_engine_runs_what_reads_back_from_the_bank() -> None:
    pump = device()
    wanted = program(pump, 190_000)
    operation = op(1, what=wanted)
    read_back = pump.stage(wanted, operation.digest)
    stands = records.parse_bank(pump.medium.read("bank_b"))
    assert stands == (read_back, operation.digest)
    pump.commit(operation, EVERY_WARNING)
    assert pump.core.program == read_back
    assert pump.core.program is not wanted


def test_a_bank_that_does_not_read_back_is_not_committed() -> None:
    pump = device()
    wanted = program(pump, 190_000)
    operation = op(1, what=wanted)
    pump.stage(wanted, operation.digest)
    pump.medium.flip_bit("bank_b", 40)
    with pytest.raises(Refused) as refused:
        pump.commit(operation, EVERY_WARNING)
    assert refused.value.reason == RefusalReason.MEMORY_UNRELIABLE
    assert pump.program_report().program_sequence == 1


def test_commit_without_or_with_another_stage_is_refused() -> None:
    pump = device()
    wanted = program(pump, 190_000)
    operation = op(1, what=wanted)
    for reason in (RefusalReason.NO_PROPOSAL, RefusalReason.IMAGE_DIGEST_MISMATCH):
        with pytest.raises(Refused) as refused:
            pump.commit(operation, EVERY_WARNING)
        assert refused.value.reason == reason
        pump.stage(wanted, digest("another"))
    pump.drop_staged()
    with pytest.raises(Refused) as refused:
        pump.commit(operation, EVERY_WARNING)
    assert refused.value.reason == RefusalReason.NO_PROPOSAL


def test_warnings_must_be_accepted_by_name_and_again_at_commit() -> None:
    pump = device()
    wanted = program(pump, 300_000)
    operation = op(1, what=wanted)
    pump.stage(wanted, operation.digest)
    pump.stop(op(1, OperationKind.STOP, slot=2), StopReason.CLINICAL)
    pump.stage(wanted, operation.digest)
    with pytest.raises(Refused) as refused:
        pump.commit(operation, (Warn.DAILY_DOSE_CHANGE,))
    assert refused.value.reason == RefusalReason.WARNINGS_NOT_ACCEPTED
    assert refused.value.warnings == ("starts_delivery",)
    record = pump.commit(operation, (Warn.DAILY_DOSE_CHANGE, Warn.STARTS_DELIVERY))
    assert record.verdict is Verdict.APPLIED
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS


def test_change_is_measured_against_the_last_committed_dose_even_while_stopped() -> None:
    pump = device()
    pump.stop_at_bench()
    assert refusal(pump, program(pump, 340_001)).reason == RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT
    assert Warn.DAILY_DOSE_CHANGE not in pump.check(program(pump, 170_000)).warnings


@pytest.mark.inv(31)
@pytest.mark.parametrize("how", ["query", "stage", "drop", "reboot", "refusal", "nothing"])
def test_inv_31_an_abandoned_transaction_leaves_the_old_therapy_without_a_gap(how: str) -> None:
    pump, undisturbed = device(), device()
    pump.advance_to(DAY_MS)
    wanted = program(pump, 300_000)
    operation = op(3, what=wanted)
    pump.stage(wanted, operation.digest)
    if how == "query":
        assert pump.query(1, operation.op_id).verdict is Verdict.NEVER
    elif how == "stage":
        pump.stage(program(pump, 100_000), digest("other"))
    elif how == "drop":
        pump.drop_staged()
    elif how == "reboot":
        restart(pump)
    elif how == "refusal":
        pump.record_refusal(operation, RefusalReason.PROPOSAL_EXPIRED)
    for one in (pump, undisturbed):
        one.advance_to(2 * DAY_MS)
    assert pump.truth().delivered_nl == undisturbed.truth().delivered_nl
    assert pump.status().program_sequence == 1


@pytest.mark.inv(28)
@given(
    rates=st.lists(st.integers(48_000, 1_000_000), min_size=1, max_size=8),
    reboots=st.sets(st.integers(0, 7)),
    refused=st.sets(st.integers(0, 7)),
)
def test_inv_28_the_active_program_is_always_one_that_was_committed(
    rates: list[int], reboots: set[int], refused: set[int]
) -> None:
    pump = device()
    committed = pump.program_report().program
    for number, rate in enumerate(rates):
        wanted = program(pump, rate)
        operation = op(number + 1, what=wanted)
        pump.stage(wanted, operation.digest)
        assert pump.program_report().program == committed
        if number in refused:
            pump.record_refusal(operation, RefusalReason.TOKEN_WRONG)
        else:
            try:
                pump.commit(operation, EVERY_WARNING)
                committed = wanted
            except Refused as error:
                assert error.reason == RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT  # noqa: PT017 - sometimes applied
        if number in reboots:
            restart(pump)
        assert pump.program_report().program == committed


# --- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.inv(24)
@given(other=st.binary(min_size=8, max_size=8), kind=st.sampled_from(OperationKind))
def test_inv_24_same_operation_with_another_content_is_a_conflict(other: bytes, kind: OperationKind) -> None:
    pump = device()
    wanted = program(pump)
    commit(pump, 5, wanted)
    original = op(5, what=wanted)
    assert pump.classify(original).standing is Standing.KNOWN
    before = pump.program_report()
    changed = [
        Operation(1, 5, original.op_id, OperationKind.PROGRAM, digest("another")),
        Operation(1, 5, original.op_id[:8] + other, kind, digest("another")),
    ]
    if kind is not OperationKind.PROGRAM:
        changed.append(Operation(1, 5, original.op_id, kind, original.digest))
    for operation in changed:
        assert pump.classify(operation).standing is Standing.CONFLICT
        with pytest.raises(Refused) as committed:
            pump.commit(operation, EVERY_WARNING)
        with pytest.raises(Refused) as stopped:
            pump.stop(operation, StopReason.CLINICAL)
        with pytest.raises(Refused) as booked:
            pump.record_refusal(operation, RefusalReason.TOKEN_WRONG)
        reasons = {refused.value.reason for refused in (committed, stopped, booked)}
        assert reasons == {RefusalReason.OPERATION_CONFLICT}
    assert pump.program_report() == before


@pytest.mark.inv(25)
@given(
    decided=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 400)), min_size=1, max_size=150),
    reboot=st.booleans(),
)
def test_inv_25_forgotten_is_never_reported_as_never(decided: list[tuple[int, int]], reboot: bool) -> None:
    pump = device()
    done: dict[tuple[int, int], bytes] = {}
    for slot, counter in decided:
        if counter > pump.last_operation_counter(slot):
            operation = op(counter, OperationKind.STOP, slot=slot)
            pump.stop(operation, StopReason.CLINICAL)
            done[slot, counter] = operation.op_id
            if counter % 3:
                pump.acknowledge_through(slot, counter)
    if reboot:
        restart(pump)
    for (slot, counter), op_id in done.items():
        verdict = pump.query(slot, op_id).verdict
        assert verdict in {Verdict.APPLIED, Verdict.FORGOTTEN}, (slot, counter)
    for slot in (1, 2, 3):
        last = pump.last_operation_counter(slot)
        assert last == max((c for s, c in done if s == slot), default=0)
        assert pump.query(slot, op(last + 1).op_id).verdict is Verdict.NEVER


def test_forgotten_operations_are_refused_and_never_run() -> None:
    pump = device()
    for counter in range(1, RECORD_PAGES + 20):
        pump.stop(op(counter, OperationKind.STOP), StopReason.CLINICAL)
        pump.acknowledge_through(1, counter)
    old = op(1, OperationKind.STOP)
    assert pump.classify(old).standing is Standing.FORGOTTEN
    with pytest.raises(Refused) as refused:
        pump.stop(old, StopReason.CLINICAL)
    assert refused.value.reason == RefusalReason.OPERATION_FORGOTTEN
    answer = pump.query(1, old.op_id)
    assert (answer.verdict, answer.kind, answer.last_operation_counter) == (
        Verdict.FORGOTTEN,
        None,
        RECORD_PAGES + 19,
    )


def test_a_full_ledger_takes_stops_only_until_acknowledged() -> None:
    pump = device()
    for counter in range(1, LEDGER_CAPACITY + 1):
        pump.record_refusal(op(counter), RefusalReason.TOKEN_WRONG)
    assert pump.unacknowledged == pump.ledger_capacity == LEDGER_CAPACITY
    wanted = program(pump)
    full = op(LEDGER_CAPACITY + 1, what=wanted)
    pump.stage(wanted, full.digest)
    with pytest.raises(Refused) as committed:
        pump.commit(full, EVERY_WARNING)
    with pytest.raises(Refused) as booked:
        pump.record_refusal(full, RefusalReason.LEDGER_FULL)
    assert {committed.value.reason, booked.value.reason} == {RefusalReason.LEDGER_FULL}
    assert pump.query(1, full.op_id).verdict is Verdict.NEVER
    stopped = pump.stop(op(LEDGER_CAPACITY + 2, OperationKind.STOP), StopReason.OVERDOSE)
    assert stopped.verdict is Verdict.APPLIED
    assert pump.query(1, op(1).op_id).verdict is Verdict.REFUSED
    pump.acknowledge_through(1, LEDGER_CAPACITY + 2)
    assert pump.unacknowledged == 0
    assert commit(pump, LEDGER_CAPACITY + 3, wanted).verdict is Verdict.APPLIED


def test_acknowledgements_outlive_a_reboot_with_the_next_record() -> None:
    pump = device()
    for counter in (1, 2):
        pump.stop(op(counter, OperationKind.STOP), StopReason.CLINICAL)
        pump.acknowledge_through(1, counter)
    restart(pump)
    assert pump.unacknowledged == 1  # the second was acknowledged in RAM only; its owner says so again


def test_a_refused_operation_stays_refused() -> None:
    pump = device()
    wanted = program(pump)
    operation = op(1, what=wanted)
    first = pump.record_refusal(operation, RefusalReason.TOKEN_WRONG)
    assert (first.verdict, first.reason) == (Verdict.REFUSED, RefusalReason.TOKEN_WRONG)
    pump.stage(wanted, operation.digest)
    assert pump.commit(operation, EVERY_WARNING) == first
    assert pump.record_refusal(operation, RefusalReason.LEDGER_FULL) == first
    assert pump.program_report().program_sequence == 1
    refused = [line for line in pump.log(0, 100).records if line.code is LogCode.COMMIT_REFUSED]
    assert [(line.slot, line.value) for line in refused] == [(1, 1)]


def test_query_of_another_random_part_is_never() -> None:
    pump = device()
    commit(pump, 4, program(pump))
    assert pump.query(1, op(4, salt=b"another-").op_id).verdict is Verdict.NEVER


@pytest.mark.inv(23)
def test_inv_23_after_a_query_nothing_staged_can_commit() -> None:
    pump = device()
    wanted = program(pump)
    operation = op(1, what=wanted)
    pump.stage(wanted, operation.digest)
    assert pump.query(1, operation.op_id).verdict is Verdict.NEVER
    with pytest.raises(Refused) as refused:
        pump.commit(operation, EVERY_WARNING)
    assert refused.value.reason == RefusalReason.NO_PROPOSAL


def test_operations_are_checked_when_made() -> None:
    good = op(1)
    with pytest.raises(UsageError, match="slot: 17 is none of 0 to 16"):
        replace(good, slot=17)
    with pytest.raises(UsageError, match="op_id: 5 bytes"):
        replace(good, op_id=b"short")
    with pytest.raises(UsageError, match="digest: 5 bytes"):
        replace(good, digest=b"short")
    with pytest.raises(UsageError, match="counter: 2 is not the one in op_id"):
        replace(good, counter=2)
    assert operation_counter(good.op_id) == 1
    pump = device()
    with pytest.raises(UsageError, match="slot"):
        pump.last_operation_counter(99)
    with pytest.raises(UsageError, match="slot"):
        pump.acknowledge_through(99, 1)
    with pytest.raises(UsageError, match="digest"):
        pump.stage(program(pump), b"short")


def test_a_call_for_another_kind_is_wrong() -> None:
    pump = device()
    with pytest.raises(UsageError, match="not committed"):
        pump.commit(op(1, OperationKind.STOP), ())
    with pytest.raises(UsageError, match="does not resume"):
        pump.resume(op(1), 1, b"", ())
    with pytest.raises(UsageError, match="does not stop"):
        pump.stop(op(1), StopReason.CLINICAL)


def test_the_commit_counter_ends_in_a_refusal_and_never_wraps() -> None:
    pump = device()
    ledger = pump.core.ledger
    ledger.records[0] = replace(ledger.records[0], sequence=2**32 - 1)
    with pytest.raises(Refused) as refused:
        pump.stop(op(1, OperationKind.STOP), StopReason.CLINICAL)
    assert refused.value.reason == RefusalReason.LEDGER_FULL


# --- stop and resume -------------------------------------------------------------------------------------------------


@pytest.mark.inv(50)
def test_inv_50_stop_acts_at_once_and_its_alarm_cannot_be_silenced_for_good() -> None:
    pump = device()
    pump.advance_to(1_234)
    pump.stop(op(1, OperationKind.STOP), StopReason.OVERDOSE)
    delivered = pump.core.reservoir.calculated
    events = pump.advance_to(1_234)
    assert [(event.kind, event.detail) for event in events] == [
        ("stopped", "overdose"),
        ("delivery_stopped", "stopped"),
        ("alarm_raised", "therapy_stopped"),
    ]
    pump.silence_alarms(PROFILE.max_silence_ms)
    pump.acknowledge_alarm(AlarmKind.THERAPY_STOPPED)
    rearmed = [event for event in pump.advance_to(10 * DAY_MS) if event.kind == "alarm_rearmed"]
    assert rearmed
    assert rearmed[0].at_ms <= DAY_MS + 1_234
    assert pump.core.reservoir.calculated == delivered


@pytest.mark.inv(50)
def test_inv_50_safe_state_raises_a_critical_alarm_that_comes_back() -> None:
    pump = device()
    for page in ("bank_a", "safe_basal_a", "safe_basal_b"):
        pump.medium.flip_bit(page, 33)
    restart(pump)
    safe = next(alarm for alarm in pump.alarms() if alarm.kind is AlarmKind.SAFE_STATE)
    assert (safe.alarm_class, safe.condition_present) == ("critical", True)
    pump.acknowledge_alarm(AlarmKind.SAFE_STATE)
    kinds = [(event.kind, event.detail) for event in pump.advance_to(2 * DAY_MS)]
    assert ("alarm_rearmed", "safe_state") in kinds


def test_stop_is_idempotent_and_resume_brings_the_program_back() -> None:
    pump = device()
    before = pump.program_report()
    assert pump.stop(op(1, OperationKind.STOP), StopReason.CLINICAL).verdict is Verdict.APPLIED
    second = pump.stop(op(2, OperationKind.STOP), StopReason.CLINICAL)
    assert second.verdict is Verdict.APPLIED
    assert pump.stop(op(2, OperationKind.STOP), StopReason.CLINICAL) == second
    assert (pump.program_report().stopped, pump.status().rate_nl_per_day) == (True, 0)
    derived = pump.check_resume(before.program_sequence, before.program_digest)
    assert derived.warnings == (Warn.STARTS_DELIVERY,)
    resume = op(3, OperationKind.RESUME)
    with pytest.raises(Refused) as refused:
        pump.resume(resume, before.program_sequence, before.program_digest)
    assert refused.value.warnings == ("starts_delivery",)
    record = pump.resume(resume, before.program_sequence, before.program_digest, (Warn.STARTS_DELIVERY,))
    assert record == pump.resume(resume, before.program_sequence, before.program_digest)
    assert pump.program_report() == before
    assert pump.alarms() == ()


def test_resume_is_refused_when_it_must_not_be() -> None:
    pump = device()
    seen = pump.program_report()

    def reason(sequence: int, short_digest: bytes) -> str:
        with pytest.raises(Refused) as refused:
            pump.check_resume(sequence, short_digest)
        return refused.value.reason

    assert reason(seen.program_sequence, seen.program_digest) == RefusalReason.NOT_STOPPED
    assert reason(seen.program_sequence + 1, seen.program_digest) == RefusalReason.BASE_CHANGED
    assert reason(seen.program_sequence, bytes(8)) == RefusalReason.BASE_CHANGED


def test_an_empty_pump_is_not_programmed_or_resumed() -> None:
    pump = device(fill_nl=0)
    assert refusal(pump, program(pump)).reason == RefusalReason.RESERVOIR_EMPTY
    pump.stop_at_bench()
    with pytest.raises(Refused) as refused:
        pump.resume_at_bench()
    assert refused.value.reason == RefusalReason.RESERVOIR_EMPTY


def test_a_pump_stopped_for_48_h_warns_when_it_starts_again() -> None:
    pump = device()
    pump.stop_at_bench()
    events = pump.advance_to(48 * HOUR_MS)
    assert [(e.at_ms, e.detail) for e in events if e.kind == "alarm_raised"][-1] == (48 * HOUR_MS, "stopped_pump")
    assert pump.stopped_over_48_h
    assert pump.check(program(pump)).warnings == (Warn.STARTS_DELIVERY, Warn.STOPPED_OVER_48_H)
    pump.resume_at_bench()
    assert pump.alarms() == ()
    assert not pump.stopped_over_48_h


# --- bench -----------------------------------------------------------------------------------------------------------


def test_a_refill_is_one_new_program_under_the_bench_slot() -> None:
    pump = device(rate_error_ppm=30_000)
    pump.advance_to(100 * DAY_MS)
    believed, left = pump.status().reservoir_nl, pump.truth().reservoir_nl
    report = pump.refill(Volume.parse("30 ml"))
    assert report.calculated_before_nl == believed
    assert report.withdrawn_nl in {left, left - 1}
    status = pump.status()
    assert (status.reservoir_nl, status.reservoir_generation, status.program_sequence) == (30 * ML, 2, 2)
    assert report.record.slot == BENCH_SLOT
    assert pump.last_operation_counter(BENCH_SLOT) == 1
    assert LogCode.REFILLED in {line.code for line in pump.log(0, 100).records}
    restart(pump)
    assert (pump.status().reservoir_nl, pump.status().reservoir_generation) == (30 * ML, 2)


def test_a_refill_that_cannot_be_moves_nothing() -> None:
    pump = device()
    pump.advance_to(DAY_MS)
    before = pump.snapshot()
    with pytest.raises(UsageError, match="never overfilled"):
        pump.refill(Volume(40 * ML + 1))
    with pytest.raises(UsageError, match="outside"):
        pump.refill(Volume(0))
    with pytest.raises(UsageError, match="needs its therapy"):
        pump.refill(None, Concentration(500_000))
    with pytest.raises(Refused):
        pump.refill(None, Concentration(500_000), Therapy.simple_continuous(FlowRate(47_999)))
    assert pump.snapshot() == before


def test_a_stopped_pump_stays_stopped_over_a_refill_without_therapy() -> None:
    pump = device()
    pump.stop_at_bench()
    pump.refill()
    assert pump.status().mode is PumpMode.STOPPED
    pump.refill(None, None, Therapy.simple_continuous(FlowRate(170_000)))
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS


def test_a_refill_ends_the_reservoir_alarms() -> None:
    pump = device(fill_nl=ML)
    pump.advance_to(10 * DAY_MS)
    assert pump.status().alarms[:2] == (AlarmKind.LOW_RESERVOIR, AlarmKind.EMPTY_RESERVOIR)
    pump.refill()
    assert pump.status().alarms == ()
    assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS


@pytest.mark.parametrize(
    ("rate", "rate_nl_per_day", "dose_ng"),
    [
        (DailyDose.parse("300 ug/day"), 150_000, 300_000),
        (HourlyDose.parse("12.5 ug/h"), 150_000, 300_000),
        (DailyDose(300_001), 150_000, 300_001),
        (FlowRate.parse("0.150 ml/day"), 150_000, 300_000),
    ],
)
def test_a_therapy_becomes_a_program_rounded_towards_less(
    rate: FlowRate | DailyDose | HourlyDose, rate_nl_per_day: int, dose_ng: int
) -> None:
    pump = device()
    pump.program(Therapy.simple_continuous(rate))
    status = pump.status()
    assert (status.rate_nl_per_day, status.dose_ng_per_day) == (rate_nl_per_day, dose_ng)


def test_the_bench_measures_no_change_but_keeps_the_hard_limits() -> None:
    pump = device()
    pump.program(Therapy.simple_continuous(FlowRate(1_000_000)))
    with pytest.raises(Refused):
        pump.program(Therapy.simple_continuous(FlowRate(1_000_001)))

"""The pump's firmware: who may do what, when a transaction may commit, and what happens exactly once."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from telemetry.model import (
    AlarmKind,
    OperationKind,
    PumpMode,
    RefusalReason,
    Role,
    StopReason,
    Verdict,
    Warn,
)
from telemetry.protocol import messages as wire
from telemetry.protocol.roles import allows
from telemetry.protocol.wire import BY_NAME, MESSAGES, Plane, Status
from telemetry.units import MS_PER_DAY, Volume
from tests.support.talk import Rig, Talker

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message

REQUESTS = tuple(spec for spec in MESSAGES if spec.plane is Plane.REQUEST)


READINGS = tuple(getattr(wire, spec.name)() for spec in REQUESTS if spec.operation in {"read_status", "read_program"})


def refused(answer: Message | None) -> tuple[Status, RefusalReason | None]:
    assert isinstance(answer, wire.Refusal), answer
    return answer.status, answer.reason


def any_request(talker: Talker, name: str) -> Message:
    """A well-formed request of each name."""
    built: dict[str, Message] = {
        "ReadLog": wire.ReadLog(from_sequence=0, max_records=8),
        "SetRate": talker.rate(),
        "Begin": talker.begin(talker.image()),
        "Write": wire.Write(offset=0, data=b"x"),
        "Verify": wire.Verify(part=0),
        "Commit": wire.Commit(op_id=bytes(16), token=bytes(16), image_digest=bytes(32), accepted_warnings=()),
        "Query": wire.Query(op_id=talker.new_op_id()),
        "Abort": wire.Abort(op_id=bytes(16)),
        "Stop": wire.Stop(op_id=talker.new_op_id(), acked_through=0, reason=StopReason.BENCH),
        "SilenceAlarms": wire.SilenceAlarms(duration_s=60),
        "AcknowledgeAlarm": wire.AcknowledgeAlarm(kind=AlarmKind.LOW_RESERVOIR),
        "PatientBolus": wire.PatientBolus(op_id=talker.new_op_id(), acked_through=0),
    }
    kind = getattr(wire, name)
    return built.get(name) or kind()


STATES = ("running", "stopped", "empty", "end_of_service", "transaction_open")


def in_state(state: str) -> Rig:
    rig = Rig(fill=Volume.parse("3 ml")) if state == "empty" else Rig()
    if state == "stopped":
        rig.pump.stop()
    elif state == "empty":
        rig.pump.advance(days=30)
    elif state == "end_of_service":
        rig.pump.advance_until("alarm_raised", "end_of_service")
    return rig


@pytest.mark.inv(13)
@pytest.mark.inv(15)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("role", list(Role))
def test_inv_13_what_is_allowed_is_exactly_the_role_table(role: Role, state: str) -> None:
    for spec in REQUESTS:
        rig = in_state(state)
        talker = rig.open(role)
        if state == "transaction_open" and role is Role.CLINICIAN:
            talker.stage()
        before = (rig.device.program_report(), rig.device.ledger_sequence, rig.device.status().mode)
        answer = talker.ask(any_request(talker, spec.name))
        if spec.name == "PatientBolus":  # the drug speaks before the role does
            assert refused(answer) == (Status.UNSUPPORTED, RefusalReason.PATIENT_BOLUS_FORBIDDEN), role
            after = (rig.device.program_report(), rig.device.ledger_sequence, rig.device.status().mode)
            assert after == before, role
        elif allows(role, spec.operation):
            if isinstance(answer, wire.Refusal):
                assert answer.reason is not RefusalReason.ROLE_FORBIDS, (role, spec.name)
            else:
                assert type(answer).__name__ in spec.replies, (role, spec.name, answer)
        else:
            assert refused(answer) == (Status.ROLE, RefusalReason.ROLE_FORBIDS), (role, spec.name)
            assert answer is not None
            assert answer.refused_opcode == spec.opcode  # type: ignore[attr-defined]
            after = (rig.device.program_report(), rig.device.ledger_sequence, rig.device.status().mode)
            assert after == before, (role, spec.name)


@pytest.mark.inv(17)
def test_only_clinician_and_emergency_can_stop_and_nobody_but_a_clinician_can_dose() -> None:
    dosing = {spec.operation for spec in REQUESTS if spec.name in {"SetRate", "Begin", "Write", "Verify", "Commit"}}
    for role, operation in product(Role, dosing):
        assert allows(role, operation) == (role is Role.CLINICIAN)
    assert {role for role in Role if allows(role, "stop")} == {Role.CLINICIAN, Role.EMERGENCY}


def test_a_rate_is_staged_read_back_and_committed_once() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage(150_000)
    assert staged.image == talker.image(150_000)
    assert staged.image_digest == hashlib.sha256(staged.image).digest()
    assert (staged.dose_24h_ng, staged.volume_24h_nl) == (300_000, 150_000)
    assert rig.device.status().rate_nl_per_day == 170_000, "staging must not change therapy"
    verdict = talker.ask(talker.commit(op_id, staged))
    assert isinstance(verdict, wire.VerdictReport)
    assert (verdict.verdict, verdict.op_id) == (Verdict.APPLIED, op_id)
    assert rig.device.status().rate_nl_per_day == 150_000
    assert rig.firmware.verdict_pending


@pytest.mark.inv(19)
@pytest.mark.inv(6)
def test_inv_19_a_commit_that_comes_again_executes_nothing() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage()
    commit = talker.commit(op_id, staged)
    first = talker.ask(commit)
    sequence = rig.device.ledger_sequence
    second = talker.ask(commit)  # a new request with the same content, not a link-level repeat
    assert isinstance(first, wire.VerdictReport)
    assert second == first
    assert rig.device.ledger_sequence == sequence
    again = rig.open().ask(commit)
    assert again == first
    assert rig.device.ledger_sequence == sequence


@pytest.mark.inv(33)
def test_inv_33_a_token_commits_its_own_proposal_once() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage(150_000)
    wrong = bytes([staged.token[0] ^ 1]) + staged.token[1:]
    assert refused(talker.ask(talker.commit(op_id, staged, token=wrong))) == (Status.TOKEN, RefusalReason.TOKEN_WRONG)
    # One attempt used it up, right or wrong.
    assert refused(talker.ask(talker.commit(op_id, staged)))[0] is Status.TOKEN
    op_id, staged = talker.stage(160_000)
    assert refused(talker.ask(talker.commit(op_id, staged, image_digest=bytes(32))))[1] is RefusalReason.TOKEN_WRONG
    older_op, older = talker.stage(150_000)
    newer_op, newer = talker.stage(160_000)
    assert refused(talker.ask(talker.commit(older_op, older)))[0] is Status.STATE, "an older proposal was committed"
    op_id, staged = talker.stage(160_000)
    assert refused(talker.ask(talker.commit(op_id, staged, token=newer.token)))[1] is RefusalReason.TOKEN_WRONG
    assert newer_op != op_id
    assert rig.device.status().rate_nl_per_day == 170_000


@pytest.mark.inv(33)
def test_inv_33_a_token_of_another_session_is_worth_nothing() -> None:
    rig = Rig()
    first = rig.open()
    op_id, staged = first.stage()
    second = rig.open()
    assert refused(second.ask(second.commit(op_id, staged)))[0] is Status.EXPIRED
    message = second.rate(150_000, op_id=op_id)
    restaged = second.ask(message)
    assert isinstance(restaged, wire.Staged)
    assert restaged.token != staged.token
    assert refused(second.ask(second.commit(op_id, staged)))[1] is RefusalReason.TOKEN_WRONG


@pytest.mark.inv(48)
@pytest.mark.parametrize(("after_ms", "open_still"), [(59_999, True), (60_000, False), (61_000, False)])
def test_inv_48_a_proposal_lives_sixty_seconds_of_link_time(after_ms: int, open_still: bool) -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage()
    staged_at_ms = rig.link_ms
    for step_ms in (20_000, 40_000, 55_000):  # keep the session from idling out meanwhile
        rig.link_ms = staged_at_ms + step_ms
        assert isinstance(talker.ask(wire.ReadStatus()), wire.Status)
    rig.link_ms = staged_at_ms + after_ms
    rig.firmware.tick(rig.link_ms)
    answer = talker.ask(talker.commit(op_id, staged))
    if open_still:
        assert isinstance(answer, wire.VerdictReport)
    else:
        assert refused(answer) == (Status.EXPIRED, RefusalReason.PROPOSAL_EXPIRED)
        assert rig.device.status().rate_nl_per_day == 170_000


@pytest.mark.inv(31)
@pytest.mark.parametrize("how", ["query", "abort", "begin", "set_rate", "stop", "contact", "jump", "new session"])
def test_inv_31_what_voids_a_proposal_leaves_the_old_therapy(how: str) -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage(150_000)
    if how == "query":
        answer = talker.ask(wire.Query(op_id=op_id))
        assert isinstance(answer, wire.VerdictReport)
        assert answer.verdict is Verdict.NEVER
    elif how == "abort":
        assert isinstance(talker.ask(wire.Abort(op_id=op_id)), wire.Aborted)
    elif how == "begin":
        talker.ask(talker.begin(talker.image()))
    elif how == "set_rate":
        talker.stage(160_000)
    elif how == "stop":
        talker.ask(wire.Stop(op_id=talker.new_op_id(), acked_through=0, reason=StopReason.CLINICAL))
    elif how == "contact":
        rig.firmware.contact_lost()
        talker = rig.open()
    elif how == "jump":
        rig.pump.advance(days=1)
        rig.firmware.time_jumped()
        talker = rig.open()
    else:
        talker = rig.open()
    answer = talker.ask(talker.commit(op_id, staged))
    assert refused(answer)[0] in {Status.EXPIRED, Status.STATE}
    assert rig.device.program_report().program.rate_nl_per_day == 170_000


@pytest.mark.inv(23)
@pytest.mark.inv(21)
def test_inv_23_a_query_fences_what_it_reports_as_never() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage()
    answer = talker.ask(wire.Query(op_id=op_id))
    assert isinstance(answer, wire.VerdictReport)
    assert answer.verdict is Verdict.NEVER
    assert isinstance(talker.ask(talker.commit(op_id, staged)), wire.Refusal)
    later = rig.open()
    assert isinstance(later.ask(later.commit(op_id, staged)), wire.Refusal)
    assert rig.device.status().rate_nl_per_day == 170_000


@pytest.mark.inv(24)
def test_inv_24_the_same_number_for_something_else_is_a_conflict() -> None:
    rig = Rig()
    talker = rig.open()
    verdict = talker.apply_rate(150_000)
    other = talker.rate(160_000, op_id=verdict.op_id)
    assert refused(talker.ask(other)) == (Status.CONFLICT, RefusalReason.OPERATION_CONFLICT)
    stop = wire.Stop(op_id=verdict.op_id, acked_through=0, reason=StopReason.CLINICAL)
    assert refused(talker.ask(stop))[0] is Status.CONFLICT
    twin = verdict.op_id[:8] + bytes(8)
    assert refused(talker.ask(talker.rate(150_000, op_id=twin)))[0] is Status.CONFLICT
    assert rig.device.status().rate_nl_per_day == 150_000


@pytest.mark.inv(25)
def test_inv_25_what_left_the_ring_is_forgotten_never_never() -> None:
    rig = Rig()
    talker = rig.open()
    first = talker.apply_rate(150_000)
    for turn in range(rig.device.ledger_capacity * 2):
        op_id = talker.new_op_id()
        acked = int.from_bytes(op_id[:8], "little") - 1
        message = talker.rate(150_000 + turn % 2 * 10_000, op_id=op_id, acked_through=acked)
        staged = talker.ask(message)
        assert isinstance(staged, wire.Staged), staged
        assert isinstance(talker.ask(talker.commit(op_id, staged)), wire.VerdictReport)
    answer = talker.ask(wire.Query(op_id=first.op_id))
    assert isinstance(answer, wire.VerdictReport)
    assert answer.verdict is Verdict.FORGOTTEN
    assert refused(talker.ask(talker.rate(op_id=first.op_id)))[0] is Status.FORGOTTEN


def test_a_full_ledger_refuses_new_work_but_never_a_stop() -> None:
    rig = Rig()
    talker = rig.open()
    for turn in range(rig.device.ledger_capacity):
        talker.apply_rate(150_000 + turn % 2 * 10_000)
    assert refused(talker.ask(talker.rate())) == (Status.LEDGER_FULL, RefusalReason.LEDGER_FULL)
    head = talker.ask(wire.ReadLedger())
    assert isinstance(head, wire.LedgerHead)
    assert head.unacknowledged == head.capacity == rig.device.ledger_capacity
    stopped = talker.ask(wire.Stop(op_id=talker.new_op_id(), acked_through=0, reason=StopReason.CLINICAL))
    assert isinstance(stopped, wire.VerdictReport)
    assert stopped.verdict is Verdict.APPLIED
    assert rig.device.status().mode is PumpMode.STOPPED
    acked = head.last_operation_counter
    staged = talker.ask(talker.rate(acked_through=acked))
    assert isinstance(staged, wire.Staged)


@pytest.mark.inv(27)
def test_inv_27_a_stale_base_is_refused_at_begin_and_at_commit() -> None:
    rig = Rig()
    talker = rig.open()
    assert refused(talker.ask(talker.rate(base_sequence=99)))[0] is Status.STALE_BASE
    assert refused(talker.ask(talker.begin(talker.image(), base_digest=bytes(8))))[0] is Status.STALE_BASE
    op_id, staged = talker.stage(150_000)
    rig.pump.refill()
    verdict = talker.ask(talker.commit(op_id, staged))
    assert isinstance(verdict, wire.VerdictReport)
    assert (verdict.verdict, verdict.reason) == (Verdict.REFUSED, RefusalReason.BASE_CHANGED)
    asked = talker.ask(wire.Query(op_id=op_id))
    assert isinstance(asked, wire.VerdictReport)
    assert asked.verdict is Verdict.REFUSED


@pytest.mark.inv(43)
@pytest.mark.parametrize(
    "change",
    [{"concentration_ng_per_ml": 500_000, "dose_ng_per_day": 75_000}, {"reservoir_generation": 77}],
)
def test_inv_43_a_program_bound_to_another_reservoir_is_refused(change: dict[str, int]) -> None:
    talker = Rig().open()
    assert refused(talker.ask(talker.rate(150_000, talker.new_op_id(), **change)))[0] is Status.BINDING


@pytest.mark.inv(41)
def test_inv_41_dose_and_volume_must_agree() -> None:
    talker = Rig().open()
    for dose in (299_990, 300_010, 0, 3_000_000):
        status, reason = refused(talker.ask(talker.rate(150_000, dose_ng_per_day=dose)))
        assert (status, reason) == (Status.FORMAT, RefusalReason.DOSE_VOLUME_MISMATCH)
    assert isinstance(talker.ask(talker.rate(150_000, dose_ng_per_day=300_001)), wire.Staged)


@pytest.mark.parametrize(
    ("rate", "reason", "limit"),
    [
        (47_999, RefusalReason.RATE_BELOW_MINIMUM, 48_000),
        (24_000_001, RefusalReason.RATE_ABOVE_MAXIMUM, 24_000_000),
        (600_000, RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT, None),
    ],
)
def test_limits_are_the_pumps_own(rate: int, reason: RefusalReason, limit: int | None) -> None:
    talker = Rig().open()
    answer = talker.ask(talker.rate(rate))
    assert refused(answer) == (Status.LIMIT_HARD, reason)
    if limit is not None:
        assert isinstance(answer, wire.Refusal)
        assert (answer.value, answer.limit) == (rate, limit)


def test_warnings_must_be_accepted_bit_by_bit() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage(220_000)
    assert staged.warnings == (Warn.DAILY_DOSE_CHANGE,)
    verdict = talker.ask(talker.commit(op_id, staged, accepted_warnings=()))
    assert isinstance(verdict, wire.VerdictReport)
    assert (verdict.verdict, verdict.reason) == (Verdict.REFUSED, RefusalReason.WARNINGS_NOT_ACCEPTED)
    assert talker.apply_rate(220_000).verdict is Verdict.APPLIED


@pytest.mark.inv(50)
def test_inv_50_stop_acts_at_once_and_cannot_be_silenced_for_good() -> None:
    rig = Rig()
    talker = rig.open(Role.EMERGENCY)
    op_id = talker.new_op_id()
    stop = wire.Stop(op_id=op_id, acked_through=0, reason=StopReason.OVERDOSE)
    verdict = talker.ask(stop)
    assert isinstance(verdict, wire.VerdictReport)
    assert verdict.effective_s * 1000 == rig.device.now_ms
    assert (rig.device.status().mode, rig.device.status().rate_nl_per_day) == (PumpMode.STOPPED, 0)
    assert AlarmKind.THERAPY_STOPPED in rig.device.status().alarms
    assert talker.ask(stop) == verdict
    sounding_at = rig.device.next_tone_ms()
    assert sounding_at is not None
    talker.ask(wire.SilenceAlarms(duration_s=600))
    rig.pump.advance(minutes=11)
    rig.firmware.time_jumped()
    sounding = rig.device.next_tone_ms()
    assert sounding is not None
    assert sounding[0] <= rig.device.now_ms + 3_600_000, "a silenced critical alarm must come back"


def test_a_stopped_pump_resumes_exactly_the_program_that_was_seen() -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply_rate(150_000)
    talker.ask(wire.Stop(op_id=talker.new_op_id(), acked_through=0, reason=StopReason.CLINICAL))
    stale = talker.resume_image()
    stale = stale[:-1] + bytes([stale[-1] ^ 1])
    begin = talker.begin(stale, OperationKind.RESUME)
    talker.ask(begin)
    talker.ask(wire.Write(offset=0, data=stale))
    assert refused(talker.ask(wire.Verify(part=0)))[0] is Status.STALE_BASE
    op_id, staged = talker.stage_image(talker.resume_image(), OperationKind.RESUME)
    assert Warn.STARTS_DELIVERY in staged.warnings
    verdict = talker.ask(talker.commit(op_id, staged))
    assert isinstance(verdict, wire.VerdictReport)
    assert rig.device.status().rate_nl_per_day == 150_000
    begin = talker.begin(talker.resume_image(), OperationKind.RESUME)
    talker.ask(begin)
    talker.ask(wire.Write(offset=0, data=talker.resume_image()))
    assert refused(talker.ask(wire.Verify(part=0))) == (Status.STATE, RefusalReason.NOT_STOPPED)


@pytest.mark.inv(32)
def test_inv_32_the_read_back_is_what_the_engine_will_execute() -> None:
    rig = Rig()
    talker = rig.open()
    op_id, staged = talker.stage_image(talker.image(150_000, PumpMode.SIMPLE_CONTINUOUS), OperationKind.PROGRAM)
    talker.ask(talker.commit(op_id, staged))
    report = talker.ask(wire.ReadProgram())
    assert isinstance(report, wire.ProgramReport)
    assert (report.part, report.parts) == (0, 1)
    assert staged.image == report.image == talker.image(150_000)
    assert staged.image_digest[:8] == report.program_digest


@pytest.mark.parametrize("spoil", ["short", "gap", "long", "digest", "schema", "early commit", "part", "stop"])
def test_an_image_must_arrive_whole_in_order_and_as_announced(spoil: str) -> None:
    rig = Rig()
    talker = rig.open()
    image = talker.image()
    begin = talker.begin(image)
    if spoil == "digest":
        begin = replace(begin, image_digest=bytes(32))
    elif spoil == "schema":
        bad = bytes([9]) + image[1:]
        begin, image = talker.begin(bad), bad
    elif spoil == "stop":
        assert refused(talker.ask(talker.begin(image, OperationKind.STOP)))[0] is Status.UNSUPPORTED
        return
    assert isinstance(talker.ask(begin), wire.Begun)
    if spoil == "gap":
        assert refused(talker.ask(wire.Write(offset=1, data=image)))[1] is RefusalReason.IMAGE_OUT_OF_BOUNDS
    elif spoil == "long":
        assert refused(talker.ask(wire.Write(offset=0, data=image + b"x")))[1] is RefusalReason.IMAGE_OUT_OF_BOUNDS
    elif spoil == "short":
        talker.ask(wire.Write(offset=0, data=image[:-1]))
        assert refused(talker.ask(wire.Verify(part=0)))[1] is RefusalReason.IMAGE_INCOMPLETE
    else:
        talker.ask(wire.Write(offset=0, data=image))
        if spoil == "early commit":
            commit = wire.Commit(op_id=begin.op_id, token=bytes(16), image_digest=bytes(32), accepted_warnings=())
            assert refused(talker.ask(commit))[1] is RefusalReason.IMAGE_INCOMPLETE
        elif spoil == "part":
            assert refused(talker.ask(wire.Verify(part=1)))[1] is RefusalReason.IMAGE_OUT_OF_BOUNDS
        else:
            expected = RefusalReason.IMAGE_DIGEST_MISMATCH if spoil == "digest" else RefusalReason.BAD_LAYOUT
            assert refused(talker.ask(wire.Verify(part=0)))[1] is expected
    assert rig.device.status().rate_nl_per_day == 170_000


def test_every_answer_says_when_an_alarm_has_moved() -> None:
    rig = Rig()
    talker = rig.open()
    before = talker.ask(wire.ReadStatus())
    assert isinstance(before, wire.Status)
    rig.pump.advance_until("alarm_raised", "low_reservoir")
    after = rig.open().ask(wire.ReadLimits())
    assert isinstance(after, wire.Limits)
    assert after.alarm_sequence != before.alarm_sequence


def test_alarms_are_reported_silenced_and_acknowledged() -> None:
    rig = Rig()
    rig.pump.advance_until("alarm_raised", "low_reservoir")
    talker = rig.open()
    report = talker.ask(wire.ReadAlarms())
    assert isinstance(report, wire.AlarmReport)
    assert [record.kind for record in report.alarms] == [AlarmKind.LOW_RESERVOIR]
    silenced = talker.ask(wire.SilenceAlarms(duration_s=300))
    assert isinstance(silenced, wire.AlarmReport)
    assert silenced.alarms[0].silenced_until_s == rig.device.now_ms // 1000 + 300
    limits = talker.ask(wire.ReadLimits())
    assert isinstance(limits, wire.Limits)
    too_long = talker.ask(wire.SilenceAlarms(duration_s=limits.max_silence_s + 1))
    assert refused(too_long)[1] is RefusalReason.SILENCE_TOO_LONG
    assert isinstance(talker.ask(wire.AcknowledgeAlarm(kind=AlarmKind.LOW_RESERVOIR)), wire.AlarmReport)
    missing = talker.ask(wire.AcknowledgeAlarm(kind=AlarmKind.MEMORY_ERROR))
    assert refused(missing)[1] is RefusalReason.NO_SUCH_ALARM


def test_the_log_is_read_in_pages_oldest_first() -> None:
    rig = Rig()
    talker = rig.open()
    for turn in range(12):
        talker.apply_rate(150_000 + turn % 2 * 10_000)
    seen: list[int] = []
    while True:
        page = talker.ask(wire.ReadLog(from_sequence=seen[-1] + 1 if seen else 0, max_records=5))
        assert isinstance(page, wire.LogPage)
        seen += [record.sequence for record in page.records]
        if not page.records or seen[-1] == page.newest_sequence:
            break
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seen) >= 13


@pytest.mark.inv(39)
def test_inv_39_a_read_over_the_wire_costs_charge_and_nothing_else() -> None:
    quiet, busy = Rig(), Rig()
    for day in range(1, 200):
        busy.pump.advance(days=1)
        busy.link_ms = day
        talker = busy.open(Role.OBSERVER)
        for request in (*READINGS, wire.ReadLog(from_sequence=0, max_records=8)):
            assert talker.ask(request) is not None
        quiet.pump.advance(ms=MS_PER_DAY)
    assert busy.device.status() == quiet.device.status()
    assert busy.device.ledger() == quiet.device.ledger()
    assert busy.device.log(0, 2000) == quiet.device.log(0, 2000)


def test_every_message_of_the_table_has_a_home_here() -> None:
    talker = Rig().open()
    for spec in REQUESTS:
        answer = talker.ask(any_request(talker, spec.name))
        assert answer is not None, spec.name
        if isinstance(answer, wire.Refusal):
            assert answer.reason is not RefusalReason.UNKNOWN_MESSAGE, spec.name
        if spec.name == "Close":
            break
    assert all(BY_NAME[spec.name] is spec for spec in MESSAGES)
    assert all(fields(getattr(wire, spec.name)) is not None for spec in MESSAGES)

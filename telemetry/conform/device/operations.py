"""Steps D-80 to D-89: once and only once, the ledger, the stop, the alarms, the log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.device.bench import resume_image, told
from telemetry.conform.device.catalogue import CATALOGUE, CHANGING, domain, itp, trust
from telemetry.conform.device.changes import expect_verdict, nearby, ready, still
from telemetry.conform.device.session import op_id_of
from telemetry.conform.results import EvidenceKind
from telemetry.model import (
    Activity,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    LogCode,
    OperationKind,
    PumpMode,
    RefusalReason,
    StopReason,
    Verdict,
)
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import encode_order

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.session import RawSession
    from telemetry.therapy import BolusOrder

ONCE, LEDGER, STOP, ALARMS = "once", "ledger", "stop", "alarms"


@CATALOGUE.step(
    "D-80",
    group=ONCE,
    title="A repeated commit is answered the same and applied once",
    purpose="The answer was lost, the programmer repeats: the one case for which all the rest is built.",
    stimulus="One COMMIT frame four times; then the same COMMIT as a new request; then in a new session.",
    expected="The identical answer; then the stored verdict; one program later, one ledger entry, one log line.",
    sources=(itp("6"), itp("12"), trust("5.3")),
    claims=CHANGING,
)
async def _commit_once(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    record, ledger = bench.record, await bench.ledger(session)
    newest = (await bench.log(session))[-1].sequence
    message, staged = await bench.stage_rate(session, status, rate)
    commit = bench.commit(message.op_id, staged)
    n, frame = session.next_frame(commit)
    bodies = []
    for _ in range(4):
        session.line.send(frame)
        reply = await session.reply(n)
        bodies.append(b"" if reply is None else reply.body)
    held = len(set(bodies)) == 1 and bodies[0] != b""
    record.expect(held, "the identical answer four times", f"{len(set(bodies))} distinct")
    await expect_verdict(bench, await session.ask(commit), Verdict.APPLIED, "the same COMMIT as a new request")
    fresh = await bench.session(session.line)
    await expect_verdict(bench, await fresh.ask(commit), Verdict.APPLIED, "the same COMMIT in a new session")
    await expect_verdict(bench, await fresh.ask(message), Verdict.APPLIED, "the same SetRate again")
    after, book = await bench.status(fresh), await bench.ledger(fresh)
    expected = status.program_sequence + 1
    record.expect(after.program_sequence == expected, f"program {expected}", str(after.program_sequence))
    record.expect(
        book.ledger_sequence == ledger.ledger_sequence + 1,
        f"ledger {ledger.ledger_sequence + 1}",
        str(book.ledger_sequence),
    )
    lines = [entry for entry in await bench.log(fresh, newest + 1) if entry.code is LogCode.PROGRAM_COMMITTED]
    record.expect(len(lines) == 1, "one log line of a committed program", str(len(lines)))


@CATALOGUE.step(
    "D-81",
    group=ONCE,
    title="A bolus is given once, however often it is asked for",
    purpose="The second bolus of a repeated request is the accident that this protocol exists to prevent.",
    stimulus="A small bolus, its COMMIT four times, as a new request, in a new session; then another bolus.",
    expected="One bolus of the staged volume runs; the other is refused, activity_running; one log line.",
    sources=(itp("12"), trust("5.3"), domain("2.3")),
    claims=(*CHANGING, "bolus"),
)
async def _bolus_once(bench: Bench) -> None:
    session = await bench.session()
    status = await bench.running(session)
    limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
    record, order = bench.record, bench.bolus(status, limits)
    newest = (await bench.log(session))[-1].sequence
    op_id, staged, _ = await bench.stage_order(session, status, order, OperationKind.BOLUS)
    commit = bench.commit(op_id, staged)
    n, frame = session.next_frame(commit)
    for _ in range(4):
        session.line.send(frame)
        await session.reply(n)
    await expect_verdict(bench, await session.ask(commit), Verdict.APPLIED, "the same COMMIT as a new request")
    fresh = await bench.session(session.line)
    await expect_verdict(bench, await fresh.ask(commit), Verdict.APPLIED, "the same COMMIT in a new session")
    delivery = await bench.ask(fresh, wire.ReadDelivery(), wire.Delivery)
    found = (delivery.activity, delivery.activity_volume_nl)
    record.expect(
        found == (Activity.BOLUS, order.volume_nl), f"a bolus of {order.volume_nl} nl", f"{found[0]} of {found[1]} nl"
    )
    started = [entry for entry in await bench.log(fresh, newest + 1) if entry.code is LogCode.BOLUS_STARTED]
    record.expect(len(started) == 1, "one log line of a bolus that began", str(len(started)))
    answer = await _refusal_of(bench, fresh, status, order)
    bench.expect_refusal(answer, RefusalReason.ACTIVITY_RUNNING, "another bolus meanwhile")
    stop = wire.Stop(fresh.new_op_id(), 0, StopReason.BENCH)
    await expect_verdict(bench, await fresh.ask(stop), Verdict.APPLIED, "Stop, which cancels the bolus")
    after = await bench.status(fresh)
    record.expect(after.activity is Activity.NONE, "no activity after Stop", after.activity.value)


async def _refusal_of(bench: Bench, session: RawSession, status: wire.Status, order: BolusOrder) -> wire.Message | None:
    """What an order meets: at Begin, or at Verify once it is written."""
    image = encode_order(order)
    answer = await session.ask(bench.begin(session, status, image, OperationKind.BOLUS))
    if not isinstance(answer, wire.Begun):
        return answer
    await bench.write_all(session, image)
    return await session.ask(wire.Verify(part=0))


@CATALOGUE.step(
    "D-82",
    group=LEDGER,
    title="Query tells what became of an operation, and fences it",
    purpose="What was reported as never must not happen a moment later.",
    stimulus="Query of a committed operation, of a refused one, of one that never was, of one that is staged.",
    expected="Applied, refused, never, never; the commit of the one that was staged is refused, and nothing moves.",
    sources=(itp("12"), trust("4.6"), trust("5.3")),
    claims=CHANGING,
)
async def _query(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
    message, staged = await bench.stage_rate(session, status, rate)
    await session.ask(bench.commit(message.op_id, staged))
    await expect_verdict(bench, await session.ask(wire.Query(op_id=message.op_id)), Verdict.APPLIED, "Query of it")
    status = await bench.status(session)
    beyond = status.rate_nl_per_day - status.rate_nl_per_day * limits.change_soft_ppm * 3 // 2_000_000
    refused, staged = await bench.stage_rate(session, status, beyond)
    await session.ask(bench.commit(refused.op_id, staged, accepted_warnings=()))
    reason = RefusalReason.WARNINGS_NOT_ACCEPTED if staged.warnings else None
    if reason is not None:
        answer = await session.ask(wire.Query(op_id=refused.op_id))
        await expect_verdict(bench, answer, Verdict.REFUSED, "Query of a refused one", reason)
    answer = await session.ask(wire.Query(op_id=op_id_of(session.counter + 1)))
    await expect_verdict(bench, answer, Verdict.NEVER, "Query of one that never was")
    open_one, staged = await bench.stage_rate(session, status, nearby(status, limits))
    await expect_verdict(
        bench, await session.ask(wire.Query(op_id=open_one.op_id)), Verdict.NEVER, "Query of a staged one"
    )
    answer = await session.ask(bench.commit(open_one.op_id, staged))
    held = isinstance(answer, wire.Refusal)
    bench.record.expect(held, "Refusal to the commit of what was reported as never", told(answer))
    await still(bench, session, status, "after the fence")


@CATALOGUE.step(
    "D-83",
    group=LEDGER,
    title="An operation number means one thing",
    purpose="A number that is used twice makes one of the two untraceable.",
    stimulus="The number of an applied operation for another rate, with other random bytes; a number of long ago.",
    expected="Refusal conflict twice; the stored verdict for the same; Refusal forgotten for an old number.",
    sources=(itp("12"), trust("5.3")),
    claims=CHANGING,
)
async def _numbers(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    session.counter += 10  # so that there are numbers below it that were never used
    message, staged = await bench.stage_rate(session, status, rate)
    applied = await session.ask(bench.commit(message.op_id, staged))
    await expect_verdict(bench, applied, Verdict.APPLIED, "Commit")
    now = await bench.status(session)
    conflict = RefusalReason.OPERATION_CONFLICT
    answer = await session.ask(bench.set_rate(session, now, rate - 3, op_id=message.op_id))
    bench.expect_refusal(answer, conflict, "the same op_id for another rate")
    other = message.op_id[:8] + bytes(8)
    answer = await session.ask(replace(message, op_id=other))
    bench.expect_refusal(answer, conflict, "the same number with other random bytes")
    await expect_verdict(bench, await session.ask(message), Verdict.APPLIED, "the same message again")
    old = op_id_of(session.counter - 5)
    answer = await session.ask(bench.set_rate(session, now, rate - 3, op_id=old))
    bench.expect_refusal(answer, RefusalReason.OPERATION_FORGOTTEN, "a number below the last one")
    await expect_verdict(bench, await session.ask(wire.Query(op_id=old)), Verdict.FORGOTTEN, "Query of that number")
    await still(bench, session, now, "after four uses of numbers")


@CATALOGUE.step(
    "D-84",
    group=LEDGER,
    title="A program that somebody else changed is not changed on",
    purpose="Two tablets, one pump: the second one's review is of a therapy that is gone.",
    stimulus="A rate is worked out on one program; another tablet commits one; the first goes on with its own.",
    expected="Refusal stale_base, base_changed; the other tablet's rate stands.",
    sources=(itp("12"), trust("2")),
    claims=CHANGING,
)
async def _changed_between(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    second = await bench.session(await bench.line())
    message, staged = await bench.stage_rate(second, status, rate)
    await expect_verdict(
        bench, await second.ask(bench.commit(message.op_id, staged)), Verdict.APPLIED, "the other's Commit"
    )
    back = await bench.session(session.line)
    answer = await back.ask(bench.set_rate(back, status, rate - 7))
    bench.expect_refusal(answer, RefusalReason.BASE_CHANGED, "SetRate on the program of before")
    now = await bench.status(back)
    bench.record.expect(now.rate_nl_per_day == rate, f"{rate} nl/day", f"{now.rate_nl_per_day} nl/day")


async def _stopped(bench: Bench) -> tuple[RawSession, wire.Status, wire.Stop]:
    """A pump that has just been stopped: session, the status of before, the message."""
    session = await bench.session()
    status = await bench.running(session)
    stop = wire.Stop(session.new_op_id(), 0, StopReason.BENCH)
    bench.record.tell(EvidenceKind.DISTURBANCE, "the pump is stopped")
    await expect_verdict(bench, await session.ask(stop), Verdict.APPLIED, "Stop")
    return session, status, stop


async def _resume(bench: Bench, session: RawSession) -> None:
    report, _ = await bench.program(session)
    status = await bench.status(session)
    begin = bench.begin(session, status, resume_image(report), OperationKind.RESUME)
    await bench.ask(session, begin, wire.Begun)
    await bench.write_all(session, resume_image(report))
    staged, _ = await bench.read_back(session)
    await expect_verdict(bench, await session.ask(bench.commit(begin.op_id, staged)), Verdict.APPLIED, "the resume")


@CATALOGUE.step(
    "D-85",
    group=STOP,
    title="Stop stops, at once, and a proposal with it",
    purpose="It is the one request that must always work.",
    stimulus="A rate is staged; Stop; the same Stop again; another Stop; the staged commit; a resume.",
    expected="Applied each time; mode stopped, 0 nl/day; the commit refused; after the resume the program of before.",
    sources=(itp("12"), trust("4.13"), domain("2.6")),
    claims=CHANGING,
)
async def _stop(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    record = bench.record
    message, staged = await bench.stage_rate(session, status, rate)
    stop = wire.Stop(session.new_op_id(), 0, StopReason.BENCH)
    first = await session.ask(stop)
    await expect_verdict(bench, first, Verdict.APPLIED, "Stop")
    now = await bench.status(session)
    found = (now.mode, now.rate_nl_per_day)
    record.expect(found == (PumpMode.STOPPED, 0), "stopped, 0 nl/day", f"{found[0]}, {found[1]} nl/day")
    bench.expect(now.stopped_since_s is not None, "since when it is stopped", "nothing")
    again = await session.ask(stop)
    await expect_verdict(bench, again, Verdict.APPLIED, "the same Stop again")
    await expect_verdict(
        bench, await session.ask(wire.Stop(session.new_op_id(), 0, StopReason.BENCH)), Verdict.APPLIED, "another Stop"
    )
    answer = await session.ask(bench.commit(message.op_id, staged))
    record.expect(isinstance(answer, wire.Refusal), "Refusal to the commit that Stop has voided", told(answer))
    report, _ = await bench.program(session)
    bench.expect(report.stopped, "the program marked as stopped", "running")
    await _resume(bench, session)
    now = await bench.status(session)
    record.expect(
        (now.mode, now.rate_nl_per_day) == (status.mode, status.rate_nl_per_day),
        f"{status.mode}, {status.rate_nl_per_day} nl/day",
        f"{now.mode}, {now.rate_nl_per_day} nl/day",
    )


async def _alarm(bench: Bench, session: RawSession, kind: AlarmKind) -> wire.AlarmRecord | None:
    report = await bench.ask(session, wire.ReadAlarms(), wire.AlarmReport)
    return next((alarm for alarm in report.alarms if alarm.kind is kind), None)


@CATALOGUE.step(
    "D-86",
    group=ALARMS,
    title="A stopped therapy is an alarm, and every answer says that the alarms moved",
    purpose="Drug that does not flow is the alarm that matters most with baclofen.",
    stimulus="Stop; the answer after it; the alarms.",
    expected="therapy_stopped: present, high priority, signalled; the alarm sequence moved; it stands in the status.",
    sources=(itp("5"), itp("7"), domain("2.5"), domain("5.7")),
    claims=CHANGING,
)
async def _alarm_raised(bench: Bench) -> None:
    session = await bench.session()
    before = session.alarm_sequence
    await bench.running(session)
    stop = wire.Stop(session.new_op_id(), 0, StopReason.BENCH)
    await expect_verdict(bench, await session.ask(stop), Verdict.APPLIED, "Stop")
    status = await bench.status(session)
    record = bench.record
    record.expect(status.alarm_sequence != before, f"another alarm sequence than {before}", str(status.alarm_sequence))
    alarm = await _alarm(bench, session, AlarmKind.THERAPY_STOPPED)
    bench.demand(alarm is not None, "therapy_stopped in the list", "it is not there")
    assert alarm is not None  # noqa: S101 - demanded
    bench.expect(alarm.condition_present, "its condition present", "not present")
    record.expect(alarm.priority is AlarmPriority.HIGH, "high priority", alarm.priority.value)
    record.expect(alarm.signal in {AlarmSignal.ON, AlarmSignal.LATCHED}, "a signal that is on", alarm.signal.value)
    record.expect(AlarmKind.THERAPY_STOPPED in status.alarms, "therapy_stopped in the status", ", ".join(status.alarms))


@CATALOGUE.step(
    "D-87",
    group=ALARMS,
    title="Silencing quiets the signal and leaves the condition",
    purpose="A silenced alarm that looks like a cleared one hides its cause.",
    stimulus="Stop; SilenceAlarms for a minute.",
    expected="The signal silenced until a minute from now; the condition still present.",
    sources=(itp("7"), domain("5.7")),
    claims=CHANGING,
)
async def _silenced(bench: Bench) -> None:
    session, _, _ = await _stopped(bench)
    await bench.ask(session, wire.SilenceAlarms(duration_s=60), wire.AlarmReport)
    alarm = await _alarm(bench, session, AlarmKind.THERAPY_STOPPED)
    record = bench.record
    bench.demand(alarm is not None, "therapy_stopped still in the list", "it is gone")
    assert alarm is not None  # noqa: S101 - demanded
    bench.expect(alarm.condition_present, "its condition still present", "gone")
    record.expect(alarm.signal is AlarmSignal.SILENCED, "its signal silenced", alarm.signal.value)
    until, now = alarm.silenced_until_s, (await bench.status(session)).now_s
    record.expect(until is not None and now < until <= now + 61, f"silenced until {now + 60} s", str(until))


@CATALOGUE.step(
    "D-88",
    group=ALARMS,
    title="An alarm ends with its cause, not with an acknowledgement",
    purpose="That drug does not flow stays true, whoever has read it.",
    stimulus="Stop; AcknowledgeAlarm; resume; AcknowledgeAlarm until it is released; AcknowledgeAlarm once more.",
    expected="Acknowledged and present; after the resume over, or latched until released; then Refusal no_such_alarm.",
    sources=(itp("7"), itp("12"), domain("5.7"), trust("5.11")),
    claims=CHANGING,
)
async def _acknowledged(bench: Bench) -> None:
    session, _, _ = await _stopped(bench)
    kind, record = AlarmKind.THERAPY_STOPPED, bench.record
    await bench.ask(session, wire.AcknowledgeAlarm(kind=kind), wire.AlarmReport)
    alarm = await _alarm(bench, session, kind)
    bench.demand(alarm is not None, "therapy_stopped still in the list", "it is gone")
    assert alarm is not None  # noqa: S101 - demanded
    bench.expect(alarm.condition_present, "its condition still present", "over")
    record.expect(alarm.signal is AlarmSignal.ACKNOWLEDGED, "its signal acknowledged", alarm.signal.value)
    await _resume(bench, session)
    alarm = await _alarm(bench, session, kind)
    if alarm is not None:
        bench.expect(not alarm.condition_present, "its condition over after the resume", "present")
        record.expect(alarm.signal is AlarmSignal.LATCHED, "its signal latched", alarm.signal.value)
        await bench.ask(session, wire.AcknowledgeAlarm(kind=kind), wire.AlarmReport)
        alarm = await _alarm(bench, session, kind)
    record.expect(alarm is None, "not in the list any more", "" if alarm is None else alarm.signal.value)
    again = await session.ask(wire.AcknowledgeAlarm(kind=kind))
    bench.expect_refusal(again, RefusalReason.NO_SUCH_ALARM, "AcknowledgeAlarm once more")


@CATALOGUE.step(
    "D-89",
    group=LEDGER,
    title="What happened stands in the log, once and in order",
    purpose="After a lost answer the log is what a person decides by.",
    stimulus="A rate change, a stop and a resume; the log from where it was.",
    expected="program_committed, stopped, resumed in this order, with this slot's number, the head moved in ACCEPT.",
    sources=(itp("7"), trust("5.12"), domain("2.10")),
    claims=CHANGING,
)
async def _logged(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    head = session.accept.log_head
    newest = (await bench.log(session))[-1].sequence
    message, staged = await bench.stage_rate(session, status, rate)
    await session.ask(bench.commit(message.op_id, staged))
    await session.ask(wire.Stop(session.new_op_id(), 0, StopReason.BENCH))
    await _resume(bench, session)
    entries = await bench.log(session, newest + 1)
    wanted = (LogCode.PROGRAM_COMMITTED, LogCode.STOPPED, LogCode.RESUMED)
    found = tuple(entry.code for entry in entries if entry.code in wanted)
    bench.record.expect(found == wanted, ", ".join(wanted), ", ".join(found))
    slot = session.greeting.credential.slot
    slots = {entry.slot for entry in entries if entry.code in wanted}
    bench.record.expect(slots == {slot}, f"slot {slot} for each", str(sorted(slots)))
    fresh = await bench.session(session.line)
    bench.expect(fresh.accept.log_head != head, "another head of the log", "the same")

"""Steps D-70 to D-76: staging and its token. What is read back, what commits it, what voids it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.conform.device.bench import HARMLESS_PPM, dose_of, told
from telemetry.conform.device.catalogue import CATALOGUE, CHANGING, itp, trust
from telemetry.model import OperationKind, PumpMode, RefusalReason, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import encode_order
from telemetry.therapy import EVERY_DAY, Program, ProgramStep

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.session import RawSession
    from telemetry.protocol.messages import Message

GROUP = "staging"
PROPOSAL_MS = 60_000
"""protocol.md 13."""
_KEEP_ALIVE_MS = 15_000


def nearby(status: wire.Status, limits: wire.Limits | None = None) -> int:
    """Another rate that no soft limit minds: 5 % less, or more where less is too little; always another one."""
    less = status.rate_nl_per_day - status.rate_nl_per_day * HARMLESS_PPM // 1_000_000 - 1
    least = 0 if limits is None else limits.min_rate_nl_per_day
    return less if less > least else status.rate_nl_per_day + status.rate_nl_per_day * HARMLESS_PPM // 1_000_000 + 1


async def ready(bench: Bench) -> tuple[RawSession, wire.Status, int]:
    """A session with a running pump, and another rate for it."""
    session = await bench.session()
    status = await bench.running(session)
    return session, status, nearby(status, await bench.ask(session, wire.ReadLimits(), wire.Limits))


async def expect_verdict(
    bench: Bench, answer: Message | None, verdict: Verdict, what: str, reason: RefusalReason | None = None
) -> bool:
    """Expect a ``VerdictReport``."""
    held = isinstance(answer, wire.VerdictReport) and (answer.verdict, answer.reason) == (verdict, reason)
    words = f"{what}: VerdictReport {verdict.value}" + (f", {reason.value}" if reason is not None else "")
    return bench.record.expect(held, words, told(answer))


async def still(bench: Bench, session: RawSession, before: wire.Status, what: str) -> None:
    """The therapy has not moved."""
    after = await bench.status(session)
    bench.record.expect(
        (after.program_sequence, after.rate_nl_per_day) == (before.program_sequence, before.rate_nl_per_day),
        f"program {before.program_sequence} with {before.rate_nl_per_day} nl/day {what}",
        f"program {after.program_sequence} with {after.rate_nl_per_day} nl/day",
    )


@CATALOGUE.step(
    "D-70",
    group=GROUP,
    title="Reads back what was staged, and nothing else",
    purpose="What the person confirms is what the pump has, not what the tablet meant.",
    stimulus="SetRate with another rate; the read-back is decoded and held against it.",
    expected="The same mode, rate, dose, binding; their digest; the day's dose and volume; 60 s; nothing moved.",
    sources=(itp("12"), trust("5.2"), trust("5.8")),
    claims=CHANGING,
)
async def _read_back(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    message, staged = await bench.stage_rate(session, status, rate)
    record = bench.record
    program = bench.read_order(OperationKind.PROGRAM, staged.image, Program)
    wanted = Program(
        mode=PumpMode.SIMPLE_CONTINUOUS,
        rate_nl_per_day=rate,
        dose_ng_per_day=message.dose_ng_per_day,
        concentration_ng_per_ml=status.concentration_ng_per_ml,
        drug=status.drug,
        reservoir_generation=status.reservoir_generation,
    )
    record.expect(program == wanted, f"{rate} nl/day read back, as staged", str(program))
    digest = hashlib.sha256(encode_order(wanted)).digest()
    record.expect(staged.image_digest == digest, f"digest {digest.hex()[:16]}…", staged.image_digest.hex()[:16])
    for what, expected, found in (
        ("volume in 24 h, nl", rate, staged.volume_24h_nl),
        ("dose in 24 h, ng", dose_of(rate, status.concentration_ng_per_ml), staged.dose_24h_ng),
        ("highest rate", rate, staged.peak_nl_per_day),
        ("lowest rate", rate, staged.lowest_nl_per_day),
        ("seconds to live", 60, staged.ttl_s),
        ("reservoir lasts, s", status.reservoir_nl * 86_400 // rate, staged.empty_in_s),
    ):
        near = abs(expected - found) <= max(2, expected // 10_000)
        record.expect(near, f"{what}: {expected}", str(found))
    before_ng = status.dose_ng_per_day
    change_ppm = -(-abs(message.dose_ng_per_day - before_ng) * 1_000_000 // before_ng) if before_ng else 0
    record.expect(abs(staged.change_ppm - change_ppm) <= 10, f"change of {change_ppm} ppm", f"{staged.change_ppm} ppm")
    await still(bench, session, status, "while it is only staged")


@CATALOGUE.step(
    "D-71",
    group=GROUP,
    title="Takes a schedule in parts and reads it back whole",
    purpose="What travels in parts must arrive in order, and be read from where it is kept.",
    stimulus="A schedule of sixteen steps by Begin, Write and Verify; then it is committed and read as the program.",
    expected="The read-back is the image, byte for byte, and so is the program after the commit.",
    sources=(itp("12"), trust("5.2")),
    claims=(*CHANGING, "schedule"),
)
async def _in_parts(bench: Bench) -> None:
    session, status, _ = await ready(bench)
    limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
    strength, low = status.concentration_ng_per_ml, status.rate_nl_per_day
    count = min(16, limits.max_schedule_steps)
    rates = [low - index for index in range(count)]
    steps = [ProgramStep(EVERY_DAY, at * 60, rate, dose_of(rate, strength)) for at, rate in enumerate(rates)]
    order = Program(PumpMode.FLEX, low, 0, strength, status.drug, status.reservoir_generation, tuple(steps))
    minutes = [*(step.start_minute for step in steps), 1_440]
    spans = [second - first for first, second in pairwise(minutes)]
    volume = sum(step.rate_nl_per_day * span for step, span in zip(steps, spans, strict=True)) // 1_440
    dose = dose_of(volume, strength)
    order = replace(order, rate_nl_per_day=volume, dose_ng_per_day=dose)
    image = encode_order(order)
    op_id, staged, found = await bench.stage_order(session, status, order, OperationKind.PROGRAM)
    record = bench.record
    bench.expect(found == image, f"the {len(image)} bytes that were written", f"{len(found)} bytes, not the same")
    record.expect(staged.parts > 1, "a read-back of more than one part", f"{staged.parts}")
    await expect_verdict(bench, await session.ask(bench.commit(op_id, staged)), Verdict.APPLIED, "Commit")
    _, program = await bench.program(session)
    record.expect(program == order, "the schedule as the program in force", str(program)[:300])


@CATALOGUE.step(
    "D-72",
    group=GROUP,
    title="A commit makes exactly the read-back true, at once and everywhere",
    purpose="A pump that reports the old rate after it took the new one lets a person repeat the change.",
    stimulus="A rate is staged and committed; status, program, ledger and log are read.",
    expected="Applied, one program later; the staged rate and dose in all of them; one more in the ledger.",
    sources=(itp("12"), trust("5.2"), trust("5.4")),
    claims=CHANGING,
)
async def _commit(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    record, ledger = bench.record, await bench.ledger(session)
    message, staged = await bench.stage_rate(session, status, rate)
    answer = await session.ask(bench.commit(message.op_id, staged))
    await expect_verdict(bench, answer, Verdict.APPLIED, "Commit")
    after = await bench.status(session)
    report, program = await bench.program(session)
    record.expect(
        (after.rate_nl_per_day, after.dose_ng_per_day) == (rate, message.dose_ng_per_day),
        f"status: {rate} nl/day, {message.dose_ng_per_day} ng/day",
        f"{after.rate_nl_per_day} nl/day, {after.dose_ng_per_day} ng/day",
    )
    record.expect(program.rate_nl_per_day == rate, f"program: {rate} nl/day", f"{program.rate_nl_per_day} nl/day")
    sequences = (after.program_sequence, report.program_sequence)
    expected = status.program_sequence + 1
    record.expect(sequences == (expected, expected), f"program sequence {expected} in both", str(sequences))
    if isinstance(answer, wire.VerdictReport):
        record.expect(answer.program_sequence == expected, f"sequence {expected} in the verdict", told(answer))
        digests = {after.program_digest, report.program_digest, answer.program_digest}
        record.expect(len(digests) == 1, "one digest in status, program and verdict", f"{len(digests)} different")
        bench.expect(after.program_digest != status.program_digest, "another digest than before", "the same")
    book = await bench.ledger(session)
    record.expect(
        book.ledger_sequence == ledger.ledger_sequence + 1,
        f"ledger at {ledger.ledger_sequence + 1}",
        str(book.ledger_sequence),
    )
    record.expect(
        book.last_operation_counter == session.counter, f"operation {session.counter}", str(book.last_operation_counter)
    )
    fresh = await bench.session(session.line)
    record.expect(
        fresh.accept.program_sequence == expected, f"ACCEPT: program {expected}", str(fresh.accept.program_sequence)
    )
    record.conclude(f"{status.rate_nl_per_day} → {after.rate_nl_per_day} nl/day, program {expected}")


@CATALOGUE.step(
    "D-73",
    group=GROUP,
    title="A token commits what it was made for, once",
    purpose="What a person has reviewed is what may be committed, and nothing else.",
    stimulus="Commit with a token of zeros, with that of an earlier proposal, with another digest, another op_id.",
    expected="Refusal each time, and the right token is used up by a wrong attempt; nothing moves.",
    sources=(itp("12"), trust("5.2")),
    claims=CHANGING,
)
async def _token(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    _, first = await bench.stage_rate(session, status, rate)
    message, staged = await bench.stage_rate(session, status, rate - 1)
    right = bench.commit(message.op_id, staged)
    wrong = RefusalReason.TOKEN_WRONG
    bench.expect_refusal(await session.ask(replace(right, token=bytes(16))), wrong, "a token of zeros")
    bench.expect_refusal(await session.ask(right), wrong, "the right token after a wrong one")
    for what, changes in (
        ("the token of an earlier proposal", {"token": first.token, "image_digest": first.image_digest}),
        ("the digest of another image", {"image_digest": first.image_digest}),
    ):
        message, staged = await bench.stage_rate(session, status, rate - 1)
        bench.expect_refusal(await session.ask(bench.commit(message.op_id, staged, **changes)), wrong, what)
    message, staged = await bench.stage_rate(session, status, rate - 1)
    answer = await session.ask(bench.commit(session.new_op_id(), staged))
    bench.expect_refusal(answer, RefusalReason.NO_PROPOSAL, "the right token under another op_id")
    await still(bench, session, status, "after five wrong commits")


@CATALOGUE.step(
    "D-74",
    group=GROUP,
    title="A proposal dies after a minute",
    purpose="What was reviewed long ago was reviewed for another moment.",
    stimulus="A rate is staged; the session is kept alive; the commit comes after 61 s.",
    expected="Refusal expired, proposal_expired; nothing moves.",
    sources=(itp("12"), itp("13"), trust("5.2")),
    claims=CHANGING,
)
async def _expiry(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    message, staged = await bench.stage_rate(session, status, rate)
    began_ms = bench.clock.link_ms()
    while (left_ms := PROPOSAL_MS + 1_000 - (bench.clock.link_ms() - began_ms)) > 0:
        await session.line.rest(min(left_ms, _KEEP_ALIVE_MS))
        await bench.ask(session, wire.ReadAlarms(), wire.AlarmReport)
    answer = await session.ask(bench.commit(message.op_id, staged))
    bench.expect_refusal(answer, RefusalReason.PROPOSAL_EXPIRED, "Commit after 61 s")
    await still(bench, session, status, "after a proposal that died")


@CATALOGUE.step(
    "D-75",
    group=GROUP,
    title="Whatever begins anew voids what was open",
    purpose="Two proposals at once would let the one be reviewed and the other committed.",
    stimulus="A rate is staged, then Begin, SetRate, Query or Abort comes, or a session of its own; then its commit.",
    expected="Refusal to each commit; nothing moves.",
    sources=(itp("12"), trust("5.2")),
    claims=CHANGING,
)
async def _voided(bench: Bench) -> None:
    session, status, rate = await ready(bench)
    image = encode_order(
        Program(
            mode=PumpMode.SIMPLE_CONTINUOUS,
            rate_nl_per_day=rate,
            dose_ng_per_day=dose_of(rate, status.concentration_ng_per_ml),
            concentration_ng_per_ml=status.concentration_ng_per_ml,
            drug=status.drug,
            reservoir_generation=status.reservoir_generation,
        )
    )
    for name in ("Begin", "SetRate", "Query", "Abort"):
        message, staged = await bench.stage_rate(session, status, rate)
        between: Message = wire.Abort(op_id=message.op_id)
        if name == "Begin":
            between = bench.begin(session, status, image, OperationKind.PROGRAM)
        elif name == "SetRate":
            between = bench.set_rate(session, status, rate - 2)
        elif name == "Query":
            between = wire.Query(op_id=session.new_op_id())
        await session.ask(between)
        answer = await session.ask(bench.commit(message.op_id, staged))
        held = isinstance(answer, wire.Refusal) and answer.status.value in {"expired", "state"}
        bench.record.expect(held, f"Refusal expired or state to Commit after {name}", told(answer))
    message, staged = await bench.stage_rate(session, status, rate)
    second = await bench.session(session.line)
    second.counter = session.counter
    answer = await second.ask(bench.commit(message.op_id, staged))
    held = isinstance(answer, wire.Refusal) and answer.status.value in {"expired", "state"}
    bench.record.expect(held, "Refusal expired or state to Commit in the next session", told(answer))
    await still(bench, second, status, "after five voided proposals")


@CATALOGUE.step(
    "D-76",
    group=GROUP,
    title="Each warning must be accepted by name",
    purpose="A soft limit that is passed without a word is no limit.",
    stimulus="A change beyond the soft limit, committed without accepting its warnings; then staged anew and accepted.",
    expected="Refused, warnings_not_accepted, and nothing moves; then applied.",
    sources=(itp("12"), trust("5.7"), trust("5.2")),
    claims=CHANGING,
)
async def _warnings(bench: Bench) -> None:
    session, status, _ = await ready(bench)
    limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
    share = min(limits.change_soft_ppm * 3 // 2, limits.change_hard_ppm)
    rate = status.rate_nl_per_day - status.rate_nl_per_day * share // 1_000_000
    message, staged = await bench.stage_rate(session, status, rate)
    bench.demand(bool(staged.warnings), f"a warning for a change of {share} ppm", "none")
    answer = await session.ask(bench.commit(message.op_id, staged, accepted_warnings=()))
    await expect_verdict(
        bench, answer, Verdict.REFUSED, "Commit without accepting", RefusalReason.WARNINGS_NOT_ACCEPTED
    )
    await still(bench, session, status, "after a commit without accepting")
    message, staged = await bench.stage_rate(session, status, rate)
    answer = await session.ask(bench.commit(message.op_id, staged))
    await expect_verdict(bench, answer, Verdict.APPLIED, "Commit with the warnings accepted")

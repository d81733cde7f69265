"""P-30 to P-38: what becomes of a change whose answer is lost, and what the person is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.bench import APPLIED, NOT_APPLIED, UNKNOWN
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.model import OperationKind

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_CHANGE = ("read", "change")
_PROGRAM = OperationKind.PROGRAM


async def _found_out(bench: Bench, kind: OperationKind, wanted: int) -> None:
    """Sound link again, one interrogation: the screen tells what is so, and the pump has it so often."""
    bench.bedside.calm()
    await bench.interrogate()
    result = await bench.result()
    right = APPLIED if wanted else NOT_APPLIED
    bench.expect(result == right, f"found out at the next contact: the word for {right}", result or "nothing")
    bench.expect_applied(wanted, kind)
    text = await bench.show(Field.OPEN_OPERATIONS)
    bench.expect(not text, "nothing stands there as unknown any more", text or "nothing")


@PROGRAMMER.step(
    "P-30",
    group="outcomes",
    title="Tells each end of a change by a word of its own",
    purpose="Applied, not applied, unknown: a fourth word, or one word for two of them, leads to a second dose.",
    stimulus="One change is applied, one is refused by the pump, one loses every answer after COMMIT.",
    expected="Three different words, each the manifest's for what is so.",
    sources=(trust("5.1"), itp("12 (The programmer's duty)")),
    claims=_CHANGE,
)
async def _p30_three_words(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    await bench.confirm()
    applied = await bench.result()
    bench.pump.inject("update_blocked")
    await bench.change("0.180 ml/day")
    await bench.confirm()
    refused = await bench.result()
    bench.pump.clear("update_blocked")
    await bench.change("0.180 ml/day")
    bench.bedside.disturb("drop@tx/VerdictReport", "every verdict of the pump is lost")
    await bench.confirm()
    unknown = await bench.result()
    for found, right in ((applied, APPLIED), (refused, NOT_APPLIED), (unknown, UNKNOWN)):
        bench.expect(found == right, f"the word for {right}", found or "nothing")


@PROGRAMMER.step(
    "P-31",
    group="outcomes",
    title="COMMIT lost on its way: nothing happened, and that is found out",
    purpose="Who cannot tell a lost request from a lost answer repeats what was done or leaves out what was not.",
    stimulus="Every COMMIT is lost before the pump; then the link is sound, and the operator interrogates.",
    expected="Until then the word for unknown (or not applied, if asked for at once); afterwards not applied; "
    "ledger empty.",
    sources=(trust("5.4"), itp("12 (Query and Abort)")),
    claims=_CHANGE,
)
async def _p31_commit_lost(bench: Bench) -> None:
    before = bench.status
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@rx/Commit", "every COMMIT is lost before the pump")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result in {UNKNOWN, NOT_APPLIED}, "the word for unknown, or for not applied", result or "nothing")
    await _found_out(bench, _PROGRAM, 0)
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-32",
    group="outcomes",
    title="Verdict lost after the effect: it is not called failed",
    purpose="A change that was applied and is called failed is done again.",
    stimulus="The pump applies the change; its verdict is lost each time; everything else passes.",
    expected="The word for unknown or for applied, never for not applied; the pump has applied it once.",
    sources=(trust("5.1"), trust("5.12 (driver reports failure while the bolus succeeded)")),
    claims=_CHANGE,
)
async def _p32_verdict_lost(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@tx/VerdictReport", "every verdict of the pump is lost")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result == UNKNOWN, "the word for unknown, since no verdict has come", result or "nothing")
    bench.expect_applied(1, _PROGRAM)
    await _found_out(bench, _PROGRAM, 1)


@PROGRAMMER.step(
    "P-33",
    group="outcomes",
    title="Asks before anything else at the next contact",
    purpose="A reading in between shows a therapy of which nobody knows whose it is.",
    stimulus="The link goes dead right after COMMIT has reached the pump; later it is sound again.",
    expected="The first request of the next session is the query of the open operation.",
    sources=(trust("5.4"), itp("12 (The programmer's duty)")),
    claims=_CHANGE,
)
async def _p33_asks_first(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@tx", "nothing comes back from the pump any more")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result == UNKNOWN, "the word for unknown", result or "nothing")
    bench.bedside.calm()
    asked: list[str] = []
    bench.bedside.on_frame(lambda frame: asked.append(frame.message) if frame.direction == "to_pump" else None)
    await bench.interrogate()
    inside = [name for name in asked if name not in {"ReadTelemeter", "Subscribe", "PROBE", "HELLO", "REQ", "Close"}]
    first = inside[0] if inside else "nothing"
    bench.expect(first == "Query", "the first request of the session is a Query", first)
    await _found_out(bench, _PROGRAM, 1)


@PROGRAMMER.step(
    "P-34",
    group="outcomes",
    title="A link that is cut after COMMIT leaves nothing wrong behind",
    purpose="A cable that is pulled out at the worst moment.",
    stimulus="As soon as the pump has applied the change, the link is cut; the pump can be reached again at once.",
    expected="The word is unknown or applied; after an interrogation applied; the pump has applied it once.",
    sources=(trust("5.4"), domain("5.2 (loss of wireless signal)")),
    claims=_CHANGE,
)
async def _p34_link_cut(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.cut_at_verdict()
    await bench.confirm()
    result = await bench.result()
    bench.expect(result in {UNKNOWN, APPLIED}, "the word for unknown, or for applied", result or "nothing")
    await _found_out(bench, _PROGRAM, 1)


@PROGRAMMER.step(
    "P-35",
    group="outcomes",
    title="A power cut after COMMIT is no way to forget it",
    purpose="What was sent must outlive the memory of the programmer.",
    stimulus="The operator confirms and cuts the programmer's power at once; it is switched on, and the pump "
    "interrogated.",
    expected="It asks for the open operation and tells that it was applied; the pump has applied it once.",
    sources=(trust("5.4 (journal)"), itp("12 (The programmer's duty)")),
    claims=(*_CHANGE, "restart"),
)
async def _p35_power_cut(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    await bench.act(ActKind.CONFIRM_AND_POWER_CUT)
    if not bench.sent("Commit"):
        bench.record.conclude("the power was cut before COMMIT was sent")
        bench.expect_applied(0, _PROGRAM)
        return
    await bench.interrogate()
    asked = bench.sent("Query")
    bench.expect(asked > 0, "the open operation is asked for", f"{asked} queries")
    await _found_out(bench, _PROGRAM, 1)


@PROGRAMMER.step(
    "P-36",
    group="outcomes",
    title="Sends no other change while one is unknown",
    purpose="A second change upon an unknown first one is built on sand.",
    stimulus="After a lost verdict all verdicts stay lost; the operator enters another rate and confirms.",
    expected="No second COMMIT is sent; the pump has applied one change; the screen says why.",
    sources=(trust("5.4"), trust("5.12 (uncertain delivery)")),
    claims=_CHANGE,
)
async def _p36_blocks_meanwhile(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@tx/VerdictReport", "every verdict of the pump is lost, for good")
    await bench.confirm()
    await bench.act(ActKind.SET_RATE, "0.180 ml/day")
    await bench.confirm()
    bench.expect_applied(1, _PROGRAM)
    said = f"{await bench.show(Field.REASON)}{await bench.show(Field.OPEN_OPERATIONS)}"
    bench.expect(bool(said), "the screen says why nothing goes out", said or "nothing")


@PROGRAMMER.step(
    "P-37",
    group="outcomes",
    title="Keeps an unknown outcome in sight",
    purpose="Unknown that scrolls away becomes forgotten.",
    stimulus="The link goes dead after COMMIT has reached the pump; the operator tries to interrogate in vain.",
    expected="The open operation, or the word for unknown, still stands there.",
    sources=(trust("5.11 (uncertain is a condition)"), trust("5.1")),
    claims=_CHANGE,
)
async def _p37_keeps_unknown(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@tx", "nothing comes back from the pump any more")
    await bench.confirm()
    await bench.interrogate()
    result, text = await bench.result(), await bench.show(Field.OPEN_OPERATIONS)
    observed = f"{result} {text}".strip() or "nothing"
    bench.expect(result == UNKNOWN or bool(text), "the unknown outcome still stands there", observed)


@PROGRAMMER.step(
    "P-38",
    group="outcomes",
    title="A switched-off programmer still knows what it does not know",
    purpose="The next shift switches on a tablet and sees no open question.",
    stimulus="After a lost verdict the programmer is switched off and on; the link is sound; the pump is interrogated.",
    expected="It asks for the open operation and tells its outcome; the pump has applied it once.",
    sources=(trust("5.4 (journal)"), trust("5.1")),
    claims=(*_CHANGE, "restart"),
)
async def _p38_restarts(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.bedside.disturb("drop@tx", "nothing comes back from the pump any more")
    await bench.confirm()
    await bench.act(ActKind.RESTART)
    bench.bedside.calm()
    before = bench.sent("Query")
    await bench.interrogate()
    asked = bench.sent("Query") - before
    bench.expect(asked > 0, "the open operation is asked for", f"{asked} queries")
    await _found_out(bench, _PROGRAM, 1)

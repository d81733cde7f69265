"""P-80 to P-88: dead, bad and busy links; giving up, and giving the pump free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.bench import APPLIED
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.conform.screen_text import Kind, says
from telemetry.errors import LinkError

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_READ = ("read",)
_CHANGE = ("read", "change")


async def _gives_up(bench: Bench, what: str) -> None:
    """An act that began at ``began`` has ended within the claim, and the screen says something."""
    began_ms = bench.now_ms()
    answer = await bench.interrogate()
    bench.record.measure(f"gave up after ({what})", "ms", [bench.now_ms() - began_ms], limit=bench.limits.give_up_ms)
    said = answer.text or await bench.show(Field.CONTACT) or await bench.show(Field.REASON)
    bench.expect(bool(said), f"the screen says that nothing could be read ({what})", said or "nothing")


@PROGRAMMER.step(
    "P-80",
    group="links",
    title="Gives up on a dead link, in time, and says so",
    purpose="A screen that waits for ever is a screen that says nothing.",
    stimulus="No frame passes, either way; the operator interrogates.",
    expected="Within the claimed time the act has ended, and the screen says that nothing could be read.",
    sources=(trust("4.5"), domain("5.2 (loss of wireless signal)")),
    claims=_READ,
)
async def _p80_gives_up(bench: Bench) -> None:
    bench.bedside.dead_link()
    await _gives_up(bench, "nothing passes")


@PROGRAMMER.step(
    "P-81",
    group="links",
    title="Gives up when the pump is silent",
    purpose="The telemeter answers and the pump does not: half a link is none.",
    stimulus="Every frame of the pump is lost, those of the telemeter pass; the operator interrogates.",
    expected="Within the claimed time the act has ended, and the screen says that nothing could be read.",
    sources=(trust("4.5"), domain("6")),
    claims=_READ,
)
async def _p81_gives_up_on_pump(bench: Bench) -> None:
    for name in ("BEACON", "ACCEPT", "RSP"):
        bench.bedside.disturb(f"drop@tx/{name}", f"every {name} of the pump is lost")
    await _gives_up(bench, "the pump is silent")


@PROGRAMMER.step(
    "P-82",
    group="links",
    title="Gives up in the middle of a change, before COMMIT, and says that nothing happened",
    purpose="What was never sent is certain, and is to be told as such.",
    stimulus="After the interrogation the link goes dead; the operator enters 0.190 ml/day.",
    expected="Within the claimed time the act has ended; not as applied; the pump is unchanged.",
    sources=(trust("5.1"), itp("12")),
    claims=_CHANGE,
)
async def _p82_gives_up_in_change(bench: Bench) -> None:
    before = bench.status
    await bench.interrogate()
    bench.bedside.dead_link()
    began_ms = bench.now_ms()
    await bench.act(ActKind.SET_RATE, "0.190 ml/day")
    bench.record.measure("gave up after", "ms", [bench.now_ms() - began_ms], limit=bench.limits.give_up_ms)
    result = await bench.result()
    bench.expect(result != APPLIED, "not the word for applied", result or "nothing")
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-83",
    group="links",
    title="Works again when the link is sound again",
    purpose="A programmer that needs a restart after each lost contact is not at hand when it is needed.",
    stimulus="An interrogation fails on a dead link; the link is sound again; the operator interrogates.",
    expected="The dose stands there, and not as out of date.",
    sources=(domain("6"), trust("4.5")),
    claims=_READ,
)
async def _p83_comes_back(bench: Bench) -> None:
    bench.bedside.dead_link()
    await bench.interrogate()
    bench.bedside.calm()
    await bench.interrogate()
    text = await bench.show(Field.DOSE)
    bench.expect_quantity(text, Kind.DAILY_DOSE, bench.status.dose_ng_per_day, "the dose")
    bench.expect(not says(text, *bench.words.stale), "no mark of values that are out of date", text)


@PROGRAMMER.step(
    "P-84",
    group="links",
    title="Shows right values over a bad link, or none",
    purpose="Noise may cost time, never a digit.",
    stimulus="One frame in five is lost, one in five damaged, one in ten doubled; the operator interrogates five "
    "times.",
    expected="Rate and dose stand there as the pump says them, or the screen says that nothing could be read.",
    sources=(trust("4.2"), trust("4.5"), domain("10 (13)")),
    claims=_READ,
)
async def _p84_bad_link(bench: Bench) -> None:
    bench.bedside.disturb("drop:0.2", "one frame in five is lost")
    bench.bedside.disturb("corrupt:0.2:3", "one frame in five is damaged")
    bench.bedside.disturb("duplicate:0.1", "one frame in ten comes twice")
    shown = 0
    for _ in range(5):
        await bench.interrogate()
        text = await bench.show(Field.DOSE)
        if text:
            bench.expect_quantity(text, Kind.DAILY_DOSE, bench.status.dose_ng_per_day, "the dose")
            shown += 1
    bench.record.conclude(f"a dose stood there {shown} times of 5")


@PROGRAMMER.step(
    "P-85",
    group="links",
    title="Says that the pump is in use by somebody else",
    purpose="Busy is no fault of the pump, and is over soon; a person must know which.",
    stimulus="Another programmer holds a session with the pump; the operator interrogates.",
    expected="Within the claimed time the act has ended and the screen says something; the other's session lives on.",
    sources=(itp("6 (Session rules)"), domain("10 (15)")),
    claims=_READ,
)
async def _p85_busy(bench: Bench) -> None:
    async with bench.bedside.rival("emergency") as rival:
        await rival.read_status()
        await _gives_up(bench, "in use by another")
        await rival.read_status()
    await bench.interrogate()
    bench.expect_quantity(
        await bench.show(Field.DOSE), Kind.DAILY_DOSE, bench.status.dose_ng_per_day, "afterwards, the dose"
    )


@PROGRAMMER.step(
    "P-86",
    group="links",
    title="Does not hold the pump while it only looks",
    purpose="A tablet that is left lying must not lock out the one that is needed.",
    stimulus="After an interrogation nobody touches the programmer; another one wants the pump.",
    expected="Within two of its claimed intervals the other gets its session.",
    sources=(itp("6 (Session rules)"), domain("10 (27)")),
    claims=("read", "follow"),
)
async def _p86_lets_others_in(bench: Bench) -> None:
    await bench.interrogate()
    await bench.wait(2 * bench.limits.poll_interval_ms)
    reason = await _other_gets_in(bench)
    bench.expect(not reason, "another programmer gets a session", reason or "it did")


@PROGRAMMER.step(
    "P-87",
    group="links",
    title="Gives the pump free when the work is ended",
    purpose="The session ends with the visit, not half a minute later.",
    stimulus="The operator ends the work with the pump in the middle of a review; another programmer wants it.",
    expected="The other gets its session at once; nothing was changed.",
    sources=(itp("6 (Session rules)"), trust("4.7")),
    claims=_CHANGE,
)
async def _p87_leaves(bench: Bench) -> None:
    before = bench.status
    await bench.change("0.190 ml/day")
    await bench.act(ActKind.LEAVE)
    reason = await _other_gets_in(bench)
    bench.expect(not reason, "another programmer gets a session at once", reason or "it did")
    bench.expect_unchanged(before)


async def _other_gets_in(bench: Bench) -> str:
    """Why another programmer cannot read the pump; "" when it can."""
    async with bench.bedside.rival("emergency") as rival:
        try:
            await rival.read_status()
        except LinkError as error:
            return str(error)
    return ""

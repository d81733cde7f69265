"""P-40 to P-47: boluses, primes and stops happen once, or not at all; the pump's ledger is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.bench import APPLIED, NOT_APPLIED, UNKNOWN
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.conform.screen_text import Kind, quantities
from telemetry.model import OperationKind

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_BOLUS = ("read", "change", "bolus")
_TEXT = "20 ug over 10 min"
_NG, _NL = 20_000, 10_000


async def _settled(bench: Bench, kind: OperationKind, most: int) -> None:
    """After a sound contact: given once at most, and the screen says which."""
    bench.bedside.calm()
    await bench.interrogate()
    await bench.wait(3 * bench.limits.poll_interval_ms)
    applied = len(bench.applied(kind))
    bench.expect(applied <= most, f"the pump's ledger has {most} applied {kind} at most", f"{applied}")
    result = await bench.result()
    right = APPLIED if applied else NOT_APPLIED
    bench.expect(result == right, f"the screen tells what is so: the word for {right}", result or "nothing")


@PROGRAMMER.step(
    "P-40",
    group="doses",
    title="A bolus is reviewed with dose, volume or rate, and span, and given once",
    purpose="A bolus cannot be taken back.",
    stimulus="The operator enters a bolus of 20 µg over 10 min, reviews, and confirms.",
    expected="The review shows 20 µg (or 0.010 ml) with its unit; nothing is committed before; the ledger has one "
    "bolus.",
    sources=(domain("2.3"), trust("5.2")),
    claims=_BOLUS,
)
async def _p40_bolus(bench: Bench) -> None:
    await bench.change(_TEXT, ActKind.BOLUS)
    after = await bench.show(Field.AFTER)
    named = [one for one in quantities(after, Kind.DOSE) if one.is_exactly(_NG)]
    named += [one for one in quantities(after, Kind.VOLUME) if one.is_exactly(_NL)]
    bench.expect(bool(named), "the review names 20 µg, or 0.010 ml, with its unit", after or "nothing")
    bench.expect_no_commit("before the confirmation")
    await bench.confirm()
    bench.expect_applied(1, OperationKind.BOLUS)
    result = await bench.result()
    bench.expect(result == APPLIED, "the word for applied", result or "nothing")
    given = bench.pump.delivery.activity_volume_nl
    bench.expect(given == _NL, "the pump gives 0.010 ml", f"{given} nl")


@PROGRAMMER.step(
    "P-41",
    group="doses",
    title="Never repeats a bolus whose verdict was lost",
    purpose="Remote requests that were answered with failure and had all been delivered added up to an overdose.",
    stimulus="The pump gives the bolus; its verdict is lost each time; later the link is sound.",
    expected="One bolus in the ledger; first the word for unknown, then for applied.",
    sources=(trust("5.12 (repeated requests)"), trust("5.4"), domain("5.2 (too many boluses)")),
    claims=_BOLUS,
)
async def _p41_bolus_verdict_lost(bench: Bench) -> None:
    await bench.change(_TEXT, ActKind.BOLUS)
    bench.bedside.disturb("drop@tx/VerdictReport", "every verdict of the pump is lost")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result == UNKNOWN, "the word for unknown, since no verdict has come", result or "nothing")
    bench.expect_applied(1, OperationKind.BOLUS)
    await _settled(bench, OperationKind.BOLUS, 1)


@PROGRAMMER.step(
    "P-42",
    group="doses",
    title="Never repeats a bolus by itself when COMMIT was lost",
    purpose="What did not happen may be asked for again, by a person, and by nobody else.",
    stimulus="Every COMMIT is lost before the pump; later the link is sound and the pump interrogated.",
    expected="No bolus in the ledger, and none comes later; the word for not applied after the interrogation.",
    sources=(trust("5.4"), itp("12")),
    claims=_BOLUS,
)
async def _p42_bolus_commit_lost(bench: Bench) -> None:
    await bench.change(_TEXT, ActKind.BOLUS)
    bench.bedside.disturb("drop@rx/Commit", "every COMMIT is lost before the pump")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result in {UNKNOWN, NOT_APPLIED}, "the word for unknown, or for not applied", result or "nothing")
    await _settled(bench, OperationKind.BOLUS, 0)


@PROGRAMMER.step(
    "P-43",
    group="doses",
    title="A power cut in a bolus gives no second one",
    purpose="As P-35, where it hurts.",
    stimulus="The operator confirms a bolus and cuts the programmer's power at once; it is switched on again.",
    expected="One bolus in the ledger at most, after an interrogation and a while; the screen tells what is so.",
    sources=(trust("5.4 (journal)"), domain("5.2 (too many boluses)")),
    claims=(*_BOLUS, "restart"),
)
async def _p43_bolus_power_cut(bench: Bench) -> None:
    await bench.change(_TEXT, ActKind.BOLUS)
    await bench.act(ActKind.CONFIRM_AND_POWER_CUT)
    if bench.sent("Commit"):
        await _settled(bench, OperationKind.BOLUS, 1)
    bench.expect(len(bench.applied(OperationKind.BOLUS)) <= 1, "one bolus at most", f"{len(bench.applied())}")


@PROGRAMMER.step(
    "P-44",
    group="doses",
    title="A bad link gives one bolus",
    purpose="Repeats of the link must never become repeats of a dose.",
    stimulus="Three frames in ten are lost, one in ten comes twice, while a bolus is entered and confirmed.",
    expected="One bolus in the ledger at most; after a sound interrogation the screen tells what is so.",
    sources=(trust("4.5"), domain("10 (14)")),
    claims=_BOLUS,
)
async def _p44_bolus_on_bad_link(bench: Bench) -> None:
    await bench.interrogate()
    bench.bedside.disturb("drop:0.3", "three frames in ten are lost")
    bench.bedside.disturb("duplicate:0.1", "one frame in ten comes twice")
    await bench.act(ActKind.BOLUS, _TEXT)
    await bench.confirm()
    bench.bedside.calm()
    await bench.interrogate()
    applied = len(bench.applied(OperationKind.BOLUS))
    bench.expect(applied <= 1, "one bolus in the ledger at most", f"{applied}")
    result = await bench.result()
    bench.expect((result == APPLIED) == bool(applied), "the screen tells what is so", f"{result}; {applied} applied")


@PROGRAMMER.step(
    "P-45",
    group="doses",
    title="Never repeats a prime",
    purpose="A prime fills the catheter; a second one goes into the patient.",
    stimulus="A prime of 0.100 ml is confirmed; the pump's verdict is lost each time; later the link is sound.",
    expected="One prime in the ledger; the screen tells at last that it was applied.",
    sources=(domain("2.7"), trust("5.12 (priming volume)")),
    claims=("read", "change", "prime"),
)
async def _p45_prime_once(bench: Bench) -> None:
    await bench.change("0.100 ml", ActKind.PRIME)
    bench.bedside.disturb("drop@tx/VerdictReport", "every verdict of the pump is lost")
    await bench.confirm()
    bench.expect_applied(1, OperationKind.PRIME)
    await _settled(bench, OperationKind.PRIME, 1)


@PROGRAMMER.step(
    "P-46",
    group="doses",
    title="Stops the pump at once",
    purpose="Stopping is what is left when everything else has gone wrong.",
    stimulus="The operator stops the pump.",
    expected="The pump is stopped; the screen says so; no review stood in between.",
    sources=(trust("4.13"), domain("2.6"), itp("12 (Stop)")),
    claims=("read", "stop"),
)
async def _p46_stops(bench: Bench) -> None:
    await bench.interrogate()
    await bench.act(ActKind.STOP)
    mode = bench.status.mode.value
    bench.expect(mode == "stopped", "the pump is stopped", mode)
    bench.expect_says(await bench.show(Field.MODE), bench.words.stopped, "the mode of a stopped pump")


@PROGRAMMER.step(
    "P-47",
    group="doses",
    title="Stops the pump while a change is unknown",
    purpose="Nothing may keep a stop from going out.",
    stimulus="A bolus is confirmed and no verdict comes back, neither then nor when it is asked for; the operator "
    "stops.",
    expected="The pump is stopped.",
    sources=(trust("5.2 (Stop)"), trust("4.13"), itp("12 (Stop)")),
    claims=(*_BOLUS, "stop"),
)
async def _p47_stops_whatever(bench: Bench) -> None:
    await bench.change(_TEXT, ActKind.BOLUS)
    bench.bedside.disturb("drop@tx/VerdictReport*12", "the next twelve verdicts of the pump are lost")
    await bench.confirm()
    await bench.act(ActKind.STOP)
    mode = bench.status.mode.value
    bench.expect(mode == "stopped", "the pump is stopped", mode)
    bench.expect_applied(1, OperationKind.BOLUS)

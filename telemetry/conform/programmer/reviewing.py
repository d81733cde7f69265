"""P-20 to P-29: what a person reviews before a change, and that nothing happens without it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.bench import APPLIED
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.conform.screen_text import Kind
from telemetry.model import OperationKind
from telemetry.therapy import Program, Therapy
from telemetry.units import Concentration, FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench
    from telemetry.protocol.orders import Order

_CHANGE = ("read", "change")


def _tenth_more(order: Order) -> Order:
    """A constant program at 11/10 of what was sent: plausible, and wrong."""
    if not isinstance(order, Program) or order.steps or order.bolus is not None:
        return order
    return replace(
        order, rate_nl_per_day=order.rate_nl_per_day * 11 // 10, dose_ng_per_day=order.dose_ng_per_day * 11 // 10
    )


@PROGRAMMER.step(
    "P-20",
    group="review",
    title="Shows before and after, side by side",
    purpose="A person sees a wrong number beside the right one.",
    stimulus="The pump delivers 0.170 ml/day; the operator enters 0.190 ml/day.",
    expected="The review shows 340 µg/day (0.170 ml/day) as before and 380 µg/day (0.190 ml/day) as after, with units.",
    sources=(trust("5.2"), domain("5.2 (wrong rate)")),
    claims=_CHANGE,
)
async def _p20_before_and_after(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.expect_therapy(await bench.show(Field.BEFORE), "before", rate=170_000, dose=340_000)
    bench.expect_therapy(await bench.show(Field.AFTER), "after", rate=190_000, dose=380_000)
    await bench.act(ActKind.CANCEL)


@PROGRAMMER.step(
    "P-21",
    group="review",
    title="Commits nothing before the person confirms",
    purpose="A change that goes out while it is being read is not reviewed.",
    stimulus="The operator enters 0.190 ml/day, goes as far as the review, and leaves it standing for 5 s.",
    expected="No COMMIT is sent; the pump is unchanged.",
    sources=(trust("5.2"), itp("12")),
    claims=_CHANGE,
)
async def _p21_no_commit_before(bench: Bench) -> None:
    before = bench.status
    await bench.change("0.190 ml/day")
    bench.expect_no_commit("before the confirmation")
    await bench.wait(5_000)
    bench.expect_no_commit("before the confirmation")
    bench.expect_unchanged(before)
    await bench.act(ActKind.CANCEL)


@PROGRAMMER.step(
    "P-22",
    group="review",
    title="Leaving the review changes nothing",
    purpose="No is an answer.",
    stimulus="The operator enters 0.190 ml/day, goes as far as the review, and leaves it.",
    expected="No COMMIT is sent; the pump is unchanged; the screen does not say that it was applied.",
    sources=(trust("5.2"), itp("12 (Query and Abort)")),
    claims=_CHANGE,
)
async def _p22_cancels(bench: Bench) -> None:
    before = bench.status
    await bench.change("0.190 ml/day")
    await bench.act(ActKind.CANCEL)
    bench.expect_no_commit("after the review was left")
    bench.expect_unchanged(before)
    result = await bench.result()
    bench.expect(result != APPLIED, "the screen does not say that it was applied", result or "nothing")


@PROGRAMMER.step(
    "P-23",
    group="review",
    title="Commits nothing that the pump reads back differently",
    purpose="What was sent is what a programmer wanted; what was read back is what the pump will do.",
    stimulus="The pump understands, stages and honestly reads back a rate 10 % above the one that was sent.",
    expected="The programmer does not commit it and says so; the pump is unchanged.",
    sources=(trust("5.2"), domain("5.2 (corrupted command)"), itp("12")),
    claims=_CHANGE,
)
async def _p23_holds_the_read_back(bench: Bench) -> None:
    before = bench.status
    bench.bedside.misread(
        _tenth_more, "the pump understands a rate 10 % above the one that is sent, and reads that back"
    )
    await bench.change("0.180 ml/day")
    await bench.confirm()
    bench.expect_no_commit("for a read-back that is not what was asked for")
    bench.expect_unchanged(before)
    result = await bench.result()
    bench.expect(result != APPLIED, "the screen does not say that it was applied", result or "nothing")


@PROGRAMMER.step(
    "P-24",
    group="review",
    title="Never shows the request in place of the read-back",
    purpose="A screen that repeats what was typed confirms the typing.",
    stimulus="The pump understands, stages and honestly reads back a rate 10 % above the one that was sent.",
    expected="The review does not stand there with the rate that was typed as what will be.",
    sources=(trust("5.2"), trust("5.12 (priming volume)")),
    claims=_CHANGE,
)
async def _p24_shows_the_read_back(bench: Bench) -> None:
    bench.bedside.misread(
        _tenth_more, "the pump understands a rate 10 % above the one that is sent, and reads that back"
    )
    await bench.change("0.180 ml/day")
    after = await bench.show(Field.AFTER)
    if not after:
        bench.expect_no_commit("where no review comes up")
    else:
        bench.expect_therapy(after, "after, as the pump read it back", rate=198_000, dose=396_000)
    await bench.act(ActKind.CANCEL)


@PROGRAMMER.step(
    "P-25",
    group="review",
    title="Commits nothing against a therapy that somebody else has changed meanwhile",
    purpose="The person approved a step from the old therapy, not from one that was never shown.",
    stimulus="While the review stands, another programmer sets 0.150 ml/day; then the operator confirms.",
    expected="The pump keeps the other's 0.150 ml/day, or takes the new rate after a new review that shows it as "
    "before.",
    sources=(trust("5.2 (base_changed)"), domain("4 F30 (second tablet)")),
    claims=_CHANGE,
)
async def _p25_stale_base(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("0.150 ml/day")))
    await bench.confirm()
    again, rate = await bench.show(Field.BEFORE), bench.status.rate_nl_per_day
    bench.expect(
        rate == 150_000 or "0.150" in again or "300" in again,
        "the pump goes on with what the other programmer has set: 0.150 ml/day",
        f"{FlowRate(rate)}",
    )
    result = await bench.result()
    bench.expect(result != APPLIED or rate == 190_000, "the screen tells what is so", result or "nothing")


@PROGRAMMER.step(
    "P-26",
    group="review",
    title="A review that has stood too long is not simply committed",
    purpose="A proposal lives for a minute; after that the pump knows nothing of it, and the screen must not pretend.",
    stimulus="The review stands for 70 s; then the operator confirms, and confirms again if he is asked again.",
    expected="It ends as applied or not applied; the pump agrees, and has applied it once at most.",
    sources=(trust("4.7"), itp("12")),
    claims=_CHANGE,
)
async def _p26_expired_review(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    await bench.wait(70_000)
    await bench.confirm()
    result = await bench.result()
    if not result:
        await bench.confirm()
        result = await bench.result()
    applied = len(bench.applied())
    bench.expect(applied <= 1, "it is applied once at most", f"{applied} times")
    bench.expect(
        (result == APPLIED) == (applied == 1), "the screen tells what is so", f"{result}; applied {applied} times"
    )


@PROGRAMMER.step(
    "P-27",
    group="review",
    title="Applies what was reviewed, and says so in one word",
    purpose="The plain case, to the end: word, pump and screen agree.",
    stimulus="The operator enters 0.190 ml/day, reviews, and confirms.",
    expected="The word for applied; the pump delivers 0.190 ml/day; rate and dose on the screen are the new ones.",
    sources=(trust("5.1"), itp("12")),
    claims=_CHANGE,
)
async def _p27_applies(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    await bench.confirm()
    result = await bench.result()
    bench.expect(result == APPLIED, "the word for applied", result or "nothing")
    bench.expect_applied(1, OperationKind.PROGRAM)
    rate = bench.status.rate_nl_per_day
    bench.expect(rate == 190_000, "the pump delivers 0.190 ml/day", str(FlowRate(rate)))
    bench.expect_quantity(await bench.show(Field.RATE), Kind.FLOW, 190_000, "the rate afterwards")
    bench.expect_quantity(await bench.show(Field.DOSE), Kind.DAILY_DOSE, 380_000, "the dose afterwards")


@PROGRAMMER.step(
    "P-28",
    group="review",
    title="A clock setting is reviewed and applied",
    purpose="A schedule moves with the clock; the setting is a change like any other.",
    stimulus="The operator enters 2026-05-04 13:37:00 UTC, reviews, and confirms.",
    expected="The pump's clock is set, once, after the confirmation.",
    sources=(trust("5.9"), domain("4 F27")),
    claims=(*_CHANGE, "set_clock"),
)
async def _p28_sets_clock(bench: Bench) -> None:
    await bench.change("2026-05-04 13:37:00", ActKind.SET_CLOCK)
    bench.expect_no_commit("before the confirmation")
    await bench.confirm()
    bench.expect_applied(1, OperationKind.CLOCK)
    off_s = abs(bench.status.clock_utc_s - 1_777_901_820)
    bench.expect(off_s <= 60, "the pump's clock is what was entered, to a minute", f"off by {off_s} s")


@PROGRAMMER.step(
    "P-29",
    group="review",
    title="A refill is read back with drug, program and bridge",
    purpose="Another concentration makes every rate another dose, and the old drug in the catheter runs first.",
    stimulus="40 ml of 500 µg/ml after 2000 µg/ml, at the old dose of 340 µg/day, is told to the pump.",
    expected="The review shows the new concentration and says that a bridge runs; applied once, after the "
    "confirmation.",
    sources=(domain("2.7"), domain("2.9"), trust("5.8")),
    claims=(*_CHANGE, "refill"),
)
async def _p29_refills(bench: Bench) -> None:
    drug = Concentration.parse("500 ug/ml")
    withdrawn = bench.pump.withdraw()
    bench.pump.fill(Volume.parse("40 ml"), drug)
    text = f"volume: 40 ml\nwithdrawn: {withdrawn}\nconcentration: 500 ug/ml\ndose: 340 ug/day"
    await bench.change(text, ActKind.REFILL)
    after = await bench.show(Field.AFTER)
    bench.expect("500" in after, "the review names the new concentration", after or "nothing")
    bench.expect_says(after, ("bridge",), "the review says that a bridge runs")
    bench.expect_no_commit("before the confirmation")
    await bench.confirm()
    bench.expect_applied(1, OperationKind.REFILL)
    held = bench.status.concentration_ng_per_ml
    bench.expect(held == drug.ng_per_ml, f"the pump counts with {drug}", str(Concentration(held)))

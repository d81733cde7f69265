"""P-60 to P-67: units are named, none is taken for another, and nothing is rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, AnswerKind, Field
from telemetry.conform.programmer.bench import APPLIED
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, trust
from telemetry.conform.screen_text import Kind, numbers
from telemetry.therapy import Therapy
from telemetry.units import Concentration, DailyDose, FlowRate

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_CHANGE = ("read", "change")


async def _entered(bench: Bench, text: str, *, rate: int, dose: int) -> None:
    """What was entered ends as this rate and dose, or is refused by the programmer; it is nothing else, ever."""
    before = bench.status
    answer = await bench.change(text)
    after = await bench.show(Field.AFTER)
    if not after and await bench.show(Field.WARNINGS):
        await bench.act(ActKind.ACCEPT)
        after = await bench.show(Field.AFTER)
    if answer.kind is AnswerKind.REFUSED or not after:
        bench.record.conclude(f"{text} is not taken: {answer.text}")
        bench.expect_unchanged(before)
        return
    bench.expect_therapy(after, f"the review of {text}", rate=rate, dose=dose)
    await bench.confirm()
    result, now = await bench.result(), bench.status
    got = (now.rate_nl_per_day, now.dose_ng_per_day) if result == APPLIED else (rate, dose)
    bench.expect(
        got == (rate, dose),
        f"{text} is {FlowRate(rate)} = {DailyDose(dose)} in the pump, or is not taken",
        f"{FlowRate(got[0])} = {DailyDose(got[1])}",
    )
    if result != APPLIED:
        bench.expect_unchanged(before)


def _lay_fast(bench: Bench) -> None:
    """A pump at which a 24th of the dose is inside every hard limit too: what is misread is given, not refused."""
    bench.lay(concentration=Concentration.parse("500 ug/ml"))
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("1.800 ml/day")))


@PROGRAMMER.step(
    "P-60",
    group="units",
    title="Names the unit of every number that is a quantity",
    purpose="“60” was read as per hour and meant per day.",
    stimulus="The pump is interrogated, and a change is brought as far as the review.",
    expected="Rate, dose, concentration, reservoir, battery, before and after: no number stands there without its "
    "unit.",
    sources=(trust("5.8"), domain("0 (7)"), domain("5.2 (mode misread)")),
    claims=_CHANGE,
)
async def _p60_names_units(bench: Bench) -> None:
    await bench.change("0.190 ml/day")
    for field in (Field.RATE, Field.DOSE, Field.CONCENTRATION, Field.RESERVOIR, Field.BATTERY):
        text = await bench.show(field)
        named = [one for one in numbers(text) if one.kind is not None]
        bench.expect(bool(named) or not text, f"{field}: a number with its unit", text or "nothing")
    for field in (Field.BEFORE, Field.AFTER):
        text = await bench.show(field)
        named = [one for one in numbers(text) if one.kind in {Kind.FLOW, Kind.DAILY_DOSE, Kind.HOURLY_DOSE}]
        bench.expect(bool(named), f"{field}: a rate or a dose with its unit", text or "nothing")
    await bench.act(ActKind.CANCEL)


@PROGRAMMER.step(
    "P-61",
    group="units",
    title="Takes a flow per hour for what it is",
    purpose="Hour for day is a factor of 24.",
    stimulus="At a pump with 500 µg/ml that runs at 1.800 ml/day the operator enters 0.080 ml/h, 1.920 ml/day.",
    expected="1.920 ml/day in review and pump, or it is not taken; never anything else.",
    sources=(domain("4 F11"), trust("5.8")),
    claims=_CHANGE,
)
async def _p61_flow_per_hour(bench: Bench) -> None:
    _lay_fast(bench)  # so that 0.080 ml/day would be taken by the pump as well, if with a warning
    await _entered(bench, "0.080 ml/h", rate=1_920_000, dose=960_000)


@PROGRAMMER.step(
    "P-62",
    group="units",
    title="Takes a dose per hour for what it is",
    purpose="60 µg per day became 60 µg per hour.",
    stimulus="At a pump with 500 µg/ml that runs at 900 µg/day the operator enters 40 µg/h, which is 960 µg/day.",
    expected="960 µg/day in review and pump, or it is not taken; never anything else.",
    sources=(domain("4 F11"), trust("5.8 ([R37])")),
    claims=_CHANGE,
)
async def _p62_dose_per_hour(bench: Bench) -> None:
    _lay_fast(bench)
    await _entered(bench, "40 ug/h", rate=1_920_000, dose=960_000)


@PROGRAMMER.step(
    "P-63",
    group="units",
    title="Takes milligrams for what they are",
    purpose="A µg for a mg is a factor of 1000.",
    stimulus="The operator enters 0.36 mg/day, which is 360 µg/day.",
    expected="360 µg/day in review and pump, or it is not taken; never anything else.",
    sources=(domain("2.2"), trust("5.8")),
    claims=_CHANGE,
)
async def _p63_milligrams(bench: Bench) -> None:
    await _entered(bench, "0.36 mg/day", rate=180_000, dose=360_000)


@PROGRAMMER.step(
    "P-64",
    group="units",
    title="Takes a daily dose at this pump's concentration",
    purpose="A dose is a flow only with the concentration that is in the reservoir.",
    stimulus="At a pump with 500 µg/ml the operator enters 100 µg/day, which is 0.200 ml/day there.",
    expected="0.200 ml/day and 100 µg/day in review and pump, or it is not taken; never anything else.",
    sources=(domain("2.2"), domain("4 F10")),
    claims=_CHANGE,
)
async def _p64_dose_at_concentration(bench: Bench) -> None:
    bench.lay(concentration=Concentration.parse("500 ug/ml"))
    await _entered(bench, "100 ug/day", rate=200_000, dose=100_000)


@PROGRAMMER.step(
    "P-65",
    group="units",
    title="Rounds no rate",
    purpose="What is rounded is another therapy than the one that was prescribed.",
    stimulus="The operator enters 0.180375 ml/day, which the pump can carry out exactly.",
    expected="The review shows 0.180375 ml/day (or 360.75 µg/day) to the last digit, and so does the pump; or it "
    "is not taken.",
    sources=(domain("2.2"), trust("5.8")),
    claims=_CHANGE,
)
async def _p65_rounds_no_rate(bench: Bench) -> None:
    before = bench.status
    answer = await bench.change("0.180375 ml/day")
    after = await bench.show(Field.AFTER)
    if answer.kind is AnswerKind.REFUSED or not after:
        bench.record.conclude(f"it is not taken: {answer.text}")
        bench.expect_unchanged(before)
        return
    bench.expect_therapy(after, "the review, exactly", rate=180_375, dose=360_750, exact=True)
    await bench.confirm()
    if await bench.result() == APPLIED:
        rate = bench.status.rate_nl_per_day
        bench.expect(rate == 180_375, "the pump delivers 0.180375 ml/day", str(FlowRate(rate)))
    else:
        bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-66",
    group="units",
    title="Rounds no dose, or shows it as it will be",
    purpose="A dose that does not fit the pump's steps is told beforehand, not found out afterwards.",
    stimulus="The operator enters 361.235 µg/day, which at 2000 µg/ml is no whole number of the pump's steps of flow.",
    expected="What the review shows is to the last digit what the pump does afterwards; or it is not taken.",
    sources=(domain("2.2"), trust("5.8")),
    claims=_CHANGE,
)
async def _p66_rounds_no_dose(bench: Bench) -> None:
    before = bench.status
    answer = await bench.change("361.235 ug/day")
    after = await bench.show(Field.AFTER)
    if answer.kind is AnswerKind.REFUSED or not after:
        bench.record.conclude(f"it is not taken: {answer.text}")
        bench.expect_unchanged(before)
        return
    await bench.confirm()
    if await bench.result() != APPLIED:
        bench.expect_unchanged(before)
        return
    now = bench.status
    bench.expect_therapy(
        after,
        "the review, exactly as the pump does it now",
        rate=now.rate_nl_per_day,
        dose=now.dose_ng_per_day,
        exact=True,
    )
    bench.expect(
        360_000 < now.dose_ng_per_day <= 361_235,
        "the dose is 361.235 µg/day, or less by less than a step",
        str(DailyDose(now.dose_ng_per_day)),
    )


@PROGRAMMER.step(
    "P-67",
    group="units",
    title="Takes no number without a unit",
    purpose="A number that is taken in the unit of the last field is a guess.",
    stimulus="The operator enters 190, and nothing behind it, where the equipment lets him.",
    expected="It is not taken; or a unit stands beside it in the review, and what is confirmed is that and "
    "nothing else.",
    sources=(trust("5.8 (mandatory unit)"),),
    claims=_CHANGE,
)
async def _p67_unit_needed(bench: Bench) -> None:
    before = bench.status
    answer = await bench.change("190")
    after = await bench.show(Field.AFTER)
    if answer.kind is AnswerKind.REFUSED or not after:
        bench.expect_unchanged(before)
        return
    named = [one for one in numbers(after) if one.kind in {Kind.FLOW, Kind.DAILY_DOSE, Kind.HOURLY_DOSE}]
    bench.expect(bool(named), "the review names the unit", after)
    await bench.act(ActKind.CANCEL)

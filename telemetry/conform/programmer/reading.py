"""P-01 to P-19: what a programmer reads and shows, of which pump, and for how long it holds."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.own_screen import instant
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.conform.screen_text import Kind, says
from telemetry.model import StopReason
from telemetry.units import Concentration, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_READ = ("read",)


@PROGRAMMER.step(
    "P-01",
    group="reading",
    title="Interrogates the pump",
    purpose="Everything else rests on a reading that the pump itself has answered.",
    stimulus="A pump in its usual state lies under the telemeter; the operator interrogates it.",
    expected="The programmer opens a session and asks for the status; the screen shows the mode.",
    sources=(itp("6"), domain("10 (22)")),
    claims=_READ,
)
async def _p01_interrogates(bench: Bench) -> None:
    await bench.interrogate()
    asked = bench.sent("ReadStatus")
    bench.expect(asked > 0, "the status is asked for in a session", f"{asked} requests for the status")
    mode = await bench.show(Field.MODE)
    bench.expect(bool(mode), "the screen shows a mode", mode or "nothing")
    bench.record.conclude(f"asked {asked} times for the status; mode: {mode}")


@PROGRAMMER.step(
    "P-02",
    group="reading",
    title="Shows the rate, with its unit",
    purpose="A rate without its unit is read in the reader's own: a field error took one per hour for one per day.",
    stimulus="The pump delivers 0.170 ml/day.",
    expected="The rate stands there as the pump says it, with its unit.",
    sources=(domain("2.2"), trust("5.8")),
    claims=_READ,
)
async def _p02_shows_rate(bench: Bench) -> None:
    await bench.interrogate()
    bench.expect_quantity(await bench.show(Field.RATE), Kind.FLOW, bench.status.rate_nl_per_day, "the rate")


@PROGRAMMER.step(
    "P-03",
    group="reading",
    title="Shows the daily dose, with its unit",
    purpose="The dose is what the patient gets; µg and mg, hour and day must not be left to memory.",
    stimulus="The pump delivers 340 µg/day.",
    expected="The dose stands there as the pump says it, per day (or per hour, and says so), with its unit.",
    sources=(domain("2.2"), trust("5.8")),
    claims=_READ,
)
async def _p03_shows_dose(bench: Bench) -> None:
    await bench.interrogate()
    bench.expect_quantity(await bench.show(Field.DOSE), Kind.DAILY_DOSE, bench.status.dose_ng_per_day, "the dose")


@PROGRAMMER.step(
    "P-04",
    group="reading",
    title="Shows the reservoir's volume, with its unit",
    purpose="The next refill is planned from it.",
    stimulus="A pump holds 23.456 ml by its own account.",
    expected="The volume stands there as the pump says it, with its unit.",
    sources=(domain("2.9"), domain("0 (1)")),
    claims=_READ,
)
async def _p04_shows_reservoir(bench: Bench) -> None:
    bench.lay(fill=Volume.parse("23.456 ml"))
    await bench.interrogate()
    bench.expect_quantity(await bench.show(Field.RESERVOIR), Kind.VOLUME, bench.status.reservoir_nl, "the reservoir")


@PROGRAMMER.step(
    "P-05",
    group="reading",
    title="Shows drug and concentration of this pump",
    purpose="Every dose is the flow times a concentration; a constant in the programmer would be wrong by that much.",
    stimulus="A pump that holds 500 µg/ml, not the usual 2000, delivers a dose at it.",
    expected="Drug and concentration stand there; rate and dose are this pump's.",
    sources=(domain("2.2"), domain("4 F10")),
    claims=_READ,
)
async def _p05_shows_concentration(bench: Bench) -> None:
    bench.lay(concentration=Concentration.parse("500 ug/ml"))
    status = bench.status
    await bench.interrogate()
    text = await bench.show(Field.CONCENTRATION)
    bench.expect_quantity(text, Kind.CONCENTRATION, status.concentration_ng_per_ml, "the concentration")
    bench.expect_says(await bench.show(Field.DRUG), (status.drug.value,), "the drug")
    bench.expect_quantity(await bench.show(Field.DOSE), Kind.DAILY_DOSE, status.dose_ng_per_day, "the dose")
    bench.expect_quantity(await bench.show(Field.RATE), Kind.FLOW, status.rate_nl_per_day, "the rate")


@PROGRAMMER.step(
    "P-06",
    group="reading",
    title="Shows the battery and the date by which the pump must be replaced",
    purpose="A battery that ends unseen ends the therapy, and withdrawal can kill.",
    stimulus="A pump of three years is interrogated.",
    expected="The charge stands there in percent and the replacement date as the pump says it.",
    sources=(domain("2.4"), domain("0 (8)")),
    claims=_READ,
)
async def _p06_shows_battery(bench: Bench) -> None:
    bench.lay(age="3 y")
    await bench.interrogate()
    status, who = bench.status, bench.pump.device.identity()
    text = await bench.show(Field.BATTERY)
    bench.expect_quantity(text, Kind.PERCENT, status.battery_percent, "the battery")
    day = instant(status.replace_by_ms, who.epoch_utc_s)
    text = await bench.show(Field.REPLACE_BY)
    held = str(day.year) in text and (f"{day.month:02}" in text or f"{day:%b}".lower() in text.lower())
    bench.expect(held, f"the replacement date, {day:%Y-%m-%d}", text or "nothing")


@PROGRAMMER.step(
    "P-07",
    group="reading",
    title="Says that a stopped pump is stopped",
    purpose="A screen that goes on showing the program of a pump that gives nothing hides a withdrawal.",
    stimulus="The pump was stopped by somebody else before it is interrogated.",
    expected="The mode says so in words; no rate other than nought stands there as the present one.",
    sources=(domain("2.6"), domain("5.2 (pause forgotten)")),
    claims=_READ,
)
async def _p07_shows_stopped(bench: Bench) -> None:
    async with bench.bedside.rival() as rival:
        await rival.stop(StopReason.CLINICAL)
    await bench.interrogate()
    bench.expect_says(await bench.show(Field.MODE), bench.words.stopped, "the mode of a stopped pump")
    rate = await bench.show(Field.RATE)
    if rate and not says(rate, *bench.words.stopped):
        bench.expect_quantity(rate, Kind.FLOW, 0, "the present rate")


@PROGRAMMER.step(
    "P-08",
    group="reading",
    title="Says that the pump is a simulated one",
    purpose="What is seen at a bench must never be taken for a patient's.",
    stimulus="The pump's telemeter and identity say that it is simulated.",
    expected="The screen says so.",
    sources=(domain("10 (33)"), trust("4.15")),
    claims=_READ,
)
async def _p08_shows_simulated(bench: Bench) -> None:
    await bench.interrogate()
    bench.expect_says(await bench.show(Field.SIMULATED), bench.words.simulated, "the mark of a test device")


@PROGRAMMER.step(
    "P-09",
    group="reading",
    title="Shows the pump's clock",
    purpose="A schedule runs by the pump's clock; one that is wrong shows only when it can be seen.",
    stimulus="The pump's clock reads 2026-05-04 13:37 UTC.",
    expected="Date, hour and minute of that clock stand there.",
    sources=(domain("4 F27"), trust("5.9")),
    claims=("read", "clock_shown"),
)
async def _p09_shows_clock(bench: Bench) -> None:
    bench.pump.set_clock(1_777_901_820)
    await bench.interrogate()
    text = await bench.show(Field.CLOCK)
    held = "2026" in text and ("13:37" in text or "13.37" in text or "1:37" in text)
    bench.expect(held, "the pump's clock, 2026-05-04 13:37 UTC", text or "nothing")


@PROGRAMMER.step(
    "P-10",
    group="reading",
    title="Shows a bolus that runs",
    purpose="Who does not see that a bolus runs gives another one.",
    stimulus="A bolus of 20 µg over 20 min was begun by somebody else.",
    expected="The screen says that a bolus runs.",
    sources=(domain("2.3"), domain("5.2 (too many boluses)")),
    claims=("read", "activity_shown"),
)
async def _p10_shows_activity(bench: Bench) -> None:
    bench.pump.bolus(Dose.parse("20 ug"), Duration.parse("20 min"))
    await bench.interrogate()
    bench.expect_says(await bench.show(Field.ACTIVITY), ("bolus",), "what runs now")


@PROGRAMMER.step(
    "P-11",
    group="reading",
    title="Reads the log without loss",
    purpose="The log is what is left of a visit; a record that is left out is a change that nobody made.",
    stimulus="The pump's log has the records of a stop and of a resume by somebody else, among others.",
    expected="Every record's event stands there, as often and in the order in which it happened.",
    sources=(domain("2.10"), trust("4.12")),
    claims=("read", "log"),
)
async def _p11_reads_log(bench: Bench) -> None:
    async with bench.bedside.rival() as rival:
        await rival.stop(StopReason.CLINICAL)
        await rival.resume()
    await bench.interrogate()
    await bench.act(ActKind.READ_LOG)
    text = await bench.show(Field.LOG)
    lines = text.splitlines()
    stops = [place for place, line in enumerate(lines) if says(line, "stopped")]
    resumes = [place for place, line in enumerate(lines) if says(line, "resumed")]
    held = len(stops) == 1 and len(resumes) == 1 and stops[0] < resumes[0]
    observed = f"{len(lines)} lines:\n{text}" if text else "nothing"
    bench.expect(held, "one record “stopped”, then one record “resumed”", observed)


@PROGRAMMER.step(
    "P-12",
    group="position",
    title="Without contact it says so and shows nothing as read",
    purpose="A telemeter that lies beside the pump must not look like a pump that is well.",
    stimulus="The telemeter is off the skin; the operator interrogates.",
    expected="The screen says why nothing could be read, within the claimed time; no rate and no dose stand there.",
    sources=(domain("6"), trust("4.7")),
    claims=_READ,
)
async def _p12_without_contact(bench: Bench) -> None:
    bench.bedside.lift()
    began_ms = bench.now_ms()
    answer = await bench.interrogate()
    bench.record.measure("gave up after", "ms", [bench.now_ms() - began_ms], limit=bench.limits.give_up_ms)
    said = answer.text or await bench.show(Field.CONTACT) or await bench.show(Field.REASON)
    bench.expect(bool(said), "the screen says that the pump is not in reach", said or "nothing")
    for field in (Field.RATE, Field.DOSE):
        text = await bench.show(field)
        bench.expect(not any(one.isdigit() for one in text), f"no value stands at {field}", text or "nothing")


@PROGRAMMER.step(
    "P-13",
    group="identity",
    title="Shows which pump has answered",
    purpose="The wrong patient's pump is found by its serial number or not at all.",
    stimulus="A pump with a serial number of its own is interrogated.",
    expected="The serial number stands there, letter by letter.",
    sources=(domain("10 (3)"), domain("5.2 (wrong patient)")),
    claims=_READ,
)
async def _p13_shows_identity(bench: Bench) -> None:
    await bench.interrogate()
    serial = bench.pump.device.identity().serial
    text = await bench.show(Field.IDENTITY)
    bench.expect(serial in text, f"the serial number {serial}", text or "nothing")


@PROGRAMMER.step(
    "P-14",
    group="identity",
    title="Changes nothing in a pump that it has not shown",
    purpose="On a ward two pumps lie within reach of one telemeter; an order belongs to the pump that was looked at.",
    stimulus="After the interrogation the telemeter is laid over another pump; the operator enters a rate and "
    "confirms.",
    expected="Nothing is applied in the other pump, unless the screen had shown its serial number before the "
    "confirmation.",
    sources=(domain("10 (3)"), domain("5.2 (wrong patient)"), trust("5.2")),
    claims=("read", "change"),
)
async def _p14_wrong_pump(bench: Bench) -> None:
    await bench.interrogate()
    other = bench.bedside.put_other_pump("SIM-OTHER")
    await bench.act(ActKind.SET_RATE, "0.190 ml/day")
    shown = await bench.show(Field.IDENTITY)
    await bench.confirm()
    applied = len([one for one in bench.bedside.decided(other) if one.verdict.value == "applied"])
    bench.expect(
        not applied or "SIM-OTHER" in shown,
        "nothing is applied in a pump that was not shown",
        f"{applied} applied in SIM-OTHER while the screen showed {shown or 'nothing'}",
    )
    result = await bench.result()
    bench.expect(bool(applied) == (result == "applied"), "the screen tells what became of it", result or "nothing")


@PROGRAMMER.step(
    "P-15",
    group="identity",
    title="Does not mix the values of two pumps",
    purpose="Values of one pump under the name of another are two wrong pumps.",
    stimulus="While nobody touches the programmer, the telemeter is laid over another pump of another rate.",
    expected="The screen either goes on with the first pump's values marked as out of date, or shows the other "
    "throughout.",
    sources=(domain("10 (3)"), domain("6")),
    claims=("read", "follow"),
)
async def _p15_mixes_no_pumps(bench: Bench) -> None:
    await bench.interrogate()
    other = bench.bedside.put_other_pump("SIM-OTHER", concentration=Concentration.parse("500 ug/ml"))
    await bench.wait(bench.limits.stale_after_ms)
    name, rate = await bench.show(Field.IDENTITY), await bench.show(Field.CONCENTRATION)
    if "SIM-OTHER" in name:
        bench.expect_quantity(rate, Kind.CONCENTRATION, other.status.concentration_ng_per_ml, "the other pump's drug")
    else:
        bench.expect_quantity(rate, Kind.CONCENTRATION, bench.status.concentration_ng_per_ml, "the first pump's drug")
        text = f"{rate} {await bench.show(Field.FRESHNESS)}"
        bench.expect_says(text, bench.words.stale, "the mark of values that are out of date")


@PROGRAMMER.step(
    "P-16",
    group="currency",
    title="Marks what it shows when the link is lost",
    purpose="A screen that stands still looks like a pump that runs.",
    stimulus="After the interrogation the link goes dead without a word, and nobody touches the programmer.",
    expected="Within the claimed time what stands there is marked as out of date.",
    sources=(domain("5.2 (loss of wireless signal)"), domain("5.3 (link lost: show it)"), trust("4.7")),
    claims=("read", "follow"),
)
async def _p16_marks_stale(bench: Bench) -> None:
    await bench.interrogate()
    bench.bedside.dead_link()
    await bench.wait(bench.limits.stale_after_ms)
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_says(text, bench.words.stale, "the mark of values that are out of date")


@PROGRAMMER.step(
    "P-17",
    group="currency",
    title="Marks what it shows when the telemeter is lifted",
    purpose="As P-16, with a link that lives and a pump that is out of reach.",
    stimulus="After the interrogation the telemeter is lifted, and nobody touches the programmer.",
    expected="Within the claimed time what stands there is marked as out of date.",
    sources=(domain("6"), trust("4.7")),
    claims=("read", "follow"),
)
async def _p17_marks_lifted(bench: Bench) -> None:
    await bench.interrogate()
    bench.bedside.lift()
    await bench.wait(bench.limits.stale_after_ms)
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)} {await bench.show(Field.CONTACT)}"
    bench.expect_says(text, bench.words.stale, "the mark of values that are out of date")


@PROGRAMMER.step(
    "P-18",
    group="currency",
    title="Shows what another programmer has changed",
    purpose="Two tablets at one bed: what the second changes, the first must not go on showing.",
    stimulus="Another programmer sets 0.190 ml/day; nobody touches the one under test.",
    expected="Within two of its looks the new rate and dose stand there.",
    sources=(domain("4 F30 (second tablet)"), trust("5.2 (base)")),
    claims=("read", "follow"),
)
async def _p18_shows_others_change(bench: Bench) -> None:
    await bench.interrogate()
    async with bench.bedside.rival() as rival:
        await rival.set_rate(FlowRate.parse("0.190 ml/day"))
    await bench.wait(2 * bench.limits.poll_interval_ms)
    bench.expect_quantity(await bench.show(Field.RATE), Kind.FLOW, 190_000, "the rate")
    bench.expect_quantity(await bench.show(Field.DOSE), Kind.DAILY_DOSE, 380_000, "the dose")


@PROGRAMMER.step(
    "P-19",
    group="currency",
    title="Looks at the pump as often as it claims",
    purpose="A claim of two seconds that is kept at half a minute is a late alarm.",
    stimulus="Nobody touches the programmer for eight of its claimed intervals.",
    expected="Between two readings of the pump no more than the claimed interval passes, a tenth allowed.",
    sources=(domain("5.4"), domain("5.7")),
    claims=("read", "follow"),
)
async def _p19_polls_in_time(bench: Bench) -> None:
    await bench.interrogate()
    interval_ms = bench.limits.poll_interval_ms
    seen: list[int] = []

    def note(frame: object) -> None:
        if getattr(frame, "message", "") in {"Status", "AlarmReport"}:
            seen.append(bench.now_ms())

    bench.bedside.on_frame(note)
    began_ms = bench.now_ms()
    await bench.wait(8 * interval_ms)
    marks = [began_ms, *seen, bench.now_ms()]
    gaps = [after - before for before, after in pairwise(marks) if after > before]
    bench.record.measure(
        "longest time between two readings", "ms", [max(gaps, default=8 * interval_ms)], limit=interval_ms * 11 // 10
    )
    bench.record.conclude(f"{len(seen)} answers read in {8 * interval_ms} ms")

"""P-70 to P-79: alarms reach the person, all of them, with their priority, in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, iec, trust
from telemetry.conform.screen_text import says
from telemetry.model import AlarmKind, AlarmPriority, StopReason
from telemetry.units import Dose, Duration, Volume

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench

_ALARMS = ("read", "alarms")
_FOLLOWS = (*_ALARMS, "follow")
_NAMES = {
    AlarmKind.LOW_RESERVOIR: ("low reservoir", "reservoir low", "refill"),
    AlarmKind.THERAPY_STOPPED: ("stopped", "no delivery"),
    AlarmKind.MOTOR_STALL: ("stall", "stalled"),
    AlarmKind.ELECTIVE_REPLACEMENT: ("elective replacement", "eri", "replace"),
    AlarmKind.BOLUS_INTERRUPTED: ("bolus interrupted", "interrupted"),
}
"""Words by which a line is taken to be about an alarm."""


def _lines(text: str, kind: AlarmKind) -> list[str]:
    return [line for line in text.splitlines() if says(line, *_NAMES[kind])]


def _present(bench: Bench) -> dict[AlarmKind, AlarmPriority]:
    """What the pump has now: the priority that it gives each alarm."""
    return {alarm.kind: alarm.priority for alarm in bench.pump.device.alarms()}


def _expect_listed(bench: Bench, text: str, kind: AlarmKind) -> None:
    """The alarm stands there with the priority that the pump gives it, and with no other."""
    priority = _present(bench)[kind]
    lines = _lines(text, kind)
    words = {
        AlarmPriority.HIGH: bench.words.high,
        AlarmPriority.MEDIUM: bench.words.medium,
        AlarmPriority.LOW: bench.words.low,
    }
    heads = [_head(line, _NAMES[kind]) for line in lines]
    right = any(says(head, *words[priority]) for head in heads)
    others = [one for one in AlarmPriority if one is not priority]
    wrong = any(says(head, *words[one]) for head in heads for one in others) and not right
    name = kind.value.replace("_", " ")
    bench.expect(right and not wrong, f"the alarm {name}, with the priority {priority}", text or "nothing")


def _head(line: str, names: tuple[str, ...]) -> str:
    """The line without the alarm's own name, in which a word of a priority may stand (*low* reservoir)."""
    folded = line.lower()
    for name in names:
        folded = folded.replace(name, " ")
    return folded


async def _stopped_by_other(bench: Bench) -> None:
    async with bench.bedside.rival() as rival:
        await rival.stop(StopReason.CLINICAL)


@PROGRAMMER.step(
    "P-70",
    group="alarms",
    title="Says that there is no alarm",
    purpose="An empty place may mean that nothing was read.",
    stimulus="A pump without any alarm is interrogated.",
    expected="Words say that there is none; no alarm stands there.",
    sources=(domain("5.7"), domain("2.5")),
    claims=_ALARMS,
)
async def _p70_no_alarm(bench: Bench) -> None:
    await bench.interrogate()
    text = await bench.show(Field.ALARMS)
    bench.expect(
        says(text, "none", "no alarm", "no alarms", "no"), "words that say that there is no alarm", text or "nothing"
    )


@PROGRAMMER.step(
    "P-71",
    group="alarms",
    title="Shows a high-priority alarm in time, by itself",
    purpose="Withdrawal can kill; a stopped pump that shows at the next visit shows too late.",
    stimulus="Nobody touches the programmer; another one stops the pump.",
    expected="Within the claimed time the alarm stands there, with high priority.",
    sources=(iec("5.4"), domain("2.5"), trust("5.11")),
    claims=_FOLLOWS,
)
async def _p71_high_in_time(bench: Bench) -> None:
    await bench.interrogate()
    await bench.wait(bench.limits.poll_interval_ms)
    await _stopped_by_other(bench)
    raised_ms = bench.now_ms()
    read: list[int] = []

    def note(frame: object) -> None:
        if getattr(frame, "message", "") == "AlarmReport":
            read.append(bench.now_ms() - raised_ms)

    bench.bedside.on_frame(note)
    await bench.wait(bench.limits.alarm_shown_ms)
    _expect_listed(bench, await bench.show(Field.ALARMS), AlarmKind.THERAPY_STOPPED)
    if read:
        limit = bench.limits.alarm_shown_ms
        bench.record.measure("alarm read by the equipment after", "ms", read[:1], limit=limit)


@PROGRAMMER.step(
    "P-72",
    group="alarms",
    title="Shows a low reservoir with the priority that it has",
    purpose="What is not urgent and shouts makes what is urgent inaudible.",
    stimulus="The calculated volume reaches the alarm volume while nobody touches the programmer.",
    expected="Within the claimed time the alarm stands there, with low priority (more than 72 h are left).",
    sources=(iec("5.4"), domain("2.5"), domain("5.2 (wrong alarm priority)")),
    claims=_FOLLOWS,
)
async def _p72_low_reservoir(bench: Bench) -> None:
    bench.lay(fill=Volume(2_000_006))
    await bench.interrogate()
    await bench.wait(5_000 + bench.limits.alarm_shown_ms)
    present = _present(bench)
    bench.demand(AlarmKind.LOW_RESERVOIR in present, "the pump has a low-reservoir alarm", f"{list(present)}")
    _expect_listed(bench, await bench.show(Field.ALARMS), AlarmKind.LOW_RESERVOIR)


@PROGRAMMER.step(
    "P-73",
    group="alarms",
    title="Shows a medium-priority alarm as such",
    purpose="Three priorities that look like two are two.",
    stimulus="The pump has reached its elective replacement.",
    expected="The alarm stands there, with medium priority.",
    sources=(iec("5.4"), domain("2.4"), domain("2.5")),
    claims=_ALARMS,
)
async def _p73_medium(bench: Bench) -> None:
    bench.lay(age="ERI+1d")
    await bench.interrogate()
    present = _present(bench)
    bench.demand(AlarmKind.ELECTIVE_REPLACEMENT in present, "the pump has reached its replacement", f"{list(present)}")
    _expect_listed(bench, await bench.show(Field.ALARMS), AlarmKind.ELECTIVE_REPLACEMENT)


@PROGRAMMER.step(
    "P-74",
    group="alarms",
    title="Shows every alarm, the highest first",
    purpose="The most severe one hides nothing; the others have causes of their own.",
    stimulus="A pump at its replacement, with a low reservoir, is stopped.",
    expected="All its alarms stand there, each with its priority; a higher one stands above a lower one.",
    sources=(iec("5.4"), domain("5.7"), domain("5.2 (no alarm)")),
    claims=_ALARMS,
)
async def _p74_several(bench: Bench) -> None:
    bench.lay(age="ERI+1d", fill=Volume.parse("1.9 ml"))
    await _stopped_by_other(bench)
    await bench.interrogate()
    text = await bench.show(Field.ALARMS)
    kinds = (AlarmKind.THERAPY_STOPPED, AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.LOW_RESERVOIR)
    present = _present(bench)
    bench.demand(all(kind in present for kind in kinds), "the pump has these three alarms", f"{list(present)}")
    for kind in kinds:
        _expect_listed(bench, text, kind)
    lines = text.splitlines()
    rank = {AlarmPriority.HIGH: 0, AlarmPriority.MEDIUM: 1, AlarmPriority.LOW: 2}
    places = [(rank[present[kind]], lines.index(found[0])) for kind in kinds if (found := _lines(text, kind))]
    ordered = [place for _, place in sorted(places, key=lambda one: (one[0], one[1]))]
    bench.expect(ordered == sorted(ordered), "a higher priority stands above a lower one", text or "nothing")


@PROGRAMMER.step(
    "P-75",
    group="alarms",
    title="Silencing takes no alarm away",
    purpose="Condition and signal are two things; quiet is not well.",
    stimulus="The alarm of a stopped pump is silenced at the programmer.",
    expected="The alarm still stands there with its priority, and as silenced; the pump still has the condition.",
    sources=(domain("5.7"), iec("5.4 (audio paused)"), trust("5.11")),
    claims=(*_ALARMS, "silence"),
)
async def _p75_silence_keeps(bench: Bench) -> None:
    await _stopped_by_other(bench)
    await bench.interrogate()
    await bench.act(ActKind.SILENCE)
    text = await bench.show(Field.ALARMS)
    _expect_listed(bench, text, AlarmKind.THERAPY_STOPPED)
    lines = "\n".join(_lines(text, AlarmKind.THERAPY_STOPPED))
    bench.expect_says(lines, bench.words.silenced, "the mark of a silenced alarm")
    await bench.wait(3 * bench.limits.poll_interval_ms)
    _expect_listed(bench, await bench.show(Field.ALARMS), AlarmKind.THERAPY_STOPPED)


@PROGRAMMER.step(
    "P-76",
    group="alarms",
    title="A new alarm shows although another is silenced",
    purpose="A pause is for what was heard, never for what comes.",
    stimulus="A low reservoir is silenced; then another programmer stops the pump.",
    expected="Within the claimed time the new alarm stands there with high priority, and not as silenced; the old "
    "one stays.",
    sources=(trust("5.11"), iec("5.4 (acknowledged)")),
    claims=(*_FOLLOWS, "silence"),
)
async def _p76_new_while_silenced(bench: Bench) -> None:
    bench.lay(fill=Volume.parse("1.9 ml"))
    await bench.interrogate()
    await bench.act(ActKind.SILENCE)
    await _stopped_by_other(bench)
    await bench.wait(bench.limits.alarm_shown_ms)
    text = await bench.show(Field.ALARMS)
    _expect_listed(bench, text, AlarmKind.THERAPY_STOPPED)
    line = "\n".join(_lines(text, AlarmKind.THERAPY_STOPPED))
    quiet = says(line, *bench.words.silenced)
    bench.expect(bool(line) and not quiet, "the new alarm is not marked as silenced", line or "nothing")
    _expect_listed(bench, text, AlarmKind.LOW_RESERVOIR)


@PROGRAMMER.step(
    "P-77",
    group="alarms",
    title="Tells what is over from what is present",
    purpose="A latched alarm says that something was; taken for present it sends for the wrong help, left out it "
    "is lost.",
    stimulus="A power cut of the pump has ended a bolus; the pump runs, and its alarm is latched until acknowledged.",
    expected="The alarm stands there, and as over.",
    sources=(domain("5.4 (latching)"), domain("5.7"), trust("5.11")),
    claims=_ALARMS,
)
async def _p77_latched(bench: Bench) -> None:
    bench.pump.bolus(Dose.parse("20 ug"), Duration.parse("20 min"))
    bench.pump.inject("power_cut")
    await bench.interrogate()
    told = {alarm.kind: alarm.condition_present for alarm in bench.pump.device.alarms()}
    latched_now = told.get(AlarmKind.BOLUS_INTERRUPTED) is False
    bench.demand(latched_now, "the pump has an interrupted bolus latched", f"{told}")
    line = "\n".join(_lines(await bench.show(Field.ALARMS), AlarmKind.BOLUS_INTERRUPTED))
    bench.expect_says(line, bench.words.over, "the mark of an alarm whose condition is over")


@PROGRAMMER.step(
    "P-78",
    group="alarms",
    title="Does not show as over what is present",
    purpose="The other way round, that is an all-clear for a pump that stands.",
    stimulus="The pump is stopped, and stays so.",
    expected="The alarm stands there, and not as over.",
    sources=(domain("5.7"), trust("5.11")),
    claims=_ALARMS,
)
async def _p78_present_is_present(bench: Bench) -> None:
    await _stopped_by_other(bench)
    await bench.interrogate()
    line = "\n".join(_lines(await bench.show(Field.ALARMS), AlarmKind.THERAPY_STOPPED))
    over = says(line, *bench.words.over)
    bench.expect(bool(line) and not over, "the alarm, and no mark that it is over", line or "nothing")


@PROGRAMMER.step(
    "P-79",
    group="alarms",
    title="An acknowledged alarm that is over goes; one that is present stays",
    purpose="An acknowledgement is an answer to the signal, not to its cause.",
    stimulus="The alarm of a pump that is still stopped is acknowledged; then the pump is resumed by somebody else.",
    expected="After the acknowledgement the alarm still stands there; after the resume and an interrogation it "
    "does not as present.",
    sources=(iec("5.4 (acknowledged)"), trust("5.11")),
    claims=(*_ALARMS, "acknowledge"),
)
async def _p79_acknowledges(bench: Bench) -> None:
    await _stopped_by_other(bench)
    await bench.interrogate()
    await bench.act(ActKind.ACKNOWLEDGE, AlarmKind.THERAPY_STOPPED.value)
    line = _lines(await bench.show(Field.ALARMS), AlarmKind.THERAPY_STOPPED)
    bench.expect(bool(line), "the alarm of a pump that stands, after its acknowledgement", "\n".join(line) or "nothing")
    async with bench.bedside.rival() as rival:
        await rival.resume()
    await bench.interrogate()
    text = await bench.show(Field.ALARMS)
    still = [one for one in _lines(text, AlarmKind.THERAPY_STOPPED) if not says(one, *bench.words.over)]
    bench.expect(not still, "no alarm of a stopped pump as present, when it runs again", text or "nothing")

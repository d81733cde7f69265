"""Steps D-60 to D-68: what the device refuses to stage. Nothing here is committed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.device.bench import dose_of, told
from telemetry.conform.device.catalogue import CATALOGUE, CHANGING, domain, itp, trust
from telemetry.conform.steps import Blocked
from telemetry.model import Drug, OperationKind, PumpMode, RefusalReason, Warn
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import encode_order
from telemetry.therapy import EVERY_DAY, Program, ProgramStep

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.session import RawSession
    from telemetry.protocol.messages import Message

GROUP = "ranges"
PPM = 1_000_000
_UINT32, _UINT64 = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF


async def _ready(bench: Bench) -> tuple[RawSession, wire.Status, wire.Limits]:
    session = await bench.session()
    status = await bench.running(session)
    return session, status, await bench.ask(session, wire.ReadLimits(), wire.Limits)


async def _untouched(bench: Bench, session: RawSession, before: wire.Status) -> None:
    """Whatever was staged or refused, the therapy is the one of before."""
    after = await bench.status(session)
    same = (after.program_sequence, after.program_digest, after.rate_nl_per_day) == (
        before.program_sequence,
        before.program_digest,
        before.rate_nl_per_day,
    )
    bench.record.expect(
        same, "the therapy as it was", f"program {after.program_sequence}, {after.rate_nl_per_day} nl/day"
    )
    await session.ask(wire.Abort(op_id=session.new_op_id()))


def _refused_dose(reason: RefusalReason | None) -> bool:
    return reason in {
        RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT,
        RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT,
        RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT,
        RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT,
    }


@CATALOGUE.step(
    "D-60",
    group=GROUP,
    title="Rates stay between the pump's least and most",
    purpose="A rate that the motor cannot keep is not the rate that the patient gets.",
    stimulus="SetRate with 0, one below the least, the least, the most, one above the most, and the largest number.",
    expected="Outside: refusal rate_below_minimum or rate_above_maximum with the limit. Inside: not for the rate.",
    sources=(itp("7"), itp("9"), trust("5.7"), domain("2.1")),
    claims=CHANGING,
)
async def _rates(bench: Bench) -> None:
    session, status, limits = await _ready(bench)
    low, high = limits.min_rate_nl_per_day, limits.max_rate_nl_per_day
    for rate in (0, low - 1):
        answer = await session.ask(bench.set_rate(session, status, rate))
        bench.expect_refusal(answer, RefusalReason.RATE_BELOW_MINIMUM, f"{rate} nl/day", limit=low)
    for rate in (high + 1, _UINT32):
        answer = await session.ask(bench.set_rate(session, status, rate))
        bench.expect_refusal(answer, RefusalReason.RATE_ABOVE_MAXIMUM, f"{rate} nl/day", limit=high)
    for rate in (low, high):
        answer = await session.ask(bench.set_rate(session, status, rate))
        held = isinstance(answer, wire.Staged) or (isinstance(answer, wire.Refusal) and _refused_dose(answer.reason))
        bench.record.expect(held, f"{rate} nl/day not refused as a rate", told(answer))
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-61",
    group=GROUP,
    title="The day's dose stays inside the hard limits",
    purpose="The pump enforces them by itself, whatever the programmer lets through.",
    stimulus="SetRate with the dose one step below, at and above each hard limit, and each limit of the change.",
    expected="Refusal outside with the limit; a proposal inside, with a warning beyond the soft limit and none within.",
    sources=(itp("12"), trust("5.7"), domain("3.1")),
    claims=CHANGING,
)
async def _doses(bench: Bench) -> None:
    session, status, limits = await _ready(bench)
    strength, now = status.concentration_ng_per_ml, status.dose_ng_per_day
    tried = 0
    for limit, up, reason in (
        (limits.daily_dose_hard_min_ng, False, RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT),
        (limits.daily_dose_hard_max_ng, True, RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT),
    ):
        rate = limit * PPM // strength + (2 if up else -2)
        if not limits.min_rate_nl_per_day <= rate <= limits.max_rate_nl_per_day:
            bench.record.note(f"{rate} nl/day for the dose limit {limit} ng lies outside the rates; not tried")
            continue
        tried += 1
        bench.expect_refusal(
            await session.ask(bench.set_rate(session, status, rate)),
            reason,
            f"{dose_of(rate, strength)} ng/day",
            limit=limit,
        )
    for share, warned, refused in (
        (limits.change_soft_ppm // 2, False, False),
        (min(limits.change_soft_ppm * 3 // 2, limits.change_hard_ppm), True, False),
        (limits.change_hard_ppm * 11 // 10, True, True),
    ):
        dose = now + now * share // PPM
        rate = dose * PPM // strength
        if dose > limits.daily_dose_soft_max_ng or rate > limits.max_rate_nl_per_day:
            bench.record.note(f"+{share} ppm is {dose} ng/day, beyond other limits; not tried")
            continue
        tried += 1
        answer = await session.ask(bench.set_rate(session, status, rate))
        if refused:
            bench.expect_refusal(answer, RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT, f"a change of {share} ppm")
        else:
            found = isinstance(answer, wire.Staged) and (Warn.DAILY_DOSE_CHANGE in answer.warnings) is warned
            words = "with the warning daily_dose_change" if warned else "without a warning"
            bench.record.expect(found, f"a proposal {words} for a change of {share} ppm", _warned(answer))
    if not tried:
        raise Blocked("none of the dose limits can be reached from the therapy in force")
    await _untouched(bench, session, status)


def _warned(answer: Message | None) -> str:
    if isinstance(answer, wire.Staged):
        return f"Staged, warnings: {', '.join(answer.warnings) or 'none'}, change {answer.change_ppm} ppm"
    return told(answer)


@CATALOGUE.step(
    "D-62",
    group=GROUP,
    title="Dose and volume must say the same",
    purpose="An hour for a day, µg for ng, another concentration: each shows as a dose that is not the volume's.",
    stimulus="SetRate with a thousandth, a 24th, twice, 24 times, a thousand times the volume's dose; with 2 nl more.",
    expected="Refusal format, dose_volume_mismatch to each.",
    sources=(itp("7"), trust("5.8")),
    claims=CHANGING,
)
async def _agreement(bench: Bench) -> None:
    session, status, _ = await _ready(bench)
    rate, strength = status.rate_nl_per_day, status.concentration_ng_per_ml
    dose = dose_of(rate, strength)
    off = -(-2 * max(strength, PPM) // PPM) + 1
    for what, wrong in (
        ("a thousandth of the dose", dose // 1_000),
        ("an hour's dose for a day's", dose // 24),
        ("twice the dose", 2 * dose),
        ("a day's dose for an hour's", 24 * dose),
        ("a thousand times the dose", 1_000 * dose),
        (f"{off} ng too much", dose + off),
        (f"{off} ng too little", dose - off),
        ("no dose at all", 0),
        ("the largest number", _UINT64),
    ):
        answer = await session.ask(bench.set_rate(session, status, rate, dose_ng_per_day=wrong))
        bench.expect_refusal(answer, RefusalReason.DOSE_VOLUME_MISMATCH, what)
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-63",
    group=GROUP,
    title="An order is bound to what is in the reservoir",
    purpose="A rate that was worked out for another drug or strength is another dose.",
    stimulus="SetRate that names another drug, another concentration, an earlier and a later filling.",
    expected="Refusal binding: drug_mismatch, concentration_mismatch, reservoir_generation_mismatch.",
    sources=(itp("12"), trust("5.8")),
    claims=CHANGING,
)
async def _binding(bench: Bench) -> None:
    session, status, _ = await _ready(bench)
    other = next(drug for drug in Drug if drug is not status.drug)
    half = status.concentration_ng_per_ml // 2
    for reason, changes in (
        (RefusalReason.DRUG_MISMATCH, {"drug": other}),
        (
            RefusalReason.CONCENTRATION_MISMATCH,
            {"concentration_ng_per_ml": half, "dose_ng_per_day": dose_of(status.rate_nl_per_day, half)},
        ),
        (RefusalReason.RESERVOIR_GENERATION_MISMATCH, {"reservoir_generation": status.reservoir_generation + 1}),
        (RefusalReason.RESERVOIR_GENERATION_MISMATCH, {"reservoir_generation": status.reservoir_generation - 1}),
    ):
        if status.reservoir_generation == 0 and changes.get("reservoir_generation") == -1:
            continue
        answer = await session.ask(bench.set_rate(session, status, status.rate_nl_per_day, **changes))
        bench.expect_refusal(answer, reason, ", ".join(f"{name} {value}" for name, value in changes.items()))
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-64",
    group=GROUP,
    title="An order is for the program that was looked at",
    purpose="Whoever works on a stale screen works on another therapy.",
    stimulus="SetRate and Begin that name another program sequence, and another digest.",
    expected="Refusal stale_base, base_changed.",
    sources=(itp("12"), trust("5.2")),
    claims=CHANGING,
)
async def _base(bench: Bench) -> None:
    session, status, _ = await _ready(bench)
    image = encode_order(_program(status))
    for what, changes in (
        ("the sequence before", {"base_sequence": max(0, status.program_sequence - 1)}),
        ("the sequence after", {"base_sequence": status.program_sequence + 1}),
        ("another digest", {"base_digest": bytes(8)}),
    ):
        if changes.get("base_sequence") == status.program_sequence:
            continue
        answer = await session.ask(bench.set_rate(session, status, status.rate_nl_per_day, **changes))
        bench.expect_refusal(answer, RefusalReason.BASE_CHANGED, f"SetRate on {what}")
        answer = await session.ask(bench.begin(session, status, image, OperationKind.PROGRAM, **changes))
        bench.expect_refusal(answer, RefusalReason.BASE_CHANGED, f"Begin on {what}")
    await _untouched(bench, session, status)


def _program(status: wire.Status) -> Program:
    return Program(
        mode=PumpMode.SIMPLE_CONTINUOUS,
        rate_nl_per_day=status.rate_nl_per_day,
        dose_ng_per_day=dose_of(status.rate_nl_per_day, status.concentration_ng_per_ml),
        concentration_ng_per_ml=status.concentration_ng_per_ml,
        drug=status.drug,
        reservoir_generation=status.reservoir_generation,
    )


@CATALOGUE.step(
    "D-65",
    group=GROUP,
    title="An image is taken whole or not at all",
    purpose="Half a schedule is a schedule that nobody prescribed.",
    stimulus="Writes with a gap, an overlap, too much; Verify before the end; an image that is not the one announced.",
    expected="Refusal image_out_of_bounds, image_incomplete, image_digest_mismatch; no proposal without Begin.",
    sources=(itp("12"), trust("5.2")),
    claims=CHANGING,
)
async def _images(bench: Bench) -> None:
    session, status, _ = await _ready(bench)
    image = encode_order(_program(status))
    kind = OperationKind.PROGRAM
    await session.ask(wire.Abort(op_id=session.new_op_id()))
    for message in (wire.Write(offset=0, data=b"\0"), wire.Verify(part=0)):
        answer = await session.ask(message)
        held = isinstance(answer, wire.Refusal) and answer.status.value in {"state", "expired"}
        bench.record.expect(held, f"Refusal state or expired to {type(message).__name__} without Begin", told(answer))
    await bench.ask(session, bench.begin(session, status, image, kind), wire.Begun)
    bounds = RefusalReason.IMAGE_OUT_OF_BOUNDS
    bench.expect_refusal(await session.ask(wire.Write(offset=1, data=image[1:])), bounds, "a gap")
    await bench.ask(session, wire.Write(offset=0, data=image[:8]), wire.Written)
    bench.expect_refusal(await session.ask(wire.Write(offset=4, data=image[4:])), bounds, "an overlap")
    bench.expect_refusal(await session.ask(wire.Write(offset=8, data=image[8:] + b"\0")), bounds, "too much")
    incomplete = RefusalReason.IMAGE_INCOMPLETE
    bench.expect_refusal(await session.ask(wire.Verify(part=0)), incomplete, "Verify before the end")
    await bench.ask(session, bench.begin(session, status, image, kind, image_digest=bytes(32)), wire.Begun)
    await bench.write_all(session, image)
    bench.expect_refusal(
        await session.ask(wire.Verify(part=0)), RefusalReason.IMAGE_DIGEST_MISMATCH, "an image that was not announced"
    )
    broken = image[:1] + b"\xfe" + image[2:]
    await bench.ask(session, bench.begin(session, status, broken, kind), wire.Begun)
    await bench.write_all(session, broken)
    bench.expect_refusal(await session.ask(wire.Verify(part=0)), RefusalReason.BAD_LAYOUT, "an image laid out wrongly")
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-66",
    group=GROUP,
    title="A schedule covers every day, in order",
    purpose="A minute that no step covers is a minute without a prescription.",
    stimulus="Schedules that begin after midnight, that fall back, that leave Sunday out, that have too many steps.",
    expected="Refusal schedule_malformed, or too_many_steps; one that is right is staged.",
    sources=(itp("12"), domain("2.3")),
    claims=(*CHANGING, "schedule"),
)
async def _schedules(bench: Bench) -> None:
    session, status, limits = await _ready(bench)
    rate, dose = status.rate_nl_per_day, dose_of(status.rate_nl_per_day, status.concentration_ng_per_ml)
    flat = replace(_program(status), mode=PumpMode.FLEX)

    def step(start: int, days: int = EVERY_DAY) -> ProgramStep:
        return ProgramStep(days, start, rate, dose)

    right = (step(0), step(720))
    many = tuple(step(minute) for minute in range(limits.max_schedule_steps + 1))
    malformed = RefusalReason.SCHEDULE_MALFORMED
    for what, steps, mode, reason in (
        ("a day that begins at 00:01", (step(1), step(720)), PumpMode.FLEX, malformed),
        ("a start that falls back", (step(0), step(720), step(60)), PumpMode.FLEX, malformed),
        ("the same start twice", (step(0), step(0)), PumpMode.FLEX, malformed),
        ("no step", (), PumpMode.FLEX, malformed),
        ("a week without Sunday", (step(0, 0x3F),), PumpMode.WEEKDAY, malformed),
        ("more steps than allowed", many, PumpMode.FLEX, RefusalReason.TOO_MANY_STEPS),
    ):
        image = encode_order(replace(flat, mode=mode, steps=steps))
        await bench.ask(session, bench.begin(session, status, image, OperationKind.PROGRAM), wire.Begun)
        await bench.write_all(session, image)
        bench.expect_refusal(await session.ask(wire.Verify(part=0)), reason, what)
    _, staged, _ = await bench.stage_order(session, status, replace(flat, steps=right), OperationKind.PROGRAM)
    bench.record.expect(staged.dose_24h_ng == dose, f"{dose} ng in 24 h of a right one", f"{staged.dose_24h_ng} ng")
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-67",
    group=GROUP,
    title="A bolus stays inside its limits",
    purpose="A bolus is the fastest way to too much.",
    stimulus="Boluses beyond the hard limit and the soft one, with a dose that is not the volume's, of nothing.",
    expected="A refusal to each that names it, but for the soft limit: a warning bolus_dose_high.",
    sources=(itp("12"), trust("5.7"), domain("3.1")),
    claims=(*CHANGING, "bolus"),
)
async def _boluses(bench: Bench) -> None:
    session, status, limits = await _ready(bench)
    strength, small = status.concentration_ng_per_ml, bench.bolus(status, limits)
    hour = 3_600

    def of(dose: int) -> object:
        volume = dose * PPM // strength
        return replace(small, volume_nl=volume, dose_ng=dose_of(volume, strength), duration_s=hour)

    over = limits.bolus_dose_hard_max_ng + 2 * max(1, strength // PPM)
    for what, order, reason in (
        ("a bolus above the hard limit", of(over), RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT),
        ("twice the dose of its volume", replace(small, dose_ng=2 * small.dose_ng), RefusalReason.DOSE_VOLUME_MISMATCH),
        ("a bolus of nothing", replace(small, volume_nl=0, dose_ng=0), RefusalReason.SCHEDULE_MALFORMED),
        (
            "another concentration",
            replace(small, concentration_ng_per_ml=strength // 2, dose_ng=dose_of(small.volume_nl, strength // 2)),
            RefusalReason.CONCENTRATION_MISMATCH,
        ),
    ):
        image = encode_order(order)  # type: ignore[arg-type]
        await bench.ask(session, bench.begin(session, status, image, OperationKind.BOLUS), wire.Begun)
        await bench.write_all(session, image)
        bench.expect_refusal(await session.ask(wire.Verify(part=0)), reason, what)
    soft = of(limits.bolus_dose_soft_max_ng + 2 * max(1, strength // PPM))
    if limits.bolus_dose_soft_max_ng + 2 * max(1, strength // PPM) <= limits.bolus_dose_hard_max_ng:
        _, staged, _ = await bench.stage_order(session, status, soft, OperationKind.BOLUS)  # type: ignore[arg-type]
        bench.record.expect(
            Warn.BOLUS_DOSE_HIGH in staged.warnings, "the warning bolus_dose_high", ", ".join(staged.warnings) or "none"
        )
    await _untouched(bench, session, status)


@CATALOGUE.step(
    "D-68",
    group=GROUP,
    title="Alarms are silenced for a limited time only",
    purpose="An alarm that can be silenced for good is an alarm that can be switched off.",
    stimulus="SilenceAlarms for a second more than the pump allows, and for the longest time that the field holds.",
    expected="Refusal limit_hard, silence_too_long, with the limit.",
    sources=(itp("7"), domain("2.5"), domain("5.7")),
    claims=CHANGING,
)
async def _silences(bench: Bench) -> None:
    session, status, limits = await _ready(bench)
    if limits.max_silence_s >= 0xFFFF:
        raise Blocked("the pump allows every time that the field holds")
    for seconds in (limits.max_silence_s + 1, 0xFFFF):
        answer = await session.ask(wire.SilenceAlarms(duration_s=seconds))
        bench.expect_refusal(answer, RefusalReason.SILENCE_TOO_LONG, f"{seconds} s")
    await _untouched(bench, session, status)

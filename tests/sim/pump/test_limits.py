"""What the pump refuses and what it derives, for every mode and order (domain.md 2.3): pure, without a pump."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused
from telemetry.model import Activity, Drug, PumpLimits, PumpMode, RefusalReason, Warn
from telemetry.sim.pump.limits import (
    NEVER_S,
    Derived,
    DeviceRules,
    Situation,
    check_bolus,
    check_limits,
    check_patient_bolus,
    check_prime,
    check_program,
    check_refill,
    derive_standing,
)
from telemetry.sim.pump.plan import Plan
from telemetry.sim.pump.rtc import WallClock
from telemetry.therapy import (
    EVERY_DAY,
    BolusOrder,
    PrimeOrder,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramPatientBolus,
    ProgramRampStep,
    ProgramStep,
    RefillOrder,
)
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

ML = 1_000_000
UG = 1_000
STRONG = 2_000 * UG
PATH_NL = 335_800
LIMITS = PumpLimits(
    min_rate_nl_per_day=48_000,
    max_rate_nl_per_day=24 * ML,
    keep_alive_rate_nl_per_day=6_000,
    low_reservoir_alarm_nl=2 * ML,
    daily_dose_hard_min_ng=5 * UG,
    daily_dose_hard_max_ng=2_000 * UG,
    daily_dose_soft_min_ng=22 * UG,
    daily_dose_soft_max_ng=1_000 * UG,
    change_soft_ppm=200_000,
    change_hard_ppm=1_000_000,
    bolus_dose_soft_max_ng=100 * UG,
    bolus_dose_hard_max_ng=200 * UG,
)
RULES = DeviceRules(
    max_schedule_steps=24,
    max_ramp_steps=16,
    zero_rate_allowed=False,
    patient_bolus_allowed=False,
    drug=Drug.BACLOFEN,
    concentrations_ng_per_ml=(500 * UG, 1_000 * UG, STRONG),
    labelled_path_nl=PATH_NL,
    reservoir_capacity_nl=40 * ML,
    low_reservoir_alarm_floor_nl=ML,
    window_1h_nl=ML,
    window_4h_nl=4 * ML,
    window_24h_nl=24 * ML,
)
MORPHINE = replace(RULES, drug=Drug.MORPHINE, patient_bolus_allowed=True)
VALVE = replace(RULES, zero_rate_allowed=True)


def program(mode: PumpMode = PumpMode.SIMPLE_CONTINUOUS, rate: int = 150_000, **parts: object) -> Program:
    wanted = Program(mode, rate, 2 * rate, STRONG, Drug.BACLOFEN, 7)
    return replace(wanted, **parts)  # type: ignore[arg-type]


def situation(rules: DeviceRules = RULES, **facts: object) -> Situation:
    now = Situation(
        drug=rules.drug,
        concentration_ng_per_ml=STRONG,
        reservoir_generation=7,
        reference_dose_ng=300 * UG,
        calculated=30 * ML * MS_PER_DAY,
        stroking=True,
        stopped_over_48_h=False,
        now_ms=100 * MS_PER_DAY,
        clock=WallClock(1_767_571_200, 0),
        rules=rules,
        plan=Plan(program(), started_ms=0),
        filled_nl=40 * ML,
    )
    return replace(now, **facts)  # type: ignore[arg-type]


def refusal(wanted: Program, now: Situation | None = None, limits: PumpLimits = LIMITS) -> Refused:
    with pytest.raises(Refused) as refused:
        check_program(wanted, limits, situation() if now is None else now)
    return refused.value


def outcome(check: Callable[[], Derived]) -> Derived | Refused:
    """What was derived, or the refusal."""
    try:
        return check()
    except Refused as refused:
        return refused


def day(*steps: tuple[int, int], days: int = EVERY_DAY) -> tuple[ProgramStep, ...]:
    """Steps of (minute, rate)."""
    return tuple(ProgramStep(days, minute, rate, 2 * rate) for minute, rate in steps)


def flex(*steps: tuple[int, int], mode: PumpMode = PumpMode.FLEX) -> Program:
    parts = day(*steps)
    ends = [step.start_minute for step in parts[1:]] + [1_440]
    total = sum(s.rate_nl_per_day * (end - s.start_minute) for s, end in zip(parts, ends, strict=True)) // 1_440
    return program(mode, total, steps=parts)


def periodic(volume: int = 10_000, duration_s: int = 600, interval_s: int = 21_600, rate: int = 100_000) -> Program:
    return program(PumpMode.PERIODIC_BOLUS, rate, bolus=ProgramBolus(volume, 2 * volume, duration_s, interval_s, 0))


def ramp(*steps: tuple[int, int]) -> Program:
    parts = tuple(ProgramRampStep(days, rate, 2 * rate) for days, rate in steps)
    return program(PumpMode.TITRATION, steps[0][1], ramp=parts)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_a_schedule_is_derived_by_its_day() -> None:
    derived = check_program(flex((0, 120_000), (360, 180_000), (1_200, 120_000)), LIMITS, situation())
    assert (derived.dose_24h_ng, derived.volume_24h_nl) == (310 * UG, 155_000)
    assert (derived.peak_nl_per_day, derived.lowest_nl_per_day) == (180_000, 120_000)
    assert derived.change_ppm == 33_334
    assert derived.warnings == ()
    # 30 ml at 155 000 nl/day, begun at midnight: 193 whole days, then 85 000 nl into the next.
    assert derived.empty_in_s == 193 * 86_400 + 6 * 3_600 + (85_000 - 30_000) * 86_400 // 180_000


MALFORMED = RefusalReason.SCHEDULE_MALFORMED


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        (program(PumpMode.FLEX), MALFORMED, "steps"),
        (program(steps=day((0, 150_000))), MALFORMED, "steps"),
        (program(bolus=ProgramBolus(1_000, 2_000, 60, 3_600, 0)), MALFORMED, "bolus"),
        (program(ramp=(ProgramRampStep(1, 150_000, 300_000),)), MALFORMED, "ramp"),
        (program(PumpMode.TITRATION), MALFORMED, "ramp"),
        (program(PumpMode.PERIODIC_BOLUS), MALFORMED, "bolus"),
        (flex((1, 150_000), (60, 150_000)), MALFORMED, "steps"),
        (flex((0, 150_000), (60, 150_000), (60, 150_000)), MALFORMED, "steps"),
        (flex((0, 150_000), (90, 150_000), (60, 150_000)), MALFORMED, "steps"),
        (flex((0, 150_000), (1_440, 150_000)), MALFORMED, "steps[1].start_minute"),
        (program(PumpMode.FLEX, steps=day((0, 150_000), days=0x3F)), MALFORMED, "steps[0].days"),
        (program(PumpMode.WEEKDAY, steps=day((0, 150_000), days=0x3F)), MALFORMED, "steps"),
        (program(PumpMode.WEEKDAY, steps=day((0, 150_000), days=0)), MALFORMED, "steps[0].days"),
        (flex(*((minute, 150_000) for minute in range(25))), RefusalReason.TOO_MANY_STEPS, "steps"),
        (flex(*((minute, 150_000) for minute in range(500))), RefusalReason.TOO_MANY_STEPS, "steps"),
        (flex((0, 150_000), (60, 47_999)), RefusalReason.RATE_BELOW_MINIMUM, "steps[1].rate_nl_per_day"),
        (flex((0, 150_000), (60, 0)), RefusalReason.RATE_BELOW_MINIMUM, "steps[1].rate_nl_per_day"),
        (flex((0, 24_000_001)), RefusalReason.RATE_ABOVE_MAXIMUM, "steps[0].rate_nl_per_day"),
        (replace(flex((0, 150_000)), dose_ng_per_day=300_002), MALFORMED, "dose_ng_per_day"),
        (replace(flex((0, 150_000)), rate_nl_per_day=149_998), MALFORMED, "rate_nl_per_day"),
        (ramp((0, 150_000)), MALFORMED, "ramp[0].days"),
        (replace(ramp((1, 150_000)), rate_nl_per_day=150_001), MALFORMED, "rate_nl_per_day"),
        (ramp(*((1, 150_000) for _ in range(17))), RefusalReason.TOO_MANY_STEPS, "ramp"),
        (ramp((1, 150_000), (1, 47_000)), RefusalReason.RATE_BELOW_MINIMUM, "ramp[1].rate_nl_per_day"),
    ],
)
def test_what_does_not_hang_together_is_refused_by_name(wanted: Program, reason: RefusalReason, field: str) -> None:
    refused = refusal(wanted)
    assert refused.reason == reason
    assert refused.field == field
    assert str(refused).startswith(field.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0])


def test_zero_is_a_rate_where_the_profile_allows_it() -> None:
    wanted = flex((0, 0), (720, 300_000))
    assert refusal(wanted).reason == RefusalReason.RATE_BELOW_MINIMUM
    derived = check_program(wanted, LIMITS, situation(VALVE))
    assert (derived.lowest_nl_per_day, derived.dose_24h_ng) == (0, 300 * UG)
    assert refusal(program(rate=0), situation(VALVE)).reason == RefusalReason.RATE_BELOW_MINIMUM
    assert check_program(periodic(40_000, rate=0), LIMITS, situation(VALVE)).dose_24h_ng == 4 * 80 * UG


@given(
    minutes=st.sets(st.integers(1, 1_439), max_size=23).map(lambda found: [0, *sorted(found)]),
    rates=st.lists(st.integers(48_000, 400_000), min_size=24, max_size=24),
    concentration=st.sampled_from([500 * UG, 1_000 * UG, STRONG, 333_333]),
)
def test_a_schedule_with_rounded_doses_is_accepted(minutes: list[int], rates: list[int], concentration: int) -> None:
    steps = tuple(
        ProgramStep(EVERY_DAY, minute, rate, rate * concentration // ML)
        for minute, rate in zip(minutes, rates, strict=False)
    )
    spans = [end - start for start, end in zip(minutes, [*minutes[1:], 1_440], strict=True)]
    wanted = program(
        PumpMode.FLEX,
        sum(step.rate_nl_per_day * span for step, span in zip(steps, spans, strict=True)) // 1_440,
        dose_ng_per_day=sum(step.dose_ng_per_day * span for step, span in zip(steps, spans, strict=True)) // 1_440,
        concentration_ng_per_ml=concentration,
        steps=steps,
    )
    derived = check_program(
        wanted, LIMITS, situation(concentration_ng_per_ml=concentration, reference_dose_ng=0), at_bench=True
    )
    assert derived.dose_24h_ng == wanted.dose_ng_per_day
    assert derived.peak_nl_per_day == max(rates[: len(minutes)])
    assert (Warn.CONCENTRATION_UNLISTED in derived.warnings) == (concentration == 333_333)


def test_the_smallest_day_is_held_to_the_minimum_and_the_largest_to_the_maximum() -> None:
    weekend = ProgramStep(0x60, 0, 50_000, 100_000)
    week = program(PumpMode.WEEKDAY, 200_000, steps=(*day((0, 200_000), days=0x1F), weekend))
    assert check_program(week, LIMITS, situation()).dose_24h_ng == 400 * UG
    stricter = replace(LIMITS, daily_dose_hard_min_ng=101 * UG)
    refused = refusal(week, limits=stricter)
    assert (refused.reason, refused.value) == (RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT, 100 * UG)
    warned = check_program(week, replace(LIMITS, daily_dose_soft_min_ng=101 * UG), situation()).warnings
    assert Warn.DAILY_DOSE_LOW in warned


def test_a_night_across_midnight_counts_as_one_window() -> None:
    # 1 900 ug each calendar day, but Monday noon to Tuesday noon is all of Monday's evening and Tuesday's morning.
    monday = day((0, 50_000), (720, 1_850_000), days=1)
    tuesday = day((0, 1_850_000), (720, 50_000), days=2)
    rest = day((0, 950_000), days=0x7C)
    wanted = program(PumpMode.WEEKDAY, 950_000, steps=(*monday, *tuesday, *rest))
    refused = refusal(wanted, situation(reference_dose_ng=1_900 * UG))
    assert refused.reason == RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT
    assert (refused.value, refused.limit) == (3_700 * UG, 2_000 * UG)


# --- ramps -----------------------------------------------------------------------------------------------------------


def test_a_ramp_is_measured_from_step_to_step() -> None:
    derived = check_program(ramp((7, 150_000), (7, 180_000), (7, 300_000)), LIMITS, situation())
    assert derived.dose_24h_ng == 600 * UG
    assert derived.change_ppm == 666_667  # 180 to 300
    assert derived.warnings == (Warn.DAILY_DOSE_CHANGE,)
    assert (derived.peak_nl_per_day, derived.lowest_nl_per_day) == (300_000, 150_000)
    assert derived.empty_in_s == 14 * 86_400 + (30 * ML - 7 * 330_000) * 86_400 // 300_000
    assert check_program(ramp((7, 150_000), (7, 180_000)), LIMITS, situation()).warnings == ()
    refused = refusal(ramp((7, 150_000), (7, 300_001)))
    assert refused.reason == RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT
    assert (refused.field, refused.value, refused.limit) == ("ramp[1].dose_ng_per_day", 600_002, 600_000)
    assert check_program(ramp((7, 150_000), (7, 300_001)), LIMITS, situation(), at_bench=True).dose_24h_ng == 600_002


def test_a_ramp_that_ends_too_high_is_refused_at_once() -> None:
    refused = refusal(ramp((30, 300_000), (30, 600_000), (30, 1_000_001)))
    assert (refused.reason, refused.value) == (RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT, 2_000_002)


# --- periodic boluses ------------------------------------------------------------------------------------------------


def test_periodic_boluses_count_into_the_day() -> None:
    derived = check_program(periodic(), LIMITS, situation())
    assert (derived.dose_24h_ng, derived.volume_24h_nl) == (280 * UG, 140_000)
    assert derived.peak_nl_per_day == 100_000 + 10_000 * 144
    assert derived.lowest_nl_per_day == 100_000
    assert derived.change_ppm == 66_667
    # A day takes 140 000 nl; of the 215th there are 40 000: six hours with one bolus, and 5 000 of the second one.
    assert derived.empty_in_s == 214 * 86_400 + 6 * 3_600 + 5_000 * 86_400 // 1_540_000


@pytest.mark.parametrize(
    ("wanted", "reason", "field"),
    [
        (periodic(volume=0), MALFORMED, "bolus.volume_nl"),
        (periodic(duration_s=0), MALFORMED, "bolus.duration_s"),
        (periodic(interval_s=0), MALFORMED, "bolus.interval_s"),
        # 24 hours typed as minutes: the factor 60 of domain.md 0, fact 7.
        (periodic(duration_s=3_600, interval_s=1_440), RefusalReason.BOLUS_LONGER_THAN_INTERVAL, "bolus.duration_s"),
        # It fits by its duration, but at a whole number of nl/day it takes some milliseconds longer.
        (periodic(10_000, 21_601, 21_601), RefusalReason.BOLUS_LONGER_THAN_INTERVAL, "bolus.duration_s"),
        (periodic(10_000, 36), RefusalReason.RATE_ABOVE_MAXIMUM, "bolus.duration_s"),
        (
            periodic(100_001, interval_s=86_400, duration_s=3_600),
            RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT,
            "bolus.dose_ng",
        ),
        (periodic(90_000, interval_s=7_200), RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT, "dose_ng_per_day"),
        (
            replace(periodic(), bolus=ProgramBolus(10_000, 20_003, 600, 21_600, 0)),
            RefusalReason.DOSE_VOLUME_MISMATCH,
            "bolus.dose_ng",
        ),
    ],
)
def test_a_periodic_bolus_that_cannot_be_is_refused(wanted: Program, reason: RefusalReason, field: str) -> None:
    refused = refusal(wanted)
    assert (refused.reason, refused.field) == (reason, field)


def test_a_periodic_bolus_may_fill_its_interval_exactly() -> None:
    assert check_program(periodic(10_000, 21_600, 21_600), LIMITS, situation()).dose_24h_ng == 280 * UG


def test_a_high_bolus_warns() -> None:
    wanted = periodic(50_001, interval_s=86_400, rate=100_000)
    assert check_program(wanted, LIMITS, situation()).warnings == (Warn.BOLUS_DOSE_HIGH,)
    assert check_program(periodic(50_000, interval_s=86_400), LIMITS, situation()).warnings == ()


# --- the patient's bolus ---------------------------------------------------------------------------------------------

RULE = ProgramPatientBolus(10_000, 20_000, 600, 3_600, 4)


@pytest.mark.parametrize(
    "mode", [PumpMode.SIMPLE_CONTINUOUS, PumpMode.FLEX, PumpMode.TITRATION, PumpMode.PERIODIC_BOLUS]
)
@pytest.mark.parametrize("at_bench", [False, True])
def test_a_baclofen_pump_lets_no_patient_give_boluses_and_says_why(mode: PumpMode, at_bench: bool) -> None:
    by_mode = {
        PumpMode.FLEX: flex((0, 150_000)),
        PumpMode.TITRATION: ramp((1, 150_000)),
        PumpMode.PERIODIC_BOLUS: periodic(),
    }
    wanted = replace(by_mode.get(mode, program()), patient_bolus=RULE)
    with pytest.raises(Refused, match="baclofen overdose") as refused:
        check_program(wanted, LIMITS, situation(), at_bench=at_bench)
    assert refused.value.reason == RefusalReason.PATIENT_BOLUS_FORBIDDEN


def morphine(rule: ProgramPatientBolus = RULE) -> Program:
    return program(drug=Drug.MORPHINE, patient_bolus=rule)


def test_a_morphine_pump_counts_every_bolus_it_allows() -> None:
    derived = check_program(morphine(), LIMITS, situation(MORPHINE))
    assert derived.dose_24h_ng == 300 * UG  # the day's total is what is prescribed for sure
    assert derived.peak_nl_per_day == 150_000 + 10_000 * 144
    assert derived.empty_in_s == 30 * ML * 86_400 // (150_000 + 4 * 10_000)
    tight = replace(LIMITS, daily_dose_hard_max_ng=379_999, daily_dose_soft_max_ng=379_999)
    refused = refusal(morphine(), situation(MORPHINE), tight)
    assert (refused.reason, refused.value) == (RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT, 380 * UG)
    # With a lock-out of 12 hours there are only 2 in any 24, whatever the count says.
    assert check_program(morphine(replace(RULE, lockout_s=42_600)), tight, situation(MORPHINE)).warnings == ()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (replace(RULE, volume_nl=0, dose_ng=0), MALFORMED),
        (replace(RULE, max_per_24h=0), MALFORMED),
        (replace(RULE, duration_s=86_401), RefusalReason.BOLUS_LONGER_THAN_INTERVAL),
        (replace(RULE, dose_ng=20_003), RefusalReason.DOSE_VOLUME_MISMATCH),
        (replace(RULE, volume_nl=110_000, dose_ng=220_000), RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT),
        (replace(RULE, duration_s=36), RefusalReason.RATE_ABOVE_MAXIMUM),
    ],
)
def test_a_patient_rule_that_cannot_be_is_refused(rule: ProgramPatientBolus, reason: RefusalReason) -> None:
    assert refusal(morphine(rule), situation(MORPHINE)).reason == reason


def grant(**facts: object) -> None:
    asked: dict[str, object] = {"locked_until_ms": None, "begun_24h": 0, "critical_alarm": False}
    now = situation(MORPHINE, plan=Plan(morphine(), started_ms=0))
    for name in tuple(facts):
        if name not in asked:
            now = replace(now, **{name: facts.pop(name)})  # type: ignore[arg-type]
    check_patient_bolus(morphine(), LIMITS, now, **{**asked, **facts})  # type: ignore[arg-type]


def test_the_grant_rule_refuses_for_each_of_its_reasons() -> None:
    now_ms = situation().now_ms
    grant()
    grant(locked_until_ms=now_ms, begun_24h=3)
    full = ((now_ms - MS_PER_DAY, now_ms, 1_000_000, 2_000_000),)
    for facts, reason in (
        ({"locked_until_ms": now_ms + 1}, RefusalReason.LOCKED_OUT),
        ({"begun_24h": 4}, RefusalReason.BOLUS_COUNT_REACHED),
        ({"critical_alarm": True}, RefusalReason.CRITICAL_ALARM_PRESENT),
        ({"delivering": False}, RefusalReason.NOT_DELIVERING),
        ({"history": full}, RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT),
        ({"rules": RULES}, RefusalReason.PATIENT_BOLUS_FORBIDDEN),
    ):
        with pytest.raises(Refused) as refused:
            grant(**facts)
        assert refused.value.reason == reason
    with pytest.raises(Refused) as refused:
        check_patient_bolus(
            program(), LIMITS, situation(MORPHINE), locked_until_ms=None, begun_24h=0, critical_alarm=False
        )
    assert refused.value.reason == RefusalReason.PATIENT_BOLUS_NOT_PRESCRIBED


@pytest.mark.inv(45)
@given(sets=st.lists(st.tuples(st.integers(0, 2**33), st.integers(-720, 840)), max_size=3), left_ms=st.integers(-5, 5))
def test_inv_45_no_setting_of_the_clock_opens_a_lock_out_or_a_window(sets: list[tuple[int, int]], left_ms: int) -> None:
    now = situation(MORPHINE)
    for utc_s, zone in sets:
        now.clock.set(utc_s, zone, now.now_ms)
    if left_ms > 0:
        with pytest.raises(Refused, match="lockout_s"):
            grant(clock=now.clock, locked_until_ms=now.now_ms + left_ms)
    else:
        grant(clock=now.clock, locked_until_ms=now.now_ms + left_ms)
    full = ((now.now_ms - MS_PER_DAY, now.now_ms, 1_000_000, 2_000_000),)
    with pytest.raises(Refused, match="24 hours"):
        grant(clock=now.clock, history=full)


# --- the window over what was given ----------------------------------------------------------------------------------


@pytest.mark.inv(37)
@given(
    given_ng=st.integers(0, 2_200 * UG),
    ago_h=st.integers(0, 23),
    rate=st.integers(48_000, 1_000_000),
)
def test_inv_37_a_program_is_admitted_only_if_no_24_hours_exceed(given_ng: int, ago_h: int, rate: int) -> None:
    now_ms = situation().now_ms
    end_ms = now_ms - ago_h * MS_PER_HOUR
    history = ((end_ms - MS_PER_HOUR, end_ms, 12 * given_ng, 24 * given_ng),)
    # The worst window begins with the hour in the past and holds the program since now, or holds the program alone.
    worst = max(given_ng + Fraction(2 * rate * (23 - ago_h), 24), Fraction(2 * rate))
    now = situation(history=history, reference_dose_ng=0)
    if worst > 2_000 * UG:
        assert refusal(program(rate=rate), now).reason == RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT
    else:
        assert check_program(program(rate=rate), LIMITS, now).dose_24h_ng == 2 * rate


# --- single boluses and primes ---------------------------------------------------------------------------------------


def bolus(volume: int = 25_000, duration_s: int = 3_600, **changes: int) -> BolusOrder:
    return replace(BolusOrder(volume, 2 * volume, duration_s, STRONG, 7), **changes)


def test_a_bolus_is_derived_on_top_of_what_runs() -> None:
    derived = check_bolus(bolus(), LIMITS, situation())
    assert (derived.dose_24h_ng, derived.volume_24h_nl) == (350 * UG, 175_000)
    assert (derived.peak_nl_per_day, derived.lowest_nl_per_day) == (750_000, 150_000)
    assert (derived.change_ppm, derived.warnings) == (0, ())
    assert derived.empty_in_s == (30 * ML - 25_000) * 86_400 // 150_000
    assert check_bolus(bolus(50_001), LIMITS, situation()).warnings == (Warn.BOLUS_DOSE_HIGH,)


@pytest.mark.parametrize(
    ("order", "facts", "reason"),
    [
        (bolus(), {"plan": None}, RefusalReason.NOT_DELIVERING),
        (bolus(), {"delivering": False}, RefusalReason.NOT_DELIVERING),
        (bolus(concentration_ng_per_ml=500 * UG), {}, RefusalReason.CONCENTRATION_MISMATCH),
        (bolus(reservoir_generation=8), {}, RefusalReason.RESERVOIR_GENERATION_MISMATCH),
        (bolus(0), {}, MALFORMED),
        (bolus(duration_s=0), {}, MALFORMED),
        (bolus(duration_s=86_401), {}, RefusalReason.BOLUS_LONGER_THAN_INTERVAL),
        (bolus(25_000, 90), {}, RefusalReason.RATE_ABOVE_MAXIMUM),
        (bolus(dose_ng=50_003), {}, RefusalReason.DOSE_VOLUME_MISMATCH),
        (bolus(100_001), {}, RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT),
        (
            bolus(100_000),
            {"history": ((99 * MS_PER_DAY, 100 * MS_PER_DAY, 950_000, 1_900_000),)},
            RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT,
        ),
    ],
)
def test_a_bolus_that_cannot_be_is_refused(order: BolusOrder, facts: dict[str, object], reason: RefusalReason) -> None:
    with pytest.raises(Refused) as refused:
        check_bolus(order, LIMITS, situation(**facts))  # type: ignore[arg-type]
    assert refused.value.reason == reason


def test_bolus_after_bolus_is_stopped_by_the_window() -> None:
    history: list[tuple[int, int, int, int]] = []
    at_ms, found = situation().now_ms, None
    while not isinstance(found, Refused):
        found = outcome(partial(check_bolus, bolus(100_000), LIMITS, situation(now_ms=at_ms, history=tuple(history))))
        history.append((at_ms, at_ms + MS_PER_HOUR, 2_400_000 + 150_000, 4_800_000 + 300_000))
        at_ms += MS_PER_HOUR
    assert found.reason == RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT
    assert len(history) - 1 == 8  # 1 700 ug are left beside a basal of 300 ug a day, and each takes 200


def prime(volume: int = 195_800, rate: int = 24 * ML) -> PrimeOrder:
    return PrimeOrder(volume, rate, STRONG, 7)


def test_a_prime_instead_of_the_basal() -> None:
    derived = check_prime(prime(), LIMITS, situation())
    assert derived.warnings == ()
    assert derived.peak_nl_per_day == 24 * ML
    # 391.6 ug of prime in 704.88 s, and the basal for the rest of the day (rounded up).
    assert derived.dose_24h_ng == -(-(391_600 * 86_400_000 + 300_000 * (86_400_000 - 704_880)) // 86_400_000)
    assert check_prime(prime(PATH_NL + 1), LIMITS, situation()).warnings == (Warn.PRIME_BEYOND_PATH,)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (prime(2 * PATH_NL + 1), RefusalReason.PRIME_TOO_LARGE),
        (prime(0), RefusalReason.PRIME_TOO_LARGE),
        (prime(rate=24 * ML + 1), RefusalReason.RATE_ABOVE_MAXIMUM),
        (prime(rate=0), RefusalReason.RATE_BELOW_MINIMUM),
        (replace(prime(), concentration_ng_per_ml=UG), RefusalReason.CONCENTRATION_MISMATCH),
    ],
)
def test_a_prime_that_cannot_be_is_refused(order: PrimeOrder, reason: RefusalReason) -> None:
    with pytest.raises(Refused) as refused:
        check_prime(order, LIMITS, situation())
    assert refused.value.reason == reason


def test_two_primes_in_a_day_are_too_much() -> None:
    now_ms = situation().now_ms
    first = ((now_ms - MS_PER_HOUR, now_ms - MS_PER_HOUR + 2_417_760, 24 * ML, 48_000 * UG),)
    with pytest.raises(Refused, match="24 hours"):
        check_prime(prime(2 * PATH_NL), LIMITS, situation(history=first))


@pytest.mark.parametrize(("hours", "name"), [(1, "window_1h_nl"), (4, "window_4h_nl"), (24, "window_24h_nl")])
def test_a_profile_may_hold_a_pump_to_less_volume_than_its_highest_rate_gives(hours: int, name: str) -> None:
    given = 150_000 * hours // 24 + 90_000  # 3.75 ul an hour of basal; the bolus takes the place of none of it
    tight = {"window_1h_nl": ML, "window_4h_nl": 4 * ML, "window_24h_nl": 24 * ML, name: given}
    rules = replace(RULES, **tight)  # type: ignore[arg-type]
    order = bolus(90_000, 3_600)
    assert check_bolus(order, LIMITS, situation(rules)).dose_24h_ng == 480 * UG
    with pytest.raises(Refused, match=f"within {hours} h") as refused:
        check_bolus(order, LIMITS, situation(replace(rules, **{name: given - 1})))  # type: ignore[arg-type]
    assert (refused.value.value, refused.value.limit) == (given, given - 1)
    often = periodic(30_000, 1_800, 14_400)
    found = outcome(partial(check_program, often, LIMITS, situation(replace(RULES, window_1h_nl=34_166))))
    assert isinstance(found, Refused)  # 30 000 nl of bolus and 4 166.7 nl of basal within the hour
    assert (found.value, found.limit) == (34_167, 34_166)
    assert isinstance(
        outcome(partial(check_program, often, LIMITS, situation(replace(RULES, window_1h_nl=34_167)))), Derived
    )


# --- refill and bridge -----------------------------------------------------------------------------------------------

OLD = 500 * UG
BRIDGE = ProgramBridge(PATH_NL, 600_000, 300_000, OLD)


def refill(volume: int = 40 * ML, withdrawn: int = 30 * ML, **parts: object) -> RefillOrder:
    return RefillOrder(volume, withdrawn, program(reservoir_generation=8, **parts))  # type: ignore[arg-type]


def before(**facts: object) -> Situation:
    return replace(situation(concentration_ng_per_ml=OLD), **facts)  # type: ignore[arg-type]


def test_the_golden_bridge_is_admitted() -> None:
    derived = check_refill(refill(bridge=BRIDGE), LIMITS, before())
    assert derived.warnings == ()
    assert (derived.dose_24h_ng, derived.peak_nl_per_day) == (300 * UG, 600_000)
    bridge_ms = PATH_NL * MS_PER_DAY // 600_000  # 13.43 h
    assert derived.empty_in_s == bridge_ms // 1_000 + (40 * ML - PATH_NL) * 86_400 // 150_000


@pytest.mark.parametrize(
    ("order", "warnings"),
    [
        (refill(), (Warn.BRIDGE_OMITTED,)),
        (refill(bridge=replace(BRIDGE, volume_nl=PATH_NL + 1)), (Warn.PRIME_BEYOND_PATH,)),
        (refill(withdrawn=32 * ML, bridge=BRIDGE), ()),  # 2 ml: within reading of a syringe
        (refill(withdrawn=32 * ML + 1, bridge=BRIDGE), (Warn.WITHDRAWN_DIFFERS,)),
        (refill(withdrawn=28 * ML - 1, bridge=BRIDGE), (Warn.WITHDRAWN_DIFFERS,)),
    ],
)
def test_a_refill_warns(order: RefillOrder, warnings: tuple[Warn, ...]) -> None:
    assert check_refill(order, LIMITS, before()).warnings == warnings


def test_what_was_withdrawn_is_judged_against_what_was_given() -> None:
    # 38 of 40 ml were given by the book: 5.51 ml (14.5 %) may be missing or left over, 5.52 may not.
    nearly_empty = before(calculated=2 * ML * MS_PER_DAY)
    assert check_refill(refill(withdrawn=7_510_000, bridge=BRIDGE), LIMITS, nearly_empty).warnings == ()
    differs = check_refill(refill(withdrawn=7_510_001, bridge=BRIDGE), LIMITS, nearly_empty)
    assert differs.warnings == (Warn.WITHDRAWN_DIFFERS,)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (refill(40 * ML + 1, bridge=BRIDGE), RefusalReason.RESERVOIR_OVERFILLED),
        (refill(0, bridge=BRIDGE), RefusalReason.RESERVOIR_EMPTY),
        (refill(bridge=replace(BRIDGE, concentration_ng_per_ml=STRONG)), RefusalReason.BRIDGE_MISMATCH),
        (refill(bridge=replace(BRIDGE, volume_nl=0)), RefusalReason.BRIDGE_MISMATCH),
        (refill(bridge=replace(BRIDGE, volume_nl=2 * PATH_NL + 1)), RefusalReason.BRIDGE_MISMATCH),
        (refill(bridge=replace(BRIDGE, rate_nl_per_day=47_000)), RefusalReason.RATE_BELOW_MINIMUM),
        (refill(bridge=replace(BRIDGE, dose_ng_per_day=1_200_000)), RefusalReason.DOSE_VOLUME_MISMATCH),
        (RefillOrder(40 * ML, 0, program()), RefusalReason.RESERVOIR_GENERATION_MISMATCH),
        (RefillOrder(40 * ML, 0, program(drug=Drug.MORPHINE)), RefusalReason.DRUG_MISMATCH),
        # 1 200 ug/day at 500 ug/ml is 2.4 ml/day; at 2 000 ug/ml the same flow would be four times the dose.
        (refill(rate_nl_per_day=2_400_000, dose_ng_per_day=1_200_000), RefusalReason.DOSE_VOLUME_MISMATCH),
    ],
)
def test_a_refill_that_cannot_be_is_refused(order: RefillOrder, reason: RefusalReason) -> None:
    with pytest.raises(Refused) as refused:
        check_refill(order, LIMITS, before())
    assert refused.value.reason == reason


def test_the_first_filling_of_a_pump_needs_no_bridge_and_takes_one() -> None:
    assert check_refill(refill(), LIMITS, before(shelf=True)).warnings == ()
    old_catheter = refill(bridge=replace(BRIDGE, concentration_ng_per_ml=1_000 * UG, rate_nl_per_day=300_000))
    assert check_refill(old_catheter, LIMITS, before(shelf=True)).warnings == ()


def test_a_bridge_without_older_drug_is_refused_and_one_under_way_is_missed() -> None:
    bridging = situation(activity=Activity.BRIDGE, old_concentration_ng_per_ml=OLD)
    assert refusal(program(bridge=BRIDGE)).reason == RefusalReason.BRIDGE_MISMATCH
    assert check_program(program(), LIMITS, bridging).warnings == (Warn.BRIDGE_OMITTED,)
    assert check_program(program(bridge=BRIDGE), LIMITS, bridging).warnings == ()


def test_a_bridge_may_use_up_the_book() -> None:
    low = before(shelf=False)
    derived = check_refill(refill(200_000, bridge=BRIDGE), LIMITS, low)
    assert derived.empty_in_s == 200_000 * 86_400 // 600_000


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("min_rate_nl_per_day", 47_999, "min_rate_nl_per_day"),
        ("max_rate_nl_per_day", 24 * ML + 1, "max_rate_nl_per_day"),
        ("keep_alive_rate_nl_per_day", 5_999, "keep_alive_rate_nl_per_day"),
        ("low_reservoir_alarm_nl", ML - 1, "low_reservoir_alarm_nl"),
        ("low_reservoir_alarm_nl", 40 * ML + 1, "low_reservoir_alarm_nl"),
        ("daily_dose_hard_min_ng", 4_999, "daily_dose_hard_min_ng"),
        ("daily_dose_hard_max_ng", 2_000_001, "daily_dose_hard_max_ng"),
        ("daily_dose_soft_min_ng", 4_999, "daily_dose_hard_min_ng"),
        ("daily_dose_soft_max_ng", 2_000_001, "daily_dose_soft_max_ng"),
        ("change_soft_ppm", 1_000_001, "change_soft_ppm"),
        ("change_hard_ppm", 1_000_001, "change_hard_ppm"),
        ("bolus_dose_soft_max_ng", 200_001, "bolus_dose_soft_max_ng"),
        ("bolus_dose_hard_max_ng", 200_001, "bolus_dose_hard_max_ng"),
        ("max_rate_nl_per_day", 47_999, "min_rate_nl_per_day"),
    ],
)
def test_a_limit_outside_the_device_is_refused_by_name(name: str, value: int, field: str) -> None:
    with pytest.raises(Refused) as refused:
        check_limits(replace(LIMITS, **{name: value}), LIMITS, ML, 40 * ML)
    assert refused.value.reason == RefusalReason.LIMIT_OUTSIDE_DEVICE
    assert refused.value.field == field


def test_stricter_limits_are_taken_unless_the_therapy_breaks_them() -> None:
    stricter = replace(LIMITS, daily_dose_hard_max_ng=300 * UG, daily_dose_soft_max_ng=250 * UG, max_rate_nl_per_day=ML)
    check_limits(stricter, LIMITS, ML, 40 * ML, situation())
    with pytest.raises(Refused) as refused:
        check_limits(replace(stricter, daily_dose_hard_max_ng=299_999), LIMITS, ML, 40 * ML, situation())
    assert refused.value.reason == RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT
    assert refused.value.field == "daily_dose_hard_max_ng"


def test_what_leaves_the_therapy_alone_shows_its_numbers() -> None:
    standing = derive_standing(situation(), shift_minutes=-180, warnings=(Warn.SCHEDULE_SHIFTS,))
    assert standing == Derived(
        300 * UG, 150_000, 150_000, 150_000, 0, 200 * 86_400, (Warn.SCHEDULE_SHIFTS,), shift_minutes=-180
    )
    assert derive_standing(situation(plan=None)).empty_in_s == NEVER_S


# --- laws ------------------------------------------------------------------------------------------------------------

WORDS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 48_000, 150_000, 2**31, 2**32 - 1]))
LONGS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 300_000, 2**63, 2**64 - 1]))
LISTED = ("steps", "ramp")
SINGLE = ("bolus", "patient_bolus", "bridge")


def with_number(wanted: Program, pick: int, value: int) -> Program:
    """The program with one of its numbers, counted through all its parts, replaced."""
    places: list[tuple[str, int, str]] = []
    for field in fields(Program):
        held = getattr(wanted, field.name)
        items = held if field.name in LISTED else (held,) if field.name in SINGLE and held is not None else ()
        places += [(field.name, index, part.name) for index, item in enumerate(items) for part in fields(item)]
        places += [("", 0, field.name)] if type(held) is int else []
    name, index, number = places[pick % len(places)]
    if not name:
        return replace(wanted, **{number: value})  # type: ignore[arg-type]
    if name in SINGLE:
        return replace(wanted, **{name: replace(getattr(wanted, name), **{number: value})})
    items = list(getattr(wanted, name))
    items[index] = replace(items[index], **{number: value})
    return replace(wanted, **{name: tuple(items)})  # type: ignore[arg-type]


def within_its_width(derived: Derived) -> bool:
    words = (derived.volume_24h_nl, derived.peak_nl_per_day, derived.lowest_nl_per_day)
    return 0 <= derived.dose_24h_ng < 2**64 and all(0 <= word < 2**32 for word in words)


@pytest.mark.inv(42)
@given(
    wanted=st.sampled_from(
        [
            program(),
            program(PumpMode.MINIMUM_RATE, 6_000),
            flex((0, 150_000), (720, 100_000)),
            replace(flex((0, 150_000), (720, 100_000)), mode=PumpMode.WEEKDAY, patient_bolus=RULE),
            ramp((7, 150_000), (7, 160_000)),
            periodic(),
            program(bridge=ProgramBridge(PATH_NL, 600_000, 300_000, 500 * UG)),
        ]
    ),
    changes=st.lists(st.tuples(st.integers(0, 40), WORDS | LONGS), max_size=2),
)
def test_inv_42_whatever_a_program_holds_it_is_refused_or_its_numbers_fit(
    wanted: Program, changes: list[tuple[int, int]]
) -> None:
    wanted = replace(wanted, drug=Drug.MORPHINE)
    for pick, value in changes:
        wanted = with_number(wanted, pick, value)
    wide = replace(
        LIMITS,
        daily_dose_hard_max_ng=2**62,
        daily_dose_soft_max_ng=2**62,
        daily_dose_hard_min_ng=0,
        change_hard_ppm=2**31,
        bolus_dose_hard_max_ng=2**62,
    )
    now = situation(
        replace(MORPHINE, zero_rate_allowed=True),
        concentration_ng_per_ml=wanted.concentration_ng_per_ml,
        old_concentration_ng_per_ml=500 * UG,
    )
    for limits in (LIMITS, wide):
        found = outcome(partial(check_program, wanted, limits, now))
        assert found.field if isinstance(found, Refused) else within_its_width(found)
    if not changes:
        assert isinstance(outcome(partial(check_program, wanted, LIMITS, now)), Derived)


@pytest.mark.inv(42)
@given(
    numbers=st.lists(WORDS, min_size=3, max_size=3),
    dose=LONGS,
    concentration=st.sampled_from([0, 1, STRONG, 2**32 - 1]),
)
def test_inv_42_whatever_an_order_holds_it_is_refused_or_its_numbers_fit(
    numbers: list[int], dose: int, concentration: int
) -> None:
    now = situation(concentration_ng_per_ml=concentration)
    volume, second, third = numbers
    for check in (
        partial(check_bolus, BolusOrder(volume, dose, second, concentration, 7)),
        partial(check_prime, PrimeOrder(volume, second, concentration, 7)),
        partial(check_refill, RefillOrder(volume, third, program(reservoir_generation=8))),
    ):
        found = outcome(partial(check, LIMITS, now))
        assert found.field if isinstance(found, Refused) else within_its_width(found)


@pytest.mark.inv(41)
@given(
    where=st.sampled_from(["program", "step", "ramp", "bolus", "patient", "bridge", "order"]),
    volume=st.integers(48_000, 99_000),
    concentration=st.sampled_from([50_000, 333_333, 500_000, 1_000_000, 1_999_999]),
    off=st.integers(-3_000, 3_000),
)
def test_inv_41_dose_and_volume_disagree_in_no_part(where: str, volume: int, concentration: int, off: int) -> None:
    dose = volume * concentration // ML + off
    agrees = abs(dose * ML - volume * concentration) <= max(concentration, ML)
    limits = replace(LIMITS, daily_dose_hard_min_ng=0, daily_dose_soft_min_ng=0)
    now = situation(
        MORPHINE, concentration_ng_per_ml=concentration, reference_dose_ng=0, old_concentration_ng_per_ml=concentration
    )
    good = volume * concentration // ML
    base = program(rate=volume, dose_ng_per_day=good, concentration_ng_per_ml=concentration, drug=Drug.MORPHINE)
    wanted = {
        "program": replace(base, dose_ng_per_day=dose),
        "step": replace(
            base, mode=PumpMode.FLEX, steps=(ProgramStep(EVERY_DAY, 0, volume, dose),), dose_ng_per_day=max(0, dose)
        ),
        "ramp": replace(base, mode=PumpMode.TITRATION, ramp=(ProgramRampStep(1, volume, dose),), dose_ng_per_day=dose),
        "bolus": replace(base, mode=PumpMode.PERIODIC_BOLUS, bolus=ProgramBolus(volume, dose, 3_600, 86_400, 0)),
        "patient": replace(base, patient_bolus=ProgramPatientBolus(volume, dose, 3_600, 3_600, 1)),
        "bridge": replace(base, bridge=ProgramBridge(1_000, volume, dose, concentration)),
    }
    if where == "order":
        found = outcome(lambda: check_bolus(BolusOrder(volume, dose, 3_600, concentration, 7), limits, now))
    else:
        found = outcome(lambda: check_program(wanted[where], limits, now))
    assert isinstance(found, Derived) == agrees
    if isinstance(found, Refused):
        assert (found.reason, found.value) == (RefusalReason.DOSE_VOLUME_MISMATCH, dose)


@pytest.mark.inv(43)
@given(
    concentration=st.sampled_from([OLD, STRONG]),
    generation=st.integers(6, 8),
    drug=st.sampled_from(Drug),
    order=st.sampled_from(["program", "flex", "bolus", "prime"]),
)
def test_inv_43_what_is_meant_for_another_filling_is_refused_as_that(
    concentration: int, generation: int, drug: Drug, order: str
) -> None:
    binding = {"concentration_ng_per_ml": concentration, "reservoir_generation": generation}
    right = concentration == STRONG and generation == 7
    if order == "bolus":
        found = outcome(lambda: check_bolus(replace(bolus(), **binding), LIMITS, situation()))
    elif order == "prime":
        found = outcome(lambda: check_prime(replace(prime(), **binding), LIMITS, situation()))
    else:
        right = right and drug is Drug.BACLOFEN
        base = replace(program() if order == "program" else flex((0, 150_000)), drug=drug)
        found = outcome(lambda: check_program(replace(base, **binding), LIMITS, situation()))  # type: ignore[arg-type]
    assert isinstance(found, Derived) == right
    if isinstance(found, Refused):
        assert found.reason in {
            RefusalReason.DRUG_MISMATCH,
            RefusalReason.CONCENTRATION_MISMATCH,
            RefusalReason.RESERVOIR_GENERATION_MISMATCH,
        }


def test_every_limit_is_looked_at() -> None:
    # A limit that grows beyond what is sane is caught by some rule, whichever it is.
    for field in fields(PumpLimits):
        with pytest.raises(Refused) as refused:
            check_limits(replace(LIMITS, **{field.name: 2**40}), LIMITS, ML, 40 * ML)
        assert refused.value.reason == RefusalReason.LIMIT_OUTSIDE_DEVICE

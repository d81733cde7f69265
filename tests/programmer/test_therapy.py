"""The arithmetic of prescriptions: golden vectors of domain.md 2.2, 2.7 and 3.1, and laws of rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import Drug, PumpMode
from telemetry.programmer.therapy import (
    TITRATION_PPM,
    amount_in_force,
    bridge_for,
    bridge_ms,
    daily_total_ng,
    largest_day,
    lasting_ms,
    mean_flow,
    prime_volume,
    program_from,
    ramp,
    rate_in_force,
    rebound,
    span_ms,
    spans_of_day,
    therapy_of,
    titrated,
    titrated_therapy,
    unbridged,
)
from telemetry.therapy import PatientBolusRule, Program, Therapy
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, DailyDose, Dose, Duration, FlowRate, Volume

STRENGTH = 2_000_000
PATH_NL = 335_800
"""V_old of the golden vectors: 0.3358 ml."""
DOSE = 300_000


def program(therapy: Therapy, strength: int = STRENGTH) -> Program:
    return program_from(
        therapy,
        drug=Drug.BACLOFEN,
        concentration_ng_per_ml=strength,
        reservoir_generation=4,
        keep_alive_rate_nl_per_day=6_000,
    )


def doses(**steps: int) -> dict[str, FlowRate | DailyDose]:
    return {f"{key[1:3]}:{key[3:]}": DailyDose(dose) for key, dose in steps.items()}


# --- golden vectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "lowest", "highest"),
    [(500, 24, 12_000), (1000, 48, 24_000), (2000, 96, 48_000), (3000, 144, 72_000)],
)
def test_doses_at_the_smallest_and_largest_flow(strength: int, lowest: int, highest: int) -> None:
    assert rate_in_force(FlowRate.parse("0.048 ml/day"), strength * 1_000) == (48_000, lowest * 1_000)
    assert rate_in_force(FlowRate.parse("24 ml/day"), strength * 1_000) == (24_000_000, highest * 1_000)


@pytest.mark.parametrize(
    ("old", "new", "bridge_rate", "hours", "new_rate", "wrong_dose", "wrong_hours"),
    [
        (500, 2000, "0.600 ml/day", "13.43", "0.150 ml/day", 75, "53.7"),
        (2000, 500, "0.150 ml/day", "53.73", "0.600 ml/day", 1200, "13.4"),
    ],
)
def test_the_bridge_table(
    old: int, new: int, bridge_rate: str, hours: str, new_rate: str, wrong_dose: int, wrong_hours: str
) -> None:
    bridge = bridge_for(DOSE, old_ng_per_ml=old * 1_000, volume_nl=PATH_NL)
    assert bridge.rate_nl_per_day == FlowRate.parse(bridge_rate).nl_per_day
    assert (bridge.volume_nl, bridge.dose_ng_per_day, bridge.concentration_ng_per_ml) == (PATH_NL, DOSE, old * 1_000)
    assert hundredths(bridge_ms(bridge)) == hours
    after = program(Therapy.simple_continuous(DailyDose(DOSE)), new * 1_000)
    assert after.rate_nl_per_day == FlowRate.parse(new_rate).nl_per_day
    dose, span = unbridged(after.rate_nl_per_day, old_ng_per_ml=old * 1_000, volume_nl=PATH_NL)
    assert dose == wrong_dose * 1_000
    assert hundredths(span)[:-1] == wrong_hours


def hundredths(ms: int) -> str:
    """Hours to two decimals, rounded to the nearest as the book does."""
    hundredth = (ms * 100 + MS_PER_HOUR // 2) // MS_PER_HOUR
    return f"{hundredth // 100}.{hundredth % 100:02d}"


@pytest.mark.parametrize(("where", "volume_nl", "minutes"), [("path", 335_800, "20.1"), ("catheter", 195_800, "11.7")])
def test_prime_volumes_and_times_at_one_ml_an_hour(where: str, volume_nl: int, minutes: str) -> None:
    volume = prime_volume(where, tubing_volume_nl=140_000, catheter_volume_nl=195_800)
    assert volume == volume_nl
    tenths = span_ms(volume, 24_000_000) * 10 // MS_PER_MINUTE
    assert f"{tenths // 10}.{tenths % 10}" == minutes


def test_where_the_drug_is_need_not_be_primed() -> None:
    parts = {"tubing_volume_nl": 140_000, "catheter_volume_nl": 196_000}
    assert prime_volume("tubing", **parts) == 140_000
    assert prime_volume("path", **parts, already_drug_nl=196_000) == 140_000
    with pytest.raises(UsageError, match="nothing to prime"):
        prime_volume("catheter", **parts, already_drug_nl=196_000)
    with pytest.raises(UsageError, match="is none of path, catheter, tubing"):
        prime_volume("pump", **parts)


def test_the_overdose_of_a_wrong_tubing_volume() -> None:
    # 0.199 for 0.140 ml (domain.md, fact 6): 0.059 ml at 500, 1000, 2000, 3000 µg/ml.
    over = Volume(199_000 - 140_000)
    assert [amount_in_force(over, strength * 1_000)[1] for strength in (500, 1000, 2000, 3000)] == [
        29_500,
        59_000,
        118_000,
        177_000,
    ]


def test_no_bridge_where_nothing_flows() -> None:
    with pytest.raises(UsageError, match="no drug"):
        bridge_for(DOSE, old_ng_per_ml=0, volume_nl=PATH_NL)
    with pytest.raises(UsageError, match="no flow"):
        bridge_for(0, old_ng_per_ml=STRENGTH, volume_nl=PATH_NL)


# --- programs of every mode -----------------------------------------------------------------------------------------

FLEX = Therapy.flex(doses(t0000=280_000, t0600=340_000, t2200=400_000))
WEEK = Therapy.weekday({"mon-fri": doses(t0000=300_000, t0800=360_000), "sat,sun": doses(t0000=290_000, t1000=330_000)})
PERIODIC = Therapy.periodic_bolus(
    DailyDose(250_000), Dose(25_000), Duration.parse("5 min"), Duration.parse("6 h"), Duration.parse("2 h")
)
RAMP = Therapy.titration([(7, DailyDose(100_000)), (7, DailyDose(115_000)), (1, DailyDose(132_000))])
PATIENT = Therapy(
    PumpMode.SIMPLE_CONTINUOUS,
    FlowRate(200_000),
    patient_bolus=PatientBolusRule(Volume(5_000), Duration.parse("2 min"), Duration.parse("4 h"), 3),
)
EVERY = [
    Therapy.simple_continuous(DailyDose(DOSE)),
    Therapy.minimum_rate(),
    FLEX,
    WEEK,
    PERIODIC,
    RAMP,
    PATIENT,
]


def test_a_schedule_states_the_total_of_its_largest_day() -> None:
    made = program(FLEX)
    # 6 h at 280, 16 h at 340, 2 h at 400 µg/day.
    assert made.dose_ng_per_day == (280_000 * 6 + 340_000 * 16 + 400_000 * 2) // 24
    assert made.rate_nl_per_day == (140_000 * 6 + 170_000 * 16 + 200_000 * 2) // 24
    assert [step.rate_nl_per_day for step in made.steps] == [140_000, 170_000, 200_000]
    week = program(WEEK)
    assert week.dose_ng_per_day == (300_000 * 8 + 360_000 * 16) // 24
    assert [(start, end) for start, end, _ in spans_of_day(week.steps, 6)] == [(0, 600), (600, 1440)]


def test_the_other_modes_state_their_basal_their_first_step_or_the_pumps_own_rate() -> None:
    periodic = program(PERIODIC)
    assert (periodic.rate_nl_per_day, periodic.dose_ng_per_day) == (125_000, 250_000)
    assert periodic.bolus is not None
    assert (periodic.bolus.volume_nl, periodic.bolus.dose_ng) == (12_500, 25_000)
    assert (periodic.bolus.duration_s, periodic.bolus.interval_s, periodic.bolus.first_in_s) == (300, 21_600, 7_200)
    assert daily_total_ng(periodic) == 350_000
    assert program(RAMP).dose_ng_per_day == 100_000
    assert program(Therapy.minimum_rate()).rate_nl_per_day == 6_000


def test_a_dose_needs_drug() -> None:
    with pytest.raises(Refused, match="no drug"):
        program(PERIODIC, 0)
    assert program(PATIENT, 0).dose_ng_per_day == 0


@pytest.mark.parametrize("therapy", EVERY, ids=lambda therapy: therapy.mode.value)
@pytest.mark.parametrize("strength", [0, 500_000, STRENGTH])
def test_the_therapy_of_a_program_makes_the_same_program(therapy: Therapy, strength: int) -> None:
    if strength == 0 and therapy not in (EVERY[1], PATIENT):
        return
    made = program(therapy, strength)
    assert program(therapy_of(made), strength) == made


@given(flow=st.integers(0, 30_000_000), strength=st.integers(1, 5_000_000))
def test_a_flow_survives_its_way_through_a_dose_rounded_down_at_most(flow: int, strength: int) -> None:
    made = program(Therapy.simple_continuous(FlowRate(flow)), strength)
    again = program(therapy_of(made), strength)
    assert made.rate_nl_per_day - 1 - 1_000_000 // strength <= again.rate_nl_per_day <= made.rate_nl_per_day
    assert again.dose_ng_per_day == made.dose_ng_per_day


@given(ng=st.integers(0, 5_000_000), strength=st.integers(1, 5_000_000))
def test_rounding_is_towards_less_drug_and_below_one_step(ng: int, strength: int) -> None:
    for nl, told in (rate_in_force(DailyDose(ng), strength), amount_in_force(Dose(ng), strength)):
        assert told == ng
        assert 0 <= ng * 1_000_000 - nl * strength < strength
    nl, told = rate_in_force(FlowRate(ng), strength)
    assert 0 <= nl * strength - told * 1_000_000 < 1_000_000


@given(
    steps=st.dictionaries(st.integers(1, 1_439), st.integers(0, 2_000_000), max_size=23),
    first=st.integers(0, 2_000_000),
)
def test_the_stated_total_is_the_sum_of_the_steps_rounded_down_once(steps: dict[int, int], first: int) -> None:
    times = {0: first, **steps}
    made = program(Therapy.flex({f"{at // 60:02d}:{at % 60:02d}": DailyDose(dose) for at, dose in times.items()}))
    total = Fraction(0)
    for minute in range(1_440):
        total += Fraction(times[max(at for at in times if at <= minute)], 1_440)
    assert made.dose_ng_per_day == int(total)
    rate, dose = largest_day(made.steps)
    assert (rate, dose) == (made.rate_nl_per_day, made.dose_ng_per_day)
    assert dose * 1_000_000 >= rate * STRENGTH


def test_the_same_prescription_for_another_filling() -> None:
    made = program(FLEX)
    same = rebound(made, concentration_ng_per_ml=STRENGTH, reservoir_generation=5)
    assert (same.steps, same.reservoir_generation) == (made.steps, 5)
    weaker = rebound(made, concentration_ng_per_ml=500_000, reservoir_generation=5)
    assert [step.dose_ng_per_day for step in weaker.steps] == [step.dose_ng_per_day for step in made.steps]
    assert [step.rate_nl_per_day for step in weaker.steps] == [4 * step.rate_nl_per_day for step in made.steps]


# --- how long it lasts ----------------------------------------------------------------------------------------------


def test_forty_and_twenty_ml_last_as_in_the_book() -> None:
    made = program(Therapy.simple_continuous(DailyDose(DOSE)))
    # domain.md 2.9: 40 ml lasts 253 d, 20 ml 120 d, both to the alarm at 2 ml.
    assert lasting_ms(made, 38_000_000) == (253 * 24 + 8) * MS_PER_HOUR
    assert lasting_ms(made, 18_000_000) == 120 * MS_PER_DAY
    assert lasting_ms(program(Therapy.simple_continuous(FlowRate(0))), 1) is None


def test_the_long_run_counts_boluses_and_what_a_patient_may_take() -> None:
    assert mean_flow(program(PERIODIC)) == 125_000 + 4 * 12_500
    assert mean_flow(program(PATIENT)) == 200_000 + 3 * 5_000
    assert mean_flow(program(PATIENT), patient_boluses=False) == 200_000
    week = program(WEEK)
    weekday, weekend = Fraction(150_000 * 8 + 180_000 * 16, 24), Fraction(145_000 * 10 + 165_000 * 14, 24)
    assert mean_flow(week) == (5 * weekday + 2 * weekend) / 7


def test_bridge_and_ramp_come_before_the_long_run() -> None:
    bridge = bridge_for(DOSE, old_ng_per_ml=500_000, volume_nl=PATH_NL)
    bridged = program_from(
        Therapy.simple_continuous(DailyDose(DOSE)),
        drug=Drug.BACLOFEN,
        concentration_ng_per_ml=STRENGTH,
        reservoir_generation=1,
        keep_alive_rate_nl_per_day=6_000,
        bridge=bridge,
    )
    lasts = lasting_ms(bridged, PATH_NL + 150_000)
    assert lasts is not None
    assert bridge_ms(bridge) + MS_PER_DAY - 10 <= lasts <= bridge_ms(bridge) + MS_PER_DAY
    assert lasting_ms(bridged, 60_000) == MS_PER_DAY // 10  # ends inside the bridge
    ramped = program(RAMP)
    assert lasting_ms(ramped, 7 * 50_000 + 7 * 57_500 + 3 * 66_000) == 17 * MS_PER_DAY


# --- titration ------------------------------------------------------------------------------------------------------


def test_a_step_of_fifteen_percent() -> None:
    assert titrated(340_000, 150_000) == 391_000
    assert titrated(340_000, -150_000) == 289_000
    assert titrated(333_333, 100_000) == 366_666  # towards less drug
    with pytest.raises(UsageError, match="leaves no dose"):
        titrated(340_000, -1_000_000)


def test_every_rate_and_the_periodic_bolus_go_up_together() -> None:
    up = titrated_therapy(program(PERIODIC), 100_000)
    assert up.rate == DailyDose(275_000)
    assert up.bolus is not None
    assert up.bolus.amount == Dose(27_500)
    flex = titrated_therapy(program(FLEX), 100_000)
    assert [step.rate for step in flex.steps] == [DailyDose(308_000), DailyDose(374_000), DailyDose(440_000)]
    for therapy in (RAMP, Therapy.minimum_rate()):
        with pytest.raises(UsageError, match="not titrated by a share"):
            titrated_therapy(program(therapy), 100_000)


def test_a_ramp_ends_on_its_target() -> None:
    steps = ramp(100_000, 150_000, step_ppm=150_000, days=3).ramp
    assert [(step.days, step.rate) for step in steps] == [
        (3, DailyDose(115_000)),
        (3, DailyDose(132_250)),
        (3, DailyDose(150_000)),
    ]
    down = ramp(150_000, 100_000, step_ppm=-300_000, days=1).ramp
    assert [step.rate for step in down] == [DailyDose(105_000), DailyDose(100_000)]


@pytest.mark.parametrize(
    ("target", "step"), [(150_000, -100_000), (150_000, 0), (50_000, 100_000), (100_000, 100_000), (150_000, 1)]
)
def test_a_ramp_that_leads_nowhere_is_told(target: int, step: int) -> None:
    with pytest.raises(UsageError, match="ramp"):
        ramp(100_000, target, step_ppm=step, days=1)


@given(start=st.integers(10_000, 500_000), target=st.integers(10_000, 1_000_000), percent=st.integers(5, 30))
def test_no_step_of_a_ramp_is_larger_than_asked(start: int, target: int, percent: int) -> None:
    if target == start:
        return
    step = percent * 10_000 if target > start else -percent * 10_000
    therapy = ramp(start, target, step_ppm=step, days=2)
    before = start
    for one in therapy.ramp:
        assert isinstance(one.rate, DailyDose)
        dose = one.rate.ng_per_day
        # A step down is rounded towards less drug, so that it may pass its share by less than a nanogram.
        assert abs(dose - before) * 1_000_000 < abs(step) * before + 1_000_000
        before = dose
    assert before == target


def test_the_usual_steps_are_those_of_the_book() -> None:
    assert TITRATION_PPM == {
        "adult-spinal": (100_000, 300_000),
        "adult-cerebral": (50_000, 150_000),
        "child": (50_000, 150_000),
    }

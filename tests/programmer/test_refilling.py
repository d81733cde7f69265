"""Expected against withdrawn, and when the next refill is due (domain.md 2.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import Drug
from telemetry.programmer.refilling import (
    MARGIN_MS,
    SUSPICIONS,
    Finding,
    RefillBound,
    check_volume,
    check_withdrawn,
    refill_by,
    replace_by,
)
from telemetry.programmer.therapy import program_from
from telemetry.therapy import Program, Therapy
from telemetry.units import MS_PER_DAY, DailyDose, FlowRate, Volume

ML = 1_000_000


def program(rate: FlowRate | DailyDose) -> Program:
    return program_from(
        Therapy.simple_continuous(rate),
        drug=Drug.BACLOFEN,
        concentration_ng_per_ml=2_000_000,
        reservoir_generation=1,
        keep_alive_rate_nl_per_day=6_000,
    )


@pytest.mark.parametrize(
    ("withdrawn", "finding", "error_ppm"),
    [
        (10 * ML, Finding.AS_EXPECTED, 0),
        # 30 ml were calculated as delivered: 14.5 % of them is 4.35 ml.
        (10 * ML - 4_350_000, Finding.AS_EXPECTED, 145_000),
        (10 * ML - 4_350_001, Finding.LESS_THAN_EXPECTED, 145_000),
        (10 * ML + 4_350_000, Finding.AS_EXPECTED, -145_000),
        (10 * ML + 4_350_001, Finding.MORE_THAN_EXPECTED, -145_000),
    ],
)
def test_the_labelled_tolerance_decides(withdrawn: int, finding: Finding, error_ppm: int) -> None:
    found = check_withdrawn(expected_nl=10 * ML, withdrawn_nl=withdrawn, previous_fill_nl=40 * ML)
    assert (found.finding, found.error_ppm) == (finding, error_ppm)
    assert found.flagged is (finding is not Finding.AS_EXPECTED)
    assert (found.delivered_true_nl, found.delivered_calculated_nl) == (40 * ML - withdrawn, 30 * ML)


def test_below_two_ml_the_syringe_decides_nothing() -> None:
    # 2 ml of 8 ml given are 25 %, and still no finding; 1 nl more is one.
    for withdrawn, flagged in ((34 * ML, False), (34 * ML + 1, True)):
        found = check_withdrawn(expected_nl=32 * ML, withdrawn_nl=withdrawn, previous_fill_nl=40 * ML)
        assert found.flagged is flagged


def test_the_first_emptying_has_a_rule_of_its_own() -> None:
    for withdrawn, flagged in ((24 * ML, False), (24 * ML - 1, True), (36 * ML, False), (36 * ML + 1, True)):
        found = check_withdrawn(expected_nl=30 * ML, withdrawn_nl=withdrawn, previous_fill_nl=None, first=True)
        assert found.flagged is flagged
        assert found.error_ppm is None


def test_nothing_delivered_is_no_division() -> None:
    found = check_withdrawn(expected_nl=40 * ML, withdrawn_nl=40 * ML, previous_fill_nl=40 * ML)
    assert (found.error_ppm, found.flagged) == (None, False)
    assert check_withdrawn(expected_nl=40 * ML, withdrawn_nl=37 * ML, previous_fill_nl=40 * ML).flagged
    with pytest.raises(UsageError, match="negative"):
        check_withdrawn(expected_nl=1, withdrawn_nl=-1, previous_fill_nl=None)


@given(fill=st.integers(1, 40 * ML), expected=st.integers(0, 40 * ML), withdrawn=st.integers(0, 50 * ML))
def test_what_is_flagged_is_beyond_both_limits(fill: int, expected: int, withdrawn: int) -> None:
    found = check_withdrawn(expected_nl=expected, withdrawn_nl=withdrawn, previous_fill_nl=fill)
    beyond = abs(withdrawn - expected) * 200 > 29 * (fill - expected)
    assert found.flagged is (beyond and abs(withdrawn - expected) > 2 * ML)
    if found.flagged:
        assert (found.finding is Finding.LESS_THAN_EXPECTED) is (withdrawn < expected)
    assert found.finding in SUSPICIONS


@pytest.mark.parametrize(
    ("volume_ml", "days", "bound"), [(40, 180, RefillBound.SIX_MONTHS), (20, 120, RefillBound.VOLUME)]
)
def test_the_refill_date_of_the_book(volume_ml: int, days: int, bound: RefillBound) -> None:
    # 300 µg/day at 2000 µg/ml: 40 ml last 253 d, capped at 180; 20 ml last 120 d.
    found = refill_by(program(DailyDose(300_000)), now_ms=5, volume_nl=volume_ml * ML, alarm_nl=2 * ML, margin_ms=0)
    assert (found.at_ms, found.bound) == (5 + days * MS_PER_DAY, bound)


def test_the_drugs_expiry_and_the_margin() -> None:
    found = refill_by(
        program(DailyDose(300_000)), now_ms=0, volume_nl=40 * ML, alarm_nl=2 * ML, expires_ms=90 * MS_PER_DAY
    )
    assert (found.at_ms, found.bound) == (90 * MS_PER_DAY - MARGIN_MS, RefillBound.EXPIRY)
    assert MARGIN_MS == 7 * MS_PER_DAY
    never = refill_by(program(FlowRate(0)), now_ms=0, volume_nl=40 * ML, alarm_nl=2 * ML, margin_ms=0)
    assert (never.at_ms, never.bound) == (180 * MS_PER_DAY, RefillBound.SIX_MONTHS)
    due = refill_by(program(FlowRate(200_000)), now_ms=9, volume_nl=1 * ML, alarm_nl=2 * ML, margin_ms=0)
    assert (due.at_ms, due.bound) == (9, RefillBound.VOLUME)
    with pytest.raises(UsageError, match="negative"):
        refill_by(program(FlowRate(0)), now_ms=0, volume_nl=1, alarm_nl=0, margin_ms=-1)


def test_a_pump_is_replaced_by_the_end_of_its_reserve_or_of_its_life() -> None:
    life, reserve = 84 * 30 * MS_PER_DAY, 90 * MS_PER_DAY
    assert replace_by(1_000, 0, service_life_ms=life, reserve_ms=reserve) == 1_000 + reserve
    assert replace_by(life - MS_PER_DAY, 0, service_life_ms=life, reserve_ms=reserve) == life


def test_a_reservoir_is_never_overfilled() -> None:
    check_volume(Volume(40 * ML), 40 * ML)
    for volume in (0, 40 * ML + 1):
        with pytest.raises(UsageError, match="never overfilled"):
            check_volume(Volume(volume), 40 * ML)

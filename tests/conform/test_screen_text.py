"""Reading screens: what the units write is read back exactly; one letter less of a unit is another thing."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.conform.screen_text import Kind, numbers, quantities, says
from telemetry.units import Concentration, DailyDose, Dose, FlowRate, HourlyDose, Quantity, Volume

KINDS: dict[type[Quantity], Kind] = {
    FlowRate: Kind.FLOW,
    DailyDose: Kind.DAILY_DOSE,
    HourlyDose: Kind.HOURLY_DOSE,
    Dose: Kind.DOSE,
    Volume: Kind.VOLUME,
    Concentration: Kind.CONCENTRATION,
}


AROUND = st.sampled_from(["{}", "dose: {} (old)", "x={};", "a\n{}\nb"])


@given(st.sampled_from(list(KINDS)), st.integers(0, 10**12), AROUND)
def test_every_quantity_is_read_as_it_was_written(kind: type[Quantity], count: int, around: str) -> None:
    found = numbers(around.format(kind(count)))
    assert [(one.kind, one.count) for one in found] == [(KINDS[kind], Fraction(count))]
    assert found[0].is_exactly(count)
    assert found[0].is_about(count)
    assert not found[0].is_exactly(count + 1)


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("340 µg/day", Kind.DAILY_DOSE, 340_000),
        ("340.0 mcg/d", Kind.DAILY_DOSE, 340_000),
        ("0.34 mg per day", Kind.DAILY_DOSE, 340_000),
        ("0,34 mg/24 h", Kind.DAILY_DOSE, 340_000),
        ("340 μg / day", Kind.DAILY_DOSE, 340_000),
        ("1\u202f340 µg/day", Kind.DAILY_DOSE, 1_340_000),
        ("12.5 µg/h", Kind.HOURLY_DOSE, 12_500),
        ("0.0075 ml/h", Kind.FLOW, 180_000),
        ("7.5 µl/hour", Kind.FLOW, 180_000),
        ("0.180 mL/day", Kind.FLOW, 180_000),
        ("2 mg/ml", Kind.CONCENTRATION, 2_000_000),
        ("83 %", Kind.PERCENT, 83),
        ("340", None, 340),
        ("340 units", None, 340),
        ("340 µg/week", Kind.DOSE, 340_000),
    ],
)
def test_spellings(text: str, kind: Kind | None, count: int) -> None:
    assert [(one.kind, one.count) for one in numbers(text)] == [(kind, Fraction(count))]


@pytest.mark.parametrize(
    "text", ["2026-05-04 13:37:00 UTC", "serial SIM-P-01", "P-03", "", "µg/day", "day 7", "٣٤٠ µg/day"]
)
def test_dates_and_names_are_no_quantities(text: str) -> None:
    assert [one for one in numbers(text) if one.kind is not None] == []


def test_about_is_as_far_as_the_digits_go_and_no_further() -> None:
    (shown,) = quantities("0.17 ml/day", Kind.FLOW)
    assert shown.is_about(170_000)
    assert shown.is_about(171_000)
    assert not shown.is_about(179_000)  # 5 % off: a last digit is no licence
    assert not shown.is_about(17_000)
    (shown,) = quantities("333.3 µg/day", Kind.DAILY_DOSE)
    assert shown.is_about(333_333)
    assert not shown.is_exactly(333_333)
    assert shown.last == Fraction(100)
    (shown,) = quantities("340.0 µg/day", Kind.DAILY_DOSE)
    assert not shown.is_about(340_900)  # 0.3 % off: digits that stand there are meant
    (shown,) = quantities("0.000 ml/day", Kind.FLOW)
    assert shown.is_about(0)


def test_words_are_whole_words_whatever_their_case() -> None:
    assert says("NOT APPLIED: op", "applied")
    assert says("Out-of-date!", "out of date")
    assert not says("unapplied", "applied")
    assert not says("highest", "high")
    assert not says("", "high")


@given(st.text(max_size=200))
def test_any_text_is_read_without_complaint(text: str) -> None:
    for one in numbers(text):
        assert one.count >= 0
        assert one.last > 0

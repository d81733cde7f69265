"""Exact quantities: what text they accept, what they refuse and with which words."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import units
from telemetry.errors import UsageError
from telemetry.units import Charge, Concentration, DailyDose, Dose, Duration, FlowRate, HourlyDose, Quantity, Volume

KINDS: tuple[type[Quantity], ...] = (
    Volume,
    FlowRate,
    Concentration,
    Dose,
    DailyDose,
    HourlyDose,
    Charge,
    Duration,
)


def count(quantity: Quantity) -> int:
    """The integer inside, through the public representation."""
    return int(repr(quantity).partition("(")[2].rstrip(")"))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (FlowRate, "0.150 ml/day", 150_000),
        (FlowRate, "0.00625 ml/h", 150_000),
        (FlowRate, "150 ul/d", 150_000),
        (FlowRate, "0.15 mL/24h", 150_000),
        (FlowRate, "1 ml/day", 1_000_000),
        (DailyDose, "300 ug/day", 300_000),
        (DailyDose, "300 µg/day", 300_000),
        (DailyDose, "300 μg/d", 300_000),
        (DailyDose, "300 mcg/day", 300_000),
        (DailyDose, "0.3 mg/day", 300_000),
        (HourlyDose, "12.5 ug/h", 12_500),
        (HourlyDose, "12.5 ug/hour", 12_500),
        (Concentration, "2000 ug/ml", 2_000_000),
        (Concentration, "2 mg/ml", 2_000_000),
        (Volume, "40 ml", 40_000_000),
        (Volume, "  0.140 ml ", 140_000),
        (Dose, "50 ug", 50_000),
        (Charge, "1000 mAh", 3_600_000_000_000_000),
        (Duration, "253 d 8 h", 21_888_000_000),
        (Duration, "48h", 172_800_000),
        (Duration, "1.5 s", 1_500),
        (Duration, "81 months", 81 * 2_629_800_000),
        (Duration, "7 years", 84 * 2_629_800_000),
        (Duration, "2 days 3 minutes", 172_980_000),
    ],
)
def test_reads_exactly(kind: type[Quantity], text: str, expected: int) -> None:
    assert count(kind.parse(text)) == expected


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (FlowRate, "0.150", "has no unit"),
        (FlowRate, "0.150 l/day", "unknown unit 'l/day'"),
        (FlowRate, "300 ug/day", "is a dose per day, not a flow rate"),
        (DailyDose, "12.5 ug/h", "is a dose per hour, not a dose per day"),
        (HourlyDose, "300 ug/day", "is a dose per day, not a dose per hour"),
        (Volume, "0.0000001 ml", "finer than 1 nl"),
        (FlowRate, ".150 ml/day", "write 0.150, not .150"),
        (FlowRate, "-1 ml/day", "plain decimal number"),
        (FlowRate, "1e-3 ml/day", "plain decimal number"),
        (FlowRate, "0,150 ml/day", "plain decimal number"),
        (FlowRate, "1.2.3 ml/day", "plain decimal number"),
        (FlowRate, "007 ml/day", "plain decimal number"),
        (FlowRate, "", "plain decimal number"),
        (FlowRate, "nan ml/day", "plain decimal number"),
        (FlowRate, "٣ ml/day", "plain decimal number"),
        (FlowRate, "1" * 31 + " nl/day", "more than 30 digits"),
        (Duration, "5", "has no unit"),
        (Duration, "5 fortnights", "unknown unit"),
        (Duration, "0.0001 s", "finer than 1 ms"),
        (Duration, "1 d -2 h", "plain decimal number"),
    ],
)
def test_refuses_with_the_value_and_the_rule(kind: type[Quantity], text: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        kind.parse(text)
    assert words in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
def test_takes_whole_counts_only(kind: type[Quantity]) -> None:
    with pytest.raises(UsageError, match="cannot be negative"):
        kind(-1)
    for wrong in (1.0, True, "1", None):
        with pytest.raises(UsageError, match="counted in whole"):
            kind(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (FlowRate(150_000), "0.150 ml/day"),
        (FlowRate(6_000), "0.006 ml/day"),
        (FlowRate(1), "0.000001 ml/day"),
        (DailyDose(340_000), "340 µg/day"),
        (DailyDose(12_345), "12.345 µg/day"),
        (Volume(40_000_000), "40.000 ml"),
        (Concentration(2_000_000), "2000 µg/ml"),
        (Duration(21_888_000_000), "253 d 8 h"),
        (Duration(0), "0 s"),
        (Duration(61_500), "1 min 1.500 s"),
        (Charge(3_600_000_000_000_000), "1000 mAh"),
        (Charge(7), "7 pC"),
    ],
)
def test_prints_with_its_unit(quantity: Quantity, text: str) -> None:
    assert str(quantity) == text


@given(st.sampled_from(KINDS), st.integers(0, 10**15))
def test_what_is_printed_reads_back(kind: type[Quantity], value: int) -> None:
    assert kind.parse(str(kind(value))) == kind(value)


@given(st.sampled_from([Volume, FlowRate, Concentration, Dose, DailyDose, HourlyDose]), st.data())
def test_reading_agrees_with_fractions(kind: type[Quantity], data: st.DataObject) -> None:
    unit, scale = data.draw(st.sampled_from(sorted(kind.SCALES.items())))
    whole = data.draw(st.integers(0, 10**6))
    decimals = data.draw(st.text("0123456789", max_size=8))
    text = f"{whole}.{decimals} {unit}" if decimals else f"{whole} {unit}"
    exact = Fraction(f"{whole}.{decimals or 0}") * scale
    if exact.denominator == 1:
        assert count(kind.parse(text)) == exact
    else:
        with pytest.raises(UsageError, match="finer than"):
            kind.parse(text)


@pytest.mark.inv(42)
def test_inv_42_one_type_never_passes_for_another() -> None:
    assert DailyDose(1) != HourlyDose(1)
    assert DailyDose(1) == DailyDose(1)
    with pytest.raises(TypeError, match="cannot compare"):
        _ = DailyDose(1) < HourlyDose(2)  # type: ignore[operator]
    with pytest.raises(TypeError, match="cannot compare"):
        _ = FlowRate(1) >= Volume(1)  # type: ignore[operator]


def test_orders_hashes_and_stays_as_it_is() -> None:
    small, large = Volume(1), Volume(2)
    assert small < large <= Volume(2) > small
    assert large >= small
    assert len({small, Volume(1), large}) == 2
    assert hash(Volume(1)) != hash(Dose(1))
    assert copy.deepcopy(small) == small
    assert pickle.loads(pickle.dumps(large)) == large  # noqa: S301 - our own bytes
    with pytest.raises(AttributeError, match="immutable"):
        small._count = 5


@given(st.integers(1, 48_000_000), st.sampled_from([50_000, 500_000, 1_000_000, 2_000_000, 3_000_000]))
def test_dose_and_flow_convert_towards_less_drug(nanograms: int, concentration: int) -> None:
    drug = Concentration(concentration)
    flow = DailyDose(nanograms).flow_rate(drug)
    assert flow.nl_per_day * concentration <= nanograms * 10**6 < (flow.nl_per_day + 1) * concentration
    dose = flow.daily_dose(drug)
    assert dose.ng_per_day * 10**6 <= flow.nl_per_day * concentration < (dose.ng_per_day + 1) * 10**6
    assert dose <= DailyDose(nanograms)


def test_hour_and_day() -> None:
    assert HourlyDose(12_500).per_day() == DailyDose(300_000)
    with pytest.raises(UsageError, match="without drug"):
        DailyDose(1).flow_rate(Concentration(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2 ml/day", FlowRate(200_000)),
        ("300 ug/day", DailyDose(300_000)),
        ("12.5 ug/h", HourlyDose(12_500)),
    ],
)
def test_a_delivery_is_a_flow_or_a_dose(text: str, expected: Quantity) -> None:
    assert units.parse_delivery(text) == expected


@pytest.mark.parametrize(("text", "words"), [("3 ml", "unknown unit 'ml'"), ("3", "has no unit")])
def test_a_delivery_needs_a_unit_of_rate(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        units.parse_delivery(text)

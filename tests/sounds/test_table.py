"""The alarm table: complete, in the style of its rules, and what the pump families do."""

from __future__ import annotations

import re

import pytest

from telemetry.alarm_table import PUMP_ROWS, ROWS, TABLE, AlarmRow, Hearer, TabletCondition, Tone, parse_condition
from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority
from telemetry.sim.profiles import list_profiles, load_profile
from telemetry.units import MS_PER_HOUR

EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.kind))
DOSE = re.compile(r"\d[\d.,]*\s*(?:µg|μg|ug|mcg|mg|ng|ml|µl|microgram|milligram|millilit|tablets?\b)", re.IGNORECASE)


def test_every_kind_has_one_row_and_keeps_the_order_of_its_enumeration() -> None:
    assert [row.kind for row in ROWS] == [*AlarmKind, *TabletCondition]
    assert set(TABLE) == {*AlarmKind, *TabletCondition}


@EVERY_ROW
def test_every_hearer_gets_advice_of_a_sentence_or_more(row: AlarmRow) -> None:
    for hearer in Hearer:
        advice = row.advice.to(hearer)
        assert advice[0].isupper()
        assert advice.endswith(".")
        assert len(advice) <= 260


@EVERY_ROW
def test_no_advice_names_a_dose(row: AlarmRow) -> None:
    assert [hearer for hearer in Hearer if DOSE.search(row.advice.to(hearer))] == []


@pytest.mark.parametrize("text", ["take 50 µg", "give 20 mg of baclofen", "inject 1 ml", "two: 2 tablets"])
def test_the_rule_on_doses_sees_one(text: str) -> None:
    assert DOSE.search(text)


@EVERY_ROW
def test_what_is_critical_says_to_act_at_once(row: AlarmRow) -> None:
    if row.alarm_class is AlarmClass.CRITICAL:
        for hearer in (Hearer.PATIENT, Hearer.CARER):
            assert re.match(r"Call (?:your|the) pump team at once", row.advice.to(hearer))
        assert "at once" in row.advice.to(Hearer.CLINICIAN)


@EVERY_ROW
def test_a_row_says_where_it_is_from_and_how_sure_it_is(row: AlarmRow) -> None:
    assert re.search(r"(?:domain|trust)\.md \d", row.source)
    assert row.confidence in {"A", "B", "C", "design"}
    assert row.condition
    assert row.heard_by


@pytest.mark.parametrize("row", PUMP_ROWS, ids=lambda row: str(row.kind))
def test_one_tone_about_hourly_or_two_tones_every_ten_minutes(row: AlarmRow) -> None:
    if row.alarm_class is AlarmClass.CRITICAL:
        assert (row.tone, row.burst_ms, row.repeat_ms) == (Tone.TWO_TONE, 3_000, 600_000)
        assert row.priority is AlarmPriority.HIGH
    else:
        assert (row.tone, row.burst_ms, row.repeat_ms) == (Tone.SINGLE, 1_000, 3_600_000)
        assert row.priority is not AlarmPriority.HIGH


def test_what_only_a_tablet_announces_has_no_tone() -> None:
    for kind in TabletCondition:
        assert (TABLE[kind].tone, TABLE[kind].repeat_ms, TABLE[kind].alarm_class) == (Tone.NONE, None, None)


@pytest.mark.parametrize("name", list_profiles())
def test_the_pump_families_sound_as_the_table_says(name: str) -> None:
    profile = load_profile(name)
    assert {spec.kind for spec in profile.alarms} == set(AlarmKind)
    for spec in profile.alarms:
        row = TABLE[spec.kind]
        found = (spec.alarm_class, spec.priority, spec.tones_per_burst, spec.burst_ms, spec.repeat_ms, spec.latching)
        tones = 2 if row.tone is Tone.TWO_TONE else 1
        wanted = (row.alarm_class, row.priority, tones, row.burst_ms, row.repeat_ms, row.latching)
        assert found == wanted, spec.kind


@pytest.mark.parametrize(
    ("empties_in_ms", "priority"),
    [
        (None, AlarmPriority.LOW),
        (72 * MS_PER_HOUR + 1, AlarmPriority.LOW),
        (72 * MS_PER_HOUR, AlarmPriority.MEDIUM),
        (0, AlarmPriority.MEDIUM),
    ],
)
def test_a_low_reservoir_ranks_by_how_long_it_lasts(empties_in_ms: int | None, priority: AlarmPriority) -> None:
    assert TABLE[AlarmKind.LOW_RESERVOIR].priority_at(empties_in_ms) is priority
    assert TABLE[AlarmKind.MOTOR_STALL].priority_at(empties_in_ms) is AlarmPriority.HIGH


def test_a_kind_is_found_by_its_name() -> None:
    assert parse_condition(" Motor-Stall") is AlarmKind.MOTOR_STALL
    assert parse_condition("telemetry_latch") is TabletCondition.TELEMETRY_LATCH
    with pytest.raises(UsageError, match="'stall' is no kind of alarm; one of: low_reservoir, "):
        parse_condition("stall")

"""What a report works out of a run, against runs whose numbers are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from telemetry.errors import UsageError
from telemetry.report.building import DoseSpan, build
from telemetry.report.card import refill_by_ms
from telemetry.report.flow import AMBULATORY
from telemetry.report.series import Accuracy, Series
from telemetry.sim.run import COLUMNS, Run, RunAction, RunDose, RunEvent, RunVerdict, Samples
from telemetry.units import MS_PER_DAY, MS_PER_HOUR
from tests.report.conftest import FILL, LEVEL, RATE, make_run

DAILY_NG = 360_400
"""0.170 ml/day of 2000 µg/ml, and 6 % more."""


def with_samples(run: Run, **columns: list[int]) -> Run:
    return structs.replace(run, samples=structs.replace(run.samples, **columns))


# --- dose in a window ------------------------------------------------------------------------------------------------


def test_a_day_of_an_even_run_holds_the_daily_dose() -> None:
    series = Series(make_run())
    found = series.window(MS_PER_DAY)
    assert found.max_ng == pytest.approx(DAILY_NG, abs=2)
    assert found.min_ng == pytest.approx(DAILY_NG, abs=2)
    assert found.mean_ng == pytest.approx(DAILY_NG, abs=2)
    assert series.dose_ng(0, 30 * MS_PER_DAY) == pytest.approx(30 * DAILY_NG, abs=2)
    assert series.dose_ng(MS_PER_HOUR // 2, MS_PER_HOUR) == pytest.approx(DAILY_NG / 48, abs=1)


def test_the_worst_window_is_found_between_rows_and_named_by_its_end() -> None:
    run = make_run(days=10)
    # 100 µg more within the hour from 100 to 101.
    bolus = [ng + (100_000 if row > 100 else 0) for row, ng in enumerate(run.samples.delivered_ng)]
    series = Series(with_samples(run, delivered_ng=bolus))
    found = series.window(MS_PER_HOUR // 2)
    assert found.max_ng == pytest.approx(DAILY_NG / 48 + 50_000, abs=2)
    assert 100 * MS_PER_HOUR <= found.max_ends_ms <= 101 * MS_PER_HOUR
    assert found.min_ng == pytest.approx(DAILY_NG / 48, abs=2)
    assert series.window(4 * MS_PER_HOUR).max_ng == pytest.approx(DAILY_NG / 6 + 100_000, abs=2)
    inside = series.window(MS_PER_HOUR, 0, 90 * MS_PER_HOUR)
    assert inside.max_ng == pytest.approx(DAILY_NG / 24, abs=2)


@given(st.lists(st.integers(0, 50_000), min_size=4, max_size=40), st.integers(1, 30 * 60_000 * 2))
def test_no_window_anywhere_holds_more_than_the_one_that_was_found(steps: list[int], window_ms: int) -> None:
    run = make_run(days=1, every_ms=MS_PER_HOUR)
    sums = np.cumsum([0, *steps, *([0] * (24 - len(steps)))])[:25]
    series = Series(with_samples(run, delivered_ng=[int(ng) for ng in sums]))
    found = series.window(window_ms)
    starts = np.linspace(0, MS_PER_DAY - window_ms, 777)
    tried = np.asarray([series.dose_ng(start, start + window_ms) for start in starts])
    assert tried.max() <= found.max_ng + 1e-6
    assert tried.min() >= found.min_ng - 1e-6


@pytest.mark.parametrize(
    ("window_ms", "from_ms", "to_ms", "message"),
    [
        (31 * MS_PER_DAY, None, None, "31 d does not fit into the 30 d"),
        (0, None, None, "does not fit"),
        (MS_PER_DAY, 29 * MS_PER_DAY, 31 * MS_PER_DAY, "29 d to 31 d is outside the run"),
        (MS_PER_DAY, 5 * MS_PER_DAY, 4 * MS_PER_DAY, "is outside the run"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(
    window_ms: int, from_ms: int | None, to_ms: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Series(make_run()).window(window_ms, from_ms, to_ms)


# --- alarms ----------------------------------------------------------------------------------------------------------


def test_alarms_run_from_raised_to_cleared() -> None:
    day = MS_PER_DAY
    events = (
        RunEvent(at_ms=2 * day, kind="alarm_raised", detail="low_reservoir"),
        RunEvent(at_ms=3 * day, kind="alarm_raised", detail="motor_stall"),
        RunEvent(at_ms=5 * day, kind="alarm_cleared", detail="low_reservoir"),
        RunEvent(at_ms=6 * day, kind="alarm_raised", detail="low_reservoir"),
    )
    run = make_run(events=events)
    run = structs.replace(
        run, samples=structs.replace(run.samples, alarms=[["elective_replacement"], *run.samples.alarms[1:]])
    )
    bands = [(band.kind, band.from_ms // day, band.to_ms // day, band.open_end) for band in Series(run).bands()]
    assert bands == [
        ("elective_replacement", 0, 30, True),
        ("low_reservoir", 2, 5, False),
        ("motor_stall", 3, 30, True),
        ("low_reservoir", 6, 30, True),
    ]


def test_a_new_pump_has_none_of_the_alarms_of_the_old() -> None:
    events = (
        RunEvent(at_ms=MS_PER_DAY, kind="alarm_raised", detail="end_of_service"),
        RunEvent(at_ms=2 * MS_PER_DAY, kind="pump_replaced", detail="SIM-NEW"),
    )
    (band,) = Series(make_run(events=events)).bands()
    assert (band.to_ms, band.open_end) == (2 * MS_PER_DAY, False)


def test_critical_is_what_the_pump_calls_critical() -> None:
    events = tuple(RunEvent(at_ms=1, kind="alarm_raised", detail=kind) for kind in ("motor_stall", "low_reservoir"))
    assert {band.kind: band.critical for band in Series(make_run(events=events)).bands()} == {
        "motor_stall": True,
        "low_reservoir": False,
    }


# --- flow ------------------------------------------------------------------------------------------------------------


def test_a_constant_error_is_read_off_the_trumpet() -> None:
    found = Series(make_run()).accuracy()
    assert isinstance(found, Accuracy)
    assert found.trumpet.overall_percent == pytest.approx(6, abs=0.01)
    assert {round(window.max_percent, 1) for window in found.trumpet.windows} == {6.0}
    assert found.from_ms == 2 * MS_PER_DAY
    assert len(found.start_up.flow_nl_per_day) == 48


def test_the_longest_stretch_of_one_rate_is_measured() -> None:
    run = make_run(days=30)
    commanded = [RATE if row < 200 else 2 * RATE for row in range(len(run.samples))]
    found = Series(with_samples(run, commanded_nl_per_day=commanded)).accuracy()
    assert isinstance(found, Accuracy)
    assert found.start_up_from_ms == 200 * MS_PER_HOUR
    assert found.trumpet.rate_nl_per_day == 2 * RATE


def test_a_refill_and_a_dry_reservoir_end_a_stretch() -> None:
    refilled = make_run(days=30, events=(RunEvent(at_ms=100 * MS_PER_HOUR, kind="refilled"),))
    assert [part[:2] for part in Series(refilled).stretches()] == [(0, 100), (100, 720)]
    run = make_run(days=30)
    dry = with_samples(run, true_nl=[FILL if row < 300 else 0 for row in range(len(run.samples))])
    first, last, rate = next(iter(Series(dry).stretches()))
    assert (first, last, rate) == (0, 300, RATE)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (make_run(days=2), "the longest stretch of constant rate, 2 d, is shorter than"),
        (make_run(days=30, every_ms=7 * MS_PER_HOUR), "samples are 7 h apart, too far for any flow curve"),
        (with_samples(make_run(), commanded_nl_per_day=[0] * 721), "nothing was delivered at a constant rate"),
    ],
)
def test_why_there_is_no_curve_is_said(run: Run, message: str) -> None:
    assert message in str(Series(run).accuracy())
    assert any(message in note for note in build(run).notes)


def test_a_coarse_grid_shows_the_windows_that_it_can() -> None:
    found = Series(make_run(days=60, every_ms=4 * MS_PER_HOUR)).accuracy()
    assert isinstance(found, Accuracy)
    assert [window.window_ms // MS_PER_HOUR for window in found.trumpet.windows] == [12, 24, 72, 168]


def test_another_scheme_can_be_asked_for() -> None:
    found = Series(make_run(days=5, every_ms=900_000)).accuracy(AMBULATORY)
    assert isinstance(found, Accuracy)
    assert [window.window_ms // 60_000 for window in found.trumpet.windows] == [15, 60, 150, 330, 570, 930]


def test_what_flowed_is_believed_where_a_glance_missed_it() -> None:
    run = make_run(days=4)
    # Half an hour without flow, seen by no row: the sums fall back for good.
    missing = RATE // 48
    out = [nl - (missing if row >= 50 else 0) for row, nl in enumerate(run.samples.out_nl)]
    series = Series(with_samples(run, out_nl=out))
    assert series.true_ml_per_day[49] == pytest.approx(0.1802 - 0.085, abs=1e-3)
    assert series.true_ml_per_day[48] == pytest.approx(0.1802)


def test_a_front_that_is_a_stroke_late_is_no_dip() -> None:
    # By the hour, and a row a minute before one: 0.12 of the strokes of 1 µl that this pump makes.
    run = make_run(days=2, every_ms=60_000)
    rows = sorted([*range(0, 2881, 60), 659])
    samples = Samples(**{name: [getattr(run.samples, name)[row] for row in rows] for name in COLUMNS})
    dipped = [90_000 if at_ms == 659 * 60_000 else 360_400 for at_ms in samples.at_ms]
    run = structs.replace(run, every_ms=MS_PER_HOUR, samples=structs.replace(samples, tip_dose_ng_per_day=dipped))
    assert Series(run).tip_dose_ug_per_day.tolist() == pytest.approx([360.4] * len(rows))
    # Where every row is as brief, nothing is brief beside the others.
    fine = make_run(days=1, every_ms=30_000)
    dipped = [90_000 if row == 700 else 360_400 for row in range(len(fine.samples))]
    assert Series(with_samples(fine, tip_dose_ng_per_day=dipped)).tip_dose_ug_per_day[700] == pytest.approx(90)


def test_a_filling_stands_upright() -> None:
    run = make_run(days=4, events=(RunEvent(at_ms=50 * MS_PER_HOUR, kind="refilled"),))
    filled = [nl - 30_000_000 if row < 50 else nl for row, nl in enumerate(run.samples.calculated_nl)]
    at_ms, calculated, _ = Series(with_samples(run, calculated_nl=filled)).emptied()
    rows = np.flatnonzero(at_ms == 50 * MS_PER_HOUR)
    assert len(rows) == 2
    assert calculated[rows[0]] == pytest.approx(calculated[rows[0] - 1] - 0.170 / 24, abs=1e-5)
    assert calculated[rows[1]] - calculated[rows[0]] == pytest.approx(30, abs=0.001)


# --- the patient -----------------------------------------------------------------------------------------------------


def test_the_patient_of_an_even_run_is_steady() -> None:
    found = Series(make_run(error=0.0)).illustration()
    assert found.csf_ng_per_ml == pytest.approx(np.full(721, 340_000 / 24 / 30), rel=1e-3)
    assert not found.overdose_grade.any()
    assert not found.withdrawal_grade.any()


def test_a_lumbar_dose_counts_from_its_instant() -> None:
    run = make_run(error=0.0)
    doses = [RunDose(at_ms=150 * MS_PER_HOUR + 7, way="lumbar", ng=100_000)]
    found = Series(structs.replace(run, patient=structs.replace(run.patient, doses=doses))).illustration()
    steady = 340_000 / 24 / 30
    assert found.csf_ng_per_ml[150] == pytest.approx(steady, rel=0.01)
    assert found.csf_ng_per_ml[151] == pytest.approx(steady + 1530 * np.exp(-0.459), rel=0.01)
    assert found.near_tip_ng_per_ml == pytest.approx(5.5 * found.csf_ng_per_ml)


def test_drug_in_the_pocket_reaches_the_patient() -> None:
    run = make_run(error=0.0)
    beside = [80_000_000 if row >= 100 else 0 for row in range(len(run.samples))]
    found = Series(with_samples(run, pocket_ng=beside)).illustration()
    assert found.csf_ng_per_ml[103] > 2 * found.csf_ng_per_ml[99]
    assert found.overdose_grade[100] == 0
    assert max(found.overdose_grade[100:120]) >= 2


# --- the words -------------------------------------------------------------------------------------------------------


def test_a_report_says_what_the_run_was() -> None:
    run = make_run(
        verdicts=[RunVerdict(at_ms=5, what="no alarm", passed=False, wanted="none", found="motor_stall")],
        actions=[RunAction(at_ms=9, by="wire", what="set_rate", outcome="applied")],
    )
    report = build(run, DoseSpan(MS_PER_DAY, 0, 10 * MS_PER_DAY))
    facts = dict(report.facts)
    assert facts["Expectations"] == "0 met, 1 failed"
    assert facts["Past the tip"] == "5.406 ml with 10.81 mg of baclofen"
    tables = {table.name: table for table in report.tables}
    assert tables["expectations"].rows[0] == ("day 0 00:00:00.005", "no alarm", "FAILED", "none", "motor_stall")
    assert tables["actions"].rows[0][1:] == ("wire", "set_rate", "applied")
    assert tables["doses"].rows[-1][1] == "360.4 µg"
    assert "3604.0 µg" in tables["doses"].note
    assert tables["alarms"].note == "No alarm was raised."
    assert report.simulated


def test_events_say_what_their_numbers_count_and_leave_out_what_a_needle_did() -> None:
    events = (
        RunEvent(at_ms=5, kind="reservoir_dry", detail="truth"),
        RunEvent(at_ms=9, kind="reservoir_dry", detail="truth"),
        RunEvent(at_ms=9, kind="refilled", detail="2"),
        RunEvent(at_ms=9, kind="program_committed", detail="3"),
        RunEvent(at_ms=9, kind="alarm_raised", detail="motor_stall"),
    )
    table = build(make_run(events=events)).tables[-1]
    assert [row[2:] for row in table.rows] == [
        ("reservoir dry", "truth"),
        ("refilled", "fill 2"),
        ("program committed", "program 3"),
        ("alarm raised", "motor stall"),
    ]
    assert "reservoir dry 1" in table.note


def test_expectations_that_are_all_met_need_no_columns_for_what_was_found() -> None:
    met = RunVerdict(at_ms=5, what="timeline[3] (refill)", passed=True)
    (table,) = [one for one in build(make_run(verdicts=[met])).tables if one.name == "expectations"]
    assert table.columns == ("pump time", "expected", "")
    assert table.rows == [("day 0 00:00:00.005", "step 4 (refill)", "met")]


def test_a_run_over_two_pumps_says_whose_the_battery_is() -> None:
    replaced = RunEvent(at_ms=20 * MS_PER_DAY, kind="pump_replaced", detail="SIM-0002")
    assert dict(build(make_run(events=(replaced,))).facts)["Replaced"].startswith("2026-01-21 00:00 UTC")
    assert "Replaced" not in dict(build(make_run()).facts)


def test_a_page_holds_no_more_events_than_can_be_read() -> None:
    events = tuple(RunEvent(at_ms=number, kind="stopped") for number in range(1000))
    table = build(make_run(events=events)).tables[-1]
    assert len(table.rows) == 400
    assert "The first 400 of 1000; the CSV has them all." in table.note
    assert "stopped 1000" in table.note


def test_the_card_names_the_sooner_of_low_alarm_and_half_a_year() -> None:
    run = make_run()
    assert refill_by_ms(run) == 180 * MS_PER_DAY
    soon = structs.replace(run, final=structs.replace(run.final, low_reservoir_at_ms=99 * MS_PER_DAY))
    assert refill_by_ms(soon) == 99 * MS_PER_DAY
    stopped = structs.replace(run, final=structs.replace(run.final, low_reservoir_at_ms=None, rate_nl_per_day=0))
    assert refill_by_ms(stopped) == 180 * MS_PER_DAY
    front = dict(build(stopped).card.front)
    assert front["Rate"] == "none: simple continuous"
    front = dict(build(run).card.front)
    assert front["Rate"] == "0.170 ml/day = 340.0 µg/day"
    assert front["Drug"] == f"baclofen {LEVEL // 1000} µg/ml"
    assert (front["Refill by"], front["Replace by"]) == ("2026-06-30", "2032-12-31")
    card = build(run).card
    assert card.simulated
    assert "SIMULATED" in card.sample
    assert "emergency department at once" in card.emergency

"""The recorder: what it keeps, that it changes nothing, and that a run file is read strictly."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import telemetry
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import UsageError
from telemetry.sim import recording
from telemetry.sim.patient import PatientParameters
from telemetry.sim.recording import Recorder
from telemetry.sim.run import COLUMNS, Run, parse_run, read_run
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Therapy
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAST = Therapy.simple_continuous(FlowRate.parse("0.250 ml/day"))


def recorded(days: int = 10, **settings: Any) -> Run:  # noqa: ANN401 - of the recorder
    pump = VirtualPump(seed=7)
    with Recorder(pump, **settings) as recorder:
        pump.advance(days=days)
    return recorder.run()


def column(run: Run, name: str) -> dict[int, Any]:
    return dict(zip(run.samples.at_ms, getattr(run.samples, name), strict=True))


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_ninety_days_are_kept_by_the_hour() -> None:
    run = recorded(90)
    assert run.every_ms == MS_PER_HOUR
    assert run.samples.at_ms == [hour * MS_PER_HOUR for hour in range(90 * 24 + 1)]
    assert {len(getattr(run.samples, name)) for name in COLUMNS} == {len(run.samples)}


def test_seven_years_are_a_few_thousand_rows() -> None:
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        for _ in range(14):
            pump.advance(days=180)
            pump.refill()
    run = recorder.run()
    assert 2000 < len(run.samples) <= recording.MOST_ROWS
    assert run.every_ms == 16 * MS_PER_HOUR
    refills = [event.at_ms for event in run.events if event.kind == "refilled"]
    assert len(refills) == 14
    assert set(refills) <= set(run.samples.at_ms)
    on_grid = set(range(0, 14 * 180 * MS_PER_DAY, run.every_ms))
    assert on_grid <= set(run.samples.at_ms)


def test_a_grid_that_was_asked_for_is_kept() -> None:
    run = recorded(1, every=Duration.parse("5 min"))
    assert len(run.samples) == 289
    assert run.every_ms == 300_000


def test_rows_say_what_status_and_truth_said() -> None:
    pump = VirtualPump(seed=7, rate_error_ppm=60_000)
    with Recorder(pump) as recorder:
        pump.advance(days=3)
        status, truth, ledger = pump.status, pump.truth, pump.ledger
    run = recorder.run()
    last = {name: getattr(run.samples, name)[-1] for name in COLUMNS}
    assert last["at_ms"] == truth.now_ms
    assert last["programmed_nl_per_day"] == last["commanded_nl_per_day"] == status.rate_nl_per_day
    assert last["true_nl_per_day"] == truth.rate_nl_per_day == 180_200
    assert last["calculated_nl"] == status.reservoir_nl
    assert last["true_nl"] == truth.reservoir_nl
    assert last["delivered_nl"] == ledger.delivered_nl == last["out_nl"]
    assert last["delivered_ng"] == truth.delivered_ng
    assert last["battery_percent"] == status.battery_percent
    assert last["mode"] == "simple_continuous"
    assert last["alarms"] == []
    assert run.final.reservoir_nl == status.reservoir_nl
    assert run.final.replace_by_ms == status.replace_by_ms
    assert run.pump.profile == "itb-40"
    assert run.simulated


def test_an_event_has_a_row_with_the_state_after_it() -> None:
    pump = VirtualPump(seed=7, fill=Volume.parse("3 ml"))
    with Recorder(pump) as recorder:
        pump.advance(days=30)
    run = recorder.run()
    low = next(event for event in run.events if (event.kind, event.detail) == ("alarm_raised", "low_reservoir"))
    empty = next(event for event in run.events if event.kind == "reservoir_empty")
    assert low.at_ms % MS_PER_HOUR
    assert column(run, "calculated_nl")[low.at_ms] == 2_000_000
    assert column(run, "alarms")[low.at_ms] == ["low_reservoir"]
    assert column(run, "commanded_nl_per_day")[empty.at_ms] == 0
    assert column(run, "mode")[empty.at_ms] == "empty"


def test_what_is_done_shows_in_the_row_of_its_instant() -> None:
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        pump.advance(hours=5, minutes=20)
        pump.stop()
        pump.advance(hours=5)
    run = recorder.run()
    stopped_ms = 5 * MS_PER_HOUR + 20 * 60_000
    assert column(run, "commanded_nl_per_day")[stopped_ms] == 0
    assert column(run, "mode")[stopped_ms] == "stopped"
    assert column(run, "commanded_nl_per_day")[5 * MS_PER_HOUR] == 170_000


def test_a_concentration_arrives_blurred_around_the_sharp_front() -> None:
    pump = VirtualPump(seed=7, concentration=Concentration.parse("500 ug/ml"))
    with Recorder(pump, every=Duration.parse("10 min")) as recorder:
        pump.advance(hours=1)
        pump.refill(concentration=Concentration.parse("2000 ug/ml"), therapy=FAST)
        pump.advance(days=4)
    run = recorder.run()
    sharp, mixed = column(run, "tip_ng_per_ml"), column(run, "mixed_tip_ng_per_ml")
    front_ms = next(at_ms for at_ms, level in sharp.items() if level == 2_000_000)
    assert mixed[MS_PER_HOUR] == sharp[MS_PER_HOUR] == 500_000
    assert 500_000 < mixed[front_ms - MS_PER_HOUR // 6] < mixed[front_ms] < 2_000_000
    assert mixed[front_ms] == pytest.approx(1_250_000, rel=0.3)
    assert mixed[run.samples.at_ms[-1]] == 2_000_000
    assert list(mixed.values()) == sorted(mixed.values())


def test_a_missed_port_and_a_catheter_off_the_pump_are_seen_in_the_pocket() -> None:
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        pump.advance(days=1)
        pump.fill(Volume.parse("1 ml"), Concentration.parse("2000 ug/ml"), "pocket")
        pump.inject("catheter_failure", mode="disconnected", after=Duration.parse("90 min"))
        pump.advance(days=2)
    run = recorder.run()
    pocket, lost = column(run, "pocket_ng"), column(run, "lost_ng")
    assert pocket[23 * MS_PER_HOUR] == 0
    assert pocket[MS_PER_DAY + MS_PER_HOUR] == 2_000_000
    assert pocket[run.samples.at_ms[-1]] == lost[run.samples.at_ms[-1]] > 2_000_000
    # What a needle puts beside the port was never pumped.
    assert column(run, "out_nl")[MS_PER_DAY] == 170_000
    # The fault has a row of its own, between those of the grid.
    assert MS_PER_DAY + 90 * 60_000 in pocket


def test_a_replacement_goes_on_in_the_same_run() -> None:
    clock = ManualClock()
    old = VirtualPump(seed=7, clock=clock)
    recorder = Recorder(old)
    clock.advance(days=5)
    new = VirtualPump(seed=8, serial="SIM-NEW", clock=clock)
    recorder.follow(new)
    clock.advance(days=5)
    run = recorder.run()
    for name in ("out_nl", "delivered_nl", "delivered_ng", "lost_nl", "lost_ng", "pocket_ng"):
        sums = getattr(run.samples, name)
        assert sums == sorted(sums)
    assert run.samples.delivered_nl[-1] == old.truth.delivered_nl // 2 + new.truth.delivered_nl
    assert ("pump_replaced", "SIM-NEW") in [(event.kind, event.detail) for event in run.events]
    assert run.pump.serial == "SIM-NEW"


def test_the_owner_tells_of_actions_verdicts_doses_and_the_patient() -> None:
    pump = VirtualPump(seed=7)
    with Recorder(
        pump, title="a visit", patient=PatientParameters(hill=3), accustomed_to=DailyDose.parse("340 ug/day")
    ) as recorder:
        pump.advance(hours=2)
        recorder.action("bench", "refill", "filled 40 ml")
        recorder.verdict("no alarm", passed=False, wanted="none", found="low_reservoir")
        recorder.dose("lumbar", Dose.parse("50 ug"))
        pump.advance(hours=2)
    run = recorder.run()
    at_ms = 2 * MS_PER_HOUR
    assert (run.title, run.actions[0].at_ms, run.actions[0].outcome) == ("a visit", at_ms, "filled 40 ml")
    assert (run.verdicts[0].passed, run.verdicts[0].found) == (False, "low_reservoir")
    assert (run.patient.doses[0].way, run.patient.doses[0].ng) == ("lumbar", 50_000)
    assert run.patient.parameters["hill"] == 3
    assert run.patient.accustomed_to_ng_per_day == 340_000
    assert run.patient.illustrative is True


def test_more_events_than_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_EVENTS", 2)
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        for _ in range(3):
            pump.stop()
            pump.resume()
    run = recorder.run()
    assert len(run.events) == 2
    assert run.events_left_out > 0


def test_rows_of_events_are_thinned_when_it_is_they_that_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_ROWS", 40)
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        for _ in range(60):
            pump.advance(minutes=7)
            pump.stop()
            pump.advance(minutes=7)
            pump.resume()
    assert len(recorder.run().samples) <= 41


def test_a_closed_recorder_sees_nothing_more() -> None:
    pump = VirtualPump(seed=7)
    recorder = Recorder(pump)
    pump.advance(days=1)
    recorder.close()
    recorder.close()
    rows = len(recorder.run().samples)
    pump.advance(days=1)
    pump.stop()
    assert len(recorder.run().samples) == rows


# --- it changes nothing ----------------------------------------------------------------------------------------------

Act = st.sampled_from(["advance", "program", "stop", "resume", "refill", "cut"])


def play(pump: VirtualPump, acts: list[tuple[str, int]]) -> None:
    for act, minutes in acts:
        pump.advance(minutes=minutes)
        try:
            if act == "program":
                pump.program(FAST)
            elif act == "cut":
                pump.inject("power_cut")
            elif act != "advance":
                getattr(pump, act)()
        except telemetry.TelemetryError:
            continue
    pump.advance(hours=3)


@settings(max_examples=40)
@given(st.lists(st.tuples(Act, st.integers(0, 100_000)), max_size=8))
def test_a_recorded_pump_lives_as_one_that_is_not(acts: list[tuple[str, int]]) -> None:
    alone, watched = (VirtualPump(seed=7, rate_error_ppm=31_000) for _ in range(2))
    play(alone, acts)
    with Recorder(watched):
        play(watched, acts)
    assert watched.snapshot() == alone.snapshot()


@settings(max_examples=25)
@given(st.lists(st.integers(1, 40 * MS_PER_DAY), max_size=6))
def test_how_time_is_cut_does_not_show_in_a_run(parts: list[int]) -> None:
    runs = []
    for cuts in (parts, [sum(parts)]):
        pump = VirtualPump(seed=7, fill=Volume.parse("6 ml"))
        with Recorder(pump) as recorder:
            for part in cuts:
                pump.advance(ms=part)
        runs.append(recorder.run())
    assert runs[0] == runs[1]


@pytest.mark.virtual
async def test_a_visit_over_the_wire_is_recorded_and_not_disturbed() -> None:
    async def visit(pump: VirtualPump) -> tuple[object, ...]:
        async with telemetry.connect(pump=pump) as programmer:
            await programmer.read_status()
            await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
        pump.advance(days=2)
        return pump.status, pump.truth, pump.ledger  # a snapshot holds the random number of the operation too

    alone, watched = VirtualPump(seed=7), VirtualPump(seed=7)
    with Recorder(watched) as recorder:
        assert await visit(watched) == await visit(alone)
    assert recorder.run().samples.commanded_nl_per_day[-1] == 180_000


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = recorded(2)
    path = tmp_path / "visit.run.json"
    run.write(path)
    assert read_run(path) == run
    assert json.loads(path.read_text(encoding="utf-8"))["simulated"] is True


def broken(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(recorded(1).to_json())
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.update(format="x"), 'it has no "format": "itb-run"'),
        (lambda run: run.update(version=99), "is version 99; this program reads version 1"),
        (lambda run: run.update(surprise=1), "unknown field `surprise`"),
        (lambda run: run.pop("events"), "missing required field `events`"),
        (lambda run: run["samples"]["true_nl"].pop(), r"samples.true_nl has 24 rows, samples.at_ms has 25"),
        (lambda run: run["samples"]["true_nl"].append(1.5), "Expected `int`, got `float`"),
        (lambda run: run["samples"]["at_ms"].__setitem__(3, 0), "row 3, 0, is not after 7200000"),
        (lambda run: [run["samples"][name].clear() for name in COLUMNS], "samples has no row"),
        (lambda run: run.update(simulated=False), "only simulated runs are read"),
        (lambda run: run["patient"].update(illustrative=False), "only simulated runs are read"),
    ],
)
def test_a_run_file_that_is_wrong_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_run(broken(change), "visit.run.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}'])
def test_what_is_no_run_file_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"visit\.run\.json: is no run file"):
        parse_run(data, "visit.run.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.run\.json: cannot be read: No such file"):
        read_run(tmp_path / "none.run.json")


# --- refused ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(UsageError, match="a SystemClock cannot be recorded; give the pump a ManualClock"):
        Recorder(VirtualPump(seed=7, clock=SystemClock()))
    with pytest.raises(UsageError, match="every: 0 s is no interval"):
        Recorder(VirtualPump(seed=7), every=Duration(0))
    recorder = Recorder(VirtualPump(seed=7))
    with pytest.raises(UsageError, match="lives on another clock"):
        recorder.follow(VirtualPump(seed=8))
    with pytest.raises(UsageError, match="way: 'mouth' is none of lumbar"):
        recorder.dose("mouth", Dose(1))


def test_a_pump_that_was_rewound_is_recorded_anew() -> None:
    pump = VirtualPump(seed=7)
    with Recorder(pump) as recorder:
        pump.advance(days=1)
        kept = pump.snapshot()
        pump.advance(days=1)
        pump.rewind(kept)
        pump.advance(days=5)
        with pytest.raises(UsageError, match="was rewound and lives on another clock now"):
            recorder.run()


def test_instants_rise() -> None:
    run = recorded(3, every=Duration.parse("7 min"))
    assert all(before < after for before, after in pairwise(run.samples.at_ms))

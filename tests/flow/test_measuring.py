"""A measurement through a balance that fails: the run goes on with a marked gap, or ends with what was measured."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.clock import ManualClock
from telemetry.errors import LinkError, PeerError, UsageError
from telemetry.flow.analysis import analyse, blank_of
from telemetry.flow.client import Balance
from telemetry.flow.dialects import SICS
from telemetry.flow.document import parse_flow
from telemetry.flow.measuring import Measurement
from telemetry.flow.scale import Mishap, Scale, ScaleSettings, parse_mishap
from telemetry.flow.serving import ScaleServer
from telemetry.flow.simulating import PumpSettings, bench_pump, simulate
from telemetry.flow.streams import PumpStream
from telemetry.transport.memory import open_memory
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE
from tests.flow.conftest import RATE, corrections, plan

if TYPE_CHECKING:
    from typing import Any

    from telemetry.flow.document import FlowRun
    from telemetry.transport.base import Receiver, Transport

PUMP = PumpSettings("itb-40", RATE, 7)


def taken(
    *mishaps: str,
    scale: ScaleSettings | None = None,
    protocol: str = "sics",
    **changed: Any,  # noqa: ANN401 - any field of a plan
) -> FlowRun:
    befalls = tuple(parse_mishap(text) for text in mishaps)
    asked = plan(**{"hours": 48, **changed})
    return asyncio.run(simulate(asked, PUMP, scale or ScaleSettings(), protocol=protocol, mishaps=befalls))


def kinds(run: FlowRun) -> list[str]:
    return [mark.kind for mark in run.marks]


def missing(run: FlowRun) -> list[int]:
    return [row for row, mass in enumerate(run.readings.mass_ng) if mass is None]


def test_a_quiet_measurement_has_every_reading_and_no_mark() -> None:
    run = taken()
    assert run.marks == []
    assert missing(run) == []
    assert len(run.readings) == 49
    assert run.simulated
    assert run.equipment.simulated
    assert run.equipment.model == "SIMULATED-BALANCE"
    assert run.readings.truth_nl[-1] == 2 * RATE
    assert run.ended == ""
    assert run.started_utc_ms is None  # virtual time has no calendar, and the file must be repeatable
    assert taken().to_json() == run.to_json()


@pytest.mark.parametrize("protocol", ["sics", "sbi", "and"])
@pytest.mark.parametrize(
    ("mishap", "word"),
    [
        ("silent@10h+2h", "silent"),
        ("overload@10h+2h", "overload"),
        ("garbage@10h+2h", "baud rate"),
        ("unplug@10h+2h", "link to the balance is gone"),
    ],
    ids=lambda value: value.partition("@")[0],
)
def test_a_gap_is_marked_and_the_run_goes_on(protocol: str, mishap: str, word: str) -> None:
    run = taken(mishap, protocol=protocol)
    assert kinds(run) == ["gap", "gap_ended"]
    assert missing(run) == [10, 11]
    assert word in run.marks[0].text
    assert run.marks[0].at_ms // MS_PER_HOUR == 10
    assert run.marks[1].at_ms // MS_PER_HOUR == 12
    found = analyse(run)
    assert found.measured is not None
    # The beaker went on filling: the sum across the gap is known, the flow within it is not.
    assert found.measured.overall_percent == pytest.approx(0, abs=0.03)
    assert found.start_up is not None
    assert np.flatnonzero(np.isnan(found.start_up.flow_nl_per_day)).tolist() == [9, 10, 11]
    assert parse_flow(run.to_json()) == run


def test_a_tare_in_mid_run_parts_the_curve() -> None:
    run = taken("tare@20h")
    assert kinds(run) == ["tared"]
    assert "fell by" in run.marks[0].text
    found = analyse(run)
    assert found.measured is not None
    assert set(found.volumes.pieces.tolist()) == {0, 1}
    shortest = found.measured.windows[0]
    assert shortest.positions == 47  # of 48: the window across the tare is left out
    assert abs(shortest.max_percent) < 1
    assert found.measured.analysed_ms == 47 * MS_PER_HOUR


def test_a_small_tare_early_on_is_seen_as_well() -> None:
    # The balance was tared with the beaker on it at the start, so a later tare takes no more than 100 mg away.
    async def tared_before() -> FlowRun:
        clock = ManualClock()
        device, _ = bench_pump(PUMP, clock)
        stream = PumpStream(device)
        scale = Scale(ScaleSettings(), mishaps=(Mishap("tare", 5 * MS_PER_HOUR),))
        scale.tare(0, 0)
        server = ScaleServer(scale, stream, clock, "sics")

        async def opener(receiver: Receiver) -> Transport:
            return open_memory(receiver, server.accept, clock=clock, datagrams=False)

        async with Balance(opener, clock, SICS) as balance:
            run = await Measurement(balance, stream, plan(12)).take()
        await server.close()
        return run

    assert kinds(asyncio.run(tared_before())) == ["tared"]


def test_something_laid_on_the_pan_parts_it_twice() -> None:
    run = taken("load@20h+2h")
    assert kinds(run) == ["jump", "tared"]
    assert set(analyse(run).volumes.pieces.tolist()) == {0, 1, 2}


def test_a_silence_without_end_ends_the_run_with_what_was_measured() -> None:
    run = taken("silent@20h+1000h", hours=100)
    assert "no reading for more than" in run.ended
    assert run.marks[-1].kind == "ended"
    assert missing(run) == list(range(20, len(run.readings)))
    assert len(run.readings) == 20 + 12  # ten samples of patience, one to begin and one to be beyond it
    found = analyse(run)
    assert found.measured is not None
    assert found.measured.analysed_ms == 19 * MS_PER_HOUR


@pytest.mark.parametrize(
    ("mishap", "error", "words"),
    [
        ("silent@0h+1h", LinkError, "no answer to sics within"),
        ("garbage@0h+1h", PeerError, "baud rate"),
        ("overload@0h+1h", PeerError, "overload"),
        ("unplug@0h+1h", LinkError, "closed"),
    ],
)
def test_nothing_begins_without_a_first_reading(mishap: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        taken(mishap)


def test_a_door_that_slams_is_waited_out() -> None:
    run = taken("slam@10h")
    assert missing(run) == []
    assert set(run.readings.outcome) == {"stable"}
    assert run.readings.at_ms[10] > 10 * MS_PER_HOUR  # later than due, and brought back along the line
    found = analyse(run)
    assert found.volumes.late_ms >= 2_000
    assert found.volumes.measured_nl[10] == pytest.approx(RATE * 10 / 24, abs=110)


def test_a_patient_with_no_patience_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--hours, --interval: 0 readings"):
        plan(0)


# --- loss ------------------------------------------------------------------------------------------------------------


def test_evaporation_is_a_bias_until_a_blank_run_takes_it_off() -> None:
    evaporating = ScaleSettings(evaporation_ng_per_h=400_000, drift_ng_per_h=50_000, noise_ng=50_000, seed=3)
    plain = analyse(taken(scale=evaporating, hours=100))
    assert plain.measured is not None
    # 0.35 mg/h of 19.94 mg/h is 1.75 %.
    assert plain.measured.overall_percent == pytest.approx(-1.75, abs=0.05)
    blank = blank_of(taken(scale=evaporating, hours=48, kind="blank", rate_nl_per_day=0))
    assert blank.loss_ng_per_h == pytest.approx(350_000, abs=blank.uncertainty_ng_per_h)
    assert blank.repeatability_ng == pytest.approx(57_000, rel=0.3)  # noise and a last digit / sqrt(12)
    corrected = corrections(
        loss_ng_per_h=blank.loss_ng_per_h,
        loss_uncertainty_ng_per_h=blank.uncertainty_ng_per_h,
        repeatability_ng=blank.repeatability_ng,
    )
    found = analyse(taken(scale=evaporating, hours=100, corrections=corrected))
    assert found.measured is not None
    assert abs(found.measured.overall_percent) <= found.budgets[MS_PER_DAY].total
    assert found.budgets[MS_PER_DAY].loss > 0


def test_drops_are_within_the_uncertainty_that_they_make() -> None:
    run = taken(scale=ScaleSettings(drop_nl=21_027), hours=200, corrections=corrections(drop_nl=21_027))
    assert run.marks == []
    found = analyse(run)
    assert found.measured is not None
    assert found.truth is not None
    hour = found.measured.windows[0]
    assert hour.min_percent < -99  # an hour holds less than a drop: in some hours none falls
    for shown, true in zip(found.measured.windows, found.truth.windows, strict=True):
        unsure = found.budgets[shown.window_ms]
        assert unsure.drops == pytest.approx(100 * 21_027 / (RATE * shown.window_ms / MS_PER_DAY))
        assert abs(shown.max_percent - true.max_percent) <= unsure.total
        assert abs(shown.min_percent - true.min_percent) <= unsure.total


def test_a_blank_run_that_was_touched_is_refused() -> None:
    touched = taken("tare@5h", kind="blank", rate_nl_per_day=0)
    with pytest.raises(UsageError, match="touched"):
        blank_of(touched)
    with pytest.raises(UsageError, match="too few"):
        blank_of(taken(hours=5, kind="blank", rate_nl_per_day=0))


# --- boluses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bolus_nl", "error"), [(250, 0), (20_000, 0), (100_000, 30_000)], ids=["least", "usual", "most"]
)
def test_boluses_from_the_least_to_the_largest(bolus_nl: int, error: int) -> None:
    asked = plan(25, kind="bolus", every_ms=MS_PER_HOUR, bolus_nl=bolus_nl)
    run = asyncio.run(simulate(asked, PumpSettings("itb-40", RATE, 7, error), ScaleSettings()))
    found = analyse(run)
    assert found.boluses is not None
    boluses = found.boluses
    assert len(boluses.given_nl) == 25
    # The basal flow is wrong by the same share, and that is in the bolus: 3 % of 20 µl an hour besides.
    due = error / 1e4 * (1 + RATE / 24 / bolus_nl)
    assert boluses.truth_percent.tolist() == pytest.approx([due] * 25, abs=100 * 251 / bolus_nl)
    assert float(boluses.truth_percent.mean()) == pytest.approx(due, abs=100 * 11 / bolus_nl)
    apart = np.abs(boluses.errors_percent - boluses.truth_percent)
    assert float(apart.max()) <= boluses.budget.total


def test_a_bolus_that_does_not_fit_is_refused() -> None:
    asked = plan(5, kind="bolus", every_ms=5 * MS_PER_MINUTE, bolus_nl=1_000_000)
    with pytest.raises(UsageError, match=r"--bolus: 1000 ul takes this pump .* choose a longer --interval"):
        asyncio.run(simulate(asked, PUMP, ScaleSettings()))


def test_more_than_the_reservoir_holds_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--hours: the measurement needs 48.0 ml and the reservoir holds 40.0 ml"):
        taken(hours=2_400)


def test_a_rate_that_the_pump_cannot_give_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--rate: 30 ml/day is outside what itb-40 gives, 0.048 to 24 ml/day"):
        asyncio.run(simulate(plan(5), PumpSettings("itb-40", 30_000_000), ScaleSettings()))


# --- whatever befalls it ---------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tare", "slam", "load", "overload", "silent", "garbage", "unplug"]),
            st.integers(1, 40 * MS_PER_HOUR),
            st.integers(1, 6 * MS_PER_HOUR),
        ),
        max_size=5,
    ),
    st.sampled_from(["sics", "sbi", "and"]),
)
def test_whatever_befalls_the_balance_nothing_is_made_up(befalls: list[tuple[str, int, int]], protocol: str) -> None:
    mishaps = tuple(Mishap(kind, at, 0 if kind in {"tare", "slam"} else lasts) for kind, at, lasts in befalls)
    run = asyncio.run(simulate(plan(40), PUMP, ScaleSettings(seed=1), protocol=protocol, mishaps=mishaps))
    assert parse_flow(run.to_json()) == run
    for outcome, mass in zip(run.readings.outcome, run.readings.mass_ng, strict=True):
        assert (mass is not None) == (outcome in {"stable", "dynamic"})
    found = analyse(run)
    assert np.isnan(found.volumes.measured_nl).tolist() == [mass is None for mass in run.readings.mass_ng]
    if missing(run):
        assert "gap" in kinds(run)
    # Within a piece the measured volume is the truth's, whatever befell the balance meanwhile.
    for piece in set(found.volumes.pieces.tolist()):
        rows = (found.volumes.pieces == piece) & np.isfinite(found.volumes.measured_nl)
        apart = (found.volumes.measured_nl - found.volumes.truth_nl)[rows]
        if len(apart):
            assert float(np.ptp(apart)) < 8_000

"""The curve of a known error: by hand, by brute force, by the virtual pump, and as the balance reads it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.flow.analysis import analyse
from telemetry.flow.closed_form import envelope_percent, sampled_percent, sine_cycle_ppm, window_percent
from telemetry.flow.document import KnownError
from telemetry.flow.scale import ScaleSettings
from telemetry.flow.simulating import PumpSettings, simulate
from telemetry.report.flow import AMBULATORY, IMPLANTABLE, VOLUMETRIC, Scheme, trumpet
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE
from tests.flow.conftest import RATE, corrections, plan

if TYPE_CHECKING:
    from telemetry.flow.analysis import Analysis

SIX_AND_TWO = KnownError(rate_error_ppm=60_000, cyclic_error_ppm=20_000, cycle_ms=12 * MS_PER_HOUR)


def measured(
    known: KnownError = SIX_AND_TWO,
    scale: ScaleSettings | None = None,
    *,
    protocol: str = "sics",
    scheme: Scheme = IMPLANTABLE,
    rate: int = RATE,
    stroke_nl: int | None = None,
    hours: int = 384,
) -> Analysis:
    asked = plan(
        scheme=scheme.name,
        every_ms=scheme.every_ms,
        stabilise_ms=scheme.stabilise_ms,
        windows_ms=scheme.windows_ms,
        rate_nl_per_day=rate,
        samples=hours * MS_PER_HOUR // scheme.every_ms,
    )
    pump = PumpSettings("itb-40", rate, 7, known.rate_error_ppm, known.cyclic_error_ppm, known.cycle_ms, stroke_nl)
    return analyse(asyncio.run(simulate(asked, pump, scale or ScaleSettings(seed=7), protocol=protocol)))


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_quarter_of_a_cycle_by_hand() -> None:
    # P = T/4: S = sin(pi/4) / (pi/4) = 0.70711 / 0.78540 = 0.90032; 2 % of it is 1.80063 %.
    high, low = envelope_percent(SIX_AND_TWO, 3 * MS_PER_HOUR)
    assert (round(high, 4), round(low, 4)) == (7.8006, 4.1994)


def test_half_a_cycle_by_hand() -> None:
    # P = T/2: S = 2/pi = 0.63662; 2 % of it is 1.27324 %.
    assert [round(one, 4) for one in envelope_percent(SIX_AND_TWO, 6 * MS_PER_HOUR)] == [7.2732, 4.7268]


@pytest.mark.parametrize("cycles", [1, 2, 6, 14])
def test_whole_cycles_leave_the_rate_error_alone(cycles: int) -> None:
    assert envelope_percent(SIX_AND_TWO, cycles * 12 * MS_PER_HOUR) == pytest.approx((6, 6), abs=1e-12)


def test_samples_three_to_a_cycle_miss_the_crest_by_hand() -> None:
    # Windows of T/3 that begin at 0, T/3 and 2T/3 have their middles at 60, 180 and 300 degrees: sin 60 = 0.86603.
    known = KnownError(rate_error_ppm=0, cyclic_error_ppm=10_000, cycle_ms=3_000)
    share = math.sin(math.pi / 3) / (math.pi / 3)
    found = sampled_percent(known, 1_000, first_ms=0, every_ms=1_000, positions=3)
    assert found == pytest.approx((share * math.sin(math.pi / 3), -share * math.sin(math.pi / 3)))


@given(
    st.integers(-200_000, 200_000),
    st.integers(-200_000, 200_000),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.integers(0, 10**9),
)
def test_no_window_is_outside_the_envelope(error: int, depth: int, cycle: int, window: int, begins: int) -> None:
    known = KnownError(rate_error_ppm=error, cyclic_error_ppm=depth, cycle_ms=cycle)
    high, low = envelope_percent(known, window)
    assert low - 1e-9 <= window_percent(known, begins, window) <= high + 1e-9


def test_an_even_pump_has_no_envelope() -> None:
    assert envelope_percent(KnownError(rate_error_ppm=-30_000), MS_PER_HOUR) == (-3, -3)
    assert window_percent(KnownError(rate_error_ppm=-30_000), 5, MS_PER_HOUR) == -3


@given(st.integers(-500_000, 500_000), st.integers(2, 2_000))
def test_a_cycle_of_strokes_adds_up_to_nothing(depth: int, strokes: int) -> None:
    cycle = sine_cycle_ppm(depth, strokes)
    assert len(cycle) == strokes
    assert sum(cycle) == 0
    assert max(map(abs, cycle)) <= abs(depth)


# --- by brute force --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_hours", [1, 3, 7, 12, 24])
def test_the_closed_form_is_what_integration_gives(window_hours: int) -> None:
    # The flow itself, summed every ten seconds; nothing of ours is used but the error's numbers.
    seconds = 10 * np.arange(6 * 12 * 360) + 5
    flow = 1 + 0.06 + 0.02 * np.sin(2 * math.pi * seconds / (12 * 3600))
    length = window_hours * 360
    means = np.convolve(flow, np.ones(length) / length, mode="valid")
    errors = 100 * (means - 1)
    assert envelope_percent(SIX_AND_TWO, window_hours * MS_PER_HOUR) == pytest.approx(
        (float(errors.max()), float(errors.min())), abs=1e-5
    )


def test_the_trumpet_is_what_the_formula_of_the_standard_gives() -> None:
    """domain.md 5.5, written out as its sums stand there: Q_i, n, m, Ep(max), Ep(min), A. A worked example."""
    rng = np.random.default_rng(5)
    rate_ml_h, every_min, density = 0.02, 15, 0.998
    grams = np.concatenate([[0.0], np.cumsum(rate_ml_h * every_min / 60 * density * (1 + rng.normal(0.01, 0.03, 200)))])
    q = [60 * (grams[i] - grams[i - 1]) / (every_min * density) for i in range(1, len(grams))]
    for window_min in (15, 60, 150):
        n, m = window_min // every_min, (len(q) * every_min - window_min) // every_min + 1
        errors = [
            (every_min / window_min) * sum(100 * (q[j + i] - rate_ml_h) / rate_ml_h for i in range(n)) for j in range(m)
        ]
        found = trumpet(
            grams / density * 1e6, every_min * MS_PER_MINUTE, rate_ml_h * 24e6, [window_min * MS_PER_MINUTE]
        )
        assert found.windows[0].positions == m
        assert found.windows[0].max_percent == pytest.approx(max(errors))
        assert found.windows[0].min_percent == pytest.approx(min(errors))
        mean = 60 * (grams[-1] - grams[0]) / (len(q) * every_min * density)
        assert found.overall_percent == pytest.approx(100 * (mean - rate_ml_h) / rate_ml_h)


def test_a_trumpet_with_a_hole_and_a_break_by_hand() -> None:
    # Ten a sample; one sum is missing; before the sixth the balance was tared, so 50 is lost.
    sums = [0, 10, 20, math.nan, 42, -8, 2, 12]
    pieces = [0, 0, 0, 0, 0, 1, 1, 1]
    found = trumpet(sums, 1_000, 10 * MS_PER_DAY / 1_000, [1_000, 2_000, 5_000], pieces=pieces)
    one, two = found.windows
    assert one.positions == 4
    assert [one.max_percent, one.min_percent] == pytest.approx([0, 0])
    # 20 to 42 over two samples: 10 % too much; across the break there is no window.
    assert two.positions == 3
    assert two.max_percent == pytest.approx(10)
    assert found.analysed_ms == 6_000
    assert found.overall_percent == pytest.approx(100 * (62 / 60 - 1))


def test_pieces_must_match_the_sums() -> None:
    with pytest.raises(UsageError, match=r"pieces: has the shape \(1,\), sums_nl \(3,\)"):
        trumpet([0, 1, 2], 1_000, 1, [1_000], pieces=[0])


# --- the pump, and the balance ---------------------------------------------------------------------------------------


def test_a_pump_with_six_and_two_percent_follows_the_closed_form() -> None:
    found = measured()
    assert found.truth is not None
    for window in found.truth.windows:
        high, low = found.expected[window.window_ms]
        # The truth is whole nanolitres of 20 µl an hour, the sine is whole ppm at 960 strokes.
        grain = 100 * 2 / (RATE * window.window_ms / MS_PER_DAY) + 0.001
        assert window.max_percent == pytest.approx(high, abs=grain)
        assert window.min_percent == pytest.approx(low, abs=grain)


def test_whole_cycles_are_exact_to_the_last_nanolitre() -> None:
    found = measured()
    assert found.truth is not None
    whole = [window for window in found.truth.windows if window.window_ms % (12 * MS_PER_HOUR) == 0]
    assert len(whole) == 4
    for window in whole:
        assert [window.max_percent, window.min_percent] == pytest.approx([6, 6], abs=1e-9)
    sums = found.volumes.truth_nl
    assert (np.diff(sums[::12]) == RATE // 2 * 106 // 100).all()


@pytest.mark.parametrize("protocol", ["sics", "sbi", "and"])
def test_the_balance_shows_it_within_its_uncertainty(protocol: str) -> None:
    found = measured(protocol=protocol)
    assert found.measured is not None
    assert found.truth is not None
    assert [window.window_ms for window in found.measured.windows] == list(IMPLANTABLE.windows_ms)
    for shown, true in zip(found.measured.windows, found.truth.windows, strict=True):
        unsure = found.budgets[shown.window_ms].total
        assert abs(shown.max_percent - true.max_percent) <= unsure
        assert abs(shown.min_percent - true.min_percent) <= unsure
    assert found.budgets[IMPLANTABLE.windows_ms[0]].total < 0.6
    assert found.budgets[IMPLANTABLE.windows_ms[-1]].total < 0.04


@pytest.mark.parametrize("step_ng", [10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("noise_ng", [0, 200_000])
def test_uncertainty_grows_with_what_makes_it(step_ng: int, noise_ng: int) -> None:
    asked = plan(200, stabilise_ms=0, corrections=corrections(repeatability_ng=noise_ng))
    pump = PumpSettings("itb-40", RATE, 7, 60_000, 20_000, 12 * MS_PER_HOUR)
    run = asyncio.run(simulate(asked, pump, ScaleSettings(step_ng=step_ng, noise_ng=noise_ng, seed=11)))
    found = analyse(run)
    assert found.measured is not None
    assert found.truth is not None
    for shown, true in zip(found.measured.windows, found.truth.windows, strict=True):
        unsure = found.budgets[shown.window_ms]
        set_ng = RATE * shown.window_ms / MS_PER_DAY * 997.15
        assert unsure.resolution == pytest.approx(100 * step_ng / set_ng, rel=1e-3)
        assert abs(shown.max_percent - true.max_percent) <= unsure.total
        assert abs(shown.min_percent - true.min_percent) <= unsure.total


@pytest.mark.parametrize(
    ("scheme", "rate", "cycle_ms", "hours"),
    [(VOLUMETRIC, 24_000_000, 20 * MS_PER_MINUTE, 6), (AMBULATORY, 4_800_000, 4 * MS_PER_HOUR, 60)],
    ids=["volumetric", "ambulatory"],
)
def test_other_schemes_follow_it_too(scheme: Scheme, rate: int, cycle_ms: int, hours: int) -> None:
    known = KnownError(rate_error_ppm=-20_000, cyclic_error_ppm=50_000, cycle_ms=cycle_ms)
    found = measured(known, scheme=scheme, rate=rate, stroke_nl=50, hours=hours)
    assert found.truth is not None
    assert found.measured is not None
    for window in found.truth.windows:
        high, low = found.expected[window.window_ms]
        # Strokes of 50 nl do not share their grid with the samples: one more or less in a window.
        grain = 100 * 60 / (rate * window.window_ms / MS_PER_DAY)
        assert window.max_percent == pytest.approx(high, abs=grain)
        assert window.min_percent == pytest.approx(low, abs=grain)
    assert (found.late is not None) == (scheme is VOLUMETRIC)


def test_a_cycle_is_a_whole_number_of_strokes() -> None:
    asked = replace(plan(12))
    run = asyncio.run(simulate(asked, PumpSettings("itb-40", RATE, 0, 0, 20_000, 40 * 60_000 - 1), ScaleSettings()))
    assert run.known == KnownError(rate_error_ppm=0, cyclic_error_ppm=20_000, cycle_ms=53 * 45_000)
    with pytest.raises(UsageError, match=r"--cycle: 1000 ms are 0 strokes of 250 nl"):
        asyncio.run(simulate(asked, PumpSettings("itb-40", RATE, 0, 0, 20_000, 1_000), ScaleSettings()))

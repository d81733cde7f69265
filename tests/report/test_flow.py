"""Start-up and trumpet curves against closed forms (domain.md 5.5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.report.flow import AMBULATORY, IMPLANTABLE, SCHEMES, VOLUMETRIC, Scheme, start_up, trumpet
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

RATE = 170_000.0


def steady(error: float, samples: int, every_ms: int) -> np.ndarray:
    return np.arange(samples + 1) * (RATE * every_ms / MS_PER_DAY * (1 + error))


@given(st.floats(-0.9, 1))
def test_a_constant_error_shows_in_every_window(error: float) -> None:
    found = trumpet(steady(error, 400, 30_000), 30_000, RATE, VOLUMETRIC.windows_ms)
    assert found.overall_percent == pytest.approx(100 * error, abs=1e-6)
    for window in found.windows:
        assert window.max_percent == pytest.approx(100 * error, abs=1e-6)
        assert window.min_percent == pytest.approx(100 * error, abs=1e-6)


def test_six_percent_is_six_percent() -> None:
    found = trumpet(steady(0.06, 200, MS_PER_HOUR), MS_PER_HOUR, RATE, IMPLANTABLE.windows_ms)
    assert [window.window_ms // MS_PER_HOUR for window in found.windows] == [1, 3, 7, 12, 24, 72, 168]
    assert {round(window.max_percent, 9) for window in found.windows} == {6.0}
    assert found.overall_percent == pytest.approx(6.0)
    assert found.analysed_ms == 200 * MS_PER_HOUR


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("cycle_samples", [7.3, 24, 61])
def test_a_cyclic_error_shrinks_as_its_sine_over_its_angle(scheme: Scheme, cycle_samples: float) -> None:
    every_ms, windows_ms = scheme.every_ms, scheme.windows_ms
    depth = 0.10
    turns = np.arange(20_001) / cycle_samples
    # The integral of rate * (1 + depth sin), sampled.
    waves = depth * cycle_samples / (2 * math.pi) * (1 - np.cos(2 * math.pi * turns))
    sums = RATE * every_ms / MS_PER_DAY * (np.arange(20_001) + waves)
    found = trumpet(sums, every_ms, RATE, windows_ms)
    for window in found.windows:
        angle = math.pi * window.window_ms / every_ms / cycle_samples
        worst = 100 * depth * abs(math.sin(angle) / angle)
        # Whole cycles leave nothing; else a position a sample apart may miss the very worst.
        assert window.max_percent == pytest.approx(worst, abs=0.1)
        assert window.min_percent == pytest.approx(-worst, abs=0.1)
    widths = [window.max_percent for window in found.windows]
    assert widths[0] == max(widths)


def test_one_late_stroke_is_the_worst_short_window() -> None:
    sums = steady(0, 300, MS_PER_HOUR)
    sums[100:] -= RATE / 24
    found = trumpet(sums, MS_PER_HOUR, RATE, IMPLANTABLE.windows_ms)
    assert found.windows[0].min_percent == pytest.approx(-100)
    assert found.windows[0].max_percent == pytest.approx(0, abs=1e-6)
    assert found.windows[-1].min_percent == pytest.approx(-100 / 168)


def test_windows_that_do_not_fit_are_left_out() -> None:
    found = trumpet(steady(0, 30, MS_PER_HOUR), MS_PER_HOUR, RATE, IMPLANTABLE.windows_ms)
    assert [window.window_ms // MS_PER_HOUR for window in found.windows] == [1, 3, 7, 12, 24]


def test_the_start_up_curve_is_the_flow_of_each_interval() -> None:
    curve = start_up([0, 0, 100, 300], MS_PER_HOUR, RATE)
    assert curve.flow_nl_per_day.tolist() == [0, 2400, 4800]
    assert curve.at_ms.tolist() == [MS_PER_HOUR, 2 * MS_PER_HOUR, 3 * MS_PER_HOUR]


def test_the_schemes_are_those_of_the_study() -> None:
    minutes = [window // MS_PER_MINUTE for window in VOLUMETRIC.windows_ms]
    assert (VOLUMETRIC.every_ms, minutes) == (30_000, [2, 5, 11, 19, 31])
    minutes = [window // MS_PER_MINUTE for window in AMBULATORY.windows_ms]
    assert (AMBULATORY.every_ms // MS_PER_MINUTE, minutes) == (15, [15, 60, 150, 330, 570, 930])
    assert IMPLANTABLE.stabilise_ms == 48 * MS_PER_HOUR
    for scheme in SCHEMES:
        assert all(window % scheme.every_ms == 0 for window in scheme.windows_ms)


@pytest.mark.parametrize(
    ("sums", "every_ms", "rate", "windows", "message"),
    [
        ([1], 1000, 1, [1000], "at least two sums"),
        ([[1, 2]], 1000, 1, [1000], "at least two sums"),
        ([1, 2], 0, 1, [1000], "every_ms: 0"),
        ([1, 2], 1000, 0, [1000], "rate_nl_per_day: 0"),
        ([1, 2], 1000, 1, [1500], "1500 is no multiple of the sample interval, 1000 ms"),
        ([1, 2], 1000, 1, [2000], "hold no window of 2000 ms"),
    ],
)
def test_what_makes_no_curve_is_refused(
    sums: list[int], every_ms: int, rate: int, windows: list[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trumpet(sums, every_ms, rate, windows)

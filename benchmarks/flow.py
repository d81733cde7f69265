"""A trumpet curve of a pump with a 6 % rate error and a 2 % cyclic error, measured with the virtual balance.

Three curves side by side, window by window: the closed form, the pump's truth, and what the balance's readings give
with their stated uncertainty; besides, how long sixteen days of hourly readings take.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks import harness
from telemetry.flow.analysis import analyse
from telemetry.flow.closed_form import envelope_percent
from telemetry.flow.document import KnownError
from telemetry.flow.scale import ScaleSettings
from telemetry.flow.simulating import PumpSettings, simulate
from telemetry.report.flow import IMPLANTABLE
from telemetry.units import MS_PER_HOUR
from tests.flow.conftest import RATE, plan

if TYPE_CHECKING:
    from benchmarks.harness import Plan, Result

KNOWN = KnownError(rate_error_ppm=60_000, cyclic_error_ppm=20_000, cycle_ms=12 * MS_PER_HOUR)
HOURS = 384
SEED = 7
_TRUTH_PERCENT = 1e-6
"""The truth goes by whole strokes and nanolitres; over the longest window a nanolitre is less than this."""


def run(bench: Plan) -> Result:
    """Measure; the curve is the same on any machine, its time is not."""
    result = harness.Result("flow")
    asked = plan(hours=HOURS, stabilise_ms=IMPLANTABLE.stabilise_ms)
    pump = PumpSettings("itb-40", RATE, SEED, KNOWN.rate_error_ppm, KNOWN.cyclic_error_ppm, KNOWN.cycle_ms, None)
    taken = []
    found = analyse(asyncio.run(simulate(asked, pump, ScaleSettings(seed=SEED), protocol="sics")))
    for _ in range(bench.rounds):
        begun = time.perf_counter()
        analyse(asyncio.run(simulate(asked, pump, ScaleSettings(seed=SEED), protocol="sics")))
        taken.append(time.perf_counter() - begun)
    if found.measured is None or found.truth is None:
        raise RuntimeError("sixteen days of readings gave no trumpet curve")
    outside = apart = 0
    for measured, truth in zip(found.measured.windows, found.truth.windows, strict=True):
        high, low = found.expected[measured.window_ms]
        envelope_high, envelope_low = envelope_percent(KNOWN, measured.window_ms)
        within = found.budgets[measured.window_ms].total
        result.figures[f"{measured.window_ms // MS_PER_HOUR} h"] = {
            "closed_form_any_phase_percent": [round(envelope_low, 4), round(envelope_high, 4)],
            "closed_form_at_the_samples_percent": [round(low, 4), round(high, 4)],
            "truth_percent": [round(truth.min_percent, 4), round(truth.max_percent, 4)],
            "balance_percent": [round(measured.min_percent, 4), round(measured.max_percent, 4)],
            "uncertainty_percent": round(within, 4),
        }
        grain = _grain_percent(measured.window_ms)
        apart += abs(truth.max_percent - high) > grain
        apart += abs(truth.min_percent - low) > grain
        outside += abs(measured.max_percent - truth.max_percent) > within
        outside += abs(measured.min_percent - truth.min_percent) > within
    result.figures["sixteen days of hourly readings"] = {"median_s": round(sorted(taken)[len(taken) // 2], 3)}
    result.fact("windows whose truth is more than a stroke from the closed form", apart)
    result.fact("windows that the balance puts outside its stated uncertainty", outside)
    return result


def _grain_percent(window_ms: int) -> float:
    """A stroke of 250 nl at either end of a window, as a share of what is set for it."""
    return 100 * 2 * 250 / (RATE * window_ms / (24 * MS_PER_HOUR)) + _TRUTH_PERCENT

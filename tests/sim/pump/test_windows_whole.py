"""Windows that hold what is easily left out of them: an hour about to leave, a long list, what runs just now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telemetry.errors import Refused
from telemetry.model import Activity, RefusalReason
from telemetry.sim.pump.governor import Governor, WindowLimits
from telemetry.units import Dose, Duration
from tests.sim.pump.rig import DAY_MS, HOUR_MS, device

MINUTE_MS = 60_000


@pytest.mark.inv(37)
def test_inv_37_the_last_of_24_hours_counts_until_it_leaves() -> None:
    """Half an hour of 20 nl, 23 h of nothing, then the same rate again: it replaces, for half an hour, what leaves."""
    governor = Governor(WindowLimits(10**9, 10**9, 45, 10**12))
    governor.record(0, 30 * MINUTE_MS, 960, 0)
    now_ms = 23 * HOUR_MS + 30 * MINUTE_MS
    assert governor.trips_at_ms(now_ms, 960, 0) == DAY_MS + 37 * MINUTE_MS + MINUTE_MS // 2
    governor.record(now_ms, DAY_MS + MINUTE_MS, 960, 0)
    assert governor.trips_at_ms(DAY_MS + MINUTE_MS, 960, 0) == DAY_MS + 37 * MINUTE_MS + MINUTE_MS // 2


@pytest.mark.inv(37)
def test_inv_37_a_day_of_many_steps_is_whole() -> None:
    """A step every two minutes for three days: more than are kept before what is too old is dropped."""
    governor, steps = Governor(WindowLimits(10**9, 10**9, 10**9, 10**12)), 3 * 720
    rates = [1_000 + 7 * (number % 11) for number in range(steps)]
    for number, rate in enumerate(rates):
        governor.record(2 * number * MINUTE_MS, 2 * (number + 1) * MINUTE_MS, rate, 3 * rate)
    now_ms = 2 * steps * MINUTE_MS
    total = sum(rates[-720:]) * 2 * MINUTE_MS
    windows, history = governor.windows(now_ms), governor.history(now_ms)
    assert (windows.volume_24h_nl, windows.dose_24h_ng) == (total // DAY_MS, 3 * total // DAY_MS)
    assert windows.volume_1h_nl == sum(rates[-30:]) * 2 * MINUTE_MS // DAY_MS
    assert sum((end - start) * rate for start, end, rate, _ in history) == total
    assert history[0][0] == now_ms - DAY_MS


@pytest.mark.inv(37)
def test_inv_37_limits_that_the_bolus_under_way_would_exceed_are_refused() -> None:
    pump = device()
    pump.advance_to(2 * DAY_MS)
    daily_ng = pump.status().dose_ng_per_day
    pump.bolus(Dose(50_000), Duration(2 * HOUR_MS))
    tight = replace(pump.limits(), daily_dose_soft_max_ng=daily_ng + 40_000, daily_dose_hard_max_ng=daily_ng + 40_000)
    with pytest.raises(Refused) as caught:
        pump.set_limits(tight)
    assert caught.value.reason == RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT
    enough = replace(tight, daily_dose_hard_max_ng=daily_ng + 50_000)
    pump.set_limits(enough)
    pump.advance_to(pump.now_ms + DAY_MS)
    assert pump.core.activity is None
    assert pump.status().mode == "simple_continuous"
    assert pump.status().activity is Activity.NONE

"""What a power cut leaves of the book: strokes reserved ahead count as given, never more than was reserved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.model import LogCode
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.sim.pump.recovery import granted_ahead_nl
from telemetry.therapy import Therapy
from telemetry.units import FlowRate
from tests.sim.pump.rig import DAY_MS, device, restart


@pytest.mark.inv(36)
@given(rate=st.integers(48_000, 1_000_000), lived_ms=st.integers(1, 3 * DAY_MS))
def test_inv_36_a_cut_costs_what_was_reserved_and_the_log_bounds_it(rate: int, lived_ms: int) -> None:
    pump = device()
    pump.program(Therapy.simple_continuous(FlowRate(rate)))
    pump.advance_to(lived_ms)
    book, true_nl, reserved_nl = pump.core.reservoir.calculated, pump.truth().reservoir_nl, granted_ahead_nl(pump.core)
    pump.advance_to(pump.now_ms)
    restart(pump)
    after = pump.core.reservoir.calculated
    assert after == book - book % (reserved_nl * COMMANDED_PER_NL), "the book stands where it was last reserved to"
    assert pump.truth().reservoir_nl == true_nl, "what was not stroked is still there"
    line = next(line for line in reversed(pump.log(0, 1_000).records) if line.code is LogCode.POWER_ON)
    assert (book - after) < line.value * COMMANDED_PER_NL
    assert line.value == reserved_nl

"""The pump against an oracle of a few lines with exact fractions, under any sequence of commands and steps."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from telemetry.errors import Refused
from telemetry.model import AlarmKind, PumpMode
from telemetry.sim.pump.device import PumpDevice
from telemetry.therapy import Therapy
from telemetry.units import FlowRate, Volume
from tests.sim.pump.rig import DAY_MS, ML, PROFILE, device

DAY = Fraction(DAY_MS)


class Oracle:
    """What must be so, from the definitions alone: volumes as fractions of a nanolitre."""

    def __init__(self, fill_nl: int, error_ppm: int) -> None:
        self.factor = 1 + Fraction(error_ppm, 1_000_000)
        self.calculated = self.true = Fraction(fill_nl)
        self.delivered = self.begun = Fraction(0)
        self.rate = Fraction(PROFILE.start_rate_nl_per_day)
        self.running = True

    @property
    def stroking(self) -> bool:
        return self.running and self.calculated > 0

    def live(self, span_ms: int) -> None:
        if self.stroking:
            commanded = min(self.calculated, self.rate * span_ms / DAY)
            strokes, self.begun = divmod(self.begun + commanded, PROFILE.stroke_volume_nl)
            moved = min(self.true, strokes * PROFILE.stroke_volume_nl * self.factor)
            self.calculated -= commanded
            self.true -= moved
            self.delivered += moved

    def refill(self, volume_nl: int) -> None:
        part = self.true - self.true.__floor__()
        self.true = Fraction(volume_nl) - (1 - part if part else 0)
        self.calculated = Fraction(volume_nl)


class PumpMachine(RuleBasedStateMachine):
    pump: PumpDevice
    oracle: Oracle

    @initialize(fill=st.integers(0, 40 * ML), error=st.sampled_from([0, 60_000, -145_000, 145_000, 7]))
    def make(self, fill: int, error: int) -> None:
        self.pump = device(fill_nl=fill, rate_error_ppm=error)
        self.oracle = Oracle(fill, error)

    @rule(span=st.one_of(st.integers(0, 5_000), st.integers(0, 40 * DAY_MS)))
    def live(self, span: int) -> None:
        self.pump.advance_to(self.pump.now_ms + span)
        self.oracle.live(span)

    @rule(rate=st.integers(48_000, 1_000_000))
    def program(self, rate: int) -> None:
        therapy = Therapy.simple_continuous(FlowRate(rate))
        if self.oracle.calculated == 0:
            with pytest.raises(Refused):
                self.pump.program(therapy)
        else:
            self.pump.program(therapy)
            self.oracle.rate, self.oracle.running = Fraction(rate), True

    @rule()
    def stop(self) -> None:
        self.pump.stop_at_bench()
        self.oracle.running = False

    @precondition(lambda self: not self.oracle.running and self.oracle.calculated > 0)
    @rule()
    def resume(self) -> None:
        self.pump.resume_at_bench()
        self.oracle.running = True

    @rule(volume=st.integers(1, 40 * ML))
    def refill(self, volume: int) -> None:
        self.pump.refill(Volume(volume))
        self.oracle.refill(volume)

    @rule()
    def restore(self) -> None:
        self.pump = PumpDevice.restore(self.pump.snapshot())

    @rule()
    def power_cut(self) -> None:
        before = self.pump.core.reservoir.calculated
        self.pump.power_cut()
        self.pump.boot()
        lost = Fraction(before - self.pump.core.reservoir.calculated, DAY_MS)
        assert 0 <= lost < 4_000
        self.oracle.calculated -= lost

    @invariant()
    def books_and_truth_are_exact(self) -> None:
        pump, oracle = self.pump, self.oracle
        status, truth, ledger = pump.status(), pump.truth(), pump.ledger()
        assert status.reservoir_nl == oracle.calculated.__ceil__()
        assert truth.reservoir_nl == oracle.true.__ceil__()
        assert truth.delivered_nl == oracle.delivered.__floor__()
        assert truth.delivered_ng == (oracle.delivered * 2).__floor__()
        assert status.rate_nl_per_day == (oracle.rate if oracle.stroking else 0)
        assert ledger.balance_nl == 0
        assert ledger.in_path_nl == PROFILE.path_volume_nl
        low = oracle.calculated <= PROFILE.low_reservoir_alarm_nl
        assert (AlarmKind.LOW_RESERVOIR in status.alarms) is low
        assert (AlarmKind.EMPTY_RESERVOIR in status.alarms) is (oracle.calculated == 0)
        expected = PumpMode.SIMPLE_CONTINUOUS if oracle.calculated else PumpMode.EMPTY
        assert status.mode is (expected if oracle.running else PumpMode.STOPPED)
        assert (AlarmKind.THERAPY_STOPPED in status.alarms) is not oracle.running


@pytest.mark.inv(35)
@pytest.mark.inv(36)
@pytest.mark.inv(38)
def test_inv_35_36_38_the_pump_is_what_the_oracle_says() -> None:
    run_state_machine_as_test(PumpMachine)

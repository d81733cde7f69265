"""The laws of ``tests/campaigns/ledger_programmes.py`` over random programmes, and over those Hypothesis thinks up."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.campaigns.ledger_programmes import ACTS, Broken, Twins, play, twins
from tests.sim.pump.rig import DAY_MS, PROFILE

if TYPE_CHECKING:
    from random import Random

    from telemetry.sim.pump.device import PumpDevice

PROGRAMMES = 200
ACTS_EACH = 12


@pytest.mark.inv(35)
@pytest.mark.inv(37)
@pytest.mark.inv(39)
def test_inv_35_37_39_random_programmes_keep_ledger_windows_and_identity() -> None:
    counts: Counter[str] = Counter()
    for seed in range(PROGRAMMES):
        counts += play(random.Random(seed), ACTS_EACH).counts
    never = set(ACTS) - set(counts)
    assert not never, "these acts were never carried out, so nothing is known of them"


class LedgerMachine(RuleBasedStateMachine):
    pair: Twins

    @initialize(rng=st.randoms(use_true_random=False))
    def make(self, rng: Random) -> None:
        self.pair = twins(rng)

    @rule(name=st.sampled_from(sorted(ACTS)), rng=st.randoms(use_true_random=False))
    def act(self, name: str, rng: Random) -> None:
        self.pair.act(name, random.Random(rng.getrandbits(64)))

    @rule(span=st.one_of(st.integers(0, 5_000), st.integers(0, 20 * DAY_MS)), cuts=st.lists(st.integers(0, DAY_MS)))
    def live(self, span: int, cuts: list[int]) -> None:
        self.pair.live(span, cuts)

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.finish()


@pytest.mark.inv(35)
@pytest.mark.inv(37)
@pytest.mark.inv(39)
def test_inv_35_37_39_whatever_is_done_in_whatever_order() -> None:
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=60, stateful_step_count=25))


# --- the campaign finds what it is there to find ---------------------------------------------------------------------


def _pair() -> Twins:
    return Twins(PROFILE, 40_000_000)


def _spill(pump: PumpDevice) -> None:
    pump.core.reservoir.withdrawn_nl += 1


def test_a_lost_nanolitre_is_found() -> None:
    pair = _pair()
    for pump in (pair.whole, pair.cut):
        _spill(pump)
    with pytest.raises(Broken, match="balance: -1 nl"):
        pair.live(1_000, [])


def test_a_difference_between_the_two_is_found() -> None:
    pair = _pair()
    pair.cut.core.reservoir.rate_error_ppm = 1
    with pytest.raises(Broken, match="truth:"):
        pair.live(30 * DAY_MS, [])
    pair = _pair()
    pair.cut.silence_alarms(1_000)
    pair.cut.core.patient.last_end_ms = 5
    with pytest.raises(Broken, match="snapshots differ: patient"):
        pair.finish()


def test_an_event_that_comes_for_one_only_is_found() -> None:
    pair = _pair()
    pair.cut.core.memory_check_due_ms = None
    pair.cut.core.emit("made_up")
    with pytest.raises(Broken, match="events differ"):
        pair.live(1_000, [])


def test_a_window_above_its_limit_is_found() -> None:
    pair = _pair()
    pair.cut.core.governor.record(0, 1, 1_000_000_000_000, 10**18)
    pair.cut.core.now_ms = 1
    with pytest.raises(Broken, match="24-h dose"):
        pair.check(pair.cut)

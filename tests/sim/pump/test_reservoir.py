"""True and calculated volume, the needle, the sensor, and the ledger of every nanolitre."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.profiles import list_profiles, load_profile
from telemetry.sim.pump.catheter import CatheterState, Junction
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, MASS_PER_NG, PPM, TRUE_PER_NL
from telemetry.sim.pump.reservoir import Reservoir

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.sim.pump.profile import PumpProfile

MOTOR = load_profile("itb-40")
UNEVEN = replace(MOTOR, stroke_cycle_ppm=(90_000, -30_000, 70_000, -110_000, 40_000, -10_000, 25_000, -75_000))
ML = 1_000_000
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def reservoir(profile: PumpProfile = MOTOR, fill_nl: int = 40 * ML, error: int = 0) -> Reservoir:
    return Reservoir(profile, fill_nl=fill_nl, concentration_ng_per_ml=2_000_000, rate_error_ppm=error)


def balance(one: Reservoir) -> Fraction:
    """Filled minus all that is accounted for, exactly, in nl."""
    path = one.path
    moving = one.true_volume + path.delivered_volume + path.lost_volume
    whole = one.filled_nl - one.withdrawn_nl - one.pocket_nl - path.volume_nl
    return whole - Fraction(moving, TRUE_PER_NL)


def ledger_nl(one: Reservoir) -> int:
    """The same in whole nl, as ``DrugLedger`` has it."""
    return one.filled_nl - (one.true_nl + one.path.volume_nl + one.path.delivered_nl + one.withdrawn_nl + one.lost_nl)


volumes = st.integers(0, 45 * ML)
rates = st.sampled_from([48_000, 150_001, 999_999, 24_000_000])
steps = st.one_of(
    st.tuples(st.just("run"), rates, st.integers(0, 20 * DAY_MS)),
    st.tuples(st.just("withdraw"), st.one_of(st.none(), volumes), st.just(0)),
    st.tuples(st.just("fill"), volumes, st.sampled_from([500_000, 2_000_000])),
    st.tuples(st.just("pocket"), volumes, st.sampled_from([500_000, 2_000_000])),
    st.tuples(st.just("inject"), st.integers(0, 5 * ML), st.sampled_from([0, 2_000_000])),
    st.tuples(st.just("refill"), st.integers(1, 40 * ML), st.sampled_from([500_000, 2_000_000])),
    st.tuples(st.just("dump"), st.one_of(st.none(), volumes), st.just(0)),
    st.tuples(st.just("replace_catheter"), st.one_of(st.none(), st.integers(1, 300_000)), st.just(0)),
    st.tuples(st.just("lose"), st.sampled_from(list(Junction)), st.sampled_from([0, 250_001, PPM])),
    st.tuples(st.just("leak"), st.integers(0, PPM), st.integers(0, PPM)),
    st.tuples(st.just("occlude"), st.sampled_from([0, 400_000, 333_333, PPM]), st.just(0)),
    st.tuples(st.just("bend"), st.integers(2, 3 * HOUR_MS), st.integers(1, HOUR_MS)),
    st.tuples(st.just("mend"), st.just(0), st.just(0)),
    st.tuples(st.just("error"), st.integers(-PPM + 1, PPM), st.just(0)),
    st.tuples(st.just("temperature"), st.integers(350, 420), st.just(0)),
    st.tuples(st.just("pressure"), st.integers(700, 2_500), st.just(0)),
    st.tuples(st.just("stall"), st.just(0), st.just(0)),
    st.tuples(st.just("free"), st.just(0), st.just(0)),
)
Step = tuple[str, int | None, int]


class World:
    """A reservoir in time, run at a commanded rate, stopping at each of its own instants and at any others."""

    def __init__(self, profile: PumpProfile, error: int) -> None:
        self.pump = reservoir(profile, profile.reservoir_capacity_nl, error)
        self.now_ms = 0
        self.found: list[tuple[int, str]] = []

    def run(self, rate: int, span_ms: int, cuts: list[int]) -> None:
        end_ms = self.now_ms + span_ms
        stops = sorted({end_ms, *(self.now_ms + cut % span_ms for cut in cuts if span_ms)})
        for stop_ms in stops:
            while (due_ms := self.pump.next_event_ms(self.now_ms)) is not None and due_ms <= stop_ms:
                self._settle(rate, due_ms)
            self._settle(rate, stop_ms)

    def _settle(self, rate: int, at_ms: int) -> None:
        self.pump.deliver(rate * (at_ms - self.now_ms))
        self.now_ms = at_ms
        notice = self.pump.evaluate(at_ms)
        if notice:
            self.found.append((at_ms, notice))

    def act(self, step: Step, cuts: list[int]) -> None:
        kind, first, second = step
        pump, now_ms = self.pump, self.now_ms
        acts: dict[str, Callable[[], object]] = {
            "run": lambda: self.run(first or 0, second, cuts),
            "withdraw": lambda: pump.withdraw(first),
            "fill": lambda: pump.fill(first or 0, second),
            "pocket": lambda: pump.pocket(first or 0, second),
            "inject": lambda: pump.inject(first or 0, second),
            "refill": lambda: pump.refill(first or 0, second),
            "dump": lambda: pump.dump(first),
            "replace_catheter": lambda: pump.replace_catheter(first),
            "lose": lambda: pump.path.lose(Junction(str(first)), second),
            "leak": lambda: pump.path.leak(first or 0, second),
            "occlude": lambda: pump.path.occlude(first or 0),
            "bend": lambda: pump.path.bend(now_ms, first or 0, min(second, (first or 0) - 1)),
            "mend": pump.path.mend,
            "error": lambda: setattr(pump, "rate_error_ppm", first),
            "temperature": lambda: pump.environment.set_temperature(first or 0),
            "pressure": lambda: pump.environment.set_pressure(first or 0),
            "stall": lambda: pump.rotor.stall(now_ms),
            "free": lambda: pump.rotor.free(now_ms),
        }
        acts[kind]()


@pytest.mark.inv(35)
@pytest.mark.inv(39)
@given(
    todo=st.lists(steps, max_size=15),
    cuts=st.lists(st.integers(0, 20 * DAY_MS), max_size=6),
    name=st.sampled_from(["uneven", *list_profiles()]),
    error=st.sampled_from([0, 60_000, -145_000, 1]),
)
def test_inv_35_the_ledger_balances_after_anything_and_does_not_depend_on_cuts(
    todo: list[Step], cuts: list[int], name: str, error: int
) -> None:
    profile = UNEVEN if name == "uneven" else load_profile(name)
    whole, cut = World(profile, error), World(profile, error)
    for step in todo:
        whole.act(step, [])
        cut.act(step, cuts)
        for world in (whole, cut):
            assert balance(world.pump) == ledger_nl(world.pump) == 0
            assert 0 <= world.pump.true_nl <= world.pump.most_nl
            assert min(world.pump.lost_nl, world.pump.path.delivered_nl, world.pump.calculated) >= 0
    assert whole.pump.snapshot() == cut.pump.snapshot()
    assert whole.found == cut.found


@given(
    profile=st.sampled_from([MOTOR, UNEVEN]),
    error=st.integers(-PPM + 1, PPM),
    rate=rates,
    fill_nl=st.integers(0, 3 * ML),
    started=st.integers(0, 10 * 250 * COMMANDED_PER_NL),
    passed=st.sampled_from([PPM, 77_777]),
    level_nl=st.integers(0, 3 * ML),
)
def test_the_instants_of_dry_and_sensed_are_the_first_such(
    profile: PumpProfile, error: int, rate: int, fill_nl: int, started: int, passed: int, level_nl: int
) -> None:
    for name in ("dry", "sensed"):
        one = reservoir(replace(profile, level_sensor=True), fill_nl, error)
        one.sensor_offset_nl = 100_000 if name == "sensed" else 0
        one.path.occlude(passed)
        one.deliver(started)
        span_ms = one.ms_until_dry(rate) if name == "dry" else one.ms_until_sensed(rate, level_nl)
        if span_ms is None:
            assert level_nl < one.sensor_offset_nl
            continue

        def there(one: Reservoir = one, name: str = name) -> bool:
            return one.true_volume == 0 if name == "dry" else one.sensed_nl <= level_nl

        if span_ms:
            one.deliver(rate * (span_ms - 1))
            assert not there()
            one.deliver(rate)
        assert there()


@given(error=st.integers(-145_000, 145_000), passed=st.sampled_from([PPM, 250_000]), days=st.integers(1, 40))
def test_the_mean_rate_is_what_whole_revolutions_give(error: int, passed: int, days: int) -> None:
    one = reservoir(UNEVEN, error=error)
    one.path.occlude(passed)
    mean = one.true_rate_nl_per_day(200_000)  # 800 strokes a day: whole revolutions of eight
    assert mean == 200_000 * (PPM + error) * passed // PPM**2
    before = one.true_volume
    one.deliver(200_000 * days * DAY_MS)
    assert mean == (before - one.true_volume) // (days * TRUE_PER_NL)


def test_strokes_come_whole_and_the_calculated_volume_goes_evenly() -> None:
    one = reservoir()
    one.deliver(249 * COMMANDED_PER_NL)
    assert (one.calculated_nl, one.true_nl) == (40 * ML - 249, 40 * ML)
    one.deliver(COMMANDED_PER_NL)
    assert (one.calculated_nl, one.true_nl, one.path.delivered_nl) == (40 * ML - 250, 40 * ML - 250, 250)


def test_the_last_stroke_gives_what_is_left_and_what_follows_nothing() -> None:
    one = reservoir(fill_nl=600)
    one.set_calculated(10_000)
    one.deliver(10_000 * COMMANDED_PER_NL)
    assert (one.true_volume, one.path.delivered_nl, one.rotor.strokes_made) == (0, 600, 40)
    assert (one.true_rate_nl_per_day(150_000), one.tip_dose_ng_per_day(150_000)) == (0, 0)


def test_an_occlusion_keeps_the_drug_in_the_reservoir() -> None:
    """domain.md 4, F6: no alarm, more residual than calculated."""
    one = reservoir()
    one.path.occlude(0)
    assert one.ms_until_dry(150_000) is None
    one.deliver(10 * ML * COMMANDED_PER_NL)
    assert (one.true_nl, one.calculated_nl, one.path.delivered_nl) == (40 * ML, 30 * ML, 0)
    assert (one.true_rate_nl_per_day(150_000), one.inject(500, 0), one.dump()) == (0, 0, 0)
    one.path.occlude(300_000)
    one.deliver(10 * ML * COMMANDED_PER_NL)
    assert (one.true_nl, one.calculated_nl) == (37 * ML, 20 * ML)


def test_a_leak_shows_in_the_dose_at_the_tip_and_not_in_the_residual() -> None:
    """domain.md 4, F7: drug lost to the pocket; residual normal."""
    one = reservoir()
    one.path.leak(400_000)
    assert (one.true_rate_nl_per_day(150_000), one.tip_dose_ng_per_day(150_000)) == (150_000, 180_000)
    one.deliver(10 * ML * COMMANDED_PER_NL)
    assert (one.true_nl, one.calculated_nl) == (30 * ML, 30 * ML)
    assert (one.path.delivered_nl, one.lost_nl, one.lost_ng) == (6 * ML, 4 * ML, 8 * ML)


def test_a_stalled_rotor_is_never_dry() -> None:
    one = reservoir()
    one.rotor.stall(0)
    one.deliver(ML * COMMANDED_PER_NL)
    assert (one.true_nl, one.calculated_nl, one.rotor.strokes_missed) == (40 * ML, 39 * ML, 4_000)
    assert (one.ms_until_dry(150_000), one.true_rate_nl_per_day(150_000), one.ms_until_dry(0)) == (None, 0, None)


def test_errors_add_up() -> None:
    one = reservoir(replace(load_profile("sensor-40"), calibration_ppm=800_000, package_calibration_ppm=PPM))
    one.rate_error_ppm = 1_000
    one.environment.set_temperature(371)
    assert one.flow_error_ppm == 250_000 + 1_000 + 2_000
    assert one.true_rate_nl_per_day(ML) == 1_253_000
    one.environment.set_pressure(1_500)
    assert one.true_rate_nl_per_day(ML) == 0
    assert one.ms_until_dry(ML) is None
    soft = reservoir(replace(MOTOR, tube_set_error_ppm=50_000))
    soft.rotor.take_set()
    assert soft.true_rate_nl_per_day(ML) == 1_050_000


def test_a_dump_empties_the_reservoir_through_the_path() -> None:
    """domain.md 4, F17: reservoir and catheter at once; the pump's own books know nothing."""
    one = reservoir()
    assert (one.dump(2 * ML), one.dump()) == (2 * ML, 38 * ML)
    assert (one.true_nl, one.calculated_nl, one.path.delivered_nl) == (0, 40 * ML, 40 * ML)


def test_a_sensor_reads_the_truth_with_an_offset() -> None:
    """domain.md 4, F22."""
    one = Reservoir(load_profile("sensor-40"), fill_nl=5 * ML, concentration_ng_per_ml=2_000_000)
    one.set_calculated(1 * ML)
    one.sensor_offset_nl = 500_000
    assert one.sensed_nl == 5_500_000
    one.deliver(3 * ML * COMMANDED_PER_NL)
    assert (one.sensed_nl, one.calculated_nl) == (2_500_000, 0)
    one.sensor_offset_nl = -4 * ML
    assert one.sensed_nl == 0
    assert one.ms_until_sensed(100_000, 0) == 0


# --- the needle ------------------------------------------------------------------------------------------------------


def test_what_is_filled_mixes_with_what_is_there() -> None:
    one = reservoir(fill_nl=10 * ML)
    assert one.fill(30 * ML, 500_000) == 30 * ML
    assert one.concentration_ng_per_ml == 875_000
    assert one.path.tip_concentration_ng_per_ml == 2_000_000


@given(
    fills=st.lists(st.tuples(st.integers(1, 9 * ML), st.integers(0, 3_000_000)), min_size=1, max_size=5),
    delivered=st.integers(0, ML),
)
def test_mixing_keeps_the_mass_to_half_a_nanogram_per_millilitre(fills: list[tuple[int, int]], delivered: int) -> None:
    one = reservoir(fill_nl=2 * ML)
    one.deliver(delivered * COMMANDED_PER_NL)
    for volume, concentration in fills:
        before = one.true_volume * one.concentration_ng_per_ml
        filled = one.fill(volume, concentration)
        after = one.true_volume * one.concentration_ng_per_ml
        assert abs(after - before - filled * TRUE_PER_NL * concentration) * 2 <= one.true_volume


def test_overfilling_stops_at_the_margin() -> None:
    """domain.md 2.9 and 4, F20: the reservoir valve shuts."""
    one = reservoir(fill_nl=39 * ML)
    assert (one.fill(9 * ML, 2_000_000), one.true_nl, one.fill(1, 0)) == (3 * ML, 42 * ML, 0)


def test_a_pocket_fill_is_filled_and_lost() -> None:
    """domain.md 4, F18."""
    one = reservoir()
    one.pocket(3 * ML, 2_000_000)
    assert (one.true_nl, one.lost_nl, one.lost_ng, one.pocket_ng, ledger_nl(one)) == (
        40 * ML,
        3 * ML,
        6 * ML,
        6 * ML,
        0,
    )


def test_withdrawing_leaves_what_is_begun() -> None:
    one = reservoir(error=1)
    one.deliver(250 * COMMANDED_PER_NL)
    assert one.withdraw(5) == 5
    assert (one.withdraw(), one.true_nl, one.withdraw()) == (40 * ML - 256, 1, 0)
    assert one.true_volume == TRUE_PER_NL - 250 * TRUE_PER_NL // PPM


def test_a_refill_ends_at_its_volume_with_the_new_drug() -> None:
    one = reservoir(error=33_333)
    one.deliver(7_000_250 * COMMANDED_PER_NL + 12_345)
    assert one.true_volume % TRUE_PER_NL
    withdrawn, filled = one.refill(20 * ML, 500_000)
    assert (one.true_nl, one.calculated_nl, filled) == (20 * ML, 20 * ML, 20 * ML - 1)
    assert (withdrawn, one.concentration_ng_per_ml) == (one.withdrawn_nl, 500_000)
    assert balance(one) == ledger_nl(one) == 0


def test_the_side_port_counts_as_filled() -> None:
    """domain.md 4, F19: straight into the catheter."""
    one = reservoir()
    assert one.inject(ML, 500_000) == ML
    assert one.path.delivered_ng == 195_800 * 2 + (ML - 195_800) // 2
    assert (one.true_nl, one.calculated_nl, ledger_nl(one)) == (40 * ML, 40 * ML, 0)


def test_a_new_catheter_of_another_length() -> None:
    one = reservoir()
    one.path.occlude(0)
    one.replace_catheter(260_000)
    assert (one.path.volume_nl, one.withdrawn_nl, ledger_nl(one)) == (400_000, 195_800, 0)
    assert one.path.state is CatheterState.PATENT


@pytest.mark.parametrize("act", ["withdraw", "set_calculated"])
def test_a_negative_volume_is_refused(act: str) -> None:
    with pytest.raises(UsageError, match="volume_nl: -1 is negative"):
        getattr(reservoir(), act)(-1)
    for other in ("fill", "pocket", "inject"):
        with pytest.raises(UsageError, match="volume_nl: -1 is negative"):
            getattr(reservoir(), other)(-1, 0)


# --- snapshot --------------------------------------------------------------------------------------------------------


@given(todo=st.lists(steps, max_size=8), later=st.lists(steps, max_size=4))
def test_a_reservoir_goes_on_from_its_snapshot(todo: list[Step], later: list[Step]) -> None:
    world = World(UNEVEN, 60_000)
    for step in todo:
        world.act(step, [])
    other = World(UNEVEN, 0)
    other.now_ms = world.now_ms
    other.pump = Reservoir(UNEVEN, fill_nl=0, concentration_ng_per_ml=1)
    other.pump.restore(json.loads(json.dumps(world.pump.snapshot())), "reservoir")
    for step in later:
        world.act(step, [])
        other.act(step, [])
    assert other.pump.snapshot() == world.pump.snapshot()


def test_mass_is_counted_in_exact_units() -> None:
    one = reservoir()
    one.deliver(250 * COMMANDED_PER_NL)
    assert MASS_PER_NG == TRUE_PER_NL * ML
    assert one.path.delivered_ng == 500

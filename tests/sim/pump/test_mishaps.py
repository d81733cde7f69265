"""What faults do inside the pump: slips of people, a reservoir that presses, a battery that gives way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, PumpMode
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump import mishaps, slipping
from telemetry.sim.pump.quantities import TRUE_PER_NL
from telemetry.sim.pump.recovery import MOST_RESETS
from telemetry.sim.pump.slips import AT_NEEDLE, NAMES, Slips
from telemetry.sim.pump.upsets import Upsets
from telemetry.units import MS_PER_HOUR
from tests.sim.pump.rig import DAY_MS, ML, commit, device, program

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

WHOLE = 1_000_000


# --- slips -----------------------------------------------------------------------------------------------------------


def test_slips_wait_one_of_a_kind() -> None:
    slips = Slips()
    slips.put("pocket_fill", "always", {"missed_ppm": 5})
    assert slips.has("pocket_fill")
    assert slips.look("pocket_fill") is not None
    with pytest.raises(UsageError, match="waits already"):
        slips.put("pocket_fill", "always", {})
    with pytest.raises(UsageError, match="none of wrong_concentration, overfill"):
        slips.put("gremlin", "", {})
    other = Slips()
    other.restore(slips.snapshot(), "x")
    assert other == slips
    taken = slips.take("pocket_fill")
    assert taken is not None
    assert taken.values == {"missed_ppm": 5}
    assert (slips.take("pocket_fill"), slips.has("pocket_fill"), slips != other) == (None, False, True)


@given(
    volume_nl=st.integers(0, 60 * ML),
    there_nl=st.integers(0, 40 * ML),
    chosen=st.sets(st.sampled_from(AT_NEEDLE)),
    missed_ppm=st.integers(1, WHOLE),
    excess_nl=st.integers(1, 60 * ML),
    mode=st.sampled_from(["valve_shuts", "over_pressure"]),
)
def test_a_syringe_loses_nothing(
    volume_nl: int, there_nl: int, chosen: set[str], missed_ppm: int, excess_nl: int, mode: str
) -> None:
    pump = device(fill_nl=there_nl)
    core, reservoir = pump.core, pump.core.reservoir
    values = {"missed_ppm": missed_ppm, "excess_nl": excess_nl, "error_ppm": 150_000, "true_ng_per_ml": 123}
    for name in chosen:
        core.upsets.slips.put(name, mode if name == "overfill" else "always", values)
    left = slipping.empty_syringe(core, volume_nl, 2_000_000)
    assert pump.ledger().balance_nl == 0
    assert left == (reservoir.true_nl - there_nl) + reservoir.pocket_nl
    most_nl = reservoir.most_nl if "overfill" not in chosen or mode == "over_pressure" else reservoir.capacity_nl
    assert reservoir.true_nl <= max(there_nl, most_nl)
    if volume_nl:
        told = [event.detail for event in pump.core.take_events() if event.kind == "fault_struck"]
        assert sorted(told) == sorted(chosen)
        assert not any(core.upsets.slips.has(name) for name in AT_NEEDLE)
    assert (reservoir.over_pressure_ppm > 0) == (
        "overfill" in chosen and mode == "over_pressure" and reservoir.true_nl > reservoir.capacity_nl and volume_nl > 0
    )


def test_every_slip_is_known_by_name() -> None:
    pump = device()
    for name in NAMES:
        mishaps.slip(pump.core, name, "omitted", {"x": 1})
        assert pump.core.upsets.slips.has(name)


# --- a reservoir that presses ----------------------------------------------------------------------------------------


def pressing(excess_nl: int, error_ppm: int) -> PumpDevice:
    pump = device()
    values = {"excess_nl": excess_nl, "error_ppm": error_ppm}
    mishaps.slip(pump.core, "overfill", "over_pressure", values)
    pump.refill()
    return pump


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 2 * ML),
    st.integers(1, 900_000),
    st.lists(st.integers(1, 20 * DAY_MS - 1), max_size=12),
    st.integers(50_000, 340_000),
)
def test_pressure_ends_with_the_stroke_that_relieves_it(
    excess_nl: int, error_ppm: int, cuts: list[int], rate: int
) -> None:
    pump, other = pressing(excess_nl, error_ppm), pressing(excess_nl, error_ppm)
    for one in (pump, other):
        commit(one, 1, program(one, rate))
    for at_ms in sorted(cuts):
        other.advance_to(at_ms)
    for one in (pump, other):
        one.advance_to(20 * DAY_MS)
    assert pump.truth() == other.truth()
    over = pump.core.reservoir.true_volume > pump.core.reservoir.capacity_nl * TRUE_PER_NL
    assert (pump.core.reservoir.over_pressure_ppm > 0) == over


def test_pressure_ends_at_its_own_instant() -> None:
    pump = pressing(1 * ML, 150_000)
    reservoir = pump.core.reservoir
    due_ms = pump.next_event_ms()
    assert due_ms is not None
    pump.advance_to(due_ms - 1)
    assert reservoir.over_pressure_ppm == 150_000
    assert reservoir.true_volume > reservoir.capacity_nl * TRUE_PER_NL
    pump.advance_to(due_ms)
    assert reservoir.over_pressure_ppm == 0
    assert reservoir.true_volume <= reservoir.capacity_nl * TRUE_PER_NL


def test_a_needle_relieves_it_too() -> None:
    pump = pressing(1 * ML, 150_000)
    reservoir = pump.core.reservoir
    reservoir.withdraw(ML - 1)
    pump.core.evaluate()
    assert reservoir.over_pressure_ppm == 150_000
    reservoir.withdraw(1)
    pump.core.evaluate()
    assert reservoir.over_pressure_ppm == 0


# --- a battery that gives way ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(60_000, 250_000),
    st.lists(st.integers(1, 3_000 * DAY_MS - 1), max_size=10),
    st.integers(48_000, 340_000),
)
def test_it_gives_way_at_the_same_strokes_however_time_is_cut(film_mohm: int, cuts: list[int], rate: int) -> None:
    lives = []
    for at in ([], sorted(cuts)):
        pump = device()
        commit(pump, 1, program(pump, rate))
        mishaps.grow_film(pump.core, film_mohm, 0)
        events = []
        for at_ms in (*at, 3_000 * DAY_MS):
            events += pump.advance_to(at_ms)
        lives.append((events, pump.truth(), pump.status()))
    assert lives[0] == lives[1]


def test_it_gives_way_at_the_first_stroke_that_is_too_much() -> None:
    pump = device()
    core, peak_ua = pump.core, pump.profile.stroke_peak_ua
    mishaps.grow_film(core, 179_800, 0)  # what is missing at a full charge is little: some days of drain
    weak_ms = core.battery.brownout_ms(0, core.drain_pc_per_day, peak_ua)
    assert weak_ms is not None
    assert weak_ms > DAY_MS
    stroke, rate = core.reservoir.rotor.stroke, core.rate_nl_per_day
    strokes = -(-weak_ms * rate // stroke)
    due_ms = -(-strokes * stroke // rate)
    assert weak_ms <= due_ms < weak_ms + stroke // rate + 1
    assert pump.next_event_ms() == core.upsets.brownout_ms == due_ms
    pump.advance_to(due_ms - 1)
    assert (pump.boot_epoch, core.reservoir.rotor.strokes_made) == (1, strokes - 1)
    pump.advance_to(due_ms)
    assert (pump.boot_epoch, core.reservoir.rotor.strokes_made) == (2, strokes)
    assert AlarmKind.LOW_BATTERY_RESET in pump.status().alarms


def test_a_tone_can_be_too_much() -> None:
    pump = device()
    pump.stop_at_bench()  # no stroke, and after 48 h a tone
    mishaps.grow_film(pump.core, 900_000, 0)
    events = pump.advance_to(3 * DAY_MS)
    first = next(event.at_ms for event in events if event.kind == "low_battery_reset")
    raised = next(event.at_ms for event in events if event.kind == "alarm_raised")
    assert first >= raised
    assert pump.boot_epoch > 1


def test_resets_of_more_than_an_hour_ago_do_not_count() -> None:
    pump = device()
    for number in range(2 * MOST_RESETS):
        mishaps.feedthrough_short(pump.core, 0, safe_state=False)
        assert pump.status().mode is PumpMode.SIMPLE_CONTINUOUS, number
        pump.advance_to(pump.now_ms + MS_PER_HOUR // (MOST_RESETS - 1))
    assert len(pump.core.upsets.resets) <= MOST_RESETS


def test_a_stock_battery_never_gives_way() -> None:
    pump = device()
    pump.advance_to(2_000 * DAY_MS)
    assert pump.core.upsets.brownout_ms is None
    assert pump.boot_epoch == 1


# --- the rest --------------------------------------------------------------------------------------------------------


def test_a_catheter_is_what_is_wrong_with_it_now() -> None:
    core = device().core
    leak, half, tight = ({"lost_ppm": 300_000}, {"passes_ppm": 500_000}, {"passes_ppm": 200_000})
    mishaps.set_catheter(core, [("leaking", leak), ("partial", half), ("partial", tight), ("tip_displaced", {})])
    assert core.reservoir.path.pass_ppm == 200_000
    assert core.reservoir.path.losses.ppm == [0, 300_000, WHOLE]
    mishaps.set_catheter(core, [("partial", half)])
    assert core.reservoir.path.pass_ppm == 500_000
    assert core.reservoir.path.losses.ppm == [0, 0, 0]
    with pytest.raises(UsageError, match="'torn' is no state of a catheter"):
        mishaps.set_catheter(core, [("torn", {})])


def test_upsets_go_through_a_snapshot() -> None:
    pump = device()
    core = pump.core
    core.upsets = Upsets(
        stored_error=True,
        stops_while_updating=True,
        replace_by_shift_ms=-5,
        replace_by_invalid=True,
        tubing_told_nl=3,
        calibration_told_ppm=4,
        brownout_ms=9,
        resets=(1, 2),
    )
    core.upsets.slips.put("overfill", "over_pressure", {"excess_nl": 1, "error_ppm": 2})
    core.reservoir.over_pressure_ppm = 7
    again = type(pump).restore(pump.snapshot())
    assert again.core.upsets == core.upsets
    assert again.core.reservoir.over_pressure_ppm == 7


def test_every_effect_of_an_impossible_fault_is_refused() -> None:
    core = device().core
    with pytest.raises(UsageError, match="has no valves that a field could open"):
        mishaps.dump_reservoir(core, 1)
    with pytest.raises(UsageError, match="no level sensor"):
        mishaps.shift_sensor(core, 1)
    with pytest.raises(UsageError, match="no tube that could take a set"):
        mishaps.tube_set(device(load_profile("valve-20")).core, 1)
    with pytest.raises(UsageError, match="lasts for ever"):
        mishaps.wear_memory(core)
    mishaps.telemetry_latch(core)  # a quiet pump
    assert core.upsets.telemetry_mode is False

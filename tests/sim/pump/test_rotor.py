"""Strokes, stalls, what the pump finds out of them, and a tube that takes a set."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, PPM
from telemetry.sim.pump.rotor import STALL_DETECTED, STALL_RECOVERED, Rotor
from telemetry.sim.pump.strokes import StrokeTable

MOTOR = load_profile("itb-40")
STROKE = 250 * COMMANDED_PER_NL
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LATENCY_MS = 20 * MINUTE_MS

cycles = st.lists(st.integers(-PPM, PPM), min_size=1, max_size=6).map(tuple)


def given_by_hand(cycle: tuple[int, ...], error: int, passed: int, first: int, count: int) -> int:
    """Stroke after stroke, each by its definition (the nominal stroke is whole in units of 1/10^6)."""
    return sum(
        int(Fraction(max(0, PPM + error + cycle[(first + number) % len(cycle)]) * STROKE * passed, PPM))
        for number in range(count)
    )


@given(
    cycle=cycles,
    error=st.integers(-2 * PPM, PPM),
    passed=st.sampled_from([0, 1, 333_333, PPM]),
    first=st.integers(0, 40),
    count=st.integers(0, 40),
)
def test_a_table_gives_what_stroke_after_stroke_gives(
    cycle: tuple[int, ...], error: int, passed: int, first: int, count: int
) -> None:
    table = StrokeTable(250, cycle, error, passed)
    assert table.volume(first, count) == given_by_hand(cycle, error, passed, first, count)


@given(cycle=cycles, error=st.integers(-PPM, PPM), first=st.integers(0, 40), strokes=st.integers(1, 60))
def test_the_strokes_for_a_volume_are_the_fewest(cycle: tuple[int, ...], error: int, first: int, strokes: int) -> None:
    table = StrokeTable(250, cycle, error, PPM)
    volume = table.volume(first, strokes)
    found = table.strokes_for(first, volume)
    if not table.per_revolution:
        assert found == (0 if volume == 0 else None)
        return
    assert found is not None
    assert table.volume(first, found) >= volume
    assert found == 0 or table.volume(first, found - 1) < volume
    more = table.strokes_for(first, volume + 1)
    assert more is not None
    assert more > found or table.volume(first, found) > volume


def test_no_stroke_gives_less_than_nothing() -> None:
    table = StrokeTable(250, (-600_000, 600_000), -500_000, PPM)
    assert [table.volume(number, 1) for number in range(3)] == [0, STROKE * 1_100_000, 0]
    assert StrokeTable(250, (), -PPM, PPM).strokes_for(0, 1) is None
    assert StrokeTable(250, (), -PPM, PPM).strokes_for(0, 0) == 0


@given(spans=st.lists(st.integers(0, 10 * STROKE), max_size=30))
def test_strokes_do_not_care_how_the_commanded_volume_is_cut(spans: list[int]) -> None:
    cut, whole = Rotor(MOTOR), Rotor(MOTOR)
    made = sum(cut.turn(span) for span in spans)
    assert made == whole.turn(sum(spans))
    assert cut.snapshot() == whole.snapshot()
    assert made * STROKE + cut.phase == sum(spans)


def test_a_stalled_rotor_misses_its_strokes() -> None:
    rotor = Rotor(MOTOR)
    assert rotor.turn(3 * STROKE + 1) == 3
    rotor.stall(0)
    assert rotor.turn(2 * STROKE) == 0
    rotor.free(5)
    assert rotor.turn(STROKE - 1) == 1
    assert (rotor.strokes_made, rotor.strokes_missed, rotor.phase) == (4, 2, 0)


def run(rotor: Rotor, acts: list[tuple[int, str]], end_ms: int, cuts: list[int]) -> list[tuple[int, str]]:
    """Acts and what the pump finds out, at their instants, stopping at ``cuts`` as well."""
    found: list[tuple[int, str]] = []
    stops = sorted([(at, 1, act) for at, act in acts] + [(at, 0, "") for at in [*cuts, end_ms]])
    for at_ms, _, act in stops:
        now_ms = 0
        while (due_ms := rotor.next_event_ms(now_ms)) is not None and due_ms <= at_ms:
            notice = rotor.notice(due_ms)
            assert notice is not None, "an event at which nothing happens"
            found.append((due_ms, notice))
            now_ms = due_ms
        assert rotor.notice(at_ms) is None
        if act == "stall":
            rotor.stall(at_ms)
        elif act == "free":
            rotor.free(at_ms)
        elif act:
            rotor.command(at_ms, moving=act == "run")
    return found


def test_a_stall_and_its_end_are_found_out_after_the_latency() -> None:
    acts = [(HOUR_MS, "stall"), (3 * HOUR_MS, "free")]
    assert run(Rotor(MOTOR), acts, 9 * HOUR_MS, []) == [
        (HOUR_MS + LATENCY_MS, STALL_DETECTED),
        (3 * HOUR_MS + LATENCY_MS, STALL_RECOVERED),
    ]


def test_a_short_stall_is_never_found_out() -> None:
    assert run(Rotor(MOTOR), [(HOUR_MS, "stall"), (HOUR_MS + LATENCY_MS - 1, "free")], 9 * HOUR_MS, []) == []


def test_a_pump_that_rests_does_not_find_a_stall_out() -> None:
    """domain.md 2.6: stopping before MRI delays the detection of a prolonged stall."""
    acts = [(0, "stop"), (HOUR_MS, "stall"), (5 * HOUR_MS, "run"), (5 * HOUR_MS + 1_000, "stop"), (8 * HOUR_MS, "run")]
    found = run(Rotor(MOTOR), acts, 9 * HOUR_MS, [])
    assert found == [(8 * HOUR_MS + LATENCY_MS - 1_000, STALL_DETECTED)]


def test_the_second_interrogation_shows_the_recovery() -> None:
    """domain.md 0, fact 5."""
    rotor = Rotor(MOTOR)
    rotor.stall(0)
    assert rotor.interrogated() is None
    assert rotor.notice(LATENCY_MS) == STALL_DETECTED
    rotor.free(HOUR_MS)
    assert (rotor.stalled, rotor.detected) == (False, True)
    assert [rotor.interrogated() for _ in range(3)] == [None, STALL_RECOVERED, None]
    assert (rotor.detected, rotor.next_event_ms(HOUR_MS)) == (False, None)


def test_a_second_stall_before_the_first_was_seen_to_end_is_one_stall_to_the_pump() -> None:
    acts = [(0, "stall"), (HOUR_MS, "free"), (HOUR_MS + 1, "stall"), (2 * HOUR_MS, "free")]
    assert run(Rotor(MOTOR), acts, 9 * HOUR_MS, []) == [
        (LATENCY_MS, STALL_DETECTED),
        (2 * HOUR_MS + LATENCY_MS, STALL_RECOVERED),
    ]


@pytest.mark.inv(39)
@given(
    acts=st.lists(
        st.tuples(st.integers(0, 4 * HOUR_MS), st.sampled_from(["stall", "free", "run", "stop"])), max_size=12
    ),
    cuts=st.lists(st.integers(0, 5 * HOUR_MS), max_size=12),
)
def test_inv_39_what_is_found_out_does_not_depend_on_looking(acts: list[tuple[int, str]], cuts: list[int]) -> None:
    looked, left = Rotor(MOTOR), Rotor(MOTOR)
    ordered = [(at, act) for at, act in sorted(acts, key=lambda pair: pair[0])]
    distinct = [next(group) for _, group in itertools.groupby(ordered, key=lambda pair: pair[0])]
    assert run(looked, distinct, 5 * HOUR_MS, cuts) == run(left, distinct, 5 * HOUR_MS, [])
    assert looked.snapshot() == left.snapshot()


def test_a_tube_takes_a_set_after_48_h_of_rest() -> None:
    """domain.md 2.6: a stop of more than 48 h leads to over-infusion later."""
    soft = replace(MOTOR, tube_set_error_ppm=50_000)
    for rest_ms, taken in ((48 * HOUR_MS - 1, False), (48 * HOUR_MS, True)):
        rotor = Rotor(soft)
        rotor.command(7, moving=False)
        assert rotor.tube_set_risk(7 + rest_ms) is taken
        assert not rotor.tube_set
        rotor.command(7 + rest_ms, moving=True)
        assert (rotor.tube_set, rotor.flow_error_ppm) == (taken, 50_000 if taken else 0)
        rotor.command(8 + rest_ms, moving=False)
        rotor.command(9 + rest_ms, moving=True)
        assert rotor.tube_set is taken


def test_a_stall_is_rest_too_and_a_stop_within_it_does_not_begin_anew() -> None:
    rotor = Rotor(MOTOR)
    rotor.stall(0)
    rotor.command(HOUR_MS, moving=False)
    rotor.free(20 * HOUR_MS)
    assert rotor.still_since_ms == 0
    rotor.command(48 * HOUR_MS, moving=True)
    assert rotor.tube_set
    assert not rotor.tube_set_risk(999 * HOUR_MS)


def test_a_valve_has_no_tube() -> None:
    rotor = Rotor(load_profile("valve-20"))
    rotor.command(0, moving=False)
    rotor.command(99 * HOUR_MS, moving=True)
    rotor.take_set()
    assert not rotor.tube_set
    dry = Rotor(MOTOR)
    dry.take_set()
    assert dry.tube_set


def test_a_rotor_goes_on_from_its_snapshot() -> None:
    rotor = Rotor(MOTOR, 17)
    rotor.turn(7 * STROKE + 3)
    rotor.stall(40)
    rotor.command(90, moving=False)
    other = Rotor(MOTOR)
    other.restore(json.loads(json.dumps(rotor.snapshot())), "rotor")
    assert other.snapshot() == rotor.snapshot()
    assert other.next_event_ms(100) is None
    other.command(100, moving=True)
    assert other.next_event_ms(100) == 100 + LATENCY_MS - 50
    with pytest.raises(UsageError, match=r"rotor\.phase: -1 is below 0"):
        other.restore(rotor.snapshot() | {"phase": -1}, "rotor")

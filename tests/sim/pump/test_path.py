"""The way to the tip: first in first out, exact losses, occlusions, and what is read out of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.pump.catheter import CatheterState, Junction
from telemetry.sim.pump.path import Path
from telemetry.sim.pump.quantities import PPM, TRUE_PER_NL

if TYPE_CHECKING:
    from collections.abc import Callable

TUBING, CATHETER = 140_000, 195_800
strengths = st.sampled_from([0, 500, 2_000])


@given(pushes=st.lists(st.tuples(st.integers(0, 3_000), strengths), max_size=20))
def test_what_went_in_first_comes_out_first(pushes: list[tuple[int, int]]) -> None:
    path = Path(400, 600, 100)
    queue = [100] * 1_000
    delivered = 0
    for volume, concentration in pushes:
        path.push(volume * TRUE_PER_NL, concentration)
        queue += [concentration] * volume
        delivered += sum(queue[:volume])
        queue = queue[volume:]
        assert path.volume_nl == 1_000
        assert path.tip_concentration_ng_per_ml == queue[0]
        expected = [(i, c) for i, c in enumerate(queue) if not i or queue[i - 1] != c]
        assert list(path.fronts()) == expected
        assert path.content_ng == sum(queue) // 1_000_000
    assert path.delivered_nl == sum(volume for volume, _ in pushes)
    assert path.delivered_ng == delivered // 1_000_000


acts = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 10**20), strengths),
    st.tuples(st.just("inject"), st.integers(1, 10**19), strengths),
    st.tuples(st.just("lose"), st.sampled_from(list(Junction)), st.sampled_from([0, 1, 333_333, PPM - 1, PPM])),
    st.tuples(st.just("leak"), st.integers(0, PPM), st.one_of(st.none(), st.integers(0, PPM))),
    st.tuples(st.just("mend"), st.just(0), st.just(0)),
)


def act(path: Path, what: tuple[Any, Any, Any], parts: int) -> None:
    """Do one thing; a push or injection in so many parts."""
    kind, first, second = what
    if kind == "mend":
        path.mend()
    elif kind == "lose":
        path.lose(first, second)
    elif kind == "leak":
        path.leak(first, second)
    else:
        for number in range(parts):
            getattr(path, kind)(first * (number + 1) // parts - first * number // parts, second)


@pytest.mark.inv(39)
@given(
    todo=st.lists(acts, max_size=12),
    cuts=st.lists(st.integers(2, 9), min_size=12, max_size=12),
    tubing=st.integers(0, 3_000),
    catheter=st.integers(1, 3_000),
)
def test_inv_39_losses_do_not_depend_on_how_a_push_is_cut(
    todo: list[tuple[Any, Any, Any]], cuts: list[int], tubing: int, catheter: int
) -> None:
    whole, cut = Path(tubing, catheter, 100), Path(tubing, catheter, 100)
    entered = 0
    for what, parts in zip(todo, cuts, strict=False):
        act(whole, what, 1)
        act(cut, what, parts)
        entered += what[1] if what[0] in {"push", "inject"} else 0
        assert whole.delivered_volume + whole.lost_volume == entered
        assert whole.delivered_nl + whole.lost_nl == entered // TRUE_PER_NL
        assert whole.volume_nl == tubing + catheter
    assert whole.snapshot() == cut.snapshot()
    assert sum(whole.lost_ng_at(junction) for junction in Junction) <= whole.lost_ng


def test_disconnected_at_the_pump_everything_is_lost_and_the_catheter_stands() -> None:
    """domain.md 2.7: all flow to the pocket."""
    path = Path(TUBING, CATHETER, 2_000_000)
    path.lose(Junction.CONNECTOR, PPM)
    path.push(1_000_000 * TRUE_PER_NL, 500_000)
    assert (path.delivered_nl, path.lost_nl) == (0, 1_000_000)
    assert path.lost_ng == TUBING * 2 + (1_000_000 - TUBING) // 2
    assert path.fronts() == ((0, 2_000_000), (CATHETER, 500_000))
    assert path.state is CatheterState.DISCONNECTED


@pytest.mark.parametrize("junction", list(Junction))
def test_a_third_lost_at_each_junction(junction: Junction) -> None:
    path = Path(TUBING, CATHETER, 2_000_000)
    path.lose(junction, 333_333)
    path.push(30_000_000 * TRUE_PER_NL, 2_000_000)
    assert path.lost_nl == 9_999_990
    assert path.lost_ng == path.lost_ng_at(junction) == 19_999_980
    assert path.delivered_ng == 2 * 20_000_010


def test_a_leak_point_that_moves_leaves_what_lies_in_the_catheter() -> None:
    path = Path(TUBING, CATHETER, 100)
    path.push(50_000 * TRUE_PER_NL, 200)
    path.push(170_000 * TRUE_PER_NL, 300)
    before = path.fronts()
    for at_ppm in (0, 1, 123_456, PPM, 500_000):
        path.leak(0, at_ppm)
        assert path.fronts() == before
        assert path.volume_nl == TUBING + CATHETER
    assert before == ((0, 100), (115_800, 200), (165_800, 300))


def test_a_leak_near_the_tip_lets_the_drug_that_is_beyond_it_stand() -> None:
    path = Path(100, 1_000, 7)
    path.leak(PPM, 900_000)
    path.push(5_000 * TRUE_PER_NL, 9)
    assert path.fronts() == ((0, 7), (100, 9))
    assert (path.delivered_nl, path.lost_nl, path.state) == (0, 5_000, CatheterState.LEAKING)


def test_a_large_push_goes_straight_through() -> None:
    """The dump of a whole reservoir (domain.md 4, F17)."""
    path = Path(TUBING, CATHETER, 500_000)
    path.push(40_000_000 * TRUE_PER_NL, 2_000_000)
    assert path.delivered_nl == 40_000_000
    assert path.delivered_ng == (TUBING + CATHETER) // 2 + (40_000_000 - TUBING - CATHETER) * 2
    assert path.fronts() == ((0, 2_000_000),)


def test_the_side_port_reaches_the_catheter_without_the_tubing() -> None:
    path = Path(TUBING, CATHETER, 2_000_000)
    path.inject(CATHETER * TRUE_PER_NL, 0)
    assert path.fronts() == ((0, 0), (CATHETER, 2_000_000))
    assert path.delivered_ng == 2 * CATHETER


def test_states_and_what_passes() -> None:
    path = Path(TUBING, CATHETER, 1)
    seen = {}
    path.occlude(400_000)
    seen["partly"] = (path.states, path.pass_ppm)
    path.lose(Junction.TIP, 10)
    seen["tip"] = (path.states, path.pass_ppm)
    path.occlude(0)
    seen["occluded"] = (path.states, path.pass_ppm)
    path.lose(Junction.CONNECTOR, PPM)
    seen["disconnected"] = (path.states[:1], path.pass_ppm)
    path.mend()
    seen["mended"] = (path.states, path.pass_ppm)
    assert seen == {
        "partly": ((CatheterState.PARTLY_OCCLUDED,), 400_000),
        "tip": ((CatheterState.TIP_DISPLACED, CatheterState.PARTLY_OCCLUDED), 400_000),
        "occluded": ((CatheterState.OCCLUDED, CatheterState.TIP_DISPLACED), 0),
        "disconnected": ((CatheterState.DISCONNECTED,), PPM),
        "mended": ((CatheterState.PATENT,), PPM),
    }


def test_a_kink_comes_and_goes_at_its_edges() -> None:
    path = Path(TUBING, CATHETER, 1)
    assert path.next_event_ms(0) is None
    path.bend(1_000, period_ms=100, occluded_ms=30, phase_ms=20)
    now_ms, edges = 1_000, [(1_000, path.pass_ppm)]
    for _ in range(4):
        due_ms = path.next_event_ms(now_ms)
        assert due_ms is not None
        path.evaluate(due_ms - 1)
        assert path.pass_ppm == edges[-1][1]
        path.evaluate(due_ms)
        now_ms = due_ms
        edges.append((due_ms, path.pass_ppm))
    assert edges == [(1_000, 0), (1_010, PPM), (1_080, 0), (1_110, PPM), (1_180, 0)]
    seen = [path.states]
    path.evaluate(1_110)
    seen.append(path.states)
    assert seen == [(CatheterState.OCCLUDED, CatheterState.POSITIONAL), (CatheterState.POSITIONAL,)]
    path.mend()
    assert (path.state, path.next_event_ms(1_110)) == (CatheterState.PATENT, None)


def test_a_new_catheter_is_patent_and_holds_no_drug() -> None:
    path = Path(TUBING, CATHETER, 2_000_000)
    path.leak(PPM, 10)
    path.occlude(0)
    path.replace(100_000)
    assert path.fronts() == ((0, 0), (100_000, 2_000_000))
    assert (path.state, path.volume_nl, path.leak_at_ppm) == (CatheterState.PATENT, TUBING + 100_000, 500_000)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda p: p.lose(Junction.TIP, PPM + 1), "tip loss: 1000001 ppm is outside 0 to 1000000"),
        (lambda p: p.leak(-1), "leak: -1 ppm"),
        (lambda p: p.leak(1, PPM + 1), "leak at_ppm: 1000001"),
        (lambda p: p.occlude(-1), "pass_ppm: -1"),
        (lambda p: p.bend(0, 100, 100), "occluded_ms: 100 is outside 1 to 99"),
        (lambda p: p.bend(0, 100, 50, 100), "phase_ms: 100 is outside 0 to 99"),
        (lambda p: p.replace(0), "catheter_nl: 0 is below 1"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(do: Callable[[Path], None], message: str) -> None:
    path = Path(TUBING, CATHETER, 1)
    before = path.snapshot()
    with pytest.raises(UsageError) as wrong:
        do(path)
    assert message in str(wrong.value)
    assert path.snapshot() == before


def test_a_path_goes_on_from_its_snapshot() -> None:
    path = Path(TUBING, CATHETER, 100)
    path.leak(333_333, 250_000)
    path.bend(5, 100, 30)
    path.push(77_777 * TRUE_PER_NL + 5, 200)
    state = json.loads(json.dumps(path.snapshot()))
    other = Path(1, 1, 0)
    other.restore(state, "path")
    for one in (path, other):
        one.push(123_456_789_012_345, 300)
        one.evaluate(1_000)
    assert other.snapshot() == path.snapshot()
    assert (other.pass_ppm, other.next_event_ms(50)) == (path.pass_ppm, path.next_event_ms(50))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tubing": [[1]]}, "path.tubing: [1] is no pair of whole numbers"),
        ({"proximal": [[1, 1]]}, "path.proximal: slugs hold 1 volume units"),
        ({"losses": {"ppm": [0, 0], "remainders": [0, 0, 0], "volumes": [0, 0, 0], "masses": [0, 0, 0]}}, "losses.ppm"),
        (
            {"losses": {"ppm": [0, 0, PPM + 1], "remainders": [0, 0, 0], "volumes": [0] * 3, "masses": [0] * 3}},
            "is above 1000000",
        ),
        (
            {"occlusion": {"steady_ppm": PPM + 1, "period_ms": 0, "occluded_ms": 0, "since_ms": 0, "kinked": False}},
            "occlusion.steady_ppm: 1000001 is above",
        ),
    ],
)
def test_a_wrong_snapshot_names_what_is_wrong(changes: dict[str, object], message: str) -> None:
    path = Path(TUBING, CATHETER, 100)
    with pytest.raises(UsageError) as wrong:
        path.restore(path.snapshot() | changes, "path")
    assert message in str(wrong.value)

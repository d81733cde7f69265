from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.transport.faults import Direction, FaultKind, FaultPlan, FaultRule

TX, RX = Direction.TX, Direction.RX
FRAME = bytes(range(1, 33))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("drop", FaultRule(FaultKind.DROP)),
        ("drop:0.1", FaultRule(FaultKind.DROP, 0.1)),
        ("corrupt:0.01:3@rx", FaultRule(FaultKind.CORRUPT, 0.01, 3, RX)),
        ("drop:0.1@rx/Commit*3", FaultRule(FaultKind.DROP, 0.1, None, RX, "Commit", 3)),
        ("drop@tx/Commit*1~skip2", FaultRule(FaultKind.DROP, 1, None, TX, "Commit", 1, 2)),
        ("drop@/Commit", FaultRule(FaultKind.DROP, frame_type="Commit")),
        ("delay:0.5:40~for5000", FaultRule(FaultKind.DELAY, 0.5, 40, for_ms=5_000)),
        ("split:1:4*2~skip1~for9", FaultRule(FaultKind.SPLIT, 1, 4, count=2, skip=1, for_ms=9)),
    ],
)
def test_a_rule_is_read(text: str, rule: FaultRule) -> None:
    assert FaultRule.parse(text) == rule


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no rule"),
        ("DROP", "no rule"),
        ("lose:0.1", "'lose' is none of drop, corrupt, duplicate, delay, reorder, truncate, split"),
        ("drop:2", "probability 2.0 is not in 0 to 1"),
        ("drop:-1", "probability '-1'"),
        ("drop:", "probability ''"),
        ("drop:nan", "probability 'nan'"),
        ("drop:1:5", "takes no amount"),
        ("corrupt:1:65", "amount 65 is not in 1 to 64"),
        ("corrupt:1:0", "amount 0"),
        ("delay:1:x", "amount 'x'"),
        ("drop@up", "'up' is none of tx, rx"),
        ("drop*0", "count 0 is less than 1"),
        ("drop*x", "count 'x'"),
        ("drop~for0", "for_ms 0"),
        ("drop~never", "no rule"),
        ("drop@rx/", "no rule"),
    ],
)
def test_a_bad_rule_names_the_part(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        FaultPlan.parse(text)
    assert part in str(caught.value)


def test_a_negative_skip_is_refused() -> None:
    with pytest.raises(UsageError, match="skip -1"):
        FaultRule(FaultKind.DROP, skip=-1)


_RULES = st.builds(
    FaultRule,
    kind=st.sampled_from([FaultKind.CORRUPT, FaultKind.DUPLICATE, FaultKind.DELAY, FaultKind.REORDER]),
    probability=st.integers(0, 1000).map(lambda n: n / 1000),
    amount=st.integers(1, 16),
    direction=st.sampled_from([None, TX, RX]),
    frame_type=st.sampled_from([None, "Commit", "PROBE"]),
    count=st.none() | st.integers(1, 9),
    skip=st.integers(0, 9),
    for_ms=st.none() | st.integers(1, 9_999),
)


@given(_RULES)
def test_a_rule_survives_being_written_down(rule: FaultRule) -> None:
    assert FaultRule.parse(str(rule)) == rule


@given(st.text(alphabet="dropcutseilay0.1:@/*~skfr,"))
def test_any_text_is_a_plan_or_a_usage_error(text: str) -> None:
    try:
        plan = FaultPlan.parse(text)
    except UsageError:
        return
    assert plan.rules


def run(plan: FaultPlan, count: int = 200, direction: Direction = TX) -> list[list[bytes]]:
    return [[p.data for p in plan.apply(direction, FRAME, None, 0)] for _ in range(count)]


@pytest.mark.inv(62)
def test_inv_62_the_same_seed_gives_the_same_faults() -> None:
    text = "drop:0.2,corrupt:0.3:2,duplicate:0.1,truncate:0.2,split:0.2:3"
    first, again, other = (run(FaultPlan.parse(text, seed=seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_traffic_one_way_does_not_change_what_happens_the_other_way() -> None:
    quiet, busy = FaultPlan.parse("drop:0.5", seed=3), FaultPlan.parse("drop:0.5", seed=3)
    run(busy, 50, RX)
    assert run(quiet, 50) == run(busy, 50)


def test_a_further_rule_does_not_change_what_an_earlier_one_draws() -> None:
    alone, joined = FaultPlan.parse("drop:0.5", seed=3), FaultPlan.parse("drop:0.5,duplicate:0.5", seed=3)
    run(alone)
    run(joined)
    assert alone.rules[0].hits == joined.rules[0].hits


def test_rates_come_out_about_as_asked() -> None:
    plan = FaultPlan.parse("drop:0.1", seed=1)
    lost = sum(not leaving for leaving in run(plan, 10_000))
    assert lost == plan.rules[0].hits == plan.hits
    assert 900 < lost < 1_100  # 1000 ± 3.3 standard deviations


def test_effects() -> None:
    def once(text: str) -> list[bytes]:
        return [p.data for p in FaultPlan.parse(text).apply(TX, FRAME, None, 0)]

    assert once("drop") == []
    assert once("duplicate:1:2") == [FRAME] * 3
    (corrupt,) = once("corrupt:1:3")
    assert sum((a ^ b).bit_count() for a, b in zip(corrupt, FRAME, strict=True)) == 3
    assert once("truncate:1:5") == [FRAME[:-5]]
    (cut,) = once("truncate")
    assert 0 < len(cut) < len(FRAME)
    assert FRAME.startswith(cut)
    assert once("truncate:1:255") == [FRAME[:1]]
    pieces = once("split:1:4")
    assert len(pieces) == 4
    assert b"".join(pieces) == FRAME
    assert once("drop,duplicate") == []
    assert sum(map(len, once("split:1:16,truncate:1:255"))) == 16  # single bytes are left, there is nothing to cut off
    (late,) = FaultPlan.parse("delay:1:40,delay:1:2,reorder:1:9").apply(TX, FRAME, None, 0)
    assert (late.delay_ms, late.hold_ms) == (42, 9)


@pytest.mark.parametrize(("text", "frame"), [("truncate", b"x"), ("split", b"x"), ("corrupt", b"")])
def test_a_frame_too_short_to_suffer_is_not_counted(text: str, frame: bytes) -> None:
    plan = FaultPlan.parse(text)
    assert [p.data for p in plan.apply(TX, frame, None, 0)] == [frame]
    assert plan.hits == plan.rules[0].seen == 0


@given(st.binary(min_size=1, max_size=300), st.integers(0, 99))
def test_corrupt_always_changes_and_split_never_does(frame: bytes, seed: int) -> None:
    (corrupt,) = FaultPlan.parse("corrupt:1:64", seed=seed).apply(TX, frame, None, 0)
    assert corrupt.data != frame
    assert len(corrupt.data) == len(frame)
    pieces = FaultPlan.parse("split:1:16", seed=seed).apply(TX, frame, None, 0)
    assert b"".join(p.data for p in pieces) == frame
    assert all(p.data for p in pieces)


def test_limits() -> None:
    plan = FaultPlan.parse("drop@tx/Commit*2~skip1")
    rule = plan.rules[0]
    passed = [bool(plan.apply(TX, FRAME, kind, 0)) for kind in ("Commit", "Stop", "Commit", "Commit", "Commit")]
    assert passed == [True, True, False, False, True]
    assert plan.apply(RX, FRAME, "Commit", 0)
    assert (rule.seen, rule.hits) == (4, 2)


def test_a_rule_expires_in_link_time_from_the_first_frame() -> None:
    plan = FaultPlan.parse("drop~for100")
    assert [bool(plan.apply(TX, FRAME, None, now)) for now in (5_000, 5_099, 5_100, 9_000)] == [
        False,
        False,
        True,
        True,
    ]


def test_rules_come_and_go_while_the_link_is_in_use() -> None:
    plan = FaultPlan(seed=1)
    assert not plan.touches(TX)
    rule = plan.add(FaultRule(FaultKind.DROP, direction=RX))
    assert plan.touches(RX)
    assert not plan.touches(TX)
    assert plan.apply(RX, FRAME, None, 0) == []
    plan.remove(rule)
    assert rule.hits == 1
    assert plan.apply(RX, FRAME, None, 0)
    with pytest.raises(UsageError, match="it is not in force; in force are: none"):
        plan.remove(rule)
    first, second = plan.add(FaultRule(FaultKind.DROP)), plan.add(FaultRule(FaultKind.DROP))
    plan.remove(second)
    assert plan.rules == [first]
    plan.clear()
    assert plan.apply(TX, FRAME, None, 0)


def test_a_rule_that_nobody_can_apply_is_refused_when_it_is_made_and_later() -> None:
    with pytest.raises(UsageError, match="nobody on this link can tell that a frame is 'Commit'"):
        FaultPlan.parse("drop@rx/Commit").attach(classified=False)
    plan = FaultPlan()
    plan.attach(classified=False)
    with pytest.raises(UsageError, match="'Commit'"):
        plan.add(FaultRule(FaultKind.DROP, frame_type="Commit"))
    assert plan.rules == []
    plan.attach(classified=True)
    plan.add(FaultRule(FaultKind.DROP, frame_type="Commit"))

"""The medium: power cuts, writes that fail in silence, pages that wear, bits that flip."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.pump.medium import WRITES_PER_STUCK_BIT, Medium, PowerCut

LIMIT = 100_000


def test_a_failing_write_leaves_the_old_content_and_says_nothing() -> None:
    medium = Medium({"bank_a": b"old", "log_1": b"log"})
    medium.fail_writes(2, "bank")
    for number in range(4):
        medium.write("bank_a", b"new%d" % number)
        medium.write("log_1", b"log%d" % number)
        assert medium.read("log_1") == b"log%d" % number
        assert medium.read("bank_a") == (b"old" if number < 2 else b"new%d" % number)
    assert (medium.writes("bank_a"), medium.writes("none")) == (4, 0)


def test_a_torn_write_keeps_its_first_half() -> None:
    medium = Medium({"page": b"abcdef"})
    medium.fail_writes(1, torn=True)
    medium.write("page", b"123456")
    assert medium.read("page") == b"123\xff\xff\xff"
    medium.write("page", b"123456")
    assert medium.read("page") == b"123456"


def test_several_failures_are_used_up_one_after_the_other_and_can_be_healed() -> None:
    medium = Medium()
    medium.fail_writes(1)
    medium.fail_writes(1, "a")
    for data in (b"1", b"2", b"3"):
        medium.write("a", data)
    assert medium.read("a") == b"3"
    medium.fail_writes(99)
    medium.heal_writes()
    medium.write("a", b"4")
    assert medium.read("a") == b"4"
    with pytest.raises(UsageError, match="count: 0 is below 1"):
        medium.fail_writes(0)


@given(seed=st.integers(0, 99), page=st.sampled_from(["bank_a", "log_0001"]), over=st.integers(1, 5_000))
def test_a_worn_page_holds_wrong_bits_the_same_ones_each_time(seed: int, page: str, over: int) -> None:
    zeros, ones = bytes(64), b"\xff" * 64

    def held(data: bytes, writes: int) -> bytes:
        medium = Medium(endurance_writes=LIMIT, seed=seed)
        medium.wear(page, writes - 1)
        medium.write(page, data)
        return medium.read(page)

    assert (held(zeros, LIMIT), held(ones, LIMIT)) == (zeros, ones)
    stuck = [held(zeros, LIMIT + over), held(ones, LIMIT + over)]
    assert stuck == [held(zeros, LIMIT + over), held(ones, LIMIT + over)]
    wrong = int.from_bytes(stuck[0], "big").bit_count() + 512 - int.from_bytes(stuck[1], "big").bit_count()
    # Each bit that sticks is wrong in one of the two; two of them may be the same bit.
    assert 1 <= wrong <= over // WRITES_PER_STUCK_BIT + 1


def test_wear_is_counted_by_page() -> None:
    medium = Medium(endurance_writes=3)
    for _ in range(3):
        medium.write("a", bytes(8))
        medium.write("b", b"\xff" * 8)
    assert (medium.read("a"), medium.read("b")) == (bytes(8), b"\xff" * 8)
    before = medium.read("a"), medium.read("b")
    medium.write("a", bytes(8))
    medium.write("a", b"\xff" * 8)
    assert (medium.writes("a"), medium.writes("b")) == (5, 3)
    assert medium.read("b") == before[1]
    with pytest.raises(UsageError, match="writes: -1 is negative"):
        medium.wear("a", -1)


def test_without_an_endurance_nothing_wears() -> None:
    medium = Medium()
    medium.wear("a", 10**9)
    medium.write("a", bytes(8))
    medium.write("empty", b"")
    assert (medium.read("a"), medium.read("empty")) == (bytes(8), b"")


@given(
    writes=st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=6)), max_size=12),
    later=st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=6)), max_size=12),
    failing=st.integers(1, 6),
    torn=st.booleans(),
)
def test_a_medium_goes_on_from_its_snapshot(
    writes: list[tuple[str, bytes]], later: list[tuple[str, bytes]], failing: int, *, torn: bool
) -> None:
    medium = Medium(endurance_writes=2, seed=5)
    for page, data in writes:
        medium.write(page, data)
    medium.fail_writes(failing, "a", torn=torn)
    other = Medium.restore(json.loads(json.dumps(medium.snapshot())))
    for page, data in later:
        medium.write(page, data)
        other.write(page, data)
    assert other.snapshot() == medium.snapshot()


def test_a_copy_has_the_wear_and_nothing_armed() -> None:
    medium = Medium({"a": b"x"}, endurance_writes=7, seed=3)
    medium.wear("a", 5)
    medium.fail_writes(1)
    medium.arm_cut(0)
    copy = medium.copy()
    copy.write("a", b"y")
    assert (copy.read("a"), copy.writes("a"), copy.endurance_writes, copy.seed) == (b"y", 6, 7, 3)
    with pytest.raises(PowerCut):
        medium.write("a", b"y")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pages": {"a": 5}}, "medium.pages.a: not hexadecimal text"),
        ({"pages": {"a": "zz"}}, "medium.pages.a: not hexadecimal text"),
        ({"pages": []}, "pages and writes must be tables"),
        ({"writes": {"a": "many"}}, "medium.writes.a: 'many' is no whole number"),
        ({"failing": [{"left": 0, "prefix": "", "torn": False}]}, "medium.failing.left: 0 is below 1"),
        ({"seed": None}, "medium.seed: None is no whole number"),
    ],
)
def test_a_wrong_snapshot_names_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        Medium.restore(Medium().snapshot() | changes)
    assert message in str(wrong.value)

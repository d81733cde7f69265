"""Held against the ``cobs`` package, which knows nothing of ours; the published examples are Wikipedia's."""

from __future__ import annotations

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from telemetry.protocol.stuffing import stuff, unstuff

EXAMPLES = {
    "00": "0101",
    "0000": "010101",
    "00110000": "0102110101",
    "11220033": "0311220233",
    "11223344": "0511223344",
    "11000000": "0211010101",
}
RUN = bytes(range(1, 255))

few_zeros = st.lists(st.sampled_from([b"\0", b"\1", RUN, RUN[1:], RUN + b"\xff", b"\xff"]), max_size=6).map(b"".join)
anything = st.binary(max_size=1_100) | few_zeros


@pytest.mark.parametrize(("data", "stuffed"), EXAMPLES.items())
def test_the_published_examples(data: str, stuffed: str) -> None:
    assert stuff(bytes.fromhex(data)).hex() == stuffed
    assert unstuff(bytes.fromhex(stuffed)) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("data", "stuffed"),
    [
        (b"", b"\1"),
        (RUN, b"\xff" + RUN),
        (b"\0" + RUN, b"\1\xff" + RUN),
        (RUN + b"\xff", b"\xff" + RUN + b"\2\xff"),
        (RUN[1:] + b"\xff\0", b"\xff" + RUN[1:] + b"\xff\1\1"),
        (RUN[2:] + b"\xff\0\1", b"\xfe" + RUN[2:] + b"\xff\2\1"),
    ],
)
def test_the_edges_of_a_full_block(data: bytes, stuffed: bytes) -> None:
    assert stuff(data) == stuffed == cobs.encode(data)
    assert unstuff(stuffed) == data


@given(anything)
def test_stuffing_is_that_of_the_reference_and_holds_no_zero(data: bytes) -> None:
    stuffed = stuff(data)
    assert stuffed == cobs.encode(data)
    assert 0 not in stuffed
    assert unstuff(stuffed) == data
    assert len(stuffed) <= len(data) + max(1, -(-len(data) // 254))


def reference(segment: bytes) -> bytes | None:
    try:
        decoded: bytes = cobs.decode(segment)
    except cobs.DecodeError:
        return None
    return decoded


@given(anything)
def test_any_segment_is_judged_as_by_the_reference(segment: bytes) -> None:
    assert unstuff(segment) == reference(segment)


@given(anything, st.data())
def test_a_damaged_segment_is_judged_as_by_the_reference(data: bytes, draw: st.DataObject) -> None:
    stuffed = bytearray(stuff(data))
    stuffed[draw.draw(st.integers(0, len(stuffed) - 1))] = draw.draw(st.integers(0, 255))
    assert unstuff(bytes(stuffed)) == reference(bytes(stuffed))


@pytest.mark.parametrize("segment", [bytes((a, b, c)) for a in range(6) for b in range(6) for c in (0, 1, 2, 255)])
def test_every_short_segment_is_judged_as_by_the_reference(segment: bytes) -> None:
    for size in range(4):
        assert unstuff(segment[:size]) == reference(segment[:size])

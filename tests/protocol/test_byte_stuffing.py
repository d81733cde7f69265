"""The byte stuffing we run on, held against the package that the specification was written with."""

from __future__ import annotations

import corncobs
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=600))
def test_both_packages_stuff_alike(data: bytes) -> None:
    stuffed = corncobs.encode(data)
    assert stuffed == cobs.encode(data)
    assert b"\0" not in stuffed
    assert corncobs.decode(stuffed) == data


@given(st.one_of(st.binary(max_size=600), st.lists(st.integers(0, 6), max_size=12).map(bytes)))
def test_both_packages_refuse_alike(segment: bytes) -> None:
    try:
        expected = cobs.decode(segment)
    except cobs.DecodeError:
        expected = None
    try:
        found = corncobs.decode(segment)
    except corncobs.DecodeError:
        found = None
    assert found == expected

"""The governor against an oracle that adds up every millisecond, and its independence of how time is cut."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.pump import governor as module
from telemetry.sim.pump.governor import Governor, WindowLimits
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

WIDE = WindowLimits(10**9, 10**9, 10**9, 10**12)
UNIT = MS_PER_HOUR // 2
"""The oracle counts in half hours: windows of 2, 8 and 48 of them."""


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(half hours, rate per day) one after the other; the rate may be 0."""
    return draw(st.lists(st.tuples(st.integers(1, 20), st.sampled_from([0, 1, 24, 48, 240, 960])), max_size=14))


def feed(governor: Governor, history: list[tuple[int, int]], dose_per_nl: int = 2) -> int:
    now_ms = 0
    for length, rate in history:
        governor.record(now_ms, now_ms + length * UNIT, rate, rate * dose_per_nl)
        now_ms += length * UNIT
    return now_ms


def by_unit(history: list[tuple[int, int]]) -> list[int]:
    return [rate for length, rate in history for _ in range(length)]


@given(history=histories())
def test_windows_are_the_sums_of_what_was_commanded(history: list[tuple[int, int]]) -> None:
    governor = Governor(WIDE)
    now_ms = feed(governor, history)
    rates = by_unit(history)
    windows = governor.windows(now_ms)
    assert windows.volume_1h_nl == sum(rates[-2:]) * UNIT // MS_PER_DAY
    assert windows.volume_4h_nl == sum(rates[-8:]) * UNIT // MS_PER_DAY
    assert windows.volume_24h_nl == sum(rates[-48:]) * UNIT // MS_PER_DAY
    assert windows.dose_24h_ng == 2 * sum(rates[-48:]) * UNIT // MS_PER_DAY


def window_sum(sums: list[int], rates: list[int], at_ms: int) -> int:
    """The integral of the rates up to an instant, by counting whole half hours and the rest."""
    if at_ms <= 0:
        return 0
    whole, rest_ms = divmod(at_ms, UNIT)
    return sums[whole] + (rates[whole] * rest_ms if rest_ms else 0)


@given(
    history=histories(),
    rate=st.sampled_from([1, 24, 48, 240, 960, 2_400]),
    limits=st.tuples(st.integers(0, 60), st.integers(0, 200), st.integers(0, 900), st.integers(0, 1_800)),
)
def test_the_trip_is_the_last_millisecond_within_every_limit(
    history: list[tuple[int, int]], rate: int, limits: tuple[int, int, int, int]
) -> None:
    governor = Governor(WindowLimits(*limits))
    now_ms = feed(governor, history)
    rates = by_unit(history) + [rate] * 49
    sums = [0, *accumulate(each * UNIT for each in rates)]

    def over(at_ms: int) -> bool:
        until = window_sum(sums, rates, at_ms)
        checks = ((2, 1, limits[0]), (8, 1, limits[1]), (48, 1, limits[2]), (48, 2, limits[3]))
        return any(
            factor * (until - window_sum(sums, rates, at_ms - units * UNIT)) > limit * MS_PER_DAY
            for units, factor, limit in checks
        )

    trip_ms = governor.trips_at_ms(now_ms, rate, 2 * rate)
    # Window sums are linear between half hours, so a crossing shows at one of their ends.
    ends = [now_ms + index * UNIT for index in range(49)]
    if trip_ms is None:
        assert not any(over(at_ms) for at_ms in ends)
        return
    assert all(not over(at_ms) for at_ms in ends if at_ms <= trip_ms) or over(now_ms)
    if over(now_ms):
        assert trip_ms == now_ms
    else:
        assert not over(trip_ms)
        assert over(trip_ms + 1)


@given(history=histories(), cuts=st.lists(st.integers(1, 500 * UNIT), max_size=30), data=st.data())
def test_it_does_not_matter_how_time_is_cut(
    history: list[tuple[int, int]], cuts: list[int], data: st.DataObject
) -> None:
    whole, cut = Governor(WIDE), Governor(WIDE)
    end_ms = feed(whole, history)
    now_ms = 0
    for length, rate in history:
        start_ms, stop_ms = now_ms, now_ms + length * UNIT
        for at_ms in sorted(at for at in cuts if start_ms < at < stop_ms):
            cut.record(start_ms, at_ms, rate, 2 * rate)
            start_ms = at_ms
        cut.record(start_ms, stop_ms, rate, 2 * rate)
        now_ms = stop_ms
    assert cut.snapshot(end_ms) == whole.snapshot(end_ms)
    restored = Governor(WindowLimits(20, 60, 300, 500))
    restored.restore(whole.snapshot(end_ms), "governor")
    cut.limits = restored.limits
    rate = data.draw(st.sampled_from([1, 48, 960, 2_400]))
    assert restored.trips_at_ms(end_ms, rate, rate) == cut.trips_at_ms(end_ms, rate, rate)
    assert restored.windows(end_ms + 5 * UNIT) == whole.windows(end_ms + 5 * UNIT)


@pytest.mark.inv(37)
@given(
    orders=st.lists(
        st.tuples(st.integers(1, 30 * UNIT), st.sampled_from([0, 100_000, 960_000, 24_000_000])),
        min_size=1,
        max_size=25,
    ),
    reboots=st.sets(st.integers(0, 24)),
)
def test_inv_37_obeying_the_governor_no_window_ever_exceeds(orders: list[tuple[int, int]], reboots: set[int]) -> None:
    limits = WindowLimits(100_000, 300_000, 900_000, 1_700_000)
    governor, given_at = Governor(limits), [(0, 0)]
    now_ms = 0
    for number, (span_ms, rate) in enumerate(orders):
        trip_ms = governor.trips_at_ms(now_ms, rate, 2 * rate)
        end_ms = now_ms + span_ms
        stop_ms = end_ms if trip_ms is None else min(end_ms, trip_ms)
        governor.record(now_ms, stop_ms, rate, 2 * rate)
        total = given_at[-1][1]
        given_at += [(stop_ms, total + rate * (stop_ms - now_ms)), (end_ms, total + rate * (stop_ms - now_ms))]
        now_ms = end_ms
        if number in reboots:
            saved, governor = governor.snapshot(now_ms), Governor(limits)
            governor.restore(saved, "governor")

    def given_until(at_ms: int) -> int:
        before = [pair for pair in given_at if pair[0] <= at_ms]
        if not before:
            return 0
        after = next((pair for pair in given_at if pair[0] > at_ms), before[-1])
        (start, low), (end, high) = before[-1], after
        return low if end == start else low + (high - low) * (at_ms - start) // (end - start)

    for span_ms, most in ((2 * UNIT, 100_000), (8 * UNIT, 300_000), (48 * UNIT, 850_000)):
        for at_ms, _ in given_at:
            for end_ms in (at_ms, at_ms + span_ms):
                assert given_until(end_ms) - given_until(end_ms - span_ms) <= most * MS_PER_DAY


def test_delivery_at_exactly_the_limit_goes_on_for_ever() -> None:
    governor = Governor(WindowLimits(10**6, 10**6, 10**6, 2_000_000))
    governor.record(0, 30 * MS_PER_DAY, 1_000_000, 2_000_000)
    assert governor.trips_at_ms(30 * MS_PER_DAY, 1_000_000, 2_000_000) is None
    at_ms = governor.trips_at_ms(30 * MS_PER_DAY, 1_000_000, 2_000_001)
    assert at_ms == 30 * MS_PER_DAY  # no millisecond more of it
    assert governor.trips_at_ms(30 * MS_PER_DAY, 0, 0) is None


def test_a_lower_limit_trips_at_once() -> None:
    governor = Governor(WIDE)
    governor.record(0, MS_PER_DAY, 100_000, 200_000)
    governor.limits = WindowLimits(10**9, 10**9, 10**9, 199_999)
    assert governor.trips_at_ms(MS_PER_DAY, 50_000, 100_000) == MS_PER_DAY


def test_history_is_the_last_day_and_the_rest_is_forgotten() -> None:
    governor = Governor(WIDE)
    count = 3 * module._COMPACT_AT
    for hour in range(count):
        governor.record(hour * MS_PER_HOUR, (hour + 1) * MS_PER_HOUR, 1_000 + hour % 2, 5)
    now_ms = count * MS_PER_HOUR
    history = governor.history(now_ms)
    assert len(history) == 24
    assert history[0] == (now_ms - MS_PER_DAY, now_ms - 23 * MS_PER_HOUR, 1_000, 5)
    assert len(governor._from) < 2 * module._COMPACT_AT
    assert governor.windows(now_ms).volume_24h_nl == 12 * (1_000 + 1_001) // 24
    governor.forget()
    assert governor.history(now_ms) == ()


def test_time_never_runs_backwards() -> None:
    governor = Governor(WIDE)
    governor.record(0, 100, 5, 5)
    with pytest.raises(UsageError, match="lies before 100"):
        governor.record(99, 200, 5, 5)


@pytest.mark.parametrize("row", [[1, 2, 3], [1, 2, 3, "4"], [2, 1, 3, 4], [0, 1, -1, 0], [0, 1, 0, 0], "no"])
def test_a_damaged_snapshot_is_named(row: object) -> None:
    with pytest.raises(UsageError, match=r"governor\.history\[0\]"):
        Governor(WIDE).restore({"history": [row]}, "governor")

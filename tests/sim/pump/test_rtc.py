"""The pump's wall clock: drift, zone, setting, and the hold that keeps a time of day from coming twice."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.sim.pump.rtc import WallClock
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

MONDAY_UTC_S = 1_767_571_200  # 2026-01-05 00:00 UTC, a Monday
DRIFTS = st.integers(-2_000, 2_000)
ZONES = st.integers(-12 * 60, 14 * 60)


def test_local_time_counts_from_a_monday() -> None:
    clock = WallClock(MONDAY_UTC_S, 0)
    assert clock.local_ms(0) % (7 * MS_PER_DAY) == 0
    assert WallClock(MONDAY_UTC_S, 0, -60).local_ms(0) % (7 * MS_PER_DAY) == 7 * MS_PER_DAY - MS_PER_HOUR
    assert WallClock(0, 0).local_ms(0) == -4 * MS_PER_DAY  # 1970-01-01 was a Thursday


@given(
    now_ms=st.integers(0, 10**13), drift=DRIFTS, zone=ZONES, utc_s=st.integers(0, 2**33), set_ms=st.integers(0, 10**13)
)
def test_setting_shows_that_time_at_once_and_runs_on_from_there(
    now_ms: int, drift: int, zone: int, utc_s: int, set_ms: int
) -> None:
    clock = WallClock(MONDAY_UTC_S, drift)
    shift_ms = clock.shift_ms(utc_s, zone, set_ms)
    before_ms = clock.local_ms(set_ms)
    clock.set(utc_s, zone, set_ms)
    assert clock.utc_s(set_ms) == utc_s
    assert clock.local_ms(set_ms) == before_ms + shift_ms
    later_ms = set_ms + now_ms
    exact = Fraction(later_ms * (10**6 + drift), 10**6) - Fraction(set_ms * (10**6 + drift), 10**6)
    assert abs(clock.local_ms(later_ms) - clock.local_ms(set_ms) - exact) < 1


@given(local_ms=st.integers(0, 10**14), drift=DRIFTS, zone=ZONES, offset_s=st.integers(-(10**9), 10**9))
def test_the_inverse_is_the_first_millisecond_at_or_past_it(
    local_ms: int, drift: int, zone: int, offset_s: int
) -> None:
    clock = WallClock(MONDAY_UTC_S, drift, zone)
    clock.set_utc_s(MONDAY_UTC_S + offset_s, 12_345)
    at_ms = clock.pump_ms_at_local(local_ms)
    assert clock.local_ms(at_ms) >= local_ms
    assert clock.local_ms(at_ms - 1) < local_ms


def test_set_back_the_schedule_waits_where_it_was() -> None:
    clock = WallClock(MONDAY_UTC_S, 0)
    now_ms = 10 * MS_PER_HOUR
    reached_ms = clock.local_ms(now_ms)
    clock.set(clock.utc_s(now_ms), -3 * 60, now_ms)  # flown west
    assert clock.held_until_local_ms == reached_ms
    assert clock.holds(now_ms)
    assert clock.schedule_local_ms(now_ms + 2 * MS_PER_HOUR) == reached_ms
    assert clock.schedule_local_ms(now_ms + 3 * MS_PER_HOUR) == reached_ms
    assert clock.schedule_local_ms(now_ms + 3 * MS_PER_HOUR + 1) == reached_ms + 1
    assert not clock.holds(now_ms + 3 * MS_PER_HOUR + 1)
    clock.release()
    assert clock.schedule_local_ms(now_ms) == reached_ms - 3 * MS_PER_HOUR


@given(
    sets=st.lists(
        st.tuples(st.integers(0, 2 * MS_PER_DAY), st.integers(-200_000, 200_000), ZONES), min_size=1, max_size=8
    ),
    drift=DRIFTS,
)
def test_a_schedule_never_goes_back_however_the_clock_is_set(sets: list[tuple[int, int, int]], drift: int) -> None:
    clock = WallClock(MONDAY_UTC_S, drift)
    now_ms, reached_ms = 0, clock.schedule_local_ms(0)
    for wait_ms, jump_s, zone in sets:
        now_ms += wait_ms
        clock.set(clock.utc_s(now_ms) + jump_s, zone, now_ms)
        for at_ms in (now_ms, now_ms + wait_ms, now_ms + wait_ms + 1):
            assert clock.schedule_local_ms(at_ms) >= reached_ms
            assert clock.schedule_local_ms(at_ms) >= clock.local_ms(at_ms)
            reached_ms = clock.schedule_local_ms(at_ms)
        now_ms += wait_ms + 1


def test_a_new_drift_begins_without_a_jump() -> None:
    clock = WallClock(MONDAY_UTC_S, 0)
    now_ms = 400 * MS_PER_DAY
    before_ms = clock.local_ms(now_ms)
    clock.set_drift_ppm(-100_000, now_ms)
    assert clock.local_ms(now_ms) == before_ms
    assert clock.local_ms(now_ms + 10 * MS_PER_HOUR) == before_ms + 9 * MS_PER_HOUR


def test_snapshot_goes_round_and_is_strict() -> None:
    clock = WallClock(MONDAY_UTC_S, 17, 60)
    clock.set(MONDAY_UTC_S - 5, 120, 7_777)
    clock.set(MONDAY_UTC_S - 50_000, -60, 8_888)
    other = WallClock(0, 0)
    other.restore(clock.snapshot(), "clock")
    assert other.snapshot() == clock.snapshot()
    assert other.schedule_local_ms(9_999) == clock.schedule_local_ms(9_999)
    with pytest.raises(UsageError, match=r"clock\.zone_minutes"):
        other.restore(clock.snapshot() | {"zone_minutes": "east"}, "clock")

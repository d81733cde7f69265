"""One clock, two readings: what moves therapy time, what moves link time, and who is told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import clock as clock_module
from telemetry.clock import ManualClock, ScaledClock, SystemClock, span_ms
from telemetry.errors import UsageError

DAY_MS = 86_400_000


class HostTime:
    """A host clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000

    def monotonic_ns(self) -> int:
        return self.ns

    def time_ns(self) -> int:
        return 1_700_000_000_999_999_999


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostTime:
    fake = HostTime()
    monkeypatch.setattr(clock_module, "time", fake)
    return fake


def test_a_span_is_whole_and_forward() -> None:
    assert span_ms(days=1, hours=2, minutes=3, seconds=4, ms=5) == 93_784_005
    with pytest.raises(UsageError, match=r"days: 1\.5 is no whole number"):
        span_ms(days=1.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ms: -1 is negative"):
        span_ms(ms=-1)


def test_speed_scales_therapy_time_only(host: HostTime) -> None:
    clock = ScaledClock(speed=1000, start_ms=7)
    host.ns += 2_000_000_000
    assert clock.therapy_ms() == 7 + 2_000_000
    assert clock.link_ms() == 2_000


def test_a_fraction_and_zero_are_speeds(host: HostTime) -> None:
    half, frozen = ScaledClock(speed="1/2"), ScaledClock(speed=0)
    host.ns += 3_000_000_000
    assert half.therapy_ms() == 1_500
    assert frozen.therapy_ms() == 0
    assert frozen.host_delay_s(1) is None
    assert frozen.host_delay_s(0) == 0.0
    assert half.host_delay_s(2_000) == 1.0


@pytest.mark.parametrize("speed", ["fast", "1/0", "-1", "1/x", 100_000_001, "0x10", "1/-2"])
def test_a_wrong_speed_is_refused(speed: str | int) -> None:
    with pytest.raises(UsageError, match="speed: "):
        ScaledClock(speed=speed)


def test_a_jump_moves_therapy_time_and_tells(host: HostTime) -> None:
    clock, told = ScaledClock(), []
    forget = clock.on_jump(lambda: told.append(clock.therapy_ms()))
    clock.jump(190 * DAY_MS)
    forget()
    clock.jump(DAY_MS)
    assert told == [190 * DAY_MS]
    assert clock.link_ms() == 0
    with pytest.raises(UsageError, match="negative"):
        clock.jump(-1)
    assert host.ns == 5_000_000_000


def test_host_calendar_is_whole_seconds(host: HostTime) -> None:
    assert clock_module.host_utc_s() == 1_700_000_000
    assert host.ns > 0


@pytest.mark.inv(39)
@given(st.lists(st.integers(0, 10**6), max_size=20), st.integers(1, 1000))
def test_inv_39_cutting_time_up_changes_no_reading(steps: list[int], speed: int) -> None:
    host = HostTime()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock_module, "time", host)
        whole, cut = ScaledClock(speed=speed), ScaledClock(speed=speed)
        for step in steps:
            host.ns += step * 1_000
            cut.therapy_ms()
        assert whole.therapy_ms() == cut.therapy_ms() == sum(steps) * 1_000 * speed // 1_000_000


def test_a_manual_clock_moves_both_readings_together() -> None:
    clock, told = ManualClock(5), []
    clock.on_jump(lambda: told.append(clock.therapy_ms()))
    clock.advance(hours=1, ms=1)
    assert clock.therapy_ms() == clock.link_ms() == 3_600_006
    assert told == [3_600_006]
    with pytest.raises(UsageError, match="lies before"):
        clock.advance_to(3)


def test_timers_fire_in_order_at_their_instants() -> None:
    clock, seen = ManualClock(), []
    for at_ms in (30, 10, 20, 10):
        clock.call_at(at_ms, lambda at_ms=at_ms: seen.append((at_ms, clock.link_ms())))  # type: ignore[misc]
    cancel = clock.call_at(15, lambda: seen.append((15, 0)))
    cancel()
    cancel()
    clock.advance(ms=25)
    assert seen == [(10, 10), (10, 10), (20, 20)]
    clock.advance(ms=5)
    assert seen[-1] == (30, 30)


async def test_a_wait_goes_to_its_deadline_once_nothing_is_in_flight() -> None:
    clock, in_flight = ManualClock(), [True]
    forget = clock.add_activity(lambda: in_flight[0])
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(clock.wait(future, 300))
    for _ in range(10):
        await asyncio.sleep(0)
    assert clock.link_ms() == 0, "moved although a frame was in flight"
    in_flight[0] = False
    assert await waiting is False
    assert clock.link_ms() == 300
    forget()


async def test_a_wait_stops_at_timers_on_the_way() -> None:
    clock = ManualClock()
    forget = clock.add_activity(lambda: False)
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clock.call_at(40, lambda: future.set_result(None))
    assert await clock.wait(future, 300) is True
    assert clock.link_ms() == 40
    assert await clock.wait(future, 0) is True
    forget()


async def test_a_manual_clock_refuses_to_race_real_links() -> None:
    clock = ManualClock()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(UsageError, match="must not race real I/O"):
        await clock.wait(future, 300)
    future.cancel()


async def test_a_plain_sleep_waits_for_somebody_to_move_the_clock() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep_until(1_000))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(seconds=1)
    await sleeper
    await clock.sleep_until(1_000)
    cancelled = asyncio.ensure_future(clock.sleep_until(5_000))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    clock.advance(seconds=10)


@pytest.mark.real
async def test_host_waits_end_by_result_or_by_deadline() -> None:
    clock = SystemClock()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    assert await clock.wait(done, clock.link_ms() + 60_000) is True
    assert await clock.wait(done, 0) is True
    late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(late.set_result, None)
    assert await clock.wait(late, clock.link_ms()) is True, "a result and the deadline in one turn of the loop"
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    before_ms = clock.link_ms()
    assert await clock.wait(never, before_ms + 20) is False
    assert clock.link_ms() >= before_ms + 19
    assert not never.done()
    never.cancel()
    await clock.sleep_until(clock.link_ms() + 5)
    await clock_module.pause_host_ms(1)
    called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clock.call_at(clock.link_ms() + 1, lambda: called.set_result(None))
    cancel = clock.call_at(clock.link_ms() + 60_000, lambda: None)
    cancel()
    await called

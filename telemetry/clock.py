"""The one place that reads the host's time; everything else is handed a ``Clock``.

A clock has two readings (architecture.md, idea 3). *Therapy time* is the pump's: delivery, battery, alarms;
it is what is scaled and jumped. *Link time* is the conversation's: reply deadlines, challenges, idle and
proposal timers; it runs at the host's pace whatever the speed, and equals therapy time under a
``ManualClock``.

Both are whole milliseconds and never run backwards.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from telemetry.errors import UsageError
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:
    from asyncio import Future

_NS_PER_MS = 1_000_000
_LARGEST_SPEED = 100_000_000

JumpListener = Callable[[], None]


def span_ms(*, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0, ms: int = 0) -> int:
    """Whole milliseconds of a span given in parts; raises ``UsageError`` for a fraction or a negative part."""
    parts = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds, "ms": ms}
    for name, value in parts.items():
        if type(value) is not int:
            raise UsageError(f"{name}: {value!r} is no whole number; split it (1.5 days is days=1, hours=12)")
        if value < 0:
            raise UsageError(f"{name}: {value} is negative, and time never runs backwards")
    return days * MS_PER_DAY + hours * MS_PER_HOUR + minutes * MS_PER_MINUTE + seconds * MS_PER_SECOND + ms


async def pause_host_ms(ms: int) -> None:
    """Wait in host time, whatever clock a device runs on: for what is outside every simulation (a file lock)."""
    import asyncio  # noqa: PLC0415 - importing telemetry must not load asyncio

    await asyncio.sleep(ms / MS_PER_SECOND)


def host_utc_s() -> int:
    """The host's calendar, in whole seconds since 1970-01-01 UTC."""
    return time.time_ns() // (_NS_PER_MS * MS_PER_SECOND)


def host_utc_ms() -> int:
    """The host's calendar, in whole milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // _NS_PER_MS


class Clock(Protocol):
    """Two readings and two ways to wait. All times are milliseconds."""

    companions: dict[str, object]

    def therapy_ms(self) -> int:
        """The pump's time."""
        ...

    def link_ms(self) -> int:
        """The conversation's time."""
        ...

    async def wait(self, future: Future[None], deadline_link_ms: int) -> bool:
        """Wait until ``future`` is done or link time reaches the deadline; True when it is done.

        Neither cancels the future nor raises on time-out: a sentinel cannot be misread, a flag can be tested.
        """
        ...

    async def sleep_until(self, deadline_link_ms: int) -> None:
        """Wait until link time reaches the deadline."""
        ...

    def call_at(self, link_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when link time reaches ``link_ms``; returns what cancels it."""
        ...

    def on_jump(self, listener: JumpListener) -> Callable[[], None]:
        """Call ``listener`` after every jump of therapy time; returns what takes it off again."""
        ...


class _Jumps:
    """Who wants to hear of a jump of therapy time, and who lives by this clock.

    ``companions`` are kept, by name, for as long as the clock: the worlds that ``sim:`` URLs describe.
    """

    def __init__(self) -> None:
        self._listeners: list[JumpListener] = []
        self.companions: dict[str, object] = {}

    def on_jump(self, listener: JumpListener) -> Callable[[], None]:
        """Call ``listener`` after every jump of therapy time; returns what takes it off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()


class ScaledClock(_Jumps):
    """The host's clock with therapy time scaled and jumpable: what a served simulator runs on.

    ``speed`` is whole or a fraction given as ``numerator/denominator`` text; link time stays at the host's pace.
    Raises ``UsageError`` for a speed that is not in 0 (frozen) … 100 000 000.
    """

    def __init__(self, *, speed: str | int = 1, start_ms: int = 0) -> None:
        super().__init__()
        self._numerator, self._denominator = _parse_speed(speed)
        self._therapy_base_ms = start_ms
        self._host_base_ns = time.monotonic_ns()
        self._link_zero_ns = self._host_base_ns

    def therapy_ms(self) -> int:
        """The pump's time, ms."""
        elapsed_ns = time.monotonic_ns() - self._host_base_ns
        return self._therapy_base_ms + elapsed_ns * self._numerator // (self._denominator * _NS_PER_MS)

    def link_ms(self) -> int:
        """The conversation's time, ms."""
        return (time.monotonic_ns() - self._link_zero_ns) // _NS_PER_MS

    def jump(self, ms: int) -> None:
        """Move therapy time forward at once and tell the listeners; raises ``UsageError`` when negative."""
        span_ms(ms=ms)
        self._therapy_base_ms += ms
        self._tell()

    def host_delay_s(self, therapy_ms: int) -> float | None:
        """Seconds of host time until therapy time reaches ``therapy_ms``; None when it never does (speed 0)."""
        left_ms = max(0, therapy_ms - self.therapy_ms())
        if left_ms == 0:
            return 0.0
        return None if self._numerator == 0 else left_ms * self._denominator / (self._numerator * MS_PER_SECOND)

    async def wait(self, future: Future[None], deadline_link_ms: int) -> bool:
        """Wait until ``future`` is done or link time reaches the deadline; True when it is done."""
        import asyncio  # noqa: PLC0415 - importing telemetry must not load asyncio

        if future.done():
            return True
        # What asyncio.wait does for one future, without the sets it makes for many: this is in every round trip.
        loop = asyncio.get_running_loop()
        woken: Future[None] = loop.create_future()

        def wake(_done: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = loop.call_later(max(0, deadline_link_ms - self.link_ms()) / MS_PER_SECOND, wake)
        future.add_done_callback(wake)
        try:
            await woken
        finally:
            timer.cancel()
            future.remove_done_callback(wake)
        return future.done()

    async def sleep_until(self, deadline_link_ms: int) -> None:
        """Wait until link time reaches the deadline."""
        import asyncio  # noqa: PLC0415 - as above

        while (left_ms := deadline_link_ms - self.link_ms()) > 0:  # noqa: ASYNC110 - host timers may fire early
            await asyncio.sleep(left_ms / MS_PER_SECOND)

    def call_at(self, link_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when link time reaches ``link_ms``; returns what cancels it."""
        import asyncio  # noqa: PLC0415 - as above

        delay_s = max(0, link_ms - self.link_ms()) / MS_PER_SECOND
        return asyncio.get_running_loop().call_later(delay_s, callback).cancel


class SystemClock(ScaledClock):
    """The host's clock, unscaled: what a driver of real hardware runs on."""

    def __init__(self) -> None:
        super().__init__(speed=1)


def _parse_speed(speed: str | int) -> tuple[int, int]:
    numerator_text, _, denominator_text = str(speed).partition("/")
    try:
        numerator, denominator = int(numerator_text), int(denominator_text or "1")
    except ValueError:
        raise UsageError(f"speed: {speed!r} is no whole number or fraction such as 1000 or 1/2") from None
    if denominator <= 0 or not 0 <= numerator <= _LARGEST_SPEED * denominator:
        raise UsageError(f"speed: {speed} is outside 0 (frozen) to {_LARGEST_SPEED}")
    return numerator, denominator


class ManualClock(_Jumps):
    """Time that moves only when told to, or when everybody who could act is waiting for it.

    ``advance`` is a jump: it moves both readings and tells the listeners. Besides, a wait for an *answer*
    moves the clock to its deadline by itself once nothing is in flight on any link that reported itself
    (``add_activity``): a lost frame times out at once, and no real I/O is ever raced. A plain ``sleep_until``
    never moves it.
    """

    def __init__(self, start_ms: int = 0) -> None:
        super().__init__()
        self._now_ms = span_ms(ms=start_ms)
        self._activities: list[Callable[[], bool]] = []
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_count = 0

    def therapy_ms(self) -> int:
        """The pump's time, ms."""
        return self._now_ms

    def link_ms(self) -> int:
        """The conversation's time, ms."""
        return self._now_ms

    def advance(self, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0, ms: int = 0) -> None:
        """Jump forward and tell the listeners; raises ``UsageError`` for a negative or fractional part."""
        self.advance_to(self._now_ms + span_ms(days=days, hours=hours, minutes=minutes, seconds=seconds, ms=ms))

    def advance_to(self, now_ms: int) -> None:
        """Jump forward to an instant and tell the listeners; raises ``UsageError`` when it lies in the past."""
        if now_ms < self._now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before {self._now_ms}, and time never runs backwards")
        self._move(now_ms)
        self._tell()

    def add_activity(self, in_flight: Callable[[], bool]) -> Callable[[], None]:
        """Register a link that says whether it still carries something; returns what takes it off again."""
        self._activities.append(in_flight)
        return lambda: self._activities.remove(in_flight)

    def call_at(self, link_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when link time reaches ``link_ms``; returns what cancels it."""
        self._timer_count += 1  # keeps timers of one instant in order and the heap off comparing callables
        timer = (link_ms, self._timer_count, callback)
        heapq.heappush(self._timers, timer)

        def cancel() -> None:
            if timer in self._timers:
                self._timers.remove(timer)
                heapq.heapify(self._timers)

        return cancel

    async def wait(self, future: Future[None], deadline_link_ms: int) -> bool:
        """Wait until ``future`` is done or link time reaches the deadline; True when it is done."""
        import asyncio  # noqa: PLC0415 - importing telemetry must not load asyncio

        while not future.done():
            if not self._activities:
                raise UsageError(
                    "a ManualClock can time in-process links only: time it controls must not race real I/O; "
                    "use SystemClock with serial, TCP or Bluetooth"
                )
            if any(in_flight() for in_flight in self._activities):
                await asyncio.sleep(0)
                continue
            if self._now_ms >= deadline_link_ms:
                break
            self._move(min(deadline_link_ms, self._timers[0][0] if self._timers else deadline_link_ms))
            await asyncio.sleep(0)
        return future.done()

    async def sleep_until(self, deadline_link_ms: int) -> None:
        """Wait until link time reaches the deadline."""
        import asyncio  # noqa: PLC0415 - as above

        if self._now_ms >= deadline_link_ms:
            return
        woken: Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        cancel = self.call_at(deadline_link_ms, wake)
        try:
            await woken
        finally:
            cancel()

    def _move(self, now_ms: int) -> None:
        while self._timers and self._timers[0][0] <= now_ms:
            at_ms, _, callback = heapq.heappop(self._timers)
            self._now_ms = max(self._now_ms, at_ms)
            callback()
        self._now_ms = max(self._now_ms, now_ms)

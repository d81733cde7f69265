"""Where liquid and time of a measurement come from: the host's clock alone, a pump in this process, or a served one.

A stream is looked at (pump time, and what truly left the tip by then) and waited on. Only what is SIMULATED has a
truth.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from telemetry.clock import ManualClock
from telemetry.errors import LinkTimeout, PeerError, UsageError
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.clock import Clock
    from telemetry.sim.virtual_pump import VirtualPump

_LOOK_AGAIN_MS = 200
_STANDS_STILL_MS = 600 * MS_PER_SECOND
"""Host time after which a pump whose time does not move is given up."""


@dataclass(frozen=True, slots=True)
class Look:
    """Pump time, and the sum past the tip at that instant; ``truth_nl`` is None where nobody can know."""

    at_ms: int
    truth_nl: int | None


class Stream(Protocol):
    """Time, and where there is one the truth."""

    async def look(self) -> Look:
        """Now."""
        ...

    async def until(self, at_ms: int) -> None:
        """Return at this instant or later."""
        ...

    async def pause(self, ms: int) -> None:
        """Let a little time pass before a question is repeated."""
        ...


class Door(Protocol):
    """One request to the back door of a served simulator (``telemetry/sim/control.py``)."""

    def __call__(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Its answer; raises ``LinkError`` or ``Refused``."""
        ...


class HostStream:
    """Nothing but the host's clock: a pump that is not ours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def look(self) -> Look:
        """The time since the clock was made."""
        return Look(self._clock.link_ms(), None)

    async def until(self, at_ms: int) -> None:
        """Sleep."""
        await self._clock.sleep_until(at_ms)

    async def pause(self, ms: int) -> None:
        """Sleep."""
        await self._clock.sleep_until(self._clock.link_ms() + ms)


class PumpStream:
    """A pump in this process. On a ``ManualClock`` waiting moves it; else its clock moves by itself."""

    def __init__(self, pump: VirtualPump) -> None:
        self.pump = pump

    async def look(self) -> Look:
        """Exact."""
        truth = self.pump.truth
        return Look(truth.now_ms, truth.delivered_nl)

    async def until(self, at_ms: int) -> None:
        """Let the pump live up to there."""
        clock = self.pump.clock
        if isinstance(clock, ManualClock):
            clock.advance_to(max(at_ms, clock.therapy_ms()))
            self.pump.take_events()
            return
        while (left_ms := at_ms - clock.therapy_ms()) > 0:
            await clock.sleep_until(clock.link_ms() + min(left_ms, _LOOK_AGAIN_MS))

    async def pause(self, ms: int) -> None:
        """As ``until``, in link time."""
        clock = self.pump.clock
        if isinstance(clock, ManualClock):
            await self.until(clock.therapy_ms() + ms)
        else:
            await clock.sleep_until(clock.link_ms() + ms)


class DoorStream:
    """A pump that is served, seen through its back door. ``drive``: time is not waited for but made to pass."""

    def __init__(self, door: Door, clock: Clock, *, drive: bool = False) -> None:
        self._door = door
        self._clock = clock
        self._drive = drive
        self.model = ""
        self.serial = ""
        self.speed = ""
        self.believed_nl_per_day: int | None = None

    async def look(self) -> Look:
        """One request; raises ``LinkError``, ``PeerError`` for an answer that is none."""
        found = await asyncio.to_thread(self._door, "GET", "/v1/inspect", None)
        try:
            self.model, self.serial = str(found["model"]), str(found["serial"])
            self.speed = str(found["speed"])
            truth, belief = found["truth"], found["belief"]
            self.believed_nl_per_day = int(belief["rate_nl_per_day"])
            return Look(int(truth["now_ms"]), int(truth["delivered_nl"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(
                f"the simulator's back door answered something else than a pump's truth ({error!r})"
            ) from None

    async def until(self, at_ms: int) -> None:
        """Wait at the simulator's speed, or let its time jump.

        Raises ``LinkTimeout`` when its time has stood still for ten minutes of ours.
        """
        moved_ms, last_ms = self._clock.link_ms(), -1
        while (left_ms := at_ms - (now_ms := (await self.look()).at_ms)) > 0:
            if self._drive:
                await asyncio.to_thread(self._door, "POST", "/v1/advance", {"ms": left_ms})
                continue
            host_ms = self._clock.link_ms()
            if now_ms != last_ms:
                moved_ms, last_ms = host_ms, now_ms
            elif host_ms - moved_ms > _STANDS_STILL_MS:
                raise LinkTimeout(
                    f"the simulator's time stands still at {now_ms} ms (speed {self.speed}); start it with --speed, "
                    "move it with 'telemetry control advance', or let this command do so with --drive"
                )
            await self._clock.sleep_until(host_ms + self._wait_ms(left_ms))

    def _wait_ms(self, left_ms: int) -> int:
        try:
            speed = Fraction(self.speed)
        except (ValueError, ZeroDivisionError):
            raise PeerError(f"the simulator says that its speed is {self.speed!r}") from None
        if speed <= 0:
            return _LOOK_AGAIN_MS
        return max(1, min(_LOOK_AGAIN_MS, int(left_ms / speed)))

    async def pause(self, ms: int) -> None:
        """Let host time pass; a driven pump's own time with it, or nothing would ever come to rest."""
        if self._drive:
            await asyncio.to_thread(self._door, "POST", "/v1/advance", {"ms": ms})
        else:
            await self._clock.sleep_until(self._clock.link_ms() + ms)


async def need_truth(stream: Stream) -> Look:
    """A look that has a truth; ``UsageError`` where there is none."""
    found = await stream.look()
    if found.truth_nl is None:
        raise UsageError("a virtual balance weighs what a virtual pump gives; there is none behind this clock")
    return found

"""A hundred connects and closes over every link: nothing may be left, and memory must not grow with them.

Counted by the operating system: descriptors from /proc, threads, tasks of the loop; children for good measure.
The first cycles are left out, for they load what is loaded once.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import telemetry
from benchmarks import harness, ours
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.transport.registry import listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.programmer.opening import Connecting

CYCLES = 100
_WARM_UP = 5
_LISTENERS = {"TCP": "tcp://127.0.0.1:0", "pty": "pty:"}


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds."""

    tasks: int
    threads: int
    descriptors: int
    children: int
    rss_kib: int

    @classmethod
    async def now(cls) -> Held:
        """Count, once everything that ends by itself has ended."""
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()
        return cls(
            len(asyncio.all_tasks()), threading.active_count(), _descriptors(), _children(), harness.resident_kib()
        )


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> int:
    return sum(len(task.read_text().split()) for task in Path("/proc/self/task").glob("*/children"))


async def cycle(connecting: Callable[[], Connecting], times: int) -> tuple[Held, Held]:
    """Connect, read, close, ``times`` times; what was held before and after."""
    for _ in range(_WARM_UP):
        await _once(connecting())
    before = await Held.now()
    for _ in range(times):
        await _once(connecting())
    return before, await Held.now()


async def _once(connecting: Connecting) -> None:
    async with connecting as programmer:
        await programmer.read_status()


async def measure(times: int) -> dict[str, tuple[Held, Held]]:
    """Every link in turn, each with a station of its own."""
    found = {}
    station, _ = ours.make_station()
    link = ours.StationLink(station)
    found["memory"] = await cycle(lambda: telemetry.connect(pump=link, journal=MemoryJournalStore()), times)
    await station.close()
    for name, url in _LISTENERS.items():
        station, clock = ours.make_station()
        listener = await listen(url, station.accept, clock=clock)
        place = ours.serial_url(listener.url)
        found[name] = await cycle(lambda place=place: telemetry.connect(place, journal=MemoryJournalStore()), times)  # type: ignore[misc]
        await listener.close()
        await station.close()
    return found


def run(plan: harness.Plan) -> harness.Result:
    """Count; memory in KiB."""
    result = harness.Result("leaks")
    times = plan.count(CYCLES, 3)
    for name, (before, after) in harness.run_async(measure(times)).items():
        grown = {
            what: getattr(after, what) - getattr(before, what)
            for what in ("tasks", "threads", "descriptors", "children")
        }
        result.figures[name] = {"cycles": times, **grown, "rss_grown_kib": after.rss_kib - before.rss_kib}
        for what, more in grown.items():
            result.fact(f"{what} left after {times} cycles over {name}", more)
    result.notes = ["memory that the allocator keeps is not a leak; growth per cycle would be"]
    return result

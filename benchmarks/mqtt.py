"""``read_status`` there and back through a broker, beside plain TCP, and how long a link takes to open.

Driver and pump share one process and one event loop, each with a connection to the broker of its own. mosquitto is a
process of its own on the loopback, once as Debian configures it and once with ``set_tcp_nodelay true``; the embedded
broker lives in the same loop as both ends. A round trip is two messages each way through the broker, QoS 1.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import telemetry
from benchmarks import harness, ours
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.transport.mqtt_embedded import EmbeddedBroker
from telemetry.transport.registry import listen
from tests.support.brokers import Mosquitto, program

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_TRIPS = 400
OPENINGS = 20
_WARM_UP = 20


class OverBroker(ours.Ours):
    """Both ends in this process, a broker between them."""

    def __init__(self, enter: Callable[[AsyncExitStack], object]) -> None:
        super().__init__()
        self._enter = enter
        self.url = ""

    async def open(self) -> None:
        """Start the broker, offer two pumps, open a session with one."""
        broker = await self._enter(self._held)  # type: ignore[misc]
        url = await self._offer(f"{broker.url}/bench/telemeter-0001")
        # A visit to the same pump would take its session away from the one that is open and reused.
        self.url = await self._offer(f"{broker.url}/bench/telemeter-0002")
        await self._use(telemetry.connect(url, journal=MemoryJournalStore()))

    async def _offer(self, url: str) -> str:
        station, clock = ours.make_station()
        self._held.push_async_callback(station.close)
        listener = await listen(url, station.accept, clock=clock)
        self._held.push_async_callback(listener.close)
        return listener.url

    async def visit(self) -> None:
        """Open a link and a session, read the status, leave."""
        async with telemetry.connect(self.url, journal=MemoryJournalStore()) as programmer:
            await programmer.read_status()


def contestants(folder: Path) -> dict[str, ours.Ours]:
    """Everybody who takes part."""

    def mosquitto(name: str, *, nodelay: bool) -> Callable[[AsyncExitStack], object]:
        place = folder / name
        place.mkdir()
        return lambda held: held.enter_async_context(Mosquitto(place, nodelay=nodelay))

    return {
        "TCP": ours.OverTcp(),
        "mosquitto": OverBroker(mosquitto("stock", nodelay=False)),
        "mosquitto, set_tcp_nodelay": OverBroker(mosquitto("nodelay", nodelay=True)),
        "embedded broker": OverBroker(lambda held: held.enter_async_context(EmbeddedBroker())),
    }


async def measure(plan: harness.Plan, folder: Path) -> tuple[dict[str, harness.Timing], dict[str, harness.Timing]]:
    """Take turns: round trips of each, then whole visits through each broker."""
    them = contestants(folder)
    trips: dict[str, list[tuple[int, ...]]] = {name: [] for name in them}
    visits: dict[str, list[tuple[int, ...]]] = {name: [] for name in them if name != "TCP"}
    async with AsyncExitStack() as held:
        for contestant in them.values():
            held.push_async_callback(contestant.close)
            await contestant.open()  # type: ignore[attr-defined]
        for turn in range(plan.rounds):
            for name in harness.in_turns(list(them), turn):
                contestant = them[name]
                await _timed(contestant.once, plan.count(_WARM_UP, 2))
                trips[name].append(await _timed(contestant.once, plan.count(ROUND_TRIPS, 5)))
                if isinstance(contestant, OverBroker):
                    visits[name].append(await _timed(contestant.visit, plan.count(OPENINGS, 2)))
    return (
        {name: harness.Timing(tuple(rounds)) for name, rounds in trips.items()},
        {name: harness.Timing(tuple(rounds)) for name, rounds in visits.items()},
    )


async def _timed(once: Callable[[], object], count: int) -> tuple[int, ...]:
    taken = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        await once()  # type: ignore[misc]
        taken.append(time.perf_counter_ns() - begun)
    return tuple(taken)


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in microseconds."""
    result = harness.Result("mqtt")
    with tempfile.TemporaryDirectory(prefix="mqtt-") as folder:
        trips, visits = harness.run_async(measure(plan, Path(folder)))
    result.figures = {
        **{f"read_status over {name}": timing.as_figures() for name, timing in trips.items()},
        **{f"visit over {name}": timing.as_figures() for name, timing in visits.items()},
        "ratio mosquitto, set_tcp_nodelay / TCP": harness.ratio(trips["mosquitto, set_tcp_nodelay"], trips["TCP"]),
        "mosquitto": _version(),
    }
    result.notes = [
        "link and session open and reused in a round trip; a visit opens both, reads the status and leaves",
        "driver and pump in one process; mosquitto in one of its own, the embedded broker in the same as both ends",
    ]
    return result


def _version() -> str:
    said = subprocess.run(  # a path of ours, found on the system's
        [program("mosquitto", "mosquitto"), "-h"], capture_output=True, text=True, check=False
    )
    return said.stdout.partition("\n")[0]

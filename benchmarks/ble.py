"""Bluetooth LE over the in-process radio: a whole visit, requests against bare bumble, and abrupt ends.

The telemeter is a bumble peripheral, the programmer's bleak stands on our backend over bumble; both ends, and the bare
contestant's, share one process and one processor. Advertisements come every 20 ms, the MTU is 517 bytes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bumble import gatt
from bumble.core import UUID
from bumble.device import Connection, Peer

import telemetry
from benchmarks import harness, ours
from benchmarks.leaks import Held
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.transport.ble_gatt import COMMAND_UUID, REPLY_UUID, SERVICE_UUID
from telemetry.transport.ble_scan import use_backend
from telemetry.transport.bleak_bumble import BumbleAdapter
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.registry import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from telemetry.sim.station import Station

NAME = "SIM-0001"
URL = f"ble://?name={NAME}"
LISTENER = f"ble+radio:?name={NAME}&interval_ms=20"
VISITS = 20
REQUESTS = 300
CYCLES = 200
VISIT_TARGET_MS = 100
RATE_TARGET_PERCENT = 60
REQUEST_BYTES = 64
"""What a sealed request and its answer take, roughly: the bare contestant's payload."""
_WARM_UP = 5


@asynccontextmanager
async def ward() -> AsyncIterator[tuple[BumbleRadio, Station]]:
    """A radio with a telemeter over a pump in it, and a central that ``ble://`` uses."""
    async with AsyncExitStack() as stack:
        station, clock = ours.make_station()
        stack.push_async_callback(station.close)
        radio = await stack.enter_async_context(BumbleRadio())
        listener = await listen(LISTENER, station.accept, clock=_joined(radio, clock))
        stack.push_async_callback(listener.close)
        adapter = await stack.enter_async_context(BumbleAdapter.in_radio(radio))
        stack.enter_context(use_backend(client=adapter.client, scanner=adapter.scanner))
        yield radio, station


def _joined(radio: BumbleRadio, clock: Any) -> Any:  # noqa: ANN401 - one clock in, the same out
    radio.join(clock)
    return clock


def _connecting() -> telemetry.programmer.opening.Connecting:
    return telemetry.connect(URL, journal=MemoryJournalStore())


async def visits(count: int) -> harness.Timing:
    """Scan, connect, interrogate, change the rate, leave: a sample each, the way to the last answer."""
    samples = []
    async with ward():
        for number in range(count + _WARM_UP):
            begun = time.perf_counter_ns()
            async with _connecting() as programmer:
                await programmer.read_status()
                # Within a tenth of the rate before: no soft limit is crossed.
                await programmer.set_rate(telemetry.FlowRate.parse(f"0.1{70 + number % 5} ml/day"))
                samples.append(time.perf_counter_ns() - begun)
    return harness.Timing((tuple(samples[_WARM_UP:]),))


class BareBumble:
    """Bumble without bleak and without us: a value written without response, and the same value notified."""

    def __init__(self) -> None:
        self._held = AsyncExitStack()
        self._answered: asyncio.Queue[bytes] = asyncio.Queue()

    async def open(self) -> None:
        """Connect two bumble devices in a radio of their own."""
        radio = await self._held.enter_async_context(BumbleRadio())
        server, client = radio.device("server"), radio.device("client")
        properties, permissions = gatt.Characteristic.Properties, gatt.Characteristic.Permissions
        reply: gatt.Characteristic[bytes] = gatt.Characteristic(
            REPLY_UUID, properties.NOTIFY, permissions.READABLE, b""
        )
        pending: set[asyncio.Task[None]] = set()

        def written(connection: Connection, value: bytes) -> None:
            task = asyncio.get_running_loop().create_task(server.notify_subscriber(connection, reply, value))
            pending.add(task)
            task.add_done_callback(pending.discard)

        command: gatt.Characteristic[bytes] = gatt.Characteristic(
            COMMAND_UUID,
            properties.WRITE_WITHOUT_RESPONSE,
            permissions.WRITEABLE,
            gatt.CharacteristicValue(write=written),
        )
        server.add_service(gatt.Service(SERVICE_UUID, [command, reply]))
        await server.power_on()
        await client.power_on()
        await server.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
        await self._subscribe(await client.connect(server.random_address, timeout=5))

    async def _subscribe(self, connection: Connection) -> None:
        peer = Peer(connection)
        await peer.request_mtu(517)
        await peer.discover_services()
        for service in peer.services:
            await peer.discover_characteristics(service=service)
        (self._command,) = [c for s in peer.services for c in s.characteristics if c.uuid == UUID(COMMAND_UUID)]
        (reply,) = [c for s in peer.services for c in s.characteristics if c.uuid == UUID(REPLY_UUID)]
        await reply.subscribe(self._answered.put_nowait)

    async def once(self) -> object:
        """One write and the notification that it brings."""
        await self._command.write_value(bytes(REQUEST_BYTES), with_response=False)
        return await self._answered.get()

    async def close(self) -> None:
        """Take both out of the air."""
        await self._held.aclose()


async def rates(plan: harness.Plan) -> dict[str, harness.Timing]:
    """One request and its answer, ours and bare, in turns; a sample each."""
    samples: dict[str, list[tuple[int, ...]]] = {"read_status over ble://": [], "bare bumble write and notify": []}
    async with ward(), _connecting() as programmer:
        bare = BareBumble()
        await bare.open()
        contestants: dict[str, Callable[[], Awaitable[object]]] = dict(
            zip(samples, (programmer.read_status, bare.once), strict=True)
        )
        for turn in range(plan.rounds):
            for name in harness.in_turns(list(contestants), turn):
                samples[name].append(await _timed(contestants[name], plan.count(REQUESTS, 20)))
        await bare.close()
    return {name: harness.Timing(tuple(rounds)) for name, rounds in samples.items()}


async def _timed(call: Callable[[], Awaitable[object]], count: int) -> tuple[int, ...]:
    await call()
    found = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        await call()
        found.append(time.perf_counter_ns() - begun)
    return tuple(found)


async def abrupt_ends(count: int) -> tuple[int, Held, Held]:
    """Connect, interrogate, contact cut, ``count`` times; how often it came to an answer, and what was held."""
    answered = 0
    async with ward() as (radio, _station):
        before = await Held.now()
        for number in range(count + _WARM_UP):
            if number == _WARM_UP:
                answered, before = 0, await Held.now()
            async with _connecting() as programmer:
                await programmer.read_status()
                answered += 1
                radio.cut(NAME)
                await asyncio.sleep(0)
        after = await Held.now()
    return answered, before, after


def run(plan: harness.Plan) -> harness.Result:
    """Times in milliseconds and microseconds, rates in requests a second."""
    result = harness.Result("ble")
    visit = harness.run_async(visits(plan.count(VISITS, 3)))
    result.figures["connect, interrogate and set-rate"] = visit.as_figures()
    result.speed("connect, interrogate and set-rate, median", visit.median_us / 1000, VISIT_TARGET_MS, "ms")
    found = harness.run_async(rates(plan))
    request, bare = found.values()
    for name, timing in found.items():
        result.figures[name] = {**timing.as_figures(), "per_second": round(1e6 / timing.median_us)}
    percent = 100 / harness.median_ratio(request, bare)
    result.figures["request rate of the bare rate, percent"] = round(percent)
    # Stated as a time, which is what the harness compares: at most so many times the bare round trip.
    result.speed(
        f"bare round trips that a request takes ({RATE_TARGET_PERCENT} % of the bare rate)",
        harness.median_ratio(request, bare),
        100 / RATE_TARGET_PERCENT,
        "times",
    )
    cycles = plan.count(CYCLES, 5)
    answered, before, after = harness.run_async(abrupt_ends(cycles))
    result.fact(f"answers in {cycles} visits that end abruptly", answered, exactly=cycles)
    for what in ("tasks", "threads", "descriptors", "children"):
        result.fact(f"{what} left after {cycles} abrupt ends", getattr(after, what) - getattr(before, what))
    result.figures["abrupt ends"] = {"cycles": cycles, "rss_grown_kib": after.rss_kib - before.rss_kib}
    result.notes = [
        "a visit begins with a scan: up to 20 ms of it wait for an advertisement",
        "both ends and the radio share one processor in one process",
    ]
    return result

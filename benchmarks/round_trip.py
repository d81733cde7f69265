"""``read_status`` there and back, beside pymodbus, sinstruments and a raw asyncio echo, in one run.

All contestants stay open for the whole run and take turns, five rounds, so that a slow spell of the machine hits
each of them. Ours is authenticated and encrypted both ways; no peer is. Payloads are equal: pymodbus reads as many
registers as carry our status body, sinstruments answers as many bytes, the echo moves exactly our bytes on the wire.
"""

from __future__ import annotations

import gc
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from benchmarks import harness, ours, peers

if TYPE_CHECKING:
    from benchmarks.peers import Contestant

ROUND_TRIPS = 2_000
_WARM_UP = 50


def contestants(sizes: peers.Sizes) -> dict[str, Contestant]:
    """Everybody who takes part."""
    return {
        "ours over memory": ours.OverMemory(),
        "ours over TCP": ours.OverTcp(),
        "ours over pty, two processes": ours.OverPty(),
        "pymodbus over TCP": peers.Modbus(sizes),
        "sinstruments over TCP, two processes": peers.Sinstruments(sizes),
        "raw asyncio echo over TCP": peers.RawEcho(sizes),
    }


async def measure(them: dict[str, Contestant], plan: harness.Plan) -> dict[str, harness.Timing]:
    """Take turns; one sample is one round trip."""
    samples: dict[str, list[tuple[int, ...]]] = {name: [] for name in them}
    async with AsyncExitStack() as held:
        for contestant in them.values():
            held.push_async_callback(contestant.close)
            await contestant.open()
        for turn in range(plan.rounds):
            for name in harness.in_turns(list(them), turn):
                samples[name].append(await _round(them[name], plan.count(ROUND_TRIPS, 5), plan.count(_WARM_UP, 2)))
    return {name: harness.Timing(tuple(rounds)) for name, rounds in samples.items()}


async def _round(contestant: Contestant, count: int, warm_up: int) -> tuple[int, ...]:
    once, now = contestant.once, time.perf_counter_ns
    for _ in range(warm_up):
        await once()
    gc.collect()
    taken = []
    for _ in range(count):
        begun = now()
        await once()
        taken.append(now() - begun)
    return tuple(taken)


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in microseconds per round trip."""
    result = harness.Result("round_trip")
    sizes = peers.Sizes.of_ours()
    timings = harness.run_async(measure(contestants(sizes), plan))
    tcp, memory = timings["ours over TCP"], timings["ours over memory"]
    modbus, echo = timings["pymodbus over TCP"], timings["raw asyncio echo over TCP"]
    result.figures = {
        "bytes": {
            "status_body": sizes.status_body,
            "request_on_stream": sizes.request,
            "answer_on_stream": sizes.answer,
            "modbus_registers": -(-sizes.status_body // 2),
        },
        **{name: timing.as_figures() for name, timing in timings.items()},
        "ratio ours over TCP / pymodbus": harness.ratio(tcp, modbus),
        "ratio ours over TCP / raw echo": harness.ratio(tcp, echo),
        "ratio ours over memory / pymodbus": harness.ratio(memory, modbus),
        "ratio pymodbus / raw echo": harness.ratio(modbus, echo),
    }
    result.speed("ours over TCP, times pymodbus over TCP", harness.median_ratio(tcp, modbus), 1.0, "x")
    result.notes = [
        "near-field delay 0; link and session open and reused",
        "ours is authenticated and encrypted both ways through telemeter, firmware and device; no peer is",
        "one process holds both ends unless it says two; sinstruments and echo have plain asyncio clients",
    ]
    return result

"""A pump on a broker: how soon an alarm is there, and what a broker killed under load loses (mosquitto, both times).

The delay: a pump served over TCP, ``telemetry publish`` as a process of its own, the alarm raised at the bench at an
instant of chance. ``mosquitto_sub`` stamps what it receives with the host's clock, the message says when the driver had
read the alarm. The load: ten looks a second with ten new records of the log each.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import telemetry
from benchmarks import harness
from benchmarks.broker import Mosquitto, Subscriber, version
from benchmarks.ours import make_station
from telemetry.clock import SystemClock, host_utc_ms
from telemetry.interrogation import Interrogation
from telemetry.model import LogCode, LogRecord
from telemetry.publish.broker import opener
from telemetry.publish.gateway import Gateway
from telemetry.publish.spool import Spool
from telemetry.publish.topics import parse_destination
from telemetry.transport.registry import listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from telemetry.interrogation import Sighting

ALARMS = 100
TARGET_MS = 200
POLL_MS = 1_000
AWAY_S = 30
LOOK_MS = 100
RECORDS = 10
_BEFORE_S, _AFTER_S = 5, 5
_SEED = 5
_PATIENCE_S = 120


def run(plan: harness.Plan) -> harness.Result:
    """Measure by the plan: fewer alarms and a shorter absence in a quick run."""
    result = harness.Result("publish")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure_delay(result, plan.count(ALARMS, 10), Path(folder) / "delay"))
        asyncio.run(_measure_loss(result, plan.count(AWAY_S, 3), Path(folder) / "loss"))
    result.figures["broker"] = version()
    result.notes.append("mosquitto on the same machine: persistence, autosave_on_changes, autosave_interval 1")
    result.notes.append("the subscriber is mosquitto_sub with a session that the broker keeps")
    return result


async def _measure_delay(result: harness.Result, count: int, folder: Path) -> None:
    station, clock = make_station()
    pump = station.pump
    listener = await listen("tcp://127.0.0.1:0", station.accept, clock=clock)
    serving = asyncio.create_task(station.run(clock))
    chance = random.Random(_SEED)
    raised_utc_ms: list[int] = []
    try:
        with Mosquitto(folder / "broker") as broker, Subscriber(broker.port, folder / "heard") as heard:
            command = ("-m", "telemetry", "publish", listener.url, "--json", "--interval", str(POLL_MS // 1000))
            to = ("--to", f"mqtt://127.0.0.1:{broker.port}/ward", "--spool", str(folder / "spool"))
            gateway = await asyncio.create_subprocess_exec(
                sys.executable, *command, *to, stdout=asyncio.subprocess.DEVNULL, cwd=harness.ROOT
            )
            try:
                await _until(lambda: bool(heard.received()))
                for _ in range(count):
                    await asyncio.sleep(chance.uniform(0, POLL_MS / 1000))
                    for act in (pump.stop, pump.resume):
                        told = len(_alarms(heard))
                        raised_utc_ms += [host_utc_ms()] if act == pump.stop else []
                        act()
                        await _until(lambda told=told: len(_alarms(heard)) > told)  # type: ignore[misc]
            finally:
                gateway.terminate()
                await gateway.wait()
            raised = [line for line in _alarms(heard) if line["body"]["change"] == "raised"]
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await listener.close()
        await station.close()
    seen = [1_000 * line["at_s"] - line["body"]["read_utc_ms"] for line in raised]
    whole = [1_000 * line["at_s"] - at for line, at in zip(raised, raised_utc_ms, strict=True)]
    result.figures["poll_interval_ms"] = POLL_MS
    result.figures["alarms"] = len(raised)
    result.figures["driver_to_subscriber_ms"] = _spread(seen)
    result.figures["pump_to_subscriber_ms"] = _spread(whole)
    result.fact("alarms that mosquitto_sub received, each raised once", len(raised), exactly=count)
    says = f"from the driver's reading of an alarm to mosquitto_sub, median of {count}, polled every {POLL_MS} ms"
    result.speed(says, statistics.median(seen), TARGET_MS, "ms")


async def _measure_loss(result: harness.Result, away_s: int, folder: Path) -> None:
    clock = SystemClock()
    reading = await _a_reading(clock)
    made = 0
    going = True

    async def follow(since: int) -> AsyncGenerator[Sighting, None]:
        nonlocal made
        told = max(1, since)
        while True:
            made += RECORDS if going else 0
            new = tuple(LogRecord(n, 1, 1_000 * n, LogCode.STOPPED, 0, 0, 0) for n in range(told, made + 1))
            told = made + 1
            status = replace(reading.status, now_ms=reading.status.now_ms + 1_000 * made)
            yield replace(reading, log=new, status=status, read_utc_ms=host_utc_ms())
            await asyncio.sleep(LOOK_MS / 1000)

    with (
        Mosquitto(folder / "broker") as broker,
        Subscriber(broker.port, folder / "heard") as heard,
        Spool(folder / "spool", gateway_id=lambda: os.urandom(8).hex()) as spool,
    ):
        destination = parse_destination(f"mqtt://127.0.0.1:{broker.port}/ward")
        gateway = Gateway(
            spool,
            destination,
            opener(destination),
            clock=clock,
            utc_ms=host_utc_ms,
            interval_ms=LOOK_MS,
            tell=lambda _: None,
        )
        running = asyncio.create_task(gateway.run(follow))
        await _until(lambda: bool(heard.received()))
        await asyncio.sleep(_BEFORE_S)
        broker.kill()
        await asyncio.sleep(away_s)
        waiting = len(spool)
        broker.start()
        heard.again()
        await asyncio.sleep(_AFTER_S)
        going = False
        await _until(lambda: gateway.delivery.connected and not len(spool))
        gateway.stop()
        await running
        await _until(lambda: len(_once(heard)) >= made)
        came = [line for line in heard.received() if "event_sequence" in line["body"]]
    numbers = _once(heard)
    result.figures["away_s"] = away_s
    result.figures["events_per_s"] = RECORDS * 1000 // LOOK_MS
    result.figures["events"] = made
    result.figures["events_received_with_doubles"] = len(came)
    result.figures["waiting_when_it_came_back"] = waiting
    result.fact("events missing after filtering by message id", made - len(set(numbers)))
    result.fact("events twice after filtering by message id", len(numbers) - len(set(numbers)))
    result.fact("events out of order", sum(a >= b for a, b in pairwise(numbers)))


async def _a_reading(clock: SystemClock) -> Interrogation:
    async with telemetry.connect("sim:", clock=clock, role="observer") as programmer:
        async for found in programmer.follow():
            if isinstance(found, Interrogation):
                return found
    raise AssertionError("a pump in this process can be read")


def _once(heard: Subscriber) -> list[int]:
    """The records' numbers in the order in which they came first, filtered by message id."""
    found: dict[str, int] = {}
    for line in heard.received():
        if "log_sequence" in line["body"]:
            found.setdefault(line["body"]["message_id"], line["body"]["log_sequence"])
    return list(found.values())


def _alarms(heard: Subscriber) -> list[dict[str, Any]]:
    return [line for line in heard.received() if line["body"]["schema"].endswith("/alarm")]


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[max(0, -(-len(ordered) * 95 // 100) - 1)], 1),
        "slowest": round(ordered[-1], 1),
    }


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a file of another process: nothing tells when it grows
            await asyncio.sleep(0.02)

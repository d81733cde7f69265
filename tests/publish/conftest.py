"""A pump that is read as the driver reads it, and a broker that lives in memory and does what it is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import telemetry
from telemetry import VirtualPump
from telemetry.errors import LinkClosedError, LinkOpenError
from telemetry.interrogation import Interrogation
from telemetry.programmer.following import Follower
from telemetry.publish.gateway import Gateway, Progress
from telemetry.publish.schema_table import NAMES, schema
from telemetry.publish.spool import Bounds, Spool
from telemetry.publish.topics import parse_destination

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable
    from pathlib import Path

    from telemetry.interrogation import Sighting
    from telemetry.programmer import Programmer
    from telemetry.publish.delivering import Will

READ_UTC_MS = 1_790_000_000_000
TO = "mqtt://127.0.0.1:1883/ward-7"
VALIDATORS = {kind.value: jsonschema.Draft202012Validator(schema(kind)) for kind in NAMES}


def checked(payload: str | bytes) -> dict[str, Any]:
    """A message as JSON, held against its published schema."""
    found: dict[str, Any] = json.loads(payload)
    VALIDATORS[found["schema"].removeprefix("itb-telemetry/")].validate(found)
    return found


@dataclass
class Arrived:
    """One publication as the broker took it."""

    topic: str
    text: str
    retain: bool

    @property
    def body(self) -> dict[str, Any]:
        return checked(self.text)


@dataclass
class MemoryBroker:
    """Takes what is published. ``down``: nobody is there; ``refuses``: it says no; ``deaf``: it never acknowledges."""

    arrived: list[Arrived] = field(default_factory=list)
    retained: dict[str, str] = field(default_factory=dict)
    down: bool = False
    refuses: bool = False
    deaf: bool = False
    dies_after: int | None = None
    forgets: int = 0
    connections: int = 0
    wills: list[Will] = field(default_factory=list)
    _gone: asyncio.Event | None = None
    clean: bool = False

    @asynccontextmanager
    async def connect(self, will: Will) -> AsyncIterator[MemoryBroker]:
        if self.refuses:
            raise LinkOpenError("the broker refuses us: bad user name or password")
        if self.down:
            raise LinkOpenError("the broker does not answer")
        self.connections += 1
        self.wills.append(will)
        self._gone = asyncio.Event()
        self.clean = False
        try:
            yield self
            self.clean = True
        except asyncio.CancelledError:
            self.clean = True
            raise
        finally:
            if not self.clean:
                self._take(will.topic, will.payload, retain=True)
            self._gone = None

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if self.down or self._gone is None or self._gone.is_set():
            raise LinkClosedError("the broker is gone")
        self._take(topic, payload.decode(), retain=retain)
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after <= 0:
                self.die()
                raise LinkClosedError("the broker died before it acknowledged")
        if self.deaf:
            await self._gone.wait()
            raise LinkClosedError("the broker is gone")
        await asyncio.sleep(0)

    async def lost(self) -> None:
        assert self._gone is not None
        await self._gone.wait()
        raise LinkClosedError("the broker is gone")

    def die(self) -> None:
        """End without a word; what ``forgets`` says was acknowledged and is lost all the same."""
        self.down, self.dies_after = True, None
        if self.forgets:
            del self.arrived[-self.forgets :]
        if self._gone is not None:
            self._gone.set()

    def come_back(self) -> None:
        self.down = False

    def _take(self, topic: str, text: str, *, retain: bool) -> None:
        self.arrived.append(Arrived(topic, text, retain))
        if retain:
            self.retained[topic] = text

    def bodies(self, kind: str = "") -> list[dict[str, Any]]:
        return [one.body for one in self.arrived if not kind or one.body["schema"] == f"itb-telemetry/{kind}"]

    def state(self, kind: str) -> dict[str, Any]:
        (text,) = [text for topic, text in self.retained.items() if topic.endswith(f"/{kind}")]
        return checked(text)


def once(bodies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a subscriber keeps that filters doubles by message id."""
    seen: set[str] = set()
    return [one for one in bodies if not (one["message_id"] in seen or seen.add(one["message_id"]))]  # type: ignore[func-returns-value]


class Bedside:
    """A virtual pump and whoever reads it for the gateway."""

    def __init__(self, pump: VirtualPump, programmer: Programmer) -> None:
        self.pump = pump
        self.programmer = programmer
        self.read_utc_ms = READ_UTC_MS
        self.follower = Follower(programmer, since=0, utc_ms=self.utc_ms)

    def utc_ms(self) -> int:
        return self.read_utc_ms

    async def look(self) -> Sighting:
        self.read_utc_ms += 2_000
        return await self.follower.look()

    async def read(self) -> Interrogation:
        found = await self.look()
        assert isinstance(found, Interrogation)
        return found

    def from_here(self, since: int) -> None:
        self.follower = Follower(self.programmer, since=since, utc_ms=self.utc_ms)


@pytest.fixture
async def bedside() -> AsyncIterator[Bedside]:
    pump = VirtualPump(seed=7)
    async with telemetry.connect(pump=pump, role="observer") as programmer:
        yield Bedside(pump, programmer)


async def stall(bedside: Bedside) -> None:
    bedside.pump.inject("motor_stall")
    bedside.pump.advance(hours=1)


class Ward:
    """A gateway under test, its spool and broker; looks happen when the test says so."""

    def __init__(self, bedside: Bedside, folder: Path, *, bounds: Bounds | None = None, to: str = TO) -> None:
        self.bedside = bedside
        self.folder = folder
        self.bounds = bounds
        self.to = parse_destination(to)
        self.broker = MemoryBroker()
        self.clock = bedside.pump.clock
        self.told: list[Progress] = []
        self.asked_from: list[int] = []
        self._looks: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self.options: dict[str, Any] = {}

    def start(self) -> None:
        self.spool = Spool(self.folder, self.bounds, gateway_id=lambda: "0123456789abcdef")
        self.gateway = Gateway(
            self.spool,
            self.to,
            self.broker.connect,
            clock=self.clock,
            utc_ms=self.bedside.utc_ms,
            interval_ms=2_000,
            tell=self.told.append,
            draw=lambda n: 0,
            **self.options,
        )
        self._running = asyncio.create_task(self.gateway.run(self._follow))

    async def _follow(self, since: int) -> AsyncGenerator[Sighting, None]:
        self.asked_from.append(since)
        self.bedside.from_here(since)
        while True:
            done = await self._looks.get()
            try:
                yield await self.bedside.look()
            finally:
                if not done.done():
                    done.set_result(None)

    async def look(self, count: int = 1) -> None:
        """Let the gateway take so many looks, and everything that follows from them."""
        for _ in range(count):
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._looks.put_nowait(done)
            await done
        await self.settle()

    async def settle(self, turns: int = 400) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def pause(self, ms: int) -> None:
        """Let link time pass (the pump's, too)."""
        self.bedside.pump.advance(ms=ms)
        await self.settle()

    async def stop(self) -> None:
        """An orderly end."""
        self.gateway.stop()
        await self.settle()
        self.bedside.pump.advance(seconds=6)
        await self.end()

    async def end(self) -> None:
        assert self._running is not None
        running, self._running = self._running, None
        try:
            await running
        finally:
            self.spool.close()

    async def kill(self) -> None:
        """As ``kill -9`` does: nothing more is written, nothing more is said."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None
        self.spool.close()


@pytest.fixture
async def ward(bedside: Bedside, tmp_path: Path) -> AsyncIterator[Ward]:
    made = Ward(bedside, tmp_path / "spool")
    yield made
    if made._running is not None:
        await made.kill()

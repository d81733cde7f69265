"""Makes the stages of a subscriber's run: on a real broker, or on a bus in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock, SystemClock, host_utc_ms
from telemetry.conform.asking import Person
from telemetry.conform.manifest import Manifest
from telemetry.conform.piping import Program
from telemetry.conform.results import Equipment
from telemetry.conform.running import Plan, run_steps
from telemetry.conform.subscriber.bench import SubscriberBench
from telemetry.conform.subscriber.bus import BrokerOutlet, MemoryBus, MemoryFeed, MemoryOutlet
from telemetry.conform.subscriber.catalogue import CATALOGUE
from telemetry.conform.subscriber.dashboard import Dashboard
from telemetry.publish.topics import Topics, parse_destination
from telemetry.sim.virtual_pump import FIXED_EPOCH_UTC_S, VirtualPump
from telemetry.transport.mqtt_access import BrokerAccess
from telemetry.transport.mqtt_broker import BrokerClient
from telemetry.transport.url import parse_url
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from telemetry.clock import Clock
    from telemetry.conform.operator import Operator
    from telemetry.conform.recorder import Recorder
    from telemetry.conform.results import Run, StepResult
    from telemetry.conform.steps import Step
    from telemetry.conform.subscriber.bus import Outlet

IN_PROCESS = "in process"
SERIAL = "SIM-CONFORM"
UNNAMED = Equipment(role="under_test", name="subscriber under test", note="no manifest names it")
OURS = Equipment(role="under_test", name="reference dashboard", maker="itb-telemetry", simulated=True)


class SubscriberKit:
    """The kit around one operator. ``outlet`` publishes; ``utc_ms`` is the time that messages are dated by."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        outlet: Outlet,
        topics: Topics,
        clock: Clock,
        utc_ms: Callable[[], int],
        link: str,
        seed: int = 0,
    ) -> None:
        self.manifest = manifest
        self.operator: Operator
        self.topics = topics
        self.clock = clock
        self.utc_ms = utc_ms
        self.link = link
        self._outlet = outlet
        self._seed = seed

    def now_ms(self) -> int:
        """Link time."""
        return self.clock.link_ms()

    @contextlib.asynccontextmanager
    async def stage(self, step: Step[SubscriberBench], record: Recorder) -> AsyncIterator[SubscriberBench]:
        """A fresh pump and a fresh gateway for one step; what it retained is taken away afterwards."""
        epoch_utc_s = self.utc_ms() // MS_PER_SECOND - self.clock.therapy_ms() // MS_PER_SECOND
        pump = VirtualPump(seed=self._seed, clock=self.clock, serial=SERIAL, epoch_utc_s=epoch_utc_s)
        gateway = f"{self._seed:08x}{int(step.number[2:]):04d}conform{'0' * 13}"
        bench = SubscriberBench(
            record,
            self.operator,
            outlet=self._outlet,
            topics=self.topics,
            pump=pump,
            clock=self.clock,
            utc_ms=self.utc_ms,
            manifest=self.manifest,
            gateway_id=gateway,
        )
        verdict = "blocked"
        try:
            await self.operator.begin(step.number, step.title)
            yield bench
            verdict = "fail" if record.findings else "pass"
        finally:
            try:
                await self.operator.end(step.number, verdict)
            finally:
                await bench.close()


class OwnSubscriberKit(SubscriberKit):
    """Our own dashboard, or another one, on a bus in this process."""

    def __init__(self, manifest: Manifest, *, seed: int = 0, dashboard: Callable[..., Dashboard] = Dashboard) -> None:
        clock, bus, topics = ManualClock(), MemoryBus(), Topics("conform", SERIAL)

        def utc_ms() -> int:
            return FIXED_EPOCH_UTC_S * MS_PER_SECOND + clock.link_ms()

        super().__init__(
            manifest, outlet=MemoryOutlet(bus), topics=topics, clock=clock, utc_ms=utc_ms, link=IN_PROCESS, seed=seed
        )
        self.bus = bus
        self.operator = dashboard(MemoryFeed(bus), topics.root, utc_ms)


async def run_own_subscriber(
    *,
    seed: int = 0,
    numbers: frozenset[str] | None = None,
    manifest: Manifest | None = None,
    dashboard: Callable[..., Dashboard] = Dashboard,
) -> Run:
    """Run the steps with a dashboard in this process; the same run for the same seed."""
    said = Manifest() if manifest is None else manifest
    kit = OwnSubscriberKit(said, seed=seed, dashboard=dashboard)
    plan = Plan(seed=seed, numbers=numbers, manifest=said, equipment=(OURS,))
    try:
        return await run_steps(CATALOGUE, kit, plan)
    finally:
        await kit.operator.close()


async def run_subscriber(  # noqa: PLR0913 - each is one fact of the run, all by name
    url: str,
    operator: str = "",
    *,
    hands: Operator | None = None,
    patterns: Sequence[str] = (),
    manifest: Manifest | None = None,
    seed: int = 0,
    command: str = "",
    on_step: Callable[[Step[SubscriberBench]], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> Run:
    """Run the steps with a subscriber to the broker at ``url`` (``mqtt://host/SITE[/PLACE]``), on the host's clock.

    ``operator`` is the command of a program that reads its screen; "" asks a person; ``hands`` is an operator in this
    process. A run that is cancelled is returned as far as it came. Raises ``UsageError`` for the URL or a pattern that
    fits no step, ``LinkError`` when the broker cannot be had; one that is lost on the way blocks steps.
    """
    place = parse_destination(url, option="--subscriber")
    chosen = CATALOGUE.select(patterns)
    said = Manifest() if manifest is None else manifest
    access = BrokerAccess.from_url(parse_url(place.broker))
    met = BrokerClient(access)
    try:
        await met.open()
    finally:
        await met.close()
    program = await Program.start(operator) if operator and hands is None else None
    working: Operator = hands or program or Person()
    kit = SubscriberKit(
        said,
        outlet=BrokerOutlet(access),
        topics=place.topics(SERIAL),
        clock=SystemClock(),
        utc_ms=host_utc_ms,
        link=url,
        seed=seed,
    )
    kit.operator = working
    plan = Plan(
        seed=seed,
        command=command,
        numbers=frozenset(step.number for step in chosen) if patterns else None,
        manifest=said,
        equipment=(UNNAMED,),
        keeps_interrupted=True,
    )
    try:
        if program is not None:
            await program.greet(kit.link)
        return await run_steps(CATALOGUE, kit, plan, on_step=on_step, on_result=on_result)
    finally:
        await working.close()

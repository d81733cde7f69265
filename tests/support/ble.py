"""A radio with a telemeter and a central in it, for tests of Bluetooth LE."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.clock import SystemClock
from telemetry.transport.ble_peripheral import PeripheralListener, listen
from telemetry.transport.ble_service import CentralPipe
from telemetry.transport.bleak_bumble import BumbleAdapter, PairingAgent
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.url import parse_url
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.bumble_link import LinkModel

PATIENCE_S = 10.0


@dataclass
class Served:
    """One link as the telemeter sees it."""

    transport: Transport
    receiver: RecordingReceiver

    @property
    def pipe(self) -> CentralPipe:
        assert isinstance(self.transport, CentralPipe)
        return self.transport


@dataclass
class Bench:
    """What is in the air; ``listen`` puts telemeters there, ``central`` adapters. All is closed at the end."""

    radio: BumbleRadio
    clock: SystemClock
    stack: AsyncExitStack
    served: list[Served] = field(default_factory=list)
    lost: list[tuple[Transport, object]] = field(default_factory=list)

    def accept(self, transport: Transport) -> Receiver:
        receiver = RecordingReceiver()
        self.served.append(Served(transport, receiver))
        return receiver

    async def listen(self, query: str = "name=SIM-0001") -> PeripheralListener:
        url = parse_url(f"ble+radio:?interval_ms=20&{query}")
        listener = await listen(url, self.accept, self.clock)
        self.stack.push_async_callback(listener.close)
        return listener

    async def central(
        self, name: str = "central", *, agent: PairingAgent | None = None, att_s: float = 5.0
    ) -> BumbleAdapter:
        adapter = BumbleAdapter.in_radio(self.radio, name, agent=agent, att_s=att_s)
        return await self.stack.enter_async_context(adapter)


@asynccontextmanager
async def bench(model: LinkModel | None = None) -> AsyncIterator[Bench]:
    """An empty radio, and everything that a test puts into it closed in reverse order."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        radio = await stack.enter_async_context(BumbleRadio(model))
        yield Bench(radio.join(clock), clock, stack)


async def until(predicate: Callable[[], object]) -> None:
    """Wait until it is so, within a bound of host time."""
    async with asyncio.timeout(PATIENCE_S):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens on bumble's host timers
            await asyncio.sleep(0.001)

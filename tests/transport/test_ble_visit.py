"""The whole product over the in-process radio: programmer, bleak, bumble, telemeter, pump."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import DailyDose, FlowRate, LinkError
from telemetry.clock import SystemClock
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.ble_scan import scan, use_backend
from telemetry.transport.bleak_bumble import BumbleAdapter, PairingAgent
from telemetry.transport.bumble_link import LinkModel
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.registry import listen
from tests.support.ble import until
from tests.support.leaks import Snapshot, leaked_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.programmer.opening import Connecting

pytestmark = pytest.mark.real

CYCLES = 20
"""benchmarks/ble.py does 200."""


class Ward:
    """A radio, a pump under a telemeter in it, and a central that ``ble://`` uses."""

    def __init__(self, stack: AsyncExitStack, radio: BumbleRadio) -> None:
        self.stack = stack
        self.radio = radio
        self.clock = SystemClock()
        self.radio.join(self.clock)

    async def admit(self, name: str, parameters: str = "") -> VirtualPump:
        pump = VirtualPump(clock=self.clock)
        station = Station(pump, entropy=os.urandom)
        self.stack.push_async_callback(station.close)
        url = f"ble+radio:?name={name}&interval_ms=20{parameters}"
        listener = await listen(url, station.accept, clock=self.clock)
        self.stack.push_async_callback(listener.close)
        return pump

    async def central(self, name: str = "central", agent: PairingAgent | None = None) -> None:
        adapter = await self.stack.enter_async_context(BumbleAdapter.in_radio(self.radio, name, agent=agent))
        self.stack.enter_context(use_backend(client=adapter.client, scanner=adapter.scanner))

    def connect(self, name: str, parameters: str = "") -> Connecting:
        return telemetry.connect(f"ble://?name={name}{parameters}", clock=self.clock, journal=MemoryJournalStore())


@asynccontextmanager
async def ward(model: LinkModel | None = None) -> AsyncIterator[Ward]:
    async with AsyncExitStack() as stack:
        yield Ward(stack, await stack.enter_async_context(BumbleRadio(model)))


@pytest.mark.parametrize("mtu", [23, 185, 517])
async def test_connect_interrogate_and_set_the_rate(mtu: int) -> None:
    async with ward() as place:
        pump = await place.admit("SIM-0001", f"&mtu={mtu}")
        await place.central()
        async with place.connect("SIM-0001") as programmer:
            assert (await programmer.read_status()).rate_nl_per_day == 170_000
            change = await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
            assert change.after.rate_nl_per_day == 180_000
        assert pump.status.rate_nl_per_day == 180_000


async def test_a_scan_lists_every_telemeter_in_range() -> None:
    async with ward() as place:
        for name in ("SIM-0001", "SIM-0002"):
            await place.admit(name)
        await place.central()
        seen = await scan(0.2)
        assert sorted((one.name, one.simulated, one.service_version) for one in seen) == [
            ("SIM-0001", True, 1),
            ("SIM-0002", True, 1),
        ]


async def test_pairing_with_a_passkey_and_then_the_secure_channel() -> None:
    async with ward() as place:
        await place.admit("SIM-0001", "&pairing=passkey&passkey=123456")
        await place.central(agent=PairingAgent(passkey=123456))
        with pytest.raises(LinkError, match="pair=yes"):
            async with place.connect("SIM-0001") as programmer:
                await programmer.read_status()
        async with place.connect("SIM-0001", "&pair=yes") as programmer:
            assert (await programmer.read_status()).rate_nl_per_day == 170_000


async def test_a_poor_link_is_slow_and_exact() -> None:
    async with ward() as place:
        pump = await place.admit("SIM-0001")
        await place.central()
        async with place.connect("SIM-0001") as programmer:
            place.radio.link.model = LinkModel(loss_ppm=100_000, interval_ms=7, delay_ms=2, bits_per_s=500_000, seed=1)
            await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
            assert (await programmer.read_status()).rate_nl_per_day == 180_000
            place.radio.link.model = LinkModel()
        assert pump.status.rate_nl_per_day == 180_000


async def test_visits_that_end_abruptly_leave_nothing_and_the_next_one_succeeds() -> None:
    async with ward() as place:
        await place.admit("SIM-0001")
        await place.central()
        before: Snapshot | None = None
        for _ in range(CYCLES):
            async with place.connect("SIM-0001") as programmer:
                assert (await programmer.read_status()).rate_nl_per_day == 170_000
                place.radio.cut("SIM-0001")
                await asyncio.sleep(0)
            before = before or Snapshot.take()
        assert before is not None
        assert before.leaks() == []
        await until(lambda: not [name for name in leaked_tasks() if "advertise" not in name])


async def test_out_of_range_is_an_error_in_time_and_back_in_range_all_goes_on() -> None:
    async with ward(LinkModel(supervision_ms=200)) as place:
        pump = await place.admit("SIM-0001")
        await place.central()
        async with place.connect("SIM-0001", "&timeout_ms=500") as programmer:
            await programmer.read_status()
            place.radio.move_out_of_range("SIM-0001")
            with pytest.raises(LinkError):
                await programmer.read_status()
        place.radio.move_into_range("SIM-0001")
        async with place.connect("SIM-0001") as programmer:
            await programmer.set_rate(DailyDose.parse("350 ug/day"))
        assert pump.status.dose_ng_per_day == 350_000

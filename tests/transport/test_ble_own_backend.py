"""A connection may have bleak backend classes of its own: ``connect(url, backend=…)``; others keep theirs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry import FlowRate, VirtualPump
from telemetry.clock import SystemClock
from telemetry.errors import LinkError, UsageError
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.transport.ble import Backend, scan, use_backend
from telemetry.transport.ble_errors import BleOpenError, BleReason
from telemetry.transport.ble_scan import backend_in_use
from telemetry.transport.bleak_bumble import BumbleAdapter
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver
from tests.support.fake_bleak import FakeClient, FakeRadio, Telemeter

if TYPE_CHECKING:
    from telemetry.programmer.opening import Connecting
    from telemetry.transport.ble_scan import BleBackend

pytestmark = pytest.mark.real
URL = "ble://?name=SIM-0001&timeout_ms=5000"


def programmer_at(backend: BleBackend) -> Connecting:
    return telemetry.connect(URL, backend=backend, journal=MemoryJournalStore())


async def air_with_pump(stack: AsyncExitStack, rate: str) -> tuple[BumbleRadio, BumbleAdapter]:
    """An air of its own with a telemeter called SIM-0001 over a pump that delivers at this rate, and a central."""
    clock = SystemClock()
    radio = (await stack.enter_async_context(BumbleRadio())).join(clock)
    pump = VirtualPump("itb-40", 7, clock)
    pump.program(telemetry.Therapy.simple_continuous(FlowRate.parse(rate)))
    station = Station(pump, entropy=Random(7).randbytes, seed=7)
    stack.push_async_callback(station.close)
    listener = await listen("ble+radio:?name=SIM-0001&interval_ms=20", station.accept, clock=clock)
    stack.push_async_callback(listener.close)
    return radio, await stack.enter_async_context(BumbleAdapter.in_radio(radio))


async def test_two_connections_with_different_backends_at_once() -> None:
    async with AsyncExitStack() as stack:
        first_radio, first = await air_with_pump(stack, "0.150 ml/day")
        _, second = await air_with_pump(stack, "0.160 ml/day")
        async with programmer_at(first) as one, programmer_at(second) as other:
            both = await asyncio.gather(one.read_status(), other.read_status())
            assert [status.rate_nl_per_day for status in both] == [150_000, 160_000]
            assert backend_in_use() == Backend()
            first_radio.cut("SIM-0001")  # opened anew, it is the same backend again
            try:
                again = await one.read_status()
            except LinkError:
                again = await one.read_status()  # the loss itself was told first
            assert again.rate_nl_per_day == 150_000
            assert (await other.read_status()).rate_nl_per_day == 160_000


async def test_it_goes_before_the_backend_of_the_process_and_leaves_it_alone() -> None:
    nobody = FakeRadio()
    async with AsyncExitStack() as stack:
        _, adapter = await air_with_pump(stack, "0.150 ml/day")
        with use_backend(client=FakeClient, scanner=nobody.scanner()):
            in_force = backend_in_use()
            async with programmer_at(adapter) as programmer:
                assert (await programmer.read_status()).rate_nl_per_day == 150_000
                assert nobody.scans == 0
                with pytest.raises(BleOpenError) as caught:
                    await open_transport(
                        "ble://?name=SIM-0001&timeout_ms=100", RecordingReceiver(), clock=SystemClock()
                    )
                assert caught.value.reason is BleReason.NOT_FOUND
                assert nobody.scans == 1
            assert backend_in_use() is in_force


async def test_a_scan_has_its_own_too() -> None:
    radio = FakeRadio([Telemeter()])
    found = await scan(0.05, backend=Backend(scanner=radio.scanner()))
    assert [one.name for one in found] == ["SIM-0001"]


def test_the_blocking_driver_takes_it_too() -> None:
    radio = FakeRadio([Telemeter(version=9)])
    backend = Backend(client=FakeClient, scanner=radio.scanner())
    with (
        telemetry.connect_sync(URL, backend=backend, journal=MemoryJournalStore()) as programmer,
        pytest.raises(BleOpenError) as caught,
    ):
        programmer.read_telemeter()
    assert caught.value.reason is BleReason.OTHER_VERSION
    assert radio.scans == 1


@pytest.mark.parametrize("url", ["sim:", "tcp://127.0.0.1:1", "serial:///dev/null"])
async def test_any_other_link_has_no_backend(url: str) -> None:
    with pytest.raises(UsageError, match=r"backend: .* is no Bluetooth link; leave backend= out"):
        telemetry.connect(url, backend=Backend())
    with pytest.raises(UsageError, match=r"backend: .* is no Bluetooth link"):
        await open_transport(url, RecordingReceiver(), clock=SystemClock(), backend=Backend())


def test_a_pump_in_this_process_has_none() -> None:
    with pytest.raises(UsageError, match="backend: a pump in this process is no Bluetooth link"):
        telemetry.connect(pump=VirtualPump("itb-40", 7), backend=Backend())


@pytest.mark.parametrize(
    ("backend", "part"), [(FakeClient, "client"), ("bumble", "client"), (SimpleNamespace(client=None), "scanner")]
)
def test_what_is_no_backend_is_refused_with_what_would_be_right(backend: Any, part: str) -> None:  # noqa: ANN401 - the point
    with pytest.raises(UsageError, match=rf"has no class '{part}' for bleak; give a BumbleAdapter"):
        telemetry.connect(URL, backend=backend)

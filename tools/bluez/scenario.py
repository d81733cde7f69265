"""What happens in the emulated machine: BlueZ and our central on one side of the air, a virtual telemeter on the other.

The air and both controllers are bumble's; the kernel gets one of them through /dev/vhci and knows no difference. From
there up everything is the real thing: kernel, bluetoothd, D-Bus, bleak, this package.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from dbus_fast import DBusError

from telemetry import FlowRate, VirtualPump, connect
from telemetry.clock import ScaledClock, SystemClock
from telemetry.link import FrameLink
from telemetry.sim.connector import entropy_of
from telemetry.sim.station import Station
from telemetry.transport.ble_errors import BleClosedError, BleOpenError, BleReason
from telemetry.transport.ble_gatt import SERVICE_VERSION, Pairing
from telemetry.transport.ble_peripheral import offer
from telemetry.transport.ble_scan import scan
from telemetry.transport.ble_service import TelemeterSettings
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.registry import listen, open_transport
from tools.bluez.agent import Bluez

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bumble.device import Device

    from telemetry.errors import LinkClosedError
    from telemetry.programmer.opening import Connecting
    from telemetry.transport.base import Transport
    from tools.bluez.guest import Reporter

NAME = "SIM-0001"
OTHER = "SIM-0002"
PASSKEY = 314_159
BLUETOOTHD = "/usr/libexec/bluetooth/bluetoothd"
JOURNAL = Path("/tmp/journal")  # noqa: S108 - of a machine that lives for a minute and has no other user
_OPEN_MS = 40_000
"""Longest opening: the emulated processor is some twenty times slower than the one underneath."""
_SEED = 7
_SCAN_S = 2


class Failure(Exception):
    """Something was not as it must be."""


def expect(condition: object, what: str) -> None:
    """Raise ``Failure`` unless the condition holds."""
    if not condition:
        raise Failure(what)


def programmer_for(name: str = NAME, parameters: str = "") -> Connecting:
    """Our driver, by way of BlueZ."""
    return connect(f"ble://?name={name}&timeout_ms={_OPEN_MS}{parameters}", journal=JOURNAL)


async def play(reporter: Reporter) -> None:
    """Go through the steps; the first that fails raises."""
    station = Station(VirtualPump("itb-40", _SEED, ScaledClock()), entropy=entropy_of(_SEED), seed=_SEED)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(station.close)
        radio = await stack.enter_async_context(BumbleRadio())
        async with reporter.step("radio", limit_s=20):
            await radio.serve_kernel("kernel")
            device = radio.device(NAME)
            listener = await offer(device, TelemeterSettings(NAME, Pairing.PASSKEY, passkey=PASSKEY), station.accept)
            stack.push_async_callback(listener.close)
        async with reporter.step("bluetoothd", limit_s=40) as facts:
            await stack.enter_async_context(_bluetoothd())
            bluez = await stack.enter_async_context(Bluez())
            facts["adapter"] = await _adapter(bluez)
            await bluez.register_agent("KeyboardDisplay")
        await _find(reporter)
        await _pair(reporter, bluez, device)
        await _talk(reporter, station)
        await _drop(reporter, bluez, radio)
        async with reporter.step("adapter-gone", limit_s=30) as facts:
            await _lost_by(radio.close, facts)
        async with reporter.step("listener", limit_s=60) as facts:
            vhci = await listen(f"ble+vhci:?name={OTHER}", station.accept, clock=SystemClock())
            stack.push_async_callback(vhci.close)
            facts["adapter"] = await _adapter(bluez)
            # What BlueZ still knows of the telemeter before, keys included, shall not matter here.
            await bluez.forget_all()
            async with programmer_for(OTHER) as programmer:
                facts["rate_nl_per_day"] = (await programmer.read_status()).rate_nl_per_day


@contextlib.asynccontextmanager
async def _bluetoothd() -> AsyncIterator[None]:
    """The daemon, with what it says on the console."""
    process = await asyncio.create_subprocess_exec(BLUETOOTHD, "--nodetach")
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _adapter(bluez: Bluez) -> str:
    """The path of the one adapter, once BlueZ has it and it is powered; the step's limit ends the wait."""
    while True:
        with contextlib.suppress(DBusError):  # not on the bus yet, or still busy with the adapter
            adapters = await bluez.objects("org.bluez.Adapter1")
            for path, properties in adapters.items():
                if properties["Powered"].value:
                    return path
                await bluez.power_on(path)
        await asyncio.sleep(0.2)


async def _find(reporter: Reporter) -> None:
    async with reporter.step("scan", limit_s=20) as facts:
        seen = {one.name: one for one in await scan(_SCAN_S)}
        expect(NAME in seen, f"{NAME} was not seen; seen were {sorted(map(str, seen))}")
        facts["rssi_dbm"] = seen[NAME].rssi_dbm
        expect(seen[NAME].service_version == SERVICE_VERSION, f"the service was not seen: {seen[NAME]}")
        expect(seen[NAME].simulated, f"not taken for simulated: {seen[NAME]}")
    async with reporter.step("not-found", limit_s=20):
        await _refused("ble://?name=SIM-9999&timeout_ms=2000", BleReason.NOT_FOUND)


async def _pair(reporter: Reporter, bluez: Bluez, device: Device) -> None:
    async with reporter.step("refused", limit_s=60) as facts:
        bluez.agent.passkey = None
        await _refused(f"ble://?name={NAME}&pair=yes&timeout_ms={_OPEN_MS}", BleReason.PAIRING_REFUSED)
        facts["agent_asked"] = list(bluez.agent.asked)
        expect("RequestPasskey" in bluez.agent.asked, "the agent was not asked for the passkey")
    async with reporter.step("pair", limit_s=60) as facts:
        bluez.agent.asked.clear()
        bluez.agent.passkey = PASSKEY
        async with programmer_for(parameters="&pair=yes") as programmer:
            await programmer.read_telemeter()
            facts["agent_asked"] = list(bluez.agent.asked)
            expect("RequestPasskey" in bluez.agent.asked, "the agent was not asked for the passkey")
            (connection,) = device.connections.values()
            facts["secure_connections"] = connection.sc
            expect(connection.is_encrypted and connection.sc, "the link is not encrypted by LE Secure Connections")
            facts["att_mtu_bytes"] = connection.att_mtu
        expect(await _is_bonded(bluez), "BlueZ does not call the telemeter bonded")


async def _talk(reporter: Reporter, station: Station) -> None:
    async with programmer_for() as programmer:
        async with reporter.step("interrogate", limit_s=60) as facts:
            facts["telemeter"] = (await programmer.read_telemeter()).serial
            facts["pump"] = (await programmer.read_identity()).serial
            status = await programmer.read_status()
            expect(status.rate_nl_per_day == station.pump.status.rate_nl_per_day, f"not the pump's own rate: {status}")
            facts["alarms"] = [str(alarm.kind) for alarm in await programmer.read_alarms()]
            begun = perf_counter()
            for _ in range(5):
                await programmer.read_status()
            facts["status_ms"] = round((perf_counter() - begun) * 1000 / 5, 1)
        async with reporter.step("set-rate", limit_s=60) as facts:
            change = await programmer.set_rate(FlowRate.parse("0.150 ml/day"))
            facts["rate_nl_per_day"] = change.after.rate_nl_per_day
            status = await programmer.read_status()
            truth = station.pump.truth.rate_nl_per_day
            expect(status.rate_nl_per_day == truth == 150_000, f"said {status.rate_nl_per_day}, true {truth}")


async def _drop(reporter: Reporter, bluez: Bluez, radio: BumbleRadio) -> None:
    async def cut() -> None:
        radio.cut(NAME)

    async with reporter.step("drop", limit_s=60) as facts:
        await _lost_by(cut, facts)
    async with reporter.step("bonded", limit_s=60) as facts:
        bluez.agent.asked.clear()
        async with programmer_for() as programmer:
            facts["rate_nl_per_day"] = (await programmer.read_status()).rate_nl_per_day
        expect(not bluez.agent.asked, f"the agent was asked again: {bluez.agent.asked}")


async def _lost_by(end: Callable[[], Awaitable[None]], facts: dict[str, object]) -> None:
    """Open a bare link, end it from outside; its user must be told that the telemeter vanished."""
    lost: asyncio.Queue[LinkClosedError | None] = asyncio.Queue()
    link = FrameLink(on_frame=lambda _: None, on_lost=lost.put_nowait)
    transport: Transport = await open_transport(f"ble://?name={NAME}&timeout_ms={_OPEN_MS}", link, clock=SystemClock())
    link.attach(transport)
    expect(lost.empty(), "the link was lost before anything was done to it")
    begun = perf_counter()
    await end()
    reason = await lost.get()
    facts["seen_after_ms"] = round((perf_counter() - begun) * 1000, 1)
    await link.close()
    expect(isinstance(reason, BleClosedError) and reason.reason is BleReason.VANISHED, f"the reason was {reason!r}")
    facts["reason"] = str(reason)


async def _refused(url: str, reason: BleReason) -> None:
    async with connect(url, journal=JOURNAL) as programmer:
        try:
            await programmer.read_telemeter()
        except BleOpenError as error:
            expect(error.reason is reason, f"{url}: the reason should be {reason}, it was: {error}")
        else:
            raise Failure(f"{url}: it should have been refused with {reason}")


async def _is_bonded(bluez: Bluez) -> bool:
    devices = await bluez.objects("org.bluez.Device1")
    return any(shown["Alias"].value == NAME and shown["Bonded"].value for shown in devices.values())

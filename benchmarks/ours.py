"""Our own contestants, made with the public API only: a telemeter over a pump, and a programmer reading its status.

The near field adds no delay (its default). The pump lives on the host's clock; link and session are open and reused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import telemetry
from telemetry.clock import ScaledClock
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.memory import open_memory
from telemetry.transport.registry import listen

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.model import PumpStatus
    from telemetry.programmer import Programmer
    from telemetry.transport.base import Receiver, Transport


def make_station() -> tuple[Station, ScaledClock]:
    """A telemeter over a stock pump that runs at the host's pace."""
    clock = ScaledClock()
    return Station(VirtualPump(clock=clock), entropy=os.urandom), clock


class StationLink:
    """What ``telemetry.connect(pump=...)`` takes: a clock, and a way to open a link to the station in this process."""

    def __init__(self, station: Station) -> None:
        self._station = station

    @property
    def clock(self) -> Clock:
        """The clock of the pump."""
        return self._station.clock

    async def open_link(self, receiver: Receiver) -> Transport:
        """A memory link to the telemeter."""
        return open_memory(receiver, self._station.accept, clock=self._station.clock)


class Ours:
    """A contestant: ``open``, any number of ``once``, ``close``."""

    def __init__(self) -> None:
        self._held = contextlib.AsyncExitStack()
        self._programmer: Programmer | None = None

    async def once(self) -> PumpStatus:
        """One ``read_status``: request sealed, sent, opened, answered, sealed, sent, opened, decoded."""
        if self._programmer is None:
            raise RuntimeError("open() was not called")
        return await self._programmer.read_status()

    async def close(self) -> None:
        """Give everything back."""
        self._programmer = None
        await self._held.aclose()

    async def _use(self, connecting: telemetry.programmer.opening.Connecting) -> None:
        self._programmer = await self._held.enter_async_context(connecting)
        await self._programmer.read_status()


class OverMemory(Ours):
    """Both ends in this process, datagrams."""

    async def open(self) -> None:
        """Open link and session."""
        station, _ = make_station()
        self._held.push_async_callback(station.close)
        await self._use(telemetry.connect(pump=StationLink(station), journal=MemoryJournalStore()))


class OverTcp(Ours):
    """Both ends in this process, TCP over the loopback."""

    async def open(self) -> None:
        """Listen, connect, open a session."""
        station, clock = make_station()
        self._held.push_async_callback(station.close)
        listener = await listen("tcp://127.0.0.1:0", station.accept, clock=clock)
        self._held.push_async_callback(listener.close)
        await self._use(telemetry.connect(listener.url, journal=MemoryJournalStore()))


class OverPtyHere(Ours):
    """Both ends in this process, a pseudo-terminal between them."""

    async def open(self) -> None:
        """Listen, connect, open a session."""
        station, clock = make_station()
        self._held.push_async_callback(station.close)
        listener = await listen("pty:", station.accept, clock=clock)
        self._held.push_async_callback(listener.close)
        await self._use(telemetry.connect(serial_url(listener.url), journal=MemoryJournalStore()))


class OverPty(Ours):
    """The simulator in a second process, a pseudo-terminal between them, pyserial at our end."""

    async def open(self) -> None:
        """Start the simulator, connect, open a session."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.serve", "pump", stdout=asyncio.subprocess.PIPE
        )
        self._held.push_async_callback(ended, process)
        url = await first_line(process)
        await self._use(telemetry.connect(serial_url(url), journal=MemoryJournalStore()))


def serial_url(listener_url: str) -> str:
    """How a client reaches a pty listener: as the serial port that it looks like."""
    return listener_url.replace("pty:", "serial:", 1)


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What a server process says first: where it is. Raises ``RuntimeError`` when it ends instead."""
    if process.stdout is None:
        raise RuntimeError("the server was started without a pipe")
    line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise RuntimeError(f"the server ended with status {await process.wait()} before it said where it listens")
    return line


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a server process and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.communicate()

"""bluezoo, a stand-in for BlueZ, as a process on a D-Bus of its own: two adapters, no radio, no rights needed.

bluezoo is under GPL-2.0-only: it is started as a program of its own and nothing of ours imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from tests.support.skips import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CENTRAL = "00:00:00:00:00:01"
PERIPHERAL = "00:00:00:00:00:02"
_READY_LIMIT_S = 15
_END_LIMIT_S = 5
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>
"""


@contextlib.asynccontextmanager
async def bluezoo(place: Path) -> AsyncIterator[str]:
    """Run a bus and bluezoo with two powered adapters, hci0 and hci1; gives the address of the bus.

    Skips with the reason where a program is missing, and fails instead with CI=true. ``place`` is an empty folder
    whose path is short enough for a socket.
    """
    daemon = shutil.which("dbus-daemon") or skip_or_fail("no dbus-daemon; install it with: sudo apt-get install dbus")
    program = Path(sys.executable).with_name("bluezoo")
    if not program.exists():
        skip_or_fail(f"no {program}; install it with: make test, or pip install 'itb-telemetry[dev]'")
    socket = place / "bus"
    (place / "bus.conf").write_text(_BUS.format(socket=socket), encoding="utf-8")
    address = f"unix:path={socket}"
    async with (
        _process(
            place / "bus.log", {}, daemon, f"--config-file={place / 'bus.conf'}", "--nofork", "--nopidfile"
        ) as bus,
        _process(
            place / "bluezoo.log",
            {"DBUS_SYSTEM_BUS_ADDRESS": address},
            *("sh", "-c", 'until [ -S "$1" ]; do sleep 0.05; done; shift; exec "$@"', "sh", str(socket)),
            *(str(program), "--auto-enable", "--scan-interval", "1", "-a", CENTRAL, "-a", PERIPHERAL),
        ) as service,
    ):
        await _until_ready(address, bus, service, place)
        yield address


@contextlib.asynccontextmanager
async def _process(
    log: Path, environment: dict[str, str], program: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env={"PATH": "/usr/bin:/bin", "HOME": str(log.parent), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                async with asyncio.timeout(_END_LIMIT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_ready(
    address: str, bus: asyncio.subprocess.Process, service: asyncio.subprocess.Process, place: Path
) -> None:
    """Wait until both adapters are there; fails with the logs when a process ends or time runs out."""
    try:
        async with asyncio.timeout(_READY_LIMIT_S):
            while not await _adapters_powered(address):
                if bus.returncode is not None or service.returncode is not None:
                    break
                await asyncio.sleep(0.05)
            else:
                return
    except TimeoutError:
        pass
    pytest.fail(f"bluezoo did not come up within {_READY_LIMIT_S} s:\n{_logs(place)}", pytrace=False)


def _logs(place: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(place.glob("*.log")))


async def _adapters_powered(address: str) -> bool:
    try:
        bus = await MessageBus(bus_address=address).connect()
    except OSError:
        return False  # the bus is not up yet
    try:
        reply = await bus.call(
            Message(
                destination="org.bluez",
                path="/",
                interface="org.freedesktop.DBus.ObjectManager",
                member="GetManagedObjects",
            )
        )
        if reply.message_type is MessageType.ERROR:
            return False
        adapters = [shown["org.bluez.Adapter1"] for shown in reply.body[0].values() if "org.bluez.Adapter1" in shown]
        return len(adapters) == 2 and all(adapter["Powered"].value for adapter in adapters)
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

"""``telemetry scan``: which telemeters are in Bluetooth range."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.options import NumberRange
from telemetry.cli.output import SIMULATED, console, emit, facts, note, table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rich.table import Table

    from telemetry.transport.ble_scan import Sighting

_REDRAWS_PER_S = 4
_EPILOG = """\b
Examples:
  telemetry scan
  telemetry scan --timeout 20 --adapter hci1
  telemetry scan --json
then: telemetry read "ble://?name=SIM-0001"
Exit status 3 where there is no Bluetooth; 'telemetry doctor' tells why.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--timeout",
    "seconds",
    type=NumberRange(0.1, 600),
    default=5,
    show_default=True,
    metavar="S",
    help="Seconds to listen.",
)
@click.option("--adapter", metavar="NAME", help="Bluetooth adapter to listen with, as BlueZ names it (hci0).")
@json_option
def command(seconds: float, adapter: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show the telemeters in Bluetooth range: address, name, signal, version of their service.

    SIMULATED stands beside the name of a virtual telemeter. A telemeter that is connected to another host may not
    be seen: many advertise only while they are free.
    """
    from telemetry.transport.ble_scan import ranked, scan  # noqa: PLC0415 - --help must not wait for it

    if as_json:
        found = asyncio.run(scan(seconds, adapter=adapter))
        telemeters = [one for one in found if one.service_version is not None]
        emit({"telemeters": [facts(one) for one in telemeters], "other_devices": len(found) - len(telemeters)})
        return
    note(f"Listening for {seconds:g} s.")
    with contextlib.ExitStack() as stack:
        show = _live(stack)
        seen: dict[str, Sighting] = {}

        def saw(sighting: Sighting) -> None:
            seen[sighting.address] = sighting
            show(ranked(seen.values()))

        found = asyncio.run(scan(seconds, on_sighting=saw, adapter=adapter))
    screen = console()
    others = sum(one.service_version is None for one in found)
    if others < len(found) and not screen.is_terminal:
        screen.print(_table(found))
    if others == len(found):
        note(
            f"No telemeter within {seconds:g} s (other devices: {others}). Is it switched on, in range and not "
            f"connected to another host? A virtual one is served by: telemetry sim --listen ble+usb:0"
        )
    elif others:
        note(f"Other Bluetooth devices in range: {others}.")


def _live(stack: contextlib.ExitStack) -> Callable[[Collection[Sighting]], None]:
    """Show a table that follows the scan, on a terminal; elsewhere nothing, until the end."""
    from rich.live import Live  # noqa: PLC0415 - with --json nothing of rich is needed

    screen = console()
    begun: list[Live] = []

    def show(sightings: Collection[Sighting]) -> None:
        if not begun:
            begun.append(stack.enter_context(Live(console=screen, refresh_per_second=_REDRAWS_PER_S)))
        begun[0].update(_table(sightings))

    return show if screen.is_terminal else lambda _sightings: None


def _table(sightings: Collection[Sighting]) -> Table:
    from rich.text import Text  # noqa: PLC0415 - as above

    from telemetry.transport.ble_gatt import SERVICE_VERSION  # noqa: PLC0415 - as above

    shown = table("Telemeters in Bluetooth range", "name", "", "address", "signal", "service")
    for one in sightings:
        if one.service_version is None:
            continue
        fits = one.service_version == SERVICE_VERSION
        version = f"version {one.service_version}" + ("" if fits else f", unknown here (known: {SERVICE_VERSION})")
        shown.add_row(
            Text(one.name or "without a name"),  # what a stranger advertises is no markup
            SIMULATED if one.simulated else "",
            one.address,
            f"{one.rssi_dbm} dBm",
            Text(version, style="" if fits else "yellow"),
        )
    return shown

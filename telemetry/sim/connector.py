"""The ``sim:`` scheme: a virtual telemeter and pump in this process.

Reached through the entry-point group ``telemetry.transports``, like a third party's transport. A URL names one
world per clock: opening it again on the same clock finds the same pump.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from telemetry.errors import UsageError
from telemetry.sim.nearfield import PPM, NearFieldSettings
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.memory import open_memory
from telemetry.units import Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.url import TransportURL

_PARAMETERS = (
    "profile",
    "seed",
    "age",
    "fill",
    "concentration",
    "rate_error_ppm",
    "serial",
    "loss_ppm",
    "delay_ms",
    "bits_per_s",
    "contact",
)
_LARGEST_SEED = (1 << 63) - 1
_LONGEST_DELAY_MS = 60_000
_FASTEST_AIR = 100_000_000

_STATIONS: WeakKeyDictionary[object, dict[str, Station]] = WeakKeyDictionary()
"""The worlds of each clock, by URL; they go when the clock goes."""


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open a link to the virtual telemeter that ``url`` describes; raises ``UsageError`` for a wrong parameter."""
    worlds = _STATIONS.setdefault(clock, {})
    station = worlds.get(url.text)
    if station is None:
        station = worlds[url.text] = _station(url, clock)
    return _link(station, receiver, url.text)


async def connect_pump(pump: VirtualPump, receiver: Receiver) -> Transport:
    """Open a link to a telemeter over a pump that the caller has already."""
    worlds = _STATIONS.setdefault(pump.clock, {})
    key = f"pump {id(pump)}"
    station = worlds.get(key)
    if station is None or station.pump is not pump:
        station = worlds[key] = Station(pump, entropy=entropy_of(pump.seed), seed=pump.seed or 0)
    return _link(station, receiver, "sim:")


def entropy_of(seed: int | None) -> Callable[[int], bytes]:
    """Random bytes for the pump's handshakes: repeatable with a seed, the system's without."""
    return os.urandom if seed is None else Random(seed).randbytes  # noqa: S311 - repeatable on purpose


def _link(station: Station, receiver: Receiver, url: str) -> Transport:
    return open_memory(receiver, station.accept, clock=station.clock, url=url)


def _station(url: TransportURL, clock: Clock) -> Station:
    if url.address:
        raise UsageError(f"{url.text}: sim: takes no address, only parameters, such as sim:?profile=itb-20&seed=7")
    url.allow(*_PARAMETERS)
    params = url.params
    overrides: dict[str, object] = {}
    if "fill" in params:
        overrides["fill"] = Volume.parse(params["fill"])
    if "concentration" in params:
        overrides["concentration"] = Concentration.parse(params["concentration"])
    if "rate_error_ppm" in params:
        overrides["rate_error_ppm"] = url.optional_integer("rate_error_ppm", low=0, high=PPM)
    for name in ("age", "serial"):
        if name in params:
            overrides[name] = params[name]
    seed = url.integer("seed", 0, low=0, high=_LARGEST_SEED)
    pump = VirtualPump(params.get("profile", "itb-40"), seed=seed, clock=clock, **overrides)
    near_field = NearFieldSettings(
        loss_ppm=url.integer("loss_ppm", 0, low=0, high=PPM),
        delay_ms=url.integer("delay_ms", 0, low=0, high=_LONGEST_DELAY_MS),
        bits_per_s=url.integer("bits_per_s", 0, low=0, high=_FASTEST_AIR),
    )
    station = Station(pump, entropy=entropy_of(seed), near_field=near_field, seed=seed)
    if not url.switch("contact", default=True):
        station.telemeter.lift()
    return station

"""The ``sim:`` scheme: a virtual telemeter and pump in this process.

Reached through the entry-point group ``telemetry.transports``, like a third party's transport. A URL names one
world per clock: opening it again on the same clock finds the same pump.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any

from telemetry.clock import ManualClock, host_utc_s
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


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open a link to the virtual telemeter that ``url`` describes; raises ``UsageError`` for a wrong parameter."""
    station = clock.companions.get(url.text)
    if not isinstance(station, Station):
        station = clock.companions[url.text] = _station(url, clock)
    return _link(station, receiver, url.text)


async def connect_pump(pump: VirtualPump, receiver: Receiver) -> Transport:
    """Open a link to a telemeter over a pump that the caller has already."""
    return _link(station_of(pump), receiver, "sim:")


def pump_of(url: TransportURL, clock: Clock) -> VirtualPump:
    """The pump that ``url`` describes, new and without a link; raises ``UsageError`` for a wrong parameter."""
    return _station(url, clock).pump


def station_of(pump: VirtualPump) -> Station:
    """The telemeter that lies over this pump in this process, made when first asked for."""
    key = f"pump {id(pump)}"
    station = pump.clock.companions.get(key)
    if not isinstance(station, Station) or station.pump is not pump:
        station = pump.clock.companions[key] = Station(pump, entropy=entropy_of(pump.seed), seed=pump.seed or 0)
    return station


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
    overrides: dict[str, Any] = {}
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
    if not isinstance(clock, ManualClock):
        overrides["epoch_utc_s"] = host_utc_s()
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

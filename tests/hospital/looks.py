"""Looks at virtual pumps, as the views are given them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import telemetry
from telemetry.interrogation import Interrogation

if TYPE_CHECKING:
    from telemetry import VirtualPump

POLL_MS = 5_000


async def look(pump: VirtualPump, *, read_utc_ms: int | None = None, since: int = 0) -> Interrogation:
    """One reading through the driver, stamped with the pump's own calendar unless told otherwise."""
    async with telemetry.connect(pump=pump, role="observer") as programmer:
        epoch_ms = (await programmer.read_identity()).epoch_utc_s * 1_000
        stamp = epoch_ms + pump.now_ms if read_utc_ms is None else read_utc_ms
        async for sighting in programmer.follow(POLL_MS, since=since, utc_ms=lambda: stamp):
            assert isinstance(sighting, Interrogation), sighting
            return sighting
    raise AssertionError("follow ended by itself")

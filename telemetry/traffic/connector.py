"""The ``replay:`` scheme: a capture played back as the device, in this process.

``replay:FILE[?speed=max][&strict=no][&link=N][&report=FILE.json]``, reached through the entry-point group
``telemetry.transports``. A URL names one playing per clock: opening it again on the same clock goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.errors import LinkOpenError, UsageError
from telemetry.traffic.replaying_device import ReplayedPump
from telemetry.traffic.replaying_script import script_of
from telemetry.transport.capture import read_capture, refuse_capture
from telemetry.transport.memory import open_memory

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.errors import LinkClosedError
    from telemetry.traffic.differing import Difference
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.url import TransportURL

AS_FAST_AS_CAN_BE = "max"
_LOWEST_SPEED, _HIGHEST_SPEED = 1, 1_000_000
_MOST_LINKS = 1_000_000


async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Open a link to the telemeter of a capture.

    Raises ``UsageError`` for a file that cannot be played or a wrong parameter.
    """
    playing = clock.companions.get(url.text)
    if not isinstance(playing, _Playing):
        playing = clock.companions[url.text] = _Playing(url, clock)
    return open_memory(receiver, playing.accept, clock=clock, url=url.text)


def speed_of(text: str, what: str) -> float | None:
    """A speed: a number from 1 to 1 000 000, or ``max`` (None). Raises ``UsageError`` naming ``what``."""
    if text == AS_FAST_AS_CAN_BE:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not _LOWEST_SPEED <= speed <= _HIGHEST_SPEED:
        raise UsageError(
            f"{what}: {text!r} is no number from {_LOWEST_SPEED} to {_HIGHEST_SPEED}, nor {AS_FAST_AS_CAN_BE!r}; "
            "slower than recorded is not possible, since sessions time out"
        )
    return speed


class _Playing:
    """A replayed pump, and the report of what differed, written anew whenever a link ends."""

    def __init__(self, url: TransportURL, clock: Clock) -> None:
        url.allow("speed", "strict", "link", "report")
        if not url.address:
            raise UsageError(f"{url.text}: which capture? right would be replay:visit.telcap")
        self._report = Path(url.params["report"]) if "report" in url.params else None
        link = url.optional_integer("link", low=1, high=_MOST_LINKS) if "link" in url.params else None
        if self._report is not None:
            refuse_capture(self._report, "report")
        speed = speed_of(url.params.get("speed", AS_FAST_AS_CAN_BE), f"{url.text}: speed")
        self.pump = ReplayedPump(
            script_of(read_capture(Path(url.address)), url.address, link=link),
            clock,
            entropy=os.urandom,
            speed=speed,
            strict=url.switch("strict", default=False),
        )
        self.write()

    def accept(self, transport: Transport) -> Receiver:
        return _Reporting(self.pump.accept(transport), self)

    def write(self) -> None:
        """Write the report, where one is asked for; raises ``LinkOpenError``."""
        if self._report is None:
            return
        try:
            self._report.write_text(json.dumps(as_json(self.pump), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise LinkOpenError(f"report {self._report}: it cannot be written: {error.strerror}") from error


class _Reporting:
    """Passes everything on, and has the report written when the link is gone."""

    def __init__(self, receiver: Receiver, playing: _Playing) -> None:
        self._receiver = receiver
        self._playing = playing

    def data_received(self, data: bytes) -> None:
        self._receiver.data_received(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self._receiver.connection_lost(reason)
        try:
            self._playing.write()
        except LinkOpenError as error:  # it could be written when the link was opened: nobody is there to be told now
            asyncio.get_running_loop().call_exception_handler({"message": str(error), "exception": error})


def as_json(pump: ReplayedPump) -> dict[str, object]:
    """What a playing has come to, for programs."""
    missing = pump.missing()
    found: list[Difference] = [*pump.found, *missing]
    return {
        "simulated": True,
        "capture": pump.script.source,
        "as": "device",
        "exchanges": len(pump.script.exchanges),
        "played": pump.played,
        "differing": pump.differing + len(missing),
        "differences": [one.as_json() for one in found],
        "told": [str(one) for one in found],
    }

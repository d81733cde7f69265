"""The reference tablet's end of its link: what it can lose when its power goes, and when its COMMIT has left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from telemetry.transport.faults import Direction, FaultPlan

if TYPE_CHECKING:
    from telemetry.programmer.opening import LinkedPump
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.faults import Passage

_COMMIT = "Commit"


class Outgoing(FaultPlan):
    """Harms nothing; tells when a COMMIT leaves."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Future[None] | None = None

    def next_commit(self) -> asyncio.Future[None]:
        """Done as soon as the next COMMIT leaves."""
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def touches(self, direction: Direction) -> bool:
        """What leaves is looked at."""
        return direction is Direction.TX

    def apply(self, direction: Direction, frame: bytes, frame_type: str | None, now_ms: int) -> list[Passage]:
        """Let it pass."""
        if frame_type == _COMMIT and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        return super().apply(direction, frame, frame_type, now_ms)


class Socket:
    """A ``LinkedPump`` whose links can be cut as a power cut does: nothing is said, the other end sees it gone."""

    def __init__(self, place: LinkedPump) -> None:
        self.clock = place.clock
        self.outgoing = Outgoing()
        self._place = place
        self._transports: list[Transport] = []

    async def open_link(self, receiver: Receiver) -> Transport:
        """Open a link to whatever lies under the telemeter."""
        transport = await self._place.open_link(receiver)
        self._transports.append(transport)
        return transport

    async def cut(self) -> None:
        """Every link is gone."""
        transports, self._transports = self._transports, []
        for transport in transports:
            await transport.close()


__all__ = ["Outgoing", "Socket"]

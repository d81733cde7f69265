"""A link whose loss is announced late, or early: releasing a port can take longer than opening the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import VirtualPump
from telemetry.errors import LinkClosedError
from telemetry.transport.wrappers import Wrapper
from tests.support.turns import turns

if TYPE_CHECKING:
    from telemetry.programmer import Programmer
    from telemetry.transport.base import Receiver, Transport


class Lingering(Wrapper):
    """Can break, whereupon it takes nothing more, and says so in its own time."""

    broken = False

    def write(self, data: bytes) -> None:
        if self.broken:
            raise LinkClosedError("the port vanished")
        super().write(data)


class Openings:
    """What the driver opened, the first so many of them lost before they were open."""

    def __init__(self, pump: VirtualPump, still_born: int = 0) -> None:
        self.links: list[Lingering] = []
        self._pump = pump
        self._still_born = still_born

    async def open(self, receiver: Receiver) -> Transport:
        link = Lingering()
        link.bind(receiver)
        link.attach(await self._pump.open_link(link))
        self.links.append(link)
        if len(self.links) <= self._still_born:
            await link.close()
            await turns(4)
        return link

    def serve(self, programmer: Programmer) -> None:
        programmer._connection._opener = self.open


async def test_news_of_an_earlier_link_does_not_end_the_present_one() -> None:
    pump = VirtualPump(seed=5)
    openings = Openings(pump)
    async with telemetry.connect(pump=pump) as programmer:
        openings.serve(programmer)
        await programmer.read_status()
        openings.links[0].broken = True
        assert await programmer.read_status() == pump.status  # over a second link
        openings.links[0].connection_lost(LinkClosedError("the port vanished"))
        await turns(4)
        assert await programmer.read_status() == pump.status
        assert len(openings.links) == 2
        await openings.links[0].close()


async def test_a_link_that_is_lost_before_it_is_open_is_a_closed_one_and_the_next_call_opens_another() -> None:
    pump = VirtualPump(seed=5)
    openings = Openings(pump, still_born=1)
    async with telemetry.connect(pump=pump) as programmer:
        openings.serve(programmer)
        with pytest.raises(LinkClosedError, match="closed"):
            await programmer.read_status()
        assert await programmer.read_status() == pump.status
        assert len(openings.links) == 2

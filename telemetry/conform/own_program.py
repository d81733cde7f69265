"""The reference tablet as a program of its own: ``python -m telemetry.conform.own_program``, for ``--operator``.

It reads acts and writes answers as ``piping.py`` has them, and connects to the URL that the kit tells it, on the host's
clock. It shows what an operator program looks like, and that the kit sees no more of a tablet than its link and screen.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from telemetry.clock import SystemClock
from telemetry.conform.asking import Lines
from telemetry.conform.operator import Act, ActKind
from telemetry.conform.own import Tablet
from telemetry.transport.registry import open_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.operator import Operator
    from telemetry.transport.base import Receiver, Transport

_WAITS_MS = 86_400_000
"""A day: a kit that says nothing for so long has gone without closing the pipe."""


class UrlPlace:
    """A telemeter at a URL, as ``Tablet`` wants its place."""

    def __init__(self, url: str) -> None:
        self.clock = SystemClock()
        self.url = url

    async def open_link(self, receiver: Receiver) -> Transport:
        """Open the URL."""
        return await open_transport(self.url, receiver, clock=self.clock)


def own_tablet(link: str) -> Operator:
    """The reference tablet at this URL."""
    return Tablet(UrlPlace(link))


async def operate(make: Callable[[str], Operator] = own_tablet) -> None:
    """Do what the kit says until it says bye, or its pipe ends; ``make`` gives the equipment for the kit's link."""
    lines, clock = Lines(sys.stdin.fileno()), SystemClock()
    tablet: Operator | None = None
    try:
        while (line := await lines.line(clock, clock.link_ms() + _WAITS_MS)) is not None:
            said: dict[str, Any] = json.loads(line)
            if "kit" in said:
                tablet = make(said["link"])
            elif "bye" in said:
                break
            elif tablet is not None:
                await _obey(tablet, said)
    finally:
        lines.close()
        if tablet is not None:
            await tablet.close()


async def _obey(tablet: Operator, said: dict[str, Any]) -> None:
    if "begin" in said:
        await tablet.begin(said["begin"], said["title"])
    elif "end" in said:
        await tablet.end(said["end"], said["verdict"])
    elif "act" in said:
        act = said["act"]
        answer = await tablet.do(Act(ActKind(act["kind"]), act["field"], act["text"], act["ms"]))
        reply = {"number": act["number"], "answer": answer.kind.value, "text": answer.text}
        sys.stdout.write(json.dumps(reply, ensure_ascii=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(operate())

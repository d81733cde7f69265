"""Waiting for a person, a clock or an event: what commands do that serve something until they are told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.clock import Clock


@contextlib.contextmanager
def told_to_end() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set meanwhile, instead of what they do otherwise."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def first_of(*events: asyncio.Event, clock: Clock, seconds: float | None) -> None:
    """Wait for one of the events, so many seconds of the clock's link time at most."""
    over = asyncio.Event()
    waiting = [asyncio.ensure_future(event.wait()) for event in (*events, over)]
    due_ms = None if seconds is None else clock.link_ms() + round(seconds * MS_PER_SECOND)
    cancel = None if due_ms is None else clock.call_at(due_ms, over.set)
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if cancel is not None:
            cancel()
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)

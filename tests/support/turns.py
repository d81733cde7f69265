"""Waiting in the virtual lane: turns of the loop, never time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 100_000


async def turns(count: int) -> None:
    """Let everything that is ready run, this many times over."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Run the loop until the condition holds; fails the test when it never does."""
    for _ in range(_PATIENCE):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the condition did not hold after {_PATIENCE} turns of the loop")

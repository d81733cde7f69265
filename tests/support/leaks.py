"""What a test may not leave behind: tasks, threads, file descriptors, child processes.

Read straight from the operating system, so that a leak inside a vendor's library counts like one of ours.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.virtual_loop import describe_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

# A thread that has been told to stop needs a moment of the scheduler's to be gone.
THREAD_GRACE_S = 0.5


def open_descriptors() -> dict[int, str]:
    """Every open descriptor of this process with what it points at."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are enough, and this runs around every test
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - targets like socket:[7] are no paths
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def child_processes() -> dict[int, str]:
    """Every child of this process, unreaped ones included, with its command line."""
    children: dict[int, str] = {}
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208 - as above
        try:
            listed = Path(f"/proc/self/task/{task}/children").read_text(encoding="ascii").split()
        except OSError:
            continue  # a thread that has just ended
        for pid in map(int, listed):
            children[pid] = _command(pid) or "ended, but never waited for"
    return children


@dataclass(frozen=True)
class Snapshot:
    """What the process holds at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: dict[int, str]
    children: dict[int, str]

    @classmethod
    def take(cls) -> Snapshot:
        """Look now."""
        return cls(frozenset(threading.enumerate()), open_descriptors(), child_processes())

    def leaks(self) -> list[str]:
        """Name everything that this process holds now and did not hold then."""
        found = list(self._leaks())
        if found:
            # A reference cycle may still hold what its owner has already dropped; that is untidy, but no leak.
            gc.collect()
            found = list(self._leaks())
        return found

    def _leaks(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if thread not in self.threads:
                thread.join(THREAD_GRACE_S)
                if thread.is_alive():
                    yield f"thread {thread.name!r}"
        for pid, command in child_processes().items():
            if pid not in self.children:
                yield f"child process {pid}: {command}"
        for number, target in open_descriptors().items():
            if self.descriptors.get(number) != target:
                yield f"file descriptor {number} -> {target}"


async def settle() -> None:
    """Let what has been cancelled or closed run its last callbacks, and end the loop's own worker threads."""
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.get_running_loop().shutdown_default_executor()


def leaked_tasks() -> list[str]:
    """Name every unfinished task of the running loop but the one that asks."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    waiting = describe_waiting(loop).splitlines()
    names = {task.get_name() for task in others}
    return [f"task {line.strip()}" for line in waiting if line.strip().partition(": ")[0] in names]

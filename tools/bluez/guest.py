"""Inside the emulated machine: run the scenario, report each step, say why when one fails.

Started by the job script (``tools/bluez/run.py``) with the host's own Python. Imports nothing heavy itself, so that
loading the libraries is a step of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bluez.steps import DONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BLEAKS_OWN = "BlueZManager."
"""bleak keeps one connection to D-Bus and its watcher for as long as the process lives."""
_SHOWN = 3


class Reporter:
    """Writes one JSON object a line to the host's channel, and to the console for whoever reads its log."""

    def __init__(self, channel: Path) -> None:
        self._channel = channel
        self._begun = time.monotonic()

    @contextlib.asynccontextmanager
    async def step(self, name: str, *, limit_s: float) -> AsyncIterator[dict[str, object]]:
        """Run a step within ``limit_s`` seconds; what is put into the dictionary is reported with it."""
        facts: dict[str, object] = {}
        begun = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                yield facts
        except Exception as error:
            late = isinstance(error, TimeoutError) and time.monotonic() - begun >= limit_s
            why = f"not done within {limit_s:g} s" if late else f"{type(error).__name__}: {error}"
            self.say({"step": name, "ok": False, "error": why, **facts})
            raise
        self.say({"step": name, "ok": True, "took_s": round(time.monotonic() - begun, 3), **facts})

    def say(self, report: dict[str, object]) -> None:
        """Send a report; ``at_s`` counts from the start of this program."""
        line = json.dumps({"at_s": round(time.monotonic() - self._begun, 3), **report}) + "\n"
        with self._channel.open("a", encoding="utf-8") as channel:
            channel.write(line)
        print(f"GUEST: {line}", end="", flush=True)


async def main(channel: Path) -> int:
    """Run everything; the exit status is 1 when a step failed, and the traceback is on the console."""
    reporter = Reporter(channel)
    try:
        async with reporter.step("boot", limit_s=10) as facts:
            facts["guest_clock_s"] = round(time.clock_gettime(time.CLOCK_BOOTTIME), 2)
            facts["kernel"] = platform.release()
        async with reporter.step("libraries", limit_s=90):
            scenario = import_module("tools.bluez.scenario")
        await scenario.play(reporter)
    except Exception:  # noqa: BLE001 - whatever it is, the host is to see it
        traceback.print_exc()
        return 1
    left = [name for task in asyncio.all_tasks() - {asyncio.current_task()} if _BLEAKS_OWN not in (name := repr(task))]
    reporter.say({"step": DONE, "ok": True, "tasks_left": len(left), "tasks": left[:_SHOWN]})
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))

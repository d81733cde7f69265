"""Kill a simulator at random moments of a set-rate; after its restart the driver must say what the pump did.

Each run starts ``telemetry sim --state`` in a process of its own, lets the driver change the rate over TCP, kills the
simulator (SIGKILL) at a random moment of that, starts it again and lets the driver make contact. What the driver said
(a ``Change``, ``Refused``, ``LinkError``, or ``OutcomeUnknown`` and then the outcome it found) is held against the
program in the pump. Prints the counts; exit status 1 when a single run disagrees.

usage: tools/kill_campaign.py [--runs 200] [--seed N] [--output benchmarks/results/kill_campaign.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import telemetry
from telemetry import FlowRate, LinkError, OutcomeUnknown, Programmer, Refused, SystemClock
from telemetry.model import Verdict

RATES = (170_000, 200_000)
"""nl/day; either is within the soft limit of the other, so that nothing but the kill can stand in the way."""
_TIMED = 5
_BEYOND = 1.25
"""Kills are spread evenly over this many times the median duration of a set-rate, so that some come after it."""


@dataclass
class Run:
    """One run: when the kill came, what the driver said at once and afterwards, what the pump had done."""

    killed_after_ms: float
    said: str
    resolved: str
    applied: bool
    agrees: bool


class Campaign:
    """One pump in one state file, killed again and again, and one driver with one journal."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    async def start(self) -> None:
        """Start the simulator and wait until it is there."""
        command = [sys.executable, "-m", "telemetry", "sim", "--json", "--listen", "tcp://127.0.0.1:0"]
        command += ["--control", "none", "--state", str(self.folder / "pump.json")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing else runs
        if self.process.stdout is None:
            raise RuntimeError("the simulator was started without a pipe")
        self.url = json.loads(self.process.stdout.readline())["urls"][0]

    def strike(self) -> None:
        """Send SIGKILL and wait for nothing."""
        if self.process is not None:
            self.process.kill()

    def kill(self) -> None:
        """Make sure that it is dead."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def connect(self) -> telemetry.programmer.Connecting:
        """A driver that remembers what the last one did."""
        return telemetry.connect(self.url, clock=SystemClock(), journal=self.folder / "journal")

    async def typical_ms(self) -> float:
        """Median duration of an undisturbed set-rate of a fresh simulator, connection included."""
        took = []
        for _ in range(_TIMED):
            await self.start()
            wanted = await self.other_rate()
            began = time.perf_counter()
            async with self.connect() as programmer:
                await programmer.set_rate(FlowRate(wanted))
                took.append((time.perf_counter() - began) * 1_000)
            self.kill()
        return statistics.median(took)

    async def other_rate(self) -> int:
        """The rate that the pump does not have now."""
        async with self.connect() as programmer:
            now = (await programmer.read_status()).rate_nl_per_day
        return RATES[1] if now == RATES[0] else RATES[0]

    async def run(self, within_ms: float) -> Run:
        """One run; raises nothing that the driver is allowed to raise."""
        await self.start()
        wanted = await self.other_rate()
        delay_ms = self.random.uniform(0, within_ms)
        strike = asyncio.get_running_loop().call_later(delay_ms / 1_000, self.strike)
        async with self.connect() as programmer:
            said = await _attempt(programmer, wanted)
        strike.cancel()  # what is over early is killed now, and not its successor later
        self.kill()
        await self.start()
        async with self.connect() as programmer:
            after = (await programmer.read_status()).rate_nl_per_day
            found = [outcome.verdict for outcome in programmer.resolved]
        self.kill()
        applied = after == wanted
        return Run(delay_ms, said, ",".join(found), applied, _agrees(said, found, applied=applied))


async def _attempt(programmer: Programmer, wanted: int) -> str:
    try:
        await programmer.set_rate(FlowRate(wanted))
    except Refused:
        return "refused"
    except OutcomeUnknown:
        return "outcome_unknown"
    except LinkError:
        return "link_error"
    return "applied"


def _agrees(said: str, found: list[Verdict], *, applied: bool) -> bool:
    if said == "outcome_unknown":
        return len(found) == 1 and (found[0] is Verdict.APPLIED) == applied and found[0] is not Verdict.FORGOTTEN
    return not found and applied == (said == "applied")


async def campaign(runs: int, seed: int, folder: Path) -> dict[str, object]:
    """The whole campaign; returns what ``--output`` stores."""
    made = Campaign(folder, seed)
    try:
        typical_ms = await made.typical_ms()
        done = [await made.run(typical_ms * _BEYOND) for _ in range(runs)]
    finally:
        made.kill()
    return {
        "what": "kill -9 of the simulator at random moments of a set-rate over TCP loopback, state on disk",
        "runs": runs,
        "seed": seed,
        "python": platform.python_version(),
        "telemetry": telemetry.__version__,
        "set_rate_median_ms": round(typical_ms, 2),
        "said": dict(Counter(run.said for run in done)),
        "resolved": dict(Counter(run.resolved for run in done if run.said == "outcome_unknown")),
        "applied": sum(run.applied for run in done),
        "disagreements": [asdict(run) for run in done if not run.agrees],
    }


def main() -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(campaign(options.runs, options.seed, Path(folder)))
    text = json.dumps(found, indent=2)
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", encoding="utf-8")
    return 1 if found["disagreements"] else 0


if __name__ == "__main__":
    sys.exit(main())

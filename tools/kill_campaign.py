"""Kill a simulator at random moments of a change; after its restart the driver must say what the pump did.

Each run starts ``telemetry sim --state`` in a process of its own, lets the driver change the rate, give a bolus or tell
a refill with another concentration and a bridge over TCP, kills the simulator (SIGKILL) at a random moment of that,
starts it again and lets the driver make contact. What the driver said (a ``Change``, ``Refused``, ``LinkError``, or
``OutcomeUnknown`` and then the outcome it found) is held against the pump's log and its status: done once and whole, or
not at all. Prints the counts; exit status 1 when a single run disagrees.

usage: tools/kill_campaign.py [--runs 60] [--seed N] [--output benchmarks/results/kill_campaign.json]
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
from typing import TYPE_CHECKING

import telemetry
from telemetry import DailyDose, LinkError, OutcomeUnknown, Programmer, Refused, SystemClock, Therapy, Volume
from telemetry.model import Activity, LogCode, OperationKind, Verdict, Warn
from telemetry.therapy import ProgramBridge
from telemetry.units import Concentration, Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from telemetry.model import PumpStatus

DOSES = (DailyDose(340_000), DailyDose(400_000))
"""Either is within the soft limit of the other, so that nothing but the kill can stand in the way."""
STRENGTHS = (1_000_000, 2_000_000)
"""ng/ml, in turns."""
_FILL = Volume(18_000_000)
_BOLUS, _BOLUS_TAKES = Volume(200), Duration(1_000)
_BRIDGE_NL, _BRIDGE_NL_PER_DAY = 200, 20_000_000
"""Over in a second, as the bolus is: nothing then stands in the way of the next run."""
_EFFECTS = {
    OperationKind.PROGRAM: LogCode.PROGRAM_COMMITTED,
    OperationKind.BOLUS: LogCode.BOLUS_STARTED,
    OperationKind.REFILL: LogCode.REFILLED,
}
_TIMED = 3
_BEYOND = 1.25
"""Kills are spread evenly over this many times the median duration of a change, so that some come after it."""


@dataclass(frozen=True)
class Seen:
    """What a contact read: how often the log says each effect happened, and the pump's status."""

    effects: dict[OperationKind, int]
    bridges: int
    status: PumpStatus

    @classmethod
    async def by(cls, programmer: Programmer) -> Seen:
        """Read it, once nothing runs on top of the program: a killed pump goes on where it was saved last."""
        status = await programmer.read_status()
        while status.activity is not Activity.NONE:
            await asyncio.sleep(_BOLUS_TAKES.ms / 1_000)
            status = await programmer.read_status()
        codes = Counter(line.code for line in (await programmer.read_log()).records)
        effects = {kind: codes[code] for kind, code in _EFFECTS.items()}
        effects[OperationKind.PROGRAM] -= effects[OperationKind.REFILL]
        return cls(effects, codes[LogCode.BRIDGE_STARTED], status)


@dataclass
class Run:
    """One run: what was asked, when the kill came, what the driver said then and later, how often the pump did it."""

    kind: str
    killed_after_ms: float
    said: str
    resolved: str
    effects: int
    whole: bool
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
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator ended with status {self.process.wait()} before it said where it listens")
        self.url = json.loads(line)["urls"][0]

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

    async def look(self) -> tuple[Seen, list[Verdict]]:
        """Contact with a simulator that nobody kills: what it did, and what the driver finds out about the last run."""
        try:
            async with self.connect() as programmer:
                return await Seen.by(programmer), [outcome.verdict for outcome in programmer.resolved]
        except LinkError as error:
            ended = None if self.process is None else self.process.poll()
            raise RuntimeError(f"{error}; exit status of the simulator, which nobody killed: {ended}") from error

    async def typical_ms(self, kind: OperationKind, times: int) -> float:
        """Median duration of an undisturbed change of this kind by a fresh simulator, connection included."""
        took = []
        for _ in range(times):
            await self.start()
            change = _change(kind, (await self.look())[0].status)
            began = time.perf_counter()
            async with self.connect() as programmer:
                await change(programmer)
                took.append((time.perf_counter() - began) * 1_000)
            self.kill()
        return statistics.median(took)

    async def run(self, kind: OperationKind, within_ms: float) -> Run:
        """One run; raises nothing that the driver is allowed to raise."""
        await self.start()
        before, _ = await self.look()
        change = _change(kind, before.status)
        delay_ms = self.random.uniform(0, within_ms)
        strike = asyncio.get_running_loop().call_later(delay_ms / 1_000, self.strike)
        try:
            async with self.connect() as programmer:
                said = await _attempt(programmer, change)
        finally:
            strike.cancel()  # what is over early is killed now, and not its successor later
        self.kill()
        await self.start()
        after, found = await self.look()
        self.kill()
        effects = after.effects[kind] - before.effects[kind]
        whole = _whole(kind, before, after, times=effects)
        agrees = whole and _agrees(said, found, effects=effects)
        return Run(kind.value, delay_ms, said, ",".join(found), effects, whole, agrees)


def _change(kind: OperationKind, now: PumpStatus) -> Callable[[Programmer], Coroutine[object, object, object]]:
    """What the pump does not have now."""
    dose = DOSES[1] if now.dose_ng_per_day == DOSES[0].ng_per_day else DOSES[0]
    old = now.concentration_ng_per_ml
    accept = tuple(Warn)
    if kind is OperationKind.BOLUS:
        return lambda programmer: programmer.bolus(_BOLUS, _BOLUS_TAKES, accept=accept)
    if kind is OperationKind.PROGRAM:
        return lambda programmer: programmer.set_rate(dose, accept=accept)
    strength = STRENGTHS[1] if old == STRENGTHS[0] else STRENGTHS[0]
    bridge = ProgramBridge(_BRIDGE_NL, _BRIDGE_NL_PER_DAY, _BRIDGE_NL_PER_DAY * old // 1_000_000, old)
    return lambda programmer: programmer.refill(
        _FILL,
        Concentration(strength),
        Therapy.simple_continuous(dose),
        withdrawn=Volume(now.reservoir_nl),
        bridge=bridge,
        accept=accept,
    )


async def _attempt(programmer: Programmer, change: Callable[[Programmer], Coroutine[object, object, object]]) -> str:
    try:
        await change(programmer)
    except Refused:
        return "refused"
    except OutcomeUnknown:
        return "outcome_unknown"
    except LinkError:
        return "link_error"
    return "applied"


def _whole(kind: OperationKind, before: Seen, after: Seen, *, times: int) -> bool:
    """Nothing else happened, and of a refill all or nothing: volume, concentration, generation, program, bridge."""
    others = [other for other in _EFFECTS if other is not kind]
    if any(after.effects[other] != before.effects[other] for other in others) or times not in {0, 1}:
        return False
    done = times == 1
    was, now = before.status, after.status
    programmed = now.program_sequence - was.program_sequence
    if kind is OperationKind.BOLUS:
        return programmed == 0 and now.reservoir_generation == was.reservoir_generation
    if kind is OperationKind.PROGRAM:
        return programmed == times and now.concentration_ng_per_ml == was.concentration_ng_per_ml
    return (
        programmed == times
        and now.reservoir_generation - was.reservoir_generation == times
        and (now.concentration_ng_per_ml != was.concentration_ng_per_ml) is done
        and after.bridges - before.bridges >= times
        and (not done or _FILL.nl - 100_000 < now.reservoir_nl <= _FILL.nl)
    )


def _agrees(said: str, found: list[Verdict], *, effects: int) -> bool:
    applied = effects == 1
    if effects not in {0, 1}:
        return False
    if said == "outcome_unknown":
        return len(found) == 1 and (found[0] is Verdict.APPLIED) == applied and found[0] is not Verdict.FORGOTTEN
    return not found and applied == (said == "applied")


async def campaign(runs: int, seed: int, folder: Path, *, timed: int = _TIMED) -> dict[str, object]:
    """The whole campaign, ``timed`` changes of each kind undisturbed first; returns what ``--output`` stores."""
    made = Campaign(folder, seed)
    kinds = tuple(_EFFECTS)
    try:
        typical_ms = {kind: await made.typical_ms(kind, timed) for kind in kinds}
        done = [await made.run(kind, typical_ms[kind] * _BEYOND) for kind in (kinds * runs)[:runs]]
    finally:
        made.kill()
    return {
        "what": "kill -9 of the simulator at random moments of a set-rate, a bolus or a refill with a bridge over TCP "
        "loopback, state on disk",
        "runs": runs,
        "seed": seed,
        "python": platform.python_version(),
        "telemetry": telemetry.__version__,
        "median_ms": {kind.value: round(ms, 2) for kind, ms in typical_ms.items()},
        "kinds": dict(Counter(run.kind for run in done)),
        "said": dict(Counter(run.said for run in done)),
        "resolved": dict(Counter(run.resolved for run in done if run.said == "outcome_unknown")),
        "applied": dict(Counter(run.kind for run in done if run.effects)),
        "disagreements": [asdict(run) for run in done if not run.agrees],
    }


def main() -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
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

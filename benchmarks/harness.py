"""What every benchmark shares: rounds, statistics, what it ran on, and how a result is kept.

Times are nanoseconds of ``time.perf_counter_ns`` inside, microseconds (``_us``) or milliseconds (``_ms``) in results.
A *fact* that fails (a leak, a false accept, a ledger that differs) fails the run; a *speed* that misses its target
is printed as missed and fails nothing, for a busy machine is no defect.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "aiomqtt",
    "bleak",
    "bumble",
    "construct",
    "corncobs",
    "cryptography",
    "gevent",
    "itb-telemetry",
    "paho-mqtt",
    "pymodbus",
    "pyserial",
    "simpy",
    "sinstruments",
)
NS_PER_US = 1_000
NS_PER_MS = 1_000_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: ``rounds`` of everything, counts divided by ``divisor`` (1 is the full measurement)."""

    rounds: int = 5
    divisor: int = 1

    def count(self, full: int, least: int = 1) -> int:
        """The number of repetitions where a full run has ``full``."""
        return max(least, full // self.divisor)


FULL = Plan()
QUICK = Plan(rounds=3, divisor=10)


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement that a benchmark is there to check. ``speed`` tells what a machine's load can change."""

    says: str
    measured: float
    limit: float
    unit: str
    met: bool
    speed: bool


@dataclass(slots=True)
class Result:
    """What one benchmark found. ``figures`` is what goes into the JSON; keys carry their units."""

    name: str
    figures: dict[str, object] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def speed(self, says: str, measured: float, at_most: float, unit: str) -> None:
        """State a target of speed: missed, not failed, when ``measured`` is above ``at_most``."""
        self.claims.append(Claim(says, _short(measured), at_most, unit, met=measured <= at_most, speed=True))

    def fact(self, says: str, measured: int, exactly: int = 0, unit: str = "") -> None:
        """State what must hold on any machine."""
        self.claims.append(Claim(says, measured, exactly, unit, met=measured == exactly, speed=False))

    @property
    def sound(self) -> bool:
        """Whether every fact held."""
        return all(claim.met for claim in self.claims if not claim.speed)


@dataclass(frozen=True, slots=True)
class Timing:
    """The samples of one contestant, in nanoseconds, by round."""

    rounds_ns: tuple[tuple[int, ...], ...]

    @property
    def medians_us(self) -> list[float]:
        """The median of each round."""
        return [statistics.median(samples) / NS_PER_US for samples in self.rounds_ns]

    @property
    def median_us(self) -> float:
        """The median of all samples."""
        return statistics.median(self._all()) / NS_PER_US

    def percentile_us(self, percent: int) -> float:
        """The nearest-rank percentile of all samples."""
        ordered = sorted(self._all())
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] / NS_PER_US

    def as_figures(self) -> dict[str, object]:
        """Median, p99, extremes and every round's median; ``spread`` is (slowest - fastest round) / median."""
        medians = self.medians_us
        return {
            "samples": sum(len(samples) for samples in self.rounds_ns),
            "median_us": _short(self.median_us),
            "p99_us": _short(self.percentile_us(99)),
            "fastest_us": _short(min(self._all()) / NS_PER_US),
            "slowest_us": _short(max(self._all()) / NS_PER_US),
            "round_medians_us": [_short(median) for median in medians],
            "spread": _short((max(medians) - min(medians)) / self.median_us),
        }

    def _all(self) -> list[int]:
        return [sample for samples in self.rounds_ns for sample in samples]


def ratio(ours: Timing, theirs: Timing) -> dict[str, object]:
    """How ours compares, round by round so that a slow spell of the machine hits both; below 1 is faster."""
    if len(ours.rounds_ns) != len(theirs.rounds_ns):
        raise ValueError(f"rounds: {len(ours.rounds_ns)} of ours against {len(theirs.rounds_ns)} of theirs")
    each = [a / b for a, b in zip(ours.medians_us, theirs.medians_us, strict=True)]
    return {
        "median": _short(statistics.median(each)),
        "lowest": _short(min(each)),
        "highest": _short(max(each)),
        "rounds": [_short(value) for value in each],
    }


def median_ratio(ours: Timing, theirs: Timing) -> float:
    """The median of the round-by-round ratios."""
    return statistics.median(a / b for a, b in zip(ours.medians_us, theirs.medians_us, strict=True))


def interleave(contestants: Mapping[str, Callable[[], object]], plan: Plan, full: int, loops: int) -> dict[str, Timing]:
    """Time plain calls in turns: each round goes through all contestants, each time starting with another one.

    A sample is the mean of ``loops`` calls in a row; a round takes ``plan.count(full)`` samples of each.
    """
    samples = {name: [] for name in contestants}  # type: dict[str, list[tuple[int, ...]]]
    for turn in range(plan.rounds):
        for name in in_turns(list(contestants), turn):
            call = contestants[name]
            call()
            gc.collect()
            samples[name].append(tuple(_mean_ns(call, loops) for _ in range(plan.count(full, 3))))
    return {name: Timing(tuple(rounds)) for name, rounds in samples.items()}


def in_turns(names: Sequence[_T], turn: int) -> list[_T]:
    """The names rotated by ``turn``, so that nobody always goes first."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def _mean_ns(call: Callable[[], object], loops: int) -> int:
    repeat = range(loops)
    begun = time.perf_counter_ns()
    for _ in repeat:
        call()
    return (time.perf_counter_ns() - begun) // loops


def run_async(main: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine on a fresh loop of the kind that the standard library gives."""
    return asyncio.run(main)


def resident_kib() -> int:
    """Memory of this process in RAM, KiB (``VmRSS`` of /proc/self/status)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError("/proc/self/status has no line VmRSS")


def environment(date: str | None) -> dict[str, object]:
    """What a figure was measured on. ``date`` defaults to that of the last commit, for no figure is older."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": date or _git("log", "-1", "--format=%cs"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": versions,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # measured outside a checkout, from a source archive
    return done.stdout.strip()


def store(result: Result, *, command: str, plan: Plan, date: str | None, folder: Path = RESULTS) -> Path:
    """Write one result as JSON; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    document = {
        "benchmark": result.name,
        "command": command,
        "rounds": plan.rounds,
        "divisor": plan.divisor,
        "environment": environment(date),
        "claims": [
            {
                "says": claim.says,
                "kind": "speed" if claim.speed else "fact",
                "measured": claim.measured,
                "limit": claim.limit,
                "unit": claim.unit,
                "met": claim.met,
            }
            for claim in result.claims
        ],
        "figures": result.figures,
        "notes": result.notes,
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _short(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")

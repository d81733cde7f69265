"""The stock scenarios in one command, and the journey alone: what a person waits for.

The command is the installed one in a fresh process, its start included; the journey's own time is that of playing it
once everything is imported, as in the middle of a run.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import harness
from telemetry.scenario import run_file, stock_files

ALL_TARGET_S = 30.0
JOURNEY_TARGET_S = 1.0
"""Issue 4, What it must show."""
JOURNEY = "journey"
_PARTS = 4
_LIMIT_S = 300


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in seconds of wall time."""
    result = harness.Result("scenarios")
    stock = stock_files()
    journey, files = stock[JOURNEY], list(stock.values())
    run_file(journey)
    taken: list[float] = []
    played = []
    for _ in range(plan.rounds):
        begun = time.perf_counter()
        played.append(run_file(journey))
        taken.append(time.perf_counter() - begun)
    middle = sorted(taken)[len(taken) // 2]
    result.figures["journey"] = {
        "median_s": round(middle, 3),
        "lived_days": round(played[-1].lived_ms / 86_400_000),
        "actions": played[-1].actions,
        "checks": played[-1].checks,
        "events": played[-1].events,
    }
    result.speed("the seven-year journey alone", middle, JOURNEY_TARGET_S, "s")
    result.fact("journeys that did not pass", sum(not one.passed for one in played))

    chosen = files[: max(_PARTS, len(files) // plan.divisor)]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "telemetry", "scenario", "run", "--json", *map(str, chosen)],
        capture_output=True,
        check=False,
        timeout=_LIMIT_S,
    )
    whole = time.perf_counter() - begun
    result.figures["stock set"] = {"scenarios": len(chosen), "wall_s": round(whole, 2)}
    result.speed("all stock scenarios in one command", whole, ALL_TARGET_S, "s")
    result.fact("exit status of the command", done.returncode)
    return result

"""Play thousands of random lives on the virtual pump and on the pump by hand: do both say the same after every act?

A life is a pump of any kind and age and up to eight acts (therapies, boluses, primes, refills with bridges, clocks,
needles, catheters), each followed by a span of up to a month. ``tests/reference/oracle_play.py`` says what is compared.
Prints the counts; exit status 1 at a difference, which is shown as small as it gets.

usage: tools/oracle_campaign.py [--runs 10000] [--seed 0] [--output benchmarks/results/oracle_campaign.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

import telemetry
from tests.reference.oracle_play import Differs
from tests.reference.oracle_rows import MS_PER_DAY, Row, play, rows

BLOCK = 500
"""Lives of one seed; the next block has the next one."""


def campaign(runs: int, first_seed: int) -> dict[str, object]:
    """Play them and say what was done; raises ``Differs`` with the smallest life in which they differ."""
    done: Counter[str] = Counter()
    lives = days = compared = 0

    @settings(
        max_examples=BLOCK,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(rows())
    def one_life(row: Row) -> None:
        nonlocal lives, days, compared
        player = play(row, done)
        lives, days = lives + 1, days + player.oracle.now_ms // MS_PER_DAY
        compared += 1 + 2 * len(row[1])

    for block in range(max(1, runs // BLOCK)):
        seed(first_seed + block)(one_life)()
        print(f"{lives} lives, no difference", file=sys.stderr)
    return {
        "what": "random lives on the virtual pump and on a pump in fractions, written from the documents alone",
        "lives": lives,
        "seed": first_seed,
        "python": platform.python_version(),
        "telemetry": telemetry.__version__,
        "pump_days": days,
        "comparisons": compared,
        "acts": {name: done[name] for name in sorted(done)},
        "differences": 0,
    }


def main() -> int:
    """Run it; 0 when both pumps always agreed."""
    parser = argparse.ArgumentParser(description="Random lives of the virtual pump against a reference.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    begun = time.monotonic()
    try:
        result = campaign(arguments.runs, arguments.seed)
    except Differs as difference:
        print(f"after {time.monotonic() - begun:.0f} s they differ:\n{difference}")
        return 1
    print(f"{result['lives']} lives in {time.monotonic() - begun:.0f} s, no difference")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

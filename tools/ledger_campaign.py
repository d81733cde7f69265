"""Play ten thousand random programmes on twin pumps: does the ledger balance, are both the same however time is cut?

Each programme is a dozen acts (therapies, boluses, refills, faults, cuts of power, flipped bits, clocks), each followed
by a span of time, for two equal pumps: one lives each span at once, the other from event to event and from cut to cut.
What must hold is in ``tests/campaigns/ledger_programmes.py``. Prints the counts; exit status 1 when a single programme
breaks a law; ``--seed`` with ``--runs 1`` plays one of them again.

usage: tools/ledger_campaign.py [--runs 10000] [--seed 0] [--output benchmarks/results/ledger_campaign.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections import Counter
from pathlib import Path

import telemetry
from tests.campaigns.ledger_programmes import Broken, play

ACTS_EACH = 12
_SHOWN = 5
_EVERY = 1_000


def campaign(runs: int, first_seed: int, broken: list[dict[str, object]]) -> dict[str, object]:
    """Play the programmes and say what was done; what broke is added to ``broken``."""
    done: Counter[str] = Counter()
    events = cuts = days = 0
    for seed in range(first_seed, first_seed + runs):
        try:
            pair = play(random.Random(seed), ACTS_EACH)
        except Broken as error:
            broken.append({"seed": seed, "what": str(error).splitlines()[0]})
            continue
        done += pair.counts
        events, cuts, days = events + pair.events, cuts + pair.cuts, days + pair.days
        if (seed - first_seed + 1) % _EVERY == 0:
            print(f"{seed - first_seed + 1} programmes, {len(broken)} broken", file=sys.stderr)
    return {
        "what": "random programmes on two equal pumps, one of them cut up and looked at; every law after every event",
        "programmes": runs,
        "seed": first_seed,
        "acts_each": ACTS_EACH,
        "python": platform.python_version(),
        "telemetry": telemetry.__version__,
        "pump_days": days,
        "events": events,
        "looks_at_events": cuts,
        "acts": {name: done[name] for name in sorted(done)},
        "broken": broken,
    }


def main() -> int:
    """Run it; 0 when every law held."""
    parser = argparse.ArgumentParser(description="Random programmes of therapies, faults, refills and cuts of time.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    begun = time.monotonic()
    broken: list[dict[str, object]] = []
    result = campaign(arguments.runs, arguments.seed, broken)
    print(f"{arguments.runs} programmes in {time.monotonic() - begun:.0f} s, {len(broken)} broken")
    for one in broken[:_SHOWN]:
        print(f"  seed {one['seed']}: {one['what']}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

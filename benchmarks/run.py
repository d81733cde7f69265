"""Measure, beside the peers, and keep what was found: ``make bench``.

    python benchmarks/run.py                      everything, a few minutes
    python benchmarks/run.py codec round_trip     some
    python benchmarks/run.py --quick              a tenth of the counts, kept only with --store

Ends with status 1 when a *fact* does not hold (a leak, a false accept, a ledger that differs from the driver's word);
a *speed* that misses its target is printed as missed and fails nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from benchmarks import harness

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCHMARKS = (
    "round_trip",
    "codec",
    "recovery",
    "import_time",
    "leaks",
    "pump_life",
    "therapies",
    "scenarios",
    "session",
    "lossy_campaign",
    "ble",
    "mqtt",
    "publish",
    "tshark",
    "flow",
    "conform",
)
EXIT_UNSOUND = 1


class Benchmark(Protocol):
    """A module of this folder that measures something."""

    def run(self, plan: harness.Plan) -> harness.Result:
        """Measure by the plan."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    plan = harness.QUICK if chosen.quick else harness.FULL
    sound = True
    for name in chosen.names or BENCHMARKS:
        print(f"\n{name} …", flush=True)
        begun = time.monotonic()
        result = cast("Benchmark", import_module(f"benchmarks.{name}")).run(plan)
        print(describe(result))
        print(f"  ({time.monotonic() - begun:.1f} s)", flush=True)
        if chosen.store or not chosen.quick:
            command = f"python benchmarks/run.py {name}" + (" --quick" if chosen.quick else "")
            harness.store(result, command=command, plan=plan, date=chosen.date, folder=chosen.results)
        sound = sound and result.sound
    return 0 if sound else EXIT_UNSOUND


def describe(result: harness.Result) -> str:
    """The figures and claims of a result as lines for a person."""
    lines = [f"  {key}: {_plain(value)}" for key, value in result.figures.items()]
    for claim in result.claims:
        word = "met" if claim.met else ("MISSED" if claim.speed else "FAILED")
        bound = f"at most {claim.limit:g}" if claim.speed else f"exactly {claim.limit:g}"
        lines.append(f"  [{word}] {claim.says}: {claim.measured:g} {claim.unit} ({bound})".replace("  (", " ("))
    return "\n".join(lines + [f"  note: {note}" for note in result.notes])


def _plain(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "median_us" in value:
        return f"median {value['median_us']} µs, p99 {value['p99_us']} µs, spread of rounds {value['spread']:.0%}"
    if {"median", "lowest", "highest"} <= value.keys():
        return f"× {value['median']} ({value['lowest']}–{value['highest']} over the rounds)"
    return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="measure, beside the peers")
    parser.add_argument("names", nargs="*", type=_name, metavar="NAME", help=f"which of: {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the counts, three rounds")
    parser.add_argument("--store", action="store_true", help="keep the results of a quick run too")
    parser.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FOLDER", help="where results go")
    parser.add_argument("--date", type=_day, help="the day to write into the results (that of the last commit)")
    return parser


def _name(text: str) -> str:
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(BENCHMARKS)}")
    return text


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-22") from None


if __name__ == "__main__":
    sys.exit(main())

"""The conformance kit on equipment that is wrong on purpose, and on our own: who is caught, by which step.

A count of facts, no race; besides, how long a whole run of our own tablet takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks import harness
from telemetry.conform.programmer.catalogue import programmer_steps
from telemetry.conform.self_test import OURS, qualify

if TYPE_CHECKING:
    from benchmarks.harness import Plan, Result

SEED = 0


def run(bench: Plan) -> Result:
    """Run the self-test: every bad one through every step in full, through the step that names its fault in short."""
    result = harness.Result("conform")
    begun = time.perf_counter()
    found = asyncio.run(qualify(seed=SEED, thorough=bench.divisor == 1))
    whole = time.perf_counter() - begun
    bad = [one for one in found.results if one.step]
    for subject, count in Counter(one.subject.value for one in bad).items():
        caught = {one.name: one.step for one in bad if one.subject.value == subject and one.caught}
        result.figures[subject] = {"bad": count, "caught": len(caught), "by": caught}
    result.figures["programmer steps"] = len(programmer_steps())
    result.figures["seconds"] = round(whole, 1)
    result.fact("bad ones that the step that names their fault did not catch", sum(not one.caught for one in bad))
    ours = [one for one in found.results if one.name == OURS]
    result.fact("findings against our own", sum(len(one.others) for one in ours))
    result.fact("kinds of our own that were run", len(ours), len({one.subject for one in found.results}))
    return result

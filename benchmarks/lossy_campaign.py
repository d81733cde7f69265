"""A thousand set-rate commands over a bad link: the driver's word beside the pump's ledger.

The campaign itself, and what it does to the link, is ``tests/campaigns/lossy_set_rate.py``; the suite runs a slice.
"""

from __future__ import annotations

import time

from benchmarks import harness
from tests.campaigns.lossy_set_rate import CUT_PERCENT, FAULTY_PERCENT, Campaign

COMMANDS = 1_000
CAMPAIGNS = {
    "datagrams, seed 20261122": (20_261_122, False),
    "datagrams, seed 1": (1, False),
    "stream, seed 2": (2, True),
}
"""Seed, and whether the link is a stream. Three of them, to show that the first was not chosen."""


def run(plan: harness.Plan) -> harness.Result:
    """Carry the campaigns out; counts, and host milliseconds per command."""
    result = harness.Result("lossy_campaign")
    commands = plan.count(COMMANDS, 20)
    disagreements: list[str] = []
    unsettled = exceptions = unresolved = 0
    for name, (seed, stream) in CAMPAIGNS.items():
        begun = time.perf_counter_ns()
        tally = harness.run_async(Campaign(seed, stream=stream).run(commands))
        elapsed_ms = (time.perf_counter_ns() - begun) / harness.NS_PER_MS
        disagreements += tally.disagreements
        unsettled += commands - tally.applied - tally.refused
        exceptions += sum(tally.other_exceptions.values())
        unresolved += tally.unknown - sum(tally.unknown_then.values())
        result.figures[name] = {**tally.as_figures(), "host_ms_per_command": round(elapsed_ms / commands, 3)}
    result.fact("commands neither applied nor refused in the end", unsettled)
    result.fact("cases in which the driver's word and the pump's ledger differ", len(disagreements))
    result.fact("unknown outcomes that were never resolved", unresolved)
    result.fact("exceptions other than the four outcomes", exceptions)
    result.notes = [
        f"drop, duplicate and corrupt each strike {FAULTY_PERCENT} % of all frames, both ways",
        f"in {CUT_PERCENT} % of the attempts contact or cable is lost at a random frame, if they last that long",
        "an attempt that ends in LinkError sent nothing therapy-related and is repeated; all seeds fixed",
        *disagreements[:10],
    ]
    return result

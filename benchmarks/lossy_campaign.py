"""Three times a thousand changes of every kind over a bad link: the driver's word beside what the pump did.

The campaign itself, and what it does to the link, is ``tests/campaigns/lossy_orders.py``; the suite runs a slice.
"""

from __future__ import annotations

import time
from collections import Counter

from benchmarks import harness
from tests.campaigns.lossy_orders import CUT_PERCENT, FAULTY_PERCENT, Campaign

COMMANDS = 1_000
CAMPAIGNS = {
    "datagrams, itb-20, seed 20261122": (20_261_122, "itb-20", False),
    "datagrams, valve-20, seed 1": (1, "valve-20", False),
    "stream, itb-40, seed 2": (2, "itb-40", True),
}
"""Seed, pump, and whether the link is a stream. Three of them, to show that the first was not chosen."""


def run(plan: harness.Plan) -> harness.Result:
    """Carry the campaigns out; counts, and host milliseconds per command."""
    result = harness.Result("lossy_campaign")
    commands = plan.count(COMMANDS, 20)
    disagreements: list[str] = []
    mix: Counter[str] = Counter()
    unsettled = exceptions = unresolved = 0
    for name, (seed, profile, stream) in CAMPAIGNS.items():
        begun = time.perf_counter_ns()
        tally = harness.run_async(Campaign(seed, profile=profile, stream=stream).run(commands))
        elapsed_ms = (time.perf_counter_ns() - begun) / harness.NS_PER_MS
        mix += tally.kinds
        disagreements += tally.disagreements
        unsettled += commands - tally.applied - tally.refused
        exceptions += sum(tally.other_exceptions.values())
        unresolved += tally.unknown - sum(tally.unknown_then.values())
        result.figures[name] = {**tally.as_figures(), "host_ms_per_command": round(elapsed_ms / commands, 3)}
    result.fact("commands neither applied nor refused in the end", unsettled)
    result.fact(
        "cases in which the driver's word, the pump's ledger or a pump that got each change once differ",
        len(disagreements),
    )
    result.fact("unknown outcomes that were never resolved", unresolved)
    result.fact("exceptions other than the four outcomes", exceptions)
    kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in mix.most_common())
    result.notes = [
        f"drop, duplicate and corrupt each strike {FAULTY_PERCENT} % of all frames, both ways",
        f"in {CUT_PERCENT} % of attempts contact, cable or power is lost at a random frame, or power within a write",
        f"the mix: {kinds}",
        "an attempt that ends in LinkError sent nothing therapy-related and is repeated; all seeds fixed",
        *disagreements[:10],
    ]
    return result

"""How many message types and fields tshark shows as our decoder and the independent one read them.

Every vector of ``fixtures/`` and 200 random messages of every type go through tshark in one run, with the dissector
that is generated from the wire table. A count of facts, no race: what differs fails.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import harness
from telemetry.protocol.wire import HANDSHAKE, IMAGES, LAYOUT_FINGERPRINT, MESSAGES, RECORDS
from tests.support.tshark_comparison import of_vectors_and_random, table_names
from tests.support.wireshark import Tshark

if TYPE_CHECKING:
    from benchmarks.harness import Plan, Result

EACH = 200
SEED = 2027


def run(plan: Plan) -> Result:
    """Compare by the plan; what differs is counted."""
    result = harness.Result("tshark")
    with tempfile.TemporaryDirectory() as folder:
        tshark = Tshark(Path(folder))
        comparison = of_vectors_and_random(SEED, plan.count(EACH, 20))
        begun = time.perf_counter()
        comparison.run(tshark, Path(folder) / "all.pcapng")
        seconds = time.perf_counter() - begun
        fields = {name for name in tshark.types if name in table_names()}
    layouts = {spec.name for spec in MESSAGES} | set(IMAGES) | set(HANDSHAKE)
    result.figures = {
        "tshark": tshark.version,
        "dialect fingerprint": f"0x{LAYOUT_FINGERPRINT:08x}",
        "random of every type": plan.count(EACH, 20),
        "message types compared": len(comparison.types & {spec.name for spec in MESSAGES}),
        "images and handshake bodies compared": len(comparison.types - {spec.name for spec in MESSAGES}),
        "records inside them": len(RECORDS),
        "fields registered": len(fields),
        "packets": len(comparison.packets),
        "field values compared": comparison.fields,
        "seconds": round(seconds, 1),
    }
    result.fact("message types and layouts of the wire table that tshark did not show", len(layouts - comparison.types))
    result.fact("fields of the wire table that tshark did not show", len(table_names() - comparison.names))
    result.fact("messages and records that tshark shows otherwise", len(comparison.differences))
    result.notes.append("compared are the fields as our decoder and tests/reference/decoder.py read them")
    return result

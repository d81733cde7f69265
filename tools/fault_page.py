"""Rewrite the table of docs/faults.md from the catalogue.

python -m tools.fault_page            rewrite what stands between the markers
python -m tools.fault_page --check    exit 1 when the page differs from what would be written

Everything outside the markers is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.sim.faults.catalogue import EVERY
from telemetry.sim.faults.reading import short_name
from telemetry.sim.faults.telling import ends_in_words, in_units
from tools.docs import table

if TYPE_CHECKING:
    from telemetry.sim.faults.catalogue import Fault

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
MARKER = re.compile(r"(<!-- generated: faults -->\n).*?(\n<!-- end: faults -->)", re.DOTALL)


def _modes(fault: Fault) -> str:
    if len(fault.modes) == 1:
        return ""
    return "<br>Modes: " + "; ".join(f"`{mode}` ({about})" for mode, about in fault.modes.items()) + "."


def _parameters(fault: Fault) -> str:
    return "<br>".join(
        f"`{short_name(one.name)}` {in_units(one.name, one.default)}: {one.about} ({one.source})"
        for one in fault.parameters
    )


def _pumps(fault: Fault) -> str:
    if fault.needs_sensor:
        return "with a level sensor"
    return "" if len(fault.drives) > 1 else f"{fault.drives[0].value.replace('_', ' ')}"


def fault_table() -> str:
    """Every fault: what it does, what shows, how it ends, its parameters with their defaults, its source."""
    rows = [
        (
            fault.number,
            f"`{fault.name}`",
            f"{fault.happens}{_modes(fault)}",
            f"{fault.shows}<br>Ends: {ends_in_words(fault)}.",
            _parameters(fault),
            _pumps(fault),
            f"{fault.source} ({fault.confidence})",
        )
        for fault in EVERY
    ]
    return table(("", "fault", "what it does", "what shows", "parameters, default", "only pumps", "source"), rows)


def render(page: str) -> str:
    """The page with its table as the catalogue has it; raises ``ValueError`` for a page without the markers."""
    text, count = MARKER.subn(lambda match: f"{match[1]}\n{fault_table()}\n{match[2]}", page)
    if count != 1:
        raise ValueError(f"the page has the markers of the table {count} times, it should have them once")
    return text


def main() -> int:
    """Rewrite the page or compare it; the exit status is 1 when a comparison fails."""
    parser = argparse.ArgumentParser(description="Regenerate the table of docs/faults.md.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    rendered = render(page)
    if rendered == page:
        return 0
    if check:
        print(f"{PAGE.name} differs from the catalogue; run: make docs")
        return 1
    PAGE.write_text(rendered, encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

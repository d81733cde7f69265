"""Print what the behaviour suite asks of each kind of link: how many tests, and which quirk excuses it from which.

``python -m tools.conformance_table`` counts what would run; with ``--junit FILE`` (``make test`` writes
``build/junit-wheel.xml``) it adds what came of it, and the exit status is 1 unless every test of every kind passed.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.conformance.links import Kind, Quirk
from tests.conformance.suite import Suite, wrappers_for

if TYPE_CHECKING:
    from collections.abc import Mapping

SUITE = Path(__file__).parent.parent / "tests" / "conformance"
_ASKED = re.compile(r"Quirk\.([A-Z_]+)\b")
_OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


@dataclass
class Row:
    """One kind of link: its class in the suite, its tests, and the behaviours that a quirk rules out or alters."""

    classname: str
    kind: Kind
    behaviours: int = 0
    tests: int = 0
    wrappers: dict[str, None] = field(default_factory=dict)
    ruled_out: dict[str, list[str]] = field(default_factory=dict)
    altered: dict[str, list[str]] = field(default_factory=dict)


def rows() -> list[Row]:
    """Every kind of link that has a class in a module of the suite, as pytest would run it."""
    found = []
    for path in sorted(SUITE.glob("test_*.py")):
        module = import_module(f"tests.conformance.{path.stem}")
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Suite) and value is not Suite:
                found.append(_row(f"{module.__name__}.{name}", value))
    return found


def _row(classname: str, conforming: type[Suite]) -> Row:
    row = Row(classname, conforming.kind)
    for name, behaviour in vars(Suite).items():
        if not name.startswith("test_"):
            continue
        quirk = getattr(behaviour, "quirk", Quirk.NONE)
        if getattr(conforming, name) is None:
            for one in quirk & row.kind.quirks:
                row.ruled_out.setdefault(str(one.name), []).append(name)
            continue
        wrappers = wrappers_for(row.kind, behaviour)
        row.behaviours += 1
        row.tests += len(wrappers)
        row.wrappers |= dict.fromkeys(wrappers)
        inside = inspect.getsource(behaviour).partition("def ")[2]
        for asked in dict.fromkeys(_ASKED.findall(inside)):
            if Quirk[asked] in row.kind.quirks:
                row.altered.setdefault(asked, []).append(name)
    return row


def outcomes(junit: Path) -> Mapping[str, Counter[str]]:
    """How many tests of each class passed, failed and were skipped, from pytest's report."""
    counted: dict[str, Counter[str]] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314 - our own run wrote it
        outcome = next((_OUTCOMES[child.tag] for child in case if child.tag in _OUTCOMES), "passed")
        counted.setdefault(case.get("classname", ""), Counter())[outcome] += 1
    return counted


def render(table: list[Row], results: Mapping[str, Counter[str]] | None = None) -> str:
    """The table in Markdown, and below it the quirks with the behaviours that they rule out or alter."""
    ran = ("passed", "skipped", "failed") if results is not None else ()
    head = ("kind", "behaviours", "tests", *ran, "wrappers", "quirks")
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for row in table:
        counts = (results or {}).get(row.classname, Counter())
        cells = [
            row.kind.name,
            f"{row.behaviours} of {row.behaviours + sum(map(len, row.ruled_out.values()))}",
            str(row.tests),
            *(str(counts[outcome]) for outcome in ran),
            ", ".join(row.wrappers),
            ", ".join(str(quirk.name) for quirk in row.kind.quirks) or "none",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for title, of in (("not asked of it", "ruled_out"), ("asked in another way", "altered")):
        by_quirk: dict[tuple[str, str], list[str]] = {}
        for row in table:
            for quirk, names in getattr(row, of).items():
                for name in names:
                    by_quirk.setdefault((quirk, name), []).append(row.kind.name)
        lines += [
            f"- {quirk}: `{name}` is {title}: {', '.join(kinds)}" for (quirk, name), kinds in sorted(by_quirk.items())
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a report says that not every test of every kind passed."""
    parser = argparse.ArgumentParser(description="What the behaviour suite asks of each kind of link.")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="pytest's report of a run; adds what came of it")
    junit: Path | None = parser.parse_args(arguments).junit
    if junit is not None and not junit.is_file():
        parser.error(f"--junit: {junit} is no file; make test writes build/junit-wheel.xml")
    table = rows()
    results = None if junit is None else outcomes(junit)
    print(render(table, results))
    if results is None:
        return 0
    return int(any(results.get(row.classname, Counter()) != Counter(passed=row.tests) for row in table))


if __name__ == "__main__":
    sys.exit(main())

"""Print the traceability report: a row per invariant, with the tests that prove it and how they went.

usage: tools/trace.py [--junit RESULT.xml]... [--output REPORT.md] [--brief]

Exit status 1 when an invariant that counts as built has no test, or, with a result of the last run, a test that failed
or did not run.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
INVARIANTS = ROOT / "tests" / "invariants.toml"
WAYS = {
    "X": "exhaustive enumeration",
    "P": "property",
    "S": "stateful machine",
    "D": "deterministic simulation",
    "M": "model checker",
    "A": "static analysis",
    "F": "fuzzing",
}


class TraceError(Exception):
    """The list of invariants or a mark on a test is wrong."""


@dataclass(frozen=True)
class Invariant:
    """One entry of tests/invariants.toml."""

    number: int
    text: str
    how: tuple[str, ...]
    reason: str | None  # why it is open; None when it is built

    @property
    def name(self) -> str:
        """The name that documents and tests use."""
        return f"INV-{self.number:02d}"


@dataclass(frozen=True, order=True)
class Proof:
    """A test, a class of tests or a whole module marked with an invariant."""

    path: str  # as in tests/sim/test_x.py
    inner: str  # as in TestThing or TestThing.test_it; empty for a module

    def __str__(self) -> str:
        return "::".join([self.path, *self.inner.split(".")]) if self.inner else self.path

    @property
    def key(self) -> str:
        """The dotted name under which results are written."""
        module = self.path.removesuffix(".py").replace("/", ".")
        return f"{module}.{self.inner}" if self.inner else module


def load_invariants(path: Path = INVARIANTS) -> list[Invariant]:
    """Read the list; raises ``TraceError`` naming the entry that is not as it must be."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["invariant"]
    invariants: list[Invariant] = []
    for position, entry in enumerate(entries, start=1):
        is_open = entry.get("status") == "open"
        if (
            entry.get("number") != position
            or not entry.get("text")
            or not entry.get("how")
            or not set(entry["how"]) <= WAYS.keys()
            or entry.get("status") not in {"built", "open"}
            or is_open != bool(entry.get("reason"))
        ):
            raise TraceError(
                f"{path.name}: entry {position} must be numbered {position}, have a text, ways out of "
                f"{', '.join(WAYS)}, a status built or open, and a reason exactly when it is open",
            )
        invariants.append(Invariant(position, entry["text"], tuple(entry["how"]), entry.get("reason")))
    return invariants


def _marked(expression: ast.expr) -> Iterator[int]:
    """Yield the numbers of every ``pytest.mark.inv(...)`` in an expression."""
    for node in ast.walk(expression):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "pytest.mark.inv":
            continue
        for argument in node.args:
            if not isinstance(argument, ast.Constant) or type(argument.value) is not int:
                raise TraceError(f"line {node.lineno}: the mark takes whole numbers, not {ast.unparse(argument)}")
            yield argument.value


def _marks_of(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, int]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{prefix}{node.name}"
            for decorator in node.decorator_list:
                for number in _marked(decorator):
                    yield inner, number
            if isinstance(node, ast.ClassDef):
                yield from _marks_of(node.body, f"{inner}.")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            # `pytestmark` marks all that is around it; `TestIt = pytest.mark.inv(1)(Machine.TestCase)` marks a machine.
            inner = prefix.removesuffix(".") if name == "pytestmark" else f"{prefix}{name}"
            for number in _marked(node.value):
                yield inner, number


def find_proofs(root: Path = ROOT) -> dict[int, list[Proof]]:
    """Find every marked test below root/tests, without importing anything; raises ``TraceError`` for a bad mark."""
    proofs: dict[int, set[Proof]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        try:
            for inner, number in _marks_of(ast.parse(path.read_text(encoding="utf-8")).body, ""):
                proofs.setdefault(number, set()).add(Proof(name, inner))
        except TraceError as wrong:
            raise TraceError(f"{name}, {wrong}") from None
    return {number: sorted(found) for number, found in sorted(proofs.items())}


def read_results(*paths: Path) -> dict[str, list[str]]:
    """Read junit files into test name (parameters cut off) -> passed, failed or skipped, once per run of it."""
    results: dict[str, list[str]] = {}
    trees = [ET.parse(path) for path in paths]  # noqa: S314 - written by our own test run a moment ago
    for case in (case for tree in trees for case in tree.iter("testcase")):
        name = f"{case.get('classname', '')}.{case.get('name', '').partition('[')[0]}"
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        results.setdefault(name, []).append(outcome)
    return results


def outcome_of(proof: Proof, results: Mapping[str, Sequence[str]]) -> str:
    """Say how a proof went: passed, FAILED or NOT RUN (a skipped test proves nothing)."""
    outcomes = {
        outcome
        for name, found in results.items()
        if name == proof.key or name.startswith(f"{proof.key}.")
        for outcome in found
    }
    if "failed" in outcomes:
        return "FAILED"
    return "passed" if "passed" in outcomes else "NOT RUN"


@dataclass(frozen=True)
class Row:
    """What the report says of one invariant."""

    invariant: Invariant
    tests: tuple[str, ...]
    status: str
    sound: bool


def trace(
    invariants: Iterable[Invariant],
    proofs: Mapping[int, Sequence[Proof]],
    results: Mapping[str, Sequence[str]] | None,
) -> list[Row]:
    """Bring invariants, tests and results together."""
    rows: list[Row] = []
    for invariant in invariants:
        found = proofs.get(invariant.number, ())
        outcomes = ["present"] * len(found) if results is None else [outcome_of(proof, results) for proof in found]
        tests = tuple(
            str(proof) if outcome in {"present", "passed"} else f"{proof} {outcome}"
            for proof, outcome in zip(found, outcomes, strict=True)
        )
        bad = sorted({"FAILED", "NOT RUN"} & set(outcomes))
        if bad:
            rows.append(Row(invariant, tests, ", ".join(bad), sound=False))
        elif invariant.reason is not None:
            rows.append(Row(invariant, tests, f"open: {invariant.reason}", sound=True))
        elif not found:
            rows.append(Row(invariant, tests, "NO TEST", sound=False))
        else:
            rows.append(Row(invariant, tests, "built" if results is None else "passed", sound=True))
    return rows


def render(rows: Sequence[Row], unknown: Sequence[int]) -> str:
    """Write the report as a Markdown table with a summary."""
    lines = ["| invariant | what must hold | how | tests | status |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        how = ", ".join(WAYS[way] for way in row.invariant.how)
        tests = "<br>".join(f"`{test}`" for test in row.tests) or "none"
        lines.append(f"| {row.invariant.name} | {row.invariant.text} | {how} | {tests} | {row.status} |")
    return "\n".join(lines) + "\n\n" + summary(rows, unknown)


def summary(rows: Sequence[Row], unknown: Sequence[int]) -> str:
    """Say what is not proven, and count."""
    lines = [f"{row.invariant.name} {row.status}: {row.invariant.text}" for row in rows if not row.sound]
    lines += [f"A test is marked with {number}, which is no invariant." for number in unknown]
    still_open = sum(row.invariant.reason is not None for row in rows)
    built = len(rows) - still_open
    lines.append(f"{len(rows)} invariants: {built} built, {still_open} open; not proven: {len(lines)}.")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print the report; the exit status says whether every built invariant is proven."""
    parser = argparse.ArgumentParser(description="Print the traceability report of the invariants.")
    parser.add_argument(
        "--junit", type=Path, action="append", help="a result file of the last run (pytest --junitxml); may be repeated"
    )
    parser.add_argument("--output", type=Path, help="write the report here too")
    parser.add_argument("--brief", action="store_true", help="print only what is not proven, and the summary")
    options = parser.parse_args(arguments)
    try:
        invariants = load_invariants(root / "tests" / "invariants.toml")
        proofs = find_proofs(root)
        results = None if options.junit is None else read_results(*options.junit)
    except (TraceError, OSError, ET.ParseError) as wrong:
        print(f"trace: {wrong}", file=sys.stderr)
        return 2
    rows = trace(invariants, proofs, results)
    unknown = sorted(proofs.keys() - {invariant.number for invariant in invariants})
    report = render(rows, unknown)
    print(summary(rows, unknown) if options.brief else report, end="")
    if options.output is not None:
        options.output.write_text(report, encoding="utf-8")
    return 0 if not unknown and all(row.sound for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

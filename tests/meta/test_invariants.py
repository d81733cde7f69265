"""Every invariant has a test or says why it has none yet, and every test that names one is marked with it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tools import trace

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parent.parent
NAMED = re.compile(r"test_inv_(\d\d)_")


def test_the_list_is_complete() -> None:
    assert [invariant.number for invariant in trace.load_invariants()] == list(range(1, 63))


def test_every_built_invariant_has_a_test() -> None:
    proofs = trace.find_proofs()
    missing = [one.name for one in trace.load_invariants() if one.reason is None and one.number not in proofs]
    assert not missing, f"built, but without a test: {', '.join(missing)}"


def test_every_mark_names_an_invariant() -> None:
    assert trace.find_proofs().keys() <= {invariant.number for invariant in trace.load_invariants()}


def test_a_test_named_after_an_invariant_is_marked_with_it() -> None:
    marked = {(proof.path, proof.inner, number) for number, proofs in trace.find_proofs().items() for proof in proofs}
    unmarked = [
        f"{name}::{inner}"
        for path in sorted(TESTS.rglob("test_*.py"))
        for name in [path.relative_to(TESTS.parent).as_posix()]
        for inner, number in _named(ast.parse(path.read_text(encoding="utf-8")))
        # A mark on the class or the module holds for everything in it.
        if not any((name, outer, number) in marked for outer in _outer(inner))
    ]
    assert not unmarked, f"named after an invariant, but not marked with it: {', '.join(unmarked)}"


def _named(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        members = ast.iter_child_nodes(node) if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and (name := NAMED.match(member.name)):
                yield f"{prefix}{member.name}", int(name[1])


def _outer(inner: str) -> list[str]:
    parts = inner.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) + 1)]

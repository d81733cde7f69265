"""The traceability report must not be able to say *proven* where nothing proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools import trace

if TYPE_CHECKING:
    from pathlib import Path

LIST = """
[[invariant]]
number = 1
text = "first"
how = ["X"]
status = "built"

[[invariant]]
number = 2
text = "second"
how = ["P", "S"]
status = "open"
reason = "not yet"
"""

TEST = """
import pytest

@pytest.mark.inv(1)
@pytest.mark.parametrize("x", [1, 2])
def test_inv_01_it(x):
    pass
"""


def junit(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def case(name: str, inside: str = "", module: str = "tests.test_it") -> str:
    return f'<testcase classname="{module}" name="{name}">{inside}</testcase>'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "invariants.toml").write_text(LIST, encoding="utf-8")
    (tmp_path / "tests" / "test_it.py").write_text(TEST, encoding="utf-8")
    return tmp_path


def run(root: Path, result: str | None = None) -> int:
    if result is None:
        return trace.main([], root)
    path = root / "junit.xml"
    path.write_text(result, encoding="utf-8")
    return trace.main(["--junit", str(path), "--output", str(root / "trace.md")], root)


def test_results_of_several_runs_are_one(root: Path) -> None:
    """One run without the test, another with it: proven. A failure in either is a failure."""
    for number, text in enumerate(
        (junit(), junit(case("test_inv_01_it")), junit(case("test_inv_01_it", "<failure/>")))
    ):
        (root / f"{number}.xml").write_text(text, encoding="utf-8")

    def both(*numbers: int) -> int:
        return trace.main([word for one in numbers for word in ("--junit", str(root / f"{one}.xml"))], root)

    assert [both(0), both(0, 1), both(1, 0), both(1, 2)] == [1, 0, 0, 1]


def test_a_built_invariant_with_a_test_is_traced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root) == 0
    report = capsys.readouterr().out
    assert (
        "| INV-01 | first | exhaustive enumeration | `tests/test_it.py::test_inv_01_it` | built |\n"
        "| INV-02 | second | property, stateful machine | none | open: not yet |\n" in report
    )
    assert report.endswith("2 invariants: 1 built, 1 open; not proven: 0.\n")


def test_a_built_invariant_without_a_test_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "tests" / "test_it.py").write_text("", encoding="utf-8")
    assert run(root) == 1
    assert "| INV-01 | first | exhaustive enumeration | none | NO TEST |" in capsys.readouterr().out


def test_the_brief_report_names_what_is_not_proven(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "tests" / "test_it.py").write_text("", encoding="utf-8")
    assert trace.main(["--brief"], root) == 1
    assert capsys.readouterr().out == "INV-01 NO TEST: first\n2 invariants: 1 built, 1 open; not proven: 1.\n"


@pytest.mark.parametrize(
    ("cases", "status", "exit_status"),
    [
        ([case("test_inv_01_it[1]"), case("test_inv_01_it[2]")], "passed", 0),
        ([case("test_inv_01_it[1]"), case("test_inv_01_it[2]", "<failure/>")], "FAILED", 1),
        ([case("test_inv_01_it[1]"), case("test_inv_01_it[2]", "<error/>")], "FAILED", 1),
        ([case("test_inv_01_it[1]"), case("test_inv_01_it[2]", "<skipped/>")], "passed", 0),
        ([case("test_inv_01_it[1]", "<skipped/>")], "NOT RUN", 1),
        ([case("test_inv_01_it_too")], "NOT RUN", 1),
        ([case("test_inv_01_it", module="tests.test_it_not")], "NOT RUN", 1),
        ([], "NOT RUN", 1),
    ],
)
def test_the_last_run_decides(root: Path, cases: list[str], status: str, exit_status: int) -> None:
    assert run(root, junit(*cases)) == exit_status
    assert (root / "trace.md").read_text(encoding="utf-8").splitlines()[2].endswith(f"| {status} |")


def test_an_open_invariant_with_a_failing_test_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "tests" / "test_it.py").write_text(TEST.replace("inv(1)", "inv(1, 2)"), encoding="utf-8")
    assert run(root, junit(case("test_inv_01_it[1]", "<failure/>"))) == 1
    assert "| INV-02 | second | property, stateful machine | `tests/test_it.py::test_inv_01_it FAILED` | FAILED |" in (
        capsys.readouterr().out
    )


def test_a_mark_with_no_invariant_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "tests" / "test_it.py").write_text(TEST.replace("inv(1)", "inv(1, 3)"), encoding="utf-8")
    assert run(root) == 1
    assert "A test is marked with 3, which is no invariant." in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["'1'", "number", "True", "1.0"])
def test_a_mark_that_is_no_number_is_refused(
    root: Path,
    argument: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (root / "tests" / "test_it.py").write_text(TEST.replace("inv(1)", f"inv({argument})"), encoding="utf-8")
    assert run(root) == 2
    assert capsys.readouterr().err == (
        f"trace: tests/test_it.py, line 4: the mark takes whole numbers, not {argument}\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number = 2", "number = 3"),
        ('text = "second"', 'text = ""'),
        ('how = ["P", "S"]', 'how = ["Q"]'),
        ('how = ["P", "S"]', "how = []"),
        ('status = "open"', 'status = "built"'),
        ('status = "built"', 'status = "open"'),
        ('status = "built"', 'status = "soon"'),
        ('reason = "not yet"', 'reason = ""'),
    ],
)
def test_a_list_that_does_not_add_up_is_refused(
    root: Path,
    old: str,
    new: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (root / "tests" / "invariants.toml").write_text(LIST.replace(old, new), encoding="utf-8")
    assert run(root) == 2
    assert "invariants.toml: entry" in capsys.readouterr().err


def test_a_missing_result_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(["--junit", str(root / "none.xml")], root) == 2
    assert "none.xml" in capsys.readouterr().err


MARKS = """
import pytest

pytestmark = [pytest.mark.inv(1), pytest.mark.slow]

@pytest.mark.inv(2)
class TestClass:
    pytestmark = pytest.mark.inv(3)

    @pytest.mark.inv(4, 5)
    async def test_inside(self): ...

TestMachine = pytest.mark.inv(6)(Machine.TestCase)
"""


def test_every_way_to_mark_is_found(root: Path) -> None:
    (root / "tests" / "deep").mkdir()
    (root / "tests" / "deep" / "test_marks.py").write_text(MARKS, encoding="utf-8")
    (root / "tests" / "test_it.py").unlink()
    path = "tests/deep/test_marks.py"
    assert {number: [str(proof) for proof in proofs] for number, proofs in trace.find_proofs(root).items()} == {
        1: [path],
        2: [f"{path}::TestClass"],
        3: [f"{path}::TestClass"],
        4: [f"{path}::TestClass::test_inside"],
        5: [f"{path}::TestClass::test_inside"],
        6: [f"{path}::TestMachine"],
    }


@pytest.mark.parametrize(
    ("inner", "classname", "name"),
    [
        ("", "tests.test_it", "test_one"),
        ("TestClass", "tests.test_it.TestClass", "test_one"),
        ("TestMachine", "tests.test_it.TestMachine", "runTest"),
        ("TestClass.test_one", "tests.test_it.TestClass", "test_one[a.b-[c]]"),
    ],
)
def test_results_are_found_for_every_kind_of_proof(tmp_path: Path, inner: str, classname: str, name: str) -> None:
    result = tmp_path / "junit.xml"
    result.write_text(junit(case(name, module=classname)), encoding="utf-8")
    assert trace.outcome_of(trace.Proof("tests/test_it.py", inner), trace.read_results(result)) == "passed"

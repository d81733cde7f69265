"""The table of the behaviour suite says what pytest runs, and can say that something did not pass."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.links import Quirk
from tools import conformance_table

ROOT = Path(__file__).parent.parent.parent
BLUEZOO_TESTS = next(row.tests for row in conformance_table.rows() if row.kind.name == "ble-bluezoo")


def test_it_counts_what_pytest_collects() -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/conformance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    counted = Counter(
        line.rpartition("::")[0].replace(".py::", ".").replace("/", ".")
        for line in collected.splitlines()
        if "::" in line
    )
    assert {row.classname: row.tests for row in conformance_table.rows()} == dict(counted)


def test_every_behaviour_that_is_not_asked_has_its_quirk() -> None:
    table = conformance_table.rows()
    most = max(row.behaviours for row in table)
    for row in table:
        assert row.behaviours + sum(map(len, row.ruled_out.values())) == most
        assert all(Quirk[name] in row.kind.quirks for name in (*row.ruled_out, *row.altered))
    text = conformance_table.render(table)
    assert "- UNPLUGGING_DROPS_UNREAD: `test_what_the_device_wrote_before_it_closed_arrives_before_the_loss`" in text
    assert "- SHORT_QUEUE: `test_much_data_arrives_whole_both_ways_at_once` is asked in another way: ble-mtu-23" in text


def report(path: Path, spoilt: str = "") -> Path:
    """A report in which all passed, but for one test of each kind when it is spoilt."""
    cases = [
        f'<testcase classname="{row.classname}" name="t{number}">{spoilt if number == 0 else ""}</testcase>'
        for row in conformance_table.rows()
        for number in range(row.tests)
    ]
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("spoilt", "status", "skipped", "failed"),
    [("", 0, 0, 0), ("<failure/>", 1, 0, 1), ("<error/>", 1, 0, 1), ("<skipped/>", 1, 1, 0)],
)
def test_what_did_not_pass_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoilt: str, status: int, skipped: int, failed: int
) -> None:
    assert conformance_table.main(["--junit", str(report(tmp_path / "junit.xml", spoilt))]) == status
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| ble-bluezoo"))
    tests = BLUEZOO_TESTS
    assert f"| {tests} | {tests - skipped - failed} | {skipped} | {failed} |" in line


def test_what_did_not_run_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "junit.xml"
    empty.write_text("<testsuites/>", encoding="utf-8")
    assert conformance_table.main(["--junit", str(empty)]) == 1
    assert f"| {BLUEZOO_TESTS} | 0 | 0 | 0 |" in capsys.readouterr().out


def test_a_report_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        conformance_table.main(["--junit", str(tmp_path / "none.xml")])
    assert "none.xml is no file; make test writes build/junit-wheel.xml" in capsys.readouterr().err

"""Results as JUnit XML, the form that build servers read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from telemetry.scenario.results import Verdict, failure_lines
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.scenario.results import Result

_SUITE = "telemetry scenarios (SIMULATED)"


def junit_xml(results: Sequence[Result]) -> str:
    """One test suite with a test case for each scenario; a failure says wanted, found and when."""
    counts = {
        "tests": str(len(results)),
        "failures": str(sum(result.verdict is Verdict.FAILED for result in results)),
        "errors": str(sum(result.verdict is Verdict.ERROR for result in results)),
        "time": _seconds(sum(result.host_ms for result in results)),
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": _SUITE, **counts, "skipped": "0"})
    for result in results:
        _case(suite, result)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: Result) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": "scenario", "name": result.name, "file": result.file, "time": _seconds(result.host_ms)},
    )
    if result.error:
        error = ET.SubElement(case, "error", {"message": _clean(result.error.splitlines()[0])})
        error.text = _clean(result.error)
    for failure in result.failures:
        said = f"{failure.what}: wanted {failure.wanted}, found {failure.found}, at {failure.when}"
        element = ET.SubElement(case, "failure", {"message": _clean(said), "type": "expectation"})
        element.text = _clean("\n".join(failure_lines(failure, result.file)))
    out = ET.SubElement(case, "system-out")
    out.text = _clean(
        f"{result.title}\n{result.actions} actions, {result.checks} checks, {result.events} events, "
        f"{result.lived_ms} ms of the pump's time"
    )


def _seconds(ms: int) -> str:
    return f"{ms // MS_PER_SECOND}.{ms % MS_PER_SECOND:03}"


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(letter for letter in text if letter in "\t\n\r" or letter >= " ")

"""A run as JUnit XML, the form that build servers read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from telemetry.conform.results import Verdict
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.conform.results import Run, StepResult


def junit_xml(run: Run) -> str:
    """One suite, a case a step: a finding is a failure, *blocked* and *inconclusive* are errors, the unclaimed skipped.

    Times are link time.
    """
    counts = run.counts
    numbers = {
        "tests": str(len(run.steps)),
        "failures": str(counts.failed),
        "errors": str(counts.blocked + counts.inconclusive),
        "time": _seconds(sum(step.ended_ms - step.started_ms for step in run.steps)),
    }
    suites = ET.Element("testsuites", numbers)
    name = f"{run.title}{' (SIMULATED pump)' if run.simulated else ''}"
    suite = ET.SubElement(suites, "testsuite", {"name": name, **numbers, "skipped": str(counts.not_claimed)})
    for step in run.steps:
        _case(suite, step, str(run.subject))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(suite: ET.Element, step: StepResult, subject: str) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": f"conform.{subject}.{step.group}",
            "name": _clean(f"{step.number} {step.title}"),
            "time": _seconds(step.ended_ms - step.started_ms),
        },
    )
    if step.verdict is Verdict.NOT_CLAIMED:
        ET.SubElement(case, "skipped", {"message": _clean(step.reason)})
    elif step.verdict in {Verdict.BLOCKED, Verdict.INCONCLUSIVE}:
        ET.SubElement(case, "error", {"message": _clean(step.reason), "type": step.verdict.value})
    for finding in step.findings:
        element = ET.SubElement(case, "failure", {"message": _clean(f"expected {finding.expected}"), "type": "finding"})
        element.text = _clean(
            f"{step.number} at {finding.at_ms} ms\nexpected: {finding.expected}\nobserved: {finding.observed}"
        )
    out = ET.SubElement(case, "system-out")
    sources = "; ".join(str(source) for source in step.sources)
    out.text = _clean(f"{step.purpose}\nstimulus: {step.stimulus}\nexpected: {step.expected}\nasked for by: {sources}")


def _seconds(ms: int) -> str:
    return f"{ms // MS_PER_SECOND}.{ms % MS_PER_SECOND:03}"


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(
        letter
        for letter in text
        if letter in "\t\n\r" or " " <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter > "\uffff"
    )


__all__ = ["junit_xml"]

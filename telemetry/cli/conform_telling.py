"""How a conformance run is told on the terminal: a line a step, findings with their frames, counts at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli.output import SIMULATED

if TYPE_CHECKING:
    from rich.console import Console

    from telemetry.conform.results import Run, StepResult

_FRAMES_AROUND = 8


def progress(result: StepResult, screen: Console) -> None:
    """One line a step; a finding with what was expected, observed, and the frames around it."""
    name = result.verdict.value.replace("_", " ")
    screen.print(f"{name.upper():12} {result.number}  {result.title}", markup=False, soft_wrap=True)
    if result.reason:
        screen.print(f"{'':18} {result.reason}", markup=False, soft_wrap=True)
    for finding in result.findings:
        screen.print(f"{'':18} expected: {finding.expected}", markup=False, soft_wrap=True)
        screen.print(f"{'':18} observed: {finding.observed}", markup=False, soft_wrap=True)
        around = [frame for frame in result.frames if frame.at_ms <= finding.at_ms][-_FRAMES_AROUND:]
        for frame in around:
            arrow = "->" if frame.direction == "to_pump" else "<-"
            fields = " ".join(f"{key}={value}" for key, value in frame.fields.items())
            fate = f"  ({frame.fate})" if frame.fate else ""
            screen.print(f"{'':18} {frame.at_ms:>8} ms {arrow} {frame.message}{fate} {fields}"[:160], markup=False)


def summary(run: Run, screen: Console) -> None:
    """The line at the end: how many steps ended how."""
    counts = run.counts
    parts = (
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.not_claimed, "not claimed"),
        (counts.inconclusive, "inconclusive"),
        (counts.blocked, "blocked"),
    )
    told = ", ".join(f"{count} {name}" for count, name in parts if count) or "no step"
    screen.print(f"{SIMULATED if run.simulated else ''} {run.title}: [bold]{told}[/]")


def content(run: Run) -> dict[str, object]:
    """The run as one object, without its evidence."""
    counts = run.counts
    return {
        "simulated": run.simulated,
        "subject": str(run.subject),
        "passed": run.passed,
        "counts": {name: getattr(counts, name) for name in counts.__struct_fields__},
        "seed": run.seed,
        "digest": run.digest(),
        "steps": [
            {
                "number": step.number,
                "verdict": step.verdict.value,
                "title": step.title,
                "reason": step.reason,
                "findings": [{"expected": one.expected, "observed": one.observed} for one in step.findings],
            }
            for step in run.steps
        ],
    }

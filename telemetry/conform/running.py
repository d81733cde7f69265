"""Runs steps one after another and makes a ``Run`` of what came of them."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from telemetry.clock import host_utc_ms
from telemetry.conform.manifest import Manifest
from telemetry.conform.operator import OperatorGone, OperatorSilent
from telemetry.conform.recorder import Recorder
from telemetry.conform.results import Cited, Deviation, Equipment, Run, StepResult, Verdict
from telemetry.conform.steps import AnyStage, Blocked, Failed, Inconclusive, StopRun
from telemetry.transport.capture import tool_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telemetry.conform.steps import Catalogue, Kit, Step

_TITLES = {
    "programmer": "Conformance of a programmer (tablet)",
    "device": "Conformance of a device (pump)",
    "subscriber": "Conformance of a subscriber",
}
KIT = Equipment(
    role="test_equipment",
    name="conformance kit with virtual pump and telemeter",
    maker="itb-telemetry",
    model="telemetry conform",
    version=tool_version(),
    simulated=True,
    note="SIMULATED: no drug, no patient",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run. ``numbers``: the steps asked for; None: all of the catalogue.

    ``keeps_interrupted``: a run that is cancelled (Ctrl-C) ends as blocked from there on, and is a run: hours of a
    person's work are in it.
    """

    seed: int = 0
    command: str = ""
    numbers: frozenset[str] | None = None
    manifest: Manifest = field(default_factory=Manifest)
    equipment: tuple[Equipment, ...] = ()
    simulated: bool = True
    keeps_interrupted: bool = False


async def run_steps(
    catalogue: Catalogue[AnyStage],
    kit: Kit[AnyStage],
    plan: Plan,
    *,
    on_step: Callable[[Step[AnyStage]], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> Run:
    """Run the steps of a plan in order. Raises only for a defect, or what ``Kit.stage`` raises of the link.

    Steps that the manifest does not claim are told as not claimed; steps that were not asked for do not stand in the
    run, which a deviation says.
    """
    claimed = plan.manifest.claimed(catalogue)
    began_utc_ms, began_ms = host_utc_ms(), kit.now_ms()
    results: list[StepResult] = []
    stopped = ""
    for step in catalogue:
        if plan.numbers is not None and step.number not in plan.numbers:
            continue
        if on_step is not None:
            on_step(step)
        missing = catalogue.unclaimed(step, claimed)
        if step.number in plan.manifest.left_out:
            result = _untried(step, Verdict.NOT_CLAIMED, plan.manifest.left_out[step.number])
        elif missing:
            result = _untried(step, Verdict.NOT_CLAIMED, f"not claimed: {', '.join(missing)}")
        elif stopped:
            result = _untried(step, Verdict.BLOCKED, stopped)
        else:
            record = Recorder(lambda: kit.now_ms() - began_ms)
            verdict, reason, end = await _perform(step, kit, record, keeps_interrupted=plan.keeps_interrupted)
            stopped = reason if end else ""
            result = _result(step, record, verdict, reason, kit.now_ms() - began_ms)
        results.append(result)
        if on_result is not None:
            on_result(result)
    return Run(
        simulated=plan.simulated,
        subject=catalogue.subject,
        title=_TITLES[catalogue.subject],
        tool_version=tool_version(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        seed=plan.seed,
        command=plan.command,
        started_utc_ms=began_utc_ms,
        ended_utc_ms=host_utc_ms(),
        link=kit.link,
        equipment=[*(plan.manifest.equipment or plan.equipment), KIT],
        claims=list(claimed),
        limits=asdict(plan.manifest.limits),
        fields=dict(plan.manifest.fields),
        manifest=plan.manifest.text,
        steps=results,
        deviations=_deviations(catalogue, plan, results),
    )


async def _perform(
    step: Step[AnyStage], kit: Kit[AnyStage], record: Recorder, *, keeps_interrupted: bool
) -> tuple[Verdict, str, bool]:
    """Verdict, reason, and whether the run cannot go on."""
    verdict, reason, end = Verdict.PASS, "", False
    try:
        async with kit.stage(step, record) as stage:
            await step.act(stage)
    except Failed:
        pass
    except Inconclusive as error:
        verdict, reason = Verdict.INCONCLUSIVE, error.reason
    except Blocked as error:
        verdict, reason, end = Verdict.BLOCKED, error.reason, isinstance(error, StopRun)
    except OperatorSilent as error:
        verdict, reason = Verdict.INCONCLUSIVE, str(error)
    except OperatorGone as error:
        verdict, reason, end = Verdict.BLOCKED, str(error), True
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not keeps_interrupted or task is None:
            raise
        task.uncancel()
        verdict, reason, end = Verdict.BLOCKED, "interrupted", True
    if record.findings:
        return Verdict.FAIL, reason, end
    return verdict, reason, end


def _result(step: Step[AnyStage], record: Recorder, verdict: Verdict, reason: str, ended_ms: int) -> StepResult:
    observed = record.observed
    if not observed and record.findings:
        observed = "; ".join(finding.observed for finding in record.findings)
    if not observed and verdict is Verdict.PASS:
        observed = "as expected"
    return StepResult(
        **_declared(step),
        verdict=verdict,
        observed=observed,
        reason=reason,
        started_ms=record.began_ms,
        ended_ms=ended_ms,
        findings=record.findings,
        evidence=record.evidence,
        measurements=record.measurements,
        frames=list(record.frames),
        frames_left_out=record.frames_left_out,
    )


def _untried(step: Step[AnyStage], verdict: Verdict, reason: str) -> StepResult:
    return StepResult(**_declared(step), verdict=verdict, reason=reason)


def _declared(step: Step[AnyStage]) -> dict[str, Any]:
    return {
        "number": step.number,
        "group": step.group,
        "title": step.title,
        "purpose": step.purpose,
        "stimulus": step.stimulus,
        "expected": step.expected,
        "sources": [Cited(document=source.document, section=source.section) for source in step.sources],
        "claims": list(step.claims),
    }


def _deviations(catalogue: Catalogue[AnyStage], plan: Plan, results: Sequence[StepResult]) -> list[Deviation]:
    made: list[Deviation] = []
    left_out = [step.number for step in catalogue if plan.numbers is not None and step.number not in plan.numbers]
    if left_out:
        made.append(Deviation(step="", text=f"not asked for, and not tried: {', '.join(left_out)}"))
    if not plan.manifest.text:
        made.append(Deviation(step="", text="no manifest: everything counts as claimed, with the kit's own limits"))
    made += [
        Deviation(step=result.number, text=result.reason or result.verdict.value)
        for result in results
        if result.verdict in {Verdict.NOT_CLAIMED, Verdict.INCONCLUSIVE, Verdict.BLOCKED}
    ]
    return made


__all__ = ["KIT", "Plan", "run_steps"]

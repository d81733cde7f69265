"""A whole run of a device: look at it once, plan what is for it, run, and say what was left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from telemetry.conform.device.catalogue import CATALOGUE
from telemetry.conform.manifest import Manifest
from telemetry.conform.running import Plan, run_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.kit import DeviceKit
    from telemetry.conform.results import Run, StepResult
    from telemetry.conform.steps import Step


async def run_device(
    kit: DeviceKit,
    *,
    patterns: Sequence[str] = (),
    manifest: Manifest | None = None,
    arm: bool = False,
    seed: int = 0,
    command: str = "",
    on_step: Callable[[Step[Bench]], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> Run:
    """Examine the device and run its steps; ``patterns`` as of ``Catalogue.select``.

    Nothing of a device that is not simulated is changed without ``arm``; what is left out for that or another reason
    stands in the run's deviations. A run that is cancelled is returned as far as it came. Raises ``UsageError`` for a
    pattern that fits no step, ``LinkError`` when the device cannot be met.
    """
    steps = CATALOGUE.select(patterns)
    named = {feature for step in steps if step.number in patterns for feature in step.claims}
    found = await kit.examine(arm=arm, wanted=named & {"long"})
    said = Manifest() if manifest is None else manifest
    claims = tuple(name for name in said.claimed(CATALOGUE) if name in found.claims)
    plan = Plan(
        seed=seed,
        command=command,
        numbers=frozenset(step.number for step in steps) if patterns else None,
        manifest=replace(said, claims=claims),
        equipment=found.equipment,
        simulated=found.simulated,
        keeps_interrupted=True,
    )
    run = await run_steps(CATALOGUE, kit, plan, on_step=on_step, on_result=on_result)
    return msgspec.structs.replace(run, deviations=[*run.deviations, *found.deviations])

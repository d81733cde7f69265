"""A whole run of a programmer: our own in process, or one that connects to a listener."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.asking import Person
from telemetry.conform.manifest import Manifest, own_equipment
from telemetry.conform.own import Tablet
from telemetry.conform.piping import Program
from telemetry.conform.programmer.catalogue import programmer_steps
from telemetry.conform.programmer.kit import OwnKit, ServedKit
from telemetry.conform.results import Equipment, Subject
from telemetry.conform.running import Plan, run_steps
from telemetry.errors import UsageError
from telemetry.transport.capture import tool_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telemetry.conform.operator import Operator
    from telemetry.conform.programmer.bench import Bench
    from telemetry.conform.results import Run, StepResult
    from telemetry.conform.steps import Step

UNNAMED = Equipment(role="under_test", name="programmer under test", note="no manifest names it")


async def run_own(
    *,
    patterns: Sequence[str] = (),
    manifest: Manifest | None = None,
    seed: int = 0,
    command: str = "",
    tablet: Callable[..., Tablet] = Tablet,
    on_step: Callable[[Step[Bench]], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> Run:
    """Run the steps with a tablet in this process, on a clock that waits for nobody; the same run for the same seed.

    Raises ``UsageError`` for a pattern that fits no step.
    """
    plan = _plan(patterns, manifest, seed, command, own_equipment(Subject.PROGRAMMER, tool_version()))
    kit = OwnKit(plan.manifest, seed=seed, tablet=tablet)
    try:
        return await run_steps(programmer_steps(), kit, plan, on_step=on_step, on_result=on_result)
    finally:
        await kit.operator.close()


async def run_served(  # noqa: PLR0913 - as above
    listen: str,
    operator: str = "",
    *,
    patterns: Sequence[str] = (),
    manifest: Manifest | None = None,
    seed: int = 0,
    command: str = "",
    on_link: Callable[[str], None] | None = None,
    on_step: Callable[[Step[Bench]], None] | None = None,
    on_result: Callable[[StepResult], None] | None = None,
) -> Run:
    """Run the steps with a programmer that connects to ``listen``, on the host's clock.

    ``operator`` is the command of a program that operates it; "" asks a person at the terminal. ``on_link`` is told
    where the pump can be met. A run that is cancelled is returned as far as it came.

    Raises ``UsageError``, or ``LinkOpenError`` when the listener cannot be had.
    """
    plan = replace(_plan(patterns, manifest, seed, command, (UNNAMED,)), keeps_interrupted=True)
    program = await Program.start(operator) if operator else None
    hands: Operator = Person() if program is None else program
    try:
        async with ServedKit(plan.manifest, listen, hands, seed=seed) as kit:
            if on_link is not None:
                on_link(kit.link)
            if program is not None:
                await program.greet(kit.link)
            return await run_steps(programmer_steps(), kit, plan, on_step=on_step, on_result=on_result)
    finally:
        await hands.close()


def _plan(
    patterns: Sequence[str],
    manifest: Manifest | None,
    seed: int,
    command: str,
    equipment: tuple[Equipment, ...],
) -> Plan:
    if seed < 0:
        raise UsageError(f"seed: {seed} is below 0")
    chosen = programmer_steps().select(patterns)
    return Plan(
        seed=seed,
        command=command,
        numbers=frozenset(step.number for step in chosen) if patterns else None,
        manifest=Manifest() if manifest is None else manifest,
        equipment=equipment,
    )


__all__ = ["run_own", "run_served"]

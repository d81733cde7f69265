"""``telemetry conform self-test``: the kit's own qualification, as a table or as JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from telemetry.cli.failures import Exit
from telemetry.cli.output import SIMULATED, console, emit, note, table

if TYPE_CHECKING:
    from telemetry.conform.self_test import Qualification, Qualified


def run_self_test(*, seed: int, as_json: bool) -> int:
    """Run it, tell it, and say by the status whether every fault was caught and none was found in our own."""
    from telemetry.conform.self_test import qualify  # noqa: PLC0415 - --help must not wait for it

    def progress(result: Qualified) -> None:
        if not result.right:
            note(f"{result.subject} {result.name!r}: {'not caught' if result.step else 'findings against our own'}")

    done = asyncio.run(qualify(seed=seed, on_result=progress))
    if as_json:
        emit(done.plain())
    else:
        _show(done)
    return Exit.DONE if done.passed else Exit.REFUSED


def _show(done: Qualification) -> None:
    screen = console()
    for subject in dict.fromkeys(result.subject for result in done.results):
        shown = table(f"{SIMULATED} bad equipment: {subject}", "what", "fault", "step", "caught", "noticed by")
        for result in done.results:
            if result.subject == subject:
                shown.add_row(*_row(result))
        screen.print(shown)
    bad = [result for result in done.results if result.step]
    caught = sum(1 for result in bad if result.caught)
    ours = sum(len(result.others) for result in done.results if not result.step)
    word = "QUALIFIED" if done.passed else "NOT QUALIFIED"
    screen.print(
        f"{SIMULATED} self-test, seed {done.seed}: {caught} of {len(bad)} caught by the step that names the fault, "
        f"{ours} findings against our own: {word}"
    )


def _row(result: Qualified) -> tuple[str, str, str, str, str]:
    others = ", ".join(result.others) or "–"
    if not result.step:
        return result.name, result.fault, "–", "nothing found" if result.right else f"FOUND {result.finding}", others
    return result.name, result.fault, result.step, "yes" if result.caught else "NO", others

"""Qualifies the kit: equipment that is wrong on purpose must be caught by the step that names its fault.

Every bad programmer, device and subscriber is run through the whole catalogue; our own, which is right, beside them.
A step that passes everything proves nothing, and one that finds fault with everything proves nothing either.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from telemetry.conform.bad.all_devices import BAD_DEVICES
from telemetry.conform.bad.programmers import BAD_PROGRAMMERS
from telemetry.conform.bad.subscribers import BAD_SUBSCRIBERS
from telemetry.conform.device import DeviceKit, run_device
from telemetry.conform.manifest import Manifest
from telemetry.conform.own import Tablet
from telemetry.conform.programmer.catalogue import programmer_steps
from telemetry.conform.programmer.kit import OwnKit
from telemetry.conform.results import Subject, Verdict
from telemetry.conform.running import Plan, run_steps
from telemetry.conform.subscriber import Dashboard, run_own_subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from telemetry.conform.bad import Bad
    from telemetry.conform.results import Run

    Runner = Callable[[Callable[..., Any] | None, int, frozenset[str] | None], Awaitable[Run]]

FORMAT = "itb-conformance-self-test"
VERSION = 1
OURS = "our own"


@dataclass(frozen=True, slots=True)
class Qualified:
    """What became of one piece of equipment.

    ``step`` must find its fault ("" for our own, in which no step may find any); ``finding`` is what that step found,
    ``others`` the other steps that noticed something.
    """

    subject: Subject
    name: str
    fault: str
    step: str
    caught: bool
    finding: str
    others: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the kit did what it must: caught the fault, or found none where there is none."""
        return self.caught if self.step else not self.others


@dataclass(frozen=True, slots=True)
class Qualification:
    """The whole self-test."""

    seed: int
    results: tuple[Qualified, ...]

    @property
    def passed(self) -> bool:
        """Whether every bad one was caught and nothing was found against our own."""
        return bool(self.results) and all(result.right for result in self.results)

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "simulated": True,
            "seed": self.seed,
            "passed": self.passed,
            "bad": sum(1 for result in self.results if result.step),
            "caught": sum(1 for result in self.results if result.step and result.caught),
            "results": [asdict(result) for result in self.results],
        }


async def qualify(
    *,
    seed: int = 0,
    subjects: Iterable[Subject] | None = None,
    names: Iterable[str] | None = None,
    thorough: bool = True,
    on_result: Callable[[Qualified], None] | None = None,
) -> Qualification:
    """Run the bad equipment of these kinds, and our own of each kind first.

    ``names``: only the bad ones of these names. ``thorough`` False runs the step that must find the fault alone, and
    tells of no others.
    """
    wanted = None if names is None else frozenset(names)
    results: list[Qualified] = []

    def keep(result: Qualified) -> None:
        results.append(result)
        if on_result is not None:
            on_result(result)

    for subject in _KINDS if subjects is None else subjects:
        runner, bad = _KINDS[subject]
        keep(_ours(subject, await runner(None, seed, None)))
        for one in bad():
            if wanted is None or one.name in wanted:
                run = await runner(one.make, seed, None if thorough else frozenset([one.step]))
                keep(_judged(subject, one, run))
    return Qualification(seed, tuple(results))


def _failed(run: Run) -> Iterator[tuple[str, str]]:
    """The steps that did not pass although they were claimed, each with what was found first."""
    for step in run.steps:
        if step.findings:
            first = step.findings[0]
            yield step.number, f"expected {first.expected}; observed {first.observed}"
        elif step.verdict not in {Verdict.PASS, Verdict.NOT_CLAIMED}:
            yield step.number, step.reason


def _ours(subject: Subject, run: Run) -> Qualified:
    failed = dict(_failed(run))
    first = next(iter(failed.values()), "")
    return Qualified(subject, OURS, "none", "", caught=False, finding=first, others=tuple(failed))


def _judged(subject: Subject, bad: Bad[Any], run: Run) -> Qualified:
    found = {step.number: step for step in run.steps if step.verdict is Verdict.FAIL}
    named = found.get(bad.step)
    first = named.findings[0] if named is not None else None
    text = "" if first is None else f"expected {first.expected}; observed {first.observed}"
    others = tuple(number for number, _ in _failed(run) if number != bad.step)
    return Qualified(subject, bad.name, bad.fault, bad.step, named is not None, text, others)


async def _programmer(make: Callable[..., Any] | None, seed: int, numbers: frozenset[str] | None) -> Run:
    kit = OwnKit(Manifest(), seed=seed, tablet=Tablet if make is None else make)
    try:
        return await run_steps(programmer_steps(), kit, Plan(seed=seed, numbers=numbers))
    finally:
        await kit.operator.close()


async def _device(make: Callable[..., Any] | None, seed: int, numbers: frozenset[str] | None) -> Run:
    return await run_device(DeviceKit(make=make, seed=seed), seed=seed, patterns=sorted(numbers or ()))


async def _subscriber(make: Callable[..., Any] | None, seed: int, numbers: frozenset[str] | None) -> Run:
    return await run_own_subscriber(seed=seed, numbers=numbers, dashboard=Dashboard if make is None else make)


_KINDS: dict[Subject, tuple[Runner, Callable[[], Iterable[Bad[Any]]]]] = {
    Subject.PROGRAMMER: (_programmer, lambda: BAD_PROGRAMMERS),
    Subject.DEVICE: (_device, lambda: BAD_DEVICES),
    Subject.SUBSCRIBER: (_subscriber, lambda: BAD_SUBSCRIBERS),
}

__all__ = ["Qualification", "Qualified", "qualify"]

"""Numbered steps: what is declared of each, who holds them, and what the runner promises to their code.

Declaring one, in a module of steps::

    CATALOGUE = Catalogue(Subject.PROGRAMMER)

    @CATALOGUE.step(
        "P-03",
        group="reading",
        title="Shows the daily dose with its unit",
        purpose="A number without a unit is read in the reader's own unit.",
        stimulus="The pump is interrogated; it delivers 340 µg/day.",
        expected="The dose on the screen is 340 µg/day, unit included.",
        sources=(Source("domain.md", "2.2"),),
        claims=("read",),
    )
    async def dose_with_unit(stage: Bench) -> None:
        ...

The contract between runner and step:

* The runner opens a fresh *stage* for each step (``Kit.stage``), gives it to the step's code, and closes it whatever
  happens. A step rests on nothing that another step left behind.
* The code tells what it sees through ``stage.record`` (``recorder.Recorder``): acts, evidence, measurements, and
  expectations by ``record.expect(held, expected, observed)``. An expectation that does not hold is a finding and the
  step goes on; ``record.demand`` ends the step there.
* It ends early by raising ``Inconclusive`` (it cannot be judged) or ``Blocked`` (it cannot be tried). Findings made
  before that still make it a fail. ``StopRun`` blocks this step and all after it.
* Any other exception is a defect of the kit and is not caught: a run that is wrong must not look like a verdict.
* Every wait has a bound of its own: an act its ``limit_ms``, the link its deadlines.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from telemetry.conform.results import Subject
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from telemetry.conform.recorder import Recorder

AnyStage = TypeVar("AnyStage", bound="Stage")
_NUMBER = re.compile(r"[PDS]-\d\d\d?")
_LETTERS = {Subject.PROGRAMMER: "P", Subject.DEVICE: "D", Subject.SUBSCRIBER: "S"}


class StepEnd(Exception):
    """A step ends before its code does; ``reason`` is a sentence for the report."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Failed(StepEnd):
    """An expectation without which the rest makes no sense did not hold; the finding is recorded already."""


class Inconclusive(StepEnd):
    """What was seen does not allow a verdict."""


class Blocked(StepEnd):
    """The step could not be tried."""


class StopRun(Blocked):
    """Nor can any step after it (the operator's program has ended)."""


class Stage(Protocol):
    """What every stage has, whatever is tested."""

    @property
    def record(self) -> Recorder:
        """Where the step tells what it sees."""
        ...


class Kit(Protocol[AnyStage]):
    """What makes stages: the link, the pump, the operator."""

    @property
    def link(self) -> str:
        """Where the equipment is met: a URL, or ``in process``."""
        ...

    def now_ms(self) -> int:
        """Link time, ms."""
        ...

    def stage(self, step: Step[AnyStage], record: Recorder) -> AbstractAsyncContextManager[AnyStage]:
        """A fresh stage for one step; closing it ends everything that the step began.

        ``record`` is where stage and step tell what they see; the runner keeps it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Who asks for a step: a document of [sources](docs/sources.md) or a standard, and the place in it."""

    document: str
    section: str

    def __str__(self) -> str:
        return f"{self.document} {self.section}"


@dataclass(frozen=True, slots=True)
class Step(Generic[AnyStage]):
    """One numbered step. Texts are for the report: whole sentences, present tense.

    ``claims``: the features that the equipment must claim, all of them, for the step to be tried. ``act`` is its code.
    """

    number: str
    group: str
    title: str
    purpose: str
    stimulus: str
    expected: str
    sources: tuple[Source, ...]
    claims: tuple[str, ...]
    act: Callable[[AnyStage], Awaitable[None]]


class Catalogue(Generic[AnyStage]):
    """All steps for one kind of equipment, in the order of their numbers.

    ``features`` names what an equipment may claim, with a sentence for each; steps may need no other.
    """

    def __init__(self, subject: Subject, features: dict[str, str]) -> None:
        self.subject = subject
        self.features = dict(features)
        self._steps: dict[str, Step[AnyStage]] = {}

    def step(
        self,
        number: str,
        *,
        group: str,
        title: str,
        purpose: str,
        stimulus: str,
        expected: str,
        sources: tuple[Source, ...],
        claims: tuple[str, ...] = (),
    ) -> Callable[[Callable[[AnyStage], Awaitable[None]]], Callable[[AnyStage], Awaitable[None]]]:
        """Declare a step; raises ``UsageError`` for a number that is malformed or taken, and for missing texts."""
        letter = _LETTERS[self.subject]
        if not _NUMBER.fullmatch(number) or not number.startswith(letter):
            raise UsageError(f"number: {number!r} is not of the form {letter}-07")
        if number in self._steps:
            raise UsageError(f"number: {number} is taken by {self._steps[number].title!r}")
        for name, text in (("title", title), ("purpose", purpose), ("stimulus", stimulus), ("expected", expected)):
            if not text.strip():
                raise UsageError(f"{number}: {name} is empty")
        if not sources:
            raise UsageError(f"{number}: sources is empty; say who asks for it")
        for claim in claims:
            if claim not in self.features:
                raise UsageError(f"{number}: claims: {claim!r} is none of {', '.join(self.features)}")

        def keep(act: Callable[[AnyStage], Awaitable[None]]) -> Callable[[AnyStage], Awaitable[None]]:
            self._steps[number] = Step(number, group, title, purpose, stimulus, expected, sources, claims, act)
            return act

        return keep

    def __iter__(self) -> Iterator[Step[AnyStage]]:
        return iter(sorted(self._steps.values(), key=lambda step: int(step.number[2:])))

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, number: str) -> Step[AnyStage]:
        try:
            return self._steps[number]
        except KeyError:
            raise UsageError(f"steps: there is no step {number}; 'telemetry conform list' has them") from None

    def select(self, patterns: Iterable[str]) -> tuple[Step[AnyStage], ...]:
        """The steps whose number or group fits one of the patterns (``P-03``, ``P-1*``, ``reading``), in order.

        Raises ``UsageError`` for a pattern that fits none. No pattern at all selects every step.
        """
        wanted = [pattern.strip() for pattern in patterns if pattern.strip()]
        if not wanted:
            return tuple(self)
        chosen: set[str] = set()
        for pattern in wanted:
            found = [
                step.number
                for step in self
                if fnmatch.fnmatchcase(step.number, pattern.upper()) or fnmatch.fnmatchcase(step.group, pattern)
            ]
            if not found:
                groups = ", ".join(dict.fromkeys(step.group for step in self))
                raise UsageError(
                    f"steps: no {self.subject} step fits {pattern!r}; numbers look like "
                    f"{_LETTERS[self.subject]}-03 or {_LETTERS[self.subject]}-1*, groups are {groups}"
                )
            chosen.update(found)
        return tuple(step for step in self if step.number in chosen)

    def unclaimed(self, step: Step[AnyStage], claimed: Collection[str]) -> tuple[str, ...]:
        """The features this step needs and the equipment does not claim."""
        return tuple(claim for claim in step.claims if claim not in claimed)


AnyCatalogue = Catalogue[Any]

__all__ = [
    "AnyCatalogue",
    "Blocked",
    "Catalogue",
    "Failed",
    "Inconclusive",
    "Kit",
    "Source",
    "Stage",
    "Step",
    "StepEnd",
    "StopRun",
]

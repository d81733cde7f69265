"""What came of a scenario: passed, failed with reasons that can be acted on, or not played to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """What came of it. ``error``: it could not be played to its end."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that did not hold, or one action that came to another end than expected.

    ``at_ms`` is pump time, ``date`` the same as a right clock reads it; ``line`` the expectation's in the file.
    ``events`` and ``frames`` are the last ones before it.
    """

    step: str
    line: int
    what: str
    wanted: str
    found: str
    at_ms: int
    when: str
    date: str
    events: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario played. ``lived_ms`` is the pump's time, ``host_ms`` ours; ``record``: the run file, if kept."""

    name: str
    file: str
    title: str
    verdict: Verdict
    failures: tuple[Failure, ...] = ()
    error: str = ""
    actions: int = 0
    checks: int = 0
    events: int = 0
    lived_ms: int = 0
    host_ms: int = 0
    record: str = ""
    tags: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return self.verdict is Verdict.PASSED

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        found: dict[str, object] = msgspec.to_builtins(self)
        return found


def text_of(result: Result) -> str:
    """What a person reads of one result: a line, and each failure with wanted, found, when and what came before."""
    lines = [f"{result.verdict.value.upper():6} {result.name}: {result.title}"]
    if result.error:
        lines.append(f"  {result.error}")
    for failure in result.failures:
        lines += failure_lines(failure, result.file)
    return "\n".join(lines)


def failure_lines(failure: Failure, file: str) -> list[str]:
    """One failure, readable in a terminal and in a JUnit report alike."""
    lines = [
        f"  {file}:{failure.line}: {failure.step}: {failure.what}",
        f"    wanted  {failure.wanted}",
        f"    found   {failure.found}",
        f"    when    {failure.when} ({failure.date})",
    ]
    lines += _listed("events", failure.events)
    return lines + _listed("wire", failure.frames)


def _listed(title: str, items: tuple[str, ...]) -> list[str]:
    return [f"    {title if not index else '':7} {item}" for index, item in enumerate(items)]

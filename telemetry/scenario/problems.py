"""What is wrong with a scenario file: where, in which part, what, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN_CHOICES = 24


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. ``line`` and ``column`` count from 1; ``path`` names the part (``timeline[2].wire.bolus``)."""

    line: int
    column: int
    path: str
    message: str

    def show(self, file: str) -> str:
        """One line as compilers write it: file:line:column: path: message."""
        where = f"{self.path}: " if self.path else ""
        return f"{file}:{self.line}:{self.column}: {where}{self.message}"


class ScenarioError(UsageError):
    """A scenario file cannot be played; ``problems`` says each mistake with its place."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(problem.show(file) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.file, self.problems)


def path_text(path: Iterable[str | int]) -> str:
    """``("timeline", 2, "wire")`` as ``timeline[2].wire``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def suggestion(word: object, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where something is near, else the list of what is allowed."""
    names = [str(name) for name in known]
    near = get_close_matches(str(word), names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    shown = ", ".join(names[:_SHOWN_CHOICES])
    return f"allowed: {shown}, … ({len(names)} in all)" if len(names) > _SHOWN_CHOICES else f"allowed: {shown}"

"""Commands and what they print, as a page shows them: found, and compared without what differs from run to run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What differs from run to run: dates, hours, hexadecimal names, times on the host's clock.
_VARIABLE = re.compile(
    r"\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?(?: UTC)?|day \d+ \d\d:\d\d:\d\d\.\d{3}|\b[0-9a-f]{32}\b"
    r"|\d+ d \d+ h|\d+ h \d+ min|\d+ min \d+ s|\d+ d \d+\.\d{3} s|\(\d+ ms\)"
)
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Step:
    """One command as it is typed, and the lines that a page shows of what it prints."""

    command: str
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and why it is not run (empty: it is)."""

    kind: str
    text: str
    why_not: str = ""

    def steps(self) -> list[Step]:
        """Commands: after ``$`` with what they print, else each line that begins with ``telemetry``."""
        if self.kind == "console":
            typed = [part.splitlines() for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]]
            return [Step(lines[0], tuple(lines[1:])) for lines in typed]
        joined = self.text.replace("\\\n", " ")
        return [Step(_bare(line)) for line in joined.splitlines() if line.startswith("telemetry ")]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["kind"], match["text"], match["why"] or "") for match in found]


def words_of(line: str) -> str:
    """A line without its frame, its widths and what differs from run to run."""
    return " ".join(_VARIABLE.sub("#", line).replace("│", " ").split())


def _bare(line: str) -> str:
    """Without the explanation that stands behind a command."""
    return re.split(r"\s{3,}", line.strip())[0]

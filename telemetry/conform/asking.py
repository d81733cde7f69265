"""The operator at the terminal: a person is asked in plain words, and types what the screen says."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, TextIO

from telemetry.clock import SystemClock
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field, OperatorGone, OperatorSilent
from telemetry.errors import UsageError
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.clock import Clock

_LONGEST_LINE = 4_096
_SEVERAL = frozenset({Field.ALARMS, Field.WARNINGS, Field.LOG, Field.OPEN_OPERATIONS, Field.SCREEN})
_WORDS = {"skip": AnswerKind.SKIPPED, "cannot": AnswerKind.UNABLE, "refused": AnswerKind.REFUSED}
HELP = (
    "Type what the screen says, letter by letter, units included. An empty line: nothing stands there.\n"
    "skip: leave this act out. cannot: the equipment has no such thing. refused TEXT: it did not let you and said TEXT."
)


class Lines:
    """Lines from a descriptor, without a thread; ``None`` at its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = b""
        self._ended = False
        self._dropping = False
        """Whether the rest of a line that was too long is still to come."""
        self._waiter: asyncio.Future[None] | None = None
        try:
            asyncio.get_running_loop().add_reader(descriptor, self._readable)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"nobody can be asked at this standard input ({error}); use a terminal, or give --operator PROGRAM"
            ) from error

    def close(self) -> None:
        """Read no more."""
        if not self._ended:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._ended = True

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, _LONGEST_LINE)
        except OSError:
            data = b""
        if not data:
            self.close()
        if self._dropping:
            _, found, data = data.partition(b"\n")
            self._dropping = not found
        self._buffer += data
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def line(self, clock: Clock, deadline_ms: int) -> str | None:
        """The next line; raises ``TimeoutError`` at the deadline, and for a line that is too long ``ValueError``."""
        while b"\n" not in self._buffer:
            if self._ended:
                rest, self._buffer = self._buffer, b""
                return rest.decode("utf-8", "replace") if rest else None
            if len(self._buffer) > _LONGEST_LINE:
                self._buffer, self._dropping = b"", True
                raise ValueError(f"a line is longer than {_LONGEST_LINE} bytes")
            self._waiter = asyncio.get_running_loop().create_future()
            if not await clock.wait(self._waiter, deadline_ms):
                raise TimeoutError
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")


class Person:
    """Asks on ``out`` and reads what is typed at ``descriptor``; a wait is made by the kit, and said."""

    def __init__(self, descriptor: int | None = None, out: TextIO | None = None, clock: Clock | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._out = sys.stderr if out is None else out
        self._lines = Lines(sys.stdin.fileno() if descriptor is None else descriptor)
        self._say(HELP)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    async def begin(self, number: str, title: str) -> None:
        """Say which step begins."""
        self._say(f"\n--- {number}: {title} ---  (begin with no pump at hand)")

    async def do(self, act: Act) -> Answer:
        """Ask; raises ``OperatorSilent`` at the limit, ``OperatorGone`` at the end of input."""
        self._say(f"> {act.words}")
        if act.kind is ActKind.WAIT:
            await self._clock.sleep_until(self._clock.link_ms() + act.ms)
            return Answer(AnswerKind.DONE)
        several = act.kind is ActKind.SHOW and Field(act.field) in _SEVERAL
        if several:
            self._say("  (one a line, an empty line at the end)")
        deadline_ms = self._clock.link_ms() + act.limit_ms
        first = await self._line(act, deadline_ms)
        word, _, rest = first.strip().partition(" ")
        if word.lower() in _WORDS and (not rest or word.lower() == "refused"):
            return Answer(_WORDS[word.lower()], rest)
        lines = [first]
        while several and lines[-1].strip():
            lines.append(await self._line(act, deadline_ms))
        text = "\n".join(lines).strip()
        if act.kind is ActKind.SHOW:
            return Answer(AnswerKind.SHOWN, text) if text else Answer(AnswerKind.NOTHING)
        return Answer(AnswerKind.DONE, text)

    async def _line(self, act: Act, deadline_ms: int) -> str:
        try:
            line = await self._lines.line(self._clock, deadline_ms)
        except TimeoutError:
            raise OperatorSilent(f"no answer within {act.limit_ms // MS_PER_SECOND} s: {act.words}") from None
        except ValueError as error:
            raise OperatorSilent(f"{error}: {act.words}") from None
        if line is None:
            raise OperatorGone("standard input has ended, so that nobody can be asked")
        return line

    async def end(self, number: str, verdict: str) -> None:
        """Say how it ended."""
        self._say(f"--- {number}: {verdict} ---")

    async def close(self) -> None:
        """Ask no more."""
        self._lines.close()


__all__ = ["HELP", "Lines", "Person"]

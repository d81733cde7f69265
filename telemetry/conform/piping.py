"""The operator as a program: acts as JSON lines on its standard input, answers as JSON lines on its standard output.

The kit writes, one object a line::

    {"kit": "itb-conformance", "version": 1, "link": "tcp://127.0.0.1:7411", "simulated": true}
    {"begin": "P-03", "title": "Shows the daily dose, with its unit"}
    {"act": {"number": 7, "kind": "show", "field": "dose", "text": "", "ms": 0, "words": "…", "limit_ms": 600000}}
    {"end": "P-03", "verdict": "pass"}
    {"bye": true}

The program answers acts, and nothing else, in the order in which they came::

    {"number": 7, "answer": "shown", "text": "340 µg/day"}

``answer`` is one of ``AnswerKind``. What is no such line ends the run as blocked, with the line in the report. Every
wait is bounded by the act's ``limit_ms`` of host time; an answer that comes later is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from asyncio.subprocess import Process, SubprocessStreamProtocol
from typing import TYPE_CHECKING, Any, TypeVar

from telemetry.clock import SystemClock
from telemetry.conform.operator import Act, Answer, AnswerKind, OperatorGone, OperatorSilent
from telemetry.errors import UsageError
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Coroutine

FORMAT = "itb-conformance"
VERSION = 1
_LONGEST_LINE = 65_536
_LONGEST_SHOWN = 200
_GRACE_MS = 3_000
"""How long a program may take to end after it was told, and again after it was asked to."""
_Result = TypeVar("_Result")
_KEYS = {"number", "answer", "text"}


class Program:
    """A program that operates the equipment. Make one with ``start``; ``close`` ends it."""

    def __init__(self, process: Process, transport: asyncio.SubprocessTransport, name: str) -> None:
        self._process = process
        self._transport = transport
        self._name = name
        self._clock = SystemClock()
        self._number = 0

    @classmethod
    async def start(cls, command: str) -> Program:
        """Start the program; raises ``UsageError`` when it cannot be."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--operator {command!r}: cannot be read as a command: {error}") from error
        if not words:
            raise UsageError("--operator: names no program")
        loop = asyncio.get_running_loop()
        try:  # as create_subprocess_exec does, which keeps the transport to itself; close() needs it
            transport, protocol = await loop.subprocess_exec(
                lambda: SubprocessStreamProtocol(limit=_LONGEST_LINE, loop=loop), *words, stderr=None
            )
        except OSError as error:
            raise UsageError(f"--operator {words[0]}: cannot be started: {error.strerror}") from error
        return cls(Process(transport, protocol, loop), transport, words[0])

    async def greet(self, link: str) -> None:
        """Tell it where the pump is. One that has ended already blocks the first step, and is told there."""
        with contextlib.suppress(OperatorGone):
            await self._write({"kit": FORMAT, "version": VERSION, "link": link, "simulated": True})

    async def begin(self, number: str, title: str) -> None:
        """Tell it which step begins."""
        await self._write({"begin": number, "title": title})

    async def end(self, number: str, verdict: str) -> None:
        """Tell it how it ended."""
        with contextlib.suppress(OperatorGone):
            await self._write({"end": number, "verdict": verdict})

    async def do(self, act: Act) -> Answer:
        """Have it do one act."""
        self._number += 1
        number = self._number
        told = {"number": number, "kind": act.kind.value, "field": act.field, "text": act.text, "ms": act.ms}
        await self._write({"act": {**told, "words": act.words, "limit_ms": act.limit_ms}})
        deadline_ms = self._clock.link_ms() + act.limit_ms
        while True:
            said = self._read(await self._line(act, deadline_ms), number)
            if said is not None:
                return said

    async def _write(self, content: dict[str, Any]) -> None:
        stream = self._process.stdin
        if stream is None or self._process.returncode is not None:
            raise OperatorGone(self._ended())
        stream.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
        try:
            drained = await self._within(stream.drain(), self._clock.link_ms() + _GRACE_MS)
        except OSError as error:
            raise OperatorGone(self._ended()) from error
        if drained is None:
            raise OperatorGone(f"{self._name} does not read what it is told")

    async def _within(self, work: Coroutine[Any, Any, _Result], deadline_ms: int) -> tuple[_Result] | None:
        """What the work gives, None when it is not done by the deadline; raises what it raises."""
        task = asyncio.ensure_future(work)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_task: object) -> None:
            if not done.done():
                done.set_result(None)

        task.add_done_callback(wake)
        try:
            return (task.result(),) if await self._clock.wait(done, deadline_ms) else None
        finally:
            task.cancel()

    async def _line(self, act: Act, deadline_ms: int) -> bytes:
        stream = self._process.stdout
        if stream is None:
            raise OperatorGone(self._ended())
        try:
            found = await self._within(stream.readline(), deadline_ms)
        except ValueError as error:
            raise OperatorGone(f"{self._name} wrote a line of more than {_LONGEST_LINE} bytes") from error
        if found is None:
            waited_s = act.limit_ms // MS_PER_SECOND
            raise OperatorSilent(f"{self._name} gave no answer within {waited_s} s: {act.words}")
        line = found[0]
        if not line:
            raise OperatorGone(self._ended())
        return line

    def _read(self, line: bytes, number: int) -> Answer | None:
        """The answer in a line; None for one to an earlier act, which came too late."""
        shown = line[:_LONGEST_SHOWN].decode("utf-8", "replace").rstrip()
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise OperatorGone(f"{self._name} wrote what is no JSON line: {shown!r}") from error
        if not isinstance(said, dict) or not {"number", "answer"} <= set(said) <= _KEYS:
            raise OperatorGone(f'{self._name} wrote {shown!r}; an answer is {{"number": …, "answer": …, "text": …}}')
        if type(said["number"]) is not int or said["number"] > number:
            raise OperatorGone(f"{self._name} answered act {said['number']!r}; the present one is {number}")
        if said["number"] < number:
            return None
        text = said.get("text", "")
        if said["answer"] not in set(AnswerKind) or not isinstance(text, str):
            raise OperatorGone(
                f"{self._name} wrote {shown!r}; an answer is one of {', '.join(AnswerKind)}, with a text"
            )
        return Answer(AnswerKind(said["answer"]), text)

    def _ended(self) -> str:
        status = self._process.returncode
        return f"{self._name} has ended" + ("" if status is None else f" with status {status}")

    async def close(self) -> None:
        """Tell it, then ask it, then make it end."""
        with contextlib.suppress(OperatorGone):
            await self._write({"bye": True})
        if self._process.stdin is not None:
            self._process.stdin.close()
        for end in (None, self._process.terminate, self._process.kill):
            if end is not None and self._process.returncode is None:
                end()
            if await self._within(self._process.wait(), self._clock.link_ms() + _GRACE_MS) is not None:
                break
        self._transport.close()  # a pipe that is still full, or held by a child of the program, would outlive the loop


__all__ = ["FORMAT", "VERSION", "Program"]

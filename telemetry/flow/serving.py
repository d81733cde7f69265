"""The virtual balance, served: every client of a listener talks to the one balance. SIMULATED."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.errors import LinkClosedError, LinkError, PeerError, Refused
from telemetry.flow.lines import Outcome
from telemetry.flow.scale import Display, Scale
from telemetry.flow.streams import need_truth
from telemetry.flow.talk import IDENTITY, TALKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.flow.streams import Look, Stream
    from telemetry.flow.talk import Talk
    from telemetry.transport.base import Receiver, Transport

_MOST_COMMANDS = 32
"""More than this waiting from one client is dropped: a balance has no memory to speak of."""
_REST_AGAIN_MS = 250
_REST_TRIES = 12
"""A stable value is waited for about 3 s, then it says that it is busy."""
_REPEAT_MS = 100


class ScaleServer:
    """One balance for any number of clients; ``accept`` is what a listener wants.

    ``on_problem`` is told in one line when the pump behind it cannot be asked; the balance then says that it is busy.
    """

    def __init__(
        self, scale: Scale, stream: Stream, clock: Clock, protocol: str, on_problem: Callable[[str], None] | None = None
    ) -> None:
        self.scale = scale
        self.stream = stream
        self.clock = clock
        self.protocol = protocol
        self._on_problem = on_problem
        self._working = 0
        self._sessions: set[_Session] = set()
        self._forget = clock.add_activity(self.busy) if isinstance(clock, ManualClock) else None

    def busy(self) -> bool:
        """Whether a command waits for its answer."""
        return self._working > 0

    def accept(self, transport: Transport) -> Receiver:
        """A client came."""
        session = _Session(self, transport, TALKS[self.protocol]())
        self._sessions.add(session)
        return session

    def left(self, session: _Session) -> None:
        """A client went."""
        self._sessions.discard(session)

    def working(self, change: int) -> None:
        """A command came, or was dealt with."""
        self._working += change

    async def look(self) -> Look | None:
        """The truth now; None when it cannot be had."""
        try:
            return await need_truth(self.stream)
        except (LinkError, PeerError, Refused) as error:
            if self._on_problem is not None:
                self._on_problem(f"the pump cannot be asked, the balance says that it is busy: {error}")
            return None

    async def close(self) -> None:
        """Stop answering; idempotent."""
        for session in tuple(self._sessions):
            await session.close()
        if self._forget is not None:
            self._forget()
            self._forget = None


class _Session:
    """One client: its commands in order, one answer each."""

    def __init__(self, server: ScaleServer, transport: Transport, talk: Talk) -> None:
        self._server = server
        self._transport = transport
        self._talk = talk
        self._waiting: deque[tuple[str, str, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._cancel_timers: dict[str, Callable[[], None]] = {}
        self._gone = False

    def data_received(self, data: bytes) -> None:
        """Commands, or parts of them."""
        for command in self._talk.commands(data):
            act = self._talk.ACTS.get(command, "")
            if len(self._waiting) < _MOST_COMMANDS:
                self._put(command, act, _REST_TRIES)

    def _put(self, command: str, act: str, tries: int) -> None:
        self._waiting.append((command, act, tries))
        self._server.working(+1)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="balance")

    async def _work(self) -> None:
        try:
            while self._waiting and not self._gone:
                command, act, tries = self._waiting[0]
                await self._do(command, act, tries)
                self._waiting.popleft()
                self._server.working(-1)
        finally:
            self._server.working(-len(self._waiting))
            self._waiting.clear()
            self._task = None

    async def _do(self, command: str, act: str, tries: int) -> None:
        server, scale = self._server, self._server.scale
        found = await server.look()
        if found is None or found.truth_nl is None:
            self._say(self._talk.mass(Display(Outcome.BUSY), scale.settings.step_ng))
            return
        at_ms, sum_nl = found.at_ms, found.truth_nl
        if scale.befalls("unplug", at_ms):
            self._gone = True
            await self._transport.close()
            return
        if scale.befalls("silent", at_ms):
            return
        if scale.befalls("garbage", at_ms):
            self._write(bytes(0x80 | (at_ms >> shift & 0x7F) for shift in range(0, 28, 3)) + b"\xfe\x00\xf8\r\n")
            return
        self._answer(command, act, tries, at_ms, sum_nl)

    def _answer(self, command: str, act: str, tries: int, at_ms: int, sum_nl: int) -> None:
        scale, talk, step = self._server.scale, self._talk, self._server.scale.settings.step_ng
        if act in IDENTITY:
            self._say(talk.fact(command, IDENTITY[act]))
        elif act in {"now", "repeat"}:
            self._say(talk.mass(scale.show(at_ms, sum_nl), step))
            if act == "repeat":
                self._later("repeat", _REPEAT_MS, command, act, tries)
        elif act == "stop":
            for cancel in self._cancel_timers.values():
                cancel()
            self._cancel_timers.clear()
            self._say(talk.fact("I4", IDENTITY["serial"]) if command == "@" else "")
        elif act == "stable":
            display = scale.show(at_ms, sum_nl)
            if display.outcome is not Outcome.DYNAMIC:
                self._say(talk.mass(display, step))
            elif tries:
                self._later("stable", _REST_AGAIN_MS, command, act, tries - 1)
            else:
                self._say(talk.busy(command))
        elif act in {"tare", "zero"}:
            before = scale.show(at_ms, sum_nl)
            scale.tare(at_ms, sum_nl)
            self._say(talk.done(command, before, step))
        else:
            self._say(talk.UNKNOWN)

    def _later(self, name: str, ms: int, command: str, act: str, tries: int) -> None:
        def again() -> None:
            self._cancel_timers.pop(name, None)
            if not self._gone:
                self._put(command, act, tries)

        if name in self._cancel_timers:
            self._cancel_timers.pop(name)()
        self._cancel_timers[name] = self._server.clock.call_at(self._server.clock.link_ms() + ms, again)

    def _say(self, text: str) -> None:
        if text:
            self._write(text.encode("ascii"))

    def _write(self, data: bytes) -> None:
        try:
            self._transport.write(data)
        except LinkClosedError:
            self._gone = True  # the client went while it was being answered

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """The client went."""
        del reason
        self._gone = True
        for cancel in self._cancel_timers.values():
            cancel()
        self._cancel_timers.clear()
        self._server.left(self)

    async def close(self) -> None:
        """Let go of the client."""
        self._gone = True
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        await self._transport.close()

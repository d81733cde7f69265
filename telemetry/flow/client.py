"""The driver of a balance on a link: asks for a mass, says what came of it, and is never left waiting.

It reads and tares; it knows no pump. What it cannot read it explains (``advice``) and never guesses at.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from telemetry.errors import LinkClosedError, LinkError, PeerError, UsageError
from telemetry.flow.dialects import DIALECTS, Dialect, advice, shown
from telemetry.flow.lines import MASSES, Line, LineCutter, Outcome, parse_mass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.clock import Clock
    from telemetry.transport.base import Receiver, Transport

    Opener = Callable[[Receiver], Awaitable[Transport]]

REPLY_MS = 1_000
"""How long an answer may take: 16 characters take 133 ms at 1200 baud, a balance's filter some hundred more (C)."""
_MOST_GARBAGE = 8
"""Lines that cannot be read, in one answer, before it is called garbage: a cable that is plugged in gives a few."""
_KEPT_BYTES = 256
_KEPT_LINES = 64
_ANSWERS = MASSES | {
    Outcome.OVERLOAD,
    Outcome.UNDERLOAD,
    Outcome.BUSY,
    Outcome.NOT_UNDERSTOOD,
    Outcome.FOREIGN_UNIT,
    Outcome.UNITLESS,
}


@dataclass(slots=True)
class Identity:
    """What the balance says of itself; empty where it does not say."""

    protocol: str
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether it says that it is virtual."""
        return any("SIMULATED" in text for text in self.facts.values())


class Balance:
    """A balance behind ``opener``. An asynchronous context manager; a lost link is opened anew by the next question.

    ``dialect`` None: found out on entering. Entering raises ``LinkError`` when the link cannot be opened, ``PeerError``
    with what to do when what answers is no balance that can be read.
    """

    def __init__(self, opener: Opener, clock: Clock, dialect: Dialect | None = None) -> None:
        self._opener = opener
        self._clock = clock
        self._found = dialect
        self._transport: Transport | None = None
        self._cutter = LineCutter()
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._heard = bytearray()
        self._arrived: asyncio.Future[None] | None = None
        self._unit: str | None = None
        self._step_ng: int | None = None
        self.why_lost = ""

    @property
    def dialect(self) -> Dialect:
        """What it speaks."""
        if self._found is None:
            raise UsageError("the balance was not asked yet what it speaks; enter it first")
        return self._found

    @property
    def step_ng(self) -> int | None:
        """The worth of its last digit, once a mass was read."""
        return self._step_ng

    async def __aenter__(self) -> Self:
        await self._open()
        try:
            if self._found is None:
                self._found = await self._find_out()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._close()

    async def _open(self) -> None:
        self._cutter = LineCutter()
        self._lines.clear()
        self._transport = await self._opener(self)

    async def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    # --- what arrives ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the balance."""
        self._heard += data
        del self._heard[:-_KEPT_BYTES]
        self._lines.extend(self._cutter.feed(data))
        self._wake()

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        """The link is gone."""
        self.why_lost = str(reason) if reason is not None else "the link was closed"
        self._transport = None
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    # --- asking ------------------------------------------------------------------------------------------------------

    async def read(self, timeout_ms: int = REPLY_MS) -> Line:
        """The mass now, or why there is none: ``SILENT``, ``LOST`` and ``GARBAGE`` are answers too.

        Garbage comes with what to do about it; a lost link is opened anew first.
        """
        return await self._ask(self.dialect, self.dialect.ask, _ANSWERS, timeout_ms)

    async def tare(self, timeout_ms: int = 5 * REPLY_MS) -> Outcome:
        """Press its tare key. ``DONE`` where it says so, or where the dialect has no answer to it."""
        if self.dialect.acknowledges:
            wanted = frozenset(
                {Outcome.DONE, Outcome.BUSY, Outcome.OVERLOAD, Outcome.UNDERLOAD, Outcome.NOT_UNDERSTOOD}
            )
            return (await self._ask(self.dialect, self.dialect.tare, wanted, timeout_ms)).outcome
        return Outcome.DONE if await self._send(self.dialect.tare) else Outcome.LOST

    async def identify(self, timeout_ms: int = REPLY_MS) -> Identity:
        """Model, serial number and software as far as it tells; raises nothing."""
        found = Identity(self.dialect.name)
        for name, command in self.dialect.identify:
            line = await self._ask(self.dialect, command, frozenset(Outcome) - {Outcome.DONE}, timeout_ms, plain=True)
            if line.outcome is Outcome.LOST:
                break
            if line.outcome is Outcome.TEXT and line.text:
                found.facts[name] = line.text[:60]
        return found

    async def _send(self, command: bytes) -> bool:
        """Forget what came unasked and send; False when there is no link to be had."""
        try:
            if self._transport is None:
                await self._open()
            self._lines.clear()
            self._cutter.clear()
            self._heard.clear()
            if self._transport is not None:
                self._transport.write(command)
        except LinkError as error:
            self.why_lost = str(error)
            return False
        return self._transport is not None

    async def _ask(
        self, dialect: Dialect, command: bytes, wanted: frozenset[Outcome], timeout_ms: int, *, plain: bool = False
    ) -> Line:
        """``plain``: a line of bare text is an answer; that is how some tell who they are."""
        if not await self._send(command):
            return Line(Outcome.LOST, text=self.why_lost)
        deadline_ms = self._clock.link_ms() + timeout_ms
        garbage = 0
        while True:
            while self._lines:
                raw = self._lines.popleft()
                line = self._known(dialect.read(raw))
                if plain and line.outcome is Outcome.GARBAGE and raw.isascii() and raw.decode("ascii").isprintable():
                    return Line(Outcome.TEXT, text=raw.decode("ascii").strip())
                if line.outcome in wanted and line.outcome is not Outcome.GARBAGE:
                    return line
                garbage += line.outcome is Outcome.GARBAGE
                if garbage >= _MOST_GARBAGE:
                    return Line(Outcome.GARBAGE, text=self._explained(dialect))
            if self._transport is None:
                return Line(Outcome.LOST, text=self.why_lost)
            self._arrived = asyncio.get_running_loop().create_future()
            if not await self._clock.wait(self._arrived, deadline_ms) and not self._lines:
                break
        if self._heard:
            return Line(Outcome.GARBAGE, text=self._explained(dialect))
        return Line(Outcome.SILENT, text=f"no answer to {dialect.name} within {timeout_ms} ms")

    def _known(self, line: Line) -> Line:
        """Learn the step from a mass; what SBI prints without unit is in the unit that it was seen to print."""
        if line.outcome in MASSES and line.step_ng is not None:
            self._step_ng, self._unit = line.step_ng, line.text
        elif line.outcome is Outcome.UNITLESS and self._unit is not None:
            mass = parse_mass(line.text, self._unit)
            return line if mass is None else Line(Outcome.DYNAMIC, *mass, text=self._unit)
        return line

    def _explained(self, dialect: Dialect) -> str:
        raw = bytes(self._heard)
        return f"it sent {len(raw)} bytes that are no answer ({shown(raw)}): {advice(raw, dialect)}"

    async def _find_out(self) -> Dialect:
        """Ask in every dialect; the first that gets an answer it can read. Raises ``PeerError`` saying what to do."""
        heard = bytearray()
        for dialect in DIALECTS.values():
            line = await self._ask(dialect, dialect.ask, _ANSWERS, REPLY_MS)
            if line.outcome is Outcome.LOST:
                raise PeerError(f"the balance hung up while it was asked what it speaks: {line.text}")
            if line.outcome in _ANSWERS - {Outcome.NOT_UNDERSTOOD}:
                return dialect
            heard += self._heard
        if heard:
            raise PeerError(
                f"the balance cannot be read: it sent {len(heard)} bytes that are no answer ({shown(bytes(heard))}): "
                f"{advice(bytes(heard), DIALECTS['sics'])}"
            )
        raise PeerError(
            f"no balance answers, in none of the protocols {', '.join(DIALECTS)}: is it switched on, "
            "is the cable right (straight or null modem), does its menu say this baud rate, is host mode on?"
        )

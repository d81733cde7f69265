"""The gateway: readings in, messages out, nothing back. It subscribes to nothing and holds no driver.

Two tasks that meet in the spool: one follows the pump, one talks to the broker. Whatever happens to either, the other
goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.interrogation import NotRead
from telemetry.publish import messages
from telemetry.publish.delivering import Deliverer, Will
from telemetry.publish.linking import LinkFacts, link_body, not_read
from telemetry.publish.memory import PumpMemory
from telemetry.publish.messages import Message, Source
from telemetry.publish.observing import Writer, observe, tell_again
from telemetry.publish.topics import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from telemetry.clock import Clock
    from telemetry.errors import LinkError
    from telemetry.interrogation import Interrogation, Sighting
    from telemetry.publish.delivering import Broker
    from telemetry.publish.memory import Current, Memory
    from telemetry.publish.spool import Spool
    from telemetry.publish.topics import Destination, Topics

    Follow = Callable[[int], AsyncGenerator[Sighting, None]]
    Extras = Callable[[Current, Topics], Sequence[tuple[str, str]]]

_LEAST_VALID_MS = 10_000
_LOOKS_VALID = 3
"""A state is old when the next three readings should have brought another, and at least ten seconds have gone by."""
FAREWELL_MS = 5_000
"""How long the end waits for what is still to be delivered; the rest stays in the spool."""
RETOLD_MS = 60_000
"""Identity, link and announcements change seldom, and somebody else may write on their topics, or empty them: they are
told anew every minute, so that nothing forged stands there for longer."""
_ANY = "*"


def valid_ms(interval_ms: int) -> int:
    """For how long what was read may be taken for the present."""
    return max(_LEAST_VALID_MS, _LOOKS_VALID * interval_ms)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the gateway stands, told at each look and whenever the connection comes or goes."""

    look: Sighting | None
    root: str
    connected: bool
    broker_problem: str
    sent: int
    acknowledged: int
    waiting: int
    waiting_bytes: int
    log_held_back: bool
    lost_alarm_events: int
    lost_log_records: int
    spool_problem: str


def _never(_error: LinkError) -> bool:
    return False


def _nothing(_current: Current, _topics: Topics) -> Sequence[tuple[str, str]]:
    return ()


class Gateway:
    """One pump's gateway to one broker.

    ``connect`` opens a connection with a will. ``interval_ms`` is how far apart readings are (for how long a state may
    be taken for the present). ``extras`` gives more retained topics with their text, told at each connection.
    ``tell`` is called with every ``Progress``.
    """

    def __init__(  # noqa: PLR0913 - every one has a meaning of its own
        self,
        spool: Spool,
        destination: Destination,
        connect: Callable[[Will], AbstractAsyncContextManager[Broker]],
        *,
        clock: Clock,
        utc_ms: Callable[[], int],
        interval_ms: int,
        tell: Callable[[Progress], None],
        extras: Extras = _nothing,
        fatal: Callable[[LinkError], bool] = _never,
        draw: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._spool = spool
        self._destination = destination
        self._clock = clock
        self._utc_ms = utc_ms
        self._tell = tell
        self._extras = extras
        self._valid_ms = valid_ms(interval_ms)
        self._look: Sighting | None = None
        self._found: Interrogation | None = None
        self._trusted = _ANY
        self._behind = False
        self._said: LinkFacts | None = None
        self._known = asyncio.Event()
        self._stopped = asyncio.Event()
        self._connected_utc_ms = 0
        self._told_ms = 0
        """When all that is retained was last told to this connection."""
        self._identity_told = False
        """Whether this connection was told who the pump is: after a restart it may stand before the first look."""
        self.delivery = Deliverer(
            spool,
            clock=clock,
            connect=connect,
            will=self._will,
            on_connect=self._on_connect,
            on_change=self._report,
            draw=draw,
            fatal=fatal,
        )
        if self._memory.current is not None:
            self._known.set()

    @property
    def _memory(self) -> Memory:
        return self._spool.memory

    @property
    def _topics(self) -> Topics:
        current = self._memory.current
        return self._destination.topics("" if current is None else current.serial)

    @property
    def unread(self) -> str:
        """Why the last look did not read the pump; empty where it did."""
        return self._look.reason if isinstance(self._look, NotRead) else ""

    def stop(self) -> None:
        """End ``run`` in an orderly way: say offline, deliver what can be, keep the rest."""
        self._stopped.set()

    async def run(self, follow: Follow, *, looks: int | None = None) -> None:
        """Publish until ``stop``, or after ``looks`` readings. ``follow(since)`` reads the pump, its log from there.

        Raises ``LinkError`` when the broker refuses the first connection. Returns when all is delivered, five seconds
        after the end began at the latest, and at once while there is no broker.
        """
        reading = asyncio.create_task(self._read(follow, looks))
        sending = asyncio.create_task(self._send())
        stopping = asyncio.create_task(self._stopped.wait())
        tasks = (reading, sending, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await _end(stopping)
            if not sending.done():
                # A look that is under way is broken off between two answers; nothing of it was taken.
                await _end(reading)
                if self._known.is_set():
                    await self._farewell(sending)
        finally:
            for task in tasks:
                await _end(task)
        for task in (sending, reading):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _read(self, follow: Follow, looks: int | None) -> None:
        while True:
            since = self._begin()
            async with contextlib.aclosing(follow(since)) as sightings:
                async for sighting in sightings:
                    if self.take(sighting):
                        break
                    if looks is not None:
                        looks -= 1
                        if looks <= 0:
                            return

    def _begin(self) -> int:
        """From where the log is to be read: the pump that was read last is the likeliest."""
        self._behind = False
        current = self._memory.current
        if current is None:
            self._trusted = _ANY
            return 0
        since = self._memory.pumps.get(current.key, PumpMemory()).log_next
        self._trusted = current.key if since else _ANY
        return since

    def take(self, sighting: Sighting) -> bool:
        """Publish one look; says whether the pump's log is to be read anew from where the memory stands."""
        self._look = sighting
        again = False
        due = self.delivery.connected and self._clock.link_ms() - self._told_ms >= RETOLD_MS
        if isinstance(sighting, NotRead):
            self._found = None
        else:
            again = self._take_reading(sighting, anew=due or not self._identity_told)
        if due:
            self._tell_extras()
            self._told_ms = self._clock.link_ms()
            self._said = None
        self._say_link()
        self.delivery.wake()
        self._report()
        return again

    def _take_reading(self, found: Interrogation, *, anew: bool) -> bool:
        key = messages.pump_key(found.identity)
        known = self._memory.pumps.get(key, PumpMemory())
        if self._trusted == _ANY:
            self._trusted = key
        astray = key != self._trusted or (known.log_next > 0 and found.status.now_ms < known.now_ms)
        old, new = self._topics, self._destination.topics(found.identity.serial)
        moved = self._memory.current is not None and old != new
        if moved:
            self._say_link(other_pump=True)
        batch = observe(
            self._memory,
            found,
            new,
            valid_ms=self._valid_ms,
            log_room=self._spool.log_room(),
            take_log=not astray and not self._behind,
            identity_anew=anew,
        )
        self._spool.put(batch.messages, batch.memory)
        self._found = found
        self._identity_told = True
        self._behind = self._behind or batch.log_left
        if moved:
            self._said = None
            self.delivery.renew()
        self._known.set()
        return astray or (self._behind and self._spool.has_much_room())

    async def _send(self) -> None:
        await self._known.wait()
        await self.delivery.run()

    def _on_connect(self) -> None:
        """Tell all that is retained anew, behind what waits: the broker may have forgotten it, or had our will."""
        current = self._memory.current
        if current is None:
            return
        self._tell_extras()
        if self._found is not None:
            writer = self._writer(current)
            tell_again(writer, self._found, valid_ms=self._valid_ms)
            self._spool.put(writer.made, writer.memory)
        self._identity_told = self._found is not None
        self._told_ms = self._clock.link_ms()
        self._said = None
        self._say_link()

    def _tell_extras(self) -> None:
        current = self._memory.current
        if current is None:
            return
        writer = self._writer(current)
        for topic, text in self._extras(current, self._topics):
            writer.add_extra(topic, text)
        self._spool.put(writer.made, writer.memory)

    def _will(self) -> Will:
        current = self._memory.current
        assert current is not None  # noqa: S101 - run() waits for a pump to be known
        self._connected_utc_ms = self._utc_ms()
        facts = LinkFacts("offline", "gateway_lost")
        message, memory = self._link_message(current, facts)
        self._spool.put((), memory)
        return Will(message.topic, message.payload)

    def _say_link(self, *, other_pump: bool = False, stopped: bool = False) -> Message | None:
        """Say how the link is, unless that is known; ``stopped`` and ``other_pump`` are said at the end of it."""
        current = self._memory.current
        if current is None or (self._look is None and not stopped):
            return None
        facts = self._facts(current, other_pump=other_pump, stopped=stopped)
        if facts == self._said:
            return None
        message, memory = self._link_message(current, facts)
        self._spool.put((message,), memory)
        self._said = facts
        return message

    def _facts(self, current: Current, *, other_pump: bool, stopped: bool) -> LinkFacts:
        kind = text = ""
        if stopped or other_pump:
            state, reason = "offline", "gateway_stopped" if stopped else "other_pump"
        elif isinstance(self._look, NotRead):
            state = reason = "pump_not_read"
            kind, text = not_read(self._look)
        else:
            state, reason = "online", "read"
        return LinkFacts(
            state,
            reason,
            kind,
            text,
            log_held_back=self._behind,
            lost_alarm_events=self._memory.lost_alarm_events,
            lost_log_records=self._memory.pumps.get(current.key, PumpMemory()).lost_log_records,
            spool_problem=self._spool.problem,
        )

    def _link_message(self, current: Current, facts: LinkFacts) -> tuple[Message, Memory]:
        writer = self._writer(current)
        will = facts.reason == "gateway_lost"
        body = link_body(
            facts,
            said_utc_ms=self._connected_utc_ms if will else self._utc_ms(),
            read_utc_ms=current.read_utc_ms,
            waiting=len(self._spool),
        )
        return writer.add(Kind.LINK, body), writer.memory

    def _writer(self, current: Current) -> Writer:
        source = Source(self._memory.gateway_id, current.model, current.serial, current.simulated)
        return Writer(self._memory, self._topics, source, current.key)

    async def _farewell(self, sending: asyncio.Task[None]) -> None:
        """Say that it is the end, and wait a while for what is to be delivered."""
        last = self._say_link(stopped=True)
        self.delivery.wake()
        drained = asyncio.create_task(self.delivery.drained())
        # Where nobody is there nobody is kept waiting: what waits is on the disk.
        away = asyncio.create_task(self.delivery.away())
        late = asyncio.get_running_loop().create_future()
        cancel = self._clock.call_at(
            self._clock.link_ms() + FAREWELL_MS, lambda: None if late.done() else late.set_result(None)
        )
        try:
            await asyncio.wait({drained, away, sending, late}, return_when=asyncio.FIRST_COMPLETED)
            if last is not None and len(self._spool) and not sending.done():
                # Out of order, for once: nobody must take what is retained for the present after we are gone.
                await self.delivery.say_now(last)
        finally:
            cancel()
            late.cancel()
            await _end(drained)
            await _end(away)

    def _report(self) -> None:
        current = self._memory.current
        known = PumpMemory() if current is None else self._memory.pumps.get(current.key, PumpMemory())
        self._tell(
            Progress(
                look=self._look,
                root=self._topics.root if current is not None else "",
                connected=self.delivery.connected,
                broker_problem=self.delivery.problem,
                sent=self.delivery.sent,
                acknowledged=self.delivery.acknowledged,
                waiting=len(self._spool),
                waiting_bytes=self._spool.waiting_bytes,
                log_held_back=self._behind,
                lost_alarm_events=self._memory.lost_alarm_events,
                lost_log_records=known.lost_log_records,
                spool_problem=self._spool.problem,
            )
        )


async def _end(task: asyncio.Task[object]) -> None:
    """Cancel a task and see it end; its own error is looked at by whoever owns it."""
    task.cancel()
    await asyncio.wait([task])

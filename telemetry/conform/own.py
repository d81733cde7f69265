"""The reference tablet: an ``Operator`` and the tablet in its hands, over ``telemetry.programmer``.

It shows that every step can be passed, and is what the deliberately bad programmers are made of: whoever wants another
tablet overrides one of its small methods.

====================  ==============================================================================================
``open``              makes the driver (journal, role, link)
``read``, ``look``    one reading of the pump; a look that may fail
``poll``              a look by itself, every ``poll_ms`` while nobody touches the tablet
``take``              what a reading does to the screen; ``known_pump`` whether it is the pump that was interrogated
``order``             what a typed order means; ``carry_out`` does it; ``accepted`` which warnings go with it
``review``            the pump's read-back is there; ``decide`` waits for the person
``applied`` ``refused`` ``unknown``  how a change ended, as it is told; ``retry`` what the tablet does by itself then
``recover``           what the pump told of changes that had been unknown
``silence`` …         the other acts; ``show_…`` of ``own_screen.Writing`` writes the screen
====================  ==============================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING

from telemetry.conform.bedside import pass_until
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.own_changing import Changing
from telemetry.conform.own_link import Socket
from telemetry.conform.own_screen import APPLIED, NOT_APPLIED, OUT_OF_DATE, Reading, Screen
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused, TelemetryError, UsageError
from telemetry.model import AlarmKind, Role, Verdict
from telemetry.programmer import connect
from telemetry.programmer.annunciation import Annunciator
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.programmer import Outcome, Programmer
    from telemetry.programmer.journal import JournalStore
    from telemetry.programmer.opening import LinkedPump

POLL_MS = 2_000
STALE_AFTER_MS = 6_000
"""Three polls that failed, or were not made."""


class Tablet(Changing):
    """A tablet with its operator, on the clock of ``place``. ``seed`` is of its operation numbers and handshakes."""

    poll_ms = POLL_MS
    stale_after_ms = STALE_AFTER_MS

    def __init__(self, place: LinkedPump, *, seed: int = 0) -> None:
        super().__init__()
        self.clock = place.clock
        self.socket = Socket(place)
        self.journals: JournalStore = MemoryJournalStore()
        self.entropy = Random(f"tablet {seed}").randbytes  # noqa: S311 - repeatable on purpose
        self.programmer: Programmer | None = None
        self.annunciator = Annunciator()
        self._told = 0
        self._acts: dict[ActKind, Callable[[Act], Awaitable[Answer]]] = {
            ActKind.INTERROGATE: self.interrogate,
            ActKind.SHOW: self.show_field,
            ActKind.SET_RATE: self.prepare,
            ActKind.BOLUS: self.prepare,
            ActKind.PRIME: self.prepare,
            ActKind.REFILL: self.prepare,
            ActKind.RESUME: self.prepare,
            ActKind.SET_CLOCK: self.prepare,
            ActKind.PATIENT_BOLUS: self.patient_bolus,
            ActKind.ACCEPT: self.accept,
            ActKind.CONFIRM: self.confirm,
            ActKind.CONFIRM_AND_POWER_CUT: self.confirm_and_power_cut,
            ActKind.CANCEL: self.cancel,
            ActKind.STOP: self.stop,
            ActKind.SILENCE: self.silence,
            ActKind.ACKNOWLEDGE: self.acknowledge,
            ActKind.RESTART: self.restart,
            ActKind.READ_LOG: self.read_log,
            ActKind.WAIT: self.wait,
            ActKind.LEAVE: self.leave,
        }

    # --- operator ----------------------------------------------------------------------------------------------------

    async def begin(self, number: str, title: str) -> None:  # noqa: ARG002 - a tablet does not know that it is tested
        """A working day begins: switched on, no pump at hand."""
        await self._power_off()
        self._power_on()

    async def do(self, act: Act) -> Answer:
        """Do one act; what cannot be done is answered, never raised."""
        do = self._acts.get(act.kind)
        if do is None:
            return Answer(AnswerKind.UNABLE)
        try:
            return await do(act)
        except UsageError as error:
            self.screen.reason = str(error)
            return Answer(AnswerKind.REFUSED, str(error))

    async def end(self, number: str, verdict: str) -> None:
        """The day ends."""
        del number, verdict
        await self.leave(Act(ActKind.LEAVE))

    async def close(self) -> None:
        """Switch it off."""
        await self._power_off()

    # --- link --------------------------------------------------------------------------------------------------------

    def open(self, role: Role = Role.CLINICIAN) -> Programmer:
        """A driver for the pump under the telemeter; nothing is opened before the first call."""
        opened = connect(
            pump=self.socket, role=role, journal=self.journals, faults=self.socket.outgoing, entropy=self.entropy
        )
        return opened._programmer  # noqa: SLF001 - the tablet opens and closes at different times

    def driver(self) -> Programmer:
        """The driver in use."""
        if self.programmer is None:
            self.programmer = self.open()
            self._told = 0
        return self.programmer

    async def read(self) -> Reading:
        """Read the pump in one session; raises what the driver raises."""
        driver = self.driver()
        identity, status = await driver.read_identity(), await driver.read_status()
        alarms = await driver.read_alarms()
        try:
            delivery = await driver.read_delivery()
        except Refused:
            delivery = None  # the pump gives this credential a role that may not see it
        if self._change is None:
            await driver.release()  # never holds the pump; but a proposal lives in its session
        return Reading(identity, status, alarms, delivery, self.clock.link_ms())

    async def look(self, *, interrogate: bool = False) -> bool:
        """Read the pump and show it; a look that fails is told, and what stands there is marked."""
        try:
            reading = await self.read()
        except (LinkError, PeerError, Refused, OutcomeUnknown) as error:
            self.recover(self.driver().resolved)
            self.screen.problem = " ".join(str(error).split())
            self.annunciator.link_lost(self.clock.link_ms())
            return False
        self.recover(self.driver().resolved)
        if not interrogate and not self.known_pump(reading):
            self.screen.problem = f"ANOTHER PUMP answers, serial {reading.identity.serial}: interrogate it first"
            return False
        self.take(reading)
        return True

    def known_pump(self, reading: Reading) -> bool:
        """Whether it is the pump that was interrogated."""
        shown = self.screen.reading
        return shown is None or shown.identity.pump_id == reading.identity.pump_id

    def take(self, reading: Reading) -> None:
        """Show a reading."""
        shown = self.screen.reading
        if shown is not None and shown.identity.pump_id != reading.identity.pump_id:
            self.annunciator = Annunciator()
        self.screen.reading, self.screen.problem = reading, ""
        self.screen.view = self.annunciator.observe_status(reading.status, self.clock.link_ms(), alarms=reading.alarms)

    def stale(self) -> str:
        """The mark of what is out of date: the last look failed, or none was made for long."""
        reading = self.screen.reading
        if reading is None:
            return ""
        age_ms = self.clock.link_ms() - reading.read_ms
        if not self.screen.problem and age_ms <= self.stale_after_ms:
            return ""
        return f"{OUT_OF_DATE}: last read {age_ms // MS_PER_SECOND} s ago"

    def recover(self, resolved: tuple[Outcome, ...]) -> None:
        """Tell what the pump said of changes whose outcome had been unknown."""
        for outcome in resolved[self._told :]:
            applied = outcome.verdict is Verdict.APPLIED
            self.screen.result = APPLIED if applied else NOT_APPLIED
            self.screen.reason = f"found out from the pump: operation {outcome.transaction} {outcome.verdict}"
            self.screen.open_operations = [one for one in self.screen.open_operations if outcome.transaction not in one]
        self._told = len(resolved)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def interrogate(self, act: Act) -> Answer:
        """Read the pump under the telemeter, whichever it is."""
        del act
        await self._drop_change()
        await self.look(interrogate=True)
        return Answer(AnswerKind.DONE, self.screen.problem)

    async def show_field(self, act: Act) -> Answer:
        """Tell what stands at a field."""
        text = self.show(Field(act.field))
        return Answer(AnswerKind.SHOWN, text) if text else Answer(AnswerKind.NOTHING)

    async def wait(self, act: Act) -> Answer:
        """Let time pass; the tablet polls by itself."""
        until_ms = self.clock.link_ms() + act.ms
        while (due_ms := self.clock.link_ms() + self.poll_ms) <= until_ms:
            await pass_until(self.clock, due_ms)
            if self.screen.reading is not None or self.screen.problem:
                await self.poll()
        await pass_until(self.clock, until_ms)
        if self.screen.reading is not None:
            self.screen.view = self.annunciator.view(self.clock.link_ms())
        return Answer(AnswerKind.DONE)

    async def poll(self) -> None:
        """A look by itself."""
        await self.look()

    async def read_log(self, act: Act) -> Answer:
        """Read the whole log of the pump."""
        del act
        try:
            self.screen.log = (await self.driver().read_log()).records
            await self.driver().release()
        except (LinkError, PeerError, Refused) as error:
            self.screen.problem = str(error)
        return Answer(AnswerKind.DONE, self.screen.problem)

    # --- alarms ------------------------------------------------------------------------------------------------------

    async def silence(self, act: Act) -> Answer:
        """Silence what sounds, at the pump and here, for a time."""
        del act
        return await self._hush(lambda: self.driver().silence_alarm())

    async def acknowledge(self, act: Act) -> Answer:
        """Acknowledge one alarm."""
        kind = AlarmKind(act.text)
        return await self._hush(lambda: self.driver().acknowledge_alarm(kind))

    async def _hush(self, do: Callable[[], Awaitable[object]]) -> Answer:
        try:
            await do()
        except (LinkError, PeerError, Refused) as error:
            self.screen.problem = str(error)
            return Answer(AnswerKind.DONE, self.screen.problem)
        self.annunciator.pause_audio(self.clock.link_ms())
        await self.look()
        return Answer(AnswerKind.DONE)

    # --- power -------------------------------------------------------------------------------------------------------

    async def leave(self, act: Act) -> Answer:
        """End the work with this pump."""
        del act
        await self._drop_change()
        if self.programmer is not None:
            await self.programmer.close()
            self.programmer = None
        return Answer(AnswerKind.DONE)

    async def restart(self, act: Act) -> Answer:
        """Off and on again."""
        del act
        await self._power_off()
        self._power_on()
        return Answer(AnswerKind.DONE)

    async def confirm_and_power_cut(self, act: Act) -> Answer:
        """Let the change go, and lose all power as soon as COMMIT has left."""
        if self._decision is None or self._decision.done() or self._change is None:
            return Answer(AnswerKind.REFUSED, "there is nothing to confirm")
        sent = self.socket.outgoing.next_commit()
        self._decision.set_result(True)
        await asyncio.wait({self._change, sent}, return_when=asyncio.FIRST_COMPLETED)
        sent.cancel()
        return await self.restart(act)

    async def _power_off(self) -> None:
        """Everything in memory is gone, and the link with it; the journal stays."""
        change, self._change = self._change, None
        if change is not None:
            change.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await change
        self._decision = self._order = None
        await self.socket.cut()
        if self.programmer is not None:
            with contextlib.suppress(TelemetryError):
                await self.programmer.close()
            self.programmer = None

    def _power_on(self) -> None:
        self.screen = Screen()
        self.annunciator = Annunciator()


__all__ = ["POLL_MS", "STALE_AFTER_MS", "Tablet"]

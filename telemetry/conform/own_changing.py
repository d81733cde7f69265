"""How the reference tablet makes a change: order, review, decision, and how it ended. See ``own.py``."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind
from telemetry.conform.own_screen import APPLIED, NOT_APPLIED, UNKNOWN, Writing
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused, UsageError
from telemetry.model import Role
from telemetry.therapy import Therapy
from telemetry.units import Concentration, DailyDose, Dose, Duration, Volume, parse_delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from telemetry.model import Change
    from telemetry.programmer import Programmer, Proposal

    Order = Callable[[Programmer, Collection[str]], Awaitable[Change]]


class Changing(Writing):
    """The changing half of the tablet."""

    def __init__(self) -> None:
        super().__init__()
        self._order: Order | None = None
        self._change: asyncio.Task[None] | None = None
        self._decision: asyncio.Future[bool] | None = None
        self._reviewed: asyncio.Future[None] | None = None

    @abstractmethod
    def open(self, role: Role = Role.CLINICIAN) -> Programmer:
        """A driver for the pump under the telemeter."""

    @abstractmethod
    def driver(self) -> Programmer:
        """The driver in use."""

    @abstractmethod
    async def look(self, *, interrogate: bool = False) -> bool:
        """Read the pump and show it."""

    def order(self, kind: ActKind, text: str) -> Order:
        """What a typed order means; raises ``UsageError`` for what cannot be read exactly."""
        if kind is ActKind.SET_RATE:
            rate = parse_delivery(text)
            return lambda driver, accept: driver.set_rate(rate, accept=accept, confirm=self.review)
        if kind is ActKind.BOLUS:
            said, _, over = text.partition(" over ")
            amount, span = _amount(said), Duration.parse(over)
            return lambda driver, accept: driver.bolus(amount, span, accept=accept, confirm=self.review)
        if kind is ActKind.PRIME:
            volume = Volume.parse(text)
            return lambda driver, accept: driver.prime(volume, accept=accept, confirm=self.review)
        if kind is ActKind.REFILL:
            return self._refill(dict(_pair(line) for line in text.splitlines() if line.strip()))
        if kind is ActKind.SET_CLOCK:
            try:
                moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            except ValueError as error:
                raise UsageError(f"clock: {text!r} is not of the form 2026-01-31 12:00:00") from error
            utc_s = int(moment.timestamp())
            return lambda driver, accept: driver.set_clock(utc_s, accept=accept, confirm=self.review)
        return lambda driver, accept: driver.resume(accept=accept, confirm=self.review)

    def _refill(self, said: dict[str, str]) -> Order:
        volume, withdrawn = Volume.parse(said.get("volume", "")), Volume.parse(said.get("withdrawn", ""))
        drug = Concentration.parse(said["concentration"]) if "concentration" in said else None
        plan = Therapy.simple_continuous(DailyDose.parse(said["dose"])) if "dose" in said else None
        return lambda driver, accept: driver.refill(
            volume, drug, plan, withdrawn=withdrawn, accept=accept, confirm=self.review
        )

    async def prepare(self, act: Act) -> Answer:
        """Take an order and bring it to the review."""
        await self._drop_change()
        self.screen.forget_change()
        self._order = self.order(act.kind, act.text)
        return await self._stage(self.accepted(()))

    def accepted(self, warnings: Collection[str]) -> Collection[str]:
        """Which warnings go with an order: those that the person accepted, and no other."""
        return warnings

    async def accept(self, act: Act) -> Answer:
        """Accept the warnings that stand there, and stage again."""
        del act
        if self._order is None or not self.screen.warnings:
            return Answer(AnswerKind.REFUSED, "there is no warning to accept")
        warnings, self.screen.result, self.screen.reason = self.screen.warnings, "", ""
        return await self._stage(self.accepted(warnings))

    async def _stage(self, accept: Collection[str]) -> Answer:
        """Begin the change and go on until the review is up or it has ended."""
        order = self._order
        if order is None:
            return Answer(AnswerKind.REFUSED, "there is no order")
        self._change = asyncio.create_task(self.carry_out(order, accept), name="change")
        return await self._until_shown()

    async def _until_shown(self) -> Answer:
        """Until the change waits for the person or has ended."""
        change = self._change
        if change is None:
            return Answer(AnswerKind.DONE)
        self._reviewed = asyncio.get_running_loop().create_future()
        await asyncio.wait({change, self._reviewed}, return_when=asyncio.FIRST_COMPLETED)
        if not change.done():
            return Answer(AnswerKind.DONE, self.show_after())
        await self._end_change()
        if self.screen.warnings and not self.screen.result:
            return Answer(AnswerKind.DONE, "the pump warns: " + ", ".join(self.screen.warnings))
        return Answer(AnswerKind.DONE, f"{self.screen.result}: {self.screen.reason}".rstrip(": "))

    async def carry_out(self, order: Order, accept: Collection[str]) -> None:
        """Carry the order out and show how it ended."""
        try:
            change = await order(self.driver(), accept)
        except Refused as error:
            await self.refused(error)
        except OutcomeUnknown as error:
            await self.unknown(error)
        except (LinkError, PeerError, UsageError) as error:
            self.screen.result, self.screen.reason = NOT_APPLIED, " ".join(str(error).split())
        else:
            await self.applied(change)

    async def review(self, proposal: Proposal) -> bool:
        """The pump's read-back is there: show it, and let the person decide."""
        identity = await self.driver().read_identity()
        shown = self.screen.reading
        if shown is not None and identity.pump_id != shown.identity.pump_id:
            self.screen.problem = f"ANOTHER PUMP answers, serial {identity.serial}: interrogate it first"
            return False
        self.screen.review, self.screen.before = proposal, proposal.before
        self.screen.warnings = tuple(str(warning) for warning in proposal.warnings)
        return await self.decide()

    async def decide(self) -> bool:
        """Wait for the person."""
        self._decision = asyncio.get_running_loop().create_future()
        if self._reviewed is not None and not self._reviewed.done():
            self._reviewed.set_result(None)
        return await self._decision

    async def confirm(self, act: Act) -> Answer:
        """The person lets the change go."""
        del act
        if self._decision is None or self._decision.done():
            return Answer(AnswerKind.REFUSED, "there is nothing to confirm")
        self._decision.set_result(True)
        return await self._until_shown()

    async def cancel(self, act: Act) -> Answer:
        """The person leaves without it."""
        del act
        if self._decision is not None and not self._decision.done():
            self._decision.set_result(False)
            return await self._until_shown()
        self._order = None
        self.screen.forget_change()
        return Answer(AnswerKind.DONE)

    async def applied(self, change: Change) -> None:
        """It was applied."""
        self.screen.result, self.screen.reason = APPLIED, f"operation {change.transaction}"

    async def refused(self, error: Refused) -> None:
        """It was not applied; with warnings, the person may accept them."""
        self.screen.warnings, self.screen.reason = error.warnings, str(error)
        self.screen.result = "" if error.warnings else NOT_APPLIED
        if self.screen.problem and error.reason == "declined":
            self.screen.reason = self.screen.problem

    async def unknown(self, error: OutcomeUnknown) -> None:
        """Nobody knows yet; the next contact asks the pump first."""
        self.screen.result, self.screen.reason = UNKNOWN, str(error)
        self.screen.open_operations.append(f"operation {error.transaction}: outcome unknown, interrogate the pump")
        await self.retry()

    async def retry(self) -> None:
        """What the tablet does by itself after an unknown outcome: nothing."""

    async def _end_change(self) -> None:
        change, self._change, self._decision = self._change, None, None
        if change is not None:
            await change
        if self.screen.result != UNKNOWN:
            await self.look()

    async def _drop_change(self) -> None:
        """Leave a review that is open."""
        if self._decision is not None and not self._decision.done():
            self._decision.set_result(False)
        if self._change is not None:
            await self._change
        self._change = self._decision = self._order = None

    async def patient_bolus(self, act: Act) -> Answer:
        """Ask for the patient's own bolus, in the patient's role."""
        del act
        self.screen.forget_change()
        programmer = self.open(Role.PATIENT)
        try:
            await self.driver().close()
            await self.applied(await programmer.patient_bolus())
        except Refused as error:
            await self.refused(error)
        except OutcomeUnknown as error:
            await self.unknown(error)
        except (LinkError, PeerError) as error:
            self.screen.result, self.screen.reason = NOT_APPLIED, str(error)
        finally:
            await programmer.close()
        return Answer(AnswerKind.DONE, f"{self.screen.result}: {self.screen.reason}")

    async def stop(self, act: Act) -> Answer:
        """Stop the pump, whatever else is open."""
        del act
        await self._drop_change()
        self.screen.forget_change()
        try:
            await self.applied(await self.driver().stop())
        except Refused as error:
            await self.refused(error)
        except OutcomeUnknown as error:
            await self.unknown(error)
        except (LinkError, PeerError) as error:
            self.screen.result, self.screen.reason = NOT_APPLIED, str(error)
        if self.screen.result == APPLIED:
            await self.look()
        return Answer(AnswerKind.DONE, f"{self.screen.result}: {self.screen.reason}")


def _amount(text: str) -> Dose | Volume:
    """``20 ug`` or ``0.010 ml``."""
    try:
        return Dose.parse(text)
    except UsageError:
        return Volume.parse(text)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


__all__ = ["Changing"]

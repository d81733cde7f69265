"""Bad programmers that do what nobody asked for: units, review, warnings, outcomes, repeats. One fault each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from telemetry.conform.bad.declaring import Bad
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.own import Tablet
from telemetry.conform.own_screen import APPLIED, NOT_APPLIED
from telemetry.model import Role, Warn
from telemetry.programmer.dosing import Dosing, _set_rate
from telemetry.programmer.journal import MemoryJournalStore, Stage
from telemetry.protocol.messages import Staged
from telemetry.protocol.orders import decode_order
from telemetry.units import DailyDose, FlowRate, parse_delivery

if TYPE_CHECKING:
    from collections.abc import Collection

    from telemetry.conform.own_changing import Order
    from telemetry.conform.own_screen import Reading
    from telemetry.errors import OutcomeUnknown, Refused
    from telemetry.programmer import Programmer, Proposal

# A bad tablet reaches into the driver to take out what keeps it right; each class says what its methods do wrong.
# ruff: noqa: SLF001, D102

_USUAL_NG_PER_ML = 2_000_000
_COARSE_NL_PER_DAY = 10_000


# --- what was typed --------------------------------------------------------------------------------------------------


class HourForDay(Tablet):
    """Takes ml/h for ml/day."""

    def order(self, kind: ActKind, text: str) -> Order:
        return super().order(kind, text.replace("ml/h", "ml/day"))


class DoseHourForDay(Tablet):
    """Takes µg/h for µg/day."""

    def order(self, kind: ActKind, text: str) -> Order:
        return super().order(kind, text.replace("ug/h", "ug/day"))


class CutsMilligrams(Tablet):
    """Keeps one decimal of a milligram."""

    def order(self, kind: ActKind, text: str) -> Order:
        number, unit, _ = text.partition(" mg/day")
        return super().order(kind, f"{number[:3]} mg/day" if unit else text)


class UsualConcentration(Tablet):
    """Works doses out for the concentration that is in most pumps."""

    def order(self, kind: ActKind, text: str) -> Order:
        wanted = parse_delivery(text) if kind is ActKind.SET_RATE else None
        if isinstance(wanted, DailyDose):
            rate = FlowRate(wanted.ng_per_day * 1_000_000 // _USUAL_NG_PER_ML)
            return lambda driver, accept: driver.set_rate(rate, accept=accept, confirm=self.review)
        return super().order(kind, text)


class RoundsTheRate(Tablet):
    """Rounds a rate to what fits its wheel: hundredths of a millilitre a day."""

    def order(self, kind: ActKind, text: str) -> Order:
        wanted = parse_delivery(text) if kind is ActKind.SET_RATE else None
        if isinstance(wanted, FlowRate):
            rate = FlowRate(round(wanted.nl_per_day / _COARSE_NL_PER_DAY) * _COARSE_NL_PER_DAY)
            return lambda driver, accept: driver.set_rate(rate, accept=accept, confirm=self.review)
        return super().order(kind, text)


class RoundsTheReview(Tablet):
    """Shows the review in round figures."""

    def show_after(self) -> str:
        review = self.screen.review
        if review is None:
            return ""
        return f"simple continuous, {DailyDose(review.after.dose_ng_per_day // 1_000 * 1_000)}"


class GuessesTheUnit(Tablet):
    """Takes a bare number for thousandths of ml/day and shows it as bare as it was."""

    def order(self, kind: ActKind, text: str) -> Order:
        return super().order(kind, f"0.{text} ml/day" if text.isdigit() else text)

    def show_after(self) -> str:
        return super().show_after() and str(self.screen.review and self.screen.review.after.rate_nl_per_day // 1_000)


# --- review ----------------------------------------------------------------------------------------------------------


class WrongWayRound(Tablet):
    """Shows what will be on the side of what is."""

    def show_before(self) -> str:
        return super().show_after()

    def show_after(self) -> str:
        return super().show_before()


class ConfirmsByItself(Tablet):
    """Lets a change go without waiting for the person."""

    async def decide(self) -> bool:
        return True


class CancelConfirms(Tablet):
    """Takes leaving the review for a yes."""

    async def cancel(self, act: Act) -> Answer:
        return await self.confirm(act)


class _Trusting(Dosing):
    """Takes whatever the pump reads back for what was meant."""

    async def _stage(self, journal, status, intent):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as in Dosing
        if intent.short is None:
            return await super()._stage(journal, status, intent)
        accept = await self._contact.open()
        digest = hashlib.sha256(intent.image).digest()
        entry, acked = await self._take_number(journal, accept, intent.kind, intent.words, digest, Stage.PENDING)
        staged = await self._contact.ask(_set_rate(bytes.fromhex(entry.op_id), acked, status, intent.short), Staged)
        return entry, staged, decode_order(intent.kind, staged.image)


class IgnoresTheReadBack(Tablet):
    """Commits what the pump has read back, whatever that is."""

    def open(self, role: Role = Role.CLINICIAN) -> Programmer:
        programmer = super().open(role)
        programmer._dosing.__class__ = _Trusting
        return programmer


class ShowsTheRequest(Tablet):
    """Shows what was typed where the pump's read-back belongs."""

    typed = ""

    async def prepare(self, act: Act) -> Answer:
        self.typed = act.text
        return await super().prepare(act)

    def show_after(self) -> str:
        return self.typed


class AnyPump(Tablet):
    """Works with whatever pump answers."""

    def known_pump(self, reading: Reading) -> bool:
        del reading
        return True

    async def review(self, proposal: Proposal) -> bool:
        self.screen.review, self.screen.before = proposal, proposal.before
        return await self.decide()


# --- refusals --------------------------------------------------------------------------------------------------------


class AcceptsWarnings(Tablet):
    """Accepts every warning in the person's place."""

    def accepted(self, warnings: Collection[str]) -> Collection[str]:
        del warnings
        return tuple(Warn)

    async def accept(self, act: Act) -> Answer:
        return await super().accept(act) if self._change is None else Answer(AnswerKind.DONE)


class HidesWarnings(Tablet):
    """Does not show what the pump warns of."""

    def show(self, name: Field) -> str:
        return "" if self.screen.warnings and name in {Field.WARNINGS, Field.REASON} else super().show(name)

    async def prepare(self, act: Act) -> Answer:
        answer = await super().prepare(act)
        return Answer(answer.kind) if self.screen.warnings else answer


class RefusedIsDone(Tablet):
    """Takes an answer for a yes, whatever it says."""

    async def refused(self, error: Refused) -> None:
        await super().refused(error)
        self.screen.result, self.screen.reason = APPLIED, ""


# --- outcomes --------------------------------------------------------------------------------------------------------


class UnknownIsApplied(Tablet):
    """Takes silence for success."""

    async def unknown(self, error: OutcomeUnknown) -> None:
        await super().unknown(error)
        self.screen.result = APPLIED


class UnknownIsFailed(Tablet):
    """Takes silence for failure."""

    async def unknown(self, error: OutcomeUnknown) -> None:
        await super().unknown(error)
        self.screen.result = NOT_APPLIED


class OneWordForAll(Tablet):
    """Says the same of every change that has ended."""

    def show_result(self) -> str:
        return "DONE" if self.screen.result else ""


class NeverAsks(Tablet):
    """Forgets what it does not know as soon as it has shown it, and so never asks."""

    async def unknown(self, error: OutcomeUnknown) -> None:
        await super().unknown(error)
        self.journals = MemoryJournalStore()
        await self.driver().close()
        self.programmer = None


class SendsOn(Tablet):
    """Sends the next change although the last one is unknown."""

    async def prepare(self, act: Act) -> Answer:
        if self.screen.open_operations:
            self.journals = MemoryJournalStore()
            await self.driver().close()
            self.programmer = None
        return await super().prepare(act)


class LosesSightOfIt(Tablet):
    """Shows an unknown outcome until the next look, and then no more."""

    async def look(self, *, interrogate: bool = False) -> bool:
        found = await super().look(interrogate=interrogate)
        if self.screen.open_operations:
            self.screen.open_operations, self.screen.result, self.screen.reason = [], "", ""
        return found


class ForgetsWhenSwitchedOff(Tablet):
    """Keeps its journal in memory that is gone with the power."""

    def _power_on(self) -> None:
        super()._power_on()
        self.journals = MemoryJournalStore()


class RepeatsByItself(Tablet):
    """After an unknown outcome it gives the order again, as a new one, when the pump is back."""

    again: Order | None = None

    async def retry(self) -> None:
        self.again = self._order

    async def decide(self) -> bool:
        return True if self.again is not None else await super().decide()

    async def look(self, *, interrogate: bool = False) -> bool:
        order = self.again
        if order is not None and self._change is None:
            self.journals = MemoryJournalStore()
            await self.driver().close()
            self.programmer = None
            await self.carry_out(order, self.accepted(()))
            self.again = None
        return await super().look(interrogate=interrogate)


class StopMustWait(Tablet):
    """Lets nobody stop the pump while a change is unknown."""

    async def stop(self, act: Act) -> Answer:
        if self.screen.open_operations:
            return Answer(AnswerKind.REFUSED, "a change is unknown; stop is not possible")
        return await super().stop(act)


class StaysBehind(Tablet):
    """Goes to its start page and leaves session and review open."""

    async def leave(self, act: Act) -> Answer:
        del act
        return Answer(AnswerKind.DONE)

    async def end(self, number: str, verdict: str) -> None:
        """The kit switches it off, so that the next step finds the pump free."""
        del number, verdict
        await super().leave(Act(ActKind.LEAVE))


BAD_ACTING: tuple[Bad[Tablet], ...] = (
    Bad("any pump", "changes whatever pump answers", "P-14", AnyPump),
    Bad("wrong way round", "swaps before and after", "P-20", WrongWayRound),
    Bad("confirms by itself", "commits without the person", "P-21", ConfirmsByItself),
    Bad("cancel confirms", "takes leaving the review for a yes", "P-22", CancelConfirms),
    Bad("ignores the read-back", "commits what it did not ask for", "P-23", IgnoresTheReadBack),
    Bad("shows the request", "shows the request in place of the read-back", "P-24", ShowsTheRequest),
    Bad("one word for all", "says the same word whatever became of a change", "P-30", OneWordForAll),
    Bad("unknown is applied", "calls an unknown outcome applied", "P-30", UnknownIsApplied),
    Bad("unknown is failed", "calls an unknown outcome failed", "P-32", UnknownIsFailed),
    Bad("never asks", "does not ask what became of an open operation", "P-33", NeverAsks),
    Bad("sends on", "sends another change while one is unknown", "P-36", SendsOn),
    Bad("loses sight", "shows an unknown outcome once and no more", "P-37", LosesSightOfIt),
    Bad("forgets when off", "forgets open operations when switched off", "P-38", ForgetsWhenSwitchedOff),
    Bad("repeats a bolus", "gives a bolus again whose verdict was lost", "P-41", RepeatsByItself),
    Bad("stop must wait", "lets nobody stop while a change is unknown", "P-47", StopMustWait),
    Bad("refused is done", "treats a refusal as success", "P-50", RefusedIsDone),
    Bad("hides warnings", "does not show what the pump warns of", "P-51", HidesWarnings),
    Bad("accepts warnings", "accepts soft limits in the person's place", "P-52", AcceptsWarnings),
    Bad("hour for day", "takes ml/h for ml/day", "P-61", HourForDay),
    Bad("dose hour for day", "takes µg/h for µg/day", "P-62", DoseHourForDay),
    Bad("cuts milligrams", "keeps one decimal of a milligram", "P-63", CutsMilligrams),
    Bad("usual concentration", "works doses out for 2000 µg/ml", "P-64", UsualConcentration),
    Bad("rounds the rate", "rounds to hundredths of a millilitre", "P-65", RoundsTheRate),
    Bad("rounds the review", "shows the review in round figures", "P-66", RoundsTheReview),
    Bad("guesses the unit", "takes a number without a unit", "P-67", GuessesTheUnit),
    Bad("stays behind", "leaves its session open when the work is ended", "P-87", StaysBehind),
)
"""Programmers that do what nobody asked for, with the step that must find each."""

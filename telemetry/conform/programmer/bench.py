"""What a step of a programmer works with: the operator's hands, the pump at the bedside, and the judging of screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.conform.operator import ACT_LIMIT_MS, Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.programmer.sentences import sentence
from telemetry.conform.results import EvidenceKind
from telemetry.conform.screen_text import Kind, Shown, quantities, says
from telemetry.conform.steps import Inconclusive
from telemetry.model import OperationKind, Verdict
from telemetry.units import DailyDose, FlowRate

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.bedside import Bedside
    from telemetry.conform.manifest import Limits, Manifest, Words
    from telemetry.conform.operator import Operator
    from telemetry.conform.recorder import Recorder
    from telemetry.model import PumpStatus
    from telemetry.sim.pump.ledger import CommitRecord
    from telemetry.sim.virtual_pump import VirtualPump

APPLIED, NOT_APPLIED, UNKNOWN = "applied", "not applied", "unknown"


class Bench:
    """The stage of one step: acts, the pump, and expectations."""

    def __init__(
        self, record: Recorder, operator: Operator, manifest: Manifest, make: Callable[[dict[str, Any]], Bedside]
    ) -> None:
        self._record = record
        self._operator = operator
        self._manifest = manifest
        self._make = make
        self._bedside: Bedside | None = None

    @property
    def record(self) -> Recorder:
        """Where the step tells what it sees."""
        return self._record

    @property
    def bedside(self) -> Bedside:
        """The pump at the bedside; a stock one unless ``lay`` was called before."""
        if self._bedside is None:
            self._bedside = self._make({})
        return self._bedside

    @property
    def pump(self) -> VirtualPump:
        """The virtual pump."""
        return self.bedside.pump

    @property
    def status(self) -> PumpStatus:
        """What the pump says of itself now."""
        return self.pump.status

    @property
    def limits(self) -> Limits:
        """What the equipment claims of its speed."""
        return self._manifest.limits

    @property
    def words(self) -> Words:
        """The equipment's own words."""
        return self._manifest.words

    def lay(self, **settings: Any) -> Bedside:  # noqa: ANN401 - settings of a VirtualPump
        """A pump that is not the stock one; before anything else in a step."""
        if self._bedside is not None:
            raise RuntimeError("a pump lies there already; lay() comes first in a step")
        self._bedside = self._make(settings)
        return self._bedside

    def now_ms(self) -> int:
        """Link time."""
        return self.bedside.clock.link_ms()

    async def close(self) -> None:
        """The step is over."""
        if self._bedside is not None:
            await self._bedside.close()

    # --- acts --------------------------------------------------------------------------------------------------------

    async def act(self, kind: ActKind, text: str = "", *, field: str = "", ms: int = 0) -> Answer:
        """Have the operator do something; raises ``Inconclusive`` where it was skipped or cannot be done."""
        called = self._manifest.fields.get(field, "")
        words = sentence(kind, text=text, field=field, ms=ms, called=called)
        answer = await self._operator.do(Act(kind, field, text, ms, words, ACT_LIMIT_MS + ms))
        if kind is ActKind.SHOW:
            self.record.tell(EvidenceKind.SHOWN, field, answer.text or f"({answer.kind})")
        else:
            self.record.tell(EvidenceKind.ACT, words, f"{answer.kind}: {answer.text}".rstrip(": "))
        if answer.kind is AnswerKind.SKIPPED:
            raise Inconclusive(f"the operator left out: {words}")
        if answer.kind is AnswerKind.UNABLE:
            raise Inconclusive(f"the equipment cannot do this, although its feature is claimed: {words}")
        return answer

    async def interrogate(self) -> Answer:
        """Read the pump anew."""
        return await self.act(ActKind.INTERROGATE)

    async def show(self, field: Field) -> str:
        """What stands at a field now; "" for nothing."""
        answer = await self.act(ActKind.SHOW, field=field.value)
        return answer.text.strip() if answer.kind is AnswerKind.SHOWN else ""

    async def wait(self, ms: int) -> None:
        """Leave the equipment alone for so long."""
        await self.act(ActKind.WAIT, ms=ms)

    async def change(self, text: str, kind: ActKind = ActKind.SET_RATE) -> Answer:
        """Interrogate, enter an order and bring it as far as the review."""
        await self.interrogate()
        return await self.act(kind, text)

    async def confirm(self) -> Answer:
        """Let the reviewed change go."""
        return await self.act(ActKind.CONFIRM)

    async def result(self) -> str:
        """How the last change ended, by the screen: ``applied``, ``not applied``, ``unknown``, or what stands there."""
        text = await self.show(Field.RESULT)
        for name, words in (
            (NOT_APPLIED, self.words.not_applied),
            (UNKNOWN, self.words.unknown),
            (APPLIED, self.words.applied),
        ):
            if says(text, *words):
                return name
        return text

    # --- expectations ------------------------------------------------------------------------------------------------

    def expect(self, held: bool, expected: str, observed: str) -> bool:  # noqa: FBT001 - the one thing it is about
        """See ``Recorder.expect``."""
        return self.record.expect(held, expected, observed)

    def demand(self, held: bool, expected: str, observed: str) -> None:  # noqa: FBT001 - as above
        """See ``Recorder.demand``."""
        self.record.demand(held, expected, observed)

    def expect_quantity(self, text: str, kind: Kind, count: int, what: str, *, exact: bool = False) -> bool:
        """A number of this kind stands there with its unit and says this count (see ``screen_text.Shown``).

        ``exact``: to the last digit; else as far as its digits go.
        """
        found = _comparable(text, kind)
        held = bool(found) and all(one.is_exactly(count) if exact else one.is_about(count) for one in found)
        precision = "exactly" if exact else "as far as its digits go"
        return self.expect(held, f"{what}: {_in_words(kind, count)}, with its unit, {precision}", text or "nothing")

    def expect_therapy(self, text: str, what: str, *, rate: int, dose: int, exact: bool = False) -> bool:
        """A therapy stands there as rate, as dose per day, or as both, with units, and says these."""
        flows, doses = _comparable(text, Kind.FLOW), _comparable(text, Kind.DAILY_DOSE)
        right = all(one.is_exactly(rate) if exact else one.is_about(rate) for one in flows) and all(
            one.is_exactly(dose) if exact else one.is_about(dose) for one in doses
        )
        expected = f"{what}: {FlowRate(rate)} or {DailyDose(dose)}, with units"
        return self.expect(right and bool(flows or doses), expected, text or "nothing")

    def expect_says(self, text: str, words: tuple[str, ...], what: str) -> bool:
        """One of these words stands there."""
        return self.expect(
            says(text, *words), f"{what}: one of the words {', '.join(map(repr, words))}", text or "nothing"
        )

    # --- what is so --------------------------------------------------------------------------------------------------

    def applied(self, kind: OperationKind | None = None) -> list[CommitRecord]:
        """Operations of the wire that the pump applied, of one kind or any."""
        return [
            record
            for record in self.bedside.decided()
            if record.verdict is Verdict.APPLIED and kind in {None, record.kind}
        ]

    def expect_unchanged(self, before: PumpStatus) -> bool:
        """The pump's therapy is what it was, and nothing was applied by the wire."""
        now, applied = self.status, self.applied()
        same = (now.program_sequence, now.rate_nl_per_day) == (before.program_sequence, before.rate_nl_per_day)
        return self.expect(
            same and not applied,
            f"the pump is unchanged: {FlowRate(before.rate_nl_per_day)}, nothing applied",
            f"{FlowRate(now.rate_nl_per_day)}, {len(applied)} applied",
        )

    def expect_applied(self, count: int, kind: OperationKind) -> bool:
        """The pump applied so many operations of this kind: the ledger is the judge."""
        found = len(self.applied(kind))
        return self.expect(found == count, f"the pump's ledger has {count} applied {kind}", f"{found}")

    def sent(self, message: str) -> int:
        """How many frames of this name have reached the kit in this step."""
        return self.bedside.counted["to_pump", message]

    def expect_no_commit(self, when: str) -> bool:
        """No COMMIT has been sent so far."""
        count = self.sent("Commit")
        return self.expect(not count, f"no COMMIT is sent {when}", f"{count} sent")


def _comparable(text: str, kind: Kind) -> list[Shown]:
    """Numbers of a kind, a dose per hour counting as the dose per day that it is."""
    found = quantities(text, kind)
    if kind is Kind.DAILY_DOSE:
        hourly = quantities(text, Kind.HOURLY_DOSE)
        found += [Shown(one.text, kind, one.count * 24, one.last * 24) for one in hourly]
    return found


def _in_words(kind: Kind, count: int) -> str:
    from telemetry.units import Concentration, Dose, Volume  # noqa: PLC0415 - a table of all of them

    units = {
        Kind.FLOW: FlowRate,
        Kind.DAILY_DOSE: DailyDose,
        Kind.DOSE: Dose,
        Kind.VOLUME: Volume,
        Kind.CONCENTRATION: Concentration,
    }
    unit = units.get(kind)
    return f"{count} %" if unit is None else str(unit(count))


__all__ = ["APPLIED", "NOT_APPLIED", "UNKNOWN", "Bench"]

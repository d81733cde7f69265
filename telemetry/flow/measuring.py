"""A measurement: one reading an interval, from a balance that may fail in every way; nothing is made up.

A sample without a reading is a gap that is marked. A jump that no pump could make ends a *piece*: windows lie within
one. The measurement ends early, with all that was read, when a gap lasts longer than ``patience_ms``.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from telemetry.errors import LinkError, PeerError, Refused, UsageError
from telemetry.flow.client import Balance, Identity
from telemetry.flow.document import (
    MOST_SAMPLES,
    Corrections,
    Equipment,
    FlowRun,
    KnownError,
    Mark,
    MeasuredPump,
    Readings,
)
from telemetry.flow.lines import MASSES, Line, Outcome
from telemetry.flow.streams import Look
from telemetry.report.words import span
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.flow.streams import Stream

_TRIES = 24
"""Times a sample is asked for while the balance moves or is busy."""
_AGAIN_MS = 250
DEFAULT_PATIENCE_MS = 4 * MS_PER_HOUR
_LEAST_GAP_SAMPLES = 10
_JUMP_STEPS = 20
"""A jump must be larger than so many last digits, so that noise is none."""
_JUMP_UP = 5
_WORDS = {
    Outcome.OVERLOAD: "the balance says overload: something lies on the pan or the beaker is too full",
    Outcome.UNDERLOAD: "the balance says underload: the beaker or the pan was taken away",
    Outcome.BUSY: "the balance says that it cannot weigh now (it adjusts itself, or does not come to rest)",
    Outcome.NOT_UNDERSTOOD: "the balance does not know the command: check --protocol",
    Outcome.FOREIGN_UNIT: "the balance weighs in a unit that is no metric mass: set it to g or mg",
    Outcome.UNITLESS: "the balance prints no unit, as SBI does while the mass moves: wait until it rests",
    Outcome.SILENT: "the balance is silent: is it switched on, is the cable in place?",
    Outcome.LOST: "the link to the balance is gone",
    Outcome.GARBAGE: "the balance sent what cannot be read",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured. ``rate_nl_per_day`` is the set rate; ``bolus_nl``: one such bolus an interval."""

    kind: str
    title: str
    scheme: str
    every_ms: int
    stabilise_ms: int
    windows_ms: tuple[int, ...]
    rate_nl_per_day: int
    samples: int
    corrections: Corrections
    bolus_nl: int | None = None
    patience_ms: int = DEFAULT_PATIENCE_MS
    known: KnownError | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise UsageError(
                f"--hours, --interval: {self.samples} readings, one every {span(self.every_ms)}, is outside 1 to "
                f"{MOST_SAMPLES}; choose another of the two"
            )


@dataclass(slots=True)
class _Kept:
    due_ms: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    spread_ms: list[int] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    mass_ng: list[int | None] = field(default_factory=list)
    truth_nl: list[int | None] = field(default_factory=list)


class Measurement:
    """Takes the samples. ``run`` has what was read up to now, at any moment; so an interrupted one is not lost.

    ``each``: called after every sample. ``act``: called at every interval's beginning, as the boluses need it.
    """

    def __init__(
        self,
        balance: Balance,
        stream: Stream,
        plan: Plan,
        *,
        pump: MeasuredPump | None = None,
        started_utc_ms: int | None = None,
        each: Callable[[Measurement], None] | None = None,
        act: Callable[[], None] | None = None,
    ) -> None:
        self._balance = balance
        self._stream = stream
        self._plan = plan
        self._pump = pump
        self._started_utc_ms = started_utc_ms
        self._each = each
        self._act = act
        self._identity = Identity("")
        self._kept = _Kept()
        self._marks: list[Mark] = []
        self._start: Look | None = None
        self._gap_since_ms: int | None = None
        self._piece_row: int | None = None
        self._ended = ""

    @property
    def count(self) -> int:
        """Samples taken, those without a reading among them."""
        return len(self._kept.due_ms)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What befell the balance so far."""
        return tuple(self._marks)

    @property
    def last(self) -> str:
        """How the last sample came out."""
        return self._kept.outcome[-1] if self.count else ""

    async def take(self) -> FlowRun:
        """Take all samples; raises ``PeerError`` or ``LinkError`` with what to do when the first is not to be had."""
        plan = self._plan
        self._identity = await self._balance.identify()
        for number in range(plan.samples + 1):
            try:
                if self._start is not None:
                    await self._stream.until(self._start.at_ms + number * plan.every_ms)
                await self._sample(number)
            except (LinkError, PeerError, Refused) as error:
                if not self.count:
                    raise
                self.end(f"the pump's time and truth are no longer to be had: {error}")
                break
            if self._each is not None:
                self._each(self)
            if self._too_long():
                self.end(f"no reading for more than {plan.patience_ms // 60_000} min; {self._marks[-1].text}")
                break
            if self._act is not None and number < plan.samples:
                self._act()
        return self.run()

    async def _sample(self, number: int) -> None:
        before = await self._stream.look()
        line = await self._balance.read()
        waited_ms = 0
        # A balance that moves is asked again, for as long as that does not make the sample late by a twentieth.
        for _ in range(_TRIES):
            if (
                line.outcome not in {Outcome.DYNAMIC, Outcome.BUSY, Outcome.UNITLESS}
                or waited_ms * 20 > self._plan.every_ms
            ):
                break
            await self._stream.pause(_AGAIN_MS)
            first, before = before, await self._stream.look()
            waited_ms += before.at_ms - first.at_ms
            line = await self._balance.read()
        after = await self._stream.look()
        if number == 0:
            self._begin(line, before, after)
        self._keep(number, line, before, after)

    def _begin(self, line: Line, before: Look, after: Look) -> None:
        if line.outcome not in MASSES:
            text = f"no mass is to be had from the balance: {line.text or _WORDS.get(line.outcome, line.outcome.value)}"
            if line.outcome in {Outcome.LOST, Outcome.SILENT}:
                raise LinkError(text)
            raise PeerError(text)
        self._start = _between(before, after)

    def _keep(self, number: int, line: Line, before: Look, after: Look) -> None:
        start = self._start
        if start is None:
            raise UsageError("a sample was kept before the first")
        kept, found = self._kept, _between(before, after)
        at_ms = max(found.at_ms - start.at_ms, kept.at_ms[-1] + 1 if kept.at_ms else 0)
        mass = line.mass_ng if line.outcome in MASSES else None
        self._watch(number, at_ms, line, mass)
        kept.due_ms.append(number * self._plan.every_ms)
        kept.at_ms.append(at_ms)
        kept.spread_ms.append((after.at_ms - before.at_ms + 1) // 2)
        kept.outcome.append(line.outcome.value)
        kept.mass_ng.append(mass)
        truth = None if found.truth_nl is None or start.truth_nl is None else found.truth_nl - start.truth_nl
        kept.truth_nl.append(truth)

    def _watch(self, row: int, at_ms: int, line: Line, mass: int | None) -> None:
        """Mark what the reader of the curve must know."""
        if mass is None:
            if self._gap_since_ms is None:
                self._gap_since_ms = at_ms
                why = _WORDS.get(line.outcome, line.outcome.value)
                self._mark(at_ms, "gap", f"{why}{f' ({line.text})' if line.text else ''}")
            return
        if self._gap_since_ms is not None:
            self._mark(at_ms, "gap_ended", f"readings again after {span(at_ms - self._gap_since_ms)} without")
            self._gap_since_ms = None
        if self._piece_row is not None:
            self._compare(row, at_ms, mass)
        self._piece_row = row

    def _compare(self, row: int, at_ms: int, mass: int) -> None:
        """A mass that fell, or rose by several times what the pump gives, was not the pump's doing."""
        before_row = self._piece_row
        if before_row is None:
            return
        before = self._kept.mass_ng[before_row]
        if before is None:
            return
        step = self._balance.step_ng or 1
        plan = self._plan
        due_nl = plan.rate_nl_per_day * (at_ms - self._kept.at_ms[before_row]) // MS_PER_DAY
        due_nl += (plan.bolus_nl or 0) * (row - before_row)
        due_ng = due_nl * plan.corrections.density_ug_per_ml // 1_000
        drop_ng = plan.corrections.drop_nl * plan.corrections.density_ug_per_ml // 1_000
        noise = max(_JUMP_STEPS * step, 10 * plan.corrections.repeatability_ng)
        loss = plan.corrections.loss_ng_per_h * (at_ms - self._kept.at_ms[before_row]) // MS_PER_HOUR
        change = mass - before
        if change < -(noise + max(due_ng // 4, 2 * abs(loss))):
            self._mark(
                at_ms, "tared", f"the reading fell by {-change / 1e6:.1f} mg: tared, or something was taken away"
            )
        elif change > noise + _JUMP_UP * due_ng + 2 * drop_ng + 2 * abs(loss):
            self._mark(at_ms, "jump", f"the reading rose by {change / 1e6:.1f} mg: something was laid on the pan")

    def _mark(self, at_ms: int, kind: str, text: str) -> None:
        self._marks.append(Mark(at_ms=at_ms, kind=kind, text=text[:400]))

    def _too_long(self) -> bool:
        if self._gap_since_ms is None:
            return False
        patience_ms = max(self._plan.patience_ms, _LEAST_GAP_SAMPLES * self._plan.every_ms)
        return self._kept.at_ms[-1] - self._gap_since_ms > patience_ms

    def end(self, why: str) -> None:
        """Say why it ends before its time."""
        self._ended = why
        if self.count:
            self._mark(self._kept.at_ms[-1], "ended", why)

    def run(self) -> FlowRun:
        """All that was read up to now."""
        plan, identity, kept = self._plan, self._identity, self._kept
        facts = identity.facts
        return FlowRun(
            simulated=identity.simulated or self._pump is not None,
            kind=plan.kind,
            title=plan.title,
            scheme=plan.scheme,
            every_ms=plan.every_ms,
            stabilise_ms=plan.stabilise_ms,
            windows_ms=list(plan.windows_ms),
            rate_nl_per_day=plan.rate_nl_per_day,
            bolus_nl=plan.bolus_nl,
            equipment=Equipment(
                protocol=identity.protocol or self._balance.dialect.name,
                model=facts.get("model", ""),
                serial=facts.get("serial", ""),
                software=facts.get("software", ""),
                step_ng=self._balance.step_ng or 1,
                simulated=identity.simulated,
            ),
            pump=self._pump,
            known=plan.known,
            corrections=plan.corrections,
            readings=Readings(
                due_ms=list(kept.due_ms),
                at_ms=list(kept.at_ms),
                spread_ms=list(kept.spread_ms),
                outcome=list(kept.outcome),
                mass_ng=list(kept.mass_ng),
                truth_nl=list(kept.truth_nl),
            ),
            marks=list(self._marks),
            ended=self._ended,
            started_utc_ms=self._started_utc_ms,
            versions={"itb-telemetry": version("itb-telemetry"), "python": platform.python_version()},
        )


def _between(before: Look, after: Look) -> Look:
    """The middle of two looks: the reading lies somewhere between them."""
    both = before.truth_nl is not None and after.truth_nl is not None
    truth = ((before.truth_nl or 0) + (after.truth_nl or 0)) // 2 if both else None
    return Look((before.at_ms + after.at_ms) // 2, truth)

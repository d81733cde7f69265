"""Our own tablet passes every step, repeatably; a tablet with a fault of its own does not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from telemetry.conform.junit import junit_xml
from telemetry.conform.manifest import Limits, Manifest
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.own import Tablet
from telemetry.conform.programmer.catalogue import FEATURES, programmer_steps
from telemetry.conform.programmer.kit import OwnKit
from telemetry.conform.programmer.running import run_own
from telemetry.conform.results import EvidenceKind, Verdict, parse_run
from telemetry.conform.running import Plan, run_steps
from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.memory import open_memory

if TYPE_CHECKING:
    from collections.abc import Collection

    from telemetry.conform.own_screen import Reading
    from telemetry.conform.results import Run
    from telemetry.programmer.opening import LinkedPump
    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.virtual

LEAST_STEPS = 30
"""What a programmer's catalogue has at least (the issue)."""


async def test_our_own_tablet_has_no_finding_and_the_run_is_the_same_for_its_seed() -> None:
    first = await run_own(seed=7)
    assert [(step.number, finding.observed) for step, finding in first.findings()] == []
    assert {step.verdict for step in first.steps} == {Verdict.PASS}
    assert first.passed
    assert first.simulated
    assert len(first.steps) == len(programmer_steps()) >= LEAST_STEPS
    assert parse_run(first.to_json()) == first
    for step in first.steps:
        assert any(one.kind is EvidenceKind.JUDGED for one in step.evidence), step.number
        assert step.frames, step.number
    again = await run_own(seed=7)
    assert again.digest() == first.digest()
    other = await run_own(seed=8)
    assert other.passed
    assert other.digest() != first.digest()
    alone = await run_own(seed=7, patterns=["P-41"])
    whole = {step.number: step for step in first.steps}["P-41"]
    assert [frame.message for frame in alone.steps[0].frames] == [frame.message for frame in whole.frames]
    assert [step.number for step in alone.steps] == ["P-41"]
    assert "P-40" in alone.deviations[0].text


async def test_what_is_not_claimed_is_never_passed() -> None:
    claims = tuple(name for name in FEATURES if name not in {"bolus", "follow"})
    run = await run_own(manifest=Manifest(claims=claims, left_out={"P-03": "its screen shows doses per hour only"}))
    verdicts = {step.number: step.verdict for step in run.steps}
    for step in programmer_steps():
        unclaimed = {"bolus", "follow"} & set(step.claims) or step.number == "P-03"
        assert verdicts[step.number] is (Verdict.NOT_CLAIMED if unclaimed else Verdict.PASS), step.number
    reasons = {deviation.step: deviation.text for deviation in run.deviations}
    assert reasons["P-03"] == "its screen shows doses per hour only"
    assert "bolus" in reasons["P-40"]


async def test_a_claim_that_is_not_kept_is_a_finding() -> None:
    hasty = Manifest(limits=Limits(poll_interval_ms=500, give_up_ms=100))
    run = await run_own(manifest=hasty, patterns=["P-19", "P-80"])
    assert {step.number: step.verdict for step in run.steps} == {"P-19": Verdict.FAIL, "P-80": Verdict.FAIL}
    measured = run.steps[1].measurements[0]
    assert not measured.held
    assert measured.values[0] > measured.limit == 100  # type: ignore[operator]


async def found(tablet: type[Tablet], *patterns: str) -> set[str]:
    """The steps that have a finding."""
    run: Run = await run_own(patterns=patterns, tablet=tablet)
    return {step.number for step in run.steps if step.verdict is Verdict.FAIL}


class Milligrams(Tablet):
    def show_dose(self, reading: Reading) -> str:
        return super().show_dose(reading).replace("µg", "mg")


class Hasty(Tablet):
    async def decide(self) -> bool:
        return True


class Obliging(Tablet):
    def accepted(self, warnings: Collection[str]) -> Collection[str]:
        return {*warnings, "daily_dose_change"}


class Patient(Tablet):
    """Shows for ever what it read once."""

    async def poll(self) -> None:
        return

    def stale(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("tablet", "number"),
    [(Milligrams, "P-03"), (Hasty, "P-21"), (Obliging, "P-52"), (Patient, "P-16"), (Patient, "P-71")],
)
async def test_a_fault_is_found_by_the_step_that_is_for_it(tablet: type[Tablet], number: str) -> None:
    assert await found(tablet, number) == {number}
    assert await found(Tablet, number) == set()


class Lazy(Tablet):
    async def do(self, act: Act) -> Answer:
        if act.kind is ActKind.BOLUS:
            return Answer(AnswerKind.UNABLE)
        if act.kind is ActKind.SHOW and act.field == Field.CLOCK:
            return Answer(AnswerKind.SKIPPED)
        return await super().do(act)


async def test_what_is_left_out_or_impossible_has_no_verdict() -> None:
    run = await run_own(patterns=["P-09", "P-40"], tablet=Lazy)
    assert {step.verdict for step in run.steps} == {Verdict.INCONCLUSIVE}
    assert not run.passed
    assert "left out" in run.steps[0].reason
    assert "claimed" in run.steps[1].reason


class Unplugged(Tablet):
    """Shows what it was told to show, and is not connected to anything."""

    async def do(self, act: Act) -> Answer:
        if act.kind is not ActKind.SHOW:
            return Answer(AnswerKind.DONE)
        return Answer(AnswerKind.SHOWN, "340 µg/day, 0.170 ml/day, none, SIM-P-13, SIMULATED, stopped")


async def test_a_screen_without_a_link_passes_nothing() -> None:
    run = await run_own(tablet=Unplugged)
    assert Verdict.PASS not in {step.verdict for step in run.steps}
    assert "is it connected to in process?" in {step.number: step.reason for step in run.steps}["P-13"]


async def test_a_pattern_that_fits_no_step_and_a_negative_seed_are_misuse() -> None:
    with pytest.raises(UsageError, match=r"P-99.*groups are reading"):
        await run_own(patterns=["P-99"])
    with pytest.raises(UsageError, match="seed"):
        await run_own(seed=-1)


SCRAPS = ["340", "µg", "/", "day", "%", "-", "\n", "\x00", "\x1b[2J", "٣٤٠", "1e9", "9" * 400, "😀", ".", "high", "]]>"]


class Babbling(Tablet):
    """Shows anything but what is so."""

    def __init__(self, place: LinkedPump, *, seed: int = 0) -> None:
        super().__init__(place, seed=seed)
        self._draws = Random(seed)

    async def show_field(self, act: Act) -> Answer:
        await super().show_field(act)
        return Answer(AnswerKind.SHOWN, "".join(self._draws.choices(SCRAPS, k=self._draws.randrange(12))))


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_screen_full_of_nonsense_makes_findings_and_nothing_worse(seed: int) -> None:
    run = await run_own(tablet=Babbling, seed=seed)
    assert run.counts.failed > LEAST_STEPS
    assert run.counts.blocked == 0
    assert parse_run(run.to_json()) == run
    ET.fromstring(junit_xml(run))  # noqa: S314 - our own text


class Suspicious(Tablet):
    """Says at once, in a step of a bench that changes the pump, what its contact is."""

    said = ""

    async def poll(self) -> None:
        await super().poll()
        type(self).said = self.show_contact()


async def test_a_poll_that_meets_another_pump_says_so_and_shows_nothing_of_it() -> None:
    run = await run_own(patterns=["P-15"], tablet=Suspicious)
    assert run.passed
    assert "ANOTHER PUMP answers, serial SIM-OTHER" in Suspicious.said


class Eager:
    """A place whose link was opened before the step began."""

    def __init__(self, kit: OwnKit) -> None:
        self.clock = kit.clock
        self._kit = kit
        self.receiver: Receiver | None = None
        self._transport = open_memory(self, kit.accept, clock=kit.clock)

    def data_received(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver.data_received(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        if self.receiver is not None:
            self.receiver.connection_lost(reason)

    async def open_link(self, receiver: Receiver) -> Transport:
        self.receiver = receiver
        return self._transport


async def test_a_link_that_came_between_two_steps_meets_the_pump_of_the_next() -> None:
    kit = OwnKit(Manifest())
    place = Eager(kit)
    kit.operator = Tablet(place)
    run = await run_steps(programmer_steps(), kit, Plan(numbers=frozenset({"P-13"})))
    await kit.operator.close()
    assert [step.verdict for step in run.steps] == [Verdict.PASS]
    with pytest.raises(LinkClosedError, match="no step is running"):
        await kit.open_link(place)

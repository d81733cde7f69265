"""Following a pump: every look whole, every log record once, a lost link told and survived, the pump left free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import FlowRate, Therapy, VirtualPump
from telemetry.interrogation import Interrogation, NotRead
from telemetry.model import AlarmKind, LogCode
from telemetry.transport.faults import FaultPlan
from tests.support.turns import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.interrogation import Sighting

pytestmark = pytest.mark.virtual
POLL_MS = 5_000
UTC_MS = 1_700_000_000_000


async def looks(
    pump: VirtualPump, count: int, *, faults: str = "", between: Callable[[int], object] = lambda _number: None
) -> list[Sighting]:
    """So many looks at a pump, with something done before each but the first, and time moved for the next one."""
    found: list[Sighting] = []
    plan = FaultPlan.parse(faults, seed=1) if faults else None

    async def follow() -> None:
        async with telemetry.connect(pump=pump, role="observer", faults=plan) as programmer:
            async for sighting in programmer.follow(POLL_MS, utc_ms=lambda: UTC_MS):
                found.append(sighting)
                if len(found) == count:
                    return

    following = asyncio.ensure_future(follow())
    for number in range(1, count):
        await until(lambda number=number: len(found) == number)  # type: ignore[misc]
        between(number)
        pump.advance(ms=POLL_MS)
    await following
    return found


def reprogram(pump: VirtualPump) -> Callable[[int], object]:
    return lambda number: pump.program(Therapy.simple_continuous(FlowRate(150_000 + 1_000 * number)))


async def test_a_look_brings_all_that_the_pump_says() -> None:
    pump = VirtualPump(seed=3)
    (seen,) = await looks(pump, 1)
    async with telemetry.connect(pump=pump, role="observer") as programmer:
        assert isinstance(seen, Interrogation)
        assert seen.read_utc_ms == UTC_MS
        assert seen.identity == await programmer.read_identity()
        assert seen.limits == await programmer.read_limits()
        assert seen.program == await programmer.read_program()
        assert seen.status == await programmer.read_status()
        assert seen.log == (await programmer.read_log()).records
        assert seen.telemeter.simulated


async def test_log_records_come_once_and_in_order() -> None:
    pump = VirtualPump(seed=3)
    found = await looks(pump, 6, between=reprogram(pump))
    sequences = [record.sequence for seen in found if isinstance(seen, Interrogation) for record in seen.log]
    async with telemetry.connect(pump=pump, role="observer") as programmer:
        whole = (await programmer.read_log()).records
    assert sequences == [record.sequence for record in whole]
    assert [record.code for record in whole].count(LogCode.PROGRAM_COMMITTED) >= 5
    assert {seen.log_overwritten for seen in found if isinstance(seen, Interrogation)} == {0}


async def test_records_that_were_gone_before_anyone_read_them_are_counted() -> None:
    pump = VirtualPump(seed=3)

    def fill_the_log(_number: int) -> None:
        for turn in range(1_200):
            pump.program(Therapy.simple_continuous(FlowRate(150_000 + turn % 9)))

    first, second = await looks(pump, 2, between=fill_the_log)
    assert isinstance(first, Interrogation)
    assert isinstance(second, Interrogation)
    missed = second.log[0].sequence - first.log[-1].sequence - 1
    assert missed > 0
    assert (first.log_overwritten, second.log_overwritten) == (0, missed)


async def test_a_new_program_is_read_again() -> None:
    pump = VirtualPump(seed=3)
    found = await looks(pump, 4, between=lambda number: reprogram(pump)(number) if number == 2 else None)
    programs = [seen.program.program_sequence for seen in found if isinstance(seen, Interrogation)]
    assert programs == [programs[0], programs[0], programs[0] + 1, programs[0] + 1]


async def test_a_lost_link_is_told_and_the_next_look_succeeds() -> None:
    found = await looks(VirtualPump(seed=3), 2, faults="drop:1@tx/ReadStatus*4")
    assert isinstance(found[0], NotRead)
    assert found[0].kind == "LinkTimeout"
    assert "no answer" in found[0].reason
    assert isinstance(found[1], Interrogation)
    assert found[1].log, "what the lost look would have brought comes with the next"


async def test_an_alarm_is_in_the_first_look_after_it_was_raised() -> None:
    pump = VirtualPump(seed=3)
    found = await looks(pump, 2, between=lambda _: pump.advance_until("alarm_raised", "low_reservoir"))
    kinds = [{alarm.kind for alarm in seen.alarms} for seen in found if isinstance(seen, Interrogation)]
    assert kinds == [set(), {AlarmKind.LOW_RESERVOIR}]


async def test_nobody_is_kept_from_the_pump_between_looks() -> None:
    pump = VirtualPump(seed=3)
    async with (
        telemetry.connect(pump=pump, role="observer") as follower,
        telemetry.connect(pump=pump) as clinician,
    ):
        async for seen in follower.follow(POLL_MS):
            assert isinstance(seen, Interrogation)
            assert (await clinician.set_rate(FlowRate(150_000))).after.rate_nl_per_day == 150_000
            break

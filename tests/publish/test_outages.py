"""Long outages and many deaths: what a full spool gives up is told, and everything else arrives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import telemetry
from telemetry import VirtualPump
from telemetry.publish.spool import Bounds
from tests.publish.conftest import Bedside, Ward, once, stall
from tests.support.virtual_loop import VirtualLoop

pytestmark = pytest.mark.virtual


async def test_a_full_spool_leaves_the_log_in_the_pump_and_fetches_it_later(ward: Ward) -> None:
    ward.bounds = Bounds(messages=100)
    ward.broker.down = True
    async with telemetry.connect(pump=ward.bedside.pump) as clinician:
        for _ in range(60):
            await clinician.stop()
            await clinician.resume()
    ward.start()
    await ward.look(2)
    assert ward.told[-1].log_held_back
    assert len(ward.spool) <= 100
    ward.broker.down = False
    await ward.pause(60_000)
    await ward.look(8)
    numbers = [body["log_sequence"] for body in once(ward.broker.bodies("log"))]
    assert len(numbers) > 120
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert ward.broker.state("link")["log_held_back"] is False
    assert ward.broker.state("link")["lost_log_records"] == 0


async def test_alarm_events_that_do_not_fit_are_counted_aloud(ward: Ward) -> None:
    ward.bounds = Bounds(messages=100)
    ward.broker.down = True
    ward.start()
    await stall(ward.bedside)
    await ward.look()
    found = await ward.bedside.read()
    (alarm,) = [one for one in found.alarms if one.kind == "motor_stall"]
    for count in range(2, 150):
        raised = tuple(replace(one, count=count) if one is alarm else one for one in found.alarms)
        ward.gateway.take(replace(found, alarms=raised, log=()))
    assert len(ward.spool) <= 100
    lost = ward.spool.memory.lost_alarm_events
    assert lost > 40
    assert [one for one in ward.spool.waiting() if one.kind == "log"]
    ward.broker.down = False
    await ward.pause(60_000)
    await ward.look()
    assert ward.broker.state("link")["lost_alarm_events"] == lost
    counted = [body["event_sequence"] for body in once(ward.broker.bodies()) if "event_sequence" in body]
    assert counted[-1] - len(counted) == lost  # a subscriber sees the gap


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(1, 12), max_size=5), forgets=st.integers(0, 3), kills=st.sets(st.integers(0, 4)))
def test_any_row_of_deaths_loses_nothing_and_keeps_the_order(
    tmp_path_factory: pytest.TempPathFactory, deaths: list[int], forgets: int, kills: set[int]
) -> None:
    async def life() -> None:
        pump = VirtualPump(seed=7)
        async with telemetry.connect(pump=pump, role="observer") as programmer:
            ward = Ward(Bedside(pump, programmer), tmp_path_factory.mktemp("spool"))
            ward.start()
            await ward.look()
            for number, after in enumerate(deaths):
                ward.broker.dies_after, ward.broker.forgets = after, forgets
                pump.inject("motor_stall")
                pump.advance(seconds=1)
                await ward.look()
                pump.clear("motor_stall")
                pump.advance(seconds=1)
                await ward.look()
                if number in kills and not forgets:
                    await ward.kill()
                    ward.start()
                    await ward.look()
                ward.broker.come_back()
                await ward.pause(5_000)
            ward.broker.dies_after = None
            await ward.pause(60_000)
            await ward.look()
            events = [body["event_sequence"] for body in once(ward.broker.bodies()) if "event_sequence" in body]
            assert events == list(range(1, len(events) + 1))
            assert ward.broker.state("link")["state"] == "online"
            await ward.stop()

    loop = VirtualLoop()
    try:
        loop.run_until_complete(life())
    finally:
        loop.close()

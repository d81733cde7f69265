"""Visits to a virtual pump: driver, protocol and pump as they are; time and the link belong to the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry import DailyDose, FlowRate, LinkError, TelemetryError, Therapy
from titration_assistant import NotToday, TitrationPlan, Uncertain, titrate
from titration_assistant.command import main

if TYPE_CHECKING:
    from telemetry import BlockingProgrammer, ManualClock, Programmer
    from telemetry.testing import LinkFaults, WatchedPump

PLAN = TitrationPlan(step_percent=10, ceiling=DailyDose.parse("600 ug/day"))


async def test_a_visit_raises_the_dose(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    visit = await titrate(programmer, PLAN)
    assert str(visit) == "340 µg/day -> 374 µg/day"
    assert virtual_pump.status.dose_ng_per_day == 374_000


async def test_eight_weeks(programmer: Programmer, virtual_pump: WatchedPump, pump_clock: ManualClock) -> None:
    doses = []
    for _week in range(8):
        try:
            doses.append((await titrate(programmer, PLAN)).after.in_unit("µg/day"))
        except NotToday as reached:
            assert "the plan ends at 600 µg/day" in str(reached)  # noqa: PT017 - from the seventh week on
        pump_clock.advance(days=7)
    assert doses == [f"{dose} µg/day" for dose in (374, 411, 452, 497, 546, 600)]
    # What the patient got is what the programs said: the pump's own account, not the programmer's.
    assert virtual_pump.ledger.balance_nl == 0
    assert virtual_pump.truth.tip_dose_ng_per_day == 600_000


@pytest.mark.pump(fill="4.2 ml")
async def test_a_pump_that_soon_runs_low_is_refilled_first(
    programmer: Programmer, virtual_pump: WatchedPump, pump_clock: ManualClock
) -> None:
    with pytest.raises(NotToday, match=r"low in 12 days; refill first"):
        await titrate(programmer, PLAN)
    pump_clock.advance(days=20)
    with pytest.raises(NotToday, match="alarms, see to them first: low_reservoir"):
        await titrate(programmer, PLAN)
    assert virtual_pump.status.dose_ng_per_day == 340_000


async def test_a_stopped_pump_is_left_alone(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    virtual_pump.stop()
    with pytest.raises(NotToday, match="mode is stopped"):
        await titrate(programmer, PLAN)
    assert "SetRate" not in {frame.name for frame in virtual_pump.frames}


@pytest.mark.pump(daily_dose_hard_max_ng=350_000, daily_dose_soft_max_ng=350_000)
async def test_the_pump_has_the_last_word(programmer: Programmer) -> None:
    with pytest.raises(NotToday, match="refused 374 µg/day"):
        await titrate(programmer, PLAN)


async def test_a_lost_answer_is_asked_for(
    programmer: Programmer, virtual_pump: WatchedPump, link_faults: LinkFaults
) -> None:
    # The driver sends a request four times, and asks once, in four tries, what became of it.
    lost = link_faults.add("drop:1@rx/VerdictReport*8")
    visit = await titrate(programmer, PLAN)
    assert (visit.found_out, lost.hits) == (True, 8)
    assert virtual_pump.status.dose_ng_per_day == 374_000


@pytest.mark.parametrize(
    ("answers_lost", "said"),
    [(0, "the pump refused 374 µg/day: not applied: never"), (4, "374 µg/day did not reach the pump")],
)
async def test_a_commit_that_never_arrived_changed_nothing(
    answers_lost: int, said: str, programmer: Programmer, virtual_pump: WatchedPump, link_faults: LinkFaults
) -> None:
    link_faults.add("drop:1@tx/Commit")
    if answers_lost:
        link_faults.add(f"drop:1@rx/VerdictReport*{answers_lost}")
    with pytest.raises(NotToday, match=said):
        await titrate(programmer, PLAN)
    assert virtual_pump.status.dose_ng_per_day == 340_000


async def test_what_cannot_be_known_is_not_guessed(
    programmer: Programmer, link_faults: LinkFaults, virtual_pump: WatchedPump
) -> None:
    link_faults.add("drop:1@rx/VerdictReport")
    with pytest.raises(Uncertain, match="do not repeat it") as uncertain:
        await titrate(programmer, PLAN)
    link_faults.clear()
    assert (await programmer.outcome(uncertain.value.transaction)).verdict == "applied"
    assert virtual_pump.status.dose_ng_per_day == 374_000


async def test_without_contact_nothing_is_sent(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    virtual_pump.telemeter.lift()
    with pytest.raises(LinkError, match="not over the pump"):
        await titrate(programmer, PLAN)
    assert {frame.name for frame in virtual_pump.frames} == {"link", "ReadTelemeter", "TelemeterReport"}


@pytest.mark.parametrize("loss_percent", [5, 10, 20, 30, 50])
async def test_on_a_bad_link_the_report_is_true_all_the_same(
    loss_percent: int, programmer: Programmer, virtual_pump: WatchedPump, link_faults: LinkFaults
) -> None:
    link_faults.add(f"drop:0.{loss_percent:02}")
    link_faults.add("corrupt:0.2:2")
    possible = {340_000}
    try:
        visit = await titrate(programmer, PLAN)
    except Uncertain:
        possible |= {374_000}
    except (NotToday, TelemetryError):
        pass
    else:
        possible = {visit.after.ng_per_day}
    assert virtual_pump.status.dose_ng_per_day in possible
    assert link_faults.hits > 0


@pytest.fixture
def virtual_pump_of_last_year(virtual_pump: WatchedPump) -> WatchedPump:
    virtual_pump.program(Therapy.simple_continuous(FlowRate.parse("0.100 ml/day")))
    virtual_pump.advance(days=200)
    return virtual_pump


def test_the_same_pump_without_a_loop(
    virtual_pump_of_last_year: WatchedPump, programmer: BlockingProgrammer, pump_clock: ManualClock
) -> None:
    assert programmer.read_status().dose_ng_per_day == 200_000
    pump_clock.advance(days=1)
    assert programmer.read_status().now_ms == virtual_pump_of_last_year.now_ms


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim:", "--ceiling", "600"]) == 0
    assert main(["sim:", "--ceiling", "300"]) == 1
    assert main(["sim:", "--ceiling", "600", "--step", "50"]) == 2
    said = capsys.readouterr()
    assert said.out == "SIMULATED 340 µg/day -> 374 µg/day\n"
    assert said.err == (
        "the dose is 340 µg/day, and the plan ends at 300 µg/day\n"
        "step_percent: 50 is not in 1 to 20; a pump warns of larger steps\n"
    )

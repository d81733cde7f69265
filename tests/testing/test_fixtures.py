"""The plug-in's fixtures in use, in this suite like in anybody's: its lanes, its loop and its leak checks included."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings, strategies

import telemetry
import telemetry.testing
from telemetry import (
    BlockingProgrammer,
    DailyDose,
    FlowRate,
    LinkTimeout,
    ManualClock,
    OutcomeUnknown,
    Programmer,
    Therapy,
    UsageError,
    Volume,
)
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.wire import FrameType
from telemetry.testing import LinkFaults, WatchedPump
from telemetry.testing.plugin import entropy_of
from telemetry.testing.reporting import Scene
from telemetry.transport.faults import Direction, FaultKind, FaultRule
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from telemetry.testing import SeenFrame

RATE = FlowRate.parse("0.150 ml/day")


def names(frames: tuple[SeenFrame, ...]) -> list[str]:
    return [frame.name for frame in frames]


async def test_a_coroutine_test_gets_a_programmer_to_await(
    programmer: Programmer, virtual_pump: WatchedPump, pump_clock: ManualClock
) -> None:
    assert isinstance(programmer, Programmer)
    assert pump_clock is virtual_pump.clock
    change = await programmer.set_rate(RATE)
    assert change.after.rate_nl_per_day == 150_000
    pump_clock.advance(days=255)
    assert (await programmer.read_status()).now_ms == virtual_pump.now_ms >= 255 * MS_PER_DAY
    assert [alarm.kind for alarm in await programmer.read_alarms()] == ["low_reservoir"]


def test_a_plain_test_gets_one_that_blocks(
    programmer: BlockingProgrammer,
    blocking_programmer: BlockingProgrammer,
    virtual_pump: WatchedPump,
    pump_clock: ManualClock,
) -> None:
    assert programmer is blocking_programmer
    assert isinstance(programmer, BlockingProgrammer)
    programmer.set_rate(RATE)
    pump_clock.advance(days=255)
    assert programmer.read_status().now_ms == virtual_pump.now_ms >= 255 * MS_PER_DAY


@pytest.mark.pump(profile="itb-20", seed=7, fill="3 ml", concentration="500 ug/ml", low_reservoir_alarm_nl=2_500_000)
async def test_the_mark_says_which_pump(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    status = await programmer.read_status()
    assert (status.reservoir_nl, status.concentration_ng_per_ml) == (3_000_000, 500_000)
    assert virtual_pump.seed == 7
    assert (await programmer.read_identity()).model == "SIMULATED 20 ml"
    assert virtual_pump.device.profile.low_reservoir_alarm_nl == 2_500_000


@pytest.mark.pump(profile="itb-20", seed=7, fill=Volume.parse("3 ml"))
class TestMarksAddUp:
    @pytest.mark.pump(seed=8)
    def test_and_the_closest_has_the_last_word(self, virtual_pump: WatchedPump) -> None:
        assert (virtual_pump.seed, virtual_pump.truth.reservoir_nl) == (8, 3_000_000)
        assert virtual_pump.device.profile.name == "itb-20"


def test_the_same_seed_gives_the_same_operation_numbers(programmer: BlockingProgrammer) -> None:
    pump = WatchedPump()
    with telemetry.connect_sync(pump=pump, entropy=entropy_of(pump)) as same:
        numbers = {same.set_rate(RATE).transaction, programmer.set_rate(RATE).transaction}
    other_pump = WatchedPump(seed=1)
    with telemetry.connect_sync(pump=other_pump, entropy=entropy_of(other_pump)) as other:
        assert len(numbers) == 1
        assert other.set_rate(RATE).transaction not in numbers


async def test_what_travelled_can_be_seen_opened(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    await programmer.set_rate(RATE)
    frames = virtual_pump.frames
    assert names(frames)[:7] == ["link", "ReadTelemeter", "TelemeterReport", "Probe", "Beacon", "Hello", "Accept"]
    assert {"ReadStatus", "Status", "SetRate", "Commit", "VerdictReport"} <= set(names(frames))
    [wanted] = [frame.message for frame in frames if frame.name == "SetRate"]
    assert getattr(wanted, "rate_nl_per_day", None) == 150_000
    assert {frame.direction for frame in frames if frame.name in {"SetRate", "Commit", "Probe"}} == {Direction.TX}
    assert {frame.direction for frame in frames if frame.name in {"VerdictReport", "Beacon"}} == {Direction.RX}
    await programmer.close()
    assert (virtual_pump.frames[-1].name, virtual_pump.frames[-1].note) == ("link", "closed")


async def test_a_programmer_that_was_closed_opens_again_and_still_hears_of_jumps(
    programmer: Programmer, pump_clock: ManualClock, virtual_pump: WatchedPump
) -> None:
    await programmer.read_status()
    await programmer.close()
    await programmer.close()
    await programmer.read_status()
    pump_clock.advance(days=1)
    before_ms = pump_clock.link_ms()
    await programmer.read_status()
    # A request in the session that the jump ended would go unanswered, and time would pass over its repeats.
    assert pump_clock.link_ms() == before_ms
    assert names(virtual_pump.frames).count("Accept") == 3


async def test_every_programmer_of_the_pump_is_seen(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    await programmer.read_status()
    await programmer.close()
    async with telemetry.connect(pump=virtual_pump, role="observer") as another:
        await another.read_limits()
    assert {frame.link for frame in virtual_pump.frames} == {1, 2}
    assert "ReadLimits" in [frame.name for frame in virtual_pump.frames if frame.link == 2]


async def test_a_fault_strikes_by_message_name_and_is_noted(
    programmer: Programmer, virtual_pump: WatchedPump, link_faults: LinkFaults
) -> None:
    once = link_faults.add("drop:1@tx/Commit*1")
    await programmer.set_rate(RATE)
    assert (once.seen, once.hits, link_faults.hits) == (2, 1, 1)
    struck = [frame for frame in virtual_pump.frames if frame.note.startswith("FAULT")]
    assert [(frame.name, frame.direction, frame.link) for frame in struck] == [("Commit", Direction.TX, 0)]
    assert struck[0].note == "FAULT drop:1@tx/Commit*1 (hit 1)"
    assert struck[0].message is not None
    assert names(virtual_pump.frames).count("Commit") == 2
    link_faults.remove(once)
    assert (link_faults.rules, link_faults.hits) == ([], 1)


async def test_faults_come_and_go_during_the_test(programmer: Programmer, link_faults: LinkFaults) -> None:
    lost = link_faults.add(FaultRule(FaultKind.DROP, direction=Direction.RX, frame_type="VerdictReport"))
    with pytest.raises(OutcomeUnknown) as unknown:
        await programmer.set_rate(RATE)
    assert lost.hits > 0
    link_faults.clear()
    outcome = await programmer.outcome(unknown.value.transaction)
    assert outcome.verdict == "applied"


def test_faults_on_a_blocking_programmer(programmer: BlockingProgrammer, link_faults: LinkFaults) -> None:
    garbled = link_faults.add("corrupt:1:3@rx/Status*1")
    programmer.read_status()
    assert garbled.hits == 1


async def test_what_a_fault_made_of_a_frame_is_shown(
    programmer: Programmer, virtual_pump: WatchedPump, link_faults: LinkFaults
) -> None:
    link_faults.add("corrupt:1:3@tx/ReadStatus*1")
    await programmer.read_status()
    assert sum(name.endswith(" bytes that are no frame") for name in names(virtual_pump.frames)) == 1


async def test_the_telemeter_can_be_taken_away(programmer: Programmer, virtual_pump: WatchedPump) -> None:
    virtual_pump.telemeter.lift()
    with pytest.raises(LinkTimeout, match="not over the pump"):
        await programmer.read_status()
    virtual_pump.telemeter.place(3)
    assert (await programmer.read_telemeter()).coupling_bars == 3
    await programmer.read_status()


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("drop@rx/VerdictReprot", "no message is called 'VerdictReprot'; there is: VerdictReport"),
        ("drop@/REQ", "no message is called 'REQ'"),
        ("drop@tx/VerdictReport", "goes from the pump to the programmer and is never seen @tx; write @rx/VerdictRep"),
        ("drop@rx/PROBE", "goes from the programmer to the pump and is never seen @rx; write @tx/PROBE"),
        ("lose", "'lose' is none of drop, corrupt"),
        ("drop:2", "probability 2.0 is not in 0 to 1"),
    ],
)
def test_a_rule_that_could_strike_nothing_is_refused(link_faults: LinkFaults, rule: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint.replace(".", r"\.")):
        link_faults.add(rule)
    assert link_faults.rules == []


@pytest.mark.parametrize("rule", ["drop@/VerdictReport", "drop@rx/TelemeterReport", "drop@tx/PROBE", "delay:0.5:40"])
def test_a_rule_that_can_strike_is_taken(link_faults: LinkFaults, rule: str) -> None:
    assert link_faults.add(rule) in link_faults.rules


def test_a_restored_pump_is_watched_too(virtual_pump: WatchedPump) -> None:
    virtual_pump.program(Therapy.simple_continuous(DailyDose.parse("300 ug/day")))
    restored = WatchedPump.restore(virtual_pump.snapshot())
    assert restored.frames == ()
    with telemetry.connect_sync(pump=restored) as programmer:
        assert programmer.read_status().dose_ng_per_day == 300_000
    assert "Status" in names(restored.frames)


def test_a_frame_that_cannot_be_read_is_named_by_its_type(virtual_pump: WatchedPump) -> None:
    frame = encode_frame(Frame(FrameType.PROBE, 0, b"too short"))
    seen = virtual_pump.look_into(1, Direction.TX, frame)
    assert (seen.name, seen.message) == ("PROBE", None)


class BrokenPump(WatchedPump):
    @property
    def status(self) -> NoReturn:
        raise RuntimeError("broken on purpose")


def test_the_report_of_a_broken_pump_is_no_second_failure() -> None:
    pump = BrokenPump(seed=4)
    [_, (_, text)] = Scene({"seed": 4}, pump, LinkFaults(pump)).sections()
    assert text.startswith(
        "@pytest.mark.pump(seed=4)\nthe pump can no longer be asked: RuntimeError: broken on purpose\n"
    )


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate_nl_per_day=strategies.integers(150_000, 190_000))
async def test_a_property_gets_a_programmer_to_await(
    programmer: Programmer, virtual_pump: WatchedPump, rate_nl_per_day: int
) -> None:
    await programmer.set_rate(FlowRate(rate_nl_per_day), accept=("daily_dose_change",))
    assert virtual_pump.status.rate_nl_per_day == rate_nl_per_day


def test_the_names_for_annotations_are_there() -> None:
    assert telemetry.testing.__all__ == dir(telemetry.testing) == ["LinkFaults", "SeenFrame", "WatchedPump"]
    with pytest.raises(AttributeError, match="no_such_name"):
        telemetry.testing.no_such_name  # noqa: B018 - the access is the test

"""A link at the pace of a serial line: exact instants on a manual clock, alone and combined with faults."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telemetry
from telemetry import FlowRate, ManualClock
from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport import throttle
from telemetry.transport.faults import FaultPlan
from telemetry.transport.memory import MemoryLink
from telemetry.transport.registry import listen, open_transport
from telemetry.transport.throttle import SLICE_BYTES, Throttle
from telemetry.transport.wrappers import Fault, Wrapper
from tests.conformance.links import RecordingReceiver
from tests.support.turns import turns
from tests.support.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.transport.base import Receiver, Transport

LOSSES = "drop@tx/HELLO*1,drop@rx/Staged*1,drop@tx/Commit*1,drop@rx/VerdictReport*1"
"""HELLO among them, whose challenge lives for five seconds only."""


class Line:
    """A memory link whose left end is wrapped, and when which bytes arrived at either end."""

    def __init__(self, clock: ManualClock, *layers: Wrapper, datagrams: bool = False) -> None:
        self.clock = clock
        self.link = MemoryLink(clock=clock, datagrams=datagrams)
        self.near, self.far = RecordingReceiver(), RecordingReceiver()
        self.arrived: list[tuple[int, bytes]] = []
        self.far.when_data = self.near.when_data = lambda data: self.arrived.append((clock.link_ms(), data))
        outer: Receiver = self.near
        for layer in layers:
            layer.bind(outer)
            outer = layer
        self.link.left.start(outer)
        self.link.right.start(self.far)
        down: Transport = self.link.left
        for layer in reversed(layers):
            layer.attach(down)
            down = layer
        self.top = layers[0]

    async def until_ms(self, link_ms: int) -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert not await self.clock.wait(never, link_ms)
        await turns(6)

    async def finish(self) -> None:
        await self.top.close()
        await self.link.right.close()
        assert self.near.lost
        assert self.near.breaches == self.far.breaches == []


def ms_for(count: int, baud: int) -> int:
    """Ten bits a byte, rounded up to the millisecond in which the last one is through."""
    return -(-count * 10_000 // baud)


@pytest.mark.parametrize("way", ["there", "back"])
async def test_a_byte_takes_ten_bits_and_a_stream_comes_in_slices(way: str) -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    data = bytes(range(40))
    (line.top if way == "there" else line.link.right).write(data)
    await line.until_ms(1_000)
    assert line.arrived == [
        (ms_for(16, 1_200), data[:16]),
        (ms_for(32, 1_200), data[16:32]),
        (ms_for(40, 1_200), data[32:]),
    ]
    await line.finish()


async def test_a_datagram_comes_whole_with_its_last_byte_and_an_empty_one_at_once() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock), datagrams=True)
    line.top.write(b"x" * 120)
    line.top.write(b"")
    await line.until_ms(2_000)
    assert [at_ms for at_ms, _ in line.arrived] == [1_000] * (1 + line.far.chunks.count(b""))
    assert line.far.chunks[0] == b"x" * 120
    await turns(2)
    line.far.breaches.clear()  # the recorder takes an empty datagram for a breach; here it is what was sent
    await line.finish()


async def test_each_direction_has_a_line_of_its_own() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(9_600, clock), datagrams=True)
    line.top.write(b"a" * 96)
    line.link.right.write(b"b" * 96)
    await line.until_ms(500)
    assert sorted(line.arrived) == [(100, b"a" * 96), (100, b"b" * 96)]
    await line.finish()


async def test_what_is_written_later_waits_its_turn_and_idle_time_is_not_saved_up() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock), datagrams=True)
    line.top.write(b"a" * 12)
    line.top.write(b"b" * 12)
    await line.until_ms(5_000)
    line.top.write(b"c" * 12)
    await line.until_ms(6_000)
    assert line.arrived == [(100, b"a" * 12), (200, b"b" * 12), (5_100, b"c" * 12)]
    await line.finish()


@given(
    baud=st.integers(50, 4_000_000),
    writes=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=64)), min_size=1, max_size=8),
)
def test_nothing_is_changed_and_no_rounding_adds_up(baud: int, writes: Sequence[tuple[int, bytes]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        line = Line(clock, Throttle(baud, clock))
        for pause_ms, data in writes:
            await line.until_ms(clock.link_ms() + pause_ms)
            line.top.write(data)
        sent = b"".join(data for _, data in writes)
        started_ms = clock.link_ms()
        await line.until_ms(started_ms + ms_for(len(sent), baud) + 1)
        assert line.far.data == sent
        # Never quicker than the line, and the last byte not a millisecond later than it could be.
        first_ms = writes[0][0]
        for at_ms, done in (
            (at_ms, sum(len(data) for _, data in line.arrived[: number + 1]))
            for number, (at_ms, _) in enumerate(line.arrived)
        ):
            assert (at_ms - first_ms) * baud >= done * 10_000
        assert line.arrived[-1][0] <= started_ms + ms_for(len(sent), baud)
        await line.finish()

    loop = VirtualLoop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


async def test_a_jump_delivers_through_the_loop_and_not_from_inside() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    line.link.right.write(b"x" * 12)
    await turns(2)
    clock.advance(seconds=5)
    assert line.near.chunks == []
    await turns(4)
    assert line.near.data == b"x" * 12
    await line.finish()


# --- bounds and ends


async def test_more_than_the_limit_ends_the_link_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "UNSENT_LIMIT_BYTES", 100)
    for way in ("written", "received"):
        clock = ManualClock()
        line = Line(clock, Throttle(1_200, clock))
        if way == "written":
            line.top.write(b"x" * 90)
            with pytest.raises(LinkClosedError, match="1200 baud is too slow for what is written; more than 100 bytes"):
                line.top.write(b"x" * 11)
        else:
            line.link.right.write(b"x" * 90)
            line.link.right.write(b"x" * 11)
        await turns(12)
        assert line.near.lost
        assert f"too slow for what is {way}" in str(line.near.reason)
        with pytest.raises(LinkClosedError, match="too slow"):
            line.top.write(b"y")
        await line.finish()


async def test_closing_lets_out_a_second_of_what_waits_and_no_more() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    line.top.write(b"x" * 400)
    closing = asyncio.gather(line.top.close(), line.top.close())
    await turns(2)
    with pytest.raises(LinkClosedError, match="closed"):
        line.top.write(b"late")
    await closing
    assert clock.link_ms() == 1_000
    assert len(line.far.data) == 120 // SLICE_BYTES * SLICE_BYTES
    assert line.near.reason is None
    await line.finish()


async def test_what_is_on_its_way_to_us_comes_before_the_loss_and_what_we_sent_is_gone() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    line.link.right.write(b"last words" * 5)
    line.top.write(b"never heard" * 5)
    await line.link.right.close()
    await turns(6)
    assert line.near.data == b"last words" * 5
    assert line.near.lost
    assert line.far.data == b""
    with pytest.raises(LinkClosedError, match="the other end closed"):
        line.top.write(b"late")
    await line.finish()


async def test_what_is_due_when_the_link_ends_is_dropped_without_noise() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    line.top.write(b"x" * 12)
    line.link.cut("cable out")
    clock.advance(ms=200)
    await turns(4)
    assert "cable out" in str(line.near.reason)
    assert line.far.data == b""
    await line.finish()


async def test_a_receiver_that_fails_ends_the_link_and_is_reported() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(1_200, clock))
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    def fail(_data: bytes) -> None:
        raise ZeroDivisionError("a fault of ours")

    line.near.when_data = fail
    line.link.right.write(b"x" * 40)
    await turns(2)
    clock.advance(seconds=1)
    await turns(8)
    assert "a fault of ours" in str(line.near.reason)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    asyncio.get_running_loop().set_exception_handler(None)
    await line.finish()


# --- combined with faults: the order of the query is the order from the caller to the wire


@pytest.mark.parametrize(("order", "second_ms"), [("fault, baud", 100), ("baud, fault", 200)])
async def test_a_frame_lost_before_the_line_takes_none_of_its_time(order: str, second_ms: int) -> None:
    clock = ManualClock()
    layers: list[Wrapper] = [Fault(FaultPlan.parse("drop@tx*1"), clock), Throttle(1_200, clock)]
    line = Line(clock, *(layers if order == "fault, baud" else reversed(layers)))
    line.top.write(b"a" * 11 + b"\0")
    line.top.write(b"b" * 11 + b"\0")
    await line.until_ms(1_000)
    assert line.arrived == [(second_ms, b"b" * 11 + b"\0")]
    await line.finish()


@pytest.mark.parametrize(("order", "first_ms"), [("fault, baud", 200), ("baud, fault", 200)])
async def test_a_delay_adds_to_the_time_on_the_line_in_either_order(order: str, first_ms: int) -> None:
    clock = ManualClock()
    layers: list[Wrapper] = [Fault(FaultPlan.parse("delay:1:100@tx"), clock), Throttle(1_200, clock)]
    line = Line(clock, *(layers if order == "fault, baud" else reversed(layers)))
    line.top.write(b"a" * 11 + b"\0")
    await line.until_ms(1_000)
    assert line.arrived == [(first_ms, b"a" * 11 + b"\0")]
    await line.finish()


@pytest.mark.parametrize("order", ["fault, baud", "baud, fault"])
async def test_a_fault_meets_whole_frames_in_either_order_and_both_directions(order: str) -> None:
    clock = ManualClock()
    plan = FaultPlan.parse("drop@tx*1~skip1,drop@rx*1~skip1")
    layers: list[Wrapper] = [Fault(plan, clock), Throttle(9_600, clock)]
    line = Line(clock, *(layers if order == "fault, baud" else reversed(layers)))
    frames = [bytes([letter]) * 99 + b"\0" for letter in b"abc"]  # each longer than a slice
    for frame in frames:
        line.top.write(frame)
        line.link.right.write(frame)
    await line.until_ms(2_000)
    assert line.near.data == line.far.data == frames[0] + frames[2]
    assert [rule.hits for rule in plan.rules] == [1, 1]
    await line.finish()


@pytest.mark.parametrize(
    ("query", "layers"),
    [
        ("baud=1200&fault=drop:0", (Throttle, Fault)),
        ("fault=drop:0&baud=1200", (Fault, Throttle)),
    ],
)
async def test_the_order_of_the_query_is_the_order_from_the_caller_to_the_wire(
    query: str, layers: tuple[type[Wrapper], ...]
) -> None:
    transport = await open_transport(f"sim:?{query}", RecordingReceiver(), clock=ManualClock())
    assert isinstance(transport, layers[0])
    assert isinstance(transport._down, layers[1])
    assert transport.info.bits_per_s == 1_200
    await transport.close()
    await turns(4)


@pytest.mark.parametrize("text", ["sim:?baud=49", "sim:?baud=fast", "sim:?baud=4000001"])
async def test_a_pace_that_no_line_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no whole number from 50 to 4000000"):
        await open_transport(text, RecordingReceiver(), clock=ManualClock())


async def test_two_throttles_in_a_row_are_as_slow_as_the_slower() -> None:
    clock = ManualClock()
    line = Line(clock, Throttle(9_600, clock), Throttle(1_200, clock))
    assert line.top.info.bits_per_s == 1_200
    line.top.write(b"x" * 120)
    await line.until_ms(2_000)
    # The upper one hands its write down whole: 125 ms, then a second on the lower one.
    assert line.arrived[-1][0] == 1_125
    await line.finish()


# --- the driver over it


@pytest.mark.parametrize("baud", [1_200, 9_600, 115_200])
async def test_a_driver_waits_for_a_slow_line_and_asks_nothing_twice(baud: int) -> None:
    clock = ManualClock()
    async with telemetry.connect(f"sim:?baud={baud}", clock=clock) as programmer:
        change = await programmer.set_rate(FlowRate.parse("0.150 ml/day"))
        assert change.after.rate_nl_per_day == 150_000
        assert (await programmer.read_log()).records
        after = await programmer.read_telemeter()
    # Each question was asked once: as many frames came back as were sent to the pump.
    assert after.frames_to_pump == after.frames_from_pump
    assert clock.link_ms() > ms_for(600, baud)


@pytest.mark.parametrize("order", [f"fault={LOSSES}&baud=1200", f"baud=1200&fault={LOSSES}"])
async def test_a_driver_repeats_what_a_slow_line_lost(order: str) -> None:
    async with telemetry.connect(f"sim:?{order}", clock=ManualClock()) as programmer:
        change = await programmer.set_rate(FlowRate.parse("0.150 ml/day"))
        assert change.after.rate_nl_per_day == 150_000


async def test_a_silent_telemeter_on_a_slow_line_is_given_up_within_its_deadline() -> None:
    clock = ManualClock()
    async with telemetry.connect("sim:?fault=drop:1&baud=1200", clock=clock) as programmer:
        with pytest.raises(telemetry.LinkTimeout, match="no telemeter answered"):
            await programmer.read_status()
    # Four tries; each 300 ms, a question of 14 bytes and the longest answer, either with four bytes for the stream.
    assert clock.link_ms() == 4 * (300 + ms_for(14 + 256 + 2 * 4, 1_200))


@pytest.mark.real
@pytest.mark.parametrize("sides", ["listener", "client", "both"])
async def test_a_slow_line_over_tcp_from_either_side(sides: str) -> None:
    clock = SystemClock()
    station = Station(VirtualPump(seed=3, clock=clock), entropy=lambda size: bytes(range(size)))
    query = "?baud=19200"
    listener = await listen(f"tcp://127.0.0.1:0{query if sides != 'client' else ''}", station.accept, clock=clock)
    started_ms = clock.link_ms()
    async with telemetry.connect(f"{listener.url}{query if sides != 'listener' else ''}") as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
    assert clock.link_ms() - started_ms >= ms_for(400, 19_200)
    await listener.close()
    await station.close()

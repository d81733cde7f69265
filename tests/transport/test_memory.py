from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.memory import MemoryLink, open_memory
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from telemetry.transport.base import Transport


class Echo(RecordingReceiver):
    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.when_data = transport.write


async def settle(turns: int = 5) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def linked(link: MemoryLink) -> tuple[RecordingReceiver, RecordingReceiver]:
    left, right = RecordingReceiver(), RecordingReceiver()
    link.left.start(left)
    link.right.start(right)
    return left, right


async def finish(link: MemoryLink) -> None:
    await link.left.close()
    await link.right.close()


async def test_a_wait_on_a_manual_clock_lets_an_answer_come_before_time_moves() -> None:
    clock = ManualClock()
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    receiver = RecordingReceiver()
    receiver.when_data = lambda _data: answered.set_result(None)
    transport = open_memory(receiver, Echo, clock=clock)
    transport.write(b"ping")
    assert await clock.wait(answered, 300)
    assert clock.link_ms() == 0
    await transport.close()


async def test_a_wait_for_an_answer_that_never_comes_ends_at_its_deadline_exactly() -> None:
    clock = ManualClock(start_ms=1_000)
    transport = open_memory(RecordingReceiver(), lambda _transport: RecordingReceiver(), clock=clock)
    transport.write(b"ping")
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert not await clock.wait(never, 1_300)
    assert clock.link_ms() == 1_300
    await transport.close()


async def test_a_link_is_in_flight_until_data_received_has_returned() -> None:
    link = MemoryLink(clock=ManualClock())
    seen: list[bool] = []
    _left, right = linked(link)
    right.when_data = lambda _data: seen.append(link.in_flight())
    link.left.write(b"x")
    assert link.in_flight()
    await settle()
    assert seen == [True]
    assert not link.in_flight()
    await finish(link)


async def test_the_way_takes_its_delay_in_link_time_and_keeps_order() -> None:
    clock = ManualClock()
    arrived: list[tuple[int, bytes]] = []
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    link = MemoryLink(clock=clock, delay_ms=40)
    left, right = linked(link)

    def answer(data: bytes) -> None:
        arrived.append((clock.link_ms(), data))
        link.right.write(data)

    def note(_data: bytes) -> None:
        if not answered.done():
            answered.set_result(None)

    right.when_data, left.when_data = answer, note
    link.left.write(b"one")
    link.left.write(b"two")
    assert await clock.wait(answered, 1_000)
    assert arrived == [(40, b"one"), (40, b"two")]
    assert clock.link_ms() == 80
    await link.left.close()
    clock.advance(ms=40)  # the news of the close takes its time, too
    await settle()
    assert right.lost


async def test_the_clock_forgets_a_link_whose_ends_are_both_gone() -> None:
    clock = ManualClock()
    link = MemoryLink(clock=clock)
    linked(link)
    await finish(link)
    with pytest.raises(UsageError, match="in-process links only"):
        await clock.wait(asyncio.get_running_loop().create_future(), 10)


async def test_in_lockstep_nothing_moves_by_itself() -> None:
    link = MemoryLink(clock=ManualClock(), lockstep=True)
    left, right = linked(link)
    link.left.write(b"one")
    link.left.write(b"two")
    await settle()
    assert right.chunks == []
    assert link.step()
    assert right.chunks == [b"one"]
    link.right.write(b"answer")
    assert link.step()
    assert link.step()
    assert (left.chunks, right.chunks) == ([b"answer"], [b"one", b"two"])
    assert not link.step()
    await link.left.close()
    assert link.step()
    await link.right.close()


async def test_a_link_that_moves_by_itself_is_not_stepped() -> None:
    link = MemoryLink(clock=ManualClock())
    linked(link)
    with pytest.raises(UsageError, match="lockstep=True"):
        link.step()
    await finish(link)


async def test_a_datagram_over_the_mtu_is_refused_and_not_sent() -> None:
    link = MemoryLink(clock=ManualClock(), mtu=4)
    _left, right = linked(link)
    link.left.write(b"1234")
    with pytest.raises(UsageError, match=r"5 bytes is longer than this link carries \(4\)"):
        link.left.write(b"12345")
    await settle()
    assert right.chunks == [b"1234"]
    await finish(link)


async def test_a_cut_loses_what_is_under_way_and_both_ends() -> None:
    link = MemoryLink(clock=ManualClock())
    left, right = linked(link)
    link.left.write(b"lost")
    link.cut("the cable was cut")
    with pytest.raises(LinkClosedError, match="the cable was cut"):
        link.left.write(b"late")
    await settle()
    assert right.chunks == []
    assert [str(end.reason) for end in (left, right)] == ["memory:: the cable was cut"] * 2
    await finish(link)


async def test_what_is_written_may_be_changed_afterwards() -> None:
    link = MemoryLink(clock=ManualClock())
    _left, right = linked(link)
    data = bytearray(b"abc")
    link.left.write(data)  # type: ignore[arg-type]  # as a careless caller does
    data[0] = 0
    await settle()
    assert right.chunks == [b"abc"]
    await finish(link)


async def test_the_ends_say_what_they_are() -> None:
    link = MemoryLink(clock=SystemClock(), datagrams=False, url="sim:")
    linked(link)
    assert not link.left.info.datagrams
    assert link.right.info.in_process
    assert link.left.info.url == "sim:"
    await finish(link)


async def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(UsageError, match="delay_ms: -1"):
        MemoryLink(clock=ManualClock(), delay_ms=-1)


async def test_a_fault_in_the_receiver_of_one_end_leaves_nothing_in_flight() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    link = MemoryLink(clock=ManualClock())
    left, right = linked(link)

    def fail(_data: bytes) -> None:
        raise KeyError("ours")

    right.when_data = fail
    link.left.write(b"x")
    await settle()
    assert not link.in_flight()
    assert left.lost
    assert right.lost
    assert len(reported) == 1

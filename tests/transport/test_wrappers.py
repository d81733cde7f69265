from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.transport.capture import Annotation, CaptureWriter, SessionKeys, read_capture
from telemetry.transport.faults import Direction, FaultKind, FaultPlan, FaultRule
from telemetry.transport.memory import MemoryLink
from telemetry.transport.wrappers import (
    LONGEST_PIECE_BYTES,
    Chunk,
    Fault,
    Mtu,
    Record,
    Wrapper,
    ZeroCutter,
)
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from pathlib import Path


class Bench:
    """A memory link whose left end is wrapped; `far` is the other end."""

    def __init__(self, *layers: Wrapper, clock: ManualClock | None = None, datagrams: bool = True) -> None:
        self.clock = clock or ManualClock()
        self.link = MemoryLink(clock=self.clock, datagrams=datagrams)
        self.near, self.far = RecordingReceiver(), RecordingReceiver()
        outer: RecordingReceiver | Wrapper = self.near
        for layer in layers:
            layer.bind(outer)
            outer = layer
        self.link.left.start(outer)
        self.link.right.start(self.far)
        self.transport: MemoryLink | Wrapper = layers[0]
        down = self.link.left
        for layer in reversed(layers):
            layer.attach(down)
            down = layer  # type: ignore[assignment]
        self.top = layers[0]

    async def finish(self) -> None:
        await self.top.close()
        await self.link.right.close()
        assert self.near.lost
        assert self.near.breaches == self.far.breaches == []


async def settle(turns: int = 6) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def faulty(text: str, clock: ManualClock, **more: object) -> Fault:
    return Fault(FaultPlan.parse(text), clock, **more)  # type: ignore[arg-type]


# --- cutter


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_a_stream_is_cut_alike_in_every_chunking(parts: list[bytes], size: int) -> None:
    data = b"\0".join(parts)
    whole, chunked = ZeroCutter(), ZeroCutter()
    at_once = [*whole.feed(data), whole.rest()]
    in_chunks = [piece for start in range(0, len(data), size) for piece in chunked.feed(data[start : start + size])]
    assert [*in_chunks, chunked.rest()] == at_once
    assert b"".join(at_once) == data


def test_a_frame_between_zeros_is_one_piece() -> None:
    assert ZeroCutter().feed(b"\0abc\0\0\0de\0f") == [b"\0abc\0", b"\0\0de\0"]


def test_garbage_without_an_end_is_cut_all_the_same() -> None:
    cutter = ZeroCutter()
    assert cutter.feed(b"x" * (2 * LONGEST_PIECE_BYTES + 1)) == [b"x" * LONGEST_PIECE_BYTES] * 2
    assert cutter.rest() == b"x"


# --- fault


async def test_dropped_frames_are_gone_and_counted_both_ways() -> None:
    clock = ManualClock()
    fault = faulty("drop@tx*1,drop@rx*1~skip1", clock)
    bench = Bench(fault, clock=clock)
    for message in (b"a", b"b"):
        fault.write(message)
        bench.link.right.write(message)
    await settle()
    assert bench.far.chunks == [b"b"]
    assert bench.near.chunks == [b"a"]
    assert [rule.hits for rule in fault.plan.rules] == [1, 1]
    await bench.finish()


async def test_a_delayed_frame_comes_at_its_instant_and_later_ones_wait_behind_it() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@tx*1", clock)
    bench = Bench(fault, clock=clock)
    arrived: list[tuple[int, bytes]] = []
    bench.far.when_data = lambda data: arrived.append((clock.link_ms(), data))
    fault.write(b"late")
    fault.write(b"behind")
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert not await clock.wait(never, 39)
    assert arrived == []
    assert not await clock.wait(never, 41)
    assert arrived == [(40, b"late"), (40, b"behind")]
    await bench.finish()


async def test_a_wait_sees_a_delayed_answer_in_flight() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@rx", clock)
    bench = Bench(fault, clock=clock)
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bench.near.when_data = lambda _data: answered.set_result(None)
    bench.far.when_data = bench.link.right.write
    fault.write(b"ping")
    assert await clock.wait(answered, 1_000)
    assert clock.link_ms() == 40
    await bench.finish()


async def test_a_jump_over_a_delay_delivers_through_the_loop_and_not_from_inside_the_jump() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@rx", clock)
    bench = Bench(fault, clock=clock)
    bench.link.right.write(b"x")
    await settle()
    clock.advance(days=1)
    assert bench.near.chunks == []
    await settle()
    assert bench.near.chunks == [b"x"]
    await bench.finish()


async def test_a_reordered_frame_is_overtaken_by_the_next() -> None:
    clock = ManualClock()
    fault = faulty("reorder:1:500@tx*1", clock)
    bench = Bench(fault, clock=clock)
    for message in (b"1", b"2", b"3"):
        fault.write(message)
    await settle()
    assert bench.far.chunks == [b"2", b"1", b"3"]
    clock.advance(ms=500)
    await settle()
    assert len(bench.far.chunks) == 3  # the time at which it would have been let go is over, and it is not sent again
    await bench.finish()


async def test_a_reordered_frame_that_nobody_overtakes_is_let_go_in_time() -> None:
    clock = ManualClock()
    fault = faulty("reorder:1:500", clock)
    bench = Bench(fault, clock=clock)
    fault.write(b"1")
    clock.advance(ms=499)
    await settle()
    assert bench.far.chunks == []
    clock.advance(ms=1)
    await settle()
    assert bench.far.chunks == [b"1"]
    await bench.finish()


async def test_what_is_still_delayed_at_the_end_is_lost_and_counted() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@tx*1,reorder@rx*1", clock)
    bench = Bench(fault, clock=clock)
    fault.write(b"never")
    bench.link.right.write(b"held")
    await settle()
    await bench.finish()
    assert fault.undelivered == 2
    clock.advance(ms=1_000)
    await settle()
    assert bench.far.chunks == bench.near.chunks == []


async def test_a_link_that_ends_under_a_due_frame_counts_it() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@tx", clock)
    bench = Bench(fault, clock=clock)
    fault.write(b"due")
    clock.advance(ms=40)
    bench.link.cut("gone")
    await settle()
    assert fault.undelivered == 1
    await bench.finish()


async def test_a_due_frame_finds_its_lane_stopped() -> None:
    clock = ManualClock()
    fault = faulty("delay:1:40@tx", clock)
    bench = Bench(fault, clock=clock)
    fault.write(b"due")
    clock.advance(ms=40)
    await fault.close()
    await settle()
    assert bench.far.chunks == []
    await bench.finish()


async def test_frames_are_picked_by_the_classifier() -> None:
    clock = ManualClock()

    def classify(direction: Direction, frame: bytes) -> str | None:
        return f"{direction}-{frame[:1].decode()}"

    fault = faulty("drop@/tx-C", clock, classifier=classify)
    bench = Bench(fault, clock=clock)
    for message in (b"Commit", b"Begin"):
        fault.write(message)
    await settle()
    assert bench.far.chunks == [b"Begin"]
    await bench.finish()


async def test_a_rule_by_type_without_a_classifier_is_refused_when_it_is_put_up() -> None:
    clock = ManualClock()
    fault = faulty("drop@/Commit", clock)
    link = MemoryLink(clock=clock)
    with pytest.raises(UsageError, match="hand a classifier"):
        fault.attach(link.left)
    await link.left.close()
    await link.right.close()


async def test_on_a_stream_faults_meet_whole_frames_whatever_the_chunks() -> None:
    clock = ManualClock()
    fault = faulty("drop@rx*1~skip1", clock)
    bench = Bench(fault, clock=clock, datagrams=False)
    for byte in b"\0one\0\0two\0\0three\0":
        bench.link.right.write(bytes([byte]))
    await settle()
    assert bench.near.data == b"\0one\0\0three\0"
    await bench.finish()


async def test_on_a_stream_an_unfinished_frame_comes_out_at_the_end() -> None:
    clock = ManualClock()
    fault = faulty("drop:0@rx", clock)
    bench = Bench(fault, clock=clock, datagrams=False)
    bench.link.right.write(b"one\0half")
    await settle()
    assert bench.near.data == b"one\0"
    await bench.link.right.close()
    await settle()
    assert bench.near.data == b"one\0half"
    await bench.finish()


async def test_rules_put_in_force_and_taken_away_mid_stream_lose_no_byte() -> None:
    clock = ManualClock()
    fault = Fault(FaultPlan(), clock)
    bench = Bench(fault, clock=clock, datagrams=False)
    bench.link.right.write(b"no zero")
    await settle()
    assert bench.near.data == b"no zero"
    fault.plan.add(FaultRule(FaultKind.DROP, 0.0))
    bench.link.right.write(b" half")
    await settle()
    fault.plan.clear()
    bench.link.right.write(b" more")
    await settle()
    assert bench.near.data == b"no zero half more"
    fault.write(b"there")
    await settle()
    assert bench.far.data == b"there"
    await bench.finish()


async def test_a_write_that_is_cut_on_a_stream_keeps_its_unfinished_end() -> None:
    clock = ManualClock()
    fault = faulty("duplicate@tx", clock)
    bench = Bench(fault, clock=clock, datagrams=False)
    fault.write(b"one\0half")
    await settle()
    assert bench.far.data == b"one\0one\0halfhalf"
    await bench.finish()


@pytest.mark.real
async def test_on_the_host_clock_delayed_frames_keep_their_order() -> None:
    clock = SystemClock()
    link = MemoryLink(clock=clock)
    near, far = RecordingReceiver(), RecordingReceiver()
    fault = Fault(FaultPlan.parse("delay:0.5:5@tx", seed=4), clock)
    fault.bind(near)
    link.left.start(fault)
    link.right.start(far)
    fault.attach(link.left)
    sent = [bytes([number]) for number in range(200)]
    for frame in sent:
        fault.write(frame)
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while len(far.chunks) < len(sent):  # noqa: ASYNC110 - timers of the host decide
            await asyncio.sleep(0.001)
    assert far.chunks == sent
    assert 60 < fault.plan.hits < 140
    await fault.close()
    await link.right.close()


# --- record


def recorder(path: Path, clock: ManualClock, **more: object) -> Record:
    return Record(CaptureWriter(path, clock, simulated=True), clock, **more)  # type: ignore[arg-type]


async def test_a_recording_holds_every_frame_with_its_time_and_direction(tmp_path: Path) -> None:
    clock = ManualClock(start_ms=5)
    record = recorder(tmp_path / "f.telcap", clock)
    bench = Bench(record, clock=clock)
    record.write(b"\x01")
    bench.link.right.write(b"\x02\x00")
    await settle()
    clock.advance(ms=10)
    record.write(b"\x03")
    await bench.finish()
    capture = read_capture(tmp_path / "f.telcap")
    assert capture.simulated is True
    assert capture.started is None
    assert [(f.at_ms, f.direction, f.data) for f in capture.frames()] == [
        (5, Direction.TX, b"\x01"),
        (5, Direction.RX, b"\x02\x00"),
        (15, Direction.TX, b"\x03"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "f.telcap").read_text().splitlines()]
    assert lines[1] == {"link": 1, "at_ms": 5, "opened": "memory:", "datagrams": True}
    assert lines[-1] == {"link": 1, "at_ms": 15, "lost": None}


async def test_what_is_known_of_a_received_frame_is_asked_after_it_was_dealt_with(tmp_path: Path) -> None:
    clock = ManualClock()
    opened: dict[bytes, str] = {}

    def annotate(_direction: Direction, frame: bytes) -> Annotation | None:
        if frame == b"key":
            return Annotation(keys={"request": "00ff"}, note="test device")
        return Annotation(message={"name": opened[frame]}) if frame in opened else None

    record = recorder(tmp_path / "f.telcap", clock, annotate=annotate)
    bench = Bench(record, clock=clock)

    def answer(frame: bytes) -> None:
        opened[frame] = "ReadStatus"
        opened[b"answer"] = "Status"
        record.write(b"answer")

    bench.near.when_data = answer
    bench.link.right.write(b"ask")
    await settle()
    record.write(b"key")
    await bench.finish()
    capture = read_capture(tmp_path / "f.telcap")
    assert [(f.direction, f.data, f.message) for f in capture.frames()] == [
        (Direction.RX, b"ask", {"name": "ReadStatus"}),
        (Direction.TX, b"answer", {"name": "Status"}),
        (Direction.TX, b"key", None),
    ]
    assert SessionKeys({"request": "00ff"}) in capture.entries


async def test_a_stream_is_recorded_in_frames(tmp_path: Path) -> None:
    clock = ManualClock()
    record = recorder(tmp_path / "f.telcap", clock)
    bench = Bench(record, clock=clock, datagrams=False)
    record.write(b"\0a\0\0b\0")
    for byte in b"\0c\0d":
        bench.link.right.write(bytes([byte]))
    await settle()
    assert bench.near.data == b"\0c\0d"
    await bench.link.right.close()
    await settle()
    await bench.finish()
    assert [f.data for f in read_capture(tmp_path / "f.telcap").frames()] == [b"\0a\0", b"\0b\0", b"\0c\0", b"d"]


async def test_the_reason_of_a_loss_is_recorded(tmp_path: Path) -> None:
    clock = ManualClock()
    bench = Bench(recorder(tmp_path / "f.telcap", clock), clock=clock)
    bench.link.cut("unplugged")
    await settle()
    await bench.finish()
    assert "unplugged" in (tmp_path / "f.telcap").read_text().splitlines()[-1]


async def test_a_capture_that_cannot_be_written_ends_the_link_before_anything_unrecorded_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    record = recorder(tmp_path / "f.telcap", clock)
    bench = Bench(record, clock=clock)

    def full(_frame: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record._writer, "frame", full)
    with pytest.raises(LinkClosedError, match="cannot be written: No space left on device"):
        record.write(b"unrecorded")
    await settle()
    assert bench.far.chunks == []
    assert "No space left" in str(bench.near.reason)
    with pytest.raises(LinkClosedError, match="No space left"):
        record.write(b"late")
    await bench.finish()


async def test_a_received_frame_that_cannot_be_recorded_ends_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    record = recorder(tmp_path / "f.telcap", clock)
    bench = Bench(record, clock=clock)

    def full(_frame: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record._writer, "frame", full)
    bench.link.right.write(b"x")
    bench.link.right.write(b"y")
    await settle(10)
    assert "No space left" in str(bench.near.reason)
    record._fail(LinkClosedError("a second failure"))
    assert "No space left" in str(record._failure)
    await bench.finish()


# --- chunk and mtu


async def test_chunk_cuts_what_is_received() -> None:
    bench = Bench(Chunk(3), datagrams=False)
    bench.link.right.write(b"12345678")
    bench.top.write(b"12345678")
    await settle()
    assert bench.near.chunks == [b"123", b"456", b"78"]
    assert bench.far.chunks == [b"12345678"]
    await bench.finish()


async def test_chunk_around_datagrams_is_refused() -> None:
    link = MemoryLink(clock=ManualClock())
    with pytest.raises(UsageError, match="chunk=3 needs a byte stream"):
        Chunk(3).attach(link.left)
    await link.left.close()
    await link.right.close()


async def test_mtu_refuses_long_datagrams() -> None:
    bench = Bench(Mtu(4))
    assert bench.top.info.mtu == 4
    bench.top.write(b"1234")
    with pytest.raises(UsageError, match="5 bytes is longer than mtu=4"):
        bench.top.write(b"12345")
    bench.link.right.write(b"12345")
    await settle()
    assert bench.far.chunks == [b"1234"]
    assert bench.near.chunks == [b"12345"]
    await bench.finish()


async def test_mtu_cuts_a_stream_both_ways() -> None:
    bench = Bench(Mtu(4), datagrams=False)
    assert bench.top.info.mtu is None
    bench.top.write(b"123456")
    bench.link.right.write(b"123456")
    await settle()
    assert bench.far.chunks == bench.near.chunks == [b"1234", b"56"]
    await bench.finish()


# --- what all have in common


async def test_a_wrapper_that_is_not_attached_says_so() -> None:
    wrapper = Wrapper()
    with pytest.raises(LinkClosedError, match="not open yet"):
        wrapper.write(b"x")
    await wrapper.close()
    wrapper.data_received(b"to nobody")
    wrapper.connection_lost(None)


@pytest.mark.parametrize("seed", range(5))
async def test_everything_that_is_counted_happened(seed: int) -> None:
    clock = ManualClock()
    fault = Fault(FaultPlan.parse("drop:0.2@tx,duplicate:0.2@tx", seed=seed), clock)
    bench = Bench(fault, clock=clock)
    for number in range(100):
        fault.write(bytes([number]))
    await settle(400)
    drop, duplicate = fault.plan.rules
    assert len(bench.far.chunks) == 100 - drop.hits + duplicate.hits
    await bench.finish()

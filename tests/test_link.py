from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import ManualClock
from telemetry.errors import LinkClosedError, UsageError
from telemetry.link import EARLY_LIMIT_BYTES, FrameLink, frame_in, frame_type
from telemetry.protocol.frame import Frame, FrameFault, encode_frame, encode_stream
from telemetry.protocol.wire import MAX_FRAME, FrameType
from telemetry.transport.base import Transport, TransportInfo
from telemetry.transport.faults import Direction
from telemetry.transport.memory import MemoryLink
from telemetry.transport.wrappers import Chunk

if TYPE_CHECKING:
    from telemetry.transport.base import Receiver

FRAMES = [Frame(FrameType.PROBE, 0, b""), Frame(FrameType.REQ, 0, b"\0" * 20), Frame(FrameType.RSP, 0, b"x" * 248)]


class Wire(Transport):
    """A transport that goes nowhere."""

    def __init__(self, *, datagrams: bool, mtu: int | None = None) -> None:
        self.info = TransportInfo("wire:", datagrams=datagrams, mtu=mtu)
        self.written: list[bytes] = []
        self.closed = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def close(self) -> None:
        self.closed += 1


class User:
    """Takes down what a link tells."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.frames: list[Frame] = []
        self.lost: list[LinkClosedError | None] = []
        self.garbage: list[tuple[str, bytes]] = []
        self.link = FrameLink(
            on_frame=self.frames.append,
            on_lost=self.lost.append,
            on_garbage=lambda fault, sample: self.garbage.append((fault, sample)),
        )
        if transport is not None:
            self.link.attach(transport)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("datagrams", [True, False])
async def test_frames_pass_between_two_links(datagrams: bool) -> None:
    wire = MemoryLink(clock=ManualClock(), datagrams=datagrams)
    left, right = User(wire.left), User(wire.right)
    wire.left.start(left.link)
    wire.right.start(right.link)
    for frame in FRAMES:
        left.link.send(encode_frame(frame))
    await settle()
    assert right.frames == FRAMES
    assert (left.link.frames_out, right.link.frames_in) == (3, 3)
    await left.link.close()
    await settle()
    assert left.lost == [None]
    assert "closed" in str(right.lost[0])
    with pytest.raises(LinkClosedError):
        left.link.send(encode_frame(FRAMES[0]))
    assert left.link.frames_out == 3


async def test_frames_survive_any_chunking() -> None:
    wire = MemoryLink(clock=ManualClock(), datagrams=False)
    near, far = User(), User(wire.right)
    chunk = Chunk(1)
    chunk.bind(near.link)
    wire.left.start(chunk)
    wire.right.start(far.link)
    chunk.attach(wire.left)
    near.link.attach(chunk)
    for frame in FRAMES:
        far.link.send(encode_frame(frame))
    await settle()
    assert near.frames == FRAMES
    await near.link.close()
    await far.link.close()


def test_on_a_stream_a_frame_is_cobs_between_zeros_and_as_it_is_in_a_datagram() -> None:
    data = encode_frame(FRAMES[1])
    for datagrams, expected in ((True, data), (False, encode_stream(data))):
        wire = Wire(datagrams=datagrams)
        user = User(wire)
        user.link.send(data)
        assert wire.written == [expected]
        assert user.link.info is wire.info


@pytest.mark.inv(59)
@given(st.lists(st.binary(max_size=600)), st.booleans())
def test_inv_59_no_bytes_make_a_link_raise(chunks: list[bytes], datagrams: bool) -> None:
    user = User(Wire(datagrams=datagrams))
    for chunk in chunks:
        user.link.data_received(chunk)
    assert user.link.frames_in == len(user.frames)
    assert sum(user.link.garbage.values()) == len(user.garbage)
    assert set(user.link.garbage) <= set(FrameFault)
    assert user.link.garbage_bytes <= sum(map(len, chunks))


@pytest.mark.inv(60)
@given(st.binary(max_size=600), st.booleans())
def test_inv_60_after_any_garbage_the_next_frame_comes_through(noise: bytes, datagrams: bool) -> None:
    user = User(Wire(datagrams=datagrams))
    user.link.data_received(noise)
    before = len(user.frames)
    data = encode_frame(FRAMES[1])
    user.link.data_received(data if datagrams else encode_stream(data))
    assert user.frames[before:][-1] == FRAMES[1]


def test_garbage_is_counted_by_its_fault_on_both_kinds() -> None:
    data = bytearray(encode_frame(FRAMES[1]))
    data[5] ^= 1
    for datagrams in (True, False):
        user = User(Wire(datagrams=datagrams))
        user.link.data_received(bytes(data) if datagrams else encode_stream(bytes(data)))
        assert user.link.garbage == {"crc": 1}
        assert user.garbage[0][0] == "crc"
        assert user.link.garbage_bytes >= len(data)


def test_without_anyone_listening_garbage_is_counted_all_the_same() -> None:
    link = FrameLink(on_frame=lambda _frame: None, on_lost=lambda _reason: None)
    link.attach(Wire(datagrams=True))
    link.data_received(b"noise")
    assert link.garbage == {"too_short": 1}


@pytest.mark.parametrize("datagrams", [True, False])
async def test_what_comes_before_the_transport_is_known_is_kept(datagrams: bool) -> None:
    user = User()
    with pytest.raises(LinkClosedError, match="not open yet"):
        user.link.send(encode_frame(FRAMES[0]))
    with pytest.raises(LinkClosedError, match="not open yet"):
        _ = user.link.info
    await user.link.close()
    data = encode_frame(FRAMES[1])
    user.link.data_received(data if datagrams else encode_stream(data))
    assert user.frames == []
    user.link.attach(Wire(datagrams=datagrams))
    assert user.frames == [FRAMES[1]]


def test_what_comes_too_early_is_bounded_and_counted() -> None:
    user = User()
    for _ in range(EARLY_LIMIT_BYTES // 1_000 + 2):
        user.link.data_received(b"x" * 1_000)
    assert set(user.link.garbage) == {"early"}
    assert sum(map(len, user.link._early)) <= EARLY_LIMIT_BYTES


def test_a_datagram_link_too_narrow_for_a_frame_is_refused() -> None:
    with pytest.raises(UsageError, match=f"hold 23 bytes, a frame of ITP/1 has up to {MAX_FRAME}"):
        User(Wire(datagrams=True, mtu=23))
    User(Wire(datagrams=True, mtu=MAX_FRAME))
    User(Wire(datagrams=False, mtu=23))


async def test_closing_closes_the_transport() -> None:
    wire = Wire(datagrams=True)
    await User(wire).link.close()
    assert wire.closed == 1


@given(st.sampled_from(FRAMES))
def test_a_recorded_frame_is_known_in_either_form(frame: Frame) -> None:
    data = encode_frame(frame)
    for recorded in (data, encode_stream(data), encode_stream(data)[1:]):
        assert frame_in(recorded) == frame
        assert frame_type(Direction.TX, recorded) == frame.type.name
    assert frame_in(encode_stream(data) * 2) is None


@given(st.binary(max_size=40))
def test_what_is_no_frame_has_no_type(data: bytes) -> None:
    assert frame_in(data) is None
    assert frame_type(Direction.RX, data) is None


def test_a_link_is_a_receiver() -> None:
    receiver: Receiver = User().link
    receiver.connection_lost(None)

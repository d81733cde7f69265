"""Frames, and frames out of streams: every chunking alike, every undamaged frame found, nothing kept but a segment."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from telemetry.errors import BadFrame, UsageError
from telemetry.protocol.frame import (
    GARBAGE_SAMPLE,
    MAX_SEGMENT,
    Frame,
    FrameFault,
    Garbage,
    StreamDecoder,
    decode_frame,
    encode_frame,
    encode_stream,
)
from telemetry.protocol.wire import MAX_BODY, MAX_FRAME, FrameType
from tests.protocol import strategies

REQ = Frame(FrameType.REQ, 0, b"\x00\x01\x02")
LONG = Frame(FrameType.RSP, 0, bytes(range(MAX_BODY)))


@given(strategies.frame())
def test_decode_frame_undoes_encode_frame(frame: Frame) -> None:
    data = encode_frame(frame)
    assert decode_frame(data) == frame
    assert 0 not in encode_stream(data)[1:-1]
    assert StreamDecoder().feed(encode_stream(data)) == [frame]


@pytest.mark.inv(59)
@given(st.binary(max_size=300))
def test_inv_59_any_datagram_is_a_frame_or_a_bad_frame(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except BadFrame as error:
        named = str(error).split(":")[0]
    else:
        named = "none"
        assert encode_frame(frame) == data
    assert named in {"none", *FrameFault}


@pytest.mark.parametrize("frame", [REQ, LONG], ids=["short", "long"])
def test_every_single_bit_flip_of_a_frame_is_noise(frame: Frame) -> None:
    data = bytearray(encode_frame(frame))
    for bit in range(8 * len(data)):
        data[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(BadFrame, match=r"^crc: "):
            decode_frame(bytes(data))
        data[bit >> 3] ^= 1 << (bit & 7)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (Frame(4, 0, b""), "frame type: 4 is no FrameType"),  # type: ignore[arg-type]
        (Frame(FrameType.REQ, 1, b""), "frame flags: 1 is not 0"),
        (Frame(FrameType.REQ, 0, bytes(249)), "frame body: 249 bytes, at most 248 fit"),
    ],
)
def test_encode_frame_refuses_what_is_no_frame(frame: Frame, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        encode_frame(frame)


@pytest.mark.parametrize("size", [0, MAX_FRAME + 1])
def test_encode_stream_refuses_what_is_no_frame(size: int) -> None:
    with pytest.raises(UsageError, match=f"frame: {size} bytes are outside 1 to 256"):
        encode_stream(b"\x01" * size)


def test_longest_segment_is_the_longest_cobs_form() -> None:
    assert max(len(cobs.encode(bytes([fill]) * MAX_FRAME)) for fill in (0, 1)) == MAX_SEGMENT


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at the given places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


noise = (
    st.binary(max_size=40) | st.binary(min_size=250, max_size=600) | st.integers(250, 600).map(lambda n: b"\x7f" * n)
)
streams = st.lists(noise | strategies.frame().map(lambda frame: encode_stream(encode_frame(frame))), max_size=8)


@given(streams.map(b"".join), st.lists(st.integers(0, 5000), max_size=20))
def test_chunking_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole, chunked, single = StreamDecoder(), StreamDecoder(), StreamDecoder()
    expected = whole.feed(data)
    assert [item for piece in pieces(data, cuts) for item in chunked.feed(piece)] == expected
    assert [item for byte in data for item in single.feed(bytes([byte]))] == expected
    for decoder in (chunked, single):
        assert (decoder.frames, decoder.garbage, decoder.discarded_bytes, decoder.pending_bytes) == (
            whole.frames,
            whole.garbage,
            whole.discarded_bytes,
            whole.pending_bytes,
        )


@pytest.mark.inv(60)
@given(st.binary(max_size=700), strategies.frame(), st.lists(st.integers(0, 2000), max_size=5))
def test_inv_60_after_any_garbage_the_next_frame_is_decoded(garbage: bytes, frame: Frame, cuts: list[int]) -> None:
    decoder = StreamDecoder()
    found = [
        item for piece in pieces(garbage + encode_stream(encode_frame(frame)), cuts) for item in decoder.feed(piece)
    ]
    assert found[-1] == frame


@pytest.mark.inv(60)
@pytest.mark.parametrize("seed", range(8))
def test_inv_60_every_undamaged_frame_is_recovered_from_a_stream_with_5_percent_damaged(seed: int) -> None:
    rng = random.Random(seed)
    sent, stream = [], bytearray()
    damaged_count = 0
    for number in range(2000):
        frame = Frame(rng.choice(list(FrameType)), 0, number.to_bytes(4, "big") + rng.randbytes(rng.randrange(240)))
        coded = bytearray(encode_stream(encode_frame(frame)))
        if rng.random() < 0.05:
            damaged_count += 1
            for _ in range(rng.randint(1, 5)):  # delimiters included
                at = rng.randrange(len(coded))
                coded[at] ^= rng.randint(1, 255)
            if rng.random() < 0.3:
                del coded[rng.randrange(len(coded)) :]
        else:
            sent.append(frame)
        stream += coded
    decoder = StreamDecoder()
    data, at, found = bytes(stream), 0, []
    while at < len(data):
        size = rng.randint(1, 700)
        found += decoder.feed(data[at : at + size])
        at += size
    undamaged = set(sent)
    frames = [item for item in found if isinstance(item, Frame)]
    assert [frame for frame in frames if frame in undamaged] == sent
    # A hit on a delimiter alone, which the neighbour's stands in for, leaves a frame whole.
    assert len(frames) - len(sent) < damaged_count
    assert decoder.frames == len(frames)
    assert sum(decoder.garbage.values()) == len(found) - len(frames)


def test_garbage_is_truncated_and_counted() -> None:
    decoder = StreamDecoder()
    assert decoder.feed(b"\x7f" * 10_000) == []
    assert decoder.pending_bytes == 10_000
    assert decoder.feed(b"\0") == [Garbage(FrameFault.TOO_LONG, b"\x7f" * GARBAGE_SAMPLE, 10_000)]
    assert decoder.feed(b"\x7f" * 300 + b"\0\x7f\0")[1:] == [Garbage(FrameFault.COBS, b"\x7f", 1)]
    assert decoder.garbage == {FrameFault.TOO_LONG: 2, FrameFault.COBS: 1}
    assert (decoder.frames, decoder.discarded_bytes, decoder.pending_bytes) == (0, 10_301, 0)


class Endless(RuleBasedStateMachine):
    """However the decoder is fed, it keeps one segment and accounts for every byte."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = StreamDecoder()
        self.fed = 0
        self.delimiters = 0
        self.in_frames = 0

    def _feed(self, data: bytes) -> None:
        self.fed += len(data)
        self.delimiters += data.count(0)
        for item in self.decoder.feed(data):
            if isinstance(item, Frame):
                self.in_frames += len(encode_stream(encode_frame(item))) - 2
            else:
                assert len(item.data) <= GARBAGE_SAMPLE

    @rule(data=st.binary(max_size=2000))
    def noise(self, data: bytes) -> None:
        self._feed(data)

    @rule(frame=strategies.frame(), cut=st.integers(0, 300))
    def half_a_frame(self, frame: Frame, cut: int) -> None:
        self._feed(encode_stream(encode_frame(frame))[:cut])

    @rule(frame=strategies.frame())
    def frame(self, frame: Frame) -> None:
        before = self.decoder.frames
        self._feed(encode_stream(encode_frame(frame)))
        assert self.decoder.frames > before

    @invariant()
    def every_byte_is_accounted_for(self) -> None:
        seen = self.in_frames + self.decoder.discarded_bytes + self.decoder.pending_bytes + self.delimiters
        assert seen == self.fed
        assert len(self.decoder._held) <= MAX_SEGMENT


TestInv59Endless = pytest.mark.inv(59)(Endless.TestCase)
TestInv59Endless.settings = settings(max_examples=50, stateful_step_count=20)

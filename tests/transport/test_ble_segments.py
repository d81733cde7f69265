"""Segments: every frame at every MTU; damage costs one frame and has a name; memory is bounded."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import BadPayload, UsageError
from telemetry.protocol.wire import MAX_FRAME
from telemetry.transport import ble_gatt
from telemetry.transport.ble_gatt import (
    MAX_MTU,
    MIN_MTU,
    Attribute,
    InformationFlag,
    TelemeterInformation,
    advertisement,
    decode_information,
    encode_information,
    is_simulated,
    service_version_of,
    telemeter_uuid,
)
from telemetry.transport.ble_segments import (
    FIRST,
    LAST,
    LONGEST_FRAME,
    SEQUENCES,
    BadSegment,
    Reassembler,
    Segmenter,
    SegmentFault,
)

FRAMES = st.binary(min_size=1, max_size=LONGEST_FRAME)
MTUS = st.integers(MIN_MTU, MAX_MTU)


def feed(reassembler: Reassembler, segments: list[bytes]) -> tuple[list[bytes], list[SegmentFault]]:
    frames: list[bytes] = []
    faults: list[SegmentFault] = []
    for segment in segments:
        for item in reassembler.feed(segment):
            if isinstance(item, BadSegment):
                faults.append(item.reason)
            else:
                frames.append(item)
    return frames, faults


def test_the_longest_frame_is_the_wire_tables() -> None:
    assert LONGEST_FRAME == MAX_FRAME


@given(st.lists(st.tuples(FRAMES, MTUS), max_size=30))
def test_every_frame_at_every_mtu_arrives_as_it_was(sent: list[tuple[bytes, int]]) -> None:
    segmenter, reassembler = Segmenter(MIN_MTU), Reassembler()
    for frame, mtu in sent:
        segmenter.mtu = mtu
        segments = segmenter.cut(frame)
        assert all(2 <= len(segment) <= mtu - 3 for segment in segments)
        assert [bool(segment[0] & FIRST) for segment in segments] == [True] + [False] * (len(segments) - 1)
        assert [bool(segment[0] & LAST) for segment in segments] == [False] * (len(segments) - 1) + [True]
        assert all((b[0] - a[0]) % SEQUENCES == 1 for a, b in pairwise(segments))
        assert feed(reassembler, segments) == ([frame], [])
        assert reassembler.pending_bytes == 0
    assert reassembler.frames == len(sent)
    assert reassembler.faults == {}


def test_every_length_at_the_narrowest_and_the_widest_mtu() -> None:
    for mtu in (MIN_MTU, MIN_MTU + 1, 185, 260, MAX_MTU):
        segmenter, reassembler = Segmenter(mtu), Reassembler()
        for length in range(1, LONGEST_FRAME + 1):
            frame = bytes(index & 0xFF for index in range(length))
            assert feed(reassembler, segmenter.cut(frame)) == ([frame], [])


def test_the_longest_frame_takes_fourteen_segments_at_most() -> None:
    assert len(Segmenter(MIN_MTU).cut(bytes(LONGEST_FRAME))) == 14
    assert len(Segmenter(260).cut(bytes(LONGEST_FRAME))) == 1


@given(
    st.lists(FRAMES, min_size=3, max_size=12, unique=True),
    st.sampled_from([MIN_MTU, 24, 60, 185, MAX_MTU]),
    st.data(),
)
def test_one_damaged_segment_costs_one_frame_only(frames: list[bytes], mtu: int, data: st.DataObject) -> None:
    segmenter = Segmenter(mtu)
    cut = [segmenter.cut(frame) for frame in frames]
    struck = data.draw(st.integers(0, len(cut) - 1))
    place = data.draw(st.integers(0, len(cut[struck]) - 1))
    whole = cut[struck][place]
    damaged = data.draw(
        st.one_of(
            st.just(None),  # lost
            st.binary(max_size=mtu - 3),  # anything else in its place
            st.integers(0, len(whole) - 1).map(lambda length: whole[:length]),  # truncated
            st.integers(0, len(whole) * 8 - 1).map(
                lambda bit: (int.from_bytes(whole, "big") ^ 1 << bit).to_bytes(len(whole), "big")
            ),
        )
    )
    cut[struck][place : place + 1] = [] if damaged is None else [damaged]
    reassembler = Reassembler()
    arrived, _ = feed(reassembler, [segment for segments in cut for segment in segments])
    others = frames[:struck] + frames[struck + 1 :]
    # Whatever else comes out is false, and the frame's CRC says so; every other frame is there, once and in order.
    assert [frame for frame in arrived if frame in others] == others


@given(st.lists(st.binary(max_size=600), max_size=60))
def test_any_bytes_are_borne_in_bounded_memory(segments: list[bytes]) -> None:
    reassembler = Reassembler()
    for segment in segments:
        for item in reassembler.feed(segment):
            assert 1 <= len(item) <= LONGEST_FRAME if isinstance(item, bytes) else item.reason in SegmentFault
        assert reassembler.pending_bytes <= LONGEST_FRAME
    frame = b"in step again"
    assert feed(reassembler, Segmenter(MIN_MTU).cut(frame))[0] == [frame]


A = bytes(range(60))
B = bytes(range(100, 160))


def cut_two() -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Two frames of four segments each, and the two together after them."""
    segmenter = Segmenter(MIN_MTU)
    a, b = segmenter.cut(A), segmenter.cut(B)
    assert len(a) == len(b) == 4
    return a, b, a + b


def test_a_lost_segment_in_the_middle_is_missing() -> None:
    a, b, _ = cut_two()
    assert feed(Reassembler(), [a[0], a[2], a[3], *b]) == ([B], [SegmentFault.MISSING])


def test_a_lost_first_segment_is_named_once() -> None:
    a, b, _ = cut_two()
    reassembler = Reassembler()
    assert feed(reassembler, [*a[1:], *b]) == ([B], [SegmentFault.NO_FIRST])
    assert reassembler.skipped == 2


def test_a_lost_last_segment_shows_when_the_next_frame_begins() -> None:
    a, b, _ = cut_two()
    assert feed(Reassembler(), [*a[:3], *b]) == ([B], [SegmentFault.INTERLEAVED])


def test_two_frames_interleaved_are_both_named() -> None:
    a, b, _ = cut_two()
    mixed = [segment for pair in zip(a, b, strict=True) for segment in pair]
    frames, faults = feed(Reassembler(), mixed)
    assert frames == []
    assert faults == [SegmentFault.INTERLEAVED, SegmentFault.OUT_OF_ORDER]


def test_a_repeated_segment_is_named_and_harmless() -> None:
    a, b, _ = cut_two()
    repeated = [segment for segment in a for _ in range(2)] + b
    assert feed(Reassembler(), repeated) == ([A, B], [SegmentFault.REPEATED] * 4)


def test_the_same_frame_sent_twice_arrives_twice() -> None:
    segmenter = Segmenter(MAX_MTU)
    assert feed(Reassembler(), segmenter.cut(A) + segmenter.cut(A)) == ([A, A], [])


def test_segments_out_of_order_are_named() -> None:
    a, b, _ = cut_two()
    assert feed(Reassembler(), [a[0], a[1], b"\x00" + a[0][1:], a[2], a[3], *b]) == (
        [B],
        [SegmentFault.OUT_OF_ORDER],
    )


@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_truncated_segment_is_named(length: int) -> None:
    a, b, _ = cut_two()
    assert feed(Reassembler(), [a[0], a[1][:length], a[2], a[3], *b]) == ([B], [SegmentFault.TRUNCATED])


def test_a_truncated_first_segment_shows_in_the_second() -> None:
    a, b, _ = cut_two()
    assert feed(Reassembler(), [a[0][:7], *a[1:], *b]) == ([B], [SegmentFault.TRUNCATED])


def test_a_frame_that_never_ends_is_too_long() -> None:
    segments = [bytes((index % SEQUENCES | (0 if index else FIRST),)) + bytes(19) for index in range(40)]
    reassembler = Reassembler()
    assert feed(reassembler, segments) == ([], [SegmentFault.TOO_LONG])
    assert reassembler.faults == {SegmentFault.TOO_LONG: 1}
    assert reassembler.skipped == 40 - 14
    assert feed(reassembler, [bytes((FIRST | LAST,)) + bytes(LONGEST_FRAME + 1)]) == ([], [SegmentFault.TOO_LONG])


@pytest.mark.parametrize("frame", [b"", bytes(LONGEST_FRAME + 1)])
def test_what_is_no_frame_is_not_cut(frame: bytes) -> None:
    with pytest.raises(UsageError, match=r"outside 1 to 256"):
        Segmenter(MIN_MTU).cut(frame)


@pytest.mark.parametrize("mtu", [22, 518])
def test_an_mtu_that_cannot_be_is_refused(mtu: int) -> None:
    with pytest.raises(UsageError, match=rf"{mtu} bytes are outside 23 to 517"):
        Segmenter(mtu)


# The service's identifiers and its two fixed values.


def test_the_advertisement_fits_and_says_all() -> None:
    data = advertisement("SIM-0001")
    assert len(data) == ble_gatt.ADVERTISEMENT_LENGTH
    assert data.hex() == "020106" + "0909" + b"SIM-0001".hex() + "1107" + "f4b2705c1d3e279b8b4c1e6d0001f0a5"


@pytest.mark.parametrize("name", ["", "SIM-00001", "SIM-é", "SIM\n"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="1 to 8 printable ASCII"):
        advertisement(name)


def test_the_version_stands_in_the_uuid() -> None:
    assert telemeter_uuid(Attribute.REPLY) == "a5f00102-6d1e-4c8b-9b27-3e1d5c70b2f4"
    assert service_version_of(telemeter_uuid(Attribute.SERVICE, 200).upper()) == 200
    assert service_version_of(ble_gatt.COMMAND_UUID) is None
    assert service_version_of("0000180a-0000-1000-8000-00805f9b34fb") is None
    assert service_version_of("no uuid") is None
    with pytest.raises(UsageError, match="outside 1 to 255"):
        telemeter_uuid(Attribute.SERVICE, 0)


def test_the_information_reads_back() -> None:
    information = TelemeterInformation(1, InformationFlag.SIMULATED | InformationFlag.PAIRING, 256, "SIM-0001")
    value = encode_information(information)
    assert value.hex() == "01030001" + b"SIM-0001".hex()
    assert decode_information(value + b"of a later version") == information


@given(st.binary(max_size=40))
def test_any_information_reads_or_is_named(value: bytes) -> None:
    try:
        information = decode_information(value)
    except BadPayload:
        return
    assert 1 <= len(information.name) <= 8
    assert encode_information(information) == value[:12]


@pytest.mark.parametrize(("version", "longest"), [(0, 256), (256, 256), (1, 0), (1, 65_536)])
def test_information_that_cannot_be_is_not_encoded(version: int, longest: int) -> None:
    with pytest.raises(UsageError, match="outside 1 to"):
        encode_information(TelemeterInformation(version, InformationFlag(0), longest, "SIM-0001"))


def test_information_that_is_damaged_names_its_field() -> None:
    with pytest.raises(BadPayload, match="telemeter information: 11 bytes, at least 12 are needed"):
        decode_information(bytes(11))
    with pytest.raises(BadPayload, match=r"telemeter information\.name at byte 4"):
        decode_information(bytes.fromhex("01010001") + b"SIM\x0001\x00\x00")


@pytest.mark.parametrize(("value", "field"), [("00010001", "service_version"), ("01010000", "longest_frame")])
def test_information_of_nothing_names_its_field(value: str, field: str) -> None:
    with pytest.raises(BadPayload, match=field):
        decode_information(bytes.fromhex(value) + b"SIM-0001")


CHAPTER = (
    (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8").partition("## 17. Bluetooth LE")[2]
)


def test_the_specification_states_the_service() -> None:
    rows = re.findall(r"^\| ([a-z ]+)(?: \(primary\))? \| `([0-9a-f-]{36})` \| ([a-z, ]*)\|", CHAPTER, re.MULTILINE)
    names = {
        "service": Attribute.SERVICE,
        "command": Attribute.COMMAND,
        "reply": Attribute.REPLY,
        "telemeter information": Attribute.INFORMATION,
        "link status": Attribute.LINK_STATUS,
    }
    assert [(names[name], uuid) for name, uuid, _ in rows] == [(one, telemeter_uuid(one)) for one in Attribute]
    stated = {uuid: {word.strip().replace(" ", "-") for word in text.split(",")} for _, uuid, text in rows[1:]}
    assert stated == ble_gatt.PROPERTIES


def test_the_specification_names_every_fault_and_status() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", CHAPTER, re.MULTILINE)) == {fault.value for fault in SegmentFault}
    stated = dict(re.findall(r"^\| (\d) \| (\w+) \|", CHAPTER, re.MULTILINE)[-3:])
    assert stated == {str(int(status)): status.name.lower() for status in ble_gatt.LinkStatus}


def test_simulated_by_name() -> None:
    assert is_simulated("SIM-0001")
    assert not is_simulated("PUMP-001")
    assert not is_simulated(None)

"""What opening says of each kind of frame: bytes made by hand, keys known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import ManualClock
from telemetry.protocol.channel import Direction as Way
from telemetry.protocol.codec import encode, pad
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.messages import ReadStatus, ReadTelemeter
from telemetry.protocol.primitives import Aead, Secret
from telemetry.protocol.wire import COUNTER, FrameType
from telemetry.traffic.opening import How, OpenedFrame, Shut, open_capture
from telemetry.transport.capture import CapturedFrame, CaptureWriter, read_capture
from telemetry.transport.faults import Direction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEYS = {"handshake_hash": "00" * 32, "to_pump": "11" * 32, "from_pump": "22" * 32}


def _sealed(kind: FrameType, counter: int, plaintext: bytes, key: str = "to_pump") -> bytes:
    cipher = Aead(Secret(bytes.fromhex(KEYS[key])))
    return encode_frame(Frame(kind, 0, COUNTER.pack(counter) + cipher.seal(counter, plaintext)))


def _opened(
    path: Path, pieces: Sequence[bytes], *, datagrams: bool = True, keys: dict[str, str] | None = None
) -> list[OpenedFrame]:
    writer = CaptureWriter(path, ManualClock(), simulated=True)
    link = writer.opened("tcp://h:1", datagrams=datagrams)
    writer.keys(KEYS if keys is None else keys)
    for piece in pieces:
        writer.frame(CapturedFrame(link, 0, Direction.TX, piece))
    writer.close()
    return list(open_capture(read_capture(path)))


STATUS = pad(encode(ReadStatus()))


@pytest.mark.parametrize(
    ("data", "name", "how", "shut"),
    [
        (_sealed(FrameType.REQ, 3, STATUS), "ReadStatus", How.KEYS, None),
        (_sealed(FrameType.REQ, 3, b"\x7f\1\0\0" + bytes(12)), "REQ", How.KEYS, Shut.BAD_MESSAGE),
        (_sealed(FrameType.REQ, 3, b"\2\1\0\0" + b"\1" * 12), "REQ", How.KEYS, Shut.BAD_MESSAGE),
        (_sealed(FrameType.RSP, 3, STATUS, "from_pump"), "RSP", How.KEYS, Shut.BAD_MESSAGE),  # a request as an answer
        (_sealed(FrameType.RSP, 3, STATUS), "RSP", None, Shut.WRONG_KEYS),
        (encode_frame(Frame(FrameType.REQ, 0, b"short")), "REQ", None, Shut.BAD_SHAPE),
        (
            encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=1)))),
            "ReadTelemeter",
            How.PLAIN,
            None,
        ),
        (encode_frame(Frame(FrameType.TELEMETER_REQ, 0, b"\0")), "TELEMETER_REQ", How.PLAIN, Shut.BAD_MESSAGE),
        (
            encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadStatus()))),
            "TELEMETER_REQ",
            How.PLAIN,
            Shut.BAD_MESSAGE,
        ),
        (encode_frame(Frame(FrameType.PROBE, 0, b"")), "PROBE", None, Shut.HANDSHAKE),
        (b"noise", "garbage", None, Shut.NO_FRAME),
        (b"", "garbage", None, Shut.NO_FRAME),
    ],
)
def test_each_kind_of_frame_says_what_it_is(
    tmp_path: Path, data: bytes, name: str, how: How | None, shut: Shut | None
) -> None:
    (found,) = _opened(tmp_path / "f", [data])
    assert (found.name, found.how, found.shut) == (name, how, shut)
    assert found.detail or shut in (None, Shut.HANDSHAKE)
    if found.frame is not None:
        assert found.way is (Way.FROM_PUMP if found.type is FrameType.RSP else Way.TO_PUMP)


def test_the_payload_is_the_plaintext_without_its_padding(tmp_path: Path) -> None:
    (found,) = _opened(tmp_path / "f", [_sealed(FrameType.REQ, 3, STATUS)])
    assert (found.payload, found.counter, found.session) == (encode(ReadStatus()), 3, 0)


@pytest.mark.parametrize("keys", [{"to_pump": "zz"}, {"to_pump": "11" * 32}, {"request": "11" * 32}, {}])
def test_keys_that_are_none_open_nothing(tmp_path: Path, keys: dict[str, str]) -> None:
    (found,) = _opened(tmp_path / "f", [_sealed(FrameType.REQ, 3, STATUS)], keys=keys)
    assert found.shut is Shut.NO_KEYS


@given(st.data())
def test_a_stream_gives_the_same_frames_however_it_was_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    frames = [_sealed(FrameType.REQ, counter, STATUS) for counter in range(3)]
    stream = b"".join(encode_stream(frame) for frame in frames)
    stream = stream if data.draw(st.booleans()) else stream[:-1]  # the last delimiter is missing
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[one:two] for one, two in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = _opened(tmp_path_factory.mktemp("streams") / "f", pieces, datagrams=False)
    assert [one.counter for one in found] == [0, 1, 2]
    assert {one.name for one in found} == {"ReadStatus"}

"""pcapng files, read back by a reader written from the format's page, which knows nothing of ours."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.protocol import Frame, FrameType, ReadTelemeter, encode, encode_frame, encode_stream
from telemetry.protocol.codec import pad
from telemetry.protocol.frame import decode_frame
from telemetry.traffic.opening import open_capture
from telemetry.traffic.pcapng import LAST_TIME_MS, LONGEST_TEXT_BYTES, Direction, Interface, Packet, pcapng
from telemetry.traffic.pcapng_export import HEADER, Mark, export, pack
from telemetry.transport.capture import read_capture

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "captures").glob("*.telcap"))
ASK = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=7))))


@dataclass
class Block:
    kind: int
    body: bytes
    options: list[tuple[int, bytes]] = field(default_factory=list)

    def texts(self, code: int) -> list[str]:
        return [value.decode() for option, value in self.options if option == code]


def blocks(data: bytes) -> list[Block]:
    """Every block, by draft-ietf-opsawg-pcapng 3 and 4; fails for anything that is not as it must be."""
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        body = data[at + 8 : at + length - 4]
        fixed = {0x0A0D0D0A: 16, 1: 8}.get(kind)
        if fixed is None:
            assert kind == 6
            fixed = 20 + (struct.unpack_from("<I", body, 12)[0] + 3) // 4 * 4
        found.append(Block(kind, body[:fixed], list(options(body[fixed:]))))
        at += length
    assert at == len(data)
    assert found[0].kind == 0x0A0D0D0A
    assert struct.unpack("<IHHq", found[0].body) == (0x1A2B3C4D, 1, 0, -1)
    return found


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert length == 0
            assert at + 4 == len(data)
            return
        yield code, data[at + 4 : at + 4 + length]
        assert not any(data[at + 4 + length : at + 4 + (length + 3) // 4 * 4])
        at += 4 + (length + 3) // 4 * 4


def packets(data: bytes) -> list[tuple[int, int, bytes, int, list[str]]]:
    """Interface, time in ms, bytes, flags, comments of every packet."""
    found = []
    for block in blocks(data):
        if block.kind == 6:
            interface, high, low, captured, original = struct.unpack_from("<IIIII", block.body)
            assert captured == original
            (flags,) = (struct.unpack("<I", value)[0] for code, value in block.options if code == 2)
            assert not any(block.body[20 + captured :])
            found.append((interface, high << 32 | low, block.body[20 : 20 + captured], flags, block.texts(1)))
    return found


@given(
    st.lists(
        st.builds(
            Packet,
            st.integers(0, 2),
            st.integers(0, LAST_TIME_MS),
            st.binary(max_size=40),
            st.sampled_from(Direction),
            st.lists(st.text(max_size=20), max_size=2).map(tuple),
        ),
        max_size=6,
    ),
    st.lists(st.text(max_size=30), max_size=3),
)
def test_any_packets_come_back(given_packets: list[Packet], comments: list[str]) -> None:
    interfaces = [Interface("a", "x"), Interface("", "ä" * 3), Interface("c", link_type=101)]
    data = pcapng("tool", comments, interfaces, given_packets)
    section, *rest = blocks(data)
    assert section.texts(4) == ["tool"]
    assert len(section.texts(1)) == sum(bool(text) for text in comments)
    described = [block for block in rest if block.kind == 1]
    assert [struct.unpack("<HHI", block.body) for block in described] == [(147, 0, 0), (147, 0, 0), (101, 0, 0)]
    assert [dict(block.options)[9] for block in described] == [b"\x03"] * 3
    assert [block.texts(2) for block in described] == [["a"], [], ["c"]]
    assert [one[:4] for one in packets(data)] == [
        (one.interface, one.at_ms, one.data, int(one.direction)) for one in given_packets
    ]
    for one, wanted in zip(packets(data), given_packets, strict=True):
        assert one[4] == [text.replace("\0", "\ufffd") for text in wanted.comments if text]


@pytest.mark.parametrize("text", ["x" * 70_000, "ä" * 40_000, "\U0001f600" * 20_000])
def test_a_text_that_is_too_long_is_cut_between_characters_and_says_so(text: str) -> None:
    (section, *_) = blocks(pcapng("t", [text], [], []))
    (comment,) = section.texts(1)
    assert comment.endswith(" bytes more)")
    kept = comment.partition("…")[0]
    assert text.startswith(kept)
    assert LONGEST_TEXT_BYTES - 4 < len(kept.encode()) <= LONGEST_TEXT_BYTES


def test_half_a_surrogate_pair_is_no_reason_to_fail() -> None:
    (section, *_) = blocks(pcapng("t", ["a\ud800b"], [], []))
    assert section.texts(1) == ["a?b"]


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (Packet(1, 0, b""), "interface 1 is none of the 1"),
        (Packet(-1, 0, b""), "interface -1"),
        (Packet(0, -1, b""), "a time of -1 ms is outside 0 to"),
        (Packet(0, LAST_TIME_MS + 1, b""), "is outside 0 to"),
    ],
)
def test_what_the_form_cannot_hold_is_refused(packet: Packet, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pcapng("t", [], [Interface("a")], [packet])


def test_a_packet_has_the_header_of_the_page() -> None:
    packet = pack(b"FRAME", b"PLAIN TEXT", direction=Direction.OUTBOUND, link=3, marks=Mark.OPENED_WITH_KEYS)
    assert packet.hex(" ") == "01 0c 02 01 03 00 00 00 05 00 0a 00 " + b"FRAMEPLAIN TEXT".hex(" ")
    assert HEADER.size == 12
    with pytest.raises(UsageError, match="link: 4294967296 is outside"):
        pack(b"", direction=Direction.UNKNOWN, link=1 << 32)
    with pytest.raises(UsageError, match="frame: 65536 bytes are more"):
        pack(bytes(65536), direction=Direction.UNKNOWN, link=1)


def write(path: Path, *lines: object, started: object = "2027-03-01T08:00:00+00:00") -> Path:
    header = {"format": "telcap", "version": 1, "simulated": True, "tool": "tool 1", "started": started}
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)), encoding="utf-8")
    return path


def opened(link: int, *, datagrams: bool = True) -> dict[str, object]:
    return {"link": link, "at_ms": 0, "opened": f"tcp://host:{link}", "datagrams": datagrams}


def test_every_link_is_an_interface_and_remarks_are_comments(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.telcap",
        opened(1),
        opened(7, datagrams=False),
        {"note": "lay it on"},
        {"link": 7, "at_ms": 5, "dir": "tx", "hex": encode_stream(ASK).hex()},
        {"link": 1, "at_ms": 6, "dir": "rx", "hex": ASK.hex()},
        {"link": 7, "at_ms": 7, "lost": "cable"},
        {"link": 1, "at_ms": 8, "lost": None},
    )
    data, count = export(read_capture(path), "x.telcap")
    assert count == 2
    section, *rest = blocks(data)
    assert section.texts(1)[0].startswith("SIMULATED devices only; not for clinical use. x.telcap, recorded by tool 1.")
    assert section.texts(1)[1] == "times are 2027-03-01T08:00:00+00:00 plus the recorder's link time (at_ms)"
    assert [block.texts(3) for block in rest if block.kind == 1] == [["tcp://host:1"], ["tcp://host:7"]]
    began_ms = 1_803_888_000_000
    one, two = packets(data)
    assert one[:2] == (1, began_ms + 5)
    assert one[3] == Direction.OUTBOUND
    assert one[4] == [
        "before this: link 1 opened at 0 ms",
        "before this: link 7 opened at 0 ms",
        "before this: note: lay it on",
    ]
    assert two[:2] == (0, began_ms + 6)
    assert two[3] == Direction.INBOUND
    assert two[4] == ["after this: link 7 lost: cable at 7 ms", "after this: link 1 closed at 8 ms"]
    for packet, link in ((one[2], 7), (two[2], 1)):
        assert HEADER.unpack_from(packet)[3:] == (Mark.SIMULATED, link, len(ASK), 0)
        assert packet[12:] == ASK
    only, one_count = export(read_capture(path), "x.telcap", only_link=7)
    assert one_count == 1
    assert [block.texts(2) for block in blocks(only) if block.kind == 1] == [["link 7"]]
    assert packets(only)[0][4][-1] == "after this: link 7 lost: cable at 7 ms"


def test_without_a_beginning_the_times_are_the_links_own(tmp_path: Path) -> None:
    path = write(tmp_path / "x.telcap", opened(1), {"link": 1, "at_ms": 5, "dir": "tx", "hex": ASK.hex()}, started=None)
    data, _ = export(read_capture(path), "x")
    assert packets(data)[0][1] == 5
    assert "the date means nothing" in blocks(data)[0].texts(1)[1]


def test_a_capture_without_a_frame_keeps_its_remarks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.telcap", opened(1), {"note": "nobody came"}, {"link": 1, "at_ms": 1, "lost": "no answer"}
    )
    data, count = export(read_capture(path), "x")
    assert count == 0
    assert blocks(data)[0].texts(1)[2:] == [
        "link 1 opened at 0 ms",
        "note: nobody came",
        "link 1 lost: no answer at 1 ms",
    ]


def test_a_thousand_remarks_do_not_make_a_block_that_no_tool_reads(tmp_path: Path) -> None:
    notes = [{"note": f"{number}"} for number in range(1000)]
    path = write(tmp_path / "x.telcap", opened(1), *notes, {"link": 1, "at_ms": 5, "dir": "tx", "hex": ASK.hex()})
    comments = packets(export(read_capture(path), "x")[0])[0][4]
    assert len(comments) == 101
    assert comments[-1] == "and 901 remarks more"


def test_garbage_goes_along_as_it_stood_there(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.telcap",
        opened(1),
        opened(2, datagrams=False),
        {"link": 1, "at_ms": 1, "dir": "tx", "hex": "0102"},
        {"link": 2, "at_ms": 2, "dir": "rx", "hex": "00ff0200"},
    )
    one, two = (packet[2] for packet in packets(export(read_capture(path), "x")[0]))
    assert (one[3], one[12:]) == (Mark.SIMULATED, b"\1\2")
    assert (two[3], two[12:]) == (Mark.SIMULATED | Mark.SEGMENT, b"\x00\xff\x02\x00")


@pytest.mark.parametrize(
    ("lines", "started", "said"),
    [
        (
            ({"link": 1, "at_ms": 10**15, "dir": "tx", "hex": "00"},),
            None,
            "a time of 1000000000000000 ms",
        ),
        ((), "yesterday", "started is 'yesterday'; right would be an instant"),
        ((), "0001-01-01T00:00:00+00:00", "before 1970"),
    ],
)
def test_a_capture_beyond_the_form_is_refused(
    lines: tuple[object, ...], started: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        export(read_capture(write(tmp_path / "x.telcap", opened(1), *lines, started=started)), "x")


def test_a_link_beyond_the_form_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.telcap", opened(1 << 40), {"link": 1 << 40, "at_ms": 1, "dir": "tx", "hex": ASK.hex()})
    with pytest.raises(UsageError, match="link: 1099511627776 is outside"):
        export(read_capture(path), "x")
    with pytest.raises(UsageError, match="link: 2 is none of the capture's: 1099511627776"):
        export(read_capture(path), "x", only_link=2)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_whole_capture_keeps_every_frame_and_what_was_in_it(path: Path) -> None:
    capture = read_capture(path)
    frames = list(open_capture(capture))
    data, count = export(capture, path.name)
    assert count == len(frames)
    for found, (_, _, packet, _, _) in zip(frames, packets(data), strict=True):
        _, size, _, marks, link, frame_size, opened_size = HEADER.unpack_from(packet)
        assert link == found.link
        assert len(packet) == size + frame_size + opened_size
        if found.frame is not None:
            assert decode_frame(packet[size : size + frame_size]) == found.frame
        if found.counter is not None and found.message is not None:
            assert packet[size + frame_size :] == pad(encode(found.message))
            assert marks & Mark.OPENED_WITH_KEYS or marks & Mark.OPENED_AS_RECORDED

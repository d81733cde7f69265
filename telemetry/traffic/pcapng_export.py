"""A capture as pcapng: each frame behind a small header, and behind the frame what was sealed in it, where it is known.

A packet of link type USER0 is, little-endian (docs/wireshark.md, The packets):

====  =====  ==============================================================================
at    bytes  what
====  =====  ==============================================================================
0     1      version of this header, 1
1     1      size of this header in bytes, 12; a reader passes over what is more
2     1      direction, seen from the recorder: 1 received, 2 sent, 0 not known
3     1      flags (``Mark``)
4     4      number of the link in the capture
8     2      bytes of the frame (or of the segment, flag ``SEGMENT``)
10    2      bytes of the opened plaintext, 0 when there is none
12    …      frame, then plaintext: header, body and padding of the message as they were sealed
====  =====  ==============================================================================
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.protocol.frame import encode_frame
from telemetry.protocol.wire import COUNTER, LAYOUT_FINGERPRINT, TAG_SIZE
from telemetry.traffic.opening import How, open_capture, says_simulated
from telemetry.traffic.pcapng import Direction, Interface, Packet, pcapng
from telemetry.transport.capture import LinkLost, LinkOpened, Note, tool_version
from telemetry.transport.faults import Direction as Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.traffic.opening import OpenedFrame
    from telemetry.transport.capture import Capture

HEADER = struct.Struct("<BBBBIHH")
HEADER_VERSION = 1
_LARGEST = 0xFFFF
_LAST_LINK = 0xFFFFFFFF
_MOST_COMMENTS = 100
"""Of one packet: tools refuse a block that is too long."""
_DIRECTIONS = {Recorded.RX: Direction.INBOUND, Recorded.TX: Direction.OUTBOUND}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mark(IntFlag):
    """Flags of a packet."""

    NONE = 0
    OPENED_WITH_KEYS = 1
    """The plaintext was opened with the session's keys; its tag was right."""
    OPENED_AS_RECORDED = 2
    """The plaintext is what the recorder said was in the frame; nothing proves it."""
    SIMULATED = 4
    """The capture says that its devices are virtual."""
    SEGMENT = 8
    """What follows is a segment of a byte stream that is no frame, as it stood there, COBS and delimiters included."""


def pack(frame: bytes, plaintext: bytes = b"", *, direction: Direction, link: int, marks: Mark = Mark.NONE) -> bytes:
    """One packet; raises ``UsageError`` for a link or size that its header cannot hold."""
    if not 0 <= link <= _LAST_LINK:
        raise UsageError(f"link: {link} is outside 0 to {_LAST_LINK}, which is what a packet's header holds")
    for what, data in (("frame", frame), ("plaintext", plaintext)):
        if len(data) > _LARGEST:
            raise UsageError(
                f"{what}: {len(data)} bytes are more than {_LARGEST}, which is what a packet's header holds"
            )
    head = HEADER.pack(HEADER_VERSION, HEADER.size, direction, marks, link, len(frame), len(plaintext))
    return head + frame + plaintext


def export(capture: Capture, source: str, *, only_link: int | None = None) -> tuple[bytes, int]:
    """The whole capture as a pcapng file, and how many packets are in it.

    One interface a link. Notes, and what happened to links, are comments of the packet that they stand before (the last
    ones of the packet that they stand behind). Raises ``UsageError`` for times or links beyond what the form can hold,
    and for ``only_link`` that the capture has not.
    """
    urls = {one.link: one.url for one in capture.entries if isinstance(one, LinkOpened)}
    if only_link is not None and only_link not in urls:
        raise UsageError(f"link: {only_link} is none of the capture's: {', '.join(map(str, urls)) or 'it has none'}")
    chosen = {link: number for number, link in enumerate(link for link in urls if only_link in (None, link))}
    base_ms, since = _base(capture.started)
    frames = [one for one in open_capture(capture) if one.link in chosen]
    remarks = _Remarks(capture, frames, set(chosen))
    simulated = Mark.SIMULATED if says_simulated(capture) else Mark.NONE
    packets = [
        Packet(
            chosen[one.link],
            base_ms + one.at_ms,
            _packet(one, simulated),
            _DIRECTIONS[one.direction],
            remarks.of(index),
        )
        for index, one in enumerate(frames)
    ]
    interfaces = [Interface(f"link {link}", urls[link]) for link in chosen]
    comments = [_title(capture, source), since, *remarks.homeless]
    return pcapng(f"{tool_version()}, ITP/1 wire table {LAYOUT_FINGERPRINT:08x}", comments, interfaces, packets), len(
        packets
    )


def _title(capture: Capture, source: str) -> str:
    kind = {True: "SIMULATED devices only", False: "NOT simulated", None: "nobody said whether simulated"}
    recorded = f"recorded by {capture.tool}" if capture.tool else "recorder unknown"
    return (
        f"{kind[says_simulated(capture)]}; not for clinical use. {source}, {recorded}. "
        f"Dissect with: telemetry dissector -o itp.lua (dialect fingerprint 0x{LAYOUT_FINGERPRINT:08x})"
    )


def _base(started: str | None) -> tuple[int, str]:
    """What link time counts from, in ms since 1970, and how to say so."""
    if started is None:
        return (
            0,
            "times count from the recorder's own link clock (it did not say when it began); the date means nothing",
        )
    try:
        moment = datetime.fromisoformat(started)
        base = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        milliseconds = (base - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise UsageError(
            f"capture: started is {started!r}; right would be an instant such as 2027-03-01T08:00:00+00:00, or null"
        ) from None
    if milliseconds < 0:
        raise UsageError(f"capture: started is {started!r}, before 1970; pcapng counts from there")
    return milliseconds, f"times are {started} plus the recorder's link time (at_ms)"


def _packet(one: OpenedFrame, marks: Mark) -> bytes:
    direction = _DIRECTIONS[one.direction]
    if one.frame is None:
        shape = Mark.NONE if one.datagram else Mark.SEGMENT
        return pack(one.data[:_LARGEST], direction=direction, link=one.link, marks=marks | shape)
    frame = encode_frame(one.frame)
    if one.counter is None or one.payload is None:
        return pack(frame, direction=direction, link=one.link, marks=marks)
    opened = Mark.OPENED_AS_RECORDED if one.how is How.RECORDED else Mark.OPENED_WITH_KEYS
    # The payload comes without its padding, which is zeros wherever it was right; the frame tells how many.
    sealed_size = len(one.frame.body) - COUNTER.size - TAG_SIZE
    plaintext = one.payload.ljust(sealed_size, b"\0")
    return pack(frame, plaintext, direction=direction, link=one.link, marks=marks | opened)


class _Remarks:
    """Notes and the ends of links, each put to a packet of what is exported."""

    def __init__(self, capture: Capture, frames: Iterable[OpenedFrame], links: set[int]) -> None:
        self._by_packet: dict[int, list[str]] = {}
        self._nowhere: list[str] = []
        at = [frame.entry for frame in frames]
        index = 0
        for number, entry in enumerate(capture.entries):
            while index < len(at) and at[index] < number:
                index += 1
            match entry:
                case Note():
                    self._put(index, len(at), f"note: {entry.text}")
                case LinkOpened() if entry.link in links:
                    self._put(index, len(at), f"link {entry.link} opened at {entry.at_ms} ms")
                case LinkLost() if entry.link in links:
                    why = "closed" if entry.reason is None else f"lost: {entry.reason}"
                    self._put(index, len(at), f"link {entry.link} {why} at {entry.at_ms} ms")
                case _:
                    pass
        if capture.torn is not None:
            self._put(len(at), len(at), f"line {capture.torn} of the capture is unfinished and was left out")

    @property
    def homeless(self) -> list[str]:
        """Remarks of a capture without a frame."""
        return _bounded(self._nowhere)

    def of(self, index: int) -> tuple[str, ...]:
        return tuple(_bounded(self._by_packet.get(index, [])))

    def _put(self, index: int, frames: int, text: str) -> None:
        if not frames:
            self._nowhere.append(text)
        elif index < frames:
            self._by_packet.setdefault(index, []).append(f"before this: {text}")
        else:
            self._by_packet.setdefault(frames - 1, []).append(f"after this: {text}")


def _bounded(texts: list[str]) -> list[str]:
    if len(texts) <= _MOST_COMMENTS:
        return texts
    return [*texts[:_MOST_COMMENTS], f"and {len(texts) - _MOST_COMMENTS} remarks more"]

"""A status frame encoded and decoded, beside its own floor and beside the construct declaration.

The floor is what no implementation in pure Python gets below (feasibility.md 6): one ``struct`` call for header, body
and check sum together, ``zlib.crc32``, and construction of the same frozen dataclass; it checks nothing but the sum.
Enumerations and bitmaps stay integers in it.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, cast
from zlib import crc32

from benchmarks import harness
from benchmarks.samples import STATUS
from telemetry.protocol import layouts
from telemetry.protocol.codec import decode, encode
from telemetry.protocol.frame import Frame, decode_frame, encode_frame
from telemetry.protocol.messages import Status
from telemetry.protocol.wire import ANSWER_HEADER, BY_NAME, FRAME_CRC, FRAME_HEADER, FrameType, Plane

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET_RATIO = 3.0
"""Encode and decode together take at most this many times their floor (issue 2; protocol.md, Decided 4)."""

_BODY = layouts.body_layout("Status")
_HEADER = layouts.header_layout(Plane.ANSWER)
_NAMES = tuple(field.name for field in BY_NAME["Status"].fields)
_STATUS = cast("Callable[..., Status]", Status)
"""The same class, taking raw integers where the message has members of enumerations."""
_GET = attrgetter(*_NAMES)


def encode_ours(message: Status = STATUS) -> bytes:
    """Message to frame by the public functions."""
    return encode_frame(Frame(FrameType.RSP, 0, encode(message)))


def decode_ours(data: bytes) -> Status:
    """Frame to message by the public functions."""
    return cast("Status", decode(decode_frame(data).body))


class Floor:
    """The same bytes with nothing checked but the sum."""

    def __init__(self, data: bytes) -> None:
        body = "BIQIHIIBQQIIsIQQQBQ".replace("s", f"{len(STATUS.program_digest)}s")
        self.whole = struct.Struct(FRAME_HEADER.format + ANSWER_HEADER.format[1:] + body)
        if self.whole.size + FRAME_CRC.size != len(data):
            raise ValueError(f"floor: {self.whole.size + FRAME_CRC.size} bytes, the frame has {len(data)}")
        self.data = data
        *self.head, self.alarm_sequence, self.length = self.whole.unpack(data[:-4])[:8]
        self.message = self.decode()

    def decode(self) -> Status:
        """Check the sum, unpack, construct."""
        data = self.data
        content = data[:-4]
        if FRAME_CRC.unpack_from(data, len(content))[0] != crc32(content):
            raise ValueError("check sum")
        _, _, _, _, _, _, alarm_sequence, _, *values = self.whole.unpack(content)
        return _STATUS(*values, alarm_sequence)

    def encode(self) -> bytes:
        """Take the values out, pack, append the sum."""
        message = self.message
        content = self.whole.pack(*self.head, message.alarm_sequence, self.length, *_GET(message))
        return content + FRAME_CRC.pack(crc32(content))


class ByConstruct:
    """The declaration doing the work: construct parses and builds the body, our frame around it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.raw = dict(_BODY.parse(decode_frame(data).body[ANSWER_HEADER.size :]))
        self.head = dict(_HEADER.parse(decode_frame(data).body[: ANSWER_HEADER.size]))

    def decode(self) -> Status:
        """Frame, header and body by construct, then the same dataclass."""
        body = decode_frame(self.data).body
        head = _HEADER.parse(body[: ANSWER_HEADER.size])
        raw = _BODY.parse(body[ANSWER_HEADER.size :])
        return _STATUS(*(raw[name] for name in _NAMES), head["alarm_sequence"])

    def encode(self) -> bytes:
        """Header and body by construct, then our frame."""
        return encode_frame(Frame(FrameType.RSP, 0, _HEADER.build(self.head) + _BODY.build(self.raw)))


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in microseconds per frame."""
    result = harness.Result("codec")
    data = encode_ours()
    floor, by_construct = Floor(data), ByConstruct(data)
    result.fact("ours decodes what it encoded", int(decode_ours(data) == STATUS), 1)
    result.fact("the floor builds the same bytes", int(floor.encode() == data), 1)
    result.fact("construct builds the same bytes", int(by_construct.encode() == data), 1)
    changed = replace(STATUS, reservoir_nl=STATUS.reservoir_nl - 1)
    result.fact("another message gives other bytes", int(encode_ours(changed) != data), 1)

    contestants: dict[str, Callable[[], object]] = {
        "encode_ours": encode_ours,
        "encode_floor": floor.encode,
        "encode_construct": by_construct.encode,
        "decode_ours": lambda: decode_ours(data),
        "decode_floor": floor.decode,
        "decode_construct": by_construct.decode,
    }
    timings = harness.interleave(contestants, plan, full=60, loops=200)
    both = {
        who: harness.Timing(
            tuple(
                tuple(a + b for a, b in zip(sorted(down), sorted(up), strict=True))
                for down, up in zip(timings[f"encode_{who}"].rounds_ns, timings[f"decode_{who}"].rounds_ns, strict=True)
            )
        )
        for who in ("ours", "floor", "construct")
    }
    result.figures = {
        "frame_bytes": len(data),
        **{name: timing.as_figures() for name, timing in timings.items()},
        "ratio_encode_to_floor": harness.ratio(timings["encode_ours"], timings["encode_floor"]),
        "ratio_decode_to_floor": harness.ratio(timings["decode_ours"], timings["decode_floor"]),
        "ratio_both_to_floor": harness.ratio(both["ours"], both["floor"]),
        "ratio_both_to_construct": harness.ratio(both["ours"], both["construct"]),
    }
    result.speed(
        "encode and decode, times their floor", harness.median_ratio(both["ours"], both["floor"]), TARGET_RATIO, "x"
    )
    result.speed(
        "decode, times its floor",
        harness.median_ratio(timings["decode_ours"], timings["decode_floor"]),
        TARGET_RATIO,
        "x",
    )
    result.notes = [
        "the floor of encode constructs nothing, that of decode the dataclass: the target is for both together",
        "floor: one struct call for the whole frame, zlib.crc32, the same frozen dataclass; nothing else checked",
        "construct: header and body parsed or built by the declarations of layouts.py, without our checks",
    ]
    return result

"""Packets for Wireshark made around messages and records, and streams around frames."""

from __future__ import annotations

import struct
from random import Random
from typing import TYPE_CHECKING, cast

from telemetry.model import OperationKind
from telemetry.protocol import codec
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.messages import Begin, Write
from telemetry.protocol.wire import FrameType, Plane
from telemetry.traffic.explaining_orders import image_of
from telemetry.traffic.pcapng import Direction
from telemetry.traffic.pcapng_export import Mark, pack
from tests.support import random_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.protocol.records import RecordName

LINKTYPE_RAW = 101
"""IP without anything in front (tcpdump.org/linktypes.html)."""
FRAME_OF = {Plane.REQUEST: FrameType.REQ, Plane.ANSWER: FrameType.RSP}
HANDSHAKE_FRAMES = {
    "probe": FrameType.PROBE,
    "beacon": FrameType.BEACON,
    "hello": FrameType.HELLO,
    "accept": FrameType.ACCEPT,
}
SEALED_IN = {"hello_payload": FrameType.HELLO, "accept_payload": FrameType.ACCEPT}
KIND_OF = {image_of(kind): kind for kind in OperationKind if image_of(kind)}


def sealed(frame_type: FrameType, plaintext: bytes, link: int = 1) -> bytes:
    """A packet with a frame that nobody sealed, of the right size, and what is said to be in it."""
    body = (7).to_bytes(4, "little") + bytes(min(len(plaintext), 224) + 16)
    return pack(
        encode_frame(Frame(frame_type, 0, body)),
        plaintext,
        direction=Direction.OUTBOUND,
        link=link,
        marks=Mark.OPENED_WITH_KEYS | Mark.SIMULATED,
    )


def clear(frame_type: FrameType, body: bytes, opened: bytes = b"") -> bytes:
    return pack(encode_frame(Frame(frame_type, 0, body)), opened, direction=Direction.INBOUND, link=1)


def packet_of(payload: bytes, plane: Plane) -> bytes:
    if plane is Plane.TELEMETER:
        return clear(FrameType.TELEMETER_RSP, payload)
    return sealed(FRAME_OF[plane], codec.pad(payload))


def packets_of_record(name: str, data: bytes, link: int) -> list[bytes]:
    """The packets that bring a handshake body, something sealed in one, or an image; the last one shows it."""
    if name in HANDSHAKE_FRAMES:
        return [clear(HANDSHAKE_FRAMES[name], data)]
    if name in SEALED_IN:
        outer = {"hello_payload": "hello", "accept_payload": "accept"}[name]
        body = random_messages.record(Random(1), outer)
        return [clear(SEALED_IN[name], codec.encode_record(cast("RecordName", outer), body), data)]
    begin = Begin(
        op_id=bytes(16),
        acked_through=0,
        base_sequence=0,
        base_digest=bytes(8),
        kind=KIND_OF[name],
        schema=1,
        total_length=len(data),
        image_digest=bytes(32),
    )
    writes = [Write(at, data[at : at + 200]) for at in range(0, len(data), 200)]
    return [sealed(FrameType.REQ, codec.pad(codec.encode(one)), link) for one in (begin, *writes)]


def ip_packets(chunks: Sequence[tuple[bool, bytes]], port: int) -> list[bytes]:
    """IPv4 and TCP around the chunks of one connection; true: from the client. Written from RFC 791 and RFC 9293."""
    ends = {True: (b"\x7f\0\0\1", 50_000), False: (b"\x7f\0\0\2", port)}
    sequence = {True: 1000, False: 2000}
    found = []
    for from_client, data in chunks:
        (source, sport), (sink, dport) = ends[from_client], ends[not from_client]
        tcp = struct.pack(
            ">HHIIBBHHH", sport, dport, sequence[from_client], sequence[not from_client], 0x50, 0x18, 8192, 0, 0
        )
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, source, sink)
        found.append(head + tcp + data)
        sequence[from_client] += len(data)
    return found

"""pcapng files: section header, interfaces, packets, with their options. Written strictly, read by Wireshark's tools.

The form is that of draft-ietf-opsawg-pcapng (the three block types that a capture of ours needs: 0x0A0D0D0A, 1 and 6).
Little-endian, one section. Everything is padded to 32 bits; time counts milliseconds (``if_tsresol`` 3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LINKTYPE_USER0 = 147
"""First of the link types that are left to users (tcpdump.org/linktypes.html: LINKTYPE_USER0)."""
LONGEST_TEXT_BYTES = 4_000
"""Of one comment or name; the form itself ends at 65 535, people end earlier. What is longer is cut and says so."""
LAST_TIME_MS = (1 << 63) // 1_000_000
"""Tools hold the time in nanoseconds, in 64 bits with a sign: up to the year 2262."""

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_PACKET = 6
_BYTE_ORDER = 0x1A2B3C4D
_ANY_LENGTH = (1 << 64) - 1
_MILLISECONDS = 3


class Direction(IntEnum):
    """Which way a packet went, seen from the recorder: bits 0 and 1 of ``epb_flags``."""

    UNKNOWN = 0
    INBOUND = 1
    OUTBOUND = 2


class _Option(IntEnum):
    END = 0
    COMMENT = 1
    # The next ones mean different things in different blocks.
    SECTION_APPLICATION = 4
    INTERFACE_NAME = 2
    INTERFACE_DESCRIPTION = 3
    INTERFACE_RESOLUTION = 9
    PACKET_FLAGS = 2


@dataclass(frozen=True, slots=True)
class Interface:
    """One link: a short name, a longer description, and the kind of its packets."""

    name: str
    description: str = ""
    link_type: int = LINKTYPE_USER0


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: ``interface`` counts from 0, ``at_ms`` from 1970-01-01 UTC; comments are remarks for people."""

    interface: int
    at_ms: int
    data: bytes
    direction: Direction = Direction.UNKNOWN
    comments: tuple[str, ...] = ()


def pcapng(
    application: str, comments: Sequence[str], interfaces: Sequence[Interface], packets: Sequence[Packet]
) -> bytes:
    """A whole file of one section.

    Raises ``UsageError`` for a packet of no interface, or with a time that the form cannot hold.
    """
    return b"".join(_blocks(application, comments, interfaces, packets))


def _blocks(
    application: str, comments: Sequence[str], interfaces: Sequence[Interface], packets: Sequence[Packet]
) -> Iterator[bytes]:
    fixed = struct.pack("<IHHQ", _BYTE_ORDER, 1, 0, _ANY_LENGTH)
    texts = [_text(_Option.COMMENT, comment) for comment in comments]
    yield _block(_SECTION, fixed, *texts, _text(_Option.SECTION_APPLICATION, application))
    for interface in interfaces:
        yield _block(
            _INTERFACE,
            struct.pack("<HHI", interface.link_type, 0, 0),
            _text(_Option.INTERFACE_NAME, interface.name),
            _text(_Option.INTERFACE_DESCRIPTION, interface.description),
            _option(_Option.INTERFACE_RESOLUTION, bytes((_MILLISECONDS,))),
        )
    for number, packet in enumerate(packets):
        yield _packet(number, packet, len(interfaces))


def _packet(number: int, packet: Packet, interfaces: int) -> bytes:
    if not 0 <= packet.interface < interfaces:
        raise UsageError(f"packet {number}: interface {packet.interface} is none of the {interfaces} there are")
    if not 0 <= packet.at_ms <= LAST_TIME_MS:
        raise UsageError(f"packet {number}: a time of {packet.at_ms} ms is outside 0 to {LAST_TIME_MS} ms since 1970")
    size = len(packet.data)
    fixed = struct.pack("<IIIII", packet.interface, packet.at_ms >> 32, packet.at_ms & 0xFFFFFFFF, size, size)
    texts = [_text(_Option.COMMENT, comment) for comment in packet.comments]
    flags = _option(_Option.PACKET_FLAGS, struct.pack("<I", packet.direction))
    return _block(_PACKET, fixed + _padded(packet.data), *texts, flags)


def _block(kind: int, fixed: bytes, *options: bytes) -> bytes:
    """Type, length, content, length again."""
    content = fixed + b"".join(options) + struct.pack("<HH", _Option.END, 0)
    length = struct.pack("<I", 12 + len(content))
    return struct.pack("<I", kind) + length + content + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _text(code: int, text: str) -> bytes:
    """A text as UTF-8, cut between characters where it is too long; nothing for an empty one."""
    # A capture is JSON, and JSON can name half a surrogate pair, which is no UTF-8.
    value = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", errors="replace")
    if len(value) > LONGEST_TEXT_BYTES:
        kept = value[:LONGEST_TEXT_BYTES].decode("utf-8", errors="ignore")
        value = f"{kept}… ({len(value) - len(kept.encode())} bytes more)".encode()
    return _option(code, value) if value else b""


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

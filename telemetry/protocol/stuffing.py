"""Consistent Overhead Byte Stuffing: bytes without a zero in them, so that a zero can delimit (Cheshire, Baker 1999).

A block is a code byte ``n`` from 1 to 255, then ``n - 1`` bytes other than zero. A zero follows each block in the
original, but not after a block of code 255 and not after the last.
"""

from __future__ import annotations

_FULL = 254
"""Bytes in the longest block."""
_CODES = tuple(bytes((length + 1,)) for length in range(_FULL))


def stuff(data: bytes) -> bytes:
    """The bytes without zeros: one byte longer for every 254 begun, and for none at all."""
    parts = data.split(b"\0")
    if len(data) < _FULL:
        return b"".join([_CODES[len(part)] + part for part in parts])
    blocks = []
    last = len(parts) - 1
    for index, part in enumerate(parts):
        full = len(part) - len(part) % _FULL
        blocks += [b"\xff" + part[start : start + _FULL] for start in range(0, full, _FULL)]
        rest = part[full:]
        # Nothing is left to say after a full block that ends the data: its end is the end.
        if rest or not full or index < last:
            blocks.append(_CODES[len(rest)] + rest)
    return b"".join(blocks)


def unstuff(segment: bytes) -> bytes | None:
    """The bytes that were stuffed; None when the segment holds a zero or a block runs over its end."""
    if 0 in segment:
        return None
    pieces = []
    at, size = 0, len(segment)
    while at < size:
        code = segment[at]
        end = at + code
        if end > size:
            return None
        pieces.append(segment[at + 1 : end])
        if code <= _FULL and end < size:
            pieces.append(b"\0")
        at = end
    return b"".join(pieces)

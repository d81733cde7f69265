"""What continuous book-keeping leaves on the medium when power goes: volumes, activity, windows, patient's boluses.

One record of variable length in two copies. Volumes are in nl / 86 400 000, instants in pump time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from telemetry.sim.pump.records import CHECK, NONE_64, opened, sealed

Segment = tuple[int, int, int, int]
"""From, to (ms), rate (nl/day), dose (ng/day): what was commanded in a span."""
_HEAD = struct.Struct("<IIQQIIQQQBIQHH")
_SEGMENT = struct.Struct("<QQIQ")
_GIVEN = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where book-keeping stood when power went.

    ``commit_sequence``: of the record in force then. ``activity`` is its place in ``Activity`` (0: none), with the
    volume asked for and what was left of it. ``segments`` are the governor's, ``given`` the patient's boluses (start,
    end) of the last 24 hours.
    """

    commit_sequence: int
    calculated: int
    still_since_ms: int | None
    latched_bits: int
    alarm_sequence: int
    cut_ms: int
    plan_started_ms: int
    bridge_left: int
    activity: int
    activity_nl: int
    activity_left: int
    segments: tuple[Segment, ...]
    given: tuple[tuple[int, int], ...]


def pack_checkpoint(serial: int, checkpoint: Checkpoint) -> bytes:
    """The record; ``serial`` rises with each, so that the newer of two copies is known."""
    still = checkpoint.still_since_ms
    head = _HEAD.pack(
        serial,
        checkpoint.commit_sequence,
        checkpoint.calculated,
        NONE_64 if still is None else still,
        checkpoint.latched_bits,
        checkpoint.alarm_sequence,
        checkpoint.cut_ms,
        checkpoint.plan_started_ms,
        checkpoint.bridge_left,
        checkpoint.activity,
        checkpoint.activity_nl,
        checkpoint.activity_left,
        len(checkpoint.segments),
        len(checkpoint.given),
    )
    tail = [_SEGMENT.pack(*segment) for segment in checkpoint.segments]
    tail += [_GIVEN.pack(*given) for given in checkpoint.given]
    return sealed(b"".join((head, *tail)))


def parse_checkpoint(data: bytes) -> tuple[int, Checkpoint] | None:
    """Serial and checkpoint, or None when the check fails."""
    body = opened(data, len(data) - CHECK.size) if len(data) >= _HEAD.size + CHECK.size else None
    if body is None:
        return None
    serial, sequence, calculated, still, bits, alarms, cut, plan, bridge, activity, volume, left, n, m = _HEAD.unpack(
        body[: _HEAD.size]
    )
    middle = _HEAD.size + n * _SEGMENT.size
    return serial, Checkpoint(
        commit_sequence=sequence,
        calculated=calculated,
        still_since_ms=None if still == NONE_64 else still,
        latched_bits=bits,
        alarm_sequence=alarms,
        cut_ms=cut,
        plan_started_ms=plan,
        bridge_left=bridge,
        activity=activity,
        activity_nl=volume,
        activity_left=left,
        segments=tuple(_SEGMENT.iter_unpack(body[_HEAD.size : middle])),
        given=tuple(_GIVEN.iter_unpack(body[middle : middle + m * _GIVEN.size])),
    )

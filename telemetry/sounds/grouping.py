"""Which pulses belong to one burst.

Silences within a burst and between bursts differ by a factor of at least 1.9 where the standard is kept, but a spoilt
pattern may have both of one length. So the pulses are cut for each priority in turn: at the silences that give it the
most bursts with the right number of pulses.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING

from telemetry.sounds.requirements import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.model import AlarmPriority
    from telemetry.sounds.pulses import Pulse, Recording

_USUAL_CUT_MS = sqrt(1_300 * 2_500)
"""Between the longest silence in a burst and the shortest between two (domain.md 5.4)."""
_STEP = 1.25
"""Two silences that differ by more than this are of different kinds."""
_CUT_OFF_MS = 300.0
"""A burst that begins this soon after the recording does may have lost its beginning; likewise at the end."""


@dataclass(frozen=True, slots=True)
class Bursts:
    """Whole bursts, the silences between neighbours, and how many cut off by the recording's ends were left out."""

    bursts: tuple[tuple[Pulse, ...], ...]
    intervals_ms: tuple[float, ...]
    cut_off: int


def group(recording: Recording, priority: AlarmPriority) -> Bursts:
    """Cut a recording into bursts as a priority would have them."""
    pulses = recording.pulses
    wanted = RULES[priority].pulses
    best = min(
        (_split(pulses, cut_ms) for cut_ms in _cuts_ms(pulses)),
        key=lambda split: (
            -sum(wanted.holds(len(burst)) for burst in split.bursts) / len(split.bursts),
            abs(log(split.cut_ms / _USUAL_CUT_MS)),
        ),
    )
    return _without_cut_off(best.bursts, recording, priority)


@dataclass(frozen=True, slots=True)
class _Split:
    bursts: tuple[tuple[Pulse, ...], ...]
    cut_ms: float


def _cuts_ms(pulses: Sequence[Pulse]) -> list[float]:
    gaps_ms = sorted(max(1.0, later.start_ms - earlier.end_ms) for earlier, later in pairwise(pulses))
    between = [sqrt(shorter * longer) for shorter, longer in pairwise(gaps_ms) if longer > _STEP * shorter]
    return [_USUAL_CUT_MS, *between]


def _split(pulses: Sequence[Pulse], cut_ms: float) -> _Split:
    bursts = [[pulses[0]]]
    for earlier, later in pairwise(pulses):
        if later.start_ms - earlier.end_ms > cut_ms:
            bursts.append([later])
        else:
            bursts[-1].append(later)
    return _Split(tuple(tuple(burst) for burst in bursts), cut_ms)


def _without_cut_off(bursts: tuple[tuple[Pulse, ...], ...], recording: Recording, priority: AlarmPriority) -> Bursts:
    """Leave out the first and last burst where the recording has cut pulses off them."""
    wanted = RULES[priority].pulses
    whole = list(bursts)
    if len(whole) > 1 and not wanted.holds(len(whole[0])) and whole[0][0].start_ms < _CUT_OFF_MS:
        del whole[0]
    if len(whole) > 1 and not wanted.holds(len(whole[-1])) and recording.length_ms - whole[-1][-1].end_ms < _CUT_OFF_MS:
        del whole[-1]
    intervals_ms = tuple(later[0].start_ms - earlier[-1].end_ms for earlier, later in pairwise(whole))
    return Bursts(tuple(whole), intervals_ms, len(bursts) - len(whole))

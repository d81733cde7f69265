"""The trumpet curve that a known error must give, worked out with pencil and paper.

Flow ``r (1 + e + a sin(2 pi t / T))`` gives, in a window of length P that begins at t,
``1/P`` times its integral, ``r (1 + e + a S(P) sin(2 pi (t + P/2) / T))`` with ``S(P) = sin(pi P / T) / (pi P / T)``.
The worst windows are those whose middle meets a crest: ``e + a |S|`` and ``e - a |S|``; whole cycles leave ``e`` alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry.flow.document import KnownError

_PERCENT_PER_PPM = 1e-4


def envelope_percent(known: KnownError, window_ms: int) -> tuple[float, float]:
    """Ep(max) and Ep(min) in percent over all windows of this length, wherever they begin."""
    depth = abs(known.cyclic_error_ppm) * _share_left(known, window_ms) * _PERCENT_PER_PPM
    error = known.rate_error_ppm * _PERCENT_PER_PPM
    return error + depth, error - depth


def window_percent(known: KnownError, begins_ms: float, window_ms: int) -> float:
    """The error of the one window that begins so long after a cycle began, percent."""
    angle = 2 * math.pi * (begins_ms + window_ms / 2) / known.cycle_ms if known.cycle_ms else 0.0
    half = math.pi * window_ms / known.cycle_ms if known.cycle_ms else 0.0
    share = math.sin(half) / half if half else 1.0
    return (known.rate_error_ppm + known.cyclic_error_ppm * share * math.sin(angle)) * _PERCENT_PER_PPM


def sampled_percent(
    known: KnownError, window_ms: int, *, first_ms: int, every_ms: int, positions: int
) -> tuple[float, float]:
    """Ep(max) and Ep(min) over those windows alone that begin at ``first_ms`` and every interval after, percent.

    ``first_ms`` counts from the measurement's beginning. Samples that are far apart miss the crests.
    """
    errors = [
        window_percent(known, known.phase_ms + first_ms + number * every_ms, window_ms) for number in range(positions)
    ]
    return max(errors), min(errors)


def _share_left(known: KnownError, window_ms: int) -> float:
    """|S|: how much of the sine a window of this length leaves."""
    if not known.cycle_ms:
        return 0.0 if not known.cyclic_error_ppm else 1.0
    half = math.pi * window_ms / known.cycle_ms
    return abs(math.sin(half) / half)


def sine_cycle_ppm(depth_ppm: int, strokes: int) -> tuple[int, ...]:
    """A cycle of so many strokes for a pump's ``stroke_cycle_ppm``: the sine at the middle of each stroke.

    Its second half is the first with the other sign, so whole cycles add up to nothing, exactly.
    """
    rising = [round(depth_ppm * math.sin(2 * math.pi * (number + 0.5) / strokes)) for number in range(strokes // 2)]
    return (*rising, *([0] if strokes % 2 else []), *(-one for one in reversed(rising)))

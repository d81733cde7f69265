"""Accuracy of flow as IEC 60601-2-24 draws it: start-up curve and trumpet curve, pure functions over sums.

Formulae and sampling are domain.md 5.5. A sum is the true volume given since the start, one value each ``every_ms``;
the flow of an interval is the difference of two. A trumpet shows the *worst windows*, not accuracy over time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry.errors import UsageError
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a kind of pump is measured: sample interval, time to stabilise, observation windows."""

    name: str
    every_ms: int
    stabilise_ms: int
    windows_ms: tuple[int, ...]
    source: str


VOLUMETRIC = Scheme(
    "volumetric and syringe",
    MS_PER_MINUTE // 2,
    2 * MS_PER_HOUR,
    tuple(minutes * MS_PER_MINUTE for minutes in (2, 5, 11, 19, 31)),
    "IEC 60601-2-24 (B)",
)
AMBULATORY = Scheme(
    "ambulatory",
    15 * MS_PER_MINUTE,
    MS_PER_DAY,
    tuple(minutes * MS_PER_MINUTE for minutes in (15, 60, 150, 330, 570, 930)),
    "IEC 60601-2-24 type 4 (C)",
)
IMPLANTABLE = Scheme(
    "implantable",
    MS_PER_HOUR,
    2 * MS_PER_DAY,
    tuple(hours * MS_PER_HOUR for hours in (1, 3, 7, 12, 24, 72, 168)),
    "proposed by this project",
)
SCHEMES = (VOLUMETRIC, AMBULATORY, IMPLANTABLE)


@dataclass(frozen=True, slots=True)
class Window:
    """The worst windows of one length, in percent of the set rate; of how many (m of domain.md 5.5)."""

    window_ms: int
    max_percent: float
    min_percent: float
    positions: int = 0


@dataclass(frozen=True, slots=True)
class Trumpet:
    """Ep(max) and Ep(min) by window, and A, the error over the whole analysis period."""

    every_ms: int
    rate_nl_per_day: float
    analysed_ms: int
    overall_percent: float
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class StartUp:
    """Flow in each interval from the start on; instants are the ends of the intervals."""

    every_ms: int
    rate_nl_per_day: float
    at_ms: Numbers
    flow_nl_per_day: Numbers


def start_up(sums_nl: ArrayLike, every_ms: int, rate_nl_per_day: float) -> StartUp:
    """The flow of every interval: Q_i = (V_i - V_{i-1}) / S. Raises ``UsageError`` for fewer than two sums."""
    sums = _sums(sums_nl, every_ms, rate_nl_per_day)
    flow = np.diff(sums) * (MS_PER_DAY / every_ms)
    return StartUp(every_ms, rate_nl_per_day, every_ms * np.arange(1, len(sums), dtype=np.float64), flow)


def trumpet(
    sums_nl: ArrayLike,
    every_ms: int,
    rate_nl_per_day: float,
    windows_ms: Sequence[int],
    *,
    pieces: ArrayLike | None = None,
) -> Trumpet:
    """The worst windows of each length that fits the sums, over all positions a sample apart.

    A sum that is not a number was not measured: no window begins or ends there. ``pieces``: a number for each sum; the
    sums of two pieces have nothing to do with each other (a balance was tared between them), so no window and no part
    of A reaches from one into the next. Raises ``UsageError`` for a window that is no multiple of ``every_ms``, and
    sums too short for the shortest.
    """
    sums = _sums(sums_nl, every_ms, rate_nl_per_day)
    piece = np.zeros(len(sums)) if pieces is None else np.asarray(pieces)
    if piece.shape != sums.shape:
        raise UsageError(f"pieces: has the shape {piece.shape}, sums_nl {sums.shape}")
    set_per_sample = rate_nl_per_day * every_ms / MS_PER_DAY
    found: list[Window] = []
    for window_ms in windows_ms:
        count, rest = divmod(window_ms, every_ms)
        if rest or count < 1:
            raise UsageError(f"windows_ms: {window_ms} is no multiple of the sample interval, {every_ms} ms")
        if count < len(sums):
            errors = 100 * ((sums[count:] - sums[:-count]) / (count * set_per_sample) - 1)
            errors = errors[np.isfinite(errors) & (piece[count:] == piece[:-count])]
            if len(errors):
                found.append(Window(window_ms, float(errors.max()), float(errors.min()), len(errors)))
    if not found:
        raise UsageError(f"sums_nl: {len(sums)} of them hold no window of {min(windows_ms)} ms")
    samples, volume_nl = _measured(sums, piece)
    overall = 100 * (volume_nl / (samples * set_per_sample) - 1)
    return Trumpet(every_ms, rate_nl_per_day, samples * every_ms, overall, tuple(found))


def _measured(sums: Numbers, piece: NDArray[np.float64]) -> tuple[int, float]:
    """Intervals from the first sum of each piece to its last, and what was given in them, nl."""
    samples, volume_nl = 0, 0.0
    for number in np.unique(piece):
        (rows,) = np.nonzero((piece == number) & np.isfinite(sums))
        if len(rows) > 1:
            samples += int(rows[-1] - rows[0])
            volume_nl += float(sums[rows[-1]] - sums[rows[0]])
    return samples, volume_nl


def _sums(sums_nl: ArrayLike, every_ms: int, rate_nl_per_day: float) -> Numbers:
    sums = np.asarray(sums_nl, dtype=np.float64)
    if sums.ndim != 1 or len(sums) < 2:
        raise UsageError(f"sums_nl: needs at least two sums in a row, got the shape {sums.shape}")
    if every_ms <= 0:
        raise UsageError(f"every_ms: {every_ms} is no interval")
    if rate_nl_per_day <= 0:
        raise UsageError(f"rate_nl_per_day: {rate_nl_per_day} is nothing to compare a flow with")
    return sums

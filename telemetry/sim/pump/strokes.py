"""What the strokes of one revolution truly give: a table, so that any number of strokes is one look-up.

A stroke that is commanded as ``stroke_volume_nl`` gives ``(10^6 + error) / 10^6`` of it, times what the catheter lets
pass; its own cyclic error comes on top of the error of the whole. Never less than nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from telemetry.sim.pump.quantities import COMMANDED_PER_NL, PPM


class StrokeTable:
    """True volume of each stroke of a revolution, and its running sums; all in true volume units."""

    __slots__ = ("_after", "per_revolution", "strokes_per_revolution")

    def __init__(self, stroke_volume_nl: int, cycle_ppm: tuple[int, ...], error_ppm: int, pass_ppm: int) -> None:
        nominal = stroke_volume_nl * COMMANDED_PER_NL
        given = (max(0, PPM + error_ppm + own) * nominal * pass_ppm // PPM for own in cycle_ppm or (0,))
        self._after = (0, *accumulate(given))
        self.strokes_per_revolution = len(self._after) - 1
        self.per_revolution = self._after[-1]

    def volume(self, first: int, count: int) -> int:
        """What ``count`` strokes give, the first of them being number ``first`` since the beginning."""
        size = self.strokes_per_revolution
        if size == 1:
            return count * self.per_revolution
        return self._up_to(first % size + count) - self._up_to(first % size)

    def _up_to(self, strokes: int) -> int:
        whole, rest = divmod(strokes, self.strokes_per_revolution)
        return whole * self.per_revolution + self._after[rest]

    def strokes_for(self, first: int, volume: int) -> int | None:
        """How many strokes from number ``first`` on give at least ``volume``; None when none ever do."""
        if volume <= 0:
            return 0
        if not self.per_revolution:
            return None
        first %= self.strokes_per_revolution
        wanted = volume + self._up_to(first)
        whole, rest = divmod(wanted - 1, self.per_revolution)
        return whole * self.strokes_per_revolution + bisect_left(self._after, rest + 1) - first

"""The pump's wall clock: a mapping from pump time, with its own drift, apart from the world's time (trust.md 5.9).

Nothing safety-relevant reads it.
"""

from __future__ import annotations

from telemetry.sim.pump import state as st
from telemetry.units import MS_PER_SECOND

_PPM = 1_000_000


class WallClock:
    """``utc_s = epoch + offset + pump time * (10^6 + drift) / 10^6``, whole seconds."""

    KEYS = ("epoch_utc_s", "offset_s", "drift_ppm")

    def __init__(self, epoch_utc_s: int, drift_ppm: int) -> None:
        self.epoch_utc_s = epoch_utc_s
        self.offset_s = 0
        self.drift_ppm = drift_ppm

    def utc_s(self, now_ms: int) -> int:
        """What the pump's clock shows, in seconds since 1970-01-01 UTC, never below 0."""
        elapsed_s = now_ms * (_PPM + self.drift_ppm) // (_PPM * MS_PER_SECOND)
        return max(0, self.epoch_utc_s + self.offset_s + elapsed_s)

    def set_utc_s(self, utc_s: int, now_ms: int) -> None:
        """Move the offset so that the clock shows ``utc_s`` now."""
        elapsed_s = now_ms * (_PPM + self.drift_ppm) // (_PPM * MS_PER_SECOND)
        self.offset_s = utc_s - self.epoch_utc_s - elapsed_s

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.epoch_utc_s = st.integer(state, "epoch_utc_s", where)
        self.offset_s = st.integer(state, "offset_s", where, least=None)
        self.drift_ppm = st.integer(state, "drift_ppm", where, least=1 - _PPM)

"""The pump's wall clock: a mapping from pump time, with its own drift and zone (trust.md 5.9).

Only the schedules by the time of day read it; lock-outs, windows, intervals and ramps use pump time (INV-45).
Local time is milliseconds since Monday 1970-01-05 00:00 on the pump's own clock face, so that
``local_ms % (7 days)`` is where in the week it is.
"""

from __future__ import annotations

from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import PPM
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND

_FIRST_MONDAY_MS = 4 * MS_PER_DAY
"""1970-01-01 was a Thursday."""


class WallClock:
    """``utc_ms = epoch + offset + pump time * (10^6 + drift) / 10^6``, rounded down; ``local = utc + zone``.

    ``held_until_local_ms``: the highest local time that a schedule has reached; it never does a time of day twice.
    """

    KEYS = ("epoch_utc_s", "offset_ms", "drift_ppm", "zone_minutes", "held_until_local_ms")

    def __init__(self, epoch_utc_s: int, drift_ppm: int, zone_minutes: int = 0) -> None:
        self.epoch_utc_s = epoch_utc_s
        self.offset_ms = 0
        self.drift_ppm = drift_ppm
        self.zone_minutes = zone_minutes
        self.held_until_local_ms: int | None = None

    # --- reading -----------------------------------------------------------------------------------------------------

    def utc_s(self, now_ms: int) -> int:
        """What the pump's clock shows, in seconds since 1970-01-01 UTC, never below 0."""
        return max(0, self._utc_ms(now_ms) // MS_PER_SECOND)

    def local_ms(self, now_ms: int) -> int:
        """What the pump's clock shows in its zone, in ms since Monday 1970-01-05 00:00; may be negative."""
        return self._local_base_ms() + now_ms * (PPM + self.drift_ppm) // PPM

    def schedule_local_ms(self, now_ms: int) -> int:
        """Where a schedule stands: the local time, held while that lies before what was reached already (INV-46)."""
        local_ms = self._local_base_ms() + now_ms * (PPM + self.drift_ppm) // PPM
        held_ms = self.held_until_local_ms
        return local_ms if held_ms is None or local_ms > held_ms else held_ms

    def holds(self, now_ms: int) -> bool:
        """Whether a schedule waits now for the local time to pass what it had reached."""
        return self.held_until_local_ms is not None and self.local_ms(now_ms) <= self.held_until_local_ms

    def pump_ms_at_local(self, local_ms: int) -> int:
        """The first whole ms of pump time at which the local clock is at ``local_ms`` or past it, hold ignored."""
        return -((self._local_base_ms() - local_ms) * PPM // (PPM + self.drift_ppm))

    def shift_ms(self, utc_s: int, zone_minutes: int, now_ms: int) -> int:
        """By how much the local time would jump if the clock were set so now; positive is forward."""
        return self._local_of(utc_s, zone_minutes) - self.local_ms(now_ms)

    # --- setting -----------------------------------------------------------------------------------------------------

    def set_utc_s(self, utc_s: int, now_ms: int) -> None:
        """Make the clock show ``utc_s`` now, its zone unchanged."""
        self.set(utc_s, self.zone_minutes, now_ms)

    def set(self, utc_s: int, zone_minutes: int, now_ms: int) -> None:
        """Make the clock show ``utc_s`` in that zone now.

        Set back, the schedule waits at the time it had reached; set forward, what was jumped over is not caught up.
        """
        reached_ms = self.schedule_local_ms(now_ms)
        self.offset_ms += utc_s * MS_PER_SECOND - self._utc_ms(now_ms)
        self.zone_minutes = zone_minutes
        self.held_until_local_ms = reached_ms if reached_ms > self.local_ms(now_ms) else None

    def set_drift_ppm(self, drift_ppm: int, now_ms: int) -> None:
        """Run faster or slower from now on, without a jump."""
        shown_ms = self._utc_ms(now_ms)
        self.drift_ppm = drift_ppm
        self.offset_ms += shown_ms - self._utc_ms(now_ms)

    def release(self) -> None:
        """Forget what was reached: another program's steps have not run yet, whatever the time of day is."""
        self.held_until_local_ms = None

    # --- state -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.epoch_utc_s = st.integer(state, "epoch_utc_s", where)
        self.offset_ms = st.integer(state, "offset_ms", where, least=None)
        self.drift_ppm = st.integer(state, "drift_ppm", where, least=1 - PPM)
        self.zone_minutes = st.integer(state, "zone_minutes", where, least=None)
        self.held_until_local_ms = st.instant(state, "held_until_local_ms", where)

    # --- within ------------------------------------------------------------------------------------------------------

    def _utc_ms(self, now_ms: int) -> int:
        return self.epoch_utc_s * MS_PER_SECOND + self.offset_ms + now_ms * (PPM + self.drift_ppm) // PPM

    def _local_base_ms(self) -> int:
        return self._local_of(self.epoch_utc_s, self.zone_minutes) + self.offset_ms

    @staticmethod
    def _local_of(utc_s: int, zone_minutes: int) -> int:
        return utc_s * MS_PER_SECOND + zone_minutes * MS_PER_MINUTE - _FIRST_MONDAY_MS

"""What moves the drug: counts commanded volume into whole strokes, stalls, is found out, takes a set (domain.md 2.6).

A valve that opens for a pulse is counted the same way. While it is stalled the commanded volume is consumed and
nothing is moved; the pump finds out later, and of a recovery later still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import Drive
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import COMMANDED_PER_NL

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile

STALL_DETECTED = "stall_detected"
STALL_RECOVERED = "stall_recovered"


class Rotor:
    """Strokes made and missed, the stroke begun (``phase``, commanded units), a stall and what the pump knows of it.

    ``detected`` is what the pump believes: that its rotor stands. ``tube_set``: the tube was squeezed in one place for
    ``tube_set_after_ms`` and delivers ``tube_set_error_ppm`` more from then on.
    """

    COUNTS = ("phase", "strokes_made", "strokes_missed", "watched_ms", "interrogations")
    INSTANTS = ("stalled_since_ms", "watched_from_ms", "recovered_ms", "still_since_ms")
    FLAGS = ("detected", "tube_set", "commanded")
    KEYS = (*COUNTS, *INSTANTS, *FLAGS, "tube_set_error_ppm")

    def __init__(self, profile: PumpProfile, now_ms: int = 0) -> None:
        self.stroke = profile.stroke_volume_nl * COMMANDED_PER_NL
        self._latency_ms = profile.stall_detection_latency_ms
        self._interrogations_needed = profile.stall_recovery_interrogations
        self._set_after_ms = profile.tube_set_after_ms
        self._has_tube = profile.drive is Drive.MOTOR
        self.tube_set_error_ppm = profile.tube_set_error_ppm
        self.phase = 0
        self.strokes_made = 0
        self.strokes_missed = 0
        self.commanded = True
        self.stalled_since_ms: int | None = None
        self.still_since_ms: int | None = None
        self.watched_ms = 0
        self.watched_from_ms: int | None = now_ms
        self.detected = False
        self.recovered_ms: int | None = None
        self.interrogations = 0
        self.tube_set = False

    # --- motion ------------------------------------------------------------------------------------------------------

    def turn(self, commanded: int) -> int:
        """Count commanded volume; returns how many strokes were made by it."""
        phase = self.phase + commanded
        if phase < self.stroke:
            self.phase = phase
            return 0
        strokes, self.phase = divmod(phase, self.stroke)
        if self.stalled_since_ms is not None:
            self.strokes_missed += strokes
            return 0
        self.strokes_made += strokes
        return strokes

    @property
    def stalled(self) -> bool:
        """Whether it stands although it may be commanded."""
        return self.stalled_since_ms is not None

    @property
    def flow_error_ppm(self) -> int:
        """What a tube that took a set adds to every stroke."""
        return self.tube_set_error_ppm if self.tube_set else 0

    def command(self, now_ms: int, *, moving: bool) -> None:
        """Say that strokes are commanded from now on, or no longer; does nothing when that is known."""
        if moving == self.commanded:
            return
        self.commanded = moving
        if moving:
            self.watched_from_ms = now_ms
        else:
            self.watched_ms, self.watched_from_ms = self._watched(now_ms), None
        self._moves_or_not(now_ms)

    def stall(self, now_ms: int) -> None:
        """Stand still from now on; does nothing when it does already."""
        if self.stalled_since_ms is None:
            self.stalled_since_ms = now_ms
            self.recovered_ms = None
            self.watched_ms = 0
            self.watched_from_ms = now_ms if self.commanded else None
            self._moves_or_not(now_ms)

    def free(self, now_ms: int) -> None:
        """Turn again from now on; the pump does not know yet. Does nothing when it is not stalled."""
        if self.stalled_since_ms is not None:
            self.stalled_since_ms = None
            if self.detected:
                self.recovered_ms, self.interrogations = now_ms, 0
            self._moves_or_not(now_ms)

    def _moves_or_not(self, now_ms: int) -> None:
        if not self.commanded or self.stalled:
            if self.still_since_ms is None:
                self.still_since_ms = now_ms
        elif self.still_since_ms is not None:
            self.tube_set = self.tube_set or self.tube_set_risk(now_ms)
            self.still_since_ms = None

    def tube_set_risk(self, now_ms: int) -> bool:
        """Whether it stands so long that the tube is set once it moves (domain.md 2.6: 48 h)."""
        since_ms = self.still_since_ms
        return self._has_tube and since_ms is not None and now_ms - since_ms >= self._set_after_ms

    def take_set(self) -> None:
        """Let the tube be set now (dry running; domain.md 4, F21); does nothing to a drive without a tube."""
        self.tube_set = self.tube_set or self._has_tube

    # --- what the pump finds out -------------------------------------------------------------------------------------

    def _watched(self, now_ms: int) -> int:
        """For how long strokes were commanded since the stall began: a pump that rests finds nothing out."""
        return self.watched_ms + (0 if self.watched_from_ms is None else now_ms - self.watched_from_ms)

    def next_event_ms(self, now_ms: int) -> int | None:
        """When the pump finds out about a stall or its end, if nobody acts."""
        if self.stalled_since_ms is not None:
            if self.detected or self.watched_from_ms is None:
                return None
            return max(now_ms, self.watched_from_ms + self._latency_ms - self.watched_ms)
        return None if self.recovered_ms is None else max(now_ms, self.recovered_ms + self._latency_ms)

    def notice(self, now_ms: int) -> str | None:
        """What the pump finds out at this instant: ``STALL_DETECTED``, ``STALL_RECOVERED`` or nothing."""
        if self.stalled_since_ms is not None:
            if not self.detected and self.watched_from_ms is not None and self._watched(now_ms) >= self._latency_ms:
                self.detected = True
                return STALL_DETECTED
            return None
        if self.recovered_ms is not None and now_ms - self.recovered_ms >= self._latency_ms:
            return self._recovered()
        return None

    def interrogated(self) -> str | None:
        """Count an interrogation; returns ``STALL_RECOVERED`` when that one shows it (domain.md 0, fact 5)."""
        if self.recovered_ms is None:
            return None
        self.interrogations += 1
        return self._recovered() if self.interrogations >= self._interrogations_needed else None

    def _recovered(self) -> str:
        self.detected, self.recovered_ms, self.interrogations = False, None, 0
        return STALL_RECOVERED

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        for key in self.COUNTS:
            setattr(self, key, st.integer(state, key, where))
        for key in self.INSTANTS:
            setattr(self, key, st.instant(state, key, where))
        for key in self.FLAGS:
            setattr(self, key, st.flag(state, key, where))
        self.tube_set_error_ppm = st.integer(state, "tube_set_error_ppm", where, least=None)

"""What lets less than everything through a catheter, and where what is lost goes (domain.md 2.7).

An *occlusion* keeps strokes from passing: the drug stays in the reservoir. A *loss* is a share of what has left it,
at one of three junctions. Several may be so at once; ``state`` is the worst.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import PPM

if TYPE_CHECKING:
    from collections.abc import Iterable


class Junction(StrEnum):
    """Where drug can be lost: at the pump, at the leak between the catheter's halves, beside the tip's place."""

    CONNECTOR = "connector"
    LEAK = "leak"
    TIP = "tip"


class CatheterState(StrEnum):
    """What a catheter is like, the worst first."""

    DISCONNECTED = "disconnected"
    OCCLUDED = "occluded"
    POSITIONAL = "positional"
    LEAKING = "leaking"
    TIP_DISPLACED = "tip_displaced"
    PARTLY_OCCLUDED = "partly_occluded"
    PATENT = "patent"


class Losses:
    """The share lost at each junction, the exact remainder of each division, and the sums of what was lost."""

    KEYS = ("ppm", "remainders", "volumes", "masses")

    def __init__(self) -> None:
        self.ppm = [0, 0, 0]
        self._remainders = [0, 0, 0]
        self.volumes = [0, 0, 0]
        self.masses = [0, 0, 0]

    def split(self, junction: int, pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Take the share lost at a junction from pieces of (volume, concentration); returns what goes on.

        Each division carries its remainder on, so that cutting a piece up loses the same.
        """
        ppm = self.ppm[junction]
        kept: list[tuple[int, int]] = []
        for volume, concentration in pieces:
            lost, self._remainders[junction] = divmod(self._remainders[junction] + volume * ppm, PPM)
            self.volumes[junction] += lost
            self.masses[junction] += lost * concentration
            if volume > lost:
                kept.append((volume - lost, concentration))
        return kept

    def kept_ppm(self) -> int:
        """What share passes all three, rounded down."""
        kept = PPM
        for ppm in self.ppm:
            kept = kept * (PPM - ppm) // PPM
        return kept

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {
            "ppm": list(self.ppm),
            "remainders": list(self._remainders),
            "volumes": list(self.volumes),
            "masses": list(self.masses),
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.ppm, self._remainders, self.volumes, self.masses = (_three(state, key, where) for key in self.KEYS)
        if max(self.ppm) > PPM or max(self._remainders) >= PPM:
            raise UsageError(f"snapshot {where}.ppm: {self.ppm} (remainders {self._remainders}) is above {PPM}")


class Occlusion:
    """How much of a stroke passes, in ppm: ``steady_ppm`` always, nothing while a bend of the body kinks it."""

    KEYS = ("steady_ppm", "period_ms", "occluded_ms", "since_ms", "kinked")

    def __init__(self) -> None:
        self.steady_ppm = PPM
        self.period_ms = 0
        self._occluded_ms = 0
        self._since_ms = 0
        self.kinked = False

    @property
    def pass_ppm(self) -> int:
        """What share of a stroke passes now."""
        return 0 if self.kinked else self.steady_ppm

    def bend(self, now_ms: int, period_ms: int, occluded_ms: int, phase_ms: int) -> None:
        """Kink for ``occluded_ms`` of every ``period_ms``, which began ``phase_ms`` ago; raises ``UsageError``."""
        if not 0 < occluded_ms < period_ms:
            raise UsageError(f"occluded_ms: {occluded_ms} is outside 1 to {period_ms - 1} (the period is {period_ms})")
        if not 0 <= phase_ms < period_ms:
            raise UsageError(f"phase_ms: {phase_ms} is outside 0 to {period_ms - 1} (the period is {period_ms})")
        self.period_ms, self._occluded_ms, self._since_ms = period_ms, occluded_ms, now_ms - phase_ms
        self.evaluate(now_ms)

    def straighten(self) -> None:
        """Kink no more."""
        self.period_ms = self._occluded_ms = self._since_ms = 0
        self.kinked = False

    def next_event_ms(self, now_ms: int) -> int | None:
        """The next edge of a kink, later than now."""
        if not self.period_ms:
            return None
        position = (now_ms - self._since_ms) % self.period_ms
        return now_ms + (self._occluded_ms if position < self._occluded_ms else self.period_ms) - position

    def evaluate(self, now_ms: int) -> None:
        """Be kinked or not as this instant has it."""
        if self.period_ms:
            self.kinked = (now_ms - self._since_ms) % self.period_ms < self._occluded_ms

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {
            "steady_ppm": self.steady_ppm,
            "period_ms": self.period_ms,
            "occluded_ms": self._occluded_ms,
            "since_ms": self._since_ms,
            "kinked": self.kinked,
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.steady_ppm = st.integer(state, "steady_ppm", where)
        if self.steady_ppm > PPM:
            raise UsageError(f"snapshot {where}.steady_ppm: {self.steady_ppm} is above {PPM}")
        self.period_ms = st.integer(state, "period_ms", where)
        self._occluded_ms = st.integer(state, "occluded_ms", where)
        self._since_ms = st.integer(state, "since_ms", where, least=None)
        self.kinked = st.flag(state, "kinked", where)


def _three(state: st.State, key: str, where: str) -> list[int]:
    numbers = [item for item in st.items(state, key, where) if type(item) is int and item >= 0]
    if len(numbers) != len(Junction) or len(numbers) != len(st.items(state, key, where)):
        raise UsageError(f"snapshot {where}.{key}: {state[key]!r} are not {len(Junction)} whole numbers from 0 on")
    return numbers

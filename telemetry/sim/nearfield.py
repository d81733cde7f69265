"""The few centimetres between telemeter and pump: coupling, air time, delay and loss, all seeded.

Loss and delay are off unless asked for (protocol.md, Decided 12). No body model yet: the coupling bar is set by
whoever holds the telemeter. What is wrong with the air around the pump (``radio.py``) comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from telemetry.errors import UsageError
from telemetry.units import MS_PER_SECOND

FULL_COUPLING_BARS = 5
PPM = 1_000_000
_BITS_PER_BYTE = 8
_LONGEST_DELAY_MS = 60_000


@dataclass(frozen=True, slots=True)
class NearFieldSettings:
    """How the link behaves while the telemeter lies over the pump.

    ``loss_ppm``: chance of each frame to be lost, parts per million; ``delay_ms``: added to each frame;
    ``bits_per_s``: 0 for no air time, otherwise e.g. 4 000–12 500 (domain.md 6, mark C).
    Raises ``UsageError`` for a value outside its range.
    """

    loss_ppm: int = 0
    delay_ms: int = 0
    bits_per_s: int = 0

    def __post_init__(self) -> None:
        for name, value, high in (
            ("loss_ppm", self.loss_ppm, PPM),
            ("delay_ms", self.delay_ms, _LONGEST_DELAY_MS),
            ("bits_per_s", self.bits_per_s, 100_000_000),
        ):
            if not 0 <= value <= high:
                raise UsageError(f"near field {name}: {value} is outside 0 to {high}")


class Trouble(Protocol):
    """What is wrong with the air, for every telemeter over the pump alike."""

    @property
    def lifted(self) -> bool:
        """Whether no telemeter reaches the pump."""

    def loses(self, size_bytes: int) -> bool:
        """Whether the next frame of this size is lost."""


class NearField:
    """Decides, frame by frame, whether and when it gets across. ``placed_bars``: how well the telemeter was laid."""

    def __init__(self, settings: NearFieldSettings, seed: int = 0, trouble: Trouble | None = None) -> None:
        self.settings = settings
        self._random = Random(seed)  # noqa: S311 - a simulated radio, no secret
        self._trouble = trouble
        self.placed_bars = FULL_COUPLING_BARS

    @property
    def coupling_bars(self) -> int:
        """What the telemeter's bar shows: 0 without contact."""
        return 0 if self._trouble is not None and self._trouble.lifted else self.placed_bars

    @property
    def contact(self) -> bool:
        """Whether the pump is in reach at all."""
        return self.coupling_bars > 0

    def crossing_ms(self, size_bytes: int) -> int | None:
        """Milliseconds a frame of this size takes across, or None when it is lost."""
        if not self.contact:
            return None
        if self._trouble is not None and self._trouble.loses(size_bytes):
            return None
        settings = self.settings
        if settings.loss_ppm and self._random.randrange(PPM) < settings.loss_ppm:
            return None
        if not settings.bits_per_s:
            return settings.delay_ms
        air_ms = -(-size_bytes * _BITS_PER_BYTE * MS_PER_SECOND // settings.bits_per_s)
        return settings.delay_ms + air_ms

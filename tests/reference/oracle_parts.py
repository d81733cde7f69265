"""What a pump by hand is made of: plans, activities, a wall clock and a battery; for ``pump_oracle.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from telemetry.model import Activity, AlarmKind, PumpMode
from tests.reference.oracle_drug import MS_PER_DAY, NL_PER_ML, PPM

if TYPE_CHECKING:
    from collections.abc import Callable

MS_PER_MINUTE = 60_000
MINUTES_PER_DAY = 1_440


@dataclass(frozen=True)
class Bolus:
    """A volume over a time."""

    volume_nl: int
    duration_ms: int

    @property
    def rate(self) -> int:
        """Volume over duration in whole nl/day, at least 1."""
        return max(1, self.volume_nl * MS_PER_DAY // self.duration_ms)


@dataclass(frozen=True)
class Plan:
    """A program as numbers: ``rate`` is the constant one or the basal. Steps are (days, minute, rate)."""

    mode: PumpMode
    rate: int = 0
    steps: tuple[tuple[int, int, int], ...] = ()
    ramp: tuple[tuple[int, int], ...] = ()
    bolus: Bolus | None = None
    interval_ms: int = 0
    first_in_ms: int = 0
    patient: Bolus | None = None
    lockout_ms: int = 0
    max_per_24h: int = 0
    strength: int = 0
    doses: tuple[int, ...] = ()
    """What its rates and amounts are in drug, at ``strength``: part of what makes two programs the same."""

    def mean_rate(self, ramp_step: int) -> Fraction:
        """What it comes to per day in the long run (of a ramp: the step it has come to)."""
        if self.steps:
            return Fraction(sum(self._day(day) for day in range(7)), 7 * MINUTES_PER_DAY)
        if self.ramp:
            return Fraction(self.ramp[ramp_step][1])
        boluses = Fraction(self.bolus.volume_nl * MS_PER_DAY, self.interval_ms) if self.bolus else Fraction(0)
        return self.rate + boluses

    def of_day(self, day: int) -> list[tuple[int, int]]:
        """The (minute, rate) steps of one weekday, in order."""
        return sorted((minute, rate) for days, minute, rate in self.steps if days >> day & 1)

    def _day(self, day: int) -> int:
        steps = self.of_day(day)
        ends = [minute for minute, _ in steps[1:]] + [MINUTES_PER_DAY]
        return sum((end - minute) * rate for (minute, rate), end in zip(steps, ends, strict=True))


@dataclass
class Running:
    """An activity: it ends when its volume is given."""

    kind: Activity
    volume_nl: int
    rate: int
    given: Fraction = Fraction(0)

    @property
    def left(self) -> Fraction:
        """What is still to be given."""
        return self.volume_nl - self.given

    @property
    def name(self) -> str:
        """The first word of its events."""
        return {Activity.PRIME: "prime", Activity.BRIDGE: "bridge"}.get(self.kind, "bolus")


@dataclass
class WallClock:
    """Calendar and zone; it may drift against pump time. Set, it moves by whole ms: its fraction of one stays."""

    offset_ms: int
    zone_minutes: int = 0
    drift_ppm: int = 0

    def utc(self, now_ms: int) -> Fraction:
        """UTC in ms."""
        return self.offset_ms + now_ms * Fraction(PPM + self.drift_ppm, PPM)

    def set(self, now_ms: int, utc_ms: int, zone_minutes: int) -> None:
        """Show this now."""
        self.offset_ms += utc_ms - floor(self.utc(now_ms))
        self.zone_minutes = zone_minutes

    def local(self, now_ms: int) -> Fraction:
        """Local time in ms."""
        return self.utc(now_ms) + self.zone_minutes * MS_PER_MINUTE

    def when(self, local_ms: int) -> int:
        """The first whole ms of pump time at which the local time is so much."""
        since = local_ms - self.zone_minutes * MS_PER_MINUTE - self.offset_ms
        return ceil(since * Fraction(PPM, PPM + self.drift_ppm))


@dataclass
class Battery:
    """Charge by idle, flow and tones; what sounds costs so much a day, one burst every so often."""

    charge: Fraction
    idle: int
    per_nl: int
    sounding: dict[AlarmKind, int] = field(default_factory=dict)
    """What sounds, and its drain in pC/day."""

    def drain(self, rate: Fraction) -> Fraction:
        """Per day."""
        return self.idle + rate * self.per_nl + sum(self.sounding.values())

    def after(self, span_ms: int, rate: int) -> Fraction:
        """What is left after a span at a constant rate."""
        return self.charge - self.drain(Fraction(rate)) * Fraction(span_ms, MS_PER_DAY)


class Commanded:
    """What was commanded, by the whole milliseconds: from, to, nl/day, at ng/ml."""

    def __init__(self) -> None:
        self.segments: list[tuple[int, int, int, int]] = []

    def add(self, from_ms: int, to_ms: int, rate: int, strength: int) -> None:
        """One more; what is older than 24 hours is forgotten."""
        self.segments.append((from_ms, to_ms, rate, strength))
        self.segments = [segment for segment in self.segments if segment[1] > to_ms - MS_PER_DAY]

    def volume(self, now_ms: int, span_ms: int) -> Fraction:
        """Nl in the last so many ms."""
        return self._sum(now_ms - span_ms, lambda rate, _: Fraction(rate))

    def dose_24h(self, now_ms: int) -> Fraction:
        """Ng in the last 24 hours."""
        return self._sum(now_ms - MS_PER_DAY, lambda rate, strength: Fraction(rate * strength, NL_PER_ML))

    def _sum(self, start_ms: int, per_day: Callable[[int, int], Fraction]) -> Fraction:
        parts = (
            per_day(rate, strength) * Fraction(end - max(begin, start_ms), MS_PER_DAY)
            for begin, end, rate, strength in self.segments
            if end > start_ms
        )
        return sum(parts, Fraction(0))


def day_and_minute(local_ms: int) -> tuple[int, int]:
    """Days since 1970-01-01 and minutes of the day."""
    return divmod(local_ms // MS_PER_MINUTE, MINUTES_PER_DAY)

"""What IEC 60601-1-8 asks of an auditory alarm signal, as ranges with their marks (domain.md 5.4).

The standard's text was not at hand: numbers marked C are from memory of its tables 3 and 4 and unverified, B from a
reproduction. Durations are taken between the points at 90 % of a pulse's own level, and so are spacings; that
convention is C as well. Whoever relies on a verdict holds these ranges against the bought standard first.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.errors import UsageError
from telemetry.model import AlarmPriority

UNVERIFIED = (
    "Ranges marked C are from memory of IEC 60601-1-8 and unverified: check them against the bought standard before "
    "you rely on a verdict."
)


@dataclass(frozen=True, slots=True)
class Range:
    """What is allowed, both ends included; None is no bound. ``mark``: B secondary source, C unverified."""

    least: float | None
    most: float | None
    unit: str
    mark: str

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """Whether a value lies inside, give or take ``slack``."""
        low = self.least is None or value >= self.least - slack
        return low and (self.most is None or value <= self.most + slack)

    def __str__(self) -> str:
        if self.least is not None and self.least == self.most:
            return f"{self.least:g} {self.unit}".rstrip()
        if self.least is None or self.most is None:
            sign, bound = ("≤", self.most) if self.least is None else ("≥", self.least)
            return f"{sign} {bound:g} {self.unit}".rstrip() if bound is not None else "any"
        return f"{self.least:g} – {self.most:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class BurstRules:
    """The ranges of one priority. ``repeats``: whether a single burst without repeat is not enough."""

    priority: AlarmPriority
    pulses: Range
    pulse_ms: Range
    spacing_ms: Range
    group_gap_ms: Range | None
    interval_ms: Range
    repeats: bool


FUNDAMENTAL_HZ = Range(150, 1000, "Hz", "B")
HARMONICS = Range(4, None, "", "B")
"""How many components, the fundamental among them where it lies in the band (ADR 0098)."""
HARMONIC_BAND_HZ = Range(300, 4000, "Hz", "B")
HARMONIC_LEVEL_DB = Range(-15, 15, "dB", "B")
"""Of a component, relative to the fundamental."""
RISE_PERCENT = Range(10, 40, "% of the pulse", "C")
"""From 10 % to 90 % of the pulse's level."""
AMPLITUDE_SPREAD_DB = Range(None, 10, "dB", "C")
"""Between the loudest and the softest pulse of a burst."""
EVENNESS_PERCENT = Range(None, 20, "%", "C")
"""Of what must be one and the same spacing within a burst: from its mean."""
DOUBLE_SPACING_PERCENT = Range(-20, 20, "%", "C")
"""Of the spacings 3-4 and 8-9 of a high burst: from 2x + t_d."""

RULES: dict[AlarmPriority, BurstRules] = {
    AlarmPriority.HIGH: BurstRules(
        AlarmPriority.HIGH,
        pulses=Range(10, 10, "", "C"),
        pulse_ms=Range(75, 200, "ms", "C"),
        spacing_ms=Range(50, 125, "ms", "C"),
        group_gap_ms=Range(350, 1300, "ms", "C"),
        interval_ms=Range(2_500, 15_000, "ms", "C"),
        repeats=True,
    ),
    AlarmPriority.MEDIUM: BurstRules(
        AlarmPriority.MEDIUM,
        pulses=Range(3, 3, "", "C"),
        pulse_ms=Range(125, 250, "ms", "C"),
        spacing_ms=Range(125, 250, "ms", "C"),
        group_gap_ms=None,
        interval_ms=Range(2_500, 30_000, "ms", "C"),
        repeats=True,
    ),
    AlarmPriority.LOW: BurstRules(
        AlarmPriority.LOW,
        pulses=Range(1, 2, "", "C"),
        pulse_ms=Range(125, 250, "ms", "C"),
        spacing_ms=Range(125, 250, "ms", "C"),
        group_gap_ms=None,
        interval_ms=Range(15_000, None, "ms", "C"),
        repeats=False,
    ),
}


def parse_priority(text: str) -> AlarmPriority:
    """A priority by its name; raises ``UsageError`` listing the names."""
    try:
        return AlarmPriority(text.strip().lower())
    except ValueError:
        raise UsageError(f"priority: {text!r} is none; one of: {', '.join(AlarmPriority)}") from None

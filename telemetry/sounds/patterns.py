"""What sounds: the bursts of a tablet (IEC 60601-1-8, domain.md 5.4) and the tones of a pump (domain.md 2.5), as data.

Milliseconds are whole. No number library is needed to read these; `telemetry.sounds.synthesis` makes sound of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.errors import UsageError
from telemetry.model import AlarmPriority

_NOTES = {"c": 261.63, "d": 293.66, "e": 329.63, "f": 349.23, "g": 392.00, "a": 440.00, "b": 493.88, "C": 523.25}
"""Equal temperament from c = C4; a capital is the octave above. The standard fixes the intervals, not the pitch (C)."""
_PAUSE_AFTER = 3
_GROUP = 5


@dataclass(frozen=True, slots=True)
class Harmonic:
    """A component at ``number`` times the fundamental, ``level_db`` above it (negative: below)."""

    number: int
    level_db: float


STOCK_HARMONICS = (Harmonic(2, -3.0), Harmonic(3, -6.0), Harmonic(4, -6.0), Harmonic(5, -9.0), Harmonic(6, -12.0))


@dataclass(frozen=True, slots=True)
class BurstPattern:
    """One burst and its repetition.

    ``pulse_ms`` (t_d) and ``spacing_ms`` (x of a high burst, else y) lie between the 90 % points, ``rise_ms`` between
    10 % and 90 %; a pulse falls as it rises. ``group_gap_ms`` is the gap between the fifth and the sixth pulse,
    ``interval_ms`` the silence from the last pulse to the next burst; None: it does not repeat. ``pitches_hz`` and
    ``levels_db`` have one entry a pulse. ``own_gaps_ms`` replaces all spacings within the burst, one after each pulse
    but the last, for patterns that no standard knows.
    Raises ``UsageError`` for what cannot be sounded; whether it *may* be sounded is the checker's business.
    """

    priority: AlarmPriority
    pulse_ms: int
    spacing_ms: int
    rise_ms: int
    pitches_hz: tuple[float, ...]
    levels_db: tuple[float, ...]
    harmonics: tuple[Harmonic, ...] = STOCK_HARMONICS
    group_gap_ms: int | None = None
    interval_ms: int | None = None
    own_gaps_ms: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.pitches_hz or len(self.pitches_hz) != len(self.levels_db):
            raise UsageError(
                f"burst: {len(self.pitches_hz)} pitches and {len(self.levels_db)} levels; one of each a pulse"
            )
        if self.own_gaps_ms is not None and len(self.own_gaps_ms) != len(self.pitches_hz) - 1:
            raise UsageError(
                f"burst own_gaps_ms: {len(self.own_gaps_ms)} gaps for {len(self.pitches_hz)} pulses; one between two"
            )
        for name in ("pulse_ms", "spacing_ms", "rise_ms"):
            if getattr(self, name) < 1:
                raise UsageError(f"burst {name}: {getattr(self, name)} is below 1 ms")
        if self.priority is AlarmPriority.HIGH and self.group_gap_ms is None:
            raise UsageError("burst group_gap_ms: a high burst has a gap between its two groups of five pulses")
        # A straight rise that takes rise_ms from 10 % to 90 % takes 9/8 of that up to 90 %, and a fall as much.
        shortest_ms = min((4 * self.pulse_ms, *self.gaps_ms))
        if 9 * self.rise_ms > 4 * shortest_ms:
            raise UsageError(
                f"burst rise_ms: {self.rise_ms} is more than 4/9 of the shortest spacing ({shortest_ms} ms); pulses "
                "would run together"
            )

    @property
    def gaps_ms(self) -> tuple[int, ...]:
        """The spacing after each pulse but the last."""
        count = len(self.pitches_hz)
        if self.own_gaps_ms is not None:
            return self.own_gaps_ms
        if self.priority is not AlarmPriority.HIGH:
            return (self.spacing_ms,) * (count - 1)
        double_ms = 2 * self.spacing_ms + self.pulse_ms
        gap_ms = self.group_gap_ms or 0
        return tuple(
            gap_ms if after % _GROUP == 0 else double_ms if after % _GROUP == _PAUSE_AFTER else self.spacing_ms
            for after in range(1, count)
        )

    @property
    def onsets_ms(self) -> tuple[int, ...]:
        """When each pulse passes its 90 % point, from the first."""
        onsets = [0]
        for gap_ms in self.gaps_ms:
            onsets.append(onsets[-1] + self.pulse_ms + gap_ms)
        return tuple(onsets)

    @property
    def length_ms(self) -> int:
        """From the first pulse's 90 % point to the last one's."""
        return self.onsets_ms[-1] + self.pulse_ms

    @property
    def period_ms(self) -> int | None:
        """From burst to burst; None when it does not repeat."""
        return None if self.interval_ms is None else self.length_ms + self.interval_ms


MELODIES: dict[AlarmPriority, str] = {
    AlarmPriority.HIGH: "C d g – C d",
    AlarmPriority.MEDIUM: "C d g",
    AlarmPriority.LOW: "e c",
}
"""The melodies of drug and fluid delivery; ``–`` is the double spacing (domain.md 5.4, B)."""


def notes_hz(melody: str) -> tuple[float, ...]:
    """The pitches of a melody as written in ``MELODIES``; raises ``UsageError`` listing the notes."""
    names = [name for name in melody.split() if name not in {"–", "-"}]
    if not names or any(name not in _NOTES for name in names):
        raise UsageError(f"melody: {melody!r} is not made of the notes {' '.join(_NOTES)} and –")
    return tuple(_NOTES[name] for name in names)


def stock_burst(priority: AlarmPriority, *, melody: bool = True) -> BurstPattern:
    """A burst from the middle of what the standard allows, with the drug-delivery melody or on one pitch (c)."""
    pulses = {AlarmPriority.HIGH: 10, AlarmPriority.MEDIUM: 3, AlarmPriority.LOW: 2}[priority]
    notes = notes_hz(MELODIES[priority]) if melody else notes_hz("c")
    high = priority is AlarmPriority.HIGH
    return BurstPattern(
        priority,
        pulse_ms=140 if high else 190,
        spacing_ms=90 if high else 190,
        rise_ms=28 if high else 40,
        pitches_hz=tuple(notes[index % len(notes)] for index in range(pulses)),
        levels_db=(0.0,) * pulses,
        group_gap_ms=600 if high else None,
        interval_ms={AlarmPriority.HIGH: 4_000, AlarmPriority.MEDIUM: 7_000, AlarmPriority.LOW: 20_000}[priority],
    )


@dataclass(frozen=True, slots=True)
class Beeper:
    """How the pump's transducer sounds; domain.md gives no pitch, all of it is C.

    A single tone is ``single_hz``; a two-tone burst goes between ``two_tone_hz`` every ``alternation_ms``.
    """

    single_hz: float = 1_000.0
    two_tone_hz: tuple[float, float] = (1_000.0, 1_400.0)
    alternation_ms: int = 500
    rise_ms: int = 10


def melody_of(pitches_hz: tuple[float, ...]) -> str | None:
    """Name the drug-delivery melody that these pitches play, at whatever pitch it begins; None when it is another.

    A quarter tone of play either way; a repeat of the melody (the second group of a high burst) counts as the melody.
    """
    for melody in MELODIES.values():
        notes = notes_hz(melody)
        if len(pitches_hz) < len(notes) or len(pitches_hz) % len(notes):
            continue
        wanted = [notes[index % len(notes)] for index in range(len(pitches_hz))]
        ratios = [heard / note for heard, note in zip(pitches_hz, wanted, strict=True)]
        if max(ratios) / min(ratios) < 2 ** (1 / 12):
            return melody
    return None

"""Sound from patterns: bursts of a tablet and tones of a pump as samples.

Pure: the same pattern gives the same samples. Loudness is digital: nothing peaks above half of full scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.alarm_table import Tone
from telemetry.errors import UsageError
from telemetry.sounds.numbers import np

if TYPE_CHECKING:
    from telemetry.sounds.numbers import Pcm, Samples
    from telemetry.sounds.patterns import Beeper, BurstPattern, Harmonic

DEFAULT_RATE_HZ = 16_000
MIN_RATE_HZ = 8_000
MAX_RATE_HZ = 48_000
MAX_MINUTES = 120
"""Longest file made; two hours at 48 kHz are 0.7 GB."""
_PEAK = 0.5
_MS_PER_S = 1_000
_MS_PER_MIN = 60_000
_USABLE = 0.45
"""Of the sample rate: what a recorder's filter lets through."""


def check_rate(rate_hz: int) -> None:
    """Raises ``UsageError`` unless a file can have this sample rate."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UsageError(f"rate_hz: {rate_hz} lies outside {MIN_RATE_HZ} to {MAX_RATE_HZ} samples a second")


def check_length(duration_ms: int) -> None:
    """Raises ``UsageError`` unless a file can have this length."""
    if not 1 <= duration_ms <= MAX_MINUTES * _MS_PER_MIN:
        raise UsageError(f"duration_ms: {duration_ms} lies outside 1 ms to {MAX_MINUTES} min")


def burst(pattern: BurstPattern, rate_hz: int = DEFAULT_RATE_HZ) -> Samples:
    """One burst from the foot of its first pulse to the foot of its last.

    Raises ``UsageError`` when the rate is out of range or too low for a component.
    """
    check_rate(rate_hz)
    ramp_ms = pattern.rise_ms / 0.8
    lead_ms = 0.9 * ramp_ms
    sound = np.zeros(_samples(pattern.length_ms + 2 * lead_ms, rate_hz) + 1)
    for onset_ms, pitch_hz, level_db in zip(pattern.onsets_ms, pattern.pitches_hz, pattern.levels_db, strict=True):
        first = _samples(onset_ms, rate_hz)
        last = min(len(sound), _samples(onset_ms + pattern.pulse_ms + 2 * lead_ms, rate_hz) + 1)
        at_ms = np.arange(first, last) * _MS_PER_S / rate_hz - onset_ms
        until_end_ms = pattern.pulse_ms + 2 * lead_ms - at_ms
        shape = np.clip(np.minimum(at_ms, until_end_ms) / ramp_ms, 0.0, 1.0)
        level = 10 ** ((level_db - max(pattern.levels_db)) / 20)
        # Added, not put: two ramps may touch in the same sample.
        sound[first:last] += level * shape * _voice(pitch_hz, pattern.harmonics, at_ms / _MS_PER_S, rate_hz)
    return sound


def burst_train(pattern: BurstPattern, duration_ms: int, rate_hz: int = DEFAULT_RATE_HZ, *, lead_ms: int = 500) -> Pcm:
    """Bursts as they repeat, after ``lead_ms`` of silence; whole bursts only.

    Raises ``UsageError`` when rate or duration are out of range, or not even one burst fits.
    """
    one = to_pcm(burst(pattern, rate_hz))
    sound = np.zeros(_samples(duration_ms, rate_hz), dtype=np.int16)
    for number in range(count_bursts(pattern, duration_ms, rate_hz, lead_ms=lead_ms)):
        start = _samples(lead_ms + number * (pattern.period_ms or 0), rate_hz)
        sound[start : start + len(one)] = one
    return sound


def count_bursts(pattern: BurstPattern, duration_ms: int, rate_hz: int = DEFAULT_RATE_HZ, *, lead_ms: int = 500) -> int:
    """How many whole bursts ``burst_train`` makes; raises ``UsageError`` as it does."""
    check_rate(rate_hz)
    check_length(duration_ms)
    # Both ramps and a sample of rounding at either end.
    whole_ms = pattern.length_ms + -(-9 * pattern.rise_ms // 4) + 2
    if lead_ms + whole_ms > duration_ms:
        raise UsageError(f"duration_ms: {duration_ms} is too short for one burst; at least {lead_ms + whole_ms}")
    return 1 if pattern.period_ms is None else (duration_ms - lead_ms - whole_ms) // pattern.period_ms + 1


def pump_tone(tone: Tone, length_ms: int, beeper: Beeper, rate_hz: int = DEFAULT_RATE_HZ) -> Samples:
    """What the pump's beeper makes of one burst; silence for ``Tone.NONE``. Raises ``UsageError`` as ``burst`` does."""
    check_rate(rate_hz)
    at_s = np.arange(_samples(length_ms, rate_hz)) / rate_hz
    if tone is Tone.NONE:
        return np.zeros(len(at_s))
    highest_hz = max(beeper.single_hz, *beeper.two_tone_hz)
    _check_component(highest_hz, rate_hz)
    if tone is Tone.SINGLE:
        wave = np.sin(2 * np.pi * beeper.single_hz * at_s)
    else:
        second = (at_s * _MS_PER_S // beeper.alternation_ms) % 2 == 1
        pitch_hz = np.where(second, beeper.two_tone_hz[1], beeper.two_tone_hz[0])
        # The phase runs on where the pitch changes, else each change would click.
        wave = np.sin(2 * np.pi * np.cumsum(pitch_hz) / rate_hz)
    at_ms = at_s * _MS_PER_S
    shape = np.clip(np.minimum(at_ms, length_ms - at_ms) / beeper.rise_ms, 0.0, 1.0)
    sound: Samples = _PEAK * shape * wave
    return sound


def to_pcm(sound: Samples) -> Pcm:
    """As a file holds it; what is louder than full scale is cut."""
    return np.round(np.clip(sound, -1.0, 1.0) * 32_767).astype(np.int16)


def _voice(pitch_hz: float, harmonics: tuple[Harmonic, ...], at_s: Samples, rate_hz: int) -> Samples:
    numbers = np.array([1, *(harmonic.number for harmonic in harmonics)])
    levels = 10 ** (np.array([0.0, *(harmonic.level_db for harmonic in harmonics)]) / 20)
    _check_component(float(numbers.max()) * pitch_hz, rate_hz)
    # Schroeder's phases keep the peaks of a sum of harmonics low.
    phases = -np.pi * numbers * (numbers - 1) / len(numbers)
    angles = 2 * np.pi * pitch_hz * np.outer(numbers, at_s) + phases[:, np.newaxis]
    wave: Samples = (levels * (_PEAK / levels.sum())) @ np.sin(angles)
    return wave


def _check_component(hz: float, rate_hz: int) -> None:
    if hz > _USABLE * rate_hz:
        raise UsageError(
            f"rate_hz: {rate_hz} samples a second hold no component of {hz:.0f} Hz; take at least {hz / _USABLE:.0f}"
        )


def _samples(ms: float, rate_hz: int) -> int:
    return round(ms * rate_hz / _MS_PER_S)

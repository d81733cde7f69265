"""The pitch of a pulse and its components, by a least-squares fit of the fundamental and its multiples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.sounds.numbers import np, signal

if TYPE_CHECKING:
    from telemetry.sounds.numbers import Samples

_LOWEST_HZ = 80.0
_HIGHEST_HZ = 2_000.0
_USABLE = 0.46
"""Of the sample rate: above, a recorder's filter decides what is left."""
_FITTED = 0.49
_TOP_HZ = 4_600.0
"""Components above the band of the standard are not looked for."""
_PEAK_RANGE_DB = 36.0
_PEAK_OVER_NOISE_DB = 14.0
_MATCHED_POWER = 0.98
_MATCHED_COUNT = 0.8
_SURE = 4.0
"""Standard deviations above the residual at which a component counts as present."""
_DIVISORS = range(1, 6)


@dataclass(frozen=True, slots=True)
class Component:
    """A multiple of the fundamental that is present; ``level_db`` is relative to the fundamental."""

    number: int
    hz: float
    level_db: float


@dataclass(frozen=True, slots=True)
class Pitch:
    """The fundamental and what is present of its multiples, the fundamental itself first if it is present."""

    hz: float
    components: tuple[Component, ...]


def top_hz(rate_hz: int) -> float:
    """The highest component that a recording of this rate can show."""
    return min(_TOP_HZ, _USABLE * rate_hz)


def pitch_of(sound: Samples, rate_hz: int) -> Pitch | None:
    """Fundamental and components of one pulse's steady part; None where nothing periodic is found."""
    peaks = _peaks(sound, rate_hz)
    if not peaks:
        return None
    hz = _fundamental(peaks, 1.0 / (len(sound) / rate_hz))
    return None if hz is None else _fit(sound, hz, rate_hz)


def _peaks(sound: Samples, rate_hz: int) -> list[tuple[float, float]]:
    """Spectral lines as (frequency in Hz, power), from the lowest."""
    if len(sound) < 32:
        return []
    size = 1 << (8 * len(sound) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(sound * signal.windows.blackmanharris(len(sound)), size))
    hz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    inside = (hz >= _LOWEST_HZ) & (hz <= top_hz(rate_hz))
    hz, level_db = hz[inside], 20 * np.log10(spectrum[inside] + 1e-12)
    floor_db = max(level_db.max() - _PEAK_RANGE_DB, float(np.median(level_db)) + _PEAK_OVER_NOISE_DB)
    if floor_db >= level_db.max():
        # Lines stand so close that the median is no noise: all there is to go by is the range.
        floor_db = level_db.max() - _PEAK_RANGE_DB
    places, _ = signal.find_peaks(level_db, height=floor_db, prominence=6.0)
    return [(float(hz[place]), float(10 ** (level_db[place] / 10))) for place in places]


def _fundamental(peaks: list[tuple[float, float]], resolution_hz: float) -> float | None:
    """The highest frequency of which nearly all lines are multiples."""
    total = sum(power for _, power in peaks)
    candidates = sorted({hz / divisor for hz, _ in peaks[:3] for divisor in _DIVISORS}, reverse=True)
    for candidate_hz in candidates:
        if not _LOWEST_HZ <= candidate_hz <= _HIGHEST_HZ:
            continue
        matched = [
            (hz, power, number)
            for hz, power in peaks
            for number in [round(hz / candidate_hz)]
            if number >= 1 and abs(hz - number * candidate_hz) <= 0.5 * resolution_hz + 0.01 * hz
        ]
        if sum(power for _, power, _ in matched) < _MATCHED_POWER * total:
            continue
        if len(matched) >= _MATCHED_COUNT * len(peaks):
            # A line counts by how far it is from zero: a high multiple fixes the fundamental best.
            weight = sum(power * number**2 for _, power, number in matched)
            return sum(power * number * hz for hz, power, number in matched) / weight
    return None


def _fit(sound: Samples, hz: float, rate_hz: int) -> Pitch:
    at_s = np.arange(len(sound)) / rate_hz
    # All that the recording holds is fitted, or what is left out would pass for noise.
    numbers = np.arange(1, max(2, int(_FITTED * rate_hz / hz) + 1))
    angles = 2 * np.pi * hz * np.outer(at_s, numbers)
    basis = np.hstack([np.cos(angles), np.sin(angles)])
    # Multiples of one pitch are nearly orthogonal over whole periods, so that the normal equations are sound; the ridge
    # keeps a pulse of less than a period from dividing by nothing.
    gram = basis.T @ basis + 1e-9 * len(sound) * np.eye(basis.shape[1])
    found = np.linalg.solve(gram, basis.T @ sound)
    amplitudes = np.hypot(found[: len(numbers)], found[len(numbers) :])
    residual = float(np.mean(np.square(sound - basis @ found)))
    least = max(_SURE * np.sqrt(2 * residual / len(sound)), float(amplitudes.max()) * 10 ** (-_PEAK_RANGE_DB / 20))
    reference = max(float(amplitudes[0]), 1e-12)
    return Pitch(
        hz,
        tuple(
            Component(int(number), float(number) * hz, float(20 * np.log10(amplitude / reference)))
            for number, amplitude in zip(numbers, amplitudes, strict=True)
            if amplitude >= least and number * hz <= top_hz(rate_hz)
        ),
    )

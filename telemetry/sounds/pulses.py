"""Pulses in a recording: where they begin and end, how fast they rise, how loud they are, what they sound like.

A pulse lies between the points at which its envelope passes 90 % of its own level; its rise is from 10 % to 90 %. The
envelope is the root of the power over whole periods of the pulse's own pitch, so that beats between components do not
show in it; noise power is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sounds.numbers import ndimage, np, signal
from telemetry.sounds.spectrum import Pitch, pitch_of
from telemetry.sounds.synthesis import check_rate

if TYPE_CHECKING:
    from telemetry.sounds.numbers import Samples

_ENOUGH_HZ = 11_000
_LOW_CUT_HZ = 80.0
_COARSE_MS = 12.0
_FINE_MS = 5.0
_FLOOR_PERCENTILE = 5.0
_FLOOR_FACTOR = 1.7
_PEAK_FACTOR = 0.05
_PROMINENCE_DB = 6.0
_SHORTEST_MS = 15.0
_FEET = ((0.1, 1.0), (0.3, 4 / 3), (0.5, 2.0))
"""From where a rise is measured to 90 %, and what makes of that the way from 10 %, on a straight ramp."""
_CLEAR = 0.4
"""Of a foot: noise below this does not move it."""
_AROUND_MS = 400.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse; instants from the start of the recording. ``level_db`` is of full scale, ``pitch`` None for noise."""

    start_ms: float
    end_ms: float
    rise_ms: float
    level_db: float
    pitch: Pitch | None

    @property
    def length_ms(self) -> float:
        """t_d."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Recording:
    """The pulses of a recording, in order. ``signal_to_noise_db`` is None where the pauses are silent."""

    pulses: tuple[Pulse, ...]
    length_ms: float
    rate_hz: int
    signal_to_noise_db: float | None


def find_pulses(sound: Samples, rate_hz: int) -> Recording:
    """Find and measure every pulse; raises ``UsageError`` for a rate out of range or no sound at all."""
    check_rate(rate_hz)
    recorded_hz = rate_hz
    if rate_hz >= 2 * _ENOUGH_HZ:
        # The standard looks at nothing above 4 kHz; half the samples, half the work.
        factor = rate_hz // _ENOUGH_HZ
        sound, rate_hz = signal.decimate(sound, factor, ftype="fir"), rate_hz // factor
    length_ms = len(sound) * 1_000 / rate_hz
    if length_ms < 2 * _COARSE_MS:
        raise UsageError(f"recording: {length_ms:.0f} ms is too short to hold a pulse")
    without_hum = signal.butter(4, _LOW_CUT_HZ, btype="highpass", fs=rate_hz, output="sos")
    heard = signal.sosfiltfilt(without_hum, sound - sound.mean())
    power = np.square(heard)
    coarse = np.sqrt(_smooth(power, _COARSE_MS / 2, rate_hz))
    peak = float(coarse.max())
    if peak <= 1e-6:
        raise UsageError("recording: silent throughout; nothing sounds louder than -120 dB of full scale")
    floor = float(np.percentile(coarse, _FLOOR_PERCENTILE))
    threshold = max(_FLOOR_FACTOR * floor, _PEAK_FACTOR * peak)
    level_db = 20 * np.log10(coarse + 1e-9)
    places = _peaks(level_db, 20 * float(np.log10(threshold)))
    around = round(_AROUND_MS * rate_hz / 1_000)
    pulses = []
    for index, place in enumerate(places):
        before = 0 if index == 0 else places[index - 1]
        after = len(coarse) - 1 if index + 1 == len(places) else places[index + 1]
        first = before + int(np.argmin(coarse[before : place + 1])) if index else max(0, place - 10 * around)
        last = place + int(np.argmin(coarse[place : after + 1])) if index + 1 < len(places) else place + 10 * around
        pulse = _measure(sound, power, coarse, (first, place, min(len(coarse), last + 1)), floor, rate_hz)
        if pulse.length_ms >= _SHORTEST_MS:
            pulses.append(pulse)
    noise = None if floor < 1e-5 else 20 * float(np.log10(peak / floor))
    return Recording(tuple(pulses), length_ms, recorded_hz, noise)


def _peaks(level_db: Samples, least_db: float) -> list[int]:
    """Where the envelope has a top that a valley parts from the next; beside silence every top counts."""
    tops, _ = signal.find_peaks(np.pad(level_db, 1, constant_values=-180.0), height=least_db, prominence=_PROMINENCE_DB)
    found: list[int] = []
    for top in (int(place) - 1 for place in tops):
        if found:
            # Two tops of exactly one height each stand out by their whole height, however shallow the dip between.
            valley_db = float(level_db[found[-1] : top + 1].min())
            if valley_db > min(level_db[found[-1]], level_db[top]) - _PROMINENCE_DB:
                continue
        found.append(top)
    return found


def _measure(
    sound: Samples, power: Samples, coarse: Samples, span: tuple[int, int, int], floor: float, rate_hz: int
) -> Pulse:
    first, place, end = span
    rough = coarse[first:end]
    begin, stop = _crossings(rough, place - first, 0.9 * float(rough[place - first]))
    pitch = pitch_of(sound[first + begin : first + stop + 1], rate_hz)
    periods_ms = 1_000 / pitch.hz if pitch is not None else _FINE_MS
    window_ms = periods_ms * max(1, round(_FINE_MS / periods_ms))
    margin = round(2 * window_ms * rate_hz / 1_000)
    left = max(0, first - margin)
    fine = np.sqrt(np.maximum(_smooth(power[left : end + margin], window_ms, rate_hz) - floor**2, 0.0))
    fine = fine[first - left : end - left]
    middle = min(len(fine) - 1, (begin + stop) // 2)
    loud = fine[begin : stop + 1]
    level = float(np.median(loud[loud >= 0.8 * loud.max()]))
    begin, stop = _crossings(fine, middle, 0.9 * level)
    return Pulse(
        start_ms=(first + _exact(fine, begin, 0.9 * level, rising=True)) * 1_000 / rate_hz,
        end_ms=(first + _exact(fine, stop, 0.9 * level, rising=False)) * 1_000 / rate_hz,
        rise_ms=_rise_ms(fine, begin, level, floor, window_ms, rate_hz),
        level_db=20 * float(np.log10(max(level, 1e-9))),
        pitch=pitch,
    )


def _crossings(envelope: Samples, inside: int, threshold: float) -> tuple[int, int]:
    """The outermost samples about ``inside`` that reach the threshold; a dip of the plateau does not end it."""
    above = np.flatnonzero(envelope >= threshold)
    if len(above) == 0:
        return inside, inside
    return int(min(above[0], inside)), int(max(above[-1], inside))


def _exact(envelope: Samples, place: int, threshold: float, *, rising: bool) -> float:
    """Where between two samples the threshold lies."""
    other = place - 1 if rising else place + 1
    if not 0 <= other < len(envelope) or envelope[place] == envelope[other]:
        return float(place)
    share = float((envelope[place] - threshold) / (envelope[place] - envelope[other]))
    return place + (other - place) * min(1.0, max(0.0, share))


def _rise_ms(envelope: Samples, begin: int, level: float, floor: float, window_ms: float, rate_hz: int) -> float:
    """From 10 % to 90 %, without what the window of the envelope adds; from higher up where noise hides the foot."""
    top = _exact(envelope, begin, 0.9 * level, rising=True)
    before = envelope[: begin + 1]
    clear = [
        pair for pair in _FEET if floor <= _CLEAR * pair[0] * level and float(before.min()) <= pair[0] * level
    ] or [_FEET[-1]]
    foot, stretch = clear[0]
    below = np.flatnonzero(before < foot * level)
    if len(below) == 0:
        return 0.0
    start = _exact(envelope, int(below[-1]) + 1, foot * level, rising=True)
    measured_ms = (top - start) * 1_000 / rate_hz * stretch
    # What a sudden step would measure through two boxes over its power: a share a of the level is a² of the power, and
    # that is reached √2·a of a box after the window's edge, 90 % 1.38 of a box. Spreads add in squares.
    own_ms = window_ms * stretch * (1.38 - float(np.sqrt(2)) * foot)
    return float(np.sqrt(max(0.0, measured_ms**2 - own_ms**2)))


def _smooth(power: Samples, window_ms: float, rate_hz: int) -> Samples:
    """A box of one window over another: no ripple of what is periodic in the window."""
    size = max(1, round(window_ms * rate_hz / 1_000))
    once = ndimage.uniform_filter1d(power, size, mode="constant")
    # The second box leans the other way, or an even size would shift everything by a sample.
    twice: Samples = ndimage.uniform_filter1d(once, size, mode="constant", origin=-1 if size % 2 == 0 else 0)
    return np.maximum(twice, 0.0)

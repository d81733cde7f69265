"""Recordings for the tests: patterns as samples, with noise, as a microphone would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry.sounds.synthesis import burst_train

if TYPE_CHECKING:
    from telemetry.sounds.numbers import Samples
    from telemetry.sounds.patterns import BurstPattern


def recorded(
    pattern: BurstPattern, duration_ms: int, rate_hz: int = 16_000, *, snr_db: float | None = None, seed: int = 1
) -> Samples:
    """The pattern as a recording; ``snr_db`` is signal while it sounds over white noise of the whole band."""
    sound = burst_train(pattern, duration_ms, rate_hz).astype(np.float64) / 32_768
    return sound if snr_db is None else with_noise(sound, snr_db, seed)


def with_noise(sound: Samples, snr_db: float, seed: int = 1) -> Samples:
    sounding = sound[np.abs(sound) > 0]
    amplitude = float(np.sqrt(np.mean(np.square(sounding)))) * 10 ** (-snr_db / 20)
    noisy: Samples = sound + np.random.default_rng(seed).normal(0.0, amplitude, len(sound))
    return noisy

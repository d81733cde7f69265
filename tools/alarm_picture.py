"""Draw docs/images/alarm-patterns.png: what tablet and pump sound, as envelope and as spectrogram.

    python -m tools.alarm_picture [FILE]

What is drawn is what `telemetry alarm sound` writes; the shaded spans are what the checker measured as pulses.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from telemetry.alarm_table import Tone
from telemetry.model import AlarmPriority
from telemetry.sounds.patterns import MELODIES, Beeper, stock_burst
from telemetry.sounds.pulses import find_pulses
from telemetry.sounds.synthesis import burst_train, pump_tone

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from telemetry.sounds.numbers import Samples

PAGE = Path(__file__).parents[1] / "docs" / "images" / "alarm-patterns.png"
RATE_HZ = 16_000
WINDOW = 512
COLOURS = {AlarmPriority.HIGH: "#c62828", AlarmPriority.MEDIUM: "#b07d00", AlarmPriority.LOW: "#00838f"}
PUMP_COLOUR = "#37474f"


def patterns() -> list[tuple[str, str, Samples]]:
    """What is drawn: a title, a colour, 3.6 s of sound."""
    found = []
    for priority in (AlarmPriority.HIGH, AlarmPriority.MEDIUM, AlarmPriority.LOW):
        pattern = stock_burst(priority)
        title = f"tablet, {priority}: {MELODIES[priority]}, again after {(pattern.interval_ms or 0) / 1_000:g} s"
        sound = burst_train(pattern, 3_600, RATE_HZ, lead_ms=200).astype(np.float64) / 32_768
        found.append((title, COLOURS[priority], sound))
    for tone, length_ms, title in (
        (Tone.SINGLE, 1_000, "pump, non-critical: one tone, every 60 min"),
        (Tone.TWO_TONE, 3_000, "pump, critical: two tones, every 10 min"),
    ):
        sound = np.zeros(3_600 * RATE_HZ // 1_000)
        played = pump_tone(tone, length_ms, Beeper(), RATE_HZ)
        first = RATE_HZ // 5
        sound[first : first + len(played)] = played
        found.append((title, PUMP_COLOUR, sound))
    return found


def draw_envelope(axes: Axes, sound: Samples, colour: str, title: str) -> None:
    """The envelope, mirrored, with the pulses that the checker finds."""
    step = RATE_HZ // 250
    peaks = np.abs(sound[: len(sound) // step * step]).reshape(-1, step).max(axis=1)
    at_s = (np.arange(len(peaks)) + 0.5) * step / RATE_HZ
    for pulse in find_pulses(sound, RATE_HZ).pulses:
        axes.axvspan(pulse.start_ms / 1_000, pulse.end_ms / 1_000, color=colour, alpha=0.18, linewidth=0)
    axes.fill_between(at_s, -peaks, peaks, color=colour, linewidth=0)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylim(-0.55, 0.55)
    axes.set_ylabel("amplitude", fontsize=8)


def draw_spectrogram(axes: Axes, sound: Samples) -> None:
    """Level over time and frequency, 60 dB deep."""
    hop = WINDOW // 8
    starts = np.arange(0, len(sound) - WINDOW, hop)
    frames = np.stack([sound[start : start + WINDOW] for start in starts]) * np.hanning(WINDOW)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(frames, 4 * WINDOW)) + 1e-9).T
    axes.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=level_db.max() - 60,
        vmax=level_db.max(),
        extent=(WINDOW / 2 / RATE_HZ, (len(sound) - WINDOW / 2) / RATE_HZ, 0, RATE_HZ / 2_000),
    )
    axes.set_ylim(0, 4.2)
    axes.set_ylabel("kHz", fontsize=8)


def main(path: Path = PAGE) -> None:
    """Write the picture."""
    drawn = patterns()
    figure, rows = plt.subplots(len(drawn), 2, figsize=(11, 11), sharex=True, layout="constrained")
    for (title, colour, sound), (left, right) in zip(drawn, rows, strict=True):
        draw_envelope(left, sound, colour, title)
        draw_spectrogram(right, sound)
        for axes in (left, right):
            axes.set_xlim(0, 3.6)
            axes.tick_params(labelsize=8)
    for axes in rows[-1]:
        axes.set_xlabel("s", fontsize=8)
    figure.suptitle("SIMULATED alarm sounds: envelope with the pulses that are measured, and spectrogram", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    print(f"written: {path}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))

"""WAV files: ours, marked as simulated inside, and those that somebody recorded."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sounds.numbers import np, wavfile
from telemetry.sounds.synthesis import check_rate

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.sounds.numbers import Pcm, Samples

COMMENT = "SIMULATED alarm sound of itb-telemetry; not for clinical use"
MAX_CHECKED_MINUTES = 15
"""Holds dozens of bursts of any priority; as numbers at 48 kHz it is 0.35 GB."""
_FULL_SCALE = {"uint8": 128.0, "int16": 32_768.0, "int32": 2_147_483_648.0}


def write_wav(path: Path, sound: Pcm, rate_hz: int) -> None:
    """Write one channel of 16 bits, with ``COMMENT`` in the file; raises ``UsageError`` when it cannot be written."""
    check_rate(rate_hz)
    try:
        wavfile.write(path, rate_hz, sound)
        _add_comment(path)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written: {problem.strerror or problem}") from problem


def read_wav(path: Path) -> tuple[Samples, int]:
    """The louder channel of a recording, full scale 1.0, and its sample rate.

    Raises ``UsageError`` when the file cannot be read, is no PCM or float WAV, is empty, longer than
    ``MAX_CHECKED_MINUTES`` or has a sample rate outside what the checker is made for.
    """
    try:
        with warnings.catch_warnings():
            # A chunk that scipy does not know is of no interest; one that is cut off leaves the sound before it.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate_hz, raw = wavfile.read(path)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except Exception as problem:  # the reader of scipy fails in many ways on bytes that are no WAV file
        raise UsageError(f"{path}: no WAV file that can be read ({problem}); save it as PCM, 16 bits") from problem
    check_rate(int(rate_hz))
    frames = np.atleast_2d(raw.T).T
    if frames.size == 0:
        raise UsageError(f"{path}: holds no sound")
    if len(frames) > MAX_CHECKED_MINUTES * 60 * rate_hz:
        raise UsageError(f"{path}: longer than {MAX_CHECKED_MINUTES} min; cut out what is to be checked")
    sound = frames.astype(np.float64)
    kind = str(raw.dtype)
    if kind in _FULL_SCALE:
        sound = (sound - (128.0 if kind == "uint8" else 0.0)) / _FULL_SCALE[kind]
    if not np.isfinite(sound).all():
        raise UsageError(f"{path}: holds samples that are no numbers")
    loudest = int(np.argmax(np.square(sound - sound.mean(axis=0)).sum(axis=0)))
    return np.ascontiguousarray(sound[:, loudest]), int(rate_hz)


def _add_comment(path: Path) -> None:
    text = COMMENT.encode("ascii") + b"\0"
    text += b"\0" * (len(text) % 2)
    content = b"INFO" + b"ICMT" + struct.pack("<I", len(text)) + text
    with path.open("r+b") as file:
        file.seek(0, 2)
        if file.tell() % 2:
            file.write(b"\0")
        file.write(b"LIST" + struct.pack("<I", len(content)) + content)
        size = file.tell()
        file.seek(4)
        file.write(struct.pack("<I", size - 8))

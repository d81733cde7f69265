"""Sound that is made: bursts, pump tones, minutes of a pump's beeper, files."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from telemetry.alarm_table import TABLE, Tone
from telemetry.errors import UsageError
from telemetry.model import AlarmKind, AlarmPriority, PumpEvent
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.sounds.patterns import (
    MELODIES,
    STOCK_HARMONICS,
    Beeper,
    BurstPattern,
    melody_of,
    notes_hz,
    stock_burst,
)
from telemetry.sounds.pulses import find_pulses
from telemetry.sounds.requirements import RULES, Range, parse_priority
from telemetry.sounds.synthesis import burst, burst_train, pump_tone, to_pcm
from telemetry.sounds.timeline import PumpBurst, alternating_bursts, bursts_at, bursts_of, render
from telemetry.sounds.wav import COMMENT, read_wav, write_wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telemetry.sounds.numbers import Pcm

MINUTE = 60_000
HOUR = 60 * MINUTE
RATE = 8_000


def loud_spans_ms(sound: Pcm, rate_hz: int = RATE) -> list[tuple[int, int]]:
    """Where there is sound, to 50 ms."""
    step = rate_hz // 20
    frames = np.abs(sound[: len(sound) // step * step].astype(np.int64)).reshape(-1, step).max(axis=1) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frames.astype(int), [0]])))
    return [(int(first) * 50, int(last) * 50) for first, last in edges.reshape(-1, 2)]


# --- patterns --------------------------------------------------------------------------------------------------------


def test_a_high_burst_is_five_and_five_with_its_pauses() -> None:
    pattern = stock_burst(AlarmPriority.HIGH)
    assert pattern.gaps_ms == (90, 90, 320, 90, 600, 90, 90, 320, 90)
    assert pattern.length_ms == 10 * 140 + sum(pattern.gaps_ms)
    assert pattern.period_ms == pattern.length_ms + 4_000


@pytest.mark.parametrize("priority", list(AlarmPriority))
def test_stock_bursts_lie_inside_the_ranges(priority: AlarmPriority) -> None:
    pattern, rules = stock_burst(priority), RULES[priority]
    assert rules.pulses.holds(len(pattern.pitches_hz))
    assert rules.pulse_ms.holds(pattern.pulse_ms)
    assert rules.spacing_ms.holds(pattern.spacing_ms)
    assert rules.interval_ms.holds(pattern.interval_ms or 0)
    assert rules.group_gap_ms is None or rules.group_gap_ms.holds(pattern.group_gap_ms or 0)


MEDIUM = stock_burst(AlarmPriority.MEDIUM)


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda: replace(MEDIUM, pitches_hz=()), "0 pitches and 3 levels"),
        (lambda: replace(MEDIUM, levels_db=(0.0,)), "3 pitches and 1 levels"),
        (lambda: replace(MEDIUM, pulse_ms=0), "pulse_ms: 0 is below 1 ms"),
        (lambda: replace(MEDIUM, rise_ms=120), r"120 is more than 4/9 of the shortest spacing \(190 ms\)"),
        (lambda: replace(MEDIUM, own_gaps_ms=(5,)), "1 gaps for 3 pulses"),
        (lambda: replace(MEDIUM, priority=AlarmPriority.HIGH), "a high burst has a gap between its two groups"),
    ],
    ids=["no pitch", "one level", "no length", "slow", "gaps", "no group gap"],
)
def test_a_burst_that_cannot_sound_is_refused_with_the_reason(attempt: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attempt()


def test_melodies_are_known_at_any_pitch_and_nothing_else_is() -> None:
    high = notes_hz(MELODIES[AlarmPriority.HIGH])
    assert melody_of(tuple(1.3 * hz for hz in (*high, *high))) == "C d g – C d"
    assert melody_of(notes_hz("C d g")) == "C d g"
    assert melody_of(notes_hz("c d g")) is None
    assert melody_of(notes_hz("C d g C")) is None
    with pytest.raises(UsageError, match="'C x' is not made of the notes"):
        notes_hz("C x")


@pytest.mark.parametrize(
    ("allowed", "text"),
    [
        (Range(150, 1000, "Hz", "B"), "150 – 1000 Hz"),
        (Range(10, 10, "", "C"), "10"),
        (Range(None, 10, "dB", "C"), "≤ 10 dB"),
        (Range(4, None, "", "B"), "≥ 4"),
        (Range(None, None, "", "C"), "any"),
    ],
)
def test_ranges_read_as_people_write_them(allowed: Range, text: str) -> None:
    assert str(allowed) == text


def test_a_range_holds_its_ends_and_its_slack() -> None:
    allowed = Range(10, 20, "ms", "C")
    assert [allowed.holds(value) for value in (9.9, 10, 20, 20.1)] == [False, True, True, False]
    assert allowed.holds(8, slack=2)
    with pytest.raises(UsageError, match="priority: 'urgent' is none; one of: low, medium, high"):
        parse_priority("urgent")


# --- synthesis -------------------------------------------------------------------------------------------------------


def test_nothing_peaks_above_half_of_full_scale() -> None:
    sound = burst(replace(stock_burst(AlarmPriority.MEDIUM), levels_db=(-12.0, -6.0, -3.0)))
    assert 0.25 < float(np.abs(sound).max()) <= 0.5


def test_a_train_repeats_at_its_period_and_holds_whole_bursts_only() -> None:
    pattern = stock_burst(AlarmPriority.MEDIUM)
    pulses = find_pulses(burst_train(pattern, 20_000, 16_000).astype(np.float64) / 32_768, 16_000).pulses
    starts = [pulse.start_ms for pulse in pulses]
    period_ms = pattern.period_ms or 0
    assert len(pulses) == 9
    assert [round(later - earlier) for earlier, later in zip(starts, starts[3:], strict=False)] == [period_ms] * 6


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (lambda: burst_train(stock_burst(AlarmPriority.HIGH), 1_000), "1000 is too short for one burst; at least"),
        (lambda: burst_train(stock_burst(AlarmPriority.HIGH), 121 * MINUTE), "lies outside 1 ms to 120 min"),
        (lambda: burst(stock_burst(AlarmPriority.HIGH), 96_000), "rate_hz: 96000 lies outside 8000 to 48000"),
        (
            lambda: burst(replace(stock_burst(AlarmPriority.LOW), pitches_hz=(900.0,) * 2), 8_000),
            "no component of 5400 Hz",
        ),
        (
            lambda: pump_tone(Tone.SINGLE, 10, Beeper(single_hz=4_000), 8_000),
            "no component of 4000 Hz; take at least 8889",
        ),
    ],
)
def test_what_cannot_be_sounded_is_refused_with_the_reason(attempt: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attempt()


def test_a_single_tone_has_one_pitch_and_a_two_tone_burst_two() -> None:
    beeper = Beeper(single_hz=1_000, two_tone_hz=(900, 1_300), alternation_ms=500)

    def pitch(sound: np.ndarray) -> float:
        return float(np.fft.rfftfreq(len(sound), 1 / RATE)[np.argmax(np.abs(np.fft.rfft(sound)))])

    single = pump_tone(Tone.SINGLE, 1_000, beeper, RATE)
    assert pitch(single) == pytest.approx(1_000, abs=2)
    two_tone = pump_tone(Tone.TWO_TONE, 3_000, beeper, RATE).reshape(6, -1)
    assert [round(pitch(part), -1) for part in two_tone] == [900, 1_300] * 3
    assert not pump_tone(Tone.NONE, 1_000, beeper, RATE).any()


# --- the pump's beeper over time -------------------------------------------------------------------------------------


def test_bursts_begin_with_the_alarm_and_repeat_until_it_is_over() -> None:
    events = [
        PumpEvent(5_000, "alarm_raised", "motor_stall"),
        PumpEvent(6_000, "stall_detected"),
        PumpEvent(5_000 + 25 * MINUTE, "alarm_cleared", "motor_stall"),
    ]
    found = bursts_of(events, from_ms=0, to_ms=10 * HOUR)
    assert [one.at_ms for one in found] == [5_000, 5_000 + 10 * MINUTE, 5_000 + 20 * MINUTE]
    assert {(one.kind, one.tone, one.length_ms) for one in found} == {(AlarmKind.MOTOR_STALL, Tone.TWO_TONE, 3_000)}


def test_silence_acknowledgement_and_switching_off_are_heard_as_silence() -> None:
    kind = "low_reservoir"
    steps = [
        (0, "alarm_raised"),
        (90, "alarm_silenced"),
        (200, "alarm_rearmed"),
        (230, "alarm_acknowledged"),
        (300, "alarm_raised"),
        (310, "alarm_disabled"),
        (500, "alarm_enabled"),
        (510, "alarm_cleared"),
    ]
    events = [PumpEvent(minute * MINUTE, event, kind) for minute, event in steps]
    found = bursts_of(events, from_ms=0, to_ms=10 * HOUR)
    assert [one.at_ms // MINUTE for one in found] == [0, 60, 200, 300, 500]


def test_a_dead_beeper_says_nothing_from_when_it_died() -> None:
    events = [PumpEvent(0, "alarm_raised", "end_of_service")]
    found = bursts_of(events, from_ms=0, to_ms=HOUR, dead_from_ms=15 * MINUTE)
    assert [one.at_ms for one in found] == [0, 10 * MINUTE]
    sound = render(found, start_ms=0, duration_ms=MINUTE, rate_hz=RATE, beeper_works=False)
    assert not sound.any()
    assert len(sound) == 60 * RATE


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5 * HOUR),
            st.sampled_from(["raised", "latched", "silenced", "acknowledged", "rearmed", "cleared"]),
            st.sampled_from([AlarmKind.LOW_RESERVOIR, AlarmKind.MOTOR_STALL]),
        ),
        max_size=8,
    ),
    st.integers(0, 6 * HOUR),
)
def test_cutting_time_changes_no_burst(steps: list[tuple[int, str, AlarmKind]], cut_ms: int) -> None:
    events = [PumpEvent(at_ms, f"alarm_{what}", kind) for at_ms, what, kind in sorted(steps, key=lambda one: one[0])]
    whole = bursts_of(events, from_ms=0, to_ms=6 * HOUR)
    parts = bursts_of(events, from_ms=0, to_ms=cut_ms) + bursts_of(events, from_ms=cut_ms, to_ms=6 * HOUR)
    assert parts == whole


def test_the_tones_of_a_pump_are_those_that_it_counts_itself() -> None:
    pump = VirtualPump()
    events = pump.advance(days=400)
    counted = dict.fromkeys(AlarmKind, 0)
    for one in bursts_of(events, from_ms=0, to_ms=pump.now_ms):
        counted[one.kind] += 1
    alarms = pump.device.core.alarms
    assert counted == {kind: alarms.bursts(kind, pump.now_ms) for kind in AlarmKind}
    assert counted[AlarmKind.LOW_RESERVOIR] > 100
    assert counted[AlarmKind.EMPTY_RESERVOIR] > 1_000


def test_tones_come_at_their_instants() -> None:
    tones = bursts_at([(65_000, AlarmKind.EMPTY_RESERVOIR), (10_000, AlarmKind.LOW_RESERVOIR)])
    sound = render(tones, start_ms=5_000, duration_ms=2 * MINUTE, rate_hz=RATE)
    assert loud_spans_ms(sound) == [(5_000, 6_000), (60_000, 63_000)]


def test_a_burst_is_heard_in_part_where_the_recording_cuts_it() -> None:
    tones = bursts_at([(0, AlarmKind.EMPTY_RESERVOIR), (10_000, AlarmKind.EMPTY_RESERVOIR)])
    sound = render(tones, start_ms=2_000, duration_ms=9_000, rate_hz=RATE)
    assert loud_spans_ms(sound) == [(0, 1_000), (8_000, 9_000)]


def test_of_two_at_once_the_critical_one_is_heard() -> None:
    critical = bursts_at([(1_000, AlarmKind.EMPTY_RESERVOIR)])
    both = bursts_at([(1_000, AlarmKind.EMPTY_RESERVOIR), (1_500, AlarmKind.LOW_RESERVOIR)])
    alone = render(critical, start_ms=0, duration_ms=6_000, rate_hz=RATE)
    assert np.array_equal(render(both, start_ms=0, duration_ms=6_000, rate_hz=RATE), alone)


def test_the_other_makers_pattern_goes_between_single_and_double_tones() -> None:
    kind = AlarmKind.LOW_RESERVOIR
    found = alternating_bursts(kind, since_ms=7, from_ms=7, to_ms=7 + 40 * MINUTE)
    assert len(found) == 160
    assert found[0] == PumpBurst(7, kind, Tone.SINGLE, 1_000)
    assert [found[index].tone for index in (39, 40, 79, 80)] == [Tone.SINGLE, Tone.TWO_TONE, Tone.TWO_TONE, Tone.SINGLE]
    later = alternating_bursts(kind, since_ms=7, from_ms=7 + 20 * MINUTE, to_ms=7 + 40 * MINUTE)
    assert later == found[80:]


def test_every_kind_of_the_pump_can_be_heard() -> None:
    for kind in AlarmKind:
        [one] = bursts_at([(0, kind)])
        assert render([one], start_ms=0, duration_ms=4_000, rate_hz=RATE).any()
        assert one.length_ms == TABLE[kind].burst_ms


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_says_inside_that_it_is_simulated_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    sound = to_pcm(pump_tone(Tone.SINGLE, 1_000, Beeper(), 16_000))
    write_wav(path, sound, 16_000)
    content = path.read_bytes()
    assert COMMENT.encode() in content
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    back, rate_hz = read_wav(path)
    assert rate_hz == 16_000
    assert np.array_equal(np.round(back * 32_768).astype(np.int16), sound)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_every_width_of_sample_is_read_to_the_same_scale(tmp_path: Path, kind: str) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    scaled = {
        "uint8": (128 + 127 * wave).astype(np.uint8),
        "int16": (32_767 * wave).astype(np.int16),
        "int32": (2_147_483_647 * wave).astype(np.int32),
        "float32": wave.astype(np.float32),
    }[kind]
    wavfile.write(tmp_path / "x.wav", 16_000, scaled)
    back, _ = read_wav(tmp_path / "x.wav")
    assert back == pytest.approx(wave, abs=0.02)


def test_of_two_channels_the_louder_one_is_taken(tmp_path: Path) -> None:
    wave = (10_000 * np.sin(np.arange(16_000) / 5)).astype(np.int16)
    offset = np.full(16_000, 20_000, dtype=np.int16)  # loud in number, silent to the ear
    wavfile.write(tmp_path / "x.wav", 16_000, np.stack([offset, wave], axis=1))
    back, _ = read_wav(tmp_path / "x.wav")
    assert np.array_equal(np.round(back * 32_768).astype(np.int16), wave)


def test_files_that_cannot_be_checked_are_refused_with_the_reason(tmp_path: Path) -> None:
    def refused(content: bytes | np.ndarray, rate_hz: int = 16_000) -> str:
        path = tmp_path / "x.wav"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            wavfile.write(path, rate_hz, content)
        with pytest.raises(UsageError) as caught:
            read_wav(path)
        return str(caught.value)

    assert "no WAV file" in refused(b"")
    assert "no WAV file" in refused(b"RIFF\x04\x00\x00\x00WAVE")
    assert "no WAV file" in refused(b"ID3 this is something else entirely")
    assert "holds no sound" in refused(np.zeros(0, dtype=np.int16))
    assert "lies outside 8000 to 48000" in refused(np.zeros(100, dtype=np.int16), 96_000)
    assert "longer than 15 min" in refused(np.zeros(901 * 8_000, dtype=np.int16), 8_000)
    assert "no numbers" in refused(np.full(100, np.nan, dtype=np.float32))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(UsageError, match="cannot be written: "):
        write_wav(tmp_path / "none" / "x.wav", np.zeros(1, dtype=np.int16), 16_000)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(b"RIFF" + content)
    with pytest.raises(UsageError):
        read_wav(path)


# --- without the extra -----------------------------------------------------------------------------------------------

BLOCKED = """
import sys
sys.modules["{missing}"] = None
import telemetry.sounds.patterns, telemetry.alarm_table, telemetry.programmer.annunciation
from telemetry.errors import UsageError
try:
    import telemetry.sounds.checker
except UsageError as problem:
    print(problem)
"""


@pytest.mark.real
@pytest.mark.parametrize("missing", ["numpy", "scipy"])
def test_without_the_extra_patterns_are_there_and_sounds_say_what_to_install(missing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(missing=missing)], capture_output=True, text=True, check=True, timeout=20
    )
    assert "pip install 'itb-telemetry[report]'" in done.stdout


def test_stock_harmonics_are_four_or_more() -> None:
    assert len(STOCK_HARMONICS) >= 4
    assert isinstance(stock_burst(AlarmPriority.LOW), BurstPattern)

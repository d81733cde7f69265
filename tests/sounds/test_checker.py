"""The checker: what is right passes over the whole of what is allowed, and each fault is named by its requirement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import AlarmPriority
from telemetry.sounds.checker import Outcome, check
from telemetry.sounds.judging import Finding, Judgement
from telemetry.sounds.patterns import MELODIES, STOCK_HARMONICS, BurstPattern, Harmonic, stock_burst
from telemetry.sounds.requirements import RULES
from tests.sounds.recordings import recorded, with_noise

if TYPE_CHECKING:
    from telemetry.sounds.checker import CheckReport

HIGH, MEDIUM, LOW = (stock_burst(one) for one in (AlarmPriority.HIGH, AlarmPriority.MEDIUM, AlarmPriority.LOW))
SECONDS = {AlarmPriority.HIGH: 16, AlarmPriority.MEDIUM: 20, AlarmPriority.LOW: 45}
NOISES = pytest.mark.parametrize("snr_db", [None, 20.0], ids=["silent room", "20 dB"])


def finding(report: CheckReport, name: str) -> Finding:
    return next(one for one in report.findings if one.name == name)


# --- what is right ---------------------------------------------------------------------------------------------------


@NOISES
@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("priority", list(AlarmPriority))
def test_our_own_signals_pass_and_are_recognised(priority: AlarmPriority, rate_hz: int, snr_db: float | None) -> None:
    pattern = stock_burst(priority)
    report = check(recorded(pattern, SECONDS[priority] * 1_000, rate_hz, snr_db=snr_db), rate_hz)
    assert (report.outcome, report.priority, report.failed) == (Outcome.PASSED, priority, ())
    assert report.melody == MELODIES[priority]


def test_measures_are_those_that_were_played() -> None:
    report = check(recorded(HIGH, 16_000), 16_000)
    expected = {
        "pulse_length": (140, 1),
        "spacing": (90, 1),
        "group_gap": (600, 1),
        "interval": (4_000, 1),
        "rise": (20, 1),
        "amplitude_spread": (0, 0.2),
        "harmonic_level": (-3, 0.2),
    }
    for name, (value, tolerance) in expected.items():
        found = finding(report, name)
        assert found.least == pytest.approx(value, abs=tolerance), name
        assert found.most == pytest.approx(value, abs=tolerance), name
    fundamental = finding(report, "fundamental")
    assert fundamental.least == pytest.approx(293.66, abs=0.2)
    assert fundamental.most == pytest.approx(523.25, abs=0.2)


@pytest.mark.parametrize("priority", list(AlarmPriority))
def test_a_recording_on_one_pitch_has_no_melody(priority: AlarmPriority) -> None:
    report = check(recorded(stock_burst(priority, melody=False), SECONDS[priority] * 1_000), 16_000)
    assert (report.outcome, report.melody) == (Outcome.PASSED, None)


def test_a_recording_that_begins_and_ends_within_a_burst_is_judged_by_its_whole_bursts() -> None:
    sound = recorded(HIGH, 40_000)
    onset = int(0.5 * 16_000)
    cut = sound[onset + 6_000 : onset + 6_000 + int(3.1 * 16_000 * HIGH.period_ms / 1_000)]  # type: ignore[operator]  # it repeats
    report = check(cut, 16_000)
    assert report.outcome is Outcome.PASSED
    assert report.cut_off_bursts == 2


@st.composite
def allowed(draw: st.DrawFn) -> tuple[BurstPattern, int]:
    """Any pattern inside every range, and a sample rate that can show four components."""
    priority = draw(st.sampled_from(list(AlarmPriority)))
    rules = RULES[priority]
    rate_hz = draw(st.sampled_from([8_000, 11_025, 16_000, 22_050]))
    pulse_ms = draw(st.integers(int(rules.pulse_ms.least or 0), int(rules.pulse_ms.most or 0)))
    spacing_ms = draw(st.integers(int(rules.spacing_ms.least or 0), int(rules.spacing_ms.most or 0)))
    least_rise_ms = -(-pulse_ms // 10)
    rise_ms = draw(st.integers(least_rise_ms, max(least_rise_ms, min(pulse_ms * 4 // 10, spacing_ms * 4 // 9))))
    count = {AlarmPriority.HIGH: 10, AlarmPriority.MEDIUM: 3, AlarmPriority.LOW: draw(st.integers(1, 2))}[priority]
    highest_hz = min(1_000.0, 0.44 * rate_hz / 5)
    pitches = draw(st.lists(st.floats(150, highest_hz), min_size=count, max_size=count))
    levels = draw(st.lists(st.floats(-9, 0), min_size=count, max_size=count))
    harmonics = tuple(Harmonic(number, draw(st.floats(-12, 12))) for number in range(2, 6))
    high = priority is AlarmPriority.HIGH
    pattern = BurstPattern(
        priority,
        pulse_ms,
        spacing_ms,
        rise_ms,
        tuple(pitches),
        tuple(levels),
        harmonics,
        group_gap_ms=draw(st.integers(350, 1_300)) if high else None,
        interval_ms=15_500 if priority is AlarmPriority.LOW else draw(st.integers(2_500, 6_000)),
    )
    return pattern, rate_hz


@settings(max_examples=40)
@given(allowed())
def test_whatever_is_allowed_passes(drawn: tuple[BurstPattern, int]) -> None:
    pattern, rate_hz = drawn
    duration_ms = 1_500 + 2 * (pattern.period_ms or 0)
    for snr_db in (None, 20.0):
        report = check(recorded(pattern, duration_ms, rate_hz, snr_db=snr_db), rate_hz, expect=pattern.priority)
        assert report.failed == ()
        assert report.outcome is Outcome.PASSED
        # The slack is what measuring is really wrong by: what was played lies within it.
        played = {
            "pulse_length": (pattern.pulse_ms, report.slack.time_ms),
            "interval": (pattern.interval_ms or 0, report.slack.time_ms),
            "rise": (100 * pattern.rise_ms / pattern.pulse_ms, report.slack.rise_percent),
        }
        for name, (value, slack) in played.items():
            found = finding(report, name)
            assert value - slack <= (found.least or 0)
            assert (found.most or 0) <= value + slack


# --- what is spoilt --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoilt:
    name: str
    pattern: BurstPattern
    requirement: str
    seconds: int = 20


def pulses(pattern: BurstPattern, count: int) -> BurstPattern:
    return replace(pattern, pitches_hz=(400.0,) * count, levels_db=(0.0,) * count)


def on(pattern: BurstPattern, pitch_hz: float) -> BurstPattern:
    return replace(pattern, pitches_hz=(pitch_hz,) * len(pattern.pitches_hz), harmonics=STOCK_HARMONICS[:3])


WITHOUT_PAUSES = tuple(600 if after == 5 else 90 for after in range(1, 10))
UNEVEN = tuple(600 if after == 5 else 310 if after in {3, 8} else 55 if after < 5 else 120 for after in range(1, 10))
WEAK = tuple(Harmonic(number, -24.0) for number in range(2, 7))
SPOILT = [
    Spoilt("one pulse too many", pulses(MEDIUM, 4), "pulses"),
    Spoilt("one pulse missing of a high burst", pulses(HIGH, 9), "pulses"),
    Spoilt("four pulses of low priority", pulses(LOW, 4), "pulses", 45),
    Spoilt("pulses too long", replace(MEDIUM, pulse_ms=300), "pulse_length"),
    Spoilt("pulses too short", replace(HIGH, pulse_ms=55, rise_ms=12), "pulse_length"),
    Spoilt("spacing too wide", replace(MEDIUM, spacing_ms=300), "spacing"),
    Spoilt("spacing too narrow", replace(MEDIUM, spacing_ms=100), "spacing"),
    Spoilt("spacing of a high burst too wide", replace(HIGH, spacing_ms=150), "spacing"),
    Spoilt("uneven spacing", replace(HIGH, rise_ms=22, own_gaps_ms=UNEVEN), "spacing_evenness"),
    Spoilt("no pause between third and fourth", replace(HIGH, own_gaps_ms=WITHOUT_PAUSES), "double_spacing"),
    Spoilt("groups too close", replace(HIGH, group_gap_ms=200), "group_gap"),
    Spoilt("groups too far apart", replace(HIGH, group_gap_ms=1_900), "group_gap", 30),
    Spoilt("high bursts too often", replace(HIGH, interval_ms=1_500), "interval"),
    Spoilt("high bursts too seldom", replace(HIGH, interval_ms=20_000), "interval", 50),
    Spoilt("medium bursts too often", replace(MEDIUM, interval_ms=1_200), "interval"),
    Spoilt("low bursts too often", replace(LOW, interval_ms=10_000), "interval", 35),
    Spoilt("pulses that click on", replace(MEDIUM, rise_ms=2), "rise"),
    Spoilt("pulses that swell", replace(MEDIUM, spacing_ms=240, rise_ms=100), "rise"),
    Spoilt("one pulse much softer", replace(MEDIUM, levels_db=(0.0, -14.0, 0.0)), "amplitude_spread"),
    Spoilt("too deep", on(MEDIUM, 120.0), "fundamental"),
    Spoilt("too shrill", on(HIGH, 1_200.0), "fundamental"),
    Spoilt("too few harmonics", replace(MEDIUM, harmonics=STOCK_HARMONICS[:2]), "harmonics"),
    Spoilt("harmonics too weak", replace(MEDIUM, harmonics=WEAK), "harmonics"),
    Spoilt("a pure tone", replace(HIGH, harmonics=()), "harmonics"),
    Spoilt(
        "an overtone that drowns the fundamental",
        replace(MEDIUM, harmonics=(Harmonic(2, 20.0), *STOCK_HARMONICS[1:])),
        "harmonic_level",
    ),
]


@NOISES
@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: spoilt.name)
def test_each_fault_is_named_by_its_requirement(spoilt: Spoilt, snr_db: float | None) -> None:
    sound = recorded(spoilt.pattern, spoilt.seconds * 1_000, 16_000, snr_db=snr_db)
    report = check(sound, 16_000, expect=spoilt.pattern.priority)
    assert report.outcome is Outcome.FAILED
    assert spoilt.requirement in report.failed
    # A pitch out of range takes components out of the band with it; else one fault is one finding.
    assert set(report.failed) <= {spoilt.requirement, *(("harmonics",) if spoilt.requirement == "fundamental" else ())}


def test_a_spoilt_pattern_passes_as_nothing_else() -> None:
    passed = [
        spoilt.name
        for spoilt in SPOILT
        if check(recorded(spoilt.pattern, spoilt.seconds * 1_000), 16_000).outcome is Outcome.PASSED
    ]
    assert passed == []


@pytest.mark.parametrize("played", list(AlarmPriority))
@pytest.mark.parametrize("expected", list(AlarmPriority))
def test_one_priority_is_not_taken_for_another(played: AlarmPriority, expected: AlarmPriority) -> None:
    sound = recorded(stock_burst(played), SECONDS[played] * 1_000)
    assert (check(sound, 16_000, expect=expected).outcome is Outcome.PASSED) == (played is expected)


# --- what a recording cannot show ------------------------------------------------------------------------------------


def test_one_burst_alone_does_not_show_the_interval() -> None:
    report = check(recorded(HIGH, 4_000), 16_000)
    assert report.outcome is Outcome.INCOMPLETE
    assert finding(report, "interval").verdict is Judgement.NOT_MEASURED
    assert "at least two" in finding(report, "interval").note


def test_a_low_signal_may_sound_once_if_the_silence_is_recorded() -> None:
    once = replace(LOW, interval_ms=None)
    assert check(recorded(once, 20_000), 16_000).outcome is Outcome.PASSED
    short = check(recorded(once, 10_000), 16_000, expect=AlarmPriority.LOW)
    assert short.outcome is Outcome.INCOMPLETE
    assert "15 s" in finding(short, "interval").note


def test_a_low_sample_rate_hides_components_and_says_so() -> None:
    shrill = replace(MEDIUM, pitches_hz=(950.0,) * 3, harmonics=STOCK_HARMONICS[:3])
    full = check(recorded(shrill, 20_000, 16_000), 16_000)
    assert full.outcome is Outcome.PASSED
    halved = recorded(replace(shrill, harmonics=STOCK_HARMONICS[:2]), 20_000, 8_000)
    report = check(halved, 8_000)
    assert report.outcome is Outcome.INCOMPLETE
    assert "record with at least 16000" in finding(report, "harmonics").note


def test_hum_a_hiss_and_an_offset_do_not_matter() -> None:
    sound = recorded(HIGH, 16_000)
    at_s = np.arange(len(sound)) / 16_000
    hummed = with_noise(sound + 0.05 * np.sin(2 * np.pi * 50 * at_s) + 0.2, 25.0)
    report = check(hummed, 16_000)
    assert (report.outcome, report.failed) == (Outcome.PASSED, ())


@pytest.mark.parametrize(
    ("sound", "rate_hz", "says"),
    [
        (np.zeros(16_000), 16_000, "silent throughout"),
        (np.ones(16_000), 16_000, "silent throughout"),
        (np.ones(100), 16_000, "too short to hold a pulse"),
        (np.ones(16_000), 4_000, "rate_hz: 4000 lies outside 8000 to 48000"),
        (np.random.default_rng(1).normal(0, 0.1, 160_000), 16_000, "no pulse stands out"),
    ],
    ids=["silence", "offset", "short", "rate", "noise"],
)
def test_what_holds_no_signal_is_refused_with_the_reason(sound: np.ndarray, rate_hz: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(sound, rate_hz)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([8_000, 16_000]), st.integers(200, 20_000))
def test_whatever_the_bytes_are_there_is_a_report_or_a_reason(seed: int, rate_hz: int, length: int) -> None:
    random = np.random.default_rng(seed)
    gate = np.repeat(random.integers(0, 2, 1 + length // 100), 100)[:length]
    sound = gate * random.normal(0, 1, length) + 0.01 * random.normal(0, 1, length)
    try:
        report = check(sound, rate_hz)
    except UsageError as refused:
        assert str(refused)  # noqa: PT017 - either way is right; what may not happen is anything else
    else:
        assert report.outcome is not Outcome.PASSED

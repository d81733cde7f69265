"""Requirement by requirement: what was measured, what is allowed, and whether that is met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from statistics import fmean as mean
from typing import TYPE_CHECKING

from telemetry.sounds import requirements as rq
from telemetry.sounds.spectrum import top_hz

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telemetry.sounds.grouping import Bursts
    from telemetry.sounds.pulses import Pulse, Recording
    from telemetry.sounds.spectrum import Pitch

LEVEL_SLACK_DB = 1.0
PITCH_SLACK_HZ = 2.0
DOUBLE_SLACK_PERCENT = 2.0
_GROUP = 5
_DOUBLE_AFTER = 3
_ENOUGH_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Slack:
    """What measuring may be wrong by: more the louder the noise is beside the signal. Measured in the tests."""

    time_ms: float
    rise_percent: float

    @classmethod
    def of(cls, signal_to_noise_db: float | None) -> Slack:
        """At 20 dB about 8 ms and 7 % of a pulse, which is what a pulse 9 dB softer than the others needs."""
        noise = 0.0 if signal_to_noise_db is None else 10 ** (-signal_to_noise_db / 20)
        return cls(2.0 + 60.0 * noise, 2.0 + 50.0 * noise)


class Judgement(StrEnum):
    """Whether a requirement is met."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """One requirement. ``least`` to ``most`` is what was measured, in the unit of ``allowed``; None: nothing was.

    ``note`` says why, or what to do.
    """

    name: str
    what: str
    verdict: Judgement
    least: float | None
    most: float | None
    allowed: rq.Range
    note: str = ""


def judge_bursts(recording: Recording, grouped: Bursts, rules: rq.BurstRules) -> tuple[Finding, ...]:
    """Every requirement of a priority, in the order of the standard's tables."""
    bursts = grouped.bursts
    slack = Slack.of(recording.signal_to_noise_db)
    pulses = [pulse for burst in bursts for pulse in burst]
    complete = [burst for burst in bursts if rules.pulses.holds(len(burst))]
    return (
        _within("pulses", "number of pulses in a burst", [len(burst) for burst in bursts], rules.pulses),
        _within(
            "pulse_length",
            "length of a pulse, t_d",
            [pulse.length_ms for pulse in pulses],
            rules.pulse_ms,
            slack.time_ms,
        ),
        *_spacings(bursts, complete, rules, slack),
        _interval(recording, grouped, rules, slack),
        _within(
            "rise",
            "rise of a pulse, 10 % to 90 %",
            [100 * pulse.rise_ms / pulse.length_ms for pulse in pulses],
            rq.RISE_PERCENT,
            slack.rise_percent,
        ),
        _within(
            "amplitude_spread",
            "level of the loudest over the softest pulse of a burst",
            _spreads(bursts),
            rq.AMPLITUDE_SPREAD_DB,
            LEVEL_SLACK_DB,
        ),
        *_spectrum(pulses, recording.rate_hz),
    )


def _within(name: str, what: str, values: Sequence[float], allowed: rq.Range, slack: float = 0.0) -> Finding:
    met = all(allowed.holds(value, slack) for value in values)
    return Finding(name, what, Judgement.PASSED if met else Judgement.FAILED, min(values), max(values), allowed)


def _unmeasured(name: str, what: str, allowed: rq.Range, note: str) -> Finding:
    return Finding(name, what, Judgement.NOT_MEASURED, None, None, allowed, note)


def _gaps_ms(burst: tuple[Pulse, ...]) -> list[float]:
    return [later.start_ms - earlier.end_ms for earlier, later in pairwise(burst)]


def _spacings(
    bursts: tuple[tuple[Pulse, ...], ...], complete: list[tuple[Pulse, ...]], rules: rq.BurstRules, slack: Slack
) -> Iterable[Finding]:
    if rules.group_gap_ms is not None:
        yield from _spacings_of_groups(complete, rules, rules.group_gap_ms, slack)
        return
    gaps_ms = [_gaps_ms(burst) for burst in bursts if len(burst) > 1]
    if gaps_ms:
        every_ms = [gap_ms for burst in gaps_ms for gap_ms in burst]
        yield _within("spacing", "spacing of pulses, y", every_ms, rules.spacing_ms, slack.time_ms)
        yield _evenness(gaps_ms, slack)


def _spacings_of_groups(
    bursts: list[tuple[Pulse, ...]], rules: rq.BurstRules, group_gap_ms: rq.Range, slack: Slack
) -> Iterable[Finding]:
    """Of bursts of 3 + 2 and 3 + 2 pulses: which spacing is which is known only when the number of pulses is right."""
    single = ("spacing", "spacing of pulses, x")
    double = ("double_spacing", "excess of spacings 3-4 and 8-9 over 2x + t_d")
    gap = ("group_gap", "gap between the two groups, 5-6")
    if not bursts:
        note = "which spacing is which shows only with the right number of pulses"
        yield _unmeasured(*single, rules.spacing_ms, note)
        yield _unmeasured(*double, rq.DOUBLE_SPACING_PERCENT, note)
        yield _unmeasured(*gap, group_gap_ms, note)
        return
    singles_ms: list[list[float]] = []
    doubles_percent: list[float] = []
    middles_ms: list[float] = []
    for burst in bursts:
        numbered = list(enumerate(_gaps_ms(burst), start=1))
        alike_ms = [gap_ms for after, gap_ms in numbered if after % _GROUP not in {0, _DOUBLE_AFTER}]
        wanted_ms = 2 * mean(alike_ms) + mean(pulse.length_ms for pulse in burst)
        singles_ms.append(alike_ms)
        doubles_percent += [
            100 * (gap_ms / wanted_ms - 1) for after, gap_ms in numbered if after % _GROUP == _DOUBLE_AFTER
        ]
        middles_ms += [gap_ms for after, gap_ms in numbered if after % _GROUP == 0]
    yield _within(*single, [gap_ms for alike_ms in singles_ms for gap_ms in alike_ms], rules.spacing_ms, slack.time_ms)
    yield _evenness(singles_ms, slack)
    yield _within(*double, doubles_percent, rq.DOUBLE_SPACING_PERCENT, DOUBLE_SLACK_PERCENT)
    yield _within(*gap, middles_ms, group_gap_ms, slack.time_ms)


def _evenness(bursts: list[list[float]], slack: Slack) -> Finding:
    """How far the spacings of one burst are from their mean; what measuring adds to a short one is taken off."""
    worst = [
        100 * max(max(0.0, abs(gap_ms - mean(gaps_ms)) - slack.time_ms) for gap_ms in gaps_ms) / mean(gaps_ms)
        for gaps_ms in bursts
    ]
    return _within("spacing_evenness", "distance of a burst's spacings from their mean", worst, rq.EVENNESS_PERCENT)


def _interval(recording: Recording, grouped: Bursts, rules: rq.BurstRules, slack: Slack) -> Finding:
    name, what = "interval", "silence between bursts"
    if grouped.intervals_ms:
        return _within(name, what, grouped.intervals_ms, rules.interval_ms, slack.time_ms)
    if rules.repeats:
        return _unmeasured(name, what, rules.interval_ms, "one burst only: record at least two")
    silent_ms = recording.length_ms - grouped.bursts[-1][-1].end_ms
    if rules.interval_ms.holds(silent_ms):
        note = f"no repeat within {silent_ms / 1_000:.0f} s"
        return Finding(name, what, Judgement.PASSED, None, None, rules.interval_ms, note)
    return _unmeasured(name, what, rules.interval_ms, "one burst only: record on for 15 s after it")


def _spreads(bursts: tuple[tuple[Pulse, ...], ...]) -> list[float]:
    return [max(pulse.level_db for pulse in burst) - min(pulse.level_db for pulse in burst) for burst in bursts]


def _spectrum(pulses: list[Pulse], rate_hz: int) -> Iterable[Finding]:
    pitches = [pulse.pitch for pulse in pulses if pulse.pitch is not None]
    fundamental = ("fundamental", "fundamental of a pulse")
    if len(pitches) < len(pulses):
        note = f"{len(pulses) - len(pitches)} of {len(pulses)} pulses have no pitch"
        yield Finding(*fundamental, Judgement.FAILED, None, None, rq.FUNDAMENTAL_HZ, note)
        return
    yield _within(*fundamental, [pitch.hz for pitch in pitches], rq.FUNDAMENTAL_HZ, PITCH_SLACK_HZ)
    loudest = rq.Range(None, rq.HARMONIC_LEVEL_DB.most, "dB", rq.HARMONIC_LEVEL_DB.mark)
    yield _harmonics(pitches, rate_hz)
    yield _within(
        "harmonic_level",
        "level of the loudest component over the fundamental",
        [max((part.level_db for part in pitch.components if part.number > 1), default=0.0) for pitch in pitches],
        loudest,
        LEVEL_SLACK_DB,
    )


def _harmonics(pitches: list[Pitch], rate_hz: int) -> Finding:
    counts = [
        sum(
            rq.HARMONIC_BAND_HZ.holds(part.hz, PITCH_SLACK_HZ)
            and rq.HARMONIC_LEVEL_DB.holds(part.level_db, LEVEL_SLACK_DB)
            for part in pitch.components
        )
        for pitch in pitches
    ]
    found = _within(
        "harmonics", "number of components in 300 – 4000 Hz and within ±15 dB of the fundamental", counts, rq.HARMONICS
    )
    if found.verdict is Judgement.PASSED:
        return found
    seen_hz, band_hz = top_hz(rate_hz), rq.HARMONIC_BAND_HZ.most or 0.0
    highest_hz = max(pitch.hz for pitch in pitches)
    hidden = int(band_hz / highest_hz) - int(min(seen_hz, band_hz) / highest_hz)
    if min(counts) + hidden >= (rq.HARMONICS.least or 0):
        note = f"{rate_hz} samples a second show nothing above {seen_hz:.0f} Hz: record with at least {_ENOUGH_HZ}"
        return replace(found, verdict=Judgement.NOT_MEASURED, note=note)
    weak = [part.level_db for pitch in pitches for part in pitch.components if part.level_db < -15]
    return replace(found, note=f"the next is {max(weak):.0f} dB from the fundamental" if weak else "")

"""Does a recording hold the alarm signal of a priority, as far as the ranges of `requirements` go?

`check` measures every pulse, finds the priority that fits best (or takes the one expected), and says of every
requirement what was measured, what is allowed, how sure the number is, and whether it is met. What the recording
cannot show (a second burst, a component above its sample rate) is *not measured*; with such a gap nothing passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import AlarmPriority
from telemetry.sounds import requirements as rq
from telemetry.sounds.grouping import Bursts, group
from telemetry.sounds.judging import Finding, Judgement, Slack, judge_bursts
from telemetry.sounds.patterns import melody_of
from telemetry.sounds.pulses import Recording, find_pulses

if TYPE_CHECKING:
    from telemetry.sounds.numbers import Samples


class Outcome(StrEnum):
    """What a check came to."""

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found. ``priority`` is the one expected, or else the one that fits best.

    ``signal_to_noise_db`` is None where the pauses are silent, ``melody`` None where it is not the drug-delivery one;
    ``slack`` is what the verdicts leave to measuring.
    """

    outcome: Outcome
    priority: AlarmPriority
    expected: AlarmPriority | None
    findings: tuple[Finding, ...]
    pulses: int
    bursts: int
    cut_off_bursts: int
    melody: str | None
    length_ms: float
    rate_hz: int
    signal_to_noise_db: float | None
    slack: Slack

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the requirements that are not met."""
        return tuple(finding.name for finding in self.findings if finding.verdict is Judgement.FAILED)


def check(sound: Samples, rate_hz: int, *, expect: AlarmPriority | None = None) -> CheckReport:
    """Check one channel of sound (full scale 1.0).

    Raises ``UsageError`` for a sample rate out of range, silence, or a recording without a single pulse.
    """
    recording = find_pulses(sound, rate_hz)
    if not recording.pulses:
        raise UsageError("recording: no pulse stands out from the noise; record closer to the tablet")
    if expect is not None:
        return _report(recording, expect, expect)
    reports = [_report(recording, priority, None) for priority in AlarmPriority]
    return min(reports, key=_misfit)


def _misfit(report: CheckReport) -> tuple[int, float, int]:
    wanted = rq.RULES[report.priority].pulses
    mean = report.pulses / report.bursts
    away = max((wanted.least or 0) - mean, mean - (wanted.most or 0), 0.0)
    unmeasured = sum(finding.verdict is Judgement.NOT_MEASURED for finding in report.findings)
    return len(report.failed), away, unmeasured


def _report(recording: Recording, priority: AlarmPriority, expected: AlarmPriority | None) -> CheckReport:
    grouped = group(recording, priority)
    findings = judge_bursts(recording, grouped, rq.RULES[priority])
    verdicts = {finding.verdict for finding in findings}
    outcome = Outcome.PASSED
    if Judgement.FAILED in verdicts:
        outcome = Outcome.FAILED
    elif Judgement.NOT_MEASURED in verdicts:
        outcome = Outcome.INCOMPLETE
    return CheckReport(
        outcome=outcome,
        priority=priority,
        expected=expected,
        findings=findings,
        pulses=sum(len(burst) for burst in grouped.bursts),
        bursts=len(grouped.bursts),
        cut_off_bursts=grouped.cut_off,
        melody=_melody(grouped),
        length_ms=recording.length_ms,
        rate_hz=recording.rate_hz,
        signal_to_noise_db=recording.signal_to_noise_db,
        slack=Slack.of(recording.signal_to_noise_db),
    )


def _melody(grouped: Bursts) -> str | None:
    """The melody that every burst plays, if it is one melody."""
    played = set()
    for burst in grouped.bursts:
        pitches = tuple(pulse.pitch.hz for pulse in burst if pulse.pitch is not None)
        played.add(melody_of(pitches) if len(pitches) == len(burst) else None)
    return played.pop() if len(played) == 1 else None

"""When a pump's beeper sounds, from what happened in the pump, and the sound of those minutes.

The rules are those of the pump (docs/pump-model.md): a burst at the instant from which a kind sounds, then one every
repeat; silenced, acknowledged, switched off or cleared, it is quiet. Instants are pump time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.alarm_table import TABLE, Tone
from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind
from telemetry.sounds.numbers import np
from telemetry.sounds.patterns import Beeper
from telemetry.sounds.synthesis import DEFAULT_RATE_HZ, check_length, pump_tone, to_pcm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telemetry.model import PumpEvent
    from telemetry.sounds.numbers import Pcm

_MS_PER_S = 1_000
STOCK_BEEPER = Beeper()


@dataclass(frozen=True, slots=True)
class PumpBurst:
    """One burst of the pump's beeper; ``at_ms`` is pump time."""

    at_ms: int
    kind: AlarmKind
    tone: Tone
    length_ms: int


@dataclass(slots=True)
class _Voice:
    """What is known of one kind while the events are read."""

    active: bool = False
    quiet: bool = False
    enabled: bool = True
    since_ms: int | None = None

    def take(self, event: str) -> None:
        match event:
            case "alarm_raised":
                self.active, self.quiet = True, False
            case "alarm_latched":
                self.active = True
            case "alarm_silenced" | "alarm_acknowledged":
                self.quiet = True
            case "alarm_rearmed":
                self.quiet = False
            case "alarm_cleared":
                self.active = self.quiet = False
            case "alarm_disabled":
                self.enabled = False
            case "alarm_enabled":
                self.enabled = True

    @property
    def sounds(self) -> bool:
        return self.active and self.enabled and not self.quiet


def bursts_of(
    events: Iterable[PumpEvent], *, from_ms: int, to_ms: int, dead_from_ms: int | None = None
) -> tuple[PumpBurst, ...]:
    """The bursts that begin in ``from_ms <= t < to_ms``, in their order.

    ``events`` are the pump's from the beginning (alarms raised before ``from_ms`` sound on), in order.
    ``dead_from_ms``: from when the beeper is dead (a fault, or an empty battery); nothing sounds from then.
    """
    end_ms = to_ms if dead_from_ms is None else min(to_ms, dead_from_ms)
    voices = {kind: _Voice() for kind in AlarmKind}
    found: list[PumpBurst] = []
    for event in events:
        if not event.kind.startswith("alarm_") or event.detail not in voices:
            continue
        kind = AlarmKind(event.detail)
        voice = voices[kind]
        voice.take(event.kind)
        if voice.sounds and voice.since_ms is None:
            voice.since_ms = event.at_ms
        elif not voice.sounds and voice.since_ms is not None:
            found.extend(_bursts(kind, voice.since_ms, from_ms, min(event.at_ms, end_ms)))
            voice.since_ms = None
    for kind, voice in voices.items():
        if voice.since_ms is not None:
            found.extend(_bursts(kind, voice.since_ms, from_ms, end_ms))
    return tuple(sorted(found, key=lambda burst: (burst.at_ms, list(AlarmKind).index(burst.kind))))


def bursts_at(tones: Iterable[tuple[int, AlarmKind]]) -> tuple[PumpBurst, ...]:
    """One burst for each (instant, kind), as the table says that kind sounds."""
    return tuple(_burst(at_ms, kind) for at_ms, kind in sorted(tones, key=lambda tone: tone[0]))


def alternating_bursts(kind: AlarmKind, *, since_ms: int, from_ms: int, to_ms: int) -> tuple[PumpBurst, ...]:
    """Another maker's pattern (domain.md 2.5, A): 4 tones a minute for 10 min, 4 double ones for 10 min, and again."""
    every_ms, turn_ms, tone_ms = 15_000, 600_000, 1_000
    first = max(0, -(-(from_ms - since_ms) // every_ms))
    return tuple(
        PumpBurst(at_ms, kind, Tone.TWO_TONE if double else Tone.SINGLE, tone_ms)
        for at_ms in range(since_ms + first * every_ms, to_ms, every_ms)
        for double in [(at_ms - since_ms) // turn_ms % 2 == 1]
    )


def render(
    bursts: Iterable[PumpBurst],
    *,
    start_ms: int,
    duration_ms: int,
    rate_hz: int = DEFAULT_RATE_HZ,
    beeper: Beeper = STOCK_BEEPER,
    beeper_works: bool = True,
) -> Pcm:
    """The sound from ``start_ms`` on. One transducer: where two bursts meet, the critical one is heard.

    A burst cut off by either end is heard in part. Raises ``UsageError`` when rate or duration are out of range.
    """
    check_length(duration_ms)
    sound = np.zeros(round(duration_ms * rate_hz / _MS_PER_S), dtype=np.int16)
    voices: dict[tuple[Tone, int], Pcm] = {}
    for one in sorted(bursts, key=lambda burst: (TABLE[burst.kind].alarm_class is AlarmClass.CRITICAL, burst.at_ms)):
        key = (one.tone, one.length_ms)
        if key not in voices:
            voices[key] = to_pcm(pump_tone(one.tone, one.length_ms, beeper, rate_hz))
        first = round((one.at_ms - start_ms) * rate_hz / _MS_PER_S)
        begin, end = max(0, first), min(len(sound), first + len(voices[key]))
        if begin < end and beeper_works:
            sound[begin:end] = voices[key][begin - first : end - first]
    return sound


def _bursts(kind: AlarmKind, since_ms: int, from_ms: int, end_ms: int) -> Iterator[PumpBurst]:
    repeat_ms = TABLE[kind].repeat_ms
    if repeat_ms is None:
        raise UsageError(f"alarm: {kind} has no tone of the pump")
    first = max(0, -(-(from_ms - since_ms) // repeat_ms))
    for at_ms in range(since_ms + first * repeat_ms, end_ms, repeat_ms):
        yield _burst(at_ms, kind)


def _burst(at_ms: int, kind: AlarmKind) -> PumpBurst:
    row = TABLE[kind]
    return PumpBurst(at_ms, kind, row.tone, row.burst_ms or 0)

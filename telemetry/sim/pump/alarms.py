"""The pump's alarms: condition, signal and system apart; latch, timed silence, acknowledgement (domain.md 5.7).

A *condition* is present or not. Its *signal* sounds, is silenced, acknowledged, or latched (sounds on although the
condition is over). The *system* may be switched off per kind where the profile allows it. Silence is timed and never
reaches a condition that comes later (trust.md 5.11). Tones are counted in closed form, never one event each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import Alarm, AlarmKind, AlarmSignal, LogCode, RefusalReason
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import ceil_div
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import AlarmSpec, PumpProfile

ALARM_NUMBERS = {kind: number for number, kind in enumerate(AlarmKind, start=1)}
"""What stands for a kind in the ``detail`` of a log record: its place in ``AlarmKind``, from 1."""
SEQUENCE_MASK = 0xFFFF

Emit = Callable[[str, str], None]
Log = Callable[[LogCode, int, int], None]


def bursts_between(since_ms: int, repeat_ms: int, start_ms: int, end_ms: int) -> int:
    """Bursts that begin in ``start_ms <= t < end_ms`` of an alarm that sounds since ``since_ms``."""

    def before(instant_ms: int) -> int:
        return max(0, ceil_div(instant_ms - since_ms, repeat_ms))

    return max(0, before(end_ms) - before(start_ms))


def next_burst_ms(since_ms: int, repeat_ms: int, at_ms: int) -> int:
    """The first burst at or after ``at_ms`` of an alarm that sounds since ``since_ms``."""
    return since_ms + max(0, ceil_div(at_ms - since_ms, repeat_ms)) * repeat_ms


@dataclass(slots=True)
class _State:
    """One kind's state. ``quiet`` is SILENCED, ACKNOWLEDGED or OFF (not quiet)."""

    spec: AlarmSpec
    condition: bool = False
    latched: bool = False
    since_ms: int = 0
    count: int = 0
    quiet: AlarmSignal = AlarmSignal.OFF
    quiet_until_ms: int | None = None
    enabled: bool = True
    sounding_since_ms: int | None = None
    bursts: int = 0

    @property
    def active(self) -> bool:
        return self.condition or self.latched

    @property
    def signal(self) -> AlarmSignal:
        if not self.active or not self.enabled:
            return AlarmSignal.OFF
        if self.quiet is not AlarmSignal.OFF:
            return self.quiet
        return AlarmSignal.ON if self.condition else AlarmSignal.LATCHED


_KEYS = (
    "kind",
    "condition",
    "latched",
    "since_ms",
    "count",
    "quiet",
    "quiet_until_ms",
    "enabled",
    "sounding_since_ms",
    "bursts",
)


class Alarms:
    """All alarms of one pump. ``sequence`` (u16, wraps) moves with every change of any of them."""

    KEYS = ("sequence", "powered", "beeper_works", "alarms")

    def __init__(self, profile: PumpProfile, emit: Emit, log: Log) -> None:
        self._states = {spec.kind: _State(spec) for spec in profile.alarms}
        self._max_silence_ms = profile.max_silence_ms
        self._emit = emit
        self._log = log
        self.sequence = 0
        self.powered = True
        self.beeper_works = True
        self.drain_pc_per_day = 0

    def set_condition(self, kind: AlarmKind, *, present: bool, now_ms: int) -> None:
        """Say whether a condition is present now; does nothing when that is known."""
        state = self._states[kind]
        if present and not state.condition:
            state.condition, state.latched, state.since_ms = True, False, now_ms
            state.count = min(state.count + 1, SEQUENCE_MASK)
            state.quiet, state.quiet_until_ms = AlarmSignal.OFF, None
            self._changed(state, now_ms, "alarm_raised", LogCode.ALARM_RAISED, state.count)
        elif not present and state.condition:
            state.condition = False
            if state.spec.latching and state.quiet is not AlarmSignal.ACKNOWLEDGED:
                state.latched = True
                self._changed(state, now_ms, "alarm_latched")
            else:
                self._quieten(state, now_ms)

    def strike(self, kind: AlarmKind, now_ms: int) -> None:
        """Something happened that is over already: raise it and keep it latched until somebody acknowledges it."""
        state = self._states[kind]
        self.set_condition(kind, present=True, now_ms=now_ms)
        state.condition, state.latched = False, True
        self._account(state, now_ms)

    def release(self, kind: AlarmKind, now_ms: int) -> None:
        """End an alarm, latch included: somebody has dealt with its cause."""
        state = self._states[kind]
        if state.active:
            state.condition = state.latched = False
            self._quieten(state, now_ms)

    def silence(self, duration_ms: int, now_ms: int) -> None:
        """Silence what sounds now, for a time; what comes later sounds all the same.

        Raises ``Refused`` (``silence_too_long``) beyond the profile's ``max_silence_ms``, ``UsageError`` below 1 ms.
        """
        if duration_ms < 1:
            raise UsageError(f"duration_ms: {duration_ms} is below 1")
        if duration_ms > self._max_silence_ms:
            raise Refused(
                RefusalReason.SILENCE_TOO_LONG,
                f"duration_ms: {duration_ms} is longer than the pump keeps silent ({self._max_silence_ms}); "
                "silence it again when it sounds again",
                field="duration_ms",
                value=duration_ms,
                limit=self._max_silence_ms,
            )
        for state in self._states.values():
            if state.signal in {AlarmSignal.ON, AlarmSignal.LATCHED, AlarmSignal.SILENCED}:
                state.quiet, state.quiet_until_ms = AlarmSignal.SILENCED, now_ms + duration_ms
                value = ceil_div(duration_ms, MS_PER_SECOND)
                self._changed(state, now_ms, "alarm_silenced", LogCode.ALARM_SILENCED, value)

    def acknowledge(self, kind: AlarmKind, now_ms: int) -> None:
        """Release a latched alarm whose condition is over; quiet one that is present, for its profile's time.

        Raises ``Refused`` (``no_such_alarm``) when it is neither.
        """
        state = self._states[kind]
        if not state.active:
            raise Refused(
                RefusalReason.NO_SUCH_ALARM,
                f"alarm: {kind} is neither present nor latched; active: {', '.join(self.active()) or 'none'}",
                field="kind",
                value=ALARM_NUMBERS[kind],
            )
        for_ms = state.spec.acknowledged_for_ms
        if state.condition:
            state.quiet = AlarmSignal.ACKNOWLEDGED
            state.quiet_until_ms = now_ms + for_ms if for_ms else None
            self._changed(state, now_ms, "alarm_acknowledged", LogCode.ALARM_ACKNOWLEDGED, state.count)
        else:
            state.latched = False
            self._changed(state, now_ms, "alarm_acknowledged", LogCode.ALARM_ACKNOWLEDGED, state.count)
            self._quieten(state, now_ms)

    def set_enabled(self, kind: AlarmKind, *, enabled: bool, now_ms: int) -> None:
        """Switch the system for one kind on or off; raises ``UsageError`` where the profile forbids *off*."""
        state = self._states[kind]
        if not enabled and not state.spec.can_disable:
            allowed = ", ".join(kind for kind, other in self._states.items() if other.spec.can_disable)
            raise UsageError(f"alarm: {kind} cannot be switched off; those that can: {allowed}")
        if state.enabled != enabled:
            state.enabled = enabled
            self._changed(state, now_ms, "alarm_enabled" if enabled else "alarm_disabled")

    def enabled(self, kind: AlarmKind) -> bool:
        """Whether the system for this kind is switched on."""
        return self._states[kind].enabled

    @property
    def disabled_bits(self) -> int:
        """The kinds that are switched off, one bit each, the first kind lowest."""
        return sum(1 << ALARM_NUMBERS[kind] - 1 for kind, state in self._states.items() if not state.enabled)

    def switch_off(self, disabled_bits: int) -> None:
        """At a boot: leave off what was switched off before it."""
        for kind, state in self._states.items():
            state.enabled = not disabled_bits >> ALARM_NUMBERS[kind] - 1 & 1

    def rearm(self, now_ms: int) -> None:
        """Let sound again what was quiet until now."""
        for state in self._states.values():
            if state.quiet_until_ms is not None and state.quiet_until_ms <= now_ms:
                state.quiet, state.quiet_until_ms = AlarmSignal.OFF, None
                self._changed(state, now_ms, "alarm_rearmed")

    def remind(self, kind: AlarmKind, now_ms: int) -> None:
        """Let a present alarm sound again although somebody has quieted it: it has become more urgent."""
        state = self._states[kind]
        if state.condition and state.quiet is not AlarmSignal.OFF:
            state.quiet, state.quiet_until_ms = AlarmSignal.OFF, None
            self._changed(state, now_ms, "alarm_rearmed")

    def next_rearm_ms(self) -> int | None:
        """When a quiet alarm will sound again."""
        return min((s.quiet_until_ms for s in self._states.values() if s.quiet_until_ms is not None), default=None)

    def set_beeper(self, now_ms: int, *, works: bool) -> None:
        """Break or mend the transducer: what is signalled stays so, but nothing is heard (domain.md 4, F26)."""
        self.beeper_works = works
        for state in self._states.values():
            self._account(state, now_ms)

    def power_off(self, now_ms: int) -> None:
        """The battery is empty: nothing sounds any more."""
        self.powered = False
        for state in self._states.values():
            self._account(state, now_ms)

    def present(self, kind: AlarmKind) -> bool:
        """Whether the condition is present."""
        return self._states[kind].condition

    def active(self) -> tuple[AlarmKind, ...]:
        """Kinds whose condition is present or whose signal is latched, in the order of ``AlarmKind``."""
        return tuple([kind for kind, state in self._states.items() if state.condition or state.latched])

    def active_since_ms(self, kind: AlarmKind) -> int | None:
        """Since when one kind is present or latched, in whole seconds as telemetry says it; None when it is not."""
        state = self._states[kind]
        return state.since_ms - state.since_ms % MS_PER_SECOND if state.active else None

    def report(self) -> tuple[Alarm, ...]:
        """Every active alarm; instants in whole seconds, rounded down, as telemetry says them."""
        return tuple(self._report(state) for state in self._states.values() if state.active)

    def bursts(self, kind: AlarmKind, now_ms: int) -> int:
        """Bursts of this kind begun before ``now_ms``, in the pump's life since it was booted."""
        state = self._states[kind]
        since_ms = state.sounding_since_ms
        running = 0 if since_ms is None else bursts_between(since_ms, state.spec.repeat_ms, since_ms, now_ms)
        return state.bursts + running

    def next_tone_ms(self, at_ms: int) -> tuple[int, AlarmKind] | None:
        """The first burst at or after ``at_ms`` if nothing changes, and of which kind; None when all is quiet."""
        sounding = [
            (next_burst_ms(state.sounding_since_ms, state.spec.repeat_ms, at_ms), kind)
            for kind, state in self._states.items()
            if state.sounding_since_ms is not None
        ]
        return min(sounding, default=None, key=lambda pair: pair[0])

    def _quieten(self, state: _State, now_ms: int) -> None:
        state.quiet, state.quiet_until_ms = AlarmSignal.OFF, None
        self._changed(state, now_ms, "alarm_cleared", LogCode.ALARM_CLEARED, state.count)

    def _changed(self, state: _State, now_ms: int, event: str, code: LogCode | None = None, value: int = 0) -> None:
        self._account(state, now_ms)
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK
        if code is not None:
            self._log(code, ALARM_NUMBERS[state.spec.kind], value)
        self._emit(event, state.spec.kind)

    def _account(self, state: _State, now_ms: int) -> None:
        """Keep the count of bursts and the drain in step with what sounds."""
        sounds = self.powered and self.beeper_works and state.signal in {AlarmSignal.ON, AlarmSignal.LATCHED}
        since_ms = state.sounding_since_ms
        if sounds and since_ms is None:
            state.sounding_since_ms = now_ms
        elif not sounds and since_ms is not None:
            state.bursts += bursts_between(since_ms, state.spec.repeat_ms, since_ms, now_ms)
            state.sounding_since_ms = None
        self._sum_drain()

    def _sum_drain(self) -> None:
        self.drain_pc_per_day = sum(
            state.spec.sounding_drain_pc_per_day
            for state in self._states.values()
            if state.sounding_since_ms is not None
        )

    @staticmethod
    def _report(state: _State) -> Alarm:
        until_ms = state.quiet_until_ms if state.quiet is AlarmSignal.SILENCED else None
        return Alarm(
            kind=state.spec.kind,
            alarm_class=state.spec.alarm_class,
            priority=state.spec.priority,
            condition_present=state.condition,
            signal=state.signal,
            enabled=state.enabled,
            since_ms=state.since_ms - state.since_ms % MS_PER_SECOND,
            count=state.count,
            silenced_until_ms=None if until_ms is None else until_ms - until_ms % MS_PER_SECOND,
        )

    def latched_kinds(self) -> tuple[AlarmKind, ...]:
        """What a reboot must raise again because nobody has acknowledged it."""
        return tuple(
            kind for kind, state in self._states.items() if state.latched or (state.condition and state.spec.latching)
        )

    def latch(self, kind: AlarmKind, now_ms: int) -> None:
        """Sound again, after a reboot, what was latched before it and whose condition is over."""
        state = self._states[kind]
        if not state.active:
            state.latched, state.since_ms, state.count = True, now_ms, state.count + 1
            self._changed(state, now_ms, "alarm_latched")

    def snapshot(self) -> st.State:
        """JSON-able state."""
        alarms = [
            {"kind": kind.value, **{key: getattr(state, key) for key in _KEYS[1:]}, "quiet": state.quiet.value}
            for kind, state in self._states.items()
        ]
        return {
            "sequence": self.sequence,
            "powered": self.powered,
            "beeper_works": self.beeper_works,
            "alarms": alarms,
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        top = st.table(value, where, self.KEYS)
        self.sequence = st.integer(top, "sequence", where)
        self.powered = st.flag(top, "powered", where)
        self.beeper_works = st.flag(top, "beeper_works", where)
        listed = st.items(top, "alarms", where)
        if len(listed) != len(self._states):
            raise UsageError(f"snapshot {where}.alarms: {len(listed)} alarms, the pump has {len(self._states)}")
        for item, (kind, state) in zip(listed, self._states.items(), strict=True):
            at = f"{where}.{kind}"
            one = st.table(item, at, _KEYS)
            if st.member(one, "kind", at, AlarmKind) is not kind:
                raise UsageError(f"snapshot {where}.alarms: {one['kind']} stands where {kind} belongs")
            for key in ("condition", "latched", "enabled"):
                setattr(state, key, st.flag(one, key, at))
            for key in ("since_ms", "count", "bursts"):
                setattr(state, key, st.integer(one, key, at))
            for key in ("quiet_until_ms", "sounding_since_ms"):
                setattr(state, key, st.instant(one, key, at))
            state.quiet = st.member(one, "quiet", at, AlarmSignal)
        self._sum_drain()

"""What a tablet must show and sound of a pump's conditions (IEC 60601-1-8 words; domain.md 5.4).

Pure: no clock, no sound, time is an argument.
An `Annunciator` is told what was read (`observe`, `observe_status`) and what the user does (`pause_audio`,
`acknowledge` …), each at a ``now_ms`` of the tablet that never goes back; `view` says what shows and sounds at an
instant, and from when that will change by itself. How often it is asked changes nothing.

Rules that domain.md leaves open are settings, and named in docs/alarms.md: how long a pause lasts, when a medium alarm
that nobody acknowledges becomes high, how often a reminder comes while a signal is off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.alarm_table import TABLE, Advice, AlarmRow, Condition, TabletCondition
from telemetry.errors import UsageError
from telemetry.model import AlarmPriority, PumpMode
from telemetry.sounds.patterns import BurstPattern, stock_burst
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.model import Alarm, PumpStatus

_RANK = {AlarmPriority.LOW: 0, AlarmPriority.MEDIUM: 1, AlarmPriority.HIGH: 2}


class Inactivation(StrEnum):
    """The states of domain.md 5.4 in which a signal is off on purpose."""

    NONE = "none"
    AUDIO_PAUSED = "audio_paused"
    AUDIO_OFF = "audio_off"
    ALARM_PAUSED = "alarm_paused"
    ALARM_OFF = "alarm_off"
    ACKNOWLEDGED = "acknowledged"


_UNSEEN = {Inactivation.ALARM_PAUSED, Inactivation.ALARM_OFF}
_TIMED = {Inactivation.AUDIO_PAUSED, Inactivation.ALARM_PAUSED}
_REMINDED = {Inactivation.AUDIO_OFF, Inactivation.ALARM_OFF}


@dataclass(frozen=True, slots=True)
class VisualPattern:
    """How the indicator shows a priority (domain.md 5.4, B): ``flash_mhz`` and ``on_percent`` of it; 0: steady."""

    colour: str
    flash_mhz: int
    on_percent: int
    allowed: str


VISUAL: dict[AlarmPriority, VisualPattern] = {
    AlarmPriority.HIGH: VisualPattern("red", 2_000, 50, "red, 1.4 to 2.8 Hz, 20 to 80 % on"),
    AlarmPriority.MEDIUM: VisualPattern("yellow", 600, 40, "yellow, 0.4 to 0.8 Hz, 20 to 60 % on"),
    AlarmPriority.LOW: VisualPattern("cyan", 0, 100, "cyan or yellow, steady"),
}
AUDITORY: dict[AlarmPriority, BurstPattern] = {priority: stock_burst(priority) for priority in AlarmPriority}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a clinic configures; None switches a rule off.

    ``audio_pause_ms`` and ``alarm_pause_ms``: how long a pause lasts unless it is said (10 min, domain.md 5.3, A).
    ``escalate_after_ms``: when a medium alarm that nobody acknowledged becomes high (design). ``reminder_ms``: how
    often a reminder comes while audio or alarms are off (C). ``pause_ends_with_link``: a pause is over when the pump
    is out of reach (domain.md 5.3, A).
    """

    audio_pause_ms: int = 10 * MS_PER_MINUTE
    alarm_pause_ms: int = 10 * MS_PER_MINUTE
    escalate_after_ms: int | None = 10 * MS_PER_MINUTE
    reminder_ms: int | None = 30 * MS_PER_MINUTE
    pause_ends_with_link: bool = True

    def __post_init__(self) -> None:
        for name in ("audio_pause_ms", "alarm_pause_ms", "escalate_after_ms", "reminder_ms"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"annunciation {name}: {value} is below 1 ms; None switches the rule off")


@dataclass(frozen=True, slots=True)
class Observed:
    """A condition as it was read.

    ``empties_in_ms``: when the reservoir will be empty, from the moment of reading. ``over``: the pump keeps only its
    signal, latched.
    """

    kind: Condition
    empties_in_ms: int | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """One condition as the tablet announces it at an instant.

    ``latched``: the condition is over, its signal stays until it is reset. ``escalated``: it ranks higher than the
    table has it because nobody acknowledged it.
    """

    kind: Condition
    priority: AlarmPriority
    audible: bool
    visible: bool
    acknowledged: bool
    latched: bool
    escalated: bool
    since_ms: int
    text: str
    advice: Advice


@dataclass(frozen=True, slots=True)
class View:
    """What shows and sounds at one instant; of several priorities the highest is shown and sounded.

    ``until_ms``: when the pause ends. ``reminder_ms``: the next reminder. ``next_change_ms``: the first later instant
    at which a view differs although nobody does anything; None: never.
    """

    inactivation: Inactivation
    until_ms: int | None
    announcements: tuple[Announcement, ...]
    auditory: BurstPattern | None
    visual: VisualPattern | None
    reminder_ms: int | None
    next_change_ms: int | None


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of one condition.

    ``present``: the condition lasts. ``reported``: the last reading named it; what is latched here alone is neither.
    ``acknowledged``: the priority that somebody acknowledged; should it rank higher later, it sounds again.
    """

    row: AlarmRow
    since_ms: int
    present: bool = True
    reported: bool = True
    acknowledged: AlarmPriority | None = None
    paused: bool = False
    empty_at_ms: int | None = None


@dataclass(slots=True)
class Annunciator:
    """The state of a tablet's alarm system."""

    settings: Settings = field(default_factory=Settings)
    _entries: dict[Condition, _Entry] = field(default_factory=dict)
    _state: Inactivation = Inactivation.NONE
    _state_since_ms: int = 0
    _until_ms: int | None = None
    _now_ms: int = 0

    def observe(self, conditions: Iterable[Observed], now_ms: int) -> View:
        """Take what is present now, in place of what was; what is new sounds in spite of an acknowledgement or a pause.

        Raises ``UsageError`` when time goes back.
        """
        self._pass(now_ms)
        reported = {one.kind: one for one in conditions}
        for kind, one in reported.items():
            known = self._entries.get(kind)
            if known is None or (not known.present and not one.over):
                # A condition that comes again, latched or not, is a new one and wants its own acknowledgement.
                known = _Entry(TABLE[kind], since_ms=now_ms)
            empty_at_ms = None if one.empties_in_ms is None else now_ms + one.empties_in_ms
            self._entries[kind] = replace(known, empty_at_ms=empty_at_ms, present=not one.over, reported=True)
        for kind in [kind for kind in self._entries if kind not in reported]:
            self._clear(kind)
        return self.view(now_ms)

    def observe_status(
        self, status: PumpStatus, now_ms: int, *, alarms: Iterable[Alarm] = (), also: Iterable[Condition] = ()
    ) -> View:
        """Take a reading of the pump; ``alarms`` say which are only latched, ``also`` is what the tablet has found."""
        empties_in_ms = None
        if status.rate_nl_per_day > 0:
            empties_in_ms = status.reservoir_nl * MS_PER_DAY // status.rate_nl_per_day
        over = {alarm.kind for alarm in alarms if not alarm.condition_present}
        found = [Observed(kind, empties_in_ms, over=kind in over) for kind in status.alarms]
        if status.mode is PumpMode.TELEMETRY:
            found.append(Observed(TabletCondition.TELEMETRY_LATCH))
        return self.observe([*found, *(Observed(kind) for kind in also)], now_ms)

    def pause_audio(self, now_ms: int, for_ms: int | None = None) -> View:
        """AUDIO PAUSED: what is present keeps still for a time; what comes later sounds."""
        return self._pause(
            Inactivation.AUDIO_PAUSED, now_ms, self.settings.audio_pause_ms if for_ms is None else for_ms
        )

    def pause_alarms(self, now_ms: int, for_ms: int | None = None) -> View:
        """ALARM PAUSED: nothing sounds or shows for a time but the mark of this state."""
        return self._pause(
            Inactivation.ALARM_PAUSED, now_ms, self.settings.alarm_pause_ms if for_ms is None else for_ms
        )

    def audio_off(self, now_ms: int) -> View:
        """AUDIO OFF: nothing sounds until the user says so; reminders come."""
        return self._pause(Inactivation.AUDIO_OFF, now_ms, None)

    def alarms_off(self, now_ms: int) -> View:
        """ALARM OFF: nothing sounds or shows but the mark of this state until the user says so; reminders come."""
        return self._pause(Inactivation.ALARM_OFF, now_ms, None)

    def resume(self, now_ms: int) -> View:
        """End a pause or an *off*; acknowledgements stay."""
        self._pass(now_ms)
        self._end()
        return self.view(now_ms)

    def acknowledge(self, now_ms: int) -> View:
        """ACKNOWLEDGED: what is present keeps still until it is over; latched signals of what is over end."""
        self._pass(now_ms)
        for kind, entry in list(self._entries.items()):
            if entry.reported:
                ranked = self._announce(entry, self._state, now_ms).priority
                self._entries[kind] = replace(entry, acknowledged=ranked)
            else:
                del self._entries[kind]
        return self.view(now_ms)

    def link_lost(self, now_ms: int) -> View:
        """The pump is out of reach: a pause ends, if the settings say so; conditions stay as they were last read."""
        self._pass(now_ms)
        if self.settings.pause_ends_with_link and self._state in _TIMED:
            self._end()
        return self.view(now_ms)

    def view(self, now_ms: int) -> View:
        """What shows and sounds at ``now_ms``; raises ``UsageError`` for an instant before the last change."""
        if now_ms < self._now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before the last change ({self._now_ms}); time never goes back")
        state = self._state_at(now_ms)
        found = sorted(
            (self._announce(entry, state, now_ms) for entry in self._entries.values()),
            key=lambda one: (-_RANK[one.priority], one.since_ms, str(one.kind)),
        )
        heard = next((one.priority for one in found if one.audible), None)
        seen = next((one.priority for one in found if one.visible), None)
        if state is Inactivation.NONE and found and all(one.acknowledged for one in found):
            state = Inactivation.ACKNOWLEDGED
        return View(
            inactivation=state,
            until_ms=self._until_ms if state in _TIMED else None,
            announcements=tuple(found),
            auditory=None if heard is None else AUDITORY[heard],
            visual=None if seen is None else VISUAL[seen],
            reminder_ms=self._reminder_after(now_ms),
            next_change_ms=self._next_change(now_ms),
        )

    def _pause(self, state: Inactivation, now_ms: int, for_ms: int | None) -> View:
        self._pass(now_ms)
        if for_ms is not None and for_ms < 1:
            raise UsageError(f"for_ms: {for_ms} is below 1 ms")
        self._end()
        self._state, self._state_since_ms = state, now_ms
        self._until_ms = None if for_ms is None else now_ms + for_ms
        self._mark(paused=True)
        return self.view(now_ms)

    def _pass(self, now_ms: int) -> None:
        """Let time pass to ``now_ms``."""
        if now_ms < self._now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before the last change ({self._now_ms}); time never goes back")
        if self._state_at(now_ms) is Inactivation.NONE and self._state is not Inactivation.NONE:
            self._end()
        self._now_ms = now_ms

    def _end(self) -> None:
        self._state, self._until_ms = Inactivation.NONE, None
        self._mark(paused=False)

    def _mark(self, *, paused: bool) -> None:
        self._entries = {kind: replace(entry, paused=paused) for kind, entry in self._entries.items()}

    def _clear(self, kind: Condition) -> None:
        entry = self._entries[kind]
        latches = entry.row.latching and entry.acknowledged is None and (entry.present or not entry.reported)
        if latches:
            self._entries[kind] = replace(entry, present=False, reported=False)
        else:
            del self._entries[kind]

    def _state_at(self, now_ms: int) -> Inactivation:
        ended = self._until_ms is not None and now_ms >= self._until_ms
        return Inactivation.NONE if ended else self._state

    def _announce(self, entry: _Entry, state: Inactivation, now_ms: int) -> Announcement:
        ranked = entry.row.priority_at(None if entry.empty_at_ms is None else entry.empty_at_ms - now_ms)
        escalates_ms = self._escalates_ms(entry)
        escalated = ranked is AlarmPriority.MEDIUM and escalates_ms is not None and now_ms >= escalates_ms
        priority = AlarmPriority.HIGH if escalated else ranked
        acknowledged = entry.acknowledged is not None and _RANK[priority] <= _RANK[entry.acknowledged]
        # A pause of the audio is for what was present when it began: what is new sounds (trust.md 5.11).
        muted = state is not Inactivation.NONE and (state is not Inactivation.AUDIO_PAUSED or entry.paused)
        over = "" if entry.present else " (over; not yet acknowledged)"
        return Announcement(
            kind=entry.row.kind,
            priority=priority,
            audible=not muted and not acknowledged,
            visible=state not in _UNSEEN,
            acknowledged=acknowledged,
            latched=not entry.present,
            escalated=escalated,
            since_ms=entry.since_ms,
            text=f"{str(entry.row.kind).replace('_', ' ')}: {entry.row.condition}{over}",
            advice=entry.row.advice,
        )

    def _medium_from_ms(self, entry: _Entry) -> int | None:
        """From when the table ranks it medium; None: never, or it ranks high anyway."""
        if entry.row.priority is AlarmPriority.MEDIUM:
            return entry.since_ms
        if entry.row.near_priority is AlarmPriority.MEDIUM and entry.row.near_ms and entry.empty_at_ms is not None:
            return max(entry.since_ms, entry.empty_at_ms - entry.row.near_ms)
        return None

    def _escalates_ms(self, entry: _Entry) -> int | None:
        medium_ms = self._medium_from_ms(entry)
        if self.settings.escalate_after_ms is None or medium_ms is None:
            return None
        if entry.acknowledged is not None and entry.acknowledged is not AlarmPriority.LOW:
            return None
        return medium_ms + self.settings.escalate_after_ms

    def _reminder_after(self, now_ms: int) -> int | None:
        every_ms = self.settings.reminder_ms
        if every_ms is None or self._state not in _REMINDED:
            return None
        return self._state_since_ms + ((now_ms - self._state_since_ms) // every_ms + 1) * every_ms

    def _next_change(self, now_ms: int) -> int | None:
        instants = [self._until_ms, self._reminder_after(now_ms)]
        for entry in self._entries.values():
            instants += [self._medium_from_ms(entry), self._escalates_ms(entry)]
        return min((at_ms for at_ms in instants if at_ms is not None and at_ms > now_ms), default=None)

"""The tablet's side: priorities, inactivation states, latches, escalation; and how often one looks changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.alarm_table import ROWS, Hearer, TabletCondition
from telemetry.errors import UsageError
from telemetry.model import (
    Alarm,
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    Drug,
    PumpMode,
    PumpStatus,
)
from telemetry.programmer.annunciation import AUDITORY, VISUAL, Annunciator, Inactivation, Observed, Settings, View
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

if TYPE_CHECKING:
    from telemetry.alarm_table import AlarmRow

STALL = Observed(AlarmKind.MOTOR_STALL)
EMPTY = Observed(AlarmKind.EMPTY_RESERVOIR)
ERI = Observed(AlarmKind.ELECTIVE_REPLACEMENT)
MINUTE = MS_PER_MINUTE
STATUS = PumpStatus(
    mode=PumpMode.SIMPLE_CONTINUOUS,
    rate_nl_per_day=500_000,
    dose_ng_per_day=1_000_000,
    concentration_ng_per_ml=2_000_000,
    drug=Drug.BACLOFEN,
    reservoir_nl=2_000_000,
    reservoir_generation=1,
    battery_percent=80,
    replace_by_ms=1,
    low_reservoir_at_ms=None,
    alarms=(AlarmKind.LOW_RESERVOIR,),
    program_sequence=1,
    program_digest=b"",
    boot_epoch=1,
    now_ms=0,
    clock_utc_s=0,
    stopped_since_ms=None,
)


def alone(view: View) -> AlarmPriority:
    [announcement] = view.announcements
    return announcement.priority


def test_the_highest_priority_is_what_sounds_and_shows() -> None:
    view = Annunciator().observe([ERI, STALL], 5)
    assert [(one.kind, one.priority) for one in view.announcements] == [
        (AlarmKind.MOTOR_STALL, AlarmPriority.HIGH),
        (AlarmKind.ELECTIVE_REPLACEMENT, AlarmPriority.MEDIUM),
    ]
    assert view.auditory == AUDITORY[AlarmPriority.HIGH]
    assert view.visual == VISUAL[AlarmPriority.HIGH]
    assert view.inactivation is Inactivation.NONE
    assert "at once" in view.announcements[0].advice.to(Hearer.CLINICIAN)


def test_with_nothing_present_nothing_sounds() -> None:
    view = Annunciator().observe([], 0)
    assert (view.announcements, view.auditory, view.visual, view.next_change_ms) == ((), None, None, None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.kind))
def test_every_condition_of_the_table_is_announced_as_it_ranks_there(row: AlarmRow) -> None:
    assert alone(Annunciator().observe([Observed(row.kind)], 0)) is row.priority


def test_visual_patterns_lie_within_what_they_say_is_allowed() -> None:
    high, medium, low = (VISUAL[one] for one in (AlarmPriority.HIGH, AlarmPriority.MEDIUM, AlarmPriority.LOW))
    assert high.colour == "red"
    assert 1_400 <= high.flash_mhz <= 2_800
    assert 20 <= high.on_percent <= 80
    assert medium.colour == "yellow"
    assert 400 <= medium.flash_mhz <= 800
    assert 20 <= medium.on_percent <= 60
    assert (low.colour, low.flash_mhz) == ("cyan", 0)


# --- low reservoir and its 72 hours ----------------------------------------------------------------------------------


def test_a_low_reservoir_ranks_medium_from_72_hours_before_it_is_empty() -> None:
    # 2 ml at 0.5 ml a day last 4 days: 24 h after the reading 72 h are left.
    tablet = Annunciator()
    view = tablet.observe_status(STATUS, 1_000)
    assert alone(view) is AlarmPriority.LOW
    assert view.next_change_ms == 1_000 + MS_PER_DAY
    assert alone(tablet.view(1_000 + MS_PER_DAY - 1)) is AlarmPriority.LOW
    assert alone(tablet.view(1_000 + MS_PER_DAY)) is AlarmPriority.MEDIUM


def test_a_pump_that_stands_still_does_not_run_empty() -> None:
    stopped = replace(STATUS, mode=PumpMode.STOPPED, rate_nl_per_day=0, reservoir_nl=1)
    assert alone(Annunciator().observe_status(stopped, 0)) is AlarmPriority.LOW


def test_what_was_acknowledged_as_low_sounds_again_when_it_becomes_medium_and_then_escalates() -> None:
    tablet = Annunciator()
    tablet.observe_status(STATUS, 0)
    assert tablet.acknowledge(10).auditory is None
    assert tablet.view(MS_PER_DAY - 1).auditory is None
    assert tablet.view(MS_PER_DAY).auditory == AUDITORY[AlarmPriority.MEDIUM]
    assert tablet.view(MS_PER_DAY + 10 * MINUTE).auditory == AUDITORY[AlarmPriority.HIGH]
    assert tablet.acknowledge(MS_PER_DAY + 11 * MINUTE).auditory is None
    assert tablet.view(30 * MS_PER_DAY).auditory is None


def test_telemetry_mode_is_a_high_condition_of_its_own() -> None:
    latched = replace(STATUS, mode=PumpMode.TELEMETRY, rate_nl_per_day=0, alarms=())
    view = Annunciator().observe_status(latched, 0, also=[TabletCondition.TABLET_BATTERY_LOW])
    assert [(one.kind, one.priority) for one in view.announcements] == [
        (TabletCondition.TELEMETRY_LATCH, AlarmPriority.HIGH),
        (TabletCondition.TABLET_BATTERY_LOW, AlarmPriority.LOW),
    ]


# --- the five states of inactivation ---------------------------------------------------------------------------------


def test_audio_paused_is_silent_and_seen_until_its_timer_ends() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    view = tablet.pause_audio(100)
    assert (view.inactivation, view.auditory, view.visual) == (
        Inactivation.AUDIO_PAUSED,
        None,
        VISUAL[AlarmPriority.HIGH],
    )
    assert view.until_ms == view.next_change_ms == 100 + 10 * MINUTE
    assert tablet.view(100 + 10 * MINUTE - 1).auditory is None
    after = tablet.view(100 + 10 * MINUTE)
    assert (after.inactivation, after.auditory) == (Inactivation.NONE, AUDITORY[AlarmPriority.HIGH])


def test_a_new_condition_sounds_in_spite_of_an_audio_pause() -> None:
    tablet = Annunciator()
    tablet.observe([ERI], 0)
    tablet.pause_audio(1)
    view = tablet.observe([ERI, STALL], 2)
    assert view.auditory == AUDITORY[AlarmPriority.HIGH]
    assert {one.kind: one.audible for one in view.announcements} == {
        AlarmKind.MOTOR_STALL: True,
        AlarmKind.ELECTIVE_REPLACEMENT: False,
    }


def test_audio_off_is_silent_for_what_is_new_too_and_reminds() -> None:
    tablet = Annunciator(Settings(reminder_ms=30 * MINUTE))
    tablet.observe([ERI], 0)
    tablet.audio_off(1_000)
    view = tablet.observe([ERI, STALL], 2_000)
    assert (view.inactivation, view.auditory, view.visual) == (Inactivation.AUDIO_OFF, None, VISUAL[AlarmPriority.HIGH])
    assert view.reminder_ms == 1_000 + 30 * MINUTE
    assert tablet.view(1_000 + 30 * MINUTE).reminder_ms == 1_000 + 60 * MINUTE
    assert tablet.view(100 * MS_PER_DAY).auditory is None
    assert tablet.resume(101 * MS_PER_DAY).auditory == AUDITORY[AlarmPriority.HIGH]


def test_alarm_paused_shows_nothing_but_its_mark_until_its_timer_ends() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    view = tablet.pause_alarms(0, 3 * MINUTE)
    assert (view.inactivation, view.auditory, view.visual) == (Inactivation.ALARM_PAUSED, None, None)
    assert not view.announcements[0].visible
    after = tablet.view(3 * MINUTE)
    assert (after.inactivation, after.visual) == (Inactivation.NONE, VISUAL[AlarmPriority.HIGH])


def test_alarm_off_shows_nothing_but_its_mark_until_the_user_ends_it() -> None:
    tablet = Annunciator(Settings(reminder_ms=None))
    tablet.observe([STALL], 0)
    view = tablet.alarms_off(0)
    assert (view.inactivation, view.visual, view.reminder_ms) == (Inactivation.ALARM_OFF, None, None)
    assert tablet.view(365 * MS_PER_DAY).visual is None
    assert tablet.resume(365 * MS_PER_DAY).visual == VISUAL[AlarmPriority.HIGH]


def test_acknowledged_is_silent_for_what_is_present_and_sounds_for_what_is_new() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    view = tablet.acknowledge(1)
    assert (view.inactivation, view.auditory, view.visual) == (
        Inactivation.ACKNOWLEDGED,
        None,
        VISUAL[AlarmPriority.HIGH],
    )
    new = tablet.observe([STALL, EMPTY], 2)
    assert new.inactivation is Inactivation.NONE
    assert new.auditory == AUDITORY[AlarmPriority.HIGH]
    assert {one.kind for one in new.announcements if one.audible} == {AlarmKind.EMPTY_RESERVOIR}


def test_an_acknowledgement_ends_with_its_condition() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    tablet.acknowledge(1)
    assert tablet.observe([], 2).announcements == ()
    assert tablet.observe([STALL], 3).auditory == AUDITORY[AlarmPriority.HIGH]


def test_acknowledged_conditions_stay_so_through_a_pause_and_its_end() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    tablet.acknowledge(1)
    tablet.pause_audio(2)
    assert tablet.view(2 + 20 * MINUTE).inactivation is Inactivation.ACKNOWLEDGED
    assert tablet.resume(2 + 20 * MINUTE).auditory is None


def test_losing_the_pump_ends_a_pause_but_not_an_off() -> None:
    tablet = Annunciator()
    tablet.observe([STALL], 0)
    tablet.pause_audio(0)
    assert tablet.link_lost(5).auditory == AUDITORY[AlarmPriority.HIGH]
    tablet.audio_off(6)
    assert tablet.link_lost(7).inactivation is Inactivation.AUDIO_OFF
    patient = Annunciator(Settings(pause_ends_with_link=False))
    patient.observe([STALL], 0)
    patient.pause_audio(0)
    assert patient.link_lost(5).inactivation is Inactivation.AUDIO_PAUSED


# --- latches and escalation ------------------------------------------------------------------------------------------


def test_a_latching_signal_outlasts_its_condition_until_it_is_acknowledged() -> None:
    tablet = Annunciator()
    tablet.observe([STALL, EMPTY], 0)
    view = tablet.observe([], 5)  # the empty reservoir does not latch
    [announcement] = view.announcements
    assert (announcement.kind, announcement.latched, announcement.audible) == (AlarmKind.MOTOR_STALL, True, True)
    assert "over" in announcement.text
    assert tablet.acknowledge(6).announcements == ()


def test_what_the_pump_keeps_latched_goes_when_the_pump_lets_go() -> None:
    def stall(*, present: bool) -> Alarm:
        return Alarm(
            AlarmKind.MOTOR_STALL,
            AlarmClass.CRITICAL,
            AlarmPriority.HIGH,
            condition_present=present,
            signal=AlarmSignal.ON if present else AlarmSignal.LATCHED,
            enabled=True,
            since_ms=0,
            count=1,
        )

    stalled = replace(STATUS, alarms=(AlarmKind.MOTOR_STALL,))
    tablet = Annunciator()
    assert not tablet.observe_status(stalled, 0, alarms=[stall(present=True)]).announcements[0].latched
    assert tablet.observe_status(stalled, 1, alarms=[stall(present=False)]).announcements[0].latched
    assert tablet.acknowledge(2).auditory is None
    # Still latched in the pump: acknowledged here, so it does not sound again at every reading.
    assert tablet.observe_status(stalled, 3, alarms=[stall(present=False)]).auditory is None
    # Stalled once more: that is new.
    assert tablet.observe_status(stalled, 4, alarms=[stall(present=True)]).auditory is not None
    tablet.observe_status(stalled, 5, alarms=[stall(present=False)])
    assert tablet.observe_status(replace(STATUS, alarms=()), 6).announcements == ()


def test_a_medium_alarm_that_nobody_acknowledges_becomes_high() -> None:
    tablet = Annunciator(Settings(escalate_after_ms=5 * MINUTE))
    view = tablet.observe([ERI], 0)
    assert view.next_change_ms == 5 * MINUTE
    assert alone(tablet.view(5 * MINUTE - 1)) is AlarmPriority.MEDIUM
    [escalated] = tablet.view(5 * MINUTE).announcements
    assert (escalated.priority, escalated.escalated) == (AlarmPriority.HIGH, True)


def test_acknowledged_or_switched_off_nothing_escalates() -> None:
    tablet = Annunciator()
    tablet.observe([ERI], 0)
    tablet.acknowledge(1)
    assert alone(tablet.view(MS_PER_DAY)) is AlarmPriority.MEDIUM
    never = Annunciator(Settings(escalate_after_ms=None))
    never.observe([ERI], 0)
    assert alone(never.view(MS_PER_DAY)) is AlarmPriority.MEDIUM


def test_a_low_alarm_does_not_escalate() -> None:
    tablet = Annunciator()
    tablet.observe([Observed(TabletCondition.LOG_NEARLY_FULL)], 0)
    assert alone(tablet.view(MS_PER_DAY)) is AlarmPriority.LOW


# --- refusals and the law --------------------------------------------------------------------------------------------


def test_time_never_goes_back() -> None:
    tablet = Annunciator()
    tablet.observe([ERI], 1_000)
    for attempt in (tablet.view, tablet.acknowledge, tablet.pause_audio, lambda now_ms: tablet.observe([], now_ms)):
        with pytest.raises(UsageError, match=r"999 lies before the last change \(1000\)"):
            attempt(999)


def test_a_setting_of_no_time_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="audio_pause_ms: 0 is below 1 ms"):
        Settings(audio_pause_ms=0)
    with pytest.raises(UsageError, match="escalate_after_ms: -1 is below 1 ms; None switches the rule off"):
        Settings(escalate_after_ms=-1)


def test_a_pause_of_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="for_ms: -5"):
        Annunciator().pause_audio(0, -5)
    with pytest.raises(UsageError, match="for_ms: 0"):
        Annunciator().pause_alarms(0, 0)


ACTIONS = st.one_of(
    st.tuples(
        st.just("observe"),
        st.lists(
            st.builds(
                Observed,
                st.sampled_from([r.kind for r in ROWS]),
                st.one_of(st.none(), st.integers(0, 200 * MS_PER_HOUR)),
                st.booleans(),
            ),
            max_size=4,
        ),
    ),
    st.tuples(st.sampled_from(["pause_audio", "pause_alarms"]), st.integers(1, 3 * MS_PER_HOUR)),
    st.tuples(st.sampled_from(["audio_off", "alarms_off", "resume", "acknowledge", "link_lost"]), st.none()),
)


def act(tablet: Annunciator, action: tuple[str, object], now_ms: int) -> View:
    name, argument = action
    method = getattr(tablet, name)
    view: View = (
        method(argument, now_ms)
        if name == "observe"
        else method(now_ms)
        if argument is None
        else method(now_ms, argument)
    )
    return view


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * MS_PER_HOUR), ACTIONS, st.lists(st.integers(0, 10**7), max_size=3)), max_size=8
    ),
    st.integers(0, 100 * MS_PER_HOUR),
)
def test_looking_changes_nothing(steps: list[tuple[int, tuple[str, object], list[int]]], last_ms: int) -> None:
    seen, unseen = Annunciator(), Annunciator()
    now_ms = 0
    for wait_ms, action, looks in steps:
        for look_ms in looks:
            seen.view(now_ms + look_ms)
        now_ms += wait_ms
        assert act(seen, action, now_ms) == act(unseen, action, now_ms)
    assert seen.view(now_ms + last_ms) == unseen.view(now_ms + last_ms)


@given(st.lists(st.tuples(st.integers(0, 2 * MS_PER_HOUR), ACTIONS), min_size=1, max_size=8))
def test_a_view_holds_until_the_instant_that_it_names(steps: list[tuple[int, tuple[str, object]]]) -> None:
    tablet = Annunciator()
    now_ms = 0
    view = tablet.view(0)
    for wait_ms, action in steps:
        now_ms += wait_ms
        view = act(tablet, action, now_ms)
    if view.next_change_ms is None:
        assert tablet.view(now_ms + 400 * MS_PER_DAY) == view
        return
    assert view.next_change_ms > now_ms
    just_before = tablet.view(view.next_change_ms - 1)
    assert replace(just_before, next_change_ms=None) == replace(view, next_change_ms=None)


@given(st.lists(st.tuples(st.integers(0, 2 * MS_PER_HOUR), ACTIONS), min_size=1, max_size=8))
def test_a_high_condition_is_never_quiet_without_a_state_that_says_so(
    steps: list[tuple[int, tuple[str, object]]],
) -> None:
    tablet = Annunciator()
    now_ms = 0
    for wait_ms, action in steps:
        now_ms += wait_ms
        view = act(tablet, action, now_ms)
        unheard = [one for one in view.announcements if not one.audible and not one.acknowledged]
        assert not unheard or view.inactivation not in {Inactivation.NONE, Inactivation.ACKNOWLEDGED}
        if view.announcements and view.visual is None:
            assert view.inactivation in {Inactivation.ALARM_PAUSED, Inactivation.ALARM_OFF}

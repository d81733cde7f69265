"""The player: order and instants, outcomes, windows, waiting, and what a failure says."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from telemetry.scenario import Result, Verdict, loads, play, text_of

if TYPE_CHECKING:
    from telemetry.scenario import Failure

HEAD = """
title: A pump at 300 µg/day
pump: {fill: 10 ml, concentration: 2000 ug/ml, therapy: {rate: 300 ug/day}}
"""


def played(text: str) -> Result:
    return play(loads(HEAD + text, "t.yaml"))


def only_failure(text: str) -> Failure:
    result = played(text)
    assert result.verdict is Verdict.FAILED, text_of(result)
    assert len(result.failures) == 1, text_of(result)
    return result.failures[0]


def passes(text: str) -> Result:
    result = played(text)
    assert result.passed, text_of(result)
    return result


# --- when what happens -----------------------------------------------------------------------------------------------


def test_steps_come_in_order_of_their_instants_and_then_of_the_file() -> None:
    passes("""
timeline:
  - at: 2 d
    bench: resume
  - at: 1 d
    bench: stop
  - at: 1 d
    expect: {status: {mode: stopped, now: 1 d}}
  - after: 6 h
    expect: {status: {mode: stopped, now: 1 d 6 h}}
finally: {status: {mode: simple_continuous, now: 2 d}, events: {in_order: [stopped, resumed]}}
""")


def test_a_step_follows_its_event_at_the_events_own_instant() -> None:
    # 8 ml above the alarm volume at 0.150 ml/day: 53 d 8 h.
    passes("""
timeline:
  - when: {event: alarm_raised, detail: low_reservoir}
    wire: {silence: 1 h}
    expect: {status: {now: 53 d 8 h}, alarm: {low_reservoir: {signal: silenced}}}
  - after: 2 d
    expect: {status: {now: 55 d 8 h}}
  - when: {event: alarm_raised, detail: low_reservoir, after: 3 d}
    expect: {status: {now: 56 d 8 h}}
finally: {status: {now: 56 d 8 h}}
""")


def test_a_step_may_follow_every_event_of_a_kind() -> None:
    result = passes("""
timeline:
  - when: {event: alarm_raised, detail: low_reservoir, after: 1 d, each_time: true}
    wire: {refill: {volume: 10 ml}}
ends: 200 d
finally: {events: {count: {refilled: 3, alarm_raised: 3}}}
""")
    assert result.actions == 3


def test_the_nth_event_is_waited_for() -> None:
    passes("""
timeline:
  - every: {each: 10 d, times: 4}
    bench: stop
  - every: {each: 10 d, from: 11 d, times: 4}
    bench: resume
  - when: {event: stopped, nth: 3}
    expect: {status: {now: 30 d}}
""")


def test_jitter_is_drawn_from_the_seed() -> None:
    text = "timeline:\n  - every: {each: 10 d, times: 3, jitter: 5 d}\n    bench: stop\n"
    scenario = [loads(f"{HEAD}seed: {seed}\n{text}", "t.yaml") for seed in (1, 1, 2)]
    lived = [play(one).lived_ms for one in scenario]
    assert lived[0] == lived[1] != lived[2]
    assert all(30 * 86_400_000 <= ms <= 35 * 86_400_000 for ms in lived)


def test_a_date_is_an_instant() -> None:
    passes("""
timeline:
  - at: 2026-02-01 06:00
    expect: {status: {now: 31 d 6 h}}
""")


# --- outcomes --------------------------------------------------------------------------------------------------------


def test_every_outcome_can_be_expected() -> None:
    passes("""
timeline:
  - at: 1 d
    wire: {set_rate: 700 ug/day}
    outcome: {refused: dose_change_above_hard_limit}
  - at: 1 d
    wire: {set_rate: 400 ug/day}
    outcome: {refused: warnings_not_accepted, warnings: [daily_dose_change], says: accept each by name}
  - at: 1 d
    bench: {link: ["drop:1@rx/VerdictReport"]}
  - at: 1 d
    wire: {set_rate: 320 ug/day}
    outcome: unknown
  - at: 1 d 1 h
    bench: {link: []}
  - at: 1 d 1 h
    wire: outcome
    expect: {answer: {verdict: applied}, status: {dose: 320 ug/day}}
  - at: 2 d
    bench: {telemeter: 0}
  - at: 2 d
    wire: interrogate
    outcome: link_error
  - at: 2 d
    bench: {refill: {volume: 41 ml}}
    outcome: usage_error
  - at: 3 d
    bench: {telemeter: 5}
  - at: 3 d
    wire: {set_rate: 330 ug/day}
    as: observer
    outcome: {refused: role_forbids}
""")


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        ("applied", "refused (dose_change_above_hard_limit)"),
        ("unknown", "refused"),
        ("{refused: rate_above_maximum}", "refused (dose_change_above_hard_limit)"),
        ("{refused: any, says: so it is}", "refused"),
        ("{refused: any, warnings: [daily_dose_change]}", "refused"),
    ],
)
def test_another_outcome_than_expected_fails(outcome: str, found: str) -> None:
    failure = only_failure(f"""
timeline:
  - at: 1 d
    wire: {{set_rate: 700 ug/day}}
    outcome: {outcome}
""")
    assert failure.what == "outcome"
    assert failure.found.startswith(found)
    assert failure.line == 6
    assert any("SetRate" in frame for frame in failure.frames)


def test_what_is_refused_and_was_to_be_applied_fails_by_default() -> None:
    failure = only_failure("timeline:\n  - at: 1 d\n    wire: {set_rate: 700 ug/day}\n")
    assert (failure.wanted, failure.when, failure.date) == ("applied", "1 d 00:00:00", "2026-01-02 00:00:00Z")


# --- a broken copy of each kind of expectation ------------------------------------------------------------------------

SOUND = [
    ("status: {dose: 300 ug/day}", "status: {dose: 301 ug/day}", "status.dose", "301 µg/day", "300 µg/day"),
    ("status: {mode: {not: stopped}}", "status: {mode: stopped}", "status.mode", "stopped", "simple_continuous"),
    (
        "status: {reservoir: {at_least: 8.5 ml}}",
        "status: {reservoir: {at_least: 8.51 ml}}",
        "status.reservoir",
        "at least 8.510 ml",
        "8.500 ml",
    ),
    (
        "status: {stopped_since: none, activity: none}",
        "status: {stopped_since: 3 d}",
        "status.stopped_since",
        "3 d 00:00:00",
        "none",
    ),
    (
        "truth: {rate: 0.15 ml/day ± 1 %, catheter: patent}",
        "truth: {rate: 0.2 ml/day ± 1 %}",
        "truth.rate",
        "0.200 ml/day ± 0.002 ml/day",
        "0.150 ml/day",
    ),
    ("ledger: {balance: 0 ml}", "ledger: {balance: 1 nl}", "ledger.balance", "0.000001 ml", "0.000 ml"),
    ("delivery: {zone_minutes: 0}", "delivery: {zone_minutes: 60}", "delivery.zone_minutes", "60", "0"),
    (
        "identity: {simulated: true, serial: SIM-0001}",
        "identity: {simulated: false}",
        "identity.simulated",
        "false",
        "true",
    ),
    (
        "limits: {low_reservoir_alarm: 2 ml}",
        "limits: {low_reservoir_alarm: {above: 2 ml}}",
        "limits.low_reservoir_alarm",
        "above 2.000 ml",
        "2.000 ml",
    ),
    ("answer: {dose: 300 ug/day}", "answer: {flagged: true}", "answer.flagged", "true", "a PumpStatus, which has no"),
    ("alarms: []", "alarms: [motor_stall]", "alarms", "exactly motor_stall", "none"),
    (
        "alarms: {absent: [motor_stall]}",
        "alarms: {present: [low_reservoir]}",
        "alarms",
        "low_reservoir",
        "none",
    ),
    (
        "alarms: []",
        "alarm: {low_reservoir: {signal: on}}",
        "alarm.low_reservoir.signal",
        "on",
        "no such alarm is present",
    ),
    ("tones: {low_reservoir: 0}", "tones: {low_reservoir: {above: 3}}", "tones.low_reservoir", "above 3", "0"),
    (
        "events: {contains: [resumed, {event: stopped, at: 1 d}]}",
        "events: {contains: [{event: stopped, at: 2 d}]}",
        "events.contains",
        "stopped at 2 d 00:00:00",
        "no stopped at 2 d 00:00:00; of these kinds there were: stopped bench at 1 d 00:00:00",
    ),
    (
        "events: {lacks: [stopped clinical]}",
        "events: {lacks: [stopped]}",
        "events.lacks",
        "none of stopped",
        "stopped bench at 1 d 00:00:00",
    ),
    (
        "events: {in_order: [stopped, resumed]}",
        "events: {in_order: [resumed, stopped]}",
        "events.in_order",
        "in this order resumed, stopped",
        "stopped did not come in its turn",
    ),
    (
        "events: {only: [stopped bench, resumed], of: [stopped, resumed]}",
        "events: {only: [stopped], of: [stopped, resumed]}",
        "events.only",
        "of stopped, resumed only stopped",
        "stopped bench at 1 d 00:00:00; resumed at 1 d 01:00:00",
    ),
    ("events: {count: {stopped: 1}}", "events: {count: {stopped: 2}}", "events.count", "stopped 2 times", "1 times"),
    (
        "log: {in_order: [stopped, resumed], lacks: [stall_detected]}",
        "log: {contains: [stall_detected]}",
        "log.contains",
        "stall_detected",
        "no stall_detected; of these kinds there were: nothing",
    ),
    (
        "patient: {overdose: 0, withdrawal_signs: {lacks: [seizure]}}",
        "patient: {overdose: {at_least: 1}}",
        "patient.overdose",
        "at least 1",
        "0",
    ),
    (
        "patient: {csf: 417 ng/ml ± 5 %}",
        "patient: {overdose_signs: {contains: [dizziness]}}",
        "patient.overdose_signs",
        "containing dizziness",
        "nothing",
    ),
]


def story(checks: str) -> str:
    """Ten days with an hour's stop in them, and an interrogation, and then a look."""
    return f"""
patient: {{accustomed_to: 300 ug/day}}
timeline:
  - at: 1 d
    bench: stop
  - after: 1 h
    bench: resume
  - at: 10 d
    wire: interrogate
  - at: 10 d 1 h
    expect: {{{checks}}}
"""


@pytest.mark.parametrize(("sound", "broken", "what", "wanted", "found"), SOUND, ids=[row[2] for row in SOUND])
def test_each_kind_of_expectation_holds_and_fails_with_wanted_found_and_when(
    sound: str, broken: str, what: str, wanted: str, found: str
) -> None:
    passes(story(sound))
    failure = only_failure(story(broken))
    assert failure.what == what
    assert failure.wanted == wanted
    assert failure.found.startswith(found)
    assert (failure.line, failure.when) == (14, "10 d 01:00:00")
    assert failure.date == "2026-01-11 01:00:00Z"
    assert failure.step == "timeline[3] (expect)"
    assert [event.split("  ")[1] for event in failure.events][:2] == ["stopped bench", "delivery_stopped stopped"]
    assert failure.frames[-1].endswith("<- Closed, 44 bytes")


def test_a_failure_reads_as_a_person_needs_it() -> None:
    text = text_of(played(story("status: {dose: 301 ug/day}")))
    assert text.splitlines()[:5] == [
        "FAILED t: A pump at 300 µg/day",
        "  t.yaml:14: timeline[3] (expect): status.dose",
        "    wanted  301 µg/day",
        "    found   300 µg/day",
        "    when    10 d 01:00:00 (2026-01-11 01:00:00Z)",
    ]


# --- windows, always, never ------------------------------------------------------------------------------------------


def test_what_passed_in_a_window_is_measured() -> None:
    passes("""
timeline:
  - between: [1 d, 3 d]
    expect:
      passed: {tip_volume: 0.3 ml, tip_dose: 600 ug, tip_rate: 300 ug/day, strokes: 1200, lost_volume: 0 ml}
      events: {lacks: [stopped]}
  - between: [0, 4 d]
    each: 12 h
    expect: {passed: {tip_rate: 300 ug/day ± 1 %}}
""")


def test_of_many_wrong_slices_the_first_is_told() -> None:
    failure = only_failure("""
timeline:
  - at: 36 h
    bench: stop
  - between: [0, 4 d]
    each: 1 d
    expect: {passed: {tip_rate: 300 ug/day ± 1 %}}
""")
    assert "from 1 d 00:00:00 to 2 d 00:00:00" in failure.step
    assert failure.found == "150 µg/day"


def test_always_and_never_are_looked_at_at_every_event() -> None:
    passes("always: [{ledger: {balance: 0 ml}}]\nnever: [{alarms: {present: [motor_stall]}}]\nends: 90 d\n")
    failure = only_failure("always: [{alarms: []}]\nends: 90 d\n")
    assert (failure.step, failure.when) == ("always[0]", "53 d 08:00:00")
    failure = only_failure("never: [{alarms: {present: [low_reservoir]}}]\nends: 90 d\n")
    assert (failure.step, failure.what, failure.when) == ("never[0]", "never", "53 d 08:00:00")


def test_never_means_not_all_of_it_at_once() -> None:
    passes("""
never: [{alarms: {present: [low_reservoir]}, status: {mode: stopped}}]
timeline:
  - at: 1 d
    bench: stop
  - at: 2 d
    bench: resume
ends: 60 d
""")


def test_always_and_never_may_hold_in_a_window_only() -> None:
    passes("""
timeline:
  - between: [54 d, 60 d]
    always: {alarms: [low_reservoir]}
    never: {status: {mode: stopped}}
""")
    failure = only_failure("timeline:\n  - between: [50 d, 60 d]\n    always: {alarms: []}\n")
    assert failure.when == "53 d 08:00:00"


# --- nothing passes because it is absent -----------------------------------------------------------------------------


def test_an_event_that_never_comes_fails() -> None:
    failure = only_failure("timeline:\n  - when: {event: stall_detected}\n    wire: interrogate\nends: 60 d\n")
    assert (failure.what, failure.wanted) == ("when", "stall_detected")
    assert "it did not come; what came: alarm_raised low_reservoir" in failure.found
    passes("timeline:\n  - when: {event: stall_detected, optional: true}\n    wire: interrogate\nends: 60 d\n")


def test_a_step_behind_the_end_fails() -> None:
    failure = only_failure("timeline:\n  - at: 70 d\n    wire: interrogate\nends: 60 d\n")
    assert (failure.what, failure.wanted) == ("ends", "played at 70 d 00:00:00")


def test_a_window_behind_the_end_is_an_error() -> None:
    result = played("timeline:\n  - between: [1 d, 70 d]\n    always: {alarms: []}\nends: 60 d\n")
    assert result.verdict is Verdict.ERROR
    assert "t.yaml:5: timeline[0]: the window ends after the scenario does" in result.error


def test_looking_at_an_answer_before_there_is_one_fails() -> None:
    failure = only_failure("timeline:\n  - at: 1 d\n    expect: {answer: {dose: 300 ug/day}}\n")
    assert failure.found == "there is no answer to look at"


def test_a_pump_that_cannot_be_is_an_error() -> None:
    result = play(loads("title: x\npump: {fill: 41 ml}\nends: 1 d\nfinally: {alarms: []}\n", "t.yaml"))
    assert result.verdict is Verdict.ERROR
    assert "fill" in result.error


def test_a_scenario_that_takes_too_long_is_ended() -> None:
    result = play(
        loads(HEAD + "timeline:\n  - every: {each: 1 h, times: 100000}\n    wire: interrogate\n"), limit_ms=50
    )
    assert result.verdict is Verdict.ERROR
    assert "took longer than 0.05 s" in result.error


# --- time may be cut anywhere ----------------------------------------------------------------------------------------

LONG = """
title: A little of everything
seed: 9
pump: {fill: 20 ml, concentration: 500 ug/ml, therapy: {steps: {00:00: 200 ug/day, 07:30: 300 ug/day}}}
timeline:
  - at: 1 d
    wire: {bolus: {amount: 20 ug, over: 20 min}}
  - at: 3 d
    wire: {refill: {volume: 20 ml, concentration: 2000 ug/ml}}
  - at: 3 d 2 h
    wire: stop
  - at: 5 d 3 h
    wire: resume
    accept: [stopped_over_48_h]
  - between: [0, 30 d]
    each: 7 h
    expect: {passed: {tip_rate: {at_least: 0 ug/day}}}
  - when: {event: alarm_raised, detail: low_reservoir, after: 1 h}
    wire: {acknowledge: low_reservoir}
always: [{ledger: {balance: 0 ml}}]
finally: {status: {dose: 250 ug/day}, events: {count: {stopped: 2}}}
"""


def test_extra_cuts_change_nothing_of_a_result() -> None:
    scenario = loads(LONG, "long.yaml")
    draw = Random(4)
    lives = []
    for number in (0, 1, 50, 400):
        result = play(scenario, cuts=[draw.randrange(160 * 86_400_000) for _ in range(number)])
        lives.append((result.verdict, result.failures, result.events, result.actions, result.lived_ms))
    assert lives[0][0] is Verdict.FAILED  # on purpose: what a failure says must not depend on cuts either
    assert all(life == lives[0] for life in lives)

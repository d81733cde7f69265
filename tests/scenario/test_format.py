"""Scenario files: what is taken, and every kind of mistake with its line, its column and what would be right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from telemetry.errors import UsageError
from telemetry.scenario import ScenarioError, load, loads, schema, stock_files
from telemetry.scenario.document import parse
from telemetry.scenario.format import After, At, Between, Every, When
from telemetry.scenario.subjects import ANSWER, STATUS, TRUTH
from telemetry.scenario.values import KINDS, read_instant, read_plain, read_share_ppm, show_instant, show_ppm

ROOT = Path(__file__).parents[2]

GOOD = """
title: It is stopped and resumed
seed: 3
pump: {profile: itb-20, fill: 18 ml, therapy: {rate: 300 ug/day}, set: {rate_error_ppm: 2 %}}
timeline:
  - at: 2 d 3 h
    wire: stop
    expect: {status: {mode: stopped}, alarms: []}
  - after: 90 min
    wire: resume
    as: clinician
    accept: [stopped_over_48_h]
  - when: {event: alarm_raised, detail: low_reservoir, after: 1 h}
    wire: {silence: 10 min}
  - every: {each: 30 d, times: 3}
    wire: interrogate
  - between: [3 d, 5 d]
    each: 12 h
    expect: {passed: {tip_rate: 300 ug/day ± 3 %}}
  - at: 2026-03-01 08:00
    fault: {over_infusion: {error: 20 %, after: 3 d}}
never: [{alarms: {present: [motor_stall]}}]
finally: {ledger: {balance: 0 ml}, log: {contains: [resumed]}}
"""


def test_a_scenario_is_read_part_by_part() -> None:
    scenario = loads(GOOD, "good.yaml")
    assert (scenario.name, scenario.title, scenario.seed) == ("good", "It is stopped and resumed", 3)
    assert [type(step.timing) for step in scenario.timeline] == [At, After, When, Every, Between, At]
    assert [str(step.action) for step in scenario.timeline if step.action is not None] == [
        "wire: stop",
        "wire: resume",
        "wire: silence",
        "wire: interrogate",
        "fault: over_infusion",
    ]
    assert scenario.timeline[0].line == 6
    assert [check.line for check in scenario.timeline[0].checks] == [8, 8]


MISTAKES = [
    ("titel: x\ntitle: y\n", 1, 1, "titel", "did you mean 'title'?"),
    ("about: x\nends: 1 d\nfinally: {alarms: []}\n", 1, 1, "", "'title' is missing"),
    ("title: x\nseed: -1\n", 2, 7, "seed", "-1 is less than the minimum of 0"),
    ("title: x\nseed: seven\n", 2, 7, "seed", "'seven' is not a whole number"),
    ("title: x\nrole: docter\n", 2, 7, "role", "allowed: observer, patient, clinician"),
    ("title: x\npump: {profile: itb-4}\n", 2, 17, "pump.profile", "did you mean 'itb-40'?"),
    ("title: x\npump: {fill: 40}\n", 2, 14, "pump.fill", "has no unit; write one of: ml, ul, nl"),
    ("title: x\npump: {fill: 300 ug}\n", 2, 14, "pump.fill", "is a dose, not a volume"),
    ("title: x\npump: 3\n", 2, 7, "pump", "3 is not a table"),
    ("title: x\nends: 2 weeks\n", 2, 7, "ends", "unknown unit 'weeks'"),
    ("title: x\nends: 5\n", 2, 7, "ends", "5 has no unit"),
    ("title: x\nends: 2026-13-01\n", 2, 7, "ends", "is no date"),
    ("title: x\ntimeline:\n  - at: 1 d\n    wire: stopp\n", 4, 11, "timeline[0].wire", "did you mean 'stop'?"),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    wire: {set_rat: 1 ml/day}\n",
        4,
        12,
        "timeline[0].wire.set_rat",
        "did you mean 'set_rate'?",
    ),
    ("title: x\ntimeline:\n  - wire: stop\n", 3, 5, "timeline[0]", "it says no time; a step has exactly one of: at"),
    ("title: x\ntimeline:\n  - {at: 1 d, after: 2 h, wire: stop}\n", 3, 5, "timeline[0]", "at and after stand"),
    ("title: x\ntimeline:\n  - {at: 1 d, wire: stop, bench: stop}\n", 3, 5, "timeline[0]", "does one thing"),
    ("title: x\ntimeline:\n  - at: 1 d\n", 3, 5, "timeline[0]", "does nothing and expects nothing"),
    ("title: x\ntimeline:\n  - after: 1 d\n    wire: stop\n", 3, 12, "timeline[0].after", "no step before this one"),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    wire: stop\n    outcome: {refused: end_of_servic}\n",
        5,
        24,
        "timeline[0].outcome.refused",
        "did you mean 'end_of_service'?",
    ),
    (
        "title: x\ntimeline:\n  - {at: 1 d, bench: stop, accept: [starts_delivery]}\n",
        3,
        36,
        "timeline[0].accept",
        "goes with an action through the wire",
    ),
    (
        "title: x\ntimeline:\n  - {at: 1 d, outcome: applied, expect: {alarms: []}}\n",
        3,
        24,
        "timeline[0].outcome",
        "goes with an action; there is none",
    ),
    (
        "title: x\ntimeline:\n  - {between: [0, 1 d], wire: stop}\n",
        3,
        5,
        "timeline[0]",
        "`between` is for expectations",
    ),
    (
        "title: x\ntimeline:\n  - {at: 1 d, wire: stop, each: 1 h}\n",
        3,
        33,
        "timeline[0].each",
        "needs a window of time",
    ),
    (
        "title: x\ntimeline:\n  - {every: {each: 1 d}, wire: interrogate}\n",
        3,
        13,
        "timeline[0].every",
        "never ends; give `until` or `times`",
    ),
    (
        "title: x\nfinally: {status: {rat: 1 ml/day}}\nends: 1 d\n",
        2,
        20,
        "finally.status.rat",
        "did you mean 'rate'?",
    ),
    (
        "title: x\nfinally: {status: {rate: 0.2}}\nends: 1 d\n",
        2,
        26,
        "finally.status.rate",
        "flow rate '0.2' has no unit",
    ),
    (
        "title: x\nfinally: {status: {rate: {at_leas: 1 ml/day}}}\nends: 1 d\n",
        2,
        27,
        "finally.status.rate.at_leas",
        "did you mean 'at_least'?",
    ),
    (
        "title: x\nfinally: {status: {rate: [1]}}\nends: 1 d\n",
        2,
        26,
        "finally.status.rate",
        "a list is not a table",
    ),
    (
        "title: x\nfinally: {status: {mode: stoppt}}\nends: 1 d\n",
        2,
        26,
        "finally.status.mode",
        "did you mean 'stopped'?",
    ),
    (
        "title: x\nfinally: {alarms: [motor_stal]}\nends: 1 d\n",
        2,
        20,
        "finally.alarms[0]",
        "did you mean 'motor_stall'?",
    ),
    (
        "title: x\nfinally: {events: {lacks: [alarm_raisd motor_stall]}}\nends: 1 d\n",
        2,
        28,
        "finally.events.lacks[0]",
        "'alarm_raisd' is no event; did you mean 'alarm_raised'?",
    ),
    (
        "title: x\nfinally: {log: {count: {stal_detected: 1}}}\nends: 1 d\n",
        2,
        25,
        "finally.log.count.stal_detected",
        "did you mean 'stall_detected'?",
    ),
    ("title: x\nfinally: {}\nends: 1 d\n", 2, 10, "finally", "is empty; say at least one thing"),
    (
        "title: x\nfinally: {passed: {tip_dose: 1 ug}}\nends: 1 d\n",
        2,
        19,
        "finally.passed",
        "needs a window of time",
    ),
    ("title: x\nfinally: {patient: {overdose: 0}}\nends: 1 d\n", 1, 1, "", "add `patient: {}`"),
    ("title: x\n", 1, 1, "", "nothing happens: give a timeline, or say when it ends"),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    fault: motor_stal\n",
        4,
        12,
        "timeline[0].fault",
        "did you mean motor_stall",
    ),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    fault: {over_infusion: {eror: 20 %}}\n",
        4,
        28,
        "timeline[0].fault.over_infusion",
        "'eror' is unknown; did you mean 'error'?",
    ),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    fault: {over_infusion: {error: 20}}\n",
        4,
        28,
        "timeline[0].fault.over_infusion",
        "20 has no unit",
    ),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    wire: {program: {rate: 1 ml/day, minimum_rate: true}}\n",
        4,
        21,
        "timeline[0].wire.program",
        "rate and minimum_rate stand together",
    ),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    wire: {program: {steps: {'25:00': 1 ml/day}}}\n",
        4,
        30,
        "timeline[0].wire.program.steps.25:00",
        "is not of the form 06:30",
    ),
    (
        "title: x\ntimeline:\n  - at: 1 d\n    bench: {link: [dorp:1]}\n",
        4,
        20,
        "timeline[0].bench.link[0]",
        "'dorp' is none of drop",
    ),
    ("title: x\ntitle: y\n", 2, 1, "title", "stands here a second time"),
    ("title: [\n", 2, 1, "", "this is no YAML"),
    ("title: !!python/name:os.system x\n", 1, 8, "title", "is not taken"),
    ("- title\n", 1, 1, "", "a scenario is a table"),
    ("", 1, 1, "", "a scenario is a table"),
]


@pytest.mark.parametrize(("text", "line", "column", "path", "says"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_named_with_its_place(text: str, line: int, column: int, path: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "f.yaml")
    found = [(item.line, item.column, item.path) for item in caught.value.problems if says in item.message]
    assert (line, column, path) in found, str(caught.value)
    assert f"f.yaml:{line}:{column}:" in str(caught.value)


def test_all_mistakes_of_a_file_are_said_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        loads("titel: x\nseed: -1\nends: 2 weeks\n", "f.yaml")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    "place", [pytest.param(name, id=name) for name in ("fault", "wire", "bench", "expect", "when", "every", "pump")]
)
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_whatever_stands_there_is_taken_or_named(place: str, junk: object) -> None:
    step = {"at": "1 d", "wire": "stop"} | ({} if place == "pump" else {place: junk})
    if place in {"when", "every"}:
        del step["at"]
    data = {"title": "x", "timeline": [step]} | ({"pump": junk} if place == "pump" else {})
    try:
        loads(json.dumps(data), "f.json")
    except ScenarioError as error:
        said = error.problems
    else:
        return
    assert said
    assert all(item.line >= 1 and item.column >= 1 and item.message for item in said)


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read \(No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe9\n")
    with pytest.raises(UsageError, match="it is no UTF-8 text"):
        load(tmp_path / "latin.yaml")


# --- the schema ------------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_one_that_is_made() -> None:
    assert schema.published_text() == schema.text(), "run: python -m tools.scenario_schema"
    assert (ROOT / "fixtures" / "schemas" / "scenario.schema.json").read_text(encoding="utf-8") == schema.text()


def test_the_schema_is_one_that_other_validators_take() -> None:
    Draft202012Validator.check_schema(schema.published())
    plain = Draft202012Validator(schema.published())
    for path in stock_files().values():
        document = parse(path.read_text(encoding="utf-8"), str(path))
        assert not list(plain.iter_errors(document.data)), path


# --- values ----------------------------------------------------------------------------------------------------------


@given(ms=st.integers(-(10**13), 10**13))
def test_an_instant_reads_as_it_is_shown(ms: int) -> None:
    days, _, clock = show_instant(ms).partition(" d ")
    hours, minutes, seconds = clock.split(":")
    said = f"{days} d {int(hours)} h {int(minutes)} min {seconds.lstrip('0') or '0'} s".replace(" .", " 0.")
    assert read_instant(said).ms == ms


@given(ppm=st.integers(-(10**9), 10**9))
def test_a_share_reads_as_it_is_shown(ppm: int) -> None:
    assert read_share_ppm(show_ppm(ppm)) == ppm


def test_a_date_is_an_instant_by_the_pumps_epoch() -> None:
    assert read_instant("2026-01-02 06:00").at_ms(1_767_225_600) == 30 * 3_600_000


@pytest.mark.parametrize(
    ("kind", "text", "fits", "does_not"),
    [
        ("volume", "2 ml ± 1 %", (1_980_000, 2_020_000), (1_979_999, 2_020_001)),
        ("volume", "2 ml ± 5 nl", (1_999_995, 2_000_005), (1_999_994, 2_000_006)),
        ("dose_per_day", "300 ug/day +- 1 ug/day", (299_000, 301_000), (298_999, 301_001)),
        ("instant", "2 d +/- 1 min", (172_740_000, 172_860_000), (172_739_999, 172_860_001)),
        ("whole", "10 ± 2", (8, 12), (7, 13)),
        ("share", "-3 % ± 1 %", (-40_000, -20_000), (-40_001, -19_999)),
    ],
)
def test_a_tolerance_is_exact(kind: str, text: str, fits: tuple[int, ...], does_not: tuple[int, ...]) -> None:
    condition = read_plain(KINDS[kind], text)
    assert all(condition.holds(value, 0) for value in fits)
    assert not any(condition.holds(value, 0) for value in does_not)


def test_every_field_has_a_name_without_its_unit() -> None:
    assert STATUS["rate"].attribute == "rate_nl_per_day"
    assert TRUTH["delivered_dose"].attribute == "delivered_ng"
    assert ANSWER["after_dose"].attribute == "after.dose_ng_per_day"

"""Messages, their schemas and topics: what is published is what the documentation says, whatever the pump says."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import telemetry.publish
from telemetry import log_meaning
from telemetry.alarm_table import TABLE
from telemetry.cli import logbook
from telemetry.errors import UsageError
from telemetry.interrogation import Interrogation
from telemetry.model import (
    Activity,
    Alarm,
    AlarmClass,
    AlarmKind,
    AlarmPriority,
    AlarmSignal,
    DeliveryReport,
    Drive,
    Drug,
    Identity,
    LogCode,
    LogRecord,
    PumpLimits,
    PumpMode,
    PumpStatus,
    TelemeterInfo,
)
from telemetry.publish import messages, schema_table
from telemetry.publish.memory import Memory
from telemetry.publish.observing import Room, observe
from telemetry.publish.topics import STATES, Kind, Topics, level, parse_destination
from telemetry.units import MS_PER_DAY
from tests.publish.conftest import Bedside, checked

SCHEMAS = Path(telemetry.publish.__path__[0]) / "schemas"
U32 = st.integers(0, 2**32 - 1)
MS = U32.map(lambda seconds: seconds * 1000)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=16)
KEY = "0123456789abcdef"
ROOM = Room(10_000, 1 << 24)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


IDENTITIES = st.builds(
    Identity,
    model=TEXT,
    serial=TEXT,
    pump_id=st.binary(min_size=8, max_size=8),
    firmware=U32,
    reservoir_capacity_nl=U32,
    tubing_volume_nl=U32,
    catheter_volume_nl=U32,
    drug=st.sampled_from(Drug),
    drive=st.sampled_from(Drive),
    level_sensor=st.booleans(),
    calibration_ppm=U32,
    activated_ms=MS,
    epoch_utc_s=U32,
    simulated=st.booleans(),
)
ALARMS = st.builds(
    Alarm,
    kind=st.sampled_from(AlarmKind),
    alarm_class=st.sampled_from(AlarmClass),
    priority=st.sampled_from(AlarmPriority),
    condition_present=st.booleans(),
    signal=st.sampled_from(AlarmSignal),
    enabled=st.booleans(),
    since_ms=MS,
    count=st.integers(0, 65_535),
    silenced_until_ms=maybe(MS),
)
RECORDS = st.builds(
    LogRecord,
    sequence=U32,
    boot_epoch=U32,
    at_ms=MS,
    code=st.sampled_from(LogCode),
    slot=st.integers(0, 255),
    detail=st.integers(0, 65_535),
    value=U32,
)
STATUSES = st.builds(
    PumpStatus,
    mode=st.sampled_from(PumpMode),
    rate_nl_per_day=U32,
    dose_ng_per_day=U32,
    concentration_ng_per_ml=U32,
    drug=st.sampled_from(Drug),
    reservoir_nl=U32,
    reservoir_generation=U32,
    battery_percent=st.integers(0, 100),
    replace_by_ms=MS,
    low_reservoir_at_ms=maybe(MS),
    alarms=st.lists(st.sampled_from(AlarmKind), unique=True).map(tuple),
    program_sequence=U32,
    program_digest=st.binary(min_size=4, max_size=16),
    boot_epoch=U32,
    now_ms=MS,
    clock_utc_s=U32,
    stopped_since_ms=maybe(MS),
    activity=st.sampled_from(Activity),
    activity_ends_ms=maybe(MS),
    alarm_sequence=U32,
)
DELIVERIES = st.builds(
    DeliveryReport,
    activity=st.sampled_from(Activity),
    activity_volume_nl=U32,
    activity_delivered_nl=U32,
    activity_ends_ms=maybe(MS),
    window_1h_nl=U32,
    window_4h_nl=U32,
    window_24h_nl=U32,
    window_24h_ng=U32,
    patient_boluses_24h=U32,
    locked_out_until_ms=maybe(MS),
    next_change_ms=maybe(MS),
    zone_minutes=st.integers(-720, 840),
    clock_utc_s=U32,
    now_ms=MS,
)
TELEMETERS = st.builds(
    TelemeterInfo,
    serial=TEXT,
    firmware=U32,
    battery_percent=st.integers(0, 100),
    coupling_bars=st.integers(0, 5),
    contact=st.booleans(),
    air_bits_per_s=U32,
    air_delay_ms=U32,
    frames_to_pump=U32,
    frames_from_pump=U32,
    frames_lost=U32,
    simulated=st.booleans(),
)
READINGS = st.builds(
    Interrogation,
    read_utc_ms=st.integers(1_700_000_000_000, 1_900_000_000_000),
    identity=IDENTITIES,
    telemeter=TELEMETERS,
    status=STATUSES,
    alarms=st.lists(ALARMS, max_size=4, unique_by=lambda alarm: alarm.kind).map(tuple),
    program=st.none(),
    delivery=DELIVERIES,
    limits=st.from_type(PumpLimits),
    log=st.lists(RECORDS, max_size=4, unique_by=lambda record: record.sequence).map(
        lambda found: tuple(sorted(found, key=lambda record: record.sequence))
    ),
)


@given(found=READINGS, then=READINGS)
def test_whatever_a_pump_says_is_told_as_the_schemas_have_it(found: Interrogation, then: Interrogation) -> None:
    topics = Topics("ward", level(found.identity.serial))
    first = observe(Memory(KEY), found, topics, valid_ms=10_000, log_room=ROOM)
    second = observe(first.memory, replace(then, identity=found.identity), topics, valid_ms=10_000, log_room=ROOM)
    sequences = [one.sequence for one in (*first.messages, *second.messages)]
    assert sequences == list(range(1, len(sequences) + 1))
    for one in (*first.messages, *second.messages):
        body = checked(one.payload)
        assert body["sequence"] == one.sequence
        assert body["simulated"] is found.identity.simulated
        assert one.retain == (one.kind in STATES)
        assert not any(sign in one.topic for sign in "+#\0")
        assert one.topic.startswith(f"{topics.root}/")
    # A record that is told again because the pump was put back to an older state is the same message again.
    others = [one for one in (*first.messages, *second.messages) if one.kind is not Kind.LOG]
    assert len({json.loads(one.payload)["message_id"] for one in others}) == len(others)


@given(found=READINGS)
def test_the_same_reading_again_is_no_event(found: Interrogation) -> None:
    topics = Topics("ward", "one")
    first = observe(Memory(KEY), found, topics, valid_ms=10_000, log_room=ROOM)
    again = observe(first.memory, found, topics, valid_ms=10_000, log_room=ROOM)
    assert [one.kind for one in again.messages] == [Kind.ALARMS, Kind.STATUS]
    assert again.memory.event_sequence == first.memory.event_sequence


@given(record=RECORDS, other=RECORDS)
def test_a_records_id_is_its_content(record: LogRecord, other: LogRecord) -> None:
    same = messages.log_message_id(KEY, record) == messages.log_message_id(KEY, other)
    assert same == (record == other)
    assert messages.log_message_id(KEY, record) != messages.log_message_id("another", record)


@given(found=READINGS, room=st.integers(0, 5))
def test_log_that_does_not_fit_is_left_and_comes_later(found: Interrogation, room: int) -> None:
    topics = Topics("ward", "one")
    first = observe(Memory(KEY), found, topics, valid_ms=10_000, log_room=Room(room, 1 << 24))
    rest = observe(first.memory, found, topics, valid_ms=10_000, log_room=ROOM)
    told = [
        json.loads(one.payload)["log_sequence"] for one in (*first.messages, *rest.messages) if one.kind is Kind.LOG
    ]
    assert told == [record.sequence for record in found.log]
    assert first.log_left == (room < len(found.log))


@pytest.mark.parametrize("kind", schema_table.NAMES)
def test_the_published_files_are_what_the_table_makes(kind: Kind) -> None:
    file = SCHEMAS / f"{kind.value}.json"
    made = schema_table.schema_text(kind.value)
    assert file.read_text(encoding="utf-8") == made, (
        f"run: telemetry publish --schema {kind.value} > telemetry/publish/schemas/{kind.value}.json"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(made))


def test_there_is_a_file_for_each_message_and_no_other() -> None:
    assert {file.stem for file in SCHEMAS.iterdir()} == {kind.value for kind in schema_table.NAMES}


def test_every_number_of_a_drug_or_a_time_has_its_unit_in_the_key() -> None:
    units = ("_ms", "_s", "_nl", "_ng", "_ppm", "_percent", "_per_day", "_per_ml", "_minutes", "_bars")
    counts = {
        "sequence", "event_sequence", "log_sequence", "schema_version", "count", "reservoir_generation",
        "program_sequence", "boot_epoch", "slot", "detail", "value", "patient_boluses_24h", "waiting_messages",
        "lost_alarm_events", "lost_log_records",
    }  # fmt: skip

    def walk(fragment: dict[str, Any]) -> None:
        for name, inner in fragment.get("properties", {}).items():
            kinds = inner.get("type", [])
            if "integer" in (kinds if isinstance(kinds, list) else [kinds]):
                assert name.endswith(units) or name in counts, name
            assert "number" not in (kinds if isinstance(kinds, list) else [kinds])
            walk(inner)
            walk(inner.get("items", {}))

    for kind in schema_table.NAMES:
        walk(schema_table.schema(kind))


def test_no_schema_has_room_for_what_it_does_not_name() -> None:
    body = {"schema": "itb-telemetry/log"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema_table.schema(Kind.LOG)).validate(body)


def test_an_unknown_schema_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match="'order' is no message; one of: identity, status, alarms, alarm, log, link"):
        schema_table.schema_text("order")


async def test_the_rank_of_a_low_reservoir_rises_as_it_runs_empty(bedside: Bedside) -> None:
    found = await bedside.read()
    low = Alarm(AlarmKind.LOW_RESERVOIR, AlarmClass.NON_CRITICAL, AlarmPriority.LOW, True, AlarmSignal.ON, True, 0, 1)
    row = TABLE[AlarmKind.LOW_RESERVOIR]
    assert row.near_ms is not None
    rate = found.status.rate_nl_per_day
    for nl, rank in ((rate * row.near_ms // MS_PER_DAY, "medium"), (rate * 30, "low")):
        body = messages.alarm_body(low, found.identity, replace(found.status, reservoir_nl=nl))
        assert (body["tablet_priority"], body["priority"]) == (rank, "low")
        assert body["advice"]["patient"] == row.advice.patient


async def test_overwritten_records_are_counted(bedside: Bedside) -> None:
    found = await bedside.read()
    topics = Topics("ward", "one")
    record = LogRecord(5, 1, 0, LogCode.STOPPED, 0, 0, 0)
    first = observe(Memory(KEY), replace(found, log=(record,)), topics, valid_ms=1, log_room=ROOM)
    later = replace(found, log=(replace(record, sequence=9),))
    second = observe(first.memory, later, topics, valid_ms=1, log_room=ROOM)
    (pump,) = second.memory.pumps.values()
    assert (pump.log_next, pump.lost_log_records) == (10, 3)
    # Where the reading did not begin where the last ended, a gap says nothing.
    (pump,) = observe(first.memory, later, topics, valid_ms=1, log_room=ROOM, take_log=False).memory.pumps.values()
    assert (pump.log_next, pump.lost_log_records) == (6, 0)


@pytest.mark.parametrize(
    ("text", "broker", "site", "place"),
    [
        ("mqtt://127.0.0.1:1883/ward-7", "mqtt://127.0.0.1:1883", "ward-7", ""),
        ("mqtts://broker.example/ward_7/bed.12", "mqtts://broker.example", "ward_7", "bed.12"),
        ("MQTT://[::1]:1883/a/b?user=x&version=5", "mqtt://[::1]:1883?user=x&version=5", "a", "b"),
    ],
)
def test_a_destination_is_read(text: str, broker: str, site: str, place: str) -> None:
    found = parse_destination(text)
    assert (found.broker, found.site, found.place) == (broker, site, place)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1/ward", "is no broker"),
        ("http://127.0.0.1/ward", "is no broker"),
        ("mqtt:///ward", "names no host"),
        ("mqtt://127.0.0.1", "names no site"),
        ("mqtt://127.0.0.1/", "names no site"),
        ("mqtt://127.0.0.1/a/b/c", "has 3 parts"),
        ("mqtt://127.0.0.1/ward+7", "site 'ward\\+7' cannot stand in a topic"),
        ("mqtt://127.0.0.1/ward/#", "place '#' cannot"),
        ("mqtt://127.0.0.1/$SYS", "site '\\$SYS' cannot"),
        ("mqtt://127.0.0.1/" + "a" * 65, "1 to 64"),
        ("", "is no broker"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_destination(text)


@given(st.text())
def test_any_text_is_a_destination_or_a_sentence(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_destination(f"mqtt://h/{text}").site == text.partition("?")[0].partition("/")[0]


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_serial_is_one_level_and_no_two_are_the_same(one: str, other: str) -> None:
    assert not set(level(one)) & set("/+#\0 ")
    assert level(one)
    if one and other:
        assert (level(one) == level(other)) == (one == other)


@given(record=RECORDS)
def test_a_record_means_what_the_command_line_says_it_means(record: LogRecord) -> None:
    found = log_meaning.subject(record)
    told = logbook.detail(record)
    if found is not None:
        assert found.replace("_", " ") == told
    elif told and record.detail:
        assert any(sign.isdigit() for sign in told)
    spoken = logbook.value(record)
    unit = {"nl_per_day": "ml/day", "nl": " ml", "ng": "in 24 h", "ng_per_day": "g/day", "strokes": "strokes"}
    match log_meaning.value_unit(record):
        case None:
            assert spoken in {"", str(record.value)}
        case "utc_s":
            assert record.code is LogCode.CLOCK_SET
        case name:
            assert unit[name] in spoken


def test_every_code_that_the_command_line_explains_has_its_meaning() -> None:
    for code in LogCode:
        record = LogRecord(1, 1, 0, code, 0, 1, 1)
        if not any(sign.isdigit() for sign in logbook.detail(record)):
            assert (log_meaning.subject(record) or "").replace("_", " ") == logbook.detail(record), code

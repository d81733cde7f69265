"""Steps S-01 to S-17: what a dashboard makes of what is on the broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from telemetry.conform.operator import Field
from telemetry.conform.screen_text import Kind as Quantity
from telemetry.conform.screen_text import quantities, says
from telemetry.conform.subscriber.bench import VALID_MS
from telemetry.conform.subscriber.catalogue import CATALOGUE, domain, told
from telemetry.model import AlarmKind
from telemetry.publish.schema_table import VERSION
from telemetry.publish.topics import Kind
from telemetry.therapy import Therapy
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from telemetry.conform.subscriber.bench import SubscriberBench
    from telemetry.publish.messages import Message

_STALE = ("out of date", "stale", "old", "offline", "not current", "no connection")
_STOPPED = ("stopped", "no drug is flowing", "no delivery")
_NOT_READ = ("not read", "not understood", "unknown", "cannot", "unreadable", "unsupported")


def _one(messages: list[Message], kind: Kind) -> Message:
    return next(message for message in messages if message.kind is kind)


@CATALOGUE.step(
    "S-01",
    group="values",
    title="Shows what is retained when it connects",
    purpose="Whoever opens a dashboard must not wait for the next reading to see the last one.",
    stimulus="Identity, status and alarms of a pump are retained; the subscriber connects.",
    expected="Rate, dose and reservoir with their units, and the pump's serial number.",
    sources=(told("Where it publishes"), domain("5.4")),
    claims=("values",),
)
async def _retained(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    status = bench.pump.status
    bench.expect_quantity(await bench.show(Field.RATE), Quantity.FLOW, status.rate_nl_per_day, "the rate")
    bench.expect_quantity(await bench.show(Field.DOSE), Quantity.DAILY_DOSE, status.dose_ng_per_day, "the dose")
    bench.expect_quantity(await bench.show(Field.RESERVOIR), Quantity.VOLUME, status.reservoir_nl, "the reservoir")
    serial = bench.source.serial
    text = await bench.show(Field.IDENTITY)
    bench.expect(serial in text, f"the serial number {serial}", text)


@CATALOGUE.step(
    "S-02",
    group="values",
    title="Says that the pump is a simulated one",
    purpose="A simulated value on a ward's screen is an accident in waiting.",
    stimulus="Messages with simulated true.",
    expected="The mark SIMULATED.",
    sources=(told("What a message looks like"),),
)
async def _simulated(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.expect_says(await bench.show(Field.SIMULATED), bench.manifest.words.simulated, "the mark")


@CATALOGUE.step(
    "S-03",
    group="values",
    title="Shows a new status in place of the old one",
    purpose="A dashboard is looked at; it is not asked.",
    stimulus="The subscriber is connected; the pump gets another rate; its status is published.",
    expected="Rate and dose are the new ones.",
    sources=(told("Where it publishes"),),
    claims=("values",),
)
async def _new_status(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("0.190 ml/day")))
    await bench.look()
    await bench.rest(0)
    bench.expect_quantity(await bench.show(Field.RATE), Quantity.FLOW, 190_000, "the rate")
    bench.expect_quantity(await bench.show(Field.DOSE), Quantity.DAILY_DOSE, 380_000, "the dose")


@CATALOGUE.step(
    "S-04",
    group="values",
    title="An older status does not take the place of a newer one",
    purpose="QoS 1 may bring a message again, and late.",
    stimulus="A status, a newer one, and then the older one again under an id of its own.",
    expected="The newer rate stands there.",
    sources=(told("Nothing lost, nothing doubled"),),
    claims=("values",),
)
async def _older_status(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    first = _one(await bench.look(), Kind.STATUS)
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("0.190 ml/day")))
    await bench.look()
    body = json.loads(first.payload)
    await bench.publish_changed(first, message_id=f"{body['message_id']}.again")
    await bench.rest(0)
    bench.expect_quantity(await bench.show(Field.RATE), Quantity.FLOW, 190_000, "the rate")


@CATALOGUE.step(
    "S-05",
    group="values",
    title="Marks what is out of date",
    purpose="The last value looks like the present one for ever.",
    stimulus="A status is published and none follows; its valid_until passes.",
    expected="Until then no mark; afterwards a mark that it is out of date.",
    sources=(told("What a message looks like"), domain("5.7")),
    claims=("values", "connection"),
)
async def _out_of_date(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_silent(text, _STALE, "no mark while it is valid")
    await bench.rest(VALID_MS + 2_000)
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_says(text, (*_STALE, *bench.manifest.words.stale), "the mark of what is out of date")


@CATALOGUE.step(
    "S-06",
    group="connection",
    title="Shows that the publisher is gone",
    purpose="A gateway that lost its power says nothing more; the broker says it.",
    stimulus="The publisher's connection breaks off; the broker publishes its will.",
    expected="Words that it is offline; the values are not shown as the present.",
    sources=(told("Where it publishes"),),
    claims=("connection",),
)
async def _will(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    before = await bench.show(Field.CONNECTION)
    bench.expect_silent(before, ("offline", "lost"), "no such word before")
    await bench.outlet.vanish()
    await bench.rest(0)
    text = await bench.show(Field.CONNECTION)
    bench.expect_says(text, ("offline", "lost", "gone", "disconnected"), "the publisher is gone")
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_says(text, (*_STALE, *bench.manifest.words.stale), "the values are marked")
    await bench.online()


@CATALOGUE.step(
    "S-07",
    group="connection",
    title="Shows that the pump cannot be read, and why",
    purpose="A gateway that is well says nothing of a pump that is out of reach.",
    stimulus="The publisher says pump_not_read, with the reason.",
    expected="The reason, or words that the pump is not read; the values are not shown as the present.",
    sources=(told("Where it publishes"),),
    claims=("connection",),
)
async def _not_read(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    reason = "the telemeter is not over the pump: place it on the skin"
    await bench.tell_link("pump_not_read", "pump_not_read", ("LinkTimeout", reason))
    await bench.rest(0)
    text = await bench.show(Field.CONNECTION)
    bench.expect("telemeter" in text or says(text, "not read"), "the reason, or that it is not read", text)
    text = f"{await bench.show(Field.DOSE)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_says(text, (*_STALE, *bench.manifest.words.stale), "the values are marked")


@CATALOGUE.step(
    "S-08",
    group="alarms",
    title="Shows an alarm in time, with its priority",
    purpose="An alarm that nobody sees is none.",
    stimulus="The subscriber is connected; the pump is stopped; the alarm is published.",
    expected="Within the claimed time the alarm stands there with high priority.",
    sources=(told("Where it publishes"), domain("5.4")),
    claims=("alarms",),
)
async def _alarm(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.stop()
    await bench.look(keep=lambda message: message.kind is Kind.ALARM)
    await bench.rest(0)
    text = await bench.show(Field.ALARMS)
    lines = [line for line in text.splitlines() if says(line, *_STOPPED)]
    bench.expect(any(says(line, *bench.manifest.words.high) for line in lines), "therapy stopped, high", text)


@CATALOGUE.step(
    "S-09",
    group="alarms",
    title="Shows an alarm that was there before it connected",
    purpose="Alarm events are not retained; what is present is.",
    stimulus="The pump is stopped and all is published; then the subscriber connects.",
    expected="The alarm stands there.",
    sources=(told("Where it publishes"),),
    claims=("alarms",),
)
async def _alarm_before(bench: SubscriberBench) -> None:
    await bench.online()
    bench.pump.stop()
    await bench.look()
    await bench.connect()
    bench.expect_says(await bench.show(Field.ALARMS), _STOPPED, "the alarm of the stopped therapy")


@CATALOGUE.step(
    "S-10",
    group="alarms",
    title="Takes a cleared alarm away",
    purpose="A screen full of alarms that are over hides the one that is not.",
    stimulus="The pump is stopped, and resumed; the events are published.",
    expected="The alarm stood there, and does not as present any more.",
    sources=(told("What a message looks like"),),
    claims=("alarms",),
)
async def _cleared(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.stop()
    await bench.look(keep=lambda message: message.kind is Kind.ALARM)
    await bench.rest(0)
    bench.expect_says(await bench.show(Field.ALARMS), _STOPPED, "the alarm while it is present")
    bench.pump.resume()
    await bench.look(keep=lambda message: message.kind is Kind.ALARM)
    await bench.rest(0)
    lines = [line for line in (await bench.show(Field.ALARMS)).splitlines() if says(line, *_STOPPED)]
    still = [line for line in lines if not says(line, *bench.manifest.words.over)]
    bench.expect(not still, "no such alarm as present", "\n".join(lines) or "none")


@CATALOGUE.step(
    "S-11",
    group="alarms",
    title="A silenced alarm stays, as silenced",
    purpose="Silence is not an end.",
    stimulus="The pump is stopped and its alarm silenced; the events are published.",
    expected="The alarm stands there, and as silenced.",
    sources=(told("What a message looks like"), domain("5.7")),
    claims=("alarms",),
)
async def _silenced(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.stop()
    await bench.look()
    bench.pump.device.silence_alarms(60_000)
    await bench.look()
    await bench.rest(0)
    lines = [line for line in (await bench.show(Field.ALARMS)).splitlines() if says(line, *_STOPPED)]
    bench.expect(bool(lines), "the silenced alarm", "\n".join(lines))
    bench.expect_says("\n".join(lines), bench.manifest.words.silenced, "the mark of a silenced alarm")


@CATALOGUE.step(
    "S-12",
    group="alarms",
    title="Does not hide an alarm that it does not know",
    purpose="The next pump has an alarm that this subscriber was not written for.",
    stimulus="An alarm of a kind that no table has is raised, with high priority.",
    expected="It stands there, by its name or its condition, with high priority.",
    sources=(told("What a message looks like"),),
    claims=("alarms",),
)
async def _unknown_alarm(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.stop()
    event = _one(await bench.look(keep=lambda _message: False), Kind.ALARM)
    alarm = json.loads(event.payload)["alarm"] | {
        "kind": "bellows_rupture",
        "condition": "the bellows of the reservoir is torn",
    }
    await bench.publish(
        event.topic.replace(AlarmKind.THERAPY_STOPPED.value, "bellows_rupture"),
        json.dumps(json.loads(event.payload) | {"alarm": alarm}, ensure_ascii=False).encode(),
    )
    await bench.rest(0)
    text = await bench.show(Field.ALARMS)
    lines = [line for line in text.splitlines() if says(line, "bellows rupture", "bellows")]
    bench.expect(any(says(line, *bench.manifest.words.high) for line in lines), "bellows rupture, high", text)


@CATALOGUE.step(
    "S-13",
    group="log",
    title="Shows a message that comes twice once",
    purpose="QoS 1 means at least once.",
    stimulus="The records of a stop and a resume, each published three times with its id.",
    expected="One line “stopped” and one line “resumed”, in this order.",
    sources=(told("Nothing lost, nothing doubled"),),
    claims=("log",),
)
async def _twice(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    before = len((await bench.show(Field.LOG)).splitlines())
    bench.pump.stop()
    bench.pump.resume()
    records = [message for message in await bench.look() if message.kind is Kind.LOG]
    for message in (*records, *records):
        await bench.publish(message.topic, message.payload.encode())
    await bench.rest(0)
    lines = (await bench.show(Field.LOG)).splitlines()[before:]
    stops = [place for place, line in enumerate(lines) if says(line, "stopped")]
    resumes = [place for place, line in enumerate(lines) if says(line, "resumed")]
    held = len(stops) == len(resumes) == 1 and stops[0] < resumes[0]
    bench.expect(held, "“stopped” once, then “resumed” once", "\n".join(lines))


@CATALOGUE.step(
    "S-14",
    group="connection",
    title="Tells that an event is missing",
    purpose="Events are numbered without a gap so that a loss shows.",
    stimulus="The pump is stopped, and what is published of it never arrives; a resume is published.",
    expected="Words that something was lost or is missing.",
    sources=(told("Nothing lost, nothing doubled"),),
    claims=("connection", "log"),
)
async def _gap(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("0.180 ml/day")))
    await bench.look()
    bench.pump.stop()
    await bench.look(keep=lambda message: not message.event)
    bench.pump.resume()
    await bench.look()
    await bench.rest(0)
    text = f"{await bench.show(Field.CONNECTION)} {await bench.show(Field.FRESHNESS)} {await bench.show(Field.LOG)}"
    bench.expect_says(text, ("lost", "missing", "gap", "incomplete"), "the loss is told")


@CATALOGUE.step(
    "S-15",
    group="reading",
    title="Does not misread another version of a message",
    purpose="A key that means something else in the next version looks the same.",
    stimulus="A status of the next schema version whose dose is a thousand times as large.",
    expected="That dose does not stand there; the subscriber says that it could not read something, or marks the old.",
    sources=(told("What a message looks like"),),
    claims=("values",),
)
async def _version(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    status = _one(await bench.look(), Kind.STATUS)
    body = json.loads(status.payload)
    dose = body["dose_ng_per_day"] * 1_000
    await bench.publish_changed(
        status,
        schema_version=VERSION + 1,
        sequence=body["sequence"] + 1_000,
        message_id=f"{body['message_id']}.next",
        dose_ng_per_day=dose,
    )
    await bench.rest(0)
    text = await bench.show(Field.DOSE)
    wrong = any(one.is_about(dose) for one in quantities(text, Quantity.DAILY_DOSE))
    bench.expect(not wrong, "not the dose of a message that it cannot read", text)
    text = f"{text} {await bench.show(Field.CONNECTION)} {await bench.show(Field.FRESHNESS)}"
    bench.expect_says(text, (*_NOT_READ, *_STALE), "words that something was not read")


@CATALOGUE.step(
    "S-16",
    group="reading",
    title="Bears what is no message, and goes on",
    purpose="Anybody whom the broker lets in may publish anything.",
    stimulus="Bytes that are no JSON, an empty object, a list, a status without its keys, 200 kB; then a right status.",
    expected="The right status stands there.",
    sources=(told("What a message looks like"),),
    claims=("values",),
)
async def _garbage(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    topic = bench.topics.of(Kind.STATUS)
    head = {"schema": "itb-telemetry/status", "schema_version": VERSION, "message_id": "conform.short"}
    deep = b"[" * 5_000
    for payload in (b"\xff\x00", b"{}", b"[]", b"null", b"7", deep, json.dumps(head).encode(), b"x" * 200_000):
        await bench.publish(topic, payload)
    bench.pump.program(Therapy.simple_continuous(FlowRate.parse("0.190 ml/day")))
    await bench.look()
    await bench.rest(0)
    bench.expect_quantity(await bench.show(Field.RATE), Quantity.FLOW, 190_000, "the rate after all that")


@CATALOGUE.step(
    "S-17",
    group="reading",
    title="Does not mix two pumps",
    purpose="One site has many pumps under one root.",
    stimulus="A status of another pump is published on that pump's topic, and one is forged onto this pump's.",
    expected="The rate of this pump stands there; of the forged one the serial number stands beside it, or nothing.",
    sources=(told("Where it publishes"),),
    claims=("values",),
)
async def _two_pumps(bench: SubscriberBench) -> None:
    await bench.online()
    await bench.connect()
    status = _one(await bench.look(), Kind.STATUS)
    body = json.loads(status.payload)
    other = body | {
        "pump": {"model": body["pump"]["model"], "serial": "SIM-OTHER"},
        "rate_nl_per_day": 480_000,
        "dose_ng_per_day": 960_000,
        "message_id": f"{body['message_id']}.other",
        "sequence": body["sequence"] + 500,
    }
    for topic in (status.topic.replace(bench.topics.place, "SIM-OTHER"), status.topic):
        await bench.publish(topic, json.dumps(other).encode())
    await bench.rest(0)
    text, who = await bench.show(Field.RATE), await bench.show(Field.IDENTITY)
    mixed = any(one.is_about(480_000) for one in quantities(text, Quantity.FLOW)) and "SIM-OTHER" not in who
    bench.expect(not mixed, "this pump's rate, or the other's under its own name", f"{who}: {text}")

"""Conformance of a subscriber: the reference dashboard passes, in process and on a broker; each bad one is caught."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.clock import host_utc_ms
from telemetry.conform.bad.subscribers import BAD_SUBSCRIBERS
from telemetry.conform.manifest import Limits, Manifest
from telemetry.conform.operator import Act, ActKind, Answer, AnswerKind, Field
from telemetry.conform.results import Verdict, parse_run
from telemetry.conform.subscriber import CATALOGUE, Dashboard, run_own_subscriber, run_subscriber
from telemetry.conform.subscriber.bus import BrokerFeed, MemoryBus, MemoryFeed, MemoryOutlet, matches
from telemetry.errors import LinkError, UsageError
from telemetry.publish.schema_table import VERSION
from telemetry.transport.mqtt_access import BrokerAccess
from telemetry.transport.url import parse_url
from tests.support.brokers import Mosquitto

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.conform.bad import Bad
    from telemetry.conform.results import StepResult


async def test_the_reference_passes_every_step_and_the_run_is_repeatable() -> None:
    first = await run_own_subscriber(seed=3)
    assert [(step.number, finding) for step, finding in first.findings()] == []
    assert {step.verdict for step in first.steps} == {Verdict.PASS}
    assert len(first.steps) == len(CATALOGUE) >= 15
    assert parse_run(first.to_json()) == first
    assert first.simulated
    assert (await run_own_subscriber(seed=3)).digest() == first.digest()


async def test_each_step_judges_something() -> None:
    run = await run_own_subscriber()
    assert [step.number for step in run.steps if not any(line.kind == "judged" for line in step.evidence)] == []


@pytest.mark.parametrize("bad", BAD_SUBSCRIBERS, ids=lambda bad: bad.name)
async def test_a_bad_subscriber_is_caught_by_the_step_that_names_its_fault(bad: Bad[Dashboard]) -> None:
    run = await run_own_subscriber(seed=1, numbers=frozenset([bad.step]), dashboard=bad.make)
    (step,) = run.steps
    assert step.verdict is Verdict.FAIL, step


def test_bad_subscribers_have_names_and_steps_of_their_own() -> None:
    assert len({bad.name for bad in BAD_SUBSCRIBERS}) == len(BAD_SUBSCRIBERS) >= 15
    assert {bad.step for bad in BAD_SUBSCRIBERS} == {step.number for step in CATALOGUE}


# --- the bus in this process keeps a broker's promises


@pytest.mark.parametrize(
    ("wanted", "topic", "held"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),  # MQTT 3.1.1, 4.7.1.2: the parent level too
        ("#", "a/b", True),
        ("a/b", "a", False),
        ("+/b", "a/b", True),
        ("a", "a/b", False),
    ],
)
def test_topic_filters(wanted: str, topic: str, held: bool) -> None:
    assert matches(wanted, topic) is held


async def test_the_bus_retains_replaces_and_takes_away_and_publishes_wills() -> None:
    bus, heard = MemoryBus(), list[tuple[str, bytes]]()
    outlet, feed = MemoryOutlet(bus), MemoryFeed(bus)
    await outlet.open("a/link", b"gone")
    await outlet.publish("a/one", b"1", retain=True)
    await outlet.publish("a/one", b"2", retain=True)
    await outlet.publish("a/event", b"e", retain=False)
    await feed.open("a/#", lambda topic, payload: heard.append((topic, payload)), lambda: None)
    assert heard == [("a/one", b"2")]
    await outlet.publish("a/one", b"", retain=True)
    await outlet.vanish()
    assert heard[1:] == [("a/one", b""), ("a/link", b"gone")]
    assert bus.retained == {"a/link": b"gone"}
    await feed.close()
    await outlet.open("a/link", b"gone")
    await outlet.close()
    await outlet.vanish()
    assert len(heard) == 3


# --- the dashboard against hostile input


class Taken(Dashboard):
    """Counts what it takes."""

    taken = 0

    def take(self, kind: str, body: dict[str, Any]) -> None:
        self.taken += 1
        super().take(kind, body)


def _dashboard() -> Taken:
    return Taken(MemoryFeed(MemoryBus()), "s/pump/p", lambda: 1_800_000_000_000)


TOPICS = st.sampled_from(
    [f"s/pump/p/{name}" for name in ("status", "link", "alarms", "alarm/x", "log", "identity", "x")]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HEADS = st.sampled_from(["status", "link", "alarms", "alarm", "log", "identity"])


@given(st.lists(st.tuples(TOPICS, st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))))
def test_a_dashboard_takes_nothing_of_what_is_no_message_and_goes_on(sent: list[tuple[str, bytes]]) -> None:
    screen = _dashboard()
    for topic, payload in sent:
        screen.arrived(topic, payload)
    assert screen.taken == 0
    assert screen.unread == sum(1 for _, payload in sent if payload)
    for field in Field:
        screen.show(field.value)


@given(HEADS, st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_a_message_with_a_right_head_and_a_wrong_body_is_not_taken(kind: str, body: dict[str, Any]) -> None:
    screen = _dashboard()
    whole = {**body, "schema": f"itb-telemetry/{kind}", "schema_version": VERSION, "message_id": "12345678"}
    screen.arrived(f"s/pump/p/{kind}", json.dumps(whole).encode())
    assert (screen.taken, screen.unread) == (0, 1)
    assert "NOT UNDERSTOOD" in screen.show(Field.CONNECTION)


async def test_what_a_dashboard_cannot_do_it_says() -> None:
    screen = _dashboard()
    assert await screen.do(Act(ActKind.BOLUS)) == Answer(AnswerKind.UNABLE)
    assert await screen.do(Act(ActKind.SHOW, "dose")) == Answer(AnswerKind.NOTHING)


class Skips(Dashboard):
    """Its operator leaves every question out."""

    async def do(self, act: Act) -> Answer:
        return Answer(AnswerKind.SKIPPED) if act.kind is ActKind.SHOW else await super().do(act)


async def test_a_question_left_out_is_inconclusive_and_never_a_pass() -> None:
    run = await run_own_subscriber(dashboard=Skips)
    assert {step.verdict for step in run.steps} == {Verdict.INCONCLUSIVE}
    assert not run.passed


# --- on a broker


async def _on(url: str, numbers: list[str], dashboard: type[Dashboard] = Dashboard) -> dict[str, Verdict]:
    access = BrokerAccess.from_url(parse_url(url))
    hands = dashboard(BrokerFeed(access), "bench/pump/SIM-CONFORM", host_utc_ms)
    manifest = Manifest(limits=Limits(alarm_shown_ms=150))
    run = await run_subscriber(f"{url}/bench", hands=hands, patterns=numbers, manifest=manifest, seed=2)
    return {step.number: step.verdict for step in run.steps}


@pytest.mark.real
async def test_the_reference_passes_on_a_broker_and_a_bad_one_does_not(tmp_path: Path) -> None:
    numbers = ["S-01", "S-03", "S-06", "S-08", "S-09", "S-12", "S-13", "S-16"]
    async with Mosquitto(tmp_path) as broker:
        assert await _on(broker.url, numbers) == dict.fromkeys(numbers, Verdict.PASS)
        bad = {one.step: one for one in BAD_SUBSCRIBERS}
        assert (await _on(broker.url, ["S-13"], bad["S-13"].make))["S-13"] is Verdict.FAIL  # type: ignore[arg-type]


@pytest.mark.real
async def test_the_reference_as_a_program_passes_too(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        run = await run_subscriber(
            f"{broker.url}/bench/bed-12",
            f"{sys.executable} -m telemetry.conform.subscriber.own_program",
            manifest=Manifest(limits=Limits(alarm_shown_ms=150)),
            patterns=["S-01", "S-08"],
        )
    assert [(step.number, step.verdict, step.reason) for step in run.steps] == [
        ("S-01", Verdict.PASS, ""),
        ("S-08", Verdict.PASS, ""),
    ]


@pytest.mark.real
async def test_a_broker_that_is_not_there_is_a_link_error_before_any_step() -> None:
    with pytest.raises(LinkError, match="nothing listens at"):
        await _on("mqtt://127.0.0.1:1", ["S-01", "S-06"])


@pytest.mark.real
async def test_a_broker_that_goes_away_blocks_what_is_left(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        killing: list[asyncio.Task[None]] = []
        feed = BrokerFeed(BrokerAccess.from_url(parse_url(broker.url)))

        def kill(result: StepResult) -> None:
            if result.number == "S-01":
                killing.append(asyncio.create_task(broker.kill()))

        run = await run_subscriber(
            f"{broker.url}/bench",
            hands=Dashboard(feed, "bench/pump/SIM-CONFORM", host_utc_ms),
            manifest=Manifest(limits=Limits(alarm_shown_ms=150)),
            patterns=["S-01", "S-02", "S-03"],
            on_result=kill,
        )
        await asyncio.gather(*killing)
    verdicts = [step.verdict for step in run.steps]
    assert verdicts[0] is Verdict.PASS
    assert set(verdicts[1:]) == {Verdict.BLOCKED}
    assert not run.passed


@pytest.mark.real
@pytest.mark.parametrize("url", ["mqtt://127.0.0.1:1883", "tcp://127.0.0.1:1883/site", "mqtt://127.0.0.1/a/b/c"])
async def test_a_url_without_a_site_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        await run_subscriber(url, hands=_dashboard())

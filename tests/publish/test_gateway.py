"""The gateway against a broker in memory: nothing lost, nothing doubled, nothing taken for new that is old."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import VirtualPump
from telemetry.errors import LinkOpenError
from telemetry.interrogation import NotRead
from telemetry.publish.gateway import RETOLD_MS
from telemetry.publish.topics import parse_destination
from tests.publish.conftest import READ_UTC_MS, Ward, checked, once, stall

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.virtual


async def test_a_first_look_says_who_it_is_how_it_is_and_that_it_is_there(ward: Ward) -> None:
    ward.start()
    await ward.look()
    topics = [one.topic for one in ward.broker.arrived]
    root = "ward-7/pump/" + ward.broker.state("identity")["pump"]["serial"]
    assert topics[-4:] == [f"{root}/{kind}" for kind in ("identity", "alarms", "status", "link")]
    assert all(one.retain == (not one.topic.endswith("/log")) for one in ward.broker.arrived)
    link, status = ward.broker.state("link"), ward.broker.state("status")
    assert (link["state"], link["reason"]) == ("online", "read")
    assert all(body["simulated"] is True for body in ward.broker.bodies())
    assert (status["read_utc_ms"], status["valid_until_utc_ms"]) == (READ_UTC_MS + 2_000, READ_UTC_MS + 12_000)
    assert status["reservoir_nl"] == ward.bedside.pump.status.reservoir_nl


async def test_every_log_record_comes_once_and_in_order(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await stall(ward.bedside)
    await ward.look(3)
    numbers = [body["log_sequence"] for body in ward.broker.bodies("log")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert "stall_detected" in [body["code"] for body in ward.broker.bodies("log")]
    events = [body["event_sequence"] for body in ward.broker.bodies() if "event_sequence" in body]
    assert events == list(range(1, len(events) + 1))


async def test_an_alarm_is_told_when_it_comes_changes_and_goes(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await stall(ward.bedside)
    await ward.look()
    async with telemetry.connect(pump=ward.bedside.pump) as clinician:
        await clinician.silence_alarm()
    await ward.look()
    ward.bedside.pump.clear("motor_stall")
    ward.bedside.pump.advance(hours=2)
    async with telemetry.connect(pump=ward.bedside.pump) as clinician:
        for alarm in await clinician.read_alarms():
            await clinician.acknowledge_alarm(alarm.kind)
    await ward.look()
    told = [(one.topic.rsplit("/", 1)[1], one.body) for one in ward.broker.arrived if "/alarm/" in one.topic]
    assert [name for name, _ in told] == ["motor_stall"] * len(told)
    assert [body["change"] for _, body in told][:2] == ["raised", "changed"]
    assert told[-1][1]["change"] == "cleared"
    raised, changed = told[0][1], told[1][1]
    assert raised["alarm"]["advice"]["clinician"]
    assert raised["alarm"]["tablet_priority"] == "high"
    assert set(changed["changed"]) == {"signal", "silenced_until_ms", "silenced_until_utc_ms"}
    assert raised["alarm"]["since_utc_ms"] - raised["alarm"]["since_ms"] == (
        ward.broker.state("identity")["epoch_utc_s"] * 1000
    )
    assert ward.broker.state("alarms")["present"] == []


async def test_a_broker_that_is_gone_misses_nothing(ward: Ward) -> None:
    ward.start()
    await ward.look()
    before = len(ward.broker.bodies("status"))
    ward.broker.die()
    await stall(ward.bedside)
    await ward.look(5)
    assert "gone" in ward.told[-1].broker_problem or "answer" in ward.told[-1].broker_problem
    assert ward.broker.state("link")["reason"] == "gateway_lost"
    ward.broker.come_back()
    await ward.pause(60_000)
    numbers = [body["log_sequence"] for body in once(ward.broker.bodies("log"))]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [body["change"] for body in once(ward.broker.bodies("alarm"))] == ["raised"]
    # Of five readings while it was gone only the last is worth telling.
    assert len(ward.broker.bodies("status")) == before + 1
    assert ward.broker.state("link")["state"] == "online"
    assert ward.broker.arrived[-1].topic.endswith("/link")


async def test_what_a_dying_broker_acknowledged_and_lost_is_sent_again(ward: Ward) -> None:
    ward.start()
    await ward.look()
    lost = [one.body["message_id"] for one in ward.broker.arrived if "event_sequence" in one.text]
    assert lost
    ward.broker.forgets = len(ward.broker.arrived)
    ward.broker.die()
    await ward.look()
    await ward.pause(120_000)
    ward.broker.come_back()
    await ward.pause(60_000)
    ids = [body["message_id"] for body in once(ward.broker.bodies()) if "event_sequence" in body]
    assert ids[: len(lost)] == lost
    ward.broker.forgets = len(ward.broker.arrived)
    ward.broker.die()
    await ward.settle()
    ward.broker.come_back()
    await ward.pause(60_000)
    assert [body["message_id"] for body in once(ward.broker.bodies()) if "event_sequence" in body][: len(lost)] == lost
    assert ward.broker.state("identity")


async def test_what_was_acknowledged_long_ago_is_not(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await ward.pause(11_000)
    ward.broker.arrived.clear()
    ward.broker.die()
    await ward.look()
    ward.broker.come_back()
    await ward.pause(2_000)
    assert ward.broker.connections == 2
    assert ward.broker.bodies("log") == []


@pytest.mark.parametrize("before_death", [1, 2, 3, 7])
async def test_a_killed_gateway_goes_on_where_it_was(ward: Ward, before_death: int) -> None:
    ward.broker.dies_after = before_death
    ward.start()
    await ward.look()
    await ward.kill()
    await stall(ward.bedside)
    ward.broker.come_back()
    ward.start()
    await ward.look()
    await ward.pause(1_000)
    logs = once(ward.broker.bodies("log"))
    numbers = [body["log_sequence"] for body in logs]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [body["change"] for body in once(ward.broker.bodies("alarm"))] == ["raised"]
    assert len({body["sequence"] for body in once(ward.broker.bodies())}) == len(once(ward.broker.bodies()))
    assert ward.asked_from[1] > 0  # the log was not read from its start again


async def test_a_pump_that_cannot_be_read_is_told_with_the_reason_and_its_status_left_to_grow_old(ward: Ward) -> None:
    ward.start()
    await ward.look()
    status = ward.broker.state("status")
    ward.bedside.look = _cannot  # type: ignore[method-assign]
    await ward.look(3)
    link = ward.broker.state("link")
    assert (link["state"], link["problem"]["kind"]) == ("pump_not_read", "LinkTimeout")
    assert link["read_utc_ms"] == status["read_utc_ms"]
    assert ward.broker.state("status") == status
    assert len([one for one in ward.broker.bodies("link") if one["state"] == "pump_not_read"]) == 1


async def _cannot() -> NotRead:
    return NotRead(READ_UTC_MS, "LinkTimeout", "no answer: bring the telemeter back over the pump")


async def test_an_orderly_end_says_so_and_leaves_no_will(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await ward.stop()
    assert (ward.broker.state("link")["state"], ward.broker.state("link")["reason"]) == ("offline", "gateway_stopped")
    assert ward.broker.clean
    assert len(ward.spool) == 0


async def test_an_end_without_a_broker_keeps_what_waits(ward: Ward) -> None:
    ward.broker.down = True
    ward.start()
    await ward.look()
    await ward.stop()
    waiting = len(ward.spool)
    assert waiting == 5
    ward.broker.down = False
    ward.start()
    await ward.pause(1_000)
    assert len(ward.broker.bodies("log")) > 0
    assert ward.told[-1].waiting == 0


async def test_what_no_broker_acknowledged_is_still_there_after_a_kill(ward: Ward) -> None:
    ward.start()
    await ward.look()
    had = len(ward.broker.arrived)
    ward.broker.deaf = True
    await stall(ward.bedside)
    await ward.look()
    sent = [one.body["message_id"] for one in ward.broker.arrived[had:]]
    assert sent, "it was sent, and nobody said that it came"
    await ward.kill()
    del ward.broker.arrived[had:]
    ward.broker.deaf = False
    ward.start()
    await ward.look()
    assert sent[0] in {body["message_id"] for body in ward.broker.bodies()}, "the first under way was not dropped"


async def test_a_deaf_broker_is_told_the_end_out_of_order(ward: Ward) -> None:
    ward.start()
    await ward.look()
    ward.broker.deaf = True
    await ward.look()
    ward.gateway.stop()
    await ward.settle()
    ward.bedside.pump.advance(seconds=6)
    await ward.settle()
    assert ward.broker.arrived[-1].body["reason"] == "gateway_stopped"
    ward.broker.die()
    await ward.end()


async def test_a_broker_that_refuses_the_first_connection_ends_it_and_later_does_not(ward: Ward) -> None:
    ward.options["fatal"] = lambda error: "refuses" in str(error)
    ward.broker.refuses = True
    ward.start()
    await ward.look()
    with pytest.raises(LinkOpenError, match="refuses"):
        await ward.end()
    assert len(ward.spool._pending) > 0
    ward.broker.refuses = False
    ward.start()
    await ward.look()
    ward.broker.die()
    ward.broker.refuses = True
    await ward.look()
    await ward.pause(60_000)
    assert "refuses" in ward.told[-1].broker_problem
    ward.broker.down = ward.broker.refuses = False
    await ward.pause(60_000)
    assert ward.told[-1].connected


async def test_pauses_between_tries_grow_to_half_a_minute_and_are_drawn(ward: Ward) -> None:
    assert _pauses(ward, lambda n: 0) == [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]
    assert _pauses(ward, lambda n: n - 1)[-1] == 30_000


def _pauses(ward: Ward, draw: Callable[[int], int]) -> list[int]:
    if ward._running is None:
        ward.start()
    ward.gateway.delivery._draw = draw
    return [ward.gateway.delivery._pause_ms(failures) for failures in range(8)]


async def test_another_pump_gets_topics_of_its_own_and_the_old_one_is_said_to_be_away(ward: Ward) -> None:
    ward.start()
    await ward.look(2)
    first = ward.broker.state("identity")["pump"]["serial"]
    other = VirtualPump(seed=8, serial="SIM-0008")
    async with telemetry.connect(pump=other, role="observer") as programmer:
        ward.bedside.programmer = programmer
        ward.bedside.from_here(3)
        await ward.look(2)
        await ward.settle()
        assert checked(ward.broker.retained[f"ward-7/pump/{first}/link"])["reason"] == "other_pump"
        assert checked(ward.broker.retained["ward-7/pump/SIM-0008/link"])["state"] == "online"
        assert ward.broker.wills[-1].topic == "ward-7/pump/SIM-0008/link"
        theirs = [body for body in once(ward.broker.bodies("log")) if body["pump"]["serial"] == "SIM-0008"]
        numbers = [body["log_sequence"] for body in theirs]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] == min(body["log_sequence"] for body in ward.broker.bodies("log"))


async def test_a_place_of_its_own_stands_instead_of_the_serial(ward: Ward) -> None:
    ward.to = parse_destination("mqtt://127.0.0.1/ward-7/bed-12")
    ward.start()
    await ward.look()
    assert {one.topic.split("/")[2] for one in ward.broker.arrived} == {"bed-12"}


async def test_a_pump_put_back_to_an_older_state_is_read_from_its_start(ward: Ward) -> None:
    kept = ward.bedside.pump.snapshot()
    ward.start()
    await stall(ward.bedside)
    await ward.look()
    before = once(ward.broker.bodies("log"))
    again = VirtualPump.restore(kept)
    again.stop()
    async with telemetry.connect(pump=again, role="observer") as programmer:
        ward.bedside.programmer = programmer
        ward.bedside.from_here(before[-1]["log_sequence"] + 1)
        await ward.look(2)
        after = once(ward.broker.bodies("log"))
    assert ward.asked_from == [0, 0]
    # The records that both lives share are the same messages, the others are new ones although their numbers are not.
    (shared,) = [body for body in before if body["log_sequence"] == 1]
    assert [body["message_id"] for body in after].count(shared["message_id"]) == 1
    assert "stopped" in [body["code"] for body in after]
    assert {body["log_sequence"] for body in after[len(before) :]} <= {body["log_sequence"] for body in before} | {4, 5}


async def test_nothing_that_a_pump_must_keep_secret_is_published(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await stall(ward.bedside)
    await ward.look()
    found = await ward.bedside.read()
    everything = json.dumps([one.text for one in ward.broker.arrived] + [one.topic for one in ward.broker.arrived])
    assert found.identity.pump_id.hex() not in everything


async def test_a_broker_that_forgot_everything_is_told_every_state_at_once(ward: Ward) -> None:
    ward.start()
    await ward.look()
    told = {topic: text for topic, text in ward.broker.retained.items() if not topic.endswith("/link")}
    ward.broker.die()
    await ward.settle()
    ward.broker.retained.clear()
    ward.broker.come_back()
    await ward.pause(5_000)
    again = {topic: checked(text) for topic, text in ward.broker.retained.items()}
    assert again.keys() == told.keys() | {f"{next(iter(told)).rsplit('/', 1)[0]}/link"}
    for topic, text in told.items():
        before = checked(text)
        assert again[topic]["read_utc_ms"] == before["read_utc_ms"]
        assert again[topic]["sequence"] > before["sequence"]


def _forge(ward: Ward) -> dict[str, str]:
    """Somebody else's text on every retained topic; gives what stood there."""
    stood = dict(ward.broker.retained)
    ward.broker.retained.update(dict.fromkeys(stood, '{"forged": true}'))
    return stood


async def test_what_was_forged_while_the_gateway_was_down_is_ours_again_at_the_first_look(ward: Ward) -> None:
    ward.start()
    await ward.look()
    await ward.kill()
    ward.broker.die()
    stood = _forge(ward)
    ward.broker.come_back()
    ward.start()
    await ward.settle()
    assert ward.broker.connections == 2  # it knows its pump: the connection stands before the first look
    await ward.look()
    assert {topic: checked(text)["schema"] for topic, text in ward.broker.retained.items()} == {
        topic: checked(text)["schema"] for topic, text in stood.items()
    }


@pytest.mark.parametrize("pump_is_there", [True, False])
async def test_what_is_forged_meanwhile_is_ours_again_within_a_minute(ward: Ward, *, pump_is_there: bool) -> None:
    ward.options["extras"] = lambda _current, topics: [("homeassistant/device/x/config", topics.root)]
    ward.start()
    await ward.look()
    if not pump_is_there:
        ward.bedside.look = _cannot  # type: ignore[method-assign]
        await ward.look()
    _forge(ward)
    await ward.pause(59_999)
    await ward.look()
    assert "forged" in ward.broker.retained["ward-7/pump/SIM-0001/link"]
    await ward.pause(RETOLD_MS - 59_999)
    await ward.look()
    assert ward.broker.state("link")["state"] == ("online" if pump_is_there else "pump_not_read")
    assert ward.broker.retained["homeassistant/device/x/config"] == "ward-7/pump/SIM-0001"
    if pump_is_there:
        assert ward.broker.state("identity")["firmware"]
        assert "forged" not in "".join(ward.broker.retained.values())
    told = len(ward.broker.arrived)
    await ward.look()
    assert len(ward.broker.arrived) - told == (2 if pump_is_there else 0)  # once a minute, not at each look

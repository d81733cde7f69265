"""A broker and neighbours that do what they like with the tunnel, around real sessions that change a dose.

Whatever happens to the messages: the pump does what its programmer was told that it does, the drug ledger adds up, a
link that breaks says what to do, and the next session works.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Self, cast

import pytest

import telemetry
from telemetry import FlowRate, LinkError, OutcomeUnknown, Refused
from telemetry.clock import ScaledClock, SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, PeerError
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.mqtt_access import BrokerAccess, BrokerMessage
from telemetry.transport.mqtt_broker import BrokerClient
from telemetry.transport.mqtt_listener import MOST_KNOCKING, MqttListener
from telemetry.transport.mqtt_tunnel import MOST_LINKS, NOBODY, Fault, Kind, Message, decode, new_half
from telemetry.transport.registry import listen, open_transport
from tests.conformance.links import RecordingReceiver
from tests.support.brokers import Mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from telemetry.clock import Clock
    from telemetry.transport.base import Transport

pytestmark = pytest.mark.real

TOPIC = "ward-7/telemeter-0001"
BEFORE_NL_PER_DAY = 170_000


class HurriedClock(SystemClock):
    """Link time that runs eight times as fast: a driver's patience for answers that will not come is soon over."""

    pace = 8

    def link_ms(self) -> int:
        return super().link_ms() * self.pace

    async def wait(self, future: asyncio.Future[None], deadline_link_ms: int) -> bool:
        return await super().wait(future, self._sooner(deadline_link_ms))

    async def sleep_until(self, deadline_link_ms: int) -> None:
        await asyncio.sleep(max(0, deadline_link_ms - self.link_ms()) / 1000 / self.pace)

    def call_at(self, link_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        return super().call_at(self._sooner(link_ms), callback)

    def _sooner(self, link_ms: int) -> int:
        now_ms = self.link_ms()
        return now_ms + (link_ms - now_ms) // self.pace


@dataclass
class Ward:
    """A broker, a pump whose telemeter is offered at it, and somebody who listens to and writes on its topics."""

    broker: Mosquitto
    stack: AsyncExitStack
    station: Station
    listener: MqttListener
    neighbour: BrokerClient
    heard: list[BrokerMessage] = field(default_factory=list)
    journal: MemoryJournalStore = field(default_factory=MemoryJournalStore)

    @property
    def url(self) -> str:
        return f"{self.broker.url}/{TOPIC}"

    @property
    def rate(self) -> int:
        return self.station.pump.status.rate_nl_per_day

    def ledger_adds_up(self) -> bool:
        ledger = self.station.pump.ledger
        accounted = ledger.remaining_nl + ledger.in_path_nl + ledger.delivered_nl + ledger.withdrawn_nl + ledger.lost_nl
        return ledger.filled_nl == accounted

    def programmer(self, url: str = "", clock: Clock | None = None) -> telemetry.programmer.opening.Connecting:
        return telemetry.connect(url or self.url, journal=self.journal, clock=clock)

    async def change(self, rate: str) -> None:
        """A whole visit that changes the rate, as any next one must work."""
        async with self.programmer() as programmer:
            await programmer.set_rate(FlowRate.parse(rate))
            assert (await programmer.read_status()).rate_nl_per_day == self.rate
        assert self.rate == FlowRate.parse(rate).nl_per_day
        assert self.ledger_adds_up()

    async def inject(self, message: Message | bytes, way: str = "to") -> None:
        data = message if isinstance(message, bytes) else message.encode()
        await self.neighbour.publish(f"{TOPIC}/{way}", data)

    def said(self, way: str) -> list[bytes]:
        return [message.payload for message in self.heard if message.topic.endswith(f"/{way}")]

    def link(self) -> tuple[bytes, bytes]:
        """The halves of the newest link, as everybody on the broker can see them."""
        accepted = [decode(data) for data in self.said("from")]
        newest = [message for message in accepted if isinstance(message, Message) and message.kind is Kind.ACCEPT][-1]
        return newest.client, newest.device

    def next_sequence(self, way: str) -> int:
        client, device = self.link()
        found = [decode(data) for data in self.said(way)]
        messages = [one for one in found if isinstance(one, Message) and one.kind is Kind.DATA]
        return sum((one.client, one.device) == (client, device) for one in messages)

    async def until(self, predicate: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not predicate():  # noqa: ASYNC110 - the broker is another process
                await asyncio.sleep(0.002)


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Mosquitto(tmp_path))
        yield await furnish(broker, stack)


async def furnish(broker: Mosquitto, stack: AsyncExitStack) -> Ward:
    heard: list[BrokerMessage] = []
    neighbour = BrokerClient(BrokerAccess.from_url(broker.url, {}), on_message=heard.append)
    await stack.enter_async_context(neighbour)
    await neighbour.subscribe(f"{TOPIC}/to", f"{TOPIC}/from")
    station, listener = await offered(f"{broker.url}/{TOPIC}", stack)
    return Ward(broker, stack, station, listener, neighbour, heard)


async def offered(url: str, stack: AsyncExitStack) -> tuple[Station, MqttListener]:
    clock = ScaledClock()
    station = Station(VirtualPump(clock=clock), entropy=os.urandom)
    stack.push_async_callback(station.close)
    listener = await listen(url, station.accept, clock=clock)
    stack.push_async_callback(listener.close)
    return station, cast("MqttListener", listener)


async def opened(url: str) -> tuple[Transport, RecordingReceiver]:
    receiver = RecordingReceiver()
    return await open_transport(url, receiver, clock=SystemClock()), receiver


async def test_a_recorded_session_replayed_at_the_device_changes_nothing(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ward.change("0.180 ml/day")
    recorded = ward.said("to")
    await ward.change("0.170 ml/day")
    committed = ward.station.pump.device.program_report().program_sequence
    await ward.until(lambda: not ward.listener._links)
    entered: list[object] = []
    monkeypatch.setattr(ward.listener, "_enter", entered.append)
    for data in recorded:
        await ward.inject(data)
    replayed = sum(isinstance(read := decode(data), Message) and read.kind is not Kind.OPEN for data in recorded)
    await ward.until(lambda: ward.listener.ignored.total() >= replayed - 1)  # a GONE of nobody is no fault
    assert ward.listener.ignored[Fault.UNKNOWN_LINK] >= replayed - 1
    assert entered == [], "no link came of it"
    monkeypatch.undo()
    assert (ward.rate, ward.station.pump.device.program_report().program_sequence) == (BEFORE_NL_PER_DAY, committed)
    await ward.change("0.185 ml/day")


async def test_the_bytes_of_a_session_replayed_through_a_link_of_ones_own_change_nothing(ward: Ward) -> None:
    await ward.change("0.180 ml/day")
    read = [decode(data) for data in ward.said("to")]
    stream = b"".join(one.payload for one in read if isinstance(one, Message) and one.kind is Kind.DATA)
    await ward.change("0.170 ml/day")
    committed = ward.station.pump.device.program_report().program_sequence
    replayer, _ = await opened(ward.url)
    replayer.write(stream)
    await replayer.close()
    await ward.until(lambda: not ward.listener._links)
    assert (ward.rate, ward.station.pump.device.program_report().program_sequence) == (BEFORE_NL_PER_DAY, committed)
    await ward.change("0.185 ml/day")


async def test_a_recorded_session_replayed_at_the_driver_is_ignored(ward: Ward) -> None:
    await ward.change("0.180 ml/day")
    recorded = ward.said("from")
    async with ward.programmer() as programmer:
        await programmer.read_status()
        for data in recorded:
            await ward.inject(data, "from")
        await programmer.set_rate(FlowRate.parse("0.190 ml/day"))
        assert (await programmer.read_status()).rate_nl_per_day == ward.rate == 190_000
    assert ward.ledger_adds_up()


async def test_somebody_who_plays_the_telemeter_from_a_recording_gets_nowhere(ward: Ward) -> None:
    await ward.change("0.180 ml/day")
    read = [decode(data) for data in ward.said("from")]
    stream = [one.payload for one in read if isinstance(one, Message) and one.kind is Kind.DATA]
    await ward.listener.close()

    def answer(got: BrokerMessage) -> None:
        message = decode(got.payload)
        if not isinstance(message, Message):
            return
        if message.kind is Kind.OPEN:
            say(Message(Kind.ACCEPT, message.client, b"DEVICE..", payload=b"INSTANCE"))
        elif message.kind is Kind.DATA and (number := message.sequence) < len(stream):
            say(Message(Kind.DATA, message.client, b"DEVICE..", number, number + 1, stream[number]))

    def say(message: Message) -> None:
        said.append(actor.publish_soon(f"{TOPIC}/from", message.encode()))

    said: list[asyncio.Future[None]] = []
    actor = BrokerClient(BrokerAccess.from_url(ward.broker.url, {}), on_message=answer)
    async with actor:
        await actor.subscribe(f"{TOPIC}/to")
        with pytest.raises((LinkError, PeerError)):
            async with ward.programmer(clock=HurriedClock()) as programmer:
                await programmer.set_rate(FlowRate.parse("0.170 ml/day"))
        await asyncio.gather(*said, return_exceptions=True)
    assert ward.rate == 180_000


@pytest.mark.parametrize("way", ["to", "from"])
@pytest.mark.parametrize("garbage", [b"\x00garbage\x00", bytes(4_096), b"\x05itp\x00" * 200])
async def test_bytes_injected_into_a_link_cost_that_link_at_most(ward: Ward, way: str, garbage: bytes) -> None:
    with suppress(LinkError, OutcomeUnknown):
        async with ward.programmer(clock=HurriedClock()) as programmer:
            await programmer.read_status()
            client, device = ward.link()
            await ward.inject(Message(Kind.DATA, client, device, ward.next_sequence(way), 0, garbage), way)
            change = await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
            assert change is not None
            assert ward.rate == 180_000, "it was said to be applied"
    assert ward.rate in {BEFORE_NL_PER_DAY, 180_000}
    assert ward.ledger_adds_up()
    await ward.change("0.175 ml/day")


@pytest.mark.parametrize("way", ["to", "from"])
async def test_who_knows_one_half_of_a_link_only_is_not_heard(ward: Ward, way: str) -> None:
    async with ward.programmer() as programmer:
        await programmer.read_status()
        client, device = ward.link()
        for kind, halves in ((Kind.DATA, (client, b"WRONG...")), (Kind.CLOSE, (b"WRONG...", device))):
            await ward.inject(
                Message(kind, *halves, 0 if kind is Kind.CLOSE else 99, 0, b"x" * (kind is Kind.DATA)), way
            )
        await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
        assert (await programmer.read_status()).rate_nl_per_day == ward.rate == 180_000
        links = len([one for one in ward.said("from") if one[3] == Kind.ACCEPT])
        assert links == 1, "it was the same link all the time"
    assert ward.listener.ignored[Fault.UNKNOWN_LINK] == (2 if way == "to" else 0)


async def test_a_gap_in_the_stream_ends_the_link_and_says_so(ward: Ward) -> None:
    client, receiver = await opened(ward.url)
    await ward.until(lambda: bool(ward.listener._links))
    await ward.inject(Message(Kind.DATA, *ward.link(), 7, 0, b"ahead"), "from")
    await ward.until(lambda: receiver.lost)
    assert "message 0 of the telemeter is missing and 7 came" in str(receiver.reason)
    assert "connect again" in str(receiver.reason)
    await client.close()
    await ward.change("0.175 ml/day")


@pytest.mark.parametrize(
    ("kind", "fault"),
    [(Kind.ALIVE, Fault.ACKNOWLEDGED), (Kind.OPEN, Fault.DUPLICATE), (Kind.ACCEPT, Fault.OUT_OF_TURN)],
)
async def test_what_breaks_the_rules_of_a_link_is_counted_and_ignored(ward: Ward, kind: Kind, fault: Fault) -> None:
    client, receiver = await opened(ward.url)
    await ward.until(lambda: bool(ward.listener._links))
    payload = {Kind.OPEN: b"\x00\x0f", Kind.ACCEPT: bytes(8)}.get(kind, b"")
    acknowledged = 99 if kind is Kind.ALIVE else 0
    await ward.inject(Message(kind, *ward.link(), 0, acknowledged, payload))
    await ward.until(lambda: ward.listener.ignored[fault] == 1)
    assert not receiver.lost
    await client.close()


async def test_a_flood_of_what_is_no_message_is_counted_and_the_session_goes_on(ward: Ward) -> None:
    draw = Random(5)
    rubbish = [draw.randbytes(draw.choice((0, 5, 36, 60, 5_000))) for _ in range(400)]

    async def flood() -> None:
        for way in ("to", "from"):
            await asyncio.gather(*(ward.neighbour.publish_soon(f"{TOPIC}/{way}", data) for data in rubbish))

    async with ward.programmer() as programmer:
        flooding = asyncio.ensure_future(flood())
        await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
        await flooding
        assert (await programmer.read_status()).rate_nl_per_day == ward.rate == 180_000
    await ward.until(lambda: ward.listener.ignored.total() == len(rubbish))
    assert {Fault.LENGTH, Fault.NOT_OURS} == set(ward.listener.ignored)


async def test_a_retained_message_is_never_taken_for_one_of_now(ward: Ward) -> None:
    for kind, way in ((Kind.OPEN, "to"), (Kind.GONE, "from")):
        data = Message(kind, new_half(), payload=b"\x00\x0f" if kind is Kind.OPEN else b"").encode()
        await ward.neighbour.publish(f"{TOPIC}/{way}", data, retain=True)
    station, listener = await offered(f"{ward.broker.url}/{TOPIC}", ward.stack)
    await ward.until(lambda: listener.ignored[Fault.RETAINED] == 1)
    await listener.close()
    await ward.change("0.175 ml/day")
    assert station.pump.status.rate_nl_per_day == BEFORE_NL_PER_DAY


async def test_a_second_device_at_the_same_topic_is_told_of(ward: Ward) -> None:
    second, listener = await offered(ward.url, ward.stack)
    with pytest.raises(LinkError, match=f"a second telemeter answers at {TOPIC}; give each its own topic"):
        async with ward.programmer() as programmer:
            await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
    assert (ward.rate, second.pump.status.rate_nl_per_day) == (BEFORE_NL_PER_DAY, BEFORE_NL_PER_DAY)
    await listener.close()
    await ward.change("0.180 ml/day")


async def test_a_device_gives_so_many_links_and_no_more(ward: Ward) -> None:
    links = [await opened(ward.url) for _ in range(MOST_LINKS)]
    await ward.until(lambda: len(ward.listener._links) == MOST_LINKS)
    with pytest.raises(LinkOpenError, match=f"has {MOST_LINKS} links already and takes no more"):
        await opened(ward.url)
    for transport, _ in links:
        await transport.close()
    await ward.until(lambda: not ward.listener._links)
    await ward.change("0.180 ml/day")


async def test_those_who_knock_and_do_not_enter_keep_nobody_out(ward: Ward) -> None:
    for _ in range(3 * MOST_KNOCKING):
        await ward.inject(Message(Kind.OPEN, new_half(), payload=b"\xff\xff"))
    assert len(ward.listener._knocking) <= MOST_KNOCKING
    assert not ward.listener._links
    await ward.change("0.180 ml/day")


async def test_a_client_that_vanishes_is_told_by_its_will(ward: Ward) -> None:
    client, _ = await opened(ward.url)
    await ward.until(lambda: bool(ward.listener._links))
    (pipe,) = ward.listener._links.values()
    cast("object", client._let_go).__self__._broker.give_up("for the test")  # type: ignore[attr-defined]
    await ward.until(lambda: not ward.listener._links)
    assert "the client vanished from the broker" in str(pipe._reason)
    await client.close()


async def test_a_device_that_vanishes_is_told_by_its_will(ward: Ward) -> None:
    client, receiver = await opened(ward.url)
    broker = ward.listener._broker
    assert broker is not None
    broker.give_up("for the test")
    await ward.until(lambda: receiver.lost)
    assert "the telemeter vanished from the broker" in str(receiver.reason)
    await client.close()


async def test_who_knocks_while_the_telemeter_looks_for_its_broker_is_let_in_when_it_is_there(ward: Ward) -> None:
    there = f"{ward.broker.url}/ward-7/telemeter-0002"
    await ward.neighbour.subscribe("ward-7/telemeter-0002/to")
    opening = asyncio.ensure_future(opened(there))
    await ward.until(lambda: bool(ward.heard))  # nobody else heard that knock
    await offered(there, ward.stack)
    transport, _ = await opening
    await transport.close()


async def test_a_broker_that_swallows_everything_is_noticed_by_the_silence(ward: Ward) -> None:
    async with HostileBroker(ward, lambda _way, data: [data]) as hostile:
        client, receiver = await opened(f"{hostile.url}?keepalive=1")
        hostile.treat = lambda _way, _data: []
        await ward.until(lambda: receiver.lost)
        assert "the telemeter has been silent for 2.5 s and is taken for gone" in str(receiver.reason)
        await ward.until(lambda: not ward.listener._links)
        await client.close()
    await ward.change("0.180 ml/day")


async def test_a_broker_that_is_killed_and_comes_back_costs_a_session_and_no_restart(ward: Ward) -> None:
    async with ward.programmer() as programmer:
        await programmer.read_status()
        await ward.broker.kill()
        with pytest.raises((LinkError, OutcomeUnknown)):
            await programmer.set_rate(FlowRate.parse("0.180 ml/day"))
    assert ward.rate == BEFORE_NL_PER_DAY
    with pytest.raises(LinkOpenError, match="nothing listens"):
        await ward.change("0.180 ml/day")
    await ward.broker.start()
    neighbour = BrokerClient(BrokerAccess.from_url(ward.broker.url, {}))
    await ward.stack.enter_async_context(neighbour)
    await ward.until(lambda: ward.listener._broker is not None)
    await ward.change("0.180 ml/day")


class HostileBroker:
    """Between driver and device: what ``treat`` makes of each message is what goes on, in that order.

    The driver comes to a topic of its own; to it, this is the broker.
    """

    topic = "elsewhere/telemeter-0001"

    def __init__(self, ward: Ward, treat: Callable[[str, bytes], list[bytes]]) -> None:
        self.treat = treat
        self.url = f"{ward.broker.url}/{self.topic}"
        self._client = BrokerClient(BrokerAccess.from_url(ward.broker.url, {}), on_message=self._pass_on)
        self._under_way: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        await self._client.open()
        await self._client.subscribe(f"{self.topic}/to", f"{TOPIC}/from")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.close()

    def _pass_on(self, message: BrokerMessage) -> None:
        way = message.topic.rpartition("/")[2]
        goal = f"{TOPIC}/to" if way == "to" else f"{self.topic}/from"
        self._under_way += [self._client.publish_soon(goal, data) for data in self.treat(way, message.payload)]


class Treatment:
    """What a hostile broker does to one message in ``one_in``; ``acts`` counts what it did."""

    def __init__(self, act: str, seed: int, one_in: int) -> None:
        self.act = act
        self.acts = 0
        self._draw = Random(seed)
        self._one_in = one_in
        self._held: dict[str, bytes] = {}

    def __call__(self, way: str, data: bytes) -> list[bytes]:
        if way in self._held:
            return [data, self._held.pop(way)]
        if self._draw.randrange(self._one_in):
            return [data]
        self.acts += 1
        match self.act:
            case "repeat":
                return [data] * self._draw.randint(2, 4)
            case "lose":
                return []
            case "reorder":
                self._held[way] = data
                return []
            case "cut":
                return [data[: self._draw.randrange(len(data))]]
            case _:
                at = self._draw.randrange(len(data))
                return [data[:at] + bytes([data[at] ^ (1 << self._draw.randrange(8))]) + data[at + 1 :]]


async def test_a_broker_that_repeats_messages_costs_nothing(ward: Ward) -> None:
    treatment = Treatment("repeat", 1, 2)
    async with HostileBroker(ward, treatment) as hostile, ward.programmer(hostile.url) as programmer:
        for rate in ("0.180", "0.190", "0.180"):
            await programmer.set_rate(FlowRate.parse(f"{rate} ml/day"))
            assert (await programmer.read_status()).rate_nl_per_day == ward.rate
    assert ward.rate == 180_000
    assert treatment.acts > 10
    assert ward.listener.ignored[Fault.DUPLICATE] > 5
    assert ward.ledger_adds_up()


@pytest.mark.parametrize("act", ["lose", "reorder", "cut", "flip"])
async def test_a_broker_that_spoils_messages_never_makes_the_driver_say_what_is_not_so(ward: Ward, act: str) -> None:
    treatment = Treatment(act, 3, 9)
    applied = 0
    async with HostileBroker(ward, treatment) as hostile:
        for number in range(8):
            before, wanted = ward.rate, 170_000 + 1_000 * (1 + number % 7)
            try:
                async with ward.programmer(f"{hostile.url}?open-ms=300", HurriedClock()) as programmer:
                    await programmer.set_rate(FlowRate.parse(f"{wanted / 1_000_000:.3f} ml/day"))
                    assert ward.rate == wanted, "it was said to be applied"
            except OutcomeUnknown:
                possible = {before, wanted}
            except LinkClosedError:
                possible = {before, wanted}  # a loss after the change, at the reading or at the leaving
            except (LinkError, PeerError, Refused):
                possible = {before}
            else:
                possible = {wanted}
                applied += 1
            assert ward.rate in possible
            assert ward.ledger_adds_up()
    assert treatment.acts
    assert applied < 8, "the treatment is to be strong enough to be seen"
    await ward.change("0.180 ml/day")


def test_the_halves_of_two_links_differ() -> None:
    assert new_half() != new_half()
    assert bytes(8) == NOBODY

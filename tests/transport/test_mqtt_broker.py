"""The client of a broker, against mosquitto and the embedded broker."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from telemetry.errors import LinkClosedError, LinkError, LinkOpenError
from telemetry.transport import mqtt_broker, mqtt_wire
from telemetry.transport.mqtt_broker import (
    BrokerAccess,
    BrokerClient,
    BrokerMessage,
    BrokerOpenError,
    NotOpened,
    Will,
)
from telemetry.transport.mqtt_embedded import EmbeddedBroker
from tests.support.brokers import BROKERS, Authority, Mosquitto, running_broker
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture(params=BROKERS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Where a broker runs that lets everybody in."""
    async with running_broker(request.param, tmp_path) as url:
        yield url


def access(url: str) -> BrokerAccess:
    return BrokerAccess.from_url(url, {})


async def next_of(client: BrokerClient) -> BrokerMessage:
    async with asyncio.timeout(10):
        return await anext(client.messages())


async def test_messages_arrive_in_order_and_each_publish_is_acknowledged(url: str) -> None:
    async with BrokerClient(access(url)) as reader, BrokerClient(access(url)) as writer:
        await reader.subscribe("ward/+/status", "ward/log")
        for number in range(60):
            await writer.publish("ward/log", b"%d" % number)
        await writer.publish("ward/3/status", b"", retain=True)
        assert [(await next_of(reader)).payload for _ in range(60)] == [b"%d" % number for number in range(60)]
        assert (await next_of(reader)).topic == "ward/3/status"


async def test_many_messages_wait_for_their_acknowledgement_at_once(url: str) -> None:
    async with BrokerClient(access(url)) as client:
        await asyncio.gather(*(client.publish_soon("t", b"x" * 100) for _ in range(300)))


async def test_a_retained_message_is_there_for_a_later_reader(url: str) -> None:
    async with BrokerClient(access(url)) as writer:
        await writer.publish("ward/link", b"online", retain=True)
    async with BrokerClient(access(url)) as reader:
        await reader.subscribe("ward/#")
        message = await next_of(reader)
        assert (message.payload, message.retain) == (b"online", True)


async def test_a_will_is_published_for_one_that_vanishes_and_not_for_one_that_leaves(url: str) -> None:
    async with BrokerClient(access(url)) as reader:
        await reader.subscribe("ward/link")
        async with BrokerClient(access(url), will=Will("ward/link", b"left")):
            pass
        async with BrokerClient(access(url), will=Will("ward/link", b"vanished")) as vanishing:
            vanishing.give_up("for the test")
        assert (await next_of(reader)).payload == b"vanished"


async def test_a_flood_is_dropped_and_counted_beyond_its_bound(url: str) -> None:
    async with BrokerClient(access(url), most_waiting=10) as reader, BrokerClient(access(url)) as writer:
        await reader.subscribe("flood")
        for _ in range(50):
            await writer.publish("flood", b"x")
        async with asyncio.timeout(10):
            while reader.dropped < 40:  # noqa: ASYNC110 - the broker is another process
                await asyncio.sleep(0.01)
        assert [(await next_of(reader)).payload for _ in range(10)] == [b"x"] * 10


async def test_a_flood_is_bounded_in_bytes_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_broker, "MOST_WAITING_BYTES", 1_000)
    async with BrokerClient(access(url)) as reader, BrokerClient(access(url)) as writer:
        await reader.subscribe("flood")
        for _ in range(5):
            await writer.publish("flood", b"x" * 400)
        async with asyncio.timeout(10):
            while reader.dropped < 3:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert reader.dropped == 3


async def test_a_packet_beyond_the_limit_ends_the_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_wire, "MOST_PACKET_BYTES", 1_000_000)
    lost: list[LinkClosedError] = []
    async with BrokerClient(access(url), on_lost=lost.append) as reader, BrokerClient(access(url)) as writer:
        await reader.subscribe("big")
        await writer.publish("big", bytes(3_000_000))
        async with asyncio.timeout(10):
            reason = await reader.wait_lost()
        assert "packet of 3000" in str(reason)
        assert len(lost) == 1
        with pytest.raises(LinkClosedError, match="the limit is 1000000"):
            await reader.publish("t", b"")


async def test_what_is_over_is_refused_with_the_reason(url: str) -> None:
    client = BrokerClient(access(url))
    with pytest.raises(LinkClosedError, match="not open"):
        await client.publish("t", b"")
    await client.open()
    await client.close()
    await client.close()
    with pytest.raises(LinkClosedError, match="we closed it"):
        await client.publish("t", b"")
    with pytest.raises(LinkClosedError, match="we closed it"):
        await client.subscribe("t")
    assert [message async for message in client.messages()] == []


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_mosquitto_in_either_version_with_user_and_rights(tmp_path: Path, version: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-pw\n", encoding="utf-8")
    users = {"gateway": "s3cret-pw"}
    async with Mosquitto(tmp_path, users=users, access=("user gateway", "topic readwrite ward/#")) as broker:
        given = f"{broker.url}?version={version}&user=gateway"
        async with BrokerClient(access(f"{given}&password-file={secret}")) as client:
            await client.subscribe("ward/#")
            await client.publish("ward/1", b"here")
            assert (await next_of(client)).payload == b"here"
            if version == "5":  # 3.1.1 has no way to refuse a message but to hang up
                with pytest.raises(LinkError, match=r"refused a message of user 'gateway' to elsewhere: .*135"):
                    await client.publish("elsewhere", b"")
        secret.write_text("wrong-pw\n", encoding="utf-8")
        with pytest.raises(LinkOpenError, match="refused user 'gateway'") as refused:
            await BrokerClient(access(f"{given}&password-file={secret}")).open()
        assert "password-file=" in str(refused.value)
        assert "wrong-pw" not in repr(refused.value.__cause__) + str(refused.value)
        with pytest.raises(LinkOpenError, match="refused an anonymous client"):
            await BrokerClient(access(f"{broker.url}?version={version}")).open()


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, tls=True) as broker:
        async with BrokerClient(access(broker.url)) as client:
            await client.subscribe("t")
            await asyncio.gather(*(client.publish_soon("t", b"%d" % number) for number in range(200)))
            assert [int((await next_of(client)).payload) for _ in range(200)] == list(range(200))
        stranger = tmp_path / "stranger.pem"
        stranger.write_bytes(Authority("a stranger").pem)
        with pytest.raises(LinkOpenError, match=r"not to be trusted by cafile=.*stranger\.pem"):
            await BrokerClient(access(f"mqtts://localhost:{broker.port}?cafile={stranger}")).open()
        with pytest.raises(LinkOpenError, match=r"not for '127\.0\.0\.1'"):
            await BrokerClient(dataclasses.replace(access(broker.url), host="127.0.0.1")).open()
        with pytest.raises(LinkOpenError, match="mqtts"):
            await BrokerClient(access(f"mqtt://localhost:{broker.port}?connect-ms=2000")).open()


async def test_a_broker_that_vanishes_is_told_at_once_to_all_who_wait(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        client = BrokerClient(access(broker.url))
        await client.open()
        await client.subscribe("t")
        waiting = asyncio.ensure_future(anext(client.messages()))
        await asyncio.sleep(0)
        await broker.kill()
        with pytest.raises(LinkClosedError, match="connection to the broker ended"):
            async with asyncio.timeout(10):
                await waiting
        with pytest.raises(LinkClosedError, match="ended"):
            await client.publish("t", b"")
        await client.close()
        with pytest.raises(LinkOpenError, match=r"nothing listens at 127\.0\.0\.1"):
            await BrokerClient(access(broker.url)).open()
        await broker.start()
        async with BrokerClient(access(broker.url)) as again:
            await again.publish("t", b"")


async def test_a_broker_that_does_not_acknowledge_is_given_up(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        client = BrokerClient(access(broker.url))
        await client.open()
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(LinkClosedError, match="did not acknowledge a message within 50 ms"):
                await client.publish("t", b"", timeout_ms=50)
            with pytest.raises(LinkOpenError, match="no broker answered within 100 ms"):
                await BrokerClient(access(f"{broker.url}?connect-ms=100")).open()
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await client.close()


async def test_an_opening_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker:
        for turns in range(12):
            opening = asyncio.ensure_future(BrokerClient(access(broker.url)).open())
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "MQTT broker"),
        (b"", "hung up without an answer"),
        (b"\x20\x02\x00\x01", "try version=3.1.1|does it speak version"),
        (b"\xff" * 64, "hung up without an answer"),
        (b"\x20\xff\xff\xff\x7f", "it sent a packet of 268435455 bytes"),
    ],
)
async def test_what_is_no_broker_is_named(words: bytes, complaint: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(words)
        if not words.endswith(b"\x7f"):
            writer.close()
        else:
            await reader.read()
            writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        with pytest.raises(LinkOpenError, match=complaint):
            await BrokerClient(access(f"mqtt://127.0.0.1:{port}?connect-ms=3000")).open()


@pytest.mark.parametrize(
    ("words", "query", "reason", "lasts"),
    [
        (b"\x20\x03\x00\x84\x00", "version=5&", NotOpened.REFUSED, True),
        (b"\x20\x02\x00\x02", "", NotOpened.REFUSED, True),
        (b"\x20\x02\x00\x03", "", NotOpened.BUSY, False),
        (b"\x20\x02\x00\x04", "", NotOpened.REFUSED, True),
        (b"\x20\x02\x00\x05", "", NotOpened.REFUSED, True),
        (b"\x20\x03\x00\x86\x00", "version=5&", NotOpened.REFUSED, True),
        (b"\x20\x03\x00\x89\x00", "version=5&", NotOpened.BUSY, False),
        (b"", "", NotOpened.HUNG_UP, False),
        (None, "", NotOpened.SILENT, False),
        (None, "version=5&", NotOpened.SILENT, False),
    ],
)
async def test_why_a_broker_could_not_be_had_is_there_for_programs(
    words: bytes | None, query: str, reason: NotOpened, *, lasts: bool
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        if words is None:
            await reader.read()
        else:
            writer.write(words)
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        with pytest.raises(BrokerOpenError) as found:
            await BrokerClient(access(f"mqtt://127.0.0.1:{port}?{query}connect-ms=300")).open()
    assert (found.value.reason, found.value.reason.lasts) == (reason, lasts)
    assert "(it hung up)" not in str(found.value)
    assert ("does it speak MQTT 5" in str(found.value)) == (words is None and bool(query))


async def test_a_port_without_tls_is_told_from_a_certificate_that_is_wrong() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"no TLS here")
        await reader.read()
        writer.close()

    port = free_port()
    for answer, reason in ((hang_up, NotOpened.HUNG_UP), (speak, NotOpened.UNTRUSTED)):
        async with await asyncio.start_server(answer, "127.0.0.1", port):
            with pytest.raises(BrokerOpenError, match="does it speak TLS on this port") as found:
                await BrokerClient(access(f"mqtts://127.0.0.1:{port}?connect-ms=3000")).open()
        assert found.value.reason is reason
    with pytest.raises(BrokerOpenError) as nobody:
        await BrokerClient(access(f"mqtt://127.0.0.1:{port}")).open()
    assert nobody.value.reason is NotOpened.UNREACHABLE


async def test_a_subscription_that_is_refused_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")
        subscribing = await reader.read(1000)
        writer.write(b"\x90\x04" + subscribing[2:4] + b"\x01\x80")
        await reader.read()
        writer.close()

    port = free_port()
    async with (
        await asyncio.start_server(answer, "127.0.0.1", port),
        BrokerClient(access(f"mqtt://127.0.0.1:{port}")) as client,
    ):
        with pytest.raises(LinkOpenError, match=r"does not let an anonymous client read b \(reason code 128\)"):
            await client.subscribe("a", "b")


async def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telemetry.transport.mqtt_wire", raising=False)
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(BrokerOpenError, match=r"pip install 'itb-telemetry\[mqtt\]'") as found:
        await BrokerClient(access("mqtt://127.0.0.1:1")).open()
    assert found.value.reason is NotOpened.NO_EXTRA
    assert found.value.reason.lasts
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(LinkOpenError, match=r"pip install 'itb-telemetry\[mqtt\]'"):
        await EmbeddedBroker().__aenter__()

"""The gateway at real brokers: mosquitto killed under load, one that floods, one that refuses."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

import telemetry
from telemetry.clock import SystemClock, host_utc_ms
from telemetry.errors import LinkOpenError
from telemetry.interrogation import Interrogation
from telemetry.model import LogCode, LogRecord
from telemetry.publish.broker import opener, refused
from telemetry.publish.gateway import Gateway
from telemetry.publish.spool import Spool
from telemetry.publish.topics import parse_destination
from tests.publish.conftest import checked, once
from tests.support.brokers import Mosquitto, program

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from telemetry.interrogation import Sighting
    from telemetry.publish.gateway import Progress

pytestmark = pytest.mark.real

LOOK_MS = 100
RECORDS = 10
"""A look every tenth of a second with ten records of the log: 100 events a second, and the states besides."""


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(tmp_path, persistence=True, settings=("max_queued_messages 0",)) as made:
        yield made


class Subscriber:
    """``mosquitto_sub`` with a session that the broker keeps; it ends with the broker, and ``start`` brings it back."""

    def __init__(self, port: int, file: Path, topic: str = "#") -> None:
        self._command = [
            *(program("mosquitto_sub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", str(port)),
            *("-i", "kept", "-c", "-q", "1", "-t", topic, "-F", '{"topic":"%t","retain":%r,"body":%p}'),
        ]
        self._file = file
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.end()

    async def start(self) -> None:
        await self.end()
        with self._file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.DEVNULL
            )

    async def end(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()
            self._process = None

    def has(self, text: str) -> bool:
        """Whether a line with this text has come; cheaper than reading them all."""
        return text.encode() in self._file.read_bytes()

    def received(self) -> list[dict[str, Any]]:
        """Every message so far, in the order in which it came; a line that is not whole yet is left out."""
        return [json.loads(line) for line in self._file.read_bytes().split(b"\n")[:-1]]


@pytest.fixture
async def reading() -> Interrogation:
    async with telemetry.connect("sim:", clock=SystemClock(), role="observer") as programmer:
        async for found in programmer.follow():
            assert isinstance(found, Interrogation)
            return found
    raise AssertionError("a pump that is here can be read")


class Busy:
    """A pump with ten new log records at each look; goes on where it is asked to."""

    def __init__(self, reading: Interrogation, clock: SystemClock) -> None:
        self.reading = reading
        self.clock = clock
        self.next = 1
        self.going = True

    async def follow(self, since: int) -> AsyncGenerator[Sighting, None]:
        told = max(1, since)
        while True:
            if self.going:
                self.next += RECORDS
            new = tuple(LogRecord(n, 1, 1_000 * n, LogCode.STOPPED, 0, 0, 0) for n in range(told, self.next))
            told = self.next
            status = replace(self.reading.status, now_ms=self.reading.status.now_ms + 1_000 * self.next)
            yield replace(self.reading, log=new, status=status, read_utc_ms=host_utc_ms())
            await self.clock.sleep_until(self.clock.link_ms() + LOOK_MS)


@asynccontextmanager
async def running(
    to: str,
    folder: Path,
    follow: Callable[[int], AsyncGenerator[Sighting, None]],
    told: list[Progress],
) -> AsyncIterator[Gateway]:
    destination = parse_destination(to)
    with Spool(folder, gateway_id=lambda: os.urandom(8).hex()) as spool:
        gateway = Gateway(
            spool,
            destination,
            opener(destination),
            clock=SystemClock(),
            utc_ms=host_utc_ms,
            interval_ms=LOOK_MS,
            tell=told.append,
            fatal=refused,
        )
        task = asyncio.create_task(gateway.run(follow))
        try:
            yield gateway
            gateway.stop()
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(condition: Callable[[], bool], *, seconds: int = 30) -> None:
    """Wait for it; the bound is for a run that is broken."""
    clock = SystemClock()
    while not condition():
        assert clock.link_ms() < seconds * 1_000, "it never came to be"
        await clock.sleep_until(clock.link_ms() + 20)


async def test_a_broker_killed_under_load_loses_nothing_and_keeps_the_order(
    mosquitto: Mosquitto, reading: Interrogation, tmp_path: Path
) -> None:
    told: list[Progress] = []
    clock = SystemClock()
    pump = Busy(reading, clock)
    async with Subscriber(mosquitto.port, tmp_path / "received") as subscriber:
        async with running(f"mqtt://127.0.0.1:{mosquitto.port}/ward-7", tmp_path / "spool", pump.follow, told):
            await until(lambda: subscriber.has('"log_sequence":50,'))
            await mosquitto.kill()
            await clock.sleep_until(clock.link_ms() + 3_000)
            assert not told[-1].connected
            assert told[-1].waiting > 100
            await mosquitto.start()
            await subscriber.start()
            await until(lambda: told[-1].connected and told[-1].waiting == 0)
            pump.going = False
        sent = pump.next - 1
        await until(lambda: subscriber.has(f'"log_sequence":{sent},') and subscriber.has("gateway_stopped"))
        events = _events(subscriber)
        assert [body["log_sequence"] for body in events] == list(range(1, sent + 1))
        assert [body["event_sequence"] for body in events] == list(range(1, sent + 1))
        retained = {line["topic"]: line["body"] for line in subscriber.received() if "/link" in line["topic"]}
        assert retained["ward-7/pump/SIM-0001/link"]["reason"] == "gateway_stopped"


def _events(subscriber: Subscriber) -> list[dict[str, Any]]:
    bodies = [checked(json.dumps(line["body"])) for line in subscriber.received()]
    return once(body for body in bodies if "event_sequence" in body)


async def test_a_gateway_that_is_cut_off_is_said_to_be_offline(
    mosquitto: Mosquitto, reading: Interrogation, tmp_path: Path
) -> None:
    told: list[Progress] = []
    pump = Busy(reading, SystemClock())
    async with Subscriber(mosquitto.port, tmp_path / "received", "ward-7/pump/+/link") as subscriber:
        async with running(
            f"mqtt://127.0.0.1:{mosquitto.port}/ward-7", tmp_path / "spool", pump.follow, told
        ) as gateway:
            await until(lambda: bool(subscriber.received()))
            assert subscriber.received()[-1]["body"]["state"] == "online"
            gateway.stop()
        await until(lambda: subscriber.received()[-1]["body"]["state"] == "offline")


class Raw:
    """A broker of a few bytes (MQTT 3.1.1 and 5): notes what kinds of packets come, and does what it is told."""

    def __init__(self, *, refuse: int = 0, acknowledge: bool = True, flood: int = 0) -> None:
        self.refuse = refuse
        self.acknowledge = acknowledge
        self.flood = flood
        self.kinds: list[int] = []
        self.published: list[bytes] = []
        self.five = False

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks: set[asyncio.Task[Any]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while True:
                first, body = await self._packet(reader)
                self.kinds.append(first >> 4)
                self._answer(first, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, await reader.readexactly(length)

    def _answer(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        kind = first >> 4
        if kind == 1:
            self.five = body[6] == 5
            code = (0x86 if self.five else self.refuse) if self.refuse else 0
            writer.write(bytes([0x20, 3, 0, code, 0]) if self.five else bytes([0x20, 2, 0, code]))
            for number in range(self.flood):
                # The same topics that we publish on, and some that look like commands.
                topic = (b"ward-7/pump/SIM-0001/status", b"ward-7/pump/SIM-0001/set-rate")[number % 2]
                payload = len(topic).to_bytes(2, "big") + topic + (b"\0" if self.five else b"") + b"x" * 60
                writer.write(bytes([0x30, len(payload)]) + payload)
        elif kind == 3 and self.acknowledge:
            size = int.from_bytes(body[:2], "big")
            self.published.append(body[2 : 2 + size])
            writer.write(bytes([0x40, 2]) + body[2 + size : 4 + size])
        elif kind == 12:
            writer.write(bytes([0xD0, 0]))


async def test_a_flood_of_injected_messages_changes_nothing_and_nothing_is_subscribed_to(
    reading: Interrogation, tmp_path: Path
) -> None:
    told: list[Progress] = []
    pump = Busy(reading, SystemClock())
    async with Raw(flood=5_000) as broker:
        async with running(f"mqtt://127.0.0.1:{broker.port}/ward-7", tmp_path / "spool", pump.follow, told):
            await until(lambda: len(broker.published) > 40)
        assert told[-1].waiting == 0
        assert set(broker.kinds) <= {1, 3, 12, 14}  # CONNECT, PUBLISH, PINGREQ, DISCONNECT; never SUBSCRIBE
        assert {topic.rsplit(b"/", 1)[1] for topic in broker.published} == {
            b"log", b"identity", b"alarms", b"status", b"link"
        }  # fmt: skip


async def _ends(to: str, folder: Path, reading: Interrogation, why: str) -> None:
    destination = parse_destination(to)
    with Spool(folder, gateway_id=lambda: "0123456789abcdef") as spool:
        gateway = Gateway(
            spool,
            destination,
            opener(destination),
            clock=SystemClock(),
            utc_ms=host_utc_ms,
            interval_ms=LOOK_MS,
            tell=lambda _: None,
            fatal=refused,
        )
        with pytest.raises(LinkOpenError, match=why):
            await gateway.run(Busy(reading, SystemClock()).follow)
        assert len(spool) > 0


async def test_a_broker_that_refuses_us_ends_it_with_a_sentence(reading: Interrogation, tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, users={"gateway": "right"}) as broker:
        to = f"mqtt://127.0.0.1:{broker.port}/ward-7"
        await _ends(to, tmp_path / "spool", reading, "refused an anonymous client")


async def test_a_certificate_that_is_not_to_be_trusted_ends_it(reading: Interrogation, tmp_path: Path) -> None:
    async with Mosquitto(tmp_path, tls=True) as broker:
        to = f"mqtts://localhost:{broker.port}/ward-7"
        await _ends(to, tmp_path / "spool", reading, "certificate is not to be trusted")


async def test_a_missing_extra_ends_it(reading: Interrogation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telemetry.transport.mqtt_wire", raising=False)
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    async with asyncio.timeout(10):
        await _ends("mqtt://127.0.0.1:1883/ward-7", tmp_path / "spool", reading, "pip install")


async def test_nobody_at_the_port_is_told_and_tried_again(reading: Interrogation, tmp_path: Path) -> None:
    told: list[Progress] = []
    pump = Busy(reading, SystemClock())
    async with Raw() as broker:
        port = broker.port
    async with running(f"mqtt://127.0.0.1:{port}/ward-7", tmp_path / "spool", pump.follow, told):
        await until(lambda: any(one.broker_problem for one in told))
    assert told[-1].waiting > 0


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_over_tls_with_a_password_and_in_either_version(
    reading: Interrogation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("TELEMETRY_MQTT_USER", "gateway")
    monkeypatch.setenv("TELEMETRY_MQTT_PASSWORD", "right")
    told: list[Progress] = []
    pump = Busy(reading, SystemClock())
    # What the broker's list lets the gateway do is to write; it needs no more.
    access = ("user gateway", "topic write ward-7/#")
    async with Mosquitto(tmp_path, users={"gateway": "right"}, tls=True, access=access) as broker:
        to = f"mqtts://localhost:{broker.port}/ward-7?cafile={broker.ca_file}&version={version}"
        async with running(to, tmp_path / "spool", pump.follow, told):
            await until(lambda: told[-1].acknowledged > 20 if told else False)
        assert told[-1].waiting == 0
        assert "Sending CONNACK" in broker.words()
        assert "SUBSCRIBE" not in broker.words()
    everything = (tmp_path / "spool" / "spool.jsonl").read_text(encoding="utf-8")
    assert "right" not in everything.replace("copyright", "")


async def test_what_somebody_else_puts_on_our_topics_is_ours_again_at_the_next_look(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    told: list[Progress] = []
    clock = SystemClock()
    pump = telemetry.VirtualPump(seed=7, clock=clock)
    forged = json.dumps({"schema": "itb-telemetry/status", "mode": "stopped", "rate_nl_per_day": 0})
    async with (
        telemetry.connect(pump=pump, role="observer") as programmer,
        Subscriber(mosquitto.port, tmp_path / "received") as subscriber,
    ):
        root = "ward-7/pump/SIM-0001"

        def follow(since: int) -> AsyncGenerator[Sighting, None]:
            return cast("AsyncGenerator[Sighting, None]", programmer.follow(LOOK_MS, since=since))

        async with running(f"mqtt://127.0.0.1:{mosquitto.port}/ward-7", tmp_path / "spool", follow, told):
            await until(lambda: len(subscriber.received()) > 5)
            for topic in ("status", "link", "set-rate", "command", "stop", "status/set"):
                await _say(mosquitto.port, f"{root}/{topic}", forged)
            await until(lambda: any(line["body"].get("mode") == "stopped" for line in subscriber.received()))
            forged_at = len(subscriber.received())
            await until(
                lambda: any(line["topic"] == f"{root}/status" for line in subscriber.received()[forged_at + 5 :])
            )
    last = [line["body"] for line in subscriber.received() if line["topic"] == f"{root}/status"][-1]
    assert (checked(json.dumps(last))["mode"], last["rate_nl_per_day"]) == ("simple_continuous", 170_000)
    assert pump.status.rate_nl_per_day == 170_000
    assert pump.status.program_sequence == last["program_sequence"]
    assert pump.ledger.balance_nl == 0


async def _say(port: int, topic: str, text: str) -> None:
    speaking = await asyncio.create_subprocess_exec(
        program("mosquitto_pub", "mosquitto-clients"), "-p", str(port), "-q", "1", "-r", "-t", topic, "-m", text
    )
    assert await speaking.wait() == 0

"""Every kind of link under one roof: how to open it, how to break it, and what it declares not to do."""

from __future__ import annotations

import asyncio
import enum
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import serial.rfc2217

from telemetry.clock import ManualClock, SystemClock
from telemetry.transport import registry, serialport
from telemetry.transport.memory import MemoryTransport, open_memory
from telemetry.transport.registry import listen, open_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.clock import Clock
    from telemetry.errors import LinkClosedError
    from telemetry.transport.base import Listener, Receiver, Transport
    from telemetry.transport.bumble_radio import BumbleRadio
    from telemetry.transport.url import TransportURL
    from tests.support.bluez_application import Application

PATIENCE_S = 15


class Quirk(enum.Flag):
    """What a kind of link declares not to do; a test that a quirk rules out is not generated for it."""

    NONE = 0
    ONE_CLIENT = enum.auto()
    """A second client has to wait until the first is gone."""
    UNPLUGGING_DROPS_UNREAD = enum.auto()
    """When the serving end closes, what the client has not read yet may be lost (a terminal hangs up)."""
    DATAGRAMS = enum.auto()
    """Keeps the bounds of what was written."""
    SHORT_QUEUE = enum.auto()
    """With more than 64 messages waiting it ends: much is written with pauses in which it arrives."""
    SLOW_TO_OPEN = enum.auto()
    """Opening takes tens of milliseconds: twenty links in a row stand for a hundred."""


@dataclass(frozen=True)
class Kind:
    """A way to be linked, as the suite meets it."""

    name: str
    quirks: Quirk
    real: bool
    listen_url: str = ""
    client_scheme: str = ""
    client_url: str = ""
    """Where a client reaches it, if that is not what the listener says with another scheme."""
    broker: str = ""
    """The kind of broker between both ends, if there is one."""
    wrappers: tuple[str, ...] = ()
    """The wrappers that it is tested in; all that fit, if none are named."""


MEMORY = Kind("memory", Quirk.DATAGRAMS, real=False)
MEMORY_STREAM = Kind("memory-stream", Quirk.NONE, real=False)
TCP = Kind("tcp", Quirk.NONE, real=True, listen_url="tcp://127.0.0.1:0", client_scheme="tcp")
SERIAL_SOCKET = Kind(
    "serial+socket", Quirk.NONE, real=True, listen_url="tcp://127.0.0.1:0", client_scheme="serial+socket"
)
PTY_SERIAL = Kind(
    "pty+serial",
    Quirk.ONE_CLIENT | Quirk.UNPLUGGING_DROPS_UNREAD,
    real=True,
    listen_url="pty:",
    client_scheme="serial",
)
RFC2217 = Kind(
    "rfc2217",
    Quirk.ONE_CLIENT,
    real=True,
    listen_url="rfc2217://127.0.0.1:0",
    client_scheme="serial+rfc2217",
    wrappers=("plain", "baud", "stack"),  # opening goes through several threads' steps, even at pyserial's quickest
)
_BLE = Quirk.DATAGRAMS | Quirk.SHORT_QUEUE | Quirk.SLOW_TO_OPEN
# mtu= is no wrapper there but the limit of the segments, and both ends' limits are tried.
BLE_23 = Kind(
    "ble-mtu-23",
    _BLE,
    real=True,
    listen_url="ble+radio:?name=SIM-0001&interval_ms=20&mtu=23",
    client_url="ble://?name=SIM-0001",
    wrappers=("plain", "record"),
)
BLE_517 = Kind(
    "ble-mtu-517",
    _BLE,
    real=True,
    listen_url="ble+radio:?name=SIM-0001&interval_ms=20",
    client_url="ble://?name=SIM-0001&mtu=517",
    wrappers=("plain", "fault"),
)
BLE_BLUEZOO = Kind(
    "ble-bluezoo",
    # The stand-in shows a device to one scan only, unless it is made to forget it; and when its application goes, the
    # loss may overtake, on the message bus, the notifications that went before it.
    _BLE | Quirk.ONE_CLIENT | Quirk.UNPLUGGING_DROPS_UNREAD,
    real=True,
    client_url="ble://?name=SIM-0001&adapter=hci0",
    wrappers=("plain",),
)
"""Stock bleak, its D-Bus code and all, against a stand-in for BlueZ that has the telemeter as an application."""

# A connection to the broker for each link, and each message twice through another process (or this one's own loop).
_MQTT_WRAPPERS = ("plain", "record", "fault")
MQTT_MOSQUITTO = Kind(
    "mqtt-mosquitto",
    Quirk.SLOW_TO_OPEN,
    real=True,
    listen_url="{broker}/ward-7/telemeter-0001",
    client_scheme="mqtt",
    broker="mosquitto",
    wrappers=(*_MQTT_WRAPPERS, "chunk", "stack"),
)
MQTT_EMBEDDED = Kind(
    "mqtt-embedded",
    Quirk.SLOW_TO_OPEN,
    real=True,
    listen_url="{broker}/ward-7/telemeter-0001",
    client_scheme="mqtt",
    broker="embedded",
    wrappers=("plain",),
)

# {} is replaced by a path of this side's own. A rule of probability 0 touches every frame and changes none.
WRAPPERS = {
    "plain": "",
    "record": "record={}",
    "fault": "fault=drop:0",
    "chunk": "chunk=3",
    "mtu": "mtu=64",
    "baud": "baud=4000000",
    "stack": "mtu=64&record={}&fault=drop:0,corrupt:0@rx",
}


class Impatient:
    """Time as pyserial's RFC 2217 sees it here: it sleeps 50 ms a step in opening and 300 ms in closing."""

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 0.001))


class RecordingReceiver:
    """Takes down every callback and every breach of their order: data any number of times, lost once, then nothing."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.lost = False
        self.reason: LinkClosedError | None = None
        self.breaches: list[str] = []
        self.writing = False
        self.when_lost: Callable[[], None] = lambda: None
        self.when_data: Callable[[bytes], None] = lambda _data: None

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def data_received(self, data: bytes) -> None:
        self._watch("data_received")
        if not data:
            self.breaches.append("data_received with no data")
        self.chunks.append(data)
        self.when_data(data)

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self._watch("connection_lost")
        self.lost = True
        self.reason = reason
        self.when_lost()

    def _watch(self, what: str) -> None:
        if self.lost:
            self.breaches.append(f"{what} after connection_lost")
        if self.writing:
            self.breaches.append(f"{what} from inside a write")


@dataclass
class End:
    """One end of a link, with what it received."""

    transport: Transport
    receiver: RecordingReceiver

    def write(self, data: bytes) -> None:
        self.receiver.writing = True
        try:
            self.transport.write(data)
        finally:
            self.receiver.writing = False


@dataclass
class Rig:
    """Opens links of one kind in one wrapper; every receiver it made is checked when it is taken down."""

    kind: Kind
    query: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    served: list[End] = field(default_factory=list)
    receivers: list[RecordingReceiver] = field(default_factory=list)
    listener: Listener | None = None
    url: str = ""
    opened: list[Transport] = field(default_factory=list)
    surroundings: AsyncExitStack = field(default_factory=AsyncExitStack)
    radio: BumbleRadio | None = None
    application: Application | None = None

    async def start(self) -> None:
        self.clock: Clock = SystemClock() if self.kind.real else ManualClock()
        if self.kind is RFC2217:
            self.monkeypatch.setattr(serial.rfc2217, "time", Impatient)
            self.monkeypatch.setattr(serialport, "_POLL_S", 0.002)
        if self.kind.listen_url.startswith("ble+radio:"):
            await self._surround_with_radio()
        if self.kind is BLE_BLUEZOO:
            self.listener = await self._surround_with_bluez()
            self.url = self.kind.client_url
        elif self.kind.real:
            listen_url = self.kind.listen_url.format(broker=await self._surround_with_broker())
            self.listener = await listen(self._with_query(listen_url, "served"), self._accept, clock=self.clock)
            self.url = (
                self.kind.client_url or self.kind.client_scheme + self.listener.url[self.listener.url.index(":") :]
            )
        else:
            self.url = "memory:"
            self.monkeypatch.setattr(registry, "_entry_points", lambda: {"memory": self})

    def load(self) -> Callable[[TransportURL, Receiver, Clock], Any]:
        """Stand in for the entry point that provides `memory:` here."""

        async def connect(url: TransportURL, receiver: Receiver, clock: Clock) -> MemoryTransport:
            datagrams = Quirk.DATAGRAMS in self.kind.quirks
            return open_memory(receiver, self._accept, clock=clock, datagrams=datagrams, url=url.text)

        return connect

    async def stop(self) -> None:
        for transport in self.opened:
            await transport.close()
        if self.listener is not None:
            await self.listener.close()
        for end in self.served:
            await end.transport.close()
        await self.surroundings.aclose()
        assert [receiver.breaches for receiver in self.receivers] == [[] for _ in self.receivers]
        assert all(receiver.lost for receiver in self.receivers)

    async def open(self, receiver: RecordingReceiver | None = None) -> End:
        """Open a client's end; which serving end belongs to it shows when it has written."""
        receiver = receiver or RecordingReceiver()
        if self.radio is not None:
            await self._use_next_central(self.radio)
        if self.application is not None and self.opened:
            await self.application.reappear()
        url = self._with_query(self.url, f"client{len(self.opened)}")
        transport = await open_transport(url, receiver, clock=self.clock)
        self.receivers.append(receiver)
        self.opened.append(transport)
        return End(transport, receiver)

    async def pair(self) -> tuple[End, End]:
        """Open a link, and greet through it so that both ends exist."""
        count = len(self.served)
        client = await self.open()
        client.write(b"hello\0")
        await self.until(lambda: len(self.served) > count and self.served[-1].receiver.data == b"hello\0")
        served = self.served[-1]
        served.receiver.chunks.clear()
        return client, served

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until it is so: turns of the loop in the virtual lane, host time within a bound in the real one."""
        if self.kind.real:
            async with asyncio.timeout(PATIENCE_S):
                while not predicate():  # noqa: ASYNC110 - what is waited for may happen in the kernel
                    await asyncio.sleep(0.001)
            return
        for _ in range(100_000):
            if predicate():
                return
            await asyncio.sleep(0)
        pytest.fail("100 000 turns of the loop, and it is still not so")

    async def _surround_with_radio(self) -> None:
        from telemetry.transport.bumble_radio import BumbleRadio  # the others of this suite need no Bluetooth library

        self.radio = await self.surroundings.enter_async_context(BumbleRadio())
        self.radio.join(self.clock)

    async def _surround_with_bluez(self) -> Listener:
        from tests.support.bluez_application import Application
        from tests.support.bluezoo import bluezoo

        # In a folder of its own: pytest's are too deep for the name of a socket.
        place = self.surroundings.enter_context(tempfile.TemporaryDirectory(prefix="bluezoo-"))
        address = await self.surroundings.enter_async_context(bluezoo(Path(place)))
        self.monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        self.application = await Application(address, self._accept).__aenter__()
        return self.application

    async def _surround_with_broker(self) -> str:
        if not self.kind.broker:
            return ""
        from tests.support.brokers import running_broker  # the others of this suite need no broker's library

        return await self.surroundings.enter_async_context(running_broker(self.kind.broker, self.folder))

    async def _use_next_central(self, radio: BumbleRadio) -> None:
        """Give the next client an adapter of its own: between two adapters there is one connection at most."""
        from telemetry.transport.ble_scan import use_backend
        from telemetry.transport.bleak_bumble import BumbleAdapter

        central = BumbleAdapter.in_radio(radio, f"central {len(self.opened)}")
        adapter = await self.surroundings.enter_async_context(central)
        self.surroundings.enter_context(use_backend(client=adapter.client, scanner=adapter.scanner))

    def _accept(self, transport: Transport) -> Receiver:
        receiver = RecordingReceiver()
        self.receivers.append(receiver)
        self.served.append(End(transport, receiver))
        return receiver

    def _with_query(self, url: str, side: str) -> str:
        query = self.query.format(self.folder / f"{side}.telcap")
        return f"{url}{'&' if '?' in url else '?'}{query}" if query else url

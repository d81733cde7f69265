"""The serial port server, asked by pyserial's client and by a Telnet client that may say anything."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import serial
from serial import rfc2217 as telnet

import telemetry
from telemetry import FlowRate, LinkError
from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.model import Role
from telemetry.sim.serving import Simulator, SimulatorSettings
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport import rfc2217, serialport
from telemetry.transport.registry import listen, open_transport
from telemetry.transport.rfc2217 import SIGNATURE, Rfc2217Listener, Rfc2217Pipe
from tests.conformance.links import Impatient, RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.real
CLOCK = SystemClock()
SB, SE = telnet.IAC + telnet.SB + telnet.COM_PORT_OPTION, telnet.IAC + telnet.SE


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens in the kernel
            await asyncio.sleep(0.001)


class Served:
    """A listener that echoes, with what its clients' links received and why they ended."""

    def __init__(self) -> None:
        self.receivers: list[RecordingReceiver] = []
        self.pipes: list[Rfc2217Pipe] = []
        self.listener: Rfc2217Listener

    async def start(self) -> None:
        listener = await listen("rfc2217://127.0.0.1:0", self.accept, clock=CLOCK)
        assert isinstance(listener, Rfc2217Listener)
        self.listener = listener
        self.port = int(listener.url.rpartition(":")[2])

    def accept(self, transport: Transport) -> Receiver:
        assert isinstance(transport, Rfc2217Pipe)
        receiver = RecordingReceiver()
        receiver.when_data = transport.write
        self.receivers.append(receiver)
        self.pipes.append(transport)
        return receiver

    async def client(self) -> Telnet:
        """A Telnet client that says what it is told to."""
        return Telnet(*await asyncio.open_connection("127.0.0.1", self.port))


class Telnet:
    """A client that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heard = b""

    async def hear(self, data: bytes) -> None:
        """Read until this has been said."""
        async with asyncio.timeout(15):
            while data not in self.heard:
                more = await self.reader.read(4096)
                assert more, (data, self.heard)
                self.heard += more

    async def ask(self, command: bytes, value: bytes = b"") -> bytes:
        """Send a sub-option and give the value of the next answer."""
        start = len(self.heard)
        self.writer.write(SB + command + value + SE)
        answer = telnet.RFC2217_ANSWER_MAP.get(command, b"\x64")
        async with asyncio.timeout(15):
            while SB + answer not in self.heard[start:] or SE not in self.heard[start:].partition(SB + answer)[2]:
                self.heard += await self.reader.read(4096)
        return self.heard[start:].partition(SB + answer)[2].partition(SE)[0]

    async def rest(self) -> bytes:
        """Everything that comes until the server hangs up."""
        async with asyncio.timeout(15):
            self.heard += await self.reader.read(-1)
        return self.heard

    async def leave(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.start()
    yield served
    await served.listener.close()
    assert all(receiver.lost and not receiver.breaches for receiver in served.receivers)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telnet, "time", Impatient)
    monkeypatch.setattr(serialport, "_POLL_S", 0.002)


# --- what the server answers


async def test_bytes_pass_unchanged_whatever_they_look_like_and_however_they_are_cut(served: Served) -> None:
    client = await served.client()
    sent = (bytes(range(256)) + b"\xff\xff\xfa\xf0\xff") * 3
    for byte in sent.replace(b"\xff", b"\xff\xff"):
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    await client.hear(sent.replace(b"\xff", b"\xff\xff"))
    assert served.receivers[0].data == sent
    await client.leave()


@pytest.mark.parametrize(
    ("command", "value", "answer"),
    [
        (telnet.SET_BAUDRATE, (9_600).to_bytes(4, "big"), (9_600).to_bytes(4, "big")),
        (telnet.SET_BAUDRATE, (0).to_bytes(4, "big"), (115_200).to_bytes(4, "big")),
        (telnet.SET_BAUDRATE, (5_000_000).to_bytes(4, "big"), (115_200).to_bytes(4, "big")),
        (telnet.SET_DATASIZE, b"\x08", b"\x08"),
        (telnet.SET_DATASIZE, b"\x07", b"\x08"),
        (telnet.SET_PARITY, b"\x01", b"\x01"),
        (telnet.SET_PARITY, b"\x03", b"\x01"),
        (telnet.SET_STOPSIZE, b"\x01", b"\x01"),
        (telnet.SET_STOPSIZE, b"\x02", b"\x01"),
        (telnet.PURGE_DATA, telnet.PURGE_RECEIVE_BUFFER, telnet.PURGE_RECEIVE_BUFFER),
        (telnet.PURGE_DATA, telnet.PURGE_TRANSMIT_BUFFER, telnet.PURGE_TRANSMIT_BUFFER),
        (telnet.PURGE_DATA, telnet.PURGE_BOTH_BUFFERS, telnet.PURGE_BOTH_BUFFERS),
        (telnet.NOTIFY_LINESTATE, b"", b"\x00"),
        (telnet.NOTIFY_MODEMSTATE, b"", b"\xbb"),
        (telnet.SET_LINESTATE_MASK, b"\x10", b"\x10"),
        (telnet.SET_MODEMSTATE_MASK, b"\x30", b"\x30"),
        (b"\x00", b"", SIGNATURE),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_REQ_FLOW_SETTING, telnet.SET_CONTROL_USE_NO_FLOW_CONTROL),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_USE_HW_FLOW_CONTROL, telnet.SET_CONTROL_USE_HW_FLOW_CONTROL),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_REQ_FLOW_SETTING_IN, telnet.SET_CONTROL_USE_NO_FLOW_CONTROL_IN),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_USE_HW_FLOW_CONTOL_IN, telnet.SET_CONTROL_USE_NO_FLOW_CONTROL_IN),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_USE_DTR_FLOW_CONTROL, telnet.SET_CONTROL_USE_NO_FLOW_CONTROL_IN),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_USE_DSR_FLOW_CONTROL, telnet.SET_CONTROL_USE_NO_FLOW_CONTROL),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_REQ_BREAK_STATE, telnet.SET_CONTROL_BREAK_OFF),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_REQ_DTR, telnet.SET_CONTROL_DTR_OFF),
        (telnet.SET_CONTROL, telnet.SET_CONTROL_REQ_RTS, telnet.SET_CONTROL_RTS_OFF),
    ],
)
async def test_every_command_is_answered_with_what_is_in_force(
    served: Served, command: bytes, value: bytes, answer: bytes
) -> None:
    client = await served.client()
    assert await client.ask(command, value) == answer
    await client.leave()


async def test_the_lines_that_a_client_sets_are_seen_and_told(served: Served) -> None:
    client = await served.client()
    lines = {
        telnet.SET_CONTROL_REQ_DTR: (telnet.SET_CONTROL_DTR_ON, "dtr"),
        telnet.SET_CONTROL_REQ_RTS: (telnet.SET_CONTROL_RTS_ON, "rts"),
        telnet.SET_CONTROL_REQ_BREAK_STATE: (telnet.SET_CONTROL_BREAK_ON, "break_condition"),
    }
    for question, (on, name) in lines.items():
        assert await client.ask(telnet.SET_CONTROL, on) == on
        assert getattr(served.pipes[0].port, name) is True
        assert await client.ask(telnet.SET_CONTROL, question) == on
    await client.leave()


async def test_a_signature_of_the_clients_own_asks_for_nothing(served: Served) -> None:
    client = await served.client()
    client.writer.write(SB + b"\x00" + b"some client" + SE)
    assert await client.ask(b"\x00") == SIGNATURE
    assert client.heard.count(SIGNATURE) == 1
    await client.leave()


async def test_options_of_other_telnet_clients_are_declined(served: Served) -> None:
    client = await served.client()
    client.writer.write(telnet.IAC + telnet.DO + b"\x18" + telnet.IAC + telnet.WILL + b"\x1f")
    await client.hear(telnet.IAC + telnet.WONT + b"\x18")
    await client.hear(telnet.IAC + telnet.DONT + b"\x1f")
    client.writer.write(telnet.IAC + telnet.SB + b"\x18\x00" + SE + b"data\0")
    await client.hear(b"data\0")
    await client.leave()


@pytest.mark.parametrize(
    "nonsense",
    [
        SE,
        SB + telnet.SET_BAUDRATE + b"\x01" + SE,
        SB + telnet.SET_PARITY + b"\x63" + SE,
        SB + telnet.SET_LINESTATE_MASK + SE,
        SB + b"x" * 300,
    ],
)
async def test_a_client_that_breaks_the_rules_is_hung_up_on_and_the_next_one_served(
    served: Served, nonsense: bytes
) -> None:
    client = await served.client()
    client.writer.write(nonsense)
    await client.rest()
    await until(lambda: served.receivers[0].lost)
    assert isinstance(served.receivers[0].reason, LinkClosedError)
    assert "no RFC 2217" in str(served.receivers[0].reason)
    await client.leave()
    after = await served.client()
    after.writer.write(b"still here\0")
    await after.hear(b"still here\0")
    await after.leave()


async def test_a_client_that_leaves_at_once_is_no_fault(served: Served) -> None:
    client = await served.client()
    client.writer.transport.abort()
    await until(lambda: bool(served.receivers) and served.receivers[0].lost)
    served.pipes[0].send_telnet(b"nobody hears this")
    await client.leave()


# --- one at a time


async def test_a_second_client_is_told_in_words_and_hung_up_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2217, "GRACE_S", 0.02)
    first = await served.client()
    first.writer.write(b"first\0")
    await first.hear(b"first\0")
    second = await served.client()
    assert await second.rest() == rfc2217.IN_USE
    await second.leave()
    first.writer.write(b"undisturbed\0")
    await first.hear(b"undisturbed\0")
    with pytest.raises(LinkOpenError, match="the server hung up: This port is in use by another client"):
        await open_transport(served.listener.url, RecordingReceiver(), clock=CLOCK)
    assert len(served.receivers) == 1
    await first.leave()


async def test_a_client_that_knocks_while_the_last_one_leaves_is_let_in(served: Served) -> None:
    first = await served.client()
    first.writer.write(b"first\0")
    await first.hear(b"first\0")
    second = await served.client()
    await until(lambda: bool(served.listener._waiting))
    await first.leave()
    second.writer.write(b"second\0")
    await second.hear(b"second\0")
    await second.leave()


async def test_no_more_wait_than_there_is_room_for(served: Served) -> None:
    first = await served.client()
    others = [await served.client() for _ in range(rfc2217.MOST_WAITING + 1)]
    assert await others[-1].rest() == rfc2217.IN_USE
    await served.listener.close()
    for client in (first, *others):
        await client.leave()


# --- pyserial's client


async def test_pyserials_client_sees_and_sets_modem_lines_and_settings(served: Served) -> None:
    def use() -> tuple[bool, bool, bool, bool]:
        url = served.listener.url.removeprefix("serial+")
        with rfc2217.open_client(url, baudrate=19_200, timeout=5) as port:
            port.dtr = False
            port.rts = False
            port.reset_input_buffer()
            port.write(b"\xff over \xff\0")
            assert port.read(9) == b"\xff over \xff\0"
            return port.cts, port.dsr, port.cd, port.ri

    assert await asyncio.to_thread(use) == (True, True, True, False)
    port = served.pipes[0].port
    assert (port.baudrate, port.dtr, port.rts) == (19_200, False, False)
    await until(lambda: served.receivers[0].lost)


async def test_a_setting_that_is_not_to_be_had_is_refused(served: Served) -> None:
    def use() -> None:
        rfc2217.open_client(served.listener.url.removeprefix("serial+"), bytesize=serial.SEVENBITS, timeout=5)

    with pytest.raises(ValueError, match="rejected value for option 'datasize'"):
        await asyncio.to_thread(use)


async def test_the_client_hands_over_the_last_words_and_then_the_loss(served: Served) -> None:
    receiver = RecordingReceiver()
    transport = await open_transport(served.listener.url, receiver, clock=CLOCK)
    assert transport.info.bits_per_s == 115_200
    transport.write(b"hello\0")
    await until(lambda: receiver.data == b"hello\0")
    served.pipes[0].write(b"last words\0" * 50)
    await served.listener.close()
    await until(lambda: receiver.lost)
    assert receiver.data == b"hello\0" + b"last words\0" * 50
    assert "the server hung up" in str(receiver.reason)
    await transport.close()


@pytest.mark.parametrize("says", [b"", b"go away\r\n"])
async def test_a_server_that_hangs_up_on_an_opening_client_is_seen_at_once(says: bytes) -> None:
    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.sendall(says)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        async with asyncio.timeout(2):  # of its own accord pyserial waits for three seconds
            with pytest.raises(LinkOpenError, match=f"the server hung up{': go away' if says else ';'}"):
                await open_transport(
                    f"serial+rfc2217://127.0.0.1:{server.getsockname()[1]}", RecordingReceiver(), clock=CLOCK
                )
        await asyncio.to_thread(thread.join)


async def test_a_server_that_is_no_port_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(LinkOpenError, match="does not seem to support RFC2217"):
            await open_transport(f"serial+rfc2217://127.0.0.1:{port}?timeout=0.05", RecordingReceiver(), clock=CLOCK)
        with pytest.raises(LinkOpenError, match="did not open within 30 ms"):
            await open_transport(
                f"serial+rfc2217://127.0.0.1:{port}?timeout=0.2&open-ms=30", RecordingReceiver(), clock=CLOCK
            )
        opening = asyncio.ensure_future(
            open_transport(f"serial+rfc2217://127.0.0.1:{port}?timeout=0.2", RecordingReceiver(), clock=CLOCK)
        )
        await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_an_opening_that_was_cancelled_leaves_no_port_open(served: Served) -> None:
    opening = asyncio.ensure_future(open_transport(served.listener.url, RecordingReceiver(), clock=CLOCK))
    await until(lambda: bool(served.receivers))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: served.receivers[0].lost)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("serial+rfc2217://127.0.0.1", UsageError, "has no port"),
        ("serial+rfc2217://127.0.0.1:7411?colour=red", UsageError, "no parameter 'colour'"),
        ("serial+rfc2217://127.0.0.1:7411?timeout=soon", UsageError, "pyserial refuses .*to float: 'soon'"),
        ("serial+rfc2217://127.0.0.1:1", LinkOpenError, "refused"),
    ],
)
async def test_a_client_url_that_cannot_be_opened_says_why(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await open_transport(url, RecordingReceiver(), clock=CLOCK)


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("rfc2217://0.0.0.0:7411", UsageError, r"other machines; use 127\.0\.0\.1"),
        ("rfc2217://127.0.0.1", UsageError, "has no port"),
        ("rfc2217://127.0.0.1:0?baudrate=9600", UsageError, "no parameter 'baudrate'"),
    ],
)
async def test_a_listener_url_that_cannot_be_had_says_why(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await listen(url, lambda _transport: RecordingReceiver(), clock=CLOCK)


async def test_a_place_that_is_taken_says_so(served: Served) -> None:
    with pytest.raises(LinkOpenError, match=r"cannot listen there: .*choose another port"):
        await listen(f"rfc2217://127.0.0.1:{served.port}", lambda _transport: RecordingReceiver(), clock=CLOCK)


async def test_a_simulator_whose_place_is_taken_says_what_to_type_instead(served: Served) -> None:
    settings = SimulatorSettings(listen=(f"rfc2217://127.0.0.1:{served.port}",), seed=7, control=None)
    with pytest.raises(LinkOpenError, match=r"type instead: telemetry sim --listen rfc2217://127\.0\.0\.1:0"):
        async with Simulator(settings, on_event=lambda _event: None, on_problem=pytest.fail):
            pytest.fail("it serves where somebody else does")


# --- the driver over it


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    clock = SystemClock()
    station = Station(VirtualPump(seed=3, clock=clock), entropy=lambda size: bytes(range(size)))
    yield station
    await station.close()


@pytest.mark.parametrize("query", ["", "?baud=19200", "?record={}/f.telcap&fault=drop@rx/REQ*1"])
async def test_the_pump_is_reached_through_the_port_server(station: Station, query: str, tmp_path: object) -> None:
    from telemetry.link import frame_type

    listener = await listen(
        f"rfc2217://127.0.0.1:0{query.format(tmp_path)}", station.accept, clock=station.clock, classifier=frame_type
    )
    baudrate = "?baudrate=19200" if "baud" in query else ""
    for rate in (160_000, 150_000):  # one client after another
        async with telemetry.connect(listener.url + baudrate) as programmer:
            change = await programmer.set_rate(FlowRate(rate))
            assert change.after.rate_nl_per_day == rate
    await listener.close()


@pytest.mark.parametrize(
    ("first_by", "second_by"), [("rfc2217", "rfc2217"), ("rfc2217", "tcp"), ("tcp", "rfc2217"), ("tcp", "tcp")]
)
async def test_the_second_of_two_programmers_is_told_in_use(
    station: Station, first_by: str, second_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, "GRACE_S", 0.02)
    listeners = {
        scheme: await listen(f"{scheme}://127.0.0.1:0", station.accept, clock=station.clock)
        for scheme in ("rfc2217", "tcp")
    }
    async with telemetry.connect(listeners[first_by].url) as first:
        await first.read_status()
        async with telemetry.connect(listeners[second_by].url, role=Role.OBSERVER) as second:
            # The port server says it of its one port, the pump of itself.
            whose = "another client" if (first_by, second_by) == ("rfc2217", "rfc2217") else "another programmer"
            with pytest.raises(LinkError, match=f"in use by {whose}"):
                await second.read_status()
            assert (await first.read_status()).rate_nl_per_day == 170_000
            links = len(station._links)
            await first.close()
            await until(lambda: len(station._links) == links - 1)
            assert (await second.read_status()).rate_nl_per_day == 170_000
    for listener in listeners.values():
        await listener.close()

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import ManualClock
from telemetry.errors import LinkOpenError, UnknownScheme, UsageError
from telemetry.transport import registry, stream
from telemetry.transport.base import Listener
from telemetry.transport.capture import CaptureWriter, read_capture
from telemetry.transport.faults import FaultKind, FaultPlan, FaultRule
from telemetry.transport.memory import MemoryTransport, open_memory
from telemetry.transport.registry import known_listeners, known_schemes, listen, open_transport
from telemetry.transport.url import parse_url
from telemetry.transport.wrappers import Fault, Mtu, Record
from tests.conformance.links import RecordingReceiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver, Transport
    from telemetry.transport.url import TransportURL

CLOCK = ManualClock()
opened: list[tuple[TransportURL, MemoryTransport]] = []
served: list[RecordingReceiver] = []


def accept(_transport: Transport) -> RecordingReceiver:
    served.append(RecordingReceiver())
    return served[-1]


async def connect_here(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    """Stand in for a third party's connector (this module is its package)."""
    url.allow("seed")
    opened.append((url, open_memory(receiver, accept, clock=clock, url=url.text)))
    return opened[-1][1]


async def connect_never(url: TransportURL, receiver: Receiver, clock: Clock) -> Transport:
    raise LinkOpenError(f"{url}: nobody there")


def point(name: str, value: str) -> metadata.EntryPoint:
    return metadata.EntryPoint(name=name, value=value, group=registry.GROUP)


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    opened.clear()
    served.clear()

    def provide(*points: metadata.EntryPoint) -> None:
        def found(*, group: str) -> list[metadata.EntryPoint]:
            assert group == "telemetry.transports"
            return list(points)

        monkeypatch.setattr(metadata, "entry_points", found)

    provide(point("here", f"{__name__}:connect_here"), point("never", f"{__name__}:connect_never"))
    return provide


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def test_a_third_party_is_opened_by_its_scheme(entry_points: object) -> None:
    receiver = RecordingReceiver()
    transport = await open_transport("here:?seed=7", receiver, clock=CLOCK)
    assert transport is opened[0][1]
    transport.write(b"x")
    await settle()
    assert served[0].chunks == [b"x"]
    await transport.close()
    await settle()
    assert "here" in known_schemes()
    assert {"serial", "tcp", "serial+HANDLER"} <= set(known_schemes())
    assert {"ble+usb", "pty", "rfc2217", "serial", "tcp"} <= set(known_listeners())


async def test_an_unknown_scheme_lists_the_known_ones(entry_points: object) -> None:
    with pytest.raises(UnknownScheme, match=r"'usb'; known are ble, here, mqtt, mqtts, never, .*HANDLER, tcp"):
        await open_transport("usb:1", RecordingReceiver(), clock=CLOCK)
    with pytest.raises(UnknownScheme, match=r"known are ble\+hci-socket, .*, mqtt, mqtts, pty, rfc2217, serial, tcp"):
        await listen("udp://127.0.0.1:1", accept, clock=CLOCK)


async def test_a_scheme_that_is_claimed_twice_is_refused(entry_points: Callable[..., None]) -> None:
    entry_points(point("here", "one:connect"), point("here", "two:connect"))
    with pytest.raises(UsageError, match="'here' is claimed twice \\(one:connect of \\?, two:connect of \\?\\)"):
        known_schemes()
    entry_points(point("tcp", "one:connect"))
    with pytest.raises(UsageError, match=r"'tcp' is claimed twice .*and built in"):
        known_schemes()
    entry_points(point("here", f"{__name__}:connect_here"), point("here", f"{__name__}:connect_here"))
    assert "here" in known_schemes()  # found through two paths, yet the same


@pytest.mark.parametrize("value", ["no_such_module_anywhere:connect", "telemetry.transport.url:no_such_name"])
async def test_a_provider_that_cannot_be_loaded_is_named(entry_points: Callable[..., None], value: str) -> None:
    entry_points(point("here", value))
    with pytest.raises(UsageError, match=f"'here' is provided by {value}, which fails"):
        await open_transport("here:", RecordingReceiver(), clock=CLOCK)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("here:?colour=red", "here has no parameter 'colour'; it knows seed"),
        ("here:?fault=lose:1", "'lose' is none of"),
        ("here:?fault=drop@/Commit", "hand a classifier"),
        ("here:?fault-seed=1", "says nothing without"),
        ("here:?fault=drop&fault-seed=x", "fault-seed=x is no whole number"),
        ("here:?chunk=0", "chunk=0 is no whole number from 1"),
        ("here:?mtu=big", "mtu=big"),
        ("here:?chunk=3", "chunk=3 needs a byte stream"),
    ],
)
async def test_a_bad_parameter_opens_nothing_and_is_never_heard_of(entry_points: object, text: str, part: str) -> None:
    receiver = RecordingReceiver()
    with pytest.raises(UsageError, match=part) as caught:
        await open_transport(text, receiver, clock=CLOCK)
    assert text.partition("?")[0] in str(caught.value)
    await settle()
    assert not receiver.lost
    assert all(end.lost for end in served)


async def test_wrappers_stack_in_the_order_of_the_query(entry_points: object, tmp_path: Path) -> None:
    receiver = RecordingReceiver()
    path = tmp_path / "f.telcap"
    plan = FaultPlan([FaultRule(FaultKind.DUPLICATE)])
    text = f"here:?mtu=100&record={path}&fault=drop@tx*1&fault-seed=5"
    transport = await open_transport(text, receiver, clock=CLOCK, faults=plan)
    assert isinstance(transport, Mtu)
    record = transport._down
    assert isinstance(record, Record)
    assert isinstance(record._down, Fault)
    assert record._down.plan.seed == 5
    assert isinstance(record._down._down, Fault)
    assert record._down._down.plan is plan
    transport.write(b"lost")
    transport.write(b"twice")
    await settle()
    assert served[0].chunks == [b"twice", b"twice"]
    await transport.close()
    await settle()
    assert receiver.lost
    capture = read_capture(path)
    assert [frame.data for frame in capture.frames()] == [b"lost", b"twice"]
    assert capture.simulated is None


async def test_an_opening_that_fails_gives_the_capture_free(entry_points: object, tmp_path: Path) -> None:
    path = tmp_path / "f.telcap"
    with pytest.raises(LinkOpenError, match="nobody there"):
        await open_transport(f"never:?record={path}", RecordingReceiver(), clock=CLOCK)
    CaptureWriter(path, CLOCK, simulated=None).close()


async def test_what_cannot_be_recorded_opens_nothing(entry_points: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        await open_transport(f"here:?record={tmp_path}/missing/f", RecordingReceiver(), clock=CLOCK)
    assert opened == []


async def test_the_simulator_says_that_it_is_one_in_its_captures(
    entry_points: Callable[..., None], tmp_path: Path
) -> None:
    entry_points(point("sim", f"{__name__}:connect_here"))
    transport = await open_transport(f"sim:?record={tmp_path}/f", RecordingReceiver(), clock=CLOCK)
    await transport.close()
    await settle()
    assert read_capture(tmp_path / "f").simulated is True


class FakeListener(Listener):
    url = "tcp://127.0.0.1:1"
    closed = False

    async def close(self) -> None:
        self.closed = True


async def test_a_listener_wraps_every_client_and_shares_plan_and_capture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served.clear()
    bound: list[Acceptor] = []
    fake = FakeListener()

    async def bind(url: TransportURL, acceptor: Acceptor, clock: Clock) -> FakeListener:
        assert dict(url.params) == {"public": "yes"}
        bound.append(acceptor)
        return fake

    monkeypatch.setattr(stream, "listen", bind)
    path = tmp_path / "f.telcap"
    text = f"tcp://127.0.0.1:0?public=yes&record={path}&fault=drop@rx*1"
    listener = await listen(parse_url(text), accept, clock=CLOCK)
    assert listener.url == fake.url
    clients = [RecordingReceiver(), RecordingReceiver()]
    ends = [open_memory(client, bound[0], clock=CLOCK) for client in clients]
    for end in ends:
        end.write(b"x")
    await settle()
    assert [receiver.chunks for receiver in served] == [[], [b"x"]]  # one count for both clients
    for end in ends:
        await end.close()
    await settle()
    with pytest.raises(UsageError, match="somebody is recording"):
        CaptureWriter(path, CLOCK, simulated=True)
    await listener.close()
    assert fake.closed
    capture = read_capture(path)
    assert capture.simulated is True
    assert [frame.link for frame in capture.frames()] == [2]


async def test_a_place_that_cannot_be_had_gives_the_capture_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def bind(url: TransportURL, acceptor: Acceptor, clock: Clock) -> FakeListener:
        raise LinkOpenError("taken")

    monkeypatch.setattr(stream, "listen", bind)
    with pytest.raises(LinkOpenError):
        await listen(f"tcp://127.0.0.1:1?record={tmp_path}/f", accept, clock=CLOCK)
    CaptureWriter(tmp_path / "f", CLOCK, simulated=True).close()

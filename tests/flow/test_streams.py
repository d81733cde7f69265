"""Time and truth through the back door of a served simulator: what is asked, and what goes wrong there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from telemetry.clock import ManualClock, ScaledClock, SystemClock
from telemetry.errors import LinkError, LinkTimeout, PeerError, UsageError
from telemetry.flow import streams
from telemetry.flow.client import Balance
from telemetry.flow.dialects import SICS
from telemetry.flow.lines import Outcome
from telemetry.flow.measuring import Measurement
from telemetry.flow.scale import Scale, ScaleSettings
from telemetry.flow.serving import ScaleServer
from telemetry.flow.simulating import PumpSettings, bench_pump
from telemetry.flow.streams import DoorStream, HostStream, PumpStream, need_truth
from telemetry.transport.memory import open_memory
from tests.flow.conftest import RATE, plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.real


class Served:
    """A back door over a pump in this process."""

    def __init__(self, speed: str = "0") -> None:
        self.pump, _ = bench_pump(PumpSettings("itb-40", RATE, 7), ManualClock())
        self.speed = speed
        self.asked: list[tuple[str, object]] = []
        self.fails: Exception | None = None
        self.runs_by_itself_ms = 0

    def __call__(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        self.asked.append((path, body))
        if self.fails is not None:
            raise self.fails
        if path == "/v1/advance":
            assert body is not None
            self.pump.advance(ms=int(str(body["ms"])))
            return {}
        self.pump.advance(ms=self.runs_by_itself_ms)
        truth, belief = self.pump.truth, self.pump.status
        return {
            "model": "SIMULATED",
            "serial": "SIM-0001",
            "speed": self.speed,
            "truth": {"now_ms": truth.now_ms, "delivered_nl": truth.delivered_nl},
            "belief": {"rate_nl_per_day": belief.rate_nl_per_day},
        }


async def test_time_is_driven_from_reading_to_reading() -> None:
    served = Served()
    stream = DoorStream(served, SystemClock(), drive=True)
    start = await stream.look()
    await stream.until(start.at_ms + 3_600_000)
    found = await stream.look()
    assert found.at_ms == start.at_ms + 3_600_000
    assert found.truth_nl == 20_000
    assert ("/v1/advance", {"ms": 3_600_000}) in served.asked
    assert stream.believed_nl_per_day == RATE
    await stream.pause(250)
    assert (await stream.look()).at_ms == found.at_ms + 250


async def test_time_that_runs_by_itself_is_waited_for() -> None:
    served = Served(speed="100000")
    served.runs_by_itself_ms = 1_000
    stream = DoorStream(served, SystemClock())
    start = await stream.look()
    await stream.until(start.at_ms + 10_000)
    assert all(path == "/v1/inspect" for path, _ in served.asked)
    assert (await stream.look()).at_ms >= start.at_ms + 10_000


async def test_time_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_STANDS_STILL_MS", 20)
    monkeypatch.setattr(streams, "_LOOK_AGAIN_MS", 5)
    stream = DoorStream(Served(), SystemClock())
    with pytest.raises(LinkTimeout, match=r"stands still .* or let this command do so with --drive"):
        await stream.until(3_600_000)


@pytest.mark.parametrize("answer", [{}, {"model": 1}, {"model": "a", "serial": "b", "speed": "1", "truth": 7}])
async def test_a_door_that_is_none_is_refused(answer: dict[str, Any]) -> None:
    stream = DoorStream(lambda *_: answer, SystemClock())
    with pytest.raises(PeerError, match="something else than a pump's truth"):
        await stream.look()


async def test_a_speed_that_is_none_is_refused() -> None:
    served = Served(speed="fast")
    with pytest.raises(PeerError, match="its speed is 'fast'"):
        await DoorStream(served, SystemClock()).until(10**9)


async def test_a_pump_of_ours_on_a_clock_that_runs() -> None:
    pump, _ = bench_pump(PumpSettings("itb-40", RATE, 7), ScaledClock(speed=1_000_000))
    stream = PumpStream(pump)
    start = await need_truth(stream)
    await stream.until(start.at_ms + 10_000)
    await stream.pause(1)
    assert (await stream.look()).at_ms >= start.at_ms + 10_000


async def test_the_hosts_clock_has_no_truth() -> None:
    stream = HostStream(SystemClock())
    await stream.until((await stream.look()).at_ms + 1)
    await stream.pause(1)
    with pytest.raises(UsageError, match="weighs what a virtual pump gives"):
        await need_truth(stream)


async def test_a_balance_whose_pump_is_gone_is_busy_and_says_so() -> None:
    served = Served()
    clock = SystemClock()
    told: list[str] = []
    server = ScaleServer(Scale(ScaleSettings()), DoorStream(served, clock), clock, "sics", told.append)

    async def opener(receiver: Receiver) -> Transport:
        return open_memory(receiver, server.accept, clock=clock, datagrams=False)

    async with Balance(opener, clock, SICS) as balance:
        assert (await balance.read()).outcome is Outcome.STABLE
        served.fails = LinkError("nobody answers there")
        assert (await balance.read()).outcome is Outcome.BUSY
        assert told == ["the pump cannot be asked, the balance says that it is busy: nobody answers there"]
        served.fails = None
        assert (await balance.read()).outcome is Outcome.STABLE
    await server.close()
    await asyncio.sleep(0)


async def test_a_simulator_that_dies_ends_the_run_with_what_was_measured() -> None:
    served = Served()
    clock = SystemClock()
    scale = Scale(ScaleSettings())
    server = ScaleServer(scale, DoorStream(served, clock), clock, "sics")

    async def opener(receiver: Receiver) -> Transport:
        return open_memory(receiver, server.accept, clock=clock, datagrams=False)

    def die(work: Measurement) -> None:
        if work.count == 5:
            served.fails = LinkError("nobody answers there")

    async with Balance(opener, clock, SICS) as balance:
        stream = DoorStream(served, clock, drive=True)
        run = await Measurement(balance, stream, plan(20), each=die).take()
    await server.close()
    assert run.ended == "the pump's time and truth are no longer to be had: nobody answers there"
    assert len(run.readings) == 5
    assert run.readings.truth_nl == [0, 20_000, 40_000, 60_000, 80_000]
    assert run.marks[-1].kind == "ended"


async def spoken(*commands: bytes, protocol: str = "sics", wait_turns: int = 200) -> list[bytes]:
    """What the virtual balance says to these commands."""
    clock = SystemClock()
    pump, _ = bench_pump(PumpSettings("itb-40", RATE, 7), ManualClock())
    scale = Scale(ScaleSettings(noise_ng=0))
    server = ScaleServer(scale, PumpStream(pump), clock, protocol)
    heard: list[bytes] = []

    class Ear:
        def data_received(self, data: bytes) -> None:
            heard.append(data)

        def connection_lost(self, reason: object) -> None:
            pass

    transport = open_memory(Ear(), server.accept, clock=clock, datagrams=False)
    for command in commands:
        transport.write(command)
        for _ in range(wait_turns):
            await asyncio.sleep(0)
    await transport.close()
    await server.close()
    return b"".join(heard).split(b"\r\n")[:-1]


async def test_it_speaks_sics() -> None:
    said = await spoken(b"I4\r\n", b"SI\r\n", b"TI\r\n", b"SI\r\n", b"ZI\r\n", b"FLY\r\n", b"@\r\n")
    assert said[0] == b'I4 A "SIMULATED-0001"'
    assert said[1] == b"S S    39.9895 g"
    assert said[2] == b"TI S    39.9895 g"
    assert said[3] == b"S D     0.0000 g"
    assert said[4:] == [b"ZI S", b"ES", b'I4 A "SIMULATED-0001"']


async def test_it_speaks_sbi() -> None:
    said = await spoken(b"\x1bx1_", b"\x1bP", b"\x1bV\r\n", b"\x1bP\r\n", protocol="sbi")
    assert said == [b"SIMULATED-BALANCE", b"+  39.9895 g  ", b"+   0.0000    "]


async def test_repeated_values_end_when_they_are_told_to() -> None:
    # The second value would come after a tenth of a second, and does not.
    said = await spoken(b"SIR\r\n", b"@\r\n")
    assert said == [b"S S    39.9895 g", b'I4 A "SIMULATED-0001"']


async def test_a_stable_value_waits_until_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.flow.serving._REST_AGAIN_MS", 0)
    said = await spoken(b"S\r\n", b"TI\r\n", b"S\r\n", wait_turns=3_000)
    assert said == [b"S S    39.9895 g", b"TI S    39.9895 g", b"S I"]


async def test_closing_it_lets_go_of_its_clients() -> None:
    clock = SystemClock()
    pump, _ = bench_pump(PumpSettings("itb-40", RATE, 7), ManualClock())
    server = ScaleServer(Scale(ScaleSettings()), PumpStream(pump), clock, "sics")
    lost: list[object] = []

    class Ear:
        def data_received(self, data: bytes) -> None:
            pass

        def connection_lost(self, reason: object) -> None:
            lost.append(reason)

    transport = open_memory(Ear(), server.accept, clock=clock, datagrams=False)
    transport.write(b"SIR\r\nSI\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await server.close()
    await server.close()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(lost) == 1
    assert not server.busy()


async def test_a_flood_of_commands_is_dropped() -> None:
    said = await spoken(b"SI\r\n" * 500, wait_turns=3_000)
    assert len(said) == 32

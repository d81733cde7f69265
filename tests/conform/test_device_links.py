"""Conformance of a device behind a URL: over real links, left as it was found, and every wait bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import ScaledClock
from telemetry.conform.device import DeviceKit, run_device
from telemetry.conform.results import Verdict
from telemetry.errors import LinkError, UsageError
from telemetry.model import PumpMode
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Therapy
from telemetry.transport.capture import LinkLost, LinkOpened, read_capture
from telemetry.transport.registry import listen
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from telemetry.conform.results import StepResult
    from telemetry.transport.base import Receiver, Transport

pytestmark = pytest.mark.real

QUICK = ["framing", "D-10", "D-21", "D-30", "D-39", "D-40", "D-51", "D-60", "D-72", "D-80", "D-91"]


@contextlib.asynccontextmanager
async def served(url: str, pump: VirtualPump) -> AsyncIterator[str]:
    station = Station(pump, entropy=os.urandom)
    listener = await listen(url, station.accept, clock=pump.clock)
    try:
        yield listener.url
    finally:
        await listener.close()
        await station.close()


def _pump() -> VirtualPump:
    return VirtualPump(seed=7, clock=ScaledClock())


@pytest.mark.parametrize(("offered", "scheme"), [("tcp://127.0.0.1:0", "tcp://"), ("pty:", "serial:")])
async def test_our_own_pump_passes_over_real_links(offered: str, scheme: str) -> None:
    pump = _pump()
    async with served(offered, pump) as url:
        where = scheme + url.partition(":")[2].removeprefix("//")
        # One client at a time on a terminal: what needs a second link is for the others.
        wanted = [number for number in QUICK if scheme == "tcp://" or number not in {"D-21", "D-91"}]
        run = await run_device(DeviceKit(url=where), patterns=wanted)
    assert [(step.number, step.findings, step.reason) for step in run.steps if step.verdict is not Verdict.PASS] == []
    assert run.link == where
    assert run.simulated


async def test_the_therapy_is_put_back_and_the_pump_is_free_for_the_next() -> None:
    pump = _pump()
    pump.program(Therapy.flex({"00:00": FlowRate.parse("0.170 ml/day"), "12:00": FlowRate.parse("0.160 ml/day")}))
    pump.program(Therapy.simple_continuous(FlowRate.parse("0.123 ml/day")))
    before = pump.device.program_report()
    async with served("tcp://127.0.0.1:0", pump) as url:
        run = await run_device(DeviceKit(url=url), patterns=["D-71", "D-72", "D-81", "D-85", "D-86", "D-72"])
        assert {step.verdict for step in run.steps} == {Verdict.PASS}
        after = pump.device.program_report()
        assert after.program == before.program
        assert after.program_sequence > before.program_sequence
        assert pump.status.mode is PumpMode.SIMPLE_CONTINUOUS
        assert pump.status.alarms == ()
        again = await run_device(DeviceKit(url=url), patterns=["D-40"])
    assert again.passed
    assert any("in force again" in line.what for step in run.steps for line in step.evidence)


async def test_what_takes_ten_minutes_is_left_out_unless_it_is_named() -> None:
    async with served("tcp://127.0.0.1:0", _pump()) as url:
        run = await run_device(DeviceKit(url=url), patterns=["D-3[06]"])
    assert [(step.number, step.verdict) for step in run.steps] == [
        ("D-30", Verdict.PASS),
        ("D-36", Verdict.NOT_CLAIMED),
    ]
    assert any("ten minutes" in deviation.text for deviation in run.deviations)


class _Mute:
    """Takes everything and says nothing."""

    def data_received(self, data: bytes) -> None:
        pass

    def connection_lost(self, reason: object) -> None:
        pass


def _mute(_transport: Transport) -> Receiver:
    return _Mute()


async def test_a_device_that_says_nothing_is_given_up() -> None:
    listener = await listen("tcp://127.0.0.1:0", _mute, clock=ScaledClock())
    try:
        with pytest.raises(LinkError, match="no telemeter answers on this link"):
            await run_device(DeviceKit(url=listener.url))
    finally:
        await listener.close()


class _Chatter:
    """Answers every word with noise."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(bytes(range(256)) * 8 + data[::-1])

    def connection_lost(self, reason: object) -> None:
        pass


async def test_a_device_that_answers_noise_is_given_up() -> None:
    listener = await listen("tcp://127.0.0.1:0", _Chatter, clock=ScaledClock())
    try:
        with pytest.raises(LinkError, match="no telemeter answers on this link"):
            await run_device(DeviceKit(url=listener.url))
    finally:
        await listener.close()


async def test_a_device_that_goes_away_between_two_steps_blocks_the_second() -> None:
    closing: list[asyncio.Task[None]] = []
    station = Station(_pump(), entropy=os.urandom)
    listener = await listen("tcp://127.0.0.1:0", station.accept, clock=station.clock)

    def unplug(result: StepResult) -> None:
        if result.number == "D-10":
            closing.append(asyncio.create_task(listener.close()))

    try:
        run = await run_device(DeviceKit(url=listener.url), patterns=["D-10", "D-11", "D-50"], on_result=unplug)
        await asyncio.gather(*closing)
    finally:
        await listener.close()
        await station.close()
    verdicts = {step.number: step.verdict for step in run.steps}
    assert verdicts == {"D-10": Verdict.PASS, "D-11": Verdict.BLOCKED, "D-50": Verdict.BLOCKED}
    assert not run.passed


@pytest.mark.parametrize("url", ["nowhere", "warp://x", "tcp://127.0.0.1"])
async def test_a_wrong_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        await run_device(DeviceKit(url=url))


async def test_one_capture_has_all_links_of_a_run_two_at_once_among_them(tmp_path: Path) -> None:
    path = tmp_path / "run.telcap"
    async with served("tcp://127.0.0.1:0", _pump()) as url:
        kit = DeviceKit(url=f"{url}?record={path}")
        run = await run_device(kit, patterns=["D-02", "D-22", "D-90"])
        assert {step.number: step.verdict for step in run.steps} == dict.fromkeys(
            ("D-02", "D-22", "D-90"), Verdict.PASS
        )
    found = read_capture(path)
    assert found.torn is None
    opened = [one.link for one in found.entries if isinstance(one, LinkOpened)]
    lost = [one.link for one in found.entries if isinstance(one, LinkLost)]
    assert opened == list(range(1, len(opened) + 1))
    assert sorted(lost) == opened
    open_now, most = 0, 0
    for one in found.entries:
        open_now += isinstance(one, LinkOpened) - isinstance(one, LinkLost)
        most = max(most, open_now)
    assert most > 1
    assert {frame.link for frame in found.frames()} == set(opened)


async def test_a_line_that_takes_one_link_blocks_what_needs_two_and_finds_nothing() -> None:
    async with served("pty:", _pump()) as url:
        run = await run_device(DeviceKit(url=f"serial:{url.partition(':')[2].removeprefix('//')}"), patterns=["D-91"])
    assert [(step.verdict, step.findings) for step in run.steps] == [(Verdict.BLOCKED, [])]
    assert "no link for our driver" in run.steps[0].reason

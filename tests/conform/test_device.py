"""Conformance of a device: our own passes every step, each bad one is caught by the step that names its fault."""

from __future__ import annotations

import pytest

from telemetry.conform.bad.all_devices import BAD_DEVICES
from telemetry.conform.device import CATALOGUE, DeviceKit, StationTarget, run_device
from telemetry.conform.manifest import Manifest
from telemetry.conform.results import Verdict, parse_run
from telemetry.errors import LinkError, UsageError
from telemetry.model import PumpMode
from telemetry.protocol.messages import Identity, Message
from telemetry.sim.connector import entropy_of
from telemetry.sim.firmware import PumpFirmware
from telemetry.sim.station import Station
from telemetry.sim.virtual_pump import VirtualPump

pytestmark = pytest.mark.virtual


async def test_our_own_device_passes_every_step_and_the_run_is_repeatable() -> None:
    first = await run_device(DeviceKit(seed=7), seed=7)
    assert [(step.number, finding) for step, finding in first.findings()] == []
    assert {step.verdict for step in first.steps} == {Verdict.PASS}
    assert first.passed
    assert first.simulated
    assert len(first.steps) == len(CATALOGUE) >= 70
    assert [deviation.text for deviation in first.deviations if "left out" in deviation.text] == []
    assert parse_run(first.to_json()) == first
    again = await run_device(DeviceKit(seed=7), seed=7)
    assert again.digest() == first.digest()
    other = await run_device(DeviceKit(seed=8), seed=8)
    assert other.passed
    assert other.digest() != first.digest()


async def test_each_step_judges_something() -> None:
    run = await run_device(DeviceKit(seed=3))
    silent = [
        step.number
        for step in run.steps
        if not any(line.kind == "judged" for line in step.evidence) and not step.measurements
    ]
    assert silent == []


@pytest.mark.parametrize("bad", BAD_DEVICES, ids=lambda bad: bad.name)
async def test_a_bad_device_is_caught_by_the_step_that_names_its_fault(bad: object) -> None:
    run = await run_device(DeviceKit(make=bad.make, seed=7), patterns=[bad.step])  # type: ignore[attr-defined]
    (step,) = run.steps
    assert step.verdict is Verdict.FAIL, (bad, step)
    assert step.findings


def test_bad_devices_have_names_of_their_own_and_steps_that_exist() -> None:
    assert len({bad.name for bad in BAD_DEVICES}) == len(BAD_DEVICES) >= 40
    assert {bad.step for bad in BAD_DEVICES} <= {step.number for step in CATALOGUE}
    assert len({bad.step for bad in BAD_DEVICES}) >= 40


class _Real(PumpFirmware):
    """Firmware of a pump that is in somebody, as far as it says."""

    def _serve(self, session: object, request: object) -> Message:
        answer = super()._serve(session, request)  # type: ignore[arg-type]
        if isinstance(answer, Identity):
            object.__setattr__(answer, "simulated", False)
        return answer


class _RealStation(Station):
    def _new_firmware(self) -> PumpFirmware:
        made = super()._new_firmware()
        made.__class__ = _Real
        made.channel._serve = made._serve
        return made


MADE: list[VirtualPump] = []


def _real(seed: int) -> StationTarget:
    pump = VirtualPump(seed=seed)
    MADE.append(pump)
    return StationTarget(_RealStation(pump, entropy=entropy_of(seed), seed=seed))


async def test_a_device_that_is_not_simulated_is_not_changed_unless_armed() -> None:
    MADE.clear()
    run = await run_device(DeviceKit(make=_real, seed=7))
    verdicts = {step.number: step.verdict for step in run.steps}
    changing = [step.number for step in CATALOGUE if "changes" in step.claims]
    assert len(changing) >= 25
    assert {verdicts[number] for number in changing} == {Verdict.NOT_CLAIMED}
    assert any("--arm" in deviation.text for deviation in run.deviations)
    assert not run.simulated
    for pump in MADE:
        report = pump.device.program_report()
        assert (report.program_sequence, report.stopped) == (1, False)
        assert pump.device.ledger_sequence == VirtualPump(seed=7).device.ledger_sequence
        assert pump.status.mode is PumpMode.SIMPLE_CONTINUOUS
    armed = await run_device(DeviceKit(make=_real, seed=7), arm=True, patterns=["D-72"])
    assert armed.steps[0].verdict is Verdict.PASS
    assert not any("changes" in deviation.text for deviation in armed.deviations)


async def test_a_manifest_claims_less() -> None:
    run = await run_device(
        DeviceKit(seed=7), manifest=Manifest(claims=("itp/1", "stream")), patterns=["framing", "D-72"]
    )
    verdicts = {step.number: step.verdict for step in run.steps}
    assert verdicts.pop("D-72") is Verdict.NOT_CLAIMED
    assert set(verdicts.values()) == {Verdict.PASS}


async def test_datagrams_are_not_held_to_what_only_streams_can_do() -> None:
    def make(seed: int) -> StationTarget:
        return StationTarget(Station(VirtualPump(seed=seed), entropy=entropy_of(seed), seed=seed), datagrams=True)

    run = await run_device(DeviceKit(make=make, seed=7), patterns=["framing", "handshake"])
    verdicts = {step.number: step.verdict for step in run.steps}
    assert {number for number, verdict in verdicts.items() if verdict is Verdict.NOT_CLAIMED} == {
        "D-02",
        "D-03",
        "D-06",
    }
    assert set(verdicts.values()) == {Verdict.PASS, Verdict.NOT_CLAIMED}
    assert any("stream" in deviation.text for deviation in run.deviations)


async def test_a_telemeter_without_contact_is_told_and_nothing_is_judged() -> None:
    def make(seed: int) -> StationTarget:
        station = Station(VirtualPump(seed=seed), entropy=entropy_of(seed), seed=seed)
        station.telemeter.lift()
        return StationTarget(station)

    with pytest.raises(LinkError, match="no contact to a pump: place it over the pump"):
        await run_device(DeviceKit(make=make))


async def test_a_step_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="D-99"):
        await run_device(DeviceKit(), patterns=["D-99"])

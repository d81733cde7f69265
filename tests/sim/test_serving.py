"""A served simulator: opened wholly or not at all, kept in its state file, closed without a trace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from telemetry.clock import SystemClock
from telemetry.errors import LinkOpenError, OutcomeUnknown, UsageError
from telemetry.programmer import connect
from telemetry.sim import serving
from telemetry.sim.runtime import live_simulators
from telemetry.sim.serving import Simulator, SimulatorSettings
from telemetry.sim.state_file import StateFile
from telemetry.sim.station import Station
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.model import PumpEvent

pytestmark = pytest.mark.real

ANY_PORT = "tcp://127.0.0.1:0"


class Heard:
    def __init__(self) -> None:
        self.events: list[PumpEvent] = []
        self.problems: list[str] = []

    def simulator(self, settings: SimulatorSettings) -> Simulator:
        return Simulator(settings, on_event=self.events.append, on_problem=self.problems.append)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def plain(*listen: str, **more: object) -> SimulatorSettings:
    return SimulatorSettings(listen=listen or (ANY_PORT,), **more)  # type: ignore[arg-type]


async def test_it_is_found_while_it_is_there(heard: Heard) -> None:
    async with heard.simulator(plain(ANY_PORT, "pty:", seed=7)) as simulator:
        (found,) = live_simulators()
        assert found.urls == simulator.urls
        assert found.control_url == simulator.control_url
        for url in simulator.urls:
            async with connect(url, clock=SystemClock()) as programmer:
                assert (await programmer.read_identity()).simulated
    assert live_simulators() == ()


async def test_without_a_back_door(heard: Heard) -> None:
    async with heard.simulator(plain(control=None)) as simulator:
        assert simulator.control_url == ""
        assert live_simulators()[0].token == ""


async def test_two_pumps_without_a_seed_are_two(heard: Heard) -> None:
    ids = []
    for _ in range(2):
        async with heard.simulator(plain(control=None)) as simulator:
            ids.append(simulator.pump.device.identity().pump_id)
    assert ids[0] != ids[1]


async def test_what_cannot_be_opened_leaves_nothing_open(heard: Heard, tmp_path: Path) -> None:
    async with heard.simulator(plain()) as first:
        (taken,) = first.urls
        state = tmp_path / "pump.json"
        with pytest.raises(
            LinkOpenError, match=r"type instead: telemetry sim --listen pty: --listen tcp://127.0.0.1:0"
        ):
            await heard.simulator(plain("pty:", taken, state=state)).__aenter__()
        async with heard.simulator(plain(state=state)):
            pass


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speed": "fast"}, "speed"),
        ({"profile": "itb-99"}, "itb-40"),
        ({"listen": ("foo://x",)}, "pty"),
        ({"listen": ("nonsense",)}, "URL"),
        ({"control": "http://0.0.0.0:0"}, "loopback"),
    ],
)
async def test_wrong_settings_are_named(heard: Heard, settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        await heard.simulator(SimulatorSettings(**{"listen": (ANY_PORT,), **settings})).__aenter__()  # type: ignore[arg-type]
    assert live_simulators() == ()


async def test_it_goes_on_from_its_state_file(heard: Heard, tmp_path: Path) -> None:
    state = tmp_path / "pump.json"
    async with heard.simulator(plain(state=state, seed=7)) as simulator:
        assert not simulator.resumed
        async with connect(simulator.urls[0], clock=SystemClock()) as programmer:
            change = await programmer.set_rate(FlowRate.parse("0.2 ml/day"))
        simulator.advance(86_400_000)
        pump_id, epoch = simulator.pump.device.identity().pump_id, simulator.pump.device.boot_epoch
        at_ms = simulator.pump.now_ms
    async with heard.simulator(plain(state=state)) as simulator:
        assert simulator.resumed
        assert simulator.pump.device.identity().pump_id == pump_id
        assert simulator.pump.device.boot_epoch > epoch
        assert 0 <= simulator.pump.now_ms - at_ms <= 20_000  # while it was down, its time stood still
        assert simulator.pump.status.rate_nl_per_day == 200_000
        async with connect(simulator.urls[0], clock=SystemClock()) as programmer:
            assert (await programmer.outcome(change.transaction)).verdict.value == "applied"


async def test_a_state_file_is_not_mistaken_for_another_pump(heard: Heard, tmp_path: Path) -> None:
    state = tmp_path / "pump.json"
    async with heard.simulator(plain(state=state, seed=7)):
        with pytest.raises(UsageError, match="another simulator uses it"):
            await heard.simulator(plain(state=state)).__aenter__()
    with pytest.raises(UsageError, match="leave --profile out"):
        await heard.simulator(plain(state=state, profile="itb-20")).__aenter__()
    with pytest.raises(UsageError, match="leave --seed out"):
        await heard.simulator(plain(state=state, seed=8)).__aenter__()
    async with heard.simulator(plain(state=state, profile="itb-40", seed=7)):
        pass


async def test_no_verdict_leaves_that_could_not_be_kept(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with heard.simulator(plain(state=tmp_path / "pump.json")) as simulator:
        real_save = StateFile.save

        def full(_self: object, _state: object) -> None:
            raise UsageError("the disk is full")

        monkeypatch.setattr(StateFile, "save", full)
        async with connect(simulator.urls[0], clock=SystemClock()) as programmer:
            with pytest.raises(OutcomeUnknown):
                await programmer.set_rate(FlowRate.parse("0.2 ml/day"))
        assert any("disk is full" in problem for problem in heard.problems)
        with pytest.raises(UsageError, match="disk is full"):
            simulator.advance(1_000)
        monkeypatch.setattr(StateFile, "save", real_save)


async def test_a_jump_gives_every_event_at_its_exact_instant(heard: Heard) -> None:
    async with heard.simulator(plain(speed="0")) as simulator:
        found = simulator.advance(300 * 86_400_000)
        (low,) = [event for event in found["events"] if event["detail"] == "low_reservoir"]  # type: ignore[attr-defined]
        # 38 ml above the alarm at 0.170 ml/day, rounded up to the millisecond at which it is reached.
        assert low["at_ms"] == -(-38_000_000 * 86_400_000 // 170_000)
        assert found["now_ms"] == 300 * 86_400_000
        assert [event.detail for event in heard.events if event.kind == "alarm_raised"]


async def test_a_jump_ends_the_open_session_and_the_driver_opens_another(heard: Heard) -> None:
    async with (
        heard.simulator(plain()) as simulator,
        connect(simulator.urls[0], clock=SystemClock()) as programmer,
    ):
        before = await programmer.read_status()
        simulator.advance(86_400_000)
        assert simulator.inspect()["session"] is None
        after = await programmer.read_status()
        assert after.now_ms - before.now_ms >= 86_400_000


async def test_inspect_shows_truth_beside_belief_and_a_balanced_ledger(heard: Heard) -> None:
    async with heard.simulator(plain(speed="1000")) as simulator:
        async with connect(simulator.urls[0], clock=SystemClock()) as programmer:
            await programmer.read_status()
            found = simulator.inspect()
        assert found["ledger"]["balance_nl"] == 0  # type: ignore[index]
        assert found["session"]["role"] == "clinician"  # type: ignore[index]
        assert found["belief"].keys() & found["truth"].keys() >= {"reservoir_nl", "rate_nl_per_day"}  # type: ignore[attr-defined]
        assert simulator.contact(0) == {"coupling_bars": 0, "contact": False}
        assert simulator.snapshot()["snapshot"]["format"]  # type: ignore[index]


async def test_events_come_by_themselves_as_time_goes_by(heard: Heard) -> None:
    async with heard.simulator(plain(speed="100000000")):
        for _ in range(400):
            if any(event.detail == "low_reservoir" for event in heard.events):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("no low-reservoir alarm within 4 s at 100 million times the pace")


async def test_a_defect_in_the_background_is_reported(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    async def broken(_self: object, _clock: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Station, "run", broken)
    async with heard.simulator(plain()):
        await asyncio.sleep(0.01)
    asyncio.get_running_loop().set_exception_handler(None)
    assert [str(context["exception"]) for context in told] == ["broken"]


async def test_the_state_is_kept_now_and_then(heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_SAVE_EVERY_MS", 10)
    state = tmp_path / "pump.json"
    async with heard.simulator(plain(state=state, speed="1000000")):
        first = state.read_bytes()
        for _ in range(400):
            if state.read_bytes() != first:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("not saved within 4 s")


async def test_a_pump_begins_as_old_as_is_said_and_has_the_serial_that_is_said(heard: Heard, home: Path) -> None:
    state = home / "pump.json"
    async with heard.simulator(plain(age="shelf", serial="SIM-0002", state=state)) as simulator:
        assert simulator.pump.status.mode == "shelf"
        assert simulator.pump.device.identity().serial == "SIM-0002"
    for wrong, said in (({"age": "ERI"}, "--age ERI"), ({"serial": "SIM-0003"}, "holds pump SIM-0002")):
        with pytest.raises(UsageError, match=said):
            async with heard.simulator(plain(state=state, **wrong)):
                pass  # pragma: no cover - never entered
    async with heard.simulator(plain(state=state, serial="SIM-0002")) as again:
        assert again.resumed

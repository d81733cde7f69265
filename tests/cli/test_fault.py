"""``telemetry fault`` and the acts of ``telemetry control``: explained without a simulator, done in a served one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from telemetry.sim.faults.catalogue import EVERY, FAULTS
from telemetry.sim.serving import Simulator, SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Done

pytestmark = pytest.mark.real


@pytest.fixture
def served(home: Path) -> Iterator[Simulator]:
    """A simulator with frozen time, in a thread of its own."""
    settings = SimulatorSettings(listen=("tcp://127.0.0.1:0",), speed="0", seed=3)
    simulator = Simulator(settings, on_event=lambda _event: None, on_problem=lambda _line: None)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with simulator:
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    yield simulator
    loop.call_soon_threadsafe(done.set)
    thread.join(20)
    loop.close()


# --- explained -------------------------------------------------------------------------------------------------------


def test_every_fault_is_listed_with_its_source(telemetry: Callable[..., Done]) -> None:
    done = telemetry("fault", "list")
    assert done.status == 0
    assert max(len(line) for line in done.out.splitlines()) <= 80
    for fault in EVERY:
        assert fault.name in done.out
        assert f" {fault.number} " in done.out
    found = telemetry("fault", "list", "--json").json
    assert found["simulated"] is True
    assert [fault["number"] for fault in found["faults"]] == [fault.number for fault in EVERY]
    assert all(fault["source"] and fault["confidence"] and fault["shows"] for fault in found["faults"])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_is_shown_whole(telemetry: Callable[..., Done], fault: object) -> None:
    name, number = fault.name, fault.number  # type: ignore[attr-defined]
    done = telemetry("fault", "show", number.lower())
    assert done.status == 0
    assert name in done.out
    for mode in fault.modes:  # type: ignore[attr-defined]
        assert mode in done.out
    assert telemetry("fault", "show", name, "--json").json["name"] == name


# --- used wrongly ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "gremlin"], "'gremlin' is unknown; 'telemetry fault list' shows them all"),
        (["inject"], "Missing argument"),
        (["inject", "motor_stal"], "did you mean motor_stall or mri_stall?"),
        (["inject", "tcp://127.0.0.1:1"], "which fault?"),
        (["inject", "over_infusion", "fast"], "'fast' is no KEY=VALUE"),
        (["inject", "over_infusion", "eror=20 %"], "did you mean error?"),
        (["inject", "over_infusion", "error=20"], "has no unit"),
        (["inject", "motor_stall", "--after", "soon"], "after: "),
        (["inject", "motor_stall", "--after", "1 h", "--when", "stopped"], "stand together"),
        (["inject", "motor_stall", "--hazard", "often"], "write it as '5 %/y' or '0.05/y'"),
        (["inject", "power_cut", "--for", "1 h"], "give no duration"),
        (["inject", "motor_stall"], "no simulator is running"),
        (["clear"], "Missing argument"),
        (["clear", "a", "b"], "say what"),
        (["armed"], "no simulator is running"),
        (["mri"], "no simulator is running"),
    ],
)
def test_what_is_wrong_is_told_before_anybody_is_asked(
    telemetry: Callable[..., Done], arguments: list[str], message: str
) -> None:
    done = telemetry("fault", *arguments)
    assert done.status == 2
    assert message in done.err
    assert done.out == ""


# --- done ------------------------------------------------------------------------------------------------------------


def test_a_fault_strikes_in_the_served_pump(telemetry: Callable[..., Done], served: Simulator) -> None:
    url = served.urls[0]
    first = telemetry("fault", "inject", url, "motor_stall", "--mode", "particle", "--after", "1 h", "--json")
    assert first.status == 0
    (order,) = first.json["armed"]
    assert (order["id"], order["mode"], order["state"]) == (1, "particle", "waiting")
    shown = telemetry("fault", "inject", "over_infusion", "error=20 %", "--when", "alarm_raised motor_stall")
    assert "over_infusion" in shown.out
    assert "waiting" in shown.out
    happened = telemetry("control", "advance", "--hours", "2", "--json").json["events"]
    assert [(one["at_ms"], one["kind"], one["detail"]) for one in happened] == [
        (3_600_000, "fault_struck", "motor_stall"),
        (4_800_000, "stall_detected", ""),
        (4_800_000, "alarm_raised", "motor_stall"),
        (4_800_000, "fault_struck", "over_infusion"),
    ]
    listed = telemetry("fault", "armed")
    assert listed.out.count("in force") == 2
    cleared = telemetry("fault", "clear", served.control_url, "1")
    assert "Cleared: 1 (motor_stall)" in cleared.out
    assert "fault ended motor stall" in cleared.out
    assert telemetry("fault", "clear", "gremlin").status == 1
    assert telemetry("fault", "clear", "all", "--json").json["armed"] == []
    assert "No fault is armed" in telemetry("fault", "armed").out
    assert telemetry("fault", "armed", "--json").json == {"simulated": True, "armed": []}


def test_what_this_pump_cannot_have_is_refused_with_the_reason(
    telemetry: Callable[..., Done], served: Simulator
) -> None:
    done = telemetry("fault", "inject", "mri_reservoir_dump")
    assert done.status == 1
    assert "needs a pump with the drive valve_gated; itb-40 is motor" in " ".join(done.err.split())
    assert telemetry("fault", "armed", "--json").json["armed"] == []


def test_scanner_needle_and_surroundings(telemetry: Callable[..., Done], served: Simulator) -> None:
    scan = telemetry("fault", "mri", "--lasts", "40 min", "--interference", "--json")
    assert [order["name"] for order in scan.json["armed"]] == ["mri_stall", "mri_telemetry_latch"]
    assert "4.000 ml withdrawn" in telemetry("control", "needle", "withdraw", "4 ml").out
    assert "1.000 ml filled" in telemetry("control", "needle", "fill", "1 ml", "--into", "pocket").out
    truth = telemetry("control", "inspect", "--json").json
    assert (truth["truth"]["reservoir_nl"], truth["truth"]["lost_nl"]) == (36_000_000, 1_000_000)
    assert truth["ledger"]["balance_nl"] == 0
    assert (
        "747 hPa around the pump, 39.5 °C"
        in telemetry("control", "environment", "--altitude", "2500", "--temperature", "39.5").out
    )
    assert "bent for good" in telemetry("control", served.urls[0], "environment", "--depth", "12").out
    assert telemetry("control", "environment", "--depth", "deep").status == 2
    assert telemetry("control", "patient-bolus").status == 1
    assert "No error code is stored" in telemetry("control", "reset-memory").out
    assert telemetry("control", "needle", "fill", "--json").status == 1

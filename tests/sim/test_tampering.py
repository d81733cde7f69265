"""The acts of the back door: each does to the pump what Python would, and refuses what Python would."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import Refused, TelemetryError, UsageError
from telemetry.model import RefusalReason
from telemetry.sim.serving import Simulator, SimulatorSettings
from telemetry.sim.tampering import TAMPERINGS, armed_faults
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.units import MS_PER_HOUR

if TYPE_CHECKING:
    from pathlib import Path

ML = 1_000_000


def do(pump: VirtualPump, path: str, **body: object) -> dict[str, object]:
    assert set(body) <= set(TAMPERINGS[path].fields)
    done = TAMPERINGS[path].do(pump, body)
    assert json.loads(json.dumps(done)) == done
    return done


def test_a_fault_is_armed_shown_and_cleared() -> None:
    pump = VirtualPump()
    values = {"error": "20 %", "jumps_after_ms": 5}
    armed = do(pump, "fault", name="over_infusion", mode="jump", values=values, after="3 h", seed=2)["armed"]
    assert isinstance(armed, list)
    (one,) = armed
    assert (one["next_ms"], one["values"]) == (3 * MS_PER_HOUR, {"error_ppm": 200_000, "jumps_after_ms": 5})
    assert (one["state"], one["trigger"], one["hits"]) == ("waiting", "at 3 h", 0)
    pump.advance(hours=4)
    assert armed_faults(pump)["armed"][0]["state"] == "in force"  # type: ignore[index]
    done = do(pump, "fault/clear", fault="over_infusion")
    assert (len(done["cleared"]), done["armed"]) == (1, [])  # type: ignore[arg-type]
    assert pump.truth.flow_error_ppm == 0


def test_every_trigger_goes_through() -> None:
    pump = VirtualPump()
    do(pump, "fault", name="motor_stall", when="bolus_started", nth=2, count=3, duration="1 h", within="2 d")
    do(pump, "fault", name="motor_stall", hazard="5 %/y", seed=9)
    do(pump, "fault", name="motor_stall", at="2027-01-01")
    first, second, third = pump.faults
    assert (first.injection.trigger.nth, first.injection.count, first.injection.lasts_ms) == (2, 3, MS_PER_HOUR)
    assert (second.injection.trigger.per_year_ppm, second.injection.seed) == (50_000, 9)
    assert third.next_ms == 365 * 24 * MS_PER_HOUR


def test_the_needle() -> None:
    pump = VirtualPump()
    assert do(pump, "needle", act="withdraw", volume="10 ml") == {"withdrawn_nl": 10 * ML}
    assert do(pump, "needle", act="fill", volume="4 ml", into="pocket") == {"filled_nl": 4 * ML}
    assert do(pump, "needle", act="fill", volume="2 ml", concentration="500 ug/ml") == {"filled_nl": 2 * ML}
    assert (pump.truth.reservoir_nl, pump.truth.lost_nl, pump.status.reservoir_nl) == (32 * ML, 4 * ML, 40 * ML)
    assert do(pump, "needle", act="refill")["filled_nl"] == 40 * ML
    assert do(pump, "needle", act="replace_catheter", volume="0.1 ml") == {"catheter_nl": 100_000}
    assert pump.ledger.balance_nl == 0


def test_the_surroundings() -> None:
    pump = VirtualPump("valve-20")
    up = do(pump, "environment", altitude_m=2500, temperature_decidegrees=395)
    assert (up["pressure_hpa"], up["temperature_decidegrees"]) == (747, 395)
    down = do(pump, "environment", depth_dm=40)
    assert (down["pressure_hpa"], down["temperature_decidegrees"], down["bent"]) == (1405, 370, False)
    usual = do(pump, "environment")
    assert (usual["pressure_hpa"], usual["temperature_decidegrees"]) == (1013, 370)
    assert len(pump.faults) == 0


def test_scanner_button_and_memory() -> None:
    pump = VirtualPump()
    assert len(do(pump, "mri", field="3 T", lasts="1 h", reprograms="-10 %")["armed"]) == 2  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        do(pump, "patient-bolus")
    assert refused.value.reason is RefusalReason.PATIENT_BOLUS_FORBIDDEN
    do(pump, "fault", name="update_blocked")
    assert do(pump, "memory-reset") == {"stored_error": False}


@pytest.mark.parametrize(
    ("act", "body", "message"),
    [
        ("fault", {}, "name: is missing; 'telemetry fault list' shows the faults"),
        ("fault", {"name": 3}, "name: 3 is no text"),
        ("fault", {"name": "motor_stall", "count": "x"}, "count: 'x' is no whole number"),
        ("fault", {"name": "motor_stall", "count": True}, "count: True is no whole number"),
        ("fault", {"name": "motor_stall", "after": 4}, "after: 4 is no text; write it with its unit"),
        ("fault", {"name": "over_infusion", "values": [1]}, "values: [1] is no table"),
        ("fault", {"name": "over_infusion", "values": {"error": 1.5}}, "each is a whole number, or text"),
        ("fault", {"name": "over_infusion", "values": {"error": "20"}}, "has no unit"),
        ("fault", {"name": "over_infusion", "values": {"nth": 3}}, "has no parameter 'nth'"),
        ("fault/clear", {"fault": "motor_stall"}, "'motor_stall' is not armed; armed: none"),
        ("fault/clear", {"fault": [1]}, "neither an order's number nor a fault's name"),
        ("needle", {}, "act: None is none of withdraw, fill, refill, replace_catheter"),
        ("needle", {"act": "fill"}, "volume: is missing"),
        ("needle", {"act": "fill", "volume": "3"}, "volume"),
        ("needle", {"act": "fill", "volume": "3 ml", "into": "air"}, "into: 'air' is none of"),
        ("environment", {"altitude_m": 5, "depth_dm": 5}, "up a mountain or under water"),
        ("environment", {"altitude_m": 99_999}, "metres: 99999 is outside 0 to 9000"),
        ("mri", {"field": "strong"}, "'strong' is no scanner's field"),
        ("mri", {"interference": "yes"}, "neither true nor false"),
        ("mri", {"reprograms": "a lot"}, "write it as 20 % or 200000 ppm"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_done(act: str, body: dict[str, object], message: str) -> None:
    pump = VirtualPump()
    before = pump.snapshot()
    with pytest.raises(UsageError) as wrong:
        do(pump, act, **body)
    assert message in str(wrong.value)
    assert pump.snapshot() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(TAMPERINGS)), st.data())
def test_any_body_is_done_or_refused(act: str, data: st.DataObject) -> None:
    fields = TAMPERINGS[act].fields
    said = st.sampled_from(["motor_stall", "withdraw", "1 h", "20 ml", "stopped", 3, True, {}]) | json_values
    chosen = data.draw(st.sets(st.sampled_from(fields))) if fields else set()
    pump = VirtualPump()
    with suppress(TelemetryError):
        do(pump, act, **{name: data.draw(said, name) for name in sorted(chosen)})
    assert pump.ledger.balance_nl == 0


@pytest.mark.real
async def test_a_served_pump_tells_what_happened_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    state = tmp_path / "pump.json"
    settings = SimulatorSettings(listen=("tcp://127.0.0.1:0",), speed="0", seed=1, state=state, control=None)
    heard: list[str] = []
    async with Simulator(settings, on_event=lambda event: heard.append(event.kind), on_problem=heard.append) as served:
        done = served.tamper("fault", {"name": "motor_stall"})
        assert [event["kind"] for event in done["events"]] == ["fault_struck"]  # type: ignore[attr-defined]
        served.tamper("fault", {"name": "dead_beeper", "when": "alarm_raised"})
        assert len(served.faults()["armed"]) == 2  # type: ignore[arg-type]
        assert len(served.faults()["catalogue"]) > 30  # type: ignore[arg-type]
    assert heard == ["fault_struck"]
    async with Simulator(settings, on_event=lambda event: heard.append(event.kind), on_problem=heard.append) as again:
        assert [order["name"] for order in again.faults()["armed"]] == ["motor_stall", "dead_beeper"]  # type: ignore[attr-defined]
        happened = again.advance(MS_PER_HOUR)["events"]
        assert [event["kind"] for event in happened][-1] == "fault_struck"  # type: ignore[attr-defined]
    assert heard[1:] == ["stall_detected", "alarm_raised", "fault_struck"]

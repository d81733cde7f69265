"""Snapshots: whole, JSON-able, strict, and the pump goes on as if nothing had happened."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import OperationKind, StopReason
from telemetry.sim.pump.device import PumpDevice
from telemetry.therapy import AlarmSettings, Therapy
from telemetry.units import Concentration, Duration, FlowRate, Volume
from tests.sim.pump.rig import DAY_MS, EVERY_WARNING, HOUR_MS, commit, device, op, program

if TYPE_CHECKING:
    from collections.abc import Callable


def busy_pump() -> PumpDevice:
    """Something of everything: a ledger, alarms in several states, a staged program, a flipped bit not yet found."""
    pump = device(fill_nl=2_100_000, rate_error_ppm=33_000)
    commit(pump, 1, program(pump, 200_000))
    pump.acknowledge_through(1, 1)
    pump.advance_to(DAY_MS + 17)
    pump.stop(op(2, OperationKind.STOP), StopReason.CLINICAL)
    pump.silence_alarms(HOUR_MS)
    pump.flip_bit("limits_a", 7)
    wanted = program(pump, 210_000)
    pump.stage(wanted, op(3, what=wanted).digest)
    return pump


def aligned(pump: PumpDevice) -> dict[str, Any]:
    """A snapshot without what a restore is meant to change: the boot epoch, where it is stamped, what hangs on it."""
    snapshot: dict[str, Any] = pump.snapshot()
    snapshot["core"]["boot_epoch"] = 0
    for part in ("log", "ledger", "medium"):
        del snapshot[part]
    return snapshot


RUNNING = {
    "kind": "bolus",
    "rate_nl_per_day": 1,
    "dose_ng_per_day": 1,
    "volume_nl": 1,
    "left": 1,
    "started_ms": 0,
}


def bridging_pump() -> PumpDevice:
    """A pump in its bridge, before a schedule with steps."""
    pump = device(concentration_ng_per_ml=500_000)
    pump.advance_to(DAY_MS)
    steps = {"00:00": FlowRate(100_000), "06:00": FlowRate(160_000), "22:00": FlowRate(120_000)}
    pump.refill(None, Concentration(1_000_000), Therapy.flex(steps), bridge=True)
    pump.advance_to(DAY_MS + HOUR_MS + 7)
    return pump


def bolus_pump() -> PumpDevice:
    """A pump in the middle of a bolus on top of a titration's second step."""
    pump = device()
    ramp = [(1, FlowRate(100_000)), (3, FlowRate(110_000)), (2, FlowRate(120_000))]
    pump.program(Therapy.titration(ramp))
    pump.advance_to(DAY_MS + HOUR_MS)
    pump.bolus(Volume(9_000), Duration(20 * 60_000))
    pump.advance_to(DAY_MS + HOUR_MS + 123_456)
    return pump


def periodic_pump() -> PumpDevice:
    """A pump between two periodic boluses, its clock set, an alarm switched off, waiting in telemetry mode."""
    pump = device()
    every = Therapy.periodic_bolus(FlowRate(90_000), Volume(4_000), Duration(300_000), Duration(3 * HOUR_MS))
    pump.program(every)
    pump.set_clock(1_800_000_000, 120)
    pump.configure_alarms(AlarmSettings(2_500_000, low_reservoir_enabled=False, elective_replacement_enabled=True))
    pump.advance_to(DAY_MS + 17)
    pump.core.upsets.telemetry_since_ms, pump.core.upsets.telemetry_until_ms = pump.now_ms, pump.now_ms + HOUR_MS
    return pump


@pytest.mark.parametrize("make", [bridging_pump, bolus_pump, periodic_pump])
@given(later=st.integers(0, 9 * DAY_MS))
def test_a_restored_activity_goes_on_identically(make: Callable[[], PumpDevice], later: int) -> None:
    pump = make()
    restored = PumpDevice.restore(json.loads(json.dumps(pump.snapshot())))
    for one in (pump, restored):
        one.core.take_events()
    assert pump.advance_to(pump.now_ms + later) == restored.advance_to(restored.now_ms + later)
    assert aligned(pump) == aligned(restored)
    assert pump.delivery() == restored.delivery()
    assert replace(pump.status(), boot_epoch=0) == replace(restored.status(), boot_epoch=0)


@given(later=st.integers(0, 60 * DAY_MS))
def test_a_restored_pump_goes_on_identically(later: int) -> None:
    pump = busy_pump()
    text = json.dumps(pump.snapshot())
    restored = PumpDevice.restore(json.loads(text))
    assert restored.boot_epoch == pump.boot_epoch + 1
    wanted = program(pump, 210_000)
    assert restored.status() == replace(pump.status(), boot_epoch=restored.boot_epoch)
    for one in (pump, restored):
        one.commit(op(3, what=wanted), EVERY_WARNING)
        one.core.take_events()
    events = [one.advance_to(one.now_ms + later) for one in (pump, restored)]
    assert events[0] == events[1]
    assert aligned(pump) == aligned(restored)
    assert (pump.truth(), pump.ledger(), pump.alarms()) == (restored.truth(), restored.ledger(), restored.alarms())
    codes = [[(line.at_ms, line.code, line.value) for line in one.log(0, 2000).records] for one in (pump, restored)]
    assert codes[0] == codes[1]
    assert pump.query(1, op(2).op_id).verdict == restored.query(1, op(2).op_id).verdict == "applied"


def test_taking_a_snapshot_twice_gives_the_same() -> None:
    pump = busy_pump()
    assert pump.snapshot() == pump.snapshot()
    assert busy_pump().snapshot() == pump.snapshot()


def put(*keys: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(snapshot: dict[str, Any]) -> None:
        place: Any = snapshot
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(snapshot: dict[str, Any]) -> None:
        place: Any = snapshot
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("version", value=1), "snapshot version: 1"),
        (put("format", value="other"), "snapshot format"),
        (drop("serial"), "missing serial"),
        (put("extra", value=1), "unknown extra"),
        (put("serial", value=5), "pump.serial: 5 is no text"),
        (put("pump_id", value="zz"), "pump.pump_id: not hexadecimal"),
        (put("core", "now_ms", value=-1), "core.now_ms: -1 is below 0"),
        (put("core", "now_ms", value=1.5), "core.now_ms: 1.5 is no whole number"),
        (put("core", "running", value=1), "core.running: 1 is neither true nor false"),
        (put("core", "drug", value="tea"), "core.drug: 'tea' is none of baclofen"),
        (put("core", "program", value="00"), "core.program: no program whose check value holds"),
        (put("core", "limits", value="00"), "core.limits: no limits whose check value holds"),
        (put("core", "program_digest", value="00"), "core.program_digest"),
        (put("core", "planned", value=1), "core.planned: 1 is neither true nor false"),
        (put("activity", value={}), "snapshot activity: missing"),
        (put("activity", value=RUNNING | {"kind": "dance"}), "activity.kind: 'dance' is none of none, bolus"),
        (put("activity", value=RUNNING | {"left": -1}), "activity.left: -1 is below 0"),
        (put("patient", "given", value=[[1]]), "patient.given: [1] is no pair"),
        (put("governor", "history", value=[[1]]), "governor.history"),
        (put("upsets", "stored_error", value=0), "upsets.stored_error: 0 is neither"),
        (put("upsets", "telemetry_until_ms", value=5), "given without telemetry_since_ms"),
        (drop("upsets"), "missing upsets"),
        (put("core", "staged", value=[]), "core.staged: 0 parts"),
        (put("core", "staged", value="x"), "core.staged: str is no list"),
        (put("core", value=[]), "snapshot core: list is no table"),
        (put("reservoir", "path", "tubing", value=[[1]]), "path.tubing: [1] is no pair of whole numbers"),
        (put("reservoir", "path", "distal", value=[[1, 1]]), "path.distal: slugs hold 1 volume units"),
        (put("alarms", "alarms", value=[]), "0 alarms, the pump has 13"),
        (put("alarms", "alarms", 0, "kind", value="safe_state"), "safe_state stands where low_reservoir belongs"),
        (put("log", "records", value=["00"]), "log.records: a record whose check value does not hold"),
        (put("ledger", "records", value=[]), "ledger: records and acknowledged must be tables"),
        (put("ledger", "records", value={"0": "00"}), "ledger.records.0"),
        (put("ledger", "records", value={}), "core.program_digest"),
        (put("ledger", "acknowledged", value={"x": 1}), "'x' is no slot number"),
        (put("medium", value=[]), "medium: list is no table"),
        (put("medium", "pages", "limits_a", value=5), "medium.pages.limits_a"),
        (put("profile", "alarms", 0, "latching", value="no"), "profile.alarms.latching"),
        (put("profile", "min_rate_nl_per_day", value=10**8), "min_rate_nl_per_day: 100000000 is more than"),
    ],
)
def test_a_wrong_snapshot_is_refused_by_name(change: Callable[[dict[str, Any]], None], message: str) -> None:
    snapshot = deepcopy(busy_pump().snapshot())
    change(snapshot)
    with pytest.raises(UsageError) as wrong:
        PumpDevice.restore(snapshot)
    assert message in str(wrong.value)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(UsageError, match="list is no table"):
        PumpDevice.restore([])


def test_a_pump_without_staged_program_or_limits_comes_back() -> None:
    pump = device()
    for page in ("limits_a", "limits_b"):
        pump.flip_bit(page, 40)
    pump.advance_to(DAY_MS)
    restored = PumpDevice.restore(pump.snapshot())
    assert (restored.core.limits, restored.core.staged) == (None, None)


def test_a_medium_that_cannot_be_read_at_restore_does_not_change_what_runs() -> None:
    pump = busy_pump()
    for page in pump.medium.pages("bank"):
        pump.medium.flip_bit(page, 11)
    assert PumpDevice.restore(pump.snapshot()).program_report() == pump.program_report()

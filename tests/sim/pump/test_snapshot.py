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
        (put("version", value=2), "snapshot version: 2"),
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
        (put("core", "staged", value=[]), "core.staged: 0 parts"),
        (put("core", "staged", value="x"), "core.staged: str is no list"),
        (put("core", value=[]), "snapshot core: list is no table"),
        (put("reservoir", "path", "slugs", value=[[1]]), "no pair of volume and concentration"),
        (put("reservoir", "path", "slugs", value=[[1, 1]]), "the path holds"),
        (put("alarms", "alarms", value=[]), "0 alarms, the pump has 8"),
        (put("alarms", "alarms", 0, "kind", value="safe_state"), "safe_state stands where low_reservoir belongs"),
        (put("log", "records", value=["00"]), "log.records: a record whose check value does not hold"),
        (put("ledger", "records", value=[]), "ledger: records and acknowledged must be tables"),
        (put("ledger", "records", value={"0": "00"}), "ledger.records.0"),
        (put("ledger", "records", value={}), "core.program_digest"),
        (put("ledger", "acknowledged", value={"x": 1}), "'x' is no slot number"),
        (put("medium", value=[]), "medium: list is no table"),
        (put("medium", "limits_a", value=5), "medium page limits_a"),
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

"""Runs made by arithmetic, so that what a report says can be told beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from telemetry.sim.patient import PatientParameters
from telemetry.sim.run import Run, RunEvent, RunFinal, RunPatient, RunPump, Samples
from telemetry.units import MS_PER_DAY, MS_PER_HOUR
from tests.support.letters import open_letters

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 170_000
LEVEL = 2_000_000
FILL = 40_000_000
PUMP = RunPump(
    profile="itb-40",
    model="SIMULATED ITB-40",
    serial="SIM-0001",
    drug="baclofen",
    seed=7,
    epoch_utc_s=1_767_225_600,
    activated_ms=0,
    reservoir_capacity_nl=FILL,
    tubing_volume_nl=140_000,
    catheter_volume_nl=195_800,
    stroke_volume_nl=1_000,
    low_reservoir_alarm_nl=2_000_000,
    refill_cap_ms=180 * MS_PER_DAY,
    critical_alarms=["motor_stall", "empty_reservoir", "end_of_service"],
)


def make_run(
    *,
    days: int = 30,
    every_ms: int = MS_PER_HOUR,
    error: float = 0.06,
    start_ms: int = 0,
    events: tuple[RunEvent, ...] = (),
    **changes: Any,  # noqa: ANN401 - fields of a run
) -> Run:
    """A pump at a constant rate with a constant error, nothing else."""
    rows = range(0, days * MS_PER_DAY + 1, every_ms)
    commanded = [RATE * at // MS_PER_DAY for at in rows]
    out = [round(volume * (1 + error)) for volume in commanded]
    count = len(commanded)
    at_ms = [start_ms + at for at in rows]
    samples = Samples(
        at_ms=at_ms,
        programmed_nl_per_day=[RATE] * count,
        commanded_nl_per_day=[RATE] * count,
        true_nl_per_day=[round(RATE * (1 + error))] * count,
        calculated_nl=[FILL - volume for volume in commanded],
        true_nl=[FILL - volume for volume in out],
        out_nl=out,
        delivered_nl=out,
        delivered_ng=[volume * LEVEL // 1_000_000 for volume in out],
        lost_nl=[0] * count,
        lost_ng=[0] * count,
        pocket_ng=[0] * count,
        tip_dose_ng_per_day=[round(RATE * (1 + error)) * LEVEL // 1_000_000] * count,
        tip_ng_per_ml=[LEVEL] * count,
        mixed_tip_ng_per_ml=[LEVEL] * count,
        battery_percent=[100 - 100 * at // (2556 * MS_PER_DAY) for at in rows],
        battery_pc=[3_600_000_000_000] * count,
        mode=["simple_continuous"] * count,
        activity=["none"] * count,
        alarms=[[] for _ in rows],
    )
    parameters = PatientParameters()
    made = Run(
        title="a made-up run",
        pump=PUMP,
        every_ms=every_ms,
        samples=samples,
        events=list(events),
        patient=RunPatient(
            parameters={name: getattr(parameters, name) for name in parameters.__slots__},
            accustomed_to_ng_per_day=340_000,
        ),
        final=RunFinal(
            at_ms=at_ms[-1],
            mode="simple_continuous",
            rate_nl_per_day=RATE,
            dose_ng_per_day=340_000,
            concentration_ng_per_ml=LEVEL,
            reservoir_nl=samples.calculated_nl[-1],
            battery_percent=samples.battery_percent[-1],
            replace_by_ms=2556 * MS_PER_DAY,
            low_reservoir_at_ms=223 * MS_PER_DAY,
            last_refill_ms=start_ms,
            alarms=[],
        ),
    )
    return structs.replace(made, **changes)


@pytest.fixture
def run_of() -> Callable[..., Run]:
    return make_run


@pytest.fixture(scope="session", autouse=True)
def _letters() -> None:
    open_letters()

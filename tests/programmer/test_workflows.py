"""Refill, implant and replace against virtual pumps whose needle the bench holds (domain.md 2.7, 2.9)."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import date

import pytest

import telemetry
from telemetry import (
    Concentration,
    DailyDose,
    Duration,
    FlowRate,
    OutcomeUnknown,
    Refused,
    Therapy,
    UsageError,
    VirtualPump,
    Volume,
)
from telemetry.model import Activity, OperationKind, PumpMode, Warn
from telemetry.programmer import BlockingProgrammer, Programmer, Proposal, RefillResult
from telemetry.programmer.refilling import Finding, RefillBound
from telemetry.therapy import PrimeOrder, ProgramBridge, RefillOrder
from telemetry.transport.faults import FaultPlan
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

FULL = Volume.parse("40 ml")
WEAK, STRONG = Concentration.parse("500 ug/ml"), Concentration.parse("2000 ug/ml")
DOSE = Therapy.simple_continuous(DailyDose(300_000))
EVERY = tuple(Warn)


@pytest.fixture
def pump() -> VirtualPump:
    return VirtualPump(seed=5)


def needle(pump: VirtualPump, volume: Volume = FULL, concentration: Concentration = STRONG) -> Volume:
    """What a hand at the port does: all out, new in."""
    out = pump.withdraw()
    pump.fill(volume, concentration)
    return out


# --- refill ---------------------------------------------------------------------------------------------------------


async def test_a_refill_is_one_prescription_and_says_what_came_out(pump: VirtualPump) -> None:
    pump.advance(days=100)
    async with telemetry.connect(pump=pump) as programmer:
        done = await programmer.refill(FULL, withdrawn=needle(pump))
        assert await programmer.read_status() == pump.status
    assert isinstance(done, RefillResult)
    assert done.operation is OperationKind.REFILL
    assert isinstance(done.order, RefillOrder)
    assert done.order.program == replace(pump.device.program_report().program)
    # 100 days at 0.170 ml/day of 40 ml.
    assert (done.withdrawn.expected_nl, done.withdrawn.withdrawn_nl) == (23_000_000, 23_000_000)
    assert (done.withdrawn.finding, done.withdrawn.previous_fill_nl) == (Finding.AS_EXPECTED, None)
    assert done.refill_by_bound is RefillBound.SIX_MONTHS
    assert done.refill_by_ms == done.applied_at_ms + 173 * MS_PER_DAY
    assert (done.battery_percent, done.replace_by_ms) == (pump.status.battery_percent, pump.status.replace_by_ms)
    assert done.read_after
    assert (pump.status.reservoir_nl, pump.status.reservoir_generation) == (40_000_000, 2)
    assert pump.ledger.balance_nl == 0


async def test_the_second_refill_knows_the_first_from_the_log(pump: VirtualPump) -> None:
    async with telemetry.connect(pump=pump) as programmer:
        pump.advance(days=50)
        await programmer.refill(Volume.parse("38 ml"), withdrawn=needle(pump, Volume.parse("38 ml")))
        for _ in range(12):  # more than a page of log in between
            await programmer.program(DOSE)
            await programmer.program(Therapy.simple_continuous(FlowRate(170_000)))
        pump.advance(days=60)
        done = await programmer.refill(FULL, withdrawn=needle(pump))
        forgotten = await programmer.last_fill(99)
    assert done.withdrawn.previous_fill_nl == 38_000_000
    assert done.withdrawn.error_ppm is not None
    assert abs(done.withdrawn.error_ppm) < 1_000
    assert not done.withdrawn.first
    assert forgotten is None


@pytest.mark.parametrize(
    ("rate_error_ppm", "finding", "error"),
    [(200_000, Finding.LESS_THAN_EXPECTED, 200_000), (-200_000, Finding.MORE_THAN_EXPECTED, -200_000)],
)
async def test_over_and_under_infusion_show_at_the_needle(rate_error_ppm: int, finding: Finding, error: int) -> None:
    pump = VirtualPump(seed=5, rate_error_ppm=rate_error_ppm)
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.refill(FULL, withdrawn=needle(pump))
        pump.advance(days=150)
        out = needle(pump)
        with pytest.raises(Refused) as refusal:
            await programmer.refill(FULL, withdrawn=out)
        assert refusal.value.warnings == ("withdrawn_differs",)
        done = await programmer.refill(FULL, withdrawn=out, accept=("withdrawn_differs",))
    assert done.withdrawn.finding is finding
    assert done.withdrawn.error_ppm is not None
    assert abs(done.withdrawn.error_ppm - error) < 2_000
    assert done.withdrawn.flagged


async def test_expiry_and_margin_set_the_date(pump: VirtualPump) -> None:
    # The pump's epoch under a manual clock is 2026-01-01.
    async with telemetry.connect(pump=pump) as programmer:
        done = await programmer.refill(FULL, withdrawn=FULL, expires=date(2026, 3, 2), margin=Duration.parse("3 d"))
    assert (done.refill_by_ms, done.refill_by_bound) == (57 * MS_PER_DAY, RefillBound.EXPIRY)


@pytest.mark.parametrize(
    ("old", "new", "rate", "hours_hundredths", "after"),
    [(WEAK, STRONG, 600_000, 1343, 150_000), (STRONG, WEAK, 150_000, 5373, 600_000)],
)
async def test_a_change_of_concentration_is_bridged_by_itself(
    old: Concentration, new: Concentration, rate: int, hours_hundredths: int, after: int
) -> None:
    pump = VirtualPump(seed=5, concentration=old)
    pump.program(DOSE)
    async with telemetry.connect(pump=pump) as programmer:
        done = await programmer.refill(FULL, new, withdrawn=needle(pump, FULL, new))
        status, delivery = await programmer.read_status(), await programmer.read_delivery()
    assert done.bridge == ProgramBridge(335_800, rate, 300_000, old.ng_per_ml)
    assert (status.activity, status.rate_nl_per_day) == (Activity.BRIDGE, rate)
    assert delivery.activity_ends_ms is not None
    span = delivery.activity_ends_ms - done.applied_at_ms
    assert (span * 100 + MS_PER_HOUR // 2) // MS_PER_HOUR == hours_hundredths
    for _ in range(120):  # the dose at the tip holds throughout, by the hour
        assert abs(pump.truth.tip_dose_ng_per_day - 300_000) < 3_000
        pump.advance(hours=1)
    assert pump.status.rate_nl_per_day == after
    assert pump.ledger.balance_nl == 0


async def test_without_the_bridge_the_pump_warns_and_the_tip_is_wrong(pump: VirtualPump) -> None:
    weak = VirtualPump(seed=5, concentration=WEAK)
    weak.program(DOSE)
    async with telemetry.connect(pump=weak) as programmer:
        out = needle(weak, FULL, STRONG)
        with pytest.raises(Refused) as refusal:
            await programmer.refill(FULL, STRONG, DOSE, withdrawn=out, bridge=False)
        assert refusal.value.warnings == ("bridge_omitted",)
        await programmer.refill(FULL, STRONG, DOSE, withdrawn=out, bridge=False, accept=("bridge_omitted",))
    weak.advance(hours=53)
    assert weak.truth.tip_dose_ng_per_day == 75_000
    weak.advance(hours=1)
    assert weak.truth.tip_dose_ng_per_day == 300_000


async def test_a_new_program_carries_a_bridge_that_runs_on(pump: VirtualPump) -> None:
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.refill(FULL, WEAK, DOSE, withdrawn=needle(pump, FULL, WEAK))
        pump.advance(hours=10)
        left = (await programmer.read_delivery()).activity_volume_nl
        given = (await programmer.read_delivery()).activity_delivered_nl
        change = await programmer.program(Therapy.simple_continuous(DailyDose(330_000)))
        program = (await programmer.read_program()).program
        assert program.bridge == ProgramBridge(left - given, 165_000, 330_000, STRONG.ng_per_ml)
        with pytest.raises(Refused) as refusal:
            await programmer.program(DOSE, bridge=False)
        assert "bridge_omitted" in refusal.value.warnings
        with pytest.raises(UsageError, match="two concentrations"):
            await programmer.refill(FULL, STRONG, withdrawn=FULL)
    assert change.after.dose_ng_per_day == 330_000
    assert pump.status.activity is Activity.BRIDGE


async def test_what_no_reservoir_holds_is_not_even_sent(pump: VirtualPump) -> None:
    async with telemetry.connect(pump=pump) as programmer:
        for volume in (Volume(40_000_001), Volume(0)):
            with pytest.raises(UsageError, match="never overfilled"):
                await programmer.refill(volume, withdrawn=FULL)
    assert pump.status.program_sequence == 1


async def test_a_refill_whose_commit_is_lost_leaves_the_old_books_or_the_new_ones_whole(pump: VirtualPump) -> None:
    for faults, applied in (("drop:1@tx/Commit,drop:1@tx/Query", False), ("drop:1@rx/VerdictReport", True)):
        fresh = VirtualPump(seed=5)
        async with telemetry.connect(pump=fresh, faults=FaultPlan.parse(faults, seed=1)) as programmer:
            with pytest.raises(OutcomeUnknown):
                await programmer.refill(FULL, WEAK, DOSE, withdrawn=FULL)
        status = fresh.status
        told = (status.concentration_ng_per_ml, status.reservoir_generation, status.activity)
        assert told == ((500_000, 2, Activity.BRIDGE) if applied else (2_000_000, 1, Activity.NONE))
    assert pump.status.reservoir_generation == 1


async def test_a_reading_that_fails_after_the_refill_does_not_undo_it(
    pump: VirtualPump, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with telemetry.connect(pump=pump) as programmer:

        async def nothing() -> None:
            raise telemetry.LinkTimeout("the telemeter was lifted")

        monkeypatch.setattr(programmer, "read_status", nothing)
        done = await programmer.refill(FULL, withdrawn=FULL)
    assert not done.read_after
    assert done.battery_percent > 0
    assert pump.status.reservoir_generation == 2


# --- implant --------------------------------------------------------------------------------------------------------


async def test_an_implantation_checks_fills_primes_and_starts() -> None:
    pump = VirtualPump(seed=5, age="shelf")
    assert pump.status.mode is PumpMode.SHELF
    async with telemetry.connect(pump=pump) as programmer:
        identity = await programmer.read_identity()
        with pytest.raises(UsageError, match="do not implant"):
            await programmer.implant(FULL, WEAK, DOSE, calibration_ppm=identity.calibration_ppm + 1)
        with pytest.raises(UsageError, match="on the shelf"):
            await programmer.refill(FULL, withdrawn=Volume(0))
        pump.fill(FULL, WEAK)
        done = await programmer.implant(FULL, WEAK, DOSE, calibration_ppm=identity.calibration_ppm)
        delivery = await programmer.read_delivery()
        first = await programmer.last_fill((await programmer.read_status()).reservoir_generation)
    assert isinstance(done.prime.order, PrimeOrder)
    assert done.prime.order.volume_nl == 335_800
    assert (delivery.activity, delivery.activity_volume_nl) == (Activity.PRIME, 335_800)
    assert first is not None
    assert (first.volume_nl, first.first) == (40_000_000, True)
    pump.advance(minutes=21)
    assert (pump.status.mode, pump.status.dose_ng_per_day) == (PumpMode.SIMPLE_CONTINUOUS, 300_000)
    assert pump.truth.tip_concentration_ng_per_ml == 500_000


async def test_what_of_a_workflow_is_applied_is_told_when_the_rest_fails() -> None:
    pump = VirtualPump(seed=5, age="shelf")
    pump.fill(FULL, WEAK)
    answers = iter([True, False])

    async def once(_proposal: Proposal) -> bool:
        return next(answers)

    async with telemetry.connect(pump=pump) as programmer:
        with pytest.raises(Refused, match="not confirmed") as refusal:
            await programmer.implant(FULL, WEAK, DOSE, confirm=once)
    (note,) = refusal.value.__notes__
    assert note.startswith("applied before that: refill (operation ")
    assert pump.status.mode is PumpMode.SIMPLE_CONTINUOUS


# --- replace --------------------------------------------------------------------------------------------------------


async def aged(pump: VirtualPump) -> None:
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.program(Therapy.flex({"00:00": DailyDose(280_000), "07:00": DailyDose(340_000)}), accept=EVERY)
        limits = await programmer.read_limits()
        await programmer.set_limits(replace(limits, daily_dose_hard_max_ng=1_200_000))
        await programmer.configure_alarms(low_reservoir=Volume.parse("3 ml"), elective_replacement_enabled=False)
        await programmer.set_clock(zone_minutes=60, accept=EVERY)


async def test_a_successor_carries_everything_on_and_primes_its_tubing_only(pump: VirtualPump) -> None:
    await aged(pump)
    successor = VirtualPump(seed=9, serial="SIM-0002", age="shelf")
    successor.fill(FULL, STRONG)
    async with telemetry.connect(pump=pump) as old:
        prescription = await old.read_prescription()
        with pytest.raises(UsageError, match="the old pump itself"):
            await old.replace(prescription, FULL)
    async with telemetry.connect(pump=successor) as new:
        done = await new.replace(prescription, FULL)
        carried = await new.read_prescription()
    assert [change.operation.value for change in done.settings] == ["limits", "alarm_settings", "clock"]
    assert carried.program.steps == prescription.program.steps
    assert (carried.limits, carried.alarm_settings) == (prescription.limits, prescription.alarm_settings)
    assert carried.zone_minutes == 60
    assert done.prime is not None
    assert isinstance(done.prime.order, PrimeOrder)
    assert done.prime.order.volume_nl == prescription.identity.tubing_volume_nl
    assert done.refill.bridge is None


async def test_an_old_catheter_of_another_concentration_is_bridged_from_the_first_moment(pump: VirtualPump) -> None:
    pump.program(DOSE)
    successor = VirtualPump(seed=9, serial="SIM-0002", age="shelf")
    successor.fill(FULL, WEAK)
    async with telemetry.connect(pump=pump) as old:
        prescription = await old.read_prescription()
    async with telemetry.connect(pump=successor) as new:
        with pytest.raises(UsageError, match="prime the new pump's tubing before"):
            await new.replace(prescription, FULL, WEAK, accept=EVERY)
        assert successor.status.mode is PumpMode.SHELF
        done = await new.replace(prescription, FULL, WEAK, tubing_primed=True)
    assert done.prime is None
    assert done.refill.bridge == ProgramBridge(
        prescription.identity.catheter_volume_nl, 150_000, 300_000, STRONG.ng_per_ml
    )
    assert successor.status.activity is Activity.BRIDGE


# --- the same without an event loop ---------------------------------------------------------------------------------


def _public(kind: type) -> dict[str, list[tuple[str, object, object]]]:
    return {
        name: [
            (parameter.name, parameter.kind, parameter.default)
            for parameter in inspect.signature(function).parameters.values()
        ]
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_blocking_programmer_has_every_call_with_the_same_parameters() -> None:
    waiting, blocking = _public(Programmer), _public(BlockingProgrammer)
    assert blocking == waiting


@pytest.mark.real
def test_a_whole_refill_without_an_event_loop() -> None:
    asked: list[Proposal] = []

    def yes(proposal: Proposal) -> bool:
        asked.append(proposal)
        return True

    with telemetry.connect_sync("sim:?seed=3") as programmer:
        done = programmer.refill(FULL, WEAK, DOSE, withdrawn=FULL, accept=EVERY, confirm=yes)
        assert programmer.read_delivery().activity is Activity.BRIDGE
        assert programmer.read_rules().prime_rate_nl_per_day > 0
        assert programmer.read_alarm_settings().low_reservoir_enabled
        stopped = programmer.emergency_stop(confirm=lambda text: "death" in text)
    assert done.bridge is not None
    assert [one.order for one in asked] == [done.order]
    assert stopped.after.mode is PumpMode.STOPPED

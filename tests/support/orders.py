"""Orders that a pump takes now, of every kind, and what to look at to see that nothing changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.model import OperationKind, PumpMode, RefusalReason, Role
from telemetry.protocol import messages as wire
from telemetry.therapy import AlarmSettings, BolusOrder, ClockSetting, PrimeOrder, Program, ProgramStep, RefillOrder
from telemetry.units import NL_PER_ML

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message
    from telemetry.protocol.orders import Order
    from telemetry.protocol.wire import Status
    from tests.support.talk import Rig, Talker


def visit(rig: Rig, role: Role = Role.CLINICIAN) -> Talker:
    """A session of this role after whatever session there was."""
    rig.firmware.contact_lost()
    return rig.open(role)


def refused(answer: Message | None) -> tuple[Status, RefusalReason | None]:
    assert isinstance(answer, wire.Refusal), answer
    return answer.status, answer.reason


def simple(rig: Rig, rate_nl_per_day: int = 150_000, **changes: object) -> Program:
    """A constant rate bound to what is in the reservoir."""
    status = rig.device.status()
    program = Program(
        mode=PumpMode.SIMPLE_CONTINUOUS,
        rate_nl_per_day=rate_nl_per_day,
        dose_ng_per_day=rate_nl_per_day * status.concentration_ng_per_ml // NL_PER_ML,
        concentration_ng_per_ml=status.concentration_ng_per_ml,
        drug=status.drug,
        reservoir_generation=status.reservoir_generation,
    )
    return replace(program, **changes)  # type: ignore[arg-type]


def week(rig: Rig, steps_a_day: int = 24) -> Program:
    """A step every hour, another rate each, every day of the week on its own: the longest schedule there is."""
    status = rig.device.status()
    strength = status.concentration_ng_per_ml
    every = 24 * 60 // steps_a_day
    steps = tuple(
        ProgramStep(1 << day, index * every, rate, rate * strength // NL_PER_ML)
        for day in range(7)
        for index, rate in enumerate(140_000 + 96 * (index + day) for index in range(steps_a_day))
    )
    last = steps[-steps_a_day:]  # Sunday has the highest rates
    total_nl = sum(step.rate_nl_per_day for step in last) // steps_a_day
    total_ng = sum(step.dose_ng_per_day for step in last) // steps_a_day
    return simple(rig, mode=PumpMode.WEEKDAY, steps=steps, rate_nl_per_day=total_nl, dose_ng_per_day=total_ng)


def orders(rig: Rig) -> dict[OperationKind, Order]:
    """One order of each kind that a stock pump takes now."""
    status = rig.device.status()
    return {
        OperationKind.PROGRAM: simple(rig),
        OperationKind.BOLUS: BolusOrder(
            12_500,
            12_500 * status.concentration_ng_per_ml // NL_PER_ML,
            600,
            status.concentration_ng_per_ml,
            status.reservoir_generation,
        ),
        OperationKind.PRIME: PrimeOrder(20_000, 2_000_000, status.concentration_ng_per_ml, status.reservoir_generation),
        OperationKind.REFILL: RefillOrder(
            38_000_000,
            status.reservoir_nl,
            simple(rig, reservoir_generation=status.reservoir_generation + 1),
        ),
        OperationKind.LIMITS: replace(rig.device.limits(), daily_dose_hard_max_ng=1_500_000),
        OperationKind.CLOCK: ClockSetting(status.clock_utc_s + 60, -300),
        OperationKind.ALARM_SETTINGS: AlarmSettings(
            3_000_000, low_reservoir_enabled=False, elective_replacement_enabled=True
        ),
    }


def everything(rig: Rig) -> tuple[object, ...]:
    device = rig.device
    status = device.status()
    return (
        device.program_report(),
        device.ledger_sequence,
        device.limits(),
        device.alarm_settings(),
        device.delivery(),
        status,
        device.log_head(),
    )

"""Pumps, programs and operations for the tests of the pump."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.model import Drug, OperationKind, PumpMode, Warn
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump.device import PumpDevice
from telemetry.sim.pump.ledger import Operation, OperationRecord
from telemetry.sim.pump.medium import Medium
from telemetry.therapy import Program

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile

EPOCH_UTC_S = 1_767_225_600
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ML = 1_000_000
PROFILE: PumpProfile = load_profile("itb-40")
EVERY_WARNING = tuple(Warn)


def device(profile: PumpProfile = PROFILE, medium: Medium | None = None, **facts: int) -> PumpDevice:
    """A new stock pump."""
    return PumpDevice(
        profile,
        Medium() if medium is None else medium,
        epoch_utc_s=EPOCH_UTC_S,
        pump_id=b"testpump",
        **facts,  # type: ignore[arg-type]
    )


def program(pump: PumpDevice, rate_nl_per_day: int = 150_000, **changes: int) -> Program:
    """A program that fits the pump as it is, but for the changes asked for."""
    status = pump.status()
    wanted = Program(
        mode=PumpMode.SIMPLE_CONTINUOUS,
        rate_nl_per_day=rate_nl_per_day,
        dose_ng_per_day=rate_nl_per_day * status.concentration_ng_per_ml // ML,
        concentration_ng_per_ml=status.concentration_ng_per_ml,
        drug=Drug.BACLOFEN,
        reservoir_generation=status.reservoir_generation,
    )
    return replace(wanted, **changes)  # type: ignore[arg-type]


def digest(what: object) -> bytes:
    """A digest that stands for an image."""
    return hashlib.sha256(repr(what).encode()).digest()


def op(
    counter: int,
    kind: OperationKind = OperationKind.PROGRAM,
    what: object = "",
    *,
    slot: int = 1,
    salt: bytes = b"random--",
) -> Operation:
    """An operation of one slot."""
    op_id = counter.to_bytes(8, "little") + salt
    return Operation(slot, counter, op_id, kind, digest(what))


def commit(pump: PumpDevice, counter: int, wanted: Program, *, slot: int = 1) -> OperationRecord:
    """Stage and commit a program, every warning accepted."""
    operation = op(counter, what=wanted, slot=slot)
    pump.stage(wanted, operation.digest)
    return pump.commit(operation, EVERY_WARNING)


def restart(pump: PumpDevice) -> None:
    """Cut power and boot at once."""
    pump.power_cut()
    pump.boot()

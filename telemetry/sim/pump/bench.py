"""What is done at the bench, without the wire: refill (needle and books in one), program, stop, resume.

Each writes an ordinary commit record under the bench's own slot, so that a programmer that had read before finds
its base changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import LogCode, OperationKind, Program, PumpMode, StopReason, Therapy, Warn
from telemetry.sim.pump import records, transactions
from telemetry.sim.pump.ledger import BENCH_SLOT, SHORT_DIGEST_SIZE, OperationRecord
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, daily_dose_ng
from telemetry.sim.pump.recovery import pump_operation
from telemetry.units import Concentration, FlowRate, HourlyDose, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

_EVERY_WARNING = tuple(Warn)


@dataclass(frozen=True, slots=True)
class RefillReport:
    """What the needle moved, and the books: ``calculated_before_nl`` is what the pump had believed was left."""

    withdrawn_nl: int
    filled_nl: int
    calculated_before_nl: int
    reservoir_generation: int
    record: OperationRecord


def program_for(core: PumpCore, therapy: Therapy, concentration_ng_per_ml: int, generation: int) -> Program:
    """The program that carries out a therapy from a reservoir of this concentration, rounded towards less drug."""
    if therapy.rate is None:
        limits = core.limits
        rate = core.profile.keep_alive_rate_nl_per_day if limits is None else limits.keep_alive_rate_nl_per_day
        dose = daily_dose_ng(rate, concentration_ng_per_ml)
    elif isinstance(therapy.rate, FlowRate):
        rate = therapy.rate.nl_per_day
        dose = daily_dose_ng(rate, concentration_ng_per_ml)
    else:
        daily = therapy.rate.per_day() if isinstance(therapy.rate, HourlyDose) else therapy.rate
        rate = daily.flow_rate(Concentration(concentration_ng_per_ml)).nl_per_day
        dose = daily.ng_per_day
    return Program(
        mode=therapy.mode,
        rate_nl_per_day=rate,
        dose_ng_per_day=dose,
        concentration_ng_per_ml=concentration_ng_per_ml,
        drug=core.profile.drug,
        reservoir_generation=generation,
    )


def _stage(core: PumpCore, program: Program) -> bytes:
    digest = records.digest_of(records.pack_program(program))
    transactions.stage(core, program, digest)
    return digest


def program(core: PumpCore, therapy: Therapy) -> OperationRecord:
    """Program a therapy; hard limits hold, warnings count as accepted, no change is measured.

    Raises ``Refused`` naming the rule that the therapy breaks.
    """
    wanted = program_for(core, therapy, core.concentration_ng_per_ml, core.reservoir_generation)
    transactions.check(core, wanted, at_bench=True)
    operation = pump_operation(core, BENCH_SLOT, OperationKind.PROGRAM, _stage(core, wanted))
    return transactions.apply_program(core, operation)


def refill(
    core: PumpCore,
    volume: Volume | None = None,
    concentration: Concentration | None = None,
    therapy: Therapy | None = None,
) -> RefillReport:
    """Withdraw what is truly left, fill (full by default), and bind and commit the program anew at once.

    Raises ``UsageError`` for more than the reservoir holds, for nothing, and for a new concentration (or a pump in
    its safe state) without a therapy; ``Refused`` when the therapy breaks a rule. Nothing has moved then.
    """
    capacity_nl = core.profile.reservoir_capacity_nl
    volume_nl = capacity_nl if volume is None else volume.nl
    if not 0 < volume_nl <= capacity_nl:
        raise UsageError(
            f"volume: {Volume(volume_nl)} is outside 0.000001 ml to the reservoir's {Volume(capacity_nl)}; "
            "a reservoir is never overfilled"
        )
    strength = core.concentration_ng_per_ml if concentration is None else concentration.ng_per_ml
    generation = core.reservoir_generation + 1
    if therapy is not None:
        wanted = program_for(core, therapy, strength, generation)
    elif core.safe:
        raise UsageError("therapy: the pump is in its safe state and has no program; give the therapy with the refill")
    elif strength != core.concentration_ng_per_ml:
        raise UsageError(
            f"therapy: a new concentration ({Concentration(strength)} after "
            f"{Concentration(core.concentration_ng_per_ml)}) needs its therapy; give therapy= with it"
        )
    else:
        wanted = _rebound(core.program, generation)
    running = therapy is not None or core.running
    _check_refill(core, wanted, volume_nl)
    before_nl = core.reservoir.calculated_nl
    digest = _stage(core, wanted)
    operation = pump_operation(core, BENCH_SLOT, OperationKind.PROGRAM, digest)
    withdrawn_nl, filled_nl = core.reservoir.refill(volume_nl, strength)
    core.dry_told = False
    core.note(LogCode.REFILLED, generation, volume_nl, slot=BENCH_SLOT)
    core.emit("refilled", str(generation))
    record = transactions.apply_program(core, operation, calculated=volume_nl * COMMANDED_PER_NL, running=running)
    return RefillReport(withdrawn_nl, filled_nl, before_nl, generation, record)


def _rebound(program: Program, generation: int) -> Program:
    return Program(
        mode=program.mode,
        rate_nl_per_day=program.rate_nl_per_day,
        dose_ng_per_day=program.dose_ng_per_day,
        concentration_ng_per_ml=program.concentration_ng_per_ml,
        drug=program.drug,
        reservoir_generation=generation,
    )


def _check_refill(core: PumpCore, wanted: Program, volume_nl: int) -> None:
    """Check the program against the reservoir as it will be."""
    before = core.concentration_ng_per_ml, core.reservoir_generation, core.reservoir.calculated
    core.concentration_ng_per_ml = wanted.concentration_ng_per_ml
    core.reservoir_generation = wanted.reservoir_generation
    core.reservoir.calculated = volume_nl * COMMANDED_PER_NL
    try:
        transactions.check(core, wanted, at_bench=True)
    finally:
        core.concentration_ng_per_ml, core.reservoir_generation, core.reservoir.calculated = before


def stop(core: PumpCore) -> OperationRecord:
    """Stop delivery."""
    operation = pump_operation(core, BENCH_SLOT, OperationKind.STOP, bytes(records.DIGEST_SIZE))
    return transactions.stop(core, operation, StopReason.BENCH)


def resume(core: PumpCore) -> OperationRecord:
    """Deliver the committed program again, warnings accepted; raises ``Refused`` when that cannot be."""
    active = transactions.need_active(core)
    operation = pump_operation(core, BENCH_SLOT, OperationKind.RESUME, active.image_digest)
    digest = active.image_digest[:SHORT_DIGEST_SIZE]
    return transactions.resume(core, operation, active.program_sequence, digest, _EVERY_WARNING)


def start_program(core: PumpCore) -> Program:
    """What a new pump runs: its profile's start rate from the drug it was filled with."""
    therapy = Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate(core.profile.start_rate_nl_per_day))
    return program_for(core, therapy, core.concentration_ng_per_ml, 1)

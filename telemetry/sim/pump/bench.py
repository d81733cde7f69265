"""What is done at the bench, without the wire: the needle, and every order that a programmer could give.

Whoever acts here makes the mistakes that wait for that act (``slipping.py``).

Each order writes an ordinary commit record under the bench's own slot, so that a programmer that had read before finds
its base changed. Hard limits hold, warnings count as accepted, no change is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import OperationKind, PumpMode, StopReason, Warn
from telemetry.sim.pump import decisions, orders, prescribing, records, slipping, transactions
from telemetry.sim.pump.ledger import BENCH_SLOT, SHORT_DIGEST_SIZE, OperationRecord
from telemetry.sim.pump.patient_bolus import patient_bolus as give_patient_bolus
from telemetry.sim.pump.prescribing import Bridge, program_for
from telemetry.sim.pump.quantities import TRUE_PER_NL
from telemetry.therapy import RefillOrder, Therapy
from telemetry.units import Concentration, FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.orders import Order
    from telemetry.therapy import Program

_EVERY_WARNING = tuple(Warn)
INTO = ("reservoir", "pocket", "side_port")


@dataclass(frozen=True, slots=True)
class RefillReport:
    """What the needle moved, and the books: ``calculated_before_nl`` is what the pump had believed was left."""

    withdrawn_nl: int
    filled_nl: int
    calculated_before_nl: int
    reservoir_generation: int
    record: OperationRecord


# --- orders ----------------------------------------------------------------------------------------------------------


def give(core: PumpCore, kind: OperationKind, order: Order, *, running: bool = True) -> OperationRecord:
    """Check, stage and commit any order; raises ``Refused`` naming the rule that it breaks."""
    derived = transactions.check(core, order, at_bench=True)
    operation = decisions.pump_operation(core, BENCH_SLOT, kind, _stage(core, order))
    return transactions.apply(core, operation, derived, running=running)


def _stage(core: PumpCore, order: Order) -> bytes:
    digest = records.digest_of(orders.pack_order(order))
    transactions.stage(core, order, digest)
    return digest


def program(core: PumpCore, therapy: Therapy) -> OperationRecord:
    """Program a therapy; raises ``Refused`` naming the rule that it breaks."""
    wanted = program_for(core, therapy, core.concentration_ng_per_ml, core.reservoir_generation)
    return give(core, OperationKind.PROGRAM, slipping.misread_units(core, wanted))


def patient_bolus(core: PumpCore) -> OperationRecord:
    """Ask for the patient's bolus; raises ``Refused``."""
    digest = bytes(records.DIGEST_SIZE)
    operation = decisions.pump_operation(core, BENCH_SLOT, OperationKind.PATIENT_BOLUS, digest)
    return give_patient_bolus(core, operation)


def stop(core: PumpCore) -> OperationRecord:
    """Stop delivery."""
    operation = decisions.pump_operation(core, BENCH_SLOT, OperationKind.STOP, bytes(records.DIGEST_SIZE))
    return transactions.stop(core, operation, StopReason.BENCH)


def resume(core: PumpCore) -> OperationRecord:
    """Deliver the committed program again, warnings accepted; raises ``Refused`` when that cannot be."""
    active = decisions.need_active(core)
    operation = decisions.pump_operation(core, BENCH_SLOT, OperationKind.RESUME, active.image_digest)
    digest = active.image_digest[:SHORT_DIGEST_SIZE]
    return transactions.resume(core, operation, active.program_sequence, digest, _EVERY_WARNING)


def start_program(core: PumpCore) -> Program:
    """What a new pump runs: its profile's start rate from the drug it was filled with."""
    therapy = Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate(core.profile.start_rate_nl_per_day))
    return program_for(core, therapy, core.concentration_ng_per_ml, 1)


# --- refill ----------------------------------------------------------------------------------------------------------


def refill(
    core: PumpCore,
    volume: Volume | None = None,
    concentration: Concentration | None = None,
    therapy: Therapy | None = None,
    bridge: Bridge | bool = False,  # noqa: FBT001, FBT002 - a bridge, or whether there is one
) -> RefillReport:
    """Withdraw what is truly left, fill (full by default), and bind and commit the program anew at once.

    Raises ``UsageError`` for more than the reservoir holds, for nothing, and for a new concentration (or a pump in
    its safe state) without a therapy; ``Refused`` when the therapy breaks a rule. Nothing has moved then.
    """
    volume_nl = core.profile.reservoir_capacity_nl if volume is None else volume.nl
    withdrawn_nl = core.reservoir.true_volume // TRUE_PER_NL
    order, running = _refill_order(core, volume_nl, concentration, therapy, withdrawn_nl, bridge)
    derived = transactions.check(core, order, at_bench=True)
    before_nl = core.reservoir.calculated_nl
    operation = decisions.pump_operation(core, BENCH_SLOT, OperationKind.REFILL, _stage(core, order))
    withdrawn_nl = core.reservoir.withdraw()
    # A nanolitre begun stays behind and counts towards the new filling: never more than was asked for.
    strength = order.program.concentration_ng_per_ml
    filled_nl = slipping.empty_syringe(core, max(0, volume_nl - core.reservoir.true_nl), strength)
    core.dry_told = False
    record = transactions.apply(core, operation, derived, running=running)
    return RefillReport(withdrawn_nl, filled_nl, before_nl, core.reservoir_generation, record)


def tell_refill(
    core: PumpCore,
    volume: Volume | None = None,
    concentration: Concentration | None = None,
    therapy: Therapy | None = None,
    withdrawn: Volume | None = None,
    bridge: Bridge | bool = False,  # noqa: FBT001, FBT002 - a bridge, or whether there is one
) -> OperationRecord:
    """The books of a refill without its needle; ``withdrawn`` is what its book said unless given. Raises as above."""
    volume_nl = core.profile.reservoir_capacity_nl if volume is None else volume.nl
    withdrawn_nl = core.reservoir.calculated_nl if withdrawn is None else withdrawn.nl
    order, running = _refill_order(core, volume_nl, concentration, therapy, withdrawn_nl, bridge)
    record = give(core, OperationKind.REFILL, order, running=running)
    core.dry_told = False
    core.evaluate()
    return record


def _refill_order(
    core: PumpCore,
    volume_nl: int,
    concentration: Concentration | None,
    therapy: Therapy | None,
    withdrawn_nl: int,
    bridge: Bridge | bool,  # noqa: FBT001 - a bridge, or whether there is one
) -> tuple[RefillOrder, bool]:
    """The order, and whether the pump delivers afterwards."""
    capacity_nl = core.profile.reservoir_capacity_nl
    if not 0 < volume_nl <= capacity_nl:
        raise UsageError(
            f"volume: {Volume(volume_nl)} is outside 0.000001 ml to the reservoir's {Volume(capacity_nl)}; "
            "a reservoir is never overfilled"
        )
    strength = core.concentration_ng_per_ml if concentration is None else concentration.ng_per_ml
    generation = core.reservoir_generation + 1
    if therapy is not None:
        wanted = slipping.misread_units(core, program_for(core, therapy, strength, generation))
    elif core.safe:
        raise UsageError("therapy: the pump is in its safe state and has no program; give the therapy with the refill")
    elif strength != core.concentration_ng_per_ml:
        raise UsageError(
            f"therapy: a new concentration ({Concentration(strength)} after "
            f"{Concentration(core.concentration_ng_per_ml)}) needs its therapy; give therapy= with it"
        )
    else:
        wanted = replace(core.program, reservoir_generation=generation, bridge=None)
    wanted = prescribing.with_bridge(core, wanted, slipping.misread_bridge(core, bridge))
    return RefillOrder(volume_nl, withdrawn_nl, wanted), therapy is not None or core.running or core.shelf


# --- the needle ------------------------------------------------------------------------------------------------------


def withdraw(core: PumpCore, volume: Volume | None = None) -> Volume:
    """Take out so much, or all that comes; the pump is told nothing. Returns what came."""
    withdrawn_nl = core.reservoir.withdraw(None if volume is None else volume.nl)
    core.dry_told = core.dry_told or core.reservoir.true_volume == 0  # emptied by the needle: nobody ran it dry
    core.evaluate()
    return Volume(withdrawn_nl)


def fill(core: PumpCore, volume: Volume, concentration: Concentration, into: str = "reservoir") -> Volume:
    """Put so much in; the pump is told nothing. Returns what went in (an overfull reservoir takes no more).

    ``into``: where the needle is: ``reservoir``, or by mistake ``pocket`` (under the skin) or ``side_port``.
    """
    reservoir, strength = core.reservoir, concentration.ng_per_ml
    if into not in INTO:
        raise UsageError(f"into: {into!r} is none of {', '.join(INTO)}")
    filled_nl = volume.nl
    if into == "pocket":
        reservoir.pocket(volume.nl, strength)
    elif into == "side_port":
        filled_nl = reservoir.inject(volume.nl, strength)
    else:
        filled_nl = slipping.empty_syringe(core, volume.nl, strength)
        core.dry_told = core.dry_told and reservoir.true_volume == 0
    core.evaluate()
    return Volume(filled_nl)


def adopt_catheter(core: PumpCore, old: PumpCore) -> None:
    """This pump on the catheter of an old one, with all the drug that is in it (domain.md 1: replacement)."""
    core.reservoir.adopt_catheter(old.reservoir)
    core.emit("catheter_replaced", "adopted")
    core.evaluate()


def replace_catheter(core: PumpCore, volume: Volume | None = None) -> None:
    """A new catheter, patent and without drug; ``volume``: what it holds (as much as the old one unless given)."""
    core.reservoir.replace_catheter(None if volume is None else volume.nl)
    core.emit("catheter_replaced")
    core.evaluate()

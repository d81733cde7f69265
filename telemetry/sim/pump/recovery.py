"""Power cut, boot, and what the pump does when its memory is damaged (trust.md 5.5, 5.6, 5.10).

=====================================  ==========================================================================
found                                  reaction
=====================================  ==========================================================================
a torn record                          it is not there; the newest valid one holds
one copy damaged                       repaired from its copy, logged
bank of the record in force damaged    the other bank, if a record vouches for it and its drug and concentration
                                       are those in the reservoir; else safe basal; memory alarm
safe basal outvoted                    repaired; no majority: rate 0 where it would be needed, memory alarm
limits lost                            therapy goes on, no new program is accepted, memory alarm
log damaged                            therapy goes on, a gap in the numbers, logged, memory alarm
=====================================  ==========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, LogCode, OperationKind, Program
from telemetry.sim.pump import records
from telemetry.sim.pump.alarms import ALARM_NUMBERS, Alarms
from telemetry.sim.pump.ledger import COUNTER_SIZE, SYSTEM_SLOT, CommitRecord, Operation
from telemetry.sim.pump.log import EventLog
from telemetry.sim.pump.memory import BANK_DIGEST_SIZE, Checkpoint, Loaded
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.sim.pump.transactions import InForce, decide, need_active, take_program
from telemetry.units import HOURS_PER_DAY

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

_GRANT_PERCENT = 100
REPAIRED, LOST = 0, 1
"""``detail`` of a MEMORY_ERROR log record; its ``value`` counts the pages or records."""


def pump_operation(core: PumpCore, slot: int, kind: OperationKind, digest: bytes) -> Operation:
    """An operation of the pump's own or of the bench; its id is its counter, there is nobody to confuse it with."""
    counter = core.ledger.last_counter(slot) + 1
    op_id = counter.to_bytes(COUNTER_SIZE, "little") + bytes(COUNTER_SIZE)
    return Operation(slot=slot, counter=counter, op_id=op_id, kind=kind, digest=digest)


def granted_ahead_nl(core: PumpCore) -> int:
    """Strokes reserved ahead, as a volume: 1 % of the hourly dose or one stroke, whichever is larger (trust.md 5.6)."""
    stroke_nl = core.profile.stroke_volume_nl
    strokes = core.rate_nl_per_day // (HOURS_PER_DAY * _GRANT_PERCENT * stroke_nl)
    return max(1, strokes) * stroke_nl


def power_cut(core: PumpCore) -> None:
    """Lose power now: RAM is gone, the reserved strokes count as given.

    They are a function of time (protocol.md, Decided 15): the book stands at the next reservation boundary, as the
    last continuous write left it. The true volume keeps what was not stroked, so that a restart can only give less
    than the book says, by at most ``granted_ahead_nl``.
    """
    if not core.powered:
        raise UsageError("the pump has no power already; boot it")
    core.memory.medium.disarm()
    grant = granted_ahead_nl(core) * COMMANDED_PER_NL
    calculated = core.reservoir.calculated
    if core.rate_nl_per_day:
        calculated -= calculated % grant
    latched = core.alarms.latched_kinds()
    bits = sum(1 << (ALARM_NUMBERS[kind] - 1) for kind in latched)
    sequence = need_active(core).sequence
    core.memory.write_checkpoint(Checkpoint(sequence, calculated, core.still_since_ms, bits, core.alarms.sequence))
    core.powered = False
    core.staged = None


def boot(core: PumpCore, now_ms: int) -> None:
    """Power on at ``now_ms``: newest valid record wins, boot epoch rises, alarms are looked at anew.

    Raises ``UsageError`` when the pump has power or the instant lies in the past.
    """
    if core.powered:
        raise UsageError("the pump has power; cut it first")
    if now_ms < core.now_ms:
        raise UsageError(f"now_ms: {now_ms} lies before {core.now_ms}, and time never runs backwards")
    core.now_ms = now_ms
    core.powered = True
    bound_nl = granted_ahead_nl(core)
    loaded = core.memory.load()
    core.boot_epoch = loaded.boot_epoch + 1
    core.memory.write_boot_epoch(core.boot_epoch)
    core.log = EventLog(core.memory.medium, core.profile.log_capacity)
    lost_log = core.log.load()
    core.alarms = Alarms(core.profile, core.emit, core.note)
    core.memory_check_due_ms = None
    core.ended, core.exhausted = False, False
    core.ledger = loaded.ledger
    core.active = loaded.ledger.newest()
    core.note(LogCode.POWER_ON, 0, bound_nl)
    core.emit("power_on", str(core.boot_epoch))
    checkpoint = loaded.checkpoint
    core.reservoir.calculated, core.still_since_ms = _books(core, checkpoint)
    if checkpoint is not None:
        core.alarms.sequence = checkpoint.alarm_sequence
    _recover(core, loaded, lost_log)
    core.evaluate()
    if checkpoint is not None:
        for kind, number in ALARM_NUMBERS.items():
            if checkpoint.latched_bits >> (number - 1) & 1:
                core.alarms.latch(kind, now_ms)
    core.evaluate()


def _books(core: PumpCore, checkpoint: Checkpoint | None) -> tuple[int, int | None]:
    """Calculated volume and since when nothing was stroked, from the newest of checkpoint and commit record.

    With neither left the book stands at the low-reservoir alarm: it sounds, and the safe basal still flows.
    """
    record = core.active
    if checkpoint is not None and (record is None or checkpoint.commit_sequence >= record.sequence):
        return checkpoint.calculated, checkpoint.still_since_ms
    if record is not None:
        return record.calculated, record.still_since_ms
    return core.low_reservoir_alarm_nl * COMMANDED_PER_NL, core.now_ms


def check_memory(core: PumpCore) -> None:
    """Read the whole memory against its check values and react, without a reboot."""
    loaded = core.memory.load()
    for record in core.ledger:
        through = core.ledger.acknowledged_through(record.slot)
        loaded.ledger.acknowledge_through(record.slot, through)
    lost_log = core.log.load()
    core.ledger = loaded.ledger
    core.active = loaded.ledger.newest()
    _recover(core, loaded, lost_log)


def _recover(core: PumpCore, loaded: Loaded, lost_log: tuple[str, ...]) -> None:
    core.limits = loaded.limits
    core.safe_basal_nl_per_day = loaded.safe_basal_nl_per_day
    if loaded.binding is not None:
        core.drug, core.concentration_ng_per_ml, core.reservoir_generation = loaded.binding
    if loaded.repaired:
        core.note(LogCode.MEMORY_ERROR, REPAIRED, len(loaded.repaired))
    lost = loaded.lost + lost_log
    if lost:
        core.note(LogCode.MEMORY_ERROR, LOST, len(lost))
    good = _choose(core)
    if lost or not good:
        core.alarms.set_condition(AlarmKind.MEMORY_ERROR, present=True, now_ms=core.now_ms)


def _choose(core: PumpCore) -> bool:
    """Take the program that the newest valid record names, or the next best; False when it had to be another."""
    newest = core.active
    if newest is not None and newest.safe:
        _run_safe_basal(core, newest)
        return core.safe_basal_nl_per_day is not None
    held = _bank_of(core, newest)
    if newest is not None and held is not None:
        bound = core.reservoir_generation
        take_program(core, newest, held)
        # After a fall back to the other bank the reservoir is of a later filling than the program.
        core.reservoir_generation = max(bound, held.reservoir_generation)
        if held.reservoir_generation > bound:
            core.memory.write_binding(held.drug, held.concentration_ng_per_ml, held.reservoir_generation)
        return True
    if newest is not None and _take_other_bank(core, newest):
        return False
    _enter_safe_state(core, newest)
    return False


def _bank_of(core: PumpCore, record: CommitRecord | None) -> Program | None:
    stands = None if record is None else core.memory.read_bank(record.bank, record.bank_digest)
    if record is None or stands is None or stands[1] != record.image_digest:
        return None
    return stands[0]


def _take_other_bank(core: PumpCore, newest: CommitRecord) -> bool:
    older = [record for record in core.ledger if record.bank != newest.bank and not record.safe]
    vouching = core.ledger.newest(older)
    program = _bank_of(core, vouching)
    if vouching is None or program is None:
        return False
    if (program.drug, program.concentration_ng_per_ml) != (core.drug, core.concentration_ng_per_ml):
        return False
    force = InForce(
        bank=vouching.bank,
        program_sequence=newest.program_sequence + 1,
        image_digest=vouching.image_digest,
        bank_digest=vouching.bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=vouching.reference_dose_ng,
        calculated=core.reservoir.calculated,
        running=newest.running,
    )
    operation = pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, vouching.image_digest)
    generation = core.reservoir_generation
    take_program(core, decide(core, operation, force), program)
    core.reservoir_generation = generation
    return True


def _enter_safe_state(core: PumpCore, newest: CommitRecord | None) -> None:
    program = core.safe_program()
    digest = records.digest_of(records.pack_program(program))
    force = InForce(
        bank=newest.bank if newest else 0,
        program_sequence=newest.program_sequence + 1 if newest else 1,
        image_digest=digest,
        bank_digest=bytes(BANK_DIGEST_SIZE),
        reservoir_generation=core.reservoir_generation,
        reference_dose_ng=newest.reference_dose_ng if newest else 0,
        calculated=core.reservoir.calculated,
        running=newest.running if newest else True,
        safe=True,
    )
    record = decide(core, pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, digest), force)
    _run_safe_basal(core, record)
    core.note(LogCode.SAFE_STATE_ENTERED, 0, program.rate_nl_per_day)
    core.emit("safe_state_entered")


def _run_safe_basal(core: PumpCore, record: CommitRecord) -> None:
    take_program(core, record, core.safe_program())


def manufacture(core: PumpCore, program: Program) -> None:
    """Write the first program of a new pump and run it.

    By hand, because every later record refers to the one in force before it.
    """
    digest = records.digest_of(records.pack_program(program))
    core.memory.write_boot_epoch(core.boot_epoch)
    core.memory.write_binding(program.drug, program.concentration_ng_per_ml, program.reservoir_generation)
    core.reservoir_generation = program.reservoir_generation
    bank_digest = core.memory.write_bank(0, program, digest)
    force = InForce(
        bank=0,
        program_sequence=1,
        image_digest=digest,
        bank_digest=bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=program.dose_ng_per_day,
        calculated=core.reservoir.calculated,
        running=True,
    )
    record = decide(core, pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, digest), force)
    take_program(core, record, program)

"""Power cut, boot, and what the pump does when its memory is damaged (trust.md 5.5, 5.6, 5.10).

=====================================  ==========================================================================
found                                  reaction
=====================================  ==========================================================================
a torn record                          it is not there; the newest valid one holds
one copy damaged                       repaired from its copy, logged, memory warning
bank of the record in force damaged    the other bank, if a record vouches for it and its drug and concentration
                                       are those in the reservoir; else safe basal; memory alarm
safe basal outvoted                    repaired; no majority: rate 0 where it would be needed, memory alarm
limits lost                            therapy goes on, no new program is accepted, memory alarm
log damaged                            therapy goes on, a gap in the numbers, logged, memory alarm
a bolus or a prime was running         it is not resumed; alarm, and the bounds of what was given in the log
a bridge was running                   it goes on with what was left of it
=====================================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import Activity, AlarmKind, LogCode, OperationKind
from telemetry.sim.pump import activity, effects, orders, records
from telemetry.sim.pump.activity import ACTIVITY_NUMBERS, PatientBoluses
from telemetry.sim.pump.alarms import ALARM_NUMBERS, Alarms
from telemetry.sim.pump.books import Checkpoint
from telemetry.sim.pump.decisions import NO_ORDER, InForce, decide, need_active, pump_operation
from telemetry.sim.pump.effects import take_program
from telemetry.sim.pump.ledger import SYSTEM_SLOT, CommitRecord
from telemetry.sim.pump.log import EventLog
from telemetry.sim.pump.memory import BANK_DIGEST_SIZE, Loaded
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, ceil_div
from telemetry.therapy import PrimeOrder
from telemetry.units import HOURS_PER_DAY, MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore
    from telemetry.therapy import Program

_GRANT_PERCENT = 100
MOST_RESETS = 3
"""So many within an hour, and the pump trusts nothing but its safe basal (trust.md 5.10)."""
_OF_A_PROGRAM = frozenset({OperationKind.PROGRAM, OperationKind.REFILL})
REPAIRED, LOST = 0, 1
"""``detail`` of a MEMORY_ERROR log record; its ``value`` counts the pages or records."""


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
    calculated, taken = core.reservoir.calculated, 0
    if core.rate_nl_per_day:
        taken = calculated % (granted_ahead_nl(core) * COMMANDED_PER_NL)
    running = core.activity
    latched = core.alarms.latched_kinds()
    core.memory.write_checkpoint(
        Checkpoint(
            commit_sequence=need_active(core).sequence,
            calculated=calculated - taken,
            still_since_ms=core.still_since_ms,
            latched_bits=sum(1 << (ALARM_NUMBERS[kind] - 1) for kind in latched),
            alarm_sequence=core.alarms.sequence,
            cut_ms=core.now_ms,
            plan_started_ms=_own_time_ms(core),
            bridge_left=max(0, core.bridge_to_give - taken),
            activity=0 if running is None else ACTIVITY_NUMBERS[running.kind],
            activity_nl=0 if running is None else running.volume_nl,
            activity_left=0 if running is None else max(0, running.left - taken),
            segments=core.governor.history(core.now_ms),
            given=tuple(core.patient.given),
        )
    )
    core.powered = False
    core.staged = None


def _own_time_ms(core: PumpCore) -> int:
    """What the program's own time counts from; of an empty pump without the time it has been empty."""
    if core.halted_ms is None or not core.running:
        return core.plan_started_ms
    return core.plan_started_ms + core.now_ms - core.halted_ms


def boot(core: PumpCore, now_ms: int) -> None:
    """Power on at ``now_ms``: newest valid record wins, boot epoch rises, alarms are looked at anew.

    Raises ``UsageError`` when the pump has power or the instant lies in the past.
    """
    if core.powered:
        raise UsageError("the pump has power; cut it first")
    if now_ms < core.now_ms:
        raise UsageError(f"now_ms: {now_ms} lies before {core.now_ms}, and time never runs backwards")
    cut_ms, core.now_ms = core.now_ms, now_ms
    core.powered = True
    bound_nl = granted_ahead_nl(core)
    torn, core.memory.torn = core.memory.torn, None
    loaded = core.memory.load()
    core.boot_epoch = loaded.boot_epoch + 1
    core.memory.write_boot_epoch(core.boot_epoch)
    core.log = EventLog(core.memory.medium, core.profile.log_capacity)
    lost_log = core.log.load()
    beeper_works = core.alarms.beeper_works
    core.alarms = Alarms(core.profile, core.emit, core.note)
    core.alarms.beeper_works = beeper_works
    core.memory_check_due_ms = None
    core.ended, core.exhausted = False, False
    core.ledger = loaded.ledger
    core.active = loaded.ledger.newest()
    core.note(LogCode.POWER_ON, 0, bound_nl)
    core.emit("power_on", str(core.boot_epoch))
    checkpoint = loaded.checkpoint
    core.reservoir.calculated, core.still_since_ms = _books(core, checkpoint)
    core.alarms.switch_off(loaded.alarms_off or 0)
    if checkpoint is not None:
        core.alarms.sequence = checkpoint.alarm_sequence
    core.activity = None
    _remember(core, checkpoint)
    _recover(core, replace(loaded, repaired=_not_torn(loaded.repaired, torn)), lost_log)
    _take_up(core, checkpoint, now_ms - cut_ms)
    core.evaluate()
    if checkpoint is not None:
        for kind, number in ALARM_NUMBERS.items():
            if checkpoint.latched_bits >> (number - 1) & 1:
                core.alarms.latch(kind, now_ms)
    core.evaluate()


def _not_torn(repaired: tuple[str, ...], torn: str | None) -> tuple[str, ...]:
    """The repairs that the cut itself does not explain: it tears one page, and leaves its copies as they were."""
    if torn is None:
        return repaired
    record = torn.rpartition("_")[0]
    return tuple(name for name in repaired if name.rpartition("_")[0] != record)


def _remember(core: PumpCore, checkpoint: Checkpoint | None) -> None:
    """Take back what was given before the cut; time without power counts as none (trust.md 5.9).

    Without a checkpoint nobody knows: the therapy in force counts as given for the 24 hours before.
    """
    core.governor.forget()
    core.patient = PatientBoluses()
    if checkpoint is None:
        return
    off_ms = core.now_ms - checkpoint.cut_ms
    for start_ms, end_ms, rate, dose in checkpoint.segments:
        core.governor.record(start_ms + off_ms, end_ms + off_ms, rate, dose)
    core.patient.given = list(checkpoint.given)
    core.patient.last_end_ms = max((end for _, end in checkpoint.given), default=None)
    if checkpoint.activity == ACTIVITY_NUMBERS[Activity.PATIENT_BOLUS]:
        core.patient.ended(core.patient.given[-1][0], checkpoint.cut_ms)
    core.patient.shift(off_ms)


def _take_up(core: PumpCore, checkpoint: Checkpoint | None, off_ms: int) -> None:
    """Go on: finish a setting that was decided, tell of a bolus that was lost, deliver what the record says."""
    record = core.active
    if record is not None and record.order_digest != NO_ORDER:
        decided = core.memory.read_order(record.order_digest)
        if decided is not None:
            if not effects.redo(core, decided[0], record):
                _lost(core, Activity.PRIME if isinstance(decided[0], PrimeOrder) else Activity.BOLUS, 0)
            core.memory.forget_order()
    if checkpoint is not None:
        if record is not None and checkpoint.commit_sequence >= record.sequence:
            core.plan_started_ms, core.bridge_left = checkpoint.plan_started_ms, checkpoint.bridge_left
            core.halted_ms = None if core.running else core.halted_ms
        elif record is not None and record.kind in _OF_A_PROGRAM and record.plan_started_ms == record.mono_ms:
            core.clock.release()  # power went between the record of a new program and what follows from it
        kind = list(Activity)[checkpoint.activity]
        if kind not in {Activity.NONE, Activity.BRIDGE}:
            _lost(core, kind, checkpoint.activity_nl - ceil_div(checkpoint.activity_left, COMMANDED_PER_NL))
    elif record is not None and core.running:
        since_ms = max(0, core.now_ms - MS_PER_DAY)
        core.governor.record(since_ms, core.now_ms, core.base_nl_per_day, core.base_ng_per_day)
    if core.halted_ms is None:
        core.plan_started_ms += off_ms
    effects.begin(core)


def _lost(core: PumpCore, kind: Activity, given_nl: int) -> None:
    """A bolus or a prime that ran when power went is not resumed: at most so much of it was given."""
    core.note(LogCode.BOLUS_CANCELLED, ACTIVITY_NUMBERS[kind], given_nl)
    core.emit(LogCode.BOLUS_CANCELLED, kind)
    core.alarms.strike(AlarmKind.BOLUS_INTERRUPTED, core.now_ms)


def resets_within_an_hour(core: PumpCore) -> int:
    """How often the supply gave way within the last hour."""
    return sum(core.now_ms - at_ms < MS_PER_HOUR for at_ms in core.upsets.resets)


def low_battery_reset(core: PumpCore, *, safe_state: bool = False) -> None:
    """The supply gave way for a moment: power cut and boot at once, and the alarm (domain.md 2.5).

    ``safe_state``: the prescription is not trusted afterwards; only a program leaves that state. The third reset
    within an hour does that too (trust.md 5.10).
    """
    core.upsets.resets = (*(at_ms for at_ms in core.upsets.resets if core.now_ms - at_ms < MS_PER_HOUR), core.now_ms)
    safe_state = safe_state or resets_within_an_hour(core) >= MOST_RESETS
    power_cut(core)
    boot(core, core.now_ms)
    core.note(LogCode.LOW_BATTERY_RESET, int(safe_state))
    core.emit(LogCode.LOW_BATTERY_RESET)
    core.alarms.strike(AlarmKind.LOW_BATTERY_RESET, core.now_ms)
    if safe_state and not core.safe:
        enter_safe_state(core)
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
    before = core.active
    core.ledger = loaded.ledger
    core.active = loaded.ledger.newest()
    _recover(core, loaded, lost_log, unchanged=before)
    if core.plan is None and core.activity is None:
        effects.begin(core, fresh=True)


def _recover(
    core: PumpCore, loaded: Loaded, lost_log: tuple[str, ...], *, unchanged: CommitRecord | None = None
) -> None:
    """``unchanged``: the record whose program runs already; nothing is touched where it still stands."""
    core.set_limits(loaded.limits)
    core.safe_basal_nl_per_day = loaded.safe_basal_nl_per_day
    if loaded.binding is not None:
        core.drug, core.concentration_ng_per_ml, core.reservoir_generation, core.filled_nl = loaded.binding
    if loaded.repaired:
        core.note(LogCode.MEMORY_ERROR, REPAIRED, len(loaded.repaired))
    lost = loaded.lost + lost_log
    if lost:
        core.note(LogCode.MEMORY_ERROR, LOST, len(lost))
    good = _choose(core, unchanged)
    if lost or not good:
        core.alarms.set_condition(AlarmKind.MEMORY_ERROR, present=True, now_ms=core.now_ms)
    elif loaded.repaired:
        core.alarms.strike(AlarmKind.MEMORY_WARNING, core.now_ms)


def _choose(core: PumpCore, unchanged: CommitRecord | None) -> bool:
    """Take the program that the newest valid record names, or the next best; False when it had to be another."""
    newest = core.active
    if newest is not None and newest.safe:
        take_program(core, newest, core.safe_program())
        return core.safe_basal_nl_per_day is not None
    held = _bank_of(core, newest)
    if newest is not None and held is not None:
        bound = core.reservoir_generation
        if newest != unchanged or held != core.program:
            activity.interrupt(core)
            take_program(core, newest, held)
        # After a fall back to the other bank the reservoir is of a later filling than the program.
        core.reservoir_generation = max(bound, held.reservoir_generation)
        if held.reservoir_generation > bound:
            core.filled_nl = ceil_div(newest.calculated, COMMANDED_PER_NL)
            effects.write_binding(core, held)
        return True
    activity.interrupt(core)
    if newest is not None and _take_other_bank(core, newest):
        return False
    enter_safe_state(core)
    return False


def _bank_of(core: PumpCore, record: CommitRecord | None) -> Program | None:
    stands = None if record is None else core.memory.read_bank(record.bank, record.bank_digest)
    if record is None or stands is None or stands[1] != record.image_digest:
        return None
    return records.program_in(stands[0])


def _take_other_bank(core: PumpCore, newest: CommitRecord) -> bool:
    older = [record for record in core.ledger if record.bank != newest.bank and not record.safe]
    vouching = core.ledger.newest(older)
    program = _bank_of(core, vouching)
    if vouching is None or program is None:
        return False
    if (program.drug, program.concentration_ng_per_ml) != (core.drug, core.concentration_ng_per_ml):
        return False
    force = replace(
        _fallen_back(core, newest),
        bank=vouching.bank,
        image_digest=vouching.image_digest,
        bank_digest=vouching.bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=vouching.reference_dose_ng,
    )
    operation = pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, vouching.image_digest)
    generation = core.reservoir_generation
    take_program(core, decide(core, operation, force), program)
    core.reservoir_generation = generation
    return True


def enter_safe_state(core: PumpCore) -> None:
    """Run the safe basal until somebody programs the pump."""
    program = core.safe_program()
    digest = records.digest_of(orders.pack_program(program))
    force = replace(_fallen_back(core, core.active), image_digest=digest, safe=True)
    record = decide(core, pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, digest), force)
    activity.abandon(core)
    take_program(core, record, program)
    core.note(LogCode.SAFE_STATE_ENTERED, 0, program.rate_nl_per_day)
    core.emit("safe_state_entered")


def _fallen_back(core: PumpCore, newest: CommitRecord | None) -> InForce:
    """The record of a program that the pump had to choose itself; its own time begins now."""
    return InForce(
        bank=newest.bank if newest else 0,
        program_sequence=newest.program_sequence + 1 if newest else 1,
        image_digest=bytes(BANK_DIGEST_SIZE),
        bank_digest=bytes(BANK_DIGEST_SIZE),
        reservoir_generation=core.reservoir_generation,
        reference_dose_ng=newest.reference_dose_ng if newest else 0,
        calculated=core.reservoir.calculated,
        running=newest.running if newest else True,
        shelf=newest.shelf if newest else False,
        tripped=newest.tripped if newest else False,
        halted_ms=newest.halted_ms if newest else None,
        plan_started_ms=core.now_ms,
        bridge_left=0,
    )


def manufacture(core: PumpCore, program: Program, *, shelf: bool = False) -> None:
    """Write the first program of a new pump and run it; one for the shelf does not run.

    By hand, because every later record refers to the one in force before it.
    """
    digest = records.digest_of(orders.pack_program(program))
    core.memory.write_boot_epoch(core.boot_epoch)
    core.reservoir_generation = program.reservoir_generation
    effects.write_binding(core, program)
    bank_digest = core.memory.write_bank(0, program, digest)
    force = InForce(
        bank=0,
        program_sequence=1,
        image_digest=digest,
        bank_digest=bank_digest,
        reservoir_generation=program.reservoir_generation,
        reference_dose_ng=0 if shelf else program.dose_ng_per_day,
        calculated=core.reservoir.calculated,
        running=not shelf,
        shelf=shelf,
        halted_ms=core.now_ms if shelf else None,
        plan_started_ms=core.now_ms,
        bridge_left=0,
    )
    record = decide(core, pump_operation(core, SYSTEM_SLOT, OperationKind.PROGRAM, digest), force)
    take_program(core, record, program)
    effects.begin(core, fresh=True)

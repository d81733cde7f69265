"""The pump as others see it: one synchronous object, wire-blind, without I/O; time is an argument.

``PumpDevice`` holds no logic of its own beyond looking; the parts are in the modules it is composed of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import (
    Alarm,
    AlarmKind,
    DrugLedger,
    GroundTruth,
    Identity,
    LogCode,
    LogReport,
    Program,
    ProgramReport,
    PumpEvent,
    PumpLimits,
    PumpStatus,
    RefusalReason,
    StopReason,
    Therapy,
    Warn,
)
from telemetry.sim.pump import bench, recovery, snapshots, transactions
from telemetry.sim.pump.battery import Battery
from telemetry.sim.pump.core import PumpCore
from telemetry.sim.pump.ledger import (
    LEDGER_CAPACITY,
    SHORT_DIGEST_SIZE,
    Classification,
    Operation,
    OperationRecord,
    check_slot,
)
from telemetry.sim.pump.limits import Derived, check_program
from telemetry.sim.pump.quantities import daily_dose_ng
from telemetry.sim.pump.reservoir import Reservoir
from telemetry.sim.pump.rtc import WallClock
from telemetry.sim.pump.transactions import need_active
from telemetry.units import MS_PER_SECOND, Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.sim.pump.bench import RefillReport
    from telemetry.sim.pump.medium import Medium
    from telemetry.sim.pump.profile import PumpProfile

PUMP_ID_SIZE = 8
_LARGEST_CONCENTRATION = (1 << 32) - 1


def _to_seconds(instant_ms: int) -> int:
    """An instant as telemetry says it: whole seconds, rounded down, still in ms."""
    return instant_ms - instant_ms % MS_PER_SECOND


def limits_of(profile: PumpProfile) -> PumpLimits:
    """The limits that a family of pumps leaves the factory with."""
    return PumpLimits(
        min_rate_nl_per_day=profile.min_rate_nl_per_day,
        max_rate_nl_per_day=profile.max_rate_nl_per_day,
        keep_alive_rate_nl_per_day=profile.keep_alive_rate_nl_per_day,
        low_reservoir_alarm_nl=profile.low_reservoir_alarm_nl,
        daily_dose_hard_min_ng=profile.daily_dose_hard_min_ng,
        daily_dose_hard_max_ng=profile.daily_dose_hard_max_ng,
        daily_dose_soft_min_ng=profile.daily_dose_soft_min_ng,
        daily_dose_soft_max_ng=profile.daily_dose_soft_max_ng,
        change_soft_ppm=profile.change_soft_ppm,
        change_hard_ppm=profile.change_hard_ppm,
    )


class PumpDevice:
    """A new pump on a blank medium: filled, primed with the same drug, running its profile's start rate.

    ``fill_nl`` defaults to the full reservoir, ``concentration_ng_per_ml``, ``rate_error_ppm`` and ``serial`` to the
    profile's. ``age_ms``: how long it ran before ``now_ms``, at its start rate. ``pump_id``: 8 bytes. Raises
    ``UsageError`` for a medium that is not blank, a fill beyond the capacity, an age beyond the end of service, or a
    start rate that breaks a rule at this concentration.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of a new pump
        self,
        profile: PumpProfile,
        medium: Medium,
        *,
        epoch_utc_s: int,
        pump_id: bytes,
        now_ms: int = 0,
        serial: str | None = None,
        rate_error_ppm: int | None = None,
        fill_nl: int | None = None,
        concentration_ng_per_ml: int | None = None,
        age_ms: int = 0,
    ) -> None:
        if not medium.blank:
            raise UsageError("medium: holds a pump already; restore that one, or give a blank medium")
        if len(pump_id) != PUMP_ID_SIZE:
            raise UsageError(f"pump_id: {len(pump_id)} bytes, needs {PUMP_ID_SIZE}")
        capacity_nl = profile.reservoir_capacity_nl
        fill = capacity_nl if fill_nl is None else fill_nl
        if not 0 <= fill <= capacity_nl:
            raise UsageError(f"fill: {fill} nl is outside 0 to the reservoir's {Volume(capacity_nl)}")
        given = concentration_ng_per_ml
        concentration = profile.start_concentration_ng_per_ml if given is None else given
        if not 0 < concentration <= _LARGEST_CONCENTRATION:
            raise UsageError(f"concentration: {concentration} ng/ml is outside 1 to {_LARGEST_CONCENTRATION}")
        error = profile.rate_error_ppm if rate_error_ppm is None else rate_error_ppm
        if not -1_000_000 < error <= 1_000_000:
            raise UsageError(f"rate_error_ppm: {error} is outside -999999 to 1000000")
        self.profile = profile
        self.pump_id = pump_id
        self.serial = profile.serial if serial is None else serial
        if not 0 < len(self.serial) <= 16 or not self.serial.isascii() or not self.serial.isprintable():
            raise UsageError(f"serial: {self.serial!r} is no text of 1 to 16 printable ASCII characters")
        rate = profile.start_rate_nl_per_day
        self.core = PumpCore(
            profile,
            medium,
            now_ms=now_ms,
            reservoir=Reservoir(fill, profile.path_volume_nl, concentration, error),
            battery=Battery(profile, now_ms=now_ms, age_ms=age_ms, rate_nl_per_day=rate),
            clock=WallClock(epoch_utc_s, profile.clock_drift_ppm),
        )
        self.attach()
        self._manufacture()

    def attach(self) -> None:
        """Tell the core how its memory is checked (the check needs the commands, which need the core)."""
        self.core.check_memory = self._check_memory

    def _manufacture(self) -> None:
        core = self.core
        core.limits = limits_of(self.profile)
        core.safe_basal_nl_per_day = self.profile.safe_basal_rate_nl_per_day
        core.memory.manufacture(core.limits, core.safe_basal_nl_per_day)
        program = bench.start_program(core)
        core.reservoir_generation = program.reservoir_generation
        try:
            check_program(program, core.limits, core.situation(), at_bench=True)
        except Refused as refusal:
            raise UsageError(f"start_rate_nl_per_day: this pump cannot start as asked: {refusal}") from refusal
        recovery.manufacture(core, program)
        core.note(LogCode.POWER_ON)
        core.evaluate()
        core.take_events()

    def _check_memory(self) -> None:
        recovery.check_memory(self.core)

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Pump time, ms since the pump's epoch."""
        return self.core.now_ms

    @property
    def boot_epoch(self) -> int:
        """How often it was booted or restored; rises every time."""
        return self.core.boot_epoch

    @property
    def medium(self) -> Medium:
        """Its non-volatile memory."""
        return self.core.memory.medium

    def advance_to(self, now_ms: int) -> list[PumpEvent]:
        """Live until ``now_ms``; everything that happened since the last call, each at its exact instant.

        Raises ``UsageError`` when that lies in the past or the pump has no power.
        """
        self.core.advance_to(now_ms)
        return self.core.take_events()

    def next_event_ms(self) -> int | None:
        """When something happens next if nobody acts; None when nothing ever will."""
        return self.core.next_event_ms()

    def subscribe(self, listener: Callable[[PumpEvent], None]) -> Callable[[], None]:
        """Call back at every event; returns what takes the listener off again."""
        return self.core.subscribe(listener)

    # --- what it says ------------------------------------------------------------------------------------------------

    def status(self) -> PumpStatus:
        """The pump's own books, with instants in whole seconds as telemetry says them."""
        core = self.core
        active = need_active(core)
        rate = core.rate_nl_per_day
        still_ms = core.still_since_ms
        return PumpStatus(
            mode=core.mode,
            rate_nl_per_day=rate,
            dose_ng_per_day=core.dose_ng_per_day,
            concentration_ng_per_ml=core.concentration_ng_per_ml,
            drug=core.drug,
            reservoir_nl=core.reservoir.calculated_nl,
            reservoir_generation=core.reservoir_generation,
            battery_percent=core.battery.percent,
            replace_by_ms=max(0, _to_seconds(core.battery.replace_by_ms(core.now_ms, core.drain_pc_per_day))),
            low_reservoir_at_ms=self._low_reservoir_at_ms(rate),
            alarms=core.alarms.active(),
            program_sequence=active.program_sequence,
            program_digest=active.image_digest[:SHORT_DIGEST_SIZE],
            boot_epoch=core.boot_epoch,
            now_ms=_to_seconds(core.now_ms),
            clock_utc_s=core.clock.utc_s(core.now_ms),
            stopped_since_ms=None if still_ms is None else _to_seconds(still_ms),
            alarm_sequence=core.alarms.sequence,
        )

    def _low_reservoir_at_ms(self, rate_nl_per_day: int) -> int | None:
        core = self.core
        for alarm in core.alarms.report():
            if alarm.kind is AlarmKind.LOW_RESERVOIR:
                return alarm.since_ms
        if not rate_nl_per_day:
            return None
        in_ms = core.reservoir.ms_until_calculated(rate_nl_per_day, core.low_reservoir_alarm_nl)
        return _to_seconds(core.now_ms + in_ms)

    def truth(self) -> GroundTruth:
        """What is so."""
        core = self.core
        rate = core.reservoir.true_rate_nl_per_day(core.rate_nl_per_day)
        tip = core.reservoir.path.tip_concentration_ng_per_ml
        return GroundTruth(
            now_ms=core.now_ms,
            reservoir_nl=core.reservoir.true_nl,
            rate_nl_per_day=rate,
            tip_dose_ng_per_day=daily_dose_ng(rate, tip),
            tip_concentration_ng_per_ml=tip,
            battery_percent=core.battery.percent,
            battery_pc=core.battery.remaining_pc,
            delivered_nl=core.reservoir.path.delivered_nl,
            delivered_ng=core.reservoir.path.delivered_ng,
        )

    def ledger(self) -> DrugLedger:
        """Where every nanolitre went."""
        reservoir = self.core.reservoir
        return DrugLedger(
            filled_nl=reservoir.filled_nl,
            remaining_nl=reservoir.true_nl,
            in_path_nl=reservoir.path.volume_nl,
            delivered_nl=reservoir.path.delivered_nl,
            withdrawn_nl=reservoir.withdrawn_nl,
            lost_nl=reservoir.lost_nl,
        )

    def limits(self) -> PumpLimits:
        """What the pump enforces; the factory's numbers when its record is lost (then it accepts no program)."""
        return limits_of(self.profile) if self.core.limits is None else self.core.limits

    def identity(self) -> Identity:
        """Who the pump is."""
        return Identity(
            model=self.profile.model,
            serial=self.serial,
            pump_id=self.pump_id,
            firmware=self.profile.firmware,
            reservoir_capacity_nl=self.profile.reservoir_capacity_nl,
            path_volume_nl=self.profile.path_volume_nl,
            drug=self.core.drug,
            activated_ms=_to_seconds(self.core.battery.activated_ms),
            epoch_utc_s=self.core.clock.epoch_utc_s,
            simulated=True,
        )

    def program_report(self) -> ProgramReport:
        """The committed program, whether or not it runs."""
        active = need_active(self.core)
        return ProgramReport(
            program=self.core.program,
            program_sequence=active.program_sequence,
            program_digest=active.image_digest[:SHORT_DIGEST_SIZE],
            stopped=not self.core.running,
        )

    # --- alarms and log ----------------------------------------------------------------------------------------------

    def alarms(self) -> tuple[Alarm, ...]:
        """Every active alarm, instants in whole seconds."""
        return self.core.alarms.report()

    @property
    def alarm_sequence(self) -> int:
        """Moves (u16, wraps) with every change of any alarm."""
        return self.core.alarms.sequence

    def silence_alarms(self, duration_ms: int) -> None:
        """Silence what sounds now for a time; raises ``Refused`` (``silence_too_long``), ``UsageError`` below 1."""
        self.core.alarms.silence(duration_ms, self.now_ms)

    def acknowledge_alarm(self, kind: AlarmKind) -> None:
        """Release a latched alarm, quiet a present one; raises ``Refused`` (``no_such_alarm``)."""
        self.core.alarms.acknowledge(kind, self.now_ms)

    def set_alarm_enabled(self, kind: AlarmKind, *, enabled: bool) -> None:
        """Switch one kind on or off; raises ``UsageError`` where the profile forbids it."""
        self.core.alarms.set_enabled(kind, enabled=enabled, now_ms=self.now_ms)

    def tones(self, kind: AlarmKind) -> int:
        """Bursts of this kind begun before now, since the last boot."""
        return self.core.alarms.bursts(kind, self.now_ms)

    def next_tone_ms(self) -> tuple[int, AlarmKind] | None:
        """The next burst from now on, if nothing changes, and of which kind."""
        return self.core.alarms.next_tone_ms(self.now_ms)

    def log(self, from_sequence: int, max_records: int) -> LogReport:
        """Log records from a sequence number on, oldest first."""
        return self.core.log.report(from_sequence, max_records)

    def log_head(self) -> tuple[int, bytes]:
        """Newest sequence number and the chain value after it (8 bytes)."""
        return self.core.log.newest_sequence, self.core.log.head

    def log_event(self, code: LogCode, *, slot: int = 0, detail: int = 0, value: int = 0) -> None:
        """Write a line that the firmware knows about (a session opened, an authentication failed …)."""
        self.core.note(code, detail, value, slot=slot)

    def spend_telemetry(self, n_bytes: int) -> None:
        """Take the charge that so many bytes on the air cost; raises ``UsageError`` below 0."""
        if n_bytes < 0:
            raise UsageError(f"n_bytes: {n_bytes} is negative")
        self.core.battery.spend(n_bytes * self.profile.telemetry_charge_pc_per_byte)
        self.core.evaluate()

    # --- transactions ------------------------------------------------------------------------------------------------

    @property
    def stopped_over_48_h(self) -> bool:
        """Whether it made no stroke for 48 h or longer."""
        return self.core.stopped_too_long

    def check(self, program: Program) -> Derived:
        """Derived numbers and warnings; raises ``Refused`` naming the rule the program breaks."""
        return transactions.check(self.core, program)

    def check_resume(self, program_sequence: int, program_digest: bytes) -> Derived:
        """What resuming the program that was seen would do; raises ``Refused``."""
        return transactions.check_resume(self.core, program_sequence, program_digest)

    def stage(self, program: Program, digest: bytes) -> Program:
        """Write the inactive bank and return what reads back; may raise ``PowerCut``, ``Refused``, ``UsageError``."""
        return transactions.stage(self.core, program, digest)

    def drop_staged(self) -> None:
        """Forget what is staged."""
        self.core.staged = None

    def commit(self, operation: Operation, accepted_warnings: tuple[Warn, ...] = ()) -> OperationRecord:
        """Make the staged program the truth, once; a known operation gets its stored verdict. Raises ``Refused``."""
        return transactions.commit(self.core, operation, accepted_warnings)

    def resume(
        self,
        operation: Operation,
        program_sequence: int,
        program_digest: bytes,
        accepted_warnings: tuple[Warn, ...] = (),
    ) -> OperationRecord:
        """Deliver the committed program again, once. Raises ``Refused``."""
        return transactions.resume(self.core, operation, program_sequence, program_digest, accepted_warnings)

    def stop(self, operation: Operation, reason: StopReason) -> OperationRecord:
        """Stop delivery now, also when stopped already or the ledger is full."""
        return transactions.stop(self.core, operation, reason)

    def query(self, slot: int, op_id: bytes) -> OperationRecord:
        """APPLIED, REFUSED, NEVER or FORGOTTEN; drops what is staged."""
        return transactions.query(self.core, slot, op_id)

    def record_refusal(self, operation: Operation, reason: RefusalReason) -> OperationRecord:
        """Book a refusal, so that the operation can never be applied. Raises ``Refused`` when it cannot be booked."""
        return transactions.record_refusal(self.core, operation, reason)

    def classify(self, operation: Operation) -> Classification:
        """NEW, KNOWN (with its record), CONFLICT or FORGOTTEN."""
        return transactions.classify(self.core, operation)

    def acknowledge_through(self, slot: int, counter: int) -> None:
        """The slot's owner has seen every verdict up to this counter."""
        check_slot(slot)
        self.core.ledger.acknowledge_through(slot, counter)

    def last_operation_counter(self, slot: int) -> int:
        """The highest counter of this slot that was ever decided."""
        check_slot(slot)
        return self.core.ledger.last_counter(slot)

    @property
    def ledger_sequence(self) -> int:
        """Sequence number of the newest commit record."""
        return need_active(self.core).sequence

    @property
    def unacknowledged(self) -> int:
        """Decided operations whose owner has not acknowledged the verdict."""
        return self.core.ledger.unacknowledged

    @property
    def ledger_capacity(self) -> int:
        """How many of those fit."""
        return LEDGER_CAPACITY

    # --- power, memory, bench ----------------------------------------------------------------------------------------

    def power_cut(self) -> None:
        """Lose power now; RAM is gone, reserved strokes count as given."""
        recovery.power_cut(self.core)

    def boot(self, now_ms: int | None = None) -> None:
        """Power on; newest valid record wins. Raises ``UsageError`` when it has power."""
        recovery.boot(self.core, self.now_ms if now_ms is None else now_ms)

    def flip_bit(self, page: str, bit: int) -> None:
        """Flip a bit of its memory; the pump finds out at its next memory check. Raises ``UsageError``."""
        self.medium.flip_bit(page, bit)
        every_ms = self.profile.memory_check_every_ms
        if self.core.memory_check_due_ms is None:
            self.core.memory_check_due_ms = (self.now_ms // every_ms + 1) * every_ms

    def refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
    ) -> RefillReport:
        """Needle and books in one (bench)."""
        return bench.refill(self.core, volume, concentration, therapy)

    def program(self, therapy: Therapy) -> OperationRecord:
        """Program a therapy at the bench; hard limits hold, warnings count as accepted."""
        return bench.program(self.core, therapy)

    def stop_at_bench(self) -> OperationRecord:
        """Stop delivery at the bench."""
        return bench.stop(self.core)

    def resume_at_bench(self) -> OperationRecord:
        """Resume at the bench, warnings accepted."""
        return bench.resume(self.core)

    def snapshot(self) -> dict[str, object]:
        """Everything, JSON-able and versioned."""
        return snapshots.take(self)

    @classmethod
    def restore(cls, snapshot: object) -> PumpDevice:
        """The pump of a snapshot, continuing identically with a raised boot epoch; raises ``UsageError``."""
        return snapshots.restore(cls, snapshot)

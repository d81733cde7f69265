"""The pump as others see it: one synchronous object, wire-blind, without I/O; time is an argument.

``PumpDevice`` holds no logic of its own beyond looking; the parts are in the modules it is composed of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import (
    Alarm,
    AlarmKind,
    DeliveryReport,
    DrugLedger,
    GroundTruth,
    Identity,
    LogCode,
    LogReport,
    PumpEvent,
    PumpLimits,
    PumpStatus,
    StopReason,
    Warn,
)
from telemetry.sim.pump import (
    bench,
    conditions,
    decisions,
    effects,
    recovery,
    reports,
    situations,
    snapshots,
    supply,
    transactions,
)
from telemetry.sim.pump.battery import Battery, running_drain_pc_per_day
from telemetry.sim.pump.core import PumpCore
from telemetry.sim.pump.hands import BenchHands
from telemetry.sim.pump.ledger import (
    LEDGER_CAPACITY,
    Classification,
    Operation,
    OperationRecord,
    check_slot,
)
from telemetry.sim.pump.limits import Derived, check_program
from telemetry.sim.pump.patient_bolus import patient_bolus
from telemetry.sim.pump.reservoir import Reservoir
from telemetry.sim.pump.rtc import WallClock
from telemetry.sim.pump.situations import limits_of
from telemetry.units import Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import RefusalReason
    from telemetry.sim.pump.medium import Medium
    from telemetry.sim.pump.orders import Order
    from telemetry.sim.pump.profile import PumpProfile
    from telemetry.therapy import AlarmSettings, ProgramReport

PUMP_ID_SIZE = 8
_LARGEST_CONCENTRATION = (1 << 32) - 1


def _battery(profile: PumpProfile, now_ms: int, age_ms: int, shelf_ms: int | None, *, ended: bool) -> Battery:
    """The battery of that age; ``ended``: one ms older than the last in which it still served."""
    rate = profile.start_rate_nl_per_day
    age_ms -= int(ended)
    battery = Battery(profile, now_ms=now_ms - int(ended), age_ms=age_ms, rate_nl_per_day=rate, shelf_ms=shelf_ms)
    if ended:
        battery.drain(running_drain_pc_per_day(profile, rate), 1)
    return battery


class PumpDevice(BenchHands):
    """A new pump on a blank medium: filled, primed with the same drug, running its profile's start rate.

    ``fill_nl`` defaults to the full reservoir, ``concentration_ng_per_ml``, ``rate_error_ppm`` and ``serial`` to the
    profile's. ``age_ms``: how long it ran before ``now_ms``, at its start rate; ``ended``: its service ends at that
    age. ``shelf_ms``: instead it lay in its box for so long: empty, its path without drug, not activated. ``pump_id``:
    8 bytes. Raises ``UsageError`` for a medium that is not blank, a fill beyond the capacity or of a pump in its box,
    an age beyond the end of service, or a start rate that breaks a rule at this concentration.
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
        shelf_ms: int | None = None,
        ended: bool = False,
    ) -> None:
        if not medium.blank:
            raise UsageError("medium: holds a pump already; restore that one, or give a blank medium")
        if len(pump_id) != PUMP_ID_SIZE:
            raise UsageError(f"pump_id: {len(pump_id)} bytes, needs {PUMP_ID_SIZE}")
        capacity_nl = profile.reservoir_capacity_nl
        if shelf_ms is not None and fill_nl:
            raise UsageError(f"fill: {Volume(fill_nl)} in a pump on the shelf; fill it, then tell it the refill")
        full_nl = capacity_nl if shelf_ms is None else 0
        fill = full_nl if fill_nl is None else fill_nl
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
        self.core = PumpCore(
            profile,
            medium,
            now_ms=now_ms,
            reservoir=Reservoir(
                profile,
                fill_nl=fill,
                concentration_ng_per_ml=concentration,
                now_ms=now_ms,
                rate_error_ppm=error,
                path_concentration_ng_per_ml=concentration if shelf_ms is None else 0,
            ),
            battery=_battery(profile, now_ms, age_ms, shelf_ms, ended=ended),
            clock=WallClock(epoch_utc_s, profile.clock_drift_ppm),
        )
        self.attach()
        self._manufacture(shelf=shelf_ms is not None)

    def attach(self) -> None:
        """Tell the core whom to ask (those need the commands, which need the core)."""
        core = self.core
        core.check_memory = lambda: recovery.check_memory(core)
        core.withhold_delivery = lambda: transactions.system_stop(core, tripped=True)
        core.give_way = lambda: supply.give_way(core)
        core.next_peak_ms = lambda: supply.next_peak_ms(core)

    def _manufacture(self, *, shelf: bool) -> None:
        core = self.core
        limits = limits_of(self.profile)
        core.set_limits(limits)
        core.safe_basal_nl_per_day = self.profile.safe_basal_rate_nl_per_day
        core.memory.manufacture(limits, core.safe_basal_nl_per_day)
        program = bench.start_program(core)
        core.reservoir_generation = program.reservoir_generation
        try:
            check_program(program, limits, situations.of(core), at_bench=True)
        except Refused as refusal:
            raise UsageError(f"start_rate_nl_per_day: this pump cannot start as asked: {refusal}") from refusal
        recovery.manufacture(core, program, shelf=shelf)
        core.note(LogCode.POWER_ON)
        core.evaluate()
        core.take_events()

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

    def advance_to(self, now_ms: int, *, pausing: bool = False) -> list[PumpEvent]:
        """Live until ``now_ms``; everything that happened since the last call, each at its exact instant.

        ``pausing``: no further than the first instant at which something happens. Raises ``UsageError`` when ``now_ms``
        lies in the past or the pump has no power.
        """
        self.core.advance_to(now_ms, pausing=pausing)
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
        return reports.status(self.core)

    def truth(self) -> GroundTruth:
        """What is so."""
        return reports.truth(self.core)

    def ledger(self) -> DrugLedger:
        """Where every nanolitre went."""
        return reports.ledger(self.core)

    def limits(self) -> PumpLimits:
        """What the pump enforces; the factory's numbers when its record is lost (then it accepts no program)."""
        return limits_of(self.profile) if self.core.limits is None else self.core.limits

    def identity(self) -> Identity:
        """Who the pump is, by its own account."""
        return reports.identity(self.core, self.serial, self.pump_id)

    def program_report(self) -> ProgramReport:
        """The committed program, whether or not it runs."""
        return reports.program_report(self.core)

    def delivery(self) -> DeliveryReport:
        """What the pump counts of its own delivery: activity, windows, the patient's boluses."""
        return reports.delivery(self.core)

    def alarm_settings(self) -> AlarmSettings:
        """What a clinician has set of the alarms."""
        return effects.alarm_settings(self.core)

    def interrogated(self) -> None:
        """Somebody reads the pump: telemetry mode ends, and it may find out that its rotor turns again."""
        core = self.core
        conditions.leave_telemetry_mode(core)
        found = core.reservoir.rotor.interrogated()
        if found is not None:
            conditions.tell_of_rotor(core, found)
        core.evaluate()

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
        core = self.core
        core.alarms.set_enabled(kind, enabled=enabled, now_ms=self.now_ms)
        core.memory.write_settings(core.alarms.disabled_bits)

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
        core = self.core
        core.battery.spend(n_bytes * self.profile.telemetry_charge_pc_per_byte)
        if core.battery.film_mohm or conditions.battery_is_due(core):  # else nothing but a charge has changed
            core.evaluate()

    # --- transactions ------------------------------------------------------------------------------------------------

    @property
    def stopped_over_48_h(self) -> bool:
        """Whether it made no stroke for 48 h or longer."""
        return self.core.stopped_too_long

    def check(self, order: Order) -> Derived:
        """Derived numbers and warnings; raises ``Refused`` naming the rule the order breaks."""
        return transactions.check(self.core, order)

    def check_resume(self, program_sequence: int, program_digest: bytes) -> Derived:
        """What resuming the program that was seen would do; raises ``Refused``."""
        return transactions.check_resume(self.core, program_sequence, program_digest)

    def stage(self, order: Order, digest: bytes) -> Order:
        """Write an order to the medium and return what reads back; ``PowerCut``, ``Refused``, ``UsageError``."""
        return transactions.stage(self.core, order, digest)

    def drop_staged(self) -> None:
        """Forget what is staged."""
        self.core.staged = None

    def commit(self, operation: Operation, accepted_warnings: tuple[Warn, ...] = ()) -> OperationRecord:
        """Make what is staged the truth, once; a known operation gets its stored verdict. Raises ``Refused``."""
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

    def patient_bolus(self, operation: Operation) -> OperationRecord:
        """Begin the bolus that the program prescribes to its patient, once. Raises ``Refused`` (domain.md 2.8)."""
        return patient_bolus(self.core, operation)

    def query(self, slot: int, op_id: bytes) -> OperationRecord:
        """APPLIED, REFUSED, NEVER or FORGOTTEN; drops what is staged."""
        return decisions.query(self.core, slot, op_id)

    def record_refusal(self, operation: Operation, reason: RefusalReason) -> OperationRecord:
        """Book a refusal, so that the operation can never be applied. Raises ``Refused`` when it cannot be booked."""
        return decisions.record_refusal(self.core, operation, reason)

    def classify(self, operation: Operation) -> Classification:
        """NEW, KNOWN (with its record), CONFLICT or FORGOTTEN."""
        return decisions.classify(self.core, operation)

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
        return decisions.need_active(self.core).sequence

    @property
    def unacknowledged(self) -> int:
        """Decided operations whose owner has not acknowledged the verdict."""
        return self.core.ledger.unacknowledged

    @property
    def ledger_capacity(self) -> int:
        """How many of those fit."""
        return LEDGER_CAPACITY

    # --- power and memory --------------------------------------------------------------------------------------------

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

    def snapshot(self) -> dict[str, object]:
        """Everything, JSON-able and versioned."""
        return snapshots.take(self)

    @classmethod
    def restore(cls, snapshot: object) -> PumpDevice:
        """The pump of a snapshot, continuing identically with a raised boot epoch; raises ``UsageError``."""
        return snapshots.restore(cls, snapshot)

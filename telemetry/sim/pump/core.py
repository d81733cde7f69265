"""The pump's state and its motion in time: every part says when something happens, the core goes there and looks.

Between two such instants every rate is constant, so any span is one closed-form step; stepping differently cannot
change a result (INV-39). What happens *at* an instant is decided from the state alone (``_evaluate``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, Drug, LogCode, Program, PumpEvent, PumpLimits, PumpMode
from telemetry.sim.pump.alarms import Alarms
from telemetry.sim.pump.battery import Battery, running_drain_pc_per_day
from telemetry.sim.pump.ledger import CommitRecord, Ledger
from telemetry.sim.pump.limits import Situation
from telemetry.sim.pump.log import EventLog
from telemetry.sim.pump.memory import Memory
from telemetry.sim.pump.quantities import daily_dose_ng

if TYPE_CHECKING:
    from telemetry.sim.pump.medium import Medium
    from telemetry.sim.pump.profile import PumpProfile
    from telemetry.sim.pump.reservoir import Reservoir
    from telemetry.sim.pump.rtc import WallClock

Listener = Callable[[PumpEvent], None]


class PumpCore:
    """All state of one pump. ``transactions``, ``recovery`` and ``bench`` act on it; ``PumpDevice`` is its face."""

    def __init__(
        self,
        profile: PumpProfile,
        medium: Medium,
        *,
        now_ms: int,
        reservoir: Reservoir,
        battery: Battery,
        clock: WallClock,
    ) -> None:
        self.profile = profile
        self.memory = Memory(medium)
        self.reservoir = reservoir
        self.battery = battery
        self.clock = clock
        self.now_ms = now_ms
        self.powered = True
        self.boot_epoch = 1
        self.ended = False
        self.exhausted = False
        self.dry_told = False
        self.empty_told = False
        self.memory_check_due_ms: int | None = None
        self.ledger = Ledger()
        self.log = EventLog(medium, profile.log_capacity)
        self.alarms = Alarms(profile, self.emit, self.note)
        self.limits: PumpLimits | None = None
        self.safe_basal_nl_per_day: int | None = None
        self.drug: Drug = profile.drug
        self.concentration_ng_per_ml = reservoir.concentration_ng_per_ml
        self.reservoir_generation = 0
        self.program: Program = self.safe_program()
        self.active: CommitRecord | None = None
        self.running = False
        self.safe = False
        self.still_since_ms: int | None = now_ms
        self.staged: tuple[Program, bytes, bytes] | None = None
        self.check_memory: Callable[[], None] = _nothing_to_check
        self._events: list[PumpEvent] = []
        self._listeners: list[Listener] = []

    # --- what the rest of the pump is told ---------------------------------------------------------------------------

    def emit(self, kind: str, detail: str = "") -> None:
        """Tell that something happened now."""
        event = PumpEvent(self.now_ms, kind, str(detail))
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def take_events(self) -> list[PumpEvent]:
        """What happened since this was last asked."""
        events, self._events = self._events, []
        return events

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call back at every event; returns what takes the listener off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def note(self, code: LogCode, detail: int = 0, value: int = 0, *, slot: int = 0) -> None:
        """Write one line of the event log."""
        self.log.append(self.boot_epoch, self.now_ms, code, slot, detail & 0xFFFF, value)

    # --- what is commanded -------------------------------------------------------------------------------------------

    @property
    def mode(self) -> PumpMode:
        """What the pump is doing now."""
        if self.ended:
            return PumpMode.END_OF_SERVICE
        if self.safe:
            return PumpMode.SAFE_STATE
        if not self.running:
            return PumpMode.STOPPED
        return PumpMode.EMPTY if self.reservoir.calculated == 0 else self.program.mode

    @property
    def rate_nl_per_day(self) -> int:
        """The commanded rate now; 0 whenever the pump must not stroke (INV-38)."""
        if self.ended or not self.running or not self.powered or self.reservoir.calculated == 0:
            return 0
        return self.program.rate_nl_per_day

    @property
    def dose_ng_per_day(self) -> int:
        """The dose per day that goes with the commanded rate now."""
        return self.program.dose_ng_per_day if self.rate_nl_per_day else 0

    @property
    def drain_pc_per_day(self) -> int:
        """What the battery gives now: idle, strokes, tones."""
        return running_drain_pc_per_day(self.profile, self.rate_nl_per_day) + self.alarms.drain_pc_per_day

    @property
    def low_reservoir_alarm_nl(self) -> int:
        """The calculated volume at which the low-reservoir alarm comes."""
        return self.profile.low_reservoir_alarm_nl if self.limits is None else self.limits.low_reservoir_alarm_nl

    @property
    def stopped_too_long(self) -> bool:
        """Whether no stroke was made for ``stopped_alarm_after_ms`` (48 h): the tube may have taken a set."""
        since_ms = self.still_since_ms
        return since_ms is not None and self.now_ms - since_ms >= self.profile.stopped_alarm_after_ms

    def safe_program(self) -> Program:
        """What the pump falls back to when no program can be trusted; rate 0 when that record is gone too."""
        rate = self.safe_basal_nl_per_day or 0
        return Program(
            mode=PumpMode.SAFE_STATE,
            rate_nl_per_day=rate,
            dose_ng_per_day=daily_dose_ng(rate, self.concentration_ng_per_ml),
            concentration_ng_per_ml=self.concentration_ng_per_ml,
            drug=self.drug,
            reservoir_generation=self.reservoir_generation,
        )

    def situation(self) -> Situation:
        """What a check of a program depends on."""
        return Situation(
            drug=self.drug,
            concentration_ng_per_ml=self.concentration_ng_per_ml,
            reservoir_generation=self.reservoir_generation,
            reference_dose_ng=self.active.reference_dose_ng if self.active else 0,
            calculated=self.reservoir.calculated,
            stroking=self.rate_nl_per_day > 0,
            stopped_over_48_h=self.stopped_too_long,
        )

    # --- time --------------------------------------------------------------------------------------------------------

    def advance_to(self, now_ms: int) -> None:
        """Live until ``now_ms``, exactly; raises ``UsageError`` when that lies in the past or power is off."""
        if not self.powered:
            raise UsageError("the pump has no power; boot it first")
        if now_ms < self.now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before {self.now_ms}, and time never runs backwards")
        while (at_ms := self.next_event_ms()) is not None and at_ms <= now_ms:
            self._settle(at_ms)
            self.evaluate()
        self._settle(now_ms)

    def next_event_ms(self) -> int | None:
        """When something happens next if nobody acts; None when nothing ever will."""
        instants: list[int] = []
        now_ms, rate = self.now_ms, self.rate_nl_per_day
        reservoir, _battery, alarms = self.reservoir, self.battery, self.alarms
        if rate:
            instants.append(now_ms + reservoir.ms_until_calculated(rate, 0))
            if not alarms.present(AlarmKind.LOW_RESERVOIR):
                instants.append(now_ms + reservoir.ms_until_calculated(rate, self.low_reservoir_alarm_nl))
            if not self.dry_told:
                instants.append(now_ms + reservoir.ms_until_dry(rate))
        elif self.still_since_ms is not None and not self.ended and not alarms.present(AlarmKind.STOPPED_PUMP):
            instants.append(self.still_since_ms + self.profile.stopped_alarm_after_ms)
        if not self.exhausted:
            instants.append(self._next_battery_ms())
        instants += [at_ms for at_ms in (alarms.next_rearm_ms(), self.memory_check_due_ms) if at_ms is not None]
        return max(now_ms, min(instants)) if instants else None

    def _next_battery_ms(self) -> int:
        drain = self.drain_pc_per_day
        if self.ended:
            return self.battery.empty_ms(self.now_ms, drain)
        ends_ms = self.battery.service_ends_ms(self.now_ms, drain)
        return self.battery.replacement_due_ms(self.now_ms, drain) if ends_ms is None else ends_ms

    def _settle(self, now_ms: int) -> None:
        span_ms = now_ms - self.now_ms
        if span_ms:
            rate = self.rate_nl_per_day
            self.battery.drain(self.drain_pc_per_day, span_ms)
            if rate:
                self.reservoir.deliver(rate * span_ms)
            self.now_ms = now_ms

    # --- what is so now ----------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Bring alarms and modes in step with the state at this instant."""
        now_ms, alarms = self.now_ms, self.alarms
        if self.memory_check_due_ms is not None and self.memory_check_due_ms <= now_ms:
            self.memory_check_due_ms = None
            self.check_memory()
        alarms.rearm(now_ms)
        self._evaluate_reservoir()
        self._evaluate_battery()
        self.evaluate_flow()
        alarms.set_condition(AlarmKind.THERAPY_STOPPED, present=not self.running and not self.ended, now_ms=now_ms)
        alarms.set_condition(AlarmKind.STOPPED_PUMP, present=self.stopped_too_long and not self.ended, now_ms=now_ms)
        alarms.set_condition(AlarmKind.SAFE_STATE, present=self.safe, now_ms=now_ms)

    def _evaluate_reservoir(self) -> None:
        reservoir, now_ms = self.reservoir, self.now_ms
        low = reservoir.ms_until_calculated(1, self.low_reservoir_alarm_nl) == 0
        empty = reservoir.calculated == 0
        self.alarms.set_condition(AlarmKind.LOW_RESERVOIR, present=low, now_ms=now_ms)
        if empty and not self.empty_told:
            self.note(LogCode.RESERVOIR_EMPTY)
            self.emit("reservoir_empty")
        self.empty_told = empty
        self.alarms.set_condition(AlarmKind.EMPTY_RESERVOIR, present=empty, now_ms=now_ms)
        if reservoir.true_volume == 0 and not self.dry_told:
            self.dry_told = True
            if not empty:
                self.emit("reservoir_dry", "truth")

    def _evaluate_battery(self) -> None:
        now_ms, battery = self.now_ms, self.battery
        if battery.replacement_ms is None and battery.replacement_due_ms(now_ms, self.drain_pc_per_day) <= now_ms:
            battery.replacement_ms = now_ms
        replaced = battery.replacement_ms is not None
        self.alarms.set_condition(AlarmKind.ELECTIVE_REPLACEMENT, present=replaced, now_ms=now_ms)
        ends_ms = battery.service_ends_ms(now_ms, self.drain_pc_per_day)
        if not self.ended and ends_ms is not None and ends_ms <= now_ms:
            self.ended = True
            self.note(LogCode.END_OF_SERVICE)
            self.emit("end_of_service")
        self.alarms.set_condition(AlarmKind.END_OF_SERVICE, present=self.ended, now_ms=now_ms)
        if battery.charge == 0 and not self.exhausted:
            self.exhausted = True
            self.alarms.power_off(now_ms)
            self.emit("battery_exhausted")

    def evaluate_flow(self) -> None:
        """Note the instant at which strokes stop or start."""
        stroking = self.rate_nl_per_day > 0
        if stroking and self.still_since_ms is not None:
            self.still_since_ms = None
            self.emit("delivery_started", self.mode)
        elif not stroking and self.still_since_ms is None:
            self.still_since_ms = self.now_ms
            self.emit("delivery_stopped", self.mode)


def _nothing_to_check() -> None:
    """Before the pump is assembled there is nothing to check."""

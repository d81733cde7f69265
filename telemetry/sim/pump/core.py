"""The pump's state and its motion in time: every part says when something happens, the core goes there and looks.

Between two such instants every rate is constant, so any span is one closed-form step; stepping differently cannot
change a result (INV-39). What happens *at* an instant is decided from the state alone (``conditions.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import Drug, LogCode, PumpEvent, PumpLimits, PumpMode
from telemetry.sim.pump import conditions
from telemetry.sim.pump.activity import PatientBoluses, Running
from telemetry.sim.pump.alarms import Alarms
from telemetry.sim.pump.battery import Battery, running_drain_pc_per_day
from telemetry.sim.pump.governor import Governor, WindowLimits
from telemetry.sim.pump.ledger import CommitRecord, Ledger
from telemetry.sim.pump.log import EventLog
from telemetry.sim.pump.memory import Memory
from telemetry.sim.pump.plan import SCHEDULED, Plan
from telemetry.sim.pump.quantities import daily_dose_ng
from telemetry.sim.pump.upsets import Upsets
from telemetry.therapy import Program

if TYPE_CHECKING:
    from telemetry.sim.pump.medium import Medium
    from telemetry.sim.pump.orders import Order
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
        self.reminded = False
        self.memory_check_due_ms: int | None = None
        self.ledger = Ledger()
        self.log = EventLog(medium, profile.log_capacity)
        self.alarms = Alarms(profile, self.emit, self.note)
        self.limits: PumpLimits | None = None
        self.safe_basal_nl_per_day: int | None = None
        self.drug: Drug = profile.drug
        self.concentration_ng_per_ml = reservoir.concentration_ng_per_ml
        self.reservoir_generation = 0
        self.filled_nl = reservoir.calculated_nl
        self.active: CommitRecord | None = None
        self.running = False
        self.safe = False
        self.shelf = False
        self.tripped = False
        self.halted_ms: int | None = None
        self.still_since_ms: int | None = now_ms
        self.staged: tuple[Order, bytes, bytes] | None = None
        self.activity: Running | None = None
        self.bridge_left = 0
        self.patient = PatientBoluses()
        self.upsets = Upsets()
        self.governor = Governor(self.window_limits())
        self.program: Program = self.safe_program()
        self.plan: Plan | None = None
        self.plan_started_ms = now_ms
        self.plan_due_ms: int | None = None
        self.bolus_due_ms: int | None = None
        self.base_nl_per_day = self.base_ng_per_day = 0
        self.check_memory: Callable[[], None] = _nothing
        self.withhold_delivery: Callable[[], None] = _nothing
        self.give_way: Callable[[], None] = _nothing
        self.next_peak_ms: Callable[[], int | None] = _never
        self._events: list[PumpEvent] = []
        self._listeners: list[Listener] = []

    # --- what the rest of the pump is told ---------------------------------------------------------------------------

    def emit(self, kind: str, detail: str = "") -> None:
        """Tell that something happened now."""
        event = PumpEvent(self.now_ms, str(kind), str(detail))
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

    # --- the program and its plan ------------------------------------------------------------------------------------

    def set_program(self, program: Program) -> None:
        """Let this be the program; its plan begins with ``start_plan``."""
        self.program = program
        self.plan = None
        self.plan_due_ms = self.bolus_due_ms = None
        self.base_nl_per_day, self.base_ng_per_day = program.rate_nl_per_day, program.dose_ng_per_day

    def start_plan(self, started_ms: int, *, fresh: bool) -> None:
        """Let the program's own time (ramp days, periodic boluses) count from this instant, and read it for now.

        ``fresh``: it begins now, and a bolus that is due now is still to be given.
        """
        self.plan_started_ms = started_ms
        if self.program.mode is PumpMode.SAFE_STATE:
            return
        self.plan = Plan(self.program, started_ms=started_ms)
        self.bolus_due_ms = self.plan.next_bolus_ms(self.now_ms - 1 if fresh else self.now_ms)
        self.read_plan()

    def read_plan(self) -> None:
        """Take the base rate that the plan says for now, and when it changes next."""
        if self.plan is not None:
            self.base_nl_per_day, self.base_ng_per_day, self.plan_due_ms = self.plan.segment(self.now_ms, self.clock)

    # --- what is commanded -------------------------------------------------------------------------------------------

    @property
    def mode(self) -> PumpMode:
        """What the pump is doing now."""
        if self.ended:
            return PumpMode.END_OF_SERVICE
        if self.shelf:
            return PumpMode.SHELF
        if self.upsets.telemetry_mode:
            return PumpMode.TELEMETRY
        if self.safe:
            return PumpMode.SAFE_STATE
        if not self.running:
            return PumpMode.STOPPED
        return PumpMode.EMPTY if self.empty else self.program.mode

    @property
    def empty(self) -> bool:
        """Whether the reservoir is empty by the pump's own books; a pump with a level sensor trusts that."""
        if self.profile.level_sensor:
            return self.reservoir.sensed_nl == 0
        return self.reservoir.calculated == 0

    @property
    def delivering(self) -> bool:
        """Whether the pump may stroke at all (INV-38)."""
        return (
            self.running
            and self.powered
            and not (self.ended or self.shelf or self.upsets.telemetry_mode)
            and not self.empty
        )

    @property
    def rate_nl_per_day(self) -> int:
        """The commanded rate now: basal and activity; 0 whenever the pump must not stroke (INV-38)."""
        if not self.delivering:
            return 0
        running = self.activity
        if running is None:
            return self.base_nl_per_day
        return running.rate_nl_per_day + (0 if running.instead_of_basal else self.base_nl_per_day)

    @property
    def dose_ng_per_day(self) -> int:
        """The dose per day that goes with the commanded rate now."""
        if not self.delivering:
            return 0
        running = self.activity
        if running is None:
            return self.base_ng_per_day
        return running.dose_ng_per_day + (0 if running.instead_of_basal else self.base_ng_per_day)

    def drain_at(self, rate_nl_per_day: int) -> int:
        """What the battery gives while so much is commanded: idle (or shelf), strokes, tones; pC a day."""
        if self.shelf:
            return self.profile.shelf_drain_pc_per_day + self.alarms.drain_pc_per_day
        return running_drain_pc_per_day(self.profile, rate_nl_per_day) + self.alarms.drain_pc_per_day

    @property
    def bridge_to_give(self) -> int:
        """What is left of the program's bridge, running or interrupted, in nl / 86 400 000."""
        running = self.activity
        return running.left if running is not None and running.kind == "bridge" else self.bridge_left

    @property
    def mean_nl_per_day(self) -> int:
        """The rate that the program commands in the long run while it runs; what predictions rest on."""
        if not self.delivering:
            return 0
        return self.base_nl_per_day if self.plan is None else self.plan.mean_nl_per_day

    @property
    def drain_pc_per_day(self) -> int:
        """What the battery gives now."""
        return self.drain_at(self.rate_nl_per_day)

    @property
    def mean_drain_pc_per_day(self) -> int:
        """What the battery gives in the long run; equal to the present drain of a constant therapy."""
        return self.drain_at(self.mean_nl_per_day)

    @property
    def low_reservoir_alarm_nl(self) -> int:
        """The volume at which the low-reservoir alarm comes."""
        return self.profile.low_reservoir_alarm_nl if self.limits is None else self.limits.low_reservoir_alarm_nl

    @property
    def stopped_too_long(self) -> bool:
        """Whether no stroke was made for ``stopped_alarm_after_ms`` (48 h): the tube may have taken a set."""
        since_ms = self.still_since_ms
        return since_ms is not None and not self.shelf and self.now_ms - since_ms >= self.profile.stopped_alarm_after_ms

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

    def window_limits(self) -> WindowLimits:
        """What the governor holds delivery to."""
        profile, limits = self.profile, self.limits
        hard = profile.daily_dose_hard_max_ng if limits is None else limits.daily_dose_hard_max_ng
        return WindowLimits(profile.window_1h_nl, profile.window_4h_nl, profile.window_24h_nl, hard)

    def set_limits(self, limits: PumpLimits | None) -> None:
        """Enforce these; None when their record is lost (the governor then holds to the factory's)."""
        self.limits = limits
        self.governor.limits = self.window_limits()

    # --- time --------------------------------------------------------------------------------------------------------

    def advance_to(self, now_ms: int, *, pausing: bool = False) -> None:
        """Live until ``now_ms``, exactly; raises ``UsageError`` when that lies in the past or power is off.

        ``pausing``: only until something is told, and all of that instant.
        """
        if not self.powered:
            raise UsageError("the pump has no power; boot it first")
        if now_ms < self.now_ms:
            raise UsageError(f"now_ms: {now_ms} lies before {self.now_ms}, and time never runs backwards")
        told = len(self._events)
        while True:
            self._follow_schedule(now_ms)
            at_ms = self.next_event_ms()
            if at_ms is None or at_ms > now_ms:
                break
            self.settle(at_ms)
            self.evaluate()
            if pausing and len(self._events) > told:
                now_ms = self.now_ms
        self.settle(now_ms)

    def next_event_ms(self) -> int | None:
        """When something happens next if nobody acts; None when nothing ever will."""
        return conditions.next_event_ms(self)

    def evaluate(self) -> None:
        """Bring activities, alarms and modes in step with the state at this instant."""
        conditions.evaluate(self)

    def evaluate_flow(self) -> None:
        """Note the instant at which strokes stop or start."""
        conditions.evaluate_flow(self)

    def settle(self, now_ms: int) -> None:
        """Let a span pass in which nothing changes."""
        span_ms = now_ms - self.now_ms
        if not span_ms:
            return
        rate = self.rate_nl_per_day
        self.battery.drain(self.drain_at(rate), span_ms)
        if rate:
            running = self.activity
            commanded = 0 if running is None else running.give(span_ms)
            if running is None or not running.instead_of_basal:
                commanded += self.base_nl_per_day * span_ms
            self.governor.record(self.now_ms, now_ms, rate, self.dose_ng_per_day)
            self._deliver(commanded)
        self.now_ms = now_ms

    def _deliver(self, commanded: int) -> None:
        reservoir = self.reservoir
        if commanded > reservoir.calculated and self.profile.level_sensor:
            # A pump that sees its level does not stop at what it has counted.
            reservoir.calculated = commanded
        reservoir.deliver(commanded)

    def _follow_schedule(self, until_ms: int) -> None:
        """The fast path of schedules: while nothing but their steps can happen, only take the next rate at each."""
        plan, due_ms = self.plan, self.plan_due_ms
        if plan is None or due_ms is None or due_ms > until_ms or self.activity is not None or self.battery.film_mohm:
            return
        if self.program.mode not in SCHEDULED or not plan.lowest_nl_per_day or not self.delivering:
            return
        quiet_ms = conditions.quiet_until_ms(self, plan)
        profile, battery, governor, deliver = self.profile, self.battery, self.governor, self._deliver
        clock, tones = self.clock, self.alarms.drain_pc_per_day
        now_ms, rate, dose = self.now_ms, self.base_nl_per_day, self.base_ng_per_day
        while due_ms is not None and due_ms <= until_ms and due_ms < quiet_ms:
            span_ms = due_ms - now_ms
            battery.drain(running_drain_pc_per_day(profile, rate) + tones, span_ms)
            governor.record(now_ms, due_ms, rate, dose)
            deliver(rate * span_ms)
            now_ms = due_ms
            rate, dose, due_ms = plan.segment(now_ms, clock)
        self.now_ms = now_ms
        self.base_nl_per_day, self.base_ng_per_day, self.plan_due_ms = rate, dose, due_ms


def _nothing() -> None:
    """Before the pump is assembled there is nobody to ask."""


def _never() -> int | None:
    """As above."""
    return None

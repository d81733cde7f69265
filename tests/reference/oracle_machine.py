"""How a pump by hand lives through time, from change to change; what people do to it: ``pump_oracle.py``."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from telemetry.model import Activity, AlarmKind, PumpMode
from tests.reference.oracle_drug import MS_PER_DAY, NL_PER_ML, Catheter, Reservoir
from tests.reference.oracle_parts import (
    MINUTES_PER_DAY,
    MS_PER_MINUTE,
    Battery,
    Bolus,
    Commanded,
    Plan,
    Running,
    WallClock,
    day_and_minute,
)

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile

EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
NEVER = 1 << 62
RESERVOIR_ALARMS = (AlarmKind.LOW_RESERVOIR, AlarmKind.EMPTY_RESERVOIR)
STOP_ALARMS = (AlarmKind.THERAPY_STOPPED, AlarmKind.STOPPED_PUMP)

Event = tuple[int, str, str]


class Machine:
    """One pump from t = 0 on; ``charge_pc`` and ``age_ms`` are what it starts with."""

    def __init__(
        self, profile: PumpProfile, *, fill_nl: int, epoch_s: int, charge_pc: int, age_ms: int, rate_error_ppm: int
    ) -> None:
        self.profile = profile
        half = profile.catheter_volume_nl // 2
        strength = profile.start_concentration_ng_per_ml
        self.catheter = Catheter([profile.tubing_volume_nl, half, profile.catheter_volume_nl - half], strength)
        self.reservoir = Reservoir(
            Fraction(fill_nl),
            strength,
            profile.stroke_volume_nl,
            profile.stroke_cycle_ppm,
            profile.reservoir_capacity_nl,
            profile.overfill_margin_nl,
            rate_error_ppm + profile.calibration_error_ppm,
            filled_nl=fill_nl + profile.tubing_volume_nl + profile.catheter_volume_nl,
        )
        self.calculated = Fraction(fill_nl)
        self.strength = strength
        """The concentration that the pump was told."""
        self.generation = 1
        self.sequence = 1
        self.now_ms = 0
        self.clock = WallClock(epoch_s * 1000, drift_ppm=profile.clock_drift_ppm)
        self.highest_ms = self.clock.local(0)
        self.battery = Battery(Fraction(charge_pc), profile.idle_drain_pc_per_day, profile.flow_charge_pc_per_nl)
        self.activated_ms = -age_ms
        self.replacement_ms: int | None = None
        self.ended = False
        start = profile.start_rate_nl_per_day
        doses = (start * strength // NL_PER_ML,)
        self.plan = Plan(PumpMode.SIMPLE_CONTINUOUS, start, strength=strength, doses=doses)
        self.plan_ms: int | None = 0
        """When the plan's own time began; none while a bridge comes first."""
        self.activity: Running | None = None
        self.kept_bridge: Running | None = None
        self.stopped_ms: int | None = None
        self.empty_ms: int | None = None
        self.low_nl = profile.low_reservoir_alarm_nl
        self.alarms: dict[AlarmKind, int] = {}
        self.latched: set[AlarmKind] = set()
        self.events: list[Event] = []
        self.bridge_strength = strength
        """What a bridge's dose is counted at: the concentration before the refill that brought it."""
        self.commanded = Commanded()
        self.patient_starts: list[int] = []
        self.patient_end_ms: int | None = None
        self.bend: tuple[int, int, int] | None = None
        """A posture: since when, how often, how long it occludes."""
        self.plain_pass = Fraction(1)
        self.tube_set = False
        self.pocket_mass = Fraction(0)
        self.last_due: tuple[int, int] | None = None
        self.last_step_ms: int | None = None

    # --- what is so now ----------------------------------------------------------------------------------------------

    @property
    def delivering(self) -> bool:
        """Whether anything may be commanded."""
        return self.stopped_ms is None and self.empty_ms is None and not self.ended

    @property
    def mode(self) -> PumpMode:
        """What the status says."""
        if self.ended:
            return PumpMode.END_OF_SERVICE
        if self.stopped_ms is not None:
            return PumpMode.STOPPED
        return self.plan.mode if self.empty_ms is None else PumpMode.EMPTY

    @property
    def schedule_ms(self) -> int:
        """The local time that a schedule goes by: the highest that was reached."""
        return floor(max(self.highest_ms, self.clock.local(self.now_ms)))

    @property
    def ramp_step(self) -> int:
        """Which step of a titration is in force, from 0."""
        days = 0
        for number, (length, _) in enumerate(self.plan.ramp):
            days += length
            if self.plan_ms is None or self.now_ms < self.plan_ms + days * MS_PER_DAY:
                return number
        return max(0, len(self.plan.ramp) - 1)

    @property
    def basal(self) -> int:
        """The plan's own rate now."""
        if self.plan.ramp:
            return self.plan.ramp[self.ramp_step][1]
        if not self.plan.steps:
            return self.plan.rate
        day, minute = day_and_minute(self.schedule_ms)
        return max(step for step in self.plan.of_day((day + EPOCH_WEEKDAY) % 7) if step[0] <= minute)[1]

    @property
    def rate(self) -> int:
        """All that is commanded, nl/day."""
        if not self.delivering:
            return 0
        if self.activity is None:
            return self.basal
        if self.activity.kind in {Activity.PRIME, Activity.BRIDGE}:
            return self.activity.rate
        return self.basal + self.activity.rate

    @property
    def activity_ends_ms(self) -> int | None:
        """The ms in which the activity's volume is given."""
        if self.activity is None:
            return None
        return self.now_ms + ceil(self.activity.left * MS_PER_DAY / self.activity.rate)

    def patient_boluses_24h(self) -> int:
        """How many began in the last 24 hours."""
        return sum(1 for start in self.patient_starts if start > self.now_ms - MS_PER_DAY)

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, to_ms: int) -> None:
        """From change to change."""
        self.settle()
        while self.now_ms < to_ms:
            self._live(min(to_ms, self._next_ms()))
            self.settle()

    def _next_ms(self) -> int:
        """The next instant at which the commanded rate, an alarm or the catheter changes; never too late."""
        instants = [NEVER]
        if self.delivering:
            instants += self._plan_instants()
            rate = self.rate
            if rate:
                for level in (self.low_nl, 0):
                    if self.calculated > level:
                        whole, part = divmod((self.calculated - level) * MS_PER_DAY, rate)
                        instants.append(self.now_ms + int(whole) + (part > 0 and (level > 0 or whole == 0)))
            if self.activity is not None:
                whole = floor(self.activity.left * MS_PER_DAY / self.activity.rate)
                instants.append(self.now_ms + max(1, whole))
        since = self.halted_since()
        if since is not None:
            instants.append(since + self.profile.stopped_alarm_after_ms)
            instants.append(since + self.profile.tube_set_after_ms)
        if self.bend is not None:
            begun, every, kinked = self.bend
            turn = begun + (self.now_ms - begun) // every * every
            instants += [turn + kinked, turn + every]
        instants.append(self.activated_ms + self.profile.service_life_ms)
        instants.append(self.activated_ms + self.profile.service_life_ms - self.profile.replacement_reserve_ms)
        if self.replacement_ms is not None:
            instants.append(self.replacement_ms + self.profile.replacement_reserve_ms)
        next_ms = min(instant for instant in instants if instant > self.now_ms)
        return self._charge_instant(next_ms)

    def halted_since(self) -> int | None:
        since = [at for at in (self.stopped_ms, self.empty_ms) if at is not None]
        return min(since) if since and not self.ended else None

    def _plan_instants(self) -> list[int]:
        plan, found = self.plan, []
        if plan.steps:
            today = self.schedule_ms // (MINUTES_PER_DAY * MS_PER_MINUTE)
            for day in range(today, today + 9):
                for minute, _ in plan.of_day((day + EPOCH_WEEKDAY) % 7):
                    local = (day * MINUTES_PER_DAY + minute) * MS_PER_MINUTE
                    if local > self.schedule_ms:
                        found.append(self.clock.when(local))
        if self.plan_ms is not None:
            days = 0
            for length, _ in plan.ramp:
                days += length
                found.append(self.plan_ms + days * MS_PER_DAY)
            if plan.bolus is not None:
                first = self.plan_ms + plan.first_in_ms
                turns = max(0, (self.now_ms - first) // plan.interval_ms + 1)
                found.append(first + turns * plan.interval_ms)
        return [instant for instant in found if instant > self.now_ms]

    def _charge_instant(self, to_ms: int) -> int:
        """The first ms up to ``to_ms`` at which the charge has come down to ERI or to 0, or ``to_ms``."""
        levels = [Fraction(0)] if self.battery.charge > 0 else []
        if self.replacement_ms is None:
            levels.append(self._replacement_charge())
        for level in levels:
            if self.battery.after(to_ms - self.now_ms, self.rate) <= level:
                span = (self.battery.charge - level) * MS_PER_DAY / self.battery.drain(Fraction(self.rate))
                to_ms = max(self.now_ms + 1, self.now_ms + ceil(span))
        return to_ms

    def _replacement_charge(self) -> Fraction:
        mean = self.plan.mean_rate(self.ramp_step) if self.delivering else Fraction(0)
        return self.battery.drain(mean) * Fraction(self.profile.replacement_reserve_ms, MS_PER_DAY)

    def _live(self, to_ms: int) -> None:
        """Up to an instant before which nothing changes."""
        rate, span = self.rate, to_ms - self.now_ms
        if rate:
            wanted = Fraction(rate * span, MS_PER_DAY)
            if self.activity is not None:
                own = min(self.activity.left, Fraction(self.activity.rate * span, MS_PER_DAY))
                wanted += own - Fraction(self.activity.rate * span, MS_PER_DAY)
                self.activity.given += own
            wanted = min(wanted, self.calculated)
            before = self.reservoir.commanded
            dry = self.reservoir.command(wanted, self.catheter)
            if dry is not None and (dry < before + wanted or self.calculated > wanted):
                at_ms = min(to_ms, self.now_ms + ceil((dry - before) * MS_PER_DAY / rate))
                self.events.append((at_ms, "reservoir_dry", ""))
            self.calculated -= wanted
            self._count(to_ms, rate)
        self.battery.charge = max(Fraction(0), self.battery.after(span, rate))
        self.highest_ms = max(self.highest_ms, self.clock.local(to_ms))
        self.now_ms = to_ms

    def _count(self, to_ms: int, rate: int) -> None:
        bridging = self.activity is not None and self.activity.kind is Activity.BRIDGE
        self.commanded.add(self.now_ms, to_ms, rate, self.bridge_strength if bridging else self.strength)

    def emit(self, kind: str, detail: str = "") -> None:
        self.events.append((self.now_ms, kind, detail))

    # --- what comes with an instant ----------------------------------------------------------------------------------

    def settle(self) -> None:
        if self.bend is not None:
            begun, every, kinked = self.bend
            bent = (self.now_ms - begun) % every < kinked
            self.reservoir.passes = Fraction(0) if bent else self.plain_pass
        if self.activity is not None and self.activity.left == 0:
            self._activity_over()
        self._reservoir_alarms()
        self._halted_alarm()
        self._service()
        if self.delivering:
            self._plan_events()

    def _activity_over(self) -> None:
        assert self.activity is not None
        done, self.activity = self.activity, None
        self.emit(f"{done.name}_ended", done.kind)
        if done.kind is Activity.BRIDGE:
            self.plan_ms = self.now_ms
        if done.kind is Activity.PATIENT_BOLUS:
            self.patient_end_ms = self.now_ms

    def cancel(self) -> None:
        if self.activity is not None:
            if self.activity.kind is Activity.PATIENT_BOLUS:
                self.patient_end_ms = self.now_ms
            self.emit("bolus_cancelled", self.activity.kind)
        self.activity = None

    def interrupt(self) -> None:
        """A bridge waits, whatever else runs is over."""
        if self.activity is not None and self.activity.kind is Activity.BRIDGE:
            self.kept_bridge, self.activity = self.activity, None
        self.cancel()

    def abandon(self) -> None:
        """What runs, and a bridge that waits, is over."""
        self.cancel()
        self.activity, self.kept_bridge = self.kept_bridge, None
        self.cancel()

    def _reservoir_alarms(self) -> None:
        if self.ended:
            return
        if self.calculated <= self.low_nl:
            self.raise_alarm(AlarmKind.LOW_RESERVOIR)
        else:
            self.clear_alarm(AlarmKind.LOW_RESERVOIR)
        if self.calculated == 0 and self.empty_ms is None:
            self.interrupt()
            self.emit("reservoir_empty")
            delivered = self.delivering
            self.empty_ms = self.now_ms
            if delivered:
                self.emit("delivery_stopped", PumpMode.EMPTY)
            self.raise_alarm(AlarmKind.EMPTY_RESERVOIR)

    def _halted_alarm(self) -> None:
        since = self.halted_since()
        if since is None:
            return
        if self.now_ms >= since + self.profile.stopped_alarm_after_ms:
            self.raise_alarm(AlarmKind.STOPPED_PUMP)
        if self.now_ms >= since + self.profile.tube_set_after_ms and not self.tube_set:
            self.tube_set = True
            self.reservoir.error_ppm += self.profile.tube_set_error_ppm

    def _service(self) -> None:
        profile = self.profile
        if self.replacement_ms is None and (
            self.battery.charge <= self._replacement_charge()
            or self.now_ms >= self.activated_ms + profile.service_life_ms - profile.replacement_reserve_ms
        ):
            self.replacement_ms = self.now_ms
            self.raise_alarm(AlarmKind.ELECTIVE_REPLACEMENT)
        if (
            not self.ended
            and self.replacement_ms is not None
            and (
                self.now_ms >= self.replacement_ms + profile.replacement_reserve_ms
                or self.now_ms >= self.activated_ms + profile.service_life_ms
                or self.battery.charge == 0
            )
        ):
            self._end()
        if self.battery.charge == 0 and self.battery.sounding:
            self.emit("battery_exhausted")
            self.battery.sounding.clear()

    def _end(self) -> None:
        """The end of service: nothing but its own alarm and ERI remains; what latches sounds on."""
        delivered = self.delivering
        self.abandon()
        self.ended = True
        self.emit("end_of_service")
        if delivered:
            self.emit("delivery_stopped", PumpMode.END_OF_SERVICE)
        for kind in RESERVOIR_ALARMS:
            self.clear_alarm(kind)
        for kind in STOP_ALARMS:
            if kind in self.alarms and kind not in self.latched:
                self.latched.add(kind)
                self.emit("alarm_latched", kind)
        self.raise_alarm(AlarmKind.END_OF_SERVICE)

    def _plan_events(self) -> None:
        if self.plan_ms is None:
            return
        days = 0
        for number, (length, _) in enumerate(self.plan.ramp[:-1]):
            days += length
            changes = self.plan.ramp[number + 1][1] != self.plan.ramp[number][1]
            if changes and self.now_ms == self.plan_ms + days * MS_PER_DAY and self.last_step_ms != self.now_ms:
                self.last_step_ms = self.now_ms
                self.emit("titration_step", str(number + 2))
        plan = self.plan
        if plan.bolus is not None:
            since = self.now_ms - self.plan_ms - plan.first_in_ms
            turn = (self.plan_ms, since // plan.interval_ms)
            if since >= 0 and since % plan.interval_ms == 0 and turn != self.last_due:
                self.last_due = turn
                if self.activity is None:
                    self.begin(Activity.PERIODIC_BOLUS, plan.bolus)
                else:
                    self.emit("bolus_withheld", Activity.PERIODIC_BOLUS)

    def begin(self, kind: Activity, bolus: Bolus) -> None:
        self.activity = Running(kind, bolus.volume_nl, bolus.rate)
        self.emit("bolus_started", kind)

    def raise_alarm(self, kind: AlarmKind) -> None:
        if kind in self.alarms:
            return
        self.alarms[kind] = self.now_ms
        spec = self.profile.alarm(kind)
        if self.battery.charge > 0:
            self.battery.sounding[kind] = spec.burst_charge_pc * MS_PER_DAY // spec.repeat_ms
        self.emit("alarm_raised", kind)

    def clear_alarm(self, kind: AlarmKind) -> None:
        if self.alarms.pop(kind, None) is not None:
            self.battery.sounding.pop(kind, None)
            self.emit("alarm_cleared", kind)

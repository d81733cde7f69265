"""Plays one row of acts on a ``VirtualPump`` and on the pump by hand, and compares all that both can say of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

from telemetry.errors import Refused
from telemetry.model import Activity, RefusalReason
from telemetry.sim.pump.prescribing import Bridge
from telemetry.sim.virtual_pump import FIXED_EPOCH_UTC_S, VirtualPump
from telemetry.units import Concentration, Duration, FlowRate, HourlyDose, Volume
from tests.reference.oracle_drug import MS_PER_DAY, NL_PER_ML, PPM
from tests.reference.oracle_parts import Bolus, Plan, Running
from tests.reference.pump_oracle import PumpOracle

if TYPE_CHECKING:
    from telemetry.therapy import Amount, Rate, Therapy

HOUR_MS = 3_600_000
Value = object
Act = tuple[str, dict[str, "Value"]]
_OWN_EVENTS = ("fault", "patient_bolus_denied")
"""Events of what the pump by hand is not asked about: the bench's fault engine, denials (asserted at the act)."""


class Differs(AssertionError):
    """Pump and reference disagree; the message says on what, when, and what was done before."""


def nl_per_day(rate: Rate, strength: int) -> int:
    """A rate in whole nl/day, towards less drug (units.py)."""
    if isinstance(rate, FlowRate):
        return rate.nl_per_day
    daily = rate.ng_per_hour * 24 if isinstance(rate, HourlyDose) else rate.ng_per_day
    return daily * NL_PER_ML // strength


def nl(amount: Amount, strength: int) -> int:
    """An amount in whole nl, towards less drug."""
    return amount.nl if isinstance(amount, Volume) else amount.ng * NL_PER_ML // strength


def doses_of(therapy: Therapy, strength: int) -> tuple[int, ...]:
    """Its rates and amounts as ng, stated or, of a flow or volume, towards less drug."""
    rates = [therapy.rate, *(step.rate for step in therapy.steps), *(step.rate for step in therapy.ramp)]
    found: list[int] = []
    for rate in rates:
        if isinstance(rate, FlowRate):
            found.append(rate.nl_per_day * strength // NL_PER_ML)
        elif rate is not None:
            found.append(rate.ng_per_hour * 24 if isinstance(rate, HourlyDose) else rate.ng_per_day)
    for part in (therapy.bolus, therapy.patient_bolus):
        if part is not None:
            amount = part.amount
            found.append(amount.nl * strength // NL_PER_ML if isinstance(amount, Volume) else amount.ng)
    return tuple(found)


def plan_of(therapy: Therapy, strength: int, keep_alive: int) -> Plan:
    """A therapy against a concentration."""
    rule, periodic = therapy.patient_bolus, therapy.bolus
    return Plan(
        therapy.mode,
        keep_alive if therapy.mode == "minimum_rate" else nl_per_day(therapy.rate, strength) if therapy.rate else 0,
        tuple((step.days, step.start_minute, nl_per_day(step.rate, strength)) for step in therapy.steps),
        tuple((step.days, nl_per_day(step.rate, strength)) for step in therapy.ramp),
        Bolus(nl(periodic.amount, strength), periodic.duration.ms) if periodic else None,
        periodic.interval.ms if periodic else 0,
        periodic.first_in.ms if periodic else 0,
        Bolus(nl(rule.amount, strength), rule.duration.ms) if rule else None,
        rule.lockout.ms if rule else 0,
        rule.max_per_24h if rule else 0,
        strength,
        doses_of(therapy, strength),
    )


@dataclass
class Start:
    """A pump to begin with."""

    profile: str = "itb-40"
    fill_nl: int = 20_000_000
    age_days: int = 0
    overrides: dict[str, object] = field(default_factory=dict)


class Player:
    """Both pumps and what was done to them; ``counts`` says how often each act was done, or refused why."""

    def __init__(self, start: Start, counts: Counter[str] | None = None) -> None:
        age = Duration(start.age_days * MS_PER_DAY)
        fill = Volume(start.fill_nl)
        self.pump = VirtualPump(start.profile, age=age, fill=fill, **start.overrides)  # type: ignore[arg-type]
        self.counts: Counter[str] = Counter() if counts is None else counts
        profile = self.pump.device.profile
        self.oracle = PumpOracle(
            profile,
            fill_nl=start.fill_nl,
            epoch_s=FIXED_EPOCH_UTC_S,
            charge_pc=self.pump.truth.battery_pc,
            age_ms=age.ms,
            rate_error_ppm=int(start.overrides.get("rate_error_ppm", profile.rate_error_ppm)),  # type: ignore[call-overload]
        )
        self.done: list[str] = [f"{start}"]
        self.oracle.advance(0)
        self.oracle.events.clear()  # what is so from the start the pump does not tell
        self.pump.take_events()
        self.compare()

    # --- acts --------------------------------------------------------------------------------------------------------

    def act(self, name: str, **values: object) -> None:
        """Do one thing to both; what the pump refuses is not done to the other."""
        self.done.append(f"{self.oracle.now_ms} {name} {values}")
        try:
            getattr(self, f"_{name}")(**values)
        except Refused as refused:
            self.done[-1] += f" refused: {refused}"
            self.counts[f"{name} {refused.reason}"] += 1
        else:
            self.counts[name] += 1
        self.compare()

    def live(self, span_ms: int) -> None:
        """Let time pass for both."""
        to_ms = self.oracle.now_ms + span_ms
        self.done.append(f"{self.oracle.now_ms} live {span_ms}")
        self.pump.clock.advance_to(to_ms)  # type: ignore[attr-defined]
        self.oracle.advance(to_ms)
        self.compare()

    def _plan(self, therapy: Therapy, strength: int) -> Plan:
        return plan_of(therapy, strength, self.oracle.profile.keep_alive_rate_nl_per_day)

    def _program(self, therapy: Therapy) -> None:
        self.pump.program(therapy)
        self.oracle.program(self._plan(therapy, self.oracle.strength))

    def _bolus(self, amount: Amount, duration: Duration) -> None:
        self.pump.bolus(amount, duration)
        self.oracle.bolus(Bolus(nl(amount, self.oracle.strength), duration.ms))

    def _prime(self, volume: Volume | None, rate: FlowRate | None) -> None:
        self.pump.prime(volume, rate)
        profile = self.oracle.profile
        self.oracle.prime(
            profile.labelled_tubing_volume_nl + profile.labelled_catheter_volume_nl if volume is None else volume.nl,
            profile.prime_rate_nl_per_day if rate is None else rate.nl_per_day,
        )

    def _patient_bolus(self) -> None:
        oracle = self.oracle
        until_ms = self._locked_out_until()
        denied = (
            oracle.plan.patient is None
            or (until_ms is not None and oracle.now_ms < until_ms)
            or oracle.patient_boluses_24h() >= oracle.plan.max_per_24h
            or not oracle.delivering
            or oracle.activity is not None
        )
        try:
            self.pump.patient_bolus()
        except Refused as refused:
            if not denied and refused.reason is not RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT:
                raise Differs(self._say(f"patient bolus: denied ({refused.reason}), and should be granted")) from None
            raise
        if denied:
            raise Differs(self._say("patient bolus: granted, and should be denied"))
        oracle.patient_bolus()

    def _locked_out_until(self) -> int | None:
        oracle = self.oracle
        running = oracle.activity is not None and oracle.activity.kind is Activity.PATIENT_BOLUS
        end_ms = oracle.activity_ends_ms if running else oracle.patient_end_ms
        return None if end_ms is None else end_ms + oracle.plan.lockout_ms

    def _stop(self) -> None:
        self.pump.stop()
        self.oracle.stop()

    def _resume(self) -> None:
        self.pump.resume()
        self.oracle.resume()

    def _refill(
        self,
        volume: Volume,
        concentration: Concentration | None,
        therapy: Therapy | None,
        bridge_nl: int,
        bridge_rate: int,
        *,
        needle: bool,
    ) -> None:
        oracle = self.oracle
        strength = oracle.strength if concentration is None else concentration.ng_per_ml
        bridge = Bridge(Volume(bridge_nl), FlowRate(bridge_rate)) if bridge_nl else False
        if needle:
            self.pump.refill(volume, concentration, therapy, bridge=bridge)
        else:
            self.pump.tell_refill(volume, concentration, therapy, bridge=bridge)
        oracle.refill(
            volume.nl,
            strength,
            None if therapy is None else self._plan(therapy, strength),
            Running(Activity.BRIDGE, bridge_nl, bridge_rate) if bridge_nl else None,
            needle=needle,
            runs=therapy is not None or oracle.stopped_ms is None,
        )

    def _clock(self, shift_s: int, zone_minutes: int) -> None:
        utc_s = max(0, floor(self.oracle.clock.utc(self.oracle.now_ms)) // 1000 + shift_s)
        self.pump.set_clock(utc_s, zone_minutes)
        self.oracle.set_clock(utc_s, zone_minutes)

    def _withdraw(self, volume: Volume | None) -> None:
        wanted = self.oracle.reservoir.withdraw(None if volume is None else volume.nl)
        self._same("withdrawn", self.pump.withdraw(volume).nl, wanted)

    def _fill(self, volume: Volume, concentration: Concentration, into: str) -> None:
        found = self.pump.fill(volume, concentration, into).nl
        if into == "reservoir":
            self._same("filled", found, self.oracle.reservoir.fill(volume.nl, concentration.ng_per_ml))
        elif into == "pocket":
            self.oracle.pocket(volume.nl, concentration.ng_per_ml)
        elif found:
            self.oracle.side_port(found, concentration.ng_per_ml)

    def _new_catheter(self, volume: Volume | None) -> None:
        self.pump.clear()
        self.pump.replace_catheter(volume)
        self.oracle.replace_catheter(None if volume is None else volume.nl)

    def _catheter(self, mode: str, ppm: int, period_ms: int, kinked_ms: int) -> None:
        """One thing wrong with it at a time, or ``patent``."""
        oracle, pump = self.oracle, self.pump
        pump.clear()
        oracle.catheter.losses = [Fraction(0)] * 3
        oracle.bend, oracle.plain_pass, oracle.reservoir.passes = None, Fraction(1), Fraction(1)
        share = Fraction(ppm, PPM)
        if mode == "leaking":
            pump.inject("catheter_failure", mode, lost_ppm=ppm)
            oracle.catheter.losses[1] = share
        elif mode == "disconnected":
            pump.inject("catheter_failure", mode)
            oracle.catheter.losses[0] = Fraction(1)
        elif mode == "tip_displaced":
            pump.inject("catheter_failure", mode)
            oracle.catheter.losses[2] = Fraction(1)
        elif mode == "partial":
            pump.inject("under_infusion", "partial", passes_ppm=ppm)
            oracle.plain_pass = oracle.reservoir.passes = share
        elif mode == "kinked":
            pump.inject("catheter_failure", mode)
            oracle.plain_pass = oracle.reservoir.passes = Fraction(0)
        elif mode == "positional":
            pump.inject("catheter_failure", mode, period_ms=period_ms, kinked_ms=kinked_ms)
            oracle.bend = (oracle.now_ms, period_ms, kinked_ms)
            oracle.advance(oracle.now_ms)

    # --- comparing ---------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """All that both can say."""
        oracle, status, truth = self.oracle, self.pump.status, self.pump.truth
        report, ledger = self.pump.delivery, self.pump.ledger
        reservoir, catheter = oracle.reservoir, oracle.catheter
        self._events()
        self._same("mode", status.mode, oracle.mode)
        self._same("rate", status.rate_nl_per_day, oracle.rate)
        self._near("dose", status.dose_ng_per_day, Fraction(oracle.rate * self._dose_strength(), NL_PER_ML), 2)
        self._same("calculated", status.reservoir_nl, ceil(oracle.calculated))
        self._same("activity", status.activity, oracle.activity.kind if oracle.activity else Activity.NONE)
        ends_ms = oracle.activity_ends_ms
        self._same("activity ends", status.activity_ends_ms, None if ends_ms is None else ends_ms // 1000 * 1000)
        self._same("alarms", sorted(status.alarms), sorted(oracle.alarms))
        self._same("strokes", truth.strokes, reservoir.strokes)
        self._same("true volume", truth.reservoir_nl, ceil(reservoir.volume))
        self._same("delivered", truth.delivered_nl, floor(catheter.delivered))
        self._same("lost", truth.lost_nl, floor(catheter.delivered + catheter.lost) - floor(catheter.delivered))
        self._same("delivered ng", truth.delivered_ng, floor(catheter.delivered_mass))
        self._same("lost ng", truth.lost_ng, floor(catheter.lost_mass) + floor(oracle.pocket_mass))
        self._same("tip", truth.tip_concentration_ng_per_ml, catheter.tip_concentration)
        self._same("charge", truth.battery_pc, floor(oracle.battery.charge))
        if oracle.rate:  # a tube takes its set while it stands; when is not for a programmer to see
            self._same("flow error", truth.flow_error_ppm, reservoir.error_ppm)
        self._same("filled", ledger.filled_nl, reservoir.filled_nl)
        self._same("withdrawn", ledger.withdrawn_nl, reservoir.withdrawn_nl)
        self._same("in path", ledger.in_path_nl, sum(catheter.volumes))
        self._same("balance", ledger.balance_nl, 0)
        for name, hours in (("window_1h_nl", 1), ("window_4h_nl", 4), ("window_24h_nl", 24)):
            self._same(name, getattr(report, name), floor(oracle.commanded.volume(oracle.now_ms, hours * HOUR_MS)))
        self._near("24-h dose", report.window_24h_ng, oracle.commanded.dose_24h(oracle.now_ms), 2)
        most = oracle.profile.daily_dose_hard_max_ng
        if report.window_24h_ng > most:
            raise Differs(self._say(f"24-h dose: {report.window_24h_ng} ng is above {most}"))
        self._same("utc", report.clock_utc_s, floor(oracle.clock.utc(oracle.now_ms)) // 1000)
        self._same("patient boluses", report.patient_boluses_24h, oracle.patient_boluses_24h())

    def _dose_strength(self) -> int:
        running = self.oracle.activity
        bridging = running is not None and running.kind is Activity.BRIDGE
        return self.oracle.bridge_strength if bridging else self.oracle.strength

    def _events(self) -> None:
        found = sorted(
            (event.at_ms, event.kind, "" if event.kind == "reservoir_dry" else event.detail)
            for event in self.pump.take_events()
            if not event.kind.startswith(_OWN_EVENTS)
        )
        wanted = sorted((at_ms, kind, str(detail)) for at_ms, kind, detail in self.oracle.events)
        self.oracle.events.clear()
        if found != wanted:
            extra, missing = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
            raise Differs(self._say(f"events: the pump alone {sorted(extra)}, the reference alone {sorted(missing)}"))

    def _same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise Differs(self._say(f"{what}: the pump {found}, the reference {wanted}"))

    def _near(self, what: str, found: int, wanted: Fraction, units: int) -> None:
        """Within so many steps of rounding a rate to 1 nl or a dose to 1 ng a day."""
        strength = max([self.oracle.strength, *(segment[3] for segment in self.oracle.commanded.segments)])
        if abs(found - wanted) > units * max(1, ceil(Fraction(strength, NL_PER_ML))):
            raise Differs(self._say(f"{what}: the pump {found}, the reference {float(wanted)}"))

    def _say(self, what: str) -> str:
        return "\n".join([f"at {self.oracle.now_ms}: {what}", *self.done])

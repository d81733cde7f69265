"""Random programmes of therapies, faults, refills and time for two equal pumps, of which one is cut up and looked at.

Whatever is done, the drug ledger balances to the nanolitre after every event, no window of commanded delivery is above
its limit, and both pumps are the same in every bit, although one lives each span at once and the other from event to
event and from cut to cut (INV-35, INV-37, INV-39).

Used by the suite (a slice, and a state machine) and by ``tools/ledger_campaign.py`` (ten thousand programmes).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import AlarmKind, PumpMode
from telemetry.sim.profiles import load_profile
from telemetry.sim.pump import recovery
from telemetry.sim.pump.catheter import Junction
from telemetry.sim.pump.device import PumpDevice
from telemetry.sim.pump.medium import Medium
from telemetry.sim.pump.prescribing import Bridge
from telemetry.therapy import AlarmSettings, PatientBolusRule, PeriodicBolus, ScheduleStep, Therapy, TitrationStep
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, Concentration, DailyDose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from telemetry.model import PumpEvent
    from telemetry.sim.pump.profile import PumpProfile

EPOCH_UTC_S = 1_767_225_600
PROFILES = ("itb-20", "itb-40", "valve-20", "sensor-40")
ML = 1_000_000
_SECOND_MS = 1_000
_LONGEST_MS = 60 * MS_PER_DAY
_MOST_CUTS = 12
_SHOWN = 300
_STEPS_SEEN = 400
"""Events of one span after which the looking pump takes the rest at once: a pump may tell of thousands."""


def _rate(pump: PumpDevice, rng: Random) -> FlowRate:
    profile = pump.profile
    low = 0 if profile.zero_rate_allowed and rng.randrange(4) == 0 else profile.min_rate_nl_per_day
    most = profile.daily_dose_hard_max_ng * ML // pump.core.concentration_ng_per_ml
    return FlowRate(rng.randint(low, min(profile.max_rate_nl_per_day, max(low, most))))


def _seconds(rng: Random, least: int, most: int) -> Duration:
    return Duration(rng.randint(least, most) * _SECOND_MS)


def _rule(pump: PumpDevice, rng: Random) -> PatientBolusRule | None:
    if not pump.profile.patient_bolus_allowed or rng.randrange(5) == 0:
        return None
    return PatientBolusRule(
        Volume(rng.randint(1, 20_000)), _seconds(rng, 1, 3_600), _seconds(rng, 0, 40_000), rng.randint(1, 6)
    )


def a_therapy(pump: PumpDevice, rng: Random) -> Therapy:
    """Any therapy; the pump may well refuse it."""
    kind = rng.choice(("simple", "minimum", "flex", "weekday", "periodic", "titration"))
    rule = _rule(pump, rng)
    if kind == "minimum":
        return Therapy.minimum_rate()
    if kind in {"flex", "weekday"}:
        groups = [0x7F] if kind == "flex" else [0x1F, 0x60]
        steps: list[ScheduleStep] = []
        for days in groups:
            minutes = [0, *sorted(rng.sample(range(1, 1_440), rng.randint(0, 5)))]
            steps += [ScheduleStep(minute, _rate(pump, rng), days) for minute in minutes]
        return Therapy(PumpMode(kind), steps=tuple(steps), patient_bolus=rule)
    if kind == "periodic":
        bolus = PeriodicBolus(
            Volume(rng.randint(1, 30_000)),
            _seconds(rng, 1, 4_000),
            _seconds(rng, 3_000, 90_000),
            _seconds(rng, 0, 90_000),
        )
        return Therapy(PumpMode.PERIODIC_BOLUS, _rate(pump, rng), bolus=bolus, patient_bolus=rule)
    if kind == "titration":
        ramp = tuple(TitrationStep(rng.randint(1, 9), _rate(pump, rng)) for _ in range(rng.randint(1, 5)))
        return Therapy(PumpMode.TITRATION, ramp=ramp, patient_bolus=rule)
    return Therapy(PumpMode.SIMPLE_CONTINUOUS, _rate(pump, rng), patient_bolus=rule)


def _strength(pump: PumpDevice, rng: Random) -> Concentration:
    return Concentration(rng.choice((*pump.profile.concentrations_ng_per_ml, rng.randint(1, 50) * 100_000)))


def _refill(pump: PumpDevice, rng: Random, *, needle: bool) -> object:
    capacity = pump.profile.reservoir_capacity_nl
    volume = Volume(rng.choice((capacity, rng.randint(1, capacity), rng.randint(1, 50_000))))
    same = rng.randrange(3) == 0
    strength = None if same else _strength(pump, rng)
    bridge: Bridge | bool = rng.choice((False, True))
    if rng.randrange(8) == 0:
        bridge = Bridge(Volume(rng.randint(1, 400_000)), FlowRate(rng.randint(48_000, 900_000)))
    therapy = None
    if not same or rng.randrange(2):
        dose = DailyDose(rng.randint(pump.profile.daily_dose_hard_min_ng, pump.profile.daily_dose_hard_max_ng))
        therapy = Therapy.simple_continuous(dose) if rng.randrange(2) else a_therapy(pump, rng)
    if needle:
        return pump.refill(volume, strength, therapy, bridge=bridge)
    return pump.tell_refill(volume, strength, therapy, withdrawn=Volume(rng.randint(0, capacity)), bridge=bridge)


def _flip(pump: PumpDevice, rng: Random) -> None:
    page = rng.choice(pump.medium.pages())
    pump.flip_bit(page, rng.randrange(8 * len(pump.medium.read(page))))


def _power_cut(pump: PumpDevice, rng: Random) -> None:
    pump.power_cut()
    pump.boot(pump.now_ms + rng.choice((0, 0, rng.randrange(3 * MS_PER_DAY))))


def _limits(pump: PumpDevice, rng: Random) -> object:
    factory = pump.limits()
    return pump.set_limits(
        replace(
            factory,
            daily_dose_hard_max_ng=rng.randint(factory.daily_dose_soft_max_ng, factory.daily_dose_hard_max_ng),
            low_reservoir_alarm_nl=rng.randint(ML, 4 * ML),
        )
    )


def _settings(pump: PumpDevice, rng: Random) -> object:
    return pump.configure_alarms(AlarmSettings(rng.randint(ML, 4 * ML), rng.random() < 0.5, rng.random() < 0.5))


def _clock(pump: PumpDevice, rng: Random) -> object:
    shift_s = rng.choice((-3_600, 3_600, rng.randint(-200_000, 200_000)))
    zone = rng.choice((0, 60, 120, -300, 345))
    return pump.set_clock(max(0, pump.core.clock.utc_s(pump.now_ms) + shift_s), zone)


def _rotor(pump: PumpDevice, rng: Random) -> None:
    rotor = pump.core.reservoir.rotor
    (rotor.free if rotor.stalled else rotor.stall)(pump.now_ms)
    if rng.randrange(6) == 0:
        rotor.take_set()
    pump.core.evaluate()


def _catheter(pump: PumpDevice, rng: Random) -> None:
    path = pump.core.reservoir.path
    what = rng.randrange(5)
    if what == 0:
        path.lose(rng.choice(list(Junction)), rng.choice((0, 1_000_000, rng.randint(0, 1_000_000))))
    elif what == 1:
        path.leak(rng.randint(0, 1_000_000), rng.randint(0, 1_000_000))
    elif what == 2:
        path.occlude(rng.choice((0, 1_000_000, rng.randint(0, 1_000_000))))
    elif what == 3:
        period = rng.randint(MS_PER_HOUR, 3 * MS_PER_DAY)
        path.bend(pump.now_ms, period, rng.randint(1, period), rng.randrange(period))
    else:
        path.mend()
    pump.core.evaluate()


def _physics(pump: PumpDevice, rng: Random) -> None:
    reservoir = pump.core.reservoir
    what = rng.randrange(5)
    if what == 0:
        reservoir.rate_error_ppm = rng.randint(-500_000, 500_000)
    elif what == 1:
        reservoir.environment.set_temperature(rng.randint(340, 410))
    elif what == 2:
        reservoir.environment.set_pressure(rng.randint(600, 1_900))
    elif what == 3:
        reservoir.dump(rng.choice((None, rng.randint(1, 5 * ML))))
    else:
        pump.core.battery.grow_film(rng.randint(0, 5_000), rng.choice((0, 0, rng.randint(0, 300_000))))
    pump.core.evaluate()


def _telemetry_mode(pump: PumpDevice, rng: Random) -> None:
    core = pump.core
    if not core.upsets.telemetry_mode:
        core.upsets.telemetry_since_ms = pump.now_ms
        core.upsets.telemetry_until_ms = pump.now_ms + rng.randint(1, MS_PER_DAY) if rng.randrange(2) else None
    core.evaluate()


def _needle(pump: PumpDevice, rng: Random) -> object:
    if rng.randrange(2):
        return pump.withdraw(None if rng.randrange(3) == 0 else Volume(rng.randint(1, 20 * ML)))
    into = rng.choice(("reservoir", "reservoir", "pocket", "side_port"))
    return pump.fill(Volume(rng.randint(1, 20 * ML)), _strength(pump, rng), into)


def _safe_state(pump: PumpDevice, _rng: Random) -> None:
    recovery.enter_safe_state(pump.core)
    pump.core.evaluate()


def _silence(pump: PumpDevice, rng: Random) -> None:
    pump.silence_alarms(rng.randint(1, pump.profile.max_silence_ms))


def _acknowledge(pump: PumpDevice, rng: Random) -> None:
    pump.acknowledge_alarm(rng.choice(pump.core.alarms.active() or tuple(AlarmKind)))


ACTS: dict[str, Callable[[PumpDevice, Random], object]] = {
    "program": lambda pump, rng: pump.program(a_therapy(pump, rng)),
    "bolus": lambda pump, rng: pump.bolus(Volume(rng.randint(1, 90_000)), _seconds(rng, 1, 80_000)),
    "prime": lambda pump, rng: pump.prime(Volume(rng.randint(1, 400_000)) if rng.randrange(2) else None),
    "patient_bolus": lambda pump, _rng: pump.patient_bolus_at_bench(),
    "stop": lambda pump, _rng: pump.stop_at_bench(),
    "resume": lambda pump, _rng: pump.resume_at_bench(),
    "refill": lambda pump, rng: _refill(pump, rng, needle=True),
    "tell_refill": lambda pump, rng: _refill(pump, rng, needle=False),
    "needle": _needle,
    "replace_catheter": lambda pump, rng: pump.replace_catheter(Volume(rng.randint(50_000, 300_000))),
    "power_cut": _power_cut,
    "low_battery_reset": lambda pump, rng: pump.low_battery_reset(safe_state=rng.randrange(3) == 0),
    "flip": _flip,
    "limits": _limits,
    "alarm_settings": _settings,
    "clock": _clock,
    "rotor": _rotor,
    "catheter": _catheter,
    "physics": _physics,
    "telemetry_mode": _telemetry_mode,
    "interrogated": lambda pump, _rng: pump.interrogated(),
    "silence": _silence,
    "acknowledge": _acknowledge,
    "safe_state": _safe_state,
}


_OFTEN = {
    "program": 8,
    "bolus": 5,
    "patient_bolus": 4,
    "resume": 5,
    "refill": 5,
    "prime": 3,
    "clock": 2,
    "safe_state": 0,
}
"""Acts that keep a pump delivering are drawn more often than those that end it; a safe state comes of flips as well."""
NAMES = [name for name in ACTS for _ in range(2 * _OFTEN.get(name, 1) or 1)]


class Broken(AssertionError):
    """A law did not hold; the message says which, when, and what was done before."""


@dataclass
class Twins:
    """Two equal pumps. ``done`` is what was done to both; ``counts`` how often each act was done, or refused why."""

    profile: PumpProfile
    fill_nl: int
    shelf: bool = False
    done: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    cuts: int = 0

    @property
    def days(self) -> int:
        """Whole days that have passed for each of them."""
        return self.whole.now_ms // MS_PER_DAY

    def __post_init__(self) -> None:
        self.whole, self.cut = self._pump(), self._pump()
        self.whole.core.take_events()
        self.cut.core.take_events()

    def _pump(self) -> PumpDevice:
        return PumpDevice(
            self.profile,
            Medium(),
            epoch_utc_s=EPOCH_UTC_S,
            pump_id=b"twinpump",
            fill_nl=0 if self.shelf else self.fill_nl,
            shelf_ms=0 if self.shelf else None,
        )

    def act(self, name: str, rng: Random) -> None:
        """Do one thing to both, drawn from the same numbers; both must do, or refuse, the same."""
        state = rng.getstate()
        results = []
        for pump in (self.whole, self.cut):
            rng.setstate(state)
            results.append(self._one(pump, name, rng))
        self.done.append(f"{self.whole.now_ms} {name}: {results[0][:160]}")
        self.counts[name if results[0].startswith("done") else f"{name} refused"] += 1
        if results[0] != results[1]:
            raise Broken(self._say(f"{name}: {results[0]} and {results[1]}"))
        self.check(self.cut)

    @staticmethod
    def _one(pump: PumpDevice, name: str, rng: Random) -> str:
        try:
            return f"done {ACTS[name](pump, rng)}"
        except Refused as refused:
            return f"{refused.reason}: {refused}"
        except UsageError as wrong:
            return f"usage: {wrong}"

    def live(self, span_ms: int, cuts: list[int]) -> None:
        """Let time pass: at once for one, from event to event and from cut to cut for the other."""
        end_ms = self.whole.now_ms + span_ms
        self.done.append(f"{self.whole.now_ms} live {span_ms}")
        wanted = self.whole.advance_to(end_ms)
        seen: list[PumpEvent] = []
        for cut_ms in [*sorted(min(end_ms, self.cut.now_ms + cut) for cut in cuts), end_ms]:
            self._walk(cut_ms, seen)
        self.events += len(seen)
        if seen != wanted:
            pairs = next((pair for pair in zip(wanted, seen, strict=False) if pair[0] != pair[1]), (wanted, seen))
            raise Broken(self._say(f"events differ: {pairs}"))
        self._compare()

    def _walk(self, end_ms: int, seen: list[PumpEvent]) -> None:
        pump = self.cut
        for _ in range(_STEPS_SEEN):
            at_ms = pump.next_event_ms()
            if at_ms is None or at_ms > end_ms:
                break
            seen += pump.advance_to(at_ms)
            self.cuts += 1
            self.check(pump)
        seen += pump.advance_to(end_ms)
        self.check(pump)

    def _compare(self) -> None:
        for look in ("status", "truth", "ledger", "delivery", "alarms"):
            one, other = getattr(self.whole, look)(), getattr(self.cut, look)()
            if one != other:
                raise Broken(self._say(f"{look}: {one}\nand {other}"))

    def finish(self) -> None:
        """Both must be the same in every bit."""
        one, other = _flat(self.whole.snapshot()), _flat(self.cut.snapshot())
        differing = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        if differing:
            shown = [f"{name}: {one.get(name)} and {other.get(name)}"[:_SHOWN] for name in differing]
            raise Broken(self._say("snapshots differ: " + "; ".join(shown)))

    def check(self, pump: PumpDevice) -> None:
        """The laws of one pump at this instant."""
        balance = pump.ledger().balance_nl
        if balance:
            raise Broken(self._say(f"balance: {balance} nl; {pump.ledger()}"))
        core, report = pump.core, pump.delivery()
        most = pump.limits().daily_dose_hard_max_ng
        if core.rate_nl_per_day and report.window_24h_ng > most:
            raise Broken(self._say(f"24-h dose: {report.window_24h_ng} ng is above {most}"))
        if report.window_1h_nl > pump.profile.window_1h_nl:
            raise Broken(self._say(f"1-h volume: {report.window_1h_nl} nl is above {pump.profile.window_1h_nl}"))
        if core.rate_nl_per_day and not (core.running and not core.ended and core.powered and not core.empty):
            raise Broken(self._say(f"strokes in mode {core.mode}"))
        if core.reservoir.true_volume < 0 or core.reservoir.calculated < 0:
            raise Broken(self._say("a volume is negative"))

    def _say(self, what: str) -> str:
        return "\n".join([what, f"at {self.whole.now_ms} and {self.cut.now_ms}", *self.done])


def _flat(snapshot: dict[str, object]) -> dict[str, object]:
    """The parts of a snapshot one level down, by ``part.name``."""
    return {
        f"{part}.{name}": value
        for part, content in snapshot.items()
        for name, value in (content.items() if isinstance(content, dict) else [("", content)])
    }


def twins(rng: Random) -> Twins:
    """Two pumps of any profile and filling."""
    profile = load_profile(rng.choice(PROFILES))
    if rng.randrange(3) == 0:
        profile = replace(profile, rate_error_ppm=rng.randint(-145_000, 145_000))
    shelf = rng.randrange(12) == 0
    capacity = profile.reservoir_capacity_nl
    return Twins(profile, rng.choice((capacity, rng.randint(1, capacity), rng.randint(1, 100_000))), shelf)


def play(rng: Random, length: int) -> Twins:
    """One programme of so many acts, each followed by a span of time; raises ``Broken``."""
    pair = twins(rng)
    for _ in range(length):
        pair.act(rng.choice(NAMES), rng)
        span_ms = rng.choice((0, rng.randrange(5_000), rng.randrange(2 * MS_PER_HOUR), rng.randrange(MS_PER_DAY)))
        if rng.randrange(5) == 0:
            span_ms = rng.randrange(_LONGEST_MS)
        pair.live(span_ms, [rng.randrange(span_ms + 1) for _ in range(rng.randrange(_MOST_CUTS))])
    pair.finish()
    return pair

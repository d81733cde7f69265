"""Every kind of change that a programmer can ask for, twice: over the wire, and as the same act at the bench.

What is drawn depends on the pump that it is drawn for, and on one source of randomness.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from telemetry.model import Activity, Change, OperationKind, PumpMode, RefusalReason, Role, StopReason, Warn
from telemetry.programmer import Programmer
from telemetry.programmer.therapy import daily_total_ng
from telemetry.sim.pump.device import PumpDevice
from telemetry.sim.pump.prescribing import Bridge, program_for
from telemetry.therapy import AlarmSettings, PatientBolusRule, PeriodicBolus, ScheduleStep, Therapy, TitrationStep
from telemetry.units import Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from random import Random

EVERY_WARNING = tuple(Warn)
_UL = 1_000
_SECOND_MS = 1_000
_HOUR_S = 3_600
_TOO_SLOW = FlowRate(5_000)
_TOO_FAST = FlowRate(40_000_000)
_LITTLE_LEFT_NL = 4_000_000

_MEASURED = frozenset({RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT.value})
_UNACCEPTED = _MEASURED | {RefusalReason.WARNINGS_NOT_ACCEPTED.value}

Send = Callable[[Programmer], Awaitable[Change]]
Act = Callable[[PumpDevice], object]


@dataclass(frozen=True, slots=True)
class Command:
    """One change. ``send`` asks for it over the wire, ``act`` does it at the bench, which raises what the pump would.

    ``wire_only``: refusals that the wire alone knows, for the bench accepts every warning and measures no change.
    ``needle``: what moves before it is sent.
    """

    kind: OperationKind
    words: str
    send: Send
    act: Act
    role: Role = Role.CLINICIAN
    wire_only: frozenset[str] = _MEASURED
    needle: Act | None = None

    def __str__(self) -> str:
        return self.words


def draw(device: PumpDevice, rng: Random) -> Command:
    """Some change of this pump; most of them a sound pump applies."""
    stopped = not device.core.running
    if stopped and rng.randrange(3):
        return resume()
    if device.core.reservoir.calculated_nl < _LITTLE_LEFT_NL and device.core.activity is None:
        return refill(device, rng)
    kinds = [kind for kind in _WEIGHTS for _ in range(_WEIGHTS[kind])]
    kind = rng.choice(kinds)
    if kind is OperationKind.PATIENT_BOLUS and not device.profile.patient_bolus_allowed and rng.randrange(5):
        kind = OperationKind.BOLUS
    return of_kind(kind, device, rng)


_WEIGHTS = {
    OperationKind.PROGRAM: 28,
    OperationKind.BOLUS: 16,
    OperationKind.PATIENT_BOLUS: 10,
    OperationKind.PRIME: 8,
    OperationKind.REFILL: 14,
    OperationKind.LIMITS: 6,
    OperationKind.CLOCK: 6,
    OperationKind.ALARM_SETTINGS: 6,
    OperationKind.STOP: 4,
    OperationKind.RESUME: 2,
}
"""Of a hundred drawn; a stopped pump is resumed more often, an empty one filled."""


def of_kind(kind: OperationKind, device: PumpDevice, rng: Random) -> Command:
    """Some change of this kind."""
    if kind in _PLAIN:
        return _PLAIN[kind]()
    return _DRAWN[kind](device, rng)


# --- therapies -------------------------------------------------------------------------------------------------------


def program(device: PumpDevice, rng: Random) -> Command:
    """A therapy of any mode; now and then one that breaks a limit."""
    kind = rng.randrange(100)
    if kind < 8:
        rate = _TOO_SLOW if kind < 4 else _TOO_FAST
        return _set_rate(rate, EVERY_WARNING)
    if kind < 14:
        return _set_rate(_far_dose(device, rng), (), _UNACCEPTED)
    if kind < (20 if device.profile.patient_bolus_allowed else 40):
        return _set_rate(_some_dose(device, rng), EVERY_WARNING)
    wanted = therapy(device, rng)
    return Command(
        OperationKind.PROGRAM,
        f"program {wanted}",
        lambda programmer: programmer.program(wanted, bridge=False, accept=EVERY_WARNING),
        lambda pump: pump.program(wanted),
    )


def _set_rate(rate: FlowRate | DailyDose, accept: tuple[Warn, ...], wire_only: frozenset[str] = _MEASURED) -> Command:
    return Command(
        OperationKind.PROGRAM,
        f"set rate {rate}",
        lambda programmer: programmer.program(Therapy.simple_continuous(rate), bridge=False, accept=accept),
        lambda pump: pump.program(Therapy.simple_continuous(rate)),
        wire_only=wire_only,
    )


def therapy(device: PumpDevice, rng: Random) -> Therapy:
    """A therapy of any mode near the profile's usual daily dose."""
    mode = rng.choice(("simple", "simple", "flex", "weekday", "periodic", "titration", "minimum"))
    rule = _patient_rule(device, rng)
    if mode == "minimum":
        return Therapy.minimum_rate()
    if mode in {"flex", "weekday"}:
        groups = (0x7F,) if mode == "flex" else (0x1F, 0x60)
        steps = tuple(
            ScheduleStep(minute, _some_dose(device, rng), days)
            for days in groups
            for minute in (0, *sorted(rng.sample(range(1, 1_440), rng.randint(1, 5))))
        )
        return Therapy(PumpMode(mode), steps=steps, patient_bolus=rule)
    if mode == "periodic":
        bolus = PeriodicBolus(_little(device, rng), _seconds(rng, 60, 1_200), _seconds(rng, 5_000, 40_000))
        return Therapy(PumpMode.PERIODIC_BOLUS, _some_dose(device, rng), bolus=bolus, patient_bolus=rule)
    if mode == "titration":
        ramp = tuple(TitrationStep(rng.randint(1, 5), _some_dose(device, rng)) for _ in range(rng.randint(1, 4)))
        return Therapy(PumpMode.TITRATION, ramp=ramp, patient_bolus=rule)
    return Therapy(PumpMode.SIMPLE_CONTINUOUS, _some_dose(device, rng), patient_bolus=rule)


def _patient_rule(device: PumpDevice, rng: Random) -> PatientBolusRule | None:
    if not device.profile.patient_bolus_allowed or rng.randrange(6) == 0:
        return None
    return PatientBolusRule(_little(device, rng), _seconds(rng, 60, 900), _seconds(rng, 600, 7_200), rng.randint(2, 6))


def _usual_ng(device: PumpDevice) -> int:
    profile = device.profile
    return profile.start_rate_nl_per_day * profile.start_concentration_ng_per_ml // 1_000_000


def _far_dose(device: PumpDevice, rng: Random) -> DailyDose:
    """A change that must be accepted by name."""
    return DailyDose(_usual_ng(device) * rng.randint(160, 170) // 100)


def _some_dose(device: PumpDevice, rng: Random) -> DailyDose:
    return DailyDose(_usual_ng(device) * rng.randint(90, 118) // 100)


def _little(device: PumpDevice, rng: Random) -> Dose:
    """A bolus that a day can hold several times."""
    return Dose(_usual_ng(device) * rng.randint(2, 8) // 100)


def _seconds(rng: Random, least: int, most: int) -> Duration:
    return Duration(rng.randint(least, most) * _SECOND_MS)


# --- boluses and primes ----------------------------------------------------------------------------------------------


def bolus(device: PumpDevice, rng: Random) -> Command:
    """A bolus; now and then one beyond the hard limit, or beyond the soft one without saying so."""
    duration, kind = _seconds(rng, 60, 2 * _HOUR_S), rng.randrange(100)
    hard_ng, soft_ng = device.limits().bolus_dose_hard_max_ng, device.limits().bolus_dose_soft_max_ng
    amount, accept, wire_only = _little(device, rng), EVERY_WARNING, _MEASURED
    if kind < 8:
        amount = Dose(hard_ng + rng.randint(1, 10_000))
    elif kind < 14:
        amount, accept = Dose(soft_ng + rng.randint(1, 10_000)), ()
        wire_only = _UNACCEPTED
    return Command(
        OperationKind.BOLUS,
        f"bolus {amount} in {duration}",
        lambda programmer: programmer.bolus(amount, duration, accept=accept),
        lambda pump: pump.bolus(amount, duration),
        wire_only=wire_only,
    )


def patient_bolus() -> Command:
    """The patient's button."""
    return Command(
        OperationKind.PATIENT_BOLUS,
        "patient bolus",
        lambda programmer: programmer.patient_bolus(),
        lambda pump: pump.patient_bolus_at_bench(),
        role=Role.PATIENT,
    )


def prime(device: PumpDevice, rng: Random) -> Command:
    """A prime of some of the path; now and then of far too much."""
    path_nl = device.profile.labelled_path_volume_nl
    volume = Volume(3 * path_nl if rng.randrange(10) == 0 else rng.randint(10 * _UL, path_nl))
    rate = FlowRate(rng.randint(device.profile.prime_rate_nl_per_day // 20, device.profile.prime_rate_nl_per_day))
    return Command(
        OperationKind.PRIME,
        f"prime {volume} at {rate}",
        lambda programmer: programmer.prime(volume, rate=rate, accept=EVERY_WARNING),
        lambda pump: pump.prime(volume, rate),
    )


# --- refill ----------------------------------------------------------------------------------------------------------


def refill(device: PumpDevice, rng: Random) -> Command:
    """Needle and books: any listed concentration, with a bridge where it is another one (most of the time)."""
    profile = device.profile
    capacity_nl = profile.reservoir_capacity_nl
    volume = Volume(rng.randint(capacity_nl // 2, capacity_nl))
    strength = Concentration(rng.choice(profile.concentrations_ng_per_ml))
    same = strength.ng_per_ml == device.core.concentration_ng_per_ml
    bridge = not (same or device.core.bridge_to_give) and rng.randrange(4) > 0  # a driver does not bridge twice
    wanted = therapy(device, rng)
    withdrawn = Volume(device.core.reservoir.calculated_nl)

    def needle(pump: PumpDevice) -> None:
        pump.withdraw(None)
        pump.fill(volume, strength, "reservoir")

    def first(pump: PumpDevice) -> Bridge:
        """The bridge that a programmer works out: at the dose of the new program's day."""
        total_ng = daily_total_ng(program_for(pump.core, wanted, strength.ng_per_ml, 0))
        return Bridge(rate=DailyDose(total_ng))

    return Command(
        OperationKind.REFILL,
        f"refill {volume} of {strength}, {wanted}, {'a' if bridge else 'no'} bridge",
        lambda programmer: programmer.refill(
            volume, strength, wanted, withdrawn=withdrawn, bridge=bridge, accept=EVERY_WARNING
        ),
        lambda pump: pump.tell_refill(volume, strength, wanted, withdrawn=withdrawn, bridge=bridge and first(pump)),
        needle=needle,
    )


# --- settings --------------------------------------------------------------------------------------------------------


def limits(device: PumpDevice, rng: Random) -> Command:
    """A clinician's limits inside the device's; now and then one outside."""
    profile, present = device.profile, device.limits()
    hard_ng = profile.daily_dose_hard_max_ng
    wanted = replace(
        present,
        daily_dose_hard_max_ng=rng.randint(present.daily_dose_soft_max_ng, hard_ng)
        + (rng.randrange(10) == 0) * hard_ng,
        low_reservoir_alarm_nl=rng.randint(profile.low_reservoir_alarm_floor_nl, 4_000_000),
    )
    return Command(
        OperationKind.LIMITS,
        f"limits {wanted.daily_dose_hard_max_ng} ng, {wanted.low_reservoir_alarm_nl} nl",
        lambda programmer: programmer.set_limits(wanted, accept=EVERY_WARNING),
        lambda pump: pump.set_limits(wanted),
    )


def alarm_settings(device: PumpDevice, rng: Random) -> Command:
    """The alarms that a clinician may set."""
    volume = Volume(rng.randint(device.profile.low_reservoir_alarm_floor_nl, 4_000_000))
    low, battery = rng.random() < 0.5, rng.random() < 0.5
    return Command(
        OperationKind.ALARM_SETTINGS,
        f"alarms {volume} {low} {battery}",
        lambda programmer: programmer.configure_alarms(
            low_reservoir=volume, low_reservoir_enabled=low, elective_replacement_enabled=battery, accept=EVERY_WARNING
        ),
        lambda pump: pump.configure_alarms(AlarmSettings(volume.nl, low, battery)),
    )


def clock(device: PumpDevice, rng: Random) -> Command:
    """The wall clock, some hours off, and a zone."""
    utc_s = max(
        0, device.core.clock.utc_s(device.now_ms) + rng.choice((-_HOUR_S, _HOUR_S, rng.randint(-40_000, 40_000)))
    )
    zone = rng.choice((0, 60, 120, -300, 345))
    return Command(
        OperationKind.CLOCK,
        f"clock {utc_s} {zone:+}",
        lambda programmer: programmer.set_clock(utc_s, zone, accept=EVERY_WARNING),
        lambda pump: pump.set_clock(utc_s, zone),
    )


def stop() -> Command:
    """Stop, in one step."""
    return Command(
        OperationKind.STOP,
        "stop",
        lambda programmer: programmer.stop(StopReason.BENCH),
        lambda pump: pump.stop_at_bench(),
    )


def resume() -> Command:
    """Resume what is stopped."""
    return Command(
        OperationKind.RESUME,
        "resume",
        lambda programmer: programmer.resume(accept=EVERY_WARNING),
        lambda pump: pump.resume_at_bench(),
    )


_PLAIN: dict[OperationKind, Callable[[], Command]] = {
    OperationKind.PATIENT_BOLUS: patient_bolus,
    OperationKind.STOP: stop,
    OperationKind.RESUME: resume,
}
_DRAWN: dict[OperationKind, Callable[[PumpDevice, Random], Command]] = {
    OperationKind.PROGRAM: program,
    OperationKind.BOLUS: bolus,
    OperationKind.PRIME: prime,
    OperationKind.REFILL: refill,
    OperationKind.LIMITS: limits,
    OperationKind.CLOCK: clock,
    OperationKind.ALARM_SETTINGS: alarm_settings,
}


def busy_with(device: PumpDevice) -> Activity:
    """What runs on top of the program now."""
    running = device.core.activity
    return Activity.NONE if running is None else running.kind

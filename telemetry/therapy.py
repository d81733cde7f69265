"""Therapies: what a clinician wants (``Therapy``) and what the pump carries out (``Program``), part for part.

A ``Therapy`` is written in flows or doses; a ``Program`` holds both as integers against one concentration. Days are
bits of a mask, Monday is bit 0. Times of day are minutes after the pump's own midnight.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from telemetry.errors import UsageError
from telemetry.model import Drug, PumpMode
from telemetry.units import DailyDose, Dose, Duration, FlowRate, HourlyDose, Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Rate = FlowRate | DailyDose | HourlyDose
"""How fast: as flow or as dose."""
Amount = Volume | Dose
"""How much at once: as volume or as dose."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = 0x7F
MINUTES_PER_DAY = 1_440
_TIME = re.compile(r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")
_MODES_WITH_STEPS = frozenset({PumpMode.FLEX, PumpMode.WEEKDAY})
_MODES_WITH_RATE = frozenset({PumpMode.SIMPLE_CONTINUOUS, PumpMode.PERIODIC_BOLUS})


@dataclass(frozen=True, slots=True)
class ScheduleStep:
    """From ``start_minute`` of the days in ``days`` on: this rate, until the next step of that day, or midnight."""

    start_minute: int
    rate: Rate
    days: int = EVERY_DAY

    def __post_init__(self) -> None:
        _need_rate("schedule step rate", self.rate)
        if not 0 <= self.start_minute < MINUTES_PER_DAY:
            raise UsageError(f"schedule step start: minute {self.start_minute} is outside 0 to {MINUTES_PER_DAY - 1}")
        if not 0 < self.days <= EVERY_DAY:
            raise UsageError(f"schedule step days: {self.days} is no mask of days (1 to {EVERY_DAY}, Monday is bit 0)")


@dataclass(frozen=True, slots=True)
class PeriodicBolus:
    """A bolus every ``interval`` on top of the basal; the first one ``first_in`` after the commit."""

    amount: Amount
    duration: Duration
    interval: Duration
    first_in: Duration = Duration(0)  # noqa: RUF009 - a frozen quantity

    def __post_init__(self) -> None:
        _need_amount("periodic bolus", self.amount)
        _need_seconds("periodic bolus duration", self.duration, least=1)
        _need_seconds("periodic bolus interval", self.interval, least=1)
        _need_seconds("periodic bolus first_in", self.first_in, least=0)


@dataclass(frozen=True, slots=True)
class TitrationStep:
    """This rate for so many days of delivery."""

    days: int
    rate: Rate

    def __post_init__(self) -> None:
        _need_rate("titration step rate", self.rate)
        if type(self.days) is not int or not 0 < self.days <= 0xFFFF:
            raise UsageError(f"titration step days: {self.days!r} is no whole number from 1 to {0xFFFF}")


@dataclass(frozen=True, slots=True)
class PatientBolusRule:
    """What a patient may give: one bolus, its duration, the lock-out after it, how many in any 24 hours."""

    amount: Amount
    duration: Duration
    lockout: Duration
    max_per_24h: int

    def __post_init__(self) -> None:
        _need_amount("patient bolus", self.amount)
        _need_seconds("patient bolus duration", self.duration, least=1)
        _need_seconds("patient bolus lockout", self.lockout, least=0)
        if type(self.max_per_24h) is not int or not 0 < self.max_per_24h <= 255:
            raise UsageError(f"patient bolus max_per_24h: {self.max_per_24h!r} is no whole number from 1 to 255")


@dataclass(frozen=True, slots=True)
class Therapy:
    """What a clinician wants: a mode and its parts, in flows or doses.

    A dose becomes a flow only against the concentration in the reservoir, on the pump's side of the read-back.
    ``ramp`` ends in its last step's rate for good. ``patient_bolus`` may go with any mode that delivers.
    Raises ``UsageError`` for parts that do not belong to the mode.
    """

    mode: PumpMode
    rate: Rate | None = None
    steps: tuple[ScheduleStep, ...] = ()
    bolus: PeriodicBolus | None = None
    ramp: tuple[TitrationStep, ...] = ()
    patient_bolus: PatientBolusRule | None = None

    def __post_init__(self) -> None:
        known = (*_MODES_WITH_RATE, *_MODES_WITH_STEPS, PumpMode.TITRATION, PumpMode.MINIMUM_RATE)
        if self.mode not in known:
            raise UsageError(f"therapy mode: {self.mode} is a state of the pump, not something to program")
        if self.mode in _MODES_WITH_RATE:
            _need_rate("therapy rate", self.rate)
        elif self.rate is not None:
            hint = "the minimum rate is the pump's own" if self.mode is PumpMode.MINIMUM_RATE else "its steps say it"
            raise UsageError(f"therapy rate: {hint}; give no rate with {self.mode}")
        for name, belongs in (
            ("steps", self.mode in _MODES_WITH_STEPS),
            ("ramp", self.mode is PumpMode.TITRATION),
            ("bolus", self.mode is PumpMode.PERIODIC_BOLUS),
        ):
            if bool(getattr(self, name)) is not belongs:
                raise UsageError(f"therapy {name}: {'missing from' if belongs else 'does not belong to'} {self.mode}")
        if self.patient_bolus is not None and self.mode is PumpMode.MINIMUM_RATE:
            raise UsageError("therapy patient_bolus: does not belong to minimum_rate")

    @classmethod
    def simple_continuous(cls, rate: Rate) -> Self:
        """A constant rate."""
        return cls(PumpMode.SIMPLE_CONTINUOUS, rate)

    @classmethod
    def minimum_rate(cls) -> Self:
        """The pump's keep-alive flow, which keeps the tube from taking a set (domain.md 2.3)."""
        return cls(PumpMode.MINIMUM_RATE)

    @classmethod
    def flex(cls, steps: Mapping[str, Rate]) -> Self:
        """The same day every day: ``{"00:00": rate, "22:00": rate}``; the first step starts at 00:00."""
        return cls(PumpMode.FLEX, steps=_day(steps, EVERY_DAY))

    @classmethod
    def weekday(cls, days: Mapping[str, Mapping[str, Rate]]) -> Self:
        """A day for each group of days: ``{"mon-fri": {"00:00": rate}, "sat,sun": {"00:00": rate}}``."""
        steps: list[ScheduleStep] = []
        for names, day in days.items():
            steps += _day(day, parse_days(names))
        return cls(PumpMode.WEEKDAY, steps=tuple(steps))

    @classmethod
    def periodic_bolus(
        cls, basal: Rate, amount: Amount, duration: Duration, interval: Duration, first_in: Duration | None = None
    ) -> Self:
        """A basal rate and a bolus every interval; the first after ``first_in`` (one interval unless given)."""
        wait = interval if first_in is None else first_in
        return cls(PumpMode.PERIODIC_BOLUS, basal, bolus=PeriodicBolus(amount, duration, interval, wait))

    @classmethod
    def titration(cls, steps: Iterable[tuple[int, Rate]]) -> Self:
        """A ramp of (days, rate); the last rate stays."""
        return cls(PumpMode.TITRATION, ramp=tuple(TitrationStep(days, rate) for days, rate in steps))


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One step of a schedule as the pump holds it; ``dose_ng_per_day`` is its rate's, not its share of the day."""

    days: int
    start_minute: int
    rate_nl_per_day: int
    dose_ng_per_day: int


@dataclass(frozen=True, slots=True)
class ProgramBolus:
    """The periodic bolus as the pump holds it."""

    volume_nl: int
    dose_ng: int
    duration_s: int
    interval_s: int
    first_in_s: int


@dataclass(frozen=True, slots=True)
class ProgramRampStep:
    """One step of a titration ramp as the pump holds it."""

    days: int
    rate_nl_per_day: int
    dose_ng_per_day: int


@dataclass(frozen=True, slots=True)
class ProgramPatientBolus:
    """The patient's bolus as the pump holds it."""

    volume_nl: int
    dose_ng: int
    duration_s: int
    lockout_s: int
    max_per_24h: int


@dataclass(frozen=True, slots=True)
class ProgramBridge:
    """The bridge bolus: ``volume_nl`` of the *old* drug leaves the tip at this rate before the program begins.

    ``dose_ng_per_day`` is the rate's dose at the old concentration (domain.md 2.7).
    """

    volume_nl: int
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int


@dataclass(frozen=True, slots=True)
class Program:
    """A committed prescription: dose *and* volume, bound to one reservoir of one drug.

    ``rate_nl_per_day`` and ``dose_ng_per_day`` are the constant rate (simple, minimum), the basal (periodic bolus), the
    first step (titration), or the total of the day with the highest dose (flex, weekday).
    """

    mode: PumpMode
    rate_nl_per_day: int
    dose_ng_per_day: int
    concentration_ng_per_ml: int
    drug: Drug
    reservoir_generation: int
    steps: tuple[ProgramStep, ...] = ()
    bolus: ProgramBolus | None = None
    ramp: tuple[ProgramRampStep, ...] = ()
    patient_bolus: ProgramPatientBolus | None = None
    bridge: ProgramBridge | None = None


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """The program in force with the pump's name for it: its sequence number and digest."""

    program: Program
    program_sequence: int
    program_digest: bytes
    stopped: bool


@dataclass(frozen=True, slots=True)
class BolusOrder:
    """One bolus to be given now: volume and dose agree at this concentration."""

    volume_nl: int
    dose_ng: int
    duration_s: int
    concentration_ng_per_ml: int
    reservoir_generation: int


@dataclass(frozen=True, slots=True)
class PrimeOrder:
    """A fast delivery of a volume to fill the path; the basal waits meanwhile."""

    volume_nl: int
    rate_nl_per_day: int
    concentration_ng_per_ml: int
    reservoir_generation: int


@dataclass(frozen=True, slots=True)
class RefillOrder:
    """What a refill tells the pump, with the program that goes with it (its bridge included) as one prescription.

    ``volume_nl`` is in the reservoir now; ``withdrawn_nl`` was taken out before. The program's drug, concentration and
    generation (one above the present) are the new binding.
    """

    volume_nl: int
    withdrawn_nl: int
    program: Program


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """The pump's wall clock and zone as they shall be; ``zone_minutes`` east of UTC."""

    utc_s: int
    zone_minutes: int


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """What a clinician may set of the alarms (domain.md 2.5)."""

    low_reservoir_alarm_nl: int
    low_reservoir_enabled: bool
    elective_replacement_enabled: bool


def parse_minute(text: str) -> int:
    """``"06:30"`` as minutes after midnight; raises ``UsageError`` showing the form."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"time of day: {text!r} is not of the form 06:30 (00:00 to 23:59)")
    return int(match["hour"]) * 60 + int(match["minute"])


def parse_days(text: str) -> int:
    """``"mon-fri"``, ``"sat,sun"``, ``"all"`` as a mask; raises ``UsageError`` listing the names."""
    if text.strip().lower() == "all":
        return EVERY_DAY
    mask = 0
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        try:
            start, end = DAYS.index(first), DAYS.index(last or first)
        except ValueError:
            raise UsageError(f"days: {part.strip()!r} in {text!r} is unknown; days are {', '.join(DAYS)}") from None
        day = start
        while True:
            mask |= 1 << day
            if day == end:
                break
            day = (day + 1) % len(DAYS)
    return mask


def _day(steps: Mapping[str, Rate], days: int) -> tuple[ScheduleStep, ...]:
    ordered = sorted(((parse_minute(text), rate) for text, rate in steps.items()), key=lambda pair: pair[0])
    return tuple(ScheduleStep(minute, rate, days) for minute, rate in ordered)


def _need_rate(name: str, rate: object) -> None:
    if not isinstance(rate, FlowRate | DailyDose | HourlyDose):
        raise UsageError(f"{name}: {rate!r} is no FlowRate, DailyDose or HourlyDose")


def _need_amount(name: str, amount: object) -> None:
    if not isinstance(amount, Volume | Dose):
        raise UsageError(f"{name}: {amount!r} is no Volume or Dose; a bare number has no unit")


def _need_seconds(name: str, span: object, *, least: int) -> None:
    if not isinstance(span, Duration) or span.ms % 1_000 or span.ms < least * 1_000:
        raise UsageError(f"{name}: {span!r} is no whole number of seconds of at least {least}")

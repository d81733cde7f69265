"""``VirtualPump``: a pump on a clock, synchronous and without I/O, as tests and people use it at the bench."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Self

from telemetry.clock import Clock, ManualClock, span_ms
from telemetry.errors import UsageError
from telemetry.sim.profiles import DEFAULT_PROFILE, load_profile
from telemetry.sim.pump.battery import service_ages_ms
from telemetry.sim.pump.device import PUMP_ID_SIZE, PumpDevice
from telemetry.sim.pump.medium import Medium
from telemetry.sim.pump.profile import PumpProfile
from telemetry.units import (
    MS_PER_DAY,
    Charge,
    Concentration,
    DailyDose,
    Duration,
    FlowRate,
    Quantity,
    Volume,
)

if TYPE_CHECKING:
    from telemetry.model import DrugLedger, GroundTruth, PumpEvent, PumpStatus, Therapy
    from telemetry.sim.pump.bench import RefillReport
    from telemetry.sim.pump.ledger import OperationRecord
    from telemetry.transport.base import Receiver, Transport

FORMAT = "itb-virtual-pump"
VERSION = 1
FIXED_EPOCH_UTC_S = 1_767_225_600
"""2026-01-01T00:00:00Z: the pump's epoch under a ``ManualClock`` (interfaces.md)."""
KEPT_EVENTS = 10_000
EVENT_LIMIT_DAYS = 3660
FAULTS = ("memory_error", "power_cut")
_KEYS = ("format", "version", "seed", "device")
_MILESTONES = ("ERI", "EOS")
_SUFFIXES: dict[str, type[Quantity]] = {
    "_nl": Volume,
    "_nl_per_day": FlowRate,
    "_ng_per_ml": Concentration,
    "_ng": DailyDose,
    "_ms": Duration,
    "_pc": Charge,
}
_NOT_OVERRIDABLE = frozenset({"name", "drug", "alarms"})


class VirtualPump:
    """A virtual pump; time is its clock's therapy time.

    ``profile``: a name of ``list_profiles()``, a path ending in ``.toml``, or a ``PumpProfile``; any field of it can
    be overridden by keyword (``low_reservoir_alarm_nl=Volume.parse("3 ml")``, plain integers count the unit in the
    name). ``fill``, ``concentration``, ``age`` (``"3 y"``, ``"ERI-1d"``, ``"EOS-2 h"`` or a ``Duration``): the state
    at t = 0. ``pump_id`` (8 bytes) comes from ``seed`` and ``serial`` unless given; ``seed=None`` needs it.
    Raises ``UsageError`` naming field, value and rule.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of a pump, all by name
        self,
        profile: str | PumpProfile = DEFAULT_PROFILE,
        seed: int | None = 0,
        clock: Clock | None = None,
        *,
        rate_error_ppm: int | None = None,
        fill: Volume | None = None,
        concentration: Concentration | None = None,
        age: str | Duration | None = None,
        serial: str | None = None,
        epoch_utc_s: int = FIXED_EPOCH_UTC_S,
        pump_id: bytes | None = None,
        **overrides: int | str | Quantity,
    ) -> None:
        family = load_profile(profile) if isinstance(profile, str) else profile
        family = _override(family, overrides)
        if seed is None and pump_id is None:
            raise UsageError("pump_id: a pump without a seed needs one: 8 random bytes")
        if seed is not None and (type(seed) is not int or seed < 0):
            raise UsageError(f"seed: {seed!r} is no whole number from 0 on")
        _need("fill", fill, Volume)
        _need("concentration", concentration, Concentration)
        self._clock: Clock = ManualClock() if clock is None else clock
        self._seed = seed
        name = family.serial if serial is None else serial
        device = PumpDevice(
            family,
            Medium(),
            epoch_utc_s=epoch_utc_s,
            pump_id=pump_id_of(seed or 0, name) if pump_id is None else pump_id,
            now_ms=self._clock.therapy_ms(),
            serial=name,
            rate_error_ppm=rate_error_ppm,
            fill_nl=None if fill is None else fill.nl,
            concentration_ng_per_ml=None if concentration is None else concentration.ng_per_ml,
            age_ms=parse_age_ms(age, family),
        )
        self._adopt(device)

    def _adopt(self, device: PumpDevice) -> None:
        self._device = device
        self._events: deque[PumpEvent] = deque(maxlen=KEPT_EVENTS)
        device.subscribe(self._events.append)

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock whose therapy time the pump lives by."""
        return self._clock

    @property
    def seed(self) -> int | None:
        """What everything random about this pump is derived from; None when entropy was given instead."""
        return self._seed

    @property
    def device(self) -> PumpDevice:
        """The device itself, brought to the clock's therapy time."""
        self.sync()
        return self._device

    @property
    def now_ms(self) -> int:
        """Pump time in ms."""
        return self._clock.therapy_ms()

    def sync(self) -> None:
        """Bring the device to the clock's therapy time; what happens on the way is kept for ``take_events``."""
        self._device.advance_to(self._clock.therapy_ms())

    def take_events(self) -> list[PumpEvent]:
        """What happened since this, ``advance`` or ``advance_to`` was last called (at most the newest 10 000)."""
        self.sync()
        events = list(self._events)
        self._events.clear()
        return events

    def advance(
        self, *, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0, ms: int = 0
    ) -> list[PumpEvent]:
        """Let time pass; every event with its exact instant.

        Raises ``UsageError`` for a negative or fractional part and for a clock that is not ours to move.
        """
        return self.advance_to(self.now_ms + span_ms(days=days, hours=hours, minutes=minutes, seconds=seconds, ms=ms))

    def advance_to(self, now_ms: int) -> list[PumpEvent]:
        """Let time pass up to an instant; raises ``UsageError`` like ``advance``."""
        self._manual().advance_to(now_ms)
        return self.take_events()

    def advance_until(
        self, kind: str, detail: str | None = None, *, limit_days: int = EVENT_LIMIT_DAYS
    ) -> list[PumpEvent]:
        """Let time pass up to the next event of that kind; all events up to it, itself last.

        Raises ``UsageError`` when it does not come within ``limit_days``; time has then passed up to that limit.
        """
        clock = self._manual()
        events = self.take_events()
        limit_ms = self.now_ms + span_ms(days=limit_days)
        while (at_ms := self._device.next_event_ms()) is not None and at_ms <= limit_ms:
            clock.advance_to(at_ms)
            for event in self.take_events():
                events.append(event)
                if event.kind == kind and detail in {None, event.detail}:
                    return events
        clock.advance_to(limit_ms)
        seen = sorted({f"{event.kind} {event.detail}".strip() for event in (*events, *self.take_events())})
        wanted = kind if detail is None else f"{kind} {detail}"
        raise UsageError(
            f"kind: {wanted!r} did not come within {limit_days} days; what came: {', '.join(seen) or 'nothing'}"
        )

    def _manual(self) -> ManualClock:
        if not isinstance(self._clock, ManualClock):
            raise UsageError(
                f"clock: a {type(self._clock).__name__} is moved by its owner; advance() needs a ManualClock"
            )
        return self._clock

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> PumpStatus:
        """What telemetry would say now."""
        return self.device.status()

    @property
    def truth(self) -> GroundTruth:
        """What is so now."""
        return self.device.truth()

    @property
    def ledger(self) -> DrugLedger:
        """Where every nanolitre went."""
        return self.device.ledger()

    # --- acting ------------------------------------------------------------------------------------------------------

    def program(self, therapy: Therapy) -> OperationRecord:
        """Program a therapy at the bench; raises ``Refused`` naming the rule it breaks."""
        return self.device.program(therapy)

    def refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
    ) -> RefillReport:
        """Withdraw the residual, fill (full by default), bind and commit anew; raises ``UsageError``, ``Refused``."""
        _need("volume", volume, Volume)
        _need("concentration", concentration, Concentration)
        return self.device.refill(volume, concentration, therapy)

    def stop(self) -> OperationRecord:
        """Stop delivery at the bench."""
        return self.device.stop_at_bench()

    def resume(self) -> OperationRecord:
        """Resume at the bench, warnings accepted; raises ``Refused`` when that cannot be."""
        return self.device.resume_at_bench()

    def inject(self, fault: str, *, page: str = "bank_a", bit: int = 0) -> None:
        """Apply a fault now: ``memory_error`` flips one bit of a memory page, ``power_cut`` cuts power and boots.

        Raises ``UsageError`` for an unknown fault, page or bit, listing what there is.
        """
        if fault == "memory_error":
            self.device.flip_bit(page, bit)
        elif fault == "power_cut":
            device = self.device
            device.power_cut()
            device.boot()
        else:
            raise UsageError(f"fault: {fault!r} is unknown; known: {', '.join(FAULTS)}")

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to a telemeter lying over this pump; what ``telemetry.connect(pump=…)`` opens."""
        from telemetry.sim.connector import connect_pump  # noqa: PLC0415 - a pump alone needs no protocol

        return await connect_pump(self, receiver)

    # --- keeping -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Everything, JSON-able and versioned."""
        return {"format": FORMAT, "version": VERSION, "seed": self._seed, "device": self.device.snapshot()}

    @classmethod
    def restore(cls, snapshot: object, clock: Clock | None = None) -> Self:
        """The pump of a snapshot, continuing identically with a raised boot epoch.

        Without a clock it gets a ``ManualClock`` at the snapshot's instant; a given clock must not be behind it.
        Raises ``UsageError`` naming what is wrong.
        """
        if not isinstance(snapshot, dict) or set(snapshot) != set(_KEYS):
            raise UsageError(f"snapshot: is no table with exactly the keys {', '.join(_KEYS)}")
        if snapshot["format"] != FORMAT or snapshot["version"] != VERSION:
            raise UsageError(
                f"snapshot: {snapshot['format']!r} version {snapshot['version']!r}; "
                f"this program restores {FORMAT} version {VERSION}"
            )
        if snapshot["seed"] is not None and type(snapshot["seed"]) is not int:
            raise UsageError(f"snapshot seed: {snapshot['seed']!r} is no whole number")
        pump = cls.__new__(cls)
        device = PumpDevice.restore(snapshot["device"])
        pump._clock = ManualClock(device.now_ms) if clock is None else clock  # noqa: SLF001 - our own half-made object
        if pump.now_ms < device.now_ms:
            raise UsageError(f"clock: reads {pump.now_ms} ms, before the snapshot's {device.now_ms}; start it there")
        pump._seed = snapshot["seed"]  # noqa: SLF001 - as above
        pump._adopt(device)  # noqa: SLF001 - as above
        return pump


def pump_id_of(seed: int, serial: str) -> bytes:
    """Eight bytes from seed and serial: the same pump every time, another for another."""
    return hashlib.sha256(f"pump {seed} {serial}".encode()).digest()[:PUMP_ID_SIZE]


def parse_age_ms(age: str | Duration | None, profile: PumpProfile) -> int:
    """An age in ms: a duration, or a time before a milestone (``ERI-1d``, ``EOS-2 h``) at the start rate.

    Raises ``UsageError`` naming both forms.
    """
    if age is None:
        return 0
    if isinstance(age, Duration):
        return age.ms
    match = re.fullmatch(r"(?P<milestone>[A-Z]+)\s*-\s*(?P<lead>.+)", str(age))
    if match is None:
        try:
            return Duration.parse(str(age)).ms
        except UsageError as error:
            raise UsageError(f"age: {error}; or a time before a milestone, such as ERI-1d") from None
    if match["milestone"] not in _MILESTONES:
        raise UsageError(f"age: {age!r} names no milestone; write 3 y, ERI-1d or EOS-1d")
    ages = dict(zip(_MILESTONES, service_ages_ms(profile, profile.start_rate_nl_per_day), strict=True))
    lead_ms = Duration.parse(match["lead"]).ms
    if lead_ms > ages[match["milestone"]]:
        days = ages[match["milestone"]] // MS_PER_DAY
        raise UsageError(f"age: {age!r} lies before activation; {match['milestone']} comes at {days} d")
    return ages[match["milestone"]] - lead_ms


def _need(name: str, value: object, kind: type[Quantity]) -> None:
    if value is not None and not isinstance(value, kind):
        raise UsageError(f'{name}: {value!r} is no {kind.__name__}; write {kind.__name__}.parse("… {kind.SHOWN}")')


def _override(profile: PumpProfile, overrides: dict[str, int | str | Quantity]) -> PumpProfile:
    """The profile with some fields replaced; raises ``UsageError`` listing the fields that can be."""
    allowed = [field.name for field in fields(PumpProfile) if field.name not in _NOT_OVERRIDABLE]
    plain: dict[str, int | str] = {}
    for name, value in overrides.items():
        if name not in allowed:
            raise UsageError(f"{name}: is no field of a profile; those that can be overridden: {', '.join(allowed)}")
        plain[name] = _plain(name, value)
    return replace(profile, **plain) if plain else profile  # type: ignore[arg-type]


def _plain(name: str, value: int | str | Quantity) -> int | str:
    if not isinstance(value, Quantity):
        return value
    kind = next((kind for suffix, kind in _READERS if name.endswith(suffix)), None)
    if kind is None or not isinstance(value, kind):
        wanted = "a whole number" if kind is None else f"a {kind.__name__}"
        raise UsageError(f"{name}: {value!r} is not {wanted}")
    return value._count  # noqa: SLF001 - the count is what the field holds


_READERS: tuple[tuple[str, type[Quantity]], ...] = tuple(
    sorted(_SUFFIXES.items(), key=lambda pair: len(pair[0]), reverse=True)
)

"""``VirtualPump``: a pump on a clock, synchronous and without I/O, as tests and people use it at the bench."""

from __future__ import annotations

import hashlib
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from telemetry.clock import Clock, ManualClock, span_ms
from telemetry.errors import UsageError
from telemetry.sim.ages import parse_age
from telemetry.sim.bench_acts import BenchActs, need
from telemetry.sim.faults.engine import FaultEngine
from telemetry.sim.faults.injection import Injection
from telemetry.sim.faults.reading import Value, read_injection
from telemetry.sim.faults.striking import PumpPatient
from telemetry.sim.overrides import Override, overridden
from telemetry.sim.profiles import DEFAULT_PROFILE, load_profile
from telemetry.sim.pump.device import PUMP_ID_SIZE, PumpDevice
from telemetry.sim.pump.medium import Medium
from telemetry.sim.radio import RadioTrouble
from telemetry.units import Concentration, Duration, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.model import DeliveryReport, DrugLedger, GroundTruth, PumpEvent, PumpStatus
    from telemetry.sim.faults.armed import Armed
    from telemetry.sim.pump.profile import PumpProfile
    from telemetry.transport.base import Receiver, Transport

FORMAT = "itb-virtual-pump"
VERSION = 2
FIXED_EPOCH_UTC_S = 1_767_225_600
"""2026-01-01T00:00:00Z: the pump's epoch under a ``ManualClock`` (interfaces.md)."""
KEPT_EVENTS = 10_000
EVENT_LIMIT_DAYS = 3660
_KEYS = ("format", "version", "seed", "device", "faults", "radio")


class VirtualPump(BenchActs):
    """A virtual pump; time is its clock's therapy time.

    ``profile``: a name of ``list_profiles()``, a path ending in ``.toml``, or a ``PumpProfile``; any field of it can
    be overridden by keyword (``low_reservoir_alarm_nl=Volume.parse("3 ml")``, plain integers count the unit in the
    name). ``fill``, ``concentration``, ``age`` (``"3 y"``, ``"ERI-1d"``, ``"ERI+89d"``, ``"EOS"``, ``"shelf"``,
    ``"day 1"``, ``"mid-life"`` or a ``Duration``): the state at t = 0. ``pump_id`` (8 bytes) comes from ``seed`` and
    ``serial`` unless given; ``seed=None`` needs it. Raises ``UsageError`` naming field, value and rule.
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
        **overrides: Override,
    ) -> None:
        family = load_profile(profile) if isinstance(profile, str) else profile
        family = overridden(family, overrides)
        if seed is None and pump_id is None:
            raise UsageError("pump_id: a pump without a seed needs one: 8 random bytes")
        if seed is not None and (type(seed) is not int or seed < 0):
            raise UsageError(f"seed: {seed!r} is no whole number from 0 on")
        need("fill", fill, Volume)
        need("concentration", concentration, Concentration)
        self._clock: Clock = ManualClock() if clock is None else clock
        self._seed = seed
        name = family.serial if serial is None else serial
        start = parse_age(age, family)
        device = PumpDevice(
            family,
            Medium(endurance_writes=family.memory_endurance_writes, seed=seed or 0),
            epoch_utc_s=epoch_utc_s,
            pump_id=pump_id_of(seed or 0, name) if pump_id is None else pump_id,
            now_ms=self._clock.therapy_ms(),
            serial=name,
            rate_error_ppm=rate_error_ppm,
            fill_nl=None if fill is None else fill.nl,
            concentration_ng_per_ml=None if concentration is None else concentration.ng_per_ml,
            age_ms=start.age_ms,
            shelf_ms=0 if start.shelf else None,
            ended=start.ended,
        )
        self._adopt(device)

    def _adopt(self, device: PumpDevice) -> None:
        self._device = device
        self.radio = RadioTrouble()
        self.faults = FaultEngine(PumpPatient(device, self.radio))
        self._events: deque[PumpEvent] = deque(maxlen=KEPT_EVENTS)
        self._unnoticed: list[PumpEvent] = []
        self._driving = False
        device.subscribe(self._keep)

    def _keep(self, event: PumpEvent) -> None:
        self._events.append(event)
        self._unnoticed.append(event)

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
        return self._device.now_ms if self._driving else self._clock.therapy_ms()

    def sync(self) -> None:
        """Bring the device to the clock's therapy time; what happens on the way is kept for ``take_events``."""
        if self._driving:
            return  # a fault that is being applied acts on the pump as it is at that instant
        with self._held():
            self._drive(self._clock.therapy_ms())

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Let no look at the pump move it meanwhile."""
        self._driving = True
        try:
            yield
        finally:
            self._driving = False

    def _drive(self, now_ms: int) -> None:
        """Advance the device; with faults armed, from one of their instants (or of the device's) to the next."""
        device, faults = self._device, self.faults
        while True:
            self._tell()
            due_ms = faults.next_ms(device.now_ms)
            until_ms = now_ms if due_ms is None else min(due_ms, now_ms)
            device.advance_to(until_ms, pausing=faults.watching)
            self._tell()
            if device.now_ms < until_ms:
                continue
            if due_ms is None or due_ms > now_ms:
                break
            faults.apply_due(until_ms)

    def _tell(self) -> None:
        """Let the faults see what has happened, and what their own effects made happen."""
        while self._unnoticed:
            events, self._unnoticed = self._unnoticed, []
            self.faults.notice(events, self._device.now_ms)

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
        while (at_ms := self.next_event_ms()) is not None and at_ms <= limit_ms:
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

    def next_event_ms(self) -> int | None:
        """When something happens next, in the pump or to it, if nobody acts; None when nothing ever will."""
        now_ms = self._device.now_ms
        instants = (self._device.next_event_ms(), self.faults.next_ms(now_ms))
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

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
    def delivery(self) -> DeliveryReport:
        """What the pump counts of its own delivery now."""
        return self.device.delivery()

    @property
    def truth(self) -> GroundTruth:
        """What is so now."""
        return self.device.truth()

    @property
    def ledger(self) -> DrugLedger:
        """Where every nanolitre went."""
        return self.device.ledger()

    # --- faults ------------------------------------------------------------------------------------------------------

    def inject(  # noqa: PLR0913 - each is one word of the order, all by name
        self,
        fault: str | Injection,
        mode: str = "",
        *,
        at: int | str | Duration | None = None,
        after: int | str | Duration | None = None,
        when: str = "",
        nth: int = 1,
        hazard: str | int | None = None,
        within: int | str | Duration | None = None,
        duration: int | str | Duration | None = None,
        count: int | None = None,
        seed: int | None = None,
        **values: Value,
    ) -> Armed:
        """Arm a fault of the catalogue (``telemetry fault list``); without a trigger it strikes now.

        ``at`` an instant, ``after`` a span, ``when`` an event happens (each ``nth``), or at a ``hazard``; ``within``:
        how long it waits for those; ``duration``: how long each strike lasts; ``count``: how often (0: without
        limit); ``seed``: of what is drawn, by default the pump's. Parameters by name:
        ``inject("over_infusion", error="20 %", when="bolus_started")``.

        Raises ``UsageError`` for what is unknown or out of range, and when this pump cannot have it.
        """
        self.sync()
        order = (
            fault
            if isinstance(fault, Injection)
            else read_injection(
                fault,
                mode,
                now_ms=self._device.now_ms,
                epoch_utc_s=self._device.core.clock.epoch_utc_s,
                at=at,
                after=after,
                when=when,
                nth=nth,
                hazard=hazard,
                within=within,
                duration=duration,
                count=count,
                seed=(self._seed or 0) if seed is None else seed,
                values=values,
            )
        )
        with self._held():
            armed = self.faults.arm(order, self._device.now_ms)
        self.sync()
        return armed

    def clear(self, fault: int | str | None = None) -> tuple[Armed, ...]:
        """Take back an order by its number, all of one fault by its name, or all; what is in force ends now.

        Raises ``UsageError`` listing what is armed when nothing of that number or name is.
        """
        self.sync()
        with self._held():
            cleared = self.faults.clear(fault)
        self.sync()
        return cleared

    async def open_link(self, receiver: Receiver) -> Transport:
        """A link to a telemeter lying over this pump; what ``telemetry.connect(pump=…)`` opens."""
        from telemetry.sim.connector import connect_pump  # noqa: PLC0415 - a pump alone needs no protocol

        return await connect_pump(self, receiver)

    # --- keeping -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Everything, JSON-able and versioned."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "seed": self._seed,
            "device": self.device.snapshot(),
            "faults": self.faults.snapshot(),
            "radio": self.radio.snapshot(),
        }

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
        clock_ms = pump._clock.therapy_ms()  # noqa: SLF001 - as above
        if clock_ms < device.now_ms:
            raise UsageError(f"clock: reads {clock_ms} ms, before the snapshot's {device.now_ms}; start it there")
        pump._seed = snapshot["seed"]  # noqa: SLF001 - as above
        pump._adopt(device)  # noqa: SLF001 - as above
        pump.radio.restore(snapshot["radio"])
        pump.faults.restore(snapshot["faults"])
        return pump

    def fork(self) -> Self:
        """Another pump in the same state, on a clock of its own that starts at the same instant; boot epoch raised."""
        return type(self).restore(self.snapshot())

    def rewind(self, snapshot: object) -> None:
        """Be again what a snapshot of this pump holds, its instant included, on a new clock; boot epoch raised.

        Raises ``UsageError`` for a snapshot of another pump, and for a clock that is not ours to move: links lie over
        that clock, and cannot follow it back.
        """
        self._manual()
        earlier = type(self).restore(snapshot)
        if earlier._device.pump_id != self._device.pump_id:  # noqa: SLF001 - another of our own kind
            raise UsageError("snapshot: is of another pump; restore that with VirtualPump.restore")
        self._clock = earlier._clock  # noqa: SLF001 - as above
        self._adopt(earlier._device)  # noqa: SLF001 - as above
        self.radio.restore(earlier.radio.snapshot())
        self.faults.restore(earlier.faults.snapshot())


def pump_id_of(seed: int, serial: str) -> bytes:
    """Eight bytes from seed and serial: the same pump every time, another for another."""
    return hashlib.sha256(f"pump {seed} {serial}".encode()).digest()[:PUMP_ID_SIZE]

"""What a scenario is played on: one pump on a clock of its own, its programmers, the patient, and all that was seen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from telemetry.clock import ManualClock
from telemetry.errors import TelemetryError
from telemetry.programmer import connect
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.scenario.checks import Occurrence
from telemetry.scenario.fault_text import injection_of
from telemetry.scenario.subjects import kind_of
from telemetry.scenario.therapy_text import therapy_of
from telemetry.scenario.values import KINDS, read_share_ppm
from telemetry.sim.connector import station_of
from telemetry.sim.nearfield import NearFieldSettings
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.faults import Direction, FaultPlan
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, Concentration, DailyDose, Duration, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telemetry.model import Alarm, AlarmKind, LogRecord, PumpEvent, Role
    from telemetry.programmer import Programmer
    from telemetry.scenario.format import Action, Scenario
    from telemetry.sim.patient import Patient
    from telemetry.transport.faults import Passage

KEPT_FRAMES = 24
_LOG_PAGE = 256
_ARROWS = {Direction.TX: "->", Direction.RX: "<-"}


class Tap(FaultPlan):
    """The faults of the scenario's links, which also remembers the newest frames by name."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.frames: deque[tuple[int, str]] = deque(maxlen=KEPT_FRAMES)

    def touches(self, direction: Direction) -> bool:  # noqa: ARG002 - the rules of none matter: all are looked at
        """Every frame is looked at."""
        return True

    def apply(self, direction: Direction, frame: bytes, frame_type: str | None, now_ms: int) -> list[Passage]:
        """Say what leaves for one frame, and remember it."""
        leaving = super().apply(direction, frame, frame_type, now_ms)
        lost = "" if leaving else "  (lost by a fault of the link)"
        name = frame_type or "bytes that are no frame"
        self.frames.append((now_ms, f"{_ARROWS[direction]} {name}, {len(frame)} bytes{lost}"))
        return leaving


@dataclass(frozen=True, slots=True)
class Passed:
    """What passed between two instants: through the tip, beside it, by how many strokes."""

    tip_volume_nl: int
    tip_dose_ng: int
    tip_rate_ng_per_day: int
    tip_flow_nl_per_day: int
    lost_volume_nl: int
    lost_dose_ng: int
    strokes: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What had passed at one instant, counted since the pump was made."""

    at_ms: int
    delivered_nl: int
    delivered_ng: int
    lost_nl: int
    lost_ng: int
    strokes: int

    def since(self, before: Totals) -> Passed:
        """What passed since an earlier instant."""
        span_ms = max(1, self.at_ms - before.at_ms)
        volume, dose = self.delivered_nl - before.delivered_nl, self.delivered_ng - before.delivered_ng
        return Passed(
            volume,
            dose,
            dose * MS_PER_DAY // span_ms,
            volume * MS_PER_DAY // span_ms,
            self.lost_nl - before.lost_nl,
            self.lost_ng - before.lost_ng,
            self.strokes - before.strokes,
        )


@dataclass(frozen=True, slots=True)
class RoundedSigns:
    """The patient's signs, levels and effect in whole units."""

    csf_ng_per_ml: int
    near_tip_ng_per_ml: int
    effect_percent: int
    accustomed_ng_per_ml: int
    overdose_grade: int
    withdrawal_grade: int
    overdose_signs: tuple[str, ...]
    withdrawal_signs: tuple[str, ...]


class World:
    """The pump, whoever handles it, and what was seen. Every instant is pump time in ms."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clock = ManualClock()
        self.tap = Tap(seed=scenario.seed)
        self.events: list[Occurrence] = []
        self.answer: object | None = None
        self.prescription: Any = None
        self.unknown_transaction: str | None = None
        self.withdrawn: Volume | None = None
        """What the needle took out for a refill that the pump has not been told of yet."""
        self._programmers: dict[Role, Programmer] = {}
        self._journals = MemoryJournalStore()
        self._entropy = Random(f"programmer {scenario.seed}")  # noqa: S311 - repeatable on purpose
        self._before = Totals(0, 0, 0, 0, 0, 0)
        self._pumps = 0
        self.pump = self.new_pump(scenario.pump)
        self.epoch_utc_s = self.pump.device.identity().epoch_utc_s
        self.patient = self._new_patient(scenario.patient)

    # --- who is in it ------------------------------------------------------------------------------------------------

    def new_pump(self, said: Mapping[str, Any]) -> VirtualPump:
        """A pump as the file says it, on this world's clock."""
        settings: dict[str, Any] = {name: said[name] for name in ("age", "serial") if name in said}
        if "fill" in said:
            settings["fill"] = Volume.parse(said["fill"])
        if "concentration" in said:
            settings["concentration"] = Concentration.parse(said["concentration"])
        overrides = {name: _override(name, raw) for name, raw in said.get("set", {}).items()}
        seed = self.scenario.seed + 1_000_003 * self._pumps
        self._pumps += 1
        pump = VirtualPump(said.get("profile", "itb-40"), seed=seed, clock=self.clock, **settings, **overrides)
        if "therapy" in said:
            pump.program(therapy_of(said["therapy"]))
        pump.take_events()
        self._lay_telemeter(pump)
        return pump

    def _lay_telemeter(self, pump: VirtualPump) -> None:
        said = self.scenario.near_field
        if said:
            station_of(pump).telemeter.near_field.settings = NearFieldSettings(
                loss_ppm=read_share_ppm(said["loss"]) if "loss" in said else 0,
                delay_ms=Duration.parse(said["delay"]).ms if "delay" in said else 0,
                bits_per_s=said.get("bits_per_s", 0),
            )

    def _new_patient(self, said: Mapping[str, Any] | None) -> Patient | None:
        if said is None:
            return None
        from telemetry.sim.patient import Patient, PatientParameters  # noqa: PLC0415 - only who asks for it pays

        parameters = PatientParameters.of({name: float(raw) for name, raw in said.get("parameters", {}).items()})
        accustomed = said.get("accustomed_to")
        return Patient(
            parameters,
            now_ms=self.now_ms,
            tip_ng_cumulated=self.totals().delivered_ng,
            accustomed_to=None if accustomed is None else DailyDose.parse(accustomed),
        )

    async def replace_pump(self, said: Mapping[str, Any]) -> None:
        """Take the pump out and implant another on the same catheter."""
        await self.close()
        self._before = self.totals()
        old = self.pump
        self.pump = self.new_pump(said)
        self.pump.adopt_catheter(old)
        fresh = self.pump.truth
        self._before = Totals(
            self.now_ms,
            self._before.delivered_nl - fresh.delivered_nl,
            self._before.delivered_ng - fresh.delivered_ng,
            self._before.lost_nl - fresh.lost_nl,
            self._before.lost_ng - fresh.lost_ng,
            self._before.strokes - fresh.strokes,
        )

    async def programmer(self, role: Role) -> Programmer:
        """The tablet that works with the credential of this role, the telemeter on the skin charged."""
        station_of(self.pump).telemeter.recharge()
        found = self._programmers.get(role)
        if found is None:
            opened = connect(
                pump=self.pump,
                role=role,
                journal=self._journals,
                faults=self.tap,
                entropy=self._entropy.randbytes,
            )
            found = self._programmers[role] = await opened.__aenter__()
        return found

    async def close(self) -> None:
        """Let go of every session and link."""
        programmers, self._programmers = list(self._programmers.values()), {}
        for programmer in programmers:
            await programmer.close()

    def arm(self, fault: Action) -> object:
        """Arm a device fault."""
        order = injection_of(
            fault.name,
            fault.arguments,
            now_ms=self.now_ms,
            epoch_utc_s=self.epoch_utc_s,
            seed=self.scenario.seed,
        )
        return self.pump.inject(order)

    def clear(self, name: str) -> None:
        """Clear the faults of this name, or all."""
        self.pump.clear(None if name == "all" else name)

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Pump time."""
        return self.clock.therapy_ms()

    @property
    def true_utc_s(self) -> int:
        """What a right clock would read."""
        return self.epoch_utc_s + self.now_ms // MS_PER_SECOND

    def advance_to(self, at_ms: int) -> list[Occurrence]:
        """Let time pass; what happened on the way."""
        return self._took(self.pump.advance_to(at_ms) if at_ms > self.now_ms else self.pump.take_events())

    def next_event_ms(self) -> int | None:
        """When the pump next does something, if nobody does anything."""
        device = self.pump.device
        instants = (device.next_event_ms(), self.pump.faults.next_ms(device.now_ms))
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

    def catch_up(self) -> list[Occurrence]:
        """What happened while somebody acted."""
        return self._took(self.pump.take_events())

    def _took(self, events: Sequence[PumpEvent]) -> list[Occurrence]:
        seen = [Occurrence(event.at_ms, event.kind, event.detail) for event in events]
        self.events += seen
        if self.patient is not None:
            self.patient.advance(self.now_ms, self.totals().delivered_ng)
        return seen

    # --- looking -----------------------------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """What has passed so far, earlier pumps included."""
        truth, before = self.pump.truth, self._before
        return Totals(
            self.now_ms,
            before.delivered_nl + truth.delivered_nl,
            before.delivered_ng + truth.delivered_ng,
            before.lost_nl + truth.lost_nl,
            before.lost_ng + truth.lost_ng,
            before.strokes + truth.strokes,
        )

    def frames(self) -> list[tuple[int, str]]:
        """The newest frames of the wire, oldest first."""
        return list(self.tap.frames)


class Look:
    """The world at this instant (``checks.View``), each record made once; within ``window`` and after ``passed``."""

    def __init__(self, world: World, window: tuple[int, int] | None = None, passed: Passed | None = None) -> None:
        self._world = world
        self._window = window
        self._passed = passed
        self._records: dict[str, object | None] = {}
        self.epoch_utc_s = world.epoch_utc_s

    def record(self, group: str) -> object | None:
        """The record behind a group of fields."""
        if group not in self._records:
            self._records[group] = self._make(group)
        return self._records[group]

    def _make(self, group: str) -> object | None:
        world = self._world
        if group == "passed":
            return self._passed
        if group == "answer":
            return world.answer
        if group == "patient":
            return self._signs()
        if group in {"status", "truth", "ledger"}:
            found: object = getattr(world.pump, group)
            return found
        device = world.pump.device
        made: object = {"delivery": device.delivery, "identity": device.identity, "limits": device.limits}[group]()
        return made

    def _signs(self) -> RoundedSigns | None:
        patient = self._world.patient
        if patient is None:
            return None
        signs = patient.signs()
        return RoundedSigns(
            round(signs.csf_ng_per_ml),
            round(signs.near_tip_ng_per_ml),
            round(signs.effect_percent),
            round(signs.accustomed_ng_per_ml),
            signs.overdose_grade,
            signs.withdrawal_grade,
            signs.overdose_signs,
            signs.withdrawal_signs,
        )

    def alarms(self) -> Sequence[Alarm]:
        """Every alarm that is present, latched or silenced."""
        return self._present

    @cached_property
    def _present(self) -> Sequence[Alarm]:
        return self._world.pump.device.alarms()

    def tones(self, kind: AlarmKind) -> int:
        """Bursts of this kind begun since the last boot."""
        return self._world.pump.device.tones(kind)

    def occurrences(self, group: str) -> Sequence[Occurrence]:
        """Events or log lines, within the window."""
        found = self._world.events if group == "events" else self._log
        if self._window is None:
            return found
        start, end = self._window
        return [item for item in found if start <= item.at_ms <= end]

    @cached_property
    def _log(self) -> list[Occurrence]:
        device = self._world.pump.device
        records: list[LogRecord] = []
        start = 0
        while True:
            report = device.log(start, _LOG_PAGE)
            records += report.records
            if not report.records or report.records[-1].sequence >= report.newest_sequence:
                break
            start = report.records[-1].sequence + 1
        return [Occurrence(record.at_ms, record.code.value, str(record.detail)) for record in records]


def _override(name: str, raw: Any) -> Any:  # noqa: ANN401 - of the field
    """A field of the profile as written: plain numbers as they are, texts with their unit."""
    if not isinstance(raw, str):
        return raw
    kind = kind_of(name)
    if name.endswith("_ms"):
        return Duration.parse(raw).ms
    try:
        return KINDS[kind].read(raw) if kind else raw
    except TelemetryError as error:
        raise type(error)(f"pump.set.{name}: {error}") from error


__all__ = ["Look", "Passed", "Tap", "Totals", "World"]

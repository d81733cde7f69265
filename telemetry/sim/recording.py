"""``Recorder``: follows a virtual pump on its clock and keeps what a report needs; it never changes the run.

It looks at every instant of a grid and wherever something happened. Looking brings the pump to the clock's time, which
changes nothing, since results do not depend on how time is cut (INV-39).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from telemetry.clock import ManualClock
from telemetry.errors import UsageError
from telemetry.model import Activity, AlarmClass
from telemetry.sim.mixing import MixedTip
from telemetry.sim.patient import PatientParameters
from telemetry.sim.pump.catheter import Junction
from telemetry.sim.run import (
    COLUMNS,
    Run,
    RunAction,
    RunDose,
    RunEvent,
    RunFinal,
    RunPatient,
    RunPump,
    RunVerdict,
    Samples,
)
from telemetry.units import MS_PER_HOUR, DailyDose, Dose, Duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from telemetry.model import PumpEvent
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.virtual_pump import VirtualPump

MOST_ROWS = 4096
"""With the grid left to the recorder it is doubled when there are more: hourly up to about half a year."""
MOST_EVENTS = 50_000
WAYS = ("lumbar",)
"""What the pump gives, by whatever way, is counted of itself."""
_SUMS = ("out_nl", "delivered_nl", "delivered_ng", "lost_nl", "lost_ng", "pocket_ng")
Row = dict[str, object]


@dataclass(slots=True)
class _Grid:
    """Instants to look at: every ``every_ms`` from ``start_ms`` on."""

    start_ms: int
    every_ms: int

    def after(self, now_ms: int) -> int:
        return now_ms + self.every_ms - (now_ms - self.start_ms) % self.every_ms

    def holds(self, at_ms: int) -> bool:
        return (at_ms - self.start_ms) % self.every_ms == 0


class Recorder:
    """Records ``pump`` from now on; ``with Recorder(pump) as recorder: ...; recorder.run().write(path)``.

    ``every``: the grid; left out, it is an hour and doubled as often as the run needs to stay below 4096 rows.
    ``patient``: the parameters of the illustrative patient, ``accustomed_to`` the dose he or she is used to, left out:
    what the tip gives now (``DailyDose(0)`` is a patient who never had any).
    Raises ``UsageError`` for a pump whose clock is not a ``ManualClock``, and a grid below 1 ms.
    """

    def __init__(
        self,
        pump: VirtualPump,
        *,
        every: Duration | None = None,
        title: str = "",
        patient: PatientParameters | None = None,
        accustomed_to: DailyDose | None = None,
    ) -> None:
        if not isinstance(pump.clock, ManualClock):
            raise UsageError(
                f"clock: a {type(pump.clock).__name__} cannot be recorded; give the pump a ManualClock and move that"
            )
        if every is not None and every.ms < 1:
            raise UsageError(f"every: {every} is no interval; 1 h is usual")
        self._clock = pump.clock
        self._adaptive = every is None
        self._grid = _Grid(pump.now_ms, MS_PER_HOUR if every is None else every.ms)
        self._title = title
        self._patient = PatientParameters() if patient is None else patient
        self._accustomed_to = DailyDose(pump.truth.tip_dose_ng_per_day) if accustomed_to is None else accustomed_to
        self._doses: list[RunDose] = []
        self._rows: dict[int, Row] = {}
        self._on_grid = 0
        self._events: list[RunEvent] = []
        self._left_out = 0
        self._actions: list[RunAction] = []
        self._verdicts: list[RunVerdict] = []
        self._base = dict.fromkeys(_SUMS, 0)
        self._last_refill_ms = pump.now_ms
        self._cancel: Callable[[], None] | None = None
        self._due_ms: int | None = None
        self._adopt(pump)
        self.look()

    def _adopt(self, pump: VirtualPump) -> None:
        self._pump = pump
        device = pump.device
        self._leave = device.subscribe(self._happened)
        self._mix_afresh(device)

    def _mix_afresh(self, device: PumpDevice) -> None:
        self._catheter_nl = device.core.reservoir.path.catheter_nl
        self._mixed = MixedTip(_slugs(device), catheter_nl=self._catheter_nl)
        self._mixed_at = (device.now_ms, device.truth().delivered_nl)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following; what is recorded stays. Safe to call twice."""
        if self._pump.clock is self._clock:
            self.look()
        if self._cancel is not None:
            self._cancel()
        self._cancel = self._due_ms = None
        self._leave()
        self._leave = _nothing

    # --- what the run's owner tells ----------------------------------------------------------------------------------

    def follow(self, pump: VirtualPump) -> None:
        """Go on with another pump on the same clock (a replacement); sums go on where they were.

        Raises ``UsageError`` for a pump on another clock.
        """
        if pump.clock is not self._clock:
            raise UsageError("pump: lives on another clock; make it with clock= the first pump's")
        self.look()
        self._leave()
        last = self._rows[max(self._rows)]
        self._base = {name: _whole(last[name]) for name in _SUMS}
        self._adopt(pump)
        for name, value in _sums(pump.device).items():
            self._base[name] -= value
        self._last_refill_ms = pump.now_ms
        self._add_event(RunEvent(at_ms=pump.now_ms, kind="pump_replaced", detail=pump.device.serial))
        self.look()

    def action(self, by: str, what: str, outcome: str = "") -> None:
        """Somebody did something now."""
        self._actions.append(RunAction(at_ms=self._pump.now_ms, by=by, what=what, outcome=outcome))

    def verdict(self, what: str, *, passed: bool, wanted: str = "", found: str = "") -> None:
        """Something was expected now."""
        self._verdicts.append(RunVerdict(at_ms=self._pump.now_ms, what=what, passed=passed, wanted=wanted, found=found))

    def dose(self, way: str, dose: Dose) -> None:
        """The patient got drug from somebody else than the pump; raises ``UsageError`` for an unknown way."""
        if way not in WAYS:
            raise UsageError(f"way: {way!r} is none of {', '.join(WAYS)}")
        self._doses.append(RunDose(at_ms=self._pump.now_ms, way=way, ng=dose.ng))

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take a row for now, and be called again in time; raises ``UsageError`` when the pump was rewound."""
        if self._leave is _nothing:
            return
        if self._pump.clock is not self._clock:
            raise UsageError("pump: was rewound and lives on another clock now; record it anew from there")
        device = self._pump.device
        self._take(device, device.now_ms)
        self._arrange(device)

    def _happened(self, event: PumpEvent) -> None:
        self._add_event(RunEvent(at_ms=event.at_ms, kind=event.kind, detail=event.detail))
        if event.kind == "refilled":
            self._last_refill_ms = event.at_ms
        now_ms = self._clock.therapy_ms()
        if event.at_ms < now_ms:
            # The clock was moved past it in one go; the sums of that instant are to be had only now.
            self._take(self._pump._device, event.at_ms)  # noqa: SLF001 - pump.device would advance it again
        else:
            self._call_at(now_ms)  # as soon as the clock moves on: the state after all that happens now

    def _arrange(self, device: PumpDevice) -> None:
        now_ms = device.now_ms
        due_ms = self._grid.after(now_ms)
        soon = (device.next_event_ms(), self._pump.faults.next_ms(now_ms))
        next_ms = min((at_ms for at_ms in soon if at_ms is not None), default=None)
        # The steps of a schedule are worth a row each only while the grid is as fine as they are.
        steps = device.core.plan_due_ms if self._grid.every_ms > MS_PER_HOUR else None
        if next_ms is not None and now_ms < next_ms < due_ms and next_ms != steps:
            due_ms = next_ms
        self._call_at(due_ms)

    def _call_at(self, at_ms: int) -> None:
        if self._cancel is not None:
            if self._due_ms == at_ms:
                return
            self._cancel()
        self._due_ms = at_ms
        self._cancel = self._clock.call_at(at_ms, self._called)

    def _called(self) -> None:
        self._cancel = self._due_ms = None
        self.look()

    def _take(self, device: PumpDevice, at_ms: int) -> None:
        core, truth = device.core, device.truth()
        if core.reservoir.path.catheter_nl != self._catheter_nl:
            self._mix_afresh(device)
        since_ms, before_nl = self._mixed_at
        mixed = self._mixed.look(_slugs(device), moved_nl=truth.delivered_nl - before_nl, span_ms=at_ms - since_ms)
        self._mixed_at = (at_ms, truth.delivered_nl)
        self._rows[at_ms] = {
            "at_ms": at_ms,
            "programmed_nl_per_day": core.base_nl_per_day,
            "commanded_nl_per_day": core.rate_nl_per_day,
            "true_nl_per_day": truth.rate_nl_per_day,
            "calculated_nl": core.reservoir.calculated_nl,
            "true_nl": truth.reservoir_nl,
            **{name: self._base[name] + value for name, value in _sums(device).items()},
            "tip_dose_ng_per_day": truth.tip_dose_ng_per_day,
            "tip_ng_per_ml": truth.tip_concentration_ng_per_ml,
            "mixed_tip_ng_per_ml": round(mixed),
            "battery_percent": truth.battery_percent,
            "battery_pc": truth.battery_pc,
            "mode": core.mode.value,
            "activity": (Activity.NONE if core.activity is None else core.activity.kind).value,
            "alarms": [kind.value for kind in core.alarms.active()],
        }
        if self._adaptive and len(self._rows) > MOST_ROWS:
            self._thin()

    def _thin(self) -> None:
        """Double the grid; rows of events stay, unless it is they that are too many."""
        happened = {event.at_ms for event in self._events}
        if len(happened) > MOST_ROWS // 2:
            happened = set(sorted(happened)[:: 2 * len(happened) // MOST_ROWS + 1])
        self._grid.every_ms *= 2
        last = max(self._rows)
        self._rows = {
            at_ms: row
            for at_ms, row in self._rows.items()
            if self._grid.holds(at_ms) or at_ms in happened or at_ms == last
        }

    def _add_event(self, event: RunEvent) -> None:
        if len(self._events) < MOST_EVENTS:
            self._events.append(event)
        else:
            self._left_out += 1

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> Run:
        """All that was recorded up to now."""
        self.look()
        device, status = self._pump.device, self._pump.status
        who, profile = device.identity(), device.profile
        rows = [self._rows[at_ms] for at_ms in sorted(self._rows)]
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        return Run(
            title=self._title or f"{profile.name} {who.serial}",
            pump=RunPump(
                profile=profile.name,
                model=who.model,
                serial=who.serial,
                drug=who.drug.value,
                seed=self._pump.seed,
                epoch_utc_s=who.epoch_utc_s,
                activated_ms=who.activated_ms,
                reservoir_capacity_nl=profile.reservoir_capacity_nl,
                tubing_volume_nl=profile.tubing_volume_nl,
                catheter_volume_nl=profile.catheter_volume_nl,
                stroke_volume_nl=profile.stroke_volume_nl,
                low_reservoir_alarm_nl=device.limits().low_reservoir_alarm_nl,
                refill_cap_ms=profile.refill_interval_max_ms,
                critical_alarms=[spec.kind for spec in profile.alarms if spec.alarm_class is AlarmClass.CRITICAL],
            ),
            every_ms=self._grid.every_ms,
            samples=Samples(**columns),  # type: ignore[arg-type]
            events=list(self._events),
            events_left_out=self._left_out,
            actions=list(self._actions),
            verdicts=list(self._verdicts),
            patient=RunPatient(
                parameters={field.name: getattr(self._patient, field.name) for field in fields(PatientParameters)},
                accustomed_to_ng_per_day=self._accustomed_to.ng_per_day,
                doses=list(self._doses),
            ),
            final=RunFinal(
                at_ms=device.now_ms,
                mode=status.mode.value,
                rate_nl_per_day=status.rate_nl_per_day,
                dose_ng_per_day=status.dose_ng_per_day,
                concentration_ng_per_ml=status.concentration_ng_per_ml,
                reservoir_nl=status.reservoir_nl,
                battery_percent=status.battery_percent,
                replace_by_ms=status.replace_by_ms,
                low_reservoir_at_ms=status.low_reservoir_at_ms,
                last_refill_ms=self._last_refill_ms,
                alarms=[kind.value for kind in status.alarms],
            ),
        )


def _slugs(device: PumpDevice) -> list[tuple[float, float]]:
    """What the path holds as (nl, ng/ml), tip first."""
    path = device.core.reservoir.path
    fronts = path.fronts()
    ends = [at_nl for at_nl, _ in fronts[1:]] + [path.volume_nl]
    return [(end_nl - at_nl, level) for end_nl, (at_nl, level) in zip(ends, fronts, strict=True)]


def _sums(device: PumpDevice) -> dict[str, int]:
    """What this pump has given and lost so far."""
    truth, reservoir = device.truth(), device.core.reservoir
    return {
        "out_nl": truth.delivered_nl + reservoir.path.lost_nl,
        "delivered_nl": truth.delivered_nl,
        "delivered_ng": truth.delivered_ng,
        "lost_nl": truth.lost_nl,
        "lost_ng": truth.lost_ng,
        "pocket_ng": reservoir.pocket_ng + reservoir.path.lost_ng_at(Junction.CONNECTOR),
    }


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no sum")
    return value


def _nothing() -> None:
    """A recorder that is closed has nothing to leave."""

"""What runs on top of the program, or instead of it: at most one activity at a time (domain.md 2.3).

An activity gives a volume, not a time: it ends in the millisecond in which its volume is given, the last one clipped.
Boluses add to the basal; a prime and a bridge run instead of it. A bridge that is interrupted keeps what is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from telemetry.model import Activity, LogCode
from telemetry.sim.pump import state as st
from telemetry.sim.pump.plan import bolus_flow
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, ceil_div, daily_dose_ng
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

ACTIVITY_NUMBERS = {kind: number for number, kind in enumerate(Activity)}
"""What stands for an activity in the ``detail`` of a log record; 0 is none."""
_INSTEAD = frozenset({Activity.PRIME, Activity.BRIDGE})
_STARTED = {Activity.PRIME: LogCode.PRIME_STARTED, Activity.BRIDGE: LogCode.BRIDGE_STARTED}
_ENDED = {Activity.PRIME: LogCode.PRIME_ENDED, Activity.BRIDGE: LogCode.BRIDGE_ENDED}


@dataclass(slots=True)
class Running:
    """One activity under way; ``left`` is in nl / 86 400 000."""

    kind: Activity
    rate_nl_per_day: int
    dose_ng_per_day: int
    volume_nl: int
    left: int
    started_ms: int

    @property
    def instead_of_basal(self) -> bool:
        """Whether the program waits meanwhile."""
        return self.kind in _INSTEAD

    @property
    def given_nl(self) -> int:
        """Whole nanolitres given."""
        return (self.volume_nl * COMMANDED_PER_NL - self.left) // COMMANDED_PER_NL

    def ends_ms(self, now_ms: int) -> int:
        """When its volume will be given."""
        return now_ms + ceil_div(self.left, self.rate_nl_per_day)

    def give(self, span_ms: int) -> int:
        """Give for a span, at most what is left; returns the volume."""
        given = min(self.left, self.rate_nl_per_day * span_ms)
        self.left -= given
        return given

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"kind": self.kind.value}

    @classmethod
    def restore(cls, value: object, where: str) -> Running:
        """The activity of a snapshot; raises ``UsageError`` naming what is wrong with it."""
        names = [field.name for field in fields(cls)]
        state = st.table(value, where, names)
        kind = st.member(state, "kind", where, Activity)
        return cls(kind, *(st.integer(state, name, where) for name in names[1:]))


def start_bolus(core: PumpCore, kind: Activity, volume_nl: int, duration_ms: int, *, slot: int = 0) -> None:
    """Begin a bolus on top of the basal."""
    rate, dose = bolus_flow(volume_nl, core.concentration_ng_per_ml, duration_ms)
    _start(core, Running(kind, rate, dose, volume_nl, volume_nl * COMMANDED_PER_NL, core.now_ms), slot)
    if kind is Activity.PATIENT_BOLUS:
        core.patient.started(core.now_ms)


def start_prime(core: PumpCore, volume_nl: int, rate_nl_per_day: int, *, slot: int = 0) -> None:
    """Begin a prime instead of the basal."""
    dose = daily_dose_ng(rate_nl_per_day, core.concentration_ng_per_ml)
    left = volume_nl * COMMANDED_PER_NL
    _start(core, Running(Activity.PRIME, rate_nl_per_day, dose, volume_nl, left, core.now_ms), slot)


def start_bridge(core: PumpCore, *, slot: int = 0) -> None:
    """Begin, or go on with, what is left of the program's bridge; does nothing when nothing is."""
    waiting = waiting_bridge(core)
    if waiting is not None:
        _start(core, waiting, slot)


def _start(core: PumpCore, running: Running, slot: int) -> None:
    core.activity = running
    code = _STARTED.get(running.kind, LogCode.BOLUS_STARTED)
    core.note(code, ACTIVITY_NUMBERS[running.kind], ceil_div(running.left, COMMANDED_PER_NL), slot=slot)
    core.emit(code, running.kind)


def finish_if_given(core: PumpCore) -> None:
    """End the activity whose volume is given; after a bridge the program begins now."""
    running = core.activity
    if running is None or running.left:
        return
    core.activity = None
    _book(core, running)
    code = _ENDED.get(running.kind, LogCode.BOLUS_ENDED)
    core.note(code, ACTIVITY_NUMBERS[running.kind], running.volume_nl)
    core.emit(code, running.kind)
    if running.kind is Activity.BRIDGE:
        core.bridge_left = 0
        core.start_plan(core.now_ms, fresh=True)


def interrupt(core: PumpCore) -> None:
    """End the activity before its volume is given: a bridge keeps the rest, anything else is cancelled for good."""
    running = core.activity
    if running is None:
        return
    core.activity = None
    if running.kind is Activity.BRIDGE:
        core.bridge_left = running.left
    else:
        tell_cancelled(core, running)


def waiting_bridge(core: PumpCore) -> Running | None:
    """What is left of a bridge that was interrupted and may still go on; None when none waits."""
    bridge = core.program.bridge
    if core.activity is not None or bridge is None or not core.bridge_left:
        return None
    flow = bridge.rate_nl_per_day, bridge.dose_ng_per_day
    return Running(Activity.BRIDGE, *flow, bridge.volume_nl, core.bridge_left, core.now_ms)


def abandon(core: PumpCore) -> None:
    """End for good whatever runs, and the rest of a bridge that waits."""
    interrupt(core)
    waiting = waiting_bridge(core)
    if waiting is not None:
        core.bridge_left = 0
        tell_cancelled(core, waiting)


def tell_cancelled(core: PumpCore, running: Running) -> None:
    """Book, log and tell that this activity ended before its time and will not go on."""
    _book(core, running)
    core.note(LogCode.BOLUS_CANCELLED, ACTIVITY_NUMBERS[running.kind], running.given_nl)
    core.emit(LogCode.BOLUS_CANCELLED, running.kind)


def _book(core: PumpCore, running: Running) -> None:
    if running.kind is Activity.PATIENT_BOLUS:
        core.patient.ended(running.started_ms, core.now_ms)


def withhold(core: PumpCore, volume_nl: int) -> None:
    """A periodic bolus that is due cannot be given; it is never caught up."""
    core.note(LogCode.BOLUS_WITHHELD, ACTIVITY_NUMBERS[Activity.PERIODIC_BOLUS], volume_nl)
    core.emit(LogCode.BOLUS_WITHHELD, Activity.PERIODIC_BOLUS)


class PatientBoluses:
    """When the patient gave boluses: the last 24 hours, and the end of the last one (domain.md 2.8)."""

    KEYS = ("given", "last_end_ms")

    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []
        self.last_end_ms: int | None = None

    def started(self, at_ms: int) -> None:
        """One begins now; until it ends its end is not known. What is older than 24 hours is forgotten."""
        self.given = [pair for pair in self.given if at_ms - pair[0] < MS_PER_DAY]
        self.given.append((at_ms, at_ms))

    def ended(self, started_ms: int, at_ms: int) -> None:
        """The one that began then ends now, given whole or not."""
        self.given = [(start, at_ms if start == started_ms else end) for start, end in self.given]
        self.last_end_ms = at_ms

    def in_24_h(self, now_ms: int) -> int:
        """How many began in the last 24 hours."""
        return sum(now_ms - start < MS_PER_DAY for start, _ in self.given)

    def locked_until_ms(self, lockout_ms: int, now_ms: int) -> int | None:
        """Until when no other may begin; None when one may."""
        if self.last_end_ms is None or self.last_end_ms + lockout_ms <= now_ms:
            return None
        return self.last_end_ms + lockout_ms

    def shift(self, span_ms: int) -> None:
        """Time without power counts as none (trust.md 5.9)."""
        self.given = [(start + span_ms, end + span_ms) for start, end in self.given]
        if self.last_end_ms is not None:
            self.last_end_ms += span_ms

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {"given": [list(pair) for pair in self.given], "last_end_ms": self.last_end_ms}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.given = [st.pair(item, f"{where}.given") for item in st.items(state, "given", where)]
        self.last_end_ms = st.instant(state, "last_end_ms", where)

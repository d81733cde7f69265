"""A second pump beside the one on the wire: it is given each change once, at the bench, when the first one takes it.

Whatever the link does to the first pump, the two are the same in everything that has to do with therapy: books, truth,
program, binding, bridge, settings, clock, alarms and the lines of the log. The driver's word is held against how often
the first pump acted for a command, which its own event stream says (INV-19, INV-20, INV-21).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from telemetry.errors import Refused, UsageError
from telemetry.model import Activity, LogCode, OperationKind, Verdict
from telemetry.sim.pump.device import PumpDevice
from telemetry.sim.pump.ledger import LARGEST_SLOT
from telemetry.sim.pump.quantities import COMMANDED_PER_NL
from telemetry.sim.pump.recovery import granted_ahead_nl

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import PumpEvent
    from telemetry.sim.virtual_pump import VirtualPump
    from tests.campaigns.commands import Command

EFFECTS: dict[OperationKind, tuple[tuple[str, str | None], ...]] = {
    OperationKind.PROGRAM: (("program_committed", None),),
    OperationKind.REFILL: (("refilled", None), ("program_committed", None)),
    OperationKind.BOLUS: (("bolus_started", Activity.BOLUS),),
    OperationKind.PATIENT_BOLUS: (("bolus_started", Activity.PATIENT_BOLUS),),
    OperationKind.PRIME: (("prime_started", None),),
    OperationKind.LIMITS: (("limits_changed", None),),
    OperationKind.CLOCK: (("clock_set", None),),
    OperationKind.ALARM_SETTINGS: (("alarms_configured", None),),
    OperationKind.RESUME: (("resumed", None),),
    OperationKind.STOP: (("stopped", None),),
}
"""The events by which a pump says that it has acted, the deciding one last; None stands for any detail."""
_OF_THE_LINK = frozenset(
    {
        LogCode.SESSION_OPENED,
        LogCode.SESSION_CLOSED,
        LogCode.AUTHENTICATION_FAILED,
        LogCode.COMMIT_REFUSED,
        LogCode.PATIENT_BOLUS_DENIED,
    }
)
"""Lines of which a pump at the bench has none, or others."""
_NOT_THERAPY = frozenset(
    {"battery_percent", "battery_pc", "replace_by_ms", "boot_epoch", "program_digest", "alarm_sequence"}
)
"""What the air costs, and the names that wire and bench give a program."""
_LINES = 1_024
_SHOWN = 600


class Mirror:
    """``pump`` is on the wire; ``beside`` is the second one. ``differ`` is told of every case in which they differ."""

    def __init__(self, pump: VirtualPump, differ: Callable[[str], None]) -> None:
        self.pump = pump
        self.beside = PumpDevice.restore(pump.device.snapshot())
        self.command: Command | None = None
        self.seen: Counter[tuple[str, str | None]] = Counter()
        """Events of acting, for the command in hand."""
        self.acted = 0
        """How often the first pump has acted for the command in hand."""
        self._differ = differ
        self._decided = self._last_record()
        self._log_from = self._log_ends()
        self._forget = pump.device.subscribe(self._event)

    def close(self) -> None:
        """Look no more."""
        self._forget()

    def take(self, command: Command) -> None:
        """From now on whatever the pump does is for this command; its needle moves in both."""
        self.command, self.acted = command, 0
        self.seen.clear()
        if command.needle is not None:
            command.needle(self.pump.device)
            self.beside.advance_to(self.pump.device.now_ms)
            command.needle(self.beside)

    def refuses(self, command: Command) -> str:
        """Why the second pump refuses the command now; empty when it takes it (it has then done so)."""
        self.beside.advance_to(self.pump.device.now_ms)
        try:
            command.act(self.beside)
        except Refused as refused:
            return refused.reason
        return ""

    def cut_power(self) -> None:
        """Power goes and comes back, in both."""
        self.pump.inject("power_cut")
        self._cut_beside()

    def torn(self) -> None:
        """Power went in the middle of a write, and the pump is to be started: what it had decided, it has done.

        The write that was cut off is decided or not by the record alone; both pumps then differ in the strokes that
        were reserved ahead, so that the second one is made anew from the first, once all the rest is the same.
        """
        device = self.pump.device
        device.medium.disarm()
        reserved_nl = granted_ahead_nl(device.core)
        if device.core.powered:
            device.power_cut()
        device.boot()
        acted = [r for r in device.core.ledger if r.sequence > self._decided and r.verdict is Verdict.APPLIED]
        if [r for r in acted if r.slot <= LARGEST_SLOT] and not self.acted:
            self._act(device.now_ms)
        self.beside.advance_to(device.now_ms)
        self._compare_cut(max(reserved_nl, granted_ahead_nl(self.beside.core)))
        self._again()
        self._decided, self._log_from = self._last_record(), self._log_ends()

    def compare(self) -> None:
        """Hold the two against each other; where they differ, that is told once."""
        if not self._compare():
            self._again()
        self._decided, self._log_from = self._last_record(), self._log_ends()

    # --- within ------------------------------------------------------------------------------------------------------

    def _event(self, event: PumpEvent) -> None:
        marks = (event.kind, event.detail), (event.kind, None)
        known = next((mark for marks_of in EFFECTS.values() for mark in marks_of if mark in marks), None)
        if known is None or (event.kind, event.detail) == ("stopped", "updating"):
            return
        self.seen[known] += 1
        command = self.command
        if command is None or known not in EFFECTS[command.kind]:
            self._differ(f"{command}: the pump acted otherwise: {event.kind} {event.detail}")
        elif known == EFFECTS[command.kind][-1]:
            self._act(event.at_ms)

    def _act(self, at_ms: int) -> None:
        self.acted += 1
        command = self.command
        if command is None:
            return
        self.beside.advance_to(at_ms)
        try:
            command.act(self.beside)
        except (Refused, UsageError) as error:
            self._differ(f"{command}: the pump did what a pump at the bench refuses: {error}")

    def _cut_beside(self) -> None:
        self.beside.advance_to(self.pump.device.now_ms)
        self.beside.power_cut()
        self.beside.boot()

    def _compare(self) -> bool:
        """Tell of every difference; False when there is one."""
        self.beside.advance_to(self.pump.device.now_ms)
        cases = self._differences(exactly=True)
        lines, others = _lines(self.pump.device, self._log_from[0]), _lines(self.beside, self._log_from[1])
        if lines != others:
            cases.append(f"log: {_apart(lines, others)}")
        self._tell(cases)
        return not cases

    def _compare_cut(self, reserved_nl: int) -> None:
        """Cut the power of the second pump too and compare what a cut write decides, and the books as far as it can."""
        self._cut_beside()
        cases = self._differences(exactly=False)
        books = [device.core.reservoir.calculated for device in (self.pump.device, self.beside)]
        apart_nl = abs(books[0] - books[1]) // COMMANDED_PER_NL
        if apart_nl > reserved_nl:
            cases.append(f"the books are {apart_nl} nl apart after a cut, and {reserved_nl} nl were reserved")
        self._tell(cases)

    def _differences(self, *, exactly: bool) -> list[str]:
        mine, other = _state(self.pump.device, exactly=exactly), _state(self.beside, exactly=exactly)
        return [f"{name}: {_apart(mine[name], other[name])}" for name in mine if mine[name] != other[name]]

    def _tell(self, cases: list[str]) -> None:
        for case in cases:
            self._differ(f"{self.command}: not as the pump beside it: {case}")

    def _again(self) -> None:
        """Let the second pump be the first one as it is now."""
        self.beside = PumpDevice.restore(self.pump.device.snapshot())

    def _last_record(self) -> int:
        newest = self.pump.device.core.ledger.newest()
        return 0 if newest is None else newest.sequence

    def _log_ends(self) -> tuple[int, int]:
        return self.pump.device.log_head()[0] + 1, self.beside.log_head()[0] + 1


def _state(device: PumpDevice, *, exactly: bool) -> dict[str, object]:
    """What has to do with therapy; without ``exactly`` only what a cut write decides."""
    core = device.core
    state: dict[str, object] = {
        "program": core.program,
        "binding": (core.drug, core.concentration_ng_per_ml, core.reservoir_generation, core.filled_nl),
        "state": (core.running, core.safe, core.shelf, core.tripped, core.mode),
        "program sequence": device.program_report().program_sequence,
        "limits": core.limits,
        "alarm settings": device.alarm_settings(),
        "clock": core.clock.snapshot(),
        "activity": None if core.activity is None else core.activity.kind,
        "balance": device.ledger().balance_nl,
    }
    if not exactly:
        return state
    said, so = asdict(device.status()), asdict(device.truth())
    return state | {
        "status": {name: value for name, value in said.items() if name not in _NOT_THERAPY},
        "truth": {name: value for name, value in so.items() if name not in _NOT_THERAPY},
        "drug": device.ledger(),
        "book": core.reservoir.calculated,
        "delivery": device.delivery(),
        "history": core.governor.history(device.now_ms),
        "patient": core.patient.snapshot(),
        "running": None if core.activity is None else core.activity.snapshot(),
        "plan": (core.plan_started_ms, core.bridge_left, core.base_nl_per_day, core.bolus_due_ms),
        "reference": None if core.active is None else core.active.reference_dose_ng,
        "alarms": device.alarms(),
    }


def _apart(mine: object, other: object) -> str:
    """What differs, as short as can be."""
    if isinstance(mine, dict) and isinstance(other, dict):
        mine, other = ({name: one[name] for name in one if mine[name] != other[name]} for one in (mine, other))
    return f"{mine!s:.{_SHOWN}} and {other!s:.{_SHOWN}}"


def _lines(device: PumpDevice, first: int) -> list[tuple[LogCode, int, int, int]]:
    return [
        (line.code, line.at_ms, line.detail, line.value)
        for line in device.log(first, _LINES).records
        if line.code not in _OF_THE_LINK
    ]

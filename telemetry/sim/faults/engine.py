"""When armed faults strike, and when they end: exact instants, the same under any partition of time.

The engine knows orders and instants; what a strike does to a pump is its ``Patient``'s affair (``striking.py``, and
``telemetry/sim/pump/mishaps.py``). The pump drives it: from one of its instants to the next and, while an order waits
for an event, from one of the pump's to the next, so that everything strikes at its own instant.

A strike that cannot be, as the pump is at that instant, is *missed*: told by an event with its reason, and no hit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from telemetry.errors import UsageError
from telemetry.sim.faults.armed import Armed
from telemetry.sim.faults.catalogue import Target
from telemetry.sim.faults.injection import TriggerKind
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telemetry.model import PumpEvent
    from telemetry.sim.faults.injection import Injection

STRUCK, ENDED, MISSED = "fault_struck", "fault_ended", "fault_missed"
"""Events of the pump that the engine tells: ``detail`` is the fault's name, of a missed one the reason too."""
MENDED_BY = {"telemetry_mode_left": "mri_telemetry_latch", "memory_reset": "update_blocked"}
"""What the pump, or somebody at it, ends without asking the engine: the event that tells so, and of which fault."""


class Patient(Protocol):
    """Whom the faults strike."""

    def refuse(self, injection: Injection) -> None:
        """Raises ``UsageError`` when this pump can never have that fault."""
        ...

    def hinder(self, armed: Armed) -> None:
        """Raises ``UsageError`` when it cannot have it now, as it is."""
        ...

    def strike(self, armed: Armed, others: Iterable[Armed]) -> None:
        """Let it happen now; ``others`` are in force beside it."""
        ...

    def step(self, armed: Armed) -> None:
        """Let the fault in force grow by its next step; raises ``UsageError`` when it cannot."""
        ...

    def relieve(self, armed: Armed, others: Iterable[Armed]) -> None:
        """End what ``strike`` began; ``others`` stay in force."""
        ...

    def tell(self, kind: str, detail: str) -> None:
        """Let everybody who listens to the pump know."""
        ...


class FaultEngine:
    """The faults armed for one pump, oldest first. Iterating gives every order, those that are over included."""

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._armed: list[Armed] = []
        self._last_id = 0

    def __iter__(self) -> Iterator[Armed]:
        return iter(tuple(self._armed))

    def __len__(self) -> int:
        return len(self._armed)

    def list(self) -> tuple[Armed, ...]:
        """Every order given and not taken back, oldest first."""
        return tuple(self._armed)

    @property
    def in_force(self) -> tuple[Armed, ...]:
        """Those whose strike is in force now, or waits for the act that it will spoil."""
        return tuple(armed for armed in self._armed if armed.struck)

    @property
    def watching(self) -> bool:
        """Whether an armed fault waits for an event: then the pump must be driven from event to event."""
        return any(a.injection.trigger.kind is TriggerKind.EVENT and not a.over for a in self._armed)

    def arm(self, injection: Injection, now_ms: int) -> Armed:
        """Take an order; ``now`` strikes at once.

        Raises ``UsageError`` when this pump cannot have it, or its instant is past; nothing is taken then.
        """
        self._patient.refuse(injection)
        trigger = injection.trigger
        for field, at_ms in (("at", trigger.instant_ms), ("until", trigger.until_ms)):
            if at_ms is not None and at_ms < now_ms:
                raise UsageError(f"fault {injection.name} {field}: {at_ms} ms lies before now ({now_ms} ms)")
        armed = Armed(self._last_id + 1, injection, now_ms, next_ms=trigger.instant_ms)
        if trigger.kind is TriggerKind.NOW:
            self._strike(armed, now_ms)
        elif trigger.kind is TriggerKind.HAZARD:
            armed.next_ms = now_ms + injection.wait_ms(0)
        self._last_id = armed.id
        self._armed.append(armed)
        return armed

    def clear(self, what: int | str | None = None) -> tuple[Armed, ...]:
        """Take orders back: one by its number, all of a fault by its name, or all; what is in force ends now.

        Raises ``UsageError`` listing what is armed when nothing of that number or name is.
        """
        chosen = tuple(a for a in self._armed if what is None or what in {a.id, a.name, a.injection.fault.number})
        if not chosen and what is not None:
            known = ", ".join(f"{armed.id} ({armed.name})" for armed in self._armed) or "none"
            raise UsageError(f"fault: {what!r} is not armed; armed: {known}")
        for armed in chosen:
            self._armed.remove(armed)
            self._relieve(armed)
        return chosen

    # --- what the pump calls -----------------------------------------------------------------------------------------

    def next_ms(self, now_ms: int) -> int | None:
        """When something strikes, grows, ends or gives up next by the clock alone, not before ``now_ms``."""
        instants = [
            at_ms
            for armed in self._armed
            for at_ms in (armed.next_ms, armed.grows_ms, armed.ends_ms, armed.waits_until_ms)
            if at_ms is not None
        ]
        return max(now_ms, min(instants)) if instants else None

    def apply_due(self, now_ms: int) -> None:
        """Do what is due by the clock at or before now: ends, then what grows, then strikes, then who gives up."""
        for armed in tuple(self._armed):
            if armed.ends_ms is not None and armed.ends_ms <= now_ms:
                self._relieve(armed)
        for armed in tuple(self._armed):
            if armed.grows_ms is not None and armed.grows_ms <= now_ms:
                self._grow(armed)
        for armed in tuple(self._armed):
            if armed.next_ms is not None and armed.next_ms <= now_ms:
                armed.next_ms = None
                self._try(armed, now_ms)
                self._after_clock(armed, now_ms)
        for armed in self._armed:
            if armed.waits_until_ms is not None and armed.waits_until_ms <= now_ms:
                armed.over, armed.next_ms = True, None

    def notice(self, events: Sequence[PumpEvent], now_ms: int) -> None:
        """These events happened in the pump at this instant: end what they mend, strike what waited for them."""
        for event in events:
            self._mended(event)
            for armed in tuple(self._armed):
                if armed.waits_for(event):
                    armed.matches += 1
                    # At most one strike an instant: one whose own strike makes its event must not go round for ever.
                    if armed.matches % armed.injection.trigger.nth == 0 and armed.last_ms != now_ms:
                        self._try(armed, now_ms)

    def _mended(self, event: PumpEvent) -> None:
        for armed in tuple(self._armed):
            if not armed.struck:
                continue
            fault = armed.injection.fault
            catheter = event.kind == "catheter_replaced" and fault.target is Target.CATHETER
            slipped = event.kind == STRUCK and event.detail == armed.name and bool(fault.acts_on_next)
            if slipped or catheter or MENDED_BY.get(event.kind) == armed.name:
                armed.rest()
                if not slipped:
                    self._patient.tell(ENDED, armed.name)

    # --- striking and ending -----------------------------------------------------------------------------------------

    def _try(self, armed: Armed, now_ms: int) -> None:
        """Strike now; where that cannot be, tell so."""
        try:
            self._strike(armed, now_ms)
        except UsageError as reason:
            armed.misses += 1
            armed.last_ms = now_ms
            self._patient.tell(MISSED, str(reason).removeprefix("fault "))

    def _strike(self, armed: Armed, now_ms: int) -> None:
        injection, fault = armed.injection, armed.injection.fault
        if not armed.struck or injection.once:
            self._patient.hinder(armed)
            if not fault.acts_on_next:  # that one strikes when somebody acts, and the bench tells of it then
                self._patient.tell(STRUCK, armed.name)
            armed.struck_ms, armed.steps = now_ms, 1
            self._patient.strike(armed, [other for other in self.in_force if other is not armed])
            armed.struck = not injection.once
            grows_in_ms = injection.grows_in_ms
            armed.grows_ms = None if grows_in_ms is None else now_ms + grows_in_ms
        armed.last_ms = now_ms
        armed.hits += 1
        lasts_ms = injection.strike_lasts_ms
        if armed.struck and lasts_ms is not None:
            armed.ends_ms = now_ms + lasts_ms
        most = injection.most_hits
        armed.over = most is not None and armed.hits >= most

    def _after_clock(self, armed: Armed, now_ms: int) -> None:
        """Once its instant has come: draw the next, or be over."""
        if armed.injection.trigger.kind is not TriggerKind.HAZARD:
            armed.over = True
        elif not armed.over:
            armed.next_ms = now_ms + armed.injection.wait_ms(armed.hits + armed.misses)

    def _grow(self, armed: Armed) -> None:
        armed.grows_ms = None
        try:
            self._patient.step(armed)
        except UsageError as reason:
            self._patient.tell(MISSED, str(reason).removeprefix("fault "))
        else:
            armed.steps += 1
            self._patient.tell(STRUCK, armed.name)

    def _relieve(self, armed: Armed) -> None:
        if armed.struck:
            fault = armed.injection.fault
            self._patient.relieve(armed, [other for other in self.in_force if other is not armed])
            armed.rest()
            if not fault.acts_on_next and not fault.stays:
                self._patient.tell(ENDED, armed.name)

    # --- keeping -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """JSON-able state; take it only when nothing is due (the pump brought up to now)."""
        return {"last_id": self._last_id, "armed": [armed.to_table() for armed in self._armed]}

    def restore(self, value: object, where: str = "faults") -> None:
        """Take a snapshot's state, striking nothing anew; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, ("last_id", "armed"))
        self._last_id = st.integer(state, "last_id", where)
        self._armed = [
            Armed.from_table(item, f"{where}[{i}]") for i, item in enumerate(st.items(state, "armed", where))
        ]

"""A pump by hand: slow, plain and exact, in fractions, written from the documents and not from the pump's code.

Sources: domain.md 2.2 to 2.9, docs/pump-model.md and the decisions it names, the docstrings of ``telemetry.therapy``.
It steps from change to change in the most naive way. Whatever ``telemetry.VirtualPump`` does is held against it
(``test_pump_oracle.py``, ``tools/oracle_campaign.py``). It is given only *orders that the pump accepted*: what a pump
refuses is tested elsewhere; what it must not accept (lock-outs, windows) the player asserts.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from telemetry.model import Activity, AlarmKind, PumpMode
from tests.reference.oracle_drug import NL_PER_ML
from tests.reference.oracle_machine import STOP_ALARMS, Machine
from tests.reference.oracle_parts import Bolus, Plan, Running


class PumpOracle(Machine):
    """What people do to it, each at the instant that it has come to; they have looked at it before."""

    def program(self, plan: Plan, bridge: Running | None = None) -> None:
        """A program committed now; the one that runs makes way with what it has running."""
        self.abandon()
        self.emit("program_committed", self._next_sequence())
        self.plan = plan
        self.highest_ms = self.clock.local(self.now_ms)
        self._start(bridge)
        self.settle()

    def _next_sequence(self) -> str:
        self.sequence += 1
        return str(self.sequence)

    def _start(self, bridge: Running | None, *, anew: bool = True) -> None:
        if self.empty_ms is not None or self.stopped_ms is not None:
            self.emit("delivery_started", self.plan.mode)
        if not anew:
            self._move_plan()
        self.stopped_ms = self.empty_ms = None
        for kind in STOP_ALARMS:
            self.clear_alarm(kind)
        if anew:
            self.plan_ms = None if bridge else self.now_ms
            self.last_due = None
            self.activity = bridge
            if bridge is not None:
                self.emit("bridge_started", Activity.BRIDGE)

    def _move_plan(self) -> None:
        since = self.halted_since()
        if self.plan_ms is not None and since is not None:
            moved = self.now_ms - since
            self.plan_ms += moved
            if self.last_due is not None:
                self.last_due = (self.last_due[0] + moved, self.last_due[1])

    def stop(self) -> None:
        """Stop at the bench; a bridge waits, whatever else runs is over."""
        self.interrupt()
        self.emit("stopped", "bench")
        if self.stopped_ms is None:
            if self.delivering:
                self.emit("delivery_stopped", PumpMode.STOPPED)
            self.stopped_ms = self.now_ms
            if not self.ended:
                self.raise_alarm(AlarmKind.THERAPY_STOPPED)
        self.settle()

    def resume(self) -> None:
        """The program goes on where it was, a bridge as well."""
        self.emit("resumed")
        self._start(None, anew=False)
        self.activity, self.kept_bridge = self.kept_bridge, None
        if self.activity is not None:
            self.emit("bridge_started", Activity.BRIDGE)
        self.settle()

    def bolus(self, bolus: Bolus) -> None:
        """One bolus now."""
        self.begin(Activity.BOLUS, bolus)

    def patient_bolus(self) -> None:
        """The patient's button, granted."""
        assert self.plan.patient is not None
        self.begin(Activity.PATIENT_BOLUS, self.plan.patient)
        self.patient_starts.append(self.now_ms)

    def prime(self, volume_nl: int, rate: int) -> None:
        """Fill the path fast."""
        self.activity = Running(Activity.PRIME, volume_nl, rate)
        self.emit("prime_started", Activity.PRIME)

    def refill(
        self, volume_nl: int, strength: int, plan: Plan | None, bridge: Running | None, *, needle: bool, runs: bool
    ) -> None:
        """Withdraw, fill, tell; ``plan`` none: the one in force goes on. ``needle`` false: only the books."""
        if needle:
            self.reservoir.withdraw()
            self.reservoir.fill(max(0, volume_nl - ceil(self.reservoir.volume)), strength)
        self.bridge_strength = self.strength if bridge is not None else self.bridge_strength
        self.calculated, self.strength = Fraction(volume_nl), strength
        self.generation += 1
        bridging = self.kept_bridge is not None or (self.activity is not None and self.activity.kind is Activity.BRIDGE)
        same = (plan is None or plan == self.plan) and bridge is None and not bridging
        self.abandon()
        self.emit("refilled", str(self.generation))
        self.emit("program_committed", self._next_sequence())
        if plan is not None:
            self.plan = plan
        if not same:
            self.highest_ms = self.clock.local(self.now_ms)
        if runs:
            self._start(bridge, anew=not same)
        self.empty_ms = None
        if self.reservoir.volume == 0:
            self.emit("reservoir_dry")  # a pump that was told of drug has none
        self.clear_alarm(AlarmKind.EMPTY_RESERVOIR)
        self.settle()

    def set_clock(self, utc_s: int, zone_minutes: int) -> None:
        """Calendar and zone from now on."""
        self.clock.set(self.now_ms, utc_s * 1000, zone_minutes)
        self.highest_ms = max(self.highest_ms, self.clock.local(self.now_ms))
        self.emit("clock_set")
        self.settle()

    def side_port(self, volume_nl: int, strength: int) -> None:
        """A syringe in the side port: between tubing and catheter."""
        self.reservoir.filled_nl += volume_nl
        self.catheter.push(Fraction(volume_nl), strength, at_port=True)

    def pocket(self, volume_nl: int, strength: int) -> None:
        """A needle beside the port: filled, and lost."""
        self.reservoir.filled_nl += volume_nl
        self.catheter.lost += volume_nl
        self.pocket_mass += Fraction(volume_nl * strength, NL_PER_ML)

    def replace_catheter(self, volume_nl: int | None) -> None:
        """A new one, patent, without drug."""
        new = sum(self.catheter.volumes[1:]) if volume_nl is None else volume_nl
        self.reservoir.withdrawn_nl += self.catheter.replace(new)
        self.reservoir.filled_nl += new
        self.bend, self.plain_pass = None, Fraction(1)
        self.reservoir.passes = Fraction(1)
        self.emit("catheter_replaced")

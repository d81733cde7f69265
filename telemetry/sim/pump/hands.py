"""The bench's commands as methods of the device: what a person does to a pump without a programmer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.model import OperationKind
from telemetry.sim.pump import bench, prescribing, recovery
from telemetry.therapy import AlarmSettings, ClockSetting

if TYPE_CHECKING:
    from telemetry.model import PumpLimits
    from telemetry.sim.pump.bench import RefillReport
    from telemetry.sim.pump.core import PumpCore
    from telemetry.sim.pump.ledger import OperationRecord
    from telemetry.sim.pump.prescribing import Bridge
    from telemetry.therapy import Amount, Therapy
    from telemetry.units import Concentration, Duration, FlowRate, Volume


class BenchHands:
    """Everything of ``bench.py``; hard limits hold, warnings count as accepted.

    All of it raises ``Refused`` naming the rule that stands against it, or ``UsageError``.
    """

    core: PumpCore

    def program(self, therapy: Therapy) -> OperationRecord:
        """Program a therapy."""
        return bench.program(self.core, therapy)

    def refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
        *,
        bridge: Bridge | bool = False,
    ) -> RefillReport:
        """Needle and books in one: withdraw the residual, fill, bind and commit anew."""
        return bench.refill(self.core, volume, concentration, therapy, bridge)

    def tell_refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
        *,
        withdrawn: Volume | None = None,
        bridge: Bridge | bool = False,
    ) -> OperationRecord:
        """The books of a refill, without the needle."""
        return bench.tell_refill(self.core, volume, concentration, therapy, withdrawn, bridge)

    def withdraw(self, volume: Volume | None = None) -> Volume:
        """The needle alone: take out so much, or all."""
        return bench.withdraw(self.core, volume)

    def fill(self, volume: Volume, concentration: Concentration, into: str = "reservoir") -> Volume:
        """The needle alone: put in so much, into ``reservoir``, ``pocket`` or ``side_port``."""
        return bench.fill(self.core, volume, concentration, into)

    def replace_catheter(self, volume: Volume | None = None) -> None:
        """A new catheter, patent and without drug."""
        bench.replace_catheter(self.core, volume)

    def adopt_catheter(self, old: BenchHands) -> None:
        """An old pump's catheter, with all that is in it and wrong with it."""
        bench.adopt_catheter(self.core, old.core)

    def bolus(self, amount: Amount, duration: Duration) -> OperationRecord:
        """One bolus on top of the basal."""
        order = prescribing.bolus_order(self.core, amount, duration)
        return bench.give(self.core, OperationKind.BOLUS, order)

    def prime(self, volume: Volume | None = None, rate: FlowRate | None = None) -> OperationRecord:
        """Fill the path fast: all of it as labelled, at the pump's priming rate, unless said otherwise."""
        return bench.give(self.core, OperationKind.PRIME, prescribing.prime_order(self.core, volume, rate))

    def patient_bolus_at_bench(self) -> OperationRecord:
        """What pressing the patient's button would do."""
        return bench.patient_bolus(self.core)

    def set_clock(self, utc_s: int, zone_minutes: int) -> OperationRecord:
        """Set wall clock and zone."""
        return bench.give(self.core, OperationKind.CLOCK, ClockSetting(utc_s, zone_minutes))

    def set_limits(self, limits: PumpLimits) -> OperationRecord:
        """Set what the pump enforces."""
        return bench.give(self.core, OperationKind.LIMITS, limits)

    def configure_alarms(self, settings: AlarmSettings) -> OperationRecord:
        """Set what a clinician may set of the alarms."""
        return bench.give(self.core, OperationKind.ALARM_SETTINGS, settings)

    def stop_at_bench(self) -> OperationRecord:
        """Stop delivery."""
        return bench.stop(self.core)

    def resume_at_bench(self) -> OperationRecord:
        """Resume."""
        return bench.resume(self.core)

    def low_battery_reset(self, *, safe_state: bool = False) -> None:
        """The supply gives way for a moment: power cut, boot, alarm; with ``safe_state`` it trusts no prescription."""
        recovery.low_battery_reset(self.core, safe_state=safe_state)

    def reset_memory(self) -> None:
        """Clear a stored error code, so that the pump takes orders again (domain.md 2.5)."""
        self.core.upsets.stored_error = False
        self.core.emit("memory_reset")

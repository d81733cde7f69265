"""What a person does to a virtual pump at the bench: the needle, and every order, without the wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.units import Concentration, Duration, FlowRate, Quantity, Volume

if TYPE_CHECKING:
    from telemetry.model import PumpLimits
    from telemetry.sim.pump.bench import RefillReport
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.pump.ledger import OperationRecord
    from telemetry.sim.pump.prescribing import Bridge
    from telemetry.therapy import AlarmSettings, Amount, Therapy


class BenchActs(ABC):
    """Each act at the clock's therapy time; hard limits hold, warnings count as accepted.

    All raise ``Refused`` naming the rule that stands against them, and ``UsageError`` for what is no quantity.
    """

    @property
    @abstractmethod
    def device(self) -> PumpDevice:
        """The device, brought to the clock's therapy time."""

    def program(self, therapy: Therapy) -> OperationRecord:
        """Program a therapy at the bench; raises ``Refused`` naming the rule it breaks."""
        return self.device.program(therapy)

    def refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
        *,
        bridge: Bridge | bool = False,
    ) -> RefillReport:
        """Withdraw the residual, fill (full by default), bind and commit anew; raises ``UsageError``, ``Refused``.

        ``bridge``: give the old drug out of the path at a rate of its own first (domain.md 2.7): ``True`` works it out
        from what the pump was told, a ``Bridge`` says it.
        """
        need("volume", volume, Volume)
        need("concentration", concentration, Concentration)
        return self.device.refill(volume, concentration, therapy, bridge=bridge)

    def tell_refill(
        self,
        volume: Volume | None = None,
        concentration: Concentration | None = None,
        therapy: Therapy | None = None,
        *,
        withdrawn: Volume | None = None,
        bridge: Bridge | bool = False,
    ) -> OperationRecord:
        """Tell the pump a refill that a needle did, or did not do: its books alone. Raises like ``refill``."""
        for name, value, kind in (("volume", volume, Volume), ("withdrawn", withdrawn, Volume)):
            need(name, value, kind)
        need("concentration", concentration, Concentration)
        return self.device.tell_refill(volume, concentration, therapy, withdrawn=withdrawn, bridge=bridge)

    def withdraw(self, volume: Volume | None = None) -> Volume:
        """The needle alone: take out so much, or all that comes; returns it. The pump is told nothing."""
        need("volume", volume, Volume)
        return self.device.withdraw(volume)

    def fill(self, volume: Volume, concentration: Concentration, into: str = "reservoir") -> Volume:
        """The needle alone: put so much in; returns what went in. The pump is told nothing.

        ``into``: ``reservoir``, or by mistake ``pocket`` or ``side_port``.
        """
        need("volume", volume, Volume)
        need("concentration", concentration, Concentration)
        return self.device.fill(volume, concentration, into)

    def replace_catheter(self, volume: Volume | None = None) -> None:
        """A new catheter, patent and without drug, as large as the old one unless said otherwise."""
        need("volume", volume, Volume)
        self.device.replace_catheter(volume)

    def adopt_catheter(self, old: BenchActs) -> None:
        """Be implanted on the catheter of an old pump, with all the drug that is in it and whatever is wrong with it.

        By this pump's ledger its own catheter's content is withdrawn and the old one's filled in.
        """
        self.device.adopt_catheter(old.device)

    def bolus(self, amount: Amount, duration: Duration) -> OperationRecord:
        """One bolus on top of the basal; raises ``Refused`` naming the rule it breaks, ``UsageError``."""
        need("duration", duration, Duration)
        return self.device.bolus(amount, duration)

    def prime(self, volume: Volume | None = None, rate: FlowRate | None = None) -> OperationRecord:
        """Fill the path fast: all of it as labelled, at the pump's priming rate, unless said otherwise."""
        need("volume", volume, Volume)
        need("rate", rate, FlowRate)
        return self.device.prime(volume, rate)

    def patient_bolus(self) -> OperationRecord:
        """Press the patient's button; raises ``Refused`` saying why the pump gives nothing."""
        return self.device.patient_bolus_at_bench()

    def set_clock(self, utc_s: int, zone_minutes: int = 0) -> OperationRecord:
        """Set the pump's wall clock and zone (minutes east of UTC)."""
        return self.device.set_clock(utc_s, zone_minutes)

    def set_limits(self, limits: PumpLimits) -> OperationRecord:
        """Set what the pump enforces, within what its profile allows."""
        return self.device.set_limits(limits)

    def configure_alarms(self, settings: AlarmSettings) -> OperationRecord:
        """Set the low-reservoir volume and which alarms may sound."""
        return self.device.configure_alarms(settings)

    def stop(self) -> OperationRecord:
        """Stop delivery at the bench."""
        return self.device.stop_at_bench()

    def resume(self) -> OperationRecord:
        """Resume at the bench, warnings accepted; raises ``Refused`` when that cannot be."""
        return self.device.resume_at_bench()


def need(name: str, value: object, kind: type[Quantity]) -> None:
    """Raises ``UsageError`` showing the form for a value that is given and is no such quantity."""
    if value is not None and not isinstance(value, kind):
        raise UsageError(f'{name}: {value!r} is no {kind.__name__}; write {kind.__name__}.parse("… {kind.SHOWN}")')

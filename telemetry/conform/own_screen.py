"""What the reference tablet has on its screen, and how it writes it: every number with its unit, nothing rounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from telemetry.conform.operator import Field
from telemetry.model import Activity, AlarmSignal, OperationKind, PumpMode
from telemetry.therapy import BolusOrder, ClockSetting, PrimeOrder, RefillOrder
from telemetry.units import MS_PER_SECOND, Concentration, DailyDose, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Alarm, DeliveryReport, Identity, LogRecord, PumpStatus, TherapyState
    from telemetry.programmer import Proposal
    from telemetry.programmer.annunciation import View
    from telemetry.protocol.orders import Order

APPLIED, NOT_APPLIED, UNKNOWN = "APPLIED", "NOT APPLIED", "UNKNOWN"
"""The three words for how a change ended; there is no fourth."""
SIMULATED = "SIMULATED"
OUT_OF_DATE = "OUT OF DATE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNALS = {
    AlarmSignal.OFF: "silent",
    AlarmSignal.ON: "sounding",
    AlarmSignal.SILENCED: "silenced",
    AlarmSignal.LATCHED: "latched, sounding",
    AlarmSignal.ACKNOWLEDGED: "acknowledged",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a pump; ``read_ms`` is the tablet's link time when it was complete."""

    identity: Identity
    status: PumpStatus
    alarms: tuple[Alarm, ...]
    delivery: DeliveryReport | None
    read_ms: int


@dataclass(slots=True)
class Screen:
    """What the tablet knows and shows.

    ``problem``: why the last look failed, "" when it did not. ``review``: the pump's read-back of a change that waits
    for the person. ``open_operations``: changes whose outcome is not known.
    """

    reading: Reading | None = None
    problem: str = ""
    view: View | None = None
    before: TherapyState | None = None
    review: Proposal | None = None
    warnings: tuple[str, ...] = ()
    result: str = ""
    reason: str = ""
    open_operations: list[str] = field(default_factory=list)
    log: tuple[LogRecord, ...] | None = None

    def forget_change(self) -> None:
        """Nothing of an earlier change stands on the screen any more."""
        self.before = self.review = None
        self.warnings = ()
        self.result = self.reason = ""


class Writing:
    """The texts of each field: one small method a field, for whoever wants another tablet.

    Each returns what stands there, "" for nothing. ``stale`` is "" or the mark for values that are out of date.
    """

    def __init__(self) -> None:
        self.screen = Screen()
        self._fields: dict[Field, Callable[[], str]] = {
            Field.SCREEN: self.show_screen,
            Field.RATE: lambda: self._of_reading(self.show_rate),
            Field.DOSE: lambda: self._of_reading(self.show_dose),
            Field.CONCENTRATION: lambda: self._of_reading(self.show_concentration),
            Field.DRUG: lambda: self._of_reading(self.show_drug),
            Field.MODE: lambda: self._of_reading(self.show_mode),
            Field.RESERVOIR: lambda: self._of_reading(self.show_reservoir),
            Field.BATTERY: lambda: self._of_reading(self.show_battery),
            Field.REPLACE_BY: lambda: self._of_reading(self.show_replace_by),
            Field.CLOCK: lambda: self._of_reading(self.show_clock),
            Field.IDENTITY: lambda: self._of_reading(self.show_identity),
            Field.ACTIVITY: lambda: self._of_reading(self.show_activity),
            Field.LAST_HOURS: lambda: self._of_reading(self.show_last_hours),
            Field.SIMULATED: self.show_simulated,
            Field.CONTACT: self.show_contact,
            Field.FRESHNESS: self.show_freshness,
            Field.ALARMS: self.show_alarms,
            Field.BEFORE: self.show_before,
            Field.AFTER: self.show_after,
            Field.WARNINGS: lambda: "\n".join(self.screen.warnings),
            Field.RESULT: self.show_result,
            Field.REASON: lambda: self.screen.reason or self.screen.problem,
            Field.OPEN_OPERATIONS: lambda: "\n".join(self.screen.open_operations),
            Field.LOG: self.show_log,
        }

    def show(self, name: Field) -> str:
        """What stands at a field; "" for nothing."""
        write = self._fields.get(name)
        return "" if write is None else write()

    def _of_reading(self, write: Callable[[Reading], str]) -> str:
        reading = self.screen.reading
        if reading is None:
            return ""
        text, mark = write(reading), self.stale()
        return f"{text} ({mark})" if text and mark else text

    def stale(self) -> str:
        """The mark of values that are out of date, or ""; the tablet knows its own clock."""
        return ""

    # --- what the pump says ------------------------------------------------------------------------------------------

    def show_rate(self, reading: Reading) -> str:
        """``0.170 ml/day``."""
        return str(FlowRate(reading.status.rate_nl_per_day))

    def show_dose(self, reading: Reading) -> str:
        """``340 µg/day``."""
        return str(DailyDose(reading.status.dose_ng_per_day))

    def show_concentration(self, reading: Reading) -> str:
        """``2000 µg/ml``."""
        return str(Concentration(reading.status.concentration_ng_per_ml))

    def show_drug(self, reading: Reading) -> str:
        """``baclofen``."""
        return reading.status.drug.value

    def show_mode(self, reading: Reading) -> str:
        """``simple continuous``; a pump that does not deliver is told in capitals."""
        mode = reading.status.mode
        text = mode.value.replace("_", " ")
        return text.upper() if mode in {PumpMode.STOPPED, PumpMode.EMPTY, PumpMode.SAFE_STATE} else text

    def show_reservoir(self, reading: Reading) -> str:
        """``12.345678 ml (calculated)``."""
        return f"{Volume(reading.status.reservoir_nl)} (calculated)"

    def show_battery(self, reading: Reading) -> str:
        """``83 %``."""
        return f"{reading.status.battery_percent} %"

    def show_replace_by(self, reading: Reading) -> str:
        """``2032-10-17``."""
        return instant(reading.status.replace_by_ms, reading.identity.epoch_utc_s).strftime("%Y-%m-%d")

    def show_clock(self, reading: Reading) -> str:
        """``2026-01-01 00:00:07 UTC``, as the pump's clock stood when it was read."""
        return (_EPOCH + timedelta(seconds=reading.status.clock_utc_s)).strftime("%Y-%m-%d %H:%M:%S UTC")

    def show_identity(self, reading: Reading) -> str:
        """``ITB-40, serial SIM-0001``."""
        return f"{reading.identity.model}, serial {reading.identity.serial}"

    def show_activity(self, reading: Reading) -> str:
        """``bolus, 0.010 ml of which 0.002 ml are given``; "none" without one."""
        delivery = reading.delivery
        if delivery is None:
            return ""
        if delivery.activity is Activity.NONE:
            return "none"
        name = delivery.activity.value.replace("_", " ")
        return f"{name}, {Volume(delivery.activity_volume_nl)}, given {Volume(delivery.activity_delivered_nl)}"

    def show_last_hours(self, reading: Reading) -> str:
        """``340 µg in 0.170 ml in the last 24 h``."""
        delivery = reading.delivery
        if delivery is None:
            return ""
        return f"{Dose(delivery.window_24h_ng)} in {Volume(delivery.window_24h_nl)} in the last 24 h"

    def show_simulated(self) -> str:
        """``SIMULATED``; before any reading too, since this tablet opens test devices only."""
        reading = self.screen.reading
        return SIMULATED if reading is None or reading.identity.simulated else ""

    def show_contact(self) -> str:
        """Whether the pump is in reach."""
        return f"NO CONTACT: {self.screen.problem}" if self.screen.problem else "in contact"

    def show_freshness(self) -> str:
        """From when what is shown is."""
        return self.stale() or ("up to date" if self.screen.reading is not None else "nothing was read yet")

    # --- alarms ------------------------------------------------------------------------------------------------------

    def show_alarms(self) -> str:
        """One alarm a line, the highest first; ``none`` where there is none; a mark where they are old."""
        view, reading = self.screen.view, self.screen.reading
        if view is None or reading is None:
            return ""
        lines = [line for line in (self.alarm_line(one, reading.alarms) for one in view.announcements) if line]
        mark = self.stale()
        return "\n".join([*(lines or ["none"]), *([f"({mark})"] if mark else [])])

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        """``HIGH  motor stall: the rotor … – present, sounding``; "" leaves the alarm out."""
        kind, priority, text = str(getattr(one, "kind")), getattr(one, "priority"), getattr(one, "text")  # noqa: B009 - an Announcement
        told = next((alarm for alarm in alarms if str(alarm.kind) == kind), None)
        present = "present" if told is None or told.condition_present else "over, latched"
        signal = "" if told is None else f", {_SIGNALS[told.signal]}"
        return f"{priority.value.upper():6} {text} – {present}{signal}"

    # --- a change ----------------------------------------------------------------------------------------------------

    def show_before(self) -> str:
        """What is in force, as the pump said it when the change was staged."""
        return "" if self.screen.before is None else therapy(self.screen.before)

    def show_after(self) -> str:
        """What will be in force, made of the read-back alone."""
        return "" if self.screen.review is None else proposal(self.screen.review)

    def show_result(self) -> str:
        """One of the three words."""
        return self.screen.result

    def show_log(self) -> str:
        """The log, oldest first, one record a line."""
        reading, log = self.screen.reading, self.screen.log
        if reading is None or log is None:
            return ""
        epoch = reading.identity.epoch_utc_s
        return "\n".join(
            f"{record.sequence} {instant(record.at_ms, epoch):%Y-%m-%d %H:%M:%S} {record.code.value.replace('_', ' ')} "
            f"{record.detail} {record.value}"
            for record in log
        )

    def show_screen(self) -> str:
        """Everything that is in sight: what the pump says, its alarms, and the change that is at hand."""
        rows = [(name.value.replace("_", " "), self.show(name)) for name in _IN_SIGHT]
        return "\n".join(f"{name}: {text}" for name, text in rows if text)


_IN_SIGHT = (
    Field.SIMULATED,
    Field.IDENTITY,
    Field.CONTACT,
    Field.FRESHNESS,
    Field.MODE,
    Field.DOSE,
    Field.RATE,
    Field.DRUG,
    Field.CONCENTRATION,
    Field.RESERVOIR,
    Field.BATTERY,
    Field.REPLACE_BY,
    Field.CLOCK,
    Field.ACTIVITY,
    Field.ALARMS,
    Field.BEFORE,
    Field.AFTER,
    Field.WARNINGS,
    Field.RESULT,
    Field.REASON,
    Field.OPEN_OPERATIONS,
)


def instant(pump_ms: int, epoch_utc_s: int) -> datetime:
    """The calendar at an instant of pump time."""
    return _EPOCH + timedelta(seconds=epoch_utc_s, milliseconds=pump_ms)


def therapy(state: TherapyState) -> str:
    """``simple continuous, 340 µg/day = 0.170 ml/day of 2000 µg/ml``."""
    mode = state.mode.value.replace("_", " ")
    if not state.rate_nl_per_day:
        return mode.upper()
    flow = f"{DailyDose(state.dose_ng_per_day)} = {FlowRate(state.rate_nl_per_day)}"
    return f"{mode}, {flow} of {Concentration(state.concentration_ng_per_ml)}"


def proposal(made: Proposal) -> str:
    """What a read-back says will be: the order itself, and the pump's own sum for 24 h."""
    total = f"in 24 h {Dose(made.dose_24h_ng)} = {Volume(made.volume_24h_nl)}"
    if made.operation is OperationKind.RESUME:
        return f"{therapy(made.after)}; {total}"
    return f"{_order(made.order, made)}; {total}"


def _order(order: Order | None, made: Proposal) -> str:
    match order:
        case BolusOrder():
            span = Duration(order.duration_s * MS_PER_SECOND)
            return f"bolus {Dose(order.dose_ng)} = {Volume(order.volume_nl)} over {span}"
        case PrimeOrder():
            return f"prime {Volume(order.volume_nl)} at {FlowRate(order.rate_nl_per_day)}"
        case RefillOrder():
            parts = [f"reservoir {Volume(order.volume_nl)}", therapy(made.after)]
            if order.program.bridge is not None:
                bridge = order.program.bridge
                rate, old = FlowRate(bridge.rate_nl_per_day), Concentration(bridge.concentration_ng_per_ml)
                parts.append(f"bridge {Volume(bridge.volume_nl)} of {old} at {rate}")
            return "; ".join(parts)
        case ClockSetting():
            return f"clock {(_EPOCH + timedelta(seconds=order.utc_s)):%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return therapy(made.after)


__all__ = ["APPLIED", "NOT_APPLIED", "OUT_OF_DATE", "SIMULATED", "UNKNOWN", "Reading", "Screen", "Writing", "instant"]

"""A therapy as a scenario writes it (``THERAPY_SCHEMA``), as the ``Therapy`` that it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.model import PumpMode
from telemetry.scenario.values import KINDS
from telemetry.therapy import PatientBolusRule, PeriodicBolus, Therapy
from telemetry.units import Duration, parse_delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHAPES = ("rate", "minimum_rate", "steps", "days", "ramp")


def therapy_of(data: Mapping[str, Any]) -> Therapy:
    """The therapy; ``data`` has passed the schema. Raises ``UsageError`` for parts that do not go together."""
    shapes = [name for name in _SHAPES if name in data]
    if len(shapes) != 1:
        said = f"{' and '.join(shapes)} stand together" if shapes else "it says no rate"
        raise UsageError(f"therapy: {said}; exactly one of {', '.join(_SHAPES)}")
    periodic = data.get("periodic_bolus")
    if periodic is not None and shapes != ["rate"]:
        raise UsageError(f"therapy: periodic_bolus goes with a rate, not with {shapes[0]}")
    rule = _patient_bolus(data.get("patient_bolus"))
    if "minimum_rate" in data:
        return Therapy(PumpMode.MINIMUM_RATE, patient_bolus=rule)
    if "rate" in data:
        rate = parse_delivery(data["rate"])
        if periodic is None:
            return Therapy(PumpMode.SIMPLE_CONTINUOUS, rate, patient_bolus=rule)
        return Therapy(PumpMode.PERIODIC_BOLUS, rate, bolus=_periodic(periodic), patient_bolus=rule)
    if "ramp" in data:
        made = Therapy.titration((step["days"], parse_delivery(step["rate"])) for step in data["ramp"])
        return Therapy(made.mode, ramp=made.ramp, patient_bolus=rule)
    if "steps" in data:
        made = Therapy.flex({time: parse_delivery(rate) for time, rate in data["steps"].items()})
    else:
        made = Therapy.weekday(
            {days: {time: parse_delivery(rate) for time, rate in day.items()} for days, day in data["days"].items()}
        )
    return Therapy(made.mode, steps=made.steps, patient_bolus=rule)


def _periodic(data: Mapping[str, str]) -> PeriodicBolus:
    interval = Duration.parse(data["every"])
    first_in = Duration.parse(data["first_in"]) if "first_in" in data else interval
    return PeriodicBolus(KINDS["amount"].read(data["amount"]), Duration.parse(data["over"]), interval, first_in)


def _patient_bolus(data: Mapping[str, Any] | None) -> PatientBolusRule | None:
    if data is None:
        return None
    return PatientBolusRule(
        KINDS["amount"].read(data["amount"]),
        Duration.parse(data["over"]),
        Duration.parse(data["lockout"]),
        data["max_per_24h"],
    )

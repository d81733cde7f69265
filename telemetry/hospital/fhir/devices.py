"""The pump, its telemeter, its metrics, and what each metric said: Device, DeviceMetric, Observation."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from telemetry.hospital import codes
from telemetry.hospital.fhir.parts import (
    Resource,
    coded,
    identity_of,
    instant,
    note,
    own,
    quantity,
    reference,
    resource,
)
from telemetry.hospital.metrics import CALCULATED, METRICS, Category, ml

if TYPE_CHECKING:
    from telemetry.hospital.metrics import Metric
    from telemetry.interrogation import Interrogation
    from telemetry.model import Identity

MAKER = "itb-telemetry, SIMULATED"
_SERIAL_NUMBER = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SNO", "display": "Serial Number"}]
}
_SIMULATED = "SIMULATED device: nothing here is of a real pump or of a person."


def pump_id(who: Identity) -> str:
    """The identity of the pump's Device."""
    return identity_of(who, "device")


def metric_id(who: Identity, metric: Metric) -> str:
    """The identity of a DeviceMetric."""
    return identity_of(who, "metric", metric.handle)


def devices(seen: Interrogation) -> list[Resource]:
    """The pump, and the telemeter that it was read through."""
    who, relay = seen.identity, seen.telemeter
    relay_id = identity_of(who, "telemeter", relay.serial)
    properties = [
        ("reservoir-capacity", "reservoir capacity", ml(who.reservoir_capacity_nl), codes.ML),
        ("tubing-volume", "volume of the pump's tubing", ml(who.tubing_volume_nl), codes.ML),
        ("catheter-volume", "volume of the catheter, as the pump was told", ml(who.catheter_volume_nl), codes.ML),
        (codes.CALIBRATION.own, codes.CALIBRATION.label, Decimal(who.calibration_ppm), codes.PPM),
    ]
    pump = resource(
        "Device",
        pump_id(who),
        identifier=[
            {"type": _SERIAL_NUMBER, "system": codes.OWN_SYSTEM, "value": who.serial},
            {"system": codes.OWN_SYSTEM, "value": who.pump_id.hex()},
        ],
        displayName=f"SIMULATED pump {who.serial}",
        status="active",
        manufacturer=MAKER,
        serialNumber=who.serial,
        modelNumber=who.model,
        name=[{"value": f"SIMULATED {who.model}", "type": "user-friendly-name", "display": True}],
        type=[coded(codes.PUMP_MDS)],
        version=[{"type": own("firmware", "firmware"), "value": str(who.firmware)}],
        property=[
            {"type": own(code, words), "valueQuantity": quantity(value, unit)}
            for code, words, value, unit in properties
        ],
        gateway=[{"reference": reference(relay_id)}],
        note=note(_SIMULATED),
    )
    telemeter = resource(
        "Device",
        relay_id,
        identifier=[{"type": _SERIAL_NUMBER, "system": codes.OWN_SYSTEM, "value": relay.serial}],
        displayName=f"SIMULATED telemeter {relay.serial}",
        status="active",
        manufacturer=MAKER,
        serialNumber=relay.serial,
        name=[{"value": f"SIMULATED telemeter {relay.serial}", "type": "user-friendly-name", "display": True}],
        type=[coded(codes.TELEMETER)],
        version=[{"type": own("firmware", "firmware"), "value": str(relay.firmware)}],
        note=note(_SIMULATED),
    )
    return [pump, telemeter]


def metrics(seen: Interrogation) -> list[Resource]:
    """One DeviceMetric for each row of the table. The flow's is calibrated; since when, the pump does not say."""
    who = seen.identity
    return [
        resource(
            "DeviceMetric",
            metric_id(who, metric),
            identifier=[{"system": codes.OWN_SYSTEM, "value": f"{who.pump_id.hex()}/{metric.handle}"}],
            type=coded(metric.term),
            unit=_unit(metric) if metric.numeric else None,
            device=reference(pump_id(who)),
            operationalStatus="on",
            category=metric.category.value,
            calibration=[{"type": "gain", "state": "calibrated"}] if metric.handle == "flow-rate" else None,
        )
        for metric in METRICS
    ]


def observations(seen: Interrogation) -> list[Resource]:
    """What each metric said at this reading, as of the host's time at which it was read."""
    who = seen.identity
    at = instant(seen.read_utc_ms)
    return [
        resource(
            "Observation",
            identity_of(who, "observation", metric.handle, seen.status.boot_epoch, seen.status.now_ms),
            status="final",
            code=coded(metric.term),
            subject=reference(pump_id(who), f"SIMULATED pump {who.serial}"),
            effectiveDateTime=at,
            issued=at,
            device=reference(metric_id(who, metric)),
            note=note(f"SIMULATED. {CALCULATED.capitalize()}.") if metric.category is Category.CALCULATION else None,
            **_value(metric, seen),
        )
        for metric in METRICS
    ]


def _unit(metric: Metric) -> dict[str, object]:
    unit = metric.unit
    return {"coding": [{"system": codes.UCUM_URI, "code": unit.ucum, "display": unit.label or unit.ucum}]}


def _value(metric: Metric, seen: Interrogation) -> dict[str, object]:
    found = metric.read(seen)
    if isinstance(found, Decimal):
        return {"valueQuantity": quantity(found, metric.unit)}
    if metric.values:
        return {"valueCodeableConcept": own(f"{metric.term.own}.{found}", found.replace("_", " "))}
    return {"valueString": found}

"""What drug was given, by the pump's own account: MedicationAdministration for the rate in force and for boluses.

A bolus is what the log says of it: a volume, its beginning and its end. Its dose is told only where the log shows that
the reservoir has not been filled since, because the log does not keep the concentration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.hospital import codes
from telemetry.hospital.fhir.devices import pump_id
from telemetry.hospital.fhir.parts import (
    Resource,
    identity_of,
    instant,
    note,
    pump_instant,
    quantity,
    reference,
    resource,
)
from telemetry.hospital.metrics import CALCULATED, exact, ml, ug
from telemetry.model import Activity, LogCode, PumpMode
from telemetry.units import NL_PER_ML

if TYPE_CHECKING:
    from decimal import Decimal

    from telemetry.interrogation import Interrogation
    from telemetry.model import Drug, LogRecord

_BOLUSES = frozenset({Activity.BOLUS, Activity.PATIENT_BOLUS, Activity.PERIODIC_BOLUS})
_ACTIVITIES = tuple(Activity)
_NO_MORE = frozenset({PumpMode.END_OF_SERVICE, PumpMode.SHELF})
_NANO = 3
PERSON = "patient"


def patient(seen: Interrogation) -> Resource:
    """The placeholder that an administration cannot do without; it is nobody and says so."""
    return resource(
        "Patient",
        identity_of(seen.identity, PERSON),
        active=False,
        name=[{"use": "anonymous", "text": "SIMULATED: no person"}],
    )


def rate_in_force(seen: Interrogation) -> Resource:
    """The infusion as the status has it: dose a day as its rate, the flow in words beside it."""
    status, who = seen.status, seen.identity
    flow = f"{ml(status.rate_nl_per_day)} ml/day of {_strength(status.concentration_ng_per_ml)}"
    return resource(
        "MedicationAdministration",
        identity_of(who, "infusion", status.boot_epoch, status.now_ms),
        status=_status(status.mode, status.rate_nl_per_day),
        medication={"concept": _drug(status.drug)},
        subject=reference(identity_of(who, PERSON), "SIMULATED: no person"),
        occurenceDateTime=instant(seen.read_utc_ms),
        device=[{"reference": reference(pump_id(who))}],
        dosage={
            "text": f"{ug(status.dose_ng_per_day)} µg/day: {flow}, mode {status.mode.value}",
            "route": _route(),
            "rateQuantity": quantity(ug(status.dose_ng_per_day), codes.UG_PER_DAY),
        },
        note=note("SIMULATED. The rate in force when the pump was read; what reaches the catheter's tip may differ."),
    )


@dataclass(slots=True)
class Bolus:
    """A bolus as the log has it; what the log does not have is None. ``cancelled`` ends it before its volume."""

    kind: Activity
    sequence: int
    started_ms: int | None = None
    ended_ms: int | None = None
    ordered_nl: int | None = None
    given_nl: int | None = None
    cancelled: bool = False
    same_fill: bool = True


def boluses(seen: Interrogation) -> list[Resource]:
    """Every bolus that the records tell of, oldest first."""
    return [_bolus(seen, found) for found in told_boluses(seen)]


def told_boluses(seen: Interrogation) -> list[Bolus]:
    """Beginnings and ends of boluses, put together; at most one runs at a time."""
    found: list[Bolus] = []
    running: Bolus | None = None
    for record in seen.log:
        if record.code is LogCode.REFILLED:
            for bolus in found:
                bolus.same_fill = False
        kind = _kind(record)
        if kind is None:
            continue
        if record.code is LogCode.BOLUS_STARTED:
            running = Bolus(kind, record.sequence, started_ms=record.at_ms, ordered_nl=record.value)
            found.append(running)
            continue
        if running is None or running.kind is not kind:
            running = Bolus(kind, record.sequence)
            found.append(running)
        running.ended_ms, running.given_nl = record.at_ms, record.value
        running.cancelled = record.code is LogCode.BOLUS_CANCELLED
        running = None
    return found


def _kind(record: LogRecord) -> Activity | None:
    if record.code not in {LogCode.BOLUS_STARTED, LogCode.BOLUS_ENDED, LogCode.BOLUS_CANCELLED}:
        return None
    kind = _ACTIVITIES[record.detail] if record.detail < len(_ACTIVITIES) else None
    return kind if kind in _BOLUSES else None


def _bolus(seen: Interrogation, told: Bolus) -> Resource:
    who = seen.identity
    running = told.ended_ms is None and seen.delivery.activity is told.kind
    if told.ended_ms is None:
        state = "in-progress" if running else "unknown"
    else:
        state = "stopped" if told.cancelled else "completed"
    volume_nl = told.ordered_nl if told.given_nl is None else told.given_nl
    return resource(
        "MedicationAdministration",
        identity_of(who, "bolus", told.sequence),
        status=state,
        medication={"concept": _drug(seen.status.drug)},
        subject=reference(identity_of(who, PERSON), "SIMULATED: no person"),
        device=[{"reference": reference(pump_id(who))}],
        occurencePeriod={
            **({} if told.started_ms is None else {"start": pump_instant(who, told.started_ms)}),
            **({} if told.ended_ms is None else {"end": pump_instant(who, told.ended_ms)}),
        },
        dosage=None if volume_nl is None else _dosage(seen, told, volume_nl),
        note=note(*_bolus_notes(told, running=running)),
    )


def _dosage(seen: Interrogation, told: Bolus, volume_nl: int) -> dict[str, object]:
    what = "given" if told.given_nl is not None else "ordered"
    words = f"{told.kind.value.replace('_', ' ')}: {ml(volume_nl)} ml {what}"
    if told.same_fill:
        words += f" ({_dose(volume_nl, seen.status.concentration_ng_per_ml)} µg at the concentration of this filling)"
    return {"text": words, "route": _route(), "dose": quantity(ml(volume_nl), codes.ML)}


def _bolus_notes(told: Bolus, *, running: bool) -> list[str]:
    words = [f"SIMULATED. From the pump's log: {CALCULATED}."]
    if told.started_ms is None:
        words.append("Its beginning is not in the records that were read.")
    if told.ended_ms is None and not running:
        words.append("Its end is not in the records that were read, and the pump says that it does not run now.")
    if not told.same_fill:
        words.append("The reservoir was filled since: dose and drug of this bolus are not in the log.")
    return words


def _status(mode: PumpMode, rate_nl_per_day: int) -> str:
    if rate_nl_per_day > 0:
        return "in-progress"
    return "stopped" if mode in _NO_MORE else "on-hold"


def _dose(volume_nl: int, concentration_ng_per_ml: int) -> Decimal:
    """Micrograms in a volume, to whole nanograms, rounded down as the pump's windows are."""
    return exact(volume_nl * concentration_ng_per_ml // NL_PER_ML, _NANO)


def _strength(concentration_ng_per_ml: int) -> str:
    return f"{ug(concentration_ng_per_ml)} µg/ml"


def _drug(drug: Drug) -> dict[str, object]:
    code, name = codes.DRUGS[drug]
    coding = [{"system": codes.ATC_URI, "code": code, "display": name}]
    return {"coding": coding, "text": f"{name}, solution for intrathecal infusion (SIMULATED)"}


def _route() -> dict[str, object]:
    system, code, name = codes.INTRATHECAL
    return {"coding": [{"system": system, "code": code, "display": name}], "text": "intrathecal"}

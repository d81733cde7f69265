"""What FHIR resources are made of here: identities, codes, quantities, instants, references.

An identity is a UUID made of the pump's id and of what it names, so that the same fact always has the same one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from telemetry.hospital import codes
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from decimal import Decimal

    from telemetry.hospital.codes import Term, Unit
    from telemetry.model import Identity

Resource = dict[str, Any]
"""One resource as JSON has it."""
_HTEST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
"""The tag by which FHIR tells test data apart."""


def resource(kind: str, identity: str, **content: object) -> Resource:
    """A resource with its identity and the tag of test data; what is None is left out."""
    given = {name: value for name, value in content.items() if value is not None}
    return {"resourceType": kind, "id": identity, "meta": {"tag": [dict(_HTEST)]}, **given}


def identity_of(who: Identity, *parts: object) -> str:
    """The identity of a fact about this pump."""
    return str(codes.named("fhir", who.pump_id.hex(), *parts))


def reference(identity: str, display: str | None = None) -> dict[str, str]:
    """A reference inside the bundle."""
    return {"reference": f"urn:uuid:{identity}", **({} if display is None else {"display": display})}


def coded(term: Term) -> dict[str, Any]:
    """A term with our code always, and the standard's where it is sure; one that is only near is left out."""
    coding = [{"system": codes.OWN_SYSTEM, "code": term.own, "display": term.label}]
    if term.mdc is not None and not term.nearest:
        coding.insert(0, {"system": codes.MDC_URI, "code": str(term.mdc), "display": term.symbol})
    return {"coding": coding, "text": term.label}


def own(code: str, words: str) -> dict[str, Any]:
    """A code of ours with its words."""
    return {"coding": [{"system": codes.OWN_SYSTEM, "code": code, "display": words}], "text": words}


def quantity(value: Decimal, unit: Unit) -> dict[str, Any]:
    """A number with its unit; the number stays exact up to the bundle's text."""
    return {"value": value, "unit": unit.label or unit.ucum, "system": codes.UCUM_URI, "code": unit.ucum}


def instant(utc_ms: int) -> str:
    """Milliseconds since 1970 as FHIR writes an instant."""
    whole = datetime.fromtimestamp(utc_ms // MS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    thousandths = utc_ms % MS_PER_SECOND
    return f"{whole}.{thousandths:03}Z" if thousandths else f"{whole}Z"


def pump_instant(who: Identity, at_ms: int) -> str:
    """An instant of pump time by the pump's own epoch."""
    return instant(who.epoch_utc_s * MS_PER_SECOND + at_ms)


def note(*words: str) -> list[dict[str, str]]:
    """Notes."""
    return [{"text": text} for text in words]

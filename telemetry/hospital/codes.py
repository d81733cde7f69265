"""The codes and units that both views use, each with where its number is from; nothing here is guessed.

Terms of IEEE 11073-10101 carry a number only where public message samples of several makers agree on it (domain.md 5.7,
which says to hold them against the bought table before use); whatever has none is in a coding system of this project.
Units are UCUM, with the term of 11073-10101 beside where its number is known in the same way.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from telemetry.model import Drug

MDC_URI = "urn:iso:std:iso:11073:10101"
"""IEEE 11073-10101 as FHIR names it."""
UCUM_URI = "http://unitsofmeasure.org"
UCUM_OID = "urn:oid:2.16.840.1.113883.6.8"
"""UCUM as BICEPS names it: a coding system is a URI there too, and OIDs are usual."""
OWN_NAMESPACE = uuid.UUID("4af68ae2-b07c-4184-be2a-63d273c7d15b")
"""Drawn once; what is named by UUID here is named under it."""
OWN_SYSTEM = f"urn:oid:2.25.{OWN_NAMESPACE.int}"
"""The project's own coding system (anybody may make an OID of a UUID, ITU-T X.667)."""
OWN_SYSTEM_NAME = "itb-telemetry, simulated pumps"


@dataclass(frozen=True, slots=True)
class Term:
    """A concept. ``own`` is its name here; ``mdc`` and ``symbol`` its term in 11073-10101, if that is sure.

    ``nearest`` says that the standard's term is only close, so that it stands as a translation and not as the code.
    """

    own: str
    label: str
    mdc: int | None = None
    symbol: str = ""
    nearest: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its UCUM code, how a person reads it, and its term of 11073-10101 if that is sure."""

    ucum: str
    label: str
    mdc: int | None = None
    symbol: str = ""


ML_PER_DAY = Unit("mL/d", "ml/day")
UG_PER_DAY = Unit("ug/d", "µg/day")
MG_PER_ML = Unit("mg/mL", "mg/ml", 264306, "MDC_DIM_MILLI_G_PER_ML")
ML = Unit("mL", "ml", 263762, "MDC_DIM_MILLI_L")
UG = Unit("ug", "µg")
DAYS = Unit("d", "days")
PERCENT = Unit("%", "%", 262688, "MDC_DIM_PERCENT")
PPM = Unit("[ppm]", "ppm")
COUNT = Unit("{count}", "count")
NO_UNIT = Unit("1", "", 262656, "MDC_DIM_DIMLESS")
UNITS = (ML_PER_DAY, UG_PER_DAY, MG_PER_ML, ML, UG, DAYS, PERCENT, PPM, COUNT, NO_UNIT)
"""Every unit that leaves this package."""

PUMP_MDS = Term("infusion-pump", "implanted infusion pump, SIMULATED", 69985, "MDC_DEV_PUMP_INFUS_MDS")
PUMP_VMD = Term("pump", "pump", 69986, "MDC_DEV_PUMP_INFUS_VMD")
SOURCE_CHANNEL = Term("source-channel", "reservoir", 126977, "MDC_DEV_PUMP_INFUS_CHAN_SOURCE")
DELIVERY_CHANNEL = Term("delivery-channel", "delivery", 126978, "MDC_DEV_PUMP_INFUS_CHAN_DELIVERY")
SERVICE_CHANNEL = Term("service-channel", "battery and service life")
ALERT_SYSTEM = Term("alert-system", "alarms of the pump, as last read")
CALIBRATION = Term("flow-calibration", "calibration constant of the flow, as the pump was told it")
TELEMETER = Term("telemeter", "telemeter, SIMULATED")

ATC_URI = "http://www.whocc.no/atc"
"""WHO's Anatomical Therapeutic Chemical classification, as FHIR names it."""
DRUGS = {
    Drug.BACLOFEN: ("M03BX01", "baclofen"),
    Drug.MORPHINE: ("N02AA01", "morphine"),
}
"""ATC code and name of the substance; the form for the spine has no code of its own there."""
INTRATHECAL = ("http://snomed.info/sct", "72607000", "Intrathecal route")


def named(*parts: object) -> uuid.UUID:
    """The UUID that always belongs to these parts."""
    return uuid.uuid5(OWN_NAMESPACE, "\x1f".join(str(part) for part in parts))

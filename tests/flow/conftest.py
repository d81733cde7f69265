"""Parts of the flow bench for its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.flow.document import Corrections
from telemetry.flow.measuring import Plan
from telemetry.report.flow import IMPLANTABLE
from telemetry.units import MS_PER_HOUR

if TYPE_CHECKING:
    from typing import Any

RATE = 480_000
"""nl/day: 80 strokes of 250 nl an hour, so that strokes and samples share their grid."""


def corrections(**changed: int) -> Corrections:
    given: dict[str, Any] = {"density_ug_per_ml": 998_200, "density_uncertainty_ppm": 300, "air_ug_per_ml": 1_200}
    return Corrections(**{**given, **changed})


def plan(hours: int = 60, **changed: Any) -> Plan:  # noqa: ANN401 - any field of a plan
    given: dict[str, Any] = {
        "kind": "flow",
        "title": "a measurement",
        "scheme": IMPLANTABLE.name,
        "every_ms": MS_PER_HOUR,
        "stabilise_ms": 0,
        "windows_ms": IMPLANTABLE.windows_ms,
        "rate_nl_per_day": RATE,
        "samples": hours,
        "corrections": corrections(),
    }
    return Plan(**{**given, **changed})

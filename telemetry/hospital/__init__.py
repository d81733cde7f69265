"""A pump as the hospital's systems see one: an IEEE 11073 SDC provider (read only), and FHIR R5 resources.

Everything here is made from sightings (``telemetry.interrogation``) and holds no driver. Extra: ``hospital``.
"""

from __future__ import annotations

from importlib.util import find_spec

from telemetry.errors import UsageError

__all__ = ["need"]


def need(*libraries: str) -> None:
    """Raises ``UsageError`` saying what to install when a library of the extra is missing."""
    missing = [name for name in libraries if find_spec(name.partition(".")[0]) is None]
    if missing:
        raise UsageError(
            f"hospital views need {', '.join(missing)}, which came not with this install: "
            "pip install 'itb-telemetry[hospital]'"
        )

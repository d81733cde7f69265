"""Equipment that is wrong on purpose: each has one fault, and names the step of the catalogue that must find it.

They qualify the kit: a step that passes everything proves nothing. ``telemetry conform self-test`` runs them all.
"""

from __future__ import annotations

from telemetry.conform.bad.declaring import Bad

__all__ = ["Bad"]

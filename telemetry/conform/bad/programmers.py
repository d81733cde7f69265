"""All deliberately bad programmers, in the order of the steps that must find them."""

from __future__ import annotations

from telemetry.conform.bad.acting import BAD_ACTING
from telemetry.conform.bad.showing import BAD_SHOWING

BAD_PROGRAMMERS = tuple(sorted((*BAD_SHOWING, *BAD_ACTING), key=lambda bad: (int(bad.step[2:]), bad.name)))
"""Every bad programmer, with the step that must find it."""

"""Start states of a pump by name: on the shelf, a day old, in mid-life, about its milestones, or any age.

Milestones are reached at the profile's start rate, unheard and unread: *ERI* (elective replacement) and *EOS* (end of
service), see ``battery.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump.battery import service_ages_ms
from telemetry.units import MS_PER_DAY, Duration

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile

NAMED = ("shelf", "day 1", "mid-life", "ERI", "EOS")
_FORMS = "write an age (3 y), a time about a milestone (ERI-1d, ERI+89d, EOS-2 h), or shelf, day 1, mid-life, ERI, EOS"
_MILESTONE = re.compile(r"(?P<milestone>[A-Za-z]+)\s*(?:(?P<sign>[-+])\s*(?P<lead>.+))?")
_DAY = re.compile(r"day\s+(?P<day>[1-9]\d*)")


@dataclass(frozen=True, slots=True)
class StartState:
    """How a pump begins: ``age_ms`` since its activation, or in its box; ``ended``: at its end of service exactly."""

    age_ms: int = 0
    shelf: bool = False
    ended: bool = False


def parse_age(age: str | Duration | None, profile: PumpProfile) -> StartState:
    """The start state that a text or a duration names; raises ``UsageError`` saying what can be written.

    ``day 1`` is one day after activation, ``mid-life`` half of the way to the end of service.
    """
    if age is None:
        return StartState()
    if isinstance(age, Duration):
        return StartState(age.ms)
    text = str(age).strip()
    if text.lower() == "shelf":
        return StartState(shelf=True)
    milestones = dict(zip(("ERI", "EOS"), service_ages_ms(profile, profile.start_rate_nl_per_day), strict=True))
    if text.lower() == "mid-life":
        return StartState(milestones["EOS"] // 2)
    day = _DAY.fullmatch(text.lower())
    if day is not None:
        return _about(text, int(day["day"]) * MS_PER_DAY, milestones)
    match = _MILESTONE.fullmatch(text)
    if match is None:
        try:
            return StartState(Duration.parse(text).ms)
        except UsageError as error:
            raise UsageError(f"age: {error}; {_FORMS}") from None
    base_ms = milestones.get(match["milestone"].upper())
    if base_ms is None:
        raise UsageError(f"age: {age!r} names no milestone; {_FORMS}")
    lead_ms = 0 if match["lead"] is None else Duration.parse(match["lead"]).ms
    if match["sign"] != "+" and lead_ms > base_ms:
        days = base_ms // MS_PER_DAY
        raise UsageError(f"age: {age!r} lies before activation; {match['milestone']} comes at {days} d")
    return _about(text, base_ms + (lead_ms if match["sign"] == "+" else -lead_ms), milestones)


def _about(text: str, age_ms: int, milestones: dict[str, int]) -> StartState:
    ends_ms = milestones["EOS"]
    if age_ms > ends_ms:
        raise UsageError(f"age: {text!r} lies beyond the end of service, which comes at {ends_ms // MS_PER_DAY} d")
    return StartState(ends_ms, ended=True) if age_ms == ends_ms else StartState(age_ms)

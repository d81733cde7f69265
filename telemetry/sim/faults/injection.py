"""One order for a fault: which, how strong, when, how often, for how long; whole numbers, checked, JSON-able.

===============  ==================================================================================================
trigger          strikes
===============  ==================================================================================================
``now``          at once
``at``           at one instant of pump time, ``instant_ms``
``event``        at the instant of every ``nth`` event of that kind (and detail), such as *when a bolus starts*
``hazard``       at random, so many times a year on average; the instants follow from the seed alone
===============  ==================================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.faults.catalogue import Fault, find_fault
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

MS_PER_YEAR = 31_557_600_000
"""365.25 days, the year of the battery's life model (domain.md 2.4)."""
_78_MONTHS_MS = 78 * MS_PER_YEAR // 12
MOST_HITS = 1_000_000
LONGEST_MS = 36_525 * MS_PER_DAY
_PPM = 1_000_000
_MOST_PER_YEAR_PPM = 100_000 * _PPM
_NOTHING: Mapping[str, int] = MappingProxyType({})


class TriggerKind(StrEnum):
    """When a fault strikes."""

    NOW = "now"
    AT = "at"
    EVENT = "event"
    HAZARD = "hazard"


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a fault strikes; raises ``UsageError`` for a part that is missing or does not belong.

    ``per_year_ppm``: the hazard in millionths of a strike a year (5 % a year is 50 000). ``until_ms``: from then on it
    strikes no more; of a fault that is to strike now or at one instant there is nothing to wait for.
    """

    kind: TriggerKind = TriggerKind.NOW
    instant_ms: int | None = None
    event: str = ""
    detail: str | None = None
    nth: int = 1
    per_year_ppm: int = 0
    until_ms: int | None = None

    def __post_init__(self) -> None:
        if (self.instant_ms is not None) is not (self.kind is TriggerKind.AT):
            raise UsageError(f"trigger {self.kind}: an instant belongs to 'at', and to nothing else")
        if bool(self.event) is not (self.kind is TriggerKind.EVENT):
            raise UsageError(f"trigger {self.kind}: the kind of an event belongs to 'event', and to nothing else")
        if bool(self.per_year_ppm) is not (self.kind is TriggerKind.HAZARD):
            raise UsageError(f"trigger {self.kind}: a rate per year belongs to 'hazard', and to nothing else")
        if self.instant_ms is not None and not self.instant_ms >= 0:
            raise UsageError(f"trigger at: {self.instant_ms} ms lies before the pump's epoch")
        if not 1 <= self.nth <= MOST_HITS:
            raise UsageError(f"trigger nth: {self.nth} is outside 1 to {MOST_HITS}")
        if self.until_ms is not None and self.kind not in {TriggerKind.EVENT, TriggerKind.HAZARD}:
            raise UsageError(f"trigger {self.kind}: an end of waiting belongs to 'event' and 'hazard'")
        if not 0 <= self.per_year_ppm <= _MOST_PER_YEAR_PPM:
            raise UsageError(
                f"trigger hazard: {self.per_year_ppm} millionths a year is outside 1 to {_MOST_PER_YEAR_PPM}"
            )


@dataclass(frozen=True, slots=True)
class Injection:
    """An order for a fault; raises ``UsageError`` naming what is unknown or out of range, and what there is.

    ``count``: how often it may strike; 0: without limit, None: once, without limit at a hazard rate. ``lasts_ms``:
    when each strike ends by itself; None: as the fault's own parameters say, else never.
    """

    name: str
    mode: str = ""
    values: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    trigger: Trigger = Trigger()
    count: int | None = None
    lasts_ms: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        fault = self.fault
        object.__setattr__(self, "name", fault.name)  # written by its number (F7), it is meant by its name
        if self.mode and self.mode not in fault.modes:
            raise UsageError(f"fault {fault.name} mode: {self.mode!r} is unknown; modes: {', '.join(fault.modes)}")
        for name, value in self.values.items():
            parameter = fault.parameter(name)
            if type(value) is not int or not parameter.least <= value <= parameter.most:
                raise UsageError(
                    f"fault {fault.name} {name}: {value!r} is outside {parameter.least} to {parameter.most}"
                )
        if self.count is not None and not 0 <= self.count <= MOST_HITS:
            raise UsageError(f"fault {fault.name} count: {self.count} is outside 0 (no limit) to {MOST_HITS}")
        if self.lasts_ms is not None and not 1 <= self.lasts_ms <= LONGEST_MS:
            raise UsageError(f"fault {fault.name} lasts_ms: {self.lasts_ms} is outside 1 to {LONGEST_MS}")
        if self.lasts_ms is not None and (self.once or fault.acts_on_next or fault.stays):
            why = "what it did stays for good" if fault.stays else "it is over as soon as it has struck"
            raise UsageError(f"fault {fault.name} lasts_ms: {why}; give no duration")
        if type(self.seed) is not int or self.seed < 0:
            raise UsageError(f"fault {fault.name} seed: {self.seed!r} is no whole number from 0 on")

    @property
    def fault(self) -> Fault:
        """The entry of the catalogue."""
        return find_fault(self.name)

    @property
    def mode_in_force(self) -> str:
        """The mode named, else the fault's first."""
        return self.mode or self.fault.mode

    @property
    def once(self) -> bool:
        """Whether a strike is over as soon as it has happened."""
        return self.fault.once or self.mode_in_force in self.fault.once_modes

    @property
    def most_hits(self) -> int | None:
        """How often it may strike; None without limit."""
        if self.count is None:
            return None if self.trigger.kind is TriggerKind.HAZARD else 1
        return self.count or None

    def value(self, name: str) -> int:
        """A parameter's value, its default unless given."""
        return self.values.get(name, self.fault.parameter(name).default)

    def every_value(self) -> dict[str, int]:
        """All parameters with the values in force."""
        return {parameter.name: self.value(parameter.name) for parameter in self.fault.parameters}

    @property
    def strike_lasts_ms(self) -> int | None:
        """How long one strike lasts; None when it does not end by itself."""
        if self.lasts_ms is not None:
            return self.lasts_ms
        names = {parameter.name for parameter in self.fault.parameters}
        own_ms = sum(self.value(name) for name in ("lasts_ms", "binds_ms") if name in names)
        return own_ms or None

    @property
    def grows_in_ms(self) -> int | None:
        """How long after its strike it grows: a rate that jumps once more, a motor eaten up; None when it does not."""
        if self.name == "over_infusion" and self.mode_in_force == "jump":
            return self.value("jumps_after_ms")
        if self.name == "unapproved_drug":
            log_survival = math.log1p(-self.value("failed_at_78_months_ppm") / _PPM)
            return _draw_ms(f"{self.seed}/{self.name}", -log_survival / _78_MONTHS_MS)
        return None

    def wait_ms(self, number: int) -> int:
        """At a hazard rate: how long after the strike before it the ``number``-th one comes, at least 1 ms.

        An exponential wait drawn from seed, fault and number alone, so that it never depends on when it is asked.
        """
        key = f"{self.seed}/{self.name}/{self.mode_in_force}/{number}"
        return _draw_ms(key, self.trigger.per_year_ppm / (_PPM * MS_PER_YEAR))


def _draw_ms(key: str, per_ms: float) -> int:
    """A wait drawn from an exponential distribution of this rate, by the key alone."""
    drawn = Random(key).random()  # noqa: S311 - a simulated fault, no secret
    return max(1, round(min(LONGEST_MS, -math.log1p(-drawn) / per_ms)))

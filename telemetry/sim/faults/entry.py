"""What an entry of the catalogue of faults is made of.

A fault is a name; its *mode* says which of its forms, its *parameters* how strong. Values are integers in the unit that
the parameter's name ends in; whoever reads text (a scenario, a command line) may leave that ending away and write the
unit instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from telemetry.errors import UsageError
from telemetry.model import AlarmKind, Drive
from telemetry.units import MS_PER_DAY, NL_PER_ML

PPM = 1_000_000
LONGEST_MS = 3_660 * MS_PER_DAY


class Target(StrEnum):
    """What a fault strikes."""

    ROTOR = "rotor"
    BATTERY = "battery"
    RESERVOIR = "reservoir"
    CATHETER = "catheter"
    MEMORY = "memory"
    CLOCK = "clock"
    SENSOR = "sensor"
    BEEPER = "beeper"
    FIRMWARE = "firmware"
    ENVIRONMENT = "environment"
    NEEDLE = "needle"
    TABLET = "tablet"
    RADIO = "radio"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One strength of a fault: an integer in the unit its name ends in."""

    name: str
    default: int
    least: int
    most: int
    about: str
    source: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the catalogue.

    ``alarms``: what the pump raises by itself because of it, in time; empty when it stays silent. ``drives`` and
    ``needs_sensor`` say which pumps can have it. ``acts_on_next``: it changes the next act of that kind instead of
    the pump at once. ``once`` (or, in those modes, ``once_modes``): it is over as soon as it has struck. ``stays``:
    what it did is there for good, whoever takes the order back.
    """

    number: str
    name: str
    target: Target
    modes: MappingProxyType[str, str]
    happens: str
    shows: str
    source: str
    confidence: str
    parameters: tuple[Parameter, ...] = ()
    alarms: tuple[AlarmKind, ...] = ()
    drives: tuple[Drive, ...] = tuple(Drive)
    needs_sensor: bool = False
    acts_on_next: str = ""
    once: bool = False
    once_modes: tuple[str, ...] = ()
    stays: bool = False

    @property
    def mode(self) -> str:
        """The mode meant when none is named: the first."""
        return next(iter(self.modes))

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name; raises ``UsageError`` listing them."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(parameter.name for parameter in self.parameters) or "none"
        raise UsageError(f"fault {self.name}: has no parameter {name!r}; it has: {known}")


def modes(**modes: str) -> MappingProxyType[str, str]:
    """The forms that a fault has, by name."""
    return MappingProxyType(modes)


def span(name: str, default_ms: int, about: str, source: str, *, least: int = 1) -> Parameter:
    """A length of time, up to ten years."""
    return Parameter(name, default_ms, least, LONGEST_MS, about, source)


def share(name: str, default: int, about: str, source: str, *, least: int = 0, most: int = PPM) -> Parameter:
    """A part, or an error, in millionths."""
    return Parameter(name, default, least, most, about, source)


def amount(name: str, default: int, about: str, source: str, *, most: int = 60 * NL_PER_ML) -> Parameter:
    """A volume of at least 1 nl."""
    return Parameter(name, default, 1, most, about, source)


ONLY = modes(always="the one form it has")
ROTOR = (Drive.MOTOR,)

"""Fields of a profile given by keyword: quantities by their kind, plain numbers in the unit that the name ends in."""

from __future__ import annotations

from dataclasses import fields, replace

from telemetry.errors import UsageError
from telemetry.sim.pump.profile import PumpProfile
from telemetry.units import Charge, Concentration, DailyDose, Dose, Duration, FlowRate, Quantity, Volume

Override = int | str | bool | tuple[int, ...] | Quantity
"""What a field can be given as."""
_SUFFIXES: dict[str, tuple[type[Quantity], ...]] = {
    "_nl": (Volume,),
    "_nl_per_day": (FlowRate,),
    "_ng_per_ml": (Concentration,),
    "_ng": (DailyDose, Dose),
    "_ms": (Duration,),
    "_pc": (Charge,),
}
_NOT_OVERRIDABLE = frozenset({"name", "drug", "drive", "alarms"})


def overridden(profile: PumpProfile, overrides: dict[str, Override]) -> PumpProfile:
    """The profile with some fields replaced; raises ``UsageError`` listing the fields that can be."""
    allowed = [field.name for field in fields(PumpProfile) if field.name not in _NOT_OVERRIDABLE]
    plain: dict[str, object] = {}
    for name, value in overrides.items():
        if name not in allowed:
            raise UsageError(f"{name}: is no field of a profile; those that can be overridden: {', '.join(allowed)}")
        plain[name] = _plain(name, value)
    return replace(profile, **plain) if plain else profile  # type: ignore[arg-type] # the profile checks each


def _plain(name: str, value: Override) -> object:
    if not isinstance(value, Quantity):
        return value
    kinds = next((kinds for suffix, kinds in _READERS if name.endswith(suffix)), ())
    if not isinstance(value, kinds):
        wanted = f"a {kinds[0].__name__}" if kinds else "a whole number"
        raise UsageError(f"{name}: {value!r} is not {wanted}")
    return value._count  # noqa: SLF001 - the count is what the field holds


_READERS = tuple(sorted(_SUFFIXES.items(), key=lambda pair: len(pair[0]), reverse=True))

"""A fault as people write it (``for=4h``, ``error=20 %``, ``when=bolus_started``) as the ``Injection`` it means.

A parameter is named with or without the unit its name ends in. Without, its value brings the unit: a quantity, or
text such as ``4 h`` or ``20 %``. With it, a whole number counts that unit.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.faults.catalogue import Fault, find_fault
from telemetry.sim.faults.injection import Injection, Trigger, TriggerKind
from telemetry.units import MS_PER_SECOND, Concentration, Duration, Quantity, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | str | Quantity
"""What a parameter can be given as."""
QUANTITIES: tuple[tuple[str, type[Quantity]], ...] = (
    ("_ng_per_ml", Concentration),
    ("_nl", Volume),
    ("_ms", Duration),
)
"""What the name of a parameter ends in, and what its text is read as."""
_SHARE = re.compile(r"(?P<sign>[-+]?)(?P<whole>\d+)(?:\.(?P<part>\d+))?\s*(?P<unit>%|ppm)")
_HAZARD = re.compile(r"(?P<whole>\d+)(?:\.(?P<part>\d{1,6}))?\s*(?P<percent>%)?\s*(?:/|per)\s*(?:y|yr|year)")
_PPM = 1_000_000
_PPM_PER_PERCENT = 10_000
_NOT_FINER_THAN = 6


def short_name(parameter: str) -> str:
    """A parameter's name without the unit it ends in."""
    endings = (*(ending for ending, _ in QUANTITIES), "_ppm")
    return next((parameter.removesuffix(ending) for ending in endings if parameter.endswith(ending)), parameter)


def read_injection(  # noqa: PLR0913 - each is one word of the order, all by name
    name: str,
    mode: str = "",
    *,
    now_ms: int,
    epoch_utc_s: int,
    at: int | str | Duration | None = None,
    after: int | str | Duration | None = None,
    when: str = "",
    nth: int = 1,
    hazard: str | int | None = None,
    within: int | str | Duration | None = None,
    duration: int | str | Duration | None = None,
    count: int | None = None,
    seed: int = 0,
    values: Mapping[str, Value] | None = None,
) -> Injection:
    """The order for this fault; raises ``UsageError`` naming what is unknown or out of range, and what there is.

    ``at``: an instant of pump time (a ``Duration`` since its epoch, its text, or whole ms), or a date in UTC
    (``2026-03-01T12:00Z``). ``after``: so long from now. ``when``: an event and, after a blank, its detail;
    ``nth``: every so-many-th of them. ``hazard``: a rate (``5 %/y``, ``0.05/y``; a whole number counts millionths a
    year). ``within``: so long from now it waits for those at most. ``duration``: when each strike ends. Whole numbers
    of time are ms.
    """
    fault, said_values = find_fault(name), dict(values or {})
    if not mode and isinstance(said_values.get("mode"), str):  # as people write it beside the parameters
        mode = str(said_values.pop("mode"))
    given = [key for key, said in (("at", at), ("after", after), ("hazard", hazard)) if said is not None]
    given += ["when"] if when else []
    if len(given) > 1:
        raise UsageError(f"fault {fault.name}: {' and '.join(given)} stand together; give at most one of them")
    if nth != 1 and not when:
        raise UsageError(f"fault {fault.name} nth: {nth} belongs to 'when', the event that is counted")
    until_ms = None if within is None else now_ms + _span(fault, "within", within)
    if until_ms is not None and not when and hazard is None:
        raise UsageError(f"fault {fault.name} within: it belongs to 'when' and 'hazard', which may keep it waiting")
    if at is not None:
        trigger = Trigger(TriggerKind.AT, instant_ms=_instant(fault, at, epoch_utc_s))
    elif after is not None:
        trigger = Trigger(TriggerKind.AT, instant_ms=now_ms + _span(fault, "after", after))
    elif hazard is not None:
        trigger = Trigger(TriggerKind.HAZARD, per_year_ppm=_hazard(fault, hazard), until_ms=until_ms)
    elif when:
        event, _, detail = when.strip().partition(" ")
        trigger = Trigger(TriggerKind.EVENT, event=event, detail=detail.strip() or None, nth=nth, until_ms=until_ms)
    else:
        trigger = Trigger()
    return Injection(
        name=fault.name,
        mode=mode,
        values=dict(_value(fault, key, value) for key, value in said_values.items()),
        trigger=trigger,
        count=count,
        lasts_ms=None if duration is None else _span(fault, "duration", duration),
        seed=seed,
    )


def _instant(fault: Fault, said: int | str | Duration, epoch_utc_s: int) -> int:
    if isinstance(said, str) and "-" in said:
        try:
            found = datetime.fromisoformat(said.strip())
        except ValueError:
            raise UsageError(f"fault {fault.name} at: {said!r} is no date such as 2026-03-01T12:00Z") from None
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return int(found.timestamp() - epoch_utc_s) * MS_PER_SECOND
    return _span(fault, "at", said)


def _span(fault: Fault, field: str, said: int | str | Duration) -> int:
    if isinstance(said, Duration):
        return said.ms
    if type(said) is int:
        return said
    if not isinstance(said, str):
        raise UsageError(f"fault {fault.name} {field}: {said!r} is no Duration; write Duration.parse('4 h') or '4 h'")
    try:
        return Duration.parse(said).ms
    except UsageError as error:
        raise UsageError(f"fault {fault.name} {field}: {error}") from error


def _hazard(fault: Fault, said: str | int) -> int:
    if isinstance(said, int):
        return said
    match = _HAZARD.fullmatch(said.strip())
    if match is None:
        raise UsageError(f"fault {fault.name} hazard: {said!r} is no rate; write it as '5 %/y' or '0.05/y'")
    millionths = int(match["whole"] + (match["part"] or "").ljust(_NOT_FINER_THAN, "0"))
    rate, rest = divmod(millionths, 100) if match["percent"] else (millionths, 0)
    if rest:
        raise UsageError(f"fault {fault.name} hazard: {said!r} is finer than a millionth a year; it is not rounded")
    return rate


def _value(fault: Fault, key: str, said: Value) -> tuple[str, int]:
    """The parameter's full name and its count."""
    names = [parameter.name for parameter in fault.parameters]
    name = next((name for name in names if key in {name, short_name(name)}), None)
    if name is None:
        near = difflib.get_close_matches(key, [*names, *map(short_name, names)], n=1)
        has = ", ".join(short_name(one) for one in names) or "none"
        hint = f"did you mean {near[0]}?" if near else f"it has: {has}"
        raise UsageError(f"fault {fault.name}: has no parameter {key!r}; {hint}")
    kind = next((kind for ending, kind in QUANTITIES if name.endswith(ending)), None)
    if isinstance(said, Quantity):
        if kind is None or not isinstance(said, kind):
            raise UsageError(f"fault {fault.name} {key}: {said!r} is no {kind.__name__ if kind else 'whole number'}")
        return name, _count(said)
    number = _whole(said)
    if number is not None:
        if key != name:  # the short name, of a parameter whose full name says the unit
            raise UsageError(f"fault {fault.name} {key}: {said!r} has no unit; write it with one, or {name}={said}")
        return name, number
    try:
        if kind is not None:
            return name, _count(kind.parse(str(said)))
        if name.endswith("_ppm"):
            return name, read_share_ppm(str(said))
    except UsageError as error:
        raise UsageError(f"fault {fault.name} {key}: {error}") from error
    raise UsageError(f"fault {fault.name} {key}: {said!r} is no whole number")


def _count(quantity: Quantity) -> int:
    return quantity._count  # noqa: SLF001 - the count is what a parameter holds


def _whole(said: object) -> int | None:
    if isinstance(said, int):
        return None if isinstance(said, bool) else said
    text = str(said).strip().replace("_", "")
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else None


def read_share_ppm(text: str) -> int:
    """A share or an error (``20 %``, ``-5 %``, ``1500 ppm``), exactly; raises ``UsageError``."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"share {text!r}: write it as 20 % or 200000 ppm")
    scale = _PPM_PER_PERCENT if match["unit"] == "%" else 1
    part = match["part"] or ""
    finest: int = 10 ** len(part)
    count, rest = divmod(int(match["whole"] + part) * scale, finest)
    if rest:
        raise UsageError(f"share {text!r} is finer than 1 ppm, the smallest step; it is not rounded")
    return -count if match["sign"] == "-" else count

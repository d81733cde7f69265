"""``@pytest.mark.pump(...)``: which pump a test wants, by keyword, and what is wrong with that if something is."""

from __future__ import annotations

import inspect
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.sim.profiles import DEFAULT_PROFILE
from telemetry.sim.pump.profile import PumpProfile
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.testing.watching import WatchedPump
from telemetry.units import Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest import Mark  # noqa: PT013 - a type only

_NOT_OURS = frozenset({"self", "clock", "overrides"})
"""The clock of a test's pump is always a ``ManualClock`` of its own: that is what ``pump_clock`` moves."""
_SETTINGS = tuple(name for name in inspect.signature(VirtualPump.__init__).parameters if name not in _NOT_OURS)
_FIELDS = tuple(field.name for field in fields(PumpProfile) if field.name not in {"name", "drug", "alarms"})
_READ_AS = {"fill": Volume, "concentration": Concentration}


def settings_of(marks: Iterable[Mark]) -> dict[str, Any]:
    """What the marks ask for together; ``marks`` come closest first, and the closest has the last word.

    Raises ``UsageError`` for a positional argument and for a keyword that no pump has, with the nearest that are.
    """
    settings: dict[str, Any] = {"profile": DEFAULT_PROFILE, "seed": 0}
    for mark in reversed(list(marks)):
        if mark.args:
            shown = ", ".join(map(repr, mark.args))
            raise UsageError(f'pump({shown}): everything is said by name, such as pump(profile="itb-20", seed=7)')
        for name in mark.kwargs:
            _check_name(name)
        settings |= mark.kwargs
    return settings


def _check_name(name: str) -> None:
    if name in _SETTINGS or name in _FIELDS:
        return
    near = get_close_matches(name, (*_SETTINGS, *_FIELDS), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "a pump's settings and fields are:"
    raise UsageError(
        f"pump({name}=...): no pump has that; {hint} settings: {', '.join(_SETTINGS)}; "
        f"fields of the profile: {', '.join(_FIELDS)}"
    )


def build_pump(settings: dict[str, Any]) -> WatchedPump:
    """The pump of these settings; ``fill`` and ``concentration`` may be texts such as ``"3 ml"``.

    Raises ``UsageError`` naming field, value and rule.
    """
    read: dict[str, Any] = {
        name: _READ_AS[name].parse(value) if name in _READ_AS and isinstance(value, str) else value
        for name, value in settings.items()
    }
    return WatchedPump(**read)


def mark_text(settings: dict[str, Any]) -> str:
    """The mark with which a test gets the same pump again."""
    return f"@pytest.mark.pump({', '.join(f'{name}={value!r}' for name, value in settings.items())})"

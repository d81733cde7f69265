"""Mistakes of people that wait for the next act of their kind: at the needle, at the refill, at the programming.

Each is made once, by whoever acts next (``bench.py``), and told then; a second of the same kind has to wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from collections.abc import Mapping

MADE = "fault_struck"
"""The event that tells of a slip, made just now; its detail is the slip's name."""
AT_NEEDLE = ("wrong_concentration", "overfill", "pocket_fill")
AT_REFILL = "bridge_omitted"
AT_PROGRAM = "unit_mix_up"
NAMES = (*AT_NEEDLE, AT_REFILL, AT_PROGRAM)


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake to come: its mode, and how large it is."""

    mode: str
    values: Mapping[str, int]


class Slips:
    """Those that wait, by name."""

    def __init__(self) -> None:
        self._waiting: dict[str, Slip] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slips) and self._waiting == other._waiting

    __hash__ = None  # type: ignore[assignment] # it changes

    def has(self, name: str) -> bool:
        """Whether one of that name waits."""
        return name in self._waiting

    def put(self, name: str, mode: str, values: Mapping[str, int]) -> None:
        """Let one wait; raises ``UsageError`` for an unknown name, and while one of that name waits."""
        if name not in NAMES:
            raise UsageError(f"slip: {name!r} is none of {', '.join(NAMES)}")
        if name in self._waiting:
            raise UsageError(f"slip: {name} waits already; take that one back first")
        self._waiting[name] = Slip(mode, dict(values))

    def look(self, name: str) -> Slip | None:
        """The one of that name; it goes on waiting."""
        return self._waiting.get(name)

    def take(self, name: str) -> Slip | None:
        """The one of that name, which waits no longer; None when there is none."""
        return self._waiting.pop(name, None)

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {name: {"mode": one.mode, "values": dict(one.values)} for name, one in sorted(self._waiting.items())}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        if not isinstance(value, dict):
            raise UsageError(f"snapshot {where}: {type(value).__name__} is no table")
        self._waiting = {}
        for name, kept in value.items():
            at = f"{where}.{name}"
            one = st.table(kept, at, ("mode", "values"))
            numbers = one["values"]
            if not isinstance(numbers, dict):
                raise UsageError(f"snapshot {at}.values: {type(numbers).__name__} is no table")
            values = {str(key): st.integer(numbers, key, f"{at}.values", least=None) for key in numbers}
            self.put(str(name), st.text(one, "mode", at), values)

"""What is wrong with the air around one pump: loss, a trembling hand, a lifted telemeter, strangers (domain.md 4, F30).

The near field of every telemeter over the pump asks here whether a frame gets across. Draws are worked out from seed
and count alone, so that a restored pump goes on with the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from telemetry.errors import Refused, UsageError
from telemetry.model import OperationKind
from telemetry.sim.pump import bench, situations, transactions
from telemetry.sim.pump import state as st

if TYPE_CHECKING:
    from telemetry.sim.faults.injection import Injection
    from telemetry.sim.pump.core import PumpCore

_PPM = 1_000_000
TREMOR_BEGINS_PPM = 20_000
TREMOR_ENDS_PPM = 200_000
TREMOR_BIT_ERRORS_PPM = 10_000
"""Gilbert-Elliott of a trembling hand, for each frame, and the bit error rate while it trembles (domain.md 6)."""
_BITS_PER_BYTE = 8
_STANDING = frozenset({"loss", "tremor", "lifted"})
_OF_A_STATION = frozenset({"replay", "drain"})


class Air(Protocol):
    """A telemeter over the pump, as far as strangers can use it."""

    def replay(self, frames: int) -> int:
        """Send the pump frames that it was sent before, again; returns how many there were."""
        ...

    def wake(self, probes: int) -> None:
        """Keep waking the pump."""
        ...

    def contact_changed(self) -> None:
        """The telemeter was lifted, or is back."""
        ...

    @property
    def heard(self) -> int:
        """How many frames to the pump could be sent again."""
        ...


@dataclass(slots=True)
class _Trouble:
    """One fault in force: its kind, how much, and where its draws stand."""

    mode: str
    lost_ppm: int
    seed: int
    drawn: int = 0
    bad: bool = field(default=False)

    def draw(self) -> int:
        """The next number below a million."""
        self.drawn += 1
        return Random(f"{self.seed}/{self.mode}/{self.drawn}").randrange(_PPM)  # noqa: S311 - a simulated radio

    def loses(self, size_bytes: int) -> bool:
        """Whether the next frame is lost by it."""
        if self.mode == "lifted":
            return True
        if self.mode == "loss":
            return self.draw() < self.lost_ppm
        if self.draw() < (TREMOR_ENDS_PPM if self.bad else TREMOR_BEGINS_PPM):
            self.bad = not self.bad
        whole = 1 - TREMOR_BIT_ERRORS_PPM / _PPM
        return self.bad and self.draw() >= _PPM * whole ** (_BITS_PER_BYTE * size_bytes)


class RadioTrouble:
    """All that is wrong with the radio around one pump; ``stations`` are the telemeters that lie over it."""

    def __init__(self) -> None:
        self._troubles: dict[int, _Trouble] = {}
        self.stations: WeakSet[Air] = WeakSet()

    @property
    def lifted(self) -> bool:
        """Whether no telemeter lies over the pump."""
        return any(trouble.mode == "lifted" for trouble in self._troubles.values())

    def loses(self, size_bytes: int) -> bool:
        """Whether the next frame of this size is lost on its way."""
        lost = [trouble.loses(size_bytes) for trouble in self._troubles.values()]  # each draws, whatever the others do
        return any(lost)

    # --- the fault engine's side -------------------------------------------------------------------------------------

    def hinder(self, core: PumpCore, mode: str) -> None:
        """Raises ``UsageError`` when that cannot be now."""
        if mode in _OF_A_STATION and not self.stations:
            raise UsageError(f"fault radio {mode}: no telemeter has been laid over this pump; open a link first")
        if mode == "replay" and not any(station.heard for station in self.stations):
            raise UsageError("fault radio replay: nobody has sent the pump anything yet that could be sent again")
        if mode == "second_tablet":
            try:
                transactions.check(core, situations.left_of_program(core), at_bench=True)
            except Refused as refused:
                raise UsageError(f"fault radio second_tablet: the pump refuses it as it is: {refused}") from refused

    def strike(self, core: PumpCore, number: int, injection: Injection) -> None:
        """Let it happen, under the order's number."""
        mode = injection.mode_in_force
        if mode in _STANDING:
            self._troubles[number] = _Trouble(mode, injection.value("lost_ppm"), injection.seed)
            self._changed(mode)
        elif mode == "second_tablet":
            bench.give(core, OperationKind.PROGRAM, situations.left_of_program(core), running=core.running)
        else:
            for station in tuple(self.stations):
                if mode == "replay":
                    station.replay(injection.value("frames"))
                else:
                    station.wake(injection.value("frames"))

    def relieve(self, number: int) -> None:
        """End what stands under that number."""
        trouble = self._troubles.pop(number, None)
        if trouble is not None:
            self._changed(trouble.mode)

    def _changed(self, mode: str) -> None:
        if mode == "lifted":
            for station in tuple(self.stations):
                station.contact_changed()

    # --- keeping -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {
            str(number): {"mode": t.mode, "lost_ppm": t.lost_ppm, "seed": t.seed, "drawn": t.drawn, "bad": t.bad}
            for number, t in self._troubles.items()
        }

    def restore(self, value: object, where: str = "radio") -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        if not isinstance(value, dict):
            raise UsageError(f"snapshot {where}: {type(value).__name__} is no table")
        self._troubles = {}
        for key, item in value.items():
            at = f"{where}.{key}"
            one = st.table(item, at, ("mode", "lost_ppm", "seed", "drawn", "bad"))
            mode = st.text(one, "mode", at)
            if mode not in _STANDING or not str(key).isdecimal():
                raise UsageError(f"snapshot {at}: {mode!r} is no standing trouble of the radio")
            self._troubles[int(key)] = _Trouble(
                mode,
                st.integer(one, "lost_ppm", at),
                st.integer(one, "seed", at),
                st.integer(one, "drawn", at),
                st.flag(one, "bad", at),
            )

"""Faults of the programmer's link, put in force and taken away while a test runs."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.protocol.wire import BY_NAME, FrameType, Plane
from telemetry.transport.faults import Direction, FaultPlan, FaultRule

if TYPE_CHECKING:
    from telemetry.testing.watching import WatchedPump
    from telemetry.transport.faults import Passage

_WAY_OF_PLANE = {Plane.REQUEST: Direction.TX, Plane.ANSWER: Direction.RX, Plane.TELEMETER: None}
# The one way in which a name travels, None for either. A frame that holds a message goes by the message's name.
_WAY: dict[str, Direction | None] = {
    FrameType.PROBE.name: Direction.TX,
    FrameType.BEACON.name: Direction.RX,
    FrameType.HELLO.name: Direction.TX,
    FrameType.ACCEPT.name: Direction.RX,
    **{name: _WAY_OF_PLANE[spec.plane] for name, spec in BY_NAME.items()},
}


class LinkFaults(FaultPlan):
    """The ``FaultPlan`` of a test: rules by message name, as text; every hit is noted among the pump's frames.

    The ``programmer`` of the test uses it; another one does with ``telemetry.connect(pump=…, faults=link_faults)``.
    """

    def __init__(self, pump: WatchedPump, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._pump = pump
        self._hits = 0

    @property
    def hits(self) -> int:
        """Faults applied so far, by rules that were taken away too."""
        return self._hits

    def add(self, rule: FaultRule | str) -> FaultRule:
        """Put a rule in force, such as ``"drop:1@rx/VerdictReport*1"``; returns it, for ``seen`` and ``hits``.

        Raises ``UsageError`` for what is no rule (naming the part and the grammar), and for a message name that
        does not exist or never travels in the rule's direction: such a rule would strike nothing.
        """
        __tracebackhide__ = True  # a wrong rule is shown where the test wrote it
        wanted = FaultRule.parse(rule) if isinstance(rule, str) else rule
        _check_name(wanted)
        return super().add(wanted)

    def apply(self, direction: Direction, frame: bytes, frame_type: str | None, now_ms: int) -> list[Passage]:
        """Say what leaves for one frame, and note which rules struck it."""
        before = [rule.hits for rule in self.rules]
        leaving = super().apply(direction, frame, frame_type, now_ms)
        struck = [rule for rule, hits in zip(self.rules, before, strict=True) if rule.hits > hits]
        if struck:
            self._hits += len(struck)
            note = "FAULT " + ", ".join(f"{rule} (hit {rule.hits})" for rule in struck)
            self._pump.note(self._pump.look_into(0, direction, frame, note))
        return leaving


def _check_name(rule: FaultRule) -> None:
    __tracebackhide__ = True
    name = rule.frame_type
    if name is None:
        return
    if name not in _WAY:
        near = get_close_matches(name, _WAY, n=3) or sorted(_WAY)
        raise UsageError(f"fault {rule}: no message is called {name!r}; there is: {', '.join(near)}")
    way = _WAY[name]
    if way is not None and rule.direction not in (None, way):
        goes = "from the programmer to the pump" if way is Direction.TX else "from the pump to the programmer"
        raise UsageError(
            f"fault {rule}: {name} goes {goes} and is never seen @{rule.direction}; write @{way.value}/{name}"
        )

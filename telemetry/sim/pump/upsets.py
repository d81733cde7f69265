"""States that only a fault brings about: a telemetry-mode latch, a stored error code, a wrong date, a stopped update.

Plain attributes, so that a fault can set them at its instant; the pump's own code reads them where they matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.slips import Slips


@dataclass(slots=True)
class Upsets:
    """All of one pump's; by default none.

    ``telemetry_since_ms``: not delivering since then, until somebody interrogates it or, when given, until
    ``telemetry_until_ms`` (domain.md 4, F16). ``stored_error``: reads and runs, takes no order (F14).
    ``stops_while_updating``: halts when an order is staged and goes on only with its commit (F12).
    ``replace_by_shift_ms``: the date it says is off by that; ``replace_by_invalid``: it says none at all (F13).
    ``tubing_told_nl``, ``calibration_told_ppm``: what somebody told it instead of what its profile says (F8, F28).
    ``brownout_ms``: when the next stroke or tone is too much for a battery with a film (F4). ``resets``: when its
    supply gave way within the last hour. ``slips``: mistakes that wait for somebody to act.
    """

    telemetry_since_ms: int | None = None
    telemetry_until_ms: int | None = None
    stored_error: bool = False
    stops_while_updating: bool = False
    replace_by_shift_ms: int = 0
    replace_by_invalid: bool = False
    tubing_told_nl: int | None = None
    calibration_told_ppm: int | None = None
    brownout_ms: int | None = None
    resets: tuple[int, ...] = ()
    slips: Slips = field(default_factory=Slips)

    @property
    def telemetry_mode(self) -> bool:
        """Whether it waits in telemetry mode, not delivering."""
        return self.telemetry_since_ms is not None

    def snapshot(self) -> st.State:
        """JSON-able state."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        return plain | {"resets": list(self.resets), "slips": self.slips.snapshot()}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, [one.name for one in fields(self)])
        for name in ("stored_error", "stops_while_updating", "replace_by_invalid"):
            setattr(self, name, st.flag(state, name, where))
        for name in (
            "telemetry_since_ms",
            "telemetry_until_ms",
            "tubing_told_nl",
            "calibration_told_ppm",
            "brownout_ms",
        ):
            setattr(self, name, st.instant(state, name, where))
        listed = {str(number): item for number, item in enumerate(st.items(state, "resets", where))}
        self.resets = tuple(st.integer(listed, key, f"{where}.resets") for key in listed)
        self.slips.restore(state["slips"], f"{where}.slips")
        self.replace_by_shift_ms = st.integer(state, "replace_by_shift_ms", where, least=None)
        if self.telemetry_until_ms is not None and self.telemetry_since_ms is None:
            raise UsageError(f"snapshot {where}.telemetry_until_ms: given without telemetry_since_ms")

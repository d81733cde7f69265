"""The reservoir twice: what is in it, and what the pump believes is in it (domain.md 0, fact 1).

The pump has no sensor. It counts down the *calculated* volume from the commanded rate; the *true* volume goes
with the true rate, (10^6 + rate_error_ppm) / 10^6 times as fast.
"""

from __future__ import annotations

from telemetry.sim.pump import state as st
from telemetry.sim.pump.path import Path
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, PPM, TRUE_PER_NL, ceil_div


class Reservoir:
    """True and calculated volume, the drug in it, and where every nanolitre went."""

    KEYS = (
        "true_volume",
        "calculated",
        "concentration_ng_per_ml",
        "rate_error_ppm",
        "filled_nl",
        "withdrawn_nl",
        "lost_nl",
        "path",
    )

    def __init__(self, fill_nl: int, path_nl: int, concentration_ng_per_ml: int, rate_error_ppm: int) -> None:
        self.true_volume = fill_nl * TRUE_PER_NL
        self.calculated = fill_nl * COMMANDED_PER_NL
        self.concentration_ng_per_ml = concentration_ng_per_ml
        self.rate_error_ppm = rate_error_ppm
        self.path = Path(path_nl, concentration_ng_per_ml)
        self.filled_nl = fill_nl + path_nl
        self.withdrawn_nl = 0
        self.lost_nl = 0

    def deliver(self, commanded: int) -> None:
        """Stroke ``commanded`` volume units, at most what the pump believes is there."""
        commanded = min(commanded, self.calculated)
        self.calculated -= commanded
        moved = min(self.true_volume, commanded * (PPM + self.rate_error_ppm))
        self.true_volume -= moved
        self.path.push(moved, self.concentration_ng_per_ml)

    def ms_until_calculated(self, rate_nl_per_day: int, level_nl: int) -> int:
        """Whole ms at this commanded rate until the calculated volume is at or below ``level_nl``."""
        return max(0, ceil_div(self.calculated - level_nl * COMMANDED_PER_NL, rate_nl_per_day))

    def ms_until_dry(self, rate_nl_per_day: int) -> int:
        """Whole ms at this commanded rate until nothing is truly left."""
        return ceil_div(self.true_volume, rate_nl_per_day * (PPM + self.rate_error_ppm))

    def refill(self, volume_nl: int, concentration_ng_per_ml: int) -> tuple[int, int]:
        """Withdraw what is there and fill up to ``volume_nl``; returns (withdrawn, filled) in nl.

        A syringe moves whole nanolitres: a started one stays behind and counts towards the new filling, so that
        the reservoir afterwards holds ``volume_nl`` and never more.
        """
        withdrawn_nl, remainder = divmod(self.true_volume, TRUE_PER_NL)
        filled_nl = max(0, volume_nl - (1 if remainder else 0))
        self.true_volume = remainder + filled_nl * TRUE_PER_NL
        self.calculated = volume_nl * COMMANDED_PER_NL
        self.concentration_ng_per_ml = concentration_ng_per_ml
        self.withdrawn_nl += withdrawn_nl
        self.filled_nl += filled_nl
        return withdrawn_nl, filled_nl

    @property
    def calculated_nl(self) -> int:
        """What the pump believes; a started nanolitre counts as there."""
        return ceil_div(self.calculated, COMMANDED_PER_NL)

    @property
    def true_nl(self) -> int:
        """What is there; a started nanolitre counts as there (its missing part is not yet delivered)."""
        return ceil_div(self.true_volume, TRUE_PER_NL)

    def true_rate_nl_per_day(self, commanded_nl_per_day: int) -> int:
        """The flow that really leaves at this commanded rate."""
        return commanded_nl_per_day * (PPM + self.rate_error_ppm) // PPM if self.true_volume else 0

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS if key != "path"} | {"path": self.path.snapshot()}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.path.restore(state["path"], f"{where}.path")
        for key in self.KEYS:
            if key != "path":
                least = 1 - PPM if key == "rate_error_ppm" else 0
                setattr(self, key, st.integer(state, key, where, least=least))

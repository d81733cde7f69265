"""The reservoir twice: what is in it, and what the pump believes is in it (domain.md 0, fact 1).

The pump counts down the *calculated* volume from the commanded rate, evenly. The *true* volume goes stroke by stroke:
each whole stroke gives what the flow error, the stroke's own error and the catheter leave of it (``strokes.py``). A
pump with a level sensor also reads the true volume, with an offset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.environment import Environment
from telemetry.sim.pump.path import Path
from telemetry.sim.pump.quantities import COMMANDED_PER_NL, MASS_PER_NG, PPM, TRUE_PER_NL, ceil_div
from telemetry.sim.pump.rotor import Rotor
from telemetry.sim.pump.strokes import StrokeTable

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile


class Reservoir:
    """True and calculated volume, the drug in it, its rotor and path, and where every nanolitre went.

    ``concentration_ng_per_ml`` is what is truly in it; what the pump was told is not known here. The errors that may be
    set (``rate_error_ppm``, ``calibration_error_ppm``) act from the next stroke on; ``over_pressure_ppm`` until no more
    is there than it should hold (domain.md 4, F20).
    """

    COUNTS = (
        "true_volume",
        "calculated",
        "concentration_ng_per_ml",
        "filled_nl",
        "withdrawn_nl",
        "pocket_nl",
        "pocket_mass",
    )
    ERRORS = ("rate_error_ppm", "calibration_error_ppm", "sensor_offset_nl", "over_pressure_ppm")
    KEYS = (*COUNTS, *ERRORS, "rotor", "path", "environment")

    def __init__(
        self,
        profile: PumpProfile,
        *,
        fill_nl: int,
        concentration_ng_per_ml: int,
        now_ms: int = 0,
        rate_error_ppm: int | None = None,
        path_concentration_ng_per_ml: int | None = None,
    ) -> None:
        self._stroke_volume_nl = profile.stroke_volume_nl
        self._cycle_ppm = profile.stroke_cycle_ppm
        self._has_sensor = profile.level_sensor
        self.capacity_nl = profile.reservoir_capacity_nl
        self.most_nl = profile.reservoir_capacity_nl + profile.overfill_margin_nl
        self.true_volume = fill_nl * TRUE_PER_NL
        self.calculated = fill_nl * COMMANDED_PER_NL
        self.concentration_ng_per_ml = concentration_ng_per_ml
        self.rate_error_ppm = profile.rate_error_ppm if rate_error_ppm is None else rate_error_ppm
        self.calibration_error_ppm = profile.calibration_error_ppm
        self.sensor_offset_nl = profile.sensor_offset_nl
        self.over_pressure_ppm = 0
        self.rotor = Rotor(profile, now_ms)
        self.environment = Environment(profile)
        primed = concentration_ng_per_ml if path_concentration_ng_per_ml is None else path_concentration_ng_per_ml
        self.path = Path(profile.tubing_volume_nl, profile.catheter_volume_nl, primed)
        self.filled_nl = fill_nl + profile.path_volume_nl
        self.withdrawn_nl = 0
        self.pocket_nl = 0
        self.pocket_mass = 0
        self._table_key: tuple[int, int] | None = None
        self._table = self._strokes()

    # --- strokes -----------------------------------------------------------------------------------------------------

    @property
    def flow_error_ppm(self) -> int:
        """How much more than commanded a stroke gives, its cyclic error apart: all causes added up."""
        return (
            self.rate_error_ppm
            + self.calibration_error_ppm
            + self.over_pressure_ppm
            + self.rotor.flow_error_ppm
            + self.environment.flow_error_ppm
        )

    def _strokes(self) -> StrokeTable:
        """What strokes give now; the table is kept until an error or the catheter's pass changes."""
        key = (self.flow_error_ppm, self.path.pass_ppm)
        if key != self._table_key:
            self._table_key = key
            self._table = StrokeTable(self._stroke_volume_nl, self._cycle_ppm, *key)
        return self._table

    def deliver(self, commanded: int) -> None:
        """Stroke ``commanded`` volume units, at most what the pump believes is there (what its sensor reads apart)."""
        if commanded > self.calculated:
            if not self._has_sensor:
                commanded = self.calculated
            self.calculated = 0
        else:
            self.calculated -= commanded
        rotor = self.rotor
        strokes = rotor.turn(commanded)
        if strokes and self.true_volume:
            given = min(self.true_volume, self._strokes().volume(rotor.strokes_made - strokes, strokes))
            self.true_volume -= given
            self.path.push(given, self.concentration_ng_per_ml)

    def dump(self, volume_nl: int | None = None) -> int:
        """Let so much (all by default) through the path at once, whatever is commanded (domain.md 4, F17).

        Returns the whole nl that left the reservoir; an occluded catheter lets nothing pass.
        """
        wanted = self.true_volume if volume_nl is None else min(self.true_volume, volume_nl * TRUE_PER_NL)
        given = wanted if self.path.pass_ppm else 0
        self.true_volume -= given
        self.path.push(given, self.concentration_ng_per_ml)
        return given // TRUE_PER_NL

    def _ms_until_given(self, volume: int, rate_nl_per_day: int) -> int | None:
        """Whole ms at this commanded rate until strokes have given so much; None when they never do."""
        if volume <= 0:
            return 0
        if not rate_nl_per_day or self.rotor.stalled:
            return None
        strokes = self._strokes().strokes_for(self.rotor.strokes_made, volume)
        return None if strokes is None else ceil_div(strokes * self.rotor.stroke - self.rotor.phase, rate_nl_per_day)

    def ms_until_calculated(self, rate_nl_per_day: int, level_nl: int) -> int:
        """Whole ms at this commanded rate until the calculated volume is at or below ``level_nl``."""
        return max(0, ceil_div(self.calculated - level_nl * COMMANDED_PER_NL, rate_nl_per_day))

    def ms_until_dry(self, rate_nl_per_day: int) -> int | None:
        """Whole ms at this commanded rate until nothing is truly left; None when that never comes as things are."""
        return self._ms_until_given(self.true_volume, rate_nl_per_day)

    def ms_until_relaxed(self, rate_nl_per_day: int) -> int | None:
        """Whole ms at this commanded rate until an over-full reservoir presses no more; None when it does not."""
        if not self.over_pressure_ppm:
            return None
        return self._ms_until_given(self.true_volume - self.capacity_nl * TRUE_PER_NL, rate_nl_per_day)

    def ms_until_sensed(self, rate_nl_per_day: int, level_nl: int) -> int | None:
        """Whole ms at this commanded rate until the sensor reads ``level_nl`` or less; None when it never will."""
        level = (level_nl - self.sensor_offset_nl) * TRUE_PER_NL
        return None if level < 0 else self._ms_until_given(self.true_volume - level, rate_nl_per_day)

    def true_rate_nl_per_day(self, commanded_nl_per_day: int) -> int:
        """The flow that really leaves at this commanded rate, its mean over a revolution."""
        if not self.true_volume or self.rotor.stalled:
            return 0
        table = self._strokes()
        return commanded_nl_per_day * table.per_revolution // (table.strokes_per_revolution * self.rotor.stroke * PPM)

    def tip_dose_ng_per_day(self, commanded_nl_per_day: int) -> int:
        """The drug that really leaves the tip at this commanded rate, per day, of what the tip holds now."""
        flow = self.true_rate_nl_per_day(commanded_nl_per_day) * self.path.losses.kept_ppm()
        return flow * self.path.tip_concentration_ng_per_ml // (PPM * PPM)

    # --- what the rest of the pump asks at instants ------------------------------------------------------------------

    def next_event_ms(self, now_ms: int) -> int | None:
        """When rotor or catheter change by themselves next: a stall found out, a positional occlusion's edge."""
        instants = (self.rotor.next_event_ms(now_ms), self.path.next_event_ms(now_ms))
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

    def evaluate(self, now_ms: int) -> str | None:
        """Bring rotor and catheter to this instant; returns what the pump finds out (``rotor.notice``)."""
        self.path.evaluate(now_ms)
        if self.true_volume <= self.capacity_nl * TRUE_PER_NL:
            self.over_pressure_ppm = 0
        return self.rotor.notice(now_ms)

    # --- the needle --------------------------------------------------------------------------------------------------

    def withdraw(self, volume_nl: int | None = None) -> int:
        """Take out so much, or all; returns the whole nl that came. A nanolitre begun stays behind."""
        there_nl = self.true_volume // TRUE_PER_NL
        withdrawn_nl = there_nl if volume_nl is None else min(there_nl, _need_volume("volume_nl", volume_nl))
        self.true_volume -= withdrawn_nl * TRUE_PER_NL
        self.withdrawn_nl += withdrawn_nl
        return withdrawn_nl

    def fill(self, volume_nl: int, concentration_ng_per_ml: int) -> int:
        """Put in so much; returns the whole nl that went in: not beyond the capacity and the margin for overfilling.

        What is there mixes with it; the concentration is the nearest whole ng/ml.
        """
        room_nl = self.most_nl - self.true_nl
        filled_nl = max(0, min(_need_volume("volume_nl", volume_nl), room_nl))
        added = filled_nl * TRUE_PER_NL
        if added:
            mass = self.true_volume * self.concentration_ng_per_ml + added * concentration_ng_per_ml
            self.true_volume += added
            self.concentration_ng_per_ml = (2 * mass + self.true_volume) // (2 * self.true_volume)
            self.filled_nl += filled_nl
        return filled_nl

    def pocket(self, volume_nl: int, concentration_ng_per_ml: int) -> None:
        """Put so much beside the port, under the skin: filled and lost at once (domain.md 4, F18)."""
        self.filled_nl += _need_volume("volume_nl", volume_nl)
        self.pocket_nl += volume_nl
        self.pocket_mass += volume_nl * TRUE_PER_NL * concentration_ng_per_ml

    def inject(self, volume_nl: int, concentration_ng_per_ml: int) -> int:
        """Put so much into the side port (domain.md 4, F19); returns the nl that went in, 0 when it is occluded."""
        injected_nl = _need_volume("volume_nl", volume_nl) if self.path.pass_ppm else 0
        self.path.inject(injected_nl * TRUE_PER_NL, concentration_ng_per_ml)
        self.filled_nl += injected_nl
        return injected_nl

    def replace_catheter(self, catheter_nl: int | None = None) -> None:
        """Take the catheter out with what it holds; put one in that is full of liquid without drug."""
        old_nl = self.path.catheter_nl
        new_nl = old_nl if catheter_nl is None else catheter_nl
        self.path.replace(new_nl)
        self.withdrawn_nl += old_nl
        self.filled_nl += new_nl

    def adopt_catheter(self, other: Reservoir) -> None:
        """Take the catheter out with what it holds; put another pump's in, with all that is in it and wrong with it."""
        self.replace_catheter(other.path.catheter_nl)
        self.path.adopt(other.path)

    def refill(self, volume_nl: int, concentration_ng_per_ml: int) -> tuple[int, int]:
        """Withdraw what is there, fill up to ``volume_nl`` and tell the pump so; returns (withdrawn, filled) in nl.

        A syringe moves whole nanolitres: a started one stays behind and counts towards the new filling, so that
        the reservoir afterwards holds ``volume_nl`` and never more.
        """
        withdrawn_nl = self.withdraw()
        filled_nl = self.fill(max(0, volume_nl - self.true_nl), concentration_ng_per_ml)
        self.set_calculated(volume_nl)
        return withdrawn_nl, filled_nl

    def set_calculated(self, volume_nl: int) -> None:
        """Tell the pump how much it holds."""
        self.calculated = _need_volume("volume_nl", volume_nl) * COMMANDED_PER_NL

    # --- read-outs ---------------------------------------------------------------------------------------------------

    @property
    def calculated_nl(self) -> int:
        """What the pump believes; a started nanolitre counts as there."""
        return ceil_div(self.calculated, COMMANDED_PER_NL)

    @property
    def true_nl(self) -> int:
        """What is there; a started nanolitre counts as there (its missing part is not yet delivered)."""
        return ceil_div(self.true_volume, TRUE_PER_NL)

    @property
    def sensed_nl(self) -> int:
        """What a level sensor reads: what is there and its offset, never below nothing."""
        return max(0, self.true_nl + self.sensor_offset_nl)

    @property
    def lost_nl(self) -> int:
        """What neither reached the tip's place nor is in pump or catheter: pocket, leaks, disconnection."""
        return self.pocket_nl + self.path.lost_nl

    @property
    def lost_ng(self) -> int:
        """The drug in it."""
        return self.pocket_ng + self.path.lost_ng

    @property
    def pocket_ng(self) -> int:
        """The drug that a needle put under the skin."""
        return self.pocket_mass // MASS_PER_NG

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in (*self.COUNTS, *self.ERRORS)} | {
            "rotor": self.rotor.snapshot(),
            "path": self.path.snapshot(),
            "environment": self.environment.snapshot(),
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.rotor.restore(state["rotor"], f"{where}.rotor")
        self.path.restore(state["path"], f"{where}.path")
        self.environment.restore(state["environment"], f"{where}.environment")
        for key in self.COUNTS:
            setattr(self, key, st.integer(state, key, where))
        for key in self.ERRORS:
            setattr(self, key, st.integer(state, key, where, least=None))


def _need_volume(name: str, volume_nl: int) -> int:
    if volume_nl < 0:
        raise UsageError(f"{name}: {volume_nl} is negative; give 0 or more nanolitres")
    return volume_nl

"""From masses to curves: volumes, start-up and trumpet curve, boluses, and how sure all of it is.

Formulae of domain.md 5.5 (``telemetry/report/flow.py`` has them); what was not measured stays out.

Uncertainty of a window of length P, in percent of the set rate: worst case for what is bounded (last digits, drops,
when a reading was taken), 95 % for all windows together for what scatters (``z`` of the number of windows), and what
shifts every window alike (loss correction, density). All are added, none in quadrature: it bounds, it does not flatter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from telemetry.errors import UsageError
from telemetry.flow.closed_form import sampled_percent
from telemetry.flow.scale import conventional_ng
from telemetry.report.flow import StartUp, Trumpet, start_up, trumpet
from telemetry.report.words import span
from telemetry.units import MS_PER_DAY, MS_PER_HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from telemetry.flow.document import Corrections, FlowRun

    Numbers = NDArray[np.float64]

_CONFIDENCE = 0.95
_LATE_MS = MS_PER_HOUR
_BREAKS = frozenset({"tared", "jump"})
_SURE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Volumes:
    """Volume since the start at every due instant, nl; ``nan`` where nothing was read. ``pieces`` as of ``trumpet``."""

    due_ms: Numbers
    measured_nl: Numbers
    truth_nl: Numbers
    pieces: NDArray[np.int64]
    late_ms: float
    """The farthest that a reading is from its due instant, and from being sure when it was."""

    @property
    def has_truth(self) -> bool:
        """Whether the pump's own truth is known."""
        return bool(np.isfinite(self.truth_nl).sum() > 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """What the error of a window may be wrong by, in percent of the set rate or bolus; all are plus or minus."""

    resolution: float
    repeatability: float
    drops: float
    timing: float
    loss: float
    density: float

    @property
    def total(self) -> float:
        """All of them together."""
        return self.resolution + self.repeatability + self.drops + self.timing + self.loss + self.density


@dataclass(frozen=True, slots=True)
class Boluses:
    """What each interval gave beyond the set rate, nl, and its error in percent of the bolus that was set."""

    set_nl: int
    given_nl: Numbers
    truth_nl: Numbers
    budget: Budget

    @property
    def errors_percent(self) -> Numbers:
        """One a bolus."""
        return np.asarray(100 * (self.given_nl / self.set_nl - 1))

    @property
    def truth_percent(self) -> Numbers:
        """As the pump's truth has it."""
        return np.asarray(100 * (self.truth_nl / self.set_nl - 1))


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that follows from one measurement. What the readings are too few for is None; ``notes`` say why."""

    volumes: Volumes
    start_up: StartUp | None
    start_up_truth: StartUp | None
    measured: Trumpet | None
    truth: Trumpet | None
    late: Trumpet | None
    """The last hour alone (T2 of volumetric pumps)."""
    budgets: dict[int, Budget]
    expected: dict[int, tuple[float, float]]
    """Ep(max) and Ep(min) of the closed form by window, where the error is known: of the windows that were sampled."""
    boluses: Boluses | None
    blank: Blank | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Blank:
    """What a beaker without inflow loses, and how much the readings scatter about that: a straight line."""

    loss_ng_per_h: int
    uncertainty_ng_per_h: int
    repeatability_ng: int
    hours: float
    readings: int


def density_ng_per_nl(corrections: Corrections) -> float:
    """What the balance shows for one nanolitre: density with the buoyancy of air, ng/nl."""
    density, air = corrections.density_ug_per_ml, corrections.air_ug_per_ml
    return conventional_ng(density * _SURE, density, air) / _SURE / 1_000


def volumes(run: FlowRun) -> Volumes:
    """Masses corrected and made volumes, each moved to its due instant along the line to its neighbours."""
    readings, corrections = run.readings, run.corrections
    due, at = np.asarray(readings.due_ms, dtype=np.float64), np.asarray(readings.at_ms, dtype=np.float64)
    mass = np.asarray([math.nan if one is None else one for one in readings.mass_ng], dtype=np.float64)
    mass += corrections.loss_ng_per_h * (at / MS_PER_HOUR)
    truth = np.asarray([math.nan if one is None else one for one in readings.truth_nl], dtype=np.float64)
    breaks = [mark.at_ms for mark in run.marks if mark.kind in _BREAKS]
    pieces = np.searchsorted(np.sort(np.asarray(breaks, dtype=np.float64)), at, side="right").astype(np.int64)
    measured = (mass - _first(mass)) / density_ng_per_nl(corrections)
    off = np.abs(at - due) + np.asarray(readings.spread_ms)
    off = off[np.isfinite(mass)]
    return Volumes(
        due,
        _moved(due, at, measured, pieces),
        _moved(due, at, truth, np.zeros_like(pieces)),
        pieces,
        float(off.max()) if len(off) else 0.0,
    )


def _first(values: Numbers) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[0]) if len(finite) else 0.0


def _moved(due: Numbers, at: Numbers, values: Numbers, pieces: NDArray[np.int64]) -> Numbers:
    """Values read at ``at`` as they were when due; a row without a reading stays without."""
    moved = np.full(len(values), math.nan)
    for piece in np.unique(pieces):
        rows = np.flatnonzero((pieces == piece) & np.isfinite(values))
        if len(rows) == 1:
            moved[rows] = values[rows]
        elif len(rows) > 1:
            slope = np.gradient(values[rows], at[rows])
            # Late readings are brought back by the line to the reading before, which they share with it.
            moved[rows] = np.interp(due[rows], at[rows], values[rows])
            outside = (due[rows] < at[rows[0]]) | (due[rows] > at[rows[-1]])
            moved[rows[outside]] = (values[rows] + slope * (due[rows] - at[rows]))[outside]
    return moved


def budget(run: FlowRun, span_ms: float, set_nl: float, late_ms: float, positions: int) -> Budget:
    """What may be wrong with a volume of ``set_nl`` measured over ``span_ms``, in percent of it."""
    corrections = run.corrections
    set_ng = set_nl * density_ng_per_nl(corrections)
    step = run.equipment.step_ng
    z = NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / 2 / max(1, 2 * positions))
    flow_nl_per_ms = run.rate_nl_per_day / MS_PER_DAY
    return Budget(
        resolution=100 * step / set_ng,
        repeatability=100 * z * math.sqrt(2) * corrections.repeatability_ng / set_ng,
        drops=100 * corrections.drop_nl / set_nl,
        timing=100 * 2 * late_ms * flow_nl_per_ms / set_nl,
        loss=100 * corrections.loss_uncertainty_ng_per_h * span_ms / MS_PER_HOUR / set_ng,
        density=corrections.density_uncertainty_ppm * 1e-4,
    )


def blank_of(run: FlowRun) -> Blank:
    """Loss and scatter of a run without inflow; raises ``UsageError`` for fewer than ten readings or a broken run.

    Uncertainty: twice the standard error of the slope, and one last digit over the whole length.
    """
    if any(mark.kind in _BREAKS for mark in run.marks):
        raise UsageError("blank: the balance was touched during the blank run; repeat it and leave the balance alone")
    masses, instants = run.readings.mass_ng, run.readings.at_ms
    rows = [row for row, mass in enumerate(masses) if mass is not None]
    hours = np.asarray([instants[row] for row in rows], dtype=np.float64) / MS_PER_HOUR
    values = np.asarray([masses[row] for row in rows], dtype=np.float64)
    if len(values) < 10:
        raise UsageError(f"blank: {len(values)} readings are too few for a straight line; take at least ten")
    middle, centre = float(hours.mean()), float(values.mean())
    width = float(((hours - middle) ** 2).sum())
    slope = float(((hours - middle) * (values - centre)).sum()) / width
    left = values - centre - slope * (hours - middle)
    scatter = math.sqrt(float((left**2).sum()) / (len(values) - 2))
    length = float(hours[-1] - hours[0])
    unsure = 2 * scatter / math.sqrt(width) + run.equipment.step_ng / length
    return Blank(round(-slope), math.ceil(unsure), math.ceil(scatter), length, len(values))


def analyse(run: FlowRun) -> Analysis:
    """Everything that follows from a measurement."""
    found = volumes(run)
    notes: list[str] = []
    if run.kind == "blank":
        return Analysis(found, None, None, None, None, None, {}, {}, None, blank_of(run), ())
    if run.kind == "bolus":
        return Analysis(found, None, None, None, None, None, {}, {}, _boluses(run, found), None, ())
    stable = min(run.stabilise_ms // run.every_ms, len(found.due_ms) - 1)
    measured = _trumpet(run, found, found.measured_nl, stable, notes)
    truth = _trumpet(run, found, found.truth_nl, stable, []) if found.has_truth else None
    late = None
    if run.stabilise_ms <= 2 * MS_PER_HOUR and measured is not None and measured.analysed_ms > 2 * _LATE_MS:
        late = _trumpet(run, found, found.measured_nl, len(found.due_ms) - 1 - _LATE_MS // run.every_ms, [])
    windows = () if measured is None else measured.windows
    return Analysis(
        volumes=found,
        start_up=_start_up(run, found, found.measured_nl, stable),
        start_up_truth=_start_up(run, found, found.truth_nl, stable) if found.has_truth else None,
        measured=measured,
        truth=truth,
        late=late,
        budgets={
            window.window_ms: budget(
                run,
                window.window_ms,
                run.rate_nl_per_day * window.window_ms / MS_PER_DAY,
                found.late_ms,
                window.positions,
            )
            for window in windows
        },
        expected={}
        if run.known is None
        else {
            window.window_ms: sampled_percent(
                run.known,
                window.window_ms,
                first_ms=stable * run.every_ms,
                every_ms=run.every_ms,
                positions=len(found.due_ms) - stable - window.window_ms // run.every_ms,
            )
            for window in windows
        },
        boluses=None,
        blank=None,
        notes=tuple(notes),
    )


def _trumpet(run: FlowRun, found: Volumes, sums: Numbers, first: int, notes: list[str]) -> Trumpet | None:
    """Windows that are no multiple of the interval, or do not fit, are left out and named."""
    fitting = [window for window in run.windows_ms if window % run.every_ms == 0]
    if len(fitting) < len(run.windows_ms):
        notes.append(f"Windows that are no multiple of the interval of {run.every_ms / 1_000:g} s are left out.")
    try:
        curve = trumpet(
            sums[first:], run.every_ms, run.rate_nl_per_day, fitting or [run.every_ms], pieces=found.pieces[first:]
        )
    except UsageError:
        notes.append(
            f"No trumpet curve: {span((len(sums) - 1) * run.every_ms)} of readings, one every {span(run.every_ms)}, "
            f"leave nothing after {span(run.stabilise_ms)} of stabilising; choose another --hours or --stabilise."
        )
        return None
    missing = [window for window in fitting if window not in {one.window_ms for one in curve.windows}]
    if missing:
        longest = ", ".join(span(window) for window in missing)
        notes.append(f"Too few readings in a row for windows of {longest}.")
    return curve


def _start_up(run: FlowRun, found: Volumes, sums: Numbers, stable: int) -> StartUp | None:
    """Flow of the stabilising period; of all there is when there is none."""
    last = stable if stable >= 1 else len(sums) - 1
    if last < 1:
        return None
    curve = start_up(sums[: last + 1], run.every_ms, run.rate_nl_per_day)
    curve.flow_nl_per_day[np.diff(found.pieces[: last + 1]) != 0] = math.nan
    return curve


def _boluses(run: FlowRun, found: Volumes) -> Boluses:
    if run.bolus_nl is None:
        raise UsageError("bolus_nl: a measurement of boluses needs the volume that was set")
    basal_nl = run.rate_nl_per_day * run.every_ms / MS_PER_DAY
    given = np.diff(found.measured_nl) - basal_nl
    given[np.diff(found.pieces) != 0] = math.nan
    read = np.isfinite(given)
    if not read.any():
        raise UsageError("readings: no interval has a reading at both ends; no bolus can be worked out")
    share = budget(run, run.every_ms, run.bolus_nl, found.late_ms, int(read.sum()))
    return Boluses(run.bolus_nl, given[read], (np.diff(found.truth_nl) - basal_nl)[read], share)

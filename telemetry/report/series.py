"""What a report draws and tabulates: the columns of a run as arrays, and what follows from them. No picture here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from telemetry.errors import UsageError
from telemetry.report.flow import IMPLANTABLE, Scheme, StartUp, Trumpet, start_up, trumpet
from telemetry.sim.patient import Patient, PatientParameters
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, DailyDose, Dose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from telemetry.sim.run import Run, RunDose

    Numbers = NDArray[np.float64]

SUMMARY_WINDOWS_MS = (MS_PER_HOUR, 4 * MS_PER_HOUR, MS_PER_DAY, 7 * MS_PER_DAY)
_GRAIN_STROKES = 3
_NL_PER_ML = 1e6
_NG_PER_UG = 1e3


@dataclass(frozen=True, slots=True)
class Band:
    """One alarm from its beginning to its end, or to the end of the run."""

    kind: str
    critical: bool
    from_ms: int
    to_ms: int
    open_end: bool


@dataclass(frozen=True, slots=True)
class WindowDose:
    """What left the tip in windows of one length: the largest and the smallest, and when the largest ended."""

    window_ms: int
    max_ng: float
    min_ng: float
    mean_ng: float
    max_ends_ms: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The stretch of constant rate that the flow curves are of, and the curves."""

    scheme: Scheme
    from_ms: int
    to_ms: int
    trumpet: Trumpet
    start_up: StartUp
    start_up_from_ms: int


@dataclass(frozen=True, slots=True)
class Illustration:
    """The illustrative patient at the instants of the samples."""

    csf_ng_per_ml: Numbers
    near_tip_ng_per_ml: Numbers
    effect_percent: Numbers
    overdose_grade: Numbers
    withdrawal_grade: Numbers


class Series:
    """A run as arrays: ``at_ms`` and, by name, every numeric column in the units people read."""

    def __init__(self, run: Run) -> None:
        samples = run.samples
        self.run = run
        self.at_ms = np.asarray(samples.at_ms, dtype=np.float64)
        self.calculated_ml = _column(samples.calculated_nl, _NL_PER_ML)
        self.true_ml = _column(samples.true_nl, _NL_PER_ML)
        self.delivered_ng = _column(samples.delivered_ng)
        self.out_nl = _column(samples.out_nl)
        self.battery_percent = _column(samples.battery_percent)
        self.tip_ug_per_ml = _column(samples.tip_ng_per_ml, _NG_PER_UG)
        self.mixed_tip_ug_per_ml = _column(samples.mixed_tip_ng_per_ml, _NG_PER_UG)
        self.tip_dose_ug_per_day = _column(samples.tip_dose_ng_per_day, _NG_PER_UG)
        self.programmed_ml_per_day = _column(samples.programmed_nl_per_day, _NL_PER_ML)
        self.commanded_ml_per_day = _column(samples.commanded_nl_per_day, _NL_PER_ML)
        self.true_ml_per_day = _column(samples.true_nl_per_day, _NL_PER_ML)
        self._use_means()

    def _use_means(self) -> None:
        """Between two rows a rate may have changed unseen: then what flowed says more than the glance at the first.

        Where both agree within a few strokes the glance is kept, which is free of the strokes' grain.
        """
        days = np.diff(self.at_ms) / MS_PER_DAY
        grain_ml = _GRAIN_STROKES * self.run.pump.stroke_volume_nl / _NL_PER_ML
        grain_ug = grain_ml * np.maximum(self.tip_ug_per_ml[:-1], self.tip_ug_per_ml[1:])
        counted = -np.diff(self.calculated_ml)
        long = days >= MS_PER_MINUTE / MS_PER_DAY
        for rate, amount, grain, known in (
            (self.true_ml_per_day, np.diff(self.out_nl) / _NL_PER_ML, grain_ml, long),
            (self.tip_dose_ug_per_day, np.diff(self.delivered_ng) / _NG_PER_UG, grain_ug, long),
            (self.commanded_ml_per_day, counted, grain_ml, long & (counted >= 0) & ~self._refilled()[:-1]),
        ):
            apart = known & (np.abs(amount - rate[:-1] * days) > grain)
            rate[:-1][apart] = (amount / days)[apart]
        # A row that lasts less than a few strokes cannot be told from the next: a front a stroke late is no dip.
        brief = np.maximum(self.true_ml_per_day[:-1], self.true_ml_per_day[1:]) * days < grain_ml
        lasting = np.flatnonzero(np.append(~brief, True))
        after = lasting[np.searchsorted(lasting, np.arange(len(self.at_ms)))]
        if len(lasting) > 1:
            self.tip_dose_ug_per_day = self.tip_dose_ug_per_day[after]

    def _refilled(self) -> NDArray[np.bool_]:
        """Whether the reservoir was filled between a row and the next."""
        refills = [event.at_ms for event in self.run.events if event.kind in {"refilled", "pump_replaced"}]
        marks = np.zeros(len(self.at_ms), dtype=np.bool_)
        rows = np.searchsorted(self.at_ms, refills, side="left") - 1
        marks[rows[rows >= 0]] = True
        return marks

    def emptied(self) -> tuple[Numbers, Numbers, Numbers]:
        """Instants, calculated and true ml with the moment before each filling put in, so that it stands upright."""
        rows = np.flatnonzero(self._refilled()) + 1
        before = rows - 1
        days = (self.at_ms[rows] - self.at_ms[before]) / MS_PER_DAY
        calculated = np.maximum(0, self.calculated_ml[before] - self.commanded_ml_per_day[before] * days)
        true = np.maximum(0, self.true_ml[before] - self.true_ml_per_day[before] * days)
        return (
            np.insert(self.at_ms, rows, self.at_ms[rows]),
            np.insert(self.calculated_ml, rows, calculated),
            np.insert(self.true_ml, rows, true),
        )

    @property
    def from_ms(self) -> int:
        """The first instant."""
        return int(self.at_ms[0])

    @property
    def to_ms(self) -> int:
        """The last instant."""
        return int(self.at_ms[-1])

    # --- alarms ------------------------------------------------------------------------------------------------------

    def bands(self) -> list[Band]:
        """Every alarm of the run, in the order in which each kind first came."""
        critical = frozenset(self.run.pump.critical_alarms)

        def band(kind: str, from_ms: int, to_ms: int, *, open_end: bool = False) -> Band:
            return Band(kind, kind in critical, from_ms, to_ms, open_end)

        open_at = dict.fromkeys(self.run.samples.alarms[0], self.from_ms)
        found: list[Band] = []
        for event in self.run.events:
            if event.kind == "alarm_raised":
                open_at.setdefault(event.detail, event.at_ms)
            elif event.kind == "alarm_cleared" and event.detail in open_at:
                found.append(band(event.detail, open_at.pop(event.detail), event.at_ms))
            elif event.kind == "pump_replaced":
                found += [band(kind, since, event.at_ms) for kind, since in open_at.items()]
                open_at = {}
        found += [band(kind, since, self.to_ms, open_end=True) for kind, since in open_at.items()]
        return sorted(found, key=lambda one: (one.from_ms, one.kind))

    # --- dose --------------------------------------------------------------------------------------------------------

    def dose_ng(self, from_ms: float, to_ms: float) -> float:
        """What left the tip between two instants; raises ``UsageError`` outside the run."""
        self._need_inside(from_ms, to_ms)
        first, last = np.interp([from_ms, to_ms], self.at_ms, self.delivered_ng)
        return float(last - first)

    def window(self, window_ms: int, from_ms: int | None = None, to_ms: int | None = None) -> WindowDose:
        """The largest and smallest dose in any window of this length between two instants (default: the run).

        Between two rows the dose counts as even, so the extremes lie where a window begins or ends at a row.
        Raises ``UsageError`` for a window that does not fit.
        """
        start = self.from_ms if from_ms is None else from_ms
        end = self.to_ms if to_ms is None else to_ms
        self._need_inside(start, end)
        if not 0 < window_ms <= end - start:
            raise UsageError(
                f"window: {_span(window_ms)} does not fit into the {_span(end - start)} from "
                f"{_span(start)} to {_span(end)} of pump time"
            )
        edges = self.at_ms[(self.at_ms >= start) & (self.at_ms <= end)]
        ends = np.unique(np.concatenate([edges, edges + window_ms, [start + window_ms, end]]))
        ends = ends[(ends >= start + window_ms) & (ends <= end)]
        doses = np.interp(ends, self.at_ms, self.delivered_ng) - np.interp(
            ends - window_ms, self.at_ms, self.delivered_ng
        )
        worst = int(np.argmax(doses))
        mean = self.dose_ng(start, end) * window_ms / (end - start)
        return WindowDose(window_ms, float(doses[worst]), float(doses.min()), mean, int(ends[worst]))

    def sliding_ug(self, window_ms: int) -> tuple[Numbers, Numbers]:
        """(instant in ms, µg in the window that ends there) for the rows at which a whole window has passed."""
        ends = self.at_ms[self.at_ms >= self.from_ms + window_ms]
        doses = np.interp(ends, self.at_ms, self.delivered_ng) - np.interp(
            ends - window_ms, self.at_ms, self.delivered_ng
        )
        return ends, doses / _NG_PER_UG

    def _need_inside(self, from_ms: float, to_ms: float) -> None:
        if not self.from_ms <= from_ms <= to_ms <= self.to_ms:
            raise UsageError(
                f"from, to: {_span(from_ms)} to {_span(to_ms)} is outside the run, "
                f"{_span(self.from_ms)} to {_span(self.to_ms)} of pump time"
            )

    # --- accuracy of flow --------------------------------------------------------------------------------------------

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """(first row, last row, rate in nl/day) wherever the same rate was commanded, nothing was filled or dry."""
        samples = self.run.samples
        disturbed = {event.at_ms for event in self.run.events if event.kind in {"refilled", "pump_replaced"}}
        first = 0
        for row in range(1, len(samples) + 1):
            same = (
                row < len(samples)
                and samples.commanded_nl_per_day[row] == samples.commanded_nl_per_day[first]
                and samples.activity[row] == samples.activity[first]
                and samples.at_ms[row] not in disturbed
                and samples.true_nl[row] > 0
            )
            if not same:
                if samples.commanded_nl_per_day[first]:
                    # The rate of a row lasts until the next, so the stretch ends at the row that brings another.
                    yield first, min(row, len(samples) - 1), samples.commanded_nl_per_day[first]
                first = row

    def accuracy(self, scheme: Scheme | None = None) -> Accuracy | str:
        """Flow curves of the longest stretch of constant rate, or why there are none."""
        every_ms = self.run.every_ms
        chosen = _coarsened(IMPLANTABLE if scheme is None else scheme, every_ms)
        if chosen is None:
            return f"samples are {_span(every_ms)} apart, too far for any flow curve; record with a finer grid"
        longest = max(self.stretches(), key=lambda part: self.at_ms[part[1]] - self.at_ms[part[0]], default=None)
        if longest is None:
            return "nothing was delivered at a constant rate"
        first, last, rate = longest
        # From an instant of the grid on, where sums are counted and not interpolated between strokes.
        start_ms, end_ms = (
            self.from_ms - (self.from_ms - int(self.at_ms[first])) // every_ms * every_ms,
            int(self.at_ms[last]),
        )
        grid = np.arange(start_ms, end_ms + 1, chosen.every_ms, dtype=np.float64)
        need_ms = chosen.stabilise_ms + chosen.windows_ms[0]
        if grid[-1] - start_ms < need_ms:
            return f"the longest stretch of constant rate, {_span(end_ms - start_ms)}, is shorter than {_span(need_ms)}"
        sums = np.interp(grid, self.at_ms, self.out_nl)
        stable = chosen.stabilise_ms // chosen.every_ms
        return Accuracy(
            scheme=chosen,
            from_ms=start_ms + chosen.stabilise_ms,
            to_ms=int(grid[-1]),
            trumpet=trumpet(sums[stable:], chosen.every_ms, rate, chosen.windows_ms),
            start_up=start_up(sums[: stable + 1], chosen.every_ms, rate),
            start_up_from_ms=start_ms,
        )

    # --- the patient -------------------------------------------------------------------------------------------------

    def illustration(self) -> Illustration:
        """The run's illustrative patient, given what left the tip and what he or she got besides."""
        record, samples = self.run.patient, self.run.samples
        patient = Patient(
            PatientParameters.of(record.parameters),
            now_ms=self.from_ms,
            tip_ng_cumulated=samples.delivered_ng[0],
            accustomed_to=DailyDose(record.accustomed_to_ng_per_day),
        )
        doses = sorted(record.doses, key=lambda dose: dose.at_ms)
        rows: list[tuple[float, ...]] = []
        beside_ng = samples.pocket_ng[0]
        for at_ms, total_ng, pocket_ng in zip(samples.at_ms, samples.delivered_ng, samples.pocket_ng, strict=True):
            while doses and doses[0].at_ms <= at_ms:
                self._give(patient, doses.pop(0))
            patient.advance(at_ms, total_ng)
            patient.pocket(Dose(pocket_ng - beside_ng))
            beside_ng = pocket_ng
            signs = patient.signs()
            rows.append(
                (
                    signs.csf_ng_per_ml,
                    signs.near_tip_ng_per_ml,
                    signs.effect_percent,
                    signs.overdose_grade,
                    signs.withdrawal_grade,
                )
            )
        return Illustration(*np.asarray(rows, dtype=np.float64).T)

    def _give(self, patient: Patient, dose: RunDose) -> None:
        at_ms = max(dose.at_ms, patient.now_ms)
        patient.advance(at_ms, float(np.interp(at_ms, self.at_ms, self.delivered_ng)))
        patient.bolus(Dose(dose.ng))


def _coarsened(scheme: Scheme, every_ms: int) -> Scheme | None:
    """The scheme on a grid as it was recorded: with the windows that it can tell; None when it can tell none."""
    if scheme.every_ms % every_ms == 0:
        return scheme
    windows_ms = tuple(window_ms for window_ms in scheme.windows_ms if window_ms % every_ms == 0)
    fits = every_ms > scheme.every_ms and scheme.stabilise_ms % every_ms == 0
    return replace(scheme, every_ms=every_ms, windows_ms=windows_ms) if windows_ms and fits else None


def _column(values: list[int], scale: float = 1.0) -> Numbers:
    return np.asarray(values, dtype=np.float64) / scale


def _span(ms: float) -> str:
    for unit, size in (("d", MS_PER_DAY), ("h", MS_PER_HOUR), ("min", MS_PER_MINUTE)):
        if ms >= size:
            return f"{ms / size:g} {unit}"
    return f"{ms / 1000:g} s"

"""``build``: everything that a report of one run says, before it becomes a page, a print or a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from telemetry.report import words
from telemetry.report.card import Card, card_of
from telemetry.report.panels import Panel, panels
from telemetry.report.series import SUMMARY_WINDOWS_MS, Accuracy, Series, WindowDose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.sim.run import Run

MOST_ROWS = 400
"""A page holds no more events; the CSV has them all."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading. ``note`` stands under it; ``numeric`` columns are set flush right."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class DoseSpan:
    """The dose in a window that somebody asked for."""

    window_ms: int
    from_ms: int | None = None
    to_ms: int | None = None


class Printable(Protocol):
    """What becomes a page or a print: of a run, or of a measurement on the bench. ``mark`` is the stamp's one word."""

    @property
    def title(self) -> str:
        """Above everything."""
        ...

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Under the title."""
        ...

    @property
    def panels(self) -> list[Panel]:
        """The pictures."""
        ...

    @property
    def tables(self) -> list[Table]:
        """The tables."""
        ...

    @property
    def card(self) -> Card | None:
        """The identity card, where there is a patient."""
        ...

    @property
    def notes(self) -> list[str]:
        """What is missing, and why."""
        ...

    @property
    def stamp(self) -> str:
        """On every page: what this is not."""
        ...

    @property
    def mark(self) -> str:
        """Before the title, and under every picture."""
        ...


@dataclass(frozen=True)
class Report:
    """One run, worked out."""

    run: Run
    series: Series
    title: str
    facts: list[tuple[str, str]]
    panels: list[Panel]
    tables: list[Table]
    card: Card
    notes: list[str] = field(default_factory=list)
    simulated: bool = True
    stamp: str = words.SIMULATED
    mark: str = words.SIMULATED_MARK


def build(run: Run, asked: DoseSpan | None = None) -> Report:
    """Work a run out; raises ``UsageError`` for a dose window that does not fit into it."""
    series = Series(run)
    accuracy = series.accuracy()
    tables = [_doses(series, asked), _alarms(series)]
    notes: list[str] = []
    if isinstance(accuracy, Accuracy):
        tables.append(_accuracy(accuracy))
    else:
        notes.append(f"No start-up and trumpet curves: {accuracy}.")
    if run.verdicts:
        tables.append(_verdicts(series))
    if run.actions:
        tables.append(_actions(series))
    tables.append(_events(series))
    return Report(
        run=run,
        series=series,
        title=run.title,
        facts=_facts(series),
        panels=panels(series),
        tables=tables,
        card=card_of(run),
        notes=notes,
    )


def _facts(series: Series) -> list[tuple[str, str]]:
    run = series.run
    pump, final, samples = run.pump, run.final, run.samples
    epoch = pump.epoch_utc_s
    given_nl = samples.delivered_nl[-1] - samples.delivered_nl[0]
    given_ng = samples.delivered_ng[-1] - samples.delivered_ng[0]
    lost_nl = samples.lost_nl[-1] - samples.lost_nl[0]
    refills = sum(event.kind == "refilled" for event in run.events)
    length = words.span(series.to_ms - series.from_ms)
    failed = sum(not verdict.passed for verdict in run.verdicts)
    facts = [
        ("Pump", f"{pump.model}, profile {pump.profile}, serial {pump.serial}"),
        ("Seed", "none (entropy of the system)" if pump.seed is None else str(pump.seed)),
        ("Time", f"{words.moment(series.from_ms, epoch)} to {words.moment(series.to_ms, epoch)} ({length})"),
        ("Past the tip", f"{words.ml(given_nl)} with {words.ug(given_ng)} of {pump.drug}"),
        ("Lost on the way", words.ml(lost_nl)),
        ("Refills", str(refills)),
        ("Battery", f"{samples.battery_percent[0]} % at the start, {final.battery_percent} % at the end"),
        ("At the end", f"{words.name(final.mode)}, {final.rate_nl_per_day / 1e6:.3f} ml/day"),
        ("Samples", f"{len(samples)} rows, every {words.span(run.every_ms)} and wherever something happened"),
    ]
    replaced = [event for event in run.events if event.kind == "pump_replaced"]
    if replaced:
        when = ", ".join(words.moment(event.at_ms, epoch) for event in replaced)
        facts.insert(1, ("Replaced", f"{when}: what stands here of pump and battery is of the last one"))
    if run.verdicts:
        facts.insert(2, ("Expectations", f"{len(run.verdicts) - failed} met, {failed} failed"))
    return facts


def _doses(series: Series, asked: DoseSpan | None) -> Table:
    length_ms = series.to_ms - series.from_ms
    rows = [
        _dose_row(series, f"any {words.span(window_ms)} of the run", series.window(window_ms))
        for window_ms in SUMMARY_WINDOWS_MS
        if window_ms <= length_ms
    ]
    note = ""
    if asked is not None:
        start = series.from_ms if asked.from_ms is None else asked.from_ms
        end = series.to_ms if asked.to_ms is None else asked.to_ms
        between = f"from {words.pump_time(start)} to {words.pump_time(end)}"
        found = series.window(asked.window_ms, start, end)
        rows.append(_dose_row(series, f"any {words.span(asked.window_ms)} {between}", found))
        note = f"In all {between}: {words.ug(series.dose_ng(start, end))}."
    columns = ("window", "most", "least", "mean", "the most ended")
    return Table("doses", "Dose at the tip in a window", columns, rows, note, numeric=frozenset({1, 2, 3}))


def _dose_row(series: Series, what: str, found: WindowDose) -> tuple[str, ...]:
    ended = words.moment(found.max_ends_ms, series.run.pump.epoch_utc_s)
    return what, words.ug(found.max_ng), words.ug(found.min_ng), words.ug(found.mean_ng), ended


def _alarms(series: Series) -> Table:
    epoch = series.run.pump.epoch_utc_s
    rows = [
        (
            words.name(band.kind),
            "critical" if band.critical else "non-critical",
            f"{words.pump_time(band.from_ms)} = {words.moment(band.from_ms, epoch)}",
            "still there" if band.open_end else words.pump_time(band.to_ms),
            words.span(band.to_ms - band.from_ms),
        )
        for band in series.bands()
    ]
    columns = ("alarm", "class", "raised", "cleared", "lasted")
    return Table(
        "alarms", "Alarms", columns, rows[:MOST_ROWS], _left_out(len(rows)) if rows else "No alarm was raised."
    )


def _accuracy(found: Accuracy) -> Table:
    rows = [
        (words.span(window.window_ms), words.percent(window.max_percent), words.percent(window.min_percent))
        for window in found.trumpet.windows
    ]
    curve = found.trumpet
    note = (
        f"Overall A = {words.percent(curve.overall_percent)} of {curve.rate_nl_per_day / 1e6:g} ml/day, "
        f"{words.pump_time(found.from_ms)} to {words.pump_time(found.to_ms)}. Worst windows, not accuracy over time."
    )
    return Table("trumpet", "Accuracy of flow", ("window", "Ep(max)", "Ep(min)"), rows, note, numeric=frozenset({1, 2}))


def _verdicts(series: Series) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            words.pump_time(verdict.at_ms),
            words.steps(verdict.what),
            "met" if verdict.passed else "FAILED",
            verdict.wanted,
            verdict.found,
        )
        for verdict in sorted(series.run.verdicts, key=lambda one: (one.passed, one.at_ms))
    ]
    columns: tuple[str, ...] = ("pump time", "expected", "", "wanted", "found")
    if all(verdict.passed for verdict in series.run.verdicts):
        columns, rows = columns[:3], [row[:3] for row in rows]
    return Table("expectations", "Expectations", columns, rows[:MOST_ROWS], _left_out(len(rows)))


def _actions(series: Series) -> Table:
    rows = [(words.pump_time(act.at_ms), act.by, act.what, act.outcome) for act in series.run.actions]
    return Table(
        "actions", "What was done", ("pump time", "by", "what", "outcome"), rows[:MOST_ROWS], _left_out(len(rows))
    )


def _events(series: Series) -> Table:
    run = series.run
    refills_ms = {event.at_ms for event in run.events if event.kind == "refilled"}
    # A reservoir that a needle empties at its refill is dry for no time: nothing that anybody needs to be told.
    told = [event for event in run.events if event.kind != "reservoir_dry" or event.at_ms not in refills_ms]
    rows = [
        (
            words.pump_time(event.at_ms),
            words.moment(event.at_ms, run.pump.epoch_utc_s),
            words.name(event.kind),
            words.detail(event.kind, event.detail),
        )
        for event in told
    ]
    counts = Counter(event.kind for event in told)
    counted = ", ".join(f"{words.name(kind)} {count}" for kind, count in sorted(counts.items()))
    note = " ".join(part for part in (_left_out(len(rows) + run.events_left_out), f"Kinds: {counted}.") if part)
    columns = ("pump time", "date", "what", "detail")
    return Table("events", "Events", columns, rows[:MOST_ROWS], note if rows else "Nothing happened.")


def _left_out(rows: int) -> str:
    return f"The first {MOST_ROWS} of {rows}; the CSV has them all." if rows > MOST_ROWS else ""

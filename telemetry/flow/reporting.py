"""A measurement as page, print, picture or table: equipment, curves, uncertainty, deviations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from telemetry.errors import UsageError
from telemetry.flow.analysis import Analysis, analyse
from telemetry.flow.closed_form import envelope_percent
from telemetry.flow.dialects import DIALECTS
from telemetry.flow.document import SUFFIX
from telemetry.flow.panels import MEASURED_MARK, panels
from telemetry.report import need, words
from telemetry.report.building import Table
from telemetry.units import MS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from telemetry.flow.document import FlowRun, KnownError
    from telemetry.report.panels import Panel

MEASURED = "MEASURED ON A BENCH – not a medical device, not for clinical use"
ENDINGS = (".html", ".pdf", ".png", ".csv", SUFFIX)
_MOST_ROWS = 200


@dataclass(frozen=True)
class FlowReport:
    """What a page or a print of a measurement says."""

    title: str
    facts: list[tuple[str, str]]
    panels: list[Panel]
    tables: list[Table]
    stamp: str
    mark: str
    notes: list[str] = field(default_factory=list)
    card: None = None


def build(run: FlowRun) -> FlowReport:
    """Work a measurement out; raises ``UsageError`` when it holds nothing to work with."""
    found = analyse(run)
    tables = [*_results(run, found), *_uncertainty(run, found), _equipment(run), _marks(run)]
    return FlowReport(
        title=run.title,
        facts=_facts(run, found),
        panels=panels(run, found),
        tables=tables,
        stamp=words.SIMULATED if run.simulated else MEASURED,
        mark=words.SIMULATED_MARK if run.simulated else MEASURED_MARK,
        notes=list(found.notes),
    )


def write(run: FlowRun, path: Path, *, only: tuple[str, ...] = ()) -> None:
    """Write the report that the path's ending asks for; ``only``: these panels of a ``.png``. Raises ``UsageError``."""
    if not any(path.name.endswith(ending) for ending in ENDINGS):
        raise UsageError(f"{path}: the ending {path.suffix or '(none)'} is unknown; known: {', '.join(ENDINGS)}")
    if only and path.suffix != ".png":
        raise UsageError(f"--panel: single pictures are written as .png, not {path.name}")
    data = _content(run, path, only)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _content(run: FlowRun, path: Path, only: tuple[str, ...]) -> bytes:
    if path.name.endswith(SUFFIX):
        return run.to_json()
    need("numpy", "matplotlib")
    if path.suffix == ".csv":
        return as_csv(run).encode()
    report = build(run)
    if path.suffix == ".html":
        need("jinja2")
        from telemetry.report.page import page  # noqa: PLC0415 - each kind of file has a library of its own

        return page(report).encode()
    if path.suffix == ".pdf":
        need("reportlab")
        from telemetry.report.printing import printed  # noqa: PLC0415 - as above

        return printed(report)
    return _png(run, report, only)


def _png(run: FlowRun, report: FlowReport, only: tuple[str, ...]) -> bytes:
    from telemetry.report import drawing, theme  # noqa: PLC0415 - as above

    known = [panel.name for panel in report.panels]
    for name in only:
        if name not in known:
            raise UsageError(f"--panel: this measurement has no {name!r}; it has: {', '.join(known)}")
    chosen = [panel for panel in report.panels if not only or panel.name in only]
    with theme.letters(9):
        facts = f"{_who(run)}, {_scheme(run)}"
        return drawing.png(drawing.placard(report.title, facts, chosen, stamp=report.stamp))


def as_csv(run: FlowRun) -> str:
    """One row a sample: what was read, and the volumes that follow; empty where nothing was measured."""
    from telemetry.report.tabling import as_csv as table  # noqa: PLC0415 - as above

    volumes = analyse(run).volumes if run.kind != "blank" else None
    readings = run.readings
    columns: dict[str, Sequence[object]] = {name: getattr(readings, name) for name in readings.__struct_fields__}
    if volumes is not None:
        columns["measured_nl"] = [round(one, 1) if np.isfinite(one) else None for one in volumes.measured_nl.tolist()]
        columns["piece"] = volumes.pieces.tolist()
    columns["simulated"] = [run.simulated] * len(readings)
    return table(columns)


# --- what is said ----------------------------------------------------------------------------------------------------


def _who(run: FlowRun) -> str:
    pump = run.pump
    return "a pump of which nothing is known here" if pump is None else f"{pump.model}, serial {pump.serial}"


def _scheme(run: FlowRun) -> str:
    return f"{run.scheme}: a reading every {words.span(run.every_ms)}"


def _facts(run: FlowRun, found: Analysis) -> list[tuple[str, str]]:
    readings = run.readings
    read = sum(mass is not None for mass in readings.mass_ng)
    length = words.span(readings.at_ms[-1]) if len(readings) else "0 s"
    facts = [("Pump", _who(run))]
    if run.pump is not None:
        parts = [f"profile {run.pump.profile}"] if run.pump.profile else []
        parts += [f"seed {run.pump.seed}"] if run.pump.seed is not None else []
        parts += [f"stroke {run.pump.stroke_nl} nl"] if run.pump.stroke_nl is not None else []
        facts += [("Made of", ", ".join(parts))] if parts else []
    if run.kind != "blank":
        facts.append(("Set rate", f"{run.rate_nl_per_day / 1e6:g} ml/day"))
    if run.bolus_nl is not None:
        facts.append(("Bolus", f"{run.bolus_nl / 1e3:g} µl, one every {words.span(run.every_ms)}"))
    facts += [
        ("Balance", f"{run.equipment.model or 'unnamed'}, serial {run.equipment.serial or 'not told'}"),
        ("Scheme", _scheme(run)),
        ("Length", f"{length}, {read} readings of {len(readings)} samples"),
    ]
    if found.measured is not None:
        overall = f"A = {words.percent(found.measured.overall_percent)}"
        if found.truth is not None:
            overall += f" measured, {words.percent(found.truth.overall_percent)} truly"
        facts.append(("Overall error", overall))
    if found.boluses is not None:
        facts.append(("Mean bolus error", words.percent(float(found.boluses.errors_percent.mean()))))
    if run.known is not None:
        error = f"rate {words.percent(run.known.rate_error_ppm / 1e4)}"
        if run.known.cyclic_error_ppm:
            error += f", cyclic ±{run.known.cyclic_error_ppm / 1e4:g} % every {words.span(run.known.cycle_ms)}"
        facts.append(("Known error", f"{error} (built into the virtual pump)"))
    if run.started_utc_ms is not None:
        began = datetime.fromtimestamp(run.started_utc_ms / 1000, UTC)
        facts.append(("Began", began.strftime("%Y-%m-%d %H:%M UTC")))
    if run.ended:
        facts.append(("Ended early", run.ended))
    return facts


def _results(run: FlowRun, found: Analysis) -> list[Table]:
    if found.blank is not None:
        return [_blank(found)]
    if found.boluses is not None:
        return [_boluses(found)]
    if found.measured is None:
        return []
    truth = {} if found.truth is None else {window.window_ms: window for window in found.truth.windows}
    rows: list[tuple[str, ...]] = []
    for window in found.measured.windows:
        row = [
            words.span(window.window_ms),
            str(window.positions),
            words.percent(window.max_percent),
            words.percent(window.min_percent),
            f"{found.budgets[window.window_ms].total:.2f} %",
        ]
        if truth:
            true = truth.get(window.window_ms)
            row += ["", ""] if true is None else [words.percent(true.max_percent), words.percent(true.min_percent)]
        rows.append(tuple(row))
    columns = ["window P", "windows", "Ep(max)", "Ep(min)", "±"]
    columns += ["true max", "true min"] if truth else []
    note = (
        f"Overall A = {words.percent(found.measured.overall_percent)} of {run.rate_nl_per_day / 1e6:g} ml/day over "
        f"{words.span(found.measured.analysed_ms)}. Worst windows, not accuracy over time; ±: uncertainty."
    )
    if found.late is not None:
        edges = [f"{words.span(w.window_ms)}: {_range(w.max_percent, w.min_percent)}" for w in found.late.windows]
        note += f" Last hour (T2): B = {words.percent(found.late.overall_percent)}; {'; '.join(edges)}."
    numeric = frozenset(range(1, len(columns)))
    made = [Table("trumpet", "Accuracy of flow", tuple(columns), rows, note, numeric=numeric)]
    return made if run.known is None else [*made, _closed_form(run.known, found)]


def _closed_form(known: KnownError, found: Analysis) -> Table:
    """What the curve must be, for the windows that were sampled and for any."""
    rows = [
        (
            words.span(window_ms),
            *(words.percent(value) for value in sampled),
            *(words.percent(value) for value in envelope_percent(known, window_ms)),
        )
        for window_ms, sampled in found.expected.items()
    ]
    note = (
        "r (1 + e + a sin(2 pi t / T)) averaged over P gives e and a |sin(pi P/T) / (pi P/T)| above and below. At the "
        "samples: the same for the windows that begin at a reading; the strokes' grain comes on top."
    )
    columns = ("window P", "max, at the samples", "min, at the samples", "max, any phase", "min, any phase")
    return Table("closed-form", "Closed form of the known error", columns, rows, note, numeric=frozenset(range(1, 5)))


def _range(high: float, low: float) -> str:
    return f"{words.percent(low)} … {words.percent(high)}"


def _boluses(found: Analysis) -> Table:
    boluses = found.boluses
    if boluses is None:
        raise UsageError("boluses: this measurement has none")
    errors, truth = boluses.errors_percent, boluses.truth_percent
    rows = [
        (name, words.percent(measured), words.percent(true) if np.isfinite(true) else "not known")
        for name, measured, true in (
            ("mean", float(errors.mean()), float(truth.mean())),
            ("largest", float(errors.max()), float(truth.max())),
            ("smallest", float(errors.min()), float(truth.min())),
        )
    ]
    note = (
        f"{len(errors)} boluses of {boluses.set_nl / 1e3:g} µl, each ±{boluses.budget.total:.2f} %. What the set rate "
        "gives in an interval is taken off; what the pump's basal flow is wrong by is in the bolus."
    )
    return Table(
        "boluses", "Accuracy of boluses", ("error", "measured", "pump's truth"), rows, note, numeric=frozenset({1, 2})
    )


def _blank(found: Analysis) -> Table:
    blank = found.blank
    if blank is None:
        raise UsageError("blank: this measurement is none")
    rows = [
        ("loss", f"{blank.loss_ng_per_h / 1e6:.4f} ± {blank.uncertainty_ng_per_h / 1e6:.4f} mg/h"),
        ("scatter of a reading", f"{blank.repeatability_ng / 1e6:.3f} mg (standard deviation)"),
        ("from", f"{blank.readings} readings in {blank.hours:g} h"),
    ]
    note = "Straight line by least squares; twice its standard error and one last digit over the length."
    return Table("blank", "Loss without inflow", ("", ""), rows, note)


def _uncertainty(run: FlowRun, found: Analysis) -> list[Table]:
    budgets = {words.span(window): one for window, one in found.budgets.items()}
    if found.boluses is not None:
        budgets = {"bolus": found.boluses.budget}
    if not budgets:
        return []
    names = ("resolution", "repeatability", "drops", "timing", "loss", "density", "total")
    rows = [(what, *(f"{getattr(one, name):.3f}" for name in names)) for what, one in budgets.items()]
    corrections = run.corrections
    note = (
        f"In percent of the set volume, plus or minus, added up. Last digit {run.equipment.step_ng / 1e6:g} mg; loss "
        f"{corrections.loss_ng_per_h / 1e6:.4f} ± {corrections.loss_uncertainty_ng_per_h / 1e6:.4f} mg/h "
        f"({corrections.loss_source or 'taken as none'}); density {corrections.density_ug_per_ml / 1e6:g} g/ml ± "
        f"{corrections.density_uncertainty_ppm / 1e4:g} %, weighed in air of {corrections.air_ug_per_ml / 1e6:g} g/ml; "
        f"scatter {corrections.repeatability_ng / 1e6:g} mg."
    )
    numeric = frozenset(range(1, len(names) + 1))
    return [Table("uncertainty", "Uncertainty", ("window P", *names), rows, note, numeric=numeric)]


def _equipment(run: FlowRun) -> Table:
    equipment = run.equipment
    dialect = DIALECTS.get(equipment.protocol)
    rows = [
        ("balance", equipment.model or "not told"),
        ("serial", equipment.serial or "not told"),
        ("software", equipment.software or "not told"),
        ("protocol", dialect.title if dialect else equipment.protocol),
        ("last digit", f"{equipment.step_ng / 1e6:g} mg"),
        ("pump", _who(run)),
        *((name, text) for name, text in run.versions.items()),
    ]
    return Table("equipment", "Equipment and versions", ("", ""), rows)


def _marks(run: FlowRun) -> Table:
    rows = [(f"{mark.at_ms / MS_PER_HOUR:.3f} h", words.name(mark.kind), mark.text) for mark in run.marks]
    left = f"The first {_MOST_ROWS} of {len(rows)}; the file has them all." if len(rows) > _MOST_ROWS else ""
    note = left if rows else "Nothing befell the balance: every sample has a reading."
    return Table("marks", "Deviations", ("at", "what", "detail"), rows[:_MOST_ROWS], note)

"""A run as tables for other programs: CSV, a folder or archive of them, Parquet; units are in the columns' names."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from telemetry.report import need
from telemetry.report.series import Series
from telemetry.sim.run import COLUMNS
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.sim.run import Run

Cell = object
Columns = dict[str, Sequence[Cell]]
_FIXED_DATE = (2026, 1, 1, 0, 0, 0)
"""Of the files in an archive, so that the same run makes the same archive."""


def samples(run: Run) -> Columns:
    """Every row of the run with what follows from it; what is illustrative says so in its name."""
    series = Series(run)
    columns: Columns = {name: getattr(run.samples, name) for name in COLUMNS if name != "alarms"}
    columns["alarms"] = [" ".join(kinds) for kinds in run.samples.alarms]
    span_ms = np.diff(series.at_ms)
    mean = np.diff(series.out_nl) * MS_PER_DAY / span_ms
    columns["mean_true_nl_per_day_since_last"] = [None, *np.round(mean).astype(int).tolist()]
    illustration = series.illustration()
    for name, values in (
        ("csf_ng_per_ml", illustration.csf_ng_per_ml),
        ("near_tip_ng_per_ml", illustration.near_tip_ng_per_ml),
        ("effect_percent", illustration.effect_percent),
    ):
        columns[f"illustrative_{name}"] = np.round(values, 3).tolist()
    for name, grades in (
        ("overdose_grade", illustration.overdose_grade),
        ("withdrawal_grade", illustration.withdrawal_grade),
    ):
        columns[f"illustrative_{name}"] = grades.astype(int).tolist()
    columns["simulated"] = [True] * len(run.samples)
    return columns


def tables(run: Run) -> dict[str, Columns]:
    """All tables by name: samples, events, alarms, actions, expectations, doses beside the tip."""
    bands = Series(run).bands()
    return {
        "samples": samples(run),
        "events": _records(run.events, ("at_ms", "kind", "detail")),
        "alarms": _records(bands, ("kind", "critical", "from_ms", "to_ms", "open_end")),
        "actions": _records(run.actions, ("at_ms", "by", "what", "outcome")),
        "expectations": _records(run.verdicts, ("at_ms", "what", "passed", "wanted", "found")),
        "doses": _records(run.patient.doses, ("at_ms", "way", "ng")),
    }


def _records(records: Sequence[object], names: Iterable[str]) -> Columns:
    columns: Columns = {name: [getattr(record, name) for record in records] for name in names}
    return {**columns, "simulated": [True] * len(records)}


def as_csv(columns: Columns) -> str:
    """One table as CSV (RFC 4180, a heading first); booleans are ``true`` and ``false``, nothing is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return out.getvalue()


def _cell(value: Cell) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def about(run: Run) -> str:
    """What the tables are of, as JSON: pump, grid, patient, end."""
    from msgspec import to_builtins  # noqa: PLC0415 - only who exports pays for it

    content = {
        "simulated": True,
        "illustrative": "columns whose name begins with illustrative_, and mixed_tip_ng_per_ml",
        "title": run.title,
        "every_ms": run.every_ms,
        "events_left_out": run.events_left_out,
        "pump": to_builtins(run.pump),
        "patient": to_builtins(run.patient),
        "final": to_builtins(run.final),
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def files(run: Run) -> dict[str, str]:
    """Every table and what they are of, by file name."""
    return {"about.json": about(run), **{f"{name}.csv": as_csv(table) for name, table in tables(run).items()}}


def as_zip(run: Run) -> bytes:
    """``files`` in one archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files(run).items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def as_parquet(run: Run) -> bytes:
    """The samples as Parquet; the file's metadata holds ``simulated`` and what ``about`` says."""
    need("pyarrow")
    import pyarrow as pa  # noqa: PLC0415 - the largest library of all: only who asks for Parquet pays for it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    table = pa.table({name: pa.array(list(values)) for name, values in samples(run).items()})
    table = table.replace_schema_metadata({"simulated": "true", "about": about(run)})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()

"""``telemetry report``: pictures, tables and prints of a recorded run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.cli.reading_values import optional, quantity
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.report.building import DoseSpan
    from telemetry.sim.run import Run

DEFAULT_DAYS = 90
_LONGEST_DAYS = 36_525
_SCHEME = "sim:"
_EPILOG = """\b
RUN is one of
  visit.run.json            a run that 'telemetry scenario run --record DIR' or the Python Recorder kept
  bridge-500-2000, x.yaml   a scenario: it is played and recorded first ('telemetry scenario list')
  sim:?profile=itb-20       a virtual pump, left alone for --days and recorded

\b
Examples:
  telemetry report sim: -o report.html                                      90 days of the default pump
  telemetry report "sim:?rate_error_ppm=60000" --days 30 -o report.pdf
  telemetry report sim: --days 2557 --refill-every "180 d" -o seven-years.png
  telemetry report visit.run.json -o trumpet.png --panel trumpet
  telemetry report visit.run.json --window "24 h" --from "30 d" --to "60 d" -o report.html
  telemetry report visit.run.json -o tables.zip                             every table as CSV

\b
The ending of FILE says what is made: .html .pdf .png .csv .zip .parquet .run.json, or a folder for CSV tables.
"""


@click.command(epilog=_EPILOG)
@click.argument("run", required=False, default="")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="What to write; see below.")
@click.option("--days", type=click.IntRange(1, _LONGEST_DAYS), help=f"sim: only: how long. [default: {DEFAULT_DAYS}]")
@click.option("--every", metavar="SPAN", help="sim: only: how far apart the samples are. [default: as the run needs]")
@click.option("--refill-every", metavar="SPAN", help="sim: only: fill the reservoir anew so often.")
@click.option("--window", metavar="SPAN", help="Dose in any window of this length, besides the usual ones.")
@click.option("--from", "start", metavar="SPAN", help="Where that window may begin, since the start of the run.")
@click.option("--to", "end", metavar="SPAN", help="Where it must have ended.")
@click.option("--panel", "panels", multiple=True, metavar="NAME", help="With .png: only this picture (repeatable).")
@json_option
def command(  # noqa: PLR0913, PLR0917 - each is one option
    run: str,
    output: Path | None,
    days: int | None,
    every: str | None,
    refill_every: str | None,
    window: str | None,
    start: str | None,
    end: str | None,
    panels: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Make pictures and reports of RUN.

    Programmed, counted and true flow and volume, battery, alarms, dose, accuracy of flow, identity card. What is
    modelled of the patient is illustrative and says so.
    """
    if not run:
        raise click.UsageError("RUN is missing: a .run.json file, a scenario, or sim:?profile=itb-40")
    if output is None:
        raise click.UsageError("-o FILE is missing: report.html, report.pdf, overview.png, samples.csv …")
    from telemetry.report import need, write  # noqa: PLC0415 - --help must not wait for it

    need("numpy", "matplotlib")
    recorded = _find(run, days, every, refill_every)
    asked = _asked(recorded, window, start, end)
    files = write(recorded, output, asked=asked, panels=panels)
    if as_json:
        emit({"simulated": True, **_facts(recorded, asked), "files": [str(file) for file in files]})
        return
    screen = console()
    screen.print(f"{SIMULATED} {_escaped(recorded.title)}", soft_wrap=True)
    for file in files:
        screen.print(f"written: {file}", soft_wrap=True, markup=False)


def _find(run: str, days: int | None, every: str | None, refill_every: str | None) -> Run:
    if run.startswith(_SCHEME):
        return _recorded(run, DEFAULT_DAYS if days is None else days, every, refill_every)
    for name, value in (("--days", days), ("--every", every), ("--refill-every", refill_every)):
        if value is not None:
            raise UsageError(f"{name}: says how a pump is recorded and goes with sim: only; leave it out for {run}")
    if Path(run).suffix == ".json":
        from telemetry.sim.run import read_run  # noqa: PLC0415 - each kind of run has a library of its own

        return read_run(Path(run))
    return _played(run)


def _recorded(text: str, days: int, every: str | None, refill_every: str | None) -> Run:
    """A pump of its own, left alone, its patient used to what it gives."""
    from telemetry.clock import ManualClock  # noqa: PLC0415 - as above
    from telemetry.sim.connector import pump_of  # noqa: PLC0415 - as above
    from telemetry.sim.recording import Recorder  # noqa: PLC0415 - as above
    from telemetry.transport.url import parse_url  # noqa: PLC0415 - as above
    from telemetry.units import MS_PER_DAY, DailyDose, Duration  # noqa: PLC0415 - as above

    pump = pump_of(parse_url(text), ManualClock())
    dose = DailyDose(pump.truth.tip_dose_ng_per_day)
    end_ms = pump.now_ms + days * MS_PER_DAY
    refill_ms = end_ms if refill_every is None else quantity("--refill-every", Duration, refill_every).ms
    if refill_ms < 1:
        raise UsageError(f"--refill-every: {refill_every} is no interval; 180 d is the longest in use")
    grid = optional("--every", Duration, every)
    with Recorder(pump, every=grid, title=f"{text} left alone for {days} days", accustomed_to=dose) as recorder:
        due_ms = pump.now_ms + refill_ms
        while due_ms < end_ms:
            pump.advance_to(due_ms)
            pump.refill()
            recorder.action("bench", "refill", "full")
            due_ms += refill_ms
        pump.advance_to(end_ms)
        return recorder.run()


def _played(name: str) -> Run:
    """A scenario, played for its record; a failing one is reported all the same."""
    from telemetry.scenario.library import find  # noqa: PLC0415 - as above
    from telemetry.scenario.running import run_file  # noqa: PLC0415 - as above
    from telemetry.sim.run import read_run  # noqa: PLC0415 - as above

    paths = find(name)
    if len(paths) != 1:
        raise UsageError(f"{name}: holds {len(paths)} scenarios; a report is of one")
    with tempfile.TemporaryDirectory() as folder:
        result = run_file(paths[0], record=Path(folder))
        if not result.record:
            raise UsageError(f"{name}: could not be played: {result.error or 'it left no record'}")
        recorded = read_run(Path(result.record))
    if not result.passed:
        note(f"telemetry: scenario {result.name}: {len(result.failures)} expectation(s) failed; the report shows them")
    return recorded


def _asked(run: Run, window: str | None, start: str | None, end: str | None) -> DoseSpan | None:
    from telemetry.report.building import DoseSpan  # noqa: PLC0415 - as above
    from telemetry.units import Duration  # noqa: PLC0415 - as above

    if window is None and start is None and end is None:
        return None
    first_ms, last_ms = run.samples.at_ms[0], run.samples.at_ms[-1]
    from_ms = first_ms if start is None else first_ms + quantity("--from", Duration, start).ms
    to_ms = last_ms if end is None else first_ms + quantity("--to", Duration, end).ms
    return DoseSpan(to_ms - from_ms if window is None else quantity("--window", Duration, window).ms, from_ms, to_ms)


def _facts(run: Run, asked: DoseSpan | None) -> dict[str, object]:
    from telemetry.report.series import Series  # noqa: PLC0415 - as above

    series = Series(run)
    facts: dict[str, object] = {
        "title": run.title,
        "profile": run.pump.profile,
        "serial": run.pump.serial,
        "from_ms": series.from_ms,
        "to_ms": series.to_ms,
        "samples": len(run.samples),
        "events": len(run.events) + run.events_left_out,
        "expectations_failed": sum(not verdict.passed for verdict in run.verdicts),
        "delivered_ng": run.samples.delivered_ng[-1] - run.samples.delivered_ng[0],
    }
    if asked is not None:
        found = series.window(asked.window_ms, asked.from_ms, asked.to_ms)
        facts["dose_window"] = {
            "window_ms": found.window_ms,
            "from_ms": asked.from_ms,
            "to_ms": asked.to_ms,
            "max_ng": round(found.max_ng),
            "min_ng": round(found.min_ng),
            "mean_ng": round(found.mean_ng),
            "max_ends_ms": found.max_ends_ms,
        }
    return facts


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - with --json nothing of rich is needed

    return escape(text)

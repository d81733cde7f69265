"""What the commands of the flow bench share: what is measured, how mass becomes volume, and how results are told."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

from telemetry.cli.output import SIMULATED, table
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from telemetry.flow.document import Corrections, FlowRun
    from telemetry.flow.measuring import Plan
    from telemetry.report.flow import Scheme, Trumpet

_Command = TypeVar("_Command", bound="Callable[..., Any]")
SCHEMES = ("implantable", "ambulatory", "volumetric")
PROTOCOLS = ("sics", "sbi", "and")
_MEASURED = "[bold black on cyan] MEASURED [/]"
_LONGEST_H = 24 * 366


def options(*made: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator, in the order of the help."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(made), command)


plan_options = options(
    click.option(
        "--scheme", type=click.Choice(SCHEMES), default="implantable", show_default=True, help="How to sample."
    ),
    click.option("--interval", metavar="SPAN", help="Time between readings. [default: the scheme's]"),
    click.option("--hours", type=click.FloatRange(0.01, _LONGEST_H), help="How long. [default: as the windows need]"),
    click.option("--stabilise", metavar="SPAN", help="What the start-up curve is of. [default: the scheme's]"),
    click.option("--bolus", metavar="VOLUME", help="Measure boluses: one of this volume an interval."),
    click.option("--title", default="", metavar="TEXT", help="Above the report."),
)
correction_options = options(
    click.option("--density", default="0.9982 g/ml", show_default=True, metavar="DENSITY", help="Of the liquid."),
    click.option("--density-uncertainty", default="0.03 %", show_default=True, metavar="SHARE", help="Of that."),
    click.option(
        "--air-density", default="0.0012 g/ml", show_default=True, metavar="DENSITY", help="0 g/ml: no buoyancy."
    ),
    click.option("--evaporation", metavar="LOSS", help="What the beaker loses by itself, as in '0.2 mg/h'."),
    click.option("--evaporation-uncertainty", metavar="LOSS", help="Of that. [default: half of it]"),
    click.option("--repeatability", metavar="MASS", help="Standard deviation of a reading. [default: the blank run's]"),
    click.option("--blank", metavar="FILE", help="A blank run: loss and scatter are taken from it."),
)


def scheme_of(name: str) -> Scheme:
    """The scheme of that name."""
    from telemetry.report.flow import SCHEMES as KNOWN  # noqa: PLC0415 - needs numpy

    return next(one for one in KNOWN if one.name.split()[0] == name)


def corrections(given: dict[str, Any], *, drop_nl: int = 0) -> Corrections:
    """How mass becomes volume, by the options of ``correction_options``; raises ``UsageError``."""
    from telemetry.flow.amounts import DENSITY, LOSS, MASS, parse_amount, parse_share_ppm  # noqa: PLC0415 - --help
    from telemetry.flow.document import Corrections  # noqa: PLC0415 - as above

    loss, unsure, scatter, source = 0, 0, 0, ""
    if given["blank"] is not None:
        if given["evaporation"] is not None or given["evaporation_uncertainty"] is not None:
            raise UsageError("--evaporation: a blank run says what is lost; leave one of the two out")
        loss, unsure, scatter, source = _from_blank(given["blank"])
    elif given["evaporation"] is not None:
        loss = parse_amount("--evaporation", given["evaporation"], LOSS)
        unsure, source = (loss + 1) // 2, "as given"
    elif given["evaporation_uncertainty"] is not None:
        source = "taken as none"
    if given["evaporation_uncertainty"] is not None:
        unsure = parse_amount("--evaporation-uncertainty", given["evaporation_uncertainty"], LOSS)
    if given["repeatability"] is not None:
        scatter = parse_amount("--repeatability", given["repeatability"], MASS)
    return Corrections(
        density_ug_per_ml=parse_amount("--density", given["density"], DENSITY, least=500_000, most=2_000_000),
        density_uncertainty_ppm=abs(parse_share_ppm("--density-uncertainty", given["density_uncertainty"])),
        air_ug_per_ml=parse_amount("--air-density", given["air_density"], DENSITY, most=2_000),
        loss_ng_per_h=loss,
        loss_uncertainty_ng_per_h=unsure,
        loss_source=source,
        repeatability_ng=scatter,
        drop_nl=drop_nl,
    )


def _from_blank(path: str | Path) -> tuple[int, int, int, str]:
    from pathlib import Path  # noqa: PLC0415 - as above

    from telemetry.flow.analysis import blank_of  # noqa: PLC0415 - as above
    from telemetry.flow.document import read_flow  # noqa: PLC0415 - as above

    run = read_flow(Path(path))
    if run.kind != "blank":
        raise UsageError(
            f"--blank: {path} is a measurement of flow, not a blank run; 'telemetry flow measure --no-flow'"
        )
    found = blank_of(run)
    text = f"blank run of {found.hours:.3g} h"
    return found.loss_ng_per_h, found.uncertainty_ng_per_h, found.repeatability_ng, text


def plan_of(
    given: dict[str, Any], *, rate_nl_per_day: int, no_flow: bool, drop_nl: int = 0, patience_ms: int | None = None
) -> Plan:
    """What is to be measured, by the options of ``plan_options`` and ``correction_options``; raises ``UsageError``."""
    from telemetry.flow.measuring import DEFAULT_PATIENCE_MS, Plan  # noqa: PLC0415 - as above
    from telemetry.units import MS_PER_HOUR, Duration, Volume  # noqa: PLC0415 - as above

    scheme = scheme_of(given["scheme"])
    every_ms = scheme.every_ms if given["interval"] is None else Duration.parse(given["interval"]).ms
    if every_ms < 100:
        raise UsageError(f"--interval: {every_ms} ms is below 100 ms; no balance weighs so often")
    stabilise_ms = scheme.stabilise_ms if given["stabilise"] is None else Duration.parse(given["stabilise"]).ms
    bolus_nl = None if given["bolus"] is None else Volume.parse(given["bolus"]).nl
    if bolus_nl == 0:
        raise UsageError("--bolus: 0 nl is no bolus")
    if bolus_nl is not None and no_flow:
        raise UsageError("--bolus: a blank run has no boluses")
    longest_ms = max(scheme.windows_ms)
    if given["hours"] is not None:
        if given["hours"] != given["hours"]:
            raise UsageError("--hours: nan is no number of hours; write 100")
        length_ms = round(given["hours"] * MS_PER_HOUR)
    elif bolus_nl is not None:
        length_ms = 25 * every_ms
    else:
        length_ms = 24 * MS_PER_HOUR if no_flow else stabilise_ms + max(2 * longest_ms, 4 * MS_PER_HOUR)
    kind = "blank" if no_flow else "flow" if bolus_nl is None else "bolus"
    named = {"blank": "Blank run", "flow": "Flow accuracy", "bolus": "Bolus accuracy"}[kind]
    rate = "" if no_flow else f" at {rate_nl_per_day / 1e6:g} ml/day"
    return Plan(
        kind=kind,
        title=given["title"] or f"{named}{rate}",
        scheme=scheme.name,
        every_ms=every_ms,
        stabilise_ms=stabilise_ms if kind == "flow" else 0,
        windows_ms=scheme.windows_ms if kind == "flow" else (),
        rate_nl_per_day=0 if no_flow else rate_nl_per_day,
        samples=length_ms // every_ms,
        corrections=corrections(given, drop_nl=drop_nl),
        bolus_nl=bolus_nl,
        patience_ms=DEFAULT_PATIENCE_MS if patience_ms is None else patience_ms,
    )


# --- results ---------------------------------------------------------------------------------------------------------


def marked(run: FlowRun) -> str:
    """The mark before a line about this measurement."""
    return SIMULATED if run.simulated else _MEASURED


def result_json(run: FlowRun) -> dict[str, object]:
    """What a program wants to know of a measurement."""
    from telemetry.flow.analysis import analyse  # noqa: PLC0415 - as above

    found = analyse(run)

    def curve(trumpet: Trumpet | None) -> object:
        return (
            None
            if trumpet is None
            else {
                "overall_percent": round(trumpet.overall_percent, 6),
                "analysed_ms": trumpet.analysed_ms,
                "windows": [
                    {
                        "window_ms": one.window_ms,
                        "positions": one.positions,
                        "max_percent": round(one.max_percent, 6),
                        "min_percent": round(one.min_percent, 6),
                    }
                    for one in trumpet.windows
                ],
            }
        )

    facts: dict[str, object] = {
        "simulated": run.simulated,
        "kind": run.kind,
        "title": run.title,
        "rate_nl_per_day": run.rate_nl_per_day,
        "samples": len(run.readings),
        "readings": sum(mass is not None for mass in run.readings.mass_ng),
        "ended": run.ended,
        "marks": [{"at_ms": one.at_ms, "kind": one.kind, "text": one.text} for one in run.marks],
    }
    if run.kind == "flow":
        facts["measured"], facts["truth"] = curve(found.measured), curve(found.truth)
        facts["uncertainty_percent"] = {str(ms): round(one.total, 6) for ms, one in found.budgets.items()}
        facts["closed_form_percent"] = {str(ms): [round(one, 6) for one in pair] for ms, pair in found.expected.items()}
        facts["notes"] = list(found.notes)
    if found.boluses is not None:
        facts["bolus_nl"] = found.boluses.set_nl
        facts["bolus_errors_percent"] = [round(one, 4) for one in found.boluses.errors_percent.tolist()]
        facts["uncertainty_percent"] = round(found.boluses.budget.total, 6)
    if found.blank is not None:
        facts["loss_ng_per_h"] = found.blank.loss_ng_per_h
        facts["loss_uncertainty_ng_per_h"] = found.blank.uncertainty_ng_per_h
        facts["repeatability_ng"] = found.blank.repeatability_ng
    return facts


def tell(screen: Console, run: FlowRun) -> None:
    """The results on the terminal."""
    from rich.markup import escape  # noqa: PLC0415 - with --json nothing of rich is needed

    from telemetry.flow.reporting import build  # noqa: PLC0415 - as above

    report = build(run)
    first = report.tables[0]
    shown = table(f"{marked(run)} {escape(run.title)}: {first.title}", *first.columns)
    for index in first.numeric:
        shown.columns[index].justify = "right"
    for row in first.rows:
        shown.add_row(*(escape(cell) for cell in row))
    screen.print(shown)
    for note in (first.note, *report.notes):
        if note:
            screen.print(note, markup=False)
    for one in run.marks:
        screen.print(f"at {one.at_ms / 3_600_000:.3f} h: {one.kind}: {one.text}", markup=False)

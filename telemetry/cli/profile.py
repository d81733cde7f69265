"""``telemetry profile``: the pump families, every number with its unit, source and confidence."""

from __future__ import annotations

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, facts, table

_MARKS = {
    "A": "A  a label, a regulator or a manufacturer says so",
    "B": "B  a secondary source",
    "C": "C  an estimate",
    "calc": "calc  worked out from others",
    "design": "design  a decision of this project",
}
_EPILOG = """\b
Examples:
  telemetry profile list
  telemetry profile show itb-40
  telemetry profile show ./my-pump.toml --json
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """The pump families: every number with its unit, source and confidence."""


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List the families that come with this package."""
    from telemetry.cli.words import dose, flow, volume  # noqa: PLC0415 - --help must not wait for it
    from telemetry.sim.profiles import DEFAULT_PROFILE, list_profiles, load_profile  # noqa: PLC0415 - as above

    families = [load_profile(name) for name in list_profiles()]
    if as_json:
        emit(
            {
                "simulated": True,
                "default": DEFAULT_PROFILE,
                "profiles": [
                    {
                        "name": family.name,
                        "model": family.model,
                        "drug": family.drug,
                        "drive": family.drive,
                        "level_sensor": family.level_sensor,
                        "reservoir_capacity_nl": family.reservoir_capacity_nl,
                        "min_rate_nl_per_day": family.min_rate_nl_per_day,
                        "max_rate_nl_per_day": family.max_rate_nl_per_day,
                    }
                    for family in families
                ],
            }
        )
        return
    shown = table(f"{SIMULATED} pump families", "name", "reservoir", "rates", "dose accepted")
    for family in families:
        name = f"{family.name} (default)" if family.name == DEFAULT_PROFILE else family.name
        shown.add_row(
            f"{name}\n[dim]{family.drive.replace('_', ' ')}[/]",
            f"{volume(family.reservoir_capacity_nl)}\n[dim]{family.drug}[/]",
            f"{flow(family.min_rate_nl_per_day).partition(' ')[0]} – {flow(family.max_rate_nl_per_day)}",
            f"{dose(family.daily_dose_hard_min_ng).partition(' ')[0]} – {dose(family.daily_dose_hard_max_ng)}",
        )
    console().print(shown)


@command.command("show", short_help="Every number of one family with its source.")
@click.argument("name", required=False, default="")
@json_option
def show_command(name: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show every number of the family NAME (or of a .toml file) with its unit, source and confidence."""
    from telemetry.sim.profiles import list_profiles, profile_table  # noqa: PLC0415 - as above

    if not name:
        raise click.UsageError(f"NAME is missing; one of: {', '.join(list_profiles())}, or a file ending in .toml")
    rows = profile_table(name)
    if as_json:
        emit({"simulated": True, "profile": name, "values": [facts(row) for row in rows]})
        return
    shown = table(f"{SIMULATED} {name}", "what", "value", "sure", "source")
    section = ""
    for row in rows:
        here = row.key.rpartition(".")[0]
        if here != section:
            if section:
                shown.add_section()
            section = here
            shown.add_row(f"[bold]{here.replace('.', ': ').replace('_', ' ')}[/]")
        shown_name = row.key.rpartition(".")[2].replace("_", " ")
        shown.add_row(shown_name, f"{row.value} {row.unit}".strip(), row.confidence, row.source)
    screen = console()
    screen.print(shown)
    screen.print("[dim]How sure: " + "; ".join(_MARKS.values()) + "[/]")

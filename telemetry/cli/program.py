"""``telemetry program``: any therapy, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options

if TYPE_CHECKING:
    from telemetry.model import Change

_KINDS = ("simple", "minimum", "flex", "weekday", "periodic", "titration", "patient")
_EPILOG = """\b
Examples:
  telemetry program --template flex > night.yaml
  telemetry program tcp://127.0.0.1:7410 night.yaml
  telemetry program tcp://127.0.0.1:7410 night.yaml --yes --json --accept-warning daily_dose_change
  telemetry program --schema > therapy.schema.json
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("file", required=False, default=None, type=click.Path(dir_okay=False, allow_dash=False))
@click.option("--template", type=click.Choice(_KINDS), help="Write a file to start from to standard output, and end.")
@click.option("--schema", is_flag=True, help="Write the JSON schema of such files to standard output, and end.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    file: str | None,
    template: str | None,
    schema: bool,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Program the therapy in FILE (YAML or JSON): constant, flex, weekday, periodic bolus, titration ramp.

    The pump reads back every part of it; a schedule is shown step by step beside the one before.
    """
    from telemetry.cli import therapy_file  # noqa: PLC0415 - --help must not wait for the reader of YAML

    if template is not None or schema:
        text = therapy_file.schema_text() if schema else therapy_file.TEMPLATES[str(template)]
        click.echo(text, nl=False)
        return
    need_url(url)
    if file is None:
        raise click.UsageError("FILE is missing: a therapy file; --template flex writes one to start from")
    therapy = therapy_file.read_therapy(Path(file))

    async def act(visit: Visit) -> Change:
        return await visit.programmer.program(therapy, accept=visit.terms.accept, confirm=visit.confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act)

"""``telemetry resume``: start the committed program of a stopped pump again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import url_argument
from telemetry.cli.options import accept_option, change_options

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry resume tcp://127.0.0.1:7410
  telemetry resume tcp://127.0.0.1:7410 --yes --accept-warning stopped_over_48_h
"""


@click.command(epilog=_EPILOG)
@url_argument
@accept_option
@change_options()
def command(url: str, accept: tuple[str, ...], role: str, arm: bool, as_json: bool, yes: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Start the committed program of a stopped pump again: staged, read back and confirmed like any other change."""

    async def act(visit: Visit) -> Change:
        return await visit.programmer.resume(accept=visit.terms.accept, confirm=visit.confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act)

"""``telemetry stop``: stop delivery in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import words
from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import url_argument
from telemetry.cli.options import change_options
from telemetry.cli.output import note
from telemetry.errors import Refused
from telemetry.model import StopReason
from telemetry.programmer.texts import WITHDRAWAL

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry stop tcp://127.0.0.1:7410
  telemetry stop serial:///dev/ttyUSB0 --reason overdose --role emergency --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option(
    "--reason",
    type=click.Choice([reason.value for reason in StopReason]),
    default=StopReason.CLINICAL.value,
    show_default=True,
    help="Why; it stands in the pump's log.",
)
@change_options()
def command(url: str, reason: str, role: str, arm: bool, as_json: bool, yes: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Stop delivery at once; the pump stays stopped until it is resumed.

    Abrupt loss of intrathecal baclofen can kill: the warning is shown before anything is asked.
    """

    async def act(visit: Visit) -> Change:
        status = visit.status
        note(f"WARNING: {WITHDRAWAL}")
        moment = words.date(status.now_ms, visit.identity.epoch_utc_s)
        now = words.therapy_now(status)
        note(f"The pump delivers {now}; it will stand still from now on ({moment}).")
        if not visit.ask("Stop the pump?"):
            raise Refused("declined", "not confirmed; the pump was not stopped")
        visit.going = True
        return await visit.programmer.stop(StopReason(reason))

    change(Terms(url, role, yes, as_json, arm), act, reads=())

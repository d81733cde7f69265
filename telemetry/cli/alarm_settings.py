"""``telemetry alarm-settings``: what a clinician may set of the pump's alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values
from telemetry.cli.changing import ALARM_SETTINGS, Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.units import Volume

if TYPE_CHECKING:
    from telemetry.model import Change

_SWITCH = click.Choice(["on", "off"])
_EPILOG = """\b
Examples:
  telemetry read tcp://127.0.0.1:7410 alarm-settings
  telemetry alarm-settings tcp://127.0.0.1:7410 --low-reservoir-at "3 ml"
  telemetry alarm-settings tcp://127.0.0.1:7410 --low-reservoir off --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--low-reservoir-at", metavar="VOLUME", help="Alarm at this calculated volume.")
@click.option("--low-reservoir", type=_SWITCH, help="The low-reservoir alarm on or off.")
@click.option("--elective-replacement", type=_SWITCH, help="The elective-replacement alarm on or off.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    low_reservoir_at: str | None,
    low_reservoir: str | None,
    elective_replacement: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Set the low-reservoir volume, and whether the two alarms that may be off are on.

    Critical alarms cannot be switched off. An alarm that is off still shows when the pump is read.
    """
    need_url(url)
    volume = reading_values.optional("--low-reservoir-at", Volume, low_reservoir_at)
    if volume is None and low_reservoir is None and elective_replacement is None:
        raise click.UsageError("name at least one setting; 'telemetry read URL alarm-settings' shows them")

    async def act(visit: Visit) -> Change:
        return await visit.programmer.configure_alarms(
            low_reservoir=volume,
            low_reservoir_enabled=_flag(low_reservoir),
            elective_replacement_enabled=_flag(elective_replacement),
            accept=visit.terms.accept,
            confirm=visit.confirm,
        )

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(ALARM_SETTINGS,))


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "on"

"""``telemetry set-rate``: a simple continuous therapy at a flow or a dose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import words
from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.cli.output import note
from telemetry.units import HourlyDose, parse_delivery

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry set-rate tcp://127.0.0.1:7410 "0.200 ml/day"
  telemetry set-rate serial:///dev/ttyUSB0 "400 ug/day" --yes
  telemetry set-rate tcp://127.0.0.1:7410 "12.5 ug/h"      (12.5 µg per hour = 300 µg per day)
  telemetry set-rate sim: "0.250 ml/day" --yes --accept-warning daily_dose_change
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("rate", required=False, default="")
@accept_option
@change_options()
def command(url: str, rate: str, accept: tuple[str, ...], role: str, arm: bool, as_json: bool, yes: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Change the rate of delivery.

    RATE is a number with its unit: a flow (ml/day, ul/day, ml/h), a dose per day (ug/day, mg/day) or per hour (ug/h).
    The pump reads it back; before and after are shown side by side, and nothing changes before it is confirmed.
    """
    need_url(url)
    if not rate:
        raise click.UsageError('RATE is missing: a number with its unit, as in "0.200 ml/day" or "400 ug/day"')
    wanted = parse_delivery(rate)
    if isinstance(wanted, HourlyDose):
        note(f"{wanted} is {words.dose(wanted.per_day().ng_per_day)}")

    async def act(visit: Visit) -> Change:
        return await visit.programmer.set_rate(wanted, accept=visit.terms.accept, confirm=visit.confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act)

"""``telemetry clock``: set the pump's wall clock and zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values
from telemetry.cli.changing import DELIVERY, PROGRAM, Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry read tcp://127.0.0.1:7410 delivery                      shows the pump's clock
  telemetry clock tcp://127.0.0.1:7410 --utc now                    this machine's time, the zone stays
  telemetry clock tcp://127.0.0.1:7410 --zone +02:00                summer time, or after a journey
  telemetry clock tcp://127.0.0.1:7410 --utc 2027-03-28T01:00:00Z --zone +02:00 --accept-warning schedule_shifts
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--utc", metavar="TIME", help="'now' (this machine's time) or an instant with its zone.")
@click.option("--zone", metavar="OFFSET", help="From UTC, as in +01:00; the pump keeps its own when left out.")
@accept_option
@change_options()
def command(
    url: str,
    *,
    utc: str | None,
    zone: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Set the pump's wall clock, its zone, or both.

    A schedule runs by that clock: how far it moves against the patient's day is shown before anything is confirmed.
    Lock-outs, ramps and bolus intervals go by the pump's own time and do not move. --zone alone keeps the pump's clock.
    """
    need_url(url)
    if utc is None and zone is None:
        raise click.UsageError("say --utc now, --zone +01:00, or both; 'telemetry read URL delivery' shows the clock")
    instant, minutes = reading_values.utc_s(utc), reading_values.zone_minutes(zone)

    async def act(visit: Visit) -> Change:
        return await visit.programmer.set_clock(instant, minutes, accept=visit.terms.accept, confirm=visit.confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(PROGRAM, DELIVERY))

"""``telemetry prime``: fill tubing and catheter fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values
from telemetry.cli.changing import DELIVERY, PROGRAM, Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.units import FlowRate, Volume

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry prime tcp://127.0.0.1:7410                          the catheter (the pump's tubing is primed)
  telemetry prime tcp://127.0.0.1:7410 --where path             tubing and catheter
  telemetry prime tcp://127.0.0.1:7410 "0.2 ml" --rate "24 ml/day" --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("volume", required=False, default=None)
@click.option(
    "--where",
    type=click.Choice(["catheter", "tubing", "path"]),
    default="catheter",
    show_default=True,
    help="What is to be filled, by the volumes the pump was told of; not with a VOLUME.",
)
@click.option("--rate", metavar="FLOW", help="How fast; the pump's prime rate when left out.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    volume: str | None,
    where: str,
    rate: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Fill tubing or catheter with the drug in the reservoir, fast; the basal waits meanwhile.

    Ask where the drug is first: what holds drug already must not be primed again, for that much goes to the patient.
    """
    need_url(url)
    wanted = reading_values.optional("VOLUME", Volume, volume)
    flow = reading_values.optional("--rate", FlowRate, rate)

    async def act(visit: Visit) -> Change:
        return await visit.programmer.prime(
            wanted, where=where, rate=flow, accept=visit.terms.accept, confirm=visit.confirm
        )

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(PROGRAM, DELIVERY))

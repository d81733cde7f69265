"""``telemetry implant``: start a new pump: first filling, therapy, prime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values
from telemetry.cli.changing import DELIVERY, PROGRAM, Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.units import Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry sim --age shelf                                         (a pump that was never filled)
  telemetry implant tcp://127.0.0.1:7410 --volume "40 ml" --concentration "500 ug/ml" --rate "100 ug/day"
  telemetry implant URL --volume "20 ml" --concentration "500 ug/ml" --file flex.yaml --calibration 1.000000
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--volume", metavar="VOLUME", help="What was filled.")
@click.option("--concentration", metavar="C", help="Of the drug.")
@click.option("--rate", metavar="RATE", help="A constant rate (flow or dose).")
@click.option("--file", metavar="FILE", type=click.Path(dir_okay=False), help="Any therapy, from a file.")
@click.option(
    "--where",
    type=click.Choice(["path", "catheter", "tubing"]),
    default="path",
    show_default=True,
    help="What is still to be primed: tubing primed while sterile leaves the catheter.",
)
@click.option("--calibration", metavar="CONSTANT", help="The constant on the package, to be compared.")
@click.option("--withdrawn", metavar="VOLUME", default="0 ml", show_default=True, help="What came out before.")
@click.option("--expires", metavar="DATE", help="When the drug expires, as in 2027-06-30.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    volume: str | None,
    concentration: str | None,
    rate: str | None,
    file: str | None,
    where: str,
    calibration: str | None,
    withdrawn: str,
    expires: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Start a new pump: compare its calibration constant, tell it its first filling and therapy, prime.

    Two operations, each shown and confirmed by itself. When the prime fails, the filling stays: 'telemetry prime'.
    """
    need_url(url)
    from telemetry.cli.therapy_file import therapy_given  # noqa: PLC0415 - --help must not wait for the reader of YAML

    therapy = therapy_given(rate, file)
    if volume is None or concentration is None or therapy is None:
        raise click.UsageError("--volume, --concentration and --rate (or --file) are needed")
    filled, out = (
        reading_values.quantity("--volume", Volume, volume),
        reading_values.quantity("--withdrawn", Volume, withdrawn),
    )
    strength = reading_values.quantity("--concentration", Concentration, concentration)
    last_day, constant = reading_values.day(expires), reading_values.factor_ppm(calibration)

    async def act(visit: Visit) -> Sequence[Change]:
        result = await visit.programmer.implant(
            filled,
            strength,
            therapy,
            withdrawn=out,
            calibration_ppm=constant,
            where=where,
            expires=last_day,
            accept=visit.terms.accept,
            confirm=visit.confirm,
        )
        return (result.refill, result.prime)

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(PROGRAM, DELIVERY))

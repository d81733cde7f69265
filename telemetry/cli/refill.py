"""``telemetry refill``: tell the pump what the needle did, with the program that goes with it, as one prescription."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values
from telemetry.cli.changing import PROGRAM, Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.errors import UsageError
from telemetry.programmer.texts import PORT_CHECK
from telemetry.units import Concentration, Duration, Volume

if TYPE_CHECKING:
    from telemetry.model import Change

_LARGEST_PORT_LOSS_NL = 500_000
"""Of a test injection, what the reading of two syringes may lose; more stayed somewhere (our choice)."""
_EPILOG = """\b
Examples:
  telemetry refill tcp://127.0.0.1:7410 --volume "40 ml" --withdrawn "9.6 ml"
  telemetry refill tcp://127.0.0.1:7410 --volume "40 ml" --withdrawn "2 ml" --expires 2027-06-30 --port-check 5ml,4.9ml
  telemetry refill sim: --volume "40 ml" --withdrawn "40 ml" --concentration "500 ug/ml" --rate "300 ug/day" --yes
With another concentration the old drug in the path is bridged at the new program's dose unless --no-bridge is said.
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--volume", metavar="VOLUME", help="What is in the reservoir now.")
@click.option("--withdrawn", metavar="VOLUME", help="What came out before; 0 ml when nothing did.")
@click.option("--concentration", metavar="C", help="Of the new drug; as before when left out.")
@click.option(
    "--rate", metavar="RATE", help="A constant rate from now on (flow or dose); the doses stay when left out."
)
@click.option("--file", metavar="FILE", type=click.Path(dir_okay=False), help="Any therapy from now on, from a file.")
@click.option("--no-bridge", is_flag=True, help="Leave the bridge bolus out; the pump warns of it.")
@click.option("--expires", metavar="DATE", help="When the drug expires, as in 2027-06-30.")
@click.option(
    "--margin", metavar="SPAN", default="7 d", show_default=True, help="Refill so long before the last moment."
)
@click.option("--previous-fill", metavar="VOLUME", help="What the pump was filled to before, if its log forgot.")
@click.option(
    "--port-check", metavar="IN,BACK", help="The test injection and what came back, as in 5ml,4.9ml: pocket-fill guard."
)
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    volume: str | None,
    withdrawn: str | None,
    concentration: str | None,
    rate: str | None,
    file: str | None,
    no_bridge: bool,
    expires: str | None,
    margin: str,
    previous_fill: str | None,
    port_check: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Tell the pump of a refill: volume, drug, program and bridge in force together, or none of them.

    The result says whether what came out fits what the pump calculated, when the next refill is due and why, the
    battery, and the date by which the pump must be replaced.
    """
    need_url(url)
    if volume is None or withdrawn is None:
        raise click.UsageError("--volume and --withdrawn are needed: what is in the reservoir now, and what came out")
    from telemetry.cli.therapy_file import therapy_given  # noqa: PLC0415 - --help must not wait for the reader of YAML

    filled, out = (
        reading_values.quantity("--volume", Volume, volume),
        reading_values.quantity("--withdrawn", Volume, withdrawn),
    )
    strength = reading_values.optional("--concentration", Concentration, concentration)
    therapy = therapy_given(rate, file)
    last_day, span = reading_values.day(expires), reading_values.quantity("--margin", Duration, margin)
    before = reading_values.optional("--previous-fill", Volume, previous_fill)
    if port_check is not None:
        check_port(port_check)

    async def act(visit: Visit) -> Change:
        visit.notes = () if port_check is not None else (PORT_CHECK,)
        return await visit.programmer.refill(
            filled,
            strength,
            therapy,
            withdrawn=out,
            bridge=not no_bridge,
            expires=last_day,
            previous_fill=before,
            margin=span,
            accept=visit.terms.accept,
            confirm=visit.confirm,
        )

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(PROGRAM,))


def check_port(text: str) -> None:
    """Raise ``UsageError`` when too little of the test injection came back: it may be in the pocket."""
    injected_text, comma, back_text = text.partition(",")
    if not comma:
        raise UsageError(f"--port-check: {text!r} is not of the form 5ml,4.9ml (injected, drawn back)")
    injected, back = (reading_values.quantity("--port-check", Volume, text) for text in (injected_text, back_text))
    if injected.nl - back.nl > _LARGEST_PORT_LOSS_NL:
        raise UsageError(
            f"--port-check: of {injected} only {back} came back; {Volume(injected.nl - back.nl)} may be in the pocket. "
            "Do not fill: find the port again and watch the patient. Nothing was told to the pump"
        )

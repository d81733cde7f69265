"""``telemetry replace``: carry an old pump's prescription to a new one on the old catheter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values, words
from telemetry.cli.changing import ALARM_SETTINGS, DELIVERY, PROGRAM, Terms, Visit, change, need_person
from telemetry.cli.connecting import need_url, refuse_arm, talk
from telemetry.cli.options import accept_option, change_options
from telemetry.cli.output import note
from telemetry.model import Role
from telemetry.units import Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.model import Change
    from telemetry.programmer import Prescription, Programmer

_EPILOG = """\b
Examples:
  telemetry replace tcp://127.0.0.1:7410 tcp://127.0.0.1:7510 --volume "40 ml"
  telemetry replace OLD-URL NEW-URL --volume "40 ml" --concentration "2000 ug/ml" --tubing-primed --calibration 1.000000
"""


@click.command(epilog=_EPILOG)
@click.argument("old_url", required=False, default="")
@click.argument("new_url", required=False, default="")
@click.option("--volume", metavar="VOLUME", help="What was filled into the new pump.")
@click.option("--withdrawn", metavar="VOLUME", default="0 ml", show_default=True, help="What came out of it before.")
@click.option("--concentration", metavar="C", help="Of the drug in the new pump; the old pump's when left out.")
@click.option("--calibration", metavar="CONSTANT", help="The constant on the new pump's package, to be compared.")
@click.option("--tubing-primed", is_flag=True, help="The new pump's tubing was primed before it was connected.")
@click.option("--no-bridge", is_flag=True, help="Do not bridge what the catheter holds of another concentration.")
@click.option("--expires", metavar="DATE", help="When the drug expires, as in 2027-06-30.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    old_url: str,
    new_url: str,
    *,
    volume: str | None,
    withdrawn: str,
    concentration: str | None,
    calibration: str | None,
    tubing_primed: bool,
    no_bridge: bool,
    expires: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Carry the program, limits, alarm settings and zone of the pump at OLD-URL to the new pump at NEW-URL.

    The catheter goes on and holds drug, so that only the new pump's tubing is primed. Every step is shown and
    confirmed by itself; the old pump is only read.
    """
    need_url(old_url)
    if not new_url:
        raise click.UsageError("NEW-URL is missing: replace OLD-URL NEW-URL --volume …")
    if volume is None:
        raise click.UsageError("--volume is needed: what was filled into the new pump")
    refuse_arm(arm=arm)
    need_person(yes=yes)
    filled, out = (
        reading_values.quantity("--volume", Volume, volume),
        reading_values.quantity("--withdrawn", Volume, withdrawn),
    )
    strength = reading_values.optional("--concentration", Concentration, concentration)
    last_day, constant = reading_values.day(expires), reading_values.factor_ppm(calibration)
    prescription = _read(old_url)

    async def act(visit: Visit) -> Sequence[Change]:
        result = await visit.programmer.replace(
            prescription,
            filled,
            strength,
            withdrawn=out,
            calibration_ppm=constant,
            tubing_primed=tubing_primed,
            bridge=not no_bridge,
            expires=last_day,
            accept=visit.terms.accept,
            confirm=visit.confirm,
        )
        primed = () if result.prime is None else (result.prime,)
        return (*result.settings, result.refill, *primed)

    change(Terms(new_url, role, yes, as_json, arm, accept), act, reads=(PROGRAM, DELIVERY, ALARM_SETTINGS))


def _read(url: str) -> Prescription:
    async def work(programmer: Programmer) -> Prescription:
        return await programmer.read_prescription()

    found, _ = talk(url, work, role=Role.CLINICIAN.value)
    program = found.program
    note(
        f"The old pump {found.identity.serial}: {words.MODES[program.mode]}, "
        f"{words.rate(program.rate_nl_per_day, program.dose_ng_per_day)} of "
        f"{words.concentration(program.concentration_ng_per_ml)}; its catheter holds "
        f"{words.exact_volume(found.identity.catheter_volume_nl)}."
    )
    return found

"""``telemetry titrate``: change the dose by a share, at once or as a ramp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values, words
from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.cli.output import note
from telemetry.errors import UsageError
from telemetry.programmer.therapy import TITRATION_PPM, rate_in_force
from telemetry.programmer.therapy import ramp as ramp_therapy
from telemetry.units import parse_delivery

if TYPE_CHECKING:
    from telemetry.model import Change

_EPILOG = """\b
Examples:
  telemetry titrate tcp://127.0.0.1:7410 +15%
  telemetry titrate tcp://127.0.0.1:7410 -10% --patient-kind child --yes
  telemetry titrate tcp://127.0.0.1:7410 +10% --ramp --to "450 ug/day" --every 7
"""


@click.command(epilog=_EPILOG, context_settings={"ignore_unknown_options": True})
@url_argument
@click.argument("step", required=False, default="")
@click.option("--ramp", is_flag=True, help="Let the pump go up (or down) by STEP until --to, every --every days.")
@click.option("--to", "target", metavar="DOSE", help="With --ramp: the dose at which it ends.")
@click.option("--every", metavar="DAYS", type=click.IntRange(1, 365), default=7, show_default=True, help="With --ramp.")
@click.option(
    "--patient-kind", type=click.Choice(sorted(TITRATION_PPM)), help="Say whether STEP is usual for these patients."
)
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    step: str,
    ramp: bool,
    target: str | None,
    every: int,
    patient_kind: str | None,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Change the daily dose by a share: +15%, -10%.

    Every rate of a schedule and the periodic bolus go up or down together; a patient's own bolus stays. With --ramp
    the pump itself takes the steps, each after so many days of delivery.
    """
    need_url(url)
    if not step:
        raise click.UsageError("STEP is missing: a share such as +15% or -10%")
    ppm = reading_values.share_ppm(step)
    if ramp is (target is None):
        raise click.UsageError("--ramp and --to go together: a ramp ends at a dose")
    if patient_kind is not None:
        _say_whether_usual(ppm, patient_kind)

    async def act(visit: Visit) -> Change:
        programmer, names, confirm = visit.programmer, visit.terms.accept, visit.confirm
        if target is None:
            return await programmer.titrate(ppm, accept=names, confirm=confirm)
        start = visit.status.dose_ng_per_day if visit.shown.program is None else visit.shown.program.dose_ng_per_day
        _, end = rate_in_force(parse_delivery(target), visit.status.concentration_ng_per_ml)
        if not start:
            raise UsageError("titrate: the committed program gives no dose to start from; use 'telemetry program'")
        therapy = ramp_therapy(start, end, step_ppm=ppm, days=every)
        return await programmer.program(therapy, accept=names, confirm=confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act)


def _say_whether_usual(ppm: int, kind: str) -> None:
    low, high = TITRATION_PPM[kind]
    usual = f"{words.percent(low)} to {words.percent(high)} once in 24 hours"
    if low <= abs(ppm) <= high:
        note(f"{words.percent(ppm)} is a usual step for {kind} ({usual}).")
    else:
        note(f"WARNING: {words.percent(ppm)} is no usual step for {kind}: {usual}.")

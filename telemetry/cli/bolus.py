"""``telemetry bolus``: one bolus now, by a clinician; or the patient's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values, words
from telemetry.cli.changing import DELIVERY, PROGRAM, Terms, Visit, change, need_person
from telemetry.cli.connecting import need_url, refuse_arm, talk, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.cli.output import console, emit, facts, note
from telemetry.cli.refusals import explain
from telemetry.errors import Refused
from telemetry.model import Role
from telemetry.units import Duration

if TYPE_CHECKING:
    from telemetry.model import Change, DeliveryReport, Identity
    from telemetry.programmer import Programmer

_EPILOG = """\b
Examples:
  telemetry bolus tcp://127.0.0.1:7410 "50 ug" --over 10min
  telemetry bolus tcp://127.0.0.1:7410 "0.025 ml" --over "1 h" --yes
  telemetry bolus tcp://127.0.0.1:7410 --patient        (the pump decides; forbidden for baclofen)
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("amount", required=False, default="")
@click.option("--over", metavar="SPAN", help="How long it takes, as in 10min or '1 h'.")
@click.option("--patient", is_flag=True, help="The bolus prescribed for the patient's own use, by the patient's role.")
@accept_option
@change_options()
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    amount: str,
    over: str | None,
    patient: bool,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Give one bolus now, on top of the basal, which goes on.

    AMOUNT is a dose (ug, mg) or a volume (ml, ul). The pump adds up the largest 24 hours it would make, shows it
    beside its limit, and refuses what goes beyond.
    """
    need_url(url)
    if patient:
        if amount or over:
            raise click.UsageError("--patient: amount and duration are those that were prescribed; give neither")
        role = Role.PATIENT.value if _was_left_out("role") else role
        _patient(Terms(url, role, yes, as_json, arm))
        return
    if not amount or not over:
        raise click.UsageError('AMOUNT and --over are needed, as in: "50 ug" --over 10min')
    wanted, span = reading_values.amount(amount), reading_values.quantity("--over", Duration, over)

    async def act(visit: Visit) -> Change:
        return await visit.programmer.bolus(wanted, span, accept=visit.terms.accept, confirm=visit.confirm)

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=(PROGRAM, DELIVERY))


def _was_left_out(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.DEFAULT


def _patient(terms: Terms) -> None:
    """The patient's way: no program and no limits can be read in that role, so nothing of them is shown."""
    refuse_arm(arm=terms.arm)
    need_person(yes=terms.yes)

    async def work(programmer: Programmer) -> tuple[Identity, Change, DeliveryReport]:
        identity, status = await programmer.read_identity(), await programmer.read_status()
        note(f"The pump delivers {words.therapy_now(status)}.")
        if not terms.yes and not click.confirm("Ask for a bolus?", default=False, err=True):
            raise Refused("declined", "not confirmed; no bolus was asked for")
        try:
            done = await programmer.patient_bolus()
        except Refused as refused:
            told = explain(refused, status=status)
            delivery = await programmer.read_delivery()
            if delivery.locked_out_until_ms is not None:
                until = words.when(delivery.locked_out_until_ms, delivery.now_ms, identity.epoch_utc_s)
                told.add_note(f"locked out until {until}")
            raise told from refused
        return identity, done, await programmer.read_delivery()

    (who, done, delivery), resolved = talk(terms.url, work, role=terms.role)
    if terms.as_json:
        emit(
            {
                "simulated": who.simulated,
                "outcome": "applied",
                **facts(done),
                "applied_at_utc": words.iso(done.applied_at_ms, who.epoch_utc_s),
                "delivery": facts(delivery),
                "resolved": [facts(outcome) for outcome in resolved],
            }
        )
        return
    screen = console()
    screen.print(f"[bold green]Granted[/] at {words.date(done.applied_at_ms, who.epoch_utc_s)}")
    screen.print(f"  {words.exact_volume(delivery.activity_volume_nl)}, until {_end(delivery, who)}")
    screen.print(f"  {delivery.patient_boluses_24h} in the last 24 h")


def _end(delivery: DeliveryReport, who: Identity) -> str:
    return words.when(delivery.activity_ends_ms, delivery.now_ms, who.epoch_utc_s)

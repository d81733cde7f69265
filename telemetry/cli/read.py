"""``telemetry read``: interrogate telemeter and pump."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli import views
from telemetry.cli.connecting import arm_option, json_option, role_option, talk, url_argument
from telemetry.cli.output import console, emit, facts
from telemetry.model import Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.cli.views import View
    from telemetry.programmer import Programmer

WHAT = ("status", "identity", "program", "delivery", "alarms", "alarm-settings", "log", "limits", "telemeter")
_EPILOG = """\b
Examples:
  telemetry read sim:                              a pump in this process
  telemetry read serial:///dev/ttyUSB0 status
  telemetry read tcp://127.0.0.1:7410 alarms
  telemetry read tcp://127.0.0.1:7410 delivery     bolus, prime or bridge; dose of the last hours; clock
  telemetry read tcp://127.0.0.1:7410 log --since 40
  telemetry read tcp://127.0.0.1:7410 status --json
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("what", type=click.Choice(WHAT), default="status", metavar="[WHAT]")
@click.option("--since", type=click.IntRange(min=0), default=None, metavar="N", help="Log: from this record number on.")
@role_option(Role.CLINICIAN)
@arm_option
@json_option
def command(url: str, what: str, since: int | None, role: str, arm: bool, as_json: bool) -> None:  # noqa: FBT001
    """Interrogate a pump or its telemeter.

    URL says where the telemeter is; WHAT is one of status (when left out), identity, program, delivery, alarms,
    alarm-settings, log, limits, telemeter. Reading changes nothing.
    """
    if since is not None and what != "log":
        raise click.UsageError(f"--since belongs to 'log', not to '{what}'")

    async def interrogate(programmer: Programmer) -> View:
        return await _READERS[what](programmer, since or 0)

    view, resolved = talk(url, interrogate, role=role, arm=arm)
    if as_json:
        emit({**view.content, "resolved": [facts(outcome) for outcome in resolved]})
    else:
        screen = console()
        for part in view.parts():
            screen.print(part)


async def _status(programmer: Programmer, _since: int) -> View:
    identity = await programmer.read_identity()
    return views.status(identity, await programmer.read_status(), await programmer.read_alarms())


async def _identity(programmer: Programmer, _since: int) -> View:
    return views.identity(await programmer.read_identity())


async def _program(programmer: Programmer, _since: int) -> View:
    return views.program(await programmer.read_identity(), await programmer.read_program())


async def _delivery(programmer: Programmer, _since: int) -> View:
    return views.delivery(await programmer.read_identity(), await programmer.read_delivery())


async def _alarm_settings(programmer: Programmer, _since: int) -> View:
    return views.alarm_settings(await programmer.read_identity(), await programmer.read_alarm_settings())


async def _alarms(programmer: Programmer, _since: int) -> View:
    identity = await programmer.read_identity()
    return views.alarms(identity, await programmer.read_status(), await programmer.read_alarms())


async def _log(programmer: Programmer, since: int) -> View:
    from telemetry.cli.progress import LateProgress  # noqa: PLC0415 - for this one only

    identity = await programmer.read_identity()
    with LateProgress("reading the log") as progress:
        report = await programmer.read_log(since, progress.update)
    return views.log(identity, report)


async def _limits(programmer: Programmer, _since: int) -> View:
    identity, status = await programmer.read_identity(), await programmer.read_status()
    limits, rules = await programmer.read_limits(), await programmer.read_rules()
    return views.limits(identity, limits, rules, status.concentration_ng_per_ml)


async def _telemeter(programmer: Programmer, _since: int) -> View:
    return views.telemeter(await programmer.read_telemeter())


_READERS: dict[str, Callable[[Programmer, int], Awaitable[View]]] = {
    "status": _status,
    "identity": _identity,
    "program": _program,
    "delivery": _delivery,
    "alarms": _alarms,
    "alarm-settings": _alarm_settings,
    "log": _log,
    "limits": _limits,
    "telemeter": _telemeter,
}

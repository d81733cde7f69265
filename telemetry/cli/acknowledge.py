"""``telemetry acknowledge``: acknowledge one alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import url_argument
from telemetry.cli.hushing import hush
from telemetry.cli.options import change_options
from telemetry.model import AlarmKind

if TYPE_CHECKING:
    from telemetry.model import Alarm
    from telemetry.programmer import Programmer

_EPILOG = """\b
Examples:
  telemetry acknowledge tcp://127.0.0.1:7410 low_reservoir
  telemetry acknowledge tcp://127.0.0.1:7410 memory_error --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.argument("alarm", type=click.Choice([kind.value for kind in AlarmKind]), metavar="ALARM")
@change_options()
def command(url: str, alarm: str, role: str, arm: bool, as_json: bool, yes: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Acknowledge one alarm: a latched one is released, one whose condition is present is quieted.

    ALARM is a kind as 'telemetry read URL alarms' and 'telemetry alarm list' name it.
    """

    async def act(programmer: Programmer) -> tuple[Alarm, ...]:
        return await programmer.acknowledge_alarm(AlarmKind(alarm))

    hush(url, act, question=f"Acknowledge {alarm}?", role=role, arm=arm, yes=yes, as_json=as_json)

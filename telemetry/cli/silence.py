"""``telemetry silence``: silence what sounds now, for a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import url_argument
from telemetry.cli.hushing import hush
from telemetry.cli.options import change_options
from telemetry.units import MS_PER_MINUTE

if TYPE_CHECKING:
    from telemetry.model import Alarm
    from telemetry.programmer import Programmer

_LONGEST_MINUTES = 1_440
_EPILOG = """\b
Examples:
  telemetry silence tcp://127.0.0.1:7410
  telemetry silence tcp://127.0.0.1:7410 --minutes 30 --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option(
    "--minutes",
    type=click.IntRange(1, _LONGEST_MINUTES),
    default=10,
    show_default=True,
    help="For how long; the pump may allow less.",
)
@change_options()
def command(url: str, minutes: int, role: str, arm: bool, as_json: bool, yes: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Silence what sounds now, for a time. The cause stays, and stays in the log; a new alarm sounds again."""

    async def act(programmer: Programmer) -> tuple[Alarm, ...]:
        return await programmer.silence_alarm(minutes * MS_PER_MINUTE)

    hush(url, act, question=f"Silence for {minutes} minutes?", role=role, arm=arm, yes=yes, as_json=as_json)

"""What ``silence`` and ``acknowledge`` share: they change what sounds, not the therapy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli import views
from telemetry.cli.changing import asked, need_person
from telemetry.cli.connecting import need_url, talk
from telemetry.cli.output import console, emit, facts
from telemetry.cli.refusals import explain
from telemetry.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.cli.views import View
    from telemetry.model import Alarm
    from telemetry.programmer import Programmer


def hush(
    url: str,
    act: Callable[[Programmer], Awaitable[tuple[Alarm, ...]]],
    *,
    question: str,
    role: str,
    arm: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show the alarms, ask, act, and show them again."""
    need_url(url)
    need_person(yes=yes, what="what sounds")

    async def work(programmer: Programmer) -> View:
        identity, status = await programmer.read_identity(), await programmer.read_status()
        if not yes:
            console(stderr=as_json).print(views.alarm_table(identity, status, await programmer.read_alarms()))
            await programmer.release()
            if not asked(question):
                raise Refused("declined", "not confirmed; nothing was changed")
        try:
            present = await act(programmer)
        except Refused as refused:
            raise explain(refused) from refused
        return views.alarms(identity, status, present)

    view, resolved = talk(url, work, role=role, arm=arm)
    if as_json:
        emit({**view.content, "outcome": "applied", "resolved": [facts(outcome) for outcome in resolved]})
        return
    screen = console()
    for part in view.parts():
        screen.print(part)

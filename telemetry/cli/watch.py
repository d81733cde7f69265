"""``telemetry watch``: live status and alarms."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from telemetry.cli import views, words
from telemetry.cli.connecting import arm_option, json_option, need_url, refuse_arm, role_option, url_argument
from telemetry.cli.output import console, emit, facts
from telemetry.clock import SystemClock, host_utc_s
from telemetry.errors import LinkError, PeerError, Refused
from telemetry.model import Role
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from telemetry.model import Alarm, Identity, PumpStatus
    from telemetry.programmer import Programmer

_EPILOG = """\b
Examples:
  telemetry watch tcp://127.0.0.1:7410
  telemetry watch serial:///dev/ttyUSB0 --interval 10
  telemetry watch tcp://127.0.0.1:7410 --json --polls 1
"""


@dataclass(frozen=True, slots=True)
class Glance:
    """One poll: what was read, or why nothing was."""

    identity: Identity | None
    status: PumpStatus | None
    alarms: tuple[Alarm, ...]
    problem: str = ""


@click.command(epilog=_EPILOG)
@url_argument
@click.option(
    "--interval", type=click.IntRange(1, 3600), default=2, show_default=True, metavar="S", help="Seconds between polls."
)
@click.option("--polls", type=click.IntRange(min=1), metavar="N", help="End after so many polls.")
@role_option(Role.OBSERVER)
@arm_option
@json_option
def command(url: str, interval: int, polls: int | None, role: str, arm: bool, as_json: bool) -> None:  # noqa: FBT001 - one a command-line option
    """Follow status and alarms until Ctrl-C.

    Opens, reads and closes at each poll, so that it never holds the pump; goes on when the link comes back. With
    --json, one object a line for each poll.
    """
    place = need_url(url)
    refuse_arm(arm=arm)
    asyncio.run(_watch(place, interval, polls, role, as_json=as_json))


async def _watch(url: str, interval_s: int, polls: int | None, role: str, *, as_json: bool) -> None:
    from telemetry.programmer import connect  # noqa: PLC0415 - --help must not wait for it

    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    watching = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, stop, watching)
    connecting = connect(url, clock=clock, role=role)
    try:
        async with connecting as programmer:
            with contextlib.ExitStack() as stack:
                show = _lines() if as_json else _live(stack, url)
                done = 0
                while polls is None or done < polls:
                    show(await _glance(programmer))
                    done += 1
                    if polls is None or done < polls:
                        await clock.sleep_until(clock.link_ms() + interval_s * MS_PER_SECOND)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _end(stop: asyncio.Event, watching: asyncio.Task[object] | None) -> None:
    stop.set()
    if watching is not None:
        watching.cancel()


async def _glance(programmer: Programmer) -> Glance:
    try:
        identity, status = await programmer.read_identity(), await programmer.read_status()
        alarms = await programmer.read_alarms()
        await programmer.release()
    except (LinkError, PeerError, Refused) as error:
        return Glance(None, None, (), " ".join(str(error).split()))
    return Glance(identity, status, alarms)


def _lines() -> Callable[[Glance], None]:
    def show(glance: Glance) -> None:
        if glance.status is None or glance.identity is None:
            emit({"host_utc_s": host_utc_s(), "link": "lost", "problem": glance.problem})
        else:
            view = views.status(glance.identity, glance.status, glance.alarms)
            alarms = [facts(alarm) for alarm in glance.alarms]
            emit({"host_utc_s": host_utc_s(), "link": "up", **view.content, "alarm_records": alarms})
        sys.stdout.flush()

    return show


def _live(stack: contextlib.ExitStack, url: str) -> Callable[[Glance], None]:
    from rich.console import Group  # noqa: PLC0415 - with --json nothing of rich is needed
    from rich.live import Live  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    screen = console()
    live = stack.enter_context(Live(console=screen, auto_refresh=False)) if screen.is_terminal else None
    last: list[Glance] = []

    def show(glance: Glance) -> None:
        if glance.status is not None:
            last[:] = [glance]
        parts: list[RenderableType] = []
        for known in last:
            if known.identity is not None and known.status is not None:
                parts += views.status(known.identity, known.status, known.alarms).parts()
        moment = words.host_moment(host_utc_s())
        if glance.problem:
            parts.append(Text(f"LINK LOST at {moment}: {glance.problem}", style="bold red"))
            parts.append(Text("what stands above is old; trying again. Ctrl-C ends.", style="dim"))
        else:
            parts.append(Text(f"read at {moment} from {url}. Ctrl-C ends.", style="dim"))
        if live is not None:
            live.update(Group(*parts), refresh=True)
        else:
            for part in parts:
                screen.print(part)

    return show

"""``telemetry capture``: record a conversation, one of its own or one between others."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from telemetry.cli.connecting import arm_option, json_option, need_url, refuse_arm, role_option, url_argument
from telemetry.cli.options import SECONDS
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.errors import LinkError, UsageError
from telemetry.model import Role

if TYPE_CHECKING:
    from telemetry.interrogation import Sighting

_EPILOG = """\b
Examples:
  telemetry capture tcp://127.0.0.1:7410 -o visit.telcap                         reads everything, once
  telemetry capture tcp://127.0.0.1:7410 -o night.telcap --watch --interval 60   looks every minute until Ctrl-C
  telemetry capture serial:///dev/ttyUSB0 -o bench.telcap --listen tcp://127.0.0.1:7420
                                                                 sits between a programmer and a telemeter
"""
_MS_PER_S = 1_000


@click.command(epilog=_EPILOG)
@url_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The capture.")
@click.option("--listen", "listen_url", metavar="URL", help="Offer this place to a programmer and pass everything on.")
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C, --polls or --seconds.")
@click.option(
    "--interval", type=click.IntRange(1, 3600), default=2, show_default=True, metavar="S", help="Between looks."
)
@click.option("--polls", type=click.IntRange(min=1), metavar="N", help="With --watch: end after so many looks.")
@click.option("--seconds", type=SECONDS, metavar="S", help="End after so long.")
@role_option(Role.OBSERVER)
@arm_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - one a command-line option
    url: str,
    output: Path | None,
    listen_url: str | None,
    watch: bool,  # noqa: FBT001
    interval: int,
    polls: int | None,
    seconds: float | None,
    role: str,
    arm: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Record what passes between a programmer and the telemeter at URL.

    Without --listen the programmer is this command: it reads everything the pump says, and the capture holds the opened
    messages and, of a test device, the session's keys. With --listen it sits between a programmer of yours and the
    telemeter; sealed frames then stay sealed. An existing capture is continued.
    """
    place = need_url(url)
    refuse_arm(arm=arm)
    if output is None:
        raise click.UsageError("-o FILE is missing: where should the capture go? e.g. -o visit.telcap")
    if listen_url is not None and (watch or polls is not None):
        raise click.UsageError("--watch and --polls are for looks of its own; with --listen the programmer decides")
    if polls is not None and not watch:
        raise click.UsageError("--polls belongs to --watch")
    problem, continued = "", output.exists()
    if listen_url is not None:
        asyncio.run(_tap(place, listen_url, output, seconds))
    else:
        problem = asyncio.run(_look(place, output, interval, (polls if watch else 1), seconds, role))
    if problem and not continued and _is_empty(output):
        output.unlink()
        raise LinkError(f"{problem}; nothing was recorded, and {output} was not kept")
    _tell(output, as_json=as_json)
    if problem:
        raise LinkError(f"{problem}; what was recorded until then is in {output}")


async def _tap(url: str, listen_url: str, output: Path, seconds: float | None) -> None:
    from telemetry.cli.waiting import first_of, told_to_end  # noqa: PLC0415 - --help must not wait for it
    from telemetry.clock import SystemClock  # noqa: PLC0415 - as above
    from telemetry.traffic.tapping import Tap  # noqa: PLC0415 - as above

    clock = SystemClock()
    async with Tap(url, listen_url, output, clock, on_event=lambda text: note(f"telemetry: {text}")) as tap:
        note(f"telemetry: offered at {tap.url}; everything goes to {url} and into {output}; Ctrl-C ends")
        with told_to_end() as told:
            await first_of(told, tap.failed, clock=clock, seconds=seconds)
        if tap.failure is not None:
            raise tap.failure


async def _look(url: str, output: Path, interval_s: int, polls: int | None, seconds: float | None, role: str) -> str:
    """Look until told to end; gives why the last look failed, if it did."""
    from telemetry.cli.waiting import first_of, told_to_end  # noqa: PLC0415 - as above
    from telemetry.clock import SystemClock  # noqa: PLC0415 - as above
    from telemetry.programmer import connect  # noqa: PLC0415 - as above

    recorded = _recorded(url, output)
    clock = SystemClock()
    last: list[Sighting] = []

    async def look() -> None:
        done = 0
        async with connect(recorded, clock=clock, role=role) as programmer:
            async for sighting in programmer.follow(interval_s * _MS_PER_S):
                last[:] = [sighting]
                done += 1
                if done == polls:
                    return

    ended = asyncio.Event()
    looking = asyncio.create_task(look())
    looking.add_done_callback(lambda _task: ended.set())
    with told_to_end() as told:
        await first_of(told, ended, clock=clock, seconds=seconds)
    if not looking.done():
        looking.cancel()
        await asyncio.wait((looking,))
    elif (error := looking.exception()) is not None:
        raise error
    from telemetry.interrogation import NotRead  # noqa: PLC0415 - as above

    return next((one.reason.replace(recorded, url) for one in last if isinstance(one, NotRead)), "")


def _is_empty(output: Path) -> bool:
    """Whether no frame was recorded."""
    from telemetry.transport.capture import read_capture  # noqa: PLC0415 - as above

    return output.exists() and not read_capture(output).frames()


def _recorded(url: str, output: Path) -> str:
    """The URL with a recorder next to the wire."""
    from telemetry.transport.url import parse_url  # noqa: PLC0415 - as above

    if "record" in parse_url(url).params:
        raise UsageError(f"{url}: it has a record= of its own; leave that out, -o says where the capture goes")
    try:
        name = quote(str(output), safe="/")
    except UnicodeEncodeError:
        raise UsageError(f"-o: {str(output)!a}: its name is no UTF-8; choose another") from None
    return f"{url}{'&' if '?' in url else '?'}record={name}"


def _tell(output: Path, *, as_json: bool) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above

    from telemetry.traffic.opening import open_capture, says_simulated  # noqa: PLC0415 - as above
    from telemetry.transport.capture import LinkOpened, read_capture  # noqa: PLC0415 - as above

    capture = read_capture(output)
    names: Counter[str] = Counter()
    sealed = garbage = 0
    for frame in open_capture(capture):
        garbage += frame.frame is None
        sealed += frame.frame is not None and frame.message is None and frame.shut != "handshake"
        names[frame.name] += 1
    links = sum(isinstance(entry, LinkOpened) for entry in capture.entries)
    if as_json:
        emit(
            {
                "simulated": says_simulated(capture),
                "capture": str(output),
                "links": links,
                "frames": names.total() - garbage,
                "unopened": sealed,
                "garbage": garbage,
                "names": dict(names),
            }
        )
        return
    mark = f"{SIMULATED} " if says_simulated(capture) else ""
    screen = console()
    counts = f"{links} links, {names.total() - garbage} frames, {garbage} pieces of garbage"
    screen.print(f"{mark}{escape(str(output))}: {counts}")
    if sealed:
        screen.print(f"{sealed} frames stay sealed: their session's keys are not in the capture")

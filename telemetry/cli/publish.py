"""``telemetry publish``: what a pump says, on the hospital's broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from telemetry.cli.connecting import arm_option, json_option, need_url, refuse_arm, url_argument
from telemetry.cli.output import console, emit, note, plain
from telemetry.errors import LinkError, UsageError
from telemetry.interrogation import NotRead
from telemetry.model import Role
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from telemetry.interrogation import Sighting
    from telemetry.publish.gateway import Progress
    from telemetry.publish.memory import Current
    from telemetry.publish.spool import Spool
    from telemetry.publish.topics import Destination, Topics

_EPILOG = """\b
Topics, QoS 1:  SITE/pump/PLACE/identity  status  alarms  link    retained: as it is
                SITE/pump/PLACE/alarm/KIND  log                   events: each once

\b
Examples:
  telemetry publish tcp://127.0.0.1:7410 --to mqtt://127.0.0.1:1883/ward-7
  telemetry publish sim: --to "mqtts://broker.example/ward-7/bed-12?user=gateway&password-file=secret"
  telemetry publish tcp://127.0.0.1:7410 --to mqtt://127.0.0.1/ward-7 --home-assistant
  telemetry publish --schema alarm
"""
_MIB = 1 << 20


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--to", metavar="BROKER", help="mqtt://HOST[:PORT]/SITE[/PLACE] or mqtts://…; PLACE is else the serial.")
@click.option(
    "--interval", type=click.IntRange(1, 3600), default=2, show_default=True, metavar="S", help="Seconds between looks."
)
@click.option("--polls", type=click.IntRange(min=1), metavar="N", help="End after so many looks, all delivered.")
@click.option("--spool", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where what waits is kept.")
@click.option(
    "--spool-messages",
    type=click.IntRange(100, 1_000_000),
    default=20_000,
    show_default=True,
    metavar="N",
    help="How many messages may wait.",
)
@click.option(
    "--spool-mib", type=click.IntRange(1, 16_384), default=16, show_default=True, metavar="N", help="How many MiB."
)
@click.option("--home-assistant", is_flag=True, help="Announce the pump to Home Assistant, too.")
@click.option("--home-assistant-remove", is_flag=True, help="Look once, take that announcement back, and end.")
@click.option("--schema", metavar="NAME", help="Write the JSON Schema of a message to standard output, and end.")
@arm_option
@json_option
def command(  # noqa: PLR0913 - options of the command line, passed by name
    url: str,
    *,
    to: str | None,
    interval: int,
    polls: int | None,
    folder: Path | None,
    spool_messages: int,
    spool_mib: int,
    home_assistant: bool,
    home_assistant_remove: bool,
    schema: str | None,
    arm: bool,
    as_json: bool,
) -> None:
    """Publish what a pump says on an MQTT broker, until Ctrl-C.

    It reads as an observer and subscribes to nothing: nobody can command a pump through it. What the broker has not
    acknowledged waits on disk, in order. With --json, one object a line for each look and change of the connection.
    """
    if schema is not None:
        from telemetry.publish.schema_table import schema_text  # noqa: PLC0415 - --help must not wait for it

        click.echo(schema_text(schema), nl=False)
        return
    place = need_url(url)
    refuse_arm(arm=arm)
    if to is None:
        raise click.UsageError("--to is missing: the broker, as in --to mqtt://127.0.0.1:1883/ward-7")
    if home_assistant and home_assistant_remove:
        raise click.UsageError("--home-assistant and --home-assistant-remove: only one of them")
    from telemetry.publish.place import default_folder  # noqa: PLC0415 - as above
    from telemetry.publish.spool import Bounds, Spool  # noqa: PLC0415 - as above
    from telemetry.publish.topics import parse_destination  # noqa: PLC0415 - as above

    destination = parse_destination(to)
    bounds = Bounds(spool_messages, spool_mib * _MIB)
    looks = 1 if home_assistant_remove else polls
    extras = _announcements(interval, announce=home_assistant, remove=home_assistant_remove)
    where = folder if folder is not None else default_folder(place, destination)
    with Spool(where, bounds, gateway_id=lambda: os.urandom(8).hex()) as spool:
        if spool.cut_bytes:
            note(f"telemetry: {spool.cut_bytes} bytes of a line that was torn were cut off the spool {where}")
        if waiting := len(spool):
            note(f"telemetry: {_messages(waiting)} of an earlier run wait in {where}")
        with contextlib.ExitStack() as stack:
            told = _lines() if as_json else _live(stack, place, destination)
            problem, unread = asyncio.run(_publish(place, destination, spool, interval, looks, told, extras))
        if looks is not None and spool.memory.current is None:
            raise LinkError(f"the pump was not read, so nothing was published: {unread}")
        _tell_end(spool, where, problem, complete=looks is not None)


async def _publish(
    url: str,
    destination: Destination,
    spool: Spool,
    interval_s: int,
    looks: int | None,
    tell: Callable[[Progress], None],
    extras: Callable[[Current, Topics], Sequence[tuple[str, str]]],
) -> tuple[str, str]:
    """Run the gateway; returns why there is no broker and why the pump is not read at the end, empty where they are."""
    from telemetry.clock import SystemClock, host_utc_ms  # noqa: PLC0415 - --help must not wait for it
    from telemetry.programmer import connect  # noqa: PLC0415 - as above
    from telemetry.publish.broker import opener, refused  # noqa: PLC0415 - as above
    from telemetry.publish.gateway import Gateway  # noqa: PLC0415 - as above

    clock = SystemClock()
    gateway = Gateway(
        spool,
        destination,
        opener(destination),
        clock=clock,
        utc_ms=host_utc_ms,
        interval_ms=interval_s * MS_PER_SECOND,
        tell=tell,
        extras=extras,
        fatal=refused,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, gateway.stop)
    try:
        async with connect(url, clock=clock, role=Role.OBSERVER) as programmer:

            def follow(since: int) -> AsyncGenerator[Sighting, None]:
                found = programmer.follow(interval_s * MS_PER_SECOND, since=since)
                return cast("AsyncGenerator[Sighting, None]", found)

            await gateway.run(follow, looks=looks)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return gateway.delivery.problem, gateway.unread


def _announcements(
    interval_s: int, *, announce: bool, remove: bool
) -> Callable[[Current, Topics], Sequence[tuple[str, str]]]:
    def made(current: Current, topics: Topics) -> Sequence[tuple[str, str]]:
        if not announce and not remove:
            return ()
        from telemetry.publish.gateway import valid_ms  # noqa: PLC0415 - only who asks for it pays for it
        from telemetry.publish.home_assistant import discovery, discovery_topic  # noqa: PLC0415 - as above

        # An empty retained message is how MQTT takes one back.
        text = "" if remove else discovery(current, topics, valid_ms=valid_ms(interval_s * MS_PER_SECOND))
        return ((discovery_topic(topics), text),)

    return made


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _tell_end(spool: Spool, where: Path, problem: str, *, complete: bool) -> None:
    """Say what is not as it should be at the end; raises ``LinkError`` where all was to be delivered and is not."""
    if lost := spool.memory.lost_alarm_events:
        note(
            f"telemetry: {lost} alarm events were LOST: the spool was full (now {_messages(len(spool))}); give it more "
            "room with --spool-messages and --spool-mib, or mend the broker sooner. The pump's log has them."
        )
    if spool.problem:
        raise UsageError(
            f"--spool {where}: cannot be written ({spool.problem}); {_messages(len(spool))} that waited are lost"
        )
    if waiting := len(spool):
        text = f"{_messages(waiting)} wait in {where}; the next start delivers them"
        if complete:
            raise LinkError(f"the broker has not taken everything: {problem or 'it is too slow'}; {text}")
        note(f"telemetry: {problem}; {text}" if problem else f"telemetry: {text}")


def _facts(at: Progress) -> dict[str, object]:
    look = at.look
    found: dict[str, object] = {
        "simulated": True,
        "topic": at.root,
        "look": None if look is None else "not_read" if isinstance(look, NotRead) else "read",
        "problem": look.reason if isinstance(look, NotRead) else "",
        "broker": "connected" if at.connected else "away",
        "broker_problem": at.broker_problem,
        "published": at.sent,
        "acknowledged": at.acknowledged,
        "waiting": at.waiting,
        "waiting_bytes": at.waiting_bytes,
        "log_held_back": at.log_held_back,
        "lost_alarm_events": at.lost_alarm_events,
        "lost_log_records": at.lost_log_records,
        "spool_problem": at.spool_problem,
    }
    if look is not None and not isinstance(look, NotRead):
        found["simulated"] = look.identity.simulated
        found["serial"] = look.identity.serial
        found["read_utc_ms"] = look.read_utc_ms
        found["alarms"] = plain(look.status.alarms)
    return found


def _lines() -> Callable[[Progress], None]:
    def tell(at: Progress) -> None:
        emit(_facts(at))
        sys.stdout.flush()

    return tell


def _live(stack: contextlib.ExitStack, url: str, destination: Destination) -> Callable[[Progress], None]:
    from telemetry.cli.publishing import Board  # noqa: PLC0415 - with --json nothing of rich is needed

    broker = destination.broker.partition("?")[0]
    return stack.enter_context(Board(console(), url, broker)).tell

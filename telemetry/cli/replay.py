"""``telemetry replay``: a capture played back, as the device or as the programmer, and what differs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import arm_option, json_option, refuse_arm
from telemetry.cli.failures import Exit
from telemetry.cli.options import SECONDS
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.traffic.differing import Difference
    from telemetry.traffic.replaying_script import Exchange, Script

_EPILOG = """\b
Examples:
  telemetry replay visit.telcap --listen tcp://127.0.0.1:7420       a device that says what was recorded
  telemetry read "replay:visit.telcap" status                       the same, in the driver's own process
  telemetry replay visit.telcap --to tcp://127.0.0.1:7410 --yes     its requests sent to a virtual pump
\b
Exit status: 0 everything as recorded, 1 differences, 3 no link, 4 the outcome of a change is unknown.
"""
_DEFAULT_LISTENER = "tcp://127.0.0.1:7410"
_SHOWN = 40


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--listen", "listeners", multiple=True, metavar="URL", help=f"As the device, here [{_DEFAULT_LISTENER}].")
@click.option("--to", "target", metavar="URL", help="As the programmer, to the device there.")
@click.option(
    "--speed", default="1", show_default=True, metavar="N|max", help="Times as fast as recorded; max: no pauses."
)
@click.option("--strict", is_flag=True, help="End at the first difference.")
@click.option("--exact", is_flag=True, help="With --to: compare instants and counts too (a pump in the same state).")
@click.option("--link", type=click.IntRange(min=1), metavar="N", help="Only this link of the capture.")
@click.option("--seconds", type=SECONDS, metavar="S", help="As the device: end after so long.")
@click.option("--yes", is_flag=True, help="With --to: send what changes therapy without asking.")
@arm_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - one a command-line option
    file: Path | None,
    listeners: tuple[str, ...],
    target: str | None,
    speed: str,
    strict: bool,  # noqa: FBT001
    exact: bool,  # noqa: FBT001
    link: int | None,
    seconds: float | None,
    yes: bool,  # noqa: FBT001
    arm: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Play back the capture FILE, as the device (--listen) or as the programmer (--to), and tell what differs.

    Keys are new: as the device it takes any programmer with the published test credential. As the programmer it carries
    numbers and tokens of two-phase commits over from the new answers, and plays at virtual devices only.
    """
    if file is None:
        raise click.UsageError("FILE is missing: which capture? e.g. visit.telcap")
    if target is not None and listeners:
        raise click.UsageError("--listen and --to: a capture is played as the device or as the programmer, not as both")
    if target is None and (exact or yes):
        raise click.UsageError(f"--{'exact' if exact else 'yes'} belongs to --to")
    if target is not None and seconds is not None:
        raise click.UsageError("--seconds is for playing the device; as the programmer it ends with the capture")
    refuse_arm(arm=arm)
    from telemetry.traffic.connector import speed_of  # noqa: PLC0415 - --help must not wait for it
    from telemetry.traffic.replaying_script import script_of  # noqa: PLC0415 - as above
    from telemetry.transport.capture import read_capture  # noqa: PLC0415 - as above

    pace = speed_of(speed, "--speed")
    script = script_of(read_capture(file), str(file), link=link)
    if script.torn is not None:
        note(f"telemetry: {file}: its last line ({script.torn}) is unfinished and was left out")
    left_out = sum(script.unopened.values())
    if left_out:
        note(f"telemetry: {file}: {left_out} frames or pieces could not be opened and are left out")
    if target is None:
        result = asyncio.run(_as_device(script, listeners or (_DEFAULT_LISTENER,), pace, seconds, strict=strict))
    else:
        _ask(script, target, yes=yes)
        result = asyncio.run(_as_programmer(script, target, pace, strict=strict, exact=exact, quiet=as_json))
    return _report(result, as_json=as_json)


async def _as_device(
    script: Script, listeners: tuple[str, ...], speed: float | None, seconds: float | None, *, strict: bool
) -> dict[str, object]:
    from contextlib import AsyncExitStack  # noqa: PLC0415 - as above

    from telemetry.cli.waiting import first_of, told_to_end  # noqa: PLC0415 - as above
    from telemetry.clock import SystemClock  # noqa: PLC0415 - as above
    from telemetry.link import LAYOUT  # noqa: PLC0415 - as above
    from telemetry.traffic.connector import as_json  # noqa: PLC0415 - as above
    from telemetry.traffic.replaying_device import ReplayedPump  # noqa: PLC0415 - as above
    from telemetry.transport.registry import listen  # noqa: PLC0415 - as above

    clock = SystemClock()
    pump = ReplayedPump(
        script,
        clock,
        entropy=os.urandom,
        speed=speed,
        strict=strict,
        on_difference=lambda one: note(f"telemetry: {one}"),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pump.close)
        for url in listeners:
            listener = await listen(url, pump.accept, clock=clock, layout=LAYOUT)
            stack.push_async_callback(listener.close)
            note(f"telemetry: SIMULATED device of {script.source} at {listener.url}; Ctrl-C ends")
        with told_to_end() as told:
            await first_of(told, pump.finished, clock=clock, seconds=seconds)
        return as_json(pump)


async def _as_programmer(
    script: Script, target: str, speed: float | None, *, strict: bool, exact: bool, quiet: bool
) -> dict[str, object]:
    from telemetry.clock import SystemClock, host_utc_s  # noqa: PLC0415 - as above
    from telemetry.link import LAYOUT  # noqa: PLC0415 - as above
    from telemetry.traffic.replaying_programmer import Player  # noqa: PLC0415 - as above
    from telemetry.traffic.replaying_talk import Talk  # noqa: PLC0415 - as above
    from telemetry.transport.registry import open_transport  # noqa: PLC0415 - as above

    clock = SystemClock()
    talk = Talk(
        lambda receiver: open_transport(target, receiver, clock=clock, layout=LAYOUT),
        clock=clock,
        entropy=os.urandom,
        utc_s=host_utc_s,
    )

    def show(exchange: Exchange, told: list[Difference]) -> None:
        if not quiet:
            screen = console()
            screen.print(f"{'≠' if told else '='} {exchange.name}", markup=False)

    player = Player(script, talk, clock, entropy=os.urandom, speed=speed, strict=strict, exact=exact, on_exchange=show)
    try:
        played = await player.play()
    finally:
        await talk.close()
    return {
        "simulated": True,
        "capture": script.source,
        "as": "programmer",
        "exchanges": len(script.exchanges),
        "played": played.asked,
        "differing": len(played.found),
        "differences": [one.as_json() for one in played.found],
        "told": [str(one) for one in played.found],
    }


def _ask(script: Script, target: str, *, yes: bool) -> None:
    """Have a person agree to what changes therapy."""
    changes = [one.name for one in script.changes]
    if not changes or yes:
        return
    text = f"{script.source} changes therapy ({', '.join(changes[:_SHOWN])}) at {target}"
    if not sys.stdin.isatty():
        raise UsageError(f"{text}; nobody can be asked here: say --yes if that is meant, nothing was sent")
    click.confirm(f"{text}. Send it to the SIMULATED device there?", abort=True, err=True)


def _report(result: dict[str, object], *, as_json: bool) -> int:
    told = result.pop("told", [])
    differing = result["differing"]
    if as_json:
        emit(result)
    else:
        from rich.markup import escape  # noqa: PLC0415 - with --json nothing of rich is needed

        screen = console()
        capture = escape(str(result["capture"]))
        screen.print(
            f"{SIMULATED} {capture} as the {result['as']}: {result['played']} requests played of "
            f"{result['exchanges']} recorded, {differing} differences"
        )
        lines = told if isinstance(told, list) else []
        for line in lines[:_SHOWN]:
            screen.print(f"  {line}", markup=False)
        if len(lines) > _SHOWN:
            screen.print(f"  … and {len(lines) - _SHOWN} more; --json has them all")
    return Exit.REFUSED if differing else Exit.DONE

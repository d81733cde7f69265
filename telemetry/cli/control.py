"""``telemetry control``: the back door of a running simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from telemetry.cli import control_acts, words
from telemetry.cli.back_door import ask, choose
from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, table
from telemetry.clock import span_ms
from telemetry.errors import UsageError
from telemetry.model import AlarmKind, PumpEvent

if TYPE_CHECKING:
    from rich.table import Table

_EPILOG = """\b
Examples:
  telemetry control advance --days 190
  telemetry control inspect
  telemetry control contact 0                       lift the telemeter
  telemetry control needle fill "20 ml" --into pocket
  telemetry control environment --altitude 2500
  telemetry control tcp://127.0.0.1:7410 snapshot pump.json
URL is one of the simulator's own URLs; without it, the only running simulator is meant.
"""
_BATTERY = "battery_percent"
_BOOKS = {
    "filled_nl": " ",
    "remaining_nl": "−",
    "in_path_nl": "−",
    "delivered_nl": "−",
    "withdrawn_nl": "−",
    "lost_nl": "−",
}


class _OptionalUrl(click.Group):
    """A group whose first argument may be a URL."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["telemetry.control.url"] = ""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            if ":" not in args[0]:
                raise click.UsageError(f"'{args[0]}' is neither a URL nor one of: {', '.join(self.commands)}", ctx)
            ctx.meta["telemetry.control.url"] = args[0]
            args = args[1:]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[URL] COMMAND [ARGS]...")


@click.group(cls=_OptionalUrl, epilog=_EPILOG)
def command() -> None:
    """The back door of a running simulator: what no programmer can do or see.

    It is HTTP + JSON on this machine, with a token from the simulator's runtime file.
    """


def _url() -> str:
    return str(click.get_current_context().meta["telemetry.control.url"])


@command.command(short_help="Let therapy time pass and list what happened.")
@click.option("--days", type=click.IntRange(min=0), default=0, metavar="N")
@click.option("--hours", type=click.IntRange(min=0), default=0, metavar="N")
@click.option("--minutes", type=click.IntRange(min=0), default=0, metavar="N")
@click.option("--seconds", type=click.IntRange(min=0), default=0, metavar="N")
@json_option
def advance(days: int, hours: int, minutes: int, seconds: int, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Let therapy time pass at once and list what happened, each event at its exact instant.

    Open sessions are closed by the jump, as the protocol demands; programmers open new ones by themselves.
    """
    if not span_ms(days=days, hours=hours, minutes=minutes, seconds=seconds):
        raise UsageError("advance: say how far, as in --days 190 or --hours 1 --minutes 30")
    body = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    found = ask(choose(_url()), "POST", "/v1/advance", body)
    if as_json:
        emit(found)
        return
    screen = console()
    for part in _advanced(found):
        screen.print(part)


def _advanced(found: dict[str, Any]) -> list[Table | str]:
    epoch_utc_s = int(found["epoch_utc_s"])
    now = f"Now {words.pump_time(found['now_ms'])}, {words.date(found['now_ms'], epoch_utc_s)}."
    if not found["events"]:
        return [f"{SIMULATED} nothing happened. {now}"]
    shown = table(f"{SIMULATED} what happened", "pump time", "calendar (UTC)", "event")
    for one in found["events"]:
        event = PumpEvent(one["at_ms"], one["kind"], one["detail"])
        shown.add_row(words.pump_time(event.at_ms), words.date(event.at_ms, epoch_utc_s, zone=""), words.event(event))
    alarms = ", ".join(found["alarms"]) or "none"
    return [shown, f"{now} Alarms: {alarms}."]


@command.command(short_help="Truth beside belief, the drug ledger, the link.")
@json_option
def inspect(as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Truth beside belief: what is so in the pump, and what the pump thinks."""
    found = ask(choose(_url()), "GET", "/v1/inspect")
    if as_json:
        emit(found)
        return
    screen = console()
    for part in _inspected(found):
        screen.print(part)


def _inspected(found: dict[str, Any]) -> list[Table]:
    belief, truth, ledger, telemeter = (found[name] for name in ("belief", "truth", "ledger", "telemeter"))
    title = f"{SIMULATED} {found['model'].removeprefix('SIMULATED ')} pump, serial {found['serial']}"
    sides = table(title, "", "the pump believes", "what is so")
    reservoir = belief["reservoir_nl"], truth["reservoir_nl"]
    rates = belief["rate_nl_per_day"], truth["rate_nl_per_day"]
    sides.add_row("reservoir", *_marked(words.volume(reservoir[0]), words.volume(reservoir[1])))
    sides.add_row("rate", *_marked(words.flow(rates[0]), words.flow(rates[1])))
    tip = words.dose(truth["tip_dose_ng_per_day"])
    sides.add_row("dose at the tip", words.dose(belief["dose_ng_per_day"]), tip)
    sides.add_row("battery", f"{belief[_BATTERY]} %", f"{truth[_BATTERY]} %")
    sides.add_row("delivered past the tip", words.NONE, words.volume(truth["delivered_nl"]))
    alarms = ", ".join(_alarm(one) for one in found["alarms"]) or "none"
    sides.add_row("alarms", alarms, "")
    sides.add_row("pump time", words.pump_time(found["now_ms"]), words.date(found["now_ms"], found["epoch_utc_s"]))
    books = table("drug ledger (every nanolitre ever put in)", "", "")
    books.columns[1].justify = "right"
    for name, sign in _BOOKS.items():
        books.add_row(f"{sign} {name.removesuffix('_nl').replace('_', ' ')}", f"{ledger[name]} nl")
    balance = ledger["balance_nl"]
    style = "green" if balance == 0 else "bold red"
    books.add_row("balance", f"[{style}]{balance} nl[/]")
    link = table("link", "", "")
    link.add_row(
        "telemeter", f"{telemeter['serial']}, {telemeter['coupling_bars']} bars, battery {telemeter[_BATTERY]} %"
    )
    link.add_row(
        "frames",
        f"{telemeter['frames_to_pump']} to the pump, {telemeter['frames_from_pump']} from it, "
        f"{telemeter['frames_lost']} lost",
    )
    session = found["session"]
    link.add_row("session", "none" if session is None else f"open: {session['role']} in slot {session['slot']}")
    counted = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found["counters"].items() if value)
    link.add_row("counters", counted or "all 0")
    return [sides, books, link]


def _marked(belief: str, truth: str) -> tuple[str, str]:
    return (belief, truth) if belief == truth else (belief, f"[bold red]{truth}[/]")


def _alarm(one: dict[str, Any]) -> str:
    return f"{AlarmKind(one['kind']).value} ({one['signal']})"


@command.command(short_help="Lay the telemeter over the pump, or lift it.")
@click.argument("bars", type=click.IntRange(0, 5))
@json_option
def contact(bars: int, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Lay the telemeter over the pump with 1 to 5 BARS of coupling, or lift it with 0."""
    found = ask(choose(_url()), "POST", "/v1/contact", {"coupling_bars": bars})
    if as_json:
        emit(found)
        return
    where = f"lies over the pump, coupling {bars} of 5" if found["contact"] else "is lifted: no contact"
    console().print(f"{SIMULATED} The telemeter {where}.")


@command.command(short_help="Write the state of the pump to a file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def snapshot(file: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Write the state of the pump to FILE (VirtualPump.restore takes it back). FILE must not exist yet."""
    if file.exists():
        raise UsageError(f"{file}: it exists already; choose another name")
    found = ask(choose(_url()), "GET", "/v1/snapshot")
    try:
        with file.open("x", encoding="utf-8") as out:
            json.dump(found["snapshot"], out)
            out.write("\n")
    except OSError as error:
        raise UsageError(f"{file}: it cannot be written: {error.strerror}") from error
    state = cast("dict[str, object]", found["snapshot"])
    if as_json:
        emit({"simulated": True, "file": str(file), "format": state.get("format"), "version": state.get("version")})
        return
    console().print(f"{SIMULATED} The state of the pump is in {file}.", soft_wrap=True)


for act in control_acts.ACTS:
    command.add_command(act)

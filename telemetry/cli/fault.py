"""``telemetry fault``: the faults on record, explained; arming them in a running simulator, and clearing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from telemetry.cli import words
from telemetry.cli.back_door import ask, choose
from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, table
from telemetry.errors import UsageError
from telemetry.model import PumpEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

_EPILOG = """\b
Examples:
  telemetry fault list                                        all of them, with their sources
  telemetry fault show over_infusion                          its modes, parameters and what shows
  telemetry fault inject motor_stall                          now, in the only running simulator
  telemetry fault inject over_infusion error="20 %" --after "3 d"
  telemetry fault inject motor_stall --when bolus_started --nth 2 --for "4 h"
  telemetry fault inject intermittent_stall lasts="30 min" --hazard "200 %/y" --seed 7
  telemetry fault inject http://127.0.0.1:41235 catheter_failure --mode leaking lost="40 %"
  telemetry fault mri --field "1.5 T" --lasts "40 min" --interference
  telemetry fault armed
  telemetry fault clear motor_stall                           by name, by its number in 'armed', or all
URL is one of the simulator's own URLs; without it, the only running simulator is meant.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """The faults on record: explain, inject, clear.

    'list' and 'show' need no simulator. The others act on a running one through its back door.
    """


# --- what there is ---------------------------------------------------------------------------------------------------


@command.command("list", short_help="Every fault on record: what it does, what shows, its source.")
@json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Every fault with its modes, what it does, what shows, and its source."""
    from telemetry.sim.faults.catalogue import EVERY  # noqa: PLC0415 - --help must not wait for it
    from telemetry.sim.faults.telling import catalogue_record  # noqa: PLC0415 - as above

    if as_json:
        emit({"simulated": True, "faults": catalogue_record()})
        return
    shown = table(f"{SIMULATED} faults on record", "", "fault and its modes", "what it does, what shows, source")
    for fault in EVERY:
        modes = "".join(f"\n· {mode}" for mode in fault.modes) if len(fault.modes) > 1 else ""
        shown.add_row(
            fault.number,
            f"[bold]{fault.name}[/]{modes}",
            f"{fault.happens}\n[italic]{fault.shows}[/]\n[dim]{fault.source} ({fault.confidence})[/]",
        )
        shown.add_section()
    console().print(shown)


@command.command(short_help="One fault whole, with its modes and parameters.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """One fault whole: modes, parameters with their ranges, what shows, how it ends. NAME or number (F7)."""
    from telemetry.sim.faults.catalogue import find_fault  # noqa: PLC0415 - --help must not wait for it
    from telemetry.sim.faults.reading import short_name  # noqa: PLC0415 - as above
    from telemetry.sim.faults.telling import ends_in_words, fault_record, in_units  # noqa: PLC0415 - as above

    fault = find_fault(name)
    if as_json:
        emit({"simulated": True, **fault_record(fault)})
        return
    shown = table(f"{SIMULATED} {fault.number} {fault.name}", "", "")
    shown.add_row("what it does", fault.happens)
    shown.add_row("what shows", fault.shows)
    shown.add_row("alarms, in time", ", ".join(fault.alarms) or "none: the pump stays silent")
    shown.add_row("ends", ends_in_words(fault))
    shown.add_row("pumps", "with a level sensor" if fault.needs_sensor else ", ".join(fault.drives))
    shown.add_row("source", f"{fault.source} (confidence {fault.confidence})")
    screen = console()
    screen.print(shown)
    modes = table("modes (the first is meant when none is named)", "", "")
    for mode, about in fault.modes.items():
        modes.add_row(f"[bold]{mode}[/]", about)
    screen.print(modes)
    if fault.parameters:
        values = table("parameters", "name", "default", "from", "to", "what", "source")
        for one in fault.parameters:
            numbers = (in_units(one.name, count) for count in (one.default, one.least, one.most))
            values.add_row(f"[bold]{short_name(one.name)}[/]", *numbers, one.about, one.source)
        screen.print(values)


# --- what is armed ---------------------------------------------------------------------------------------------------


def _url_and_rest(words_given: tuple[str, ...]) -> tuple[str, list[str]]:
    """A leading URL, if there is one, and the rest."""
    if words_given and ":" in words_given[0] and "=" not in words_given[0].partition(":")[0]:
        return words_given[0], list(words_given[1:])
    return "", list(words_given)


@command.command(short_help="Arm a fault in a running simulator.")
@click.argument("order", nargs=-1, required=True, metavar="[URL] NAME [KEY=VALUE]...")
@click.option("--mode", help="Which of its forms (fault show NAME).")
@click.option("--at", metavar="INSTANT", help="When: since the pump's epoch (12 d 6 h), or a date (2026-03-01T12:00Z).")
@click.option("--after", metavar="SPAN", help="So long from now (3 d).")
@click.option("--when", metavar="EVENT", help="When an event happens, with its detail if need be: bolus_started.")
@click.option("--nth", type=click.IntRange(min=1), help="At every so-many-th such event.")
@click.option("--hazard", metavar="RATE", help="At random, so often a year on average: 5 %/y, 0.05/y.")
@click.option("--within", metavar="SPAN", help="Wait so long for --when or --hazard, and no longer.")
@click.option("--for", "duration", metavar="SPAN", help="Each strike lasts so long.")
@click.option("--count", type=click.IntRange(min=0), help="Strike so often at most; 0: without limit. [default: once]")
@click.option("--seed", type=click.IntRange(min=0), help="Of what is drawn at random. [default: the pump's]")
@json_option
def inject(order: tuple[str, ...], as_json: bool, **options: str | int | None) -> None:  # noqa: FBT001 - a flag
    """Arm a fault in a running simulator; without a trigger it strikes now.

    KEY=VALUE are the fault's parameters, as 'fault show NAME' lists them, with their unit: lasts="30 min".
    """
    from telemetry.sim.faults.reading import read_injection  # noqa: PLC0415 - --help must not wait for it

    url, rest = _url_and_rest(order)
    if not rest:
        raise click.UsageError("which fault? 'telemetry fault list' shows them")
    name, *pairs = rest
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is no KEY=VALUE; 'telemetry fault show {name}' lists the parameters")
        values[key] = value
    said: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    # What is plainly wrong is told before anybody is asked; the pump's own time and seed come from the simulator.
    read_injection(name, **said, now_ms=0, epoch_utc_s=0, values=values)
    _act(url, "/v1/fault", {"name": name, "values": values, **said}, as_json=as_json)


@command.command(short_help="Take orders back; what is in force ends.")
@click.argument("what", nargs=-1, required=True, metavar="[URL] NAME|NUMBER|all")
@json_option
def clear(what: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Take orders back: one by its number in 'fault armed', all of a fault by its name, or all."""
    url, rest = _url_and_rest(what)
    if len(rest) != 1:
        raise click.UsageError("say what: a fault's name, an order's number, or all")
    fault: str | int | None = int(rest[0]) if rest[0].isdecimal() else rest[0]
    _act(url, "/v1/fault/clear", {"fault": None if fault == "all" else fault}, as_json=as_json)


@command.command(short_help="What is armed in a running simulator, and how far it has come.")
@click.argument("url", required=False, default="")
@json_option
def armed(url: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """What is armed in a running simulator: trigger, strikes so far, what is in force, what comes next."""
    found = ask(choose(url), "GET", "/v1/faults")
    if as_json:
        emit({"simulated": True, "armed": found["armed"]})
        return
    _show_orders(found["armed"])


@command.command(short_help="Put the pump into an MRI scanner.")
@click.argument("url", required=False, default="")
@click.option("--field", default="1.5 T", show_default=True, metavar="T", help="The scanner's field, 0.2 T to 10.5 T.")
@click.option("--lasts", default="30 min", show_default=True, metavar="SPAN", help="How long the scan takes.")
@click.option("--binds", metavar="SPAN", help="How long the gears bind after it. [default: the profile's]")
@click.option("--interference", is_flag=True, help="A pump that sounds an alarm latches in telemetry mode.")
@click.option("--reprograms", metavar="SHARE", help="The field changes the rate for good, in silence: -20 %.")
@json_option
def mri(url: str, as_json: bool, **options: str | bool | None) -> None:  # noqa: FBT001 - a flag
    """Put the pump into an MRI scanner now: its rotor stands, or its valves open (domain.md 2.6)."""
    _act(url, "/v1/mri", {key: value for key, value in options.items() if value is not None}, as_json=as_json)


def _act(url: str, path: str, body: dict[str, Any], *, as_json: bool) -> None:
    found = ask(choose(url), "POST", path, body)
    if as_json:
        emit(found)
        return
    if "cleared" in found:
        names = ", ".join(f"{one['id']} ({one['name']})" for one in _listed(found["cleared"])) or "nothing"
        console().print(f"{SIMULATED} Cleared: {names}.")
    _show_orders(found["armed"])
    _show_events(found)


def _listed(orders: object) -> list[dict[str, Any]]:
    if not isinstance(orders, list):
        raise UsageError("the simulator answered without a list of orders; is it of another version?")
    return orders


def _show_orders(orders: object) -> None:
    listed = _listed(orders)
    if not listed:
        console().print(f"{SIMULATED} No fault is armed.")
        return
    console().print(_orders(listed))


def _orders(listed: Iterable[dict[str, Any]]) -> Table:
    from telemetry.sim.faults.reading import short_name  # noqa: PLC0415 - --help must not wait for it
    from telemetry.sim.faults.telling import in_units  # noqa: PLC0415 - as above

    shown = table(f"{SIMULATED} armed faults", "", "fault, mode, strength", "strikes", "state")
    for one in listed:
        strength = [f"{short_name(name)} {in_units(name, count)}" for name, count in one["values"].items()]
        times = f"struck {one['hits']}×" + (f", missed {one['misses']}×" if one["misses"] else "")
        instants = [
            f"{what} {words.pump_time(at_ms)}"
            for what, at_ms in (("next", one["next_ms"]), ("ends", one["ends_ms"]))
            if at_ms is not None
        ]
        shown.add_row(
            str(one["id"]),
            "\n".join((f"{one['number']} [bold]{one['name']}[/]", ", ".join((one["mode"], *strength)))),
            one["trigger"],
            "\n".join((f"{one['state']}, {times}", *instants)),
        )
    return shown


def _show_events(found: dict[str, Any]) -> None:
    screen = console()
    for one in found["events"]:
        event = PumpEvent(one["at_ms"], one["kind"], one["detail"])
        screen.print(f"{words.pump_time(event.at_ms)}  {words.event(event)}")

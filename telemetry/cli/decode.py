"""``telemetry decode``: what bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, table

if TYPE_CHECKING:
    from rich.text import Text

    from telemetry.cli.decoding import Item

_EPILOG = """\b
Examples:
  telemetry read "tcp://127.0.0.1:7410?record=visit.telcap"   records while it reads
  telemetry decode visit.telcap
  telemetry decode 02010000                                   a message: ReadStatus
  telemetry decode bytes.bin --json
"""
_ARROWS = {"tx": "→", "rx": "←"}


@click.command(epilog=_EPILOG)
@click.argument("source", required=False, default="")
@json_option
def command(source: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Decode SOURCE: a capture (.telcap), a file of bytes, or hexadecimal text of a stream, a frame or a message.

    Frames are shown with their fields, everything else as garbage with the reason. Sealed frames show the opened
    message where the capture carries it.
    """
    from telemetry.cli.decoding import find  # noqa: PLC0415 - --help must not wait for it

    if not source:
        raise click.UsageError("SOURCE is missing: a .telcap file, a file of bytes or hexadecimal text")
    found = find(source)
    frames = sum(item.kind == "frame" for item in found.items)
    garbage = [item for item in found.items if item.kind == "garbage"]
    if as_json:
        emit(
            {
                "simulated": found.simulated,
                "source": found.source,
                "frames": frames,
                "garbage": len(garbage),
                "items": [item.as_json() for item in found.items],
            }
        )
        return
    mark = f"{SIMULATED} " if found.simulated else ""
    timed = any(item.at_ms is not None for item in found.items)
    columns = ("link ms", "", "what", "fields") if timed else ("what", "fields")
    shown = table(f"{mark}{found.source}", *columns)
    for item in found.items:
        row = (_what(item), _fields(item))
        if timed:
            at = "" if item.at_ms is None else str(item.at_ms)
            shown.add_row(at, _ARROWS.get(item.direction, ""), *row)
        else:
            shown.add_row(*row)
    screen = console()
    screen.print(shown)
    screen.print(f"[dim]frames: {frames}, pieces of garbage: {len(garbage)}[/]")


def _what(item: Item) -> Text:
    from rich.text import Text  # noqa: PLC0415 - with --json nothing of rich is needed

    style = {"garbage": "bold red", "frame": "cyan", "message": "cyan"}.get(item.kind, "dim")
    return Text(f"garbage: {item.name}" if item.kind == "garbage" else item.name, style=style)


def _fields(item: Item) -> Text:
    from rich.text import Text  # noqa: PLC0415 - as above

    fields = dict(item.fields)
    text = Text()
    opened = fields.pop("opened", None)
    if isinstance(opened, dict):
        content = {name: value for name, value in opened.items() if name != "name"}
        text.append(str(opened.get("name", "message")), style="bold green")
        text.append(f" {_pairs(content)}  " if content else "  ")
    message = fields.pop("message", None)
    if message is not None:
        text.append(f"{message} ", style="bold")
    text.append(_pairs(fields), style="dim" if opened is not None else "")
    return text


def _pairs(fields: dict[str, object]) -> str:
    return "  ".join(f"{name}={_short(value)}" for name, value in fields.items())


def _short(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + _pairs(value) + "}"
    return str(value)

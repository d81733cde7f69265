"""``telemetry decode``: what bytes are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, note, table
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.cli.decoding import Findings, Item

_EPILOG = """\b
Examples:
  telemetry read "tcp://127.0.0.1:7410?record=visit.telcap"   records while it reads
  telemetry decode visit.telcap
  telemetry decode visit.telcap --type Status --explain
  telemetry decode visit.telcap --pcapng visit.pcapng         for Wireshark
  telemetry decode 02010000                                   a message: ReadStatus
  telemetry decode bytes.bin --json
"""
_ARROWS = {"tx": "→", "rx": "←"}


@click.command(epilog=_EPILOG)
@click.argument("words", nargs=-1, metavar="[SOURCE]")
@click.option("--explain", is_flag=True, help="Show each byte: field, value, unit, meaning, verdict.")
@click.option("--link", type=click.IntRange(min=1), metavar="N", help="Of a capture: this link alone.")
@click.option("--type", "kind", metavar="NAME", help="Only this message or frame type: SetRate, BEACON, garbage.")
@click.option("--pcapng", metavar="OUT", help="Write a capture for Wireshark to OUT (- is standard output).")
@json_option
def command(
    words: tuple[str, ...],
    explain: bool,  # noqa: FBT001
    link: int | None,
    kind: str | None,
    pcapng: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Decode SOURCE: a capture (.telcap), a file of bytes, or hexadecimal text of a stream, a frame or a message.

    Hexadecimal text is explained byte by byte. Of a capture, sealed frames are opened where it holds their session's
    keys or what was in them. Everything else is shown as garbage with the reason.
    """
    from telemetry.cli.decoding import find  # noqa: PLC0415 - --help must not wait for it

    source = " ".join(words)  # bytes may be typed as they are printed, without quotes
    if source == "-":
        raise click.UsageError("SOURCE: standard input is not read; name a file, or type the bytes as hexadecimal text")
    if not source:
        raise click.UsageError("SOURCE is missing: a .telcap file, a file of bytes or hexadecimal text")
    found = find(source)
    if pcapng is not None:
        if kind is not None or explain:
            raise click.UsageError("--pcapng writes all frames of a capture, or of one --link: no --type, no --explain")
        _export(found, pcapng, link, as_json=as_json)
        return
    items = found.chosen(link, kind)
    explained = explain or found.source == "hex"
    if as_json:
        emit(
            {
                "simulated": found.simulated,
                "source": found.source,
                **_counts(items),
                "items": [item.as_json(explained=explained) for item in items],
            }
        )
        return
    _show(found, items, explained=explained)


def _counts(items: list[Item]) -> dict[str, object]:
    frames = sum(item.kind == "frame" for item in items)
    return {"frames": frames, "garbage": sum(item.kind == "garbage" for item in items)}


def _show(found: Findings, items: list[Item], *, explained: bool) -> None:
    from rich.markup import escape  # noqa: PLC0415 - with --json nothing of rich is needed

    from telemetry.cli.decoded_views import listing, pages  # noqa: PLC0415 - with --json nothing of rich is needed

    screen = console()
    mark = f"{SIMULATED} " if found.simulated else ""
    if explained:
        if found.source != "hex":
            screen.print(f"{mark}[bold]{escape(found.source)}[/]")
        for item in items:
            for page in pages(item, screen.width):
                screen.print(page)
    else:
        timed = any(item.at_ms is not None for item in items)
        links = len({item.link for item in items if item.link is not None}) > 1
        columns = (*(("link",) if links else ()), *(("ms", "") if timed else ()), "what", "fields")
        shown = table(f"{mark}{escape(found.source)}", *columns)
        for item in items:
            row = listing(item)
            at = "" if item.at_ms is None else str(item.at_ms)
            times = (at, _ARROWS.get(item.direction, "")) if timed else ()
            link = ("" if item.link is None else str(item.link),) if links else ()
            shown.add_row(*link, *times, *row)
        screen.print(shown)
    counts = _counts(items)
    left_out = len(found.items) - len(items)
    rest = f", {left_out} others not shown" if left_out else ""
    screen.print(f"[dim]frames: {counts['frames']}, pieces of garbage: {counts['garbage']}{rest}[/]")


def _export(found: Findings, out: str, link: int | None, *, as_json: bool) -> None:
    from telemetry.traffic.pcapng_export import export  # noqa: PLC0415 - for this one only
    from telemetry.transport.capture import refuse_capture  # noqa: PLC0415 - as above

    if found.capture is None:
        raise UsageError(f"--pcapng: {found.source} is no capture; record one with ?record=FILE.telcap behind a URL")
    data, packets = export(found.capture, Path(found.source).name, only_link=link)
    if out == "-":
        if as_json:
            raise click.UsageError("--json: standard output is taken by --pcapng -")
        sys.stdout.buffer.write(data)
        return
    refuse_capture(Path(out), "--pcapng")
    try:
        Path(out).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{out}: it cannot be written: {error.strerror}") from error
    if as_json:
        emit({"simulated": found.simulated, "source": found.source, "pcapng": out, "packets": packets})
        return
    note(f"{out}: {packets} packets for Wireshark. Its dissector: telemetry dissector -o itp.lua")

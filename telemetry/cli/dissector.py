"""``telemetry dissector``: what lets Wireshark read our traffic."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from telemetry.cli.output import note
from telemetry.errors import UsageError

_EPILOG = """\b
Examples:
  telemetry decode visit.telcap --pcapng visit.pcapng
  telemetry dissector -o itp.lua
  tshark -X lua_script:itp.lua -r visit.pcapng
  tshark -X lua_script:itp.lua -r visit.pcapng -Y itp.set_rate.rate_nl_per_day -V -O itp
"""


@click.command(epilog=_EPILOG)
@click.option("-o", "--output", metavar="FILE", help="Write to FILE; without it, to standard output.")
def command(output: str | None) -> None:
    """Write the Wireshark dissector of ITP/1, a Lua script made from the wire table.

    It reads captures that 'telemetry decode --pcapng' writes, sealed messages included where they were opened, and the
    frames of a live TCP stream, whose sealed bodies stay sealed.
    """
    from telemetry.traffic.dissector import dissector  # noqa: PLC0415 - --help must not wait for it
    from telemetry.transport.capture import refuse_capture  # noqa: PLC0415 - as above

    text = dissector()
    if output is None or output == "-":
        click.echo(text, nl=False)
        return
    refuse_capture(Path(output), "-o")
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output}: it cannot be written: {error.strerror}") from error
    script = shlex.quote(f"lua_script:{output}")
    note(f"{output}: use it with tshark -X {script}, or copy it to Wireshark's folder of Lua plugins")

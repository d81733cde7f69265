"""``telemetry flow``: the flow-accuracy bench. A balance under the catheter's tip, start-up and trumpet curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli import flow_measure, flow_virtual
from telemetry.cli.connecting import json_option
from telemetry.cli.flow_options import marked, result_json, tell
from telemetry.cli.output import console, emit
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.flow.document import FlowRun

_EPILOG = """\b
Examples:
  telemetry flow sim --rate-error "6 %" --cyclic-error "2 %" --cycle "12 h" -o run.flow.json
  telemetry flow report run.flow.json -o trumpet.png --panel trumpet
  telemetry flow weigh "serial:///dev/ttyUSB0?baudrate=9600"        does the balance answer?
  telemetry flow measure "serial:///dev/ttyUSB0?baudrate=9600" --rate "0.5 ml/day" -o run.flow.json
  telemetry flow balance --listen pty:///tmp/balance                a virtual balance over a virtual pump
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Measure the flow of a pump with a balance: start-up curve, trumpet curve, boluses, with their uncertainty."""


@command.command(short_help="Make a page, a print, a picture or a table of a measurement.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help=".html, .pdf, .png or .csv.")
@click.option("--panel", "panels", multiple=True, metavar="NAME", help="With .png: only this picture (repeatable).")
@json_option
def report(run: Path, output: Path | None, panels: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Make a report of RUN, a file of 'telemetry flow measure' or 'telemetry flow sim'.

    Curves with the pump's truth beside them where it is known, uncertainty, equipment, deviations. Without -o the
    results alone are printed.
    """
    from telemetry.flow.document import read_flow  # noqa: PLC0415 - --help must not wait for it
    from telemetry.report import need  # noqa: PLC0415 - as above

    need("numpy")
    found = read_flow(run)
    if output is not None:
        from telemetry.flow.reporting import write  # noqa: PLC0415 - as above

        write(found, output, only=panels)
    elif panels:
        raise UsageError("--panel: a picture needs a file: -o trumpet.png")
    _tell(found, output, as_json=as_json)


def _tell(found: FlowRun, output: Path | None, *, as_json: bool) -> None:
    files = [str(output)] if output is not None else []
    if as_json:
        emit({**result_json(found), "files": files})
        return
    screen = console()
    if output is None:
        tell(screen, found)
    else:
        screen.print(f"{marked(found)} {output}", soft_wrap=True)


command.add_command(flow_measure.measure)
command.add_command(flow_measure.weigh)
command.add_command(flow_virtual.sim)
command.add_command(flow_virtual.balance)

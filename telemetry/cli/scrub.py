"""``telemetry scrub``: a capture that may be shown to others."""

from __future__ import annotations

from pathlib import Path

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit, note

_EPILOG = """\b
Examples:
  telemetry scrub visit.telcap -o visit-scrubbed.telcap
  telemetry scrub visit.telcap -o visit-scrubbed.telcap --keep-keys    adds the keys of the new sessions
"""


@click.command(epilog=_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The new capture."
)
@click.option("--keep-keys", is_flag=True, help="Write the keys of the new sessions, for tools that open frames.")
@json_option
def command(file: Path | None, output: Path | None, keep_keys: bool, as_json: bool) -> None:  # noqa: FBT001 - flags
    """Write the capture FILE again without serial numbers, identifiers, dates, places, remarks and keys.

    Equal values stay equal, local times of day stay, and the result still decodes and replays: its frames are sealed
    anew. What cannot be opened is left out. The result is searched for everything that was removed before it is given.
    """
    if file is None:
        raise click.UsageError("FILE is missing: which capture? e.g. visit.telcap")
    if output is None:
        raise click.UsageError("-o FILE is missing: where should the scrubbed capture go?")
    from telemetry.traffic.scrubbing import scrub_file  # noqa: PLC0415 - --help must not wait for it
    from telemetry.transport.capture import read_capture  # noqa: PLC0415 - as above

    done = scrub_file(file, output, keep_keys=keep_keys)
    simulated = read_capture(output).simulated
    if done.torn is not None:
        note(f"telemetry: {file}: its last line ({done.torn}) is unfinished and was left out")
    if as_json:
        emit(
            {
                "simulated": simulated,
                "capture": str(output),
                "frames": done.kept,
                "left_out": dict(done.left_out),
                "replaced": dict(done.replaced),
            }
        )
        return
    from rich.markup import escape  # noqa: PLC0415 - as above

    screen = console()
    screen.print(f"{f'{SIMULATED} ' if simulated else ''}{escape(str(output))}: {done.kept} frames kept")
    screen.print("replaced: " + ", ".join(f"{count} {what}" for what, count in done.replaced.items()), markup=False)
    if done.left_out:
        gone = ", ".join(f"{count} {what}" for what, count in done.left_out.items())
        screen.print(f"left out: {gone}", markup=False)

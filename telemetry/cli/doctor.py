"""``telemetry doctor``: what this machine can and cannot do, and the fix."""

from __future__ import annotations

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.output import console, emit, facts, table

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_EPILOG = """\b
Examples:
  telemetry doctor
  telemetry doctor --json
Exit status 1 when something that this release needs is broken, else 0.
"""


@click.command(epilog=_EPILOG)
@json_option
def command(as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Check this machine: Python, packages, terminals, ports, folders, clock, extras; each with its fix."""
    from telemetry.cli.examining import examine  # noqa: PLC0415 - --help must not wait for it

    found = examine()
    broken = any(check.verdict == "fail" for check in found)
    if as_json:
        emit({"simulated": True, "ok": not broken, "checks": [facts(check) for check in found]})
        return int(broken)
    shown = table("What this machine can do", "", "what", "found", "fix")
    for check in found:
        shown.add_row(f"[{_STYLES[check.verdict]}]{check.verdict}[/]", check.what, check.found, check.fix)
    screen = console()
    screen.print(shown)
    screen.print("[bold red]Something needed is broken.[/]" if broken else "[green]Everything needed works.[/]")
    return int(broken)

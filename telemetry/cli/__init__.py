"""The command line: one small module a command, one connection grammar, one place that gives exit statuses."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the ``telemetry`` command with the process's arguments and end with its exit status."""
    from telemetry.cli.app import run  # noqa: PLC0415 - the console entry stays quick to import

    sys.exit(run(sys.argv[1:]))

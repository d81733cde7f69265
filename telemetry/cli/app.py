"""The ``telemetry`` command itself: finds the sub-command, runs it, and turns whatever happens into an exit status."""

from __future__ import annotations

import difflib
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from telemetry import __version__
from telemetry.cli import failures

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "sim": ("sim", "Serve a virtual telemeter over a virtual pump."),
    "read": ("read", "Interrogate a pump: status, identity, program, delivery, alarms, log, limits, …"),
    "watch": ("watch", "Follow status and alarms until Ctrl-C."),
    "set-rate": ("set_rate", "Change the rate: a flow, a dose per day or a dose per hour."),
    "program": ("program", "Program any therapy from a file: flex, weekday, periodic bolus, titration."),
    "titrate": ("titrate", "Change the dose by a share, at once or as a ramp."),
    "bolus": ("bolus", "Give one bolus now; or the patient's own."),
    "refill": ("refill", "Tell the pump of a refill, with drug, program and bridge as one prescription."),
    "prime": ("prime", "Fill tubing and catheter fast."),
    "implant": ("implant", "Start a new pump: first filling, therapy, prime."),
    "replace": ("replace", "Carry an old pump's prescription to a new one on the old catheter."),
    "stop": ("stop", "Stop delivery at once."),
    "resume": ("resume", "Start the committed program of a stopped pump again."),
    "silence": ("silence", "Silence what sounds now, for a time."),
    "acknowledge": ("acknowledge", "Acknowledge one alarm."),
    "limits": ("limits", "Set the therapy limits, inside those of the device."),
    "clock": ("clock", "Set the pump's wall clock and zone."),
    "alarm-settings": ("alarm_settings", "Set what may be set of the alarms."),
    "alarm": ("alarm", "What each alarm means and sounds like; check a recorded one."),
    "scenario": ("scenario", "Play timelines against a virtual pump, assert what is expected."),
    "flow": ("flow", "The flow-accuracy bench: a balance, start-up and trumpet curves."),
    "fault": ("fault", "The faults on record: explain, inject, clear."),
    "report": ("report", "Pictures and reports of a run."),
    "hospital": ("hospital", "Show a pump to a hospital: IEEE 11073 SDC, FHIR R5. Read only."),
    "publish": ("publish", "Publish what a pump says on the hospital's broker (MQTT)."),
    "broker": ("broker", "A small MQTT broker for the bench, where there is none."),
    "control": ("control", "The back door of a running simulator: let time pass, see the truth."),
    "conform": ("conform", "Conformance runs: of a programmer, a device, a subscriber; with a report."),
    "capture": ("capture", "Record a conversation, one of its own or one between others."),
    "replay": ("replay", "Play a capture back, as the device or as the programmer."),
    "scrub": ("scrub", "Take names, dates and keys out of a capture."),
    "decode": ("decode", "Explain a capture, bytes or hexadecimal text; hand it to Wireshark."),
    "dissector": ("dissector", "Write the Wireshark dissector of the protocol."),
    "profile": ("profile", "The pump families: every number with its unit, source and confidence."),
    "scan": ("scan", "Show the telemeters in Bluetooth range."),
    "doctor": ("doctor", "What this machine can and cannot do, and the fix."),
}
_LATER = (
    "bench",
    "cohort",
    "fleet",
)
_EPILOG = """\b
Try it (two terminals):
  telemetry sim                                        serves a pump, prints its URLs
  telemetry read tcp://127.0.0.1:7410                  what the pump says of itself
  telemetry set-rate tcp://127.0.0.1:7410 "0.200 ml/day"
  telemetry control advance --days 190                 lets therapy time pass
Without a simulator: telemetry read sim:

\b
Exit status: 0 done, 1 refused, 2 used wrongly, 3 link failed, 4 outcome unknown
(70 a defect of this program, 130 interrupted; docs/cli.md).
"""


class _Commands(click.Group):
    """Loads a command when it is asked for, so that no command pays for another's libraries."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"telemetry.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in _LATER:
            raise click.UsageError(f"'{name}' comes with a later release; this one has: {', '.join(_COMMANDS)}.", ctx)
        if name not in _COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the commands are: {', '.join(_COMMANDS)}."
            raise click.UsageError(f"there is no command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, "--version", message="telemetry %(version)s (SIMULATED devices only)")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (for reports of defects).")
def commands(debug: bool) -> None:  # noqa: FBT001 - read from the arguments, since parsing may be what fails
    """Programmer, simulator and driver layer for implantable intrathecal drug pumps.

    SIMULATED devices only; nothing here is for clinical use.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; raises nothing (``docs/cli.md`` lists the statuses)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and texts of others may be no Unicode, and a terminal's own set may be too small. In JSON what
        # comes of it is an escape.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = commands.main(args=list(arguments), prog_name="telemetry", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has enough of it (rich says so by SystemExit): nothing more is said, not even at the
        # interpreter's own last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failures.Exit.REFUSED
    except BaseException as error:  # noqa: BLE001 - the outermost boundary: everything becomes a line and a status
        return failures.report(error, as_json="--json" in arguments, debug="--debug" in arguments)
    return result if isinstance(result, int) else failures.Exit.DONE

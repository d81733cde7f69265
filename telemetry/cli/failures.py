"""The one place where an exception becomes a line for a person, an object for a program and an exit status."""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import click

from telemetry import __version__
from telemetry.clock import host_utc_s
from telemetry.errors import LinkError, OutcomeUnknown, PeerError, Refused, SecurityError, UsageError


class Exit(IntEnum):
    """Exit statuses (interfaces: 0 to 4; the last two are ours, ADR 0040)."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    LINK = 3
    UNKNOWN = 4
    DEFECT = 70
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: status for the shell, kind and facts for a program, message for a person."""

    exit: Exit
    kind: str
    message: str
    facts: dict[str, object] = field(default_factory=dict)


class InterruptedChangeError(Exception):
    """Ctrl-C while a change was on its way: the outcome is open until the pump is asked."""


class DefectInChangeError(Exception):
    """A defect of this program while a change was on its way (the defect is ``__cause__``)."""


def classify(error: BaseException) -> Failure:  # noqa: PLR0911 - one return a kind
    """Say what kind of failure an exception is; total."""
    match error:
        case click.ClickException():
            return Failure(Exit.USAGE, "usage", _usage_text(error))
        case Refused():
            return Failure(Exit.REFUSED, "refused", str(error), _refusal_facts(error))
        case OutcomeUnknown():
            return Failure(Exit.UNKNOWN, "outcome_unknown", str(error), {"transaction": error.transaction})
        case InterruptedChangeError() | DefectInChangeError():
            return Failure(Exit.UNKNOWN, "outcome_unknown", str(error))
        case SecurityError() if isinstance(error.__cause__, LinkError | PeerError):
            return Failure(Exit.LINK, "security", str(error))
        case SecurityError():
            return Failure(Exit.USAGE, "security", str(error))
        case UsageError():
            return Failure(Exit.USAGE, "usage", str(error))
        case LinkError():
            return Failure(Exit.LINK, "link", str(error))
        case PeerError():
            return Failure(Exit.LINK, "peer", str(error))
        case KeyboardInterrupt() | click.Abort():
            return Failure(Exit.INTERRUPTED, "interrupted", "interrupted")
        case _:
            name = type(error).__name__
            return Failure(Exit.DEFECT, "defect", f"this is a defect in telemetry {__version__}: {name}: {error}")


def report(error: BaseException, *, as_json: bool, debug: bool) -> Exit:
    """Tell person and program what went wrong; returns the exit status."""
    failure = classify(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return failure.exit
    if debug:
        traceback.print_exception(error)
    message = "; ".join((failure.message, *getattr(error, "__notes__", ())))
    if failure.exit is Exit.DEFECT or isinstance(error, DefectInChangeError):
        message += f"; {_keep_traceback(error)}"
    click.echo(f"telemetry: {' '.join(message.split())}", err=True)
    if as_json:
        told = "; ".join((failure.message, *getattr(error, "__notes__", ())))
        body: dict[str, object] = {"kind": failure.kind, "message": told, **failure.facts}
        click.echo(json.dumps({"error": body, "exit_status": int(failure.exit)}, ensure_ascii=False))
    sys.stdout.flush()
    return failure.exit


def _usage_text(error: click.ClickException) -> str:
    text = error.format_message().rstrip()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        text = "a command is missing"
    context = getattr(error, "ctx", None)
    command = context.command_path if isinstance(context, click.Context) else "telemetry"
    return f"{text} ('{command} --help' tells more)"


def _refusal_facts(error: Refused) -> dict[str, object]:
    return {
        "reason": error.reason,
        "status": error.status,
        "field": error.field,
        "value": error.value,
        "limit": error.limit,
        "warnings": list(error.warnings),
        "transaction": error.transaction,
    }


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback where it can be found; returns words that say where."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "itb-telemetry"
    path = folder / f"defect-{host_utc_s()}-{os.getpid()}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError as problem:
        return f"its traceback could not be kept ({problem.strerror}): repeat with 'telemetry --debug …' and report it"
    return f"its traceback is in {path}; please report it"


__all__ = [
    "DefectInChangeError",
    "Exit",
    "Failure",
    "InterruptedChangeError",
    "classify",
    "report",
]

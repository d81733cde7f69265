"""How every change goes: read, show before and after side by side, ask, carry out, say what became of it."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from telemetry.cli import outcomes
from telemetry.cli.connecting import need_url, refuse_arm, talk
from telemetry.cli.failures import DefectInChangeError, InterruptedChangeError
from telemetry.cli.output import console, note
from telemetry.cli.proposals import Shown, proposal_tables
from telemetry.cli.refusals import explain
from telemetry.errors import LinkError, PeerError, Refused, TelemetryError, UsageError
from telemetry.model import Change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from telemetry.model import Identity, PumpLimits, PumpStatus
    from telemetry.programmer import Programmer, Proposal

PROGRAM, DELIVERY, ALARM_SETTINGS = "program", "delivery", "alarm_settings"
"""What a command may want read beforehand, besides identity, status and limits."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the options of a changing command say."""

    url: str
    role: str
    yes: bool
    as_json: bool
    arm: bool = False
    accept: tuple[str, ...] = ()


@dataclass(slots=True)
class Visit:
    """One visit to a pump: what it said before, and how far the change has come."""

    programmer: Programmer
    terms: Terms
    shown: Shown
    going: bool = False
    """Whether the change was let go: from here on an interruption leaves the outcome open."""
    proposals: list[Proposal] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """What to say under each proposal before it is asked about."""

    @property
    def identity(self) -> Identity:
        """Who the pump is."""
        return self.shown.identity

    @property
    def status(self) -> PumpStatus:
        """What it said before."""
        return self.shown.status

    @property
    def limits(self) -> PumpLimits:
        """Its limits."""
        return self.shown.limits

    async def confirm(self, proposal: Proposal) -> bool:
        """Show the pump's own numbers; ask, unless that was answered by ``--yes``."""
        self.proposals.append(proposal)
        screen = console(stderr=self.terms.as_json)
        for part in proposal_tables(self.shown, proposal):
            screen.print(part)
        for text in self.notes:
            note(text)
        self.going = False
        self.going = self.ask("Carry out this change?")
        return self.going

    def ask(self, question: str) -> bool:
        """Whether the person says yes; Ctrl-C and the end of input are a no."""
        return self.terms.yes or asked(question)


def change(
    terms: Terms, act: Callable[[Visit], Awaitable[Change | Sequence[Change]]], *, reads: Sequence[str] = (PROGRAM,)
) -> None:
    """Carry a change, or several one after another, out by ``act`` and report them.

    ``reads`` says what is to be shown of the pump as it was before. Raises what the driver raises, in readable units.
    """
    need_url(terms.url)
    refuse_arm(arm=terms.arm)
    need_person(yes=terms.yes)
    visits: list[Visit] = []

    async def work(programmer: Programmer) -> tuple[Visit, Sequence[Change], PumpStatus | None]:
        visit = Visit(programmer, terms, await _look(programmer, reads))
        visits.append(visit)
        try:
            done = await act(visit)
        except Refused as refused:
            raise explain(refused, visit.limits, visit.status) from refused
        visit.going = False
        changes = [done] if isinstance(done, Change) else done
        try:
            return visit, changes, await programmer.read_status()
        except (LinkError, PeerError, Refused) as error:
            note(f"telemetry: the change is applied; reading the pump afterwards failed: {error}")
            return visit, changes, None

    try:
        (visit, changes, after), resolved = talk(terms.url, work, role=terms.role)
    except TelemetryError:
        raise
    except KeyboardInterrupt as error:
        if any(visit.going for visit in visits):
            raise InterruptedChangeError(
                "interrupted while the change was on its way: whether it was applied is open; "
                f"'telemetry read {terms.url} status' asks the pump"
            ) from error
        raise
    except Exception as error:
        if any(visit.going for visit in visits):
            raise DefectInChangeError(
                f"a defect of this program while the change was on its way: whether it was applied is open; "
                f"'telemetry read {terms.url} status' asks the pump"
            ) from error
        raise
    outcomes.report(visit.identity, visit.proposals, changes, after, resolved, as_json=terms.as_json)


async def _look(programmer: Programmer, reads: Sequence[str]) -> Shown:
    return Shown(
        await programmer.read_identity(),
        await programmer.read_status(),
        await programmer.read_limits(),
        (await programmer.read_program()).program if PROGRAM in reads else None,
        await programmer.read_delivery() if DELIVERY in reads else None,
        await programmer.read_alarm_settings() if ALARM_SETTINGS in reads else None,
    )


def need_person(*, yes: bool, what: str = "the therapy") -> None:
    """Raise ``UsageError`` when nobody can be asked about changing ``what`` and nothing was answered beforehand."""
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            f"this changes {what} and nobody can be asked here (standard input is no terminal): "
            "repeat with --yes if it is meant"
        )


def asked(question: str) -> bool:
    """Ask the person, on standard error; Ctrl-C and the end of input are a no."""
    # asyncio's own handler would only cancel the task and leave the prompt waiting for Enter.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, default=False, err=True)
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return False
    finally:
        signal.signal(signal.SIGINT, before)

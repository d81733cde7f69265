"""How every change of therapy goes: read, show before and after side by side, ask, carry out, say what became of it."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from telemetry.cli import words
from telemetry.cli.connecting import need_url, refuse_arm, talk
from telemetry.cli.failures import DefectInChangeError, InterruptedChangeError
from telemetry.cli.output import console, emit, facts, note, table
from telemetry.cli.refusals import explain
from telemetry.cli.views import heading
from telemetry.errors import LinkError, PeerError, Refused, TelemetryError, UsageError
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, Dose, Volume

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.table import Table

    from telemetry.model import Change, Identity, PumpLimits, PumpStatus, TherapyState
    from telemetry.programmer import Outcome, Programmer, Proposal

    Confirm = Callable[[Proposal], Awaitable[bool]]

_PPM = 1_000_000


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
    identity: Identity
    status: PumpStatus
    limits: PumpLimits
    going: bool = False
    """Whether the change was let go: from here on an interruption leaves the outcome open."""
    proposal: Proposal | None = field(default=None)

    async def confirm(self, proposal: Proposal) -> bool:
        """Show the pump's own numbers; ask, unless that was answered by ``--yes``."""
        self.proposal = proposal
        console(stderr=self.terms.as_json).print(proposal_table(self, proposal))
        self.going = self.ask("Carry out this change?")
        return self.going

    def ask(self, question: str) -> bool:
        """Whether the person says yes; Ctrl-C and the end of input are a no."""
        return self.terms.yes or asked(question)


def change(terms: Terms, act: Callable[[Visit], Awaitable[Change]]) -> None:
    """Carry a change out by ``act`` and report it; raises what the driver raises, in readable units."""
    need_url(terms.url)
    refuse_arm(arm=terms.arm)
    need_person(yes=terms.yes)
    visits: list[Visit] = []

    async def work(programmer: Programmer) -> tuple[Visit, Change, PumpStatus | None]:
        identity, status = await programmer.read_identity(), await programmer.read_status()
        visit = Visit(programmer, terms, identity, status, await programmer.read_limits())
        visits.append(visit)
        try:
            done = await act(visit)
        except Refused as refused:
            raise explain(refused, visit.limits, visit.status) from refused
        visit.going = False
        try:
            return visit, done, await programmer.read_status()
        except (LinkError, PeerError, Refused) as error:
            note(f"telemetry: the change is applied; reading the pump afterwards failed: {error}")
            return visit, done, None

    try:
        (visit, done, after), resolved = talk(terms.url, work, role=terms.role)
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
    _report(visit, done, after, resolved)


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


def proposal_table(visit: Visit, proposal: Proposal) -> Table:
    """Before and after side by side, every number of the right column the pump's own."""
    before, after = proposal.before, proposal.after
    shown = _side_by_side(visit, before, after, "after")
    total = f"{Dose(proposal.dose_24h_ng)} in {Volume(proposal.volume_24h_nl)}"
    shown.add_row("24 h total (pump's sum)", "", total)
    shown.add_row("low-reservoir alarm", *_alarm_before_after(visit, after.rate_nl_per_day))
    empty = proposal.empty_in_s
    shown.add_row("empty", "", words.NONE if empty is None else f"in {words.span(empty * MS_PER_SECOND)}")
    for warning in proposal.warnings:
        shown.add_row("[yellow]warning[/]", "", f"[yellow]{words.WARNINGS[warning]}[/]")
    return shown


def _side_by_side(visit: Visit, before: TherapyState, after: TherapyState, title: str) -> Table:
    shown = table(heading(visit.identity), "", "before", title)
    shown.add_row("mode", words.MODES[before.mode], words.MODES[after.mode])
    shown.add_row("rate", words.flow(before.rate_nl_per_day), f"[bold]{words.flow(after.rate_nl_per_day)}[/]")
    shown.add_row("dose", words.dose(before.dose_ng_per_day), f"[bold]{words.dose(after.dose_ng_per_day)}[/]")
    shown.add_row("change", "", _change(before, after))
    return shown


def _change(before: TherapyState, after: TherapyState) -> str:
    if before.dose_ng_per_day == 0:
        return "starts delivery" if after.dose_ng_per_day else "none"
    if after.dose_ng_per_day == before.dose_ng_per_day:
        return "none"
    difference = after.dose_ng_per_day - before.dose_ng_per_day
    ppm = abs(difference) * _PPM // before.dose_ng_per_day
    return words.percent(-ppm if difference < 0 else ppm)


def _alarm_before_after(visit: Visit, rate_nl_per_day: int) -> tuple[str, str]:
    status, epoch = visit.status, visit.identity.epoch_utc_s
    return (
        words.when(status.low_reservoir_at_ms, status.now_ms, epoch, between="\n"),
        words.when(low_reservoir_at_ms(status, visit.limits, rate_nl_per_day), status.now_ms, epoch, between="\n"),
    )


def low_reservoir_at_ms(status: PumpStatus, limits: PumpLimits, rate_nl_per_day: int) -> int | None:
    """When the low-reservoir alarm comes at this rate, in pump time; None when it never does."""
    if rate_nl_per_day == 0:
        return None
    left_nl = max(0, status.reservoir_nl - limits.low_reservoir_alarm_nl)
    return status.now_ms + left_nl * MS_PER_DAY // rate_nl_per_day


def _report(visit: Visit, done: Change, after: PumpStatus | None, resolved: tuple[Outcome, ...]) -> None:
    who = visit.identity
    alarm_at_ms = after.low_reservoir_at_ms if after is not None else None
    if visit.terms.as_json:
        emit(
            {
                "simulated": who.simulated,
                "outcome": "applied",
                **facts(done),
                "applied_at_utc": words.iso(done.applied_at_ms, who.epoch_utc_s),
                "proposal": None if visit.proposal is None else facts(visit.proposal),
                "low_reservoir_at_ms": alarm_at_ms,
                "resolved": [facts(outcome) for outcome in resolved],
            }
        )
        return
    screen = console()
    screen.print(
        f"[bold green]Applied[/] at {words.date(done.applied_at_ms, who.epoch_utc_s)}, operation {done.transaction}"
    )
    screen.print(f"  {words.therapy(done.before)} → [bold]{words.therapy(done.after)}[/]")
    if after is not None and alarm_at_ms is not None and alarm_at_ms > after.now_ms:
        screen.print(f"  low-reservoir alarm {words.when(alarm_at_ms, after.now_ms, who.epoch_utc_s)}")

"""What every command that talks to a pump shares: URL, role, opening, closing, and telling what was resolved."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import click

from telemetry.cli.output import note
from telemetry.errors import UsageError
from telemetry.model import Role, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.programmer import Outcome, Programmer

_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound="Callable[..., Any]")
_ROLES = (Role.OBSERVER, Role.PATIENT, Role.CLINICIAN, Role.EMERGENCY)


def url_argument(command: _Command) -> _Command:
    """The connection URL; left out, the error lists what could stand there."""
    return click.argument("url", required=False, default="")(command)


def json_option(command: _Command) -> _Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")(command)


def role_option(default: Role) -> Callable[[_Command], _Command]:
    """``--role``."""
    return click.option(
        "--role",
        type=click.Choice([role.value for role in _ROLES]),
        default=default.value,
        show_default=True,
        help="Whose credential opens the session.",
    )


def arm_option(command: _Command) -> _Command:
    """``--arm``."""
    return click.option(
        "--arm", is_flag=True, help="Talk to a device that is no test device (needs a credential of its own)."
    )(command)


def need_url(url: str) -> str:
    """The URL, or a ``UsageError`` that lists what there is."""
    if url:
        return url
    from telemetry.sim.runtime import live_simulators  # noqa: PLC0415 - only on the way to an error
    from telemetry.transport.registry import known_schemes  # noqa: PLC0415 - as above

    live = [place for simulator in live_simulators() for place in simulator.urls]
    running = f"running now: {', '.join(live)}" if live else "no simulator is running here; 'telemetry sim' starts one"
    raise UsageError(
        f"URL is missing: say which telemeter, as in sim: or tcp://127.0.0.1:7410 "
        f"(schemes: {', '.join(known_schemes())}); {running}"
    )


def refuse_arm(*, arm: bool) -> None:
    """Say why ``--arm`` is of no use yet."""
    if arm:
        raise UsageError(
            "--arm: it is for devices that are no test devices, and those need a credential of their own; this release "
            "has only the published test credential, which opens test devices and needs no --arm"
        )


def talk(
    url: str, work: Callable[[Programmer], Awaitable[_Result]], *, role: str, arm: bool = False
) -> tuple[_Result, tuple[Outcome, ...]]:
    """Run ``work`` with a programmer for ``url`` on the host's clock; also returns what was resolved on the way."""
    place = need_url(url)
    refuse_arm(arm=arm)
    from telemetry.clock import SystemClock  # noqa: PLC0415 - after everything that can be refused at once
    from telemetry.programmer import connect  # noqa: PLC0415 - as above

    async def conversation() -> tuple[_Result, tuple[Outcome, ...]]:
        async with connect(place, clock=SystemClock(), role=role) as programmer:
            try:
                result = await work(programmer)
            finally:
                tell_resolved(programmer.resolved)
            return result, programmer.resolved

    return asyncio.run(conversation())


def tell_resolved(outcomes: tuple[Outcome, ...]) -> None:
    """Tell the person what became of operations whose outcome had been unknown."""
    words = {
        Verdict.APPLIED: "it WAS applied",
        Verdict.REFUSED: "it was refused and not applied",
        Verdict.NEVER: "it never reached the pump and never will be applied",
    }
    for outcome in outcomes:
        verdict = words.get(outcome.verdict, outcome.verdict.value)
        note(f"telemetry: an earlier operation with unknown outcome is resolved: {outcome.transaction}: {verdict}")

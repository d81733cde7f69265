"""Options that all changing commands share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import click

from telemetry.cli.connecting import arm_option, json_option, role_option
from telemetry.model import Role, Warn

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WAIT_S = 31_536_000
_Command = TypeVar("_Command", bound="Callable[..., Any]")


class NumberRange(click.FloatRange):
    """A range that holds numbers only: nan is neither below nor above any bound, so that click lets it pass."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """The number; fails as click's types do."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number from {self.min} to {self.max}", param, ctx)
        return number


SECONDS = NumberRange(0.1, _LONGEST_WAIT_S)
"""How long a command serves: up to a year."""


def change_options(role: Role = Role.CLINICIAN) -> Callable[[_Command], _Command]:
    """``--yes``, ``--role``, ``--arm``, ``--json``."""

    def decorate(command: _Command) -> _Command:
        with_yes = click.option("--yes", is_flag=True, help="Do not ask. Accepts no warning.")(command)
        return role_option(role)(arm_option(json_option(with_yes)))

    return decorate


def accept_option(command: _Command) -> _Command:
    """``--accept-warning NAME``."""
    return click.option(
        "--accept-warning",
        "accept",
        multiple=True,
        type=click.Choice([warning.value for warning in Warn]),
        metavar="NAME",
        help=f"Accept this soft limit by name (repeatable): {', '.join(warning.value for warning in Warn)}.",
    )(command)

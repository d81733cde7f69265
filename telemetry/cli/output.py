"""Where text goes: results to standard output, all else to standard error; with ``--json`` one object and no more."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

SIMULATED = "[bold black on yellow] SIMULATED [/]"


def console(*, stderr: bool = False) -> Console:
    """A rich console that obeys NO_COLOR, the terminal's width and pipes."""
    from rich.console import Console  # noqa: PLC0415 - a fifth of a command's start; JSON and errors need none of it

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, emoji=False)


def table(title: str, *columns: str) -> Table:
    """A table as all commands show it."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.ROUNDED,
        show_header=any(columns),
        min_width=Text.from_markup(title).cell_len,  # else a small table would fold its title
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def emit(content: Mapping[str, object]) -> None:
    """Write one JSON object to standard output."""
    click.echo(json.dumps(plain(content), ensure_ascii=False))


def note(text: str) -> None:
    """Tell the person something besides the result, wrapped for the terminal."""
    console(stderr=True).print(text, markup=False)


def plain(value: object) -> object:
    """Records and enumerations as JSON has them: names for codes, hexadecimal for bytes."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def facts(record: object) -> dict[str, object]:
    """The fields of a record, as JSON has them."""
    found = plain(record)
    return found if isinstance(found, dict) else {"value": found}

"""What a newcomer reads first: every help fits the terminal, and every example in it names what there is."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from telemetry.cli.app import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done


def every(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from every(found, (*path, name))


ALL = dict(every(commands))
EXAMPLES = [
    (path, line)
    for path, command in ALL.items()
    for line in (command.epilog or "").splitlines()
    if line.startswith("  telemetry ")
]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_whole_at_80_columns(path: tuple[str, ...], telemetry: Callable[..., Done]) -> None:
    done = telemetry(*path, "--help")
    assert done.status == 0
    # Examples are never wrapped, so that they can be copied; what stands above them is.
    first = next((line for line in (ALL[path].epilog or "").splitlines() if line.strip("\b ")), "")
    above = done.out.partition(f"\n  {first}")[0] if first else done.out
    for line in above.splitlines():
        assert len(line) <= 80, line
        assert line.startswith("Usage:") or not re.search(r"\w\.\.\.$", line), line  # a summary that was cut off


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) > 60
    assert {path[0] for path, _ in EXAMPLES if path} >= {"read", "refill", "alarm", "scenario", "report", "sim"}


@pytest.mark.parametrize("line", sorted({line for _, line in EXAMPLES}), ids=str.strip)
def test_every_example_names_a_command_and_its_options(line: str) -> None:
    words = shlex.split(re.split(r"\s{3,}|\s+\(|\s>", line.strip())[0])[1:]
    command: click.Command = commands
    while isinstance(command, click.Group) and words:
        if words[0].startswith("-"):
            break
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        if (found is None and "://" in name) or name == "URL":
            continue  # 'control URL advance': the URL stands before the act
        assert found is not None, f"{name}: no command of '{command.name}'"
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--") or re.fullmatch(r"-[a-z]", word):
            assert word.partition("=")[0] in known, f"{word}: no option of '{command.name}'"


@pytest.mark.parametrize("group", [(), ("alarm",), ("scenario",), ("profile",)], ids=" ".join)
def test_without_a_command_the_help_is_shown_as_it_is(group: tuple[str, ...], telemetry: Callable[..., Done]) -> None:
    done = telemetry(*group)
    assert done.status == 2
    assert done.out == ""
    assert done.err == telemetry(*group, "--help").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--daily-dose-hard-max", "900 ug/day"), "--daily-dose-hard-max: 900 µg/day is below --daily-dose-soft-max"),
        (("--change-soft", "150%"), "--change-soft: +150.0 % is above --change-hard, which is +100.0 %"),
        (("--daily-dose-hard-max", "9000 ug/day"), "9000 µg/day; the device allows 2000 µg/day"),
    ],
)
def test_a_limit_that_cannot_be_says_which_and_beside_what(
    arguments: tuple[str, ...], said: str, telemetry: Callable[..., Done]
) -> None:
    done = telemetry("limits", "sim:", *arguments, "--yes")
    assert done.status in {1, 2}
    assert said in done.err


def test_the_bytes_in_the_help_of_decode_are_a_message(telemetry: Callable[..., Done]) -> None:
    (line,) = [line for path, line in EXAMPLES if path == ("decode",) and re.search(r"decode [0-9a-f]{8}\b", line)]
    done = telemetry("decode", line.split()[2])
    assert "ReadStatus" in done.out
    assert "pieces of garbage: 0" in done.out

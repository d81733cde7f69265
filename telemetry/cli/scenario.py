"""``telemetry scenario``: play timelines against a virtual pump and hold what comes of it against what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.failures import Exit
from telemetry.cli.output import SIMULATED, console, emit, note, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.scenario import Result

_EPILOG = """\b
Examples:
  telemetry scenario list                      what comes with the package
  telemetry scenario run                       play all of that
  telemetry scenario run journey leaflet       one by name, a group of them (leaflet, bridge, faults)
  telemetry scenario run -k catheter           those with a word in name, title or tags
  telemetry scenario run my-scenarios/ --junit report.xml --record runs/
  telemetry scenario check mine.yaml           is it a scenario? (nothing is played)
  telemetry scenario schema > scenario.schema.json

\b
Exit status: 0 all passed, 1 an expectation failed or a scenario could not be played, 2 used wrongly.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Play timelines against a virtual pump and hold what comes of it against what is expected."""


@command.command("run", short_help="Play files, folders or stock scenarios; all stock ones without WHAT.")
@click.argument("what", nargs=-1)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file.")
@click.option(
    "--record", type=click.Path(file_okay=False, path_type=Path), help="Keep a run file of each for 'telemetry report'."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="So many at a time; one for each processor unless given.")
@click.option("-k", "word", default="", help="Only those with this word in name, title or tags.")
@click.option("--limit", "limit_s", type=click.IntRange(1, 86_400), default=60, show_default=True, help="Seconds each.")
@json_option
def run_command(
    what: tuple[str, ...],
    junit: Path | None,
    record: Path | None,
    jobs: int | None,
    word: str,
    limit_s: int,
    as_json: bool,  # noqa: FBT001 - a flag
) -> int:
    """Play scenarios: files, folders or names of stock ones; without WHAT, all stock scenarios."""
    from telemetry.scenario.junit import junit_xml  # noqa: PLC0415 - --help must not wait for it
    from telemetry.scenario.library import find_all  # noqa: PLC0415 - as above
    from telemetry.scenario.results import text_of  # noqa: PLC0415 - as above
    from telemetry.scenario.running import default_jobs, run_files  # noqa: PLC0415 - as above
    from telemetry.units import MS_PER_SECOND  # noqa: PLC0415 - as above

    paths = _chosen(find_all(what), word)
    screen = console(stderr=as_json)
    count = 0

    def told(result: Result) -> None:
        nonlocal count
        count += 1
        if not as_json:
            text = _line(result) if result.passed else text_of(result)
            screen.print(f"{count:>{len(str(len(paths)))}}/{len(paths)} {text}", markup=False, soft_wrap=True)

    at_a_time = min(jobs or default_jobs(), len(paths))
    results = run_files(paths, jobs=at_a_time, record=record, limit_ms=limit_s * MS_PER_SECOND, on_result=told)
    if junit is not None:
        _write(junit, junit_xml(results))
    passed = sum(result.passed for result in results)
    if as_json:
        emit(
            {
                "simulated": True,
                "scenarios": len(results),
                "passed": passed,
                "results": [result.plain() for result in results],
            }
        )
    else:
        screen.print(f"{SIMULATED} {passed} of {len(results)} scenarios passed", markup=True)
    return Exit.DONE if passed == len(results) else Exit.REFUSED


@command.command("list", short_help="The scenarios that come with the package.")
@click.option("-k", "word", default="", help="Only those with this word in name, title or tags.")
@json_option
def list_command(word: str, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List the scenarios that come with the package."""
    from rich.markup import escape  # noqa: PLC0415 - as above

    from telemetry.scenario.format import load  # noqa: PLC0415 - as above
    from telemetry.scenario.library import stock_files  # noqa: PLC0415 - as above

    stock = [load(path) for path in _chosen(list(stock_files().values()), word)]
    if as_json:
        listed = [
            {"name": item.name, "title": item.title, "source": item.source, "tags": list(item.tags), "file": item.file}
            for item in stock
        ]
        emit({"simulated": True, "scenarios": listed})
        return
    shown = table(f"{SIMULATED} stock scenarios", "name", "what it shows, and where it is from")
    shown.columns[0].no_wrap = True
    for item in stock:
        shown.add_row(item.name, f"{escape(item.title)} [dim]({escape(item.source)})[/]")
    console().print(shown)


@command.command("check", short_help="Say whether files are scenarios; nothing is played.")
@click.argument("what", nargs=-1, required=True)
@json_option
def check_command(what: tuple[str, ...], as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Say whether files are scenarios, and every mistake with its line and column; nothing is played."""
    from telemetry.scenario.format import load  # noqa: PLC0415 - as above
    from telemetry.scenario.library import find_all  # noqa: PLC0415 - as above
    from telemetry.scenario.problems import ScenarioError  # noqa: PLC0415 - as above

    files: list[dict[str, object]] = []
    wrong = 0
    for path in find_all(what):
        problems: list[dict[str, object]] = []
        try:
            load(path)
        except ScenarioError as error:
            problems = [
                {"line": item.line, "column": item.column, "path": item.path, "message": item.message}
                for item in error.problems
            ]
            note(str(error))
        wrong += bool(problems)
        files.append({"file": str(path), "problems": problems})
    if as_json:
        emit({"simulated": True, "files": files})
    elif not wrong:
        console().print(f"{len(files)} scenario{'s' if len(files) != 1 else ''}, no mistake in the form")
    return Exit.USAGE if wrong else Exit.DONE


@command.command("schema", short_help="Print the JSON schema of scenario files.")
def schema_command() -> None:
    """Print the JSON schema of scenario files (for editors and other programs)."""
    from telemetry.scenario.schema import published_text  # noqa: PLC0415 - as above

    click.echo(published_text(), nl=False)


def _chosen(paths: Sequence[Path], word: str) -> list[Path]:
    if not word:
        return list(paths)
    from telemetry.errors import UsageError  # noqa: PLC0415 - as above
    from telemetry.scenario.format import load  # noqa: PLC0415 - as above

    found: list[Path] = []
    for path in paths:
        try:
            scenario = load(path)
        except UsageError:
            found.append(path)  # what is wrong with it is said when it is played
            continue
        if word.lower() in " ".join((scenario.name, scenario.title, *scenario.tags)).lower():
            found.append(path)
    if not found:
        raise UsageError(f"-k {word}: none of {len(paths)} scenarios has it in name, title or tags")
    return found


def _line(result: Result) -> str:
    kept = f"  {result.record}" if result.record else ""
    return f"{result.verdict.value.upper():6} {result.name}: {result.title} ({result.host_ms} ms){kept}"


def _write(path: Path, text: str) -> None:
    from telemetry.errors import UsageError  # noqa: PLC0415 - as above

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--junit {path}: cannot be written ({error.strerror})") from error

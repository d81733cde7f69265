"""``telemetry conform``: conformance runs of a programmer, a device or a subscriber, with a report."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from telemetry.cli import conform_telling as telling
from telemetry.cli.connecting import json_option
from telemetry.cli.failures import Exit
from telemetry.cli.output import SIMULATED, console, emit, note, table
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.conform.manifest import Manifest
    from telemetry.conform.results import Run
    from telemetry.conform.steps import AnyCatalogue

_EPILOG = """\b
Examples:
Of a programmer (tablet), which connects to a listener; a person or a program operates it:
  telemetry conform --listen tcp://127.0.0.1:7412 --manifest tablet.yaml --pdf report.pdf
  telemetry conform --listen pty: --operator "python my_tablet_operator.py"
  telemetry conform --own                      our own tablet and pump, in this process
Of a device (pump), and of a subscriber to a broker:
  telemetry conform tcp://127.0.0.1:7410
  telemetry conform --subscriber mqtt://127.0.0.1:1883/site --operator "…"
Besides:
  telemetry conform list                       every step: number, title, who asks for it
  telemetry conform render RUN.conform.json -o report.pdf
  telemetry conform self-test                  equipment that is wrong on purpose, each of which must be caught

\b
Exit status: 0 everything claimed passed, 1 a finding or a step without a verdict, 2 used wrongly, 3 link failed.
"""
_Command = TypeVar("_Command", bound="Callable[..., Any]")


class _Conform(click.Group):
    """``telemetry conform URL`` and ``telemetry conform --listen …`` are ``telemetry conform run …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].isalpha():
            if args[0] not in self.commands:
                raise UsageError(f"{args[0]}: neither a URL nor a command; the commands are {', '.join(self.commands)}")
        elif args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Conform, epilog=_EPILOG)
def command(**_run: object) -> None:
    """Conformance runs: numbered steps with purpose, stimulus, expected, observed and verdict; and a report.

    URL is a device under test; a programmer under test connects to --listen instead. The options are those of a run.
    """


def _file(*names: str, words: str) -> Callable[[_Command], _Command]:
    return click.option(*names, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=words)


def _try(path: Path) -> None:
    """Whether it could be written, while nothing is lost yet; what stands there stays. Raises ``UsageError``."""
    there = path.exists()
    try:
        path.open("ab").close()
        if not there:
            path.unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}; give another path") from error


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a run goes."""

    output: Path | None
    junit: Path | None
    html: Path | None
    pdf: Path | None

    def check(self) -> None:
        """Refuse what cannot be written before anything is run; raises ``UsageError``."""
        for path, ending in ((self.output, ".json"), (self.junit, ".xml"), (self.html, ".html"), (self.pdf, ".pdf")):
            if path is None:
                continue
            if path.suffix != ending:
                raise UsageError(f"{path}: give a name that ends in {ending}")
            if not path.parent.is_dir():
                raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
            _try(path)
        if self.html is not None or self.pdf is not None:
            from telemetry.report import need  # noqa: PLC0415 - the extra "report", and hours of work may lie before it

            need("numpy", "matplotlib", "jinja2", "reportlab")

    def write(self, run: Run) -> None:
        """Write everything that was asked for."""
        from telemetry.conform.junit import junit_xml  # noqa: PLC0415 - --help must not wait for it

        if self.output is not None:
            run.write(self.output)
        if self.junit is not None:
            try:
                self.junit.write_text(junit_xml(run), encoding="utf-8")
            except OSError as error:
                raise UsageError(f"--junit {self.junit}: cannot be written ({error.strerror})") from error
        for path in (self.html, self.pdf):
            if path is not None:
                _paper(run, path)


@command.command("run", short_help="Run the steps: of a programmer (--listen, --own), a device (URL), a subscriber.")
@click.argument("url", required=False, default="")
@click.option("--listen", default="", metavar="URL", help="Of a programmer: offer the kit's pump here.")
@click.option("--own", is_flag=True, help="Of our own programmer, in this process.")
@click.option("--subscriber", default="", metavar="URL", help="Of a subscriber to the broker at this URL.")
@click.option("--operator", default="", metavar="COMMAND", help="A program that operates it; else a person.")
@_file("--manifest", words="What the equipment is and claims (YAML).")
@click.option("--steps", multiple=True, metavar="STEPS", help="Only these: P-03,P-1* or groups; may be repeated.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@click.option("--arm", is_flag=True, help="Change the therapy of a device that is no simulated one.")
@_file("-o", "--output", words="Write the run to this file (JSON; 'telemetry conform render' reads it).")
@_file("--junit", words="Write JUnit XML to this file.")
@_file("--html", words="Write the report to this file.")
@_file("--pdf", words="Write the report to this file, to be signed.")
@_file("--capture", words="Record the link to this file (.telcap).")
@json_option
def run_command(**said: Any) -> int:  # noqa: ANN401 - one an option, by the names above
    """Run conformance steps.

    URL is a device under test. A programmer under test connects to --listen instead; --own tests our own in this
    process; --subscriber tests what listens to a broker.
    """
    given = {"URL": said["url"], "--listen": said["listen"], "--own": said["own"], "--subscriber": said["subscriber"]}
    asked = [name for name, value in given.items() if value]
    if len(asked) != 1:
        told = f"{' and '.join(asked)} are given" if asked else "nothing is given"
        raise UsageError(
            f"{told}: say one thing that is to be tested: URL (a device), --listen URL (a programmer), --own, or "
            "--subscriber URL"
        )
    if said["operator"] and not (said["listen"] or said["subscriber"]):
        raise UsageError(f"--operator {said['operator']}: only a programmer or a subscriber has an operator")
    if said["arm"] and not said["url"]:
        raise UsageError("--arm: it is for a device under test, which has a URL")
    if given["--listen"] or given["--subscriber"]:
        _need_operator(said["operator"])
    if said["capture"] is not None and not (given["URL"] or given["--listen"]):
        raise UsageError("--capture: this run has no link of its own to record; what was seen is in --output")
    as_json: bool = said["as_json"]
    outputs = Outputs(said["output"], said["junit"], said["html"], said["pdf"])
    outputs.check()
    wanted = Wanted(
        url=said["url"],
        listen=said["listen"],
        subscriber=said["subscriber"],
        operator=said["operator"],
        manifest=said["manifest"],
        patterns=tuple(part for text in said["steps"] for part in text.split(",") if part.strip()),
        seed=said["seed"],
        arm=said["arm"],
        capture=said["capture"],
        as_json=as_json,
    )
    run = asyncio.run(_run(wanted))
    outputs.write(run)
    if as_json:
        emit(telling.content(run))
    else:
        telling.summary(run, console())
    return Exit.DONE if run.passed else Exit.REFUSED


def _need_operator(operator: str) -> None:
    if not operator and not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked here (standard input is no terminal): give --operator COMMAND, a program that "
            "operates what is under test"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run."""

    url: str
    listen: str
    subscriber: str
    operator: str
    manifest: Path | None
    patterns: tuple[str, ...]
    seed: int
    arm: bool
    capture: Path | None
    as_json: bool

    def read(self, catalogue: AnyCatalogue) -> Manifest | None:
        """The manifest, if there is one."""
        from telemetry.conform.manifest import read_manifest  # noqa: PLC0415 - --help must not wait for it

        return None if self.manifest is None else read_manifest(self.manifest, catalogue)

    def recorded(self, url: str) -> str:
        """The URL with the capture in it."""
        if self.capture is None:
            return url
        from urllib.parse import quote  # noqa: PLC0415 - here only

        return f"{url}{'&' if '?' in url else '?'}record={quote(str(self.capture))}"


# A run is what 'telemetry conform' does when no other command is named: its help has the options too.
command.params.extend(option for option in run_command.params if isinstance(option, click.Option))


async def _run(wanted: Wanted) -> Run:
    screen = console(stderr=wanted.as_json)
    shared: dict[str, Any] = {
        "patterns": wanted.patterns,
        "seed": wanted.seed,
        "command": shlex.join(["telemetry", *sys.argv[1:]]),
        "on_result": lambda result: telling.progress(result, screen),
    }
    if wanted.url:
        from telemetry.conform.device import CATALOGUE, DeviceKit, run_device  # noqa: PLC0415 - as above

        kit = DeviceKit(url=wanted.recorded(wanted.url), seed=wanted.seed)
        return await run_device(kit, manifest=wanted.read(CATALOGUE), arm=wanted.arm, **shared)
    if wanted.subscriber:
        return await _subscriber(wanted, shared)
    from telemetry.conform.programmer.catalogue import programmer_steps  # noqa: PLC0415 - as above
    from telemetry.conform.programmer.running import run_own, run_served  # noqa: PLC0415 - as above

    said = wanted.read(programmer_steps())
    if wanted.listen:
        return await run_served(
            wanted.recorded(wanted.listen),
            wanted.operator,
            manifest=said,
            on_link=lambda link: note(f"SIMULATED pump at {link}: connect the programmer under test to it"),
            **shared,
        )
    return await run_own(manifest=said, **shared)


async def _subscriber(wanted: Wanted, shared: dict[str, Any]) -> Run:
    subscriber = _subscriber_module()
    manifest = wanted.read(subscriber.CATALOGUE)
    made: Run = await subscriber.run_subscriber(wanted.subscriber, wanted.operator, manifest=manifest, **shared)
    return made


def _subscriber_module() -> Any:  # noqa: ANN401 - a module whose libraries may be missing
    try:
        return import_module("telemetry.conform.subscriber")
    except ImportError as error:
        raise UsageError(
            f"steps of a subscriber need what is missing here ({error}); pip install 'itb-telemetry[mqtt]'"
        ) from error


@command.command("list", short_help="Every step with its number, title and source.")
@click.argument("pattern", nargs=-1)
@json_option
def list_command(pattern: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """List the steps; PATTERN is a number such as P-03 or P-1*, or a group."""
    catalogues = [catalogue for catalogue in _catalogues() if not pattern or _fits(catalogue, pattern)]
    if not catalogues:
        raise UsageError(f"no step fits {' '.join(pattern)}; 'telemetry conform list' has them all")
    if as_json:
        emit({"simulated": True, "subjects": [_declared(catalogue, pattern) for catalogue in catalogues]})
        return
    for catalogue in catalogues:
        shown = table(f"{SIMULATED} steps of a {catalogue.subject}", "", "title and sources", "group", "needs")
        for step in _fits(catalogue, pattern):
            sources = ", ".join(str(source) for source in step.sources)
            shown.add_row(step.number, f"{step.title}\n[dim]{sources}[/]", step.group, ", ".join(step.claims))
        console().print(shown)


@command.command("render", short_help="Make the report of a run file: PDF or HTML.")
@click.argument("run", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="*.pdf, *.html, *.xml (JUnit).",
)
def render_command(run: Path, output: Path) -> None:
    """Make a report of a run that --output has kept."""
    from telemetry.conform.results import read_run  # noqa: PLC0415 - as above

    read = read_run(run)
    if output.suffix == ".xml":
        Outputs(None, output, None, None).write(read)
    else:
        _paper(read, output)
    console().print(f"written: {output}", markup=False)


@command.command("schema", short_help="Print the JSON schema of manifests, or of runs.")
@click.argument("what", type=click.Choice(["manifest", "run"]), default="manifest")
def schema_command(what: str) -> None:
    """Print a JSON schema (for editors and other programs)."""
    from telemetry.conform import manifest, results  # noqa: PLC0415 - as above

    click.echo(manifest.published_schema() if what == "manifest" else results.published_schema(), nl=False)


@command.command("self-test", short_help="Qualify the kit: equipment that is wrong on purpose must be caught.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@json_option
def self_test_command(seed: int, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Run every deliberately bad programmer and device; each must be caught by the step that names its fault."""
    from telemetry.cli.qualifying import run_self_test  # noqa: PLC0415 - as above

    return run_self_test(seed=seed, as_json=as_json)


def _paper(run: Run, path: Path) -> None:
    from telemetry.conform.paper import write  # noqa: PLC0415 - the extra "report"

    write(run, path)


def _catalogues() -> list[AnyCatalogue]:
    from telemetry.conform.device import CATALOGUE  # noqa: PLC0415 - as above
    from telemetry.conform.programmer.catalogue import programmer_steps  # noqa: PLC0415 - as above

    found: list[AnyCatalogue] = [programmer_steps(), CATALOGUE]
    try:
        found.append(_subscriber_module().CATALOGUE)
    except UsageError as error:
        note(f"telemetry: {error}")
    return found


def _fits(catalogue: AnyCatalogue, patterns: tuple[str, ...]) -> tuple[Any, ...]:
    try:
        return catalogue.select(patterns)
    except UsageError:
        return ()


def _declared(catalogue: AnyCatalogue, patterns: tuple[str, ...]) -> dict[str, object]:
    return {
        "subject": str(catalogue.subject),
        "features": catalogue.features,
        "steps": [
            {
                "number": step.number,
                "group": step.group,
                "title": step.title,
                "purpose": step.purpose,
                "stimulus": step.stimulus,
                "expected": step.expected,
                "sources": [str(source) for source in step.sources],
                "claims": list(step.claims),
            }
            for step in _fits(catalogue, patterns)
        ],
    }

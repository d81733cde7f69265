"""``telemetry flow measure`` and ``weigh``: a balance on a cable."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.failures import Exit
from telemetry.cli.flow_options import PROTOCOLS, correction_options, marked, plan_of, plan_options, result_json, tell
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.flow.client import Balance
    from telemetry.flow.document import FlowRun, MeasuredPump
    from telemetry.flow.measuring import Measurement, Plan
    from telemetry.flow.streams import DoorStream, Stream
    from telemetry.transport.base import Receiver, Transport

_SAVE_EVERY = 20
_ANY_SIMULATOR = "auto"
_protocol = click.option(
    "--protocol", type=click.Choice(["auto", *PROTOCOLS]), default="auto", show_default=True, help="What it speaks."
)


@click.command(short_help="Read a balance for hours and keep what it says.")
@click.argument("url")
@click.option("--rate", metavar="RATE", help="The set rate. [default: what the pump of --pump says]")
@plan_options
@correction_options
@_protocol
@click.option("--drop", metavar="VOLUME", help="Volume of a drop, when the tip hangs free. [default: it is submerged]")
@click.option("--no-flow", is_flag=True, help="A blank run: no pump, only what the beaker loses by itself.")
@click.option("--pump", metavar="URL", help="A running simulator, for its time and truth; 'auto': the only one.")
@click.option("--drive", is_flag=True, help="With --pump: let its time jump from reading to reading.")
@click.option("--patience", default="4 h", show_default=True, metavar="SPAN", help="End after so long without reading.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to keep it: x.flow.json.")
@json_option
def measure(url: str, output: Path | None, as_json: bool, **given: Any) -> int:  # noqa: ANN401, FBT001 - click's
    """Read the balance at URL once an interval, and keep every reading and every gap in FILE.

    Put the tip of the catheter under the surface of the water in the beaker, a little oil upon it, and let everything
    warm up for an hour. Ctrl-C ends the measurement and keeps it. With --pump the time is the simulator's.
    """
    place = _need_output(output)
    patience_ms, drop_nl = _parsed(given)
    _need_report_library()
    run = asyncio.run(_measure(url, place, given, patience_ms, drop_nl))
    if as_json:
        emit({**result_json(run), "files": [str(place)]})
    else:
        screen = console()
        tell(screen, run)
        screen.print(f"{marked(run)} kept in {place}", soft_wrap=True)
    if run.ended and not run.ended.startswith("interrupted"):
        note(f"telemetry: the measurement ended early: {run.ended}")
        return Exit.LINK
    return Exit.DONE


def _need_output(output: Path | None) -> Path:
    from telemetry.flow.document import SUFFIX  # noqa: PLC0415 - --help must not wait for it

    if output is None:
        raise click.UsageError(f"-o FILE is missing: run{SUFFIX}")
    if not output.name.endswith(SUFFIX):
        raise UsageError(f"-o: {output} must end in {SUFFIX}; 'telemetry flow report' makes pages and pictures of it")
    if not output.parent.is_dir():
        raise UsageError(f"-o: {output.parent} is no folder")
    return output


def _need_report_library() -> None:
    from telemetry.report import need  # noqa: PLC0415 - as above

    need("numpy")


def _parsed(given: dict[str, Any]) -> tuple[int, int]:
    from telemetry.units import Duration, Volume  # noqa: PLC0415 - as above

    if given["drive"] and given["pump"] is None:
        raise UsageError("--drive: only a simulator's time can be made to jump; say which with --pump")
    if given["rate"] is None and given["pump"] is None and not given["no_flow"]:
        raise UsageError("--rate: say what the pump is set to, as in --rate '0.5 ml/day'")
    drop_nl = 0 if given["drop"] is None else Volume.parse(given["drop"]).nl
    return Duration.parse(given["patience"]).ms, drop_nl


async def _measure(url: str, place: Path, given: dict[str, Any], patience_ms: int, drop_nl: int) -> FlowRun:
    from telemetry.clock import SystemClock, host_utc_ms  # noqa: PLC0415 - as above
    from telemetry.flow.measuring import Measurement  # noqa: PLC0415 - as above

    clock = SystemClock()
    stream, pump, believed = await _stream(given, clock)
    plan = plan_of(
        given,
        rate_nl_per_day=_rate(given, believed),
        no_flow=given["no_flow"],
        drop_nl=drop_nl,
        patience_ms=patience_ms,
    )
    balance = _balance(url, given["protocol"], clock)
    async with balance:
        progress = _Progress(plan, place)
        work = Measurement(balance, stream, plan, pump=pump, started_utc_ms=host_utc_ms(), each=progress.sampled)
        run = await _until_interrupted(work)
    run.write(place)
    return run


async def _until_interrupted(work: Measurement) -> FlowRun:
    """All samples, or those taken when somebody ends it."""
    task = asyncio.ensure_future(work.take())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if not work.count:
            raise KeyboardInterrupt from None
        work.end("interrupted")
        return work.run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _balance(url: str, protocol: str, clock: Any) -> Balance:  # noqa: ANN401 - a clock
    from telemetry.flow.client import Balance  # noqa: PLC0415 - as above
    from telemetry.flow.dialects import dialect_named  # noqa: PLC0415 - as above
    from telemetry.transport.registry import open_transport  # noqa: PLC0415 - as above
    from telemetry.transport.url import parse_url  # noqa: PLC0415 - as above

    parse_url(url)

    async def opener(receiver: Receiver) -> Transport:
        return await open_transport(url, receiver, clock=clock)

    return Balance(opener, clock, None if protocol == "auto" else dialect_named(protocol))


async def _stream(given: dict[str, Any], clock: Any) -> tuple[Stream, MeasuredPump | None, int | None]:  # noqa: ANN401
    """Time of the host or of a simulator; of that also who it is and the rate it believes in, nl/day."""
    from telemetry.flow.document import MeasuredPump  # noqa: PLC0415 - as above
    from telemetry.flow.streams import HostStream  # noqa: PLC0415 - as above

    if given["pump"] is None:
        return HostStream(clock), None, None
    door_stream, believed = await door(given["pump"], clock, drive=given["drive"])
    pump = MeasuredPump(model=door_stream.model, serial=door_stream.serial, speed=door_stream.speed)
    return door_stream, pump, believed


async def door(url: str, clock: Any, *, drive: bool = False) -> tuple[DoorStream, int | None]:  # noqa: ANN401 - a clock
    """The back door of a running simulator, looked through once; and the rate that its pump believes in, nl/day."""
    from telemetry.cli.back_door import ask, choose  # noqa: PLC0415 - as above
    from telemetry.flow.streams import DoorStream  # noqa: PLC0415 - as above

    simulator = choose("" if url == _ANY_SIMULATOR else url)
    made = DoorStream(partial(ask, simulator), clock, drive=drive)
    await made.look()
    return made, made.believed_nl_per_day


def _rate(given: dict[str, Any], believed: int | None) -> int:
    from telemetry.units import FlowRate  # noqa: PLC0415 - as above

    if given["no_flow"]:
        return 0
    if given["rate"] is None:
        return believed or 0
    said = FlowRate.parse(given["rate"]).nl_per_day
    if believed is not None and believed != said:
        raise UsageError(
            f"--rate: {said / 1e6:g} ml/day, but the pump is set to {believed / 1e6:g} ml/day; set it with "
            f"'telemetry set-rate', or leave --rate out"
        )
    return said


class _Progress:
    """Keeps the file up to date, and tells a person now and then how far it is."""

    def __init__(self, plan: Plan, place: Path) -> None:
        self._plan = plan
        self._place = place
        self._marks = 0

    def sampled(self, work: Measurement) -> None:
        """After each sample."""
        marks = work.marks[self._marks :]
        self._marks += len(marks)
        for one in marks:
            note(f"telemetry: sample {work.count} of {self._plan.samples + 1}: {one.kind}: {one.text}")
        if work.count % _SAVE_EVERY == 0:
            work.run().write(self._place)
        tenth = max(1, self._plan.samples // 10)
        if work.count == 1 or work.count % tenth == 0:
            note(f"telemetry: sample {work.count} of {self._plan.samples + 1}: {work.last}")


@click.command(short_help="Ask a balance who it is and what lies on it.")
@click.argument("url")
@_protocol
@json_option
def weigh(url: str, protocol: str, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Ask the balance at URL who it is and what lies on it: whether cable, baud rate and protocol are right."""
    facts = asyncio.run(_weigh(url, protocol))
    outcome = str(facts["outcome"])
    if as_json:
        emit(facts)
    else:
        screen = console()
        mark = SIMULATED if facts["simulated"] else ""
        who = ", ".join(f"{name} {text}" for name, text in facts.items() if name in {"model", "serial", "software"})
        screen.print(
            f"{mark} {who or 'a balance that does not say who it is'} ({facts['protocol']})".strip(), soft_wrap=True
        )
        mass = facts["mass_ng"]
        shown = f"{mass / 1e6:,.4f} mg, {outcome}" if isinstance(mass, int) else f"{outcome} {facts['text']}".strip()
        screen.print(shown, markup=False, soft_wrap=True)
    return Exit.DONE if facts["mass_ng"] is not None else Exit.LINK


async def _weigh(url: str, protocol: str) -> dict[str, object]:
    from telemetry.clock import SystemClock  # noqa: PLC0415 - as above
    from telemetry.flow.lines import Outcome  # noqa: PLC0415 - as above

    async with _balance(url, protocol, SystemClock()) as balance:
        identity = await balance.identify()
        line = await balance.read()
    mass = line.mass_ng
    text = "" if mass is not None else line.text
    if line.outcome is Outcome.SILENT and protocol != "auto":
        text += f"; it may speak another protocol than {protocol}: say --protocol auto"
    return {
        "simulated": identity.simulated,
        "protocol": identity.protocol,
        **identity.facts,
        "outcome": line.outcome.value,
        "mass_ng": mass,
        "step_ng": line.step_ng,
        "text": text,
    }

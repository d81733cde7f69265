"""``telemetry flow sim`` and ``balance``: the bench with virtual parts. SIMULATED."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from telemetry.cli.connecting import json_option
from telemetry.cli.flow_measure import door
from telemetry.cli.flow_options import (
    PROTOCOLS,
    correction_options,
    marked,
    options,
    plan_of,
    plan_options,
    result_json,
    tell,
)
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.clock import ScaledClock
    from telemetry.flow.document import FlowRun, MeasuredPump
    from telemetry.flow.scale import Mishap, ScaleSettings
    from telemetry.flow.simulating import PumpSettings
    from telemetry.flow.streams import Stream

DEFAULT_LISTENERS = ("pty:", "tcp://127.0.0.1:7420")
_RATE = "0.48 ml/day"
_pump_options = options(
    click.option("--profile", metavar="NAME", help="Pump family or .toml file. [default: itb-40]"),
    click.option("--rate", metavar="RATE", help=f"Its set rate. [default: {_RATE}]"),
    click.option("--rate-error", metavar="SHARE", help="What it gives too much, as in '6 %'. [default: the profile's]"),
    click.option("--cyclic-error", metavar="SHARE", help="Height of a sine upon that, as in '2 %'."),
    click.option("--cycle", metavar="SPAN", help="One turn of that sine, at the set rate."),
    click.option("--stroke", metavar="VOLUME", help="What one stroke gives. [default: the profile's]"),
)
_scale_options = options(
    click.option("--protocol", type=click.Choice(PROTOCOLS), default="sics", show_default=True, help="It speaks this."),
    click.option("--resolution", default="0.1 mg", show_default=True, metavar="MASS", help="Worth of its last digit."),
    click.option("--noise", default="0 mg", show_default=True, metavar="MASS", help="Standard deviation of vibration."),
    click.option("--evaporates", default="0 mg/h", show_default=True, metavar="LOSS", help="What truly evaporates."),
    click.option("--oil", is_flag=True, help="A layer of oil on the water: 2 % of the evaporation is left."),
    click.option("--drift", default="0 mg/h", show_default=True, metavar="LOSS", help="Its zero wanders off so fast."),
    click.option(
        "--warmth", default="0 K", show_default=True, metavar="TEMP", help="The room warms and cools by this."
    ),
    click.option("--slams", type=click.IntRange(0, 24), default=0, show_default=True, help="Doors that slam, a day."),
    click.option("--drops", metavar="VOLUME", help="The tip hangs free: whole drops fall. [default: it is submerged]"),
    click.option("--tip", metavar="LENGTH", help="The same by the tip's outer diameter, as in '1.4 mm'."),
    click.option("--liquid", default="0.9982 g/ml", show_default=True, metavar="DENSITY", help="What truly flows."),
    click.option("--mishap", "mishaps", multiple=True, metavar="WHAT", help="tare@6h, silent@20h+2h, … (repeatable)."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is drawn."),
)


@click.command(short_help="The whole bench with virtual parts, on virtual time.")
@_pump_options
@plan_options
@_scale_options
@correction_options
@click.option("--blank-run", metavar="SPAN", help="First measure so long without flow, and correct by that.")
@click.option("--no-flow", is_flag=True, help="A blank run: the pump stands still.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help=".flow.json, .html, .pdf, .png, .csv"
)
@json_option
def sim(output: Path | None, as_json: bool, **given: Any) -> None:  # noqa: ANN401, FBT001 - click's
    """Measure a virtual pump with a virtual balance: days in a second, and the truth beside the measurement.

    SIMULATED. Everything follows from the options and the seed: the same command makes the same file.
    """
    from telemetry.report import need  # noqa: PLC0415 - --help must not wait for it

    need("numpy")
    run = _simulated(given)
    if output is not None:
        from telemetry.flow.reporting import write  # noqa: PLC0415 - as above

        write(run, output)
    if as_json:
        emit({**result_json(run), "files": [] if output is None else [str(output)]})
        return
    screen = console()
    tell(screen, run)
    if output is not None:
        screen.print(f"{marked(run)} kept in {output}", soft_wrap=True)


def _simulated(given: dict[str, Any]) -> FlowRun:
    from dataclasses import replace  # noqa: PLC0415 - as above

    from telemetry.flow.analysis import blank_of  # noqa: PLC0415 - as above
    from telemetry.flow.simulating import simulate  # noqa: PLC0415 - as above
    from telemetry.units import Duration  # noqa: PLC0415 - as above

    scale, mishaps = _scale(given), _mishaps(given)
    pump = _pump(given)
    plan = plan_of(given, rate_nl_per_day=pump.rate_nl_per_day, no_flow=given["no_flow"], drop_nl=scale.drop_nl)
    if given["blank_run"] is not None:
        if given["blank"] is not None or given["evaporation"] is not None:
            raise UsageError("--blank-run: it says what is lost; leave --blank and --evaporation out")
        span_ms = Duration.parse(given["blank_run"]).ms
        first = replace(plan, kind="blank", samples=span_ms // plan.every_ms, rate_nl_per_day=0, bolus_nl=None)
        blank = blank_of(
            asyncio.run(simulate(first, pump, replace(scale, seed=scale.seed + 1), protocol=given["protocol"]))
        )
        from msgspec.structs import replace as with_fields  # noqa: PLC0415 - as above

        plan = replace(
            plan,
            corrections=with_fields(
                plan.corrections,
                loss_ng_per_h=blank.loss_ng_per_h,
                loss_uncertainty_ng_per_h=blank.uncertainty_ng_per_h,
                loss_source=f"blank run of {blank.hours:.3g} h",
                repeatability_ng=max(plan.corrections.repeatability_ng, blank.repeatability_ng),
            ),
        )
    length_ms = plan.samples * plan.every_ms
    for text, mishap in zip(given["mishaps"], mishaps, strict=True):
        if mishap.at_ms > length_ms:
            raise UsageError(
                f"--mishap: {text!r} comes after the last reading, at {length_ms / 3_600_000:g} h; measure longer "
                "(--hours) or leave it out"
            )
    return asyncio.run(simulate(plan, pump, scale, protocol=given["protocol"], mishaps=mishaps))


def _pump(given: dict[str, Any]) -> PumpSettings:
    from telemetry.flow.amounts import parse_share_ppm  # noqa: PLC0415 - as above
    from telemetry.flow.simulating import PumpSettings  # noqa: PLC0415 - as above
    from telemetry.units import Duration, FlowRate, Volume  # noqa: PLC0415 - as above

    cyclic = 0 if given["cyclic_error"] is None else parse_share_ppm("--cyclic-error", given["cyclic_error"])
    if bool(cyclic) != (given["cycle"] is not None):
        raise UsageError("--cycle: a cyclic error has a height and a length: --cyclic-error '2 %' --cycle '12 h'")
    stroke_nl = None if given["stroke"] is None else Volume.parse(given["stroke"]).nl
    if stroke_nl == 0:
        raise UsageError("--stroke: 0 nl is no stroke; leave it out for the profile's")
    return PumpSettings(
        profile=given["profile"] or "itb-40",
        rate_nl_per_day=FlowRate.parse(given["rate"] or _RATE).nl_per_day,
        seed=given["seed"],
        rate_error_ppm=None if given["rate_error"] is None else parse_share_ppm("--rate-error", given["rate_error"]),
        cyclic_error_ppm=cyclic,
        cycle_ms=0 if given["cycle"] is None else Duration.parse(given["cycle"]).ms,
        stroke_nl=stroke_nl,
    )


def _scale(given: dict[str, Any]) -> ScaleSettings:
    from telemetry.flow.amounts import DENSITY, LENGTH, LOSS, MASS, WARMTH, parse_amount  # noqa: PLC0415 - as above
    from telemetry.flow.scale import ScaleSettings, drop_volume_nl  # noqa: PLC0415 - as above
    from telemetry.units import Volume  # noqa: PLC0415 - as above

    if given["drops"] is not None and given["tip"] is not None:
        raise UsageError("--tip: it says how large a drop is, and so does --drops; leave one out")
    drop_nl = 0 if given["drops"] is None else Volume.parse(given["drops"]).nl
    if given["tip"] is not None:
        drop_nl = drop_volume_nl(parse_amount("--tip", given["tip"], LENGTH))
    return ScaleSettings(
        step_ng=parse_amount("--resolution", given["resolution"], MASS),
        density_ug_per_ml=parse_amount("--liquid", given["liquid"], DENSITY),
        drop_nl=drop_nl,
        evaporation_ng_per_h=parse_amount("--evaporates", given["evaporates"], LOSS),
        oil=given["oil"],
        drift_ng_per_h=parse_amount("--drift", given["drift"], LOSS),
        temperature_mk=parse_amount("--warmth", given["warmth"], WARMTH, most=20_000),
        noise_ng=parse_amount("--noise", given["noise"], MASS, most=10**9),
        slams_per_day=given["slams"],
        seed=given["seed"],
    )


def _mishaps(given: dict[str, Any]) -> tuple[Mishap, ...]:
    from telemetry.flow.scale import parse_mishap  # noqa: PLC0415 - as above

    return tuple(parse_mishap(text) for text in given["mishaps"])


@click.command(short_help="Serve a virtual balance until Ctrl-C.")
@click.option("--listen", multiple=True, metavar="URL", help="Where to offer it (repeatable).")
@click.option("--pump", metavar="URL", help="Weigh what a running simulator gives; 'auto': the only one.")
@_pump_options
@click.option("--speed", default="1", show_default=True, metavar="X", help="Without --pump: pace of the pump's time.")
@_scale_options
@json_option
def balance(listen: tuple[str, ...], pump: str | None, speed: str, as_json: bool, **given: Any) -> None:  # noqa: ANN401, FBT001
    """Serve a virtual balance with a beaker under the tip of a virtual pump until Ctrl-C. SIMULATED.

    The pump is one of its own, or with --pump a running 'telemetry sim', whose true delivery it weighs.
    """
    if pump is not None:
        own = ("profile", "rate", "rate_error", "cyclic_error", "cycle", "stroke")
        for name in own:
            if given[name] is not None:
                raise UsageError(f"--{name.replace('_', '-')}: the pump is the simulator's; leave it or --pump out")
        if speed != "1":
            raise UsageError("--speed: the time is the simulator's; leave it or --pump out")
    asyncio.run(_serve(listen or DEFAULT_LISTENERS, pump, speed, given, as_json=as_json))


async def _serve(
    listen_at: tuple[str, ...], pump: str | None, speed: str, given: dict[str, Any], *, as_json: bool
) -> None:
    from telemetry.clock import ScaledClock  # noqa: PLC0415 - as above
    from telemetry.flow.scale import Scale  # noqa: PLC0415 - as above
    from telemetry.flow.serving import ScaleServer  # noqa: PLC0415 - as above
    from telemetry.flow.streams import need_truth  # noqa: PLC0415 - as above
    from telemetry.transport.registry import listen  # noqa: PLC0415 - as above

    clock = ScaledClock(speed=speed)
    stream, who = await _source(pump, clock, given)
    start = await need_truth(stream)
    scale = Scale(_scale(given), start_ms=start.at_ms, start_nl=start.truth_nl or 0, mishaps=_mishaps(given))
    server = ScaleServer(scale, stream, clock, given["protocol"], on_problem=_Told().tell)
    listeners = []
    stop = _signalled()  # before anybody can know that there is something to end
    try:
        for url in listen_at:
            listeners.append(await listen(url, server.accept, clock=clock))  # noqa: PERF401 - what was opened is closed
        urls = [listener.url for listener in listeners]
        if as_json:
            emit(
                {
                    "simulated": True,
                    "urls": urls,
                    "protocol": given["protocol"],
                    "model": who.model,
                    "serial": who.serial,
                }
            )
        else:
            _panel(urls, given["protocol"], who)
        await stop.wait()
    finally:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
        for listener in listeners:
            await listener.close()
        await server.close()


async def _source(pump: str | None, clock: ScaledClock, given: dict[str, Any]) -> tuple[Stream, MeasuredPump]:
    from telemetry.flow.document import MeasuredPump  # noqa: PLC0415 - as above
    from telemetry.flow.simulating import bench_pump, pump_record  # noqa: PLC0415 - as above
    from telemetry.flow.streams import PumpStream  # noqa: PLC0415 - as above

    if pump is None:
        device, _ = bench_pump(_pump(given), clock)
        return PumpStream(device), pump_record(device)
    made, _ = await door(pump, clock)
    return made, MeasuredPump(model=made.model, serial=made.serial)


def _panel(urls: list[str], protocol: str, who: MeasuredPump) -> None:
    screen = console()
    screen.print(
        f"{SIMULATED} a balance that speaks {protocol}, a beaker under the tip of {who.model}, serial {who.serial}"
    )
    for url in urls:
        screen.print(f"  [bold cyan]{url}[/]", soft_wrap=True)
    screen.print("Type in another terminal")
    screen.print(f"  [green]telemetry flow weigh {urls[-1]}[/]", soft_wrap=True)
    screen.print("[dim]Ctrl-C ends it.[/]")


class _Told:
    """Tells a problem once, not at every reading."""

    def __init__(self) -> None:
        self._last = ""

    def tell(self, text: str) -> None:
        """On standard error."""
        if text != self._last:
            self._last = text
            note(f"telemetry: {text}")


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _signalled() -> asyncio.Event:
    """What is set when somebody ends the command."""
    stop = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop

"""``telemetry sim``: serve a virtual telemeter over a virtual pump until Ctrl-C."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry.cli import words
from telemetry.cli.output import console, emit
from telemetry.clock import host_utc_s
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.model import PumpEvent
    from telemetry.sim.serving import Simulator, SimulatorSettings

_PPM = 1_000_000
_BANNER = (
    "█▀▀ █ █▄ ▄█ █ █ █   ▄▀▄ ▀█▀ █▀▀ █▀▄",
    "▀▀█ █ █ ▀ █ █ █ █   █▀█  █  █▀▀ █ █",
    "▀▀▀ ▀ ▀   ▀ ▀▀▀ ▀▀▀ ▀ ▀  ▀  ▀▀▀ ▀▀ ",
)
_EPILOG = """\b
Examples:
  telemetry sim                                     a pseudo-terminal and tcp://127.0.0.1:7410
  telemetry sim --listen pty:///tmp/pump            a port with a name of its own
  telemetry sim --listen tcp://127.0.0.1:0          any free port
  telemetry sim --listen mqtt://127.0.0.1:1883/bench/telemeter-0001     two topics of a broker that runs
  telemetry sim --profile itb-20 --speed 1000       a 20 ml pump that lives 1000 times as fast
  telemetry sim --age ERI-1d                        a pump that asks for its replacement tomorrow
  telemetry sim --age shelf --serial SIM-0002       one that was never filled ('telemetry implant')
  telemetry sim --state pump.json                   goes on where it was, even after kill -9
  telemetry sim --loss 0.05 --delay 40              a poor near field: 5 % of frames lost, 40 ms delay

\b
Listeners: pty:, pty:///path/of/link, tcp://127.0.0.1:PORT, serial:///dev/ttyS1, rfc2217://127.0.0.1:PORT,
mqtt://HOST:PORT/TOPIC.
With '?record=FILE.telcap' a listener records its traffic ('telemetry decode FILE.telcap'); with '?baud=1200' it is
as slow as such a line.
"""


@click.command(epilog=_EPILOG)
@click.option("--listen", multiple=True, metavar="URL", help="Where to offer the device (repeatable).")
@click.option(
    "--profile", metavar="NAME", help="Pump family (telemetry profile list) or a .toml file. [default: itb-40]"
)
@click.option("--age", metavar="AGE", help="Begin as old as this: shelf, 'day 1', mid-life, ERI-1d, ERI+89d, EOS, 3y.")
@click.option("--serial", metavar="TEXT", help="Serial number. [default: SIM-0001]")
@click.option("--seed", type=click.IntRange(min=0), help="Make everything random repeatable. [default: the system's]")
@click.option(
    "--speed", default="1", show_default=True, metavar="X", help="Pace of therapy time: 1000, 1/2, 0 (frozen)."
)
@click.option("--state", type=click.Path(path_type=Path), help="Go on with the pump in this file; made when missing.")
@click.option(
    "--control", default="http://127.0.0.1:0", show_default=True, metavar="URL", help="The back door, or 'none'."
)
@click.option(
    "--loss", default="0", show_default=True, metavar="SHARE", help="Near field: share of frames lost, 0 to 1."
)
@click.option("--delay", type=click.IntRange(0, 60_000), default=0, show_default=True, help="Near field: ms a frame.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines: one with the URLs, then one for each event.")
def command(  # noqa: PLR0913, PLR0917 - one a command-line option, passed by name
    listen: tuple[str, ...],
    profile: str | None,
    age: str | None,
    serial: str | None,
    seed: int | None,
    speed: str,
    state: Path | None,
    control: str,
    loss: str,
    delay: int,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Serve a virtual telemeter over a virtual pump until Ctrl-C.

    SIMULATED: not for clinical use. Prints where it is to be reached and, from then on, one line for each event of
    the pump. Listens on this machine only.
    """
    from telemetry.sim.nearfield import NearFieldSettings  # noqa: PLC0415 - --help must not wait for it
    from telemetry.sim.serving import DEFAULT_LISTENERS, SimulatorSettings  # noqa: PLC0415 - as above

    settings = SimulatorSettings(
        listen=listen or DEFAULT_LISTENERS,
        profile=profile,
        seed=seed,
        speed=speed,
        state=state,
        control=None if control == "none" else control,
        near_field=NearFieldSettings(loss_ppm=parse_share_ppm(loss), delay_ms=delay),
        age=age,
        serial=serial,
    )
    asyncio.run(_serve(settings, as_json=as_json))


def parse_share_ppm(text: str) -> int:
    """A share between 0 and 1 with at most six decimals, as parts per million; raises ``UsageError``."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdecimal() or not whole.isascii() or not fraction.isascii() or len(fraction) > 6:
        raise UsageError(f"--loss {text}: it is no share such as 0.05 (at most six decimals)")
    ppm = int(whole) * _PPM + int(fraction.ljust(6, "0"))
    if ppm > _PPM:
        raise UsageError(f"--loss {text}: it is outside 0 to 1; 0.05 loses 5 % of the frames")
    return ppm


async def _serve(settings: SimulatorSettings, *, as_json: bool) -> None:
    from telemetry.sim.serving import Simulator  # noqa: PLC0415 - as above

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    failures: list[BaseException] = []

    def defect(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        failures.append(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))
        stop.set()

    loop.set_exception_handler(defect)
    out = _Lines(as_json=as_json)
    simulator = Simulator(settings, on_event=out.event, on_problem=_problem)
    try:
        async with simulator:
            out.begin(simulator)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
    if failures:
        raise failures[0]
    out.end(simulator)


def _problem(text: str) -> None:
    click.echo(f"telemetry: {text}", err=True)


class _Lines:
    """What the terminal shows: the panel first, then one line for each event."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._epoch_utc_s: int | None = None
        self._early: list[PumpEvent] = []
        self._screen = console()

    def begin(self, simulator: Simulator) -> None:
        """Say what it is and how to talk to it."""
        who = simulator.pump.device.identity()
        self._epoch_utc_s = who.epoch_utc_s
        if self._as_json:
            emit(
                {
                    "simulated": True,
                    "model": who.model,
                    "serial": who.serial,
                    "urls": list(simulator.urls),
                    "control_url": simulator.control_url,
                    "epoch_utc_s": who.epoch_utc_s,
                    "now_ms": simulator.pump.now_ms,
                    "resumed": simulator.resumed,
                }
            )
        else:
            self._panel(simulator)
        early, self._early = self._early, []
        for event in early:
            self.event(event)

    def _panel(self, simulator: Simulator) -> None:
        from rich import box  # noqa: PLC0415 - with --json nothing of rich is needed
        from rich.panel import Panel  # noqa: PLC0415 - as above

        pump, screen = simulator.pump, self._screen
        who, status = pump.device.identity(), pump.status
        drug = f"{status.drug.value} {words.concentration(status.concentration_ng_per_ml)}"
        lines = [f"[bold yellow]{line}[/]" for line in _BANNER]
        went_on = f", going on at {words.pump_time(pump.now_ms)}" if simulator.resumed else ""
        lines += [
            "[bold]not a medical device, not for clinical use[/]",
            "",
            f"{who.model.removeprefix('SIMULATED ')} pump, serial {who.serial}{went_on}",
            f"{words.volume(status.reservoir_nl)} {drug}, {words.therapy_now(status)}",
            f"therapy time runs at speed {simulator.settings.speed}",
        ]
        screen.print(Panel("\n".join(lines), box=box.HEAVY, border_style="yellow", expand=False, padding=(0, 2)))
        name = _command_name()
        first, last = simulator.urls[0], simulator.urls[-1]
        screen.print("Reach it at")
        for url in simulator.urls:
            screen.print(f"  [bold cyan]{url}[/]", soft_wrap=True)
        screen.print("Type in another terminal")
        typed = [f"{name} read {first} status", f'{name} set-rate {last} "0.200 ml/day"']
        if simulator.control_url:
            typed.append(f"{name} control advance --days 190")
        for line in typed:
            screen.print(f"  [green]{line}[/]", soft_wrap=True)
        screen.print("[dim]Ctrl-C ends it. From here on: what happens in the pump.[/]")
        sys.stdout.flush()

    def event(self, event: PumpEvent) -> None:
        """One line for one event; those before the panel wait for it."""
        epoch_utc_s = self._epoch_utc_s
        if epoch_utc_s is None:
            self._early.append(event)
            return
        if self._as_json:
            emit(
                {
                    "simulated": True,
                    "at_ms": event.at_ms,
                    "at_utc": words.iso(event.at_ms, epoch_utc_s),
                    "kind": event.kind,
                    "detail": event.detail,
                }
            )
        else:
            moment = f"[dim]{words.host_moment(host_utc_s())}[/]  {words.pump_time(event.at_ms)}"
            self._screen.print(f"{moment}  {words.event(event)}", soft_wrap=True)
        sys.stdout.flush()

    def end(self, simulator: Simulator) -> None:
        """Say that everything is put away."""
        if self._as_json:
            return
        kept = f"; the pump is kept in {simulator.settings.state}" if simulator.settings.state else ""
        self._screen.print(f"Ended at {words.pump_time(simulator.pump.now_ms)}{kept}.", soft_wrap=True)


def _command_name() -> str:
    """How this command is typed here: by its name when the shell finds it, else by the path it was started with."""
    mine = Path(sys.argv[0])
    found = shutil.which("telemetry")
    if found is not None and mine.exists() and Path(found).resolve() == mine.resolve():
        return "telemetry"
    if mine.name != "telemetry":
        return f"{sys.executable} -m telemetry"
    here = Path.cwd()
    return str(mine.relative_to(here)) if mine.is_absolute() and mine.is_relative_to(here) else str(mine)

"""What ``telemetry control`` does to a pump besides letting time pass: needle, surroundings, button, memory."""

from __future__ import annotations

from typing import Any

import click

from telemetry.cli import words
from telemetry.cli.back_door import ask, choose
from telemetry.cli.connecting import json_option
from telemetry.cli.output import SIMULATED, console, emit
from telemetry.errors import UsageError
from telemetry.model import PumpEvent

_DECIDEGREES = 10


def _do(act: str, body: dict[str, Any], *, as_json: bool) -> dict[str, Any] | None:
    """Ask the simulator; the answer, or None when it was written as JSON."""
    url = str(click.get_current_context().meta["telemetry.control.url"])
    found = ask(choose(url), "POST", f"/v1/{act}", {name: value for name, value in body.items() if value is not None})
    if as_json:
        emit(found)
        return None
    return found


def _tell(found: dict[str, Any], text: str) -> None:
    screen = console()
    screen.print(f"{SIMULATED} {text}")
    for one in found["events"]:
        event = PumpEvent(one["at_ms"], one["kind"], one["detail"])
        screen.print(f"{words.pump_time(event.at_ms)}  {words.event(event)}")


@click.command(short_help="The needle alone: withdraw, fill, refill, or a new catheter.")
@click.argument("act", type=click.Choice(["withdraw", "fill", "refill", "replace-catheter"]))
@click.argument("volume", required=False)
@click.option("--concentration", metavar="C", help="What the syringe holds. [default: what the pump was told]")
@click.option(
    "--into",
    type=click.Choice(["reservoir", "pocket", "side_port"]),
    help="Where the needle of a 'fill' is. [default: reservoir]",
)
@json_option
def needle(act: str, volume: str | None, concentration: str | None, into: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Do something with a needle, past the tablet: the pump is told nothing, except by 'refill'.

    Without a VOLUME all is withdrawn, a refill is full, and a new catheter is as large as the old one.
    """
    body = {
        "act": act.replace("-", "_"),
        "volume": volume,
        "concentration": concentration,
        "into": into,
    }
    found = _do("needle", body, as_json=as_json)
    if found is None:
        return
    told = {
        "withdrawn_nl": "withdrawn",
        "filled_nl": "filled",
        "catheter_nl": "in a new catheter, patent and without drug",
    }
    parts = [f"{words.volume(found[name])} {what}" for name, what in told.items() if name in found]
    _tell(found, f"{', '.join(parts)}.")


@click.command(short_help="Where the patient is: height, depth, fever.")
@click.option("--altitude", type=click.IntRange(min=0), metavar="M", help="Metres up.")
@click.option("--depth", metavar="M", help="Metres under water, in tenths: 3.5.")
@click.option("--temperature", metavar="C", help="Body temperature in degrees Celsius, in tenths: 39.5.")
@json_option
def environment(altitude: int | None, depth: str | None, temperature: str | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Say where the patient is from now on; what is left out is as usual (sea level, 37 °C)."""
    body = {
        "altitude_m": altitude,
        "depth_dm": _tenths("--depth", depth),
        "temperature_decidegrees": _tenths("--temperature", temperature),
    }
    found = _do("environment", body, as_json=as_json)
    if found is None:
        return
    whole, tenths = divmod(found["temperature_decidegrees"], _DECIDEGREES)
    bent = "; the reservoir is bent for good" if found["bent"] else ""
    _tell(found, f"{found['pressure_hpa']} hPa around the pump, {whole}.{tenths} °C{bent}.")


def _tenths(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    whole, _, part = text.partition(".")
    if not whole.isdecimal() or (part and (not part.isdecimal() or len(part) > 1)):
        raise UsageError(f"{name}: {text!r} is no number with at most one decimal, such as 39.5")
    return int(whole) * _DECIDEGREES + int(part or 0)


@click.command("patient-bolus", short_help="Press the patient's button.")
@json_option
def patient_bolus(as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Press the patient's button: what the pump makes of it."""
    found = _do("patient-bolus", {}, as_json=as_json)
    if found is not None:
        reason = "" if found["reason"] is None else f" ({found['reason']})"
        _tell(found, f"The pump says: {found['verdict']}{reason}.")


@click.command("reset-memory", short_help="Clear a stored error code.")
@json_option
def reset_memory(as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Clear a stored error code, so that the pump takes orders again."""
    found = _do("memory-reset", {}, as_json=as_json)
    if found is not None:
        _tell(found, "No error code is stored.")


ACTS = (needle, environment, patient_bolus, reset_memory)

"""What a scenario does at the bench, past the wire: one function for each name of ``vocabulary.BENCH``, and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.scenario.acting_wire import bridge_of, clock_of
from telemetry.scenario.format import therapy_at
from telemetry.scenario.therapy_text import therapy_of
from telemetry.scenario.values import KINDS
from telemetry.sim.connector import station_of
from telemetry.transport.faults import FaultRule
from telemetry.units import Concentration, Dose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.scenario.world import World


def _argument(arguments: Any, name: str, kind: type[Volume | Concentration | FlowRate | Duration]) -> Any:  # noqa: ANN401 - of the kind
    raw = (arguments or {}).get(name)
    return None if raw is None else kind.parse(raw)


def _program(world: World, arguments: Any) -> object:  # noqa: ANN401 - as written, checked by the schema
    return world.pump.program(therapy_of(arguments))


def _bolus(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    return world.pump.bolus(KINDS["amount"].read(arguments["amount"]), Duration.parse(arguments["over"]))


def _patient_bolus(world: World, _arguments: object) -> object:
    return world.pump.patient_bolus()


def _prime(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    volume = _argument(arguments, "volume", Volume)
    if volume is None:
        who = world.pump.device.identity()
        parts = {"tubing": who.tubing_volume_nl, "catheter": who.catheter_volume_nl}
        parts["path"] = sum(parts.values())
        volume = Volume(parts[(arguments or {}).get("where", "catheter")])
    return world.pump.prime(volume, _argument(arguments, "rate", FlowRate))


def _refill(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    return world.pump.refill(**_refilling(world, arguments))


def _tell_refill(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    return world.pump.tell_refill(**_refilling(world, arguments))


def _refilling(world: World, arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    said = arguments or {}
    found: dict[str, Any] = {
        "volume": _argument(said, "volume", Volume),
        "concentration": _argument(said, "concentration", Concentration),
        "therapy": therapy_at(said.get("therapy")),
    }
    if "bridge" in said:
        found["bridge"] = bridge_of(said["bridge"], world.pump.status.concentration_ng_per_ml)
    return found


def _stop(world: World, _arguments: object) -> object:
    return world.pump.stop()


def _resume(world: World, _arguments: object) -> object:
    return world.pump.resume()


def _withdraw(world: World, arguments: str | None) -> object:
    return world.pump.withdraw(None if arguments is None else Volume.parse(arguments))


def _fill(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    strength = _argument(arguments, "concentration", Concentration)
    strength = strength or Concentration(world.pump.status.concentration_ng_per_ml)
    return world.pump.fill(Volume.parse(arguments["volume"]), strength, into=arguments.get("into", "reservoir"))


def _replace_catheter(world: World, _arguments: object) -> object:
    world.pump.replace_catheter()
    return None


def _set_clock(world: World, arguments: Any) -> object:  # noqa: ANN401 - as above
    utc_s, zone_minutes = clock_of(arguments, world.true_utc_s)
    present = world.pump.device.delivery().zone_minutes
    return world.pump.set_clock(utc_s, present if zone_minutes is None else zone_minutes)


def _telemeter(world: World, bars: int) -> object:
    station_of(world.pump).telemeter.place(bars)
    return None


def _link(world: World, rules: list[str]) -> object:
    world.tap.clear()
    for rule in rules:
        world.tap.add(FaultRule.parse(rule))
    return None


def _power_cut(world: World, _arguments: object) -> object:
    device = world.pump.device
    device.power_cut()
    device.boot()
    return None


def _reset_memory(world: World, _arguments: object) -> object:
    world.pump.device.reset_memory()
    return None


def _screening(world: World, dose: str) -> object:
    patient = world.patient
    if patient is None:
        raise UsageError("screening: no patient is played; add `patient: {}`")
    patient.bolus(Dose.parse(dose))
    return None


BENCH_ACTS: dict[str, Callable[[World, Any], object]] = {
    "program": _program,
    "bolus": _bolus,
    "patient_bolus": _patient_bolus,
    "prime": _prime,
    "refill": _refill,
    "tell_refill": _tell_refill,
    "stop": _stop,
    "resume": _resume,
    "withdraw": _withdraw,
    "fill": _fill,
    "replace_catheter": _replace_catheter,
    "set_clock": _set_clock,
    "telemeter": _telemeter,
    "link": _link,
    "power_cut": _power_cut,
    "reset_memory": _reset_memory,
    "screening": _screening,
}
"""``new_pump`` is the player's own: it changes whom everything else acts on."""

"""What a scenario does through the wire: one function for each name of ``vocabulary.WIRE``.

Each gets the world and the arguments as written (checked by the schema) and returns what the programmer returned.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from telemetry.errors import LinkError, PeerError, UsageError
from telemetry.model import AlarmKind, StopReason
from telemetry.scenario.format import therapy_at
from telemetry.scenario.subjects import LIMITS
from telemetry.scenario.therapy_text import therapy_of
from telemetry.scenario.values import KINDS, read_share_ppm
from telemetry.therapy import ProgramBridge
from telemetry.units import MS_PER_SECOND, Concentration, Duration, FlowRate, Volume, parse_delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from telemetry.model import Warn
    from telemetry.programmer import Programmer
    from telemetry.scenario.world import World

_SILENCE = "10 min"


@dataclass(frozen=True, slots=True)
class Act:
    """One action under way."""

    world: World
    programmer: Programmer
    arguments: Any
    accept: frozenset[Warn]

    def get(self, name: str, kind: type[Volume | Concentration | FlowRate | Duration]) -> Any:  # noqa: ANN401 - of the kind
        """An argument as a quantity; None where it was not written."""
        raw = (self.arguments or {}).get(name)
        return None if raw is None else kind.parse(raw)

    def plain(self, name: str, default: object = None) -> Any:  # noqa: ANN401 - as written
        """An argument as written."""
        return (self.arguments or {}).get(name, default)


async def _interrogate(act: Act) -> object:
    status = await act.programmer.read_status()
    await act.programmer.read_alarms()
    await act.programmer.read_log()
    return status


async def _read(act: Act) -> object:
    answer: object = await getattr(act.programmer, f"read_{act.arguments}")()
    if act.arguments == "prescription":
        act.world.prescription = answer
    return answer


async def _set_rate(act: Act) -> object:
    return await act.programmer.set_rate(parse_delivery(act.arguments), accept=act.accept)


async def _titrate(act: Act) -> object:
    return await act.programmer.titrate(read_share_ppm(act.arguments), accept=act.accept)


async def _program(act: Act) -> object:
    return await act.programmer.program(therapy_of(act.arguments), accept=act.accept)


async def _bolus(act: Act) -> object:
    amount = KINDS["amount"].read(act.plain("amount"))
    return await act.programmer.bolus(amount, act.get("over", Duration), accept=act.accept)


async def _patient_bolus(act: Act) -> object:
    return await act.programmer.patient_bolus()


async def _prime(act: Act) -> object:
    return await act.programmer.prime(
        act.get("volume", Volume),
        where=act.plain("where", "catheter"),
        rate=act.get("rate", FlowRate),
        accept=act.accept,
    )


async def _refill(act: Act) -> object:
    world = act.world
    volume = act.get("volume", Volume) or Volume(world.pump.device.profile.reservoir_capacity_nl)
    concentration = act.get("concentration", Concentration)
    needle = act.plain("needle", default=True)
    if needle:
        world.withdrawn = world.pump.withdraw()
        strength = concentration or Concentration(world.pump.status.concentration_ng_per_ml)
        world.pump.fill(volume, strength)
    told = act.get("withdrawn", Volume) or world.withdrawn or Volume(world.pump.status.reservoir_nl)
    result = await act.programmer.refill(
        volume,
        concentration,
        therapy_at(act.plain("therapy")),
        withdrawn=told,
        bridge=bridge_of(act.plain("bridge", default=True), world.pump.status.concentration_ng_per_ml),
        accept=act.accept,
    )
    world.withdrawn = None
    return result


def bridge_of(raw: bool | Mapping[str, str], old_ng_per_ml: int) -> bool | ProgramBridge:  # noqa: FBT001 - as written
    """A bridge as written: yes, no, or a volume of the old drug at a rate."""
    if isinstance(raw, bool):
        return raw
    from telemetry.programmer.therapy import rate_in_force  # noqa: PLC0415 - seldom needed

    rate, dose = rate_in_force(parse_delivery(raw["rate"]), old_ng_per_ml)
    return ProgramBridge(Volume.parse(raw["volume"]).nl, rate, dose, old_ng_per_ml)


async def _implant(act: Act) -> object:
    volume, concentration = act.get("volume", Volume), act.get("concentration", Concentration)
    out = _needle(act, volume, concentration)
    calibration = act.plain("calibration")
    result = await act.programmer.implant(
        volume,
        concentration,
        therapy_of(act.plain("therapy")),
        withdrawn=out,
        calibration_ppm=None if calibration is None else read_share_ppm(calibration),
        where=act.plain("where", "path"),
        accept=act.accept,
    )
    return result.refill


async def _replace(act: Act) -> object:
    prescription = act.world.prescription
    if prescription is None:
        raise UsageError("replace: no prescription was read; put `wire: {read: prescription}` before the new pump")
    volume, concentration = act.get("volume", Volume), act.get("concentration", Concentration)
    strength = concentration or Concentration(prescription.program.concentration_ng_per_ml)
    out = _needle(act, volume, strength)
    result = await act.programmer.replace(
        prescription,
        volume,
        concentration,
        withdrawn=out,
        bridge=act.plain("bridge", default=True),
        accept=act.accept,
    )
    return result.refill


def _needle(act: Act, volume: Volume, concentration: Concentration) -> Volume:
    if not act.plain("needle", default=True):
        return Volume(0)
    out: Volume = act.world.pump.withdraw()
    act.world.pump.fill(volume, concentration)
    return out


async def _stop(act: Act) -> object:
    return await act.programmer.stop(StopReason(act.arguments or StopReason.CLINICAL))


async def _resume(act: Act) -> object:
    return await act.programmer.resume(accept=act.accept)


async def _silence(act: Act) -> object:
    return await act.programmer.silence_alarm(Duration.parse(act.arguments or _SILENCE).ms)


async def _acknowledge(act: Act) -> object:
    return await act.programmer.acknowledge_alarm(AlarmKind(act.arguments))


async def _configure_alarms(act: Act) -> object:
    return await act.programmer.configure_alarms(
        low_reservoir=act.get("low_reservoir_alarm", Volume),
        low_reservoir_enabled=act.plain("low_reservoir_enabled"),
        elective_replacement_enabled=act.plain("elective_replacement_enabled"),
        accept=act.accept,
    )


async def _set_limits(act: Act) -> object:
    present = await act.programmer.read_limits()
    changed = {LIMITS[name].attribute: LIMITS[name].kind.read(raw) for name, raw in act.arguments.items()}
    return await act.programmer.set_limits(replace(present, **changed), accept=act.accept)


async def _set_clock(act: Act) -> object:
    utc_s, zone = clock_of(act.arguments, act.world.true_utc_s)
    return await act.programmer.set_clock(utc_s, zone, accept=act.accept)


def clock_of(arguments: Mapping[str, str], true_utc_s: int) -> tuple[int, int | None]:
    """The wall clock's reading that is wanted, and its zone in minutes east of UTC (None: as it is)."""
    utc_s = KINDS["date"].read(arguments["utc"]) if "utc" in arguments else true_utc_s
    if "ahead" in arguments:
        utc_s += Duration.parse(arguments["ahead"]).ms // MS_PER_SECOND
    if "behind" in arguments:
        utc_s -= Duration.parse(arguments["behind"]).ms // MS_PER_SECOND
    zone = arguments.get("zone")
    if zone is None:
        return utc_s, None
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return utc_s, -minutes if zone[0] == "-" else minutes


async def _outcome(act: Act) -> object:
    if act.world.unknown_transaction is None:
        raise UsageError("outcome: no operation of this scenario has an unknown outcome")
    return await act.programmer.outcome(act.world.unknown_transaction)


WIRE_ACTS: dict[str, Callable[[Act], Awaitable[object]]] = {
    "interrogate": _interrogate,
    "read": _read,
    "set_rate": _set_rate,
    "titrate": _titrate,
    "program": _program,
    "bolus": _bolus,
    "patient_bolus": _patient_bolus,
    "prime": _prime,
    "refill": _refill,
    "implant": _implant,
    "replace": _replace,
    "stop": _stop,
    "resume": _resume,
    "silence": _silence,
    "acknowledge": _acknowledge,
    "configure_alarms": _configure_alarms,
    "set_limits": _set_limits,
    "set_clock": _set_clock,
    "outcome": _outcome,
}


async def release(programmer: Programmer) -> None:
    """Let go of the session; on a link that is gone there is nothing left to let go of."""
    with contextlib.suppress(LinkError, PeerError):
        await programmer.release()

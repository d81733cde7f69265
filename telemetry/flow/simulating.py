"""The whole bench in this process: a virtual pump over a virtual balance, read through its own protocol. SIMULATED.

Time is virtual, so days take a second; everything is the code that measures a balance on a cable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock
from telemetry.errors import Refused, UsageError
from telemetry.flow.client import Balance
from telemetry.flow.closed_form import sine_cycle_ppm
from telemetry.flow.dialects import dialect_named
from telemetry.flow.document import KnownError, MeasuredPump
from telemetry.flow.measuring import Measurement
from telemetry.flow.scale import Scale
from telemetry.flow.serving import ScaleServer
from telemetry.flow.streams import PumpStream, need_truth
from telemetry.sim.overrides import Override, overridden
from telemetry.sim.profiles import load_profile
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.transport.memory import open_memory
from telemetry.units import MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND, Duration, Volume

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.flow.document import FlowRun
    from telemetry.flow.measuring import Plan
    from telemetry.flow.scale import Mishap, ScaleSettings
    from telemetry.transport.base import Receiver, Transport

_MOST_STROKES = 100_000
"""Of one cycle; a longer one has another error at its beginning than at its end, and is no cycle of a bench run."""
_NO_LIMIT_NG = 1_000_000_000_000
_WATER = {
    # On the bench there is water in the reservoir: the limits of a drug are not what is measured.
    "daily_dose_hard_min_ng": 0,
    "daily_dose_soft_min_ng": 0,
    "daily_dose_soft_max_ng": _NO_LIMIT_NG,
    "daily_dose_hard_max_ng": _NO_LIMIT_NG,
    "bolus_dose_soft_max_ng": _NO_LIMIT_NG,
    "bolus_dose_hard_max_ng": _NO_LIMIT_NG,
}


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """The pump on the bench: what it is set to, and what is wrong with it. ``cycle_ms``: one turn, at the set rate."""

    profile: str
    rate_nl_per_day: int
    seed: int = 0
    rate_error_ppm: int | None = None
    cyclic_error_ppm: int = 0
    cycle_ms: int = 0
    stroke_nl: int | None = None


def bench_pump(settings: PumpSettings, clock: Clock) -> tuple[VirtualPump, KnownError]:
    """A new pump that already runs at its rate, and the error it has; ``UsageError`` for what it cannot be.

    A cycle is a whole number of strokes: the one nearest to ``cycle_ms`` is taken, and the error says its true length.
    """
    profile = load_profile(settings.profile)
    lowest, highest = profile.min_rate_nl_per_day, profile.max_rate_nl_per_day
    if not lowest <= settings.rate_nl_per_day <= highest:
        raise UsageError(
            f"--rate: {settings.rate_nl_per_day / 1e6:g} ml/day is outside what {profile.name} gives, "
            f"{lowest / 1e6:g} to {highest / 1e6:g} ml/day"
        )
    stroke = settings.stroke_nl or profile.stroke_volume_nl
    error = profile.rate_error_ppm if settings.rate_error_ppm is None else settings.rate_error_ppm
    overrides: dict[str, Override] = {
        **_WATER,
        "start_rate_nl_per_day": settings.rate_nl_per_day,
        "stroke_volume_nl": stroke,
    }
    known = KnownError(rate_error_ppm=error)
    if settings.cyclic_error_ppm:
        strokes = round(settings.rate_nl_per_day * settings.cycle_ms / (MS_PER_DAY * stroke))
        if not 2 <= strokes <= _MOST_STROKES:
            raise UsageError(
                f"--cycle: {settings.cycle_ms} ms are {strokes} strokes of {stroke} nl at this rate; a cycle has 2 to "
                f"{_MOST_STROKES} of them"
            )
        overrides["strokes_per_revolution"] = strokes
        overrides["stroke_cycle_ppm"] = sine_cycle_ppm(settings.cyclic_error_ppm, strokes)
        cycle_ms = round(strokes * stroke * MS_PER_DAY / settings.rate_nl_per_day)
        known = KnownError(rate_error_ppm=error, cyclic_error_ppm=settings.cyclic_error_ppm, cycle_ms=cycle_ms)
    return VirtualPump(overridden(profile, overrides), settings.seed, clock, rate_error_ppm=error), known


def pump_record(pump: VirtualPump, speed: str = "") -> MeasuredPump:
    """What a measurement says of a pump of ours."""
    who, profile = pump.device.identity(), pump.device.profile
    return MeasuredPump(
        model=who.model,
        serial=who.serial,
        profile=profile.name,
        seed=pump.seed,
        stroke_nl=profile.stroke_volume_nl,
        speed=speed,
    )


async def simulate(
    plan: Plan,
    pump: PumpSettings,
    scale: ScaleSettings,
    *,
    protocol: str = "sics",
    mishaps: tuple[Mishap, ...] = (),
) -> FlowRun:
    """Measure a virtual pump with a virtual balance, on virtual time; raises as ``Measurement.take`` does.

    For boluses the bench gives one at the beginning of each interval, as fast as the pump's maximum rate allows.
    """
    clock = ManualClock()
    device, known = bench_pump(pump, clock)
    due_nl = pump.rate_nl_per_day * plan.samples * plan.every_ms // MS_PER_DAY + (plan.bolus_nl or 0) * plan.samples
    due_nl += due_nl * max(0, known.rate_error_ppm + known.cyclic_error_ppm) // 1_000_000
    held_nl = device.truth.reservoir_nl
    if plan.kind != "blank" and due_nl > held_nl:
        raise UsageError(
            f"--hours: the measurement needs {due_nl / 1e6:.1f} ml and the reservoir holds {held_nl / 1e6:.1f} ml; "
            "measure for less long, at a lower rate, or with a larger pump"
        )
    stream = PumpStream(device)
    if plan.kind == "blank":
        device.stop()
    start = await need_truth(stream)
    virtual = Scale(scale, start_ms=start.at_ms, start_nl=start.truth_nl or 0, mishaps=mishaps)
    server = ScaleServer(virtual, stream, clock, protocol)

    async def opener(receiver: Receiver) -> Transport:
        return open_memory(receiver, server.accept, clock=clock, datagrams=False, url="memory: (SIMULATED balance)")

    act = None
    if plan.bolus_nl is not None:
        act = partial(_give, device, Volume(plan.bolus_nl), _bolus_length(device, pump, plan))
    try:
        async with Balance(opener, clock, dialect_named(protocol)) as balance:
            asked = replace(plan, known=None if plan.kind == "blank" else known)
            return await Measurement(balance, stream, asked, pump=pump_record(device), act=act).take()
    finally:
        await server.close()


def _bolus_length(pump: VirtualPump, settings: PumpSettings, plan: Plan) -> Duration:
    """The shortest that the pump's maximum allows on top of the set rate, in whole seconds, a minute at least."""
    room = pump.device.profile.max_rate_nl_per_day - settings.rate_nl_per_day
    length_ms = plan.every_ms
    if room > 0:
        seconds = -(-(plan.bolus_nl or 0) * MS_PER_DAY // room // MS_PER_SECOND) + 1
        length_ms = max(MS_PER_MINUTE, seconds * MS_PER_SECOND)
    if length_ms >= plan.every_ms:
        raise UsageError(
            f"--bolus: {(plan.bolus_nl or 0) / 1e3:g} ul takes this pump {length_ms // MS_PER_SECOND} s on top of the "
            f"set rate, an interval has {plan.every_ms // MS_PER_SECOND} s; choose a longer --interval"
        )
    return Duration(length_ms)


def _give(pump: VirtualPump, volume: Volume, duration: Duration) -> None:
    try:
        pump.bolus(volume, duration)
    except Refused as refusal:
        raise UsageError(f"--bolus: the pump refuses it: {refusal}") from refusal

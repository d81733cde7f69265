"""Seven years of a pump: simple continuous flow or a 24-step schedule, a refill every 180 days, all it tells of.

Beside it, in the same rounds: the same life in SimPy (event-driven, one event a tone, nothing but alarms); the
plainest loop that steps by a minute or by a second (volume, charge and alarm flags only, in floats: far less than
the pump does; measured over a part of the life and scaled to the whole, ``scaled_by`` says how much); and a pump
that sounds a critical alarm all its life, where tones in closed form tell.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import harness
from telemetry.model import AlarmKind, PumpMode
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Therapy
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

TARGET_MS = 20.0
"""Issue 2, What it must show."""
SCHEDULE_TARGET_MS = 1_000.0
"""Issue 4, What it must show: a 24-step schedule for seven years."""
LIFE_DAYS = 2_557
REFILL_DAYS = 180
ERI_DAYS = 2_467
EOS_DAYS = 2_557
NS_PER_MS = 1_000_000
_STEPS = 200_000
_ML_PER_DAY = 0.170
_FULL_ML = 40.0
_SLOWEST_NL_PER_DAY = 120_000
_RISE_NL_PER_DAY = 5_000


def ours() -> VirtualPump:
    """The life of a stock pump from its first filling past its end of service."""
    pump = VirtualPump()
    days = 0
    while days < LIFE_DAYS:
        span = min(REFILL_DAYS, LIFE_DAYS - days)
        pump.advance(days=span)
        days += span
        if pump.status.mode is not PumpMode.END_OF_SERVICE:
            pump.refill()
    return pump


def ours_scheduled() -> VirtualPump:
    """The same life with another rate every hour of the day: 61 000 steps."""
    pump = VirtualPump()
    hours = {f"{hour:02d}:00": FlowRate(_SLOWEST_NL_PER_DAY + _RISE_NL_PER_DAY * (hour % 12)) for hour in range(24)}
    pump.program(Therapy.flex(hours))
    for _ in range(LIFE_DAYS // REFILL_DAYS):
        pump.advance(days=REFILL_DAYS)
        if pump.status.mode is not PumpMode.END_OF_SERVICE:
            pump.refill()
    pump.advance(days=LIFE_DAYS % REFILL_DAYS)
    return pump


def in_simpy() -> int:
    """The same life in SimPy, alarms and tones alone; returns how many tones sounded."""
    import simpy  # noqa: PLC0415 - a peer, not a dependency

    world = simpy.Environment()
    tones = 0

    def refills() -> Generator[Event, None, None]:
        while True:
            low_in_days = (_FULL_ML - 2.0) / _ML_PER_DAY
            yield world.timeout(min(REFILL_DAYS, low_in_days) * 24)

    def sounds() -> Generator[Event, None, None]:
        nonlocal tones
        yield world.timeout(ERI_DAYS * 24)
        while True:
            tones += 1
            yield world.timeout(1)

    world.process(refills())
    world.process(sounds())
    world.run(until=LIFE_DAYS * 24)
    return tones


def ours_sounding() -> int:
    """A pump that is stopped at once and sounds every ten minutes for the rest of its life; how many tones."""
    pump = VirtualPump()
    pump.stop()
    pump.advance(days=LIFE_DAYS)
    return pump.device.tones(AlarmKind.THERAPY_STOPPED)


def simpy_sounding() -> int:
    """The same tones in SimPy, one event each."""
    import simpy  # noqa: PLC0415 - a peer, not a dependency

    world = simpy.Environment()
    tones = 0

    def sounds() -> Generator[Event, None, None]:
        nonlocal tones
        while True:
            tones += 1
            yield world.timeout(1)

    world.process(sounds())
    world.run(until=EOS_DAYS * 24 * 6)
    return tones


def stepped(steps_per_day: int, steps: int) -> float:
    """So many steps of the plainest loop; returns the volume left."""
    volume, charge, low, replace_soon = _FULL_ML, 1.0, False, False
    per_step = _ML_PER_DAY / steps_per_day
    drain = (1 / 9 + 0.0593 * _ML_PER_DAY) / 365.25 / steps_per_day
    refill_every = REFILL_DAYS * steps_per_day
    for step in range(steps):
        volume -= per_step
        charge -= drain
        if step % refill_every == 0:
            volume = _FULL_ML
        if not low and volume <= 2.0:
            low = True
        if not replace_soon and charge < 90 * steps_per_day * drain:
            replace_soon = True
    return volume


def _time(act: Callable[[], object]) -> int:
    begun = time.perf_counter_ns()
    act()
    return time.perf_counter_ns() - begun


def run(plan: harness.Plan) -> harness.Result:
    """Measure; figures in milliseconds of wall time for the whole life."""
    result = harness.Result("pump_life")
    steps = plan.count(_STEPS, least=10_000)
    contestants: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (ours, 1),
        "ours, sounding": (ours_sounding, 1),
        "ours, 24-step schedule": (ours_scheduled, 1),
        "one-minute steps": (lambda: stepped(1_440, steps), LIFE_DAYS * 1_440 // steps),
        "one-second steps": (lambda: stepped(86_400, steps), LIFE_DAYS * 86_400 // steps),
    }
    try:
        in_simpy()
        contestants["simpy"] = (in_simpy, 1)
        contestants["simpy, sounding"] = (simpy_sounding, 1)
    except ImportError:
        result.notes.append("simpy is not installed (extra `bench`); its life is not measured")
    best: dict[str, list[int]] = {name: [] for name in contestants}
    for _ in range(plan.rounds):
        for name, (act, scale) in contestants.items():
            best[name].append(_time(act) * scale)
    middle = {name: sorted(times)[len(times) // 2] for name, times in best.items()}
    for name, (_, scale) in contestants.items():
        result.figures[name] = {"median_ms": round(middle[name] / NS_PER_MS, 3), "scaled_by": scale}
    for name in contestants:
        if not name.startswith("ours"):
            against = "ours, sounding" if name.endswith("sounding") else "ours"
            result.figures[f"{name} to ours"] = round(middle[name] / middle[against], 1)
    pump = ours()
    result.speed("seven years of life", middle["ours"] / NS_PER_MS, TARGET_MS, "ms")
    scheduled = ours_scheduled()
    measured = middle["ours, 24-step schedule"] / NS_PER_MS
    result.speed("seven years of a 24-step schedule", measured, SCHEDULE_TARGET_MS, "ms")
    result.fact("nanolitres unaccounted for with a schedule", scheduled.ledger.balance_nl, unit="nl")
    result.fact("nanolitres unaccounted for", pump.ledger.balance_nl, unit="nl")
    result.fact("tones of ERI", pump.device.tones(AlarmKind.ELECTIVE_REPLACEMENT), _tones_of_eri(pump), "tones")
    again = ours()
    result.fact("snapshots that differ between two lives", int(again.snapshot() != pump.snapshot()))
    result.figures["log lines"] = pump.device.log_head()[0]
    result.figures["life_days"] = LIFE_DAYS
    return result


def _tones_of_eri(pump: VirtualPump) -> int:
    """One each hour since ERI, the first at ERI itself: counted from the log's own instants."""
    raised = next(alarm for alarm in pump.device.alarms() if alarm.kind is AlarmKind.ELECTIVE_REPLACEMENT)
    return -(-(pump.now_ms - raised.since_ms) // 3_600_000)
